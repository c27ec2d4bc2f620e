"""
What Hyperliquid sends about an account, in its own words. Decimals come as strings and are decoded to float64.

Source: the venue's documentation, captures of 2023 to 2026, and the types of its clients. What older replies lack is
optional here: fills of 2023 have neither `tid` nor `feeToken`, open orders of 2023 no `origSz`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from toolkit.errors import ParseError
from toolkit.venues.hyperliquid.lenient import items, loose, parts
from toolkit.venues.hyperliquid.wire import CoinName, Finite, Millis, TradeId, decode_json

__all__ = [
    "USER_CHANNELS",
    "ClearinghouseState",
    "MarginSummary",
    "OpenOrdersData",
    "OrderStatusReply",
    "PartOfClearinghouse",
    "PartOfSpot",
    "SpotState",
    "UserEventsData",
    "UserFrame",
    "WireFill",
    "WireFunding",
    "WireLedgerRow",
    "WireOrder",
    "WireOrderStatus",
    "decode_user_frame",
    "readable_spot",
    "readable_state",
    "reply",
    "rows",
]


class WireOrder(msgspec.Struct, gc=False):
    """An order; the lower half only where the venue describes it in full. `sz` is what is left of `origSz`."""

    coin: CoinName
    side: str
    sz: Finite
    oid: TradeId
    timestamp: Millis
    limitPx: Finite | None = None
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
    """Of a fill that closed somebody's position: its owner's, or that of whom it traded with."""

    markPx: Finite | None = None
    method: str = ""
    liquidatedUser: str | None = None


class WireFill(msgspec.Struct, gc=False):
    """One fill; `side` is the order's, `fee` includes the builder's."""

    coin: CoinName
    px: Finite
    sz: Finite
    side: str
    time: Millis
    oid: TradeId
    fee: Finite
    startPosition: Finite | None = None
    dir: str = ""
    closedPnl: Finite | None = None
    crossed: bool | None = None
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
    szi: Finite | None = None
    fundingRate: Finite | None = None


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
    positionValue: Finite | None = None
    unrealizedPnl: Finite | None = None
    marginUsed: Finite | None = None
    leverage: _Leverage | None = None
    entryPx: Finite | None = None
    liquidationPx: Finite | None = None
    cumFunding: _CumFunding | None = None


class _AssetPosition(msgspec.Struct, gc=False):
    position: WirePosition


class MarginSummary(msgspec.Struct, gc=False):
    """What the account is worth on one dex, and what its positions bind."""

    accountValue: Finite
    totalMarginUsed: Finite


class ClearinghouseState(msgspec.Struct, gc=False):
    """Margin and positions on one dex. `time` and `withdrawable` are missing in replies of 2023."""

    assetPositions: list[_AssetPosition]
    marginSummary: MarginSummary | None = None
    crossMaintenanceMarginUsed: Finite | None = None
    withdrawable: Finite | None = None
    time: Millis | None = None


class PartOfClearinghouse(ClearinghouseState):
    """
    The same where a position could not be read.

    Attributes:
        unread: Coins of those positions; an empty name for one whose coin could not be read either.
    """

    unread: list[str] = []


class _SpotBalance(msgspec.Struct, gc=False):
    coin: CoinName
    total: Finite
    hold: Finite


class SpotState(msgspec.Struct, gc=False):
    """Balances of tokens; `total` includes `hold`."""

    balances: list[_SpotBalance]


class PartOfSpot(SpotState):
    """
    The same where a balance could not be read.

    Attributes:
        unread: Tokens of those balances; an empty name for one whose token could not be read either.
    """

    unread: list[str] = []


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


class OpenOrdersData(msgspec.Struct):
    """All open orders of an account on one dex."""

    orders: list[WireOrder]
    user: str = ""
    dex: str = ""
    #: Whether an order of the list could not be read.
    is_part: bool = False


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

    data: OpenOrdersData


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


def decode_user_frame(payload: bytes, odd: list[str]) -> UserFrame | None:
    """
    The frame, or None for a documented channel that is passed over.

    Of a frame that is not as documented, what can be read; `odd` receives what cannot. Raises ParseError where that is
    nothing.

    Example:
        A fill of June 2026, as the counterparty of a liquidation hears of it:
        `{"channel":"user","data":{"fills":[{"coin":"BTC","px":"66653.0","sz":"0.001","side":"A","time":1781528065899,
        "startPosition":"-0.0213","dir":"Open Short","closedPnl":"0.0","hash":"0xe29f...a0db","oid":55030848197,
        "crossed":false,"fee":"0.009997","tid":745210434703679,"cloid":"0xe8d5...1463","liquidation":
        {"liquidatedUser":"0x3608...04fb","markPx":"66607.0","method":"market"},"feeToken":"USDC","twapId":null}]}}`
    """
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
        found: list[str] = []
        rest = _readable(channel, decode_json(payload).get("data"), found)
        if rest is None:
            raise ParseError(f"channel {channel!r} of another shape than documented: {wrong}") from None
        odd += found
        return rest
    raise ParseError(f"unknown channel {channel!r}")


#: Of the channels that carry a list: where it is, what carries it, and what its items are.
_LISTS: Final[dict[str, tuple[str, Any, Any, Any]]] = {
    "userFills": ("fills", UserFills, _Fills, WireFill),
    "userFundings": ("fundings", UserFundings, _Fundings, WireFunding),
    "userNonFundingLedgerUpdates": ("nonFundingLedgerUpdates", UserLedger, _Ledger, WireLedgerRow),
    "openOrders": ("orders", OpenOrders, OpenOrdersData, WireOrder),
}


def _readable(channel: str, data: Any, odd: list[str]) -> UserFrame | None:
    """What can be read of a frame that is not as documented; None if that is nothing."""
    if channel == "orderUpdates":
        return OrderUpdates(items(data, WireOrderStatus, channel, odd)) if isinstance(data, list) else None
    if not isinstance(data, dict):
        return None
    if channel in _LISTS:
        name, frame, carrier, kind = _LISTS[channel]
        head = loose({**data, name: []}, carrier, channel, odd)
        if head is None or not isinstance(data.get(name), list):
            return None
        rows = items(data[name], kind, channel, odd)
        setattr(head, name, rows)
        if channel == "openOrders":
            head.is_part = len(rows) < len(data[name])
        read: UserFrame = frame(head)
        return read
    match channel:
        case "user":
            return UserEvents(_readable_events(data, odd))
        case "allDexsClearinghouseState":
            head = loose({**data, "clearinghouseStates": []}, _Clearinghouses, channel, odd)
            pairs = data.get("clearinghouseStates")
            if head is None or not isinstance(pairs, list):
                return None
            for pair in pairs:
                match pair:
                    case [str(dex), dict(raw)] if (state := readable_state(raw, channel, odd)) is not None:
                        head.clearinghouseStates.append((dex, state))
                    case _:
                        odd.append(f"{channel}: the state of a dex cannot be read")
            return Clearinghouses(head)
        case "spotState":
            head = loose({**data, "spotState": {"balances": []}}, _SpotStateOf, channel, odd)
            spot = readable_spot(data.get("spotState"), channel, odd)
            if head is None or spot is None:
                return None
            head.spotState = spot
            return SpotStateFrame(head)
        case _:
            return None


def _readable_events(data: dict[str, Any], odd: list[str]) -> UserEventsData:
    events = UserEventsData()
    for name, value in parts(data):
        match name:
            case "fills":
                events.fills = items(value, WireFill, name, odd)
            case "nonUserCancel":
                events.nonUserCancel = items(value, SystemCancel, name, odd)
            case "funding":
                events.funding = loose(value, WireFunding, name, odd)
            case "liquidation":
                events.liquidation = loose(value, LiquidationEvent, name, odd)
            case _:
                pass  # what is not read is not looked at
    return events


def readable_state(raw: Any, what: str, odd: list[str]) -> ClearinghouseState | None:
    """Margin and positions, position by position; None if they are not there at all."""
    if not isinstance(raw, dict) or not isinstance(raw.get("assetPositions"), list):
        return None
    state = loose({**raw, "assetPositions": []}, PartOfClearinghouse, what, odd)
    if state is not None:
        for each in raw["assetPositions"]:
            position = loose(each, _AssetPosition, what, odd)
            if position is not None:
                state.assetPositions.append(position)
            else:
                state.unread.append(_name(dict(parts(dict(parts(each)).get("position"))).get("coin")))
    return state


def readable_spot(raw: Any, what: str, odd: list[str]) -> SpotState | None:
    """Spot balances, token by token; None if they are not there at all."""
    if not isinstance(raw, dict) or not isinstance(raw.get("balances"), list):
        return None
    state = PartOfSpot([])
    for each in raw["balances"]:
        balance = loose(each, _SpotBalance, what, odd)
        if balance is not None:
            state.balances.append(balance)
        else:
            state.unread.append(_name(dict(parts(each)).get("coin")))
    return state


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def reply(payload: bytes, kind: Any, what: str) -> Any:
    """A REST reply. Raises ParseError if it has another shape than documented."""
    try:
        return msgspec.json.decode(payload, type=kind, strict=False)
    except msgspec.ValidationError as exc:
        raise ParseError(f"{what} of another shape than documented: {exc}") from None


def rows(payload: bytes, kind: Any, what: str, odd: list[str]) -> list[Any]:
    """The rows of a REST reply that can be read; `odd` receives the others. Raises ParseError for what is no list."""
    try:
        found: list[Any] = msgspec.json.decode(payload, type=list[kind], strict=False)
        return found
    except msgspec.ValidationError as exc:
        raw = decode_json(payload)
        if not isinstance(raw, list):
            raise ParseError(f"{what} of another shape than documented: {exc}") from None
        return items(raw, kind, what, odd)
