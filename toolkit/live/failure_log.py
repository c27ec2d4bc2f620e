"""What is written down of a venue that fails: enough to know, not so much that a day of it fills the disk."""

from __future__ import annotations

from typing import Final

from toolkit.clock import NS_PER_S
from toolkit.transport.failures import RetryAfter

__all__ = ["FailureNotes", "retry_after_fields"]

#: A longer time, which a header of any length can name, is no number that a table should have to hold.
ASKED_S_SHOWN_MAX: Final = 1e12


def retry_after_fields(asked: RetryAfter) -> dict[str, str | float]:
    """What a frame of ours says of a venue that wants to be left alone: for how long, and for how long it is."""
    asked_s = "no time" if asked.asked_s is None else min(round(asked.asked_s, 3), ASKED_S_SHOWN_MAX)
    return {
        "cause": "told_to_wait",
        "host": asked.host,
        "status": asked.status,
        "asked_s": asked_s,
        "waits_s": round(asked.waits_s, 3),
    }


class FailureNotes:
    """Says which of many failures in a row are worth writing down: the first, a different one, then one a minute."""

    def __init__(self, repeat_s: float = 60.0) -> None:
        self._repeat_ns = round(repeat_s * NS_PER_S)
        self._last_error: str | None = None
        self._last_ns = 0

    def is_news(self, error: str, mono_ns: int) -> bool:
        """Whether to write this one down; if so, it is taken to have been."""
        if error == self._last_error and mono_ns - self._last_ns < self._repeat_ns:
            return False
        self._last_error = error
        self._last_ns = mono_ns
        return True

    def over(self) -> None:
        """It worked again: the next failure is news."""
        self._last_error = None
