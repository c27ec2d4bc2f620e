"""
A server for loopback: WebSocket and REST on one port, around a protocol that knows no sockets.

What is served is a `ServerProtocol`: plain methods that are notified of connections, frames and requests and answer
through a `Peer`. A client that reads too slowly is cut off, never waited for; frames, bodies and connections are limited,
those too that never ask for anything; a web page from elsewhere is refused by its Origin, and by its Host where it has
rebound a name of its own to this machine.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from aiohttp import ClientPayloadError, WSCloseCode, WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError

from toolkit.transport.hosts import HostList, url_host

__all__ = ["LoopbackServer", "Peer", "RestRequest", "RestResponse", "ServerProtocol", "framed_texts"]

_NOT_ADDRESSED = "foreign Origin or Host: this server answers to names that it was given; --allow-host adds one\n"
_READ_ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})
#: A connection that has not asked for anything by then is ended, seconds; so is one that asks for nothing more.
_IDLE_S_MAX = 30.0
#: How long a client has to take a close frame and to answer it, seconds.
_CLOSE_S_MAX = 5.0
#: How long a client that goes on asking may leave unread what it was answered, seconds, and how often that is looked at.
_UNREAD_S_MAX = 10.0
_LOOK_S = 0.02
#: Bytes of the reason in a close frame, by RFC 6455.
_REASON_BYTES_MAX = 123


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


def _is_news(record: logging.LogRecord) -> bool:
    """Whether the library's log says more than that a client does not speak HTTP, which gets an answer that says so."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | ClientPayloadError | web.RequestPayloadError | ConnectionError)


_log = logging.getLogger("tickdeck.server")
_log.addFilter(_is_news)


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
        slow: Whether it was cut off because it did not read.
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

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the client has not taken yet, less what the system holds."""
        transport = self._transport
        written = transport.get_write_buffer_size() if transport is not None and not self._gone else 0
        return self._queued_bytes + written

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
            self.cut_off()
            return False
        if self._half_full():
            self._writable.clear()
        self._wake.set()
        return True

    def write(self, payloads: Sequence[bytes], framed: bytes | None = None, *, is_bounded: bool = True) -> bool:
        """
        Send text messages at once, all in one write; False if they can no longer arrive.

        For a sender that has many messages, or wants no turn of the loop in between. They are sent after what was
        queued.

        Args:
            payloads: The messages, sent as they are.
            framed: Frames that `framed_texts` makes of them, where they are at hand already, mostly for another peer.
            is_bounded: Cut the client off if more than its limit is unread; otherwise the sender looks to `unsent_bytes`.
        """
        if not self.is_open or not self._running.is_set():
            return False
        transport = self._transport
        if transport is None or self._queue:
            return all(self.send(payload) for payload in payloads)
        transport.write(framed if framed is not None else framed_texts(payloads))
        if is_bounded and transport.get_write_buffer_size() > self._bytes_max:
            self.cut_off()
            return False
        return True

    def cut_off(self) -> None:
        """End the connection of a client that does not read."""
        self.slow = True
        self.abort()

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
            # A reason that is too long would make the frame one that clients refuse.
            cut = reason.encode(errors="replace")[:_REASON_BYTES_MAX].decode(errors="ignore")
            self._close = (code, cut.encode())
            self._running.set()
            self._wake.set()

    def abort(self) -> None:
        """Drop the TCP connection without a close frame: the client sees code 1006."""
        self._forget()
        if self._transport is not None:
            self._transport.abort()

    def _forget(self) -> None:
        """Nothing more will be written; what waits for this peer continues."""
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
                try:
                    async with asyncio.timeout(_CLOSE_S_MAX):
                        await ws.close(code=code, message=reason)
                except (TimeoutError, ConnectionError):
                    self.abort()  # it does not even take the close frame
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
                try:
                    async with asyncio.timeout(_UNREAD_S_MAX):
                        await ws.pong(message.data)
                except TimeoutError:
                    self.cut_off()
                except ConnectionError:
                    pass
            elif message.type is WSMsgType.PONG:
                self.pongs += 1
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                protocol.received(self, message.data)
                await self._until_read()

    async def _until_read(self) -> None:
        """Listen to a client no further while it leaves unread what it asked for; for so long, it is cut off."""
        for _ in range(round(_UNREAD_S_MAX / _LOOK_S)):
            if self._gone or self.unsent_bytes <= self._bytes_max:
                return
            await asyncio.sleep(_LOOK_S)
        self.cut_off()


class LoopbackServer:
    """
    Serves a protocol until the block is left: `async with LoopbackServer(protocol) as server: server.url`.

    Args:
        protocol: Application to serve.
        host: Address to listen on; anything but loopback is for those who know why.
        port: 0 picks a free one.
        ws_paths: Paths at which a WebSocket may be opened, or what tells them.
        ssl_context: Serve TLS with it.
        frame_bytes_max: A client that sends a larger message is closed with 1009.
        body_bytes_max: A larger request body is answered with 413.
        queue_frames_max, queue_bytes_max: A client with more waiting for it is cut off.
        connections_max: WebSockets at once; more are answered with 503. As many connections beside them may be open.
        allowed_origins: Further hosts whose pages may connect; those that the server answers to may, others get 403.
        allowed_hosts: Further names that the server answers to, in Host and Origin; it does to `localhost`, to what it
            listens on, to this machine's name if that is no loopback address, and to the address that was connected to.
        on_sent: Called with every message as it is written: peer, payload, whether binary.
    """

    def __init__(
        self,
        protocol: ServerProtocol,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ws_paths: Collection[str] | Callable[[str], bool] = ("/ws",),
        ssl_context: ssl.SSLContext | None = None,
        frame_bytes_max: int = 1 << 20,
        body_bytes_max: int = 1 << 20,
        queue_frames_max: int = 50_000,
        queue_bytes_max: int = 32 << 20,
        connections_max: int = 256,
        idle_s_max: float = _IDLE_S_MAX,
        allowed_origins: Collection[str] = (),
        allowed_hosts: Collection[str] = (),
        on_sent: Callable[[Peer, bytes, bool], None] | None = None,
    ) -> None:
        self._protocol = protocol
        self._host = self._shown_host = host
        self._port = port
        self._ws_paths = sorted(ws_paths) if not callable(ws_paths) else []
        self._is_ws_path = ws_paths if callable(ws_paths) else frozenset(ws_paths).__contains__
        self._ssl_context = ssl_context
        self._frame_bytes_max = frame_bytes_max
        self._body_bytes_max = body_bytes_max
        self._queue_frames_max = queue_frames_max
        self._queue_bytes_max = queue_bytes_max
        self._connections_max = connections_max
        self._idle_s_max = idle_s_max
        self._listener: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None
        #: When each connection was last active, by the loop's clock; those that carry a WebSocket are not in it.
        self._last_seen: dict[asyncio.BaseProtocol, float] = {}
        self._living: set[asyncio.BaseProtocol] = set()
        self._busy: set[asyncio.BaseProtocol] = set()
        #: The names that this server answers to.
        self.hosts = HostList(host, allowed_hosts)
        self._origins = HostList("127.0.0.1", allowed_origins)
        self._on_sent = on_sent
        self._count = 0
        self._runner: web.AppRunner | None = None
        #: Open WebSockets, in the order they came.
        self.peers: list[Peer] = []

    async def __aenter__(self) -> LoopbackServer:
        app = web.Application(client_max_size=self._body_bytes_max)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None, logger=_log, shutdown_timeout=1.0)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._make_handler, self._host, self._port, ssl=self._ssl_context, reuse_address=True
            )
        except OSError:
            await self._runner.cleanup()
            raise
        except UnicodeError:
            await self._runner.cleanup()
            raise OSError(errno.EINVAL, "it is no name or address of a host") from None
        # Of a name with several addresses each has a port of its own, where any would do: one of them is reported.
        places = self._listener.sockets
        bound = next((each for each in places if each.family is socket.AF_INET), places[0]).getsockname()
        self._shown_host = self._host if len(places) == 1 or self._port else bound[0]
        self._port = bound[1]
        self._look_later()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        if self._listener is not None:
            self._listener.close()
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
        return f"{'http' if self._ssl_context is None else 'https'}://{url_host(self._shown_host)}:{self._port}"

    @property
    def ws_base_url(self) -> str:
        """What WebSocket paths are appended to, without a slash at the end."""
        return f"{'ws' if self._ssl_context is None else 'wss'}://{url_host(self._shown_host)}:{self._port}"

    @property
    def ws_url(self) -> str:
        """URL of the first WebSocket path, in order of the alphabet."""
        return f"{self.ws_base_url}{self._ws_paths[0] if self._ws_paths else '/'}"

    # Connections -----------------------------------------------------------------------------------------------------

    def _make_handler(self) -> asyncio.BaseProtocol:
        """For each connection that is accepted."""
        assert self._runner is not None, "the server runs"
        assert self._runner.server is not None, "the runner was set up"
        handler = self._runner.server()
        loop = asyncio.get_running_loop()
        self._last_seen[handler] = loop.time()
        if len(self._last_seen) > self._connections_max:
            loop.call_soon(self._look)
        return handler

    def _look_later(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self._idle_s_max / 4, self._look_regularly)

    def _look_regularly(self) -> None:
        self._look()
        self._look_later()

    def _look(self) -> None:
        """End connections that ask for nothing: those of long ago, and the oldest of too many."""
        server = self._runner.server if self._runner is not None else None
        living = set(server.connections) if server is not None else set()
        now = asyncio.get_running_loop().time()
        for handler in [handler for handler in self._last_seen if handler not in living]:
            # Gone; or it was accepted a moment ago and lives from the loop's next turn on.
            if handler in self._living or now - self._last_seen[handler] > self._idle_s_max:
                del self._last_seen[handler]
        self._living = {handler for handler in self._last_seen if handler in living}
        too_many = len(self._last_seen) - self._connections_max
        for handler, seen in list(self._last_seen.items()):
            if handler not in living or handler in self._busy:
                continue
            if now - seen > self._idle_s_max or too_many > 0:
                too_many -= 1
                del self._last_seen[handler]
                transport = getattr(handler, "transport", None)
                if transport is not None:
                    transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        handler = request.protocol
        self._busy.add(handler)
        try:
            return await self._respond(request)
        finally:
            self._busy.discard(handler)
            self._living.add(handler)
            if self._last_seen.pop(handler, None) is not None:
                self._last_seen[handler] = asyncio.get_running_loop().time()

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        if not self._is_addressed(request):
            return web.Response(status=403, text=_NOT_ADDRESSED)
        if self._is_ws_path(request.path) and request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        try:
            async with asyncio.timeout(self._idle_s_max):
                body = await request.read()
        except TimeoutError:
            return web.Response(status=408, text="the body did not come")
        except (HttpProcessingError, ClientPayloadError, web.RequestPayloadError):
            return web.Response(status=400, text="the body is not what its headers say")
        answer = await self._protocol.request(
            RestRequest(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                content_type=request.headers.get("Content-Type", ""),
                body=body,
                remote=request.remote or "",
            )
        )
        return _response(answer)

    def _is_addressed(self, request: web.Request) -> bool:
        """Whether it comes from no web page, or from one that may; and whether it names this server as its host."""
        origin = request.headers.get("Origin")
        place = request.transport.get_extra_info("sockname") if request.transport is not None else None
        reached = place[0] if isinstance(place, tuple) else None
        if origin is not None and not (self.hosts.has_origin(origin, reached) or self._origins.has_origin(origin)):
            return False
        # A page may rebind a name of its own to this machine; its requests to itself then have no Origin.
        return self.hosts.has(request.headers.get("Host"), reached)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        self._last_seen.pop(request.protocol, None)
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


def framed_texts(payloads: Sequence[bytes]) -> bytes:
    """Text messages as a server writes them, one after the other."""
    parts = []
    for payload in payloads:
        parts.append(_text_header(len(payload)))
        parts.append(payload)
    return b"".join(parts)


def _text_header(length: int) -> bytes:
    """The head of a text message that a server sends whole: final, not masked."""
    if length < 126:
        return bytes((0x81, length))
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2)
    return b"\x81\x7f" + length.to_bytes(8)


def _response(answer: RestResponse) -> web.Response:
    # What a browser is given is what it is said to be: text that looks like a page is none.
    headers = {"X-Content-Type-Options": "nosniff", **answer.headers}
    return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type, headers=headers)
