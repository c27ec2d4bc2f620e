"""Reading a recording: in order, in pieces, by pair, and what is said of one that is damaged."""

from __future__ import annotations

import os
import shutil
from bisect import bisect_left
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.format.manifest import MANIFEST_NAME, inside, read_manifest, write_manifest
from recordings.format.schema import MESSAGE_TABLES
from recordings.recording import Recording
from replay.column_tape import ColumnTape
from replay.tape import Tape
from tests.manifests import change_fields, vouch
from tests.tapes import TS, bbo_frame, book_frame, collector_line, import_files, messages_of, mixed_tape, seen_in_replay
from toolkit.errors import FormatTooNew, NotARecording, RecordingDamaged, TickdeckError
from toolkit.messages import BookSnapshot, Message, StreamEvent


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return mixed_tape(tmp_path_factory.mktemp("tape") / "tape")


def copy(tape: Recording, folder: Path) -> Path:
    shutil.copytree(tape.path, folder)
    return folder


def test_messages_come_in_the_order_of_frames_and_rows(tape: Recording) -> None:
    messages = messages_of(tape)
    places = [(message.capture_seq, message.sub_seq) for message in messages]
    assert places == sorted(set(places))
    assert len(messages) == sum(segment.message_count for segment in tape.manifest.segments)
    frames = [frame.capture_seq for batch in tape.raw_frames() for frame in batch]
    assert frames == list(range(240))


@given(st.integers(1, 400))
@settings(max_examples=8, deadline=None)
def test_any_number_of_rows_at_a_time_gives_the_same(tape: Recording, rows: int) -> None:
    assert messages_of(tape, batch_rows=rows) == messages_of(tape)
    assert [frame for batch in tape.raw_frames(None, rows) for frame in batch] == [
        frame for batch in tape.raw_frames() for frame in batch
    ]


@given(st.sets(st.sampled_from(["BTC-USD", "ETH-USD", "PURR-USDC", "#7510"])))
@settings(max_examples=8, deadline=None)
def test_choosing_pairs_keeps_the_order_of_the_rest(tape: Recording, pairs: set[str]) -> None:
    """Events of whole connections come along."""
    expected = [message for message in messages_of(tape) if message.trading_pair in pairs | {""}]
    assert messages_of(tape, trading_pairs=pairs) == expected


def test_choosing_tables_and_segments(tape: Recording) -> None:
    books = messages_of(tape, tables=("book",))
    assert {type(message) for message in books} == {BookSnapshot}
    second = tape.manifest.segments[1]
    part = messages_of(tape, segments=[second])
    assert all(90 <= message.capture_seq < 180 for message in part)
    assert len(part) == second.message_count


def test_what_is_there_is_listed(tape: Recording) -> None:
    assert tape.trading_pairs == ["#7510", "BTC-USD", "ETH-USD", "PURR-USDC"]
    assert [path.name for path in tape.files("raw")] == ["000000.parquet", "000001.parquet", "000002.parquet"]
    assert tape.files("orders") == []


# -- damage --------------------------------------------------------------------------------------------------------


def read_all(folder: Path) -> list[Message]:
    recording = Recording.open(folder)
    for fidelity in ("raw", "normalized"):
        seen_in_replay(recording, fidelity)
    return messages_of(recording)


def test_a_folder_that_is_no_recording_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MANIFEST_NAME).write_text('{"format": "other", "format_version": 1}')
    for name, message in (
        ("nothing", "is not a recording: no such folder"),
        ("empty", "is not a recording: no recording.json in it; expected a folder made by record or import"),
        ("file", "is not a recording: no recording.json in it"),
        ("other", "says format 'other', expected 'tickdeck-recording'"),
    ):
        with pytest.raises(NotARecording) as caught:
            Recording.open(tmp_path / name)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_recording_of_a_newer_format_says_to_upgrade(tape: Recording, tmp_path: Path) -> None:
    folder = copy(tape, tmp_path / "tape")
    change_fields(folder, format_version=99, status={"new": 1})
    with pytest.raises(
        FormatTooNew, match=r"^.* has format version 99, this tickdeck reads up to \d+: upgrade tickdeck$"
    ):
        Recording.open(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": "tickdeck-recording"}', b"\xff\xfe", b"null"])
def test_a_manifest_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(
        RecordingDamaged, match=r"^.*recording\.json is damaged \(.*\): expected the manifest"
    ) as caught:
        Recording.open(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "raw/../../x", "", "."])
def test_a_manifest_cannot_name_a_file_outside_its_folder(tape: Recording, tmp_path: Path, path: str) -> None:
    folder = copy(tape, tmp_path / "tape")
    shutil.copy(tape.files("bbo")[0], tmp_path / "x")
    manifest = read_manifest(folder)
    entry = manifest.segments[0]
    for table in ("raw", "bbo"):
        entry.tables[table] = msgspec.structs.replace(entry.tables[table], path=path)
    write_manifest(folder, manifest)
    with pytest.raises(RecordingDamaged, match=r"^.* names '.*': expected a file inside the recording$"):
        read_all(folder)


def test_a_link_out_of_the_recording_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "tape").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "tape" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(RecordingDamaged, match="expected a file inside the recording"):
        inside(tmp_path / "tape", "link")


@pytest.mark.parametrize("table", ["raw", "book", "bbo", "trades", "funding", "events"])
@pytest.mark.parametrize("damage", ["missing", "half", "empty", "other"])
def test_a_file_that_is_missing_or_cut_in_half_is_one_line_that_names_it(
    tape: Recording, tmp_path: Path, table: str, damage: str
) -> None:
    folder = copy(tape, tmp_path / "tape")
    path = folder / table / "000001.parquet"
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {"half": whole[: len(whole) // 2], "empty": b"", "other": b"PAR1" + os.urandom(200) + b"PAR1"}[damage]
        )
    with pytest.raises(RecordingDamaged) as caught:
        read_all(folder)
    assert str(path.relative_to(folder)) in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_raise_our_error_or_nothing(
    tape: Recording, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Parquet has no checksums here: `verify` has the hashes. But nothing else than our error may come of it."""
    folder = copy(tape, tmp_path_factory.mktemp("changed") / "tape")
    table = data.draw(st.sampled_from(["raw", "book", "bbo", "trades", "funding", "events"]))
    path = folder / table / "000000.parquet"
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    said = ""
    try:
        read_all(folder)
    except TickdeckError as exc:
        said = str(exc)
    assert "\n" not in said


def test_a_recording_without_raw_frames_says_to_replay_it_normalized(tape: Recording, tmp_path: Path) -> None:
    folder = copy(tape, tmp_path / "tape")
    manifest = read_manifest(folder)
    del manifest.segments[0].tables["raw"]
    write_manifest(folder, manifest)
    recording = Recording.open(folder)
    with pytest.raises(RecordingDamaged, match=r"holds no raw frames of segment 0 any more: replay it normalized$"):
        list(recording.raw_frames())
    assert messages_of(recording) == messages_of(tape)


def test_a_file_whose_rows_are_out_of_order_is_refused(tape: Recording, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder = copy(tape, tmp_path / "tape")
    path = folder / "events" / "000000.parquet"
    rows = pq.read_table(path)
    pq.write_table(rows.take(list(range(len(rows)))[::-1]), path, store_schema=False)
    vouch(folder)
    with pytest.raises(RecordingDamaged, match=r"is not sorted by \(capture_seq, sub_seq\) within a symbol"):
        messages_of(Recording.open(folder))
    mixed = pq.read_table(folder / "bbo" / "000000.parquet")
    order = sorted(range(len(mixed)), key=lambda row: (mixed["symbol"][row].as_py(), -row))
    pq.write_table(mixed.take(order), folder / "bbo" / "000000.parquet", store_schema=False)
    vouch(folder)
    with pytest.raises(RecordingDamaged, match=r"is not sorted by \(capture_seq, sub_seq\) within a symbol"):
        messages_of(Recording.open(folder), tables=("bbo",))


def test_events_are_kept_with_what_could_not_be_read(tape: Recording) -> None:
    events = [message for message in messages_of(tape) if isinstance(message, StreamEvent)]
    assert {(event.symbol, event.kind.value) for event in events} == {("", "parse_error")}
    assert len(events) == 48


def test_small_segments_are_made_into_messages_at_once_but_for_the_first(tmp_path: Path) -> None:
    """A reader that has sought wants its first messages soon; after them, few portions cost less than many."""
    recording = mixed_tape(tmp_path / "tape", frames=240, segment_frames=40)
    with patch("recordings.recording.PORTION_ROWS_FIRST", 4):
        lists = list(recording.messages())
    bounds = [segment.capture_seq_last for segment in recording.manifest.segments]
    counts = Counter(bisect_left(bounds, messages[0].capture_seq) for messages in lists if messages)
    # Each round of the merge ends where the first of the tables does.
    tables = [len(segment.tables.keys() & set(MESSAGE_TABLES)) for segment in recording.manifest.segments]
    assert counts[0] > tables[0]
    assert [counts[number] <= tables[number] for number in range(1, len(bounds))] == [True] * 5
    assert [each for messages in lists for each in messages] == [
        each for messages in recording.messages() for each in messages
    ]


def test_books_and_quotes_without_any_level_are_read_as_they_came(tmp_path: Path) -> None:
    """A file of them has neither a price nor a side, and nothing else in its place."""
    start = TS // 1_000_000
    lines = [
        collector_line(
            TS + number * 1_000_000,
            book_frame("BTC", start + number) if number % 20 < 10 else bbo_frame("BTC", start + number, None, None),
        )
        for number in range(40)
    ]
    recording = import_files(tmp_path / "tape", b"".join(lines), segment_frames=7)
    assert seen_in_replay(recording, "normalized") == seen_in_replay(recording, "raw")
    stored = messages_of(recording)
    assert len(stored) == 40
    for whole in (False, True):
        batches = list(ColumnTape(Tape([recording]), whole=whole).batches())
        assert sum(batch.messages for batch in batches) == 40
