"""One writer per recording: an advisory lock on a file in its folder, which the system releases when a process dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from toolkit.errors import RecordingError, RecordingLocked

__all__ = ["LOCK_NAME", "FolderLock", "owner_is_alive"]

LOCK_NAME: Final = "recording.lock"
#: How often, and how long in all, a lock is tried whose owner is dead: its sealing process is about to end.
TRY_S: Final = 0.05
TRIES: Final = 200


class FolderLock:
    """
    Holds a recording's folder for writing, within a `with` block.

    Raises RecordingLocked, naming the process, if another one holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._handle = -1

    def __enter__(self) -> FolderLock:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise RecordingError(f"{self._path.parent} cannot be written: {exc.strerror}") from None
        try:
            self._acquire(handle)
            # Who owns it is for people; a full disk must not keep anybody from healing the recording.
            with contextlib.suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return self

    def _acquire(self, handle: int) -> None:
        for _ in range(TRIES):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            if not (owner.isascii() and owner.isdigit()) or _is_alive(int(owner)):
                break
            time.sleep(TRY_S)
        raise RecordingLocked(
            f"{self._path.parent} is being written by process {owner}: wait for it, or record into another folder"
        )

    def fileno(self) -> int:
        """The handle that holds the lock: a child that inherits it holds it too."""
        return self._handle

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The file stays: removing it would let a third process lock a new one while a second still waits on this.
        os.close(self._handle)
        self._handle = -1


def owner_is_alive(folder: Path) -> bool:
    """
    Whether the process that last locked a folder still runs on this machine; for readers, who must not lock.

    Trying the lock instead would make a recorder that begins at that moment believe that it is taken.
    """
    try:
        owner = (folder / LOCK_NAME).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    return owner.isdigit() and len(owner) < 10 and _is_alive(int(owner))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True
