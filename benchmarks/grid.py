"""
The grid that `backtest` trades, apart from any system, so that ours and another's keep the same orders.

It imports nothing of tickdeck: the interpreters of other systems load it too.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["EVERY_MS", "GRID", "LATENCY_MS", "LOT", "TICK", "wanted"]

#: Orders a side, price steps of 0.1 from the middle to the first, between two, and base currency of each.
GRID: Final = {"count": 10, "half_spread": 20, "interval": 10, "size": 0.002, "position_max": 0.1}
#: How often it looks at the best bid and ask.
EVERY_MS: Final = 100
#: From sending a request to the exchange, and from there to hearing of the answer.
LATENCY_MS: Final = {"entry": 3, "response": 2}
TICK: Final = "0.1"
LOT: Final = "0.001"


def wanted(
    bid: int, ask: int, held: float, *, count: int, half_spread: int, interval: int, position_max: float
) -> dict[int, bool]:
    """
    Prices of the orders that it wants alive, in ticks, and whether each is a buy.

    They are multiples of the interval, so that most stay when the market moves. `bid` and `ask` are in ticks too; a side
    is left out once `held` is `position_max` of it.
    """
    middle = (bid + ask) / 2
    below = math.floor((middle - half_spread) / interval) * interval
    above = math.ceil((middle + half_spread) / interval) * interval
    ticks = {}
    for place in range(count):
        if held < position_max:
            ticks[below - place * interval] = True
        if held > -position_max:
            ticks[above + place * interval] = False
    return ticks
