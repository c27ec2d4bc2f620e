"""
Interrupting what writes into a folder, within this process: kills, errors of the disk and of memory, Ctrl-C, onlookers.

Python announces what it does to files (`sys.addaudithook`), and our code the steps that it has come to; Arrow and
`os.write` are wrapped, since neither says anything. Each of these is an instant at which something can happen. A kill
is an exception after which the folder is put back to what it was at that instant, so nothing that cleans up counts. After
a power cut it is put back to what was synced (`tests/power_cuts.py`).
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import pyarrow.parquet as pq

from recordings.storage.crash_points import watching
from tests.power_cuts import PowerCut

__all__ = ["FAULTS", "POWER_CUT", "Interruption", "Killed", "Naming", "killed_at"]

_MUTATIONS: Final = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"})


class Killed(BaseException):
    """The process is gone."""


def _no_space() -> BaseException:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _io_error() -> BaseException:
    return OSError(errno.EIO, os.strerror(errno.EIO))


#: A kill that takes with it what was not synced since the block began.
POWER_CUT: Final = "power cut"
#: What can happen at an instant, by name.
FAULTS: Final[dict[str, Callable[[], BaseException]]] = {
    "kill": Killed,
    "no space": _no_space,
    "I/O error": _io_error,
    "no memory": MemoryError,
    "Ctrl-C": KeyboardInterrupt,
}


class Interruption:
    """
    Something that happens at one instant of what a block does to a folder.

    Args:
        folder: Only what concerns it counts.
        at: Instant of it, counted from 0; or the name of a step, the `count`th time it is come to.
        fault: One of `FAULTS`, `POWER_CUT`, or None for nothing.
        count: See `at`.
        look: Called at the instant, before the fault.
        luck: Decides what a power cut leaves of what was not synced.
        naming: Whether the disk has the folder's own name before the block; None for one that it has.

    Attributes:
        has_come: Whether the instant came.
        instants: How many there were.
    """

    def __init__(
        self,
        folder: Path,
        at: int | str = -1,
        fault: str | None = None,
        *,
        count: int = 1,
        look: Callable[[], None] | None = None,
        luck: int = 0,
        naming: Naming | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._prefix = str(self.folder)
        self._at = at
        self._count = count
        self._fault = fault
        self._look = look
        self._luck = luck
        self._snapshot = self.folder.with_name(f"{self.folder.name}.at-the-kill")
        self._lock = threading.Lock()
        self._is_busy = False
        self._naming = naming
        self._power: PowerCut | None = None
        self.has_come = False
        self.instants = 0
        self.names: list[str] = []

    @property
    def is_killed(self) -> bool:
        """Whether the instant came, and it was a kill or a power cut."""
        return self._fault in ("kill", POWER_CUT) and self.has_come

    @property
    def is_power_cut(self) -> bool:
        """Whether the instant came, and it was a power cut."""
        return self._fault == POWER_CUT and self.has_come

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Let it happen within the block. A kill ends the block quietly; other faults are raised as they are."""
        global _current  # noqa: PLW0603  # there is one audit hook per process, and it cannot be removed
        _install()
        if self._fault == POWER_CUT:
            self._power = PowerCut(self.folder, is_named=self._naming is None or self._naming.is_on_disk)
        before, _current = _current, self
        try:
            with watching(self.come_to):
                yield
        except BaseException:
            # Whatever the code made of it on the way: the process is gone.
            if not self.is_killed:
                raise
        finally:
            _current = before
            if self._power is not None:
                self._power.close()
            if self.is_killed:
                shutil.rmtree(self.folder, ignore_errors=True)
                if self._snapshot.is_dir():
                    self._snapshot.rename(self.folder)

    def synced(self, handle: int) -> None:
        """What a handle is of was synced."""
        with self._lock:
            if self._power is None or self.has_come:
                return
            self._is_busy = True
            try:
                self._power.synced(handle)
            finally:
                self._is_busy = False

    def come_to(self, name: str) -> None:
        """An instant of that name has come."""
        with self._lock:
            if self._is_busy or self.has_come:
                return
            if self._power is not None:
                self._is_busy = True
                self._power.look()
                self._is_busy = False
            self.names.append(name)
            number, self.instants = self.instants, self.instants + 1
            if isinstance(self._at, int):
                is_it = number == self._at
            else:
                self._count -= name == self._at
                is_it = name == self._at and self._count == 0
            if not is_it:
                return
            self._is_busy = self.has_come = True
        try:
            if self._look is not None:
                self._look()
            if self._power is not None:
                self._power.leave(self._snapshot, Random(f"{self._luck} {self._at} {self.names}"))
            elif self._fault == "kill" and self.folder.is_dir():
                shutil.copytree(self.folder, self._snapshot)
        finally:
            self._is_busy = False
        if self._fault is not None:
            raise FAULTS.get(self._fault, Killed)()

    def concerns(self, path: Any) -> bool:
        """Whether a path, a descriptor or anything else names something in the folder."""
        if isinstance(path, int):
            try:
                path = Path(f"/proc/self/fd/{path}").readlink()
            except OSError:
                return False
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        return isinstance(path, str | os.PathLike) and str(Path(path).absolute()).startswith(self._prefix)


@contextmanager
def killed_at(folder: Path, name: str, count: int = 1) -> Iterator[Interruption]:
    """The block is killed at a step, which has to come."""
    interruption = Interruption(folder, name, "kill", count=count)
    with interruption.in_force():
        yield interruption
    assert interruption.has_come, f"{name} came {interruption.names.count(name)} times, not {count}"


_current: Interruption | None = None
_is_installed = False
_write, _fsync = os.write, os.fsync
_write_table = pq.ParquetWriter.write_table


def _install() -> None:
    global _is_installed  # noqa: PLW0603  # likewise
    if not _is_installed:
        _is_installed = True
        sys.addaudithook(_audit)
        os.write = _written
        os.fsync = _synced  # type: ignore[assignment]
        pq.ParquetWriter.write_table = _table_written


def _audit(event: str, args: tuple[Any, ...]) -> None:
    here = _current
    if here is None or here._is_busy:
        return
    if event == "open":
        path, _, flags = args
        if flags & (os.O_WRONLY | os.O_RDWR) and here.concerns(path):
            here.come_to("open")
    elif event in _MUTATIONS and here.concerns(args[0]):
        here.come_to(event)


def _written(handle: int, content: Any) -> int:
    here = _current
    if here is not None and not here._is_busy and here.concerns(handle):
        try:
            here.come_to("write")
        except OSError:
            _write(
                handle, memoryview(content).cast("B")[: len(memoryview(content).cast("B")) // 2]
            )  # the disk took so much
            raise
    return _write(handle, content)


class Naming:
    """
    Whether the disk has the name of a folder, over all that is done to it: its parent has to be synced once it is made.

    Attributes:
        is_on_disk: Whether it has.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.is_on_disk = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notice syncs within the block."""
        global _naming  # noqa: PLW0603  # `os.fsync` is one for all
        _install()
        before, _naming = _naming, self
        try:
            yield
        finally:
            _naming = before

    def synced(self, handle: int) -> None:
        """Something was synced."""
        if os.path.samestat(os.fstat(handle), self._folder.parent.stat()):
            self.is_on_disk = self._folder.is_dir()


_naming: Naming | None = None


def _synced(handle: int) -> None:
    if _naming is not None:
        _naming.synced(handle)
    here = _current
    if here is None or here._is_busy:
        _fsync(handle)
        return
    if here.concerns(handle):
        here.come_to("fsync")
    _fsync(handle)
    here.synced(handle)


def _table_written(writer: Any, *args: Any, **kwargs: Any) -> None:
    here = _current
    if here is not None and here.concerns(writer.where):
        here.come_to("rows")
    _write_table(writer, *args, **kwargs)
