"""Several recordings at once: what they are called, and that none of them is there twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from recordings.recording import Recording, folder_of
from toolkit.errors import ConfigError

__all__ = ["labels", "one_or_several", "opened_all", "refuse_same", "refuse_twice"]


def one_or_several(
    recordings: Recording | str | PathLike[str] | Iterable[Recording | str | PathLike[str]],
) -> list[Recording | Path]:
    """One recording or several as a list, each open or its folder. Raises ConfigError for anything else."""
    if isinstance(recordings, Recording | str | PathLike | bytes) or not isinstance(recordings, Iterable):
        recordings = [recordings]
    return [each if isinstance(each, Recording) else folder_of(each) for each in recordings]


def opened_all(
    recordings: Recording | str | PathLike[str] | Iterable[Recording | str | PathLike[str]],
) -> list[Recording]:
    """The same, all of them open. Raises as `Recording.open` does."""
    return [each if isinstance(each, Recording) else Recording.open(each) for each in one_or_several(recordings)]


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
        except OSError:  # reading it raises
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
