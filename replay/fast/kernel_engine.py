"""
A step function over rows of columns: the order of `replay/strategy/session.py`, compiled.

Before the first message of a frame everything happens that is due by then, in order of time: what arrives at the venue,
answers, timers. Then come the messages; what they cause for own orders is heard of after the last one of the frame.

`run_rows` can be left anywhere for want of room, or for what is Python's to do, and goes on where it was.
"""

from __future__ import annotations

import numpy as np

from recordings.columns.column_batch import Flag, Kind
from replay.fast.book_layout import Seen
from replay.fast.engine_layout import ACTS_MAX, Code, Status, Why
from replay.fast.kernel_books import room_for
from replay.fast.kernel_mail import arrive_next, collect, hear_next, next_answer, next_arrival, refuse_new
from replay.fast.kernel_market import (
    add_event,
    look,
    meets,
    note_change,
    room_for_diff,
    run_events,
    take_book,
    take_funding,
    unshare,
    why_of_book,
)
from replay.market.kernel_core import arrive
from replay.market.layout import EventCode, Reason, RequestCode
from toolkit.kernels.compiling import inlined, kernel, unlocked

__all__ = ["close_run", "end_frame", "reach_time_of", "run_rows", "start_run", "wake_pair_of"]

_DIFF = np.int64(Kind.DIFF)
_QUOTE = np.int64(Kind.QUOTE)
_TRADE = np.int64(Kind.TRADE)
_FUNDING = np.int64(Kind.FUNDING)
_EVENT = np.int64(Kind.EVENT)
_LIQUIDATION = np.int64(Kind.LIQUIDATION)
_FUSED = np.int64(Flag.FUSED)
_SELL = np.int64(Flag.SELL)
_NOT_NEW = np.int64(Flag.HISTORY | Flag.DUPLICATE)
_UNMATCHED = np.int64(Flag.UNMATCHED)
_TRADED = np.int64(EventCode.TRADE)
_WHY_TRADE = np.int64(Why.TRADE)
_WHY_TIMER = np.int64(Why.TIMER)
_WHY_FILL = np.int64(Why.FILL)
_WHY_ORDER = np.int64(Why.ORDER)
_WHY_START = np.int64(Why.START)
_DONE = np.int64(Status.DONE)
_ROOM = np.int64(Status.ROOM)
_CORE = np.int64(Status.CORE)
_BOOKS = np.int64(Status.BOOKS)
_PYTHON = np.int64(Status.PYTHON)
_FAILED = np.int64(Status.FAILED)
_BEGIN = np.int64(Status.BEGIN)
_ASKED = np.int64(Status.FUNDING)
_MEANT = np.int64(Status.EVENT)
_TOP = np.int64(Code.TOP)
_FRAME = np.int64(Code.FRAME)
_ASKED_ROW = np.int64(Code.ASKED)
_ACTS = np.int64(ACTS_MAX)
_NEW = np.int64(RequestCode.NEW)
_CANCEL = np.int64(RequestCode.CANCEL)
_SESSION_END = np.int64(Reason.SESSION_END)
_KEPT_BITS = np.uint8(Seen.DIFFS | Seen.APART)
_WHOLE_BIT = np.uint8(Seen.WHOLE)
_NEVER = np.int64(2**62)
_NO_FRAME = np.int64(-(2**62))
_AT_ONCE = np.int64(100_000)
_ZERO = np.int64(0)
_ONE = np.int64(1)
_NO_REQUEST = np.int64(4)
_CLOSING = np.int64(3)
_DROPPING = np.int64(4)
#: There is too little room in the core for what is to be ended.
_FULL = np.int64(2)


# -- calls ---------------------------------------------------------------------------------------------------------


@inlined
def _has_room(e):
    """Whether there is room for whatever one call, or one answer, asks for and says."""
    h = e.hands
    clock = h.clock[0]
    return (
        clock["free"] >= _ACTS
        and clock["log"] + 2 * _ACTS < len(h.log)
        and clock["posts"] - clock["post_at"] + 2 * _ACTS < len(h.posts)
        and clock["answers"] - clock["answer_at"] + 2 * _ACTS < len(e.answers)
    )


@inlined
def _call(e, why, pair, step):
    """Call the step function. Returns whether it raised nothing."""
    h = e.hands
    clock = h.clock[0]
    for each in range(len(e.quotes)):
        if e.market[each]["changed"] & 2:
            look(e, each)
            e.market[each]["changed"] &= ~2
    for each in range(len(e.me)):
        mine = e.me[each]
        mine["open_buys"], mine["open_sells"], mine["orders"] = 0, 0, 0
    for place in range(clock["open"]):
        order = h.orders[h.listed[place]]
        mine = e.me[order["pair"]]
        mine["orders"] += 1
        if order["side"] == 0:
            mine["open_buys"] += order["left"]
        else:
            mine["open_sells"] += order["left"]
    for place in range(len(e.state)):
        e.state_before[place] = e.state[place]
    clock["acts"], clock["pair"], clock["called_why"] = 0, pair, why
    clock["calls"] += 1
    said = clock["log"]
    is_well = step(clock["now"], why, pair, e.quotes, e.me, e.parameters, e.state, h) == 0
    if clock["acts"] and clock["log"] == said:
        row = h.log[said]
        clock["log"] += 1
        row["now"], row["code"] = clock["now"], _ASKED_ROW
        clock["is_dirty"] = 1
    return is_well


# -- time ----------------------------------------------------------------------------------------------------------


@inlined
def _step_to(clock, due):
    """Go on to a time at which something is due. Returns whether that happens too often at one instant."""
    if due > clock["now"]:
        clock["now"] = due
        clock["at_once"] = 0
    clock["at_once"] += 1
    return clock["at_once"] > _AT_ONCE


@inlined
def reach_time(e, until, step):
    """Do all that is due up to a time. Returns a `Status`; it goes on where it stopped when it is called again."""
    h = e.hands
    clock = h.clock[0]
    while clock["is_running"]:
        arrival, answer, timer = next_arrival(h), next_answer(e), clock["timer"]
        due = min(arrival, answer)
        if due <= until and due <= timer:
            if not _has_room(e):
                return _ROOM
            # All that arrives by then, and then what is heard, one answer after the other.
            if arrival <= due:
                reports = len(e.core.reports)
                if len(e.answers) - clock["answers"] + clock["answer_at"] < reports:
                    return _ROOM
                if len(h.log) - clock["log"] < reports + 2:
                    return _ROOM
                if arrive_next(e):
                    return _CORE
                continue
            if _step_to(clock, due):
                return _FAILED
            pair = h.orders[e.answers[clock["answer_at"]]["slot"]]["pair"]
            kind = hear_next(e)
            why = _WHY_ORDER | (_WHY_FILL if kind == 2 else _ZERO)
            if kind and clock["wakes"] & why:
                if not _call(e, why, pair, step):
                    return _FAILED
        elif timer <= until:
            if not _has_room(e):
                return _ROOM
            if _step_to(clock, timer):
                return _FAILED
            clock["timer"] = timer + clock["every"]
            if clock["jumped_from"] < timer <= clock["jumped_to"]:
                clock["timer"] = timer + ((clock["jumped_to"] - timer) // clock["every"] + 1) * clock["every"]
            if not _call(e, _WHY_TIMER, np.int64(-1), step):
                return _FAILED
        else:
            break
    return _DONE


@kernel
def start_run(e, step):
    """The run begins at the present time. Returns a `Status`."""
    clock = e.hands.clock[0]
    if not _has_room(e):
        return _ROOM
    clock["is_running"] = 1
    clock["timer"] = _NEVER
    if clock["every"] > 0:
        clock["timer"] = (clock["now"] // clock["every"] + 1) * clock["every"]
    for pair in range(len(e.quotes)):
        look(e, pair)
        market, quote = e.market[pair], e.quotes[pair]
        market["bid"], market["bid_size"] = quote["bid"], quote["bid_size"]
        market["ask"], market["ask_size"] = quote["ask"], quote["ask_size"]
        market["held"] = 1 - quote["stale"]
    if clock["wakes"] & _WHY_START:
        if not _call(e, _WHY_START, np.int64(-1), step):
            return _FAILED
    return _DONE


@inlined
def _say_frame(e):
    """Write down that a frame is over in which something happened, and its best prices. Returns a `Status`."""
    clock = e.hands.clock[0]
    clock["is_touched"] = 0
    if clock["logs_tops"]:
        for pair in range(len(e.market)):
            if e.market[pair]["changed"] & 1:
                if clock["log"] + 1 >= len(e.hands.log):
                    return _ROOM
                _say_top(e, pair)
                e.market[pair]["changed"] &= ~1
        if clock["is_dirty"]:
            if clock["log"] + 1 >= len(e.hands.log):
                return _ROOM
            row = e.hands.log[clock["log"]]
            clock["log"] += 1
            row["now"], row["code"], row["stale"] = clock["now"], _FRAME, 0
            for pair in range(len(e.feeds)):
                if e.feeds[pair]["in_doubt"]:
                    row["stale"] = 1
            clock["is_dirty"] = 0
    else:
        clock["is_dirty"] = 0
    return _DONE


@inlined
def _say_top(e, pair):
    """Write down the best prices of a pair."""
    clock = e.hands.clock[0]
    look(e, pair)
    quote = e.quotes[pair]
    row = e.hands.log[clock["log"]]
    clock["log"] += 1
    row["now"], row["code"], row["pair"] = clock["now"], _TOP, pair
    row["bid"], row["bid_size"], row["ask"], row["ask_size"] = (
        quote["bid"],
        quote["bid_size"],
        quote["ask"],
        quote["ask_size"],
    )
    row["stale"] = quote["stale"]
    clock["is_dirty"] = 1


@kernel
def wake_pair(e, pair, step):
    """The book of a pair was changed by Python: call for it. Returns a `Status`."""
    clock = e.hands.clock[0]
    if not _has_room(e):
        return _ROOM
    note_change(e, pair)
    if clock["is_running"]:
        why = why_of_book(e, pair)
        if why and not _call(e, why, pair, step):
            return _FAILED
    return _DONE


# -- rows ----------------------------------------------------------------------------------------------------------


@unlocked
def run_rows(e, rows, start, stop, places, ticks, lots, counts, prices, sizes, step):
    """
    Take in `rows[start:stop]`.

    Args:
        e: The run.
        rows: Rows of `MESSAGE`.
        start: The first one.
        stop: Behind the last one.
        places: Place in the run of each pair of the rows; -1 for one that is none of it.
        ticks: Prices of the levels, in units of their market; likewise `lots` and `counts`.
        prices: The same as they were recorded, and `sizes`.
        step: The step function.

    Returns:
        `(place, status)`: of the row at which it stopped, and why. What is Python's is for it to take in; then it goes
        on with the row behind.
    """
    h = e.hands
    clock = h.clock[0]
    for at in range(start, stop):
        row = rows[at]
        if row["capture_seq"] != clock["frame"]:
            # At most frames nothing is due, nor was anything done; a call with all arrays costs more than this look.
            due = clock["timer"]
            if clock["post_at"] < clock["posts"]:
                due = min(due, h.posts[clock["post_at"]]["due"])
            if clock["answer_at"] < clock["answers"]:
                due = min(due, e.answers[clock["answer_at"]]["due"])
            # First what is due at the time of the frame before, which is over then; after that, what is before this one.
            is_over, now = clock["frame"] == _NO_FRAME, clock["now"]
            while True:
                if is_over:
                    # Also where there is too little room for all that comes before this one.
                    clock["frame"] = _NO_FRAME
                    now = max(clock["now"], row["ts_recv"])
                    if now >= clock["until"]:
                        return np.int64(at), _DONE
                    if clock["notice"] <= now:
                        clock["notice"], clock["is_dirty"] = _NEVER, 1
                has_due = due <= now
                if clock["is_running"] and has_due:
                    if is_over and row["kind"] == _EVENT and clock["heard"] != row["capture_seq"]:
                        return np.int64(at), _MEANT
                    status = reach_time(e, now, step)
                    if status:
                        return np.int64(at), status
                    due = clock["now"]  # what was called has asked for more
                if is_over:
                    break
                if clock["is_running"] and (has_due or clock["is_dirty"] or clock["is_touched"]):
                    status = _say_frame(e)
                    if status:
                        return np.int64(at), status
                is_over = True
            if now != clock["now"]:
                clock["now"], clock["at_once"] = now, 0
            clock["frame"] = row["capture_seq"]
            if clock["is_running"] == 0:
                return np.int64(at), _BEGIN
        kind = np.int64(row["kind"])
        if kind > _FUNDING and kind != _LIQUIDATION:
            return np.int64(at), _PYTHON
        pair = np.int64(-1) if row["pair"] < 0 else places[row["pair"]]
        if pair < 0 or kind == _LIQUIDATION:
            continue
        if clock["log"] + len(e.core.reports) + 8 >= len(h.log):
            return np.int64(at), _ROOM
        if kind == _FUNDING and clock["asks_funding"] == 1 and clock["stage"] == 0:
            clock["asks_funding"] = 2
            return np.int64(at), _ASKED
        if clock["stage"] == 0:
            why = _ZERO
            clock["event_at"], clock["event_count"] = 0, 0
            flags = np.int64(row["flags"])
            if kind == _QUOTE and not flags & _FUSED:
                # It stands beside the book.
                seen = h.books.seen
                seen[pair, row["form"]] = (seen[pair, row["form"]] & _KEPT_BITS) | _WHOLE_BIT
                continue
            if kind <= _QUOTE:
                if kind != _DIFF and h.books.pairs[pair]["is_shared"] and flags & _FUSED:
                    status = unshare(e, row, pair)
                    if status:
                        return np.int64(at), status
                if room_for(h.books, row, pair):
                    return np.int64(at), _BOOKS
                levels = h.books.store.levels
                if kind == _DIFF:
                    status = room_for_diff(e, row, pair)
                    if status:
                        return np.int64(at), status
                else:
                    most = max(levels[2 * pair], levels[2 * pair + 1]) + max(row["bids"], row["asks"])
                    known = e.core.book.levels[2 * pair] + e.core.book.levels[2 * pair + 1]
                    if most >= e.scratch.shape[1] or 2 * most + known + 8 >= len(e.events):
                        return np.int64(at), _ROOM
                if take_book(e, row, pair, ticks, lots, counts) and clock["is_running"]:
                    why = why_of_book(e, pair)
            elif kind == _TRADE:
                first, side = row["first"], _ONE if flags & _SELL else _ZERO
                if not flags & _NOT_NEW:
                    quote = e.quotes[pair]
                    quote["last_price"], quote["last_size"], quote["last_side"] = ticks[first], lots[first], side
                    why = clock["wakes"] & _WHY_TRADE
                    if not flags & _UNMATCHED and meets(
                        e.core.lines[2 * pair + 1 - side], e.core.orders, side, ticks[first]
                    ):
                        add_event(
                            e, clock["now"], row["capture_seq"], pair, _TRADED, side, ticks[first], lots[first], -_ONE
                        )
            elif kind == _FUNDING:
                why = take_funding(e, pair, flags, prices[row["first"]], sizes[row["first"]])
                clock["asks_funding"] = 1 if clock["asks_funding"] else 0
            clock["why"] = why if clock["is_running"] else _ZERO
            clock["stage"] = 1
        if clock["stage"] == 1:
            if clock["event_at"] < clock["event_count"]:
                if clock["answers"] - clock["answer_at"] + len(e.core.reports) >= len(e.answers):
                    return np.int64(at), _ROOM
                if not run_events(e):
                    return np.int64(at), _CORE
            clock["stage"] = 2
        if clock["why"]:
            if not _has_room(e):
                return np.int64(at), _ROOM
            clock["row"] = at
            if not _call(e, clock["why"], pair, step):
                return np.int64(at), _FAILED
        clock["stage"] = 0
    return np.int64(stop), _DONE


# -- from outside --------------------------------------------------------------------------------------------------


@kernel
def end_frame(e, step):
    """The frame is over: what is due at its time, and what it did to the best prices. Returns a `Status`."""
    clock = e.hands.clock[0]
    if clock["is_running"]:
        status = reach_time(e, clock["now"], step)
        if status:
            return status
        return _say_frame(e)
    return _DONE


@kernel
def reach_time_of(e, until, step):
    """As `reach_time`."""
    return reach_time(e, until, step)


@kernel
def wake_pair_of(e, pair, step):
    """As `wake_pair`."""
    return wake_pair(e, pair, step)


@kernel
def close_run(e, step):
    """
    The session ends: what rests is cancelled without latency, what is under way never arrives, all is heard of at once.

    Returns a `Status`.
    """
    h = e.hands
    clock = h.clock[0]
    while clock["stage"] < _CLOSING:
        # Those at the venue first, then requests that wait.
        if not _has_room(e):
            return _ROOM
        ended = _end_next(e)
        if ended == _FULL:
            return _CORE
        if not ended:
            clock["stage"] = _CLOSING
            clock["post_at"], clock["posts"] = 0, 0
    while clock["stage"] == _CLOSING and clock["answer_at"] < clock["answers"]:
        if not _has_room(e):
            return _ROOM
        e.answers[clock["answer_at"]]["due"] = clock["now"]
        pair = h.orders[e.answers[clock["answer_at"]]["slot"]]["pair"]
        kind = hear_next(e)
        why = _WHY_ORDER | (_WHY_FILL if kind == 2 else _ZERO)
        if kind and clock["wakes"] & why:
            if not _call(e, why, pair, step):
                return _FAILED
    # What was sent meanwhile never arrives, and nobody is called for that.
    clock["stage"] = _DROPPING
    while True:
        if not _has_room(e):
            return _ROOM
        if clock["answer_at"] < clock["answers"]:
            e.answers[clock["answer_at"]]["due"] = clock["now"]
            hear_next(e)
        else:
            ended = _end_next(e)
            if ended == _FULL:
                return _CORE
            if not ended:
                break
    clock["is_dirty"] = 1
    status = _say_frame(e)
    if status:
        return status
    for slot in range(len(h.orders)):
        if h.orders[slot]["number"]:
            h.orders[slot]["number"] = 0
            h.free[clock["free"]] = slot
            clock["free"] += 1
    clock["open"], clock["stage"] = 0, 0
    clock["post_at"], clock["posts"] = 0, 0
    clock["is_running"] = 0
    return _DONE


@kernel
def _end_next(e):
    """End an order that the session's end ends. Returns 1; 0 where there is none, 2 where the core has too little room."""
    h = e.hands
    clock = h.clock[0]
    # Those of one venue after those of another, each in the order they were sent.
    first, found = _NEVER, np.int64(-1)
    for place in range(clock["open"]):
        order = h.orders[h.listed[place]]
        venue = h.rules[order["pair"]]["venue"]
        if order["at_venue"] and venue < first:
            first, found = venue, h.listed[place]
    if found >= 0:
        order, request = h.orders[found], e.request[0]
        request["time"], request["number"], request["id"] = clock["now"], -1, order["number"]
        request["code"], request["reason"], request["pair"] = _CANCEL, _SESSION_END, order["pair"]
        if arrive(e.core, request):
            return _FULL
        collect(e, _NO_REQUEST)
        return _ONE
    for at in range(clock["post_at"], clock["posts"]):
        row = h.posts[at]
        if row["code"] == _NEW:
            refuse_new(e, row, h.orders[row["slot"]], clock["now"], _SESSION_END)
            row["code"] = _CANCEL
            return _ONE
    return _ZERO
