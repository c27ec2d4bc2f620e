"""
What of a subaccount's data is news: every fill, payment and transfer once, and of orders and states what has changed.

The venue repeats itself: in the snapshot after each subscribe, in REST, which is behind the stream, and in optimistic
and final words about one order. What was told is remembered by the venue's own ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from toolkit.account_messages import TERMINAL_ORDER_STATES, OrderState
from toolkit.messages import Side
from toolkit.venues.dydx_v4 import accounts_wire as wire
from toolkit.venues.dydx_v4.accounts_convert import WALLET_EQUITY, AccountMessages
from toolkit.venues.dydx_v4.accounts_status import PASSED, ending, order_state, status_text

__all__ = ["Account", "AccountNews", "Source"]

#: Where an order was read: a change of it, the list after a subscribe, or a REST reply, which is behind both.
Source = Literal["stream", "snapshot", "rest"]

FILLS_REMEMBERED: Final = 12_000
ORDERS_REMEMBERED: Final = 6_000
ROWS_REMEMBERED: Final = 6_000

#: What was told of a position that is closed.
_FLAT: Final = (0.0,)


class OrderMemory(msgspec.Struct):
    """
    What was last told of an order.

    Attributes:
        ticker: Its market.
        facts: Everything that makes a word about it news.
        state: As it is for us: a cancel under way stays one until it has ended.
        side: None while the venue has not said.
        size: Likewise.
        filled: What is filled in blocks, as the venue says.
        price: Limit price.
        good_til: The last block that may hold it; None for one that does not end with a block.
        reason: Why it was removed.
        is_short_term: Whether its end is a block.
    """

    ticker: str
    facts: tuple[str | float | int | None, ...] = ()
    state: OrderState = OrderState.OPEN
    side: Side | None = None
    size: float | None = None
    filled: float | None = None
    price: float | None = None
    good_til: int | None = None
    reason: str = ""
    is_short_term: bool = False

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL_ORDER_STATES


class Account(msgspec.Struct):
    """
    What later messages about one subaccount depend on.

    Attributes:
        name: `dydx1.../0`.
        orders: By id; ended ones are forgotten in the end.
        short: Short-term orders that have not ended, and their last blocks.
        fills: Ids that were told.
        rows: Likewise, of transfers, rewards and funding payments.
        positions: Values last told, by market.
        balances: Values last told, by wallet and asset.
        height: Block of the newest positions and collateral that were told.
    """

    name: str
    orders: dict[str, OrderMemory] = {}
    short: dict[str, int] = {}
    fills: dict[str, None] = {}
    rows: dict[str, None] = {}
    positions: dict[str, tuple[float | None, ...]] = {}
    balances: dict[str, tuple[float, ...]] = {}
    height: int = 0


class AccountNews:
    """
    Tells what one frame has news of, for one subaccount.

    Args:
        account: What was told before; it remembers what is told now.
        makes: Makes the messages.
        since: Height at which the account was first watched: what is not later is history. None: nothing is.
    """

    def __init__(self, account: Account, makes: AccountMessages, since: int | None) -> None:
        self.account = account
        self._makes = makes
        self._since = since

    def _is_history(self, height: int | None) -> bool:
        return height is not None and self._since is not None and height <= self._since

    # -- orders ------------------------------------------------------------------------------------------------

    def orders(self, rows: Iterable[wire.Order], source: Source, *, is_first: bool = False) -> None:
        """Words about orders that say something new; `is_first` for the list that begins it all."""
        for row in rows:
            self._order(row, source, is_first=is_first)
        excess = len(self.account.orders) - ORDERS_REMEMBERED
        if excess > 0:
            for order_id in [key for key, order in self.account.orders.items() if order.is_done][:excess]:
                del self.account.orders[order_id]

    def _order(self, row: wire.Order, source: Source, *, is_first: bool) -> None:
        known = self.account.orders.get(row.id) or OrderMemory(row.ticker)
        new = _merged(row, known)
        is_new = not known.facts
        if not is_new and not _says_more(new, known, source):
            return
        is_history = is_first
        if source == "rest":
            is_history = self._is_history(row.updatedAtHeight) and is_new
        status = status_text(row.status, row.reason)
        state = order_state(row.status, row.reason, new.filled, new.size)
        self._makes.order(self.account.name, row, state, status, new.side, is_history=is_history)
        self._remember(row.id, new)

    def _remember(self, order_id: str, order: OrderMemory) -> None:
        account = self.account
        if order.is_done:
            account.orders.pop(order_id, None)  # so that those that ended last are forgotten last
            account.short.pop(order_id, None)
        elif order.is_short_term and order.good_til is not None:
            account.short[order_id] = order.good_til
        account.orders[order_id] = order

    def passed(self, height: int) -> None:
        """The chain is at that height: short-term orders that no block can hold any more have ended."""
        for order_id in [key for key, good_til in self.account.short.items() if good_til < height]:
            order = self.account.orders[order_id]
            # One that was dropped before ended by that, one that was left alone by its own terms.
            is_cancel = order.state is OrderState.PENDING_CANCEL
            state = ending(order.reason, order.filled) if is_cancel else OrderState.EXPIRED
            is_history = self._is_history(order.good_til)
            self._makes.ended(
                self.account.name, order_id, order.ticker, state, PASSED, order.side, is_history=is_history
            )
            order.state = state
            self._remember(order_id, order)

    # -- fills and money ---------------------------------------------------------------------------------------

    def fills(self, rows: Iterable[wire.Fill], source: Source) -> int:
        """Fills that were not told, in the order given; returns how many."""
        count = 0
        for row in rows:
            if row.id not in self.account.fills:
                count += 1
                is_history = source == "rest" and self._is_history(row.createdAtHeight)
                self._makes.fill(self.account.name, row, is_history=is_history)
                _add(self.account.fills, row.id, FILLS_REMEMBERED)
        return count

    def transfers(self, rows: Iterable[wire.Transfer]) -> None:
        """
        Transfers that were not told.

        The stream gives them no id, so what they moved in which transaction is it. The numbers of the subaccounts do
        not come in: REST names parents where the stream names children.
        """
        for row in rows:
            asset = row.symbol or row.asset
            key = f"{row.createdAtHeight}/{row.type}/{asset}/{row.moved!r}/{row.transactionHash}"
            if self._is_new(key):
                self._makes.transfer(self.account.name, key, row, is_history=self._is_history(row.createdAtHeight))

    def reward(self, row: wire.Reward) -> None:
        """A reward that was not told; there is one in a block."""
        key = f"reward/{row.createdAtHeight}"
        if self._is_new(key):
            self._makes.reward(self.account.name, key, row, is_history=self._is_history(row.createdAtHeight))

    def fundings(self, rows: Iterable[wire.FundingRow]) -> None:
        """Funding payments that were not told; a market has one in a block."""
        for row in rows:
            if self._is_new(f"funding/{row.ticker}/{row.createdAtHeight}"):
                self._makes.funding(self.account.name, row, is_history=self._is_history(row.createdAtHeight))

    def _is_new(self, key: str) -> bool:
        is_new = key not in self.account.rows
        if is_new:
            _add(self.account.rows, key, ROWS_REMEMBERED)
        return is_new

    # -- states ------------------------------------------------------------------------------------------------

    def subaccount(self, whole: wire.Subaccount) -> None:
        """The whole subaccount: what it does not list is closed or spent."""
        if whole.equity is not None and whole.freeCollateral is not None:
            self._equity(whole.equity, whole.freeCollateral)
        self.assets(whole.assetPositions.values())
        held = {asset.symbol for asset in whole.assetPositions.values()}
        for asset, values in list(self.account.balances.items()):
            if asset != WALLET_EQUITY and asset not in held and any(values):
                self._collateral(asset, 0.0)
        self.positions(list(whole.openPerpetualPositions.values()))
        for market, known in list(self.account.positions.items()):
            if market not in whole.openPerpetualPositions and known[0]:
                self._makes.no_position(self.account.name, market)
                self.account.positions[market] = _FLAT

    def positions(self, rows: Sequence[wire.Position]) -> None:
        """Positions that are not what was told. One that turns is closed and opened in one frame, in any order."""
        for row in sorted(rows, key=lambda row: row.status == "OPEN"):
            size = row.signed_size
            values = (size, row.entryPrice, row.unrealizedPnl, row.netFunding) if size else _FLAT
            known = self.account.positions.get(row.market)
            if known != values:
                self._makes.position(self.account.name, row)
            self.account.positions[row.market] = values

    def assets(self, rows: Iterable[wire.AssetPosition]) -> None:
        """Collateral that is not what was told."""
        for row in rows:
            self._collateral(row.symbol, row.signed_size)

    def _collateral(self, asset: str, total: float) -> None:
        if self.account.balances.get(asset) != (total,):
            self.account.balances[asset] = (total,)
            self._makes.collateral(self.account.name, asset, total)

    def _equity(self, equity: float, free: float) -> None:
        known = self.account.balances.get(WALLET_EQUITY)
        # A child that was never used is not worth a row.
        if known != (equity, free) and (known is not None or equity or free):
            self.account.balances[WALLET_EQUITY] = (equity, free)
            self._makes.equity(self.account.name, equity, free)


def _merged(row: wire.Order, known: OrderMemory) -> OrderMemory:
    """What is known of an order with that word about it."""
    good_til = row.goodTilBlock if row.goodTilBlock is not None else known.good_til
    # The same id with a later last block: it was replaced, or the owner used its number again.
    is_again = bool(known.facts) and (good_til or 0) > (known.good_til or 0)
    size = row.size if row.size is not None else known.size
    filled = row.totalFilled if row.totalFilled is not None or is_again else known.filled
    state = order_state(row.status, row.reason, filled, size)
    reason = row.reason
    if known.state is OrderState.PENDING_CANCEL and state not in TERMINAL_ORDER_STATES and not is_again:
        # A word that was under way when it was dropped, or a fill in a block, does not bring it back.
        state, reason = known.state, reason or known.reason
    price = row.price if row.price is not None else known.price
    updated = row.updatedAt.isoformat() if row.updatedAt is not None else None
    return OrderMemory(
        row.ticker,
        (row.status, row.reason, filled, size, price, row.triggerPrice, good_til, updated),
        state,
        wire.SIDES[row.side] if row.side is not None else known.side,
        size,
        filled,
        price,
        good_til,
        reason,
        row.is_short_term or (row.orderFlags is None and known.is_short_term),
    )


def _says_more(new: OrderMemory, known: OrderMemory, source: Source) -> bool:
    """Whether a word about an order is not what is known already, nor older."""
    if new.facts == known.facts:
        return False
    if known.is_done and not new.is_done:
        return (new.good_til or 0) > (known.good_til or 0)
    if source == "rest":
        return (new.is_done and not known.is_done) or (new.filled or 0.0) > (known.filled or 0.0)
    return True


def _add(known: dict[str, Any], key: str, limit: int) -> None:
    known[key] = None
    if len(known) > limit:
        del known[next(iter(known))]
