"""
Calls that are to be made at a time: one order for them, live and replayed.

| which goes first | rule |
|---|---|
| of two timers | the one whose time is earlier |
| at the same time | the one that was registered earlier; a sleeper is registered when it lies down |
| a periodic one | is registered again each time it fires, before its callback runs |
| a timer and a frame | a timer due at T goes before the first frame received at or after T |
| a timer whose time has passed | before the next frame, never in the middle of one |
| a frame whose receive time steps back | takes no timer back: what is due is measured by the latest time reached |
| a wall clock that jumps ahead | a periodic timer is called once for all of the jump, and goes on after it; a single one is called |

Nothing is decided by a dict, a hash, a task or a heap's chance.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

__all__ = ["NEVER_NS", "Timer", "TimerCallback", "Timers"]

#: Later than every time.
NEVER_NS: Final = 1 << 63

#: Jumps that are remembered; each source of a recorder tells of one.
_JUMPS_MAX: Final = 64

#: Called with the time that the timer was due at: the only time that is the same live and replayed.
TimerCallback = Callable[[int], None]


class Timer:
    """
    A call to come.

    Attributes:
        when_ns: When it is due, ns since the Unix epoch (UTC); of a periodic one, the next time.
        first_ns: When it was to be due first.
        interval_ns: Time between two calls; None for a single one.
        is_cancelled: Whether it was taken back.
    """

    __slots__ = ("callback", "first_ns", "interval_ns", "is_cancelled", "when_ns")

    def __init__(self, when_ns: int, callback: TimerCallback, interval_ns: int | None = None) -> None:
        if interval_ns is not None and interval_ns <= 0:
            raise ValueError(f"a periodic timer needs an interval above 0 ns, not {interval_ns}")
        self.when_ns = when_ns
        self.first_ns = when_ns
        self.callback = callback
        self.interval_ns = interval_ns
        self.is_cancelled = False

    def cancel(self) -> None:
        """Take it back; nothing happens if it was called already."""
        self.is_cancelled = True


class Timers:
    """
    Timers in the order they are to fire.

    Attributes:
        next_due_ns: When the first of them is due; `NEVER_NS` if there is none.
    """

    __slots__ = ("_count", "_heap", "_jumps", "next_due_ns")

    def __init__(self) -> None:
        self._jumps: list[tuple[int, int]] = []
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0
        self.next_due_ns = NEVER_NS

    def add(self, timer: Timer) -> None:
        """Register a timer, after those of the same time."""
        self._count += 1
        heapq.heappush(self._heap, (timer.when_ns, self._count, timer))
        self.next_due_ns = self._heap[0][0]

    def pop_due(self, ns: int) -> tuple[int, Timer] | None:
        """The first timer due at or before that time, with that time; None if there is none."""
        heap = self._heap
        while heap and heap[0][0] <= ns:
            when_ns, _, timer = heapq.heappop(heap)
            if not timer.is_cancelled and timer.interval_ns is not None:
                timer.when_ns = self._after(when_ns, timer.interval_ns)
                self.add(timer)
            self.next_due_ns = heap[0][0] if heap else NEVER_NS
            if not timer.is_cancelled:
                return when_ns, timer
        return None

    def jump(self, start_ns: int, end_ns: int) -> None:
        """The clock jumped from the one time to the other: no time passed between them. Reported before what is due fires."""
        if (start_ns, end_ns) not in self._jumps:
            self._jumps = [*self._jumps[1 - _JUMPS_MAX :], (start_ns, end_ns)]

    def _after(self, when_ns: int, interval_ns: int) -> int:
        """When a periodic timer is due after that time."""
        for start_ns, end_ns in self._jumps:
            if start_ns < when_ns <= end_ns:
                return when_ns + ((end_ns - when_ns) // interval_ns + 1) * interval_ns
        return when_ns + interval_ns

    def clear(self) -> list[Timer]:
        """Forget all; those that were still to fire, in order."""
        left = [timer for _, _, timer in sorted(self._heap) if not timer.is_cancelled]
        self._heap.clear()
        self.next_due_ns = NEVER_NS
        return left
