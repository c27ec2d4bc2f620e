"""A server that others reach: the names it answers to, what it says of that, and clients that flood it or do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from recordings.recording import Recording
from replay.serving.deck import DeckOptions
from replay.serving.face import Drop
from replay.serving.server import ServerOptions, TapeServer
from tests.deadlines import HANG_S
from tests.frame_tapes import Script
from tests.tapes import bbo_frame
from tests.toolkit.cli.terminal import only_error, run
from toolkit.clock import SystemClock
from toolkit.errors import ConfigError
from toolkit.transport import server as server_module
from toolkit.transport.hosts import HostList, is_loopback, open_to_network, url_host
from toolkit.transport.server import LoopbackServer, Peer, RestRequest, RestResponse

BTC = {"method": "subscribe", "subscription": {"type": "bbo", "coin": "BTC"}}


def quotes(folder: Path, count: int = 20) -> Recording:
    script = Script()
    script.subscribed(0, type="bbo", coin="BTC")
    for number in range(count):
        script.said(bbo_frame("BTC", number, (10.0, 1.0), (11.0, 1.0)))
    return script.recording(folder)


def serve(recording: Recording, test: Callable[[TapeServer], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        server = TapeServer(
            [recording],
            clock=SystemClock(),
            deck=DeckOptions(speed=None),
            options=ServerOptions(start="told", **options),
        )
        async with asyncio.timeout(HANG_S), server, asyncio.TaskGroup() as group:
            playing = group.create_task(server.run())
            await test(server)
            server.stop()
            await playing

    asyncio.run(main())


# Names ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "shown"),
    [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("", "127.0.0.1"),
     ("a.b", "a.b"), ("fe80::1", "[fe80::1]")],
)  # fmt: skip
def test_an_address_in_a_url_has_brackets_where_it_needs_them(host: str, shown: str) -> None:
    assert url_host(host) == shown


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("127.0.0.1", True), ("127.5.5.5", True), ("::1", True), ("localhost", True), ("LOCALHOST", True),
     ("0.0.0.0", False), ("::", False), ("", False), ("192.168.1.2", False), ("a.b", False),
     ("::ffff:127.0.0.1", True)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host: str, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours
    assert (open_to_network("it", host, HostList(host)) is None) is is_ours


@pytest.mark.parametrize(
    ("named", "is_ours"),
    [
        ("localhost:8710", True), ("LocalHost.:8710", True), ("127.0.0.1", True), ("[::1]:8710", True),
        ("recorder:9200", True), ("recorder.evil.example", False), ("evil.example", False), ("10.0.0.7:1", True),
        ("10.0.0.8", False), ("[::ffff:10.0.0.7]", True), ("", False), ("a b", False), ("[", False),
        ("localhost@evil.example", False), ("evil.example#localhost", False), ("0.0.0.0", False),
        (socket.gethostname(), True),
    ],
)  # fmt: skip
def test_a_host_is_one_that_was_named_or_the_address_that_was_reached(named: str, is_ours: bool) -> None:
    hosts = HostList("0.0.0.0", ["recorder"])
    assert hosts.has(named, "10.0.0.7") is is_ours


@pytest.mark.parametrize("name", ["", "a b", "http://recorder", "recorder:9200", "[", "a/b", "a@b", "a\x1b"])
def test_what_is_no_name_of_a_host_is_refused_where_it_is_allowed(name: str) -> None:
    """It would match no request, and whoever gave it would not know why."""
    with pytest.raises(ConfigError, match="no name of a host; expected such as recorder"):
        HostList("0.0.0.0", [name])
    assert HostList("0.0.0.0", ["::2", "Recorder.", "[::3]"]).has("[::2]:1")


@pytest.mark.parametrize("host", ["256.1.1.1", "x" * 300, "a\nb", "no such"])
def test_what_cannot_be_listened_on_is_one_line(host: str, tmp_path: Path) -> None:
    tape = quotes(tmp_path / "tape").path
    error = only_error(run("serve", tape, "--host", host, "--port", "0"))
    assert "cannot be listened on" in error
    assert "Unknown error" not in error


def test_on_loopback_this_machines_other_names_are_foreign() -> None:
    assert not HostList("127.0.0.1").has("10.0.0.7")
    assert not HostList("127.0.0.1").has(None)


def test_the_warning_says_that_it_is_open_and_names_what_it_answers_to() -> None:
    warning = open_to_network("the tee", "0.0.0.0", HostList("0.0.0.0", ["recorder"]))
    assert warning is not None
    assert "open to the network" in warning
    assert "recorder" in warning
    assert "--allow-host" in warning
    assert "\n" not in warning


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "tape.lan:80"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://tape.lan"}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_server_for_everybody_answers_to_the_names_that_it_was_told(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async def test(server: TapeServer) -> None:
        assert server.warning is not None
        assert server.url.startswith("http://127.0.0.1:")
        place = f"{server.url}/tickdeck/status"
        async with aiohttp.ClientSession() as http, http.get(place, headers=headers) as response:
            assert response.status == status
            if status == 200:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
        if "Origin" in headers:
            opening = connect(server.ws_url_of("hyperliquid"), origin=headers["Origin"])  # type: ignore[arg-type]
            if status == 200:
                async with opening as client:
                    await client.send('{"method":"ping"}')
                    assert await client.recv() == '{"channel":"pong"}'
            else:
                with pytest.raises(InvalidStatus, match="403"):
                    await opening

    serve(quotes(tmp_path / "tape"), test, host="0.0.0.0", allowed_hosts=["tape.lan"])


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_the_printed_urls_of_an_ipv6_address_are_urls(tmp_path: Path) -> None:
    async def test(server: TapeServer) -> None:
        assert server.warning is None
        assert server.url.startswith("http://[::1]:")
        async with connect(server.ws_url_of("hyperliquid")) as client:
            await client.send('{"method":"ping"}')
            assert await client.recv() == '{"channel":"pong"}'
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/tickdeck/status") as response:
            assert (await response.json())["venues"]["hyperliquid"]["ws_url"].startswith("ws://[::1]:")

    serve(quotes(tmp_path / "tape"), test, host="::1")


# Controls ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("seek", '{"ns": 1%s}' % ("0" * 30)),
        ("seek", '{"ns": 1%s}' % ("0" * 4000)),
        ("seek", '{"ns": -5}'),
        ("seek", '{"ns": 1e300}'),
        ("seek", '{"by_ns": true}'),
        ("step", '{"frames": 1%s}' % ("0" * 30)),
        ("step", '{"frames": 0}'),
        ("step", '{"frames": "%s"}' % ("9" * 100_000)),
        ("speed", '{"speed": "1e-400"}'),
        ("speed", '{"speed": "1e5000"}'),
        ("speed", '{"speed": "1e99999999"}'),
        ("speed", '{"speed": %s}' % ("9" * 4000)),
        ("speed", '{"speed": "%sx"}' % ("9" * 100_000)),
        ("speed", '{"speed": {"a": [1]}}'),
        ("pause", "[" * 100_000),
        ("pause", '{"a":' * 1000 + "1" + "}" * 1000),
        ("pause", "\x00"),
    ],
)
def test_a_control_of_any_size_is_refused_in_a_line(
    controls: Callable[[str, str], tuple[int, Any]], name: str, body: str
) -> None:
    status, answer = controls(name, body)
    assert status == 400
    assert len(answer["error"]) <= 500
    assert "\n" not in answer["error"]


@pytest.fixture(scope="module")
def controls(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[int, Any]]:
    """Asks a control of a server that does not run."""

    async def ask(name: str, body: str) -> tuple[int, Any]:
        path = f"/tickdeck/{name}"
        request = RestRequest(method="POST", path=path, query={}, content_type="", body=body.encode(), remote="")
        answer = await server.request(request)
        return answer.status, json.loads(answer.body)

    recording = quotes(tmp_path_factory.mktemp("controls") / "tape")
    server = TapeServer([recording], clock=SystemClock(), options=ServerOptions(start="told"))
    return lambda name, body: asyncio.run(ask(name, body))


def test_a_long_step_lets_others_ask_and_keeps_nothing_for_clients(tmp_path: Path) -> None:
    """A client is written to on the way, and the server answers in the middle."""

    async def test(server: TapeServer) -> None:
        async with connect(server.ws_url_of("hyperliquid")) as client, aiohttp.ClientSession() as http:
            await client.send(json.dumps(BTC))
            await client.recv()
            seen = []
            async with asyncio.TaskGroup() as group:
                stepping = group.create_task(post(http, server, "step", {"frames": 900_000}))
                while not stepping.done():
                    async with http.get(f"{server.url}/tickdeck/status") as response:
                        seen.append((await response.json())["frames"])
            assert stepping.result()["frames"] == 3002
            assert any(0 < frames < 3002 for frames in seen)
            last = [await client.recv() for _ in range(3000)][-1]
            assert json.loads(last)["data"]["time"] == 2999

    serve(quotes(tmp_path / "tape", 3000), test)


async def post(http: aiohttp.ClientSession, server: TapeServer, name: str, body: Any) -> Any:
    async with http.post(f"{server.url}/tickdeck/{name}", json=body) as response:
        return await response.json()


# Floods and closes ------------------------------------------------------------------------------------------------------


class Echo:
    """Answers every message by a long one; remembers its peers."""

    def __init__(self, answer: bytes = b"x" * 100_000) -> None:
        self.answer = answer
        self.peers: list[Peer] = []
        self.received_count = 0
        self.gone = asyncio.Event()

    def connected(self, peer: Peer) -> RestResponse | None:
        self.peers.append(peer)
        return None

    def received(self, peer: Peer, payload: str | bytes) -> None:
        self.received_count += 1
        peer.write([self.answer], is_bounded=False)

    async def has_received(self, count: int) -> None:
        while self.received_count < count:  # noqa: ASYNC110 -- the server tells nobody
            await asyncio.sleep(0)

    def disconnected(self, peer: Peer, code: int | None) -> None:
        self.gone.set()

    async def request(self, request: RestRequest) -> RestResponse:
        return RestResponse()


class Mute:
    """A client that opens a WebSocket by hand, and never reads."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Mute:
        self.socket = socket.create_connection(("127.0.0.1", self._port))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setblocking(False)
        head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        await self.send(head.encode())
        await asyncio.get_running_loop().sock_recv(self.socket, 12)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def flood(self, opcode: Opcode, payload: bytes = b"") -> None:
        frames = Frame(opcode, payload).serialize(mask=True, extensions=[]) * 100
        with contextlib.suppress(ConnectionError):
            while True:
                await self.send(frames)


def resident_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


@pytest.mark.parametrize(("opcode", "payload"), [(Opcode.PING, b"p" * 125), (Opcode.TEXT, b"more")])
def test_a_client_that_floods_and_reads_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, opcode: Opcode, payload: bytes
) -> None:
    """Neither its pongs nor its answers pile up, and its place becomes free."""
    monkeypatch.setattr(server_module, "_UNREAD_S_MAX", 0.3)

    async def main() -> int:
        protocol = Echo()
        async with asyncio.timeout(HANG_S), LoopbackServer(protocol, queue_bytes_max=1 << 20) as server:
            # With megabytes of its own the system takes all pongs, and may then let the flood itself stand for minutes,
            # since what says that there is room again is among what the client leaves unread. Nothing is cut off by then.
            listener = server._listener
            assert listener is not None
            for listening in listener.sockets:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            before = resident_mib()
            async with Mute(server.port) as client, asyncio.TaskGroup() as group:
                flood = group.create_task(client.flood(opcode, payload))
                await protocol.gone.wait()
                flood.cancel()
            assert protocol.peers[0].slow
            assert not server.peers
            return resident_mib() - before

    assert asyncio.run(main()) < 60


def test_a_client_that_reads_late_is_waited_for_and_told_everything() -> None:
    """Not to read for a moment is no crime: what it asked meanwhile is answered in order."""

    async def main() -> None:
        protocol = Echo()
        async with (
            asyncio.timeout(HANG_S),
            LoopbackServer(protocol, queue_bytes_max=1 << 20) as server,
            connect(server.ws_url, max_queue=1, max_size=None, ping_interval=None) as client,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(_ask(client, 300))
            await protocol.has_received(12)
            for _ in range(300):
                assert len(await client.recv()) == 100_000

    asyncio.run(main())


async def _ask(client: Any, count: int) -> None:
    for _ in range(count):
        await client.send("more")


def test_a_close_ends_by_its_deadline_when_the_client_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is full, so not even the close frame can be written."""
    monkeypatch.setattr(server_module, "_CLOSE_S_MAX", 0.3)

    async def main() -> None:
        protocol = Echo(b"x" * 8_000_000)
        async with asyncio.timeout(HANG_S), LoopbackServer(protocol) as server, Mute(server.port) as client:
            await client.send(Frame(Opcode.TEXT, b"x").serialize(mask=True, extensions=[]))
            await protocol.has_received(1)
            protocol.peers[0].close(1000, "enough")
            await protocol.gone.wait()

    asyncio.run(main())


@pytest.mark.parametrize("reason", ["x" * 5000, "漢" * 100, "é" * 62, "\ud800"])
def test_a_reason_of_any_length_is_one_that_clients_take(reason: str) -> None:
    """A close frame has room for 123 bytes; a longer one would be refused by every client."""

    async def main() -> None:
        protocol = Echo()
        async with asyncio.timeout(HANG_S), LoopbackServer(protocol) as server, connect(server.ws_url) as client:
            await client.send("hello")
            await client.recv()
            protocol.peers[0].close(1013, reason)
            await client.wait_closed()
            assert client.close_code == 1013
            assert client.close_reason is not None
            assert 0 < len(client.close_reason.encode()) <= 123
            assert reason.encode(errors="replace").startswith(client.close_reason.encode())

    asyncio.run(main())


def test_a_recorded_reason_that_is_too_long_is_cut(tmp_path: Path) -> None:
    """What a venue said when it closed a connection is said again, as far as a frame holds it."""
    script = Script()
    script.control("connected", 0, role="main", url="")
    script.subscribed(0, type="bbo", coin="BTC")
    script.said(bbo_frame("BTC", 1, (10.0, 1.0), (11.0, 1.0)))
    script.control("disconnected", 0, role="main", code=1008, reason="no " * 500, error="", cause="venue")
    assert Drop(1008).code == 1008

    async def test(server: TapeServer) -> None:
        async with connect(server.ws_url_of("hyperliquid")) as client:
            await client.send(json.dumps(BTC))
            await client.recv()
            server.deck.player.resume()
            server.go_on()
            await client.wait_closed()
            assert client.close_code == 1008
            assert (client.close_reason or "").startswith("no no")

    serve(script.recording(tmp_path / "tape"), test)


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00 TLS?\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /\x00\x1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\r\n",
        (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 99\r\n"
            b"Sec-WebSocket-Key: x\r\n\r\n"
        ),
        (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\xff\xff\xff"
        ),
        b"\n" * 100_000,
    ],
    ids=range(18),
)
def test_what_is_no_request_is_refused_without_a_word_in_the_log(
    request_: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client that does not speak HTTP is told so; the log, which it could fill, is not."""

    async def main() -> bytes:
        async with asyncio.timeout(HANG_S), LoopbackServer(Echo(), idle_s_max=0.5) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            answer = b""
            with contextlib.suppress(ConnectionError):
                writer.write(request_)
                answer = await reader.read(4096)
            writer.close()
            async with aiohttp.ClientSession() as http, http.get(f"{server.url}/x") as response:
                assert response.status == 200
            return answer

    answer = asyncio.run(main())
    assert answer == b"" or answer.split(b" ", 2)[1] in (b"400", b"413", b"431", b"426", b"101", b"403", b"200"), (
        answer[:200]
    )
    assert not caplog.records
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b'{"state": "\\u001b[31m"}', "status of another shape"),
        (200, b'{"state": 1, "position": 2, "speed": 3, "frames": "x"}', "status of another shape"),
        (200, b"[" * 100_000, "no JSON"),
        (200, b"x" * (17 << 20), "more than"),
        (403, b"foreign\nError: forged", "HTTP 403"),
        (302, b"", "no JSON"),
    ],
)
def test_ctl_says_in_a_line_what_is_no_server_of_ours(status: int, body: bytes, said: str) -> None:
    class Other(Echo):
        async def request(self, request: RestRequest) -> RestResponse:
            return RestResponse(status=status, body=body, headers={"Location": "http://evil.example"})

    async def main() -> str:
        async with asyncio.timeout(HANG_S), LoopbackServer(Other()) as server:
            return await asyncio.to_thread(_ctl, server.url.replace("://", "://me:hunter2@"))

    error = asyncio.run(main())
    assert said in error
    assert "hunter2" not in error
    assert "\x1b" not in error


def _ctl(url: str) -> str:
    return only_error(run("ctl", "--url", url, "status"))
