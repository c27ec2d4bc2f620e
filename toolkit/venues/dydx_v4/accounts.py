"""
dYdX v4's account streams, without the socket.

What is peculiar about them, and where it is handled:

- A snapshot holds positions, collateral and live orders, but no fill; fills, ended orders, transfers and funding
  payments are asked for by REST after each snapshot, and REST is behind: whatever was told is told once
  (`accounts_news`). The venue fetches the snapshot before it subscribes us, and REST closes that hole too.
- What is in a block that is not later than the first snapshot is history; what comes later is news, also by REST.
- The end of a short-term order is announced by nobody: it has ended when the height of the chain, as frames tell it, is
  above its last block. While an account's connection is lost, or before the replies that follow a snapshot have come,
  the order may have been filled without our knowing, so its end waits for them.
- A subaccount that nobody has used is no error: its snapshot is empty and updates follow once it is used.
- A parent's frames say which child they mean; each child is an account of its own in the messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.frames import Frame
from toolkit.messages import EventKind, Message
from toolkit.protocol import Request, RestCall
from toolkit.streams import Stream
from toolkit.venues.dydx_v4 import accounts_rest as rest
from toolkit.venues.dydx_v4 import accounts_wire as wire
from toolkit.venues.dydx_v4.accounts_convert import AccountMessages
from toolkit.venues.dydx_v4.accounts_news import Account, AccountNews, Source
from toolkit.venues.dydx_v4.accounts_polls import AccountPolls

if TYPE_CHECKING:
    from toolkit.protocol import VenueProtocol

__all__ = ["AccountStreams", "Root"]

#: Replies without which it is not known what became of an order while nobody listened.
_OWED: Final = ("accountOrders", "accountFills")
#: A reply that has not come by then is asked for again, seconds.
REPLY_S_MAX: Final = 120
#: Pages of missed fills that are asked for, at most.
FILL_PAGES_MAX: Final = 10


class Root(msgspec.Struct):
    """
    A subscription: one subaccount, or a parent with its children.

    Attributes:
        name: Its id at the venue.
        is_parent: Whether it is a parent subscription.
        accounts: The subaccounts it has spoken of.
        since: Height of its first snapshot; None before it.
        owed: First words of the REST replies that reconcile the last snapshot and have not come.
        suspects: Orders that were live before that snapshot and that it does not list, without those of short term.
        has_been_missing: Whether it was told that nobody has used it.
    """

    name: str
    is_parent: bool = False
    accounts: dict[str, Account] = {}
    since: int | None = None
    owed: list[str] = []
    suspects: list[str] = []
    has_been_missing: bool = False

    @property
    def stream(self) -> str:
        """What its stream is called."""
        return f"account {self.name}"

    def account(self, number: int | None) -> Account:
        """A subaccount by its number; that of the subscription where there is none."""
        name = self.name if number is None else f"{self.name.partition('/')[0]}/{number}"
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(name)
        return account


class AccountStreams:
    """
    The subaccounts that a protocol follows.

    Args:
        protocol: What they are part of: it has the streams and makes the events.
        queue: Where requests go.
    """

    def __init__(self, protocol: VenueProtocol) -> None:
        self._protocol = protocol
        self._roots: dict[str, Root] = {}
        self._polls = AccountPolls()
        self._owed_mono: dict[str, int] = {}
        #: The highest block heard of.
        self.height = 0

    # -- subscriptions -----------------------------------------------------------------------------------------

    def follow(self, name: str, *, is_parent: bool) -> Root:
        """The subscription of that name, followed from now on."""
        root = self._roots.get(name)
        if root is None:
            root = self._roots[name] = Root(name, is_parent)
        return root

    def knows(self, symbol: str) -> bool:
        """Whether an account has an order or a position in that market."""
        return any(
            symbol in account.positions or any(order.ticker == symbol for order in account.orders.values())
            for root in self._roots.values()
            for account in root.accounts.values()
        )

    def connected(self, frame: Frame, names: Iterable[str], *, is_parent: bool) -> None:
        """The connection of these accounts was made."""
        for name in names:
            root = self.follow(name, is_parent=is_parent)
            stream = self._protocol.streams.add(Stream("", "", root.stream))
            self._protocol.streams.resubscribed(stream, frame)
        self._polls.begin(frame)

    def session_ended(self) -> None:
        """No connection is left."""
        self._owed_mono.clear()

    def due(self, mono_ns: int) -> list[Request]:
        """Requests that the time makes necessary."""
        roots = [root for root in self._roots.values() if root.since is not None]
        requests: list[Request] = [*self._polls.due([(root.name, root.is_parent) for root in roots], mono_ns)]
        for name, since in self._owed_mono.items():
            root = self._roots[name]
            if root.owed and mono_ns - since > REPLY_S_MAX * NS_PER_S:
                self._owed_mono[name] = mono_ns
                requests += [call for call in _calls(root) if call.tag.partition(":")[0] in root.owed]
        return requests

    # -- frames ------------------------------------------------------------------------------------------------

    def tell(
        self,
        frame: Frame,
        name: str,
        contents: list[wire.Contents],
        messages: list[Message],
        *,
        is_parent: bool,
        is_snapshot: bool,
        number: int | None,
        queue: list[Any],
    ) -> None:
        """
        Tell what a frame says.

        Args:
            frame: The frame.
            name: Its subscription.
            contents: What it says, checked.
            messages: Where the messages go.
            is_parent: Whether the subscription is that of a parent.
            is_snapshot: Whether it answers a subscribe.
            number: The child it means; None where it does not say.
            queue: Where requests go.
        """
        root = self.follow(name, is_parent=is_parent)
        stream = self._protocol.streams.get("", root.stream)
        # After a loss only a snapshot makes good what was missed; what comes before it is told and heals nothing.
        if is_snapshot or stream is None or stream.is_live:
            self._protocol.heard(frame, "", root.stream, messages)
        makes = AccountMessages(self._protocol.venue, frame, messages)
        for part in contents:
            if is_snapshot:
                self._snapshot(frame, root, part, makes, queue)
            else:
                self._change(frame, root, part, makes, number)
            self.height = max(self.height, part.blockHeight or 0)
        self.passed(frame, messages)

    def passed(self, frame: Frame, messages: list[Message]) -> None:
        """Tell of the orders whose last block is past, of accounts of which nothing was missed."""
        makes = AccountMessages(self._protocol.venue, frame, messages)
        for root in self._roots.values():
            stream = self._protocol.streams.get("", root.stream)
            if stream is None or not stream.is_live or root.owed:
                continue
            for account in root.accounts.values():
                if account.short:
                    AccountNews(account, makes, root.since).passed(self.height)

    def _change(
        self, frame: Frame, root: Root, part: wire.Contents, makes: AccountMessages, number: int | None
    ) -> None:
        """What a frame says has changed. Orders come before fills, so that a fill's order is mostly known before it."""
        for order in part.orders:
            self._news(root, order.subaccountNumber, number, makes).orders([order], "stream")
        for fill in part.fills:
            self._news(root, fill.subaccountNumber, number, makes).fills([fill], "stream")
        for account, positions in _by_account(root, part.perpetualPositions, number):
            AccountNews(account, makes, root.since).positions(positions)
            account.height = max(account.height, part.blockHeight or 0)
        for account, assets in _by_account(root, part.assetPositions, number):
            AccountNews(account, makes, root.since).assets(assets)
            account.height = max(account.height, part.blockHeight or 0)
        own = AccountNews(root.account(None), makes, root.since)
        own.transfers(part.transfer_list)
        if part.tradingReward is not None:
            own.reward(part.tradingReward)
        if part.perpetualPositions or part.assetPositions:
            self._polls.touched(root.name, frame.ts_mono)

    def _news(self, root: Root, number: int | None, frame_number: int | None, makes: AccountMessages) -> AccountNews:
        return AccountNews(root.account(number if number is not None else frame_number), makes, root.since)

    def _snapshot(
        self, frame: Frame, root: Root, part: wire.Contents, makes: AccountMessages, queue: list[Any]
    ) -> None:
        is_first = root.since is None
        if root.since is None:
            root.since = part.blockHeight or 0
        if part.subaccount is None:
            self._missing(frame, root, makes.messages)
        else:
            self._whole(root, part.subaccount, makes, part.blockHeight or 0)
        for order in part.orders:
            news = self._news(root, order.subaccountNumber, None, makes)
            news.orders([order], "snapshot", is_first=is_first)
        listed = {order.id for order in part.orders}
        if self._protocol.role_of(frame.conn_id):
            root.suspects = [
                order_id
                for account in root.accounts.values()
                for order_id, order in account.orders.items()
                if not order.is_done and not order.is_short_term and order_id not in listed
            ]
            root.owed = list(_OWED)
            self._owed_mono[root.name] = frame.ts_mono
            queue += _calls(root)

    def _whole(self, root: Root, subaccount: wire.Subaccount, makes: AccountMessages, height: int) -> None:
        spoken = set()
        for member in subaccount.members:
            account = root.account(member.subaccountNumber)
            spoken.add(account.name)
            AccountNews(account, makes, root.since).subaccount(member)
            account.height = max(account.height, height)
        for account in list(root.accounts.values()):
            # A child that a parent no longer lists has nothing any more.
            if account.name not in spoken:
                AccountNews(account, makes, root.since).subaccount(wire.Subaccount())

    def _missing(self, frame: Frame, root: Root, messages: list[Message]) -> None:
        if root.has_been_missing:
            return
        root.has_been_missing = True
        text = (
            f"nobody has used the subaccount {root.name} yet; what happens in it will be recorded. "
            "Check the address and the number if it should exist"
        )
        messages.append(
            self._protocol.event(frame, EventKind.NOTICE, sub_seq=len(messages), cause="account", detail=text)
        )

    # -- REST replies ------------------------------------------------------------------------------------------

    def on_reply(self, frame: Frame, tag: str, *, is_parent: bool, is_missing: bool, queue: list[Any]) -> list[Message]:
        """
        The messages of a reply to one of `ACCOUNT_REPLIES`. Raises ParseError.

        Args:
            frame: The reply.
            tag: Of the request.
            is_parent: Whether accounts are followed with their children.
            is_missing: Whether the venue says that there is no such thing.
            queue: Where requests go.
        """
        what, _, rest_of_tag = tag.partition(":")
        name, _, more = rest_of_tag.partition(":")
        root = self.follow(name, is_parent=is_parent)
        messages: list[Message] = []
        makes = AccountMessages(self._protocol.venue, frame, messages)
        if is_missing:
            self._missing(frame, root, messages)
        elif what == "subaccount":
            self._on_subaccount(root, wire.decode_subaccount(frame.payload), makes)
        elif what == "accountFills":
            self._on_fills(root, wire.decode_fills(frame.payload), makes, int(more or 1), queue)
        elif what == "accountTransfers":
            transfers = reversed(wire.decode_transfers(frame.payload))
            AccountNews(root.account(None), makes, root.since).transfers(transfers)
        elif what == "accountFunding":
            for row in reversed(wire.decode_funding(frame.payload)):
                self._news(root, row.subaccountNumber, None, makes).fundings([row])
        else:
            orders = [wire.decode_order(frame.payload)] if what == "accountOrder" else wire.decode_orders(frame.payload)
            self._on_orders(root, orders, makes)
        self._settle(root, what, queue)
        if not root.owed:
            self.passed(frame, messages)
        return messages

    def refused(self, tag: str) -> None:
        """The venue does not serve the account: nothing more is asked for."""
        root = self._roots.get(tag.split(":")[1])
        if root is not None:
            root.owed, root.suspects = [], []

    def _on_subaccount(self, root: Root, subaccount: wire.Subaccount, makes: AccountMessages) -> None:
        """REST is behind the stream: what is older than the last change it told changes nothing."""
        height = subaccount.latestProcessedBlockHeight
        if height is None:
            height = max((member.latestProcessedBlockHeight or 0 for member in subaccount.members), default=0)
        if height >= max((account.height for account in root.accounts.values()), default=0):
            self._whole(root, subaccount, makes, height)

    def _on_orders(self, root: Root, orders: list[wire.Order], makes: AccountMessages) -> None:
        source: Source = "rest"
        for order in reversed(orders):
            self._news(root, order.subaccountNumber, None, makes).orders([order], source)
        found = {order.id for order in orders}
        root.suspects = [order_id for order_id in root.suspects if order_id not in found]

    def _on_fills(self, root: Root, rows: list[wire.Fill], makes: AccountMessages, page: int, queue: list[Any]) -> None:
        count = 0
        # Newest first; those of one block too.
        for row in reversed(rows):
            count += self._news(root, row.subaccountNumber, None, makes).fills([row], "rest")
        oldest = min((row.createdAtHeight for row in rows), default=0)
        is_more = len(rows) >= rest.PAGE_ROWS and count == len(rows) and root.since is not None and oldest > root.since
        if is_more and page < FILL_PAGES_MAX:
            queue.append(rest.fills_call(root.name, is_parent=root.is_parent, page=page + 1, height=oldest))

    def _settle(self, root: Root, what: str, queue: list[Any]) -> None:
        """A reply has come; once all have, ask for the orders that none of them spoke of."""
        if what in root.owed:
            root.owed.remove(what)
            if not root.owed:
                queue += [rest.order_call(root.name, order_id) for order_id in root.suspects]
                root.suspects = []

    # -- checkpoints -------------------------------------------------------------------------------------------

    def export(self) -> Any:
        """Everything later messages depend on."""
        return {"height": self.height, "roots": msgspec.to_builtins(list(self._roots.values()))}

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self.height = state["height"]
        self._roots = {root.name: root for root in msgspec.convert(state["roots"], list[Root])}


def _by_account(root: Root, rows: Iterable[Any], frame_number: int | None) -> list[tuple[Account, list[Any]]]:
    """Rows by the subaccount they are of."""
    found: dict[str, tuple[Account, list[Any]]] = {}
    for row in rows:
        number = row.subaccountNumber if row.subaccountNumber is not None else frame_number
        account = root.account(number)
        found.setdefault(account.name, (account, []))[1].append(row)
    return list(found.values())


def _calls(root: Root) -> list[RestCall]:
    """What reconciles a snapshot."""
    return [
        rest.orders_call(root.name, is_parent=root.is_parent),
        rest.fills_call(root.name, is_parent=root.is_parent),
        rest.transfers_call(root.name, is_parent=root.is_parent),
        rest.funding_call(root.name, is_parent=root.is_parent),
    ]
