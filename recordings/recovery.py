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
from recordings.files import sync_folder
from recordings.journal import JOURNAL_FOLDER, JournalReader, journal_path, journal_segments
from recordings.manifest import Manifest, read_manifest, write_manifest
from recordings.recording import Recording
from recordings.rewriting import finish_rewrite
from recordings.schema import TABLES
from recordings.sealing import Sealer
from toolkit.clock import NS_PER_S, Clock
from toolkit.frames import CONTROL, Frame, control_payload

__all__ = ["Recovery", "needs_recovery", "recover"]

SET_ASIDE: Final = "set-aside"


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
    return read_manifest(folder).status == "running" or bool(journal_segments(folder))


def recover(folder: Path, clock: Clock) -> Recovery:
    """
    Heal a recording. The caller holds its lock. May be interrupted and run again.

    Raises:
        RecordingError: It is not a recording, too new, or damaged in a way that healing would hide.
    """
    finish_rewrite(folder)
    manifest = read_manifest(folder)
    result = Recovery(manifest)
    _set_aside_leftovers(folder, manifest, result)
    sealer = Sealer(folder)
    numbers = journal_segments(folder)
    last = _last_sealed_frame(folder, manifest)
    for number in numbers:
        if number < len(manifest.segments):
            sealer.seal(number)  # removes the journal that sealing had not come to remove
            continue
        path = journal_path(folder, number)
        reader = JournalReader(path)
        for batch in reader.frames():
            last = batch[-1] if batch else last
        result.recovered_frames += reader.frame_count
        if reader.left_bytes:
            _keep_tail(folder, path, reader, result)
        extra: list[Frame] = []
        if number == numbers[-1] and last is not None and not _ended_well(last):
            extra = _statement_of_loss(manifest, path, last, clock, result)
        manifest = sealer.seal(number, extra)
        result.sealed_segments += 1
    manifest = read_manifest(folder)
    if manifest.status == "running":
        manifest.status = "recovered" if numbers else "sealed"
        manifest.live_digest = None
        write_manifest(folder, manifest)
    result.manifest = manifest
    return result


def _statement_of_loss(manifest: Manifest, path: Path, last: Frame, clock: Clock, result: Recovery) -> list[Frame]:
    """Frames that end the session: per venue what may be missing, and that nothing holds any more."""
    written = path.stat().st_mtime_ns
    until = min(clock.time_ns(), written + round(manifest.flush_interval_s * NS_PER_S))
    until = max(until, last.ts_recv)
    result.lost_from, result.lost_until = last.ts_recv, until
    mono = last.ts_mono + until - last.ts_recv
    frames: list[Frame] = []
    for source in manifest.sources:
        for payload in (
            control_payload("lost", cause="crash", ts_start=last.ts_recv, ts_end=until),
            control_payload("session_end", cause="crash"),
        ):
            seq = last.capture_seq + 1 + len(frames)
            frames.append(Frame(seq, until, mono, source.venue, -1, 0, CONTROL, payload))
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
    known = {file.path for segment in manifest.segments for file in segment.tables.values()}
    known |= {segment.checkpoint.path for segment in manifest.segments if segment.checkpoint is not None}
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
    target = _free_name(folder, f"{JOURNAL_FOLDER}-{path.stem}-from-{reader.good_bytes}.tail")
    with path.open("rb") as journal:
        journal.seek(reader.good_bytes)
        target.write_bytes(journal.read())
    result.set_aside.append(target.relative_to(folder).as_posix())


def _free_name(folder: Path, name: str) -> Path:
    place = folder / SET_ASIDE
    place.mkdir(exist_ok=True)
    name = name.lstrip(".")
    target = place / name
    count = 1
    while target.exists():
        target = place / f"{name}.{count}"
        count += 1
    return target
