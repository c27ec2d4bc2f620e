"""
Hyperliquid's account streams, without the socket.

What is peculiar about them, and where it is handled:

- `orderUpdates` and `user` name no account, so each account has a connection of its own (`user-0`, `user-1`, ...).
- `orderUpdates` has no snapshot and nothing is replayed after a lost connection: each time it is made, the open orders
  and the newest 2,000 statuses are asked for by REST, and orders that are in neither one by one.
- A fill comes twice, on `user` and on `userFills`, and again in the snapshot of 2,000 after each subscribe. A
  liquidation comes twice, as an announcement and in the ledger. Everything is emitted once (`accounts_news.py`).
- If more than 2,000 fills were missed, the rest is asked for by time.
- States (positions, balances, open orders) are sent whole; what they repeat is not emitted again.

A snapshot after the first subscribe tells the past: `is_history`. Later ones tell what was missed. If the first
connection was lost before one came, the venue's time tells the past from what happened since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.errors import ParseError
from toolkit.frames import Frame
from toolkit.messages import EventKind, Message
from toolkit.protocol import RestCall, SendText
from toolkit.streams import Stream
from toolkit.venues.hyperliquid import accounts_wire as wire
from toolkit.venues.hyperliquid.accounts_convert import AccountMessages, oldest_first
from toolkit.venues.hyperliquid.accounts_news import Account, AccountNews, fill_key, without
from toolkit.venues.hyperliquid.convert import decoded_json, info_call, json_or_none
from toolkit.venues.hyperliquid.lenient import loose
from toolkit.venues.hyperliquid.symbols import dex_of

if TYPE_CHECKING:
    from toolkit.venues.hyperliquid.market import HyperliquidMarketProtocol

__all__ = ["ACCOUNT_REPLIES", "UserStreams"]

#: What is subscribed for each account. Statuses before fills, so that a fill's order is mostly known before it.
_SUBSCRIPTIONS: Final[tuple[dict[str, str], ...]] = (
    {"type": "orderUpdates"},
    {"type": "userEvents"},
    {"type": "userFills"},
    {"type": "userFundings"},
    {"type": "userNonFundingLedgerUpdates"},
    {"type": "allDexsClearinghouseState"},
    {"type": "spotState"},
)
#: Most rows of one reply about fills; as many may mean that there are more.
FILLS_ROWS_MAX: Final = 2000
#: An acknowledgement that has not come by then is asked for again, seconds; they come within 0.3 s.
ANSWER_S_MAX: Final = 30.0
#: Likewise a REST reply; the venue's limits alone may hold up those of ten accounts for more than a minute.
REPLY_S_MAX: Final = 180.0

#: REST replies that are about an account: by the first word of the request's tag.
ACCOUNT_REPLIES: Final = frozenset(
    {
        "frontendOpenOrders",
        "openOrders",
        "historicalOrders",
        "orderStatus",
        "userFills",
        "userFillsByTime",
        "userFunding",
        "userNonFundingLedgerUpdates",
        "clearinghouseState",
        "spotClearinghouseState",
    }
)

#: Kinds of lists, as an account remembers that it has had one. The status of one order is asked for when it was known.
FILLS: Final = "fills"
FUNDINGS: Final = "fundings"
LEDGER: Final = "ledger"
ORDERS: Final = "orders"
ORDER_STATUS: Final = "order"

_encode = msgspec.json.encode


class UserStreams:
    """
    The accounts that a protocol follows.

    Args:
        protocol: Protocol that they are part of: it has the coins, the streams and the queue of requests.
    """

    def __init__(self, protocol: HyperliquidMarketProtocol) -> None:
        self._protocol = protocol
        self._accounts: dict[str, Account] = {}
        #: Subscribes and REST requests that are unanswered, and since when; they decide nothing but requests.
        self._unanswered: dict[tuple[int, str], int] = {}
        self._owed_mono: dict[str, int] = {}
        #: How many lists in a row have left out an order that is thought to be open; decides nothing but requests.
        self._unlisted: dict[tuple[str, int], int] = {}

    # -- accounts and connections ------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[str]:
        """Addresses that are followed, in order."""
        return list(self._accounts)

    def follow(self, address: str) -> Account:
        """Follow an address from now on."""
        account = self._accounts.get(address)
        if account is None:
            account = self._accounts[address] = Account(address)
        return account

    def connected(self, frame: Frame, address: str) -> None:
        """The connection of an account was made: subscribe everything, and ask for what has no snapshot."""
        account = self.follow(address)
        account.connect_count += 1
        clock = self._protocol.clock
        clock.saw(frame)
        if account.connect_count == 1:
            account.watch_ms = clock.at(frame.ts_mono) // NS_PER_MS
            account.watch_mono = None if clock.has_stamps else frame.ts_mono
        account.suspects = [oid for oid, order in account.orders.items() if not order.is_done]
        account.dexes = [""]
        stream = self._protocol.streams.add(Stream("", "", self._stream_name(address)))
        self._protocol.streams.resubscribed(stream, frame)
        for subscription in [*_SUBSCRIPTIONS, {"type": "openOrders", "dex": ""}]:
            self._subscribe(frame, subscription, address)
        calls = [_open_orders(address, ""), _historical_orders(account)]
        account.owed = [call.tag for call in calls]
        self._owed_mono[address] = frame.ts_mono
        self._protocol.ask(calls)

    def unsubscribe(self, frame: Frame, address: str) -> None:
        """End every subscription of an account, so that the next ones begin with a snapshot again."""
        dexes = self.follow(address).dexes or [""]
        for subscription in [*_SUBSCRIPTIONS, *({"type": "openOrders", "dex": dex} for dex in dexes)]:
            text = _encode({"method": "unsubscribe", "subscription": {**subscription, "user": address}})
            self._protocol.ask([SendText(frame.conn_id, text)])

    def disconnected(self, conn_id: int) -> None:
        """A connection was lost."""
        for key in [key for key in self._unanswered if key[0] == conn_id]:
            del self._unanswered[key]

    def session_ended(self) -> None:
        """No connection is left."""
        self._unanswered.clear()
        self._owed_mono.clear()
        self._unlisted.clear()
        for account in self._accounts.values():
            account.watch_mono = None

    def due(self, mono_ns: int) -> list[Any]:
        """Requests whose answer is overdue, once more."""
        limit = round(ANSWER_S_MAX * NS_PER_S)
        requests: list[Any] = []
        for (conn_id, text), since in self._unanswered.items():
            if mono_ns - since > limit:
                self._unanswered[conn_id, text] = mono_ns
                requests.append(SendText(conn_id, text.encode()))
        limit = round(REPLY_S_MAX * NS_PER_S)
        for address, since in self._owed_mono.items():
            account = self._accounts[address]
            if account.owed and mono_ns - since > limit:
                self._owed_mono[address] = mono_ns
                requests += [_call_of(account, tag) for tag in account.owed]
        return requests

    def _subscribe(self, frame: Frame, subscription: dict[str, str], address: str) -> None:
        text = _encode({"method": "subscribe", "subscription": {**subscription, "user": address}})
        self._unanswered[frame.conn_id, text.decode()] = frame.ts_mono
        self._protocol.ask([SendText(frame.conn_id, text)])

    def _answered(self, frame: Frame, words: Any) -> None:
        if not isinstance(words, dict):
            return
        wanted = (words.get("type"), words.get("dex") or "")
        for conn_id, text in list(self._unanswered):
            asked = json_or_none(text)["subscription"]
            if conn_id == frame.conn_id and (asked["type"], asked.get("dex") or "") == wanted:
                del self._unanswered[conn_id, text]

    @staticmethod
    def _stream_name(address: str) -> str:
        return f"user {address}".rstrip()

    # -- WebSocket frames --------------------------------------------------------------------------------------

    def on_text(self, frame: Frame, address: str) -> list[Message]:
        """The messages of a frame of an account's connection; `address` where the frame itself names no account."""
        odd: list[str] = []
        message = wire.decode_user_frame(frame.payload, odd)
        messages = self._messages_of(frame, address, message, odd)
        self._protocol.report_odd(frame, odd, messages)
        return messages

    def _messages_of(self, frame: Frame, address: str, message: wire.UserFrame | None, odd: list[str]) -> list[Message]:
        match message:
            case wire.OrderUpdates(data=rows):
                return self._on_orders(frame, address, rows, odd)
            case wire.UserEvents(data=data):
                return self._on_events(frame, address, data, odd)
            case wire.UserFills(data=data):
                return self._on_fill_list(frame, data.user.lower() or address, data.fills, data.isSnapshot, odd)
            case wire.UserFundings(data=data):
                return self._on_fundings(frame, data.user.lower() or address, data.fundings, data.isSnapshot, odd)
            case wire.UserLedger(data=data):
                ledger = data.nonFundingLedgerUpdates
                return self._on_ledger(frame, data.user.lower() or address, ledger, data.isSnapshot, odd)
            case wire.Clearinghouses(data=data):
                return self._on_margin(frame, data.user.lower() or address, data.clearinghouseStates)
            case wire.SpotStateFrame(data=data):
                return self._on_spot(frame, data.user.lower() or address, data.spotState)
            case wire.OpenOrders(data=data):
                return self._on_open_orders(frame, data.user.lower() or address, data, odd)
            case wire.Subscribed(data=response):
                if response.get("method") != "unsubscribe":
                    self._answered(frame, response.get("subscription"))
                return []
            case wire.UserError(data=text):
                return self._on_error(frame, address, text)
            case _:
                return []

    def _on_error(self, frame: Frame, address: str, text: str) -> list[Message]:
        prefix, _, rest = text.partition(": ")
        if prefix in ("Already subscribed", "Already unsubscribed"):
            self._answered(frame, json_or_none(rest))
            return []
        if text.startswith("Cannot track more than"):
            # The error does not say what it answers; asking again would bring it again.
            self.disconnected(frame.conn_id)
            text = f"{address} is not followed: {text} Follow fewer accounts from this machine"
        return [self._protocol.event(frame, EventKind.VENUE_ERROR, cause="account", detail=text)]

    def _received(self, frame: Frame, account: Account, built: Sequence[Message]) -> list[Message]:
        """Note that the account's streams speak; a gap that this ends comes before what was said."""
        name = self._stream_name(account.address)
        self._protocol.streams.add(Stream("", "", name, frame.conn_id))
        messages: list[Message] = []
        self._protocol.received(frame, "", name, messages)
        first = len(messages)
        if first:
            built = [msgspec.structs.replace(message, sub_seq=message.sub_seq + first) for message in built]
        messages += built
        return messages

    def _news(self, frame: Frame, account: Account, odd: list[str]) -> AccountNews:
        protocol = self._protocol
        return AccountNews(account, AccountMessages(protocol.venue, protocol.coins, frame, account.address), odd)

    # -- orders ------------------------------------------------------------------------------------------------

    def _on_orders(
        self, frame: Frame, address: str, rows: Sequence[wire.WireOrderStatus], odd: list[str]
    ) -> list[Message]:
        account = self.follow(address)
        news = self._news(frame, account, odd)
        return self._received(frame, account, news.orders(rows))

    def _on_open_orders(self, frame: Frame, address: str, data: wire.OpenOrdersData, odd: list[str]) -> list[Message]:
        account = self.follow(address)
        kind = f"openOrders {data.dex}"
        built = self._news(frame, account, odd).listed(data.orders, kind)
        account.took(kind)
        if frame.conn_id >= 0 and account.connect_count and not data.is_part:
            self._protocol.ask(self._unlisted_orders(account, data))
        return self._received(frame, account, built)

    def _unlisted_orders(self, account: Account, data: wire.OpenOrdersData) -> list[RestCall]:
        """
        Questions about orders that are thought to be open and are not in the list of all open ones.

        A list may be a moment older than the status before it, so one is no reason yet; and they are asked about
        less and less often, if the answer says nothing.
        """
        listed = {order.oid for order in data.orders}
        calls = []
        for oid, order in account.orders.items():
            if order.is_done or dex_of(order.coin) != data.dex:
                continue
            key = (account.address, oid)
            if oid in listed:
                self._unlisted.pop(key, None)
                continue
            count = self._unlisted[key] = self._unlisted.get(key, 0) + 1
            if count > 1 and count & (count - 1) == 0:
                calls.append(_order_status(account.address, oid))
        return calls

    # -- fills, funding, ledger --------------------------------------------------------------------------------

    def _on_fill_list(
        self,
        frame: Frame,
        address: str,
        rows: list[wire.WireFill],
        is_snapshot: bool,
        odd: list[str],
    ) -> list[Message]:
        account = self.follow(address)
        before, last_ms = account.fills, account.last_fill_ms
        ordered = oldest_first(rows)
        is_torn = (
            is_snapshot
            and (FILLS in account.snapshots or account.connect_count > 1)
            and len(ordered) >= FILLS_ROWS_MAX
            and last_ms
            and fill_key(ordered[0]) not in before
        )
        built = self._news(frame, account, odd).fills(ordered, FILLS if is_snapshot else "")
        if is_snapshot:
            account.took(FILLS)
        if is_torn:
            # More was missed than a snapshot holds.
            self._protocol.ask([_fills_by_time(address, last_ms)])
        return self._received(frame, account, built)

    def _on_fundings(
        self, frame: Frame, address: str, rows: Sequence[wire.WireFunding], is_snapshot: bool, odd: list[str]
    ) -> list[Message]:
        account = self.follow(address)
        built = self._news(frame, account, odd).fundings(oldest_first(rows), FUNDINGS if is_snapshot else "")
        if is_snapshot:
            account.took(FUNDINGS)
        return self._received(frame, account, built)

    def _on_ledger(
        self, frame: Frame, address: str, rows: Sequence[wire.WireLedgerRow], is_snapshot: bool, odd: list[str]
    ) -> list[Message]:
        account = self.follow(address)
        built = self._news(frame, account, odd).ledger(oldest_first(rows), LEDGER if is_snapshot else "")
        if is_snapshot:
            account.took(LEDGER)
        return self._received(frame, account, built)

    def _on_events(self, frame: Frame, address: str, data: wire.UserEventsData, odd: list[str]) -> list[Message]:
        account = self.follow(address)
        news = self._news(frame, account, odd)
        built: list[Message] = []
        # One of them at a time, as the venue says; several would all be reported.
        for some in (
            news.fills(data.fills) if data.fills else (),
            news.fundings([data.funding]) if data.funding is not None else (),
            news.liquidation(data.liquidation) if data.liquidation is not None else (),
            news.system_cancels(data.nonUserCancel) if data.nonUserCancel else (),
        ):
            built += [msgspec.structs.replace(each, sub_seq=len(built) + number) for number, each in enumerate(some)]
        return self._received(frame, account, built)

    # -- states ------------------------------------------------------------------------------------------------

    def _on_margin(
        self, frame: Frame, address: str, states: Sequence[tuple[str, wire.ClearinghouseState]]
    ) -> list[Message]:
        account = self.follow(address)
        self._note_time(frame, account, states)
        messages = self._received(frame, account, self._news(frame, account, []).margins(states))
        for dex, state in states:
            # Where there is no margin there is no order: most accounts use one or two of the dexes.
            if dex not in account.dexes and state.marginSummary is not None and state.marginSummary.accountValue:
                account.dexes.append(dex)
                if account.connect_count and frame.conn_id >= 0:
                    self._subscribe(frame, {"type": "openOrders", "dex": dex}, address)
        return messages

    def _note_time(self, frame: Frame, account: Account, states: Sequence[tuple[str, wire.ClearinghouseState]]) -> None:
        """The state says what time it is at the venue, and so since when the account is watched."""
        time_ms = max((state.time for _, state in states if state.time is not None), default=None)
        if time_ms is None:
            return
        self._protocol.clock.received(time_ms, frame)
        if account.watch_mono is not None:
            account.watch_ms = time_ms - (frame.ts_mono - account.watch_mono) // NS_PER_MS
            account.watch_mono = None

    def _on_spot(self, frame: Frame, address: str, state: wire.SpotState) -> list[Message]:
        account = self.follow(address)
        return self._received(frame, account, self._news(frame, account, []).spot(state))

    # -- REST replies ------------------------------------------------------------------------------------------

    def on_reply(self, frame: Frame, tag: str) -> list[Message]:
        """The messages of a reply to one of `ACCOUNT_REPLIES`."""
        what, _, rest = tag.partition(":")
        address, _, more = rest.partition(":")
        account = self.follow(address)
        payload = frame.payload
        odd: list[str] = []
        news = self._news(frame, account, odd)
        built: list[Message]
        match what:
            case "frontendOpenOrders" | "openOrders":
                kind = f"openOrders {more}"
                built = news.listed(wire.rows(payload, wire.WireOrder, what, odd), kind)
                account.took(kind)
            case "historicalOrders":
                rows = wire.rows(payload, wire.WireOrderStatus, what, odd)
                # They come newest first.
                account.history_rows = len(rows)
                rows.reverse()
                rows.sort(key=lambda row: row.statusTimestamp)
                built = news.orders(rows, ORDERS)
                account.took(ORDERS)
                account.suspects = without(account.suspects, {row.order.oid for row in rows})
            case "orderStatus":
                built = self._on_order_status(frame, news, int(more))
            case "userFills" | "userFillsByTime":
                fills = oldest_first(wire.rows(payload, wire.WireFill, what, odd))
                built = news.fills(fills, FILLS if what == "userFills" else "")
                if what == "userFillsByTime" and len(fills) >= FILLS_ROWS_MAX and fills[-1].time > int(more or 0):
                    self._protocol.ask([_fills_by_time(address, fills[-1].time)])
            case "userFunding":
                found = wire.rows(payload, wire.WireFundingRow, what, odd)
                payments = [payment for row in found if (payment := _payment(row, odd)) is not None]
                built = news.fundings(oldest_first(payments), FUNDINGS)
            case "userNonFundingLedgerUpdates":
                built = news.ledger(oldest_first(wire.rows(payload, wire.WireLedgerRow, what, odd)), LEDGER)
            case "clearinghouseState":
                built = news.margins([(more, _state(payload, odd))])
            case _:
                built = news.spot(_spot(payload, odd))
        self._settle(account, tag)
        self._protocol.report_odd(frame, odd, built)
        return built

    def _on_order_status(self, frame: Frame, news: AccountNews, oid: int) -> list[Message]:
        found = wire.reply(frame.payload, wire.OrderStatusReply, "orderStatus")
        if found.order is not None:
            return news.orders([found.order], ORDER_STATUS)
        return news.lost_order(oid, found.status)

    def _settle(self, account: Account, tag: str) -> None:
        """A reply has come; once all have, ask for the orders that none of them spoke of."""
        if tag not in account.owed:
            return
        account.owed.remove(tag)
        if not account.owed:
            self._protocol.ask([_order_status(account.address, oid) for oid in account.suspects])
            account.suspects = []

    # -- checkpoints -------------------------------------------------------------------------------------------

    def export(self) -> Any:
        """Everything later messages depend on."""
        return msgspec.to_builtins(list(self._accounts.values()), str_keys=True)

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        accounts = msgspec.convert(state, list[Account], str_keys=True, strict=False)
        self._accounts = {account.address: account for account in accounts}


def _payment(row: wire.WireFundingRow, odd: list[str]) -> wire.WireFunding | None:
    return loose({**row.delta, "time": row.time}, wire.WireFunding, "userFunding", odd)


def _state(payload: bytes, odd: list[str]) -> wire.ClearinghouseState:
    state = wire.readable_state(decoded_json(payload), "clearinghouseState", odd)
    if state is None:
        raise ParseError("clearinghouseState of another shape than documented: it has no list of positions")
    return state


def _spot(payload: bytes, odd: list[str]) -> wire.SpotState:
    state = wire.readable_spot(decoded_json(payload), "spotClearinghouseState", odd)
    if state is None:
        raise ParseError("spotClearinghouseState of another shape than documented: it has no list of balances")
    return state


def _open_orders(address: str, dex: str) -> RestCall:
    more = {"user": address, "dex": dex} if dex else {"user": address}
    return info_call("frontendOpenOrders", more, tag=f"frontendOpenOrders:{address}:{dex}", weight=20)


def _historical_orders(account: Account) -> RestCall:
    # The venue charges 20, and 1 for each 20 rows of the reply: as many as last time, and some more.
    weight = 20 + min(account.history_rows + 100, 2000) // 20
    body = {"user": account.address}
    return info_call("historicalOrders", body, tag=f"historicalOrders:{account.address}:", weight=weight)


def _fills_by_time(address: str, start_ms: int) -> RestCall:
    more = {"user": address, "startTime": start_ms}
    return info_call("userFillsByTime", more, tag=f"userFillsByTime:{address}:{start_ms}", weight=120)


def _order_status(address: str, oid: int) -> RestCall:
    return info_call("orderStatus", {"user": address, "oid": oid}, tag=f"orderStatus:{address}:{oid}", weight=2)


def _call_of(account: Account, tag: str) -> RestCall:
    what, _, rest = tag.partition(":")
    return (
        _open_orders(account.address, rest.partition(":")[2])
        if what == "frontendOpenOrders"
        else _historical_orders(account)
    )
