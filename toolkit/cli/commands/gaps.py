"""`tickdeck gaps`: what a recording is missing."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.shared_options import named_pairs, pair_option, recording_argument, sealed_option, venue_option
from toolkit.cli.output.instrument_names import venue_columns
from toolkit.cli.output.results import Output, examples, output_options
from toolkit.cli.output.unsealed_note import say_unsealed

__all__ = ["gaps"]


@click.command(epilog=examples("tickdeck gaps tapes/monday", "tickdeck gaps tapes/monday --pair BTC-USD --json"))
@recording_argument
@pair_option
@venue_option
@sealed_option
@check_option
@output_options
def gaps(recording: Path, pairs: tuple[str, ...], venues: tuple[str, ...], sealed: bool, output: Output) -> None:
    """
    List the gaps of a recording. Exits with 3 if there is at least one.

    One row per stream and gap, from the last frame before it to the first frame after it, with its cause. A gap that
    was still open at the end of the recording has no end. Frames that are not sealed yet are included; after a crash,
    the time during which frames may have been lost is a gap.
    """
    from recordings.queries.gaps import find_gaps
    from recordings.recording import Recording

    opened = Recording.open(recording, sealed=sealed)
    say_unsealed([opened])
    frame = find_gaps(opened, named_pairs(opened, pairs, venues), venues=venues)
    several = [column.meta.output_name() for column in venue_columns(frame)]
    output.write(
        frame,
        nothing="no gaps",
        importance=(
            "trading_pair",
            *several,
            *("ts_start", "stream", "seconds", "kind", "cause", "ts_end", "venue", "symbol"),
        ),
    )
    if frame.height:
        raise click.exceptions.Exit(3)
