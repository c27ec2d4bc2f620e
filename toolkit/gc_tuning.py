"""
Fewer passes of the cyclic garbage collector while messages are made by the million.

Messages hold no cycles (their structs opt out of the collector), but the tuples in them are counted as new objects and
set off a pass every few hundred of them: a third of the time of a replay. Cycles that user code makes are still
collected, only later.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["rare_collections"]

#: Net new container objects between two passes; the interpreter's own default is 700 to 2,000.
_THRESHOLD: Final = 200_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect rarely inside the block; the thresholds are what they were after it."""
    before = gc.get_threshold()
    if before[0] == 0 or before[0] >= _THRESHOLD:  # switched off, or relaxed already, by the calling program
        yield
        return
    gc.set_threshold(_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
