"""`tickdeck record`: a live session into a recording."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from toolkit.cli.options import duration_option, json_option, out_folder_option
from toolkit.cli.output import examples, say
from toolkit.cli.params import DurationSeconds, Instant
from toolkit.cli.process import OutputFailed, silence_output, stopped_by_signals
from toolkit.cli.record_config import RecordConfig, VenueConfig, read_config
from toolkit.cli.status_line import StatusLine
from toolkit.clock import NS_PER_S, Clock, SystemClock, utc_stamp
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from recordings.manifest import Manifest
    from recordings.recorder import Recorder, RecorderOptions, VenueRequest

__all__ = ["record", "run_recorder"]

TAPES: Final = Path("tapes")


@click.command(
    epilog=examples(
        "tickdeck record hyperliquid BTC-USD ETH-USD --duration 60s --out tapes/monday",
        "tickdeck record hyperliquid BTC-USD --user 0x1234567890abcdef1234567890abcdef12345678",
        "tickdeck record hyperliquid BTC-USD --channel full --channel trades --status-port 9100",
        "tickdeck record hyperliquid BTC-USD --tee-port 0 --out tapes/now",
        "tickdeck record --config record.toml",
    )
)
@click.argument("what", nargs=-1, metavar="VENUE PAIR... [VENUE PAIR...]...")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read venues and options from a TOML file; options given here win.",
)
@out_folder_option()
@duration_option()
@click.option("--until", type=Instant(), metavar="TIME", help="Stop at this time, such as 2026-11-22T16:00 (UTC).")
@click.option(
    "-c",
    "--channel",
    "channels",
    multiple=True,
    metavar="CHANNEL",
    help="Record this channel instead of the venue's default.",
)
@click.option(
    "-u",
    "--user",
    "users",
    multiple=True,
    help="Record this account's orders, fills, balances, positions too (its address).",
)
@click.option(
    "--pseudonyms",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Replace addresses while recording, by a hash under the key in this file (docs/privacy.md).",
)
@click.option("--ws-url", help="WebSocket of the venue, in place of its own.")
@click.option("--rest-url", help="REST interface of the venue, in place of its own.")
@click.option(
    "--ca-file",
    type=click.Path(dir_okay=False, path_type=Path),
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
    help="Disk to leave free; recording stops there.",
)
@click.option(
    "--status-port",
    type=click.IntRange(0, 65535),
    help="Serve /status.json and /metrics (Prometheus) on this loopback port; 0 takes any.",
)
@click.option(
    "--tee-port",
    type=click.IntRange(0, 65535),
    help="Let `tickdeck follow` and other clients receive the frames as they are written, on this port; 0 takes any.",
)
@click.option(
    "--tee-host",
    default="127.0.0.1",
    show_default=True,
    help="Address of that port; anything but loopback gives the recording to whoever reaches it.",
)
@click.option("--wait", is_flag=True, help="Keep trying if a venue cannot be reached at first.")
@json_option
@click.pass_context
def record(ctx: click.Context, /, what: tuple[str, ...], config: Path | None, as_json: bool, **given: Any) -> None:
    """
    Record pairs of one or several venues until Ctrl-C, or for as long as told.

    An earlier recording of the same pairs is continued. Without --out it is ./tapes/<venue>-<UTC start>.

    Every frame is on disk before anybody sees it. The first Ctrl-C (or SIGTERM, SIGHUP) closes the connections, seals the
    recording and exits with 0; a second one leaves at once, and `tickdeck recover` or the next `record` into the
    folder does the rest.
    """
    from recordings.recorder import Recorder

    if config is not None:
        _fill_in(ctx, given, read_config(config))
    venues = _venues(what, given) or given.get("config_venues", ())
    if not venues:
        raise click.UsageError("Missing argument 'VENUE PAIR...' (or --config).")
    clock = SystemClock()
    options = _options(clock, venues, given)
    line = StatusLine(sys.stderr)
    recorder = Recorder(options=options, clock=clock, log=line.log)
    named = ", ".join(
        " ".join([venue.spec.title, *venue.options.pairs, *(["and accounts"] if venue.options.accounts else [])])
        for venue in options.venues
    )
    line.log(f"recording {named} into {options.folder}")
    seconds = _seconds(clock, given["duration"], given["until"])
    manifest = asyncio.run(_run(recorder, line, seconds, given["status_port"]))
    _report(options.folder, manifest, as_json)


def _fill_in(ctx: click.Context, given: dict[str, Any], config: RecordConfig) -> None:
    """Take from the file what the command line does not say."""
    given["config_venues"] = config.venue
    duration, keys = (
        DurationSeconds(),
        (
            "out",
            "fsync",
            "rotate_mib",
            "keep_free_mib",
            "status_port",
            "tee_port",
            "tee_host",
            "wait",
            "key_file",
        ),
    )
    values: dict[str, Any] = {name: getattr(config, name) for name in keys}
    values |= {
        name: duration.convert(text, None, ctx)
        for name in ("flush", "rotate")
        if (text := getattr(config, name)) is not None
    }
    for name in ("out", "key_file"):
        if values[name] is not None:
            values[name] = Path(values[name])
    unsaid = {name for name in values if ctx.get_parameter_source(name) is ParameterSource.DEFAULT}
    given.update({name: value for name, value in values.items() if value is not None and name in unsaid})


def _venues(what: Sequence[str], given: dict[str, Any]) -> list[VenueConfig]:
    """Venues and their pairs from the command line: a name of a venue begins the next one."""
    from toolkit.venue import find_venue, is_venue

    groups: list[tuple[str, list[str]]] = []
    for word in what:
        if not groups or is_venue(word):
            groups.append((find_venue(word).name, []))
        else:
            groups[-1][1].append(word)
    for name, pairs in groups:
        if not pairs and not given["users"]:
            raise click.UsageError(f"no pairs of {name} are named, such as BTC-USD")
    if len(groups) > 1 and any(given[name] for name in ("ws_url", "rest_url", "channels", "users")):
        raise click.UsageError("--ws-url, --rest-url, --channel, --user are for one venue; use --config for several")
    ca_file = str(given["ca_file"]) if given["ca_file"] else None
    return [
        VenueConfig(
            name=name,
            pairs=tuple(pairs),
            channels=given["channels"],
            users=given["users"],
            ws_url=given["ws_url"],
            rest_url=given["rest_url"],
            ca_file=ca_file,
        )
        for name, pairs in groups
    ]


def _options(clock: Clock, venues: Sequence[VenueConfig], given: dict[str, Any]) -> RecorderOptions:
    from recordings.privacy import Pseudonyms
    from recordings.recorder import Fsync, RecorderOptions
    from recordings.tee import TeeOptions

    requests = tuple(_request(venue) for venue in venues)
    name = "-".join(request.spec.name for request in requests)
    folder = given["out"] or TAPES / f"{name}-{utc_stamp(clock.time_ns())}"
    return RecorderOptions(
        folder=folder,
        venues=requests,
        flush_interval_s=given["flush"],
        fsync=Fsync(given["fsync"]),
        rotate_s=given["rotate"],
        rotate_bytes=given["rotate_mib"] << 20,
        disk_free_min=given["keep_free_mib"] << 20,
        wait_for_venue=given["wait"],
        privacy=Pseudonyms.from_file(given["key_file"]) if given["key_file"] else None,
        tee=TeeOptions(port=given["tee_port"], host=given["tee_host"]) if given["tee_port"] is not None else None,
    )


def _request(venue: VenueConfig) -> VenueRequest:
    from recordings.recorder import VenueRequest
    from toolkit.protocol import ProtocolOptions
    from toolkit.venue import find_venue

    return VenueRequest(
        spec=find_venue(venue.name),
        options=ProtocolOptions(pairs=venue.pairs, channels=venue.channels, accounts=venue.users),
        ws_url=venue.ws_url,
        rest_url=venue.rest_url,
        ssl_ca=Path(venue.ca_file) if venue.ca_file else None,
    )


def _seconds(clock: Clock, duration: float | None, until: int | None) -> float | None:
    if until is None:
        return duration
    left = (until - clock.time_ns()) / NS_PER_S
    if left <= 0:
        raise ConfigError("--until is in the past")
    return left if duration is None else min(left, duration)


async def _run(recorder: Recorder, line: StatusLine, seconds: float | None, status_port: int | None) -> Manifest:
    from toolkit.cli.status_page import StatusPage

    async with contextlib.AsyncExitStack() as stack:
        if status_port is not None:
            try:
                page = await stack.enter_async_context(StatusPage(recorder, status_port))
            except OSError as exc:
                raise ConfigError(f"port {status_port} cannot be served: {exc.strerror or exc}") from None
            line.log(f"status on http://127.0.0.1:{page.port}/status.json and /metrics")
        return await run_recorder(recorder, line, seconds)


async def run_recorder(recorder: Recorder, line: StatusLine, seconds: float | None) -> Manifest:
    """Run a recorder until a signal or the time comes, showing its status."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        line.log("stopping: closing the connections, then sealing (again to leave at once)")
        recorder.stop()

    def last_words() -> None:
        line.log("leaving at once; the journal is safe, `tickdeck recover` seals it")
        line.close()

    timer = loop.call_later(seconds, recorder.stop) if seconds is not None else None
    shower = loop.create_task(line.show(recorder))
    try:
        with stopped_by_signals(loop, stop, last_words):
            return await recorder.run()
    finally:
        shower.cancel()
        line.close()
        if timer is not None:
            timer.cancel()


def _report(folder: Path, manifest: Manifest, as_json: bool) -> None:
    from recordings.recording import Recording
    from toolkit.cli.info import summary, write_summary

    try:
        write_summary(summary(Recording(folder, manifest)), as_json)
        sys.stdout.flush()
    except OutputFailed as exc:
        # The terminal was closed, say: what was to be done is done.
        silence_output()
        say(f"{folder} is sealed; its summary cannot be printed ({exc.reason})", err=True)
