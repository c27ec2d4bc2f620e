"""
The state before a segment's first frame: protocols, books and digest, so that replay and recovery can start there.

A checkpoint is one file, `checkpoints/<segment>.msgpack`: MessagePack of `Checkpoint`. It is derived: without it a
segment is reached by playing from the start. States within a segment are in `recordings/seek_points.py`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from recordings.checking import read_checked
from recordings.file_names import CHECKPOINT_FOLDER
from recordings.files import file_hash, make_folder, write_atomically
from recordings.manifest import TableFile
from recordings.normalize import Normalizer
from toolkit.errors import RecordingDamaged
from toolkit.tracker import TrackerState

__all__ = [
    "CHECKPOINT_FOLDER",
    "Checkpoint",
    "checkpoint_name",
    "checkpoint_of",
    "decode_checkpoint",
    "encode_checkpoint",
    "load_checkpoint",
    "parse_checkpoint",
    "read_checkpoint",
    "restore_checkpoint",
    "write_checkpoint",
]


class Checkpoint(msgspec.Struct):
    """
    Everything that later messages, books and digests depend on.

    Attributes:
        protocols: `VenueProtocol.checkpoint` of each venue.
        tracker: The order books.
        digest: State of the digest chain.
        top: The last row of `top` per pair.
        conn_id_max: Highest connection number so far; -1 if there was none.
    """

    protocols: dict[str, bytes]
    tracker: TrackerState
    digest: bytes
    top: dict[str, tuple[float | None, float | None, float | None, float | None, bool]]
    conn_id_max: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


def checkpoint_name(number: int) -> str:
    """Path of a segment's checkpoint, below the recording."""
    return f"{CHECKPOINT_FOLDER}/{number:06d}.msgpack"


def checkpoint_of(normalizer: Normalizer) -> Checkpoint:
    """The normalizer's state, between two frames; it shares what the normalizer holds, so encode it at once."""
    normalizer.settle()
    return Checkpoint(
        {venue: protocol.checkpoint() for venue, protocol in normalizer.protocols.items()},
        normalizer.tracker.export(),
        normalizer.chain.digest(),
        normalizer.top.last,
        normalizer.conn_id_max,
    )


def encode_checkpoint(normalizer: Normalizer) -> bytes:
    """The normalizer's state as bytes."""
    return _encode(checkpoint_of(normalizer))


def parse_checkpoint(content: bytes) -> Checkpoint:
    """What `encode_checkpoint` gave. Raises RecordingDamaged if it is none."""
    try:
        return _decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise _damaged(str(exc)) from None


def restore_checkpoint(state: Checkpoint, normalizer: Normalizer) -> None:
    """
    Bring a fresh normalizer to that state.

    Raises RecordingDamaged, and leaves the normalizer unfit for use, if it is none of this version's.
    """
    try:
        for venue, protocol in normalizer.protocols.items():
            if venue in state.protocols:
                protocol.restore(state.protocols[venue])
        normalizer.tracker.restore(state.tracker)
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise _damaged(f"{type(exc).__name__}: {exc}") from None
    normalizer.chain.restart(state.digest)
    normalizer.top.last.clear()  # others hold it
    normalizer.top.last.update(state.top)
    normalizer.conn_id_max = state.conn_id_max


def decode_checkpoint(content: bytes, normalizer: Normalizer) -> None:
    """Bring a fresh normalizer to the state in a checkpoint. Raises RecordingDamaged if it is none."""
    restore_checkpoint(parse_checkpoint(content), normalizer)


def write_checkpoint(folder: Path, number: int, normalizer: Normalizer) -> TableFile:
    """Write the checkpoint before segment `number`."""
    path = folder / checkpoint_name(number)
    make_folder(path.parent)
    content = encode_checkpoint(normalizer)
    write_atomically(path, content)
    return TableFile(checkpoint_name(number), 0, len(content), file_hash(path))


def load_checkpoint(folder: Path, file: TableFile) -> Checkpoint:
    """The state before a segment. Raises RecordingDamaged for a file that is not the one that was written."""
    return parse_checkpoint(read_checked(folder, file))


def read_checkpoint(folder: Path, file: TableFile, normalizer: Normalizer) -> None:
    """Bring a fresh normalizer to the state before a segment."""
    restore_checkpoint(load_checkpoint(folder, file), normalizer)


def _damaged(why: str) -> RecordingDamaged:
    return RecordingDamaged(f"a checkpoint is damaged ({why}): expected the state before a segment")
