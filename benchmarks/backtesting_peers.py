"""
`backtest --peers`, and part of `peers`: the market maker of `backtest` in NautilusTrader, in turns with ours.

Both keep the same grid (`benchmarks.grid`) on the same USD-M capture, once without its quotes and once with them. Ours
reads, decodes and merges a recording from disk within the clock; NautilusTrader is given objects that are in memory
before it starts. Frames with market data are counted for both, and processor time is that of all threads.
"""

from __future__ import annotations

import gc
import gzip
import shutil
import statistics
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.captures import BINANCE
from benchmarks.grid_maker import traded
from benchmarks.harness import Figure, Options, leave_out
from benchmarks.peer_environments import peer_environment, peer_job
from recordings.importing.importer import ImportOptions, import_capture

__all__ = ["compared", "without_quotes"]

_PACKAGE: Final = "nautilus_trader"
_JOB: Final = "nautilus-backtest"
_QUOTE: Final = b'@bookTicker"'
#: A frame of a stream has its name in its first bytes.
_HEAD_BYTES: Final = 100
_DIFFERS: Final = (
    "in NautilusTrader an order that rests is filled once the best price of the other side reaches it, by"
    " no trade at its own price and with no queue; its latency is of requests alone, and its exchange has the book when"
    " its strategy does; its checks of risk are off; making its objects is not within the time, reading our tape is"
)


def compared(options: Options, bench: str) -> list[Figure]:
    """Figures of both and their ratios, in the name of that bench."""
    path = options.capture(BINANCE)
    if path is None:
        leave_out(f"  {bench}: NautilusTrader is left out: there is no capture of Binance here")
        return []
    python = peer_environment(_PACKAGE)
    if python is None:
        return []
    books = without_quotes(path, options.folder / "backtest-without-quotes.gz")
    figures = []
    for name, tape in (("books and trades", books), ("quotes too", path)):
        figures += _compared(options, bench, name, tape, python)
    return figures


def without_quotes(path: Path, target: Path) -> Path:
    """The capture, its quotes left out."""
    with gzip.open(path) as source, gzip.open(target, "wb", compresslevel=1) as file:
        file.writelines(line for line in source if _QUOTE not in line[:_HEAD_BYTES])
    return target


def _compared(options: Options, bench: str, name: str, path: Path, python: Path) -> list[Figure]:
    folder = options.folder / "backtest-peers"
    shutil.rmtree(folder, ignore_errors=True)
    import_capture([path], folder, ImportOptions(venue="binance-usdm", line_format="collector"))
    walls: list[float] = []
    ours: list[float] = []
    theirs: list[dict[str, Any]] = []
    orders, fills = traded(folder)
    for _ in range(max(options.repeats, 1)):
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        orders, fills = traded(folder)
        walls.append(time.perf_counter() - wall)
        ours.append(time.process_time() - cpu)
        result = peer_job(python, _JOB, path, 1)
        if result is None:
            return []
        theirs.append(result)
    if not orders or not fills:
        leave_out(f"  {bench}: {name} is left out: ours did not trade: {orders} orders, {fills} fills")
        return []
    last = theirs[-1]
    wall, cpu = statistics.median(walls), statistics.median(ours)
    their_wall = statistics.median(seconds for result in theirs for seconds in result["seconds"])
    their_cpu = statistics.median(seconds for result in theirs for seconds in result["cpu_seconds"])
    count = last["count"]
    made = statistics.median(result["convert_seconds"] for result in theirs)
    ours_note = f"{cpu:.2f} s of processor time, {wall:.2f} s by the clock; {_traded(orders, fills)}"
    their_note = (
        f"{their_cpu:.2f} s of processor time, {their_wall:.2f} s by the clock, after {made:.2f} s for the objects; "
        f"{_traded(last['orders'], last['fills'])}, {last['cancels']:,} cancels, {last['rejects']:,} rejects"
    )
    values = [
        ("tickdeck, from disk", count / cpu, "frames/s", f"{count:,} frames in {ours_note}"),
        (f"{_PACKAGE} {last['version']}, objects in memory", count / their_cpu, "frames/s", their_note),
        (f"tickdeck over {_PACKAGE}", their_cpu / cpu, "", f"times as fast, of processor time; {_DIFFERS}"),
        (f"tickdeck over {_PACKAGE}, wall", their_wall / wall, "", "times as fast, by the clock"),
    ]
    return [
        Figure(bench=bench, name=f"{name}: {what}", value=value, unit=unit, note=note)
        for what, value, unit, note in values
    ]


def _traded(orders: int, fills: int) -> str:
    return f"{orders:,} orders, {fills:,} fills"
