"""
Binance over a recording: `/ws` and `/stream`, the routes of 2026, REST, and the book that the next diff follows.

As on the venue, nothing is sent upon subscribing, and a stream that does not exist, that the tape does not have or that
another route carries is acknowledged and silent. The data of a recorded frame is sent byte for byte; its wrapper with the
name of the stream is put on or taken off for a client of the other form.

Not reproduced: limits per address, the cut after 24 hours (a tape has the cuts that its recorder saw), the WebSocket API,
and user data, which no tape has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, unquote

import msgspec

from replay.serving.face import UNREADABLE, Ask, Drop, Pings, Reply, Window, as_json
from replay.serving.recorded_answers import RecordedAnswers
from replay.serving.served_venue import NOTHING, Client, Delivery, Key, ServedVenue, TapeFacts
from replay.serving.venues.binance.recorded.books import Snapshot, decode_snapshot
from replay.serving.venues.binance.recorded.listing import Listing
from replay.serving.venues.binance.recorded.rest import Opening, TapeRest
from replay.serving.venues.binance.recorded.state import TapeState
from replay.serving.venues.binance.recorded.streams import (
    SHUTDOWN,
    bare_name,
    data_of,
    family_of,
    named,
    stream_of,
    wrapped,
)
from replay.serving.venues.binance.requests import Refused, Request, parse_request
from toolkit.clock import NS_PER_S
from toolkit.frames import REST_IN, REST_OUT, WS_IN, WS_OUT, Frame
from toolkit.venues.binance.products import COINM, SPOT, USDM, Product

__all__ = ["BinanceClient", "ServedBinance", "ServedBinanceCoinM", "ServedBinanceSpot", "ServedBinanceUsdM"]

_STREAMS_MAX: Final = 1024
#: Longer than the name of any stream.
_NAME_MAX: Final = 128
_TOO_FAST: Final = Drop(1008, "Too many requests")
_MICROSECONDS: Final = Drop(1008, "timeUnit=MICROSECOND: the recording has milliseconds")
_PUBLIC: Final = "/public"
_MARKET: Final = "/market"
#: Kinds of stream on the public route; sources disagree about `trade`, so it is on both.
_PUBLIC_KINDS: Final = frozenset({"depth", "depth5", "depth10", "depth20", "bookTicker", "rpiDepth", "trade"})
_ON_BOTH: Final = "trade"
#: Streams of one symbol of which those of the whole market are made.
_OF_ALL: Final = {"!bookTicker": "bookTicker", "!forceOrder@arr": "forceOrder"}

_decode = msgspec.json.decode


class BinanceClient(Client):
    """
    A connection.

    Attributes:
        route: Route of USD-M: what the path begins with.
        is_combined: Whether payloads are wrapped with the name of their stream.
        names: Streams that it asked for, existing or not, in its order, to the recorded streams that it is sent for
            each.
    """

    def __init__(self, number: int, remote: str, path: str, query: str, route: str) -> None:
        super().__init__(number, remote, path, query)
        self.route = route
        self.is_combined = path.rstrip("/").endswith("/stream")
        self.names: dict[str, tuple[str, ...]] = {}
        self.said = Window(NS_PER_S)
        #: By recorded stream: under which names it is sent.
        self._shown: dict[Key, list[str]] = {SHUTDOWN: [SHUTDOWN]}

    def set_sources(self, name: str, sources: tuple[str, ...]) -> None:
        """From now on, what the tape has of these streams is sent under that name."""
        for old in self.names.get(name, ()):
            shown = self._shown[old]
            shown.remove(name)
            if not shown:
                del self._shown[old]
                self.unlisten(old)
        self.names[name] = sources
        for source in sources:
            self._shown.setdefault(source, []).append(name)
            self.listen(source)

    def deliver(self, key: Key, payload: bytes) -> None:
        for name in self._shown.get(key, ()):
            if not self.is_combined:
                self.outbox.append(data_of(payload))
            elif name == key and payload.startswith(b'{"stream":'):
                self.outbox.append(payload)
            else:
                self.outbox.append(wrapped(name, data_of(payload)))


class ServedBinance(ServedVenue):
    """What the three markets share."""

    product: ClassVar[Product]
    messages_per_second: ClassVar[int] = 10

    def __init__(self, facts: TapeFacts) -> None:
        super().__init__(facts)
        is_spot = self.product.is_spot
        self._state = TapeState(is_spot=is_spot)
        self._listing = Listing(self.product, facts.symbols)
        self._answers = RecordedAnswers()
        self._opening: Opening = {}
        self._rest = TapeRest(self.product, self._state, self._listing, self._answers, self._opening, facts.clock)
        #: By the name in a frame: the stream, and what keeps its state.
        self._takers: dict[bytes, tuple[str, Callable[[bytes], None] | None]] = {}
        #: Streams that the tape is known to have, by the name without its speed.
        self._known: dict[str, dict[str, None]] = {}
        #: Clients by what they ask for, likewise.
        self._askers: dict[str, dict[BinanceClient, None]] = {}
        #: Symbols with diffs on a connection, by which a snapshot without a name is recognized; and those that wait for it.
        self._on_conn: dict[int, dict[str, None]] = {}
        self._unnamed: dict[int, Snapshot] = {}
        self._has_microseconds = False

    # The tape's side ---------------------------------------------------------------------------------------------------

    def take(self, frame: Frame) -> Sequence[Delivery]:
        if frame.kind == WS_IN:
            payload = frame.payload
            name = stream_of(payload)
            if name is not None:
                found = self._takers.get(name)
                if found is None:
                    found = self._open(name.decode(errors="replace"))
                key, keep = found
            else:
                bare = self._bare(frame)
                if bare is None:
                    return NOTHING
                key, keep = self._takers.get(bare.encode()) or self._open(bare)
            if keep is not None:
                keep(payload)
                if "@depth" in key:
                    self._note_diffs(key, frame.conn_id)
            return ((key, payload),)
        if frame.kind == WS_OUT:
            self._note_asked(frame)
        elif frame.kind in (REST_IN, REST_OUT):
            self._take_rest(frame)
        return NOTHING

    def _open(self, name: str) -> tuple[str, Callable[[bytes], None] | None]:
        """A stream speaks for the first time."""
        self._know(name)
        found = self._takers[name.encode()] = (name, self._state.taker(name))
        return found

    def _know(self, name: str) -> None:
        """The tape has that stream: clients that asked for it, or for what it stands in for, are sent it."""
        family = family_of(name)
        known = self._known.setdefault(family, {})
        if name in known:
            return
        known[name] = None
        whole = [each for each, kind in _OF_ALL.items() if named(name).kind == kind]
        for each in [family, *whole]:
            for client in self._askers.get(each, ()):
                for asked in client.names:
                    if family_of(asked) == each:
                        client.set_sources(asked, self._sources(client, asked))

    def _bare(self, frame: Frame) -> str | None:
        """The stream of a frame that does not name it; a snapshot among them is taken in."""
        payload = frame.payload
        if b'"lastUpdateId"' in payload[:200]:
            base = decode_snapshot(payload)
            if base is not None:
                symbols = self._on_conn.get(frame.conn_id, {})
                if len(symbols) == 1:
                    self._state.snapshot(next(iter(symbols)), base)
                elif not symbols:
                    self._unnamed[frame.conn_id] = base
            return None
        return bare_name(payload)

    def _note_diffs(self, name: str, conn_id: int) -> None:
        symbol, kind = named(name)
        symbols = self._on_conn.setdefault(conn_id, {})
        if symbol in symbols or kind != "depth":
            return
        symbols[symbol] = None
        base = self._unnamed.pop(conn_id, None)
        if base is not None and len(symbols) == 1:
            self._state.snapshot(symbol, base)

    def _note_asked(self, frame: Frame) -> None:
        """What the recorder subscribes, the tape will have."""
        try:
            request = parse_request(frame.payload.decode(errors="replace"))
        except Refused:
            return
        if request.method == "SUBSCRIBE":
            for name in request.params:
                self._know(name)

    def _take_rest(self, frame: Frame) -> None:
        what, symbol = _tag(frame)
        if what != "depth":
            self._answers.take(frame)
        elif frame.kind == REST_OUT:
            self._state.of(symbol).book.asked()
        elif b'"lastUpdateId"' in frame.payload[:200]:
            base = decode_snapshot(frame.payload)
            if base is not None:
                self._state.snapshot(symbol, base)

    def prime(self, frame: Frame) -> None:
        if frame.kind == WS_OUT:
            self._note_asked(frame)
        elif frame.kind == WS_IN:
            self._prime_stream(frame)
        elif frame.kind in (REST_IN, REST_OUT):
            what, symbol = _tag(frame)
            if what != "depth":
                self._answers.prime(frame)
            elif frame.kind == REST_IN and symbol not in self._opening:
                base = decode_snapshot(frame.payload)
                if base is not None:
                    self._opening[symbol] = (frame.ts_recv, base)

    def _prime_stream(self, frame: Frame) -> None:
        payload = frame.payload
        stream = stream_of(payload)
        name = bare_name(payload) if stream is None else stream.decode(errors="replace")
        if name is not None:
            self._know(name)
            symbol, kind = named(name)
            if kind.startswith("depth"):
                self._listing.note_payload(symbol, payload)
                self._on_conn.setdefault(frame.conn_id, {}).setdefault(symbol)
            if b'"E":' in payload and not self._has_microseconds:
                digits = payload.partition(b'"E":')[2][:16]
                self._has_microseconds = len(digits) == 16 and digits.isdigit()
        elif b'"lastUpdateId"' in payload[:200] and len(self.facts.symbols) == 1:
            base = decode_snapshot(payload)
            if base is not None:
                self._opening.setdefault(next(iter(self.facts.symbols)), (frame.ts_recv, base))

    def primed(self) -> None:
        self._on_conn.clear()
        if not self._rest.has_listing:
            self.synthesized.append(
                "exchangeInfo: no recorded reply, so it lists the symbols of the tape alone, with steps as fine as their books"
            )
        kinds = {named(family).kind for family in self._known}
        if "trade" in kinds and "aggTrade" not in kinds:
            self.synthesized.append("aggTrades: made of the single trades, each numbered by its own id")
        if not self.product.is_spot and self._answers.find("GET", self._path("fundingInfo"), primed=True) is None:
            self.synthesized.append(
                "fundingInfo: no recorded reply, so it is empty, which means a settlement every 8 hours"
            )

    def _path(self, what: str) -> str:
        return f"{self.product.rest_prefix}/{what}"

    def lost(self, keys: Sequence[Key]) -> None:
        self._state.lose([str(key) for key in keys])

    def forget(self) -> None:
        self._state.clear()
        self._answers.forget()
        self._takers.clear()
        self._on_conn.clear()
        self._unnamed.clear()

    def tape_parts(self) -> Sequence[object]:
        return (self._state, self._answers, self._on_conn, self._unnamed)

    # The clients' side -------------------------------------------------------------------------------------------------

    def is_ws_path(self, path: str) -> bool:
        _, path = self._route(path)
        return path in ("/ws", "/stream") or path.startswith("/ws/")

    def _route(self, path: str) -> tuple[str, str]:
        """The route and the path on it; what names none is public."""
        if len(self.product.paths) > 1:
            for route in (_PUBLIC, _MARKET):
                if path.startswith(f"{route}/"):
                    return route, path.removeprefix(route)
        return _PUBLIC, path

    def connect(self, number: int, remote: str, path: str, query: str) -> Client:
        return BinanceClient(number, remote, path, query, self._route(path)[0])

    def opened(self, client: Client) -> None:
        assert isinstance(client, BinanceClient), "`connect` made it"
        query = parse_qs(client.query)
        if "MICROSECOND" in [unit.upper() for unit in query.get("timeUnit", [])] and not self._has_microseconds:
            client.end(_MICROSECONDS)
            return
        _, path = self._route(client.path)
        names = [name for each in query.get("streams", []) for name in each.split("/") if name]
        if path.startswith("/ws/"):
            names += [name for name in unquote(path.removeprefix("/ws/")).split("/") if name]
        self._subscribe(client, [name for name in names if len(name) <= _NAME_MAX][:_STREAMS_MAX])
        if client.keys:
            client.listen(SHUTDOWN)

    def closed(self, client: Client) -> None:
        assert isinstance(client, BinanceClient), "`connect` made it"
        families = {family_of(name) for name in client.names}
        client.names.clear()
        self._forget_asker(client, families)

    def receive(self, client: Client, text: str, now_ns: int) -> None:
        assert isinstance(client, BinanceClient), "`connect` made it"
        if client.said.add(now_ns) > self.messages_per_second:
            client.end(_TOO_FAST)
            return
        try:
            request = parse_request(text)
            result = self._do(client, request)
        except Refused as refusal:
            error = {"code": refusal.code, "msg": refusal.text}
            client.send(as_json(error if refusal.id is None else error | {"id": refusal.id}))
            return
        client.send(as_json({"result": result, "id": request.id}))

    def _do(self, client: BinanceClient, request: Request) -> Any:
        params = request.params
        match request.method:
            case "SUBSCRIBE":
                if len(client.names.keys() | set(params)) > _STREAMS_MAX:
                    raise Refused(2, "Invalid request: too many streams", request.id)
                if any(len(name) > _NAME_MAX for name in params):
                    raise Refused(2, "Invalid request: the name of a stream is too long", request.id)
                self._subscribe(client, params)
                client.listen(SHUTDOWN)
                return None
            case "UNSUBSCRIBE":
                self._unsubscribe(client, params)
                return None
            case "LIST_SUBSCRIPTIONS":
                return list(client.names)
            case "GET_PROPERTY":
                _check_property(request)
                return client.is_combined
            case _:
                _check_property(request)
                if len(params) != 2 or not isinstance(params[1], bool):
                    raise Refused(1, "Invalid value type: expected Boolean", request.id)
                client.is_combined = params[1]
                return None

    def _subscribe(self, client: BinanceClient, names: Iterable[str]) -> None:
        for name in names:
            if name not in client.names:
                self._askers.setdefault(family_of(name), {})[client] = None
                client.set_sources(name, self._sources(client, name))

    def _unsubscribe(self, client: BinanceClient, names: Iterable[str]) -> None:
        names = [name for name in names if name in client.names]
        for name in names:
            client.set_sources(name, ())
            del client.names[name]
        self._forget_asker(client, {family_of(name) for name in names})

    def _forget_asker(self, client: BinanceClient, families: set[str]) -> None:
        for family in families - {family_of(name) for name in client.names}:
            askers = self._askers.get(family, {})
            askers.pop(client, None)
            if not askers:
                self._askers.pop(family, None)

    def _sources(self, client: BinanceClient, name: str) -> tuple[str, ...]:
        """The recorded streams that are sent for a name; none if it does not exist, or another route carries it."""
        kind = named(name).kind
        is_split = len(self.product.paths) > 1 and kind != _ON_BOTH
        if is_split and (client.route == _PUBLIC) != (kind in _PUBLIC_KINDS):
            return ()
        known = self._known.get(family_of(name), {})
        if name in known:
            return (name,)
        if known:
            return (next(iter(known)),)
        kind_of_all = _OF_ALL.get(name)
        return tuple(each for each in self._all_known() if kind_of_all is not None and named(each).kind == kind_of_all)

    def _all_known(self) -> list[str]:
        return [name for known in self._known.values() for name in known]

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        return self._rest.answer(ask)


class ServedBinanceSpot(ServedBinance):
    """Spot."""

    product: ClassVar[Product] = SPOT
    messages_per_second: ClassVar[int] = 5
    pings: ClassVar[Pings | None] = Pings(20.0, 60.0, Drop(1008, "Pong timeout"))


class ServedBinanceUsdM(ServedBinance):
    """USD-M futures: two routes, and a connection is of one."""

    product: ClassVar[Product] = USDM
    pings: ClassVar[Pings | None] = Pings(180.0, 600.0, Drop(1008, "Pong timeout"))


class ServedBinanceCoinM(ServedBinance):
    """COIN-M futures."""

    product: ClassVar[Product] = COINM
    pings: ClassVar[Pings | None] = Pings(180.0, 600.0, Drop(1008, "Pong timeout"))


def _check_property(request: Request) -> None:
    if not request.params or request.params[0] != "combined":
        raise Refused(0, "Unknown property", request.id)


def _tag(frame: Frame) -> tuple[str, str]:
    """What a REST frame is about, and its symbol."""
    try:
        tag = _decode(frame.context or "{}").get("tag", "")
    except (*UNREADABLE, AttributeError):
        return "", ""
    what, _, symbol = str(tag).partition(":")
    return what, symbol
