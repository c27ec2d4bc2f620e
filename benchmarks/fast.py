"""
`fast`: the compiled path, and what it gains over plain Python.

The rows of a busy market as columns from files; the market maker of `backtest` as a step function, over columns that are
in memory and without a record of the run; the whole of its backtest, beside the same maker as a class, by a plain session
and called out of the engine, in turns; and many sets of parameters in one pass. Processor time is that of all threads, but for columns in memory, which have one. With
`--peers` hftbacktest does the same, in turns with ours.
"""

from __future__ import annotations

import gc
import shutil
import statistics
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

import numpy as np

from benchmarks import fast_peers, fast_python, grid
from benchmarks.captures import BINANCE
from benchmarks.grid_maker import GridMaker
from benchmarks.grid_step import grid_step
from benchmarks.harness import Figure, Options, leave_out, measure
from recordings.columns.column_batch import ColumnBatch
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.column_tape import ColumnTape
from replay.fast.compiled_step import note_engine
from replay.fast.level_columns import counted
from replay.fast.step_run import StepRun
from replay.fast_classes.strategy_backtest import backtest
from replay.many.many_runs import backtest_many
from replay.strategy.backtesting import settings_of
from replay.strategy.plan import RunPlan
from replay.tape import Tape

__all__ = ["run"]

T = TypeVar("T")

#: Columns of fills that hold the name of the strategy, which is not the same.
_NAMES: Final = ("client_order_id", "account")
#: Sets of parameters in one pass.
_SETS: Final = 10
_ASSUMED: Final[dict[str, Any]] = {
    "latency": ",".join(f"{name}={ms}ms" for name, ms in grid.LATENCY_MS.items()),
    "assumed": {"tick": Decimal(grid.TICK), "lot": Decimal(grid.LOT), "min_notional": Decimal(5)},
}


def run(options: Options) -> list[Figure]:
    """Compare."""
    path = options.capture(BINANCE)
    if path is None:
        leave_out("  fast: left out: there is no capture of Binance here")
        return []
    folder = options.folder / "fast"
    shutil.rmtree(folder, ignore_errors=True)
    import_capture([path], folder, ImportOptions(venue="binance-usdm", line_format="collector"))
    repeats = max(options.repeats, 1)
    tape = Tape([Recording.open(folder)])
    batches = list(ColumnTape(tape).batches())
    rows = [batch.rows for batch in batches]
    levels = sum(int(each["bids"].sum()) + int(each["asks"].sum()) for each in rows)
    messages = sum(map(len, rows))
    read = measure(lambda: _read(tape), repeats, before=gc.collect)[0].process
    figures = [
        _figure(
            "columns from files", levels / read, "levels/s", f"{messages:,} messages, {messages / read:,.0f} a second"
        )
    ]
    for name, count in (("no order", 0), ("20 orders", grid.GRID["count"])):
        _, *runs = [_engine(tape, batches, int(count)) for _ in range(repeats + 1)]  # the first one loads the engine
        seconds = statistics.median(runs)
        note = f"{messages / seconds:,.0f} messages/s; columns in memory, one thread, no record of the run"
        figures.append(_figure(f"engine, {name}", levels / seconds, "levels/s", note))
    classes: list[float] = []
    called: list[float] = []
    steps: list[float] = []
    backtest(grid_step, folder, **_ASSUMED)
    fills = 0
    for _ in range(repeats):
        seconds, of_class = _timed(lambda: backtest(GridMaker, folder, parameters=grid.GRID, fast=False, **_ASSUMED))
        classes.append(seconds)
        seconds, over_engine = _timed(lambda: backtest(GridMaker, folder, parameters=grid.GRID, fast=True, **_ASSUMED))
        called.append(seconds)
        if over_engine.info.log_digest != of_class.info.log_digest:
            raise SystemExit("a class decides otherwise over the engine")
        seconds, result = _timed(lambda: backtest(grid_step, folder, **_ASSUMED))
        steps.append(seconds)
        fills = result.fills.height
        if not fills or not of_class.fills.drop(_NAMES, strict=False).equals(result.fills.drop(_NAMES, strict=False)):
            raise SystemExit(f"the fills differ: {fills:,} compiled, {of_class.fills.height:,} as a class")
    mine, other, between = statistics.median(steps), statistics.median(classes), statistics.median(called)
    sets = [{"half_spread": 20 + number} for number in range(_SETS)]
    many = measure(lambda: backtest_many(grid_step, folder, sets, **_ASSUMED), repeats, before=gc.collect)[0].process
    return [
        *figures,
        _figure(
            "backtest of a grid, compiled",
            messages / mine,
            "messages/s",
            f"{mine:.2f} s with its result, {fills:,} fills",
        ),
        _figure("compiled over a class", other / mine, "", f"times as fast; {other:.2f} s as a class, the same fills"),
        _figure(
            "a class over the engine", other / between, "", f"times as fast; {between:.2f} s, the same decision log"
        ),
        _figure(f"{_SETS} sets of parameters in one pass", many / mine, "", f"times one run: {many:.2f} s"),
        *fast_python.measured(folder, _ASSUMED, repeats),
        *(fast_peers.compared(options, "fast") if options.peers else ()),
    ]


def _read(tape: Tape) -> None:
    for _ in ColumnTape(tape).batches():
        pass


def _engine(tape: Tape, batches: list[ColumnBatch], count: int) -> float:
    """Processor time of the engine alone over all batches, seconds."""
    keys = tape.recordings[0].keys
    plan = RunPlan(grid_step.loaded(), keys, settings_of(parameters={"count": count}, **_ASSUMED))
    columns = ColumnTape(tape)
    run = StepRun(plan, grid_step, columns.names, plan.open(tape.first_ns, waits=True))
    places = np.zeros(len(columns.names.pairs), np.int64)
    counts = [counted(batch, places, run.markets, run.rescale) for batch in batches]
    run.leave_unrecorded()
    run.load()
    began = time.thread_time()
    for batch, levels in zip(batches, counts, strict=True):
        run.take(batch, places, levels)
    seconds = time.thread_time() - began
    note_engine()
    return seconds


def _timed(run: Callable[[], T]) -> tuple[float, T]:
    gc.collect()
    began = time.process_time()
    result = run()
    return time.process_time() - began, result


def _figure(name: str, value: float, unit: str, note: str = "") -> Figure:
    return Figure(bench="fast", name=name, value=value, unit=unit, note=note)
