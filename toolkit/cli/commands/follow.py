"""`tickdeck follow`: a recording while it is made, from a time of its tape on over into the live feed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.shared_options import (
    channel_option,
    from_option,
    json_option,
    named_pairs,
    pair_option,
    print_option,
    recording_argument,
    venue_option,
)
from toolkit.cli.options.value_types import DurationSeconds
from toolkit.cli.output.instrument_names import crossed_rows, write_crossed
from toolkit.cli.output.printable import say_json, say_json_line
from toolkit.cli.output.results import counted, examples, say
from toolkit.cli.output.status_line import StatusLine
from toolkit.cli.process import stopped_by_signals
from toolkit.clock import NS_PER_S, SystemClock

if TYPE_CHECKING:
    from replay.follow import FollowDataSource
    from toolkit.messages import Message

__all__ = ["follow"]

#: Seconds between two renewals of the status line.
RENEW_S: Final = 0.5


@click.command(
    epilog=examples(
        "tickdeck follow tapes/now",
        "tickdeck follow tapes/now --from now --channel trades --print",
        "tickdeck follow tapes/now --from 2026-11-22T13:34:05.123456789 --pair BTC-USD --print | head",
    )
)
@recording_argument
@from_option
@pair_option
@venue_option
@channel_option
@print_option
@click.option(
    "--tee", "tee_url", metavar="URL", help="URL of the recorder's tee; by default the one that its folder states."
)
@click.option(
    "--patience",
    type=DurationSeconds(),
    metavar="DURATION",
    default="60s",
    show_default=True,
    help="How long to wait for a recorder that died to come back.",
)
@json_option
@check_option
def follow(
    recording: Path,
    start_ns: int | None,
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    channels: tuple[str, ...],
    as_lines: bool,
    tee_url: str | None,
    patience: float,
    as_json: bool,
) -> None:
    """
    Follow a recording in progress: catch up, then switch to the live feed.

    No message is missing or repeated. Starts at the beginning of the recording; with --from at that time, with the
    books as they were then; `--from now` prints the live feed alone. Ends when the recorder ends, or with Ctrl-C, and
    prints a summary. Frames that are already recorded are read from the folder, later ones from the recorder if it was
    started with --tee-port; otherwise the folder is read four times a second. Exits with 1 if the whole recording was
    followed and its digest differs from the recorded one.
    """
    import asyncio

    from replay.follow import FollowDataSource

    clock = SystemClock()
    # Messages that are printed on the same terminal would be torn apart by a line that renews itself.
    line = StatusLine(sys.stderr, renews=not (as_lines and sys.stdout.isatty()))
    source = FollowDataSource(
        recording,
        start_ns=start_ns,
        trading_pairs=named_pairs(recording, pairs, venues) or None,
        venues=venues or None,
        channels=channels or None,
        with_digest=not pairs and not venues and not channels,
        tee_url=tee_url,
        patience_s=patience,
        log=line.log,
    )
    source.set_message_callback(_printer() if as_lines else None)
    began = clock.monotonic_ns()
    was_interrupted = asyncio.run(_run(source, line))
    seconds = (clock.monotonic_ns() - began) / NS_PER_S
    result = _result(recording, source, seconds, was_interrupted)
    if as_json:
        say_json(result, err=as_lines)
    else:
        _write(result, to_stderr=as_lines)
    if result["equal"] is False:
        raise click.exceptions.Exit(1)


async def _run(source: FollowDataSource, line: StatusLine) -> bool:
    """Follow until the end or a signal; whether it was a signal."""
    import asyncio

    loop = asyncio.get_running_loop()
    was_interrupted = False

    def stop() -> None:
        nonlocal was_interrupted
        was_interrupted = True
        source.halt()

    shower = loop.create_task(line.renew(lambda: _status(source), RENEW_S))
    try:
        with stopped_by_signals(loop, stop, line.close):
            await source.initialize()
            await source.start()
            await source.wait()
    finally:
        shower.cancel()
        line.close()
    return was_interrupted


def _status(source: FollowDataSource) -> list[tuple[int, str]]:
    follower = source.follower
    return [
        (0, counted(source.frame_count, "frame")),
        (2, counted(source.message_count, "message")),
        (1, "live" if follower.is_live else "from the folder"),
        (3, f"hand-overs {follower.handover_count}"),
    ]


def _result(recording: Path, source: FollowDataSource, seconds: float, was_interrupted: bool) -> dict[str, Any]:
    follower = source.follower
    manifest = follower.recording.manifest
    digest = source.chain.hexdigest() if source.chain is not None else None
    is_whole = digest is not None and not was_interrupted
    return {
        "recording": str(recording),
        "messages": source.message_count,
        "frames_from_folder": follower.disk_count,
        "frames_from_tee": follower.tee_count,
        "handovers": follower.handover_count,
        "next_frame": follower.recording.next_seq,
        "status": manifest.status,
        "seconds": round(seconds, 6),
        "digest": digest,
        "recorded_digest": manifest.digest if is_whole else None,
        "equal": digest == manifest.digest if is_whole else None,
        "crossed": crossed_rows(source.tracker),
    }


def _write(result: dict[str, Any], *, to_stderr: bool) -> None:
    say(
        f"{counted(result['messages'], 'message')} up to frame {result['next_frame'] - 1:,}: "
        f"{counted(result['frames_from_folder'], 'frame')} from the folder, {result['frames_from_tee']:,} from the recorder, "
        f"{counted(result['handovers'], 'hand-over')}",
        err=to_stderr,
    )
    write_crossed(result["crossed"], to_stderr=to_stderr)
    if result["digest"] is not None:
        verdict = {
            True: ", equal to the recorded one",
            False: f", NOT the recorded {result['recorded_digest']}",
            None: ", the recording goes on",
        }[result["equal"]]
        say(f"digest {result['digest']}{verdict}", err=to_stderr)


def _printer() -> Callable[[Message], None]:
    import msgspec

    encode = msgspec.json.encode

    def line(message: Message) -> None:
        say_json_line(encode(message))

    return line
