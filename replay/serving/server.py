"""
Recordings behind their venues' interfaces, on real sockets: WebSocket and REST on one port.

A tape of one venue is served at the root, as the venue is; each venue of any tape also below `/<its name>`. The controls are
below `/tickdeck`.

While a pace is kept, a client that does not read is cut off and not waited for. Played as fast as possible there is no
pace that it could be too slow for: the tape waits for the slowest, and cuts off one that takes nothing at all for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal

from recordings.recording import Recording
from replay.serving.control import CONTROL_PREFIX, Controls
from replay.serving.deck import Deck, DeckOptions
from replay.serving.face import Ask
from replay.serving.pinging import ping_regularly
from replay.serving.registry import served_venues
from replay.serving.served_venue import Client
from toolkit.clock import NS_PER_S, Clock
from toolkit.transport.hosts import open_to_network
from toolkit.transport.server import LoopbackServer, Peer, RestRequest, RestResponse, framed_texts

__all__ = ["ServerOptions", "Start", "TapeServer"]

#: When the tape begins: at once, when a client has subscribed, or when it is asked to.
Start = Literal["now", "client", "told"]

#: Frames handed on before clients are written to, played as fast as possible.
_TURN: Final = 256
#: Unread bytes of the slowest client that a tape without a pace waits for, and how often it looks.
_UNREAD_MAX: Final = 1 << 20
_LOOK_S: Final = 0.0005
#: How long clients have to read what was sent and to answer the close.
_GOODBYE_S: Final = 1.0
_NOT_HERE: Final = RestResponse(status=404, body=b"no such venue here", content_type="text/plain")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """
    Where to listen, and how to begin and to end.

    Attributes:
        host: Address; anything but loopback is for those who know why.
        port: 0 picks a free one.
        start: When the tape begins.
        settle_s: After a subscription, how long no other must come for the tape to begin, seconds.
        ends: Whether the server ends with the tape.
        unread_bytes_max: While a pace is kept, a client with more unread is cut off.
        patience_s: Without one, how long a client may take nothing, seconds.
        connections_max: WebSockets at once.
        allowed_origins: Further hosts whose pages may connect.
        allowed_hosts: Further names that the server answers to.
    """

    host: str = "127.0.0.1"
    port: int = 0
    start: Start = "client"
    settle_s: float = 0.5
    ends: bool = False
    unread_bytes_max: int = 4 << 20
    patience_s: float = 10.0
    connections_max: int = 256
    allowed_origins: Collection[str] = ()
    allowed_hosts: Collection[str] = ()


class TapeServer:
    """
    Serves recordings until the block is left: `async with TapeServer([recording], clock=clock) as server: await server.run()`.

    Args:
        recordings: Recordings in the order that decides ties.
        clock: Keeps the pace.
        deck: How to play.
        options: Where and when.

    Attributes:
        deck: The tape and its clients.
        is_waiting: Whether the tape waits for its first client, or for a command.
        has_ended: Whether it is at its end.
        cut_off_count: Clients that were cut off because they did not read.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        clock: Clock,
        deck: DeckOptions | None = None,
        options: ServerOptions | None = None,
    ) -> None:
        self.options = options or ServerOptions()
        self.clock = clock
        self.recordings = list(recordings)
        self.deck = Deck(
            recordings, served_venues(), pacer=clock, options=deck, after_turn=self._after_turn, turn=_TURN
        )
        self.is_waiting = self.options.start != "now"
        self.has_ended = False
        self.cut_off_count = 0
        if self.is_waiting:
            self.deck.player.pause()
        self._clients: dict[Peer, Client] = {}
        self._peers: dict[Client, Peer] = {}
        self._stalled: dict[Peer, tuple[int, int]] = {}
        self._subscribed = asyncio.Event()
        self._again = asyncio.Event()
        self._controls = Controls(self)
        self._stack = AsyncExitStack()

    # Life --------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> TapeServer:
        options = self.options
        async with AsyncExitStack() as stack:
            self._server = await stack.enter_async_context(
                LoopbackServer(
                    self,
                    host=options.host,
                    port=options.port,
                    ws_paths=self._is_ws_path,
                    queue_bytes_max=options.unread_bytes_max,
                    connections_max=options.connections_max,
                    allowed_origins=options.allowed_origins,
                    allowed_hosts=options.allowed_hosts,
                )
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def url(self) -> str:
        """Base URL, without a slash at the end."""
        return self._server.url

    @property
    def warning(self) -> str | None:
        """What to say where other machines reach it."""
        return open_to_network("the server, with its controls,", self.options.host, self._server.hosts)

    def ws_url_of(self, venue: str) -> str:
        """What a client takes for that venue's WebSocket URL."""
        return f"{self._server.ws_base_url}{self._prefix(venue)}{self.deck.venues[venue].ws_base}"

    def rest_url_of(self, venue: str) -> str:
        """What a client takes for that venue's REST URL."""
        return f"{self._server.url}{self._prefix(venue)}{self.deck.venues[venue].rest_base}"

    def _prefix(self, venue: str) -> str:
        return "" if len(self.deck.venues) == 1 else f"/{venue}"

    async def run(self) -> None:
        """Play, until asked to stop, or until the tape's end if the server ends with it. Raises what reading it raises."""
        try:
            await self._play()
        except BaseExceptionGroup as group:
            # What the tape raises goes on as it is, not wrapped by the task group beside it.
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise

    async def _play(self) -> None:
        player = self.deck.player
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._begin_with_clients())] if self.options.start == "client" else []
            for name, venue in self.deck.venues.items():
                if venue.pings is not None:
                    pinging = ping_regularly(venue.pings, self._peers_of(name), self.clock.monotonic_ns, self.clock)
                    tasks.append(group.create_task(pinging))
            while not player.is_stopped:
                await player.run()
                await self._after_turn()
                if player.is_stopped:
                    break
                self.has_ended = True
                if self.options.ends:
                    break
                await self._again.wait()
                self._again.clear()
                self.has_ended = False
            for task in tasks:
                task.cancel()
        await self._say_goodbye()

    async def _say_goodbye(self) -> None:
        for peer in list(self._clients):
            peer.close(1001, "the server ends")
        deadline_ns = self.clock.monotonic_ns() + round(_GOODBYE_S * NS_PER_S)
        while self._clients and self.clock.monotonic_ns() < deadline_ns:
            await self.clock.sleep(0.01)

    def stop(self) -> None:
        """End `run`. May be called from a signal handler."""
        self.deck.player.stop()
        self._again.set()

    def go_on(self) -> None:
        """The tape was set in motion or elsewhere: play on, if it had come to its end."""
        self._again.set()

    async def _begin_with_clients(self) -> None:
        """Let the tape begin once subscriptions have come and no more follow."""
        while self.is_waiting:
            await self._subscribed.wait()
            count = self.deck.subscription_count
            await self.clock.sleep(self.options.settle_s)
            if count == self.deck.subscription_count and self.is_waiting:
                self.is_waiting = False
                self.deck.player.resume()

    def _peers_of(self, venue: str) -> Callable[[], list[Peer]]:
        return lambda: [peer for peer, client in self._clients.items() if self.deck.clients.get(client) == venue]

    # Sending -----------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is in the outboxes, and end what has to end."""
        stirred = self.deck.stirred
        if not stirred:
            return
        is_bounded = self.deck.player.speed is not None
        # Clients with the same subscriptions have the same to read: it is put in frames once.
        latest: list[bytes] = []
        framed = b""
        for client in list(stirred):
            peer = self._peers.get(client)
            if peer is None:
                continue
            payloads = client.take()
            if payloads:
                if payloads != latest:
                    latest, framed = payloads, framed_texts(payloads)
                peer.write(payloads, framed, is_bounded=is_bounded)
            if client.drop is not None:
                if client.drop.code is None:
                    peer.abort()
                else:
                    peer.close(client.drop.code, client.drop.reason)
        stirred.clear()

    async def _after_turn(self) -> None:
        self.flush()
        if self.deck.player.speed is None:
            await self._wait_for_readers()

    async def take_turn(self) -> None:
        """Write to clients whatever waits for them, as fast as they read, and let everybody else go on."""
        self.flush()
        await self._wait_for_readers()
        await self.clock.sleep(0)

    async def _wait_for_readers(self) -> None:
        patience_ns = round(self.options.patience_s * NS_PER_S)
        while True:
            behind = [peer for peer in self._clients if peer.is_open and peer.unsent_bytes > _UNREAD_MAX]
            if not behind:
                self._stalled.clear()
                return
            now = self.clock.monotonic_ns()
            for peer in behind:
                unread = peer.unsent_bytes
                least, since = self._stalled.get(peer, (unread + 1, now))
                if unread < least:
                    least, since = unread, now
                self._stalled[peer] = least, since
                if now - since > patience_ns:
                    peer.cut_off()
            await self.clock.sleep(_LOOK_S)

    # What the sockets ask ----------------------------------------------------------------------------------------------

    def _route(self, path: str) -> tuple[str, str] | None:
        """The venue that a path belongs to, and what is below its prefix."""
        venues = self.deck.venues
        first, _, rest = path[1:].partition("/")
        if first in venues:
            return first, f"/{rest}"
        return (next(iter(venues)), path) if len(venues) == 1 else None

    def _is_ws_path(self, path: str) -> bool:
        found = self._route(path)
        return found is not None and self.deck.venues[found[0]].is_ws_path(found[1])

    def connected(self, peer: Peer) -> RestResponse | None:
        found = self._route(peer.path)
        if found is None:
            return _NOT_HERE
        name, path = found
        client = self.deck.connect(name, peer.number, peer.remote, path, peer.query)
        self._clients[peer] = client
        self._peers[client] = peer
        self._note_subscriptions()
        self.flush()
        return None

    def received(self, peer: Peer, payload: str | bytes) -> None:
        client = self._clients.get(peer)
        if client is None:
            return
        text = payload if isinstance(payload, str) else payload.decode(errors="replace")
        self.deck.receive(client, text, self.clock.monotonic_ns())
        self._note_subscriptions()
        self.flush()

    def disconnected(self, peer: Peer, code: int | None) -> None:
        client = self._clients.pop(peer, None)
        if client is not None:
            del self._peers[client]
            self.deck.disconnect(client)
        self._stalled.pop(peer, None)
        self.cut_off_count += peer.slow

    def _note_subscriptions(self) -> None:
        if self.deck.subscription_count:
            self._subscribed.set()

    async def request(self, request: RestRequest) -> RestResponse:
        if request.path == CONTROL_PREFIX or request.path.startswith(f"{CONTROL_PREFIX}/"):
            return await self._controls.answer(request)
        found = self._route(request.path)
        if found is None:
            return _NOT_HERE
        name, path = found
        ask = Ask(request.method, path, request.query, request.body, request.content_type, request.remote)
        reply = self.deck.venues[name].answer(ask, self.clock.monotonic_ns())
        return RestResponse(
            status=reply.status, body=reply.body, content_type=reply.content_type, headers=reply.headers
        )

    # For the controls --------------------------------------------------------------------------------------------------

    def described_clients(self) -> list[Mapping[str, Any]]:
        """Everybody connected."""
        return [
            {
                "number": client.number,
                "venue": self.deck.clients[client],
                "remote": client.remote,
                "path": client.path,
                "streams": len(client.keys),
                "unread_bytes": peer.unsent_bytes,
            }
            for peer, client in self._clients.items()
        ]
