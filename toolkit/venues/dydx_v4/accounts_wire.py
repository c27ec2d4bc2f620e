"""
What dYdX v4's Indexer says of accounts, in its own words, over the WebSocket and by REST.

Which fields are there depends on who speaks: of an optimistic order (vulcan) the times are missing, of an expired one
almost everything; fills have `ticker` on the WebSocket and `market` in REST, transfers `size` and `symbol` there and
`amount` and `asset` here. `accounts_read` makes these of frames and replies, and checks times and numbers, so that
nothing fails later.

(Indexer, packages/postgres/src/types/websocket-message-types.ts and services/comlink/public/swagger.json.)
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from toolkit.messages import Side
from toolkit.venues.dydx_v4.accounts_status import reason_of
from toolkit.venues.dydx_v4.wire import Timestamp

__all__ = [
    "CHANNELS",
    "CHANNEL_PARENT",
    "CHANNEL_SUBACCOUNT",
    "DIRECTIONS",
    "INWARD",
    "OUTWARD",
    "POSITION_STATUSES",
    "SIDES",
    "AssetPosition",
    "Contents",
    "Fill",
    "FundingRow",
    "Order",
    "Party",
    "Position",
    "Reward",
    "Subaccount",
    "Transfer",
]

CHANNEL_SUBACCOUNT: Final = "v4_subaccounts"
CHANNEL_PARENT: Final = "v4_parent_subaccounts"
CHANNELS: Final = (CHANNEL_SUBACCOUNT, CHANNEL_PARENT)

SIDES: Final = {"BUY": Side.BUY, "SELL": Side.SELL}
DIRECTIONS: Final = {"LONG": 1, "SHORT": -1}
POSITION_STATUSES: Final = ("OPEN", "CLOSED", "LIQUIDATED")
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
    goodTilBlockTime: Timestamp | None = None
    triggerPrice: float | None = None
    updatedAt: Timestamp | None = None
    updatedAtHeight: _Height | None = None
    createdAtHeight: _Height | None = None
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
    def is_over(self) -> bool:
        """Whether it is closed; one of an unknown status is if nothing is left of it."""
        return not self.size or self.status in ("CLOSED", "LIQUIDATED")

    @property
    def signed_size(self) -> float:
        """Negative for a short one, 0 for one that is closed."""
        return 0.0 if self.is_over else abs(self.size) * DIRECTIONS[self.side]


class AssetPosition(msgspec.Struct):
    """Collateral: a size and its side, which is SHORT for what is owed."""

    symbol: str
    side: str
    size: float
    subaccountNumber: _Number | None = None

    @property
    def signed_size(self) -> float:
        """Negative for what is owed."""
        return abs(self.size) * DIRECTIONS[self.side] if self.size else 0.0


class Subaccount(msgspec.Struct):
    """
    A subaccount as a whole, or a parent with its children.

    Of markets, assets and children in `lost` it said something that could not be read; empty text stands for all.
    """

    subaccountNumber: _Number | None = None
    parentSubaccountNumber: _Number | None = None
    equity: float | None = None
    freeCollateral: float | None = None
    openPerpetualPositions: dict[str, Position] = {}
    assetPositions: dict[str, AssetPosition] = {}
    latestProcessedBlockHeight: _Height | None = None
    childSubaccounts: list[Subaccount] | None = None
    lost: tuple[str, ...] = ()

    @property
    def members(self) -> list[Subaccount]:
        """The subaccounts it speaks of: the children of a parent (the first of which is itself), else it alone."""
        return self.childSubaccounts if self.childSubaccounts is not None else [self]


class Party(msgspec.Struct):
    """One end of a transfer; a wallet has no number."""

    address: str
    subaccountNumber: int | None = None
    parentSubaccountNumber: int | None = None

    def is_of(self, account: str) -> bool:
        """Whether it may be that subaccount: its address is, and no number says otherwise."""
        address, _, number = account.partition("/")
        return self.address == address and self.subaccountNumber in (None, int(number))


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

    def signed(self, account: str) -> float | None:
        """Change of what the account holds; for a type that is not known by its ends, None where they do not say."""
        if self.type in INWARD + OUTWARD:
            return self.moved if self.type in INWARD else -self.moved
        is_in, is_out = self.recipient.is_of(account), self.sender.is_of(account)
        return None if is_in == is_out else self.moved if is_in else -self.moved


INWARD: Final = ("DEPOSIT", "TRANSFER_IN")
OUTWARD: Final = ("WITHDRAWAL", "TRANSFER_OUT")


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

    A snapshot has `orders` too; fills are never in it. `has_lost_holdings` says that a position or collateral among it
    could not be read.

    Example:
        An order that was filled at once, April 2023, cut:
        `{"orders":[{"id":"64fe30a2-006d-5108-a156-cb0c8443546c","side":"BUY","size":"1","totalFilled":"1","price":
        "1948.65","type":"LIMIT","status":"FILLED","timeInForce":"IOC","orderFlags":"0","goodTilBlock":"61186",
        "ticker":"ETH-USD"}],"fills":[{"id":"c5030bd3-cd85-5046-8f2a-518bbba6ec45","side":"BUY","liquidity":"TAKER",
        "orderId":"64fe30a2-006d-5108-a156-cb0c8443546c","size":"1","price":"1854.25","createdAt":
        "2023-04-04T19:09:24.869Z","createdAtHeight":"61169","ticker":"ETH-USD"}]}`
    """

    subaccount: Subaccount | None = None
    orders: list[Order] = []
    fills: list[Fill] = []
    perpetualPositions: list[Position] = []
    assetPositions: list[AssetPosition] = []
    transfers: list[Transfer] = []
    tradingReward: Reward | None = None
    blockHeight: int | None = None
    has_lost_holdings: bool = False
