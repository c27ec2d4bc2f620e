"""
`python -m tests.flips`: ten thousand flipped bits, read with everything that reads, as a table.

Example:  python -m tests.flips --flips 500 --seed 7
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.flips import commands
from tests.flips.readers import OPEN_READERS, READERS, WRITERS
from tests.flips.tapes import files_of, make, make_open
from tests.flips.trial import run

#: Of the flips: those that are read by what writes, too, and those in journals. Both copy the folder each time.
WRITTEN = 0.02
OPEN = 0.02


@click.command()
@click.option("--flips", default=10_000, show_default=True, help="In this process.")
@click.option("--command-line", "spawned", default=200, show_default=True, help="Through the command line besides.")
@click.option("--seed", default="1", show_default=True, help="Decides which bits.")
def main(flips: int, spawned: int, seed: str) -> None:
    """Flip bits in a recording and read it with everything; fails if anything answers wrongly, or with a traceback."""
    logging.disable()  # a seek says which state it passes over
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        os.environ["TICKDECK_CHECKS"] = str(work / "cache")
        recording = make(work / "tape", work / "session")
        make_open(work / "open", recording)
        size = sum(path.stat().st_size for path in files_of(recording.path))
        click.echo(f"a recording of {size:,} bytes in {len(files_of(recording.path))} files, seed {seed}")
        tables = []
        for title, folder, readers, count, all_every in (
            ("what reads", recording.path, READERS, flips, 200),
            ("what writes", recording.path, WRITERS, round(flips * WRITTEN), 1),
            ("what a crash left", work / "open", OPEN_READERS, round(flips * OPEN), 1),
            ("the command line", recording.path, commands.READERS, spawned, 1),
        ):
            begun = time.monotonic()

            def progress(done: int, of: int = count, begun: float = begun, title: str = title) -> None:
                if sys.stderr.isatty() or done % 500 == 0:
                    click.echo(f"{title}: {done:,} of {of:,}, {time.monotonic() - begun:,.0f} s", err=True)

            # Bits between the batches of a journal say nothing.
            seen = readers is not OPEN_READERS
            tally = run(folder, readers, count, f"{seed}/{title}", progress, must_be_seen=seen, all_every=all_every)
            tables.append(tally)
            click.echo(f"\n{title}, {time.monotonic() - begun:,.0f} s\n{tally.table()}")
    if not all(tally.is_clean for tally in tables):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
