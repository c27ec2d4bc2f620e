"""
`tiers`: level updates a second by the number of pairs, of columns, compiled strategies and Python callbacks, from files.

Recordings of the same number of frames, of one pair and of very many, as `many-pairs` has them. Each job runs in a process
of its own, by the time that all of its threads were at work. A row should be level: each rate at least 0.7 of the best.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.harness import ROOT, Figure, Options, peak_bytes
from benchmarks.many_pairs import PAIRS
from benchmarks.replaying import BestReader
from benchmarks.spread_steps import spread_of_times
from benchmarks.whole_venue import write_journal
from recordings.journal.journal_reader import journal_segments
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from replay.column_tape import ColumnTape
from replay.fast.compiled_step import note_engine
from replay.fast.level_columns import counted
from replay.fast.step_run import StepRun
from replay.source import ReplayDataSource
from replay.strategy.backtesting import settings_of
from replay.strategy.plan import RunPlan
from replay.tape import Tape

__all__ = ["main", "run"]

_MIB: Final = 1 << 20
_ASSUMED: Final[dict[str, Any]] = {
    "assumed": {"tick": Decimal("0.0001"), "lot": Decimal("0.001"), "min_notional": Decimal(1)}
}


def run(options: Options) -> list[Figure]:
    """Measure each job on each recording."""
    rates: dict[str, list[float]] = {job: [] for job in _JOBS}
    figures = []
    for pairs in PAIRS:
        folder = options.folder / f"tiers-{pairs}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_journal(folder, pairs, options.venue_frames)
        sealer = Sealer(folder)
        for number in journal_segments(folder):
            sealer.seal(number, status="sealed")
        levels = _told("count", folder, 1)["levels"]
        for job in _JOBS:
            told = _told(job, folder, max(options.repeats, 1))
            rates[job].append(levels / told["seconds"])
            plural = "pair" if pairs == 1 else "pairs"
            note = f"{levels:,} levels, {told['peak_bytes'] / _MIB:,.0f} MiB at most"
            figures.append(_figure(f"{pairs:,} {plural}: {_NAMES[job]}", rates[job][-1], "levels/s", note))
        shutil.rmtree(folder)
    for job, found in rates.items():
        figures.append(_figure(f"{_NAMES[job]}: slowest over fastest", min(found) / max(found), "", ""))
    return figures


def main(job: str, folder: Path, repeats: int) -> None:
    """Do one job, once to warm up; print what the fastest of the others took, and the peak of memory: one JSON line."""
    if job == "count":
        levels = sum(int(each.rows["bids"].sum() + each.rows["asks"].sum()) for each in _tape(folder).batches())
        print(json.dumps({"levels": levels}))
        return
    times = [_JOBS[job](folder) for _ in range(repeats + 1)]
    print(json.dumps({"seconds": min(times[1:]), "peak_bytes": peak_bytes()}))


def _tape(folder: Path) -> ColumnTape:
    return ColumnTape(Tape([Recording.open(folder)]))


def _read(folder: Path) -> float:
    began = time.process_time()
    for _ in _tape(folder).batches():
        pass
    return time.process_time() - began


def _compiled(folder: Path) -> float:
    tape = Tape([Recording.open(folder)])
    plan = RunPlan(spread_of_times.loaded(), tape.recordings[0].keys, settings_of(**_ASSUMED))
    columns = ColumnTape(tape)
    run = StepRun(plan, spread_of_times, columns.names, plan.open(tape.first_ns, waits=True))
    places = np.arange(len(columns.names.pairs), dtype=np.int64)
    run.leave_unrecorded()
    run.load()
    note_engine()
    began = time.process_time()
    for batch in columns.batches():
        run.take(batch, places, counted(batch, places, run.markets, run.rescale))
    return time.process_time() - began


def _called_back(folder: Path) -> float:
    source = ReplayDataSource(folder)
    source.set_message_callback(BestReader(source))
    began = time.process_time()
    source.play()
    return time.process_time() - began


_JOBS: Final[dict[str, Callable[[Path], float]]] = {
    "columns": _read,
    "compiled": _compiled,
    "callback": _called_back,
}
_NAMES: Final = {
    "columns": "columns",
    "compiled": "compiled strategy",
    "callback": "Python callback, best prices read",
}


def _told(job: str, folder: Path, repeats: int) -> dict[str, Any]:
    program = "import sys; from pathlib import Path; from benchmarks.tiers import main; main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))"
    command = [sys.executable, "-c", program, job, str(folder), str(repeats)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _figure(name: str, value: float, unit: str, note: str) -> Figure:
    return Figure(bench="tiers", name=name, value=value, unit=unit, note=note)
