"""
How long a request takes to the venue, and its answer back.

Times are ns. Ours are on the clock that recorded, the venue's on its own; the offset between the two is the scheduler's.
An entry latency below 0 means that the request never arrives: its refusal is received after that long.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError

__all__ = ["ConstantLatency", "InterpolatedLatency", "Latency", "latency_of_feed"]


class Latency(Protocol):
    """A model of latency."""

    def entry_ns(self, sent_ns: int) -> int:
        """From sending, on our clock, to arrival."""

    def response_ns(self, venue_ns: int) -> int:
        """From what happens at the venue, on its clock, to our hearing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantLatency:
    """
    Always the same.

    Args:
        entry: ns, from us to the venue.
        response: ns, back.

    Raises ConfigError where one is below 0.
    """

    entry: int
    response: int

    def __post_init__(self) -> None:
        for name, value in (("entry", self.entry), ("response", self.response)):
            if value < 0:
                raise ConfigError(f"{name} latency is {value} ns, expected 0 or more")

    def entry_ns(self, sent_ns: int) -> int:
        return self.entry

    def response_ns(self, venue_ns: int) -> int:
        return self.response


class InterpolatedLatency:
    """
    Between recorded round trips of orders.

    Args:
        rows: `(request, exchange, response)`, ascending in all three: when a request was sent and its answer received,
            on our clock, and when it was taken in, on the venue's. An exchange time of 0: the request was lost.
        clock_offset_ns: The venue's clock less ours.

    Raises ConfigError without rows, for rows that do not ascend, or with an answer before its question.
    """

    def __init__(self, rows: Sequence[Sequence[int]], clock_offset_ns: int = 0) -> None:
        if not rows:
            raise ConfigError("no round trip to interpolate between, expected at least one row")
        self._requests = [int(row[0]) for row in rows]
        self._venue = [int(row[1]) for row in rows]
        arrived = [(index, at) for index, at in enumerate(self._venue) if at > 0]
        self._entries = [
            at - clock_offset_ns - sent if at > 0 else 0 for sent, at in zip(self._requests, self._venue, strict=True)
        ]
        self._trips = [int(row[2]) - int(row[0]) for row in rows]
        #: Times at the venue of the rows that arrived, and how long their answers took.
        self._answered = [at for _, at in arrived]
        self._answers = [int(rows[index][2]) + clock_offset_ns - at for index, at in arrived]
        for index, (entry, trip) in enumerate(zip(self._entries, self._trips, strict=True)):
            if entry < 0 or trip < entry:
                raise ConfigError(
                    f"round trip {index + 1} takes {entry} ns to the venue and {trip} ns in all, expected neither below 0"
                    " and the second not below the first; is the clock offset right?"
                )
        for name, times in (("request", self._requests), ("exchange", self._answered)):
            if any(later <= earlier for earlier, later in pairwise(times)):
                raise ConfigError(f"the {name} times of the round trips do not ascend")

    def entry_ns(self, sent_ns: int) -> int:
        index = bisect_right(self._requests, sent_ns)
        first, second = max(index - 1, 0), min(index, len(self._requests) - 1)
        if self._venue[first] <= 0 or self._venue[second] <= 0:
            return -_between(self._requests, self._trips, sent_ns)
        return _between(self._requests, self._entries, sent_ns)

    def response_ns(self, venue_ns: int) -> int:
        return _between(self._answered, self._answers, venue_ns) if self._answered else 0


def _between(times: Sequence[int], values: Sequence[int], at: int) -> int:
    """The value at a time, on the line between the two around it; before the first and after the last, theirs."""
    index = bisect_right(times, at)
    if index == 0:
        return values[0]
    if index == len(times):
        return values[-1]
    slope = float(values[index] - values[index - 1]) / float(times[index] - times[index - 1])
    return int(slope * float(at - times[index - 1])) + values[index - 1]


#: One row of the table of the feed's delay per second.
_INTERVAL_NS: Final = NS_PER_S


def latency_of_feed(
    events: npt.NDArray[np.void], *, clock_offset_ns: int, entry_add_ns: int = 0, response_add_ns: int = 0
) -> InterpolatedLatency:
    """
    Latency that follows the tape's own feed delay: that of the last message of each second.

    Args:
        events: Events as rows of `replay.market.layout.EVENT`.
        clock_offset_ns: The venue's clock less ours.
        entry_add_ns: Added to the feed's delay on the way to the venue.
        response_add_ns: Added on the way back.

    Raises:
        ConfigError: A sum is below 0; the message says which offset would mend it.
    """
    order = np.argsort(events["recv"], kind="stable")
    recv, delay = events["recv"][order], (events["recv"] + clock_offset_ns - events["time"])[order]
    if not len(recv):
        raise ConfigError("no market data to take the feed's delay from")
    last_of_second = np.flatnonzero(np.diff(recv // _INTERVAL_NS, append=recv[-1] // _INTERVAL_NS + 1))
    recv, delay = recv[last_of_second], delay[last_of_second]
    least = int(delay.min()) + min(entry_add_ns, response_add_ns)
    if least < 0:
        raise ConfigError(
            f"the feed's delay and what is added make {least} ns at least, expected 0 or more; the venue's clock is"
            f" {clock_offset_ns} ns ahead of ours by the setting, and {clock_offset_ns - least} ns would do"
        )
    rows: list[tuple[int, int, int]] = []
    for sent, of_feed in zip(recv.tolist(), delay.tolist(), strict=True):
        arrived = sent + clock_offset_ns + of_feed + entry_add_ns
        # Where delays fall faster than time passes an answer would overtake the one before; order is kept.
        if rows and arrived <= rows[-1][1]:
            continue
        rows.append((sent, arrived, arrived - clock_offset_ns + of_feed + response_add_ns))
    return InterpolatedLatency(rows, clock_offset_ns)
