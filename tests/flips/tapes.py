"""Small recordings in which every kind of file occurs."""

from __future__ import annotations

from pathlib import Path

from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from recordings.states import checkpoints, seek_points
from tests.serving import synthetic_session
from toolkit.frames import Frame

#: Frames of a segment, and between two states within one: a real recording has hundreds of times as many.
SEGMENT_FRAMES = 70
POINT_FRAMES = 40
#: Files that hold nothing of a recording.
NOT_OURS = ("recording.lock", "tee.json")


def make(folder: Path, work: Path, *, seconds: int = 3) -> Recording:
    """A sealed recording of an account and two pairs, of several segments with states within them: some 350 kB."""
    session, user = synthetic_session(work, seconds=seconds, as_recorder=True)
    frames = [frame for batch in session.raw_frames() for frame in batch]
    old = session.manifest.sources[0]
    source = SourceInfo(old.venue, old.protocol_version, old.pairs, (), (user,))
    _write(folder, source, frames, SEGMENT_FRAMES)
    return Recording.open(folder)


def make_open(folder: Path, sealed: Recording) -> None:
    """The same frames as a recorder that was killed leaves them: a sealed segment, and journals."""
    frames = [frame for batch in sealed.raw_frames() for frame in batch]
    _write(folder, sealed.manifest.sources[0], frames[:-1], SEGMENT_FRAMES, sealed_count=1)


def _write(
    folder: Path, source: SourceInfo, frames: list[Frame], segment_frames: int, sealed_count: int | None = None
) -> None:
    folder.mkdir(parents=True)
    write_manifest(folder, Manifest(created_ns=frames[0].ts_recv, sources=[source], flush_interval_s=0.25))
    sealer = Sealer(folder)
    before = seek_points.POINT_FRAMES, seek_points.PAYLOAD_PER_BYTE, checkpoints.TABLES_PER_BYTE
    seek_points.POINT_FRAMES, seek_points.PAYLOAD_PER_BYTE, checkpoints.TABLES_PER_BYTE = POINT_FRAMES, 0, 0  # type: ignore[misc]
    try:
        starts = range(0, len(frames), segment_frames)
        for number, begin in enumerate(starts):
            journal = JournalWriter(folder, number)
            for place, frame in enumerate(frames[begin : begin + segment_frames]):
                journal.append(frame)
                if place % 20 == 19:
                    journal.drain()
            journal.close()
            if sealed_count is None or number < sealed_count:
                is_last = number == len(starts) - 1
                sealer.seal(number, status="sealed" if is_last else None)
    finally:
        seek_points.POINT_FRAMES, seek_points.PAYLOAD_PER_BYTE, checkpoints.TABLES_PER_BYTE = before  # type: ignore[misc]


def files_of(folder: Path) -> list[Path]:
    """Every file that is the recording's, in order."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if path.name not in NOT_OURS and "set-aside" not in path.relative_to(folder).parts]
