"""
`peers`: other systems at the same job, on the same frames, in the same run, and the ratio.

What cannot be installed or does not run is left out, with a line that says so.
"""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Final

from benchmarks import backtesting_peers, fast_peers
from benchmarks.captures import BINANCE, Capture, book_frames, write_collector
from benchmarks.harness import Figure, Options, leave_out, measure
from benchmarks.peer_environments import peer_environment, peer_job
from benchmarks.replaying import BestReader
from recordings.importing.capture_files import CaptureFile
from recordings.importing.importer import ImportOptions, import_capture
from replay.source import ReplayDataSource
from toolkit.errors import TickdeckError
from toolkit.frames import WS_IN, Frame
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue, venues

__all__ = ["run"]

#: What is installed. What one of them needs must not keep out another, so each has an environment of its own.
PACKAGES: Final = ("hftbacktest", "nautilus_trader", "cryptofeed")
_FUTURES_JOBS: Final = [("hftbacktest", "hftbacktest-futures-convert"), ("cryptofeed", "cryptofeed-convert")]
#: Slow ones need seconds for so many frames as it is.
_FRAMES_MAX: Final = 50_000


def run(options: Options) -> list[Figure]:
    """Compare."""
    capture = book_frames(options)
    count = min(options.frames, _FRAMES_MAX)
    books = write_collector(capture, count, options.folder / f"peers-{count}.gz")
    peers = {package: peer_environment(package) for package in PACKAGES}
    futures = options.capture(BINANCE)
    futures_venue = next((name for name in venues() if "binance" in name and "usd" in name), None)
    if not any(peers.values()):
        return []
    converting = [("hftbacktest", "hftbacktest-convert"), ("nautilus_trader", "nautilus-convert")]
    replaying = [("hftbacktest", "hftbacktest-replay"), ("nautilus_trader", "nautilus-replay")]
    figures = _compare(options, capture, books, "hyperliquid", peers, converting)
    figures += _replays(options, books, peers, replaying)
    if futures is not None and futures_venue is not None:
        origin = Capture(origin="USD-M BTCUSDT, 2024-08-08", frames=[])
        try:
            figures += _compare(options, origin, futures, futures_venue, peers, _FUTURES_JOBS)
        except TickdeckError as exc:
            leave_out(f"  peers: {futures_venue} is left out: {exc}")
    elif peers["cryptofeed"]:
        leave_out("  peers: cryptofeed is left out: it has no Hyperliquid, and there is no capture of Binance here")
    return figures + backtesting_peers.compared(options, "peers") + fast_peers.compared(options, "peers")


def _compare(
    options: Options,
    capture: Capture,
    path: Path,
    venue: str,
    peers: dict[str, Path | None],
    jobs: list[tuple[str, str]],
) -> list[Figure]:
    """Frames to normalized: ours to disk and ours in memory, theirs in memory."""
    folder = options.folder / "peers-import"

    def to_disk() -> int:
        shutil.rmtree(folder, ignore_errors=True)
        manifest = import_capture([path], folder, ImportOptions(venue=venue, line_format="collector"))
        return sum(segment.frame_count for segment in manifest.segments)

    lines = [(line.ts_recv or 0, line.payload) for line in CaptureFile(path, "collector")]

    def in_memory() -> int:
        receive = find_venue(venue).make_protocol(ProtocolOptions()).receive
        for number, (ts_recv, payload) in enumerate(lines):
            receive(Frame(number, ts_recv, ts_recv, venue, 0, 0, WS_IN, payload))
        return len(lines)

    timing, count = measure(to_disk, options.repeats)
    ours_on_disk = count / timing.wall
    timing, count = measure(in_memory, options.repeats)
    ours = count / timing.wall
    figures = [
        _figure(f"{venue}: tickdeck import, raw and normalized on disk", ours_on_disk, "frames/s", capture.origin),
        _figure(f"{venue}: tickdeck protocol alone, in memory", ours, "frames/s", f"{count:,} frames"),
    ]
    for package, job in jobs:
        figures += _theirs(options, package, peers[package], job, path, "frames/s", ours, ours_on_disk)
    return figures


def _replays(options: Options, path: Path, peers: dict[str, Path | None], jobs: list[tuple[str, str]]) -> list[Figure]:
    folder = options.folder / "peers-replay"
    shutil.rmtree(folder, ignore_errors=True)
    import_capture([path], folder, ImportOptions(venue="hyperliquid", line_format="collector"))

    def ours() -> int:
        source = ReplayDataSource(folder)
        reader = BestReader(source)
        source.set_message_callback(reader)
        source.play()
        return reader.count

    timing, count = measure(ours, options.repeats)
    rate = count / timing.wall
    note = f"{count:,} books of 40 levels, read from disk"
    figures = [_figure("tickdeck replay, callback reads best bid and ask", rate, "messages/s", note)]
    for package, job in jobs:
        figures += _theirs(options, package, peers[package], job, path, "callbacks/s", rate, None)
    return figures


def _theirs(
    options: Options,
    package: str,
    python: Path | None,
    job: str,
    path: Path,
    unit: str,
    ours: float,
    ours_on_disk: float | None,
) -> list[Figure]:
    if python is None:
        return []
    result = peer_job(python, job, path, options.repeats)
    if result is None:
        return []
    rate = result["count"] / statistics.median(result["seconds"])
    ratio = f"tickdeck {ours / rate:.2f} times" + (f", to disk {ours_on_disk / rate:.2f} times" if ours_on_disk else "")
    what = "convert, in memory" if job.endswith("convert") else "replay, data already in memory"
    return [_figure(f"{package} {result['version']}: {what}", rate, unit, ratio)]


def _figure(name: str, value: float, unit: str, note: str = "") -> Figure:
    return Figure(bench="peers", name=name, value=value, unit=unit, note=note)
