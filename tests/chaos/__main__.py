"""
`python -m tests.chaos`: all of it, as a table; a line for each job that is done meanwhile.

Example:  python -m tests.chaos --seed 7 --only "random kills"
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from tests.chaos import clients, clocks, disks, faults, hardships, kills, models, outputs, rewrites
from tests.chaos.bench import ROOT, Mount, check
from tests.chaos.storage_bugs import BUGS
from toolkit.rng import fresh_seed

#: Kills of one recording before the next is begun.
KILLS_EACH = 10
NEED_MOUNT = (*disks.NEED_MOUNT, *rewrites.NEED_MOUNT, *outputs.NEED_MOUNT)
#: Sequences of the machine that one process tries.
SEQUENCES_EACH = 500
#: Sequences within which it finds a fault that is put back.
HUNTED_MAX = 2000
STEPS_EACH = 8


@dataclass(frozen=True)
class Job:
    """Something to run: it takes a folder and a seed, and returns what to print."""

    name: str
    run: Callable[[Path, object], object]
    seed: str


@dataclass
class Finds:
    """After how many sequences faults that were put back were found."""

    sequences: list[int]

    def __str__(self) -> str:
        return f"found after {', '.join(map(str, self.sequences))} sequences"


@dataclass
class Row:
    """A line of the table."""

    count: int = 0
    seconds: float = 0.0
    said: str = ""
    failures: int = 0
    toll: kills.Toll = field(default_factory=kills.Toll)
    finds: Finds = field(default_factory=lambda: Finds([]))

    def take(self, said: object) -> None:
        """Add what a job came to."""
        match said:
            case kills.Toll():
                self.toll.add(said)
                self.count, self.said = self.toll.kills, str(self.toll)
            case Finds():
                self.finds.sequences += said.sequences
                self.count, self.said = len(self.finds.sequences), str(self.finds)
            case int():
                self.count += said
                self.said = f"{self.count:,} sequences"
            case _:
                self.count += 1
                self.said = str(said)


def jobs(seed: str, kill_count: int, sequence_count: int, model_count: int, can_mount: bool) -> Iterator[Job]:
    """Everything there is, the longest first."""
    for number, count in enumerate(_shares(sequence_count, SEQUENCES_EACH)):
        yield Job("sequences of commands", partial(_sequences, count), f"{seed}/{number}")
    for venue in models.VENUES:
        for number, count in enumerate(_shares(model_count, models.SEQUENCES_EACH)):
            yield Job(f"model of {venue}", partial(models.run_sequences, venue, count), f"{seed}/{number}")
    for bug in BUGS if sequence_count else ():
        yield Job("faults put back", partial(_put_back, bug.name), f"{seed}/{bug.name}")
    yield Job("half-open silence", faults.SCENARIOS["half-open silence"], seed)
    for number, count in enumerate(_shares(kill_count, KILLS_EACH)):
        yield Job("random kills", partial(_kills, count), f"{seed}/{number}")
    for name, function, steps in (
        ("kills at every step", kills.kill_at_step, kills.step_names()),
        ("kills while recovering", kills.kill_recovery, kills.recover_steps()),
    ):
        for start in range(0, len(steps), STEPS_EACH):
            some = steps[start : start + STEPS_EACH]
            yield Job(name, partial(_steps, function, some), f"{seed}/{some[0]}")
    for scenarios in (
        faults.SCENARIOS,
        disks.SCENARIOS,
        hardships.SCENARIOS,
        rewrites.SCENARIOS,
        outputs.SCENARIOS,
        clients.SCENARIOS,
        clocks.SCENARIOS,
    ):
        for name, scenario in scenarios.items():
            if name != "half-open silence" and (can_mount or name not in NEED_MOUNT):
                yield Job(name, scenario, seed)


def _shares(count: int, each: int) -> list[int]:
    """A count in parts of so many, the last of which may be smaller."""
    return [min(each, count - done) for done in range(0, count, each)]


def _sequences(count: int, work: Path, seed: object) -> int:
    """In a process of its own: what happens there is watched over by hooks of the whole process."""
    number = random.Random(str(seed)).randrange(1 << 32)
    command = [sys.executable, "-m", "tests.chaos.storage_machine", str(count), str(number)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    check(result.returncode == 0, f"seed {number} of {count} sequences: {result.stdout}{result.stderr}")
    return count


def _put_back(name: str, work: Path, seed: object) -> Finds:
    """In a process of its own, likewise: the fault is in its code."""
    number = random.Random(str(seed)).randrange(1 << 32)
    command = [sys.executable, "-m", "tests.chaos.storage_bugs", str(HUNTED_MAX), str(number), name]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    check(result.returncode == 0, f"{result.stdout}{result.stderr}")
    return Finds([int(result.stdout.split()[0])])


def _kills(count: int, work: Path, seed: object) -> kills.Toll:
    return kills.random_kills(work, seed, count)


def _steps(
    function: Callable[[Path, object, list[str]], kills.Toll], names: list[str], work: Path, seed: object
) -> kills.Toll:
    return function(work, seed, names)


@click.command()
@click.option("--seed", help="Decides every random choice; printed, so that a run can be repeated.")
@click.option("--kills", "kill_count", default=200, show_default=True, help="SIGKILLs at random instants.")
@click.option("--sequences", "sequence_count", default=10_000, show_default=True, help="Random sequences of commands.")
@click.option(
    "--models", "model_count", default=10_000, show_default=True, help="Random sequences of each venue's model."
)
@click.option("--only", help="Only scenarios whose name contains this.")
@click.option("--workers", default=2, show_default=True, help="Scenarios at a time.")
@click.option("--keep", is_flag=True, help="Keep the folders of failures.")
def main(
    seed: str | None,
    kill_count: int,
    sequence_count: int,
    model_count: int,
    only: str | None,
    workers: int,
    keep: bool,
) -> None:
    """Kill, starve and lie to a recorder, and see that nothing flushed is lost."""
    seed = seed or str(fresh_seed() % 1_000_000)
    click.echo(f"seed {seed}; repeat with --seed {seed}")
    root = Path(tempfile.mkdtemp(prefix="tickdeck-chaos-"))
    can_mount = Mount.is_allowed(root)
    if not can_mount:
        click.echo(f"no file system can be mounted here, so not run: {', '.join(NEED_MOUNT)}")
    all_jobs = jobs(seed, kill_count, sequence_count, model_count, can_mount)
    chosen = [job for job in all_jobs if only is None or only in job.name]
    table = Table()
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(_run, job, root / f"{number:03d}"): job for number, job in enumerate(chosen)}
        for number, future in enumerate(as_completed(running), 1):
            job = running[future]
            said = table.take(job, future)
            click.echo(f"{time.monotonic() - began:6.0f} s  {number} of {len(chosen)}  {job.name}: {said}")
    if not keep:
        shutil.rmtree(root, ignore_errors=True)
    click.echo(f"{'scenario':<26}{'count':>7}{'seconds':>9}  result")
    for name in dict.fromkeys(job.name for job in chosen):
        row = table.rows[name]
        verdict = f"{row.failures} FAILED; {row.said}" if row.failures else f"ok: {row.said}"
        click.echo(f"{name:<26}{row.count:>7}{row.seconds:>9.1f}  {verdict}")
    failures = sum(row.failures for row in table.rows.values())
    click.echo(f"{len(chosen)} jobs in {time.monotonic() - began:.0f} s, {failures} failed; seed {seed}")
    sys.exit(1 if failures else 0)


class Table:
    """
    What came of the jobs.

    Attributes:
        rows: By the name of the scenario.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    def take(self, job: Job, future: Future[tuple[object, float]]) -> str:
        """A job is done; what came of it, in a few words. A failure is told in full at once."""
        row = self.rows.setdefault(job.name, Row())
        try:
            said, seconds = future.result()
        except Exception as exc:  # noqa: BLE001  # each failure is told, and the others still run
            row.count += 1
            row.failures += 1
            click.echo(f"FAILED {job.name} (seed {job.seed}): {str(exc)[-4000:]}", err=True)
            if not isinstance(exc, AssertionError):
                traceback.print_exception(exc)
            return "FAILED"
        row.seconds += seconds
        row.take(said)
        return f"{said:,} sequences" if isinstance(said, int) else str(said)


def _run(job: Job, work: Path) -> tuple[object, float]:
    began = time.monotonic()
    said = job.run(work, job.seed)
    return said, time.monotonic() - began


if __name__ == "__main__":
    main()
