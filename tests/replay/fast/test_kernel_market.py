"""A book that the owner of orders and the venue share is that of the tracker, whatever comes between its diffs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recordings.columns.column_batch import Names, of_messages
from replay.fast.engine_layout import book_of
from replay.fast.level_columns import counted
from replay.fast.step_run import StepRun
from replay.strategy.backtesting import settings_of
from replay.strategy.plan import RunPlan
from tests.replay.fast.steps import quiet
from tests.tapes import diff, quote, snapshot
from toolkit.books.tracker import OrderBookTracker
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import side_columns
from toolkit.keys import PairKey
from toolkit.messages import BETWEEN_RECORDINGS, EventKind, Message, StreamEvent
from toolkit.rng import seeded


def levels_in(store: Any, line: int) -> list[tuple[int, int]]:
    """Prices and sizes of a side, best first."""
    count = int(store.levels[line])
    keys, sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)
    plain(side_columns)(store, line, keys, sizes)
    return list(zip(np.abs(keys).tolist(), sizes.tolist(), strict=True))


def any_message(seed: int, number: int) -> Message:
    """Mostly diffs, now and then what makes the book another than that of diffs alone, or the same again."""
    random = seeded(f"shared {seed} {number}")
    head: dict[str, Any] = {"ts_recv": number, "capture_seq": number, "symbol": "A"}
    head["ts_event"] = random.choice([None, number * 1_000_000, (number - random.randrange(20)) * 1_000_000])
    kind = random.choices(["diff", "whole", "capped", "quote", "stale", "gap"], [70, 12, 5, 5, 4, 4])[0]
    middle = 6400 + random.randrange(-3, 4)
    most = 2 if kind == "quote" else 9

    def side(sign: int, depth: int) -> list[tuple[float, float]]:
        away = sorted(random.sample([*range(1, 9), 70, 71, 130, 700, 5000], depth))
        empty = [0] if kind == "diff" else [4]
        return [(float(middle + sign * each), float(random.choice([*empty, 1, 2, 3]))) for each in away]

    bids, asks = side(-1, random.randrange(1, most)), side(1, random.randrange(1, most))
    if kind == "diff":
        counts = random.choice([{}, {"bid_counts": (3,) * len(bids), "ask_counts": (4,) * len(asks)}])
        return diff(bids, asks, **counts, **head)
    if kind == "quote":
        return quote(bids[0], asks[0], **head)
    if kind in ("whole", "capped"):
        return snapshot(bids, asks, depth_cap=None if kind == "whole" else 4, **head)
    cause = BETWEEN_RECORDINGS if kind == "gap" else "disconnect"
    event = EventKind.GAP if kind == "gap" else EventKind.STALE
    return StreamEvent("hyperliquid", "A", "A-B", None, number, number, 0, kind=event, stream="full", cause=cause)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("seed", range(6))
def test_a_book_that_owner_and_venue_share_is_the_fused_one_after_every_message(seed: int) -> None:
    """Diffs, snapshots between them, other forms, gaps: whoever looks sees the tracker's levels, and diffs are kept once."""
    keys = [PairKey("hyperliquid", "A-B"), PairKey("hyperliquid", "C-B")]
    names, tracker = Names(keys), OrderBookTracker(checked=True)
    plan = RunPlan(quiet.loaded(), keys, settings_of(assumed={"tick": "1", "lot": "1"}))
    run, places = StepRun(plan, quiet, names, plan.open(0, waits=True)), np.arange(2)
    shared = 0
    for number in range(150):
        message = any_message(seed, number)
        book = tracker.apply(message)
        batch = of_messages([message], names)
        run.take(batch, places, counted(batch, places, run.markets, run.rescale))
        if book is None:
            continue
        store = book_of(run.engine, 0)
        for line, kept in ((0, book.bids), (1, book.asks)):
            prices, sizes, _ = kept.columns()
            assert levels_in(store, line) == list(zip(map(int, prices), map(int, sizes), strict=True)), number
        assert bool(run.engine.hands.books.pairs["is_stale"][0]) == book.is_stale
        if store is run.engine.core.book:
            assert not run.engine.hands.books.store.levels[:2].any(), "it is kept once"
            shared += 1
    assert 20 < shared < 145
