"""
Hyperliquid's market data protocol, without the socket.

What is peculiar about this venue, and where it is handled:

- Books are always whole snapshots without a sequence number; a lost frame costs freshness only. The default form
  (`full`, 20 levels) comes every 5 s, `fast` (5 levels) every half second, `bbo` on every block that changed it.
- Two forms of a coin's book on one socket cannot be distinguished, except `fast`. Each form has a socket of its own.
- The first `trades` frame after each subscribe is history, with nothing to tell it by (`TradeTape`).
- The venue adds statuses, types and fields without a word. What is odd is reported once, and takes nothing with it
  (`lenient.py`).
- Terms change while a recording runs, and coins come and go (`Listing`); settled funding rates are asked for
  (`Settlements`).
- An unknown coin closes the whole socket without a word. Coins are checked against the metadata first, and a coin that
  still kills its socket is found and left out (`Subscriptions`).
- Outcome coins come in pairs whose books mirror each other: l2Book merges both, bbo shows only the orders placed on
  the coin itself (captured 2026-07-07: of 19 quotes with a book of the same `time`, 12 differ). So a quote of an
  outcome coin is not a quote of its book and is not fused with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import (
    SIDE_NOT_TOLD,
    BestQuote,
    BookSnapshot,
    EventKind,
    FundingInfo,
    FundingKind,
    InstrumentKind,
    Message,
    Trade,
)
from toolkit.protocol import ConnectionPlan, Heartbeat, ProtocolOptions, Request, RestCall, VenueProtocol
from toolkit.streams import Stream
from toolkit.venues.hyperliquid import wire
from toolkit.venues.hyperliquid.convert import (
    FULL_CAP,
    INF,
    SIDES,
    decode_funding_history,
    funding_info,
    info_call,
    json_or_none,
    level_columns,
)
from toolkit.venues.hyperliquid.lenient import Oddities
from toolkit.venues.hyperliquid.listing import METADATA, Listing
from toolkit.venues.hyperliquid.polls import Polls
from toolkit.venues.hyperliquid.rest import contexts, rest_book
from toolkit.venues.hyperliquid.settled_rates import SETTLED, Settlements
from toolkit.venues.hyperliquid.subscriptions import FAST_ROLE, Channel, Subscription, Subscriptions, parse_channel
from toolkit.venues.hyperliquid.symbols import dex_of, is_perpetual
from toolkit.venues.hyperliquid.trade_tape import TradeTape
from toolkit.venues.hyperliquid.venue_clock import VenueClock

if TYPE_CHECKING:
    from toolkit.books.tracker import OrderBookTracker
    from toolkit.columnar import ColumnarTaker, Tops

__all__ = ["CHANNELS", "DEFAULT_CHANNELS", "HyperliquidMarketProtocol"]

CHANNELS: Final = {
    "full": "l2Book: 20 levels a side, every 5 s",
    "fast": "l2Book, fast: 5 levels a side, every half second",
    "bbo": "best bid and offer, on every block that changes it",
    "trades": "trades",
    "funding": "activeAssetCtx: funding, mark and oracle price, open interest, every second",
    "agg:N": "l2Book with prices rounded to N significant figures (2 to 5); agg:5:2 and agg:5:5 round further",
}
DEFAULT_CHANNELS: Final = ("full", "fast", "bbo", "trades", "funding")

FAST_CAP: Final = 5
#: The venue closes a socket it has sent nothing to for 60 s; clients in the field ping every 20 to 50 s.
HEARTBEAT: Final = Heartbeat(ping_text=b'{"method":"ping"}', interval_s=20.0, idle_s_max=40.0)
#: Longest normal silence, seconds. bbo and trades of a quiet coin may be silent for minutes.
SILENCE_S_MAX: Final = {"full": 15.0, "fast": 5.0, "funding": 10.0}
#: What the first servers said on connecting; the official SDK still skips it.
GREETING: Final = b"Websocket connection established."
#: Cause of the event about a part of a frame that could not be read, while the rest was.
ITEM: Final = "item"


class HyperliquidMarketProtocol(VenueProtocol):
    """Market data of Hyperliquid: perps, spot, HIP-3 and outcome coins."""

    venue: ClassVar[str] = "hyperliquid"
    version: ClassVar[int] = 2

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(options)
        self.channels = tuple(parse_channel(name) for name in (options.channels or DEFAULT_CHANNELS))
        self.listing = Listing(self)
        self.coins = self.listing.table
        self.clock = VenueClock()
        self.polls = Polls(self)
        self._oddities = Oddities()
        self._subscriptions = Subscriptions()
        self._tape = TradeTape(self.clock)
        self._settlements = Settlements(self.clock)
        self._last_time: dict[tuple[str, str], int] = {}
        self._stamped = self.clock.stamped

    # -- frames by the batch -----------------------------------------------------------------------------------

    kernel_set: ClassVar[str] = "ready-hyperliquid"

    def columnar(self, books: OrderBookTracker, tops: Tops) -> ColumnarTaker | None:
        from toolkit.venues.hyperliquid.columnar import HyperliquidTaker  # loads the compiler

        return HyperliquidTaker(self, books, tops)

    @property
    def tape(self) -> TradeTape:
        """The trades that were reported."""
        return self._tape

    @property
    def last_times(self) -> dict[tuple[str, str], int]:
        """The venue's last time, ms, by coin and form of its book."""
        return self._last_time

    @staticmethod
    def has_fused_quotes(coin: str) -> bool:
        """Whether a coin's quotes are of its book."""
        return not coin.startswith("#")

    # -- metadata ----------------------------------------------------------------------------------------------

    def bootstrap(self) -> list[Request]:
        return [*self.listing.bootstrap(), *self.accounts.bootstrap()]

    @property
    def is_ready(self) -> bool:
        return self.listing.is_ready and self.accounts.is_ready and self.failure is None

    def report_odd(self, frame: Frame, odd: Sequence[str], messages: list[Message]) -> None:
        """Tell what of a frame could not be read, each kind of it once, after what could."""
        if not odd:
            return
        self.parse_error_count += 1
        for text in self._oddities.news(odd):
            sub_seq = messages[-1].sub_seq + messages[-1].row_count if messages else 0
            messages.append(self.event(frame, EventKind.PARSE_ERROR, sub_seq=sub_seq, cause=ITEM, detail=text))

    def trading_pair(self, symbol: str) -> str:
        return self.coins.pair(symbol)

    def symbol(self, trading_pair: str) -> str:
        return self.coins.coin(trading_pair)

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        tag = str(context.get("tag", ""))
        what, _, symbol = tag.partition(":")
        status = context.get("status", 200)
        if status != 200:
            return [self.event(frame, EventKind.REQUEST_FAILED, detail=f"{tag}: HTTP {status}")]
        match what:
            case _ if what in METADATA:
                return self.listing.on_reply(frame, tag)
            case "l2Book":
                return rest_book(self, frame, symbol)
            case "fundingHistory":
                return self._on_funding_history(frame, symbol)
            case "metaAndAssetCtxs" | "spotMetaAndAssetCtxs":
                return contexts(self, frame, symbol)
            case _:
                return []

    def _on_control(self, frame: Frame) -> list[Message]:
        messages = super()._on_control(frame)
        details = json_or_none(frame.payload.decode("utf-8", "replace"))
        if isinstance(details, dict) and details.get("event") == "request_failed":
            self._on_request_failed(frame, str(details.get("tag", "")), messages)
        return messages

    def _on_request_failed(self, frame: Frame, tag: str, messages: list[Message]) -> None:
        """All attempts of a request failed."""
        what, _, symbol = tag.partition(":")
        if self.accounts.on_failure(frame, tag, messages):
            return
        if what in METADATA:
            self.listing.on_failure(frame, tag, messages)
        elif what == "fundingHistory":
            self.polls.failed(frame, symbol, SETTLED, messages)

    # -- connections -------------------------------------------------------------------------------------------

    def connections(self) -> list[ConnectionPlan]:
        plans = [ConnectionPlan(role=role, heartbeat=HEARTBEAT) for role in self.market_roles()]
        return [*plans, *self.accounts.connections()]

    def market_roles(self) -> list[str]:
        """Roles of the connections of the market; accounts that are named without pairs want none of it."""
        if self.options.accounts and not self.options.pairs:
            return []
        return list(dict.fromkeys(channel.role for channel in self.channels))

    def _subscribe(self, frame: Frame, role: str) -> None:
        subscriptions = []
        for channel in self.channels:
            if channel.role != role:
                continue
            for coin in self.listing.active:
                subscription = self._subscription(frame, coin, channel)
                if subscription is not None:
                    subscriptions.append(subscription)
        self._queue += self._subscriptions.connected(frame.conn_id, subscriptions)
        self.clock.saw(frame)
        if any(channel.name == "funding" for channel in self.channels):
            # One that is not listed at present has its history all the same.
            perps = [coin for coin in self.listing.wanted if is_perpetual(coin)]
            self._queue += self._settlements.start(perps, frame.ts_mono)

    def _subscription(self, frame: Frame, coin: str, channel: Channel) -> Subscription | None:
        """A stream that is asked for from now on; None where the coin has none of that kind."""
        if channel.name == "funding" and coin.startswith("#"):
            return None  # outcomes have no asset context
        limit = SILENCE_S_MAX.get(channel.name, SILENCE_S_MAX["full"] if channel.is_book else 0.0)
        stream = self.streams.add(Stream(coin, self.coins.pair(coin), channel.name))
        stream.limit_ns = round(limit * NS_PER_S)
        self.streams.resubscribed(stream, frame)
        if channel.name == "trades":
            self._tape.subscribed(coin, frame)
        return Subscription(coin, channel)

    def subscribe_again(self, frame: Frame, coin: str) -> None:
        """A coin that had vanished is back: on the connections that do not carry it yet."""
        for conn_id, role in sorted(self._roles.items()):
            channels = [each for each in self.channels if each.role == role]
            channels = [each for each in channels if not self._subscriptions.has(conn_id, coin, each)]
            on_it = msgspec.structs.replace(frame, conn_id=conn_id)
            subscriptions = [self._subscription(on_it, coin, each) for each in channels]
            self._queue += self._subscriptions.added(conn_id, [each for each in subscriptions if each is not None])

    def _resubscribe(self, frame: Frame, role: str) -> None:
        # The venue refuses what it takes for subscribed, so that is ended first.
        self._queue += self._subscriptions.unsubscribes(frame.conn_id)
        self._subscribe(frame, role)

    def _on_sent(self, frame: Frame) -> None:
        words, was_left_out = self._subscriptions.sent(frame)
        coin = str(words.get("coin", ""))
        if words.get("type") == "trades":
            self._tape.subscribed(coin, frame)
        if was_left_out:
            for channel in self.channels:
                if {**channel.wire, "coin": coin} == words:
                    self._subscription(frame, coin, channel)

    def _on_disconnected(self, frame: Frame, streams: list[Stream]) -> list[Message]:
        messages: list[Message] = []
        for coin, wait_s in self._subscriptions.disconnected(frame):
            text = f"{coin}: its subscription closed the socket twice; left out for {wait_s // 60} minutes"
            messages.append(self.event(frame, EventKind.QUARANTINED, cause="silent close", detail=text))
            for stream in self.streams:
                if stream.symbol == coin and stream.conn_id == frame.conn_id:
                    stream.limit_ns = 0
        self._queue += self.listing.reconnecting(frame)
        return messages

    def _on_session_end(self) -> None:
        self._subscriptions.forget_connections()
        self._tape.forget_subscriptions()
        self._settlements.stop()
        self.clock.forget()

    def _on_sleep(self, frame: Frame) -> None:
        # What was stamped before it says nothing of a monotonic clock that stood still in it.
        self.clock.forget()
        self.clock.saw(frame)
        self.listing.slept()

    def due(self, mono_ns: int) -> list[Request]:
        return [
            *self._subscriptions.unanswered(mono_ns),
            *self._subscriptions.retries(mono_ns),
            *self._settlements.due(mono_ns),
            *self.listing.due(mono_ns),
            *self.accounts.due(mono_ns),
        ]

    def snapshot_request(self, symbol: str) -> RestCall | None:
        return info_call("l2Book", {"coin": symbol}, tag=f"l2Book:{symbol}", weight=2)

    def funding_request(self, symbol: str) -> RestCall | None:
        coin = self.coins.get(symbol)
        if coin is None or coin.kind is InstrumentKind.OUTCOME:
            return None
        if coin.kind is InstrumentKind.SPOT:
            return info_call("spotMetaAndAssetCtxs", tag=f"spotMetaAndAssetCtxs:{symbol}", weight=20)
        dex = dex_of(symbol)
        return info_call("metaAndAssetCtxs", {"dex": dex} if dex else {}, tag=f"metaAndAssetCtxs:{symbol}", weight=20)

    # -- WebSocket frames --------------------------------------------------------------------------------------

    def _on_text(self, frame: Frame) -> list[Message]:
        odd: list[str] = []
        message = wire.decode_frame(frame.payload, odd) if frame.payload != GREETING else "greeting"
        match message:
            case wire.Bbo(data=data):
                messages = self._on_bbo(frame, data, odd)
            case wire.L2Book(data=data):
                messages = self._on_book(frame, data)
            case wire.Trades(data=trades):
                messages = self._on_trades(frame, trades, odd)
            case wire.ActiveAssetCtx(data=data) | wire.ActiveSpotAssetCtx(data=data):
                messages = self._on_context(frame, data.coin, data.ctx)
            case wire.SubscriptionResponse(data=response):
                return self._on_response(frame, response)
            case wire.ErrorText(data=text):
                return self._on_error(frame, text)
            case str() as channel:
                return self.accounts.on_other_channel(frame, channel)
            case _:
                return []
        if odd:
            self.report_odd(frame, odd, messages)
        return messages

    def _on_response(self, frame: Frame, response: Mapping[str, Any]) -> list[Message]:
        words = response.get("subscription")
        if response.get("method") == "unsubscribe":
            return []
        if not self.role_of(frame.conn_id) and isinstance(words, dict) and words.get("type") == "trades":
            # In a capture that holds no frames of ours, the acknowledgement is what tells of a subscription.
            self._tape.subscribed(str(words.get("coin", "")), frame)
        self._queue += self._subscriptions.answered(frame.conn_id, words)
        return []

    def _on_book(self, frame: Frame, data: wire.L2BookData) -> list[Message]:
        form, fused, cap = self._form_of(frame, data)
        bids, asks = level_columns(data.levels[0], is_bid=True), level_columns(data.levels[1], is_bid=False)
        messages: list[Message] = []
        stream = self.received(frame, data.coin, form, messages)
        self._check_time(frame, stream, data.time, messages)
        messages.append(
            BookSnapshot(
                self.venue,
                stream.symbol,
                stream.trading_pair,
                data.time * NS_PER_MS,
                frame.ts_recv,
                frame.capture_seq,
                len(messages),
                form,
                fused,
                cap,
                *bids,
                *asks,
            )
        )
        self._implied_answer(stream)
        return messages

    def _form_of(self, frame: Frame, data: wire.L2BookData) -> tuple[str, bool, int]:
        role = self.role_of(frame.conn_id)
        # Only fast books are asked for on that connection, whatever the flag says.
        if data.fast or role == FAST_ROLE:
            return "fast", True, FAST_CAP
        if role.startswith("agg"):
            return role, False, FULL_CAP
        if data.spread is not None:
            # Only aggregated books carry a spread; without the subscription nothing says how coarse this one is.
            return "agg", False, FULL_CAP
        return "full", True, FULL_CAP

    def _on_bbo(self, frame: Frame, data: wire.BboData, odd: list[str]) -> list[Message]:
        values: tuple[float | int | None, ...] = ()
        if len(data.bbo) == 2:
            bid, ask = data.bbo
            if bid is not None and ask is not None:
                bid_px, bid_sz, ask_px, ask_sz = bid.px, bid.sz, ask.px, ask.sz
                # By far the most frequent frame: both sides, and both of them levels.
                if 0 < bid_px < INF and 0 < bid_sz < INF and 0 < ask_px < INF and 0 < ask_sz < INF:
                    values = bid_px, bid_sz, bid.n, ask_px, ask_sz, ask.n
        if not values:
            values = self._sides(data.bbo, odd)
        messages: list[Message] = []
        stream = self.received(frame, data.coin, "bbo", messages)
        self._check_time(frame, stream, data.time, messages)
        messages.append(
            BestQuote(
                self.venue,
                stream.symbol,
                stream.trading_pair,
                data.time * NS_PER_MS,
                frame.ts_recv,
                frame.capture_seq,
                len(messages),
                self.has_fused_quotes(data.coin),
                *values,  # type: ignore[arg-type]  # three of each side, in their order
            )
        )
        self._implied_answer(stream)
        return messages

    @staticmethod
    def _sides(levels: Sequence[wire.Level | None], odd: list[str]) -> tuple[float | int | None, ...]:
        """
        Both sides of a quote that lacks one, or has one that is no level.

        No order at a price is no best one, whatever else there may be on that side: the quote does not say.
        """
        sides: list[wire.Level | None] = [wire.UNREADABLE, wire.UNREADABLE]
        for place, level in enumerate(levels[:2]):
            if _is_side(level):
                sides[place] = level
            elif level is not None and level is not wire.UNREADABLE:
                odd.append(f"best quote {level.px} x {level.sz}: expected a positive price and a size above 0")
        if all(side is wire.UNREADABLE for side in sides):
            raise ParseError(
                odd.pop() if odd else "a best quote without a side: expected bid and ask, null where there is none"
            )
        return *_quoted(sides[0]), *_quoted(sides[1])

    def _on_trades(self, frame: Frame, trades: list[wire.WireTrade], odd: list[str]) -> list[Message]:
        for trade in trades:
            if trade.side not in SIDES or not (0 < trade.px < INF and 0 <= trade.sz < INF):
                break
        else:
            return self._trades(frame, trades)
        odd += [f"trade {each.side!r} {each.px} x {each.sz}: {_TRADE}" for each in trades if not _is_trade(each)]
        trades = [trade for trade in trades if _is_trade(trade)]
        if not trades:
            raise ParseError(odd.pop())
        return self._trades(frame, trades)

    def _trades(self, frame: Frame, trades: list[wire.WireTrade]) -> list[Message]:
        messages: list[Message] = []
        firsts: dict[str, bool] = {}
        for coin in {trade.coin: None for trade in trades}:
            stream = self.received(frame, coin, "trades", messages)
            self._implied_answer(stream)
            firsts[coin] = stream.frame_count == 1
        history, duplicate = self._tape.read(frame, trades, firsts)
        for trade, is_history, is_duplicate in zip(trades, history, duplicate, strict=True):
            messages.append(
                Trade(
                    self.venue,
                    trade.coin,
                    self.coins.pair(trade.coin),
                    trade.time * NS_PER_MS,
                    frame.ts_recv,
                    frame.capture_seq,
                    len(messages),
                    SIDES[trade.side],
                    trade.px,
                    trade.sz,
                    str(trade.tid),
                    is_history,
                    is_duplicate,
                )
            )
        return messages

    def _on_context(self, frame: Frame, coin: str, ctx: wire.AssetCtx) -> list[Message]:
        if ctx == wire.AssetCtx():
            raise ParseError(f"context of {coin} of another shape than documented: it says nothing")
        messages: list[Message] = []
        stream = self.received(frame, coin, "funding", messages)
        self._implied_answer(stream)
        messages.append(funding_info(self.venue, stream.symbol, stream.trading_pair, frame, len(messages), ctx))
        return messages

    def _on_error(self, frame: Frame, text: str) -> list[Message]:
        prefix, _, rest = text.partition(": ")
        if prefix in ("Already subscribed", "Already unsubscribed"):
            self._queue += self._subscriptions.answered(frame.conn_id, json_or_none(rest))
            return []
        if text.startswith("Invalid subscription"):
            self._queue += self._subscriptions.answered(
                frame.conn_id, json_or_none(text[len("Invalid subscription") :])
            )
            return [self.event(frame, EventKind.REFUSED, detail=text)]
        return [self.event(frame, EventKind.VENUE_ERROR, detail=text)]

    def _implied_answer(self, stream: Stream) -> None:
        """Data answers a subscription whose acknowledgement was lost."""
        if stream.frame_count == 1:
            self._queue += self._subscriptions.received(stream.conn_id, stream.symbol, stream.stream)

    def _check_time(self, frame: Frame, stream: Stream, time_ms: int, messages: list[Message]) -> None:
        key = (stream.symbol, stream.stream)
        self._stamped((frame.conn_id, frame.ts_mono, time_ms * NS_PER_MS))
        last = self._last_time.get(key, 0)
        if time_ms < last:
            text = f"venue time went back from {last} to {time_ms} ms"
            messages.append(
                self.event(frame, EventKind.TIME_REGRESSION, stream=stream, sub_seq=len(messages), detail=text)
            )
        self._last_time[key] = time_ms

    # -- REST responses ----------------------------------------------------------------------------------------

    def _on_funding_history(self, frame: Frame, symbol: str) -> list[Message]:
        odd: list[str] = []
        rows = decode_funding_history(frame.payload, odd)
        messages: list[Message] = []
        self.polls.answered(frame, symbol, SETTLED, messages)
        self._queue += self._settlements.more(symbol, rows)
        for row in self._settlements.news(rows):
            messages.append(
                FundingInfo(
                    self.venue,
                    row.coin,
                    self.coins.pair(row.coin),
                    row.time * NS_PER_MS,
                    frame.ts_recv,
                    frame.capture_seq,
                    len(messages),
                    FundingKind.SETTLED,
                    funding_rate=row.fundingRate,
                    premium=row.premium,
                )
            )
        self.report_odd(frame, odd, messages)
        return messages

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {
            "listing": self.listing.export(),
            "subscriptions": self._subscriptions.export(),
            "trades": self._tape.export(),
            "last_time": [[*key, time] for key, time in self._last_time.items()],
            "settled": self._settlements.export(),
            "polls": self.polls.export(),
            "clock": self.clock.export(),
            "odd": self._oddities.export(),
            **self.accounts.export(),
        }

    def _import(self, state: Any) -> None:
        self.listing.restore(state["listing"])
        self._subscriptions.restore(state["subscriptions"])
        self._tape.restore(state["trades"])
        self._last_time = {(symbol, stream): time for symbol, stream, time in state["last_time"]}
        self._settlements.restore(state["settled"])
        self.polls.restore(state["polls"])
        self.clock.restore(state["clock"])
        self._oddities.restore(state["odd"])
        self.accounts.restore(state)


_TRADE: Final = "expected the side 'A' or 'B', a positive price and a size"


def _is_trade(trade: wire.WireTrade) -> bool:
    return trade.side in SIDES and 0 < trade.px < INF and 0 <= trade.sz < INF


def _is_side(level: wire.Level | None) -> bool:
    return level is None or (0 < level.px < INF and 0 < level.sz < INF)


def _quoted(level: wire.Level | None) -> tuple[float | None, float | None, int | None]:
    """Price, size and number of orders of a side of a quote."""
    if level is None:
        return None, None, None
    return (None, None, SIDE_NOT_TOLD) if level is wire.UNREADABLE else (level.px, level.sz, level.n)
