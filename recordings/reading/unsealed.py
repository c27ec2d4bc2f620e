"""
What of a recording is not sealed yet: how many frames, since when, and whether anybody is still at work on it.

A recorder at work and one that has died leave the same files. They are distinguished by the lock, which the system lets
go of with the process.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from recordings.format.manifest import Manifest, read_manifest
from recordings.journal.holes import moment_of_row
from recordings.journal.journal_reader import journal_path, journal_segments
from recordings.storage.atomic_files import open_regular
from recordings.storage.lock_holder import Holder, holder_of
from toolkit.clock import format_ns
from toolkit.errors import RecordingDamaged, RecordingError

__all__ = ["Unsealed", "Work", "is_open", "next_seq_of", "unsealed_part", "work_on"]

#: Bytes of a journal that are mapped at a time.
_MAPPED_MAX: Final = 32 << 20
#: How often the folder is looked at again because a journal was sealed under the look.
_LOOKS: Final = 20


@dataclass(frozen=True, slots=True)
class Work:
    """
    Who is at work on a recording that is not sealed to its end.

    Attributes:
        holder: Holder of its lock; None if it is free.
        is_over: Whether it was sealed to its end since it was opened.
    """

    holder: Holder | None
    is_over: bool = False

    @property
    def is_left(self) -> bool:
        """Whether its recorder has died, also while what it had for sealing, or who recovers it, is at work."""
        return not self.is_over and (self.holder is None or not self.holder.is_alive or self.holder.heals)

    def __str__(self) -> str:
        """What to do about it: nothing while it is recorded."""
        if self.is_over:
            return "it was sealed since it was opened: open it again"
        if self.holder is None:
            return "its recorder has died: run `tickdeck recover`"
        if not self.holder.is_alive:
            return (
                f"its recorder ({self.holder}) has died, and what it had for sealing is still at work: run `tickdeck "
                "recover`, which waits for that"
            )
        if self.holder.heals:
            return f"its recorder has died, and {self.holder} is recovering it"
        return f"being recorded by {self.holder}"


@dataclass(frozen=True, slots=True)
class Unsealed:
    """
    Frames that are not sealed yet.

    Attributes:
        work: Process that writes, if any.
        frame_count: How many; 0 if every frame is sealed, or none was written.
        since_ns: Receive time of the first of them, ns; None if there is none.
        until_ns: Receive time of the last one, ns.
        journal_bytes: Size of the journals that they are in.
        journals: How many those are.
    """

    work: Work
    frame_count: int = 0
    since_ns: int | None = None
    until_ns: int | None = None
    journal_bytes: int = 0
    journals: int = 0

    def __str__(self) -> str:
        """One line: how many frames, since when, and what to do."""
        if self.since_ns is None:
            return f"no frame is waiting to be sealed; {self.work}"
        verb = "is" if self.frame_count == 1 else "are"
        what = "frame" if self.frame_count == 1 else "frames"
        yet = "" if self.work.is_left else " yet"
        return f"{self.frame_count:,} {what} since {format_ns(self.since_ns)} {verb} not sealed{yet}; {self.work}"


def next_seq_of(manifest: Manifest) -> int:
    """The first frame that is not sealed."""
    return manifest.segments[-1].capture_seq_last + 1 if manifest.segments else 0


def work_on(folder: Path, manifest: Manifest) -> Work | None:
    """
    Who is at work on a recording; None if it is sealed to its end, even while a rewrite holds its lock.

    Args:
        folder: The recording.
        manifest: Manifest of it, as it is now.
    """
    if not is_open(folder, manifest):
        return None
    holder = holder_of(folder)
    # It is free, so what the manifest says is not about to change; but it may have, meanwhile.
    if holder is None and not is_open(folder, read_manifest(folder)):
        return None
    return Work(holder)


def is_open(folder: Path, manifest: Manifest) -> bool:
    """Whether a recording may have frames that this manifest does not name."""
    return manifest.status == "running" or any(number >= len(manifest.segments) for number in journal_segments(folder))


def unsealed_part(folder: Path, manifest: Manifest | None = None) -> Unsealed | None:
    """
    Count what is not sealed, by the heads of the journals' batches: a tenth of a second for a gigabyte.

    Whether what they hold is whole is not looked at; a hole among the frames is counted, as sealing will fill it.

    Args:
        folder: The recording.
        manifest: Manifest at the opening; what was sealed since is then counted too. None for the present one.

    Returns:
        None if the recording is sealed to its end.

    Raises:
        RecordingError: It is no recording, or a journal cannot be read.
    """
    given = manifest
    if given is not None and not is_open(folder, given):
        return None
    for _ in range(_LOOKS):
        now = read_manifest(folder)
        work = work_on(folder, now)
        if work is None and (given is None or next_seq_of(now) <= next_seq_of(given)):
            return None
        try:
            found = _counted(folder, now, given or now, work or Work(None, is_over=True))
            if len(read_manifest(folder).segments) == len(now.segments):
                return found
        except FileNotFoundError:
            continue  # sealed this moment
        except OSError as exc:
            raise RecordingDamaged(f"{exc.filename or folder} cannot be read: {exc.strerror or exc}") from None
    raise RecordingError(f"{folder}: its journals go faster than they can be looked at; try again")


def _counted(folder: Path, now: Manifest, given: Manifest, work: Work) -> Unsealed:
    begin = next_seq_of(given)
    since = next((each.ts_recv_first for each in now.segments[len(given.segments) :]), None)
    until = max((each.ts_recv_last for each in now.segments[len(given.segments) :]), default=None)
    end, size, count = next_seq_of(now), 0, 0
    for number in journal_segments(folder):
        if number < len(now.segments):
            continue
        count += 1
        size += (span := _span(journal_path(folder, number), end)).size
        if span.since_ns is not None and span.until_ns is not None:
            since = span.since_ns if since is None else since
            until = span.until_ns if until is None else max(until, span.until_ns)
            end = max(end, span.end_seq)
    return Unsealed(work, end - begin, since, until, size, count)


@dataclass(slots=True)
class _Span:
    size: int
    end_seq: int
    since_ns: int | None = None
    until_ns: int | None = None


def _span(path: Path, begin: int) -> _Span:
    """What the frames of a journal from number `begin` on span, from the heads of its batches. Raises OSError."""
    handle = open_regular(path)
    try:
        size = os.fstat(handle).st_size
        span = _Span(size, begin)
        if not size:
            return span
        # Mapped, so that of the batches little is read but their heads and two columns.
        content = mmap.mmap(handle, size, access=mmap.ACCESS_READ)
    finally:
        os.close(handle)
    reader, dropped = pa.BufferReader(pa.py_buffer(content)), 0
    try:
        for batch in pa.ipc.open_stream(reader):
            batch.validate()
            if reader.tell() - dropped > _MAPPED_MAX:
                # What was touched counts as memory of this process until it is told that it is done with.
                dropped = reader.tell() // mmap.PAGESIZE * mmap.PAGESIZE
                content.madvise(mmap.MADV_DONTNEED, 0, dropped)
            if not len(batch) or (last := moment_of_row(batch, len(batch) - 1)).capture_seq < span.end_seq:
                continue
            times = batch.column("ts_recv").cast(pa.int64()).to_numpy()
            span.since_ns = int(times[0]) if span.since_ns is None else span.since_ns
            span.until_ns = max(span.until_ns or 0, int(times.max()))
            span.end_seq = last.capture_seq + 1
    except (pa.ArrowException, OSError, ValueError, KeyError):
        pass  # the end is torn, or on its way
    return span
