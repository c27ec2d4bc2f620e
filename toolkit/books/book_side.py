"""
One side of an order book: its levels, best first, updated in place.

It is held in one of two shapes. A venue that sends whole books gives columns, best first, which are kept as they
came: reading the best price of a snapshot costs nothing more. What quotes and a few levels say since then lies over
them, so that a quote touches no level but the best. A venue that sends diffs needs levels by price: then the side is a
dict of sizes and a sorted list of keys whose *last* element is the best, because most changes happen near the best price
and a list inserts cheaply near its end. The first diff turns the one shape into the other.

Where diffs are read no deeper than the best level, the keys are a heap instead, and a removed level stays in it, of size 0,
until it is the best or there are too many of these: then a diff costs no step of Python per level. The first look beyond
the best level sorts them, and `_UNREAD` diffs without one make a heap again.

In both shapes a level has the number of orders that the newest message said which set it, and none where that said none:
whatever the side's other levels have, and whenever it is read.

Where compiled code keeps the levels, a side may stand for what is kept there (`read_from`): the best level is asked for
when it is read, and all of them become columns once somebody looks deeper.

A book may be behind: what keeps it (`Upkeep`) has messages that are newer, and brings it up to date when it is read. The
objects of a thousand books are in no cache, so those of a book that is not read are better not touched.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import chain, islice, repeat
from math import inf
from operator import index, neg
from typing import Final, Protocol, SupportsIndex, overload

from toolkit.books.checked_levels import (
    Columns,
    KeptColumns,
    OrderBookEntry,
    check_changes,
    check_levels,
    counted,
    held,
    shown_level,
)
from toolkit.borders import Shown
from toolkit.errors import BookError

__all__ = ["BookSide", "LevelSource", "Upkeep"]

_EMPTY: Final[Columns] = ((), (), ())
_Level = tuple[float, float, int | None]
#: Diffs in a row after which nobody looks beyond the best level any more.
_UNREAD: Final = 64
#: Prices that a heap holds at least before removed ones are looked for.
_HEAP_MIN: Final = 256


class LevelSource(Protocol):
    """Where the levels of a side are kept, as they are now."""

    def best(self) -> tuple[float, float] | None:
        """Price and size of the best level; None of an empty side."""

    def columns(self) -> KeptColumns:
        """All levels, none of size 0."""


class Upkeep(Protocol):
    """What keeps a book, and may be ahead of it."""

    @property
    def is_ahead(self) -> bool:
        """Whether it has messages that the book has not taken in yet."""

    def settle(self) -> None:
        """Bring the book up to date."""

    def newest_best(self, *, is_bid: bool) -> _Level | None:
        """While it is ahead: the best level of a side, where the newest message alone says which that is."""


class BookSide(Shown):
    """
    One side of a book: `len(side)` levels, `side[0]` the best of them, `side[:5]` the best five.

    Args:
        is_bid: Whether the best price is the highest.
        upkeep: Function that brings it up to date when it is read; None where it always is.
    """

    __slots__ = (
        "_best_count",
        "_best_price",
        "_best_size",
        "_columns",
        "_counts",
        "_heap",
        "_heap_max",
        "_keys",
        "_over",
        "_sign",
        "_sizes",
        "_source",
        "_start",
        "_top",
        "_unread",
        "_upkeep",
        "is_bid",
    )

    def __init__(self, is_bid: bool, upkeep: Upkeep | None = None) -> None:
        self.is_bid = is_bid
        self._upkeep = upkeep
        # Keys ascend towards the best price: the price itself for bids, its negative for asks.
        self._sign = 1.0 if is_bid else -1.0
        self._columns: KeptColumns | None = _EMPTY
        #: Of the columns, those from `_start` on are left. Better than they are those of `_over`, the best one last, and
        #: still better is the best level, unless its price is None.
        self._start = 0
        self._over: list[_Level] = []
        self._best_price: float | None = None
        self._best_size = 0.0
        self._best_count: int | None = None
        self._keys: list[float] = []
        self._sizes: dict[float, float] = {}
        self._counts: dict[float, int] = {}
        #: In place of the keys: their negatives, the best first, as a heap; then sizes may be 0. None where they are sorted.
        self._heap: list[float] | None = None
        #: Prices that it may hold before removed ones are dropped.
        self._heap_max = 0
        #: Diffs since anything looked beyond the best level of the sorted keys.
        self._unread = 0
        #: Of levels by price, the best one as it was handed out last; None where it has to be made.
        self._top: OrderBookEntry | None = None
        #: Where the levels are; then there is none in either shape.
        self._source: LevelSource | None = None

    def read_from(self, source: LevelSource) -> None:
        """Stand for the levels that are kept there, until they are changed here or looked at beyond the best one."""
        self._catch_up()
        self._become(_EMPTY)
        self._columns = None
        self._source = source

    @property
    def is_read_from_elsewhere(self) -> bool:
        """Whether it stands for levels that are kept elsewhere."""
        return self._source is not None

    def _take_over(self) -> None:
        """Become what it is by now, and hold the levels here; what looks beyond the best one begins with it."""
        self._catch_up()
        source = self._source
        if source is not None:
            self._become(source.columns())
        elif self._heap is not None:
            self._sort()
        self._unread = 0

    def _catch_up(self) -> None:
        """Become what it is by now."""
        upkeep = self._upkeep
        if upkeep is not None and upkeep.is_ahead:
            upkeep.settle()

    def _newest_best(self) -> _Level | None:
        upkeep = self._upkeep
        return upkeep.newest_best(is_bid=self.is_bid) if upkeep is not None and upkeep.is_ahead else None

    def __len__(self) -> int:
        self._take_over()
        if self._columns is None:
            return len(self._keys)
        return (self._best_price is not None) + len(self._over) + len(self._columns[0]) - self._start

    def __iter__(self) -> Iterator[OrderBookEntry]:
        return self.levels()

    @overload
    def __getitem__(self, place: SupportsIndex) -> OrderBookEntry: ...

    @overload
    def __getitem__(self, place: slice) -> list[OrderBookEntry]: ...

    def __getitem__(self, place: SupportsIndex | slice) -> OrderBookEntry | list[OrderBookEntry]:
        """The level at a place, counted from the best, or those of a slice. Raises IndexError where there is none."""
        if isinstance(place, slice):
            places = range(len(self))[place]
            levels = list(self.levels(max(places, default=-1) + 1))
            return [levels[each] for each in places]
        place = index(place)
        count = len(self)
        at = place + count if place < 0 else place
        if not 0 <= at < count:
            side = "bid" if self.is_bid else "ask"
            raise IndexError(f"no level {place} of {count} on the {side} side")
        return next(islice(self.levels(at + 1), at, None))

    def _shown(self) -> str:
        side, best = "bids" if self.is_bid else "asks", self.best
        return f"{side}: {len(self)} levels, best {shown_level(best)}" if best is not None else f"{side}: empty"

    @property
    def best_price(self) -> float | None:
        """Best price, or None if the side is empty."""
        newest = self._newest_best()
        if newest is not None:
            return newest[0]
        self._catch_up()
        if self._best_price is not None:
            return self._best_price
        columns = self._columns
        if columns is not None:
            return columns[0][self._start] if self._start < len(columns[0]) else None
        if self._source is not None:
            best = self._source.best()
            return None if best is None else best[0]
        return self._best_by_price()[0]

    @property
    def best(self) -> OrderBookEntry | None:
        """Best level, or None if the side is empty."""
        upkeep = self._upkeep
        if upkeep is not None and upkeep.is_ahead:
            newest = upkeep.newest_best(is_bid=self.is_bid)
            if newest is not None:
                return OrderBookEntry(*newest)
            upkeep.settle()
        if self._source is not None:
            best = self._source.best()
            return None if best is None else OrderBookEntry(*best)
        # Most books are asked for it after every message: no walk over the levels is begun where they are in one shape.
        if self._columns is None:
            if self._top is None:
                price, size = self._best_by_price()
                if price is None or size is None:
                    return None
                self._top = OrderBookEntry(price, size, self._counts.get(price))
            return self._top
        return next(self.levels(1), None)

    def _best_by_price(self) -> tuple[float, float] | tuple[None, None]:
        """The best of levels that are held by price."""
        sizes, heap, keys = self._sizes, self._heap, self._keys
        if heap is None:
            if not keys:
                return None, None
            price = keys[-1] * self._sign
            return price, sizes[price]
        while heap:
            price = heap[0] * -self._sign
            size = sizes[price]
            if size:
                return price, size
            heappop(heap)
            del sizes[price]
        return None, None

    def size_at(self, price: float) -> float:
        """Resting size at exactly that price; 0.0 if there is no such level."""
        self._take_over()
        if self._columns is not None:
            prices, sizes, _ = self.kept_columns()
            return sizes[prices.index(price)] if price in prices else 0.0
        return self._sizes.get(price, 0.0)

    def levels(self, count: int | None = None) -> Iterator[OrderBookEntry]:
        """The best `count` levels (all, if None), best first."""
        self._take_over()
        if self._columns is not None:
            prices, sizes, counts = self._columns
            over = self._levels_over()[:count]
            start = self._start
            end = len(prices) if count is None else start + count - len(over)
            under = zip(prices[start:end], sizes[start:end], counts[start:end] or repeat(None), strict=False)
            for level in chain(over, under):
                yield OrderBookEntry(*level)
            return
        keys = reversed(self._keys) if count is None else self._keys[: -count - 1 : -1]
        for key in keys:
            price = key * self._sign
            yield OrderBookEntry(price, self._sizes[price], self._counts.get(price))

    def columns(self) -> Columns:
        """Prices, sizes and counts (empty if not every level has one), best first."""
        return counted(self.kept_columns())

    def kept_columns(self) -> KeptColumns:
        """Prices, sizes and counts (empty if no level has one), best first: all that `replace` needs to become the same."""
        self._take_over()
        if self._columns is None:
            keys, counts = reversed(self._keys), self._counts
            prices = tuple(keys) if self._sign > 0 else tuple(map(neg, keys))
            return prices, tuple(map(self._sizes.__getitem__, prices)), tuple(map(counts.get, prices)) if counts else ()
        if self._best_price is not None or self._start:
            self._become(self._joined(self._columns))
        return self._columns

    @property
    def has_counts(self) -> bool:
        """Whether it is known how many orders any level holds."""
        self._catch_up()
        if self._columns is None:
            return bool(self._counts)
        counts = chain((count for _, _, count in self._levels_over()), self._columns[2][self._start :])
        return any(count is not None for count in counts)

    def top_columns(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Prices and sizes of at least the best level, without walking the whole side."""
        self._catch_up()
        if self._columns is None:
            if self._source is not None:
                level = self._source.best()
                return ((), ()) if level is None else ((level[0],), (level[1],))
            price, size = self._best_by_price()
            return ((), ()) if price is None or size is None else ((price,), (size,))
        if self._best_price is not None:
            return (self._best_price,), (self._best_size,)
        return self.kept_columns()[:2]

    def head(self) -> tuple[float | None, float | None, int]:
        """Best price and its size (None of an empty side), and the number of levels: what is asked after every message."""
        upkeep = self._upkeep
        if upkeep is not None and upkeep.is_ahead:
            upkeep.settle()
        columns = self._columns
        if columns is None:
            if self._source is not None or self._heap is not None:
                self._take_over()
                return self.head()
            self._unread = 0
            keys = self._keys
            if not keys:
                return None, None, 0
            price = keys[-1] * self._sign
            return price, self._sizes[price], len(keys)
        prices, start = columns[0], self._start
        left = len(prices) - start
        if self._best_price is not None:
            return self._best_price, self._best_size, 1 + len(self._over) + left
        return (prices[start], columns[1][start], left) if left > 0 else (None, None, 0)

    def replace(self, columns: KeptColumns, *, checked: bool = False) -> None:
        """
        Become these levels, best first; one of size 0 holds nothing and is left out.

        Raises BookError and stays as it was if they are no book side. `checked` says that `check_levels` has passed
        them already.
        """
        self._catch_up()
        if not checked:
            check_levels(columns, is_bid=self.is_bid)
        self._become(held(columns) if 0.0 in columns[1] else columns)

    def overlay(self, columns: KeptColumns, *, complete: bool, checked: bool = False) -> None:
        """
        Take newer levels, best first, over what is there.

        Between the best price and the worst of `columns` only they remain; worse levels stay, unless `complete` says
        that there are none. `checked` as `replace` has it.
        """
        self._catch_up()
        if complete or not columns[0]:
            self.replace(columns, checked=checked)
            return
        if not checked:
            check_levels(columns, is_bid=self.is_bid)
        prices, sizes, counts = held(columns) if 0.0 in columns[1] else columns
        self._drop_until_worse_than(columns[0][-1])
        if prices:
            self._over += zip(prices[:0:-1], sizes[:0:-1], counts[:0:-1] or repeat(None), strict=False)
            self._best_price, self._best_size, self._best_count = prices[0], sizes[0], counts[0] if counts else None
        else:
            self._find_best()

    def set_best(self, price: float | None, size: float | None, count: int | None) -> None:
        """
        Make this checked level the best: better ones are gone, an equal one takes the size. None: no level is left.

        Of size 0 it holds nothing, and the next worse level is the best.
        """
        self._catch_up()
        if price is None or size is None:
            self._become(_EMPTY)
            return
        if price != self._best_price or not size:
            self._drop_until_worse_than(price)
            if not size:
                self._find_best()
                return
            self._best_price = price
        self._best_size, self._best_count = size, count

    def set_level(self, price: float, size: float, count: int | None = None) -> None:
        """
        Set one level's absolute size and number of orders; 0 removes it, and removing what is not there is normal.

        Raises BookError for a size or price that no level has.
        """
        self._catch_up()
        if not (0.0 <= size < inf) or not (0.0 < price < inf):
            raise BookError(
                f"a level of price {price} and size {size}: expected a positive price and a size of 0 or more"
            )
        self._take_over()
        self._to_levels_by_price()
        self._top = None
        if size:
            if price not in self._sizes:
                insort(self._keys, price * self._sign)
            self._sizes[price] = size
            self._note_count(price, count)
        elif price in self._sizes:
            del self._sizes[price]
            self._counts.pop(price, None)
            del self._keys[bisect_left(self._keys, price * self._sign)]

    def set_levels(self, columns: KeptColumns, *, checked: bool = False) -> None:
        """
        The same for many levels, in their order. Raises BookError, having changed nothing, for a bad one.

        `checked` says that prices are known to be positive and finite, and sizes not negative and finite.
        """
        self._catch_up()
        prices, sizes, counts = columns
        if not checked and prices:
            check_changes(columns)
        if self._source is not None:
            self._take_over()
        self._to_levels_by_price()
        self._top = None
        if counts or self._counts:
            if self._heap is not None:
                self._sort()
        elif self._heap is not None or self._unread >= _UNREAD:
            self._add_to_heap(prices, sizes)
            return
        self._unread += 1
        by_price, keys, sign = self._sizes, self._keys, self._sign
        for price, size in zip(prices, sizes, strict=True):
            if size:
                if price not in by_price:
                    insort(keys, price * sign)
                by_price[price] = size
            elif price in by_price:
                del by_price[price]
                del keys[bisect_left(keys, price * sign)]
        if counts or self._counts:
            for price, size, count in zip(prices, sizes, counts or repeat(None), strict=False):
                self._note_count(price, count if size else None)

    def _note_count(self, price: float, count: int | None) -> None:
        """Of a side that is by_price by price: the number of orders of a level that was just set, or removed."""
        if count is None:
            self._counts.pop(price, None)
        else:
            self._counts[price] = count

    def _add_to_heap(self, prices: tuple[float, ...], sizes: tuple[float, ...]) -> None:
        """Set these levels, of which nobody counts the orders."""
        sign, by_price, heap = -self._sign, self._sizes, self._heap
        if heap is None:
            heap = self._heap = [-key for key in reversed(self._keys)]
            self._keys = []
            self._heap_max = max(_HEAP_MIN, 2 * len(heap))
        count = len(by_price)
        by_price.update(zip(prices, sizes, strict=True))
        # A dict keeps its order, so the last ones are those that were not there.
        for price in islice(reversed(by_price), len(by_price) - count):
            heappush(heap, price * sign)
        if len(by_price) > self._heap_max:
            by_price = self._sizes = {price: size for price, size in by_price.items() if size}
            heap[:] = [price * sign for price in by_price]
            heapify(heap)
            self._heap_max = max(_HEAP_MIN, 2 * len(heap))

    def _sort(self) -> None:
        """Of a heap, make sorted keys."""
        sign = self._sign
        self._sizes = {price: size for price, size in self._sizes.items() if size}
        self._keys = sorted(price * sign for price in self._sizes)
        self._heap = None

    def _forget_levels(self) -> None:
        self._heap = None
        self._top = None
        self._keys = []
        self._sizes = {}
        self._counts = {}

    def _to_levels_by_price(self) -> None:
        """Of columns, make levels by price: at first as if nobody looked deep into them."""
        if self._columns is None:
            return
        prices, sizes, counts = self.kept_columns()
        sign = self._sign
        self._keys = [price * sign for price in reversed(prices)]
        self._sizes = dict(zip(prices, sizes, strict=True))
        self._counts = {price: count for price, count in zip(prices, counts, strict=False) if count is not None}
        self._columns = None
        self._unread = _UNREAD

    def _become(self, columns: KeptColumns) -> None:
        self._columns = columns
        self._source = None
        self._start = 0
        self._best_price = None
        if self._over:
            self._over = []
        if self._sizes:
            self._forget_levels()

    def _find_best(self) -> None:
        """The best of the levels over the columns is the best one."""
        if self._over:
            self._best_price, self._best_size, self._best_count = self._over.pop()

    def _levels_over(self) -> list[_Level]:
        """Those over the columns, best first."""
        if self._best_price is None:
            return []
        return [(self._best_price, self._best_size, self._best_count), *reversed(self._over)]

    def _drop_until_worse_than(self, price: float) -> None:
        """Only worse levels than that price stay, and which is the best has to be said then."""
        columns = self._columns
        if columns is None:
            columns = self.kept_columns()
            self._become(columns)
        over, sign, best = self._over, self._sign, self._best_price
        key = price * sign
        if best is not None:
            self._best_price = None
            if best * sign < key:
                over.append((best, self._best_size, self._best_count))
                return
            while over:
                if over[-1][0] * sign < key:
                    return  # and so are all in the columns
                over.pop()
        prices, start = columns[0], self._start
        end = len(prices)
        while start < end and prices[start] * sign >= key:
            start += 1
        self._start = start

    def _joined(self, columns: KeptColumns) -> KeptColumns:
        """The columns, from the start, with the levels over them."""
        start = self._start
        prices, sizes, counts = columns[0][start:], columns[1][start:], columns[2][start:]
        over = self._levels_over()
        if over:
            over_prices, over_sizes, over_counts = zip(*over, strict=True)
            if counts or over_counts.count(None) < len(over_counts):
                counts = over_counts + (counts or (None,) * len(prices))
            prices, sizes = over_prices + prices, over_sizes + sizes
        return prices, sizes, counts if counts.count(None) < len(counts) else ()
