"""
What a recording's folder must hold, kept beside it: a recorder driven by hand, the files as Arrow alone reads them, and
the rules by which frames may come to them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from recordings.file_names import FILE_FOLDERS
from recordings.journal import JournalWriter
from recordings.lock import FolderLock
from recordings.manifest import MANIFEST_NAME, Manifest, SourceInfo, read_manifest, write_manifest
from recordings.normalize import Normalizer
from recordings.recovery import CarriedOver, carry_over, finish_leftovers, needs_recovery, recover
from recordings.resuming import resume_at_end
from recordings.rows import frames as frames_of_rows
from recordings.schema import RAW_TABLE
from recordings.sealing import Sealer
from tests.hand_recorder import frame as some_frame
from tests.tapes import TS
from toolkit.clock import ManualClock
from toolkit.frames import CONTROL, Frame, control_payload
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

__all__ = ["Broken", "Disk", "Session", "digest_of", "events_in", "later", "scratch_of"]

VENUE: Final = "hyperliquid"
PAIRS: Final = ("BTC-USD",)
#: Long after every frame, in the time of the tapes.
LATER_NS: Final = 10**18


class Broken(AssertionError):
    """The folder is not what it must be."""


def later() -> ManualClock:
    """The clock of whoever heals or prunes."""
    return ManualClock(TS + LATER_NS)


def event_of(frame: Frame) -> str:
    """The event of a control frame; empty for others."""
    return str(json.loads(frame.payload)["event"]) if frame.kind == CONTROL else ""


def events_in(frames: list[Frame]) -> list[str]:
    """The events of the control frames among them."""
    return [event for frame in frames if (event := event_of(frame))]


class Session:
    """
    A recorder without a venue, a loop or another process: it does to the folder what `record` does, in its order.

    Attributes:
        given: Frames handed to the journal so far.
        flushed: How many of them the journal has said to have written.
        is_doomed: Something went wrong in it, which a later call may tell.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given: list[Frame] = []
        self.flushed = 0
        self.is_doomed = False
        self.journal: JournalWriter | None = None
        self._closed: list[int] = []
        self._number = 0
        self._next_seq = 0
        self._is_over = False
        self._stack = contextlib.ExitStack()
        self._sealer = Sealer(folder)

    def begin(self, *, is_carried: bool = False) -> None:
        """
        Open the folder to write: lock it, heal it, say that it runs, open the first journal.

        With `is_carried` what an earlier session left is not sealed first, as `record` does where sealing dies over it.
        """
        self.folder.mkdir(exist_ok=True)
        self._stack.enter_context(FolderLock(self.folder))
        carried = None
        if (self.folder / MANIFEST_NAME).exists():
            if needs_recovery(self.folder) and is_carried:
                carried = self._carry_over()
            elif needs_recovery(self.folder):
                recover(self.folder, later())
            manifest = read_manifest(self.folder)
            manifest.status = "running"
            manifest.live_digest = None
        else:
            version = find_venue(VENUE).make_protocol(ProtocolOptions(pairs=PAIRS)).version
            manifest = Manifest(created_ns=TS, sources=[SourceInfo(VENUE, version, PAIRS)], software="by hand")
        write_manifest(self.folder, manifest)
        segments = manifest.segments
        self._number = len(segments)
        self._next_seq = segments[-1].capture_seq_last + 1 if segments else 0
        if carried is not None:
            self._closed, self._number, self._next_seq = carried.segments, carried.next_segment, carried.next_seq
        self.journal = self._journal()

    def _carry_over(self) -> CarriedOver:
        finish_leftovers(self.folder)
        manifest = read_manifest(self.folder)
        normalizer = Normalizer.for_sources(manifest.sources)
        resume_at_end(self.folder, manifest, normalizer)
        return carry_over(self.folder, manifest, normalizer, later())

    def _journal(self) -> JournalWriter:
        return JournalWriter(self.folder, self._number, on_written=self._note)

    def _note(self, first_seq: int, last_seq: int, _: bytes) -> None:
        if not self._is_over:
            self.flushed += last_seq - first_seq + 1

    def give(self, count: int) -> None:
        """Hand frames to the journal, which has not flushed them yet."""
        for _ in range(count):
            self._give(some_frame(self._next_seq))

    def _give(self, frame: Frame) -> None:
        assert self.journal is not None
        self.given.append(frame)
        self._next_seq += 1
        self.journal.append(frame)

    def flush(self) -> None:
        """Have written what was given."""
        assert self.journal is not None
        # While it records nobody waits for the journal's thread: what goes wrong there the next call has to tell.
        with contextlib.suppress(MemoryError, KeyboardInterrupt):
            self.journal.drain()

    def rotate(self) -> None:
        """Open the next journal and close this one, if anything was given to it."""
        assert self.journal is not None
        before = self.journal
        if before.frame_count:
            self._closed.append(self._number)
            self._number += 1
            # Opened first, as `record` does; what comes of the two at one time would depend on the machine.
            self.journal = self._journal()
            before.close()

    def seal(self) -> None:
        """Seal the oldest journal that is closed, if there is one."""
        if self._closed:
            self._sealer.seal(self._closed[0])
            self._closed.pop(0)

    def stop(self) -> None:
        """End in good order."""
        assert self.journal is not None
        payload = control_payload("session_end", cause="stop")
        end = msgspec.structs.replace(some_frame(self._next_seq), kind=CONTROL, conn_id=-1, payload=payload)
        self._give(end)
        self.journal.close()
        self._closed.append(self._number)
        while self._closed:
            self.seal()
        manifest = read_manifest(self.folder)
        manifest.status = "sealed"
        write_manifest(self.folder, manifest)
        self.leave()

    def leave(self, *, is_killed: bool = False) -> None:
        """Let everything go, whatever state it is in. Who was killed writes no more, and puts no journal back."""
        self._is_over = True
        if self.journal is not None and is_killed:
            self.journal.release()
        if self.journal is not None:
            with contextlib.suppress(BaseException):  # what was raised in its thread is raised again
                self.journal.close()
        self._stack.close()


class Disk:
    """
    What the files of a recording say, by Arrow alone.

    Args:
        folder: The recording.
        cache: Of frames in files that were read before.
        sound: Content of files as it was before they were damaged, by path.

    Attributes:
        sealed: Raw frames of each segment; None where it was pruned.
        bounds: First and last frame of each segment, as the manifest says.
        journals: Frames of each journal whose segment is not sealed, by number.
        files: Every file that the manifest names, below the folder.
        resume: The one of them that holds the state after the last segment, if there is one.
    """

    def __init__(self, folder: Path, cache: dict[Any, list[Frame]], sound: dict[Path, bytes]) -> None:
        manifest = json.loads((folder / MANIFEST_NAME).read_bytes())
        self.status: str = manifest["status"]
        self.sealed: list[list[Frame] | None] = []
        self.bounds: list[tuple[int, int]] = []
        self.resume: set[str] = set() if manifest.get("resume") is None else {manifest["resume"]["path"]}
        self.files: set[str] = set(self.resume)
        for segment in manifest["segments"]:
            tables = segment["tables"]
            raw = tables.get(RAW_TABLE)
            self.sealed.append(None if raw is None else _parquet_frames(folder / raw["path"], cache, sound))
            self.bounds.append((segment["capture_seq_first"], segment["capture_seq_last"]))
            files = [*tables.values(), segment.get("checkpoint"), segment.get("seek_points")]
            self.files |= {file["path"] for file in files if file is not None}
        last = self.bounds[-1][1] if self.bounds else -1
        self.journals: dict[int, list[Frame]] = {}
        for path in sorted((folder / "journal").glob("[0-9][0-9][0-9][0-9][0-9][0-9].arrows")):
            found = _journal_frames(path)
            if int(path.stem) >= len(self.sealed) and not (found and found[-1].capture_seq <= last):
                self.journals[int(path.stem)] = found

    def frames(self) -> Iterator[tuple[int, Frame | None]]:
        """Every frame by its number, None for one that was pruned, in the order in which they are kept."""
        for found, (first, last) in zip(self.sealed, self.bounds, strict=True):
            if found is None:
                yield from ((seq, None) for seq in range(first, last + 1))
            else:
                yield from ((frame.capture_seq, frame) for frame in found)
        for journal in self.journals.values():
            yield from ((frame.capture_seq, frame) for frame in journal)

    @property
    def is_cut(self) -> bool:
        """Whether a session had begun to write and did not say that it ends."""
        last = None
        for _, frame in self.frames():
            last = frame
        # Only the last journal tells: an empty one before it is of a session whose loss a later one has stated.
        is_last_empty = bool(self.journals) and not self.journals[max(self.journals)]
        is_open = bool(self.journals) or self.status == "running"
        return is_last_empty or (is_open and last is not None and event_of(last) != "session_end")


def _parquet_frames(path: Path, cache: dict[Any, list[Frame]], sound: dict[Path, bytes]) -> list[Frame]:
    state = path.stat()
    key = (path, state.st_ino, state.st_mtime_ns, state.st_size)
    if key not in cache:
        rows = pq.read_table(pa.BufferReader(sound[path]) if path in sound else path).combine_chunks().to_batches()
        cache[key] = [frame for batch in rows for frame in frames_of_rows(batch)]
    return cache[key]


def _journal_frames(path: Path) -> list[Frame]:
    found: list[Frame] = []
    try:
        with pa.ipc.open_stream(pa.BufferReader(path.read_bytes())) as stream:
            for batch in stream:
                found += frames_of_rows(batch)
    except (pa.ArrowException, OSError):
        pass  # a torn end
    return found


def digest_of(frames: list[Frame], sources: list[SourceInfo]) -> str:
    """Of an undisturbed run over the frames."""
    normalizer = Normalizer.for_sources(sources)
    for frame in frames:
        for message in normalizer.messages(frame):
            normalizer.take(message)
    return normalizer.chain.hexdigest()


def scratch_of(folder: Path) -> set[str]:
    """Files in the folder that belong to none of its orderly places: what an interrupted writer left."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    orderly = (*FILE_FOLDERS, "set-aside")
    return {name for name in found if name.partition("/")[0] not in orderly} - {MANIFEST_NAME, "recording.lock"}
