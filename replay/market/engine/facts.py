"""
What happened at the exchange, as typed facts. They say it in integers of the engine; a venue writes them in its words.

Facts of an account come in the order in which they happened, and a fact stays as it was: what it says of an order is what
the order was then.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from replay.market.engine.instruments import Instrument
from replay.market.engine.orders import OrderView, Reason

__all__ = [
    "Accepted",
    "Amended",
    "BookChange",
    "Cancelled",
    "Completed",
    "Fact",
    "Filled",
    "FundingPaid",
    "FundingSettled",
    "Liquidated",
    "Liquidation",
    "OrderFact",
    "Rejected",
    "Trade",
    "TransferKind",
    "Transferred",
    "Triggered",
]


class Trade(NamedTuple):
    """
    One execution, as everybody receives it.

    Attributes:
        symbol: Instrument in whose prices it is.
        is_buy: Side of the taker.
        px: Price of the resting order, in price units.
        lots: Size.
        time_ms: Time, ms since the Unix epoch.
        hash: Transaction that caused it, 0x and 64 hex digits; all zeros where no user's did.
        tid: Id of the trade, made of both orders' ids.
        buyer: Name of the buying account.
        seller: Name of the selling account.
    """

    symbol: str
    is_buy: bool
    px: int
    lots: int
    time_ms: int
    hash: str
    tid: int
    buyer: str
    seller: str


class BookChange(NamedTuple):
    """A level and its new size in lots; 0 where nothing is left."""

    is_bid: bool
    px: int
    lots: int


class FundingSettled(NamedTuple):
    """
    A period of funding ended for a perpetual.

    Attributes:
        symbol: The perpetual.
        rate: Rate of the period, 1e-10.
        premium: Average premium that it follows from, 1e-10.
        oracle: Oracle price by which positions are valued, in price units.
        time_ms: Time, ms since the Unix epoch.
        samples: Number of samples in the average.
    """

    symbol: str
    rate: int
    premium: int
    oracle: int
    time_ms: int
    samples: int


@dataclass(frozen=True, slots=True)
class OrderFact:
    """Something became of an order at `time_ms`, ms since the Unix epoch; `order` is what it was then."""

    time_ms: int
    order: OrderView


@dataclass(frozen=True, slots=True)
class Accepted(OrderFact):
    """The exchange took an order: it rests, trades, or waits for its trigger."""


@dataclass(frozen=True, slots=True)
class Rejected(OrderFact):
    """The exchange did not take an order, and it never traded."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Triggered(OrderFact):
    """
    The mark price woke an order that waited for it.

    It is what it was while it waited: one that may only reduce is cut to the position right after this.
    """


@dataclass(frozen=True, slots=True)
class Amended(OrderFact):
    """An order took the place of `before`, which is gone: under a new id, behind the others at its price."""

    before: OrderView


@dataclass(frozen=True, slots=True)
class Cancelled(OrderFact):
    """An order ended with something left of it."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Completed(OrderFact):
    """An order ended with nothing left of it: the `Filled` before this one was its last."""


@dataclass(frozen=True, slots=True)
class Liquidation:
    """That a fill closed a position of `account` because its margin was used up; `mark` in price units."""

    account: str
    mark: int


@dataclass(frozen=True, slots=True)
class Filled(OrderFact):
    """
    An order of the account traded.

    Attributes:
        trade: The execution.
        is_taker: Whether it was the order that took.
        before: Holding before it: signed lots of a perpetual, else the base token in 1e-8.
        after: The same afterwards.
        pnl: Realised profit without the fee: 1e-6 of the collateral of a perpetual, else 1e-8 of the quote token.
        fee: Fee that was paid, in the same unit of `fee_token`.
        fee_token: Token in which the fee was paid.
        liquidation: Account whose position was closed by force, on either side of the trade.
    """

    trade: Trade
    is_taker: bool
    before: int
    after: int
    pnl: int
    fee: int
    fee_token: str
    liquidation: Liquidation | None


@dataclass(frozen=True, slots=True)
class FundingPaid:
    """
    A position paid funding, or was paid.

    Attributes:
        time_ms: Time of the settlement, ms since the Unix epoch.
        instrument: The perpetual.
        lots: Signed size of the position.
        rate: Rate of the period, 1e-10.
        amount: Payment of the account, 1e-6 of the collateral; negative where it was paid.
    """

    time_ms: int
    instrument: Instrument
    lots: int
    rate: int
    amount: int


class TransferKind(enum.Enum):
    """Between what money moved."""

    #: From outside to margin.
    DEPOSIT = "deposit"
    #: From margin to the account's own balances.
    TO_SPOT = "to_spot"
    #: From the margin of one account to that of another.
    BETWEEN_ACCOUNTS = "between_accounts"


@dataclass(frozen=True, slots=True)
class Transferred:
    """
    Money moved.

    Attributes:
        time_ms: Time, ms since the Unix epoch.
        kind: Between what.
        amount: How much, 1e-6 of the token.
        token: Token that moved, a collateral.
        hash: Transaction that moved it.
        sender: Name of the account that it came from; empty for outside.
        recipient: Name of the account that has it now.
    """

    time_ms: int
    kind: TransferKind
    amount: int
    token: str
    hash: str
    sender: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Liquidated:
    """
    The exchange closed all positions of a margin account.

    Attributes:
        time_ms: Time, ms since the Unix epoch.
        number: Count of the exchange's liquidations, from 1.
        account: Account that the fact is about.
        liquidator: Name of the account that did it.
        notional: Sum of the sizes at their marks before it, 1e-6.
        value: Account value before it, 1e-6.
        positions: Instrument and signed lots of what was closed.
    """

    time_ms: int
    number: int
    account: str
    liquidator: str
    notional: int
    value: int
    positions: tuple[tuple[Instrument, int], ...]


Fact = OrderFact | FundingPaid | Transferred | Liquidated
