"""
The raw frames of sealed segments, read from their files.

What `Recording` reads of sealed segments, and what has only a folder and its manifest: a tail, a loss, a state that is
made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.checking import missing, open_checked
from recordings.format.manifest import Manifest, Segment, inside, lacks_raw
from recordings.format.rows_to_messages import frames
from recordings.format.schema import RAW_TABLE
from recordings.journal.holes import Moment, moment_of
from recordings.reading.sorted_rows import rows_from
from toolkit.errors import RecordingDamaged
from toolkit.frames import Frame

__all__ = ["RAW_BATCH", "WIDE_BATCH", "last_moment", "opened", "reading", "sealed_batches", "sealed_frames"]

#: Frames that are read at a time.
RAW_BATCH: Final = 4096
#: The same where they are for compiled code, which has some work for each batch and symbol.
WIDE_BATCH: Final = 16_384


def sealed_frames(
    folder: Path, segments: Sequence[Segment], batch_rows: int = RAW_BATCH, *, first_seq: int = 0
) -> Iterator[list[Frame]]:
    """
    Frames of sealed segments from number `first_seq` on, in order, a list at a time.

    Args:
        folder: The recording.
        segments: Segments of its manifest.
        batch_rows: Frames read at a time.
        first_seq: The first frame.

    Raises:
        RecordingDamaged: A file is missing, is another than was sealed, or cannot be read.
    """
    for batch in sealed_batches(folder, segments, batch_rows, first_seq=first_seq):
        yield frames(batch)


def sealed_batches(
    folder: Path, segments: Sequence[Segment], batch_rows: int = RAW_BATCH, *, first_seq: int = 0
) -> Iterator[pa.RecordBatch]:
    """The same as rows of the table, none of the batches empty."""
    for segment in segments:
        if segment.capture_seq_last < first_seq:
            continue
        file = segment.tables.get(RAW_TABLE)
        if file is None:
            raise RecordingDamaged(f"{lacks_raw(folder, segment)}: replay it normalized")
        path = inside(folder, file.path)
        source = open_checked(folder, file)
        with reading(path):
            parquet = opened(source)
            groups = _groups_from(parquet.metadata, range(parquet.num_row_groups), first_seq)
            for batch in parquet.iter_batches(batch_rows, row_groups=groups):
                part = rows_from(batch, first_seq)
                if len(part):
                    yield part
        # As in `messages`: else the allocator keeps, segment after segment, what has been decoded.
        pa.default_memory_pool().release_unused()


def opened(source: pa.NativeFile | Path, metadata: Any = None, words: Sequence[str] = ()) -> pq.ParquetFile:
    """A file to read in pieces, each page checked; `words` names columns that are read as dictionaries."""
    # Without `pre_buffer=False` all row groups that are asked for would be read into memory at once.
    return pq.ParquetFile(
        source, metadata=metadata, read_dictionary=list(words), pre_buffer=False, page_checksum_verification=True
    )


def _groups_from(metadata: Any, groups: Sequence[int], first_seq: int) -> list[int]:
    """The row groups, in order of `capture_seq`, without those that end before frame `first_seq`."""
    if not first_seq:
        return list(groups)
    column = metadata.schema.to_arrow_schema().names.index("capture_seq")
    for place, number in enumerate(groups):
        statistics = metadata.row_group(number).column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.max >= first_seq:
            return list(groups[place:])
    return []


def last_moment(folder: Path, manifest: Manifest, following: Moment) -> Moment:
    """The last moment that is sealed before frames that are missing; where nothing is, the beginning of the recording."""
    if not manifest.segments:
        begun = min(manifest.created_ns or following.ts_recv, following.ts_recv)
        return Moment(-1, begun, following.ts_mono - (following.ts_recv - begun))
    segment = manifest.segments[-1]
    last = Moment(segment.capture_seq_last, segment.ts_recv_last, segment.ts_recv_last)
    with suppress(RecordingDamaged):
        for batch in sealed_frames(folder, [segment], first_seq=segment.capture_seq_last):
            last = moment_of(batch[-1])
    return last


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise missing(path) from None
    except (pa.ArrowException, OSError, KeyError, IndexError, ValueError, OverflowError) as exc:
        text = str(exc).partition("\n")[0]
        raise RecordingDamaged(
            f"{path} cannot be read ({text}): expected a whole Parquet file of this format"
        ) from None
