"""Segments of a recording made again from their raw frames, by today's protocols."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from recordings.care.vouching import vouched
from recordings.format.manifest import Segment, TableFile
from recordings.format.schema import RAW_TABLE
from recordings.journal.holes import unbroken
from recordings.reading.raw_frames import WIDE_BATCH, sealed_batches
from recordings.recording import Recording
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.compiling_beside import CompilingBeside
from recordings.states.normalizer import Normalizer
from toolkit.errors import RecordingDamaged

__all__ = ["RemadeSegments", "remade_segment"]


class RemadeSegments(msgspec.Struct, kw_only=True):
    """
    Segments that follow each other, with new tables.

    Attributes:
        segments: Their entries.
        symbols: Pair of each symbol, as the manifest has it.
        resume: State after the last of them, where the recording keeps one to go on from.
        digest: Digest after it, hexadecimal.
        versions: Version of each venue's protocol.
    """

    segments: list[Segment]
    symbols: dict[str, str]
    resume: TableFile | None
    digest: str
    versions: dict[str, int]


def remade_segment(
    recording: Recording,
    segment: Segment,
    serial: int,
    normalizer: Normalizer,
    beside: CompilingBeside,
    staging: Path,
    pool: ThreadPoolExecutor,
    progress: Callable[[int], None],
) -> tuple[Segment, dict[str, str]]:
    """
    The new entry of a segment, without a state before it, and the pairs of its symbols.

    Args:
        recording: The recording.
        segment: The old entry.
        serial: Number in the names of the new files.
        normalizer: The state before it, and after it once this returns.
        beside: Gives the normalizer its compiled code.
        staging: Where new files are made.
        pool: One thread that writes.
        progress: Called with the number of frames read since the last call.

    Raises:
        RecordingDamaged: Raw frames are not those that were sealed.
    """
    vouched(recording.path, [segment.tables[RAW_TABLE]])
    writer = SegmentWriter(staging, segment.number, normalizer, with_raw=False, serial=serial, table_writer=pool)
    for batch in sealed_batches(recording.path, [segment], WIDE_BATCH):
        beside.look()
        for rows in unbroken(batch):
            writer.add_batch(rows)
        progress(len(batch))
    write = writer.cut()
    if writer.frame_count != segment.frame_count or write is None:
        raise RecordingDamaged(
            f"{recording.path} holds {writer.frame_count:,} frames of segment {segment.number}, "
            f"expected {segment.frame_count:,}"
        )
    # Arrow lets go of the interpreter while it compresses, so another core does that work.
    made = pool.submit(write).result()
    tables = {RAW_TABLE: segment.tables[RAW_TABLE], **made.tables}
    entry = msgspec.structs.replace(made, tables=tables, imprecise_values=segment.imprecise_values)
    return entry, writer.symbols
