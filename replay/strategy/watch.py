"""
A bound on the time that one callback of a strategy may take.

A thread looks from time to time whether the callback under way is still the same, and ends it by raising `TookTooLong`
in it: also an endless loop. What counts is the time that it computed, so that a machine that is busy with other things
ends nothing; one that waits has `WAITS` times as long, on the machine's clock. Nothing that a strategy decides depends on
it. A call that does not come back to Python (a C function that computes or waits) ends when it does.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from toolkit.clock import NS_PER_S, cpu_ns_of, perf_ns

__all__ = ["CALLBACK_S_MAX", "WAITS", "TookTooLong", "Watch"]

#: Seconds that a callback may take unless it is said otherwise.
CALLBACK_S_MAX: Final = 5.0
#: How much longer one may take that does not compute meanwhile: it sleeps, or others have the machine.
WAITS: Final = 10
#: Longest time between two looks, seconds.
_LOOK_S_MAX: Final = 0.25


class TookTooLong(BaseException):
    """A callback took longer than it may; no `Exception`, so that a strategy that catches all does not catch this."""


class Watch:
    """
    Watches callbacks, which are all called on one thread.

    Args:
        seconds_max: How long one may compute.

    Attributes:
        slowest_ns: The longest so far.
        seconds_max: As given.
    """

    __slots__ = (
        "_asked",
        "_count",
        "_is_many",
        "_raised",
        "_since",
        "_stop",
        "_target",
        "_thread",
        "seconds_max",
        "slowest_ns",
    )

    def __init__(self, seconds_max: float = CALLBACK_S_MAX) -> None:
        self.seconds_max = seconds_max
        self.slowest_ns = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._target = 0
        self._count = 0
        self._since = 0  # when the callback under way began; 0: none is
        self._asked = 0  # number of the callback that the thread is about to end
        self._raised = 0  # and of the last that it has raised in
        self._is_many = False

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a callback. Raises what it raises, and TookTooLong."""
        if self._thread is None:
            self._begin()
        self._is_many = False
        self._count = number = self._count + 1
        began = self._since = perf_ns()
        try:
            function(*args)
        finally:
            self._since = 0
            took = perf_ns() - began
            if took > self.slowest_ns:
                self.slowest_ns = took
            if self._asked == number or self._raised == number:
                self.settle(number)

    def begin_many(self) -> None:
        """
        Callbacks follow of which so many are called that each of them is not worth a look at the clock.

        Their caller counts each in `_count`, says before it in `_since` when the first one began and after it 0, and then
        calls `settle` where `_asked` is its number, also where it has raised. They have as long as others, from when they
        are seen first.
        """
        if self._thread is None:
            self._begin()
        self._is_many = True

    def settle(self, number: int) -> None:
        """
        A callback has ended, or has raised, that the thread is about to end.

        Raises TookTooLong where it did end it, unless that is what was raised.
        """
        # Either the thread sees that the callback has ended, or it is seen here that the thread did not.
        while self._asked == number and self._raised != number:
            pass
        if self._raised == number and not isinstance(sys.exception(), TookTooLong):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._target), None)
            raise TookTooLong

    def close(self) -> None:
        """Watch no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _begin(self) -> None:
        self._target = threading.get_ident()
        self._stop.clear()
        self._thread = threading.Thread(target=self._look, name="strategy-watch", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        limit_ns = round(self.seconds_max * NS_PER_S)
        # The number of a callback, how long the thread had computed when it was first seen, and when that was.
        seen, before, seen_ns = 0, 0, 0
        while not self._stop.wait(min(self.seconds_max / 4, _LOOK_S_MAX)):
            number, since = self._count, self._since
            if not since:
                continue
            cpu_ns = cpu_ns_of(self._target)
            if number != seen:
                seen, before, seen_ns = number, cpu_ns or 0, perf_ns()
            took = perf_ns() - (seen_ns if self._is_many else since)
            computed = took if cpu_ns is None else cpu_ns - before
            if computed <= limit_ns and took <= WAITS * limit_ns:
                continue
            self._asked = number
            if self._since == since and self._count == number:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._target), ctypes.py_object(TookTooLong))
                self._raised = number
            self._asked = 0
