"""
`many-pairs`: what a frame and a message cost of a whole venue, by the number of its pairs.

Recordings of the same number of frames, of one pair and of very many, are sealed, replayed and verified; each step runs in
a process of its own. Rates are by the time that all of its threads were at work, so that they can be compared on a
machine that is busy. A row should be level: each rate at least 0.7 of the best, memory below 512 MiB.

A recording of very many short segments is replayed before and after it is compacted: what each segment costs beside its
messages, and from how many messages on that is less than a tenth.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import ROOT, Figure, Options, peak_bytes
from benchmarks.whole_venue import coin_names, write_journal
from recordings.care.compacting import compact
from recordings.care.verifying import verify
from recordings.format.file_names import states_of
from recordings.format.manifest import read_manifest
from recordings.journal.journal_reader import journal_segments
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from replay.source import ReplayDataSource

__all__ = ["PAIRS", "main", "run"]

PAIRS: Final = (1, 10, 190, 1_000)
#: Of the recording of many segments: its pairs, and frames of each segment, most of which it costs to open it.
SEGMENT_PAIRS: Final = 190
SEGMENT_FRAMES: Final = 300
_MIB: Final = 1 << 20


def run(options: Options) -> list[Figure]:
    """Measure sealing, replaying and verifying, memory and sizes."""
    figures = []
    for pairs in PAIRS:
        folder = options.folder / f"pairs-{pairs}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_journal(folder, pairs, options.venue_frames)
        for step in _STEPS:
            told = _told(step, folder)
            value = told["count"] / told["seconds"] if step in _LEVEL else told["seconds"]
            figures.append(_figure(pairs, _NAMES[step], value, told["unit"] if step in _LEVEL else "s", told["note"]))
            figures.append(_figure(pairs, f"{_NAMES[step]}, memory", told["peak_bytes"] / _MIB, "MiB at most"))
        figures += _sizes(folder, pairs)
        shutil.rmtree(folder)
    return [*figures, *_levels(figures), *_of_segments(options)]


def main(step: str, folder: Path) -> None:
    """Do one step, then print what it came to: one JSON line."""
    began = time.process_time()
    told = _STEPS[step](folder)
    told |= {"seconds": time.process_time() - began, "peak_bytes": peak_bytes()}
    print(json.dumps(told))


def _sealed(folder: Path) -> dict[str, Any]:
    sealer = Sealer(folder)
    for number in journal_segments(folder):
        sealer.seal(number, status="sealed")
    frames = sum(segment.frame_count for segment in read_manifest(folder).segments)
    return {"count": frames, "unit": "frames/s", "note": f"{frames:,} frames"}


def _replayed(folder: Path, fidelity: str, pair: str | None = None) -> dict[str, Any]:
    is_raw = fidelity == "raw"
    source = ReplayDataSource(folder, fidelity="raw" if is_raw else "normalized", trading_pairs=pair)
    source.set_message_callback(lambda message: None)
    source.play()
    return {"count": source.message_count, "unit": "messages/s", "note": f"{source.message_count:,} messages"}


def _of_one_pair(folder: Path) -> dict[str, Any]:
    """That in the middle: of neither many messages nor few."""
    names = coin_names(len(Recording.open(folder).trading_pairs))
    return _replayed(folder, "normalized", f"{names[len(names) // 2]}-USD")


def _verified(folder: Path) -> dict[str, Any]:
    found = verify(folder)
    if found.problems:
        raise SystemExit("; ".join(found.problems))
    return {"count": found.message_count, "unit": "messages/s", "note": "raw frames and rows"}


_STEPS: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {
    "seal": _sealed,
    "raw": lambda folder: _replayed(folder, "raw"),
    "normalized": lambda folder: _replayed(folder, "normalized"),
    "one": _of_one_pair,
    "verify": _verified,
}
_NAMES: Final = {
    "seal": "sealing",
    "raw": "replay, raw",
    "normalized": "replay, normalized",
    "one": "replay of one pair, normalized",
    "verify": "verify",
}
#: Rows that should be level. One pair of many has few messages among all that has to be opened.
_LEVEL: Final = ("seal", "raw", "normalized", "verify")


def _told(step: str, folder: Path) -> dict[str, Any]:
    program = "import sys; from pathlib import Path; from benchmarks.many_pairs import main; main(sys.argv[1], Path(sys.argv[2]))"
    command = [sys.executable, "-c", program, step, str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _sizes(folder: Path, pairs: int) -> list[Figure]:
    manifest = read_manifest(folder)
    sizes: dict[str, int] = {}
    for segment in manifest.segments:
        for table, file in segment.tables.items():
            sizes[table] = sizes.get(table, 0) + file.bytes
    tables, states = sum(sizes.values()), sum(file.bytes for file in states_of(manifest))
    note = ", ".join(f"{name} {size:,}" for name, size in sorted(sizes.items(), key=lambda item: -item[1]))
    return [
        _figure(pairs, "tables", tables, "bytes", note),
        _figure(pairs, "states", states, "bytes", f"{states / tables:.1%} of the tables"),
    ]


def _of_segments(options: Options) -> list[Figure]:
    """What a segment costs, over one replay of all of them as they were recorded and one of the same as one segment."""
    folder = options.folder / "segments"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_journal(folder, SEGMENT_PAIRS, SEGMENT_FRAMES * options.venue_segments, segments=options.venue_segments)
    _told("seal", folder)
    many = [_told(step, folder) for step in ("normalized", "raw")]
    compact(folder)
    one = [_told(step, folder) for step in ("normalized", "raw")]
    shutil.rmtree(folder)
    figures = []
    for name, before, after in zip(("normalized", "raw"), many, one, strict=True):
        cost_s = max(0.0, before["seconds"] - after["seconds"]) / options.venue_segments
        message_s = after["seconds"] / after["count"]
        note = f"{options.venue_segments:,} segments of {SEGMENT_PAIRS} pairs; less than a tenth from {10 * cost_s / message_s:,.0f} messages on"
        figures.append(Figure(bench="many-pairs", name=f"a segment, {name}", value=1000 * cost_s, unit="ms", note=note))
    return figures


def _levels(figures: list[Figure]) -> list[Figure]:
    """The worst of each row over the best."""
    found = []
    for step in _LEVEL:
        rates = [figure.value for figure in figures if figure.name.endswith(f": {_NAMES[step]}")]
        found.append(
            Figure(
                bench="many-pairs", name=f"{_NAMES[step]}: slowest over fastest", value=min(rates) / max(rates), unit=""
            )
        )
    return found


def _figure(pairs: int, name: str, value: float, unit: str, note: str = "") -> Figure:
    plural = "pair" if pairs == 1 else "pairs"
    return Figure(bench="many-pairs", name=f"{pairs:,} {plural}: {name}", value=value, unit=unit, note=note)
