"""
Names for the instants at which a crash must be harmless.

The code says `step("manifest-written")` where it has come that far. That does nothing, except in the chaos suite,
which sets `TICKDECK_DIE_AT` to one of these names to have the process killed there, as a power cut would. A name
after `sealer/` or `recorder/` is meant for that process alone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["STEPS", "step", "this_is", "watching"]

#: Every step, in the order a segment goes through them; the last three are of renormalizing and compacting.
STEPS: Final = (
    "session-begun",
    "journal-batch-made",
    "journal-batch-written",
    "journal-closed",
    "journal-opened",
    "file-written",
    "file-synced",
    "file-renamed",
    "tables-written",
    "checkpoint-written",
    "manifest-written",
    "state-removed",
    "journal-removed",
    "session-sealed",
    "rewrite-committed",
    "rewrite-file-moved",
    "rewrite-manifest-written",
)

_place, _, _count = os.environ.get("TICKDECK_DIE_AT", "").partition(":")
_process, _, _name = _place.rpartition("/")
_left = int(_count or 1)
#: Which process this is, for the names that are meant for one of them.
_here = "recorder"
_watcher: Callable[[str], None] | None = None


def this_is(process: str) -> None:
    """Say which process this is."""
    global _here  # noqa: PLW0603  # one process per process
    _here = process


def step(name: str) -> None:
    """The process has come this far; `TICKDECK_DIE_AT=name:3` kills it the third time it does."""
    global _left  # noqa: PLW0603  # one countdown per process
    if _watcher is not None:
        _watcher(name)
    if name == _name and _process in ("", _here):
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def watching(watcher: Callable[[str], None]) -> Iterator[None]:
    """Call back at every step of this process within the block; what the callback raises ends it there."""
    global _watcher  # noqa: PLW0603  # one for the process, like the steps
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before
