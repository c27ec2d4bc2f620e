"""`import`: capture files to a recording, raw and normalized, sealed segment by segment in the background."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.captures import (
    Capture,
    book_frames,
    busy_frames,
    write_archive,
    write_busy,
    write_mixed,
    write_symbols,
)
from benchmarks.harness import Figure, Options, leave_out, measure
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.format.manifest import Manifest, read_manifest
from recordings.format.parquet_options import FAST
from recordings.importing.importer import ImportOptions, import_capture

__all__ = ["imported", "run"]

#: Small enough that several segments are sealed while the next is collected, as in a long import.
_SEGMENTS = 6
_SYMBOLS = (1, 3, 100, 300)
#: To begin another process takes most of a second, which is little of a longer tape alone.
_LONGER = 5
_SHOWN = 100_000


def run(options: Options) -> list[Figure]:
    """Measure importing."""
    capture = book_frames(options)
    target = options.folder / "import"

    def once() -> Manifest:
        shutil.rmtree(target, ignore_errors=True)
        return _import(options, capture, target)

    timing, manifest = measure(once, options.repeats)
    frames = sum(segment.frame_count for segment in manifest.segments)
    rows = sum(file.rows for segment in manifest.segments for name, file in segment.tables.items() if name != "raw")
    note = f"{capture.origin}, {frames:,} frames in {len(manifest.segments)} segments"
    return [
        Figure(bench="import", name="frames, full depth", value=frames / timing.wall, unit="frames/s", note=note),
        Figure(bench="import", name="normalized rows written", value=rows / timing.wall, unit="rows/s"),
        Figure(
            bench="import",
            name="frames per second of the parsing thread",
            value=frames / timing.thread,
            unit="frames/s",
        ),
        Figure(bench="import", name="processor time over wall time", value=timing.process / timing.wall, unit="cores"),
        *_ways(options, capture),
        *_two_processes(options),
        *_first_on_a_machine(options),
        *_many_symbols(options),
    ]


def _ways(options: Options, capture: Capture) -> list[Figure]:
    """The same frames by compiled code and by the protocol, imported, renormalized and verified: one processor's figures."""
    path = write_archive(capture, options.frames, options.folder / "frames.lz4")
    folder = options.folder / "ways"
    mixed = write_mixed(options.frames, options.folder / "mixed.txt")
    figures: list[Figure] = []

    def note(name: str, frames: int, seconds: float) -> None:
        value = frames / seconds
        figures.append(Figure(bench="import", name=name, value=value, unit="frames/s", note="of one processor"))

    for what, line_format, source in (
        ("all forms mixed", "collector", mixed),
        ("whole books", "archive", path),
    ):
        for way, compiled in (("by the protocol", False), ("by compiled code", True)):
            how = ImportOptions(
                venue="hyperliquid",
                line_format=line_format,
                compression=FAST,
                threads=False,
                compiled=compiled,
                segment_frames=max(options.frames // _SEGMENTS, 1),
            )
            timing, manifest = measure(
                partial(import_capture, [source], folder, how),
                options.repeats,
                before=lambda: shutil.rmtree(folder, ignore_errors=True),
            )
            frames = sum(segment.frame_count for segment in manifest.segments)
            note(f"{what}: {way}", frames, timing.process)
    timing, _ = measure(lambda: renormalize(folder), options.repeats)
    note("whole books: renormalize", frames, timing.process)
    timing, found = measure(lambda: verify(folder), options.repeats)
    note("whole books: verify", found.frame_count, timing.process)
    shared, _ = measure(lambda: verify(folder, jobs=2), options.repeats)
    figures.append(
        Figure(
            bench="import",
            name="whole books: verify by two processes over one, wall time",
            value=timing.wall / shared.wall,
            unit="times",
            note="two processors that have nothing else to do are needed",
        )
    )
    return figures


def _two_processes(options: Options) -> list[Figure]:
    """How many times as fast two processes are as one with its threads: importing a file, and two, and renormalizing."""
    count = _LONGER * options.frames
    if count < _SHOWN:
        leave_out(f"  import: two processes are left out, which fewer than {_SHOWN:,} frames say nothing of")
        return []
    venue, _, frames = busy_frames(options)
    paths = [options.folder / f"busy-{number}.txt" for number in range(2)]
    for number, path in enumerate(paths):
        write_busy(venue, frames, count // 2, path, first_lap=number * (count // 2 // len(frames) + 1))
    figures = []

    def note(name: str, walls: Sequence[float]) -> None:
        one, two = walls
        note = f"{count:,} frames; three processors that have nothing else to do are needed"
        figures.append(Figure(bench="import", name=name, value=one / two, unit="times", note=note))

    folder = options.folder / "processes"

    def imported_by(jobs: int, several: Sequence[Path]) -> float:
        how = ImportOptions(
            venue=venue,
            line_format="collector",
            compression=FAST,
            jobs=jobs,
            segment_frames=max(count // (2 * _SEGMENTS), 1),
        )
        timing, _ = measure(
            partial(import_capture, several, folder, how),
            options.repeats,
            before=lambda: shutil.rmtree(folder, ignore_errors=True),
        )
        return timing.wall

    for name, several in (("one file", paths[:1]), ("two files", paths)):
        note(f"busy market, {name}: by two processes over one, wall time", [imported_by(j, several) for j in (1, 2)])
    walls = [measure(partial(renormalize, folder, jobs=jobs), options.repeats)[0].wall for jobs in (1, 2)]
    note("busy market: renormalize by two processes over one, wall time", walls)
    return figures


def _first_on_a_machine(options: Options) -> list[Figure]:
    """An import where nothing is compiled yet: it does not wait for that, nor for what it cannot use any more."""
    path, count = options.folder / "first.gz", min(options.frames, 100_000)
    if write_symbols(options, 1, path, has_snapshots=True, count=count) is None:
        leave_out("  import: the first one on a machine is left out, for want of a capture of Binance futures")
        return []
    figures = []
    program = (
        "import sys, time; from pathlib import Path; from recordings.importing.importer import *\n"
        "from recordings.format.parquet_options import FAST\n"
        "how = ImportOptions(venue='binance-usdm', line_format='collector', compression=FAST)\n"
        "began = time.perf_counter(); import_capture([Path(sys.argv[1])], Path(sys.argv[2]), how)\n"
        "print(time.perf_counter() - began)"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        environment = {**os.environ, "TICKDECK_KERNELS": str(Path(scratch, "kernels"))}
        for name in ("the first on a machine", "the next one, which goes on compiling"):
            command = [sys.executable, "-c", program, str(path), str(Path(scratch, name.replace(" ", "-")))]
            said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            note = "wall time; compiling takes the second processor meanwhile"
            figures.append(
                Figure(bench="import", name=f"USD-M: {name}", value=count / float(said), unit="frames/s", note=note)
            )
    return figures


def _many_symbols(options: Options) -> list[Figure]:
    """Frames a second of processor time where symbols take turns, and of verifying what was imported."""
    figures: list[Figure] = []
    folder, path = options.folder / "symbols", options.folder / "symbols.gz"
    how = ImportOptions(venue="binance-usdm", line_format="collector", compression=FAST, threads=False, compiled=True)
    for symbols in _SYMBOLS:
        for has_snapshots in (False, True):
            if (
                write_symbols(options, symbols, path, has_snapshots=has_snapshots, count=min(options.frames, 94_000))
                is None
            ):
                leave_out("  import: symbols in turns are left out, for want of a capture of Binance futures")
                return figures
            timing, manifest = measure(
                lambda: import_capture([path], folder, how),
                options.repeats,
                before=lambda: shutil.rmtree(folder, ignore_errors=True),
            )
            frames = sum(segment.frame_count for segment in manifest.segments)
            name = f"USD-M, {symbols} symbols, {'a snapshot of each' if has_snapshots else 'no snapshot'}"
            figures.append(
                Figure(
                    bench="import", name=name, value=frames / timing.process, unit="frames/s", note="of one processor"
                )
            )
        timing, found = measure(lambda: verify(folder), options.repeats)
        name = f"USD-M, {symbols} symbols: verify"
        figures.append(
            Figure(
                bench="import",
                name=name,
                value=found.frame_count / timing.process,
                unit="frames/s",
                note="of one processor",
            )
        )
    return figures


def imported(options: Options) -> tuple[Capture, Path]:
    """The recording of the frames, made once per run."""
    capture = book_frames(options)
    folder = options.folder / "recording"
    if not folder.exists():
        _import(options, capture, folder)
    read_manifest(folder)
    return capture, folder


def _import(options: Options, capture: Capture, folder: Path) -> Manifest:
    path = write_archive(capture, options.frames, options.folder / "frames.lz4")
    how = ImportOptions(venue="hyperliquid", line_format="archive", segment_frames=max(options.frames // _SEGMENTS, 1))
    return import_capture([path], folder, how)
