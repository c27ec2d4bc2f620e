"""
What dYdX v4's Indexer sends, in its own words. Decimals come as strings and are decoded to float64 (lax mode).

Frames are read in two steps, the envelope first: its `message_id` counts even where nothing else of the frame is of
use. Source: the Indexer's services `socks` (WebSocket) and `comlink` (REST), and frames captured 2023 to 2025.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ParseError

__all__ = [
    "CHANNEL_BLOCKS",
    "CHANNEL_BOOK",
    "CHANNEL_CANDLES",
    "CHANNEL_MARKETS",
    "CHANNEL_TRADES",
    "Block",
    "BookChange",
    "BookLevels",
    "Envelope",
    "FundingHistory",
    "Market",
    "MarketList",
    "MarketsContents",
    "OraclePrice",
    "Reader",
    "SettledRate",
    "Time",
    "Timestamp",
    "TradeList",
    "WireTrade",
    "block_of",
    "decode_block",
    "decode_book_change",
    "decode_book_changes",
    "decode_book_levels",
    "decode_envelope",
    "decode_funding_history",
    "decode_market_list",
    "decode_markets",
    "decode_markets_batch",
    "decode_request",
    "decode_time",
    "decode_trades",
    "decode_trades_batch",
    "decoder",
    "read_block",
    "time_ns",
]

CHANNEL_BOOK: Final = "v4_orderbook"
CHANNEL_TRADES: Final = "v4_trades"
CHANNEL_MARKETS: Final = "v4_markets"
CHANNEL_BLOCKS: Final = "v4_block_height"
CHANNEL_CANDLES: Final = "v4_candles"

T = TypeVar("T")

#: Ids are counted up from 0 by one; a number that a checkpoint in JSON cannot hold is none of theirs.
_MessageId = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
#: The chain began in 2023. A bare number would pass as seconds since 1970.
_YEARS: Final = range(2020, 2100)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class Envelope(msgspec.Struct, gc=False):
    """
    What every frame has around its contents.

    Attributes:
        type: `connected`, `subscribed`, `channel_data`, `channel_batch_data`, `unsubscribed` or `error`.
        message_id: See `toolkit.venues.dydx_v4.numbering`.
        connection_id: The venue's name of the connection.
        channel: Empty in `connected` and in most errors.
        id: Ticker, address, ...; absent on `v4_markets`.
        contents: Contents in the channel's own shape; an array of them in `channel_batch_data`.
        message: Text of an error.
        subaccountNumber: Child that a parent's frame means.
    """

    type: str
    message_id: _MessageId
    connection_id: str = ""
    channel: str = ""
    id: str = ""
    contents: msgspec.Raw = msgspec.Raw(b"")
    message: str = ""
    subaccountNumber: Any = None


class _ObjectLevel(msgspec.Struct, gc=False):
    price: float
    size: float


class _ArrayLevel(msgspec.Struct, gc=False, array_like=True):
    # Frames of 2023 had an offset as third element; what follows the size is passed over.
    price: float
    size: float


class BookLevels(msgspec.Struct, gc=False):
    """A whole book, at most 100 levels a side."""

    bids: list[_ObjectLevel]
    asks: list[_ObjectLevel]


class BookChange(msgspec.Struct, gc=False):
    """Levels with their new absolute size; a side that did not change is absent."""

    bids: list[_ArrayLevel] = []
    asks: list[_ArrayLevel] = []


class WireTrade(msgspec.Struct, gc=False):
    """A trade in a block. `side` is the taker's, `createdAt` the time of the block."""

    id: str
    side: str
    size: float
    price: float
    createdAt: Timestamp
    type: str = "LIMIT"
    createdAtHeight: int | None = None


class TradeList(msgspec.Struct, gc=False):
    """Trades, not read yet: newest first in a snapshot and in REST, ascending in an update."""

    trades: list[msgspec.Raw]


class Market(msgspec.Struct):
    """What is kept of a market's fields. In an update those that did not change are absent."""

    status: str | None = None
    oraclePrice: float | None = None
    priceChange24H: float | None = None
    volume24H: float | None = None
    nextFundingRate: float | None = None
    initialMarginFraction: float | None = None
    openInterest: float | None = None
    tickSize: float | None = None
    stepSize: float | None = None


class OraclePrice(msgspec.Struct):
    """An oracle price and the time of the block that set it."""

    oraclePrice: float
    effectiveAt: Timestamp | None = None


class MarketsContents(msgspec.Struct):
    """`v4_markets`: everything (`markets`), changed fields (`trading`), or new oracle prices. By ticker, not read yet."""

    markets: dict[str, msgspec.Raw] | None = None
    trading: dict[str, msgspec.Raw] | None = None
    oraclePrices: dict[str, msgspec.Raw] | None = None


class MarketList(msgspec.Struct):
    """REST `perpetualMarkets`."""

    markets: dict[str, msgspec.Raw]


class Block(msgspec.Struct, gc=False):
    """A block: its number is `height` in a snapshot and in REST, `blockHeight` in an update."""

    time: Timestamp
    height: int | None = None
    blockHeight: int | None = None


class SettledRate(msgspec.Struct, gc=False):
    """A funding rate that was charged: per hour, with the oracle price at that time."""

    ticker: str
    rate: float
    price: float
    effectiveAt: Timestamp


class FundingHistory(msgspec.Struct):
    """REST `historicalFunding`, newest first, not read yet."""

    historicalFunding: list[msgspec.Raw]


class Time(msgspec.Struct):
    """REST `time`."""

    iso: Timestamp


Reader = Callable[[bytes | msgspec.Raw], T]


def decoder(shape: type[T] | Any, what: str) -> Reader[T]:
    """A function that reads that shape (decimals may be text), and raises ParseError that names `what`."""
    decode = msgspec.json.Decoder(shape, strict=False).decode

    def read(payload: bytes | msgspec.Raw) -> T:
        try:
            value: T = decode(payload)
            return value
        except msgspec.ValidationError as exc:
            raise ParseError(f"{what} of another shape than documented: {exc}") from None
        except UnicodeDecodeError as exc:
            raise ParseError(f"not UTF-8: {exc.reason} at byte {exc.start}") from None
        except (msgspec.DecodeError, RecursionError) as exc:
            raise ParseError(f"not JSON: {exc}") from None

    return read


# Envelopes are decoded strictly: a number is a number and a name is a name.
_decode_envelope = msgspec.json.Decoder(Envelope).decode


def decode_envelope(payload: bytes) -> Envelope:
    """
    The envelope of a frame. Raises ParseError that says whether the JSON or its shape is wrong.

    Example:
        A level of a book that is gone:
        `{"type":"channel_data","connection_id":"7ad53844-1f2c-4d86-83d1-42f6562844f3","message_id":3219,"id":"BTC-USD",
        "channel":"v4_orderbook","version":"1.0.0","contents":{"bids":[["65920","0"]]}}`
    """
    try:
        return _decode_envelope(payload)
    except msgspec.ValidationError as exc:
        raise ParseError(f'expected an object with "type" and "message_id": {exc}') from None
    except UnicodeDecodeError as exc:
        raise ParseError(f"not UTF-8: {exc.reason} at byte {exc.start}") from None
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ParseError(f"not JSON: {exc}") from None


decode_book_levels: Final[Reader[BookLevels]] = decoder(BookLevels, "a book")
decode_book_change: Final[Reader[BookChange]] = decoder(BookChange, "a change of a book")
decode_book_changes: Final[Reader[list[BookChange]]] = decoder(list[BookChange], "changes of a book")
decode_trades: Final[Reader[TradeList]] = decoder(TradeList, "trades")
decode_trades_batch: Final[Reader[list[TradeList]]] = decoder(list[TradeList], "trades")
decode_markets: Final[Reader[MarketsContents]] = decoder(MarketsContents, "markets")
decode_markets_batch: Final[Reader[list[MarketsContents]]] = decoder(list[MarketsContents], "markets")
decode_market_list: Final[Reader[MarketList]] = decoder(MarketList, "perpetualMarkets")
decode_block: Final[Reader[Block]] = decoder(Block, "a block")
decode_funding_history: Final[Reader[FundingHistory]] = decoder(FundingHistory, "historicalFunding")
decode_time: Final[Reader[Time]] = decoder(Time, "time")


class Request(msgspec.Struct):
    """What we sent."""

    type: str = ""
    channel: str = ""
    id: str = ""


_decode_request = msgspec.json.Decoder(Request).decode


def decode_request(payload: bytes) -> Request:
    """A request of ours; empty for one that is none."""
    try:
        return _decode_request(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Request()


def block_of(block: Block) -> tuple[int, int]:
    """Height and time (ns) of a block. Raises ParseError."""
    height = block.blockHeight if block.blockHeight is not None else block.height
    if height is None or not 0 <= height < 2**53:
        raise ParseError("a block without a height")
    return height, time_ns(block.time)


def read_block(envelope: Envelope) -> tuple[int, int]:
    """The block in a frame of `v4_block_height`. Raises ParseError."""
    return block_of(decode_block(envelope.contents))


def time_ns(time: datetime) -> int:
    """Nanoseconds since the Unix epoch, in integers. Raises ParseError for a time before or after all of theirs."""
    if time.year not in _YEARS:
        raise ParseError(f"a time in the year {time.year}: expected one from {_YEARS[0]} to {_YEARS[-1]}")
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000
