"""
What an operator reads of a session's events.

Everything that happens is in the recording; the log is for people. What a venue can repeat with every frame (a format
that changed, say, thousands of times a second) is said once at once, and then once a minute with how often it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from toolkit.clock import NS_PER_S, Clock
from toolkit.messages import EventKind, StreamEvent

__all__ = ["EventLog"]

#: Causes that take a whole connection or session at once: one line says so, not one for each of its streams.
_WHOLE_CAUSES: Final = frozenset({"disconnect", "stop", "crash", "deaf", "suspend"})
#: What the recorder says in words of its own, or what cannot come with every frame: connections are made and lost within
#: the venue's limits, and each time is worth a line.
_SILENT: Final = frozenset({EventKind.SESSION_START, EventKind.SESSION_END, EventKind.CLOCK_STATE})
_EACH: Final = frozenset(
    {
        EventKind.CONNECTED,
        EventKind.DISCONNECTED,
        EventKind.CONNECT_FAILED,
        EventKind.LOST,
        EventKind.CLOCK_STEP,
    }
)
_EACH_CAUSES: Final = frozenset({"told_to_wait", "deaf", "suspend"})
_REPEAT_NS: Final = 60 * NS_PER_S
#: Kinds of line distinguished at most; a venue that says something new each time has the rest counted as one.
_KINDS_MAX: Final = 1000
_VARIABLE: Final = re.compile(r"'.*'|\".*\"|-?\d+(?:\.\d+)?")
_DETAIL_CHARS: Final = 400
_SHAPE_CHARS: Final = 80

_Key = tuple[str, str, str, str, str, str]


class _Repeated:
    """Lines of one kind: when the last was written, and what came since."""

    __slots__ = ("count", "last", "said_ns")

    def __init__(self, said_ns: int) -> None:
        self.said_ns = said_ns
        self.count = 0
        self.last = ""


class EventLog:
    """
    Writes the events of a session as lines.

    Args:
        log: Called with one line.
        clock: Clock that measures the minute.
    """

    def __init__(self, log: Callable[[str], None], clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._repeated: dict[_Key, _Repeated] = {}

    def add(self, event: StreamEvent) -> None:
        """Say an event, or count it."""
        is_whole = event.kind in (EventKind.STALE, EventKind.GAP) and event.cause in _WHOLE_CAUSES
        if is_whole or event.kind in _SILENT:
            return
        if event.kind in _EACH or event.cause in _EACH_CAUSES:
            self._log(_line(event))
            return
        key = self._key(event)
        repeated = self._repeated.get(key)
        if repeated is None:
            self._repeated[key] = _Repeated(self._clock.monotonic_ns())
            self._log(_line(event))
            return
        repeated.count += 1
        repeated.last = _line(event) if repeated.count == 1 else repeated.last

    def flush(self) -> None:
        """Say what was counted for a minute; forget what has not come again since. Call it every now and then."""
        now = self._clock.monotonic_ns()
        for key, repeated in list(self._repeated.items()):
            if now - repeated.said_ns < _REPEAT_NS:
                continue
            if not repeated.count:
                del self._repeated[key]
                continue
            self._say_count(repeated, (now - repeated.said_ns) / NS_PER_S)
            repeated.said_ns = now
            repeated.count = 0

    def close(self) -> None:
        """Say what was counted and not said yet."""
        now = self._clock.monotonic_ns()
        for repeated in self._repeated.values():
            if repeated.count:
                self._say_count(repeated, (now - repeated.said_ns) / NS_PER_S)
        self._repeated.clear()

    def _say_count(self, repeated: _Repeated, seconds: float) -> None:
        self._log(f"{repeated.count:,} more in {seconds:.0f} s like: {repeated.last}")

    def _key(self, event: StreamEvent) -> _Key:
        # Two kinds of error on one stream are two lines; the frame and the numbers within them are no difference.
        error = event.detail.partition(" in '")[0][:_DETAIL_CHARS]
        shape = _VARIABLE.sub("", error)[:_SHAPE_CHARS]
        key = (event.venue, event.trading_pair, event.stream, event.kind.value, event.cause, shape)
        if len(self._repeated) >= _KINDS_MAX and key not in self._repeated:
            return (event.venue, "", "", event.kind.value, "", "")
        return key


def _line(event: StreamEvent) -> str:
    words = (event.venue, event.trading_pair, event.stream, event.kind.replace("_", " "), event.cause, event.detail)
    return " ".join(word for word in words if word)
