"""
The tables of a recording, as Arrow schemas. `FORMAT.md` says what the columns mean.

Written without an embedded Arrow schema, so every reader sees the plain Parquet types: strings are strings, times are
`timestamp[ns]` without a zone (UTC by definition; a zone-aware column would lose its last digits in DuckDB).
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from toolkit.account_messages import AccountEvent, Fill, FundingPayment, OrderUpdate, PositionUpdate
from toolkit.messages import (
    BalanceUpdate,
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

__all__ = [
    "ALL_TABLES",
    "FORMAT_VERSION",
    "MESSAGE_TABLES",
    "NORMALIZED_TABLES",
    "RAW_TABLE",
    "RESULT_TABLES",
    "TABLES",
    "TABLE_OF",
]

#: Version of the record format; see `recordings/format/migrations.py` for the steps between versions.
FORMAT_VERSION: Final = 2

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
_ACCOUNT_KEY = [*_KEY, ("account", pa.string())]

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
    "orders": pa.schema(
        [
            *_ACCOUNT_KEY,
            ("order_id", pa.string()),
            ("state", pa.string()),
            ("status", pa.string()),
            ("side", pa.string()),
            ("price", pa.float64()),
            ("size", pa.float64()),
            ("remaining", pa.float64()),
            ("client_order_id", pa.string()),
            ("ts_created", _ts),
            ("order_type", pa.string()),
            ("time_in_force", pa.string()),
            ("trigger_price", pa.float64()),
            ("is_reduce_only", pa.bool_()),
            ("is_history", pa.bool_()),
            ("generation", pa.int32()),
        ]
    ),
    "fills": pa.schema(
        [
            *_ACCOUNT_KEY,
            ("order_id", pa.string()),
            ("fill_id", pa.string()),
            ("side", pa.string()),
            ("price", pa.float64()),
            ("size", pa.float64()),
            ("fee", pa.float64()),
            ("fee_asset", pa.string()),
            ("is_maker", pa.bool_()),
            ("client_order_id", pa.string()),
            ("trade_id", pa.string()),
            ("realized_pnl", pa.float64()),
            ("position_before", pa.float64()),
            ("direction", pa.string()),
            ("cause", pa.string()),
            ("is_history", pa.bool_()),
            ("generation", pa.int32()),
        ]
    ),
    "balances": pa.schema(
        [
            *_ACCOUNT_KEY,
            ("asset", pa.string()),
            ("total", pa.float64()),
            ("available", pa.float64()),
            ("wallet", pa.string()),
            ("margin_used", pa.float64()),
            ("maintenance_margin", pa.float64()),
        ]
    ),
    "positions": pa.schema(
        [
            *_ACCOUNT_KEY,
            ("size", pa.float64()),
            ("entry_price", pa.float64()),
            ("unrealized_pnl", pa.float64()),
            ("position_value", pa.float64()),
            ("liquidation_price", pa.float64()),
            ("margin_used", pa.float64()),
            ("leverage", pa.float64()),
            ("margin_mode", pa.string()),
            ("funding_paid", pa.float64()),
        ]
    ),
    "funding_payments": pa.schema(
        [
            *_ACCOUNT_KEY,
            ("payment_id", pa.string()),
            ("amount", pa.float64()),
            ("asset", pa.string()),
            ("funding_rate", pa.float64()),
            ("position_size", pa.float64()),
            ("is_history", pa.bool_()),
        ]
    ),
    "account_events": pa.schema(
        [
            *_ACCOUNT_KEY,
            ("kind", pa.string()),
            ("event_id", pa.string()),
            ("asset", pa.string()),
            ("amount", pa.float64()),
            ("order_id", pa.string()),
            ("detail", pa.string()),
            ("is_history", pa.bool_()),
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

#: What the result of a run has besides: rows that are no messages.
RESULT_TABLES: Final[dict[str, pa.Schema]] = {
    "equity": pa.schema(
        [
            *_ACCOUNT_KEY,
            ("wallet", pa.string()),
            ("asset", pa.string()),
            ("cash", pa.float64()),
            ("balance", pa.float64()),
            ("equity", pa.float64()),
            ("fees", pa.float64()),
            ("funding", pa.float64()),
            ("transfers", pa.float64()),
            ("is_doubtful", pa.bool_()),
        ]
    ),
    "decisions": pa.schema(
        [
            *_ACCOUNT_KEY,
            ("kind", pa.string()),
            ("cause", pa.string()),
            ("cause_seq", pa.int64()),
            ("cause_sub", pa.int32()),
            ("text", pa.string()),
            ("chain", pa.string()),
        ]
    ),
    "series": pa.schema([*_ACCOUNT_KEY, ("name", pa.string()), ("value", pa.float64())]),
}

#: Every table that a folder may hold.
ALL_TABLES: Final = {**TABLES, **RESULT_TABLES}

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
    OrderUpdate: "orders",
    Fill: "fills",
    BalanceUpdate: "balances",
    PositionUpdate: "positions",
    FundingPayment: "funding_payments",
    AccountEvent: "account_events",
    BookTop: "top",
}

NORMALIZED_TABLES: Final = tuple(name for name in TABLES if name != RAW_TABLE)
#: Those whose rows are messages; `top` is derived from them.
MESSAGE_TABLES: Final = tuple(name for name in NORMALIZED_TABLES if name != "top")
