"""
`backtest`: a market maker in Python on a busy market, and what its backtest costs beside a bare replay of the same tape.

The strategy looks every 100 ms at the best bid and ask, and keeps a grid of post-only orders around the middle. The bare
replay hands every message to a callback that reads the best bid and ask. Both go in turns.
"""

from __future__ import annotations

import gc
import math
import shutil
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

from benchmarks.captures import BINANCE
from benchmarks.harness import Figure, Options
from benchmarks.replaying import BestReader
from recordings.importing.importer import ImportOptions, import_capture
from replay.source import ReplayDataSource
from replay.strategy.backtesting import backtest
from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from toolkit.messages import Side

__all__ = ["GRID", "GridMaker", "run"]

T = TypeVar("T")

#: Orders a side, price steps of 0.1 from the middle to the first, between two, and base currency of each.
GRID: Final = {"count": 10, "half_spread": 20, "interval": 10, "size": 0.002, "position_max": 0.1}
_LATENCY: Final = "entry=3ms,response=2ms"


class GridMaker(Strategy):
    """Keeps a grid of orders; their places are multiples of the interval, so that most stay when the market moves."""

    count: int = 10
    half_spread: int = 20  # ticks
    interval: int = 10  # ticks
    size: float = 0.002
    position_max: float = 0.1

    wakes = Wakes(every="100ms")

    def on_start(self, ctx: Context) -> None:
        """One pair."""
        (self.pair,) = ctx.pairs
        self.tick = float(ctx.rules(self.pair).tick_at(60_000.0))

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        """Cancel what is not wanted, then send what is missing."""
        book = ctx.book(self.pair)
        bid, ask = book.best_bid, book.best_ask
        if bid is None or ask is None or book.is_stale:
            return
        middle = (round(bid.price / self.tick) + round(ask.price / self.tick)) / 2
        below = math.floor((middle - self.half_spread) / self.interval) * self.interval
        above = math.ceil((middle + self.half_spread) / self.interval) * self.interval
        held = float(ctx.position(self.pair).size)
        wanted = {}
        for place in range(self.count):
            if held < self.position_max:
                wanted[below - place * self.interval] = Side.BUY
            if held > -self.position_max:
                wanted[above + place * self.interval] = Side.SELL
        there = set()
        for order in ctx.orders(self.pair):
            tick = int(order.tag)
            there.add(tick)
            if wanted.get(tick) is not order.side:
                ctx.cancel(order)
        for tick, side in wanted.items():
            if tick not in there:
                send = ctx.buy if side is Side.BUY else ctx.sell
                send(self.pair, self.size, round(tick * self.tick, 10), post_only=True, tag=str(tick))


def run(options: Options) -> list[Figure]:
    """Compare."""
    path = options.capture(BINANCE)
    if path is None:
        print("  backtest: left out: there is no capture of Binance here")
        return []
    folder = options.folder / "backtest"
    shutil.rmtree(folder, ignore_errors=True)
    import_capture([path], folder, ImportOptions(venue="binance-usdm", line_format="collector"))
    bare: list[float] = []
    ours: list[float] = []
    counts = (0, 0)
    _traded(folder)
    for _ in range(max(options.repeats, 1)):
        seconds, count = _timed(lambda: _replayed(folder))
        bare.append(seconds)
        seconds, counts = _timed(lambda: _traded(folder))
        ours.append(seconds)
    replay, mine = statistics.median(bare), statistics.median(ours)
    done = f"{mine:.2f} s, {counts[0]:,} orders, {counts[1]:,} fills"
    return [
        _figure("replay alone, with a callback", count / replay, "messages/s", f"{count:,} messages in {replay:.2f} s"),
        _figure("backtest of a grid", count / mine, "messages/s", done),
        _figure("backtest over replay alone", mine / replay, "", "of processor time"),
    ]


def _replayed(folder: Path) -> int:
    source = ReplayDataSource(folder)
    reader = BestReader(source)
    source.set_message_callback(reader)
    source.play()
    return reader.count


def _traded(folder: Path) -> tuple[int, int]:
    result = backtest(
        GridMaker,
        folder,
        parameters=GRID,
        latency=_LATENCY,
        assumed={"tick": Decimal("0.1"), "lot": Decimal("0.001"), "min_notional": Decimal(5)},
    )
    return result.orders.height, result.fills.height


def _timed(run: Callable[[], T]) -> tuple[float, T]:
    gc.collect()
    began = time.process_time()
    result = run()
    return time.process_time() - began, result


def _figure(name: str, value: float, unit: str, note: str = "") -> Figure:
    return Figure(bench="backtest", name=name, value=value, unit=unit, note=note)
