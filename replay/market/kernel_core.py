"""
The core: a market event or a request in, reports out.

Nothing grows here. Before an event or request is taken in, `want` says whether there is room for all that may come of
it; if not, nothing is done, and the caller makes larger arrays and comes again.
"""

from __future__ import annotations

import numpy as np

from replay.market.kernel_book import clear_book, first_open, forget_beyond, open_lots, set_book, take_lots
from replay.market.kernel_orders import (
    NO_FRAME,
    NO_REQUEST,
    ZERO,
    add_order,
    end_idle,
    end_order,
    execute,
    fillable,
    find_order,
    line_key,
    report,
    unlink,
)
from replay.market.kernel_queue import bound_front, level_changed, reached
from replay.market.kernel_taking import enter
from replay.market.layout import (
    FAR,
    HORIZON,
    NONE,
    EventCode,
    Reason,
    ReportCode,
    RequestCode,
    Role,
    StateCode,
    Want,
)
from replay.market.rules import AmendLeft, AmendPlace, CrossedBook, ThroughTrade
from toolkit.kernels.compiling import inlined, kernel
from toolkit.kernels.levels import has_room, worse_key

__all__ = ["arrive", "run", "want_for_request"]

_LEVEL = np.int64(EventCode.LEVEL)
_SYNC_LEVEL = np.int64(EventCode.SYNC_LEVEL)
_TRADE = np.int64(EventCode.TRADE)
_CLEAR = np.int64(EventCode.CLEAR)
_HORIZON = np.int64(EventCode.HORIZON)
_STALE = np.int64(EventCode.STALE)
_RESUME = np.int64(EventCode.RESUME)
_NEW = np.int64(RequestCode.NEW)
_AMEND = np.int64(RequestCode.AMEND)
_CANCEL = np.int64(RequestCode.CANCEL)
_MAKER = np.int64(Role.MAKER)
_NEITHER = np.int64(Role.NEITHER)
_CANCELLED = np.int64(StateCode.CANCELLED)
_REJECTED = np.int64(StateCode.REJECTED)
_EXPIRED = np.int64(StateCode.EXPIRED)
_EXPIRY = np.int64(Reason.EXPIRY)
_ACCEPTED = np.int64(ReportCode.ACCEPTED)
_AMENDED = np.int64(ReportCode.AMENDED)
_ENDED = np.int64(ReportCode.ENDED)
_REFUSED = np.int64(ReportCode.REFUSED)
_DONE = np.int64(ReportCode.DONE)
_REQUESTED = np.int64(Reason.REQUESTED)
_UNKNOWN_ORDER = np.int64(Reason.UNKNOWN_ORDER)
_DUPLICATE_ID = np.int64(Reason.DUPLICATE_ID)
_INVALID = np.int64(Reason.INVALID)
_NOTHING_LEFT = np.int64(Reason.NOTHING_LEFT)
_THROUGH_ALL = np.int64(ThroughTrade.ALL.code)
_CROSSED_ALL = np.int64(CrossedBook.ALL.code)
_KEPT = np.int64(AmendPlace.KEPT.code)
_OLD_LEFT = np.int64(AmendLeft.OLD_LEFT.code)
_WANT_REPORTS = np.int64(Want.REPORTS)
_WANT_LEVELS = np.int64(Want.LEVELS)
_WANT_ORDERS = np.int64(Want.ORDERS)
_ONE = np.int64(1)
#: Reports of a request beside those of executions and of own orders that it ends.
_REPORTS_MORE = 4


# -- the market ----------------------------------------------------------------------------------------------------


@kernel
def run(s, events, start, stop, until):
    """
    Take in `events[start:stop]` as far as their time is not after `until`.

    Returns:
        The index of the first event that was not taken in; `want` says whether for lack of room.
    """
    s.counters[0]["want"] = 0
    for index in range(start, stop):
        event = events[index]
        if event["time"] > until:
            return index
        code = np.int64(event["code"])
        line = np.int64(event["pair"]) * 2 + np.int64(event["side"])
        # Each own order is filled at most once by one event, and may be cancelled; a book that resumes fills by levels.
        needed = 2 * s.counters[0]["live"]
        if code == _RESUME:
            needed += s.book.levels[line] + s.book.levels[line + 1]
        if s.counters[0]["reports"] + needed > len(s.reports):
            s.counters[0]["want"] |= _WANT_REPORTS
        if code <= _SYNC_LEVEL and not has_room(s.book, line, _ONE):
            s.counters[0]["want"] |= _WANT_LEVELS
        if s.counters[0]["want"]:
            return index
        key = line_key(line, event["tick"])
        if code <= _SYNC_LEVEL:
            _on_level(s, event, line, key, code == _SYNC_LEVEL)
        elif code == _TRADE:
            _on_trade(s, event, line ^ 1, -key)
        elif code == _CLEAR:
            clear_book(s, line, key)
        elif code == _HORIZON:
            _on_horizon(s, line, key if event["lots"] else np.int64(HORIZON))
        else:
            s.pairs[line >> 1]["stale"] = np.int64(code == _STALE)
            if code == _RESUME:
                _on_resume(s, event, line)
                _on_resume(s, event, line + 1)
        if s.counters[0]["reducing"]:
            end_idle(s, event["time"], line >> 1, NO_REQUEST, event["frame"])
    return stop


@kernel
def _on_resume(s, event, line):
    """Own orders of a line that the other side's levels reach, after a time in which nothing was matched."""
    rules, other = s.rules[0], line ^ 1
    fills_all = rules["crossed_book"] == _CROSSED_ALL or rules["whole_fills"]
    level = first_open(s, other)
    while level != NONE:
        head = s.lines[line]["head"]
        if head < 0 or s.orders[head]["key"] + level < 0:
            return
        lots = np.int64(FAR) if fills_all else open_lots(s, other, level)
        taken = np.int64(0)
        if lots > 0:
            taken = _cross(s, event, line, -level, lots)
        if taken and rules["taken_liquidity"] and not fills_all:
            take_lots(s, other, level, taken)
        level = worse_key(s.book, other, level, NONE)


@inlined
def _on_level(s, event, line, key, is_sync):
    """The book changes, then the queues of own orders there, then own orders that the level reaches are filled."""
    row = s.lines[line]
    best = row["best"]
    lots, count = event["lots"], np.int64(event["count"])
    kept = ZERO if 2 * lots < s.pairs[line >> 1]["grain"] else lots
    before, count_before = set_book(s, line, key, kept, count)
    if row["live"] and row["mask"] & (np.int64(1) << (key & 63)):
        slot = row["head"]
        while slot >= 0 and s.orders[slot]["key"] >= key:
            order = s.orders[slot]
            if order["key"] == key:
                level_changed(s, order, before, lots, count_before, count, is_sync)
            slot = order["next"]
    other = s.lines[line ^ 1]
    if other["live"] == 0 or 2 * lots < s.pairs[line >> 1]["grain"] or s.pairs[line >> 1]["stale"]:
        return
    rules = s.rules[0]
    if rules["crossed_book"] == _CROSSED_ALL or rules["whole_fills"]:
        if row["best"] > best:
            _cross(s, event, line ^ 1, -row["best"], np.int64(FAR))
        return
    taken = _cross(s, event, line ^ 1, -key, lots)
    if taken and rules["taken_liquidity"]:
        take_lots(s, line, key, taken)


@kernel
def _cross(s, event, line, key, lots):
    """Fill own orders at a key or better, as makers, with lots of the level that reaches them. Returns the lots."""
    taken = np.int64(0)
    slot = s.lines[line]["head"]
    while slot >= 0 and s.orders[slot]["key"] >= key:
        order = s.orders[slot]
        following = order["next"]
        fill = min(fillable(s, order), lots - taken)
        if fill > 0:
            taken += fill
            execute(s, event["time"], slot, line_key(line, order["key"]), fill, _MAKER, NO_REQUEST, event["frame"])
        slot = following
    return taken


@kernel
def _on_trade(s, event, line, key):
    """A trade against a line: it passes orders at better prices, and uses up what is ahead of those at its own."""
    if s.pairs[line >> 1]["stale"]:
        return
    rules, lots = s.rules[0], event["lots"]
    fills_all = rules["through_trade"] == _THROUGH_ALL or rules["whole_fills"]
    filled = np.int64(0)
    slot = s.lines[line]["head"]
    while slot >= 0 and s.orders[slot]["key"] >= key:
        order = s.orders[slot]
        following = order["next"]
        left = lots - filled if rules["share_trade"] else lots
        if order["key"] > key:
            fill = fillable(s, order) if fills_all else min(fillable(s, order), left)
            order["front"], order["ahead"], order["orders_ahead"], order["unseen"] = 0, 0.0, 0.0, 0
        elif order["unseen"]:
            fill = np.int64(0)
        else:
            fill = reached(s, order, left, lots)
            fill = fillable(s, order) if rules["whole_fills"] and fill > 0 else min(fillable(s, order), fill)
        if fill > 0:
            filled += fill
            execute(s, event["time"], slot, line_key(line, order["key"]), fill, _MAKER, NO_REQUEST, event["frame"])
        slot = following


@kernel
def _on_horizon(s, line, key):
    """Levels beyond are forgotten; own orders there wait unseen, and those that come into sight are bounded."""
    row = s.lines[line]
    row["horizon"] = key
    if key != HORIZON:
        forget_beyond(s, line, key)
    if not s.rules[0]["unseen"]:
        return
    slot = row["head"]
    while slot >= 0:
        order = s.orders[slot]
        if order["key"] < key:
            order["unseen"] = 1
        elif order["unseen"]:
            bound_front(s, order)
        slot = order["next"]


# -- requests ------------------------------------------------------------------------------------------------------


@inlined
def want_for_request(s, request):
    """What there is no room for, of all that may come of a request."""
    needed = 2 * s.counters[0]["live"] + _REPORTS_MORE
    pair = request["pair"]
    if 0 <= pair < len(s.pairs):
        # Of each level that it takes, and of each own order that it meets there, there is one execution.
        needed += s.counters[0]["live"] + max(s.book.levels[2 * pair], s.book.levels[2 * pair + 1])
    want = np.int64(0)
    if s.counters[0]["reports"] + needed > len(s.reports):
        want |= _WANT_REPORTS
    if s.counters[0]["free"] == 0:
        want |= _WANT_ORDERS
    return want


@inlined
def arrive(s, request):
    """A request reaches the venue. Returns what there is no room for; nothing was done then."""
    want = want_for_request(s, request)
    if want:
        return want
    code, pair = request["code"], request["pair"]
    if code == _NEW:
        _on_new(s, request)
    elif code == _AMEND:
        _on_amend(s, request)
    elif code == _CANCEL:
        slot = find_order(s, request["id"])
        if slot < 0:
            _refuse(s, request, _UNKNOWN_ORDER)
        else:
            _on_cancel(s, request, slot)
    else:
        _on_cancel_all(s, request)
    if 0 <= pair < len(s.pairs):
        end_idle(s, request["time"], pair, request["number"], NO_FRAME)
    return np.int64(0)


@kernel
def _on_cancel(s, request, slot):
    """Its sender asks for it, or the venue ends it for a reason of its own."""
    reason = request["reason"] if request["reason"] else _REQUESTED
    state = _EXPIRED if reason == _EXPIRY else _CANCELLED
    end_order(s, request["time"], slot, state, reason, request["number"], NO_FRAME)


@kernel
def _say(s, request, code, lots, state, reason):
    """Answer a request of which there is no order."""
    row = s.reports[s.counters[0]["reports"]]
    s.counters[0]["reports"] += 1
    row["time"] = request["time"]
    row["id"] = request["id"]
    row["request"] = request["number"]
    row["frame"] = -1
    row["tick"] = request["tick"]
    row["lots"] = lots
    row["left"] = 0
    row["filled"] = 0
    row["size"] = request["lots"]
    row["pair"] = request["pair"]
    row["code"] = code
    row["side"] = request["side"]
    row["state"] = state
    row["role"] = _NEITHER
    row["reason"] = reason
    row["pad"] = 0


@kernel
def _refuse(s, request, reason):
    _say(s, request, _REFUSED, ZERO, ZERO, reason)


@kernel
def _on_new(s, request):
    pair = request["pair"]
    if request["lots"] <= 0 or not 0 <= pair < len(s.pairs):
        _say(s, request, _ENDED, ZERO, _REJECTED, _INVALID)
        return
    if find_order(s, request["id"]) >= 0:
        _refuse(s, request, _DUPLICATE_ID)
        return
    slot = add_order(s, request["id"])
    order = s.orders[slot]
    line = pair * 2 + request["side"]
    order["line"] = line
    order["key"] = line_key(line, request["tick"])
    order["lots"], order["left"], order["filled"] = request["lots"], request["lots"], 0
    order["tif"], order["market"], order["reduce"] = request["tif"], request["market"], request["reduce"]
    order["state"], order["rests"], order["unseen"] = 0, 0, 0
    enter(s, request["time"], slot, _ACCEPTED, request["number"])


@kernel
def _on_amend(s, request):
    """In place where the rules keep the place; else the order goes, and comes again under its id."""
    slot = find_order(s, request["id"])
    if slot < 0:
        _refuse(s, request, _UNKNOWN_ORDER)
        return
    lots = request["lots"]
    if lots <= 0:
        _refuse(s, request, _INVALID)
        return
    order, rules = s.orders[slot], s.rules[0]
    key = line_key(order["line"], request["tick"])
    is_old = rules["amend_left"] == _OLD_LEFT
    left = lots if is_old else lots - order["filled"]
    if left <= 0:
        end_order(s, request["time"], slot, _CANCELLED, _NOTHING_LEFT, request["number"], NO_FRAME)
        return
    if rules["amend_place"] == _KEPT and key == order["key"] and left <= order["left"]:
        order["lots"], order["left"] = lots, left
        report(s, request["time"], slot, _AMENDED, request["tick"], ZERO, _NEITHER, ZERO, request["number"], NO_FRAME)
        return
    unlink(s, slot)
    order["key"], order["lots"] = key, lots
    order["left"] = request["known_left"] if is_old and request["known_left"] > 0 else left
    enter(s, request["time"], slot, _AMENDED, request["number"])


@kernel
def _on_cancel_all(s, request):
    """Line by line, the best price first; then the answer, which says how many."""
    cancelled = np.int64(0)
    for line in range(len(s.lines)):
        if request["pair"] >= 0 and line >> 1 != request["pair"]:
            continue
        while s.lines[line]["head"] >= 0:
            _on_cancel(s, request, s.lines[line]["head"])
            cancelled += 1
    _say(s, request, _DONE, cancelled, ZERO, ZERO)
