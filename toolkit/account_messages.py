"""
The normalized vocabulary of one account: orders, fills, positions, funding payments and whatever else befell it.

Balances are in `toolkit/messages.py`, with the base class. Prices, sizes and amounts are float64, which returns every
decimal of up to 15 significant digits exactly; `toolkit/accounts/exact_sums.py` sums them without drift.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

from toolkit.messages import Side, UserStreamMessage, UserStreamMessageType

__all__ = [
    "TERMINAL_ORDER_STATES",
    "AccountEvent",
    "AccountEventKind",
    "Fill",
    "FundingPayment",
    "OrderState",
    "OrderUpdate",
    "PositionUpdate",
]


class OrderState(enum.StrEnum):
    """
    Where an order is in its life; `toolkit/accounts/orders.py` has the legal transitions.

    `PENDING_CREATE` and `PENDING_CANCEL` are mostly known to us alone. `REJECTED`: the venue refused
    it. `EXPIRED`: it ended by its own terms. `FAILED`: the venue never received it.
    """

    PENDING_CREATE = "pending_create"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    PENDING_CANCEL = "pending_cancel"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"


#: States in which an order has ended.
TERMINAL_ORDER_STATES: Final = frozenset(
    {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED, OrderState.FAILED}
)


class OrderUpdate(UserStreamMessage, frozen=True, gc=False):
    """
    What the venue says of one order. It need not be new, nor in order.

    Attributes:
        order_id: The venue's id, as text.
        state: State that the venue's word stands for.
        status: The venue's own word.
        side: Side of the order; None where the venue does not say.
        price: Limit price, in quote currency; None where it has none or the venue does not say.
        size: Original size, in base currency; None where the venue does not say.
        remaining: Remaining size, as the venue says; None where it does not.
        client_order_id: The id its owner gave it.
        ts_created: When the venue took it in, ns.
        order_type: Type in the venue's words, lower case: `limit`, `stop market`, ... Empty where it does not say.
        time_in_force: Time in force in the venue's words: `gtc`, `ioc`, `alo`.
        trigger_price: Mark price that wakes a stop or take-profit order.
        is_reduce_only: Whether it may only reduce a position.
        is_history: Whether it was so before this account was first watched in this recording.
        generation: How many orders had this id before it, where the venue gives an id again; None for the first that was
            seen, negative for one before that.
    """

    order_id: str
    state: OrderState
    status: str
    side: Side | None
    price: float | None
    size: float | None
    remaining: float | None
    client_order_id: str | None = None
    ts_created: int | None = None
    order_type: str = ""
    time_in_force: str = ""
    trigger_price: float | None = None
    is_reduce_only: bool = False
    is_history: bool = False
    generation: int | None = None

    type: ClassVar[UserStreamMessageType] = UserStreamMessageType.ORDER_UPDATE


class Fill(UserStreamMessage, frozen=True, gc=False):
    """
    One execution of one of the account's orders. Each comes once, however often and wherever the venue repeats it.

    Attributes:
        order_id: The order, by the venue's id.
        fill_id: The venue's id of the fill; unique together with account and symbol.
        side: Side of the order.
        price: Price in quote currency.
        size: Size in base currency.
        fee: Fee that was paid, in units of `fee_asset`; negative: a rebate.
        fee_asset: Empty where the venue does not say.
        is_maker: Whether the order rested; None where the venue does not say.
        client_order_id: The id that the order's owner gave it.
        trade_id: Id of the public trade it was part of; empty where there is none.
        realized_pnl: Profit that it realised, without the fee, in the currency of settlement; None where the venue
            does not say.
        position_before: Signed size of the position before it; None where there is no position (spot).
        direction: Direction in the venue's words (`Open Long`).
        cause: Why it happened, where it was not simply traded: `liquidation`, `settlement`, ...
        is_history: Whether it happened before this account was first watched in this recording.
        generation: Generation of its order, see `OrderUpdate`.
    """

    order_id: str
    fill_id: str
    side: Side
    price: float
    size: float
    fee: float
    fee_asset: str
    is_maker: bool | None
    client_order_id: str | None = None
    trade_id: str = ""
    realized_pnl: float | None = None
    position_before: float | None = None
    direction: str = ""
    cause: str | None = None
    is_history: bool = False
    generation: int | None = None

    type: ClassVar[UserStreamMessageType] = UserStreamMessageType.TRADE


class PositionUpdate(UserStreamMessage, frozen=True, gc=False):
    """
    An account's position in one instrument, absolute.

    Attributes:
        size: Signed, in base currency; 0 once it is closed.
        entry_price: Average price it was entered at; None without a position.
        unrealized_pnl: Profit at the mark price, in the currency of settlement.
        position_value: Size at the mark price, positive.
        liquidation_price: Mark price at which it is liquidated; None if there is none.
        margin_used: Margin it takes.
        leverage: Leverage as chosen.
        margin_mode: `cross` or `isolated`; empty where the venue does not say.
        funding_paid: Funding since it was opened; positive: paid.
    """

    size: float
    entry_price: float | None = None
    unrealized_pnl: float | None = None
    position_value: float | None = None
    liquidation_price: float | None = None
    margin_used: float | None = None
    leverage: float | None = None
    margin_mode: str = ""
    funding_paid: float | None = None

    type: ClassVar[UserStreamMessageType] = UserStreamMessageType.POSITION_UPDATE

    @property
    def mark_price(self) -> float | None:
        """The mark price that its value rests on; None without a position."""
        return self.position_value / abs(self.size) if self.position_value is not None and self.size else None


class FundingPayment(UserStreamMessage, frozen=True, gc=False):
    """
    Funding that a position paid or received. Each comes once.

    Attributes:
        payment_id: Unique together with account and symbol.
        amount: Positive: received; in units of `asset`.
        asset: Empty where the venue does not say.
        funding_rate: Fraction of notional that was charged.
        position_size: Signed size it was charged on.
        is_history: Whether it was paid before this account was first watched in this recording.
    """

    payment_id: str
    amount: float
    asset: str = ""
    funding_rate: float | None = None
    position_size: float | None = None
    is_history: bool = False

    type: ClassVar[UserStreamMessageType] = UserStreamMessageType.FUNDING_PAYMENT


class AccountEventKind(enum.StrEnum):
    """What an `AccountEvent` reports; `OTHER` is in its detail, in the venue's words."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"
    LIQUIDATION = "liquidation"
    SYSTEM_CANCEL = "system_cancel"
    REWARD = "reward"
    OTHER = "other"


class AccountEvent(UserStreamMessage, frozen=True, gc=False):
    """
    Something else that befell an account. Each comes once.

    Attributes:
        kind: Kind of the event.
        event_id: Unique within the account.
        asset: Asset that was moved; empty for none.
        amount: Change of the account's holdings, without fees; None where nothing moved in or out, or the venue does
            not say.
        order_id: The order it is about; empty for none.
        detail: Details in the venue's words, as JSON.
        is_history: Whether it happened before this account was first watched in this recording.
    """

    kind: AccountEventKind
    event_id: str
    asset: str = ""
    amount: float | None = None
    order_id: str = ""
    detail: str = ""
    is_history: bool = False

    type: ClassVar[UserStreamMessageType] = UserStreamMessageType.ACCOUNT_EVENT
