"""
The synthetic venue's WebSocket face, sans I/O.

A `Session` takes text frames in and puts text frames into its outbox; the time is handed in. What a session may do,
what it is sent and when it is dropped is the real venue's behaviour, quirks included.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar

from replay.market.engine.book import Level
from replay.market.engine.exchange import Exchange
from replay.market.engine.facts import Fact
from replay.serving.face import Ask, Drop, Pings, Reply
from replay.serving.venues.hyperliquid.desk import SubscriptionDesk, frame
from replay.serving.venues.hyperliquid.requests import USER_TYPES, Subscription
from replay.serving.venues.hyperliquid.synthetic.account_rest import AccountInfo
from replay.serving.venues.hyperliquid.synthetic.account_rows import AccountRows
from replay.serving.venues.hyperliquid.synthetic.account_streams import AccountStreams
from replay.serving.venues.hyperliquid.synthetic.candles import Candles
from replay.serving.venues.hyperliquid.synthetic.listing import Metadata
from replay.serving.venues.hyperliquid.synthetic.rest import Info
from replay.serving.venues.hyperliquid.synthetic.rows import Wire
from replay.synthetic.market import Block, Market
from replay.synthetic.traders import AccountsOptions, settle_traders
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.errors import ConfigError

__all__ = ["GREETING", "Session", "SyntheticHyperliquid", "VenueOptions"]

#: What historic servers said first, in plain text.
GREETING = "Websocket connection established."
_MINUTE_NS = 60 * NS_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOptions:
    """
    Cadences and limits of the venue; the defaults are the real ones.

    Attributes:
        book_every_ns: Least time between pushes of the default and the aggregated books, ns.
        fast_every_ns: The same for the fast books.
        ctx_every_ns: The same for asset contexts.
        mids_every_ns: The same for `allMids`.
        candle_every_ns: The same for candles.
        state_every_ns: The same for account states that did not change.
        abort_after_ns: Time from a subscription that the venue cannot bear to the end of the connection, ns.
        idle_close_ns: A connection that was sent nothing for so long is dropped.
        trades_replayed: Old trades in the first `trades` frame.
        connections_max: Open connections per address.
        connections_per_minute: New connections per address and minute.
        subscriptions_max: Subscriptions per address over all its connections.
        users_max: Accounts per address in subscriptions that name one.
        greeting: Say the plain text that historic servers said after the handshake.
    """

    book_every_ns: int = 5 * NS_PER_S
    fast_every_ns: int = NS_PER_S // 2
    ctx_every_ns: int = NS_PER_S
    mids_every_ns: int = 5 * NS_PER_S
    candle_every_ns: int = NS_PER_S
    state_every_ns: int = 5 * NS_PER_S
    abort_after_ns: int = 100 * NS_PER_MS
    idle_close_ns: int = 60 * NS_PER_S
    trades_replayed: int = 30
    connections_max: int = 10
    connections_per_minute: int = 30
    subscriptions_max: int = 1000
    users_max: int = 15
    greeting: bool = False


class Session:
    """
    One client connection, as the venue sees it.

    Attributes:
        remote: Address of the client; the limits count per address.
        outbox: Text frames to send, oldest first. The sender empties it.
        abort_at_ns: When the connection must be dropped without a close frame; None if not.
    """

    def __init__(self, venue: SyntheticHyperliquid, remote: str, now_ns: int) -> None:
        self._venue = venue
        self.remote = remote
        self.outbox: list[str] = []
        self.abort_at_ns: int | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.last_sent_ns = now_ns

    def receive(self, text: str, now_ns: int) -> None:
        """Take in one text frame; the answers are in the outbox when this returns."""
        self._venue.receive(self, text, now_ns)

    def send(self, text: str, now_ns: int) -> None:
        """Put a frame into the outbox."""
        self.outbox.append(text)
        self.last_sent_ns = now_ns

    def take(self) -> list[str]:
        """Empty the outbox."""
        frames, self.outbox = self.outbox, []
        return frames


class SyntheticHyperliquid(SubscriptionDesk[Session]):
    """
    The venue: a market, its listing, its accounts, the REST face (`info`) and the sessions.

    `advance` must be called at `next_due_ns` and may be called whenever; frames are the same however often it is.

    Args:
        market: Not yet advanced, if it has accounts.
        options: Cadences and limits.
        accounts: Times of liquidations and transfers of the known accounts; None for a venue without accounts.
    """

    ws_paths: ClassVar[tuple[str, ...]] = ("/ws",)
    ws_base: ClassVar[str] = "/ws"
    rest_base: ClassVar[str] = ""
    pings: ClassVar[Pings | None] = None

    def __init__(
        self, market: Market, options: VenueOptions | None = None, accounts: AccountsOptions | None = None
    ) -> None:
        self.market = market
        self.options = options or VenueOptions()
        self.subscriptions_max = self.options.subscriptions_max
        self.users_max = self.options.users_max
        self.metadata = Metadata(market.listed.values())
        self.wire = Wire(market, self.metadata)
        self.candles = Candles(self.metadata)
        self.info = Info(market, self.wire, self.metadata, self.candles)
        account_rows = AccountRows(market, self.metadata)
        #: The known accounts; none, unless they were asked for.
        self.exchange = Exchange(market, market.options.seed)
        if accounts is not None:
            settle_traders(market, self.exchange, accounts)
            market.participants.append(self.exchange)
        AccountInfo(self.info, self.exchange, account_rows)
        self._streams = AccountStreams(self.exchange, account_rows)
        self.sessions: list[Session] = []
        #: (subscription type, coin or None for all coins) of which nothing is sent; pongs and acks go on.
        self.muted: set[tuple[str, str | None]] = set()
        self._opened: dict[str, deque[int]] = {}
        #: Who listens to what: subscription key to sessions, in the order they came.
        self._listeners: dict[str, list[Session]] = {}
        self._subscriptions: dict[str, dict[str, Subscription]] = {}
        self._best: dict[str, tuple[Level | None, Level | None]] = {}
        self._pushed_ns: dict[str, int] = {}

    # The interface of every synthetic venue ------------------------------------------------------------------------

    def open(self, remote: str, path: str, query: str, now_ns: int) -> Session | None:
        return self.connect(remote, now_ns)

    def drops(self, now_ns: int) -> list[tuple[Session, Drop]]:
        return [(session, Drop()) for session in self.due_aborts(now_ns)]

    def answer(self, ask: Ask, now_ns: int) -> Reply:
        if ask.path != "/info":
            return Reply(404, b"", "text/plain")
        if ask.method != "POST":
            return Reply(405, b"", "text/plain")
        reply = self.info.handle(ask.body, ask.content_type)
        return Reply(reply.status, reply.body, reply.content_type)

    def lose(self, stream: str, count: int = 1) -> None:
        raise ConfigError("frames of Hyperliquid have no numbers that would show a lost one; mute a stream instead")

    def account_names(self) -> dict[str, str]:
        names = {each.name: each.address for each in self.exchange.accounts.values()}
        return names | {"agent": next(iter(self.exchange.agents), "")}

    # Connections ---------------------------------------------------------------------------------------------------

    def connect(self, remote: str, now_ns: int) -> Session | None:
        """A new connection, or None if that address has too many."""
        opened = self._opened.setdefault(remote, deque())
        while opened and opened[0] <= now_ns - _MINUTE_NS:
            opened.popleft()
        current = sum(session.remote == remote for session in self.sessions)
        if current >= self.options.connections_max or len(opened) >= self.options.connections_per_minute:
            return None
        opened.append(now_ns)
        session = Session(self, remote, now_ns)
        self.sessions.append(session)
        if self.options.greeting:
            session.send(GREETING, now_ns)
        return session

    def disconnect(self, session: Session) -> None:
        """The connection is gone, whichever side ended it."""
        if session in self.sessions:
            self.sessions.remove(session)
        while session.subscriptions:
            _, wanted = session.subscriptions.popitem()
            self.unsubscribed(session, wanted)

    def due_aborts(self, now_ns: int) -> list[Session]:
        """Sessions that must be dropped now, without a close frame."""
        idle_ns = self.options.idle_close_ns
        return [
            session
            for session in self.sessions
            if (session.abort_at_ns is not None and session.abort_at_ns <= now_ns)
            or now_ns - session.last_sent_ns >= idle_ns
        ]

    def next_due_ns(self) -> int:
        """When `advance` and `due_aborts` will next have something to do."""
        due = self.market.block_time_ns(self.market.number + 1)
        for session in self.sessions:
            due = min(due, session.last_sent_ns + self.options.idle_close_ns)
            if session.abort_at_ns is not None:
                due = min(due, session.abort_at_ns)
        return due

    # What clients say ----------------------------------------------------------------------------------------------

    @property
    def coins(self) -> Collection[str]:
        """Every coin there is."""
        return self.metadata.listed

    @property
    def dexes(self) -> Collection[str]:
        """Every perp dex there is."""
        return self.metadata.dexes

    def say(self, seat: Session, text: str, now_ns: int) -> None:
        """Put a frame into a session's outbox."""
        seat.send(text, now_ns)

    def counted_with(self, seat: Session) -> list[Session]:
        """All sessions of its address."""
        return [other for other in self.sessions if other.remote == seat.remote]

    def cannot_bear(self, seat: Session, now_ns: int) -> None:
        """The connection will be dropped a moment later."""
        if seat.abort_at_ns is None:
            seat.abort_at_ns = now_ns + self.options.abort_after_ns

    def check(self, wanted: Subscription) -> None:
        """Everything that exists can be had."""

    def subscribed(self, seat: Session, wanted: Subscription) -> None:
        """It is sent from now on."""
        self._listeners.setdefault(wanted.key, []).append(seat)
        self._subscriptions.setdefault(wanted.kind, {})[wanted.key] = wanted

    def unsubscribed(self, seat: Session, wanted: Subscription) -> None:
        """It is not sent any more."""
        self._listeners[wanted.key].remove(seat)
        if not self._listeners[wanted.key]:
            del self._listeners[wanted.key]
            del self._subscriptions[wanted.kind][wanted.key]

    def first_frames(self, wanted: Subscription) -> list[str]:
        """What a new subscriber is sent at once; nothing of what is muted."""
        return [] if self._is_muted(wanted) else self._first_frames(wanted)

    def _is_muted(self, subscription: Subscription) -> bool:
        kind = subscription.kind
        return bool(self.muted) and ((kind, None) in self.muted or (kind, subscription.coin) in self.muted)

    # What the venue says -------------------------------------------------------------------------------------------

    def _first_frames(self, wanted: Subscription) -> list[str]:
        """What a new subscriber is sent at once."""
        coin = wanted.coin
        match wanted.kind:
            case "l2Book":
                return [frame("l2Book", self._book(wanted))]
            case "bbo":
                best = self._best[coin] = self.wire.best(coin)
                return [frame("bbo", self.wire.bbo(coin, best))] if any(best) else []
            case "trades":
                # Old trades, and nothing in the frame says so.
                old = list(self.market.history[self.metadata.listed[coin].symbol])[-self.options.trades_replayed :]
                return [frame("trades", [self.wire.trade(trade) for trade in old])] if old else []
            case "activeAssetCtx":
                return [frame(*self.wire.active_ctx(coin))]
            case "allMids":
                return [self._mids(wanted)]
            case _:
                return self._streams.first_frames(wanted)

    def _book(self, wanted: Subscription) -> dict[str, object]:
        fast = bool(wanted.fields["fast"])
        return self.wire.l2_book(
            wanted.coin,
            depth=5 if fast else 20,
            n_sig_figs=wanted.fields["nSigFigs"],
            mantissa=wanted.fields["mantissa"],
            fast=fast,
        )

    def _mids(self, wanted: Subscription) -> str:
        data: dict[str, object] = {"mids": self.wire.mids(wanted.dex)}
        if wanted.dex:
            data["dex"] = wanted.dex
        return frame("allMids", data)

    def advance(self, now_ns: int) -> int:
        """Make every block that is due and put what it causes into the outboxes; returns how many blocks."""
        blocks = 0
        while (time_ns := self.market.block_time_ns(self.market.number + 1)) <= now_ns:
            block = self.market.step()
            blocks += 1
            for trades in block.trades.values():
                self.candles.add(trades)
            facts = self.exchange.take_facts()
            if self.sessions:
                self._push(block, time_ns, now_ns)
                self._push_accounts(facts, block, time_ns, now_ns)
        return blocks

    def _push(self, block: Block, time_ns: int, now_ns: int) -> None:
        """
        Everything one block causes, always in this order: trades, best quotes, books, contexts, mids, candles.

        The clocks run on block time, and every subscription of a clock is served by the same block: all books of a
        burst carry the same `time`, whether they changed or not.
        """
        for wanted in self._of("trades"):
            trades = block.trades.get(self.metadata.listed[wanted.coin].symbol)
            if trades:
                self._send(wanted, frame("trades", [self.wire.trade(trade) for trade in trades]), now_ns)
        for wanted in self._of("bbo"):
            best = self.wire.best(wanted.coin)
            if best != self._best.get(wanted.coin):
                self._best[wanted.coin] = best
                self._send(wanted, frame("bbo", self.wire.bbo(wanted.coin, best)), now_ns)
        fast = self._clock("fast", self.options.fast_every_ns, time_ns)
        full = self._clock("book", self.options.book_every_ns, time_ns)
        for wanted in self._of("l2Book"):
            if fast if wanted.fields["fast"] else full:
                self._send(wanted, frame("l2Book", self._book(wanted)), now_ns)
        if self._clock("ctx", self.options.ctx_every_ns, time_ns):
            for wanted in self._of("activeAssetCtx"):
                self._send(wanted, frame(*self.wire.active_ctx(wanted.coin)), now_ns)
        if self._clock("mids", self.options.mids_every_ns, time_ns):
            for wanted in self._of("allMids"):
                self._send(wanted, self._mids(wanted), now_ns)
        if self._clock("candle", self.options.candle_every_ns, time_ns):
            for wanted in self._of("candle"):
                candle = self.candles.current(wanted.coin, wanted.fields["interval"], block.time_ms)
                if candle is not None:
                    self._send(wanted, frame("candle", candle), now_ns)

    def _push_accounts(self, facts: dict[str, list[Fact]], block: Block, time_ns: int, now_ns: int) -> None:
        """What one block means to accounts, after what it means to everybody."""
        resend = self._clock("state", self.options.state_every_ns, time_ns)
        wanted = [each for kind in USER_TYPES for each in self._of(kind)]
        for each, text in self._streams.frames(wanted, facts, block.number, resend=resend):
            self._send(each, text, now_ns)

    def _clock(self, name: str, every_ns: int, time_ns: int) -> bool:
        """Whether a push clock strikes: on the first block that is at least its interval after the last strike."""
        last = self._pushed_ns.get(name)
        if last is not None and time_ns - last < every_ns:
            return False
        self._pushed_ns[name] = time_ns
        return True

    def _of(self, kind: str) -> Iterable[Subscription]:
        wanted = self._subscriptions.get(kind)
        return list(wanted.values()) if wanted else ()

    def _send(self, wanted: Subscription, text: str, now_ns: int) -> None:
        if self._is_muted(wanted):
            return
        for session in self._listeners[wanted.key]:
            session.send(text, now_ns)
