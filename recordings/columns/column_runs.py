"""The normalized rows of a recording as columns, in the order of `(capture_seq, sub_seq)`, merged over its tables."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recordings.checking import open_checked
from recordings.columns.column_batch import (
    TABLE_COLUMNS,
    ColumnBatch,
    Names,
    joined,
    of_book_rows,
    of_messages,
    of_rows,
)
from recordings.columns.page_columns import PAGE_TABLES, in_order, merged, of_pages
from recordings.columns.parquet_pages import FileColumns, NotPlain, Rooms, RowGroupPages
from recordings.format.manifest import Segment, TableFile, inside
from recordings.format.rows_to_messages import split_complete
from recordings.format.schema import MESSAGE_TABLES, TABLES
from recordings.reading.raw_frames import opened, reading
from recordings.reading.selecting import Selection
from recordings.reading.sorted_rows import AT_ONCE_ROWS, RowGroup, rows_of_stretch, stretches_of, wanted_groups
from recordings.recording import Recording
from toolkit.errors import RecordingDamaged

__all__ = ["ROWS", "columns_of"]

_Keyed = tuple[Any, ColumnBatch]
_rooms: Final = Rooms()

#: Rows of one table that are read at a time, where they lie in order: enough that a batch costs nothing beside its rows.
ROWS: Final = 65_536
#: `sub_seq` of one frame stay below this, since no frame is longer than its limit of bytes.
_SUB_SEQ_SPAN: Final = 1 << 21
_DICTIONARIES: Final = {
    table: [field.name for field in TABLES[table] if field.type == pa.string()] for table in MESSAGE_TABLES
}


def columns_of(
    recording: Recording,
    names: Names,
    *,
    tables: Collection[str] = MESSAGE_TABLES,
    selection: Selection | None = None,
    batch_rows: int = ROWS,
    first_segment: int = 0,
    first_seq: int = 0,
    whole: bool | Collection[str] = False,
    decoders: Executor | None = None,
) -> Iterator[ColumnBatch]:
    """
    The messages of a recording as columns, in order; what is not sealed yet comes after what is.

    Args:
        recording: The recording.
        names: Numbers of pairs and forms, by name; new ones are added.
        tables: Kinds of messages, by the names of their tables.
        selection: Instruments whose rows are wanted; None for all.
        batch_rows: Rows of a table that are read at a time. Any number gives the same messages.
        first_segment: The segment to begin with.
        first_seq: Frame whose messages are the first.
        whole: Whether `ColumnBatch.message` shall make messages of every kind, or of which tables besides those that are kept
            as they are: of those all columns are read.
        decoders: Threads in which each table is decoded ahead; None for none.

    Yields:
        Batches of no particular size, none empty.

    Raises RecordingDamaged for files that are not as they were sealed, or hold what cannot be.
    """
    for segment in recording.manifest.segments[first_segment:]:
        if segment.capture_seq_last >= first_seq:
            yield from _of_segment(recording, segment, names, tables, selection, batch_rows, first_seq, whole, decoders)
    if recording.tail is not None:
        for messages in recording.tail.messages(tables=tables, selection=selection, first_seq=first_seq):
            if messages:
                yield of_messages(messages, names, whole=bool(whole))


def _of_segment(
    recording: Recording,
    segment: Segment,
    names: Names,
    tables: Collection[str],
    selection: Selection | None,
    batch_rows: int,
    first_seq: int,
    whole: bool | Collection[str],
    decoders: Executor | None,
) -> Iterator[ColumnBatch]:
    merge = _joined if whole is True else merged
    kept = MESSAGE_TABLES if whole is True else whole or ()
    runs = [
        _Run(recording, file, table, names, selection, batch_rows, first_seq, table in kept, decoders)
        for table in MESSAGE_TABLES
        if table in tables and (file := segment.tables.get(table)) is not None
    ]
    opened_runs = runs
    while runs := [run for run in runs if run.fill()]:
        if len(runs) == 1:
            yield merge([runs[0].take()])
            continue
        # Every run still to be read has messages up to this key, so below it nothing is missing.
        bound = min(run.last_key for run in runs)
        taken = [part for run in runs for part in run.take_until(bound)]
        yield merge(taken)
    if any(run.is_by_rows for run in opened_runs):
        # What was decoded is free again, but the allocator keeps it until it is told.
        pa.default_memory_pool().release_unused()


def _joined(taken: Sequence[_Keyed]) -> ColumnBatch:
    """Parts of tables as one batch in order, without the kernels, which are not worth loading beside objects."""
    parts = [part.trimmed() for _, part in taken]
    if len(parts) == 1:
        return parts[0]
    keys = np.concatenate([keys for keys, _ in taken])
    is_ordered = bool((keys[1:] > keys[:-1]).all())
    return joined(parts, None if is_ordered else np.argsort(keys, kind="stable"))


class _Run:
    """The messages of one table of a segment, a batch at a time."""

    def __init__(
        self,
        recording: Recording,
        file: TableFile,
        table: str,
        names: Names,
        selection: Selection | None,
        batch_rows: int,
        first_seq: int,
        whole: bool,
        decoders: Executor | None,
    ) -> None:
        self._path = inside(recording.path, file.path)
        self._table = table
        #: Places are given to names in the order in which messages are taken, whichever table is decoded first.
        self._names = names
        self._own_names = names if decoders is None else Names(names.pairs)
        self._decoders = decoders
        self._coming: Future[ColumnBatch | None] | None = None
        self._selection = selection
        self._batch_rows = batch_rows
        self._first_seq = first_seq
        self._is_whole = whole
        self._source = open_checked(recording.path, file)
        with reading(self._path):
            self._metadata = pq.read_metadata(self._source)
            groups = wanted_groups(self._metadata, selection, first_seq)
        self._batches = self._read(stretches_of(groups))
        self._rest: pa.RecordBatch | None = None
        #: What is at hand, with the numbers of its messages.
        self._parts: deque[_Keyed] = deque()
        self._reached = -1
        #: What is read next goes where what is at hand does not lie.
        self._rooms = [_rooms.borrow(), _rooms.borrow()]
        #: Whether Arrow has decoded any of it, whole row groups at a time.
        self.is_by_rows = False

    @property
    def last_key(self) -> int:
        """Number of the last message of the first part at hand."""
        return int(self._parts[0][0][-1])

    def fill(self) -> bool:
        """Read on if nothing is at hand; False once nothing is left."""
        with reading(self._path):
            while not self._parts:
                batch = self._next()
                if batch is None:
                    if self._rest is not None:
                        raise RecordingDamaged(f"{self._path} ends inside a message: expected is_last on its last row")
                    for room in self._rooms:
                        _rooms.give_back(room)
                    return False
                self._add(batch)
        return True

    def _next(self) -> ColumnBatch | None:
        if self._decoders is None:
            return next(self._batches, None)
        coming = self._coming or self._decoders.submit(next, self._batches, None)
        batch = coming.result()
        self._coming = None if batch is None else self._decoders.submit(next, self._batches, None)
        if batch is not None:
            pairs, forms = self._names.places_of(self._own_names)
            _rename(batch.rows, "pair", pairs)
            _rename(batch.rows, "form", forms)
        return batch

    def _read(self, stretches: Sequence[Sequence[RowGroup]]) -> Iterator[ColumnBatch]:
        pages = FileColumns(self._metadata) if self._table in PAGE_TABLES and not self._is_whole else None
        rows: _ArrowRows | None = None
        for stretch in stretches:
            if pages is not None and self._rest is None and sum(group.rows for group in stretch) <= AT_ONCE_ROWS:
                with suppress(NotPlain):
                    yield self._of_pages(pages, stretch)
                    continue
            self.is_by_rows = True
            if rows is None:
                rows = _ArrowRows(self._source, self._metadata, self._table, self._is_whole)
            for batch in rows.of(stretch, self._selection, self._first_seq, self._batch_rows):
                yield from self._taken_in(batch, rows.constants)

    def _of_pages(self, pages: FileColumns, stretch: Sequence[RowGroup]) -> ColumnBatch:
        """The messages of a stretch, in order."""
        self._rooms = self._rooms[::-1]
        lends = len(stretch) == 1
        parts = [
            of_pages(
                self._table,
                RowGroupPages(self._source, pages, group.number, self._rooms[0], lends=lends),
                self._own_names,
                self._selection,
                self._first_seq if group.first_seq < self._first_seq else 0,
            )
            for group in stretch
        ]
        if len(parts) == 1 and stretch[0].key is not None:
            return parts[0]
        for part in parts:
            keys, pairs = _keys(part)[0], part.rows["pair"]
            if ((np.diff(keys) <= 0) & (np.diff(pairs) == 0)).any():
                raise RecordingDamaged(self._unsorted)
        whole = joined(parts)
        return in_order(whole, np.argsort(_keys(whole)[0], kind="stable"))

    @property
    def _unsorted(self) -> str:
        return f"{self._path} is not sorted by (capture_seq, sub_seq) within a symbol"

    def take(self) -> _Keyed:
        """The first part at hand."""
        return self._parts.popleft()

    def take_until(self, key: int) -> list[_Keyed]:
        """What is at hand up to that message, with the numbers of its messages."""
        taken = []
        while self._parts and int(self._parts[0][0][0]) <= key:
            keys, part = self._parts.popleft()
            end = int(np.searchsorted(keys, key, side="right"))
            if end < len(keys):
                self._parts.appendleft((keys[end:], part.part(end, len(keys))))
                keys, part = keys[:end], part.part(0, end)
            taken.append((keys, part))
        return taken

    def _taken_in(self, rows: pa.RecordBatch, constants: Mapping[str, Any]) -> Iterator[ColumnBatch]:
        if self._table != "book":
            yield of_rows(self._table, rows, self._own_names, constants, whole=self._is_whole)
            return
        if self._rest is not None:
            # Only the message that began before is put together; whole batches would be copied for it.
            ends = np.flatnonzero(rows.column("is_last").to_numpy(zero_copy_only=False))
            end = int(ends[0]) + 1 if len(ends) else len(rows)
            begun = pa.Table.from_batches([self._rest, rows.slice(0, end)]).unify_dictionaries().combine_chunks()
            (self._rest,) = begun.to_batches()
            if not len(ends):
                return
            yield of_book_rows(self._rest, self._own_names, constants, whole=self._is_whole)
            rows = rows.slice(end)
        rows, rest = split_complete(rows)
        self._rest = rest if len(rest) else None
        if len(rows):
            yield of_book_rows(rows, self._own_names, constants, whole=self._is_whole)

    def _add(self, batch: ColumnBatch) -> None:
        if not batch.messages:
            return
        keys, grows = _keys(batch)
        if keys[0] <= self._reached or not grows:
            raise RecordingDamaged(self._unsorted)
        self._reached = int(keys[-1])
        # In parts that a cache holds while they are gone through.
        steps = np.arange(self._batch_rows, len(batch.prices), self._batch_rows)
        cuts = np.unique(np.searchsorted(batch.rows["first"], steps)).tolist() if len(steps) else []
        for begin, end in pairwise([0, *cuts, len(keys)]):
            if begin < end:
                self._parts.append((keys[begin:end], batch.part(begin, end)))


def _rename(rows: npt.NDArray[np.void], name: str, places: npt.NDArray[Any]) -> None:
    """Give rows other places, where these differ."""
    if (places[:-1] != np.arange(len(places) - 1)).any():
        rows[name] = places[rows[name]]


def _keys(batch: ColumnBatch) -> tuple[Any, bool]:
    """Numbers of messages, and whether they grow."""
    keys = batch.rows["capture_seq"] * _SUB_SEQ_SPAN + batch.rows["sub_seq"]
    return keys, bool((keys[1:] > keys[:-1]).all())


class _ArrowRows:
    """The rows of a file by way of Arrow, for what has no columns of ours or is not written as ours are."""

    def __init__(self, source: pa.NativeFile, metadata: Any, table: str, whole: bool) -> None:
        there = metadata.schema.to_arrow_schema().names
        self._parquet = opened(source, metadata, [name for name in _DICTIONARIES[table] if name in there])
        wanted = TABLE_COLUMNS.get(table)
        self._columns = None if wanted is None else [name for name in there if whole or name in wanted]
        self.constants: dict[str, Any] = {}
        if self._columns is not None:
            self.constants, self._columns = _constants(metadata, there, self._columns)

    def of(
        self, stretch: Sequence[RowGroup], selection: Selection | None, first_seq: int, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        return rows_of_stretch(
            self._parquet,
            stretch,
            selection=selection,
            first_seq=first_seq,
            batch_rows=batch_rows,
            columns=self._columns,
        )


#: Columns that may have one value in all rows of a file, which is seen from its statistics: they need not be decoded.
_MAY_BE_CONSTANT: Final = frozenset(
    {
        "venue",
        "symbol",
        "trading_pair",
        "form",
        "fused",
        "depth_cap",
        "is_snapshot",
        "count",
        "bid_count",
        "ask_count",
        "is_history",
        "is_duplicate",
        "cause",
    }
)


def _constants(metadata: Any, there: list[str], columns: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The columns that have one value in all rows, with it, and those that have to be read."""
    found: dict[str, Any] = {}
    for name in columns:
        if name in _MAY_BE_CONSTANT:
            said = [
                _said(metadata.row_group(each).column(there.index(name))) for each in range(metadata.num_row_groups)
            ]
            if said and said[0] is not None and all(each == said[0] for each in said):
                found[name] = said[0][0]
    if found.get("count") is not None:
        del found["count"]  # it is a column of levels, not of messages, where there is any
    if not {"venue", "symbol"} <= found.keys():
        # By these the rows of several instruments are put in order, and chosen.
        found = {name: value for name, value in found.items() if name not in ("venue", "symbol")}
    return found, [name for name in columns if name not in found]


def _said(column: Any) -> tuple[Any] | None:
    """The one value of a column of a row group; None where there are several, or it is not known."""
    statistics = column.statistics
    if statistics is None or not statistics.has_null_count:
        return None
    if statistics.null_count == column.num_values:
        return (None,)
    if statistics.null_count or not statistics.has_min_max or statistics.min != statistics.max:
        return None
    return (statistics.min,)
