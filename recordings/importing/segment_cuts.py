"""Where the segments of an import end: a matter of its frames alone, so that several processes find the same places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["SegmentCuts"]


class SegmentCuts:
    """
    Frames are told to it in their order; a segment that is full ends before the next one.

    Args:
        frames_max: Frames with which a segment is full.
        bytes_max: Payload bytes with which it is.
    """

    def __init__(self, frames_max: int, bytes_max: int) -> None:
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._frames = 0
        self._bytes = 0

    def is_due(self, payload_bytes: int) -> bool:
        """Whether a segment ends before the next frame, whose payload has so many bytes."""
        is_full = self._is_full
        if is_full:
            self._frames = self._bytes = 0
        self._frames += 1
        self._bytes += payload_bytes
        return is_full

    def parts(self, batch: pa.RecordBatch) -> Iterator[tuple[bool, pa.RecordBatch]]:
        """Rows of the `raw` table, cut as if they came one by one; and whether a segment ends before each part."""
        ends: Any = np.cumsum(pc.binary_length(batch.column("payload")).fill_null(0).to_numpy())
        others = batch.column("payload_bytes")
        if others.null_count < len(batch):
            ends = ends + np.cumsum(pc.fill_null(pc.binary_length(others), 0).to_numpy())
        begin = 0
        while begin < len(batch):
            is_full = self._is_full
            if is_full:
                self._frames = self._bytes = 0
            before = int(ends[begin - 1]) if begin else 0
            end = min(
                len(batch),
                begin + self._frames_max - self._frames,
                int(np.searchsorted(ends, before + self._bytes_max - self._bytes)) + 1,
            )
            self._frames += end - begin
            self._bytes += int(ends[end - 1]) - before
            yield is_full, batch.slice(begin, end - begin)
            begin = end

    @property
    def _is_full(self) -> bool:
        return self._frames >= self._frames_max or self._bytes >= self._bytes_max
