"""
The same frames one by one and by the batch, and what has to be the same afterwards.

Rows are compared as they would be written, row group by row group; to encode them and read them again takes as long as the
rest. `in_files=True` does that too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.format.columns_to_rows import dictionary_schema
from recordings.format.frames_to_rows import frames_to_batch
from recordings.format.manifest import Segment, TableFile
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.checkpoints import encode_checkpoint
from recordings.states.normalizer import Normalizer
from toolkit.frames import Frame
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

__all__ = ["Outcome", "by_batch", "one_by_one", "tables_of"]

Outcome = tuple[Any, ...]


def _normalizer(venues: Sequence[str], options: ProtocolOptions) -> Normalizer:
    return Normalizer({venue: find_venue(venue).make_protocol(options) for venue in venues})


def tables_of(folder: Path) -> dict[str, pa.Table]:
    """Every table of a recording, by its path."""
    return {str(path.relative_to(folder)): pq.read_table(path) for path in sorted(folder.rglob("*.parquet"))}


class _Kept:
    """Keeps the row groups of a table in place of a file, and holds them to its schema as that would."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.groups: list[pa.Table] = []

    def write(self, make_groups: Callable[[], Iterable[pa.Table]]) -> None:
        for group in make_groups():
            assert group.schema.equals(dictionary_schema(self._name))
            self.groups.append(pa.table([_plain(column) for column in group.columns], group.column_names))

    def finish(self, make_groups: Callable[[], Iterable[pa.Table]]) -> TableFile:
        self.write(make_groups)
        return TableFile(self._name, sum(map(len, self.groups)), 0, "")

    def abort(self) -> None:
        self.groups.clear()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values, however they are kept in memory."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


class _Tables(dict[str, _Kept]):
    """The tables of a segment, by name, as they are asked for."""

    def make(self, name: str) -> _Kept:
        self[name] = _Kept(name)
        return self[name]


def _writer(folder: Path, normalizer: Normalizer, kept: _Tables | None) -> SegmentWriter:
    return SegmentWriter(folder, 0, normalizer, make_sink=None if kept is None else kept.make)


def _outcome(folder: Path, normalizer: Normalizer, writer: SegmentWriter, kept: _Tables | None) -> Outcome:
    write = writer.cut()
    entry: Segment | None = write() if write is not None else None
    facts: tuple[Any, ...] = ()
    if entry is not None:
        facts = (entry.digest, entry.counts, entry.message_count, entry.imprecise_values, entry.frame_count)
        facts += (entry.ts_recv_first, entry.ts_recv_last, entry.capture_seq_first, entry.capture_seq_last)
    books = (normalizer.tracker.crossed_count, normalizer.tracker.refused_count, normalizer.conn_id_max)
    in_memory = {name: table.groups for name, table in sorted((kept or {}).items()) if table.groups}
    return facts, books, writer.symbols, encode_checkpoint(normalizer), tables_of(folder), in_memory


def one_by_one(
    folder: Path,
    venues: Sequence[str],
    frames: Sequence[Frame],
    options: ProtocolOptions | None = None,
    *,
    in_files: bool = False,
) -> Outcome:
    """What becomes of the frames on the way that every venue has."""
    folder.mkdir(parents=True, exist_ok=True)
    normalizer = _normalizer(venues, options or ProtocolOptions())
    kept = None if in_files else _Tables()
    writer = _writer(folder, normalizer, kept)
    for frame in frames:
        writer.add(frame)
    return _outcome(folder, normalizer, writer, kept)


def by_batch(
    folder: Path,
    venues: Sequence[str],
    frames: Sequence[Frame],
    cuts: Sequence[int],
    options: ProtocolOptions | None = None,
    *,
    in_files: bool = False,
) -> tuple[Outcome, int]:
    """What becomes of them in batches that end at `cuts`, and how many compiled code took."""
    folder.mkdir(parents=True, exist_ok=True)
    normalizer = _normalizer(venues, options or ProtocolOptions())
    assert normalizer.compile(), "the venue has compiled code"
    kept = None if in_files else _Tables()
    writer = _writer(folder, normalizer, kept)
    taken = 0
    plain = writer._normalize

    def counted(frame: Frame, add: Any) -> Any:
        nonlocal taken
        taken -= 1
        return plain(frame, add)

    writer._normalize = counted  # type: ignore[method-assign]  # only to count what goes the other way
    ends = sorted({min(cut, len(frames)) for cut in cuts} | {len(frames)})
    start = 0
    for end in ends:
        if end > start:
            taken += end - start
            writer.add_batch(frames_to_batch(list(frames[start:end])))
            start = end
    return _outcome(folder, normalizer, writer, kept), taken
