"""Who reads, imports or asks for the lock while somebody else is at work in the folder, and what survives a power cut."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import analysis
from recordings.care.compacting import compact
from recordings.care.recovery import needs_recovery
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.following.follower import Follower
from recordings.format.manifest import read_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.recording import Recording
from recordings.storage.lock import LOCK_NAME, FolderLock
from recordings.storage.lock_holder import is_held
from tests.hand_recorder import HandRecorder
from tests.interruptions import FAULTS, Interruption
from tests.tapes import TS, bbo_frame, collector_line, import_files
from toolkit.clock import ManualClock
from toolkit.errors import ConfigError, ImportFailed, RecordingDamaged, RecordingError, RecordingLocked
from toolkit.frames import Frame

LINES = b"".join(
    collector_line(TS + number, bbo_frame("BTC", TS // 1_000_000 + number, (10.0, 1.0), None)) for number in range(40)
)


def tape(folder: Path, segments: int = 4) -> HandRecorder:
    recorder = HandRecorder(folder)
    for _ in range(segments):
        recorder.write(6)
        recorder.rotate()
    recorder.end()
    return recorder


@pytest.mark.parametrize("rewrite", [compact, renormalize])
def test_a_reader_that_is_open_across_a_rewrite_says_so_at_once(
    rewrite: Callable[[Path], object], tmp_path: Path
) -> None:
    """It gives the frames of the file that it has open, skips none, and ends in one line."""
    recorder = tape(tmp_path / "tape")
    recording = Recording.open(tmp_path / "tape")
    readers: list[Iterator[list[Any]]] = [recording.messages(), recording.raw_frames()]
    found = [next(reader) for reader in readers]
    rewrite(tmp_path / "tape")
    for reader, first in zip(readers, found, strict=True):
        if rewrite is renormalize and isinstance(first[0], Frame):
            assert [*first, *(each for batch in reader for each in batch)] == recorder.frames  # raw files stay
            continue
        seen = list(first)
        with pytest.raises(RecordingError, match=r"^.*went while the recording was open: it was compacted, .* again$"):
            seen += (each for batch in reader for each in batch)
        assert seen[-1].capture_seq < 6


def test_an_open_recording_whose_files_went_says_so(tmp_path: Path) -> None:
    """In Polars, SQL and by message; what is missing though the manifest names it is damage."""
    tape(tmp_path / "tape")
    recording = Recording.open(tmp_path / "tape")
    compact(tmp_path / "tape")
    for read in (
        lambda: recording.files("trades"),
        lambda: analysis.scan(recording, "trades"),
        lambda: analysis.connect(recording),
        lambda: next(recording.raw_frames()),
    ):
        with pytest.raises(RecordingError, match=r"went while the recording was open"):
            read()
    again = Recording.open(tmp_path / "tape")
    again.files("raw")[0].unlink()
    with pytest.raises(RecordingDamaged, match=r"\.parquet is missing$"):
        next(again.raw_frames())
    with pytest.raises(RecordingDamaged, match=r"\.parquet is missing$"):
        again.files("raw")


def test_a_query_in_the_middle_of_a_rewrite_counts_every_row_once(tmp_path: Path) -> None:
    """At each step at which a kill used to leave old and new files together."""
    for step in ("rewrite-committed", "rewrite-file-moved", "rewrite-manifest-written"):
        folder = tmp_path / step
        recorder = tape(folder)
        seen: list[Any] = []

        def look(folder: Path = folder, seen: list[Any] = seen) -> None:
            with analysis.connect(folder) as connection:
                seen += connection.execute("SELECT count(*) FROM raw").fetchall()
            seen.append((analysis.scan(folder, "raw").collect().height,))

        with Interruption(folder, step, "kill", look=look).in_force():
            compact(folder)
        look()
        assert seen == 4 * [(len(recorder.frames),)]
        assert needs_recovery(folder)
        assert verify(folder).notes[-1].startswith("it is being rewritten, or that was interrupted")


def test_two_imports_into_one_folder(tmp_path: Path) -> None:
    """One of them is refused in one line, at whatever instant the second comes; the other is none the worse."""
    counting = Interruption(tmp_path / "model")
    with counting.in_force():
        import_files(tmp_path / "model", LINES, segment_frames=15, threads=False)
    for at in range(0, counting.instants, 19):
        folder = tmp_path / f"tape-{at}"
        done: list[str] = []

        def attempt(name: str, folder: Path = folder, done: list[str] = done) -> None:
            with contextlib.suppress(RecordingLocked, ConfigError):
                import_files(folder, LINES, segment_frames=15, threads=False)
                done.append(name)

        interruption = Interruption(folder, at, look=partial(attempt, "second"))
        with interruption.in_force():
            attempt("first")
        assert interruption.has_come
        assert len(done) == 1, done
        assert verify(folder).problems == []
        assert sum(segment.frame_count for segment in read_manifest(folder).segments) == 40


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "kill"])
def test_an_import_that_failed_can_be_run_again(fault: str, tmp_path: Path) -> None:
    """Nothing of it is left, at whatever instant it ended; the disk's refusal is one line."""
    for threads in (False, True):
        counting = Interruption(tmp_path / f"model-{threads}")
        with counting.in_force():
            import_files(tmp_path / f"model-{threads}", LINES, segment_frames=15, threads=threads)
        for at in range(2 + threads, counting.instants, 31):
            folder = tmp_path / f"tape-{threads}-{at}"
            with contextlib.suppress(RecordingError, ConfigError, MemoryError, KeyboardInterrupt):
                with Interruption(folder, at, fault).in_force():
                    import_files(folder, LINES, segment_frames=15, threads=threads)
                continue
            if not (folder / "recording.json").exists():
                assert {path.name for path in folder.rglob("*")} <= {LOCK_NAME}
                import_files(folder, LINES, segment_frames=15, threads=threads)
            assert verify(folder).problems == []


def test_an_import_beside_what_is_somebody_elses(tmp_path: Path) -> None:
    """A folder that holds anything is refused, and nothing in it is touched."""
    folder = tmp_path / "tape"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "000000.parquet").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="already exists and is not an empty folder"):
        import_files(folder, LINES)
    assert [path.name for path in folder.rglob("*")] == ["raw", "000000.parquet"]
    with pytest.raises(ImportFailed):
        import_files(tmp_path / "none", b"nothing that can be read\n")
    assert not (tmp_path / "none").exists()


def test_the_lock_tells_whether_somebody_writes_and_not_the_number_in_it(tmp_path: Path) -> None:
    """A number is given again: to this process, to one of another user, to one that has ended."""
    assert not is_held(tmp_path)
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for content in (b"%d\n" % os.getpid(), b"1\n", dead.stdout, b"", b"\xff" * 40):
        (tmp_path / LOCK_NAME).write_bytes(content)
        assert not is_held(tmp_path)
    with FolderLock(tmp_path):
        assert is_held(tmp_path)
        (tmp_path / LOCK_NAME).write_bytes(dead.stdout)
        assert is_held(tmp_path)
    assert not is_held(tmp_path)


@pytest.mark.parametrize("number", [1, os.getppid()], ids=["the first process", "another"])
def test_a_follower_gives_up_a_recorder_whose_number_another_process_has(number: int, tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(2)
    (tmp_path / "tape" / LOCK_NAME).write_bytes(b"%d\n" % number)
    clock = ManualClock(TS)
    follower = Follower(tmp_path / "tape", patience_s=60.0, clock=clock)
    follower._check_life()
    clock.advance(59 * 10**9)
    follower._check_life()
    with FolderLock(tmp_path / "tape"):
        clock.advance(2 * 10**9)
        follower._check_life()
    clock.advance(59 * 10**9)
    follower._check_life()
    clock.advance(2 * 10**9)
    with pytest.raises(RecordingError, match=r"nothing has been written for 60 s after frame"):
        follower._check_life()


def _synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files and folders are synced from now on, in order."""
    synced: list[Path] = []
    sync = os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    return synced


def test_a_new_folder_is_synced_in_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's in the recording, the recording's in the one that holds it, a table's and what is set aside too."""
    synced = _synced(monkeypatch)
    (tmp_path / "plain").mkdir()
    JournalWriter(tmp_path / "plain", 0).close()
    assert synced.index(tmp_path / "plain") < synced.index(tmp_path / "plain" / "journal")
    (tmp_path / "lines").write_bytes(LINES)
    import_files(tmp_path / "of" / "many" / "tape", tmp_path / "lines")
    for folder in (tmp_path, tmp_path / "of", tmp_path / "of" / "many", tmp_path / "of" / "many" / "tape"):
        assert folder in synced


def test_what_a_rewrite_makes_is_synced_before_what_it_replaces_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that the new manifest names, the folders they are in, and the manifest."""
    folder = tmp_path / "tape"
    tape(folder)
    kept = {file.path for segment in read_manifest(folder).segments for file in segment.files}
    synced = _synced(monkeypatch)
    order: list[str] = []

    def look() -> None:
        order.extend(path.relative_to(folder).as_posix() for path in synced if path != folder)

    with Interruption(folder, "rewrite-manifest-written", look=look).in_force():
        compact(folder)
    manifest = read_manifest(folder)
    files = [file for segment in manifest.segments for file in segment.files]
    for path in [file.path for file in files if file.path not in kept]:
        place, _, name = path.partition("/")
        assert f".rewrite/{place}/.{name}.tmp" in order
        assert place in order
    assert manifest.resume is not None
    assert (folder / manifest.resume.path).is_file()
    assert ".rewrite/.recording.json.tmp" in order
    assert ".recording.json.tmp" in order
