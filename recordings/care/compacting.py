"""Many small segments into few large ones: the same rows, the same digest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from recordings.care.rewriting import copy_of, rewriting, sealed_manifest
from recordings.care.vouching import vouched
from recordings.format.columns_to_rows import dictionary_columns
from recordings.format.manifest import Manifest, Segment, TableFile
from recordings.format.messages_to_rows import with_all_columns
from recordings.format.parquet_options import SMALL
from recordings.format.row_order import StretchedFile
from recordings.format.schema import RAW_TABLE, TABLES
from recordings.format.table_writer import TableFileWriter
from recordings.reading.raw_frames import opened, reading
from recordings.reading.sorted_rows import rows_in_order
from recordings.recording import BATCH_ROWS
from recordings.states.seek_points import joined_points
from recordings.storage.atomic_files import disk_refusals
from toolkit.errors import RecordingDamaged

__all__ = ["SEGMENT_BYTES", "compact", "small_segments"]

#: Segments are joined until their raw frames have this size on disk.
SEGMENT_BYTES: Final = 512 << 20
#: So many segments with fewer frames than that on average are worth joining: to open one, and to find what state it begins
#: with, takes what some hundred frames take, and its tables do not compress as well.
MANY_SEGMENTS: Final = 16
SMALL_FRAMES: Final = 10_000


def compact(
    folder: Path, segment_bytes: int = SEGMENT_BYTES, progress: Callable[[int], None] | None = None, *, jobs: int = 1
) -> Manifest:
    """
    Join segments that follow each other; the caller holds the recording's lock.

    Rows are copied, not made again: whatever protocol made them, they stay as they are, and so does the digest.

    A segment that has no neighbour to be joined with keeps its files.

    Args:
        folder: The recording.
        segment_bytes: Bytes of raw frames at which a segment is complete.
        progress: Called with the number of rows done since the last call.
        jobs: Tables that are made at a time, each by a thread; what is written is the same.

    Raises:
        RecordingError: The recording was not sealed, or the disk refused.
        RecordingDamaged: A file is not what was sealed.
    """
    with disk_refusals(folder, "nothing is lost; see to the disk, then compact again"):
        old = sealed_manifest(folder)
        groups = _groups(old.segments, segment_bytes)
        if len(groups) == len(old.segments):
            return old
        with rewriting(folder, old) as rewrite:
            new = copy_of(old)
            new.segments = []
            with _Joining(folder, rewrite.staging, jobs) as joining:
                several = [group for group in groups if len(group) > 1]
                made = joining.tables(several, rewrite.serial, progress or (lambda _: None))
                serial = rewrite.serial
                for number, group in enumerate(groups):
                    if len(group) == 1:
                        new.segments.append(msgspec.structs.replace(group[0], number=number))
                        continue
                    tables = next(made)
                    points = joined_points(folder, group, rewrite.staging, serial)
                    new.segments.append(_joined(number, group, tables, points))
                    serial += 1
            rewrite.commit(new)
    return new


def small_segments(segments: Sequence[Segment]) -> str:
    """Why compacting would pay, without the command; empty where it would not."""
    frames = sum(segment.frame_count for segment in segments)
    if len(segments) < MANY_SEGMENTS or frames >= SMALL_FRAMES * len(segments):
        return ""
    after = len(_groups(segments, SEGMENT_BYTES))
    if after > len(segments) // 2:
        return ""
    small = f"{len(segments):,} segments of {frames // len(segments):,} frames on average are small"
    return f"{small}: {after:,} would be read faster and take less room"


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


class _Stopped(Exception):
    """Another table could not be made, or somebody has had enough."""


class _Joining:
    """
    Joins tables, so many at a time.

    Args:
        folder: The recording.
        staging: Where the new tables are made.
        jobs: Threads, which Arrow lets work at the same time.
    """

    def __init__(self, folder: Path, staging: Path, jobs: int) -> None:
        self._folder = folder
        self._staging = staging
        self._pool = ThreadPoolExecutor(jobs)
        self._is_over = threading.Event()

    def __enter__(self) -> _Joining:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._pool.shutdown(cancel_futures=True)

    def tables(
        self, groups: Sequence[Sequence[Segment]], serial: int, progress: Callable[[int], None]
    ) -> Iterator[dict[str, TableFile]]:
        """The tables of each group of segments, in their order."""
        made = [
            {
                table: self._pool.submit(self._joined, table, files, number)
                for table in TABLES
                if (files := [segment.tables[table] for segment in group if table in segment.tables])
            }
            for number, group in enumerate(groups, serial)
        ]
        for several in made:
            found = {}
            for table, future in several.items():
                found[table] = future.result()
                progress(found[table].rows)
            yield found

    def _joined(self, table: str, files: Sequence[TableFile], serial: int) -> TableFile:
        # The old files are removed: what they say must be what was sealed, or nothing would tell afterwards.
        paths = vouched(self._folder, files)
        if table == RAW_TABLE:
            groups = partial(_whole, paths, self._go_on)
            made = TableFileWriter(self._staging, table, serial, TABLES[table], SMALL).finish(groups)
        else:
            made = _stretched(paths, table, self._staging, serial, self._go_on)
        expected = sum(file.rows for file in files)
        if made.rows != expected:
            raise RecordingDamaged(f"{self._folder} holds {made.rows:,} rows of {table}, expected {expected:,}")
        return made

    def _go_on(self) -> None:
        if self._is_over.is_set():
            raise _Stopped


def _joined(
    number: int,
    group: Sequence[Segment],
    tables: dict[str, TableFile],
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
        seek_points=points,
        counts=dict(sorted(counts.items())),
        message_count=sum(segment.message_count for segment in group),
        imprecise_values=sum(segment.imprecise_values for segment in group),
    )


def _whole(paths: Sequence[Path], go_on: Callable[[], None]) -> Iterator[pa.Table]:
    for path in paths:
        with reading(path):
            parquet = pq.ParquetFile(path, page_checksum_verification=True)
        for group in range(parquet.num_row_groups):
            go_on()
            with reading(path):
                part = parquet.read_row_group(group)
            yield with_all_columns(part, RAW_TABLE)


def _stretched(paths: Sequence[Path], table: str, staging: Path, serial: int, go_on: Callable[[], None]) -> TableFile:
    """The rows of all files in the order of today's files, whatever theirs is."""
    file = StretchedFile(staging, table, serial)
    try:
        for path in paths:
            with reading(path):
                there = pq.read_schema(path).names
                parquet = opened(path, words=[name for name in dictionary_columns(table) if name in there])
                for batch in rows_in_order(parquet, batch_rows=BATCH_ROWS):
                    go_on()
                    (rows,) = with_all_columns(pa.Table.from_batches([batch]), table).to_batches()
                    file.add(rows)
                    file.cut(batch.column("capture_seq")[-1].as_py() - 1)  # more of the last frame may come
        return file.finish()
    except BaseException:  # Ctrl-C and out of memory too: nothing half-written stays
        file.abort()
        raise
