"""What may be read of a recording by whoever removes or replaces what was read: files that have their manifest's hash."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recordings.files import file_hash
from recordings.manifest import TableFile, inside
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
        path = inside(folder, file.path)
        try:
            size, digest = path.stat().st_size, file_hash(path)
        except FileNotFoundError:
            raise _damaged(path, "it is missing") from None
        except OSError as exc:
            raise _damaged(path, f"it cannot be read: {exc.strerror}") from None
        if size != file.bytes:
            raise _damaged(path, f"it has {size:,} bytes, expected {file.bytes:,}")
        if digest != file.blake2b:
            raise _damaged(path, "its BLAKE2b hash is not that of the manifest")
        paths.append(path)
    return paths


def _damaged(path: Path, why: str) -> RecordingDamaged:
    return RecordingDamaged(
        f"{path} is not the file that was sealed ({why}): nothing was changed, since that would hide it; "
        "put a sound copy in its place, and see `tickdeck verify`"
    )
