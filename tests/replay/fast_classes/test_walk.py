"""A class that mostly looks is called for many wakes in a row, and comes to what it comes to in a plain session."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from replay.fast_classes import run_ahead, walk
from replay.fast_classes.class_run import ClassRun
from replay.strategy.backtesting import settings_of
from replay.strategy.context import Context
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import BookView, Gap, OwnFill, OwnOrder, Quote
from replay.strategy.watch import Watch
from tests.replay.backtest.market_messages import Messages
from tests.replay.fast.random_tapes import KEY, random_tape, tape_of_forms
from tests.replay.fast_classes.both_ways import both_ways, in_frames, over_the_engine, plainly
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import EventKind, FundingInfo, FundingKind, Message, Trade

pytestmark = pytest.mark.usefixtures("uncompiled")

SECOND = 1_000_000_000
START = 1_795_000_000 * SECOND
KEYS = (PairKey("dydx_v4", "BTC-USD"), PairKey("hyperliquid", "BTC-USD"))


class Looker(Strategy):
    """
    Looks deep at some wakes, at what it has kept at others, acts at few of them, and fails at none or at one.

    Its chance is no number of the run's, since drawing one of those is a row of the decision log.
    """

    deep: float = 0.1
    act: float = 0.02
    note: float = 0.1
    fails_at: int = -1
    wakes = Wakes(quotes=True, trades=True, funding=True, every="170ms")

    def on_start(self, ctx: Context) -> None:
        self.chance = random.Random(7)
        self.count = 0
        self.books = [ctx.book(pair) for pair in ctx.pairs]
        self.seen: list[str] = []

    def look(self, ctx: Context, what: object) -> None:
        """At each call: notes what it sees, and writes it down at some."""
        self.count += 1
        if self.count == self.fails_at:
            raise ValueError("it has seen enough")
        chance = self.chance
        pair = chance.choice(ctx.pairs)
        book = ctx.book(pair)
        if chance.random() < 0.5:
            self.seen.append(repr((what, ctx.now_ns, book.best_bid, book.best_ask, book.is_stale, book.mid_price)))
        if chance.random() < self.deep:
            kept = chance.choice(self.books)
            self.seen.append(
                repr((book.depth(3), book.bids.columns(), book.ts_recv, list(kept.asks)[:2], len(kept.bids)))
            )
            self.side = kept.bids if chance.random() < 0.5 else kept.asks
        elif self.count > 30 and chance.random() < self.deep:
            self.seen.append(repr((getattr(self, "side", None), kept_best(self.books))))
        if chance.random() < self.note:
            ctx.log("seen", what="\n".join(self.seen), held=repr(ctx.position(pair)), funding=repr(ctx.funding(pair)))
            self.seen.clear()
        elif chance.random() < self.note:
            ctx.record(held=ctx.position(pair).size, drawn=ctx.rng.random() if chance.random() < 0.3 else 0.0)
        if chance.random() < self.act and (bid := book.bids.best_price) is not None:
            what_to_do = chance.randrange(5)
            if what_to_do == 0:
                ctx.set_timer("own", after=f"{chance.randrange(1, 300)}ms")
            elif what_to_do == 1:
                ctx.cancel_timer("own")
            elif what_to_do == 2:
                ctx.buy(pair, float(ctx.rules(pair).size_step), tif="IOC")
            else:
                ctx.sell(pair, float(ctx.rules(pair).size_step), bid, tif=chance.choice(("IOC", "GTC")))
                ctx.set_timer("back", after="40ms")

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        self.look(ctx, quote)

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self.look(ctx, trade)

    def on_funding(self, ctx: Context, funding: FundingInfo) -> None:
        self.look(ctx, funding)

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        self.look(ctx, (name, due_ns))
        if name == "back":
            ctx.cancel_all()

    def on_gap(self, ctx: Context, gap: Gap) -> None:
        self.look(ctx, gap)

    def on_fill(self, ctx: Context, fill: OwnFill) -> None:
        self.look(ctx, fill)

    def on_stop(self, ctx: Context) -> None:
        ctx.log("end", count=self.count, seen="\n".join(self.seen))


def kept_best(books: list[BookView]) -> object:
    """Of books that were kept since the start."""
    return [(book.best_bid, book.is_stale) for book in books]


def looker(seed: int) -> type[Strategy]:
    """`Looker` with other wakes."""
    chance = random.Random(seed)
    names: dict[str, Any] = {name: value for name, value in vars(Looker).items() if not name.startswith("__")}
    names["__annotations__"] = vars(Looker)["__annotations__"]
    names["on_book"] = Looker.on_quote
    declared: dict[str, Any] = {
        "quotes": chance.random() < 0.8,
        "trades": chance.random() < 0.8,
        "books": chance.random() < 0.2,
        "funding": chance.random() < 0.5,
    }
    for hook in ("quote", "trade", "book", "funding"):
        if not declared[hook if hook == "funding" else f"{hook}s"]:
            del names[f"on_{hook}"]
    gap = "60ms" if declared["quotes"] and chance.random() < 0.3 else None
    names["wakes"] = Wakes(every=chance.choice((None, "170ms", "23ms")), min_gap=gap, **declared)
    return type("Looker", (Strategy,), names)


def compare(seed: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """A random class on a random tape; how many rows its log has, and for how many wakes it was called in walks."""
    chance = random.Random(seed)
    walked = 0
    go = walk.Walk.go

    def counted(self: walk.Walk) -> bool:
        nonlocal walked
        found = go(self)
        walked += self.at + 1
        return found

    with monkeypatch.context() as patch:
        patch.setattr(walk.Walk, "go", counted)
        # Runs ahead that end for want of room for wakes, and of times of timers, and in the middle of a batch.
        patch.setattr(run_ahead, "_WAKES_MAX", chance.choice((5, 40, 1000)))
        patch.setattr(run_ahead, "_TIMES_MAX", chance.choice((2, 3, 400)))
        patch.setattr(run_ahead, "_ROWS_MIN", chance.choice((1, 9, 1000)))
        patch.setattr(walk, "_VISITS", chance.choice((0, 8, 10_000)))
        keys = [KEY] if seed % 3 == 0 else list(KEYS[seed % 3 - 1 :])
        if len(keys) > 1:
            patch.setattr(run_ahead, "_SHOWN_MAX", chance.choice((1, 8)))
        length = chance.randrange(80, 250)
        tape = random_tape(seed, length) if seed % 3 == 0 else tape_of_forms(seed, keys, length)
        if chance.random() < 0.6:
            tape = in_frames(tape, seed)
        parameters = {"deep": chance.choice((0.0, 0.1, 0.5)), "act": chance.choice((0.0, 0.01, 0.05))}
        parameters["note"] = chance.choice((0.0, 0.02, 0.3))
        if chance.random() < 0.15:
            parameters["fails_at"] = chance.randrange(1, 120)
        result = both_ways(
            looker(seed),
            tape,
            keys,
            batch=chance.choice((7, 64, 1000)),
            waits=chance.choice((0, 0, 3)),
            latency=chance.choice(("entry=0ms,response=0ms", "entry=30ms,response=20ms")),
            seed=seed,
            parameters=parameters,
        )
    return 0 if result is None else result.info.decisions, walked


def test_what_is_looked_at_is_as_of_its_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deep levels, books and sides that were kept, money, timers, orders that are rare, failures."""
    rows, walked = (sum(each) for each in zip(*[compare(seed, monkeypatch) for seed in range(4)], strict=True))
    assert rows > 20
    assert walked > 200


@pytest.mark.slow
@pytest.mark.parametrize("first", range(4, 124, 30))
def test_more_is_looked_at_as_of_its_wake(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, walked = (
        sum(each) for each in zip(*[compare(seed, monkeypatch) for seed in range(first, first + 30)], strict=True)
    )
    assert rows > 300
    assert walked > 2000


class Once(Strategy):
    """Does one thing at its third wake: what that is, is a parameter."""

    what: str = "nothing"
    wakes = Wakes(quotes=True, trades=True, funding=True, every="1s")
    count = 0

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        self.called(ctx)

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self.called(ctx)

    def on_funding(self, ctx: Context, funding: FundingInfo) -> None:
        self.called(ctx)

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        ctx.log(name, due=due_ns, orders=len(ctx.orders()))

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        ctx.log("order", order=repr(order))

    def called(self, ctx: Context) -> None:
        self.count += 1
        if self.count != 3:
            return
        pair = ctx.pairs[0]
        if self.what == "order":
            ctx.buy(pair, 1, 90)
            ctx.log("sent", orders=len(ctx.orders()), book=repr(ctx.book(pair).depth(3)))
        elif self.what == "timer":
            ctx.set_timer("own", after="1ms")
        elif self.what == "every":
            ctx.set_timer("own", every="300ms")
        elif self.what == "fails":
            raise KeyError(pair)
        elif self.what == "interrupted":
            raise KeyboardInterrupt
        elif self.what == "caught":
            try:
                ctx.buy(pair, 1, 90, tif="never")
            except ConfigError:
                ctx.log("refused")
        elif self.what == "other":
            self.__dict__["on_trade"] = self.later
        while self.what == "loops":
            pass

    def later(self, ctx: Context, trade: Trade) -> None:
        """In place of `on_trade` from then on."""
        ctx.log("later", trade=repr(trade))


def tape_of(last: str) -> list[Message]:
    """Two trades, and a third wake of a kind; then more of each."""
    say = Messages(KEY)
    out: list[Message] = [say.event(START, EventKind.SESSION_START, stream="", cause="")]
    out += [say.instrument(START, settle="USDT"), say.snapshot(START)]
    out += [say.trade(START + at * SECOND // 4, "buy", 101, 1) for at in (1, 2)]
    kinds: dict[str, Callable[[int], Message]] = {
        "quote": lambda at: say.diff(START + at * SECOND // 4, {99: 7 + at}),
        "trade": lambda at: say.trade(START + at * SECOND // 4, "sell", 99, 1),
        "funding": lambda at: say.funding(START + at * SECOND // 4, kind=FundingKind.CURRENT, mark_price=100.0 + at),
    }
    out.append(kinds[last](3))
    return out + [kinds[kind](at) for at in range(4, 12) for kind in kinds]


@pytest.mark.parametrize("last", ["quote", "trade", "funding"])
@pytest.mark.parametrize("what", ["nothing", "order", "timer", "every", "fails", "caught", "other"])
def test_what_is_done_at_a_wake_of_many_is_done_there(what: str, last: str) -> None:
    for batch in (5, 1000):
        result = both_ways(Once, tape_of(last), [KEY], batch=batch, parameters={"what": what})
        assert (result is None) is (what == "fails")


def test_a_callback_among_many_that_takes_too_long_is_ended() -> None:
    settings: dict[str, Any] = {"parameters": {"what": "loops"}, "callback_s_max": 0.05}
    plan = RunPlan(load_strategy(Once), [KEY], settings_of(**settings))
    failures = over_the_engine(plan, tape_of("trade"))[1], plainly(plan, tape_of("trade"))[1]
    assert "on_trade: took longer than 0.05 s" in str(failures[0])
    assert str(failures[0]) == str(failures[1])


#: Sessions of `Late`.
OPENED: list[TradingSession] = []


def end_late(watch: Watch) -> None:
    """Have a callback be found to take too long now, and be ended once it is over."""
    number = watch._asked = watch._count

    def end() -> None:
        while watch._since:
            pass
        watch._raised = number

    threading.Thread(target=end).start()


class Late(Strategy):
    """Raises just as the thread of its watch has found that it takes too long."""

    at: str = "quote"
    wakes = Wakes(quotes=True, trades=True)

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        self.called("quote")

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self.called("trade")

    def called(self, kind: str) -> None:
        if kind == self.at:
            end_late(OPENED[-1].watch)
            raise ValueError("it has seen enough")


@pytest.fixture(params=["walk", "engine"])
def _caller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class is called in a walk, or out of the engine."""
    if request.param == "engine":
        monkeypatch.setattr(ClassRun, "_may_run_ahead", False)


@pytest.mark.usefixtures("_caller")
@pytest.mark.parametrize("kind", ["trade", "quote"])
def test_a_callback_that_raises_while_it_is_ended_is_waited_for(kind: str) -> None:
    """Else it would be ended a moment later, in the middle of something else."""
    plan = RunPlan(load_strategy(Late), [KEY], settings_of(parameters={"at": kind}))
    failure = over_the_engine(plan, tape_of(kind), opened=OPENED)[1]
    assert f"on_{kind}: took longer than 5 s" in str(failure)


@pytest.mark.usefixtures("_caller")
@pytest.mark.parametrize("last", ["quote", "trade", "funding"])
def test_what_ends_the_program_is_no_failure_of_the_strategy(last: str) -> None:
    opened: list[TradingSession] = []
    plan = RunPlan(load_strategy(Once), [KEY], settings_of(parameters={"what": "interrupted"}))
    with pytest.raises(KeyboardInterrupt):
        over_the_engine(plan, tape_of(last), opened=opened)
    assert opened[0].failure is None
    assert not opened[0].watch._since


def test_funding_is_heard_once_where_a_strategy_acts_at_it() -> None:
    """Also where the engine is left for want of room then; before, the next one was not heard at all."""
    result = both_ways(Looker, tape_of("funding"), [KEY], parameters={"act": 1.0, "deep": 1.0, "note": 1.0})
    assert result is not None
    assert result.info.decisions > 10


def test_a_class_that_looks_at_what_was_noted_is_never_called_by_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    through = ClassRun._called

    def counted(self: ClassRun, now: int, why: int, pair: int) -> int:
        called.append(why)
        return through(self, now, why, pair)

    monkeypatch.setattr(ClassRun, "_called", counted)
    tape = tape_of("trade")
    result = both_ways(Looker, tape, [KEY], batch=100, parameters={"act": 0.0, "deep": 0.0, "note": 0.5})
    assert result is not None
    assert called == [256]  # its start
    assert result.info.decisions > 3
