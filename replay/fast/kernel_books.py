"""
Fused books from columns: the rules of `toolkit/books/book_fusion.py`, word for word, over arrays.

Nothing grows here: before a message is taken in, `room_for` says what there is too little of, and then nothing is done.
"""

from __future__ import annotations

import numpy as np

from recordings.columns.column_batch import NO_COUNT, NO_TIME, Flag, Kind
from replay.fast.book_layout import BEYOND, NO_STEP, UNCAPPED, Seen
from toolkit.books.book_fusion import KEPT_MAX, LATE_NS_MAX, LEAP_NS_MAX, ROUND
from toolkit.kernels.compiling import inlined, kernel
from toolkit.kernels.levels import best, clear_side, has_room, hinted_slot, set_level, slot_of
from toolkit.messages import SIDE_NOT_TOLD

__all__ = ["WANT_LEVELS", "WANT_POOL", "WANT_PYTHON", "WANT_RECENT", "apply_book", "apply_rows", "room_for"]

WANT_RECENT = np.int64(1)
WANT_POOL = np.int64(2)
WANT_LEVELS = np.int64(4)
#: It is for Python to take in.
WANT_PYTHON = np.int64(8)
_SNAPSHOT = np.int64(Kind.SNAPSHOT)
_DIFF = np.int64(Kind.DIFF)
_QUOTE = np.int64(Kind.QUOTE)
_EVENT = np.int64(Kind.EVENT)
_FUSED = np.int64(Flag.FUSED)
_NOT_TOLD = np.int64(SIDE_NOT_TOLD)
_NO_COUNT = np.int32(NO_COUNT)
_NONE = np.int64(NO_STEP)
_NO_TIME = np.int64(NO_TIME)
_UNCAPPED = np.int64(UNCAPPED)
_LATE = np.int64(LATE_NS_MAX)
_LEAP = np.int64(LEAP_NS_MAX)
_KEPT = np.int64(KEPT_MAX)
_ROUND = np.int64(ROUND)
_UNTIDY = np.int64(24)
_INF = np.int64(BEYOND)
_ZERO = np.int64(0)
_ONE = np.int64(1)
_WHOLE_BIT = np.uint8(Seen.WHOLE)
_FUSED_BIT = np.uint8(Seen.FUSED)
_DIFFS_BIT = np.uint8(Seen.DIFFS)
_APART_BIT = np.uint8(Seen.APART)
_KEEP_BITS = np.uint8(Seen.DIFFS | Seen.APART)


# -- room ----------------------------------------------------------------------------------------------------------


@inlined
def room_for(b, row, pair):
    """What there is too little of for a message of a pair; 0 if it can be taken in."""
    kind = np.int64(row["kind"])
    levels = np.int64(max(row["bids"], row["asks"]))
    want = _ZERO
    if not np.int64(row["flags"]) & _FUSED:
        return want
    book = b.pairs[pair]
    needed = levels
    if kind == _DIFF and book["is_shared"]:
        return want
    if kind != _DIFF:
        if book["recent"] + 1 >= b.recent.shape[1]:
            want |= WANT_RECENT
        total = np.int64(row["bids"]) + np.int64(row["asks"])
        if book["pool"] + total > b.pool_steps.shape[1]:
            _pack_pool(b, pair)
            if book["pool"] + total > b.pool_steps.shape[1]:
                want |= WANT_POOL
        if row["ts_event"] != _NO_TIME and row["ts_event"] < book["newest_ts"]:
            # It may be put before others, which take effect again.
            for place in range(book["recent"]):
                needed += max(b.recent[pair, place]["bids"], b.recent[pair, place]["asks"])
    if (
        not has_room(b.store, 2 * pair, needed)
        or not has_room(b.store, 2 * pair + 1, needed)
        or b.store.free[0] < 2 * needed
    ):
        want |= WANT_LEVELS
    return want


@kernel
def _pack_pool(b, pair):
    """Close the gaps that messages which are not kept any more have left: they are taken in the order of their levels."""
    book = b.pairs[pair]
    end = _ZERO
    done = np.int64(-1)
    for _ in range(book["recent"]):
        # The next one by where its levels are; there are few.
        at = np.int64(-1)
        for place in range(book["recent"]):
            first = b.recent[pair, place]["first"]
            if b.recent[pair, place]["bids"] + b.recent[pair, place]["asks"] == 0:
                continue
            if first > done and (at < 0 or first < b.recent[pair, at]["first"]):
                at = np.int64(place)
        if at < 0:
            break
        entry = b.recent[pair, at]
        done = entry["first"]
        count = entry["bids"] + entry["asks"]
        for place in range(count):
            b.pool_steps[pair, end + place] = b.pool_steps[pair, done + place]
            b.pool_sizes[pair, end + place] = b.pool_sizes[pair, done + place]
            b.pool_counts[pair, end + place] = b.pool_counts[pair, done + place]
        entry["first"] = end
        end += count
    book["pool"] = end


# -- levels --------------------------------------------------------------------------------------------------------


@kernel
def _set(b, side, key, size, count):
    set_level(b.store, side, key, size)
    if size != 0:
        b.counts[slot_of(b.store, side, key), key & 63] = count


@kernel
def _set_diff(store, known, side, steps, sizes, counts, first, count):
    """
    Set many levels.

    Most are of a page that is there and stays, and then nothing is called: the arrays of a store are more than goes with
    a call cheaply.
    """
    sign = _ONE if side & 1 == 0 else -_ONE
    for at in range(first, first + count):
        key, size = sign * steps[at], sizes[at]
        slot = hinted_slot(store, side, key >> 6)
        if slot >= 0:
            bits, place = store.bits[slot], np.uint64(key & 63)
            others = bits & ~(np.uint64(1) << place)
            after = others | (np.uint64(size != 0) << place)
            if after:
                store.bits[slot] = after
                store.levels[side] += np.int64(after != others) - np.int64(bits != others)
                if size != 0:
                    store.sizes[slot, key & 63] = size
                    known[slot, key & 63] = counts[at]
                continue
        set_level(store, side, key, size)
        if size != 0:
            known[slot_of(store, side, key), key & 63] = counts[at]


@kernel
def _drop_until_worse_than(b, side, key):
    """Only worse levels than that stay."""
    while b.store.levels[side] > 0:
        at, _ = best(b.store, side)
        if at < key:
            return
        set_level(b.store, side, at, _ZERO)


@kernel
def _set_levels(b, side, steps, sizes, counts, first, count):
    sign = _ONE if side & 1 == 0 else -_ONE
    for place in range(first, first + count):
        _set(b, side, sign * steps[place], sizes[place], counts[place])


@kernel
def _overlay(b, side, steps, sizes, counts, first, count, is_complete):
    """Levels, best first, over what is there: between their best and worst only they remain."""
    if is_complete or count == 0:
        clear_side(b.store, side)
    else:
        sign = _ONE if side & 1 == 0 else -_ONE
        _drop_until_worse_than(b, side, sign * steps[first + count - 1])
    _set_levels(b, side, steps, sizes, counts, first, count)


@kernel
def _set_best(b, side, step, size, count):
    """Make a level the best; without one, none is left."""
    if step == _NONE or size == _NONE:
        clear_side(b.store, side)
        return
    key = step if side & 1 == 0 else -step
    _drop_until_worse_than(b, side, key)
    if size != 0:
        _set(b, side, key, size, count)


@kernel
def _stamp(book, ts_event, ts_recv):
    if ts_event != _NO_TIME:
        book["ts_event"] = ts_event
    book["ts_recv"] = ts_recv


@kernel
def _take(b, pair, is_quote, cap, steps, sizes, counts, first, bids, asks):
    """A snapshot or quote takes effect."""
    side = 2 * pair
    if is_quote:
        if counts[first] != _NOT_TOLD:
            _set_best(b, side, steps[first], sizes[first], counts[first])
        if counts[first + 1] != _NOT_TOLD:
            _set_best(b, side + 1, steps[first + 1], sizes[first + 1], counts[first + 1])
        return
    is_whole = cap >= b.pairs[pair]["deepest"]
    _overlay(b, side, steps, sizes, counts, first, bids, is_whole or bids < cap)
    _overlay(b, side + 1, steps, sizes, counts, first + bids, asks, is_whole or asks < cap)


# -- order ---------------------------------------------------------------------------------------------------------


@kernel
def _is_before(ts, cap, other_ts, other_cap):
    """Whether a place is before another: by time, then the deeper form first."""
    return ts < other_ts or (ts == other_ts and cap > other_cap)


@kernel
def _weigh(b, pair, form, is_rest, ts):
    """Look at a message's time before it is used: rules 5 and 6."""
    book = b.pairs[pair]
    last = b.form_times[pair, form]
    if book["is_doubted"]:
        if ts < book["newest_ts"] - _LEAP:
            if book["recent"] > 0:
                entry = b.recent[pair, book["recent"] - 1]
                entry["ts"], entry["key_cap"] = book["sure_ts"], book["sure_cap"]
                b.form_times[pair, entry["form"]] = book["sure_ts"]
            book["newest_ts"], book["newest_cap"] = book["sure_ts"], book["sure_cap"]
            last = b.form_times[pair, form]
        book["is_doubted"] = 0
    newest = book["newest_ts"]
    has_last = last != _NO_TIME
    if (has_last and ts < last and not is_rest) or (newest != _NO_TIME and newest - ts > _LATE):
        book["recent"] = 0
        book["pool"] = 0
        book["newest_ts"], book["newest_cap"] = _NO_TIME, _UNCAPPED
        book["given_ts"], book["given_cap"] = _NO_TIME, _UNCAPPED
        newest = _NO_TIME
    is_leap = newest == _NO_TIME or ts - newest > _LEAP
    if is_leap and (not has_last or ts - last > _LEAP or ts < last):
        book["sure_ts"], book["sure_cap"] = book["newest_ts"], book["newest_cap"]
        book["is_doubted"] = 1


@kernel
def _low(is_quote, cap, steps, sizes, counts, first, bids):
    """The lowest bid that a message settles, and all better ones with it."""
    if is_quote:
        if counts[first] == _NOT_TOLD:
            return _INF
        return -_INF if steps[first] == _NONE or sizes[first] == _NONE else steps[first]
    return steps[first + bids - 1] if bids > 0 and bids >= cap else -_INF


@kernel
def _high(is_quote, cap, steps, sizes, counts, first, asks):
    """The highest ask, where its asks begin at `first`."""
    if is_quote:
        if counts[first] == _NOT_TOLD:
            return -_INF
        return _INF if steps[first] == _NONE or sizes[first] == _NONE else steps[first]
    return steps[first + asks - 1] if asks > 0 and asks >= cap else _INF


@kernel
def _keep(b, pair, place, ts, key_cap, cap, low, high, is_quote, form, steps, sizes, counts, first, bids, asks):
    """Put a message among those that may be applied again."""
    book = b.pairs[pair]
    for at in range(book["recent"], place, -1):
        b.recent[pair, at] = b.recent[pair, at - 1]
    entry = b.recent[pair, place]
    entry["ts"], entry["key_cap"], entry["cap"] = ts, key_cap, cap
    entry["low"], entry["high"] = low, high
    entry["first"], entry["bids"], entry["asks"] = book["pool"], bids, asks
    entry["is_quote"], entry["form"] = is_quote, form
    for at in range(bids + asks):
        b.pool_steps[pair, book["pool"] + at] = steps[first + at]
        b.pool_sizes[pair, book["pool"] + at] = sizes[first + at]
        b.pool_counts[pair, book["pool"] + at] = counts[first + at]
    book["pool"] += bids + asks
    book["recent"] += 1


@kernel
def _tidy(b, pair):
    """Let go of messages of which nothing can come."""
    book = b.pairs[pair]
    oldest = book["sure_ts"] if book["is_doubted"] else book["newest_ts"]
    if oldest > _NO_TIME + _LATE:
        oldest -= _LATE
    low, high = _INF, -_INF
    is_settled = False
    count = book["recent"]
    # Those that stay are moved to the end, the newest last, and then to the front.
    to = count
    kept = _ZERO
    for at in range(count - 1, -1, -1):
        entry = b.recent[pair, at]
        if entry["ts"] < oldest:
            break
        is_whole = entry["cap"] >= book["deepest"] and not is_settled
        if entry["low"] < low or entry["high"] > high or is_whole:
            low, high = min(low, entry["low"]), max(high, entry["high"])
            is_settled = is_settled or is_whole
            to -= 1
            kept += 1
            if to != at:
                b.recent[pair, to] = entry
    if book["count"] >= _ROUND:
        book["count"] = 0
        if kept > _KEPT:
            given = b.recent[pair, count - 1 - _KEPT]
            book["given_ts"], book["given_cap"] = given["ts"], given["key_cap"]
            kept = _KEPT
            to = count - _KEPT
    if to > 0:
        for at in range(kept):
            b.recent[pair, at] = b.recent[pair, to + at]
    book["recent"] = kept
    book["untidy_at"] = max(_UNTIDY, 2 * kept)
    if kept == 0:
        book["pool"] = 0


@kernel
def _take_late(b, pair, ts, key_cap, cap, low, high, is_quote, form, steps, sizes, counts, first, bids, asks, ts_recv):
    book = b.pairs[pair]
    if _is_before(ts, key_cap, book["given_ts"], book["given_cap"]):
        book["late"] += 1
        return
    place = book["recent"]
    while place > 0 and _is_before(ts, key_cap, b.recent[pair, place - 1]["ts"], b.recent[pair, place - 1]["key_cap"]):
        place -= 1
    _keep(b, pair, place, ts, key_cap, cap, low, high, is_quote, form, steps, sizes, counts, first, bids, asks)
    for at in range(place, book["recent"]):
        entry = b.recent[pair, at]
        _take(
            b,
            pair,
            entry["is_quote"],
            entry["cap"],
            b.pool_steps[pair],
            b.pool_sizes[pair],
            b.pool_counts[pair],
            entry["first"],
            entry["bids"],
            entry["asks"],
        )
    # The newest is still what it was, and was received when this was.
    book["ts_recv"] = ts_recv


@kernel
def _fuse(b, row, pair, is_rest, steps, sizes, counts):
    """A snapshot or quote of the fused book."""
    book = b.pairs[pair]
    is_quote = np.int64(row["kind"] == _QUOTE)
    form, first = np.int64(row["form"]), row["first"]
    bids, asks = np.int64(row["bids"]), np.int64(row["asks"])
    cap = _ZERO
    if not is_quote:
        cap = _UNCAPPED if row["cap"] < 0 else np.int64(row["cap"])
        book["deepest"] = max(book["deepest"], cap)
    ts, key_cap = row["ts_event"], cap
    if ts == _NO_TIME:
        ts, key_cap = book["newest_ts"], book["newest_cap"]
    else:
        last = b.form_times[pair, form]
        is_usual = last != _NO_TIME and last <= ts and not book["is_doubted"] and book["newest_ts"] != _NO_TIME
        if not (is_usual and -_LATE <= ts - book["newest_ts"] <= _LEAP):
            _weigh(b, pair, form, is_rest, ts)
        b.form_times[pair, form] = ts
    low = _low(is_quote, cap, steps, sizes, counts, first, bids)
    high = _high(is_quote, cap, steps, sizes, counts, first + bids, asks)
    if not _is_before(ts, key_cap, book["newest_ts"], book["newest_cap"]):
        _take(b, pair, is_quote, cap, steps, sizes, counts, first, bids, asks)
        _stamp(book, row["ts_event"], row["ts_recv"])
        book["newest_ts"], book["newest_cap"] = ts, key_cap
        is_whole = cap >= book["deepest"]
        # Most quotes say another size of the same prices: nothing can come of the one before.
        while book["recent"] > 0:
            before = b.recent[pair, book["recent"] - 1]
            if low > before["low"] or high < before["high"]:
                break
            if before["cap"] >= book["deepest"] and not is_whole:
                break
            book["recent"] -= 1
            if before["first"] + before["bids"] + before["asks"] == book["pool"]:
                book["pool"] = before["first"]
        _keep(
            b,
            pair,
            book["recent"],
            ts,
            key_cap,
            cap,
            low,
            high,
            is_quote,
            form,
            steps,
            sizes,
            counts,
            first,
            bids,
            asks,
        )
    else:
        _take_late(
            b,
            pair,
            ts,
            key_cap,
            cap,
            low,
            high,
            is_quote,
            form,
            steps,
            sizes,
            counts,
            first,
            bids,
            asks,
            row["ts_recv"],
        )
    book["count"] += 1
    if book["recent"] >= book["untidy_at"] or book["count"] >= _ROUND:
        _tidy(b, pair)


# -- messages ------------------------------------------------------------------------------------------------------


@inlined
def apply_book(b, row, pair, quote_form, rest_form, steps, sizes, counts):
    """
    Take a snapshot, diff or quote of a pair in; there must be room for it.

    Args:
        b: The books.
        row: Row of `MESSAGE`.
        pair: Place of the pair here.
        quote_form: Place of the form of quotes, -1 where there is none; likewise `rest_form`, of REST answers.
        steps: Prices of the batch's levels; likewise `sizes` and `counts`.

    Returns:
        Whether it takes part in the fused book.
    """
    kind, form = np.int64(row["kind"]), np.int64(row["form"])
    is_fused = np.int64(row["flags"]) & _FUSED != 0
    book = b.pairs[pair]
    seen = b.seen[pair, form]
    if kind == _DIFF:
        # What was lost of it is said to hold by the next snapshot alone.
        b.seen[pair, form] = seen | (_DIFFS_BIT if is_fused else _APART_BIT)
    elif is_fused:
        b.seen[pair, form] = (seen & _KEEP_BITS) | _WHOLE_BIT | _FUSED_BIT
    else:
        b.seen[pair, form] = (seen & _KEEP_BITS) | _WHOLE_BIT
    if not is_fused:
        return False
    if kind == _DIFF:
        if not book["is_shared"]:
            first, bids = row["first"], np.int64(row["bids"])
            _set_diff(b.store, b.counts, 2 * pair, steps, sizes, counts, first, bids)
            _set_diff(b.store, b.counts, 2 * pair + 1, steps, sizes, counts, first + bids, np.int64(row["asks"]))
        _stamp(book, row["ts_event"], row["ts_recv"])
        return True
    _fuse(b, row, pair, form == rest_form, steps, sizes, counts)
    if book["is_stale"]:
        if quote_form >= 0:
            book["stale_forms"] &= ~(np.uint64(1) << np.uint64(quote_form))
        if kind == _SNAPSHOT:
            book["stale_forms"] &= ~(np.uint64(1) << np.uint64(form))
        if book["stale_forms"] == 0 and book["deepest"] > 0:
            book["is_stale"] = 0
    return True


@kernel
def apply_rows(b, rows, start, stop, quote_form, rest_form, steps, sizes, counts):
    """
    Take in the book messages of `rows[start:stop]`; trades and the like are passed over.

    Returns:
        The place of the first that was not taken in, and why: there is no room for it, or it is an event.
    """
    for at in range(start, stop):
        row = rows[at]
        kind = np.int64(row["kind"])
        if kind == _EVENT:
            return np.int64(at), WANT_PYTHON
        if kind <= _QUOTE:
            pair = np.int64(row["pair"])
            want = room_for(b, row, pair)
            if want:
                return np.int64(at), want
            apply_book(b, row, pair, quote_form, rest_form, steps, sizes, counts)
    return np.int64(stop), _ZERO
