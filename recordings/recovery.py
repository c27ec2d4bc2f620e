"""
Healing a recording whose recorder died.

Everything that was flushed is sealed, exactly once. Half-written files are set aside, never deleted. What was lost is
stated: a `lost` event from the last frame that was kept to the latest moment at which the recorder can have been alive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from recordings.checkpoints import CHECKPOINT_FOLDER
from recordings.files import sync_folder, temporary_path, write_atomically
from recordings.journal import JOURNAL_FOLDER, JournalReader, JournalWriter, journal_path, journal_segments
from recordings.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from recordings.recording import Recording
from recordings.rewriting import finish_rewrite
from recordings.schema import TABLES
from recordings.sealing import Sealer
from toolkit.clock import NS_PER_S, Clock
from toolkit.frames import CONTROL, Frame, control_payload

__all__ = ["Recovery", "needs_recovery", "recover"]

SET_ASIDE: Final = "set-aside"
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
    """

    manifest: Manifest
    sealed_segments: int = 0
    recovered_frames: int = 0
    left_bytes: int = 0
    set_aside: list[str] = []
    lost_from: int | None = None
    lost_until: int | None = None


def needs_recovery(folder: Path) -> bool:
    """Whether a recorder died in the folder (or is at work in it)."""
    is_half_written = temporary_path(folder / MANIFEST_NAME).exists()
    return is_half_written or read_manifest(folder).status == "running" or bool(journal_segments(folder))


def recover(folder: Path, clock: Clock, *, alive_until: int | None = None) -> Recovery:
    """
    Heal a recording. The caller holds its lock. May be interrupted and run again.

    Args:
        folder: The recording.
        clock: Tells when the recorder was dead for certain.
        alive_until: When it ended, ns, where the caller knows; else it is taken from the files it left.

    Raises:
        RecordingError: It is not a recording, too new, or damaged in a way that healing would hide.
    """
    finish_rewrite(folder)
    manifest = read_manifest(folder)
    result = Recovery(manifest)
    _set_aside_leftovers(folder, manifest, result)
    sealer = Sealer(folder)
    begun_ns = (folder / MANIFEST_NAME).stat().st_mtime_ns
    last = _last_sealed_frame(folder, manifest)
    usable: list[int] = []
    touched_ns = 0
    for number in journal_segments(folder):
        if number < len(manifest.segments):
            sealer.seal(number)  # removes the journal that sealing had not come to remove
            continue
        path = journal_path(folder, number)
        touched_ns = path.stat().st_mtime_ns
        found = _scan(path, number == len(manifest.segments) + len(usable), last)
        if found is None:
            result.left_bytes += path.stat().st_size
            _move_aside(folder, path, result)
            continue
        reader, last = found
        usable.append(number)
        result.recovered_frames += reader.frame_count
        if reader.left_bytes:
            _keep_tail(folder, path, reader, result)
    extra: list[Frame] = []
    is_cut = touched_ns and (not result.recovered_frames or last is None or not _ended_well(last))
    if is_cut or (last is not None and not _ended_well(last)):
        began = begun_ns if last is None or _ended_well(last) else last.ts_recv
        until = alive_until or _alive_until(manifest, touched_ns or began, last, clock)
        extra = _statement_of_loss(manifest, last, min(began, until), until, clock, result)
        if not usable:
            usable.append(len(manifest.segments))
            JournalWriter(folder, usable[-1]).close()
    for number in usable:
        is_last = number == usable[-1]
        manifest = sealer.seal(number, extra if is_last else (), status="recovered" if is_last else None)
        result.sealed_segments += 1
    manifest = read_manifest(folder)
    if manifest.status == "running" or (usable and manifest.live_digest is not None):
        manifest.status = "recovered" if usable else "sealed"
        manifest.live_digest = None
        write_manifest(folder, manifest)
    result.manifest = manifest
    return result


def _scan(path: Path, follows: bool, last: Frame | None) -> tuple[JournalReader, Frame | None] | None:
    """Read a journal through: the reader, and the last frame then; None if it does not go on where the last ended."""
    reader = JournalReader(path)
    expected = last.capture_seq + 1 if last is not None else 0
    for batch in reader.frames():
        if reader.frame_count == len(batch) and batch and batch[0].capture_seq != expected:
            follows = False
        last = batch[-1] if batch else last
    return (reader, last) if follows else None


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
    """The last frame that is in Parquet already."""
    last = None
    for batch in Recording(folder, manifest).raw_frames(manifest.segments[-1:]):
        last = batch[-1]
    return last


def _set_aside_leftovers(folder: Path, manifest: Manifest, result: Recovery) -> None:
    """Move away temporary files, and files of segments that the manifest does not name: they are made again."""
    known = {file.path for segment in manifest.segments for file in segment.files}
    if manifest.resume is not None:
        known.add(manifest.resume.path)
    for place in (*TABLES, CHECKPOINT_FOLDER, JOURNAL_FOLDER, ""):
        base = folder / place if place else folder
        if not base.is_dir():
            continue
        for path in sorted(base.iterdir()):
            if not path.is_file():
                continue
            name = path.relative_to(folder).as_posix()
            is_temporary = path.name.startswith(".") and path.name.endswith(".tmp")
            is_orphan = place in (*TABLES, CHECKPOINT_FOLDER) and name not in known
            if is_temporary or is_orphan:
                _move_aside(folder, path, result)


def _move_aside(folder: Path, path: Path, result: Recovery) -> None:
    target = _free_name(folder, path.relative_to(folder).as_posix().replace("/", "-"))
    path.rename(target)
    sync_folder(path.parent)
    result.set_aside.append(target.relative_to(folder).as_posix())


def _keep_tail(folder: Path, path: Path, reader: JournalReader, result: Recovery) -> None:
    """Keep what could not be read of a journal: the journal itself goes when it is sealed."""
    result.left_bytes += reader.left_bytes
    with path.open("rb") as journal:
        journal.seek(reader.good_bytes)
        tail = journal.read()
    target = _free_name(folder, f"{JOURNAL_FOLDER}-{path.stem}-from-{reader.good_bytes}.tail", tail)
    write_atomically(target, tail)
    sync_folder(folder)
    result.set_aside.append(target.relative_to(folder).as_posix())


def _free_name(folder: Path, name: str, content: bytes | None = None) -> Path:
    """A path in `set-aside/` that nothing has, or that has this content already: from a healing that was interrupted."""
    place = folder / SET_ASIDE
    place.mkdir(exist_ok=True)
    name = name.lstrip(".")
    target = place / name
    count = 1
    while target.exists() and (content is None or target.read_bytes() != content):
        target = place / f"{name}.{count}"
        count += 1
    return target
