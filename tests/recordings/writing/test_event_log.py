"""The lines that an operator reads: enough to know what happens, however often it does."""

from __future__ import annotations

import pytest

from recordings.writing.event_log import EventLog
from toolkit.clock import NS_PER_S, ManualClock
from toolkit.messages import EventKind, StreamEvent


class Reader:
    """A log that is kept, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.clock = ManualClock()
        self.log = EventLog(self.lines.append, self.clock)

    def add(self, kind: EventKind, detail: str = "", *, pair: str = "", stream: str = "", cause: str = "") -> None:
        self.log.add(StreamEvent("v", pair, pair, None, 0, 0, 0, kind, stream, cause, None, None, 0, 0, detail))

    def pass_seconds(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(NS_PER_S)
            self.log.flush()


def test_a_format_change_is_one_line_and_then_one_a_minute_with_a_count() -> None:
    """Thousands of frames a second would fill the disk with lines that say the same."""
    reader = Reader()
    for second in range(300):
        for number in range(100):
            reader.add(EventKind.PARSE_ERROR, f"expected `float` at {second * number} in '{{\"p\":{number}}}'")
        reader.pass_seconds(1)
    assert reader.lines[0] == "v parse error expected `float` at 0 in '{\"p\":0}'"
    assert len(reader.lines) == 6
    assert reader.lines[1].startswith("5,999 more in 60 s like: v parse error expected `float` at ")
    assert reader.lines[5].startswith("6,000 more in 60 s like: ")


@pytest.mark.parametrize(
    "kind",
    [EventKind.PARSE_ERROR, EventKind.VENUE_ERROR, EventKind.NOTICE, EventKind.GAP, EventKind.STALE, EventKind.CROSSED],
)
def test_the_first_of_each_kind_and_stream_is_said_at_once(kind: EventKind) -> None:
    """A second kind of trouble, or the same one on another stream, is not hidden by the first."""
    reader = Reader()
    for _ in range(50):
        for pair in ("BTC-USD", "ETH-USD"):
            for stream in ("full", "trades"):
                for cause in ("one", "other"):
                    reader.add(kind, "what was found", pair=pair, stream=stream, cause=cause)
    assert len(reader.lines) == len(set(reader.lines)) == 8


def test_two_errors_of_one_stream_are_two_lines() -> None:
    """Told apart by their words, not by their numbers and not by the frame in them."""
    reader = Reader()
    for number in range(10):
        reader.add(EventKind.PARSE_ERROR, f"missing field `u` in 'frame {number}'")
        reader.add(EventKind.PARSE_ERROR, f"a diff of updates {number} to {number - 1}")
    assert len(reader.lines) == 2


def test_connections_are_each_a_line() -> None:
    """They are made within the venue's limits, and each time matters."""
    reader = Reader()
    for _ in range(5):
        reader.add(EventKind.CONNECTED, "role=main")
        reader.add(EventKind.DISCONNECTED, "code=1006")
        reader.add(EventKind.STALE, stream="full", cause="disconnect")
    assert len(reader.lines) == 10


def test_what_always_says_something_new_is_bounded() -> None:
    """A venue (or who sits in between) must not fill memory or disk by varying its words."""
    reader = Reader()
    words = ["".join(chr(97 + (number >> shift) % 16) for shift in (0, 4, 8, 12)) for number in range(50_000)]
    for word in words:
        reader.add(EventKind.VENUE_ERROR, word)
    reader.pass_seconds(60)
    assert len(reader.lines) <= 1002
    assert len(reader.log._repeated) <= 1001


def test_what_was_counted_is_said_at_the_end() -> None:
    """The last minute of a session too."""
    reader = Reader()
    for _ in range(7):
        reader.add(EventKind.CROSSED, "bid 2 ask 1", pair="X-USD", stream="full")
    reader.log.close()
    assert reader.lines == ["v X-USD full crossed bid 2 ask 1", "6 more in 0 s like: v X-USD full crossed bid 2 ask 1"]


def test_what_stops_is_forgotten_and_its_return_is_news() -> None:
    """A kind that has been quiet for a minute is said at once again."""
    reader = Reader()
    reader.add(EventKind.PARSE_ERROR, "x")
    reader.pass_seconds(61)
    reader.add(EventKind.PARSE_ERROR, "x")
    assert reader.lines == ["v parse error x"] * 2
