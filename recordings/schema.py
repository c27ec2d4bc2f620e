"""
The tables of a recording, as Arrow schemas. `FORMAT.md` says what the columns mean.

Written without an embedded Arrow schema, so every reader sees the plain Parquet types: strings are strings, times are
`timestamp[ns]` without a zone (UTC by definition; a zone-aware column would lose its last digits in DuckDB).
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from toolkit.messages import (
    BestQuote,
    BookDiff,
    BookSnapshot,
    BookTop,
    FundingInfo,
    Instrument,
    Liquidation,
    Message,
    StreamEvent,
    Trade,
)

__all__ = ["FORMAT_VERSION", "MESSAGE_TABLES", "NORMALIZED_TABLES", "RAW_TABLE", "TABLES", "TABLE_OF"]

#: Version of the record format; see `recordings/migrations.py` for the steps between versions.
FORMAT_VERSION: Final = 1

RAW_TABLE: Final = "raw"

_ts = pa.timestamp("ns")
_KEY = [
    ("venue", pa.string()),
    ("symbol", pa.string()),
    ("trading_pair", pa.string()),
    ("ts_event", _ts),
    ("ts_recv", _ts),
    ("capture_seq", pa.int64()),
    ("sub_seq", pa.int32()),
]

TABLES: Final[dict[str, pa.Schema]] = {
    RAW_TABLE: pa.schema(
        [
            ("capture_seq", pa.int64()),
            ("ts_recv", _ts),
            ("ts_mono", pa.int64()),
            ("venue", pa.string()),
            ("conn_id", pa.int32()),
            ("conn_epoch", pa.int32()),
            ("kind", pa.string()),
            ("payload", pa.string()),
            ("payload_bytes", pa.binary()),
            ("context", pa.string()),
        ]
    ),
    "book": pa.schema(
        [
            *_KEY,
            ("form", pa.string()),
            ("fused", pa.bool_()),
            ("depth_cap", pa.int32()),
            ("is_snapshot", pa.bool_()),
            ("is_first", pa.bool_()),
            ("is_last", pa.bool_()),
            ("side", pa.string()),
            ("price", pa.float64()),
            ("size", pa.float64()),
            ("count", pa.int32()),
            ("first_update_id", pa.int64()),
            ("last_update_id", pa.int64()),
            ("prev_update_id", pa.int64()),
        ]
    ),
    "bbo": pa.schema(
        [
            *_KEY,
            ("fused", pa.bool_()),
            ("bid_price", pa.float64()),
            ("bid_size", pa.float64()),
            ("bid_count", pa.int32()),
            ("ask_price", pa.float64()),
            ("ask_size", pa.float64()),
            ("ask_count", pa.int32()),
            ("update_id", pa.int64()),
        ]
    ),
    "trades": pa.schema(
        [
            *_KEY,
            ("aggressor_side", pa.string()),
            ("price", pa.float64()),
            ("size", pa.float64()),
            ("trade_id", pa.string()),
            ("is_history", pa.bool_()),
            ("is_duplicate", pa.bool_()),
            ("cause", pa.string()),
        ]
    ),
    "funding": pa.schema(
        [
            *_KEY,
            ("kind", pa.string()),
            ("funding_rate", pa.float64()),
            ("funding_interval_s", pa.int32()),
            ("next_funding_ts", _ts),
            ("mark_price", pa.float64()),
            ("index_price", pa.float64()),
            ("mid_price", pa.float64()),
            ("premium", pa.float64()),
            ("impact_bid_price", pa.float64()),
            ("impact_ask_price", pa.float64()),
            ("open_interest", pa.float64()),
            ("prev_day_price", pa.float64()),
            ("day_volume_base", pa.float64()),
            ("day_volume_quote", pa.float64()),
            ("circulating_supply", pa.float64()),
        ]
    ),
    "instruments": pa.schema(
        [
            *_KEY,
            ("kind", pa.string()),
            ("base", pa.string()),
            ("quote", pa.string()),
            ("settle", pa.string()),
            ("price_tick", pa.float64()),
            ("price_decimals_max", pa.int32()),
            ("price_figures_max", pa.int32()),
            ("size_step", pa.float64()),
            ("min_notional", pa.float64()),
            ("multiplier", pa.float64()),
            ("max_leverage", pa.float64()),
            ("is_active", pa.bool_()),
            ("contract_value", pa.float64()),
        ]
    ),
    "liquidations": pa.schema(
        [
            *_KEY,
            ("side", pa.string()),
            ("price", pa.float64()),
            ("size", pa.float64()),
            ("average_price", pa.float64()),
            ("filled_size", pa.float64()),
            ("status", pa.string()),
        ]
    ),
    "events": pa.schema(
        [
            *_KEY,
            ("kind", pa.string()),
            ("stream", pa.string()),
            ("cause", pa.string()),
            ("ts_start", _ts),
            ("ts_end", _ts),
            ("conn_id", pa.int32()),
            ("conn_epoch", pa.int32()),
            ("detail", pa.string()),
        ]
    ),
    "top": pa.schema(
        [
            *_KEY,
            ("bid_price", pa.float64()),
            ("bid_size", pa.float64()),
            ("ask_price", pa.float64()),
            ("ask_size", pa.float64()),
            ("is_stale", pa.bool_()),
            ("is_crossed", pa.bool_()),
        ]
    ),
}

#: The table a message is stored in. Book messages take one row per level, all others one row.
TABLE_OF: Final[dict[type[Message], str]] = {
    BookSnapshot: "book",
    BookDiff: "book",
    BestQuote: "bbo",
    Trade: "trades",
    FundingInfo: "funding",
    Instrument: "instruments",
    Liquidation: "liquidations",
    StreamEvent: "events",
    BookTop: "top",
}

NORMALIZED_TABLES: Final = tuple(name for name in TABLES if name != RAW_TABLE)
#: Those whose rows are messages; `top` is derived from them.
MESSAGE_TABLES: Final = tuple(name for name in NORMALIZED_TABLES if name != "top")
