"""`tickdeck gaps`: what a recording is missing."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.checks import check_option
from toolkit.cli.output import Output, examples, output_options

__all__ = ["gaps"]


@click.command(epilog=examples("tickdeck gaps tapes/monday", "tickdeck gaps tapes/monday --pair BTC-USD --json"))
@click.argument("recording", type=click.Path(path_type=Path))
@click.option("-p", "--pair", "pairs", multiple=True, help="Only this pair; may be repeated.")
@check_option
@output_options
def gaps(recording: Path, pairs: tuple[str, ...], output: Output) -> None:
    """
    List the stretches that a recording is missing. Exits with 3 if there is at least one.

    A row per stream and stretch: from the last frame before to the first after it, and why. A stretch that was still
    open when the recording ended has no end.
    """
    from recordings.gaps import find_gaps

    frame = find_gaps(recording, pairs)
    output.write(frame)
    if frame.height:
        raise click.exceptions.Exit(3)
