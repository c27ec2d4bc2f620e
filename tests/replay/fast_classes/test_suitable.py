"""What a class asks for is seen in its source, and in that of its own which it names; a doubt is enough."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from benchmarks.fast_python import Watcher
from benchmarks.grid_maker import GridMaker
from replay.fast.step import step
from replay.fast.step_strategy import strategy_of
from replay.fast_classes.suitable import unsuitable, unsuitable_class
from replay.strategy.backtesting import settings_of
from replay.strategy.context import Context
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan
from replay.strategy.strategy import Strategy, Wakes
from replay.tape import Tape
from tests.replay.strategy.churner import Churner
from tests.test_layers import ROOT
from toolkit.keys import PairKey
from toolkit.messages import Trade

EXAMPLES = ROOT / "examples" / "strategies"


def sends_a_stop(ctx: Context) -> None:
    ctx.sell(ctx.pairs[0], 1, stop=90.0)


class Helper:
    """Of no strategy by itself."""

    def go(self, ctx: Context) -> None:
        sends_a_stop(ctx)


HELPER = Helper()


class Base(Strategy):
    wakes = Wakes(trades=True)


class Plain(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        ctx.sell(ctx.pairs[0], 1, 90.0, tag="first")


class ByKeyword(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        ctx.sell(ctx.pairs[0], 1, stop=90.0)


class ByFunction(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        sends_a_stop(ctx)


class ByObject(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        HELPER.go(ctx)


class ByBase(ByFunction):
    pass


class ByInner(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        def later() -> None:
            ctx.schedule_cancel("10s")

        later()


class ByName(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        getattr(ctx, "schedule" + "_cancel")("10s")


class ByProperty(Base):
    @property
    def seen(self) -> Any:
        return self.book.update_id

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self.book = ctx.book(ctx.pairs[0])


class ByPartial(Base):
    send = partial(sends_a_stop)


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (ByKeyword, "stop in ByKeyword.on_trade"),
        (ByFunction, "stop in sends_a_stop"),
        (ByObject, "stop in sends_a_stop"),
        (ByBase, "stop in sends_a_stop"),
        (ByInner, "schedule_cancel in ByInner.on_trade.<locals>.later"),
        (ByName, "getattr in ByName.on_trade"),
        (ByProperty, "update_id in ByProperty.seen"),
        (ByPartial, "stop in sends_a_stop"),
        (Churner, "GTD in Churner.act"),
    ],
)
def test_what_the_engine_does_not_do_is_seen_wherever_it_stands(cls: type[Strategy], name: str) -> None:
    assert unsuitable_class(cls) == name


@pytest.mark.parametrize("cls", [GridMaker, Watcher, Plain])
def test_a_class_that_asks_for_what_the_engine_does_is_suitable(cls: type[Strategy]) -> None:
    assert unsuitable_class(cls) == ""


@pytest.mark.parametrize("name", ["market_maker", "momentum_taker", "cross_venue_watcher", "funding_collector"])
def test_examples_are_suitable(name: str) -> None:
    assert unsuitable_class(load_strategy(EXAMPLES / f"{name}.py").cls) == ""


@step(trades=True)
def quiet(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """A step function."""


def test_a_step_function_in_plain_python_stays_there() -> None:
    """It is what compiled runs are compared with, and where a debugger goes."""
    assert "step function" in unsuitable_class(strategy_of(quiet))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"latency": "feed"}, "latency 'feed'"),
        ({"leverage": 3}, "leverage or transfers"),
        ({"gaps": "cancel"}, "gaps='cancel'"),
        ({}, ""),
    ],
)
def test_assumptions_that_a_compiled_run_does_not_make_are_left_to_a_session(
    settings: dict[str, Any], words: str
) -> None:
    plan = RunPlan(load_strategy(Plain), [PairKey("binance-usdm", "BTC-USDT")], settings_of(**settings))
    assert words in unsuitable(plan, Tape([]))
    assert bool(unsuitable(plan, Tape([]))) == bool(words)
