"""An order: what its owner asked for, what is left of it, and what has become of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from replay.market.engine.instruments import Instrument
from toolkit.account_messages import OrderState

__all__ = ["Order", "OrderRecord", "OrderView", "Origin", "Reason", "Tif", "Trigger"]


class Tif(enum.Enum):
    """How long an order lives; a market order is one that lives for an instant, with a far limit."""

    GTC = "gtc"
    IOC = "ioc"
    POST_ONLY = "post_only"

    @property
    def rests(self) -> bool:
        """Whether what is left of it goes into the book."""
        return self is not Tif.IOC


class Origin(enum.Enum):
    """How an order came about."""

    LIMIT = "limit"
    #: Its owner named no price; the limit is a protection.
    MARKET = "market"
    #: The exchange closes a position.
    LIQUIDATION = "liquidation"


class Reason(enum.Enum):
    """Why an order was refused or cancelled."""

    REQUESTED = "requested"
    #: It would have traded with another order of its owner.
    SELF_TRADE = "self_trade"
    #: Nothing was there to trade with, of an order that may not rest.
    NO_MATCH = "no_match"
    #: Part of it traded, and it may not rest.
    UNFILLED = "unfilled"
    #: It was to rest and would have traded.
    WOULD_CROSS = "would_cross"
    #: Its price is between two ticks.
    TICK = "tick"
    #: It is worth less than the least order.
    NOTIONAL = "notional"
    MARGIN = "margin"
    BALANCE = "balance"
    #: It may only reduce a position, and there is none, or one that it would grow.
    NOTHING_TO_REDUCE = "nothing_to_reduce"
    #: The position that it was to reduce has gone or become smaller.
    REDUCED = "reduced"
    LIQUIDATED = "liquidated"


@dataclass(frozen=True, slots=True)
class Trigger:
    """
    What an order waits for.

    Attributes:
        px: Mark price that wakes it, in price units.
        above: Whether the mark has to rise to it, and not to fall.
        is_stop: Whether it is to limit a loss, and not to take a profit.
    """

    px: int
    above: bool
    is_stop: bool


class Order:
    """
    One order as the book has it.

    Attributes:
        oid: The exchange's id.
        owner: Name of the account.
        is_buy: Side in the book's own prices.
        px: Limit price in price units of the book.
        lots: Size that is left of it.
        orig_lots: Size that it began with.
        mirrored: Whether it was placed on the other side of an outcome.
        client_id: The owner's id, or None.
        tif: How long it lives.
        origin: How it came about.
        reduce_only: Whether it may only make a position smaller.
        time_ms: Time when it was placed, ms since the Unix epoch.
        slot: Where the background flow keeps it, -1 if it does not.
    """

    __slots__ = (
        "client_id",
        "is_buy",
        "lots",
        "mirrored",
        "oid",
        "orig_lots",
        "origin",
        "owner",
        "px",
        "reduce_only",
        "slot",
        "tif",
        "time_ms",
    )

    def __init__(
        self,
        oid: int,
        owner: str,
        is_buy: bool,
        px: int,
        lots: int,
        *,
        mirrored: bool = False,
        client_id: str | None = None,
        tif: Tif = Tif.GTC,
        origin: Origin = Origin.LIMIT,
        reduce_only: bool = False,
        time_ms: int = 0,
    ) -> None:
        self.oid = oid
        self.owner = owner
        self.is_buy = is_buy
        self.px = px
        self.lots = lots
        self.orig_lots = lots
        self.mirrored = mirrored
        self.client_id = client_id
        self.tif = tif
        self.origin = origin
        self.reduce_only = reduce_only
        self.time_ms = time_ms
        self.slot = -1


@dataclass(frozen=True, slots=True)
class OrderView:
    """
    An order at one instant, as a fact has it.

    Attributes:
        oid: The exchange's id.
        instrument: Instrument that it is in.
        is_buy: Its side.
        px: Limit price in price units.
        lots: Size that was left of it.
        orig_lots: Size that it began with.
        client_id: The owner's id, or None.
        tif: How long it lives.
        origin: How it came about.
        reduce_only: Whether it may only make a position smaller.
        trigger: Condition that it waits for, or waited for; None for an order that never waited.
        time_ms: Time when it was placed, ms since the Unix epoch.
    """

    oid: int
    instrument: Instrument
    is_buy: bool
    px: int
    lots: int
    orig_lots: int
    client_id: str | None
    tif: Tif
    origin: Origin
    reduce_only: bool
    trigger: Trigger | None
    time_ms: int


@dataclass(slots=True)
class OrderRecord:
    """
    An order as its owner sees it: the order in the book, and what has become of it.

    Attributes:
        order: Holds what is left; the same object that rests in the book.
        instrument: Instrument that it is in.
        trigger: Condition that it waits for, or waited for.
        state: Where it is in its life.
        reason: Why it was refused or cancelled.
        is_triggered: Whether its trigger has woken it.
        state_ms: Time of its state, ms since the Unix epoch.
    """

    order: Order
    instrument: Instrument
    trigger: Trigger | None = None
    state: OrderState = OrderState.OPEN
    reason: Reason | None = None
    is_triggered: bool = False
    state_ms: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it rests or waits."""
        return self.state is OrderState.OPEN and not self.is_triggered

    @property
    def view(self) -> OrderView:
        """What it is now."""
        order = self.order
        return OrderView(
            oid=order.oid,
            instrument=self.instrument,
            is_buy=order.is_buy,
            px=order.px,
            lots=order.lots,
            orig_lots=order.orig_lots,
            client_id=order.client_id,
            tif=order.tif,
            origin=order.origin,
            reduce_only=order.reduce_only,
            trigger=self.trigger,
            time_ms=order.time_ms,
        )
