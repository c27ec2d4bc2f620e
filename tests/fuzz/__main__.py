"""
`python -m tests.fuzz`: both ways of importing over mutated frames, files, cuts and segments, until so many frames went.

Cases run in processes that are begun again every now and then, with a limit of memory: one that crashes, or takes more than
it may, is a finding as much as a difference is. Each case follows from the seed and its number alone.

Example:  python -m tests.fuzz --frames 10000000 --seed 7
          python -m tests.fuzz --seed 7 --case 1234
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click

from tests.fuzz.cases import case
from tests.fuzz.frames import Captures
from toolkit.rng import fresh_seed

#: Frames of one process, and how much memory it may ask for and use.
PROCESS_FRAMES = 100_000
ADDRESS_BYTES = 6 << 30
RESIDENT_BYTES = 1 << 30
_SHARED = Path(os.environ.get("TICKDECK_SHARED_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")


def resident_bytes() -> int:
    """The most memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def work(seed: str, first: int, frames: int, folder: Path, venue: str = "") -> int:
    """Cases from `first` on until so many frames went; prints a line for each. The exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    captures = Captures(_SHARED)
    done, number = 0, first
    while done < frames:
        click.echo(f"begin {number}")
        try:
            outcome = case(f"{seed}/{number}", folder / "case", captures, venue)
        except BaseException:  # noqa: BLE001  # whatever it is, it is a finding
            click.echo(traceback.format_exc()[-4000:])
            return 1
        if resident_bytes() > RESIDENT_BYTES:
            click.echo(f"{resident_bytes() >> 20} MiB of memory used, expected at most {RESIDENT_BYTES >> 20}")
            return 1
        done += max(outcome.frames, 1)
        click.echo(f"end {number} {outcome.frames} {outcome.taken} {resident_bytes() >> 20} {outcome.kind}")
        number += 1
    return 0


def run(
    seed: str,
    frames: int,
    folder: Path,
    *,
    first: int = 0,
    checked: bool = False,
    quiet: bool = False,
    venue: str = "",
) -> str:
    """Run cases until so many frames went; what was found, empty if nothing."""
    environment = os.environ | ({"NUMBA_BOUNDSCHECK": "1"} if checked else {})
    number, done, taken, cases, memory = first, 0, 0, 0, 0
    started = time.monotonic()
    while done < frames:
        share = min(PROCESS_FRAMES, frames - done)
        arguments = [
            "--seed",
            seed,
            "--first",
            str(number),
            "--frames",
            str(share),
            "--folder",
            str(folder),
            "--venue",
            venue,
            "--worker",
        ]
        child = subprocess.run(
            [sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", *arguments],
            env=environment,
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        for line in child.stdout.splitlines():
            if line.startswith("end "):
                _, at, count, compiled, used, _ = line.split(maxsplit=5)
                number, cases = int(at) + 1, cases + 1
                done, taken, memory = done + max(int(count), 1), taken + int(compiled), max(memory, int(used))
        if child.returncode:
            text = child.stdout.rpartition("begin ")[2]
            return (
                f"case {number} (--seed {seed} --case {number}), after {done:,} frames in {cases:,} cases: exit code "
                f"{child.returncode}\n{text}\n{child.stderr[-3000:]}"
            )
        if not quiet:
            rate = done / (time.monotonic() - started)
            click.echo(
                f"{done:,} frames in {cases:,} cases equal ({taken:,} by compiled code in segments, {rate:,.0f} frames/s, "
                f"{memory} MiB at most)",
            )
    return ""


@click.command(epilog="Example:  python -m tests.fuzz --frames 1000000 --seed 7")
@click.option("--frames", default=10_000_000, show_default=True, help="Frames that go both ways.")
@click.option("--seed", default=None, help="Decides everything; a fresh one is made and shown by default.")
@click.option("--first", default=0, show_default=True, help="Number of the first case.")
@click.option("--case", "only", type=int, help="Run this case alone.")
@click.option("--checked", is_flag=True, help="With kernels that check every access to memory.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where to work; a temporary folder.")
@click.option("--venue", default="", help="Venues whose names begin so; all by default.")
@click.option("--worker", is_flag=True, hidden=True)
def main(
    frames: int,
    seed: str | None,
    first: int,
    only: int | None,
    checked: bool,
    folder: Path | None,
    venue: str,
    worker: bool,
) -> None:
    """Both ways of importing over mutated frames, files, cuts and segments."""
    seed = seed or str(fresh_seed())
    if worker:
        assert folder is not None
        sys.exit(work(seed, first, frames, folder, venue))
    with tempfile.TemporaryDirectory(prefix="tickdeck-fuzz-", dir=folder) as work_folder:
        if only is not None:
            click.echo(case(f"{seed}/{only}", Path(work_folder, "case"), Captures(_SHARED), venue))
            return
        click.echo(f"seed {seed}")
        found = run(seed, frames, Path(work_folder), first=first, checked=checked, venue=venue)
    if found:
        click.echo(found)
        sys.exit(1)
    click.echo(f"no difference in {frames:,} frames")


if __name__ == "__main__":
    main()
