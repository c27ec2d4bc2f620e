"""A subscription of accounts as it is remembered, and what is asked for after its snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from toolkit.protocol import RestCall
from toolkit.venues.dydx_v4 import accounts_rest as rest
from toolkit.venues.dydx_v4.accounts_news import Account, Since

__all__ = ["Root", "by_account", "reconciling_calls"]


class Root(msgspec.Struct):
    """
    A subscription: one subaccount, or a parent with its children.

    Attributes:
        name: Its id at the venue.
        is_parent: Whether it is a parent subscription.
        accounts: The subaccounts it has spoken of.
        since: When its first snapshot came; None before it.
        owed: First words of the REST replies that reconcile the last snapshot and have not come.
        owed_seq: The frame of that snapshot: answers to earlier requests do not reconcile it.
        joined_recv: When it came, ns.
        joined_mono: The same on the monotonic clock.
        is_sure: Whether fills were asked for so long after it that REST knew of all that happened before the updates.
        suspects: Orders that were live before that snapshot and that it does not list, without those of short term.
        filled_to: All fills in blocks up to this one were reported.
        is_paging: Whether older pages of fills are still to come.
        unanswered: First words of requests for what was missed that got no answer.
        paid_to: Like `filled_to`, of funding payments; `paid_top` once the pages under way have come.
        is_paging_paid: Like `is_paging`, of funding payments.
        has_been_missing: Whether it was reported that it was never used.
    """

    name: str
    is_parent: bool = False
    accounts: dict[str, Account] = {}
    since: Since | None = None
    owed: list[str] = []
    owed_seq: int = 0
    joined_recv: int = 0
    joined_mono: int = 0
    is_sure: bool = False
    suspects: list[str] = []
    filled_to: int = 0
    is_paging: bool = False
    unanswered: list[str] = []
    paid_to: int = 0
    paid_top: int = 0
    is_paging_paid: bool = False
    has_been_missing: bool = False

    @property
    def stream(self) -> str:
        """What its stream is called."""
        return f"account {self.name}"

    @property
    def holdings(self) -> str:
        """What its positions and collateral are called, where they are stale though the stream is not."""
        return f"positions {self.name}"

    @property
    def missed(self) -> str:
        """What is called that only REST tells, and did not."""
        return f"missed {self.name}"

    @property
    def is_doubtful(self) -> bool:
        """Whether something changed them that no statement covers."""
        return any(account.unstated for account in self.accounts.values())

    @property
    def is_holding(self) -> bool:
        """Whether fills wait for a word about their orders."""
        return any(account.held for account in self.accounts.values())

    def account(self, number: int | None) -> Account:
        """A subaccount by its number; that of the subscription where there is none."""
        name = self.name if number is None else f"{self.name.partition('/')[0]}/{number}"
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(name)
        return account


def by_account(root: Root, rows: Iterable[Any], frame_number: int | None) -> list[tuple[Account, list[Any]]]:
    """Rows by the subaccount they are of."""
    found: dict[str, tuple[Account, list[Any]]] = {}
    for row in rows:
        number = row.subaccountNumber if row.subaccountNumber is not None else frame_number
        account = root.account(number)
        found.setdefault(account.name, (account, []))[1].append(row)
    return list(found.values())


def reconciling_calls(root: Root) -> list[RestCall]:
    """What reconciles a snapshot."""
    return [
        rest.orders_call(root.name, is_parent=root.is_parent),
        rest.fills_call(root.name, is_parent=root.is_parent),
        rest.transfers_call(root.name, is_parent=root.is_parent),
        rest.funding_call(root.name, is_parent=root.is_parent),
    ]
