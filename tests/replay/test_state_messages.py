"""A compiled run that begins at an instant reads on from a state before it, and is the run that was there from the beginning."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from recordings.states import seek_points
from replay.column_tape import ColumnTape
from replay.fast.actions import BUY, SELL, keep, level
from replay.fast.step import step
from replay.fast_classes.strategy_backtest import backtest
from replay.many.many_runs import backtest_many, fork
from replay.results.result import Result
from replay.state_messages import messages_of_state
from replay.tape import Tape as Played
from tests.golden.expectations import RECORDINGS
from tests.replay.busy_tapes import Tape, sealed
from toolkit.books.tracker import OrderBookTracker

FINE: dict[str, Any] = {"assumed": {"tick": "0.000001", "lot": "0.00001", "min_notional": "0.000001"}}
KINDS: dict[str, dict[str, Any]] = {
    "books": {"coins": ("BTC", "ETH")},
    "diffs": {"coins": (), "symbols": ("BTCUSDT", "ETHUSDT")},
}


@step(every="20ms", trades=True, start=True, parameters={"shift": 0}, state={"calls": 0})
def looks_about(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Orders by prices and sizes of levels of all pairs, from the first call on."""
    s.calls += 1
    for pair in range(len(q)):
        m = q[pair]
        if m.bid == 0 or m.ask == 0 or m.stale:
            continue
        price, size = level(act, pair, BUY, (s.calls + p.shift) % 4)
        if price:
            keep(act, pair, 1, BUY, price, (1 + size % 7) * m.lot)
        price, size = level(act, pair, SELL, s.calls % 3)
        if price:
            keep(act, pair, 2, SELL, price, (1 + size % 5) * m.lot)


@pytest.fixture(autouse=True)
def close_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state every few frames, however small these are."""
    monkeypatch.setattr(seek_points, "POINT_FRAMES", 11)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 0)
    monkeypatch.setattr("recordings.states.checkpoints.TABLES_PER_BYTE", 0)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first frame that each tape of columns was read from."""
    found: list[int] = []
    original = ColumnTape.batches

    def batches(self: ColumnTape, beginning: Any = None) -> Any:
        found.append(0 if beginning is None else beginning.capture_seq)
        return original(self, beginning)

    monkeypatch.setattr(ColumnTape, "batches", batches)
    return found


def from_the_beginning(monkeypatch: pytest.MonkeyPatch, run: Any) -> Any:
    with monkeypatch.context() as patch:
        patch.setattr(Played, "beginning_near", lambda self, ns: None)
        return run()


def rows(result: Result) -> list[Any]:
    """What was done; of gaps before the beginning, by which time is doubtful, a state says nothing."""
    return [getattr(result, name).rows() for name in ("fills", "orders", "positions")]


def columns_of(tracker: OrderBookTracker) -> list[Any]:
    found = []
    for key in tracker.keys:
        book = tracker.book(key)
        found.append((key, book.bids.columns(), book.asks.columns(), book.is_stale, book.ts_event))
    return found


def window(folder: Path, seed: int) -> tuple[int, int]:
    first, last = Recording.open(folder).span or (0, 0)
    return first + (last - first) * (2 + seed) // 6, last


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("seed", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_run_that_is_sought_is_that_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[int], seed: int, kind: str
) -> None:
    folder = sealed(tmp_path / "tape", Tape(seed, **KINDS[kind]).make(240), 81).path
    first, last = Recording.open(folder).span or (0, 0)
    draw = random.Random(seed)
    sought = 0
    for _ in range(2):
        at = draw.randrange(first + (last - first) // 3, last)
        run = backtest(looks_about, folder, start_ns=at, **FINE)
        sought += read.pop() > 0
        played: Result = from_the_beginning(
            monkeypatch, lambda at=at: backtest(looks_about, folder, start_ns=at, **FINE)
        )
        assert rows(run) == rows(played)
        assert rows(run) == rows(backtest(looks_about.in_python(), folder, start_ns=at, **FINE))
    assert sought


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("kind", KINDS)
def test_sweeps_and_forks_of_a_part_are_sought_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[int], kind: str
) -> None:
    folder = sealed(tmp_path / "tape", Tape(3, **KINDS[kind]).make(240), 81).path
    start, last = window(folder, 1)
    sets = [{}, {"shift": 1}]

    def runs() -> list[Result]:
        many = backtest_many(looks_about, folder, sets, start_ns=start, **FINE)
        return [*many, *fork(looks_about, folder, sets, at=(start + last) // 2, start_ns=start, **FINE)]

    found = runs()
    assert any(read)
    for one, other in zip(found, from_the_beginning(monkeypatch, runs), strict=True):
        assert rows(one) == rows(other)


@pytest.mark.parametrize("folder", RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_messages_of_a_state_lead_to_it(folder: Path) -> None:
    """At many places of every venue: books of what follows are the same, or there are no messages."""
    messages = [message for batch in Recording.open(folder).messages() for message in batch]
    tracker = OrderBookTracker(checked=True)
    led = 0
    for place, message in enumerate(messages):
        if place % max(1, len(messages) // 12) == 0 and place:
            found = messages_of_state(tracker.export(), message.capture_seq - 1)
            if found is not None:
                led += 1
                other = OrderBookTracker(checked=True)
                for each in found:
                    other.apply(each)
                copy = OrderBookTracker(checked=True)
                copy.restore(tracker.export())
                for number, each in enumerate(messages[place : place + 200]):
                    other.apply(each)
                    copy.apply(each)
                    if number % 10 == 0:
                        assert columns_of(other) == columns_of(copy)
        tracker.apply(message)
    assert led or len(messages) < 50


def test_of_a_stale_book_there_are_no_messages() -> None:
    tracker = OrderBookTracker(checked=True)
    recording = Recording.open(next(path for path in RECORDINGS if path.name == "hyperliquid"))
    messages = [message for batch in recording.messages() for message in batch]
    for message in messages[: len(messages) // 2]:
        tracker.apply(message)
    assert messages_of_state(tracker.export(), 1) is not None
    tracker._pairs[next(iter(tracker._pairs))].mark_stale("full", "gap")
    assert messages_of_state(tracker.export(), 1) is None
