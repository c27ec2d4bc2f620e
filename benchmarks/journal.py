"""
`journal`: frames over a loopback WebSocket to the disk, against the bare client in the same run.

The server is another process on another core, the receiver one process on one core. No frame may be lost, and every
byte of every payload is compared with what was sent.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.captures import book_frames, sized_payloads
from benchmarks.frame_server import framed
from benchmarks.harness import ROOT, Figure, Options, leave_out
from recordings.journal.journal_reader import JournalReader, journal_path, journal_segments
from toolkit.frames import WS_IN

__all__ = ["run"]

#: A rate holds if no frame leaves the server later than this: what is later waits in buffers that grow.
LATE_S_MAX: Final = 0.25
#: Frames of a run without a rate, and the steps of the search.
_BURST: Final = 1_000_000
_SEARCH_STEPS: Final = 5
_SEARCH_S: Final = 3.0
#: The rate that is held for long, and the part of the highest one that it may be at most.
_SUSTAINED: Final = 150_000.0
_SUSTAINED_SHARE: Final = 0.8
#: Journal bytes a frame may take, for the check of free disk.
_FRAME_BYTES: Final = 700


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run of server and receiver."""

    sent: int
    received: int
    seconds: float
    late_s_max: float
    thread_s: float
    process_s: float
    memory_bytes: float
    lost: int
    given: int = 0
    cut: int = 0

    @property
    def rate(self) -> float:
        return self.received / self.seconds

    @property
    def frame_us(self) -> float:
        """Processor time a frame, of all threads."""
        return self.process_s / self.received * 1e6

    @property
    def holds(self) -> bool:
        return self.lost == 0 and self.late_s_max <= LATE_S_MAX


def run(options: Options) -> list[Figure]:
    """Measure receiving and writing."""
    origin, payloads = sized_payloads(options)
    frames = _write_frames(options.folder / "frames.ws", payloads)
    burst = min(_BURST, options.frames * 5)
    bare = _median(options, "bare", frames, payloads, burst)
    ours = _median(options, "journal", frames, payloads, burst)
    mean = sum(map(len, payloads)) / len(payloads)
    note = f"{origin}, {mean:,.0f} bytes a frame, median of {options.repeats}"
    figures = [
        _figure("bare websockets client", bare.rate, "frames/s", note),
        _figure("live source and journal", ours.rate, "frames/s", f"{ours.lost:,} of {ours.sent:,} lost"),
        _figure("live source and journal over the bare client", ours.rate / bare.rate, "times"),
        _figure("processor time a frame", ours.frame_us, "us", f"all threads; the bare client {bare.frame_us:.2f}"),
    ]
    figures += _followed(options, frames, payloads, burst, ours)
    best = _search(options, frames, payloads, ours.rate)
    figures.append(_figure("highest rate held", best, "frames/s", f"no frame lost nor more than {LATE_S_MAX:g} s late"))
    figures += _sustained(options, frames, payloads, min(_SUSTAINED, best * _SUSTAINED_SHARE))
    return figures + _recording(options)


def _followed(options: Options, frames: Path, payloads: list[bytes], count: int, alone: _Run) -> list[Figure]:
    """What followers cost: one that reads on the core of the server, one that hangs."""
    result = _median(options, "tee", frames, payloads, count)
    note = f"{result.lost:,} of {result.sent:,} lost, the one that reads was given {result.given:,}, {result.cut:,} cut off"
    ratio = (result.thread_s / result.received) / (alone.thread_s / alone.received)
    return [
        _figure("the same, followed by one that reads and one that hangs", result.rate, "frames/s", note),
        _figure("processor time a frame of the receiving thread, over without", ratio, "times"),
    ]


def _search(options: Options, frames: Path, payloads: list[bytes], top: float) -> float:
    """Halve the distance between a rate that held and one that did not."""
    low, high = 0.0, top * 1.1
    seconds = min(_SEARCH_S, options.seconds)
    rate = top * 0.9
    for _ in range(_SEARCH_STEPS):
        if _run(options, "journal", frames, payloads, int(rate * seconds), rate).holds:
            low = rate
        else:
            high = rate
        rate = (low + high) / 2
    return low


def _sustained(options: Options, frames: Path, payloads: list[bytes], rate: float) -> list[Figure]:
    if not rate:
        return []
    seconds = options.seconds
    room = shutil.disk_usage(options.folder).free / 2
    if rate * seconds * _FRAME_BYTES > room:
        seconds = room / rate / _FRAME_BYTES
        leave_out(f"  journal: only {seconds:.0f} s, for want of disk")
    result = _run(options, "journal", frames, payloads, int(rate * seconds), rate)
    note = f"{result.sent:,} frames, {result.lost:,} lost, at most {result.late_s_max * 1000:.0f} ms late"
    return [
        _figure(f"held for {seconds:.0f} s", result.rate, "frames/s", note),
        _figure("of one core used meanwhile", result.process_s / result.seconds * 100, "%", "all threads"),
        _figure("memory of the receiving process", result.memory_bytes / 2**20, "MiB", "at its largest"),
    ]


def _recording(options: Options) -> list[Figure]:
    """The whole of recording: parsing, books and digest too."""
    capture = book_frames(options)
    payloads = [payload for _, payload in capture.frames]
    frames = _write_frames(options.folder / "books.ws", payloads)
    count = min(options.frames, 100_000)
    middle = _median(options, "recording", frames, payloads, count)
    note = f"{capture.origin}, 40 levels a frame, {middle.lost:,} of {middle.sent:,} lost"
    return [_figure("journal, protocol, books and digest", middle.rate, "frames/s", note)]


def _median(options: Options, mode: str, frames: Path, payloads: list[bytes], count: int) -> _Run:
    runs = sorted(
        (_run(options, mode, frames, payloads, count) for _ in range(max(options.repeats, 1))),
        key=lambda each: each.rate,
    )
    return runs[len(runs) // 2]


def _figure(name: str, value: float, unit: str, note: str = "") -> Figure:
    return Figure(bench="journal", name=name, value=value, unit=unit, note=note)


def _write_frames(path: Path, payloads: list[bytes]) -> Path:
    path.write_bytes(b"".join(map(framed, payloads)))
    return path


def _run(options: Options, mode: str, frames: Path, payloads: list[bytes], count: int, rate: float = 0.0) -> _Run:
    folder = options.folder / "journal-run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    python = [sys.executable, "-m"]
    with subprocess.Popen(
        [*python, "benchmarks.frame_server", str(frames), str(count), str(rate)], cwd=ROOT, stdout=subprocess.PIPE
    ) as server:
        try:
            assert server.stdout is not None
            port = json.loads(server.stdout.readline())["port"]
            done = subprocess.run(
                [*python, "benchmarks.receiver", mode, str(port), str(folder)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                check=True,
            )
            sent = json.loads(server.stdout.readline())
        finally:
            server.kill()
    received = json.loads(done.stdout)
    lost = count - (received["frames"] if mode == "bare" else _kept(folder, payloads))
    shutil.rmtree(folder)
    return _Run(
        sent=count,
        received=int(received["frames"]),
        seconds=received["seconds"],
        late_s_max=sent["late_s_max"],
        thread_s=received["thread_s"],
        process_s=received["process_s"],
        memory_bytes=received["memory_bytes"],
        lost=lost,
        given=int(received.get("given", 0)) if received.get("given_in_order", True) else -1,
        cut=int(received.get("cut", 0)),
    )


def _kept(folder: Path, payloads: list[bytes]) -> int:
    """Frames in the journals, up to the first that is not the one that was sent."""
    expected = pa.array(payloads, pa.binary())
    kept = 0
    for number in journal_segments(folder):
        reader = JournalReader(journal_path(folder, number))
        for batch in reader.batches():
            found = batch.filter(pc.equal(batch.column("kind"), WS_IN)).column("payload").cast(pa.binary())
            places = pa.array([(kept + index) % len(payloads) for index in range(len(found))], pa.int64())
            if not found.equals(expected.take(places)):
                return kept
            kept += len(found)
        if reader.problem:
            return kept
    return kept
