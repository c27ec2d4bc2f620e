"""
One book out of several forms of it.

A venue may send one book in several forms: the full depth now and then, a few levels often, the best quote on every
change. Each form alone is either shallow or late. The fused book is what all of them together say at the newest
venue time, by these rules:

1. Messages take effect in the order of the venue's time, `ts_event`; at equal times the deeper form first, then the
   shallower, then the quote; of one form, in order of arrival. A message without a time counts as newest.
2. The deepest form replaces the whole book. A shallower snapshot replaces everything from the best price to its own
   worst price, or the whole side if it holds fewer levels than its form can. A quote sets the best levels: what is
   better than them has been passed and is gone.
3. A message that arrives late, with an older time than what is already in the book, is put in its place: it takes
   effect, and then everything newer takes effect again. So a slower form never overwrites what a newer one said.
4. A message older than `WINDOW` newer ones is too late to be put in its place and is counted in `late_count`.
5. Messages with `fused` unset (aggregated prices, quotes of another book) take no part.
6. The book is stale while any form that takes part is: before the first snapshot, and from a gap until that form's
   next message. A snapshot also stands in for the quote, which may be silent for long without being lost.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

import msgspec

from toolkit.messages import FORM_QUOTE, BestQuote, BookDiff, BookSnapshot
from toolkit.orderbook import Columns, OrderBook, check_levels, quoted_level

__all__ = ["WINDOW", "BookFusion", "FusionState"]

#: How many of the newest messages are kept to be applied again after a late one. The full book of the slowest venue
#: known comes every 5 s and up to a second late, while quotes come every 45 ms: 22 would do.
WINDOW: Final = 256

FusedMessage = BookSnapshot | BestQuote
#: Place of a message: its time, ns (an integer: float64 blurs today's by 256 ns), and minus the depth of its form.
_Key = tuple[int, float]
_BEFORE_ALL: Final = (-(1 << 63), -inf)


class FusionState(msgspec.Struct):
    """A fused book and what it needs to go on, for a checkpoint."""

    bids: Columns
    asks: Columns
    ts_event: int | None
    ts_recv: int
    update_id: int | None
    is_stale: bool
    stale_cause: str
    deepest: float
    newest_key: _Key
    recent: list[tuple[_Key, float, BookSnapshot | BestQuote]]
    stale_forms: list[tuple[str, str]]
    late_count: int


class BookFusion:
    """
    The fused book of one pair.

    Args:
        trading_pair: Of the book.
        checked: Whether every message was checked already, by the protocol that made it or by the reader of a
            recording; then snapshots are not checked again.

    Attributes:
        book: The result, updated in place.
        late_count: Messages that came too late to be put in their place.
    """

    __slots__ = ("_checked", "_deepest", "_newest_key", "_recent", "_stale_forms", "book", "late_count")

    def __init__(self, trading_pair: str, *, checked: bool = False) -> None:
        self._checked = checked
        self.book = OrderBook(trading_pair)
        self.late_count = 0
        self._deepest = 0.0
        self._newest_key: _Key = _BEFORE_ALL
        self._recent: deque[tuple[_Key, float, FusedMessage]] = deque(maxlen=WINDOW)
        self._stale_forms: dict[str, str] = {}

    def apply(self, message: BookSnapshot | BookDiff | BestQuote) -> None:
        """Take a message in. Raises BookError, and leaves the book as it was, for a quote or snapshot that is no book."""
        if not message.fused:
            return
        if isinstance(message, BookDiff):
            # A venue with diffs has one exact form: there is nothing to fuse it with, and order of arrival is its order.
            self.book.apply_diff_message(message, checked=self._checked)
            return
        if not self._checked:
            _check(message)
        if isinstance(message, BookSnapshot):
            cap = inf if message.depth_cap is None else float(message.depth_cap)
            if cap > self._deepest:
                self._deepest = cap
        else:
            cap = 0.0
        newest = self._newest_key
        key = newest if message.ts_event is None else (message.ts_event, -cap)
        if key >= newest:
            self._take(message, cap)
            self._newest_key = key
            self._recent.append((key, cap, message))
        else:
            self._take_late(key, message, cap)
        self._refresh_staleness(message)

    def mark_stale(self, form: str, cause: str) -> None:
        """A form of the book was lost."""
        self._stale_forms[form] = cause
        self.book.mark_stale(cause)

    def forget(self) -> None:
        """Become as new; the book stays the same object."""
        self.restore(BookFusion("").export())

    def export(self) -> FusionState:
        """Everything later books depend on, for a checkpoint."""
        book = self.book
        return FusionState(
            book.bids.columns(),
            book.asks.columns(),
            book.ts_event,
            book.ts_recv,
            book.update_id,
            book.is_stale,
            book.stale_cause,
            self._deepest,
            self._newest_key,
            list(self._recent),
            list(self._stale_forms.items()),
            self.late_count,
        )

    def restore(self, state: FusionState) -> None:
        """Become what `export` described."""
        book = self.book
        book.bids.replace(state.bids)
        book.asks.replace(state.asks)
        book.ts_event = state.ts_event
        book.ts_recv = state.ts_recv
        book.update_id = state.update_id
        book.is_stale = state.is_stale
        book.stale_cause = state.stale_cause
        self._deepest = state.deepest
        self._newest_key = state.newest_key
        self._recent = deque(state.recent, maxlen=WINDOW)
        self._stale_forms = dict(state.stale_forms)
        self.late_count = state.late_count

    def _take(self, message: FusedMessage, cap: float) -> None:
        book = self.book
        if isinstance(message, BestQuote):
            book.apply_quote(message)
        elif cap >= self._deepest:
            book.bids.replace((message.bid_prices, message.bid_sizes, message.bid_counts), checked=True)
            book.asks.replace((message.ask_prices, message.ask_sizes, message.ask_counts), checked=True)
            book.stamp(message.ts_event, message.ts_recv, message.last_update_id)
        else:
            bids = (message.bid_prices, message.bid_sizes, message.bid_counts)
            asks = (message.ask_prices, message.ask_sizes, message.ask_counts)
            book.bids.overlay(bids, complete=len(message.bid_prices) < cap)
            book.asks.overlay(asks, complete=len(message.ask_prices) < cap)
            book.stamp(message.ts_event, message.ts_recv, message.last_update_id)

    def _take_late(self, key: _Key, message: FusedMessage, cap: float) -> None:
        recent = self._recent
        if len(recent) == WINDOW and key < recent[0][0]:
            self.late_count += 1
            return
        newer = [entry for entry in recent if entry[0] > key]
        older = [entry for entry in recent if entry[0] <= key]
        ts_event, ts_recv = self.book.ts_event, message.ts_recv
        self._take(message, cap)
        for _, again_cap, again in newer:
            self._take(again, again_cap)
        self.book.ts_event = ts_event
        self.book.ts_recv = ts_recv
        self._recent = deque([*older, (key, cap, message), *newer], maxlen=WINDOW)

    def _refresh_staleness(self, message: FusedMessage) -> None:
        book = self.book
        if not book.is_stale:
            return
        stale = self._stale_forms
        stale.pop(FORM_QUOTE, None)
        if isinstance(message, BookSnapshot):
            stale.pop(message.form, None)
        if stale:
            book.stale_cause = next(iter(stale.values()))
        elif self._deepest:
            book.is_stale = False
            book.stale_cause = ""


def _check(message: FusedMessage) -> None:
    if isinstance(message, BestQuote):
        check_levels(quoted_level(message.bid_price, message.bid_size, message.bid_count), is_bid=True)
        check_levels(quoted_level(message.ask_price, message.ask_size, message.ask_count), is_bid=False)
    else:
        check_levels((message.bid_prices, message.bid_sizes, message.bid_counts), is_bid=True)
        check_levels((message.ask_prices, message.ask_sizes, message.ask_counts), is_bid=False)
