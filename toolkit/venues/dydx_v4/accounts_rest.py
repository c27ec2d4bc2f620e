"""dYdX v4's REST requests about accounts. All are GET, and all data of an account is public."""

from __future__ import annotations

from typing import Final

from toolkit.protocol import RestCall
from toolkit.venues.dydx_v4.pages import PAGE_ROWS, Page

__all__ = [
    "ACCOUNT_REPLIES",
    "fills_call",
    "funding_call",
    "order_call",
    "orders_call",
    "subaccount_call",
    "transfers_call",
]

#: The first words of the requests' tags; the second is the subaccount.
ACCOUNT_REPLIES: Final = frozenset(
    {"subaccount", "accountOrders", "accountOrder", "accountFills", "accountTransfers", "accountFunding"}
)


def subaccount_call(name: str, *, is_parent: bool) -> RestCall:
    """Positions, collateral and equity."""
    address, _, number = name.partition("/")
    kind = "parentSubaccountNumber" if is_parent else "subaccountNumber"
    return RestCall(f"subaccount:{name}", "GET", f"/addresses/{address}/{kind}/{number}")


def orders_call(name: str, *, is_parent: bool) -> RestCall:
    """The newest orders, whatever became of them; short-term ones without a fill only while they live."""
    path = "/orders/parentSubaccountNumber" if is_parent else "/orders"
    query = f"{_who(name, is_parent=is_parent)}&limit={PAGE_ROWS}&returnLatestOrders=true"
    return RestCall(f"accountOrders:{name}", "GET", f"{path}?{query}")


def order_call(name: str, order_id: str) -> RestCall:
    """One order."""
    return RestCall(f"accountOrder:{name}:{order_id}", "GET", f"/orders/{order_id}")


def fills_call(name: str, *, is_parent: bool, page: Page | None = None) -> RestCall:
    """The newest fills, or an older page of them."""
    path = "/fills/parentSubaccount" if is_parent else "/fills"
    query = f"{_who(name, is_parent=is_parent)}&limit={PAGE_ROWS}"
    if page is None:
        return RestCall(f"accountFills:{name}:1", "GET", f"{path}?{query}")
    part = f"&page={page.part}" if page.part > 1 else ""
    query += f"{part}&createdBeforeOrAtHeight={page.height}"
    return RestCall(f"accountFills:{name}:{page.text}", "GET", f"{path}?{query}")


def transfers_call(name: str, *, is_parent: bool) -> RestCall:
    """The newest transfers."""
    path = "/transfers/parentSubaccountNumber" if is_parent else "/transfers"
    return RestCall(f"accountTransfers:{name}", "GET", f"{path}?{_who(name, is_parent=is_parent)}&limit={PAGE_ROWS}")


def funding_call(name: str, *, is_parent: bool, page: int = 1) -> RestCall:
    """The newest funding payments, or an older page of them."""
    path = "/fundingPayments/parentSubaccount" if is_parent else "/fundingPayments"
    query = f"{_who(name, is_parent=is_parent)}&limit={PAGE_ROWS}"
    if page == 1:
        return RestCall(f"accountFunding:{name}", "GET", f"{path}?{query}")
    return RestCall(f"accountFunding:{name}:{page}", "GET", f"{path}?{query}&page={page}")


def _who(name: str, *, is_parent: bool) -> str:
    address, _, number = name.partition("/")
    kind = "parentSubaccountNumber" if is_parent else "subaccountNumber"
    return f"address={address}&{kind}={number}"
