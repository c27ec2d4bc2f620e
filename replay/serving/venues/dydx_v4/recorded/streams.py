"""
The envelope of a frame: whose it is, and the numbers in it that belong to a connection.

`connection_id` and `message_id` are of the connection that a frame was sent on, so they are those of the client when it is sent
again; every other byte stays. A frame in the venue's order of fields has only its beginning exchanged. Where a client asked
for the other form of updates, batched or one by one, the contents go into that form as they are.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

from replay.serving.face import UNREADABLE, as_json
from replay.serving.venues.dydx_v4.requests import BLOCKS, MARKETS

__all__ = [
    "BATCH",
    "DATA",
    "SUBSCRIBED",
    "Envelope",
    "StreamKey",
    "data_frame",
    "kind_of",
    "read",
    "renumbered",
    "split",
]

SUBSCRIBED: Final = b"subscribed"
DATA: Final = b"channel_data"
BATCH: Final = b"channel_batch_data"

#: Channel and id; channels of the whole venue go by their own name.
StreamKey = tuple[str, str]

_HEAD: Final = re.compile(
    rb'\{"type":"(subscribed|channel_data|channel_batch_data)","connection_id":"[^"\\]*","message_id":\d+(?=,)'
)


class _Wire(msgspec.Struct):
    type: str
    channel: str
    contents: msgspec.Raw
    id: str | None = None
    version: str = "1.0.0"
    subaccountNumber: int | None = None  # noqa: N815  # the venue's own name


class Envelope(NamedTuple):
    """
    A frame with contents.

    Attributes:
        key: The stream.
        kind: `SUBSCRIBED`, `DATA` or `BATCH`.
        contents: Contents as they came.
        subaccount: Child of a parent account that it is about.
        payload: The frame, its fields in the venue's order.
    """

    key: StreamKey
    kind: bytes
    contents: msgspec.Raw
    subaccount: int | None
    payload: bytes


_decode: Final = msgspec.json.Decoder(_Wire).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_KINDS: Final = {kind.decode(): kind for kind in (SUBSCRIBED, DATA, BATCH)}
_NUMBERS: Final = ("type", "connection_id", "message_id")


def read(payload: bytes) -> Envelope | None:
    """A frame with contents; None for any other."""
    try:
        wire = _decode(payload)
        kind = _KINDS.get(wire.type)
        if kind is None:
            return None
        if _HEAD.match(payload) is None:
            payload = _in_order(wire.type, _decode_fields(payload))
    except UNREADABLE:
        return None
    name = wire.channel if wire.channel in (MARKETS, BLOCKS) else wire.id or wire.channel
    return Envelope((wire.channel, name), kind, wire.contents, wire.subaccountNumber, payload)


def _in_order(kind: str, fields: dict[str, msgspec.Raw]) -> bytes:
    """A frame whose first fields are the venue's first fields."""
    rest = b"".join(b",%b:%b" % (as_json(name), bytes(raw)) for name, raw in fields.items() if name not in _NUMBERS)
    return b'{"type":"%b","connection_id":"","message_id":0%b}' % (kind.encode(), rest)


def kind_of(payload: bytes) -> bytes:
    """The type of a frame that `read` put in order."""
    match = _HEAD.match(payload)
    return b"" if match is None else match[1]


def renumbered(payload: bytes, connection_id: bytes, number: int) -> bytes:
    """The frame as that connection's message of that number."""
    match = _HEAD.match(payload)
    if match is None:
        return payload
    head = b'{"type":"%b","connection_id":"%b","message_id":%d' % (match[1], connection_id, number)
    return head + payload[match.end() :]


def split(payload: bytes) -> list[bytes]:
    """A batch as single updates, in order."""
    wire = _decode(payload)
    return [data_frame(DATA, wire, contents) for contents in _decode_list(wire.contents)]


def data_frame(kind: bytes, like: _Wire | bytes, contents: bytes | msgspec.Raw | None = None) -> bytes:
    """A frame of that kind with the fields of another; by default, with its contents as a batch of one."""
    wire = _decode(like) if isinstance(like, bytes) else like
    fields: dict[str, Any] = {} if wire.id is None else {"id": wire.id}
    fields |= {"channel": wire.channel, "version": wire.version}
    fields["contents"] = [wire.contents] if contents is None else msgspec.Raw(contents)
    if wire.subaccountNumber is not None:
        fields["subaccountNumber"] = wire.subaccountNumber
    return b'{"type":"%b","connection_id":"","message_id":0,%b' % (kind, as_json(fields)[1:])
