"""What a class asks for is seen in its source, and in that of its own which it names; a doubt is enough."""

from __future__ import annotations

import copy
import platform
from collections.abc import Callable
from copy import deepcopy as twin
from functools import cached_property, partial
from pathlib import Path
from types import FunctionType, ModuleType
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


class Heir(Helper):
    """Has nothing of its own."""


HELPER, HEIR = Helper(), Heir()
#: As a file beside that of the strategy.
HOUSE: Any = ModuleType("house")
HOUSE.sends = sends_a_stop


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


class ByHeir(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        HEIR.go(ctx)


class ByModule(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        HOUSE.sends(ctx)


def made(send: Callable[[Context], None]) -> Any:
    def on_trade(self: Any, ctx: Context, trade: Trade) -> None:
        send(ctx)

    return on_trade


class ByClosure(Base):
    on_trade = made(sends_a_stop)


class ByStatic(Base):
    @staticmethod
    def send(ctx: Context) -> None:
        ctx.sell(ctx.pairs[0], 1, stop=90.0)


class ByClassMethod(Base):
    @classmethod
    def send(cls, ctx: Context) -> None:
        ctx.sell(ctx.pairs[0], 1, stop=90.0)


class ByCached(Base):
    @cached_property
    def cause(self) -> Any:
        return self.book.stale_cause

    book: Any = None


class ByInside(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        ctx._desk.rules(ctx.pairs[0])


class ByCopy(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self.before = copy.copy(ctx.book(ctx.pairs[0]))


class ByTwin(Base):
    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self.before = twin(ctx.book(ctx.pairs[0]))


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
        (ByHeir, "stop in sends_a_stop"),
        (ByModule, "stop in sends_a_stop"),
        (ByClosure, "stop in sends_a_stop"),
        (ByStatic, "stop in ByStatic.send"),
        (ByClassMethod, "stop in ByClassMethod.send"),
        (ByCached, "stale_cause in ByCached.cause"),
        (ByInside, "_desk in ByInside.on_trade"),
        (ByCopy, "copy in ByCopy.on_trade"),
        (ByTwin, "twin in ByTwin.on_trade"),
        (Churner, "GTD in Churner.act"),
    ],
)
def test_what_the_engine_does_not_do_is_seen_wherever_it_stands(cls: type[Strategy], name: str) -> None:
    assert unsuitable_class(cls) == name


NAMES = (
    *(
        "schedule_cancel",
        "stop",
        "take_profit",
        "twap",
        "good_til_blocks",
        "expires_ns",
        "GTD",
        "update_id",
        "stale_cause",
    ),
    *("getattr", "eval", "exec", "vars", "globals", "__dict__", "methodcaller", "_desk", "_session", "_exchange"),
)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_of_what_the_engine_does_not_do_is_enough(name: str) -> None:
    """As an attribute or a function, and as an argument or a text that may become one."""
    code = Plain.on_trade.__code__
    for said in (code.replace(co_names=(name,)), code.replace(co_consts=(None, (name,)))):
        cls = type("Named", (Base,), {"on_trade": FunctionType(said, globals())})
        assert unsuitable_class(cls) == f"{name} in Plain.on_trade"


def test_a_file_that_is_called_like_a_module_of_python_is_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "statistics.py"
    path.write_text(
        "import tickdeck as td\n\n\ndef send(ctx):\n    ctx.sell(ctx.pairs[0], 1, stop=90.0)\n\n\n"
        "class Sender(td.Strategy):\n    wakes = td.Wakes(trades=True)\n\n"
        "    def on_trade(self, ctx, trade):\n        send(ctx)\n"
    )
    assert unsuitable_class(load_strategy(path).cls) == "stop in send"


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


def test_raw_frames_and_machines_that_were_not_looked_at_are_left_to_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = RunPlan(load_strategy(Plain), [PairKey("binance-usdm", "BTC-USDT")], settings_of())
    assert unsuitable(plan, Tape([], fidelity="raw")) == "fidelity 'raw'"
    monkeypatch.setattr(platform, "machine", lambda: "s390x")
    assert unsuitable(plan, Tape([])) == "a machine of kind s390x"
