"""
The names of streams: whose frame it is, what may stand in for what, and the two forms of a payload.

A recorder uses the combined form, `{"stream": ..., "data": ...}`, where the name is read off the first bytes. Captures of
`/ws` have the bare data, which says its kind and symbol but not its speed: such a frame is given the plain name, as
`btcusdt@depth`.

A speed is not part of what a stream says. Where the tape has another speed of what is asked for, that is sent, at its own
pace: diffs chain by their ids, whatever their speed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from replay.serving.face import UNREADABLE

__all__ = ["SHUTDOWN", "StreamName", "bare_name", "data_of", "family_of", "named", "stream_of", "wrapped"]

#: The stream that every client gets without asking.
SHUTDOWN: Final = "!serverShutdown"
_COMBINED: Final = b'{"stream":"'
_START: Final = len(_COMBINED)
_DATA: Final = b'","data":'
#: What may follow the name of the kind and is a speed.
_SPEED: Final = re.compile(r"(.+@(?:depth(?:5|10|20)?|markPrice|rpiDepth)|!markPrice@arr)(?:@\d+m?s)")
_EVENT: Final = re.compile(rb'"e":"(\w+)"')
_SYMBOL: Final = re.compile(rb'"s":"([^"\\]+)"')
_INTERVAL: Final = re.compile(rb'"i":"(\w+)"')
#: Kinds of stream by the event type of their data.
_KINDS: Final = {
    b"depthUpdate": "depth",
    b"bookTicker": "bookTicker",
    b"trade": "trade",
    b"aggTrade": "aggTrade",
    b"markPriceUpdate": "markPrice",
    b"forceOrder": "forceOrder",
    b"24hrTicker": "ticker",
    b"24hrMiniTicker": "miniTicker",
}
#: Of the whole market, where the data is an array.
_ARRAYS: Final = {
    b"markPriceUpdate": "!markPrice@arr",
    b"24hrTicker": "!ticker@arr",
    b"24hrMiniTicker": "!miniTicker@arr",
}


class StreamName(NamedTuple):
    """
    A stream's name, taken apart.

    Attributes:
        symbol: Upper case; empty for one of the whole market.
        kind: `depth`, `depth20`, `bookTicker`, `markPrice`, ...
    """

    symbol: str
    kind: str


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


_decode = msgspec.json.Decoder(_Combined).decode


def named(name: str) -> StreamName:
    """Take a name apart."""
    if name.startswith("!"):
        return StreamName("", name[1:].partition("@")[0])
    head, _, words = name.partition("@")
    return StreamName(head.upper(), words.partition("@")[0])


def family_of(name: str) -> str:
    """The name without its speed."""
    match = _SPEED.fullmatch(name)
    return name if match is None else match[1]


def stream_of(payload: bytes) -> bytes | None:
    """The name in a frame of the combined form; None for another frame."""
    if payload.startswith(_COMBINED):
        return payload[_START : payload.find(b'"', _START)]
    if payload.startswith(b"{") and b'"stream"' in payload[:64]:
        try:
            return _decode(payload).stream.encode()
        except UNREADABLE:
            return None
    return None


def bare_name(payload: bytes) -> str | None:
    """The name that the data of a frame without one gives it; None for what is no stream's."""
    head = payload[:160]
    event = _EVENT.search(head)
    if event is None:
        symbol = _SYMBOL.search(head)
        # A best quote of spot has no event type.
        return (
            f"{symbol[1].decode().lower()}@bookTicker" if symbol and b'"B":' in payload and b'"A":' in payload else None
        )
    if event[1] == b"serverShutdown":
        return SHUTDOWN
    if payload.startswith(b"["):
        return _ARRAYS.get(event[1])
    symbol = _SYMBOL.search(payload)
    if symbol is None:
        return None
    name = symbol[1].decode(errors="replace").lower()
    if event[1] == b"kline":
        interval = _INTERVAL.search(payload)
        return f"{name}@kline_{interval[1].decode()}" if interval else None
    kind = _KINDS.get(event[1])
    return f"{name}@{kind}" if kind is not None else None


def data_of(payload: bytes) -> bytes:
    """What a frame says, without the name of its stream, byte for byte."""
    if payload.startswith(_COMBINED):
        end = payload.find(b'"', _START)
        if payload.startswith(_DATA, end) and payload.endswith(b"}"):
            return payload[end + len(_DATA) : -1]
    elif not (payload.startswith(b"{") and b'"stream"' in payload[:64]):
        return payload
    try:
        return bytes(_decode(payload).data)
    except UNREADABLE:
        return payload


def wrapped(name: str, data: bytes) -> bytes:
    """Data under the name of its stream."""
    return b'{"stream":"%b","data":%b}' % (name.encode(), data)
