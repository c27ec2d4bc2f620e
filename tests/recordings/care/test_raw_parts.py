"""Several processes find what one finds, whatever is wrong, and none of them stays."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from recordings.care import raw_parts
from recordings.care.compacting import compact
from recordings.care.part_processes import PartProcesses
from recordings.care.raw_replay import RawReplay
from recordings.care.verifying import Verification, verify
from recordings.format.manifest import Manifest, Segment, TableFile, read_manifest, write_manifest
from recordings.storage.atomic_files import file_hash
from tests.fuzz.hyperliquid_frames import VENUE, hyperliquid_session
from tests.tapes import import_files


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of four segments, with the state before each."""
    folder = tmp_path_factory.mktemp("parts") / "tape"
    frames = [frame for frame in hyperliquid_session(random.Random("parts"), 700) if frame.kind == "ws_in"][:600]
    lines = b"".join(b"%d %s\n" % (frame.ts_recv, frame.payload) for frame in frames)
    with patch("recordings.importing.importer.is_worth_keeping", lambda *_: True):
        import_files(folder, lines, venue=VENUE, segment_frames=150, compiled=False)
    manifest = read_manifest(folder)
    assert [segment.checkpoint is not None for segment in manifest.segments] == [False, True, True, True]
    return folder


def in_parts(folder: Path, jobs: int = 2, advance: Callable[[int], None] = lambda _: None) -> tuple[Verification, int]:
    """What several processes find, and how often one had to play everything in their place."""
    with patch.object(RawReplay, "play", autospec=True, side_effect=RawReplay.play) as play:
        return verify(folder, advance, jobs=jobs), play.call_count


def agree(folder: Path, jobs: int = 2) -> tuple[Verification, int]:
    found, alone = in_parts(folder, jobs)
    assert found == verify(folder)
    return found, alone


def swap_table(folder: Path, place: int, change: Callable[[pa.Table], pa.Table]) -> None:
    """Raw frames of a segment that are others than were recorded, under a manifest that holds their hash."""
    manifest = read_manifest(folder)
    segment = manifest.segments[place]
    path = folder / segment.tables["raw"].path
    pq.write_table(change(pq.read_table(path)), path, write_page_checksum=True, store_schema=False)
    entry = msgspec.structs.replace(segment.tables["raw"], bytes=path.stat().st_size, blake2b=file_hash(path))
    manifest.segments[place] = msgspec.structs.replace(segment, tables={**segment.tables, "raw": entry})
    write_manifest(folder, manifest)


def _without(row: int) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: pa.concat_tables([rows.slice(0, row), rows.slice(row + 1)])


def _other_times(rows: pa.Table) -> pa.Table:
    place = rows.schema.get_field_index("ts_recv")
    later = pc.add(rows.column("ts_recv").cast(pa.int64()), 1).cast(rows.schema.field("ts_recv").type)
    return rows.set_column(place, rows.schema.field("ts_recv"), later)


def test_a_sound_recording_is_sound_in_parts(parts: Path) -> None:
    """Each process begins with a state that was kept; progress comes to as much as with one."""
    done: list[int] = []
    found, alone = in_parts(parts, 2, done.append)
    assert alone == 0
    assert found == verify(parts)
    assert (found.problems, found.frame_count) == ([], 600)
    assert sum(done) == found.frame_count + found.message_count


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (2, _other_times),
        pytest.param(0, _other_times, marks=pytest.mark.slow),
        pytest.param(3, _without(149), marks=pytest.mark.slow),
        pytest.param(2, _without(0), marks=pytest.mark.slow),
        pytest.param(1, _without(70), marks=pytest.mark.slow),
    ],
)
def test_what_is_wrong_is_found_in_parts_as_by_one(
    parts: Path, tmp_path: Path, place: int, change: Callable[[pa.Table], pa.Table]
) -> None:
    """In the first part and in a later one: other frames, and frames that are missing."""
    folder = Path(shutil.copytree(parts, tmp_path / "tape"))
    swap_table(folder, place, change)
    found, alone = agree(folder)
    assert (len(found.problems) > 0, alone) == (True, 0)


def _with_checkpoint(folder: Path, place: int, other: int) -> None:
    """The state before a segment is that before another one, and the manifest says so."""
    manifest = read_manifest(folder)
    mine, theirs = manifest.segments[place].checkpoint, manifest.segments[other].checkpoint
    assert mine is not None
    assert theirs is not None
    (folder / mine.path).write_bytes((folder / theirs.path).read_bytes())
    entry = TableFile(mine.path, 0, theirs.bytes, theirs.blake2b)
    manifest.segments[place] = msgspec.structs.replace(manifest.segments[place], checkpoint=entry)
    write_manifest(folder, manifest)


@pytest.mark.slow
def test_a_state_that_the_frames_do_not_lead_to_is_not_begun_with(parts: Path, tmp_path: Path) -> None:
    """Else everything after it would be sound by what is wrong itself."""
    folder = Path(shutil.copytree(parts, tmp_path / "tape"))
    _with_checkpoint(folder, 2, 1)
    found, alone = agree(folder, jobs=4)
    assert (len(found.problems) > 0, alone) == (True, 1)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["damaged state", "no process"])
def test_without_a_state_or_a_process_one_plays_everything(parts: Path, tmp_path: Path, harm: str) -> None:
    folder = Path(shutil.copytree(parts, tmp_path / "tape"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        if harm == "no process":
            monkeypatch.setattr("sys.executable", "/nowhere/python")
        else:
            checkpoint = read_manifest(folder).segments[2].checkpoint
            assert checkpoint is not None
            (folder / checkpoint.path).write_bytes(b"x")
        _, alone = agree(folder, jobs=4)
    assert alone == 1


@pytest.mark.slow
def test_whatever_ends_it_ends_the_processes(parts: Path) -> None:
    """Ctrl-C, as an error of whoever is told of progress."""
    started = []
    start = PartProcesses._start

    def noted(processes: PartProcesses[Any], number: int) -> None:
        start(processes, number)
        started.append(processes._running[number])

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with patch.object(PartProcesses, "_start", noted), pytest.raises(KeyboardInterrupt):
        verify(parts, interrupted, jobs=2)
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def _segments(sizes: list[tuple[int, bool]]) -> list[Segment]:
    state = TableFile("state", 0, 1, "")
    return [
        Segment(
            number=number,
            frame_count=1,
            capture_seq_first=number,
            capture_seq_last=number,
            ts_recv_first=0,
            ts_recv_last=0,
            digest="",
            digest_start="",
            tables={"raw": TableFile("raw", 1, size, "")},
            counts={},
            message_count=0,
            checkpoint=state if has_state else None,
        )
        for number, (size, has_state) in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "jobs", "bounds"),
    [
        ([(9, False), (9, True), (9, True), (9, True)], 2, [0, 2, 4]),
        ([(9, False), (9, True), (9, True), (9, True)], 4, [0, 1, 2, 3, 4]),
        ([(9, False), (9, False), (9, False), (9, True)], 2, [0, 3, 4]),
        ([(9, False), (9, False)], 8, [0, 2]),
        ([(90, False), (1, True), (1, True)], 2, [0, 1, 3]),
        ([(9, False)] * 3, 1, [0, 3]),
    ],
)
def test_parts_begin_where_a_state_was_kept(sizes: list[tuple[int, bool]], jobs: int, bounds: list[int]) -> None:
    assert raw_parts._bounds(_segments(sizes), jobs) == bounds


def test_a_recording_without_states_is_played_by_one(parts: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(parts, tmp_path / "tape"))

    def without(manifest: Manifest) -> None:
        manifest.segments[:] = [msgspec.structs.replace(each, checkpoint=None) for each in manifest.segments]

    manifest = read_manifest(folder)
    without(manifest)
    write_manifest(folder, manifest)
    found, alone = in_parts(folder)
    assert (found.problems, alone) == ([], 1)


def test_compacting_several_tables_at_a_time_makes_the_same_files(parts: Path, tmp_path: Path) -> None:
    made = []
    for jobs in (1, 3):
        folder = Path(shutil.copytree(parts, tmp_path / str(jobs)))
        compact(folder, jobs=jobs)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock"]
        made.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in files})
    assert made[0] == made[1]
    assert len(read_manifest(tmp_path / "3").segments) == 1


def test_a_table_that_cannot_be_joined_is_one_error_and_changes_nothing(parts: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(parts, tmp_path / "tape"))
    path = folder / read_manifest(folder).segments[1].tables["raw"].path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    with pytest.raises(Exception, match=path.name):
        compact(folder, jobs=3)
    assert {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()} == before
