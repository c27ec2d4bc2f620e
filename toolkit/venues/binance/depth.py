"""
Joining diffs to the snapshot they follow: the venue's rules, as a state machine of one instrument.

Diffs carry the ids of the updates in them, `first` to `last`, and on futures `prev`, the `last` of the diff before.
A snapshot has one id, `base`. With sizes absolute, these rules suffice:

- Spot: diffs with `last <= base` are in the snapshot. The first that is not must satisfy `first <= base + 1 <= last`,
  each one after it `first == previous last + 1`.
- Futures: diffs with `last < base` are in the snapshot. The first that is not must satisfy `prev <= base <= last`, each
  one after it `prev == previous last`. The venue's page asks `first <= base <= last`, which refuses the exact
  continuation `prev == base`, seen on both futures markets: ids have holes between one diff and the next.
- A snapshot older than the first diff that was kept cannot be joined: another one is needed.
- What the diffs before the meeting point said last of a level holds again once the first diff after it is in. A diff
  compares the ends of its interval: a level that changed before the snapshot and back after it, both within the diff
  that the snapshot falls into, has the passing size in the snapshot and is in no diff. So that diff is reported
  together with the levels on which older diffs of the same chain and the snapshot differ (`folded`). The venue's page
  drops every diff that is in the snapshot, and is wrong there until the level changes again: in a capture of 323 update
  ids with a quote, at the best price of 5.
- A diff that does not follow is a gap. It and all after it wait for a new snapshot.
- A diff that is wholly old, by id and by time, is a repetition and is left out. Old ids with a newer time mean that
  the venue has restarted its count: a gap.

- A snapshot that is ahead of the diffs begins a book, and the diffs have to come up to it. Where they do not, its ids are
  of another numbering, and the book ends (`Books`).

Source: the venue's "How to manage a local order book correctly", and captures of August 2024.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from toolkit.books.orderbook import Columns
from toolkit.frames import Frame
from toolkit.messages import FORM_FULL, BookDiff, BookSnapshot

__all__ = ["FORM_UNJOINED", "Base", "Before", "DepthJoin", "Verdict", "follows", "is_within"]

#: Form of diffs for which there is no snapshot (yet): kept as they came, and no part of the book. Those that turn out
#: to follow the next snapshot are said again with it, as `full`.
FORM_UNJOINED: Final = "unjoined"
#: Diffs kept for a snapshot to come: 100 s of the usual stream, 30 s of the fastest.
PENDING_MAX: Final = 1024


class Verdict(enum.Enum):
    """What became of a diff."""

    FOLLOWS = enum.auto()
    REPEATS = enum.auto()
    WAITS = enum.auto()
    GAP = enum.auto()


class Base(msgspec.Struct, frozen=True):
    """
    A snapshot before it is a message.

    Attributes:
        update_id: Number of the last update in it.
        ts_event: Venue's time, ns; None on spot.
        bids: Best first.
        asks: Best first.
    """

    update_id: int
    ts_event: int | None
    bids: Columns
    asks: Columns

    def message(self, venue: str, symbol: str, pair: str, frame: Frame) -> BookSnapshot:
        """The message that this frame makes it."""
        return BookSnapshot(
            venue,
            symbol,
            pair,
            self.ts_event,
            frame.ts_recv,
            frame.capture_seq,
            0,
            FORM_FULL,
            True,
            None,  # levels beyond the snapshot exist, and show once they change: there is no cap
            *self.bids,
            *self.asks,
            None,
            self.update_id,
        )


class Before(msgspec.Struct):
    """
    What a chain of diffs said last of each level, up to a snapshot.

    Attributes:
        last_id: Number of the last of these diffs.
        last_ts: Time of the last of these diffs, ns.
        bids: Size of bids by price, where it is not what the snapshot has.
        asks: Size of asks by price, likewise.
    """

    last_id: int
    last_ts: int | None
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}


class DepthJoin(msgspec.Struct):
    """
    The chain of one instrument's diffs.

    Attributes:
        is_spot: Whether the rules of spot hold, or those of futures.
        last_id: Id of the last update in the book; None while there is no book.
        last_ts: Its time, ns; None where it has none.
        is_bare: Nothing followed the snapshot yet, so the next diff is the first.
        before: While nothing followed the snapshot yet: what diffs within it say; None where there were none.
        pending: While there is no book: the newest diffs, without a gap.
        recent: While there is a book and another snapshot is due or was asked for: diffs since then. Else None.
        keep_from: Monotonic time from which on they are kept, ns; 0 if nothing is due.
        spare: A snapshot that is newer than the book: it serves once the diffs have come so far, or fail to.
        waiting_since: Receive time of the first diff that waited, ns; 0 if none does.
        was_told: Whether the wait was reported.
        speed: Name of the stream of diffs; another one of the same instrument has a chain of its own.
        conn_ids: Connections that it came on.
        sent_id: Name of the newest request for a snapshot that left; -1 if none did.
        void_id: Requests up to this one no longer count: what they ask about was lost before they were answered.
        is_cut: No diff came since the connection was lost.
    """

    is_spot: bool
    last_id: int | None = None
    last_ts: int | None = None
    is_bare: bool = False
    before: Before | None = None
    pending: list[BookDiff] = []
    recent: list[BookDiff] | None = None
    keep_from: int = 0
    spare: Base | None = None
    waiting_since: int = 0
    was_told: bool = False
    speed: str = ""
    conn_ids: list[int] = []
    sent_id: int = -1
    void_id: int = -1
    is_cut: bool = False

    @property
    def is_joined(self) -> bool:
        """Whether there is a book."""
        return self.last_id is not None

    def take(self, diff: BookDiff) -> tuple[Verdict, BookDiff]:
        """What becomes of the next diff, and what it says in the book. After GAP it waits for a snapshot."""
        last = _id(diff)
        self.is_cut = False
        if self.last_id is not None:
            if self._follows(diff, self.last_id, is_first=self.is_bare):
                told = diff
                if self.before is not None:
                    if self._follows(diff, self.before.last_id, is_first=False):
                        told = _with(self.before, diff)
                    self.before = None
                self.last_id = last
                self.last_ts = diff.ts_event
                self.is_bare = False
                if self.recent is not None:
                    self.recent.append(diff)
                    if len(self.recent) > PENDING_MAX:
                        self.recent = None
                return Verdict.FOLLOWS, told
            before = self.before
            is_resent = before is not None and last <= before.last_id and not _is_old(diff, last, before.last_ts)
            if not is_resent and _is_old(diff, self.last_id, self.last_ts):
                if self.is_bare:
                    self._note_before(diff)
                return Verdict.REPEATS, diff
            if last <= self.last_id:
                self.void()  # old ids and a newer time: what was asked for is of the numbering before
            self.wait_with(diff)
            return Verdict.GAP, diff
        pending = self.pending
        if not pending:
            self.waiting_since = self.waiting_since or diff.ts_recv
        elif not self._follows(diff, _id(pending[-1]), is_first=False):
            if _is_old(diff, _id(pending[-1]), pending[-1].ts_event):
                return Verdict.REPEATS, diff
            if last <= _id(pending[-1]):
                self.void()
            pending.clear()
        elif len(pending) >= PENDING_MAX:
            del pending[0]
        pending.append(diff)
        return Verdict.WAITS, diff

    def keep_waiting(self, diffs: list[BookDiff]) -> None:
        """Diffs that followed those that wait, and wait as well."""
        self.pending = [*self.pending, *diffs][-PENDING_MAX:]

    def wait_with(self, diff: BookDiff) -> None:
        """There is no book any more, and this is the first diff to wait for another snapshot."""
        self.lose()
        self.pending = [diff]
        self.waiting_since = diff.ts_recv

    def void(self) -> None:
        """The ids of what was asked for, or has come, say nothing about the diffs to come."""
        self.spare = None
        self.void_id = self.sent_id

    def _note_before(self, diff: BookDiff) -> None:
        """A diff that is within the snapshot, which no diff has followed yet."""
        before = self.before
        if before is not None and _id(diff) <= before.last_id:
            return
        if before is None or not self._follows(diff, before.last_id, is_first=False):
            before = self.before = Before(_id(diff), diff.ts_event)
        before.last_id, before.last_ts = _id(diff), diff.ts_event
        before.bids.update(zip(diff.bid_prices, diff.bid_sizes, strict=True))
        before.asks.update(zip(diff.ask_prices, diff.ask_sizes, strict=True))

    def join(self, base: Base) -> list[BookDiff] | None:
        """
        Begin the book with a snapshot: the diffs that follow it, in order. None if it cannot be joined (yet).

        While there is a book this refreshes it, if the diffs since the snapshot were kept, and cannot break it: a
        snapshot that is ahead of the diffs is kept as `spare`.
        """
        last_id = self.last_id
        kept = self.pending if last_id is None else self.recent
        if last_id is not None and (kept is None or base.update_id > last_id):
            if base.update_id >= last_id:
                self.spare = base
            return None
        following = [diff for diff in kept or () if not self._is_within(diff, base.update_id)]
        within = (kept or [])[: len(kept or ()) - len(following)]
        if following:
            if not self._follows(following[0], base.update_id, is_first=True):
                return None
        elif last_id is None:
            if within and _is_of_other_numbers(within[-1], base):
                return None
            self.last_id, self.last_ts, self.is_bare = base.update_id, base.ts_event, True
        elif base.update_id < last_id:
            return None
        if last_id is None and following:
            self.last_id, self.last_ts, self.is_bare = _id(following[-1]), following[-1].ts_event, False
        before = _before(within, base) if within else None
        if before is not None and following:
            following[0] = _with(before, following[0])
        self.before = before if self.is_bare else None
        self.pending = []
        self.recent = None
        self.keep_from = 0
        self.spare = None
        self.waiting_since = 0
        self.was_told = False
        return following

    def lose(self) -> None:
        """There is no book any more."""
        self.last_id = None
        self.last_ts = None
        self.is_bare = False
        self.before = None
        self.waiting_since = 0
        self.was_told = False
        self.pending = []
        self.recent = None
        self.keep_from = 0

    def _is_within(self, diff: BookDiff, base_id: int) -> bool:
        return is_within(_id(diff), base_id, is_spot=self.is_spot)

    def _follows(self, diff: BookDiff, last_id: int, *, is_first: bool) -> bool:
        ids = diff.first_update_id, diff.prev_update_id, _id(diff)
        return follows(*ids, last_id, is_spot=self.is_spot, is_first=is_first)


def is_within(last: int, base_id: int, *, is_spot: bool) -> bool:
    """Whether a diff that ends with that id is in a snapshot."""
    return last <= base_id if is_spot else last < base_id


def follows(first: int | None, prev: int | None, last: int, last_id: int, *, is_spot: bool, is_first: bool) -> bool:
    """
    Whether a diff of these ids follows a book.

    Args:
        first, prev, last: `U`, `pu` (None on spot) and `u` of the diff.
        last_id: Number of the last update in the book.
        is_spot: Whether the rules of spot hold, or those of futures.
        is_first: The book is a snapshot that no diff has followed yet.
    """
    if is_spot:
        return first is not None and first <= last_id + 1 <= last
    if prev is None:
        return False
    return prev <= last_id <= last if is_first else prev == last_id


def _id(diff: BookDiff) -> int:
    return -1 if diff.last_update_id is None else diff.last_update_id


def _is_old(diff: BookDiff, last_id: int, last_ts: int | None) -> bool:
    return _id(diff) <= last_id and (last_ts is None or diff.ts_event is None or diff.ts_event <= last_ts)


def _is_of_other_numbers(diff: BookDiff, base: Base) -> bool:
    """Whether a snapshot with a higher id is older than a diff by time."""
    return base.ts_event is not None and diff.ts_event is not None and diff.ts_event > base.ts_event


def _before(diffs: list[BookDiff], base: Base) -> Before:
    """What these diffs said last of each level, where the snapshot that they are in has another size."""
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for diff in diffs:
        bids.update(zip(diff.bid_prices, diff.bid_sizes, strict=True))
        asks.update(zip(diff.ask_prices, diff.ask_sizes, strict=True))
    return Before(_id(diffs[-1]), diffs[-1].ts_event, _unlike(bids, base.bids), _unlike(asks, base.asks))


def _unlike(said: dict[float, float], side: Columns) -> dict[float, float]:
    have = dict(zip(side[0], side[1], strict=True))
    return {price: size for price, size in said.items() if have.get(price, 0.0) != size}


def _with(before: Before, diff: BookDiff) -> BookDiff:
    """The diff, after what was said before it of levels that it does not name."""
    if not before.bids and not before.asks:
        return diff
    bids, asks = dict.fromkeys(diff.bid_prices), dict.fromkeys(diff.ask_prices)
    more_bids = {price: size for price, size in before.bids.items() if price not in bids}
    more_asks = {price: size for price, size in before.asks.items() if price not in asks}
    return msgspec.structs.replace(
        diff,
        bid_prices=(*more_bids, *diff.bid_prices),
        bid_sizes=(*more_bids.values(), *diff.bid_sizes),
        ask_prices=(*more_asks, *diff.ask_prices),
        ask_sizes=(*more_asks.values(), *diff.ask_sizes),
    )
