"""What an interrupted writer leaves in a recording beside what the manifest names."""

from __future__ import annotations

import contextlib
from pathlib import Path

from recordings.format.file_names import CHECKPOINT_FOLDER, FILE_FOLDERS, files_of, is_ours, serial_of
from recordings.format.manifest import MANIFEST_NAME, Manifest, TableFile, inside
from recordings.journal.journal_reader import JOURNAL_FOLDER, JournalReader, journal_path, journal_segments
from recordings.storage.atomic_files import file_hash, sync_folder, temporary_path
from recordings.storage.crash_points import step
from recordings.storage.set_aside import keep_aside, move_aside
from toolkit.errors import RecordingDamaged

__all__ = ["drop_sealed_journals", "drop_superseded_state", "set_aside_files", "set_aside_unread", "take_back"]


def set_aside_files(folder: Path, manifest: Manifest) -> list[str]:
    """
    Move away files of segments that the manifest does not name, whole or half-written: they are made again.

    Files with other names than sealing gives are somebody's own, and stay. So does one whose content the manifest vouches
    for under another name: it is what a reader misses there.

    Returns where they are now, below the recording.
    """
    drop_superseded_state(folder, manifest)
    known = {file.path for file in files_of(manifest)}
    found = [temporary_path(folder / MANIFEST_NAME)]
    for place in FILE_FOLDERS:
        base = folder / place
        paths = sorted(base.iterdir()) if base.is_dir() else ()
        found += [path for path in paths if is_ours(path.name) and f"{place}/{path.name}" not in known]
    hashes = _missed(folder, manifest)
    return [move_aside(folder, path) for path in found if path.is_file() and not _is_vouched_for(path, hashes)]


def drop_superseded_state(folder: Path, manifest: Manifest) -> None:
    """Remove the state before the last segment, if sealing that was to remove it and did not come to it."""
    if manifest.resume is None or not manifest.segments or manifest.segments[-1].checkpoint is not None:
        return
    names = {file.path for file in files_of(manifest)}
    # The number before that of the state in force, but for segments that were joined: their state is an older one's.
    older = {
        serial_of(path.name): path
        for path in (folder / CHECKPOINT_FOLDER).glob("*.state")
        if is_ours(path.name) and f"{CHECKPOINT_FOLDER}/{path.name}" not in names and path.is_file()
    }
    last = max((serial for serial in older if serial < serial_of(manifest.resume.path)), default=None)
    if last is not None and not _is_vouched_for(older[last], _missed(folder, manifest)):
        older[last].unlink()


def _missed(folder: Path, manifest: Manifest) -> set[tuple[int, str]]:
    """Size and hash of the files that a manifest names and that are not there."""
    return {(file.bytes, file.blake2b) for file in files_of(manifest) if not _is_there(folder, file)}


def _is_there(folder: Path, file: TableFile) -> bool:
    with contextlib.suppress(RecordingDamaged):
        return inside(folder, file.path).is_file()
    return False  # a path that is none


def _is_vouched_for(path: Path, hashes: set[tuple[int, str]]) -> bool:
    """Whether a file is one that the manifest names under another path, where none is."""
    size = path.stat().st_size
    return any(each == size for each, _ in hashes) and (size, file_hash(path)) in hashes


def drop_sealed_journals(folder: Path, manifest: Manifest) -> list[str]:
    """
    Remove journals that sealing had come to all but remove: their frames are in segments of the manifest.

    Returns what was set aside of them, below the recording.
    """
    kept: list[str] = []
    for number in journal_segments(folder):
        if number >= len(manifest.segments):
            continue
        path = journal_path(folder, number)
        reader = JournalReader(path)
        last_seq = -1
        for batch in reader.batches():
            last_seq = max(last_seq, batch.column("capture_seq")[-1].as_py() if len(batch) else -1)
        if last_seq > manifest.segments[-1].capture_seq_last:
            kept.append(move_aside(folder, path))  # of another history than the manifest's
            continue
        kept += set_aside_unread(folder, reader)
        path.unlink()
        sync_folder(path.parent)
        step("journal-removed")
    return kept


def set_aside_unread(folder: Path, reader: JournalReader) -> list[str]:
    """
    Set aside a copy of what could not be read of a journal, which itself goes when it is sealed.

    Returns where it is, below the recording; nothing where that has been done before.
    """
    kept = []
    for begin, end in reader.unread:
        with reader.path.open("rb") as journal:
            journal.seek(begin)
            content = journal.read(end - begin)
        kept.append(keep_aside(folder, f"{JOURNAL_FOLDER}-{reader.path.stem}-from-{begin}.tail", content))
    return kept


def take_back(folder: Path) -> None:
    """
    Remove what was made of a recording that never began, but for its folder and the lock in it.

    What anybody else has put there stays.
    """
    paths = [journal_path(folder, number) for number in journal_segments(folder)]
    for place in FILE_FOLDERS:
        with contextlib.suppress(OSError):
            paths += [path for path in (folder / place).iterdir() if is_ours(path.name)]
    paths += [temporary_path(folder / MANIFEST_NAME), folder / MANIFEST_NAME]
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
    for place in (*FILE_FOLDERS, JOURNAL_FOLDER):
        with contextlib.suppress(OSError):
            (folder / place).rmdir()
