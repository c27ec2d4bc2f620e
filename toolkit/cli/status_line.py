"""What a recorder is doing: one line that renews itself on a terminal, plain log lines everywhere else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from toolkit.borders import one_line, printable
from toolkit.clock import NS_PER_S, SystemClock, format_ns

if TYPE_CHECKING:
    from recordings.recorder import Recorder

__all__ = ["StatusLine"]

#: Seconds between two renewals on a terminal, and between two status lines in a log.
RENEW_S: Final = 0.5
LOG_EVERY_S: Final = 60.0


class StatusLine:
    """
    Writes log lines, and below them the present status.

    A recording goes on also when nobody reads them any more, or the disk of the log is full.

    Args:
        stream: Where to; the status line appears only if it is a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._shown = ""
        self._clock = SystemClock()

    def log(self, text: str) -> None:
        """Write one line with its time."""
        with contextlib.suppress(OSError):
            self._wipe()
            self._stream.write(f"{format_ns(self._clock.time_ns())[:23]}Z {one_line(text)}\n")
            self._draw(self._shown)

    def close(self) -> None:
        """Remove the status line."""
        with contextlib.suppress(OSError):
            self._wipe()
            self._shown = ""
            self._stream.flush()

    async def show(self, recorder: Recorder) -> None:
        """Renew the status until cancelled."""
        every = RENEW_S if self._is_terminal else LOG_EVERY_S
        before = 0
        since = self._clock.monotonic_ns()
        while True:
            await asyncio.sleep(every)
            now = self._clock.monotonic_ns()
            frames = recorder.status.frame_count
            text = _status(recorder, (frames - before) * NS_PER_S / max(now - since, 1))
            before, since = frames, now
            if self._is_terminal:
                with contextlib.suppress(OSError):
                    self._wipe()
                    self._draw(text)
            else:
                self.log(text)

    async def renew(self, text: Callable[[], str], every_s: float) -> None:
        """Show the present text on a terminal, until cancelled; nothing elsewhere."""
        while self._is_terminal:
            await asyncio.sleep(every_s)
            with contextlib.suppress(OSError):
                self._wipe()
                self._draw(text())

    def _wipe(self) -> None:
        if self._is_terminal and self._shown:
            self._stream.write("\r\x1b[K")

    def _draw(self, text: str) -> None:
        if self._is_terminal and text:
            self._stream.write(printable(text))
            self._shown = text
        self._stream.flush()


def _status(recorder: Recorder, rate: float) -> str:
    status = recorder.status
    links = sum(len(source.connections) for source in status.sources)
    up = sum(link.state == "open" for source in status.sources for link in source.connections)
    delay = status.delay_text()
    waiting = "".join(f"{source.venue} {source.state}  " for source in status.sources if source.state != "running")
    unsealed = f"unsealed {status.unsealed}  " if status.sealing_problem else ""
    return (
        f"{status.frame_count:,} frames ({rate:,.0f}/s)  {status.payload_bytes / 1e6:,.1f} MB  "
        f"{waiting}{status.message_count:,} messages  connections {up}/{links}  {delay}gaps {status.gap_count}  "
        f"reconnects {status.reconnect_count}  parse errors {status.parse_error_count}  "
        f"{unsealed}disk {status.disk_free / 1e9:,.0f} GB free"
    )
