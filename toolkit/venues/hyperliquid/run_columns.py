"""What a run of compiled code gave, as columns: copies, since the arrays are written again by the next run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from toolkit.columnar import MessageColumns, QuoteColumns, SnapshotColumns, TopColumns, TradeColumns
from toolkit.kernels.run_taker import about, top_columns
from toolkit.venues.hyperliquid.kernel_arrays import DEPTH_CAPS, FORMS, Arrays
from toolkit.venues.hyperliquid.kernel_state import Messages, Number, TopRows

__all__ = ["changed_tops", "message_columns"]


def _about(messages: Messages | TopRows, count: int, arrays: Arrays) -> dict[str, Any]:
    """What columns of every kind have, of the first rows."""
    return about(arrays.coins, messages.coin[:count], messages.frame[:count], messages.ts_event[:count])


def message_columns(arrays: Arrays) -> Iterator[MessageColumns]:
    """Books, quotes and trades."""
    counts = arrays.counts
    if count := int(counts[Number.SNAPSHOTS]):
        snapshots, levels, rows = arrays.snapshots, arrays.levels, int(counts[Number.LEVEL_ROWS])
        yield SnapshotColumns(
            **_about(snapshots, count, arrays),
            forms=FORMS[: len(DEPTH_CAPS)],
            depth_caps=DEPTH_CAPS,
            form=snapshots.kind[:count].astype(np.int32),
            level_count=snapshots.bids[:count] + snapshots.asks[:count],
            bid_count=snapshots.bids[:count].copy(),
            price=levels.price[:rows].copy(),
            size=levels.size[:rows].copy(),
            count=levels.orders[:rows].copy(),
        )
    if count := int(counts[Number.QUOTES]):
        quotes, sides = arrays.quotes, arrays.quoted
        yield QuoteColumns(
            **_about(quotes, count, arrays),
            fused=quotes.kind[:count].astype(np.bool_),
            bid_price=sides.price[: 2 * count : 2].copy(),
            bid_size=sides.size[: 2 * count : 2].copy(),
            bid_count=sides.orders[: 2 * count : 2].copy(),
            ask_price=sides.price[1 : 2 * count : 2].copy(),
            ask_size=sides.size[1 : 2 * count : 2].copy(),
            ask_count=sides.orders[1 : 2 * count : 2].copy(),
        )
    if count := int(counts[Number.TRADES]):
        trades = arrays.trades
        yield TradeColumns(
            **_about(trades, count, arrays),
            is_sell=trades.kind[:count].astype(np.bool_),
            price=arrays.traded.price[:count].copy(),
            size=arrays.traded.size[:count].copy(),
            trade_id=trades.number[:count].copy(),
            id_prefix="",
            is_prefixed=np.zeros(count, np.bool_),
            is_duplicate=np.zeros(count, np.bool_),
            sub_seq=trades.sub_seq[:count].copy(),
        )


def changed_tops(arrays: Arrays) -> Iterator[TopColumns]:
    """Changes of the best levels."""
    tops = arrays.tops
    if count := int(arrays.counts[Number.TOPS]):
        shared = _about(tops, count, arrays)
        yield top_columns(shared, tops.values[:count], tops.is_stale[:count], tops.is_crossed[:count])
