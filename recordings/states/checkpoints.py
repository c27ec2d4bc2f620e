"""
The state before a segment's first frame: protocols, books and digest, so that replay and recovery can start there.

A checkpoint is one file, `checkpoints/<segment>.state`, packed as `recordings/states/state_packing.py` has it. It is derived:
without it a segment is reached by playing from the start. So only the last one is always there: those before earlier
segments are kept where enough lies between them that they weigh little. States within a segment are in
`recordings/states/seek_points.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from recordings.checking import read_checked
from recordings.format.file_names import CHECKPOINT_FOLDER, checkpoint_name
from recordings.format.manifest import Segment, TableFile
from recordings.states.normalizer import Normalizer
from recordings.states.state_packing import Checkpoint, pack_state, state_weight, unpack_state
from recordings.storage.atomic_files import file_hash, make_folder, write_atomically
from toolkit.books.tracker import OrderBookTracker, TrackerState
from toolkit.errors import RecordingDamaged

__all__ = [
    "CHECKPOINT_FOLDER",
    "Checkpoint",
    "checkpoint_name",
    "checkpoint_of",
    "decode_checkpoint",
    "encode_checkpoint",
    "is_state_of",
    "is_worth_keeping",
    "load_checkpoint",
    "parse_checkpoint",
    "read_checkpoint",
    "restore_checkpoint",
    "weight_of",
    "write_checkpoint",
    "write_content",
    "write_if",
]


#: Begins a packed state; after it how many bytes it has unpacked, as little-endian uint64. Earlier versions wrote plain
#: MessagePack of `Checkpoint`.
_MAGIC: Final = b"TDST"
_SIZE_BYTES: Final = 8

#: Bytes of tables since the last state that is kept, per byte of one before a later segment, at least: so these are less
#: than 2 % of the tables. For as long as it takes to play so much, a seek or a damaged last state takes longer.
TABLES_PER_BYTE: Final = 64

_decode = msgspec.msgpack.Decoder(Checkpoint).decode


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
    content, size = pack_state(checkpoint_of(normalizer))
    return _MAGIC + size.to_bytes(_SIZE_BYTES, "little") + content


def parse_checkpoint(content: bytes) -> Checkpoint:
    """What `encode_checkpoint` gave. Raises RecordingDamaged if it is none."""
    if content.startswith(_MAGIC):
        begin = len(_MAGIC) + _SIZE_BYTES
        try:
            return unpack_state(content[begin:], int.from_bytes(content[len(_MAGIC) : begin], "little"))
        except RecordingDamaged as exc:
            raise _damaged(str(exc)) from None
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
    return _written(folder, number, encode_checkpoint(normalizer))


def write_if(is_worth: Callable[[int], bool], folder: Path, number: int, normalizer: Normalizer) -> TableFile | None:
    """The same, unless a state of so many bytes is not worth keeping."""
    content = encode_checkpoint(normalizer)
    return _written(folder, number, content) if is_worth(len(content)) else None


def write_content(folder: Path, number: int, content: bytes) -> TableFile:
    """The same, of what `encode_checkpoint` gave."""
    return _written(folder, number, content)


def weight_of(content: bytes) -> int:
    """Bytes that it counts for, as `state_weight` has it."""
    begin = len(_MAGIC) + _SIZE_BYTES
    return state_weight(len(content) - begin, int.from_bytes(content[len(_MAGIC) : begin], "little"))


def _written(folder: Path, number: int, content: bytes) -> TableFile:
    path = folder / checkpoint_name(number)
    make_folder(path.parent)
    write_atomically(path, content)
    return TableFile(checkpoint_name(number), 0, len(content), file_hash(path))


def is_worth_keeping(before: Sequence[Segment], state_bytes: int) -> bool:
    """Whether a state after these segments, of so many bytes, is to be kept although there is a later one."""
    since = 0
    for segment in reversed(before):
        since += sum(file.bytes for file in segment.tables.values())
        if segment.checkpoint is not None:
            break
    return since >= TABLES_PER_BYTE * state_bytes


def is_state_of(kept: TrackerState, tracker: OrderBookTracker) -> bool:
    """
    Whether a tracker's books are those of a state.

    Earlier versions kept the newest 256 messages of each book, whether anything could come of them or not, and counted
    none: of their states it is compared what would be kept of these today.
    """
    now = tracker.export()
    if kept == now:
        return True
    if any(pair.fusion.count for pair in kept.pairs):
        return False
    again = OrderBookTracker(checked=True)
    again.restore(kept)
    before = again.export()
    if len(before.pairs) != len(now.pairs):
        return False
    for old, new in zip(before.pairs, now.pairs, strict=True):
        recent = new.fusion.recent[max(len(new.fusion.recent) - len(old.fusion.recent), 0) :]
        new.fusion = msgspec.structs.replace(new.fusion, count=0, recent=recent, given_up_key=old.fusion.given_up_key)
    return before == now


def load_checkpoint(folder: Path, file: TableFile) -> Checkpoint:
    """The state before a segment. Raises RecordingDamaged for a file that is not the one that was written."""
    return parse_checkpoint(read_checked(folder, file))


def read_checkpoint(folder: Path, file: TableFile, normalizer: Normalizer) -> None:
    """Bring a fresh normalizer to the state before a segment."""
    restore_checkpoint(load_checkpoint(folder, file), normalizer)


def _damaged(why: str) -> RecordingDamaged:
    return RecordingDamaged(f"a checkpoint is damaged ({why}): expected the state before a segment")
