"""`seek`: how long it takes to be anywhere in one long segment of a busy market, in both fidelities and where it is served."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path

from benchmarks.captures import busy_frames, write_busy
from benchmarks.harness import Figure, Options
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.serving.deck import Deck, DeckOptions
from replay.serving.registry import served_venues
from replay.source import FIDELITIES, Fidelity, ReplayDataSource
from toolkit.clock import NS_PER_S, SystemClock
from toolkit.rng import seeded

__all__ = ["run"]

_SEEKS = 20


def run(options: Options) -> list[Figure]:
    """Measure seeks to random times, each to books as they are then and the first message after them."""
    folder, origin = _one_segment(options)
    figures = []
    found = {str(fidelity): _seeks(folder, fidelity) for fidelity in reversed(FIDELITIES)}
    for kind, (seconds, note) in (found | {"served": _served_seeks(folder)}).items():
        for name, value in (
            ("median", statistics.median(seconds)),
            ("worst", max(seconds)),
        ):
            title = f"{kind}, {name} of {len(seconds)} seeks"
            figures.append(Figure(bench="seek", name=title, value=1000 * value, unit="ms", note=f"{origin}, {note}"))
    return [*figures, *_size(folder)]


def _one_segment(options: Options) -> tuple[Path, str]:
    venue, origin, frames = busy_frames(options)
    folder = options.folder / "seek"
    if not folder.exists():
        path = write_busy(venue, frames, options.seek_frames, options.folder / "seek.txt")
        how = ImportOptions(venue=venue, line_format="collector", segment_frames=1 << 40, segment_bytes=1 << 60)
        try:
            import_capture([path], folder, how)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            path.unlink()
    return folder, origin


def _seeks(folder: Path, fidelity: Fidelity) -> tuple[list[float], str]:
    source = ReplayDataSource(folder, fidelity=fidelity)
    source.set_message_callback(lambda message: None)
    (segment,) = source.recording.manifest.segments
    draw = seeded(f"seeks/{fidelity}")
    seconds = []
    for _ in range(_SEEKS):
        ns = draw.randrange(segment.ts_recv_first, segment.ts_recv_last)
        began = time.perf_counter()
        source.player.seek(ns)
        source.player.step_message()
        seconds.append(time.perf_counter() - began)
    length_s = (segment.ts_recv_last - segment.ts_recv_first) / NS_PER_S
    return seconds, f"a segment of {segment.frame_count:,} frames, {length_s:,.0f} s"


def _served_seeks(folder: Path) -> tuple[list[float], str]:
    """Seeks to earlier times of what is served, after it was played."""
    recording = Recording.open(folder)
    deck = Deck([recording], served_venues(), pacer=SystemClock(), options=DeckOptions(speed=None))
    deck.player.play()
    (segment,) = recording.manifest.segments
    draw = seeded("seeks/served")
    seconds = []
    for _ in range(_SEEKS):
        ns = draw.randrange(segment.ts_recv_first, segment.ts_recv_last)
        began = time.perf_counter()
        deck.seek(ns)
        deck.player.step_frame()
        seconds.append(time.perf_counter() - began)
    return seconds, f"{len(deck.tape.marks)} marks in memory, {deck.tape.marks.size / (1 << 20):,.0f} MiB"


def _size(folder: Path) -> list[Figure]:
    (segment,) = ReplayDataSource(folder).recording.manifest.segments
    points = segment.seek_points
    if points is None:
        return []
    tables = sum(file.bytes for file in segment.tables.values())
    note = f"{points.rows} states, {100 * points.bytes / tables:.1f} % of the raw and normalized tables"
    return [Figure(bench="seek", name="states within the segment", value=points.bytes, unit="bytes", note=note)]
