"""Both transports through a SOCKS proxy: a small real one on loopback, before a venue that has no other name."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from tests.toolkit.live_harness import in_loop, listen, tcp_venue, unused_port, ws_venue
from toolkit.clock import SystemClock
from toolkit.errors import ConfigError, ConnectFailed
from toolkit.transport.backoff import Backoff
from toolkit.transport.limits import RateLimit
from toolkit.transport.message_stream import open_message_socket
from toolkit.transport.rest import RestClient
from toolkit.transport.security import tls_context
from toolkit.transport.urls import proxy_for
from toolkit.transport.websocket import Closed, open_websocket

#: An address of nobody, by RFC 5737; a proxy that does not resolve names is asked for such a one.
NOWHERE = "192.0.2.7"
#: By scheme: the host that is named, and how the proxy is asked for it.
SCHEMES = {
    "socks5h": ("venue.test", "name venue.test"),
    "socks5": (NOWHERE, f"address {NOWHERE}"),
    "socks4a": ("venue.test", "name venue.test"),
    "socks4": (NOWHERE, f"address {NOWHERE}"),
}


class SocksProxy:
    """
    SOCKS 4, 4a and 5, of which everything leads to one port of this machine.

    Attributes:
        asked: Requests so far.
        said: Names and passwords that were given.
    """

    def __init__(self, target: int, *, password: bytes | None = None, refuses: bool = False) -> None:
        self.target = target
        self.asked: list[str] = []
        self.said: list[bytes] = []
        self._password = password
        self._refuses = refuses

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version = (await reader.readexactly(1))[0]
        answer = await (self._greet4 if version == 4 else self._greet5)(reader, writer)
        if answer is None:
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        writer.write(answer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, far_writer))
                await self._pass_on(far_reader, writer)
        finally:
            far_writer.transport.abort()

    @staticmethod
    async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
        writer.transport.abort()

    async def _greet4(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        head = await reader.readexactly(7)
        self.said.append((await reader.readuntil(b"\0"))[:-1])
        address = head[3:]
        if address[:3] == b"\0\0\0" and address[3]:
            self.asked.append(f"name {(await reader.readuntil(bytes(1)))[:-1].decode()}")
        else:
            self.asked.append(f"address {'.'.join(map(str, address))}")
        if self._refuses:
            writer.write(b"\0\x5b" + bytes(6))
            return None
        return b"\0\x5a" + bytes(6)

    async def _greet5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if self._password is not None:
            if 2 not in methods:
                writer.write(b"\5\xff")
                return None
            writer.write(b"\5\2")
            await reader.readexactly(1)
            name = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            self.said += [name, password]
            is_right = password == self._password
            writer.write(b"\1" + bytes([not is_right]))
            if not is_right:
                return None
        else:
            writer.write(b"\5\0")
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            self.asked.append(f"name {(await reader.readexactly((await reader.readexactly(1))[0])).decode()}")
        else:
            address = await reader.readexactly(4)
            self.asked.append(f"address {'.'.join(map(str, address))}")
        await reader.readexactly(2)
        if self._refuses:
            writer.write(b"\5\2\0\1" + bytes(6))
            return None
        return b"\5\0\0\1" + bytes(6)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "ws", "wss", "all", "socks", "no"):
        for variable in (f"{name}_proxy", f"{name}_proxy".upper()):
            monkeypatch.delenv(variable, raising=False)


@asynccontextmanager
async def proxied(proxy: SocksProxy, scheme: str, user: str = "", name: str = "all_proxy") -> AsyncIterator[None]:
    """The environment names that proxy."""
    async with tcp_venue(proxy.serve) as port:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, f"{scheme}://{user}127.0.0.1:{port}")
            yield


@asynccontextmanager
async def rest_venue(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.method} {request.host} {request.path_qs}")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def rest(url: str, tls: ssl.SSLContext | None = None) -> RestClient:
    clock = SystemClock()
    limit = RateLimit(clock, 100, 60)
    return RestClient(url, clock=clock, limit=limit, backoff=lambda: Backoff(1), attempts_max=1, tls=tls)


@pytest.mark.parametrize("scheme", SCHEMES)
@in_loop
async def test_both_transports_go_through_a_socks_proxy(scheme: str) -> None:
    """Names are the proxy's to resolve where the scheme says so."""
    host, asked = SCHEMES[scheme]
    async with ws_venue(listen) as url:
        proxy = SocksProxy(int(url.rpartition(":")[2]))
        async with proxied(proxy, scheme):
            connection = await open_websocket(f"ws://{host}/ws", frame_bytes_max=10_000)
            assert connection.is_open
            assert await connection.close() == Closed(1000, "", "")
            socket = await open_message_socket(
                f"ws://{host}/ws", message_bytes_max=10_000, messages_buffered=4, open_timeout_s=10
            )
            socket.drop()
    assert proxy.asked == [asked, asked]
    async with rest_venue() as port:
        proxy = SocksProxy(port)
        async with proxied(proxy, scheme), rest(f"http://{host}") as client:
            answer = await client.request("GET", "/x?symbol=BTC")
            assert answer.body == f"GET {host} /x?symbol=BTC".encode()
            await client.request("GET", "/again")
    assert proxy.asked == [asked]


@pytest.mark.parametrize("name", ["socks_proxy", "https_proxy", "ALL_PROXY"])
@in_loop
async def test_tls_is_the_venues_own_through_the_tunnel(name: str, tmp_path: Path) -> None:
    """Its certificate is checked against the name that was asked for; the proxy sees neither."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("venue.test").configure_cert(served)
    trusted = tls_context(tmp_path / "ca.pem")
    async with (
        ws_venue(listen, ssl=served) as url,
        proxied(SocksProxy(int(url.rpartition(":")[2])), "socks5h", name=name),
    ):
        connection = await open_websocket("wss://venue.test/ws", tls=trusted, frame_bytes_max=10_000)
        await connection.close()
        with pytest.raises(ConnectFailed, match="certificate is not trusted"):
            await open_websocket("wss://other.test/ws", tls=trusted, frame_bytes_max=10_000)
    async with rest_venue(served) as port, proxied(SocksProxy(port), "socks5h", name=name):
        async with rest("https://venue.test", trusted) as client:
            assert (await client.request("GET", "/x")).body == b"GET venue.test /x"
        async with rest("https://other.test", trusted) as client:
            with pytest.raises(ConnectFailed, match="certificate is not trusted"):
                await client.request("GET", "/x")


@in_loop
async def test_user_and_password_are_sent_and_never_said() -> None:
    async with ws_venue(listen) as url:
        proxy = SocksProxy(int(url.rpartition(":")[2]), password=b"hunter 22")
        async with proxied(proxy, "socks5h", "joe:hunter%2022@"):
            connection = await open_websocket("ws://venue.test/ws", frame_bytes_max=10_000)
            await connection.close()
        assert proxy.said == [b"joe", b"hunter 22"]
        for user in ("joe:wrongpass@", ""):
            async with proxied(proxy, "socks5h", user):
                with pytest.raises(
                    ConnectFailed, match=r"^ws://venue.test/ws: the SOCKS proxy .* does not let us"
                ) as e:
                    await open_websocket("ws://venue.test/ws", frame_bytes_max=10_000)
                assert "wrongpass" not in str(e.value)
                async with rest("http://venue.test") as client:
                    with pytest.raises(ConnectFailed, match=r"the SOCKS proxy .* does not let us through") as e:
                        await client.request("GET", "/x")
                assert "wrongpass" not in str(e.value)
                assert "\n" not in str(e.value)


@pytest.mark.parametrize("scheme", SCHEMES)
@in_loop
async def test_a_proxy_that_refuses_or_is_not_there_is_one_clear_line(scheme: str) -> None:
    host, _ = SCHEMES[scheme]
    said = r"the SOCKS proxy .* does not let us through \(.+\); check it$"
    async with proxied(SocksProxy(1, refuses=True), scheme):
        with pytest.raises(ConnectFailed, match=said):
            await open_websocket(f"ws://{host}/ws", frame_bytes_max=10_000)
        with pytest.raises(ConnectFailed, match=said):
            await open_message_socket(
                f"ws://{host}/ws", message_bytes_max=10_000, messages_buffered=4, open_timeout_s=10
            )
        async with rest(f"http://{host}") as client:
            with pytest.raises(ConnectFailed, match=said):
                await client.request("GET", "/x")
    async with unused_port() as port:
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("all_proxy", f"{scheme}://127.0.0.1:{port}")
        with pytest.raises(ConnectFailed, match=said):
            await open_websocket(f"ws://{host}/ws", frame_bytes_max=10_000)
        async with rest(f"http://{host}") as client:
            with pytest.raises(ConnectFailed, match=said):
                await client.request("GET", "/x")


@in_loop
async def test_a_proxy_that_says_nothing_has_the_deadline_of_any_connection() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp_venue(silent) as port:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("all_proxy", f"socks5h://127.0.0.1:{port}")
            with pytest.raises(ConnectFailed, match=r"no answer within 0.2 s"):
                await open_websocket("ws://venue.test/ws", frame_bytes_max=10_000, open_timeout_s=0.2)


@pytest.mark.parametrize(
    "proxy", ["socks://p.test:1", "socks6://p.test:1", "socks5://p.test", "socks5://:1", "socks5h://p.test:0"]
)
def test_what_is_no_proxy_is_refused_with_what_was_expected(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    with pytest.raises(
        ConfigError, match=r"^all_proxy in the environment is .*expected http://host:port, or socks5://"
    ):
        proxy_for("wss://venue.test")
