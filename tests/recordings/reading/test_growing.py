"""A folder is read while it is written, rotated and sealed: every frame once, in order, whatever comes between two looks."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.care.compacting import compact
from recordings.format.manifest import write_manifest
from recordings.journal.journal_reader import JournalWriter, journal_path
from recordings.reading.growing import GrowingRecording
from recordings.storage.lock import FolderLock
from tests.hand_recorder import HandRecorder, frame, numbers
from toolkit.errors import NotARecording, RecordingDamaged, RecordingError
from toolkit.frames import Frame

in_a_folder = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(growing: GrowingRecording) -> list[Frame]:
    return [each for batch in growing.read() for each in batch]


def test_what_is_written_between_two_looks_is_read_once(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    growing = GrowingRecording(tmp_path / "tape")
    assert read(growing) == []
    recorder.write(3)
    recorder.write(2)
    assert read(growing) == recorder.frames
    assert read(growing) == []
    recorder.write(2)
    assert read(growing) == recorder.frames[5:]
    assert growing.next_seq == 7
    recorder.end()


@in_a_folder
@given(st.lists(st.sampled_from(["write", "rotate", "seal", "look", "read one"]), max_size=30), st.integers(0, 8))
def test_any_order_of_writing_rotating_sealing_and_reading_gives_every_frame_once(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str], begin: int
) -> None:
    """Also when a reading is left half way, with the recorder going on behind its back."""
    folder = tmp_path_factory.mktemp("growing") / "tape"
    recorder, found = HandRecorder(folder), []
    growing = GrowingRecording(folder, begin)
    half_read = growing.read()
    for act in acts:
        if act == "write":
            recorder.write(3)
        elif act == "rotate":
            recorder.rotate()
        elif act == "seal":
            recorder.seal()
        elif act == "look":
            found += read(growing)
            half_read = growing.read()
        else:
            found += next(half_read, [])
    recorder.write(1)
    assert not growing.is_over
    manifest = recorder.end()
    found += read(growing)
    assert found == recorder.frames[begin:]
    assert growing.is_over
    assert growing.manifest.digest == manifest.digest


def test_a_segment_that_is_sealed_between_listing_and_opening_is_found(tmp_path: Path) -> None:
    """The journal is gone, the manifest that was read does not name the segment yet, and the next journal has a hole before it."""
    recorder = HandRecorder(tmp_path / "tape")
    growing = GrowingRecording(tmp_path / "tape")
    recorder.write(4)
    recorder.rotate()
    recorder.write(4)
    recorder.seal()
    growing._stamp, manifest = growing._stamp_now(), growing.manifest
    assert manifest.segments == []
    # As if the manifest had been replaced behind the last look: the stamp is the new one, the content the old.
    assert read(growing) == []
    growing._stamp = None
    assert read(growing) == recorder.frames


def test_a_batch_that_is_half_written_is_left_until_it_is_whole(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(3)
    recorder.write(3)
    path = journal_path(tmp_path / "tape", 0)
    whole = path.read_bytes()
    growing = GrowingRecording(tmp_path / "tape")
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        assert numbers(list(growing.read())) in ([], [0, 1, 2])
    assert growing.next_seq == 3
    path.write_bytes(whole)
    assert numbers(list(growing.read())) == [3, 4, 5]


def test_a_journal_with_a_hole_before_it_is_not_trusted(tmp_path: Path) -> None:
    """What follows a hole is set aside by recovery: whoever read it would have read what is no part of the recording."""
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(3)
    after = JournalWriter(tmp_path / "tape", 1)
    after.append(frame(5))
    after.drain()
    growing = GrowingRecording(tmp_path / "tape")
    assert numbers(list(growing.read())) == [0, 1, 2]
    assert not growing.is_over
    after.close()


def test_a_recording_that_is_compacted_while_it_is_read_gives_every_frame_once(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    for _ in range(4):
        recorder.write(5)
        recorder.rotate()
    recorder.end()
    growing = GrowingRecording(tmp_path / "tape")
    reading = growing.read()
    found = [next(reading), next(reading)]
    compact(tmp_path / "tape")
    found += reading
    assert numbers(found) == list(range(20))


def test_another_recording_in_its_place_is_not_mistaken_for_it(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(3)
    growing = GrowingRecording(tmp_path / "tape")
    read(growing)
    write_manifest(tmp_path / "tape", msgspec.structs.replace(recorder.manifest, created_ns=5))
    with pytest.raises(RecordingError, match=r"tape holds another recording now than when it was opened: "):
        read(growing)


def test_what_was_pruned_cannot_be_followed(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(3)
    recorder.rotate()
    recorder.write(3)
    manifest = recorder.end()
    tables = {name: file for name, file in manifest.segments[0].tables.items() if name != "raw"}
    manifest.segments[0] = msgspec.structs.replace(manifest.segments[0], tables=tables)
    write_manifest(tmp_path / "tape", manifest)
    with pytest.raises(RecordingError, match=r"tape holds no raw frames of segment 0 any more: follow it from a later"):
        read(GrowingRecording(tmp_path / "tape"))
    assert numbers(list(GrowingRecording(tmp_path / "tape", 3).read())) == [3, 4, 5]


def test_a_file_that_is_missing_is_damage(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(3)
    recorder.end()
    (tmp_path / "tape" / "raw" / "000000.parquet").unlink()
    with pytest.raises(RecordingDamaged, match=r"000000.parquet is missing"):
        read(GrowingRecording(tmp_path / "tape"))
    with pytest.raises(NotARecording):
        GrowingRecording(tmp_path / "nothing")


def test_a_recording_is_not_over_while_somebody_holds_it(tmp_path: Path) -> None:
    """Who records on heals the folder first, and says only then that the recording runs again."""
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(10)
    recorder.end()
    growing = GrowingRecording(tmp_path / "tape")
    assert sum(len(batch) for batch in growing.read()) == 10
    with FolderLock(tmp_path / "tape"):
        assert not growing.is_over
    assert growing.is_over
