"""Runs that share a pass are what each of them is alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from recordings.recording import Recording
from replay.backtest.running import run_script
from replay.fast_classes.strategy_backtest import backtest
from replay.many.many_runs import backtest_many, fork
from replay.many.variants import Variant
from replay.results.result import Result
from replay.strategy.context import Context
from replay.strategy.failures import StrategyError
from replay.strategy.strategy import Strategy, Wakes
from tests.golden.expectations import RECORDINGS
from tests.replay.fast.plain_engine import check_same
from tests.replay.fast.steps import busy, quiet
from tests.replay.many.test_many_runs_forks import Gambler
from toolkit.errors import ConfigError

FOLDERS = {f"{path.parent.name}-{path.name}": path for path in RECORDINGS}
BINANCE = FOLDERS["format-2-binance-usdm"]
HYPERLIQUID = FOLDERS["format-2-hyperliquid"]
FINE: dict[str, Any] = {"assumed": {"tick": "0.000001", "lot": "0.00001", "min_notional": "0.000001"}}


def check_all(results: list[Result], alone: list[Result]) -> None:
    for one, other in zip(results, alone, strict=True):
        check_same(one, other)
        assert one.info.log_digest == other.info.log_digest
        assert one.series.equals(other.series)
        assert one.info.parameters == other.info.parameters


@pytest.mark.parametrize("folder", [BINANCE, HYPERLIQUID], ids=["binance", "hyperliquid"])
def test_sets_of_parameters_of_a_class_are_so_many_runs_of_their_own(folder: Path) -> None:
    sets = [{"away": 1}, {"away": 5}, {"away": 5}]
    results = backtest_many(Gambler, folder, sets, **FINE)
    assert len({result.orders.write_csv() for result in results}) == 2
    check_all(results, [backtest(Gambler, folder, parameters=each, **FINE) for each in sets])


@pytest.mark.parametrize("latency", ["entry=20ms,response=5ms", "feed,entry=1ms"])
def test_a_part_that_is_sought_and_a_latency_that_follows_the_feed_are_shared_as_well(latency: str) -> None:
    info = backtest(quiet.in_python(), BINANCE, **FINE).info
    start, end = (info.start_ns + info.end_ns) // 2, info.end_ns - 10**9
    window: dict[str, Any] = {"start_ns": start, "end_ns": end, "latency": latency}
    results = backtest_many(Gambler, BINANCE, [{}, {"away": 9}], **window, **FINE)
    check_all(results, [backtest(Gambler, BINANCE, parameters={"away": each}, **window, **FINE) for each in (2, 9)])
    assert results[0].orders.height > 3


@pytest.mark.usefixtures("uncompiled")
def test_strategies_of_all_kinds_with_settings_of_their_own_share_what_is_read() -> None:
    capital = {"USDT": 500}
    asked: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
        (busy, {"gap": 1}, {"latency": "entry=1ms,response=1ms"}),
        (Gambler, {"away": 3}, {"seed": 7}),
        (quiet, {}, {"capital": capital}),
        (busy.in_python(), {"gap": 1}, {"latency": "entry=1ms,response=1ms"}),
        (busy, {"gap": 1}, {"rules": {"queue_front": "power3"}}),
    ]
    variants = [Variant(parameters, strategy=each, **own) for each, parameters, own in asked]
    results = backtest_many(None, BINANCE, variants, **FINE)
    assert [each.info.strategy for each in results] == ["busy", "Gambler", "quiet", "busy", "busy"]
    for result, (each, parameters, own) in zip(results, asked, strict=True):
        check_same(result, backtest(each, BINANCE, parameters=parameters, **own, **FINE))
    check_same(results[0], results[3])


class Heaps(Strategy):
    """Appends to what stands in its class."""

    times = []  # type: ignore[var-annotated]  # noqa: RUF012  # people write this
    step: int = 1
    wakes = Wakes(every="500ms")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        self.times.append(due_ns)
        ctx.record(count=len(self.times) * self.step)


def test_what_stands_in_a_class_is_each_run_s_own(tmp_path: Path) -> None:
    sets = [{"step": 1}, {"step": 2}]
    results = backtest_many(Heaps, BINANCE, sets, **FINE)
    check_all(results, [backtest(Heaps, BINANCE, parameters=each, **FINE) for each in sets])
    assert results[0].series["value"].to_list() == list(range(1, results[0].series.height + 1))
    assert not Heaps.times
    path = tmp_path / "heaps.py"
    path.write_text(
        dedent(
            """
            from tickdeck import Context, Strategy, Wakes

            TIMES = []

            class Heaps(Strategy):
                wakes = Wakes(every="500ms")
                step: int = 1

                def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
                    TIMES.append(due_ns)
                    ctx.record(count=len(TIMES) * self.step)
            """
        )
    )
    check_all(
        backtest_many(path, BINANCE, sets, **FINE), [backtest(path, BINANCE, parameters=each, **FINE) for each in sets]
    )


class Fails(Strategy):
    """Fails at its tenth call, if it is told to."""

    after: int = 0
    wakes = Wakes(every="250ms")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        self.after -= 1
        if not self.after:
            raise ValueError("enough")


def test_a_strategy_that_fails_ends_the_pass_with_its_line() -> None:
    with pytest.raises(StrategyError, match=r"test_many_runs\.py:\d+: .*enough"):
        backtest_many(Fails, BINANCE, [{}, {"after": 10}], **FINE)


def test_variants_that_make_no_sense_are_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^a set of parameters is 5, expected values by name"):
        backtest_many(quiet, BINANCE, [5])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"has no strategy, and there is none for all: say Variant\(strategy="):
        backtest_many(None, BINANCE, [{"away": 1}])
    with pytest.raises(ConfigError, match="Gambler has no parameter 'awya'; it has away: int = 2"):
        backtest_many(Gambler, BINANCE, [{"awya": 1}], **FINE)
    with pytest.raises(ConfigError, match="the sets of parameters are Variant"):
        backtest_many(Gambler, BINANCE, Variant())  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [5, "away", [], [("away", 1)]])
def test_parameters_without_names_are_one_line(wrong: Any) -> None:
    """Of all runs, of one of them, or up to a fork: as `backtest` says it, and nothing is taken for none."""
    runs: list[Callable[[], object]] = [
        lambda: backtest_many(Gambler, BINANCE, [{}], parameters=wrong, **FINE),
        lambda: fork(Gambler, BINANCE, [{}], at=0, parameters=wrong, **FINE),
        lambda: Variant(wrong),
    ]
    for run in runs:
        with pytest.raises(ConfigError, match=r"^parameters is .*, expected values by name, for instance"):
            run()


def test_nothing_is_run_on_the_result_of_a_run_which_holds_no_market(tmp_path: Path) -> None:
    """A compiled run had no fill there and said nothing; a class, a fork and an order script are told alike."""
    folder = tmp_path / "result"
    info = backtest(quiet.in_python(), BINANCE, out=folder, **FINE).info
    result = Recording.open(folder)
    runs: list[Callable[[], object]] = [
        lambda: backtest(Gambler, folder, **FINE),
        lambda: backtest(quiet, folder, **FINE),
        lambda: backtest_many(quiet, folder, [{}], **FINE),
        lambda: backtest_many(Gambler, folder, [{}], **FINE),
        lambda: fork(quiet, folder, [{}], at=info.start_ns + 10**9, **FINE),
        lambda: run_script([result], next(iter(result.keys)), tmp_path / "script.csv"),
    ]
    for run in runs:
        with pytest.raises(ConfigError, match=r"result is the result of a run, which holds no market: name the rec"):
            run()
