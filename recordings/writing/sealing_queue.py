"""
Closed journals on their way to Parquet, one after the other, however often sealing fails.

Recording does not depend on it: a journal is as good as a sealed segment, only larger and slower to read. What cannot be
sealed now is tried again later, first soon, then at growing intervals, and without compiled code.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from recordings.storage.crash_points import step
from recordings.writing.sealer_process import SealerProcess
from recordings.writing.session_journals import ClosedJournal, SessionJournals, disk_refused
from toolkit.clock import Clock
from toolkit.errors import RecordingError

__all__ = ["SealingQueue"]

LogCallback = Callable[[str], None]
#: Pauses before a segment is tried again, seconds: doubled from the first to the last.
PAUSE_S: Final = 1.0
PAUSE_S_MAX: Final = 300.0
#: How often a segment is tried once the session is over.
LAST_TRIES: Final = 3


class SealingQueue:
    """
    Seals the segments of a session.

    Args:
        sealer: The process that does it.
        journals: Journals of the session, notified of segments that are sealed.
        clock: Measures the pauses.
        log: Called with one line for what an operator should know.
        left: Segments of earlier sessions that are still to be sealed, in order.

    Attributes:
        failures: Tries that failed, so far.
        problem: Why the oldest segment could not be sealed when it was last tried; empty if it has not been, or nothing waits.
    """

    def __init__(
        self,
        sealer: SealerProcess,
        journals: SessionJournals,
        clock: Clock,
        log: LogCallback,
        left: Iterable[int] = (),
    ) -> None:
        self._sealer = sealer
        self._journals = journals
        self._clock = clock
        self._log = log
        self._waiting: deque[int | ClosedJournal] = deque(left)
        self._more = asyncio.Event()
        self._is_ending = asyncio.Event()
        self._is_given_up = False
        self._note = ""
        self.failures = 0
        self.problem = ""

    def __len__(self) -> int:
        """Segments that are closed and not sealed."""
        return len(self._waiting)

    def add(self, closed: ClosedJournal) -> None:
        """The next segment."""
        self._waiting.append(closed)
        self._more.set()

    def end(self) -> None:
        """The session is over: `run` seals what waits, or raises."""
        self._is_ending.set()
        self._more.set()

    def give_up(self) -> None:
        """Seal nothing more; what waits is left to `recover`. `run` returns soon, the sealing process stopped or not."""
        self._is_given_up = True
        self.end()

    async def run(self) -> None:
        """
        Seal whatever comes, until `end`.

        Raises RecordingError for what could not be sealed even then; the journals are kept.
        """
        while True:
            while not self._waiting:
                if self._is_ending.is_set():
                    return
                self._more.clear()
                await self._more.wait()
            if not await self._is_finished(self._waiting[0]):
                return
            await self._seal(self._waiting[0])
            if self._is_given_up:
                return
            self._waiting.popleft()

    async def _is_finished(self, entry: int | ClosedJournal) -> bool:
        """Wait until a journal is written to its end; False where it could not be, and is left to `recover`."""
        if isinstance(entry, ClosedJournal):
            try:
                await asyncio.shield(entry.finishing)
            except (OSError, RecordingError) as exc:
                self._log(disk_refused(entry.journal.path, exc))
                return False
            step("journal-closed")
        return not self._is_given_up

    async def _seal(self, entry: int | ClosedJournal) -> None:
        """Try until it is sealed, or given up."""
        number = entry.number if isinstance(entry, ClosedJournal) else entry
        tries = last_tries = 0
        pause_s = PAUSE_S
        while not self._is_given_up:
            last_tries += self._is_ending.is_set()
            try:
                report = await self._sealer.seal(number, is_again=tries > 0)
            except RecordingError as exc:
                tries += 1
                self.failures += 1
                self.problem = str(exc)
                if last_tries >= LAST_TRIES and not self._is_given_up:
                    raise RecordingError(
                        f"segment {number} could not be sealed ({exc}), also when that was tried {LAST_TRIES} times; "
                        f"{len(self._waiting)} journals are kept"
                    ) from None
                await self._pause(number, pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
                continue
            if report.note and report.note != self._note:
                self._note = report.note
                self._log(report.note)
            if tries:
                self._log(f"segment {number} is sealed, at the {tries + 1}. try")
            self.problem = ""
            if isinstance(entry, ClosedJournal):
                self._journals.sealed(entry)
            return

    async def _pause(self, number: int, seconds: float) -> None:
        if self._is_ending.is_set():
            return
        self._log(
            f"segment {number} could not be sealed ({self.problem}): its journal is kept, tried again in {seconds:g} s; "
            f"{len(self._waiting)} wait, and recording goes on"
        )
        loop = asyncio.get_running_loop()
        pause = loop.create_task(self._clock.sleep(seconds))
        ending = loop.create_task(self._is_ending.wait())
        try:
            await asyncio.wait((pause, ending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pause, ending):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
