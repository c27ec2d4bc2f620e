"""
`python -m benchmarks check`: whether this version has become slower than the stored one.

Each job's processor time is taken as a multiple of that of a reference kernel, which runs just before it: so a figure
depends little on how busy the machine is, and not at all on its clock. Multiples are compared with those that are stored in
`reference.json`; a job that takes 15 % more of them is a loss, and is measured once more before it is called one.
A job counts what it does, frames or messages or orders: one that does another number of them than was stored is measured
as something else, however fast, and is named too.
Processors differ in what they are good at, so a reference holds for machines like the one that it was stored on:
`--store` stores one for another.
"""

from __future__ import annotations

import gc
import json
import resource
import statistics
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.captures import archive_frames, book_frames
from benchmarks.harness import ROOT, Options, machine
from benchmarks.replaying import BestReader
from recordings.care.verifying import verify
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.column_tape import ColumnTape
from replay.fast.actions import BUY, SELL, keep, level
from replay.fast.step import step
from replay.fast_classes.strategy_backtest import backtest
from replay.many.variants import AnyStrategy
from replay.source import Fidelity, ReplayDataSource
from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from replay.tape import Tape

__all__ = ["LOSS_MAX", "REFERENCE", "check", "jobs", "losses", "multiples", "other_work", "reference_kernel"]

#: What a job may take more than what is stored.
LOSS_MAX: Final = 0.15
REFERENCE: Final = ROOT / "benchmarks" / "reference.json"
_FRAMES: Final = 8_000
_ROUNDS: Final = 7
_ASSUMED: Final[Mapping[str, Any]] = {"tick": 1, "lot": "0.00001", "min_notional": 10}
_LATENCY: Final = "entry=5ms,response=5ms"

#: Returns how much it has done.
Job = Callable[[], int]


def reference_kernel() -> int:
    """What jobs are measured by: objects and dicts of Python, bytes through zlib, arrays through numpy."""
    counts: dict[int, tuple[float, int]] = {}
    key = 1
    for number in range(1_000_000):
        key = key * 48_271 % 2_147_483_647
        price, count = counts.get(key & 1023, (0.0, 0))
        counts[key & 1023] = (price + number * 0.5, count + 1)
    text = b"".join(b"%d:%.1f;" % (place, price) for place, (price, _) in sorted(counts.items()))
    packed = zlib.decompress(zlib.compress(text * 250, 6))
    values = np.frombuffer(packed[: len(packed) // 8 * 8], np.uint64)
    for _ in range(10):
        values = np.sort(values * np.uint64(2_862_933_555_777_941_757) + np.uint64(3))
    return int(values[0]) + len(counts)


class Joiner(Strategy):
    """Joins a level of each side of the book."""

    depth: int = 2

    wakes = Wakes(every="250ms")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        """Keep one order a side."""
        (pair,) = ctx.pairs
        book = ctx.book(pair)
        if not book.is_stale:
            ctx.keep(pair, "bid", "buy", price=book.bids[self.depth].price, size=0.01)
            ctx.keep(pair, "ask", "sell", price=book.asks[self.depth].price, size=0.01)


@step(every="250ms", parameters={"depth": 2, "size": 1000})
def joiner(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """The same, compiled."""
    for side, tag in ((BUY, 1), (SELL, 2)):
        price, _ = level(act, 0, side, p.depth)
        keep(act, 0, tag, side, 0 if q[0].stale else price, p.size)


def jobs(folder: Path, frames: int = _FRAMES) -> dict[str, Job]:
    """What is measured, by name, on the embedded market, which every machine has."""
    options = Options(folder=folder)
    lines = folder / "frames.txt"
    with lines.open("wb") as file:
        for ts_recv, payload in archive_frames(book_frames(options), frames):
            file.write(b"%d %s\n" % (ts_recv, payload))
    tape = folder / "tape"
    how = ImportOptions(venue="hyperliquid", line_format="collector")
    import_capture([lines], tape, how)
    assumed = dict(_ASSUMED)

    def replayed(fidelity: Fidelity) -> int:
        source = ReplayDataSource(tape, fidelity=fidelity)
        reader = BestReader(source)
        source.set_message_callback(reader)
        source.play()
        return reader.count

    def imported() -> int:
        with tempfile.TemporaryDirectory(dir=folder) as other:
            manifest = import_capture([lines], Path(other) / "tape", how)
        return sum(segment.frame_count for segment in manifest.segments)

    def traded(strategy: AnyStrategy) -> int:
        result = backtest(strategy, tape, latency=_LATENCY, assumed=assumed)
        return result.orders.height + result.fills.height

    return {
        "import, full depth": imported,
        "verify": lambda: verify(tape).frame_count,
        "replay, normalized": lambda: replayed("normalized"),
        "replay, raw": lambda: replayed("raw"),
        "columns": lambda: sum(len(batch.rows) for batch in ColumnTape(Tape([Recording.open(tape)])).batches()),
        "backtest, class": lambda: traded(Joiner),
        "backtest, compiled": lambda: traded(joiner),
    }


def multiples(found: Mapping[str, Job], kernel: Job = reference_kernel, rounds: int = _ROUNDS) -> dict[str, float]:
    """Processor time of each job as a multiple of the kernel's: the median of several rounds. Each has run before."""
    taken: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, job in found.items():
            unit = _seconds(kernel)
            taken[name].append(_seconds(job) / unit)
    return {name: statistics.median(each) for name, each in taken.items()}


def losses(found: Mapping[str, float], stored: Mapping[str, float]) -> dict[str, float]:
    """Jobs that take more than they may, and how much more, as a share of what is stored."""
    more = {name: found[name] / stored[name] - 1 for name in found if name in stored}
    return {name: share for name, share in more.items() if share > LOSS_MAX}


def other_work(done: Mapping[str, int], stored: Mapping[str, int]) -> list[str]:
    """A line for each job that does not do as much as it did when it was stored."""
    return [
        f"{name} did {count:,} of what it counts, {stored[name]:,} when it was stored: it measures something else"
        for name, count in done.items()
        if name in stored and count != stored[name]
    ]


def _seconds(run: Job) -> float:
    """Processor time of a run, with that of the processes that it waits for."""
    gc.collect()
    before = _used()
    run()
    return _used() - before


def _used() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@click.command(epilog="Example:  python -m benchmarks check --store")
@click.option("--store", is_flag=True, help="Store what is measured as the reference of machines like this one.")
@click.option("--reference", type=click.Path(dir_okay=False, path_type=Path), default=REFERENCE, help="Where it is.")
@click.option("--rounds", default=_ROUNDS, show_default=True, help="Runs of which the median is taken.")
def check(store: bool, reference: Path, rounds: int) -> None:
    """Measure each job against a reference kernel. Exits with 1 where one has lost 15 %, or does other work than is stored."""
    if not store and not reference.exists():
        raise click.ClickException(
            f"{reference} is not there, expected what `python -m benchmarks check --store` writes"
        )
    facts = dict(machine())
    with tempfile.TemporaryDirectory(prefix="tickdeck-check-") as folder:
        all_jobs = jobs(Path(folder))
        done = {name: job() for name, job in all_jobs.items()}
        if idle := [name for name, count in done.items() if not count]:
            raise click.ClickException(f"{', '.join(idle)}: nothing was done, so nothing is measured")
        found = multiples(all_jobs, rounds=rounds)
        if store:
            document = {
                "machine": facts,
                "commit": _commit(),
                "counts": done,
                "multiples": {name: round(each, 3) for name, each in found.items()},
            }
            reference.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            click.echo(f"stored in {reference}")
            return
        document = json.loads(reference.read_bytes())
        stored = document["multiples"]
        lost = losses(found, stored)
        if lost:
            again = multiples({name: all_jobs[name] for name in lost}, rounds=rounds)
            found |= {name: min(found[name], again[name]) for name in lost}
            lost = losses(found, stored)
    if (ours := facts["cpu"]) != (theirs := document["machine"]["cpu"]):
        click.echo(f"stored on {theirs}, this is {ours}: --store makes a reference for it", err=True)
    click.echo(
        f"{'job':<24} {'stored':>8} {'now':>8} {'more':>8}   (multiples of the kernel; stored at {document['commit']})"
    )
    for name, value in found.items():
        before = stored.get(name)
        more = "" if before is None else f"{100 * (value / before - 1):+.1f} %"
        click.echo(
            f"{name:<24} {'-' if before is None else f'{before:.3f}':>8} {value:>8.3f} {more:>8}{'   LOST' if name in lost else ''}"
        )
    others = other_work(done, document.get("counts", {}))
    for line in others:
        click.echo(line, err=True)
    if lost or others:
        raise click.exceptions.Exit(1)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
