"""A TCP proxy on loopback that can be as bad as a network: it refuses, resets, stalls, throttles and answers itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from tests.deadlines import HANG_S

T = TypeVar("T")

#: What a connection is here: the writer to the client and the one to the venue.
Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]

CHUNK = 16_384
#: Close with a reset (RST), not with a goodbye (FIN).
RESET = struct.pack("ii", 1, 0)


class FaultProxy:
    """
    Passes connections on to a port of loopback. Its methods may be called from any thread.

    Attributes:
        port: Where it listens, and goes on listening after `accept`.
        connection_count: Connections that came in.
        byte_count: Bytes passed on, both ways.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._pairs: list[Pair] = []
        self._to_cut: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._answer: bytes | None = None
        self._answers_upgrades_only = False
        self._rate: float | None = None
        self._is_flooding = False
        self._refused: tuple[bytes, ...] = ()
        self.port = 0
        self.connection_count = 0
        self.byte_count = 0

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._flowing.set()
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run(self._shut)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- faults ------------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Listen (again)."""
        self._run(self._listen)

    def refuse(self) -> None:
        """Refuse new connections; those that are open go on."""
        self._run(self._unlisten)

    def reset(self) -> None:
        """Reset every connection."""
        self._run(self._reset)

    def reset_mid_frame(self) -> None:
        """Pass on half of the next chunk from the venue, then reset its connection; once for each that is open now."""
        self._run(self._cut_next)

    def stall(self) -> None:
        """Keep connections open and pass nothing on, not even the end of one."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """End a stall."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def throttle(self, bytes_per_s: float | None) -> None:
        """Pass on at most so many bytes of each connection; None: all."""
        self._rate = bytes_per_s

    def answer(self, status: str | None, headers: str = "", *, upgrades_only: bool = False) -> None:
        """Answer requests (or WebSocket handshakes only) with this HTTP status, such as `429 Too Many Requests`."""
        self._answers_upgrades_only = upgrades_only
        if status is None:
            self._answer = None
        else:
            self._answer = f"HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n".encode()

    def flood(self, is_on: bool) -> None:
        """On new WebSockets: send pings as fast as they can be written, and read nothing."""
        self._is_flooding = is_on

    def refuse_requests(self, *words: bytes) -> None:
        """Answer requests that have one of these words in them with HTTP 403."""
        self._refused = words

    @property
    def open_count(self) -> int:
        """Connections that are open."""
        return len(self._pairs)

    # -- in its own thread -------------------------------------------------------------------------------------

    def _run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(HANG_S)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accepted, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _reset(self) -> None:
        for pair in list(self._pairs):
            _abort(pair)

    async def _cut_next(self) -> None:
        self._to_cut.update(near for near, _ in self._pairs)

    async def _shut(self) -> None:
        await self._unlisten()
        await self._reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connection_count += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b""
        answer = self._answer
        if answer is not None:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"upgrade: websocket" in head.lower() or not self._answers_upgrades_only:
                writer.write(answer)
                await writer.drain()
                writer.write_eof()
                await reader.read()  # until the client has gone, or its body would reset our answer
                return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pair = (writer, far_writer)
        self._pairs.append(pair)
        far_writer.write(head)
        try:
            if self._is_flooding:
                head = await reader.readuntil(b"\r\n\r\n")
                far_writer.write(head)
                if b"upgrade: websocket" in head.lower():
                    writer.write(await far_reader.readuntil(b"\r\n\r\n"))
                    await _flood(writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, pair))
                group.create_task(self._pump(far_reader, writer, pair))
        finally:
            self._pairs.remove(pair)
            self._to_cut.discard(writer)
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: Pair) -> None:
        """Pass on in one direction until its end."""
        try:
            while chunk := await reader.read(CHUNK):
                await self._flowing.wait()
                if writer is pair[1] and any(word in chunk for word in self._refused):
                    pair[0].write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                    continue
                if writer in self._to_cut and len(chunk) > 1:
                    writer.write(chunk[: len(chunk) // 2])
                    _abort(pair)
                    return
                writer.write(chunk)
                self.byte_count += len(chunk)
                await writer.drain()
                rate = self._rate
                if rate is not None:
                    await asyncio.sleep(len(chunk) / rate)
            await self._flowing.wait()
            writer.write_eof()
        except OSError:
            _abort(pair)


async def _flood(writer: asyncio.StreamWriter) -> None:
    """Pings until the other end has gone."""
    pings = (b"\x89\x7d" + b"x" * 125) * 500
    while not writer.transport.is_closing():
        writer.write(pings)
        await writer.drain()
        await asyncio.sleep(0)


def _abort(pair: Pair) -> None:
    for writer in pair:
        handle: socket.socket | None = writer.get_extra_info("socket")
        if handle is not None:
            with contextlib.suppress(OSError):
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
