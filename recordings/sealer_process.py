"""
Sealing in another process, so that the loop that receives never waits for it.

`python -m recordings.sealer_process FOLDER` reads `{"seal": 3}` lines and answers each with one line. It ends with its
input, at once: sealing may be interrupted anywhere, and whoever heals the recording must not find it at work. It holds
the recording's lock too, so nobody can come in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from recordings.lock import FolderLock
from recordings.sealing import Sealer, SealReport, SealRequest
from recordings.steps import this_is
from toolkit.errors import RecordingError, TickdeckError

__all__ = ["SealerProcess", "main"]


class SealerProcess:
    """
    The recorder's end of it. Requests are carried out in order.

    Args:
        folder: The recording.
        lock: Held by the process as long as it lives.
        log: Told when the process had to be started again.
    """

    def __init__(self, folder: Path, lock: FolderLock, log: Callable[[str], None]) -> None:
        self._folder = folder
        self._lock = lock
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._is_over = False

    async def start(self) -> None:
        """Start the process; it loads what it needs while the recording begins."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "recordings.sealer_process",
            str(self._folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._lock.fileno(),),
            # Ctrl-C in a terminal reaches the whole group: the recorder decides when sealing ends, not the signal.
            start_new_session=True,
        )

    async def seal(self, number: int) -> SealReport:
        """Seal a segment. Raises RecordingError when that failed; its journal is kept then."""
        async with self._turn:
            line, status = await self._ask(number)
            if not line and not self._is_over:
                # The system may have killed it for memory; a segment that is begun anew is none the worse for it.
                self._log(f"the sealing process ended with status {status} at segment {number}: started again")
                await self._start_again()
                line, status = await self._ask(number)
            if not line:
                self._is_over = True
                raise RecordingError(
                    f"the sealing process ended with status {status} at segment {number}, also when it was started "
                    "again; the journal is kept"
                )
            report = msgspec.json.decode(line, type=SealReport)
            if report.error:
                raise RecordingError(f"segment {number} could not be sealed ({report.error}); its journal is kept")
            return report

    async def _start_again(self) -> None:
        await self.start()
        if self._is_over:  # told so meanwhile, when there was no process
            await self.stop()

    async def _ask(self, number: int) -> tuple[bytes, int]:
        """The process's answer; empty, with its exit status, if it died over it."""
        process = self._process
        if self._is_over or process is None or process.stdin is None or process.stdout is None:
            raise RecordingError(f"segment {number} was not sealed: the sealing process has ended; the journal is kept")
        line = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(msgspec.json.encode(SealRequest(number)) + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        return line, 0 if line else await process.wait()

    async def stop(self) -> None:
        """End the process; what it is sealing then can be sealed again."""
        self._is_over = True
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            await process.wait()


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
        try:
            manifest = sealer.seal(request.seal)
            report = SealReport(request.seal, manifest.digest)
        except (TickdeckError, OSError) as exc:
            report = SealReport(request.seal, error=str(exc))
        with contextlib.suppress(BrokenPipeError):  # whoever asked has gone; the other thread ends this
            sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
            sys.stdout.buffer.flush()


def _listen(requests: queue.SimpleQueue[bytes]) -> NoReturn:
    for line in sys.stdin.buffer:
        requests.put(line)
    # Whoever asked has gone: nothing may touch the recording any more, not even to end tidily.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
