"""Kinds of values that several commands take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from toolkit.clock import NS_PER_S, SystemClock
from toolkit.errors import ConfigError
from toolkit.timing.times import duration_ns, time_ns

__all__ = ["Duration", "DurationSeconds", "Instant", "OutputFile", "check_apart", "check_output"]

#: Longer than anything that can be meant, and short enough for every clock: a hundred years.
_LONGEST_NS: Final = 36525 * 86400 * NS_PER_S


class Duration(click.ParamType[int]):
    """A length of time such as `90s`, `15m` or `1.5h`, in nanoseconds; a number without a unit is one of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        length_ns = _length_ns(str(value).strip())
        if length_ns is None:
            self.fail(f"{value!r} is no duration; expected such as 250ms, 90s, 15m, 1.5h or 7d", param, ctx)
        return length_ns


def _length_ns(text: str) -> int | None:
    try:
        length_ns = duration_ns(f"{text}s" if text[-1:].isdigit() else text)
    except ConfigError:
        return None
    return length_ns if length_ns <= _LONGEST_NS else None


class DurationSeconds(Duration):
    """The same, in seconds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        return super().convert(value, param, ctx) / NS_PER_S


class Instant(click.ParamType[int]):
    """A point in time, UTC unless it says otherwise, in nanoseconds since the Unix epoch; `now` is one too."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip()
        if text == "now":
            return SystemClock().time_ns()
        try:
            return time_ns(text)
        except ConfigError as exc:
            self.fail(str(exc), param, ctx)


class OutputFile(click.Path):
    """
    A file that a command will write: a place where that is impossible is said before the work, not after it.

    Args:
        suffixes: Endings that its name may have; empty: any.
    """

    name = "file"

    def __init__(self, *suffixes: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            self.fail(f"{path}: expected a name that ends in {' or '.join(self.suffixes)}", param, ctx)
        check_output(path)
        return path


def check_output(path: Path) -> None:
    """Raise ConfigError if a file of that name cannot be written; nothing is created."""
    folder = path.parent
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder; name a file")
    if not folder.is_dir():
        why = "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(f"cannot write {path}: the folder {folder} {why}; make it, or name another")
    if path.exists():
        if not os.access(path, os.W_OK):
            raise ConfigError(f"cannot write {path}: it is not writable")
    elif not _takes_files(folder):
        raise ConfigError(f"cannot write {path}: the folder {folder} is not writable")


def _takes_files(folder: Path) -> bool:
    """Whether a file can be made there; some folders say that and refuse it all the same, so one without a name is."""
    from tempfile import TemporaryFile

    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_apart(outputs: Mapping[str, Path | None]) -> None:
    """
    See that what a command writes does not overwrite itself.

    Args:
        outputs: The files, or folders, by what is written there; None: nothing is.

    Raises ConfigError where two of them are one place.
    """
    found: dict[Path, str] = {}
    for what, path in outputs.items():
        if path is None:
            continue
        other = found.setdefault(path.resolve(), what)
        if other != what:
            raise ConfigError(f"{other} and {what} would both be written to {path}: name another file for one of them")
