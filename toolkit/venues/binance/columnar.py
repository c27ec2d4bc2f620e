"""
Runs of frames by compiled code, between frames that the protocol takes.

The state stays where the protocol has it: chains, streams, reported trades, books. Before a run, what the kernel needs
is copied into its arrays; after it, what it changed is written back. Only the levels of a book stay in the kernel until
somebody is about to look at them, because copying a thousand levels takes as long as applying them.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from toolkit.books.orderbook import BookSide, OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.columnar import ColumnarTaker, DiffColumns, FrameBatch, QuoteColumns, Taken, TopColumns, Tops, TradeColumns
from toolkit.frames import WS_IN, Frame
from toolkit.kernels.hashing import STATE_BYTES
from toolkit.kernels.levels import clear_side, set_levels, side_columns
from toolkit.keys import PairKey
from toolkit.messages import FORM_FULL, BestQuote, BookDiff
from toolkit.venues.binance import kernel_numbers as numbers
from toolkit.venues.binance import kernel_run
from toolkit.venues.binance.depth import FORM_UNJOINED, PENDING_MAX
from toolkit.venues.binance.feeds import IGNORED
from toolkit.venues.binance.kernel_arrays import Arrays, Table, book_scale
from toolkit.venues.binance.kernel_frames import AGG_TRADE, DIFF, QUOTE, TRADE
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
#: A run costs as much as some frames of the protocol. After so many runs it looks how long they were, and rests for some
#: thousand frames if that was too short: in a recording of many venues, say, or of frames without a stream's name.
_LOOK_RUNS: Final = 64
_RUN_FRAMES_MIN: Final = 8
_REST_FRAMES: Final = 4096
#: Names of streams that compiled code looks up: as they are on the wire, where JSON allows them, and of a sensible length.
_PLAIN_NAME: Final = re.compile(rb'[^\x00-\x1f"\\]{1,256}')


class _Book:
    """The book of one instrument, as far as it is in the kernel."""

    __slots__ = ("book", "is_ahead", "is_loaded", "is_too_large", "is_waiting", "rescales", "waiting")

    def __init__(self) -> None:
        self.book: OrderBook | None = None
        self.is_loaded = False
        #: Whether the kernel knows more than the book.
        self.is_ahead = False
        self.rescales = 0
        #: Whether it is that of diffs without a snapshot; then those that the chain is yet to be told of, with the number
        #: of the first frame of their batch and their receive times.
        self.is_waiting = False
        self.waiting: list[tuple[int, Any, DiffColumns]] = []
        #: It outgrew what the arrays may take: the protocol keeps it from then on.
        self.is_too_large = False


class BinanceTaker(ColumnarTaker):
    """
    See `ColumnarTaker`.

    Args:
        protocol: Protocol on whose state it works.
        tracker: The books that it keeps.
        tops: Values of the last row of `top`.
    """

    def __init__(self, protocol: BinanceMarketProtocol, tracker: OrderBookTracker, tops: Tops) -> None:
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
        #: Feeds that the protocol may have changed since the last run; None: any, and any book.
        self._touched: set[bytes] | None = None
        self._runs = 0
        self._run_frames = 0
        self._resting = 0

    # -- what `ColumnarTaker` asks ------------------------------------------------------------------------------

    def take(self, frames: FrameBatch, begin: int, digest: bytes) -> Taken:
        if self._resting:
            self._resting -= 1
            return Taken(end=begin, digest=digest)
        self._refresh()
        arrays = self._arrays
        arrays.begin(frames, begin, digest)
        end = begin
        while True:
            end, reason = kernel_run.run(*arrays.arguments(frames, end))
            if reason != kernel_run.FULL:
                break
            if not arrays.grow():
                self._books[int(arrays.needed[numbers.INSTRUMENT])].is_too_large = True
                break
        self._look(end - begin)
        if reason == kernel_run.RESCALE:
            # A price between the steps of the book: the protocol takes that frame, and the steps are reported again.
            self._books[int(arrays.needed[numbers.INSTRUMENT])].rescales += 1
        return self._finish(frames, end)

    def _look(self, frames: int) -> None:
        self._runs += 1
        self._run_frames += frames
        if self._runs == _LOOK_RUNS:
            if self._run_frames < _LOOK_RUNS * _RUN_FRAMES_MIN:
                self._resting = _REST_FRAMES
            self._runs = self._run_frames = 0

    def before(self, frame: Frame) -> None:
        name = b""
        if frame.kind == WS_IN and frame.payload.startswith(_PREFIX):
            name = frame.payload[11 : frame.payload.find(b'"', 11)]
        feed = self._feeds.get(name)
        if feed is not None or _is_one_name(frame.payload):
            if _is_passed_over(name):
                return
            if self._is_bookless(name, feed):
                if self._touched is not None:
                    self._touched.add(name)
                return
        if feed is not None and self._touched is not None and self._is_of_one_book(name, feed, frame):
            # What becomes of a diff, or of a price beyond the snapshot, concerns one book: the others stay loaded,
            # however many there are.
            number = self._table.instrument(feed.symbol, feed.pair)
            self._settle_book(number)
            self._books[number].is_loaded = False
            self._touched |= self._names[number]
            self._touched.add(name)
            return
        self.settle()
        self._touched = None

    def _is_bookless(self, name: bytes, feed: Feed | None) -> bool:
        """Whether a frame of that stream changes no book, whatever is in it."""
        words = _words(name)
        if words in _PRICED:
            return not self._protocol.depth_books.has_cover(feed.symbol if feed is not None else "")
        return words in _BOOKLESS

    def _is_of_one_book(self, name: bytes, feed: Feed, frame: Frame) -> bool:
        """Whether a frame concerns one book, which is known here; a diff on the connection that its diffs came on."""
        join = self._protocol.depth_books.joins.get(feed.symbol)
        if join is None or not self._table.knows(feed.symbol, feed.pair):
            return False
        return _words(name) in _PRICED or frame.conn_id in join.conn_ids

    def settle(self) -> None:
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
        join = self._protocol.depth_books.joins.get(self._table.instruments[number][0])
        diffs: list[BookDiff] = []
        for waiting in held.waiting:
            diffs += self._waiting_diffs(*waiting)
        held.waiting = []
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
            instruments.top[number] = [np.nan if value is None else value for value in top[:4]]
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

    def _finish(self, frames: FrameBatch, end: int) -> Taken:
        arrays, table = self._arrays, self._table
        counts = [int(count) for count in arrays.counts]
        diffs, quotes, trades = counts[numbers.DIFFS], counts[numbers.QUOTES], counts[numbers.TRADES]
        tops = counts[numbers.TOPS]
        messages: list[DiffColumns | QuoteColumns | TradeColumns] = []
        for number, rows in arrays.by_instrument(arrays.diffs, diffs):
            columns = self._diff_columns(number, rows)
            messages.append(columns)
            if self._books[number].is_waiting:
                self._wait_with(self._books[number], frames, columns)
        for number, rows in arrays.by_instrument(arrays.quotes, quotes):
            messages.append(self._quote_columns(number, rows))
        for number, rows in arrays.by_instrument(arrays.trades, trades):
            messages += self._trade_columns(number, rows)
        changes = [self._top_columns(number, rows) for number, rows in arrays.by_instrument(arrays.tops, tops)]
        # Two names in different case may be one stream, and the later frame counts.
        taken = np.flatnonzero(arrays.feeds.taken[: len(table.feeds)])
        for index in taken[np.argsort(arrays.feeds.last[taken])].tolist():
            self._write_back(frames, index)
        for change in changes:
            self._tops[f"{self._venue} {change.trading_pair}"] = _last_top(change)
        for said in messages:
            if isinstance(said, QuoteColumns):
                self._tracker.apply(self._last_quote(frames, said))
        return Taken(
            end=end,
            digest=bytes(arrays.scratch.bytes[:STATE_BYTES]),
            messages=messages,
            tops=changes,
            message_count=diffs + quotes + trades,
            duplicate_count=counts[numbers.DUPLICATES],
            imprecise_count=counts[numbers.IMPRECISE],
        )

    def _write_back(self, frames: FrameBatch, index: int) -> None:
        """A feed's stream, chain and reported trades, as they are after its last frame."""
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
        if kind in (TRADE, AGG_TRADE):
            _take_told_row(feed.told, instruments.told[number].tolist())
            return
        join = self._protocol.depth_books.joins.get(feed.symbol) if kind == DIFF else None
        if join is None or held.book is None:
            return
        last_id, last_ts = int(instruments.last_id[number]), int(instruments.last_ts[number])
        if not is_waiting:
            join.last_id, join.last_ts = last_id, last_ts
            join.is_bare = False
        held.is_ahead = True
        held.book.stamp(last_ts, int(frames.ts_recv[last]), last_id)
        crossed = int(instruments.crossed[number])
        if crossed:
            self._tracker.add_crossed(PairKey(self._venue, feed.pair), crossed)
            instruments.crossed[number] = 0

    def _diff_columns(self, number: int, rows: Any) -> DiffColumns:
        diffs, columns = self._arrays.diffs, self._arrays.columns
        symbol, pair = self._table.instruments[number]
        starts, counts = diffs.rows[rows, 0], diffs.rows[rows, 1]
        levels: Any
        if isinstance(rows, slice):
            levels = slice(0, int(counts.sum()))
        else:
            levels = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
        return DiffColumns(
            symbol=symbol,
            trading_pair=pair,
            frame=diffs.frame[rows].copy(),
            ts_event=diffs.ts_event[rows].copy(),
            form=FORM_UNJOINED if self._books[number].is_waiting else FORM_FULL,
            fused=not self._books[number].is_waiting,
            first_update_id=diffs.ids[rows, 0].copy(),
            last_update_id=diffs.ids[rows, 1].copy(),
            prev_update_id=None if self._is_spot else diffs.ids[rows, 2].copy(),
            level_count=counts.copy(),
            bid_count=diffs.bids[rows].copy(),
            price=columns.price[levels].copy(),
            size=columns.size[levels].copy(),
        )

    @staticmethod
    def _wait_with(held: _Book, frames: FrameBatch, columns: DiffColumns) -> None:
        """Hold diffs for the chain, and no batch that it would drop as a whole."""
        held.waiting.append((frames.first_seq, frames.ts_recv[columns.frame], columns))
        count = sum(len(each) for _, _, each in held.waiting)
        while count - len(held.waiting[0][2]) >= PENDING_MAX:
            count -= len(held.waiting.pop(0)[2])

    def _waiting_diffs(self, first_seq: int, ts_recv: Any, columns: DiffColumns) -> list[BookDiff]:
        """The diffs of a run, as the chain keeps them."""
        ends = np.cumsum(columns.level_count)
        starts = (ends - columns.level_count).tolist()
        middles = (ends - columns.level_count + columns.bid_count).tolist()
        prices, sizes = tuple(columns.price.tolist()), tuple(columns.size.tolist())
        prev = [None] * len(columns) if columns.prev_update_id is None else columns.prev_update_id.tolist()
        none: tuple[int, ...] = ()
        return [
            BookDiff(
                self._venue,
                columns.symbol,
                columns.trading_pair,
                columns.ts_event[row].item(),
                ts_recv[row].item(),
                first_seq + columns.frame[row].item(),
                0,
                FORM_FULL,
                True,
                None,
                prices[start:middle],
                sizes[start:middle],
                none,
                prices[middle:end],
                sizes[middle:end],
                none,
                columns.first_update_id[row].item(),
                columns.last_update_id[row].item(),
                prev[row],
            )
            for row, (start, middle, end) in enumerate(zip(starts, middles, ends.tolist(), strict=True))
            if row >= len(columns) - PENDING_MAX
        ]

    def _quote_columns(self, number: int, rows: Any) -> QuoteColumns:
        quotes = self._arrays.quotes
        symbol, pair = self._table.instruments[number]
        bid_price, bid_size, ask_price, ask_size = quotes.values[rows].T.copy()
        return QuoteColumns(
            symbol=symbol,
            trading_pair=pair,
            frame=quotes.frame[rows].copy(),
            ts_event=quotes.ts_event[rows].copy(),
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
            update_id=quotes.ids[rows, 0].copy(),
        )

    def _trade_columns(self, number: int, rows: Any) -> list[TradeColumns]:
        """Trades and aggregates in their order: one element for each stretch of either."""
        trades = self._arrays.trades
        symbol, pair = self._table.instruments[number]
        indices = np.arange(rows.stop) if isinstance(rows, slice) else rows
        kinds = trades.kind[indices]
        cuts = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(indices)]
        found = []
        for start, stop in pairwise(cuts):
            some = indices[start:stop]
            found.append(
                TradeColumns(
                    symbol=symbol,
                    trading_pair=pair,
                    frame=trades.frame[some],
                    ts_event=trades.ts_event[some],
                    is_sell=trades.flags[some, 0].astype(np.bool_),
                    price=trades.values[some, 0],
                    size=trades.values[some, 1],
                    trade_id=trades.ids[some, 0],
                    id_prefix="a" if kinds[start] else "",
                    is_duplicate=trades.flags[some, 1].astype(np.bool_),
                )
            )
        return found

    def _top_columns(self, number: int, rows: Any) -> TopColumns:
        tops = self._arrays.tops
        symbol, pair = self._table.instruments[number]
        bid_price, bid_size, ask_price, ask_size = tops.values[rows].T.copy()
        return TopColumns(
            symbol=symbol,
            trading_pair=pair,
            frame=tops.frame[rows].copy(),
            ts_event=tops.ts_event[rows].copy(),
            bid_price=bid_price,
            bid_size=bid_size,
            ask_price=ask_price,
            ask_size=ask_size,
            is_stale=tops.flags[rows, 0].astype(np.bool_),
            is_crossed=tops.flags[rows, 1].astype(np.bool_),
        )

    def _last_quote(self, frames: FrameBatch, columns: QuoteColumns) -> BestQuote:
        frame, ts_event = int(columns.frame[-1]), int(columns.ts_event[-1])
        return BestQuote(
            self._venue,
            columns.symbol,
            columns.trading_pair,
            None if ts_event < 0 else ts_event,
            int(frames.ts_recv[frame]),
            frames.first_seq + frame,
            0,
            False,
            float(columns.bid_price[-1]),
            float(columns.bid_size[-1]),
            None,
            float(columns.ask_price[-1]),
            float(columns.ask_size[-1]),
            None,
            int(columns.update_id[-1]),
        )


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


def _last_top(columns: TopColumns) -> tuple[float | None, float | None, float | None, float | None, bool]:
    last = [float(column[-1]) for column in (columns.bid_price, columns.bid_size, columns.ask_price, columns.ask_size)]
    bid, bid_size, ask, ask_size = (None if value != value else value for value in last)  # NaN
    return bid, bid_size, ask, ask_size, bool(columns.is_stale[-1])
