"""
The uncrossed view of a book whose best bid may stand at or above its best ask.

Some venues show orders that are matched already, or keep a level they should have deleted. Their books are recorded
as sent, and the book that the tracker keeps (the raw one) may be crossed. This is the other view of it. While the best
bid is at or above the best ask:

- the level that was reported longer ago is left out, since the newer one could not rest otherwise;
- where both were last reported in the same frame, the sizes are netted: the smaller is taken off the larger.

Age is the order of receipt, `capture_seq`. The raw book stays what it is: a level that was left out is back as soon as
what it crossed with is gone, and where the raw book is not crossed both are equal. The rule is the one that dYdX
documents for clients of its Indexer ("watch orderbook", v4-documentation).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from toolkit.books.orderbook import KeptColumns, OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.errors import SymbolError
from toolkit.keys import PairName
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, Message

__all__ = ["UncrossedBook", "UncrossedBooks"]

#: Age of a level that was never reported: older than every frame.
_UNTOLD = -1


class UncrossedBook:
    """
    The raw book of one pair, and its uncrossed view.

    Args:
        trading_pair: Trading pair of the book.
        raw: A book to view that somebody else applies messages to; then call `follow`. None for an own one; then call
            `apply`.

    Attributes:
        raw: Book as the venue sent it; may be crossed.
        book: The uncrossed view, updated in place; never crossed, and as stale as the raw book is.
    """

    __slots__ = ("_ask_ages", "_bid_ages", "_is_same", "book", "raw")

    def __init__(self, trading_pair: str = "", raw: OrderBook | None = None) -> None:
        self.raw = OrderBook(trading_pair) if raw is None else raw
        self.book = OrderBook(self.raw.trading_pair, self.raw.venue)
        self._bid_ages: dict[float, int] = {}
        self._ask_ages: dict[float, int] = {}
        #: Whether the view holds the levels that the raw book held before the next message.
        self._is_same = False
        self.refresh()

    @property
    def is_crossed(self) -> bool:
        """Whether the raw book is crossed, and so differs from the view."""
        return self.raw.is_crossed

    def apply(self, message: BookSnapshot | BookDiff | BestQuote) -> None:
        """Take a message into the own raw book and the view. Raises BookError; then the view shows what was taken."""
        try:
            if isinstance(message, BookSnapshot):
                self.raw.apply_snapshot(message)
            elif isinstance(message, BookDiff):
                self.raw.apply_diff_message(message)
            else:
                self.raw.apply_quote(message)
        except BaseException:
            self.refresh()
            raise
        self.follow(message)

    def follow(self, message: BookSnapshot | BookDiff | BestQuote) -> None:
        """Bring the view up to date after the raw book took a message in."""
        age = message.capture_seq
        if isinstance(message, BookDiff):
            _age_changes(self._bid_ages, message.bid_prices, message.bid_sizes, age)
            _age_changes(self._ask_ages, message.ask_prices, message.ask_sizes, age)
            # A stale book may be one that refused a part of the message.
            if self._is_same and not self.raw.is_crossed and not self.raw.is_stale:
                self.book.apply_diff_message(message)
                self._copy_state()
                return
        elif isinstance(message, BookSnapshot):
            self._bid_ages = _ages_of(self.raw.bids.kept_columns(), message.bid_prices, self._bid_ages, age)
            self._ask_ages = _ages_of(self.raw.asks.kept_columns(), message.ask_prices, self._ask_ages, age)
        else:
            if message.bid_price is not None:
                self._bid_ages[message.bid_price] = age
            if message.ask_price is not None:
                self._ask_ages[message.ask_price] = age
        self.refresh()

    def refresh(self) -> None:
        """Rebuild the view from the raw book."""
        self._is_same = not self.raw.is_crossed
        bids, asks = self.raw.bids.kept_columns(), self.raw.asks.kept_columns()
        if not self._is_same:
            bids, asks = self._uncrossed(bids, asks)
        self.book.bids.replace(bids)
        self.book.asks.replace(asks)
        self._copy_state()

    def mark_stale(self, cause: str) -> None:
        """Say that neither book can be believed until the next snapshot."""
        self.raw.mark_stale(cause)
        self._copy_state()

    def _copy_state(self) -> None:
        raw, book = self.raw, self.book
        book.is_stale, book.stale_cause = raw.is_stale, raw.stale_cause
        book.ts_event, book.ts_recv, book.update_id = raw.ts_event, raw.ts_recv, raw.update_id

    def _uncrossed(self, bids: KeptColumns, asks: KeptColumns) -> tuple[KeptColumns, KeptColumns]:
        bid_prices, bid_sizes, _ = bids
        ask_prices, ask_sizes, _ = asks
        i, j = 0, 0
        bid_left, ask_left = bid_sizes[0], ask_sizes[0]
        while i < len(bid_prices) and j < len(ask_prices) and bid_prices[i] >= ask_prices[j]:
            bid_age = self._bid_ages.get(bid_prices[i], _UNTOLD)
            ask_age = self._ask_ages.get(ask_prices[j], _UNTOLD)
            if bid_age < ask_age:
                bid_left = 0.0
            elif ask_age < bid_age:
                ask_left = 0.0
            else:
                bid_left, ask_left = _less(bid_left, ask_left), _less(ask_left, bid_left)
            if not bid_left:
                i += 1
                bid_left = bid_sizes[i] if i < len(bid_sizes) else 0.0
            if not ask_left:
                j += 1
                ask_left = ask_sizes[j] if j < len(ask_sizes) else 0.0
        return _from(bids, i, bid_left), _from(asks, j, ask_left)


def _age_changes(ages: dict[float, int], prices: Iterable[float], sizes: Iterable[float], age: int) -> None:
    for price, size in zip(prices, sizes, strict=True):
        if size:
            ages[price] = age
        else:
            ages.pop(price, None)


def _ages_of(columns: KeptColumns, told: Iterable[float], ages: dict[float, int], age: int) -> dict[float, int]:
    """Ages of the levels that are there, those reported among them renewed."""
    kept = {price: ages.get(price, _UNTOLD) for price in columns[0]}
    kept.update((price, age) for price in told if price in kept)
    return kept


def _less(size: float, other: float) -> float:
    """What is left of a size; exact in the digits that the venue sent, which repr gives back."""
    return float(max(Decimal(repr(size)) - Decimal(repr(other)), Decimal(0)))


def _from(columns: KeptColumns, start: int, first_size: float) -> KeptColumns:
    """The levels from one on, with the size that is left of it."""
    prices, sizes, counts = columns
    if start == len(prices):
        return (), (), ()
    # A size that was netted is no longer that of so many orders.
    first_count = (counts[start] if sizes[start] == first_size else None,) if counts else ()
    return prices[start:], (first_size, *sizes[start + 1 :]), first_count + counts[start + 1 :]


class UncrossedBooks:
    """
    Uncrossed views of every book of a tracker, from the moment on that this is made.

    Make it before the first message: of a level that came earlier it knows no age, and takes it for the oldest. A
    tracker that was restored from a checkpoint needs a new one.

        uncrossed = UncrossedBooks(source.tracker)
        ...
        uncrossed.book("BTC-USD").best_bid
    """

    def __init__(self, tracker: OrderBookTracker) -> None:
        self._tracker = tracker
        self._books: dict[tuple[str, str], UncrossedBook] = {}
        tracker.add_listener(self._listen)

    def book(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook:
        """
        The uncrossed view of a pair's book (live: it goes on changing).

        Raises SymbolError for a pair that no book message has spoken of, and for one of several venues if `venue`
        does not say which.
        """
        key = self._tracker.book(trading_pair, venue=venue).key
        view = self._books.get(key)
        if view is None:
            raise SymbolError(f"no message of the book of {key} since the views were made: make them before the first")
        return view.book

    def _listen(self, message: Message, raw: OrderBook | None) -> None:
        if raw is None:
            return
        key = (message.venue, message.trading_pair)
        view = self._books.get(key)
        if view is None:
            view = self._books[key] = UncrossedBook(raw=raw)
        if isinstance(message, BookSnapshot | BookDiff | BestQuote):
            view.follow(message)
        else:
            view.refresh()
