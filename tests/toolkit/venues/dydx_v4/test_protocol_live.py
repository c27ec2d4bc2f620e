"""dYdX v4 through real sockets: the live source drives the protocol, and its tape replays to the same messages."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from websockets.asyncio.server import ServerConnection

from tests.toolkit.live_harness import LIMITS, Tape, in_loop, live_source, rest_venue, ws_venue
from tests.toolkit.venues.dydx_harness import data, market, of, protocol, snapshot, trade, trade_id, update
from toolkit.errors import RequestFailed, SymbolError
from toolkit.messages import BookDiff, BookSnapshot, EventKind, FundingInfo, Message, StreamEvent, Trade

ODD = "A,B/C-USD"


async def rest(request: web.BaseRequest) -> web.Response:
    """The Indexer's REST, of two markets."""
    path = request.rel_url.raw_path
    if path == "/perpetualMarkets":
        return web.json_response({"markets": {"BTC-USD": market(), ODD: market(openInterest="7")}})
    if path == "/time":
        return web.json_response({"iso": "2024-08-23T00:00:00.125Z", "epoch": 1.0})
    if path.startswith("/orderbooks/perpetualMarket/") and unquote(path.rpartition("/")[2]) == ODD:
        return web.json_response({"bids": [{"price": "9", "size": "1"}], "asks": []})
    if path.startswith("/historicalFunding/"):
        return web.json_response({"historicalFunding": []})
    return web.json_response({"errors": [{"msg": "not found"}]}, status=404)


class Venue:
    """The Indexer's WebSocket: greets, numbers, answers, and drops the books' connection once."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.drops = 1

    async def serve(self, connection: ServerConnection, number: int) -> None:
        name, counter = f"connection-{number}", 0

        async def send(body: Any) -> None:
            await connection.send(json.dumps(body))

        await send({"type": "connected", "connection_id": name, "message_id": counter})
        async for text in connection:
            request = json.loads(text)
            self.asked.append(request)
            counter += 1
            channel, ticker = request["channel"], request.get("id")
            match channel:
                case "v4_orderbook":
                    await send(snapshot(ticker, [("10", "1")], [("11", "1")], counter, name))
                    counter += 1
                    await send(update(ticker, [("10", "0")], [], counter, name))
                case "v4_trades":
                    row = trade(trade_id(7 + number))
                    await send(data(channel, ticker, {"trades": [row]}, counter, "subscribed", name))
                    if self.drops:
                        self.drops -= 1
                        await connection.close(1012, "restarting")
                        return
                case "v4_markets":
                    await send(data(channel, None, {"markets": {ODD: market()}}, counter, "subscribed", name))
                case _:
                    raise AssertionError(f"nobody asked for {channel}")


@in_loop
async def test_a_session_is_recorded_through_a_reconnect_and_replays() -> None:
    """Greeted, subscribed, dropped, subscribed again; a REST book beside it; the tape gives the same messages."""
    venue, tape, told = Venue(), Tape(), list[Message]()
    channels = ("full", "trades", "funding")
    async with ws_venue(venue.serve) as ws_url, rest_venue(rest) as rest_url:
        source = live_source(protocol(ODD, channels=channels), tape, ws_url=ws_url, rest_url=rest_url, limits=LIMITS)
        source.set_message_callback(told.append)
        async with source:
            await tape.until(lambda: sum(b'"v4_trades"' in text for text in tape.payloads()) >= 2)
            await tape.until(lambda: any(b'"v4_markets"' in text for text in tape.payloads()))
            book = await source.get_snapshot(ODD)
            assert [level.price for level in book.bids] == [9.0]
            assert [level.price for level in source.tracker.book(ODD).asks] == [11.0]
            assert len(source.tracker.book(ODD).bids) == 0
            assert (await source.get_funding_info(ODD)).open_interest == 12.5
            refused: list[Exception] = []
            for pair in ("BTC-USD", "X-USD"):
                try:
                    await source.get_snapshot(pair)
                except (RequestFailed, SymbolError) as exc:
                    refused.append(exc)
            assert [type(exc) for exc in refused] == [RequestFailed, SymbolError]
    assert [(each["channel"], each.get("id")) for each in venue.asked if each["channel"] != "v4_markets"] == [
        ("v4_orderbook", ODD),
        ("v4_trades", ODD),
    ] * 2
    assert len([each for each in venue.asked if each == {"type": "subscribe", "channel": "v4_markets"}]) == 1
    assert len(of(BookSnapshot, told)) == 3
    assert len(of(BookDiff, told)) == len(of(Trade, told)) == 2
    assert of(FundingInfo, told)
    gaps = [event for event in of(StreamEvent, told) if event.kind is EventKind.GAP]
    assert [(event.symbol, event.stream, event.cause) for event in gaps] == [
        (ODD, "full", "disconnect"),
        (ODD, "trades", "disconnect"),
    ]
    again = protocol(ODD, channels=channels)
    assert [message for frame in tape.frames for message in again.receive(frame)] == told
