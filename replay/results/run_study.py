"""
What is measured of a run once it is over: its profit by what it came from, the market that it met, and other settings.

Nothing here costs the run itself anything: prices after each fill, volumes and delays are read from the columns of the
recordings that were played.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

__all__ = [
    "COURSES_MAX",
    "HORIZONS_S",
    "OWN_SHARE_MAX",
    "DelayInfo",
    "MarketInfo",
    "PriceCourse",
    "ProfitParts",
    "Rerun",
    "RunStudy",
]

#: So long after a fill the price is looked at again, seconds.
HORIZONS_S: Final = (1, 10, 60)
#: Pairs whose prices are kept for charts.
COURSES_MAX: Final = 4
#: Above that share of the market's volume own fills would have moved the market.
OWN_SHARE_MAX: Final = 0.1


class ProfitParts(msgspec.Struct, frozen=True, kw_only=True):
    """
    The profit of one pair by what it came from, in its currency of settlement. The parts add up to it exactly.

    With p the price of a fill, m the middle of the book just before it, and h the middle some time after it, of what was
    bought (of what was sold the other way round):

    Attributes:
        venue: Venue of the pair.
        trading_pair: Its name.
        horizon_s: Time from a fill to h, seconds.
        spread: m - p: what was earned against the middle of that moment, negative where a taker paid it.
        adverse: h - m: where the price went afterwards, negative if against the fill.
        inventory: Mark at the end, or price of what closed it, less h: what was gained by holding on.
        fees: Less what was paid; positive: received.
        funding: Received.
        unmeasured: Fills before which no price was known, of which all is inventory.
    """

    venue: str
    trading_pair: str
    horizon_s: int
    spread: Decimal
    adverse: Decimal
    inventory: Decimal
    fees: Decimal
    funding: Decimal
    unmeasured: int = 0

    @property
    def net(self) -> Decimal:
        """All of them together."""
        return self.spread + self.adverse + self.inventory + self.fees + self.funding


class DelayInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    How long after the venue's own time messages were received; ns, both clocks as they were.

    Attributes:
        table: Kind of messages: `trades`, or `top`, those that changed a best price.
        messages: How many.
        untimed: Number of these without a time of the venue.
        negative: Received before they happened, by the two clocks.
        p50: Delay that half of those with a time did not exceed, to three digits; None without any.
        p90: Delay that nine in ten do not exceed.
        p99: Delay that ninety-nine in a hundred do not exceed.
    """

    table: str
    messages: int
    untimed: int
    negative: int
    p50: int | None
    p90: int | None
    p99: int | None


class MarketInfo(msgspec.Struct, frozen=True, kw_only=True):
    """
    The market of one pair, as it was recorded during the run.

    Attributes:
        venue: Venue of the pair.
        trading_pair: Its name.
        volume: Size of all trades.
        trades: How many there were.
        sideless: Number of these without a side.
        own_volume: Size of all own fills.
        own_share_max: Largest share that own fills had of the volume of one minute; None where nothing was traded.
        large_fills: Own fills in minutes of which they are more than `OWN_SHARE_MAX`.
        known_ns: Since when the book was known, until the end.
        stale_ns: How long of that it could not be believed.
        crossed_ns: How long its bid was at or above its ask.
        one_sided_ns: How long it had one side only.
        delays: Delays of its messages.
    """

    venue: str
    trading_pair: str
    volume: float
    trades: int
    sideless: int
    own_volume: float
    own_share_max: float | None
    large_fills: int
    known_ns: int
    stale_ns: int
    crossed_ns: int
    one_sided_ns: int
    delays: list[DelayInfo]

    @property
    def own_share(self) -> float | None:
        """Share of own fills in all that was traded; None where nothing was."""
        return self.own_volume / self.volume if self.volume else None


class PriceCourse(msgspec.Struct, frozen=True, kw_only=True):
    """
    The middle of a pair's book over the run, in steps of time: for charts. None where it was not known.

    Attributes:
        venue: Venue of the pair.
        trading_pair: Its name.
        start_ns: Where the first step begins.
        step_ns: Length of a step.
        last: Value at the end of each step.
        low: The lowest within it.
        high: The highest.
    """

    venue: str
    trading_pair: str
    start_ns: int
    step_ns: int
    last: list[float | None]
    low: list[float | None]
    high: list[float | None]


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """
    The same run with one assumption changed.

    Attributes:
        name: Name of the assumption that was changed.
        title: Title for people.
        setting: How it is said on the command line; empty where it is computed.
        why_not: Why it was not run; empty: it was.
        nets: Net profit of each account.
        fills: How many there were.
    """

    name: str
    title: str
    setting: str = ""
    why_not: str = ""
    nets: Mapping[str, Decimal] = {}
    fills: int = 0


class RunStudy(msgspec.Struct, frozen=True, kw_only=True):
    """
    All that was measured.

    Attributes:
        parts: Profit by what it came from, for each pair and horizon.
        markets: Market of each pair, in the order of the run.
        reruns: With other assumptions; empty where none were tried.
        courses: Prices of the pairs with most turnover, at most `COURSES_MAX`.
    """

    parts: list[ProfitParts]
    markets: list[MarketInfo]
    reruns: list[Rerun] = []
    courses: list[PriceCourse] = []
