"""
The clock of a replay: its time is that of the frames, and no wall clock is read.

The time is the latest `ts_recv` of the frames so far. Where the receive time of a recording steps back, the clock stands
still until it is caught up with: for timers, time never goes back. In a timer's callback it is the time that the timer was due
at. Only frames that gave messages move it, so that both fidelities see the same time, and at the end of the tape it
reaches the tape's last receive time. The order in which timers fire is stated in `toolkit/timing/timers.py`.
"""

from __future__ import annotations

import asyncio

from toolkit.clock import NS_PER_S, Clock
from toolkit.timing.timers import Timer, Timers
from toolkit.timing.times import Instant, Seconds, instant_ns, seconds_of

__all__ = ["ReplayClock"]


class ReplayClock(Clock):
    """
    Moved by a replay alone.

    Both readings are the same, ns since the Unix epoch.

    Attributes:
        now_ns: The time.
        timers: Timers that are to fire.
        woken_count: Sleepers woken so far; the replay gives them a turn before time goes on.
    """

    def __init__(self, start_ns: Instant = 0) -> None:
        self.now_ns = start_ns if type(start_ns) is int else instant_ns(start_ns, "start_ns")
        self.timers = self._timers = Timers()
        self.woken_count = 0
        self._sleepers: dict[Timer, asyncio.Future[None]] = {}

    def time_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: Seconds) -> None:
        """Wait until the replay has come that much further. Cancelled by a seek, which has no such later."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = Timer(self.now_ns + round(seconds_of(seconds) * NS_PER_S), lambda _: self._wake(timer))
        self._sleepers[timer] = future
        self.timers.add(timer)
        try:
            await future
        finally:
            self._sleepers.pop(timer, None)
            timer.cancel()

    def reach(self, ns: int) -> None:
        """Fire what is due at or before that time, one after the other, and make it the time unless it has passed."""
        while self.fire_next(ns):
            pass
        if ns > self.now_ns:
            self.now_ns = ns

    def fire_next(self, ns: int) -> bool:
        """Fire the first timer that is due at or before that time; False if there is none."""
        due = self.timers.pop_due(max(ns, self.now_ns))
        if due is None:
            return False
        when_ns, timer = due
        if when_ns > self.now_ns:
            self.now_ns = when_ns
        timer.callback(when_ns)
        return True

    def reset(self, ns: int) -> None:
        """Jump to a time, as a seek does: timers are forgotten, sleepers are cancelled."""
        self.timers.clear()
        for future in self._sleepers.values():
            future.cancel()
        self._sleepers.clear()
        self.now_ns = ns

    def rewind(self, ns: int) -> None:
        """
        Go back to a time, as a tape does that begins again: what was to come is still to come.

        A periodic timer that was first due within one interval of that time is due there again; any other at the first
        time after it that is a whole number of intervals away from those it had. A single timer, and a sleeper, wait
        for as long as they would have waited on a tape without an end.
        """
        end_ns, timers = self.now_ns, self.timers.clear()
        self.now_ns = ns
        for timer in timers:
            interval_ns = timer.interval_ns
            if interval_ns is None:
                timer.when_ns += ns - end_ns
            elif ns <= timer.first_ns <= ns + interval_ns:
                timer.when_ns = timer.first_ns
            else:
                timer.when_ns = ns + interval_ns - (ns - timer.first_ns) % interval_ns
            self.timers.add(timer)

    def _wake(self, timer: Timer) -> None:
        future = self._sleepers.pop(timer)
        if not future.done():
            future.set_result(None)
            self.woken_count += 1
