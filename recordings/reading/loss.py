"""
What a recorder that died may have lost, and the frames that say so.

From the last frame that was kept to the latest moment at which the recorder can have been alive. `recover` puts the
statement after what it seals; a reader before that reads the same.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from recordings.format.manifest import MANIFEST_NAME, Manifest
from recordings.journal.sign_of_life import SignOfLife
from recordings.reading.raw_frames import sealed_frames
from toolkit.clock import NS_PER_S, Clock
from toolkit.errors import RecordingError
from toolkit.frames import CONTROL, Frame, control_payload

__all__ = ["LATE_NS", "Left", "Loss", "last_sealed_frame", "loss_of"]

#: How late the loop of a recorder on a starved machine may be for its next flush.
LATE_NS: Final = 5 * NS_PER_S
#: What a power cut may take of the times of files: Linux writes inodes back after 30 s, in steps of 5.
POWER_CUT_NS: Final = 60 * NS_PER_S


class Left(NamedTuple):
    """
    What the journals of dead recorders come to.

    Attributes:
        last: The last frame, of the journals or else of what is sealed; None if there is none.
        touched: Stamps of the recorder in the last journal.
        is_last_empty: Nothing could be taken from the last journal: its session had just begun another segment.
    """

    last: Frame | None
    touched: SignOfLife
    is_last_empty: bool


class Loss(NamedTuple):
    """
    What may be lost.

    Attributes:
        from_ns: Receive time of the last frame kept, ns.
        until_ns: Latest time at which the recorder can have been alive, ns.
        frames: Frames that end the session: per venue what may be missing, and that nothing holds any more.
    """

    from_ns: int
    until_ns: int
    frames: list[Frame]


def loss_of(folder: Path, manifest: Manifest, left: Left, clock: Clock, alive_until: int | None = None) -> Loss | None:
    """
    What may be missing because the end of a session was not stated; None if all sessions have ended.

    Args:
        folder: The recording.
        manifest: Manifest of the recording.
        left: End of the journals that the session left.
        clock: Tells when the recorder was dead for certain.
        alive_until: When it ended, ns, where the caller knows.
    """
    began = _cut_since(folder, manifest, left)
    if began is None:
        return None
    last = left.last
    until = alive_until or _alive_until(manifest, left.touched.alive_ns or began, last, clock)
    began = min(began, until)
    mono = last.ts_mono + until - last.ts_recv if last is not None else clock.monotonic_ns() - clock.time_ns() + until
    first_seq = last.capture_seq + 1 if last is not None else 0
    frames: list[Frame] = []
    for source in manifest.sources:
        for payload in (
            control_payload("lost", cause="crash", ts_start=began, ts_end=until),
            control_payload("session_end", cause="crash"),
        ):
            frames.append(Frame(first_seq + len(frames), until, mono, source.venue, -1, 0, CONTROL, payload))
    return Loss(began, until, frames)


def _cut_since(folder: Path, manifest: Manifest, left: Left) -> int | None:
    """Since when something may be missing, ns; None if every session has said that it ended."""
    last = left.last
    has_ended = last is not None and _ended_well(last)
    if left.touched.alive_ns:
        # An end is the last that a session writes: an empty journal after one is of the next session.
        is_cut = left.is_last_empty or not has_ended
    else:
        # A recording that was sealed says nothing of how its session ended: an import has none, and others need none.
        is_cut = manifest.status == "running" and last is not None and not has_ended
    if not is_cut:
        return None
    if last is not None and not has_ended:
        return last.ts_recv
    return left.touched.opened_ns or (folder / MANIFEST_NAME).stat().st_mtime_ns


def _alive_until(manifest: Manifest, touched_ns: int, last: Frame | None, clock: Clock) -> int:
    """
    The latest time at which the recorder can have been alive.

    It stamps its journal at every flush, so it lived no longer than until the next one, for which the loop may have
    been late. What it received shows that it lived, too, where it could not look after its files. When the machine
    itself went down, the file system may not have kept the last stamps.
    """
    if last is not None:
        touched_ns = max(touched_ns, last.ts_recv)
    now = clock.time_ns()
    booted = now - clock.monotonic_ns()
    until = touched_ns + round(manifest.flush_interval_s * NS_PER_S) + LATE_NS
    if last is not None and booted > last.ts_recv:
        until = max(until, min(booted, touched_ns + POWER_CUT_NS))
    return max(min(now, until), last.ts_recv if last is not None else 0)


def _ended_well(last: Frame) -> bool:
    return last.kind == CONTROL and msgspec.json.decode(last.payload).get("event") == "session_end"


def last_sealed_frame(folder: Path, manifest: Manifest) -> Frame | None:
    """The last frame that is in Parquet already; what the manifest says of it, where the file is damaged."""
    if not manifest.segments:
        return None
    segment = manifest.segments[-1]
    last = None
    with contextlib.suppress(RecordingError):
        for batch in sealed_frames(folder, [segment], first_seq=segment.capture_seq_last):
            last = batch[-1]
    if last is not None and last.capture_seq == segment.capture_seq_last:
        return last
    # A session ends its segment, so where one holds an end it ends with it.
    has_ended = manifest.status != "running" or segment.counts.get("event_session_end", 0) > 0
    payload = control_payload("session_end" if has_ended else "unknown")
    return Frame(segment.capture_seq_last, segment.ts_recv_last, segment.ts_recv_last, "", -1, 0, CONTROL, payload)
