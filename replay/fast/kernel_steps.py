"""Prices and sizes as whole numbers of steps, as fast as memory gives them."""

from __future__ import annotations

import numpy as np

from replay.fast.book_layout import NO_STEP
from toolkit.kernels.compiling import kernel

__all__ = ["to_steps"]

_NONE = np.int64(NO_STEP)
#: Integers up to here are exact in a float64.
_EXACT = 2.0**53


@kernel
def to_steps(values, begin, end, steps, per_unit, over, under):
    """
    Count values in steps of `over / under`; NaN becomes `NO_STEP`.

    Returns:
        The index of the first that is no whole number of them, or too large; -1 if all are.
    """
    for at in range(begin, end):
        value = values[at]
        count = np.rint(value * per_unit)
        if count * over / under == value and abs(count * over) < _EXACT:
            steps[at] = np.int64(count)
        elif value != value:
            steps[at] = _NONE
        else:
            return np.int64(at)
    return np.int64(-1)
