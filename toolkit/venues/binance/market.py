"""
Binance's market data protocol, without the socket: spot, USD-M and COIN-M futures.

What is peculiar about this venue, and where it is handled:

- The book comes as diffs that have to be joined to a REST snapshot (`depth.py`, `books.py`). A gap makes the book
  stale until the next snapshot is joined.
- A frame is told by the name of its stream only (`wire.py`), so connections use the combined form.
- An unknown stream, or one on the wrong route, is acknowledged and stays silent: streams are watched for their first
  data, and each channel knows its route (`products.py`).
- `bookTicker` is ahead of the diffs, which are collected for up to 100 ms: its update ids are theirs, but between two
  diffs it speaks of a book that the diffs have not reached. Taken into that book, the next diff would overwrite its
  newer size with an older one. So quotes are kept beside the book (`bbo`), never fused with it.
- `trade` and `aggTrade` tell the same trades twice. Whichever tells of a trade first counts; the other is marked a
  duplicate, which the ids in the second (`f` to `l`) decide exactly.
- Liquidation orders are sampled, and their executions are among the trades: they are `Liquidation`, never `Trade`.
- Every socket is cut after 24 hours. The connection is made again like any lost one: a gap of a second or two, marked,
  and no overlap of two sockets. `serverShutdown` closes a socket before the venue does.
- An import has no REST: a snapshot is taken from the file (`lastUpdateId` without a stream, or `@depthSnapshot`).

User data streams need an API key and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ParseError, SymbolError, VenueRefused
from toolkit.frames import REST_OUT, Frame
from toolkit.messages import BookSnapshot, EventKind, Message, StreamEvent
from toolkit.protocol import CloseConnection, ConnectionPlan, ProtocolOptions, Request, RestCall, VenueProtocol
from toolkit.streams import Stream
from toolkit.venues.binance import convert, wire
from toolkit.venues.binance.books import Books
from toolkit.venues.binance.depth import DepthJoin
from toolkit.venues.binance.feeds import Feed, Feeds
from toolkit.venues.binance.products import COINM, HEARTBEAT, SPOT, USDM, Channel, Product, parse_channels
from toolkit.venues.binance.subscriptions import Subscriptions
from toolkit.venues.binance.symbols import SymbolTable, parse_exchange_info

if TYPE_CHECKING:
    from toolkit.columnar import ColumnarTaker, Tops
    from toolkit.tracker import OrderBookTracker

__all__ = ["BinanceCoinMProtocol", "BinanceMarketProtocol", "BinanceSpotProtocol", "BinanceUsdMProtocol"]

#: The venue allows 1024 streams on a connection; fewer lose less when one is cut.
STREAMS_PER_CONNECTION: Final = 200
OPEN_INTEREST_S: Final = 60.0
#: Funding is charged every 8 hours, unless `fundingInfo` names another period.
FUNDING_HOURS: Final = 8
_COMBINED: Final = b'{"stream":"'


class BinanceMarketProtocol(VenueProtocol):
    """What the three markets share; `product` says where they differ."""

    product: ClassVar[Product]

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(options)
        self.symbols = SymbolTable()
        self.channels = parse_channels(self.product, options.channels or self.product.default_channels)
        self._is_live = bool(options.pairs)
        self._books = Books(
            self, self.venue, is_spot=self.product.is_spot, ask=self._ask_depth if self._is_live else None
        )
        self._subscriptions = Subscriptions()
        self._feeds = Feeds(self, self._books, self.product, self.venue, self._funding_interval_s)
        self._by_name = self._feeds.by_name
        self._wanted: list[str] = []
        self._awaited: set[str] = set()
        self._funding_hours: dict[str, int] = {}
        self._open_interest_mono = 0

    # -- frames by the batch -----------------------------------------------------------------------------------

    def columnar(self, books: OrderBookTracker, tops: Tops) -> ColumnarTaker | None:
        from toolkit.venues.binance.columnar import BinanceTaker  # loads the compiler

        return BinanceTaker(self, books, tops)

    @property
    def known_feeds(self) -> dict[bytes, Feed]:
        """Streams that have been understood at least once, by wire name; the same object as long as this lives."""
        return self._by_name

    def depth_join(self, symbol: str) -> DepthJoin | None:
        """The chain of a symbol's diffs; None before the first."""
        return self._books.joins.get(symbol)

    def cover(self, symbol: str) -> tuple[float, float] | None:
        """The prices that the snapshot of a symbol covered, in a live session: lowest bid and highest ask."""
        return self._books.covered.get(symbol)

    # -- metadata ----------------------------------------------------------------------------------------------

    def bootstrap(self) -> list[Request]:
        calls = [self._get("exchangeInfo", "exchangeInfo", weight=20 if self.product.is_spot else 1)]
        if not self.product.is_spot:
            calls.append(self._get("fundingInfo", "fundingInfo"))
        self._awaited = {call.tag for call in calls}
        return list(calls)

    @property
    def is_ready(self) -> bool:
        return not self._awaited and not self.symbols.is_empty and self.failure is None

    def trading_pair(self, symbol: str) -> str:
        return self.symbols.pair(symbol)

    def symbol(self, trading_pair: str) -> str:
        return self.symbols.symbol(trading_pair)

    def _get(self, what: str, tag: str, query: str = "", weight: int = 1) -> RestCall:
        path = f"{self.product.rest_prefix}/{what}"
        return RestCall(tag, "GET", f"{path}?{query}" if query else path, b"", weight)

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        tag = str(context.get("tag", ""))
        what, _, symbol = tag.partition(":")
        status = context.get("status", 200)
        if status != 200:
            return [self.event(frame, EventKind.REQUEST_FAILED, detail=f"{tag}: HTTP {status}")]
        try:
            match what:
                case "exchangeInfo":
                    return self._on_exchange_info(frame)
                case "fundingInfo":
                    return self._on_funding_info(frame)
                case "depth":
                    return self._books.take_snapshot(frame, symbol, convert.base_of(_decode_snapshot(frame.payload)))
                case "snapshot":
                    return [self._rest_book(frame, symbol)]
                case "premiumIndex":
                    return [self._premium_index(frame, symbol)]
                case "openInterest":
                    data = _decode_open_interest(frame.payload)
                    pair = self.symbols.pair(data.symbol)
                    return [convert.open_interest(data, self.venue, pair, frame)]
                case _:
                    return []
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ParseError(f"{what} of another shape than documented: {exc}") from None

    def _on_exchange_info(self, frame: Frame) -> list[Message]:
        rows = parse_exchange_info(frame.payload, is_spot=self.product.is_spot)
        self.symbols.update(rows)
        self._by_name.clear()  # they know pairs
        self._awaited.discard("exchangeInfo")
        messages: list[Message] = []
        if self._is_live:
            self._choose(frame, messages)
        # What is imported without a list of pairs has all of them described.
        names = self._wanted if self._is_live else [row.symbol for row in rows]
        for name in names:
            row = self.symbols.get(name)
            if row is not None:
                messages.append(convert.instrument(self.venue, row, frame, len(messages)))
        return messages

    def _choose(self, frame: Frame, messages: list[Message]) -> None:
        wanted: dict[str, None] = {}
        for name in self.options.pairs:
            try:
                symbol = self.symbols.symbol(name)
            except SymbolError as exc:
                self.failure = exc
                return
            row = self.symbols.get(symbol)
            if row is not None and not row.is_trading:
                text = f"{name} is not trading ({row.status.lower()}): it would stay silent, so it is not subscribed"
                messages.append(self.event(frame, EventKind.REFUSED, sub_seq=len(messages), detail=text))
                continue
            wanted[symbol] = None
        self._wanted = list(wanted)
        if not wanted:
            self.failure = VenueRefused(f"nothing to record: {', '.join(self.options.pairs)} not trading")

    def _on_funding_info(self, frame: Frame) -> list[Message]:
        terms = _decode_funding_terms(frame.payload)
        self._funding_hours = {row.symbol: row.fundingIntervalHours for row in terms}
        self._awaited.discard("fundingInfo")
        return []

    def _funding_interval_s(self, symbol: str) -> int | None:
        # Without the venue's word (an import) the usual period would be a guess.
        if symbol in self._funding_hours:
            return self._funding_hours[symbol] * 3600
        return FUNDING_HOURS * 3600 if self._is_live else None

    # -- connections -------------------------------------------------------------------------------------------

    def _plan(self) -> dict[str, list[tuple[str, Channel]]]:
        """Symbols and channels of every connection, by role."""
        plan: dict[str, list[tuple[str, Channel]]] = {}
        for route in self.product.paths:
            channels = [channel for channel in self.channels if channel.route == route and channel.suffix]
            streams = [(symbol, channel) for symbol in self._wanted for channel in channels]
            for start in range(0, len(streams), STREAMS_PER_CONNECTION):
                number = start // STREAMS_PER_CONNECTION
                plan[f"{route}-{number + 1}" if number else route] = streams[start : start + STREAMS_PER_CONNECTION]
        return plan

    def connections(self) -> list[ConnectionPlan]:
        paths = self.product.paths
        return [
            ConnectionPlan(role=role, heartbeat=HEARTBEAT, path=paths[role.partition("-")[0]]) for role in self._plan()
        ]

    def _subscribe(self, frame: Frame, role: str) -> None:
        streams = self._plan().get(role, [])
        for symbol, channel in streams:
            stream = self.streams.add(
                Stream(
                    symbol,
                    self.symbols.pair(symbol),
                    channel.stream,
                    limit_ns=round(channel.silence_s_max * NS_PER_S),
                    first_limit_ns=round(channel.first_s_max * NS_PER_S),
                )
            )
            self.streams.resubscribed(stream, frame)
        self._books.connected(symbol for symbol, channel in streams if channel.stream == "full")
        names = [f"{symbol.lower()}@{channel.suffix}" for symbol, channel in streams]
        self._queue += self._subscriptions.connected(frame.conn_id, names)

    def _resubscribe(self, frame: Frame, role: str) -> None:
        # The venue takes a stream that it has already as done, and one that it has lost begins.
        names = [f"{symbol.lower()}@{channel.suffix}" for symbol, channel in self._plan().get(role, [])]
        self._queue += self._subscriptions.connected(frame.conn_id, names)

    def _on_sent(self, frame: Frame) -> None:
        if frame.kind != REST_OUT:
            self._subscriptions.sent(frame)
            return
        tag = str(_decode_dict(frame.context or "{}").get("tag", ""))
        if tag.startswith("depth:"):
            self._books.asked(tag.removeprefix("depth:"), frame.ts_mono)

    def _on_disconnected(self, frame: Frame, streams: list[Stream]) -> list[Message]:
        self._subscriptions.disconnected(frame.conn_id)
        self._books.lost(stream.symbol for stream in streams if stream.stream == "full")
        return []

    def _on_session_end(self) -> None:
        self._subscriptions = Subscriptions()
        self._books.lost_all()

    def _on_control(self, frame: Frame) -> list[Message]:
        messages = super()._on_control(frame)
        if any(isinstance(m, StreamEvent) and m.kind is EventKind.REQUEST_FAILED for m in messages):
            tag = str(_decode_dict(frame.payload).get("tag", ""))
            if tag.startswith("depth:"):
                self._books.failed(tag.removeprefix("depth:"), frame.ts_mono)
        return messages

    def due(self, mono_ns: int) -> list[Request]:
        requests: list[Request] = list(self._subscriptions.unanswered(mono_ns))
        requests += [self._depth_call(symbol) for symbol in self._books.due(mono_ns)]
        if any(not channel.suffix for channel in self.channels) and mono_ns >= self._open_interest_mono:
            self._open_interest_mono = mono_ns + round(OPEN_INTEREST_S * NS_PER_S)
            requests += [
                self._get("openInterest", f"openInterest:{symbol}", f"symbol={quote(symbol)}")
                for symbol in self._wanted
            ]
        return requests

    def _ask_depth(self, symbol: str) -> None:
        self._queue.append(self._depth_call(symbol))

    def _depth_call(self, symbol: str, tag: str = "depth") -> RestCall:
        product = self.product
        query = f"symbol={quote(symbol)}&limit={product.snapshot_levels}"
        return self._get("depth", f"{tag}:{symbol}", query, product.snapshot_weight)

    def snapshot_request(self, symbol: str) -> RestCall | None:
        # Not the request that diffs are joined to: an answer nobody waits for must not replace a book that is good.
        return self._depth_call(symbol, "snapshot")

    def funding_request(self, symbol: str) -> RestCall | None:
        if self.product.is_spot:
            return None
        return self._get("premiumIndex", f"premiumIndex:{symbol}", f"symbol={quote(symbol)}")

    # -- WebSocket frames --------------------------------------------------------------------------------------

    def _on_text(self, frame: Frame) -> list[Message]:
        payload = frame.payload
        if payload.startswith(_COMBINED):
            feed = self._by_name.get(payload[11 : payload.find(b'"', 11)])
            if feed is not None:
                return feed.take(frame, feed, feed.decode(payload).data)
        return self._on_other(frame)

    def _on_other(self, frame: Frame) -> list[Message]:
        """Frames of a stream not heard of before, and those that are no stream's."""
        bare = _decode_bare(frame.payload)
        if bare.stream is not None:
            if bare.stream == "!serverShutdown":
                return self._on_shutdown(frame)
            return self._feeds.take(frame, bare.stream)
        if bare.lastUpdateId is not None:
            if self._is_live:
                raise ParseError("a snapshot without the name of a stream")
            return self._books.take_unnamed(frame, convert.base_of(_decode_snapshot(frame.payload)))
        if bare.error is not None or bare.code is not None:
            names = self._subscriptions.answered(frame.conn_id, bare.id)
            detail = f"{bare.error or f'code {bare.code}: {bare.msg}'}"
            kind = EventKind.REFUSED if names else EventKind.VENUE_ERROR
            return [self.event(frame, kind, detail=f"{detail} (asked for {', '.join(names)})" if names else detail)]
        if bare.result is not msgspec.UNSET:
            self._subscriptions.answered(frame.conn_id, bare.id)
            return []
        if bare.e == "serverShutdown":
            return self._on_shutdown(frame)
        return self._feeds.take_raw(frame, bare)

    def _on_shutdown(self, frame: Frame) -> list[Message]:
        self._queue.append(CloseConnection(frame.conn_id, "the venue is about to shut this server down"))
        return [self.event(frame, EventKind.NOTICE, cause="server_shutdown", detail="the venue announced a shutdown")]

    # -- REST responses ----------------------------------------------------------------------------------------

    def _rest_book(self, frame: Frame, symbol: str) -> BookSnapshot:
        base = convert.base_of(_decode_snapshot(frame.payload))
        book = base.message(self.venue, symbol, self.symbols.pair(symbol), frame)
        return msgspec.structs.replace(book, form="rest", fused=False, depth_cap=self.product.snapshot_levels)

    def _premium_index(self, frame: Frame, symbol: str) -> Message:
        answers = _decode_premium_index(frame.payload)
        for data in answers if isinstance(answers, list) else [answers]:
            if data.symbol == symbol:
                interval_s = self._funding_interval_s(symbol)
                pair = self.symbols.pair(symbol)
                return convert.funding_info(data, interval_s, self.venue, symbol, pair, frame, 0)
        raise ParseError(f"premiumIndex without {symbol}")

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {
            "symbols": self.symbols.export(),
            "wanted": self._wanted,
            "awaited": sorted(self._awaited),
            "funding_hours": self._funding_hours,
            "feeds": self._feeds.export(),
            "subscriptions": self._subscriptions.export(),
            "books": self._books.export(),
        }

    def _import(self, state: Any) -> None:
        self.symbols.restore(state["symbols"])
        self._wanted = list(state["wanted"])
        self._awaited = set(state["awaited"])
        self._funding_hours = dict(state["funding_hours"])
        self._feeds.restore(state["feeds"])
        self._subscriptions.restore(state["subscriptions"])
        self._books.restore(state["books"])


class BinanceSpotProtocol(BinanceMarketProtocol):
    """Market data of spot."""

    venue: ClassVar[str] = SPOT.venue
    version: ClassVar[int] = 1
    product: ClassVar[Product] = SPOT


class BinanceUsdMProtocol(BinanceMarketProtocol):
    """Market data of USD-M futures."""

    venue: ClassVar[str] = USDM.venue
    version: ClassVar[int] = 1
    product: ClassVar[Product] = USDM


class BinanceCoinMProtocol(BinanceMarketProtocol):
    """Market data of COIN-M futures."""

    venue: ClassVar[str] = COINM.venue
    version: ClassVar[int] = 1
    product: ClassVar[Product] = COINM


_decode_dict = msgspec.json.Decoder(dict[str, Any]).decode
_decode_bare = wire.decode_as(wire.Bare)
_decode_snapshot = wire.decode_as(wire.Snapshot)
_decode_open_interest = wire.decode_as(wire.OpenInterest)
_decode_premium_index = wire.decode_as(list[wire.PremiumIndex] | wire.PremiumIndex)
_decode_funding_terms = wire.decode_as(list[wire.FundingTerms])
