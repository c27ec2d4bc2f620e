"""
What Binance sends, in its own words. Decimals come as strings and are decoded to float64 (lax mode).

A frame is known by the name of its stream, which is in the combined form `{"stream": ..., "data": ...}` only: a spot
partial book or best quote has no event type, and a futures partial book has the keys of a diff. So there is one
decoder per kind of stream, and it is chosen before anything is decoded.

Numbers are bounded here, in the decoder, because a check per level in Python would cost as much as all the rest: NaN,
infinity, a negative size and an update id beyond 63 bits do not get past it.

A decoder that takes decimals from strings would take ids, times and flags from strings and fractions as well, and the
venue sends none such: these fields keep what came in another type, and `exact` refuses it.

Source: the venue's documentation of July 2026 (spot) and captures of August 2024; times are Unix milliseconds, or
microseconds where the connection asked for `timeUnit=MICROSECOND`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from toolkit.clock import NS_PER_MS
from toolkit.errors import ParseError

__all__ = [
    "MS_MAX",
    "MS_MIN",
    "AggTrade",
    "Bare",
    "BookTicker",
    "Depth",
    "ForceOrder",
    "FundingTerms",
    "Level",
    "Levels",
    "LiquidationOrder",
    "MarkPrice",
    "OpenInterest",
    "PartialDepth",
    "PremiumIndex",
    "SettledRate",
    "Snapshot",
    "Trade",
    "combined_decoder",
    "decode_as",
    "exact",
    "to_ns",
]

_FINITE: Final = 1e300
Price = Annotated[float, msgspec.Meta(gt=0, le=_FINITE)]
#: A price that is 0 where there is nothing to price: an empty side of a quote, a trade that was none.
PriceOrZero = Annotated[float, msgspec.Meta(ge=0, le=_FINITE)]
Size = Annotated[float, msgspec.Meta(ge=0, le=_FINITE)]
if TYPE_CHECKING:
    Id = int
    Time = int
    Flag = bool
else:
    #: An update or trade id. -1 is the `lastUpdateId` of an instrument that never had an order.
    Id = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)] | float | str
    Time = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | float | str
    Flag = bool | int | str


class Level(msgspec.Struct, gc=False, array_like=True):
    """
    A price and the size at it. Whatever follows them is passed over: until 2019 there was a third element, `[]`, and an
    array may become longer.
    """

    price: Price
    size: Size


Levels = list[Level]


class Depth(msgspec.Struct, gc=False, kw_only=True):
    """
    Changed levels, sizes absolute. `U` and `u` are the first and last update in it; `pu`, on futures, is the `u` of
    the frame before. `T`, on futures, is the time of the matching engine; `E` is when the frame was made.
    """

    e: str = ""
    E: Time
    T: Time = 0
    s: str = ""
    U: Id
    u: Id
    pu: Id | None = None
    b: Levels
    a: Levels


class PartialDepth(msgspec.Struct, gc=False, kw_only=True):
    """The best levels, whole. Futures use the keys of a diff, spot those of the REST snapshot and has no time."""

    e: str = ""
    E: Time = 0
    T: Time = 0
    s: str = ""
    u: Id | None = None
    b: Levels | None = None
    a: Levels | None = None
    lastUpdateId: Id | None = None
    bids: Levels | None = None
    asks: Levels | None = None


class Snapshot(msgspec.Struct, gc=False, kw_only=True):
    """REST `depth`. Spot has no time, spot and USD-M no symbol."""

    lastUpdateId: Id
    E: Time = 0
    T: Time = 0
    symbol: str = ""
    bids: Levels
    asks: Levels


class BookTicker(msgspec.Struct, gc=False, kw_only=True):
    """Best bid and ask. Spot has no time."""

    e: str = ""
    u: Id
    s: str = ""
    b: PriceOrZero
    B: Size
    a: PriceOrZero
    A: Size
    T: Time = 0
    st: Id = 0


class Trade(msgspec.Struct, gc=False, kw_only=True):
    """One trade. `m`: the buyer was the maker, so the taker sold. `X`, on futures: what kind of trade."""

    e: str = ""
    E: Time = 0
    T: Time
    s: str = ""
    t: Id
    p: PriceOrZero
    q: Size
    X: str = ""
    m: Flag


class AggTrade(msgspec.Struct, gc=False, kw_only=True):
    """Trades of one taker order at one price, of 100 ms at most: `f` to `l` are their ids."""

    e: str = ""
    E: Time = 0
    a: Id
    s: str = ""
    p: PriceOrZero
    q: Size
    f: Id
    l: Id  # noqa: E741  # the venue's own name
    T: Time
    m: Flag


class MarkPrice(msgspec.Struct, gc=False, kw_only=True):
    """
    `p` mark, `i` index, `r` funding rate of the period that ends at `T`; `r` is empty and `T` 0 where a contract has
    no funding.
    """

    e: str = ""
    E: Time
    s: str = ""
    p: PriceOrZero
    i: PriceOrZero | None = None
    r: str | None = None
    T: Time = 0
    st: Id = 0


class LiquidationOrder(msgspec.Struct, gc=False, kw_only=True):
    """`S` is the order's side: SELL closes a long. `z` of `q` is filled, at `ap` on average."""

    s: str
    S: str
    q: Size
    p: PriceOrZero
    ap: PriceOrZero | None = None
    X: str = ""
    z: Size | None = None
    T: Time


class ForceOrder(msgspec.Struct, gc=False, kw_only=True):
    """The latest liquidation order of an instrument within a second; others of that second are not sent."""

    e: str = ""
    E: Time = 0
    o: LiquidationOrder
    st: Id = 0


class OpenInterest(msgspec.Struct, kw_only=True):
    """REST `openInterest`."""

    symbol: str
    openInterest: Size
    time: Time = 0


class PremiumIndex(msgspec.Struct, kw_only=True):
    """REST `premiumIndex`: what `markPrice` says, in longer words."""

    symbol: str
    markPrice: PriceOrZero
    indexPrice: PriceOrZero | None = None
    lastFundingRate: str | None = None
    nextFundingTime: Time = 0
    time: Time = 0


class FundingTerms(msgspec.Struct, kw_only=True):
    """REST `fundingInfo`: instruments whose funding period is not 8 hours."""

    symbol: str
    fundingIntervalHours: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8


class SettledRate(msgspec.Struct, kw_only=True):
    """REST `fundingRate`: a rate that was charged."""

    symbol: str
    fundingRate: float
    fundingTime: Time
    markPrice: str = ""


class Bare(msgspec.Struct, kw_only=True):
    """What tells apart the frames that do not begin with the name of a stream."""

    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    e: str | None = None
    s: str | None = None
    id: int | str | None = None
    result: Any = msgspec.UNSET
    code: int | None = None
    msg: str = ""
    error: dict[str, Any] | str | None = None
    lastUpdateId: Id | None = None
    B: Any = None


def exact(*numbers: int | None) -> None:
    """Raise ParseError for ids and times that came as something else than integers; None where there is none."""
    for number in numbers:
        if type(number) is not int and number is not None:
            raise ParseError(f"{number!r} where the venue sends an integer")


def combined_decoder(data: Any) -> Any:
    """
    A decoder of combined frames of that data: an object with the attribute `data`.

    Example:
        A best quote of USD-M, 2024-08-08; spot has neither `e` nor the two times:
        `{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20",
        "B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}`
    """
    envelope = msgspec.defstruct("Combined", [("data", data)], gc=False)
    return msgspec.json.Decoder(envelope, strict=False).decode


def decode_as(kind: Any) -> Any:
    """A decoder of that type, decimals in strings."""
    return msgspec.json.Decoder(kind, strict=False).decode


#: Times that mean something fall between 2009 and 2100. In milliseconds and in microseconds these ranges do not meet.
MS_MIN: Final = 1_230_768_000_000
MS_MAX: Final = 4_102_444_800_000


def to_ns(time: int) -> int:
    """A time of the venue in ns, whichever of its two units it is in. Raises ParseError if it is in neither."""
    if MS_MIN <= time < MS_MAX:
        return time * NS_PER_MS
    if MS_MIN * 1000 <= time < MS_MAX * 1000:
        return time * 1000
    raise ParseError(f"time {time}: expected milliseconds or microseconds between 2009 and 2100")
