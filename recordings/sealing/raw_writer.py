"""The `raw` table of one segment, written while its frames come."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.imprecise_decimals import count_imprecise
from recordings.format.manifest import TableFile
from recordings.format.messages_to_rows import BATCH_MESSAGES, RAW_ROW_GROUP_ROWS
from recordings.format.parquet_options import SMALL, Compression
from recordings.format.schema import RAW_TABLE, TABLES
from recordings.format.table_writer import TableFileWriter
from toolkit.frames import Frame

__all__ = ["RawFile", "RawTable"]

#: Payload bytes at which a row group ends before it has all its rows: it is held in memory by who writes and who reads.
RAW_ROW_GROUP_BYTES: Final = 64 << 20
#: Payload bytes at which frames that came one by one become columns.
_BATCH_BYTES: Final = 8 << 20


class RawTable(Protocol):
    """What raw frames of a segment go to: `RawFile`, or what knows that another process writes them."""

    imprecise_count: int

    def add(self, frame: Frame) -> None: ...
    def add_batch(self, batch: pa.RecordBatch) -> None: ...
    def finish(self) -> TableFile: ...
    def abort(self) -> None: ...


class RawFile:
    """
    Takes frames in order of `capture_seq`.

    A row group is compressed and written as soon as its frames have come, by a thread of the executor if there is one:
    Arrow lets go of the interpreter meanwhile. The file takes its name in `finish`; without that nothing is left of it.

    Args:
        folder: The recording.
        number: Number in its name.
        compression: How well.
        executor: One that runs one task at a time; None to write at once.

    Attributes:
        imprecise_count: Quoted decimals, in frames that were added one by one, that have more significant digits than
            a float64 keeps; complete after `finish`.
    """

    def __init__(
        self, folder: Path, number: int, compression: Compression = SMALL, executor: Executor | None = None
    ) -> None:
        self._file = TableFileWriter(folder, RAW_TABLE, number, TABLES[RAW_TABLE], compression, executor)
        self._frames: list[Frame] = []
        self._frame_bytes = 0
        self._batch_bytes = 0
        self._batches: list[pa.RecordBatch] = []
        self._batch_rows = 0
        self.imprecise_count = 0

    def add(self, frame: Frame) -> None:
        """Add the next frame."""
        self._frames.append(frame)
        self._frame_bytes += len(frame.payload)
        if len(self._frames) >= BATCH_MESSAGES or self._frame_bytes >= _BATCH_BYTES:
            self._flush()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Add the next frames, as rows of the table; somebody else counts imprecise decimals in them."""
        self._flush()
        self._take(batch)

    def finish(self) -> TableFile:
        """Write what is left; the file is complete and synced when this returns what the manifest says of it."""
        try:
            self._flush()
            last = self._group(self._batch_rows)
        except BaseException:  # Ctrl-C and out of memory too: nothing half-written stays
            self.abort()
            raise
        return self._file.finish(partial(_whole, last) if len(last) else list)

    def abort(self) -> None:
        """Leave nothing behind, if it is not finished: the segment is given up."""
        self._file.abort()

    def _flush(self) -> None:
        if self._frames:
            batch = frames_to_batch(self._frames)
            self._frames, self._frame_bytes = [], 0
            self.imprecise_count += count_imprecise(batch.column("payload"))
            self._take(batch)

    def _take(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._batch_rows += len(batch)
        self._batch_bytes += int(_payload_lengths(batch).sum())
        while self._batch_rows >= RAW_ROW_GROUP_ROWS or self._batch_bytes >= RAW_ROW_GROUP_BYTES:
            self._file.write(partial(_whole, self._group(self._rows_due())))

    def _rows_due(self) -> int:
        """How many of the rows that wait make a row group: as many as may be, fewer where payloads are long."""
        if self._batch_bytes < RAW_ROW_GROUP_BYTES:
            return RAW_ROW_GROUP_ROWS
        sizes = np.cumsum(np.concatenate([_payload_lengths(batch) for batch in self._batches]))
        return min(int(np.searchsorted(sizes, RAW_ROW_GROUP_BYTES)) + 1, RAW_ROW_GROUP_ROWS)

    def _group(self, rows: int) -> pa.Table:
        """The first rows that wait; where batches were cut does not show in the file."""
        waiting = pa.Table.from_batches(self._batches, schema=TABLES[RAW_TABLE])
        group = waiting.slice(0, rows)
        self._batches = waiting.slice(rows).to_batches()
        self._batch_rows -= rows
        self._batch_bytes = sum(int(_payload_lengths(batch).sum()) for batch in self._batches)
        return group


def _whole(group: pa.Table) -> list[pa.Table]:
    return [group.combine_chunks()]


def _payload_lengths(batch: pa.RecordBatch) -> Any:
    """Bytes of each row's payload."""
    lengths: Any = 0
    for name in ("payload", "payload_bytes"):
        column = batch.column(name)
        if column.null_count < len(column):
            lengths = lengths + pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return lengths if isinstance(lengths, np.ndarray) else np.zeros(len(batch), np.int64)
