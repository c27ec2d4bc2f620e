"""A backtest of a class goes over the engine where that comes to the same, and says so where it is asked for and cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from replay.fast_classes import running, strategy_backtest
from replay.fast_classes.strategy_backtest import backtest
from replay.results.result import Result
from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from tests.golden.expectations import NEWEST
from tests.replay.fast_classes.both_ways import check_equal
from tests.replay.fast_classes.busy_class import Busy
from tests.replay.strategy.churner import Churner
from tests.toolkit.cli.terminal import run as command
from toolkit.errors import ConfigError
from toolkit.messages import Trade

pytestmark = pytest.mark.usefixtures("uncompiled")

USDM: Path = next(path for path in NEWEST if path.name == "binance-usdm")
FINE: dict[str, Any] = {"assumed": {"tick": "0.000001", "lot": "0.00001"}}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of those that went over the engine."""
    found: list[str] = []
    run_class = running.run_class

    def noted(plan: Any, *args: Any, **more: Any) -> Any:
        found.append(plan.head.strategy)
        return run_class(plan, *args, **more)

    monkeypatch.setattr(running, "run_class", noted)
    return found


def run(**more: Any) -> Result:
    return backtest(Busy, USDM, **FINE, **more)


def test_either_way_the_result_is_the_same(runs: list[str]) -> None:
    fast, plain = run(fast=True), run(fast=False)
    assert runs == ["Busy"]
    check_equal(fast, plain, has_page=True)


def test_where_nothing_is_said_a_long_tape_goes_over_an_engine_that_is_there(
    runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling takes longer than most runs, and a short tape is over before the compiler is loaded."""
    for is_there, frames, count in ((False, 0, 0), (True, 10**9, 0), (True, 0, 1)):
        monkeypatch.setattr(strategy_backtest, "are_compiled", lambda which, is_there=is_there: is_there)
        monkeypatch.setattr(strategy_backtest, "FRAMES_IN_PYTHON", frames)
        runs.clear()
        run()
        assert len(runs) == count
    backtest(Churner, USDM, **FINE)
    run(carry="positions")
    assert len(runs) == 1


class ByChance(Strategy):
    """Asks for what the engine does not do in a way that is not seen."""

    wakes = Wakes(trades=True)
    word: str = "schedule"

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        object.__getattribute__(ctx, f"{self.word}_cancel")("10s")


@pytest.mark.parametrize(
    ("cls", "more", "words"),
    [
        (Churner, {}, "does not run Churner with GTD in Churner.act; leave fast=True (--fast) out"),
        (Busy, {"start_ns": 1_800_000_000 * 10**9}, "does not run Busy with start_ns"),
        (Busy, {"carry": "positions"}, "does not run Busy with carry='positions'"),
        (Busy, {"latency": "feed"}, "does not run Busy with latency 'feed'"),
    ],
)
def test_an_engine_that_is_asked_for_and_does_not_do_it_is_an_error(
    cls: type[Strategy], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        backtest(cls, USDM, fast=True, **FINE, **more)


def test_the_command_says_where_an_engine_would_pay_and_asks_for_it(
    runs: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What nobody has compiled is of no use to those who only know the command."""
    strategy = tmp_path / "maker.py"
    strategy.write_text(
        "import tickdeck as td\n\n\nclass Maker(td.Strategy):\n    wakes = td.Wakes(trades=True)\n\n"
        "    def on_trade(self, ctx, trade):\n        ctx.keep(ctx.pairs[0], 'b', 'buy', price=10.0, size=1.0)\n"
    )
    asked = ("backtest", strategy, USDM, "--assume", "tick=0.000001", "--assume", "lot=0.00001")
    monkeypatch.setattr(strategy_backtest, "are_compiled", lambda which: False)
    for frames, is_said in ((10**9, False), (0, True)):
        monkeypatch.setattr(strategy_backtest, "FRAMES_IN_PYTHON", frames)
        done = command(*asked)
        assert done.exit_code == 0, done.stderr
        assert ("--fast compiles an engine once" in done.stderr) is is_said
    assert command(*asked, "--plain").stderr.count("--fast") == 0
    assert not runs
    assert command(*asked, "--fast").exit_code == 0
    assert runs == ["Maker"]
    refused = command(*asked, "--fast", "--carry", "positions")
    assert refused.exit_code == 1
    assert "does not run Maker with carry='positions'; leave fast=True (--fast) out" in refused.stderr
    many = command(*asked, "--fast", "--fork-at", "2026-01-01")
    assert many.exit_code == 2
    assert "--fast is for one run" in many.stderr
