"""
`fast`, its rows of Python: what one message costs a callback, and what one wake costs a strategy that has no order alive.

The callback reads the best bid and ask after every message. The strategy is called at each change of the best prices and at
each trade, and reads them too; a wake is one call. Processor time is that of all threads, from files on disk.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import Figure, measure
from benchmarks.replaying import BestReader
from replay.fast_classes.strategy_backtest import backtest
from replay.source import ReplayDataSource
from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import Quote
from toolkit.messages import Trade

__all__ = ["measured"]


class Watcher(Strategy):
    """Looks at the best prices whenever they change, and at each trade."""

    wakes = Wakes(quotes=True, trades=True)
    count = 0
    spread_sum = 0.0

    def on_start(self, ctx: Context) -> None:
        """One pair."""
        (self.pair,) = ctx.pairs
        Watcher.count = 0

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        """The quote has both."""
        Watcher.count += 1
        if quote.bid_price is not None and quote.ask_price is not None:
            self.spread_sum += quote.ask_price - quote.bid_price

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        """The book has both."""
        Watcher.count += 1
        book = ctx.book(self.pair)
        bid, ask = book.best_bid, book.best_ask
        if bid is not None and ask is not None:
            self.spread_sum += ask.price - bid.price


def measured(folder: Path, assumed: Mapping[str, Any], repeats: int) -> list[Figure]:
    """Both rows, on a recording of one pair; `assumed` goes to `backtest`."""
    timing, messages = measure(lambda: _called_back(folder), repeats, before=gc.collect)
    each = timing.process
    timing, wakes = measure(lambda: _woken(folder, assumed), repeats, before=gc.collect)
    woken = timing.process
    return [
        _figure(
            "Python, a callback a message", messages / each, "messages/s", f"{messages:,} messages in {each:.2f} s"
        ),
        _figure("Python, quotes and trades", wakes / woken, "wakes/s", f"{wakes:,} wakes in {woken:.2f} s, no order"),
    ]


def _called_back(folder: Path) -> int:
    source = ReplayDataSource(folder)
    reader = BestReader(source)
    source.set_message_callback(reader)
    source.play()
    return reader.count


def _woken(folder: Path, assumed: Mapping[str, Any]) -> int:
    backtest(Watcher, folder, fast=True, **assumed)
    return Watcher.count


def _figure(name: str, value: float, unit: str, note: str) -> Figure:
    return Figure(bench="fast", name=name, value=value, unit=unit, note=note)
