"""What a run of compiled code gave, as columns: copies, since the arrays are written again by the next run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from toolkit.columnar import MessageColumns, QuoteColumns, SnapshotColumns, TopColumns, TradeColumns
from toolkit.venues.hyperliquid.kernel_arrays import DEPTH_CAPS, FORMS, Arrays
from toolkit.venues.hyperliquid.kernel_state import Messages, Number, TopRows

__all__ = ["message_columns", "top_columns"]


def _about(messages: Messages | TopRows, count: int, arrays: Arrays) -> dict[str, Any]:
    """What columns of every kind have, of the first rows."""
    found = messages.coin[:count]
    used = np.flatnonzero(np.bincount(found, minlength=1))
    codes = np.zeros(int(used[-1]) + 1, np.int32)
    codes[used] = np.arange(len(used), dtype=np.int32)
    coins = [arrays.coins[number] for number in used.tolist()]
    return {
        "symbols": [symbol for symbol, _ in coins],
        "trading_pairs": [pair for _, pair in coins],
        "instrument": codes[found],
        "frame": messages.frame[:count].copy(),
        "ts_event": messages.ts_event[:count].copy(),
    }


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


def top_columns(arrays: Arrays) -> Iterator[TopColumns]:
    """Changes of the best levels."""
    tops = arrays.tops
    if count := int(arrays.counts[Number.TOPS]):
        bid_price, bid_size, ask_price, ask_size = tops.values[:count].T.copy()
        yield TopColumns(
            **_about(tops, count, arrays),
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
            is_stale=tops.is_stale[:count].astype(np.bool_),
            is_crossed=tops.is_crossed[:count].astype(np.bool_),
        )
