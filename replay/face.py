"""What every face of a venue shares, whether a synthetic market or a recording is behind it: asks, replies, drops, limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

__all__ = ["Ask", "Drop", "Pings", "Reply", "Window", "as_json"]

_encoder = msgspec.json.Encoder()


def as_json(value: object) -> bytes:
    """Compact JSON."""
    return _encoder.encode(value)


class Ask(NamedTuple):
    """One REST request."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    content_type: str
    remote: str


class Reply(NamedTuple):
    """One REST answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


class Drop(NamedTuple):
    """A connection that the venue ends: with a close frame, or without one where `code` is None."""

    code: int | None = None
    reason: str = ""


class Pings(NamedTuple):
    """How a venue pings, seconds; without a pong in time the connection ends as `drop` says."""

    every_s: float
    within_s: float
    drop: Drop


class Window:
    """Counts what happened within the last stretch of time."""

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self._entries: deque[tuple[int, int]] = deque()
        self.total = 0

    def add(self, now_ns: int, weight: int = 1) -> int:
        """Count something in; returns the total within the window, this included."""
        self.expire(now_ns)
        self._entries.append((now_ns, weight))
        self.total += weight
        return self.total

    def expire(self, now_ns: int) -> None:
        """Forget what is older than the window."""
        while self._entries and self._entries[0][0] <= now_ns - self._length_ns:
            self.total -= self._entries.popleft()[1]
