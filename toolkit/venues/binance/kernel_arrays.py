"""The arrays that a run of frames works on, and the numbers that feeds and instruments have in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from toolkit.columnar import FrameBatch
from toolkit.kernels.growing import BatchViews, appended, longer
from toolkit.kernels.hashing import STATE_BYTES
from toolkit.kernels.levels import make_store, widen_store
from toolkit.kernels.name_table import entered, make_table
from toolkit.kernels.packing import Pieces, make_pieces
from toolkit.messages import FORM_FULL, BestQuote, BookDiff, Side, Trade
from toolkit.venues.binance import kernel_numbers as numbers
from toolkit.venues.binance.depth import FORM_UNJOINED
from toolkit.venues.binance.kernel_frames import DIFF, FIELDS, QUOTE
from toolkit.venues.binance.kernel_run import FIXED_BYTES, UNITS_END
from toolkit.venues.binance.kernel_state import Columns, Feeds, Instruments, Messages, Run, Scratch

if TYPE_CHECKING:
    from toolkit.venues.binance.feeds import Feed

__all__ = ["Arrays", "Table", "book_scale"]

_DECIMALS_MAX: Final = 12
_FINE_DECIMALS: Final = 8
#: Pages of one side, slots of all books, and bytes of a frame that is hashed, beyond which a book is not kept here:
#: half a GiB in all. A book of a hundred thousand levels has room.
_PAGES_MAX: Final = 1 << 18
_SLOTS_MAX: Final = 1 << 19
_HASHED_MAX: Final = 1 << 26
#: Diffs of connections of higher numbers are left to the protocol.
_CONNECTIONS_MAX: Final = 4096
_pack = msgspec.msgpack.Encoder().encode


def book_scale(sides: Sequence[Sequence[float]], *, coarse: bool) -> tuple[int, int] | None:
    """
    Decimals and step of the prices of a book: each is a whole number of steps of `step` units of the last decimal.

    The step is the largest one (`coarse`), or the smallest of eight decimals where that failed before. None where the
    prices have more decimals than can be told.
    """
    prices = np.concatenate([np.asarray(side, np.float64) for side in sides])
    for decimals in range(0 if coarse else _FINE_DECIMALS, _DECIMALS_MAX + 1):
        units = np.rint(prices * 10.0**decimals)
        if len(units) and units.max() >= UNITS_END:
            return None
        if (units / 10.0**decimals == prices).all():
            step = int(np.gcd.reduce(units.astype(np.int64))) if coarse and len(units) else 1
            return decimals, max(step, 1)
    return None


def _key(name: str) -> bytes:
    return _pack(name)


def _pieces() -> Pieces:
    """What all messages of a kind share, by the numbers that the kernel has for it."""
    none, no_levels = _pack(None), _pack(())
    first = _key("sub_seq") + _pack(0)
    side = first + _key("aggressor_side")
    parts = {
        numbers.BEFORE_TS_RECV: _key("ts_recv"),
        numbers.BEFORE_CAPTURE_SEQ: _key("capture_seq"),
        numbers.BEFORE_BID_PRICES: _form_of_diffs(FORM_FULL, fused=True),
        numbers.BEFORE_BID_SIZES: _key("bid_sizes"),
        numbers.BEFORE_ASK_PRICES: _key("bid_counts") + no_levels + _key("ask_prices"),
        numbers.BEFORE_ASK_SIZES: _key("ask_sizes"),
        numbers.BEFORE_FIRST_UPDATE_ID: _key("ask_counts") + no_levels + _key("first_update_id"),
        numbers.BEFORE_LAST_UPDATE_ID: _key("last_update_id"),
        numbers.BEFORE_PREV_UPDATE_ID: _key("prev_update_id"),
        numbers.BEFORE_BID_PRICE: first + _key("fused") + _pack(False) + _key("bid_price"),
        numbers.BEFORE_BID_SIZE: _key("bid_size"),
        numbers.BEFORE_ASK_PRICE: _key("bid_count") + none + _key("ask_price"),
        numbers.BEFORE_ASK_SIZE: _key("ask_size"),
        numbers.BEFORE_UPDATE_ID: _key("ask_count") + none + _key("update_id"),
        numbers.BEFORE_PRICE_OF_BUY: side + _pack(Side.BUY) + _key("price"),
        numbers.BEFORE_PRICE_OF_SELL: side + _pack(Side.SELL) + _key("price"),
        numbers.BEFORE_SIZE: _key("size"),
        numbers.BEFORE_TRADE_ID: _key("trade_id"),
        numbers.IS_DUPLICATE: _key("is_duplicate") + _pack(True),
        numbers.BEFORE_BID_PRICES_WAITING: _form_of_diffs(FORM_UNJOINED, fused=False),
    }
    return make_pieces(parts)


def _form_of_diffs(form: str, *, fused: bool) -> bytes:
    words = [_pack(0), _key("form"), _pack(form), _key("fused"), _pack(fused), _key("depth_cap"), _pack(None)]
    return _key("sub_seq") + b"".join(words) + _key("bid_prices")


def _head(kind: int, venue: str, symbol: str, pair: str, *, is_spot: bool) -> bytes:
    """The canonical bytes of a message up to the key of its `ts_event`, told by encoding one."""
    key = (venue, symbol, pair, 0, 0, 0, 0)
    sample: BookDiff | BestQuote | Trade
    if kind == DIFF:
        sample = BookDiff(*key, FORM_FULL, True, None, (), (), (), (), (), (), 0, 0, None if is_spot else 0)
    elif kind == QUOTE:
        sample = BestQuote(*key, False, 1.0, 1.0, None, 1.0, 1.0, None, 0)
    else:
        sample = Trade(*key, Side.BUY, 1.0, 1.0, "")
    content = _pack(sample)
    name = _key("ts_event")
    return content[
        : content.index(_key("trading_pair") + _pack(pair) + name) + len(_key("trading_pair") + _pack(pair) + name)
    ]


class Table:
    """Numbers of feeds and instruments, in the order they were first met."""

    def __init__(self) -> None:
        self.feeds: list[Feed] = []
        #: Symbol and pair by number.
        self.instruments: list[tuple[str, str]] = []
        self._feed_numbers: dict[bytes, int] = {}
        self._instrument_numbers: dict[tuple[str, str], int] = {}
        self._symbol_numbers: dict[str, list[int]] = {}

    def feed(self, name: bytes) -> int:
        """The number of a feed; that of the next one, if it is new."""
        return self._feed_numbers.setdefault(name, len(self._feed_numbers))

    def named(self) -> Iterator[tuple[bytes, Feed]]:
        """Wire names and feeds."""
        return zip(self._feed_numbers, self.feeds, strict=True)

    def numbers(self, symbol: str) -> list[int]:
        """The numbers of the instruments of that symbol."""
        return self._symbol_numbers.get(symbol, [])

    def instrument(self, symbol: str, pair: str) -> int:
        """The number of an instrument; that of the next one, if it is new."""
        number = self._instrument_numbers.setdefault((symbol, pair), len(self.instruments))
        if number == len(self.instruments):
            self.instruments.append((symbol, pair))
            self._symbol_numbers.setdefault(symbol, []).append(number)
        return number


def _messages(rows: int) -> Messages:
    return Messages(
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros((rows, 3), np.int64),
        np.zeros((rows, 2), np.int64),
        np.zeros(rows, np.int64),
        np.zeros((rows, 4), np.float64),
        np.zeros((rows, 2), np.int8),
        np.zeros(rows, np.int8),
    )


class Arrays:
    """
    Everything that the kernel is given. Memory is kept from run to run and grows as needed.

    Args:
        venue: Name of the venue, for the canonical bytes.
        is_spot: Whether diffs keep the rules of spot or of futures.
    """

    def __init__(self, venue: str, *, is_spot: bool) -> None:
        self._venue = venue
        self.is_spot = is_spot
        self._feed_count = 0
        self._instrument_count = 0
        self.feeds = Feeds(
            make_table(),
            np.zeros(0, np.uint8),
            np.zeros(1, np.int64),
            np.zeros(0, np.int8),
            np.zeros(0, np.int32),
            np.zeros(1, np.int64),
            np.zeros(0, np.uint8),
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
        )
        self.instruments = Instruments(
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.zeros(0, np.bool_),
            np.zeros(0, np.bool_),
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.ones(0, np.int64),
            np.zeros(0, np.bool_),
            np.zeros(0, np.int64),
            np.zeros((0, 6), np.int64),
            np.zeros(0, np.int64),
            np.zeros((0, 2), np.float64),
            np.zeros((0, 4), np.float64),
            np.zeros(0, np.int8),
            np.zeros((0, 4), np.int8),
        )
        self.store = make_store(2)
        self.columns = self._new_columns(0)
        self.diffs = self.quotes = self.trades = self.tops = _messages(0)
        self._pieces = _pieces()
        self._views = BatchViews()
        if len(self._pieces.data) > FIXED_BYTES // 2:
            raise AssertionError(f"the pieces take {len(self._pieces.data)} bytes of {FIXED_BYTES}")
        self.scratch = self._new_scratch(1 << 12, 1 << 16)
        self.counts = np.zeros(numbers.COUNTS_END, np.int64)
        self.needed = np.zeros(numbers.NEEDED_END, np.int64)
        self._imprecise = np.zeros(1, np.int64)

    # -- before a run -------------------------------------------------------------------------------------------

    def begin(self, frames: FrameBatch, begin: int) -> None:
        """Make room for what the frames of a batch can give."""
        count = len(frames) - begin
        if len(self.diffs.frame) < count:
            rows = max(count, 2 * len(self.diffs.frame))
            self.diffs, self.quotes, self.trades, self.tops = (_messages(rows) for _ in range(4))
        # A level takes ten bytes of text at least.
        levels = int(frames.offsets[len(frames)] - frames.offsets[begin]) // 10 + 1
        if len(self.columns.price) < levels:
            self.columns = self._new_columns(levels)

    @property
    def digest(self) -> bytes:
        """State of the digest chain."""
        return bytes(self.scratch.bytes[:STATE_BYTES])

    @digest.setter
    def digest(self, state: bytes) -> None:
        self.scratch.bytes[:STATE_BYTES] = np.frombuffer(state, np.uint8)

    def arguments(self, frames: FrameBatch, begin: int) -> tuple[Any, ...]:
        """Of `kernel_run.run`."""
        return (
            *self._views.of(frames),
            begin,
            len(frames),
            frames.first_seq,
            self.feeds,
            self.instruments,
            self.store,
            self.columns,
            self.diffs,
            self.quotes,
            self.trades,
            self.tops,
            self._pieces,
            self.scratch,
            Run(self.counts, self._imprecise, self.needed, self.is_spot),
        )

    def grow(self) -> bool:
        """Something was full: what the frame needs, and as much again; False if that is more than a book may take."""
        pages, free, levels, hashed, _ = self.needed.tolist()
        if hashed > _HASHED_MAX or not self._widen(pages, free):
            return False
        self._grow_scratch(levels, hashed)
        return True

    def make_room(self, side: int, pages: int) -> bool:
        """Room for so many pages on a side that is about to be written again; False if a book may not take so many."""
        return self._widen(pages, pages - int(self.store.pages[side]))

    def _widen(self, pages: int, free: int) -> bool:
        """So many pages on every side at least, and so many free slots."""
        store = self.store
        width, slots = store.page.shape[1], len(store.bits)
        missing = free - int(store.free[0])
        if pages > _PAGES_MAX or slots + missing > _SLOTS_MAX:
            return False
        if pages > width or missing > 0:
            wide = 2 * pages if pages > width else width
            more = max(slots, 2 * missing) if missing > 0 else 0
            self.store = widen_store(store, 0, min(wide, _PAGES_MAX), min(slots + more, _SLOTS_MAX))
        return True

    def add_instrument(self) -> None:
        """One more."""
        self._instrument_count += 1
        count = self._instrument_count
        self.instruments = Instruments(*(longer(array, count) for array in self.instruments))
        if self.store.page.shape[0] < 2 * count:
            self.store = widen_store(self.store, 4 * count, 0, 0)

    def set_connections(self, number: int, conn_ids: Sequence[int]) -> None:
        """The connections that an instrument's diffs have come on."""
        known = self.instruments.connections
        conn_ids = [conn_id for conn_id in conn_ids if 0 <= conn_id < _CONNECTIONS_MAX]
        width = max(conn_ids, default=-1) + 1
        if known.shape[1] < width:
            wide = np.zeros((known.shape[0], 2 * width), np.int8)
            wide[:, : known.shape[1]] = known
            self.instruments = self.instruments._replace(connections=wide)
        row = self.instruments.connections[number]
        row[:] = 0
        row[conn_ids] = 1

    def add_feed(self, name: bytes, kind: int, instrument: int, symbol: str, pair: str) -> None:
        """One more; its kind is set when it may be taken."""
        feeds = self.feeds
        number = self._feed_count
        self._feed_count += 1
        head = _head(kind, self._venue, symbol, pair, is_spot=self.is_spot)
        name_ends, names = appended(feeds.name_ends, feeds.names, number, name)
        head_ends, heads = appended(feeds.head_ends, feeds.heads, number, head)
        kinds, instruments, taken, last = (
            longer(array, number + 1) for array in (feeds.kind, feeds.instrument, feeds.taken, feeds.last)
        )
        kinds[number], instruments[number] = 0, instrument
        table = entered(feeds.table, names, name_ends, number)
        self.feeds = Feeds(table, names, name_ends, kinds, instruments, head_ends, heads, taken, last)

    # -- memory -------------------------------------------------------------------------------------------------

    @staticmethod
    def _new_columns(rows: int) -> Columns:
        return Columns(
            np.zeros(rows, np.float64),
            np.zeros(rows, np.float64),
            np.zeros(rows, np.int64),
            np.zeros(rows, np.int8),
        )

    @staticmethod
    def _new_scratch(levels: int, hashed: int) -> Scratch:
        words = np.zeros(hashed // 8, np.uint64)
        return Scratch(
            np.zeros(FIELDS, np.int64),
            np.zeros(FIELDS, np.float64),
            np.zeros(FIELDS, np.int8),
            words,
            words.view(np.uint8),
            np.zeros(8, np.uint64),
            np.zeros(levels, np.int64),
            np.zeros(levels, np.float64),
        )

    def _grow_scratch(self, levels: int, hashed: int) -> None:
        scratch = self.scratch
        width, size = len(scratch.keys), len(scratch.bytes)
        if levels > width or hashed > size:
            wide = 2 * levels if levels > width else width
            # Whole blocks of the hash.
            large = -(-2 * hashed // 128) * 128 if hashed > size else size
            self.scratch = self._new_scratch(wide, large)
            self.scratch.bytes[:STATE_BYTES] = scratch.bytes[:STATE_BYTES]
