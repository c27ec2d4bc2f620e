"""What a run of compiled code gave, as columns: copies, since the arrays are written again by the next run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from toolkit.columnar import DiffColumns, FrameBatch, QuoteColumns, TopColumns, TradeColumns
from toolkit.kernels.run_taker import about, top_columns
from toolkit.messages import FORM_FULL, BookDiff
from toolkit.venues.binance import kernel_numbers as numbers
from toolkit.venues.binance.depth import FORM_UNJOINED, PENDING_MAX
from toolkit.venues.binance.kernel_arrays import Arrays
from toolkit.venues.binance.kernel_state import Messages

__all__ = ["WaitingDiffs", "changed_tops", "diff_columns", "quote_columns", "trade_columns"]

#: What stands before the numbers of aggregates.
_AGGREGATE: Final = "a"

Instruments = Sequence[tuple[str, str]]


def _about(messages: Messages, count: int, instruments: Instruments) -> dict[str, Any]:
    """What columns of every kind have, of the first rows."""
    return about(instruments, messages.instrument[:count], messages.frame[:count], messages.ts_event[:count])


def diff_columns(arrays: Arrays, instruments: Instruments) -> Iterator[DiffColumns]:
    """Diffs of books, and those that wait for a snapshot."""
    diffs, columns = arrays.diffs, arrays.columns
    count = int(arrays.counts[numbers.DIFFS])
    if not count:
        return
    rows = slice(0, count)
    level_count = diffs.rows[rows, 1].copy()
    levels = slice(0, int(level_count.sum()))
    yield DiffColumns(
        **_about(diffs, count, instruments),
        form=FORM_FULL,
        form_apart=FORM_UNJOINED,
        fused=diffs.kind[rows] == 0,
        first_update_id=diffs.ids[rows, 0].copy(),
        last_update_id=diffs.ids[rows, 1].copy(),
        prev_update_id=None if arrays.is_spot else diffs.ids[rows, 2].copy(),
        level_count=level_count,
        bid_count=diffs.bids[rows].copy(),
        price=columns.price[levels].copy(),
        size=columns.size[levels].copy(),
    )


def quote_columns(arrays: Arrays, instruments: Instruments) -> Iterator[QuoteColumns]:
    """Best quotes."""
    count = int(arrays.counts[numbers.QUOTES])
    if count:
        bid_price, bid_size, ask_price, ask_size = arrays.quotes.values[:count].T.copy()
        yield QuoteColumns(
            **_about(arrays.quotes, count, instruments),
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
            update_id=arrays.quotes.ids[:count, 0].copy(),
        )


def trade_columns(arrays: Arrays, instruments: Instruments) -> Iterator[TradeColumns]:
    """Trades and aggregates, in their order."""
    trades = arrays.trades
    count = int(arrays.counts[numbers.TRADES])
    if count:
        yield TradeColumns(
            **_about(trades, count, instruments),
            is_sell=trades.flags[:count, 0].astype(np.bool_),
            price=trades.values[:count, 0].copy(),
            size=trades.values[:count, 1].copy(),
            trade_id=trades.ids[:count, 0].copy(),
            id_prefix=_AGGREGATE,
            is_prefixed=trades.kind[:count].astype(np.bool_),
            is_duplicate=trades.flags[:count, 1].astype(np.bool_),
        )


def changed_tops(arrays: Arrays, instruments: Instruments) -> Iterator[TopColumns]:
    """Changes of the best levels."""
    tops = arrays.tops
    count = int(arrays.counts[numbers.TOPS])
    if count:
        shared = _about(tops, count, instruments)
        yield top_columns(shared, tops.values[:count], tops.flags[:count, 0], tops.flags[:count, 1])


class WaitingDiffs:
    """
    Diffs of one instrument that its chain is yet to be told of, and that change no book, in the order in which they came.

    No more are held than the chain keeps, give or take a run.
    """

    __slots__ = ("_count", "_runs")

    def __init__(self) -> None:
        self._runs: list[tuple[Any, ...]] = []
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, arrays: Arrays, rows: Any, frames: FrameBatch) -> None:
        """Hold some diffs of a batch."""
        rows = rows[-PENDING_MAX:]
        diffs, columns = arrays.diffs, arrays.columns
        frame, counts = diffs.frame[rows], diffs.rows[rows, 1]
        levels = np.repeat(diffs.rows[rows, 0] - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
        self._runs.append(
            (
                diffs.ts_event[rows],
                frames.ts_recv[frame],
                frame + frames.first_seq,
                diffs.ids[rows, 0],
                diffs.ids[rows, 1],
                None if arrays.is_spot else diffs.ids[rows, 2],
                counts,
                diffs.bids[rows],
                columns.price[levels],
                columns.size[levels],
            )
        )
        self._count += len(rows)
        while self._count - len(self._runs[0][0]) >= PENDING_MAX:
            self._count -= len(self._runs.pop(0)[0])

    def take(self, venue: str, symbol: str, pair: str) -> list[BookDiff]:
        """All of them, as the chain keeps them; none is held any more."""
        runs, self._runs, self._count = self._runs, [], 0
        return [diff for run in runs for diff in _waiting(venue, symbol, pair, *run)]


def _waiting(
    venue: str,
    symbol: str,
    pair: str,
    ts_event: Any,
    ts_recv: Any,
    seqs: Any,
    first_ids: Any,
    last_ids: Any,
    prev_ids: Any,
    level_count: Any,
    bid_count: Any,
    price: Any,
    size: Any,
) -> Iterator[BookDiff]:
    ends = np.cumsum(level_count)
    starts = ends - level_count
    prices, sizes = tuple(price.tolist()), tuple(size.tolist())
    prev = [None] * len(ends) if prev_ids is None else prev_ids.tolist()
    rows = zip(
        starts.tolist(),
        (starts + bid_count).tolist(),
        ends.tolist(),
        ts_event.tolist(),
        ts_recv.tolist(),
        seqs.tolist(),
        first_ids.tolist(),
        last_ids.tolist(),
        prev,
        strict=True,
    )
    none: tuple[int, ...] = ()
    for start, middle, end, event, recv, seq, first, last, before in rows:
        yield BookDiff(
            venue,
            symbol,
            pair,
            event,
            recv,
            seq,
            0,
            FORM_FULL,
            True,
            None,
            prices[start:middle],
            sizes[start:middle],
            none,
            prices[middle:end],
            sizes[middle:end],
            none,
            first,
            last,
            before,
        )
