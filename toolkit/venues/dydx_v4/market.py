"""
dYdX v4's market data protocol (the Indexer's), without the socket.

What is peculiar about this venue, and where it is handled:

- No book frame has a time or a number of its own; only `message_id` tells that something is missing (`numbering`). A
  frame that is missing may have been of any stream, so all of its connection are stale until subscribed anew.
- A subscription begins with a snapshot that does not quite fit the updates after it, and crossing levels stay for
  ever in who only listens: books are read anew by subscribing again (`subscriptions`). Levels are told as sent; the
  book of a recording is the raw one and may be crossed. `toolkit.uncrossing` has the other view of it.
- Only a snapshot makes a stale book good again. An update before it is told, since it was sent, but heals nothing.
- The answer to subscribing trades is history, newest first, and may or may not reach back to the last trade seen;
  REST has the rest.
- `v4_markets` speaks of every market in one stream, a few fields at a time (`markets`).
- There is no mark price, no quote stream, and no answer to a ping of ours other than the WebSocket's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ParseError, SymbolError, VenueRefused
from toolkit.frames import Frame
from toolkit.messages import FORM_FULL, BookDiff, BookSnapshot, EventKind, Message, Trade
from toolkit.protocol import ConnectionPlan, Heartbeat, ProtocolOptions, Request, RestCall, VenueProtocol
from toolkit.streams import Stream
from toolkit.venues.dydx_v4 import rest, wire
from toolkit.venues.dydx_v4.books import DEPTH_CAP, BookColumns, read_book
from toolkit.venues.dydx_v4.crossing import CrossingWatch
from toolkit.venues.dydx_v4.errors import Refusal, Verdict, read_error
from toolkit.venues.dydx_v4.funding_polls import FundingPolls
from toolkit.venues.dydx_v4.markets import (
    FINAL_STATUS,
    MarketChange,
    MarketTable,
    funding_info,
    instrument,
    settled_funding,
)
from toolkit.venues.dydx_v4.numbering import ConnectionNumbers, Lost, MessageNumbers
from toolkit.venues.dydx_v4.subscriptions import VENUE_ROLE, Subscriptions, parse_channels, shards
from toolkit.venues.dydx_v4.trades import TradeMemory, block_of, checked, read_trades

__all__ = ["CHANNELS", "DEFAULT_CHANNELS", "DydxV4MarketProtocol"]

CHANNELS: Final = {
    "full": "v4_orderbook: 100 levels a side, then every change as it comes",
    "batched": "v4_orderbook, batched: the same, changes collected for 250 ms",
    "trades": "v4_trades: trades, once per block",
    "funding": "v4_markets: oracle price, funding, open interest and day statistics",
    "blocks": "v4_block_height: height and time of each block, the chain's sign of life",
    "candles:RES": "v4_candles, kept raw: 1MIN, 5MINS, 15MINS, 30MINS, 1HOUR, 4HOURS or 1DAY",
    "parent": "v4_parent_subaccounts in place of v4_subaccounts: the accounts named, with their children",
}
DEFAULT_CHANNELS: Final = ("full", "trades", "funding", "blocks")

#: The venue pings every 30 s and closes without a pong; our own ping makes a dead socket show sooner.
HEARTBEAT: Final = Heartbeat(ping_text=None, interval_s=20.0, idle_s_max=45.0)
#: The streams of the whole venue, and the silence of theirs that is no longer normal, seconds.
MARKETS_STREAM: Final = "markets"
BLOCKS_STREAM: Final = "blocks"
SILENCE_S_MAX: Final = {MARKETS_STREAM: 60.0, BLOCKS_STREAM: 15.0}
#: Our names of the streams that a channel carries.
_STREAMS: Final = {
    wire.CHANNEL_BOOK: FORM_FULL,
    wire.CHANNEL_TRADES: "trades",
    wire.CHANNEL_MARKETS: MARKETS_STREAM,
    wire.CHANNEL_BLOCKS: BLOCKS_STREAM,
}
#: Channels that are kept in `raw` only.
_KEPT_RAW: Final = frozenset({wire.CHANNEL_CANDLES, "v4_subaccounts", "v4_parent_subaccounts"})
#: Pages of older trades asked for after a lost connection, at most.
TRADE_PAGES_MAX: Final = 10


class DydxV4MarketProtocol(VenueProtocol):
    """Market data of dYdX v4: perpetuals, quoted in USD."""

    venue: ClassVar[str] = "dydx_v4"
    version: ClassVar[int] = 1

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(options)
        self.channels = parse_channels(options.channels or DEFAULT_CHANNELS)
        self.markets = MarketTable()
        #: Height of the newest block heard of, and its time in ns.
        self.block: tuple[int, int] | None = None
        self._wanted: tuple[str, ...] = ()
        self._is_awaited = False
        self._numbers = ConnectionNumbers()
        self._carriers: dict[tuple[str, str], str] = {}
        self._trades = TradeMemory()
        self._polls = FundingPolls()
        self._subscriptions = Subscriptions()
        self._crossing = CrossingWatch()
        self._readers: dict[str, tuple[Callable[[wire.Envelope], Any], Callable[..., None]]] = {
            wire.CHANNEL_BOOK: (read_book, self._tell_book),
            wire.CHANNEL_TRADES: (read_trades, self._tell_trades),
            wire.CHANNEL_MARKETS: (self._read_markets, self._tell_markets),
            wire.CHANNEL_BLOCKS: (wire.read_block, self._tell_block),
        }

    # -- metadata ----------------------------------------------------------------------------------------------

    def bootstrap(self) -> list[Request]:
        self._is_awaited = True
        return [rest.markets_call(), rest.time_call()]

    @property
    def is_ready(self) -> bool:
        return not self._is_awaited and len(self.markets) > 0 and self.failure is None

    def trading_pair(self, symbol: str) -> str:
        return symbol

    def symbol(self, trading_pair: str) -> str:
        if any(stream.symbol == trading_pair for stream in self.streams if stream.symbol):
            return trading_pair
        return self.markets.ticker(trading_pair)

    def _choose_markets(self, frame: Frame, messages: list[Message]) -> None:
        wanted: dict[str, None] = {}
        for name in self.options.pairs:
            try:
                ticker = self.markets.ticker(name)
            except SymbolError as exc:
                self.failure = exc
                return
            if self.markets.get(ticker).status == FINAL_STATUS:
                text = f"{ticker} is settled for good: its book is empty for ever, so it is not subscribed"
                messages.append(self.event(frame, EventKind.REFUSED, sub_seq=len(messages), detail=text))
                continue
            wanted[ticker] = None
        if self.options.pairs and not wanted:
            self.failure = VenueRefused(f"nothing to record: {', '.join(self.options.pairs)} settled for good")
        self._wanted = tuple(wanted)

    def _is_wanted(self, ticker: str) -> bool:
        return not self.options.pairs or ticker in self._wanted

    # -- connections -------------------------------------------------------------------------------------------

    def connections(self) -> list[ConnectionPlan]:
        return [ConnectionPlan(role=role, heartbeat=HEARTBEAT) for role in shards(self.channels, self._wanted)]

    def _subscribe(self, frame: Frame, role: str) -> None:
        # Only the venue's greeting says that it listens; until then nothing is sent.
        wanted = shards(self.channels, self._wanted).get(role, [])
        self._subscriptions.opened(frame.conn_id, wanted, frame.ts_mono)
        for subscription in wanted:
            name = _STREAMS.get(subscription.channel)
            if name is not None:
                limit_ns = round(SILENCE_S_MAX.get(name, 0.0) * NS_PER_S)
                stream = self.streams.add(Stream(subscription.id, subscription.id, name, limit_ns=limit_ns))
                self.streams.resubscribed(stream, frame)
        if role == VENUE_ROLE and any(channel.wire == wire.CHANNEL_MARKETS for channel in self.channels):
            self._queue += self._polls.begin(self._wanted, frame)

    def _on_sent(self, frame: Frame) -> None:
        request = wire.decode_request(frame.payload)
        if request.type in ("subscribe", "unsubscribe"):
            self._numbers.of_sent(frame).sent(
                request.type, request.channel, request.id, frame.capture_seq, frame.ts_mono
            )
            self._subscriptions.sent(frame.conn_id, request.type, request.channel, request.id, frame.ts_mono)

    def _on_disconnected(self, frame: Frame, streams: list[Stream]) -> list[Message]:
        self._subscriptions.closed(frame.conn_id)
        self._numbers.end(frame)
        return []

    def due(self, mono_ns: int) -> list[Request]:
        return [*self._subscriptions.due(mono_ns, self._crossing), *self._polls.due(self._wanted, mono_ns)]

    def snapshot_request(self, symbol: str) -> RestCall | None:
        return rest.book_call(symbol)

    def funding_request(self, symbol: str) -> RestCall | None:
        return rest.markets_call(symbol)

    # -- WebSocket frames --------------------------------------------------------------------------------------

    def _on_text(self, frame: Frame) -> list[Message]:
        envelope = wire.decode_envelope(frame.payload)
        match envelope.type:
            case "channel_data" | "channel_batch_data" | "subscribed":
                return self._on_contents(frame, envelope)
            case "unsubscribed":
                return self._on_unsubscribed(frame, envelope)
            case "connected":
                return self._on_greeting(frame, envelope)
            case "error":
                return self._on_error(frame, envelope)
            case kind:
                raise ParseError(f"unknown type {kind!r}")

    def _on_contents(self, frame: Frame, envelope: wire.Envelope) -> list[Message]:
        """Read first, which may fail, and only then change anything."""
        messages: list[Message] = []
        found = self._readers.get(envelope.channel)
        if found is None and envelope.channel in _KEPT_RAW:
            self._count(frame, envelope, messages)
            return messages
        try:
            if found is None:
                raise ParseError(f"unknown channel {envelope.channel!r}")
            read, tell = found
            contents = read(envelope)
        except ParseError:
            # It came, so it was not lost. But a change of a book that cannot be read is as good as lost: its number
            # stays missing, and after a few seconds that makes the book stale and the connection anew.
            if envelope.channel != wire.CHANNEL_BOOK:
                key = self._numbers.key(frame, envelope.connection_id)
                self._numbers.of(key).seen(envelope.message_id, frame.capture_seq, frame.ts_mono)
            raise
        self._count(frame, envelope, messages)
        tell(frame, envelope, contents, messages)
        return messages

    def _on_greeting(self, frame: Frame, envelope: wire.Envelope) -> list[Message]:
        key = self._numbers.key(frame, envelope.connection_id)
        self._numbers.begin(frame, key).seen(envelope.message_id, frame.capture_seq, frame.ts_mono)
        self._queue += self._subscriptions.greeted(frame.conn_id)
        return []

    def _on_unsubscribed(self, frame: Frame, envelope: wire.Envelope) -> list[Message]:
        messages: list[Message] = []
        self._count(frame, envelope, messages)
        name = _STREAMS.get(envelope.channel)
        stream = self.streams.get(_id_of(envelope), name) if name is not None else None
        if stream is not None:
            self.mark_stale(frame, stream, "unsubscribed", messages)
        return messages

    def _on_error(self, frame: Frame, envelope: wire.Envelope) -> list[Message]:
        key = self._numbers.key(frame, envelope.connection_id)
        numbers = self._numbers.of(key)
        numbers.refused(envelope.message_id, frame.capture_seq, frame.ts_mono)
        refusal = read_error(envelope)
        request = refusal.of(numbers.outstanding(refusal.channel)) if refusal.channel else None
        if request is not None:
            numbers.answered(request.type, request.channel, request.id)
            if request.type == "subscribe":
                self._refused(frame, refusal, request.id)
        kind = EventKind.REFUSED if refusal.verdict is Verdict.NEVER else EventKind.VENUE_ERROR
        messages: list[Message] = [self.event(frame, kind, detail=envelope.message)]
        self._look_for_losses(frame, key, numbers, messages)
        return messages

    def _refused(self, frame: Frame, refusal: Refusal, id: str) -> None:
        if refusal.verdict is Verdict.NEVER:
            self._subscriptions.refused(frame.conn_id, refusal.channel, id)
        else:
            is_stuck = refusal.verdict is Verdict.STUCK
            due_ns = frame.ts_mono + round(refusal.retry_s * NS_PER_S)
            self._subscriptions.postponed(frame.conn_id, refusal.channel, id, due_ns, is_stuck=is_stuck)

    # -- numbers -----------------------------------------------------------------------------------------------

    def _count(self, frame: Frame, envelope: wire.Envelope, messages: list[Message]) -> None:
        """Take the frame's number in; call it when the rest of the frame is understood, and before telling of it."""
        key = self._numbers.key(frame, envelope.connection_id)
        numbers = self._numbers.of(key)
        numbers.seen(envelope.message_id, frame.capture_seq, frame.ts_mono)
        if envelope.type == "subscribed":
            subscribed = _id_of(envelope)
            numbers.answered("subscribe", envelope.channel, subscribed)
            self._subscriptions.confirmed(frame.conn_id, envelope.channel, subscribed, frame.ts_mono)
            self._note_carrier(frame, envelope.channel, subscribed, key, messages)
        elif envelope.type == "unsubscribed":
            numbers.answered("unsubscribe", envelope.channel, _id_of(envelope))
        if not numbers.is_whole:
            self._look_for_losses(frame, key, numbers, messages)

    def _note_carrier(self, frame: Frame, channel: str, id: str, key: str, messages: list[Message]) -> None:
        """A stream begins on a connection. If it was live on another, a reconnect is missing from the capture."""
        name = _STREAMS.get(channel)
        if name is None:
            return
        stream = self.streams.get(id, name)
        if stream is not None and self._carriers.get((id, name), key) != key:
            self.mark_stale(frame, stream, "disconnect", messages, "subscribed on another connection")
        self._carriers[id, name] = key

    def _look_for_losses(self, frame: Frame, key: str, numbers: MessageNumbers, messages: list[Message]) -> None:
        lost = numbers.lost(frame.ts_mono)
        if lost is None:
            return
        if lost.is_selection:
            text = (
                f"of this connection {lost.count} frames and more are missing: a capture of some of its channels, "
                "in which message_id cannot tell what was lost"
            )
            messages.append(self.event(frame, EventKind.NOTICE, sub_seq=len(messages), cause="selection", detail=text))
            return
        for stream in self.streams:
            if self._carriers.get((stream.symbol, stream.stream)) == key:
                self.mark_stale(frame, stream, "sequence", messages, _describe(lost))
        if self.role_of(frame.conn_id):
            self._subscriptions.remake(frame.conn_id, frame.ts_mono)

    # -- what the channels say ---------------------------------------------------------------------------------

    def _tell_book(self, frame: Frame, envelope: wire.Envelope, columns: BookColumns, messages: list[Message]) -> None:
        ticker = envelope.id
        stream = self.streams.get(ticker, FORM_FULL)
        if columns.is_snapshot or (stream is not None and stream.is_live):
            self.heard(frame, ticker, FORM_FULL, messages)
        elif stream is None:
            self.streams.add(Stream(ticker, ticker, FORM_FULL, frame.conn_id))
            self._carriers[ticker, FORM_FULL] = self._numbers.key(frame, envelope.connection_id)
        make = BookSnapshot if columns.is_snapshot else BookDiff
        messages.append(
            make(
                self.venue,
                ticker,
                ticker,
                None,  # no book frame has a time in it
                frame.ts_recv,
                frame.capture_seq,
                len(messages),
                FORM_FULL,
                True,
                DEPTH_CAP if columns.is_snapshot else None,
                *columns.bids,
                (),
                *columns.asks,
                (),
                last_update_id=envelope.message_id,
            )
        )
        if frame.conn_id in self._roles:
            take = self._crossing.replace if columns.is_snapshot else self._crossing.change
            take(ticker, zip(*columns.bids, strict=True), zip(*columns.asks, strict=True))

    def _tell_trades(
        self, frame: Frame, envelope: wire.Envelope, trades: list[wire.WireTrade], messages: list[Message]
    ) -> None:
        ticker = envelope.id
        self._carriers.setdefault((ticker, "trades"), self._numbers.key(frame, envelope.connection_id))
        self.heard(frame, ticker, "trades", messages)
        is_history = envelope.type == "subscribed"
        known = self._trades.newest_block(ticker) if is_history else None
        told = self._trades.messages(self.venue, ticker, trades, frame, len(messages), is_history=is_history)
        messages += told
        if known is not None:
            self._ask_older_trades(ticker, known, told, page=1)

    def _ask_older_trades(self, ticker: str, known: int, told: list[Message], *, page: int) -> None:
        """Ask for trades before those just told, unless these reach back to a block that was known before."""
        oldest = block_of(told[0].trade_id) if told and isinstance(told[0], Trade) else None
        if oldest is None or oldest <= known or page > TRADE_PAGES_MAX:
            return
        self._queue.append(rest.trades_call(ticker, oldest, f"trades:{known}:{page}:{ticker}"))

    def _read_markets(self, envelope: wire.Envelope) -> list[MarketChange]:
        if envelope.type == "channel_batch_data":
            return self.markets.changes(wire.decode_markets_batch(envelope.contents))
        return self.markets.changes([wire.decode_markets(envelope.contents)])

    def _tell_markets(
        self, frame: Frame, envelope: wire.Envelope, changes: list[MarketChange], messages: list[Message]
    ) -> None:
        key = self._numbers.key(frame, envelope.connection_id)
        self._carriers.setdefault(("", MARKETS_STREAM), key)
        self.heard(frame, "", MARKETS_STREAM, messages)
        changes = self._taken(changes)
        for change in changes:
            stream = self.streams.get(change.ticker, "funding")
            if stream is not None:
                stream.conn_id = frame.conn_id
            self._carriers[change.ticker, "funding"] = key
            self.heard(frame, change.ticker, "funding", messages)
        self._tell_changes(frame, changes, messages)

    def _taken(self, changes: list[MarketChange]) -> list[MarketChange]:
        """Take changes over, and return those to tell of."""
        self.markets.take(changes)
        return [change for change in changes if self._is_wanted(change.ticker)]

    def _tell_changes(self, frame: Frame, changes: list[MarketChange], messages: list[Message]) -> None:
        for change in changes:
            if change.has_terms:
                messages.append(instrument(self.venue, change.ticker, change.after, frame, len(messages)))
            if change.has_figures:
                messages.append(
                    funding_info(self.venue, change.ticker, change.after, frame, len(messages), change.ts_event)
                )

    def _tell_block(
        self, frame: Frame, envelope: wire.Envelope, block: tuple[int, int], messages: list[Message]
    ) -> None:
        self._carriers.setdefault(("", BLOCKS_STREAM), self._numbers.key(frame, envelope.connection_id))
        stream = self.heard(frame, "", BLOCKS_STREAM, messages)
        if self.block is not None and block < self.block:
            text = f"block went back from {self.block[0]} to {block[0]}"
            messages.append(
                self.event(frame, EventKind.TIME_REGRESSION, stream=stream, sub_seq=len(messages), detail=text)
            )
            return
        self.block = block

    # -- REST responses ----------------------------------------------------------------------------------------

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        tag = str(context.get("tag", ""))
        what, _, ticker = tag.partition(":")
        status = context.get("status", 200)
        if status != 200:
            return [self.event(frame, EventKind.REQUEST_FAILED, detail=f"{tag}: HTTP {status}")]
        match what:
            case "perpetualMarkets":
                return self._on_rest_markets(frame, ticker)
            case "orderbook":
                return [rest.book_of(self.venue, ticker, frame)]
            case "trades":
                return self._on_rest_trades(frame, ticker)
            case "historicalFunding":
                return self._on_funding_history(frame)
            case "time":
                time = wire.time_ns(wire.decode_time(frame.payload).iso)
                text = f"the venue's clock reads {(time - frame.ts_recv) / NS_PER_S:+.3f} s against ours at receipt"
                notice = self.event(frame, EventKind.NOTICE, cause="venue clock", detail=text)
                return [msgspec.structs.replace(notice, ts_event=time)]
            case "height":
                self.block = wire.block_of(wire.decode_block(frame.payload))
                return []
            case _:
                return []

    def _on_rest_markets(self, frame: Frame, ticker: str) -> list[Message]:
        contents = wire.MarketsContents(markets=wire.decode_market_list(frame.payload).markets)
        changes = self.markets.changes([contents])
        messages: list[Message] = []
        self.markets.take(changes)
        if not ticker:
            self._is_awaited = False
            self._choose_markets(frame, messages)
        self._tell_changes(
            frame, [change for change in changes if change.ticker == ticker or self._is_wanted(change.ticker)], messages
        )
        return messages

    def _on_rest_trades(self, frame: Frame, what: str) -> list[Message]:
        trades = checked(wire.decode_trades(frame.payload).trades)
        known, page, ticker = (*what.split(":", 2), "", "")[:3]
        is_page = known.isdigit() and page.isdigit() and bool(ticker)
        told = self._trades.messages(self.venue, ticker if is_page else what, trades, frame, 0, is_history=True)
        if is_page and any(isinstance(message, Trade) and not message.is_duplicate for message in told):
            self._ask_older_trades(ticker, int(known), told, page=int(page) + 1)
        return told

    def _on_funding_history(self, frame: Frame) -> list[Message]:
        rows = wire.decode_funding_history(frame.payload).historicalFunding
        messages: list[Message] = []
        fresh = self._polls.fresh(rows)
        for row in fresh:
            messages.append(settled_funding(self.venue, row, frame, len(messages)))
        self._polls.told(fresh)
        return messages

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {
            "markets": self.markets.export(),
            "block": self.block,
            "wanted": self._wanted,
            "is_awaited": self._is_awaited,
            "numbers": self._numbers.export(),
            "carriers": [[*stream, key] for stream, key in self._carriers.items()],
            "trades": self._trades.export(),
            "settled": self._polls.export(),
        }

    def _import(self, state: Any) -> None:
        self.markets.restore(state["markets"])
        self.block = tuple(state["block"]) if state["block"] is not None else None
        self._wanted = tuple(state["wanted"])
        self._is_awaited = state["is_awaited"]
        self._numbers.restore(state["numbers"])
        self._carriers = {(symbol, name): key for symbol, name, key in state["carriers"]}
        self._trades.restore(state["trades"])
        self._polls.restore(state["settled"])


def _id_of(envelope: wire.Envelope) -> str:
    """The id as it was subscribed; the channels of the whole venue are answered with their own name or with none."""
    return "" if envelope.channel in (wire.CHANNEL_MARKETS, wire.CHANNEL_BLOCKS) else envelope.id


def _describe(lost: Lost) -> str:
    return f"{lost.count} of the connection's frames never came, the first of them message_id {lost.first}"
