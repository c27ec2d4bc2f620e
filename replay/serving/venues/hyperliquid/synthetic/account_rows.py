"""How the venue writes down accounts: orders, fills, funding, transfers, clearinghouse and spot state."""

from __future__ import annotations

from typing import Any, Final

from replay.market.engine.accounts import (
    PERP_DECIMALS,
    SPOT_DECIMALS,
    Account,
    Clearinghouse,
    Position,
    divide,
    maintenance,
    margin_used,
)
from replay.market.engine.facts import (
    Accepted,
    Amended,
    Cancelled,
    Completed,
    Filled,
    FundingPaid,
    Liquidated,
    OrderFact,
    Rejected,
    TransferKind,
    Transferred,
    Triggered,
)
from replay.market.engine.instruments import Instrument, Kind
from replay.market.engine.matching import ZERO_HASH
from replay.market.engine.orders import OrderRecord, OrderView, Origin, Reason, Tif
from replay.serving.venues.hyperliquid.fills import text
from replay.serving.venues.hyperliquid.synthetic.listing import Listed, Metadata
from replay.serving.venues.hyperliquid.synthetic.rows import rate_text
from replay.synthetic.market import Market
from toolkit.account_messages import OrderState

__all__ = ["AccountRows", "usd"]

_RATIO_DECIMALS = 10
_TIFS: Final = {Tif.GTC: "Gtc", Tif.IOC: "Ioc", Tif.POST_ONLY: "Alo"}
_ORIGINS: Final = {Origin.MARKET: "FrontendMarket", Origin.LIQUIDATION: "LiquidationMarket"}
_REFUSED: Final = {
    Reason.TICK: "tickRejected",
    Reason.NOTIONAL: "minTradeNtlRejected",
    Reason.BALANCE: "insufficientSpotBalanceRejected",
    Reason.MARGIN: "perpMarginRejected",
    Reason.NOTHING_TO_REDUCE: "reduceOnlyRejected",
    Reason.WOULD_CROSS: "badAloPxRejected",
}
_CANCELLED: Final = {
    Reason.REQUESTED: "canceled",
    Reason.UNFILLED: "canceled",
    Reason.NO_MATCH: "iocCancelRejected",
    Reason.SELF_TRADE: "selfTradeCanceled",
    Reason.REDUCED: "reduceOnlyCanceled",
    Reason.LIQUIDATED: "liquidatedCanceled",
}

Row = dict[str, Any]


def usd(value: int) -> str:
    """Perpetual money as text."""
    return text(value, PERP_DECIMALS)


def _refused(instrument: Instrument, reason: Reason) -> str:
    if reason is Reason.NOTIONAL and instrument.kind is Kind.SPOT:
        return "minTradeSpotNtlRejected"
    return _REFUSED[reason]


def _direction(before: int, after: int) -> str:
    """What a fill did to a position, in the venue's words."""
    if before * after < 0:
        return "Long > Short" if before > 0 else "Short > Long"
    side = "Long" if (before or after) > 0 else "Short"
    return f"{'Open' if abs(after) > abs(before) else 'Close'} {side}"


class AccountRows:
    """Reads accounts and facts, and writes them as the venue would."""

    def __init__(self, market: Market, metadata: Metadata) -> None:
        self.market = market
        self.metadata = metadata

    def _listed(self, instrument: Instrument) -> Listed:
        return self.metadata.by_symbol[instrument.symbol]

    # Orders --------------------------------------------------------------------------------------------------------

    def order(self, order: OrderView) -> Row:
        """An order as `orderUpdates` and `openOrders` have it; `sz` is what was left of it."""
        listed = self._listed(order.instrument)
        row: Row = {
            "coin": listed.coin,
            "side": "B" if order.is_buy else "A",
            "limitPx": listed.px_text(order.px),
            "sz": listed.sz_text(order.lots),
            "oid": order.oid,
            "timestamp": order.time_ms,
            "origSz": listed.sz_text(order.orig_lots),
        }
        if order.client_id is not None:
            row["cloid"] = order.client_id
        if order.reduce_only:
            row["reduceOnly"] = True
        return row

    def frontend_order(self, order: OrderView) -> Row:
        """An order as the venue's own front end gets it."""
        listed, trigger = self._listed(order.instrument), order.trigger
        condition, kind = "N/A", "Limit" if order.origin is Origin.LIMIT else "Market"
        if trigger is not None:
            condition = f"Price {'above' if trigger.above else 'below'} {listed.px_text(trigger.px)}"
            kind = "Stop Market" if trigger.is_stop else "Take Profit Market"
        return {
            "coin": listed.coin,
            "side": "B" if order.is_buy else "A",
            "limitPx": listed.px_text(order.px),
            "sz": listed.sz_text(order.lots),
            "oid": order.oid,
            "timestamp": order.time_ms,
            "triggerCondition": condition,
            "isTrigger": trigger is not None,
            "triggerPx": "0.0" if trigger is None else listed.px_text(trigger.px),
            "children": [],
            "isPositionTpsl": False,
            "reduceOnly": order.reduce_only,
            "orderType": kind,
            "origSz": listed.sz_text(order.orig_lots),
            "tif": None if trigger is not None else _ORIGINS.get(order.origin, _TIFS[order.tif]),
            "cloid": order.client_id,
        }

    def statuses(self, fact: OrderFact) -> list[tuple[OrderView, str]]:
        """The orders that a fact is of and their statuses in the venue's words; none of a fill that was not the last."""
        instrument = fact.order.instrument
        match fact:
            case Accepted():
                return [(fact.order, "open")]
            case Triggered():
                return [(fact.order, "triggered")]
            case Completed():
                return [(fact.order, "filled")]
            case Rejected():
                return [(fact.order, _refused(instrument, fact.reason))]
            case Cancelled():
                return [(fact.order, _CANCELLED[fact.reason])]
            case Amended():
                # The venue modifies by cancelling and placing again.
                return [(fact.before, "canceled"), (fact.order, "open")]
            case _:
                return []

    def updates(self, fact: OrderFact) -> list[Row]:
        """Entries of `orderUpdates`."""
        return [
            {"order": self.order(order), "status": status, "statusTimestamp": fact.time_ms}
            for order, status in self.statuses(fact)
        ]

    def historical_updates(self, fact: OrderFact) -> list[Row]:
        """Entries of `userHistoricalOrders`."""
        return [
            {"order": self.frontend_order(order), "status": status, "statusTimestamp": fact.time_ms}
            for order, status in self.statuses(fact)
        ]

    def status(self, record: OrderRecord) -> str:
        """What the venue calls the state of an order."""
        if record.is_triggered:
            return "triggered"
        match record.state, record.reason:
            case OrderState.REJECTED, Reason() as reason:
                return _refused(record.instrument, reason)
            case OrderState.CANCELLED, Reason() as reason:
                return _CANCELLED[reason]
            case _:
                return record.state.value

    def historical(self, record: OrderRecord) -> Row:
        """One entry of `historicalOrders`."""
        return {
            "order": self.frontend_order(record.view),
            "status": self.status(record),
            "statusTimestamp": record.state_ms,
        }

    def open_orders(self, account: Account | None, dex: str, *, frontend: bool) -> list[Row]:
        """Open orders on a dex, newest first; those of the first dex include spot orders."""
        if account is None:
            return []
        write = self.frontend_order if frontend else self.order
        return [write(each.view) for each in reversed(account.open.values()) if each.instrument.pool == dex]

    def history(self, account: Account | None, rows: int) -> list[Row]:
        """Orders and their latest status, newest status first."""
        if account is None:
            return []
        records = sorted(account.orders.values(), key=lambda each: (each.state_ms, each.order.oid), reverse=True)
        return [self.historical(each) for each in records[:rows]]

    # Fills and money -----------------------------------------------------------------------------------------------

    def fill(self, account: str, fact: Filled) -> Row:
        """One entry of `userFills`; `account` is whose fill it is."""
        order, trade = fact.order, fact.trade
        listed, is_spot = self._listed(order.instrument), order.instrument.kind is Kind.SPOT
        decimals = SPOT_DECIMALS if is_spot else PERP_DECIMALS
        direction = ("Buy" if order.is_buy else "Sell") if is_spot else _direction(fact.before, fact.after)
        liquidation = fact.liquidation
        if liquidation is not None and liquidation.account == account:
            direction = f"Liquidated Cross {direction.rpartition(' ')[2]}"
        row: Row = {
            "coin": listed.coin,
            "px": listed.px_text(trade.px),
            "sz": listed.sz_text(trade.lots),
            "side": "B" if order.is_buy else "A",
            "time": trade.time_ms,
            "startPosition": text(fact.before, decimals) if is_spot else listed.sz_text(fact.before),
            "dir": direction,
            "closedPnl": text(fact.pnl, decimals),
            "hash": trade.hash,
            "oid": order.oid,
            "crossed": fact.is_taker,
            "fee": text(fact.fee, decimals),
            "tid": trade.tid,
        }
        if order.client_id is not None:
            row["cloid"] = order.client_id
        if liquidation is not None:
            row["liquidation"] = {
                "liquidatedUser": liquidation.account,
                "markPx": listed.px_text(liquidation.mark),
                "method": "market",
            }
        return row | {"feeToken": fact.fee_token, "twapId": None}

    def fills(self, account: Account | None) -> list[Row]:
        """Fills of an account, oldest first."""
        return [] if account is None else [self.fill(account.address, each) for each in account.fills]

    def funding(self, fact: FundingPaid) -> Row:
        """One entry of `userFundings`."""
        listed = self._listed(fact.instrument)
        return {
            "time": fact.time_ms,
            "coin": listed.coin,
            "usdc": usd(-fact.amount),
            "szi": listed.sz_text(fact.lots),
            "fundingRate": rate_text(fact.rate),
            "nSamples": None,
        }

    def ledger(self, fact: Transferred | Liquidated) -> Row:
        """One entry of `userNonFundingLedgerUpdates`."""
        if isinstance(fact, Transferred):
            return {"time": fact.time_ms, "hash": fact.hash, "delta": self._transfer(fact)}
        sizes = [
            {"coin": self._listed(instrument).coin, "szi": self._listed(instrument).sz_text(lots)}
            for instrument, lots in fact.positions
        ]
        delta = {
            "type": "liquidation",
            "liquidatedNtlPos": usd(fact.notional),
            "accountValue": usd(fact.value),
            "leverageType": "Cross",
            "liquidatedPositions": sizes,
        }
        return {"time": fact.time_ms, "hash": ZERO_HASH, "delta": delta}

    @staticmethod
    def _transfer(fact: Transferred) -> Row:
        amount = usd(fact.amount)
        match fact.kind:
            case TransferKind.DEPOSIT:
                return {"type": "deposit", "usdc": amount}
            case TransferKind.TO_SPOT:
                return {"type": "accountClassTransfer", "usdc": amount, "toPerp": False}
            case TransferKind.BETWEEN_ACCOUNTS:
                return {
                    "type": "subAccountTransfer",
                    "usdc": amount,
                    "user": fact.sender,
                    "destination": fact.recipient,
                }

    @staticmethod
    def liquidation(fact: Liquidated) -> Row:
        """The event of `userEvents`."""
        return {
            "lid": fact.number,
            "liquidator": fact.liquidator,
            "liquidated_user": fact.account,
            "liquidated_ntl_pos": usd(fact.notional),
            "liquidated_account_value": usd(fact.value),
        }

    def system_cancel(self, order: OrderView) -> Row:
        """One entry of the `nonUserCancel` of `userEvents`."""
        return {"coin": self._listed(order.instrument).coin, "oid": order.oid}

    # Perpetuals ----------------------------------------------------------------------------------------------------

    def clearinghouse_state(self, account: Account | None, dex: str) -> Row:
        """Margin and positions on one dex."""
        house = Clearinghouse(dex, "USDC")
        if account is not None:
            house = account.clearinghouses.get(dex, house)
        marks = self.market.mark
        value, used = house.value(marks), house.margin_used(marks)
        summary = {
            "accountValue": usd(value),
            "totalNtlPos": usd(house.notional(marks)),
            "totalRawUsd": usd(house.balance - sum(each.cost for each in house.positions.values())),
            "totalMarginUsed": usd(used),
        }
        return {
            "marginSummary": summary,
            "crossMarginSummary": dict(summary),
            "crossMaintenanceMarginUsed": usd(house.maintenance(marks)),
            "withdrawable": usd(max(0, value - used)),
            "assetPositions": [
                {"type": "oneWay", "position": self._position(house, each)} for each in house.open_positions()
            ],
            "time": self.market.time_ms,
        }

    def _position(self, house: Clearinghouse, position: Position) -> Row:
        instrument, marks = position.instrument, self.market.mark
        listed, mark = self._listed(instrument), marks(instrument.symbol)
        profit = position.lots * mark - position.cost
        staked = max(1, abs(position.cost) // position.leverage)
        # The entry price may have more digits than a price may; a tenth of a unit is enough to tell them apart.
        entry = abs(position.cost) * 10 // abs(position.lots)
        return {
            "coin": listed.coin,
            "szi": listed.sz_text(position.lots),
            "leverage": {"type": "cross", "value": position.leverage},
            "entryPx": text(entry, instrument.px_decimals + 1),
            "positionValue": usd(abs(position.lots) * mark),
            "unrealizedPnl": usd(profit),
            "returnOnEquity": text(divide(profit * 10**_RATIO_DECIMALS, staked), _RATIO_DECIMALS),
            "liquidationPx": self._liquidation_px(house, position),
            "marginUsed": usd(margin_used(position, marks)),
            "maxLeverage": instrument.max_leverage,
            "cumFunding": {
                "allTime": usd(position.funding_all),
                "sinceOpen": usd(position.funding_open),
                "sinceChange": usd(position.funding_change),
            },
        }

    def _liquidation_px(self, house: Clearinghouse, position: Position) -> str | None:
        """Mark price of this coin at which the account falls to its maintenance margin; None if there is none."""
        instrument, marks = position.instrument, self.market.mark
        lots, twice = position.lots, 2 * instrument.max_leverage
        # value + lots * (px - mark) == others + |lots| * px / twice, solved for px.
        others = house.maintenance(marks) - maintenance(position, marks)
        spare = house.value(marks) - lots * marks(instrument.symbol) - others
        slope = abs(lots) - twice * lots
        px = divide(spare * twice * 10, slope)
        return text(px, instrument.px_decimals + 1) if px > 0 else None

    # Spot ----------------------------------------------------------------------------------------------------------

    def spot_state(self, account: Account | None) -> Row:
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
