"""How tables are encoded and compressed."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import pyarrow as pa

from recordings.format.schema import RAW_TABLE

__all__ = ["FAST", "PLAIN_COLUMNS", "SMALL", "Compression", "parquet_options"]


class Compression(NamedTuple):
    """zstd levels of `raw` and of the other tables."""

    raw: int
    other: int


#: The USD-M capture of 2024-08-08: `raw` 2.96 MB in 355 ms, the others 2.48 MB in 171 ms.
SMALL: Final = Compression(raw=9, other=6)
#: The same: 3.45 MB in 59 ms, 2.59 MB in 111 ms.
FAST: Final = Compression(raw=1, other=1)

_DELTA: Final = "DELTA_BINARY_PACKED"
#: Parquet encodings were chosen by size on the Binance capture (bytes a row): a level's size 1.5 by dictionary, 2.1
#: plain, 5.9 split by byte; a quote's size 1.8 plain, 2.3 by dictionary, since most quotes repeat one of their sizes.
PLAIN_COLUMNS: Final = frozenset({"payload", "payload_bytes", "trade_id", "bid_size", "ask_size", "text", "chain"})
#: Lowest and highest value of a row group help no reader to skip it, and of text they take as long as writing it.
_NO_STATISTICS: Final = frozenset(
    {"payload", "payload_bytes", "context", "form", "side", "aggressor_side", "text", "chain"}
)
_DELTA_COLUMNS: Final = frozenset({"capture_seq", "sub_seq", "ts_mono"})


def parquet_options(schema: pa.Schema, table: str, compression: Compression) -> dict[str, Any]:
    """Options of `ParquetWriter`: counters and times as deltas, what repeats as a dictionary, the rest plain."""
    encodings: dict[str, str] = {}
    dictionary: list[str] = []
    for field in schema:
        name = field.name
        is_counted = pa.types.is_timestamp(field.type) or name in _DELTA_COLUMNS or name.endswith("update_id")
        # In `book` they repeat on every level of a message, which zstd finds better by itself; `sub_seq` counts there.
        if is_counted and (table != "book" or name == "sub_seq"):
            encodings[name] = _DELTA
        elif is_counted:
            continue
        elif name not in PLAIN_COLUMNS and not pa.types.is_boolean(field.type):
            dictionary.append(name)
    return {
        "compression": "zstd",
        "compression_level": compression.raw if table == RAW_TABLE else compression.other,
        "use_dictionary": dictionary,
        "dictionary_pagesize_limit": 8 << 20,
        "column_encoding": encodings,
        "store_schema": False,
        "write_statistics": [name for name in schema.names if name not in _NO_STATISTICS],
        "version": "2.6",
        "data_page_size": 1 << 20,
        "write_page_checksum": True,
    }
