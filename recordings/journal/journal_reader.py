"""
The journal: where a frame goes before anybody else sees it.

One Arrow IPC stream per open segment, `journal/<segment>.arrows`, in the schema of `raw`. Each batch carries a
CRC-32 of its values and its number. A reader takes whole batches in order and stops at the first that is torn,
corrupt or out of order; it says how many bytes it left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from recordings.format.frames_to_rows import batch_checksum
from recordings.format.rows_to_messages import frames
from recordings.format.schema import RAW_TABLE, TABLES
from recordings.journal.batch_search import CONTINUATION, next_batch, stream_from
from recordings.journal.journal_writer import (
    FLUSH_BYTES,
    JOURNAL_FOLDER,
    PENDING_BYTES_MAX,
    JournalWriter,
    WrittenCallback,
    journal_path,
)
from recordings.storage.atomic_files import open_regular
from toolkit.errors import RecordingDamaged
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


def journal_segments(folder: Path) -> list[int]:
    """Numbers of the segments that have a journal, in order."""
    stems = (path.stem for path in (folder / JOURNAL_FOLDER).glob("*.arrows"))
    # Others than `journal_path` gives are none of ours.
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit() and f"{int(stem):06d}" == stem)


class JournalReader:
    """
    Reads a journal, however it ended. Iterate `batches` or `frames` once; the attributes are complete after it.

    What is damaged is passed over: reading goes on with the next batch that is sound and newer than the last.

    Args:
        path: The journal.
        good_bytes: Begin after that part, which another reader has read.
        batch_count: How many batches that part has.

    Attributes:
        good_bytes: Up to where it was read: the end of the last sound batch.
        batch_count: Batches up to there.
        left_bytes: Bytes after it: torn or corrupt.
        unread: Begin and end of each part that was passed over, in bytes, the one at the end included.
        problem: Fault of the first of them, or of the order of batches; empty if there is none.
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
                if place > self.good_bytes:  # it was found after what is damaged
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
            place = file.tell()
            # Its length may be damaged, and the schema whole all the same: then this is the middle of a batch.
            if CONTINUATION.startswith(file.read(len(CONTINUATION))):
                file.seek(place)
                return place, ""
            return 0, "its beginning has another length than it says"
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
