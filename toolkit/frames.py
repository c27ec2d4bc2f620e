"""
A frame is what crossed the wire, with the time it was received: the only input of a venue's protocol.

Frames are numbered by one counter per recording, `capture_seq`, across all connections. What we sent and what
happened to a connection are frames too, so a recording holds every input that decided what the protocol did.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = [
    "ALL_VENUES",
    "CONTROL",
    "DAMAGED",
    "FRAME_KINDS",
    "REST_IN",
    "REST_OUT",
    "WS_IN",
    "WS_OUT",
    "ConnectionState",
    "Frame",
    "control_payload",
]

#: A message received on a WebSocket; the payload is exactly what arrived.
WS_IN: Final = "ws_in"
#: A message we sent on a WebSocket.
WS_OUT: Final = "ws_out"
#: The body of a REST response; `context` holds what was asked and the status.
REST_IN: Final = "rest_in"
#: The body of a REST request.
REST_OUT: Final = "rest_out"
#: Something that happened to a connection or a stream: a JSON object with an `event` key (see FORMAT.md).
CONTROL: Final = "control"

#: A line of an imported file that could not be read as a frame; the payload is the line. Of all venues, without a
#: payload, it holds the place of a frame that is lost.
DAMAGED: Final = "damaged"
#: In place of a venue: the frame is for every one that the recording has.
ALL_VENUES: Final = ""

FRAME_KINDS: Final = (WS_IN, WS_OUT, REST_IN, REST_OUT, CONTROL, DAMAGED)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """
    One thing that crossed the wire.

    Attributes:
        capture_seq: Number of the frame in its recording, from 0, without holes, across all connections.
        ts_recv: Our wall clock when it was received or sent, ns since the Unix epoch (UTC).
        ts_mono: Monotonic clock at the same moment, ns. For an import, the same as `ts_recv`.
        venue: Venue whose protocol reads it; empty for all of them.
        conn_id: Number of the connection, from 0 within the recording; -1 for REST.
        conn_epoch: How often that connection has been made, from 0.
        kind: One of `FRAME_KINDS`.
        payload: The bytes, exactly as received or sent.
        context: JSON object of a REST frame: `id`, `method`, `path`, `tag` and, in a response, `status`. Else None.
    """

    capture_seq: int
    ts_recv: int
    ts_mono: int
    venue: str
    conn_id: int
    conn_epoch: int
    kind: str
    payload: bytes
    context: str | None = None


class ConnectionState(msgspec.Struct):
    """A connection as the recorder knows it: its number and how often it was made."""

    conn_id: int
    role: str
    conn_epoch: int = -1


_encoder = msgspec.json.Encoder(order="sorted")


def control_payload(event: str, **details: Any) -> bytes:
    """The payload of a control frame: a JSON object with sorted keys, so that equal events are equal bytes."""
    return _encoder.encode({"event": event, **details})
