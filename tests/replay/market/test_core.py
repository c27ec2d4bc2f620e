"""The core as a machine: compiled or not, in one piece or many, with much room or little, the same to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.market.core import MatchingCore, PairFacts, make_request
from replay.market.layout import EVENT, REPORT, REQUEST, ReportCode
from replay.market.rules import Rules, hftbacktest
from tests.replay.market.market_tapes import BOOK, Venue, events
from tests.replay.market.random_tapes import Step, any_rules, play, tapes
from toolkit.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
@settings(max_examples=300)
@given(tapes, any_rules)
def test_compiled_or_not_the_state_is_equal_bit_by_bit(steps: list[Step], rules: Rules) -> None:
    slow, fast = play(steps, rules, compiled=False), play(steps, rules, compiled=True)
    assert slow.reports.tobytes() == fast.reports.tobytes()
    for one, other in (
        (slow.core.state.book, fast.core.state.book),
        (slow.core.state[1:], fast.core.state[1:]),
    ):
        assert [np.asarray(part).tobytes() for part in one] == [np.asarray(part).tobytes() for part in other]


@settings(max_examples=25)
@given(tapes, any_rules)
def test_little_room_loses_nothing(steps: list[Step], rules: Rules) -> None:
    """Reports, orders and pages that have to grow all the time, against room for everything."""
    roomy, tight = play(steps, rules), play(steps, rules, orders=1, reports=1, pages=1, slots=1)
    assert roomy.reports.tobytes() == tight.reports.tobytes()


def test_reports_that_nobody_takes_are_kept() -> None:
    """More than there is room for, over many events."""
    core = MatchingCore([PairFacts()], Rules(), compiled=False, reports=2)
    core.run(events([("bid", 99, 1), ("ask", 101, 1)]))
    for order in range(1, 9):
        core.arrive(make_request(time=10, id=order, tick=98, lots=1, number=order))
    core.run(events([("sell", 97, 8)], 20))
    reports = core.take()
    assert [int(row["id"]) for row in reports] == [*range(1, 9), *range(1, 9)]
    assert [int(row["code"]) for row in reports] == [ReportCode.ACCEPTED] * 8 + [ReportCode.EXECUTED] * 8
    assert len(core.take()) == 0


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.sampled_from(["bid", "ask", "buy", "sell"]), st.integers(97, 103), st.integers(1, 4))),
    st.data(),
)
def test_any_batch_of_events_gives_the_same(steps: list[Step], data: st.DataObject) -> None:
    rows = events([*BOOK, *steps])
    whole = MatchingCore([PairFacts()], Rules(), compiled=False)
    parts = MatchingCore([PairFacts()], Rules(), compiled=False)
    for core in (whole, parts):
        core.run(rows[: len(BOOK)])
        for order, tick in ((1, 99), (2, 98), (3, 100)):
            core.arrive(make_request(time=9, id=order, tick=tick, lots=3, number=order))
    assert whole.run(rows, len(BOOK)) == len(rows)
    at = len(BOOK)
    while at < len(rows):
        until = int(rows["time"][at]) + data.draw(st.integers(0, 3))
        assert parts.run(rows, at, until) == min(until + 1, len(rows))
        at = min(until + 1, len(rows))
    assert whole.take().tobytes() == parts.take().tobytes()


def test_pairs_have_books_and_orders_of_their_own() -> None:
    core = MatchingCore([PairFacts(), PairFacts()], Rules(), compiled=False)
    rows = events([*BOOK, *BOOK])
    rows["pair"][len(BOOK) :] = 1
    rows["tick"][len(BOOK) :] += 1000
    core.run(rows)
    assert (core.best(0), core.best(1)) == ((99, 101), (1099, 1101))
    core.arrive(make_request(time=50, id=1, pair=0, tick=99, lots=1, number=1))
    core.arrive(make_request(time=50, id=2, pair=1, tick=1099, lots=1, number=2))
    trade = events([("sell", 1098, 5)], 60)
    trade["pair"] = 1
    core.run(trade)
    assert [(int(row["id"]), int(row["pair"])) for row in core.take()][2:] == [(2, 1)]


def test_a_crossed_level_pushes_the_other_side_back() -> None:
    """The bid comes to 102: the asks at 101 and 102 are passed, and 105 is the best; gone again, they do not return."""
    venue = Venue()
    venue.market(("bid", 102, 1))
    assert venue.core.best() == (102, 105)
    venue.market(("bid", 102, 0))
    assert venue.core.best() == (99, 105)
    venue.market(("ask", 101, 4))
    assert venue.core.best() == (99, 101)


def test_a_level_at_the_other_sides_best_price_pushes_it_back_too() -> None:
    """Never is the best bid at the best ask."""
    venue = Venue()
    venue.market(("bid", 101, 1))
    assert venue.core.best() == (101, 102)


def test_a_core_without_pairs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^no pair to match, expected at least one$"):
        MatchingCore([], Rules())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("time", -1, "market events whose times do not ascend; expected the order in which they act at the venue"),
        ("pair", 1, "a market event with pair 1, expected 0 to 0"),
        ("pair", -1, "a market event with pair -1, expected 0 to 0"),
        ("side", 2, "a market event with side 2, expected 0 to 1"),
        ("code", 9, "a market event with code 9, expected 0 to 6"),
        ("lots", -3, "a market event with lots -3, expected 0 to "),
        ("tick", 2**62, f"a market event with tick {2**62}, expected 0 to "),
    ],
)
def test_events_that_cannot_be_are_refused(field: str, value: int, message: str) -> None:
    core = MatchingCore([PairFacts()], Rules(), compiled=False)
    rows = events(BOOK)
    core.check(rows)
    core.check(rows[:0])
    rows[field][3] = value
    with pytest.raises(ConfigError) as caught:
        core.check(rows)
    assert str(caught.value).startswith(message)


def test_many_ids_are_found_and_forgotten() -> None:
    """Ids that share places in the table, added and removed in turns, against a dict."""
    core = MatchingCore([PairFacts()], Rules(), compiled=False, orders=2)
    core.run(events(BOOK))
    alive: set[int] = set()
    for step in range(300):
        order = (step * 7919) % 48 * 16 + step % 3
        if order in alive:
            core.arrive(make_request(time=step, id=order, code=2, number=step))
            alive.discard(order)
        else:
            core.arrive(make_request(time=step, id=order, tick=98, lots=1, number=step))
            alive.add(order)
        assert int(core.take()[-1]["code"]) in (ReportCode.ACCEPTED, ReportCode.ENDED)
    assert int(core.state.counters["live"][0]) == len(alive)


def test_the_preset_of_whole_fills_fills_whole() -> None:
    """Without partial fills a level of one lot that reaches us fills all of 5, and a taker fills whole at the best."""
    venue = Venue(hftbacktest(partial=False))
    venue.place(1, "buy", 99, 5)
    assert venue.market(("ask", 99, 1)) == [(1, "maker", 99, 5)]
    assert venue.place(2, "buy", 102, 40)[1:] == [(2, "taker", 99, 40)]


def test_events_are_48_bytes() -> None:
    """Thirty million of them are held at once: a field more is a decision."""
    assert EVENT.itemsize == 48
    assert np.zeros(1, EVENT)["count"].dtype == np.int32


@pytest.mark.slow
def test_compiled_code_touches_no_memory_but_its_own() -> None:
    """Every access is checked, in a market that has to grow all the time."""
    program = (
        "from hypothesis import given, settings\n"
        "from tests.replay.market.random_tapes import any_rules, play, tapes\n"
        "@settings(max_examples=300, deadline=None, database=None)\n"
        "@given(tapes, any_rules)\n"
        "def check(steps, rules):\n"
        "    play(steps, rules, compiled=True, orders=1, reports=1, pages=1, slots=1)\n"
        "check()\n"
    )
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_request_by_its_fields_and_reports_as_tuples_are_those_of_rows() -> None:
    """Every field has another value, so that none can stand in another's place."""
    assert REQUEST.names is not None
    assert REPORT.names is not None
    named = dict(zip(REQUEST.names, range(101, 101 + len(REQUEST.names)), strict=True))
    core = MatchingCore([PairFacts()], Rules(), compiled=False)
    seen = []

    def note(_: object, request: np.void) -> int:
        seen.append(request.tolist())
        return 0

    core._arrive = note
    core.ask(named.pop("time"), named.pop("number"), named.pop("code"), **named)
    assert dict(zip(REQUEST.names, seen[0], strict=True)) == dict(zip(REQUEST.names, range(101, 114), strict=True))

    rows = np.zeros(2, REPORT)
    for place, name in enumerate(REPORT.names):
        rows[name] = place + 1, -place - 1
    core.state.reports[:2] = rows
    core._reports[0] = 2
    assert core.take_rows() == rows.tolist()
    assert not core.has_reports
