"""
`python -m tests.models`: random sequences against the model of a venue, and bugs put back to see that they are found.

Example:  python -m tests.models hyperliquid --count 10000
"""

from __future__ import annotations

import sys
import time

import click

from tests.models.machine import Difference, failures, hunt, run_many
from tests.models.registry import MODELS
from toolkit.rng import fresh_seed


@click.command()
@click.argument("venue", type=click.Choice(sorted(MODELS)))
@click.option("--seed", help="Decides every random choice; printed, so that a run can be repeated.")
@click.option("--count", default=1000, show_default=True, help="Sequences; with --hunt, most of them for each bug.")
@click.option("--from", "first", default=0, show_default=True, help="Number of the first sequence, to go on from.")
@click.option("--survey", "is_survey", is_flag=True, help="List all that fail, as they are, in place of the first one.")
@click.option("--length", default=60, show_default=True, help="Steps of each.")
@click.option("--hunt", "is_hunt", is_flag=True, help="Put each known bug back and say after how many it is found.")
def main(venue: str, seed: str | None, count: int, first: int, length: int, is_hunt: bool, is_survey: bool) -> None:
    """Play a venue's protocol against a model of the venue."""
    seed = seed or str(fresh_seed() % 1_000_000)
    entry, began = MODELS[venue], time.monotonic()
    if is_hunt:
        missed = 0
        for bug in entry.bugs:
            found = hunt(entry.make, bug, seed, count, length)
            missed += found is None
            click.echo(f"{bug.name:<56} {found if found is not None else f'not in {count}'}")
        click.echo(f"{len(entry.bugs)} bugs, {missed} not found; seed {seed}, {time.monotonic() - began:.0f} s")
        sys.exit(1 if missed else 0)
    if is_survey:
        failed = 0
        for number, failure in failures(entry.make, seed, range(first, first + count), length):
            if failure:
                failed += 1
                click.echo(f"{seed}/{number}: {failure[:400]}")
            if (number + 1) % 500 == 0:
                click.echo(f"{venue}: through {number}, {failed} failed, {time.monotonic() - began:.0f} s", err=True)
        click.echo(f"{count} sequences from {first} on, {failed} failed; seed {seed}, {time.monotonic() - began:.0f} s")
        sys.exit(1 if failed else 0)
    try:
        steps = run_many(entry.make, seed, count, length, first)
    except Difference as exc:
        click.echo(f"{venue}: {exc}; seed {seed}", err=True)
        sys.exit(1)
    click.echo(
        f"{count} sequences from {first} on, {steps:,} steps, no difference; seed {seed}, {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
