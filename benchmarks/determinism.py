"""
`python -m benchmarks.determinism [RECORDING]`: the same digest from every process, hash seed, batch size and fidelity.

Without a recording it makes one of generated frames. Exits with 1 if any digest is another one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from benchmarks.harness import ROOT, SHARED_DATA, Options
from benchmarks.importing import imported
from recordings.manifest import read_manifest

__all__ = ["main"]

HASH_SEEDS: Final = ("0", "1", "4294967295")
BATCH_ROWS: Final = (1, 7, 1000, 65_536)
_PROGRAM: Final = """
import sys
from replay.source import ReplayDataSource
source = ReplayDataSource(sys.argv[1], fidelity=sys.argv[2], batch_rows=int(sys.argv[3]), with_digest=True)
source.play()
print(source.chain.hexdigest())
"""


def _digest(folder: Path, fidelity: str, hash_seed: str, batch_rows: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder.absolute()), fidelity, str(batch_rows)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@click.command()
@click.argument("recording", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--frames", default=5_000, show_default=True, help="Frames of the recording that is made.")
def main(recording: Path | None, frames: int) -> None:
    """Compare the digests of many replays with the recorded one."""
    with tempfile.TemporaryDirectory(prefix="tickdeck-determinism-") as work:
        shared = SHARED_DATA if SHARED_DATA.is_dir() else None
        folder = recording or imported(Options(folder=Path(work), frames=frames, shared=shared))[1]
        expected = read_manifest(folder).digest
        click.echo(f"recorded                                {expected}")
        others = 0
        for fidelity, hash_seed, rows in itertools.product(("raw", "normalized"), HASH_SEEDS, BATCH_ROWS):
            digest = _digest(folder, fidelity, hash_seed, rows)
            others += digest != expected
            mark = "" if digest == expected else "  NOT the recorded one"
            click.echo(f"{fidelity:<11} seed {hash_seed:<11} rows {rows:<6} {digest}{mark}")
    if others:
        raise click.ClickException(f"{others} replays gave another digest")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.determinism")
