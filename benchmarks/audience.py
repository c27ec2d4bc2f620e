"""
The two other sides of the `serving` benchmark, each in a process of its own.

`python -m benchmarks.audience listen WS_URL COUNT FRAMES SUBSCRIBE SKIP`: COUNT clients that do nothing but note when each frame
arrived; FRAMES is a numpy file with the times and the sizes of frames. Prints `ready` when every one has been answered; then takes a line of JSON with the pace of the tape (or `null`),
and prints what it found as JSON: frames, seconds, and how late they were (ns) at several percentiles.

`python -m benchmarks.audience bare FRAMES`: a bare `websockets` server that sends the frames of a file to each client
that says something, as fast as they are taken.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.frame_server import offsets

__all__ = ["main"]

_PERCENTILES: Final = (50, 99, 99.9, 100)


class Listener(asyncio.Protocol):
    """
    One client. It looks at no more than the first frames, which answer what it said; of the rest it counts the bytes, so that
    what is measured is the server.

    Attributes:
        arrivals: Bytes received so far, and when, for each piece that arrived.
    """

    def __init__(self, request: bytes, subscribe: bytes, skip: int, total: int) -> None:
        self._request = request
        self._subscribe = subscribe
        self._left_to_skip = skip
        self._total = total
        self._rest = b""
        self._has_shaken_hands = False
        self._count = 0
        self.arrivals: list[tuple[int, int]] = []
        loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._left_to_skip or not self._has_shaken_hands:
            data = self._begin(self._rest + data)
        if data:
            self._count += len(data)
            self.arrivals.append((self._count, now))
            if self._count >= self._total and not self.done.done():
                self.done.set_result(None)

    def _begin(self, data: bytes) -> bytes:
        """Read the handshake and the answers; what follows them."""
        if not self._has_shaken_hands:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return b""
            self._has_shaken_hands = True
            size = len(self._subscribe)
            length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)
            self._transport.write(b"\x81" + length + bytes(4) + self._subscribe)
        while self._left_to_skip and len(data) >= 4:
            size, at = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4]), 4)
            if len(data) < at + size:
                break
            data = data[at + size :]
            self._left_to_skip -= 1
            if not self._left_to_skip:
                self.answered.set_result(None)
        self._rest = data if self._left_to_skip else b""
        return b"" if self._left_to_skip else data

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.answered, self.done):
            if not future.done():
                future.set_exception(ConnectionError(f"closed after {self._count:,} of {self._total:,} bytes"))


async def _listen(url: str, count: int, times: Any, ends: Any, subscribe: bytes, skip: int) -> None:
    parts = urlsplit(url)
    key = base64.b64encode(os.urandom(16)).decode()
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    request = (
        f"GET {path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    assert parts.hostname is not None, "the server says where it listens"
    assert parts.port is not None, "and on which port"
    listeners = []
    for _ in range(count):
        _, listener = await loop.create_connection(
            lambda: Listener(request, subscribe, skip, int(ends[-1])), parts.hostname, parts.port
        )
        listeners.append(listener)
    if skip:
        await asyncio.gather(*(listener.answered for listener in listeners))
    print("ready", flush=True)
    await asyncio.gather(*(listener.done for listener in listeners))
    pace = json.loads(await asyncio.to_thread(sys.stdin.readline))
    spans = [listener.arrivals[-1][1] - listener.arrivals[0][1] for listener in listeners]
    found: dict[str, Any] = {"frames": count * len(times), "seconds": max(1, *spans) / 1e9}
    if pace is not None:
        due = times - pace["tape_ns"] + pace["mono_ns"]
        late = np.concatenate([_arrived(listener.arrivals, ends) - due for listener in listeners])
        found["late_ns"] = {str(each): int(np.percentile(late, each)) for each in _PERCENTILES}
    print(json.dumps(found), flush=True)


def _arrived(arrivals: Sequence[tuple[int, int]], ends: Any) -> Any:
    """When the last byte of each frame arrived."""
    counts, stamps = (np.array(column, np.int64) for column in zip(*arrivals, strict=True))
    return stamps[np.searchsorted(counts, ends)]


async def _serve_bare(payloads: list[bytes]) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        for payload in payloads:
            await connection.send(payload, text=True)
        await connection.wait_closed()

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"url": f"ws://127.0.0.1:{port}/"}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def main(argv: Sequence[str]) -> None:
    """Be what the first argument says."""
    if argv[0] == "bare":
        content = Path(argv[1]).read_bytes()
        places = offsets(content)
        heads = [2 if content[at + 1] < 126 else 4 if content[at + 1] == 126 else 10 for at in places[:-1]]
        payloads = [content[at + head : end] for at, head, end in zip(places[:-1], heads, places[1:], strict=True)]
        asyncio.run(_serve_bare(payloads))
        return
    url, count, frames, subscribe, skip = argv[1:]
    times, sizes = np.load(frames)
    asyncio.run(_listen(url, int(count), times, np.cumsum(sizes), subscribe.encode(), int(skip)))


if __name__ == "__main__":
    main(sys.argv[1:])
