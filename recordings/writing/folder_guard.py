"""What else a recording's folder must keep while it is recorded into: the lock, and the manifest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from recordings.format.manifest import MANIFEST_NAME, Manifest, read_manifest
from recordings.storage.atomic_files import write_atomically
from recordings.storage.lock import FolderLock
from recordings.storage.set_aside import move_aside
from toolkit.errors import RecordingError

__all__ = ["FolderGuard"]


class FolderGuard:
    """
    Puts back what a cleaner or a sync tool takes from under a recorder.

    Args:
        folder: The recording.
        lock: Held by the recorder.
    """

    def __init__(self, folder: Path, lock: FolderLock) -> None:
        self._folder = folder
        self._lock = lock
        self._path = folder / MANIFEST_NAME
        self._stamp: tuple[int, int, int] | None = None
        self._content = b""
        self._manifest = Manifest()

    def look(self, on_notice: Callable[[str], None]) -> None:
        """
        See that both are there, and are ours.

        Raises RecordingError if another process has locked the folder, or the folder is gone. OSError from the disk.
        """
        if not self._folder.is_dir():
            raise RecordingError(f"{self._folder} was removed while it was recorded into: stopped")
        if not self._lock.look():
            on_notice(f"the lock of {self._folder} was removed: made and locked again")
        stamp = self._stamp_now()
        if stamp is not None and stamp == self._stamp:
            return
        # The manifest only ever changes by a rename: a moment without it is none of ours.
        if stamp is not None and self._is_next():
            self._stamp = stamp
        elif self._content:
            what = "removed"
            if os.path.lexists(self._path):
                what = f"replaced by another one (now {move_aside(self._folder, self._path)})"
            write_atomically(self._path, self._content)
            self._stamp = self._stamp_now()
            on_notice(f"{self._path} was {what} while it was recorded: written again; see who removes files there")

    def _is_next(self) -> bool:
        """Whether what is there now follows what was there; it is kept then."""
        try:
            content = self._path.read_bytes()
            manifest = read_manifest(self._folder)
        except (RecordingError, OSError):
            return False
        is_ours = not self._content or (
            manifest.created_ns == self._manifest.created_ns and len(manifest.segments) >= len(self._manifest.segments)
        )
        if is_ours and content == self._path.read_bytes():
            self._content, self._manifest = content, manifest
        return is_ours

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size
