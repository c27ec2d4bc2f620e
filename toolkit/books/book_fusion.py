"""
One book out of several forms of it.

A venue may send one book in several forms: the full depth now and then, a few levels often, the best quote on every
change. Each form alone is either shallow or late. The fused book is what all of them together say at the newest
venue time, by these rules:

1. Messages of different forms take effect in the order of the venue's time, `ts_event`; at equal times the deeper form
   first, then the shallower, then the quote. A message without a time counts as newest.
2. The deepest form replaces the whole book. A shallower snapshot replaces everything from the best price to its own
   worst price, or the whole side if it holds fewer levels than its form can. A quote sets the best levels: what is
   better than them has been passed and is gone.
3. A message that arrives late, with an older time than what is already in the book, is put in its place: it takes
   effect, and then everything newer takes effect again. So a slower form never overwrites what a newer one said.
4. To be applied again, a message is kept for as long as there is a price that it settles and no newer one does, and while
   anything that late would be put in its place (`LATE_NS_MAX`); of those, `KEPT_MAX` are kept from every `ROUND`
   messages to the next. What is older than one that was given up so is too late to be put in its place, and is counted
   in `late_count`.
5. Messages of one form take effect in the order of receipt, since a connection keeps it. So a form whose time goes
   back says that the venue's clock was set, or that a stamp before was wrong: the message is the newest, and times are
   compared again from it on. The same where a message is older than the newest by more than `LATE_NS_MAX`: no
   connection that lives is so far behind. (REST answers come on no connection, and may overtake each other.)
6. A stamp that leaps ahead of everything by more than `LEAP_NS_MAX` is doubted. If the next message is not near it, it
   was wrong, and its message counts as received when it was.
7. Messages with `fused` unset (aggregated prices, quotes of another book) take no part.
8. The book is stale while any form that takes part is: before the first snapshot, and from a gap until that form's
   next message. A snapshot also stands in for the quote, which may be silent for long without being lost.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from math import inf
from types import MappingProxyType
from typing import Final

import msgspec

from toolkit.books.orderbook import KeptColumns, OrderBook, check_levels, check_quote
from toolkit.clock import NS_PER_S
from toolkit.messages import FORM_QUOTE, FORM_REST, SIDE_NOT_TOLD, BestQuote, BookDiff, BookSnapshot

__all__ = ["KEPT_MAX", "LATE_NS_MAX", "LEAP_NS_MAX", "ROUND", "BookFusion", "FusionState"]

#: Of a market that moves some ten messages are kept; these many only of a price that runs one way for half a minute.
KEPT_MAX: Final = 256
#: After so many messages it is looked whether more are kept.
ROUND: Final = 2_048
#: Messages that may be kept before those that nothing can come of are looked for: few, since those of a thousand pairs
#: are in no cache any more when they are freed.
_UNTIDY_MIN: Final = 24
#: A message may be older than the newest by this much, ns: a connection silent for so long was given up before.
LATE_NS_MAX: Final = 30 * NS_PER_S
#: The forms of one book arrive within a second of each other, so the next message is this near to a stamp that is true.
LEAP_NS_MAX: Final = 2 * NS_PER_S

FusedMessage = BookSnapshot | BestQuote
#: By the most levels of a form its depth, and minus that: what all messages share need not be fetched from far away.
_DEPTHS: Final[dict[int | None, tuple[float, float]]] = {None: (inf, -inf)}
_DEPTHS_MAX: Final = 256
#: Place of a message: its time, ns (an integer: float64 blurs today's by 256 ns), and minus the depth of its form.
_Key = tuple[int, float]
_BEFORE_ALL: Final = (-(1 << 63), -inf)
_NOTHING: Final[Mapping[str, FusedMessage]] = MappingProxyType({})
#: A message that may be applied again: its time and the depth that its place goes by, the most levels of its form, the
#: message, and what it settles (`_reach`).
_Entry = tuple[int, float, float, FusedMessage, float, float]


class FusionState(msgspec.Struct):
    """
    A fused book and what it needs to go on, for a checkpoint.

    However a book came to be, what is kept of it is the same. Earlier versions kept the newest 256 messages in `recent`.
    """

    bids: KeptColumns
    asks: KeptColumns
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
    form_times: dict[str, int] = {}
    sure_key: _Key | None = None
    count: int = 0
    given_up_key: _Key = _BEFORE_ALL


class BookFusion:
    """
    The fused book of one pair.

    Args:
        trading_pair: Trading pair of the book.
        venue: Venue of the book.
        checked: Whether every message was checked already, by the protocol that made it or by the reader of a
            recording; then snapshots are not checked again.

    Attributes:
        book: The result, updated in place, when it is read: of the messages that came since it was read last, those that
            newer ones have made void are never taken in.
        is_ahead: Whether there are messages that the book has not taken in yet.
        latest: The newest message of each form.
        late_count: Messages that came too late to be put in their place.
    """

    __slots__ = (
        "_checked",
        "_count",
        "_deepest",
        "_given_up_key",
        "_has_numbers",
        "_late_recv_ns",
        "_newest_depth",
        "_newest_ts",
        "_odd_times",
        "_recent",
        "_settled",
        "_stale_forms",
        "_sure_key",
        "_untidy_at",
        "book",
        "is_ahead",
        "late_count",
        "latest",
    )

    def __init__(self, trading_pair: str, *, venue: str = "", checked: bool = False) -> None:
        self._checked = checked
        self.book = OrderBook(trading_pair, venue, self)
        self.is_ahead = False
        self.late_count = 0
        self.latest: dict[str, FusedMessage] = {}
        self._deepest = 0.0
        # What every message changes stands here itself, and not in a tuple or a dict: of a thousand books each object
        # that is looked at has to be fetched from far away.
        self._newest_ts, self._newest_depth = _BEFORE_ALL
        #: In the order of their keys: those that may be applied again, and some more.
        self._recent: list[_Entry] = []
        #: While it is ahead: how many of these the book has taken in.
        self._settled = 0
        #: While it is ahead: when the newest message was received, if that is late and not the last of these.
        self._late_recv_ns: int | None = None
        #: Whether any message had a sequence number.
        self._has_numbers = False
        self._untidy_at = _UNTIDY_MIN
        #: Messages so far, in this round.
        self._count = 0
        #: The newest that is not kept though something may come of it.
        self._given_up_key: _Key = _BEFORE_ALL
        self._stale_forms: dict[str, str] = {}
        #: The newest time of each form, where it is not that of its newest message; None where there is none.
        self._odd_times: dict[str, int | None] = {}
        #: While the newest message's time is doubted, the newest one before it.
        self._sure_key: _Key | None = None

    def apply(self, message: BookSnapshot | BookDiff | BestQuote) -> None:
        """Take a message in. Raises BookError, and leaves the book as it was, for a quote or snapshot that is no book."""
        if not message.fused:
            return
        # 1. A venue with diffs has one exact form: there is nothing to fuse it with, and order of arrival is its order.
        if isinstance(message, BookDiff):
            self.settle()
            self.book.apply_diff_message(message, checked=self._checked)
            return
        if not self._checked:
            _check(message)
        # 2. How deep it speaks, and whether the venue numbers its updates.
        if isinstance(message, BookSnapshot):
            cap, depth = _DEPTHS.get(message.depth_cap) or _depths_of(message.depth_cap)
            number = message.last_update_id
            if cap > self._deepest:
                self.settle()
                self._deepest = cap
        else:
            cap, depth, number = 0.0, -0.0, message.update_id
        form, ts = message.form, message.ts_event
        if number is not None:
            self._has_numbers = True
        elif self._has_numbers:
            self.settle()  # the number of the message before stays, and has to be noted
        # 3. When it is of: by its own time, if that can be believed.
        if ts is None:
            self.settle()  # and so does its time
            self._odd_times[form] = self._time_of(form)
            ts, depth = self._newest_ts, self._newest_depth
        else:
            last = self._time_of(form)
            if (
                last is None
                or last > ts
                or self._sure_key is not None
                or not -LATE_NS_MAX <= ts - self._newest_ts <= LEAP_NS_MAX
            ):
                self._weigh(form, ts, last)
            if self._odd_times:
                self._odd_times.pop(form, None)
        # 4. The newest changes the book; a late one is put in its place, and what is newer takes effect again.
        self.latest[form] = message
        newest = self._newest_ts
        if ts > newest or (ts == newest and depth >= self._newest_depth):
            self._take_newest(ts, depth, message, cap)
        else:
            self._take_late(ts, depth, message, cap)
        # 5. Messages that can have no effect any more are dropped now and then.
        self._count += 1
        if len(self._recent) >= self._untidy_at or self._count >= ROUND:
            self._tidy()
        if self.book.is_stale:
            self._refresh_staleness(message)

    def keep_apart(self, message: FusedMessage) -> None:
        """Keep a message that takes no part in the book as the newest of its form."""
        form = message.form
        if form not in self._odd_times:
            self._odd_times[form] = self._time_of(form)
        self.latest[form] = message

    def _time_of(self, form: str) -> int | None:
        """The newest time of a form, among the messages that take part."""
        if self._odd_times and form in self._odd_times:
            return self._odd_times[form]
        message = self.latest.get(form)
        return None if message is None else message.ts_event

    def settle(self) -> None:
        """Bring the book up to date."""
        if self.is_ahead:
            self.is_ahead = False
            for _, _, cap, message, _, _ in self._recent[self._settled :]:
                self._take(message, cap)
            if self._late_recv_ns is not None:
                self.book.ts_recv = self._late_recv_ns

    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        if self.is_ahead:
            message = self._recent[-1][3]
            if not isinstance(message, BestQuote):
                bids, asks = message.bid_sizes, message.ask_sizes
                if bids and asks and bids[0] and asks[0]:
                    return message.bid_prices[0] >= message.ask_prices[0]
            elif message.bid_size and message.ask_size:
                bid_price, ask_price = message.bid_price, message.ask_price
                is_told = message.bid_count != SIDE_NOT_TOLD and message.ask_count != SIDE_NOT_TOLD
                if is_told and bid_price is not None and ask_price is not None:
                    return bid_price >= ask_price
            bid, ask = self.newest_best(is_bid=True), self.newest_best(is_bid=False)
            if bid is not None and ask is not None:
                return bid[0] >= ask[0]
        return self.book.is_crossed

    def newest_best(self, *, is_bid: bool) -> tuple[float, float, int | None] | None:
        """While it is ahead: the best level of a side, where the newest message alone says which that is."""
        message = self._recent[-1][3]
        if isinstance(message, BestQuote):
            if is_bid:
                price, size, count = message.bid_price, message.bid_size, message.bid_count
            else:
                price, size, count = message.ask_price, message.ask_size, message.ask_count
            # A size of 0 is of no level, and of a side that is not reported the level is another message's.
            return (price, size, count) if price is not None and size and count != SIDE_NOT_TOLD else None
        if is_bid:
            prices, sizes, counts = message.bid_prices, message.bid_sizes, message.bid_counts
        else:
            prices, sizes, counts = message.ask_prices, message.ask_sizes, message.ask_counts
        return (prices[0], sizes[0], counts[0] if counts else None) if sizes and sizes[0] else None

    def mark_stale(self, form: str, cause: str) -> None:
        """A form of the book was lost."""
        self._stale_forms[form] = cause
        self.book.mark_stale(cause)

    def forget(self) -> None:
        """Become as new; the book stays the same object."""
        self.restore(BookFusion("").export())

    def export(self) -> FusionState:
        """Everything later books depend on, for a checkpoint."""
        self._tidy()
        book = self.book
        return FusionState(
            book.bids.kept_columns(),
            book.asks.kept_columns(),
            book.ts_event,
            book.ts_recv,
            book.update_id,
            book.is_stale,
            book.stale_cause,
            self._deepest,
            (self._newest_ts, self._newest_depth),
            [((ts, depth), cap, message) for ts, depth, cap, message, _, _ in self._recent],
            list(self._stale_forms.items()),
            self.late_count,
            self._form_times(),
            self._sure_key,
            self._count,
            self._given_up_key,
        )

    def restore(self, state: FusionState, latest: Mapping[str, FusedMessage] = _NOTHING) -> None:
        """Become what `export` described; `latest` are the newest messages of each form."""
        self.is_ahead = False
        self._has_numbers = state.update_id is not None
        book = self.book
        book.bids.replace(state.bids)
        book.asks.replace(state.asks)
        book.ts_event = state.ts_event
        book.ts_recv = state.ts_recv
        book.update_id = state.update_id
        book.is_stale = state.is_stale
        book.stale_cause = state.stale_cause
        self._deepest = state.deepest
        self._newest_ts, self._newest_depth = state.newest_key
        self._recent = [(*key, cap, message, *_reach(message, cap)) for key, cap, message in state.recent]
        self._untidy_at = max(_UNTIDY_MIN, 2 * len(self._recent))
        self._count = state.count
        self._given_up_key = state.given_up_key
        self._stale_forms = dict(state.stale_forms)
        self.late_count = state.late_count
        self.latest = dict(latest)
        self._odd_times = {
            form: state.form_times.get(form)
            for form in (*self.latest, *state.form_times)
            if form not in self.latest or self.latest[form].ts_event != state.form_times.get(form)
        }
        self._sure_key = state.sure_key

    def _form_times(self) -> dict[str, int]:
        times = {form: self._time_of(form) for form in (*self.latest, *self._odd_times)}
        return {form: ts for form, ts in times.items() if ts is not None}

    def _weigh(self, form: str, ts: int, last: int | None) -> None:
        """Look at a message's time before it is used: rules 5 and 6. `last` is the time of its form before."""
        if self._sure_key is not None:
            if ts < self._newest_ts - LEAP_NS_MAX:
                self._disbelieve_newest(self._sure_key)
                last = self._time_of(form)
            self._sure_key = None
        newest = self._newest_ts
        if (last is not None and ts < last and form != FORM_REST) or newest - ts > LATE_NS_MAX:
            # What was received before is older, whatever its stamps say, and it has taken effect.
            self.settle()
            self._recent.clear()
            self._newest_ts, self._newest_depth = self._given_up_key = _BEFORE_ALL
            newest = _BEFORE_ALL[0]
        if ts - newest > LEAP_NS_MAX and (last is None or ts - last > LEAP_NS_MAX or ts < last):
            self._sure_key = (self._newest_ts, self._newest_depth)

    def _disbelieve_newest(self, sure_key: _Key) -> None:
        if self._recent:
            _, _, cap, message, low, high = self._recent[-1]
            self._recent[-1] = (*sure_key, cap, message, low, high)
            self._odd_times[message.form] = sure_key[0]
        self._newest_ts, self._newest_depth = sure_key

    def _take(self, message: FusedMessage, cap: float) -> None:
        book = self.book
        if isinstance(message, BestQuote):
            book.apply_quote(message, checked=True)
        elif cap >= self._deepest:
            book.bids.replace((message.bid_prices, message.bid_sizes, message.bid_counts), checked=True)
            book.asks.replace((message.ask_prices, message.ask_sizes, message.ask_counts), checked=True)
            book.stamp(message.ts_event, message.ts_recv, message.last_update_id)
        else:
            bids = (message.bid_prices, message.bid_sizes, message.bid_counts)
            asks = (message.ask_prices, message.ask_sizes, message.ask_counts)
            book.bids.overlay(bids, complete=len(message.bid_prices) < cap, checked=True)
            book.asks.overlay(asks, complete=len(message.ask_prices) < cap, checked=True)
            book.stamp(message.ts_event, message.ts_recv, message.last_update_id)

    def _take_newest(self, ts: int, depth: float, message: FusedMessage, cap: float) -> None:
        """Keep a message for the book to take in, and none that is void by it."""
        self._newest_ts, self._newest_depth = ts, depth
        low, high = _reach(message, cap)
        recent, deepest = self._recent, self._deepest
        count = self._settled if self.is_ahead else len(recent)
        # Most quotes say another size of the same prices: nothing can come of the one before.
        while recent:
            _, _, cap_before, _, low_before, high_before = recent[-1]
            if low > low_before or high < high_before or cap_before >= deepest > cap:
                break
            recent.pop()
        self._settled = count if count < len(recent) else len(recent)
        self._late_recv_ns = None
        self.is_ahead = True
        recent.append((ts, depth, cap, message, low, high))

    def _take_late(self, ts: int, depth: float, message: FusedMessage, cap: float) -> None:
        key = (ts, depth)
        if key < self._given_up_key:
            self.late_count += 1
            return
        book, recent = self.book, self._recent
        place = bisect_right(recent, key, key=_key_of)
        # The newest is still what it was, and was received when this was.
        is_stamped_by_newest = (
            place < len(recent)
            and recent[-1][0] == self._newest_ts
            and recent[-1][3].ts_event is not None
            and not self._has_numbers
            and (self.is_ahead or book.ts_event == recent[-1][3].ts_event)  # no diff has stamped it since
        )
        ts_event, update_id = (None, None) if is_stamped_by_newest else (book.ts_event, book.update_id)
        self._settled = min(place, self._settled if self.is_ahead else len(recent))
        self._late_recv_ns = message.ts_recv
        self.is_ahead = True
        recent.insert(place, (ts, depth, cap, message, *_reach(message, cap)))
        if not is_stamped_by_newest:
            book.ts_event = ts_event
            if update_id is not None:
                book.update_id = update_id

    def _tidy(self) -> None:
        """
        Drop messages that can have no effect any more: when it happens changes nothing, save at the end of a round.

        Of each price, what the newest message said that settles it holds. So one is not needed where newer ones settle
        everything that it does; whatever a later book says, too, which may be deeper than any before.
        """
        recent, deepest = self._recent, self._deepest
        # Nothing that old is put in its place any more; a stamp that is doubted says nothing of that.
        oldest = (self._newest_ts if self._sure_key is None else self._sure_key[0]) - LATE_NS_MAX
        # What is let go of before the book has taken it in must be void, and not be what the book has its stamps from.
        if self.is_ahead and (
            self._count >= ROUND or recent[self._settled][0] < oldest or recent[-1][4:] == (inf, -inf)
        ):
            self.settle()
        place, waiting = len(recent), 0
        low, high, is_settled = inf, -inf, False
        kept: list[_Entry] = []
        for entry in reversed(recent):
            ts, _, cap, _, bid, ask = entry
            if ts < oldest:
                break
            place -= 1
            is_whole = cap >= deepest and not is_settled
            if bid < low or ask > high or is_whole:
                kept.append(entry)
                waiting += place >= self._settled
                low, high = min(low, bid), max(high, ask)
                is_settled = is_settled or is_whole
        if self._count >= ROUND:
            self._count = 0
            if len(kept) > KEPT_MAX:
                self._given_up_key = _key_of(kept[KEPT_MAX])
                del kept[KEPT_MAX:]
        kept.reverse()
        self._recent = kept
        self._settled = len(kept) - waiting
        self._untidy_at = max(_UNTIDY_MIN, 2 * len(kept))

    def _refresh_staleness(self, message: FusedMessage) -> None:
        book = self.book
        stale = self._stale_forms
        stale.pop(FORM_QUOTE, None)
        if isinstance(message, BookSnapshot):
            stale.pop(message.form, None)
        if stale:
            book.stale_cause = next(iter(stale.values()))
        elif self._deepest:
            book.is_stale = False
            book.stale_cause = ""


def _depths_of(cap: int | None) -> tuple[float, float]:
    """The depth of a form that is not known yet, and minus that."""
    depth = inf if cap is None else float(cap)
    if len(_DEPTHS) < _DEPTHS_MAX:
        _DEPTHS[cap] = (depth, -depth)
    return depth, -depth


def _key_of(entry: _Entry) -> _Key:
    return entry[0], entry[1]


def _reach(message: FusedMessage, cap: float) -> tuple[float, float]:
    """The lowest bid and the highest ask that a message settles, and all better ones with them, whatever came before."""
    if isinstance(message, BestQuote):
        bid, ask = message.bid_price, message.ask_price
        low = -inf if bid is None or message.bid_size is None else bid
        high = inf if ask is None or message.ask_size is None else ask
        return (
            inf if message.bid_count == SIDE_NOT_TOLD else low,
            -inf if message.ask_count == SIDE_NOT_TOLD else high,
        )
    bids, asks = message.bid_prices, message.ask_prices
    return (
        bids[-1] if bids and len(bids) >= cap else -inf,
        asks[-1] if asks and len(asks) >= cap else inf,
    )


def _check(message: FusedMessage) -> None:
    if isinstance(message, BestQuote):
        check_quote(message)
    else:
        check_levels((message.bid_prices, message.bid_sizes, message.bid_counts), is_bid=True)
        check_levels((message.ask_prices, message.ask_sizes, message.ask_counts), is_bid=False)
