"""Timers of a strategy by their names; in the order of `toolkit/timing/timers.py`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from replay.strategy.asked import noted, time_ns_asked
from replay.strategy.strategy import EVERY, interval_ns
from toolkit.errors import ConfigError
from toolkit.timing.timers import Timer, Timers
from toolkit.timing.times import length_ns

__all__ = ["NamedTimers", "plain"]


class NamedTimers(Timers):
    """
    Each name stands for one timer, the last that was set.

    Args:
        call: Called with the name and the due time of a timer that is due.
    """

    __slots__ = ("_call", "_named")

    def __init__(self, call: Callable[[str, int], None]) -> None:
        super().__init__()
        self._call = call
        self._named: dict[str, Timer] = {}

    def set(self, name: str, now_ns: int, at_ns: int | None, after: str | None, every: str | None) -> None:
        """Set a timer by one of the three. Raises ConfigError for none or several, and for what is no length of time."""
        if sum(each is not None for each in (at_ns, after, every)) != 1:
            raise ConfigError(f"timer {name!r}: expected one of at_ns, after and every, for instance after='1s'")
        if not isinstance(name, str):
            raise ConfigError(f"the name of a timer is {name!r}, expected text")
        name = str(noted("the name of a timer", name))
        if name == EVERY:
            raise ConfigError(f"timer {name!r}: that is the name of the timer of wakes, expected another one")
        if every is not None:
            self.set_every(name, now_ns, every)
        elif after is not None:
            self._set(name, now_ns + length_ns(after, f"timer {name!r}: after"), None)
        elif at_ns is not None:
            self._set(name, time_ns_asked(f"timer {name!r}: at_ns", at_ns), None)

    def set_every(self, name: str, now_ns: int, length: str) -> None:
        """Set one that stands at the multiples of a length of time since the epoch, from the first after now on."""
        ns = interval_ns(f"timer {name!r}: every", length)
        self._set(name, (now_ns // ns + 1) * ns, ns)

    def cancel(self, name: str) -> bool:
        """Forget one; False where there is none of that name."""
        timer = self._named.pop(name, None)
        if timer is None:
            return False
        timer.cancel()
        return True

    def clear(self) -> list[Timer]:
        """Forget all; those that were still to fire, in order."""
        self._named.clear()
        return super().clear()

    def _set(self, name: str, when_ns: int, interval_ns: int | None) -> None:
        self.cancel(name)
        timer = self._named[name] = Timer(when_ns, partial(self._fire, name), interval_ns)
        self.add(timer)

    def _fire(self, name: str, due_ns: int) -> None:
        timer = self._named.get(name)
        if timer is not None and timer.interval_ns is None:
            del self._named[name]
        self._call(name, due_ns)


def plain(length: Any) -> Any:
    """A length of time that was found to be one, as the log has it: as it was said, but for those of numpy, in ns."""
    if isinstance(length, str):
        return str(length)
    return length if length is None or isinstance(length, int | timedelta) else length_ns(length)
