"""`import`: capture files to a recording, raw and normalized, sealed segment by segment in the background."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.captures import Capture, book_frames, write_archive
from benchmarks.harness import Figure, Options, measure
from recordings.format.manifest import Manifest, read_manifest
from recordings.importing.importer import ImportOptions, import_capture

__all__ = ["imported", "run"]

#: Small enough that several segments are sealed while the next is collected, as in a long import.
_SEGMENTS = 6


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
    ]


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
