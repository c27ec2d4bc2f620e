"""What a compiled run says of itself is what the same function in plain Python says: doubts, counts, numbers and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from replay.fast import run_log
from replay.fast.actions import BUY, GTC, IOC, POST_ONLY, SELL, amend, cancel, keep, open_count, own, send
from replay.fast.step import step
from replay.fast_classes.strategy_backtest import backtest
from replay.results.result import Result, summary_table
from replay.results.run_info import QueueInfo
from tests.golden.expectations import NEWEST
from tests.replay.backtest.market_messages import Messages
from tests.replay.fast.both_tiers import check_all_the_same, in_both_tiers
from tests.replay.fast.random_tapes import KEY, in_finer_steps, random_tape, tape_of_forms
from tests.replay.fast.steps import busy
from toolkit.keys import PairKey
from toolkit.messages import BETWEEN_RECORDINGS, EventKind, Message

pytestmark = pytest.mark.usefixtures("uncompiled")

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND
#: Steps finer than those of any golden recording, so that no unit changes while it runs.
FINE: dict[str, Any] = {"tick": "0.000001", "lot": "0.00001"}
AT_ONCE = "entry=0ms,response=0ms"
SLOW = "entry=30ms,response=20ms"


@step(start=True, orders=True, state={"sent": 0})
def rests(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """One order to buy 2 at 98, which stays."""
    if s.sent == 0:
        s.sent = 1
        send(act, 0, BUY, 98 * q[0].tick, 2 * q[0].lot, GTC, 1)


@step(every="100ms", parameters={"size": 3})
def keeps_both(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """One order on each side, always: while the book is stale as well."""
    if q[0].bid and q[0].ask:
        keep(act, 0, 1, BUY, q[0].bid, p.size * q[0].lot)
        keep(act, 0, 2, SELL, q[0].ask, p.size * q[0].lot)


@step(trades=True, quotes=True, fills=True, parameters={"away": 1}, state={"calls": 0})
def chases(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Sends at every trade, amends at every quote, and takes back what is too late to be had back."""
    s.calls += 1
    if q[0].bid == 0 or q[0].ask == 0:
        return
    if open_count(act) > 3:
        cancel(act, s.calls % open_count(act))
    elif s.calls % 3 == 0:
        send(act, 0, s.calls % 2, q[0].ask if s.calls % 2 == 0 else q[0].bid, 2 * q[0].lot, IOC, 0)
    elif open_count(act) and own(act, 0).tick > p.away:
        amend(act, 0, own(act, 0).tick - p.away, own(act, 0).size)
    else:
        send(act, 0, s.calls % 2, q[0].bid if s.calls % 2 == 0 else q[0].ask, q[0].lot, POST_ONLY, 0)


@step(quotes=True, state={"calls": 0})
def holds(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Trades now and then, each time the other way and twice as much, and holds that meanwhile."""
    s.calls += 1
    if s.calls % 12 == 1 and q[0].bid and q[0].ask:
        side = BUY if s.calls % 24 == 1 else SELL
        send(act, 0, side, q[0].ask + 5 if side == BUY else q[0].bid - 5, 3 * q[0].lot, IOC, 0)


STEPS = {each.name: each for each in (busy, keeps_both, chases)}


@pytest.mark.parametrize("path", NEWEST, ids=lambda path: path.name)
@pytest.mark.parametrize("latency", ["entry=50ms,response=50ms", "entry=3ms,cancel.entry=1ms,response=40ms"])
def test_a_compiled_run_of_a_venue_says_all_that_plain_python_says(path: Path, latency: str) -> None:
    """Of each venue a golden recording, which ends its session and has gaps of its own."""
    if "coinm" in path.name:
        pytest.skip("without contract values, which a run has to be given")
    options: dict[str, Any] = {"assumed": FINE, "latency": latency}
    compiled, python = backtest(busy, path, **options), backtest(busy.in_python(), path, **options)
    assert python.orders.height > 10
    check_all_the_same(compiled, python)


def market(say: Messages) -> list[Message]:
    """Tick and lot of 1, and a book: best bid 10 at 99, best ask 4 at 101."""
    start = [say.event(START, EventKind.SESSION_START, stream="", cause=""), say.instrument(START, settle="USDT")]
    return [*start, say.snapshot(START), say.diff(START + SECOND, {97: 1})]


def said(tape: list[Message], *, has_page: bool = False, **settings: Any) -> Result:
    """The compiled run of an order that stays, which is the same in plain Python."""
    compiled, python = in_both_tiers(rests, tape, [KEY], **settings)
    check_all_the_same(compiled, python, has_page=has_page)
    return compiled


def times(result: Result) -> list[tuple[float, float | None, str, tuple[str, ...]]]:
    """Gaps in seconds from the start of the tape."""
    return [
        (
            (gap.start_ns - START) / SECOND,
            None if gap.end_ns is None else (gap.end_ns - START) / SECOND,
            gap.cause,
            gap.orders,
        )
        for gap in result.info.gaps
    ]


def test_a_gap_of_the_book_is_said_with_the_order_across_it() -> None:
    """Ten seconds without a book; the order behind 20 is filled by 25 that are sold two seconds after it."""
    say = Messages(KEY)
    result = said(
        [
            *market(say),
            say.event(START + 10 * SECOND, EventKind.STALE),
            say.event(START + 20 * SECOND, EventKind.GAP),
            say.snapshot(START + 20 * SECOND, {103: 10, 98: 20}, {105: 10}),
            say.trade(START + 22 * SECOND, "sell", 98, 25),
            say.diff(START + 40 * SECOND, {97: 3}),
        ],
        has_page=True,
        latency="entry=10ms,response=0ms",
    )
    assert times(result) == [(10.0, 20.0, "disconnect", ("1",))]
    lines = dict(summary_table(result))
    assert (lines["gaps"], lines["orders across gaps"], lines["uncertain fills"]) == ("1", "1", "1")
    # From the fill on the position is uncertain.
    assert result.doubtful_time_share == pytest.approx((10 + 18) / 40)
    assert result.info.pairs[0].queue == QueueInfo(orders=1, unseen=0, median=20.0, p90=20.0)


def test_a_gap_of_the_trades_alone_puts_what_rests_in_doubt() -> None:
    say = Messages(KEY)
    result = said(
        [
            *market(say),
            say.event(START + 2 * SECOND, EventKind.STALE, stream="trades"),
            say.diff(START + 3 * SECOND, {97: 2}),
            say.event(START + 5 * SECOND, EventKind.GAP, stream="trades"),
            say.trade(START + 5 * SECOND, "sell", 97, 1),
            say.diff(START + 10 * SECOND, {97: 3}),
        ],
        latency=AT_ONCE,
    )
    assert times(result) == [(2.0, 5.0, "disconnect", ("1",))]
    assert result.doubtful_time_share == pytest.approx((3 + 5) / 10)


def test_a_gap_at_the_very_end_of_a_tape_lasts_to_its_end() -> None:
    say = Messages(KEY)
    result = said([*market(say), say.event(START + 3 * SECOND, EventKind.STALE)])
    assert times(result) == [(3.0, None, "disconnect", ("1",))]
    assert result.info.counts == {"clipped_responses": 0, "gaps": 1, "uncertain_orders": 1}


def test_numbers_that_are_left_out_are_a_gap_from_when_they_began() -> None:
    say = Messages(KEY)
    gap = say.event(START + 3 * SECOND, EventKind.GAP, stream="trades", cause="sequence")
    gap = msgspec.structs.replace(gap, ts_start=START + 2 * SECOND, ts_end=START + 3 * SECOND)
    result = said([*market(say), gap, say.diff(START + 4 * SECOND, {97: 2})])
    assert times(result) == [(2.0, 3.0, "sequence", ("1",))]


def test_a_hole_between_two_recordings_is_a_gap() -> None:
    say = Messages(KEY)
    result = said(
        [
            *market(say),
            say.event(START + 2 * SECOND, EventKind.STALE, cause=BETWEEN_RECORDINGS),
            say.event(START + 8 * SECOND, EventKind.GAP, stream="", cause=BETWEEN_RECORDINGS),
            say.instrument(START + 8 * SECOND, settle="USDT"),
            say.snapshot(START + 8 * SECOND),
            say.diff(START + 9 * SECOND, {97: 2}),
        ]
    )
    assert times(result) == [(2.0, 8.0, BETWEEN_RECORDINGS, ("1",))]


def test_an_order_that_comes_while_the_book_is_stale_is_one_across_the_gap() -> None:
    """It is sent before the gap and arrives in it; and one that comes before any book is in doubt, and in no gap."""
    say = Messages(KEY)
    first = [each for each in market(say) if each.ts_recv == START]
    latency = "entry=2s,response=0ms"
    tape = [
        *first,
        say.event(START + SECOND, EventKind.STALE),
        say.trade(START + 3 * SECOND, "sell", 90, 1),
        say.snapshot(START + 4 * SECOND),
        say.diff(START + 9 * SECOND, {97: 2}),
    ]
    result = said(tape, latency=latency)
    assert times(result) == [(1.0, 4.0, "disconnect", ("1",))]
    say = Messages(KEY)
    begin, defined, book, _ = market(say)
    late = msgspec.structs.replace(book, ts_recv=START + 4 * SECOND)
    result = said([begin, defined, late, say.diff(START + 5 * SECOND, {97: 2})], latency=AT_ONCE)
    assert (times(result), result.info.counts["uncertain_orders"]) == ([], 1)


def test_a_run_that_never_had_a_book_says_so() -> None:
    say = Messages(KEY)
    begin, defined, *_ = market(say)
    result = said([begin, defined, say.trade(START + 4 * SECOND, "sell", 90, 1)])
    assert times(result) == [(0.0, None, "no_book", ("1",))]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", STEPS)
def test_random_tapes_are_said_the_same_of(seed: int, name: str) -> None:
    """Holes of every kind, sessions that end and begin, clocks that jump, in batches of every length."""
    latencies = (AT_ONCE, SLOW, "entry=3ms,cancel.entry=1ms,response=2ms")
    tape, batch = random_tape(seed, 120), (1, 7, 64, 1_000)[seed]
    compiled, python = in_both_tiers(
        STEPS[name],
        tape,
        [KEY],
        batch=batch,
        latency=latencies[seed % 3],
        preset="hftbacktest" if seed == 3 else "default",
    )
    assert python.info.gaps
    check_all_the_same(compiled, python)


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(each, marks=pytest.mark.slow) for each in range(3, 20))])
def test_books_of_several_forms_and_venues_are_said_the_same_of(seed: int) -> None:
    """Funding that is heard of as sessions end, too, and orders of two venues that end with them."""
    keys = [PairKey("hyperliquid", "BTC-USD"), *([PairKey("dydx_v4", "ETH-USD")] if seed % 2 else [])]
    # Of what is heard at one instant, funding and answers are not told apart by what was first.
    latency = "entry=3ms,cancel.entry=1ms,response=2ms"
    compiled, python = in_both_tiers(busy, tape_of_forms(seed, keys), keys, latency=latency)
    check_all_the_same(compiled, python)


@pytest.mark.parametrize("pairs", [1, 2])
@pytest.mark.parametrize("batch", [9, 500])
@pytest.mark.parametrize("of_forms", [True, False])
def test_what_is_held_is_valued_the_same_in_stretches(
    pairs: int, batch: int, of_forms: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one pair or two, with books that cannot be believed in between; a log may end where a frame does not."""
    monkeypatch.setattr(run_log, "_FEW", 2)
    keys = [KEY, PairKey("dydx_v4", "ETH-USD")][:pairs]
    tape = tape_of_forms(pairs, keys, 400) if of_forms else random_tape(pairs, 400)
    compiled, python = in_both_tiers(holds, tape, keys if of_forms else [KEY], batch=batch, latency=SLOW)
    assert python.fills.height > 3
    check_all_the_same(compiled, python)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 140))
def test_more_random_tapes_are_said_the_same_of(seed: int) -> None:
    compiled, python = in_both_tiers(busy, random_tape(seed), [KEY], latency=SLOW if seed % 2 else AT_ONCE)
    check_all_the_same(compiled, python)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), 5])
def test_steps_that_become_finer_while_orders_rest_change_no_number(seed: int) -> None:
    """Orders, answers under way, queues and what is written down are counted in new steps, and are what they were."""
    tape = in_finer_steps(random_tape(seed, 120), 40 + 10 * seed, 0.125, 0.5)
    # In batches of their own: a batch is counted in the finest steps of all of it.
    compiled, python = in_both_tiers(busy, tape, [KEY], batch=1, latency="entry=3ms,cancel.entry=1ms,response=200ms")
    check_all_the_same(compiled, python)


def test_what_was_done_before_a_batch_with_finer_prices_is_written_down_in_the_steps_of_then() -> None:
    """The venue uses half of a unit before it says so: the order at 98 stays one at 98, and 2 stay 2."""
    say = Messages(KEY)
    tape = [*market(say), say.diff(START + 2 * SECOND, {97.5: 0.5}), say.diff(START + 3 * SECOND, {97: 3})]
    result = said(tape, batch=4)
    assert result.orders.select("price", "size").rows() == [(98.0, 2.0)]


def test_requests_that_came_too_late_are_counted() -> None:
    """Of the tapes above at least one has some: both count them, and not by a decision log alone."""
    compiled, python = in_both_tiers(chases, random_tape(2), [KEY], latency=SLOW)
    assert compiled.info.late_requests == python.info.late_requests
    assert compiled.lives.late


@step(quotes=True, parameters={"count": 1}, state={"calls": 0})
def sends_once(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """As many orders as it is told to, at its first quote."""
    for number in range(p.count if s.calls == 0 else 0):
        send(act, 0, BUY, 50 + number % 40, 1)
    s.calls += 1


@pytest.mark.parametrize(("count", "levels"), [(1, 2_500), (64, 0), (130, 2_500)])
def test_orders_end_with_a_session_whatever_room_the_core_has_for_that(count: int, levels: int) -> None:
    """Where a book has grown deep since they came to rest, and where they are as many as there is room for."""
    say = Messages(KEY)
    tape = [*market(say), say.diff(START + SECOND, {99: 7})]
    tape.append(say.diff(START + 2 * SECOND, asks={200 + level: 1 for level in range(levels)}))
    tape.append(say.event(START + 3 * SECOND, EventKind.SESSION_END, stream="", cause=""))
    compiled, python = in_both_tiers(
        sends_once, tape, [KEY], parameters={"count": count}, latency="entry=1ms,response=1ms"
    )
    check_all_the_same(compiled, python)
    assert compiled.orders["state"].to_list() == ["cancelled"] * count
