"""
`matching`: events of a busy market through the matching core, with and without orders of one's own in it.

What is measured is the core alone, on one thread: the tape was imported, and turned into events, before.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.captures import busy_frames, write_busy
from benchmarks.harness import Figure, Options, measure
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.backtest.market_feed import market_events
from replay.backtest.scales import PairScale
from replay.backtest.venue_clock import venue_order
from replay.market.core import MatchingCore, PairFacts, make_request
from replay.market.layout import BUY, SELL
from replay.market.rules import PRESETS

__all__ = ["run"]

_TICK: Final = Decimal("0.1")
_LOT: Final = Decimal("0.00001")
#: Orders on both sides, some ticks from the best price and then ten apart, as a grid has them.
_ORDERS: Final = (0, 40)
_FIRST_TICKS: Final = 20
_TICKS_APART: Final = 10
#: Before the orders come, the book has to be there.
_OPENING: Final = 0.1


def run(options: Options, *, compiled: bool = True) -> list[Figure]:
    """Measure matching."""
    venue, origin, frames = busy_frames(options)
    path = write_busy(venue, frames, min(options.frames, len(frames)), options.folder / "matching.txt")
    folder = options.folder / "matching"
    import_capture([path], folder, ImportOptions(venue=venue, line_format="collector"))
    (key,) = Recording.open(folder).keys
    events = venue_order(market_events([Recording.open(folder)], {key: PairScale(key.trading_pair, _TICK, _LOT)}))
    figures = []
    for preset in ("default", "hftbacktest"):
        for orders in _ORDERS:
            timing, filled = measure(partial(_match, events, preset, orders, compiled), options.repeats)
            name = f"{preset} rules, {orders} orders resting" if orders else f"{preset} rules, no orders"
            note = f"{origin}; {len(events) / timing.process:,.0f} events per second of processor time, {filled} fills"
            figures.append(
                Figure(bench="matching", name=name, value=len(events) / timing.wall, unit="events/s", note=note)
            )
    return figures


def _match(events: npt.NDArray[np.void], preset: str, orders: int, compiled: bool) -> int:
    """All events through a fresh core; how often own orders were filled."""
    core = MatchingCore([PairFacts()], PRESETS[preset], compiled=compiled)
    opening = int(len(events) * _OPENING)
    until = int(events["time"][opening])
    at = core.run(events, 0, until)
    bid, ask = core.best()
    assert bid is not None, "there is a book"
    assert ask is not None, "on both sides"
    for number in range(1, orders + 1):
        away = _FIRST_TICKS + number // 2 * _TICKS_APART
        side, tick = (BUY, bid - away) if number % 2 else (SELL, ask + away)
        core.arrive(make_request(time=until, number=number, id=number, side=side, tick=tick, lots=1000))
    core.run(events, at)
    return int((core.take()["lots"] > 0).sum())
