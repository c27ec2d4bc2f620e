"""What a process of ours is started with that runs a module of these packages, and for how many there is room."""

from __future__ import annotations

import os
import site
from pathlib import Path

__all__ = ["child_environment", "usable_processors"]


def child_environment() -> dict[str, str]:
    """That of this process, with the place of our packages on the path, wherever this process has it from."""
    home = str(Path(__file__).resolve().parents[2])
    if home in (*site.getsitepackages(), site.getusersitepackages()):
        return {**os.environ}  # it is found there, after Python's own modules
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": home if not given else f"{given}{os.pathsep}{home}"}


def usable_processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
