"""
The order of rows in a normalized table: by stretches of time, and by symbol within each.

A stretch is the rows of so many frames that follow each other that there are `STRETCH_ROWS` of them, whatever symbols
they are of. So a reader of all symbols decodes one stretch after the other and sorts it at once, and what it holds, and
what a row costs it, do not depend on how many symbols there are. Within a stretch, row groups end between symbols: a
symbol with `GROUP_ROWS` rows or more has one alone, and those with fewer share one. So a reader of one symbol skips the
rest by the statistics of `symbol`, and no row group is so small that its metadata weighs more than its rows.

Where a stretch ends depends on nothing but how many rows each frame has: the same frames give the same bytes, however
they came.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recordings.format.columns_to_rows import dictionary_schema
from recordings.format.manifest import TableFile
from recordings.format.parquet_options import SMALL, Compression
from recordings.format.table_writer import TableFileWriter, TableSink

__all__ = ["GROUP_ROWS", "STRETCH_ROWS", "StretchedFile"]

#: Rows that may have to be decoded to reach the one that is sought: some 50 ms. Half as many would make `book` of one
#: pair 1 % larger, and raw and normalized together more than 1.5 times a compressed capture.
STRETCH_ROWS: Final = 262_144
#: Rows with which a symbol has a row group of its own.
GROUP_ROWS: Final = 8_192
_LAST_SEQ: Final = 1 << 62
#: Words of a dictionary that are searched for one by one: a pass over all rows takes a tenth of one that writes places.
_FEW_WORDS: Final = 4


class StretchedFile:
    """
    One normalized table of one segment on its way to disk; no more of it is held than a stretch and what came last.

    Args:
        folder: The recording.
        table: Name of the table.
        number: Number in the file's name.
        compression: How well.
        executor: Executor that writes, as `TableFileWriter` has it.
        sink: Receiver of row groups in place of a file.
    """

    def __init__(
        self,
        folder: Path,
        table: str,
        number: int,
        compression: Compression = SMALL,
        executor: Executor | None = None,
        sink: TableSink | None = None,
    ) -> None:
        self._schema = dictionary_schema(table)
        self._file = sink or TableFileWriter(folder, table, number, self._schema, compression, executor)
        self._batches: list[pa.RecordBatch] = []
        self._rows = 0

    @property
    def is_full(self) -> bool:
        """Whether there are the rows of a stretch, so that `cut` has something to do."""
        return self._rows >= STRETCH_ROWS

    def add(self, rows: pa.RecordBatch) -> None:
        """
        Add rows, in the schema of `dictionary_schema`: each symbol's are in order, whatever lies between them.

        `cut` is to be called once all rows of some frames are there.
        """
        if len(rows):
            self._batches.append(rows)
            self._rows += len(rows)

    def cut(self, complete_seq: int) -> None:
        """Write the stretches that are full. All rows of frames up to `complete_seq` have been added."""
        while self.is_full:
            seqs: Any = np.concatenate([batch.column("capture_seq").to_numpy() for batch in self._batches])
            last_seq = int(np.partition(seqs, STRETCH_ROWS - 1)[STRETCH_ROWS - 1])
            if last_seq > complete_seq:
                return
            stretch: list[pa.RecordBatch] = []
            rest: list[pa.RecordBatch] = []
            for batch in self._batches:
                is_in = batch.column("capture_seq").to_numpy() <= last_seq
                count = int(np.count_nonzero(is_in))
                # Few batches lie on both sides of the end, and of most of these it is the first rows that are in.
                if is_in[:count].all():
                    parts = batch.slice(0, count), batch.slice(count)
                else:
                    parts = batch.filter(pa.array(is_in)), batch.filter(pa.array(~is_in))
                for part, several in zip(parts, (stretch, rest), strict=True):
                    if len(part):
                        several.append(part)
            self._batches = rest
            self._rows = sum(len(batch) for batch in rest)
            self._file.write(partial(_groups, stretch, self._schema))

    def finish(self) -> TableFile:
        """Write what is left; the file is complete and synced when this returns what the manifest says of it."""
        self.cut(_LAST_SEQ)
        batches, self._batches, self._rows = self._batches, [], 0
        return self._file.finish(partial(_groups, batches, self._schema))

    def abort(self) -> None:
        """Leave nothing behind, if it is not finished. May be called twice."""
        self._batches = []
        self._file.abort()


def _groups(batches: list[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The row groups of a stretch. However its rows were cut into batches, they are the same."""
    if not batches:
        return
    rows = pa.Table.from_batches(batches, schema=schema).unify_dictionaries().combine_chunks()
    codes, counts = _places(rows)
    if len(counts) > 1:
        # The rows of each symbol are in order, and stay so.
        order = np.argsort(codes, kind="stable")
        rows = rows.take(pa.array(order)).combine_chunks()
    begin = 0
    for count in _group_sizes(counts):
        yield _tidy(rows.slice(begin, count))
        begin += count


def _places(rows: pa.Table) -> tuple[Any, list[int]]:
    """For each row the place of its symbol and venue among those that there are, sorted; and the rows of each place."""
    symbols, venues = (rows.column(name).chunk(0) for name in ("symbol", "venue"))
    words = [(symbol, venue) for symbol in symbols.dictionary.to_pylist() for venue in venues.dictionary.to_pylist()]
    codes = symbols.indices.to_numpy() * len(venues.dictionary) + venues.indices.to_numpy()
    counts = np.bincount(codes, minlength=len(words))
    there = sorted(np.flatnonzero(counts).tolist(), key=words.__getitem__)
    places = np.zeros(len(words), np.int32)
    places[there] = np.arange(len(there), dtype=np.int32)
    return places[codes], counts[there].tolist()


def _group_sizes(counts: list[int]) -> Iterator[int]:
    """Rows of each row group, from the rows of each symbol."""
    shared = 0
    for count in counts:
        if count >= GROUP_ROWS:
            if shared:
                yield shared
            yield count
            shared = 0
            continue
        shared += count
        if shared >= GROUP_ROWS:
            yield shared
            shared = 0
    if shared:
        yield shared


def _tidy(rows: pa.Table) -> pa.Table:
    """Rows whose dictionaries hold just the words that they have, in the order in which they appear."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            (chunk,) = rows.column(place).chunks
            rows = rows.set_column(place, field, _tidy_words(chunk))
    return rows


def _tidy_words(column: pa.DictionaryArray) -> pa.DictionaryArray:
    words = column.dictionary
    if len(words) == 1 and 0 == column.null_count < len(column):
        return column  # as venue and form nearly always are
    null = column.indices.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    codes: Any = column.indices.fill_null(0).to_numpy()
    used = codes if null is None else codes[~null]
    first = _first_places(used, len(words))
    order = np.argsort(first, kind="stable")[: int((first < len(used)).sum())]
    if len(order) == len(words) and (order == np.arange(len(words))).all():
        return column
    places = np.zeros(max(len(words), 1), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(places[codes], mask=null), words.take(pa.array(order)))


def _first_places(codes: Any, count: int) -> Any:
    """Where each of so many codes comes first; the number of rows for those that do not come."""
    first = np.full(count, len(codes))
    if count <= _FEW_WORDS:
        # Most come soon, and a search for the first place ends there.
        for code in range(count):
            there = codes == code
            if there.any():
                first[code] = there.argmax()
        return first
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of equal places the last one that is set stays
    return first
