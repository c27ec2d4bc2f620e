"""Daily returns of a result for QuantStats, a library of other people's, where it is installed (`tickdeck[quantstats]`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from replay.results.result import Result
from toolkit.errors import ConfigError

__all__ = ["returns_series", "write_quantstats"]

#: A market that never closes has so many in a year.
_DAYS_OF_YEAR = 365


def returns_series(result: Result, wallet: str | None = None) -> Any:
    """
    Returns of each day (UTC) as a pandas Series by day, as QuantStats wants them.

    Args:
        result: Result of the run.
        wallet: Name of the account; None for the only one.

    Raises ConfigError without pandas, without an account of that name, or where a day began with nothing.
    """
    try:
        import pandas as pd
    except ImportError:
        raise ConfigError(_MISSING) from None
    rows = result.returns(wallet)
    if rows["return"].null_count():
        raise ConfigError(
            "returns are shares of what an account held when a day began, and it held nothing: give --capital"
        )
    days = pd.DatetimeIndex([str(day) for day in rows["day"].to_list()])
    return pd.Series(rows["return"].to_list(), index=days, name=result.info.strategy)


_MISSING = "QuantStats is not installed, which is an extra: pip install 'tickdeck[quantstats]'"


def write_quantstats(result: Result, path: Path, wallet: str | None = None) -> None:
    """
    Write the page that QuantStats makes of a result.

    Its numbers are its own: they take a day for the step and know nothing of doubtful data.

    Raises ConfigError as `returns_series` does, without QuantStats, or where there are fewer than two days.
    """
    series = returns_series(result, wallet)
    if len(series) < 2:
        raise ConfigError(f"QuantStats wants returns of several days, and the run has {len(series)}")
    try:
        import quantstats
    except ImportError:
        raise ConfigError(_MISSING) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library that others write
        quantstats.reports.html(series, output=str(path), title=result.info.strategy, periods_per_year=_DAYS_OF_YEAR)
