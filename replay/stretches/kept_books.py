"""The recorded books of pairs, read from where the matching core keeps them."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from replay.backtest.market import Market
from replay.backtest.scales import PairScale
from replay.market.core import MatchingCore
from replay.market.layout import NONE
from toolkit.books.orderbook import Columns, OrderBook

__all__ = ["UNSEEN", "CoreSide", "KeptBook"]

#: What no key and no lots are: unlike anything that was looked at.
UNSEEN: Final = NONE - 1


class CoreSide:
    """
    One side of a pair's book in the core.

    Args:
        core: Keeps it.
        line: Its line there.
        market: The pair, with the grid that it is counted in.
        now: Key and lots of the best level, as they are now.
        book: The book that it is a side of.
    """

    __slots__ = ("_book", "_core", "_line", "_market", "_now", "_sign")

    def __init__(
        self, core: MatchingCore, line: int, market: Market, now: npt.NDArray[np.int64], book: KeptBook
    ) -> None:
        self._core = core
        self._line = line
        self._market = market
        self._now = now
        self._book = book
        self._sign = -1 if line & 1 else 1

    def best(self) -> tuple[float, float] | None:
        """Price and size of the best level; None of an empty side."""
        scale = self._market.scale
        if scale is not self._book.scale:
            self._book.note_best()
        key, lots = self._now.tolist()
        return None if key == NONE or scale is None else (scale.price(key * self._sign), scale.size(lots))

    def columns(self) -> Columns:
        """All levels, which the book holds itself from now on."""
        self._book.was_taken()
        prices, sizes = self.levels()
        return tuple(prices.tolist()), tuple(sizes.tolist()), ()

    def levels(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Prices and sizes, best first."""
        scale = self._market.scale
        keys, lots = self._core.side_columns(self._line)
        if scale is None:
            return np.empty(0), np.empty(0)
        # Whole numbers below 2^53, and a quotient that is rounded once: as `PairScale.price` has it.
        (tick, per_tick), (lot, per_lot) = scale.tick_ratio, scale.lot_ratio
        return keys * (self._sign * tick) / per_tick, lots * lot / per_lot


class KeptBook:
    """
    The book of one pair, which the core keeps as well.

    Args:
        core: Keeps it.
        place: Place of the pair.
        market: The pair.
        now: Its best levels as they are, of `kernel_stretch.best_levels`.

    Attributes:
        scale: The grid that `now` is counted in.
        is_same: Whether the core is known to have the levels that the book has; None: not looked at yet.
    """

    def __init__(self, core: MatchingCore, place: int, market: Market, now: npt.NDArray[np.int64]) -> None:
        self._core = core
        self._place = place
        self._market = market
        self._now = now
        self.scale: PairScale | None = None
        self._sides = tuple(
            CoreSide(core, 2 * place + side, market, now[2 * side : 2 * side + 2], self) for side in (0, 1)
        )
        self._is_read_there = False
        self.is_same: bool | None = None

    def was_taken(self) -> None:
        """All levels have been read: the book holds them itself from then on."""
        self._is_read_there = False

    def note_best(self) -> None:
        """Note the best levels, in the grid of now: a finer one counts them otherwise."""
        self._core.note_best(self._place, self._now)
        self.scale = self._market.scale

    def look(self, book: OrderBook) -> bool:
        """Whether the core has the book's levels, and nothing of them is known that it does not keep."""
        if self.is_same is None:
            sides = (book.bids, book.asks)
            self.is_same = not any(side.has_counts for side in sides) and all(
                _are_equal(kept.levels(), side.columns()) for kept, side in zip(self._sides, sides, strict=True)
            )
        return self.is_same

    def hand_over(self, book: OrderBook) -> None:
        """Have the book read from the core, which goes ahead of it from now on."""
        if self.scale is not self._market.scale:
            self.note_best()
        if not self._is_read_there:
            self.note_best()
            for kept, side in zip(self._sides, (book.bids, book.asks), strict=True):
                side.read_from(kept)
            self._is_read_there = True

    def changed(self, *, is_whole: bool) -> None:
        """
        The book is changed by a message: nothing is known of the core any more.

        What differed before a diff does so after it: only a whole book is looked at again.
        """
        if is_whole or self.is_same:
            self.is_same = None
        self._is_read_there = False


def _are_equal(kept: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], columns: Columns) -> bool:
    prices, sizes, _ = columns
    return bool(np.array_equal(kept[0], np.array(prices)) and np.array_equal(kept[1], np.array(sizes)))
