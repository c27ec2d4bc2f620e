"""
Rows that wait for their table, in bounded memory.

A table is sorted by symbol, so nothing of it can be written before the segment has ended. What does not fit into memory
until then goes to a file that has no name: it is gone with the process, however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

__all__ = ["RowStore", "RowsKey"]

#: Table, symbol and venue.
RowsKey = tuple[str, str, str]

#: What a batch of rows takes beside its values: some twenty columns of Arrow and of Python.
_BATCH_BYTES: Final = 8 << 10
#: Rows on disk are compressed lightly: they are read once.
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4")


class _Run(NamedTuple):
    """Rows of one key in the file."""

    offset: int
    length: int


class RowStore:
    """
    Keeps rows by key, in order.

    Args:
        folder: Where the file is made, if there has to be one.
        memory_max: Bytes of rows held in memory; None for any number.
    """

    def __init__(self, folder: Path, memory_max: int | None = None) -> None:
        self._folder = folder
        self._memory_max = memory_max
        self._batches: dict[RowsKey, list[pa.RecordBatch]] = {}
        self._held = 0
        self._runs: dict[RowsKey, list[_Run]] = {}
        self._handle = -1
        self._end = 0

    def __len__(self) -> int:
        """Runs of rows in the file."""
        return sum(map(len, self._runs.values()))

    def add(self, key: RowsKey, rows: pa.RecordBatch) -> None:
        """Keep the next rows of a key. Raises OSError where there is no room on the disk."""
        self._batches.setdefault(key, []).append(rows)
        if self._memory_max is not None:
            self._held += rows.nbytes + _BATCH_BYTES
            if self._held > self._memory_max:
                self._spill()

    def keys_of(self, table: str) -> list[RowsKey]:
        """The keys of a table that have rows, sorted."""
        return sorted(key for key in self._runs.keys() | self._batches.keys() if key[0] == table)

    def take(self, key: RowsKey, schema: pa.Schema, rows_max: int) -> Iterator[pa.Table]:
        """
        The rows of a key, `rows_max` at a time, and let go of them.

        However they came, the same rows give the same tables: each one's dictionaries hold its own words, in the order
        in which they appear in it.
        """
        waiting: list[pa.RecordBatch] = []
        count = 0
        for batch in self._batches_of(key):
            waiting.append(batch)
            count += len(batch)
            while count >= rows_max:
                rows = pa.Table.from_batches(waiting, schema=schema)
                yield _tidy(rows.slice(0, rows_max))
                waiting = rows.slice(rows_max).to_batches()
                count -= rows_max
        if count:
            yield _tidy(pa.Table.from_batches(waiting, schema=schema))

    def close(self) -> None:
        """Let go of everything. May be called twice."""
        self._batches.clear()
        self._runs.clear()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _batches_of(self, key: RowsKey) -> Iterator[pa.RecordBatch]:
        for run in self._runs.pop(key, ()):
            content = os.pread(self._handle, run.length, run.offset)
            with pa.ipc.open_stream(pa.py_buffer(content)) as stream:
                yield from stream
        yield from self._batches.pop(key, ())

    def _spill(self) -> None:
        if self._handle < 0:
            self._handle = _nameless_file(self._folder)
        for key, batches in self._batches.items():
            rows = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, rows.schema, options=_OPTIONS) as stream:
                stream.write_table(rows)
            content = sink.getvalue()
            self._runs.setdefault(key, []).append(_Run(self._end, content.size))
            view = memoryview(content)
            while view:
                written = os.pwrite(self._handle, view, self._end)
                self._end += written
                view = view[written:]
        self._batches.clear()
        self._held = 0
        pa.default_memory_pool().release_unused()


def _nameless_file(folder: Path) -> int:
    path = folder / f".rows-{os.getpid()}.tmp"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    path.unlink()
    return handle


def _tidy(rows: pa.Table) -> pa.Table:
    rows = rows.unify_dictionaries()
    for place, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            column = _tidy_words(rows.column(place))
            if column is not None:
                rows = rows.set_column(place, field, column)
    # Of a plain column of text the file would show where batches were cut.
    return rows.combine_chunks() if pa.string() in rows.schema.types else rows


def _tidy_words(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The column with the words that it has, as they appear; None where that is how it is."""
    words = column.chunk(0).dictionary
    codes: list[Any] = [chunk.indices.to_numpy(zero_copy_only=False) for chunk in column.chunks if len(chunk)]
    nulls = [chunk.indices.is_null().to_numpy(zero_copy_only=False) for chunk in column.chunks if len(chunk)]
    valid = np.concatenate([code[~null].astype(np.int32) for code, null in zip(codes, nulls, strict=True)])
    order = _appearance(valid, len(words))
    if np.array_equal(order, np.arange(len(words))):
        return None
    place = np.zeros(max(len(words), 1), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    kept = words.take(pa.array(order))
    return pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays(
                pa.array(place[np.where(null, 0, code).astype(np.int32)], mask=null if null.any() else None), kept
            )
            for code, null in zip(codes, nulls, strict=True)
        ],
        type=column.type,
    )


def _appearance(codes: Sequence[int] | Any, count: int) -> Any:
    """The codes that occur, in the order of their first occurrence."""
    if count == 1:
        return np.zeros(min(len(codes), 1), np.int64)
    found, first = np.unique(codes, return_index=True)
    return found[np.argsort(first)].astype(np.int64)
