"""What a step function reads and asks for, compiled: the counterpart of `replay/fast/actions.py`."""

from __future__ import annotations

import numpy as np

from replay.fast.engine_layout import ACTS_MAX
from replay.fast.kernel_mail import has_figures, post, say_sent
from replay.market.layout import RequestCode, TifCode
from toolkit.kernels.compiling import kernel
from toolkit.kernels.levels import best, size_at, worse_key

__all__ = [
    "amend_order",
    "cancel_all_orders",
    "cancel_order",
    "keep_order",
    "level_of",
    "order_at",
    "order_count",
    "price_of_fill",
    "send_order",
    "size_near",
]

_NEW = np.int64(RequestCode.NEW)
_AMEND = np.int64(RequestCode.AMEND)
_CANCEL = np.int64(RequestCode.CANCEL)
_POST_ONLY = np.int64(TifCode.POST_ONLY)
_ACTS = np.int64(ACTS_MAX)
_NO_KEY = np.int64(-(2**62))
_ZERO = np.int64(0)


@kernel
def _check_pair(h, pair):
    if not 0 <= pair < len(h.rules):
        raise IndexError("no such pair")


@kernel
def _check_act(h):
    clock = h.clock[0]
    clock["acts"] += 1
    if clock["acts"] > _ACTS:
        raise ValueError("too many requests in one call")


@kernel
def _check_tick(h, pair, tick):
    rule = h.rules[pair]
    if tick <= 0 or tick % rule["ticks"] or not has_figures(rule, tick):
        raise ValueError("no price of the venue")


@kernel
def _check_lots(h, pair, lots):
    if lots <= 0 or lots % h.rules[pair]["lots"]:
        raise ValueError("no size of the venue")


@kernel
def send_order(h, pair, side, tick, lots, tif, is_market, is_reduce, tag):
    """Send an order; its place among those that have not ended."""
    _check_pair(h, pair)
    _check_act(h)
    if side != 0 and side != 1:
        raise ValueError("no such side")
    if not 0 <= tif <= _POST_ONLY or (is_market and tif == _POST_ONLY):
        raise ValueError("no such time in force")
    _check_lots(h, pair, lots)
    if is_market:
        tick = _ZERO
    else:
        _check_tick(h, pair, tick)
    clock = h.clock[0]
    clock["free"] -= 1
    slot = h.free[clock["free"]]
    clock["orders"] += 1
    order = h.orders[slot]
    order["pair"], order["side"], order["tick"], order["size"], order["left"] = pair, side, tick, lots, lots
    order["filled"], order["state"], order["pending"], order["cancelling"], order["tag"] = 0, 0, 0, 0, tag
    order["number"], order["tif"], order["market"], order["reduce"] = clock["orders"], tif, is_market, is_reduce
    order["is_done"], order["is_uncertain"], order["at_venue"], order["arrives"], order["heard"] = 0, 0, 0, 0, 0
    h.listed[clock["open"]] = slot
    clock["open"] += 1
    post(h, slot, _NEW, tick, lots)
    say_sent(h, slot)
    return clock["open"] - 1


@kernel
def order_count(h):
    """How many orders have not ended."""
    return h.clock[0]["open"]


@kernel
def order_at(h, place):
    """The order at a place, in the order they were sent."""
    if not 0 <= place < h.clock[0]["open"]:
        raise IndexError("no such order")
    return h.orders[h.listed[place]]


@kernel
def cancel_order(h, place):
    """Ask for an order back; False where it is being cancelled."""
    order = order_at(h, place)
    if order["is_done"] or order["cancelling"]:
        return False
    _check_act(h)
    if order["pending"] and not h.clock[0]["queues"]:
        return False
    if not post(h, h.listed[place], _CANCEL, _ZERO, _ZERO):
        raise ValueError("too many requests about one order")
    return True


@kernel
def amend_order(h, place, tick, lots):
    """Ask for another price and size of an order; False where it is being cancelled."""
    order = order_at(h, place)
    if order["is_done"] or order["cancelling"]:
        return False
    _check_lots(h, order["pair"], lots)
    if order["market"]:
        tick = _ZERO
    else:
        _check_tick(h, order["pair"], tick)
    _check_act(h)
    if order["pending"] and not h.clock[0]["queues"]:
        return False
    if not post(h, h.listed[place], _AMEND, tick, lots):
        raise ValueError("too many requests about one order")
    return True


@kernel
def cancel_all_orders(h, pair):
    """Ask for all orders of a pair back, -1: of all; how many that is."""
    if pair >= 0:
        _check_pair(h, pair)
    count = _ZERO
    for place in range(h.clock[0]["open"]):
        if pair < 0 or order_at(h, place)["pair"] == pair:
            if cancel_order(h, place):
                count += 1
    return count


@kernel
def keep_order(h, pair, tag, side, tick, lots, tif):
    """Have one order of that tag at that price and size; tick 0: none. Its place, or -1."""
    _check_pair(h, pair)
    found = np.int64(-1)
    for place in range(h.clock[0]["open"] - 1, -1, -1):
        order = order_at(h, place)
        if order["pair"] == pair and order["tag"] == tag:
            found = np.int64(place)
            break
    if tick == 0:
        if found >= 0:
            cancel_order(h, found)
        return found
    if found < 0:
        return send_order(h, pair, side, tick, lots, tif, _ZERO, _ZERO, tag)
    _check_tick(h, pair, tick)
    _check_lots(h, pair, lots)
    order = order_at(h, found)
    if order["pending"]:
        return found
    if order["side"] != side:
        cancel_order(h, found)
    elif order["tick"] != tick or order["size"] != lots:
        amend_order(h, found, tick, lots)
    return found


# -- the book ------------------------------------------------------------------------------------------------------


@kernel
def _key_after(store, line, key):
    return worse_key(store, line, key, _NO_KEY)


@kernel
def level_of(h, pair, side, place):
    """Price and size of a level, the best at place 0; two zeros where there is none."""
    _check_pair(h, pair)
    if side != 0 and side != 1:
        raise ValueError("no such side")
    store, line = h.core_book if h.books.pairs[pair]["is_shared"] else h.books.store, 2 * pair + side
    if place < 0 or place >= store.levels[line]:
        return _ZERO, _ZERO
    key, size = best(store, line)
    for _ in range(place):
        key = _key_after(store, line, key)
        size = size_at(store, line, key)
    return abs(key), size


@kernel
def size_near(h, pair, side, ticks):
    """Size of a side no further than so many units of price from its best one."""
    _check_pair(h, pair)
    if side != 0 and side != 1:
        raise ValueError("no such side")
    store, line = h.core_book if h.books.pairs[pair]["is_shared"] else h.books.store, 2 * pair + side
    total = _ZERO
    if store.levels[line] == 0:
        return total
    key, size = best(store, line)
    end = key - ticks
    while key != _NO_KEY and key >= end:
        total += size
        key = _key_after(store, line, key)
        if key != _NO_KEY:
            size = size_at(store, line, key)
    return total


@kernel
def price_of_fill(h, pair, side, lots):
    """Average price of an order at market of that side, in units of price; NaN where the book is too thin for it."""
    _check_pair(h, pair)
    if side != 0 and side != 1:
        raise ValueError("no such side")
    store, line = h.core_book if h.books.pairs[pair]["is_shared"] else h.books.store, 2 * pair + 1 - side
    left, worth = lots, 0.0
    if lots <= 0 or store.levels[line] == 0:
        return np.nan
    key, size = best(store, line)
    while key != _NO_KEY:
        taken = min(left, size)
        worth += float(taken) * float(abs(key))
        left -= taken
        if left == 0:
            return worth / float(lots)
        key = _key_after(store, line, key)
        if key != _NO_KEY:
            size = size_at(store, line, key)
    return np.nan
