"""
When to ask a market's REST interface: dYdX v4 never pushes the funding rates that were charged every hour, and terms
may change without the stream's saying so.

Rates are asked for since the last one that is known, whatever the clock says: after hours without an answer, or without
a recorder, as many as were missed. Which rates were reported already decides messages and goes into checkpoints; when
to ask does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from toolkit.clock import NS_PER_S
from toolkit.frames import Frame
from toolkit.protocol import RestCall
from toolkit.venues.dydx_v4.memory import remember
from toolkit.venues.dydx_v4.rest import funding_call, terms_call
from toolkit.venues.dydx_v4.symbols import FUNDING_INTERVAL_S
from toolkit.venues.dydx_v4.wire import SettledRate, time_ns

__all__ = ["FundingPolls", "Repeats", "TermsPolls"]

#: Settlements are stamped up to a second after the hour; REST lags by another, more under load.
DELAY_S: Final = 20
#: Rates asked for at first, and each hour at least and at most.
FIRST_COUNT: Final = 24
LATER_COUNT: Final = 3
COUNT_MAX: Final = 1000
#: Rates kept per market to recognise a repeated one.
REMEMBERED: Final = 2000
#: Two rates of a market that follow each other are no further apart than this, with room for a late settlement.
STEP_NS_MAX: Final = FUNDING_INTERVAL_S * NS_PER_S * 3 // 2

#: How often terms are looked at: a request for each market up to a few, and the list of all from then on.
TERMS_S: Final = 600
TERMS_SINGLE_MAX: Final = 8

#: A request that got no answer is made again after this, then after twice as long, and so on, seconds.
REPEAT_S: Final = 30
REPEAT_S_MAX: Final = 600


class FundingPolls:
    """The settled rates of every market."""

    def __init__(self) -> None:
        self._reported: dict[str, dict[str, int]] = {}
        #: All rates up to this time were reported, ns.
        self._reported_to: dict[str, int] = {}
        self._begun = 0
        self._wall_less_mono_ns = 0
        self._hour = 0
        self._asked_mono = 0

    def begin(self, tickers: Sequence[str], frame: Frame) -> list[RestCall]:
        """A connection was made: what was charged since the last rate known, the last day's if none is."""
        self._wall_less_mono_ns = frame.ts_recv - frame.ts_mono
        if self._hour:
            return []
        self._hour, self._asked_mono = self._hour_of(frame.ts_recv), frame.ts_mono
        self._begun = self._begun or frame.ts_recv
        return [self.call(ticker, frame.ts_recv) for ticker in tickers]

    def due(self, tickers: Sequence[str], mono_ns: int) -> list[RestCall]:
        """What to ask for at that time: each market's newest rates, once every hour."""
        if not self._hour:
            return []
        wall_ns = mono_ns + self._wall_less_mono_ns
        hour = self._hour_of(wall_ns)
        # A clock that was set may show one hour twice: an hour is one, whatever it shows.
        if hour == self._hour and mono_ns - self._asked_mono < FUNDING_INTERVAL_S * NS_PER_S:
            return []
        self._hour, self._asked_mono = hour, mono_ns
        return [self.call(ticker, wall_ns) for ticker in tickers]

    def call(self, ticker: str, wall_ns: int) -> RestCall:
        """The request for a market's rates since the last one known; since a day before the recording if none is."""
        reported_to = self._reported_to.get(ticker)
        missed = max(0, wall_ns - (reported_to or self._begun)) // (FUNDING_INTERVAL_S * NS_PER_S)
        count = missed + (FIRST_COUNT if reported_to is None else LATER_COUNT - 1)
        return funding_call(ticker, max(LATER_COUNT, min(count, COUNT_MAX)))

    def again(self, ticker: str, mono_ns: int) -> RestCall:
        """The request that got no answer, as it is by now."""
        return self.call(ticker, mono_ns + self._wall_less_mono_ns)

    def fresh(self, rows: Sequence[SettledRate]) -> list[SettledRate]:
        """The rates that were not reported yet, oldest first."""
        fresh: dict[tuple[int, str], SettledRate] = {}
        for row in rows:
            time = time_ns(row.effectiveAt)
            if str(time) not in self._reported.get(row.ticker, {}):
                fresh[time, row.ticker] = row
        return [fresh[key] for key in sorted(fresh)]

    def note_reported(self, rows: Sequence[SettledRate], fresh: Sequence[SettledRate]) -> list[RestCall]:
        """Of those rates the fresh ones have been reported; what to ask for where there are more before them."""
        for row in fresh:
            time = time_ns(row.effectiveAt)
            remember(self._reported.setdefault(row.ticker, {}), str(time), time, REMEMBERED)
        calls: list[RestCall] = []
        for ticker in dict.fromkeys(row.ticker for row in rows):
            oldest = min((row for row in rows if row.ticker == ticker), key=lambda row: row.effectiveAt)
            reported_to = self._reported_to.get(ticker)
            is_short = reported_to is not None and time_ns(oldest.effectiveAt) - reported_to > STEP_NS_MAX
            if not is_short:
                self._reported_to[ticker] = max(self._reported[ticker].values())
            elif any(row.ticker == ticker for row in fresh):  # else they are asked for already
                calls.append(funding_call(ticker, COUNT_MAX, oldest.effectiveAt))
        return calls

    def export(self) -> Any:
        """What was reported, for a checkpoint."""
        return {
            "told": {ticker: list(times) for ticker, times in self._reported.items()},
            "told_to": dict(self._reported_to),
            "begun": self._begun,
        }

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._reported = {ticker: {time: int(time) for time in times} for ticker, times in state["told"].items()}
        self._reported_to = dict(state["told_to"])
        self._begun = state["begun"]

    @staticmethod
    def _hour_of(wall_ns: int) -> int:
        return (wall_ns // NS_PER_S - DELAY_S) // FUNDING_INTERVAL_S


class TermsPolls:
    """When the terms of markets (tick, lot, margin, status) are looked at again."""

    def __init__(self) -> None:
        self._due: int | None = None

    def begin(self, mono_ns: int) -> None:
        """A connection was made; terms were read before the first one."""
        if self._due is None:
            self._due = mono_ns + TERMS_S * NS_PER_S

    def slept(self, mono_ns: int) -> None:
        """The machine slept, and the monotonic clock stood still: they are looked at now."""
        if self._due is not None:
            self._due = mono_ns

    def ended(self) -> None:
        """The session is over; the next one has another monotonic clock."""
        self._due = None

    def due(self, tickers: Sequence[str], mono_ns: int) -> list[RestCall]:
        """What to ask for at that time."""
        if self._due is None or mono_ns < self._due or not tickers:
            return []
        self._due = mono_ns + TERMS_S * NS_PER_S
        return [terms_call(ticker) for ticker in tickers] if len(tickers) <= TERMS_SINGLE_MAX else [terms_call()]


class Repeats:
    """Requests that got no answer, by tag, and when to make them again."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[int, int]] = {}

    def failed(self, tag: str, mono_ns: int) -> None:
        """A request got no answer, or none of use."""
        due, wait_s = self._due.get(tag, (0, REPEAT_S))
        if due <= mono_ns:
            self._due[tag] = (mono_ns + wait_s * NS_PER_S, min(2 * wait_s, REPEAT_S_MAX))

    def answered(self, tag: str) -> None:
        """It was answered."""
        self._due.pop(tag, None)

    def ended(self) -> None:
        """The session is over."""
        self._due.clear()

    def due(self, mono_ns: int) -> list[str]:
        """The tags to ask for again now; each stays until it is answered."""
        tags = [tag for tag, (due, _) in self._due.items() if mono_ns >= due]
        for tag in tags:
            _, wait_s = self._due[tag]
            self._due[tag] = (mono_ns + wait_s * NS_PER_S, min(2 * wait_s, REPEAT_S_MAX))
        return tags
