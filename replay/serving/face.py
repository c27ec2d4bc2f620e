"""
What every face of a venue shares, whether a synthetic market or a recording is behind it: asks, replies, drops, limits.

Whatever a client says is bounded before anything is done with it: the server's sockets bound its length, `read_json` how
deep it nests and how large its numbers are.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["UNREADABLE", "Ask", "Drop", "Pings", "Reply", "Unreadable", "Window", "as_json", "read_json"]

#: What `msgspec` raises for text that is no JSON: that which is no UTF-8, and brackets without end, are not `DecodeError`.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: How deep a request may nest; parsers of venues give up there too.
_DEPTH_MAX: Final = 128
_LARGE: Final = re.compile(rb"\d{19}")

_encoder = msgspec.json.Encoder()


class Unreadable(Exception):
    """What a client sent is no JSON that a venue would read."""


def read_json(text: str | bytes) -> Any:
    """
    What a client sent, decoded. A whole number that has no room in 64 bits is a float, as it is for the venues' parsers.

    Raises Unreadable for what is no JSON, or nests deeper than anybody asks.
    """
    try:
        value = msgspec.json.decode(text)
    except UNREADABLE:
        raise Unreadable from None
    data = text.encode() if isinstance(text, str) else text
    is_odd = data.count(b"[") + data.count(b"{") > _DEPTH_MAX or _LARGE.search(data) is not None
    return _bounded(value, 0) if is_odd else value


def _bounded(value: Any, depth: int) -> Any:
    if depth > _DEPTH_MAX:
        raise Unreadable
    if isinstance(value, dict):
        return {name: _bounded(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_bounded(each, depth + 1) for each in value]
    if not isinstance(value, int) or -(2**63) <= value < 2**64:
        return value
    try:
        return float(value)
    except OverflowError:
        raise Unreadable from None


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
