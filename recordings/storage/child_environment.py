"""How a process of ours runs a module of these packages and ends with what started it, and for how many there is room."""

from __future__ import annotations

import os
import site
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

__all__ = ["child_environment", "end_with_input", "module_command", "usable_processors"]


def child_environment() -> dict[str, str]:
    """That of this process, with the place of our packages on the path, wherever this process has it from."""
    home = str(Path(__file__).resolve().parents[2])
    if home in (*site.getsitepackages(), site.getusersitepackages()):
        return {**os.environ}  # it is found there, after Python's own modules
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": home if not given else f"{given}{os.pathsep}{home}"}


def module_command(module: str, *arguments: str) -> list[str]:
    """What runs a module in that environment."""
    # Not from where it is started: a `recordings.py` of a user's there would be taken for our package.
    return [sys.executable, "-P", "-m", module, *arguments]


def end_with_input(first: Callable[[], None] = lambda: None) -> None:
    """
    End this process when its standard input ends, as it does with the process that writes there.

    What the input still holds is passed over, so a task is to be read before.

    Args:
        first: Called in a thread of its own before that.
    """

    def wait() -> NoReturn:
        while os.read(0, 1 << 12):
            pass
        first()
        os._exit(1)

    threading.Thread(target=wait, name="input", daemon=True).start()


def usable_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
