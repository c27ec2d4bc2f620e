"""
`python -m tests.chaos`: all of it, in about half an hour, as a table.

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
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from tests.chaos import clients, clocks, disks, faults, hardships, kills, models, outputs, rewrites
from tests.chaos.bench import ROOT, Mount, check
from toolkit.rng import fresh_seed

#: Kills of one recording before the next is begun.
KILLS_EACH = 10
NEED_MOUNT = (*disks.NEED_MOUNT, *rewrites.NEED_MOUNT, *outputs.NEED_MOUNT)
#: Sequences of the machine that one process tries.
SEQUENCES_EACH = 500
STEPS_EACH = 8


@dataclass(frozen=True)
class Job:
    """Something to run: it takes a folder and a seed, and returns what to print."""

    name: str
    run: Callable[[Path, object], object]
    seed: str


@dataclass
class Row:
    """A line of the table."""

    name: str
    count: int = 0
    seconds: float = 0.0
    said: str = ""
    failures: int = 0


def jobs(seed: str, kill_count: int, sequence_count: int, can_mount: bool) -> Iterator[Job]:
    """Everything there is, the longest first."""
    for number in range(-(-sequence_count // SEQUENCES_EACH)):
        count = min(SEQUENCES_EACH, sequence_count - number * SEQUENCES_EACH)
        yield Job("sequences of commands", partial(_sequences, count), f"{seed}/{number}")
    for venue in models.VENUES:
        for number in range(-(-models.SEQUENCES // models.SEQUENCES_EACH)):
            yield Job(f"model of {venue}", partial(models.run_sequences, venue), f"{seed}/{number}")
    yield Job("half-open silence", faults.SCENARIOS["half-open silence"], seed)
    for number in range(-(-kill_count // KILLS_EACH)):
        count = min(KILLS_EACH, kill_count - number * KILLS_EACH)
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


def _sequences(count: int, work: Path, seed: object) -> int:
    """In a process of its own: what happens there is watched over by hooks of the whole process."""
    number = random.Random(str(seed)).randrange(1 << 32)
    command = [sys.executable, "-m", "tests.chaos.storage_machine", str(count), str(number)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    check(result.returncode == 0, f"seed {number} of {count} sequences: {result.stdout}{result.stderr}")
    return count


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
@click.option("--only", help="Only scenarios whose name contains this.")
@click.option("--workers", default=2, show_default=True, help="Scenarios at a time.")
@click.option("--keep", is_flag=True, help="Keep the folders of failures.")
def main(seed: str | None, kill_count: int, sequence_count: int, only: str | None, workers: int, keep: bool) -> None:
    """Kill, starve and lie to a recorder, and see that nothing flushed is lost."""
    seed = seed or str(fresh_seed() % 1_000_000)
    click.echo(f"seed {seed}; repeat with --seed {seed}")
    root = Path(tempfile.mkdtemp(prefix="tickdeck-chaos-"))
    can_mount = Mount.is_allowed(root)
    if not can_mount:
        click.echo(f"no file system can be mounted here, so not run: {', '.join(NEED_MOUNT)}")
    chosen = [job for job in jobs(seed, kill_count, sequence_count, can_mount) if only is None or only in job.name]
    table: dict[str, Row] = {}
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        running: list[tuple[Job, Future[tuple[object, float]]]] = []
        for number, job in enumerate(chosen):
            running.append((job, pool.submit(_run, job, root / f"{number:03d}")))
        tolls: dict[str, kills.Toll] = {}
        for job, future in running:
            row = table.setdefault(job.name, Row(job.name))
            row.count += 1
            try:
                said, seconds = future.result()
            except Exception as exc:  # noqa: BLE001  # each failure is told, and the others still run
                row.failures += 1
                click.echo(f"FAILED {job.name} (seed {job.seed}): {str(exc)[-4000:]}", err=True)
                if not isinstance(exc, AssertionError):
                    traceback.print_exception(exc)
                continue
            row.seconds += seconds
            if isinstance(said, kills.Toll):
                tolls.setdefault(job.name, kills.Toll()).add(said)
                said = tolls[job.name]
                row.count = said.kills
            elif isinstance(said, int):
                row.count += said - 1
                said = f"{row.count:,} sequences"
            row.said = str(said)
    if not keep:
        shutil.rmtree(root, ignore_errors=True)
    click.echo(f"{'scenario':<26}{'count':>6}{'seconds':>9}  result")
    for row in table.values():
        verdict = f"{row.failures} FAILED; {row.said}" if row.failures else f"ok: {row.said}"
        click.echo(f"{row.name:<26}{row.count:>6}{row.seconds:>9.1f}  {verdict}")
    failures = sum(row.failures for row in table.values())
    click.echo(f"{len(chosen)} jobs in {time.monotonic() - began:.0f} s, {failures} failed; seed {seed}")
    sys.exit(1 if failures else 0)


def _run(job: Job, work: Path) -> tuple[object, float]:
    began = time.monotonic()
    said = job.run(work, job.seed)
    return said, time.monotonic() - began


if __name__ == "__main__":
    main()
