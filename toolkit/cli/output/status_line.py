"""What a recorder is doing: one line that renews itself on a terminal, plain log lines everywhere else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from toolkit.borders import one_line, printable
from toolkit.cli.output.results import counted, terminal_width
from toolkit.cli.output.table_layout import cell_width
from toolkit.clock import NS_PER_S, SystemClock, format_ns

if TYPE_CHECKING:
    from recordings.recorder import Recorder

__all__ = ["StatusLine", "StatusParts", "fitted"]

#: Gives parts of a status line, each with its rank; see `fitted`.
StatusParts = Callable[[], Sequence[tuple[int, str]]]

#: Seconds between two renewals on a terminal, and between two status lines in a log.
RENEW_S: Final = 0.5
LOG_EVERY_S: Final = 60.0
_BETWEEN: Final = "  "


class StatusLine:
    """
    Writes log lines, and below them the present status, in one line of the terminal: what is less important has no room
    on a narrow one. Log lines are whole, whatever their length.

    A recording goes on also when they are no longer read, or the disk of the log is full.

    Args:
        stream: Where to; the status line appears only if it is a terminal.
        renews: Whether it may appear.
    """

    def __init__(self, stream: TextIO, *, renews: bool = True) -> None:
        self._stream = stream
        self._is_terminal = renews and stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = ""
        self._parts: Sequence[tuple[int, str]] = ()
        self._clock = SystemClock()

    def log(self, text: str) -> None:
        """Write one line with its time."""
        with contextlib.suppress(OSError):
            self._wipe()
            self._stream.write(f"{format_ns(self._clock.time_ns())[:23]}Z {one_line(text)}\n")
            self._draw(fitted(self._parts, self._room()))

    def close(self) -> None:
        """Remove the status line."""
        with contextlib.suppress(OSError):
            self._wipe()
            self._shown, self._parts = "", ()
            self._stream.flush()

    async def show(self, recorder: Recorder, more: StatusParts | None = None) -> None:
        """Renew the status until cancelled; what `more` gives stands before it."""
        import asyncio

        every = RENEW_S if self._is_terminal else LOG_EVERY_S
        before = 0
        since = self._clock.monotonic_ns()
        while True:
            await asyncio.sleep(every)
            now = self._clock.monotonic_ns()
            frames = recorder.status.frame_count
            parts = _status(recorder, (frames - before) * NS_PER_S / max(now - since, 1))
            if more is not None:
                parts = [*more(), *parts]
            before, since = frames, now
            if self._is_terminal:
                self.present(parts)
            else:
                self.log(fitted(parts, None))

    async def renew(self, parts: Callable[[], Sequence[tuple[int, str]]], every_s: float) -> None:
        """Show what is known on a terminal, as `fitted` does, until cancelled; nothing elsewhere."""
        import asyncio

        while self._is_terminal:
            await asyncio.sleep(every_s)
            self.present(parts())

    def present(self, parts: Sequence[tuple[int, str]]) -> None:
        """Put this in place of what is shown on the terminal."""
        with contextlib.suppress(OSError):
            self._wipe()
            self._parts = parts
            self._draw(fitted(parts, self._room()))

    def _room(self) -> int | None:
        """Cells of the line; a character in the last one would move some terminals to the next line."""
        width = terminal_width(self._stream)
        return None if width is None else width - 1

    def _wipe(self) -> None:
        if self._is_terminal and self._shown:
            # On a terminal that has been made narrower the line takes several rows.
            above = (cell_width(self._shown) - 1) // (terminal_width(self._stream) or 1)
            self._stream.write(f"\x1b[{above}A\r\x1b[J" if above else "\r\x1b[K")

    def _draw(self, text: str) -> None:
        if self._is_terminal and text:
            self._shown = printable(text)
            self._stream.write(self._shown)
        self._stream.flush()


def fitted(parts: Sequence[tuple[int, str]], width: int | None) -> str:
    """
    A line of as many parts as there is room for.

    Args:
        parts: Texts in their order, each with its rank: the lowest ranks stay longest. Empty texts are left out.
        width: Cells that the line may take; None: as many as it needs.
    """
    kept: list[int] = []
    left = width
    for position in sorted(range(len(parts)), key=lambda position: parts[position][0]):
        text = parts[position][1]
        if not text:
            continue
        needed = cell_width(text) + (len(_BETWEEN) if kept else 0)
        if left is not None:
            if needed > left:
                break  # what is less important does not take its place
            left -= needed
        kept.append(position)
    return _BETWEEN.join(parts[position][1] for position in sorted(kept))


def _status(recorder: Recorder, rate: float) -> list[tuple[int, str]]:
    """What is known, with its rank: whether it records, then whether all is well, then how much."""
    status = recorder.status
    links = sum(len(source.connections) for source in status.sources)
    up = sum(link.state == "open" for source in status.sources for link in source.connections)
    waiting = [f"{source.venue} {source.state}" for source in status.sources if source.state != "running"]
    is_well = not status.gap_count
    return [
        (0, f"{counted(status.frame_count, 'frame')} ({rate:,.0f}/s)"),
        (8, f"{status.payload_bytes / 1e6:,.1f} MB"),
        (1, _BETWEEN.join(waiting)),
        (10, counted(status.message_count, "message")),
        (5 if up == links else 2, f"connections {up}/{links}"),
        (9, status.delay_text().strip()),
        (6 if is_well else 3, f"gaps {status.gap_count}"),
        (11 if not status.reconnect_count else 7, f"reconnects {status.reconnect_count}"),
        (12 if not status.parse_error_count else 4, f"parse errors {status.parse_error_count}"),
        (2, f"unsealed {status.unsealed}" if status.sealing_problem else ""),
        (7, f"disk {status.disk_free / 1e9:,.0f} GB free"),
    ]
