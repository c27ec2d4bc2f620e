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
_BY_BYTE: Final = "BYTE_STREAM_SPLIT"
_PLAIN: Final = "PLAIN"
#: Parquet encodings were chosen by size on the Binance capture (bytes a row): a level's size 1.5 by dictionary, 2.1
#: plain, 5.9 split by byte; a quote's size 1.8 plain, 2.3 by dictionary, since most quotes repeat one of their sizes.
PLAIN_COLUMNS: Final = frozenset({"payload", "payload_bytes", "trade_id", "bid_size", "ask_size", "text", "chain"})
#: Lowest and highest value of a row group help no reader to skip it, and of text they take as long as writing it.
_NO_STATISTICS: Final = frozenset(
    {"payload", "payload_bytes", "context", "form", "side", "aggressor_side", "text", "chain"}
)
_DELTA_COLUMNS: Final = frozenset({"capture_seq", "sub_seq", "ts_mono"})
#: What is smaller otherwise than its like. Captures of USD-M, COIN-M, spot, Hyperliquid's books and its trades, kB each:
#: `sub_seq` of levels 25, 36, 9, 1.1 by byte, 48, 76, 18, 1.1 as deltas; prices of trades 18, 3.0, 12, -, 15 plain, 22,
#: 4.0, 17, -, 18 by dictionary, and of quotes likewise; of levels `ts_event` 34, 83, 11, 26 as deltas, 36, 116, 15, 29
#: plain, and `capture_seq` 22, 31, 9, 1.0 after 18, 50, 8, 12. Ids of trades would be a seventh by common prefixes
#: (DELTA_BYTE_ARRAY), which pyarrow cannot read as a dictionary.
_ENCODINGS: Final = {
    ("book", "ts_event"): _DELTA,
    ("book", "capture_seq"): _DELTA,
    ("book", "sub_seq"): _BY_BYTE,
    ("bbo", "bid_price"): _PLAIN,
    ("bbo", "ask_price"): _PLAIN,
    ("trades", "price"): _PLAIN,
}


def parquet_options(schema: pa.Schema, table: str, compression: Compression) -> dict[str, Any]:
    """Options of `ParquetWriter`: counters and times as deltas, what repeats as a dictionary, most of the rest plain."""
    encodings: dict[str, str] = {}
    dictionary: list[str] = []
    for field in schema:
        name = field.name
        if (table, name) in _ENCODINGS:
            encodings[name] = _ENCODINGS[table, name]
            continue
        is_counted = pa.types.is_timestamp(field.type) or name in _DELTA_COLUMNS or name.endswith("update_id")
        # In `book` they repeat on every level of a message, which zstd finds better by itself.
        if is_counted and table != "book":
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
        # Else a page ends with its 20,000th row, and each is unpacked for itself: with this `book` of the USD-M capture is
        # 2 % smaller, and read in five sixths of the time.
        "max_rows_per_page": 1 << 20,
        "write_page_checksum": True,
    }
