"""
The account subscriptions of the venue's WebSocket face: what a new subscriber gets, and what a block adds.

`orderUpdates` and `user` have no snapshot and no `user` field. Lists begin with a frame marked `isSnapshot`; states
are whole each time, sent when they change and on a slow clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from replay.market.engine.accounts import ROWS_KEPT, Account
from replay.market.engine.exchange import Exchange
from replay.market.engine.facts import Cancelled, Fact, Filled, FundingPaid, Liquidated, OrderFact, Transferred
from replay.market.engine.orders import Reason
from replay.serving.venues.hyperliquid.desk import frame
from replay.serving.venues.hyperliquid.fills import aggregated
from replay.serving.venues.hyperliquid.requests import Subscription
from replay.serving.venues.hyperliquid.synthetic.account_rows import AccountRows

__all__ = ["AccountStreams"]

_STATES = frozenset({"clearinghouseState", "allDexsClearinghouseState", "openOrders", "spotState", "webData3"})


class AccountStreams:
    """Writes the frames of account subscriptions."""

    def __init__(self, exchange: Exchange, wire: AccountRows) -> None:
        self.exchange = exchange
        self.wire = wire
        #: Last state sent per subscription, without its time.
        self._sent: dict[str, Any] = {}

    def _account(self, wanted: Subscription) -> Account | None:
        return self.exchange.accounts.get(wanted.user)

    def first_frames(self, wanted: Subscription) -> list[str]:
        """What a new subscriber is sent at once."""
        user, account = wanted.user, self._account(wanted)
        rows: list[dict[str, Any]]
        match wanted.kind:
            case "userFills":
                rows = self.wire.fills(account)
                if wanted.fields["aggregateByTime"]:
                    rows = aggregated(rows)
                return [frame("userFills", {"user": user, "fills": rows[::-1][:ROWS_KEPT], "isSnapshot": True})]
            case "userFundings":
                rows = [] if account is None else [self.wire.funding(each) for each in account.fundings[-ROWS_KEPT:]]
                return [frame("userFundings", {"user": user, "fundings": rows, "isSnapshot": True})]
            case "userNonFundingLedgerUpdates":
                rows = [] if account is None else [self.wire.ledger(each) for each in account.ledger[-ROWS_KEPT:]]
                data = {"user": user, "nonFundingLedgerUpdates": rows, "isSnapshot": True}
                return [frame("userNonFundingLedgerUpdates", data)]
            case "userHistoricalOrders":
                rows = self.wire.history(account, ROWS_KEPT)
                return [frame("userHistoricalOrders", {"user": user, "orderHistory": rows, "isSnapshot": True})]
            case kind if kind in _STATES:
                state = self._state(wanted)
                self._sent[wanted.key] = _timeless(state)
                return [frame(kind, state)]
            case _:
                return []

    def frames(
        self, wanted: Iterable[Subscription], facts: dict[str, list[Fact]], block: int, *, resend: bool
    ) -> Iterator[tuple[Subscription, str]]:
        """
        What one block adds to the subscriptions.

        Whether an order's status precedes its fills is not promised by the venue: here it changes with every block.
        """
        lists: list[Subscription] = []
        states: list[Subscription] = []
        for each in wanted:
            (states if each.kind in _STATES else lists).append(each)
        statuses_first = block % 2 == 0
        lists.sort(key=lambda each: (each.kind in ("orderUpdates", "userHistoricalOrders")) is not statuses_first)
        for each in lists:
            some = facts.get(each.user)
            if some is not None:
                for text in self._listed(each, some):
                    yield each, text
        for each in states:
            state = self._state(each)
            timeless = _timeless(state)
            if resend or (each.kind != "webData3" and self._sent.get(each.key) != timeless):
                self._sent[each.key] = timeless
                yield each, frame(each.kind, state)

    def _state(self, wanted: Subscription) -> dict[str, Any]:
        user, account, dex = wanted.user, self._account(wanted), wanted.dex
        match wanted.kind:
            case "clearinghouseState":
                return {"dex": dex, "user": user, "clearinghouseState": self.wire.clearinghouse_state(account, dex)}
            case "allDexsClearinghouseState":
                dexes = self.wire.metadata.dexes
                states = [[each, self.wire.clearinghouse_state(account, each)] for each in dexes]
                return {"user": user, "clearinghouseStates": states}
            case "openOrders":
                orders = self.wire.open_orders(account, dex, frontend=True)
                return {"dex": dex, "user": user, "orders": orders}
            case "spotState":
                return {"user": user, "spotState": self.wire.spot_state(account)}
            case _:
                agent = next((each for each, owner in self.exchange.agents.items() if owner == user), None)
                flags = {
                    "user": user,
                    "agentAddress": agent,
                    "agentValidUntil": None,
                    "serverTime": self.wire.market.time_ms,
                    "isVault": False,
                }
                return {
                    "userState": flags,
                    "perpDexStates": [{"totalVaultEquity": "0.0"} for _ in self.wire.metadata.dexes],
                }

    def _listed(self, wanted: Subscription, facts: list[Fact]) -> list[str]:
        """The frames that the facts of one block are to one subscription."""
        user, wire = wanted.user, self.wire
        match wanted.kind:
            case "orderUpdates":
                rows = [row for each in facts if isinstance(each, OrderFact) for row in wire.updates(each)]
                return [frame("orderUpdates", rows)] if rows else []
            case "userEvents":
                return [frame("user", each) for each in self._events(user, facts)]
            case "userFills":
                rows = self._fills(user, facts)
                if rows and wanted.fields["aggregateByTime"]:
                    rows = aggregated(rows)
                return [frame("userFills", {"user": user, "fills": rows})] if rows else []
            case "userFundings":
                rows = [wire.funding(each) for each in facts if isinstance(each, FundingPaid)]
                return [frame("userFundings", {"user": user, "fundings": rows})] if rows else []
            case "userNonFundingLedgerUpdates":
                rows = [wire.ledger(each) for each in facts if isinstance(each, Transferred | Liquidated)]
                data = {"user": user, "nonFundingLedgerUpdates": rows}
                return [frame("userNonFundingLedgerUpdates", data)] if rows else []
            case "userHistoricalOrders":
                rows = [row for each in facts if isinstance(each, OrderFact) for row in wire.historical_updates(each)]
                return [frame("userHistoricalOrders", {"user": user, "orderHistory": rows})] if rows else []
            case _:
                return []

    def _fills(self, user: str, facts: list[Fact]) -> list[dict[str, Any]]:
        return [self.wire.fill(user, each) for each in facts if isinstance(each, Filled)]

    def _events(self, user: str, facts: list[Fact]) -> list[dict[str, Any]]:
        """Data of the `user` frames: one kind of event a frame, and one funding payment a frame."""
        wire = self.wire
        events: list[dict[str, Any]] = []
        cancels = [each for each in facts if isinstance(each, Cancelled) and each.reason is Reason.LIQUIDATED]
        if cancels:
            events.append({"nonUserCancel": [wire.system_cancel(each.order) for each in cancels]})
        if fills := self._fills(user, facts):
            events.append({"fills": fills})
        events.extend({"liquidation": wire.liquidation(each)} for each in facts if isinstance(each, Liquidated))
        events.extend({"funding": wire.funding(each)} for each in facts if isinstance(each, FundingPaid))
        return events


def _timeless(value: Any) -> Any:
    """A state without the time at which it was looked at."""
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in ("time", "serverTime")}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return value
