"""`python -m benchmarks [name...]`: print the machine, then the figures."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from benchmarks.harness import SHARED_DATA, Options, machine, show

#: Name of a benchmark to its module, in the order they run.
BENCHES: Final = {
    "import": "benchmarks.importing",
    "convert": "benchmarks.converting",
    "replay": "benchmarks.replaying",
    "matching": "benchmarks.matching",
    "backtest": "benchmarks.backtesting",
    "fast": "benchmarks.fast",
    "connector": "benchmarks.connector",
    "journal": "benchmarks.journal",
    "sealing": "benchmarks.sealing",
    "size": "benchmarks.size",
    "seek": "benchmarks.seeking",
    "memory": "benchmarks.memory",
    "many-pairs": "benchmarks.many_pairs",
    "tiers": "benchmarks.tiers",
    "serving": "benchmarks.serving",
    "peers": "benchmarks.peers",
}


@click.command(
    epilog="Examples:  python -m benchmarks import replay --frames 20000; python -m benchmarks oracle --help"
)
@click.argument("names", nargs=-1, type=click.Choice([*BENCHES]), metavar="[NAME]...")
@click.option("--frames", default=200_000, show_default=True, help="Frames that are imported and replayed.")
@click.option("--repeats", default=3, show_default=True, help="Runs of which the median is taken.")
@click.option("--seconds", default=60.0, show_default=True, help="Length of the sustained run of `journal`.")
@click.option("--seal-frames", default=5_000_000, show_default=True, help="Frames of the segment that is sealed.")
@click.option("--seek-frames", default=1_000_000, show_default=True, help="Frames of the segment that is sought in.")
@click.option("--memory-gib", default=1.0, show_default=True, help="Payload of the largest tape of `memory`, GiB.")
@click.option(
    "--venue-frames", default=240_000, show_default=True, help="Frames of each recording of `many-pairs` and `tiers`."
)
@click.option(
    "--peers",
    is_flag=True,
    help="Compare `backtest` with NautilusTrader and `fast` with hftbacktest too, as `peers` does.",
)
@click.option("--no-captures", is_flag=True, help="Use the embedded market even where captures are at hand.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where to work; a temporary folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def main(
    names: tuple[str, ...],
    frames: int,
    repeats: int,
    seconds: float,
    seal_frames: int,
    seek_frames: int,
    memory_gib: float,
    venue_frames: int,
    peers: bool,
    no_captures: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Measure importing, replaying, recording and sealing, and the same of other systems where they can be had."""
    facts = machine()
    shared = SHARED_DATA if SHARED_DATA.is_dir() and not no_captures else None
    if not as_json:
        for name, text in facts:
            click.echo(f"{name:<9} {text}")
        if shared is None:
            click.echo("captures  none: frames are made by the embedded market")
    figures = []
    with tempfile.TemporaryDirectory(prefix="tickdeck-bench-", dir=folder) as work:
        options = Options(
            folder=Path(work),
            frames=frames,
            repeats=repeats,
            seconds=seconds,
            seal_frames=seal_frames,
            seek_frames=seek_frames,
            memory_bytes=round(memory_gib * 2**30),
            venue_frames=venue_frames,
            shared=shared,
            peers=peers,
        )
        for name in dict.fromkeys(names or BENCHES):
            if not as_json:
                click.echo(f"\n{name}")
            for figure in importlib.import_module(BENCHES[name]).run(options):
                figures.append(figure)
                if not as_json:
                    click.echo(show(figure))
    if as_json:
        values = {"machine": dict(facts), "figures": [dataclasses.asdict(figure) for figure in figures]}
        click.echo(json.dumps(values, indent=2))


if __name__ == "__main__":
    # It measures nothing and has options of its own.
    if sys.argv[1:2] == ["oracle"]:
        importlib.import_module("benchmarks.oracle_command").oracle(
            sys.argv[2:], prog_name="python -m benchmarks oracle"
        )
    if sys.argv[1:2] == ["check"]:
        importlib.import_module("benchmarks.reference").check(sys.argv[2:], prog_name="python -m benchmarks check")
    main(prog_name="python -m benchmarks")
