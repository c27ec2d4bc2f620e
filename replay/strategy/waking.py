"""Which messages call a strategy: what it has declared, for the pairs it has declared."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

from replay.strategy.pairs import RunPairs
from replay.strategy.strategy import Strategy
from replay.strategy.views import Gap, Quote
from toolkit.books.orderbook import OrderBook
from toolkit.messages import FundingInfo, Message, Trade
from toolkit.timing.times import duration_ns

if TYPE_CHECKING:
    from replay.strategy.session import TradingSession

__all__ = ["Phase", "Waking"]

_NOTHING: Final = (None, 0.0, None, 0.0)
#: Price and size of the best bid, and of the best ask.
Top = tuple[float | None, float, float | None, float]


class Phase(enum.Enum):
    """Where a session is."""

    #: Tick or lot of a pair are not known yet, so the strategy is not called.
    WAITING = "waiting"
    RUNNING = "running"
    #: SESSION_END was received; it goes on if another session begins.
    PAUSED = "paused"
    ENDED = "ended"
    #: The strategy has failed, and is called no more.
    FAILED = "failed"


class Waking:
    """
    Calls a strategy for messages.

    Args:
        session: Session of the strategy.
        strategy: The strategy.
        pairs: The pairs of the run.

    Attributes:
        kinds: Kinds of messages that call it, beside those that change a book.
        stale: Places of the pairs whose book held once and does not now.
    """

    def __init__(self, session: TradingSession, strategy: Strategy, pairs: RunPairs) -> None:
        wakes = strategy.wakes
        self._session = session
        self._strategy = strategy
        self._pairs = pairs
        self._places = pairs.places
        wanted = {pairs.place(pair) for pair in wakes.pairs} if wakes.pairs else set(range(len(pairs.keys)))
        self._wanted = [place in wanted for place in range(len(pairs.keys))]
        self._quotes, self._books, self._trades, self._funding = wakes.quotes, wakes.books, wakes.trades, wakes.funding
        wanted_kinds = ((Trade, self._trades), (FundingInfo, self._funding))
        self.kinds: frozenset[type[Message]] = frozenset(kind for kind, is_wanted in wanted_kinds if is_wanted)
        self._gap_ns = 0 if wakes.min_gap is None else duration_ns(wakes.min_gap)
        self._tops: list[Top] = [_NOTHING for _ in pairs.keys]
        self._slots = [-1 for _ in pairs.keys]
        self._held = [False for _ in pairs.keys]
        self._since = [0 for _ in pairs.keys]
        self.stale: set[int] = set()

    def begin(self) -> None:
        """From now on the strategy is called: what is known already is no news."""
        for place in range(len(self._places)):
            book = self._session.book(self._pairs.keys[place])
            self._held[place] = not book.is_stale
            self._tops[place] = _top(book)

    def wake(self, message: Message, book: OrderBook | None) -> None:
        """Call the strategy for a message that the books have taken in."""
        if book is not None:
            place = self._places.get((message.venue, message.trading_pair))
            if place is None:
                return
            self.book_changed(place, _cause(message), book)
        elif isinstance(message, Trade):
            if self._trades and not (message.is_history or message.is_duplicate):
                self._call(message, "trade", self._strategy.on_trade)
        elif self._funding and isinstance(message, FundingInfo):
            self._call(message, "funding", self._strategy.on_funding)

    def book_changed(self, place: int, cause: tuple[int, int], book: OrderBook) -> None:
        """Call the strategy for a change of a pair's book."""
        self._session.changed(place)
        if book.is_stale is self._held[place]:
            self._turn(place, cause, book)
        if self._wanted[place]:
            if self._books:
                self._session.call("book", cause, self._strategy.on_book, book)
            if self._quotes:
                self._quote(place, cause, book)

    def turns(self, place: int, book: OrderBook) -> None:
        """A pair's book ceases to hold with the next change that is told, or holds again, whatever was told before."""
        self._held[place] = book.is_stale

    def quote_changed(self, place: int, cause: tuple[int, int], top: Top, book: OrderBook) -> None:
        """Call the strategy for best levels that are other than those it was called for last."""
        self._tops[place] = top
        if self._gap_ns:
            self._slots[place] = self._session.now_ns // self._gap_ns
        if self._wanted[place]:
            quote = Quote(self._pairs.names[place], *top, book.is_stale)
            self._session.call("quote", cause, self._strategy.on_quote, quote)

    def trade_came(self, place: int, trade: Message) -> None:
        """Call the strategy for a new trade."""
        if self._wanted[place]:
            self._session.call("trade", (trade.capture_seq, trade.sub_seq), self._strategy.on_trade, trade)

    def looks_at(self, place: int) -> tuple[bool, bool, bool]:
        """Whether the strategy is called for each change of a pair's book, of its best levels, and for each trade."""
        is_wanted = self._wanted[place]
        return is_wanted and self._books, is_wanted and self._quotes, is_wanted and self._trades

    def has_seen(self, place: int, book: OrderBook) -> bool:
        """Whether the best levels of a pair are those that it was called for last."""
        return _top(book) == self._tops[place]

    def _call(self, message: Message, kind: str, function: Any) -> None:
        place = self._places.get((message.venue, message.trading_pair))
        if place is not None and self._wanted[place]:
            self._session.call(kind, _cause(message), function, message)

    def _quote(self, place: int, cause: tuple[int, int], book: OrderBook) -> None:
        top = _top(book)
        if top == self._tops[place]:
            return
        if self._gap_ns:
            slot = self._session.now_ns // self._gap_ns
            if slot == self._slots[place]:
                return
            self._slots[place] = slot
        self._tops[place] = top
        quote = Quote(self._pairs.names[place], *top, book.is_stale)
        self._session.call("quote", cause, self._strategy.on_quote, quote)

    def _turn(self, place: int, cause: tuple[int, int], book: OrderBook) -> None:
        """A book ceases to hold, or holds again."""
        is_whole = self._held[place] = not book.is_stale
        since = self._since[place]
        if not is_whole:
            self.stale.add(place)
            since = self._since[place] = self._session.now_ns
        elif place in self.stale:
            self.stale.discard(place)
        else:
            return  # its first snapshot
        if self._wanted[place]:
            gap = Gap(self._pairs.names[place], is_whole, "" if is_whole else book.stale_cause, since)
            self._session.call("gap", cause, self._strategy.on_gap, gap)


def _cause(message: Message) -> tuple[int, int]:
    return message.capture_seq, message.sub_seq


def _top(book: OrderBook) -> Top:
    bids, bid_sizes = book.bids.top_columns()
    asks, ask_sizes = book.asks.top_columns()
    return (
        bids[0] if bids else None,
        bid_sizes[0] if bids else 0.0,
        asks[0] if asks else None,
        ask_sizes[0] if asks else 0.0,
    )
