"""
How the files of a recording are called, and which names are not taken yet.

A file of a table is `<table>/<serial>.parquet`. The serial is the number of its segment until a recording is compacted
or renormalized; from then on it only goes up. So no name ever stands for two contents: a reader by an older
manifest finds the files of that manifest, or finds them gone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from recordings.format.manifest import Manifest, TableFile
from recordings.format.schema import ALL_TABLES

__all__ = [
    "CHECKPOINT_FOLDER",
    "FILE_FOLDERS",
    "checkpoint_name",
    "files_of",
    "is_ours",
    "next_serial",
    "serial_of",
    "states_of",
    "unused_serial",
]

CHECKPOINT_FOLDER: Final = "checkpoints"
#: Every folder that holds files a manifest names.
FILE_FOLDERS: Final = (*ALL_TABLES, CHECKPOINT_FOLDER)
_OURS: Final = re.compile(r"(\d{6,})\.(parquet|state|msgpack|points)")


def files_of(manifest: Manifest) -> list[TableFile]:
    """Every file that a manifest names."""
    files = [file for segment in manifest.segments for file in segment.files]
    return files if manifest.resume is None else [*files, manifest.resume]


def states_of(manifest: Manifest) -> list[TableFile]:
    """Those of them that hold states: what recording goes on from, and what seeks begin with."""
    return [file for file in files_of(manifest) if file.path.startswith(f"{CHECKPOINT_FOLDER}/")]


def is_ours(name: str) -> bool:
    """Whether a file in one of the `FILE_FOLDERS` has a name that sealing gives, or gives while it writes."""
    if name.startswith(".") and name.endswith(".tmp"):
        name = name[1:-4]
    return _OURS.fullmatch(name) is not None


def next_serial(manifest: Manifest) -> int:
    """The serial of the next segment's files."""
    # A checkpoint is of the segment after the one that it was made with, so its serial is one ahead.
    taken = [
        serial_of(file.path)
        for segment in manifest.segments
        for file in segment.files
        if file is not segment.checkpoint
    ]
    return max([*taken, len(manifest.segments) - 1], default=-1) + 1


def unused_serial(folder: Path, manifest: Manifest) -> int:
    """A serial from which on nothing in the folder has any, whatever put it there."""
    taken = [next_serial(manifest) - 1]
    for place in FILE_FOLDERS:
        base = folder / place
        if base.is_dir():
            taken += [serial_of(path.name.removeprefix(".")) for path in base.iterdir()]
    return max(taken) + 1


def checkpoint_name(number: int) -> str:
    """Path of a segment's checkpoint, below the recording."""
    return f"{CHECKPOINT_FOLDER}/{number:06d}.state"


def serial_of(path: str) -> int:
    """The serial in the name of a file; -1 if it has none."""
    stem = path.rpartition("/")[2].partition(".")[0]
    return int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 16 else -1
