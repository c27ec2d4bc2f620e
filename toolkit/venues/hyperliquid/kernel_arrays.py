"""The arrays that a run of frames works on, and the numbers that coins have in them."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
import numpy as np

from toolkit.columnar import FrameBatch
from toolkit.kernels.fusion import NO_TIME, FusedBooks, make_fused_books
from toolkit.kernels.growing import BatchViews, appended, longer
from toolkit.kernels.hashing import STATE_BYTES
from toolkit.kernels.name_table import entered, make_table
from toolkit.kernels.packing import Pieces, make_pieces
from toolkit.messages import BestQuote, BookSnapshot, Side, Trade
from toolkit.venues.hyperliquid import kernel_state as names
from toolkit.venues.hyperliquid.kernel_frames import Columns, Head, Place
from toolkit.venues.hyperliquid.kernel_run import SCRATCH_BYTES
from toolkit.venues.hyperliquid.kernel_state import (
    FEEDS,
    NEVER,
    SEEN_MAX,
    STAMPS,
    Coins,
    Messages,
    Number,
    Run,
    Scratch,
    Tapes,
    TopRows,
)

__all__ = ["CONNECTIONS_MAX", "DEPTH_CAPS", "FORMS", "Arrays"]

#: Forms of a coin's book by number, and `depth_cap` of those that are books.
FORMS: Final = ("full", "fast", "bbo")
DEPTH_CAPS: Final = (20, 5)
#: Frames of connections of higher numbers are left to the protocol.
CONNECTIONS_MAX: Final = 4096
#: A level and a trade take so many bytes of text at least.
_LEVEL_BYTES: Final = 25
_TRADE_BYTES: Final = 60
#: Names of coins that compiled code looks up: as they are on the wire, where JSON allows them. One that is a long decimal
#: would be counted among those.
_PLAIN_NAME: Final = re.compile(rb"(?!-?[0-9.]{16})[\x20-\x21\x23-\x5b\x5d-\x7e]{1,128}")
_pack = msgspec.msgpack.Encoder().encode


def _key(name: str) -> bytes:
    return _pack(name)


def _pieces() -> Pieces:
    """What all messages of a kind share, by the numbers that the kernel has for it."""
    first = _key("sub_seq") + _pack(0)
    book = [
        first
        + b"".join((_key("form"), _pack(form), _key("fused"), _pack(True), _key("depth_cap"), _pack(cap)))
        + _key("bid_prices")
        for form, cap in zip(FORMS, DEPTH_CAPS, strict=False)
    ]
    quote = [first + _key("fused") + _pack(fused) + _key("bid_price") for fused in (True, False)]
    trade = [_key("aggressor_side") + _pack(side) + _key("price") for side in (Side.BUY, Side.SELL)]
    return make_pieces(
        {
            names.BEFORE_TS_RECV: _key("ts_recv"),
            names.BEFORE_CAPTURE_SEQ: _key("capture_seq"),
            names.BEFORE_BID_PRICES_FULL: book[0],
            names.BEFORE_BID_PRICES_FAST: book[1],
            names.BEFORE_BID_SIZES: _key("bid_sizes"),
            names.BEFORE_BID_COUNTS: _key("bid_counts"),
            names.BEFORE_ASK_PRICES: _key("ask_prices"),
            names.BEFORE_ASK_SIZES: _key("ask_sizes"),
            names.BEFORE_ASK_COUNTS: _key("ask_counts"),
            names.BEFORE_BID_PRICE_FUSED: quote[0],
            names.BEFORE_BID_PRICE_APART: quote[1],
            names.BEFORE_BID_SIZE: _key("bid_size"),
            names.BEFORE_BID_COUNT: _key("bid_count"),
            names.BEFORE_ASK_PRICE: _key("ask_price"),
            names.BEFORE_ASK_SIZE: _key("ask_size"),
            names.BEFORE_ASK_COUNT: _key("ask_count"),
            names.BEFORE_SUB_SEQ: _key("sub_seq"),
            names.BEFORE_PRICE_OF_BUY: trade[0],
            names.BEFORE_PRICE_OF_SELL: trade[1],
            names.BEFORE_SIZE: _key("size"),
            names.BEFORE_TRADE_ID: _key("trade_id"),
        }
    )


def _heads(venue: str, symbol: str, pair: str) -> list[bytes]:
    """The canonical bytes of a book, a quote and a trade up to the key of `ts_event`, told by encoding one."""
    key = (venue, symbol, pair, 0, 0, 0, 0)
    samples = (
        BookSnapshot(*key, FORMS[0], True, DEPTH_CAPS[0], (), (), (), (), (), ()),
        BestQuote(*key, True, None, None, None, None, None, None),
        Trade(*key, Side.BUY, 1.0, 1.0, ""),
    )
    end = _key("trading_pair") + _pack(pair) + _key("ts_event")
    return [content[: content.index(end) + len(end)] for content in map(_pack, samples)]


def _messages(rows: int) -> Messages:
    return Messages(
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int8),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int32),
    )


def _top_rows(rows: int) -> TopRows:
    return TopRows(
        np.zeros(rows, np.int32),
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros((rows, 4), np.float64),
        np.zeros(rows, np.int8),
        np.zeros(rows, np.int8),
    )


class Arrays:
    """
    Everything that the kernel is given. Memory is kept from run to run and grows as needed.

    Args:
        venue: Name of the venue, for the canonical bytes.

    Attributes:
        coins: Name and pair of each coin, by number.
    """

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self.coins: list[tuple[str, str]] = []
        self._numbers: dict[str, int] = {}
        self.state = Coins(
            make_table(),
            np.zeros(0, np.uint8),
            np.zeros(1, np.int64),
            np.zeros(1, np.int64),
            np.zeros(0, np.uint8),
            np.zeros(0, np.int8),
            np.zeros(0, np.int8),
            np.zeros((0, FEEDS), np.int8),
            np.zeros((0, FEEDS), np.int64),
            np.zeros((0, FEEDS), np.int64),
            np.zeros((0, FEEDS), np.int64),
            np.zeros((0, FEEDS), np.int64),
            np.zeros(0, np.int8),
            np.zeros(0, np.int64),
            np.zeros((0, 4), np.float64),
            np.zeros(0, np.int8),
            np.zeros(0, np.int8),
            np.zeros(0, np.int64),
        )
        width = SEEN_MAX + 2
        self.tapes = Tapes(
            np.zeros((0, width), np.int64), np.zeros((0, width), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
        )
        self.books = make_fused_books(0)
        self._numbers_of_trades = np.zeros((0, Place.END), np.int64)
        self._head = np.zeros(Head.END, np.int64)
        self.levels = self.quoted = self.traded = self._columns(0)
        self.snapshots = self.quotes = self.trades = _messages(0)
        self.tops = _top_rows(0)
        self._pieces = _pieces()
        self._views = BatchViews()
        words = np.zeros(SCRATCH_BYTES // 8, np.uint64)
        self._scratch = Scratch(words, words.view(np.uint8), np.zeros(8, np.uint64))
        self.counts = np.zeros(Number.END, np.int64)
        self.stamps = np.zeros((STAMPS, 3), np.int64)
        self.roles = np.zeros(CONNECTIONS_MAX, np.int8)

    # -- before a run -------------------------------------------------------------------------------------------

    def begin(self, frames: FrameBatch, begin: int) -> None:
        """Make room for what the frames of a batch can give."""
        count = len(frames) - begin
        text = int(frames.offsets[len(frames)] - frames.offsets[begin])
        levels, trades = text // _LEVEL_BYTES + 2, text // _TRADE_BYTES + 1
        if len(self.quotes.frame) < count:
            rows = max(count, 2 * len(self.quotes.frame))
            self.snapshots, self.quotes, self.tops = _messages(rows), _messages(rows), _top_rows(rows)
            self.quoted = self._columns(2 * rows)
        if len(self.levels.price) < levels:
            self.levels = self._columns(levels)
        if len(self.trades.frame) < trades:
            self._numbers_of_trades = np.zeros((trades, Place.END), np.int64)
            self.trades = _messages(trades)
            self.traded = self._columns(trades)
            self.levels, self.quoted = (
                each._replace(numbers=self._numbers_of_trades) for each in (self.levels, self.quoted)
            )

    def _columns(self, rows: int) -> Columns:
        return Columns(
            np.zeros(rows, np.float64),
            np.zeros(rows, np.float64),
            np.zeros(rows, np.int32),
            self._numbers_of_trades,
            self._head,
        )

    @property
    def digest(self) -> bytes:
        """State of the digest chain."""
        return bytes(self._scratch.bytes[:STATE_BYTES])

    @digest.setter
    def digest(self, state: bytes) -> None:
        self._scratch.bytes[:STATE_BYTES] = np.frombuffer(state, np.uint8)

    def arguments(self, frames: FrameBatch, begin: int) -> tuple[Any, ...]:
        """Of `kernel_run.run`."""
        return (
            *self._views.of(frames),
            begin,
            len(frames),
            frames.first_seq,
            self.state,
            self.tapes,
            self.books,
            self.levels,
            self.quoted,
            self.traded,
            self.snapshots,
            self.quotes,
            self.trades,
            self.tops,
            self._pieces,
            self._scratch,
            Run(self.counts, self.stamps, self.roles),
        )

    # -- coins --------------------------------------------------------------------------------------------------

    def number(self, coin: str) -> int:
        """The number of a coin; -1 if it has none."""
        return self._numbers.get(coin, -1)

    def add(self, coin: str, pair: str) -> int:
        """Give a coin a number; -1 where its name is none that compiled code can look up."""
        name = coin.encode()
        if not _PLAIN_NAME.fullmatch(name):
            return -1
        number = len(self.coins)
        self.coins.append((coin, pair))
        self._numbers[coin] = number
        count, old = number + 1, self.state
        name_ends, all_names = appended(old.name_ends, old.names, number, name)
        head_ends, heads = old.head_ends, old.heads
        for place, head in enumerate(_heads(self._venue, coin, pair)):
            head_ends, heads = appended(head_ends, heads, 3 * number + place, head)
        others = (longer(array, count) for array in old[5:])
        table = entered(old.table, all_names, name_ends, number)
        self.state = Coins(table, all_names, name_ends, head_ends, heads, *others)
        self.state.since[number] = NEVER
        self.tapes = Tapes(*(longer(array, count) for array in self.tapes))
        books = self.books
        if len(books.latest) < count:
            sides = (longer(array, 2 * count) for array in books[:4])
            self.books = FusedBooks(*sides, *(longer(array, count) for array in books[4:]))
        self.books.form_times[number] = NO_TIME
        self.books.latest[number] = -1
        return number
