"""
`fast --peers`, and part of `peers`: compiled runs in hftbacktest, in turns with ours.

Both are given the same USD-M capture without its quotes, once: at the border of two laps prices jump, and the other keeps
levels that a snapshot does not reach. Both count the same levels and trades. Ours runs under the rules of hftbacktest with
the grid that both know, and its fills have to be the other's, one by one.
Seconds are processor time: of one thread in memory, of all threads from files.
"""

from __future__ import annotations

import gc
import shutil
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks import grid
from benchmarks.backtesting_peers import without_quotes
from benchmarks.captures import BINANCE
from benchmarks.grid_step import grid_step
from benchmarks.harness import Figure, Options, leave_out
from benchmarks.peer_environments import PeerFailed, peer_environment, peer_turns
from benchmarks.spread_steps import spread_of_messages, spread_of_times
from recordings.columns.column_batch import ColumnBatch
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.column_tape import ColumnTape
from replay.fast.compiled_step import note_engine
from replay.fast.level_columns import counted
from replay.fast.step import Step
from replay.fast.step_run import StepRun
from replay.fast_classes.strategy_backtest import backtest
from replay.strategy.backtesting import settings_of
from replay.strategy.plan import RunPlan
from replay.tape import Tape

__all__ = ["compared"]

_PACKAGE: Final = "hftbacktest"
_JOB: Final = "hftbacktest-compiled"
#: Runs of each, at least.
_TURNS: Final = 7
_ASSUMED: Final[dict[str, Any]] = {
    "preset": "hftbacktest-whole",
    "latency": ",".join(f"{name}={ms}ms" for name, ms in grid.LATENCY_MS.items()),
    "assumed": {"tick": Decimal(grid.TICK), "lot": Decimal(grid.LOT), "min_notional": Decimal(5)},
    "fees": {"maker": 0, "taker": 0},
}
#: What both do: its name, our function, and the jobs of the other.
_COMPARED: Final[tuple[tuple[str, Step, str], ...]] = (
    ("best prices read at each message", spread_of_messages, "messages"),
    (f"best prices read each {grid.EVERY_MS} ms", spread_of_times, "times"),
    ("grid of 20 orders", grid_step, "grid"),
)


def compared(options: Options, bench: str) -> list[Figure]:
    """Figures of both and their ratios, in the name of that bench."""
    path = options.capture(BINANCE)
    if path is None:
        leave_out(f"  {bench}: {_PACKAGE} is left out: there is no capture of Binance here")
        return []
    python = peer_environment(_PACKAGE)
    if python is None:
        return []
    capture = without_quotes(path, options.folder / "fast-peers.gz")
    folder = options.folder / "fast-peers"
    shutil.rmtree(folder, ignore_errors=True)
    import_capture([capture], folder, ImportOptions(venue="binance-usdm", line_format="collector"))
    ours = _Ours(folder)
    try:
        with peer_turns(python, _JOB, capture) as (version, turn):
            return _in_turns(ours, version, turn, max(options.repeats, _TURNS), bench)
    except PeerFailed as exc:
        leave_out(f"  {bench}: {_PACKAGE} is left out: {exc}")
        return []


class _Ours:
    """Our runs over a recording, in memory and from its files, without a record of what they did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tape = Tape([Recording.open(folder)])
        self._batches = list(ColumnTape(self._tape).batches())
        rows = [batch.rows for batch in self._batches]
        self.levels = sum(int(each["bids"].sum()) + int(each["asks"].sum()) for each in rows)

    def in_memory(self, step: Step) -> float:
        """Seconds of a run over columns that are in memory, to count whose levels in ticks is a part of it."""
        run, columns = self._prepared(step)
        gc.collect()
        began = time.thread_time()
        self._feed(run, columns, self._batches)
        return time.thread_time() - began

    def from_files(self, step: Step) -> tuple[float, float]:
        """Seconds of a run over its files: by the clock, and of all threads."""
        run, columns = self._prepared(step)
        gc.collect()
        wall, began = time.perf_counter(), time.process_time()
        self._feed(run, columns, columns.batches())
        return time.perf_counter() - wall, time.process_time() - began

    def _prepared(self, step: Step) -> tuple[StepRun, ColumnTape]:
        parameters = {"count": grid.GRID["count"]} if step is grid_step else {}
        plan = RunPlan(step.loaded(), self._tape.recordings[0].keys, settings_of(parameters=parameters, **_ASSUMED))
        columns = ColumnTape(self._tape)
        run = StepRun(plan, step, columns.names, plan.open(self._tape.first_ns, waits=True))
        run.leave_unrecorded()
        run.load()
        return run, columns

    def _feed(self, run: StepRun, columns: ColumnTape, batches: Any) -> None:
        places = np.zeros(len(columns.names.pairs), np.int64)
        batch: ColumnBatch
        for batch in batches:
            run.take(batch, places, counted(batch, places, run.markets, run.rescale))

    def fills(self) -> pl.DataFrame:
        """The fills of the grid."""
        parameters = {"count": grid.GRID["count"]}
        return backtest(grid_step, self.folder, parameters=parameters, **_ASSUMED).fills


def _in_turns(ours: _Ours, version: str, turn: Callable[[str], dict[str, Any]], turns: int, bench: str) -> list[Figure]:
    figures = []
    for name, step, job in _COMPARED:
        mine: list[float] = []
        files: list[tuple[float, float]] = []
        theirs: dict[str, list[float]] = {"dense": [], "hash": []}
        ours.in_memory(step)
        facts: dict[str, Any] = {}
        note_engine()
        for _ in range(turns):
            mine.append(ours.in_memory(step))
            files.append(ours.from_files(step))
            for book, seconds in theirs.items():
                facts = turn(f"{job} {book}")
                seconds.append(facts["seconds"])
        said = f"{ours.levels:,} levels and trades"
        if "fills" in facts:
            said += f"; {_same_fills(ours.fills(), facts['fills'])}"
        figures += _figures(bench, name, said, ours.levels, mine, files, theirs, version)
    return figures


def _figures(
    bench: str,
    name: str,
    said: str,
    levels: int,
    mine: list[float],
    files: list[tuple[float, float]],
    theirs: dict[str, list[float]],
    version: str,
) -> list[Figure]:
    in_memory = statistics.median(mine)
    wall, process = (statistics.median(each) for each in zip(*files, strict=True))
    found = [
        ("tickdeck, in memory", levels / in_memory, "levels/s", said),
        ("tickdeck, from files", levels / process, "levels/s", f"{levels / wall:,.0f} a second by the clock"),
    ]
    for book, seconds in theirs.items():
        median = statistics.median(seconds)
        ratio = f"tickdeck {median / in_memory:.2f} times, from files {median / process:.2f} times"
        found.append((f"{_PACKAGE} {version}, {book}", levels / median, "levels/s", f"in memory; {ratio}"))
    return [
        Figure(bench=bench, name=f"{name}: {what}", value=value, unit=unit, note=note)
        for what, value, unit, note in found
    ]


def _same_fills(mine: pl.DataFrame, theirs: list[list[int]]) -> str:
    """
    That both were filled alike, one by one: when, at which price, on which side.

    Raises SystemExit where they were not.
    """
    tick = float(grid.TICK)
    ticks = (mine["price"] / tick).round().cast(pl.Int64).to_list()
    sides = [1 if side == "buy" else -1 for side in mine["side"].to_list()]
    own = sorted(zip(mine["ts_event"].cast(pl.Int64).to_list(), ticks, sides, strict=True))
    others = sorted((at, price, side) for at, price, side in theirs)
    if own != others:
        differ = sorted({*own} ^ {*others})
        raise SystemExit(
            f"the fills differ: {len(own)} of ours, {len(others)} of {_PACKAGE}; the first that only one has: {differ[:1]}"
        )
    return f"{len(own):,} fills, the same in both"
