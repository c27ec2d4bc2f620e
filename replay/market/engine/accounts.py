"""
What an account owns: positions, balances, orders and its past, in exact integers.

Money of perpetuals is counted in units of 1e-6 of the collateral, which is exactly price units times lots for every
perpetual; spot money and tokens are counted in units of 1e-8, for the same reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from replay.market.engine.facts import Filled, FundingPaid, Liquidated, Transferred
from replay.market.engine.instruments import Instrument, Kind
from replay.market.engine.orders import OrderRecord

__all__ = [
    "PERP_DECIMALS",
    "ROWS_KEPT",
    "SPOT_DECIMALS",
    "Account",
    "Clearinghouse",
    "Marks",
    "Position",
    "SpotBalance",
    "divide",
    "maintenance",
    "margin_used",
    "tokens_per_lot",
]

#: Mark price of a perpetual, in price units, by its symbol.
Marks = Callable[[str], int]

PERP_DECIMALS = 6
SPOT_DECIMALS = 8
#: Orders and fills of an account that are remembered.
ROWS_KEPT = 2000
FILLS_KEPT = 10_000


def divide(numerator: int, denominator: int) -> int:
    """Integer division towards zero, so that a payment and its opposite have the same size."""
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


@dataclass(slots=True)
class Position:
    """
    One perpetual position.

    Attributes:
        instrument: The perpetual.
        leverage: Chosen by the owner; decides the margin used.
        lots: Signed size.
        cost: Signed entry notional, 1e-6; unrealised profit is `lots * mark - cost`.
        funding_all, funding_open, funding_change: Funding paid (positive: paid) ever, since the position was opened
            and since it was last changed.
    """

    instrument: Instrument
    leverage: int
    lots: int = 0
    cost: int = 0
    funding_all: int = 0
    funding_open: int = 0
    funding_change: int = 0

    def fill(self, signed_lots: int, px: int) -> int:
        """Trade that much at that price; returns the realised profit, 1e-6."""
        pnl = 0
        closing = min(abs(signed_lots), abs(self.lots)) if self.lots * signed_lots < 0 else 0
        sign = 1 if signed_lots > 0 else -1
        if closing:
            released = self.cost if closing == abs(self.lots) else divide(self.cost * closing, abs(self.lots))
            pnl = -sign * px * closing - released
            self.cost -= released
            self.lots += sign * closing
        opening = abs(signed_lots) - closing
        if opening:
            if not self.lots:
                self.funding_open = 0
            self.lots += sign * opening
            self.cost += sign * opening * px
        self.funding_change = 0
        return pnl


@dataclass(slots=True)
class Clearinghouse:
    """
    One margin account: positions in the instruments of one pool share it.

    Attributes:
        pool: "" for the first one.
        token: Collateral.
        balance: Deposits, realised profits, fees and funding together, 1e-6.
        positions: Positions by symbol; a closed position stays with a size of 0.
    """

    pool: str
    token: str
    balance: int = 0
    positions: dict[str, Position] = field(default_factory=dict)

    def position(self, instrument: Instrument) -> Position:
        """The position in a perpetual, made when first needed."""
        found = self.positions.get(instrument.symbol)
        if found is None:
            found = self.positions[instrument.symbol] = Position(instrument, instrument.max_leverage)
        return found

    def open_positions(self) -> list[Position]:
        """Positions that are not flat, in the order they were first opened."""
        return [each for each in self.positions.values() if each.lots]

    def unrealised(self, marks: Marks) -> int:
        """Unrealised profit of all positions at their mark prices."""
        return sum(each.lots * marks(each.instrument.symbol) - each.cost for each in self.positions.values())

    def value(self, marks: Marks) -> int:
        """Account value: what it would be worth if everything were closed at the mark prices."""
        return self.balance + self.unrealised(marks)

    def notional(self, marks: Marks) -> int:
        """Sum of the sizes of all positions at their mark prices."""
        return sum(abs(each.lots) * marks(each.instrument.symbol) for each in self.positions.values())

    def margin_used(self, marks: Marks) -> int:
        """Initial margin of all positions."""
        return sum(margin_used(each, marks) for each in self.positions.values())

    def maintenance(self, marks: Marks) -> int:
        """Margin below which the account is liquidated: half the initial margin at the highest leverage."""
        return sum(maintenance(each, marks) for each in self.positions.values())


def margin_used(position: Position, marks: Marks) -> int:
    """Initial margin of one position."""
    return abs(position.lots) * marks(position.instrument.symbol) // position.leverage


def maintenance(position: Position, marks: Marks) -> int:
    """Maintenance margin of one position."""
    mark = marks(position.instrument.symbol)
    return abs(position.lots) * mark // (2 * position.instrument.max_leverage)


@dataclass(slots=True)
class SpotBalance:
    """One token: `total` and the cost of it in USDC, both 1e-8."""

    total: int = 0
    cost: int = 0


class Account:
    """One account, what it owns and what it did: facts of the past, oldest first."""

    def __init__(self, address: str, name: str, *, master: str | None = None) -> None:
        self.address = address
        self.name = name
        self.master = master
        self.clearinghouses: dict[str, Clearinghouse] = {}
        self.spot: dict[str, SpotBalance] = {}
        self.open: dict[int, OrderRecord] = {}
        self.orders: dict[int, OrderRecord] = {}
        self.fills: deque[Filled] = deque(maxlen=FILLS_KEPT)
        self.fundings: list[FundingPaid] = []
        self.ledger: list[Transferred | Liquidated] = []
        self.volume_taken = 0
        self.volume_made = 0

    def clearinghouse(self, instrument: Instrument) -> Clearinghouse:
        """The margin account that a perpetual is traded from."""
        pool = instrument.pool
        if pool not in self.clearinghouses:
            self.clearinghouses[pool] = Clearinghouse(pool, instrument.quote_name)
        return self.clearinghouses[pool]

    def balance(self, token: str) -> SpotBalance:
        """The spot balance of a token, made when first needed."""
        return self.spot.setdefault(token, SpotBalance())

    def held(self, token: str) -> int:
        """What open spot orders keep of a token, 1e-8."""
        return sum(hold(record, token) for record in self.open.values())

    def remember(self, record: OrderRecord) -> None:
        """Keep an order in the history, and the history bounded."""
        self.orders[record.order.oid] = record
        if len(self.orders) > ROWS_KEPT:
            for oid, old in self.orders.items():
                if not old.is_open:
                    del self.orders[oid]
                    break


def hold(record: OrderRecord, token: str) -> int:
    """What one open order keeps of a token, 1e-8: a buy its notional, a sell its size."""
    instrument, order = record.instrument, record.order
    if instrument.kind is not Kind.SPOT:
        return 0
    if order.is_buy:
        return order.px * order.lots if token == instrument.quote_name else 0
    return order.lots * tokens_per_lot(instrument) if token == instrument.base_name else 0


def tokens_per_lot(instrument: Instrument) -> int:
    """One lot of a spot pair in units of 1e-8 tokens."""
    lot: int = 10 ** (SPOT_DECIMALS - instrument.sz_decimals)
    return lot
