"""Segments of an import end at the same frames, whether these come one by one or by the batch."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.format.frames_to_rows import frames_to_batch
from recordings.importing.segment_cuts import SegmentCuts
from toolkit.frames import WS_IN, Frame

_payloads = st.lists(st.sampled_from([b"", b"{}", b"x" * 7, b"\xff" * 5, b"y" * 40]), min_size=1, max_size=40)


def batch_of(payloads: list[bytes], first_seq: int = 0) -> pa.RecordBatch:
    frames = [Frame(first_seq + n, n, n, "v", 0, 0, WS_IN, payload) for n, payload in enumerate(payloads)]
    return frames_to_batch(frames)


def starts_by_batch(payloads: list[bytes], sizes: list[int], frames_max: int, bytes_max: int) -> list[int]:
    """Numbers of the frames before which a segment ends, where they come in batches of these sizes, again and again."""
    cuts = SegmentCuts(frames_max, bytes_max)
    found, at, turn = [], 0, 0
    while at < len(payloads):
        some = payloads[at : at + sizes[turn % len(sizes)]]
        for is_next, part in cuts.parts(batch_of(some, at)):
            if is_next:
                found.append(part.column("capture_seq")[0].as_py())
        at, turn = at + len(some), turn + 1
    return found


@given(
    _payloads,
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from([1, 2, 7, 1000]),
    st.sampled_from([1, 10, 50, 1 << 20]),
)
def test_batches_are_cut_where_frames_one_by_one_are(
    payloads: list[bytes], sizes: list[int], frames_max: int, bytes_max: int
) -> None:
    cuts = SegmentCuts(frames_max, bytes_max)
    one_by_one = [number for number, payload in enumerate(payloads) if cuts.is_due(len(payload))]
    assert starts_by_batch(payloads, sizes, frames_max, bytes_max) == one_by_one


@pytest.mark.parametrize("sizes", [[1], [100]])
def test_a_segment_ends_with_the_frame_that_fills_it(sizes: list[int]) -> None:
    assert starts_by_batch([b"xx"] * 7, sizes, 3, 1000) == [3, 6]
    assert starts_by_batch([b"xx"] * 7, sizes, 1000, 5) == [3, 6]


def test_no_part_is_empty() -> None:
    cuts = SegmentCuts(2, 1000)
    parts = [(is_next, len(part)) for is_next, part in cuts.parts(batch_of([b"x"] * 5))]
    assert parts == [(False, 2), (True, 2), (True, 1)]
