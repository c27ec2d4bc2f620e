"""
The journal: where a frame goes before anybody else sees it.

One Arrow IPC stream per open segment, `journal/<segment>.arrows`, in the schema of `raw`. Each batch carries a
CRC-32 of its values and its number. A reader takes whole batches in order and stops at the first that is torn,
corrupt or out of order; it says how many bytes it left.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recordings.files import sync_folder
from recordings.rows import frames
from recordings.schema import RAW_TABLE, TABLES
from recordings.tables import frames_to_batch
from toolkit.errors import RecordingDamaged
from toolkit.frames import Frame

__all__ = ["FLUSH_BYTES", "JOURNAL_FOLDER", "JournalReader", "JournalWriter", "journal_path", "journal_segments"]

JOURNAL_FOLDER: Final = "journal"
#: A batch is written at this many payload bytes even before its time.
FLUSH_BYTES: Final = 1 << 20


def journal_path(folder: Path, segment: int) -> Path:
    """The journal of a segment."""
    return folder / JOURNAL_FOLDER / f"{segment:06d}.arrows"


def journal_segments(folder: Path) -> list[int]:
    """Numbers of the segments that have a journal, in order."""
    return sorted(int(path.stem) for path in (folder / JOURNAL_FOLDER).glob("*.arrows") if path.stem.isdigit())


def batch_checksum(batch: pa.RecordBatch) -> int:
    """CRC-32 over the values of a batch, column by column; independent of how Arrow lays them out."""
    crc = 0
    for column in batch.columns:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind):
            if column.null_count == len(column):
                crc = zlib.crc32(b"null", crc)
                continue
            offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
            lengths = np.diff(offsets)
            if column.null_count:
                lengths = np.where(column.is_valid().to_numpy(zero_copy_only=False), lengths, -1).astype(np.int32)
            crc = zlib.crc32(lengths.tobytes(), crc)
            data = column.buffers()[2]
            if data is not None:
                crc = zlib.crc32(memoryview(data)[int(offsets[0]) : int(offsets[-1])], crc)
        else:
            values = column.cast(pa.int64()) if pa.types.is_timestamp(kind) else column
            crc = zlib.crc32(np.ascontiguousarray(values.to_numpy()).tobytes(), crc)
    return crc


class _Collector:
    """A sink for Arrow that keeps what is written until it is asked for, so that a batch reaches the file in one piece."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing to do: `take` empties it."""

    def close(self) -> None:
        """Nothing to close."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        return content


class JournalWriter:
    """
    Writes frames to the journal of one segment.

    `append` only keeps a frame until `flush`, or until `FLUSH_BYTES` of them have come; `sync` makes what was flushed
    survive a power cut. Raises OSError when the disk refuses; nothing that was flushed before is lost by that.

    Attributes:
        frame_count: Frames appended.
        flushed_count: Frames that are in the file.
        byte_count: Size of the file.
    """

    def __init__(self, folder: Path, segment: int, *, flush_bytes: int = FLUSH_BYTES) -> None:
        self.path = journal_path(folder, segment)
        self.path.parent.mkdir(exist_ok=True)
        self._flush_bytes = flush_bytes
        self._pending: list[Frame] = []
        self._pending_bytes = 0
        self._batch_number = 0
        self.frame_count = 0
        self.flushed_count = 0
        self.byte_count = 0
        self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        sync_folder(self.path.parent)
        self._collector = _Collector()
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._collector, mode="w"), TABLES[RAW_TABLE])
        self._is_closed = False
        self._write(self._collector.take())

    @property
    def pending_count(self) -> int:
        """Frames that a crash would lose now."""
        return len(self._pending)

    def append(self, frame: Frame) -> None:
        """Take a frame down."""
        self._pending.append(frame)
        self._pending_bytes += len(frame.payload)
        self.frame_count += 1
        if self._pending_bytes >= self._flush_bytes:
            self.flush()

    def flush(self) -> None:
        """Hand everything pending to the operating system, as one batch."""
        if not self._pending:
            return
        batch = frames_to_batch(self._pending)
        metadata = {b"crc32": b"%d" % batch_checksum(batch), b"batch": b"%d" % self._batch_number}
        self._stream.write_batch(batch, custom_metadata=metadata)
        self._write(self._collector.take())
        self._batch_number += 1
        self.flushed_count += len(self._pending)
        self._pending.clear()
        self._pending_bytes = 0

    def sync(self) -> None:
        """Make what was flushed survive a power cut. May take long; safe to call in another thread."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Flush, end the stream and sync it. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.flush()
            self._stream.close()
            self._write(self._collector.take())
            self.sync()
        finally:
            os.close(self._handle)

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            written = os.write(self._handle, view)
            view = view[written:]
            self.byte_count += written


class JournalReader:
    """
    Reads a journal, however it ended. Iterate `batches` or `frames` once; the attributes are complete after it.

    Attributes:
        good_bytes: Size of the part that was read.
        left_bytes: Bytes after it: torn or corrupt.
        problem: What is wrong with them; empty if nothing.
        frame_count: Frames read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.good_bytes = 0
        self.left_bytes = 0
        self.problem = ""
        self.frame_count = 0

    def frames(self) -> Iterator[list[Frame]]:
        """Frames, a batch at a time."""
        for batch in self.batches():
            yield frames(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Whole and sound batches, in order."""
        try:
            size = self.path.stat().st_size
            file = self.path.open("rb")
        except OSError as exc:
            raise RecordingDamaged(f"{self.path} cannot be read: {exc.strerror}") from None
        with file:
            yield from self._sound(file)
        self.left_bytes = size - self.good_bytes

    def _sound(self, file: Any) -> Iterator[pa.RecordBatch]:
        number = 0
        try:
            stream = pa.ipc.open_stream(file)
            self.good_bytes = file.tell()
        except (pa.ArrowException, OSError) as exc:
            self.problem = f"no stream begins in it ({_first_line(exc)})"
            return
        while True:
            try:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                if batch is None:
                    return
                batch.validate(full=True)
                problem = _problem(batch, dict(metadata or {}), number)
            except StopIteration:
                self.good_bytes = file.tell()
                return
            except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as exc:
                problem = f"batch {number} is torn ({_first_line(exc)})"
            if problem:
                self.problem = problem
                return
            self.good_bytes = file.tell()
            number += 1
            self.frame_count += batch.num_rows
            yield batch


def _problem(batch: pa.RecordBatch, metadata: dict[bytes, bytes], number: int) -> str:
    if metadata.get(b"batch") != b"%d" % number:
        return f"batch {number} is numbered {metadata.get(b'batch', b'?').decode('ascii', 'replace')}"
    if metadata.get(b"crc32") != b"%d" % batch_checksum(batch):
        return f"batch {number} does not have the checksum it was written with"
    return ""


def _first_line(exc: BaseException) -> str:
    return str(exc).partition("\n")[0] or type(exc).__name__
