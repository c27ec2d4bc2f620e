"""
Fused books in arrays: the rules of `toolkit/books/book_fusion.py`, for messages that have a time and counted levels.

A message is taken in at once, and not when somebody reads the book: what is kept of it is the same. Nothing grows here.
What finds no room is refused, having changed nothing, and is left to `BookFusion`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiling import inlined, kernel

__all__ = [
    "BEFORE_ALL",
    "FORMS",
    "HELD_LEVELS",
    "NO_TIME",
    "SIDE_LEVELS",
    "SLOTS",
    "UNTIDY_MIN",
    "Depth",
    "Entry",
    "FusedBooks",
    "Reach",
    "Time",
    "fuse",
    "keep_apart",
    "make_fused_books",
]

#: Forms of one book; levels of a side of it; messages that are kept of it, and levels of a side of one of these.
FORMS: Final = 3
SIDE_LEVELS: Final = 512
SLOTS: Final = 64
HELD_LEVELS: Final = 20
UNTIDY_MIN: Final = 24
#: A place before all, and no time at all.
BEFORE_ALL: Final = -(2**63)
NO_TIME: Final = -(2**63) + 1
#: As `book_fusion` has them; a test holds that they are the same.
LATE_NS: Final = 30_000_000_000
LEAP_NS: Final = 2_000_000_000
ROUND: Final = 2_048
_FAR: Final = 2**62


class Time:
    """Places in `FusedBooks.times`."""

    NEWEST: Final = 0
    SURE: Final = 1
    GIVEN_UP: Final = 2
    EVENT: Final = 3
    RECV: Final = 4
    LATE: Final = 5
    COUNT: Final = 6
    IS_DOUBTED: Final = 7
    RECENT: Final = 8
    UNTIDY_AT: Final = 9
    END: Final = 10


class Depth:
    """Places in `FusedBooks.depths`."""

    NEWEST: Final = 0
    SURE: Final = 1
    GIVEN_UP: Final = 2
    DEEPEST: Final = 3
    END: Final = 4


class Entry:
    """Places in `FusedBooks.entry`: the time that a message's place goes by, and what it says itself."""

    TS: Final = 0
    EVENT: Final = 1
    RECV: Final = 2
    SEQ: Final = 3
    SUB_SEQ: Final = 4
    FORM: Final = 5
    BIDS: Final = 6
    ASKS: Final = 7
    END: Final = 8


class Reach:
    """Places in `FusedBooks.reach`: the depth that a message's place goes by, the most levels of its form, what it settles."""

    DEPTH: Final = 0
    CAP: Final = 1
    LOW: Final = 2
    HIGH: Final = 3
    END: Final = 4


class FusedBooks(NamedTuple):
    """
    Books by number: bids are side `2 * book`, asks the next one; the best level is the last one of a side.

    Attributes:
        price: float64 (sides, SIDE_LEVELS).
        size: Likewise.
        orders: int32, likewise; -1 where the number of orders is not known.
        levels: int64 (sides).
        times: int64 (books, Time.END).
        depths: float64 (books, Depth.END).
        form_times: int64 (books, FORMS): newest time of a form, among the messages that take part; or NO_TIME.
        latest: int32 (books, FORMS): slot of the newest message of a form, or -1.
        order: int32 (books, SLOTS): slots of the messages that may be applied again, in their order.
        used: int8 (books, SLOTS): how many of the two name a slot.
        entry: int64 (books, SLOTS, Entry.END).
        reach: float64 (books, SLOTS, Reach.END).
        held_price: float64 (books, SLOTS, 2 * HELD_LEVELS): levels of a message, bids first; of a quote one of each side,
            NaN where it has none.
        held_size: Likewise.
        held_count: int32, likewise.
    """

    price: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    orders: npt.NDArray[np.int32]
    levels: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    depths: npt.NDArray[np.float64]
    form_times: npt.NDArray[np.int64]
    latest: npt.NDArray[np.int32]
    order: npt.NDArray[np.int32]
    used: npt.NDArray[np.int8]
    entry: npt.NDArray[np.int64]
    reach: npt.NDArray[np.float64]
    held_price: npt.NDArray[np.float64]
    held_size: npt.NDArray[np.float64]
    held_count: npt.NDArray[np.int32]


def make_fused_books(books: int) -> FusedBooks:
    """So many empty ones."""
    return FusedBooks(
        np.zeros((2 * books, SIDE_LEVELS), np.float64),
        np.zeros((2 * books, SIDE_LEVELS), np.float64),
        np.zeros((2 * books, SIDE_LEVELS), np.int32),
        np.zeros(2 * books, np.int64),
        np.zeros((books, Time.END), np.int64),
        np.zeros((books, Depth.END), np.float64),
        np.full((books, FORMS), NO_TIME, np.int64),
        np.full((books, FORMS), -1, np.int32),
        np.zeros((books, SLOTS), np.int32),
        np.zeros((books, SLOTS), np.int8),
        np.zeros((books, SLOTS, Entry.END), np.int64),
        np.zeros((books, SLOTS, Reach.END), np.float64),
        np.zeros((books, SLOTS, 2 * HELD_LEVELS), np.float64),
        np.zeros((books, SLOTS, 2 * HELD_LEVELS), np.float64),
        np.zeros((books, SLOTS, 2 * HELD_LEVELS), np.int32),
    )


# Constants of classes are no constants to the compiler.
_NEWEST: Final = Time.NEWEST
_SURE: Final = Time.SURE
_GIVEN_UP: Final = Time.GIVEN_UP
_EVENT: Final = Time.EVENT
_RECV: Final = Time.RECV
_LATE: Final = Time.LATE
_COUNT: Final = Time.COUNT
_IS_DOUBTED: Final = Time.IS_DOUBTED
_RECENT: Final = Time.RECENT
_UNTIDY_AT: Final = Time.UNTIDY_AT
_DEEPEST: Final = Depth.DEEPEST
_E_TS: Final = Entry.TS
_E_EVENT: Final = Entry.EVENT
_E_RECV: Final = Entry.RECV
_E_SEQ: Final = Entry.SEQ
_E_SUB_SEQ: Final = Entry.SUB_SEQ
_E_FORM: Final = Entry.FORM
_E_BIDS: Final = Entry.BIDS
_E_ASKS: Final = Entry.ASKS
_R_DEPTH: Final = Reach.DEPTH
_R_CAP: Final = Reach.CAP
_R_LOW: Final = Reach.LOW
_R_HIGH: Final = Reach.HIGH


# -- levels ------------------------------------------------------------------------------------------------------------


@inlined
def _drop_until_worse_than(b, side, price):
    """Only worse levels than that stay."""
    sign = 1.0 if side & 1 == 0 else -1.0
    left = b.levels[side]
    while left > 0 and b.price[side, left - 1] * sign >= price * sign:
        left -= 1
    b.levels[side] = left


@inlined
def _overlay(b, side, book, slot, first, count, is_complete):
    """Levels of a message, best first, over what is there: between their best and worst only they remain."""
    if is_complete or count == 0:
        b.levels[side] = 0
    else:
        _drop_until_worse_than(b, side, b.held_price[book, slot, first + count - 1])
    at = b.levels[side]
    for place in range(first + count - 1, first - 1, -1):
        b.price[side, at] = b.held_price[book, slot, place]
        b.size[side, at] = b.held_size[book, slot, place]
        b.orders[side, at] = b.held_count[book, slot, place]
        at += 1
    b.levels[side] = at


@inlined
def _set_best(b, side, book, slot, place):
    """Make a level of a quote the best; without one, none is left."""
    price = b.held_price[book, slot, place]
    if price != price:
        b.levels[side] = 0
        return
    _drop_until_worse_than(b, side, price)
    at = b.levels[side]
    b.price[side, at] = price
    b.size[side, at] = b.held_size[book, slot, place]
    b.orders[side, at] = b.held_count[book, slot, place]
    b.levels[side] = at + 1


@kernel
def _take(b, book, slot):
    """A message takes effect."""
    side = 2 * book
    cap = b.reach[book, slot, _R_CAP]
    if cap == 0.0:
        _set_best(b, side, book, slot, 0)
        _set_best(b, side + 1, book, slot, 1)
        return
    bids, asks = b.entry[book, slot, _E_BIDS], b.entry[book, slot, _E_ASKS]
    is_whole = cap >= b.depths[book, _DEEPEST]
    _overlay(b, side, book, slot, 0, bids, is_whole or bids < cap)
    _overlay(b, side + 1, book, slot, bids, asks, is_whole or asks < cap)


# -- messages that are kept --------------------------------------------------------------------------------------------


@inlined
def _free_slot(b, book):
    """A slot that nothing names; -1 if there is none."""
    for slot in range(SLOTS):
        if b.used[book, slot] == 0:
            return slot
    return -1


@kernel
def _fill(b, book, slot, form, cap, depth, ts, event, recv, seq, price, size, count, row, bids, asks):
    """Put a message into a slot."""
    entry = b.entry[book, slot]
    entry[_E_TS], entry[_E_EVENT], entry[_E_RECV], entry[_E_SEQ] = ts, event, recv, seq
    entry[_E_SUB_SEQ], entry[_E_FORM], entry[_E_BIDS], entry[_E_ASKS] = 0, form, bids, asks
    for place in range(bids + asks):
        b.held_price[book, slot, place] = price[row + place]
        b.held_size[book, slot, place] = size[row + place]
        b.held_count[book, slot, place] = count[row + place]
    low, high = -np.inf, np.inf
    if cap == 0.0:
        if price[row] == price[row]:
            low = price[row]
        if price[row + 1] == price[row + 1]:
            high = price[row + 1]
    else:
        if bids > 0 and bids >= cap:
            low = price[row + bids - 1]
        if asks > 0 and asks >= cap:
            high = price[row + bids + asks - 1]
    reach = b.reach[book, slot]
    reach[_R_DEPTH], reach[_R_CAP], reach[_R_LOW], reach[_R_HIGH] = depth, cap, low, high


@inlined
def _name_latest(b, book, form, slot):
    before = b.latest[book, form]
    if before >= 0:
        b.used[book, before] -= 1
    b.latest[book, form] = slot
    b.used[book, slot] += 1


@inlined
def _is_before(ts, depth, other_ts, other_depth):
    return ts < other_ts or (ts == other_ts and depth < other_depth)


@kernel
def _tidy(b, book):
    """Let go of messages of which nothing can come."""
    times, depths = b.times[book], b.depths[book]
    newest = times[_SURE] if times[_IS_DOUBTED] else times[_NEWEST]
    oldest = newest - LATE_NS if newest > NO_TIME + LATE_NS else newest
    low, high = np.inf, -np.inf
    is_settled = False
    count = times[_RECENT]
    kept = np.int64(0)
    to = count
    place = count - 1
    while place >= 0:
        slot = b.order[book, place]
        if b.entry[book, slot, _E_TS] < oldest:
            break
        reach = b.reach[book, slot]
        is_whole = reach[_R_CAP] >= depths[_DEEPEST] and not is_settled
        if reach[_R_LOW] < low or reach[_R_HIGH] > high or is_whole:
            low, high = min(low, reach[_R_LOW]), max(high, reach[_R_HIGH])
            is_settled = is_settled or is_whole
            kept += 1
            to -= 1
            b.order[book, to] = slot
        else:
            b.used[book, slot] -= 1
        place -= 1
    while place >= 0:
        b.used[book, b.order[book, place]] -= 1
        place -= 1
    for at in range(kept):
        b.order[book, at] = b.order[book, to + at]
    # There are fewer than may be given up at the end of a round.
    if times[_COUNT] >= ROUND:
        times[_COUNT] = 0
    times[_RECENT] = kept
    times[_UNTIDY_AT] = max(UNTIDY_MIN, 2 * kept)


# -- order -------------------------------------------------------------------------------------------------------------


@inlined
def _is_leap(ts, before):
    """Whether a time is far ahead of another one, which may be before all."""
    return before < -_FAR or ts - before > LEAP_NS


@kernel
def _weigh(b, book, form, ts):
    """Look at a message's time before it is used: rules 5 and 6."""
    times, depths = b.times[book], b.depths[book]
    last = b.form_times[book, form]
    if times[_IS_DOUBTED]:
        if ts < times[_NEWEST] - LEAP_NS:
            if times[_RECENT] > 0:
                slot = b.order[book, times[_RECENT] - 1]
                b.entry[book, slot, _E_TS] = times[_SURE]
                b.reach[book, slot, _R_DEPTH] = depths[_SURE]
                b.form_times[book, b.entry[book, slot, _E_FORM]] = times[_SURE]
            times[_NEWEST], depths[_NEWEST] = times[_SURE], depths[_SURE]
            last = b.form_times[book, form]
        times[_IS_DOUBTED] = 0
    newest = times[_NEWEST]
    has_last = last != NO_TIME
    if (has_last and ts < last) or (newest > -_FAR and newest - ts > LATE_NS):
        for place in range(times[_RECENT]):
            b.used[book, b.order[book, place]] -= 1
        times[_RECENT] = 0
        times[_NEWEST], depths[_NEWEST] = BEFORE_ALL, -np.inf
        times[_GIVEN_UP], depths[_GIVEN_UP] = BEFORE_ALL, -np.inf
        newest = np.int64(BEFORE_ALL)
    if _is_leap(ts, newest) and (not has_last or _is_leap(ts, last) or ts < last):
        times[_SURE], depths[_SURE] = times[_NEWEST], depths[_NEWEST]
        times[_IS_DOUBTED] = 1


@kernel
def keep_apart(b, book, form, recv, seq, ts, price, size, count, row):
    """Keep a quote that takes no part in the book as the newest of its form; whether there was room."""
    slot = _free_slot(b, book)
    if slot < 0:
        return False
    _fill(b, book, slot, form, 0.0, -0.0, ts, ts, recv, seq, price, size, count, row, 1, 1)
    _name_latest(b, book, form, slot)
    return True


@kernel
def fuse(b, book, form, cap, ts, recv, seq, price, size, count, row, bids, asks):
    """
    Take a snapshot or a quote in that takes part in the fused book, and has been checked.

    Args:
        b: The books.
        book: Number of the book.
        form: Number of the form.
        cap: Most levels of a side of it, float64; 0 for quotes, which have one of each.
        ts: Time of the venue, ns, after 1970 like all others.
        recv: When it was received, ns.
        seq: `capture_seq` of its frame, whose first message it is.
        price: Levels are `price[row : row + bids + asks]`, bids first, best first; NaN for a side that a quote has not.
        size: Likewise.
        count: Likewise.
        row: See there.
        bids: See there; HELD_LEVELS at most.
        asks: Likewise.

    Returns:
        Whether there was room for it. If not, nothing is changed.
    """
    times, depths = b.times[book], b.depths[book]
    slot = np.int64(_free_slot(b, book))
    if slot < 0:
        _tidy(b, book)  # when that happens changes nothing
        slot = np.int64(_free_slot(b, book))
        if slot < 0:
            return False
    levels = max(b.levels[2 * book], b.levels[2 * book + 1]) + max(bids, asks)
    if ts <= times[_NEWEST]:
        # It may be put before others, which take effect again.
        for place in range(times[_RECENT]):
            other = b.order[book, place]
            levels += max(b.entry[book, other, _E_BIDS], b.entry[book, other, _E_ASKS])
    if levels > SIDE_LEVELS or bids > HELD_LEVELS or asks > HELD_LEVELS:
        return False
    if cap > depths[_DEEPEST]:
        depths[_DEEPEST] = cap
    depth = -cap
    last = b.form_times[book, form]
    newest = times[_NEWEST]
    is_usual = last != NO_TIME and last <= ts and not times[_IS_DOUBTED] and newest > -_FAR
    if not (is_usual and -LATE_NS <= ts - newest <= LEAP_NS):
        _weigh(b, book, form, ts)
    b.form_times[book, form] = ts
    _fill(b, book, slot, form, cap, depth, ts, ts, recv, seq, price, size, count, row, bids, asks)
    if not _is_before(ts, depth, times[_NEWEST], depths[_NEWEST]):
        times[_NEWEST], depths[_NEWEST] = ts, depth
        low, high = b.reach[book, slot, _R_LOW], b.reach[book, slot, _R_HIGH]
        # Most quotes say another size of the same prices: nothing can come of the one before.
        while times[_RECENT] > 0:
            before = b.order[book, times[_RECENT] - 1]
            reach = b.reach[book, before]
            if low > reach[_R_LOW] or high < reach[_R_HIGH] or reach[_R_CAP] >= depths[_DEEPEST] > cap:
                break
            times[_RECENT] -= 1
            b.used[book, before] -= 1
        b.order[book, times[_RECENT]] = slot
        times[_RECENT] += 1
        b.used[book, slot] += 1
        _take(b, book, slot)
        times[_EVENT], times[_RECV] = ts, recv
    elif _is_before(ts, depth, times[_GIVEN_UP], depths[_GIVEN_UP]):
        times[_LATE] += 1
    else:
        place = times[_RECENT]
        while place > 0:
            before = b.order[book, place - 1]
            if not _is_before(ts, depth, b.entry[book, before, _E_TS], b.reach[book, before, _R_DEPTH]):
                break
            b.order[book, place] = before
            place -= 1
        b.order[book, place] = slot
        times[_RECENT] += 1
        b.used[book, slot] += 1
        for at in range(place, times[_RECENT]):
            _take(b, book, b.order[book, at])
        # The newest is still what it was, and was received when this was.
        times[_RECV] = recv
    _name_latest(b, book, form, slot)
    times[_COUNT] += 1
    if times[_RECENT] >= times[_UNTIDY_AT] or times[_COUNT] >= ROUND:
        _tidy(b, book)
    return True
