"""The result of each day, for ratios that are about days and for programs that read a series of returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from math import sqrt
from typing import Final

import polars as pl

from toolkit.clock import NS_PER_S

__all__ = ["RETURN_COLUMNS", "SHARPE_DAYS_MIN", "daily_returns", "sharpe_ratio", "whole_days"]

RETURN_COLUMNS: Final = ("day", "start", "change", "return")
#: Of fewer days a ratio of means and deviations says nothing.
SHARPE_DAYS_MIN: Final = 30
_DAY: Final = 86_400 * NS_PER_S
#: A market that never closes has so many in a year.
_DAYS_OF_YEAR: Final = 365
_EPOCH: Final = date(1970, 1, 1)


def daily_returns(equity: pl.DataFrame, wallet: str, start_ns: int, end_ns: int) -> pl.DataFrame:
    """
    What became of an account from day to day, UTC.

    Args:
        equity: `Result.equity`.
        wallet: Name of the account.
        start_ns: First instant of the run.
        end_ns: Its last.

    Returns:
        A row for each day of the run, the first and last cut short by it: `day` (Date), `start` (Float64, equity when
        it began), `change` (Float64, what was gained, without deposits) and `return` (Float64, `change` over `start`;
        null where that is not above 0).
    """
    rows = equity.filter(wallet=wallet)
    first, last = start_ns // _DAY, max(start_ns, end_ns - 1) // _DAY
    days = range(first, last + 1)
    # A day ends with what the next one begins with: the last point before midnight.
    points = rows.select(
        at=pl.col("ts_recv").cast(pl.Int64),
        worth=pl.col("equity"),
        gained=pl.col("equity") - pl.col("transfers"),
    ).set_sorted("at")
    # The run itself begins with its first point, however long after its start that is, and ends with the last.
    cuts = pl.DataFrame({"at": [start_ns - 1, *(day * _DAY - 1 for day in days[1:]), max(start_ns, end_ns)]})
    if points.is_empty():
        points = pl.DataFrame({"at": [start_ns], "worth": [0.0], "gained": [0.0]})
    found = cuts.set_sorted("at").join_asof(points, on="at", strategy="backward")
    found = found.with_columns(pl.col(name).fill_null(points[name][0]) for name in ("worth", "gained"))
    change = found["gained"].diff().slice(1).round(9)
    start = found["worth"].head(len(days))
    return pl.DataFrame(
        {
            "day": pl.Series([_EPOCH + timedelta(days=day) for day in days], dtype=pl.Date),
            "start": start,
            "change": change,
            "return": pl.select(pl.when(start > 0).then(change / start)).to_series(),
        }
    )


def whole_days(returns: pl.DataFrame, start_ns: int, end_ns: int) -> list[float]:
    """What was gained on each day that the run had all of."""
    days, changes = returns["day"].to_list(), returns["change"].to_list()
    first, last = -(-start_ns // _DAY), end_ns // _DAY
    return [change for day, change in zip(days, changes, strict=True) if first <= (day - _EPOCH).days < last]


def sharpe_ratio(changes: Sequence[float]) -> float | None:
    """
    Mean over standard deviation of what was gained on each day, for a year.

    In money and not relative to equity, since what an account holds beside its positions is arbitrary; without an
    interest rate. None of fewer than `SHARPE_DAYS_MIN` days, or where all days are alike.
    """
    count = len(changes)
    if count < SHARPE_DAYS_MIN:
        return None
    mean = sum(changes) / count
    deviation = sqrt(sum((change - mean) ** 2 for change in changes) / (count - 1))
    return mean / deviation * sqrt(_DAYS_OF_YEAR) if deviation > 1e-12 * abs(mean) else None
