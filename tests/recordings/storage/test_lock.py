"""One writer per recording: the living are refused, what the dead left is waited for, with locks and without."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings.storage.lock import LOCK_NAME, FolderLock, named_writer
from toolkit.errors import RecordingError, RecordingLocked

PROGRAM = """
import os, subprocess, sys
from pathlib import Path
from recordings.storage.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.acquire()
child = subprocess.Popen(["sleep", "600"], pass_fds=(lock.fileno(),), stdout=subprocess.DEVNULL)
lock.also(child.pid)
print(child.pid, flush=True)
sys.stdin.read()
"""


class Recorder:
    """A process that holds a lock, and a child of it that holds it too."""

    def __init__(self, folder: Path, program: str = PROGRAM) -> None:
        command = [sys.executable, "-c", program, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.child = int(self.process.stdout.readline())

    def kill(self, *, reap: bool = True) -> None:
        self.process.kill()
        if reap:
            self.process.wait()
        else:
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)  # dead, and its number still taken

    def end_child(self) -> None:
        os.kill(self.child, signal.SIGKILL)

    def close(self) -> None:
        for pid in (self.process.pid, self.child):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


def owner_is_alive(folder: Path) -> bool:
    """Whether the process that the lock file names runs."""
    writer = named_writer(folder)
    return writer is not None and writer.is_alive


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    found = Recorder(tmp_path)
    yield found
    found.close()


def test_the_living_are_named_at_once(tmp_path: Path, recorder: Recorder) -> None:
    with pytest.raises(RecordingLocked, match=f"is being written by process {recorder.process.pid}: wait for it"):
        FolderLock(tmp_path).acquire()
    assert owner_is_alive(tmp_path)


@pytest.mark.parametrize("reap", [True, False])
def test_the_child_of_the_dead_is_waited_for_with_one_line(tmp_path: Path, recorder: Recorder, reap: bool) -> None:
    """Also while the dead has not been asked for by its parent: it keeps its number, and is no process any more."""
    recorder.kill(reap=reap)
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        recorder.end_child()

    with FolderLock(tmp_path, say=say):
        pass
    assert said == [
        f"{tmp_path}: process {recorder.process.pid} has died; waiting until the process that it had for sealing has ended"
    ]
    assert not owner_is_alive(tmp_path) or (tmp_path / LOCK_NAME).read_text().split()[0] == str(os.getpid())


def test_waiting_ends_when_it_is_told_to(tmp_path: Path, recorder: Recorder) -> None:
    recorder.kill()
    is_over = threading.Event()
    with pytest.raises(RecordingLocked, match="is still locked: stopped while it was waited for"):
        FolderLock(tmp_path, say=lambda _: is_over.set(), give_up=is_over.is_set).acquire()


def test_a_later_process_of_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    """Numbers come again, first of all in containers."""
    started = (Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2]).split()[19]
    host = os.uname().nodename
    (tmp_path / LOCK_NAME).write_text(f"{os.getpid()} {started} {host}\n")
    assert owner_is_alive(tmp_path)
    (tmp_path / LOCK_NAME).write_text(f"{os.getpid()} {int(started) - 1} {host}\n")
    assert not owner_is_alive(tmp_path)
    (tmp_path / LOCK_NAME).write_text(f"{os.getpid()}\n")  # as older versions wrote it
    assert owner_is_alive(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0" * 9, b"\xff\xfe", b"many words here", b"9" * 50, b"-1\n"])
def test_a_lock_file_that_names_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK_NAME).write_bytes(content)
    assert not owner_is_alive(tmp_path)
    with FolderLock(tmp_path):
        assert owner_is_alive(tmp_path)


def test_a_full_disk_leaves_the_owner_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is written over; a file that was emptied first might find no room."""
    sizes: list[int] = []
    real = os.pwrite

    def noted(handle: int, content: bytes, offset: int) -> int:
        sizes.append(os.fstat(handle).st_size)
        return real(handle, content, offset)

    (tmp_path / LOCK_NAME).write_text("1 1 elsewhere\n")
    monkeypatch.setattr("recordings.storage.lock.os.pwrite", noted)
    with FolderLock(tmp_path):
        assert owner_is_alive(tmp_path)
    assert sizes == [14]


def test_a_lock_that_is_removed_is_made_again(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as lock:
        assert lock.look()
        (tmp_path / LOCK_NAME).unlink()
        assert not lock.look()
        assert lock.look()
        with pytest.raises(RecordingLocked):
            FolderLock(tmp_path).acquire()


def test_a_lock_that_another_takes_meanwhile_is_lost(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as lock:
        (tmp_path / LOCK_NAME).unlink()
        with Taken(tmp_path), pytest.raises(RecordingLocked):
            lock.look()


class Taken:
    """Locked by another process."""

    def __init__(self, folder: Path) -> None:
        self._recorder = Recorder(folder)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._recorder.close()


def test_what_cannot_be_locked_for_another_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("recordings.storage.lock.fcntl.flock", broken)
    with pytest.raises(RecordingError, match=r"recording\.lock cannot be locked: Input/output error"):
        FolderLock(tmp_path).acquire()


# -- file systems without locks ----------------------------------------------------------------------------------------

NO_LOCKS = "import errno, fcntl\ndef no(*_):\n    raise OSError({code}, 'no locks')\nfcntl.flock = no\n"


@pytest.fixture(
    params=[errno.ENOLCK, *(pytest.param(code, marks=pytest.mark.slow) for code in (errno.ENOTSUP, errno.ENOSYS))]
)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """In this process, and the same as the beginning of a program."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    return NO_LOCKS.format(code=request.param)


def test_without_locks_the_living_are_refused_and_the_dead_are_not(tmp_path: Path, no_locks: str) -> None:
    said: list[str] = []
    recorder = Recorder(tmp_path, no_locks + PROGRAM)
    try:
        with pytest.raises(RecordingLocked, match=f"is being written by process {recorder.process.pid}"):
            FolderLock(tmp_path).acquire()
        recorder.kill()

        def say(text: str) -> None:
            said.append(text)
            if "has died" in text:
                recorder.end_child()

        with FolderLock(tmp_path, say=say):
            assert owner_is_alive(tmp_path)
            with pytest.raises(RecordingLocked, match=f"is being written by process {os.getpid()}"):
                FolderLock(tmp_path).acquire()
        with FolderLock(tmp_path):
            pass
    finally:
        recorder.close()
    assert ["has died" in text for text in said] == [True, False]
    assert "has no locks: a second writer is recognized by the process that recording.lock names" in said[1]


def test_without_locks_another_machine_is_alive_as_long_as_it_leaves_signs(tmp_path: Path, no_locks: str) -> None:
    lock = tmp_path / LOCK_NAME
    lock.write_text("1 1 elsewhere\n")
    with pytest.raises(RecordingLocked, match="is being written by process 1 of elsewhere"):
        FolderLock(tmp_path).acquire()
    long_ago = time.time() - 3600  # noqa: TID251  # of files
    os.utime(lock, (long_ago, long_ago))
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "000000.arrows").write_bytes(b"")
    with pytest.raises(RecordingLocked, match="of elsewhere"):
        FolderLock(tmp_path).acquire()
    os.utime(tmp_path / "journal" / "000000.arrows", (long_ago, long_ago))
    with FolderLock(tmp_path):
        assert owner_is_alive(tmp_path)
