"""Failures of strategies: one message with the strategy's own file and line."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType
from typing import Any, Final

from replay.strategy.watch import TookTooLong, Watch
from toolkit.errors import ConfigError, TickdeckError

__all__ = ["FAILURES", "StrategyError", "described", "failure_in", "failure_of", "own_line", "said_of"]

#: Whatever a callback raises is the strategy's own failure, but for what ends the program: that goes on.
FAILURES: Final = (Exception, SystemExit, TookTooLong)


class StrategyError(TickdeckError):
    """
    A strategy cannot be used, or ended its own run.

    Attributes:
        path: Its file; empty where that is not known.
        line: The line in it; 0 where that is not known.
        what: Fault in a sentence.
    """

    def __init__(self, what: str, path: str = "", line: int = 0) -> None:
        where = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
        super().__init__(f"{where}{what}")
        self.path = path
        self.line = line
        self.what = what


def described(exc: BaseException, files: Collection[str], where: str) -> StrategyError:
    """
    What a callback raised, as the one message about it.

    Args:
        exc: Exception that was raised.
        files: The strategy's own files; the innermost line in one of them is named.
        where: The callback.
    """
    path, line, code = "", 0, ""
    for frame in traceback.extract_tb(exc.__traceback__):
        if frame.filename in files:
            path, line, code = frame.filename, frame.lineno or 0, (frame.line or "").strip()
    return StrategyError(f"{where}: {said_of(exc)}{f' in `{code}`' if code else ''}", _short(path), line)


def said_of(exc: BaseException) -> str:
    """An exception in one line; errors of ours speak for themselves."""
    text = " ".join(str(exc).split())
    if isinstance(exc, TickdeckError):
        return text
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def own_line(frame: FrameType | None, files: Collection[str]) -> tuple[str, int, str]:
    """File, line and text of the innermost frame in one of the strategy's files; nothing where there is none."""
    while frame is not None:
        if frame.f_code.co_filename in files:
            path, line = frame.f_code.co_filename, frame.f_lineno
            return path, line, linecache.getline(path, line).strip()
        frame = frame.f_back
    return "", 0, ""


def _short(path: str) -> str:
    """A path as one would write it here."""
    if not path:
        return path
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def failure_of(
    watch: Watch, files: Collection[str], name: str, function: Callable[..., Any], *args: Any
) -> StrategyError | None:
    """Call a callback of a strategy, of that name; whatever it raises, or that it took too long, as its own failure."""
    try:
        watch.call(function, *args)
    except FAILURES as exc:
        return failure_in(watch, files, name, exc)
    return None


def failure_in(watch: Watch, files: Collection[str], name: str, exc: BaseException) -> StrategyError:
    """One of `FAILURES`, which a callback of that name has raised, in words."""
    if isinstance(exc, TookTooLong):
        most = f"took longer than {watch.seconds_max:g} s, which is what a callback may compute"
        return described(ConfigError(most).with_traceback(exc.__traceback__), files, name)
    return described(exc, files, name)
