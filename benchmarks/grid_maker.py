"""The market maker of `backtest` as a strategy of ours."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final

from benchmarks import grid
from replay.fast_classes.strategy_backtest import backtest
from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from toolkit.messages import Side

__all__ = ["GridMaker", "traded"]

_LATENCY: Final = ",".join(f"{name}={ms}ms" for name, ms in grid.LATENCY_MS.items())


class GridMaker(Strategy):
    """Keeps the orders of `benchmarks.grid.wanted` alive."""

    count: int = 10
    half_spread: int = 20  # ticks
    interval: int = 10  # ticks
    size: float = 0.002
    position_max: float = 0.1

    wakes = Wakes(every=f"{grid.EVERY_MS}ms")

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
        ticks = grid.wanted(
            round(bid.price / self.tick),
            round(ask.price / self.tick),
            float(ctx.position(self.pair).size),
            count=self.count,
            half_spread=self.half_spread,
            interval=self.interval,
            position_max=self.position_max,
        )
        wanted = {tick: Side.BUY if is_buy else Side.SELL for tick, is_buy in ticks.items()}
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


def traded(folder: Path) -> tuple[int, int]:
    """Backtest the grid on a recording of one USD-M pair; how many orders it sent, and how many fills it had."""
    result = backtest(
        GridMaker,
        folder,
        parameters=grid.GRID,
        latency=_LATENCY,
        assumed={"tick": Decimal(grid.TICK), "lot": Decimal(grid.LOT), "min_notional": Decimal(5)},
        fast=True,
    )
    return result.orders.height, result.fills.height
