"""`tickdeck ctl`: the controls of a running `tickdeck serve`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from toolkit.cli.commands.serve import DEFAULT_PORT
from toolkit.cli.groups import OptionsAnywhere
from toolkit.cli.options.shared_options import json_option
from toolkit.cli.output.printable import say_json
from toolkit.cli.output.results import counted, examples, say
from toolkit.errors import ConfigError, TransportError
from toolkit.transport.urls import public_url

__all__ = ["ctl"]

_WAIT_S = 120.0
_F = TypeVar("_F", bound=Callable[..., Any])


@click.group(
    cls=OptionsAnywhere,
    epilog=examples(
        "tickdeck ctl status",
        "tickdeck ctl seek +30s",
        "tickdeck ctl speed 10x --url http://127.0.0.1:9000 --json",
    ),
)
def ctl() -> None:
    """Control a running `tickdeck serve`; every command prints the status after it."""


def _place(command: _F) -> _F:
    """Give a command `--url` and `--json`."""
    url: Any = click.option(
        "--url",
        default=f"http://127.0.0.1:{DEFAULT_PORT}",
        show_default=True,
        metavar="URL",
        help="Where the server listens.",
    )
    decorated: _F = url(json_option(command))
    return decorated


def _act(url: str, as_json: bool, name: str, **details: Any) -> None:
    import asyncio

    status = asyncio.run(_ask(url, name, details))
    if as_json:
        say_json(status)
    else:
        try:
            lines = _lines(status)
        except (LookupError, TypeError, ValueError):
            raise TransportError(
                f"{public_url(url)} answers with a status of another shape: is it a `tickdeck serve` of this version?"
            ) from None
        for line in lines:
            say(line)
        if note := status.get("note"):
            say(str(note), err=True)


async def _ask(url: str, name: str, details: dict[str, Any]) -> dict[str, Any]:
    from toolkit.transport.json_request import ask_json

    method = "GET" if name == "status" else "POST"
    body = json.dumps(details).encode() if method == "POST" else b""
    status, answer = await ask_json(method, f"{url.rstrip('/')}/tickdeck/{name}", body, timeout_s=_WAIT_S)
    if not isinstance(answer, dict) or (status == 200 and "state" not in answer):
        raise TransportError(
            f"{public_url(url)} is no `tickdeck serve` of a recording: expected a status, found HTTP {status}"
        )
    if status != 200:
        raise ConfigError(str(answer.get("error", f"HTTP {status}")))
    return answer


def _lines(status: dict[str, Any]) -> list[str]:
    """The status for people. Raises what a status of another shape makes Python raise."""
    return [
        f"{status['state']} at {status['position']}, speed {status['speed']}",
        (
            f"{counted(status['frames'], 'frame')}, {status['delivered']:,} delivered, "
            f"{counted(len(status['clients']), 'client')}, "
            f"{status['closed_by_tape']} closed by the tape, {status['cut_off']} cut off"
        ),
        *(
            f"client {client['number']} of {client['venue']} from {client['remote']}: "
            f"{counted(client['streams'], 'stream')}, {counted(client['unread_bytes'], 'byte')} unread"
            for client in status["clients"]
        ),
    ]


@ctl.command(epilog=examples("tickdeck ctl status"))
@_place
def status(url: str, as_json: bool) -> None:
    """Show the position, the speed and the clients."""
    _act(url, as_json, "status")


@ctl.command(epilog=examples("tickdeck ctl pause"))
@_place
def pause(url: str, as_json: bool) -> None:
    """Pause playback."""
    _act(url, as_json, "pause")


@ctl.command(epilog=examples("tickdeck ctl resume"))
@_place
def resume(url: str, as_json: bool) -> None:
    """Start or resume playback."""
    _act(url, as_json, "resume")


@ctl.command(epilog=examples("tickdeck ctl step 10"))
@click.argument("frames", type=click.IntRange(min=1), default=1, metavar="[N]")
@_place
def step(url: str, as_json: bool, frames: int) -> None:
    """Pause, then play N frames (default 1)."""
    _act(url, as_json, "step", frames=frames)


class _TakesBackwards(click.Command):
    """A command whose argument may begin with a minus: `-5m` is a length of time and no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = next((index for index, arg in enumerate(args) if arg[:1] == "-" and arg[1:2].isdigit()), None)
        return super().parse_args(ctx, args if at is None else [*args[:at], *args[at + 1 :], "--", args[at]])


@ctl.command(
    cls=_TakesBackwards,
    epilog=examples("tickdeck ctl seek 2026-11-22T13:34:05", "tickdeck ctl seek +30s", "tickdeck ctl seek -5m"),
)
@click.argument("to")
@_place
def seek(url: str, as_json: bool, to: str) -> None:
    """
    Seek to a time of the tape, or by a length of time forwards (+30s) or backwards (-5m).

    A seek by more than there is ends at the beginning or the end of the tape, and says so. Sockets of clients that have
    received anything are closed.
    """
    from toolkit.timing.times import duration_ns, time_ns

    if to[:1] in ("+", "-"):
        _act(url, as_json, "seek", by_ns=duration_ns(to[1:]) * (1 if to[0] == "+" else -1))
    else:
        _act(url, as_json, "seek", ns=time_ns(to))


@ctl.command(epilog=examples("tickdeck ctl speed 10x"))
@click.argument("speed")
@_place
def speed(url: str, as_json: bool, speed: str) -> None:
    """Set the speed: max, 1x, 0.5x, 100x."""
    _act(url, as_json, "speed", speed=speed)


@ctl.command(epilog=examples("tickdeck ctl stop"))
@_place
def stop(url: str, as_json: bool) -> None:
    """Stop the server."""
    _act(url, as_json, "stop")
