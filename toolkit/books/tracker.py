"""
Keeps the order books of many pairs from one stream of messages.

It is the same object for a live source, a replay and the sealing of a recording, so all three see the same books.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from toolkit.books.book_fusion import BookFusion, FusionState
from toolkit.books.orderbook import KeptColumns, OrderBook
from toolkit.borders import Shown
from toolkit.errors import BookError, SymbolError
from toolkit.keys import PairKey, PairName, ambiguous, named, split
from toolkit.messages import (
    BETWEEN_RECORDINGS,
    FORM_FULL,
    BestQuote,
    BookDiff,
    BookSnapshot,
    EventKind,
    FundingInfo,
    FundingKind,
    Instrument,
    Message,
    StreamEvent,
    Trade,
)

__all__ = ["BookListener", "OrderBookTracker", "PairState", "TrackerState", "empty_pair"]

_Key = tuple[str, str]  # venue and trading pair
T = TypeVar("T")

#: Called with each message after the books took it in, and the fused book it changed (None if it changed none).
BookListener = Callable[[Message, OrderBook | None], None]

#: Pairs that a line about a tracker names.
_SHOWN_MAX: Final = 5
_BOOK_MESSAGES: Final = (BookSnapshot, BestQuote, BookDiff)
#: What a `FundingInfo` may leave unsaid.
_FUNDING_FIELDS: Final = (
    "funding_rate",
    "funding_interval_s",
    "next_funding_ts",
    "mark_price",
    "index_price",
    "mid_price",
    "premium",
    "impact_bid_price",
    "impact_ask_price",
    "open_interest",
    "prev_day_price",
    "day_volume_base",
    "day_volume_quote",
    "circulating_supply",
)


class _PairBooks(BookFusion):
    """The fused book of one pair, those of forms that are kept by diffs, and why what a form said last no longer holds."""

    __slots__ = ("diff_books", "lost")

    def __init__(self, key: _Key, checked: bool) -> None:
        super().__init__(key[1], venue=key[0], checked=checked)
        self.diff_books: dict[str, OrderBook] = {}
        #: None while there is nothing in it.
        self.lost: dict[str, str] | None = None

    def is_lost(self, form: str) -> bool:
        """Whether what a form said last no longer holds."""
        return self.lost is not None and form in self.lost

    def find(self, form: str) -> None:
        """What a form says holds again."""
        if self.lost is not None:
            self.lost.pop(form, None)
            self.lost = self.lost or None

    def lose(self, form: str, cause: str) -> None:
        """What a form said last no longer holds."""
        self.lost = {**(self.lost or {}), form: cause}


class PairState(msgspec.Struct):
    """
    All books of one pair, for a checkpoint; of those kept by diffs the levels, number and staleness.

    `fused_diffs` names the forms with diffs that are the fused book itself, `lost` why forms no longer hold.
    """

    venue: str
    trading_pair: str
    fusion: FusionState
    latest: dict[str, BookSnapshot | BestQuote]
    diff_books: dict[str, tuple[KeptColumns, KeptColumns, int | None, bool, str]]
    fused_diffs: list[str]
    lost: dict[str, str]


def _books_of(keys: Sequence[PairKey]) -> str:
    """How many books there are, and the pairs of the first of them."""
    if not keys:
        return "of no book yet"
    more = f", and {len(keys) - _SHOWN_MAX} more" if len(keys) > _SHOWN_MAX else ""
    return f"of {len(keys)} book{'s' * (len(keys) > 1)}: {', '.join(map(str, keys[:_SHOWN_MAX]))}{more}"


def empty_pair(venue: str, trading_pair: str) -> PairState:
    """What is known of a pair that was seen, and forgotten."""
    return PairState(venue, trading_pair, BookFusion(trading_pair).export(), {}, {}, [], {})


class TrackerState(msgspec.Struct):
    """All books, for a checkpoint."""

    pairs: list[PairState]
    funding: list[FundingInfo]
    instruments: list[Instrument]


class OrderBookTracker(Shown):
    """
    Order books of every pair that messages speak of, of however many venues.

    A pair is given by its key (`message.key`, or a `PairKey`), or by its name, with the venue beside it where several have
    a pair of that name.

    Args:
        checked: Whether messages come from a protocol or a recording, which have checked their levels already.

    Attributes:
        crossed_count: Messages after which a fused book was crossed, by venue and pair.
        refused_count: Book messages that no book could take (NaN, negative, unordered), by venue and pair.
        last_refusal: Reason of the last of them.
    """

    def __init__(self, *, checked: bool = False) -> None:
        self._checked = checked
        self._pairs: dict[_Key, _PairBooks] = {}
        #: The same by venue, then by pair: looking one up makes no key.
        self._by_venue: dict[str, dict[str, _PairBooks]] = {}
        self._funding: dict[_Key, FundingInfo] = {}
        self._instruments: dict[_Key, Instrument] = {}
        self._listeners: list[BookListener] = []
        #: Which venues have a pair of a name, and what was announced of that before it was received.
        self._venues: dict[str, set[str]] = {}
        self._announced: set[_Key] = set()
        self.crossed_count: dict[PairKey, int] = {}
        self.refused_count: dict[PairKey, int] = {}
        self.last_refusal = ""

    def _shown(self) -> str:
        return _books_of(self.keys)

    def announce(self, keys: Iterable[_Key]) -> None:
        """
        Say which venues and pairs messages will speak of: a name of several is then ambiguous from the first message on.

        Without it a name stands for the one venue that has it until the second one speaks.
        """
        for key in keys:
            self._announced.add(key)
            self._hear(key)

    def _hear(self, key: _Key) -> None:
        self._venues.setdefault(key[1], set()).add(key[0])

    def add_listener(self, listener: BookListener) -> None:
        """Call `listener(message, book)` after each message, in the order listeners were added."""
        self._listeners.append(listener)

    def __call__(self, message: Message) -> None:
        """Take a message in; this is the callback to give to a data source."""
        book = self.apply(message)
        for listener in self._listeners:
            listener(message, book)

    def apply(self, message: Message) -> OrderBook | None:
        """Take a message in and return the fused book it changed, or None."""
        if type(message) is Trade:
            return None
        if isinstance(message, BestQuote) and not message.fused:
            self._keep_quote(message)
            return None
        if isinstance(message, _BOOK_MESSAGES):
            return self._apply_book(message)
        if isinstance(message, StreamEvent):
            return self._apply_event(message)
        if isinstance(message, FundingInfo):
            self._apply_funding(message)
        elif isinstance(message, Instrument):
            key = (message.venue, message.trading_pair)
            self._instruments[key] = message
            self._hear(key)
        return None

    @property
    def trading_pairs(self) -> list[str]:
        """The pair of each book, in alphabetical order; of two venues with a pair of one name it is there twice."""
        return sorted(pair for _, pair in self._pairs)

    @property
    def keys(self) -> list[PairKey]:
        """Venue and pair of each book, sorted."""
        return [PairKey(*key) for key in sorted(self._pairs)]

    def book(self, trading_pair: PairName, form: str | None = None, *, venue: str | None = None) -> OrderBook:
        """
        The fused book of a pair (live: it goes on changing), or what one form alone last said (a copy).

        Raises SymbolError for a pair or a form that no message has spoken of, and for a pair of several venues if
        `venue` does not say which.
        """
        books = self._of(self._pairs, trading_pair, venue)
        if books is None:
            known = ", ".join(named(self._pairs)) or "none yet"
            raise SymbolError(f"no book of {_said(trading_pair, venue)}; pairs received: {known}")
        if form is None:
            return books.book
        if form in books.diff_books:
            return books.diff_books[form]
        latest = books.latest.get(form)
        if latest is None:
            known = ", ".join([*books.latest, *books.diff_books]) or "none yet"
            raise SymbolError(f"no form {form!r} of {books.book.trading_pair}; forms received: {known}")
        book = OrderBook(latest.trading_pair, latest.venue)
        if isinstance(latest, BookSnapshot):
            book.apply_snapshot(latest)
        else:
            book.apply_quote(latest)
            book.is_stale = False
            book.stale_cause = ""
        if books.lost is not None and form in books.lost:
            book.mark_stale(books.lost[form])
        return book

    def funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo | None:
        """The newest funding, mark and index price received of a pair."""
        return self._of(self._funding, trading_pair, venue)

    def instrument(self, trading_pair: PairName, *, venue: str | None = None) -> Instrument | None:
        """The newest metadata received of a pair."""
        return self._of(self._instruments, trading_pair, venue)

    def _of(self, table: dict[_Key, T], trading_pair: PairName, venue: str | None) -> T | None:
        own, pair = split(trading_pair, venue)
        if own is None:
            venues = self._venues.get(pair, ())
            if len(venues) > 1:
                raise ambiguous(pair, venues)
            own = next(iter(venues), "")
        return table.get((own, pair))

    def fused_forms(self, trading_pair: str, venue: str) -> list[str]:
        """The forms of a pair that the fused book was made of so far, in the order they first appeared."""
        books = self._pairs.get((venue, trading_pair))
        if books is None:
            return []
        forms = [form for form, message in books.latest.items() if message.fused]
        forms += [form for form, book in books.diff_books.items() if book is books.book]
        return list(dict.fromkeys(forms))

    def forms(self, key: _Key) -> Collection[str]:
        """The forms of a pair that whole messages have come of, those too that are no part of the fused book."""
        books = self._pairs.get(key)
        return () if books is None else books.latest.keys()

    def book_of_diffs(self, venue: str, trading_pair: str, form: str) -> OrderBook | None:
        """The fused book of a pair, if it is kept by the diffs of that form and by nothing else that is lost."""
        books = self._pairs.get((venue, trading_pair))
        if books is None or books.is_lost(form) or books.diff_books.get(form) is not books.book:
            return None
        return books.book

    def fusion_of(self, venue: str, trading_pair: str) -> BookFusion | None:
        """What keeps the book of a pair, if no form of it comes as diffs and none is lost."""
        books = self._pairs.get((venue, trading_pair))
        return None if books is None or books.diff_books or books.lost is not None else books

    def book_apart(self, venue: str, trading_pair: str, form: str) -> OrderBook | None:
        """The book that the diffs of a form make which takes no part in the fused one, if there is one."""
        books = self._pairs.get((venue, trading_pair))
        book = None if books is None else books.diff_books.get(form)
        return None if books is None or book is books.book else book

    def add_crossed(self, key: PairKey, count: int) -> None:
        """Count messages, taken in by somebody else, after which a book was crossed."""
        self.crossed_count[key] = self.crossed_count.get(key, 0) + count

    def clear(self) -> None:
        """Forget every book, funding and count; listeners stay. Books handed out before stay as they are."""
        self._pairs = {}
        self._by_venue = {}
        self._funding = {}
        self._instruments = {}
        self._venues = {}
        self.announce(self._announced)
        self.crossed_count = {}
        self.refused_count = {}
        self.last_refusal = ""

    def export(self) -> TrackerState:
        """Everything later books depend on, for a checkpoint."""
        pairs = [
            PairState(
                *key,
                books.export(),
                books.latest,
                {
                    form: (*_kept(book), book.update_id, book.is_stale, book.stale_cause)
                    for form, book in books.diff_books.items()
                    if book is not books.book
                },
                [form for form, book in books.diff_books.items() if book is books.book],
                books.lost or {},
            )
            for key, books in self._pairs.items()
        ]
        return TrackerState(pairs, list(self._funding.values()), list(self._instruments.values()))

    def restore(self, state: TrackerState) -> None:
        """Become what `export` described."""
        self._funding = {(info.venue, info.trading_pair): info for info in state.funding}
        self._instruments = {(info.venue, info.trading_pair): info for info in state.instruments}
        for key in (*self._funding, *self._instruments):
            self._hear(key)
        for pair_state in state.pairs:
            pair = pair_state.trading_pair
            books = self._books((pair_state.venue, pair))
            books.restore(pair_state.fusion, pair_state.latest)
            books.lost = dict(pair_state.lost) or None
            for form, (bids, asks, update_id, is_stale, cause) in pair_state.diff_books.items():
                book = books.diff_books[form] = OrderBook(pair, pair_state.venue)
                book.bids.replace(bids)
                book.asks.replace(asks)
                book.update_id, book.is_stale, book.stale_cause = update_id, is_stale, cause
            for form in pair_state.fused_diffs:
                books.diff_books[form] = books.book

    def _books(self, key: _Key) -> _PairBooks:
        books = self._pairs.get(key)
        if books is None:
            self._hear(key)
            books = self._pairs[key] = _PairBooks(key, self._checked)
            self._by_venue.setdefault(key[0], {})[key[1]] = books
        return books

    def _forget(self, key: _Key) -> OrderBook | None:
        """What one recording said ends with a hole before the next: everything begins again, in the same book object."""
        self._funding.pop(key, None)
        self._instruments.pop(key, None)
        books = self._pairs.get(key)
        if books is None:
            return None
        books.forget()
        books.diff_books.clear()
        books.lost = None
        return books.book

    def _keep_quote(self, message: BestQuote) -> None:
        """Of a quote that takes no part in the book, all that there is to do; on some venues most messages are such."""
        try:
            books = self._by_venue[message.venue][message.trading_pair]
        except KeyError:
            books = self._books((message.venue, message.trading_pair))
        books.keep_apart(message)
        if books.lost is not None:
            books.find(message.form)

    def _apply_book(self, message: BookSnapshot | BestQuote | BookDiff) -> OrderBook | None:
        venue, pair = message.venue, message.trading_pair
        of_venue = self._by_venue.get(venue)
        books = None if of_venue is None else of_venue.get(pair)
        if books is None:
            books = self._books((venue, pair))
        try:
            if message.fused:
                books.apply(message)
            if isinstance(message, BookDiff):
                self._apply_diff_alone(books, message)
            else:
                if not message.fused:
                    books.keep_apart(message)
                    if message.form in books.diff_books and isinstance(message, BookSnapshot):
                        books.diff_books[message.form].apply_snapshot(message)
                if books.lost is not None:
                    books.find(message.form)
        except BookError as exc:
            self.refused_count[message.key] = self.refused_count.get(message.key, 0) + 1
            self.last_refusal = f"{pair} on {venue} {message.form} at frame {message.capture_seq}: {exc}"
            books.mark_stale(message.form, "refused update")
            return books.book
        if not message.fused:
            return None
        if books.is_crossed():
            self.add_crossed(message.key, 1)
        return books.book

    def _apply_diff_alone(self, books: _PairBooks, message: BookDiff) -> None:
        if message.fused:
            # The fused book of a form with diffs is that form.
            books.diff_books.setdefault(message.form, books.book)
            return
        alone = books.diff_books.get(message.form)
        if alone is None:
            alone = books.diff_books[message.form] = OrderBook(message.trading_pair, message.venue)
            snapshot = books.latest.get(message.form)
            if isinstance(snapshot, BookSnapshot):
                alone.apply_snapshot(snapshot)
        alone.apply_diff_message(message, checked=self._checked)

    def _apply_funding(self, message: FundingInfo) -> None:
        """
        What is current is what was said last of each field: a poll of open interest says nothing of the rate.

        A rate that was charged says nothing of the present: it must not hide the mark price, and is kept only as long
        as nothing else is known.
        """
        key = (message.venue, message.trading_pair)
        before = self._funding.get(key)
        if before is None or before.kind is not FundingKind.CURRENT:
            self._hear(key)
            self._funding[key] = message
        elif message.kind is FundingKind.CURRENT:
            said = {name: value for name in _FUNDING_FIELDS if (value := getattr(before, name)) is not None}
            unsaid = {name: value for name, value in said.items() if getattr(message, name) is None}
            self._funding[key] = msgspec.structs.replace(message, **unsaid) if unsaid else message

    def _apply_event(self, event: StreamEvent) -> OrderBook | None:
        if event.kind is not EventKind.STALE or not event.symbol:
            if event.kind is EventKind.GAP and event.cause == BETWEEN_RECORDINGS:
                return self._forget((event.venue, event.trading_pair))
            return None
        key = (event.venue, event.trading_pair)
        if event.stream == FORM_FULL:
            self._books(key)  # a pair whose book is stated to be stale has one, if an empty one
        books = self._pairs.get(key)
        if books is None:
            return None
        latest, alone = books.latest.get(event.stream), books.diff_books.get(event.stream)
        if latest is not None or alone is not None:
            books.lose(event.stream, event.cause)
            if alone is not None and alone is not books.book:
                alone.mark_stale(event.cause)
        if latest is not None:
            is_part = latest.fused
        else:
            # A stream that no book message came from is none of the book's, save the one a book begins with.
            is_part = alone is books.book or event.stream == FORM_FULL
        if not is_part:
            return None
        books.mark_stale(event.stream, event.cause)
        return books.book


def _kept(book: OrderBook) -> tuple[KeptColumns, KeptColumns]:
    return book.bids.kept_columns(), book.asks.kept_columns()


def _said(trading_pair: PairName, venue: str | None) -> str:
    """For errors: what was asked for."""
    own, pair = split(trading_pair, venue)
    return repr(pair) if own is None else f"{pair!r} on {own}"
