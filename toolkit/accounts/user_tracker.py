"""
Keeps orders, positions, balances and funding of the accounts that one stream of messages speaks of.

It is the same object behind a live source and a replay, so both go through the same states and tell the same events.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from toolkit.account_messages import AccountEvent, Fill, FundingPayment, OrderState, OrderUpdate, PositionUpdate
from toolkit.accounts.client_orders import ClientOrderTracker
from toolkit.accounts.connector_events import (
    AccountNotice,
    BalanceChanged,
    ConnectorEvent,
    ConnectorListener,
    FundingPaid,
    OrderCancelled,
    OrderCompleted,
    OrderCreated,
    OrderEvent,
    OrderExpired,
    OrderFailed,
    OrderFilled,
    PositionChanged,
)
from toolkit.accounts.exact_sums import ZERO, exact, exact_sum
from toolkit.accounts.orders import InFlightOrder
from toolkit.accounts.positions import BalanceBook, Position, PositionBook
from toolkit.borders import Shown
from toolkit.keys import PairKey
from toolkit.messages import BalanceUpdate, FundingInfo, Message

__all__ = ["UserStreamTracker"]

_ENDINGS: dict[OrderState, type[OrderEvent]] = {
    OrderState.FILLED: OrderCompleted,
    OrderState.CANCELLED: OrderCancelled,
    OrderState.EXPIRED: OrderExpired,
    OrderState.REJECTED: OrderFailed,
    OrderState.FAILED: OrderFailed,
}


class UserStreamTracker(Shown):
    """
    The state of accounts, from their messages.

    Args:
        orders: Tracker of the orders; a new one if None.

    Attributes:
        orders: Orders: active, done and unknown.
        positions: Positions, fresh after each fill.
        balances: Balances as last stated.
        funding: Exact sum of funding received (positive) or paid since the accounts are watched, by venue and pair.
        notices: Other account events that were new, in order; the newest 1,000.
    """

    def __init__(self, orders: ClientOrderTracker | None = None) -> None:
        self.orders = orders if orders is not None else ClientOrderTracker()
        self.positions = PositionBook()
        self.balances = BalanceBook()
        self.funding: dict[PairKey, Decimal] = {}
        self.notices: list[AccountEvent] = []
        self._listeners: list[ConnectorListener] = []
        #: What takes in each kind of message.
        self.handlers: dict[type[Message], Callable[[Any], None]] = {
            OrderUpdate: self._on_order,
            Fill: self._on_fill,
            PositionUpdate: self._on_position,
            BalanceUpdate: self._on_balance,
            FundingPayment: self._on_payment,
            AccountEvent: self._on_account_event,
            FundingInfo: self.positions.on_funding,
        }

    def _shown(self) -> str:
        orders, held = self.orders, len(self.positions.open)
        active, done = len(orders.active), len(orders.done)
        return f"orders: {active} active, {done} ended; open positions: {held}; balances: {len(self.balances.all)}"

    def add_listener(self, listener: ConnectorListener) -> None:
        """Call `listener(event)` for each event, in the order listeners were added, when the state is up to date."""
        self._listeners.append(listener)

    def __call__(self, message: Message) -> None:
        """Take a message in; what is not about an account or a mark price is passed over."""
        handler = self.handlers.get(type(message))
        if handler is not None:
            handler(message)

    def _emit(self, event: ConnectorEvent) -> None:
        for listener in self._listeners:
            listener(event)

    def _on_order(self, update: OrderUpdate) -> None:
        order, is_new, has_changed = self.orders.on_order(update)
        if order.is_history:
            return
        if is_new and order.state not in (OrderState.REJECTED, OrderState.FAILED, OrderState.EXPIRED):
            self._emit(OrderCreated(update, order.view()))
        if has_changed:
            self._emit_ending(update, order)

    def _on_fill(self, fill: Fill) -> None:
        order, is_new, has_changed = self.orders.on_fill(fill)
        if not is_new:
            return
        position = self.positions.on_fill(fill)
        if not fill.is_history:
            self._emit(OrderFilled(fill, order.view()))
            if has_changed:
                self._emit_ending(fill, order)
        if position is not None:
            self._emit_position(fill, position)

    def _emit_ending(self, message: OrderUpdate | Fill, order: InFlightOrder) -> None:
        ending = _ENDINGS.get(order.state)
        if ending is not None:
            self._emit(ending(message, order.view()))

    def _on_position(self, update: PositionUpdate) -> None:
        position = self.positions.on_position(update)
        if position is not None:
            self._emit_position(update, position)

    def _emit_position(self, message: PositionUpdate | Fill, position: Position) -> None:
        self._emit(PositionChanged(message, position.size, position.entry_price, position.unrealized_pnl))

    def _on_balance(self, update: BalanceUpdate) -> None:
        if self.balances.on_balance(update):
            self._emit(BalanceChanged(update))

    def _on_payment(self, payment: FundingPayment) -> None:
        if payment.is_history:
            return
        key = payment.key
        self.funding[key] = exact_sum(self.funding.get(key, ZERO), exact(payment.amount))
        self._emit(FundingPaid(payment))

    def _on_account_event(self, event: AccountEvent) -> None:
        if event.is_history:
            return
        self.notices.append(event)
        del self.notices[:-1000]
        self._emit(AccountNotice(event))
