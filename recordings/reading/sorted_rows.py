"""
The rows of one file of a normalized table in the order of `(capture_seq, sub_seq)`, in bounded memory.

Files are in stretches (`recordings/format/row_order.py`): those row groups whose frames overlap are read together and sorted at
once. That is seen from the statistics of `capture_seq`. Files of earlier versions are sorted by symbol from their first
row to their last, so that everything overlaps; where that is too much to be read at once, the rows of each symbol are
read a batch at a time, and merged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import accumulate, groupby, repeat
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recordings.format.row_order import STRETCH_ROWS
from recordings.reading.selecting import Selection

__all__ = [
    "AT_ONCE_ROWS",
    "RowGroup",
    "row_groups_of",
    "row_keys",
    "rows_from",
    "rows_in_order",
    "rows_of_stretch",
    "said_columns",
    "stretches_of",
    "wanted_groups",
]

#: Rows that overlap and are read at once, at most: those of a stretch, whose last frame may have many.
AT_ONCE_ROWS: Final = 2 * STRETCH_ROWS
#: Rows of all symbols that are held while they are merged, and the fewest of one that are read at a time.
MERGED_ROWS: Final = 400_000
_BATCH_ROWS_MIN: Final = 64
_FEW_ROWS: Final = 16_384
#: `sub_seq` of one frame stay below this, since no frame is longer than its limit of bytes.
_SUB_SEQ_SPAN: Final = 1 << 21
_LAST_SEQ: Final = 1 << 62


class RowGroup(NamedTuple):
    """
    What the metadata of a file say of a row group.

    Attributes:
        number: Number in the file.
        rows: How many.
        first_seq: Lowest `capture_seq`; -1 where it is not known.
        last_seq: Highest one.
        symbols: The first and the last symbol, in alphabetical order; None where they are not known.
        key: Symbol and venue, if it has rows of no other.
    """

    number: int
    rows: int
    first_seq: int
    last_seq: int
    symbols: tuple[str, str] | None
    key: tuple[str, str] | None


def row_groups_of(metadata: Any) -> list[RowGroup]:
    """The row groups of a normalized table, in their order."""
    names = metadata.schema.to_arrow_schema().names
    seq, symbol, venue = (names.index(name) for name in ("capture_seq", "symbol", "venue"))
    groups = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        seqs = _bounds(group, seq)
        symbols = _bounds(group, symbol)
        venues = _bounds(group, venue)
        is_one = symbols and venues and symbols[0] == symbols[1] and venues[0] == venues[1]
        key = (symbols[0], venues[0]) if is_one else None
        first_seq, last_seq = seqs or (-1, _LAST_SEQ)
        groups.append(RowGroup(number, group.num_rows, first_seq, last_seq, symbols, key))
    return groups


def _bounds(group: Any, column: int) -> Any:
    statistics = group.column(column).statistics
    return None if statistics is None or not statistics.has_min_max else (statistics.min, statistics.max)


def said_columns(metadata: Any, kept: Collection[str] = ()) -> list[str]:
    """
    The columns of a file in which anything is said, as far as statistics tell: of the others all rows are null.

    Args:
        metadata: Metadata of the file.
        kept: Names of columns that are given in any case.
    """
    names = metadata.schema.to_arrow_schema().names
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    return [
        name
        for place, name in enumerate(names)
        if name in kept or not groups or any(map(_is_said, groups, repeat(place)))
    ]


def _is_said(group: Any, column: int) -> bool:
    chunk = group.column(column)
    statistics = chunk.statistics
    known = statistics is not None and statistics.has_null_count
    return not known or statistics.null_count < chunk.num_values


def stretches_of(groups: Sequence[RowGroup]) -> list[list[RowGroup]]:
    """The row groups that have to be read together, because their frames overlap; each of them before the next."""
    reached = accumulate((group.last_seq for group in groups), max)
    begun = [*accumulate((group.first_seq for group in reversed(groups)), min)][::-1]
    stretches: list[list[RowGroup]] = []
    before = -1
    for group, first, last in zip(groups, begun, reached, strict=True):
        if not stretches or first > before:
            stretches.append([])
        stretches[-1].append(group)
        before = last
    return stretches


def row_keys(rows: pa.RecordBatch | pa.Table) -> Any:
    """A number for each row, by which they are in order."""
    seqs = rows.column("capture_seq").to_numpy()
    return seqs * _SUB_SEQ_SPAN + rows.column("sub_seq").to_numpy()


def rows_in_order(
    parquet: pq.ParquetFile,
    *,
    selection: Selection | None = None,
    first_seq: int = 0,
    batch_rows: int,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """
    The rows of a file, in order.

    Args:
        parquet: The file, whose `symbol` is read as a dictionary.
        selection: Instruments whose rows are wanted; None for all.
        first_seq: Frame whose rows are the first.
        batch_rows: Rows read at a time, where they lie in order.
        columns: Columns to read, with venue, symbol, `capture_seq` and `sub_seq` among them; None for all.

    Yields:
        Batches of no particular size, none empty.
    """
    for stretch in stretches_of(wanted_groups(parquet.metadata, selection, first_seq)):
        yield from rows_of_stretch(
            parquet, stretch, selection=selection, first_seq=first_seq, batch_rows=batch_rows, columns=columns
        )


def wanted_groups(metadata: Any, selection: Selection | None, first_seq: int) -> list[RowGroup]:
    """The row groups that may have rows of a selection, from a frame on."""
    names = [] if selection is None else sorted({"", *(symbol for _, symbol in selection.symbols)})
    return [
        group
        for group in row_groups_of(metadata)
        if group.last_seq >= first_seq and (selection is None or _may_hold(group, selection, names))
    ]


def rows_of_stretch(
    parquet: pq.ParquetFile,
    stretch: Sequence[RowGroup],
    *,
    selection: Selection | None = None,
    first_seq: int = 0,
    batch_rows: int,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one stretch, as `rows_in_order` gives them."""
    wanted = None if columns is None else list(columns)
    if len({group.key for group in stretch}) == 1 and stretch[0].key is not None:
        batches = parquet.iter_batches(batch_rows, row_groups=[group.number for group in stretch], columns=wanted)
    elif (count := sum(group.rows for group in stretch)) <= AT_ONCE_ROWS:
        # To hand each column of a few rows to a thread takes longer than to decode it.
        table = parquet.read_row_groups(
            [group.number for group in stretch], columns=wanted, use_threads=count > _FEW_ROWS
        )
        batches = iter([_in_order([_wanted(table, selection, first_seq)])])
    else:
        batches = _merged(parquet, stretch, selection, first_seq, batch_rows, wanted)
    for batch in batches:
        part = rows_from(batch, first_seq)
        if len(part):
            yield part


def _may_hold(group: RowGroup, selection: Selection, names: Sequence[str]) -> bool:
    """Whether rows of a row group may be wanted; `names` are the symbols that are, sorted."""
    if group.key is not None:
        return selection.takes(group.key[1], group.key[0])
    if group.symbols is None:
        return True
    place = bisect_left(names, group.symbols[0])
    return place < len(names) and names[place] <= group.symbols[1]


def rows_from(batch: pa.RecordBatch, first_seq: int) -> pa.RecordBatch:
    """The rows, in order of `capture_seq`, without those before frame `first_seq`."""
    if not first_seq or not len(batch):
        return batch
    seqs = batch.column("capture_seq").to_numpy()
    if seqs[0] >= first_seq:
        return batch
    return batch.slice(int(np.searchsorted(seqs, first_seq)))


def _wanted(rows: pa.Table, selection: Selection | None, first_seq: int) -> pa.Table:
    """The rows of a selection from a frame on."""
    mask: Any = None
    if selection is not None:
        rows = rows.unify_dictionaries()
        symbols, venues = (rows.column(name).combine_chunks() for name in ("symbol", "venue"))
        takes = np.array(
            [
                [selection.takes(venue, name) for venue in venues.dictionary.to_pylist()]
                for name in symbols.dictionary.to_pylist()
            ]
        )
        mask = takes[symbols.indices.to_numpy(), venues.indices.to_numpy()]
    if first_seq:
        is_late = rows.column("capture_seq").to_numpy() >= first_seq
        mask = is_late if mask is None else mask & is_late
    return rows if mask is None or mask.all() else rows.filter(pa.array(mask))


def _in_order(parts: Sequence[pa.Table]) -> pa.RecordBatch:
    """Rows that lie together by symbol and venue, and are in order within these, as one batch in order."""
    rows = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
    keys = row_keys(rows)
    steps = np.diff(keys)
    if not (steps > 0).all():
        codes = [rows.column(name).chunk(0).indices.to_numpy() for name in ("symbol", "venue")]
        is_same = (np.diff(codes[0]) == 0) & (np.diff(codes[1]) == 0)
        if (is_same & (steps <= 0)).any():
            raise ValueError("it is not sorted by (capture_seq, sub_seq) within a symbol")
        # Rows of each symbol are in order already, which a stable sort is quick with.
        rows = rows.take(pa.array(np.argsort(keys, kind="stable"))).combine_chunks()
    if not len(rows):
        return pa.RecordBatch.from_pylist([], schema=rows.schema)
    (batch,) = rows.to_batches()
    return batch


def _merged(
    parquet: pq.ParquetFile,
    groups: Sequence[RowGroup],
    selection: Selection | None,
    first_seq: int,
    batch_rows: int,
    columns: list[str] | None,
) -> Iterator[pa.RecordBatch]:
    """
    The rows of row groups of one symbol each, that overlap.

    Each round reads as many batches as make some hundred thousand rows, of the symbols that have come least far, and
    gives what lies before the end of every symbol's last one: a row costs the same however many symbols there are.
    """
    places = sorted(groups, key=lambda group: (group.key is None, group.key or ("", ""), group.number))
    runs = [list(run) for _, run in groupby(places, key=lambda group: group.key or group.number)]
    each = min(batch_rows, max(_BATCH_ROWS_MIN, MERGED_ROWS // (2 * len(runs))))
    readers = [_run(parquet, run, selection, first_seq, each, columns) for run in runs]
    ends = [(-1, number) for number in range(len(readers))]  # of what each has given, and who it is
    heapify(ends)
    held: list[pa.Table] = []
    count = 0
    while ends:
        count = sum(map(len, held))
        is_first = True
        # Every symbol has given something before anything is known to be the next.
        while ends and (is_first or count < MERGED_ROWS or ends[0][0] < 0):
            is_first = False
            _, number = heappop(ends)
            batch = next(readers[number], None)
            if batch is not None:
                held.append(pa.Table.from_batches([batch]))
                count += len(batch)
                heappush(ends, (int(row_keys(batch.slice(len(batch) - 1))[0]), number))
        if held:
            rows = _in_order(held)
            end = int(np.searchsorted(row_keys(rows), ends[0][0], side="right")) if ends else len(rows)
            held = [pa.Table.from_batches([rows.slice(end)])]
            yield rows.slice(0, end)


def _run(
    parquet: pq.ParquetFile,
    groups: Sequence[RowGroup],
    selection: Selection | None,
    first_seq: int,
    batch_rows: int,
    columns: list[str] | None,
) -> Iterator[pa.RecordBatch]:
    """Rows of row groups, in order; several row groups are of one symbol."""
    if groups[0].key is None:
        rows = _in_order([_wanted(parquet.read_row_group(groups[0].number, columns), selection, first_seq)])
        if len(rows):
            yield rows
        return
    for batch in parquet.iter_batches(batch_rows, row_groups=[group.number for group in groups], columns=columns):
        part = rows_from(batch, first_seq)
        if len(part):
            yield part
