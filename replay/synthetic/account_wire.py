"""How the venue writes down accounts: orders, fills, funding, clearinghouse and spot state."""

from __future__ import annotations

from typing import Any

from replay.synthetic.account import (
    PERP_DECIMALS,
    SPOT_DECIMALS,
    Account,
    Clearinghouse,
    OrderRecord,
    Position,
    divide,
    maintenance,
    margin_used,
)
from replay.synthetic.coins import text
from replay.synthetic.market import Market
from replay.synthetic.metadata import Metadata

__all__ = ["AccountWire"]

_RATIO_DECIMALS = 10


def usd(value: int) -> str:
    """Perpetual money as text."""
    return text(value, PERP_DECIMALS)


def signed_sz(position: Position) -> str:
    """The signed size of a position."""
    return position.instrument.sz_text(position.lots)


class AccountWire:
    """Reads accounts and writes them as the venue would."""

    def __init__(self, market: Market, metadata: Metadata) -> None:
        self.market = market
        self.metadata = metadata

    # Orders --------------------------------------------------------------------------------------------------------

    @staticmethod
    def order(record: OrderRecord) -> dict[str, Any]:
        """An order as `orderUpdates` and `openOrders` have it; `sz` is what is left of it now."""
        order, instrument = record.order, record.instrument
        row: dict[str, Any] = {
            "coin": instrument.coin,
            "side": "B" if order.is_buy else "A",
            "limitPx": instrument.px_text(order.px),
            "sz": instrument.sz_text(order.lots),
            "oid": order.oid,
            "timestamp": order.time_ms,
            "origSz": instrument.sz_text(order.orig_lots),
        }
        if order.cloid is not None:
            row["cloid"] = order.cloid
        if order.reduce_only:
            row["reduceOnly"] = True
        return row

    @staticmethod
    def frontend_order(record: OrderRecord) -> dict[str, Any]:
        """An order as the venue's own front end gets it."""
        order, instrument, trigger = record.order, record.instrument, record.trigger
        condition = "N/A"
        if trigger is not None:
            condition = f"Price {'above' if trigger.above else 'below'} {instrument.px_text(trigger.px)}"
        return {
            "coin": instrument.coin,
            "side": "B" if order.is_buy else "A",
            "limitPx": instrument.px_text(order.px),
            "sz": instrument.sz_text(order.lots),
            "oid": order.oid,
            "timestamp": order.time_ms,
            "triggerCondition": condition,
            "isTrigger": trigger is not None,
            "triggerPx": "0.0" if trigger is None else instrument.px_text(trigger.px),
            "children": [],
            "isPositionTpsl": False,
            "reduceOnly": order.reduce_only,
            "orderType": record.order_type,
            "origSz": instrument.sz_text(order.orig_lots),
            "tif": None if trigger is not None else order.tif,
            "cloid": order.cloid,
        }

    def update(self, record: OrderRecord) -> dict[str, Any]:
        """One entry of `orderUpdates`."""
        return {"order": self.order(record), "status": record.status, "statusTimestamp": record.status_ms}

    def historical(self, record: OrderRecord) -> dict[str, Any]:
        """One entry of `historicalOrders`."""
        return {"order": self.frontend_order(record), "status": record.status, "statusTimestamp": record.status_ms}

    def open_orders(self, account: Account | None, dex: str, *, frontend: bool) -> list[dict[str, Any]]:
        """Open orders on a dex, newest first; those of the first dex include spot orders."""
        if account is None:
            return []
        write = self.frontend_order if frontend else self.order
        return [write(each) for each in reversed(account.open.values()) if each.instrument.dex == dex]

    def history(self, account: Account | None, rows: int) -> list[dict[str, Any]]:
        """Orders and their latest status, newest status first."""
        if account is None:
            return []
        records = sorted(account.orders.values(), key=lambda each: (each.status_ms, each.order.oid), reverse=True)
        return [self.historical(each) for each in records[:rows]]

    # Perpetuals ----------------------------------------------------------------------------------------------------

    def clearinghouse_state(self, account: Account | None, dex: str) -> dict[str, Any]:
        """Margin and positions on one dex."""
        house = Clearinghouse(dex, "USDC")
        if account is not None:
            house = account.clearinghouses.get(dex, house)
        market = self.market
        value, used = house.value(market), house.margin_used(market)
        summary = {
            "accountValue": usd(value),
            "totalNtlPos": usd(house.notional(market)),
            "totalRawUsd": usd(house.balance - sum(each.cost for each in house.positions.values())),
            "totalMarginUsed": usd(used),
        }
        return {
            "marginSummary": summary,
            "crossMarginSummary": dict(summary),
            "crossMaintenanceMarginUsed": usd(house.maintenance(market)),
            "withdrawable": usd(max(0, value - used)),
            "assetPositions": [
                {"type": "oneWay", "position": self._position(house, each)} for each in house.open_positions()
            ],
            "time": market.time_ms,
        }

    def _position(self, house: Clearinghouse, position: Position) -> dict[str, Any]:
        market, instrument = self.market, position.instrument
        mark = market.perps[instrument.coin].mark
        profit = position.lots * mark - position.cost
        staked = max(1, abs(position.cost) // position.leverage)
        # The entry price may have more digits than a price may; a tenth of a unit is enough to tell them apart.
        entry = abs(position.cost) * 10 // abs(position.lots)
        return {
            "coin": instrument.coin,
            "szi": signed_sz(position),
            "leverage": {"type": "cross", "value": position.leverage},
            "entryPx": text(entry, instrument.px_decimals + 1),
            "positionValue": usd(abs(position.lots) * mark),
            "unrealizedPnl": usd(profit),
            "returnOnEquity": text(divide(profit * 10**_RATIO_DECIMALS, staked), _RATIO_DECIMALS),
            "liquidationPx": self._liquidation_px(house, position),
            "marginUsed": usd(margin_used(position, market)),
            "maxLeverage": instrument.max_leverage,
            "cumFunding": {
                "allTime": usd(position.funding_all),
                "sinceOpen": usd(position.funding_open),
                "sinceChange": usd(position.funding_change),
            },
        }

    def _liquidation_px(self, house: Clearinghouse, position: Position) -> str | None:
        """Mark price of this coin at which the account falls to its maintenance margin; None if there is none."""
        market, instrument = self.market, position.instrument
        lots, twice = position.lots, 2 * instrument.max_leverage
        # value + lots * (px - mark) == others + |lots| * px / twice, solved for px.
        mark = market.perps[instrument.coin].mark
        others = house.maintenance(market) - maintenance(position, market)
        spare = house.value(market) - lots * mark - others
        slope = abs(lots) - twice * lots
        px = divide(spare * twice * 10, slope)
        return text(px, instrument.px_decimals + 1) if px > 0 else None

    # Spot ----------------------------------------------------------------------------------------------------------

    def spot_state(self, account: Account | None) -> dict[str, Any]:
        """Spot balances; `total` includes `hold`."""
        if account is None:
            return {"balances": []}
        tokens = self.metadata.tokens
        return {
            "balances": [
                {
                    "coin": token,
                    "token": tokens.index(token),
                    "total": text(balance.total, SPOT_DECIMALS),
                    "hold": text(account.held(token), SPOT_DECIMALS),
                    "entryNtl": text(balance.cost, SPOT_DECIMALS),
                }
                for token, balance in sorted(account.spot.items(), key=lambda each: tokens.index(each[0]))
            ]
        }
