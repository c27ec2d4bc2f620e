"""Recordings that many tests begin with: made once in a process, and copied for each test, which may do with it what it likes."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Hashable
from pathlib import Path

from recordings.states import checkpoints, seek_points

__all__ = ["keep_in", "made_by_one", "made_once"]

_made: dict[tuple[Hashable, ...], Path] = {}
_places: list[Path] = []


def keep_in(folder: Path) -> None:
    """Keep what is made there, for as long as the process lives; pytest removes it with its other folders."""
    _places.append(folder)


def made_once(folder: Path, make: Callable[[Path], object], *key: Hashable) -> None:
    """
    Put into `folder`, which is not there yet, what `make` puts there, with what it leaves beside it.

    A copy takes a fiftieth of the time that importing or sealing a small recording takes.

    Args:
        folder: Folder of the recording, which is to begin in this state.
        make: Function that makes it in the folder that it is given, which has the same name.
        key: Everything that decides what `make` does, its own name first. How states are kept counts anyway.
    """
    settings = (seek_points.POINT_FRAMES, seek_points.PAYLOAD_PER_BYTE, checkpoints.TABLES_PER_BYTE)
    name = (*key, folder.name, *settings)
    if name not in _made:
        parent = _places[-1] / str(len(_made))
        parent.mkdir()
        make(parent / folder.name)
        _made[name] = parent
    shutil.copytree(_made[name], folder.parent, dirs_exist_ok=True)


def made_by_one(folder: Path, make: Callable[[Path], object]) -> Path:
    """
    A folder that the first process to ask for it makes, and all others wait for; returns the folder.

    Args:
        folder: Folder that all of them know.
        make: Function that fills it.
    """
    done = folder.with_name(f"{folder.name}.done")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir()
            make(folder)
            done.touch()
    return folder
