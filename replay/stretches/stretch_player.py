"""
Plays columns to a session: what is plain goes to the matching core by the stretch, everything else as messages.

Plain are diffs of a book that consists of nothing else, quotes that are no part of a book, and trades: of pairs whose book
holds, in order of receipt, on the grid. Only the core has to receive those, and what the strategy names. A stretch
ends before the next frame that something is due at, where an own order has news, and after a message that
the strategy is called for. So whatever it reads is as of then, and it decides what it would decide message by message.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from recordings.columns.column_batch import ColumnBatch, Kind, Names
from replay.backtest.desk import VenueDesk
from replay.backtest.exchange import Exchange
from replay.market.core import Stretch
from replay.market.kernel_stretch import BOOK, LOOK, LOOK_AT_QUOTE, TOP
from replay.market.layout import NONE
from replay.results.recent_tops import PairTop, TopRow
from replay.stretches.kept_books import UNSEEN, KeptBook
from replay.stretches.prepared import NOT_PLAIN, PairFacts, Prepared, prepared
from toolkit.books.orderbook import OrderBook
from toolkit.errors import TickdeckError
from toolkit.keys import PairKey
from toolkit.messages import FORM_QUOTE, Message

__all__ = ["StretchPlayer", "StretchSession"]

#: Messages that are made ready at a time, at first and at most: fewer where what is plain changes often.
_READY_MIN: Final = 256
_READY_MAX: Final = 65_536
_TOPS: Final = 4096
#: Kinds after which it is not known whether the core has what the book has.
_CHANGES_BOOK: Final = frozenset({Kind.SNAPSHOT, Kind.DIFF, Kind.QUOTE, Kind.INSTRUMENT, Kind.EVENT})
#: A row of `kernel_stretch.TOP`.
_Noted = tuple[int, int, int, int, int, int]


class Wakes(Protocol):
    """What a strategy is called for."""

    def looks_at(self, place: int) -> tuple[bool, bool, bool]:
        """Whether it is called for each change of a pair's book, of its best levels, and for each trade."""

    def has_seen(self, place: int, book: OrderBook) -> bool:
        """Whether the best levels of a pair are those that it was called for last."""

    def book_changed(self, place: int, cause: tuple[int, int], book: OrderBook) -> None:
        """Call it for a change of a pair's book."""

    def wake(self, message: Message, book: OrderBook | None) -> None:
        """Call it for a message."""


class StretchSession(Protocol):
    """The session that is played to, see `replay.strategy.session`."""

    now_ns: int
    is_quiet: bool
    exchange: Exchange

    @property
    def failure(self) -> Exception | None:
        """Why the strategy was ended; None while it was not."""

    @property
    def waking(self) -> Wakes:
        """What the strategy is called for."""

    @property
    def is_running(self) -> bool:
        """Whether the strategy is called."""

    def take(self, message: Message) -> None:
        """Take in a message."""

    @property
    def changed_places(self) -> Collection[int]:
        """The pairs whose book the frame under way has changed."""

    def changed(self, place: int) -> None:
        """The book of a pair has changed in this frame, by what its best levels have to be looked at again."""

    def begin_plain(self, frame: int, ts_recv: int) -> bool:
        """A message of that frame is next that is plain market data; whether the strategy is running by then."""

    def due_ns(self) -> int:
        """No frame of this time or later may be begun elsewhere."""

    def fail_at_market(self, exc: TickdeckError) -> None:
        """The market cannot be matched, or a policy says that the run ends here."""

    def note_frame(self, now_ns: int, tops: Iterable[PairTop]) -> None:
        """A frame is over that was taken in elsewhere: pairs whose book it changed, with best bid and ask."""

    def note_frames(self, place: int, tops: Sequence[TopRow]) -> None:
        """So many frames are over, each with a change of this pair's book and of no other."""

    def passed(self, frame: int, now_ns: int, count: int, tops: Mapping[int, PairTop]) -> None:
        """So many messages were taken in; the frame of the last one is under way, and these are the books it has changed."""


class StretchPlayer:
    """
    Plays columns to a session.

    Args:
        session: Session whose exchange has one desk.
        desk: Desk of that exchange.
        keys: The pairs of the run, by their places.
        names: Numbers by which columns name pairs and forms.
    """

    def __init__(self, session: StretchSession, desk: VenueDesk, keys: Sequence[PairKey], names: Names) -> None:
        self._session = session
        self._exchange = exchange = session.exchange
        self._tracker = exchange.tracker
        self._desk = desk
        self._keys = keys
        self._names = names
        self._place_of = {tuple(key): place for place, key in enumerate(keys)}
        pairs = len(keys)
        now = np.full((pairs, 4), NONE, np.int64)
        self._stretch = Stretch(
            np.zeros(0, np.int8),
            np.zeros(0, np.int8),
            now,
            np.full((pairs, 4), UNSEEN, np.int64),
            np.zeros(max(_TOPS, 2 * pairs), TOP),
            np.zeros(pairs, np.int64),
            np.zeros(1, np.int64),
        )
        self._kept = [KeptBook(desk.core, place, exchange.markets[place], now[place]) for place in range(pairs)]
        self._facts = [PairFacts(None, NOT_PLAIN, False, False, (False, False, False))] * pairs
        #: Of the pairs whose diffs are plain.
        self._held: list[tuple[KeptBook, OrderBook]] = []
        self._books: dict[int, OrderBook] = {}
        self._ready = _READY_MIN
        self._hears_trades = False

    def play(self, batch: ColumnBatch) -> None:
        """Play a batch, which follows on the last one."""
        session = self._session
        places = [self._place_of.get(key, -1) for key in self._names.pairs]
        kinds: list[int] = batch.rows["kind"].tolist()
        at, end = 0, batch.messages
        ready: Prepared | None = None
        while at < end and session.failure is None:
            if session.is_running:
                if self._hears_trades != self._exchange.hears_trades:
                    ready, self._hears_trades = None, self._exchange.hears_trades
                if ready is None or at >= ready.begin + len(ready.frames):
                    ready = self._make_ready(batch, at, places)
                stop = ready.ends[at - ready.begin]
                if stop > at - ready.begin:
                    try:
                        at = ready.begin + self._pass(batch, ready, at - ready.begin, stop)
                    except TickdeckError as exc:
                        session.fail_at_market(exc)
                    continue
            session.take(batch.message(at))
            place = places[int(batch.rows["pair"][at])]
            is_finer = ready is not None and self._is_finer(place)
            if (is_finer or kinds[at] in _CHANGES_BOOK) and self._note_change(place, kinds[at]):
                ready = None
            at += 1
        self._count_crossed()

    # -- what is plain -----------------------------------------------------------------------------------------

    def _make_ready(self, batch: ColumnBatch, at: int, places: Sequence[int]) -> Prepared:
        self._facts = [self._facts_of(place) for place in range(len(self._keys))]
        end = min(at + self._ready, batch.messages)
        self._ready = min(2 * self._ready, _READY_MAX)
        self._held = [
            (self._kept[place], self._book(place)) for place, each in enumerate(self._facts) if each.form != NOT_PLAIN
        ]
        feeds = self._desk.feeds
        ready = prepared(
            batch,
            at,
            end,
            self._session.now_ns,
            places,
            self._facts,
            lambda place, keys: feeds[place].are_new(keys),
        )
        self._stretch = self._stretch._replace(events=ready.events, marks=ready.marks)
        return ready

    def _facts_of(self, place: int) -> PairFacts:
        desk, key = self._desk, self._keys[place]
        scale, feed = self._exchange.markets[place].scale, desk.feeds[place]
        looks = self._session.waking.looks_at(place)
        has_quotes = FORM_QUOTE in self._tracker.forms(key)
        form = feed.diff_form
        if form is None or scale is None or place in desk.stale:
            return PairFacts(scale, NOT_PLAIN, False, has_quotes, looks)
        desk.settle()
        book = self._tracker.book_of_diffs(*key, form)
        is_kept = book is not None and not book.is_stale and self._kept[place].look(book)
        has_trades = not self._exchange.hears_trades
        return PairFacts(scale, self._names.form(form) if is_kept else NOT_PLAIN, has_trades, has_quotes, looks)

    def _is_finer(self, place: int) -> bool:
        """Whether a pair is counted in other steps than what was made ready: a trade off the grid alone does that."""
        if place < 0 or self._exchange.markets[place].scale is self._facts[place].scale:
            return False
        if place in self._session.changed_places:
            self._session.changed(place)  # its best levels were noted in the steps before
        return True

    def _note_change(self, place: int, kind: int) -> bool:
        """A message went the long way; whether what is plain may have become other than what was made ready."""
        if place < 0:
            return False
        if kind != Kind.EVENT:
            self._kept[place].changed(is_whole=kind != Kind.DIFF)
            self._stretch.seen[place] = UNSEEN
        if self._facts_of(place) == self._facts[place]:
            return False
        self._ready = max(_READY_MIN, self._ready // 4)
        return True

    # -- stretches ---------------------------------------------------------------------------------------------

    def _pass(self, batch: ColumnBatch, ready: Prepared, begin: int, end: int) -> int:
        """Pass a stretch of plain messages to the core, or its beginning; which message is next."""
        session, desk = self._session, self._desk
        frames, times = ready.frames, ready.times
        frame, now_ns = frames[begin], times[begin]
        if not session.begin_plain(frame, now_ns) or self._hears_trades != self._exchange.hears_trades:
            return begin
        desk.settle()
        while True:
            for kept, book in self._held:
                kept.hand_over(book)
            tops = self._changed_before()
            was_quiet, until = session.is_quiet, 0 if tops is None else session.due_ns()
            stop = desk.core.play(self._stretch, begin, end, frame, until)
            if stop == begin:
                return stop
            last_frame, last_ns = frames[stop - 1], times[stop - 1]
            changed = self._note_tops(ready, frame, now_ns, last_frame, was_quiet, tops or {})
            desk.pass_messages()
            self._exchange.pass_time(last_ns)
            self._pass_trades(ready, begin, stop)
            for place, at in changed.items():
                event = batch.rows["ts_event"].item(ready.begin + at)
                self._book(place).stamp(event, times[at], ready.update_ids[at])
                desk.feeds[place].pass_diffs()
            now = self._stretch.now
            under_way = {
                place: _top_of(place, *now[place].tolist()) for place, at in changed.items() if frames[at] == last_frame
            }
            session.passed(last_frame, last_ns, stop - begin, under_way)
            if not ready.looks or not self._look(batch, ready, stop - 1):
                return stop
            # What the strategy was called for is over, and the frame may go on, or the next one begin.
            is_other = self._hears_trades != self._exchange.hears_trades
            if stop == end or desk.is_pressing or is_other or not session.is_running:
                return stop
            begin, frame, now_ns = stop, last_frame, last_ns

    def _changed_before(self) -> dict[int, PairTop] | None:
        """
        The best levels of books that the frame under way has changed already, by pair.

        None where one of them is not kept in the core: then the session itself has to end the frame.
        """
        places = self._session.changed_places
        if not places:
            return {}
        if any(self._facts[place].form == NOT_PLAIN for place in places):
            return None
        now = self._stretch.now
        return {place: _top_of(place, *now[place].tolist()) for place in places}

    def _note_tops(
        self, ready: Prepared, frame: int, now_ns: int, last_frame: int, was_quiet: bool, tops: dict[int, PairTop]
    ) -> dict[int, int]:
        """
        Write down the frames that are over.

        Args:
            ready: Rows that were played.
            frame: The frame that was under way before it.
            now_ns: Its time.
            last_frame: The one that is now.
            was_quiet: Whether nothing of it had to be written down.
            tops: The books that it had changed already.

        Returns:
            The pairs whose book has changed, each with the last message that did it.
        """
        rows: list[_Noted] = self._stretch.tops[: int(self._stretch.counts[0])].tolist()
        if len(self._keys) == 1:
            return self._note_tops_of_one(ready, rows, frame, now_ns, last_frame, was_quiet, tops)
        session, frames, times = self._session, ready.frames, ready.times
        changed: dict[int, int] = {}
        for at, pair, *levels in rows:
            changed[pair] = at
            if frames[at] != frame:
                if tops or not was_quiet:
                    session.note_frame(now_ns, _in_order(tops))
                frame, now_ns, tops, was_quiet = frames[at], times[at], {}, True
            tops[pair] = _top_of(pair, *levels)
        if frame != last_frame and (tops or not was_quiet):
            session.note_frame(now_ns, _in_order(tops))
        return changed

    def _note_tops_of_one(
        self,
        ready: Prepared,
        rows: list[_Noted],
        frame: int,
        now_ns: int,
        last_frame: int,
        was_quiet: bool,
        tops: dict[int, PairTop],
    ) -> dict[int, int]:
        """The same for the only pair: each row is of a frame of its own."""
        session, frames, times = self._session, ready.frames, ready.times
        if not rows:
            if frame != last_frame and (tops or not was_quiet):
                session.note_frame(now_ns, tops.values())
            return {}
        found: list[TopRow] = [
            (times[at], None if bid == NONE else bid, bid_lots, None if ask == NONE else -ask, ask_lots)
            for at, _, bid, bid_lots, ask, ask_lots in rows
        ]
        last = rows[-1][0]
        if frames[rows[0][0]] == frame:
            found[0] = (now_ns, *found[0][1:])
        elif tops or not was_quiet:
            session.note_frame(now_ns, tops.values())
        if frames[last] == last_frame:
            found.pop()  # it is not over
        if found:
            session.note_frames(0, found)
        return {0: last}

    def _pass_trades(self, ready: Prepared, begin: int, stop: int) -> None:
        first, last = ready.trade_counts[begin], ready.trade_counts[stop]
        if first == last:
            return
        trades = ready.trades[first:last]
        if len(self._keys) == 1:
            self._desk.feeds[0].pass_trades(trades)
            return
        pairs = ready.trade_pairs[first:last]
        places = set(pairs)
        for place in places:
            own = (
                trades if len(places) == 1 else [key for each, key in zip(pairs, trades, strict=True) if each == place]
            )
            self._desk.feeds[place].pass_trades(own)

    def _look(self, batch: ColumnBatch, ready: Prepared, at: int) -> bool:
        """Have the strategy called for the last message of a stretch; whether it wants to hear of such messages."""
        what = ready.looks[at]
        if not what & (LOOK | LOOK_AT_QUOTE):
            return False
        session, stretch = self._session, self._stretch
        if not what & BOOK:
            session.is_quiet = False
            session.waking.wake(batch.message(ready.begin + at), None)
            return True
        place = int(ready.marks["pair"][at])
        if what & LOOK or stretch.now[place].tolist() != stretch.seen[place].tolist():
            book = self._book(place)
            cause = (ready.frames[at], batch.rows["sub_seq"].item(ready.begin + at))
            session.waking.book_changed(place, cause, book)
            if session.waking.has_seen(place, book):
                stretch.seen[place] = stretch.now[place]
        return True

    def _book(self, place: int) -> OrderBook:
        book = self._books.get(place)
        if book is None:
            book = self._books[place] = self._tracker.book(self._keys[place])
        return book

    def _count_crossed(self) -> None:
        crossed = self._stretch.crossed
        for place in np.flatnonzero(crossed).tolist():
            self._tracker.add_crossed(self._keys[place], int(crossed[place]))
        crossed[:] = 0


def _top_of(place: int, bid: int, bid_lots: int, ask: int, ask_lots: int) -> PairTop:
    """Best levels, from keys."""
    return place, None if bid == NONE else bid, bid_lots, None if ask == NONE else -ask, ask_lots


def _in_order(tops: dict[int, PairTop]) -> list[PairTop]:
    return [tops[place] for place in sorted(tops)]
