"""What the command needs of the process that it runs in: standard streams that are there, and signals that end it."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from toolkit.cli.output import say

if TYPE_CHECKING:
    from recordings.lock import FolderLock

__all__ = ["end_signals", "folder_lock", "leave_at_once", "prepare", "silence_output"]

#: The process whose default dispositions the kernel does not carry out, such as the only one of a container.
_FIRST: Final = 1


def prepare() -> None:
    """Call it before anything else is opened."""
    _fill_streams()
    if os.getpid() == _FIRST:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, lambda number, _: leave_at_once(number))


def _fill_streams() -> None:
    """
    Open what a parent has closed of standard input, output and error, on the null device.

    Else the next file has that number, a journal for instance, and whatever is written to standard error lands in it.
    """
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  # as long as we live


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


def folder_lock(recording: Path) -> FolderLock:
    """The lock of a recording, for a command: it says on standard error that it waits for what a dead recorder left."""
    from recordings.lock import FolderLock

    return FolderLock(recording, say=lambda text: say(text, err=True))


def leave_at_once(number: int) -> NoReturn:
    """End the process as that signal does: no line of it runs any more."""
    with suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    # Still here: the first process of a container does not get signals that it does not handle.
    os._exit(128 + number)


def silence_output() -> None:
    """Nobody takes standard output any more: what is left in its buffer must not fail at the end either."""
    with suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
