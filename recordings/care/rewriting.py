"""
Replacing files of a recording by others, so that a reader at any instant finds all of the old or all of the new.

New files are made in `.rewrite/`, under names that nothing has had. When all are complete, the manifest in force and
then the new one are put there too: from then on the rewrite is carried through, by the next process that opens the
recording to write next if this process dies. The files take their places, the new manifest that of the old one, and
only then do files go: those that a manifest of the two names, and the one in force does not.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from recordings.format.file_names import files_of, unused_serial
from recordings.format.manifest import MANIFEST_NAME, Manifest, inside, read_manifest, write_manifest
from recordings.journal.journal_reader import journal_segments
from recordings.sealing.leftovers import drop_sealed_journals, drop_superseded_state
from recordings.storage.atomic_files import make_folder, sync_folder, temporary_path, write_atomically
from recordings.storage.crash_points import step
from toolkit.errors import NotARecording, RecordingDamaged, RecordingError

__all__ = ["Rewrite", "finish_rewrite", "is_rewrite_pending", "rewriting", "sealed_manifest"]

STAGING: Final = ".rewrite"
#: Below it, the manifest that was in force when the new one was made.
BEFORE: Final = ".before"


class Rewrite:
    """
    A rewrite under way.

    Attributes:
        folder: The recording.
        staging: Where new files are made, in folders of the same names.
        serial: The first that new files may have in their names; so may those that are counted on from it.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.staging = folder / STAGING
        self.serial = unused_serial(folder, manifest)

    def commit(self, manifest: Manifest) -> None:
        """All new files are complete: let them and the new manifest take the place of the old ones."""
        before = self.staging / BEFORE
        make_folder(before)
        write_atomically(before / MANIFEST_NAME, (self.folder / MANIFEST_NAME).read_bytes())
        write_manifest(self.staging, manifest)
        step("rewrite-committed")
        finish_rewrite(self.folder)


@contextmanager
def rewriting(folder: Path, manifest: Manifest) -> Iterator[Rewrite]:
    """
    A rewrite of a recording whose lock the caller holds.

    Until it is committed a failure leaves everything as it was. From then on it only goes forward: whatever interrupts
    it, the next one who opens the recording to write carries it through.

    Args:
        folder: The recording.
        manifest: Manifest as `sealed_manifest` gave it.
    """
    rewrite = Rewrite(folder, manifest)
    make_folder(rewrite.staging)
    try:
        yield rewrite
    finally:
        if not (rewrite.staging / MANIFEST_NAME).is_file():
            shutil.rmtree(rewrite.staging, ignore_errors=True)


def sealed_manifest(folder: Path) -> Manifest:
    """
    The manifest of a recording that is to be rewritten; an earlier rewrite is finished or dropped first.

    Raises:
        RecordingError: It was not sealed to its end.
    """
    finish_rewrite(folder)
    # Who was interrupted before a new manifest was in force has left nothing but this.
    temporary_path(folder / MANIFEST_NAME).unlink(missing_ok=True)
    manifest = read_manifest(folder)
    # What sealing left over is recognized by its number, which changes with those of the segments.
    drop_superseded_state(folder, manifest)
    drop_sealed_journals(folder, manifest)
    if manifest.status == "running" or journal_segments(folder):
        raise RecordingError(f"{folder} is not sealed: run `tickdeck recover {folder}` first")
    return manifest


def is_rewrite_pending(folder: Path) -> bool:
    """Whether a rewrite was interrupted, or is under way."""
    return (folder / STAGING).is_dir()


def finish_rewrite(folder: Path) -> bool:
    """
    Carry a committed rewrite through; an uncommitted one is dropped. The caller holds the recording's lock.

    Returns whether there was a committed one. Raises OSError; called again it goes on.
    """
    staging = folder / STAGING
    if not staging.is_dir():
        return False
    if not (staging / MANIFEST_NAME).is_file():
        _drop(staging)
        return False
    before = staging / BEFORE
    new, old = _readable(staging), _readable(before)
    if new is not None and old is None:
        return _finish_older(folder, new)
    if new is not None and _same(folder, before):
        _move_in(folder, new)
        write_atomically(folder / MANIFEST_NAME, (staging / MANIFEST_NAME).read_bytes())
        step("rewrite-manifest-written")
    # Else it was in force already, or somebody who did not know of the rewrite has gone on from the old one.
    kept = _paths(read_manifest(folder))
    made = _paths(new) if new is not None else kept
    gone = _paths(old) if old is not None else set()
    for path in sorted((gone | made) - kept if made <= kept else made - gone - kept):
        inside(folder, path).unlink(missing_ok=True)
    _drop(staging)
    return True


def _readable(folder: Path) -> Manifest | None:
    """
    The manifest in a folder, if it can be read: a rewrite whose own is damaged is dropped.

    Nothing has gone by then that the one in force names, and what it had moved into place `recover` sets aside.
    """
    try:
        return read_manifest(folder)
    except (NotARecording, RecordingDamaged):
        return None


def _same(folder: Path, other: Path) -> bool:
    return (folder / MANIFEST_NAME).read_bytes() == (other / MANIFEST_NAME).read_bytes()


def _paths(manifest: Manifest) -> set[str]:
    return {file.path for file in files_of(manifest)}


def _move_in(folder: Path, new: Manifest) -> None:
    """Move what was made to where the manifest that is not in force yet names it."""
    touched = set()
    for file in files_of(new):
        made = inside(folder / STAGING, file.path)
        if made.is_file():
            target = inside(folder, file.path)
            make_folder(target.parent)
            made.replace(target)
            touched.add(target.parent)
            step("rewrite-file-moved")
    for place in sorted(touched):
        sync_folder(place)


def _drop(staging: Path) -> None:
    # Without the manifest the rest is nothing, whatever becomes of it; with it the rest must be there.
    (staging / MANIFEST_NAME).unlink(missing_ok=True)
    shutil.rmtree(staging, ignore_errors=True)


def _finish_older(folder: Path, new: Manifest) -> bool:
    """
    Finish what tickdeck 0.1 began: its new files take names of old ones, so that there is only one way on.

    Raises RecordingDamaged where that version has recorded since.
    """
    old = read_manifest(folder)
    if old.status == "running" or _frames(old) != _frames(new):
        raise RecordingDamaged(
            f"{folder / STAGING} holds a rewrite that an earlier tickdeck left unfinished before it recorded on: "
            f"expected {_frames(old)[0]:,} frames, found {_frames(new)[0]:,}; keep the folder, and see `tickdeck verify`"
        )
    _move_in(folder, new)
    write_manifest(folder, new)
    for path in sorted(_paths(old) - _paths(new)):
        inside(folder, path).unlink(missing_ok=True)
    _drop(folder / STAGING)
    return True


def _frames(manifest: Manifest) -> tuple[int, int]:
    segments = manifest.segments
    return sum(segment.frame_count for segment in segments), segments[-1].capture_seq_last if segments else -1


def copy_of(manifest: Manifest) -> Manifest:
    """A manifest that may be changed without changing this one."""
    return msgspec.structs.replace(manifest, segments=list(manifest.segments), sources=list(manifest.sources))
