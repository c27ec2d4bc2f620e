"""What code that removes or replaces files may read of a recording: files that have their manifest's hash."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recordings.checking import file_problem
from recordings.format.manifest import TableFile, inside
from toolkit.errors import RecordingDamaged

__all__ = ["vouched"]


def vouched(folder: Path, files: Iterable[TableFile]) -> list[Path]:
    """
    Paths of files whose content has the hash that the manifest gives.

    Raises:
        RecordingDamaged: One is missing, or is another than was sealed.
    """
    paths = []
    for file in files:
        if problem := file_problem(folder, file):
            raise RecordingDamaged(
                f"{inside(folder, file.path)} {problem}; nothing was changed, since that would hide it: put a sound copy "
                "in its place, and see `tickdeck verify`"
            )
        paths.append(inside(folder, file.path))
    return paths
