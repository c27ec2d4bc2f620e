"""
The grid strategy of the oracle, in whole ticks: its files have what it did in words, and in one run in full.

Every step: forget ended orders; a row of buys from half a spread below the middle down and one of sells above it, an
interval apart; cancel what is not wanted, then send post-only orders at the prices without one. An order's id is its
price. Best prices are those received by then. The position is what the other program reports of it: the last execution
of each order that was filled, when its answer is received.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from replay.backtest.requests import Response
from replay.backtest.scales import PairScale
from replay.backtest.venue_clock import VenueScheduler
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import BUY, SELL, StateCode, TifCode
from replay.market.rules import Rules

__all__ = ["play_grid"]


def play_grid(
    scheduler: VenueScheduler, events: npt.NDArray[np.void], document: dict[str, Any], scale: PairScale
) -> dict[str, int]:
    """
    Run the strategy to the end of the tape.

    Args:
        scheduler: The venue of the run.
        events: The market, in the order of the recording.
        document: The oracle's file.
        scale: Tick and lot.

    Returns:
        How many `actions`, `submits`, `cancels`, `responses` and `fills` there were.
    """
    grid = _Grid(scheduler, document, scale)
    book = MatchingCore([PairFacts()], Rules())
    received = events[np.argsort(events["recv"], kind="stable")].copy()
    # What is received acts when it is: the book as the strategy sees it.
    received["time"] = received["recv"]
    offset, step = document["clock_offset_ns"], document["parameters"]["step"]
    at, now = 0, document["t0"] - offset
    last = int(max(received["recv"][-1], events["time"].max() - offset))
    while now <= last:
        grid.hear(scheduler.advance(now))
        at = book.run(received, at, now)
        bid, ask = book.best()
        if bid is not None and ask is not None:
            grid.act(now, bid, ask)
        now += step
    grid.hear(scheduler.finish())
    return {
        "actions": grid.submits + grid.cancels,
        "submits": grid.submits,
        "cancels": grid.cancels,
        # There a refused cancel is no response, and answers about one order at one time are one.
        "responses": len(
            {(each.received_ns, each.order_id) for each in scheduler.responses if each.state is not StateCode.UNKNOWN}
        ),
        "fills": len(scheduler.fills),
    }


class _Grid:
    def __init__(self, scheduler: VenueScheduler, document: dict[str, Any], scale: PairScale) -> None:
        words = document["parameters"]
        self._scheduler = scheduler
        self._count: int = words["grid_num"]
        self._half: int = words["half_spread"]
        self._interval: int = words["interval"]
        self._lots = int(scale.lots([words["q"]])[0])
        self._most: float = words["max_pos"]
        self._size = words["q"]
        self._scale = scale
        self._position = 0.0
        self.submits = 0
        self.cancels = 0

    def hear(self, responses: list[Response]) -> None:
        for each in responses:
            if each.state is StateCode.FILLED:
                self._position += (1 if each.side == BUY else -1) * self._scale.size(each.lots)

    def act(self, now: int, best_bid: int, best_ask: int) -> None:
        own, interval = self._scheduler.own, self._interval
        own.forget_ended()
        middle = (best_bid + best_ask) / 2
        bid = math.floor((middle - self._half) / interval) * interval
        ask = math.ceil((middle + self._half) / interval) * interval
        # A buy and a sell never have one price: the spread is at least two half spreads wide.
        buys = [bid - place * interval for place in range(self._count)] if self._position < self._most else []
        sells = [ask + place * interval for place in range(self._count)] if self._position > -self._most else []
        wanted = {(BUY, tick) for tick in buys} | {(SELL, tick) for tick in sells}
        for order_id in sorted(own.orders):
            order = own.orders[order_id]
            if order.is_open and not order.pending and (order.side, order_id) not in wanted:
                self._scheduler.cancel(now, order_id)
                self.cancels += 1
        for side, ticks in ((BUY, buys), (SELL, sells)):
            for tick in ticks:
                if tick not in own.orders:
                    self._scheduler.submit(now, tick, side=side, tick=tick, lots=self._lots, tif=TifCode.POST_ONLY)
                    self.submits += 1
