"""Step functions of tests. What is compiled for them is kept under a hash over this file: leave it alone where you can."""

from __future__ import annotations

from typing import Any

from replay.fast.actions import (
    BUY,
    GTC,
    IOC,
    POST_ONLY,
    SELL,
    amend,
    cancel,
    cancel_all,
    keep,
    level,
    open_count,
    own,
    price_to_fill,
    send,
    size_within,
    take,
    woken_pair,
)
from replay.fast.step import step

__all__ = ["busy", "fails_by_half", "fails_by_index", "fails_by_price", "looks", "quiet"]


@step(
    quotes=True,
    trades=True,
    fills=True,
    orders=True,
    gaps=True,
    funding=True,
    start=True,
    every="250ms",
    parameters={"gap": 2, "size": 5},
    state={"calls": 0},
)
def busy(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Does everything there is to do, by numbers that depend on all that it sees."""
    s.calls += 1
    pair = woken_pair(act)
    if pair < 0:
        pair = s.calls % len(me)
    m = q[pair]
    if m.bid == 0 or m.ask == 0:
        return
    size = p.size * m.lot
    k = (s.calls * 7919 + m.last_price * 31 + now // 1000000) % 97
    if k < 5:
        away = p.gap * m.tick * k
        send(act, pair, k % 2, m.bid - away if k % 2 == 0 else m.ask + away, size, POST_ONLY, k)
    elif k < 8:
        send(act, pair, k % 2, m.ask if k % 2 == 0 else m.bid, size, IOC, k)
    elif k < 10:
        take(act, pair, k % 2, size, 3)
    elif k < 14:
        keep(act, pair, 77, BUY, m.bid, size + k % 3 * m.lot)
        keep(act, pair, 78, SELL, m.ask, size)
    elif k < 20:
        if open_count(act):
            cancel(act, k % open_count(act))
    elif k < 22:
        if open_count(act):
            order = own(act, k % open_count(act))
            amend(act, k % open_count(act), order.tick + (order.side * 2 - 1) * q[order.pair].tick, order.size)
    elif k == 22:
        cancel_all(act, pair)
    elif k < 25:
        price, there = level(act, pair, SELL, 1)
        near = size_within(act, pair, BUY, 5 * m.tick)
        if there > 0 and near > 0 and price_to_fill(act, pair, BUY, size) < price + 5 * m.tick:
            send(act, pair, SELL, price, size, GTC, 9)
    elif k == 25 and me[pair].position:
        take(act, pair, 0 if me[pair].position < 0 else 1, abs(me[pair].position), 1, 1)


@step(every="100ms", state={"calls": 0})
def quiet(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Counts."""
    s.calls += 1


@step(every="100ms")
def fails_by_index(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Looks where there is no pair."""
    if q[0].bid:
        own(act, 3 + q[7].bid)


@step(every="100ms")
def fails_by_price(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Sends an order at no price."""
    if q[0].bid:
        send(act, 0, BUY, 0, q[0].lot)


@step(books=True, min_gap=None)
def looks(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Reads the book to its end."""
    place = 0
    while level(act, 0, BUY, place)[1]:
        place += 1


@step(every="100ms")
def fails_by_half(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Sends an order at half a tick."""
    if q[0].bid:
        send(act, 0, BUY, q[0].bid - 0.5, q[0].lot)
