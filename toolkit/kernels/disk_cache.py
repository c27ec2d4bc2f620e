"""
Where compiled kernels are kept, and whether they are there, without loading the compiler.

numba keeps compiled functions on disk, by the text of the file that the function stands in. It does not see that a
function which that one calls has changed. So the folder is named by a hash over the sources of all kernels that it may call: any change
of these compiles them again, and no program ever runs the code of another version. The kernels of `toolkit`, which import
and seal, call no others and have a folder of their own. Both are in the user's cache (`TICKDECK_KERNELS` names another
place), because the installed package may not be writable.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import platform
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

__all__ = ["are_compiled", "is_checked", "kernel_folder", "note_compiled", "shelf_problem", "usable_folder"]

_PACKAGE: Final = Path(__file__).resolve().parent.parent
_READY: Final = "ready"
#: Where kernels are, from the folder of the packages, and what they compile in: numbers of names, layouts of rows.
_SOURCES: Final = (
    "toolkit/kernels/*.py",
    "toolkit/venues/*/kernel*.py",
)
#: And those of what stands above them. Kernels of `toolkit` call none of these.
_SOURCES_ABOVE: Final = (
    *_SOURCES,
    "replay/market/*.py",
    "replay/fast/*kernel*.py",
    "replay/fast/*layout.py",
    "recordings/columns/kernel*.py",
    "recordings/columns/column_batch.py",
    "toolkit/books/book_fusion.py",
)


@cache
def kernel_folder(*, above: bool = False) -> Path:
    """
    Where the machine code of these sources is kept.

    Args:
        above: Whether of the kernels above `toolkit`, a change of which leaves the code that imports and seals.
    """
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{version('numba')} {version('numpy')} {platform.python_version()} {platform.machine()}".encode())
    digest.update(b"checked" if is_checked() else b"")
    sources = _SOURCES_ABOVE if above else _SOURCES
    for path in sorted(path for pattern in sources for path in _PACKAGE.parent.glob(pattern)):
        digest.update(path.read_bytes())
    named = os.environ.get("TICKDECK_KERNELS")
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return (Path(named) if named else cache_home / "tickdeck" / "kernels") / digest.hexdigest()


def is_checked() -> bool:
    """Whether kernels check every access to memory, as numba does too: where `NUMBA_BOUNDSCHECK` is 1."""
    return os.environ.get("NUMBA_BOUNDSCHECK") == "1"


@cache
def usable_folder(*, above: bool = False) -> Path | None:
    """
    Where this process keeps the machine code: `kernel_folder`, if that can be written to.

    Else, where others have filled it, a copy of it that goes with the process: numba reads no code from where it cannot
    write. None where there is no place at all; `shelf_problem` says why then.
    """
    folder = kernel_folder(above=True) if above else kernel_folder()
    try:
        _try_writing(folder)
    except OSError as exc:
        problem = f"{folder} cannot be written ({exc.strerror or exc})"
    else:
        return folder
    try:
        if any(folder.glob(f"{_READY}*")):
            scratch = tempfile.mkdtemp(prefix="tickdeck-kernels-")
            atexit.register(shutil.rmtree, scratch, ignore_errors=True)
            copy = Path(scratch) / folder.name
            shutil.copytree(folder, copy, copy_function=shutil.copyfile)
            return copy
    except OSError:
        pass  # nor is there a place for temporary files
    _problems.append(problem)
    return None


_problems: list[str] = []


def _try_writing(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder)
    os.close(handle)
    Path(name).unlink()


def shelf_problem() -> str:
    """One line of why compiled code has no place here, and what that means; empty if it has, or none was wanted."""
    if not _problems:
        return ""
    return f"compiled code has no place: {_problems[0]}; the work is done without it, slower and the same"


def are_compiled(which: str = _READY) -> bool:
    """Whether kernels have been compiled before, so that using them costs a fraction of a second."""
    folder = _folder_of(which)
    return folder is not None and (folder / which).is_file()


def note_compiled(which: str = _READY, folder: Path | None = None) -> None:
    """
    They have been, and are on disk.

    Args:
        which: Tells sets of kernels apart that are compiled one without the other.
        folder: Where they are; None for where this process keeps them.
    """
    folder = folder or _folder_of(which)
    if folder is not None and folder.is_dir():
        with suppress(OSError):  # a full disk: they are compiled again next time
            (folder / which).touch()


def _folder_of(which: str) -> Path | None:
    return usable_folder() if which.startswith(_READY) else usable_folder(above=True)
