"""How fast a tape is played: what of it may be played by now, and the wait for what may not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

from toolkit.clock import NS_PER_S, Clock
from toolkit.timing.timers import NEVER_NS
from toolkit.timing.times import Pace, pace_of

if TYPE_CHECKING:
    from recordings.queries.clock_steps import ClockStep

__all__ = ["Pacing", "Wait"]


class Pacing:
    """
    The tape's time against a clock, at a speed that may change.

    Args:
        pacer: Clock by whose monotonic reading the speed is kept.
        speed: Multiple of the recorded pace; None for as fast as possible.
        steps: Steps of the recorder's clock, in order; what it stepped over is not waited for.

    Attributes:
        anchor: Reading of the pacer, and the tape's time at it, from which the pace is counted; None where none is kept.
    """

    def __init__(self, pacer: Clock, speed: Pace, steps: Sequence[ClockStep]) -> None:
        self._pacer = pacer
        self._speed = pace_of(speed)
        self._steps = steps
        self.anchor: tuple[int, int] | None = None
        #: The last step that the anchor was moved by.
        self._passed: ClockStep | None = None

    @property
    def speed(self) -> Fraction | None:
        """How many times as fast as recorded; None: as fast as possible."""
        return self._speed

    @speed.setter
    def speed(self, speed: Pace) -> None:
        self._speed = pace_of(speed)

    def lift(self) -> None:
        """Count from the next look on: the tape stood still, or its time was changed."""
        self.anchor = None

    def restart(self) -> None:
        """Forget which steps of the clock were passed: the tape is played from elsewhere."""
        self._passed = None

    def allowed_ns(self, now_ns: int) -> int:
        """The time of the tape, which is at `now_ns`, that may be played by now."""
        if self._speed is None:
            return NEVER_NS
        reading = self._pacer.monotonic_ns()
        if self.anchor is None:
            self.anchor = reading, now_ns
        return self.anchor[1] + int((reading - self.anchor[0]) * self._speed)

    def steps_over(self, now_ns: int, ns: int) -> bool:
        """Whether the recorder's clock stepped ahead on the way to that time; what it stepped over is not waited for."""
        for step in self._steps:
            is_on_the_way = now_ns <= step.ts_before and step.ts_after <= ns
            if step.delta_ns > 0 and is_on_the_way and self._passed != step and self.anchor is not None:
                self.anchor = self.anchor[0], self.anchor[1] + step.delta_ns
                self._passed = step
                return True
        return False

    def until(self, ns: int) -> Coroutine[Any, Any, None]:
        """A sleep until that time of the tape is allowed. Only after a look at `allowed_ns`, and with a speed."""
        assert self.anchor is not None, "what is allowed was asked for before"
        assert self._speed is not None, "without a speed everything is allowed"
        deadline = self.anchor[0] + ceil((ns - self.anchor[1]) / self._speed)
        return self._pacer.sleep((deadline - self._pacer.monotonic_ns()) / NS_PER_S)


class Wait:
    """A wait that another task may end, and that ends with the waiting task all the same."""

    def __init__(self) -> None:
        self._sleeper: asyncio.Task[None] | None = None
        self._was_woken = False

    def wake(self) -> None:
        """End the wait, if there is one."""
        if self._sleeper is not None:
            self._was_woken = True
            self._sleeper.cancel()

    async def on(self, sleep: Coroutine[Any, Any, None]) -> None:
        """Wait for the end of `sleep`, or until `wake`. Safe to cancel."""
        self._was_woken = False
        self._sleeper = asyncio.get_running_loop().create_task(sleep)
        try:
            await self._sleeper
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._was_woken or (task is not None and task.cancelling()):
                raise
        finally:
            self._sleeper = None
