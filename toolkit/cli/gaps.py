"""`tickdeck gaps`: what a recording is missing."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.checks import check_option
from toolkit.cli.instruments import venue_columns
from toolkit.cli.options import named_pairs, pair_option, recording_argument, venue_option
from toolkit.cli.output import Output, examples, output_options

__all__ = ["gaps"]


@click.command(epilog=examples("tickdeck gaps tapes/monday", "tickdeck gaps tapes/monday --pair BTC-USD --json"))
@recording_argument
@pair_option
@venue_option
@check_option
@output_options
def gaps(recording: Path, pairs: tuple[str, ...], venues: tuple[str, ...], output: Output) -> None:
    """
    List the stretches that a recording is missing. Exits with 3 if there is at least one.

    A row per stream and stretch: from the last frame before to the first after it, and why. A stretch that was still
    open when the recording ended has no end.
    """
    from recordings.gaps import find_gaps

    frame = find_gaps(recording, named_pairs(recording, pairs, venues), venues=venues)
    several = [column.meta.output_name() for column in venue_columns(frame)]
    output.write(
        frame,
        nothing="no gaps",
        importance=(
            "trading_pair",
            *several,
            *("ts_start", "seconds", "kind", "stream", "cause", "ts_end", "venue", "symbol"),
        ),
    )
    if frame.height:
        raise click.exceptions.Exit(3)
