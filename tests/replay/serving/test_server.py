"""A served recording over real sockets: starting, controls, disconnects, several venues, and clients that mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recordings.recording import Recording
from replay.serving.deck import DeckOptions
from replay.serving.server import ServerOptions, TapeServer
from tests.deadlines import HANG_S
from tests.frame_tapes import Script
from tests.tapes import bbo_frame
from toolkit.clock import SystemClock, format_ns
from toolkit.transport.server import LoopbackServer, Peer, RestRequest, RestResponse

BTC = {"type": "bbo", "coin": "BTC"}


def quotes(folder: Path, count: int = 20, *, end: dict[str, Any] | None = None) -> Recording:
    """Quotes of BTC, a millisecond apart; then their connection is lost, if that is asked for, and one more comes."""
    script = Script()
    script.control("session_start", -1)
    script.control("connected", 0, role="main", url="")
    script.subscribed(0, **BTC)
    for number in range(count):
        script.said(bbo_frame("BTC", number, (10.0, 1.0), (11.0, 1.0)))
    if end is not None:
        script.control("disconnected", 0, role="main", **end)
        script.control("connected", 0, role="main", url="")
        script.said(bbo_frame("BTC", count, (10.0, 1.0), (11.0, 1.0)))
    return script.recording(folder)


def ballast(folder: Path, count: int = 300, size: int = 100_000) -> Recording:
    """Thirty megabytes of mids: more than the system holds for a client that does not read."""
    script = Script()
    script.subscribed(0, type="allMids")
    for number in range(count):
        script.said({"channel": "allMids", "data": {"mids": {"BTC": f"{number}.0"}, "ballast": "x" * size}})
    return script.recording(folder)


class Running:
    """A server at work."""

    def __init__(self, server: TapeServer) -> None:
        self.server = server

    def connect(self, path: str = "/ws", **options: Any) -> Any:
        return connect(f"{self.server.url.replace('http', 'ws', 1)}{path}", **{"max_size": None, **options})

    async def control(self, name: str, **details: Any) -> dict[str, Any]:
        method = "GET" if name == "status" else "POST"
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, f"{self.server.url}/tickdeck/{name}", json=details if details else None) as response,
        ):
            answer = await response.json()
            assert isinstance(answer, dict)
            return {"http": response.status, **answer}

    async def until(self, state: str) -> dict[str, Any]:
        while (status := await self.control("status"))["state"] != state:
            pass
        return status


def run(test: Any, recordings: Recording | list[Recording], deck: DeckOptions | None = None, **options: Any) -> None:
    """Run a test against a server that plays as fast as clients read, when told to."""

    async def main() -> None:
        given = recordings if isinstance(recordings, list) else [recordings]
        options.setdefault("start", "told")
        server = TapeServer(
            given, clock=SystemClock(), deck=deck or DeckOptions(speed=None), options=ServerOptions(**options)
        )
        async with asyncio.timeout(HANG_S), server, asyncio.TaskGroup() as group:
            playing = group.create_task(server.run())
            await test(Running(server))
            server.stop()
            await playing

    asyncio.run(main())


async def eventually(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 -- what is waited for tells nobody
        await asyncio.sleep(0)


async def subscribe(client: ClientConnection, **subscription: Any) -> Any:
    await client.send(json.dumps({"method": "subscribe", "subscription": subscription}))
    return json.loads(await client.recv())


async def times(client: ClientConnection) -> list[int]:
    """Times of the messages until the connection is closed, or the pong of a ping comes."""
    found = []
    try:
        async for text in client:
            message = json.loads(text)
            if message["channel"] == "pong":
                break
            found.append(message["data"]["time"])
    except ConnectionClosed:
        pass
    return found


# Starting and controls -------------------------------------------------------------------------------------------------


def test_the_tape_begins_when_a_client_has_subscribed(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        async with running.connect() as client:
            assert (await running.control("status"))["state"] == "waiting"
            await subscribe(client, **BTC)
            await running.until("ended")
            await client.send('{"method":"ping"}')
            assert await times(client) == list(range(20))

    run(test, quotes(tmp_path / "tape"), start="client", settle_s=0.01)


def test_pause_steps_seek_and_speed(tmp_path: Path) -> None:
    tape = quotes(tmp_path / "tape", 5)
    first = tape.manifest.segments[0].ts_recv_first

    async def test(running: Running) -> None:
        status = await running.control("step", frames=6)
        assert (status["state"], status["frames"], status["position_ns"]) == ("paused", 6, first + 5_000_000)
        async with running.connect() as client:
            await subscribe(client, **BTC)
            assert json.loads(await client.recv())["data"]["time"] == 1
            await running.control("step")
            assert json.loads(await client.recv())["data"]["time"] == 2
            assert (await running.control("seek", ns=first + 8_000_000))["state"] == "paused"
            with pytest.raises(ConnectionClosed):
                await client.recv()
        async with running.connect() as client:
            await subscribe(client, **BTC)
            assert json.loads(await client.recv())["data"]["time"] == 3
            assert (await running.control("speed", speed="2.5x"))["speed"] == "2.5x"
            assert (await running.control("resume"))["http"] == 200
            assert json.loads(await client.recv())["data"]["time"] == 4
            ended = await running.until("ended")
            assert ended["position_ns"] == tape.manifest.segments[0].ts_recv_last
        # From the end there is a way back.
        await running.control("seek", by_ns=-2_000_000)
        assert (await running.until("ended"))["frames"] > ended["frames"]

    run(test, tape)


def test_a_control_that_does_something_else_says_so(tmp_path: Path) -> None:
    """A seek over an end of the tape, and a step that the tape has no frames for."""
    tape = quotes(tmp_path / "tape", 10)
    (first, last), hour = (
        (tape.manifest.segments[0].ts_recv_first, tape.manifest.segments[-1].ts_recv_last),
        3600 * 10**9,
    )

    async def test(running: Running) -> None:
        await running.control("pause")
        answer = await running.control("seek", by_ns=3_000_000)
        at = answer["position_ns"]
        assert "note" not in answer
        answer = await running.control("seek", by_ns=-hour)
        assert answer["note"] == f"{format_ns(at - hour)} is not on the tape: went to its beginning, {format_ns(first)}"
        at = answer["position_ns"]
        answer = await running.control("seek", by_ns=hour)
        assert answer["note"] == f"{format_ns(at + hour)} is not on the tape: went to its end, {format_ns(last)}"
        await running.control("seek", ns=first)
        assert "note" not in await running.control("step", frames=1)
        count = tape.manifest.segments[-1].capture_seq_last
        answer = await running.control("step", frames=5000)
        assert answer["note"] == f"the tape ended after {count} of 5,000"
        assert "note" not in await running.control("pause")

    run(test, tape)


@pytest.mark.parametrize(
    ("name", "details", "http", "error"),
    [
        ("fly", {}, 404, "no control 'fly', expected one of status, pause, resume, step, seek, speed, stop"),
        ("step", {"frames": 0}, 400, "cannot step 0 frames, expected 1 to 1,000,000"),
        ("seek", {"ns": 1}, 400, "1970-01-01T00:00:00.000000001Z is not on the tape, which goes from "),
        ("seek", {"to": "noon"}, 400, "nowhere to seek to: expected "),
        ("speed", {"speed": "-1x"}, 400, "'-1x' is no speed; expected max, or "),
    ],
)
def test_a_control_that_makes_no_sense_is_refused(
    tmp_path: Path, name: str, details: dict[str, Any], http: int, error: str
) -> None:
    async def test(running: Running) -> None:
        answer = await running.control(name, **(details or {"any": 1}))
        assert answer["http"] == http
        assert answer["error"].startswith(error)

    run(test, quotes(tmp_path / "tape", 2))


def test_the_server_may_end_with_the_tape(tmp_path: Path) -> None:
    async def main() -> int | None:
        server = TapeServer(
            [quotes(tmp_path / "tape")],
            clock=SystemClock(),
            deck=DeckOptions(speed=None),
            options=ServerOptions(start="client", settle_s=0.01, ends=True),
        )
        async with asyncio.timeout(HANG_S), server, asyncio.TaskGroup() as group:
            group.create_task(server.run())
            async with Running(server).connect() as client:
                await subscribe(client, **BTC)
                assert await times(client) == list(range(20))
                code: int | None = client.close_code
                return code

    assert asyncio.run(main()) == 1001


# Disconnects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "code"), [({"code": 1006}, 1006), ({"code": 4000, "reason": "x"}, 4000)])
def test_a_recorded_disconnect_closes_the_socket_as_it_was(tmp_path: Path, end: dict[str, Any], code: int) -> None:
    async def test(running: Running) -> None:
        async with running.connect() as client:
            await subscribe(client, **BTC)
            await running.control("resume")
            assert await times(client) == list(range(20))
            assert client.close_code == code
        assert (await running.until("ended"))["closed_by_tape"] == 1

    run(test, quotes(tmp_path / "tape", end=end))


def test_disconnects_can_be_hidden(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        async with running.connect() as client:
            await subscribe(client, **BTC)
            await running.control("resume")
            await running.until("ended")
            await client.send('{"method":"ping"}')
            assert await times(client) == list(range(21))

    run(test, quotes(tmp_path / "tape", end={"code": 1006}), DeckOptions(speed=None, hides_disconnects=True))


# Slow clients ----------------------------------------------------------------------------------------------------------


class Sleeper:
    """A client that subscribes and reads no more."""

    def __init__(self, port: int) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", port))
        head = "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.socket.sendall(f"{head}Sec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(4096)
        text = b'{"method":"subscribe","subscription":{"type":"allMids"}}'
        mask = bytes(4)
        self.socket.sendall(b"\x81" + bytes([0x80 | len(text)]) + mask + text)


@pytest.mark.parametrize("speed", [Fraction(1, 4), None])
def test_a_client_that_does_not_read_is_cut_off_and_others_get_everything(
    tmp_path: Path, speed: Fraction | None
) -> None:
    """While a pace is kept, because too much is unread; without one, because it took nothing for too long."""

    async def test(running: Running) -> None:
        sleeper = await asyncio.to_thread(Sleeper, running.server._server.port)
        try:
            async with running.connect() as client:
                await subscribe(client, type="allMids")
                while (await running.control("status"))["subscriptions"] < 2:
                    pass
                await running.control("resume")
                mids = [json.loads(await client.recv())["data"]["mids"]["BTC"] for _ in range(300)]
                assert mids == [f"{number}.0" for number in range(300)]
                status = await running.until("ended")
                assert status["cut_off"] == 1
                assert [each["unread_bytes"] for each in status["clients"]] == [0]
        finally:
            sleeper.socket.close()

    run(test, ballast(tmp_path / "tape"), DeckOptions(speed=speed), unread_bytes_max=8 << 20, patience_s=0.3)


# Several venues and several clients ------------------------------------------------------------------------------------


def test_a_venue_is_also_below_its_name(tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        async with running.connect("/hyperliquid/ws") as client:
            assert (await subscribe(client, **BTC))["channel"] == "subscriptionResponse"
        async with aiohttp.ClientSession() as http:
            body = {"type": "exchangeStatus"}
            for path in ("/info", "/hyperliquid/info"):
                async with http.post(running.server.url + path, json=body) as response:
                    assert response.status == 200

    run(test, quotes(tmp_path / "tape"))


# Clients that mean no good ---------------------------------------------------------------------------------------------


async def still_serves(running: Running) -> None:
    async with running.connect() as client:
        assert (await subscribe(client, **BTC))["channel"] == "subscriptionResponse"
        await client.send('{"method":"ping"}')
        assert await times(client) == []


def against(attack: Any, tmp_path: Path, **options: Any) -> None:
    """An attack, and then an honest client."""

    async def test(running: Running) -> None:
        await attack(running)
        await still_serves(running)

    run(test, quotes(tmp_path / "tape"), **options)


def test_an_oversized_frame_ends_its_connection_alone(tmp_path: Path) -> None:
    async def attack(running: Running) -> None:
        async with running.connect() as client:
            await client.send("x" * (2 << 20))
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1009

    against(attack, tmp_path)


def test_garbage_is_answered_or_ended(tmp_path: Path) -> None:
    """As text, as binary, as nested JSON, and in place of HTTP."""

    async def attack(running: Running) -> None:
        async with running.connect() as client:
            for payload in (
                "",
                "\x00",
                b"\xff\xfe",
                "[" * 50_000,
                '{"method":' * 1000,
                "nan",
                '{"method":"subscribe"}',
            ):
                await client.send(payload)
                assert json.loads(await client.recv())["channel"] == "error"
        for raw in (b"\x16\x03\x01" + bytes(500), b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 1000, b"A" * 100_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.server._server.port)
            writer.write(raw)
            writer.write_eof()
            await reader.read(1 << 16)
            writer.close()
        async with running.connect() as client:
            transport = client.transport
            transport.write(b"\xff" * 100)
            with pytest.raises(ConnectionClosed):
                await client.recv()

    against(attack, tmp_path)


def test_ten_thousand_subscriptions_keep_nothing(tmp_path: Path) -> None:
    """A client that goes on and on is ended, and what it held is let go of."""

    async def talk(client: ClientConnection) -> None:
        for number in range(10_000):
            subscription = BTC if number % 2 else {"type": "userFills", "user": f"0x{number:040x}"}
            await client.send(json.dumps({"method": "subscribe", "subscription": subscription}))
        while True:
            await client.recv()

    async def attack(running: Running) -> None:
        async with running.connect() as client:
            with pytest.raises(ConnectionClosed):
                await talk(client)
        await eventually(lambda: not running.server.deck.clients)
        served = running.server.deck._served["hyperliquid"]
        assert served.desk == {}
        assert running.server.deck.stirred == {}

    against(attack, tmp_path)


def test_idle_connections_make_room(tmp_path: Path) -> None:
    """Sockets that never say anything are ended, the oldest first, before they keep an honest client out."""

    async def attack(running: Running) -> None:
        sockets = []
        for _ in range(60):
            sockets.append(socket.create_connection(("127.0.0.1", running.server._server.port)))
            await asyncio.sleep(0)
        await still_serves(running)
        await eventually(lambda: len(running.server._server._last_seen) <= 8)
        for each in sockets:
            each.close()

    against(attack, tmp_path, connections_max=8)


def test_connections_that_have_come_and_gone_do_not_count(tmp_path: Path) -> None:
    """However many questions were asked, each on a connection of its own, the next one is answered."""

    async def attack(running: Running) -> None:
        for _ in range(50):
            assert (await running.control("status"))["http"] == 200
        assert len(running.server._server._last_seen) <= 9

    against(attack, tmp_path, connections_max=8)


def test_more_websockets_than_allowed_are_refused(tmp_path: Path) -> None:
    async def attack(running: Running) -> None:
        clients = [await running.connect() for _ in range(3)]
        with pytest.raises(InvalidStatus, match="503"):
            await running.connect()
        for client in clients:
            await client.close()

    against(attack, tmp_path, connections_max=3)


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
def test_pages_from_elsewhere_are_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    """By the venue's interface and by the controls alike."""

    async def attack(running: Running) -> None:
        async with aiohttp.ClientSession() as http:
            for method, path in (("POST", "/info"), ("GET", "/tickdeck/status"), ("POST", "/tickdeck/stop")):
                async with http.request(method, running.server.url + path, headers=headers, json={}) as response:
                    assert response.status == 403
            if "Origin" in headers:
                with pytest.raises(InvalidStatus, match="403"):
                    await running.connect(origin=headers["Origin"])

    against(attack, tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//info",
        "/info/",
        "/info%00",
        "/hyperliquid/../tickdeck/stop",
        "/hyperliquid/tickdeck/stop",
        "/tickdeck/../info",
        "/" + "a" * 7000,
    ],
)
def test_tricks_with_paths_lead_nowhere(tmp_path: Path, path: str) -> None:
    async def attack(running: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.server._server.port)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 15\r\nConnection: close\r\n\r\n".encode() + b'{"type":"meta"}')
        answer = await reader.read(1 << 16)
        assert int(answer.split(b" ", 2)[1]) in (400, 404, 405), answer[:100]
        assert b"root:" not in answer
        writer.close()

    against(attack, tmp_path)


def test_a_body_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    class Nothing:
        def connected(self, peer: Peer) -> RestResponse | None:
            return None

        def received(self, peer: Peer, payload: str | bytes) -> None: ...

        def disconnected(self, peer: Peer, code: int | None) -> None: ...

        async def request(self, request: RestRequest) -> RestResponse:
            return RestResponse()

    async def main() -> bytes:
        async with asyncio.timeout(HANG_S), LoopbackServer(Nothing(), idle_s_max=0.2) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST /info HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n")
            answer = await reader.readline()
            silent, silence = await asyncio.open_connection("127.0.0.1", server.port)
            with contextlib.suppress(ConnectionError):
                assert await silent.read() == b""
            writer.close()
            silence.close()
            return answer

    assert asyncio.run(main()) == b"HTTP/1.1 408 Request Timeout\r\n"
