"""
One order, from what the venue says of it, in whatever order it says it.

Two things are reported independently: the order's status, and its fills. Nothing promises which comes first, that
either comes once, or that neither comes late. So the state is a function of both: the venue's last word that was legal,
and the exact sum of the fills, each counted once by the venue's fill id.

A state is never left for one that the table below does not allow. What a late message says beyond that is still taken
in: a fill after a cancel adds to what was filled, an `open` after a cancel changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import msgspec

from toolkit.account_messages import TERMINAL_ORDER_STATES, Fill, OrderState, OrderUpdate
from toolkit.accounts.exact_sums import ZERO, exact, exact_product, exact_ratio, exact_sum
from toolkit.messages import Side

__all__ = ["TRANSITIONS", "InFlightOrder", "OrderView"]

_END: Final = frozenset({OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED})

#: From each state the states that may follow it. An order with fills is never refused: it is cancelled (`_legal`).
TRANSITIONS: Final[Mapping[OrderState, frozenset[OrderState]]] = MappingProxyType(
    {
        OrderState.PENDING_CREATE: _END
        | {OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL, OrderState.FAILED},
        OrderState.OPEN: _END | {OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL, OrderState.FAILED},
        OrderState.PARTIALLY_FILLED: frozenset(
            {OrderState.PENDING_CANCEL, OrderState.FILLED, OrderState.CANCELLED, OrderState.EXPIRED}
        ),
        # A cancel that the venue refuses leaves the order as it was.
        OrderState.PENDING_CANCEL: _END | {OrderState.OPEN, OrderState.PARTIALLY_FILLED, OrderState.FAILED},
        OrderState.FILLED: frozenset(),
        # Fills in blocks, or on their way, outrun an end: what is filled whole was neither cancelled nor has it expired.
        OrderState.CANCELLED: frozenset({OrderState.FILLED}),
        OrderState.REJECTED: frozenset({OrderState.CANCELLED}),  # only by a fill, which shows that it was taken in
        OrderState.EXPIRED: frozenset({OrderState.FILLED}),
        OrderState.FAILED: _END | {OrderState.OPEN, OrderState.PARTIALLY_FILLED},  # the venue knew it after all
    }
)

_REFUSED: Final = frozenset({OrderState.REJECTED, OrderState.FAILED})


class OrderView(msgspec.Struct, frozen=True):
    """
    An order as it was at one moment: what listeners are given, and what two runs are compared by.

    Attributes:
        account: Account that owns it.
        venue: Where.
        symbol: Instrument as the venue spells it.
        trading_pair: Trading pair as we spell it.
        order_id: The venue's id; empty while it has none.
        client_order_id: Its owner's id.
        state: Where it is in its life.
        status: The venue's last word that was heeded.
        side: Its side; None while only its id is known.
        price: Limit price, in quote currency.
        size: Original size, in base currency; None while it is not known.
        filled: Sum of its fills, in base currency.
        average_price: Average price of the fills; None without any.
        fees: Paid, by asset, in alphabetical order.
        realized_pnl: Sum over the fills, without fees; None where the venue does not say it of each.
        fill_count: Fills that were counted.
        is_history: Whether it ended before the account was first watched.
        generation: How many orders had the venue's id before it.
    """

    account: str
    venue: str
    symbol: str
    trading_pair: str
    order_id: str
    client_order_id: str | None
    state: OrderState
    status: str
    side: Side | None
    price: float | None
    size: float | None
    filled: Decimal
    average_price: Decimal | None
    fees: tuple[tuple[str, Decimal], ...]
    realized_pnl: Decimal | None
    fill_count: int
    is_history: bool
    generation: int = 0


class InFlightOrder:
    """
    An order that is followed.

    Attributes:
        account: Account that owns it.
        venue: Where.
        symbol: Instrument as the venue spells it.
        trading_pair: Trading pair as we spell it.
        order_id: The venue's id; empty while it has none.
        client_order_id: Its owner's id; None if it has none.
        generation: How many orders had the venue's id before it.
        state: Where it is in its life.
        status: The venue's last word that was heeded.
        side: None while neither an update nor a fill has stated it.
        price: Limit price, in quote currency; None while it is not known.
        size: Original size, in base currency; None while it is not known.
        order_type: Type in the venue's words.
        time_in_force: Time in force in the venue's words.
        trigger_price: Trigger price of a stop or take-profit order.
        is_reduce_only: Whether it may only reduce a position.
        is_known: Whether an update has described it; False while only fills have been received.
        is_history: Whether everything received of it was history.
        ts_created: When the venue took it in, ns; None while it is not known.
        ts_updated: The venue's time of the last status that was heeded, ns.
        filled: Exact sum of the fills' sizes.
        notional: Exact sum of price times size of the fills, in quote currency.
        fees: Exact sum of fees paid, by asset.
        late_count: Messages that came after the order had ended with something older, or nothing new.
    """

    __slots__ = (
        "_fill_ids",
        "_is_ended_by_word",
        "_is_profit_unsaid",
        "_profit",
        "account",
        "client_order_id",
        "fees",
        "filled",
        "generation",
        "is_history",
        "is_known",
        "is_reduce_only",
        "late_count",
        "notional",
        "order_id",
        "order_type",
        "price",
        "side",
        "size",
        "state",
        "status",
        "symbol",
        "time_in_force",
        "trading_pair",
        "trigger_price",
        "ts_created",
        "ts_updated",
        "venue",
    )

    def __init__(
        self,
        *,
        account: str,
        venue: str,
        symbol: str,
        trading_pair: str,
        order_id: str = "",
        client_order_id: str | None = None,
        side: Side | None = None,
        price: float | None = None,
        size: float | None = None,
        generation: int = 0,
    ) -> None:
        self.account = account
        self.venue = venue
        self.symbol = symbol
        self.trading_pair = trading_pair
        self.order_id = order_id
        self.client_order_id = client_order_id
        self.generation = generation
        self.state = OrderState.PENDING_CREATE
        self.status = ""
        self.side = side
        self.price = price
        self.size = size
        self.order_type = ""
        self.time_in_force = ""
        self.trigger_price: float | None = None
        self.is_reduce_only = False
        self.is_known = False
        self.is_history = True
        self.ts_created: int | None = None
        self.ts_updated: int | None = None
        self.filled = ZERO
        self.notional = ZERO
        self.fees: dict[str, Decimal] = {}
        self._profit = ZERO
        self._is_profit_unsaid = False
        self.late_count = 0
        self._fill_ids: set[str] = set()
        # Whether the venue said that it ended; the fills alone may have shown it before.
        self._is_ended_by_word = False

    @classmethod
    def of(cls, message: OrderUpdate | Fill) -> InFlightOrder:
        """The order that a message speaks of, before the message is taken in."""
        return cls(
            account=message.account,
            venue=message.venue,
            symbol=message.symbol,
            trading_pair=message.trading_pair,
            order_id=message.order_id,
            client_order_id=message.client_order_id,
            side=message.side,
            generation=message.generation or 0,
        )

    def __repr__(self) -> str:
        size = "?" if self.size is None else self.size
        return f"<InFlightOrder {self.order_id} {self.trading_pair} {self.side} {self.filled}/{size} {self.state}>"

    # -- what it is --------------------------------------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        """Whether it has ended; fills may still come late."""
        return self.state in TERMINAL_ORDER_STATES

    @property
    def is_open(self) -> bool:
        """Whether the venue has it and it has not ended."""
        return not self.is_done and self.state is not OrderState.PENDING_CREATE

    @property
    def remaining(self) -> Decimal | None:
        """What is not filled, in base currency; None while the size is not known."""
        if self.size is None:
            return None
        return max(exact(self.size) - self.filled, ZERO)

    @property
    def missing(self) -> Decimal:
        """
        What the venue says was filled without having reported the fills yet, in base currency.

        Of a reduce-only order no more than a bound: the venue may have cut it to the position when it woke.
        """
        if self.state is not OrderState.FILLED:
            return ZERO
        return self.remaining or ZERO

    @property
    def average_price(self) -> Decimal | None:
        """Average price of the fills, to 28 digits; None without any."""
        return exact_ratio(self.notional, self.filled) if self.filled else None

    @property
    def realized_pnl(self) -> Decimal | None:
        """Exact sum of profit that its fills realised, without fees; None where the venue does not say it of each."""
        return None if self._is_profit_unsaid else self._profit

    @property
    def fill_count(self) -> int:
        """Fills that were counted."""
        return len(self._fill_ids)

    def has_fill(self, fill_id: str) -> bool:
        """Whether that fill is counted."""
        return fill_id in self._fill_ids

    def view(self) -> OrderView:
        """The order as it is now, as a value."""
        return OrderView(
            account=self.account,
            venue=self.venue,
            symbol=self.symbol,
            trading_pair=self.trading_pair,
            order_id=self.order_id,
            client_order_id=self.client_order_id,
            state=self.state,
            status=self.status,
            side=self.side,
            price=self.price,
            size=self.size,
            filled=self.filled,
            average_price=self.average_price,
            fees=tuple(sorted(self.fees.items())),
            realized_pnl=self.realized_pnl,
            fill_count=self.fill_count,
            is_history=self.is_history,
            generation=self.generation,
        )

    # -- what is reported of it -----------------------------------------------------------------------------------

    def update(self, update: OrderUpdate) -> bool:
        """Take in what the venue says of it; returns whether the state changed."""
        before = self.state
        self._describe(update)
        target = self._legal(update.state)
        if target is None:
            self.late_count += 1
            return False
        # The venue's "open" of an order whose cancel is under way says nothing of the cancel.
        if before is OrderState.PENDING_CANCEL and target in (OrderState.OPEN, OrderState.PARTIALLY_FILLED):
            target = before
        if before in TERMINAL_ORDER_STATES and target is before and self._is_ended_by_word:
            self.late_count += 1
            return False
        self.state = target
        self._is_ended_by_word = target in TERMINAL_ORDER_STATES
        self._heed(update, is_turn=target is not before)
        self._settle()
        return self.state is not before

    def fill(self, fill: Fill) -> bool:
        """Take in a fill; returns whether it was new. A repeated one changes nothing."""
        if fill.fill_id in self._fill_ids:
            self.late_count += self.is_done
            return False
        self._fill_ids.add(fill.fill_id)
        size = exact(fill.size)
        self.filled = exact_sum(self.filled, size)
        self.notional = exact_sum(self.notional, exact_product(exact(fill.price), size))
        self.fees[fill.fee_asset] = exact_sum(self.fees.get(fill.fee_asset, ZERO), exact(fill.fee))
        if fill.realized_pnl is None:
            self._is_profit_unsaid = True
        else:
            self._profit = exact_sum(self._profit, exact(fill.realized_pnl))
        self.side = self.side or fill.side
        self.client_order_id = self.client_order_id or fill.client_order_id
        self.is_history = self.is_history and fill.is_history
        self._settle()
        return True

    def ask_cancel(self) -> bool:
        """Its cancel was asked for, by us; returns whether that is possible in its state."""
        return self._go(OrderState.PENDING_CANCEL)

    def refuse_cancel(self) -> bool:
        """The venue refused to cancel it; returns whether it goes on."""
        if self.state is not OrderState.PENDING_CANCEL:
            return False
        return self._go(OrderState.PARTIALLY_FILLED if self.filled else OrderState.OPEN)

    def fail(self) -> bool:
        """It never reached the venue, or the venue knows nothing of it; returns whether that ends it."""
        return not self.filled and self._go(OrderState.FAILED)

    def _go(self, target: OrderState) -> bool:
        if target not in TRANSITIONS[self.state]:
            return False
        self.state = target
        return True

    def _heed(self, update: OrderUpdate, *, is_turn: bool) -> None:
        """Remember the venue's word, unless a newer one is known: one that turned the state is, whatever its time."""
        ts = update.ts_event
        if not self.status or is_turn or (ts is not None and (self.ts_updated is None or ts >= self.ts_updated)):
            self.status = update.status
        if ts is not None:
            self.ts_updated = ts if self.ts_updated is None else max(ts, self.ts_updated)

    def _describe(self, update: OrderUpdate) -> None:
        """Take over what does not depend on the order of messages; what one of them leaves out, another has said."""
        self.is_known = True
        self.side = update.side or self.side
        self.is_history = self.is_history and update.is_history
        self.client_order_id = update.client_order_id or self.client_order_id
        if update.price is not None:
            self.price = update.price
        if update.size is not None:
            self.size = update.size
        if update.ts_created is not None:
            self.ts_created = update.ts_created
        if update.trigger_price is not None:
            self.trigger_price = update.trigger_price
        self.order_type = update.order_type or self.order_type
        self.time_in_force = update.time_in_force or self.time_in_force
        self.is_reduce_only = self.is_reduce_only or update.is_reduce_only

    def _legal(self, target: OrderState) -> OrderState | None:
        """The state that an update leads to; None for one that leads nowhere from here."""
        if target in _REFUSED and self.filled:
            target = OrderState.CANCELLED
        if target is self.state or target in TRANSITIONS[self.state]:
            return target if target is not OrderState.CANCELLED or self.state is not OrderState.REJECTED else None
        # "Open" where fills say more already: no news, but no lateness either.
        if target is OrderState.OPEN and self.state is OrderState.PARTIALLY_FILLED:
            return self.state
        return None

    def _settle(self) -> None:
        """What the fills alone say of the state."""
        if not self.filled:
            return
        if self.state in (OrderState.OPEN, OrderState.PENDING_CREATE, OrderState.FAILED):
            self._go(OrderState.PARTIALLY_FILLED)
        elif self.state is OrderState.REJECTED:
            self._go(OrderState.CANCELLED)
        # A size of 0 is that of the whole position, whatever that is: the fills alone cannot say that it is complete.
        if not self.is_done and self.size and self.filled >= exact(self.size):
            self._go(OrderState.FILLED)
