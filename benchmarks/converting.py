"""
`convert`: a compressed capture of Binance futures to a sealed recording, against another converter in the same run.

From the .gz to Parquet files that are hashed, synced and named in the manifest, with raw frames, normalized rows, books
and digest. The other system converts in memory and writes nothing.
"""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Final

from benchmarks.captures import BINANCE
from benchmarks.harness import Figure, Options, leave_out, measure
from benchmarks.peer_environments import peer_environment, peer_job
from recordings.format.manifest import Manifest
from recordings.format.parquet_options import FAST, SMALL, Compression
from recordings.importing.importer import ImportOptions, import_capture
from toolkit.venue import venues

__all__ = ["run"]

_PEER: Final = "hftbacktest"
_PEER_JOB: Final = "hftbacktest-futures-convert"
#: One run takes half a second, so more of them than usual cost little.
_REPEATS_MIN: Final = 7


def run(options: Options) -> list[Figure]:
    """Measure converting."""
    path = options.capture(BINANCE)
    venue = next((name for name in venues() if "binance" in name and "usd" in name), None)
    if path is None or venue is None:
        leave_out("  convert: left out, for want of a capture of Binance futures")
        return []
    figures = [
        _convert(options, path, venue, "one thread, --compression fast", FAST, threads=False),
        _convert(options, path, venue, "one thread, --compression small", SMALL, threads=False),
        _convert(options, path, venue, "with its threads, --compression fast", FAST, threads=True),
        _convert(options, path, venue, "with its threads, --compression small", SMALL, threads=True),
        _convert(options, path, venue, "one thread, without compiled code", FAST, threads=False, compiled=False),
    ]
    python = peer_environment(_PEER)
    result = peer_job(python, _PEER_JOB, path, max(options.repeats, 1)) if python is not None else None
    if result is not None:
        rate = result["count"] / statistics.median(result["seconds"])
        note = f"the first of ours is {figures[0].value / rate:.2f} times as fast"
        name = f"{_PEER} {result['version']}: convert, in memory"
        figures.append(Figure(bench="convert", name=name, value=rate, unit="frames/s", note=note))
    return figures


def _convert(
    options: Options,
    path: Path,
    venue: str,
    name: str,
    compression: Compression,
    *,
    threads: bool,
    compiled: bool = True,
) -> Figure:
    folder = options.folder / "convert"
    how = ImportOptions(
        venue=venue, line_format="collector", compression=compression, threads=threads, compiled=compiled
    )

    def once() -> Manifest:
        return import_capture([path], folder, how)

    def clear() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    timing, manifest = measure(once, max(options.repeats, _REPEATS_MIN), before=clear)
    frames = sum(segment.frame_count for segment in manifest.segments)
    size = sum(file.bytes for segment in manifest.segments for file in segment.tables.values())
    given = path.stat().st_size
    note = f"{size / given:.2f} times the .gz; {frames / timing.process:,.0f} frames per second of processor time"
    return Figure(bench="convert", name=name, value=frames / timing.wall, unit="frames/s", note=note)
