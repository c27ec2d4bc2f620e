"""What the tests of the live side stand on: a tiny venue protocol, loopback servers, and waiting without sleeping."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar, ParamSpec

import msgspec
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.deadlines import HANG_S
from toolkit.clock import NS_PER_S, Clock, ManualClock
from toolkit.errors import ParseError
from toolkit.frames import CONTROL, WS_IN, Frame
from toolkit.live import LiveDataSource
from toolkit.live.capture import Capture
from toolkit.messages import BookSnapshot, FundingInfo, Message
from toolkit.protocol import (
    CloseConnection,
    ConnectionPlan,
    Heartbeat,
    ProtocolOptions,
    Request,
    RestCall,
    SendText,
    VenueProtocol,
)
from toolkit.streams import Stream
from toolkit.venue import VenueLimits

P = ParamSpec("P")

LIMITS = VenueLimits(connections_max=8, connects_per_minute=6000, messages_per_minute=6000, frame_bytes_max=100_000)


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in a loop of its own, and hold that it leaves no task behind."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            async with asyncio.timeout(HANG_S):
                await test(*args, **kwargs)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left behind: {left}"

        asyncio.run(main())

    return run


class Tape:
    """A sink in memory that can be waited on."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def __call__(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.check()

    def check(self) -> None:
        """Wake whoever waited for what is true now."""
        for condition, waiter in self._waiters:
            if not waiter.done() and condition():
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; it is looked at after every frame."""
        if condition():
            return
        waiter = asyncio.get_running_loop().create_future()
        entry = (condition, waiter)
        self._waiters.append(entry)
        try:
            await waiter
        finally:
            self._waiters.remove(entry)

    def payloads(self, kind: str = WS_IN) -> list[bytes]:
        return [frame.payload for frame in self.frames if frame.kind == kind]

    def controls(self, event: str = "") -> list[dict[str, Any]]:
        """What control frames say, without the constant parts; with `event`, of that kind only."""
        said = [msgspec.json.decode(frame.payload) for frame in self.frames if frame.kind == CONTROL]
        return [details for details in said if event in ("", details["event"])]

    async def until_control(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait for the `count`th control frame of that kind."""
        await self.until(lambda: len(self.controls(event)) >= count)
        return self.controls(event)[count - 1]

    async def until_received(self, count: int) -> list[bytes]:
        """Wait for that many received messages."""
        await self.until(lambda: len(self.payloads()) >= count)
        return self.payloads()

    @property
    def story(self) -> list[str]:
        """Kinds of frames in order, control frames by their event."""
        return [
            msgspec.json.decode(frame.payload)["event"] if frame.kind == CONTROL else frame.kind
            for frame in self.frames
        ]


class TinyProtocol(VenueProtocol):
    """
    A venue that sends `{"s": symbol, "bid": price, "ask": price}` and answers `/meta`, `/book/X` and `/funding/X`.

    What it wants is set from outside: `calls`, `plans`, `hello`, `on_frame`.
    """

    venue: ClassVar[str] = "tiny"
    version: ClassVar[int] = 1

    def __init__(self, *roles: str, heartbeat: Heartbeat | None = None, calls: tuple[RestCall, ...] = ()) -> None:
        super().__init__(ProtocolOptions())
        heartbeat = heartbeat or Heartbeat(ping_text=None, interval_s=3600, idle_s_max=7200)
        self.plans = [ConnectionPlan(role=role, heartbeat=heartbeat) for role in roles or ("main",)]
        self.calls = calls
        self.awaited = {call.tag for call in calls}
        self.hello: tuple[bytes, ...] = ()
        self.limit_s = 0.0
        self.sent: list[bytes] = []
        self.on_frame: Callable[[Frame], list[Request]] = lambda frame: []
        self.due_requests: list[Request] = []

    def bootstrap(self) -> list[Request]:
        return list(self.calls)

    @property
    def is_ready(self) -> bool:
        return not self.awaited

    def connections(self) -> list[ConnectionPlan]:
        return self.plans

    def due(self, mono_ns: int) -> list[Request]:
        requests, self.due_requests = self.due_requests, []
        return requests

    def _subscribe(self, frame: Frame, role: str) -> None:
        stream = self.streams.add(Stream("X", "X-USD", "full", limit_ns=round(self.limit_s * NS_PER_S)))
        self.streams.resubscribed(stream, frame)
        self._queue += [SendText(frame.conn_id, text) for text in self.hello]

    def _on_sent(self, frame: Frame) -> None:
        self.sent.append(frame.payload)

    def _on_text(self, frame: Frame) -> list[Message]:
        self._queue += self.on_frame(frame)
        said = msgspec.json.decode(frame.payload)
        if not isinstance(said, dict):
            raise ParseError("expected an object")
        if "s" not in said:
            return []
        messages: list[Message] = []
        self.received(frame, said["s"], "full", messages)
        messages.append(self._book(frame, said, len(messages)))
        return messages

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        if context["status"] != 200:
            return []
        self.awaited.discard(str(context["tag"]))
        said = msgspec.json.decode(frame.payload)
        if str(context["tag"]).startswith("book"):
            return [self._book(frame, said, 0)]
        if str(context["tag"]).startswith("funding"):
            symbol = said["s"]
            return [
                FundingInfo(
                    self.venue,
                    symbol,
                    self.trading_pair(symbol),
                    None,
                    frame.ts_recv,
                    frame.capture_seq,
                    0,
                    funding_rate=said["rate"],
                )
            ]
        return []

    def _book(self, frame: Frame, said: dict[str, Any], sub_seq: int) -> BookSnapshot:
        return BookSnapshot(
            venue=self.venue,
            symbol=said["s"],
            trading_pair=self.trading_pair(said["s"]),
            ts_event=None,
            ts_recv=frame.ts_recv,
            capture_seq=frame.capture_seq,
            sub_seq=sub_seq,
            form="full",
            fused=True,
            depth_cap=None,
            bid_prices=(said["bid"],),
            bid_sizes=(1.0,),
            bid_counts=(),
            ask_prices=(said["ask"],),
            ask_sizes=(1.0,),
            ask_counts=(),
        )

    def snapshot_request(self, symbol: str) -> RestCall | None:
        return RestCall(f"book:{symbol}", "GET", f"/book/{symbol}")

    def funding_request(self, symbol: str) -> RestCall | None:
        return RestCall(f"funding:{symbol}", "GET", f"/funding/{symbol}")

    def trading_pair(self, symbol: str) -> str:
        return f"{symbol}-USD"

    def symbol(self, trading_pair: str) -> str:
        return trading_pair.removesuffix("-USD")

    def _export(self) -> Any:
        return None

    def _import(self, state: Any) -> None:
        pass


def quote(symbol: str = "X", bid: float = 10.0, ask: float = 11.0) -> bytes:
    return msgspec.json.encode({"s": symbol, "bid": bid, "ask": ask})


Handler = Callable[[ServerConnection, int], Awaitable[None]]


@asynccontextmanager
async def ws_venue(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """A WebSocket server on loopback; `handler(connection, n)` serves the nth connection. Yields its URL."""
    count = 0

    async def serve_one(connection: ServerConnection) -> None:
        nonlocal count
        number, count = count, count + 1
        try:
            await handler(connection, number)
        except ConnectionClosed:
            return

    scheme = "wss" if options.get("ssl") else "ws"
    options = {"compression": None, "ping_interval": None, "close_timeout": 1, **options}
    async with serve(serve_one, "127.0.0.1", 0, **options) as server:
        host = "localhost" if scheme == "wss" else "127.0.0.1"
        yield f"{scheme}://{host}:{next(iter(server.sockets)).getsockname()[1]}"


async def listen(connection: ServerConnection, number: int = 0) -> None:
    """Say nothing and wait for the end."""
    await connection.wait_closed()


@asynccontextmanager
async def tcp_venue(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A bare TCP server on loopback, whose handlers have ended when it has. Yields its port."""
    async with asyncio.TaskGroup() as group:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            group.create_task(serve_one(reader, writer))

        async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await handler(reader, writer)
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def rest_venue(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], **options: Any
) -> AsyncIterator[str]:
    """An HTTP server on loopback. Yields its URL."""
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, **options)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        yield f"{'https' if options.get('ssl_context') else 'http'}://{'localhost' if options else '127.0.0.1'}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def unused_port() -> AsyncIterator[int]:
    """A port of loopback that refuses connections: bound, so that nobody else takes it, but not listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def live_source(
    protocol: VenueProtocol,
    tape: Tape,
    *,
    ws_url: str = "ws://127.0.0.1:9",
    rest_url: str = "http://127.0.0.1:9",
    clock: Clock | None = None,
    capture: Capture | None = None,
    **options: Any,
) -> LiveDataSource:
    """A live source over a tape, with a fixed seed and short timeouts."""
    options = {"limits": LIMITS, "backoff_seed": 1, "backoff_s_max": 0.02, "close_timeout_s": 1.0, **options}
    capture = capture or Capture(sink=tape, clock=clock)
    return LiveDataSource(protocol, ws_url=ws_url, rest_url=rest_url, capture=capture, **options)


async def advance_until(clock: ManualClock, condition: Callable[[], bool], step_s: float = 1.0) -> None:
    """Move a manual clock step by step, giving the loop its turns in between, until the condition holds."""
    while True:
        for _ in range(5):
            await asyncio.sleep(0)
        if condition():
            return
        clock.advance(round(step_s * NS_PER_S))


def close_request(conn_id: int, reason: str) -> CloseConnection:
    return CloseConnection(conn_id, reason)
