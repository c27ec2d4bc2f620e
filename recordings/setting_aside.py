"""What is in the way and may still be wanted goes to `set-aside/`, in the recording: it is never deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from recordings.files import make_folder, sync_folder, write_atomically

__all__ = ["SET_ASIDE", "keep_aside", "move_aside"]

SET_ASIDE: Final = "set-aside"


def move_aside(folder: Path, path: Path) -> str:
    """Move a file of a recording there, under a name that tells where it was; its new path below the recording."""
    target = _free_name(folder, path.relative_to(folder).as_posix().replace("/", "-"))
    path.rename(target)
    sync_folder(target.parent)
    sync_folder(path.parent)
    return target.relative_to(folder).as_posix()


def keep_aside(folder: Path, name: str, content: bytes) -> str:
    """Keep bytes there under that name, or another if it is taken by others; their path below the recording."""
    target = _free_name(folder, name, content)
    write_atomically(target, content)
    return target.relative_to(folder).as_posix()


def _free_name(folder: Path, name: str, content: bytes | None = None) -> Path:
    """A path that nothing has, or that has this content already: from a healing that was interrupted."""
    place = folder / SET_ASIDE
    make_folder(place)
    name = name.lstrip(".")
    target = place / name
    count = 1
    while target.exists() and (content is None or target.read_bytes() != content):
        target = place / f"{name}.{count}"
        count += 1
    return target
