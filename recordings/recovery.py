"""
Healing a recording whose recorder died.

Everything that was flushed is sealed, exactly once. Half-written files are set aside, never deleted. What was lost is
stated: a `lost` event from the last frame that was kept to the latest moment at which the recorder can have been alive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa

from recordings.files import disk_refusals, sync_folder, temporary_path
from recordings.holes import Moment, lost_frames, moment_of, unbroken
from recordings.journal import JOURNAL_FOLDER, JournalReader, JournalWriter, journal_path, journal_segments
from recordings.leftovers import drop_sealed_journals, set_aside_files, set_aside_unread
from recordings.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from recordings.normalize import Normalizer
from recordings.recording import Recording
from recordings.rewriting import finish_rewrite, is_rewrite_pending
from recordings.rows import frames
from recordings.sealing import Sealer
from recordings.setting_aside import move_aside
from toolkit.clock import NS_PER_S, Clock
from toolkit.errors import RecordingError
from toolkit.frames import CONTROL, Frame, control_payload

__all__ = ["CarriedOver", "Recovery", "carry_over", "finish_leftovers", "needs_recovery", "recover"]

#: How late the loop of a recorder on a starved machine may be for its next flush.
LATE_NS: Final = 5 * NS_PER_S
#: What a power cut may take of the times of files: Linux writes inodes back after 30 s, in steps of 5.
POWER_CUT_NS: Final = 60 * NS_PER_S


class Recovery(msgspec.Struct):
    """
    What was done.

    Attributes:
        manifest: As it is now.
        sealed_segments: Segments whose journals were sealed.
        recovered_frames: Frames that were in those journals.
        left_bytes: Bytes at the end of journals that are no whole, sound batch; kept in `set-aside/`.
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
    usable, last = left.usable, left.last
    extra: list[Frame] = []
    if (began := _cut_since(folder, manifest, left)) is not None:
        until = alive_until or _alive_until(manifest, left.touched_ns or began, last, clock)
        extra = _statement_of_loss(manifest, last, min(began, until), until, clock, result)
        if not usable:
            usable.append(len(manifest.segments))
            JournalWriter(folder, usable[-1]).close()
    sealer = Sealer(folder)
    for number in usable:
        is_last = number == usable[-1]
        target = len(manifest.segments)
        if number != target:  # those before it were empty
            journal_path(folder, number).replace(journal_path(folder, target))
            sync_folder(folder / JOURNAL_FOLDER)
        manifest = sealer.seal(target, extra if is_last else (), status="recovered" if is_last else None)
        result.sealed_segments += 1
    manifest = read_manifest(folder)
    if manifest.status == "running" or (usable and manifest.live_digest is not None):
        manifest.status = "recovered" if usable else "sealed"
        manifest.live_digest = None
        write_manifest(folder, manifest)
    result.manifest = manifest
    return result


class CarriedOver(msgspec.Struct):
    """
    Journals of a session that died, left as they are: recording goes on behind them.

    Attributes:
        segments: Those that are to be sealed, in order.
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
        drop_sealed_journals(folder, read_manifest(folder))


def carry_over(folder: Path, manifest: Manifest, normalizer: Normalizer, clock: Clock) -> CarriedOver:
    """
    Go on behind a recorder that died without sealing what it left. The caller holds the lock. May be run again.

    What may be missing is stated in a journal of its own. Tables are not made, so it takes no more memory than
    recording does.

    Args:
        folder: The recording, after `finish_leftovers`.
        manifest: Of it.
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
    last = left.last
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
    if (began := _cut_since(folder, manifest, left)) is not None:
        until = _alive_until(manifest, left.touched_ns or began, last, clock)
        # After all others: an empty one that is there tells of the loss until this does.
        journal = JournalWriter(folder, max([*journal_segments(folder), len(manifest.segments) - 1]) + 1)
        for frame in _statement_of_loss(manifest, last, min(began, until), until, clock, result):
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


class _Left(NamedTuple):
    """
    What the journals of dead recorders come to.

    Attributes:
        usable: Numbers of those that go on from what is sealed, in order; the last of them may be empty.
        last: The last frame then.
        touched_ns: When the last journal was touched, ns; 0 if there is none.
        is_last_empty: Nothing could be taken from the last journal: its session had just begun another segment.
    """

    usable: list[int]
    last: Frame | None
    touched_ns: int
    is_last_empty: bool


def _usable_journals(folder: Path, manifest: Manifest, result: Recovery) -> _Left:
    """
    Look through the journals.

    Empty ones are removed, but for the last: nothing is in them. What cannot be read is set aside, and so is a journal
    whose frames were sealed before; where frames are missing, sealing states it.
    """
    last = _last_sealed_frame(folder, manifest)
    usable: list[int] = []
    touched_ns, is_empty = 0, False
    numbers = journal_segments(folder)
    for number in numbers:
        path = journal_path(folder, number)
        touched_ns = path.stat().st_mtime_ns
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
        if found is None and number != numbers[-1]:
            path.unlink()
            continue
        usable.append(number)
        result.recovered_frames += reader.frame_count
        last = found or last
    return _Left(usable, last, touched_ns, is_empty)


def _cut_since(folder: Path, manifest: Manifest, left: _Left) -> int | None:
    """Since when something may be missing, because nobody has said that a session ended, ns; None if all have."""
    last = left.last
    has_ended = last is not None and _ended_well(last)
    if left.touched_ns:
        # An end is the last that a session writes: an empty journal behind one is of the next session.
        is_cut = left.is_last_empty or not has_ended
    else:
        # A recording that was sealed says nothing of how its session ended: an import has none, and others need none.
        is_cut = manifest.status == "running" and last is not None and not has_ended
    if not is_cut:
        return None
    return (folder / MANIFEST_NAME).stat().st_mtime_ns if last is None or has_ended else last.ts_recv


def _alive_until(manifest: Manifest, touched_ns: int, last: Frame | None, clock: Clock) -> int:
    """
    The latest time at which the recorder can have been alive.

    It touches its journal at every flush, so it lived no longer than until the next one, for which the loop may have
    been late. When the machine itself went down, the file system may not have kept the last touches.
    """
    now = clock.time_ns()
    booted = now - clock.monotonic_ns()
    until = touched_ns + round(manifest.flush_interval_s * NS_PER_S) + LATE_NS
    if last is not None and booted > last.ts_recv:
        until = max(until, min(booted, touched_ns + POWER_CUT_NS))
    return max(min(now, until), last.ts_recv if last is not None else 0)


def _statement_of_loss(
    manifest: Manifest, last: Frame | None, began: int, until: int, clock: Clock, result: Recovery
) -> list[Frame]:
    """Frames that end the session: per venue what may be missing, and that nothing holds any more."""
    result.lost_from, result.lost_until = began, until
    mono = last.ts_mono + until - last.ts_recv if last is not None else clock.monotonic_ns() - clock.time_ns() + until
    first_seq = last.capture_seq + 1 if last is not None else 0
    frames: list[Frame] = []
    for source in manifest.sources:
        for payload in (
            control_payload("lost", cause="crash", ts_start=began, ts_end=until),
            control_payload("session_end", cause="crash"),
        ):
            frames.append(Frame(first_seq + len(frames), until, mono, source.venue, -1, 0, CONTROL, payload))
    return frames


def _ended_well(last: Frame) -> bool:
    return last.kind == CONTROL and msgspec.json.decode(last.payload).get("event") == "session_end"


def _last_sealed_frame(folder: Path, manifest: Manifest) -> Frame | None:
    """The last frame that is in Parquet already; what the manifest says of it, where the file is damaged."""
    if not manifest.segments:
        return None
    segment = manifest.segments[-1]
    last = None
    with contextlib.suppress(RecordingError):
        for batch in Recording(folder, manifest).raw_frames([segment], first_seq=segment.capture_seq_last):
            last = batch[-1]
    if last is not None and last.capture_seq == segment.capture_seq_last:
        return last
    # A session ends its segment, so where one holds an end it ends with it.
    has_ended = manifest.status != "running" or segment.counts.get("event_session_end", 0) > 0
    payload = control_payload("session_end" if has_ended else "unknown")
    return Frame(segment.capture_seq_last, segment.ts_recv_last, segment.ts_recv_last, "", -1, 0, CONTROL, payload)
