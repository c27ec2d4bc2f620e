"""Keeps a venue that is down for a day from filling the disk with reports of it."""

from __future__ import annotations

from toolkit.clock import NS_PER_S

__all__ = ["FailureNotes"]


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
