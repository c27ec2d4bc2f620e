"""
The rotation rule: when a segment ends and the next one begins.

A segment ends at the next multiple of its length since midnight UTC (with the default of 3600 s: at every full hour),
at a size of its journal, and where the clock steps back before its beginning: its end would otherwise be reached only
when the clock has caught up.
"""

from __future__ import annotations

from toolkit.clock import NS_PER_S

__all__ = ["Rotation"]


class Rotation:
    """
    The rule for one session.

    Args:
        length_s: Length of a segment, seconds.
        size_max: Bytes of the journal at which a segment ends before its time.
    """

    def __init__(self, length_s: float, size_max: int) -> None:
        self._length_ns = round(length_s * NS_PER_S)
        self._size_max = size_max
        #: Wall clock, ns: from when until when the current segment may be written to.
        self._from_ns = 0
        self._until_ns = 0

    def begin(self, now_ns: int) -> None:
        """Begin a segment at a time of the wall clock, ns."""
        self._from_ns = now_ns // self._length_ns * self._length_ns
        self._until_ns = self._from_ns + self._length_ns

    def is_due(self, now_ns: int, byte_count: int) -> bool:
        """Whether a segment whose journal has so many bytes ends now; `now_ns` is of the wall clock."""
        return not self._from_ns <= now_ns < self._until_ns or byte_count >= self._size_max
