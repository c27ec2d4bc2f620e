"""What a live source is doing, as values to print or to serve."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["ConnectionStatus", "LinkState", "SourceState", "SourceStatus"]


class SourceState(enum.StrEnum):
    """What a venue's source is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"


class LinkState(enum.StrEnum):
    """What a connection is doing."""

    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatus:
    """
    One connection.

    Attributes:
        role: Purpose of the connection.
        conn_id: Its number in the recording.
        conn_epoch: How often it has been made, from 0; -1 before the first time.
        state: State of the connection.
        frame_count: Messages received, over all epochs.
        byte_count: Bytes of them.
        reconnect_count: How often it was made again.
        silence_s: Seconds since the last message; None before the first.
        unsent_count: Messages that wait for the venue's rate limits.
        last_error: How it ended last, or why it cannot be made; empty if nothing was wrong yet.
    """

    role: str
    conn_id: int
    conn_epoch: int
    state: LinkState
    frame_count: int
    byte_count: int
    reconnect_count: int
    silence_s: float | None
    unsent_count: int
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """
    One live source.

    Attributes:
        venue: Its venue.
        connections: Its connections, in the protocol's order.
        frame_count: Messages received over all of them.
        byte_count: Bytes of them.
        reconnect_count: Sum over the connections.
        message_count: Normalized messages that were emitted.
        parse_error_count: Frames that were not understood.
        stale_stream_count: Streams that once spoke and now cannot be believed.
        stream_count: Streams there are.
        pending_request_count: REST requests that wait to be made.
        state: Whether it runs, is being started, or waits to be tried again.
        last_error: Why it does not run, or what is wrong with REST; empty if nothing is.
    """

    venue: str
    connections: tuple[ConnectionStatus, ...]
    frame_count: int
    byte_count: int
    reconnect_count: int
    message_count: int
    parse_error_count: int
    stale_stream_count: int
    stream_count: int
    pending_request_count: int
    state: SourceState = SourceState.RUNNING
    last_error: str = ""

    @classmethod
    def idle(cls, venue: str) -> SourceStatus:
        """Of a source that was not made yet."""
        return cls(
            venue=venue,
            connections=(),
            frame_count=0,
            byte_count=0,
            reconnect_count=0,
            message_count=0,
            parse_error_count=0,
            stale_stream_count=0,
            stream_count=0,
            pending_request_count=0,
            state=SourceState.STARTING,
        )
