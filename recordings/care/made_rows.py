"""
Whether the rows of sealed tables are the very ones that their frames make today.

Where they are, to the last column and in the same order, what is read from them is what the frames say, and nothing of it
has to be replayed. That takes a fraction of the time of making messages and books of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from recordings.checking import open_checked
from recordings.format.columns_to_rows import dictionary_columns
from recordings.format.manifest import Segment, TableFile
from recordings.format.schema import RAW_TABLE
from recordings.reading.raw_frames import opened
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.normalizer import Normalizer

__all__ = ["MadeRows"]


class _SealedGroups:
    """
    Stands where a table is written, and holds each row group against that of the sealed file.

    Args:
        folder: The recording.
        table: Name of the table.
        file: Entry of it in the manifest; None if there is none.

    Attributes:
        are_equal: Whether all groups so far are those of the file.
    """

    def __init__(self, folder: Path, table: str, file: TableFile | None) -> None:
        self._file = file or TableFile("", 0, 0, "")
        self._parquet = (
            opened(open_checked(folder, file), words=dictionary_columns(table)) if file is not None else None
        )
        self._next = 0
        self.are_equal = file is not None

    def write(self, make_groups: Callable[[], Iterable[pa.Table]]) -> None:
        """Compare the next groups."""
        for group in make_groups() if self.are_equal else ():
            self.are_equal = self.are_equal and self._is_next(group)

    def _is_next(self, group: pa.Table) -> bool:
        if self._parquet is None or self._next == self._parquet.num_row_groups:
            return False
        sealed = self._parquet.read_row_group(self._next)
        self._next += 1
        if sealed.column_names != group.column_names or len(sealed) != len(group):
            return False
        return all(_are_equal(mine, other) for mine, other in zip(group.columns, sealed.columns, strict=True))

    def finish(self, make_groups: Callable[[], Iterable[pa.Table]]) -> TableFile:
        """Compare the last ones; there must be no more."""
        self.write(make_groups)
        self.are_equal = self.are_equal and self._parquet is not None and self._next == self._parquet.num_row_groups
        return self._file

    def abort(self) -> None:
        """Nothing was written."""


def _are_equal(column: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    mine, theirs = column.combine_chunks(), other.combine_chunks()
    if pa.types.is_dictionary(mine.type) and pa.types.is_dictionary(theirs.type):
        if mine.dictionary.equals(theirs.dictionary):
            return bool(mine.indices.equals(theirs.indices))
        mine, theirs = mine.dictionary_decode(), theirs.dictionary_decode()
    return bool(mine.type == theirs.type and mine.equals(theirs))


class MadeRows:
    """
    Takes the frames of one segment after the other.

    Args:
        folder: The recording.
        normalizer: Goes on from segment to segment.

    Attributes:
        are_sealed: Whether all rows so far are those of the sealed tables. Once they are not, none are compared.
    """

    def __init__(self, folder: Path, normalizer: Normalizer) -> None:
        self._folder = folder
        self._normalizer = normalizer
        self._segment: Segment | None = None
        self._writer: SegmentWriter | None = None
        self._sinks: dict[str, _SealedGroups] = {}
        self.are_sealed = True

    def begin(self, segment: Segment) -> None:
        """What comes next are the frames of this one."""
        self._segment, self._sinks = segment, {}
        self._writer = None
        if self.are_sealed:
            self._writer = SegmentWriter(
                self._folder, segment.number, self._normalizer, with_raw=False, with_points=False, make_sink=self._sink
            )

    def _sink(self, table: str) -> _SealedGroups:
        file = self._segment.tables.get(table) if self._segment is not None else None
        sink = self._sinks[table] = _SealedGroups(self._folder, table, file)
        return sink

    def take(self, rows: pa.RecordBatch) -> None:
        """Take in the next frames, rows of the `raw` table."""
        if self._writer is None:
            self._normalizer.take_all(rows)
            return
        self._writer.add_batch(rows)
        self._look()

    def end(self) -> None:
        """Those were all of the segment."""
        write = self._writer.cut() if self._writer is not None else None
        if write is None or self._segment is None:
            return
        write()
        self._look()
        self.are_sealed = self.are_sealed and self._sinks.keys() == self._segment.tables.keys() - {RAW_TABLE}

    def _look(self) -> None:
        if not all(sink.are_equal for sink in self._sinks.values()):
            self.are_sealed, self._writer = False, None
