"""
Which streams a protocol has, when each last spoke, and whether it can be believed.

A stream is one subscription of one instrument on one connection: `("BTC", "bbo")`. The table is a pure function of
the frames that it was given, so a replay marks the same gaps at the same places as the live session did.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec

from toolkit.frames import Frame
from toolkit.messages import EventKind, Message, StreamEvent

__all__ = ["BOOK_STREAMS", "Stream", "StreamEvents", "StreamTable", "stale_since"]

#: Name of the stream in an event that concerns no single one.
WHOLE_CONNECTION: Final = ""

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
        since_recv: Wall clock of when a stream that never spoke was first asked for, ns; 0 if it was never asked for.
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


class StreamEvents(ABC):
    """
    The base of every protocol that turns what befalls its streams into messages: when they go stale, and how long a gap was.

    Attributes:
        streams: Streams of the protocol, and the state of each.
    """

    #: Name of the venue in frames, messages and on the command line.
    venue: ClassVar[str]

    def __init__(self) -> None:
        self.streams = StreamTable()

    @abstractmethod
    def trading_pair(self, symbol: str) -> str:
        """Our spelling of a symbol; the symbol itself where no pair is known."""

    def event(
        self,
        frame: Frame,
        kind: EventKind,
        *,
        stream: Stream | None = None,
        sub_seq: int = 0,
        cause: str = "",
        ts_start: int | None = None,
        ts_end: int | None = None,
        detail: str = "",
    ) -> StreamEvent:
        """An event that this frame caused, about one stream or (None) about its whole connection."""
        return StreamEvent(
            self.venue,
            stream.symbol if stream else "",
            stream.trading_pair if stream else "",
            None,
            frame.ts_recv,
            frame.capture_seq,
            sub_seq,
            kind,
            stream.stream if stream else WHOLE_CONNECTION,
            cause,
            ts_start,
            ts_end,
            frame.conn_id,
            frame.conn_epoch,
            detail,
        )

    def received(self, frame: Frame, symbol: str, stream_name: str, messages: list[Message]) -> Stream:
        """
        Note that a stream spoke; if it had been silent, put the gap this ends into `messages` first.

        Call it before anything else of the frame is added to `messages`.
        """
        stream = self.streams.get(symbol, stream_name)
        if stream is None:
            stream = self.streams.add(Stream(symbol, self.trading_pair(symbol), stream_name, frame.conn_id))
        stream.frame_count += 1
        if not stream.is_live:
            if start := stale_since(stream):
                messages.append(
                    self.event(
                        frame,
                        EventKind.GAP,
                        stream=stream,
                        sub_seq=len(messages),
                        cause=stream.cause,
                        ts_start=start,
                        ts_end=frame.ts_recv,
                    )
                )
            stream.is_live = True
            stream.cause = ""
        stream.last_recv = frame.ts_recv
        stream.last_mono = frame.ts_mono
        return stream

    def mark_stale(self, frame: Frame, stream: Stream, cause: str, messages: list[Message], detail: str = "") -> None:
        """What the stream said last no longer holds; nothing happens if that was known."""
        if not stream.is_live:
            return
        stream.is_live = False
        stream.cause = cause
        messages.append(
            self.event(
                frame,
                EventKind.STALE,
                stream=stream,
                sub_seq=len(messages),
                cause=cause,
                ts_start=stream.last_recv,
                detail=detail,
            )
        )

    def mark_missing(self, frame: Frame, stream: Stream, cause: str, messages: list[Message], detail: str = "") -> None:
        """A stream was asked for and has never said anything; nothing happens if it has, or if that was known."""
        if stream.last_recv:
            return
        stream.was_missed = True
        if stream.cause:
            return  # on a connection before: that is one hole, not one for each
        stream.cause = cause
        stream.since_recv = stream.since_recv or frame.ts_recv
        messages.append(
            self.event(
                frame,
                EventKind.STALE,
                stream=stream,
                sub_seq=len(messages),
                cause=cause,
                ts_start=stream.since_recv,
                detail=detail,
            )
        )


def stale_since(stream: Stream) -> int:
    """Since when a stream that is not live has not been believed: its last frame, or when it was asked for; 0: never."""
    if stream.last_recv:
        return stream.last_recv
    return stream.since_recv if stream.cause else 0
