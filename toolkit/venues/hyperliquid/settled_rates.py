"""
Settled funding rates: asked for after each hour, from the last one that is known.

A window of the clock would miss for good what was settled while REST was down, though the venue has it still. A rate
is reported once, however late and in whatever order the answers come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.protocol import RestCall
from toolkit.venues.hyperliquid.convert import FUNDING_INTERVAL_S, info_call
from toolkit.venues.hyperliquid.venue_clock import VenueClock
from toolkit.venues.hyperliquid.wire import FundingRow

__all__ = ["SETTLED", "Settlements"]

#: Name of the poll, and of the stream in the events about it.
SETTLED: Final = "settled"
#: How far back the first question reaches, seconds.
FIRST_S: Final = 24 * 3600
#: Settlements are stamped up to 118 ms after the hour and appear in the history soon after.
DELAY_S: Final = 30
#: Most rows of a reply; as many may mean that there are more.
ROWS_MAX: Final = 500
#: Times remembered per coin: more than a reply holds twice over.
TIMES_REMEMBERED: Final = 1500
#: After a question that brought no rate of the hour: until it is asked again, seconds; doubled each time.
RETRY_S: Final = 120
RETRY_S_MAX: Final = 3600
#: The venue charges 20, and 1 for each 20 rows.
_WEIGHT: Final = 22


class Settlements:
    """
    What is known of every coin's settled rates.

    Args:
        clock: The venue's, as its stamps tell it.
    """

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._times: dict[str, dict[int, None]] = {}
        self._newest: dict[str, int] = {}
        #: From when on a coin's rates are wanted, ms; fixed when it is first polled, however late the answer comes.
        self._from: dict[str, int] = {}
        #: Of each coin that is polled: hour, number of questions in it, and when the last was. Decides nothing else.
        self._asked: dict[str, tuple[int, int, int]] = {}

    def start(self, coins: Iterable[str], mono_ns: int) -> list[RestCall]:
        """Poll these coins from now on, those that are not yet."""
        new = [coin for coin in coins if coin not in self._asked]
        for coin in new:
            self._from.setdefault(coin, self._clock.at(mono_ns) // NS_PER_MS - FIRST_S * 1000)
        return [self._ask(coin, 0, mono_ns) for coin in new]

    def stop(self) -> None:
        """Poll nothing any more; what is known stays."""
        self._asked.clear()

    def due(self, mono_ns: int) -> list[RestCall]:
        """Questions that are due: those whose hour has no rate yet."""
        if not self._asked:
            return []
        hour = self._hour(mono_ns)
        calls = []
        for coin, (asked_hour, count, asked_ns) in list(self._asked.items()):
            if self._newest.get(coin, 0) >= hour * FUNDING_INTERVAL_S * 1000:
                continue
            wait_s = min(RETRY_S * 2 ** min(count, 16), RETRY_S_MAX)
            if hour > asked_hour:
                calls.append(self._ask(coin, 0, mono_ns))
            elif mono_ns - asked_ns > wait_s * NS_PER_S:
                calls.append(self._ask(coin, count + 1, mono_ns))
        return calls

    def news(self, rows: Sequence[FundingRow]) -> list[FundingRow]:
        """Those that were not reported before; from now on they were."""
        new = []
        for row in rows:
            times = self._times.setdefault(row.coin, {})
            if row.time not in times:
                times[row.time] = None
                new.append(row)
                self._newest[row.coin] = max(row.time, self._newest.get(row.coin, 0))
            while len(times) > TIMES_REMEMBERED:
                del times[min(times)]
        return new

    def more(self, coin: str, rows: Sequence[FundingRow]) -> list[RestCall]:
        """What is to be asked after an answer that is as long as answers can be."""
        return [self._call(coin, max(row.time for row in rows) + 1)] if len(rows) >= ROWS_MAX else []

    def _hour(self, mono_ns: int) -> int:
        return (self._clock.at(mono_ns) // NS_PER_S - DELAY_S) // FUNDING_INTERVAL_S

    def _ask(self, coin: str, count: int, mono_ns: int) -> RestCall:
        self._asked[coin] = (self._hour(mono_ns), count, mono_ns)
        newest = self._newest.get(coin)
        return self._call(coin, self._from[coin] if newest is None else newest + 1)

    def _call(self, coin: str, start_ms: int) -> RestCall:
        more = {"coin": coin, "startTime": start_ms}
        return info_call("fundingHistory", more, tag=f"fundingHistory:{coin}", weight=_WEIGHT)

    def export(self) -> Any:
        """Everything that later messages depend on."""
        return {"times": {coin: list(times) for coin, times in self._times.items()}, "from": self._from}

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._times = {coin: dict.fromkeys(times) for coin, times in state["times"].items()}
        self._newest = {coin: max(times) for coin, times in self._times.items() if times}
        self._from = dict(state["from"])
