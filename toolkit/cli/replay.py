"""`tickdeck replay`: a recording through the code that ran live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.checks import check_option
from toolkit.cli.output import examples, progress_bar
from toolkit.clock import NS_PER_S, perf_ns

if TYPE_CHECKING:
    from toolkit.messages import Message

__all__ = ["replay"]


@click.command(
    epilog=examples(
        "tickdeck replay tapes/monday",
        "tickdeck replay tapes/monday --fidelity raw --pair BTC-USD --print | head",
        "tickdeck replay tapes/monday tapes/tuesday --channel trades --print",
        "tickdeck replay tapes/monday --from 2026-11-22T13:34:05.123456789 --speed 10x --print",
    )
)
@click.argument("recordings", nargs=-1, required=True, metavar="RECORDING...", type=click.Path(path_type=Path))
@click.option(
    "--fidelity",
    type=click.Choice(["raw", "normalized"]),
    default="normalized",
    show_default=True,
    help="raw runs the venue's protocol over the frames; normalized reads the stored messages, which is faster.",
)
@click.option("-p", "--pair", "pairs", multiple=True, help="Only this pair; may be repeated.")
@click.option("--channel", "channels", multiple=True, help="Only this kind of message (book, trades, ...), and events.")
@click.option("--speed", default="max", show_default=True, help="max, or as a multiple of the recorded pace: 1x, 0.5x.")
@click.option("--from", "start", help="Begin at this time, with the books as they are then; UTC, to the nanosecond.")
@click.option("--to", "end", help="End before this time.")
@click.option("--loop", is_flag=True, help="Begin again at the end, until interrupted.")
@click.option("--print", "as_lines", is_flag=True, help="Print every message, one JSON object a line.")
@click.option(
    "--batch-rows", type=click.IntRange(min=1), help="Rows read at a time; any number gives the same messages."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@check_option
def replay(
    recordings: tuple[Path, ...],
    fidelity: str,
    pairs: tuple[str, ...],
    channels: tuple[str, ...],
    speed: str,
    start: str | None,
    end: str | None,
    loop: bool,
    as_lines: bool,
    batch_rows: int | None,
    as_json: bool,
) -> None:
    """
    Replay recordings and say what came out: messages, books, digest. Several are merged by receive time.

    Exits with 1 if the digest is not the recorded one. Of several recordings, with --pair, --channel or --to there is
    nothing to compare it with, and of several that do not begin at the beginning there is none.
    """
    import asyncio

    from replay.source import ReplayDataSource
    from toolkit.times import parse_speed, time_ns

    pace = parse_speed(speed)
    source = ReplayDataSource(
        recordings,
        fidelity="raw" if fidelity == "raw" else "normalized",
        trading_pairs=pairs or None,
        channels=channels or None,
        batch_rows=batch_rows,
        # That of several recordings is known from their beginning only, which is what a later start saves.
        with_digest=not pairs and not channels and not (len(recordings) > 1 and start is not None),
        speed=pace,
        start_ns=None if start is None else time_ns(start),
        end_ns=None if end is None else time_ns(end),
        loop=loop,
    )
    asyncio.run(source.initialize())
    total = sum(segment.message_count for each in source.recordings for segment in each.manifest.segments)
    began = perf_ns()
    with progress_bar("replaying", total) as advance:
        source.set_message_callback(_callback(as_lines, advance))
        if pace is None:
            source.play()
        else:
            asyncio.run(source.player.run())
    seconds = (perf_ns() - began) / NS_PER_S
    digest = source.chain.hexdigest() if source.chain is not None else None
    recorded = source.recording.manifest.digest if digest and len(recordings) == 1 and end is None else None
    result = {
        "recording": " ".join(map(str, recordings)),
        "fidelity": fidelity,
        "messages": source.message_count,
        "seconds": round(seconds, 6),
        "digest": digest,
        "recorded_digest": recorded,
        # What compared nothing is not equal to anything.
        "equal": digest == recorded if recorded is not None and source.recording.manifest.segments else None,
        "crossed": source.tracker.crossed_count,
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        _write(result, to_stderr=as_lines)
    if result["equal"] is False:
        raise click.exceptions.Exit(1)


def _callback(as_lines: bool, advance: Any) -> Any:
    import msgspec

    encode = msgspec.json.encode

    def line(message: Message) -> None:
        click.echo(encode(message))
        advance(1)

    count = 0

    def only_count(_: Message) -> None:
        nonlocal count
        count += 1
        if count % 8192 == 0:
            advance(8192)

    return line if as_lines else only_count


def _write(result: dict[str, Any], *, to_stderr: bool) -> None:
    rate = result["messages"] / result["seconds"] if result["seconds"] else 0.0
    click.echo(
        f"{result['messages']:,} messages ({result['fidelity']}) in {result['seconds']:.3f} s, {rate:,.0f}/s",
        err=to_stderr,
    )
    for pair, count in sorted(result["crossed"].items()):
        click.echo(f"crossed book: {pair} after {count:,} messages", err=to_stderr)
    if result["digest"] is not None:
        verdict = {
            True: ", equal to the recorded one",
            False: f", NOT the recorded {result['recorded_digest']}",
            None: "",
        }[result["equal"]]
        click.echo(f"digest {result['digest']}{verdict}", err=to_stderr)
