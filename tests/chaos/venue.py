"""
The embedded venue as a process of its own, busier than the real one, whose faults are asked for on standard input.

It prints one line of JSON with its URLs, then answers every line `{"do": "drop"}` with a line when that is done.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from replay.embedded import EmbeddedVenue
from replay.serving.venues.hyperliquid.synthetic.venue import VenueOptions
from replay.synthetic.market import MarketOptions
from toolkit.clock import NS_PER_MS, SystemClock

#: More than anybody needs: this venue does not refuse a recorder that was killed forty times in a minute.
NO_LIMIT = 1_000_000


def _do(venue: EmbeddedVenue, command: dict[str, Any]) -> None:
    match command["do"]:
        case "drop":
            venue.drop_connections()
        case "close":
            venue.close_connections(command.get("code", 1000), command.get("reason", ""))
        case "deafen":
            venue.deafen()
        case "pause":
            venue.pause()
        case "resume":
            venue.resume()
        case "text":
            venue.send_raw(command["text"])
        case "bytes":
            venue.send_raw(bytes.fromhex(command["hex"]), binary=command.get("binary", False))
        case "huge":
            venue.send_raw(b'{"channel":"huge","data":"' + b"x" * command["size"] + b'"}')
        case "fail_rest":
            venue.fail_rest(command["count"], command["status"])
        case unknown:
            raise ValueError(f"the venue cannot {unknown!r}")


async def _serve(options: dict[str, Any]) -> None:
    context = None
    if options["tls"] is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options["tls"])
    pace_ns = options["block_ms"] * NS_PER_MS
    async with EmbeddedVenue(
        clock=SystemClock(),
        venue=options["venue"],
        seed=options["seed"],
        market=MarketOptions(block_ns=pace_ns),
        options=None
        if options["venue"] != "hyperliquid"
        else VenueOptions(
            book_every_ns=10 * pace_ns,
            fast_every_ns=2 * pace_ns,
            ctx_every_ns=20 * pace_ns,
            connections_max=NO_LIMIT,
            connections_per_minute=NO_LIMIT,
            subscriptions_max=NO_LIMIT,
        ),
        warmup_blocks=30,
        sent_log=options["sent_log"],
        ssl_context=context,
        close_every_s=options["close_every_s"],
    ) as venue:
        click.echo(msgspec.json.encode({"ws_url": venue.ws_url, "rest_url": venue.rest_url}))
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            _do(venue, msgspec.json.decode(line))
            click.echo("done")


@click.command()
@click.option("--seed", required=True)
@click.option("--sent-log", type=click.Path(path_type=Path), required=True)
@click.option("--venue", default="hyperliquid")
@click.option("--block-ms", type=int, default=20)
@click.option("--tls", type=click.Path(path_type=Path), help="Certificate chain and key (PEM).")
@click.option("--close-every-s", type=float, help="Close all connections that often.")
def main(**options: Any) -> None:
    """Serve until standard input ends."""
    asyncio.run(_serve(options))


if __name__ == "__main__":
    main()
