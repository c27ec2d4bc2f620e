"""Candles made from the synthetic tape: one-minute bars are kept, longer ones are put together when asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from replay.market.engine.facts import Trade
from replay.serving.venues.hyperliquid.requests import INTERVALS_MS
from replay.serving.venues.hyperliquid.synthetic.listing import Metadata

__all__ = ["CANDLES_MAX", "Candles"]

#: The venue keeps only so many candles of an interval.
CANDLES_MAX = 5000
_MINUTE_MS = 60_000


class _Bar:
    """One candle: open time in ms, prices in units, volume in lots, number of trades."""

    __slots__ = ("close", "high", "lots", "low", "n", "open", "start_ms")

    def __init__(self, start_ms: int, px: int) -> None:
        self.start_ms = start_ms
        self.open = self.close = self.high = self.low = px
        self.lots = 0
        self.n = 0

    def add(self, other: _Bar) -> None:
        self.close = other.close
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.lots += other.lots
        self.n += other.n


class Candles:
    """The candles of every coin."""

    def __init__(self, metadata: Metadata) -> None:
        self._listed = metadata.listed
        self._by_symbol = metadata.by_symbol
        self._minutes: dict[str, list[_Bar]] = {coin: [] for coin in metadata.listed}

    def add(self, trades: Iterable[Trade]) -> None:
        """Take trades in, in the order they happened."""
        for trade in trades:
            minutes = self._minutes[self._by_symbol[trade.symbol].coin]
            start_ms = trade.time_ms - trade.time_ms % _MINUTE_MS
            if not minutes or minutes[-1].start_ms < start_ms:
                minutes.append(_Bar(start_ms, trade.px))
                del minutes[: -CANDLES_MAX * 2]
            bar = minutes[-1]
            bar.close = trade.px
            bar.high = max(bar.high, trade.px)
            bar.low = min(bar.low, trade.px)
            bar.lots += trade.lots
            bar.n += 1

    def between(self, coin: str, interval: str, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
        """Candles that overlap the time from `start_ms` to `end_ms`, oldest first."""
        step = INTERVALS_MS[interval]
        first = start_ms - start_ms % step
        bars: list[_Bar] = []
        for minute in self._minutes[coin]:
            if not first <= minute.start_ms <= end_ms:
                continue
            start = minute.start_ms - minute.start_ms % step
            if not bars or bars[-1].start_ms != start:
                bars.append(_Bar(start, minute.open))
            bars[-1].add(minute)
        return [self._wire(coin, interval, bar) for bar in bars[-CANDLES_MAX:]]

    def current(self, coin: str, interval: str, now_ms: int) -> dict[str, Any] | None:
        """The candle that is open now, if anything was traded in it."""
        start_ms = now_ms - now_ms % INTERVALS_MS[interval]
        found = self.between(coin, interval, start_ms, now_ms)
        return found[-1] if found else None

    def _wire(self, coin: str, interval: str, bar: _Bar) -> dict[str, Any]:
        listed = self._listed[coin]
        px = listed.px_text
        return {
            "t": bar.start_ms,
            "T": bar.start_ms + INTERVALS_MS[interval] - 1,
            "s": coin,
            "i": interval,
            "o": px(bar.open),
            "c": px(bar.close),
            "h": px(bar.high),
            "l": px(bar.low),
            "v": listed.sz_text(bar.lots),
            "n": bar.n,
        }
