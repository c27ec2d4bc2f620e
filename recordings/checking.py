"""
No reader answers from a file that is not the one that was sealed.

The manifest holds a hash of every file. It is computed once for each state of a file (device, inode, size, times of
last change and of the inode's) and then remembered, in this process and in the user's cache, so that checking costs
next to nothing from the second read on. `verify` always computes it again.

What is remembered is a shortcut and no more: where the cache cannot be read or written, nothing is said, and files are
hashed again. `TICKDECK_CHECKS` names another place for it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import stat
import tempfile
import threading
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from recordings.format.file_names import files_of
from recordings.format.manifest import TableFile, inside, read_manifest
from recordings.storage.atomic_files import open_regular
from recordings.storage.sealed_files import FileState, LocalFile, SealedFile
from toolkit.clock import NS_PER_S, SystemClock
from toolkit.errors import RecordingDamaged, RecordingError

__all__ = [
    "check_files",
    "checked_path",
    "checks_are_on",
    "file_problem",
    "missing",
    "open_checked",
    "read_checked",
    "set_checks",
]

#: A file that was changed so short a time ago may be changed again without a new state: file systems count coarsely.
FRESH_NS: Final = 2 * NS_PER_S
#: What was computed is written to the cache after this many bytes; a process that is killed loses no more.
SAVE_BYTES: Final = 256 << 20
#: Recordings that are remembered; the oldest half goes when there are more.
RECORDINGS_MAX: Final = 2048
_SUM_BYTES: Final = 16


class _Entry(msgspec.Struct, array_like=True):
    """A file of a recording, as it was when it was hashed."""

    state: FileState
    blake2b: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, _Entry]).decode
_clock = SystemClock()


class _Memory:
    """What is known of the files of recordings, by recording and by path within it."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, _Entry]] = {}
        self._changed: set[Path] = set()
        self._new_bytes = 0
        self._lock = threading.Lock()

    def hash_of(self, folder: Path, name: str, state: FileState) -> str | None:
        """The hash of a file in that state, if it was computed before."""
        known = self._known.get(folder)
        if known is None:
            with self._lock:
                known = self._known.setdefault(folder, _load(folder))
        entry = known.get(name)
        return entry.blake2b if entry is not None and entry.state == state else None

    def keep(self, folder: Path, name: str, state: FileState, digest: str) -> None:
        """Remember a hash."""
        with self._lock:
            self._known.setdefault(folder, {})[name] = _Entry(state, digest)
            self._changed.add(folder)
            self._new_bytes += state.size
        if self._new_bytes >= SAVE_BYTES:
            self.save()

    def save(self) -> None:
        """Write what is new to the cache."""
        with self._lock:
            changed, self._changed, self._new_bytes = self._changed, set(), 0
            for folder in changed:
                # Another process may have written meanwhile; where both did, a file is hashed once more at worst.
                _save(folder, _load(folder) | self._known[folder])

    def forget(self) -> None:
        """Know nothing, as a new process does."""
        with self._lock:
            self._known, self._changed, self._new_bytes = {}, set(), 0


memory = _Memory()
atexit.register(memory.save)
_is_on = True


def checks_are_on() -> bool:
    """Whether readers check files at all."""
    return _is_on


def set_checks(is_on: bool) -> None:
    """Say for this process whether readers check files; they do by default."""
    global _is_on  # noqa: PLW0603  # one switch per process
    _is_on = is_on


def check_files(folder: Path, files: Iterable[TableFile]) -> list[Path]:
    """Paths of files of a recording, once each is found to be the one that was sealed. Raises RecordingDamaged."""
    return [checked_path(folder, file) for file in files]


def checked_path(folder: Path, file: TableFile) -> Path:
    """
    The path of one file, for readers that open it themselves. Raises RecordingDamaged.

    Prefer `open_checked`: a path may lead to another file a moment later.
    """
    path = inside(folder, file.path)
    with _opened(path) as opened:
        _check(folder, file, opened)
    return path


def open_checked(folder: Path, file: TableFile) -> pa.NativeFile:
    """One file to read from, which is the one that was sealed and stays so whatever its name becomes. Raises RecordingDamaged."""
    path = inside(folder, file.path)
    with _opened(path) as opened:
        _check(folder, file, opened)
        try:
            return opened.arrow()
        except FileNotFoundError as exc:
            raise RecordingDamaged(f"{path} was replaced while it was opened") from exc
        except OSError as exc:
            raise RecordingDamaged(f"{path} cannot be read: {exc.strerror}") from None


def read_checked(folder: Path, file: TableFile) -> bytes:
    """What is in one file that was sealed. Raises RecordingDamaged for any other."""
    path = inside(folder, file.path)
    with _opened(path) as opened:
        content = opened.read(0, opened.state().size)
    if blake2b(content, digest_size=32).hexdigest() != file.blake2b:
        raise RecordingDamaged(f"{path} is not the file that was sealed: its BLAKE2b hash differs")
    return content


def file_problem(folder: Path, file: TableFile) -> str:
    """What is wrong with a file, by its hash now: empty if nothing. Raises RecordingDamaged for a path outside."""
    path = inside(folder, file.path)
    try:
        opened = _opened(path)
    except RecordingError as exc:
        return str(exc).removeprefix(f"{path} ")
    with opened:
        return _problem(folder, file, opened, is_fresh=True)


def missing(path: Path) -> RecordingError:
    """What to raise for a file that is not there: whether it is still one of the recording, only the manifest knows."""
    folder = path.parent.parent
    with contextlib.suppress(RecordingError):
        names = {file.path for file in files_of(read_manifest(folder))}
        if path.relative_to(folder).as_posix() not in names:
            return RecordingError(
                f"{path} went while the recording was open: it was compacted, renormalized or pruned; open it again"
            )
    return RecordingDamaged(f"{path} is missing")


def _opened(path: Path) -> LocalFile:
    try:
        return LocalFile(path)
    except FileNotFoundError:
        raise missing(path) from None
    except OSError as exc:
        raise RecordingDamaged(f"{path} cannot be read: {exc.strerror}") from None


def _check(folder: Path, file: TableFile, opened: SealedFile) -> None:
    if problem := _problem(folder, file, opened, is_fresh=False):
        raise RecordingDamaged(f"{inside(folder, file.path)} {problem}: see `tickdeck verify`")


def _problem(folder: Path, file: TableFile, opened: SealedFile, *, is_fresh: bool) -> str:
    if not (_is_on or is_fresh):
        return ""
    state = opened.state()
    if state.size != file.bytes:
        return f"has {state.size:,} bytes, expected {file.bytes:,}"
    base = Path(os.path.realpath(folder))
    digest = None if is_fresh else memory.hash_of(base, file.path, state)
    if digest is None:
        begun_ns = _clock.time_ns()
        try:
            digest = opened.hash()
        except OSError as exc:
            return f"cannot be read: {exc.strerror}"
        is_settled = begun_ns - max(state.mtime_ns, state.ctime_ns) > FRESH_NS
        if is_settled and opened.state() == state:
            memory.keep(base, file.path, state, digest)
    return "" if digest == file.blake2b else "is not the file that was sealed: its BLAKE2b hash differs"


# -- the user's cache --------------------------------------------------------------------------------------------------


def _place(folder: Path) -> Path | None:
    """The file in the cache that is about a recording; None if there is no place for it."""
    named = os.environ.get("TICKDECK_CHECKS")
    try:
        home = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tickdeck"
    except RuntimeError:
        return None  # there is no home folder
    name = blake2b(os.fsencode(folder), digest_size=12).hexdigest()
    return home / "checks" / name


def _load(folder: Path) -> dict[str, _Entry]:
    place = _place(folder)
    if place is None:
        return {}
    try:
        handle = open_regular(place)
        with os.fdopen(handle, "rb") as file:
            content = file.read()
        if blake2b(content[_SUM_BYTES:], digest_size=_SUM_BYTES).digest() != content[:_SUM_BYTES]:
            return {}
        return _decode(content[_SUM_BYTES:])
    except (OSError, ValueError, msgspec.MsgspecError):
        return {}


def _save(folder: Path, known: dict[str, _Entry]) -> None:
    place = _place(folder)
    if place is None:
        return
    content = _encode(known)
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=place.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(blake2b(content, digest_size=_SUM_BYTES).digest() + content)
            os.replace(name, place)  # noqa: PTH105
        except BaseException:
            os.unlink(name)  # noqa: PTH108
            raise
        _make_room(place.parent)


def _make_room(cache: Path) -> None:
    with os.scandir(cache) as found:
        files = [(entry.stat().st_mtime_ns, entry.path) for entry in found if stat.S_ISREG(entry.stat().st_mode)]
    if len(files) > RECORDINGS_MAX:
        for _, path in sorted(files)[: len(files) // 2]:
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108
