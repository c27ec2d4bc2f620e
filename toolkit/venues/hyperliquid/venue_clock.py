"""The venue's clock, as the times in what it sends tell it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from toolkit.clock import NS_PER_MS
from toolkit.frames import Frame

__all__ = ["VenueClock"]

#: Newest stamps that are asked; a clock that was set back is followed when as many have come since.
_STAMPS: Final = 12
#: Fewer cannot outvote a wrong one.
_STAMPS_MIN: Final = 4


class VenueClock:
    """
    What time it was at the venue when something was received or sent here.

    What was least delayed on its way here is nearest to the truth, but some of the newest stamps may be dated ahead: so
    a quarter of them, the highest, are passed over. What is left is late by a quarter of a second.

    Without any stamp our wall clock stands in. It may be seconds off.

    Attributes:
        stamped: Call it with what a stamp is ahead of our monotonic clock, ns. The path of every book and quote.
    """

    def __init__(self) -> None:
        self._offsets: deque[int] = deque(maxlen=_STAMPS)
        self.stamped = self._offsets.append
        self._wall_offset = 0

    @property
    def has_stamps(self) -> bool:
        """Whether the venue has told its time."""
        return bool(self._offsets)

    def heard(self, time_ms: int, frame: Frame) -> None:
        """Something was received that the venue stamped as it was sent."""
        self.stamped(time_ms * NS_PER_MS - frame.ts_mono)

    @property
    def needs_ours(self) -> bool:
        """Whether our own wall clock still decides, because there are few stamps."""
        return len(self._offsets) < _STAMPS_MIN

    def saw(self, frame: Frame) -> None:
        """Note our own wall clock, for as long as there are few stamps."""
        self._wall_offset = frame.ts_recv - frame.ts_mono

    def at(self, mono_ns: int) -> int:
        """The venue's time at a moment of our monotonic clock, ns."""
        if not self._offsets:
            return mono_ns + self._wall_offset
        count = len(self._offsets)
        if count < _STAMPS_MIN:
            # Too few to outvote a wrong one: the nearest to our own clock.
            return mono_ns + min(self._offsets, key=lambda offset: abs(offset - self._wall_offset))
        return mono_ns + sorted(self._offsets)[-1 - count // 4]

    def forget(self) -> None:
        """The monotonic clock of another process begins elsewhere, and that of a machine that slept stood still."""
        self._offsets.clear()

    def export(self) -> list[int]:
        """Everything, for a checkpoint."""
        return [self._wall_offset, *self._offsets]

    def restore(self, state: Sequence[int]) -> None:
        """Become what `export` described."""
        self._wall_offset = state[0] if state else 0
        self._offsets.clear()
        self._offsets.extend(state[1:])
