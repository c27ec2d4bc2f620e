"""Feeds a Binance protocol frame by frame, as a session would, without a socket."""

from __future__ import annotations

from typing import Any

import msgspec

from toolkit.books.tracker import OrderBookTracker
from toolkit.frames import CONTROL, REST_IN, REST_OUT, WS_IN, WS_OUT, Frame, control_payload
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.protocol import ProtocolOptions, Request, RestCall, SendText, VenueProtocol
from toolkit.venue import find_venue

MS = 1_700_000_000_000
SECOND = 1_000_000_000


def exchange_info(*rows: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"symbols": list(rows)})


def listed(symbol: str, base: str, quote: str, **more: Any) -> dict[str, Any]:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001"},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
    ]
    return {
        "symbol": symbol,
        "baseAsset": base,
        "quoteAsset": quote,
        "status": "TRADING",
        "filters": filters,
    } | more


class Session:
    """One protocol with its books; every frame goes through both, and time moves only when told to."""

    def __init__(self, venue: str, pairs: tuple[str, ...] = (), channels: tuple[str, ...] = ()) -> None:
        self.venue = venue
        self.options = ProtocolOptions(pairs=pairs, channels=channels)
        self.protocol: VenueProtocol = find_venue(venue).make_protocol(self.options)
        self.tracker = OrderBookTracker(checked=True)
        self.frames: list[Frame] = []
        self.now = MS * 1_000_000

    def feed(
        self,
        payload: bytes | dict[str, Any],
        kind: str = WS_IN,
        conn_id: int = 0,
        context: dict[str, Any] | None = None,
    ) -> list[Message]:
        body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        text = msgspec.json.encode(context).decode() if context else None
        frame = Frame(len(self.frames), self.now, self.now, self.venue, conn_id, 0, kind, body, text)
        self.frames.append(frame)
        messages = self.protocol.receive(frame)
        for message in messages:
            self.tracker.apply(message)
        rows = 0
        for message in messages:
            assert message.sub_seq == rows, "sub_seq counts rows"
            rows += message.row_count
        return messages

    def stream(self, name: str, data: Any, conn_id: int = 0) -> list[Message]:
        return self.feed({"stream": name, "data": data}, conn_id=conn_id)

    def control(self, event: str, conn_id: int = 0, **details: Any) -> list[Message]:
        return self.feed(control_payload(event, **details), CONTROL, conn_id)

    def rest(
        self, tag: str, body: bytes | dict[str, Any] | list[Any], status: int = 200, number: int | None = None
    ) -> list[Message]:
        """An answer; `number` says to which request."""
        payload = body if isinstance(body, bytes) else msgspec.json.encode(body)
        context = {"tag": tag, "status": status} | ({} if number is None else {"id": number})
        return self.feed(payload, REST_IN, -1, context)

    def asked(self, call: RestCall) -> int:
        """A request leaves; returns its number."""
        number = len(self.frames)
        self.feed(b"", REST_OUT, -1, {"tag": call.tag, "path": call.path, "id": number})
        return number

    def sent(self, text: bytes, conn_id: int = 0) -> None:
        self.feed(text, WS_OUT, conn_id)

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def calls(self) -> list[RestCall]:
        return [request for request in self.protocol.requests() if isinstance(request, RestCall)]

    def texts(self) -> list[dict[str, Any]]:
        return [
            msgspec.json.decode(request.text) for request in self.protocol.requests() if isinstance(request, SendText)
        ]

    def due(self) -> list[Request]:
        return self.protocol.due(self.now)

    def top(self, pair: str = "BTC-USDT") -> tuple[float | None, float | None]:
        book = self.tracker.book(pair)
        return book.bids.best_price, book.asks.best_price

    def is_stale(self, pair: str = "BTC-USDT") -> bool:
        return self.tracker.book(pair).is_stale

    def start(self, *rows: dict[str, Any]) -> None:
        """Answer the metadata, and connect every connection that is wanted."""
        for request in self.protocol.bootstrap():
            assert isinstance(request, RestCall)
            self.rest(request.tag, exchange_info(*rows) if request.tag == "exchangeInfo" else b"[]")
        if self.protocol.is_ready:
            for number, plan in enumerate(self.protocol.connections()):
                self.control("connected", number, role=plan.role)


def usdm_diff(
    first: int, last: int, prev: int, bids: Any = (), asks: Any = (), time: int | None = None
) -> dict[str, Any]:
    """A futures diff; its time grows with its ids by default."""
    at = MS + last if time is None else time
    return {
        "e": "depthUpdate",
        "E": at + 1,
        "T": at,
        "s": "BTCUSDT",
        "U": first,
        "u": last,
        "pu": prev,
        "b": bids,
        "a": asks,
    }


def spot_diff(first: int, last: int, bids: Any = (), asks: Any = (), time: int | None = None) -> dict[str, Any]:
    at = MS + last if time is None else time
    return {"e": "depthUpdate", "E": at, "s": "BTCUSDT", "U": first, "u": last, "b": bids, "a": asks}


def snapshot(last: int, bids: Any = (("100", "1"),), asks: Any = (("101", "1"),), **more: Any) -> dict[str, Any]:
    return {"lastUpdateId": last, "bids": bids, "asks": asks} | more


def events(messages: list[Message]) -> list[tuple[EventKind, str, str]]:
    return [(m.kind, m.stream, m.cause) for m in messages if isinstance(m, StreamEvent)]


def shapes(messages: list[Message]) -> list[str]:
    """Class and form of each message, for a look at the order."""
    return [f"{type(message).__name__} {getattr(message, 'form', '')}".strip() for message in messages]
