"""
What Hyperliquid sends, in its own words. Decimals come as strings and are decoded to float64 (lax mode).

Source: the venue's WebSocket documentation and captures of 2024 to 2026; `time` is Unix milliseconds everywhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from toolkit.errors import ParseError
from toolkit.venues.hyperliquid.lenient import items, loose, parts

__all__ = [
    "UNREADABLE",
    "ActiveAssetCtx",
    "ActiveSpotAssetCtx",
    "AssetCtx",
    "Bbo",
    "CoinName",
    "Count",
    "ErrorText",
    "Finite",
    "FundingRow",
    "L2Book",
    "L2BookData",
    "Level",
    "MarketFrame",
    "Millis",
    "Pong",
    "SubscriptionResponse",
    "TradeId",
    "Trades",
    "WireTrade",
    "decode_frame",
    "decode_json",
    "readable_book",
]

#: Channels that the venue documents and that say nothing of the market: kept in `raw`, passed over in silence here.
#: Those of accounts are read by `accounts_wire.py`.
IGNORED_CHANNELS: Final = frozenset(
    {
        "orderUpdates",
        "user",
        "userFills",
        "userFundings",
        "userNonFundingLedgerUpdates",
        "userHistoricalOrders",
        "userTwapHistory",
        "userTwapSliceFills",
        "twapStates",
        "clearinghouseState",
        "allDexsClearinghouseState",
        "spotState",
        "openOrders",
        "allMids",
        "candle",
        "post",
        "assetCtxs",
        "allDexsAssetCtxs",
        "spotAssetCtxs",
        "fastAssetCtxs",
        "l2",
        "pac",
        "sac",
        "notification",
        "outcomeMetaUpdates",
        "webData2",
        "webData3",
        "activeAssetData",
        "explorerBlock",
        "explorerTxs",
    }
)


#: What a recording can hold: a time in ns is an int64, a number of orders an int32, and a missing price is null, never
#: NaN. Anything else is not what the venue documents, and one such value in a table would cost the whole segment.
Millis = Annotated[int, msgspec.Meta(ge=0, le=9_223_372_036_853)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
CoinName = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
TradeId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Level(msgspec.Struct, gc=False):
    """A price level: `n` orders hold `sz` at `px`."""

    px: float
    sz: float
    n: Count


#: Stands for the side of a quote that could not be read.
UNREADABLE: Final = Level(0.0, 0.0, 0)


class L2BookData(msgspec.Struct, gc=False):
    """A whole book; `levels` are bids then asks, best first. `spread` is there on aggregated books only."""

    coin: CoinName
    time: Millis
    levels: tuple[list[Level], list[Level]]
    fast: bool = False
    spread: Any = None


class BboData(msgspec.Struct, gc=False):
    """Best bid and ask; null where a side is empty, and once seen with only the bid in the array."""

    coin: CoinName
    time: Millis
    bbo: list[Level | None]


class WireTrade(msgspec.Struct, gc=False):
    """One trade; `side` is the taker's: B bought, A sold. `tid` is a hash, unique only with coin and time."""

    coin: CoinName
    side: str
    px: float
    sz: float
    time: Millis
    tid: TradeId
    hash: str = ""


class AssetCtx(msgspec.Struct, gc=False):
    """State of an instrument. No time in it. Perps have an oracle price, spot pairs a supply."""

    markPx: Finite | None = None
    prevDayPx: Finite | None = None
    dayNtlVlm: Finite | None = None
    dayBaseVlm: Finite | None = None
    midPx: Finite | None = None
    funding: Finite | None = None
    openInterest: Finite | None = None
    premium: Finite | None = None
    oraclePx: Finite | None = None
    impactPxs: tuple[Finite, Finite] | None = None
    circulatingSupply: Finite | None = None


class CtxData(msgspec.Struct, gc=False):
    """An instrument's state with its name."""

    coin: CoinName
    ctx: AssetCtx


class FundingRow(msgspec.Struct):
    """A settled funding rate, as `fundingHistory` lists them; `premium` is the mean of the hour."""

    coin: CoinName
    fundingRate: Finite
    time: Millis
    premium: Finite | None = None


class _Envelope(msgspec.Struct, gc=False, tag_field="channel"):
    """`{"channel": ..., "data": ...}`."""


class L2Book(_Envelope, tag="l2Book", gc=False):
    """Channel `l2Book`."""

    data: L2BookData


class Bbo(_Envelope, tag="bbo", gc=False):
    """Channel `bbo`."""

    data: BboData


class Trades(_Envelope, tag="trades", gc=False):
    """Channel `trades`."""

    data: list[WireTrade]


class ActiveAssetCtx(_Envelope, tag="activeAssetCtx", gc=False):
    """Channel `activeAssetCtx`, of perps."""

    data: CtxData


class ActiveSpotAssetCtx(_Envelope, tag="activeSpotAssetCtx", gc=False):
    """Channel `activeSpotAssetCtx`: what `activeAssetCtx` of a spot coin arrives as."""

    data: CtxData


class SubscriptionResponse(_Envelope, tag="subscriptionResponse"):
    """The acknowledgement; the subscription comes back with its defaults filled in."""

    data: dict[str, Any]


class Pong(_Envelope, tag="pong"):
    """The answer to our ping; no data."""


class ErrorText(_Envelope, tag="error"):
    """An error, as text."""

    data: str


MarketFrame = L2Book | Bbo | Trades | ActiveAssetCtx | ActiveSpotAssetCtx | SubscriptionResponse | Pong | ErrorText

_decode = msgspec.json.Decoder(MarketFrame, strict=False).decode
decode_json = msgspec.json.Decoder().decode


class _Channel(msgspec.Struct):
    channel: str


_decode_channel = msgspec.json.Decoder(_Channel).decode


def decode_frame(payload: bytes, odd: list[str]) -> MarketFrame | str:
    """
    The frame, or the name of a documented channel that is not decoded here.

    Of a frame that is not as documented, what can be read; `odd` receives what cannot. Raises ParseError that says
    whether the JSON, the channel or the shape is wrong where that is nothing.

    Example:
        Trades of 2025-01-26, cut to the first of them:
        `{"channel":"trades","data":[{"coin":"BTC","hash":"0xde47...475b","px":"105056.0","side":"B","sz":"0.00219",
        "tid":121451470284048,"time":1737918794873,"users":["0xe9ed...ecdd","0x6802...8329"]}]}`
    """
    try:
        frame: MarketFrame = _decode(payload)
        return frame
    except msgspec.DecodeError as exc:  # ValidationError (the shape) is one of these
        wrong = exc
    except UnicodeDecodeError as exc:
        raise ParseError(f"not UTF-8: {exc.reason}") from None
    try:
        channel = _decode_channel(payload).channel
    except msgspec.ValidationError:
        raise ParseError('expected a JSON object with a "channel"') from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ParseError(f"not JSON: {exc}") from None
    if channel in IGNORED_CHANNELS:
        return channel
    if channel in _KNOWN:
        found: list[str] = []
        rest = _readable(channel, decode_json(payload).get("data"), found)
        if rest is None:
            raise ParseError(f"channel {channel!r} of another shape than documented: {wrong}") from None
        odd += found
        return rest
    raise ParseError(f"unknown channel {channel!r}")


def _readable(channel: str, data: Any, odd: list[str]) -> MarketFrame | None:
    """What can be read of a frame that is not as documented; None if that is nothing."""
    match channel:
        case "trades":
            trades = items(data, WireTrade, channel, odd)
            return Trades(trades) if trades else None
        case "activeAssetCtx" | "activeSpotAssetCtx":
            ctx = loose(data, CtxData, channel, odd)
            if ctx is None or ctx.ctx == AssetCtx():
                return None
            return ActiveAssetCtx(ctx) if channel == "activeAssetCtx" else ActiveSpotAssetCtx(ctx)
        case "bbo":
            return _readable_quote(data, odd)
        case "l2Book":
            book = readable_book(data, odd)
            return None if book is None else L2Book(book)
        case _:
            return None


class _LevelWithoutCount(msgspec.Struct):
    px: float
    sz: float
    n: Any = None


def readable_book(data: Any, odd: list[str]) -> L2BookData | None:
    """A book whose counts or additions are odd; its prices and sizes may not be."""
    head = loose({**dict(parts(data)), "levels": [[], []]}, L2BookData, "l2Book", odd)
    try:
        sides = msgspec.convert(
            dict(parts(data)).get("levels"), tuple[list[_LevelWithoutCount], list[_LevelWithoutCount]], strict=False
        )
    except msgspec.ValidationError:
        return None
    if head is None:
        return None
    counted = all(type(level.n) is int and 0 <= level.n < 2**31 for side in sides for level in side)
    if not counted:
        odd.append("l2Book: a level without a number of orders")
    bids, asks = ([Level(level.px, level.sz, level.n if counted else -1) for level in side] for side in sides)
    head.levels = bids, asks
    return head


def _readable_quote(data: Any, odd: list[str]) -> Bbo | None:
    """A quote with one side that can be read; the other is `UNREADABLE`."""
    head = loose({**dict(parts(data)), "bbo": []}, BboData, "bbo", odd)
    sides = dict(parts(data)).get("bbo")
    if head is None or not isinstance(sides, list):
        return None
    head.bbo = [None if side is None else loose(side, Level, "bbo", odd) or UNREADABLE for side in sides[:2]]
    return Bbo(head) if any(side is not None and side is not UNREADABLE for side in head.bbo) else None


_KNOWN: Final = frozenset(
    {"l2Book", "bbo", "trades", "activeAssetCtx", "activeSpotAssetCtx", "subscriptionResponse", "pong", "error"}
)
