"""A class over the compiled engine does what it does in a plain session: every call, request, answer and row, in the same order."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest

from replay.fast import kernel_engine
from replay.fast_classes import engine_exchange
from replay.fast_classes.suitable import unsuitable_class
from replay.strategy import session as session_module
from replay.strategy.backtesting import settings_of
from replay.strategy.context import Context
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import BookView, OwnOrder, Quote
from tests.replay.backtest.market_messages import Messages
from tests.replay.fast.plain_engine import leave_uncompiled
from tests.replay.fast.random_tapes import KEY, in_finer_steps, random_tape, tape_of_forms
from tests.replay.fast_classes.both_ways import both_ways, in_frames, over_the_engine, plainly
from tests.replay.fast_classes.busy_class import variant
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Instrument, Message, Side, Trade

pytestmark = pytest.mark.usefixtures("uncompiled")

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND
LATENCIES = (
    "entry=0ms,response=0ms",
    "entry=30ms,response=20ms",
    "entry=3ms,cancel.entry=1ms,response=40ms",
    "entry=1ms,response=200ms",
)
COPYING = {"copy": copy.copy, "deepcopy": copy.deepcopy}
FORMS = (PairKey("dydx_v4", "BTC-USD"), PairKey("hyperliquid", "BTC-USD"))


def compare(seed: int) -> int:
    """A random class on a random tape, both ways; how many rows its decision log has."""
    chance = random.Random(seed)
    kind, keys = seed % 4, [KEY]
    tape: list[Message]
    if kind == 0:
        tape = random_tape(seed, chance.randrange(50, 250))
    elif kind == 1:
        tick, lot = chance.choice((0.5, 0.1)), chance.choice((0.5, 0.01))
        tape = in_finer_steps(random_tape(seed, 150), chance.randrange(20, 100), tick, lot)
        if chance.random() < 0.5:
            # The venue uses them, and does not say so.
            said = next(message for message in tape if isinstance(message, Instrument))
            tape = [each for each in tape if each is said or not isinstance(each, Instrument)]
    else:
        keys = list(FORMS) if kind == 2 else [FORMS[1]]
        tape = tape_of_forms(seed, keys, chance.randrange(50, 250))
    if chance.random() < 0.6:
        tape = in_frames(tape, seed)
    latency, batch = chance.choice(LATENCIES), chance.choice((7, 64, 1000))
    if chance.random() < 0.3:
        latency = latency.replace("3ms", "3.000001ms").replace("20ms", "17ms")
    parameters = {"asset": "hyperliquid/USDC"} if len(keys) > 1 else {}
    settings: dict[str, Any] = {"latency": latency, "seed": seed, "parameters": parameters}
    result = both_ways(variant(seed), tape, keys, batch=batch, waits=chance.choice((0, 0, 5)), **settings)
    return 0 if result is None else result.info.decisions


def test_random_classes_come_to_the_same_over_the_engine() -> None:
    """Books of one form and of several, steps that become finer, streams that are lost, sessions that end, clocks that jump."""
    assert sum(compare(seed) for seed in range(4)) > 200


@pytest.mark.slow
@pytest.mark.parametrize("first", range(4, 84, 20))
def test_more_random_classes_come_to_the_same_over_the_engine(first: int) -> None:
    assert sum(compare(seed) for seed in range(first, first + 20)) > 1000


def market(say: Messages) -> list[Message]:
    """Tick and lot of 1, and a book: best bid 10 at 99, best ask 4 at 101."""
    start = [say.event(START, EventKind.SESSION_START, stream="", cause=""), say.instrument(START, settle="USDT")]
    return [*start, say.snapshot(START)]


class Sender(Strategy):
    """Sends as many orders at a quote as it is told to."""

    count: int = 3
    wakes = Wakes(quotes=True)

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        for number in range(self.count):
            ctx.buy(quote.pair, 1, 50 + number % 40)
        ctx.log("sent", orders=len(ctx.orders()))

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        if order.number % 500 == 0:
            ctx.cancel(order)


def test_where_the_engine_has_no_room_for_one_more_call_it_is_left_and_nothing_is_called_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A callback may ask for thousands of things; here for 60, where there has to be room for 1,990 before each."""
    monkeypatch.setattr(engine_exchange, "REQUESTS_MAX", 1_990)
    say = Messages(KEY)
    tape = [*market(say), say.diff(START + SECOND, {99: 7}), say.diff(START + 2 * SECOND, {99: 8})]
    result = both_ways(Sender, tape, [KEY], parameters={"count": 60}, latency="entry=1ms,response=1ms")
    assert result is not None
    assert result.orders["order_id"].n_unique() == 180


class Swallower(Strategy):
    """Asks for what the engine does not do, in a way that is not seen, and takes no notice of the answer."""

    wakes = Wakes(trades=True)
    word: str = "schedule"

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        try:
            type(ctx).__dict__.get("never")
            object.__getattribute__(ctx, self.word + "_cancel")("10s")
        except Exception:  # noqa: BLE001, S110  # it takes no notice
            pass
        ctx.buy(ctx.pairs[0], 1)


def test_what_the_engine_does_not_do_ends_the_run_also_where_the_strategy_catches_it() -> None:
    say = Messages(KEY)
    tape = [*market(say), say.trade(START + SECOND, "buy", 101, 1), say.diff(START + 2 * SECOND, {99: 8})]
    plan = RunPlan(load_strategy(Swallower), [KEY], settings_of())
    result, failure = over_the_engine(plan, tape)
    assert result is None
    assert "run it in plain Python, with fast=False" in str(failure)
    assert plainly(plan, tape)[1] is None


class Failing(Strategy):
    """Fails at its second trade."""

    wakes = Wakes(trades=True)
    count = 0

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self.count += 1
        ctx.buy(ctx.pairs[0], 1 / (2 - self.count))


class Endless(Strategy):
    """Answers each refusal by another order."""

    wakes = Wakes(trades=True)

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        ctx.buy(ctx.pairs[0], 1, 200, post_only=True)

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        if order.is_done:
            ctx.buy(ctx.pairs[0], 1, 200, post_only=True)


def allow_at_once(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Answers and timers at one instant, at most."""
    monkeypatch.setattr(session_module, "_AT_ONCE_MAX", most)
    monkeypatch.setattr(kernel_engine, "_AT_ONCE", np.int64(most))
    leave_uncompiled(monkeypatch)


@pytest.mark.parametrize(
    ("cls", "words"),
    [(Failing, "on_trade: ZeroDivisionError"), (Endless, "1,000 answers")],
)
def test_a_failure_is_said_in_the_same_words(cls: type[Strategy], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_at_once(monkeypatch, 1000)
    say = Messages(KEY)
    tape = market(say) + [say.trade(START + second * SECOND, "buy", 101, 1) for second in range(1, 4)]
    settings: dict[str, Any] = {"latency": "entry=0ms,response=0ms"}
    plan = RunPlan(load_strategy(cls), [KEY], settings_of(**settings))
    opened: list[TradingSession] = []
    _, failure = over_the_engine(plan, tape, opened=opened)
    assert words in str(failure)
    assert str(failure) == str(plainly(plan, tape)[1])
    assert opened[0].failure is failure


class Holder(Strategy):
    """Keeps what it was shown, and looks at it later."""

    wakes = Wakes(books=True, trades=True)

    def on_start(self, ctx: Context) -> None:
        self.before = ctx.book(ctx.pairs[0])  # nothing was said of it so far
        self.book: BookView | None = None
        self.order: OwnOrder | None = None

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        if self.order is None:
            self.order = ctx.keep(ctx.pairs[0], "mine", Side.BUY, price=99, size=2)

    def on_book(self, ctx: Context, book: Any) -> None:
        if self.book is None:
            self.book, self.side = book, book.bids
        assert book is self.book is ctx.book(ctx.pairs[0])
        order = self.order
        seen = None if order is None else (order.state, order.left, order.is_awaited)
        ctx.log(
            "kept",
            best=repr(self.book.best_bid),
            levels=repr([level.size for level in self.side.levels(2)]),
            order=repr(seen),
            before=repr(self.before),
        )


def test_books_and_orders_that_were_kept_are_as_they_are_now() -> None:
    """Read in a callback of the market, without asking the context: an answer has come meanwhile, and levels have changed."""
    say = Messages(KEY)
    tape = market(say)
    for second in range(1, 8):
        tape += [
            say.trade(START + second * SECOND, "sell", 99, 30),
            say.diff(START + second * SECOND, {99: 20 - second}),
        ]
    result = both_ways(Holder, tape, [KEY], latency="entry=1500ms,response=1ms")
    assert result is not None
    assert result.fills.height == 1


class Burst(Strategy):
    """Many answers at one instant, none of which causes another."""

    wakes = Wakes(trades=True)

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        for _ in range(300):
            ctx.buy(ctx.pairs[0], 1, 50, tif="IOC")


def test_answers_at_one_instant_are_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """One fewer than is refused, and as many."""
    say = Messages(KEY)
    plan = RunPlan(load_strategy(Burst), [KEY], settings_of(latency="entry=1ms,response=1ms"))
    tape = [*market(say), *(say.trade(START + second * SECOND, "buy", 101, 1) for second in (1, 2))]
    for most, is_refused in ((300, False), (299, True)):
        allow_at_once(monkeypatch, most)
        failures = over_the_engine(plan, tape)[1], plainly(plan, tape)[1]
        assert str(failures[0]) == str(failures[1])
        assert (failures[0] is not None) is is_refused


class Namer(Strategy):
    """Looks at what it was given, and not only at what is in it."""

    wakes = Wakes(books=True)

    def on_book(self, ctx: Context, book: Any) -> None:
        ctx.log("given", names=f"{type(ctx).__name__} {type(book).__qualname__}")


def test_what_a_strategy_is_given_goes_by_the_same_names() -> None:
    say = Messages(KEY)
    result = both_ways(Namer, [*market(say), say.snapshot(START + SECOND, {98: 3})], [KEY])
    assert result is not None
    assert result.decisions.height > 1


class Copier(Strategy):
    """Has a copy of a book, part of which goes on with it, by a function that is found where nobody looks."""

    how: str = "copy"
    wakes = Wakes(books=True)

    def on_book(self, ctx: Context, book: Any) -> None:
        self.other = COPYING[self.how](book)


@pytest.mark.parametrize("how", COPYING)
def test_a_copy_of_a_book_is_refused_where_it_is_not_seen_before(how: str) -> None:
    say = Messages(KEY)
    plan = RunPlan(load_strategy(Copier), [KEY], settings_of(parameters={"how": how}))
    tape = [*market(say), say.snapshot(START + SECOND, {98: 3})]
    assert plainly(plan, tape)[1] is None
    assert "fast=False" in str(over_the_engine(plan, tape)[1])
    assert unsuitable_class(Copier) == ""


@pytest.mark.parametrize("count", [1, 64, 128])
@pytest.mark.parametrize("levels", [0, 2_500])
def test_orders_end_with_the_session_also_where_the_core_has_too_little_room_for_that(count: int, levels: int) -> None:
    """In a book that has grown deep since they came to rest, and where they are as many as there is room for."""
    say = Messages(KEY)
    tape = [*market(say), say.diff(START + SECOND, {99: 7})]
    tape.append(say.diff(START + 2 * SECOND, asks={200 + level: 1 for level in range(levels)}))
    tape.append(say.event(START + 3 * SECOND, EventKind.SESSION_END, stream="", cause=""))
    result = both_ways(Once, tape, [KEY], parameters={"count": count}, latency="entry=1ms,response=1ms")
    assert result is not None
    assert result.orders["state"].to_list() == ["cancelled"] * count


class Once(Strategy):
    """Sends as many orders at its first quote as it is told to, and hears of none."""

    count: int = 1
    wakes = Wakes(quotes=True)
    is_done = False

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        for number in range(0 if self.is_done else self.count):
            ctx.buy(quote.pair, 1, 50 + number % 40)
        self.is_done = True
