"""
Binance's market data protocol, without the socket: spot, USD-M and COIN-M futures.

What is peculiar about this venue, and where it is handled:

- The book comes as diffs that have to be joined to a REST snapshot (`depth.py`, `books.py`). A gap makes the book
  stale until the next snapshot is joined.
- A frame is recognized by the name of its stream only (`wire.py`), so connections use the combined form.
- An unknown stream, or one on the wrong route, is acknowledged and silent; each channel knows its route (`products.py`).
- `bookTicker` is ahead of the diffs, which are collected for up to 100 ms: its update ids are theirs, but between two
  diffs it speaks of a book that the diffs have not reached. Taken into that book, the next diff would overwrite its
  newer size with an older one. So quotes are kept beside the book (`bbo`), never fused with it.
- `trade` and `aggTrade` tell the same trades twice. Whichever tells of a trade first counts; the other is marked a
  duplicate, which the ids in the second (`f` to `l`) decide exactly.
- Liquidation orders are sampled, and their executions are among the trades: they are `Liquidation`, never `Trade`.
- Every socket is cut after 24 hours and made again like any lost one: a gap, marked. `serverShutdown` closes it before.
- An import has no REST: a snapshot is taken from the file (`lastUpdateId` without a stream, or `@depthSnapshot`).

User data streams need an API key and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import quote

import msgspec

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.errors import ParseError, SymbolError, VenueRefused
from toolkit.frames import REST_OUT, Frame
from toolkit.messages import NO_ANSWER, BookSnapshot, EventKind, FundingInfo, Message, StreamEvent
from toolkit.protocol import (
    CloseConnection,
    ConnectionPlan,
    ProtocolOptions,
    Request,
    RestCall,
    VenueProtocol,
    excerpt,
    request_id_of,
)
from toolkit.streams import Stream
from toolkit.venues.binance import convert, wire
from toolkit.venues.binance.books import Books
from toolkit.venues.binance.feeds import Feed, Feeds
from toolkit.venues.binance.polls import (
    OPEN_INTEREST,
    OPEN_INTEREST_S_MAX,
    PAGE,
    POLLS,
    Answers,
    Polls,
    SettledRates,
)
from toolkit.venues.binance.products import COINM, HEARTBEAT, SPOT, USDM, Channel, Product, parse_channels
from toolkit.venues.binance.subscriptions import Subscriptions
from toolkit.venues.binance.symbols import SymbolTable, parse_exchange_info

if TYPE_CHECKING:
    from toolkit.books.tracker import OrderBookTracker
    from toolkit.columnar import ColumnarTaker, Tops

__all__ = ["BinanceCoinMProtocol", "BinanceMarketProtocol", "BinanceSpotProtocol", "BinanceUsdMProtocol"]

#: The venue allows 1024 streams on a connection; fewer lose less when one is cut.
STREAMS_PER_CONNECTION: Final = 200
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
        self._has_funding_terms = False
        self._described: set[str] = set()
        self._missing: set[str] = set()
        self._odd: set[str] = set()
        self._polls = Polls()
        self._settled = SettledRates()
        self._answers = Answers()

    # -- frames by the batch -----------------------------------------------------------------------------------

    kernel_set: ClassVar[str] = "ready"

    def columnar(self, books: OrderBookTracker, tops: Tops) -> ColumnarTaker | None:
        from toolkit.venues.binance.columnar import BinanceTaker  # loads the compiler

        return BinanceTaker(self, books, tops)

    @property
    def known_feeds(self) -> dict[bytes, Feed]:
        """Streams that have been understood at least once, by wire name; the same object as long as this lives."""
        return self._by_name

    @property
    def depth_books(self) -> Books:
        """The chains of diffs, and what is known of their books."""
        return self._books

    # -- metadata ----------------------------------------------------------------------------------------------

    def bootstrap(self) -> list[Request]:
        calls = self._terms_calls()
        self._awaited = {call.tag for call in calls}
        return list(calls)

    def _terms_calls(self) -> list[RestCall]:
        calls = [self._get("exchangeInfo", "exchangeInfo", weight=20 if self.product.is_spot else 1)]
        if not self.product.is_spot:
            calls.append(self._get("fundingInfo", "fundingInfo"))
        return calls

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
            messages: list[Message] = [self.event(frame, EventKind.REQUEST_FAILED, detail=f"{tag}: HTTP {status}")]
            self._went_unanswered(frame, tag, messages)
            return messages
        if what == "fundingInfo":
            self._awaited.discard(what)  # it says less of fewer instruments; nothing waits for it to be right
        if not frame.payload.isascii():
            frame.payload.decode()
        request_id = request_id_of(context)
        if self._answers.is_past(tag, request_id):
            return []  # older than what is known
        try:
            match what:
                case "exchangeInfo":
                    return self._on_exchange_info(frame, request_id)
                case "fundingInfo":
                    return self._on_funding_info(frame, request_id)
                case "depth":
                    return self._take_depth(frame, symbol, request_id)
                case "snapshot":
                    return [self._rest_book(frame, symbol)]
                case "premiumIndex":
                    pair, interval_s = self.symbols.pair(symbol), self._funding_interval_s(symbol)
                    return [convert.premium_index(frame, self.venue, symbol, pair, interval_s)]
                case "openInterest":
                    return self._on_open_interest(frame, symbol, request_id)
                case "fundingRate":
                    return self._on_settled_rates(frame, symbol, request_id)
                case _:
                    return []
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ParseError(f"{what} of another shape than documented: {exc}") from None

    def _on_exchange_info(self, frame: Frame, request_id: int | None) -> list[Message]:
        rows, odd = parse_exchange_info(frame.payload, is_spot=self.product.is_spot)
        before = {row.symbol: row for row in self.symbols.listed()}
        if before and not rows:
            raise ParseError("exchangeInfo without an instrument, where there were some before")
        given = {stream.symbol: stream.trading_pair for stream in self.streams if stream.symbol}
        self.symbols.update(rows, given)
        self._by_name.clear()  # they know pairs
        self._awaited.discard("exchangeInfo")
        self._polls.terms_came()
        messages = self._answered(frame, "exchangeInfo", request_id)
        news = [name for name in odd if name not in self._odd]
        if news:
            self._odd.update(news)
            text = f"{len(odd)} entries that are no instruments are passed over: {', '.join(news[:10])}"
            messages.append(self.event(frame, EventKind.PARSE_ERROR, sub_seq=len(messages), cause="item", detail=text))
        if self._is_live:
            self._choose(frame, messages)
            self._look_for_missing(frame, {row.symbol for row in rows}, messages)
        # What is imported without a list of pairs has all of them described.
        for name in self._wanted if self._is_live else [row.symbol for row in rows]:
            row = self.symbols.get(name)
            if row is not None and (name not in self._described or row != before.get(name)):
                self._described.add(name)
                messages.append(convert.instrument(self.venue, row, frame, len(messages)))
        return messages

    def _choose(self, frame: Frame, messages: list[Message]) -> None:
        """Which instruments are recorded: what is asked for and trades. Once chosen, one stays, whatever becomes of it."""
        more: dict[str, None] = {}
        for name in self.options.pairs:
            try:
                symbol = self.symbols.symbol(name)
            except SymbolError as exc:
                if not self._wanted:
                    self.failure = exc
                    return
                continue
            row = self.symbols.get(symbol)
            if symbol in self._wanted:
                continue
            if row is not None and not row.is_trading:
                if symbol not in self._missing:
                    self._missing.add(symbol)
                    text = (
                        f"{name} is not trading ({row.status.lower()}): it would stay silent, so it is not subscribed"
                    )
                    messages.append(self.event(frame, EventKind.REFUSED, sub_seq=len(messages), detail=text))
                continue
            more[symbol] = None
            self._missing.discard(symbol)
        self._wanted += more
        if not self._wanted:
            self.failure = VenueRefused(f"nothing to record: {', '.join(self.options.pairs)} not trading")
        for conn_id, role in self._roles.items():
            if self._subscriptions.is_connected(conn_id):
                self._add_streams(frame, conn_id, [one for one in self._plan().get(role, []) if one[0] in more])

    def _look_for_missing(self, frame: Frame, listed: set[str], messages: list[Message]) -> None:
        """Instruments that are recorded and no longer listed: once each, until they are back."""
        for symbol in self._wanted:
            row = self.symbols.get(symbol)
            if symbol in listed or row is None:
                self._missing.discard(symbol)
                continue
            self.symbols.update([msgspec.structs.replace(row, is_trading=False, status="")])
            if symbol not in self._missing:
                self._missing.add(symbol)
                text = f"{row.pair} ({symbol}) is no longer among the instruments of the venue"
                messages.append(
                    self.event(frame, EventKind.NOTICE, sub_seq=len(messages), cause="unlisted", detail=text)
                )

    def _on_funding_info(self, frame: Frame, request_id: int | None) -> list[Message]:
        hours = {}
        odd = 0
        for entry in _decode_list(frame.payload):
            try:
                row = _decode_funding_terms(entry)
            except msgspec.DecodeError:
                odd += 1
                continue
            hours[row.symbol] = row.fundingIntervalHours
        self._funding_hours = hours
        self._has_funding_terms = True
        messages = self._answered(frame, "fundingInfo", request_id)
        if odd and "fundingInfo" not in self._odd:
            self._odd.add("fundingInfo")
            text = f"{odd} entries of fundingInfo that name no period are passed over"
            messages.append(self.event(frame, EventKind.PARSE_ERROR, sub_seq=len(messages), cause="item", detail=text))
        return messages

    def _funding_interval_s(self, symbol: str) -> int | None:
        # Without the venue's word (an import, a request that was refused) the usual period would be a guess.
        if symbol in self._funding_hours:
            return self._funding_hours[symbol] * 3600
        return FUNDING_HOURS * 3600 if self._has_funding_terms else None

    # -- polls -------------------------------------------------------------------------------------------------

    def _poll_stream(self, symbol: str, name: str) -> Stream:
        """What is asked for is a stream like any other: it can be stale, and a gap ends when it is answered again."""
        stream = self.streams.get(symbol, name)
        if stream is None:
            pair = self.symbols.pair(symbol) if symbol else ""
            limit_s = OPEN_INTEREST_S_MAX if name == OPEN_INTEREST else 0.0
            stream = self.streams.add(Stream(symbol, pair, name, -1, limit_ns=round(limit_s * NS_PER_S)))
        return stream

    def _answered(self, frame: Frame, tag: str, request_id: int | None) -> list[Message]:
        """The beginning of an answer's messages: the gap that it ends, if it does."""
        messages: list[Message] = []
        is_of_now = self._answers.took(tag, request_id)
        what, _, symbol = tag.partition(":")
        if self._is_live:
            self._poll_stream(symbol, POLLS[what])
            if is_of_now:
                self.received(frame, symbol, POLLS[what], messages)
        return messages

    def _went_unanswered(self, frame: Frame, tag: str, messages: list[Message]) -> None:
        """A poll got no answer: what it asks for is stale, from the last answer on."""
        what, _, symbol = tag.partition(":")
        self._awaited -= {"fundingInfo"} & {what}
        name = POLLS.get(what)
        self._answers.failed(tag)
        if name is None or not self._is_live or self.symbols.is_empty:
            return
        stream = self._poll_stream(symbol, name)
        self.mark_stale(frame, stream, NO_ANSWER, messages)
        if what != "fundingInfo":  # where that is refused, nothing is missing that was there
            self.mark_missing(frame, stream, NO_ANSWER, messages)

    def _on_open_interest(self, frame: Frame, symbol: str, request_id: int | None) -> list[Message]:
        data = _decode_open_interest(frame.payload)
        if symbol and data.symbol != symbol:
            raise ParseError(f"the open interest of {data.symbol}, where that of {symbol} was asked for")
        info = convert.open_interest(data, self.venue, self.symbols.pair(data.symbol), frame)
        messages = self._answered(frame, f"openInterest:{data.symbol}", request_id)
        messages.append(msgspec.structs.replace(info, sub_seq=len(messages)))
        return messages

    def misread(self, frame: Frame, entry: bytes, exc: Exception) -> StreamEvent:
        """The event of one entry of a frame that cannot be understood; the others are taken."""
        self.parse_error_count += 1
        return self.event(frame, EventKind.PARSE_ERROR, cause="item", detail=f"{exc} in {excerpt(entry)}")

    def next_funding(self, frame: Frame, symbol: str, time_ns: int) -> None:
        """`markPrice` says when the next rate is charged."""
        if self._is_live and symbol in self._wanted:
            self._settled.is_due(symbol, time_ns // NS_PER_MS, frame.ts_mono, frame.capture_seq)

    def _on_settled_rates(self, frame: Frame, symbol: str, request_id: int | None) -> list[Message]:
        pair, interval_s = self.symbols.pair(symbol), self._funding_interval_s(symbol)
        entries = _decode_list(frame.payload)
        rates: dict[int, FundingInfo] = {}
        odd = 0
        for entry in entries:
            try:
                row = _decode_settled_rate(entry)
                if row.symbol == symbol and self._settled.is_new(symbol, row.fundingTime):
                    rates[row.fundingTime] = convert.settled_rate(row, interval_s, self.venue, pair, frame, 0)
            except (msgspec.DecodeError, ParseError):
                odd += 1
        # What has become owed since that was asked for is not known by it: a gap goes on.
        is_behind = self._settled.is_behind(symbol, request_id)
        messages = [] if is_behind else self._answered(frame, f"fundingRate:{symbol}", request_id)
        if odd:
            text = f"{odd} entries of fundingRate:{symbol} that are no rates are passed over"
            messages.append(self.event(frame, EventKind.PARSE_ERROR, sub_seq=len(messages), cause="item", detail=text))
        is_all = len(entries) < PAGE
        self._settled.told(symbol, max(rates, default=0), frame.ts_mono, request_id, is_all=is_all)
        messages += [rates[time] for time in sorted(rates)]
        return [msgspec.structs.replace(message, sub_seq=index) for index, message in enumerate(messages)]

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
        self._subscriptions.connected(frame.conn_id)
        self._add_streams(frame, frame.conn_id, self._plan().get(role, []))

    def _add_streams(self, frame: Frame, conn_id: int, streams: list[tuple[str, Channel]]) -> None:
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
            stream.conn_id = conn_id
        self._books.connected(symbol for symbol, channel in streams if channel.stream == "full")
        names = [f"{symbol.lower()}@{channel.suffix}" for symbol, channel in streams]
        self._queue += self._subscriptions.ask(conn_id, names)

    def _resubscribe(self, frame: Frame, role: str) -> None:
        # The venue takes a stream that it has already as done, and one that it has lost begins.
        names = [f"{symbol.lower()}@{channel.suffix}" for symbol, channel in self._plan().get(role, [])]
        self._subscriptions.connected(frame.conn_id)
        self._queue += self._subscriptions.ask(frame.conn_id, names)

    def _on_sent(self, frame: Frame) -> None:
        if frame.kind != REST_OUT:
            self._subscriptions.sent(frame)
            return
        context = _decode_dict(frame.context or "{}")
        tag = str(context.get("tag", ""))
        if tag.startswith("depth:"):
            self._books.asked(frame, tag.removeprefix("depth:"), request_id_of(context))
        elif tag.partition(":")[0] in POLLS:
            self._answers.sent(tag, request_id_of(context))

    def _on_disconnected(self, frame: Frame, streams: list[Stream]) -> list[Message]:
        self._subscriptions.disconnected(frame.conn_id)
        self._books.lost(stream.symbol for stream in streams if stream.stream == "full")
        return []

    def _on_session_end(self) -> None:
        self._subscriptions = Subscriptions()
        self._books.lost_all()

    def _on_sleep(self, frame: Frame) -> None:
        self._polls.slept(frame.ts_mono)
        self._answers.slept()

    def _on_control(self, frame: Frame) -> list[Message]:
        messages = super()._on_control(frame)
        if any(isinstance(m, StreamEvent) and m.kind is EventKind.REQUEST_FAILED for m in messages):
            tag = str(_decode_dict(frame.payload).get("tag", ""))
            self._went_unanswered(frame, tag, messages)
            if tag.startswith("depth:"):
                self._books.failed(tag.removeprefix("depth:"), frame.ts_mono)
            elif tag == "exchangeInfo":
                self._polls.terms_failed(frame.ts_mono)
        return messages

    def due(self, mono_ns: int) -> list[Request]:
        requests: list[Request] = list(self._subscriptions.unanswered(mono_ns))
        requests += [self._depth_call(symbol) for symbol in self._books.due(mono_ns)]
        if not self._is_live:
            return requests
        if self._polls.are_terms_due(mono_ns):
            requests += self._terms_calls()
        if any(not channel.suffix for channel in self.channels) and self._polls.is_open_interest_due(mono_ns):
            requests += [
                self._get("openInterest", f"openInterest:{symbol}", f"symbol={quote(symbol)}")
                for symbol in self._wanted
            ]
        for symbol in self._settled.due(self._wanted, mono_ns):
            query = f"symbol={quote(symbol)}&startTime={self._settled.since(symbol)}&limit={PAGE}"
            requests.append(self._get("fundingRate", f"fundingRate:{symbol}", query))
        return requests

    def _ask_depth(self, symbol: str) -> None:
        self._queue.append(self._depth_call(symbol))

    def _depth_call(self, symbol: str, tag: str = "depth") -> RestCall:
        product = self.product
        query = f"symbol={quote(symbol)}&limit={product.snapshot_levels}"
        return self._get("depth", f"{tag}:{symbol}", query, product.snapshot_weight)

    def snapshot_request(self, symbol: str) -> RestCall | None:
        # Not the request that diffs are joined to: an answer that is not awaited must not replace a book that is good.
        return self._depth_call(symbol, "snapshot")

    def funding_request(self, symbol: str) -> RestCall | None:
        if self.product.is_spot:
            return None
        return self._get("premiumIndex", f"premiumIndex:{symbol}", f"symbol={quote(symbol)}")

    # -- WebSocket frames --------------------------------------------------------------------------------------

    def _on_text(self, frame: Frame) -> list[Message]:
        payload = frame.payload
        if not payload.isascii():
            payload.decode()  # a field that is not read may be no text either: such a frame is damaged
        if payload.startswith(_COMBINED):
            feed = self._by_name.get(payload[11 : payload.find(b'"', 11)])
            if feed is not None:
                return feed.take(frame, feed, feed.decode(payload).data)
        return self._on_other(frame)

    def _on_other(self, frame: Frame) -> list[Message]:
        """Frames of a stream not seen before, and those that are no stream's."""
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

    def _take_depth(self, frame: Frame, symbol: str, request_id: int | None) -> list[Message]:
        data = _decode_snapshot(frame.payload)
        if data.symbol and data.symbol != symbol:
            raise ParseError(f"a book of {data.symbol}, where that of {symbol} was asked for")
        return self._books.take_snapshot(frame, symbol, convert.base_of(data), request_id)

    def _rest_book(self, frame: Frame, symbol: str) -> BookSnapshot:
        base = convert.base_of(_decode_snapshot(frame.payload))
        book = base.message(self.venue, symbol, self.symbols.pair(symbol), frame)
        return msgspec.structs.replace(book, form="rest", fused=False, depth_cap=self.product.snapshot_levels)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {
            "symbols": self.symbols.export(),
            "wanted": self._wanted,
            "awaited": sorted(self._awaited),
            "funding_hours": self._funding_hours if self._has_funding_terms else None,
            "described": sorted(self._described),
            "missing": sorted(self._missing),
            "odd": sorted(self._odd),
            "settled": self._settled.export(),
            "answers": self._answers.export(),
            "feeds": self._feeds.export(),
            "subscriptions": self._subscriptions.export(),
            "books": self._books.export(),
        }

    def _import(self, state: Any) -> None:
        self.symbols.restore(state["symbols"])
        self._wanted = list(state["wanted"])
        self._awaited = set(state["awaited"])
        self._has_funding_terms = state["funding_hours"] is not None
        self._funding_hours = dict(state["funding_hours"] or {})
        self._described, self._missing = set(state["described"]), set(state["missing"])
        self._odd = set(state["odd"])
        self._settled.restore(state["settled"])
        if "answers" in state:
            self._answers.restore(state["answers"])
        self._feeds.restore(state["feeds"])
        self._subscriptions.restore(state["subscriptions"])
        self._books.restore(state["books"])


class BinanceSpotProtocol(BinanceMarketProtocol):
    """Market data of spot."""

    venue: ClassVar[str] = SPOT.venue
    version: ClassVar[int] = 2
    product: ClassVar[Product] = SPOT


class BinanceUsdMProtocol(BinanceMarketProtocol):
    """Market data of USD-M futures."""

    venue: ClassVar[str] = USDM.venue
    version: ClassVar[int] = 2
    product: ClassVar[Product] = USDM


class BinanceCoinMProtocol(BinanceMarketProtocol):
    """Market data of COIN-M futures."""

    venue: ClassVar[str] = COINM.venue
    version: ClassVar[int] = 2
    product: ClassVar[Product] = COINM


_decode_dict = msgspec.json.Decoder(dict[str, Any]).decode
_decode_bare = wire.decode_as(wire.Bare)
_decode_snapshot = wire.decode_as(wire.Snapshot)
_decode_open_interest = wire.decode_as(wire.OpenInterest)
_decode_list = wire.decode_as(list[msgspec.Raw])
_decode_funding_terms = wire.decode_as(wire.FundingTerms)
_decode_settled_rate = wire.decode_as(wire.SettledRate)
