"""Days of a run, and a ratio that is blank where it would say nothing."""

from __future__ import annotations

from datetime import date
from math import sqrt

import polars as pl
import pytest

from replay.ledger.daily_returns import RETURN_COLUMNS, SHARPE_DAYS_MIN, daily_returns, sharpe_ratio, whole_days

DAY = 86_400 * 1_000_000_000


def equity(*points: tuple[int, float, float]) -> pl.DataFrame:
    rows = [(at, "USDC", worth, moved) for at, worth, moved in points]
    frame = pl.DataFrame(rows, schema=["ts_recv", "wallet", "equity", "transfers"], orient="row")
    return frame.with_columns(pl.col("ts_recv").cast(pl.Datetime("ns")), pl.col("equity", "transfers").cast(pl.Float64))


def test_a_day_is_from_midnight_to_midnight_and_a_deposit_is_no_gain() -> None:
    """From noon of day 10 to noon of day 12: +5, +10 with 100 deposited, -3. Day 11 alone is whole."""
    half = DAY // 2
    rows = equity(
        (10 * DAY + half, 100.0, 0.0), (10 * DAY + half + 1, 105.0, 0.0), (11 * DAY + 1, 115.0, 0.0),
        (11 * DAY + 2, 215.0, 100.0), (12 * DAY, 212.0, 100.0),
    )  # fmt: skip
    found = daily_returns(rows, "USDC", 10 * DAY + half, 12 * DAY + half)
    assert found.columns == list(RETURN_COLUMNS)
    assert found["change"].to_list() == [5.0, 10.0, -3.0]
    assert found["start"].to_list() == [100.0, 105.0, 215.0]
    assert found["day"].to_list() == [date(1970, 1, 11), date(1970, 1, 12), date(1970, 1, 13)]
    assert whole_days(found, 10 * DAY + half, 12 * DAY + half) == [10.0]


def test_days_on_which_nothing_happened_count() -> None:
    found = daily_returns(equity((0, 100.0, 0.0), (3 * DAY + 5, 107.0, 0.0)), "USDC", 0, 5 * DAY)
    assert found["change"].to_list() == [0.0, 0.0, 0.0, 7.0, 0.0]
    assert len(whole_days(found, 0, 5 * DAY)) == 5


@pytest.mark.parametrize("start_ns", [4, 5])
def test_the_first_value_counts_as_the_start_of_a_run_that_began_before_it(start_ns: int) -> None:
    """A tape may begin with metadata, some time before anything is worth something."""
    rows = equity((5, 1000.0, 0.0), (6, 1100.0, 0.0), (DAY + 1, 1300.0, 0.0))
    found = daily_returns(rows, "USDC", start_ns, 2 * DAY)
    assert found["start"].to_list() == [1000.0, 1100.0]
    assert found["change"].to_list() == [100.0, 200.0]


def test_days_before_the_first_value_are_without_change_and_lose_nothing() -> None:
    rows = equity((2 * DAY + 5, 1000.0, 0.0), (2 * DAY + 6, 1100.0, 0.0))
    found = daily_returns(rows, "USDC", 7, 3 * DAY)
    assert found["start"].to_list() == [1000.0] * 3
    assert found["change"].to_list() == [0.0, 0.0, 100.0]


def test_changes_add_up_to_the_profit_with_points_at_the_very_start_and_end() -> None:
    rows = equity((DAY, 1000.0, 0.0), (DAY, 1010.0, 0.0), (2 * DAY, 1030.0, 0.0))
    assert daily_returns(rows, "USDC", DAY, 2 * DAY)["change"].to_list() == [30.0]


def test_a_return_of_nothing_is_none() -> None:
    found = daily_returns(equity((0, 0.0, 0.0), (5, 7.0, 0.0)), "USDC", 0, DAY)
    assert found["return"].to_list() == [None]


def test_the_ratio_is_that_of_whole_days_and_blank_below_thirty() -> None:
    changes = [1.0, 3.0] * (SHARPE_DAYS_MIN // 2)
    deviation = sqrt(SHARPE_DAYS_MIN / (SHARPE_DAYS_MIN - 1))
    assert sharpe_ratio(changes) == pytest.approx(2 / deviation * sqrt(365))
    assert sharpe_ratio(changes[:-1]) is None
    assert sharpe_ratio([2.0] * 40) is None
    assert sharpe_ratio([0.0] * 40) is None
