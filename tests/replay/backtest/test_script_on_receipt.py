"""Order scripts on the receive clock: over recordings, holes between them, and tapes of any length."""

from __future__ import annotations

import itertools
import json
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from replay.backtest.exchange import Exchange
from replay.backtest.gap_policy import GapPolicy
from replay.backtest.latency_settings import parse_latency
from replay.backtest.market import Assumed, Market
from replay.backtest.receive_latency import ConstantReceiveLatency
from replay.backtest.requests import Refusal
from replay.backtest.running import Clock, ScriptRun, run_script
from replay.backtest.script import Action, play_on_receipt
from replay.market.layout import Reason, StateCode, TifCode
from replay.market.rules import Rules
from replay.strategy.backtesting import settings_of
from replay.strategy.decision_log import LogRow
from replay.strategy.plan import RunPlan
from replay.tape import Tape
from tests.replay.backtest.market_messages import KEY, Desk, Messages
from tests.replay.fast import random_tapes
from tests.replay.fast.steps import busy
from tests.replay.tapes_of_trades import MS, make
from tests.tapes import TS, VENUE
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Message

PAIR = PairKey(VENUE, "BTC-USD")
ASSUMED = {"tick": Decimal("0.1"), "lot": Decimal("0.1"), "min_notional": Decimal("0.1")}


def quotes(count: int, first_ns: int = TS) -> list[Action]:
    """Bids and offers around 100, sent in turns and taken back later, a millisecond apart."""
    actions = []
    for number in range(count):
        at_ns = first_ns + MS * number
        tick = 1000 + (number % 9 - 4) * 10
        what = ("buy", "sell")[number % 2]
        actions.append(Action(at_ns, what, number + 1, tick, 5))
        if number > 3:
            actions.append(Action(at_ns, "cancel", number - 3))
    return actions


def rows(actions: list[Action]) -> list[dict[str, Any]]:
    """The same as rows of a script."""
    told = []
    for each in actions:
        row: dict[str, Any] = {"local_ns": each.at_ns, "what": each.what, "id": each.order_id}
        told.append(row | ({"price_ticks": each.tick, "qty": each.lots / 10} if each.tick else {}))
    return told


def run(folder: Path, recordings: list[Recording], actions: list[Action], **options: Any) -> ScriptRun:
    path = folder / "orders.json"
    path.write_text(json.dumps(rows(actions)))
    latency = parse_latency("entry=1ms,response=1ms")
    return run_script(recordings, PAIR, path, latency=latency, assumed=ASSUMED, compiled=False, **options)


def test_any_size_of_batches_gives_the_same_run(tmp_path: Path) -> None:
    recording = make(tmp_path / "tape", range(0, 60 * MS, 2 * MS), coins=("BTC",))
    ends = []
    for size in (1, 7, 1000):
        exchange = Exchange(
            [Market(PAIR, Assumed(**ASSUMED))],
            rules=Rules(),
            latency=ConstantReceiveLatency(entry=MS, response=MS),
            compiled=False,
        )
        tape = Tape([recording], batch_rows=size)
        messages = (message for batch in tape.batches(exchange.fused_forms) for message in batch.messages)
        orders, refusals = play_on_receipt(exchange, messages, quotes(50))
        ends.append((exchange.fills, [(each.state, each.filled, each.text) for each in orders], refusals))
    assert ends[0] == ends[1] == ends[2]
    assert len(ends[0][0]) > 5


def test_raw_and_normalized_the_run_is_the_same(tmp_path: Path) -> None:
    recording = make(tmp_path / "tape", range(0, 60 * MS, 2 * MS), coins=("BTC",))
    ends = []
    for fidelity in ("raw", "normalized"):
        market = Market(PAIR, Assumed(**ASSUMED))
        latency = ConstantReceiveLatency(entry=MS, response=MS)
        exchange = Exchange([market], rules=Rules(), latency=latency, compiled=False)
        tape = Tape([recording], fidelity="raw" if fidelity == "raw" else "normalized")
        messages = (message for batch in tape.batches(exchange.fused_forms) for message in batch.messages)
        play_on_receipt(exchange, messages, quotes(50))
        ends.append(exchange.fills)
    assert ends[0] == ends[1]


def test_orders_across_a_hole_between_recordings_go_by_the_policy(tmp_path: Path) -> None:
    """Two captures with a hole of a second; the second one's first order comes after it."""
    parts = [
        make(tmp_path / f"tape{start}", range(start, start + 20 * MS, 2 * MS), coins=("BTC",))
        for start in (0, 1000 * MS)
    ]
    actions = [Action(TS + MS, "buy", 7, 500, 10), Action(TS + 1010 * MS, "buy", 2, 500, 10)]
    for policy, reason in ((GapPolicy.KEEP, Reason.SESSION_END), (GapPolicy.CANCEL, Reason.GAP)):
        done = run(tmp_path, parts, actions, gap_policy=policy)
        assert (done.gaps, done.doubt.uncertain_orders, done.doubt.uncertain_fills) == (1, 1, 0)
        # By the script's ids, as orders and fills are.
        assert [span.orders for span in done.doubt.spans] == [[7]]
        first, second = done.orders
        assert (first.state, first.reason, first.is_uncertain) == (StateCode.CANCELLED, reason, True)
        assert (second.state, second.reason, second.is_uncertain) == (StateCode.CANCELLED, Reason.SESSION_END, False)
    with pytest.raises(ConfigError, match="1 order rested across a gap"):
        run(tmp_path, parts, actions, gap_policy=GapPolicy.FAIL)


def test_both_clocks_take_the_same_script(tmp_path: Path) -> None:
    recording = make(tmp_path / "tape", range(0, 60 * MS, 2 * MS), coins=("BTC",))
    ends = {clock: run(tmp_path, [recording], quotes(20), clock=clock) for clock in Clock}
    assert all(len(each.fills) > 2 for each in ends.values())
    assert [len(each.orders) for each in ends.values()] == [20, 20]
    assert {fill.order_id for fill in ends[Clock.RECEIVE].fills} <= set(range(1, 21))


def test_the_ids_of_a_script_may_be_given_again(tmp_path: Path) -> None:
    desk = Desk()
    say = desk.say
    actions = [
        Action(10, "buy", 7, 99, 1),
        Action(11, "buy", 7, 98, 1),
        Action(12, "cancel", 7),
        Action(13, "cancel", 8),
        Action(40, "buy", 7, 97, 1),
        Action(41, "modify", 7, 96, 1),
        Action(60, "cancel_all"),
    ]
    orders, refusals = play_on_receipt(desk.exchange, [say.diff(at, bids={90: 1}) for at in (20, 100)], actions)
    assert refusals == [None, Refusal.KNOWN_ID, None, Refusal.UNKNOWN_ID, None, None, None]
    assert [(each.order_id, each.tick, each.state) for each in orders] == [
        (1, 99, StateCode.CANCELLED),
        (2, 96, StateCode.CANCELLED),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_script_of_what_a_strategy_sent_says_the_same_of_its_doubts(seed: int) -> None:
    """On tapes with holes of every kind: fills, gaps with as many orders across them, and what was ahead of each order."""
    pair, tape, latency = random_tapes.KEY, random_tapes.random_tape(seed, 150), "entry=30ms,response=20ms"
    plan = RunPlan(busy.in_python().loaded(), [pair], settings_of(latency=latency))
    session = plan.open(tape[0].ts_recv, compiled=False)
    asked: list[LogRow] = []
    session.log.watch(asked.append)
    for message in tape:
        session.take(message)
    session.finish(tape[-1].ts_recv)
    actions = [
        each for row in asked if row.kind != "response" for act in row.acts for each in as_action(row.time_ns, act)
    ]
    grid = session.exchange.markets[0].scale
    model = parse_latency(latency).on_receipt()
    again = Exchange([Market(pair, scale=grid)], rules=plan.rules, latency=model, compiled=False)
    play_on_receipt(again, tape, actions)
    found = []
    for exchange in (session.exchange, again):
        gaps = [(span.start_ns, span.end_ns, span.cause, len(span.orders)) for span in exchange.doubt.spans]
        fills = [(fill.venue_ns, fill.side, fill.tick, fill.lots, fill.role) for fill in exchange.fills]
        found.append((exchange.doubt.counts(), exchange.doubt.uncertain_fills, gaps, fills, exchange.queued))
    assert found[0] == found[1]
    assert found[0][2]


def as_action(at_ns: int, act: tuple[Any, ...]) -> list[Action]:
    """What a strategy asked for as a row of a script; nothing of what no script has."""
    if act[0] in ("buy", "sell"):
        number, _, tick, lots, tif, is_post_only, is_reducing = act[1:8]
        code = TifCode.POST_ONLY if is_post_only else TifCode[tif]
        return [Action(at_ns, act[0], number, tick or 0, lots, code, tick is None, None, is_reducing)]
    if act[0] == "amend":
        return [Action(at_ns, "modify", act[1], act[2], act[3])]
    return [Action(at_ns, "cancel", act[1])] if act[0] == "cancel" else []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_tape() -> None:
    """Orders rest all the while; ten times the tape takes no more than a twentieth more."""

    def tape(count: int) -> Iterator[Message]:
        say = Messages()
        yield say.instrument(0)
        yield say.snapshot(0)
        for number, price in zip(range(count), itertools.cycle((95, 96, 97, 103, 104)), strict=False):
            yield say.diff(
                number + 1, bids={price: 1 + number % 7} if price < 100 else None, asks={110: 1 + number % 3}
            )

    def peak(count: int) -> int:
        latency = ConstantReceiveLatency(entry=1, response=1)
        exchange = Exchange([Market(KEY)], rules=Rules(), latency=latency, compiled=False)
        orders, _ = play_on_receipt(exchange, tape(count), [Action(2, "buy", 1, 90, 1)])
        assert len(orders) == 1
        return tracemalloc.get_traced_memory()[1] if tracemalloc.is_tracing() else 0

    peak(2_500)  # the interpreter keeps some thousand small objects for later, which is no growth
    peaks = []
    for count in (10_000, 20_000):  # a few thousand events that reach no order may wait
        tracemalloc.start()
        try:
            peaks.append(peak(count))
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]


def test_a_tape_without_a_market_is_refused(tmp_path: Path) -> None:
    recording = make(tmp_path / "tape", range(0, 8 * MS, 2 * MS), coins=("BTC",))
    with pytest.raises(ConfigError, match=r"\(--clock-offset\)"):
        run_script(
            [recording],
            PAIR,
            _written(tmp_path, [Action(TS + MS, "buy", 1, 500, 10)]),
            latency=parse_latency("feed"),
            clock_offset_ns=-3_600_000 * MS,
            assumed=ASSUMED,
        )


def _written(folder: Path, actions: list[Action]) -> Path:
    path = folder / "orders.json"
    path.write_text(json.dumps(rows(actions)))
    return path


def test_books_of_a_seek_are_those_that_playing_gives() -> None:
    """An exchange that is restored from the books of another goes on as that one does."""
    whole = Desk(has_book=False)
    whole.take(whole.say.snapshot(5), whole.say.diff(10, bids={97: 8}, asks={101: 0}))
    state = whole.exchange.tracker.export()
    other = Desk(has_book=False)
    other.exchange.clear()
    other.exchange.restore(state)
    for desk in (whole, other):
        desk.place(20, "buy", None, 7)
        desk.reach(50)
        assert [each[2:] for each in desk.fills()] == [("taker", 102, 6), ("taker", 105, 1)]
        desk.exchange.clear()
        desk.place(60, "buy", None, 1)
        desk.reach(90)
        assert desk.told()[-1][2:] == ("expired", "stale")


def test_a_session_that_begins_again_is_whole_with_its_first_snapshot() -> None:
    desk = Desk()
    desk.take(desk.say.event(100, EventKind.SESSION_END, stream="", cause="stop"))
    list(desk.exchange.close(100))
    desk.take(desk.say.event(100, EventKind.STALE, cause="stop"))
    desk.place(110, "buy", None, 1)
    desk.reach(120)
    assert desk.told()[-1][3] == "stale"
    desk.take(desk.say.snapshot(200))
    desk.place(210, "buy", None, 1)
    desk.reach(300)
    assert desk.fills() == [(213, 2, "taker", 101, 1)]
    assert desk.exchange.doubt.spans == []
