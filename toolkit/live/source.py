"""The live data source: drives one venue's protocol from its sockets, and records every frame on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec

from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.datasource import OrderBookTrackerDataSource
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import ConfigError, SymbolError
from toolkit.keys import PairName, split
from toolkit.live.capture import Capture
from toolkit.live.clock_watch import ClockWatch
from toolkit.live.intake import Intake, SourceStopped
from toolkit.live.link import Link, LinkOptions
from toolkit.live.rest_requests import RestDesk
from toolkit.live.status import SourceStatus
from toolkit.live.watchdog import Watchdog
from toolkit.messages import BookSnapshot, FundingInfo, Message
from toolkit.protocol import CloseConnection, Request, RestCall, SendText, VenueProtocol
from toolkit.rng import fresh_seed
from toolkit.transport.backoff import Backoff
from toolkit.transport.limits import VenueBudget
from toolkit.transport.rest import REST_TIMEOUT_S, RestClient
from toolkit.transport.security import tls_context
from toolkit.transport.urls import REST_SCHEMES, WS_SCHEMES, check_url, is_same_host, proxy_for
from toolkit.transport.websocket import CLOSE_TIMEOUT_S, OPEN_TIMEOUT_S
from toolkit.venue import VenueLimits

__all__ = ["LiveDataSource"]

#: Requests under way at once: one that hangs until its timeout does not hold up the others.
REST_WORKERS = 4


class LiveDataSource(OrderBookTrackerDataSource):
    """
    Market data of one venue, from the venue itself.

    Everything a frame causes happens synchronously before the next frame is looked at: it is written down by
    `capture`, understood by `protocol`, its messages go to the books and then to the callbacks, and what the protocol
    asks for is queued. A failure on that way (of the disk, of a callback) stops the source; `wait` and `stop` raise it.

    Attributes:
        protocol: The venue's protocol.
        tracker: The books, updated before any callback that was set on this source sees the message.
    """

    def __init__(
        self,
        protocol: VenueProtocol,
        *,
        ws_url: str,
        rest_url: str,
        limits: VenueLimits,
        capture: Capture,
        dispatcher: MessageDispatcher | None = None,
        tracker: OrderBookTracker | None = None,
        budget: VenueBudget | None = None,
        backoff_seed: int | str | None = None,
        backoff_s_max: float = 30.0,
        ssl_ca: Path | None = None,
        wait_for_venue: bool = False,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        close_timeout_s: float = CLOSE_TIMEOUT_S,
        rest_timeout_s: float = REST_TIMEOUT_S,
        look_s: float = 1.0,
    ) -> None:
        """
        Set up; nothing is opened before `initialize`. Raises ConfigError for a bad URL or CA file.

        Args:
            protocol: Protocol to drive. It must be fresh, or restored from a checkpoint.
            ws_url: The venue's WebSocket.
            rest_url: Its REST interface.
            limits: Limits of the venue for one client.
            capture: The recording's counter and sink, and the clock; shared by all sources of one recording.
            dispatcher: Where messages go; own one if None. A dispatcher that is given is not closed at the end.
            tracker: Books that somebody else feeds from the dispatcher; own ones if None.
            budget: Shared by several sources for the same venue; own one if None.
            backoff_seed: Decides the jitter of reconnects; unpredictable if None.
            backoff_s_max: Longest pause before the next attempt, seconds.
            ssl_ca: A PEM file of certificate authorities trusted besides the system's.
            wait_for_venue: Keep trying to reach the venue for the first time, instead of raising ConnectFailed.
            open_timeout_s: Longest wait for one WebSocket connection.
            close_timeout_s: Longest wait for the venue's answer to our goodbye.
            rest_timeout_s: Longest time of one attempt of a REST request.
            look_s: Seconds between two looks of the watchdog.
        """
        super().__init__(dispatcher)
        self.protocol = protocol
        self._owns_dispatcher = dispatcher is None
        self.tracker = tracker if tracker is not None else self._own_tracker()
        self._clock = capture.clock
        self._capture = capture
        self._seed = fresh_seed() if backoff_seed is None else backoff_seed
        self._backoff_s_max = backoff_s_max
        self._wait_for_venue = wait_for_venue
        self._look_s = look_s
        self._limits = limits
        self._intake = Intake(protocol, capture, self.dispatcher, self._carry_out)
        self._clocks = ClockWatch(self._intake, self._on_suspend)
        budget = budget if budget is not None else VenueBudget(limits, self._clock)
        tls = tls_context(ssl_ca)
        for url in (check_url(ws_url, WS_SCHEMES), check_url(rest_url, REST_SCHEMES)):
            proxy_for(url)  # one that cannot be used is said now, and not by every attempt
        self._link_options = LinkOptions(
            ws_url=ws_url,
            tls=tls,
            budget=budget,
            held=(budget.rest,) if is_same_host(ws_url, rest_url) else (),
            open_timeout_s=open_timeout_s,
            close_timeout_s=close_timeout_s,
            first_attempts=0 if wait_for_venue else 3,
            before_frames=self._clocks.glance,
        )
        self._rest = RestDesk(
            RestClient(
                rest_url,
                clock=self._clock,
                limit=budget.rest,
                backoff=lambda: self._backoff("rest"),
                ban_s_max=limits.ban_s_max,
                also_held=(budget.connects,) if is_same_host(ws_url, rest_url) else (),
                tls=tls,
                timeout_s=rest_timeout_s,
            ),
            self._intake,
        )
        self._links: dict[int, Link] = {}
        self._group: asyncio.TaskGroup | None = None
        self._runner: asyncio.Task[None] | None = None
        self._stop_asked = asyncio.Event()
        self._was_raised = False

    def _own_tracker(self) -> OrderBookTracker:
        tracker = OrderBookTracker()
        if self._owns_dispatcher:
            self.dispatcher.add_callback(tracker)
        else:
            # Two venues on one dispatcher may list the same pair: these books are of this venue alone.
            venue = self.protocol.venue

            def feed(message: Message) -> None:
                if message.venue == venue:
                    tracker(message)

            self.dispatcher.add_callback(feed)
        return tracker

    # -- life cycle --------------------------------------------------------------------------------------------

    def _shown(self) -> str:
        return f"{self.protocol.venue}: {', '.join(self.protocol.options.pairs) or 'accounts alone'}"

    async def initialize(self) -> None:
        """
        Get what the protocol has to know before it can subscribe, by REST.

        Raises ConnectFailed or RequestFailed for a venue that does not answer, the protocol's own verdict (an unknown
        pair, say), and what the sink and callbacks raise; whatever it raises, nothing stays open.
        """
        await self._rest.client.open()
        try:
            if self.protocol.failure is not None:
                # Its verdict on an earlier attempt. A replay has to forget it at the same place.
                self._intake.control(-1, 0, "restart")
            self._carry_out(self.protocol.bootstrap())
            await self._rest.drain(is_patient=self._wait_for_venue)
            if self.protocol.failure is not None:
                raise self.protocol.failure
            if not self.protocol.is_ready:
                raise ConfigError(
                    f"{self.protocol.venue}: its answers hold nothing to connect for; check the pairs and the REST URL"
                )
        except BaseException:
            await self._release()
            raise

    async def start(self) -> None:
        """
        Open the connections, and return at once; `wait` tells of a failure.

        Raises ConfigError when it was started before or not initialized.
        """
        if self._runner is not None or self._intake.is_closed:
            raise ConfigError("a live source starts once: make a new one")
        if not self.protocol.is_ready:
            raise ConfigError("a live source is started after its initialize(): use `async with`")
        loop = asyncio.get_running_loop()
        # The source owns this task, and everything else runs in the task group inside it.
        self._runner = loop.create_task(self._run(), name=f"live {self.protocol.venue}")

    async def stop(self) -> None:
        """
        Close every connection and end every task; returns when that is done.

        May be called twice. Raises what stopped the source before, unless `wait` or an earlier `stop` has. If it is
        cancelled, the source goes on stopping.
        """
        self._stop_asked.set()
        if self._runner is None:
            await self._release()
            return
        await asyncio.wait({self._runner})
        if not self._was_raised:
            self._raise_failure(self._runner)

    async def wait(self) -> None:
        """Return when the source was stopped; raise what else ended it. Safe to cancel."""
        if self._runner is None:
            raise ConfigError("a live source is waited for after its start()")
        await asyncio.wait({self._runner})
        self._raise_failure(self._runner)

    async def _run(self) -> None:
        self._clock.watch(self._clocks.glance)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._open_links()
                watchdog = Watchdog(
                    self._intake,
                    self._links,
                    clocks=self._clocks,
                    carry_out=self._carry_out,
                    open_links=self._open_links,
                    look_s=self._look_s,
                )
                services = [group.create_task(watchdog.run(), name="watchdog")]
                services += [group.create_task(self._rest.work(), name=f"rest {n}") for n in range(REST_WORKERS)]
                await self._stop_asked.wait()
                for service in services:
                    service.cancel()
                for link in self._links.values():
                    link.stop()
        finally:
            self._group = None
            self._clock.unwatch(self._clocks.glance)
            await self._release()

    async def _release(self) -> None:
        self._intake.close()
        await self._rest.client.close()
        if self._owns_dispatcher:
            self.dispatcher.close()

    def _raise_failure(self, runner: asyncio.Task[None]) -> None:
        self._was_raised = True
        if runner.cancelled():
            raise asyncio.CancelledError
        failure = runner.exception()
        if failure is None:
            return
        leaves = list(_leaves(failure))
        # Other connections stumble over the source that a first failure has stopped; that says nothing.
        causes = [leaf for leaf in leaves if not isinstance(leaf, SourceStopped)] or leaves
        # One failure is what the caller wrote an `except` for; several are all of them shown.
        raise (
            causes[0]
            if len(causes) == 1
            else BaseExceptionGroup(f"{self.protocol.venue}: {len(causes)} failures", causes)
        )

    # -- requests ----------------------------------------------------------------------------------------------

    def _carry_out(self, requests: list[Request]) -> None:
        for request in requests:
            if isinstance(request, RestCall):
                body = self._capture.outgoing(request.body)
                self._rest.put(request if body == request.body else msgspec.structs.replace(request, body=body))
                continue
            link = self._links.get(request.conn_id)
            if link is None:
                continue  # a connection of an earlier session, remembered by a checkpoint
            if isinstance(request, SendText):
                link.send(self._capture.outgoing(request.text))
            elif isinstance(request, CloseConnection):
                link.close(request.reason)

    def _open_links(self) -> None:
        """Open the connections that the protocol wants and does not have yet."""
        plans = self.protocol.connections()
        known = {link.plan.role for link in self._links.values()}
        if self._group is None or len(plans) == len(known):
            return
        if len(plans) > self._limits.connections_max:
            raise ConfigError(
                f"{self.protocol.venue}: {len(plans)} connections are needed, the venue allows "
                f"{self._limits.connections_max}; record fewer pairs or channels"
            )
        for plan in plans:
            if plan.role in known:
                continue
            conn_id = self._capture.new_connection()
            link = Link(plan, conn_id, self._intake, self._backoff(plan.role), self._link_options)
            self._links[conn_id] = link
            link.start(self._group)

    def _on_suspend(self, seconds: float) -> None:
        """The market went on unheard, and who knows what still waits in the sockets: make every connection again."""
        silence_s = round(seconds, 3)
        links = [link for link in self._links.values() if link.is_open]
        if not links:
            # What is polled is older than the monotonic clock says all the same.
            self._intake.control(-1, 0, "notice", cause="suspend", silence_s=silence_s)
        for link in links:
            self._intake.control(
                link.conn_id,
                max(link.conn_epoch, 0),
                "connection_stale",
                role=link.plan.role,
                cause="suspend",
                silence_s=silence_s,
            )
            link.abort(f"the machine was suspended for {seconds:.0f} s")

    def _backoff(self, purpose: str) -> Backoff:
        return Backoff(f"{self._seed}:{purpose}", max_s=self._backoff_s_max)

    # -- asking ------------------------------------------------------------------------------------------------

    async def get_snapshot(self, trading_pair: PairName, *, venue: str | None = None) -> OrderBook:
        """
        Ask the venue for a pair's book; where it has no such request, the present book of `tracker`, which moves on.

        The answer is recorded and its message goes to the callbacks like any other. Raises SymbolError for a pair the
        venue does not have, RequestFailed or ConnectFailed where it does not answer.
        """
        symbol = self._symbol(trading_pair, venue)
        call = self.protocol.snapshot_request(symbol)
        pair = self.protocol.trading_pair(symbol)
        if call is None:
            return self.tracker.book(pair, venue=self.protocol.venue)
        for message in await self._rest.ask(call):
            if isinstance(message, BookSnapshot) and message.symbol == symbol:
                book = OrderBook(pair, self.protocol.venue)
                book.apply_snapshot(message)
                return book
        raise SymbolError(f"{self.protocol.venue} gave no book of {trading_pair!r}; check the pair")

    async def get_funding_info(self, trading_pair: PairName, *, venue: str | None = None) -> FundingInfo:
        """
        The newest funding received of a pair, or the venue's answer where none was.

        Raises SymbolError for a pair without funding, RequestFailed or ConnectFailed where the venue does not answer.
        """
        symbol = self._symbol(trading_pair, venue)
        pair = self.protocol.trading_pair(symbol)
        known = self.tracker.funding_info(pair, venue=self.protocol.venue)
        if known is not None:
            return known
        call = self.protocol.funding_request(symbol)
        messages = await self._rest.ask(call) if call is not None else []
        for message in messages:
            if isinstance(message, FundingInfo) and message.symbol == symbol:
                return message
        raise SymbolError(f"{self.protocol.venue} has no funding of {trading_pair!r}; check the pair")

    def _symbol(self, trading_pair: PairName, venue: str | None) -> str:
        """The venue's spelling. Raises SymbolError for a pair that it does not have, or that is of another venue."""
        own, pair = split(trading_pair, venue)
        if own not in (None, self.protocol.venue):
            raise SymbolError(f"{pair} on {own} was asked of a source of {self.protocol.venue} alone")
        return self.protocol.symbol(pair)

    @property
    def has_lost_frames(self) -> bool:
        """Whether a frame failed on its way: not everything received is in the sink, or not every message was handed on."""
        return self._intake.has_failed

    def _rest_error(self) -> str:
        held_s = self._rest.client.held_s
        alone = f"{self._rest.client.host} is left alone for another {held_s:.0f} s" if held_s > 1 else ""
        return "; ".join(filter(None, (self._rest.last_error, alone)))

    def status(self) -> SourceStatus:
        """What the source is doing now."""
        now = self._clock.monotonic_ns()
        connections = tuple(link.status(now) for link in self._links.values())
        streams = self.protocol.streams
        return SourceStatus(
            venue=self.protocol.venue,
            connections=connections,
            frame_count=sum(connection.frame_count for connection in connections),
            byte_count=sum(connection.byte_count for connection in connections),
            reconnect_count=sum(connection.reconnect_count for connection in connections),
            message_count=self._intake.message_count,
            parse_error_count=self.protocol.parse_error_count,
            stale_stream_count=sum(1 for stream in streams if stream.last_recv and not stream.is_live),
            stream_count=len(streams),
            pending_request_count=len(self._rest),
            last_error=self._rest_error(),
        )


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    """The failures in a group of failures, which task groups nest."""
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _leaves(inner)
    else:
        yield exc
