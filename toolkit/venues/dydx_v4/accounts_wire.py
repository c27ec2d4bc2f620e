"""
What dYdX v4's Indexer says of accounts, in its own words, over the WebSocket and by REST.

Which fields are there depends on who speaks: of an optimistic order (vulcan) the times are missing, of an expired one
almost everything; fills have `ticker` on the WebSocket and `market` in REST, transfers `size` and `symbol` there and
`amount` and `asset` here. Times and the numbers are checked here, so that nothing fails later.

(Indexer, packages/postgres/src/types/websocket-message-types.ts and services/comlink/public/swagger.json.)
"""

from __future__ import annotations

from math import inf, isfinite
from typing import Annotated, Any, Final

import msgspec

from toolkit.errors import ParseError
from toolkit.messages import Side
from toolkit.venues.dydx_v4.accounts_status import order_state, reason_of
from toolkit.venues.dydx_v4.wire import Reader, Timestamp, decoder, time_ns

__all__ = [
    "CHANNELS",
    "CHANNEL_PARENT",
    "CHANNEL_SUBACCOUNT",
    "AssetPosition",
    "Contents",
    "Fill",
    "FundingRow",
    "Order",
    "Position",
    "Reward",
    "Subaccount",
    "Transfer",
    "decode_fills",
    "decode_funding",
    "decode_order",
    "decode_orders",
    "decode_subaccount",
    "decode_transfers",
    "read_contents",
]

CHANNEL_SUBACCOUNT: Final = "v4_subaccounts"
CHANNEL_PARENT: Final = "v4_parent_subaccounts"
CHANNELS: Final = (CHANNEL_SUBACCOUNT, CHANNEL_PARENT)

SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL}
_DIRECTIONS: Final = {"LONG": 1, "SHORT": -1}
#: The letters of `orderFlags`: 0 is a short-term order, which lives to its `goodTilBlock` at most.
SHORT_TERM: Final = 0

#: A number that a checkpoint in JSON cannot hold is no height.
_Height = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Number = Annotated[int, msgspec.Meta(ge=0, lt=128_000)]


class Order(msgspec.Struct):
    """An order, or what has changed of one. Sizes are in base units, prices in USD."""

    id: str
    status: str
    ticker: str
    clientId: str | None = None
    side: str | None = None
    size: float | None = None
    price: float | None = None
    type: str | None = None
    timeInForce: str | None = None
    postOnly: bool | None = None
    reduceOnly: bool | None = None
    orderFlags: int | None = None
    totalFilled: float | None = None
    goodTilBlock: _Height | None = None
    triggerPrice: float | None = None
    updatedAt: Timestamp | None = None
    updatedAtHeight: _Height | None = None
    removalReason: str | None = None
    subaccountNumber: _Number | None = None

    @property
    def reason(self) -> str:
        """Why it was removed; empty where the venue does not say."""
        return reason_of(self.removalReason)

    @property
    def is_short_term(self) -> bool:
        """Whether its end is a block, not a time."""
        return self.orderFlags == SHORT_TERM


class _Buffer(msgspec.Struct):
    # Until version 2.1.0 of the channel an event id was sent as a buffer of Node.js.
    data: list[Annotated[int, msgspec.Meta(ge=0, le=255)]]


class Fill(msgspec.Struct):
    """A fill of one of the account's orders in a block. `side` is the order's."""

    id: str
    side: str
    liquidity: str
    type: str
    price: float
    size: float
    createdAt: Timestamp
    createdAtHeight: _Height
    ticker: str = ""
    market: str = ""
    fee: float | None = None
    orderId: str | None = None
    eventId: str | _Buffer | None = None
    subaccountNumber: _Number | None = None

    @property
    def symbol(self) -> str:
        """The market."""
        return self.ticker or self.market

    @property
    def trade_id(self) -> str:
        """Id of the public trade: that of the event in the block; empty where it is not said."""
        if isinstance(self.eventId, _Buffer):
            return bytes(self.eventId.data).hex()
        return self.eventId or ""


class Position(msgspec.Struct):
    """A perpetual position. `netFunding` is what it has received (negative: paid)."""

    market: str
    side: str
    status: str
    size: float
    entryPrice: float | None = None
    unrealizedPnl: float | None = None
    netFunding: float | None = None
    subaccountNumber: _Number | None = None

    @property
    def signed_size(self) -> float:
        """Negative for a short one, 0 for one that is closed."""
        return abs(self.size) * _DIRECTIONS[self.side] if self.status == "OPEN" and self.size else 0.0


class AssetPosition(msgspec.Struct):
    """Collateral: a size and its side, which is SHORT for what is owed."""

    symbol: str
    side: str
    size: float
    subaccountNumber: _Number | None = None

    @property
    def signed_size(self) -> float:
        """Negative for what is owed."""
        return abs(self.size) * _DIRECTIONS[self.side] if self.size else 0.0


class Subaccount(msgspec.Struct):
    """A subaccount as a whole, or a parent with its children."""

    subaccountNumber: _Number | None = None
    parentSubaccountNumber: _Number | None = None
    equity: float | None = None
    freeCollateral: float | None = None
    openPerpetualPositions: dict[str, Position] = {}
    assetPositions: dict[str, AssetPosition] = {}
    latestProcessedBlockHeight: _Height | None = None
    childSubaccounts: list[Subaccount] | None = None

    @property
    def members(self) -> list[Subaccount]:
        """The subaccounts it speaks of: the children of a parent (the first of which is itself), else it alone."""
        return self.childSubaccounts if self.childSubaccounts is not None else [self]


class Party(msgspec.Struct):
    """One end of a transfer; a wallet has no number."""

    address: str
    subaccountNumber: int | None = None
    parentSubaccountNumber: int | None = None


class Transfer(msgspec.Struct):
    """Collateral that moved: into the account for `DEPOSIT` and `TRANSFER_IN`, out of it for the others."""

    type: str
    createdAt: Timestamp
    createdAtHeight: _Height
    sender: Party
    recipient: Party
    transactionHash: str = ""
    id: str = ""
    size: float | None = None
    amount: float | None = None
    symbol: str = ""
    asset: str = ""

    @property
    def moved(self) -> float:
        """How much, positive."""
        return self.size if self.size is not None else self.amount or 0.0

    @property
    def signed(self) -> float:
        """Change of what the account holds."""
        return self.moved if self.type in _INWARD else -self.moved


_INWARD: Final = ("DEPOSIT", "TRANSFER_IN")
_OUTWARD: Final = ("WITHDRAWAL", "TRANSFER_OUT")


class Reward(msgspec.Struct):
    """A reward for trading in a block, in DYDX."""

    tradingReward: float
    createdAt: Timestamp
    createdAtHeight: _Height


class FundingRow(msgspec.Struct):
    """A funding payment. `payment` is positive for what was received; `rate` is that of one hour."""

    ticker: str
    createdAt: Timestamp
    createdAtHeight: _Height
    payment: float
    size: float
    side: str
    rate: float | None = None
    subaccountNumber: _Number | None = None


class Contents(msgspec.Struct):
    """
    What a frame says of an account: everything (`subaccount`) or what has changed. Of an account that never was: nothing.

    A snapshot has `orders` too; fills are never in it.
    """

    subaccount: Subaccount | None = None
    orders: list[Order] = []
    fills: list[Fill] = []
    perpetualPositions: list[Position] = []
    assetPositions: list[AssetPosition] = []
    transfers: Transfer | list[Transfer] | None = None
    tradingReward: Reward | None = None
    blockHeight: _Height | None = None

    @property
    def transfer_list(self) -> list[Transfer]:
        """The transfers; the venue sends one object."""
        if self.transfers is None:
            return []
        return self.transfers if isinstance(self.transfers, list) else [self.transfers]


class _FillList(msgspec.Struct):
    fills: list[Fill]


class _TransferList(msgspec.Struct):
    transfers: list[Transfer]


class _FundingList(msgspec.Struct):
    fundingPayments: list[FundingRow]


class _SubaccountReply(msgspec.Struct):
    subaccount: Subaccount


_decode_contents: Final[Reader[Contents]] = decoder(Contents, "an account")
_decode_batch: Final[Reader[list[Contents]]] = decoder(list[Contents], "an account")
_decode_orders: Final[Reader[list[Order]]] = decoder(list[Order], "orders")
_decode_order: Final[Reader[Order]] = decoder(Order, "an order")
_decode_fills: Final[Reader[_FillList]] = decoder(_FillList, "fills")
_decode_transfers: Final[Reader[_TransferList]] = decoder(_TransferList, "transfers")
_decode_funding: Final[Reader[_FundingList]] = decoder(_FundingList, "fundingPayments")
_decode_subaccount: Final[Reader[_SubaccountReply]] = decoder(_SubaccountReply, "a subaccount")


def read_contents(contents: msgspec.Raw, *, is_batch: bool) -> list[Contents]:
    """What a frame says, checked; several things in a batched one. Raises ParseError."""
    parts = _decode_batch(contents) if is_batch else [_decode_contents(contents)]
    for part in parts:
        _check(part)
    return parts


def decode_orders(payload: bytes) -> list[Order]:
    """REST `orders`, newest first. Raises ParseError."""
    return [_checked_order(order) for order in _decode_orders(payload)]


def decode_order(payload: bytes) -> Order:
    """REST `orders/{id}`. Raises ParseError."""
    return _checked_order(_decode_order(payload))


def decode_fills(payload: bytes) -> list[Fill]:
    """REST `fills`, newest first. Raises ParseError."""
    return [_checked_fill(fill) for fill in _decode_fills(payload).fills]


def decode_transfers(payload: bytes) -> list[Transfer]:
    """REST `transfers`, newest first. Raises ParseError."""
    return [_checked_transfer(transfer) for transfer in _decode_transfers(payload).transfers]


def decode_funding(payload: bytes) -> list[FundingRow]:
    """REST `fundingPayments`, newest first. Raises ParseError."""
    rows = _decode_funding(payload).fundingPayments
    for row in rows:
        _require(row.side in _DIRECTIONS, "funding side", row.side, "'LONG' or 'SHORT'")
        _finite("funding", row.payment, row.size, row.rate)
        time_ns(row.createdAt)
    return rows


def decode_subaccount(payload: bytes) -> Subaccount:
    """REST `addresses/{address}/subaccountNumber/{n}`, or that of a parent. Raises ParseError."""
    return _checked_subaccount(_decode_subaccount(payload).subaccount)


def _check(contents: Contents) -> None:
    if contents.subaccount is not None:
        _checked_subaccount(contents.subaccount)
    for order in contents.orders:
        _checked_order(order)
    for fill in contents.fills:
        _checked_fill(fill)
    _check_holdings(contents.perpetualPositions, contents.assetPositions)
    for transfer in contents.transfer_list:
        _checked_transfer(transfer)
    if contents.tradingReward is not None:
        _finite("tradingReward", contents.tradingReward.tradingReward)
        time_ns(contents.tradingReward.createdAt)


def _checked_order(order: Order) -> Order:
    _require(bool(order.id), "order id", order.id, "one")
    _require(order.side is None or order.side in SIDES, "order side", order.side, "'BUY' or 'SELL'")
    _finite(f"order {order.id}", order.size, order.price, order.totalFilled, order.triggerPrice, is_signed=False)
    order_state(order.status, order.reason, order.totalFilled, order.size)
    if order.updatedAt is not None:
        time_ns(order.updatedAt)
    return order


def _checked_fill(fill: Fill) -> Fill:
    _require(bool(fill.id), "fill id", fill.id, "one")
    _require(fill.side in SIDES, "fill side", fill.side, "'BUY' or 'SELL'")
    _require(fill.liquidity in ("TAKER", "MAKER"), "liquidity", fill.liquidity, "'TAKER' or 'MAKER'")
    _require(bool(fill.symbol), "fill without a market", fill.id, "ticker or market")
    _require(0 <= fill.price < inf and 0 <= fill.size < inf, "fill", fill.size, "a price and a size")
    _finite(f"fill {fill.id}", fill.fee)
    time_ns(fill.createdAt)
    return fill


def _checked_transfer(transfer: Transfer) -> Transfer:
    _require(transfer.type in _INWARD + _OUTWARD, "transfer type", transfer.type, ", ".join(_INWARD + _OUTWARD))
    _require(transfer.size is not None or transfer.amount is not None, "transfer", None, "size or amount")
    _finite("transfer", transfer.size, transfer.amount, is_signed=False)
    time_ns(transfer.createdAt)
    return transfer


def _checked_subaccount(subaccount: Subaccount) -> Subaccount:
    for member in subaccount.members:
        _finite("subaccount", member.equity, member.freeCollateral)
        _check_holdings(member.openPerpetualPositions.values(), member.assetPositions.values())
    return subaccount


def _check_holdings(positions: Any, assets: Any) -> None:
    for position in positions:
        _require(position.side in _DIRECTIONS, "position side", position.side, "'LONG' or 'SHORT'")
        _finite(f"position in {position.market}", position.size, position.entryPrice)
        _finite(f"position in {position.market}", position.unrealizedPnl, position.netFunding)
    for asset in assets:
        _require(asset.side in _DIRECTIONS, "collateral side", asset.side, "'LONG' or 'SHORT'")
        _finite(f"collateral {asset.symbol}", asset.size)


def _require(is_so: bool, what: str, found: Any, expected: str) -> None:
    if not is_so:
        raise ParseError(f"{what} {found!r}, expected {expected}")


def _finite(what: str, *values: float | None, is_signed: bool = True) -> None:
    for value in values:
        if value is not None and not (isfinite(value) and (is_signed or value >= 0)):
            raise ParseError(f"{what} is {value}, expected a number")
