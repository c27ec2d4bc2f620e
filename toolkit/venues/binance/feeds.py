"""
From a stream's name to messages: who a frame is about, what it says, and whether it was said before.

The name is read off the first bytes of a frame and looked up; only then is the frame decoded, once, by the decoder of
that kind of stream. Frames without a name (captures of `/ws`) are taken where their own words tell what they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from toolkit.clock import NS_PER_MS
from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import (
    FORM_FULL,
    FORM_QUOTE,
    OUT_OF_ORDER,
    BestQuote,
    EventKind,
    FundingInfo,
    Message,
    Side,
    Trade,
)
from toolkit.streams import Stream
from toolkit.venues.binance import convert, wire
from toolkit.venues.binance.books import Books, Host
from toolkit.venues.binance.products import Product
from toolkit.venues.binance.trade_tape import ToldTrades

__all__ = ["IGNORED", "Feed", "Feeds"]

#: Streams that the venue documents and that carry nothing we normalize: kept in `raw`, passed over in silence.
IGNORED: Final = (
    "24hrTicker",
    "24hrMiniTicker",
    "assetIndex",
    "avgPrice",
    "blockTrade",
    "compositeIndex",
    "continuousKline",
    "contractInfo",
    "indexPrice",
    "kline",
    "markPriceKline",
    "indexPriceKline",
    "miniTicker",
    "openInterest",
    "rpiDepth",
    "ticker",
    "tradingSession",
)


class Feed:
    """One stream by its wire name: who it is about, and how its data becomes messages."""

    __slots__ = ("decode", "detail", "pair", "stream", "stream_name", "symbol", "take", "told")

    def __init__(self, symbol: str, pair: str, stream_name: str, detail: str, decode: Any, take: Taker) -> None:
        self.symbol = symbol
        self.pair = pair
        self.stream_name = stream_name
        self.detail = detail
        self.decode = decode
        self.take = take
        self.stream: Stream | None = None
        self.told = ToldTrades()


Taker = Callable[[Frame, Feed, Any], list[Message]]


class Feeds:
    """
    The streams of one protocol.

    Args:
        host: The protocol.
        books: Takes diffs and snapshots.
        product: Market of the feeds.
        venue: Its name.
        interval_s_of: The funding period of a symbol, seconds; None where it is not known.
    """

    def __init__(
        self, host: Host, books: Books, product: Product, venue: str, interval_s_of: Callable[[str], int | None]
    ) -> None:
        #: By wire name; what is in here has been understood at least once.
        self.by_name: dict[bytes, Feed] = {}
        self._host = host
        self._books = books
        self._covered = books.covered
        self._product = product
        self.venue = venue
        self._interval_s_of = interval_s_of
        self._state = _State()
        self._takers: dict[str, Taker] = {
            "bookTicker": self._take_quote,
            "trade": self._take_trade,
            "aggTrade": self._take_agg_trade,
            "markPrice": self._take_mark_price,
            "forceOrder": self._take_liquidation,
        }

    def take(self, frame: Frame, name: str) -> list[Message]:
        """The messages of a frame of that stream. Raises ParseError and DecodeError, having changed nothing."""
        key = name.encode()
        feed = self.by_name.get(key)
        if feed is None:
            feed = self._open_feed(name)
            if feed is None:
                return []
        data = feed.decode(frame.payload).data
        self.by_name[key] = feed  # only now: what cannot be understood leaves nothing behind
        return feed.take(frame, feed, data)

    def take_raw(self, frame: Frame, bare: wire.Bare) -> list[Message]:
        """A frame without the name of its stream, as captures of `/ws` have them."""
        kind = _RAW_KINDS.get(bare.e or "")
        if bare.e is None and bare.B is not None:
            kind = "bookTicker"
        if bare.e == "forceOrder":
            order: wire.ForceOrder = _decode_force_order(frame.payload)
            return self._take_liquidation(frame, self._feed_of(order.o.s, "forceOrder"), order)
        if kind is None or not bare.s:
            if (bare.e or "").partition("_")[0] in IGNORED:
                return []
            raise ParseError(f"neither a stream nor an answer (event {bare.e!r})")
        data = _RAW_DECODERS[kind](frame.payload)
        if kind == "depth" and not self._product.is_spot:
            self._check_is_diff(bare.s, data)
        feed = self._feed_of(bare.s, kind)
        return feed.take(frame, feed, data)

    def _check_is_diff(self, symbol: str, data: wire.Depth) -> None:
        """Futures send partial books with the keys of a diff: one with a removed level, or over 20, tells them apart."""
        if symbol in self._state.with_diffs:
            return
        is_diff = max(len(data.b), len(data.a)) > 20 or any(not level.size for level in data.b + data.a)
        if not is_diff:
            raise ParseError("a depthUpdate that may be a partial book: its stream has no name and no level is removed")
        self._state.with_diffs.append(symbol)

    def _open_feed(self, name: str) -> Feed | None:
        """The feed of a wire name; None for a stream that is passed over. Raises ParseError for an unknown one."""
        if name.startswith("!"):
            kind = name[1:].partition("@")[0]
            if kind == "bookTicker":
                return Feed("", "", FORM_QUOTE, "", _DECODERS[kind], self._take_quote)
            if kind in ("markPrice", "forceOrder"):
                is_list = kind == "markPrice"
                take = self._take_mark_prices if is_list else self._take_liquidation
                return Feed("", "", "", "", _decode_mark_prices if is_list else _DECODERS[kind], take)
            if kind in IGNORED:
                return None
            raise ParseError(f"unknown stream {name!r}")
        head, _, words = name.partition("@")
        kind = words.partition("@")[0]
        if head and (kind in self._takers or kind == "depthSnapshot" or _DEPTH.fullmatch(words)):
            return self._make_feed(head.upper(), kind, words)
        if kind.partition("_")[0] in IGNORED:
            return None
        raise ParseError(f"unknown stream {name!r}")

    def _make_feed(self, symbol: str, kind: str, words: str) -> Feed:
        pair = self._host.trading_pair(symbol) if symbol else ""
        if kind == "depth":
            return Feed(symbol, pair, FORM_FULL, words, _DECODERS["depth"], self._take_diff)
        if kind == "depthSnapshot":
            return Feed(symbol, pair, FORM_FULL, words, _DECODERS[kind], self._take_snapshot)
        if kind.startswith("depth"):
            return Feed(symbol, pair, kind, words, _DECODERS["partial"], self._take_partial)
        feed = Feed(symbol, pair, _STREAM_NAMES[kind], words, _DECODERS[kind], self._takers[kind])
        if kind in ("trade", "aggTrade"):
            feed.told = self._state.told.setdefault(symbol, feed.told)
        return feed

    def _feed_of(self, symbol: str, kind: str) -> Feed:
        """The feed of one instrument in a stream of many."""
        key = f"{symbol.lower()}@{kind}".encode()
        feed = self.by_name.get(key)
        if feed is None:
            feed = self.by_name[key] = self._make_feed(symbol, kind, kind)
        return feed

    def _spoke(self, frame: Frame, feed: Feed) -> list[Message]:
        """The beginning of a frame's messages: the gap that it ends, if it does."""
        messages: list[Message] = []
        stream = feed.stream
        if stream is not None and stream.is_live:
            stream.frame_count += 1
            stream.last_recv = frame.ts_recv
            stream.last_mono = frame.ts_mono
        else:
            feed.stream = self._host.received(frame, feed.symbol, feed.stream_name, messages)
        return messages

    def _take_diff(self, frame: Frame, feed: Feed, data: wire.Depth) -> list[Message]:
        if (data.e != "depthUpdate" and data.e) or (data.s != feed.symbol and data.s):
            raise _other(feed, data.e, data.s)
        return self._books.take_diff(frame, feed.symbol, feed.pair, feed.detail, data)

    def _take_snapshot(self, frame: Frame, feed: Feed, data: wire.Snapshot) -> list[Message]:
        if data.symbol != feed.symbol and data.symbol:
            raise _other(feed, "", data.symbol)
        return self._books.take_snapshot(frame, feed.symbol, convert.base_of(data))

    def _take_partial(self, frame: Frame, feed: Feed, data: wire.PartialDepth) -> list[Message]:
        # Raises before anything is noted.
        if (data.e != "depthUpdate" and data.e) or (data.s != feed.symbol and data.s):
            raise _other(feed, data.e, data.s)
        book = convert.partial_book(data, feed.stream_name, self.venue, feed.symbol, feed.pair, frame, 0)
        messages = self._spoke(frame, feed)
        messages.append(msgspec.structs.replace(book, sub_seq=len(messages)) if messages else book)
        return messages

    def _take_quote(self, frame: Frame, feed: Feed, data: wire.BookTicker) -> list[Message]:
        if not feed.symbol:
            if not data.s or data.st not in (0, self._product.product_class):
                return []
            feed = self._feed_of(data.s, "bookTicker")
        if (data.e != "bookTicker" and data.e) or (data.s != feed.symbol and data.s):
            raise _other(feed, data.e, data.s)
        time = data.T
        if type(time) is not int or type(data.u) is not int or type(data.st) is not int:
            raise ParseError(f"a quote with u={data.u!r}, T={time!r}, st={data.st!r}: expected integers")
        # Inline what `to_ns` and `_spoke` do: this is the stream that never rests.
        ts_event = time * NS_PER_MS if wire.MS_MIN <= time < wire.MS_MAX else wire.to_ns(time) if time else None
        # A side without an order has a price of zero, or nothing at its price.
        bid, ask = data.b if data.B else 0.0, data.a if data.A else 0.0
        stream = feed.stream
        messages: list[Message] = []
        if stream is not None and stream.is_live:
            stream.frame_count += 1
            stream.last_recv = frame.ts_recv
            stream.last_mono = frame.ts_mono
        else:
            messages = self._spoke(frame, feed)
        if self._covered:
            cover = self._covered.get(feed.symbol)
            if cover is not None and (0 < bid < cover[0] or ask > cover[1]):
                self._books.reach(frame, feed.symbol, bid or cover[0], ask or cover[1], messages)
        messages.append(
            BestQuote(
                self.venue,
                feed.symbol,
                feed.pair,
                ts_event,
                frame.ts_recv,
                frame.capture_seq,
                len(messages),
                False,
                bid or None,
                data.B if bid else None,
                None,
                ask or None,
                data.A if ask else None,
                None,
                data.u,
            )
        )
        return messages

    def _take_trade(self, frame: Frame, feed: Feed, data: wire.Trade) -> list[Message]:
        if (data.e != "trade" and data.e) or (data.s != feed.symbol and data.s):
            raise _other(feed, data.e, data.s)
        number = data.t
        if type(number) is not int or type(data.T) is not int or type(data.E) is not int or number < 0:
            raise ParseError(f"a trade with t={number!r}, T={data.T!r}, E={data.E!r}: expected integers from 0 on")
        if not data.p and not data.q and data.X == "NA":
            # An entry of the trade list that traded nothing, and takes a number.
            return self._numbered(frame, feed, number, number, number, wire.to_ns(data.T), is_aggregate=False)[0]
        return self._trade(frame, feed, data, number, number, number, convert.trade_cause(data), is_aggregate=False)

    def _take_agg_trade(self, frame: Frame, feed: Feed, data: wire.AggTrade) -> list[Message]:
        if (data.e != "aggTrade" and data.e) or (data.s != feed.symbol and data.s):
            raise _other(feed, data.e, data.s)
        wire.exact(data.a, data.f, data.l, data.T, data.E)
        if not 0 <= data.f <= data.l or data.a < 0:
            raise ParseError(
                f"an aggregate {data.a} of the trades {data.f} to {data.l}: expected ids from 0 on, in order"
            )
        return self._trade(frame, feed, data, data.f, data.l, data.a, None, is_aggregate=True)

    def _trade(
        self,
        frame: Frame,
        feed: Feed,
        data: wire.Trade | wire.AggTrade,
        first: int,
        last: int,
        number: int,
        cause: str | None,
        *,
        is_aggregate: bool,
    ) -> list[Message]:
        ts_event = wire.to_ns(data.T)
        if not data.p or not data.q:
            raise ParseError(f"trade {data.p} x {data.q}: expected a price and a size above 0")
        if type(data.m) is not bool:
            raise ParseError(f"trade with m={data.m!r}: expected true or false")
        messages, is_duplicate = self._numbered(frame, feed, first, last, number, ts_event, is_aggregate=is_aggregate)
        if self._covered and cause is None:
            self._books.reach(frame, feed.symbol, data.p, data.p, messages)
        messages.append(
            Trade(
                self.venue,
                feed.symbol,
                feed.pair,
                ts_event,
                frame.ts_recv,
                frame.capture_seq,
                len(messages),
                Side.SELL if data.m else Side.BUY,
                data.p,
                data.q,
                # Aggregates are numbered apart from trades; the letter keeps the two kinds of id apart in one table.
                f"a{number}" if is_aggregate else str(number),
                False,
                is_duplicate,
                cause,
            )
        )
        return messages

    def _numbered(
        self, frame: Frame, feed: Feed, first: int, last: int, number: int, ts_event: int, *, is_aggregate: bool
    ) -> tuple[list[Message], bool]:
        """
        Note the ids of a trade or an aggregate: what goes before its message, and whether it was reported before.

        What goes before is the gap that it ends. Where numbers were left out, that gap says how many; where there is no
        gap, since the connection was never lost, they are one.
        """
        stream, told = feed.stream, feed.told
        last_recv = stream.last_recv if stream is not None else 0
        messages = self._spoke(frame, feed)
        if told.is_renumbered(last, ts_event):
            text = f"received {first}, after {told.ends[-1]} and much later: the venue counts its trades anew"
            told.forget()
            notice = self._host.event(
                frame, EventKind.NOTICE, stream=feed.stream, sub_seq=len(messages), cause="renumbered", detail=text
            )
            messages.append(notice)
        was_numbered = (told.last_aggregate if is_aggregate else told.last_trade) >= 0
        missing = told.step(number, is_aggregate=is_aggregate)
        came_late = told.late(number, is_aggregate=is_aggregate) if told.holes and not missing else None
        is_duplicate = told.has(first, last)
        if not is_duplicate:
            told.add(first, last, ts_event)
        if messages and was_numbered:
            text = f"{missing} numbers are missing before {number}" if missing else f"none is missing before {number}"
            messages[-1] = msgspec.structs.replace(messages[-1], detail=text)
        elif missing:
            messages.append(
                self._host.event(
                    frame,
                    EventKind.GAP,
                    stream=feed.stream,
                    cause="sequence",
                    ts_start=last_recv or frame.ts_recv,
                    ts_end=frame.ts_recv,
                    detail=f"expected number {number - missing}, received {number}: {missing} missing",
                )
            )
            told.left_out(number, missing, last_recv or frame.ts_recv, frame.ts_recv, is_aggregate=is_aggregate)
        if came_late is not None:
            # What was reported as a gap was none: everything came, in another order.
            messages.append(
                self._host.event(
                    frame,
                    EventKind.NOTICE,
                    stream=feed.stream,
                    sub_seq=len(messages),
                    cause=OUT_OF_ORDER,
                    ts_start=came_late.ts_start,
                    ts_end=came_late.ts_end,
                    detail=f"received number {number} late: with it none is missing of those before {came_late.before}",
                )
            )
        return messages, is_duplicate

    def _take_mark_price(self, frame: Frame, feed: Feed, data: wire.MarkPrice) -> list[Message]:
        info = self._mark_price(frame, feed, data)
        if info.next_funding_ts is not None:
            self._host.next_funding(frame, feed.symbol, info.next_funding_ts)
        messages = self._spoke(frame, feed)
        messages.append(msgspec.structs.replace(info, sub_seq=len(messages)) if messages else info)
        return messages

    def _take_mark_prices(self, frame: Frame, feed: Feed, data: list[msgspec.Raw]) -> list[Message]:
        """
        `!markPrice@arr`: since mid-2026 it may hold both kinds of futures, and one is ours.

        An entry that cannot be understood is an error of its own and takes nothing from the others.
        """
        messages: list[Message] = []
        for entry in data:
            try:
                row: wire.MarkPrice = _decode_mark_price(entry)
                wire.exact(row.st)
                if not row.s or row.st not in (0, self._product.product_class):
                    continue
                one = self._feed_of(row.s, "markPrice")
                info = self._mark_price(frame, one, row)
            except (ParseError, msgspec.DecodeError) as exc:
                messages.append(self._host.misread(frame, bytes(entry), exc))
                continue
            messages += self._spoke(frame, one)
            messages.append(info)
        return [msgspec.structs.replace(message, sub_seq=index) for index, message in enumerate(messages)]

    def _mark_price(self, frame: Frame, feed: Feed, data: wire.MarkPrice) -> FundingInfo:
        if (data.e != "markPriceUpdate" and data.e) or (data.s != feed.symbol and data.s):
            raise _other(feed, data.e, data.s)
        interval_s = self._interval_s_of(feed.symbol)
        return convert.funding_info(data, interval_s, self.venue, feed.symbol, feed.pair, frame, 0)

    def _take_liquidation(self, frame: Frame, feed: Feed, data: wire.ForceOrder) -> list[Message]:
        if not feed.symbol:
            if data.st not in (0, self._product.product_class):
                return []
            feed = self._feed_of(data.o.s, "forceOrder")
        if (data.e != "forceOrder" and data.e) or data.o.s != feed.symbol:
            raise _other(feed, data.e, data.o.s)
        order = convert.liquidation(data, self.venue, feed.symbol, feed.pair, frame, 0)
        messages = self._spoke(frame, feed)
        messages.append(msgspec.structs.replace(order, sub_seq=len(messages)) if messages else order)
        return messages

    # -- checkpoints -------------------------------------------------------------------------------------------

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        told = {symbol: told for symbol, told in self._state.told.items() if told.ends}
        return msgspec.to_builtins(_State(told, self._state.with_diffs))

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._state = msgspec.convert(state, _State)
        self.by_name.clear()


def _other(feed: Feed, event: str, symbol: str) -> ParseError:
    return ParseError(f"a frame of {feed.symbol} that says it is of {symbol or 'nobody'}, event {event!r}")


class _State(msgspec.Struct):
    """
    Attributes:
        told: Trades that were reported, by symbol.
        with_diffs: Symbols whose nameless depth frames were found to be diffs.
    """

    told: dict[str, ToldTrades] = {}
    with_diffs: list[str] = []


_STREAM_NAMES: Final = {
    "bookTicker": FORM_QUOTE,
    "trade": "trades",
    "aggTrade": "agg_trades",
    "markPrice": "funding",
    "forceOrder": "liquidations",
}
_RAW_KINDS: Final = {
    "trade": "trade",
    "aggTrade": "aggTrade",
    "markPriceUpdate": "markPrice",
    "bookTicker": "bookTicker",
    "depthUpdate": "depth",
}
_TYPES: Final[dict[str, Any]] = {
    "depth": wire.Depth,
    "depthSnapshot": wire.Snapshot,
    "partial": wire.PartialDepth,
    "bookTicker": wire.BookTicker,
    "trade": wire.Trade,
    "aggTrade": wire.AggTrade,
    "markPrice": wire.MarkPrice,
    "forceOrder": wire.ForceOrder,
}
_DECODERS: Final = {kind: wire.combined_decoder(data) for kind, data in _TYPES.items()}
_RAW_DECODERS: Final = {kind: wire.decode_as(data) for kind, data in _TYPES.items()}
_decode_mark_prices = wire.combined_decoder(list[msgspec.Raw])
_decode_mark_price = _RAW_DECODERS["markPrice"]
_decode_force_order = _RAW_DECODERS["forceOrder"]
#: `depth`, `depth@100ms`, `depth20`, `depth20@500ms`.
_DEPTH: Final = re.compile(r"depth(5|10|20)?(@\d+ms)?")
