"""
dYdX v4's account streams, without the socket.

What is peculiar about them, and where it is handled:

- A snapshot holds positions, collateral and live orders, but no fill; fills, ended orders, transfers and funding
  payments are asked for by REST after each snapshot, and REST lags: whatever was reported is reported once
  (`accounts_news`). The venue fetches the snapshot before it subscribes us, and REST closes that hole too: a fill that
  only REST tells of makes the positions doubtful (`positions dydx1.../0` is stale) until a statement covers its block.
- REST may also be ahead of frames that are on their way. A fill in a block after the newest word about its order waits
  for the next word, a minute at most: the id may stand for another order by then. A word about the order before is
  reported only if it says that that one was filled.
- Statements are ordered by the height of their block. A change without one is of the newest block that its connection
  has reported, at the earliest: where REST knows a later one, the next statement counts and until then nothing does.
- What is in a block that is not later than the first snapshot is history; what comes later is news, also by REST.
- The end of a short-term order is not announced: it has ended when the height of the chain, as frames tell it, is
  above its last block. While an account's connection is lost, or before the replies that follow a snapshot have come,
  the order may have been filled without our knowing, so its end waits for them. Another connection may be ahead of the
  accounts' own, so they hear of blocks themselves; what another one says of blocks counts only if it is far ahead.
- A subaccount that was never used is no error. A parent's frames say which child, an account of its own, they mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.frames import Frame
from toolkit.messages import EventKind, Message
from toolkit.protocol import Request
from toolkit.streams import Stream
from toolkit.venues.dydx_v4 import accounts_read as read
from toolkit.venues.dydx_v4 import accounts_rest as rest
from toolkit.venues.dydx_v4 import accounts_wire as wire
from toolkit.venues.dydx_v4.accounts_convert import AccountMessages
from toolkit.venues.dydx_v4.accounts_news import ALL, Account, AccountNews, Since
from toolkit.venues.dydx_v4.accounts_polls import JOINED_S, AccountPolls
from toolkit.venues.dydx_v4.accounts_root import Root, by_account, reconciling_calls
from toolkit.venues.dydx_v4.heights import ChainHeight
from toolkit.venues.dydx_v4.items import Finding
from toolkit.venues.dydx_v4.pages import PAGES_MAX, SHORT_PAGE_ROWS, Page

if TYPE_CHECKING:
    from toolkit.protocol import VenueProtocol

__all__ = ["AccountStreams", "Root"]

#: Replies without which it is not known what became of an order while the connection was down.
_OWED: Final = ("accountOrders", "accountFills")
#: Replies that alone tell of what was missed.
_MISSED: Final = (*_OWED, "accountTransfers", "accountFunding")
#: A reply that has not come by then is asked for again, seconds.
REPLY_S_MAX: Final = 120
#: A connection that is not the accounts' own is believed to be ahead of it by so many blocks at most.
AHEAD_MAX: Final = 10
#: Fills of so many blocks may have been in frames that were lost without our noticing yet: 30 s are the longest that
#: it takes, at two blocks a second at most.
BLOCKS_IN_DOUBT: Final = 100
#: A fill waits so long for a word about its order that tells which order of its id it is of, seconds.
HELD_S_MAX: Final = 60
#: Requests without an answer that are remembered, of one kind.
ASKED_MAX: Final = 8


class AccountStreams:
    """
    The subaccounts that a protocol follows.

    Args:
        protocol: Protocol that they are part of: it has the streams and makes the events.
    """

    def __init__(self, protocol: VenueProtocol) -> None:
        self._protocol = protocol
        self._roots: dict[str, Root] = {}
        self._polls = AccountPolls()
        self._owed_mono: dict[str, int] = {}
        self._asked: dict[str, list[int]] = {}
        #: The height of the chain, from all connections.
        self.chain = ChainHeight()
        #: The height at which orders end.
        self.height = 0
        #: The newest block that the accounts' own connection has reported: its frames are of that one or later.
        self._own_height = 0
        #: Whether the accounts' own connection hears of blocks.
        self.follows_blocks = False

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
        self.follows_blocks = False
        self._own_height = 0
        for name in names:
            root = self.follow(name, is_parent=is_parent)
            stream = self._protocol.streams.add(Stream("", "", root.stream))
            self._protocol.streams.resubscribed(stream, frame)
        self._polls.begin(frame)

    def session_ended(self) -> None:
        """No connection is left."""
        self._owed_mono.clear()
        self._asked.clear()
        self._polls.ended()

    def asked(self, tag: str, seq: int) -> None:
        """A request left, as that frame, which does not carry its own number."""
        self._asked.setdefault(tag, []).append(seq)
        del self._asked[tag][:-ASKED_MAX]

    def lost_frames(self, name: str) -> None:
        """Frames of that subscription may have been lost a while ago."""
        root = self._roots.get(name)
        if root is not None:
            root.filled_to = max(0, root.filled_to - BLOCKS_IN_DOUBT)

    def unanswered(self, frame: Frame, tag: str, messages: list[Message]) -> str:
        """A request got no answer: it is made again soon. Returns the name of the stream that is stale by it, or none."""
        what, _, rest_of_tag = tag.partition(":")
        name = rest_of_tag.partition(":")[0]
        self._polls.failed(what, name, frame.ts_mono)
        root = self._roots.get(name)
        if root is None or what not in _MISSED:
            return ""
        if what not in root.unanswered:
            root.unanswered.append(what)
        if "accountFills" in root.owed and not root.is_doubtful:
            # It is not known what happened between the snapshot and the updates after it.
            root.account(None).doubt(ALL, max(1, self.chain.newest))
            self._judge(frame, root, messages)
        return root.missed

    def _answered(self, frame: Frame, root: Root, what: str, messages: list[Message]) -> None:
        self._polls.answered(what, root.name)
        if what in root.unanswered:
            root.unanswered.remove(what)
            if not root.unanswered and self._protocol.streams.get("", root.missed) is not None:
                self._protocol.received(frame, "", root.missed, messages)

    def due(self, mono_ns: int) -> list[Request]:
        """Requests that the time makes necessary."""
        roots = [root for root in self._roots.values() if root.since is not None]
        requests: list[Request] = [*self._polls.due([(root.name, root.is_parent) for root in roots], mono_ns)]
        for name, since in self._owed_mono.items():
            root = self._roots[name]
            if root.owed and mono_ns - since > REPLY_S_MAX * NS_PER_S:
                self._owed_mono[name] = mono_ns
                requests += [call for call in reconciling_calls(root) if call.tag.partition(":")[0] in root.owed]
        return requests

    # -- frames ------------------------------------------------------------------------------------------------

    def emit(
        self,
        frame: Frame,
        name: str,
        contents: list[wire.Contents],
        messages: list[Message],
        *,
        is_parent: bool,
        is_snapshot: bool,
        number: int | None,
    ) -> None:
        """
        Tell what a frame says.

        Args:
            frame: The frame.
            name: Its subscription.
            contents: Contents of the frame, checked.
            messages: Where the messages go.
            is_parent: Whether the subscription is that of a parent.
            is_snapshot: Whether it answers a subscribe.
            number: The child it means; None where it does not say.
        """
        root = self.follow(name, is_parent=is_parent)
        stream = self._protocol.streams.get("", root.stream)
        # After a loss only a snapshot makes good what was missed; what comes before it is reported and heals nothing.
        if is_snapshot or stream is None or stream.is_live:
            stream = self._protocol.received(frame, "", root.stream, messages)
        makes = AccountMessages(self._protocol.venue, frame, messages)
        for part in contents:
            height = part.blockHeight
            if height is not None and not self.chain.note_height(height, frame.ts_recv):
                height = None
            self._own_height = max(self._own_height, height or 0)
            if is_snapshot:
                self._snapshot(frame, root, part, makes, height)
            else:
                self._change(frame, root, part, makes, number, height, is_whole=stream.is_live)
            self.height = max(self.height, height or 0)
        self._judge(frame, root, messages)
        self.passed(frame, messages)

    def block(self, frame: Frame, height: int, messages: list[Message], *, is_own: bool) -> None:
        """A connection reported a block; `is_own` if it is that of the accounts."""
        if not self.chain.note_height(height, frame.ts_recv):
            return
        if self.follows_blocks and not is_own:
            height -= AHEAD_MAX
        # A chain that was followed back to a lower height goes on from there.
        self.height = min(self.height, self.chain.newest)
        self._own_height = min(max(self._own_height, height if is_own else 0), self.chain.newest)
        if height > self.height:
            self.height = height
            self.passed(frame, messages)

    def passed(self, frame: Frame, messages: list[Message]) -> None:
        """Tell of the orders whose last block is past, of accounts that have missed nothing."""
        makes = AccountMessages(self._protocol.venue, frame, messages)
        for root in self._roots.values():
            if root.is_holding:
                self.decide(root, makes, frame.ts_mono - HELD_S_MAX * NS_PER_S)
            stream = self._protocol.streams.get("", root.stream)
            if stream is None or not stream.is_live:
                continue
            owed_seq = root.owed_seq if root.owed else 0
            for account in root.accounts.values():
                if account.short:
                    AccountNews(account, makes, root.since).passed(self.height, owed_seq)

    def decide(self, root: Root, makes: AccountMessages, since_mono: int) -> None:
        """Tell the fills that have waited since before then for a word about their order."""
        for account in root.accounts.values():
            if account.held:
                self._makes_news(account, root, makes).decide_all(since_mono)
        if not root.is_holding:
            self._polls.settled("accountOrders", root.name)

    def decide_all(self, frame: Frame, messages: list[Message]) -> None:
        """The session is over: nothing waits any longer."""
        makes = AccountMessages(self._protocol.venue, frame, messages)
        for root in self._roots.values():
            self.decide(root, makes, frame.ts_mono)

    def _change(
        self,
        frame: Frame,
        root: Root,
        part: wire.Contents,
        makes: AccountMessages,
        number: int | None,
        height: int | None,
        *,
        is_whole: bool,
    ) -> None:
        """What a frame says has changed. Orders come before fills, so that a fill's order is mostly known before it."""
        for order in part.orders:
            self._news(root, order.subaccountNumber, number, makes).orders([order], "stream", height)
        for fill in part.fills:
            self._news(root, fill.subaccountNumber, number, makes).fills([fill], "stream")
        if part.fills and is_whole and root.is_sure and not root.is_paging:
            newest = max(fill.createdAtHeight for fill in part.fills)
            # More fills of that block may be in the next frame.
            root.filled_to = max(root.filled_to, self.chain.bounded(newest) - 1)
        # One that does not say its block may be of one after every block so far, and of the last one of its connection.
        stated, least = (height, None) if height is not None else (self.chain.newest + 1, self._own_height)
        for account, positions in by_account(root, part.perpetualPositions, number):
            self._makes_news(account, root, makes).positions(positions, stated, "stream", least=least)
        for account, assets in by_account(root, part.assetPositions, number):
            self._makes_news(account, root, makes).assets(assets, stated, "stream", least=least)
        if part.has_lost_holdings:
            root.account(number).doubt(ALL, stated)
        own = self._makes_news(root.account(None), root, makes)
        own.transfers(part.transfers, "stream")
        if part.tradingReward is not None:
            own.reward(part.tradingReward)
        if part.perpetualPositions or part.assetPositions or part.fills:
            self._polls.touched(root.name, frame.ts_mono)

    def _makes_news(self, account: Account, root: Root, makes: AccountMessages) -> AccountNews:
        account.height = self.chain.bounded(account.height)
        is_held = root.is_paging or root.is_paging_paid
        return AccountNews(account, makes, root.since, self.height, is_held=is_held)

    def _news(self, root: Root, number: int | None, frame_number: int | None, makes: AccountMessages) -> AccountNews:
        account = root.account(number if number is not None else frame_number)
        return self._makes_news(account, root, makes)

    def _snapshot(
        self,
        frame: Frame,
        root: Root,
        part: wire.Contents,
        makes: AccountMessages,
        height: int | None,
    ) -> None:
        is_first = root.since is None
        if height is None and part.subaccount is not None:
            height = part.subaccount.latestProcessedBlockHeight
        if root.since is None:
            root.since = Since(height if height is not None else self.chain.newest or None, frame.ts_recv)
            root.filled_to = root.paid_to = root.since.height or 0
        root.joined_recv, root.joined_mono, root.is_sure = frame.ts_recv, frame.ts_mono, False
        if part.subaccount is None:
            self._missing(frame, root, makes.messages)
        else:
            self._whole(root, part.subaccount, makes, height if height is not None else self.chain.newest)
        for order in part.orders:
            news = self._news(root, order.subaccountNumber, None, makes)
            news.orders([order], "snapshot", height, is_first=is_first)
        listed = {order.id for order in part.orders}
        if self._protocol.role_of(frame.conn_id):
            root.suspects = [
                order_id
                for account in root.accounts.values()
                for order_id, order in account.orders.items()
                if order.facts and not order.is_done and not order.is_short_term and order_id not in listed
            ]
            root.owed = list(_OWED)
            root.owed_seq = frame.capture_seq
            root.is_paging = False
            self._owed_mono[root.name] = frame.ts_mono
            self._polls.joined(root.name, frame.ts_mono)
            self._protocol.ask(reconciling_calls(root))

    def _whole(self, root: Root, subaccount: wire.Subaccount, makes: AccountMessages, height: int) -> None:
        spoken = set()
        for member in subaccount.members:
            account = root.account(member.subaccountNumber)
            spoken.add(account.name)
            self._makes_news(account, root, makes).subaccount(member, height)
        if subaccount.childSubaccounts is not None and ALL in subaccount.lost:
            root.account(None).doubt(ALL, height)
            return
        for account in list(root.accounts.values()):
            # A child that a parent no longer lists has nothing any more.
            if account.name not in spoken:
                self._makes_news(account, root, makes).subaccount(wire.Subaccount(), height)

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

    def _judge(self, frame: Frame, root: Root, messages: list[Message]) -> None:
        """Say whether the reported positions and collateral are those that are."""
        streams = self._protocol.streams
        stream = streams.get("", root.holdings)
        if not root.is_doubtful:
            self._polls.settled("subaccount", root.name)
            if stream is not None and not stream.is_live:
                self._protocol.received(frame, "", root.holdings, messages)
            return
        if stream is None:
            stream = streams.add(Stream("", "", root.holdings, -1))
            stream.is_live = True
        if not stream.is_live:
            return
        stream.last_recv = root.joined_recv or frame.ts_recv
        names = sorted({name or "all" for account in root.accounts.values() for name in account.unstated})
        text = f"{', '.join(names)} changed in a block that no statement covers yet"
        self._protocol.mark_stale(frame, stream, "behind", messages, text)
        self._polls.doubted("subaccount", root.name, frame.ts_mono)
        self._protocol.ask([rest.subaccount_call(root.name, is_parent=root.is_parent)])

    # -- REST replies ------------------------------------------------------------------------------------------

    def on_reply(
        self,
        frame: Frame,
        tag: str,
        seq: int | None,
        found: list[Finding],
        *,
        is_parent: bool,
        is_missing: bool,
    ) -> list[Message]:
        """
        The messages of a reply to one of `ACCOUNT_REPLIES`. Raises ParseError.

        Args:
            frame: The reply.
            tag: Tag of the request.
            seq: The request's own frame; None where the reply does not say.
            found: Takes what is odd about it.
            is_parent: Whether accounts are followed with their children.
            is_missing: Whether the venue says that there is no such thing.
        """
        what, _, rest_of_tag = tag.partition(":")
        name, _, more = rest_of_tag.partition(":")
        root = self.follow(name, is_parent=is_parent)
        waiting = self._asked.get(tag)
        if seq is None and waiting:
            seq = waiting.pop(0)
        messages: list[Message] = []
        makes = AccountMessages(self._protocol.venue, frame, messages)
        is_whole = True
        if is_missing:
            self._missing(frame, root, messages)
        elif what == "subaccount":
            self._on_subaccount(root, read.read_subaccount(frame.payload, found), makes)
        elif what == "accountFills":
            rows = read.read_fills(frame.payload, found)
            is_whole = self._on_fills(frame, root, rows, makes, more, is_late=seq is not None and seq < root.owed_seq)
        elif what == "accountTransfers":
            transfers = reversed(read.read_transfers(frame.payload, found))
            self._makes_news(root.account(None), root, makes).transfers(transfers, "rest")
        elif what == "accountFunding":
            self._on_funding(root, read.read_funding(frame.payload, found), makes, more)
        else:
            reader = read.read_order if what == "accountOrder" else read.read_orders
            self._on_orders(root, reader(frame.payload, found), makes)
        if is_whole:
            self._answered(frame, root, what, messages)
        if what == "accountFills" and root.is_holding:
            self._polls.doubted("accountOrders", root.name, frame.ts_mono)
            self._protocol.ask([rest.orders_call(root.name, is_parent=is_parent)])
        self._judge(frame, root, messages)
        # An answer to what was asked before that snapshot may be older than what was missed.
        if is_whole and (seq is None or seq > root.owed_seq):
            self._settle(root, what)
        if not root.owed:
            self.passed(frame, messages)
        return messages

    def refused(self, tag: str) -> None:
        """The venue does not answer that: it is not waited for."""
        what, _, rest_of_tag = tag.partition(":")
        name = rest_of_tag.partition(":")[0]
        root = self._roots.get(name)
        if root is not None:
            self._polls.refused(what, name)
            root.owed = [each for each in root.owed if each != what]

    def _on_subaccount(self, root: Root, subaccount: wire.Subaccount, makes: AccountMessages) -> None:
        """REST lags the stream: what is older than a change that it reported does not undo it."""
        height = subaccount.latestProcessedBlockHeight
        if height is None:
            height = max((member.latestProcessedBlockHeight or 0 for member in subaccount.members), default=0)
        self._whole(root, subaccount, makes, self.chain.bounded(height))

    def _on_orders(self, root: Root, orders: list[wire.Order], makes: AccountMessages) -> None:
        for order in reversed(orders):
            self._news(root, order.subaccountNumber, None, makes).orders([order], "rest")
        found = {order.id for order in orders}
        root.suspects = [order_id for order_id in root.suspects if order_id not in found]

    def _on_fills(
        self,
        frame: Frame,
        root: Root,
        rows: list[wire.Fill],
        makes: AccountMessages,
        more: str,
        *,
        is_late: bool,
    ) -> bool:
        """
        Fills, newest first, those of one block too; returns whether all that were missed have come.

        What was asked for before the last snapshot (`is_late`) says nothing of what was missed until then.
        """
        page = Page.parse(more, root.filled_to)
        if page.number == 1:
            root.is_paging = False
            page.top = max((row.createdAtHeight for row in rows), default=page.goal)
        count = 0
        for row in reversed(rows):
            count += self._news(root, row.subaccountNumber, None, makes).fills([row], "rest")
        heights = [row.createdAtHeight for row in rows]
        # An account may have no fill in a block that is known.
        following = page.following(heights, count) if len(rows) >= SHORT_PAGE_ROWS else None
        root.is_paging = following is not None
        if following is not None:
            self._protocol.ask([rest.fills_call(root.name, is_parent=root.is_parent, page=following)])
            return False
        root.filled_to = max(root.filled_to, self.chain.bounded(page.top))
        if not is_late and frame.ts_mono - root.joined_mono >= JOINED_S * NS_PER_S:
            root.is_sure = True
        if page.is_cut:
            text = f"more than {page.number} pages of fills since block {page.goal}: older ones were not asked for"
            makes.messages.append(
                self._protocol.event(
                    frame, EventKind.NOTICE, sub_seq=len(makes.messages), cause="fills", detail=f"{root.name}: {text}"
                )
            )
        return True

    def _on_funding(self, root: Root, rows: list[wire.FundingRow], makes: AccountMessages, more: str) -> None:
        number = int(more) if more.isascii() and more.isdigit() else 1
        count = 0
        for row in reversed(rows):
            count += self._news(root, row.subaccountNumber, None, makes).fundings([row])
        oldest = min((row.createdAtHeight for row in rows), default=0)
        if number == 1:
            root.paid_top = max((row.createdAtHeight for row in rows), default=0)
        is_full = len(rows) >= SHORT_PAGE_ROWS and oldest > root.paid_to
        root.is_paging_paid = is_full and count > 0 and number < PAGES_MAX
        if root.is_paging_paid:
            self._protocol.ask([rest.funding_call(root.name, is_parent=root.is_parent, page=number + 1)])
            return
        root.paid_to = max(root.paid_to, self.chain.bounded(root.paid_top))

    def _settle(self, root: Root, what: str) -> None:
        """A reply has come; once all have, ask for the orders that none of them spoke of."""
        if what in root.owed:
            root.owed.remove(what)
            if not root.owed:
                self._protocol.ask([rest.order_call(root.name, order_id) for order_id in root.suspects])
                root.suspects = []

    # -- checkpoints -------------------------------------------------------------------------------------------

    def export(self) -> Any:
        """Everything later messages depend on."""
        return {
            "height": self.height,
            "chain": msgspec.to_builtins(self.chain),
            "hears_blocks": self.follows_blocks,
            "own_height": self._own_height,
            "asked": {tag: list(seqs) for tag, seqs in self._asked.items() if seqs},
            "roots": msgspec.to_builtins(list(self._roots.values())),
        }

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self.height = state["height"]
        self.chain = msgspec.convert(state["chain"], ChainHeight)
        self.follows_blocks = state["hears_blocks"]
        self._own_height = state["own_height"]
        self._asked = {tag: list(seqs) for tag, seqs in state["asked"].items()}
        self._roots = {root.name: root for root in msgspec.convert(state["roots"], list[Root])}
