"""Whether anybody holds a recording for writing, and who: for those who only read it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import NamedTuple

from recordings.storage.lock import LOCK_NAME, has_sign_of_life, named_writer
from toolkit.clock import SystemClock

__all__ = ["Holder", "holder_of", "is_held"]


class Holder(NamedTuple):
    """
    Who holds a folder for writing.

    Attributes:
        pid: The process that the lock file names first, the recorder; None if it names none.
        host: Its machine where that is another one, else empty.
        is_alive: Whether that process runs. If not, another holds the lock: the sealing process that it left at work.
        heals: Whether it recovers what another left.
    """

    pid: int | None
    host: str
    is_alive: bool
    heals: bool = False

    def __str__(self) -> str:
        """Such as `process 77`, or `process 77 of vm-2`."""
        name = "a process that is not named" if self.pid is None else f"process {self.pid}"
        return f"{name} of {self.host}" if self.host else name


def holder_of(folder: Path) -> Holder | None:
    """
    The holder of a folder's lock; None if it is free.

    The system is asked, and not only the number in the file: a number is given again once its process has died, and a
    copied folder has the file of another. To ask is to hold a shared lock for some microseconds, during which a
    recorder that begins has to try again, so ask seldom. Where that cannot be asked (a file system without locks, a file
    that this user may not read), the file and the journals say it, as far as they do.
    """
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except PermissionError:
        return Holder(None, "", True) if has_sign_of_life(folder, SystemClock()) else None
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        writer = named_writer(folder)
        if writer is None:
            return Holder(None, "", True)
        # Of another machine's process nothing is known but that the lock is held.
        return Holder(writer.pid, writer.host, writer.is_alive or bool(writer.host), writer.heals)
    except OSError:
        return _named(folder)
    finally:
        os.close(handle)
    return None


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock of a folder; what `holder_of` says of asking holds here too."""
    return holder_of(folder) is not None


def _named(folder: Path) -> Holder | None:
    writer = named_writer(folder)
    if writer is None or not (writer.is_alive or writer.has_child):
        return None
    return Holder(writer.pid, writer.host, writer.is_alive, writer.heals)
