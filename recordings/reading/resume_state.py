"""
The state from which a recording goes on: kept in a file, or made again where that is damaged.

States are derived: a recording needs none of them, as long as it has the raw frames after one that is sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recordings.format.file_names import next_serial
from recordings.format.manifest import MANIFEST_NAME, Manifest, TableFile, inside
from recordings.reading.raw_frames import sealed_frames
from recordings.states.checkpoints import (
    Checkpoint,
    checkpoint_name,
    encode_checkpoint,
    load_checkpoint,
    parse_checkpoint,
    restore_checkpoint,
)
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import file_hash, make_folder, write_atomically
from recordings.storage.set_aside import move_aside
from toolkit.errors import RecordingDamaged, RecordingError
from toolkit.gc_tuning import rare_collections

__all__ = ["resume_at_end", "write_resume"]


def resume_at_end(folder: Path, manifest: Manifest, normalizer: Normalizer) -> bool:
    """
    Bring a fresh normalizer to the state after the last sealed segment; whether that had to be made again.

    Where the file that holds it is damaged, missing, or of a version that this one cannot read, the state is made again:
    from that before a segment and the raw frames since, or from all raw frames.

    Raises:
        RecordingDamaged: None of the states can be used, and raw frames that it would take are damaged or were pruned.
    """
    if not manifest.segments:
        return False
    why = ""
    for file, place in _states(manifest):
        try:
            state = _played(folder, manifest, file, place)
        except RecordingError as exc:
            why = why or str(exc)
            continue
        restore_checkpoint(state, normalizer)
        # Where the protocol is newer than the recording, the chain goes on from what was said, not from what would be.
        normalizer.chain.restart(_digest_of(folder, manifest))
        return file is not manifest.resume
    raise RecordingDamaged(
        f"{folder} holds no state to go on from, and not the raw frames to make one ({why}): record into another folder"
    )


def write_resume(folder: Path, manifest: Manifest, normalizer: Normalizer) -> TableFile:
    """Put the state that was made again into the place of the damaged file, which is set aside."""
    name = manifest.resume.path if manifest.resume is not None else checkpoint_name(next_serial(manifest))
    path = inside(folder, name)
    if path.exists():
        move_aside(folder, path)
    make_folder(path.parent)
    content = encode_checkpoint(normalizer)
    write_atomically(path, content)
    return TableFile(name, 0, len(content), file_hash(path))


def _digest_of(folder: Path, manifest: Manifest) -> bytes:
    try:
        return bytes.fromhex(manifest.digest)
    except ValueError:
        raise RecordingDamaged(
            f"{folder / MANIFEST_NAME} says digest {manifest.digest!r}, expected 32 digits"
        ) from None


def _states(manifest: Manifest) -> Iterator[tuple[TableFile | None, int]]:
    """Files of states, and the segment that each is before, the latest first; at last the beginning."""
    if manifest.resume is not None:
        yield manifest.resume, len(manifest.segments)
    for segment in reversed(manifest.segments):
        if segment.checkpoint is not None and segment.number:
            yield segment.checkpoint, segment.number
    yield None, 0


def _played(folder: Path, manifest: Manifest, file: TableFile | None, place: int) -> Checkpoint:
    """The state at the end, from one before a segment. Raises RecordingError where it, or a frame since, is damaged."""
    state = load_checkpoint(folder, file) if file is not None else None
    normalizer = Normalizer.for_sources(manifest.sources)
    if state is not None:
        restore_checkpoint(state, normalizer)
    if state is not None and place == len(manifest.segments):
        if state.digest.hex() != manifest.digest:
            raise RecordingDamaged(f"{folder / file.path if file else folder}: it is the state of other messages")
        return state
    with rare_collections():
        for batch in sealed_frames(folder, manifest.segments[place:]):
            for frame in batch:
                for message in normalizer.messages(frame):
                    normalizer.take(message)
    return parse_checkpoint(encode_checkpoint(normalizer))
