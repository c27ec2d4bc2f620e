"""`tickdeck record`: a live session into a recording."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from toolkit.cli.options.record_config import RecordConfig, VenueConfig, check_venues, config_text, read_config
from toolkit.cli.options.record_settings import RecordSettings
from toolkit.cli.options.settings import OF_VENUE, setting_options
from toolkit.cli.options.shared_options import venue_option
from toolkit.cli.output.printable import say_lines
from toolkit.cli.output.results import examples, say
from toolkit.cli.output.status_line import StatusLine, StatusParts
from toolkit.cli.process import OutputFailed, silence_output, stopped_by_signals
from toolkit.clock import NS_PER_S, Clock, SystemClock, format_ns, utc_stamp
from toolkit.errors import ConfigError
from toolkit.keys import check_venues as check_names

if TYPE_CHECKING:
    from recordings.following.tee import TeeOptions
    from recordings.format.manifest import Manifest
    from recordings.recorder import Recorder, RecorderOptions, VenueRequest

__all__ = ["asked_for", "record", "run_recorder", "run_with_page"]

TAPES: Final = Path("tapes")
#: Options that mean something else for each venue; whom to trust may be said for all of them.
_OF_ONE: Final = tuple(setting for setting in OF_VENUE if setting.key != "ca_file")
_OF_ONE_TEXT: Final = ", ".join(setting.option for setting in _OF_ONE)


@click.command(
    epilog=examples(
        "tickdeck record hyperliquid BTC-USD ETH-USD --duration 60s --out tapes/monday",
        "tickdeck record hyperliquid BTC-USD --user 0x1234567890abcdef1234567890abcdef12345678",
        "tickdeck record hyperliquid BTC-USD --channel full --channel trades --status-port 9100",
        "tickdeck record hyperliquid BTC-USD --tee-port 0 --out tapes/now",
        "tickdeck record BTC-USD --venue hyperliquid --venue dydx_v4 --out tapes/both",
        "tickdeck record --config record.toml",
        "tickdeck record hyperliquid BTC-USD --print-config > record.toml",
    )
)
@click.argument("what", nargs=-1, metavar="VENUE PAIR... [VENUE PAIR...]...")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read venues and options from a TOML file; options given here win.",
)
@click.option(
    "--print-config",
    is_flag=True,
    help="Print the resulting configuration as a TOML file, or what is wrong with it, and record nothing.",
)
@venue_option
@setting_options
@click.pass_context
def record(
    ctx: click.Context,
    /,
    what: tuple[str, ...],
    venues: tuple[str, ...],
    config: Path | None,
    print_config: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """
    Record pairs of one or several venues until Ctrl-C, or for a given time.

    An earlier recording of the same pairs in the folder is continued. Without --out the folder is
    ./tapes/<venue>-<UTC start>. With --venue, the pairs are recorded on each venue that is named; with --config, only
    these venues of the file are recorded.

    Every frame is written to the journal before it is processed. The first Ctrl-C (or SIGTERM, SIGHUP) closes the
    connections, seals the recording and exits with 0. A second one exits at once; `tickdeck recover`, or the next
    `record` into the folder, seals what was written.
    """
    import asyncio

    from recordings.recorder import Recorder

    asked = RecordSettings.of({**given, "json": as_json})
    places: dict[str, str] = {}
    settings, chosen = _in_force(ctx, what, venues, asked, None if config is None else read_config(config), places)
    clock = SystemClock()
    seconds = _seconds(clock, settings.duration, settings.until, places.get("until", "--until"))
    folder = settings.out or TAPES / _folder_name(clock, chosen)
    Recorder(options=_options(folder, chosen, settings, is_trial=True), clock=clock).check()
    if print_config:
        say_lines(config_text(settings.values(), chosen))
        return
    options = _options(folder, chosen, settings)
    line = StatusLine(sys.stderr)
    recorder = Recorder(options=options, clock=clock, log=line.log)
    manifest = asyncio.run(run_with_page(recorder, line, seconds, settings.status_port))
    _report(options.folder, manifest, settings.json)


def asked_for(
    what: Sequence[str], wanted: Sequence[str], settings: RecordSettings, clock: Clock
) -> tuple[RecorderOptions, float | None]:
    """
    How to record, and for how many seconds (None: until stopped), by a command line without a file.

    Args:
        what: Venues and pairs, as they were named.
        wanted: `--venue`.
        settings: Settings of the command line.
        clock: The machine's.

    Raises ConfigError, SymbolError for what makes no sense; nothing is written then.
    """
    from recordings.recorder import Recorder

    venues = _venues(what, wanted, settings)
    check_venues(venues)
    seconds = _seconds(clock, settings.duration, settings.until, "--until")
    folder = settings.out or TAPES / _folder_name(clock, venues)
    Recorder(options=_options(folder, venues, settings, is_trial=True), clock=clock).check()
    return _options(folder, venues, settings), seconds


def _in_force(
    ctx: click.Context,
    what: Sequence[str],
    wanted: Sequence[str],
    settings: RecordSettings,
    config: RecordConfig | None,
    places: dict[str, str],
) -> tuple[RecordSettings, Sequence[VenueConfig]]:
    """The settings and venues in force: what the command line does not say is that of the file, `places` says where."""

    def is_said(name: str) -> bool:
        return ctx.get_parameter_source("as_json" if name == "json" else name) is not ParameterSource.DEFAULT

    if config is not None:
        taken = [name for name in config.values if not is_said(name)]
        settings = settings.with_values({name: config.values[name] for name in taken})
        places.update({name: f"{config.places[name]}: {name}" for name in taken})
    if what or config is None:
        venues = _venues(what, wanted, settings)
    else:
        venues = [venue for venue in config.venues if not wanted or venue.name in wanted]
        check_names(wanted, [venue.name for venue in config.venues], "the file")
        said = {setting.key: getattr(settings, setting.key) for setting in OF_VENUE if is_said(setting.key)}
        if len(venues) > 1 and any(setting.key in said for setting in _OF_ONE):
            raise click.UsageError(f"{_OF_ONE_TEXT} are for one venue, and the file names {len(venues)}")
        venues = [replace(venue, **said) for venue in venues]
    if not venues:
        raise click.UsageError("Missing argument 'VENUE PAIR...' (or --config).")
    check_venues(venues)
    return settings, venues


def _venues(what: Sequence[str], wanted: Sequence[str], settings: RecordSettings) -> list[VenueConfig]:
    """Venues and their pairs from the command line: a name of a venue begins the next one; without any, those wanted."""
    from toolkit.venue import find_venue, is_venue

    groups: list[tuple[str, list[str]]] = []
    if wanted and not any(map(is_venue, what)) and (what or settings.users):
        groups, what = [(find_venue(name).name, list(what)) for name in dict.fromkeys(wanted)], ()
    for word in what:
        if not groups or is_venue(word):
            groups.append((find_venue(word).name, []))
        else:
            groups[-1][1].append(word)
    if wanted and what:
        check_names(wanted, [name for name, _ in groups], "what is to be recorded")
        groups = [(name, pairs) for name, pairs in groups if name in wanted]
    for name, pairs in groups:
        if not pairs and not settings.users:
            raise click.UsageError(f"no pairs of {name} are named, such as BTC-USD")
    if len(groups) > 1 and any(getattr(settings, setting.key) for setting in _OF_ONE):
        raise click.UsageError(f"{_OF_ONE_TEXT} are for one venue; use --config for several")
    own = {setting.key: getattr(settings, setting.key) for setting in OF_VENUE}
    return [VenueConfig(name=name, pairs=tuple(pairs), **own) for name, pairs in groups]


def _folder_name(clock: Clock, venues: Sequence[VenueConfig]) -> str:
    return "-".join([*(venue.name for venue in venues), utc_stamp(clock.time_ns())])


def _options(
    folder: Path, venues: Sequence[VenueConfig], settings: RecordSettings, *, is_trial: bool = False
) -> RecorderOptions:
    """How to record; a trial makes no new key for pseudonyms."""
    from recordings.recorder import Fsync, RecorderOptions
    from recordings.writing.privacy import Pseudonyms

    requests = tuple(_request(venue) for venue in venues)
    return RecorderOptions(
        folder=folder,
        venues=requests,
        flush_interval_s=settings.flush,
        fsync=Fsync(settings.fsync),
        rotate_s=settings.rotate,
        rotate_bytes=settings.rotate_mib << 20,
        disk_free_min=settings.keep_free_mib << 20,
        wait_for_venue=settings.wait,
        privacy=Pseudonyms.from_file(settings.pseudonyms, makes=not is_trial) if settings.pseudonyms else None,
        tee=_tee(settings),
    )


def _tee(settings: RecordSettings) -> TeeOptions | None:
    from recordings.following.tee import TeeOptions

    if settings.tee_port is None:
        return None
    return TeeOptions(port=settings.tee_port, host=settings.tee_host, allowed_hosts=tuple(settings.allow_host))


def _request(venue: VenueConfig) -> VenueRequest:
    from recordings.recorder import VenueRequest
    from toolkit.protocol import ProtocolOptions
    from toolkit.venue import find_venue

    return VenueRequest(
        spec=find_venue(venue.name),
        options=ProtocolOptions(pairs=venue.pairs, channels=venue.channels, accounts=venue.users),
        ws_url=venue.ws_url,
        rest_url=venue.rest_url,
        ssl_ca=venue.ca_file,
    )


def _seconds(clock: Clock, duration: float | None, until: int | None, name: str) -> float | None:
    if until is None:
        return duration
    left = (until - clock.time_ns()) / NS_PER_S
    if left <= 0:
        raise ConfigError(
            f"{name} is {format_ns(until)}, which is in the past: it is {format_ns(clock.time_ns())} now (both UTC)"
        )
    return left if duration is None else min(left, duration)


async def run_with_page(
    recorder: Recorder,
    line: StatusLine,
    seconds: float | None,
    status_port: int | None,
    more: StatusParts | None = None,
) -> Manifest:
    """Run a recorder as `run_recorder` does, with its status page if a port is given."""
    from toolkit.cli.output.status_page import StatusPage

    async with contextlib.AsyncExitStack() as stack:
        if status_port is not None:
            try:
                page = await stack.enter_async_context(StatusPage(recorder, status_port))
            except OSError as exc:
                raise ConfigError(f"port {status_port} cannot be served: {exc.strerror or exc}") from None
            line.log(f"status on http://127.0.0.1:{page.port}/status.json and /metrics")
        return await run_recorder(recorder, line, seconds, more)


async def run_recorder(
    recorder: Recorder, line: StatusLine, seconds: float | None, more: StatusParts | None = None
) -> Manifest:
    """Run a recorder until a signal or the time comes, showing its status, and before it what `more` gives."""
    import asyncio

    loop = asyncio.get_running_loop()

    def stop() -> None:
        line.log("stopping: closing the connections, then sealing (again to leave at once)")
        recorder.stop()

    def last_words() -> None:
        line.log("leaving at once; the journal is safe, `tickdeck recover` seals it")
        line.close()

    timer = loop.call_later(seconds, recorder.stop) if seconds is not None else None
    shower = loop.create_task(line.show(recorder, more))
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
    from toolkit.cli.commands.info import summary, write_summary

    try:
        write_summary(summary(Recording(folder, manifest)), as_json)
        sys.stdout.flush()
    except OutputFailed as exc:
        # The terminal was closed, say: what was to be done is done.
        silence_output()
        say(f"{folder} is sealed; its summary cannot be printed ({exc.reason})", err=True)
