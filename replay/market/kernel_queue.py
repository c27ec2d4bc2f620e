"""
What is ahead of a resting order in the queue at its price.

The pessimistic queue counts whole lots. The others are float64, in the unit of the pair, where one grain is `lot` and
`lots_per_unit` lots are 1: one lot each by default, the venue's own unit where results must be those of a program that
computes in it. What reaches an order is a whole number of the pair's grains. The arithmetic is IEEE's, step by step as
written, so it is the same compiled or not.
"""

from __future__ import annotations

import math

import numpy as np

from replay.market.layout import FAR
from replay.market.rules import EqualTrade, QueueAfterSnapshot, QueueFront
from toolkit.kernels.compiling import kernel
from toolkit.kernels.levels import size_at, slot_of

__all__ = ["ahead_lots", "bound_front", "level_changed", "reached", "start_queue"]

_PESSIMISTIC = np.int64(QueueFront.PESSIMISTIC.code)
_POWER = np.int64(QueueFront.POWER.code)
_POWER2 = np.int64(QueueFront.POWER2.code)
_POWER3 = np.int64(QueueFront.POWER3.code)
_LOG = np.int64(QueueFront.LOG.code)
_COUNT = np.int64(QueueFront.COUNT.code)
_ENOUGH = np.int64(EqualTrade.ENOUGH.code)
_MIN = np.int64(QueueAfterSnapshot.MIN.code)


@kernel
def _least(a, b):
    """The smaller one; what is no number loses."""
    if a != a:
        return b
    if b != b:
        return a
    return a if a < b else b


@kernel
def _log1(value):
    """ln(1 + value), as the plain logarithm of the sum."""
    total = np.float64(1.0 + value)
    if total > 0.0:
        return np.float64(math.log(total))
    return np.float64(-np.inf) if total == 0.0 else np.float64(np.nan)


@kernel
def _share_behind(rules, front, back):
    """The share of cancelled lots that was behind an order."""
    kind, power = rules["queue_front"], rules["queue_power"]
    if kind == _POWER:
        return back**power / (back**power + front**power)
    if kind == _POWER2:
        return back**power / (back + front) ** power
    if kind == _POWER3:
        return 1.0 - (front / (front + back)) ** power
    if kind == _LOG:
        return _log1(back) / (_log1(back) + _log1(front))
    return _log1(back) / _log1(back + front)


@kernel
def start_queue(s, order, first):
    """Take a place: at the end, or where `first` is set, ahead of everybody."""
    line = order["line"]
    order["unseen"] = 0
    order["traded"] = 0.0
    order["orders_ahead"] = 0.0
    order["orders_traded"] = 0.0
    if first:
        order["front"] = 0
        order["ahead"] = 0.0
        return
    if s.rules[0]["unseen"] and order["key"] < s.lines[line]["horizon"]:
        order["unseen"] = 1
        order["front"] = FAR
        order["ahead"] = np.float64(FAR)
        return
    lots = size_at(s.book, line, order["key"])
    order["front"] = lots
    order["ahead"] = lots / s.pairs[line >> 1]["lots_per_unit"]
    if lots > 0:
        count = s.counts[slot_of(s.book, line, order["key"]), order["key"] & 63]
        if count > 0:
            order["orders_ahead"] = np.float64(count)


@kernel
def bound_front(s, order):
    """No more is ahead than the level holds."""
    lots = size_at(s.book, order["line"], order["key"])
    order["front"] = min(order["front"], lots)
    order["ahead"] = _least(order["ahead"], lots / s.pairs[order["line"] >> 1]["lots_per_unit"])
    order["unseen"] = 0


@kernel
def ahead_lots(s, order):
    """What is ahead, in whole lots."""
    if s.rules[0]["queue_front"] == _PESSIMISTIC or order["unseen"]:
        return max(np.int64(0), order["front"])
    return max(np.int64(0), _rounded(order["ahead"] * s.pairs[order["line"] >> 1]["lots_per_unit"]))


@kernel
def _rounded(value):
    """To the nearest whole number, halves away from zero. Less than 0 where it is no number."""
    if value != value:
        return np.int64(-1)
    whole = np.int64(abs(value))
    if abs(value) - whole >= 0.5:
        whole += 1
    return whole if value >= 0 else -whole


@kernel
def reached(s, order, lots, traded):
    """
    A trade at the order's price, against its side.

    Args:
        lots: Lots that are left of the trade for this order and those ahead of it.
        traded: All of it.

    Returns:
        Lots that reach the order.
    """
    rules, pair = s.rules[0], s.pairs[order["line"] >> 1]
    if rules["queue_front"] == _PESSIMISTIC:
        front = order["front"] - lots
        over = _rounded(-front / pair["grain"])
        order["front"] = np.int64(0) if over > 0 else front
    else:
        was = order["ahead"]
        ahead = was - lots / pair["lots_per_unit"]
        order["traded"] += traded / pair["lots_per_unit"]
        over = _rounded(-ahead / pair["lot"])
        if over > 0:
            ahead = 0.0
        order["ahead"] = ahead
        if rules["queue_front"] == _COUNT and was > 0.0:
            gone = order["orders_ahead"] * min(1.0, (lots / pair["lots_per_unit"]) / was)
            order["orders_ahead"] -= gone
            order["orders_traded"] += gone
    if over == 0 and lots > 0 and rules["equal_trade"] == _ENOUGH:
        over = np.int64(1)
    return max(np.int64(0), over) * pair["grain"]


@kernel
def level_changed(s, order, before, lots, count_before, count, is_sync):
    """The level of a resting order is `lots` now, and was `before`."""
    rules, pair = s.rules[0], s.pairs[order["line"] >> 1]
    kind = rules["queue_front"]
    order["front"] = min(order["front"], lots)
    if kind == _PESSIMISTIC:
        order["unseen"] = 0
        return
    old, new = before / pair["lots_per_unit"], lots / pair["lots_per_unit"]
    cancelled = old - new - order["traded"]
    order["traded"] = 0.0
    front = order["ahead"]
    if order["unseen"] or cancelled < 0.0 or (is_sync and rules["queue_after_snapshot"] == _MIN):
        order["unseen"] = 0
        order["ahead"] = _least(front, new)
        if count > 0 and order["orders_ahead"] > count:
            order["orders_ahead"] = np.float64(count)
        order["orders_traded"] = 0.0
        return
    if kind == _COUNT:
        _count_changed(order, front, new, cancelled, count_before, count)
        return
    back = old - front
    share = np.float64(_share_behind(rules, front, back))
    if share == np.inf or share == -np.inf:
        share = np.float64(1.0)
    order["ahead"] = _least(front - (1.0 - share) * cancelled + _least(back - share * cancelled, 0.0), new)


@kernel
def _count_changed(order, front, new, cancelled, count_before, count):
    """
    In proportion to the orders ahead.

    With n of the level's N orders ahead, a fall by c in size and by k in count that trades do not explain moves the
    order forward by c * n / N, and n by k * n / N.
    """
    total = count_before - order["orders_traded"]
    left = order["orders_ahead"]
    gone = count_before - count - order["orders_traded"]
    order["orders_traded"] = 0.0
    if count_before <= 0 or count < 0 or total <= 0.0:
        # Without counts nothing is known but the size.
        order["ahead"] = _least(front, new)
        return
    part = min(1.0, left / total)
    order["ahead"] = max(0.0, _least(front - cancelled * part, new))
    if gone > 0.0:
        left = max(0.0, left - gone * part)
    order["orders_ahead"] = min(left, np.float64(count))
