"""
The only module that reads a clock of the machine.

Everything else is given a `Clock`, so that replayed code can be given another one.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime

__all__ = ["NS_PER_MS", "NS_PER_S", "Clock", "ManualClock", "SystemClock", "format_ns", "perf_ns", "utc_stamp"]

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


class Clock(ABC):
    """Where the time comes from. All values are integer nanoseconds."""

    @abstractmethod
    def time_ns(self) -> int:
        """Wall clock, ns since the Unix epoch (UTC). May step in either direction."""

    @abstractmethod
    def monotonic_ns(self) -> int:
        """Clock that never goes back; its zero means nothing."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait for that long on this clock. Safe to cancel."""


class SystemClock(Clock):
    """The machine's own clocks."""

    def time_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock(Clock):
    """
    A clock that moves only when told to, for replay and for tests.

    Both readings advance together. `sleep` returns when `advance` has passed its deadline.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self._wall_ns = start_ns
        self._mono_ns = 0
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0

    def time_ns(self) -> int:
        return self._wall_ns

    def monotonic_ns(self) -> int:
        return self._mono_ns

    def advance(self, ns: int) -> None:
        """Move both readings forward and wake, in order of deadline, whoever slept until then."""
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

    def step_wall(self, ns: int) -> None:
        """Step the wall clock alone, as a time daemon would; the monotonic reading stays."""
        self._wall_ns += ns

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        self._sleepers.append((self._mono_ns + round(seconds * NS_PER_S), self._count, future))
        await future


def perf_ns() -> int:
    """A high-resolution reading for measuring how long our own work took; never recorded."""
    return time.perf_counter_ns()


def utc_stamp(ns: int) -> str:
    """`20261122T133405Z`, for names of folders."""
    return datetime.fromtimestamp(ns // NS_PER_S, tz=UTC).strftime("%Y%m%dT%H%M%SZ")


def format_ns(ns: int) -> str:
    """ISO 8601 in UTC with all nine digits, for people: `2026-11-22T13:34:05.123456789Z`."""
    seconds, fraction = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
