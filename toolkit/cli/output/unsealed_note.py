"""The line of every command that reads recordings about what is not sealed yet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.output.results import say

if TYPE_CHECKING:
    from recordings.recording import Recording

__all__ = ["open_sealed", "say_unsealed"]


def open_sealed(folder: Path, sealed: bool) -> Recording:
    """
    The sealed part of a recording, for commands that read columns.

    What is missing is said in one line on stderr, unless only that part was asked for. Raises RecordingError.
    """
    from recordings.recording import Recording

    opened = Recording.open(folder, sealed=sealed)
    unsealed = opened.unsealed()
    if unsealed is not None:
        say(f"{folder}: only what is sealed is read here; {unsealed}", err=True)
    return opened.sealed_part()


def say_unsealed(recordings: Iterable[Recording]) -> None:
    """Say, in a line each on stderr, which recordings go on after what is sealed, and what of that cannot be read."""
    for recording in recordings:
        if (tail := recording.tail) is None:
            continue
        say(f"{recording.path}: {tail.unsealed}", err=True)
        for problem in (*tail.missing, *tail.unreadable):
            say(f"damaged: {problem}", err=True)
