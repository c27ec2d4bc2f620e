"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recordings.storage.crash_points import step
from toolkit.errors import RecordingError

__all__ = [
    "atomic_path",
    "disk_refusals",
    "file_hash",
    "make_folder",
    "open_regular",
    "read_regular",
    "sync_folder",
    "sync_handle",
    "temporary_path",
    "write_atomically",
]

#: What file systems answer that cannot sync, or not a folder: network shares, FUSE, the overlays of some containers.
#: The disk failing is EIO, never one of these.
_CANNOT_SYNC: Final = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM}
)


def open_regular(path: Path) -> int:
    """A handle to read a file with. Raises OSError, also at once for what is none: a pipe, a device, a folder."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return handle


def read_regular(path: Path) -> bytes:
    """What is in a file. Raises OSError as `open_regular` does."""
    with os.fdopen(open_regular(path), "rb") as file:
        return file.read()


def file_hash(path: Path) -> str:
    """BLAKE2b-256 of a file, hexadecimal."""
    with os.fdopen(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def sync_handle(handle: int) -> bool:
    """
    Make what an open file holds survive a power cut; False where its file system cannot do that.

    Raises OSError where the disk failed to.
    """
    try:
        os.fsync(handle)
    except OSError as exc:
        if exc.errno not in _CANNOT_SYNC:
            raise
        return False
    return True


def sync_folder(folder: Path) -> bool:
    """
    Make renames in a folder survive a power cut; False where its file system cannot do that.

    Raises OSError where the disk failed to, or the folder is gone.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as exc:
        if exc.errno not in _CANNOT_SYNC:
            raise
        return False
    try:
        return sync_handle(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, *, parents: bool = False) -> None:
    """
    Make a folder, unless it is there, so that a power cut leaves it.

    Raises OSError; also, with `parents`, for what is in the way of those above it.
    """
    if folder.is_dir():
        return
    if parents and not folder.parent.is_dir():
        make_folder(folder.parent, parents=True)
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):  # one may be allowed to make a folder where one may not read
        sync_folder(folder.parent)


@contextmanager
def disk_refusals(folder: Path, remedy: str) -> Iterator[None]:
    """
    Say in one line what the disk refused, and what to do.

    Args:
        folder: The recording.
        remedy: Last part of the message: what became of the work, and what to do once the disk is well.

    Raises:
        RecordingError: In place of an OSError from the block.
    """
    try:
        yield
    except OSError as exc:
        path = exc.filename if isinstance(exc.filename, str) else folder
        why = exc.strerror or str(exc).partition("\n")[0]
        raise RecordingError(f"{path} cannot be written ({why}): {remedy}") from exc


def temporary_path(path: Path) -> Path:
    """Where a file is written before it takes its name."""
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """
    A temporary path beside `path`; on leaving the block it is fsynced and takes the name of `path`.

    If the block fails, the temporary file is removed and `path` is as it was.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        step("file-written")
        handle = os.open(temporary, os.O_RDONLY)
        try:
            sync_handle(handle)
        finally:
            os.close(handle)
        step("file-synced")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    step("file-renamed")
    sync_folder(path.parent)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a small file as a whole."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
