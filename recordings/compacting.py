"""Many small segments into few large ones: the same rows, the same digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from recordings.checkpoints import checkpoint_name
from recordings.columns import dictionary_columns
from recordings.manifest import Manifest, Segment, TableFile, inside, read_manifest
from recordings.recording import reading, row_groups_by_symbol
from recordings.rewriting import copy_of, rewriting
from recordings.schema import RAW_TABLE, TABLES
from recordings.seek_points import joined_points
from recordings.tables import RAW_ROW_GROUP_ROWS, ROW_GROUP_ROWS, write_table
from toolkit.errors import RecordingError

__all__ = ["SEGMENT_BYTES", "compact"]

#: Segments are joined until their raw frames have this size on disk.
SEGMENT_BYTES: Final = 512 << 20


def compact(
    folder: Path, segment_bytes: int = SEGMENT_BYTES, progress: Callable[[int], None] | None = None
) -> Manifest:
    """
    Join segments that follow each other; the caller holds the recording's lock.

    Rows are copied, not made again: whatever protocol made them, they stay as they are, and so does the digest.

    Raises:
        RecordingError: The recording was not sealed.
    """
    old = read_manifest(folder)
    if old.status == "running":
        raise RecordingError(f"{folder} is not sealed: run `tickdeck recover {folder}` first")
    groups = _groups(old.segments, segment_bytes)
    if len(groups) == len(old.segments):
        return old
    with rewriting(folder) as rewrite:
        new = copy_of(old)
        new.segments = []
        for number, group in enumerate(groups):
            tables: dict[str, TableFile] = {}
            for table in TABLES:
                paths = [inside(folder, s.tables[table].path) for s in group if table in s.tables]
                if not paths:
                    continue
                if table == RAW_TABLE:
                    tables[table] = write_table(rewrite.staging, table, number, _whole(paths), RAW_ROW_GROUP_ROWS)
                else:
                    parts = _by_symbol(paths, table)
                    tables[table] = write_table(rewrite.staging, table, number, parts, ROW_GROUP_ROWS)
                if progress is not None:
                    progress(tables[table].rows)
            checkpoint = _renumbered(folder, rewrite.staging, group[0].checkpoint, number)
            points = joined_points(folder, group, rewrite.staging, number)
            new.segments.append(_joined(number, group, tables, checkpoint, points))
        new.resume = _renumbered(folder, rewrite.staging, old.resume, len(groups))
        rewrite.commit(new)
    return new


def _groups(segments: Sequence[Segment], segment_bytes: int) -> list[list[Segment]]:
    groups: list[list[Segment]] = []
    size = 0
    for segment in segments:
        weight = sum(file.bytes for table, file in segment.tables.items() if table == RAW_TABLE) or sum(
            file.bytes for file in segment.tables.values()
        )
        # A segment without raw frames cannot be joined with one that has them: half of its frames would be missing.
        is_alike = groups and (RAW_TABLE in groups[-1][-1].tables) == (RAW_TABLE in segment.tables)
        if is_alike and size + weight <= segment_bytes:
            groups[-1].append(segment)
            size += weight
        else:
            groups.append([segment])
            size = weight
    return groups


def _renumbered(folder: Path, staging: Path, file: TableFile | None, number: int) -> TableFile | None:
    """A checkpoint under its segment's new number, which a later segment would otherwise take."""
    if file is None:
        return None
    name = checkpoint_name(number)
    target = staging / name
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(inside(folder, file.path).read_bytes())
    return msgspec.structs.replace(file, path=name)


def _joined(
    number: int,
    group: Sequence[Segment],
    tables: dict[str, TableFile],
    checkpoint: TableFile | None,
    points: TableFile | None,
) -> Segment:
    counts: dict[str, int] = {}
    for segment in group:
        for name, count in segment.counts.items():
            counts[name] = counts.get(name, 0) + count
    return msgspec.structs.replace(
        group[0],
        number=number,
        frame_count=sum(segment.frame_count for segment in group),
        capture_seq_last=group[-1].capture_seq_last,
        ts_recv_first=min(segment.ts_recv_first for segment in group),
        ts_recv_last=max(segment.ts_recv_last for segment in group),
        digest=group[-1].digest,
        tables=tables,
        checkpoint=checkpoint,
        seek_points=points,
        counts=dict(sorted(counts.items())),
        message_count=sum(segment.message_count for segment in group),
        imprecise_values=sum(segment.imprecise_values for segment in group),
    )


def _whole(paths: Sequence[Path]) -> Iterator[pa.Table]:
    for path in paths:
        with reading(path):
            parquet = pq.ParquetFile(path, page_checksum_verification=True)
        for group in range(parquet.num_row_groups):
            with reading(path):
                part = parquet.read_row_group(group)
            yield part


def _by_symbol(paths: Sequence[Path], table: str) -> Iterator[pa.Table]:
    """The rows of each symbol from all files in turn: sorted, because the files follow each other."""
    places: dict[tuple[str, str], list[tuple[int, int]]] = {}
    files = []
    for number, path in enumerate(paths):
        with reading(path):
            files.append(
                pq.ParquetFile(path, read_dictionary=dictionary_columns(table), page_checksum_verification=True)
            )
        for key, groups in row_groups_by_symbol(path).items():
            places.setdefault(key, []).extend((number, group) for group in groups)
    for key in sorted(places):
        parts: list[pa.Table] = []
        for number, group in places[key]:
            with reading(paths[number]):
                parts.append(files[number].read_row_group(group))
            if sum(part.num_rows for part in parts) >= ROW_GROUP_ROWS:
                yield pa.concat_tables(parts).unify_dictionaries()
                parts = []
        if parts:
            yield pa.concat_tables(parts).unify_dictionaries()
