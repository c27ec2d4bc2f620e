"""
In which steps compiled books count prices: the tick where it is known, else the finest decimal that there has been.

Every float64 has its whole number and gives it back exactly; what no decimal step fits is counted by its bits, which
ascend with the price as well, and are merely less dense.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from replay.fast.book_layout import BEYOND, NO_STEP, Books, widen_store_of
from replay.fast.engine_layout import Engine
from replay.fast.kernel_steps import to_steps
from replay.market.layout import FAR, NONE
from replay.market.rescaling import rescale
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import clear_side, has_room, set_level, side_columns, slot_of

__all__ = ["BookUnit", "bits_of", "floats_of", "rescale_engine", "rescale_pair"]

_clear_side: Final = plain(clear_side)
_has_room: Final = plain(has_room)
_set_level: Final = plain(set_level)
_slot_of: Final = plain(slot_of)
_side_columns: Final = plain(side_columns)

#: Decimals that are tried; whole numbers of smaller steps would pass the 53 bits of a float64 at prices of a few units.
_DECIMALS_MAX: Final = 12
_ONE: Final = Decimal(1)


class BookUnit:
    """
    The steps of one pair's prices.

    Args:
        tick: The step to begin with, where it is known.

    Attributes:
        step: One step; None: prices are counted by their bits.
    """

    def __init__(self, tick: Decimal | None = None) -> None:
        self.step: Decimal | None = _ONE if tick is None else tick

    def count(self, prices: npt.NDArray[np.float64], steps: npt.NDArray[np.int64]) -> bool:
        """
        Count prices, all positive or NaN, into `steps`: NaN becomes `NO_STEP`.

        Returns whether all are whole numbers of steps; `refine` finds some that they are whole numbers of.
        """
        if self.step is None:
            steps[:] = bits_of(prices)
            return True
        over, under = self.step.as_integer_ratio()
        return int(to_steps(prices, 0, len(prices), steps, under / over, float(over), float(under))) < 0

    def refine(self, prices: npt.NDArray[np.float64]) -> int:
        """
        Choose steps that fit prices too that the present ones do not.

        Returns how many new steps an old one is; 0: prices are counted by their bits from now on.
        """
        before = self.step
        scratch = np.empty(len(prices), np.int64)
        if before is not None:
            for decimals in range(_DECIMALS_MAX + 1):
                ratio = before / Decimal(1).scaleb(-decimals)
                if ratio != ratio.to_integral_value():
                    continue
                self.step = Decimal(1).scaleb(-decimals)
                if self.count(prices, scratch):
                    return int(ratio)
        self.step = None
        return 0

    def price(self, step: int) -> float:
        """The price of a number of steps."""
        return float(self.prices(np.array([step]))[0])

    def prices(self, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The prices of numbers of steps."""
        if self.step is None:
            return steps.view(np.float64)
        over, under = self.step.as_integer_ratio()
        return np.asarray(steps * float(over) / float(under), np.float64)


def bits_of(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bits of numbers that are not negative, of which 0 is none; `NO_STEP` for NaN."""
    bits = (values + 0.0).view(np.int64)  # of minus zero too
    missing = np.isnan(values)
    if missing.any():
        bits[missing] = NO_STEP
    return bits


def floats_of(bits: Any) -> npt.NDArray[np.float64]:
    """And back."""
    floats: npt.NDArray[np.float64] = np.asarray(bits, np.int64).view(np.float64)
    return floats


def rescale_pair(books: Books, pair: int, ticks: int, lots: int) -> Books:
    """The same books, of which one pair is counted in so many new steps of prices and sizes for each old one."""
    for side in (2 * pair, 2 * pair + 1):
        count = int(books.store.levels[side])
        keys, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
        _side_columns(books.store, side, keys, sizes)
        counts = [int(books.counts[_slot_of(books.store, side, key), key & 63]) for key in keys]
        _clear_side(books.store, side)
        while not _has_room(books.store, side, count):
            books = widen_store_of(books)
        for key, size, orders in zip(keys * ticks, sizes * lots, counts, strict=True):
            _set_level(books.store, side, key, size)
            books.counts[_slot_of(books.store, side, key), key & 63] = orders
    row = books.pairs[pair]
    for pool, factor in ((books.pool_steps, ticks), (books.pool_sizes, lots)):
        kept = pool[pair, : int(row["pool"])]
        kept[kept >= 0] *= factor
    recent = books.recent[pair, : int(row["recent"])]
    for name in ("low", "high"):
        bounds = recent[name]
        bounds[np.abs(bounds) < BEYOND] *= ticks
    return books


def rescale_engine(engine: Engine, place: int, ticks: int, lots: int) -> Engine:
    """
    The same run in finer steps of a pair.

    Args:
        engine: The arrays; they are changed, but for those that are replaced.
        place: Place of the pair.
        ticks: How many new ticks an old one is.
        lots: How many new lots an old one is.
    """
    with np.errstate(all="ignore"):
        engine = engine._replace(core=rescale(engine.core, place, ticks, lots))
    hands = engine.hands
    orders, posts, answers = hands.orders, hands.posts, engine.answers
    own = orders["pair"] == place
    numbers = orders["number"][own & (orders["number"] > 0)]
    for name, factor in (("tick", ticks), ("size", lots), ("left", lots), ("filled", lots)):
        orders[name][own] *= factor
    for rows, names in (
        (posts, (("tick", ticks), ("lots", lots), ("known_left", lots))),
        (answers, (("tick", ticks), ("lots", lots), ("left", lots), ("filled", lots), ("size", lots))),
    ):
        mine = np.isin(rows["order"], numbers)
        for name, factor in names:
            rows[name][mine] *= factor
    mine = np.isin(answers["order"], numbers)
    for name, least, factor in (("bid", NONE, ticks), ("ask", NONE, ticks), ("ahead", 0, lots)):
        values = answers[name]
        values[mine & (values > least) & (values < FAR)] *= factor
    for name, factor in (("bid", ticks), ("ask", ticks), ("bid_size", lots), ("ask_size", lots)):
        engine.quotes[name][place] *= factor
        engine.market[name][place] *= factor
    engine.quotes["last_price"][place] *= ticks
    engine.quotes["last_size"][place] *= lots
    engine.me["position"][place] *= lots
    for name in ("horizon_bids", "horizon_asks"):
        if engine.feeds[name][place] > 0:
            engine.feeds[name][place] *= ticks
    return engine._replace(hands=hands._replace(books=rescale_pair(hands.books, place, ticks, lots)))
