"""The account requests of the venue's REST face. An address that owns nothing gets empty answers, as an agent's does."""

from __future__ import annotations

from typing import Any

from replay.market.engine.accounts import ROWS_KEPT, Account
from replay.market.engine.exchange import Exchange
from replay.market.engine.matching import ZERO_HASH
from replay.market.engine.orders import OrderRecord
from replay.serving.venues.hyperliquid.fills import aggregated, text
from replay.serving.venues.hyperliquid.rest_rules import ROWS_MAX, Unprocessable, between, field, user_of
from replay.serving.venues.hyperliquid.synthetic.account_rows import AccountRows, usd
from replay.serving.venues.hyperliquid.synthetic.rest import Info

__all__ = ["AccountInfo"]

_RATE_DECIMALS = 5


class AccountInfo:
    """Adds its handlers to an `Info`."""

    def __init__(self, info: Info, exchange: Exchange, wire: AccountRows) -> None:
        self.info = info
        self.exchange = exchange
        self.wire = wire
        info.handlers |= {
            "clearinghouseState": lambda request: wire.clearinghouse_state(self._account(request), info.dex(request)),
            "spotClearinghouseState": lambda request: wire.spot_state(self._account(request)),
            "openOrders": lambda request: wire.open_orders(self._account(request), info.dex(request), frontend=False),
            "frontendOpenOrders": lambda request: wire.open_orders(
                self._account(request), info.dex(request), frontend=True
            ),
            "historicalOrders": lambda request: wire.history(self._account(request), ROWS_KEPT),
            "orderStatus": self._order_status,
            "userFills": self._user_fills,
            "userFillsByTime": self._user_fills_by_time,
            "userFunding": self._user_funding,
            "userNonFundingLedgerUpdates": self._ledger,
            "userRole": self._role,
            "subAccounts": self._sub_accounts,
            "extraAgents": self._agents,
            "userFees": self._fees,
            "userRateLimit": self._rate_limit,
        }

    def _account(self, request: dict[str, Any]) -> Account | None:
        return self.exchange.accounts.get(user_of(request))

    # Orders --------------------------------------------------------------------------------------------------------

    def _order_status(self, request: dict[str, Any]) -> Any:
        account, oid = self._account(request), request.get("oid")
        if isinstance(oid, bool) or not isinstance(oid, int | str):
            raise Unprocessable("oid")
        record = None if account is None else _find(account, oid)
        if record is None:
            return {"status": "unknownOid"}
        return {"status": "order", "order": self.wire.historical(record)}

    # Fills and money -----------------------------------------------------------------------------------------------

    def _user_fills(self, request: dict[str, Any]) -> Any:
        account = self._account(request)
        rows = self.wire.fills(account)
        if field(request, "aggregateByTime", bool, optional=True):
            rows = aggregated(rows)
        return rows[::-1][:ROWS_KEPT]

    def _user_fills_by_time(self, request: dict[str, Any]) -> Any:
        account = self._account(request)
        rows = between(request, self.wire.fills(account))
        if field(request, "aggregateByTime", bool, optional=True):
            rows = aggregated(rows)
        return rows[:ROWS_KEPT]

    def _user_funding(self, request: dict[str, Any]) -> Any:
        account = self._account(request)
        payments = [] if account is None else [self.wire.funding(each) for each in account.fundings]
        rows = between(request, payments)[:ROWS_MAX]
        return [
            {
                "time": row["time"],
                "hash": ZERO_HASH,
                "delta": {"type": "funding", **{key: value for key, value in row.items() if key != "time"}},
            }
            for row in rows
        ]

    def _ledger(self, request: dict[str, Any]) -> Any:
        account = self._account(request)
        rows = [] if account is None else [self.wire.ledger(each) for each in account.ledger]
        return between(request, rows)[:ROWS_MAX]

    # Who is who ----------------------------------------------------------------------------------------------------

    def _role(self, request: dict[str, Any]) -> Any:
        address = user_of(request)
        master = self.exchange.agents.get(address)
        if master is not None:
            return {"role": "agent", "data": {"user": master}}
        account = self.exchange.accounts.get(address)
        if account is None:
            return {"role": "missing"}
        if account.master is not None:
            return {"role": "subAccount", "data": {"master": account.master}}
        return {"role": "user"}

    def _sub_accounts(self, request: dict[str, Any]) -> Any:
        master = user_of(request)
        subs = [each for each in self.exchange.accounts.values() if each.master == master]
        return [
            {
                "name": each.name,
                "subAccountUser": each.address,
                "master": master,
                "clearinghouseState": self.wire.clearinghouse_state(each, ""),
                "spotState": self.wire.spot_state(each),
            }
            for each in subs
        ] or None

    def _agents(self, request: dict[str, Any]) -> Any:
        master = user_of(request)
        valid_until = self.exchange.market.time_ms + 90 * 86_400_000
        return [
            {"name": "synthetic", "address": agent, "validUntil": valid_until}
            for agent, owner in self.exchange.agents.items()
            if owner == master
        ]

    def _fees(self, request: dict[str, Any]) -> Any:
        user_of(request)
        rules = self.exchange.rules
        taker, maker, spot_taker, spot_maker = (
            text(rate, _RATE_DECIMALS) for rate in (*rules.perp_fees, *rules.spot_fees)
        )
        return {
            "dailyUserVlm": [],
            "feeSchedule": {
                "cross": taker,
                "add": maker,
                "spotCross": spot_taker,
                "spotAdd": spot_maker,
                "tiers": {"vip": [], "mm": []},
                "referralDiscount": "0.04",
                "stakingDiscountTiers": [],
            },
            "userCrossRate": taker,
            "userAddRate": maker,
            "userSpotCrossRate": spot_taker,
            "userSpotAddRate": spot_maker,
            "activeReferralDiscount": "0.0",
            "trial": None,
            "feeTrialEscrow": "0.0",
            "nextTrialAvailableTimestamp": None,
            "stakingLink": None,
            "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
        }

    def _rate_limit(self, request: dict[str, Any]) -> Any:
        account = self._account(request)
        volume = 0 if account is None else account.volume_taken + account.volume_made
        used = 0 if account is None else len(account.orders)
        return {"cumVlm": usd(volume), "nRequestsUsed": used, "nRequestsCap": 10_000 + volume // 10**6}


def _find(account: Account, oid: int | str) -> OrderRecord | None:
    """An order by the venue's id, or the newest by the client's."""
    if isinstance(oid, int):
        return account.orders.get(oid)
    return next((each for each in reversed(account.orders.values()) if each.order.client_id == oid), None)
