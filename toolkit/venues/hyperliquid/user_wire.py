"""
What Hyperliquid sends about an account, in its own words. Decimals come as strings and are decoded to float64.

Source: the venue's documentation, captures of 2023 to 2026, and the types of its clients. What older replies lack is
optional here: fills of 2023 have neither `tid` nor `feeToken`, open orders of 2023 no `origSz`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from toolkit.errors import ParseError
from toolkit.venues.hyperliquid.wire import CoinName, Finite, Millis, TradeId

__all__ = [
    "USER_CHANNELS",
    "ClearinghouseState",
    "OrderStatusReply",
    "SpotState",
    "UserEventsData",
    "UserFrame",
    "WireFill",
    "WireFunding",
    "WireLedgerRow",
    "WireOrder",
    "WireOrderStatus",
    "decode_user_frame",
    "reply",
]


class WireOrder(msgspec.Struct, gc=False):
    """An order; the lower half only where the venue describes it in full. `sz` is what is left of `origSz`."""

    coin: CoinName
    side: str
    limitPx: Finite
    sz: Finite
    oid: TradeId
    timestamp: Millis
    origSz: Finite | None = None
    cloid: str | None = None
    reduceOnly: bool = False
    orderType: str | None = None
    tif: str | None = None
    isTrigger: bool = False
    triggerPx: Finite | None = None


class WireOrderStatus(msgspec.Struct, gc=False):
    """An order, its status, and when it came to that."""

    order: WireOrder
    status: str
    statusTimestamp: Millis


class WireLiquidation(msgspec.Struct, gc=False):
    """Of a fill that closed somebody's position."""

    markPx: Finite
    method: str = ""
    liquidatedUser: str | None = None


class WireFill(msgspec.Struct, gc=False):
    """One fill; `side` is the order's, `fee` includes the builder's."""

    coin: CoinName
    px: Finite
    sz: Finite
    side: str
    time: Millis
    startPosition: Finite
    dir: str
    closedPnl: Finite
    oid: TradeId
    crossed: bool
    fee: Finite
    hash: str = ""
    tid: TradeId = 0
    feeToken: str = ""
    cloid: str | None = None
    liquidation: WireLiquidation | None = None


class WireFunding(msgspec.Struct, gc=False):
    """One funding payment; negative `usdc`: paid."""

    time: Millis
    coin: CoinName
    usdc: Finite
    szi: Finite
    fundingRate: Finite


class WireFundingRow(msgspec.Struct):
    """One row of `userFunding`."""

    time: Millis
    delta: dict[str, Any]


class WireLedgerRow(msgspec.Struct):
    """One row of the ledger; `delta` has a `type` and what belongs to it."""

    time: Millis
    hash: str
    delta: dict[str, Any]


class _Leverage(msgspec.Struct, gc=False):
    type: str
    value: Finite


class _CumFunding(msgspec.Struct, gc=False):
    sinceOpen: Finite


class WirePosition(msgspec.Struct, gc=False):
    """A position; `szi` is signed."""

    coin: CoinName
    szi: Finite
    positionValue: Finite
    unrealizedPnl: Finite
    marginUsed: Finite
    leverage: _Leverage
    entryPx: Finite | None = None
    liquidationPx: Finite | None = None
    cumFunding: _CumFunding | None = None


class _AssetPosition(msgspec.Struct, gc=False):
    position: WirePosition


class _MarginSummary(msgspec.Struct, gc=False):
    accountValue: Finite
    totalMarginUsed: Finite


class ClearinghouseState(msgspec.Struct, gc=False):
    """Margin and positions on one dex. `time` and `withdrawable` are missing in replies of 2023."""

    assetPositions: list[_AssetPosition]
    marginSummary: _MarginSummary
    crossMaintenanceMarginUsed: Finite | None = None
    withdrawable: Finite | None = None
    time: Millis | None = None


class _SpotBalance(msgspec.Struct, gc=False):
    coin: CoinName
    total: Finite
    hold: Finite


class SpotState(msgspec.Struct, gc=False):
    """Balances of tokens; `total` includes `hold`."""

    balances: list[_SpotBalance]


class _Fills(msgspec.Struct):
    fills: list[WireFill]
    user: str = ""
    isSnapshot: bool = False


class _Fundings(msgspec.Struct):
    fundings: list[WireFunding]
    user: str = ""
    isSnapshot: bool = False


class _Ledger(msgspec.Struct):
    nonFundingLedgerUpdates: list[WireLedgerRow]
    user: str = ""
    isSnapshot: bool = False


class SystemCancel(msgspec.Struct):
    """An order that the system cancelled."""

    coin: CoinName
    oid: TradeId


class LiquidationEvent(msgspec.Struct):
    """A liquidation as it is announced; the ledger has it too, in another spelling."""

    lid: int
    liquidator: str
    liquidated_user: str
    liquidated_ntl_pos: Finite
    liquidated_account_value: Finite


class UserEventsData(msgspec.Struct):
    """One of these, at a time."""

    fills: list[WireFill] | None = None
    funding: WireFunding | None = None
    liquidation: LiquidationEvent | None = None
    nonUserCancel: list[SystemCancel] | None = None


class _Clearinghouses(msgspec.Struct):
    clearinghouseStates: list[tuple[str, ClearinghouseState]]
    user: str = ""


class _SpotStateOf(msgspec.Struct):
    spotState: SpotState
    user: str = ""


class _OpenOrders(msgspec.Struct):
    orders: list[WireOrder]
    user: str = ""
    dex: str = ""


class OrderStatusReply(msgspec.Struct):
    """The reply to `orderStatus`; no order where the id is not known."""

    status: str
    order: WireOrderStatus | None = None


class UserFrame(msgspec.Struct, tag_field="channel"):
    """`{"channel": ..., "data": ...}`."""


class OrderUpdates(UserFrame, tag="orderUpdates"):
    """Changes of status. No snapshot, no user."""

    data: list[WireOrderStatus]


class UserEvents(UserFrame, tag="user"):
    """One kind of event. No snapshot, no user."""

    data: UserEventsData


class UserFills(UserFrame, tag="userFills"):
    """Fills; the first frame after each subscribe is a snapshot of the newest 2,000."""

    data: _Fills


class UserFundings(UserFrame, tag="userFundings"):
    """Funding payments, beginning with a snapshot."""

    data: _Fundings


class UserLedger(UserFrame, tag="userNonFundingLedgerUpdates"):
    """Ledger rows, beginning with a snapshot."""

    data: _Ledger


class Clearinghouses(UserFrame, tag="allDexsClearinghouseState"):
    """The state on every dex, whole each time."""

    data: _Clearinghouses


class SpotStateFrame(UserFrame, tag="spotState"):
    """The spot balances, whole each time."""

    data: _SpotStateOf


class OpenOrders(UserFrame, tag="openOrders"):
    """All open orders of one dex, whole each time."""

    data: _OpenOrders


class Subscribed(UserFrame, tag="subscriptionResponse"):
    """The acknowledgement."""

    data: dict[str, Any]


class UserPong(UserFrame, tag="pong"):
    """The answer to our ping."""


class UserError(UserFrame, tag="error"):
    """An error, as text; it does not say which request it answers."""

    data: str


_Any = (
    OrderUpdates
    | UserEvents
    | UserFills
    | UserFundings
    | UserLedger
    | Clearinghouses
    | SpotStateFrame
    | OpenOrders
    | Subscribed
    | UserPong
    | UserError
)
#: Channels that carry an account's messages.
USER_CHANNELS: Final = frozenset(
    {
        "orderUpdates",
        "user",
        "userFills",
        "userFundings",
        "userNonFundingLedgerUpdates",
        "allDexsClearinghouseState",
        "spotState",
        "openOrders",
    }
)
#: Channels about accounts that are documented and carry nothing more than those: kept in `raw`, passed over.
IGNORED_USER_CHANNELS: Final = frozenset(
    {
        "clearinghouseState",
        "webData2",
        "webData3",
        "notification",
        "activeAssetData",
        "twapStates",
        "userHistoricalOrders",
        "userTwapHistory",
        "userTwapSliceFills",
        "post",
    }
)


class _Channel(msgspec.Struct):
    channel: str


_decode = msgspec.json.Decoder(_Any, strict=False).decode
_decode_channel = msgspec.json.Decoder(_Channel).decode


def decode_user_frame(payload: bytes) -> UserFrame | None:
    """The frame, or None for a documented channel that is passed over. Raises ParseError."""
    try:
        frame: UserFrame = _decode(payload)
        return frame
    except msgspec.ValidationError as exc:
        wrong = exc
    try:
        channel = _decode_channel(payload).channel
    except msgspec.ValidationError:
        raise ParseError('expected a JSON object with a "channel"') from None
    if channel in IGNORED_USER_CHANNELS:
        return None
    if channel in USER_CHANNELS or channel in ("subscriptionResponse", "pong", "error"):
        raise ParseError(f"channel {channel!r} of another shape than documented: {wrong}") from None
    raise ParseError(f"unknown channel {channel!r}")


def reply(payload: bytes, kind: Any, what: str) -> Any:
    """A REST reply. Raises ParseError if it has another shape than documented."""
    try:
        return msgspec.json.decode(payload, type=kind, strict=False)
    except msgspec.ValidationError as exc:
        raise ParseError(f"{what} of another shape than documented: {exc}") from None
