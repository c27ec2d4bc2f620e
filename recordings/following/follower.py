"""
The frames of a recording that is still being made: from its folder first, then from its recorder, each exactly once.

The folder is the truth. What the recorder's tee sends is in the folder already, so wherever the tee ends, for whatever
reason, reading the folder from the next frame on goes on where it broke off, and from the end of the folder the tee is
asked for the frame after it. Without a tee, or while none can be reached, the folder alone is looked at again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final

from recordings.following.tee_client import TeeConnection, describe
from recordings.following.tee_wire import CODE_ENDED, CODE_GONE, CODE_SLOW, read_tee_file
from recordings.reading.growing import GrowingRecording
from recordings.reading.unsealed import work_on
from recordings.storage.lock_holder import is_held
from toolkit.clock import NS_PER_S, Clock, SystemClock
from toolkit.errors import ConfigError, ProtocolError, RecordingDamaged, RecordingError, TransportError
from toolkit.frames import Frame
from toolkit.transport.websocket import Closed

__all__ = ["PATIENCE_S", "Follower"]

#: How often the folder is looked at while there is no tee, and how long a tee may be silent before it is.
POLL_S: Final = 0.25
SILENCE_S: Final = 5.0
#: How long no frame may be written before the recorder is given up.
PATIENCE_S: Final = 60.0


class Follower:
    """
    Follows one recording.

    Args:
        folder: The recording.
        tee_url: Where its recorder can be reached; None to look in the folder.
        patience_s: How long nothing may be written, not even a sign of life, before the recorder is given up.
        clock: Measures that.
        log: Called with one line for what a user should know.

    Attributes:
        recording: The folder, and how far it was read.
        is_live: Whether frames come from the tee now.
        disk_count: Frames that came from the folder.
        tee_count: Frames that came from the tee.
        handover_count: How often the tee took over from the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tee_url: str | None = None,
        patience_s: float = PATIENCE_S,
        clock: Clock | None = None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.recording = GrowingRecording(folder)
        self._tee_url = tee_url
        self._patience_ns = round(patience_s * NS_PER_S)
        self._clock = clock if clock is not None else SystemClock()
        self._log = log
        self.is_live = False
        self.disk_count = 0
        self.tee_count = 0
        self.handover_count = 0
        self._life: object = None
        self._life_ns = 0
        self._said = ""
        self._is_asked = False

    async def batches(self) -> AsyncGenerator[list[Frame]]:
        """
        Frames from `recording.next_seq` on, a list at a time; ends when the recording does and all of it was given.

        Close it (`contextlib.aclosing`) if it is left before. Raises RecordingError if the folder is damaged, or its
        recorder has died and neither came back nor was followed by `tickdeck recover`.
        """
        while True:
            before = self.recording.next_seq
            for batch in self.recording.read():
                self.disk_count += len(batch)
                yield batch
            if self.recording.is_over:
                return
            tee = await self._connect()
            if tee is not None:
                try:
                    self.is_live = True
                    self.handover_count += 1
                    while (found := await self._next(tee)) is not None:
                        if found:
                            self.tee_count += len(found)
                            yield found
                            continue
                        # It has been silent; what it kept to itself, if anything, is in the folder.
                        for batch in self.recording.read():
                            self.disk_count += len(batch)
                            yield batch
                        if self.recording.is_over:
                            return
                finally:
                    self.is_live = False
                    tee.drop()
            if self.recording.next_seq == before:
                self._check_life()
                await self._clock.sleep(POLL_S)

    async def first_frame(self, is_wanted: Callable[[], bool]) -> Frame | None:
        """Frame 0, once it is written; None if the recording ended without one, or it is wanted no more. Raises RecordingError."""
        while is_wanted():
            recording = GrowingRecording(self.recording.folder)
            if (batch := next(recording.read(), None)) is not None:
                return batch[0]
            if recording.is_over:
                break
            self._check_life()
            await self._clock.sleep(POLL_S)
        return None

    async def _next(self, tee: TeeConnection) -> list[Frame] | None:
        """The next new frames, an empty list after a silence, None when the tee is of no use any more."""
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    found = await tee.receive()
                if isinstance(found, Closed):
                    self._note_end(found)
                    return None
                if new := self.recording.accept(found):
                    return new
        except TimeoutError:
            return []
        except (ProtocolError, RecordingDamaged) as exc:
            self._say(f"{exc}; going on from the folder")
            return None

    def _note_end(self, closed: Closed) -> None:
        if closed.code == CODE_SLOW:
            self._say(f"cut off at frame {self.recording.next_seq}, {describe(closed)}")
        elif closed.code not in (CODE_ENDED, CODE_GONE):
            self._say(
                f"the tee ended at frame {self.recording.next_seq} ({describe(closed)}): going on from the folder"
            )

    async def _connect(self) -> TeeConnection | None:
        """The tee of this recording's present session, from the next frame on; None if there is none."""
        file = read_tee_file(self.recording.folder)
        url = self._tee_url or (file.url if file is not None else None)
        if url is None:
            self._say("its recorder has no tee: looking at the folder instead")
            return None
        try:
            tee = await TeeConnection.open(url, self.recording.next_seq)
        except (TransportError, ProtocolError) as exc:
            self._say(f"no tee: {exc}; looking at the folder meanwhile")
            return None
        hello = tee.hello
        is_ours = hello.created_ns == self.recording.manifest.created_ns
        if not is_ours and self._tee_url is not None:
            tee.drop()
            raise ConfigError(f"{url} is the tee of another recording than {self.recording.folder}: name the right one")
        if not is_ours or (self._tee_url is None and file is not None and hello.started_ns != file.started_ns):
            tee.drop()
            self._say(f"no tee: {url} was left behind by a recorder that has died; looking at the folder meanwhile")
            return None
        if hello.begin_seq is None:
            tee.drop()  # its ring has moved on: the folder has what it no longer holds
            return None
        self._said = ""
        self._log(f"live from frame {hello.begin_seq}")
        return tee

    def _check_life(self) -> None:
        now, life = self._clock.monotonic_ns(), self.recording.signs_of_life()
        if not self._is_asked:
            self._is_asked = True
            work = work_on(self.recording.folder, self.recording.manifest)
            if work is not None and work.is_left:
                self._log(f"{work}, or record on; that is waited for, {self._patience_ns / NS_PER_S:g} s")
        # While the last segment is sealed nothing moves for long, but its recorder is still there.
        is_due = now - self._life_ns > self._patience_ns
        if life != self._life or (is_due and is_held(self.recording.folder)):
            self._life, self._life_ns = life, now
        elif is_due:
            raise RecordingError(
                f"{self.recording.folder}: nothing has been written for {self._patience_ns / NS_PER_S:g} s after frame "
                f"{self.recording.next_seq - 1}, and its status is {self.recording.manifest.status!r}: its recorder has "
                "died; run `tickdeck recover`, or record on, and follow it again"
            )

    def _say(self, text: str) -> None:
        """Log it, unless it was the last thing said."""
        if text != self._said:
            self._said = text
            self._log(text)
