"""The journal: what was flushed is read, however the file ends."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.format.frames_to_rows import STREAM_BEGIN, batch_checksum, frames_to_batch
from recordings.format.schema import RAW_TABLE, TABLES
from recordings.journal.journal_reader import JournalReader, JournalWriter, journal_path, journal_segments
from tests.recordings.strategies import FRAMES
from tests.tapes import TS
from toolkit.errors import RecordingDamaged
from toolkit.frames import REST_IN, WS_IN, Frame

in_a_folder = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def frame(seq: int) -> Frame:
    return Frame(seq, TS + seq, seq, "v", 0, 0, WS_IN, b"\xff" if seq % 3 == 0 else b'{"n":%d}' % seq)


def write(folder: Path, batches: list[list[Frame]]) -> Path:
    writer = JournalWriter(folder, 0)
    for batch in batches:
        for each in batch:
            writer.append(each)
        writer.flush()
    writer.close()
    writer.close()
    return writer.path


def read(path: Path) -> tuple[list[Frame], JournalReader]:
    reader = JournalReader(path)
    return [each for batch in reader.frames() for each in batch], reader


BATCHES = [[frame(number) for number in range(start, start + 5)] for start in range(0, 20, 5)]


@in_a_folder
@given(st.lists(st.lists(FRAMES, max_size=4), max_size=4))
def test_every_frame_comes_back(tmp_path_factory: pytest.TempPathFactory, batches: list[list[Frame]]) -> None:
    numbers = itertools.count()
    batches = [[msgspec.structs.replace(each, capture_seq=next(numbers)) for each in batch] for batch in batches]
    path = write(tmp_path_factory.mktemp("journal"), batches)
    found, reader = read(path)
    assert found == [each for batch in batches for each in batch]
    assert (reader.problem, reader.left_bytes, reader.good_bytes) == ("", 0, path.stat().st_size)


@in_a_folder
@given(st.floats(0, 1))
def test_a_journal_cut_anywhere_gives_its_whole_batches(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = write(tmp_path_factory.mktemp("journal"), BATCHES)
    whole = path.read_bytes()
    cut = int(len(whole) * share)
    path.write_bytes(whole[:cut])
    found, reader = read(path)
    assert found == [each for batch in BATCHES for each in batch][: len(found)]
    assert len(found) % 5 == 0
    assert reader.good_bytes + reader.left_bytes == cut
    assert bool(reader.problem) >= (reader.left_bytes > 0)
    if cut == len(whole):
        assert len(found) == 20


@in_a_folder
@given(st.floats(0, 0.999), st.integers(1, 255))
def test_a_changed_byte_gives_no_wrong_frame(
    tmp_path_factory: pytest.TempPathFactory, share: float, change: int
) -> None:
    """What is read is what was written but for one batch, which is not as it was; what follows it is read."""
    path = write(tmp_path_factory.mktemp("journal"), BATCHES)
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= change
    path.write_bytes(content)
    found, reader = read(path)
    left = [each for batch in BATCHES for each in batch if each in found]
    assert found == left
    assert len(found) >= 15
    if len(found) < 20:
        assert reader.problem
        (begin, end), *_ = reader.unread
        assert 0 <= begin < end <= len(content)


def test_a_batch_that_comes_again_is_passed_over(tmp_path: Path) -> None:
    """A sector of an older file in the middle, for instance."""
    path = write(tmp_path, BATCHES)
    (tmp_path / "other").mkdir()
    short = write(tmp_path / "other", BATCHES[:1]).stat().st_size
    whole = path.read_bytes()
    header = len(write_empty(tmp_path / "empty"))
    batch = whole[header : short - 8]
    path.write_bytes(whole[:header] + batch + batch + whole[short - 8 :])
    found, reader = read(path)
    assert (found, reader.problem) == ([each for b in BATCHES for each in b], "batch 1 is numbered 0")
    assert reader.unread == [(header + len(batch), header + 2 * len(batch))]


@in_a_folder
@given(st.data())
def test_reading_goes_on_behind_whatever_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes changed, zeroed, cut out or put in, at several places: every batch that was not touched is read."""
    path = write(tmp_path_factory.mktemp("journal"), BATCHES)
    content = path.read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.sampled_from((1, 8, 100, 512)))
        what = data.draw(st.sampled_from(("flip", "zero", "cut", "insert", "ones")))
        part = content[begin : begin + length]
        new = {
            "flip": bytes((part[0] ^ 16,)) + part[1:],
            "zero": bytes(len(part)),
            "cut": b"",
            "insert": b"\xff\xff\xff\xff\x80\0\0\0" * 3 + part,
            "ones": b"\xff" * len(part),
        }[what]
        content = content[:begin] + new + content[begin + length :]
    path.write_bytes(content)
    found, reader = read(path)
    whole = path.read_bytes()
    for batch, raw in zip(BATCHES, batches_of(tmp_path_factory), strict=True):
        if raw in whole:
            assert [each for each in batch if each not in found] == []
    assert found == [each for batch in BATCHES for each in batch if each in found]
    assert sum(end - begin for begin, end in reader.unread) <= len(content)


def places_of(path: Path) -> list[int]:
    reader = JournalReader(path)
    return [reader.good_bytes for _ in reader.batches()]


def batches_of(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Each batch's bytes in the journal."""
    path = write(tmp_path_factory.mktemp("whole"), BATCHES)
    content, begin, found = path.read_bytes(), len(STREAM_BEGIN), []
    for end in places_of(path):
        found.append(content[begin:end])
        begin = end
    return found


def test_a_damaged_beginning_costs_no_batch(tmp_path: Path) -> None:
    path = write(tmp_path, BATCHES)
    content = bytearray(path.read_bytes())
    content[:100] = bytes(100)
    path.write_bytes(content)
    found, reader = read(path)
    assert found == [each for batch in BATCHES for each in batch]
    assert reader.unread == [(0, len(STREAM_BEGIN))]
    assert reader.problem.startswith("no stream begins in it (")


def test_a_length_beyond_the_file_costs_no_memory(tmp_path: Path) -> None:
    """Of a batch's metadata, or of its body."""
    path = write(tmp_path, BATCHES)
    whole = path.read_bytes()
    for place in range(len(STREAM_BEGIN) + 4, len(STREAM_BEGIN) + 60):
        content = bytearray(whole)
        content[place : place + 4] = b"\xf0\xff\xff\x7f"
        path.write_bytes(content)
        found, _ = read(path)
        assert found[-15:] == [each for batch in BATCHES[1:] for each in batch]


def write_empty(folder: Path) -> bytes:
    folder.mkdir()
    return write(folder, []).read_bytes()[:-8]


def test_what_is_flushed_is_there_before_the_journal_is_closed(tmp_path: Path) -> None:
    """Many payload bytes go without being asked."""
    writer = JournalWriter(tmp_path, 7, flush_bytes=100)
    writer.append(Frame(0, TS, 0, "v", 0, 0, WS_IN, b"x" * 200))
    writer.append(frame(1))
    writer.flush()
    writer.close()
    assert writer.frame_count == writer.written_count == 2
    assert writer.byte_count == journal_path(tmp_path, 7).stat().st_size
    assert journal_segments(tmp_path) == [7]


def test_the_checksum_of_known_frames_does_not_change() -> None:
    """A journal that an older tickdeck left behind is recovered by this one: nulls, bytes and slices included."""
    batch = frames_to_batch(
        [
            Frame(0, 5, 5, "v", 0, 0, WS_IN, b"{}"),
            Frame(1, 7, 3, "v", 0, 1, WS_IN, b"\xff"),
            Frame(2, 9, 4, "w", -1, 0, REST_IN, "é".encode(), '{"id":1}'),
        ]
    )
    assert batch_checksum(batch) == 3653058323
    assert batch_checksum(batch[1:]) == 2287660562


def test_a_journal_is_one_arrow_stream(tmp_path: Path) -> None:
    """Byte for byte what Arrow writes for these batches, so any of its readers opens a closed journal."""
    content = write(tmp_path, BATCHES).read_bytes()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, TABLES[RAW_TABLE]) as stream:
        for number, frames in enumerate(BATCHES):
            batch = frames_to_batch(frames)
            metadata = {b"crc32": b"%d" % batch_checksum(batch), b"batch": b"%d" % number}
            stream.write_batch(batch, custom_metadata=metadata)
    assert content == sink.getvalue().to_pybytes()


def test_what_waits_is_what_the_disk_does_not_have(tmp_path: Path) -> None:
    """Appended and not flushed, handed over, written: counted once."""
    writer = JournalWriter(tmp_path, 0)
    writer.append(frame(1))
    writer.append(frame(2))
    waiting = len(frame(1).payload) + len(frame(2).payload)
    assert (writer.frame_count, writer.written_count, writer.pending_bytes) == (2, 0, waiting)
    writer.drain()
    writer.append(frame(3))
    assert (writer.frame_count, writer.written_count, writer.pending_bytes) == (3, 2, 1)
    writer.close()
    assert (writer.frame_count, writer.written_count, writer.pending_bytes) == (3, 3, 0)


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    write(tmp_path, BATCHES)
    with pytest.raises(FileExistsError):
        JournalWriter(tmp_path, 0)


def test_what_is_no_journal_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    path.write_bytes(b"no Arrow")
    found, reader = read(path)
    assert (found, reader.left_bytes) == ([], 8)
    assert reader.problem.startswith("no stream begins in it (")
    with pytest.raises(RecordingDamaged, match=r"nothing cannot be read: No such file or directory$"):
        read(tmp_path / "nothing")
    assert journal_segments(tmp_path) == []


def test_who_is_told_of_a_batch_finds_it_in_the_file(tmp_path: Path) -> None:
    """Byte for byte, and not before: whoever is given it can rely on the recording's having it."""
    told: list[tuple[int, int]] = []
    path = journal_path(tmp_path, 0)

    def on_written(first_seq: int, last_seq: int, content: bytes) -> None:
        told.append((first_seq, last_seq))
        assert path.read_bytes().endswith(content)
        assert not content.startswith(STREAM_BEGIN)
        assert read(path)[0][-1].capture_seq == last_seq

    writer = JournalWriter(tmp_path, 0, on_written=on_written)
    for batch in BATCHES:
        for each in batch:
            writer.append(each)
        writer.drain()
    writer.close()
    assert told == [(0, 4), (5, 9), (10, 14), (15, 19)]


def test_a_batch_that_the_disk_refuses_is_told_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    writer = JournalWriter(tmp_path, 0, on_written=lambda first_seq, last_seq, content: told.append(last_seq))
    writer.append(frame(0))
    writer.drain()

    def refuse(handle: int, content: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("recordings.journal.journal_writer.os.write", refuse)
        writer.append(frame(1))
        with pytest.raises(OSError, match="No space left"):
            writer.drain()
        with pytest.raises(OSError, match="No space left"):
            writer.close()
    assert told == [0]


def test_a_reader_goes_on_where_another_one_stopped(tmp_path: Path) -> None:
    path = write(tmp_path, BATCHES)
    whole = JournalReader(path)
    places = [(whole.good_bytes, whole.batch_count) for _ in whole.frames()]
    assert [count for _, count in places] == [1, 2, 3, 4]
    for good_bytes, count in places:
        reader = JournalReader(path, good_bytes, count)
        assert [each for batch in reader.frames() for each in batch] == [each for b in BATCHES[count:] for each in b]
        assert (reader.problem, reader.left_bytes) == ("", 0)
