"""An own order arrives: what it takes, and whether the rest of it rests."""

from __future__ import annotations

import numpy as np

from replay.market.kernel_book import first_open, open_lots, take_lots
from replay.market.kernel_orders import NO_FRAME, ZERO, end_order, execute, fillable, line_key, link, report
from replay.market.kernel_queue import ahead_lots, start_queue
from replay.market.layout import FAR, NONE, Reason, ReportCode, Role, StateCode, TifCode
from replay.market.rules import PostOnlyCross, SelfTrade, TakerRest
from toolkit.kernels.compiling import kernel
from toolkit.kernels.levels import worse_key

__all__ = ["enter"]

_TAKER = np.int64(Role.TAKER)
_NEITHER = np.int64(Role.NEITHER)
_GTC = np.int64(TifCode.GTC)
_FOK = np.int64(TifCode.FOK)
_POST_ONLY = np.int64(TifCode.POST_ONLY)
_OPEN = np.int64(StateCode.OPEN)
_FILLED = np.int64(StateCode.FILLED)
_CANCELLED = np.int64(StateCode.CANCELLED)
_REJECTED = np.int64(StateCode.REJECTED)
_EXPIRED = np.int64(StateCode.EXPIRED)
_WOULD_CROSS = np.int64(Reason.WOULD_CROSS)
_NO_MATCH = np.int64(Reason.NO_MATCH)
_UNFILLED = np.int64(Reason.UNFILLED)
_STALE = np.int64(Reason.STALE)
_REDUCE_ONLY = np.int64(Reason.REDUCE_ONLY)
_SELF_TRADE = np.int64(Reason.SELF_TRADE)
_AMENDED = np.int64(ReportCode.AMENDED)
_NOT_SEEN = np.int64(SelfTrade.NOT_SEEN.code)
_EXPIRE_TAKER = np.int64(SelfTrade.EXPIRE_TAKER.code)
_EXPIRE_BOTH = np.int64(SelfTrade.EXPIRE_BOTH.code)
_EXPIRES = np.int64(PostOnlyCross.EXPIRED.code)
_FILLS = np.int64(TakerRest.FILLS.code)
#: A market order's key: beyond that of every price.
_ANY_PRICE = np.int64(FAR)


@kernel
def enter(s, now, slot, said, number):
    """
    An order that does not rest yet trades, rests or ends.

    Args:
        said: `ACCEPTED` or `AMENDED`: what is reported of an order that is taken in.
        number: Number of the request.
    """
    order, rules = s.orders[slot], s.rules[0]
    other = order["line"] ^ 1
    key = _ANY_PRICE if order["market"] else order["key"]
    if order["reduce"] and fillable(s, order) == 0:
        end_order(s, now, slot, _CANCELLED if said == _AMENDED else _REJECTED, _REDUCE_ONLY, number, NO_FRAME)
        return
    if s.pairs[order["line"] >> 1]["stale"]:
        _wait(s, now, slot, said, number)
        return
    best = first_open(s, other)
    own = _own_best(s, other)
    if key + max(best, own) < 0:
        if order["market"] or (order["tif"] != _GTC and order["tif"] != _POST_ONLY):
            # An order that is amended was taken in before.
            end_order(s, now, slot, _EXPIRED, _NO_MATCH, number, NO_FRAME)
        else:
            _rest(s, slot, ZERO)
            report(s, now, slot, said, line_key(order["line"], key), ZERO, _NEITHER, ZERO, number, NO_FRAME)
        return
    if order["tif"] == _POST_ONLY:
        state = _EXPIRED if rules["post_only_cross"] == _EXPIRES else _REJECTED
        if said == _AMENDED and state == _REJECTED:
            state = _CANCELLED
        end_order(s, now, slot, state, _WOULD_CROSS, number, NO_FRAME)
        return
    limit = _limit(s, order, key)
    if order["tif"] == _FOK and not rules["whole_fills"] and _is_short(s, other, limit, order["left"]):
        end_order(s, now, slot, _EXPIRED, _UNFILLED, number, NO_FRAME)
        return
    order["state"] = max(order["state"], _OPEN)
    tick = np.int64(0) if order["market"] else line_key(order["line"], key)
    report(s, now, slot, said, tick, ZERO, _NEITHER, ZERO, number, NO_FRAME)
    if rules["whole_fills"] and best != NONE and key + best >= 0:
        _fill_whole(s, now, slot, line_key(other, best), number)
        return
    if _take(s, now, slot, limit, number):
        return
    if order["market"] or order["tif"] != _GTC:
        end_order(s, now, slot, _EXPIRED, _UNFILLED, number, NO_FRAME)
    elif rules["taker_rest"] == _FILLS and best != NONE and key + best >= 0:
        _fill_whole(s, now, slot, line_key(order["line"], key), number)
    else:
        _rest(s, slot, order["filled"])


@kernel
def _fill_whole(s, now, slot, tick, number):
    """Fill all of an order at one price, or what there is to reduce."""
    order = s.orders[slot]
    execute(s, now, slot, tick, fillable(s, order), _TAKER, number, NO_FRAME)
    if order["state"] != _FILLED:
        end_order(s, now, slot, _CANCELLED, _REDUCE_ONLY, number, NO_FRAME)


@kernel
def _wait(s, now, slot, said, number):
    """An order comes while the book cannot be believed: it rests if it can, and takes nothing."""
    order = s.orders[slot]
    if order["market"] or (order["tif"] != _GTC and order["tif"] != _POST_ONLY):
        end_order(s, now, slot, _EXPIRED, _STALE, number, NO_FRAME)
        return
    _rest(s, slot, ZERO)
    report(s, now, slot, said, line_key(order["line"], order["key"]), ZERO, _NEITHER, ZERO, number, NO_FRAME)


@kernel
def _own_best(s, line):
    """The best own order that the rules let an own taker see; `NONE` if there is none."""
    head = s.lines[line]["head"]
    if head < 0 or s.rules[0]["self_trade"] == _NOT_SEEN:
        return np.int64(NONE)
    return s.orders[head]["key"]


@kernel
def _rest(s, slot, first):
    order = s.orders[slot]
    if order["state"] == 0:
        order["state"] = _OPEN
    start_queue(s, order, first)
    link(s, slot)


@kernel
def _limit(s, order, key):
    """The worst key of the other side that an order reaches."""
    rules = s.rules[0]
    is_short = rules["short_buys"] and order["line"] & 1 == 0
    if not order["market"]:
        return 1 - key if is_short and order["tif"] == _GTC and rules["taker_rest"] == _FILLS else -key
    reach = rules["market_reach"]
    if reach == 0:
        reach = s.pairs[order["line"] >> 1]["reach"]
    if reach == 0:
        return np.int64(NONE + 1)
    if rules["short_buys"] and not is_short:
        reach += 1
    return s.lines[order["line"] ^ 1]["best"] - (reach - 1)


@kernel
def _is_short(s, line, limit, lots):
    """Whether there are fewer lots up to a key, in whole grains."""
    total = np.int64(0)
    key = s.lines[line]["best"]
    while key != NONE and key >= limit and total < lots:
        total += max(np.int64(0), open_lots(s, line, key))
        key = worse_key(s.book, line, key, NONE)
    grain = s.pairs[line >> 1]["grain"]
    return (2 * total + grain) // (2 * grain) < (2 * lots + grain) // (2 * grain)


@kernel
def _take(s, now, slot, limit, number):
    """
    Walk the levels of the other side, and the own orders there. Returns whether the order has ended.

    An own order that rests at a level is met once the size ahead of it has been taken.
    """
    order, rules = s.orders[slot], s.rules[0]
    other = order["line"] ^ 1
    key = s.lines[other]["best"]
    used = np.int64(0)  # of the level at `key`, where the rules leave it in the book
    while True:
        lots = np.int64(0)
        while key != NONE and key >= limit:
            lots = open_lots(s, other, key) - used
            if lots > 0:
                break
            key = worse_key(s.book, other, key, NONE)
            used = np.int64(0)
        has_level = key != NONE and key >= limit and lots > 0
        own = _own_best(s, other)
        meets = own != NONE and own >= limit and (not has_level or own >= key)
        if not has_level and not meets:
            return False
        if meets and has_level and own == key:
            lots = min(lots, ahead_lots(s, s.orders[s.lines[other]["head"]]))
        elif meets:
            lots = np.int64(0)
        lots = min(lots, fillable(s, order))
        if lots > 0:
            if rules["taken_liquidity"]:
                take_lots(s, other, key, lots)
            else:
                used += lots
            execute(s, now, slot, line_key(other, key), lots, _TAKER, number, NO_FRAME)
            if order["state"] == _FILLED:
                return True
            if fillable(s, order) == 0:
                end_order(s, now, slot, _CANCELLED, _REDUCE_ONLY, number, NO_FRAME)
                return True
        if meets:
            maker = s.lines[other]["head"]
            if rules["self_trade"] != _EXPIRE_TAKER:
                end_order(s, now, maker, _CANCELLED, _SELF_TRADE, number, NO_FRAME)
            if rules["self_trade"] == _EXPIRE_TAKER or rules["self_trade"] == _EXPIRE_BOTH:
                end_order(s, now, slot, _CANCELLED, _SELF_TRADE, number, NO_FRAME)
                return True
