"""What is in the way and may still be wanted goes to `set-aside/`, in the recording: it is never deleted."""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from pathlib import Path
from typing import Final

from recordings.storage.atomic_files import make_folder, sync_folder, write_atomically

__all__ = ["SET_ASIDE", "keep_aside", "move_aside"]

SET_ASIDE: Final = "set-aside"


def move_aside(folder: Path, path: Path) -> str:
    """Move a file of a recording there, under a name that tells where it was; its new path below the recording."""
    name = path.relative_to(folder).as_posix().replace("/", "-")
    # Sealing makes the same files each time: a process that dies over it again and again must not fill the disk.
    target = _target(folder, name, lambda other: other.is_file() and filecmp.cmp(path, other, shallow=False))
    path.replace(target)
    sync_folder(target.parent)
    sync_folder(path.parent)
    return target.relative_to(folder).as_posix()


def keep_aside(folder: Path, name: str, content: bytes) -> str:
    """Keep bytes there under that name, or another if it is taken by others; their path below the recording."""
    target = _target(folder, name, lambda other: other.is_file() and other.read_bytes() == content)
    write_atomically(target, content)
    return target.relative_to(folder).as_posix()


def _target(folder: Path, name: str, is_same: Callable[[Path], bool]) -> Path:
    """A path that nothing has, or that has this content already: from a healing that was interrupted."""
    place = folder / SET_ASIDE
    make_folder(place)
    name = name.lstrip(".")
    target = place / name
    count = 1
    while (target.exists() or target.is_symlink()) and not is_same(target):
        target = place / f"{name}.{count}"
        count += 1
    return target
