"""The columns of a recording are its messages: of every venue, however it is read, sealed or not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from recordings.columns.column_batch import Names
from recordings.columns.column_runs import columns_of
from recordings.format.manifest import read_manifest
from recordings.reading.selecting import select_in
from recordings.recording import Recording
from recordings.storage.lock import FolderLock
from tests.column_checks import all_told, expected
from tests.golden.expectations import RECORDINGS
from tests.hand_recorder import HandRecorder
from tests.tapes import messages_of
from toolkit.errors import RecordingDamaged

each = pytest.mark.parametrize("folder", RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.name}")


@each
@pytest.mark.parametrize("batch_rows", [7, 65_536])
def test_columns_are_the_messages_of_every_venue(folder: Path, batch_rows: int) -> None:
    recording, names = Recording.open(folder), Names()
    wanted = [expected(message) for message in messages_of(recording)]
    assert all_told(columns_of(recording, names, batch_rows=batch_rows), names) == wanted


@each
def test_a_filter_and_a_first_frame_leave_the_same_out(folder: Path) -> None:
    recording, names = Recording.open(folder), Names()
    selection = select_in([recording], trading_pairs=[recording.keys[0]])
    first_seq = recording.manifest.segments[0].capture_seq_last // 2
    tables = ("book", "trades", "events")
    messages = [
        message
        for batch in recording.messages(selection=selection, first_seq=first_seq, tables=tables)
        for message in batch
    ]
    batches = columns_of(recording, names, selection=selection, first_seq=first_seq, tables=tables)
    assert all_told(batches, names) == [expected(message) for message in messages]


def test_what_is_not_sealed_yet_comes_after_what_is(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    with FolderLock(tmp_path / "tape"):
        recorder.write(5)
        recorder.seal()
        recorder.write(5)
        recording, names = Recording.open(tmp_path / "tape"), Names()
        wanted = [expected(message) for message in messages_of(recording)]
        assert recording.tail is not None
        assert all_told(columns_of(recording, names), names) == wanted


def test_a_file_that_was_changed_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    shutil.copytree(next(path for path in RECORDINGS if path.name == "hyperliquid"), folder)
    path = folder / read_manifest(folder).segments[0].tables["book"].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecordingDamaged):
        list(columns_of(Recording.open(folder), Names()))
