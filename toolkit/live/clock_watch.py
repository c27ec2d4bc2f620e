"""Notices when the wall clock steps, and when the machine slept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.live.intake import Intake

__all__ = ["CLOCK_STEP_NS", "ClockWatch"]

#: Wall and monotonic clock drifting apart by more than this between two looks is a step, not a slewing.
CLOCK_STEP_NS: Final = 100 * NS_PER_MS
#: A sleep of the machine that is shorter than this cost no more than a busy second does.
SUSPEND_NS: Final = NS_PER_S


class ClockWatch:
    """
    The clocks of one source.

    A step is recorded before the first frame that has the stepped time. A machine that slept received nothing while the
    market went on, which no silence shows: the monotonic clock stood still as well.

    Args:
        intake: Where a step is recorded.
        on_suspend: Called with the seconds that the machine slept.
    """

    def __init__(self, intake: Intake, on_suspend: Callable[[float], None]) -> None:
        self._intake = intake
        self._clock = intake.capture.clock
        self._time_ns = self._clock.time_ns
        self._monotonic_ns = self._clock.monotonic_ns
        self._on_suspend = on_suspend
        self._drift_ns = self._time_ns() - self._monotonic_ns()
        self._suspended_ns = self._clock.suspended_ns()

    def glance(self) -> None:
        """Look closer if the clocks have moved apart; cheap enough for each time that frames arrive."""
        if abs(self._time_ns() - self._monotonic_ns() - self._drift_ns) > CLOCK_STEP_NS:
            self.look()

    def look(self) -> None:
        """Record a step, and tell of a sleep, since the last look."""
        drift_ns = self._time_ns() - self._monotonic_ns()
        suspended_ns = self._clock.suspended_ns()
        moved_ns = drift_ns - self._drift_ns
        slept_ns = suspended_ns - self._suspended_ns
        self._drift_ns, self._suspended_ns = drift_ns, suspended_ns
        # The wall clock went on while the machine slept, rightly: only what it moved besides is a step.
        step_ns = moved_ns - slept_ns if slept_ns > SUSPEND_NS else moved_ns
        if abs(step_ns) > CLOCK_STEP_NS:
            self._intake.control(-1, 0, "clock_step", delta_ns=step_ns)
        if slept_ns > SUSPEND_NS:
            self._on_suspend(slept_ns / NS_PER_S)
