"""
Where the wall clock jumped ahead: it was set, or put right after a sleep of the machine.

The recorder tells of it in the first frame that has the new time, so live and replayed code know it at the same place.
"""

from __future__ import annotations

import re
from typing import Final

from toolkit.messages import EventKind, Message, StreamEvent

__all__ = ["jump_of"]

_STEP: Final = re.compile(r"delta_ns=(\d+)")
_SLEEP: Final = re.compile(r"silence_s=(\d+(?:\.\d+)?)")


def jump_of(message: Message) -> tuple[int, int] | None:
    """From which time to which the wall clock jumped, ns; None for a message that tells of no jump ahead."""
    if not isinstance(message, StreamEvent):
        return None
    if message.kind is EventKind.CLOCK_STEP:
        found = _STEP.search(message.detail)
        length_ns = int(found[1]) if found is not None else 0
    elif message.kind is EventKind.NOTICE and message.cause == "suspend":
        found = _SLEEP.search(message.detail)
        length_ns = round(float(found[1]) * 1e9) if found is not None else 0
    else:
        return None
    return (message.ts_recv - length_ns, message.ts_recv) if length_ns else None
