"""Prices and sizes as whole numbers of steps, as fast as memory gives them."""

from __future__ import annotations

import numpy as np

from recordings.columns.column_batch import Kind
from replay.fast.book_layout import NO_STEP
from toolkit.kernels.compiling import kernel

__all__ = ["rows_to_steps", "to_steps"]

_NONE = np.int64(NO_STEP)
_TRADE = np.int64(Kind.TRADE)
#: Integers up to here are exact in a float64.
_EXACT = 2.0**53
#: Values that are counted before it is looked whether all of them could be: without a way out a loop is several at a time.
_AT_ONCE = 128


@kernel
def to_steps(values, begin, end, steps, per_unit, over, under):
    """
    Count values in steps of `over / under`; NaN becomes `NO_STEP`.

    Returns:
        The index of the first that is no whole number of them, or too large; -1 if all are.
    """
    for first in range(begin, end, _AT_ONCE):
        stop = min(end, first + _AT_ONCE)
        wrong = np.int64(0)
        for at in range(first, stop):
            count = np.rint(values[at] * per_unit)
            steps[at] = np.int64(count)
            wrong |= np.int64(count * over / under != values[at]) | np.int64(abs(count * over) >= _EXACT)
        if wrong:
            for at in range(first, stop):
                value = values[at]
                count = np.rint(value * per_unit)
                if count * over / under == value and abs(count * over) < _EXACT:
                    steps[at] = np.int64(count)
                elif value != value:
                    steps[at] = _NONE
                else:
                    return np.int64(at)
    return np.int64(-1)


@kernel
def rows_to_steps(rows, places, grids, prices, sizes, ticks, lots):
    """
    Count the levels of messages in the steps of their markets.

    Args:
        rows: Of `MESSAGE`.
        places: Of each pair of the rows its place among the markets; -1 for none.
        grids: Of each market what `to_steps` takes, for prices and then for sizes; zeros where steps are not known.
        prices: Prices of the levels, and `sizes`.
        ticks: Where prices are written, and `lots` for sizes.

    Returns:
        The place of the first message with a level that is no whole number of steps; -1 if there is none.
    """
    for at in range(len(rows)):
        row = rows[at]
        if row["kind"] > _TRADE or row["pair"] < 0 or places[row["pair"]] < 0:
            continue
        grid = grids[places[row["pair"]]]
        if grid[0] == 0.0:
            continue
        first = row["first"]
        stop = first + row["bids"] + row["asks"]
        if to_steps(prices, first, stop, ticks, grid[0], grid[1], grid[2]) >= 0:
            return np.int64(at)
        if to_steps(sizes, first, stop, lots, grid[3], grid[4], grid[5]) >= 0:
            return np.int64(at)
    return np.int64(-1)
