"""One writer per recording: an advisory lock on a file in its folder, which the system releases when a process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final

from toolkit.errors import RecordingError, RecordingLocked

__all__ = ["FolderLock"]

LOCK_NAME: Final = "recording.lock"


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
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise RecordingLocked(
                f"{self._path.parent} is being written by process {owner}: wait for it, or record into another folder"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, b"%d\n" % os.getpid())
        self._handle = handle
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The file stays: removing it would let a third process lock a new one while a second still waits on this.
        os.close(self._handle)
        self._handle = -1
