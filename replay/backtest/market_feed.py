"""
Normalized messages as market events for the core: levels, trades and what of the book is in sight.

The market is the fused book. A venue with diffs has one exact form of it: the diffs are taken as they come, and a snapshot
among them, which joins the book anew, as its difference to the book before. Elsewhere the forms are fused
(`toolkit/book_fusion.py`), and each message is the difference that it made. Forms that are capped, such as the best twenty
levels, say nothing of what is worse than their last level: it is out of sight, not gone.

The levels of the first snapshot after a gap are marked: they say nothing of what was cancelled meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from recordings.recording import Recording
from replay.backtest.scales import PairScale
from replay.market.layout import BUY, EVENT, SELL, EventCode
from replay.tape import Tape
from toolkit.book_fusion import BookFusion
from toolkit.keys import PairKey
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, EventKind, Message, Side, StreamEvent, Trade
from toolkit.orderbook import Columns

__all__ = ["MarketFeed", "market_events"]

#: A cause that the venue names and that is not this one says that the trade was not matched in the book.
_MATCHED: Final = frozenset({None, "liquidation"})
_UNCOUNTED: Final = -1
#: Lots and number of orders of a level that is not there.
_NOTHING: Final = (0, _UNCOUNTED)
#: Recordings of one market are received within seconds of each other, in which no pair has as many trades.
_TRADES_KEPT: Final = 65_536


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
        self._books = {key: _Book(place, key, scale) for place, (key, scale) in enumerate(scales.items())}
        self._parts: list[npt.NDArray[np.void]] = []

    def take_all(self, messages: Iterable[Message]) -> None:
        """Take messages in, in order. Raises ConfigError for a price or size off the grid."""
        for message in messages:
            book = self._books.get(PairKey(message.venue, message.trading_pair))
            if book is None:
                continue
            if isinstance(message, StreamEvent):
                book.event(message)
            elif isinstance(message, Trade):
                if book.is_new(message):
                    self._parts.append(book.trade(message))
            elif isinstance(message, BookDiff | BookSnapshot | BestQuote) and message.fused:
                self._parts.append(book.diff(message) if isinstance(message, BookDiff) else book.whole(message))

    def events(self) -> npt.NDArray[np.void]:
        """All events so far."""
        self._parts = [np.concatenate(self._parts) if self._parts else np.zeros(0, EVENT)]
        return self._parts[0]


class _Book:
    """One pair: what is known of its levels, in ticks and lots."""

    def __init__(self, place: int, key: PairKey, scale: PairScale) -> None:
        self._place = place
        self._scale = scale
        #: Of each side its ticks, with lots and the number of orders.
        self._levels: tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]] = ({}, {})
        #: Where several forms are one book; not used where there are diffs.
        self._fusion = BookFusion(key.trading_pair, venue=key.venue, checked=True)
        #: The most levels a side of any form can hold, and whether the deepest form filled them; 0: no capped form so far.
        self._cap = 0
        self._is_cut = [True, True]
        self._horizons: list[int | None] = [None, None]
        #: Whether the book comes as diffs, or whole and uncapped: other forms have nothing to add then.
        self._is_exact = False
        #: Forms of the book that were heard of, and whether the next snapshot joins it anew.
        self._forms: set[str] = set()
        self._is_joining = True
        self._trades: dict[tuple[str, int | None], None] = {}
        #: The venue's time of the message before, for messages without one; and the time of the fused book.
        self._time: int | None = None
        self._fused_time = 0

    def event(self, event: StreamEvent) -> None:
        """Hear of a stream: a book that did not hold for a while is joined anew."""
        is_book = event.stream in self._forms or not event.stream
        if is_book and event.kind in (EventKind.STALE, EventKind.GAP):
            self._is_joining = True

    def _rows(self, message: Message, count: int) -> npt.NDArray[np.void]:
        if message.ts_event is not None:
            self._time = message.ts_event
        elif self._time is None:
            self._time = message.ts_recv
        rows = np.zeros(count, EVENT)
        rows["time"] = self._time
        rows["recv"] = message.ts_recv
        rows["frame"] = message.capture_seq
        rows["pair"] = self._place
        rows["count"] = _UNCOUNTED
        return rows

    def is_new(self, message: Trade) -> bool:
        """Whether a trade was matched in the book, now, and is not taken in yet: recordings that overlap have it each."""
        if message.is_history or message.is_duplicate or message.cause not in _MATCHED:
            return False
        key = (message.trade_id, message.ts_event)
        if key in self._trades:
            return False
        self._trades[key] = None
        if len(self._trades) > _TRADES_KEPT:
            del self._trades[next(iter(self._trades))]
        return True

    def trade(self, message: Trade) -> npt.NDArray[np.void]:
        rows = self._rows(message, 1)
        rows["code"] = EventCode.TRADE
        rows["side"] = BUY if message.aggressor_side is Side.BUY else SELL
        rows["tick"] = self._scale.ticks([message.price])
        rows["lots"] = self._scale.lots([message.size])
        return rows

    def diff(self, message: BookDiff) -> npt.NDArray[np.void]:
        """Bids before asks, each in the order they were sent in."""
        self._forms.add(message.form)
        self._is_exact = True
        bids = len(message.bid_prices)
        rows = self._rows(message, bids + len(message.ask_prices))
        rows["code"] = EventCode.LEVEL
        rows["side"][bids:] = SELL
        rows["tick"] = self._scale.ticks(message.bid_prices + message.ask_prices)
        rows["lots"] = self._scale.lots(message.bid_sizes + message.ask_sizes)
        rows["count"] = _counts(message.bid_counts, bids) + _counts(message.ask_counts, len(message.ask_prices))
        ticks, held = rows["tick"].tolist(), list(zip(rows["lots"].tolist(), rows["count"].tolist(), strict=True))
        self._levels[BUY].update(zip(ticks[:bids], held[:bids], strict=True))
        self._levels[SELL].update(zip(ticks[bids:], held[bids:], strict=True))
        return rows

    def whole(self, message: BookSnapshot | BestQuote) -> npt.NDArray[np.void]:
        """A snapshot or quote: what it changed in the book."""
        self._forms.add(message.form)
        if isinstance(message, BookSnapshot) and message.depth_cap is None:
            bids: Columns = (message.bid_prices, message.bid_sizes, message.bid_counts)
            asks: Columns = (message.ask_prices, message.ask_sizes, message.ask_counts)
            self._is_exact, self._is_cut = True, [False, False]
            is_joining = True
        elif self._is_exact:
            return self._rows(message, 0)
        else:
            self._fusion.apply(message)
            bids, asks = self._fusion.book.bids.columns(), self._fusion.book.asks.columns()
            if isinstance(message, BookSnapshot) and (message.depth_cap or 0) >= self._cap:
                self._cap = message.depth_cap or 0
                self._is_cut = [len(side) >= self._cap for side in (message.bid_prices, message.ask_prices)]
            is_joining = self._is_joining
        values = self._changes(bids, asks, EventCode.SYNC_LEVEL if is_joining else EventCode.LEVEL)
        self._is_joining = self._is_joining and not isinstance(message, BookSnapshot)
        rows = self._rows(message, len(values))
        if values:
            for name, column in zip(("code", "side", "tick", "lots", "count"), zip(*values, strict=True), strict=True):
                rows[name] = column
            # What a late message changed, it changes now: the differences are those of this order.
            self._fused_time = max(self._fused_time, int(rows["time"][0]))
            rows["time"] = self._fused_time
        return rows

    def _changes(self, bids: Columns, asks: Columns, code: EventCode) -> list[tuple[int, int, int, int, int]]:
        """First what is gone, on both sides, so that new levels cross no old ones; then what is new; then the sight."""
        gone: list[tuple[int, int, int, int, int]] = []
        fresh: list[tuple[int, int, int, int, int]] = []
        sights: list[tuple[int, int, int, int, int]] = []
        for side, (prices, sizes, counts) in ((BUY, bids), (SELL, asks)):
            sign = 1 if side == BUY else -1
            ticks, lots = self._scale.ticks(prices).tolist(), self._scale.lots(sizes).tolist()
            held = zip(lots, _counts(counts, len(ticks)), strict=True)
            before, now = self._levels[side], dict(zip(ticks, held, strict=True))
            worst = ticks[-1] if self._is_cut[side] and ticks else None
            for tick, (size, _) in before.items():
                if size and tick not in now and (worst is None or sign * tick > sign * worst):
                    gone.append((code, side, tick, 0, _UNCOUNTED))
            # A level that is said again was not set again: what was taken of it, and traded there, stands.
            for tick, (size, count) in now.items():
                if before.get(tick, _NOTHING) != (size, count):
                    fresh.append((code, side, tick, size, count))
            if worst != self._horizons[side]:
                self._horizons[side] = worst
                sights.append((EventCode.HORIZON, side, worst or 0, int(worst is not None), _UNCOUNTED))
            before.clear()
            before.update(now)
        return [*gone, *fresh, *sights]


def _counts(counts: tuple[int, ...], levels: int) -> tuple[int, ...]:
    """Numbers of orders, of levels that may have none."""
    return counts or (_UNCOUNTED,) * levels
