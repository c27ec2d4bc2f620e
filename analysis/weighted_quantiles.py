"""Means and quantiles of values that each held for some time, exact to the nanosecond."""

from __future__ import annotations

from math import fsum
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["QUANTILES", "weighted_mean", "weighted_quantiles"]

#: The quantiles that reports have, as percentages, and the ends of their column names.
QUANTILES: Final = {"p05": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "p99": 99}


def weighted_mean(values: npt.NDArray[np.float64], weights_ns: npt.NDArray[np.int64]) -> float | None:
    """
    Mean of the values, each counted as long as it held; None if none held for any time.

    The sum is rounded once (`math.fsum`), so the order of the values does not matter to the last bit, and what
    rounding is left never takes the mean beyond the values themselves.
    """
    total = int(weights_ns.sum())
    if total <= 0:
        return None
    held = values[weights_ns > 0]
    return min(max(fsum((values * weights_ns).tolist()) / total, float(held.min())), float(held.max()))


def weighted_quantiles(
    values: npt.NDArray[np.float64], weights_ns: npt.NDArray[np.int64], percents: tuple[int, ...]
) -> list[float] | None:
    """
    Quantiles of values that each held for some time.

    The p % quantile is the smallest of the values such that, for at least p % of the time, the value was not above
    it. It is always a value that occurred; nothing is interpolated. The comparison is one of whole nanoseconds.

    Args:
        values: Finite values in any order; equal ones may repeat.
        weights_ns: How long each held, ns, none negative.
        percents: Whole percentages, 1 to 100.

    Returns:
        One value for each percentage; None if no value held for any time.
    """
    held = weights_ns > 0
    values, weights_ns = values[held], weights_ns[held]
    if not len(values):
        return None
    order = np.argsort(values, kind="stable")
    until = np.cumsum(weights_ns[order])
    total = int(until[-1])
    # Python's integers do not overflow; -(-a // b) is a / b rounded up.
    needed = np.array([-(-total * percent // 100) for percent in percents], dtype=np.int64)
    return [float(value) for value in values[order][np.searchsorted(until, needed, side="left")]]
