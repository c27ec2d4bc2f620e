"""`tickdeck ctl`: the controls of a running `tickdeck serve`."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from toolkit.cli.output import examples
from toolkit.cli.serve import DEFAULT_PORT
from toolkit.errors import ConfigError, TransportError

__all__ = ["ctl"]

_WAIT_S = 120.0


@click.group(
    epilog=examples(
        "tickdeck ctl status",
        "tickdeck ctl seek +30s",
        "tickdeck ctl --url http://127.0.0.1:9000 --json speed 10x",
    )
)
@click.option("--url", default=f"http://127.0.0.1:{DEFAULT_PORT}", show_default=True, help="Where the server listens.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
@click.pass_context
def ctl(ctx: click.Context, url: str, as_json: bool) -> None:
    """Control a running `tickdeck serve`; every command prints the status after it."""
    ctx.obj = (url, as_json)


def _act(ctx: click.Context, name: str, **details: Any) -> None:
    url, as_json = ctx.obj
    status = asyncio.run(_ask(url, name, details))
    if as_json:
        click.echo(json.dumps(status, indent=2))
    else:
        _write(status)


async def _ask(url: str, name: str, details: dict[str, Any]) -> dict[str, Any]:
    from toolkit.transport.asking import ask_json

    method = "GET" if name == "status" else "POST"
    body = json.dumps(details).encode() if method == "POST" else b""
    status, answer = await ask_json(method, f"{url.rstrip('/')}/tickdeck/{name}", body, timeout_s=_WAIT_S)
    if not isinstance(answer, dict) or (status == 200 and "state" not in answer):
        raise TransportError(f"{url} is no `tickdeck serve` of a recording: expected a status, found HTTP {status}")
    if status != 200:
        raise ConfigError(str(answer.get("error", f"HTTP {status}")))
    return answer


def _write(status: dict[str, Any]) -> None:
    click.echo(f"{status['state']} at {status['position']}, speed {status['speed']}")
    click.echo(
        f"{status['frames']:,} frames, {status['delivered']:,} delivered, {len(status['clients'])} clients, "
        f"{status['closed_by_tape']} closed by the tape, {status['cut_off']} cut off"
    )
    for client in status["clients"]:
        click.echo(
            f"client {client['number']} of {client['venue']} from {client['remote']}: {client['streams']} streams, "
            f"{client['unread_bytes']:,} bytes unread"
        )


@ctl.command(epilog=examples("tickdeck ctl status"))
@click.pass_context
def status(ctx: click.Context) -> None:
    """Say where the tape is, how fast it runs, and who listens."""
    _act(ctx, "status")


@ctl.command(epilog=examples("tickdeck ctl pause"))
@click.pass_context
def pause(ctx: click.Context) -> None:
    """Stand still."""
    _act(ctx, "pause")


@ctl.command(epilog=examples("tickdeck ctl resume"))
@click.pass_context
def resume(ctx: click.Context) -> None:
    """Go on, or begin."""
    _act(ctx, "resume")


@ctl.command(epilog=examples("tickdeck ctl step 10"))
@click.argument("frames", type=click.IntRange(min=1), default=1)
@click.pass_context
def step(ctx: click.Context, frames: int) -> None:
    """Pause, and play so many frames of the tape (1 unless told)."""
    _act(ctx, "step", frames=frames)


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
@click.pass_context
def seek(ctx: click.Context, to: str) -> None:
    """Go to a time of the tape, or so far forwards (+30s) or backwards (-5m) as it goes; sockets that heard of it are closed."""
    from toolkit.times import duration_ns, time_ns

    if to[:1] in ("+", "-"):
        _act(ctx, "seek", by_ns=duration_ns(to[1:]) * (1 if to[0] == "+" else -1))
    else:
        _act(ctx, "seek", ns=time_ns(to))


@ctl.command(epilog=examples("tickdeck ctl speed 10x"))
@click.argument("speed")
@click.pass_context
def speed(ctx: click.Context, speed: str) -> None:
    """Play at that pace: max, 1x, 0.5x, 100x."""
    _act(ctx, "speed", speed=speed)


@ctl.command(epilog=examples("tickdeck ctl stop"))
@click.pass_context
def stop(ctx: click.Context) -> None:
    """End the server."""
    _act(ctx, "stop")
