"""
What Hyperliquid sends, in its own words. Decimals come as strings and are decoded to float64 (lax mode).

Source: the venue's WebSocket documentation and captures of 2024 to 2026; `time` is Unix milliseconds everywhere.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from toolkit.errors import ParseError

__all__ = [
    "ActiveAssetCtx",
    "ActiveSpotAssetCtx",
    "AssetCtx",
    "Bbo",
    "ErrorText",
    "L2Book",
    "L2BookData",
    "Level",
    "Pong",
    "SubscriptionResponse",
    "Trades",
    "WireTrade",
    "decode_frame",
    "decode_json",
]

#: Channels that the venue documents and that carry nothing we normalize: kept in `raw`, passed over in silence.
IGNORED_CHANNELS: Final = frozenset(
    {
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


class Level(msgspec.Struct, gc=False):
    """A price level: `n` orders hold `sz` at `px`."""

    px: float
    sz: float
    n: int


class L2BookData(msgspec.Struct, gc=False):
    """A whole book; `levels` are bids then asks, best first. `spread` is there on aggregated books only."""

    coin: str
    time: int
    levels: tuple[list[Level], list[Level]]
    fast: bool = False
    spread: str | None = None


class BboData(msgspec.Struct, gc=False):
    """Best bid and ask; null where a side is empty, and once seen with only the bid in the array."""

    coin: str
    time: int
    bbo: list[Level | None]


class WireTrade(msgspec.Struct, gc=False):
    """One trade; `side` is the taker's: B bought, A sold. `tid` is a hash, unique only with coin and time."""

    coin: str
    side: str
    px: float
    sz: float
    time: int
    tid: int
    hash: str = ""


class AssetCtx(msgspec.Struct, gc=False):
    """State of an instrument. No time in it. Perps have the upper half, spot pairs the lower."""

    markPx: float
    prevDayPx: float | None = None
    dayNtlVlm: float | None = None
    dayBaseVlm: float | None = None
    midPx: float | None = None
    funding: float | None = None
    openInterest: float | None = None
    premium: float | None = None
    oraclePx: float | None = None
    impactPxs: tuple[float, float] | None = None
    circulatingSupply: float | None = None


class CtxData(msgspec.Struct, gc=False):
    """An instrument's state with its name."""

    coin: str
    ctx: AssetCtx


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


_Frame = L2Book | Bbo | Trades | ActiveAssetCtx | ActiveSpotAssetCtx | SubscriptionResponse | Pong | ErrorText

_decode = msgspec.json.Decoder(_Frame, strict=False).decode
decode_json = msgspec.json.Decoder().decode


class _Channel(msgspec.Struct):
    channel: str


_decode_channel = msgspec.json.Decoder(_Channel).decode


def decode_frame(payload: bytes) -> _Frame | str:
    """
    The frame, or the name of a documented channel that is not decoded here.

    Raises ParseError that says whether the JSON, the channel or the shape is wrong.
    """
    try:
        frame: _Frame = _decode(payload)
        return frame
    except msgspec.DecodeError as exc:  # ValidationError (the shape) is one of these
        wrong = exc
    except UnicodeDecodeError as exc:
        raise ParseError(f"not UTF-8: {exc.reason} at byte {exc.start}") from None
    try:
        channel = _decode_channel(payload).channel
    except msgspec.ValidationError:
        raise ParseError('expected a JSON object with a "channel"') from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ParseError(f"not JSON: {exc}") from None
    if channel in IGNORED_CHANNELS:
        return channel
    if channel in _KNOWN:
        raise ParseError(f"channel {channel!r} of another shape than documented: {wrong}") from None
    raise ParseError(f"unknown channel {channel!r}")


_KNOWN: Final = frozenset(
    {"l2Book", "bbo", "trades", "activeAssetCtx", "activeSpotAssetCtx", "subscriptionResponse", "pong", "error"}
)
