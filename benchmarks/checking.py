"""
What checking costs: the same work by this checkout and by another, in turn, and the first read of a tape against later ones.

`python -m benchmarks.checking CAPTURE --venue NAME [--before CHECKOUT]`. Each piece of work is a process of its own, and
what counts is the processor time that it takes, which other programs disturb least.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

__all__ = ["main"]

HERE: Final = Path(__file__).resolve().parent.parent
#: Run with the checkout's folder as the present one, so that its packages are imported; prints seconds of processor time.
_PROGRAM: Final = """
import sys, time
from pathlib import Path
work, capture, venue, tape = sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
import analysis
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.source import ReplayDataSource
begun = time.process_time()
if work == "import":
    import_capture([capture], tape, ImportOptions(venue=venue, line_format="collector", compiled=True))
elif work in ("raw", "normalized"):
    source = ReplayDataSource(Recording.open(tape), fidelity=work)
    source.set_message_callback(lambda message: None)
    source.play()
elif work == "spreads":
    analysis.spread_window(tape).report()
elif work == "scan":
    for table in ("raw", "book", "top", "trades"):
        Recording.open(tape).files(table)
print(time.process_time() - begun)
"""
WORK: Final = ("import", "raw", "normalized", "spreads")


def _run(checkout: Path, work: str, capture: Path, venue: str, tape: Path, cache: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, work, str(capture.resolve()), venue, str(tape)],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "TICKDECK_CHECKS": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


@click.command()
@click.argument("capture", type=click.Path(exists=True, path_type=Path))
@click.option("--venue", required=True, help="Whose it is.")
@click.option("--before", type=click.Path(exists=True, path_type=Path), help="Another checkout to compare with.")
@click.option("--rounds", default=5, show_default=True, help="How often each is measured.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(capture: Path, venue: str, before: Path | None, rounds: int, as_json: bool) -> None:
    """Measure what hashes and checksums cost an import, replays and spreads."""
    checkouts = {"now": HERE} if before is None else {"before": before.resolve(), "now": HERE}
    seconds: dict[str, dict[str, list[float]]] = {work: {name: [] for name in checkouts} for work in WORK}
    first: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        tapes = {name: base / f"tape-{name}" for name in checkouts}
        for name, checkout in checkouts.items():  # also compiles what has to be
            _run(checkout, "import", capture, venue, tapes[name], base / "cache")
        size = sum(path.stat().st_size for path in tapes["now"].rglob("*.parquet"))
        for number in range(rounds):
            for work in WORK:
                for name, checkout in checkouts.items():
                    tape = base / f"import-{number}-{name}" if work == "import" else tapes[name]
                    if number == 0 and work != "import":
                        _run(checkout, work, capture, venue, tape, base / "cache")  # its files are remembered now
                    seconds[work][name].append(_run(checkout, work, capture, venue, tape, base / "cache"))
            cold = _run(HERE, "scan", capture, venue, tapes["now"], base / f"cold-{number}")
            warm = _run(HERE, "scan", capture, venue, tapes["now"], base / "cache")
            first.append(cold - warm)
    result = {
        "bytes": size,
        "seconds": {
            work: {name: statistics.median(times) for name, times in of.items()} for work, of in seconds.items()
        },
        "first_read_seconds": statistics.median(first),
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    for work, of in seconds.items():
        middle = {name: statistics.median(times) for name, times in of.items()}
        change = f"{middle['now'] / middle['before'] - 1:+8.1%}" if "before" in middle else ""
        click.echo(f"{work:<12}" + "".join(f"{name} {value:8.3f} s  " for name, value in middle.items()) + change)
    speed = size / max(statistics.median(first), 1e-9) / 1e6
    click.echo(f"first read of {size / 1e6:,.1f} MB: {statistics.median(first):.3f} s more, {speed:,.0f} MB/s")


if __name__ == "__main__":
    main()
