"""What the command needs of the process that it runs in: standard streams that are there, and signals that end it."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from toolkit.cli.output.results import say
from toolkit.errors import TickdeckError

if TYPE_CHECKING:
    import asyncio

    from recordings.storage.lock import FolderLock

__all__ = [
    "OutputFailed",
    "end_signals",
    "folder_lock",
    "leave_at_once",
    "prepare",
    "silence_output",
    "stopped_by_signals",
]

#: The process whose default dispositions the kernel does not carry out, such as the only one of a container.
_FIRST: Final = 1


def prepare(*, owns_process: bool = True) -> None:
    """
    Call it before anything else is opened.

    Args:
        owns_process: Whether the command is all that this process does, so that signals are its own.
    """
    _fill_streams()
    if owns_process:
        output = io.BufferedWriter(_Output(1, "w", closefd=False))
        # A name that the terminal has no characters for is shown as an escape, rather than end the command.
        sys.stdout = io.TextIOWrapper(
            output, sys.stdout.encoding, "backslashreplace", line_buffering=sys.stdout.isatty()
        )
        if isinstance(sys.stderr, io.TextIOWrapper):
            sys.stderr.reconfigure(errors="backslashreplace")
    if owns_process and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _Interrupts())
    if os.getpid() == _FIRST:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda number, _: leave_at_once(number))


def _fill_streams() -> None:
    """
    Open what a parent has closed of standard input, output and error, on the null device.

    Else the next file has that number, a journal for instance, and whatever is written to standard error lands in it.
    Standard output can only be read then: a result that reaches no reader is an error, as with every other program.
    """
    for handle, way in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(handle)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, way)  # the lowest number that is free, which is this one
    for handle, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(handle, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # for good


class OutputFailed(TickdeckError):
    """
    Standard output does not take what a command prints.

    Attributes:
        reason: Reason as the system states it.
        status: The exit status to end with.
    """

    def __init__(self, exc: OSError) -> None:
        is_closed = exc.errno == errno.EPIPE
        super().__init__(
            "what reads standard output has closed it before its end"
            if is_closed
            else f"standard output cannot be written: {exc.strerror or exc}"
        )
        self.reason = exc.strerror or str(exc)
        self.status = 128 + signal.SIGPIPE if is_closed else 1


class _Output(io.FileIO):
    """Standard output, whose errors cannot be taken for those of a file that is read."""

    def write(self, data: Any) -> Any:
        try:
            return super().write(data)
        except OSError as exc:
            raise OutputFailed(exc) from None


class _Interrupts:
    """The first Ctrl-C ends a command in good order; the second one ends it at once, whatever it is waiting for."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, number: int, _: object) -> None:
        self._count += 1
        if self._count > 1:
            leave_at_once(number)
        raise KeyboardInterrupt


@contextmanager
def stopped_by_signals(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], last_words: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """
    Within the block the first signal that ends a command calls `stop`, and the second one ends the process at once.

    Args:
        loop: The running one.
        stop: Asks the command to come to its end.
        last_words: Called before the process is ended by a second signal.
    """
    asked = 0

    def on_signal(number: signal.Signals) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            last_words()
            # Nothing may run any more: what is on disk is whole as it is.
            leave_at_once(number)
        stop()

    before = {number: signal.getsignal(number) for number in end_signals()}
    for number in before:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def end_signals() -> list[signal.Signals]:
    """
    Signals that end a command in good order.

    SIGHUP is one, since a terminal that is closed means no harm; not where it is ignored, as `nohup` has it.
    """
    return [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
    ]


def folder_lock(recording: Path, *, heals: bool = False) -> FolderLock:
    """The lock of a recording, for a command: it says on standard error that it waits for what a dead recorder left."""
    from recordings.storage.lock import FolderLock

    return FolderLock(recording, say=lambda text: say(text, err=True), heals=heals)


def leave_at_once(number: int) -> NoReturn:
    """End the process as that signal does: no line of it runs any more."""
    with suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    # Still here: the first process of a container does not get signals that it does not handle.
    os._exit(128 + number)


def silence_output() -> None:
    """Standard output was closed: what is left in its buffer must not fail at the end either."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
