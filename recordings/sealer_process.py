"""
Sealing in another process, so that the loop that receives never waits for it.

`python -m recordings.sealer_process FOLDER` reads `{"seal": 3}` lines and answers each with one line. It ends with its
input, so it never outlives the recorder for longer than the segment it is sealing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from recordings.sealing import Sealer, SealReport, SealRequest
from toolkit.errors import RecordingError, TickdeckError

__all__ = ["SealerProcess", "main"]


class SealerProcess:
    """The recorder's end of it. Requests are carried out in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start the process; it loads what it needs while the recording begins."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "recordings.sealer_process",
            str(self._folder),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C in a terminal reaches the whole group: the recorder decides when sealing ends, not the signal.
            start_new_session=True,
        )

    async def seal(self, number: int) -> SealReport:
        """Seal a segment. Raises RecordingError when that failed; its journal is kept then."""
        async with self._turn:
            process = self._process
            if process is None or process.stdin is None or process.stdout is None:
                raise RecordingError("the sealing process was not started")
            try:
                process.stdin.write(msgspec.json.encode(SealRequest(number)) + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            except (BrokenPipeError, ConnectionResetError):
                line = b""
            if not line:
                status = await process.wait()
                raise RecordingError(
                    f"the sealing process ended with status {status} at segment {number}; its journal is kept: "
                    f"run `tickdeck recover {self._folder}`"
                )
            report = msgspec.json.decode(line, type=SealReport)
            if report.error:
                raise RecordingError(f"segment {number} could not be sealed ({report.error}); its journal is kept")
            return report

    async def stop(self) -> None:
        """End the process after what it was asked."""
        process = self._process
        if process is None:
            return
        self._process = None
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


def main(folder: str) -> int:
    """Run the sealing process."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(5)  # the process that receives goes first
    sealer = Sealer(Path(folder))
    for line in sys.stdin.buffer:
        request = msgspec.json.decode(line, type=SealRequest)
        try:
            manifest = sealer.seal(request.seal)
            report = SealReport(request.seal, manifest.digest)
        except (TickdeckError, OSError) as exc:
            report = SealReport(request.seal, error=str(exc))
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
