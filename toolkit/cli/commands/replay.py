"""`tickdeck replay`: a recording through the code that ran live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.shared_options import (
    channel_option,
    from_option,
    json_option,
    loop_option,
    named_pairs,
    pair_option,
    print_option,
    recordings_argument,
    sealed_option,
    speed_option,
    to_option,
    venue_option,
)
from toolkit.cli.output.instrument_names import crossed_rows, write_crossed
from toolkit.cli.output.printable import say_json, say_json_line
from toolkit.cli.output.results import counted, examples, progress_bar, say
from toolkit.cli.output.unsealed_note import say_unsealed
from toolkit.clock import NS_PER_S, perf_ns

if TYPE_CHECKING:
    from collections.abc import Callable

    from replay.source import ReplayDataSource
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
@recordings_argument
@click.option(
    "--fidelity",
    type=click.Choice(["raw", "normalized"]),
    default="normalized",
    show_default=True,
    help="raw runs the venue's protocol over the frames; normalized reads the stored messages, which is faster.",
)
@pair_option
@venue_option
@channel_option
@speed_option("max")
@from_option
@to_option
@loop_option
@print_option
@click.option(
    "--batch-rows", type=click.IntRange(min=1), help="Rows read at a time; any number gives the same messages."
)
@json_option
@sealed_option
@check_option
def replay(
    recordings: tuple[Path, ...],
    fidelity: str,
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    channels: tuple[str, ...],
    speed: str,
    start_ns: int | None,
    end_ns: int | None,
    loop: bool,
    as_lines: bool,
    batch_rows: int | None,
    as_json: bool,
    sealed: bool,
) -> None:
    """
    Replay recordings and print what came out: messages, books, digest.

    Several recordings are merged by receive time. With --from the replay starts with the books as they were at that
    time. Exits with 1 if the digest differs from the recorded one; a replay of several recordings, of some pairs,
    venues or channels, or up to --to has no recorded digest. A recording in progress is replayed up to what was written
    when the command started, and compared by the digest of its sealed part.
    """
    import asyncio

    from recordings.recording import Recording
    from replay.source import ReplayDataSource
    from toolkit.timing.times import parse_speed

    pace = parse_speed(speed)
    opened = [Recording.open(path, sealed=sealed) for path in recordings]
    say_unsealed(opened)
    source = ReplayDataSource(
        opened,
        fidelity="raw" if fidelity == "raw" else "normalized",
        trading_pairs=named_pairs(opened, pairs, venues) or None,
        venues=venues or None,
        channels=channels or None,
        batch_rows=batch_rows,
        # That of several recordings is known from their beginning only, which is what a later start saves.
        with_digest=not pairs and not venues and not channels and not (len(recordings) > 1 and start_ns is not None),
        speed=pace,
        start_ns=start_ns,
        end_ns=end_ns,
        loop=loop,
    )
    asyncio.run(source.initialize())
    total = sum(segment.message_count for each in source.recordings for segment in each.manifest.segments)
    total += sum(each.tail.end_seq - each.tail.begin_seq for each in source.recordings if each.tail is not None)
    seam = _Seam(source)
    began = perf_ns()
    with progress_bar("replaying", total) as advance:
        source.set_message_callback(seam.watching(_callback(as_lines, advance)))
        if pace is None:
            source.play()
        else:
            asyncio.run(source.player.run())
    seconds = (perf_ns() - began) / NS_PER_S
    digest = source.chain.hexdigest() if source.chain is not None else None
    recorded = source.recording.manifest.digest if digest and len(recordings) == 1 and end_ns is None else None
    # What compared nothing is not equal to anything.
    compares = recorded is not None and seam.is_behind_frames and (start_ns is None or start_ns <= seam.sealed_ns)
    result = {
        "recording": " ".join(map(str, recordings)),
        "fidelity": fidelity,
        "messages": source.message_count,
        "seconds": round(seconds, 6),
        "digest": digest,
        "recorded_digest": recorded or None,
        "sealed_digest": seam.digest if recorded else None,
        "equal": seam.digest == recorded if compares else None,
        "unsealed_frames": seam.unsealed_frames,
        "crossed": crossed_rows(source.tracker),
    }
    if as_json:
        say_json(result)
    else:
        _write(result, to_stderr=as_lines)
    if result["equal"] is False:
        raise click.exceptions.Exit(1)


class _Seam:
    """
    Where the sealed part of a recording ends and what is not sealed yet begins: the digest there is the recorded one.

    Args:
        source: Source of one recording; of several nothing is compared.

    Attributes:
        unsealed_frames: Frames after it, of all recordings.
        is_behind_frames: Whether anything is sealed.
        sealed_ns: Latest receive time of that.
    """

    def __init__(self, source: ReplayDataSource) -> None:
        self._source = source
        self._tail = source.recording.tail
        self._digest: str | None = None
        segments = source.recording.manifest.segments
        tails = [each.tail for each in source.recordings if each.tail is not None]
        self.unsealed_frames = sum(tail.unsealed.frame_count for tail in tails)
        self.is_behind_frames = bool(segments)
        self.sealed_ns = max((segment.ts_recv_last for segment in segments), default=0)

    def watching(self, callback: Callable[[Message], None]) -> Callable[[Message], None]:
        """The callback, and whatever it takes to know the digest at the seam."""
        tail, chain = self._tail, self._source.chain
        if tail is None or chain is None or len(self._source.recordings) > 1:
            return callback
        first_seq = tail.begin_seq

        def watch(message: Message) -> None:
            if message.capture_seq >= first_seq and self._digest is None:
                self._digest = chain.before_frame()
            callback(message)

        return watch

    @property
    def digest(self) -> str | None:
        """The digest there, once it was played; None without a digest."""
        if self._digest is not None:
            return self._digest
        return self._source.chain.hexdigest() if self._source.chain is not None else None


def _callback(as_lines: bool, advance: Any) -> Any:
    import msgspec

    encode = msgspec.json.encode

    def line(message: Message) -> None:
        say_json_line(encode(message))
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
    say(
        f"{counted(result['messages'], 'message')} ({result['fidelity']}) in {result['seconds']:.3f} s, {rate:,.0f}/s",
        err=to_stderr,
    )
    write_crossed(result["crossed"], to_stderr=to_stderr)
    if result["digest"] is not None:
        say(f"digest {result['digest']}{_verdict(result)}", err=to_stderr)


def _verdict(result: dict[str, Any]) -> str:
    unsealed, equal = result["unsealed_frames"], result["equal"]
    rest = "the frame" if unsealed == 1 else f"the {counted(unsealed, 'frame')}"
    if unsealed and equal is None:
        return f"; nothing was compared: {rest} that {'are' if unsealed != 1 else 'is'} not sealed have no digest yet"
    if unsealed and equal:
        return f"; that of what is sealed is equal to the recorded one, {rest} after it have none yet"
    if unsealed:
        return f"; that of what is sealed is {result['sealed_digest']}, NOT the recorded {result['recorded_digest']}"
    verdicts = {True: ", equal to the recorded one", False: f", NOT the recorded {result['recorded_digest']}", None: ""}
    return verdicts[equal]
