"""
Where compiled kernels are kept, and whether they are there, without loading the compiler.

numba keeps compiled functions on disk, by the file that the function stands in. It does not see that a function which
that one calls has changed. So the folder is named by a hash over the sources of every kernel there is: any change
compiles all of them anew, and no program ever runs the code of another version. The folder is in the user's cache
(`TICKDECK_KERNELS` names another place), because the installed package may not be writable.
"""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

__all__ = ["are_compiled", "is_checked", "kernel_folder", "note_compiled"]

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_READY: Final = "ready"


@cache
def kernel_folder() -> Path:
    """Where the machine code of these sources is kept."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{version('numba')} {version('numpy')} {platform.python_version()} {platform.machine()}".encode())
    digest.update(b"checked" if is_checked() else b"")
    for path in sorted([*_PACKAGE.glob("kernels/*.py"), *_PACKAGE.glob("venues/*/kernel*.py")]):
        digest.update(path.read_bytes())
    named = os.environ.get("TICKDECK_KERNELS")
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (Path(named) if named else cache_home / "tickdeck" / "kernels") / digest.hexdigest()


def is_checked() -> bool:
    """Whether kernels check every access to memory, as numba does too: where `NUMBA_BOUNDSCHECK` is 1."""
    return os.environ.get("NUMBA_BOUNDSCHECK") == "1"


def are_compiled() -> bool:
    """Whether kernels have been compiled before, so that using them costs a fraction of a second."""
    return (kernel_folder() / _READY).is_file()


def note_compiled() -> None:
    """They have been, and are on disk."""
    marker = kernel_folder() / _READY
    if not marker.exists() and marker.parent.is_dir():
        marker.touch()
