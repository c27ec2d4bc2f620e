"""
The one place that opens sealed files: what they are read from, and what tells one state of them from another.

Readers name a file by the manifest, never by looking into a folder, and get a `SealedFile`. A storage of objects is one
more class that has these methods: an object's version is its state, and ranges are asked for.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Protocol

import pyarrow as pa

from recordings.storage.atomic_files import open_regular

__all__ = ["FileState", "LocalFile", "SealedFile"]

_CHUNK: Final = 1 << 20


class FileState(NamedTuple):
    """
    What differs between a file and what replaced or changed it.

    Attributes:
        device: Device of the file.
        inode: Number of the file on it.
        size: Size in bytes.
        mtime_ns: Time of the last change of its content, ns since the Unix epoch.
        ctime_ns: The same of its inode, which cannot be set.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class SealedFile(Protocol):
    """An open file. It stays what it was opened as, whatever its name leads to meanwhile. All of it raises OSError."""

    def state(self) -> FileState:
        """Its state now."""

    def read(self, offset: int, length: int) -> bytes:
        """That many bytes from a place on; fewer at the end."""

    def hash(self) -> str:
        """BLAKE2b-256 of all of it, hexadecimal."""

    def arrow(self) -> pa.NativeFile:
        """The same for Arrow, to be closed for itself. Raises FileNotFoundError where it can no longer be had."""

    def close(self) -> None:
        """Give it back."""


class LocalFile:
    """A file of this machine. Opening raises OSError, also for a pipe, a device or a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = open_regular(path)

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def state(self) -> FileState:
        found = os.fstat(self._handle)
        return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def read(self, offset: int, length: int) -> bytes:
        pieces = []
        while length and (piece := os.pread(self._handle, length, offset)):
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)

    def hash(self) -> str:
        digest = blake2b(digest_size=32)
        place = 0
        while chunk := os.pread(self._handle, _CHUNK, place):
            digest.update(chunk)
            place += len(chunk)
        return digest.hexdigest()

    def arrow(self) -> pa.NativeFile:
        opened = pa.OSFile(str(self.path))  # Arrow opens by name only
        if not os.path.samestat(os.fstat(opened.fileno()), os.fstat(self._handle)):
            opened.close()
            raise FileNotFoundError(f"{self.path} was replaced while it was opened")
        return opened

    def close(self) -> None:
        os.close(self._handle)
