"""Whether anybody holds a recording for writing: for those who only read it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from recordings.lock import LOCK_NAME, owner_is_alive

__all__ = ["is_held"]


def is_held(folder: Path) -> bool:
    """
    Whether a process holds the lock of a folder.

    The system is asked, and not only the number in the file: a number is given again once its process has died. To ask
    is to hold a shared lock for some microseconds, during which a recorder that begins has to try again, so ask seldom.
    """
    try:
        handle = os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return owner_is_alive(folder)  # a file system without locks
    finally:
        os.close(handle)
    return False
