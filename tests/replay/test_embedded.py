"""The embedded venue over real sockets, and the server under it."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
import websockets
from websockets.asyncio.client import ClientConnection, connect

from replay.embedded import EmbeddedVenue
from replay.serving.venues.hyperliquid.synthetic.venue import VenueOptions
from replay.synthetic.market import MarketOptions
from tests.deadlines import HANG_S
from toolkit.clock import NS_PER_MS, ManualClock, SystemClock
from toolkit.transport.server import LoopbackServer, Peer, RestRequest, RestResponse

ROOT = Path(__file__).resolve().parents[2]
QUICK = VenueOptions(
    book_every_ns=100 * NS_PER_MS,
    fast_every_ns=30 * NS_PER_MS,
    ctx_every_ns=50 * NS_PER_MS,
    connections_per_minute=1000,
    connections_max=100,
)


def run(test: Callable[[EmbeddedVenue], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a test against a venue with quick blocks."""

    async def main() -> None:
        options.setdefault("clock", SystemClock())
        options.setdefault("options", QUICK)
        market = MarketOptions(block_ns=10 * NS_PER_MS)
        async with asyncio.timeout(HANG_S), EmbeddedVenue(seed=7, market=market, **options) as venue:
            await test(venue)

    asyncio.run(main())


async def subscribe(client: ClientConnection, kind: str, **fields: Any) -> None:
    await client.send(json.dumps({"method": "subscribe", "subscription": {"type": kind, **fields}}))


async def until(client: ClientConnection, channel: str) -> Any:
    """The next message on a channel."""
    async for text in client:
        message = json.loads(text)
        if message["channel"] == channel:
            return message
    raise AssertionError("the connection was closed")


async def is_silent(client: ClientConnection) -> bool:
    """Whether nothing arrives for a fifth of a second after what was on its way: twenty quick blocks."""
    while True:
        try:
            async with asyncio.timeout(0.2):
                await client.recv()
        except TimeoutError:
            return True


async def post(venue: EmbeddedVenue, body: dict[str, Any]) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.post(f"{venue.rest_url}/info", json=body) as response:
        return response.status, await response.text()


# The venue -------------------------------------------------------------------------------------------------------------


def test_a_client_is_sent_what_it_asked_for() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            assert client.protocol.extensions == []  # the real venue negotiates no compression
            await subscribe(client, "bbo", coin="BTC")
            await subscribe(client, "l2Book", coin="BTC", fast=True)
            assert (await until(client, "l2Book"))["data"]["fast"] is True
            first = (await until(client, "bbo"))["data"]["time"]
            assert (await until(client, "bbo"))["data"]["time"] > first

    run(test)


def test_accounts_can_be_followed_by_their_addresses() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        maker = venue.accounts["maker"]
        async with connect(venue.ws_url, max_queue=None) as client:
            await subscribe(client, "orderUpdates", user=maker)
            await subscribe(client, "userFills", user=maker)
            assert (await until(client, "userFills"))["data"]["isSnapshot"] is True
            assert (await until(client, "orderUpdates"))["data"][0]["order"]["coin"] in ("BTC", "ETH", "xyz:SP500")
        role = json.loads((await post(venue, {"type": "userRole", "user": venue.accounts["agent"]}))[1])
        assert role == {"role": "agent", "data": {"user": maker}}

    run(test)


def test_what_was_sent_is_kept_and_logged(tmp_path: Path) -> None:
    log = tmp_path / "sent.jsonl"

    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            await subscribe(client, "bbo", coin="BTC")
            got = [str(await client.recv()) for _ in range(4)]
        assert [each.payload.decode() for each in venue.sent][: len(got)] == got
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["text"] for line in lines][: len(got)] == got
        assert {line["connection"] for line in lines} == {0}

    run(test, keep_sent=True, sent_log=log)


def test_an_unknown_coin_ends_the_connection_without_a_close_frame() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            await subscribe(client, "l2Book", coin="btc")
            await client.wait_closed()
            assert client.close_code == 1006
        assert venue.connections == 0

    run(test)


def test_an_idle_connection_is_dropped() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            await client.wait_closed()
            assert client.close_code == 1006

    run(test, options=VenueOptions(idle_close_ns=50 * NS_PER_MS))


def test_too_many_connections_are_refused_at_the_handshake() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url):
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with connect(venue.ws_url):
                    pass
            assert caught.value.response.status_code == 429

    run(test, options=VenueOptions(connections_max=1))


def test_connections_can_be_dropped_and_made_again() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        for _ in range(3):
            async with connect(venue.ws_url) as client:
                await subscribe(client, "bbo", coin="BTC")
                await until(client, "bbo")
                venue.drop_connections()
                await client.wait_closed()
                assert client.close_code == 1006

    run(test)


def test_connections_can_be_closed_with_a_code() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            venue.close_connections(1012, "restart")
            await client.wait_closed()
            assert (client.close_code, client.close_reason) == (1012, "restart")

    run(test)


def test_connections_can_be_closed_regularly() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            await client.wait_closed()
            assert client.close_code == 1000

    run(test, close_every_s=0.05)


def test_a_muted_stream_is_silent_while_pongs_go_on() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            await subscribe(client, "bbo", coin="BTC")
            await until(client, "bbo")
            venue.mute("bbo", "BTC")
            await subscribe(client, "activeAssetCtx", coin="BTC")
            await client.send('{"method":"ping"}')
            await until(client, "pong")
            channels = {json.loads(await client.recv())["channel"] for _ in range(5)}
            assert channels == {"activeAssetCtx"}
            venue.unmute("bbo", "BTC")
            await until(client, "bbo")

    run(test)


def test_a_pause_is_silence_on_an_open_connection() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url, ping_interval=None) as client:
            await subscribe(client, "bbo", coin="BTC")
            await until(client, "bbo")
            venue.pause()
            assert await is_silent(client)
            pong = await client.ping()
            await client.send('{"method":"ping"}')
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await asyncio.shield(pong)
            assert venue.connections == 1
            venue.resume()
            await pong
            await until(client, "bbo")

    run(test)


@pytest.mark.parametrize("payload", ["{", '{"channel":7}', '{"channel":"nope","data":{}}', '{"channel":"l2Book"}'])
def test_anything_can_be_sent(payload: str) -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            venue.send_raw(payload)
            assert await client.recv() == payload
            venue.send_raw(payload.encode(), binary=True)
            assert await client.recv() == payload.encode()

    run(test)


def test_text_that_is_no_text_can_be_sent() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        async with connect(venue.ws_url) as client:
            venue.send_raw(b"\xff\xfe{")
            with pytest.raises(websockets.ConnectionClosedError, match="sent 1007"):
                await client.recv()

    run(test)


def test_rest_can_fail_and_recover() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        venue.fail_rest(2, 429)
        statuses = [(await post(venue, {"type": "meta"}))[0] for _ in range(3)]
        assert statuses == [429, 429, 200]

    run(test)


def test_rest_can_be_slow_on_the_clock() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        clock = venue.clock
        assert isinstance(clock, ManualClock)
        venue.delay_rest(30)
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(post(venue, {"type": "exchangeStatus"}))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await asyncio.shield(answer)
            while not answer.done():
                clock.advance(31_000 * NS_PER_MS)
                await asyncio.wait({answer}, timeout=0.05)
            assert answer.result()[0] == 200

    run(test, clock=ManualClock(start_ns=1_790_000_000_000_000_000))


def test_rest_statuses_are_the_venues() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        assert await post(venue, {"type": "fundingHistory", "coin": "NOPE", "startTime": 0}) == (500, "null")
        assert (await post(venue, {"type": "nope"}))[0] == 422
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{venue.rest_url}/info") as response:
                assert response.status == 405
            async with http.post(f"{venue.rest_url}/info", data=b"{") as response:
                assert response.status == 415
            async with http.post(f"{venue.rest_url}/../../etc/passwd") as response:
                assert response.status == 404

    run(test)


def test_the_clock_drives_the_blocks() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        clock = venue.clock
        assert isinstance(clock, ManualClock)
        # A client whose queue is full would not see the answer to its close.
        async with connect(venue.ws_url, max_queue=None) as client:
            await subscribe(client, "trades", coin="BTC")
            await until(client, "trades")
            clock.advance(2_000 * NS_PER_MS)
            live = (await until(client, "trades"))["data"]
            assert live[0]["time"] * NS_PER_MS > clock.time_ns() - 2_000 * NS_PER_MS
            assert live[0]["time"] * NS_PER_MS <= clock.time_ns()

    run(test, clock=ManualClock(start_ns=1_790_000_000_000_000_000))


def test_it_runs_as_a_process(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "replay.embedded",
        "--port",
        "0",
        "--seed",
        "7",
        "--sent-log",
        str(tmp_path / "log"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())

        async def test() -> None:
            async with connect(urls["ws_url"]) as client:
                await client.send('{"method":"ping"}')
                assert await client.recv() == '{"channel":"pong"}'

        asyncio.run(test())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=HANG_S) == 0
    assert set(urls["accounts"]) == {"maker", "taker", "gambler", "sub", "agent"}
    assert urls["rest_url"].startswith("http://127.0.0.1:")


def test_an_error_inside_the_block_comes_out_as_it_is() -> None:
    async def test(venue: EmbeddedVenue) -> None:
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run(test)


# The server ------------------------------------------------------------------------------------------------------------


class Echo:
    """Sends back what it gets and notes what happened."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.codes: list[int | None] = []
        self.gone = asyncio.Event()

    def connected(self, peer: Peer) -> RestResponse | None:
        self.peers.append(peer)
        return None

    def received(self, peer: Peer, payload: str | bytes) -> None:
        peer.send(payload, binary=isinstance(payload, bytes))

    def disconnected(self, peer: Peer, code: int | None) -> None:
        self.codes.append(code)
        self.gone.set()

    async def request(self, request: RestRequest) -> RestResponse:
        return RestResponse(body=f"{request.method} {request.path} {request.query}".encode())


def serve(test: Callable[[Echo, LoopbackServer], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def main() -> None:
        echo = Echo()
        async with asyncio.timeout(HANG_S), LoopbackServer(echo, **options) as server:
            await test(echo, server)

    asyncio.run(main())


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1.evil.example", "null"])
def test_a_page_from_elsewhere_is_refused(origin: str) -> None:
    async def test(echo: Echo, server: LoopbackServer) -> None:
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with connect(server.ws_url, origin=websockets.Origin(origin)):
                pass
        assert caught.value.response.status_code == 403
        async with aiohttp.ClientSession() as http, http.get(server.url, headers={"Origin": origin}) as response:
            assert response.status == 403
        assert echo.peers == []

    serve(test)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", None])
def test_a_page_of_this_machine_may_connect(origin: str | None) -> None:
    async def test(echo: Echo, server: LoopbackServer) -> None:
        async with connect(server.ws_url, origin=websockets.Origin(origin) if origin else None) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
        await echo.gone.wait()
        assert echo.codes == [1000]

    serve(test)


def test_a_frame_that_is_too_long_closes_the_connection() -> None:
    async def test(echo: Echo, server: LoopbackServer) -> None:
        async with connect(server.ws_url) as client:
            await client.send("x" * 2000)
            await client.wait_closed()
            assert client.close_code == 1009

    serve(test, frame_bytes_max=1000)


def test_a_body_that_is_too_long_is_refused() -> None:
    async def test(echo: Echo, server: LoopbackServer) -> None:
        async with aiohttp.ClientSession() as http, http.post(server.url, data=b"x" * 2000) as response:
            assert response.status == 413

    serve(test, body_bytes_max=1000)


def test_a_client_that_does_not_read_is_cut_off_and_others_are_not() -> None:
    async def test(echo: Echo, server: LoopbackServer) -> None:
        slow = socket.create_connection(("127.0.0.1", server.port))
        slow.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        async with connect(server.ws_url) as quick:
            sent = 0
            while not echo.gone.is_set():
                for peer in echo.peers:
                    peer.send("x" * 50_000)
                sent += 1
                await quick.recv()
            assert sent > 20
            assert [peer.slow for peer in echo.peers] == [True, False]
            await quick.send("still here")
            while await quick.recv() != "still here":
                pass
        slow.close()

    serve(test, queue_frames_max=20)


def test_a_sender_that_can_wait_is_never_cut_off() -> None:
    async def test(echo: Echo, server: LoopbackServer) -> None:
        async with connect(server.ws_url) as client, asyncio.TaskGroup() as tasks:
            await client.send("go")
            assert await client.recv() == "go"
            (peer,) = echo.peers

            async def send_all() -> None:
                for number in range(3000):
                    await peer.writable()
                    assert peer.send(str(number))

            tasks.create_task(send_all())
            assert [await client.recv() for _ in range(3000)] == [str(number) for number in range(3000)]

    serve(test, queue_frames_max=64)


def test_requests_reach_the_protocol_decoded() -> None:
    async def test(echo: Echo, server: LoopbackServer) -> None:
        async with aiohttp.ClientSession() as http, http.put(f"{server.url}/a%20b?c=d&c=e") as response:
            assert await response.text() == "PUT /a b {'c': 'd'}"

    serve(test)


def test_connections_are_limited() -> None:
    async def test(echo: Echo, server: LoopbackServer) -> None:
        async with connect(server.ws_url):
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with connect(server.ws_url):
                    pass
            assert caught.value.response.status_code == 503

    serve(test, connections_max=1)


def test_tls_is_served_with_the_certificate_it_is_given() -> None:
    import ssl

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def test(echo: Echo, server: LoopbackServer) -> None:
        assert server.ws_url.startswith("wss://")
        async with connect(server.ws_url, ssl=trusting) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(server.ws_url):
                pass

    serve(test, ssl_context=context)
