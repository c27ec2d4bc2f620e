"""
A server for loopback: WebSocket and REST on one port, around a protocol that knows no sockets.

What is served is a `ServerProtocol`: plain methods that are told of connections, frames and requests and answer
through a `Peer`. A client that reads too slowly is cut off, never waited for; frames and bodies are limited; a web page
from elsewhere is refused by its Origin.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web

__all__ = ["LoopbackServer", "Peer", "RestRequest", "RestResponse", "ServerProtocol"]

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_READ_ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """One HTTP request. `path` is percent-decoded and never touches a file system; `query` keeps the first of repeats."""

    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    body: bytes
    remote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestResponse:
    """One HTTP response."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class ServerProtocol(Protocol):
    """What a server serves. The methods must not block; `request` may wait."""

    def connected(self, peer: Peer) -> RestResponse | None:
        """A client asks for a WebSocket: None lets it in, a response refuses the handshake."""

    def received(self, peer: Peer, payload: str | bytes) -> None:
        """A client sent a message: `str` for text, `bytes` for binary."""

    def disconnected(self, peer: Peer, code: int | None) -> None:
        """The connection is gone; `code` is the close code, None or 1006 if there was none."""

    async def request(self, request: RestRequest) -> RestResponse:
        """Answer anything that is not a WebSocket."""


class Peer:
    """
    One WebSocket client, seen from the server.

    Attributes:
        number: Counts connections of this server, from 0.
        remote: Address of the client.
        path: Path that it connected to.
        query: Query string of the URL that it connected to.
        pongs: Answers to pings of ours so far.
        slow: It was cut off because it did not read.
    """

    def __init__(
        self, number: int, remote: str, path: str, *, frames_max: int, bytes_max: int, query: str = ""
    ) -> None:
        self.number = number
        self.remote = remote
        self.path = path
        self.query = query
        self.pongs = 0
        self.slow = False
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._queue: deque[tuple[bytes, WSMsgType]] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._running = asyncio.Event()
        self._running.set()
        self._close: tuple[int, bytes] | None = None
        self._gone = False
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything sent now can still arrive."""
        return not self._gone and self._close is None

    @property
    def backlog(self) -> int:
        """Frames that wait to be written."""
        return len(self._queue)

    def send(self, payload: str | bytes, *, binary: bool = False) -> bool:
        """
        Queue a message; False if it can no longer arrive.

        Args:
            payload: Text, or bytes that are sent as they are, as a text message even where they are not UTF-8.
            binary: Send as a binary message instead.
        """
        if not self.is_open or not self._running.is_set():
            return False
        data = payload.encode() if isinstance(payload, str) else payload
        self._queue.append((data, WSMsgType.BINARY if binary else WSMsgType.TEXT))
        self._queued_bytes += len(data)
        if len(self._queue) > self._frames_max or self._queued_bytes > self._bytes_max:
            self.slow = True
            self.abort()
            return False
        if self._half_full():
            self._writable.clear()
        self._wake.set()
        return True

    def ping(self) -> None:
        """Queue a ping; what comes back counts in `pongs`."""
        if self.is_open and self._running.is_set():
            self._queue.append((b"", WSMsgType.PING))
            self._wake.set()

    def _half_full(self) -> bool:
        return 2 * len(self._queue) > self._frames_max or 2 * self._queued_bytes > self._bytes_max

    async def writable(self) -> None:
        """Wait until the queue is less than half full, for a sender that can pause. Safe to cancel."""
        await self._writable.wait()

    def close(self, code: int = WSCloseCode.OK, reason: str = "") -> None:
        """Send what is queued, then a close frame."""
        if self.is_open:
            self._close = (code, reason.encode())
            self._running.set()
            self._wake.set()

    def abort(self) -> None:
        """Drop the TCP connection without a close frame: the client sees code 1006."""
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        """Nothing more will be written; whoever waits for this peer goes on."""
        self._gone = True
        self._queue.clear()
        self._queued_bytes = 0
        self._running.set()
        self._wake.set()
        self._writable.set()

    def pause(self) -> None:
        """Say nothing and hear nothing, not even pings, while the connection stays open; what is sent is lost."""
        self._running.clear()

    def resume(self) -> None:
        """End a pause."""
        self._running.set()

    async def _write(self, ws: web.WebSocketResponse, on_sent: Callable[[Peer, bytes, bool], None] | None) -> None:
        """Write the queue out until the connection is gone."""
        while not self._gone:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._running.wait()
                if not self._queue:
                    break
                data, kind = self._queue.popleft()
                self._queued_bytes -= len(data)
                if not self._writable.is_set() and not self._half_full():
                    self._writable.set()
                if on_sent is not None and kind is not WSMsgType.PING:
                    on_sent(self, data, kind is WSMsgType.BINARY)
                try:
                    await ws.send_frame(data, kind)
                except ConnectionError:
                    self._gone = True
                    break
            if self._close is not None and not self._gone:
                code, reason = self._close
                await ws.close(code=code, message=reason)
                return

    async def _read(self, ws: web.WebSocketResponse, protocol: ServerProtocol) -> None:
        """Hand messages to the protocol until the connection is gone."""
        while True:
            message = await ws.receive()
            if message.type in _READ_ENDS:
                return
            await self._running.wait()
            if self._gone:
                return
            if message.type is WSMsgType.PING:
                with suppress(ConnectionError):
                    await ws.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self.pongs += 1
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                protocol.received(self, message.data)


class LoopbackServer:
    """
    Serves a protocol until the block is left: `async with LoopbackServer(protocol) as server: server.url`.

    Args:
        protocol: What is served.
        host: Address to listen on; anything but loopback is for those who know why.
        port: 0 picks a free one.
        ws_paths: Paths at which a WebSocket may be opened.
        ssl_context: Serve TLS with it.
        frame_bytes_max: A client that sends a larger message is closed with 1009.
        body_bytes_max: A larger request body is answered with 413.
        queue_frames_max, queue_bytes_max: A client with more waiting for it is cut off.
        connections_max: WebSockets at once; more are answered with 503.
        allowed_origins: Further hosts whose pages may connect; those of loopback may, others get 403.
        on_sent: Told of every message as it is written: peer, payload, whether binary.
    """

    def __init__(
        self,
        protocol: ServerProtocol,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ws_paths: Collection[str] = ("/ws",),
        ssl_context: ssl.SSLContext | None = None,
        frame_bytes_max: int = 1 << 20,
        body_bytes_max: int = 1 << 20,
        queue_frames_max: int = 50_000,
        queue_bytes_max: int = 32 << 20,
        connections_max: int = 512,
        allowed_origins: Collection[str] = (),
        on_sent: Callable[[Peer, bytes, bool], None] | None = None,
    ) -> None:
        self._protocol = protocol
        self._host = host
        self._port = port
        self._ws_paths = frozenset(ws_paths)
        self._ssl_context = ssl_context
        self._frame_bytes_max = frame_bytes_max
        self._body_bytes_max = body_bytes_max
        self._queue_frames_max = queue_frames_max
        self._queue_bytes_max = queue_bytes_max
        self._connections_max = connections_max
        self._origins = _LOOPBACK_NAMES | frozenset(allowed_origins)
        self._on_sent = on_sent
        self._count = 0
        self._runner: web.AppRunner | None = None
        #: Open WebSockets, in the order they came.
        self.peers: list[Peer] = []

    async def __aenter__(self) -> LoopbackServer:
        app = web.Application(client_max_size=self._body_bytes_max)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._ssl_context)
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for peer in list(self.peers):
            peer.abort()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def url(self) -> str:
        """Base URL for REST, without a slash at the end."""
        return f"{'http' if self._ssl_context is None else 'https'}://{self._host}:{self._port}"

    @property
    def ws_base_url(self) -> str:
        """What WebSocket paths are appended to, without a slash at the end."""
        return f"{'ws' if self._ssl_context is None else 'wss'}://{self._host}:{self._port}"

    @property
    def ws_url(self) -> str:
        """URL of the first WebSocket path, in order of the alphabet."""
        return f"{self.ws_base_url}{min(self._ws_paths, default='/')}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).hostname not in self._origins:
            return web.Response(status=403, text="foreign Origin")
        if request.path in self._ws_paths and request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        answer = await self._protocol.request(
            RestRequest(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                content_type=request.headers.get("Content-Type", ""),
                body=await request.read(),
                remote=request.remote or "",
            )
        )
        return _response(answer)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if len(self.peers) >= self._connections_max:
            return web.Response(status=503, text="too many connections")
        peer = Peer(
            self._count,
            request.remote or "",
            request.path,
            frames_max=self._queue_frames_max,
            bytes_max=self._queue_bytes_max,
            query=request.query_string,
        )
        refusal = self._protocol.connected(peer)
        if refusal is not None:
            return _response(refusal)
        self._count += 1
        # Pings are answered by `Peer`, which can be paused. Real venues send uncompressed frames.
        ws = web.WebSocketResponse(timeout=2.0, autoping=False, compress=False, max_msg_size=self._frame_bytes_max)
        self.peers.append(peer)
        try:
            await ws.prepare(request)
            transport = request.transport
            peer._transport = transport if isinstance(transport, asyncio.Transport) else None
            if peer._gone or peer._transport is None:
                peer.abort()
                return ws
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(peer._write(ws, self._on_sent))
                await peer._read(ws, self._protocol)
                # A close of our own is still on its way to its end in the writer.
                if peer._close is None:
                    writer.cancel()
        finally:
            # Not aborted: the last bytes may still be on their way, a close frame among them.
            peer._forget()
            self.peers.remove(peer)
            self._protocol.disconnected(peer, ws.close_code)
        return ws


def _response(answer: RestResponse) -> web.Response:
    return web.Response(
        status=answer.status, body=answer.body, content_type=answer.content_type, headers=dict(answer.headers)
    )
