"""Several recordings at once: what they are called, and that none of them is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recordings.recording import Recording
from toolkit.errors import ConfigError

__all__ = ["labels", "refuse_same", "refuse_twice"]


def refuse_twice(recordings: Sequence[Recording]) -> None:
    """
    Raise ConfigError where two of them are the same folder, by whatever path or link: every row of it would count twice.

    A copy of a folder is another one.
    """
    refuse_same([recording.path for recording in recordings], "recording")


def refuse_same(paths: Sequence[Path], kind: str) -> None:
    """Raise ConfigError where two paths lead to the same file or folder; `kind` is what it is called."""
    seen: dict[tuple[int, int] | Path, Path] = {}
    for path in paths:
        key: tuple[int, int] | Path
        try:
            state = path.stat()
            key = (state.st_dev, state.st_ino)
        except OSError:  # whoever reads it is told
            key = path.absolute()
        if key in seen:
            how = "stands there twice" if seen[key] == path else f"is the same {kind} as {seen[key]}"
            raise ConfigError(f"{path} {how}: name it once")
        seen[key] = path


def labels(recordings: Sequence[Recording]) -> list[str]:
    """What each is called in a column `recording`: the name of its folder, or the whole path where two have the same."""
    names = [recording.path.absolute().name for recording in recordings]
    if len(set(names)) < len(names):
        names = [str(recording.path.absolute()) for recording in recordings]
    return names
