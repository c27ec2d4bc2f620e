"""
A recorder without a venue, for the storage machine: its journals, its sealing and its end are those of `record`, and
everything happens in this thread or is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from recordings.care.recovery import CarriedOver, carry_over, finish_leftovers, needs_recovery, recover
from recordings.format.manifest import MANIFEST_NAME, Manifest, read_manifest, write_manifest
from recordings.journal.journal_reader import JournalWriter
from recordings.reading.resume_state import resume_at_end
from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.sealing.journal_sealing import Sealer
from recordings.states.normalizer import Normalizer
from recordings.storage.lock import FolderLock
from recordings.writing.recording_session import RecordingSession
from recordings.writing.restarting import LeftOver
from recordings.writing.sealer_process import SealerProcess, SealReport
from tests.chaos.storage_model import later
from tests.hand_recorder import STEP
from tests.hand_recorder import frame as some_frame
from tests.models.machine import replaced
from tests.tapes import TS, bbo_frame
from toolkit.clock import ManualClock
from toolkit.errors import RecordingError, TickdeckError
from toolkit.frames import Frame
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

__all__ = ["Session", "session_frame"]

REQUEST: Final = VenueRequest(spec=find_venue("hyperliquid"), options=ProtocolOptions(pairs=("BTC-USD",)))


def session_frame(seq: int) -> Frame:
    """One that makes rows of several tables, now and then."""
    frame = some_frame(seq)
    if seq % 3 < 2:
        return frame
    quote = bbo_frame("BTC", TS // 1_000_000 + seq, (10.0 + seq % 5, 1.0), (20.0, 2.0 + seq))
    return msgspec.structs.replace(frame, payload=msgspec.json.encode(quote))


class _AtOnce(Executor):
    """Runs what it is given in the thread that gives it."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `Executor` has it."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as exc:  # noqa: BLE001  # whoever waits raises it
            future.set_exception(exc)
        return future


class _SealerHere:
    """Seals as the sealing process does, without one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def seal(self, number: int, *, is_again: bool = False) -> SealReport:
        """As `SealerProcess.seal`."""
        try:
            return SealReport(number, Sealer(self._folder).seal(number, is_again=is_again).digest)
        except (TickdeckError, OSError, MemoryError) as exc:
            raise RecordingError(f"{type(exc).__name__}: {exc}") from exc

    async def stop(self) -> None:
        """There is nothing to stop."""


class _Session(RecordingSession):
    """One whose frames are noted before they go into the journal."""

    given: list[Frame]

    def write_down(self, frame: Frame) -> None:
        self.given.append(frame)
        super().write_down(frame)


class Session:
    """
    One session: it does to the folder what `record` does, in its order.

    Attributes:
        given: Frames handed to the journal so far.
        flushed: How many of them the journal has said to have written.
        synced: How many of them a power cut leaves.
        is_doomed: Something went wrong in it, which a later call may tell.
        first_segment: Number of its first journal.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given: list[Frame] = []
        self.flushed = 0
        self.synced = 0
        self.is_doomed = False
        self.journal: JournalWriter | None = None
        self._closed: list[int] = []
        self._number = 0
        self._next_seq = 0
        self._is_over = False
        self.first_segment = 0
        self._stack = contextlib.ExitStack()
        self._sealer = Sealer(folder)
        self._normalizer = Normalizer({})
        self._recorder = Recorder(RecorderOptions(folder=folder, venues=[REQUEST]))

    def begin(self, *, is_carried: bool = False) -> None:
        """
        Open the folder to write: lock it, heal it, say that it runs, open the first journal.

        With `is_carried` what an earlier session left is not sealed first, as `record` does where sealing dies over it.
        """
        self._recorder._prepare_folder(self.folder)
        self._stack.enter_context(FolderLock(self.folder))
        carried = None
        if (self.folder / MANIFEST_NAME).exists():
            is_torn = needs_recovery(self.folder)
            if is_torn and is_carried:
                finish_leftovers(self.folder)
            elif is_torn:
                recover(self.folder, later())
            manifest = read_manifest(self.folder)
            self._normalizer = Normalizer.for_sources(manifest.sources)
            resume_at_end(self.folder, manifest, self._normalizer)
            if is_torn and is_carried:
                carried = carry_over(self.folder, manifest, self._normalizer, later())
            manifest.status = "running"
            manifest.live_digest = None
        else:
            sources = [REQUEST.source_info(REQUEST.spec.make_protocol(REQUEST.options).version)]
            manifest = Manifest(created_ns=TS, sources=sources, software="by hand")
            self._normalizer = Normalizer.for_sources(sources)
        write_manifest(self.folder, manifest)
        self._goes_on_after(manifest, carried)
        self.journal = self._journal()

    def _goes_on_after(self, manifest: Manifest, carried: CarriedOver | None) -> None:
        segments = manifest.segments
        self._number = len(segments)
        self._next_seq = segments[-1].capture_seq_last + 1 if segments else 0
        if carried is not None:
            self._closed, self._number, self._next_seq = carried.segments, carried.next_segment, carried.next_seq
        self.first_segment = self._number

    def _journal(self) -> JournalWriter:
        return JournalWriter(self.folder, self._number, on_written=self._note)

    def _note(self, first_seq: int, last_seq: int, _: bytes) -> None:
        if not self._is_over:
            self.flushed += last_seq - first_seq + 1

    def give(self, count: int) -> None:
        """Hand frames to the journal, which has not flushed them yet."""
        for _ in range(count):
            self._give(session_frame(self._next_seq))

    def _give(self, frame: Frame) -> None:
        assert self.journal is not None
        self.given.append(frame)
        self._next_seq += 1
        self.journal.append(frame)
        for message in self._normalizer.messages(frame):
            self._normalizer.take(message)

    def flush(self) -> None:
        """Have written what was given."""
        assert self.journal is not None
        # While it records nobody waits for the journal's thread: what goes wrong there the next call has to tell.
        with contextlib.suppress(MemoryError, KeyboardInterrupt):
            self.journal.drain()

    def sync(self) -> None:
        """Have what was written on the disk."""
        assert self.journal is not None
        flushed = self.flushed
        self.journal.sync()
        self.synced = flushed

    def settle_meanwhile(self) -> None:
        """
        A thread has the disk settle, and the loop goes on meanwhile: just before the thread hands anything over.

        Where the loop has to wait for it then, it is let go after a moment.
        """
        journal = self.journal
        assert journal is not None
        failures: list[BaseException] = []

        def shielded(act: Callable[[], object]) -> None:
            try:
                act()
            except BaseException as exc:  # noqa: BLE001  # raised below
                failures.append(exc)

        def go_on() -> None:
            self.give(1)
            journal.flush()

        settling = threading.Thread(target=shielded, args=(journal.settle,))
        loop = threading.Thread(target=shielded, args=(go_on,))
        submit = ThreadPoolExecutor.submit

        def submitted(pool: ThreadPoolExecutor, *args: Any, **kwargs: Any) -> Future[Any]:
            if threading.current_thread() is settling and loop.ident is None:
                loop.start()
                loop.join(0.2)
            return submit(pool, *args, **kwargs)

        with replaced(ThreadPoolExecutor, "submit", submitted):
            settling.start()
            settling.join()
        if loop.ident is None:
            loop.start()
        loop.join()
        if failures:
            raise failures[0]
        self.flush()

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
        """End as `record` does."""
        asyncio.run(self._end())

    async def _end(self) -> None:
        # Without a source: none is started, and each would load the system's certificates.
        options, clock = replace(self._recorder.options, venues=()), ManualClock(TS + self._next_seq * STEP)
        session = _Session(
            options,
            clock,
            list[str]().append,
            self._recorder.dispatcher,
            self._recorder.status,
            normalizer=self._normalizer,
            left=LeftOver(self.first_segment, self._next_seq, self._closed),
            sealer=cast("SealerProcess", _SealerHere(self.folder)),
            guard=None,
        )
        session.given = self.given
        journals = session.journals
        for pool in (journals._finisher, journals._syncer, journals._looker):
            pool.shutdown()
        # What comes of two threads at one time would depend on the machine.
        journals._finisher = cast("Any", _AtOnce())
        journals._open, journals.number = self.journal, self._number
        sealing = asyncio.get_running_loop().create_task(session.queue.run())
        try:
            await session.finish(sealing, None)
        finally:
            session.queue.give_up()
            await asyncio.wait({sealing})
            if not sealing.cancelled():
                sealing.exception()  # it was told already, or was raised in the loop
            await journals.end()
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
