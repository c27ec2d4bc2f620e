"""The market maker of `backtest` as a step function of ours: `benchmarks.grid.wanted` in whole ticks."""

from __future__ import annotations

from typing import Any

from benchmarks import grid
from replay.fast.actions import BUY, POST_ONLY, cancel, open_count, own, send
from replay.fast.step import step

__all__ = ["grid_step"]


@step(
    every=f"{grid.EVERY_MS}ms",
    parameters={"count": 10, "half_spread": 20, "interval": 10, "size": 2, "position_max": 100},
)
def grid_step(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Cancel what is not wanted, then send what is missing; an order's tag is its tick."""
    bid, ask = q[0].bid, q[0].ask
    if q[0].stale or bid == 0 or ask == 0:
        return
    below = (bid + ask - 2 * p.half_spread) // (2 * p.interval) * p.interval
    above = -((-(bid + ask + 2 * p.half_spread)) // (2 * p.interval)) * p.interval
    buys, sells = me[0].position < p.position_max, me[0].position > -p.position_max
    reach = (p.count - 1) * p.interval
    before = open_count(act)
    for place in range(before):
        order = own(act, place)
        away = below - order.tag if order.side == BUY else order.tag - above
        is_wanted = buys if order.side == BUY else sells
        if not is_wanted or away < 0 or away > reach or away % p.interval:
            cancel(act, place)
    for place in range(p.count):
        for side in range(2):
            tick = below - place * p.interval if side == BUY else above + place * p.interval
            if not (buys if side == BUY else sells):
                continue
            is_there = False
            for other in range(before):
                is_there = is_there or own(act, other).tag == tick
            if not is_there:
                send(act, 0, side, tick, p.size, POST_ONLY, tick)
