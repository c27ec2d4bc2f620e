"""`size`: a recording on disk, raw and normalized, against the compressed capture it was imported from."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from benchmarks.captures import BINANCE, book_frames, write_collector
from benchmarks.harness import Figure, Options, leave_out
from recordings.format.file_names import states_of
from recordings.importing.capture_files import CaptureFile
from recordings.importing.importer import ImportOptions, import_capture
from toolkit.errors import TickdeckError
from toolkit.venue import venues

__all__ = ["run"]


def run(options: Options) -> list[Figure]:
    """Compare sizes."""
    capture = book_frames(options)
    books = write_collector(capture, len(capture.frames), options.folder / "books.gz")
    figures = _compare(options, books, "hyperliquid", capture.origin)
    futures = options.capture(BINANCE)
    venue = next((name for name in venues() if "binance" in name and ("usd" in name or "futures" in name)), None)
    if futures is not None and venue is not None:
        try:
            figures += _compare(options, futures, venue, "USD-M BTCUSDT, 2024-08-08")
        except TickdeckError as exc:
            leave_out(f"  size: {venue} is left out: {exc}")
    return figures


def _compare(options: Options, path: Path, venue: str, origin: str) -> list[Figure]:
    folder = options.folder / f"size-{venue}"
    shutil.rmtree(folder, ignore_errors=True)
    manifest = import_capture([path], folder, ImportOptions(venue=venue, line_format="collector"))
    sizes: dict[str, int] = {}
    for segment in manifest.segments:
        for table, file in segment.tables.items():
            sizes[table] = sizes.get(table, 0) + file.bytes
    states = sum(file.bytes for file in states_of(manifest))
    given, raw, total = path.stat().st_size, sizes["raw"], sum(sizes.values())
    frames_alone = _gzipped_frames(options, path)
    largest = ", ".join(f"{name} {size:,}" for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:4])
    return [
        Figure(bench="size", name=f"{venue}: capture, gzip", value=given, unit="bytes", note=origin),
        Figure(bench="size", name=f"{venue}: its frames alone, gzip", value=frames_alone, unit="bytes"),
        Figure(bench="size", name=f"{venue}: raw table", value=raw, unit="bytes"),
        Figure(bench="size", name=f"{venue}: raw and normalized tables", value=total, unit="bytes", note=largest),
        Figure(
            bench="size",
            name=f"{venue}: states",
            value=states,
            unit="bytes",
            note=f"{states / total:.1%} of the tables",
        ),
        Figure(bench="size", name=f"{venue}: raw and normalized over the capture", value=total / given, unit="times"),
    ]


def _gzipped_frames(options: Options, path: Path) -> int:
    target = options.folder / "alone.gz"
    with gzip.open(target, "wb", compresslevel=6) as file:
        for line in CaptureFile(path, "collector"):
            file.write(line.payload + b"\n")
    return target.stat().st_size
