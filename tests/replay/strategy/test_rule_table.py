"""The rules by which live and replay are the same, one by one; docs/backtesting.md has the table."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replay.backtest.venue_facts import parse_facts
from replay.strategy.context import Context
from replay.strategy.limits import RiskLimits
from replay.strategy.session import Phase
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import Gap, OwnFill, OwnOrder, Quote
from tests.replay.backtest.market_messages import KEY, Messages
from tests.replay.strategy.sessions import Opener, Watcher, market, play
from toolkit.account_messages import OrderState, OrderUpdate
from toolkit.clock import SystemClock
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Side, StreamEvent, Trade

S = 10**9
T0 = 1_700_000_000 * S
CALLS = frozenset(["start", "quote", "book", "trade", "funding", "order", "fill", "timer", "gap", "stop"])


def logs(played: Any) -> list[tuple[int, str]]:
    """`(time after T0, text)` of what strategies have noted."""
    return [
        (row.time_ns - T0, act[1]) for row in played.rows if row.kind in CALLS for act in row.acts if act[0] == "log"
    ]


def test_a_strategy_sees_the_time_of_the_frame_and_never_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 1: `now_ns` is `ts_recv`; a receive time that steps back takes it no step back; nobody asks the machine."""

    class Clocked(Watcher):
        wakes = Wakes(trades=True)

        def on_trade(self, ctx: Context, trade: Trade) -> None:
            ctx.log("trade")

    def never() -> int:
        raise AssertionError("the machine's clock was read")

    monkeypatch.setattr(SystemClock, "time_ns", staticmethod(never))
    say = Messages()
    played = play(Clocked, [*market(say, T0), *(say.trade(T0 + at, "sell", 99, 1) for at in (50, 20, 60))])
    assert logs(played) == [(0, "start"), (50, "trade"), (50, "trade"), (60, "trade"), (60, "stop")]


def test_timers_stand_at_multiples_since_the_epoch() -> None:
    """Rule 2: the first one after the start, whatever the start; `after` counts from now."""

    class Timed(Watcher):
        wakes = Wakes(every="10s")

        def on_start(self, ctx: Context) -> None:
            ctx.set_timer("late", after="3s")
            ctx.set_timer("own", every="4s")

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            assert ctx.now_ns == due_ns
            ctx.log(name)

    say = Messages()
    start = T0 + 1 * S + 7
    played = play(Timed, [*market(say, start), say.trade(T0 + 21 * S, "sell", 99, 1)])
    assert logs(played) == [
        (4 * S, "own"),
        (4 * S + 7, "late"),
        (8 * S, "own"),
        (10 * S, "every"),
        (12 * S, "own"),
        (16 * S, "own"),
        (20 * S, "every"),
        (20 * S, "own"),
        (21 * S, "stop"),
    ]


def test_a_timer_goes_before_a_frame_of_its_time() -> None:
    """Rule 3: it sees the book without that frame."""

    class Timed(Strategy):
        wakes = Wakes(every="10s", books=True)

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.log(f"timer {ctx.book('BTC-USD').bids.best_price}")

        def on_book(self, ctx: Context, book: Any) -> None:
            ctx.log(f"book {book.bids.best_price}")

    say = Messages()
    played = play(Timed, [*market(say, T0), say.diff(T0 + 10 * S, {100: 1})])
    assert logs(played) == [(0, "book 99.0"), (10 * S, "timer 99.0"), (10 * S, "book 100.0")]


class Orderly(Strategy):
    """Sends at the first timer, so that everything falls upon the second."""

    wakes = Wakes(every="10s")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        ctx.log(name)
        if due_ns == T0 + 10 * S:
            for tick in (90, 91, 92):
                ctx.buy("BTC-USD", 1.0, float(tick))
            ctx.set_timer("second", at_ns=T0 + 20 * S)
            ctx.set_timer("third", at_ns=T0 + 20 * S)

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        ctx.log(f"{order.number} {order.state}")


def test_what_is_due_at_one_time_comes_as_it_was_sent_or_set() -> None:
    """Rule 4: arrivals, then answers in the order of sending, then timers in the order of setting."""
    say = Messages()
    messages = [*market(say, T0), say.trade(T0 + 25 * S, "sell", 99, 1)]
    played = play(Orderly, messages, latency="entry=5s,response=5s")
    assert logs(played)[1:7] == [
        (20 * S, "1 open"),
        (20 * S, "2 open"),
        (20 * S, "3 open"),
        (20 * S, "every"),
        (20 * S, "second"),
        (20 * S, "third"),
    ]


def test_a_request_that_arrives_at_a_frames_time_goes_first() -> None:
    """Rule 5: it rests before the trade of that time, which fills it; the book's 10 at 99 were ahead."""

    class Buyer(Opener):
        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 2.0, 99.0)

        def on_fill(self, ctx: Context, fill: OwnFill) -> None:
            ctx.log(f"{fill.size} at {fill.price}")

    def run(arrives_ns: int) -> list[tuple[int, str]]:
        say = Messages()
        messages = [*market(say, T0), say.trade(T0 + 1000, "sell", 99, 11), say.trade(T0 + 5000, "sell", 98, 1)]
        return logs(play(Buyer, messages, latency=f"entry={arrives_ns}ns,response=0ns"))

    assert run(1000) == [(1000, "1.0 at 99.0"), (5000, "1.0 at 99.0")]
    # One ns later that trade is over; the next one passes through its price, and is as large as 1.
    assert run(1001) == [(5000, "1.0 at 99.0")]


def test_answers_wait_for_the_end_of_their_frame() -> None:
    """Rule 6: three trades of a frame are one instant: each fills, and the owner hears of all of it after the last."""

    class Buyer(Opener):
        wakes = Wakes(books=True, trades=True)

        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 9.0, 100.0)

        def on_trade(self, ctx: Context, trade: Trade) -> None:
            ctx.log(f"trade {trade.size}, holding {ctx.position('BTC-USD').size}")

        def on_fill(self, ctx: Context, fill: OwnFill) -> None:
            ctx.log(f"fill {fill.size}")

    say = Messages()
    trades = [say.trade(T0 + 9, "sell", 100, 1)] + [
        say.trade(T0 + 9, "sell", 100, size, same_frame=True) for size in (2, 3)
    ]
    played = play(Buyer, [*market(say, T0), *trades, say.trade(T0 + 99, "buy", 101, 1)])
    assert logs(played) == [
        (9, "trade 1.0, holding 0.0"),
        (9, "trade 2.0, holding 0.0"),
        (9, "trade 3.0, holding 0.0"),
        (9, "fill 1.0"),
        (9, "fill 2.0"),
        (9, "fill 3.0"),
        (99, "trade 1.0, holding 6.0"),
    ]


def test_an_answer_that_would_be_early_is_held_back_and_counted(tmp_path: Path) -> None:
    """Rule 7: answers of 10 ns, over a feed that takes 30: the fill is heard of with the trade that caused it."""

    class Buyer(Opener):
        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 1.0, 100.0)

        def on_fill(self, ctx: Context, fill: OwnFill) -> None:
            ctx.log("fill")

    trips = tmp_path / "trips.json"
    trips.write_text(f"[[{T0}, {T0 + 10}, {T0 + 20}], [{T0 + S}, {T0 + S + 10}, {T0 + S + 20}]]")
    say = Messages()
    trade = say.trade(T0 + 200, "sell", 99, 5, event_ns=T0 + 170)
    messages = [say.instrument(T0), say.snapshot(T0 + 30, event_ns=T0), trade]
    played = play(Buyer, messages, latency=f"trips={trips}")
    assert logs(played) == [(200, "fill")]
    assert played.session.exchange.doubt.clipped_answers == 2


def test_a_rate_limit_is_a_bucket_on_logical_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 27: two orders a second by the venue's file; what was refused at one time is taken a second later."""
    facts = parse_facts('[[rate_limits]]\ntokens = 2\nper = "1s"\ncosts = {new = 1}\n', KEY.venue)
    monkeypatch.setattr("replay.strategy.plan.facts_of", lambda _: facts)

    class Eager(Opener):
        def go(self, ctx: Context) -> None:
            for _ in range(3):
                ctx.buy("BTC-USD", 1.0, 90.0)
            ctx.set_timer("again", after="1s")

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.buy("BTC-USD", 1.0, 90.0)

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            ctx.log(f"{order.number} {order.state} {order.reason}")

    say = Messages()
    played = play(Eager, [*market(say, T0), say.trade(T0 + 3 * S, "buy", 101, 1)])
    assert logs(played)[:4] == [
        (0, "1 open "),
        (0, "2 open "),
        (0, "3 rejected rate_limit"),
        (1 * S, "4 open "),
    ]


def test_limits_of_risk_keep_orders_from_being_sent() -> None:
    """Each ends as failed, with the limit as its reason; what only reduces passes; the exchange never hears of them."""

    class Greedy(Opener):
        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 5.0, 90.0)
            ctx.buy("BTC-USD", 4.0, 90.0)
            ctx.buy("BTC-USD", 3.0, 90.0)
            ctx.sell("BTC-USD", 3.0, 110.0)
            ctx.buy("BTC-USD", 1.0, 90.0)
            ctx.sell("BTC-USD", 1.0, 110.0)

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            ctx.log(f"{order.number} {order.state} {order.reason}")

    limits = RiskLimits(order_size_max=Decimal(4), position_max=Decimal(6), orders_per_s_max=3)
    played = play(Greedy, market(Messages(), T0), limits=limits)
    told = [text for _, text in logs(played)]
    assert told[:3] == ["1 failed limit_order_size", "3 failed limit_position", "6 failed limit_orders_per_s"]
    assert [text for text in told if "open" in text] == ["2 open ", "4 open ", "5 open "]


def test_orders_that_answer_a_limit_for_ever_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each order that is not sent is answered by another one; no time goes by, and nothing arrives at the venue."""
    monkeypatch.setattr("replay.strategy.session._AT_ONCE_MAX", 300)

    class Stubborn(Opener):
        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 100.0, 90.0)

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            self.go(ctx)

    played = play(Stubborn, market(Messages(), T0), limits=RiskLimits(order_size_max=Decimal(1)))
    assert played.session.phase is Phase.FAILED
    assert "300 answers and timers at one instant" in str(played.session.failure)


def test_a_loss_cancels_all_and_ends_all_but_what_reduces() -> None:
    """Bought 4 at 101; at a middle of 90 that is 44 below the start, and the limit is 40."""

    class Loser(Opener):
        wakes = Wakes(books=True, every="10s")

        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 4.0, 101.0)
            ctx.buy("BTC-USD", 1.0, 50.0)

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.buy("BTC-USD", 1.0, 50.0)
            ctx.sell("BTC-USD", 4.0, 80.0, reduce_only=True)

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            ctx.log(f"{order.number} {order.state} {order.reason}")

    say = Messages()
    messages = [
        *market(say, T0),
        say.diff(T0 + 1 * S, {99: 0, 98: 0, 89: 10}, {101: 0, 102: 0, 91: 5}),
        say.trade(T0 + 15 * S, "buy", 91, 1),
    ]
    played = play(Loser, messages, limits=RiskLimits(loss_max=Decimal(40)))
    told = [text for _, text in logs(played)]
    assert "2 cancelled requested" in told
    assert "3 failed limit_loss" in told
    assert "4 filled " in told
    assert [row.cause for row in played.rows if row.kind == "limit"] == [("loss",)]


def test_every_rule_of_the_page_names_a_test_that_there_is() -> None:
    """A rule without a test, or a test that was renamed, is no rule."""
    root = Path(__file__).resolve().parents[3]
    page = (root / "docs" / "backtesting.md").read_text()
    table = page.partition("## What keeps live and replay the same")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|.*\| (.*?) \|$", table, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 28))
    there = set()
    for path in (root / "tests").rglob("test_*.py"):
        there.update(re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE))
    for number, test in rows:
        assert test.startswith("not yet") or test.strip("`") in there, (number, test)


class Racer(Opener):
    """Sends an order, and cancels it after a while."""

    wait_ns: int = 0

    def go(self, ctx: Context) -> None:
        self.order = ctx.buy("BTC-USD", 5.0, 100.0)
        if self.wait_ns:
            ctx.set_timer("cancel", at_ns=ctx.now_ns + self.wait_ns)
        else:
            assert ctx.cancel(self.order)
            assert not ctx.cancel(self.order)

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        assert ctx.cancel(self.order)

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        ctx.log(f"{order.state} {order.filled} {order.reason}")


def test_requests_about_one_order_keep_their_order() -> None:
    """Rules 8 and 10: a cancel before the acknowledgement is allowed, and waits behind the placement."""
    say = Messages()
    played = play(Racer, [*market(say, T0), say.trade(T0 + 99, "buy", 101, 1)], latency="entry=10ns,response=10ns")
    assert logs(played) == [(20, "pending_cancel 0.0 "), (20, "cancelled 0.0 requested")]


def test_a_fill_goes_before_a_cancel_that_is_under_way() -> None:
    """Rule 9: filled first, then the cancel is refused: one call each, and the refusal does not touch the position."""
    say = Messages()
    messages = [
        *market(say, T0),
        say.trade(T0 + 105, "sell", 100, 5),
        say.trade(T0 + 300, "buy", 101, 1),
    ]
    played = play(Racer, messages, latency="entry=10ns,response=20ns", parameters={"wait_ns": 100})
    assert logs(played) == [
        (30, "open 0.0 "),
        (125, "filled 5.0 "),
        (130, "filled 5.0 unknown_order"),
    ]
    assert played.session.desk.position("BTC-USD").size == 5.0
    assert played.record is not None
    updates = [each for each in played.record.messages if isinstance(each, OrderUpdate)]
    assert [each.state.value for each in updates] == [
        "pending_create",
        "open",
        "filled",
    ]  # it ends once, also in the result
    assert [each.ts_created for each in updates] == [None, T0 + 10, T0 + 10]


def test_each_execution_is_an_answer_and_changes_the_position() -> None:
    """Rule 11: a sweep over three levels is three fills, each with the position after it."""

    class Sweeper(Opener):
        def go(self, ctx: Context) -> None:
            ctx.set_timer("go", after="1s")

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.buy("BTC-USD", 12.0)

        def on_fill(self, ctx: Context, fill: OwnFill) -> None:
            ctx.log(f"{fill.size} at {fill.price}: {ctx.position('BTC-USD').size}, {fill.order.state}")

    say = Messages()
    played = play(Sweeper, [*market(say, T0), say.trade(T0 + 2 * S, "buy", 101, 1)])
    assert [text for _, text in logs(played)] == [
        "4.0 at 101.0: 4.0, partially_filled",
        "6.0 at 102.0: 10.0, partially_filled",
        "2.0 at 105.0: 12.0, filled",
    ]


def test_fees_are_whole_numbers_of_the_settlement_currency() -> None:
    """Rule 12: 12.5 bp of 4 x 101 and of 6 x 102, each rounded half to even to 8 decimals, and taken from the balance."""

    class Sweeper(Opener):
        def go(self, ctx: Context) -> None:
            ctx.set_timer("go", after="1s")

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.buy("BTC-USD", 10.0)

        def on_fill(self, ctx: Context, fill: OwnFill) -> None:
            ctx.log(f"{fill.fee} {ctx.balance()}")

    say = Messages()
    played = play(
        Sweeper,
        [*market(say, T0), say.trade(T0 + 2 * S, "buy", 101, 1)],
        fees={"taker": Decimal("0.00125"), "maker": Decimal(0)},
        capital={"USD": Decimal(1000)},
    )
    assert [text for _, text in logs(played)] == ["0.505 999.495", "0.765 998.73"]


def test_sums_do_not_drift() -> None:
    """Rule 13: ten times 0.1 is 1, and the cash comes out to the last digit."""

    class Buyer(Strategy):
        wakes = Wakes(trades=True)

        def on_trade(self, ctx: Context, trade: Trade) -> None:
            ctx.buy("BTC-USD", 0.1)

    say = Messages()
    start = [say.instrument(T0, tick=0.1, lot=0.1), say.snapshot(T0, {99: 1}, {100.1: 5})]
    played = play(Buyer, [*start, *(say.trade(T0 + at, "buy", 101, 1) for at in range(1, 11))])
    assert played.session.desk.position("BTC-USD").size == 1.0
    assert played.session.desk.balance("USD") == 0
    assert played.session._recorder.ledger.accounts["USD"].cash == -1001 * 10**29


def test_what_comes_out_of_an_array_is_written_as_the_plain_value_is() -> None:
    """Numbers and texts of numpy have no form of their own in the log."""

    def asked(bools: Any, texts: Any, ints: Any, length: Any) -> list[tuple[Any, ...]]:
        class Asks(Opener):
            def go(self, ctx: Context) -> None:
                ctx.buy("BTC-USD", 1.0, 90.0, tif=texts("GTC"), post_only=bools(True), reduce_only=bools(False))
                ctx.set_timer(texts("at"), at_ns=ints(T0 + 5))
                ctx.set_timer("after", after=ints(1000))
                ctx.set_timer("often", every=length)
                ctx.cancel_timer(texts("after"))

            def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
                ctx.log(name)

        say = Messages()
        return play(Asks, [*market(say, T0), say.trade(T0 + S, "sell", 99, 1)]).told()

    plain = asked(bool, str, int, S)
    assert [act[0] for act in plain[0][3]] == ["buy", "timer", "timer", "timer", "cancel_timer"]
    assert {row[2][0] for row in plain if row[1] == "timer"} == {"at", "often"}
    assert asked(np.bool_, np.str_, np.int64, np.timedelta64(1, "s")) == plain


def test_keep_finds_its_order_by_a_tag_that_is_a_number() -> None:
    class Keeps(Opener):
        def go(self, ctx: Context) -> None:
            tag: Any = 5
            for _ in range(3):
                ctx.keep("BTC-USD", tag, Side.BUY, price=90.0, size=1.0)
            assert [order.tag for order in ctx.orders()] == ["5"]
            ctx.log("one")

    assert logs(play(Keeps, market(Messages(), T0)))[0] == (0, "one")


def test_ids_count_from_one_in_every_run() -> None:
    """Rule 14: `<strategy>-<seed>-<n>`: nothing of the process is in them."""

    class Buyer(Opener):
        def go(self, ctx: Context) -> None:
            ctx.log(" ".join(ctx.buy("BTC-USD", 1.0, 90.0).client_id for _ in range(2)))

    say = Messages()
    assert logs(play(Buyer, market(say, T0), seed=7)) == [(0, "Buyer-7-1 Buyer-7-2")]


def test_random_numbers_are_the_runs_own_and_counted() -> None:
    """Rule 15: seeded by run seed and strategy; the log has the count of each callback."""

    class Gambler(Strategy):
        def on_start(self, ctx: Context) -> None:
            self.drawn = [ctx.rng.random(), ctx.rng.randrange(6), ctx.rng.gauss(0, 1)]

    def run(seed: int) -> tuple[list[float], list[int]]:
        played = play(Gambler, market(Messages(), T0), seed=seed)
        return played.session.strategy.drawn, [row.draws for row in played.rows]  # type: ignore[attr-defined]

    first, again, other = run(1), run(1), run(2)
    assert first == again
    assert first[0] != other[0]
    assert first[1] == [4]


def test_what_is_decided_in_on_stop_has_the_time_of_the_sessions_end() -> None:
    """Rule 17: timers fire up to SESSION_END and no further, and what rests is cancelled there without latency."""

    class Ender(Watcher):
        wakes = Wakes(every="10s")

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.log("timer")
            if not ctx.orders():
                ctx.buy("BTC-USD", 1.0, 90.0)

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            ctx.log(f"{order.state} {order.reason}")

        def on_stop(self, ctx: Context) -> None:
            ctx.log("stop")
            ctx.buy("BTC-USD", 1.0, 90.0)

    say = Messages()
    end = say.event(T0 + 25 * S, EventKind.SESSION_END, stream="", cause="stop")
    late = say.trade(T0 + 99 * S, "buy", 101, 1)
    played = play(Ender, [*market(say, T0), end, late], latency="entry=1s,response=2s")
    assert logs(played) == [
        (0, "start"),
        (10 * S, "timer"),
        (13 * S, "open "),
        (20 * S, "timer"),
        (25 * S, "cancelled session_end"),
        (25 * S, "stop"),
    ]
    assert played.session.desk.open_orders(None) == ()


def test_orders_across_a_gap_are_uncertain_and_nothing_is_matched_in_it() -> None:
    """Rule 19: by the policy `keep` an order stays, marked, and is filled only once the book holds again."""

    class Buyer(Opener):
        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 1.0, 100.0)

        def on_gap(self, ctx: Context, gap: Gap) -> None:
            ctx.log(f"gap {gap.is_over}")

        def on_fill(self, ctx: Context, fill: OwnFill) -> None:
            ctx.log(f"fill {fill.order.is_uncertain} {ctx.position('BTC-USD').is_uncertain}")

    say = Messages()
    messages = [
        *market(say, T0),
        say.event(T0 + 10, EventKind.STALE),
        say.trade(T0 + 20, "sell", 99, 5),
        say.event(T0 + 30, EventKind.GAP),
        say.snapshot(T0 + 40),
        say.trade(T0 + 50, "sell", 99, 5),
    ]
    assert logs(play(Buyer, messages)) == [(10, "gap False"), (40, "gap True"), (50, "fill True True")]


def test_history_and_repeated_trades_call_nobody() -> None:
    """Rule 20."""

    class Seer(Strategy):
        wakes = Wakes(trades=True)

        def on_trade(self, ctx: Context, trade: Trade) -> None:
            ctx.log(trade.trade_id)

    say = Messages()
    trades = [
        say.trade(T0 + 1, "sell", 99, 1, is_history=True),
        say.trade(T0 + 2, "sell", 99, 1, is_duplicate=True),
        say.trade(T0 + 3, "sell", 99, 1),
    ]
    assert logs(play(Seer, [*market(say, T0), *trades])) == [(3, "3")]


def test_two_venues_of_a_pair_are_told_apart() -> None:
    """Rule 21: the session takes frames as they were captured; a bare name that both have is an error."""
    other = PairKey("elsewhere", "BTC-USD")

    class Both(Strategy):
        wakes = Wakes(quotes=True)

        def on_start(self, ctx: Context) -> None:
            ctx.log(" | ".join(ctx.pairs))

        def on_quote(self, ctx: Context, quote: Quote) -> None:
            ctx.log(f"{quote.pair} {quote.bid_price}")

    here, there = Messages(), Messages(other, start=100)
    messages = [
        here.instrument(T0),
        there.instrument(T0),
        here.snapshot(T0 + 1),
        there.snapshot(T0 + 2, {50: 1}, {60: 1}),
    ]
    played = play(Both, messages, keys=(other, KEY))
    assert logs(played) == [
        (0, "BTC-USD on elsewhere | BTC-USD on testing"),
        (1, "BTC-USD on testing 99.0"),
        (2, "BTC-USD on elsewhere 50.0"),
    ]


def test_a_strategy_that_raises_ends_its_run_at_that_message() -> None:
    """Rule 26: the log says so, nothing is called any more, and frames may go on."""

    class Broken(Strategy):
        wakes = Wakes(trades=True)

        def on_trade(self, ctx: Context, trade: Trade) -> None:
            ctx.log(trade.trade_id)
            if trade.trade_id == "2":
                raise ZeroDivisionError("by nothing")

    say = Messages()
    played = play(Broken, [*market(say, T0), *(say.trade(T0 + at, "sell", 99, 1) for at in (1, 2, 3))])
    assert [(row.time_ns - T0, row.kind) for row in played.rows] == [(1, "trade"), (2, "trade"), (2, "failure")]
    assert played.session.phase is Phase.FAILED
    assert "ZeroDivisionError: by nothing" in str(played.session.failure)


def test_a_strategy_that_raises_is_not_called_for_the_rest_of_that_message() -> None:
    """Rule 26: not for another callback of the message, nor for the fill of an answer; its failure is the first."""

    class Book(Strategy):
        wakes = Wakes(books=True, quotes=True)

        def on_book(self, ctx: Context, book: Any) -> None:
            raise ValueError("first")

        def on_quote(self, ctx: Context, quote: Quote) -> None:
            raise ValueError("second")

    class Answer(Opener):
        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 1.0)

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            if order.filled:
                raise ValueError("first")

        def on_fill(self, ctx: Context, fill: OwnFill) -> None:
            raise ValueError("second")

    for cls in (Book, Answer):
        played = play(cls, market(Messages(), T0))
        assert len(played.told("failure")) == 1
        assert "ValueError: first" in str(played.session.failure)


def test_a_strategy_that_raises_as_its_orders_are_cancelled_in_the_end_is_not_stopped_too() -> None:
    """Rule 26: a tape without SESSION_END ends as one with it does."""

    class Broken(Opener):
        def go(self, ctx: Context) -> None:
            ctx.buy("BTC-USD", 1.0, 90.0)

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            if order.is_done:
                raise ValueError("first")

        def on_stop(self, ctx: Context) -> None:
            raise ValueError("second")

    played = play(Broken, market(Messages(), T0))
    assert len(played.told("failure")) == 1
    assert "ValueError: first" in str(played.session.failure)
    assert played.session.phase is Phase.FAILED


def test_a_strategy_is_not_called_before_tick_and_lot_are_known() -> None:
    """Of all pairs: what the venue says later is not known live either."""
    say = Messages()
    played = play(
        Watcher, [say.event(T0, EventKind.SESSION_START, stream=""), say.snapshot(T0 + 1), say.instrument(T0 + 2)]
    )
    assert logs(played) == [(2, "start"), (2, "stop")]


def test_one_session_goes_on_where_the_next_one_begins() -> None:
    """What rested is cancelled at the end of the one, periodic timers are called once for the time between."""

    class Timed(Strategy):
        wakes = Wakes(every="1s")

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            ctx.log("timer")

    say = Messages()
    start = market(say, T0)
    end = say.event(T0 + 1 * S + 5, EventKind.SESSION_END, stream="", cause="stop")
    again = StreamEvent(*_head(end, T0 + 100 * S + 5), EventKind.SESSION_START)
    later = StreamEvent(*_head(again, T0 + 101 * S + 5), EventKind.NOTICE)
    assert logs(play(Timed, [*start, end, again, later])) == [
        (1 * S, "timer"),
        (100 * S + 5, "timer"),
        (101 * S, "timer"),
    ]


def _head(before: StreamEvent, at_ns: int) -> tuple[str, str, str, int, int, int, int]:
    return before.venue, before.symbol, before.trading_pair, at_ns, at_ns, before.capture_seq + 1, 0


def test_the_states_of_an_order_are_those_of_the_venue() -> None:
    """An order below the least value comes back rejected; one that is sent is pending until then."""

    class Buyer(Opener):
        def go(self, ctx: Context) -> None:
            ctx.log(str(ctx.buy("BTC-USD", 1.0, 90.0).state))

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            ctx.log(f"{order.state} {order.reason}")
            assert order.state is OrderState.REJECTED
            assert ctx.orders() == ()

    say = Messages()
    messages = [say.instrument(T0, min_notional=1000.0), say.snapshot(T0 + 1), say.trade(T0 + 9, "sell", 99, 1)]
    assert [text for _, text in logs(play(Buyer, messages))] == ["pending_create", "rejected min_notional"]
