"""Several recordings at once: what they are called, and that none of them is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recordings.recording import Recording
from toolkit.errors import ConfigError

__all__ = ["labels", "refuse_twice"]


def refuse_twice(recordings: Sequence[Recording]) -> None:
    """
    Raise ConfigError where two of them are the same folder, by whatever path or link: every row of it would count twice.

    A copy of a folder is another one.
    """
    seen: dict[tuple[int, int] | Path, Path] = {}
    for recording in recordings:
        key: tuple[int, int] | Path
        try:
            state = recording.path.stat()
            key = (state.st_dev, state.st_ino)
        except OSError:  # whoever reads it is told
            key = recording.path.absolute()
        if key in seen:
            first = seen[key]
            how = "stands there twice" if first == recording.path else f"is the same recording as {first}"
            raise ConfigError(f"{recording.path} {how}: name it once")
        seen[key] = recording.path


def labels(recordings: Sequence[Recording]) -> list[str]:
    """What each is called in a column `recording`: the name of its folder, or the whole path where two have the same."""
    names = [recording.path.absolute().name for recording in recordings]
    if len(set(names)) < len(names):
        names = [str(recording.path.absolute()) for recording in recordings]
    return names
