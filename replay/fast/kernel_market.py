"""What the market does in the compiled run of a step function: to the books, to own orders, and to what is seen of it."""

from __future__ import annotations

import numpy as np

from recordings.columns.column_batch import NO_COUNT, NO_TIME, Flag, Kind
from replay.fast.engine_layout import Code, Status, Why
from replay.fast.kernel_books import apply_book
from replay.fast.kernel_mail import collect
from replay.market.kernel_core import run
from replay.market.layout import NONE, EventCode, Want
from toolkit.kernels.compiling import inlined, kernel
from toolkit.kernels.levels import best, clear_side, has_room, set_level, side_columns, slot_of, worse_key

__all__ = [
    "add_event",
    "look",
    "meets",
    "note_change",
    "room_for_diff",
    "run_events",
    "take_book",
    "take_funding",
    "unshare",
    "why_of_book",
]

_SNAPSHOT = np.int64(Kind.SNAPSHOT)
_DIFF = np.int64(Kind.DIFF)
_SETTLED = np.int64(Flag.SETTLED)
_FUSED = np.int64(Flag.FUSED)
_COUNTED = np.int64(Flag.COUNTED)
_NO_COUNT = np.int64(NO_COUNT)
_NO_TIME = np.int64(NO_TIME)
_LEVEL = np.int64(EventCode.LEVEL)
_SYNC_LEVEL = np.int64(EventCode.SYNC_LEVEL)
_HORIZON = np.int64(EventCode.HORIZON)
_STALE = np.int64(EventCode.STALE)
_RESUME = np.int64(EventCode.RESUME)
_WHY_QUOTE = np.int64(Why.QUOTE)
_WHY_FUNDING = np.int64(Why.FUNDING)
_WHY_GAP = np.int64(Why.GAP)
_WHY_BOOK = np.int64(Why.BOOK)
_DONE = np.int64(Status.DONE)
_ROOM = np.int64(Status.ROOM)
_CORE = np.int64(Status.CORE)
_BOOKS = np.int64(Status.BOOKS)
_MARK = np.int64(Code.MARK)
_RESUMED = np.int64(Code.RESUMED)
_NONE_KEY = np.int64(NONE)
_WANT_REPORTS = np.int64(Want.REPORTS)
_WANT_LEVELS = np.int64(Want.LEVELS)
_END = np.int64(2**63 - 1)
_ZERO = np.int64(0)
_ONE = np.int64(1)
_NO_REQUEST = np.int64(4)


@inlined
def look(e, pair):
    """Bring what a step function sees of a pair's book up to date."""
    if e.hands.books.pairs[pair]["is_shared"]:
        _look_at(e.quotes[pair], e.core.book, 2 * pair)
    else:
        _look_at(e.quotes[pair], e.hands.books.store, 2 * pair)
    e.quotes[pair]["stale"] = e.hands.books.pairs[pair]["is_stale"]


@inlined
def _look_at(quote, store, line):
    price, size = _ZERO, _ZERO
    if store.levels[line] > 0:
        key, size = best(store, line)
        price = abs(key)
    quote["bid"], quote["bid_size"] = price, size
    price, size = _ZERO, _ZERO
    if store.levels[line + 1] > 0:
        key, size = best(store, line + 1)
        price = abs(key)
    quote["ask"], quote["ask_size"] = price, size


@inlined
def add_event(e, now, frame, pair, code, side, tick, lots, count):
    """Add an event of the market for the core."""
    clock = e.hands.clock[0]
    event = e.events[clock["event_count"]]
    event["time"], event["recv"], event["frame"] = now, now, frame
    event["tick"], event["lots"], event["count"] = tick, lots, count
    event["pair"], event["code"], event["side"] = pair, code, side
    clock["event_count"] += 1


@kernel
def _columns(e, side, to, is_core):
    """Levels of a side of a book, best first, into rows `to` of the scratch; without one of all counts, without any."""
    store = e.core.book if is_core else e.hands.books.store
    keys, sizes, counts = e.scratch[to], e.scratch[to + 1], e.scratch[to + 2]
    count = store.levels[side]
    side_columns(store, side, keys, sizes)
    is_counted = True
    for place in range(count):
        slot = slot_of(store, side, keys[place])
        if is_core:
            counts[place] = e.core.counts[slot, keys[place] & 63]
        else:
            counts[place] = e.hands.books.counts[slot, keys[place] & 63]
            is_counted = is_counted and counts[place] != _NO_COUNT
    if not is_counted:
        for place in range(count):
            counts[place] = -1
    return count


@kernel
def _say_changes(e, pair, now, frame, code):
    """What of a pair's book is new to the core: first what is gone on both sides, then what is new, then the sight."""
    feed = e.feeds[pair]
    for side in range(2):
        line = 2 * pair + side
        fused, known = _columns(e, line, 0, False), _columns(e, line, 3, True)
        is_cut = feed["cut_bids"] if side == 0 else feed["cut_asks"]
        other = _ZERO
        for place in range(known):
            key = e.scratch[3, place]
            while other < fused and e.scratch[0, other] > key:
                other += 1
            if other < fused and e.scratch[0, other] == key:
                continue
            if is_cut and fused > 0 and key < e.scratch[0, fused - 1]:
                continue  # it is out of sight
            add_event(e, now, frame, pair, code, side, abs(key), _ZERO, np.int64(-1))
    for side in range(2):
        line = 2 * pair + side
        fused, known = _columns(e, line, 0, False), _columns(e, line, 3, True)
        other = _ZERO
        for place in range(fused):
            key = e.scratch[0, place]
            while other < known and e.scratch[3, other] > key:
                other += 1
            lots, count = e.scratch[1, place], e.scratch[2, place]
            if other < known and e.scratch[3, other] == key:
                if e.scratch[4, other] == lots and e.scratch[5, other] == count:
                    continue
            add_event(e, now, frame, pair, code, side, abs(key), lots, count)
    for side in range(2):
        line = 2 * pair + side
        count = e.hands.books.store.levels[line]
        is_cut = feed["cut_bids"] if side == 0 else feed["cut_asks"]
        worst = np.int64(-1)
        if is_cut and count > 0:
            _columns(e, line, 0, False)
            worst = abs(e.scratch[0, count - 1])
        before = feed["horizon_bids"] if side == 0 else feed["horizon_asks"]
        if worst != before:
            add_event(e, now, frame, pair, _HORIZON, side, max(worst, _ZERO), np.int64(worst >= 0), np.int64(-1))
            if side == 0:
                feed["horizon_bids"] = worst
            else:
                feed["horizon_asks"] = worst


@kernel
def unshare(e, row, pair):
    """
    A pair's book is other than the core's from now on, since a message that is no diff comes.

    Returns a `Status` other than `DONE` for want of room.
    """
    books, core = e.hands.books, e.core
    book, known = books.store, core.book
    newest, ts = books.pairs[pair]["newest_ts"], row["ts_event"]
    if row["kind"] == _SNAPSHOT and row["cap"] < 0 and (ts == _NO_TIME or newest == _NO_TIME or ts > newest):
        # Nothing will be left of what there is.
        books.pairs[pair]["is_shared"] = 0
        return _DONE
    for line in range(2 * pair, 2 * pair + 2):
        if known.levels[line] >= e.scratch.shape[1]:
            return _ROOM
    bids, asks = known.levels[2 * pair], known.levels[2 * pair + 1]
    if not (has_room(book, 2 * pair, bids) and has_room(book, 2 * pair + 1, asks) and book.free[0] >= bids + asks):
        return _BOOKS
    for line in range(2 * pair, 2 * pair + 2):
        keys, sizes = e.scratch[0], e.scratch[1]
        side_columns(known, line, keys, sizes)
        for place in range(known.levels[line]):
            key = keys[place]
            set_level(book, line, key, sizes[place])
            count = core.counts[slot_of(known, line, key), key & 63]
            books.counts[slot_of(book, line, key), key & 63] = count if count >= 0 else _NO_COUNT
    books.pairs[pair]["is_shared"] = 0
    e.feeds[pair]["is_same"] = 0
    return _DONE


@kernel
def _share(e, pair):
    """A pair's book is the core's from now on."""
    store = e.hands.books.store
    clear_side(store, 2 * pair)
    clear_side(store, 2 * pair + 1)
    e.hands.books.pairs[pair]["is_shared"] = 1
    e.feeds[pair]["is_same"] = 0


@inlined
def _feed(book, taken, known, lines, orders, line, ticks, lots, counts, at, end, clears, counted):
    """
    Set levels of a side of the core's book, as far as no own order is touched by one; the place of the first that does.

    It is `replay.market.kernel_book.set_book`, word for word. Most levels are of a page that is there and stays, and then
    nothing is called. What is the same for all of them is read once: whatever is written might be it, for a compiler.
    """
    mine, other = lines[line], lines[line ^ 1]
    sign = _ONE if line & 1 == 0 else -_ONE
    mask = mine["mask"] if mine["live"] else _ZERO
    reach = -orders[other["head"]]["key"] if other["live"] else _END
    top, opposite = mine["best"], other["best"]
    hints, levels = book.hint.shape[1] - 1, book.levels[line]
    while at < end:
        key, size = sign * ticks[at], lots[at]
        place = key & 63
        if key >= reach and size > 0:
            break
        if mask >> place & 1:
            own = mine["head"]
            while own >= 0 and orders[own]["key"] > key:
                own = orders[own]["next"]
            if own >= 0 and orders[own]["key"] == key:
                break
        page = key >> 6
        slot = np.int64(book.hint[line, page & hints])
        is_set = False
        if book.owner[slot] == page:
            bits = book.bits[slot]
            others = bits & ~(np.uint64(1) << np.uint64(place))
            after = others | (np.uint64(size > 0) << np.uint64(place))
            if after:
                is_set = True
                book.bits[slot] = after
                levels += np.int64(after != others) - np.int64(bits != others)
                book.sizes[slot, place] = size
        if not is_set:
            book.levels[line] = levels
            set_level(book, line, key, size)
            levels = book.levels[line]
            slot = slot_of(book, line, key)
        if size > 0:
            if clears:
                taken[slot, place] = 0
            if counted:
                known[slot, place] = counts[at] if counts[at] >= 0 else -1
            if key > top:
                top = key
                if key + opposite >= 0:
                    opposite = worse_key(book, line ^ 1, -key, _NONE_KEY)
        elif key == top:
            top = worse_key(book, line, key, _NONE_KEY)
        at += 1
    book.levels[line] = levels
    mine["best"], other["best"] = top, opposite
    return at


@inlined
def take_book(e, row, pair, ticks, lots, counts):
    """A snapshot, diff or quote: into the books, and as events for the core. Returns whether it changed the fused book."""
    clock = e.hands.clock[0]
    is_diff, flags = row["kind"] == _DIFF, np.int64(row["flags"])
    if flags & _COUNTED or not is_diff:
        clock["counted"] = 1
    if is_diff and flags & _FUSED and e.feeds[pair]["is_same"]:
        _share(e, pair)
    if not apply_book(e.hands.books, row, pair, clock["quote_form"], clock["rest_form"], ticks, lots, counts):
        return False
    feed, kind, now, frame = e.feeds[pair], np.int64(row["kind"]), clock["now"], row["capture_seq"]
    first, bids, asks = row["first"], np.int64(row["bids"]), np.int64(row["asks"])
    if kind == _DIFF:
        feed["is_exact"], feed["cut_bids"], feed["cut_asks"] = 1, 0, 0
        core, at, middle, end = e.core, first, first + bids, first + bids + asks
        while at < end:
            side, stop = (_ZERO, middle) if at < middle else (_ONE, end)
            at = _feed(
                core.book,
                core.taken,
                core.counts,
                core.lines,
                core.orders,
                2 * pair + side,
                ticks,
                lots,
                counts,
                at,
                stop,
                core.counters[0]["took"],
                clock["counted"],
            )
            if at < stop:
                # It touches an own order.
                count = np.int64(counts[at])
                clock["event_count"] = 0
                add_event(e, now, frame, pair, _LEVEL, side, ticks[at], lots[at], count if count >= 0 else -_ONE)
                run(core, e.events, 0, 1, _END)
                if core.counters[0]["reports"]:
                    collect(e, _NO_REQUEST)
                clock["event_count"] = 0
                at += 1
    else:
        is_joining = feed["is_joining"]
        is_whole = kind == _SNAPSHOT and row["cap"] < 0
        # Once the core has taken in what follows, and where it leaves nothing out.
        feed["is_same"] = np.int64(is_whole and e.core.pairs[pair]["grain"] == 1)
        if is_whole:
            feed["is_exact"], feed["cut_bids"], feed["cut_asks"] = 1, 0, 0
            is_joining = 1
        if is_whole or not feed["is_exact"]:
            if kind == _SNAPSHOT and not is_whole and row["cap"] >= feed["cap"]:
                feed["cap"] = row["cap"]
                feed["cut_bids"], feed["cut_asks"] = np.int64(bids >= feed["cap"]), np.int64(asks >= feed["cap"])
            _say_changes(e, pair, now, frame, _SYNC_LEVEL if is_joining else _LEVEL)
            if kind == _SNAPSHOT:
                feed["is_joining"] = 0
    is_stale = e.hands.books.pairs[pair]["is_stale"]
    if is_stale != feed["is_stale"]:
        feed["is_stale"] = is_stale
        add_event(e, now, frame, pair, _STALE if is_stale else _RESUME, _ZERO, _ZERO, _ZERO, np.int64(-1))
        if not is_stale:
            feed["in_doubt"] &= ~_ONE
            said = e.hands.log[clock["log"]]
            clock["log"] += 1
            said["now"], said["code"], said["pair"] = now, _RESUMED, pair
    note_change(e, pair)
    return True


@kernel
def note_change(e, pair):
    """The book of a pair has changed: what is seen of it is out of date, and the record has it from then on."""
    clock = e.hands.clock[0]
    e.market[pair]["changed"] |= 2
    if clock["is_running"]:
        e.market[pair]["changed"] |= 1
        clock["is_touched"] = 1


@inlined
def why_of_book(e, pair):
    """For what a change of a pair's book calls."""
    clock, market = e.hands.clock[0], e.market[pair]
    look(e, pair)
    market["changed"] &= ~2
    quote = e.quotes[pair]
    why = clock["wakes"] & _WHY_BOOK
    if clock["wakes"] & _WHY_QUOTE:
        is_same = market["bid"] == quote["bid"] and market["ask"] == quote["ask"]
        if not (is_same and market["bid_size"] == quote["bid_size"] and market["ask_size"] == quote["ask_size"]):
            slot = clock["now"] // clock["min_gap"] if clock["min_gap"] else -_ONE
            if slot < 0 or slot != market["slot"]:
                market["slot"] = slot
                market["bid"], market["bid_size"] = quote["bid"], quote["bid_size"]
                market["ask"], market["ask_size"] = quote["ask"], quote["ask_size"]
                why |= _WHY_QUOTE
    if market["held"] == quote["stale"]:
        market["held"] = 1 - quote["stale"]
        # Its first snapshot ends no gap.
        if quote["stale"]:
            market["wakes"] = 1
            why |= clock["wakes"] & _WHY_GAP
        elif market["wakes"]:
            market["wakes"] = 0
            why |= clock["wakes"] & _WHY_GAP
    return why


@inlined
def run_events(e):
    """The market acts on own orders. Returns whether all of it did."""
    clock = e.hands.clock[0]
    clock["event_at"] = run(e.core, e.events, clock["event_at"], clock["event_count"], _END)
    if e.core.counters[0]["reports"]:
        collect(e, _NO_REQUEST)
    return e.core.counters[0]["want"] == 0


@kernel
def take_funding(e, pair, flags, mark, rate):
    """Mark price and rate of funding. Returns for what that calls."""
    clock, quote = e.hands.clock[0], e.quotes[pair]
    if mark == mark:
        e.market[pair]["venue_mark"] = mark
    if flags & _SETTLED == 0:
        if mark == mark:
            quote["mark"] = mark
        if rate == rate:
            quote["funding"] = rate
        if clock["logs_tops"] and mark > 0.0:
            row = e.hands.log[clock["log"]]
            clock["log"] += 1
            row["now"], row["code"], row["pair"], row["value"] = clock["now"], _MARK, pair, mark
            clock["is_dirty"] = 1
    return clock["wakes"] & _WHY_FUNDING


@inlined
def meets(line, orders, side, tick):
    """Whether a trade reaches an own order of the line that it is against."""
    # By the key of that line: the tick of bids, which sellers meet, and minus that of asks.
    return line["live"] > 0 and orders[line["head"]]["key"] >= (tick if side == 1 else -tick)


@inlined
def room_for_diff(e, row, pair):
    """A `Status` other than `DONE` where there is too little room for whatever a diff does to own orders."""
    core, clock = e.core, e.hands.clock[0]
    bids, asks = np.int64(row["bids"]), np.int64(row["asks"])
    want = _ZERO
    if not (has_room(core.book, 2 * pair, bids) and has_room(core.book, 2 * pair + 1, asks)):
        want |= _WANT_LEVELS
    elif core.book.free[0] < bids + asks:
        want |= _WANT_LEVELS
    live = core.counters[0]["live"]
    if 2 * live + 2 > len(core.reports):
        want |= _WANT_REPORTS
    if want:
        core.counters[0]["want"] = want
        return _CORE
    if live:
        clock["needs"] = 2 * live * (bids + asks) + 8
        if clock["answers"] - clock["answer_at"] + clock["needs"] >= len(e.answers):
            return _ROOM
        if clock["log"] + clock["needs"] >= len(e.hands.log):
            return _ROOM
    return _DONE
