"""
Healing a recording whose recorder died.

Everything that was flushed is sealed, exactly once. Half-written files are set aside, never deleted. What was lost is
stated: a `lost` event from the last frame that was kept to the latest moment at which the recorder can have been alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from recordings.care.rewriting import finish_rewrite, is_rewrite_pending
from recordings.format.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from recordings.format.rows_to_messages import frames
from recordings.journal.holes import Moment, lost_frames, moment_of, unbroken
from recordings.journal.journal_reader import (
    JOURNAL_FOLDER,
    JournalReader,
    JournalWriter,
    journal_path,
    journal_segments,
)
from recordings.journal.sign_of_life import SignOfLife, sign_of_life
from recordings.reading.loss import Left, last_sealed_frame, loss_of
from recordings.sealing.journal_sealing import Sealer
from recordings.sealing.leftovers import drop_sealed_journals, drop_superseded_state, set_aside_files, set_aside_unread
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import disk_refusals, sync_folder, temporary_path
from recordings.storage.set_aside import move_aside
from toolkit.clock import Clock
from toolkit.frames import Frame

__all__ = ["CarriedOver", "Recovery", "carry_over", "finish_leftovers", "needs_recovery", "recover"]


class Recovery(msgspec.Struct):
    """
    What was done.

    Attributes:
        manifest: Manifest as it is now.
        sealed_segments: Segments made of journals; an empty journal makes none.
        recovered_frames: Frames that were in those journals.
        left_bytes: Bytes of journals that are no whole, sound batch, wherever they stand; kept in `set-aside/`.
        set_aside: Files moved to `set-aside/`, below the recording.
        lost_from: Receive time of the last frame kept, ns; None if nothing can have been lost.
        lost_until: Latest time at which the recorder can have been alive, ns.
        is_rewrite_finished: Whether a rewrite that was interrupted was carried through.
    """

    manifest: Manifest
    sealed_segments: int = 0
    recovered_frames: int = 0
    left_bytes: int = 0
    set_aside: list[str] = []
    lost_from: int | None = None
    lost_until: int | None = None
    is_rewrite_finished: bool = False


def needs_recovery(folder: Path) -> bool:
    """Whether somebody who wrote into the folder died over it (or is at work in it)."""
    is_half_written = temporary_path(folder / MANIFEST_NAME).exists() or is_rewrite_pending(folder)
    return is_half_written or read_manifest(folder).status == "running" or bool(journal_segments(folder))


def recover(folder: Path, clock: Clock, *, alive_until: int | None = None) -> Recovery:
    """
    Heal a recording. The caller holds its lock. May be interrupted and run again.

    Args:
        folder: The recording.
        clock: Tells when the recorder was dead for certain.
        alive_until: When it ended, ns, where the caller knows; else it is taken from the files it left.

    Raises:
        RecordingError: It is not a recording, too new, damaged in a way that healing would hide, or the disk refused.
    """
    with disk_refusals(folder, "nothing is lost; see to the disk, then run `tickdeck recover`"):
        return _recover(folder, clock, alive_until)


def _recover(folder: Path, clock: Clock, alive_until: int | None) -> Recovery:
    is_rewrite_finished = finish_rewrite(folder)
    manifest = read_manifest(folder)
    result = Recovery(manifest, is_rewrite_finished=is_rewrite_finished)
    result.set_aside += set_aside_files(folder, manifest)
    result.set_aside += drop_sealed_journals(folder, manifest)
    left = _usable_journals(folder, manifest, result)
    usable = left.usable
    extra: list[Frame] = []
    if (loss := loss_of(folder, manifest, left.found, clock, alive_until)) is not None:
        result.lost_from, result.lost_until, extra = loss
        if not usable:
            usable.append(len(manifest.segments))
            JournalWriter(folder, usable[-1]).close()
    sealer = Sealer(folder)
    sealed_before = len(manifest.segments)
    for number in usable:
        is_last = number == usable[-1]
        target = len(manifest.segments)
        if number != target:  # those before it were empty
            journal_path(folder, number).replace(journal_path(folder, target))
            sync_folder(folder / JOURNAL_FOLDER)
        manifest = sealer.seal(target, extra if is_last else (), status="recovered" if is_last else None)
    manifest = read_manifest(folder)
    result.sealed_segments = len(manifest.segments) - sealed_before
    if manifest.status == "running" or (usable and manifest.live_digest is not None):
        manifest.status = "recovered" if usable else "sealed"
        manifest.live_digest = None
        write_manifest(folder, manifest)
    result.manifest = manifest
    return result


class CarriedOver(msgspec.Struct):
    """
    Journals of a session that died, left as they are: recording goes on after them.

    Attributes:
        segments: Segments to be sealed, in order.
        next_segment: The first segment after them.
        next_seq: The first frame after theirs.
    """

    segments: list[int]
    next_segment: int
    next_seq: int


def finish_leftovers(folder: Path) -> None:
    """What has to be done before `carry_over`: end what was under way with the manifest. The caller holds the lock."""
    with disk_refusals(folder, "nothing is lost; see to the disk, then record again"):
        finish_rewrite(folder)
        manifest = read_manifest(folder)
        drop_superseded_state(folder, manifest)
        drop_sealed_journals(folder, manifest)


def carry_over(folder: Path, manifest: Manifest, normalizer: Normalizer, clock: Clock) -> CarriedOver:
    """
    Go on after a recorder that died without sealing what it left. The caller holds the lock. May be run again.

    What may be missing is stated in a journal of its own. Tables are not made, so it takes no more memory than
    recording does.

    Args:
        folder: The recording, after `finish_leftovers`.
        manifest: Manifest of it.
        normalizer: At the end of what is sealed; it goes on to the end of the journals.
        clock: Tells when the recorder was dead for certain.

    Raises:
        RecordingError: The disk refused.
    """
    with disk_refusals(folder, "nothing is lost; see to the disk, then record again"):
        return _carry_over(folder, manifest, normalizer, clock)


def _carry_over(folder: Path, manifest: Manifest, normalizer: Normalizer, clock: Clock) -> CarriedOver:
    result = Recovery(manifest)
    left = _usable_journals(folder, manifest, result)
    last = left.found.last
    filled: list[int] = []
    sealer = Sealer(folder)
    played: Moment | None = None
    for number in left.usable:
        reader = JournalReader(journal_path(folder, number))
        for batch in reader.batches():
            for rows in unbroken(batch):
                # As sealing will have it, which fills what is missing.
                played = _play(normalizer, rows, played or sealer.last_moment(manifest, rows))
        if reader.frame_count:
            filled.append(number)
    if (loss := loss_of(folder, manifest, left.found, clock)) is not None:
        # After all others: an empty one that is there tells of the loss until this does.
        journal = JournalWriter(folder, max([*journal_segments(folder), len(manifest.segments) - 1]) + 1)
        for frame in loss.frames:
            journal.append(frame)
            _play_frame(normalizer, frame)
            last = frame
        journal.close()
        filled.append(journal_segments(folder)[-1])
    segments = _renumbered(folder, filled, len(manifest.segments))
    return CarriedOver(
        segments, len(manifest.segments) + len(segments), last.capture_seq + 1 if last is not None else 0
    )


def _renumbered(folder: Path, filled: Sequence[int], first: int) -> list[int]:
    """Remove the empty journals, and give the others numbers from `first` on; these."""
    segments = list(range(first, first + len(filled)))
    if journal_segments(folder) == segments:
        return segments
    for number in journal_segments(folder):
        if number not in filled:
            journal_path(folder, number).unlink()
    for number, segment in zip(filled, segments, strict=True):
        journal_path(folder, number).replace(journal_path(folder, segment))
    sync_folder(folder / JOURNAL_FOLDER)
    return segments


def _play(normalizer: Normalizer, rows: pa.RecordBatch, last: Moment) -> Moment:
    """Take in frames without a hole among them, and what holds the place of those missing before them; the moment then."""
    batch = frames(rows)
    for frame in (*lost_frames(last, moment_of(batch[0])), *batch):
        _play_frame(normalizer, frame)
    return moment_of(batch[-1])


def _play_frame(normalizer: Normalizer, frame: Frame) -> None:
    for message in normalizer.messages(frame):
        normalizer.take(message)


class _Usable(NamedTuple):
    """The journals that go on from what is sealed, in order, the empty ones among them; and what they come to."""

    usable: list[int]
    found: Left


def _usable_journals(folder: Path, manifest: Manifest, result: Recovery) -> _Usable:
    """
    Look through the journals.

    What cannot be read is set aside, and so is a journal whose frames were sealed before; where frames are missing,
    sealing states it.
    """
    last = last_sealed_frame(folder, manifest)
    usable: list[int] = []
    touched, is_empty = SignOfLife(None, 0), False
    for number in journal_segments(folder):
        path = journal_path(folder, number)
        touched = sign_of_life(path)
        reader = JournalReader(path)
        first = found = None
        for batch in reader.frames():
            if batch:
                first, found = first or batch[0], batch[-1]
        is_empty = found is None
        if first is not None and last is not None and first.capture_seq <= last.capture_seq:
            is_empty = True
            result.left_bytes += path.stat().st_size
            result.set_aside.append(move_aside(folder, path))  # of another history
            continue
        result.left_bytes += sum(end - begin for begin, end in reader.unread)
        result.set_aside += set_aside_unread(folder, reader)
        usable.append(number)
        result.recovered_frames += reader.frame_count
        last = found or last
    return _Usable(usable, Left(last, touched, is_empty))
