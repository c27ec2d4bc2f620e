"""
Which streams a protocol has, when each last spoke, and whether it can be believed.

A stream is one subscription of one instrument on one connection: `("BTC", "bbo")`. The table is a pure function of
the frames it was told about, so a replay marks the same gaps at the same places as the live session did.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from toolkit.frames import Frame

__all__ = ["BOOK_STREAMS", "Stream", "StreamTable"]

#: How the names of streams begin that carry books of more than the best level.
BOOK_STREAMS: Final = ("full", "fast", "depth", "agg:")


class Stream(msgspec.Struct):
    """
    One subscription of one instrument.

    Attributes:
        symbol: Venue's spelling of the instrument; empty for a stream of the whole venue.
        trading_pair: Ours.
        stream: `full`, `fast`, `bbo`, `trades`, `funding`, ...
        conn_id: Connection that carries it.
        limit_ns: Longest silence that is normal, ns; 0 where silence says nothing.
        last_recv: Wall clock of its last frame, ns; 0 before the first.
        last_mono: Monotonic clock of it, or of when it was subscribed.
        is_live: Whether what it said last still holds.
        cause: Why it is not live.
        frame_count: Frames since it was last (re)made.
        first_limit_ns: Longest wait for its first frame that is normal, ns; 0 where that says nothing.
        was_missed: Whether it was reported that the first frame did not come.
        since_recv: Wall clock of when a stream that never spoke was first asked for, ns; 0 if nobody asked.
        since_mono: Monotonic clock of it.
    """

    symbol: str
    trading_pair: str
    stream: str
    conn_id: int = 0
    limit_ns: int = 0
    last_recv: int = 0
    last_mono: int = 0
    is_live: bool = False
    cause: str = ""
    frame_count: int = 0
    first_limit_ns: int = 0
    was_missed: bool = False
    since_recv: int = 0
    since_mono: int = 0

    def is_silent(self, mono_ns: int) -> bool:
        """Whether it has been silent for longer than is normal: since its last frame, or since it was (re)made."""
        silence_ns = mono_ns - self.last_mono
        if self.is_live:
            return 0 < self.limit_ns < silence_ns
        return not self.frame_count and not self.was_missed and 0 < self.first_limit_ns < silence_ns


class StreamTable:
    """All streams of one protocol, by `(symbol, stream)`, in the order they were first seen."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, str], Stream] = {}

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def __len__(self) -> int:
        return len(self._streams)

    def get(self, symbol: str, stream: str) -> Stream | None:
        """The stream, or None if it was never seen."""
        return self._streams.get((symbol, stream))

    def add(self, stream: Stream) -> Stream:
        """Add a stream, or return the one already there."""
        return self._streams.setdefault((stream.symbol, stream.stream), stream)

    def of_connection(self, conn_id: int) -> list[Stream]:
        """The streams one connection carries."""
        return [stream for stream in self._streams.values() if stream.conn_id == conn_id]

    def silent(self, mono_ns: int) -> list[Stream]:
        """Streams that have been silent for longer than is normal for them, at that monotonic time."""
        return [stream for stream in self._streams.values() if stream.is_silent(mono_ns)]

    def bookless(self, mono_ns: int, limit_ns: int) -> list[Stream]:
        """Books that were asked for more than `limit_ns` before that monotonic time, and never came."""
        return [
            stream
            for stream in self._streams.values()
            if not stream.last_recv
            and not stream.was_missed
            and stream.since_recv
            and mono_ns - stream.since_mono > limit_ns
            and stream.stream.startswith(BOOK_STREAMS)
        ]

    def resubscribed(self, stream: Stream, frame: Frame) -> None:
        """The stream was (re)made: its silence and its frames count from here."""
        stream.last_mono = frame.ts_mono
        stream.conn_id = frame.conn_id
        stream.frame_count = 0
        if not stream.since_recv:
            stream.since_recv = frame.ts_recv
            stream.since_mono = frame.ts_mono
        stream.was_missed = False

    def export(self) -> list[Any]:
        """The table as plain values, for a checkpoint."""
        return [msgspec.to_builtins(stream) for stream in self._streams.values()]

    def restore(self, rows: list[Any]) -> None:
        """Become the table that `export` described."""
        streams = msgspec.convert(rows, list[Stream])
        self._streams = {(stream.symbol, stream.stream): stream for stream in streams}
