"""
Sealing in another process, so that the loop that receives never waits for it.

`python -m recordings.writing.sealer_process FOLDER` reads `{"seal": 3}` lines and answers each with one line (`{"seal":
null}` heals the recording). It ends with its input, at once: sealing may be interrupted anywhere, and a process that
heals the recording must not find it at work. It holds the recording's lock too, so no process can come in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec

from recordings.care.recovery import recover
from recordings.sealing.journal_sealing import Sealer
from recordings.storage.child_environment import child_environment, module_command
from recordings.storage.crash_points import this_is
from recordings.storage.lock import FolderLock
from toolkit.clock import SystemClock
from toolkit.errors import RecordingError, TickdeckError
from toolkit.kernels.disk_cache import shelf_problem

__all__ = ["Recovered", "SealReport", "SealRequest", "SealerDied", "SealerProcess", "main"]


class SealRequest(msgspec.Struct):
    """
    What the sealing process is asked: one JSON line.

    Attributes:
        seal: The segment to seal; None to recover the recording.
        is_again: Whether this recorder has tried it before: see `Sealer.seal`.
    """

    seal: int | None
    is_again: bool = False


class SealReport(msgspec.Struct):
    """What it answers: one JSON line."""

    sealed: int
    digest: str = ""
    error: str = ""
    note: str = ""


class Recovered(msgspec.Struct):
    """What it answers when it was asked to recover: see `Recovery`."""

    sealed_segments: int = 0
    recovered_frames: int = 0
    left_bytes: int = 0
    error: str = ""


Answer = TypeVar("Answer", SealReport, Recovered)


class SealerDied(RecordingError):
    """The sealing process ended before it answered; nothing that it had not finished is the worse for it."""


class SealerProcess:
    """
    The recorder's end of it. Requests are carried out in order; the process is started when there is one.

    Args:
        folder: The recording.
        lock: Held by the process as long as it lives.
    """

    def __init__(self, folder: Path, lock: FolderLock) -> None:
        self._folder = folder
        self._lock = lock
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        #: Held while its standard output is read: `stop` comes while an answer is waited for, and asyncio lets one read.
        self._reading = asyncio.Lock()
        self._is_over = False

    async def start(self) -> None:
        """Start the process, unless one is there; it loads what it needs while the recording begins. Raises OSError."""
        if self._process is not None:
            return  # it has healed the recording
        self._process = await asyncio.create_subprocess_exec(
            *module_command("recordings.writing.sealer_process", str(self._folder)),
            env=child_environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._lock.fileno(),),
            # Ctrl-C in a terminal reaches the whole group: the recorder decides when sealing ends, not the signal.
            start_new_session=True,
        )
        self._lock.also(self._process.pid)
        if self._is_over:  # asked to meanwhile, when there was no process
            await self.stop()

    async def seal(self, number: int, *, is_again: bool = False) -> SealReport:
        """
        Seal a segment; `is_again` as `Sealer.seal` has it.

        Raises SealerDied, or RecordingError when sealing failed; the segment's journal is kept then.
        """
        report = await self._ask(SealRequest(number, is_again=is_again), SealReport)
        if report.error:
            raise RecordingError(report.error)
        return report

    async def recover(self) -> Recovered:
        """
        Heal the recording, before anything is sealed.

        Raises SealerDied, or RecordingError when the recording cannot be healed.
        """
        answer = await self._ask(SealRequest(None), Recovered)
        if answer.error:
            raise RecordingError(answer.error)
        return answer

    async def _ask(self, request: SealRequest, answer: type[Answer]) -> Answer:
        async with self._turn:
            if self._is_over:
                raise RecordingError("the sealing process was ended")
            try:
                if self._process is None:
                    await self.start()
                line, status = await self._exchange(request)
            except OSError as exc:  # no process, or no memory for one
                raise SealerDied(f"the sealing process cannot be started: {exc.strerror or exc}") from None
            if line:
                with contextlib.suppress(msgspec.DecodeError):
                    return msgspec.json.decode(line, type=answer)
            process, self._process = self._process, None
            if line:  # a library that writes to standard output, say: whatever it does, it is not to be relied on
                if process is not None and process.returncode is None:
                    process.kill()
                    async with self._reading:
                        await _end_of(process)
                raise SealerDied(f"the sealing process answered {line[:80]!r}")
            raise SealerDied(f"the sealing process ended with status {status}")

    async def _exchange(self, request: SealRequest) -> tuple[bytes, int]:
        """The process's answer; empty, with its exit status, if it died over it."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return b"", 0
        line = b""
        async with self._reading:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                process.stdin.write(msgspec.json.encode(request) + b"\n")
                await process.stdin.drain()
                try:
                    line = await process.stdout.readline()
                except ValueError:  # longer than any answer
                    line = b"too much\n"
            return (line, 0) if line.endswith(b"\n") else (b"", await _end_of(process))

    async def stop(self) -> None:
        """End the process; what it is sealing then can be sealed again."""
        self._is_over = True
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(ProcessLookupError):  # it has ended
                process.kill()  # while it loads what it needs it would not see the end of its input
            async with self._reading:
                await _end_of(process)


async def _end_of(process: asyncio.subprocess.Process) -> int:
    """
    Wait for the end of a process; its exit status.

    asyncio tells of it only at the end of the pipes, which is not seen of one that is full: what it says is read away.
    """
    while process.stdout is not None and await process.stdout.read(1 << 16):
        pass
    return await process.wait()


def main(folder: str) -> NoReturn:
    """Run the sealing process until its input ends."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(5)  # the process that receives goes first
    this_is("sealer")
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), name="requests", daemon=True).start()
    sealer = Sealer(Path(folder))
    while True:
        request = msgspec.json.decode(requests.get(), type=SealRequest)
        answer: SealReport | Recovered
        if request.seal is None:
            answer = _recover(Path(folder))
            sealer = Sealer(Path(folder))
        else:
            answer, sealer = _seal(Path(folder), sealer, request)
        with contextlib.suppress(BrokenPipeError):  # the recorder has gone; the other thread ends this
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.buffer.flush()


def _seal(folder: Path, sealer: Sealer, request: SealRequest) -> tuple[SealReport, Sealer]:
    """Carry a request out; the answer, and what to seal the next segment with."""
    number = request.seal if request.seal is not None else 0
    try:
        digest = sealer.seal(number, is_again=request.is_again).digest
        return SealReport(number, digest, note=shelf_problem()), sealer
    except Exception as exc:  # noqa: BLE001  # the recorder says it, and asks again; frames are safe in the journal
        # Its state is that of a segment half done: the next one begins with that of the manifest.
        return SealReport(number, error=_said(exc)), Sealer(folder)


def _recover(folder: Path) -> Recovered:
    try:
        found = recover(folder, SystemClock())
    except (TickdeckError, OSError) as exc:
        return Recovered(error=_said(exc))
    return Recovered(found.sealed_segments, found.recovered_frames, found.left_bytes)


def _said(exc: Exception) -> str:
    """What is wrong, in one line."""
    if isinstance(exc, OSError):
        where = f"{exc.filename}: " if exc.filename else ""
        return f"{where}{exc.strerror or exc}"
    return str(exc) if isinstance(exc, TickdeckError) else f"{type(exc).__name__}: {exc}".partition("\n")[0]


def _listen(requests: queue.SimpleQueue[bytes]) -> NoReturn:
    for line in sys.stdin.buffer:
        requests.put(line)
    # The recorder has gone: nothing may touch the recording any more, not even to end tidily.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
