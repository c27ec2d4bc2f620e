"""
Which trades of an instrument were reported before, and whether any is missing.

Trades are numbered one by one, and so are aggregates, which name the trades that they are made of. Both streams tell of
the same trades, late ones and repeated ones among them, so what was reported is kept as ranges of ids and not as the
highest one: an id is reported if it is in a range, and an aggregate if any of its trades is. An aggregate that is
reported in part adds none of its other trades: they come by themselves where the trades are recorded too.

Whether something is missing is decided in each stream by its own numbers. The trades of two aggregates need not adjoin:
those of the insurance fund are in none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

import msgspec

from toolkit.venues.binance.kernel_state import NO_CEILING, RENUMBERED_NS

__all__ = ["NO_CEILING", "RENUMBERED_NS", "Hole", "ToldTrades"]

#: More ranges than this are joined, the lowest first: what was missing for so long is taken as reported.
RANGES_MAX: Final = 1024
#: An order that is off by a little: gaps of at most so many numbers, as many of them, until so many later numbers came.
HOLE_NUMBERS_MAX: Final = 64
HOLES_MAX: Final = 16
LATE_MAX: Final = 256


class Hole(msgspec.Struct, array_like=True):
    """
    Numbers that a stream left out, which was reported as a gap.

    Attributes:
        is_aggregate: Whether it is in the stream of aggregates.
        before: The number that came in their place.
        missing: Trades that have not come since.
        ts_start: Begin of the gap as it was reported, ns.
        ts_end: Its end.
    """

    is_aggregate: bool
    before: int
    missing: list[int]
    ts_start: int
    ts_end: int


class ToldTrades(msgspec.Struct):
    """
    The trades of one instrument.

    Attributes:
        starts: First id of each range, ascending; ranges neither touch nor overlap.
        ends: Last id of each range.
        at: Index of the range that was added to last.
        ts: Newest time of a trade, ns.
        last_trade: Newest number in the stream of trades; -1 before the first.
        last_aggregate: Newest number in the stream of aggregates; -1 before the first.
        holes: Small gaps that what comes late may fill, the oldest first.
    """

    starts: list[int] = []
    ends: list[int] = []
    at: int = 0
    ts: int = 0
    last_trade: int = -1
    last_aggregate: int = -1
    holes: list[Hole] = []

    def is_renumbered(self, last: int, ts: int) -> bool:
        """Whether trades up to that id, of that time, say that the venue has restarted its count."""
        return bool(self.ends) and last <= self.ends[-1] and ts - self.ts >= RENUMBERED_NS

    def forget(self) -> None:
        """The venue has restarted its count: nothing was reported under the new numbers."""
        self.starts, self.ends = [], []
        self.at = self.ts = 0
        self.last_trade = self.last_aggregate = -1
        self.holes = []

    def has(self, first: int, last: int) -> bool:
        """Whether any trade of these ids was reported."""
        place = bisect_left(self.ends, first)
        return place < len(self.ends) and self.starts[place] <= last

    def add(self, first: int, last: int, ts: int) -> None:
        """These trades, none of which was reported, are reported now."""
        starts, ends = self.starts, self.ends
        self.ts = max(self.ts, ts)
        place = bisect_right(starts, first)
        joins_before = place > 0 and ends[place - 1] == first - 1
        joins_after = place < len(starts) and starts[place] == last + 1
        if joins_before and joins_after:
            ends[place - 1] = ends[place]
            del starts[place], ends[place]
        elif joins_before:
            ends[place - 1] = last
        elif joins_after:
            starts[place] = first
        else:
            starts.insert(place, first)
            ends.insert(place, last)
        self.at = place - 1 if joins_before else place
        if len(starts) > RANGES_MAX:
            del starts[1], ends[0]
            self.at = max(self.at - 1, 0)

    def step(self, number: int, *, is_aggregate: bool) -> int:
        """Note the number of what a stream reported: how many numbers it left out."""
        last = self.last_aggregate if is_aggregate else self.last_trade
        if number <= last:
            return 0
        if is_aggregate:
            self.last_aggregate = number
        else:
            self.last_trade = number
        return number - last - 1 if last >= 0 else 0

    def left_out(self, number: int, count: int, ts_start: int, ts_end: int, *, is_aggregate: bool) -> None:
        """So many numbers before this one did not come, which was reported as a gap."""
        if count <= HOLE_NUMBERS_MAX:
            missing = list(range(number - count, number))
            self.holes = [*self.holes[1 - HOLES_MAX :], Hole(is_aggregate, number, missing, ts_start, ts_end)]

    def late(self, number: int, *, is_aggregate: bool) -> Hole | None:
        """Note a number; the gap that it was the last missing number of, if it was."""
        last = self.last_aggregate if is_aggregate else self.last_trade
        self.holes = [hole for hole in self.holes if hole.is_aggregate != is_aggregate or hole.before + LATE_MAX > last]
        for hole in self.holes:
            if hole.is_aggregate == is_aggregate and number in hole.missing:
                hole.missing.remove(number)
                if hole.missing:
                    return None
                self.holes = [other for other in self.holes if other is not hole]
                return hole
        return None
