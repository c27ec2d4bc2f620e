"""
What each connection was asked for, and which requests were answered.

One request names many streams, because a client may send 5 messages a second (10 on futures), pings included. The
answer `{"result": null, "id": ...}` says that the request was well-formed and nothing more: an unknown stream, or one
on the wrong route, is acknowledged like any other and stays silent. That is for the watch on first data to find.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.frames import Frame
from toolkit.protocol import SendText

__all__ = ["Subscriptions"]

#: Streams named in one request; a frame of that many names has about 3 kB.
BATCH: Final = 100
#: Answers come within a second.
ANSWER_S_MAX: Final = 10.0

_encode = msgspec.json.encode


class _Asked(msgspec.Struct):
    """A request: its text, and the monotonic time at which it left (ns; 0 before)."""

    text: str
    sent_mono: int = 0


class _State(msgspec.Struct):
    next_id: int = 1
    #: By connection, by id.
    asked: dict[int, dict[int, _Asked]] = {}


class _Sent(msgspec.Struct):
    method: str = ""
    id: int = 0
    params: list[str] = []


_decode_sent = msgspec.json.Decoder(_Sent).decode


class Subscriptions:
    """The unanswered requests of every connection of one protocol."""

    def __init__(self) -> None:
        self._state = _State()

    def connected(self, conn_id: int) -> None:
        """A connection was made: nothing is asked of it yet."""
        self._state.asked[conn_id] = {}

    def is_connected(self, conn_id: int) -> bool:
        """Whether there is such a connection."""
        return conn_id in self._state.asked

    def ask(self, conn_id: int, streams: Sequence[str]) -> list[SendText]:
        """What to send on a connection for these streams."""
        asked = self._state.asked[conn_id]
        requests = []
        for start in range(0, len(streams), BATCH):
            number = self._state.next_id
            self._state.next_id += 1
            text = _encode({"method": "SUBSCRIBE", "params": streams[start : start + BATCH], "id": number})
            asked[number] = _Asked(text.decode())
            requests.append(SendText(conn_id, text))
        return requests

    def sent(self, frame: Frame) -> None:
        """A frame of ours left; if it was a request, its answer is awaited from here."""
        try:
            request = _decode_sent(frame.payload)
        except msgspec.DecodeError:
            return
        asked = self._state.asked.get(frame.conn_id, {}).get(request.id)
        if asked is not None:
            asked.sent_mono = frame.ts_mono

    def answered(self, conn_id: int, number: Any) -> list[str]:
        """The venue answered a request, for good or ill: the streams it named, if it was one of ours."""
        asked = self._state.asked.get(conn_id, {})
        request = asked.pop(number, None) if isinstance(number, int) else None
        return _decode_sent(request.text.encode()).params if request is not None else []

    def disconnected(self, conn_id: int) -> None:
        """Nothing will be answered on that connection any more."""
        self._state.asked.pop(conn_id, None)

    def unanswered(self, mono_ns: int) -> list[SendText]:
        """Requests whose answer is overdue, to be sent again."""
        limit = round(ANSWER_S_MAX * NS_PER_S)
        return [
            SendText(conn_id, request.text.encode())
            for conn_id, asked in self._state.asked.items()
            for request in asked.values()
            if request.sent_mono and mono_ns - request.sent_mono > limit
        ]

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return msgspec.to_builtins(self._state, str_keys=True)

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._state = msgspec.convert(state, _State, str_keys=True, strict=False)
