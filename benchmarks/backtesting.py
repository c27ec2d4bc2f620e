"""
`backtest`: a market maker in Python on a busy market, and what its backtest costs beside a bare replay of the same tape.

The strategy looks every 100 ms at the best bid and ask, and keeps a grid of post-only orders around the middle. The bare
replay hands every message to a callback that reads the best bid and ask. Both go in turns.
With `--peers` NautilusTrader keeps the same grid (`benchmarks.backtesting_peers`).
"""

from __future__ import annotations

import gc
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks import backtesting_peers
from benchmarks.captures import BINANCE
from benchmarks.grid_maker import traded
from benchmarks.harness import Figure, Options, leave_out
from benchmarks.replaying import BestReader
from recordings.importing.importer import ImportOptions, import_capture
from replay.source import ReplayDataSource

__all__ = ["run"]

T = TypeVar("T")


def run(options: Options) -> list[Figure]:
    """Compare."""
    path = options.capture(BINANCE)
    if path is None:
        leave_out("  backtest: left out: there is no capture of Binance here")
        return []
    folder = options.folder / "backtest"
    shutil.rmtree(folder, ignore_errors=True)
    import_capture([path], folder, ImportOptions(venue="binance-usdm", line_format="collector"))
    bare: list[float] = []
    ours: list[float] = []
    counts = (0, 0)
    traded(folder)
    for _ in range(max(options.repeats, 1)):
        seconds, count = _timed(lambda: _replayed(folder))
        bare.append(seconds)
        seconds, counts = _timed(lambda: traded(folder))
        ours.append(seconds)
    replay, mine = statistics.median(bare), statistics.median(ours)
    done = f"{mine:.2f} s, {counts[0]:,} orders, {counts[1]:,} fills"
    figures = [
        _figure("replay alone, with a callback", count / replay, "messages/s", f"{count:,} messages in {replay:.2f} s"),
        _figure("backtest of a grid", count / mine, "messages/s", done),
        _figure("backtest over replay alone", mine / replay, "", "of processor time"),
    ]
    if options.peers:
        figures += backtesting_peers.compared(options, "backtest")
    return figures


def _replayed(folder: Path) -> int:
    source = ReplayDataSource(folder)
    reader = BestReader(source)
    source.set_message_callback(reader)
    source.play()
    return reader.count


def _timed(run: Callable[[], T]) -> tuple[float, T]:
    gc.collect()
    began = time.process_time()
    result = run()
    return time.process_time() - began, result


def _figure(name: str, value: float, unit: str, note: str = "") -> Figure:
    return Figure(bench="backtest", name=name, value=value, unit=unit, note=note)
