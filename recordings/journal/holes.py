"""
Frames that are missing between others: what holds their place.

A journal may be damaged in its middle, a disk may have swallowed a batch, a journal may have gone. The frames around the
hole are whole and keep their numbers, so the hole is known to the frame. In its place stands as many frames: one that
states what is lost and from when until when, for all venues, and empty ones. Nothing that was said before the hole is
taken to hold after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from toolkit.frames import ALL_VENUES, CONTROL, DAMAGED, Frame, control_payload

__all__ = ["Moment", "lost_frames", "moment_of", "moment_of_row", "unbroken"]


class Moment(NamedTuple):
    """Number and times of a frame."""

    capture_seq: int
    ts_recv: int
    ts_mono: int


def moment_of(frame: Frame) -> Moment:
    """Of which moment a frame is."""
    return Moment(frame.capture_seq, frame.ts_recv, frame.ts_mono)


def moment_of_row(rows: pa.RecordBatch, index: int) -> Moment:
    """Of which moment a row of the `raw` table is."""
    seq = rows.column("capture_seq")[index].as_py()
    recv = rows.column("ts_recv")[index].value
    mono = rows.column("ts_mono")[index].as_py()
    return Moment(seq, recv, recv if mono is None else mono)


def lost_frames(last: Moment, following: Moment) -> list[Frame]:
    """What holds the place of the frames between two that are there; they are of the last moment that is known."""
    payload = control_payload("lost", cause="damage", ts_start=last.ts_recv, ts_end=following.ts_recv)
    found: list[Frame] = []
    for seq in range(last.capture_seq + 1, following.capture_seq):
        kind, content = (DAMAGED, b"") if found else (CONTROL, payload)
        found.append(Frame(seq, last.ts_recv, last.ts_mono, ALL_VENUES, -1, 0, kind, content))
    return found


def unbroken(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows of a batch of frames, cut where numbers are missing."""
    seqs = batch.column("capture_seq").to_numpy()
    begin = 0
    for end in [*(np.flatnonzero(np.diff(seqs) != 1) + 1).tolist(), len(batch)]:
        if end > begin:
            yield batch.slice(begin, end - begin)
        begin = end
