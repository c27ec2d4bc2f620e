"""`POST /info` about an account: its streams at the tape's present, and recorded replies where they say more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from replay.serving.face import as_json
from replay.serving.venues.hyperliquid.fills import aggregated
from replay.serving.venues.hyperliquid.recorded.state import ROWS_KEPT, Row, TapeState, decoded
from replay.serving.venues.hyperliquid.rest_rules import (
    ROWS_MAX,
    Handler,
    Unknowable,
    Unprocessable,
    between,
    field,
    user_of,
)

__all__ = ["Accounts"]

#: What `openOrders` has of what `frontendOpenOrders` has.
_PLAIN: Final = ("coin", "side", "limitPx", "sz", "oid", "timestamp", "origSz", "cloid", "reduceOnly")
_ZERO_HASH: Final = "0x" + "0" * 64

Recorded = Callable[[dict[str, Any]], msgspec.Raw | None]


class Accounts:
    """Answers about accounts whose streams were recorded."""

    def __init__(self, state: TapeState) -> None:
        self._state = state
        self._recorded: Recorded = lambda request: None

    def handlers(self, recorded: Recorded) -> dict[str, Handler]:
        """What answers each request; `recorded` finds the newest recorded reply to a question."""
        self._recorded = recorded
        return {
            "userFills": self._fills,
            "userFillsByTime": self._fills_by_time,
            "userFunding": self._funding,
            "userNonFundingLedgerUpdates": self._ledger,
            "openOrders": self._open_orders,
            "frontendOpenOrders": self._frontend_orders,
            "historicalOrders": self._historical_orders,
            "orderStatus": self._order_status,
            "clearinghouseState": self._clearinghouse,
            "spotClearinghouseState": self._spot,
        }

    # Lists -------------------------------------------------------------------------------------------------------------

    def _rows(self, kind: str, request: dict[str, Any]) -> list[Row] | None:
        return self._state.rows(kind, user_of(request))

    def _fills(self, request: dict[str, Any]) -> Any:
        rows = self._rows("userFills", request)
        if rows is None:
            return self._or_recorded(None, request)
        if field(request, "aggregateByTime", bool, optional=True):
            rows = aggregated(rows[::-1])[::-1]
        return rows[:ROWS_KEPT]

    def _fills_by_time(self, request: dict[str, Any]) -> Any:
        rows = self._rows("userFills", request)
        if rows is None:
            return self._or_recorded(None, request)
        some = between(request, rows[::-1])
        if field(request, "aggregateByTime", bool, optional=True):
            some = aggregated(some)
        return some[:ROWS_KEPT]

    def _funding(self, request: dict[str, Any]) -> Any:
        rows = self._rows("userFundings", request)
        if rows is None:
            return self._or_recorded(None, request)
        return [
            {
                "time": row["time"],
                "hash": row.get("hash", _ZERO_HASH),
                "delta": {
                    "type": "funding",
                    **{name: value for name, value in row.items() if name not in ("time", "hash")},
                },
            }
            for row in between(request, rows[::-1])[:ROWS_MAX]
        ]

    def _ledger(self, request: dict[str, Any]) -> Any:
        rows = self._rows("userNonFundingLedgerUpdates", request)
        return self._or_recorded(None if rows is None else between(request, rows[::-1])[:ROWS_MAX], request)

    # Orders ------------------------------------------------------------------------------------------------------------

    def _listed_orders(self, request: dict[str, Any]) -> list[Row] | None:
        user, dex = user_of(request), str(field(request, "dex", str, optional=True) or "")
        data = decoded(self._state.last.get(("openOrders", user, dex, False)))
        if isinstance(data, dict) and isinstance(data.get("orders"), list):
            return list(data["orders"])
        found = self._recorded({"type": "frontendOpenOrders", "user": user, "dex": dex})
        orders = None if found is None else msgspec.json.decode(found)
        return orders if isinstance(orders, list) else None

    def _frontend_orders(self, request: dict[str, Any]) -> Any:
        return self._or_recorded(self._listed_orders(request), request)

    def _open_orders(self, request: dict[str, Any]) -> Any:
        orders = self._listed_orders(request)
        if orders is None:
            return self._or_recorded(None, request)
        return [
            {name: order[name] for name in _PLAIN if order.get(name) is not None and order[name] is not False}
            for order in orders
        ]

    def _historical_orders(self, request: dict[str, Any]) -> Any:
        """The recorded reply, with the statuses since, newest first."""
        user = user_of(request)
        found = self._recorded({"type": "historicalOrders", "user": user})
        updates = self._state.order_updates(user)
        if found is None and not updates:
            return self._or_recorded(None, request)
        older = msgspec.json.decode(found) if found is not None else []
        rows: dict[tuple[Any, ...], Row] = {}
        for row in [*updates[::-1], *(older if isinstance(older, list) else [])]:
            rows.setdefault((_order(row).get("oid"), row.get("status"), row.get("statusTimestamp")), row)
        return sorted(rows.values(), key=_status_time, reverse=True)[:ROWS_KEPT]

    def _order_status(self, request: dict[str, Any]) -> Any:
        user, oid = user_of(request), request.get("oid")
        if isinstance(oid, bool) or not isinstance(oid, int | str):
            raise Unprocessable("oid")
        name = "oid" if isinstance(oid, int) else "cloid"
        for row in reversed(self._state.order_updates(user)):
            if _order(row).get(name) == oid:
                return {"status": "order", "order": row}
        return self._or_recorded(None, request)

    # Money -------------------------------------------------------------------------------------------------------------

    def _clearinghouse(self, request: dict[str, Any]) -> Any:
        user, dex = user_of(request), str(field(request, "dex", str, optional=True) or "")
        one = decoded(self._state.last.get(("clearinghouseState", user, dex, False)))
        if isinstance(one, dict) and "clearinghouseState" in one:
            return one["clearinghouseState"]
        every = decoded(self._state.last.get(("allDexsClearinghouseState", user, "", False)))
        states = every.get("clearinghouseStates") if isinstance(every, dict) else None
        for pair in states if isinstance(states, list) else []:
            if isinstance(pair, list) and len(pair) == 2 and pair[0] == dex:
                return pair[1]
        return self._or_recorded(None, request)

    def _spot(self, request: dict[str, Any]) -> Any:
        data = decoded(self._state.last.get(("spotState", user_of(request), "", False)))
        return self._or_recorded(data.get("spotState") if isinstance(data, dict) else None, request)

    def _or_recorded(self, answer: Any, request: dict[str, Any]) -> Any:
        """What the streams say, or the recorded reply. Raises Unknowable where there is neither."""
        if answer is not None:
            return answer
        found = self._recorded(request | {"user": user_of(request)})
        if found is None:
            raise Unknowable(f"the recording says nothing for {as_json(request).decode()} up to this point")
        return found


def _order(row: Row) -> Row:
    order = row.get("order")
    return order if isinstance(order, dict) else {}


def _status_time(row: Row) -> int:
    time = row.get("statusTimestamp")
    return time if isinstance(time, int) else 0
