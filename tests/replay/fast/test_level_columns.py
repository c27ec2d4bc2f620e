"""Levels as whole numbers of the steps of their markets, exactly, and whatever else is in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recordings.columns.column_batch import ColumnBatch, Names, of_messages
from replay.backtest.market import Market
from replay.fast.book_layout import NO_STEP
from replay.fast.kernel_steps import to_steps
from replay.fast.level_columns import counted
from replay.strategy.backtesting import settings_of
from replay.strategy.plan import RunPlan
from tests.replay.fast.steps import quiet
from tests.tapes import diff, quote, snapshot
from toolkit.errors import ConfigError
from toolkit.kernels.compiling import plain
from toolkit.keys import PairKey

KEYS = [PairKey("hyperliquid", "A-B"), PairKey("hyperliquid", "C-B")]


def markets(tick: str = "0.1") -> list[Market]:
    """Those of a run on both pairs."""
    plan = RunPlan(quiet.loaded(), KEYS, settings_of(assumed={"tick": tick, "lot": "0.001"}))
    return list(plan.open(0, waits=True).exchange.markets)


def batch_of(*messages: Any) -> ColumnBatch:
    return of_messages(messages, Names([*KEYS, PairKey("hyperliquid", "E-B")]))


def never(place: int, ticks: int, lots: int) -> None:
    raise AssertionError(f"market {place} was refined by {ticks}, {lots}")


@pytest.mark.parametrize("count", [to_steps, plain(to_steps)])
def test_values_are_counted_exactly_wherever_they_stand(count: Any) -> None:
    """Several at a time, and one by one where something is among them that is no number of steps."""
    wanted = np.arange(-300, 700)
    steps = np.zeros(1000, np.int64)
    assert count(wanted / 10, 0, 1000, steps, 10.0, 1.0, 10.0) == -1
    assert (steps == wanted).all()
    values = wanted / 10
    values[[3, 500, 999]] = np.nan
    with np.errstate(all="ignore"):
        assert count(values, 0, 1000, steps, 10.0, 1.0, 10.0) == -1
    assert steps[[3, 500, 999]].tolist() == [NO_STEP] * 3
    assert steps[[2, 4, 998]].tolist() == [-298, -296, 698]
    for wrong in (0.05, 1e17, np.inf):
        values[700] = wrong
        with np.errstate(all="ignore"):
            assert count(values, 0, 1000, steps, 10.0, 1.0, 10.0) == 700


@pytest.mark.parametrize("other", [[], [quote((0.5, 3.0), None, trading_pair="C-B", symbol="C")]])
def test_levels_of_each_pair_are_counted_in_its_steps(other: list[Any]) -> None:
    """One pair alone, or several: and those of a pair that is none of the run are left alone."""
    messages = [snapshot([(10.1, 0.002)], [(10.3, 4.0)], symbol="A"), diff([(10.2, 1.0)], symbol="A"), *other]
    if other:
        messages.append(quote((0.123, 7.0), (0.2, 7.0), trading_pair="E-B", symbol="E"))
    levels = counted(batch_of(*messages), np.array([0, 1, -1]), markets(), never)
    assert levels.ticks.tolist() == [101, 103, 102, *([5, NO_STEP, 0, 0] if other else [])]
    assert levels.lots.tolist() == [2, 4000, 1000, *([3000, NO_STEP, 0, 0] if other else [])]


def test_a_price_that_is_finer_refines_its_own_market() -> None:
    """All of its levels are counted again, and none of another's."""
    batch = batch_of(
        snapshot([(10.1, 1.0)], [(10.3, 1.0)], symbol="A"),
        snapshot([(20.1, 1.0)], [(20.3, 1.0)], trading_pair="C-B", symbol="C"),
        diff([(10.25, 1.0)], symbol="A"),
    )
    refined: list[tuple[int, int, int]] = []
    mine = markets()
    levels = counted(batch, np.array([0, 1, -1]), mine, lambda *told: refined.append(told))
    assert refined == [(0, 2, 1)]
    assert levels.ticks.tolist() == [202, 206, 201, 203, 205]


@pytest.mark.parametrize("price", [1e-15, 1e15])
def test_a_price_that_no_grid_fits_is_refused(price: float) -> None:
    with pytest.raises(ConfigError, match="A-B"):
        counted(batch_of(diff([(price, 1.0)], symbol="A")), np.array([0, 1, -1]), markets("1e-3"), lambda *_: None)
