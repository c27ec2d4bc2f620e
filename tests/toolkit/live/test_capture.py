"""Numbering and writing down of frames."""

from __future__ import annotations

import pytest

from toolkit.clock import ManualClock
from toolkit.errors import BackpressureError
from toolkit.frames import WS_IN, Frame
from toolkit.live.capture import Capture


def test_frames_are_stamped_numbered_and_written_before_they_are_returned() -> None:
    """The number is counted across venues and connections."""
    clock = ManualClock(1_000)
    written: list[Frame] = []
    capture = Capture(sink=written.append, clock=clock)
    first = capture.record("a", 0, 0, WS_IN, b"1")
    assert written == [first]
    clock.advance(5)
    second = capture.record("b", 1, 2, WS_IN, b"2", "{}")
    assert first == Frame(0, 1_000, 0, "a", 0, 0, WS_IN, b"1")
    assert second == Frame(1, 1_005, 5, "b", 1, 2, WS_IN, b"2", "{}")
    assert capture.next_seq == 2


def test_a_recording_is_continued_where_it_ended() -> None:
    """Neither a frame's number nor a connection's is given twice."""
    capture = Capture(sink=lambda frame: None, clock=ManualClock(), first_seq=7, first_conn_id=3)
    assert capture.record("a", 0, 0, WS_IN, b"").capture_seq == 7
    assert [capture.new_connection(), capture.new_connection()] == [3, 4]
    assert (capture.next_seq, capture.next_conn_id) == (8, 5)


def test_nothing_follows_a_frame_that_could_not_be_written() -> None:
    """It would leave a hole: other venues of the same recording are stopped too."""
    written: list[Frame] = []

    def sink(frame: Frame) -> None:
        if frame.payload == b"bad":
            raise OSError(28, "No space left on device")
        written.append(frame)

    capture = Capture(sink=sink, clock=ManualClock())
    capture.record("a", 0, 0, WS_IN, b"good")
    with pytest.raises(OSError, match="No space left on device"):
        capture.record("a", 0, 0, WS_IN, b"bad")
    for _ in range(2):
        with pytest.raises(BackpressureError) as refusal:
            capture.record("b", 1, 0, WS_IN, b"good")
    assert str(refusal.value) == (
        "nothing more is recorded: frame 1 could not be written (OSError: [Errno 28] No space left on device); "
        "see to that, then start recording again"
    )
    assert [frame.capture_seq for frame in written] == [0]


@pytest.mark.parametrize(("first_seq", "first_conn_id"), [(-1, 0), (0, -1)])
def test_counting_starts_at_zero_or_above(first_seq: int, first_conn_id: int) -> None:
    """-1 is the connection of frames that have none."""
    with pytest.raises(ValueError, match=r"^a capture counts from 0 on, not from "):
        Capture(sink=lambda frame: None, first_seq=first_seq, first_conn_id=first_conn_id)
