"""
`sealing`: how long the loop that receives is held up while a segment is sealed in the other process.

The loop receives frames at a steady rate into the journal of the next segment, and wakes every few milliseconds to
see how late it is.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.captures import archive_frames, book_frames, sized_payloads
from benchmarks.frame_server import framed
from benchmarks.harness import ROOT, Figure, Options
from benchmarks.receiver import MuteProtocol
from recordings.format.manifest import Manifest, SourceInfo, write_manifest
from recordings.journal.journal_reader import PENDING_BYTES_MAX, JournalWriter
from recordings.storage.lock import FolderLock
from recordings.writing.sealer_process import SealerProcess
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.digest import DIGEST_VERSION
from toolkit.frames import WS_IN, Frame
from toolkit.live import LiveDataSource
from toolkit.live.capture import Capture
from toolkit.protocol import ProtocolOptions
from toolkit.venue import VenueLimits
from toolkit.venues.hyperliquid import HyperliquidMarketProtocol

__all__ = ["run"]

_TICK_S: Final = 0.005
_RATE: Final = 5_000.0
#: The monotonic clock of a live session counts from some other time than the wall clock.
_MONO_ZERO_NS: Final = 1_700_000_000 * NS_PER_S
#: Frames of the sealed segment: one full book in so many, the rest quotes.
_BOOK_EVERY: Final = 50
_LIMITS: Final = VenueLimits(connections_max=4, connects_per_minute=600, messages_per_minute=600)


def run(options: Options) -> list[Figure]:
    """Measure the lag of the loop."""
    folder = options.folder / "sealing"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    count = options.seal_frames
    size = _closed_journal(options, folder, count)
    with FolderLock(folder) as lock:
        idle, busy, seconds, received = asyncio.run(_measure(options, folder, lock))
    shutil.rmtree(folder)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    note = f"{count:,} frames, {size / 2**20:,.0f} MiB of journal, in {seconds:,.1f} s"
    return [
        Figure(bench="sealing", name="frames sealed", value=count / seconds, unit="frames/s", note=note),
        Figure(
            bench="sealing",
            name="lag of the receiving loop meanwhile, 99.9th percentile",
            value=_percentile(busy, 99.9),
            unit="ms",
            note=f"{len(busy):,} looks, {received / seconds:,.0f} frames/s received",
        ),
        Figure(bench="sealing", name="the same, at most", value=max(busy, default=0.0), unit="ms"),
        Figure(
            bench="sealing",
            name="the same without sealing, 99.9th percentile",
            value=_percentile(idle, 99.9),
            unit="ms",
            note=f"at most {max(idle, default=0.0):,.1f} ms",
        ),
        Figure(bench="sealing", name="memory of the sealing process", value=memory, unit="MiB", note="at its largest"),
    ]


def _percentile(values: list[float], rank: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * rank / 100), len(ordered) - 1)] if ordered else 0.0


def _closed_journal(options: Options, folder: Path, count: int) -> int:
    """The journal of segment 0 as a recorder leaves it, and the manifest beside it."""
    source = SourceInfo("hyperliquid", HyperliquidMarketProtocol.version)
    write_manifest(folder, Manifest(sources=[source], digest_version=DIGEST_VERSION))
    books = archive_frames(book_frames(options), -(-count // _BOOK_EVERY))
    journal = JournalWriter(folder, 0)
    ts_recv = 0
    for number in range(count):
        if number % _BOOK_EVERY == 0:
            ts_recv, payload = next(books)
        else:
            ts_recv += NS_PER_MS
            price = 42_000 + number % 97
            payload = (
                b'{"channel":"bbo","data":{"coin":"ETH","time":%d,"bbo":'
                b'[{"px":"%d.0","sz":"0.5","n":3},{"px":"%d.0","sz":"1.25","n":2}]}}'
                % (ts_recv // NS_PER_MS, price, price + 1)
            )
        journal.append(Frame(number, ts_recv, ts_recv - _MONO_ZERO_NS, source.venue, 0, 0, WS_IN, payload))
        if journal.pending_bytes > PENDING_BYTES_MAX // 2:
            journal.drain()  # frames are made faster than any venue sends them, and than the disk may take them
    journal.close()
    return journal.byte_count


async def _measure(options: Options, folder: Path, lock: FolderLock) -> tuple[list[float], list[float], float, int]:
    _, payloads = sized_payloads(options, 20_000)
    frames = options.folder / "lag.ws"
    frames.write_bytes(b"".join(map(framed, payloads)))
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.frame_server", str(frames), str(1 << 40), str(_RATE)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    port = json.loads(await server.stdout.readline())["port"]
    journal = JournalWriter(folder, 1)
    source = LiveDataSource(
        MuteProtocol(ProtocolOptions()),
        ws_url=f"ws://127.0.0.1:{port}/",
        rest_url=f"http://127.0.0.1:{port}",
        limits=_LIMITS,
        capture=Capture(sink=journal.append, first_seq=options.seal_frames),
        backoff_seed=0,
    )
    sealer = SealerProcess(folder, lock)
    await sealer.start()
    idle: list[float] = []
    busy: list[float] = []
    try:
        async with source, asyncio.TaskGroup() as tasks:
            flusher = tasks.create_task(_flush(journal))
            ticker = tasks.create_task(_tick(idle))
            await asyncio.sleep(min(5.0, options.seconds))
            ticker.cancel()
            before = journal.frame_count
            ticker = tasks.create_task(_tick(busy))
            began = time.perf_counter()
            await sealer.seal(0)
            seconds = time.perf_counter() - began
            ticker.cancel()
            received = journal.frame_count - before
            flusher.cancel()
    finally:
        server.kill()
        await server.wait()
        await sealer.stop()
        journal.close()
    return idle, busy, seconds, received


async def _tick(lags_ms: list[float]) -> None:
    due = time.perf_counter_ns()
    step = round(_TICK_S * NS_PER_S)
    while True:
        due += step
        await asyncio.sleep(max(0.0, (due - time.perf_counter_ns()) / NS_PER_S))
        now = time.perf_counter_ns()
        lags_ms.append(max(0, now - due) / NS_PER_MS)
        due = max(due, now - step)


async def _flush(journal: JournalWriter) -> None:
    while True:
        await asyncio.sleep(0.25)
        journal.flush()
        await asyncio.to_thread(journal.sync)
