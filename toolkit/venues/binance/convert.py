"""
What Binance said to what we say: one pure function per kind of message.

Times: `T`, the matching engine's, where there is one (futures, and every trade), else `E`. Spot quotes and partial
books have none at all. Sizes are in base currency, on COIN-M in contracts (see `Instrument.contract_value`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from toolkit.books.orderbook import Columns, check_levels
from toolkit.errors import BookError, ParseError
from toolkit.frames import Frame
from toolkit.messages import (
    BookSnapshot,
    FundingInfo,
    FundingKind,
    Instrument,
    Liquidation,
    Side,
)
from toolkit.venues.binance import wire
from toolkit.venues.binance.depth import Base
from toolkit.venues.binance.symbols import Listed

__all__ = [
    "OFF_BOOK",
    "base_of",
    "columns",
    "funding_info",
    "instrument",
    "liquidation",
    "open_interest",
    "partial_book",
    "premium_index",
    "ranked",
    "settled_rate",
    "trade_cause",
]

#: Kinds of futures trades that no order of the book was part of.
OFF_BOOK: Final = {"INSURANCE_FUND": "insurance_fund", "ADL": "deleveraging"}
#: Trades in the book. `NA` has been seen with price and size 0, which is no trade.
_ON_BOOK: Final = frozenset({"", "MARKET", "NA"})
_SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL}
_NONE: Final[tuple[int, ...]] = ()
_NO_LEVELS: Final[tuple[tuple[float, ...], tuple[float, ...]]] = ((), ())


def columns(levels: wire.Levels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Levels as prices and sizes."""
    if not levels:
        return _NO_LEVELS
    return tuple([level.price for level in levels]), tuple([level.size for level in levels])


def ranked(levels: wire.Levels, *, is_bid: bool) -> Columns:
    """Levels of a whole book. Raises ParseError unless they are a side of one, best first."""
    side = (*columns(levels), _NONE)
    try:
        check_levels(side, is_bid=is_bid)
    except BookError as exc:
        raise ParseError(str(exc)) from None
    return side


def base_of(data: wire.Snapshot) -> Base:
    """A snapshot to join diffs to. Raises ParseError if it is no book."""
    wire.exact(data.lastUpdateId, data.E, data.T)
    bids, asks = ranked(data.bids, is_bid=True), ranked(data.asks, is_bid=False)
    if bids[0] and asks[0] and bids[0][0] >= asks[0][0]:
        raise ParseError(f"a snapshot that is crossed: bid {bids[0][0]}, ask {asks[0][0]}")
    time = data.T or data.E
    return Base(data.lastUpdateId, wire.to_ns(time) if time else None, bids, asks)


def partial_book(
    data: wire.PartialDepth, form: str, venue: str, symbol: str, pair: str, frame: Frame, sub_seq: int
) -> BookSnapshot:
    """The best levels, whole: a form of the book for itself, not fused with the diffs (they are exact, this is late)."""
    bids, asks, last_id = data.b, data.a, data.u
    if bids is None or asks is None:
        bids, asks, last_id = data.bids, data.asks, data.lastUpdateId
    if bids is None or asks is None:
        raise ParseError("a partial book without bids and asks")
    wire.exact(last_id, data.E, data.T)
    time = data.T or data.E
    return BookSnapshot(
        venue,
        symbol,
        pair,
        wire.to_ns(time) if time else None,
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        form,
        False,
        int(form.removeprefix("depth")),
        *ranked(bids, is_bid=True),
        *ranked(asks, is_bid=False),
        None,
        last_id,
    )


def trade_cause(data: wire.Trade) -> str | None:
    """Why a trade happened, if it is none of the book's."""
    if data.X in _ON_BOOK:
        return None
    return OFF_BOOK.get(data.X, data.X.lower())


_decode_rate = wire.decode_as(float)


def _rate(text: str | None) -> float | None:
    """The rate, or None where the text is empty."""
    if not text:
        return None
    try:
        rate: float = _decode_rate(text.encode())
    except msgspec.DecodeError:
        raise ParseError(f"funding rate {text!r}: expected a number") from None
    return rate


def premium_index(frame: Frame, venue: str, symbol: str, trading_pair: str, interval_s: int | None) -> FundingInfo:
    """The answer of `premiumIndex` about one instrument, alone or in a list. Raises ParseError if it is not in it."""
    is_list = frame.payload.lstrip().startswith(b"[")
    for entry in _decode_list(frame.payload) if is_list else [frame.payload]:
        try:
            data = _decode_premium_index(entry)
        except msgspec.DecodeError:
            if is_list:
                continue  # of another instrument, or there is no answer below
            raise
        if data.symbol == symbol:
            return funding_info(data, interval_s, venue, symbol, trading_pair, frame, 0)
    raise ParseError(f"premiumIndex without {symbol}")


def funding_info(
    data: wire.MarkPrice | wire.PremiumIndex,
    interval_s: int | None,
    venue: str,
    symbol: str,
    pair: str,
    frame: Frame,
    sub_seq: int,
) -> FundingInfo:
    """Mark and index price and the rate of the running period; a contract without funding has no rate."""
    if isinstance(data, wire.MarkPrice):
        time, mark, index, rate, due = data.E, data.p, data.i, data.r, data.T
    else:
        time, mark, index = data.time, data.markPrice, data.indexPrice
        rate, due = data.lastFundingRate, data.nextFundingTime
    wire.exact(time, due)
    return FundingInfo(
        venue,
        symbol,
        pair,
        wire.to_ns(time) if time else None,
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        FundingKind.CURRENT,
        funding_rate=_rate(rate) if due else None,
        funding_interval_s=interval_s if due else None,
        next_funding_ts=wire.to_ns(due) if due else None,
        mark_price=mark or None,
        index_price=index or None,
    )


def settled_rate(
    data: wire.SettledRate, interval_s: int | None, venue: str, pair: str, frame: Frame, sub_seq: int
) -> FundingInfo:
    """A rate that was charged, with the mark price of then where the venue says it."""
    return FundingInfo(
        venue,
        data.symbol,
        pair,
        wire.to_ns(data.fundingTime),
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        FundingKind.SETTLED,
        funding_rate=data.fundingRate,
        funding_interval_s=interval_s,
        mark_price=_rate(data.markPrice) or None,
    )


def open_interest(data: wire.OpenInterest, venue: str, pair: str, frame: Frame) -> FundingInfo:
    """Open interest alone; the other fields stay unsaid."""
    wire.exact(data.time)
    return FundingInfo(
        venue,
        data.symbol,
        pair,
        wire.to_ns(data.time) if data.time else None,
        frame.ts_recv,
        frame.capture_seq,
        0,
        FundingKind.CURRENT,
        open_interest=data.openInterest,
    )


def liquidation(data: wire.ForceOrder, venue: str, symbol: str, pair: str, frame: Frame, sub_seq: int) -> Liquidation:
    """A liquidation order. Raises ParseError for a side that is none."""
    order = data.o
    if order.S not in _SIDES:
        raise ParseError(f"liquidation side {order.S!r}, expected 'BUY' or 'SELL'")
    wire.exact(data.E, order.T)
    return Liquidation(
        venue,
        symbol,
        pair,
        wire.to_ns(order.T),
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        _SIDES[order.S],
        order.p,
        order.q,
        order.ap or None,
        order.z,
        order.X.lower(),
    )


def instrument(venue: str, row: Listed, frame: Frame, sub_seq: int) -> Instrument:
    """What the venue says of an instrument."""
    known: dict[str, Any] = {
        "price_tick": row.price_tick,
        "size_step": row.size_step,
        "min_notional": row.min_notional,
        "multiplier": row.multiplier,
        "is_active": row.is_trading,
        "contract_value": row.contract_value,
    }
    return Instrument(
        venue,
        row.symbol,
        row.pair,
        None,
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        kind=row.kind,
        base=row.base,
        quote=row.quote,
        settle=row.settle,
        **known,
    )


_decode_list = wire.decode_as(list[msgspec.Raw])
_decode_premium_index = wire.decode_as(wire.PremiumIndex)
