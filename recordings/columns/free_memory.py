"""What becomes of memory that is free again."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

__all__ = ["keep_freed_memory"]

#: Bytes below which blocks are used again.
_BELOW: Final = 24 << 20


@cache
def keep_freed_memory() -> None:
    """
    Have blocks of a MiB and more used again, in place of giving each back to the system.

    To get such a block from the system anew, page by page, takes as long as what is done with it. glibc takes blocks from
    its own heap that are smaller than the largest one that was given back so far, up to 32 MiB, and keeps twice as much
    free; so one is given back. It takes no memory, since nobody has written to it. Elsewhere nothing comes of it.
    """
    np.empty(_BELOW, np.uint8)
