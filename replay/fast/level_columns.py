"""The levels of a batch of columns in the units of their markets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import ColumnBatch, Kind
from replay.backtest.market import Market
from replay.fast.book_layout import NO_STEP
from replay.fast.kernel_steps import rows_to_steps, to_steps
from toolkit.errors import ConfigError

__all__ = ["LevelColumns", "count_from", "counted", "refine_for", "uncounted"]


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
    if (place := _only(rows, places)) is not None:
        scale = markets[place].scale
        if scale is None or (
            _steps(batch.prices, ticks, scale.tick_ratio) and _steps(batch.sizes, lots, scale.lot_ratio)
        ):
            return LevelColumns(ticks, lots, batch.counts)
    finer: set[int] = set()
    while (at := int(rows_to_steps(rows, places, _grids(markets), batch.prices, batch.sizes, ticks, lots))) >= 0:
        place = int(places[rows["pair"][at]])
        mine = rows[(rows["kind"] <= Kind.TRADE) & (rows["pair"] == rows["pair"][at])]
        _refine(batch, _levels_of(mine), markets[place], place, None if place in finer else refine)
        finer.add(place)
    return LevelColumns(ticks, lots, batch.counts)


def uncounted(batch: ColumnBatch) -> LevelColumns:
    """Room for the levels of a batch, none of which is counted."""
    return LevelColumns(np.zeros(len(batch.prices), np.int64), np.zeros(len(batch.prices), np.int64), batch.counts)


def count_from(
    batch: ColumnBatch,
    start: int,
    places: npt.NDArray[np.int64],
    markets: Sequence[Market],
    levels: LevelColumns,
) -> int:
    """
    Count the levels of a batch from a message on, up to the first of which a price or size is off its market's grid.

    Returns the place of that message; the number of messages where there is none.
    """
    rows = batch.rows[start:]
    at = int(rows_to_steps(rows, places, _grids(markets), batch.prices, batch.sizes, levels.ticks, levels.lots))
    return start + (len(rows) if at < 0 else at)


def refine_for(
    batch: ColumnBatch, at: int, place: int, market: Market, refine: Callable[[int, int, int], None]
) -> None:
    """Have a market count in steps that fit a message. Raises ConfigError where none do."""
    _refine(batch, _levels_of(batch.rows[at : at + 1]), market, place, refine)


def _only(rows: npt.NDArray[np.void], places: npt.NDArray[np.int64]) -> int | None:
    """The place of the market of which all levels are; None where there are several, or others."""
    pairs = rows["pair"]
    if not len(rows) or pairs[0] < 0 or places[pairs[0]] < 0 or not (pairs == pairs[0]).all():
        return None
    return None if rows["bids"][rows["kind"] > Kind.TRADE].any() else int(places[pairs[0]])


def _levels_of(rows: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    counts = rows["bids"].astype(np.int64) + rows["asks"]
    ends = np.cumsum(counts)
    offsets = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    where: npt.NDArray[np.int64] = np.repeat(rows["first"], counts) + offsets
    return where


def _refine(
    batch: ColumnBatch,
    where: npt.NDArray[np.int64],
    market: Market,
    place: int,
    refine: Callable[[int, int, int], None] | None,
) -> None:
    """Have a market count in steps that fit these levels; None in place of `refine` where it has done so before."""
    prices, sizes = _known(batch.prices[where]), _known(batch.sizes[where])
    scale = market.scale
    assert scale is not None, "else nothing is counted"
    finer = None if refine is None else market.refine(prices, sizes)
    if refine is None or finer is None:
        # They say which of them is none of the market's.
        scale.ticks(prices)
        scale.lots(sizes)
        raise ConfigError(f"{scale.pair}: prices or sizes have too many digits to be counted")
    refine(place, *finer)


def _known(values: npt.NDArray[np.float64]) -> list[float]:
    found: list[float] = np.unique(values[(values == values) & (values > 0)]).tolist()
    return found


def _grids(markets: Sequence[Market]) -> npt.NDArray[np.float64]:
    grids = np.zeros((len(markets), 6))
    for place, market in enumerate(markets):
        if market.scale is not None:
            grids[place] = (*_grid(market.scale.tick_ratio), *_grid(market.scale.lot_ratio))
    return grids


def _grid(ratio: tuple[int, int]) -> tuple[float, float, float]:
    over, under = ratio
    return under / over, float(over), float(under)


def _steps(values: npt.NDArray[np.float64], into: npt.NDArray[np.int64], ratio: tuple[int, int]) -> bool:
    return int(to_steps(values, 0, len(values), into, *_grid(ratio))) < 0
