"""
Positions and balances as the venue states them, kept fresh between its statements.

The venue's statement of a position is the truth as of its time. A fill that happened later says what the position is
now; one that happened before is in the statement already and changes nothing, however late it comes.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from toolkit.account_messages import Fill, PositionUpdate
from toolkit.exact import ZERO, exact, exact_product, exact_ratio, exact_sum
from toolkit.messages import BalanceUpdate, FundingInfo, Side

__all__ = ["BalanceBook", "Position", "PositionBook"]


class Position(msgspec.Struct):
    """
    A position in one instrument.

    Attributes:
        venue: Where it is.
        account: Whose it is.
        symbol: Instrument as the venue spells it.
        trading_pair: As we spell it.
        size: Signed, in base currency; 0 when closed.
        entry_price: Average entry price; None when closed.
        mark_price: The newest mark price heard, in quote currency.
        liquidation_price: As last stated.
        margin_used: As last stated.
        leverage: As last stated.
        margin_mode: As last stated.
        funding_paid: As last stated, since it was opened; positive: paid.
        ts_event: The venue's time of what it rests on, ns; 0 before the first.
    """

    venue: str
    account: str
    symbol: str
    trading_pair: str
    size: Decimal = ZERO
    entry_price: Decimal | None = None
    mark_price: float | None = None
    liquidation_price: float | None = None
    margin_used: float | None = None
    leverage: float | None = None
    margin_mode: str = ""
    funding_paid: float | None = None
    ts_event: int = 0

    @property
    def unrealized_pnl(self) -> Decimal | None:
        """Profit at the mark price, in the currency of settlement; None where a price is not known."""
        if not self.size:
            return ZERO
        if self.entry_price is None or self.mark_price is None:
            return None
        return exact_product(self.size, exact_sum(exact(self.mark_price), -self.entry_price))


_Key = tuple[str, str, str]


class PositionBook:
    """Positions by venue, account and symbol."""

    def __init__(self) -> None:
        self._positions: dict[_Key, Position] = {}
        self._by_market: dict[tuple[str, str], list[Position]] = {}

    @property
    def open(self) -> list[Position]:
        """Positions that are not flat, in the order they were first heard of."""
        return [position for position in self._positions.values() if position.size]

    def find(self, trading_pair: str, *, account: str | None = None) -> Position | None:
        """The position in a pair (or symbol); of several accounts, of the first unless `account` says which."""
        for position in self._positions.values():
            if trading_pair in (position.trading_pair, position.symbol) and account in (None, position.account):
                return position
        return None

    def on_position(self, update: PositionUpdate) -> Position | None:
        """Take in a statement; returns the position if it changed, None if something newer is known."""
        position = self._of(update)
        ts = update.ts_event if update.ts_event is not None else update.ts_recv
        if ts < position.ts_event:
            return None
        before = msgspec.structs.astuple(position)[4:-1]
        position.size = exact(update.size)
        position.entry_price = None if update.entry_price is None else exact(update.entry_price)
        position.mark_price = update.mark_price if update.mark_price is not None else position.mark_price
        position.liquidation_price = update.liquidation_price
        position.margin_used = update.margin_used
        position.leverage = update.leverage
        position.margin_mode = update.margin_mode
        position.funding_paid = update.funding_paid
        position.ts_event = ts
        return position if msgspec.structs.astuple(position)[4:-1] != before else None

    def on_fill(self, fill: Fill) -> Position | None:
        """Take in a fill that is newer than what is known; returns the position if it changed."""
        if fill.position_before is None or fill.is_history:
            return None
        position = self._of(fill)
        ts = fill.ts_event if fill.ts_event is not None else fill.ts_recv
        start = exact(fill.position_before)
        # Several fills of one block have one time: the one that continues what is known is the next of them.
        if ts < position.ts_event or (ts == position.ts_event and start != position.size):
            return None
        size = exact(fill.size) if fill.side is Side.BUY else -exact(fill.size)
        position.entry_price = _entry(start, size, exact(fill.price), position)
        position.size = exact_sum(start, size)
        position.ts_event = ts
        return position

    def on_funding(self, info: FundingInfo) -> None:
        """Take in a mark price."""
        if info.mark_price is not None:
            for position in self._by_market.get((info.venue, info.symbol), ()):
                position.mark_price = info.mark_price

    def _of(self, message: PositionUpdate | Fill) -> Position:
        key = (message.venue, message.account, message.symbol)
        position = self._positions.get(key)
        if position is None:
            position = Position(message.venue, message.account, message.symbol, message.trading_pair)
            self._positions[key] = position
            self._by_market.setdefault((message.venue, message.symbol), []).append(position)
        return position


def _entry(start: Decimal, size: Decimal, price: Decimal, position: Position) -> Decimal | None:
    """Entry price after a fill: averaged while it grows, kept while it shrinks, new when it turns."""
    end = exact_sum(start, size)
    if not end:
        return None
    if start * end < 0 or not start:
        return price
    if abs(end) < abs(start):
        return position.entry_price
    if position.entry_price is None or position.size != start:
        return None  # something is missing between what is known and this fill
    cost = exact_sum(exact_product(start, position.entry_price), exact_product(size, price))
    return exact_ratio(cost, end)


class BalanceBook:
    """The newest balance of each asset in each wallet."""

    def __init__(self) -> None:
        self._balances: dict[tuple[str, str, str, str], BalanceUpdate] = {}
        self._newest: dict[tuple[str, str, str, str], int] = {}

    @property
    def all(self) -> list[BalanceUpdate]:
        """Every balance as last stated, in the order they were first heard of."""
        return list(self._balances.values())

    def find(self, asset: str, *, wallet: str | None = None, account: str | None = None) -> BalanceUpdate | None:
        """The balance of an asset; of several wallets or accounts, the first unless it is said which."""
        for balance in self._balances.values():
            if balance.asset == asset and wallet in (None, balance.wallet) and account in (None, balance.account):
                return balance
        return None

    def on_balance(self, update: BalanceUpdate) -> bool:
        """Take in a statement; returns whether it is the newest."""
        key = (update.venue, update.account, update.wallet, update.asset)
        ts = update.ts_event if update.ts_event is not None else update.ts_recv
        if ts < self._newest.get(key, 0):
            return False
        self._newest[key] = ts
        self._balances[key] = update
        return True
