"""Hyperliquid's values as normalized messages, and requests to its `info` endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from toolkit.books.orderbook import Columns, check_levels
from toolkit.errors import BookError, ParseError
from toolkit.frames import Frame
from toolkit.messages import FundingInfo, Instrument, InstrumentKind, Side
from toolkit.protocol import RestCall
from toolkit.venues.hyperliquid import wire
from toolkit.venues.hyperliquid.lenient import items
from toolkit.venues.hyperliquid.symbols import K_COINS, K_MULTIPLIER, MIN_NOTIONAL, PRICE_FIGURES_MAX, Coin

__all__ = [
    "FULL_CAP",
    "FUNDING_INTERVAL_S",
    "INF",
    "SIDES",
    "decode_funding_history",
    "decode_rest_book",
    "decoded_json",
    "funding_info",
    "info_call",
    "instrument",
    "json_or_none",
    "level_columns",
]

#: Levels a side of a whole book.
FULL_CAP: Final = 20
#: Funding is settled every hour, on first-dex and HIP-3 perps alike.
FUNDING_INTERVAL_S: Final = 3600

_encode = msgspec.json.encode
INF: Final = float("inf")
SIDES: Final = {"A": Side.SELL, "B": Side.BUY}


_decode_rest_book = msgspec.json.Decoder(wire.L2BookData | None, strict=False).decode


def decode_rest_book(payload: bytes, odd: list[str]) -> wire.L2BookData | None:
    """A book that was asked for, None if the coin is unknown; `odd` receives what could not. Raises ParseError."""
    try:
        found: wire.L2BookData | None = _decode_rest_book(payload)
        return found
    except msgspec.ValidationError as exc:
        book = wire.readable_book(decoded_json(payload), odd)
        if book is None:
            raise ParseError(f"l2Book of another shape than documented: {exc}") from None
        return book
    except msgspec.DecodeError as exc:
        raise ParseError(f"l2Book is no JSON: {exc}") from None


_decode_funding_history = msgspec.json.Decoder(list[wire.FundingRow], strict=False).decode


def decode_funding_history(payload: bytes, odd: list[str]) -> list[wire.FundingRow]:
    """The rows that can be read; `odd` receives the others. Raises ParseError for what is no list."""
    try:
        return _decode_funding_history(payload)
    except msgspec.ValidationError as exc:
        rows = decoded_json(payload)
        if not isinstance(rows, list):
            raise ParseError(f"fundingHistory of another shape than documented: {exc}") from None
        return items(rows, wire.FundingRow, "fundingHistory", odd)
    except msgspec.DecodeError as exc:
        raise ParseError(f"fundingHistory is no JSON: {exc}") from None


def level_columns(levels: list[wire.Level], *, is_bid: bool) -> Columns:
    """Levels as columns, best first. Raises ParseError unless they are one side of a book."""
    counts = tuple([level.n for level in levels])
    columns = (
        tuple([level.px for level in levels]),
        tuple([level.sz for level in levels]),
        # A number of orders that could not be read is -1, and then none of them is reported.
        () if counts and counts[0] < 0 else counts,
    )
    try:
        check_levels(columns, is_bid=is_bid)
    except BookError as exc:
        raise ParseError(str(exc)) from None
    return columns


def funding_info(venue: str, symbol: str, pair: str, frame: Frame, sub_seq: int, ctx: wire.AssetCtx) -> FundingInfo:
    """An asset context as a message; perps have an oracle price, spot pairs do not."""
    is_perp = ctx.oraclePx is not None
    return FundingInfo(
        venue,
        symbol,
        pair,
        None,  # the frame has no time in it
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        funding_rate=ctx.funding,
        funding_interval_s=FUNDING_INTERVAL_S if is_perp else None,
        mark_price=ctx.markPx,
        index_price=ctx.oraclePx,
        mid_price=ctx.midPx,
        premium=ctx.premium,
        impact_bid_price=ctx.impactPxs[0] if ctx.impactPxs else None,
        impact_ask_price=ctx.impactPxs[1] if ctx.impactPxs else None,
        open_interest=ctx.openInterest,
        prev_day_price=ctx.prevDayPx,
        day_volume_base=ctx.dayBaseVlm,
        day_volume_quote=ctx.dayNtlVlm,
        circulating_supply=ctx.circulatingSupply,
    )


def instrument(venue: str, coin: Coin, frame: Frame, sub_seq: int) -> Instrument:
    """A coin of the metadata as a message."""
    return Instrument(
        venue,
        coin.coin,
        coin.pair,
        None,
        frame.ts_recv,
        frame.capture_seq,
        sub_seq,
        kind=coin.kind,
        base=coin.base,
        quote=coin.quote,
        settle=coin.settle,
        price_decimals_max=coin.price_decimals_max,
        price_figures_max=PRICE_FIGURES_MAX if coin.price_decimals_max is not None else None,
        size_step=float(f"1e-{coin.size_decimals}") if coin.size_decimals is not None else None,
        min_notional=MIN_NOTIONAL if coin.kind is not InstrumentKind.OUTCOME else None,
        multiplier=K_MULTIPLIER if coin.coin in K_COINS else 1.0,
        max_leverage=coin.max_leverage,
        is_active=coin.is_active,
    )


def info_call(what: str, more: Mapping[str, Any] | None = None, *, tag: str = "", weight: int) -> RestCall:
    """A request to the `info` endpoint, where the body says what is asked."""
    body = _encode({"type": what, **(more or {})})
    return RestCall(tag or what, "POST", "/info", body, weight)


def decoded_json(payload: bytes) -> Any:
    """The payload's JSON. Raises ParseError."""
    try:
        return wire.decode_json(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ParseError(f"not JSON: {exc}") from None


def json_or_none(text: str) -> Any:
    """The text's JSON, or None if it is none."""
    try:
        return wire.decode_json(text.strip().encode())
    except msgspec.DecodeError:
        return None
