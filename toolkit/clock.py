"""
The only module that reads a clock of the machine.

Everything else is given a `Clock`, so that replayed code can be given another one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from toolkit.borders import Shown, format_ns
from toolkit.timing.timers import NEVER_NS, Timer, TimerCallback, Timers
from toolkit.timing.times import Instant, Length, Seconds, instant_ns, length_ns, seconds_of

if TYPE_CHECKING:
    import asyncio  # where it is used: it takes longer than all else that `tickdeck --help` loads

__all__ = [
    "NS_PER_MS",
    "NS_PER_S",
    "Clock",
    "ManualClock",
    "SystemClock",
    "cpu_ns_of",
    "format_ns",
    "perf_ns",
    "utc_stamp",
]

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
#: Longest time between two looks at the wall clock while a timer waits: a time daemon may step it.
_LOOK_S_MAX: Final = 1.0
_BOOT_CLOCK: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class Clock(Shown, ABC):
    """
    Where the time comes from. All values are integer nanoseconds.

    Timers fire in the order that `toolkit/timing/timers.py` tells, live and replayed alike: those due at T before the first
    frame received at or after T. Their callbacks are given the time they were due at. What a callback raises goes to
    the code that moved the clock: the data source, or the event loop where time passed without a frame.
    """

    _timers: Timers | None = None
    _reached_ns = -1
    _watchers: tuple[Callable[[], None], ...] = ()

    def _shown(self) -> str:
        return f"at {format_ns(self.time_ns())}"

    @abstractmethod
    def time_ns(self) -> int:
        """Wall clock, ns since the Unix epoch (UTC). May step in either direction."""

    @abstractmethod
    def monotonic_ns(self) -> int:
        """Clock that never goes back; its zero means nothing."""

    def suspended_ns(self) -> int:
        """
        How long the machine has slept, ns, counted from anywhere: only differences mean something.

        The monotonic clock stands still meanwhile, the wall clock is put right on waking. Always 0 where that cannot be
        told.
        """
        return 0

    @abstractmethod
    async def sleep(self, seconds: Seconds) -> None:
        """Wait for that long on this clock: a number of seconds, a timedelta, or text such as `500ms`. Safe to cancel."""

    def call_at(self, when_ns: Instant, callback: TimerCallback) -> Timer:
        """
        Call `callback(due_ns)` once, at that time; soon, but not within this call, if it has passed.

        The time is ns since the epoch, a datetime (without a zone: UTC), or text. Raises ConfigError for none of these.
        """
        if type(when_ns) is not int or when_ns >= 0:  # before the epoch it is called soon, whatever the unit
            when_ns = instant_ns(when_ns, near_ns=self.time_ns())
        return self._add(Timer(when_ns, callback))

    def call_later(self, delay_ns: Length, callback: TimerCallback) -> Timer:
        """
        Call `callback(due_ns)` once, so long after the present time: ns, a timedelta, or text such as `1.5s`.

        Raises ConfigError for none of these, and for less than 0.
        """
        return self._add(Timer(self.time_ns() + length_ns(delay_ns, "a delay", zero=True), callback))

    def call_every(self, interval_ns: Length, callback: TimerCallback, *, first_ns: Instant | None = None) -> Timer:
        """
        Call `callback(due_ns)` at `first_ns` (None: one interval from now) and then after every interval, until cancelled.

        The interval is ns, a timedelta, or text such as `1s`; `first_ns` as in `call_at`. No call is left out and none
        drifts: after a pause of five intervals it is called five times, each with its own time. Where the wall clock jumps
        ahead, because it was set or the machine slept, no time passed: it is called once, and goes on after the jump.

        Raises ValueError for a number that is not above 0, and ConfigError for what is no interval or time.
        """
        now = self.time_ns()
        length = interval_ns if type(interval_ns) is int else length_ns(interval_ns, "an interval")
        first = now + length if first_ns is None else instant_ns(first_ns, "first_ns", near_ns=now)
        return self._add(Timer(first, callback, length))

    def jump(self, start_ns: int, end_ns: int) -> None:
        """The wall clock jumped; a data source calls it before `reach` with a time after the jump."""
        if self._timers is not None:
            self._timers.jump(start_ns, end_ns)

    def watch(self, glance: Callable[[], None]) -> None:
        """Call `glance` before timers fire because time has passed: it looks whether the clock jumped, and tells `jump`."""
        self._watchers = (*self._watchers, glance)

    def unwatch(self, glance: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers = tuple(each for each in self._watchers if each != glance)

    def reach(self, ns: int) -> None:
        """Fire what is due at or before that time; a data source calls it with `ts_recv` before it emits a frame."""
        if ns > self._reached_ns:
            self._reached_ns = ns
        timers = self._timers
        if timers is not None and timers.next_due_ns <= self._reached_ns:
            while (due := timers.pop_due(self._reached_ns)) is not None:
                due[1].callback(due[0])

    def _add(self, timer: Timer) -> Timer:
        self._arm(timer)
        if self._timers is None:
            self._timers = Timers()
        self._timers.add(timer)
        return timer

    def _arm(self, timer: Timer) -> None:
        """See to it that `reach` will be called when it is due; a clock that does nothing here fires with frames only."""


class SystemClock(Clock):
    """The machine's own clocks. Timers need a running event loop; the wall clock is what they go by."""

    _wake: asyncio.TimerHandle | None = None
    _wake_ns = NEVER_NS
    _loop: asyncio.AbstractEventLoop | None = None

    # As they are: each frame asks both, and a method around them would take longer than they do.
    time_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    def suspended_ns(self) -> int:
        """By Linux's clock that goes on in a sleep; systems without one tell nothing."""
        if _BOOT_CLOCK is None:
            return 0
        return time.clock_gettime_ns(_BOOT_CLOCK) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    async def sleep(self, seconds: Seconds) -> None:
        import asyncio

        await asyncio.sleep(seconds_of(seconds))

    def _arm(self, timer: Timer) -> None:
        self._wake_at(timer.when_ns)

    def _wake_at(self, when_ns: int) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        if self._wake is not None and self._loop is loop:
            if self._wake_ns <= when_ns:
                return
            self._wake.cancel()
        self._loop = loop
        self._wake_ns = when_ns
        self._wake = loop.call_later(min(max(when_ns - self.time_ns(), 0) / NS_PER_S, _LOOK_S_MAX), self._on_wake)

    def _on_wake(self) -> None:
        self._wake = None
        try:
            for glance in self._watchers:
                glance()
            self.reach(self.time_ns())
        finally:
            if self._timers is not None and self._timers.next_due_ns != NEVER_NS:
                self._wake_at(self._timers.next_due_ns)


class ManualClock(Clock):
    """
    A clock that moves only when asked to, for replay and for tests.

    Both readings advance together. `sleep` returns when `advance` has passed its deadline, and timers fire in it.
    """

    def __init__(self, start_ns: Instant = 0) -> None:
        self._wall_ns = start_ns if type(start_ns) is int else instant_ns(start_ns, "start_ns")
        self._mono_ns = 0
        self._suspended_ns = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def time_ns(self) -> int:
        return self._wall_ns

    def monotonic_ns(self) -> int:
        return self._mono_ns

    def advance(self, ns: Length) -> None:
        """Move both readings forward (by ns, a timedelta, or text) and wake, in order of deadline, who slept until then."""
        ns = ns if type(ns) is int else length_ns(ns)
        if ns < 0:
            raise ValueError(f"a clock only advances forward, not by {ns} ns")
        self._wall_ns += ns
        self._mono_ns += ns
        due = sorted(entry[:2] for entry in self._sleepers if entry[0] <= self._mono_ns)
        futures = {entry[1]: entry[2] for entry in self._sleepers}
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._mono_ns]
        for _, number in due:
            if not futures[number].done():
                futures[number].set_result(None)
        self.reach(self._wall_ns)

    def suspended_ns(self) -> int:
        return self._suspended_ns

    def suspend(self, ns: int) -> None:
        """Sleep as a machine does: the wall clock is right afterwards, the monotonic one stood still."""
        self._wall_ns += ns
        self._suspended_ns += ns

    def step_wall(self, ns: int) -> None:
        """Step the wall clock alone, as a time daemon would; the monotonic reading stays."""
        self._wall_ns += ns

    async def sleep(self, seconds: Seconds) -> None:
        import asyncio

        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        self._sleepers.append((self._mono_ns + round(seconds_of(seconds) * NS_PER_S), self._count, future))
        await future


def perf_ns() -> int:
    """A high-resolution reading for measuring how long our own work took; never recorded."""
    return time.perf_counter_ns()


def cpu_ns_of(thread: int) -> int | None:
    """How long a thread of this process has computed, by its `threading.get_ident()`; None where the system does not say."""
    clock_of = getattr(time, "pthread_getcpuclockid", None)  # not on every Unix
    return None if clock_of is None else time.clock_gettime_ns(clock_of(thread))


def utc_stamp(ns: int) -> str:
    """`20261122T133405Z`, for names of folders."""
    return datetime.fromtimestamp(ns // NS_PER_S, tz=UTC).strftime("%Y%m%dT%H%M%SZ")
