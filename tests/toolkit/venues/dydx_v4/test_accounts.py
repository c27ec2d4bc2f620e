"""dYdX v4's accounts: the lives of orders as frames in and messages out, losses, replies, and the same once recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from replay.source import Fidelity, ReplayDataSource
from tests.toolkit.venues.dydx_harness import Session, data, events, market, of
from toolkit.account_messages import AccountEvent, Fill, FundingPayment, OrderState, OrderUpdate, PositionUpdate
from toolkit.accounts.exact_sums import exact
from toolkit.accounts.user_tracker import UserStreamTracker
from toolkit.books.tracker import OrderBookTracker
from toolkit.digest import DigestChain
from toolkit.errors import ConfigError, VenueRefused
from toolkit.messages import BalanceUpdate, EventKind, Message
from toolkit.protocol import ProtocolOptions, SendText
from toolkit.venues.dydx_v4.accounts_status import REASONS, STATUSES, ending, order_state
from toolkit.venues.dydx_v4.auth import DydxV4Auth, address_of
from toolkit.venues.dydx_v4.connector import DydxV4PerpetualConnector
from toolkit.venues.dydx_v4.protocol import DydxV4Protocol

ADDRESS = address_of(bytes(range(20)))
USER = f"{ADDRESS}/0"
TIME = "2024-08-23T00:00:01.000Z"


class Accounts(Session):
    """A session with an accounts connection; frames are numbered as the venue does."""

    number = 0

    @classmethod
    def opened(cls, *accounts: str, pairs: tuple[str, ...] = (), channels: tuple[str, ...] = ()) -> Accounts:
        subject = DydxV4Protocol(ProtocolOptions(pairs=pairs, channels=channels, accounts=accounts or (USER,)))
        session = cls(subject)
        subject.bootstrap()
        session.rest("perpetualMarkets", {"markets": {"BTC-USD": market()}})
        return session

    def join(self, height: int | None = 100, *, reply: bool = True, **contents: Any) -> list[Message]:
        """Connect and be given a snapshot, and its replies, which are empty unless asked to be."""
        self.number = 0
        self.connect("accounts")
        self.asked_channels = [text["channel"] for text in self.send()]
        number = self.asked_channels.index(next(each for each in self.asked_channels if "subaccounts" in each))
        for index in range(number):
            self.say_block(height or 0, index + 1, "subscribed")
        self.number = len(self.asked_channels)
        whole = {} if height is None else {"subaccount": SUBACCOUNT, "orders": [], "blockHeight": str(height)}
        channel = self.asked_channels[number]
        messages = self.take(data(channel, USER, {**whole, **contents}, number + 1, "subscribed"))
        self.replies = self.calls()
        if reply:
            messages = messages + self.reply()
        return messages

    def reply(self, *, orders: Any = (), fills: Any = ()) -> list[Message]:
        messages = self.rest(f"accountOrders:{USER}", list(orders))
        return messages + self.rest(f"accountFills:{USER}:1", {"fills": list(fills)})

    def say(self, channel: str = "v4_subaccounts", child: int | None = None, **contents: Any) -> list[Message]:
        self.number += 1
        body = data(channel, USER, contents, self.number)
        return self.take(body if child is None else {**body, "subaccountNumber": child})

    def say_block(self, height: int, number: int = 0, kind: str = "channel_data") -> list[Message]:
        if not number:
            self.number += 1
        key = "height" if kind == "subscribed" else "blockHeight"
        time = f"2024-08-23T00:{height // 60 % 60:02}:{height % 60:02}.000Z"
        body = {key: str(height), "time": time}
        return self.take(data("v4_block_height", "v4_block_height", body, number or self.number, kind))

    def lose(self) -> list[Message]:
        return self.control("disconnected", code=1006)


SUBACCOUNT: dict[str, Any] = {
    "address": ADDRESS,
    "subaccountNumber": 0,
    "equity": "100.5",
    "freeCollateral": "90.25",
    "openPerpetualPositions": {},
    "assetPositions": {"USDC": {"size": "100.5", "symbol": "USDC", "side": "LONG"}},
}


def order(status: str = "BEST_EFFORT_OPENED", id: str = "o1", **fields: Any) -> dict[str, Any]:
    row = {"id": id, "status": status, "ticker": "BTC-USD", "clientId": "7", "side": "BUY", "size": "2", "price": "10"}
    return {**row, "type": "LIMIT", "timeInForce": "GTT", "orderFlags": "0", "goodTilBlock": "110", **fields}


def fill(id: str = "f1", height: int = 101, size: str = "0.5", **fields: Any) -> dict[str, Any]:
    row = {"id": id, "orderId": "o1", "side": "BUY", "liquidity": "MAKER", "type": "LIMIT", "price": "10", "size": size}
    return {**row, "fee": "-0.001", "createdAt": TIME, "createdAtHeight": str(height), "ticker": "BTC-USD", **fields}


def states(messages: list[Message]) -> list[str]:
    return [str(update.state) for update in of(OrderUpdate, messages)]


def tracked(session: Session) -> UserStreamTracker:
    tracker = UserStreamTracker()
    for message in session.messages:
        tracker(message)
    return tracker


def state_of(session: Session, order_id: str = "o1") -> OrderState:
    found = tracked(session).orders.find(order_id)
    assert found is not None
    return found.state


# Whose account ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "dydx_v4: '' is no address; expected dydx1 and 38 letters, then / and a number"),
        ("cosmos1qqqsyqcyq5rqwzqfpg9scrgwpugpzysn20l73w/0", "is no address"),
        (ADDRESS[:-1] + "q/0", "does not fit its checksum; check it for a typing error"),
        (f"{ADDRESS}/x", "'x' is no subaccount; expected a number, as in dydx1.../0"),
        (f"{ADDRESS}/", "'' is no subaccount"),
        (f"{ADDRESS}/128000", "no subaccount has the number 128000; expected 0 to 127999"),
        ("5e" * 32, "that looks like a key or the words of one, which are never needed"),
        ("some words that nobody should see", "that looks like a key or the words of one"),
    ],
)
def test_a_malformed_account_is_one_clear_line(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DydxV4Protocol(ProtocolOptions(accounts=(text,)))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "5e5e" not in str(caught.value)
    assert "nobody should" not in str(caught.value)


def test_an_address_alone_is_its_first_subaccount() -> None:
    assert DydxV4Auth.parse(ADDRESS.upper()).name == USER


def test_a_child_cannot_be_a_parent_and_parent_needs_an_account() -> None:
    with pytest.raises(ConfigError, match=r"follows children through 2$"):
        DydxV4Protocol(ProtocolOptions(accounts=(f"{ADDRESS}/130",), channels=("parent",)))
    with pytest.raises(ConfigError, match="none is named"):
        DydxV4Protocol(ProtocolOptions(pairs=("BTC-USD",), channels=("parent",)))


def test_accounts_have_a_connection_of_their_own() -> None:
    session = Accounts.opened(pairs=("BTC-USD",))
    assert [plan.role for plan in session.subject.connections()] == ["venue", "books-0", "accounts"]
    alone = Accounts.opened()
    assert [plan.role for plan in alone.subject.connections()] == ["accounts"]
    alone.join()
    assert alone.asked_channels == ["v4_block_height", "v4_subaccounts"]


def test_a_subaccount_that_nobody_has_used_is_one_clear_line() -> None:
    session = Accounts.opened()
    messages = session.join(None)
    (notice,) = events(messages, EventKind.NOTICE)
    assert notice.detail.startswith(f"nobody has used the subaccount {USER} yet")
    assert not session.rest(f"subaccount:{USER}", {}, 404)
    (update,) = of(OrderUpdate, session.say(orders=[order()], blockHeight="101"))
    assert not update.is_history


JURISDICTION = "Because you appear to be a resident of a jurisdiction that violates our terms of use, you are blocked."


def test_a_refusal_by_country_is_one_clear_line() -> None:
    session = Accounts.opened()
    session.connect("accounts")
    session.send()
    body = {"type": "error", "message": JURISDICTION, "connection_id": "c", "message_id": 1}
    (event,) = session.take(body)
    assert event.kind is EventKind.REFUSED  # type: ignore[attr-defined]
    assert isinstance(session.subject.failure, VenueRefused)
    assert not any(b"subaccounts" in each.text for each in session.wait(300) if isinstance(each, SendText))
    other = Accounts.opened(pairs=("BTC-USD",))
    (event,) = other.rest(f"accountFills:{USER}:1", {}, 403)
    assert event.kind is EventKind.REFUSED  # type: ignore[attr-defined]
    assert other.subject.failure is None


# Statuses --------------------------------------------------------------------------------------------------------------


def test_every_status_and_reason_means_one_state() -> None:
    assert {name: order_state(name, "", None, 1.0) for name in STATUSES} == STATUSES
    assert {name: order_state("CANCELED", name, None, 1.0) for name in REASONS} == REASONS
    assert order_state("BEST_EFFORT_CANCELED", "USER_CANCELED", 0.5, 1.0) == "pending_cancel"
    assert order_state("OPEN", "", 0.5, 1.0) == "partially_filled"
    assert order_state("BEST_EFFORT_CANCELED", "", 1.0, 1.0) == "filled"
    assert ending("UNDERCOLLATERALIZED", 0.5) == "cancelled"
    assert ending("SOMETHING_NEW", None) == "cancelled"


# Lives of orders -------------------------------------------------------------------------------------------------------


def test_a_best_effort_cancel_may_still_fill() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order()], blockHeight="101")
    session.say(orders=[order("BEST_EFFORT_CANCELED", removalReason="ORDER_REMOVAL_REASON_USER_CANCELED")])
    assert state_of(session) == "pending_cancel"
    session.say(orders=[order("OPEN", totalFilled="0.5")], fills=[fill()], blockHeight="103")
    assert state_of(session) == "pending_cancel"
    session.say(fills=[fill("f2", 104, "1.5")], orders=[order("FILLED", totalFilled="2")], blockHeight="104")
    assert state_of(session) == "filled"
    assert session.say_block(111) == []
    found = tracked(session).orders.find("o1")
    assert found is not None
    assert (found.filled, found.fill_count) == (exact(2.0), 2)


def test_a_best_effort_cancel_is_final_once_its_last_block_is_past() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order()])
    session.say(orders=[order("BEST_EFFORT_CANCELED", removalReason="ORDER_REMOVAL_REASON_USER_CANCELED")])
    assert session.say_block(110) == []
    (ended,) = of(OrderUpdate, session.say_block(111))
    assert (ended.state, ended.status, ended.side, ended.is_history) == (
        "cancelled",
        "goodTilBlock passed",
        "buy",
        False,
    )
    assert session.say_block(112) == []


def test_a_fill_does_not_bring_a_cancelled_order_back() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order()])
    session.say(orders=[order("BEST_EFFORT_CANCELED", removalReason="ORDER_REMOVAL_REASON_USER_CANCELED")])
    session.say(orders=[order("OPEN", totalFilled="0.5")], fills=[fill()], blockHeight="103")
    assert states(session.say_block(111)) == ["cancelled"]


def test_an_order_that_was_left_alone_expires_by_the_height_of_an_account_s_own_frame() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order(), order(id="long", orderFlags="64", goodTilBlock=None)])
    assert states(session.say(blockHeight="110")) == []
    assert states(session.say(blockHeight="111")) == ["expired"]
    assert [each.order_id for each in tracked(session).orders.active] == ["long"]


def test_an_expiry_without_a_side_knows_it_from_before() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order(side="SELL")])
    bare = {"id": "o1", "status": "CANCELED", "ticker": "BTC-USD", "removalReason": "ORDER_REMOVAL_REASON_EXPIRED"}
    (update,) = of(OrderUpdate, session.say(orders=[bare]))
    assert (update.side, update.state) == ("sell", "expired")


def test_an_id_that_is_used_again_with_a_later_block_lives_again() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order()])
    session.say_block(111)
    assert states(session.say(orders=[order()])) == []
    assert states(session.say(orders=[order(goodTilBlock="120")])) == ["open"]
    assert states(session.say_block(121)) == ["expired"]


# Losses ----------------------------------------------------------------------------------------------------------------


def test_an_end_waits_for_what_was_missed() -> None:
    """The order was filled while the connection was lost: blocks went by, and it must not be told as expired."""
    session = Accounts.opened()
    session.join()
    session.say(orders=[order()])
    session.lose()
    messages = session.join(120, reply=False)
    assert events(messages, EventKind.GAP, f"account {USER}")
    assert states(messages) == []
    assert states(session.rest(f"accountOrders:{USER}", [order("FILLED", totalFilled="2", updatedAt=TIME)])) == [
        "filled"
    ]
    messages = session.rest(f"accountFills:{USER}:1", {"fills": [fill(size="2", height=105)]})
    assert [each.is_history for each in of(Fill, messages)] == [False]
    assert states(messages) == []
    assert state_of(session) == "filled"


def test_what_nobody_speaks_of_after_a_loss_has_expired() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order(), order(id="long", orderFlags="64", goodTilBlock=None)])
    session.lose()
    session.join(120, reply=False)
    assert states(session.rest(f"accountFills:{USER}:1", {"fills": []})) == []
    assert states(session.rest(f"accountOrders:{USER}", [])) == ["expired"]
    assert [call.tag for call in session.calls()] == [f"accountOrder:{USER}:long"]
    row = order("CANCELED", "long", orderFlags="64", goodTilBlock=None)
    assert states(session.rest(f"accountOrder:{USER}:long", row)) == ["cancelled"]


def test_nothing_is_told_twice_after_a_reconnect() -> None:
    session = Accounts.opened()
    session.join(orders=[order()])
    session.reply(fills=[fill("old", 99)])
    session.say(fills=[fill()], orders=[order("OPEN", totalFilled="0.5")], blockHeight="101")
    moved = {"type": "DEPOSIT", "createdAt": TIME, "createdAtHeight": "101", "transactionHash": "AB"}
    ends = {"sender": {"address": "x"}, "recipient": {"address": ADDRESS, "subaccountNumber": 0}}
    assert len(session.say(transfers={**moved, **ends, "size": "5", "symbol": "USDC"}, blockHeight="101")) == 1
    session.lose()
    session.join(102, reply=False, orders=[order("OPEN", totalFilled="0.5")])
    again = session.reply(orders=[order("OPEN", totalFilled="0.5", updatedAt=TIME)], fills=[fill(), fill("old", 99)])
    again += session.rest(
        f"accountTransfers:{USER}", {"transfers": [{**moved, **ends, "amount": "5", "asset": "USDC"}]}
    )
    assert again == []
    fills = of(Fill, session.messages)
    assert [(each.fill_id, each.is_history) for each in fills] == [("old", True), ("f1", False)]
    assert [each.amount for each in of(AccountEvent, session.messages)] == [5.0]
    assert len(of(BalanceUpdate, session.messages)) == 2


def test_what_a_lost_frame_may_have_said_is_not_believed_until_the_next_snapshot() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order()])
    session.number += 1  # one is lost
    session.say_block(102)
    session.wait(6)
    assert events(session.say_block(103), EventKind.STALE, f"account {USER}")
    assert states(session.say(blockHeight="111")) == []


def test_older_fills_are_asked_for_page_by_page() -> None:
    session = Accounts.opened()
    session.join()
    session.calls()
    rows = [fill(f"f{number}", 500 - number // 10) for number in range(1000)]
    session.rest(f"accountFills:{USER}:1", {"fills": rows})
    # The fills tell that the positions are not what the snapshot said.
    (call, doubt) = session.calls()
    assert doubt.tag == f"subaccount:{USER}"
    assert call.tag.startswith(f"accountFills:{USER}:2:")
    assert call.path.endswith("createdBeforeOrAtHeight=401")
    assert len(of(Fill, session.rest(call.tag, {"fills": [rows[-1], fill("f1000", 400)]}))) == 1
    assert session.calls() == []


def test_replies_that_do_not_come_are_asked_for_again() -> None:
    session = Accounts.opened()
    session.now_s = 100.0  # between two hourly polls
    session.join(reply=False)
    assert [call.tag.partition(":")[0] for call in session.replies] == [
        "accountOrders",
        "accountFills",
        "accountTransfers",
        "accountFunding",
    ]
    session.rest(f"accountOrders:{USER}", [])
    # Once more in any case: REST may have been behind what happened while the snapshot was made.
    session.wait(20)
    asked = [f"accountOrders:{USER}", f"accountFills:{USER}:1", f"accountTransfers:{USER}", f"subaccount:{USER}"]
    assert [call.tag for call in session.calls()] == asked
    session.wait(101)
    assert [call.tag for call in session.calls()] == [f"accountFills:{USER}:1"]


# States ----------------------------------------------------------------------------------------------------------------


def position(size: str, side: str = "LONG", status: str = "OPEN", **fields: Any) -> dict[str, Any]:
    row = {"market": "BTC-USD", "side": side, "status": status, "size": size, "entryPrice": "10", "netFunding": "-0.25"}
    return {**row, "subaccountNumber": 0, **fields}


def test_positions_turn_and_close() -> None:
    session = Accounts.opened()
    session.join()
    (held,) = of(PositionUpdate, session.say(perpetualPositions=[position("2")], blockHeight="101"))
    assert (held.size, held.entry_price, held.funding_paid, held.margin_mode) == (2.0, 10.0, 0.25, "cross")
    assert session.say(perpetualPositions=[position("2")], blockHeight="102") == []
    turned = [position("-1", "SHORT"), position("0", status="CLOSED")]
    assert [each.size for each in of(PositionUpdate, session.say(perpetualPositions=turned))] == [0.0, -1.0]
    session.lose()
    assert [each.size for each in of(PositionUpdate, session.join(120))] == [0.0]


def test_a_reply_that_is_behind_the_stream_changes_nothing() -> None:
    session = Accounts.opened()
    session.join()
    session.say(perpetualPositions=[position("2")], blockHeight="105")
    reply = {"subaccount": {**SUBACCOUNT, "equity": "99", "latestProcessedBlockHeight": "104"}}
    assert session.rest(f"subaccount:{USER}", reply) == []
    reply["subaccount"]["latestProcessedBlockHeight"] = "105"
    flat = session.rest(f"subaccount:{USER}", reply)
    assert [each.total for each in of(BalanceUpdate, flat)] == [99.0]
    assert [each.size for each in of(PositionUpdate, flat)] == [0.0]


def test_funding_payments_and_equity_are_polled() -> None:
    session = Accounts.opened()
    session.now_s = 100.0  # between two hourly polls
    session.join()
    session.wait(30)
    session.calls()
    session.say(assetPositions=[{"symbol": "USDC", "side": "SHORT", "size": "3"}], blockHeight="101")
    session.wait(60)
    assert [call.tag for call in session.calls()] == [f"subaccount:{USER}"]
    session.wait(3600)
    assert {call.tag for call in session.calls()} >= {f"accountFunding:{USER}", f"accountFills:{USER}:1"}
    row = {"createdAt": TIME, "createdAtHeight": "105", "ticker": "BTC-USD", "payment": "-0.5", "size": "2"}
    rows = [
        {**row, "side": "SHORT", "rate": "0.0001", "subaccountNumber": "0"},
        {**row, "side": "LONG", "createdAtHeight": "90"},
    ]
    told = of(FundingPayment, session.rest(f"accountFunding:{USER}", {"fundingPayments": rows}))
    assert [(each.amount, each.position_size, each.funding_rate, each.is_history) for each in told] == [
        (-0.5, 2.0, None, True),
        (-0.5, -2.0, 0.0001, False),
    ]
    assert session.rest(f"accountFunding:{USER}", {"fundingPayments": rows}) == []
    assert tracked(session).funding == {("dydx_v4", "BTC-USD"): exact(-0.5)}


def test_a_parent_s_children_are_accounts_of_their_own() -> None:
    session = Accounts.opened(channels=("parent",))
    child = {**SUBACCOUNT, "subaccountNumber": 128, "openPerpetualPositions": {"BTC-USD": position("3")}}
    session.join(100, subaccount={"parentSubaccountNumber": 0, "childSubaccounts": [SUBACCOUNT, child]})
    assert session.asked_channels == ["v4_block_height", "v4_parent_subaccounts"]
    assert all("parentSubaccount" in call.path for call in session.replies)
    (held,) = of(PositionUpdate, session.messages)
    assert (held.account, held.margin_mode) == (f"{ADDRESS}/128", "isolated")
    (update,) = of(OrderUpdate, session.say("v4_parent_subaccounts", 128, orders=[order()]))
    assert update.account == f"{ADDRESS}/128"


# Live, raw, normalized -------------------------------------------------------------------------------------------------


def eventful() -> Accounts:
    """A session in which everything above happens."""
    session = Accounts.opened()
    session.join(orders=[order(id="first"), order("BEST_EFFORT_CANCELED", "gone")], reply=False)
    session.reply(orders=[order("FILLED", "old", totalFilled="2", updatedAtHeight="90")], fills=[fill("old", 90)])
    session.say(orders=[order(), order(id="o2", side="SELL")], blockHeight="101")
    session.say(orders=[order("BEST_EFFORT_CANCELED")], perpetualPositions=[position("2")])
    session.say(
        fills=[fill(), fill("f2", orderId="o2", side="SELL", type="LIQUIDATED")], assetPositions=[], blockHeight="103"
    )
    session.say(tradingReward={"tradingReward": "0.5", "createdAt": TIME, "createdAtHeight": "103"})
    session.take(b"damaged")
    session.say_block(111)
    bare = {"id": "never heard of", "status": "CANCELED", "ticker": "BTC-USD"}
    session.say(orders=[bare, order(id="o3", goodTilBlock="118")])
    session.lose()
    session.join(119, reply=False)
    session.reply(
        orders=[order("FILLED", "o3", goodTilBlock="118")], fills=[fill("f3", 115, "2", orderId="o3"), fill()]
    )
    reply = {"subaccount": {**SUBACCOUNT, "equity": "98", "latestProcessedBlockHeight": "125"}}
    session.rest(f"subaccount:{USER}", reply)
    session.control("session_end", -1)
    return session


@pytest.fixture(scope="module")
def session() -> Accounts:
    return eventful()


def views(tracker: UserStreamTracker) -> Any:
    orders = [each.view() for each in tracker.orders]
    return orders, tracker.positions.open, tracker.balances.all, tracker.funding, tracker.notices


def test_the_session_ends_as_it_should(session: Accounts) -> None:
    orders = {each.order_id: str(each.state) for each in tracked(session).orders}
    assert orders == {
        "first": "expired",
        "gone": "cancelled",
        "old": "filled",
        "o1": "cancelled",
        "o2": "expired",
        "o3": "filled",
        "never heard of": "cancelled",
    }


@pytest.mark.parametrize("fidelity", ["raw", "normalized"])
def test_live_equals_replay(session: Accounts, fidelity: Fidelity, tmp_path: Path) -> None:
    session.write(tmp_path)
    tracker, chain = OrderBookTracker(checked=True), DigestChain()
    for message in session.messages:
        chain.update(message, tracker.apply(message))
    recording = Recording.open(tmp_path)
    assert recording.manifest.digest == chain.hexdigest()
    source = ReplayDataSource(recording, fidelity=fidelity, with_digest=True)
    connector = DydxV4PerpetualConnector(source, source)
    connector.attach()
    heard: list[Message] = []
    source.dispatcher.add_callback(heard.append)
    source.play()
    assert heard == session.messages
    assert source.chain is not None
    assert source.chain.hexdigest() == chain.hexdigest()
    assert views(connector.user) == views(tracked(session))


def test_a_checkpoint_goes_on_from_any_frame(session: Accounts) -> None:
    subject = DydxV4Protocol(session.subject.options)
    states_, told = [], []
    for each in session.frames:
        states_.append(subject.checkpoint())
        told.append(subject.receive(each))
    for index, state in enumerate(states_):
        restored = DydxV4Protocol(session.subject.options)
        restored.restore(state)
        assert restored.checkpoint() == state
        assert [restored.receive(each) for each in session.frames[index:]] == told[index:]


def test_no_request_can_trade(session: Accounts) -> None:
    """Everything that is ever asked for is a GET, and everything sent subscribes."""
    calls = [*session.replies, *session.calls()]
    assert {call.method for call in calls} == {"GET"}
    sent = [json.loads(each.payload)["type"] for each in session.frames if each.kind == "ws_out"]
    assert set(sent) == {"subscribe"}
