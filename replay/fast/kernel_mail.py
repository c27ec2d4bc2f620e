"""
Requests under way, the venue's doors, and answers on their way back, as `replay/backtest/exchange.py` has them.

About one order nothing overtakes; between orders the times decide, and at equal times the order of sending.
"""

from __future__ import annotations

import numpy as np

from replay.fast.engine_layout import PENDING_MAX, Code
from replay.market.kernel_core import arrive, want_for_request
from replay.market.kernel_orders import find_order
from replay.market.layout import NONE, Reason, ReportCode, RequestCode, StateCode, TifCode
from toolkit.kernels.compiling import inlined, kernel

__all__ = [
    "arrive_next",
    "collect",
    "has_figures",
    "hear_next",
    "next_answer",
    "next_arrival",
    "post",
    "refuse_new",
    "say_sent",
]

_NEW = np.int64(RequestCode.NEW)
_CANCEL = np.int64(RequestCode.CANCEL)
_ACCEPTED = np.int64(ReportCode.ACCEPTED)
_AMENDED = np.int64(ReportCode.AMENDED)
_EXECUTED = np.int64(ReportCode.EXECUTED)
_ENDED = np.int64(ReportCode.ENDED)
_REFUSED = np.int64(ReportCode.REFUSED)
_UNKNOWN = np.int64(StateCode.UNKNOWN)
_OPEN = np.int64(StateCode.OPEN)
_PARTLY = np.int64(StateCode.PARTIALLY_FILLED)
_FILLED = np.int64(StateCode.FILLED)
_REJECTED = np.int64(StateCode.REJECTED)
_GTC = np.int64(TifCode.GTC)
_POST_ONLY = np.int64(TifCode.POST_ONLY)
_RATE_LIMIT = np.int64(Reason.RATE_LIMIT)
_NO_MARKET = np.int64(Reason.NO_MARKET)
_NOT_OFFERED = np.int64(Reason.NOT_OFFERED)
_INVALID = np.int64(Reason.INVALID)
_OFF_TICK = np.int64(Reason.OFF_TICK)
_OFF_LOT = np.int64(Reason.OFF_LOT)
_MIN_NOTIONAL = np.int64(Reason.MIN_NOTIONAL)
_TOO_MANY = np.int64(Reason.TOO_MANY_ORDERS)
_SENT = np.int64(Code.SENT)
_ANSWERED = np.int64(Code.ANSWER)
_EXECUTED_ROW = np.int64(Code.EXECUTED)
_UNCERTAIN = np.int64(Code.UNCERTAIN)
_PRICE_BAND = np.int64(Reason.PRICE_BAND)
_PENDING = np.int64(PENDING_MAX)
_NEVER = np.int64(2**62)
_NONE_KEY = np.int64(NONE)
_ZERO = np.int64(0)
_ONE = np.int64(1)
_AT_MARKET = np.int64(16)
_REDUCES = np.int64(32)


# -- requests ------------------------------------------------------------------------------------------------------


@inlined
def post(h, slot, code, tick, lots):
    """Send a request about an order; there must be room. Returns False where too many about it are under way."""
    clock, order = h.clock[0], h.orders[slot]
    if order["pending"] >= _PENDING:
        return False
    clock["numbers"] += 1
    number = clock["numbers"]
    place = order["pending"]
    h.pending[slot, 2 * place] = number
    h.pending[slot, 2 * place + 1] = code
    order["pending"] += 1
    if code == _CANCEL:
        order["cancelling"] += 1
    due = max(clock["now"] + h.latency[code], order["arrives"])
    order["arrives"] = due
    clock["post_at"], clock["posts"], at = _make_place(h.posts, clock["post_at"], clock["posts"], due)
    row = h.posts[at]
    row["due"], row["number"], row["slot"], row["order"] = due, number, slot, order["number"]
    row["code"], row["tick"], row["lots"], row["known_left"] = code, tick, lots, order["left"]
    return True


@inlined
def _make_place(rows, begin, end, due):
    """
    Make a place among rows in the order of their times, after those of the same time; there must be room for one more.

    Returns:
        Where the rows begin and end by then, and the place.
    """
    if end == len(rows):
        # What is over stands at the beginning.
        end -= begin
        for at in range(end):
            rows[at] = rows[begin + at]
        begin = _ZERO
    at = end
    while at > begin and rows[at - 1]["due"] > due:
        rows[at] = rows[at - 1]
        at -= 1
    return begin, end + 1, at


@inlined
def next_arrival(h):
    """When the next request arrives."""
    clock = h.clock[0]
    return h.posts[clock["post_at"]]["due"] if clock["post_at"] < clock["posts"] else _NEVER


@inlined
def next_answer(e):
    """When the next answer is heard."""
    clock = e.hands.clock[0]
    return e.answers[clock["answer_at"]]["due"] if clock["answer_at"] < clock["answers"] else _NEVER


@inlined
def say_sent(h, slot):
    """Write down that an order was sent."""
    clock, order = h.clock[0], h.orders[slot]
    row = h.log[clock["log"]]
    clock["log"] += 1
    row["now"], row["code"], row["pair"], row["number"] = clock["now"], _SENT, order["pair"], order["number"]
    row["side"], row["tif"], row["market"], row["reduce"] = (
        order["side"],
        order["tif"],
        order["market"],
        order["reduce"],
    )
    row["order_tick"], row["is_done"], row["cancelling"] = order["tick"], 0, 0
    clock["is_dirty"] = 1
    row["size"], row["left"] = order["size"], order["left"]


# -- the venue's door ----------------------------------------------------------------------------------------------


@inlined
def _spend(e, venue, code, at_ns):
    """Take the tokens of a request; False, and none are taken, where a bucket holds too few."""
    limits = e.limits
    for take in range(2):
        for place in range(len(limits)):
            limit = limits[place]
            if limit["venue"] != venue:
                continue
            cost = limit["costs"][code]
            # It fills up in `per`: more time has passed makes no difference, and might not fit into a number.
            passed = min(at_ns - limit["since"], limit["per"]) if limit["since"] else limit["per"]
            missing = max(_ZERO, limit["missing"] - limit["tokens"] * passed) + cost * limit["per"]
            if take == 0:
                if cost and missing > limit["tokens"] * limit["per"]:
                    return False
            else:
                limit["missing"], limit["since"] = missing, at_ns
    return True


@kernel
def has_figures(rule, tick):
    """Whether a price has no more figures than the venue takes, or is a whole number."""
    if rule["figures"] == 0:
        return True
    whole = _ONE
    for _ in range(rule["decimals"]):
        whole *= 10
    if tick % whole == 0:
        return True
    while tick % 10 == 0:
        tick //= 10
    figures = _ZERO
    while tick > 0:
        tick //= 10
        figures += 1
    return figures <= rule["figures"]


@kernel
def _refusal(e, order, code, tick, lots):
    """Why the venue does not take an order of that price and size; 0 if it does."""
    rule = e.hands.rules[order["pair"]]
    if not rule["is_active"]:
        return _NO_MARKET
    kinds = _ONE << order["tif"]
    if order["market"]:
        kinds |= _AT_MARKET
    if order["reduce"]:
        kinds |= _REDUCES
        if rule["reduce_tifs"] and not order["market"] and not (rule["reduce_tifs"] >> order["tif"]) & 1:
            return _NOT_OFFERED
    if kinds & rule["lacks"]:
        return _NOT_OFFERED
    if lots <= 0 or tick < 0:
        return _INVALID
    if tick and (tick % rule["ticks"] or not has_figures(rule, tick)):
        return _OFF_TICK
    if lots % rule["lots"]:
        return _OFF_LOT
    if (rule["least"] or rule["is_inverse"]) and not (order["reduce"] and rule["exempts_reducing"]):
        if rule["is_inverse"]:
            if lots * rule["unit_size"] < rule["least_value"]:
                return _MIN_NOTIONAL
        elif tick:
            if tick * lots < rule["least"]:
                return _MIN_NOTIONAL
        else:
            mark = e.market[order["pair"]]["venue_mark"]
            if mark == mark:
                if lots * rule["unit_size"] * mark < rule["least_value"]:
                    return _MIN_NOTIONAL
            else:
                # It would take the other side.
                best = e.core.lines[2 * order["pair"] + 1 - order["side"]]["best"]
                if best != _NONE_KEY and abs(best) * lots < rule["least"]:
                    return _MIN_NOTIONAL
    reason = _ZERO
    if code == _NEW and not order["market"] and (order["tif"] == _GTC or order["tif"] == _POST_ONLY):
        reason = _crowded(e, order["pair"], rule)
    if reason == 0 and rule["band"] and tick and _is_far(e, order, rule, tick):
        reason = _PRICE_BAND
    return reason


@kernel
def _is_far(e, order, rule, tick):
    """Whether a limit is outside of the venue's band."""
    if rule["band"] == _ONE:
        around = e.market[order["pair"]]["venue_mark"]
    else:
        bid, ask = e.core.lines[2 * order["pair"]]["best"], e.core.lines[2 * order["pair"] + 1]["best"]
        if bid == _NONE_KEY or ask == _NONE_KEY:
            return False
        over, under = rule["price_over"], rule["price_under"]
        around = (abs(bid) * over / under + abs(ask) * over / under) / 2
    price = tick * rule["price_over"] / rule["price_under"]
    low, high = rule["band_low"][order["side"]], rule["band_high"][order["side"]]
    return around == around and (price < around * low or price > around * high)


@kernel
def _crowded(e, pair, rule):
    if rule["max_orders"] < 0 and rule["max_of_pair"] < 0:
        return _ZERO
    h = e.hands
    of_venue, of_pair = _ZERO, _ZERO
    for place in range(h.clock[0]["open"]):
        order = h.orders[h.listed[place]]
        if order["at_venue"] and h.rules[order["pair"]]["venue"] == rule["venue"]:
            of_venue += 1
            if order["pair"] == pair:
                of_pair += 1
    if 0 <= rule["max_orders"] <= of_venue or 0 <= rule["max_of_pair"] <= of_pair:
        return _TOO_MANY
    return _ZERO


@inlined
def arrive_next(e):
    """
    The next request arrives; there must be room for an answer of each report.

    Returns:
        What the core has too little room for, and then nothing was done.
    """
    h = e.hands
    clock = h.clock[0]
    row = h.posts[clock["post_at"]]
    order = h.orders[row["slot"]]
    request = e.request[0]
    code = row["code"]
    request["time"], request["number"], request["id"] = row["due"], row["number"], row["order"]
    request["tick"], request["lots"], request["known_left"] = row["tick"], row["lots"], row["known_left"]
    request["pair"], request["code"], request["side"] = order["pair"], code, order["side"]
    request["tif"], request["market"], request["reduce"], request["reason"] = (
        order["tif"],
        order["market"],
        order["reduce"],
        0,
    )
    want = want_for_request(e.core, request)
    if want:
        return want
    clock["post_at"] += 1
    rule = h.rules[order["pair"]]
    reason = _ZERO
    if not _spend(e, rule["venue"], code, row["due"]):
        reason = _RATE_LIMIT
    elif code != _CANCEL:
        tick = _ZERO if order["market"] else row["tick"]
        reason = _refusal(e, order, code, tick, row["lots"])
    if reason:
        _refuse(e, row, order, code, reason)
        return _ZERO
    feed = e.feeds[order["pair"]]
    if code == _NEW and (feed["in_doubt"] or feed["is_stale"]) and not order["market"]:
        if order["tif"] == _GTC or order["tif"] == _POST_ONLY:
            order["is_uncertain"] = 1
            clock["told"] += 1
            said = h.log[clock["log"]]
            clock["log"] += 1
            said["now"], said["code"], said["pair"], said["number"] = (
                row["due"],
                _UNCERTAIN,
                order["pair"],
                order["number"],
            )
    arrive(e.core, request)
    collect(e, code)
    return _ZERO


@kernel
def refuse_new(e, row, order, at_ns, reason):
    """A new order is refused at another time than that of its arrival."""
    row["due"] = at_ns
    _refuse(e, row, order, _NEW, reason)


@kernel
def _refuse(e, row, order, code, reason):
    is_new = code == _NEW
    _answer(
        e,
        row["slot"],
        row["due"],
        row["number"],
        _ENDED if is_new else _REFUSED,
        _REJECTED if is_new else _UNKNOWN,
        row["tick"],
        _ZERO,
        order["left"],
        order["filled"],
        row["lots"],
        _ZERO,
        reason,
        code,
        -_ONE,
    )


# -- answers -------------------------------------------------------------------------------------------------------


@inlined
def collect(e, code):
    """What the core has reported becomes answers; `code` is the kind of the request that did it, 4: none did."""
    h, s = e.hands, e.core
    count = s.counters[0]["reports"]
    s.counters[0]["reports"] = 0
    for at in range(count):
        report = s.reports[at]
        slot = _slot_of(h, report["id"])
        if slot < 0:
            continue
        state = np.int64(report["state"])
        order = h.orders[slot]
        if np.int64(report["code"]) == _EXECUTED:
            _say_executed(h, order, report)
        if state == _OPEN or state == _PARTLY:
            order["at_venue"] = 1
        elif state != _UNKNOWN:
            order["at_venue"] = 0
        _answer(
            e,
            slot,
            report["time"],
            report["request"],
            np.int64(report["code"]),
            state,
            report["tick"],
            report["lots"],
            report["left"],
            report["filled"],
            report["size"],
            np.int64(report["role"]),
            np.int64(report["reason"]),
            code if report["request"] >= 0 else np.int64(4),
            _ahead(s, report),
        )


@kernel
def _ahead(s, report):
    """Lots ahead of an order that a request has given its place in a queue, after all that the request did; -1: none."""
    said = np.int64(report["code"])
    if report["request"] < 0 or report["left"] == 0 or (said != _ACCEPTED and said != _AMENDED):
        return -_ONE
    slot = find_order(s, report["id"])
    if slot < 0 or s.orders[slot]["rests"] == 0:
        return -_ONE
    return max(_ZERO, s.orders[slot]["front"])


@inlined
def _say_executed(h, order, report):
    """Write down an execution at the venue."""
    clock = h.clock[0]
    row = h.log[clock["log"]]
    clock["log"] += 1
    row["now"], row["code"], row["pair"], row["number"] = clock["now"], _EXECUTED_ROW, order["pair"], order["number"]
    row["side"], row["market"], row["reduce"], row["tif"] = (
        order["side"],
        order["market"],
        order["reduce"],
        order["tif"],
    )
    answer = row["answer"]
    answer["venue_ns"], answer["tick"], answer["lots"] = report["time"], report["tick"], report["lots"]
    answer["role"], answer["filled"], answer["left"] = report["role"], report["filled"], report["left"]
    answer["size"], answer["state"], answer["code"] = report["size"], report["state"], report["code"]


@inlined
def _slot_of(h, number):
    """The slot of an order that is not forgotten; -1 for another."""
    for place in range(h.clock[0]["open"]):
        if h.orders[h.listed[place]]["number"] == number:
            return h.listed[place]
    found = np.int64(-1)
    for place in range(len(h.orders)):
        if h.orders[place]["number"] == number:
            found = np.int64(place)
    return found


@inlined
def _answer(e, slot, venue_ns, request, said, state, tick, lots, left, filled, size, role, reason, code, ahead):
    h = e.hands
    clock, order = h.clock[0], h.orders[slot]
    due = max(venue_ns + h.latency[4 + code], order["heard"])
    order["heard"] = due
    clock["answer_at"], clock["answers"], at = _make_place(e.answers, clock["answer_at"], clock["answers"], due)
    row = e.answers[at]
    row["due"], row["venue_ns"], row["request"], row["slot"], row["order"] = (
        due,
        venue_ns,
        request,
        slot,
        order["number"],
    )
    row["code"], row["state"], row["tick"], row["lots"] = said, state, tick, lots
    row["left"], row["filled"], row["size"], row["role"], row["reason"] = left, filled, size, role, reason
    row["is_uncertain"], row["ahead"] = order["is_uncertain"], ahead
    lines = e.core.lines
    row["bid"], row["ask"] = lines[2 * order["pair"]]["best"], lines[2 * order["pair"] + 1]["best"]


@inlined
def hear_next(e):
    """
    The next answer is heard by its owner.

    Returns:
        2 if it was of an execution, 1 of another kind, 0 where nobody is told of it.
    """
    h = e.hands
    clock = h.clock[0]
    answer = e.answers[clock["answer_at"]]
    clock["answer_at"] += 1
    slot = answer["slot"]
    order = h.orders[slot]
    if order["number"] != answer["order"]:
        return _ZERO
    was_done = order["is_done"]
    for place in range(order["pending"]):
        if h.pending[slot, 2 * place] == answer["request"]:
            if h.pending[slot, 2 * place + 1] == _CANCEL:
                order["cancelling"] -= 1
            for at in range(place, order["pending"] - 1):
                h.pending[slot, 2 * at] = h.pending[slot, 2 * at + 2]
                h.pending[slot, 2 * at + 1] = h.pending[slot, 2 * at + 3]
            order["pending"] -= 1
            break
    if answer["state"] != _UNKNOWN:
        order["state"], order["left"] = answer["state"], answer["left"]
        order["filled"], order["size"] = answer["filled"], answer["size"]
        if answer["code"] != _EXECUTED:
            order["tick"] = answer["tick"]
        order["is_done"] = np.int64(order["state"] >= _FILLED)
    is_fill = answer["code"] == _EXECUTED
    if is_fill:
        e.me[order["pair"]]["position"] += answer["lots"] if order["side"] == 0 else -answer["lots"]
    row = h.log[clock["log"]]
    clock["log"] += 1
    row["now"], row["code"], row["pair"], row["number"] = clock["now"], _ANSWERED, order["pair"], order["number"]
    row["side"], row["tif"], row["market"], row["reduce"] = (
        order["side"],
        order["tif"],
        order["market"],
        order["reduce"],
    )
    row["cancelling"], row["order_tick"], row["is_done"] = order["cancelling"], order["tick"], order["is_done"]
    row["is_over"] = np.int64(order["is_done"] and order["pending"] == 0)
    row["size"], row["left"] = order["size"], order["left"]
    row["answer"] = answer
    clock["is_dirty"] = 1
    clock["told"] += 1
    if order["is_done"] and not was_done:
        count = clock["open"]
        where = _ZERO
        while h.listed[where] != slot:
            where += 1
        for at in range(where, count - 1):
            h.listed[at] = h.listed[at + 1]
        clock["open"] = count - 1
    if order["is_done"] and order["pending"] == 0:
        _forget(h, slot)
    return np.int64(2) if is_fill else _ONE


@kernel
def _forget(h, slot):
    h.orders[slot]["number"] = 0
    h.free[h.clock[0]["free"]] = slot
    h.clock[0]["free"] += 1
