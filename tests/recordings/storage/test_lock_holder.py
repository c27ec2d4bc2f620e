"""Who holds a recording for writing, as readers are told: by the lock, wherever there is one."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from recordings.format.manifest import read_manifest
from recordings.reading.unsealed import unsealed_part, work_on
from recordings.recording import Recording
from recordings.storage.lock import LOCK_NAME, FolderLock
from recordings.storage.lock_holder import Holder, holder_of, is_held
from tests.hand_recorder import HandRecorder
from tests.recordings.storage.test_lock import Recorder
from tests.tapes import TS
from toolkit.errors import RecordingDamaged, RecordingLocked


def touched_long_ago(folder: Path) -> None:
    for path in (folder / LOCK_NAME, *(folder / "journal").glob("*")):
        os.utime(path, ns=(TS, TS))


def test_the_living_and_what_the_dead_left_at_work(tmp_path: Path) -> None:
    HandRecorder(tmp_path / "tape").write(2)
    manifest = read_manifest(tmp_path / "tape")
    recorder = Recorder(tmp_path / "tape")
    pid = recorder.process.pid
    try:
        assert holder_of(tmp_path / "tape") == Holder(pid, "", True)
        assert str(work_on(tmp_path / "tape", manifest)) == f"being recorded by process {pid}"
        recorder.kill()
        assert holder_of(tmp_path / "tape") == Holder(pid, "", False)
        work = work_on(tmp_path / "tape", manifest)
        assert work is not None
        assert work.is_left
        assert str(work).startswith(
            f"its recorder (process {pid}) has died, and what it had for sealing is still at work"
        )
    finally:
        recorder.close()


def test_who_recovers_is_not_taken_for_a_recorder(tmp_path: Path) -> None:
    """What it has not sealed yet is read as it will be, the loss included."""
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(2)
    recorder.journal.close()
    with FolderLock(tmp_path / "tape", heals=True):
        work = work_on(tmp_path / "tape", read_manifest(tmp_path / "tape"))
        assert work is not None
        assert work.is_left
        assert str(work) == f"its recorder has died, and process {os.getpid()} is recovering it"
        tail = Recording.open(tmp_path / "tape").tail
        assert tail is not None
        assert tail.loss is not None
        with pytest.raises(RecordingLocked, match=f"is being written by process {os.getpid()}"):
            FolderLock(tmp_path / "tape").acquire()
    with FolderLock(tmp_path / "tape"):
        assert str(work_on(tmp_path / "tape", recorder.manifest)) == f"being recorded by process {os.getpid()}"


def test_nobody_holds_what_was_never_locked_or_is_let_go_of(tmp_path: Path) -> None:
    assert holder_of(tmp_path) is None
    with FolderLock(tmp_path):
        assert is_held(tmp_path)
        copy = shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-copy"))
        assert holder_of(copy) is None
    assert not is_held(tmp_path)


def test_one_on_another_machine_holds_a_lock_that_can_be_seen(tmp_path: Path) -> None:
    """On a network share with locks: nothing can be asked about its process."""
    with FolderLock(tmp_path):
        (tmp_path / LOCK_NAME).write_text("77 1234 vm-2\n")
        holder = holder_of(tmp_path)
        assert holder == Holder(77, "vm-2", True)
        assert str(holder) == "process 77 of vm-2"
    assert holder_of(tmp_path) is None


@pytest.mark.parametrize("reader", ["no locks", "no permission"])
def test_where_the_system_cannot_be_asked_the_files_tell(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(2)
    lock = tmp_path / "tape" / LOCK_NAME
    lock.write_text("77 1234 vm-2\n")

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOLCK, "no locks")

    real = os.open

    def closed(path: str | Path, *more: int) -> int:
        if Path(path) == lock:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *more)

    if reader == "no locks":
        monkeypatch.setattr(fcntl, "flock", refuse)
    else:
        monkeypatch.setattr("recordings.storage.lock_holder.os.open", closed)
    holder = holder_of(tmp_path / "tape")
    assert holder is not None
    assert (holder.is_alive, holder.host) == (True, "vm-2" if reader == "no locks" else "")
    touched_long_ago(tmp_path / "tape")
    assert holder_of(tmp_path / "tape") is None
    recorder.journal.close()


def test_without_locks_a_process_of_this_machine_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOLCK, "no locks")

    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (tmp_path / LOCK_NAME).write_text(f"{os.getpid()} {started} {os.uname().nodename}\n")
    assert holder_of(tmp_path) is None  # the lock is not held, whatever the file says
    monkeypatch.setattr(fcntl, "flock", refuse)
    assert holder_of(tmp_path) == Holder(os.getpid(), "", True)
    (tmp_path / LOCK_NAME).write_text(f"{os.getpid()} {int(started) - 1} {os.uname().nodename}\n")
    assert holder_of(tmp_path) is None


def test_a_reader_that_asks_does_not_keep_a_recorder_from_beginning(tmp_path: Path) -> None:
    """To ask is to hold the lock for a moment, and the file names a process that is alive: this one."""
    with FolderLock(tmp_path):
        pass
    handle = os.open(tmp_path / LOCK_NAME, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    lock = FolderLock(tmp_path)
    tried = lock._tried

    def then_let_go(number: int) -> object:
        found = tried(number)
        fcntl.flock(handle, fcntl.LOCK_UN)
        return found

    lock._tried = then_let_go  # type: ignore[method-assign, assignment]
    with lock:
        pass
    os.close(handle)


def test_a_journal_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    recorder = HandRecorder(tmp_path / "tape")
    recorder.write(2)
    recorder.journal.close()
    recorder.journal.path.unlink()
    os.mkfifo(recorder.journal.path)
    with pytest.raises(RecordingDamaged, match=r"000000\.arrows cannot be read"):
        unsealed_part(tmp_path / "tape")
    with pytest.raises(RecordingDamaged, match=r"000000\.arrows cannot be read"):
        _ = Recording.open(tmp_path / "tape").tail
