"""
Names for the instants at which a crash must be harmless.

The code says `step("manifest-written")` where it has come that far. That does nothing, except in the chaos suite,
which sets `TICKDECK_DIE_AT` to one of these names to have the process killed there, as a power cut would.
"""

from __future__ import annotations

import os
import signal
from typing import Final

__all__ = ["STEPS", "step"]

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
    "journal-removed",
    "session-sealed",
    "rewrite-committed",
    "rewrite-file-moved",
    "rewrite-manifest-written",
)

_name, _, _count = os.environ.get("TICKDECK_DIE_AT", "").partition(":")
_left = int(_count or 1)


def step(name: str) -> None:
    """The process has come this far; `TICKDECK_DIE_AT=name:3` kills it the third time it does."""
    global _left  # noqa: PLW0603  # one countdown per process
    if name == _name:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
