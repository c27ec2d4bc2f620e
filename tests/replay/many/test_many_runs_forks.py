"""Runs that go on from one state: unchanged they are the run that was not forked, changed they differ from there on."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import polars as pl
import pytest

from replay.fast.actions import BUY, cancel, open_count, send
from replay.fast.step import step
from replay.fast_classes.strategy_backtest import backtest
from replay.many.many_runs import fork
from replay.many.variants import Variant
from replay.results.result import Result
from replay.strategy.context import Context
from replay.strategy.failures import StrategyError
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import Quote
from tests.golden.expectations import RECORDINGS
from tests.replay.fast.plain_engine import check_same
from tests.replay.fast.steps import busy, quiet
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.messages import Side

FOLDERS = {f"{path.parent.name}-{path.name}": path for path in RECORDINGS}
BINANCE = FOLDERS["format-2-binance-usdm"]
HYPERLIQUID = FOLDERS["format-2-hyperliquid"]
FINE: dict[str, Any] = {"assumed": {"tick": "0.000001", "lot": "0.00001", "min_notional": "0.000001"}}


class Gambler(Strategy):
    """Keeps whatever there is to keep: a list, random numbers, a timer of its own, orders of several prices."""

    away: int = 2
    seen: ClassVar[list[int]] = []

    wakes = Wakes(quotes=True, every="250ms")

    def on_start(self, ctx: Context) -> None:
        self.heard: list[float] = []
        ctx.set_timer("once", after="700ms")

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        self.heard.append(quote.bid_size)

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        pair = ctx.pairs[len(self.heard) % len(ctx.pairs)]
        book, rules = ctx.book(pair), ctx.rules(pair)
        if name == "once":
            ctx.set_timer("once", after=f"{ctx.rng.randrange(100, 900)}ms")
        if book.is_stale or book.mid_price is None:
            return
        size = rules.round_size(1e-5 * (1 + len(self.heard) % 7))
        bid = rules.ticks_down(book.mid_price, self.away + ctx.rng.randrange(9))
        ctx.keep(pair, f"bid{len(self.heard) % 3}", Side.BUY, price=bid, size=size)
        if len(self.heard) % 4 == 0:
            ctx.sell(pair, size)
        ctx.record(heard=sum(self.heard))


def instants(result: Result, count: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(result.info.start_ns + 1, result.info.end_ns) for _ in range(count)]


def state_of(result: Result) -> str:
    assert result.fork is not None
    return result.fork.state


def until(frame: pl.DataFrame, ns: int) -> pl.DataFrame:
    return frame.filter(pl.col("ts_recv").dt.timestamp("ns") < ns)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize(
    ("name", "count"), [("format-2-binance-usdm", 3), ("format-2-hyperliquid", 1), ("format-2-dydx_v4", 1)]
)
def test_an_unchanged_fork_of_a_step_is_the_rest_of_its_run(name: str, count: int) -> None:
    folder = FOLDERS[name]
    whole = backtest(busy, folder, **FINE)
    assert whole.orders.height > 10
    for at in instants(whole, count, 1):
        twins = fork(busy, folder, [{}, {"gap": 9}], at=at, **FINE)
        check_same(twins[0], whole)
        assert len({state_of(each) for each in twins}) == 1


def test_an_unchanged_fork_of_a_class_is_the_rest_of_its_run() -> None:
    for folder in (BINANCE, HYPERLIQUID):
        whole = backtest(Gambler, folder, **FINE)
        assert whole.orders.height > 10
        for at in instants(whole, 2, 2):
            twins = fork(Gambler, folder, [{}, {}], at=at, **FINE)
            for twin in twins:
                check_same(twin, whole)
                assert twin.info.log_digest == whole.info.log_digest
                assert twin.series.equals(whole.series)
            assert state_of(twins[0]) == state_of(twins[1])


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("strategy", [busy, busy.in_python(), Gambler], ids=["compiled", "python", "class"])
def test_variants_share_what_was_before_and_differ_after(strategy: Any) -> None:
    name = "away" if strategy is Gambler else "gap"
    whole = backtest(strategy, BINANCE, **FINE)
    at = (whole.info.start_ns + whole.info.end_ns) // 2
    variants: list[Any] = [{}, {name: 30}, Variant(latency="entry=1ms,response=1ms")]
    results = fork(strategy, BINANCE, variants, at=format_ns(at), **FINE)
    assert len({state_of(each) for each in results}) == 1
    for result in results:
        assert until(result.table("orders"), at).equals(until(whole.table("orders"), at))
        assert result.fork is not None
        assert result.fork.at_ns == at
        assert result.fork.parameters[name] == 2
    assert results[1].info.parameters[name] == 30
    assert not results[1].orders.equals(whole.orders)
    assert not results[2].orders.equals(whole.orders)


@pytest.mark.usefixtures("uncompiled")
def test_a_fork_of_a_step_has_the_orders_of_the_same_fork_in_plain_python() -> None:
    whole = backtest(busy, BINANCE, **FINE)
    for at in instants(whole, 2, 3):
        variants: list[Any] = [{"gap": 7}, Variant({"gap": 1}, latency="entry=0ms,response=0ms")]
        compiled, python = (fork(each, BINANCE, variants, at=at, **FINE) for each in (busy, busy.in_python()))
        for one, other in zip(compiled, python, strict=True):
            check_same(one, other)


@pytest.mark.usefixtures("uncompiled")
def test_another_strategy_takes_over_what_the_first_one_has() -> None:
    whole = backtest(busy, BINANCE, **FINE)
    at = (whole.info.start_ns + whole.info.end_ns) // 2
    for base, other in ((busy, quiet), (busy.in_python(), quiet.in_python())):
        kept, left = fork(base, BINANCE, [{}, Variant(strategy=other)], at=at, **FINE)
        assert state_of(kept) == state_of(left)
        assert left.info.strategy == "quiet"
        own = left.orders.group_by("order_id", maintain_order=True).first()
        assert until(own, at).height == own.height  # it sends none
        assert left.orders.height < kept.orders.height


@pytest.mark.usefixtures("uncompiled")
def test_the_state_is_another_at_another_instant_and_the_same_however_it_is_reached() -> None:
    whole = backtest(busy, BINANCE, **FINE)
    first, second = sorted(instants(whole, 2, 4))
    states = [state_of(fork(busy, BINANCE, [{}], at=at, **FINE)[0]) for at in (first, first, second)]
    assert states[0] == states[1] != states[2]
    assert state_of(fork(busy, BINANCE, [{}], at=first, parameters={"gap": 9}, **FINE)[0]) != states[0]
    ended = (first + whole.info.end_ns) // 2
    assert state_of(fork(busy, BINANCE, [{"gap": 4}], at=first, end_ns=ended, **FINE)[0]) == states[0]


class Forgetful(Strategy):
    """Counts in its class, so that two runs of it differ."""

    calls: ClassVar[Any] = iter(range(10**9))
    wakes = Wakes(every="250ms")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        ctx.record(calls=next(self.calls))
        ctx.log("called", number=next(self.calls))


def test_what_cannot_be_forked_is_one_line() -> None:
    whole = backtest(quiet.in_python(), BINANCE, **FINE)
    start, end = whole.info.start_ns, whole.info.end_ns
    middle = (start + end) // 2
    with pytest.raises(ConfigError, match=r"the fork is at 1970-.*, expected a time within the run, after 20"):
        fork(quiet, BINANCE, [{}], at=5, **FINE)
    with pytest.raises(ConfigError, match=r"expected a time within the run, after .* and up to "):
        fork(quiet, BINANCE, [{}], at=end + 10**9, **FINE)
    with pytest.raises(ConfigError, match=r"^capital cannot change within a run: .*backtest_many\(\.\.\., start_ns="):
        fork(quiet, BINANCE, [Variant(capital={"USDT": 5})], at=middle, **FINE)
    with pytest.raises(ConfigError, match=r"^gaps cannot change within a run"):
        fork(quiet, BINANCE, [Variant(gaps="cancel")], at=middle, **FINE)
    with pytest.raises(ConfigError, match="of compiled step functions alone or of classes alone"):
        fork(quiet, BINANCE, [Variant(strategy=Gambler)], at=middle, **FINE)
    with pytest.raises(ConfigError, match="a variant has no argument 'lverage'"):
        Variant(lverage=5)
    with pytest.raises(StrategyError, match=r"^Forgetful cannot be forked at 20.*it came to two states"):
        fork(Forgetful, BINANCE, [{}, {}], at=middle, **FINE)
    with pytest.raises(ConfigError, match="the latency of a fork is from the feed"):
        fork(Gambler, BINANCE, [Variant(latency="feed")], at=middle, **FINE)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("strategy", [busy, busy.in_python(), Gambler], ids=["compiled", "python", "class"])
def test_a_fork_of_a_part_of_the_tape_is_a_run_of_that_part(strategy: Any) -> None:
    """Called from its beginning on: compiled it had been from that of the tape, with other orders."""
    info = backtest(quiet.in_python(), BINANCE, **FINE).info
    third = (info.end_ns - info.start_ns) // 3
    window: dict[str, Any] = {"start_ns": info.start_ns + third, "end_ns": info.end_ns - third // 2, **FINE}
    whole = backtest(strategy, BINANCE, **window)
    assert whole.orders.height > 3
    for at in (window["start_ns"] + 1, info.start_ns + 2 * third):
        (result,) = fork(strategy, BINANCE, [{}], at=at, **window)
        check_same(result, whole)


def test_what_a_compiled_run_does_not_assume_is_refused_up_to_a_fork_as_well() -> None:
    """Not of the variants alone: what follows the feed was taken for constant until then."""
    info = backtest(quiet.in_python(), BINANCE, **FINE).info
    middle = (info.start_ns + info.end_ns) // 2
    constant = Variant(latency="entry=1ms,response=1ms")
    with pytest.raises(ConfigError, match=r"a compiled step function is not run with latency 'feed,entry=1ms', which"):
        fork(quiet, BINANCE, [constant], at=middle, latency="feed,entry=1ms", **FINE)


@step(every="100ms", state={"calls": 0})
def hasty(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Asks for its order back before it has heard that there is one; begins with the tenth call."""
    s.calls += 1
    if s.calls < 10 or q[0].stale:
        return
    if open_count(act) == 0:
        send(act, 0, BUY, q[0].bid - 50 * q[0].tick, 1000 * q[0].lot)
    else:
        cancel(act, 0)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("strategy", [hasty, hasty.in_python()], ids=["compiled", "python"])
def test_whether_requests_wait_for_each_other_changes_with_the_rules(strategy: Any) -> None:
    """It is asked when one is sent, and not by the engine that matches."""
    options: dict[str, Any] = {"latency": "entry=350ms,response=350ms", **FINE}
    refused: dict[str, Any] = {"rules": {"cancel_early": "refused"}}
    queued, wanted = (backtest(strategy, BINANCE, **given, **options) for given in ({}, refused))
    before = int(queued.orders["ts_recv"].dt.timestamp("ns").min()) - 1  # type: ignore[arg-type]
    results = fork(strategy, BINANCE, [{}, Variant(**refused)], at=before, **options)
    assert not queued.orders.equals(wanted.orders)
    for result, whole in zip(results, (queued, wanted), strict=True):
        check_same(result, whole)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("strategy", [busy, busy.in_python()], ids=["compiled", "python"])
def test_rules_change_where_nothing_rests_and_not_elsewhere(strategy: Any) -> None:
    whole = backtest(strategy, BINANCE, **FINE)
    sent = whole.orders["ts_recv"].dt.timestamp("ns")
    before = int(sent.min()) - 1  # type: ignore[arg-type]
    power = Variant(rules={"queue_front": "power3"})
    result = fork(strategy, BINANCE, [power], at=before, **FINE)[0]
    check_same(result, backtest(strategy, BINANCE, rules={"queue_front": "power3"}, **FINE))
    with pytest.raises(ConfigError, match="the rules of matching differ, and orders rest at"):
        fork(strategy, BINANCE, [power], at=(before + whole.info.end_ns) // 2, **FINE)
