"""`tickdeck serve`: a recording behind the venue's own interface, for clients that were never written for it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.shared_options import (
    allow_host_option,
    from_option,
    json_option,
    loop_option,
    sealed_option,
    seed_option,
    speed_option,
    to_option,
    venue_option,
)
from toolkit.cli.options.value_types import DurationSeconds
from toolkit.cli.output.printable import say_json_line
from toolkit.cli.output.results import examples, say
from toolkit.cli.output.unsealed_note import say_unsealed
from toolkit.cli.process import stopped_by_signals
from toolkit.clock import SystemClock, format_ns
from toolkit.errors import ConfigError
from toolkit.transport.hosts import url_host

if TYPE_CHECKING:
    from replay.serving.server import TapeServer

__all__ = ["DEFAULT_PORT", "serve"]

#: Where `tickdeck ctl` looks, by default.
DEFAULT_PORT = 8710


@click.command(
    epilog=examples(
        "tickdeck serve tapes/monday",
        "tickdeck serve tapes/monday --speed 10x --from 2026-11-22T13:34:05 --loop",
        "tickdeck serve tapes/monday tapes/tuesday --speed max --no-wait --exit",
        "tickdeck serve --synthetic --venue hyperliquid --seed 7",
    )
)
@click.argument("recordings", nargs=-1, metavar="[RECORDING]...", type=click.Path(path_type=Path))
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; any other than loopback can be reached from outside.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; 0 takes a free one.",
)
@speed_option("1x")
@from_option
@to_option
@loop_option
@click.option("--paused", is_flag=True, help="Wait for `tickdeck ctl resume`.")
@click.option("--no-wait", is_flag=True, help="Start at once instead of when the first client has subscribed.")
@click.option(
    "--settle",
    type=DurationSeconds(),
    metavar="DURATION",
    default="500ms",
    show_default=True,
    help="Start once no further subscription has come for this long.",
)
@click.option("--exit", "ends", is_flag=True, help="Close the sockets and exit at the end of the tape.")
@click.option("--no-disconnects", is_flag=True, help="Keep sockets open where the recording lost a connection or time.")
@allow_host_option
@click.option(
    "--origin", "origins", multiple=True, help="Additional host whose web pages may connect. May be repeated."
)
@click.option("--synthetic", is_flag=True, help="Serve a synthetic market instead of a recording.")
@venue_option
@seed_option("0")
@json_option
@sealed_option
@check_option
@click.pass_context
def serve(
    ctx: click.Context,
    /,
    recordings: tuple[Path, ...],
    synthetic: bool,
    venues: tuple[str, ...],
    seed: str,
    as_json: bool,
    **given: Any,
) -> None:
    """
    Serve recordings behind the venue's own interface: WebSocket and REST on one port of this machine.

    Clients of the venue connect to the printed URLs unchanged. Playback starts when the first client has subscribed,
    and is controlled with `tickdeck ctl`. With --json the URLs are printed as one line of JSON. Ends with Ctrl-C or
    SIGTERM. With --synthetic a seeded random market of --venue is served instead of a recording. A recording in
    progress is served up to what was written when the command started.
    """
    import asyncio

    def is_said(name: str) -> bool:
        return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT

    if synthetic:
        if recordings:
            raise click.UsageError("a recording and --synthetic: expected one of them")
        if len(venues) > 1:
            raise click.UsageError("a synthetic market is one venue: expected --venue once")
        if any(map(is_said, given.keys() - {"port"})):
            raise click.UsageError(
                "a synthetic market runs at its own pace: expected no options but --venue, --seed, --port and --json"
            )
        asyncio.run(_serve_synthetic(venues[0] if venues else None, seed, given["port"], as_json))
        return
    if not recordings:
        raise click.UsageError("Missing argument 'RECORDING...' (or --synthetic).")
    if is_said("seed"):
        raise click.UsageError("--seed is of a synthetic market: expected --synthetic, or no seed")
    if given["paused"] and given["no_wait"]:
        raise click.UsageError("--paused and --no-wait: expected one of them")
    asyncio.run(_serve(_server(recordings, venues, given), as_json))


def _server(recordings: tuple[Path, ...], venues: tuple[str, ...], given: dict[str, Any]) -> TapeServer:
    from recordings.recording import Recording
    from replay.serving.deck import DeckOptions
    from replay.serving.server import ServerOptions, TapeServer
    from toolkit.timing.times import parse_speed

    deck = DeckOptions(
        venues=venues,
        speed=parse_speed(given["speed"]),
        start_ns=given["start_ns"],
        end_ns=given["end_ns"],
        loop=given["loop"],
        hides_disconnects=given["no_disconnects"],
    )
    options = ServerOptions(
        host=given["host"],
        port=given["port"],
        start="now" if given["no_wait"] else "told" if given["paused"] else "client",
        settle_s=given["settle"],
        ends=given["ends"],
        allowed_origins=given["origins"],
        allowed_hosts=given["allow_host"],
    )
    opened = [Recording.open(path, sealed=given["sealed"]) for path in recordings]
    say_unsealed(opened)
    return TapeServer(opened, clock=SystemClock(), deck=deck, options=options)


async def _serve(server: TapeServer, as_json: bool) -> None:
    import asyncio

    with stopped_by_signals(asyncio.get_running_loop(), server.stop):
        try:
            await server.__aenter__()
        except OSError as exc:
            raise _cannot_listen(server.options.host, server.options.port, exc) from None
        try:
            _announce(server, as_json)
            await server.run()
        finally:
            await server.__aexit__(None, None, None)


def _announce(server: TapeServer, as_json: bool) -> None:
    import msgspec

    if server.warning is not None:
        say(server.warning, err=True)
    venues = {name: [server.ws_url_of(name), server.rest_url_of(name)] for name in server.deck.venues}
    tape = server.deck.tape
    if as_json:
        places = {name: {"ws_url": ws_url, "rest_url": rest_url} for name, (ws_url, rest_url) in venues.items()}
        facts = {"url": server.url, "venues": places, "first_ns": tape.first_ns, "last_ns": tape.last_ns}
        say_json_line(msgspec.json.encode(facts))
        return
    for name, (ws_url, rest_url) in venues.items():
        say(f"{name}: {ws_url} and {rest_url}")
        for line in server.deck.venues[name].synthesized:
            say(f"{name}: {line}", err=True)
    when = {
        "now": "it has begun",
        "client": "it begins when a client has subscribed",
        "told": "it begins with `tickdeck ctl resume`",
    }[server.options.start]
    say(f"tape: {format_ns(tape.first_ns)} to {format_ns(tape.last_ns)}; {when}", err=True)
    say(f"controls: tickdeck ctl --url {server.url} status", err=True)


async def _serve_synthetic(name: str | None, seed: str, port: int, as_json: bool) -> None:
    import asyncio

    import msgspec

    from replay.embedded import EmbeddedVenue
    from replay.serving.registry import default_synthetic

    venue = name or default_synthetic()
    stop = asyncio.Event()
    embedded = EmbeddedVenue(clock=SystemClock(), venue=venue, seed=seed, port=port)
    try:
        await embedded.__aenter__()
    except OSError as exc:
        raise _cannot_listen("127.0.0.1", port, exc) from None
    try:
        with stopped_by_signals(asyncio.get_running_loop(), stop.set):
            if as_json:
                place = {"ws_url": embedded.ws_url, "rest_url": embedded.rest_url}
                say_json_line(msgspec.json.encode({"venues": {venue: place}, "accounts": embedded.accounts}))
            else:
                say(f"{venue}: {embedded.ws_url} and {embedded.rest_url}")
                for name, address in embedded.accounts.items():
                    say(f"account {name}: {address}", err=True)
            await stop.wait()
    finally:
        await embedded.__aexit__(None, None, None)


def _cannot_listen(host: str, port: int, exc: OSError) -> ConfigError:
    # Of a name that has no address the number is none of the system's.
    is_of_system = (exc.errno or 0) > 0
    why = os.strerror(exc.errno or 0) if is_of_system else exc.strerror or str(exc)
    option = "--port, or 0" if exc.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
    return ConfigError(f"{url_host(host)}:{port} cannot be listened on: {why}; choose another with {option}")
