"""
Cuts what a WebSocket server sends into frames, without the socket.

A venue's messages are nearly all whole data frames (RFC 6455, 5.2: final, without extension, unmasked). Those are cut
out here, by the hundred from one read of the socket. Every other frame (pings, fragments, a close, one that is not
allowed) goes as it is to the code that knows the rest of the protocol, so there is one set of rules for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["FrameSplitter"]

#: First byte of a frame that is a whole message: final, no reserved bit, text or binary.
_WHOLE: Final = frozenset((0x81, 0x82))
#: Second byte, when the length stands in the two or eight bytes after it; above them the frame is masked.
_LENGTH_IN_2: Final = 126
_LENGTH_IN_8: Final = 127


class FrameSplitter:
    """
    Cuts a stream of frames, in whatever pieces it comes.

    Args:
        size_max: Payload bytes of a message; of a longer one no more is kept than has come when its header is seen.
        on_other: Given each frame that is no whole message, complete and in its place in the stream. Returns whether
            the next frame may be cut out again; if not (a message in fragments has begun), it is given that too.
            What is wrong with the stream (a frame over the limit, say) it is given likewise, and all that follows.
            The splitter passes everything on untouched once `pass_on` was called.
    """

    def __init__(self, size_max: int, on_other: Callable[[bytes], bool]) -> None:
        self._size_max = size_max
        self._on_other = on_other
        self._is_passing_on = False
        self._may_cut = True
        # Less than a frame: its pieces, their bytes, and how many it takes to get on.
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._wanted_bytes = 2

    def pass_on(self) -> None:
        """Cut no more: whatever comes belongs to the other (after a close frame, or an error)."""
        self._is_passing_on = True

    def feed(self, data: bytes, messages: list[bytes]) -> None:
        """Take the next piece of the stream, and add the whole messages that it completes to `messages`."""
        if self._is_passing_on:
            self._on_other(data)
            return
        if self._parts:
            self._part_bytes += len(data)
            self._parts.append(data)
            if self._part_bytes < self._wanted_bytes:
                return  # a large frame is put together once, not again with each piece of it
            data = b"".join(self._parts)
            self._parts.clear()
        at = self._cut(data, messages)
        if self._is_passing_on:
            if at < len(data):
                self._on_other(data[at:])
        elif at < len(data):
            self._parts.append(data[at:])
            self._part_bytes = len(data) - at

    def _cut(self, data: bytes, messages: list[bytes]) -> int:
        """Cut what is complete, and return where the rest begins; how many bytes that needs is `_wanted_bytes`."""
        add = messages.append
        size_max = self._size_max
        count = len(data)
        at = 0
        while True:
            start = at + 2
            if start > count:
                self._wanted_bytes = 2
                return at
            size = data[at + 1]
            if size >= _LENGTH_IN_2:
                if size == _LENGTH_IN_2:
                    start = at + 4
                elif size == _LENGTH_IN_8:
                    start = at + 10
                else:
                    self._is_passing_on = True  # masked, which a server must not do
                    return at
                if start > count:
                    self._wanted_bytes = start - at
                    return at
                size = (
                    data[at + 2] << 8 | data[at + 3] if size == _LENGTH_IN_2 else int.from_bytes(data[at + 2 : start])
                )
            if size > size_max:
                self._is_passing_on = True
                return at
            end = start + size
            if end > count:
                self._wanted_bytes = end - at
                return at
            if data[at] in _WHOLE and self._may_cut:
                add(data[start:end])
                at = end
            else:
                self._may_cut = self._on_other(data[at:end])
                at = end
                if self._is_passing_on:
                    return at
