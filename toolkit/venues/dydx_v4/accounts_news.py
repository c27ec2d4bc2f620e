"""
What of a subaccount's data is news: every fill, payment and transfer once, and of orders and states what has changed.

The venue repeats itself: in the snapshot after each subscribe, in REST, which lags the stream, and in optimistic
and final words about one order. What was reported is remembered by the venue's own ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from toolkit.account_messages import OrderState
from toolkit.venues.dydx_v4 import accounts_wire as wire
from toolkit.venues.dydx_v4.accounts_convert import COLLATERAL, WALLET_EQUITY, AccountMessages
from toolkit.venues.dydx_v4.accounts_orders import (
    OrderMemory,
    Source,
    is_another,
    is_behind,
    learn,
    merged,
    says_more,
    successor,
)
from toolkit.venues.dydx_v4.accounts_status import PASSED, STATUSES, USED_AGAIN, ending, order_state, status_text
from toolkit.venues.dydx_v4.memory import remember
from toolkit.venues.dydx_v4.wire import time_ns

__all__ = ["ALL", "Account", "AccountNews", "Since"]

FILLS_REMEMBERED: Final = 12_000
ORDERS_REMEMBERED: Final = 6_000
ROWS_REMEMBERED: Final = 6_000

#: What was reported of a position that is closed.
_FLAT: Final = (0.0,)
#: In place of a market or an asset: all of them.
ALL: Final = ""


class Since(msgspec.Struct):
    """
    When a subaccount was first watched: at which block (None where nothing said), and by our clock, ns.

    What is not later is history.
    """

    height: int | None
    ts: int

    def covers(self, height: int | None, ts: int | None) -> bool:
        """Whether something in that block, or of that time where no block is known, is history."""
        if height is not None and self.height is not None:
            return height <= self.height
        return ts is not None and ts <= self.ts


class Held(msgspec.Struct):
    """A fill, and our monotonic clock when it came, ns."""

    row: wire.Fill
    mono: int


class Account(msgspec.Struct):
    """
    What later messages about one subaccount depend on.

    Attributes:
        name: `dydx1.../0`.
        orders: Orders by id; ended ones are forgotten in the end.
        short: Short-term orders that have not ended, and their last blocks.
        fills: Ids that were reported, and their blocks.
        held: Fills that only REST reported, in blocks after the newest word about their order, in the order of their
            blocks: the id may stand for another order by then, as the next word about it tells.
        transfers: Ids of transfers that were reported, and their blocks.
        rewards: Ids of rewards that were reported, and their blocks.
        payments: Ids of funding payments that were reported, and their blocks.
        positions: Values last reported, by market.
        balances: Values last reported, by wallet and asset.
        height: Block of the newest statement of all positions and collateral.
        heights: Blocks of newer ones, by market or asset.
        unstated: Markets and assets that something changed, or may have, of which no statement tells yet: by which
            block.
    """

    name: str
    orders: dict[str, OrderMemory] = {}
    short: dict[str, int] = {}
    fills: dict[str, int] = {}
    held: list[Held] = []
    transfers: dict[str, int] = {}
    rewards: dict[str, int] = {}
    payments: dict[str, int] = {}
    positions: dict[str, tuple[float | None, ...]] = {}
    balances: dict[str, tuple[float, ...]] = {}
    height: int = 0
    heights: dict[str, int] = {}
    unstated: dict[str, int] = {}

    def height_of(self, name: str) -> int:
        """Block of the newest statement about a market or an asset."""
        return max(self.height, self.heights.get(name, 0))

    def changed(self, name: str, height: int) -> None:
        """Something in that block changed a market's position or an asset: true from the next statement on."""
        if height > self.height_of(name):
            self.unstated[name] = max(height, self.unstated.get(name, 0))

    def doubt(self, name: str, height: int) -> None:
        """A statement about it, of that block, could not be read: the next one counts."""
        self.unstated[name] = max(height, self.unstated.get(name, 0))

    def stated(self, name: str, height: int) -> None:
        """A statement of that block was reported."""
        self.heights[name] = height
        if self.unstated.get(name, height + 1) <= height:
            del self.unstated[name]

    def all_stated(self, height: int) -> None:
        """Everything was stated, as of that block."""
        self.height = max(height, self.height)
        self.heights = {name: each for name, each in self.heights.items() if each > self.height}
        self.unstated = {name: each for name, each in self.unstated.items() if each > height}


class AccountNews:
    """
    Tells what one frame has news of, for one subaccount.

    Args:
        account: State as it was reported before; it remembers what is reported now.
        makes: Makes the messages.
        since: When the account was first watched. None: nothing is history.
        chain: Height of the chain, as far as it is known.
        is_held: Whether ids must not be forgotten, because older pages are still to come.
    """

    def __init__(
        self,
        account: Account,
        makes: AccountMessages,
        since: Since | None,
        chain: int = 0,
        *,
        is_held: bool = False,
    ) -> None:
        self.account = account
        self._makes = makes
        self._since = since
        self._chain = chain
        self._is_held = is_held

    def _is_history(self, height: int | None, ts: int | None) -> bool:
        return self._since is not None and self._since.covers(height, ts)

    # -- orders ------------------------------------------------------------------------------------------------

    def orders(
        self, rows: Iterable[wire.Order], source: Source, height: int | None = None, *, is_first: bool = False
    ) -> None:
        """Words about orders that say something new; `is_first` for the list that begins it all."""
        for row in rows:
            self._order(row, source, height, is_first=is_first)
            if self.account.held:
                self._decide(row.id, row.updatedAtHeight if source == "rest" else height)
        excess = len(self.account.orders) - ORDERS_REMEMBERED
        if excess > 0:
            gone = [key for key, order in self.account.orders.items() if order.is_done or not order.facts]
            for order_id in gone[:excess]:
                del self.account.orders[order_id]

    def _order(self, row: wire.Order, source: Source, height: int | None, *, is_first: bool) -> None:
        known = self.account.orders.get(row.id) or OrderMemory(row.ticker)
        if is_behind(row, known, source, height):
            self._outrun(row, known, source, height)
            return
        if is_another(row, known, source, height, self._chain):
            if known.facts and not known.is_done:
                # It ended while the connection was down; its fills tell the rest.
                has_passed = known.good_til is not None and known.good_til < self._chain
                state = _ending(known) if has_passed else order_state("CANCELED", "", known.filled, known.size)
                self._ended(row.id, known, state, PASSED if has_passed else USED_AGAIN, is_history=False)
            waiting = [held.row.createdAtHeight for held in self.account.held if held.row.orderId == row.id]
            known = successor(row, known, height if height is not None else self._chain, waiting)
        new = merged(row, known, source, height)
        is_new = not known.facts
        if is_new and source == "stream":
            new.first_seq = self._makes.seq
        if is_new and source == "rest" and row.status not in STATUSES:
            return  # it may be over or not
        if not is_new and not says_more(new, known, source):
            learn(row, known)
            return
        is_history = is_first
        if source == "rest":
            updated = time_ns(row.updatedAt) if row.updatedAt is not None else None
            is_history = is_new and self._is_history(row.updatedAtHeight, updated)
        status = status_text(row.status, row.reason)
        self._makes.order(
            self.account.name, row, new.state, status, new.side, is_history=is_history, generation=new.generation
        )
        self._remember(row.id, new)

    def _outrun(self, row: wire.Order, known: OrderMemory, source: Source, height: int | None) -> None:
        """A word of the stream about an order whose id stands for another one by now, as REST has said before it."""
        if source != "stream" or not known.generation:
            return
        state = order_state(row.status, row.reason, row.totalFilled, row.size)
        if state is OrderState.FILLED:  # its end was reported, and no more
            side = wire.SIDES.get(row.side or "")
            status = status_text(row.status, row.reason)
            generation = min(known.generation_at(height), known.generation - 1)
            self._makes.order(
                self.account.name, row, state, status, side, is_history=False, generation=max(generation, 0)
            )

    def _ended(self, order_id: str, order: OrderMemory, state: OrderState, status: str, *, is_history: bool) -> None:
        self._makes.ended(
            self.account.name,
            order_id,
            order.ticker,
            state,
            status,
            order.side,
            is_history=is_history,
            generation=order.generation,
        )

    def _remember(self, order_id: str, order: OrderMemory) -> None:
        account = self.account
        account.short.pop(order_id, None)
        if order.is_done:
            account.orders.pop(order_id, None)  # so that those that ended last are forgotten last
        elif order.is_short_term and order.good_til is not None:
            account.short[order_id] = order.good_til
        account.orders[order_id] = order

    def passed(self, height: int, owed_seq: int) -> None:
        """
        The chain is at that height: short-term orders that no block can hold any more have ended.

        Of those that were seen before the frame `owed_seq` something may be missing yet: they go on. 0: of none.
        """
        for order_id in [key for key, good_til in self.account.short.items() if good_til < height]:
            order = self.account.orders[order_id]
            if order.first_seq < owed_seq or any(held.row.orderId == order_id for held in self.account.held):
                continue
            state = _ending(order)
            self._ended(order_id, order, state, PASSED, is_history=self._is_history(order.good_til, None))
            order.state = state
            order.is_inferred = True
            self._remember(order_id, order)

    # -- fills and money ---------------------------------------------------------------------------------------

    def fills(self, rows: Iterable[wire.Fill], source: Source) -> int:
        """Fills that were not reported, in the order given; returns how many."""
        count = 0
        account = self.account
        waiting = {held.row.id for held in account.held}
        for row in rows:
            if row.id in account.fills or (source == "rest" and row.id in waiting):
                continue
            count += 1
            is_news = source == "rest" and not self._is_history(row.createdAtHeight, time_ns(row.createdAt))
            if is_news:
                # The stream did not report it, so nothing says that it reported what it changed.
                account.changed(row.symbol, row.createdAtHeight)
                account.changed(COLLATERAL, row.createdAtHeight)
            if is_news and self._is_undecided(row):
                account.held.append(Held(row, self._makes.mono))
            else:
                self._fill(row, source)
        return count

    def _fill(self, row: wire.Fill, source: Source) -> None:
        is_history = source == "rest" and self._is_history(row.createdAtHeight, time_ns(row.createdAt))
        self._makes.fill(self.account.name, row, is_history=is_history, generation=self._generation(row))
        remember(self.account.fills, row.id, row.createdAtHeight, FILLS_REMEMBERED, is_held=self._is_held)

    def _is_undecided(self, row: wire.Fill) -> bool:
        order = self.account.orders.get(row.orderId) if row.orderId is not None else None
        return order is not None and not order.is_decided(row.createdAtHeight)

    def _decide(self, order_id: str, height: int | None) -> None:
        """A word about an order came, as of that block: tell the fills up to it that waited for it."""
        until = max(height or 0, self.account.orders[order_id].height or 0) if order_id in self.account.orders else 0
        self._emit_held(lambda held: held.row.orderId == order_id and held.row.createdAtHeight <= until)

    def decide_all(self, since_mono: int) -> None:
        """Tell the fills that wait for a word about their order, unless they came after `since_mono`."""
        mono = self._makes.mono
        # One of another process has another clock.
        self._emit_held(lambda held: not since_mono < held.mono <= mono)

    def _emit_held(self, is_decided: Callable[[Held], bool]) -> None:
        account = self.account
        decided = [held.row for held in account.held if is_decided(held)]
        if not decided:
            return
        account.held = [held for held in account.held if not is_decided(held)]
        for row in decided:
            if row.id not in account.fills:
                self._fill(row, "rest")

    def _generation(self, row: wire.Fill) -> int:
        """Which order of its id a fill is of. Of one that was not seen yet, the block is remembered."""
        if row.orderId is None:
            return 0
        order = self.account.orders.get(row.orderId)
        if order is None:
            order = self.account.orders[row.orderId] = OrderMemory(row.symbol)
        if not order.facts:
            order.height = max(order.height or 0, row.createdAtHeight)
        return order.generation_of(row)

    def transfers(self, rows: Iterable[wire.Transfer], source: Source) -> None:
        """
        Transfers that were not reported.

        The stream gives them no id, so what they moved in which transaction is it. The numbers of the subaccounts do
        not come in: REST names parents where the stream names children.
        """
        for row in rows:
            asset, height = row.symbol or row.asset, row.createdAtHeight
            key = f"{height}/{row.type}/{asset}/{row.moved!r}/{row.transactionHash}"
            if self._is_new(self.account.transfers, key, height):
                is_history = self._is_history(height, time_ns(row.createdAt))
                self._makes.transfer(self.account.name, key, row, is_history=is_history)
                if source == "rest" and not is_history:
                    self.account.changed(asset, height)

    def reward(self, row: wire.Reward) -> None:
        """A reward that was not reported; there is one in a block."""
        height = row.createdAtHeight
        key = f"reward/{height}"
        if self._is_new(self.account.rewards, key, height):
            is_history = self._is_history(height, time_ns(row.createdAt))
            self._makes.reward(self.account.name, key, row, is_history=is_history)

    def fundings(self, rows: Iterable[wire.FundingRow]) -> int:
        """Funding payments that were not reported, a market has one in a block; returns how many."""
        count = 0
        for row in rows:
            height = row.createdAtHeight
            if self._is_new(self.account.payments, f"funding/{row.ticker}/{height}", height):
                count += 1
                is_history = self._is_history(height, time_ns(row.createdAt))
                self._makes.funding(self.account.name, row, is_history=is_history)
        return count

    def _is_new(self, known: dict[str, int], key: str, height: int) -> bool:
        is_new = key not in known
        if is_new:
            remember(known, key, height, ROWS_REMEMBERED, is_held=self._is_held)
        return is_new

    # -- states ------------------------------------------------------------------------------------------------

    def subaccount(self, whole: wire.Subaccount, height: int) -> None:
        """
        The whole subaccount as of a block: what it does not list is closed or spent.

        It says nothing of a market or an asset of which something newer was reported; nor where it cannot be read.
        """
        account = self.account
        is_newest = height >= max([account.height, *account.heights.values()])
        if whole.equity is not None and whole.freeCollateral is not None and is_newest:
            self._equity(whole.equity, whole.freeCollateral)
        self.assets(whole.assetPositions.values(), height, "rest")
        self.positions(list(whole.openPerpetualPositions.values()), height, "rest")
        if ALL not in whole.lost:
            held = {*whole.lost, *(asset.symbol for asset in whole.assetPositions.values())}
            for asset, values in list(account.balances.items()):
                if asset != WALLET_EQUITY and asset not in held and any(values) and height >= account.height_of(asset):
                    self._collateral(asset, 0.0)
            listed = {*whole.lost, *(position.market for position in whole.openPerpetualPositions.values())}
            for market, known in list(account.positions.items()):
                if market not in listed and known[0] and height >= account.height_of(market):
                    self._makes.no_position(account.name, market)
                    account.positions[market] = _FLAT
            account.all_stated(height)
        for name in whole.lost:
            account.doubt(name, height)

    def _is_behind(self, name: str, height: int, source: Source, least: int | None) -> bool:
        """
        Whether a statement is older than what is known. The stream's own come in their order, whatever they say.

        One without a height, of block `least` at the earliest, may be older than what REST said: then the next one counts.
        """
        if source != "stream":
            return height < self.account.height_of(name)
        if least is None:
            return height < self.account.height
        is_behind = least < self.account.height
        if is_behind:
            self.account.doubt(name, height)
        return is_behind

    def positions(
        self, rows: Sequence[wire.Position], height: int, source: Source, *, least: int | None = None
    ) -> None:
        """
        Positions that are not what was reported. One that turns is closed and opened in one frame, in any order.

        Args:
            rows: Statements about them.
            height: Block that the statement is of; at the latest, where `least` is given.
            source: Where it was read.
            least: Earliest block that the statement may be of, where none was named.
        """
        for row in sorted(rows, key=lambda row: not row.is_over):
            if self._is_behind(row.market, height, source, least):
                continue
            size = row.signed_size
            values = (size, row.entryPrice, row.unrealizedPnl, row.netFunding) if size else _FLAT
            known = self.account.positions.get(row.market)
            if known != values:
                self._makes.position(self.account.name, row)
            self.account.positions[row.market] = values
            self.account.stated(row.market, height)

    def assets(
        self, rows: Iterable[wire.AssetPosition], height: int, source: Source, *, least: int | None = None
    ) -> None:
        """Collateral that is not what was reported; arguments as for `positions`."""
        for row in rows:
            if not self._is_behind(row.symbol, height, source, least):
                self._collateral(row.symbol, row.signed_size)
                self.account.stated(row.symbol, height)

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


def _ending(order: OrderMemory) -> OrderState:
    """How an order ended by its last block: one that was dropped before by that, one left alone by its own terms."""
    is_cancel = order.state is OrderState.PENDING_CANCEL
    return ending(order.reason, order.filled) if is_cancel else OrderState.EXPIRED
