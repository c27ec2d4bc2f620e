"""
States within a segment, so that a seek into a long one does not play all of it.

`checkpoints/<segment>.points` holds the states of one segment, each one packed by itself
(`recordings/states/state_packing.py`); after them an index, MessagePack of `_Index`, and at the end 24 bytes: the
index's length as little-endian uint64 and its BLAKE2b-128. So a reader takes the end of the file and the one state it
wants. Each state carries its hash in the index, and the index says which segment it is of: what does not agree is not
used.

The file is derived and private to the version that wrote it. Without it, or with a damaged one, a seek takes longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recordings.format.manifest import Segment, TableFile, inside
from recordings.states.checkpoints import CHECKPOINT_FOLDER, Checkpoint, checkpoint_of, load_checkpoint
from recordings.states.normalizer import Normalizer
from recordings.states.state_packing import pack_state, state_weight, unpack_state
from recordings.storage.atomic_files import file_hash, make_folder, write_atomically
from recordings.storage.sealed_files import LocalFile
from toolkit.errors import RecordingDamaged

__all__ = [
    "POINT_BYTES",
    "POINT_FRAMES",
    "PointCollector",
    "PointFile",
    "SeekPoint",
    "is_worth_keeping",
    "joined_points",
    "open_points",
    "points_name",
]

#: A state is kept after so many frames or payload bytes, whichever comes first: a fifth of a second of playing.
POINT_FRAMES: Final = 16_384
POINT_BYTES: Final = 8 << 20
#: Payload bytes since the last state, or the beginning of the segment, per byte of it on disk, at least: of a market of
#: very many books fewer are kept. So all states are some 3 % of the tables.
PAYLOAD_PER_BYTE: Final = 160
#: To see whether a state is worth keeping it is made, which takes a second of hundreds of instruments without a snapshot.
#: It is not made while one that has become this much smaller since would be no use, nor for as much payload again.
SHRINKS: Final = 2
#: Raised when the content of a state changes; a file of another version is not used.
_VERSION: Final = 2
_HASH_BYTES: Final = 16
_TAIL_BYTES: Final = 8 + _HASH_BYTES
_NEVER: Final = 1 << 62


class SeekPoint(msgspec.Struct, array_like=True, frozen=True):
    """
    Where a state is, and the moment that it is of.

    Attributes:
        capture_seq: The first frame that is not in it.
        ts_recv_max: Latest receive time of the segment's frames before that one, ns.
        offset: Offset of its bytes in the file.
        length: How many.
        size: How many they are uncompressed.
        blake2b: BLAKE2b-128 of the compressed bytes.
    """

    capture_seq: int
    ts_recv_max: int
    offset: int
    length: int
    size: int
    blake2b: bytes


class _Index(msgspec.Struct, array_like=True):
    version: int
    digest_start: str
    capture_seq_first: int
    points: list[SeekPoint]


_encode = msgspec.msgpack.Encoder().encode
_decode_index = msgspec.msgpack.Decoder(_Index).decode


def points_name(number: int) -> str:
    """Path of a segment's states, below the recording."""
    return f"{CHECKPOINT_FOLDER}/{number:06d}.points"


def is_worth_keeping(payload_bytes: int, state_bytes: int) -> bool:
    """Whether a state of so many bytes is to be kept after so much payload since the last one."""
    return payload_bytes >= PAYLOAD_PER_BYTE * state_bytes


class PointCollector:
    """
    Takes the states of one segment while it is made.

    Args:
        weight: Bytes of the last state that was made, in an earlier segment; 0 if that is not known. None is made before
            one that has become `SHRINKS` times as small would be worth keeping.

    Attributes:
        due_frames: Number of frames of the segment from which on `take` is to be called before the next one.
        due_bytes: Number of payload bytes from which on it is to be called.
        weight: Bytes of the last state that was made, kept or not.
    """

    def __init__(self, weight: int = 0) -> None:
        self.due_frames = POINT_FRAMES
        self.due_bytes = POINT_BYTES
        self.weight = weight
        needed = PAYLOAD_PER_BYTE * (weight // SHRINKS)
        if needed > POINT_BYTES:
            self.due_frames, self.due_bytes = _NEVER, needed
        self._content: list[bytes] = []
        self._points: list[SeekPoint] = []
        self._offset = 0
        self._kept_bytes = 0

    def count_until_due(self, batch: pa.RecordBatch, frame_count: int, payload_bytes: int) -> int:
        """How many of the next frames, rows of the `raw` table, to add before it may be time again; one at least."""
        count = min(len(batch), self.due_frames - frame_count)
        if payload_bytes + batch.nbytes >= self.due_bytes:
            lengths = 0
            for name in ("payload", "payload_bytes"):
                lengths = lengths + pc.fill_null(pc.binary_length(batch.column(name)), 0).to_numpy()
            count = min(count, int(np.searchsorted(np.cumsum(lengths), self.due_bytes - payload_bytes)) + 1)
        return max(count, 1)

    def take(
        self, normalizer: Normalizer, capture_seq: int, ts_recv_max: int, frame_count: int, payload_bytes: int
    ) -> None:
        """
        Keep the state before frame `capture_seq`, unless it is too large to follow the last one so soon.

        Args:
            normalizer: Between two frames.
            capture_seq: The next frame.
            ts_recv_max: Latest receive time of the segment so far, ns.
            frame_count: Frames of the segment so far.
            payload_bytes: Their payloads.
        """
        packed = pack_state(checkpoint_of(normalizer))
        weight = self.weight = state_weight(len(packed[0]), packed[1])
        if not is_worth_keeping(payload_bytes - self._kept_bytes, weight):
            self.due_frames = _NEVER
            self.due_bytes = self._kept_bytes + PAYLOAD_PER_BYTE * weight
            return
        self.add(packed, capture_seq, ts_recv_max)
        self._kept_bytes = payload_bytes
        self.due_frames = frame_count + POINT_FRAMES
        self.due_bytes = payload_bytes + POINT_BYTES

    def add(self, packed: tuple[bytes, int], capture_seq: int, ts_recv_max: int) -> None:
        """Add a state as it will be in the file, and its size unpacked."""
        content, size = packed
        digest = blake2b(content, digest_size=_HASH_BYTES).digest()
        self._points.append(SeekPoint(capture_seq, ts_recv_max, self._offset, len(content), size, digest))
        self._content.append(content)
        self._offset += len(content)

    def write(self, folder: Path, number: int, digest_start: str, capture_seq_first: int) -> TableFile | None:
        """Write the file of the segment; None, and no file, if there is no state."""
        if not self._points:
            return None
        index = _encode(_Index(_VERSION, digest_start, capture_seq_first, self._points))
        tail = len(index).to_bytes(8, "little") + blake2b(index, digest_size=_HASH_BYTES).digest()
        name = points_name(number)
        path = folder / name
        make_folder(path.parent)
        write_atomically(path, b"".join([*self._content, index, tail]))
        return TableFile(name, len(self._points), path.stat().st_size, file_hash(path))


class PointFile:
    """
    The states of a sealed segment, opened by `open_points`.

    Attributes:
        path: The file.
        points: Points in order.
    """

    def __init__(self, path: Path, points: list[SeekPoint]) -> None:
        self.path = path
        self.points = points

    def read(self, point: SeekPoint) -> Checkpoint:
        """One state. Raises RecordingDamaged."""
        content, size = self.packed(point)
        try:
            return unpack_state(content, size)
        except RecordingDamaged as exc:
            raise _damaged(self.path, str(exc)) from None

    def packed(self, point: SeekPoint) -> tuple[bytes, int]:
        """One state as it is in the file, and its size unpacked. Raises RecordingDamaged."""
        content = _read(self.path, point.offset, point.length)
        if blake2b(content, digest_size=_HASH_BYTES).digest() != point.blake2b:
            raise _damaged(self.path, f"the state before frame {point.capture_seq} has another hash")
        return content, point.size


def open_points(folder: Path, segment: Segment) -> PointFile | None:
    """
    The states within a segment; None if it has none that this version can use.

    Raises RecordingDamaged for a file that is missing, damaged, or of another segment.
    """
    file = segment.seek_points
    if file is None:
        return None
    path = inside(folder, file.path)
    try:
        with LocalFile(path) as opened:
            size = opened.state().size
    except OSError as exc:
        raise _damaged(path, exc.strerror or "it cannot be read") from None
    if size < _TAIL_BYTES:
        raise _damaged(path, f"it has {size} bytes")
    tail = _read(path, size - _TAIL_BYTES, _TAIL_BYTES)
    length = int.from_bytes(tail[:8], "little")
    if length > size - _TAIL_BYTES:
        raise _damaged(path, "its index is longer than the file")
    content = _read(path, size - _TAIL_BYTES - length, length)
    if blake2b(content, digest_size=_HASH_BYTES).digest() != tail[8:]:
        raise _damaged(path, "its index has another hash")
    try:
        version = msgspec.msgpack.decode(content)[0]
        if version != _VERSION:
            return None
        index = _decode_index(content)
    except (msgspec.DecodeError, LookupError, TypeError) as exc:
        raise _damaged(path, str(exc)) from None
    if (index.digest_start, index.capture_seq_first) != (segment.digest_start, segment.capture_seq_first):
        raise _damaged(path, f"it is of another segment than {segment.number}")
    return PointFile(path, index.points)


def joined_points(folder: Path, group: Sequence[Segment], target: Path, number: int) -> TableFile | None:
    """
    The states of segments that are joined to one: those within them, and those between them where they are not close.

    Args:
        folder: The recording.
        group: Its segments that are joined, in order.
        target: Where the file is made.
        number: Number in the name of the file.
    """
    points = PointCollector()
    latest = -1
    kept_seq = group[0].capture_seq_first
    for segment in group:
        is_far = segment.capture_seq_first - kept_seq >= POINT_FRAMES // 2
        if segment is not group[0] and segment.checkpoint is not None and is_far:
            with suppress(RecordingDamaged):
                points.add(pack_state(load_checkpoint(folder, segment.checkpoint)), segment.capture_seq_first, latest)
                kept_seq = segment.capture_seq_first
        with suppress(RecordingDamaged):
            if (file := open_points(folder, segment)) is not None:
                for point in file.points:
                    points.add(file.packed(point), point.capture_seq, max(latest, point.ts_recv_max))
                    kept_seq = point.capture_seq
        latest = max(latest, segment.ts_recv_last)
    return points.write(target, number, group[0].digest_start, group[0].capture_seq_first)


def _read(path: Path, offset: int, length: int) -> bytes:
    try:
        with LocalFile(path) as opened:
            content = opened.read(offset, length)
    except OSError as exc:
        raise _damaged(path, exc.strerror or "it cannot be read") from None
    if len(content) != length:
        raise _damaged(path, f"{len(content)} bytes at {offset}, expected {length}")
    return content


def _damaged(path: Path, why: str) -> RecordingDamaged:
    return RecordingDamaged(f"{path} cannot be used ({why}): expected the states within a segment")
