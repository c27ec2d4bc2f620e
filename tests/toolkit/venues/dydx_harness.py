"""What the tests of dYdX v4 stand on: frames as they cross the wire, and a driver that obeys the protocol's requests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.sealing.segment_writer import SegmentWriter
from recordings.states.normalizer import Normalizer
from toolkit.clock import NS_PER_S
from toolkit.frames import CONTROL, REST_IN, WS_IN, WS_OUT, Frame, control_payload
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.protocol import ProtocolOptions, Request, RestCall, SendText
from toolkit.venues.dydx_v4 import DydxV4MarketProtocol

#: 2024-08-23 00:00:00 UTC.
START_NS = 1_724_371_200 * NS_PER_S
FIXTURES: dict[str, Any] = {
    "status": "ACTIVE",
    "oraclePrice": "100",
    "priceChange24H": "-1.5",
    "volume24H": "1000.5",
    "nextFundingRate": "0.00001",
    "initialMarginFraction": "0.05",
    "openInterest": "12.5",
    "tickSize": "0.1",
    "stepSize": "0.001",
}
M = TypeVar("M", bound=Message)


def market(**fields: Any) -> dict[str, Any]:
    """A market as the venue sends it, with some fields of its own."""
    return {**FIXTURES, **fields}


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def frame(
    body: Any,
    seq: int = 0,
    *,
    at_s: float = 0.0,
    kind: str = WS_IN,
    conn_id: int = 0,
    epoch: int = 0,
    context: dict[str, Any] | None = None,
) -> Frame:
    """One frame, `at_s` after the start on both clocks."""
    mono_ns = round(at_s * NS_PER_S)
    text = json.dumps(context) if context is not None else None
    return Frame(seq, START_NS + mono_ns, mono_ns, "dydx_v4", conn_id, epoch, kind, encoded(body), text)


def data(channel: str, id: str | None, contents: Any, number: int, kind: str = "channel_data", name: str = "c") -> Any:
    """A frame of a channel; `id` None leaves it out, as `v4_markets` does."""
    body = {"type": kind, "connection_id": name, "message_id": number, "channel": channel, "contents": contents}
    return body if id is None else {**body, "id": id}


def snapshot(ticker: str, bids: Any, asks: Any, number: int, name: str = "c") -> Any:
    levels = {
        "bids": [{"price": price, "size": size} for price, size in bids],
        "asks": [{"price": price, "size": size} for price, size in asks],
    }
    return data("v4_orderbook", ticker, levels, number, "subscribed", name)


def update(ticker: str, bids: Any, asks: Any, number: int, name: str = "c") -> Any:
    sides = {"bids": [list(level) for level in bids], "asks": [list(level) for level in asks]}
    return data("v4_orderbook", ticker, {side: levels for side, levels in sides.items() if levels}, number, name=name)


def trade(id: str, **fields: Any) -> dict[str, Any]:
    row = {"id": id, "size": "0.5", "price": "100.5", "side": "BUY", "createdAt": "2024-08-23T00:00:01.250Z"}
    return {**row, "type": "LIMIT", **fields}


def trade_id(height: int, event: int = 0) -> str:
    return f"{height:08x}{2:08x}{event:08x}"


def error(text: str, number: int, name: str = "c", **fields: Any) -> Any:
    return {"type": "error", "message": text, "connection_id": name, "message_id": number, **fields}


def of(kind: type[M], messages: list[Message]) -> list[M]:
    return [message for message in messages if isinstance(message, kind)]


def events(messages: list[Message], kind: EventKind, stream: str | None = None) -> list[StreamEvent]:
    return [event for event in of(StreamEvent, messages) if event.kind is kind and stream in (None, event.stream)]


def protocol(*pairs: str, channels: tuple[str, ...] = ()) -> DydxV4MarketProtocol:
    return DydxV4MarketProtocol(ProtocolOptions(pairs=pairs, channels=channels))


class Session:
    """
    A recording session without sockets: numbers frames, keeps them, and carries requests out when told to.

    Attributes:
        frames: Every frame, in order.
        messages: Every message, in order.
        asked: Requests that wait.
    """

    def __init__(self, subject: DydxV4MarketProtocol) -> None:
        self.subject = subject
        self.frames: list[Frame] = []
        self.messages: list[Message] = []
        self.asked: list[Request] = []
        self.now_s = 0.0
        self._epochs: dict[int, int] = {}

    @classmethod
    def ready(cls, *pairs: str, channels: tuple[str, ...] = (), listed: tuple[str, ...] = ()) -> Session:
        """A session whose protocol knows its markets."""
        session = cls(protocol(*pairs, channels=channels))
        session.subject.bootstrap()
        markets = {ticker: market() for ticker in listed or pairs}
        session.rest("perpetualMarkets", {"markets": markets})
        return session

    def take(self, body: Any, *, kind: str = WS_IN, conn_id: int = 0, context: Any = None) -> list[Message]:
        made = frame(
            body,
            len(self.frames),
            at_s=self.now_s,
            kind=kind,
            conn_id=conn_id,
            epoch=max(self._epochs.get(conn_id, 0), 0),
            context=context,
        )
        self.frames.append(made)
        messages = self.subject.receive(made)
        self.messages += messages
        self.asked += self.subject.requests()
        return messages

    def wait(self, seconds: float) -> list[Request]:
        """Let time pass and return what it makes due."""
        self.now_s += seconds
        requests = self.subject.due(round(self.now_s * NS_PER_S))
        self.asked += requests
        return requests

    def rest(self, tag: str, body: Any, status: int = 200) -> list[Message]:
        return self.take(body, kind=REST_IN, conn_id=-1, context={"tag": tag, "status": status, "id": 0})

    def control(self, event: str, conn_id: int = 0, **details: Any) -> list[Message]:
        if event == "connected":
            self._epochs[conn_id] = self._epochs.get(conn_id, -1) + 1
        return self.take(control_payload(event, **details), kind=CONTROL, conn_id=conn_id)

    def connect(self, role: str, conn_id: int = 0, name: str = "c") -> None:
        self.control("connected", conn_id, role=role)
        self.take({"type": "connected", "connection_id": name, "message_id": 0}, conn_id=conn_id)

    def send(self) -> list[dict[str, Any]]:
        """Send every text that waits, and return what they say."""
        texts = [request for request in self.asked if isinstance(request, SendText)]
        self.asked = [request for request in self.asked if not isinstance(request, SendText)]
        for request in texts:
            self.take(request.text, kind=WS_OUT, conn_id=request.conn_id)
        return [json.loads(request.text) for request in texts]

    def calls(self) -> list[RestCall]:
        """The REST requests that wait, taken away."""
        calls = [request for request in self.asked if isinstance(request, RestCall)]
        self.asked = [request for request in self.asked if not isinstance(request, RestCall)]
        return calls

    def write(self, folder: Path) -> Manifest:
        """The session as a recording on disk."""
        options = self.subject.options
        source = SourceInfo("dydx_v4", self.subject.version, options.pairs, options.channels, options.accounts)
        normalizer = Normalizer.for_sources([source])
        writer = SegmentWriter(folder, 0, normalizer)
        for each in self.frames:
            writer.add(each)
        manifest = Manifest(software="test", sources=[source], status="sealed", symbols=dict(writer.symbols))
        write = writer.cut()
        assert write is not None
        manifest.segments = [write()]
        manifest.symbols = dict(writer.symbols)
        manifest.digest = normalizer.chain.hexdigest()
        write_manifest(folder, manifest)
        return manifest
