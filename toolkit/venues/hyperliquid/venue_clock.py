"""The venue's clock, as the times in what it sends tell it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.frames import Frame

__all__ = ["VenueClock"]

#: Newest stamps that are asked; a clock that was set is followed when more than half as many have come since.
_STAMPS: Final = 12
#: Stamps that are no further apart agree: some were longer on their way.
_AGREE_NS: Final = 3 * NS_PER_S


class VenueClock:
    """
    What time it was at the venue when something was received or sent here.

    Some of the newest stamps may be dated ahead or back, or were long on their way: what most of them agree on counts,
    and of those that agree the one that was least delayed, but for a quarter that may be a little ahead. What is left is late by a quarter of a second. Where as many
    say otherwise, or there is no stamp at all, our wall clock decides. It may be seconds off.

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

    def saw(self, frame: Frame) -> None:
        """Note our own wall clock."""
        self._wall_offset = frame.ts_recv - frame.ts_mono

    def at(self, mono_ns: int) -> int:
        """The venue's time at a moment of our monotonic clock, ns."""
        if not self._offsets:
            return mono_ns + self._wall_offset
        offsets = sorted(self._offsets)
        best, most, first = offsets[0], 0, 0
        for place, offset in enumerate(offsets):
            while offset - offsets[first] > _AGREE_NS:
                first += 1
            count = place - first + 1
            is_nearer = abs(offset - self._wall_offset) <= abs(best - self._wall_offset)
            if count > most or (count == most and is_nearer):
                best, most = offset, count
        agreeing = [offset for offset in offsets if best - _AGREE_NS <= offset <= best]
        return mono_ns + agreeing[-1 - len(agreeing) // 4]

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
