"""Accounts whose streams the tape has: what a snapshot of theirs says now, their orders, and their fills."""

from __future__ import annotations

from typing import Any, Final

from replay.serving.venues.dydx_v4.requests import PARENT_SUBACCOUNTS

__all__ = ["ROWS_KEPT", "TapeAccount"]

#: Rows of a reply, and of what is kept for one.
ROWS_KEPT: Final = 1000
_GONE: Final = ("FILLED", "CANCELED")

Row = dict[str, Any]


class TapeAccount:
    """
    One subscription of an account.

    `equity` and `freeCollateral` are what the last snapshot said: the venue computes them when asked, and never pushes them.

    Attributes:
        contents: Body of a snapshot as of now.
        orders: Every order seen, newest change last, whatever became of it.
        fills: Fills, as REST writes them.
    """

    def __init__(self, channel: str, contents: Row) -> None:
        self._is_parent = channel == PARENT_SUBACCOUNTS
        self.contents = contents
        self.orders: dict[str, Row] = {}
        self.fills: dict[str, Row] = {}
        for order in _rows(contents, "orders"):
            self.orders[str(order.get("id"))] = order

    def change(self, contents: Row, subaccount: int | None) -> None:
        """An update."""
        for order in _rows(contents, "orders"):
            name = str(order.get("id"))
            self.orders[name] = self.orders.pop(name, {}) | order
            _trim(self.orders)
        for fill in _rows(contents, "fills"):
            row = {("market" if key == "ticker" else key): value for key, value in fill.items()}
            if subaccount is not None:
                row["subaccountNumber"] = subaccount
            self.fills[str(fill.get("id"))] = row
            _trim(self.fills)
        open_orders = {str(order.get("id")): order for order in _rows(self.contents, "orders")}
        for order in _rows(contents, "orders"):
            name = str(order.get("id"))
            open_orders[name] = self.orders[name]
            if self.orders[name].get("status") in _GONE:
                del open_orders[name]
        self.contents["orders"] = list(open_orders.values())
        if "blockHeight" in contents:
            self.contents["blockHeight"] = contents["blockHeight"]
        owner = self._owner(subaccount)
        if owner is not None:
            _change_positions(owner, contents)

    def _owner(self, subaccount: int | None) -> Row | None:
        """The subaccount that an update is about."""
        held = self.contents.get("subaccount")
        if not isinstance(held, dict) or not self._is_parent:
            return held if isinstance(held, dict) else None
        for child in held.get("childSubaccounts", []):
            if isinstance(child, dict) and child.get("subaccountNumber") == subaccount:
                return child
        return None


def _change_positions(owner: Row, contents: Row) -> None:
    positions = owner.setdefault("openPerpetualPositions", {})
    for row in _rows(contents, "perpetualPositions"):
        market = str(row.get("market"))
        if row.get("status") == "OPEN":
            positions[market] = positions.get(market, {}) | row
        else:
            positions.pop(market, None)
    assets = owner.setdefault("assetPositions", {})
    for row in _rows(contents, "assetPositions"):
        symbol = str(row.get("symbol"))
        assets[symbol] = assets.get(symbol, {}) | {
            key: row[key] for key in ("size", "symbol", "side", "assetId", "subaccountNumber") if key in row
        }


def _rows(contents: Row, name: str) -> list[Row]:
    rows = contents.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _trim(rows: dict[str, Row]) -> None:
    while len(rows) > ROWS_KEPT:
        del rows[next(iter(rows))]
