"""
Positions and balances as the venue states them, kept fresh between its statements.

Statements count in the order of receipt. In which order the venue made them is for its protocol to keep, which knows
by which connection each came; a clock, ours or the venue's, may be set.

Fills and statements may come by different ways, so between them the venue's time decides: a fill that happened after
a statement says what the position is now, one that happened before is in it already and changes nothing, however late
it comes. A statement from shortly before the newest fill is passed over, since the next one follows soon. One from long
before it cannot be that late: a clock was set, and the order of receipt counts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from toolkit.account_messages import Fill, PositionUpdate
from toolkit.accounts.exact_sums import ZERO, exact, exact_product, exact_ratio, exact_sum
from toolkit.borders import Shown
from toolkit.clock import NS_PER_S
from toolkit.errors import SymbolError
from toolkit.keys import PairKey, PairName, ambiguous, split
from toolkit.messages import BalanceUpdate, FundingInfo, FundingKind, Side

__all__ = ["BalanceBook", "Position", "PositionBook"]

#: How much older a statement may be than a fill that was received before it, ns; venues push states every few seconds.
LATE_NS_MAX: Final = 10 * NS_PER_S


class Position(msgspec.Struct):
    """
    A position in one instrument.

    Attributes:
        venue: Where it is.
        account: Account that owns it.
        symbol: Instrument as the venue spells it.
        trading_pair: Trading pair as we spell it.
        size: Signed, in base currency; 0 when closed.
        entry_price: Average entry price; None when closed.
        mark_price: The newest mark price received, in quote currency.
        liquidation_price: Liquidation price as last stated.
        margin_used: Margin used as last stated.
        leverage: Leverage as last stated.
        margin_mode: Margin mode as last stated.
        funding_paid: Funding since the position was opened, as last stated; positive: paid.
        ts_event: The venue's time of what it rests on, ns, or that of receipt where it gives none; 0 before the first.
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
    def key(self) -> PairKey:
        """Venue and trading pair."""
        return PairKey(self.venue, self.trading_pair)

    @property
    def unrealized_pnl(self) -> Decimal | None:
        """Profit at the mark price, in the currency of settlement; None where a price is not known."""
        if not self.size:
            return ZERO
        if self.entry_price is None or self.mark_price is None:
            return None
        return exact_product(self.size, exact_sum(exact(self.mark_price), -self.entry_price))


_Key = tuple[str, str, str]


class PositionBook(Shown):
    """Positions by venue, account and symbol."""

    def __init__(self) -> None:
        self._positions: dict[_Key, Position] = {}
        self._by_market: dict[tuple[str, str], list[Position]] = {}
        #: The venue's time of what a position rests on; None where it gave none.
        self._as_of: dict[_Key, int | None] = {}
        #: The venue's time of the newest fill that changed it.
        self._filled: dict[_Key, int] = {}

    def _shown(self) -> str:
        held = ", ".join(f"{position.size} {position.trading_pair}" for position in self.open)
        return f"open: {held or 'none'}"

    @property
    def open(self) -> list[Position]:
        """Positions that are not flat, in the order they first appeared."""
        return [position for position in self._positions.values() if position.size]

    def find(self, trading_pair: PairName, *, account: str | None = None, venue: str | None = None) -> Position | None:
        """
        The position in a pair (or symbol); of several accounts, of the first unless `account` says which.

        Raises SymbolError for a name that positions on several venues have, if `venue` does not say which.
        """
        said, name = split(trading_pair, venue)
        found = [
            position
            for position in self._positions.values()
            if name in (position.trading_pair, position.symbol)
            and account in (None, position.account)
            and said in (None, position.venue)
        ]
        venues = {position.venue for position in found}
        if len(venues) > 1:
            raise ambiguous(name, venues)
        return found[0] if found else None

    def on_position(self, update: PositionUpdate) -> Position | None:
        """Take in a statement; returns the position if it changed, None if a newer fill is known."""
        position, key = self._of(update)
        ts, filled = update.ts_event, self._filled.get(key)
        if ts is not None and filled is not None and filled - LATE_NS_MAX < ts < filled:
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
        position.ts_event = ts if ts is not None else update.ts_recv
        self._as_of[key] = ts
        self._filled.pop(key, None)
        return position if msgspec.structs.astuple(position)[4:-1] != before else None

    def on_fill(self, fill: Fill) -> Position | None:
        """Take in a fill that is newer than what is known; returns the position if it changed."""
        if fill.position_before is None or fill.is_history:
            return None
        position, key = self._of(fill)
        start, ts, as_of = exact(fill.position_before), fill.ts_event, self._as_of.get(key, 0)
        # Several fills of one block have one time: the one that continues what is known is the next of them. The same
        # where times are not given.
        continues = start == position.size
        if not continues and (ts is None or as_of is None or ts <= as_of):
            return None
        if ts is not None and as_of is not None and ts < as_of:
            return None
        size = exact(fill.size) if fill.side is Side.BUY else -exact(fill.size)
        position.entry_price = _entry(start, size, exact(fill.price), position)
        position.size = exact_sum(start, size)
        position.ts_event = ts if ts is not None else fill.ts_recv
        self._as_of[key] = ts
        if ts is not None:
            self._filled[key] = ts
        return position

    def on_funding(self, info: FundingInfo) -> None:
        """Take in a mark price. A rate that was charged has that of its hour, which says nothing of the present."""
        if info.mark_price is not None and info.kind is not FundingKind.SETTLED:
            for position in self._by_market.get((info.venue, info.symbol), ()):
                position.mark_price = info.mark_price

    def _of(self, message: PositionUpdate | Fill) -> tuple[Position, _Key]:
        key = (message.venue, message.account, message.symbol)
        position = self._positions.get(key)
        if position is None:
            position = Position(message.venue, message.account, message.symbol, message.trading_pair)
            self._positions[key] = position
            self._by_market.setdefault((message.venue, message.symbol), []).append(position)
        return position, key


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


class BalanceBook(Shown):
    """The balance of each asset in each wallet, as stated last: by receipt, whatever the clocks say."""

    def __init__(self) -> None:
        self._balances: dict[tuple[str, str, str, str], BalanceUpdate] = {}

    def _shown(self) -> str:
        return ", ".join(f"{each.total} {each.asset} ({each.wallet})" for each in self.all) or "empty"

    @property
    def all(self) -> list[BalanceUpdate]:
        """Every balance as last stated, in the order they first appeared."""
        return list(self._balances.values())

    def find(
        self, asset: str, *, wallet: str | None = None, account: str | None = None, venue: str | None = None
    ) -> BalanceUpdate | None:
        """
        The balance of an asset; of several wallets or accounts, the first unless it is said which.

        Raises SymbolError for an asset that accounts of several venues hold, if `venue` does not say which.
        """
        found = [
            balance
            for balance in self._balances.values()
            if balance.asset == asset
            and wallet in (None, balance.wallet)
            and account in (None, balance.account)
            and venue in (None, balance.venue)
        ]
        venues = sorted({balance.venue for balance in found})
        if len(venues) > 1:
            raise SymbolError(f"accounts of {', '.join(venues)} hold {asset}: say which venue")
        return found[0] if found else None

    def on_balance(self, update: BalanceUpdate) -> bool:
        """Take in a statement; returns whether it says anything else than the one before."""
        key = (update.venue, update.account, update.wallet, update.asset)
        before = self._balances.get(key)
        self._balances[key] = update
        return before is None or _amounts(before) != _amounts(update)


def _amounts(update: BalanceUpdate) -> tuple[float | None, ...]:
    return update.total, update.available, update.margin_used, update.maintenance_margin
