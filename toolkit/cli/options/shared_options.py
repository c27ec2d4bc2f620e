"""
Options that several commands have, each written once: same name, same forms, same help everywhere.

A command takes them as decorators; `tests/toolkit/cli/options/test_shared_options.py` holds that no command spells one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from toolkit.cli.options.value_types import DurationSeconds, Instant, OutputFile

if TYPE_CHECKING:
    from recordings.recording import Recording
    from toolkit.keys import PairName

__all__ = [
    "allow_host_option",
    "channel_option",
    "duration_option",
    "fork_at_option",
    "from_option",
    "jobs_option",
    "json_option",
    "loop_option",
    "named_pairs",
    "out_folder_option",
    "pair_option",
    "plot_option",
    "print_option",
    "recording_argument",
    "recordings_argument",
    "report_option",
    "sealed_option",
    "seed_option",
    "speed_option",
    "to_option",
    "venue_name_option",
    "venue_option",
]

_F = TypeVar("_F", bound=Callable[..., Any])

#: `--pair` of what reads a recording; the command gets `pairs`, to be handed to `named_pairs`.
pair_option: Final = click.option(
    "-p",
    "--pair",
    "pairs",
    multiple=True,
    metavar="PAIR",
    help="Only this pair: BTC-USD, the venue's symbol, or BTC where one pair has that base. May be repeated.",
)
#: `--jobs` of what can be done by several processors at a time.
jobs_option: Final = click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Do so much of it at a time; what comes of it is the same.",
)
#: `--allow-host` of what can be reached from other machines.
allow_host_option: Final = click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="Additional host name by which clients reach it, besides localhost and the address. May be repeated.",
)
#: `--venue` of what reads a recording, or records; the command gets `venues`.
venue_option: Final = click.option(
    "--venue", "venues", multiple=True, metavar="VENUE", help="Only this venue. May be repeated."
)
#: `--channel` of what reads a recording; the command gets `channels`.
channel_option: Final = click.option(
    "-c",
    "--channel",
    "channels",
    multiple=True,
    metavar="KIND",
    help="Only this kind of message (book, trades, ...), and events. May be repeated.",
)
#: `--from` and `--to`; the command gets `start_ns` and `end_ns`.
from_option: Final = click.option(
    "--from",
    "start_ns",
    type=Instant(),
    metavar="TIME",
    help="Begin at this time, such as 2026-11-22T13:34:05.5 (UTC, to the nanosecond) or now.",
)
to_option: Final = click.option(
    "--to",
    "end_ns",
    type=Instant(),
    metavar="TIME",
    help="End before this time, such as 2026-11-22T14:00 (UTC, to the nanosecond).",
)
#: `--fork-at` of what runs a strategy; the command gets `fork_at`.
fork_at_option: Final = click.option(
    "--fork-at",
    "fork_at",
    type=Instant(),
    metavar="TIME",
    help="Run once up to this time, and go on from its state with each value that --set gives of a parameter.",
)
#: `--json` of what prints no rows; what does has it from `output_options`. The command gets `as_json`.
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
print_option: Final = click.option(
    "--print", "as_lines", is_flag=True, help="Print every message, one JSON object per line."
)
plot_option: Final = click.option(
    "--plot",
    type=OutputFile(".png", ".html"),
    metavar="FILE",
    help="Also draw a chart: FILE.png, or FILE.html, which needs no network.",
)
report_option: Final = click.option(
    "--report",
    type=OutputFile(".html"),
    metavar="FILE",
    help="Also write a report, FILE.html that needs no network, and its charts as FILE.png.",
)
#: `--sealed` of what reads a recording that may still be written; the command gets `sealed`. See `toolkit/cli/output/unsealed_note.py`.
sealed_option: Final = click.option(
    "--sealed", is_flag=True, help="Read the sealed part only, without a note on stderr about the rest."
)
loop_option: Final = click.option("--loop", is_flag=True, help="Start again at the end, until interrupted.")


def _default(value: str | None) -> dict[str, Any]:
    return {} if value is None else {"default": value, "show_default": True}


def venue_name_option(default: str | None = None, *, required: bool = False) -> Callable[[_F], _F]:
    """`--venue` of what is to speak or understand one venue's language."""
    return click.option(
        "--venue",
        **_default(default),
        required=required,
        metavar="NAME",
        help="Venue whose interface and frames these are; an unknown name lists the known ones.",
    )


def speed_option(default: str) -> Callable[[_F], _F]:
    """`--speed`; the command gets text for `toolkit.timing.times.parse_speed`."""
    return click.option(
        "--speed",
        default=default,
        show_default=True,
        metavar="SPEED",
        help="max (as fast as possible), or a multiple of the recorded pace: 1x, 0.5x, 100x.",
    )


def seed_option(default: str) -> Callable[[_F], _F]:
    """`--seed` of a synthetic market."""
    return click.option(
        "--seed",
        default=default,
        show_default=True,
        metavar="SEED",
        help="Seed of the synthetic market; the same seed gives the same market.",
    )


def out_folder_option(*, required: bool = False) -> Callable[[_F], _F]:
    """`--out` of what makes a recording, or another folder."""
    return click.option(
        "-o",
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="FOLDER",
        required=required,
        help="Folder to write to.",
    )


def duration_option(default: str | None = None) -> Callable[[_F], _F]:
    """`--duration` of what records; the command gets seconds."""
    return click.option(
        "-d",
        "--duration",
        type=DurationSeconds(),
        metavar="DURATION",
        **_default(default),
        help="Stop after this long: 60s, 15m, 8h.",
    )


recording_argument: Final = click.argument("recording", type=click.Path(path_type=Path))
recordings_argument: Final = click.argument(
    "recordings", nargs=-1, required=True, metavar="RECORDING...", type=click.Path(path_type=Path)
)


def named_pairs(
    recordings: Sequence[Recording | Path] | Recording | Path, names: Sequence[str], venues: Sequence[str] = ()
) -> list[PairName]:
    """The pairs that `--pair` means: see `recordings.queries.pair_names.pairs_named`. Nothing is opened without a name or venue."""
    if not names and not venues:
        return []
    from recordings.queries.pair_names import pairs_named
    from recordings.recording import Recording

    given = [recordings] if isinstance(recordings, Recording | Path) else recordings
    return pairs_named([each if isinstance(each, Recording) else Recording.open(each) for each in given], names, venues)
