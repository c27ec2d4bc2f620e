"""
When to ask for the funding rates that were charged: dYdX v4 never pushes them, and settles every hour.

Which rates were told already decides messages and goes into checkpoints; when to ask does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from toolkit.clock import NS_PER_S
from toolkit.frames import Frame
from toolkit.protocol import Request
from toolkit.venues.dydx_v4.markets import FUNDING_INTERVAL_S
from toolkit.venues.dydx_v4.rest import funding_call
from toolkit.venues.dydx_v4.wire import SettledRate, time_ns

__all__ = ["FundingPolls"]

#: Settlements are stamped up to a second after the hour; REST is behind by another, more under load.
DELAY_S: Final = 20
#: Rates asked for at first, and then each hour.
FIRST_COUNT: Final = 24
LATER_COUNT: Final = 3


class FundingPolls:
    """The settled rates of every market."""

    def __init__(self) -> None:
        self._settled: dict[str, int] = {}
        self._wall_less_mono_ns = 0
        self._hour = 0

    def begin(self, tickers: Sequence[str], frame: Frame) -> list[Request]:
        """A connection was made: the last day's rates, if nobody asked yet."""
        self._wall_less_mono_ns = frame.ts_recv - frame.ts_mono
        if self._hour:
            return []
        self._hour = self._hour_of(frame.ts_recv)
        return [funding_call(ticker, FIRST_COUNT) for ticker in tickers]

    def due(self, tickers: Sequence[str], mono_ns: int) -> list[Request]:
        """What to ask for at that time: each market's newest rates, once every hour."""
        if not self._hour:
            return []
        hour = self._hour_of(mono_ns + self._wall_less_mono_ns)
        if hour <= self._hour:
            return []
        self._hour = hour
        return [funding_call(ticker, LATER_COUNT) for ticker in tickers]

    def fresh(self, rows: Sequence[SettledRate]) -> list[SettledRate]:
        """The rates that were not told yet, oldest first. Raises ParseError for a time that cannot be."""
        fresh: dict[tuple[int, str], SettledRate] = {}
        for row in rows:
            time = time_ns(row.effectiveAt)
            if time > self._settled.get(row.ticker, 0):
                fresh[time, row.ticker] = row
        return [fresh[key] for key in sorted(fresh)]

    def told(self, rows: Sequence[SettledRate]) -> None:
        """Those rates have been told."""
        for row in rows:
            self._settled[row.ticker] = time_ns(row.effectiveAt)

    def export(self) -> Any:
        """What was told, for a checkpoint."""
        return dict(self._settled)

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._settled = dict(state)

    @staticmethod
    def _hour_of(wall_ns: int) -> int:
        return (wall_ns // NS_PER_S - DELAY_S) // FUNDING_INTERVAL_S
