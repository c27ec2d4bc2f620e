"""One subaccount of the synthetic dYdX: what became of its orders, in the venue's words, and what it holds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from replay.market.engine.accounts import PERP_DECIMALS, Account, Clearinghouse
from replay.market.engine.exchange import Exchange
from replay.market.engine.facts import (
    Accepted,
    Amended,
    Cancelled,
    Completed,
    Filled,
    OrderFact,
    Rejected,
    Triggered,
)
from replay.market.engine.orders import OrderRecord, Reason, Tif
from replay.serving.venues.dydx_v4.names import derived_id, iso
from replay.serving.venues.dydx_v4.synthetic.chain import Chain
from replay.serving.venues.dydx_v4.synthetic.listing import Listed, plain

__all__ = ["GOOD_BLOCKS", "Holding", "Subaccount", "money"]

#: How many blocks ahead a short-term order may be good for, at most.
GOOD_BLOCKS = 20
_ROWS_KEPT = 1000
_LONG_TERM_MS = 28 * 24 * 3600 * 1000
_REASON = "ORDER_REMOVAL_REASON_"
_REASONS = {
    Reason.REQUESTED: "USER_CANCELED",
    Reason.REDUCED: "REDUCE_ONLY_RESIZE",
    Reason.SELF_TRADE: "SELF_TRADE_ERROR",
    Reason.LIQUIDATED: "UNDERCOLLATERALIZED",
    Reason.UNFILLED: "IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK",
    Reason.NO_MATCH: "IMMEDIATE_OR_CANCEL_WOULD_REST_ON_BOOK",
    Reason.WOULD_CROSS: "POST_ONLY_WOULD_CROSS_MAKER_ORDER",
}


def money(value: int) -> str:
    """Collateral: integers of 1e-6."""
    return plain(value, PERP_DECIMALS)


@dataclass(slots=True)
class Holding:
    """A position since it was opened: sums in lots, `entry` and `exit` their notionals in 1e-6."""

    number: int = 0
    created_ms: int = 0
    created_height: int = 0
    opened: int = 0
    closed: int = 0
    entry: int = 0
    exit: int = 0
    largest: int = 0
    lots: int = 0
    is_short: bool = False
    liquidated: bool = False
    closed_ms: int | None = None

    @property
    def realized(self) -> int:
        """Profit of what was closed, against the average price of all that was opened."""
        gain = self.exit - self.entry * self.closed // self.opened if self.opened else 0
        return -gain if self.is_short else gain


@dataclass(slots=True)
class Subaccount:
    """
    A subaccount: a margin account of its own under its owner's address.

    Attributes:
        address: Address of the owner.
        number: Below 128 a parent; a child, which holds isolated positions, has its parent's plus 128.
        account: Account that trades.
        house: His margin account.
        orders: The latest row of each order, by the market's id.
        fills: Fills as rows of REST, newest last.
        transfers: Transfers as rows of REST, newest last.
        holdings: Holdings by the market's name of the perpetual.
        waiting: Status, and the reason of a removal, that the next block makes final, by the market's order id.
        matched: Fills of the market that the next block makes final.
        filled: Lots of each order whose fills are final, by the same id.
    """

    address: str
    number: int
    account: Account
    house: Clearinghouse
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    fills: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_ROWS_KEPT))
    transfers: list[dict[str, Any]] = field(default_factory=list)
    holdings: dict[str, Holding] = field(default_factory=dict)
    waiting: dict[int, tuple[str, str]] = field(default_factory=dict)
    matched: list[Filled] = field(default_factory=list)
    filled: dict[int, int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """As subscriptions name it."""
        return f"{self.address}/{self.number}"

    @property
    def uuid(self) -> str:
        """As rows name it."""
        return derived_id("subaccount", self.id)

    # Orders --------------------------------------------------------------------------------------------------------

    def is_short_term(self, record: OrderRecord) -> bool:
        """Whether an order lives in memory only: a maker's quotes, and whatever may not rest."""
        return record.trigger is None and (not record.order.tif.rests or self.account.name == "maker")

    def changed(self, fact: OrderFact, record: OrderRecord, listed: Listed, chain: Chain) -> list[dict[str, Any]]:
        """
        The rows that tell at once of what became of an order in the market; none of one that waits for a block, or that
        is reported to no one.
        """
        oid = record.order.oid
        is_short = self.is_short_term(record)
        match fact:
            case Accepted() | Amended():
                if is_short:
                    return [self.row(record, "BEST_EFFORT_OPENED", listed, chain)]
                self.waiting[oid] = ("OPEN" if record.trigger is None else "UNTRIGGERED", "")
            case Triggered():
                self.waiting[oid] = ("OPEN", "")
            case Completed():
                self.waiting[oid] = ("FILLED", "")
            case Cancelled() | Rejected():
                # An order that was refused, and was never reported, is nothing to report.
                if isinstance(fact, Rejected) and oid not in self.orders and oid not in self.waiting:
                    return []
                return self._ended(record, fact.reason, listed, chain)
            case _:
                pass
        return []

    def _ended(self, record: OrderRecord, reason: Reason, listed: Listed, chain: Chain) -> list[dict[str, Any]]:
        text = _REASON + _REASONS.get(reason, "USER_CANCELED")
        if self.is_short_term(record):
            return [self.row(record, "BEST_EFFORT_CANCELED", listed, chain, text)]
        self.waiting[record.order.oid] = ("CANCELED", text)
        return []

    def row(self, record: OrderRecord, status: str, listed: Listed, chain: Chain, reason: str = "") -> dict[str, Any]:
        """An order as the stream has it; it becomes the latest word about it."""
        order, trigger = record.order, record.trigger
        known = self.orders.get(order.oid, {})
        is_short = self.is_short_term(record)
        row: dict[str, Any] = {
            "id": derived_id("order", self.id, order.oid),
            "subaccountId": self.uuid,
            "clientId": str((int(order.client_id, 16) if order.client_id else order.oid) % 2**32),
            "clobPairId": str(listed.pair_id),
            "side": "BUY" if order.is_buy else "SELL",
            "size": listed.sz_text(order.orig_lots),
            "totalFilled": listed.sz_text(self.filled.get(order.oid, 0)),
            "price": listed.px_text(order.px),
            "type": "LIMIT" if trigger is None else "STOP_MARKET" if trigger.is_stop else "TAKE_PROFIT_MARKET",
            "status": status,
            "timeInForce": "GTT" if order.tif.rests else "IOC",
            "reduceOnly": order.reduce_only,
            "orderFlags": "0" if is_short else "64" if trigger is None else "32",
            "postOnly": order.tif is Tif.POST_ONLY,
            "ticker": listed.ticker,
            "clientMetadata": "0",
            "createdAtHeight": known.get("createdAtHeight", str(chain.height)),
        }
        if is_short:
            row["goodTilBlock"] = known.get("goodTilBlock", str(chain.height + GOOD_BLOCKS))
            if status.startswith("BEST_EFFORT"):
                row["totalOptimisticFilled"] = listed.sz_text(order.orig_lots - order.lots)
        else:
            row["goodTilBlockTime"] = known.get("goodTilBlockTime", iso(order.time_ms + _LONG_TERM_MS))
        if trigger is not None:
            row["triggerPrice"] = listed.px_text(trigger.px)
        if reason:
            row["removalReason"] = reason
        if not status.startswith("BEST_EFFORT"):
            row |= {"updatedAt": iso(chain.time_ms), "updatedAtHeight": str(chain.height)}
        self.orders[order.oid] = row
        if len(self.orders) > _ROWS_KEPT:
            for oid, old in self.orders.items():
                if old["status"] in ("FILLED", "CANCELED", "BEST_EFFORT_CANCELED"):
                    del self.orders[oid]
                    break
        return row

    def renewed(self, listed: dict[str, Listed], chain: Chain) -> list[dict[str, Any]]:
        """Short-term orders that rest and are about to expire, placed again under the same id for longer."""
        rows = []
        for oid, record in self.account.open.items():
            row = self.orders.get(oid)
            if row is None or row["status"] not in ("OPEN", "BEST_EFFORT_OPENED") or "goodTilBlock" not in row:
                continue
            if record.instrument.pool == self.house.pool and int(row["goodTilBlock"]) - chain.height <= 2:
                row["goodTilBlock"] = str(chain.height + GOOD_BLOCKS)
                rows.append(self.row(record, row["status"], listed[record.instrument.symbol], chain))
        return rows

    # Fills ---------------------------------------------------------------------------------------------------------

    def fill(self, fact: Filled, event_id: str, listed: Listed, chain: Chain) -> dict[str, Any]:
        """A fill as the stream has it."""
        px, lots = fact.trade.px, fact.trade.lots
        is_buy, oid, liquidation = fact.order.is_buy, fact.order.oid, fact.liquidation
        self._hold(listed, px, lots if is_buy else -lots, chain, is_forced=liquidation is not None)
        kind = "LIMIT"
        if liquidation is not None:
            kind = "LIQUIDATED" if liquidation.account == self.account.address else "LIQUIDATION"
        liquidity = "TAKER" if fact.is_taker else "MAKER"
        self.filled[oid] = self.filled.get(oid, 0) + lots
        fill = {
            "id": derived_id("fill", event_id, liquidity),
            "subaccountId": self.uuid,
            "side": "BUY" if is_buy else "SELL",
            "liquidity": liquidity,
            "type": kind,
            "clobPairId": str(listed.pair_id),
            "size": listed.sz_text(lots),
            "price": listed.px_text(px),
            "quoteAmount": listed.quote_text(px * lots),
            "eventId": event_id,
            "transactionHash": fact.trade.hash[2:].upper(),
            "createdAt": iso(chain.time_ms),
            "createdAtHeight": str(chain.height),
            "ticker": listed.ticker,
            "fee": money(fact.fee),
            "clientMetadata": "0",
        }
        if kind != "LIQUIDATED":
            fill["orderId"] = derived_id("order", self.id, oid)
        rest = {key: value for key, value in fill.items() if key not in ("eventId", "subaccountId", "clobPairId")}
        rest["market"] = rest.pop("ticker")
        self.fills.append(rest | {"marketType": "PERPETUAL", "affiliateRevShare": "0", "subaccountNumber": self.number})
        return fill

    def _hold(self, listed: Listed, px: int, signed: int, chain: Chain, *, is_forced: bool) -> None:
        """Keep the sums of a position; one that turns is closed and opened again."""
        holding = self.holdings.setdefault(listed.symbol, Holding())
        before = holding.lots
        closing = min(abs(before), abs(signed)) if before * signed < 0 else 0
        opening = abs(signed) - closing
        sign = 1 if signed > 0 else -1
        if closing:
            holding.closed += closing
            holding.exit += closing * px
            holding.lots += sign * closing
            holding.liquidated = is_forced
            holding.closed_ms = None if holding.lots else chain.time_ms
        if opening:
            if not holding.lots:
                fresh = Holding(holding.number + 1, chain.time_ms, chain.height, is_short=sign < 0)
                holding = self.holdings[listed.symbol] = fresh
            holding.opened += opening
            holding.entry += opening * px
            holding.lots += sign * opening
            holding.largest = max(holding.largest, abs(holding.lots))
            holding.liquidated = False

    # What it holds -------------------------------------------------------------------------------------------------

    def position(self, listed: Listed, mark: int) -> dict[str, Any]:
        """A position as REST and snapshots have it; open or closed."""
        holding = self.holdings[listed.symbol]
        market = self.house.positions.get(listed.symbol)
        entry = holding.entry // holding.opened if holding.opened else 0
        unrealized = holding.lots * (mark - entry)
        row: dict[str, Any] = {
            "market": listed.ticker,
            "status": "OPEN" if holding.lots else "LIQUIDATED" if holding.liquidated else "CLOSED",
            "side": "SHORT" if holding.is_short else "LONG",
            "size": listed.sz_text(holding.lots),
            "maxSize": listed.sz_text(holding.largest),
            "entryPrice": listed.px_text(entry),
            "exitPrice": listed.px_text(holding.exit // holding.closed) if holding.closed else None,
            "realizedPnl": money(holding.realized),
            "unrealizedPnl": money(unrealized),
            "createdAt": iso(holding.created_ms),
            "createdAtHeight": str(holding.created_height),
            "closedAt": None if holding.closed_ms is None else iso(holding.closed_ms),
            "sumOpen": listed.sz_text(holding.opened),
            "sumClose": listed.sz_text(holding.closed),
            "netFunding": money(-market.funding_open if market else 0),
            "subaccountNumber": self.number,
        }
        return row

    def position_update(self, listed: Listed, mark: int) -> dict[str, Any]:
        """The same as the stream has it."""
        row = self.position(listed, mark)
        for name in ("createdAt", "createdAtHeight", "closedAt"):
            del row[name]
        position_id = derived_id("position", self.id, listed.instrument.key, self.holdings[listed.symbol].number)
        return {"address": self.address, "positionId": position_id} | row

    def asset(self) -> dict[str, Any]:
        """The collateral."""
        return {
            "size": money(abs(self.house.balance)),
            "symbol": "USDC",
            "side": "SHORT" if self.house.balance < 0 else "LONG",
            "assetId": "0",
            "subaccountNumber": self.number,
        }

    def describe(
        self, exchange: Exchange, listed: dict[str, Listed], height: int, oracle: Callable[[str], int]
    ) -> dict[str, Any]:
        """The subaccount as REST and snapshots have it."""
        market = exchange.market
        value = self.house.value(market.mark)
        return {
            "address": self.address,
            "subaccountNumber": self.number,
            "equity": money(value),
            "freeCollateral": money(value - self.house.margin_used(market.mark)),
            "openPerpetualPositions": {
                listed[symbol].ticker: self.position(listed[symbol], oracle(symbol))
                for symbol, holding in self.holdings.items()
                if holding.lots
            },
            "assetPositions": {"USDC": self.asset()},
            "marginEnabled": True,
            "updatedAtHeight": str(height),
            "latestProcessedBlockHeight": str(height),
        }
