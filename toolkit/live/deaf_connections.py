"""
Whether a connection still brings data.

A connection may answer pings and acknowledge subscriptions for hours while nothing of what was subscribed comes any
more. So it is measured by what the protocol made of its frames: a stream spoke, or none did.

How long a whole connection may be silent follows from its streams. Where one of them promises a rhythm, twice that is
far beyond it. Where none does (trades of a quiet instrument), minutes of silence may be normal and are asked about more
and more seldom. Where there are only accounts, silence says nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple

from toolkit.clock import NS_PER_S
from toolkit.streams import Stream

__all__ = ["Hearing", "Patience", "Verdict", "patience_with"]

#: A connection is not called deaf before this, however fast the rhythm that was promised, seconds.
DEAF_S_MIN: Final = 10.0
#: Longest wait for what is subscribed again and promises a rhythm.
AGAIN_S_MAX: Final = 30.0
#: Where no stream promises a rhythm.
UNPROMISED_S_MAX: Final = 300.0
#: How often the patience may double while making the connection again does not help: the market may stand still.
DOUBLINGS_MAX: Final = 5


class Verdict(enum.Enum):
    """What a look found."""

    HEARS = enum.auto()
    DEAF = enum.auto()  # said once in each silence
    HOPELESS = enum.auto()  # still deaf after its streams were subscribed again


class Patience(NamedTuple):
    """
    How long a connection may be silent.

    Attributes:
        silence_s: Longest normal silence of all its streams together, seconds; 0 where silence says nothing.
        again_s: How long to wait for data after its streams were subscribed again.
    """

    silence_s: float
    again_s: float


def patience_with(streams: Sequence[Stream]) -> Patience:
    """The patience with a connection that carries these streams."""
    promised = [stream.limit_ns for stream in streams if stream.limit_ns]
    if promised:
        silence_s = max(2 * min(promised) / NS_PER_S, DEAF_S_MIN)
        # What keeps a rhythm shows soon whether that has helped.
        return Patience(silence_s, min(silence_s, AGAIN_S_MAX))
    if any(stream.symbol for stream in streams):
        return Patience(UNPROMISED_S_MAX, UNPROMISED_S_MAX)
    return Patience(0.0, 0.0)


class Hearing:
    """
    The watch over one connection.

    What comes at once on subscribing (a snapshot, history) shows nothing: a venue may send that and no change ever
    after. So subscribing again has helped, and a new connection too, when data came longer than that after it.

    Attributes:
        silence_s: How long no stream has said anything, at the last look.
    """

    def __init__(self) -> None:
        self.silence_s = 0.0
        self._epoch = -1
        self._said: tuple[int, int] = (0, 0)
        self._since_ns = 0
        #: When the connection was made, or its streams were last subscribed again.
        self._tried_ns = 0
        self._is_deaf = False
        self._doublings = 0

    def look(self, epoch: int, streams: Sequence[Stream], mono_ns: int, *, is_excused: bool) -> Verdict:
        """
        Look at the streams that it carries.

        `is_excused` says that silence means nothing now: what subscribes them still waits to be sent, or the machine
        slept.
        """
        said = _said(streams)
        silence_s, again_s = (seconds * 2**self._doublings for seconds in patience_with(streams))
        if epoch != self._epoch:
            self._epoch = epoch
            self._is_deaf = False
            self._since_ns = self._tried_ns = mono_ns
        elif said != self._said:
            self._since_ns = mono_ns
            if mono_ns - self._tried_ns > again_s * NS_PER_S:
                self._is_deaf = False
                self._doublings = 0
        elif is_excused:
            self._since_ns = mono_ns
        self._said = said
        self.silence_s = (mono_ns - self._since_ns) / NS_PER_S
        waited_s = (mono_ns - max(self._since_ns, self._tried_ns)) / NS_PER_S
        if not silence_s or waited_s <= (again_s if self._is_deaf else silence_s):
            return Verdict.HEARS
        if not self._is_deaf:
            self._is_deaf = True
            self._tried_ns = mono_ns
            return Verdict.DEAF
        self._tried_ns = mono_ns
        self._doublings = min(self._doublings + 1, DOUBLINGS_MAX)
        return Verdict.HOPELESS

    def pardon(self, streams: Sequence[Stream]) -> None:
        """What has just changed about the streams was our own doing (subscribing again), and no data."""
        self._said = _said(streams)


def _said(streams: Sequence[Stream]) -> tuple[int, int]:
    """Differs whenever a stream has spoken: frames are counted, also those that nothing can be made of yet."""
    return sum(stream.frame_count for stream in streams), sum(stream.last_recv for stream in streams)
