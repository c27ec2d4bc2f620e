"""Frames of a batch as arrays: of each venue, its own WebSocket messages are taken and no others."""

from __future__ import annotations

import pytest

from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.rows_to_arrays import FrameRows
from toolkit.frames import CONTROL, WS_IN, WS_OUT, Frame

#: Venue, kind and payload of each frame.
SEVERAL = (
    ("one", WS_IN, b"{}"),
    ("two", WS_IN, b"{}"),
    ("one", WS_OUT, b"{}"),
    ("two", CONTROL, b"{}"),
    ("two", WS_IN, b"\xff"),
    ("one", WS_IN, b"[]"),
)
LONE = tuple(("one", kind, payload) for _, kind, payload in SEVERAL)


def rows(some: tuple[tuple[str, str, bytes], ...]) -> FrameRows:
    return FrameRows(
        frames_to_batch(
            [Frame(7 + at, at, at, venue, 0, 0, kind, payload) for at, (venue, kind, payload) in enumerate(some)]
        )
    )


@pytest.mark.parametrize(
    ("some", "venue", "taken"),
    [
        pytest.param(SEVERAL, "one", [0, 5], id="the first of several"),
        pytest.param(SEVERAL, "two", [1], id="the second of several"),
        pytest.param(SEVERAL, "three", [], id="none of several"),
        pytest.param(LONE, "one", [0, 1, 5], id="the only one"),
        pytest.param(LONE, "two", [], id="not the only one"),
    ],
)
def test_messages_of_a_venue_are_taken_and_no_others(
    some: tuple[tuple[str, str, bytes], ...], venue: str, taken: list[int]
) -> None:
    """Also where a batch has none of it, be it of several others or of one other alone."""
    found = rows(some).of_venue(venue)
    assert found.is_taken.nonzero()[0].tolist() == taken
    assert found.first_seq == 7
