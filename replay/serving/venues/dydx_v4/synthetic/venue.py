"""
The synthetic market behind the WebSocket and REST face of dYdX v4's Indexer, sans I/O.

Books change with every block of the market, as orders do that are not on a chain yet; trades become known once a
second, when a block of the chain holds them. A connection has one counter of messages: the number of a `subscribed` is
taken when it is asked for, and the frame goes out when its snapshot has been fetched, with other frames in between.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, ClassVar

from replay.market.engine.level_changes import LevelTracker
from replay.serving.synthetic_venue import Ask, BaseSession, BaseVenue, Drop, Pings, Reply, Window, as_json
from replay.serving.venues.dydx_v4.names import iso
from replay.serving.venues.dydx_v4.requests import (
    BLOCKS,
    BOOK,
    MARKETS,
    PARENT_SUBACCOUNTS,
    SUBACCOUNTS,
    TRADES,
    VERSIONS,
    Invalid,
    Request,
    limit_of,
    parse_request,
)
from replay.serving.venues.dydx_v4.synthetic.accounts import DydxAccounts
from replay.serving.venues.dydx_v4.synthetic.chain import Chain, ChainBlock
from replay.serving.venues.dydx_v4.synthetic.listing import Listed, listing
from replay.serving.venues.dydx_v4.synthetic.rest import DydxRest
from replay.synthetic.market import Market
from replay.synthetic.traders import AccountsOptions
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.rng import seeded

__all__ = ["DydxOptions", "DydxSession", "SyntheticDydx"]

_RATE_LIMITED = Drop(1008, '{"message":"Rate limited"}')


@dataclass(frozen=True, slots=True, kw_only=True)
class DydxOptions:
    """
    Cadences and limits of the venue; the defaults are the real ones.

    Attributes:
        chain_every_ns: Between blocks of the chain, ns.
        batch_every_ns: Between flushes of batched subscriptions.
        trading_every_ns: Between updates of the markets' figures.
        snapshot_delay_ns: Delay from a subscribe to its answer.
        leaves_hole: Read the snapshot when it is asked for and subscribe when it is sent, as the real venue does:
            what changes in between is never sent. Otherwise the two are one instant.
        snapshot_levels: Levels a side of a book.
        trades_replayed: Old trades in the answer to a subscribe.
        subscribes_per_second: Most subscribes a second of one subscription; more end the connection.
        invalid_per_second: Most frames a second that are no requests; more end the connection.
        requests_max: REST requests per address in ten seconds.
    """

    chain_every_ns: int = NS_PER_S
    batch_every_ns: int = 250 * NS_PER_MS
    trading_every_ns: int = 30 * NS_PER_S
    snapshot_delay_ns: int = 60 * NS_PER_MS
    leaves_hole: bool = False
    snapshot_levels: int = 100
    trades_replayed: int = 100
    subscribes_per_second: int = 2
    invalid_per_second: int = 2
    requests_max: int = 100


_Key = tuple[str, str]


@dataclass(slots=True)
class _Subscription:
    is_batched: bool
    #: Contents that wait for the next flush, by subaccount.
    waiting: dict[int | None, list[Any]] = field(default_factory=dict)


@dataclass(slots=True)
class _Fetch:
    """A subscribe whose snapshot is on its way."""

    due_ns: int
    session: DydxSession
    request: Request
    message_id: int
    contents: Any


class DydxSession(BaseSession):
    """One connection: its name, its counter, and what it is subscribed to."""

    def __init__(self, venue: SyntheticDydx, number: int, remote: str, now_ns: int, name: str) -> None:
        super().__init__(number, remote, now_ns)
        self._venue = venue
        self.connection_id = name
        self.message_id = 0
        self.subscriptions: dict[_Key, _Subscription] = {}
        self.invalid = Window(NS_PER_S)
        self.subscribes: dict[_Key, Window] = {}

    def receive(self, text: str, now_ns: int) -> None:
        """Take in one text frame; answers that need no snapshot are in the outbox when this returns."""
        self._venue.receive(self, text, now_ns)

    def say(self, type: str, message_id: int, **fields: Any) -> None:
        """Send a frame."""
        head = {"type": type, "connection_id": self.connection_id, "message_id": message_id}
        self.send(as_json(head | fields).decode())

    def next_id(self) -> int:
        """Count a message."""
        self.message_id += 1
        return self.message_id


class SyntheticDydx(BaseVenue[DydxSession]):
    """
    The venue. `advance` must be called at `next_due_ns` and may be called whenever.

    Args:
        market: Not yet advanced, if it has accounts.
        options: Cadences and limits.
        accounts: Times of liquidations and transfers of the known accounts.

    Attributes:
        failing: How many of the next snapshots of a channel cannot be fetched, by channel.
        leaves_hole: See `DydxOptions`; may be changed at any time.
    """

    ws_paths: ClassVar[tuple[str, ...]] = ("/v4/ws",)
    ws_base: ClassVar[str] = "/v4/ws"
    rest_base: ClassVar[str] = "/v4"
    pings: ClassVar[Pings | None] = Pings(30.0, 10.0, Drop(1011, "Heartbeat timeout"))

    def __init__(
        self, market: Market, options: DydxOptions | None = None, accounts: AccountsOptions | None = None
    ) -> None:
        super().__init__(market, accounts)
        self.options = options or DydxOptions()
        self.listed: dict[str, Listed] = listing(market.listed.values())
        random = seeded(f"{market.options.seed}/dydx")
        by_symbol = {each.symbol: each for each in self.listed.values()}
        height = 60_000_000 + random.randrange(10_000_000)
        self.chain = Chain(by_symbol, height, market.options.genesis_ns, self.options.chain_every_ns)
        self.people = DydxAccounts(self.exchange, market, self.chain, by_symbol)
        self.failing: dict[str, int] = {}
        self.leaves_hole = self.options.leaves_hole
        self._names = random
        self._rest = DydxRest(self, self.options.requests_max)
        self._trackers = {ticker: LevelTracker(market.books[each.symbol]) for ticker, each in self.listed.items()}
        self._fetches: list[_Fetch] = []
        self._held_ns: dict[str, int] = {}
        self._removals: dict[str, list[tuple[int, bool, int]]] = {}
        self._oracles = self._oracle_prices()
        self._figures = {ticker: self._figures_of(ticker) for ticker in self.listed}

    # Connections ---------------------------------------------------------------------------------------------------

    def open(self, remote: str, path: str, query: str, now_ns: int) -> DydxSession | None:
        """A new connection, which is greeted."""
        name = str(uuid.UUID(int=self._names.getrandbits(128), version=4))
        session = DydxSession(self, self._connections, remote, now_ns, name)
        self._connections += 1
        self.sessions.append(session)
        session.say("connected", 0)
        return session

    def disconnect(self, session: DydxSession) -> None:
        """The connection is gone, whichever side ended it."""
        if session in self.sessions:
            self.sessions.remove(session)
        self._fetches = [fetch for fetch in self._fetches if fetch.session is not session]

    def next_due_ns(self) -> int:
        """When `advance` will next have something to do."""
        return min([self.market.block_time_ns(self.market.number + 1), *(fetch.due_ns for fetch in self._fetches)])

    def account_names(self) -> dict[str, str]:
        """Addresses by our names."""
        return self.people.names()

    # Faults --------------------------------------------------------------------------------------------------------

    def hold_removals(self, ticker: str, delay_ns: int) -> None:
        """Tell of levels that went that much later, so that they cross those that came; 0 ends it."""
        self._held_ns[ticker] = delay_ns

    # What clients say ----------------------------------------------------------------------------------------------

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        """Answer a REST request."""
        return self._rest.answer(ask, now_ns)

    def receive(self, session: DydxSession, text: str, now_ns: int) -> None:
        """Answer one frame of a client."""
        if session.drop is not None:
            return
        try:
            request = parse_request(text)
        except Invalid as exc:
            session.say("error", session.message_id, message=str(exc))
            if session.invalid.add(now_ns) > self.options.invalid_per_second:
                session.drop = _RATE_LIMITED
            return
        if request.type == "subscribe":
            self._subscribe(session, request, now_ns)
        elif request.type == "unsubscribe":
            session.subscriptions.pop(_key(request), None)
            session.say("unsubscribed", session.next_id(), channel=request.channel, **_id_fields(request))

    def _subscribe(self, session: DydxSession, request: Request, now_ns: int) -> None:
        number = session.next_id()
        channel, name = _key(request)
        count = session.subscribes.setdefault((channel, name), Window(NS_PER_S)).add(now_ns)
        if count > self.options.subscribes_per_second:
            what = f"{channel}-{request.id}" if request.id else channel
            text = f"Too many subscribe attempts for channel {what}. Please reconnect and try again."
            self._refuse(session, request, text)
            session.drop = _RATE_LIMITED
            return
        if not self._is_valid(request):
            self._refuse(session, request, f"Invalid subscription id for channel: ({channel}-{request.id})")
            return
        held = sum(key[0] == channel for key in session.subscriptions)
        held += sum(fetch.session is session and fetch.request.channel == channel for fetch in self._fetches)
        if held >= limit_of(channel) and (channel, name) not in session.subscriptions:
            text = f"Per-connection subscription limit reached for {channel} (limit={limit_of(channel)})."
            self._refuse(session, request, text)
            return
        contents = self._snapshot(channel, name) if self.leaves_hole else None
        self._fetches.append(_Fetch(now_ns + self.options.snapshot_delay_ns, session, request, number, contents))

    def _is_valid(self, request: Request) -> bool:
        if request.channel in (BOOK, TRADES):
            return request.id in self.listed
        if request.channel in (SUBACCOUNTS, PARENT_SUBACCOUNTS):
            return self.people.is_valid(request.channel, request.id or "")
        return True

    @staticmethod
    def _refuse(session: DydxSession, request: Request, text: str) -> None:
        # The counter is read, not advanced.
        session.say("error", session.message_id, message=text, channel=request.channel, **_id_fields(request))

    def _fetched(self, fetch: _Fetch) -> None:
        """A snapshot has come: subscribe its connection and send it."""
        session, request = fetch.session, fetch.request
        key = _key(request)
        left = self.failing.get(request.channel, 0)
        if left:
            self.failing[request.channel] = left - 1
            self._refuse(session, request, f"Internal error, could not fetch data for subscription: {request.channel}.")
            return
        if key in session.subscriptions:
            text = f"Invalid subscribe message: already subscribed ({request.channel}-{request.id or request.channel})"
            self._refuse(session, request, text)
            return
        contents = fetch.contents if fetch.contents is not None else self._snapshot(*key)
        # Markets subscribed with an id are another subscription than the one that is sent updates.
        session.subscriptions[key] = _Subscription(request.batched)
        session.say("subscribed", fetch.message_id, channel=request.channel, **_shown_id(key), contents=contents)

    def _snapshot(self, channel: str, id: str) -> Any:
        match channel:
            case "v4_orderbook":
                return self.book(id)
            case "v4_trades":
                rows = list(self.chain.history[id])[-self.options.trades_replayed :]
                return {"trades": rows[::-1]}
            case "v4_markets":
                return {"markets": self.markets()}
            case "v4_block_height":
                return {"height": str(self.chain.height), "time": iso(self.chain.time_ms)}
            case _:
                return self.people.snapshot(channel, id)

    def markets(self) -> dict[str, Any]:
        """Every market, as in snapshots and REST."""
        perps, counts = self.market.perps, self.chain.counts
        return {ticker: each.market(perps[each.symbol], counts[ticker]) for ticker, each in self.listed.items()}

    def book(self, ticker: str) -> dict[str, Any]:
        """A market's book, as in snapshots and REST."""
        listed = self.listed[ticker]
        book, depth = self.market.books[listed.symbol], self.options.snapshot_levels
        return {
            name: [
                {"price": listed.px_text(level.px), "size": listed.sz_text(level.lots)} for level in side.levels(depth)
            ]
            for name, side in (("bids", book.bids), ("asks", book.asks))
        }

    # What the venue says -------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> int:
        """Make every block that is due and answer every subscribe that is; returns how many blocks."""
        blocks = 0
        while True:
            block_ns = self.market.block_time_ns(self.market.number + 1)
            fetch = min(self._fetches, key=lambda each: each.due_ns, default=None)
            if fetch is not None and fetch.due_ns <= min(now_ns, block_ns):
                self._fetches.remove(fetch)
                self._fetched(fetch)
            elif block_ns <= now_ns:
                blocks += 1
                self._step(block_ns)
            else:
                return blocks

    def _step(self, time_ns: int) -> None:
        block = self.market.step()
        self.people.note(self.exchange.take_facts())
        self.chain.add(block.trades)
        for ticker, tracker in self._trackers.items():
            self._push_book(ticker, tracker, time_ns)
        final = self.chain.advance(time_ns)
        if final is not None:
            self._push_chain(final)
        for update in self.people.updates(final):
            self._emit(*update)
        if self._strikes("trading", self.options.trading_every_ns, time_ns):
            self._push_figures()
        if self._strikes("batch", self.options.batch_every_ns, time_ns):
            self._flush_batches()

    def _push_book(self, ticker: str, tracker: LevelTracker, time_ns: int) -> None:
        listed = self.listed[ticker]
        held_ns = self._held_ns.get(ticker, 0)
        removals = self._removals.setdefault(ticker, [])
        book = self.market.books[listed.symbol]
        for change in tracker.changes():
            if held_ns and not change.lots:
                removals.append((time_ns + held_ns, change.is_bid, change.px))
                continue
            self._emit(BOOK, ticker, _level_contents(change.is_bid, listed.level(change.px, change.lots)))
        while removals and removals[0][0] <= time_ns:
            _, is_bid, px = removals.pop(0)
            side = book.bids if is_bid else book.asks
            if side.sign * px not in side.queues:
                self._emit(BOOK, ticker, _level_contents(is_bid, listed.level(px, 0)))

    def _push_chain(self, block: ChainBlock) -> None:
        """What a block of the chain makes known: its height, then trades, then oracle prices."""
        time = iso(block.time_ms)
        self._emit(BLOCKS, BLOCKS, {"blockHeight": str(block.height), "time": time})
        for ticker, trades in block.trades.items():
            self._emit(TRADES, ticker, {"trades": trades})
        prices = self._oracle_prices()
        for ticker, price in prices.items():
            if price != self._oracles[ticker]:
                row = {
                    "oraclePrice": price,
                    "effectiveAt": time,
                    "effectiveAtHeight": str(block.height),
                    "marketId": self.listed[ticker].pair_id,
                }
                self._emit(MARKETS, MARKETS, {"oraclePrices": {ticker: row}})
        self._oracles = prices

    def _oracle_prices(self) -> dict[str, str]:
        perps = self.market.perps
        return {ticker: each.px_text(perps[each.symbol].oracle) for ticker, each in self.listed.items()}

    def _figures_of(self, ticker: str) -> dict[str, Any]:
        listed = self.listed[ticker]
        return listed.figures(self.market.perps[listed.symbol], self.chain.counts[ticker])

    def _push_figures(self) -> None:
        """The fields of each market that changed since the last time."""
        changed: dict[str, Any] = {}
        for ticker, listed in self.listed.items():
            now = self._figures_of(ticker)
            old = self._figures[ticker]
            fields = {name: value for name, value in now.items() if old.get(name) != value}
            if fields:
                changed[ticker] = {"id": str(listed.pair_id)} | fields
            self._figures[ticker] = now
        if changed:
            self._emit(MARKETS, MARKETS, {"trading": changed})

    def _emit(self, channel: str, id: str, contents: Any, subaccount: int | None = None) -> None:
        if self._is_muted(channel, id):
            return
        is_lost: bool | None = None
        for session in self.sessions:
            subscription = session.subscriptions.get((channel, id))
            if subscription is None:
                continue
            if is_lost is None:
                is_lost = self._is_lost(f"{channel}/{id}")
            if subscription.is_batched:
                if not is_lost:
                    subscription.waiting.setdefault(subaccount, []).append(contents)
                continue
            self._send_data(session, "channel_data", (channel, id), contents, subaccount, is_lost=is_lost)

    def _flush_batches(self) -> None:
        for session in self.sessions:
            for key, subscription in session.subscriptions.items():
                waiting, subscription.waiting = subscription.waiting, {}
                for subaccount, contents in waiting.items():
                    self._send_data(session, "channel_batch_data", key, contents, subaccount)

    @staticmethod
    def _send_data(
        session: DydxSession, type: str, key: _Key, contents: Any, subaccount: int | None, *, is_lost: bool = False
    ) -> None:
        number = session.next_id()
        if is_lost:
            return  # counted and never sent: what a client sees of a frame lost inside the venue
        fields = {"channel": key[0], "version": VERSIONS.get(key[0], "1.0.0"), "contents": contents}
        if subaccount is not None:
            fields["subaccountNumber"] = subaccount
        session.say(type, number, **_shown_id(key), **fields)


def _key(request: Request) -> _Key:
    """Channel and id of a subscription: channels of the whole venue go by their own name."""
    return request.channel, request.id or request.channel


def _id_fields(request: Request) -> dict[str, str]:
    return {} if request.id is None else {"id": request.id}


def _shown_id(key: _Key) -> dict[str, str]:
    return {} if key[0] == MARKETS else {"id": key[1]}


def _level_contents(is_bid: bool, level: tuple[str, str]) -> dict[str, Any]:
    return {"bids" if is_bid else "asks": [level]}
