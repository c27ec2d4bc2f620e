"""
The journals of one recording session: written, synced and looked after by threads, one after the other.

The loop that receives hands frames over and never waits for the disk: neither for a write, nor for a sync, nor for the
opening of the next journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from recordings.journal.journal_reader import JournalWriter, WrittenCallback
from recordings.writing.folder_guard import FolderGuard
from recordings.writing.recorder_options import Fsync, RecorderOptions
from recordings.writing.recorder_status import RecorderStatus
from recordings.writing.rotation import Rotation
from toolkit.clock import NS_PER_S, Clock
from toolkit.errors import BackpressureError, RecordingError
from toolkit.frames import Frame

__all__ = ["ClosedJournal", "SessionJournals", "disk_refused"]

LogCallback = Callable[[str], None]
#: How often at least it is seen that the journals are where they belong, seconds.
LOOK_S: Final = 0.5
#: Journals that wait to be sealed and are held open, so that they can be put back: the newest ones.
HELD_MAX: Final = 64


class ClosedJournal:
    """
    A journal that is or will be finished, and waits to be sealed.

    Attributes:
        number: Its segment.
        finishing: Done when it is written to its end and synced; raises OSError or RecordingError if it could not be.
    """

    def __init__(self, number: int, journal: JournalWriter, finishing: asyncio.Future[None]) -> None:
        self.number = number
        self.journal = journal
        self.finishing = finishing


class SessionJournals:
    """
    Writes the frames of one session down.

    Args:
        options: Options of the recorder.
        clock: The recorder's.
        log: Called in the loop with one line that an operator should know.
        status: Kept up to date.
        on_written: Called in another thread after each batch.
        guard: Looks after the rest of the folder; None for no one.

    Attributes:
        number: Segment of the open journal.
    """

    def __init__(
        self,
        options: RecorderOptions,
        clock: Clock,
        log: LogCallback,
        status: RecorderStatus,
        on_written: WrittenCallback | None = None,
        guard: FolderGuard | None = None,
    ) -> None:
        self._guard = guard
        self._failure: RecordingError | None = None
        self._options = options
        self._clock = clock
        self._log = log
        self._status = status
        self._on_written = on_written
        self._loop = asyncio.get_running_loop()
        self._open: JournalWriter | None = None
        #: Those that are not sealed, the oldest first.
        self._closed: list[ClosedJournal] = []
        self.number = 0
        self._written_before = 0
        self._rotation = Rotation(options.rotate_s, options.rotate_bytes)
        self._was_slow = False
        self._flushed = asyncio.Event()
        self._cannot_sync = False
        self._guard_said = ""
        # One thread for each kind of waiting: none of them keeps another from its work, and a disk that hangs holds
        # three threads and not more with every look.
        self._finisher, self._syncer, self._looker = (
            ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("finish", "sync", "look")
        )
        self._looking: asyncio.Future[None] | None = None

    # -- every frame -------------------------------------------------------------------------------------------

    def append(self, frame: Frame) -> None:
        """Take a frame down. Raises BackpressureError if the disk refused an earlier one, or is too slow."""
        journal = self._open
        if journal is None:
            raise BackpressureError("no journal is open")
        try:
            journal.append(frame)
        except (OSError, RecordingError) as exc:
            raise BackpressureError(disk_refused(journal.path, exc)) from exc

    # -- segments ----------------------------------------------------------------------------------------------

    def begin(self, number: int) -> None:
        """Open the first journal. Raises OSError."""
        self._status.disk_free = shutil.disk_usage(self._options.folder).free
        self._open_next(number, None)

    def rotate(self) -> ClosedJournal:
        """Close the open journal and go on in the next one; returns at once."""
        before = self._open
        closed = self._close_open()
        self._open_next(self.number + 1, before)
        return closed

    def close(self) -> ClosedJournal | None:
        """Close the open journal for good, if there is one; returns at once."""
        return self._close_open() if self._open is not None else None

    async def finished(self) -> RecordingError | None:
        """Wait until every closed journal is written to its end and synced; what kept one of them from it."""
        for closed in list(self._closed):
            try:
                await asyncio.shield(closed.finishing)
            except (OSError, RecordingError) as exc:
                return RecordingError(disk_refused(closed.journal.path, exc))
        return None

    def sealed(self, closed: ClosedJournal) -> None:
        """A segment is sealed: its journal need not be looked after any more."""
        self._closed.remove(closed)
        self._loop.run_in_executor(self._finisher, closed.journal.release)

    async def end(self) -> None:
        """Let all files and threads go."""
        for closed in self._closed:
            await self._loop.run_in_executor(self._finisher, closed.journal.release)
        self._closed.clear()
        for pool in (self._finisher, self._syncer, self._looker):
            pool.shutdown(wait=False)

    def is_full(self) -> bool:
        """Whether it is time for the next segment."""
        journal = self._open
        if journal is None or not journal.frame_count:
            return False
        if self._closed and not self._closed[-1].finishing.done():
            return False  # the disk is too slow: more journals would only make more to wait for
        return self._rotation.is_due(self._clock.time_ns(), journal.byte_count)

    def _open_next(self, number: int, after: JournalWriter | None) -> None:
        self.number = self._status.segment = number
        self._open = JournalWriter(
            self._options.folder,
            number,
            flush_bytes=self._options.flush_bytes,
            pending_bytes_max=self._options.pending_bytes_max,
            opened_ns=self._clock.time_ns(),
            after=after,
            on_written=self._on_written,
            on_notice=self._log_from_thread,
        )
        self._rotation.begin(self._clock.time_ns())

    def _close_open(self) -> ClosedJournal:
        journal, self._open = self._open, None
        assert journal is not None
        self._written_before += journal.frame_count
        finishing = self._loop.run_in_executor(self._finisher, journal.finish)
        closed = ClosedJournal(self.number, journal, finishing)
        self._closed.append(closed)
        if len(self._closed) > HELD_MAX:
            self._loop.run_in_executor(self._finisher, self._closed[-HELD_MAX - 1].journal.release)
        return closed

    def _log_from_thread(self, text: str) -> None:
        """From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._log, text)

    # -- regularly ---------------------------------------------------------------------------------------------

    async def flush_regularly(self) -> None:
        """Hand frames to the thread that writes; never waits for it."""
        while True:
            await self._clock.sleep(self._options.flush_interval_s)
            journal = self._open
            if journal is None:
                continue
            try:
                journal.flush()
            except (OSError, RecordingError) as exc:
                raise BackpressureError(disk_refused(journal.path, exc)) from exc
            self._flushed.set()

    async def sync_regularly(self) -> None:
        """Force the journal to the disk right after a flush: after each, or after the first one of each interval."""
        if self._options.fsync is Fsync.OFF:
            return
        flush_ns = round(self._options.flush_interval_s * NS_PER_S)
        interval_ns = 0 if self._options.fsync is Fsync.ALWAYS else round(self._options.fsync_interval_s * NS_PER_S)
        due = 0
        while True:
            await self._flushed.wait()
            self._flushed.clear()
            now = self._clock.monotonic_ns()
            journal = self._open
            if journal is None or now < due:
                continue
            due = now + interval_ns - flush_ns // 2  # the flush that is closest
            try:
                can = await self._loop.run_in_executor(self._syncer, journal.settle)
            except (OSError, RecordingError) as exc:
                raise BackpressureError(disk_refused(journal.path, exc)) from exc
            if not can and not self._cannot_sync:
                self._cannot_sync = True
                self._log(
                    f"the file system of {self._options.folder} cannot sync: what a power cut costs is up to it, "
                    f"--fsync {self._options.fsync} or not"
                )

    async def look_regularly(self) -> None:
        """Leave a sign of life, see that every journal is where it belongs, and how much disk is left."""
        while True:
            await self._clock.sleep(min(self._options.flush_interval_s, LOOK_S))
            if self._looking is None or self._looking.done():
                journals = [closed.journal for closed in self._closed[-HELD_MAX:]]
                if self._open is not None:
                    journals.append(self._open)
                self._looking = self._loop.run_in_executor(self._looker, self._look, journals)

    def _look(self, journals: list[JournalWriter]) -> None:
        with contextlib.suppress(OSError):  # who writes says so
            self._status.disk_free = shutil.disk_usage(self._options.folder).free
        for journal in journals:
            journal.look(self._clock.time_ns())
        if self._guard is not None:
            try:
                self._guard.look(self._log_from_thread)
            except RecordingError as exc:
                self._failure = self._failure or exc
            except OSError as exc:
                why = exc.strerror or str(exc)
                if why != self._guard_said:
                    self._log_from_thread(f"{self._options.folder} cannot be looked after: {why}")
                    self._guard_said = why

    def note(self) -> None:
        """
        Bring the status up to date, and say when the disk begins not to follow.

        Raises RecordingError when the folder is no longer the recorder's.
        """
        if self._failure is not None:
            raise self._failure
        journal = self._open
        if journal is None:
            return
        self._status.written_count = self._written_before + journal.written_count
        self._status.pending_bytes = journal.pending_bytes
        is_slow = journal.pending_bytes > self._options.pending_bytes_max // 4
        if is_slow and not self._was_slow:
            self._log(
                f"the disk is too slow: {journal.pending_bytes >> 20} MiB wait, the recording stops at "
                f"{self._options.pending_bytes_max >> 20} MiB"
            )
        self._was_slow = is_slow


def disk_refused(path: Path, exc: OSError | RecordingError) -> str:
    """One line of why nothing more can be written."""
    if isinstance(exc, RecordingError):
        return str(exc)
    return f"{path} cannot be written ({exc.strerror or exc}): stopped with what it has; make room, then record again"
