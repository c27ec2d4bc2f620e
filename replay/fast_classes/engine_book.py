"""The fused books of a run, read from the arrays of its engine as a strategy looks at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, SupportsIndex

import numpy as np

from recordings.columns.column_batch import NO_COUNT, NO_TIME
from replay.backtest.market import Market
from replay.fast.engine_layout import QUOTE, book_of
from toolkit.books.book_side import BookSide
from toolkit.books.checked_levels import KeptColumns
from toolkit.books.orderbook import OrderBook, OrderBookEntry
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import side_columns, slot_of
from toolkit.keys import PairKey

if TYPE_CHECKING:
    from replay.fast_classes.class_run import ClassRun

__all__ = ["EngineBook"]

_slot_of: Final[Any] = plain(slot_of)
_QUOTE_AT: Final = {name: place for place, name in enumerate(QUOTE.names or ())}
_QUOTE_WORDS: Final = len(_QUOTE_AT)
_NO_LEVEL: Final = (None, 0.0)
_STALE: Final = _QUOTE_AT["stale"]
#: Of each side the words of price and size in the row of a pair.
_BEST: Final = tuple((_QUOTE_AT[name], _QUOTE_AT[f"{name}_size"]) for name in ("bid", "ask"))


class _SideThere:
    """One side, as `BookSide` reads one that is kept elsewhere."""

    __slots__ = ("_book", "_side")

    def __init__(self, book: EngineBook, side: int) -> None:
        self._book = book
        self._side = side

    def best(self) -> tuple[float, float] | None:
        """Price and size of the best level; None of an empty side."""
        return self._book.best_of(self._side)

    def columns(self) -> KeptColumns:
        """All levels."""
        return self._book.columns_of(self._side)


class _Upkeep:
    """Has the sides of a book read anew at each wake, also by whoever has kept one of them."""

    __slots__ = ("_book",)

    def __init__(self, book: EngineBook) -> None:
        self._book = book

    @property
    def is_ahead(self) -> bool:
        """Whether there was a wake since they were read."""
        return self._book.is_behind

    def settle(self) -> None:
        """Read them anew."""
        self._book.read()

    def newest_best(self, *, is_bid: bool) -> None:
        """Nothing is known but what is read."""


class EngineBook(OrderBook):
    """
    The book of a pair.

    It is read when it is asked, so that it is as it is now for whoever has kept it.

    Args:
        run: Run whose engine has it.
        place: Place of the pair.
        key: The pair.
        market: Market that it is counted in.
    """

    __slots__ = ("_base", "_market", "_place", "_run", "_seen", "_sources")

    def __init__(self, run: ClassRun, place: int, key: PairKey, market: Market) -> None:
        upkeep = _Upkeep(self)
        self.bids, self.asks = BookSide(is_bid=True, upkeep=upkeep), BookSide(is_bid=False, upkeep=upkeep)
        self._sources = _SideThere(self, 0), _SideThere(self, 1)
        self._run = run
        self._place = place
        self._base = place * _QUOTE_WORDS
        self._market = market
        self._seen = -1
        self.trading_pair = key.trading_pair
        self.venue = key.venue

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # Part of a copy stands still and part goes on, in the way of the book that it is of.
        self._run.exchange.refuse("a copy of a book")

    # -- what is kept in the arrays ----------------------------------------------------------------------------

    def best_of(self, side: int) -> tuple[float, float] | None:
        """Price and size of the best level of a side; None where it is empty."""
        walk = self._run.walk
        if walk is not None:
            shown = walk.shown(self._place)
            if shown is not None:
                level = shown[0][side][walk.at]
                return None if level is None else level[:2]
            walk.come_here()
        price, size = _BEST[side]
        quotes, base, scale = self._run.quotes, self._base, self._market.scale
        tick = quotes[base + price]
        if not tick or scale is None:
            return None
        # As `scale.price` and `scale.size`, which are asked for thousands of times a second.
        (over, under, _), (lot, per_lot, _) = scale._tick, scale._lot
        return tick * over / under, quotes[base + size] * lot / per_lot

    def top(self) -> tuple[float | None, float, float | None, float]:
        """Price and size of the best bid and of the best ask; None and 0.0 where there is none."""
        bid, ask = self.best_of(0) or _NO_LEVEL, self.best_of(1) or _NO_LEVEL
        return (*bid, *ask)

    def columns_of(self, side: int) -> KeptColumns:
        """Prices, sizes and counts of a side, best first."""
        self._run.come_here()
        scale, engine, line = self._market.scale, self._run.engine, 2 * self._place + side
        store = book_of(engine, self._place)
        levels = int(store.levels[line])
        if scale is None or not levels:
            return (), (), ()
        keys, lots = np.empty(levels, np.int64), np.empty(levels, np.int64)
        side_columns(store, line, keys, lots)
        # Whole numbers below 2^53, and a quotient that is rounded once: as `PairScale.price` has it.
        (tick, per_tick), (lot, per_lot) = scale.tick_ratio, scale.lot_ratio
        prices, sizes = np.abs(keys) * tick / per_tick, lots * lot / per_lot
        counts: tuple[int | None, ...] = ()
        if self._run.is_counted:
            there = engine.core.counts if store is engine.core.book else engine.hands.books.counts
            found = [int(there[_slot_of(store, line, key), key & 63]) for key in keys]
            if any(each >= 0 and each != NO_COUNT for each in found):
                counts = tuple(each if each >= 0 and each != NO_COUNT else None for each in found)
        return tuple(prices.tolist()), tuple(sizes.tolist()), counts

    @property
    def is_behind(self) -> bool:
        """Whether its sides are those of an earlier wake."""
        return self._seen != self._run.moment

    def read(self) -> None:
        """Have the sides stand for what is in the arrays now."""
        self._seen = self._run.moment
        for each, source in zip((self.bids, self.asks), self._sources, strict=True):
            if self._run.is_counted:
                each.replace(source.columns(), checked=True)
            else:
                each.read_from(source)

    # -- as an order book has it -------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Have the stamps of now."""
        self._run.come_here()
        row = self._run.engine.hands.books.pairs[self._place]
        found = int(row["ts_event"])
        self._ts_event, self._ts_recv = None if found == NO_TIME else found, int(row["ts_recv"])

    @property
    def is_stale(self) -> bool:  # type: ignore[override]
        """Whether it cannot be believed now."""
        walk = self._run.walk
        if walk is not None:
            shown = walk.shown(self._place)
            if shown is not None:
                return shown[1][walk.at]
            walk.come_here()
        return bool(self._run.quotes[self._base + _STALE])

    @property
    def stale_cause(self) -> str:  # type: ignore[override]
        """Why, in one word; empty while the book is good."""
        return self._run.stale_causes[self._place] if self.is_stale else ""

    @property
    def best_bid(self) -> OrderBookEntry | None:
        """Highest bid, or None."""
        if self._run.is_counted:
            return self.bids.best
        walk = self._run.walk
        if walk is not None:
            shown = walk.shown(self._place)
            if shown is not None:
                return shown[0][0][walk.at]
        level = self.best_of(0)
        return None if level is None else OrderBookEntry(*level)

    @property
    def best_ask(self) -> OrderBookEntry | None:
        """Lowest ask, or None."""
        if self._run.is_counted:
            return self.asks.best
        walk = self._run.walk
        if walk is not None:
            shown = walk.shown(self._place)
            if shown is not None:
                return shown[0][1][walk.at]
        level = self.best_of(1)
        return None if level is None else OrderBookEntry(*level)

    @property  # type: ignore[misc]
    def update_id(self) -> int | None:
        """Venue's number of the newest update. Raises ConfigError: the engine keeps none."""
        self._run.exchange.refuse("update_id of a book")


# What a user's mistake is reported with, and what is logged of a book, is the same in a plain session.
EngineBook.__name__ = EngineBook.__qualname__ = OrderBook.__name__
