"""WebSocket connections, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from tests.deadlines import HANG_S
from tests.toolkit.live_harness import in_loop, listen, tcp_venue, unused_port, ws_venue
from toolkit.clock import SystemClock
from toolkit.errors import ConfigError, ConnectFailed
from toolkit.transport.backoff import Backoff
from toolkit.transport.limits import RateLimit
from toolkit.transport.rest import RestClient
from toolkit.transport.security import tls_context
from toolkit.transport.websocket import Closed, WebSocket, open_websocket

LIMIT = 10_000


async def connect(url: str, **options: Any) -> WebSocket:
    return await open_websocket(url, **{"frame_bytes_max": LIMIT, "close_timeout_s": 1.0, **options})


async def read_all(url: str, **options: Any) -> tuple[list[bytes], Closed]:
    """Everything that a server says until it closes."""
    received: list[bytes] = []
    connection = await connect(url, **options)
    closed = await connection.read(received.append)
    return received, closed


MESSAGES = {
    "json": b'{"a": 1}',
    "not json": b"Websocket connection established.",
    "not UTF-8": b'{"a": "\xff\xfe\x80"}',
    "cut in a character": '{"a": "é"}'.encode()[:-3],
    "empty": b"",
    "zero bytes": b"\0\0",
    "at the limit": b"x" * LIMIT,
}


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@in_loop
async def test_messages_come_through_exactly_as_they_were_sent(opcode: Opcode) -> None:
    """Text that is no UTF-8 too: it is kept for what it is, and the connection goes on."""

    async def handler(connection: ServerConnection, number: int) -> None:
        for payload in MESSAGES.values():
            connection.transport.write(Frame(opcode, payload).serialize(mask=False))

    async with ws_venue(handler) as url:
        received, closed = await read_all(url)
    assert received == list(MESSAGES.values())
    assert closed == Closed(1000, "", "")


@in_loop
async def test_a_message_in_fragments_is_one_message() -> None:
    """Byte by byte on the wire, with a ping of the venue in the middle of it."""

    async def handler(connection: ServerConnection, number: int) -> None:
        parts = [
            Frame(Opcode.TEXT, b"ab", fin=False),
            Frame(Opcode.PING, b"hey"),
            Frame(Opcode.CONT, b"\xffc", fin=False),
            Frame(Opcode.CONT, b"d"),
        ]
        for byte in b"".join(part.serialize(mask=False) for part in parts):
            connection.transport.write(bytes([byte]))
            await asyncio.sleep(0)

    async with ws_venue(handler) as url:
        received, closed = await read_all(url)
    assert received == [b"ab\xffcd"]
    assert closed.code == 1000


@pytest.mark.parametrize("fragments", [1, 3])
@in_loop
async def test_a_message_over_the_limit_closes_with_1009(fragments: int) -> None:
    """It is refused before it fills the memory, and what came before it is there."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send("small")
        part = "x" * (LIMIT // fragments + 1)
        await connection.send([part] * fragments if fragments > 1 else part)
        await connection.wait_closed()

    async with ws_venue(handler) as url:
        received, closed = await read_all(url)
    assert received == [b"small"]
    assert closed.code == 1009
    assert "10000" in closed.error.replace(",", "")


@in_loop
async def test_the_venues_code_and_reason_are_reported() -> None:
    """A deploy (1012) is not a rate limit (1008)."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.close(1012, "Service Restart")

    async with ws_venue(handler) as url:
        assert (await read_all(url))[1] == Closed(1012, "Service Restart", "")


@in_loop
async def test_a_reset_in_the_middle_of_a_frame_is_1006() -> None:
    """Whole messages before it are there, the half one is not."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send("whole")
        connection.transport.write(Frame(Opcode.TEXT, b"x" * 1000).serialize(mask=False)[:500])
        await connection.recv()
        connection.transport.abort()

    async with ws_venue(handler) as url:
        connection = await connect(url)
        received: list[bytes] = []
        await connection.send(b"I have it")
        closed = await connection.read(received.append)
    assert received == [b"whole"]
    assert closed.code == 1006
    assert closed.error in ("it ended without a close frame", "Connection reset by peer")


@in_loop
async def test_pings_of_the_venue_are_answered_and_count_as_a_sign_of_life() -> None:
    """The venue would close the connection, and a quiet stream sends nothing else."""
    answered = asyncio.Event()

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.recv()
        await (await connection.ping(b"x"))
        answered.set()
        await connection.wait_closed()

    async with ws_venue(handler) as url, asyncio.TaskGroup() as group:
        connection = await connect(url)
        before = connection.chunk_count
        reading = group.create_task(connection.read(lambda payload: None))
        await connection.send(b"go on")
        await answered.wait()
        assert connection.chunk_count > before
        await connection.close()
        assert (await reading).code == 1000


@in_loop
async def test_our_ping_is_answered_and_the_answer_is_no_message() -> None:
    """The pong shows in the count of what arrived, not among the messages."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.recv()

    async with ws_venue(handler) as url:
        connection = await connect(url)
        before = connection.chunk_count
        received: list[bytes] = []
        await connection.ping()
        await connection.send(b"answer the ping first, then close")
        await connection.read(received.append)
    assert received == []
    # The pong, and the close frame that may have come in the same chunk with it.
    assert connection.chunk_count > before


@in_loop
async def test_text_is_sent_as_text() -> None:
    """Venues refuse binary frames."""
    got: list[str | bytes] = []

    async def handler(connection: ServerConnection, number: int) -> None:
        got.append(await connection.recv())

    async with ws_venue(handler) as url:
        connection = await connect(url)
        await connection.send(b'{"method":"ping"}')
        await connection.read(lambda payload: None)
        await connection.send(b"too late")
        await connection.ping()
        assert not connection.is_open
    assert got == ['{"method":"ping"}']


@in_loop
async def test_an_aborted_connection_says_why() -> None:
    """Nobody answers on a half-open connection, so nobody is asked."""
    async with ws_venue(listen) as url, asyncio.TaskGroup() as group:
        connection = await connect(url)
        reading = group.create_task(connection.read(lambda payload: None))
        connection.abort("nothing arrived for 41 s")
        connection.abort("a later reason")
        assert await reading == Closed(1006, "", "nothing arrived for 41 s")


@in_loop
async def test_a_venue_that_ignores_our_close_is_left() -> None:
    """The goodbye is bounded, and what arrives meanwhile is still delivered."""

    over = asyncio.Event()

    async def handler(connection: ServerConnection, number: int) -> None:
        connection.transport.pause_reading()
        await connection.send("late")
        await over.wait()
        connection.transport.abort()

    async with ws_venue(handler) as url, asyncio.TaskGroup() as group:
        connection = await connect(url, close_timeout_s=0.1)
        received: list[bytes] = []
        reading = group.create_task(connection.read(received.append))
        await connection.close("enough")
        assert await reading == Closed(1006, "", "the venue did not answer our close")
        assert received == [b"late"]
        over.set()


@in_loop
async def test_what_a_callback_raises_ends_the_reading() -> None:
    """It is not swallowed on the way."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send("x")
        await connection.wait_closed()

    def fail(payload: bytes) -> None:
        raise RuntimeError("callback")

    async with ws_venue(handler) as url:
        connection = await connect(url)
        with pytest.raises(RuntimeError, match=r"^callback$"):
            await connection.read(fail)
        await connection.close()


@in_loop
async def test_an_unread_connection_does_not_fill_the_memory() -> None:
    """Beyond the buffer the venue has to wait: its send blocks, for as long as nobody reads."""
    sent = 0
    blocked = asyncio.Event()

    async def handler(connection: ServerConnection, number: int) -> None:
        nonlocal sent
        while sent < 1_000_000:
            try:
                async with asyncio.timeout(0.5):
                    await connection.send("x" * 1000)
            except TimeoutError:
                blocked.set()
                await connection.wait_closed()
                return
            sent += 1

    async with ws_venue(handler) as url:
        connection = await connect(url)
        await blocked.wait()
        connection.abort("")
    assert sent < 1_000_000


# -- connecting --------------------------------------------------------------------------------------------------


@in_loop
async def test_a_port_that_nobody_listens_on_is_one_clear_line() -> None:
    """What happened and what to do."""
    async with unused_port() as port:
        with pytest.raises(ConnectFailed) as failure:
            await connect(f"ws://127.0.0.1:{port}/ws")
    assert str(failure.value) == (
        f"ws://127.0.0.1:{port}/ws: connection refused, nothing listens there; check the address, or start the venue"
    )


@in_loop
async def test_an_unknown_host_is_one_clear_line() -> None:
    """Reserved for this by RFC 6761."""
    with pytest.raises(ConnectFailed, match=r"^ws://venue\.invalid: .*; check the address and the network$"):
        await connect("ws://venue.invalid")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ws://", "nonsense"])
@in_loop
async def test_what_is_no_websocket_url_is_one_clear_line(url: str) -> None:
    """A mistyped option, not a network that failed."""
    with pytest.raises(ConnectFailed, match=r"; check the URL$"):
        await connect(url)


@in_loop
async def test_a_handshake_that_is_never_answered_times_out() -> None:
    """A port may accept and say nothing."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp_venue(silent) as port:
        with pytest.raises(ConnectFailed, match=r": no answer within 0\.1 s; check the address and the network$"):
            await connect(f"ws://127.0.0.1:{port}", open_timeout_s=0.1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "it does not speak WebSocket"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "it does not speak WebSocket"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP 200 OK instead of a WebSocket"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "HTTP 500 Oops instead of a WebSocket"),
    ],
)
@in_loop
async def test_what_does_not_speak_websocket_is_one_clear_line(answer: bytes, message: str) -> None:
    """A wrong port, or a gateway in front of a venue that is down."""

    async def answerer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with tcp_venue(answerer) as port:
        with pytest.raises(ConnectFailed) as failure:
            await connect(f"ws://127.0.0.1:{port}")
    assert message in str(failure.value)
    assert "\n" not in str(failure.value)


@in_loop
async def test_a_429_says_how_long_to_wait() -> None:
    """The connection's backoff takes it from there."""

    def refuse(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "slow down")
        response.headers["Retry-After"] = "17"
        return response

    async with ws_venue(listen, process_request=refuse) as url:
        with pytest.raises(ConnectFailed, match=r"HTTP 429 .*; wait, or open fewer connections$") as failure:
            await connect(url)
    assert failure.value.retry_after_s == 17.0


# -- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """A certificate authority of our own, and the file that a user would name."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@in_loop
async def test_a_certificate_of_a_named_authority_is_trusted(authority: tuple[trustme.CA, Path]) -> None:
    """For a venue behind a company's proxy."""
    async with ws_venue(listen, ssl=server_context(authority[0], "localhost")) as url:
        connection = await connect(url, tls=tls_context(authority[1]))
        assert connection.is_open
        assert await connection.close() == Closed(1000, "", "")


@in_loop
async def test_a_certificate_of_nobody_is_refused(authority: tuple[trustme.CA, Path]) -> None:
    """There is no option to trust it anyway."""
    async with ws_venue(listen, ssl=server_context(authority[0], "localhost")) as url:
        for tls in (None, tls_context()):
            with pytest.raises(ConnectFailed, match=r"its TLS certificate is not trusted \(.*\); check the URL"):
                await connect(url, tls=tls)


@in_loop
async def test_a_certificate_for_another_name_is_refused(authority: tuple[trustme.CA, Path]) -> None:
    """A trusted authority does not make it the right venue."""
    async with ws_venue(listen, ssl=server_context(authority[0], "other.example")) as url:
        with pytest.raises(ConnectFailed, match=r"its TLS certificate is not trusted \(.*localhost.*\)"):
            await connect(url, tls=tls_context(authority[1]))


@in_loop
async def test_a_port_without_tls_is_one_clear_line() -> None:
    """Wss where ws was meant."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with tcp_venue(plain) as port:
        with pytest.raises(ConnectFailed, match=r": TLS failed \(.*\); check that the port speaks TLS$"):
            await connect(f"wss://127.0.0.1:{port}")


def test_the_system_s_authorities_are_read_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder that runs for months meets a new bundle of the system."""
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    without = tls_context()
    assert tls_context() is without
    assert without.get_ca_certs() == []
    trustme.CA().cert_pem.write_to_path(bundle)
    renewed = tls_context()
    assert tls_context() is renewed is not without
    assert len(renewed.get_ca_certs()) == 1
    monkeypatch.delenv("SSL_CERT_FILE")
    assert tls_context() is not renewed
    assert all(each.verify_mode == ssl.CERT_REQUIRED and each.check_hostname for each in (without, renewed))


def test_a_ca_file_without_certificates_is_an_error(tmp_path: Path) -> None:
    """An option that does nothing would be found out too late."""
    empty, missing = tmp_path / "empty.pem", tmp_path / "missing.pem"
    empty.write_text("nothing")
    with pytest.raises(ConfigError, match=rf"^the file of certificate authorities {empty} holds none: expected PEM, "):
        tls_context(empty)
    said = rf"^the file of certificate authorities {missing} cannot be read: No such file or directory; check its path$"
    with pytest.raises(ConfigError, match=said):
        tls_context(missing)
    with pytest.raises(ConfigError, match=r"^the file of certificate authorities \S+ (cannot be read|holds none): "):
        tls_context(tmp_path)


@pytest.mark.parametrize("location", ["ws://127.0.0.1:9/elsewhere", "wss://joe:pa55word@other.test/ws", "/here"])
@in_loop
async def test_a_redirect_is_refused_and_says_where_it_leads(location: str) -> None:
    """What another host sends must not be recorded under the first one's name."""

    def redirect(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus.FOUND, "over there")
        response.headers["Location"] = location
        return response

    async with ws_venue(listen, process_request=redirect) as url:
        with pytest.raises(ConnectFailed, match=r"HTTP 302 Found instead of a WebSocket; it leads to .*, which is not"):
            await connect(url)
        with pytest.raises(ConnectFailed) as failure:
            await connect(url)
    assert "pa55word" not in str(failure.value)


@in_loop
async def test_user_and_password_of_the_url_authenticate_and_are_not_said() -> None:
    """The venue sees them, nobody else does."""
    seen: list[str | None] = []

    def refuse(connection: ServerConnection, request: Request) -> Response:
        seen.append(request.headers.get("Authorization"))
        return connection.respond(HTTPStatus.UNAUTHORIZED, "no")

    async with ws_venue(listen, process_request=refuse) as url:
        with pytest.raises(ConnectFailed) as failure:
            await connect(url.replace("ws://", "ws://joe:hunter22@") + "/ws?token=t0pSecret")
    assert seen == ["Basic am9lOmh1bnRlcjIy"]
    assert "hunter22" not in str(failure.value)
    assert "t0pSecret" not in str(failure.value)


@in_loop
async def test_a_peer_that_floods_pings_and_reads_nothing_is_left() -> None:
    """Every ping is answered; what it does not read must not fill the memory."""

    async def handler(connection: ServerConnection, number: int) -> None:
        connection.transport.pause_reading()
        pings = Frame(Opcode.PING, b"x" * 125).serialize(mask=False) * 1000
        while not connection.transport.is_closing():
            connection.transport.write(pings)
            await asyncio.sleep(0)

    async with ws_venue(handler) as url:
        received, closed = await read_all(url)
    assert received == []
    assert closed == Closed(1006, "", "the venue read nothing of 1024 KiB that we answered to its pings")


@in_loop
async def test_a_close_ends_by_its_deadline_whatever_the_peer_does() -> None:
    """One that reads nothing leaves no room for our goodbye: the library alone would wait for ever."""

    async def handler(connection: ServerConnection, number: int) -> None:
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with ws_venue(handler) as url:
        connection = await connect(url, close_timeout_s=0.1)
        connection._connection.transport.set_write_buffer_limits(0)
        connection._connection.transport.write(b"\x8a\x00" * 8_000_000)
        async with asyncio.timeout(HANG_S), asyncio.TaskGroup() as group:
            group.create_task(connection.read(lambda message: None))
            closed = await connection.close()
    assert closed.code == 1006


@in_loop
async def test_an_address_that_takes_connections_and_serves_none_is_passed_over_next_time() -> None:
    """It may be the first of several: who was not served begins with the next."""
    found: list[Any] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp_venue(silent) as dead, ws_venue(listen) as url:
        loop = asyncio.get_running_loop()
        alive = int(url.rpartition(":")[2])
        family, kind = socket.AF_INET, socket.SOCK_STREAM
        found += [(family, kind, 6, "", ("127.0.0.1", port)) for port in (dead, alive)]

        async def resolve(*args: Any, **options: Any) -> list[Any]:
            return found

        loop.getaddrinfo = resolve  # type: ignore[method-assign]  # the edge: the system's resolver
        with pytest.raises(ConnectFailed, match=r"no answer within 0\.2 s"):
            await connect("ws://venue.test/", open_timeout_s=0.2)
        connection = await connect("ws://venue.test/", first_address=1)
        assert connection.is_open
        await connection.close()


@in_loop
async def test_both_transports_go_through_the_proxy_of_the_environment() -> None:
    """A WebSocket in a tunnel, REST by its absolute URL; the name is the proxy's to resolve, its password is sent."""
    asked: list[tuple[bytes, bool]] = []

    async with ws_venue(listen) as url, asyncio.TaskGroup() as group:
        port = int(url.rpartition(":")[2])

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while chunk := await reader.read(65_536):
                writer.write(chunk)

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append((head.split(b"\r\n")[0], b"Proxy-Authorization: Basic am9lOmh1bnRlcjIy" in head))
            if not head.startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                await writer.drain()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            ends = [group.create_task(pass_on(reader, far_writer)), group.create_task(pass_on(far_reader, writer))]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            far_writer.transport.abort()

        async with tcp_venue(proxy) as proxy_port:
            with pytest.MonkeyPatch.context() as patch:
                for name in ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "no_proxy", "socks_proxy"):
                    patch.delenv(name, raising=False)
                    patch.delenv(name.upper(), raising=False)
                patch.setenv("all_proxy", f"http://joe:hunter22@127.0.0.1:{proxy_port}")
                connection = await connect("ws://venue.test/ws")
                assert connection.is_open
                await connection.close()
                clock = SystemClock()
                limit = RateLimit(clock, 100, 60)
                async with RestClient(
                    "http://venue.test", clock=clock, limit=limit, backoff=lambda: Backoff(1), attempts_max=1
                ) as rest:
                    assert (await rest.request("GET", "/x")).body == b"ok"
    assert asked == [(b"CONNECT venue.test:80 HTTP/1.1", True), (b"GET http://venue.test/x HTTP/1.1", True)]
