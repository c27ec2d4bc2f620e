"""States within a segment, as a file: when they are kept, how they are packed, and that they come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.manifest import Segment, SourceInfo
from recordings.format.schema import RAW_TABLE
from recordings.importing import importer
from recordings.recording import Recording
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states import checkpoints, seek_points, state_packing
from recordings.states.checkpoints import checkpoint_of, encode_checkpoint
from recordings.states.normalizer import Normalizer
from recordings.states.seek_points import open_points
from recordings.states.state_packing import _packed_floats, _unpacked_floats
from tests.replay.busy_tapes import Tape, sealed
from tests.tapes import TS, bbo_frame, collector_line, import_files, messages_of
from toolkit.errors import RecordingDamaged
from toolkit.frames import Frame

FRAMES = Tape(1, symbols=("BTCUSDT",)).make(150)


def written(folder: Path, batch_frames: int | None = None, frames: list[Frame] = FRAMES) -> Segment:
    """A segment of the frames, one by one or as batches."""
    folder.mkdir()
    normalizer = Normalizer.for_sources([SourceInfo(venue, 1) for venue in {frame.venue: 0 for frame in frames}])
    writer = SegmentWriter(folder, 0, normalizer)
    if batch_frames is None:
        for frame in frames:
            writer.add(frame)
    else:
        for start in range(0, len(frames), batch_frames):
            writer.add_batch(frames_to_batch(frames[start : start + batch_frames]))
    write = writer.cut()
    assert write is not None
    return write()


def kept(folder: Path, segment: Segment) -> list[int]:
    file = open_points(folder, segment)
    return [point.capture_seq for point in file.points] if file is not None else []


def test_states_are_kept_by_frames_and_come_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is what playing comes to, and goes on from there."""
    monkeypatch.setattr(seek_points, "POINT_FRAMES", 40)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 0)
    segment = written(tmp_path / "tape")
    assert segment.seek_points is not None
    assert segment.seek_points.rows == 3
    file = open_points(tmp_path / "tape", segment)
    assert file is not None
    wanted = {point.capture_seq: point for point in file.points}
    assert list(wanted) == [40, 80, 120]
    normalizer = Normalizer.for_sources([SourceInfo(venue, 1) for venue in {frame.venue: 0 for frame in FRAMES}])
    for frame in FRAMES:
        point = wanted.get(frame.capture_seq)
        if point is not None:
            assert file.read(point) == checkpoint_of(normalizer)
            assert point.ts_recv_max == max(each.ts_recv for each in FRAMES[: frame.capture_seq])
        for message in normalizer.messages(frame):
            normalizer.take(message)
    assert encode_checkpoint(normalizer)


def test_a_state_that_cannot_be_worth_keeping_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an import of many segments: the first one says how large states are, until they may have become smaller."""
    made: list[int] = []
    pack = state_packing.pack_state

    def counted(state: Any) -> tuple[bytes, int]:
        made.append(state.conn_id_max)
        return pack(state)

    for module in (seek_points, checkpoints):
        monkeypatch.setattr(module, "pack_state", counted)
    monkeypatch.setattr(seek_points, "POINT_BYTES", 1)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 10_000)
    lines = b"".join(
        collector_line(TS + number, bbo_frame("BTC", TS // 1_000_000 + number, (10.5, 1.0), None))
        for number in range(200)
    )
    recording = import_files(tmp_path / "tape", lines, segment_frames=20, compiled=False)
    assert len(recording.manifest.segments) == 10
    assert [segment.checkpoint for segment in recording.manifest.segments[1:]] == [None] * 9
    assert len(made) == 1


@pytest.mark.parametrize(("segments", "tries"), [(1, 9), (4, 5), (6, 3), (100, 1)])
def test_a_state_that_was_too_large_is_tried_again_after_as_much_payload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segments: int, tries: int
) -> None:
    """It weighs as much as so many segments, and one of half the size would be kept after as many bytes."""
    lines = [collector_line(TS + number, bbo_frame("BTC", TS // 10**6, (10.5, 1.0), None)) for number in range(200)]
    payload_bytes = 20 * (len(lines[0]) - len(collector_line(TS, b"")))
    made: list[int] = []
    monkeypatch.setattr(seek_points, "POINT_FRAMES", 1 << 30)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 1)
    monkeypatch.setattr(importer, "encode_checkpoint", lambda _: bytes(1 << 20))

    def weight_of(content: bytes) -> int:
        made.append(len(content))
        return segments * payload_bytes

    monkeypatch.setattr(importer, "weight_of", weight_of)
    import_files(tmp_path / "tape", b"".join(lines), segment_frames=20, compiled=False)
    assert len(made) == tries


def test_a_state_weighs_the_same_as_a_checkpoint_and_within_a_segment() -> None:
    collector, normalizer = (
        seek_points.PointCollector(),
        Normalizer.for_sources([SourceInfo(venue, 1) for venue in {frame.venue: 0 for frame in FRAMES}]),
    )
    for frame in FRAMES:
        for message in normalizer.messages(frame):
            normalizer.take(message)
    collector.take(normalizer, len(FRAMES), TS, 1 << 30, 1 << 40)
    assert checkpoints.weight_of(encode_checkpoint(normalizer)) == collector.weight > 0


@pytest.mark.parametrize(
    ("weight", "due"), [(0, seek_points.POINT_BYTES), (1000, seek_points.POINT_BYTES), (1 << 30, 160 << 29)]
)
def test_the_next_state_is_due_when_one_of_half_the_size_would_be_kept(weight: int, due: int) -> None:
    collector = seek_points.PointCollector(weight)
    assert collector.due_bytes == due
    assert (collector.due_frames == seek_points.POINT_FRAMES) == (due == seek_points.POINT_BYTES)


def test_a_state_with_another_hash_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that were changed may still be a state."""
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 0)
    monkeypatch.setattr(seek_points, "POINT_FRAMES", 40)
    file = open_points(tmp_path / "tape", written(tmp_path / "tape"))
    assert file is not None
    point = msgspec.structs.replace(file.points[0], blake2b=bytes(16))
    with pytest.raises(
        RecordingDamaged, match=r"000000\.points cannot be used \(the state before frame 40 has another hash"
    ):
        file.read(point)


def test_states_are_kept_by_bytes_where_frames_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seek_points, "POINT_BYTES", 5_000)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 0)
    places = kept(tmp_path / "tape", written(tmp_path / "tape"))
    assert len(places) > 2
    between = [sum(len(frame.payload) for frame in FRAMES[a:b]) for a, b in zip([0, *places], places, strict=False)]
    longest = max(len(frame.payload) for frame in FRAMES)
    assert all(5_000 <= size < 5_000 + longest for size in between)


def test_large_states_are_kept_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So much payload per byte of a state must have gone by since the one before, or since the segment began."""
    monkeypatch.setattr(seek_points, "POINT_FRAMES", 4)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 3)
    segment = written(tmp_path / "tape")
    file = open_points(tmp_path / "tape", segment)
    assert file is not None
    assert 1 < len(file.points) < len(FRAMES) // 8
    for one, other in zip(file.points, file.points[1:], strict=False):
        assert sum(len(frame.payload) for frame in FRAMES[one.capture_seq : other.capture_seq]) >= 3 * other.length
    assert sum(len(frame.payload) for frame in FRAMES[: file.points[0].capture_seq]) >= 3 * file.points[0].length


@pytest.mark.parametrize("batch_frames", [1, 7, 150])
def test_batches_are_cut_where_frames_would_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_frames: int
) -> None:
    """The file is the same to the byte."""
    monkeypatch.setattr(seek_points, "POINT_FRAMES", 23)
    monkeypatch.setattr(seek_points, "POINT_BYTES", 3_000)
    monkeypatch.setattr(seek_points, "PAYLOAD_PER_BYTE", 2)
    single = written(tmp_path / "single")
    batched = written(tmp_path / "batched", batch_frames)
    assert len(kept(tmp_path / "single", single)) > 3
    assert batched.seek_points == single.seek_points


def test_a_short_segment_has_no_file(tmp_path: Path) -> None:
    segment = written(tmp_path / "tape")
    assert segment.seek_points is None
    assert not (tmp_path / "tape" / "checkpoints").exists()


@given(
    st.lists(
        st.one_of(
            st.integers(0, 10**9).map(lambda number: number / 1000),
            st.floats(allow_nan=False),
            st.sampled_from([0.0, -0.0, 0.1, 1e-12, 5e-324, 1e300, 2.0**53]),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_packed_columns_come_back_to_the_bit(values: list[float], in_steps: bool) -> None:
    column = tuple(values)
    back: list[float] = _unpacked_floats(_packed_floats(column, in_steps=in_steps))
    assert list(map(float.hex, back)) == list(map(float.hex, column))


@pytest.mark.parametrize("last", [0.125, -0.0, 2.0**60, 1e-9, float("inf")])
def test_a_number_behind_many_coarse_ones_counts_too(last: float) -> None:
    """How many decimals a column has is guessed from its beginning, and held against all of it."""
    column = (*map(float, range(1, 500)), last)
    back: list[float] = _unpacked_floats(_packed_floats(column, in_steps=False))
    assert [value.hex() for value in back] == [value.hex() for value in column]


@pytest.mark.parametrize("rows", [1, 5, None])
def test_reading_may_begin_at_any_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int | None) -> None:
    """Also where stretches are as short as may be, and those before are not read at all."""
    monkeypatch.setattr("recordings.format.row_order.STRETCH_ROWS", 7)
    monkeypatch.setattr("recordings.sealing.raw_writer.RAW_ROW_GROUP_ROWS", 16)
    recording: Recording = sealed(tmp_path / "tape", FRAMES, 60)
    everything = messages_of(recording)
    frames = [frame for batch in recording.raw_frames() for frame in batch]
    for first in (0, 1, 15, 16, 59, 60, 61, 100, len(FRAMES) - 1, len(FRAMES)):
        left = [message for message in everything if message.capture_seq >= first]
        assert messages_of(recording, first_seq=first, batch_rows=rows) == left
        parts = recording.raw_frames(None, rows or 4096, first_seq=first)
        assert [frame for batch in parts for frame in batch] == frames[first:]
    path = recording.path / recording.manifest.segments[1].tables[RAW_TABLE].path
    (recording.path / recording.manifest.segments[0].tables[RAW_TABLE].path).unlink()
    assert path.exists()
    assert next(iter(recording.raw_frames(None, 4096, first_seq=60)))[0].capture_seq == 60
