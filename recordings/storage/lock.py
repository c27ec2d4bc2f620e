"""
One writer per recording: an advisory lock on a file in its folder, which the system releases when a process dies.

The sealing process of a recorder holds the lock too. When the recorder has died it is about to end, and is waited for.
Where the file system has no locks, the file says who writes: dead processes are distinguished from those that live.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from recordings.storage.atomic_files import sync_handle
from toolkit.clock import NS_PER_S, Clock, SystemClock
from toolkit.errors import RecordingError, RecordingLocked

__all__ = ["LOCK_NAME", "FolderLock", "Writer", "has_sign_of_life", "named_writer"]

LOCK_NAME: Final = "recording.lock"
#: How often a lock is tried whose owner is dead, or has not said yet who it is.
TRY_S: Final = 0.05
#: How long for one that does not say who it is.
NAMELESS_TRIES: Final = 20
#: How often it is said that somebody waits.
SAY_EVERY_NS: Final = 60 * NS_PER_S
#: What file systems answer that have no locks.
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
#: Without locks, a recorder of another machine is alive if it left a sign in the folder within this time.
SIGN_OF_LIFE_NS: Final = 60 * NS_PER_S
_CONTENT_MAX: Final = 4096
#: The last line of a lock file whose owner recovers.
_HEALS: Final = b"recover\n"


def _nothing(_: str) -> None:
    """Notify no one."""


def _never() -> bool:
    """Wait on."""
    return False


class _Owner(NamedTuple):
    """A process as the lock file names it; `started` in the kernel's ticks since it booted, empty if not known."""

    pid: int
    started: str = ""
    host: str = ""

    @classmethod
    def of(cls, pid: int) -> _Owner:
        return cls(pid, _process_facts(pid)[1], _host())

    @property
    def is_here(self) -> bool:
        return not self.host or self.host == _host()

    @property
    def is_alive(self) -> bool:
        """Whether this very process runs on this machine: not a later one of that number, and not the remains of it."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # another user's
        state, started = _process_facts(self.pid)
        # A process that its parent has not asked for yet keeps its number, but holds no files any more.
        return state not in ("Z", "X") and (not self.started or not started or self.started == started)

    def __str__(self) -> str:
        return f"{self.pid} {self.started or '-'} {self.host}".rstrip()


class FolderLock:
    """
    Holds a recording's folder for writing, within a `with` block.

    Raises RecordingLocked, naming the process, if another one holds it; RecordingError if the folder cannot be written.

    Args:
        folder: The recording.
        say: Called with one line when it waits for what a dead recorder left at work, or that there are no locks here.
        give_up: Asked regularly, while it waits, whether to stop that.
        heals: Whether it is held to recover the recording, not to record: for those who read it meanwhile.
    """

    def __init__(
        self,
        folder: Path,
        *,
        say: Callable[[str], None] = _nothing,
        give_up: Callable[[], bool] = _never,
        heals: bool = False,
    ) -> None:
        self._heals = heals
        self._path = folder / LOCK_NAME
        self._say = say
        self._give_up = give_up
        self._clock = SystemClock()
        self._handle = -1
        self._is_by_name = False
        self._others: list[_Owner] = []

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock; waits where the owner is dead and another process has not released it yet."""
        handle = self._opened()
        try:
            self._acquire(handle)
            self._handle = handle
            # Who owns it is for people, where there are locks; a full disk must not keep anybody from healing the
            # recording.
            with contextlib.suppress(OSError):
                self._name_owners()
        except BaseException:
            self._handle = -1
            os.close(handle)
            raise

    def release(self) -> None:
        """Release it. May be called twice."""
        if self._handle < 0:
            return
        if self._is_by_name:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
        # The file stays: removing it would let a third process lock a new one while a second still waits on this.
        os.close(self._handle)
        self._handle = -1

    def fileno(self) -> int:
        """The handle that holds the lock: a child that inherits it holds it too."""
        return self._handle

    def also(self, pid: int) -> None:
        """A child holds the lock too: where there are no locks, its name has to say so."""
        if self._is_by_name and self._handle >= 0:
            self._others = [owner for owner in self._others if owner.is_alive] + [_Owner.of(pid)]
            with contextlib.suppress(OSError):
                self._name_owners()

    def look(self) -> bool:
        """
        See that the locked file is still there under its name; False if it had to be made and locked again.

        Raises RecordingLocked if another process has locked the folder meanwhile.
        """
        try:
            named, held = self._path.lstat(), os.fstat(self._handle)
            if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino):
                return True
        except FileNotFoundError:
            pass
        handle = self._opened()
        try:
            self._acquire(handle)
            # The number stays: children are started with it.
            os.dup2(handle, self._handle, inheritable=False)
            with contextlib.suppress(OSError):
                self._name_owners()
        finally:
            os.close(handle)
        return False

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise RecordingError(f"{self._path.parent} cannot be written: {exc.strerror}") from None

    def _acquire(self, handle: int) -> None:
        nameless = 0
        said_ns = -SAY_EVERY_NS
        is_first = True
        while True:
            owners = self._tried(handle)
            if owners is None:
                return
            if is_first:
                # A reader that asks whether the folder is held has it for a moment, and is no writer.
                is_first = False
                time.sleep(TRY_S)
                continue
            if owners and owners[0].is_alive:
                raise self._locked(owners[0])
            if not owners:
                nameless += 1
                if nameless > NAMELESS_TRIES:
                    raise self._locked(None)
            elif self._clock.monotonic_ns() - said_ns >= SAY_EVERY_NS:
                said_ns = self._clock.monotonic_ns()
                self._say(
                    f"{self._path.parent}: process {owners[0].pid} has died; waiting until the process that it had for "
                    "sealing has ended"
                )
            if self._give_up():
                raise RecordingLocked(f"{self._path.parent} is still locked: stopped while it was waited for")
            # The kernel notifies no one of a free lock except through a wait that cannot be given up. A recorder waits
            # in a thread of its own, a command in the main one, where a signal ends the sleep.
            time.sleep(TRY_S)

    def _tried(self, handle: int) -> list[_Owner] | None:
        """None if the lock is ours now, else who holds it as far as is known."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _owners(os.pread(handle, _CONTENT_MAX, 0))[:1]
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:
                raise RecordingError(f"{self._path} cannot be locked: {exc.strerror or exc}") from None
            return self._tried_by_name(handle)
        return None

    def _tried_by_name(self, handle: int) -> list[_Owner] | None:
        """The same where the file system has no locks."""
        owners = _owners(os.pread(handle, _CONTENT_MAX, 0))
        if owners and not owners[0].is_here and has_sign_of_life(self._path.parent, self._clock):
            raise RecordingLocked(
                f"{self._path.parent} is being written by process {owners[0].pid} of {owners[0].host}: wait for it, or "
                "record into another folder"
            )
        alive = [owner for owner in owners if owner.is_here and owner.is_alive]
        if alive:
            # The first is the recorder; where only its child is left, that is waited for.
            return [owners[0]]
        if not self._is_by_name:
            self._is_by_name = True
            self._say(
                f"the file system of {self._path.parent} has no locks: a second writer is recognized by the process that "
                f"{LOCK_NAME} names"
            )
        mine = str(_Owner.of(os.getpid())).encode() + b"\n"
        os.pwrite(handle, mine, 0)
        os.ftruncate(handle, len(mine))
        sync_handle(handle)
        return None if os.pread(handle, _CONTENT_MAX, 0) == mine else []

    def _name_owners(self) -> None:
        lines = "".join(f"{owner}\n" for owner in (_Owner.of(os.getpid()), *self._others)).encode()
        lines += _HEALS if self._heals else b""
        # Over what is there, and only then cut: a file that is emptied first may find no room again on a full disk.
        os.pwrite(self._handle, lines, 0)
        os.ftruncate(self._handle, len(lines))

    def _locked(self, owner: _Owner | None) -> RecordingLocked:
        who = owner.pid if owner is not None else "unknown"
        return RecordingLocked(
            f"{self._path.parent} is being written by process {who}: wait for it, or record into another folder"
        )


class Writer(NamedTuple):
    """
    The process that a lock file names as the one that writes.

    Attributes:
        pid: Its number.
        host: Its machine where that is another one, else empty.
        is_alive: Whether it runs; of one on another machine, whether a sign of life was left in the folder lately.
        has_child: Whether a process that it had for sealing runs, which is named where there are no locks only.
        heals: Whether it recovers the recording.
    """

    pid: int
    host: str
    is_alive: bool
    has_child: bool = False
    heals: bool = False


def named_writer(folder: Path) -> Writer | None:
    """
    The process that last locked a folder, as its lock file says; None if none is named.

    For readers, who must not lock.
    """
    try:
        content = (folder / LOCK_NAME).read_bytes()[:_CONTENT_MAX]
    except OSError:
        return None
    owners, heals = _owners(content), content.endswith(b"\n" + _HEALS)
    if not owners:
        return None
    owner, *others = owners
    if not owner.is_here:
        return Writer(owner.pid, owner.host, has_sign_of_life(folder, SystemClock()), heals=heals)
    return Writer(owner.pid, "", owner.is_alive, any(each.is_alive for each in others), heals)


def has_sign_of_life(folder: Path, clock: Clock) -> bool:
    """Whether a recorder touched its lock file or a journal within the last minute, by the clock of this machine."""
    newest = 0
    for path in (folder / LOCK_NAME, *folder.glob("journal/*")):
        with contextlib.suppress(OSError):
            newest = max(newest, path.stat().st_mtime_ns)
    return abs(clock.time_ns() - newest) < SIGN_OF_LIFE_NS


def _owners(content: bytes) -> list[_Owner]:
    """The processes that a lock file names, the recorder first; empty if it names none."""
    owners = []
    for line in content.decode("utf-8", "replace").splitlines():
        pid, started, host = [*line.split(" ", 2), "", ""][:3]
        if not (pid.isascii() and pid.isdigit() and len(pid) < 10):  # no process has such a number
            break
        owners.append(_Owner(int(pid), "" if started == "-" else started, host))
    return owners


def _host() -> str:
    """This machine, or this container, as one word."""
    return os.uname().nodename.replace(" ", "-")


def _process_facts(pid: int) -> tuple[str, str]:
    """State and start of a process, as the kernel tells them; empty where it does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", ""
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")  # fields 3 and 22 of proc(5)
