"""
What a connector tells its listeners: immutable values that compare, each with the message that caused it.

What happened before an account was first watched is taken in silently: history is not reported.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from toolkit.account_messages import AccountEvent, Fill, FundingPayment, OrderUpdate, PositionUpdate
from toolkit.accounts.orders import OrderView
from toolkit.messages import BalanceUpdate, Message, StreamEvent

__all__ = [
    "AccountNotice",
    "BalanceChanged",
    "BookUpdated",
    "ConnectionLost",
    "ConnectionRestored",
    "ConnectorEvent",
    "ConnectorListener",
    "FundingPaid",
    "OrderCancelled",
    "OrderCompleted",
    "OrderCreated",
    "OrderEvent",
    "OrderExpired",
    "OrderFailed",
    "OrderFilled",
    "PositionChanged",
]


class ConnectorEvent(msgspec.Struct, frozen=True, tag_field="event", tag=True):
    """Base of all events."""


class OrderEvent(ConnectorEvent, frozen=True):
    """
    Base of what happens to an order.

    Attributes:
        message: Message that caused it.
        order: The order after it.
    """

    message: OrderUpdate | Fill
    order: OrderView


class OrderCreated(OrderEvent, frozen=True):
    """The venue took an order in."""


class OrderFilled(OrderEvent, frozen=True):
    """An order was filled, in part or to its end; each fill is reported once."""


class OrderCompleted(OrderEvent, frozen=True):
    """An order is filled to its end."""


class OrderCancelled(OrderEvent, frozen=True):
    """An order was cancelled, by its owner or by the venue."""


class OrderExpired(OrderEvent, frozen=True):
    """An order ended by its own terms without being filled to its end."""


class OrderFailed(OrderEvent, frozen=True):
    """The venue refused an order."""


class FundingPaid(ConnectorEvent, frozen=True):
    """Funding was paid or received."""

    message: FundingPayment


class PositionChanged(ConnectorEvent, frozen=True):
    """
    A position is not what it was.

    Attributes:
        message: Message that caused it: the venue's statement, or a fill.
        size: Signed size now, in base currency.
        entry_price: Now; None when closed.
        unrealized_pnl: Now, at the newest mark price.
    """

    message: PositionUpdate | Fill
    size: Decimal
    entry_price: Decimal | None
    unrealized_pnl: Decimal | None


class BalanceChanged(ConnectorEvent, frozen=True):
    """The venue stated a balance."""

    message: BalanceUpdate


class AccountNotice(ConnectorEvent, frozen=True):
    """Something else befell the account: a transfer, a liquidation, a cancel by the system."""

    message: AccountEvent


class BookUpdated(ConnectorEvent, frozen=True):
    """A message changed the book of a pair, which the connector has up to date when this is reported."""

    message: Message

    @property
    def trading_pair(self) -> str:
        """The pair."""
        return self.message.trading_pair


class ConnectionLost(ConnectorEvent, frozen=True):
    """A connection was lost: what it carried is stale until it is back."""

    message: StreamEvent


class ConnectionRestored(ConnectorEvent, frozen=True):
    """A lost connection was made again; what was missed comes as messages."""

    message: StreamEvent


ConnectorListener = Callable[[ConnectorEvent], None]
