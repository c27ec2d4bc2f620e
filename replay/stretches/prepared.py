"""A batch of columns, made ready for the matching core: its events, and which messages need be no message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import NO_TIME, ColumnBatch, Flag, Kind
from replay.backtest.scales import PairScale
from replay.market.kernel_stretch import BOOK, LOOK, LOOK_AT_QUOTE, MARK
from replay.market.layout import BUY, EVENT, SELL, EventCode

__all__ = ["NOT_PLAIN", "PairFacts", "Prepared", "prepared"]

#: No form: the book comes otherwise.
NOT_PLAIN: Final = -2
#: Integers up to here are exact in a float64.
_EXACT: Final = 2.0**53
_NO_TRADE: Final = Flag.HISTORY | Flag.DUPLICATE | Flag.UNMATCHED
_NOT_NEW: Final = Flag.HISTORY | Flag.DUPLICATE


#: Id and time of a trade, and whether those of a pair are new, each of them once.
TradeKey = tuple[str, int | None]
AreNew = Callable[[int, Sequence[TradeKey]], bool]


class PairFacts(NamedTuple):
    """
    What of a pair's messages is plain now, and who looks at them.

    Attributes:
        scale: Its tick and lot; None while they are not known.
        form: Form of the diffs of its book, by place; `NOT_PLAIN`: they are not plain.
        has_trades: Whether its trades are plain, if its diffs are.
        has_quotes: Whether quotes that are no part of the book are plain.
        looks: Whether somebody looks at each change of its book, of its best levels, and at each trade.
    """

    scale: PairScale | None
    form: int
    has_trades: bool
    has_quotes: bool
    looks: tuple[bool, bool, bool]


class Prepared(NamedTuple):
    """
    Messages of a batch that follow each other.

    Attributes:
        begin: Place of the first of them in the batch.
        events: Events of those that are plain.
        marks: One for each of them.
        looks: Mark of each `what`; empty where nothing looks at any of them.
        frames: Their frames.
        times: When they were received.
        ends: End of the stretch of plain ones that each is in, counted from `begin`; of one that is not plain its own place.
        trade_counts: How many new trades there are before each, and in all.
        trade_pairs: Pairs of the new trades.
        trades: Their ids and times.
        update_ids: Venue's number of each diff, by place from `begin`.
    """

    begin: int
    events: npt.NDArray[np.void]
    marks: npt.NDArray[np.void]
    looks: list[int]
    frames: list[int]
    times: list[int]
    ends: list[int]
    trade_counts: list[int]
    trade_pairs: list[int]
    trades: list[TradeKey]
    update_ids: dict[int, int | None]


def prepared(
    batch: ColumnBatch,
    begin: int,
    end: int,
    now_ns: int,
    places: Sequence[int],
    facts: Sequence[PairFacts],
    are_new: AreNew,
) -> Prepared:
    """
    Make a batch ready.

    Args:
        batch: Read as a whole.
        begin: Its first message to make ready.
        end: Before this one it ends.
        now_ns: The time by then. A message that was received before it, or before another one, is not plain.
        places: Place in `facts` of each pair that columns name; -1: none.
        facts: Facts of the pairs of the run.
        are_new: Whether trades of a pair are all new. Where they are not, none of them is plain.
    """
    rows = batch.rows[begin:end]
    pair = np.array([*places, -1], np.int64)[rows["pair"]]  # of a whole connection: the last
    kinds, flags = rows["kind"], rows["flags"]
    forms = np.array([*(each.form for each in facts), NOT_PLAIN])[pair]
    has_quotes = np.array([*(each.has_quotes for each in facts), False])[pair]
    is_fused = (flags & Flag.FUSED) != 0
    is_diff = (kinds == Kind.DIFF) & is_fused & ((flags & Flag.COUNTED) == 0) & (rows["form"] == forms)
    is_diff &= rows["ts_event"] != NO_TIME
    is_quote = (kinds == Kind.QUOTE) & ~is_fused & has_quotes
    has_trades = np.array([*(each.has_trades and each.form != NOT_PLAIN for each in facts), False])[pair]
    is_trade = (kinds == Kind.TRADE) & has_trades
    is_new = is_trade & ((flags & _NO_TRADE) == 0)
    recv = rows["ts_recv"]
    is_ordered = recv >= np.maximum(np.maximum.accumulate(recv), now_ns)
    is_plain = (is_diff | is_quote | is_trade) & is_ordered
    new_places = np.flatnonzero(is_new)
    trades, trade_pairs = _trades(batch, begin + new_places), pair[new_places].tolist()
    doubted = _not_new(trade_pairs, trades, are_new)
    if doubted:
        is_plain &= ~(is_trade & np.isin(pair, doubted))
    ids, has_ids = _update_ids(batch, begin, is_diff & is_plain)
    if not has_ids:
        is_plain &= ~is_diff
    events, bounds, is_off = _events(batch, rows, pair, is_diff & is_plain, is_new & is_plain, facts)
    if is_off.any():
        is_plain &= ~is_off
        events, bounds, _ = _events(batch, rows, pair, is_diff & is_plain, is_new & is_plain, facts)
    marks = np.zeros(len(rows), MARK)
    marks["frame"], marks["now"], marks["pair"] = rows["capture_seq"], recv, pair
    marks["first"], marks["stop"] = bounds[:-1], bounds[1:]
    marks["what"] = np.where(is_diff, BOOK, 0)
    looks = np.array([*(each.looks for each in facts), (False, False, False)])[pair]
    marks["what"] |= np.where((is_diff & looks[:, 0]) | (is_trade & looks[:, 2] & ((flags & _NOT_NEW) == 0)), LOOK, 0)
    marks["what"] |= np.where(is_diff & looks[:, 1], LOOK_AT_QUOTE, 0)
    is_taken = is_plain[new_places]
    if not is_taken.all():
        trades, trade_pairs = (list(compress(each, is_taken.tolist())) for each in (trades, trade_pairs))
    counted = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(is_new & is_plain, out=counted[1:])
    return Prepared(
        begin,
        events,
        marks,
        marks["what"].tolist() if looks.any() else [],
        rows["capture_seq"].tolist(),
        recv.tolist(),
        _ends(is_plain),
        counted.tolist(),
        trade_pairs,
        trades,
        ids,
    )


def _trades(batch: ColumnBatch, places: npt.NDArray[np.intp]) -> list[TradeKey]:
    """Id and time of the trades at some places."""
    stamps: list[int | None] = batch.rows["ts_event"][places].tolist()
    if NO_TIME in stamps:
        stamps = [None if stamp == NO_TIME else stamp for stamp in stamps]
    return list(zip(batch.all_said(places, "trade_id"), stamps, strict=True))


def _not_new(pairs: Sequence[int], trades: Sequence[TradeKey], are_new: AreNew) -> list[int]:
    """The pairs that have a trade again."""
    each = set(pairs)
    if len(each) == 1:
        return [place for place in each if not are_new(place, trades)]
    return [
        place
        for place in each
        if not are_new(place, [key for at, key in zip(pairs, trades, strict=True) if at == place])
    ]


def _update_ids(batch: ColumnBatch, begin: int, is_diff: Any) -> tuple[dict[int, int | None], bool]:
    """The venue's numbers of diffs, and whether all of them have one, or none."""
    places = np.flatnonzero(is_diff)
    ids = batch.all_said(begin + places, "last_update_id")
    missing = ids.count(None)
    return dict(zip(places.tolist(), ids, strict=True)), missing in (0, len(ids))


def _ends(is_plain: Any) -> list[int]:
    places = np.arange(len(is_plain))
    others = np.flatnonzero(~is_plain)
    following = np.append(others, len(is_plain))[np.searchsorted(others, places)]
    ends: list[int] = following.tolist()
    return ends


def _events(
    batch: ColumnBatch, rows: Any, pair: Any, is_diff: Any, is_trade: Any, facts: Sequence[PairFacts]
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64], Any]:
    """Events of diffs and trades, where those of each message begin, and which messages have a price or size off the grid."""
    is_off = np.zeros(len(rows), np.bool_)
    is_sell = (rows["flags"] & Flag.SELL) != 0
    # Of each message its buys, then its sells; a trade is one of either.
    sides = np.empty((len(rows), 2), np.int64)
    sides[:, BUY] = np.where(is_diff, rows["bids"], is_trade & ~is_sell)
    sides[:, SELL] = np.where(is_diff, rows["asks"], is_trade & is_sell)
    counts = sides.sum(axis=1)
    bounds = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(counts, out=bounds[1:])
    total = int(bounds[-1])
    level = np.arange(total) + np.repeat(rows["first"] - bounds[:-1], counts)
    # What is not read of an event (`recv`) is left out.
    events = np.zeros(total, EVENT)
    events["time"] = np.repeat(rows["ts_recv"], counts)
    events["frame"] = np.repeat(rows["capture_seq"], counts)
    events["count"] = -1
    events["code"] = np.repeat(np.where(is_diff, EventCode.LEVEL, EventCode.TRADE).astype(np.int8), counts)
    events["side"] = np.repeat(np.tile(np.array([BUY, SELL], np.int8), len(rows)), sides.ravel())
    events["pair"] = np.repeat(pair.astype(np.int16), counts)
    for place in np.unique(pair[counts > 0]).tolist():
        scale = facts[place].scale
        if scale is None:
            continue
        own: Any = slice(None) if len(facts) == 1 else np.flatnonzero(events["pair"] == place)
        events["tick"][own], on_tick = _steps(batch.prices[level[own]], *scale.tick_ratio)
        events["lots"][own], on_lot = _steps(batch.sizes[level[own]], *scale.lot_ratio)
        is_on = on_tick & on_lot
        if not is_on.all():
            owner = np.repeat(np.arange(len(rows)), counts)[own]
            is_off[owner[~is_on]] = True
    return events, bounds, is_off


def _steps(values: Any, over: int, under: int) -> tuple[Any, Any]:
    """Values in steps, and which of them are whole numbers of steps; as `PairScale.ticks` has it."""
    with np.errstate(all="ignore"):
        counts = np.rint(values * (under / over))
        back = counts * over / under if over != 1 else counts / under
        is_whole = back == values
        most = _EXACT / max(under, over)
        if not (len(values) and values.min() >= 0 and values.max() < most and counts.max() < most):
            is_whole &= (np.abs(values) < _EXACT / under) & (np.abs(counts * over) < _EXACT)
            counts = np.where(is_whole, counts, 0)
    return counts.astype(np.int64), is_whole
