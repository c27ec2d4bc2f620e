"""An engine that has run ahead goes back, and the same way again, to the very same arrays; timers and pace of it."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest

from replay.fast_classes import walk
from replay.fast_classes.kernel_wakes import STATE_WORDS, note_wake
from replay.fast_classes.run_ahead import NEVER, Pace, RunAhead, due_times
from replay.strategy.strategy import Strategy
from tests.replay.fast.random_tapes import KEY, random_tape, tape_of_forms
from tests.replay.fast_classes.both_ways import both_ways
from tests.replay.fast_classes.busy_class import variant
from toolkit.keys import PairKey
from toolkit.timing.timers import Timer, Timers


class _Hands(NamedTuple):
    """What a step function is handed, as far as it is used here."""

    clock: Any


#: What is only used while a message is taken in.
_PASSING = ("events", "scratch", "reports", "request", "state", "state_before")


def arrays(value: Any, name: str = "") -> dict[str, Any]:
    """The arrays of an engine by their names, but for those that hold nothing between two messages."""
    if not isinstance(value, tuple):
        return {name: value.copy()}
    names: tuple[str, ...] = getattr(value, "_fields", ())
    inner = [(f"{name}.{field}", each) for field, each in zip(names, value, strict=True) if field not in _PASSING]
    return {place: array for where, each in inner for place, array in arrays(each, where).items()}


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(each, marks=pytest.mark.slow) for each in range(3, 20))])
def test_an_engine_that_goes_back_comes_to_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any wake, over any other: books, fused and of the exchange, best prices, numbers of orders, clock and log."""
    chance, found = random.Random(seed), 0
    go = walk.Walk.go

    def back_and_forth(self: walk.Walk) -> bool:
        nonlocal found
        ahead, engine = self._ahead, self._run.engine
        assert ahead._engine is engine
        if ahead.count and not ahead.has_stopped and found < 12:
            before, status = arrays(engine), ahead.status
            for at in sorted(chance.sample(range(ahead.count), min(3, ahead.count)), key=lambda _: chance.random()):
                ahead.go_to(at)
            ahead.go_on()
            after = arrays(engine)
            # For what the last row has called, and what the engine calls the class itself for, which it does from here on.
            for clock in (before[".hands.clock"], after[".hands.clock"]):
                clock["why"], clock["wakes"], clock["asks_funding"] = 0, 0, 0
            # Of an event it may be said once that it comes, before what it is: then the time is that of its frame already.
            for name, array in (after if ahead.status == status else {}).items():
                assert array.tobytes() == before[name].tobytes(), name
            found += ahead.status == status
        return go(self)

    monkeypatch.setattr(walk.Walk, "go", back_and_forth)
    keys = [KEY] if seed % 2 else [PairKey("dydx_v4", "BTC-USD"), PairKey("hyperliquid", "BTC-USD")]
    tape = random_tape(seed, 90) if seed % 2 else tape_of_forms(seed, keys, 90)
    parameters = {"asset": "hyperliquid/USDC"} if len(keys) > 1 else {}
    cls: type[Strategy] = variant(seed)
    both_ways(cls, tape, keys, latency="entry=0ms,response=0ms", seed=seed, parameters=parameters)
    assert found > 1


def test_times_of_timers_are_those_at_which_they_are_asked_for() -> None:
    """Single ones and periodic ones, at one time, taken back, over a clock that jumps."""
    for seed in range(60):
        chance, timers = random.Random(seed), Timers()
        for _ in range(chance.randrange(6)):
            every = chance.choice((None, chance.randrange(1, 9)))
            timer = Timer(chance.randrange(50), lambda due: None, every)
            timers.add(timer)
            if chance.random() < 0.3:
                timer.cancel()
        if chance.random() < 0.5:
            timers.jump(20, 30)
        times = due_times(timers, 40)
        for due in times:
            assert due == min(timers.next_due_ns, NEVER)
            timers.pop_due(due)
        assert len(times) == 40 or timers.next_due_ns > NEVER


def test_an_engine_that_ran_ahead_in_vain_waits_ever_longer() -> None:
    pace = Pace(2, 5)
    waited = []
    for _ in range(4):
        count = 0
        while not pace.is_over():
            count += 1
        waited.append(count)
        pace.note(100, 3, 0, has_left=True)
    assert waited == [0, 4, 5, 5]
    pace.note(100, 1000, 0, has_left=False)
    assert pace.is_over()
    rows = pace.rows
    pace.note(rows, 1000, 0, has_left=False)
    assert pace.rows == 2 * rows


@pytest.mark.slow
def test_wakes_are_noted_alike_compiled_and_in_python() -> None:
    """Of a pair that calls, of all pairs, of timers, up to where there is no more room."""
    compiled = numba.njit(note_wake)
    clock = np.zeros(1, [("is_dirty", "i8"), ("row", "i8"), ("log", "i8"), ("told", "i8"), ("timer", "i8")])
    quotes = np.zeros(3, [(name, "i8") for name in ("bid", "bid_size", "ask", "ask_size", "stale")])
    for place, name in enumerate(quotes.dtype.names or ()):
        quotes[name] = [10 * pair + place for pair in range(3)]
    for shows_all in (0, 1):
        words = 6 + 5 * (3 if shows_all else 1)
        found = []
        for function in (note_wake, compiled):
            hands = _Hands(clock.copy())
            records, state = np.zeros(8 * words, np.int64), np.zeros(STATE_WORDS, np.int64)
            records[6 * words :] = np.arange(len(records) - 6 * words)
            state[:6] = 0, 6, words, shows_all, 6 * words, 6 * words + 2
            said = [
                function(now, why, pair, quotes, quotes, records, state, hands)
                for now, why, pair in ((1, 1, 2), (2, 4, -1), (3, 2, 0), (4, 4, -1))
            ]
            found.append((said, records.tolist(), state.tolist(), hands.clock.tolist()))
        assert found[0] == found[1]
        assert found[0][0] == [0, 0, 0, 1]


def test_room_for_wakes_is_part_of_the_engine() -> None:
    """Of eight pairs and fewer each wake has the best prices of all, of more those of the pair that calls."""
    few, many = RunAhead(8), RunAhead(9)
    assert few._words == 46
    assert many._words == 11
