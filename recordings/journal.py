"""
The journal: where a frame goes before anybody else sees it.

One Arrow IPC stream per open segment, `journal/<segment>.arrows`, in the schema of `raw`. Each batch carries a
CRC-32 of its values and its number. A reader takes whole batches in order and stops at the first that is torn,
corrupt or out of order; it says how many bytes it left.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa

from recordings.files import make_folder, open_regular, sync_folder
from recordings.frame_batches import STREAM_BEGIN, STREAM_END, batch_checksum, batch_message, frames_to_batch
from recordings.resync import next_batch, stream_from
from recordings.rows import frames
from recordings.schema import RAW_TABLE, TABLES
from recordings.steps import step
from toolkit.errors import BackpressureError, RecordingDamaged
from toolkit.frames import Frame

__all__ = [
    "FLUSH_BYTES",
    "JOURNAL_FOLDER",
    "PENDING_BYTES_MAX",
    "JournalReader",
    "JournalWriter",
    "WrittenCallback",
    "batch_problem",
    "journal_path",
    "journal_segments",
]

#: Told of a batch once the operating system has it: its first and last frame's number, and the bytes of it in the file.
WrittenCallback = Callable[[int, int, bytes], None]

JOURNAL_FOLDER: Final = "journal"
#: A batch is written at this many payload bytes even before its time.
FLUSH_BYTES: Final = 1 << 20
#: Payload bytes that may wait for the disk.
PENDING_BYTES_MAX: Final = 64 << 20


def journal_path(folder: Path, segment: int) -> Path:
    """The journal of a segment."""
    return folder / JOURNAL_FOLDER / f"{segment:06d}.arrows"


def journal_segments(folder: Path) -> list[int]:
    """Numbers of the segments that have a journal, in order."""
    stems = (path.stem for path in (folder / JOURNAL_FOLDER).glob("*.arrows"))
    # Others than `journal_path` gives are none of ours.
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit() and f"{int(stem):06d}" == stem)


class JournalWriter:
    """
    Writes frames to the journal of one segment, in a thread of its own.

    `append` keeps a frame until `flush`, or until `flush_bytes` of them have come, and never waits for the disk. What
    the disk refuses is raised by the next call. Nothing that was written before is lost by that.

    Args:
        folder: The recording.
        segment: Number of the segment.
        flush_bytes: Payload bytes at which frames go to the thread at once.
        pending_bytes_max: Payload bytes held in memory while the disk does not follow.
        after: The journal of the segment before. Nothing is written until it is closed, and nothing at all if it could
            not be written to its end: what follows a hole cannot be read.
        on_written: Called in the writing thread after each batch, in order over all journals of a session.

    Attributes:
        written_count: Frames that the operating system has.
        byte_count: Size of the file.
    """

    def __init__(
        self,
        folder: Path,
        segment: int,
        *,
        flush_bytes: int = FLUSH_BYTES,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        after: JournalWriter | None = None,
        on_written: WrittenCallback | None = None,
    ) -> None:
        self._on_written = on_written
        self.path = journal_path(folder, segment)
        make_folder(self.path.parent)
        self._flush_bytes = flush_bytes
        self._pending_bytes_max = pending_bytes_max
        self._frames: list[Frame] = []
        self._frame_bytes = 0
        self._batch_number = 0
        # What was handed over is counted by whoever appends, what was written by the thread that writes.
        self._handed_count = 0
        self._handed_bytes = 0
        self._written_bytes = 0
        self.written_count = 0
        self.byte_count = 0
        self._failure: OSError | None = None
        self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._write(STREAM_BEGIN)
        sync_folder(self.path.parent)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._last: Future[None] | None = None
        self._is_closed = False
        self._ended = threading.Event()
        self._handle_lock = threading.Lock()
        if after is not None:
            self._thread.submit(self._follow, after)

    @property
    def frame_count(self) -> int:
        """Frames appended."""
        return self._handed_count + len(self._frames)

    @property
    def pending_bytes(self) -> int:
        """Payload bytes that the operating system does not have yet."""
        return self._handed_bytes + self._frame_bytes - self._written_bytes

    def append(self, frame: Frame) -> None:
        """
        Take a frame down.

        Raises OSError if the disk refused an earlier one, BackpressureError if it does not follow.
        """
        if self._failure is not None:
            raise self._failure
        self._frames.append(frame)
        self._frame_bytes += len(frame.payload)
        if self._frame_bytes >= self._flush_bytes:
            self.flush()

    def flush(self) -> None:
        """Hand what was appended to the thread that writes, as one batch."""
        if self._failure is not None:
            raise self._failure
        if not self._frames:
            return
        if self.pending_bytes > self._pending_bytes_max:
            raise BackpressureError(
                f"{self.path}: {self.pending_bytes >> 20} MiB wait for the disk, expected at most "
                f"{self._pending_bytes_max >> 20} MiB: it cannot follow; record less, or to a faster disk"
            )
        self._hand_over()

    def _hand_over(self) -> None:
        if self._frames:
            frames_, self._frames = self._frames, []
            size, self._frame_bytes = self._frame_bytes, 0
            self._handed_count += len(frames_)
            self._handed_bytes += size
            self._last = self._thread.submit(self._write_batch, frames_, size)

    def drain(self) -> None:
        """Write what is left, however long that takes. Raises OSError where the disk refused."""
        self._hand_over()
        if self._last is not None:
            self._last.result()
        if self._failure is not None:
            raise self._failure

    def touch(self) -> None:
        """Leave on disk that the recorder lived until now, also when nothing comes. Safe to call in another thread."""
        with contextlib.suppress(OSError):  # sealed and gone, or a disk that says so elsewhere
            os.utime(self.path)

    def sync(self) -> None:
        """Make what was written survive a power cut. May take long; safe to call in another thread."""
        with self._handle_lock:
            if not self._is_closed:
                os.fsync(self._handle)

    def close(self) -> None:
        """
        Write what is left, end the stream and sync it. May be called twice, and after a failure.

        Raises OSError where the disk refuses; the file then ends with the last batch that it took.
        """
        if self._is_closed:
            return
        try:
            self.drain()
            self._write(STREAM_END)
            os.fsync(self._handle)
        except OSError as exc:
            self._failure = exc
            raise
        finally:
            self._thread.shutdown()
            with self._handle_lock:  # a sync in another thread may be at work on it
                self._is_closed = True
                os.close(self._handle)
            self._ended.set()

    def _follow(self, before: JournalWriter) -> None:
        before._ended.wait()
        self._failure = self._failure or before._failure

    def _write_batch(self, batch_frames: list[Frame], size: int) -> None:
        if self._failure is not None:
            return  # a batch after one that is missing would make a hole
        try:
            batch = frames_to_batch(batch_frames)
            metadata = {b"crc32": b"%d" % batch_checksum(batch), b"batch": b"%d" % self._batch_number}
            message = batch_message(batch, metadata)
            step("journal-batch-made")
            self._write(message)
            step("journal-batch-written")
        except OSError as exc:
            self._failure = exc
            return
        self._batch_number += 1
        self.written_count += len(batch_frames)
        self._written_bytes += size
        if self._on_written is not None:
            self._on_written(batch_frames[0].capture_seq, batch_frames[-1].capture_seq, message.to_pybytes())

    def _write(self, content: bytes | pa.Buffer) -> None:
        view = memoryview(content)
        while view:
            written = os.write(self._handle, view)
            view = view[written:]
            self.byte_count += written


class JournalReader:
    """
    Reads a journal, however it ended. Iterate `batches` or `frames` once; the attributes are complete after it.

    What is damaged is passed over: reading goes on with the next batch that is sound and newer than the last.

    Args:
        path: The journal.
        good_bytes: Begin behind that part, which another reader has read.
        batch_count: How many batches that part has.

    Attributes:
        good_bytes: Up to where it was read: the end of the last sound batch.
        batch_count: Batches up to there.
        left_bytes: Bytes after it: torn or corrupt.
        unread: Begin and end of each part that was passed over, in bytes, the one at the end included.
        problem: What is wrong with the first of them, or in the order of batches; empty if nothing.
        frame_count: Frames read.
    """

    def __init__(self, path: Path, good_bytes: int = 0, batch_count: int = 0) -> None:
        self.path = path
        self.good_bytes = good_bytes
        self.batch_count = batch_count
        self.left_bytes = 0
        self.unread: list[tuple[int, int]] = []
        self.problem = ""
        self.frame_count = 0
        self._last_seq = -1

    def frames(self) -> Iterator[list[Frame]]:
        """Frames, a batch at a time."""
        for batch in self.batches():
            yield frames(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Whole and sound batches, in order."""
        try:
            file = os.fdopen(open_regular(self.path), "rb")
            size = os.fstat(file.fileno()).st_size
        except OSError as exc:
            raise RecordingDamaged(f"{self.path} cannot be read: {exc.strerror}") from None
        with file:
            yield from self._sound(file, size)
        self.left_bytes = size - self.good_bytes
        if self.left_bytes:
            self.unread.append((self.good_bytes, size))
            self.problem = self.problem or "more follows the end of its stream"

    def _sound(self, file: BinaryIO, size: int) -> Iterator[pa.RecordBatch]:
        place = self.good_bytes
        if not place:
            place, self.problem = _begin(file)
            self.good_bytes = place
        stream = stream_from(file, place, size)
        while True:
            batch, problem = self._next(stream)
            if batch is not None and not problem:
                if place > self.good_bytes:  # it was found behind what is damaged
                    self.unread.append((self.good_bytes, place))
                self.good_bytes = place = file.tell()
                self.frame_count += batch.num_rows
                yield batch
                continue
            if not problem:
                # The stream ends here, in order or because nothing more was written.
                if place == self.good_bytes and place:
                    self.good_bytes = place = max(file.tell(), place)
                if place >= size:
                    return
            self.problem = self.problem or problem
            found = next_batch(file, place + 1 if place > self.good_bytes or problem else place, size)
            if found is None:
                return
            place = found
            stream = stream_from(file, place, size)

    def _next(self, stream: Any) -> tuple[pa.RecordBatch | None, str]:
        """The stream's next batch, and what is wrong with it; neither at its end."""
        try:
            batch, metadata = stream.read_next_batch_with_custom_metadata()
            if batch is None:
                return None, ""
            batch.validate(full=True)
            metadata = dict(metadata or {})
            if problem := batch_problem(batch, metadata, None):
                return batch, problem
        except StopIteration:
            return None, ""
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, TypeError) as exc:
            return None, f"batch {self.batch_count} is torn ({_first_line(exc)})"
        problem = batch_problem(batch, metadata, self.batch_count)
        seqs = batch.column("capture_seq").to_numpy()
        if len(seqs) and (seqs[0] <= self._last_seq or (np.diff(seqs) <= 0).any()):
            return batch, problem or f"batch {self.batch_count} repeats frames, or is out of order"
        # The frames say where they belong. A number that does not agree is worth a word, and no reason to lose them.
        self.problem = self.problem or problem
        number = metadata.get(b"batch", b"")
        self.batch_count = (int(number) if number.isdigit() else self.batch_count) + 1
        self._last_seq = int(seqs[-1]) if len(seqs) else self._last_seq
        return batch, ""


def _begin(file: BinaryIO) -> tuple[int, str]:
    """Where the first batch of a journal begins, and what is wrong before it."""
    try:
        stream = pa.ipc.open_stream(file)
        if stream.schema.equals(TABLES[RAW_TABLE]):
            return file.tell(), ""
    except (pa.ArrowException, OSError, ValueError, MemoryError) as exc:
        return 0, f"no stream begins in it ({_first_line(exc)})"
    return 0, "its columns are not those of this format"


def batch_problem(batch: pa.RecordBatch, metadata: dict[bytes, bytes], number: int | None) -> str:
    """What is wrong with a batch that should have that number (None: any); empty if nothing."""
    if number is not None and metadata.get(b"batch") != b"%d" % number:
        return f"batch {number} is numbered {metadata.get(b'batch', b'?').decode('ascii', 'replace')}"
    if metadata.get(b"crc32") != b"%d" % batch_checksum(batch):
        return f"batch {metadata.get(b'batch', b'?').decode('ascii', 'replace')} does not have the checksum it was written with"
    return ""


def _first_line(exc: BaseException) -> str:
    return str(exc).partition("\n")[0] or type(exc).__name__
