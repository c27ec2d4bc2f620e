"""Fused books of a stream of columns: kept by compiled code, as `OrderBookTracker` keeps them from messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import NO_COUNT, NO_TIME, ColumnBatch, Kind, Names
from replay.fast import kernel_books
from replay.fast.book_layout import (
    BEYOND,
    FORMS_MAX,
    Books,
    Seen,
    forget,
    make_books,
    widen_pool,
    widen_recent,
    widen_store_of,
)
from replay.fast.book_units import BookUnit, bits_of, floats_of
from toolkit.books.checked_levels import counted
from toolkit.books.orderbook import Columns, KeptColumns, OrderBook
from toolkit.errors import ConfigError
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import best, clear_side, has_room, set_level, side_columns, slot_of, widen_store
from toolkit.messages import BETWEEN_RECORDINGS, FORM_FULL, FORM_QUOTE, FORM_REST, EventKind, StreamEvent

__all__ = ["FusedBooks"]

_clear_side: Final = plain(clear_side)
_has_room: Final = plain(has_room)
_set_level: Final = plain(set_level)
_slot_of: Final = plain(slot_of)
_side_columns: Final = plain(side_columns)


class FusedBooks:
    """
    The fused books of the pairs that columns name.

    Args:
        names: Names of the columns.
        ticks: Steps of prices to begin with, by venue and pair, where they are known.
        compiled: Whether to run machine code or plain Python.

    Attributes:
        books: The arrays; replaced when they grow.
    """

    def __init__(
        self, names: Names, ticks: Mapping[tuple[str, str], Decimal] | None = None, *, compiled: bool = True
    ) -> None:
        self._names = names
        self._ticks = dict(ticks or {})
        self.books: Books = make_books(0)
        self._units: list[BookUnit] = []
        apply, room = kernel_books.apply_rows, kernel_books.room_for
        self._apply: Callable[..., Any] = apply if compiled else plain(apply)
        self._room: Callable[..., Any] = room
        #: Of the batch at hand its levels, as the books count them.
        self._steps: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._sizes: npt.NDArray[np.int64] = np.empty(0, np.int64)

    # -- taking in -------------------------------------------------------------------------------------------------

    def prepare(self, batch: ColumnBatch) -> None:
        """Count the levels of a batch; to be called before `take` of its messages."""
        self._know_pairs()
        self._sizes = bits_of(batch.sizes)
        self._steps = np.empty(len(batch.prices), np.int64)
        rows = batch.rows[batch.rows["kind"] <= Kind.QUOTE]
        pairs = np.unique(rows["pair"]).tolist()
        if len(pairs) == 1 and len(rows) == len(batch.rows) and self._units[pairs[0]].count(batch.prices, self._steps):
            return
        where = _level_pairs(rows, len(batch.prices))
        for pair in pairs:
            places = np.flatnonzero(where == pair)
            prices = batch.prices[places]
            steps = np.empty(len(prices), np.int64)
            if not self._units[pair].count(prices, steps):
                self._refine(pair, prices)
                self._units[pair].count(prices, steps)
            self._steps[places] = steps

    def take(self, batch: ColumnBatch, start: int, stop: int) -> None:
        """Take messages of a batch in, from place `start` on and before `stop`."""
        quote, rest = (self._names.form(form) for form in (FORM_QUOTE, FORM_REST))
        self._know_pairs()
        while start < stop:
            with np.errstate(all="ignore"):
                start, want = self._apply(
                    self.books, batch.rows, start, stop, quote, rest, self._steps, self._sizes, batch.counts
                )
            if want == kernel_books.WANT_PYTHON:
                self._take_event(batch, int(start))
                start += 1
            elif want:
                self._grow(int(want))

    def take_all(self, batch: ColumnBatch) -> None:
        """Take all messages of a batch in."""
        self.prepare(batch)
        self.take(batch, 0, batch.messages)

    def _grow(self, want: int) -> None:
        if want & kernel_books.WANT_LEVELS:
            self.books = widen_store_of(self.books)
        if want & kernel_books.WANT_RECENT:
            self.books = widen_recent(self.books)
        if want & kernel_books.WANT_POOL:
            self.books = widen_pool(self.books)

    def _know_pairs(self) -> None:
        """Have books of all pairs that were named so far."""
        if len(self._names.forms) > FORMS_MAX:
            raise ConfigError(f"{len(self._names.forms)} forms of books in one tape, expected {FORMS_MAX} at most")
        count = len(self._units)
        if count < len(self._names.pairs):
            self._units += [BookUnit(self._ticks.get(pair)) for pair in self._names.pairs[count:]]
            self.books = _with_pairs(self.books, len(self._units))

    def _take_event(self, batch: ColumnBatch, place: int) -> None:
        """As `OrderBookTracker` takes the events of streams."""
        event = batch.message(place)
        pair = int(batch.rows["pair"][place])
        if not isinstance(event, StreamEvent) or pair < 0:
            return
        if event.kind is EventKind.GAP and event.cause == BETWEEN_RECORDINGS:
            self._forget(pair)
        elif event.kind is EventKind.STALE and event.symbol:
            self._lose(pair, self._names.form(event.stream), event.stream == FORM_FULL)

    def _lose(self, pair: int, form: int, is_full: bool) -> None:
        seen = int(self.books.seen[pair, form])
        is_part = bool(seen & Seen.FUSED) if seen & Seen.WHOLE else bool(seen & Seen.DIFFS) or is_full
        if is_part:
            row = self.books.pairs[pair : pair + 1]
            row["stale_forms"] |= np.uint64(1) << np.uint64(form)
            row["is_stale"] = 1

    def _forget(self, pair: int) -> None:
        for side in (2 * pair, 2 * pair + 1):
            _clear_side(self.books.store, side)
        self.books.form_times[pair] = NO_TIME
        self.books.seen[pair] = 0
        forget(self.books.pairs[pair : pair + 1])

    # -- units -----------------------------------------------------------------------------------------------------

    def _refine(self, pair: int, prices: npt.NDArray[np.float64]) -> None:
        """Count a pair in steps that fit these prices as well."""
        unit = self._units[pair]
        before = BookUnit(unit.step)
        before.step = unit.step
        factor = unit.refine(prices)

        def anew(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
            return steps * factor if factor else bits_of(before.prices(steps))

        books = self.books
        for side in (2 * pair, 2 * pair + 1):
            keys, sizes, counts = self._levels(side)
            steps = anew(np.abs(keys))
            _clear_side(books.store, side)
            while not _has_room(books.store, side, len(keys)):
                books = self.books = widen_store_of(books)
            for key, size, count in zip(steps if side & 1 == 0 else -steps, sizes, counts, strict=True):
                _set_level(books.store, side, key, size)
                books.counts[_slot_of(books.store, side, key), key & 63] = count
        row = books.pairs[pair]
        kept = books.pool_steps[pair, : int(row["pool"])]
        kept[kept >= 0] = anew(kept[kept >= 0])
        recent = books.recent[pair, : int(row["recent"])]
        for name in ("low", "high"):
            bounds = recent[name]
            known = np.abs(bounds) < BEYOND
            bounds[known] = anew(bounds[known])

    # -- reading ---------------------------------------------------------------------------------------------------

    def _levels(self, side: int) -> tuple[Any, Any, Any]:
        count = int(self.books.store.levels[side])
        keys, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
        _side_columns(self.books.store, side, keys, sizes)
        counts = [self.books.counts[_slot_of(self.books.store, side, key), key & 63] for key in keys]
        return keys, sizes, np.array(counts, np.int32)

    def columns(self, pair: int, side: int) -> Columns:
        """Prices, sizes and counts of a side (0: bids, 1: asks) of a pair, best first, as `BookSide.columns` gives them."""
        return counted(self.kept_columns(pair, side))

    def kept_columns(self, pair: int, side: int) -> KeptColumns:
        """The same with the counts that only some levels have, as `BookSide.kept_columns` gives them."""
        keys, sizes, counts = self._levels(2 * pair + side)
        prices = self._units[pair].prices(np.abs(keys))
        numbers: tuple[int | None, ...] = ()
        if (counts != NO_COUNT).any():
            numbers = tuple(None if count == NO_COUNT else count for count in counts.tolist())
        return tuple(prices.tolist()), tuple(floats_of(sizes).tolist()), numbers

    def top(self, pair: int, side: int) -> tuple[float, float] | None:
        """Price and size of the best level of a side; None where it is empty."""
        store = self.books.store
        if not store.levels[2 * pair + side]:
            return None
        key, size = best(store, 2 * pair + side)
        return self._units[pair].price(abs(int(key))), float(floats_of(size))

    def level_count(self, pair: int, side: int) -> int:
        """How many levels a side has."""
        return int(self.books.store.levels[2 * pair + side])

    def is_stale(self, pair: int) -> bool:
        """Whether the book of a pair cannot be believed."""
        return bool(self.books.pairs[pair]["is_stale"])

    def late_count(self, pair: int) -> int:
        """Messages that came too late to be put in their place."""
        return int(self.books.pairs[pair]["late"])

    def step(self, pair: int) -> Decimal | None:
        """In which steps prices of a pair are counted; None: by their bits."""
        return self._units[pair].step

    def order_book(self, pair: int) -> OrderBook:
        """The book of a pair as an `OrderBook` of its own."""
        venue, trading_pair = self._names.pairs[pair]
        book = OrderBook(trading_pair, venue)
        row = self.books.pairs[pair]
        book.bids.replace(self.kept_columns(pair, 0), checked=True)
        book.asks.replace(self.kept_columns(pair, 1), checked=True)
        book.ts_event = None if row["ts_event"] == NO_TIME else int(row["ts_event"])
        book.ts_recv = int(row["ts_recv"])
        if not row["is_stale"]:
            book.is_stale, book.stale_cause = False, ""
        return book


def _level_pairs(rows: npt.NDArray[np.void], levels: int) -> npt.NDArray[np.int64]:
    """Of each level whose pair it is of; -1 for those of no book."""
    counts = rows["bids"].astype(np.int64) + rows["asks"]
    where = np.full(levels, -1, np.int64)
    ends = np.cumsum(counts)
    offsets = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    where[np.repeat(rows["first"], counts) + offsets] = np.repeat(rows["pair"], counts)
    return where


def _with_pairs(books: Books, pairs: int) -> Books:
    """The same with so many pairs."""
    before = len(books.pairs)
    wide = make_books(
        pairs,
        pages=1,
        slots=1,
        recent=books.recent.shape[1],
        pool=books.pool_steps.shape[1],
    )._replace(store=widen_store(books.store, 2 * pairs, 0, 0), counts=books.counts)
    for name in ("pairs", "form_times", "seen", "recent", "pool_steps", "pool_sizes", "pool_counts"):
        getattr(wide, name)[:before] = getattr(books, name)
    return wide
