"""
The receiving side of the `journal` benchmark, in a process of its own: a bare client, or the live source with a journal.

`python -m benchmarks.receiver MODE PORT FOLDER` prints one line of JSON: frames, bytes, seconds, processor time, memory.
Modes: `bare` (the `websockets` client alone), `journal` (live source, every frame to disk), `tee` (the same, with a
client that reads everything it is given and one that hangs), `recording` (`journal` with Hyperliquid's protocol, books
and digest, as `tickdeck record` runs it).
"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from benchmarks.harness import ROOT, pin
from recordings.following.tee import Tee, TeeOptions
from recordings.format.manifest import Manifest
from recordings.journal.journal_reader import JournalWriter, WrittenCallback
from recordings.states.normalizer import Normalizer
from toolkit.frames import WS_IN, Frame
from toolkit.live import LiveDataSource
from toolkit.live.capture import Capture
from toolkit.messages import Message
from toolkit.protocol import ConnectionPlan, Heartbeat, ProtocolOptions, Request, VenueProtocol
from toolkit.transport.connection import FRAMES_BUFFERED
from toolkit.venue import VenueLimits
from toolkit.venues.hyperliquid import HyperliquidMarketProtocol

__all__ = ["MuteProtocol", "main"]

_LIMITS: Final = VenueLimits(connections_max=4, connects_per_minute=600, messages_per_minute=600)
_PLAN: Final = ConnectionPlan(
    role="main", heartbeat=Heartbeat(ping_text=b"{}", interval_s=3600.0, idle_s_max=7200.0), path=""
)
#: As `tickdeck record` has them by default.
_FLUSH_S: Final = 0.25
_SYNC_S: Final = 1.0
_ROTATE_BYTES: Final = 256 << 20


class MuteProtocol(VenueProtocol):
    """Wants one connection and understands nothing: what is left is the way from the socket to the disk."""

    venue: ClassVar[str] = "mute"
    version: ClassVar[int] = 1

    def _on_text(self, frame: Frame) -> list[Message]:
        return []

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        return []

    def _subscribe(self, frame: Frame, role: str) -> None:
        """Everything comes by itself."""

    def bootstrap(self) -> list[Request]:
        return []

    @property
    def is_ready(self) -> bool:
        return True

    def connections(self) -> list[ConnectionPlan]:
        return [_PLAN]

    def trading_pair(self, symbol: str) -> str:
        return symbol

    def symbol(self, trading_pair: str) -> str:
        return trading_pair

    def _export(self) -> Any:
        return None

    def _import(self, state: Any) -> None:
        """There is no state."""


class _Hyperliquid(HyperliquidMarketProtocol):
    """The real protocol without its metadata, which a server that only sends cannot give."""

    def bootstrap(self) -> list[Request]:
        return []

    @property
    def is_ready(self) -> bool:
        return True

    def connections(self) -> list[ConnectionPlan]:
        return [_PLAN]


class _Tape:
    """Journals one after the other, as the recorder keeps them."""

    def __init__(self, folder: Path, on_written: WrittenCallback | None = None) -> None:
        self._folder = folder
        self._on_written = on_written
        self._number = 0
        self.journal = JournalWriter(folder, 0, on_written=on_written)
        self.received = 0
        self.payload_bytes = 0
        self.first_s = 0.0
        self.last_s = 0.0
        self.ended = asyncio.Event()

    def __call__(self, frame: Frame) -> None:
        """The sink: write a frame down."""
        self.journal.append(frame)
        if frame.kind == WS_IN:
            if not self.received:
                self.first_s = time.perf_counter()
            self.received += 1
            self.payload_bytes += len(frame.payload)
        elif self.received and frame.payload.find(b'"disconnected"') > 0:
            self.last_s = time.perf_counter()
            self.ended.set()

    async def flush(self) -> None:
        """Flush regularly, and go on with the next segment when one is full."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            self.journal.flush()
            if self.journal.byte_count >= _ROTATE_BYTES:
                full = self.journal
                self._number += 1
                self.journal = JournalWriter(self._folder, self._number, after=full, on_written=self._on_written)
                await asyncio.to_thread(full.close)

    async def sync(self) -> None:
        """Make what was flushed durable, in another thread."""
        while True:
            await asyncio.sleep(_SYNC_S)
            with suppress(OSError):  # closed meanwhile by a rotation, which syncs it too
                await asyncio.to_thread(self.journal.sync)


async def _bare(port: int) -> dict[str, float]:
    received = size = 0
    url = f"ws://127.0.0.1:{port}/"
    async with connect(url, compression=None, ping_interval=None, max_queue=FRAMES_BUFFERED) as socket:
        message = await socket.recv(decode=False)
        began = time.perf_counter()
        try:
            while True:
                received += 1
                size += len(message)
                message = await socket.recv(decode=False)
        except ConnectionClosed:
            return {"frames": received, "bytes": size, "seconds": time.perf_counter() - began}


@asynccontextmanager
async def _followed(folder: Path) -> AsyncIterator[tuple[Tee, subprocess.Popen[bytes]]]:
    """A tee with two clients, each a process of its own: one reads what it is given, one hangs."""
    async with Tee(folder, Manifest(), TeeOptions(), started_ns=1, next_seq=0) as tee:
        command = [sys.executable, "-m", "benchmarks.tee_reader", tee.url]
        reading, hanging = (subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2))  # noqa: ASYNC220
        try:
            while tee.client_count < 2:  # noqa: ASYNC110  # clients are not announced
                await asyncio.sleep(0.01)
            hanging.send_signal(signal.SIGSTOP)
            yield tee, reading
        finally:
            hanging.kill()
            hanging.communicate()


async def _record_followed(port: int, folder: Path) -> dict[str, float]:
    async with _followed(folder) as (tee, reader):
        result = await _record(port, folder, MuteProtocol(ProtocolOptions()), with_books=False, on_written=tee.written)
        cut = tee.cut_count
    given = json.loads(reader.communicate()[0])
    return result | {"cut": cut, "given": given["frames"], "given_in_order": given["in_order"]}


async def _record(
    port: int,
    folder: Path,
    protocol: VenueProtocol,
    *,
    with_books: bool,
    on_written: WrittenCallback | None = None,
) -> dict[str, float]:
    tape = _Tape(folder, on_written)
    normalizer = Normalizer({protocol.venue: protocol})
    source = LiveDataSource(
        protocol,
        ws_url=f"ws://127.0.0.1:{port}/",
        rest_url=f"http://127.0.0.1:{port}",
        limits=_LIMITS,
        capture=Capture(sink=tape),
        tracker=normalizer.tracker,
        backoff_seed=0,
    )
    if with_books:
        source.dispatcher.add_callback(lambda message: _take(normalizer, message))
    async with asyncio.TaskGroup() as tasks:
        services = [tasks.create_task(tape.flush()), tasks.create_task(tape.sync())]
        async with source:
            await tape.ended.wait()
        for service in services:
            service.cancel()
    tape.journal.close()
    seconds = max(tape.last_s - tape.first_s, 1e-9)
    return {"frames": tape.received, "bytes": tape.payload_bytes, "seconds": seconds}


def _take(normalizer: Normalizer, message: Message) -> None:
    normalizer.take(message)


def main(argv: Sequence[str]) -> int:
    """Receive once."""
    mode, port, folder = argv[0], int(argv[1]), Path(argv[2])
    pin(0)
    thread, process = time.thread_time(), time.process_time()
    if mode == "bare":
        result = asyncio.run(_bare(port))
    elif mode == "journal":
        result = asyncio.run(_record(port, folder, MuteProtocol(ProtocolOptions()), with_books=False))
    elif mode == "tee":
        result = asyncio.run(_record_followed(port, folder))
    elif mode == "recording":
        result = asyncio.run(_record(port, folder, _Hyperliquid(ProtocolOptions()), with_books=True))
    else:
        raise SystemExit(f"unknown mode {mode!r}, expected bare, journal, tee or recording")
    result["thread_s"] = time.thread_time() - thread
    result["process_s"] = time.process_time() - process
    result["memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
