"""Own orders: slots, ids, the lines that they rest in, and what is said of them."""

from __future__ import annotations

import numpy as np

from replay.market.layout import Reason, ReportCode, Role, StateCode
from toolkit.kernels.compiling import kernel

__all__ = [
    "NO_FRAME",
    "NO_REQUEST",
    "ZERO",
    "add_order",
    "end_idle",
    "end_order",
    "execute",
    "fillable",
    "find_order",
    "line_key",
    "link",
    "report",
    "unlink",
]

_ACCEPTED = np.int64(ReportCode.ACCEPTED)
_EXECUTED = np.int64(ReportCode.EXECUTED)
_ENDED = np.int64(ReportCode.ENDED)
_NEITHER = np.int64(Role.NEITHER)
_UNKNOWN = np.int64(StateCode.UNKNOWN)
_PARTIALLY_FILLED = np.int64(StateCode.PARTIALLY_FILLED)
_FILLED = np.int64(StateCode.FILLED)
_CANCELLED = np.int64(StateCode.CANCELLED)
_REDUCE_ONLY = np.int64(Reason.REDUCE_ONLY)
#: For arguments: a literal would make numba compile a function once for each value.
ZERO = np.int64(0)
NO_REQUEST = np.int64(-1)
NO_FRAME = np.int64(-1)
#: Of longer lines the mask may name prices at which no order rests any more, which costs a look and changes nothing.
_MASKED = 64


@kernel
def line_key(line, tick):
    """The key of a tick in a line, or the tick of a key."""
    return tick if line & 1 == 0 else -tick


@kernel
def find_order(s, order_id):
    """The slot of an order that has not ended; -1 if there is none of that id."""
    last = len(s.ids) - 1
    place = order_id & last
    while s.ids[place] != 0:
        slot = s.ids[place] - 1
        if s.orders[slot]["id"] == order_id:
            return slot
        place = (place + 1) & last
    return np.int64(-1)


@kernel
def add_order(s, order_id):
    """A slot for an order; there must be room."""
    s.counters[0]["free"] -= 1
    slot = s.free[s.counters[0]["free"]]
    last = len(s.ids) - 1
    place = order_id & last
    while s.ids[place] != 0:
        place = (place + 1) & last
    s.ids[place] = slot + 1
    s.orders[slot]["id"] = order_id
    return slot


@kernel
def _remove(s, slot):
    """Free a slot, and move what stands after its id in the table to where it will be looked for."""
    order = s.orders[slot]
    if order["rests"]:
        unlink(s, slot)
    last = len(s.ids) - 1
    place = order["id"] & last
    while s.ids[place] != slot + 1:
        place = (place + 1) & last
    s.ids[place] = 0
    gap = place
    place = (place + 1) & last
    while s.ids[place] != 0:
        home = s.orders[s.ids[place] - 1]["id"] & last
        # The entry may move to the gap unless its home lies between the two, going around.
        if ((place - home) & last) >= ((place - gap) & last):
            s.ids[gap] = s.ids[place]
            s.ids[place] = 0
            gap = place
        place = (place + 1) & last
    s.free[s.counters[0]["free"]] = slot
    s.counters[0]["free"] += 1


@kernel
def link(s, slot):
    """Let an order rest: behind the others of its price."""
    order = s.orders[slot]
    line = s.lines[order["line"]]
    previous, following = np.int64(-1), line["head"]
    while following >= 0 and s.orders[following]["key"] >= order["key"]:
        previous, following = following, s.orders[following]["next"]
    order["previous"], order["next"], order["rests"] = previous, following, 1
    if previous >= 0:
        s.orders[previous]["next"] = slot
    else:
        line["head"] = slot
    if following >= 0:
        s.orders[following]["previous"] = slot
    line["live"] += 1
    line["mask"] |= np.int64(1) << (order["key"] & 63)
    s.counters[0]["live"] += 1
    s.counters[0]["reducing"] += order["reduce"]


@kernel
def unlink(s, slot):
    """Take an order out of its line."""
    order = s.orders[slot]
    line = s.lines[order["line"]]
    previous, following = order["previous"], order["next"]
    if previous >= 0:
        s.orders[previous]["next"] = following
    else:
        line["head"] = following
    if following >= 0:
        s.orders[following]["previous"] = previous
    order["rests"] = 0
    line["live"] -= 1
    s.counters[0]["live"] -= 1
    s.counters[0]["reducing"] -= order["reduce"]
    if line["live"] <= _MASKED:
        mask = np.int64(0)
        at = line["head"]
        while at >= 0:
            mask |= np.int64(1) << (s.orders[at]["key"] & 63)
            at = s.orders[at]["next"]
        line["mask"] = mask


@kernel
def report(s, now, slot, code, tick, lots, role, reason, request, frame):
    """Say something of an order; there must be room."""
    order = s.orders[slot]
    row = s.reports[s.counters[0]["reports"]]
    s.counters[0]["reports"] += 1
    row["time"] = now
    row["id"] = order["id"]
    row["request"] = request
    row["frame"] = frame
    row["tick"] = tick
    row["lots"] = lots
    row["left"] = order["left"]
    row["filled"] = order["filled"]
    row["size"] = order["lots"]
    row["pair"] = order["line"] >> 1
    row["code"] = code
    row["side"] = order["line"] & 1
    row["state"] = order["state"]
    row["role"] = role
    row["reason"] = reason
    row["pad"] = 0


@kernel
def execute(s, now, slot, tick, lots, role, request, frame):
    """Fill lots of an order, which ends it if they are the last."""
    order = s.orders[slot]
    order["left"] -= lots
    order["filled"] += lots
    s.pairs[order["line"] >> 1]["position"] += lots if order["line"] & 1 == 0 else -lots
    is_filled = 2 * order["left"] < s.pairs[order["line"] >> 1]["grain"]
    order["state"] = _FILLED if is_filled else _PARTIALLY_FILLED
    report(s, now, slot, _EXECUTED, tick, lots, role, ZERO, request, frame)
    if is_filled:
        _remove(s, slot)


@kernel
def fillable(s, order):
    """Lots of an order that may still be filled: all that is left, or no more than there is of the position to reduce."""
    if order["reduce"] == 0:
        return order["left"]
    position = s.pairs[order["line"] >> 1]["position"]
    return min(order["left"], max(ZERO, -position if order["line"] & 1 == 0 else position))


@kernel
def end_idle(s, now, pair, request, frame):
    """Cancel what rests to reduce a position that there is none of any more."""
    if s.counters[0]["reducing"] == 0:
        return
    for line in range(2 * pair, 2 * pair + 2):
        slot = s.lines[line]["head"]
        while slot >= 0:
            following = s.orders[slot]["next"]
            if s.orders[slot]["reduce"] and fillable(s, s.orders[slot]) == 0:
                end_order(s, now, slot, _CANCELLED, _REDUCE_ONLY, request, frame)
            slot = following


@kernel
def end_order(s, now, slot, state, reason, request, frame):
    """End an order that is not filled."""
    order = s.orders[slot]
    order["state"] = state
    tick = line_key(order["line"], order["key"])
    if order["market"]:
        tick = ZERO
    report(s, now, slot, _ENDED, tick, ZERO, _NEITHER, reason, request, frame)
    _remove(s, slot)
