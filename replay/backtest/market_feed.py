"""
Normalized messages as market events for the core: levels, trades and what of the book is in sight.

The market is the fused book. A venue with diffs has one exact form of it: the diffs are taken as they come, and a snapshot
among them, which joins the book again, as its difference to the book before. Elsewhere the forms are fused
(`toolkit/books/book_fusion.py`), and each message is the difference that it made. Forms that are capped, such as the best twenty
levels, say nothing of what is worse than their last level: it is out of sight, not gone.

The levels of the first snapshot after a gap are marked: they say nothing of what was cancelled meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from recordings.recording import Recording
from replay.backtest.event_buffer import EventBuffer
from replay.backtest.scales import PairScale
from replay.market.layout import BUY, SELL, EventCode
from replay.tape import Tape
from toolkit.books.book_fusion import BookFusion
from toolkit.books.orderbook import Columns, OrderBook
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, EventKind, Message, Side, StreamEvent, Trade

__all__ = ["TRADES_KEPT", "Levels", "MarketFeed", "PairFeed", "market_events"]

#: A cause that the venue names and that is not this one says that the trade was not matched in the book.
_MATCHED: Final = frozenset({None, "liquidation"})
_UNCOUNTED: Final = -1
#: Size and number of orders of a level; the levels of both sides by their prices.
_Held = tuple[float, int]
Levels = tuple[dict[float, _Held], dict[float, _Held]]
#: Tick, lots, count, code and side of an event.
_Row = tuple[int, int, int, int, int]
_Message = TypeVar("_Message", Trade, BookDiff, BookSnapshot | BestQuote)
#: No horizon is there.
_UNSAID: Final = -1.0
_NOTHING: Final = (0.0, _UNCOUNTED)
_LEVEL: Final = int(EventCode.LEVEL)
_SYNC_LEVEL: Final = int(EventCode.SYNC_LEVEL)
_TRADE: Final = int(EventCode.TRADE)
_HORIZON: Final = int(EventCode.HORIZON)
#: Recordings of one market are received within seconds of each other, in which no pair has as many trades.
TRADES_KEPT: Final = 65_536


def market_events(recordings: Sequence[Recording], scales: Mapping[PairKey, PairScale]) -> npt.NDArray[np.void]:
    """
    The markets of recordings as events, in the order of the recording.

    Args:
        recordings: Played as one, in the order of receipt.
        scales: The pairs to take, with tick and lot; events name a pair by its place here.

    Returns:
        Of `replay.market.layout.EVENT`.

    Raises:
        ConfigError: A price or size is no whole number of ticks or lots.
        SymbolError: A pair is not in the recordings.
    """
    tape = Tape(recordings, trading_pairs=list(scales), channels=("book", "bbo", "trades"))
    feed = MarketFeed(scales)
    for batch in tape.batches(lambda pair, venue: ()):
        feed.take_all(batch.messages)
    return feed.events()


class MarketFeed:
    """
    Turns messages into events, as they come.

    Args:
        scales: Pair to its tick and lot; messages of other pairs are passed over.
    """

    def __init__(self, scales: Mapping[PairKey, PairScale]) -> None:
        self._buffer = EventBuffer()
        self._pairs = {
            (key.venue, key.trading_pair): PairFeed(place, key, scale, self._buffer)
            for place, (key, scale) in enumerate(scales.items())
        }

    def take_all(self, messages: Iterable[Message]) -> None:
        """Take messages in, in order. Raises ConfigError for a price or size off the grid."""
        for message in messages:
            pair = self._pairs.get((message.venue, message.trading_pair))
            if pair is not None:
                pair.take(message)

    def events(self) -> npt.NDArray[np.void]:
        """All events so far."""
        return self._buffer.rows.copy()


class PairFeed:
    """
    One pair: what is known of its levels, and the events that messages make of it.

    Args:
        place: Place of the pair, in events.
        key: Venue and trading pair.
        scale: Tick and lot; None while they are not known, and no events are made.
        buffer: Where events go.
        held: Says what of each side has become of the events so far, where somebody keeps that; None: it is kept here.
            Then events have the time at which a message is taken in, and `book` is kept by somebody else, who brings it
            up to date with a message before it comes here.
        refine: Makes `scale` fine enough for prices and sizes, and says whether it could; None: what is off it is refused.

    Attributes:
        scale: Scale as given; after another one was set, `say_again`.
        book: The fused book.
        forms: Forms of the fused book that were seen.
    """

    def __init__(
        self,
        place: int,
        key: PairKey,
        scale: PairScale | None,
        buffer: EventBuffer,
        held: Callable[[], Levels] | None = None,
        refine: Callable[[Iterable[float], Iterable[float]], bool] | None = None,
    ) -> None:
        self._place = place
        self._refine = refine
        self._buffer = buffer
        self._held = held
        self._on_receipt = on_receipt = held is not None
        self.scale = scale
        self.forms: set[str] = set()
        #: Of each side its prices, with sizes and numbers of orders; a size of 0 where there was a level.
        self._levels: Levels = ({}, {})
        #: Whether they lag: diffs are not noted where somebody else keeps what becomes of them.
        self._is_behind = False
        #: Where several forms are one book; not used where there are diffs.
        self._fusion = None if on_receipt else BookFusion(key.trading_pair, venue=key.venue, checked=True)
        self.book: OrderBook | None = None if self._fusion is None else self._fusion.book
        #: The most levels a side of any form can hold, and whether the deepest form filled them; 0: no capped form so far.
        self._cap = 0
        self._is_cut = [True, True]
        self._horizons: list[float | None] = [None, None]
        #: Whether the book comes as diffs, or whole and uncapped: other forms have nothing to add then.
        self._is_exact = False
        #: Whether the next snapshot joins the book again.
        self._is_joining = True
        #: Ordered, since the first of a plain one is found by a look at all that were deleted before it.
        self._trades: OrderedDict[tuple[str, int | None], None] = OrderedDict()
        #: Those that were taken in elsewhere since anybody asked.
        self._passed: list[tuple[str, int | None]] = []
        #: The time of the message before, for messages without one; and that of the fused book.
        self._time: int | None = None
        self._fused_time = 0
        self._now_ns = 0

    def pass_trade(self, message: Trade, now_ns: int) -> None:
        """Take note of a trade where there is no order that it could fill: then it changes nothing."""
        if self._is_new(message):
            self._time = now_ns

    @property
    def diff_form(self) -> str | None:
        """The one form of the book, where it comes as diffs alone: they can be taken in elsewhere. None where it does not."""
        return next(iter(self.forms)) if self._is_exact and len(self.forms) == 1 else None

    def pass_diffs(self) -> None:
        """Diffs of that form have been taken in elsewhere."""
        self._is_exact, self._is_cut, self._is_behind = True, [False, False], True

    def are_new(self, keys: Sequence[tuple[str, int | None]]) -> bool:
        """Whether trades of these ids and times are all new, each of them once."""
        if self._passed:
            self._keep_passed()
        return len(set(keys)) == len(keys) and self._trades.keys().isdisjoint(keys)

    def pass_trades(self, keys: Sequence[tuple[str, int | None]]) -> None:
        """New trades have been taken in elsewhere."""
        self._passed += keys
        if len(self._passed) > TRADES_KEPT:
            self._keep_passed()

    def _keep_passed(self) -> None:
        self._trades.update(dict.fromkeys(self._passed))
        self._passed.clear()
        while len(self._trades) > TRADES_KEPT:
            self._trades.popitem(last=False)

    def take(self, message: Message, now_ns: int = 0) -> None:
        """
        Take a message of the pair in. Raises ConfigError for a price or size off the grid.

        Args:
            message: The message.
            now_ns: Our time, which does not go back, of events that have not the venue's.
        """
        self._now_ns = now_ns
        if isinstance(message, Trade):
            if self._is_new(message):
                self._on_grid(self._trade, message)
        elif isinstance(message, BookDiff):
            if message.fused:
                self._on_grid(self._diff, message)
        elif isinstance(message, BookSnapshot | BestQuote):
            if message.fused:
                self._on_grid(self._whole, message)
        elif isinstance(message, StreamEvent):
            is_book = message.stream in self.forms or not message.stream
            if is_book and message.kind in (EventKind.STALE, EventKind.GAP):
                self._is_joining = True

    def _on_grid(self, make: Callable[[_Message], None], message: _Message) -> None:
        """Make events of a message; nothing has been done of it where it is off the grid."""
        try:
            make(message)
        except ConfigError:
            if self._refine is None or not self._refine(*_said(message)):
                raise
            make(message)

    @property
    def is_heard(self) -> bool:
        """Whether a book or a trade of it has come."""
        return self._time is not None

    def say_again(self, now_ns: int) -> None:
        """Take the whole book for new: nothing was known of it, or was counted otherwise."""
        self._is_behind = True
        self._horizons = [_UNSAID, _UNSAID]
        if self.book is None or not self.forms:
            return
        bids, asks = self.book.bids.columns(), self.book.asks.columns()
        try:
            self._changes(bids, asks, _SYNC_LEVEL, now_ns, now_ns, -1)
        except ConfigError:
            if self._refine is None or not self._refine(bids[0] + asks[0], bids[1] + asks[1]):
                raise
            self._changes(bids, asks, _SYNC_LEVEL, now_ns, now_ns, -1)

    def _stamp(self, message: Message) -> int:
        if self._on_receipt:
            self._time = self._now_ns
        elif message.ts_event is not None:
            self._time = message.ts_event
        elif self._time is None:
            self._time = message.ts_recv
        return self._time

    def _is_new(self, message: Trade) -> bool:
        """Whether a trade was matched in the book, now, and is not taken in yet: recordings that overlap have it each."""
        if message.is_history or message.is_duplicate or message.cause not in _MATCHED:
            return False
        if self._passed:
            self._keep_passed()
        key = (message.trade_id, message.ts_event)
        if key in self._trades:
            return False
        self._trades[key] = None
        if len(self._trades) > TRADES_KEPT:
            self._trades.popitem(last=False)
        return True

    def _trade(self, message: Trade) -> None:
        time = self._stamp(message)
        if self.scale is None:
            return
        self._buffer.add(
            time,
            message.ts_recv,
            message.capture_seq,
            self.scale.tick_of(message.price),
            self.scale.lots_of(message.size),
            _UNCOUNTED,
            self._place,
            _TRADE,
            BUY if message.aggressor_side is Side.BUY else SELL,
        )

    def _diff(self, message: BookDiff) -> None:
        """Bids before asks, each in the order they were sent in."""
        self.forms.add(message.form)
        self._is_exact, self._is_cut = True, [False, False]
        time = self._stamp(message)
        if self.scale is None:
            return
        bids, asks = len(message.bid_prices), len(message.ask_prices)
        bid_counts, ask_counts = _counts(message.bid_counts, bids), _counts(message.ask_counts, asks)
        if self._held is None:
            for levels, prices, held in (
                (self._levels[BUY], message.bid_prices, zip(message.bid_sizes, bid_counts, strict=True)),
                (self._levels[SELL], message.ask_prices, zip(message.ask_sizes, ask_counts, strict=True)),
            ):
                levels.update(zip(prices, held, strict=True))
        else:
            self._is_behind = True
        ticks = self.scale.ticks_of(message.bid_prices + message.ask_prices)
        lots = self.scale.lots_of_all(message.bid_sizes + message.ask_sizes)
        columns = (ticks, lots, bid_counts + ask_counts)
        self._buffer.add_levels(time, message.ts_recv, message.capture_seq, self._place, _LEVEL, bids, columns)

    def _whole(self, message: BookSnapshot | BestQuote) -> None:
        """A snapshot or quote: what it changed in the book."""
        self.forms.add(message.form)
        time = self._stamp(message)
        if isinstance(message, BookSnapshot) and message.depth_cap is None:
            bids: Columns = (message.bid_prices, message.bid_sizes, message.bid_counts)
            asks: Columns = (message.ask_prices, message.ask_sizes, message.ask_counts)
            self._is_exact, self._is_cut = True, [False, False]
            is_joining = True
        elif self._is_exact:
            return
        else:
            if self._fusion is not None:
                self._fusion.apply(message)
            if self.book is None:
                return
            bids, asks = self.book.bids.columns(), self.book.asks.columns()
            if isinstance(message, BookSnapshot) and (message.depth_cap or 0) >= self._cap:
                self._cap = message.depth_cap or 0
                self._is_cut = [len(side) >= self._cap for side in (message.bid_prices, message.ask_prices)]
            is_joining = self._is_joining
        if not self._on_receipt:
            # What a late message changed, it changes now: the differences are those of this order.
            self._fused_time = time = max(self._fused_time, time)
        code = _SYNC_LEVEL if is_joining else _LEVEL
        self._changes(bids, asks, code, time, message.ts_recv, message.capture_seq)
        self._is_joining = self._is_joining and not isinstance(message, BookSnapshot)

    def _changes(self, bids: Columns, asks: Columns, code: int, time: int, recv: int, frame: int) -> None:
        """First what is gone, on both sides, so that new levels cross no old ones; then what is new; then the sight."""
        if self.scale is None:
            return
        if self._is_behind and self._held is not None:
            self._levels, self._is_behind = self._held(), False
        tick_of, lots_of = self.scale.tick_of, self.scale.lots_of
        gone: list[_Row] = []
        fresh: list[_Row] = []
        sights: list[_Row] = []
        books: list[dict[float, _Held]] = []
        horizons: list[float | None] = []
        for side, (prices, sizes, counts) in ((BUY, bids), (SELL, asks)):
            before = self._levels[side]
            now = dict(zip(prices, zip(sizes, _counts(counts, len(prices)), strict=True), strict=True))
            worst = prices[-1] if self._is_cut[side] and prices else None
            for price, (size, _) in before.items():
                if size and price not in now and (worst is None or (price > worst if side == BUY else price < worst)):
                    gone.append((tick_of(price), 0, _UNCOUNTED, code, side))
            # A level that is said again was not set again: what was taken of it, and traded there, stands.
            if before != now:
                for price, held in now.items():
                    if before.get(price, _NOTHING) != held:
                        fresh.append((tick_of(price), lots_of(held[0]), held[1], code, side))
            if worst != self._horizons[side]:
                tick = 0 if worst is None else tick_of(worst)
                sights.append((tick, int(worst is not None), _UNCOUNTED, _HORIZON, side))
            books.append(now)
            horizons.append(worst)
        self._levels, self._horizons = (books[BUY], books[SELL]), horizons
        for tick, lots, count, what, side in (*gone, *fresh, *sights):
            self._buffer.add(time, recv, frame, tick, lots, count, self._place, what, side)


def _said(message: Trade | BookDiff | BookSnapshot | BestQuote) -> tuple[Sequence[float], Sequence[float]]:
    """Prices and sizes of a message."""
    if isinstance(message, Trade):
        return (message.price,), (message.size,)
    if isinstance(message, BookSnapshot | BookDiff):
        return message.bid_prices + message.ask_prices, message.bid_sizes + message.ask_sizes
    quoted = (message.bid_price, message.ask_price), (message.bid_size, message.ask_size)
    prices, sizes = ([each for each in pair if each is not None] for pair in quoted)
    return prices, sizes


def _counts(counts: tuple[int, ...], levels: int) -> tuple[int, ...]:
    """Numbers of orders, of levels that may have none."""
    return counts or (_UNCOUNTED,) * levels
