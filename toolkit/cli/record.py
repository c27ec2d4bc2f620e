"""`tickdeck record`: a live session into a recording."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from toolkit.cli.output import examples
from toolkit.cli.params import DurationSeconds, UtcTime
from toolkit.cli.status_line import StatusLine
from toolkit.clock import NS_PER_S, SystemClock, utc_stamp
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from recordings.manifest import Manifest
    from recordings.recorder import Recorder, RecorderOptions

__all__ = ["record", "run_recorder"]

TAPES: Final = Path("tapes")


@click.command(
    epilog=examples(
        "tickdeck record hyperliquid BTC-USD ETH-USD --duration 60s --out tapes/monday",
        "tickdeck record hyperliquid BTC-USD --channel full --channel trades",
    )
)
@click.argument("venue")
@click.argument("pairs", nargs=-1, required=True, metavar="PAIR...")
@click.option(
    "-o",
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the recording; an earlier one of the same pairs is continued. "
    "By default ./tapes/<venue>-<UTC start>.",
)
@click.option("-d", "--duration", type=DurationSeconds(), help="Stop after this long: 60s, 15m, 8h.")
@click.option("--until", type=UtcTime(), help="Stop at this time, such as 2026-11-22T16:00 (UTC).")
@click.option("-c", "--channel", "channels", multiple=True, help="Record this channel instead of the venue's default.")
@click.option("--ws-url", help="WebSocket of the venue, in place of its own.")
@click.option("--rest-url", help="REST interface of the venue, in place of its own.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate authorities to trust besides the system's (PEM).",
)
@click.option("--flush", type=DurationSeconds(), default="250ms", show_default=True, help="How much a crash may lose.")
@click.option(
    "--fsync",
    type=click.Choice(["always", "interval", "off"]),
    default="interval",
    show_default=True,
    help="When the journal is forced to the disk: every flush, every second, or never.",
)
@click.option("--rotate", type=DurationSeconds(), default="1h", show_default=True, help="Length of a segment.")
@click.option("--rotate-mib", type=click.IntRange(min=1), default=256, show_default=True, help="Size of a segment.")
@click.option(
    "--keep-free-mib",
    type=click.IntRange(min=0),
    default=512,
    show_default=True,
    help="Disk to leave free; stops then.",
)
@click.option("--wait", is_flag=True, help="Keep trying if the venue cannot be reached at first.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def record(
    venue: str,
    pairs: tuple[str, ...],
    out: Path | None,
    duration: float | None,
    until: int | None,
    channels: tuple[str, ...],
    ws_url: str | None,
    rest_url: str | None,
    ca_file: Path | None,
    flush: float,
    fsync: str,
    rotate: float,
    rotate_mib: int,
    keep_free_mib: int,
    wait: bool,
    as_json: bool,
) -> None:
    """
    Record pairs of a venue until Ctrl-C, or for as long as told.

    Every frame is on disk before anybody sees it. The first Ctrl-C (or SIGTERM) closes the connections, seals the
    recording and exits with 0; a second one leaves at once, and `tickdeck recover` or the next `record` into the
    folder does the rest.
    """
    from recordings.recorder import Fsync, Recorder, RecorderOptions, VenueRequest
    from toolkit.protocol import ProtocolOptions
    from toolkit.venue import find_venue

    spec = find_venue(venue)
    clock = SystemClock()
    folder = out if out is not None else TAPES / f"{spec.name}-{utc_stamp(clock.time_ns())}"
    request = VenueRequest(
        spec=spec,
        options=ProtocolOptions(pairs=pairs, channels=channels),
        ws_url=ws_url,
        rest_url=rest_url,
        ssl_ca=ca_file,
    )
    options = RecorderOptions(
        folder=folder,
        venues=(request,),
        flush_interval_s=flush,
        fsync=Fsync(fsync),
        rotate_s=rotate,
        rotate_bytes=rotate_mib << 20,
        disk_free_min=keep_free_mib << 20,
        wait_for_venue=wait,
    )
    seconds = _seconds(clock, duration, until)
    line = StatusLine(sys.stderr)
    recorder = Recorder(options=options, clock=clock, log=line.log)
    line.log(f"recording {spec.title} {' '.join(pairs)} into {folder}")
    manifest = asyncio.run(run_recorder(recorder, line, seconds))
    _report(folder, options, manifest, as_json)


def _seconds(clock: SystemClock, duration: float | None, until: int | None) -> float | None:
    if until is None:
        return duration
    left = (until - clock.time_ns()) / NS_PER_S
    if left <= 0:
        raise ConfigError("--until is in the past")
    return left if duration is None else min(left, duration)


async def run_recorder(recorder: Recorder, line: StatusLine, seconds: float | None) -> Manifest:
    """Run a recorder until a signal or the time comes, showing its status."""
    loop = asyncio.get_running_loop()
    asked = 0

    def on_signal() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            line.log("leaving at once; the journal is safe, `tickdeck recover` seals it")
            line.close()
            # Nothing may run any more: the journal on disk is whole up to its last batch.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        line.log("stopping: closing the connections, then sealing (again to leave at once)")
        recorder.stop()

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, on_signal)
    timer = loop.call_later(seconds, recorder.stop) if seconds is not None else None
    shower = loop.create_task(line.show(recorder))
    try:
        return await recorder.run()
    finally:
        shower.cancel()
        line.close()
        if timer is not None:
            timer.cancel()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(name)


def _report(folder: Path, options: RecorderOptions, manifest: Manifest, as_json: bool) -> None:
    from toolkit.cli.info import summary, write_summary

    del options
    write_summary(summary(folder, manifest), as_json)
