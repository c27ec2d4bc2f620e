"""The levels of a batch of columns in the units of their markets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import ColumnBatch, Kind
from replay.backtest.market import Market
from replay.fast.book_layout import NO_STEP
from replay.fast.kernel_steps import to_steps

__all__ = ["LevelColumns", "counted"]


@dataclass(frozen=True, slots=True)
class LevelColumns:
    """The levels of a batch as its markets count them."""

    ticks: npt.NDArray[np.int64]
    lots: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int32]

    def in_finer_steps(self, rows: npt.NDArray[np.void], ticks: int, lots: int) -> LevelColumns:
        """The same with the levels of some messages in finer steps: as many new ticks and lots as an old one is."""
        where = _levels_of(rows[rows["kind"] <= Kind.TRADE])
        finer = []
        for steps, factor in ((self.ticks.copy(), ticks), (self.lots.copy(), lots)):
            steps[where[steps[where] != NO_STEP]] *= factor
            finer.append(steps)
        return LevelColumns(finer[0], finer[1], self.counts)


def counted(
    batch: ColumnBatch,
    places: npt.NDArray[np.int64],
    markets: Sequence[Market],
    refine: Callable[[int, int, int], None],
) -> LevelColumns:
    """
    The levels of a batch in the units of their markets.

    Args:
        batch: The batch.
        places: Place among `markets` of each of its pairs, -1 for none.
        markets: With a grid each.
        refine: Called with `(place, ticks, lots)` once a market's grid was made finer for what is off it.

    Raises ConfigError for a price or size that no grid fits.
    """
    rows = batch.rows
    ticks, lots = np.zeros(len(batch.prices), np.int64), np.zeros(len(batch.prices), np.int64)
    is_level = (rows["kind"] <= Kind.TRADE) & (rows["pair"] >= 0)
    pairs = np.unique(rows["pair"][is_level])
    for pair in pairs.tolist():
        place = int(places[pair])
        if place < 0:
            continue
        mine = rows[is_level & (rows["pair"] == pair)]
        where = None if len(mine) == len(rows) else _levels_of(mine)
        _count(batch, where, ticks, lots, markets[place], place, refine)
    return LevelColumns(ticks, lots, batch.counts)


def _levels_of(rows: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    counts = rows["bids"].astype(np.int64) + rows["asks"]
    ends = np.cumsum(counts)
    offsets = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    where: npt.NDArray[np.int64] = np.repeat(rows["first"], counts) + offsets
    return where


def _count(
    batch: ColumnBatch,
    where: npt.NDArray[np.int64] | None,
    ticks: npt.NDArray[np.int64],
    lots: npt.NDArray[np.int64],
    market: Market,
    place: int,
    refine: Callable[[int, int, int], None],
) -> None:
    prices, sizes = batch.prices, batch.sizes
    if where is not None:
        prices, sizes = prices[where], sizes[where]
    into = (ticks, lots) if where is None else (np.empty(len(where), np.int64), np.empty(len(where), np.int64))
    scale = market.scale
    if scale is None:
        return
    if not (_steps(prices, into[0], scale.tick) and _steps(sizes, into[1], scale.lot)):
        finer = market.refine(_known(prices), _known(sizes))
        if finer is None:
            scale.ticks(_known(prices))
            scale.lots(_known(sizes))
        else:
            refine(place, *finer)
        assert market.scale is not None, "it was one before"
        _steps(prices, into[0], market.scale.tick)
        _steps(sizes, into[1], market.scale.lot)
    if where is not None:
        ticks[where], lots[where] = into


def _known(values: npt.NDArray[np.float64]) -> list[float]:
    found: list[float] = np.unique(values[(values == values) & (values > 0)]).tolist()
    return found


def _steps(values: npt.NDArray[np.float64], into: npt.NDArray[np.int64], step: Decimal) -> bool:
    over, under = step.as_integer_ratio()
    return int(to_steps(values, 0, len(values), into, under / over, float(over), float(under))) < 0
