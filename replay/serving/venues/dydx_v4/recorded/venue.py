"""
dYdX v4's Indexer over a recording: one socket with a counter of its messages, snapshots on subscribing, REST below `/v4`.

A subscribe takes its number at once and is answered when the snapshot is there, as on the venue, where it has to be fetched.
At a tape's beginning, or after a lost connection, that is when the recorder's own snapshot comes along: the client is sent
that very frame. Later it is made of the tape's present.

The recorder reads a book again by subscribing again. A client that follows the book meanwhile is sent that `subscribed`
too: it is a whole book, and without it some of the changes in between would be missing.

Not reproduced: limits of REST, and closes for a restart of the service other than those that the tape has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple, cast

from replay.serving.face import Ask, Drop, Pings, Reply, Window, as_json
from replay.serving.served_venue import NOTHING, Client, Delivery, Key, ServedVenue, TapeFacts
from replay.serving.venues.dydx_v4.names import derived_id
from replay.serving.venues.dydx_v4.recorded.rest import Replies, TapeRest
from replay.serving.venues.dydx_v4.recorded.state import TapeState
from replay.serving.venues.dydx_v4.recorded.streams import (
    BATCH,
    SUBSCRIBED,
    StreamKey,
    data_frame,
    kind_of,
    read,
    renumbered,
    split,
)
from replay.serving.venues.dydx_v4.requests import (
    BOOK,
    CANDLES,
    CHANNELS,
    MARKETS,
    PARENT_SUBACCOUNTS,
    SUBACCOUNTS,
    TRADES,
    Invalid,
    Request,
    limit_of,
    parse_request,
)
from toolkit.clock import NS_PER_S
from toolkit.frames import REST_IN, WS_IN, WS_OUT, Frame

__all__ = ["DydxClient", "ServedDydx"]

_SERVED: Final = (*CHANNELS, CANDLES)
_RATE_LIMITED: Final = Drop(1008, '{"message":"Rate limited"}')
_SUBSCRIBES_PER_SECOND: Final = 2
_INVALID_PER_SECOND: Final = 2
#: Longest text of a client that is looked at.
_TEXT_MAX: Final = 4096
#: Streams whose attempts to subscribe are counted at once.
_COUNTED_MAX: Final = 1024
#: Channels whose snapshot is sent again to clients that follow them, when the recorder subscribed again.
_SAID_AGAIN: Final = frozenset({BOOK, MARKETS, SUBACCOUNTS, PARENT_SUBACCOUNTS})
_OF_VENUE: Final = frozenset({MARKETS, "v4_block_height"})
_ACCOUNT: Final = re.compile(r"dydx1[02-9ac-hj-np-z]{38,58}/(\d{1,6})")
_SUBACCOUNTS_MAX: Final = 128_000


class _Held(NamedTuple):
    """A subscription; `number` is that of its answer while it has none yet."""

    is_batched: bool
    number: int | None


class DydxClient(Client):
    """A connection with its name, its counter of messages, and its subscriptions."""

    def __init__(self, number: int, remote: str, path: str, query: str) -> None:
        super().__init__(number, remote, path, query)
        self.connection_id = derived_id("connection", number)
        self._connection = self.connection_id.encode()
        self.message_id = 0
        self.held: dict[StreamKey, _Held] = {}
        self.invalid = Window(NS_PER_S)
        self.subscribes: dict[StreamKey, Window] = {}

    def next_id(self) -> int:
        """Take the next number."""
        self.message_id += 1
        return self.message_id

    def say(self, type: str, message_id: int, **fields: object) -> None:
        """Send a frame that the tape does not have."""
        self.send(as_json({"type": type, "connection_id": self.connection_id, "message_id": message_id, **fields}))

    def deliver(self, key: Key, payload: bytes) -> None:
        stream = cast("StreamKey", key)
        held = self.held.get(stream)
        if held is None:
            return
        kind = kind_of(payload)
        if kind == SUBSCRIBED:
            if held.number is not None:
                self.held[stream] = _Held(held.is_batched, None)
                self.outbox.append(renumbered(payload, self._connection, held.number))
            elif stream[0] in _SAID_AGAIN:
                self.outbox.append(renumbered(payload, self._connection, self.next_id()))
            return
        if held.number is not None:
            return  # the venue registers a subscription only when it answers it
        if (kind == BATCH) == held.is_batched:
            frames = [payload]
        else:
            frames = [data_frame(BATCH, payload)] if held.is_batched else split(payload)
        for frame in frames:
            self.outbox.append(renumbered(frame, self._connection, self.next_id()))


class ServedDydx(ServedVenue):
    """The venue."""

    ws_base: ClassVar[str] = "/v4/ws"
    rest_base: ClassVar[str] = "/v4"
    pings: ClassVar[Pings | None] = Pings(30.0, 10.0, Drop(1011, "Heartbeat timeout"))

    def __init__(self, facts: TapeFacts) -> None:
        super().__init__(facts)
        self._state = TapeState()
        self._replies = Replies()
        self._rest = TapeRest(self._state, self._replies, facts.clock)
        #: Streams that the tape is known to have.
        self._offered: dict[StreamKey, None] = {}

    # The tape's side ---------------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> Sequence[Delivery]:
        if frame.kind == WS_IN:
            envelope = read(frame.payload)
            if envelope is None:
                return NOTHING
            self._offered[envelope.key] = None
            self._state.take(envelope)
            return ((envelope.key, envelope.payload),)
        if frame.kind == WS_OUT:
            self._note_asked(frame)
        elif frame.kind == REST_IN:
            self._replies.take(frame, is_opening=False)
        return NOTHING

    def _note_asked(self, frame: Frame) -> None:
        """What the recorder subscribes, the tape will have."""
        try:
            request = parse_request(frame.payload.decode(errors="replace"), _SERVED)
        except Invalid:
            return
        if request.type == "subscribe":
            self._offered[_key(request)] = None

    def prime(self, frame: Frame) -> None:
        if frame.kind == WS_IN:
            envelope = read(frame.payload)
            if envelope is not None:
                self._offered[envelope.key] = None
        elif frame.kind == WS_OUT:
            self._note_asked(frame)
        elif frame.kind == REST_IN:
            self._replies.take(frame, is_opening=True)

    def primed(self) -> None:
        if not self._rest.markets:
            self.synthesized.append(
                "perpetualMarkets: no recorded reply, so markets are listed once their stream has named them"
            )

    def lost(self, keys: Sequence[Key]) -> None:
        self._state.lose(cast("Sequence[StreamKey]", keys))

    def forget(self) -> None:
        self._state.clear()
        self._replies.forget()

    def tape_parts(self) -> Sequence[object]:
        return (self._state, self._replies)

    # The clients' side -------------------------------------------------------------------------------------------------

    def is_ws_path(self, path: str) -> bool:
        return path == "/v4/ws"

    def connect(self, number: int, remote: str, path: str, query: str) -> Client:
        return DydxClient(number, remote, path, query)

    def opened(self, client: Client) -> None:
        assert isinstance(client, DydxClient), "`connect` made it"
        client.say("connected", 0)

    def receive(self, client: Client, text: str, now_ns: int) -> None:
        assert isinstance(client, DydxClient), "`connect` made it"
        try:
            if len(text) > _TEXT_MAX:
                raise Invalid("Invalid message: could not parse")
            request = parse_request(text, _SERVED)
        except Invalid as exc:
            client.say("error", client.message_id, message=str(exc))
            if client.invalid.add(now_ns) > _INVALID_PER_SECOND:
                client.end(_RATE_LIMITED)
            return
        if request.type == "subscribe":
            self._subscribe(client, request, now_ns)
        elif request.type == "unsubscribe":
            client.held.pop(_key(request), None)
            client.unlisten(_key(request))
            client.say("unsubscribed", client.next_id(), channel=request.channel, **_id_fields(request))

    def _subscribe(self, client: DydxClient, request: Request, now_ns: int) -> None:
        number, key = client.next_id(), _key(request)
        channel = request.channel
        if self._is_too_often(client, key, now_ns):
            what = f"{channel}-{request.id}" if request.id else channel
            _refuse(client, request, f"Too many subscribe attempts for channel {what}. Please reconnect and try again.")
            client.end(_RATE_LIMITED)
        elif not self._is_valid(request):
            _refuse(client, request, f"Invalid subscription id for channel: ({channel}-{request.id})")
        elif key in client.held:
            _refuse(client, request, f"Invalid subscribe message: already subscribed ({channel}-{key[1]})")
        elif sum(held[0] == channel for held in client.held) >= limit_of(channel):
            _refuse(
                client, request, f"Per-connection subscription limit reached for {channel} (limit={limit_of(channel)})."
            )
        else:
            self._answer_subscribe(client, request, key, number)

    def _answer_subscribe(self, client: DydxClient, request: Request, key: StreamKey, number: int) -> None:
        # Channels of the whole venue answer an id of another's making, and then never send it anything.
        source = (key[0], key[0]) if key[0] in _OF_VENUE else key
        contents = self._state.snapshot(source)
        if contents is None and (source != key or key not in self._offered):
            # As when the venue's fetch fails: later on the tape it may be there.
            text = f"Internal error, could not fetch data for subscription: {request.channel}."
            _refuse(client, request, text)
            return
        client.held[key] = _Held(request.batched, number if contents is None else None)
        client.listen(key)
        if contents is not None:
            shown = {} if key[0] == MARKETS else {"id": key[1]}
            client.say("subscribed", number, channel=request.channel, **shown, contents=contents)

    @staticmethod
    def _is_too_often(client: DydxClient, key: StreamKey, now_ns: int) -> bool:
        if len(client.subscribes) >= _COUNTED_MAX:
            client.subscribes.clear()
        return client.subscribes.setdefault(key, Window(NS_PER_S)).add(now_ns) > _SUBSCRIBES_PER_SECOND

    def _is_valid(self, request: Request) -> bool:
        name = request.id or ""
        if (request.channel, name) in self._offered:
            return True
        if request.channel in (BOOK, TRADES):
            return name in self._rest.markets
        if request.channel == CANDLES:
            return name.rpartition("/")[0] in self._rest.markets
        if request.channel in (SUBACCOUNTS, PARENT_SUBACCOUNTS):
            match = _ACCOUNT.fullmatch(name)
            most = _SUBACCOUNTS_MAX if request.channel == SUBACCOUNTS else 128
            return match is not None and int(match[1]) < most
        return True

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        return self._rest.answer(ask)


def _refuse(client: DydxClient, request: Request, text: str) -> None:
    # The counter is read, not advanced.
    client.say("error", client.message_id, message=text, channel=request.channel, **_id_fields(request))


def _key(request: Request) -> StreamKey:
    return request.channel, request.id or request.channel


def _id_fields(request: Request) -> dict[str, str]:
    return {} if request.id is None else {"id": request.id}
