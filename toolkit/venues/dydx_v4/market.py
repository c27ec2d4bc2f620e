"""
dYdX v4's market data protocol (the Indexer's), without the socket.

What is peculiar about this venue, and where it is handled:

- No book frame has a time or a number of its own; only `message_id` tells that something is missing (`numbering`). A
  frame that is missing may have been of any stream, so all of its connection are stale until subscribed again.
- A subscription begins with a snapshot that does not quite fit the updates after it, and crossing levels stay for ever
  for a client that only listens: books are read again by subscribing again (`subscriptions`). Levels are reported as
  sent; the book of a recording is the raw one and may be crossed. `toolkit.books.uncrossing` has the other view of it.
- Only a snapshot makes a stale book good again. An update before it is reported, since it was sent, but heals nothing.
- The answer to subscribing trades is history, newest first, and may or may not reach back to the last trade seen;
  REST has the rest.
- `v4_markets` speaks of every market in one stream, a few fields at a time (`markets`).
- Every list is read item by item (`items`): one that is odd takes no other along.
- There is no mark price, no quote stream, and no answer to a ping of ours other than the WebSocket's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from toolkit.clock import NS_PER_S
from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import FORM_FULL, BookDiff, BookSnapshot, EventKind, Message
from toolkit.protocol import ConnectionPlan, Heartbeat, ProtocolOptions, Request, RestCall
from toolkit.streams import Stream
from toolkit.venues.dydx_v4 import rest, wire
from toolkit.venues.dydx_v4.base import MISSED_TRADES
from toolkit.venues.dydx_v4.books import DEPTH_CAP, BookColumns, read_book
from toolkit.venues.dydx_v4.crossing import CrossingWatch
from toolkit.venues.dydx_v4.errors import Refusal, Verdict, read_error
from toolkit.venues.dydx_v4.items import Finding
from toolkit.venues.dydx_v4.numbering import Arrival, ConnectionNumbers, Lost, MessageNumbers
from toolkit.venues.dydx_v4.replies import MARKETS_STREAM, DydxV4Replies
from toolkit.venues.dydx_v4.subscriptions import VENUE_ROLE, Subscriptions, parse_channels, shards
from toolkit.venues.dydx_v4.symbols import (
    MarketChange,
)
from toolkit.venues.dydx_v4.trade_tape import blocks_of, read_trades

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


class DydxV4MarketProtocol(DydxV4Replies):
    """Market data of dYdX v4: perpetuals, quoted in USD."""

    venue: ClassVar[str] = "dydx_v4"
    version: ClassVar[int] = 2

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(options)
        self.channels = parse_channels(options.channels or DEFAULT_CHANNELS)
        self._numbers = ConnectionNumbers()
        self._carriers: dict[tuple[str, str], str] = {}
        #: Streams that lost something only a snapshot makes good, stale for another cause though they may be.
        self._owing: dict[tuple[str, str], None] = {}
        #: The newest change of each subscription: its connection and number.
        self._newest: dict[tuple[str, str], tuple[str, int]] = {}
        self.subscriptions = Subscriptions()
        self._crossing = CrossingWatch()
        #: For each channel, what reads its envelopes, and what reports the contents.
        self.readers: dict[str, tuple[Callable[[wire.Envelope], Any], Callable[..., None]]] = {
            wire.CHANNEL_BOOK: (read_book, self._emit_book),
            wire.CHANNEL_TRADES: (self._read_trades, self._emit_trades),
            wire.CHANNEL_MARKETS: (self._read_markets, self._emit_markets),
            wire.CHANNEL_BLOCKS: (wire.read_block, self._emit_block),
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
        is_streamed = any(stream.symbol == trading_pair for stream in self.streams if stream.symbol)
        if is_streamed or self.accounts.knows(trading_pair):
            return trading_pair
        return self.markets.ticker(trading_pair)

    # -- connections -------------------------------------------------------------------------------------------

    def connections(self) -> list[ConnectionPlan]:
        roles = shards(self.channels, self._wanted) if self.has_market else []
        return [*(ConnectionPlan(role=role, heartbeat=HEARTBEAT) for role in roles), *self.accounts.connections()]

    def _subscribe(self, frame: Frame, role: str) -> None:
        # Only the venue's greeting says that it listens; until then nothing is sent.
        wanted = shards(self.channels, self._wanted).get(role, [])
        self.subscriptions.opened(frame.conn_id, wanted, frame.ts_mono)
        for subscription in wanted:
            name = _STREAMS.get(subscription.channel)
            if name is not None:
                limit_ns = round(SILENCE_S_MAX.get(name, 0.0) * NS_PER_S)
                stream = self.streams.add(Stream(subscription.id, subscription.id, name, limit_ns=limit_ns))
                self.streams.resubscribed(stream, frame)
        self._terms.begin(frame.ts_mono)
        if role == VENUE_ROLE and any(channel.wire == wire.CHANNEL_MARKETS for channel in self.channels):
            self._queue += self._polls.begin(self._wanted, frame)

    def _resubscribe(self, frame: Frame, role: str) -> None:
        self._queue += self.subscriptions.again(frame.conn_id)

    def _on_sent(self, frame: Frame) -> None:
        request = wire.decode_request(frame.payload)
        if request.type in ("subscribe", "unsubscribe"):
            self._numbers.of_sent(frame).sent(
                request.type, request.channel, request.id, frame.capture_seq, frame.ts_mono
            )
            self.subscriptions.sent(frame.conn_id, request.type, request.channel, request.id, frame.ts_mono)

    def _on_disconnected(self, frame: Frame, streams: list[Stream]) -> list[Message]:
        self.subscriptions.closed(frame.conn_id)
        if self._numbers.end(frame):
            # It is over before it was sure.
            for stream in streams:
                self._on_loss(stream)
        return []

    def due(self, mono_ns: int) -> list[Request]:
        requests = self.subscriptions.due(mono_ns, self._crossing)
        requests += self._polls.due(self._wanted, mono_ns)
        requests += self._terms.due(self._wanted, mono_ns)
        requests += [call for tag in self._repeats.due(mono_ns) for call in self._calls_again(tag, mono_ns)]
        return [*requests, *self.accounts.due(mono_ns)]

    def _on_sleep(self, frame: Frame) -> None:
        self._terms.slept(frame.ts_mono)

    def _on_session_end(self) -> None:
        if not self._numbers.is_whole:
            for stream in self.streams:
                self._on_loss(stream)
        self._terms.ended()
        self._repeats.ended()

    def snapshot_request(self, symbol: str) -> RestCall | None:
        return rest.book_call(symbol)

    def funding_request(self, symbol: str) -> RestCall | None:
        return rest.markets_call(symbol)

    # -- WebSocket frames --------------------------------------------------------------------------------------

    def _on_text(self, frame: Frame) -> list[Message]:
        if frame.conn_epoch < self._epochs.get(frame.conn_id, 0):
            text = f"a frame of making {frame.conn_epoch} of the connection, after making {self._epochs[frame.conn_id]}"
            return [self.event(frame, EventKind.NOTICE, cause="old connection", detail=text)]
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
        found = self.readers.get(envelope.channel)
        if found is None and envelope.channel in _KEPT_RAW:
            self._count(frame, envelope, messages)
            return messages
        try:
            if found is None:
                raise ParseError(f"unknown channel {envelope.channel!r}")
            read, emit = found
            contents = read(envelope)
        except ParseError:
            # It came, so it was not lost. But a change of a book that cannot be read is as good as lost: its number
            # stays missing, and after a few seconds that makes the book stale and has the connection made again.
            if envelope.channel != wire.CHANNEL_BOOK:
                key = self._numbers.key(frame, envelope.connection_id)
                self._numbers.of(key).seen(envelope.message_id, frame.capture_seq, frame.ts_mono)
            raise
        arrival = self._count(frame, envelope, messages)
        if envelope.type == "subscribed" and arrival is Arrival.NEXT:
            self._make_good(envelope)
        # Of trades a repeated one is reported as that. Anything else would undo what came after it.
        if arrival is Arrival.NEXT or envelope.channel == wire.CHANNEL_TRADES or not self.role_of(frame.conn_id):
            emit(frame, envelope, contents, messages)
            if envelope.type == "subscribed" and arrival is Arrival.NEXT and self._was_outrun(frame, envelope):
                self._on_disorder(frame, envelope, messages)
        elif arrival is Arrival.LATE:
            self._on_disorder(frame, envelope, messages)
        return messages

    def _note_change(self, frame: Frame, envelope: wire.Envelope) -> None:
        """A change came that may be older than its snapshot."""
        key = self._numbers.key(frame, envelope.connection_id)
        self._newest[envelope.channel, _id_of(envelope)] = (key, envelope.message_id)

    def _was_outrun(self, frame: Frame, envelope: wire.Envelope) -> bool:
        """Whether a snapshot comes after changes to it: the venue subscribes us just before it sends the snapshot."""
        before, number = self._newest.get((envelope.channel, _id_of(envelope)), ("", 0))
        is_same = before == self._numbers.key(frame, envelope.connection_id)
        return is_same and number > envelope.message_id and bool(self.role_of(frame.conn_id))

    def _on_disorder(self, frame: Frame, envelope: wire.Envelope, messages: list[Message]) -> None:
        """A frame came after one that was sent later: what both change can only be read again."""
        name = _STREAMS.get(envelope.channel, f"account {envelope.id}")
        for stream in self.streams:
            if stream.stream == name and stream.symbol in ("", _id_of(envelope)):
                self.mark_stale(frame, stream, "sequence", messages, f"message_id {envelope.message_id} came late")
                self._on_loss(stream)
        self.subscriptions.remake(frame.conn_id, frame.ts_mono)

    def _on_greeting(self, frame: Frame, envelope: wire.Envelope) -> list[Message]:
        key = self._numbers.key(frame, envelope.connection_id)
        self._numbers.begin(frame, key).seen(envelope.message_id, frame.capture_seq, frame.ts_mono)
        self._newest = {name: each for name, each in self._newest.items() if each[0] != key}
        self._queue += self.subscriptions.greeted(frame.conn_id)
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
        self.accounts.on_error(frame, envelope)
        return messages

    def _refused(self, frame: Frame, refusal: Refusal, id: str) -> None:
        if refusal.verdict is Verdict.NEVER:
            self.subscriptions.refused(frame.conn_id, refusal.channel, id)
        else:
            is_stuck = refusal.verdict is Verdict.STUCK
            due_ns = frame.ts_mono + round(refusal.retry_s * NS_PER_S)
            self.subscriptions.postponed(frame.conn_id, refusal.channel, id, due_ns, is_stuck=is_stuck)

    # -- numbers -----------------------------------------------------------------------------------------------

    def _count(self, frame: Frame, envelope: wire.Envelope, messages: list[Message]) -> Arrival:
        """Take the frame's number in; call it when the rest of the frame is understood, and before telling of it."""
        key = self._numbers.key(frame, envelope.connection_id)
        numbers = self._numbers.of(key)
        if envelope.type == "channel_data":
            arrival = numbers.seen(envelope.message_id, frame.capture_seq, frame.ts_mono)
        else:
            is_answer = envelope.type != "channel_batch_data"
            arrival = numbers.seen(envelope.message_id, frame.capture_seq, frame.ts_mono, is_answer=is_answer)
        if envelope.type == "subscribed":
            subscribed = _id_of(envelope)
            numbers.answered("subscribe", envelope.channel, subscribed)
            self.subscriptions.confirmed(frame.conn_id, envelope.channel, subscribed, frame.ts_mono)
            self._note_carrier(frame, envelope.channel, subscribed, key, messages)
        elif envelope.type == "unsubscribed":
            numbers.answered("unsubscribe", envelope.channel, _id_of(envelope))
        if not numbers.is_whole:
            self._look_for_losses(frame, key, numbers, messages)
        return arrival

    def _note_carrier(self, frame: Frame, channel: str, id: str, key: str, messages: list[Message]) -> None:
        """A stream begins on a connection. If it was live on another, a reconnect is missing from the capture."""
        name = _STREAMS.get(channel)
        if name is None or (channel == wire.CHANNEL_BLOCKS and self._is_second_block(frame)):
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
                self._on_loss(stream)
        if self.role_of(frame.conn_id):
            self.subscriptions.remake(frame.conn_id, frame.ts_mono)

    def carry(self, frame: Frame, envelope: wire.Envelope, stream: str) -> None:
        """A stream of the accounts is on that frame's connection: what is lost of its frames may be lost of the stream."""
        self._carriers["", stream] = self._numbers.key(frame, envelope.connection_id)

    def _make_good(self, envelope: wire.Envelope) -> None:
        """A snapshot came: nothing that was lost before it is missing any more."""
        self._owing.pop((_id_of(envelope), _STREAMS.get(envelope.channel, "")), None)
        if envelope.channel == wire.CHANNEL_MARKETS:
            self._owing = {name: None for name in self._owing if name[1] != "funding"}

    def _on_loss(self, stream: Stream) -> None:
        """Frames of a stream may have been lost, some seconds ago."""
        self._owing[stream.symbol, stream.stream] = None
        if stream.stream == "trades":
            self._trades.doubt(stream.symbol)
        self.accounts.lost(stream)

    def _awaits_snapshot(self, frame: Frame, envelope: wire.Envelope, stream: Stream | None) -> bool:
        """
        Whether something of the stream was lost that only the next snapshot makes good. An import has none to come.

        That is so after frames were lost, and on a connection whose snapshot has not come yet.
        """
        if stream is None or stream.is_live or envelope.type == "subscribed" or not self.role_of(frame.conn_id):
            return False
        name = stream.symbol, stream.stream
        return name in self._owing or self._carriers.get(name) != self._numbers.key(frame, envelope.connection_id)

    # -- what the channels say ---------------------------------------------------------------------------------

    def _emit_book(self, frame: Frame, envelope: wire.Envelope, columns: BookColumns, messages: list[Message]) -> None:
        ticker = envelope.id
        stream = self.streams.get(ticker, FORM_FULL)
        if columns.is_snapshot or (stream is not None and stream.is_live):
            self.received(frame, ticker, FORM_FULL, messages)
        else:
            self._note_change(frame, envelope)
            if stream is None:
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

    def _read_trades(self, envelope: wire.Envelope) -> tuple[list[wire.WireTrade], list[Finding]]:
        found: list[Finding] = []
        return read_trades(envelope, found), found

    def _emit_trades(
        self,
        frame: Frame,
        envelope: wire.Envelope,
        contents: tuple[list[wire.WireTrade], list[Finding]],
        messages: list[Message],
    ) -> None:
        trades, found = contents
        ticker = envelope.id
        self._carriers.setdefault((ticker, "trades"), self._numbers.key(frame, envelope.connection_id))
        stream = self.streams.get(ticker, "trades")
        is_doubtful = stream is not None and not stream.is_live and self._awaits_snapshot(frame, envelope, stream)
        if not is_doubtful:
            self.received(frame, ticker, "trades", messages)
        is_history = envelope.type == "subscribed"
        blocks = blocks_of(trades)
        page = self._trades.snapshot(ticker, blocks) if is_history else None
        messages += self._trades.messages(
            self.venue, ticker, trades, blocks, frame, len(messages), is_history=is_history
        )
        if not is_history and not is_doubtful:
            self._trades.live(ticker, blocks)
        if page is not None:
            self._queue.append(rest.trades_call(ticker, page))
        elif is_history and self.streams.get(ticker, MISSED_TRADES) is not None:
            self.received(frame, ticker, MISSED_TRADES, messages)
        if found:
            self.say(frame, found, messages, self.streams.get(ticker, "trades"))

    def _read_markets(self, envelope: wire.Envelope) -> tuple[list[MarketChange], list[Finding], bool]:
        found: list[Finding] = []
        if envelope.type == "channel_batch_data":
            contents = wire.decode_markets_batch(envelope.contents)
        else:
            contents = [wire.decode_markets(envelope.contents)]
        is_listing = any(content.markets for content in contents)
        return self.markets.changes(contents, found), found, is_listing

    def _emit_markets(
        self,
        frame: Frame,
        envelope: wire.Envelope,
        contents: tuple[list[MarketChange], list[Finding], bool],
        messages: list[Message],
    ) -> None:
        changes, found, is_listing = contents
        key = self._numbers.key(frame, envelope.connection_id)
        self._carriers.setdefault(("", MARKETS_STREAM), key)
        is_doubtful = self._awaits_snapshot(frame, envelope, self.streams.get("", MARKETS_STREAM))
        if not is_doubtful:
            self.received(frame, "", MARKETS_STREAM, messages)
        if envelope.type != "subscribed":
            self._note_change(frame, envelope)
        if is_listing:
            self._look_for_vanished(frame, changes, messages)
        for change in changes:
            if change.has_terms:
                self._termed[change.ticker] = frame.ts_recv
        changes = self._taken(changes)
        for change in changes:
            stream = self.streams.get(change.ticker, "funding")
            if stream is not None:
                stream.conn_id = frame.conn_id
            self._carriers[change.ticker, "funding"] = key
            if not (is_doubtful or self._awaits_snapshot(frame, envelope, stream)):
                self.received(frame, change.ticker, "funding", messages)
        self._emit_changes(frame, changes, messages)
        self.say(frame, found, messages, self.streams.get("", MARKETS_STREAM))

    def _taken(self, changes: list[MarketChange]) -> list[MarketChange]:
        """Take changes over, and return those to tell of."""
        self.markets.take(changes)
        return [change for change in changes if self._is_wanted(change.ticker)]

    @property
    def follows_blocks(self) -> bool:
        """Whether a connection of the market subscribes blocks."""
        return self.has_market and any(channel.wire == wire.CHANNEL_BLOCKS for channel in self.channels)

    def _is_second_block(self, frame: Frame) -> bool:
        """Whether the accounts' connection reports a block that the market's connection, whose stream it is, reports too."""
        return self.follows_blocks and self.accounts.has_role(self.role_of(frame.conn_id))

    def _emit_block(
        self, frame: Frame, envelope: wire.Envelope, block: tuple[int, int], messages: list[Message]
    ) -> None:
        if not self._is_second_block(frame):
            self._emit_own_block(frame, envelope, block, messages)
        self.accounts.block(frame, block[0], messages)

    def _emit_own_block(
        self, frame: Frame, envelope: wire.Envelope, block: tuple[int, int], messages: list[Message]
    ) -> None:
        self._carriers.setdefault(("", BLOCKS_STREAM), self._numbers.key(frame, envelope.connection_id))
        stream = self.received(frame, "", BLOCKS_STREAM, messages)
        is_believed = self.chain.note_height(block[0], frame.ts_recv)
        if self.block is not None and (block < self.block or not is_believed):
            far = "went back" if block < self.block else "leapt"
            text = f"block {far} from {self.block[0]} to {block[0]}"
            messages.append(
                self.event(frame, EventKind.TIME_REGRESSION, stream=stream, sub_seq=len(messages), detail=text)
            )
            # A chain that begins again, or one wild block, is recognized by the blocks after it.
            if not is_believed or block[0] != self.chain.newest:
                return
        self.block = block

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {
            **super()._export(),
            "numbers": self._numbers.export(),
            "owing": [list(name) for name in self._owing],
            "carriers": [[*stream, key] for stream, key in self._carriers.items()],
            "newest": [[*name, *each] for name, each in self._newest.items()],
            **self.accounts.export(),
        }

    def _import(self, state: Any) -> None:
        super()._import(state)
        self._numbers.restore(state["numbers"])
        self._owing = dict.fromkeys((symbol, name) for symbol, name in state["owing"])
        self._carriers = {(symbol, name): key for symbol, name, key in state["carriers"]}
        self._newest = {(channel, name): (key, number) for channel, name, key, number in state["newest"]}
        self.accounts.restore(state)


def _id_of(envelope: wire.Envelope) -> str:
    """The id as it was subscribed; the channels of the whole venue are answered with their own name or with none."""
    return "" if envelope.channel in (wire.CHANNEL_MARKETS, wire.CHANNEL_BLOCKS) else envelope.id


def _describe(lost: Lost) -> str:
    return f"{lost.count} of the connection's frames never came, the first of them message_id {lost.first}"
