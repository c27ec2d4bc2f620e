"""
Runs of frames by compiled code, between frames that the protocol takes.

The state stays where the protocol has it: chains, streams, reported trades, books. Before a run, what the kernel needs
is copied into its arrays; after it, what it changed is written back. Only the levels of a book stay in the kernel until
somebody is about to look at them, because copying a thousand levels takes as long as applying them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from toolkit.books.orderbook import BookSide, OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.columnar import Collected, FrameBatch, Taken, Tops, no_frames
from toolkit.frames import DAMAGED, REST_IN, REST_OUT, WS_IN, WS_OUT, Frame
from toolkit.kernels.levels import clear_side, set_levels, side_columns
from toolkit.kernels.run_taker import RunTaker, top_from_values, values_of_top
from toolkit.kernels.text import name_hash
from toolkit.keys import PairKey
from toolkit.messages import FORM_FULL, BestQuote
from toolkit.venues.binance import kernel_numbers as numbers
from toolkit.venues.binance import kernel_run
from toolkit.venues.binance.depth import FORM_UNJOINED
from toolkit.venues.binance.feeds import IGNORED
from toolkit.venues.binance.kernel_arrays import Arrays, Table, book_scale
from toolkit.venues.binance.kernel_frames import AGG_TRADE, DIFF, QUOTE, TRADE
from toolkit.venues.binance.run_columns import (
    WaitingDiffs,
    changed_tops,
    diff_columns,
    quote_columns,
    trade_columns,
)
from toolkit.venues.binance.trade_tape import NO_CEILING, ToldTrades

if TYPE_CHECKING:
    from toolkit.venues.binance.feeds import Feed
    from toolkit.venues.binance.market import BinanceMarketProtocol

__all__ = ["BinanceTaker"]

_PREFIX: Final = b'{"stream":"'
_KINDS: Final = {"depth": DIFF, "bookTicker": QUOTE, "trade": TRADE, "aggTrade": AGG_TRADE}
#: Streams whose frames change no book, whatever is in them.
_BOOKLESS: Final = frozenset({"markPrice", "forceOrder"})
#: Those that change none unless their price is beyond what a snapshot covers.
_PRICED: Final = frozenset({"bookTicker", "trade", "aggTrade"})
#: Kinds of frames by which the protocol changes nothing that is known here.
_WITHOUT_STATE: Final = frozenset({DAMAGED, WS_OUT})
#: Requests and answers, by the first word of their tag, that no book depends on.
_BOOKLESS_REQUESTS: Final = frozenset({"fundingRate", "openInterest", "premiumIndex", "snapshot"})
#: Names of streams that compiled code looks up: as they are on the wire, where JSON allows them, and of a sensible length.
_PLAIN_NAME: Final = re.compile(rb'[^\x00-\x1f"\\]{1,256}')


class _Book:
    """The book of one instrument, as far as it is in the kernel."""

    __slots__ = ("book", "held_rows", "is_ahead", "is_loaded", "is_too_large", "is_waiting", "rescales", "waiting")

    def __init__(self) -> None:
        self.book: OrderBook | None = None
        self.is_loaded = False
        #: Whether the kernel knows more than the book.
        self.is_ahead = False
        self.rescales = 0
        #: Whether it is that of diffs without a snapshot; then those that the chain is yet to be told of.
        self.is_waiting = False
        self.waiting = WaitingDiffs()
        #: Of the diffs in the arrays those before this one are in `waiting`.
        self.held_rows = 0
        #: It outgrew what the arrays may take: the protocol keeps it from then on.
        self.is_too_large = False


class BinanceTaker(RunTaker[bytes]):
    """
    See `ColumnarTaker`. What the protocol may have changed are feeds, by wire name; anything includes books.

    Args:
        protocol: Protocol on whose state it works.
        tracker: The books that it keeps.
        tops: Values of the last row of `top`.
    """

    def __init__(self, protocol: BinanceMarketProtocol, tracker: OrderBookTracker, tops: Tops) -> None:
        super().__init__()
        self._protocol = protocol
        self._tracker = tracker
        self._tops = tops
        self._venue = protocol.venue
        self._is_spot = protocol.product.is_spot
        self._arrays = Arrays(protocol.venue, is_spot=self._is_spot)
        self._feeds = protocol.known_feeds
        self._books: list[_Book] = []
        #: Wire names of the streams of an instrument, by its number.
        self._names: list[set[bytes]] = []
        self._table = Table()

    # -- what `ColumnarTaker` asks ------------------------------------------------------------------------------

    def _make_room(self, frames: FrameBatch, begin: int) -> None:
        self._arrays.begin(frames, begin)

    def _run(self, frames: FrameBatch, begin: int, digest: bytes) -> Taken:
        arrays = self._arrays
        arrays.digest = digest
        before = arrays.counts.copy()
        end = begin
        while True:
            end, reason = kernel_run.run(*arrays.arguments(frames, end))
            if reason != kernel_run.FULL:
                break
            if not arrays.grow():
                self._books[int(arrays.needed[numbers.INSTRUMENT])].is_too_large = True
                break
        if reason == kernel_run.RESCALE:
            # A price between the steps of the book: the protocol takes that frame, and the steps are reported again.
            self._books[int(arrays.needed[numbers.INSTRUMENT])].rescales += 1
        more = (arrays.counts - before).tolist()
        return Taken(
            end=end,
            digest=arrays.digest,
            message_count=more[numbers.DIFFS] + more[numbers.QUOTES] + more[numbers.TRADES],
            duplicate_count=more[numbers.DUPLICATES],
            imprecise_count=more[numbers.IMPRECISE],
        )

    def compile(self) -> None:
        arrays = self._arrays
        kernel_run.run(*arrays.arguments(no_frames(), 0))
        name_hash(arrays.feeds.names, 0, 0)
        keys, sizes = np.empty(0, np.int64), np.empty(0, np.float64)
        clear_side(arrays.store, 0)
        set_levels(arrays.store, 0, keys, sizes)
        side_columns(arrays.store, 0, keys, sizes)

    def _add_columns(self, collected: Collected) -> None:
        arrays, named = self._arrays, self._table.instruments
        collected.messages.extend(diff_columns(arrays, named))
        collected.messages.extend(quote_columns(arrays, named))
        collected.messages.extend(trade_columns(arrays, named))
        collected.tops.extend(changed_tops(arrays, named))

    def _empty(self) -> None:
        self._write_back()
        self._arrays.counts[:] = 0
        for held in self._books:
            held.held_rows = 0

    def before(self, frame: Frame) -> None:
        touched = self._touched
        concern = _NONE if touched is None else self._concern(frame)
        if touched is None or concern is _NONE:
            return
        if concern is _ANY:
            self._leave_all()
            return
        if not concern.symbol:
            self._write_back()
        for number in self._table.numbers(concern.symbol):
            self._write_back(number)
            if concern.has_book:
                # The books of other symbols stay loaded, however many there are.
                self._settle_book(number)
                self._books[number].is_loaded = False
                touched |= self._names[number]
        touched |= concern.names

    def _concern(self, frame: Frame) -> _Concern:
        """What the protocol may change by a frame."""
        if frame.kind in _WITHOUT_STATE:
            return _NONE
        if frame.kind in (REST_IN, REST_OUT):
            what, _, symbol = _tag(frame).partition(":")
            if what in _BOOKLESS_REQUESTS:
                return _NONE
            return _Concern(symbol, set(), has_book=True) if what == "depth" and symbol else _ANY
        name = b""
        if frame.kind == WS_IN and frame.payload.startswith(_PREFIX):
            name = frame.payload[11 : frame.payload.find(b'"', 11)]
        feed = self._feeds.get(name)
        if not name or (feed is None and not _is_one_name(frame.payload)):
            return _ANY
        if _is_passed_over(name):
            return _NONE
        symbol = feed.symbol if feed is not None else _symbol(name)
        if self._is_bookless(name, symbol):
            return _Concern(symbol, {name}, has_book=False)
        if not symbol or self._protocol.depth_books.is_unnamed_of_another(symbol, frame.conn_id):
            return _ANY
        return _Concern(symbol, {name}, has_book=True)

    def _is_bookless(self, name: bytes, symbol: str) -> bool:
        """Whether a frame of that stream changes no book, whatever is in it; `symbol` is empty for one of all of them."""
        words = _kind(name)
        if words in _PRICED:
            return not self._protocol.depth_books.has_cover(symbol)
        return words in _BOOKLESS

    def settle(self) -> None:
        self._write_back()
        # A book that is read is not one that was changed: what is loaded stays so until `before` says otherwise.
        for number in range(len(self._books)):
            self._settle_book(number)

    def _settle_book(self, number: int) -> None:
        held = self._books[number]
        if held.is_ahead and held.book is not None:
            self._unload(held.book.bids, number, 0)
            self._unload(held.book.asks, number, 1)
            held.is_ahead = False
        if held.waiting:
            self._keep_waiting(number, held)

    def _keep_waiting(self, number: int, held: _Book) -> None:
        """Tell the chain of the diffs that wait, as far as it keeps them."""
        symbol, pair = self._table.instruments[number]
        diffs = held.waiting.take(self._venue, symbol, pair)
        join = self._protocol.depth_books.joins.get(symbol)
        if join is not None:
            join.keep_waiting(diffs)

    # -- into the kernel ----------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        touched = self._touched
        if touched is None:
            for held in self._books:
                held.is_loaded = False
            self._arrays.feeds.kind[:] = 0
            if any(self._feeds.get(name, feed).pair != feed.pair for name, feed in self._table.named()):
                self._forget()
            names = [name for name, feed in self._feeds.items() if feed.symbol and _words(name) in _KINDS]
        else:
            names = [name for name in touched if name in self._feeds]
        self._touched = set()
        for name in names:
            kind = _KINDS.get(_words(name))
            if kind is not None and _PLAIN_NAME.fullmatch(name):
                self._refresh_feed(name, self._feeds[name], kind)

    def _forget(self) -> None:
        """Pairs are spelled otherwise than before (metadata came): nothing in the arrays holds."""
        self._gather(wanted=True)
        self._arrays = Arrays(self._venue, is_spot=self._is_spot)
        self._table = Table()
        self._books = []
        self._names = []

    def _refresh_feed(self, name: bytes, feed: Feed, kind: int) -> None:
        table, arrays = self._table, self._arrays
        number = table.instrument(feed.symbol, feed.pair)
        if number == len(self._books):
            self._books.append(_Book())
            self._names.append(set())
            arrays.add_instrument()
        index = table.feed(name)
        if index == len(table.feeds):
            table.feeds.append(feed)
            arrays.add_feed(name, kind, number, feed.symbol, feed.pair)
        table.feeds[index] = feed
        self._names[number].add(name)
        instruments = arrays.instruments
        instruments.cover[number] = self._protocol.depth_books.cover(feed.symbol) or (-np.inf, np.inf)
        if kind == DIFF:
            is_taken = self._refresh_book(number, feed)
        else:
            is_taken = feed.stream is not None and feed.stream.is_live
            if kind != QUOTE:
                is_taken = is_taken and not feed.told.holes  # what comes late may fill them
                instruments.told[number] = _told_row(feed.told)
        arrays.feeds.kind[index] = kind if is_taken else 0

    def _refresh_book(self, number: int, feed: Feed) -> bool:
        """Whether diffs of that feed can be taken; if so the book is in the kernel."""
        instruments, held = self._arrays.instruments, self._books[number]
        instruments.last_id[number] = -1
        if held.waiting:
            self._keep_waiting(number, held)
        join = self._protocol.depth_books.joins.get(feed.symbol)
        stream = self._protocol.streams.get(feed.symbol, FORM_FULL)
        if join is None or join.recent is not None or join.spare is not None:
            return False
        if join.before is not None or join.is_cut:
            return False  # the next diff says more than its own levels, or that the connection is back
        if join.speed != feed.detail or stream is None or held.is_too_large:
            return False
        held.is_waiting = join.last_id is None
        if held.is_waiting:
            tells_from = self._protocol.depth_books.tells_from(feed.symbol)
            if tells_from is None:
                return False
            last_id, last_ts = join.pending[-1].last_update_id, join.pending[-1].ts_event
            book = self._tracker.book_apart(self._venue, feed.pair, FORM_UNJOINED)
            instruments.tell_from[number] = tells_from
        else:
            if not stream.is_live:
                return False
            last_id, last_ts = join.last_id, join.last_ts
            book = self._tracker.book_of_diffs(self._venue, feed.pair, FORM_FULL)
        if last_id is None or book is None or book.bids.has_counts or book.asks.has_counts:
            return False
        if not held.is_loaded or held.book is not book:
            held.book = book
            if not self._load(book, number):
                return False
            held.is_loaded = True
        instruments.last_id[number] = last_id
        instruments.last_ts[number] = -1 if last_ts is None else last_ts
        instruments.is_waiting[number] = held.is_waiting
        instruments.is_bare[number] = join.is_bare
        instruments.keep_from[number] = join.keep_from or NO_CEILING
        instruments.is_stale[number] = book.is_stale
        self._arrays.set_connections(number, join.conn_ids)
        top = self._tops.get(f"{self._venue} {feed.pair}")
        instruments.top_is_stale[number] = -1 if top is None else top[4]
        if top is not None:
            instruments.top[number] = values_of_top(top)
        return True

    def _load(self, book: OrderBook, number: int) -> bool:
        """Copy a book's levels in; False where its prices have no step that could be told."""
        arrays = self._arrays
        sides = [side.columns() for side in (book.bids, book.asks)]
        scale = book_scale([prices for prices, _, _ in sides], coarse=self._books[number].rescales < 2)
        if scale is None:
            return False
        decimals, step = scale
        arrays.instruments.decimals[number], arrays.instruments.step[number] = decimals, step
        for which, (prices, sizes, _) in enumerate(sides):
            side = number * 2 + which
            keys = np.rint(np.asarray(prices) * 10.0**decimals).astype(np.int64) // step
            keys = -keys if which else keys
            # Levels are sorted by price, so those of a page stand together.
            pages = int(np.count_nonzero(np.diff(keys >> 6))) + 1 if len(keys) else 0
            if not arrays.make_room(side, pages):
                self._books[number].is_too_large = True
                return False
            clear_side(arrays.store, side)
            set_levels(arrays.store, side, keys, np.asarray(sizes, np.float64))
        return True

    def _unload(self, side: BookSide, number: int, which: int) -> None:
        arrays = self._arrays
        instruments = arrays.instruments
        count = int(arrays.store.levels[number * 2 + which])
        keys, sizes = np.empty(count, np.int64), np.empty(count, np.float64)
        side_columns(arrays.store, number * 2 + which, keys, sizes)
        units = (-keys if which else keys) * instruments.step[number]
        prices = units / 10.0 ** int(instruments.decimals[number])
        side.replace((tuple(prices.tolist()), tuple(sizes.tolist()), ()), checked=True)

    # -- out of the kernel --------------------------------------------------------------------------------------

    def _write_back(self, number: int | None = None) -> None:
        """Streams, chains, reported trades and quotes, of one instrument or of all, as after the last frame taken."""
        frames, feeds, table = self._frames, self._arrays.feeds, self._table
        if frames is None:
            return
        if number is None:
            taken = np.flatnonzero(feeds.taken[: len(table.feeds)])
        else:
            of_it = np.array([table.feed(name) for name in self._names[number]], np.int64)
            taken = of_it[feeds.taken[of_it] > 0]
        if not len(taken):
            return
        self._hold_waiting(frames, number)
        # Two names in different case may be one stream, and the later frame counts.
        for index in taken[np.argsort(feeds.last[taken])].tolist():
            self._write_feed(frames, index)
        feeds.taken[taken] = 0

    def _write_feed(self, frames: FrameBatch, index: int) -> None:
        arrays, feed = self._arrays, self._table.feeds[index]
        kind, number = int(arrays.feeds.kind[index]), int(arrays.feeds.instrument[index])
        last = int(arrays.feeds.last[index])
        stream = self._protocol.streams.get(feed.symbol, FORM_FULL) if kind == DIFF else feed.stream
        held = self._books[number]
        is_waiting = kind == DIFF and held.is_waiting
        if stream is not None:
            stream.frame_count += int(arrays.feeds.taken[index])
        if stream is not None and not is_waiting:  # what waits is no sign that the book lives
            stream.last_recv = int(frames.ts_recv[last])
            stream.last_mono = int(frames.ts_mono[last])
        instruments = arrays.instruments
        if kind == QUOTE:
            self._tracker.apply(self._quote(frames, feed, last))
            return
        if kind in (TRADE, AGG_TRADE):
            _take_told_row(feed.told, instruments.told[number].tolist())
            return
        join = self._protocol.depth_books.joins.get(feed.symbol) if kind == DIFF else None
        if join is None or held.book is None:
            return
        last_id, last_ts = int(instruments.last_id[number]), int(instruments.last_ts[number])
        held.is_ahead = True
        held.book.stamp(last_ts, int(frames.ts_recv[last]), last_id)
        if is_waiting:
            return
        join.last_id, join.last_ts = last_id, last_ts
        join.is_bare = False
        if instruments.top_is_stale[number] >= 0:
            is_stale = bool(instruments.top_is_stale[number])
            self._tops[f"{self._venue} {feed.pair}"] = top_from_values(instruments.top[number], is_stale=is_stale)
        crossed = int(instruments.crossed[number])
        if crossed:
            self._tracker.add_crossed(PairKey(self._venue, feed.pair), crossed)
            instruments.crossed[number] = 0

    def _hold_waiting(self, frames: FrameBatch, number: int | None) -> None:
        """Hold diffs that wait for the chains of their instruments, of one of them or of all."""
        diffs = self._arrays.diffs
        count = int(self._arrays.counts[numbers.DIFFS])
        is_waiting = diffs.kind[:count] > 0
        if number is not None:
            is_waiting &= diffs.instrument[:count] == number
        rows = np.flatnonzero(is_waiting)
        if not len(rows):
            return
        rows = rows[np.argsort(diffs.instrument[rows], kind="stable")]
        for some in np.split(rows, np.flatnonzero(np.diff(diffs.instrument[rows])) + 1):
            held = self._books[int(diffs.instrument[some[0]])]
            some = some[np.searchsorted(some, held.held_rows) :]  # the others are held already
            if len(some):
                held.held_rows = count
                held.waiting.add(self._arrays, some, frames)

    def _quote(self, frames: FrameBatch, feed: Feed, frame: int) -> BestQuote:
        """The quote of that frame."""
        quotes = self._arrays.quotes
        row = int(np.searchsorted(quotes.frame[: int(self._arrays.counts[numbers.QUOTES])], frame))
        ts_event = int(quotes.ts_event[row])
        bid_price, bid_size, ask_price, ask_size = quotes.values[row].tolist()
        return BestQuote(
            self._venue,
            feed.symbol,
            feed.pair,
            None if ts_event < 0 else ts_event,
            int(frames.ts_recv[frame]),
            frames.first_seq + frame,
            0,
            False,
            bid_price,
            bid_size,
            None,
            ask_price,
            ask_size,
            None,
            int(quotes.ids[row, 0]),
        )


class _Concern(NamedTuple):
    """
    What the protocol may change by a frame.

    Attributes:
        symbol: Whose streams; empty for those of any.
        names: The stream that it is of, if it is one.
        has_book: Whether the book of that symbol too.
    """

    symbol: str
    names: set[bytes]
    has_book: bool


#: Nothing that is known here, and anything.
_NONE: Final = _Concern("", set(), has_book=False)
_ANY: Final = _Concern("", set(), has_book=True)


def _told_row(told: ToldTrades) -> tuple[int, ...]:
    """What the kernel has of it; without a range none that anything follows."""
    if not told.ends:
        return 0, -2, 0, told.ts, told.last_trade, told.last_aggregate
    after = told.at + 1
    ceiling = told.starts[after] if after < len(told.starts) else NO_CEILING
    return told.starts[told.at], told.ends[told.at], ceiling, told.ts, told.last_trade, told.last_aggregate


def _take_told_row(told: ToldTrades, row: list[int]) -> None:
    if told.ends:
        told.ends[told.at] = row[1]
        told.ts, told.last_trade, told.last_aggregate = row[3:]


def _tag(frame: Frame) -> str:
    """What a request or an answer is about; empty where it does not say so."""
    try:
        return _decode_context(frame.context or "{}").tag
    except msgspec.DecodeError:
        return ""


class _Context(msgspec.Struct):
    tag: str = ""


_decode_context = msgspec.json.Decoder(_Context).decode


def _symbol(name: bytes) -> str:
    """The symbol in a wire name, as the protocol spells it; empty for a stream of all of them."""
    head, has_words, _ = name.partition(b"@")
    return head.decode("ascii", "replace").upper() if has_words and not name.startswith(b"!") else ""


def _kind(name: bytes) -> str:
    """As `_words`, of streams of all symbols too."""
    if name.startswith(b"!"):
        return name[1:].partition(b"@")[0].decode("ascii", "replace")
    return _words(name)


def _words(name: bytes) -> str:
    """The kind of stream in a wire name: `depth` of `btcusdt@depth@100ms`."""
    return name.partition(b"@")[2].partition(b"@")[0].decode("ascii", "replace")


def _is_one_name(payload: bytes) -> bool:
    """Whether no second name in a frame can count in place of the first one; it might be spelled with escapes."""
    return payload.count(b'"stream"') == 1 and b"\\" not in payload


def _is_passed_over(name: bytes) -> bool:
    """Whether a stream carries nothing that is normalized."""
    text = name.decode("ascii", "replace")
    kind = text[1:].partition("@")[0] if text.startswith("!") else _words(name).partition("_")[0]
    return kind in IGNORED
