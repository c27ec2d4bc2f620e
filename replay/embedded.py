"""
The embedded venue: the synthetic market behind real sockets on loopback, for the demo and for tests.

It can be every venue there is: the same seed makes the same books and trades behind each of them.

Programs reach it by its two URLs alone. The fault hooks make it as unreliable as a real venue can be.

As a process it prints one line of JSON (`ws_url`, `rest_url`, `accounts`) and runs until SIGTERM or SIGINT:

Example:  python -m replay.embedded --venue dydx_v4 --port 0 --seed 7
"""

from __future__ import annotations

import asyncio
import signal
import ssl
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO

import click
import msgspec

from replay.serving.face import Ask
from replay.serving.pinging import ping_regularly
from replay.serving.registry import default_synthetic, make_synthetic, synthetic_venues
from replay.serving.synthetic_venue import SpokenTo, SyntheticVenue
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.traders import AccountsOptions
from toolkit.clock import NS_PER_S, Clock, SystemClock
from toolkit.timing.times import Seconds, seconds_of
from toolkit.transport.server import LoopbackServer, Peer, RestRequest, RestResponse

__all__ = ["EmbeddedVenue", "SentFrame"]

_TICK_S_MAX = 0.05
_HOUR_NS = 3600 * NS_PER_S


class SentFrame(msgspec.Struct, frozen=True, gc=False):
    """
    One message as the venue wrote it to a socket: the truth that a recording is compared with.

    Attributes:
        connection: Number of the connection, counting from 0.
        ts_sent: Wall clock when it was written, ns since the Unix epoch (UTC).
        payload: The bytes, also where they are no valid text.
    """

    connection: int
    ts_sent: int
    payload: bytes


class EmbeddedVenue:
    """
    A synthetic venue on loopback: `async with EmbeddedVenue(seed=7, clock=SystemClock()) as venue: venue.ws_url`.

    Args:
        venue: Venue whose interface the market is behind: a name in `replay.serving.registry.synthetic_venues()`; None
            for the one that is taken where none is named.
        clock: Drives the blocks; its wall clock at the start gives the time of the market.
        seed: Decides everything that the market does.
        market: The market's other options; seed and genesis are set here.
        options: Cadences and limits of the venue, of its own kind.
        accounts: Times of liquidations and transfers of the known accounts; their liquidation block counts from block 0, warm-up
            included.
        warmup_blocks: Blocks made before anybody connects, so that there is a past.
        port: 0 picks a free one.
        ssl_context: Serve TLS with it.
        keep_sent: Keep every message sent in `sent`, in memory.
        sent_log: Append every message sent to this file, one JSON object a line (`text` is the payload, or `base64`
            where it is not UTF-8).
        close_every_s: Close all connections with code 1000 that often, on the clock.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        venue: str | None = None,
        seed: int | str = 0,
        market: MarketOptions | None = None,
        options: object | None = None,
        accounts: AccountsOptions | None = None,
        warmup_blocks: int = 300,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        keep_sent: bool = False,
        sent_log: Path | None = None,
        close_every_s: Seconds | None = None,
    ) -> None:
        self.clock = clock
        self._venue_name = venue or default_synthetic()
        self._seed = seed
        self._market_options = market or MarketOptions()
        self._options = options
        self._accounts = accounts or AccountsOptions()
        self._warmup_blocks = warmup_blocks
        self._port = port
        self._ssl_context = ssl_context
        self._keep_sent = keep_sent
        self._sent_log = sent_log
        self._log: IO[bytes] | None = None
        self.close_every_s = None if close_every_s is None else seconds_of(close_every_s, "close_every_s")
        #: Every message sent so far, if they are kept.
        self.sent: list[SentFrame] = []
        self._peers: dict[Peer, SpokenTo] = {}
        self._rest_failures: list[int] = []
        self._rest_delay_s = 0.0
        self._paused = False
        self._deaf: set[Peer] = set()
        self._stack = AsyncExitStack()

    # Life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> EmbeddedVenue:
        self._start_ns, self._start_mono_ns = self.clock.time_ns(), self.clock.monotonic_ns()
        genesis_ns = self._start_ns - self._warmup_blocks * self._market_options.block_ns
        options = replace(self._market_options, seed=self._seed, genesis_ns=genesis_ns)
        if options.funding_phase_ns is None and options.funding_every_ns == _HOUR_NS:
            # On the hour, as on the real venue.
            options = replace(options, funding_phase_ns=_HOUR_NS - genesis_ns % _HOUR_NS)
        #: The venue itself, sans I/O.
        self.venue: SyntheticVenue = make_synthetic(self._venue_name, Market(options), self._options, self._accounts)
        self.venue.advance(self._start_ns)
        async with AsyncExitStack() as stack:
            if self._sent_log is not None:
                self._log = stack.enter_context(self._sent_log.open("ab"))
            on_sent = self._note_sent if self._keep_sent or self._log is not None else None
            self._server = await stack.enter_async_context(
                LoopbackServer(
                    self,
                    port=self._port,
                    ws_paths=self.venue.ws_paths,
                    ssl_context=self._ssl_context,
                    on_sent=on_sent,
                )
            )
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            loops = [tasks.create_task(self._drive())]
            if self.close_every_s is not None:
                loops.append(tasks.create_task(self._close_regularly(self.close_every_s)))
            if self.venue.pings is not None:
                loops.append(
                    tasks.create_task(ping_regularly(self.venue.pings, lambda: self._peers, self.now_ns, self.clock))
                )
            for task in loops:
                stack.callback(task.cancel)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._stack.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            # An error of the block itself goes on as it is, not wrapped by the task group that runs the venue.
            if group.exceptions != (error,):
                raise

    def now_ns(self) -> int:
        """The venue's time: the wall clock at the start and what has passed since, so that it never goes back."""
        return self._start_ns + self.clock.monotonic_ns() - self._start_mono_ns

    @property
    def ws_url(self) -> str:
        """What a client takes for the venue's WebSocket URL; paths of connections go below it."""
        return self._server.ws_base_url + self.venue.ws_base

    @property
    def rest_url(self) -> str:
        """What a client takes for the venue's REST URL; paths of requests go below it."""
        return self._server.url + self.venue.rest_base

    @property
    def accounts(self) -> dict[str, str]:
        """
        The venue's names of the accounts by ours: `maker`, `taker`, `gambler`, `sub`, and `agent`, the maker's second
        name, where a venue has such; empty where a venue reports no accounts.
        """
        return self.venue.account_names()

    async def _drive(self) -> None:
        """Make blocks and drop connections when they are due."""
        while True:
            now_ns = self.now_ns()
            self.venue.advance(now_ns)
            self._flush()
            for session, drop in self.venue.drops(now_ns):
                peer = self._peer_of(session)
                if drop.code is None:
                    peer.abort()
                else:
                    peer.close(drop.code, drop.reason)
                self.venue.disconnect(session)
            wait_s = max(0, self.venue.next_due_ns() - now_ns) / NS_PER_S
            # A subscription that gets its connection dropped may come in between.
            await self.clock.sleep(min(wait_s, _TICK_S_MAX))

    async def _close_regularly(self, every_s: float) -> None:
        while True:
            await self.clock.sleep(every_s)
            for peer in list(self._peers):
                peer.close(1000)

    def _flush(self) -> None:
        for peer, session in self._peers.items():
            texts = session.take()
            if peer not in self._deaf:
                for text in texts:
                    peer.send(text)

    def _peer_of(self, session: SpokenTo) -> Peer:
        return next(peer for peer, each in self._peers.items() if each is session)

    def _note_sent(self, peer: Peer, payload: bytes, binary: bool) -> None:
        sent = SentFrame(peer.number, self.clock.time_ns(), payload)
        if self._keep_sent:
            self.sent.append(sent)
        if self._log is not None:
            line: dict[str, object] = {"connection": sent.connection, "ts_sent": sent.ts_sent}
            try:
                line["text"] = payload.decode()
            except UnicodeDecodeError:
                line["base64"] = payload  # msgspec writes bytes as base64
            self._log.write(msgspec.json.encode(line) + b"\n")
            self._log.flush()

    # What the server asks ------------------------------------------------------------------------------------------

    def connected(self, peer: Peer) -> RestResponse | None:
        session = self.venue.open(peer.remote, peer.path, peer.query, self.now_ns())
        if session is None:
            # How the real venue refuses is not known.
            return RestResponse(status=429, body=b"too many connections", content_type="text/plain")
        self._peers[peer] = session
        if self._paused:
            peer.pause()
        for text in session.take():
            peer.send(text)
        return None

    def received(self, peer: Peer, payload: str | bytes) -> None:
        session = self._peers.get(peer)
        if session is None:
            return
        text = payload if isinstance(payload, str) else payload.decode(errors="replace")
        if peer in self._deaf:
            session.take()
        session.receive(text, self.now_ns())
        for answer in session.take():
            peer.send(answer)

    def disconnected(self, peer: Peer, code: int | None) -> None:
        self._deaf.discard(peer)
        session = self._peers.pop(peer, None)
        if session is not None:
            self.venue.disconnect(session)

    async def request(self, request: RestRequest) -> RestResponse:
        if self._rest_delay_s:
            await self.clock.sleep(self._rest_delay_s)
        if self._rest_failures:
            return RestResponse(status=self._rest_failures.pop(0), body=b"null")
        ask = Ask(request.method, request.path, request.query, request.body, request.content_type, request.remote)
        reply = self.venue.answer(ask, self.now_ns())
        return RestResponse(
            status=reply.status, body=reply.body, content_type=reply.content_type, headers=reply.headers
        )

    # Faults, for tests ---------------------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._peers)

    def drop_connections(self) -> None:
        """Drop every connection without a close frame: clients see 1006."""
        for peer in list(self._peers):
            peer.abort()

    def close_connections(self, code: int = 1000, reason: str = "") -> None:
        """Close every connection with a close frame."""
        for peer in list(self._peers):
            peer.close(code, reason)

    def mute(self, kind: str, coin: str | None = None) -> None:
        """Stop sending one kind of subscription (of one instrument, or of all), while everything else goes on."""
        self.venue.muted.add((kind, coin))

    def unmute(self, kind: str, coin: str | None = None) -> None:
        """End a `mute`."""
        self.venue.muted.discard((kind, coin))

    def lose_frames(self, stream: str, count: int = 1) -> None:
        """Lose the next frames of a stream (in the venue's words) on their way, as if the venue had sent them."""
        self.venue.lose(stream, count)

    def deafen(self) -> None:
        """Send no data any more on the connections there are; they answer pings and requests, and later ones get all."""
        self._deaf.update(self._peers)

    def pause(self) -> None:
        """Half-open silence: connections stay up, but nothing is sent and nothing received. What was to be sent is lost."""
        self._paused = True
        for peer in self._peers:
            peer.pause()

    def resume(self) -> None:
        """End a `pause`."""
        self._paused = False
        for peer in self._peers:
            peer.resume()

    def send_raw(self, payload: bytes | str, *, binary: bool = False) -> None:
        """Send anything to every client, as a text message by default."""
        for peer in self._peers:
            peer.send(payload, binary=binary)

    def fail_rest(self, count: int, status: int = 500) -> None:
        """Answer the next REST requests with that status."""
        self._rest_failures.extend([status] * count)

    def delay_rest(self, seconds: float) -> None:
        """Answer REST requests that much later, on the clock; 0 ends it."""
        self._rest_delay_s = seconds


async def _serve(venue_name: str, port: int, seed: str, sent_log: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with EmbeddedVenue(clock=SystemClock(), venue=venue_name, seed=seed, port=port, sent_log=sent_log) as venue:
        facts = {"ws_url": venue.ws_url, "rest_url": venue.rest_url, "accounts": venue.accounts}
        click.echo(msgspec.json.encode(facts))
        await stop.wait()


@click.command()
@click.option(
    "--venue",
    type=click.Choice(list(synthetic_venues())),
    default=default_synthetic,
    show_default=True,
    help="Which one to be.",
)
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 picks a free one.")
@click.option("--seed", default="0", show_default=True, help="Decides everything that the market does.")
@click.option("--sent-log", type=click.Path(path_type=Path), help="Append every message sent to this file.")
def main(venue: str, port: int, seed: str, sent_log: Path | None) -> None:
    """
    Serve a synthetic venue on loopback until SIGTERM or SIGINT; its URLs are printed as one line of JSON, with the addresses of its accounts.

    Example:  python -m replay.embedded --venue binance-usdm --port 0 --seed 7
    """
    asyncio.run(_serve(venue, port, seed, sent_log))


if __name__ == "__main__":
    main()
