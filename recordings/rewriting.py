"""
Replacing files of a recording by others that say the same, so that a crash leaves the old ones or the new ones.

New files are made in `.rewrite/`. When all are complete, the new manifest is put there too: from then on the rewrite is
carried through, by whoever comes next if this process dies. Only then do old files go.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from recordings.files import sync_folder
from recordings.manifest import MANIFEST_NAME, Manifest, TableFile, inside, read_manifest, write_manifest
from recordings.steps import step

__all__ = ["Rewrite", "finish_rewrite", "rewriting"]

STAGING: Final = ".rewrite"


class Rewrite:
    """
    A rewrite under way.

    Attributes:
        folder: The recording.
        staging: Where new files are made, in folders of the same names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.staging = folder / STAGING
        self._is_committed = False

    def commit(self, manifest: Manifest) -> None:
        """All new files are complete: put them in the place of the old ones."""
        write_manifest(self.staging, manifest)
        step("rewrite-committed")
        self._is_committed = True
        finish_rewrite(self.folder)


@contextmanager
def rewriting(folder: Path) -> Iterator[Rewrite]:
    """A rewrite of a recording whose lock the caller holds; if the block fails, nothing has changed."""
    finish_rewrite(folder)
    rewrite = Rewrite(folder)
    shutil.rmtree(rewrite.staging, ignore_errors=True)
    rewrite.staging.mkdir()
    try:
        yield rewrite
    finally:
        shutil.rmtree(rewrite.staging, ignore_errors=True)


def finish_rewrite(folder: Path) -> bool:
    """Carry a committed rewrite through; an uncommitted one is dropped. Whether there was a committed one."""
    staging = folder / STAGING
    if not (staging / MANIFEST_NAME).is_file():
        shutil.rmtree(staging, ignore_errors=True)
        return False
    old, new = read_manifest(folder), read_manifest(staging)
    for file in _files(new):
        made = inside(staging, file.path)
        if made.is_file():
            target = inside(folder, file.path)
            target.parent.mkdir(exist_ok=True)
            made.replace(target)
            step("rewrite-file-moved")
            sync_folder(target.parent)
    write_manifest(folder, new)
    step("rewrite-manifest-written")
    kept = {file.path for file in _files(new)}
    for file in _files(old):
        if file.path not in kept:
            inside(folder, file.path).unlink(missing_ok=True)
    _remove_unnamed(folder, kept)
    shutil.rmtree(staging, ignore_errors=True)
    return True


def _remove_unnamed(folder: Path, kept: set[str]) -> None:
    """Remove what an earlier, interrupted call had already taken out of the manifest: files of tables with no entry."""
    for table in {name.partition("/")[0] for name in kept}:
        for path in (folder / table).glob("[0-9]*"):
            if path.relative_to(folder).as_posix() not in kept:
                path.unlink()


def _files(manifest: Manifest) -> list[TableFile]:
    files = [file for segment in manifest.segments for file in segment.files]
    return files if manifest.resume is None else [*files, manifest.resume]


def copy_of(manifest: Manifest) -> Manifest:
    """A manifest that may be changed without changing this one."""
    return msgspec.structs.replace(manifest, segments=list(manifest.segments), sources=list(manifest.sources))
