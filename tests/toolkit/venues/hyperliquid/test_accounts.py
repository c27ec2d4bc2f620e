"""Hyperliquid's account streams: real replies in full, and everything that it repeats, reorders or leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.format.messages_to_rows import TableBuilders
from toolkit.account_messages import (
    AccountEvent,
    AccountEventKind,
    Fill,
    FundingPayment,
    OrderState,
    OrderUpdate,
    PositionUpdate,
)
from toolkit.accounts.exact_sums import ZERO, exact
from toolkit.accounts.user_tracker import UserStreamTracker
from toolkit.errors import ConfigError, ParseError, VenueRefused
from toolkit.frames import CONTROL, REST_IN, WS_IN, Frame, control_payload
from toolkit.messages import BalanceUpdate, EventKind, Message, StreamEvent
from toolkit.protocol import ProtocolOptions, RestCall, SendText
from toolkit.venues.hyperliquid.accounts_status import STATUSES, order_state
from toolkit.venues.hyperliquid.auth import HyperliquidAuth
from toolkit.venues.hyperliquid.market import ITEM
from toolkit.venues.hyperliquid.protocol import HyperliquidProtocol

USER = "0x" + "a1" * 20
OTHER = "0x" + "b2" * 20
META = {"universe": [{"name": "BTC", "szDecimals": 5, "maxLeverage": 40}]}
SPOT_META: dict[str, Any] = {"tokens": [], "universe": []}


class Wire:
    """A protocol and the frames it is fed, numbered."""

    def __init__(self, *accounts: str, pairs: tuple[str, ...] = ("BTC",)) -> None:
        self.protocol = HyperliquidProtocol(ProtocolOptions(pairs=pairs, accounts=accounts))
        self.protocol.bootstrap()
        self.seq = 0

    def frame(self, kind: str, payload: Any, conn_id: int = -1, tag: str = "", status: int = 200) -> list[Message]:
        body = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        context = msgspec.json.encode({"tag": tag, "status": status}).decode() if tag else None
        now = 1_700_000_000_000_000_000 + self.seq * 1_000_000
        frame = Frame(self.seq, now, now, "hyperliquid", conn_id, 0, kind, body, context)
        self.seq += 1
        messages = self.protocol.receive(frame)
        assert [message.sub_seq for message in messages] == list(range(len(messages)))
        return messages

    def reply(self, tag: str, payload: Any, status: int = 200) -> list[Message]:
        return self.frame(REST_IN, payload, tag=tag, status=status)

    def say(self, channel: str, data: Any, conn_id: int = 9) -> list[Message]:
        return self.frame(WS_IN, {"channel": channel, "data": data}, conn_id)

    def ready(self, *owners: str) -> Wire:
        self.reply("meta", META)
        self.reply("spotMeta", SPOT_META)
        for owner in owners:
            self.reply(f"userRole:{owner}", {"role": "user"})
        return self

    def connect(self, number: int = 0, conn_id: int = 9) -> list[RestCall | SendText]:
        """Make the connection of an account; returns what it asks for."""
        self.protocol.requests()
        self.frame(CONTROL, control_payload("connected", role=f"user-{number}"), conn_id)
        return self.asked()

    def lose(self, conn_id: int = 9) -> None:
        self.frame(CONTROL, control_payload("disconnected", role="user-0"), conn_id)

    def asked(self) -> list[RestCall | SendText]:
        return [each for each in self.protocol.requests() if isinstance(each, RestCall | SendText)]


def watched(*accounts: str) -> Wire:
    accounts = accounts or (USER,)
    wire = Wire(*accounts).ready(*accounts)
    wire.connect()
    return wire


def status_row(oid: int, status: str = "open", time: int = 5, **fields: Any) -> dict[str, Any]:
    order = {"coin": "BTC", "side": "B", "limitPx": "10.0", "sz": "1.0", "oid": oid, "timestamp": 4, "origSz": "1.0"}
    return {"order": {**order, **fields}, "status": status, "statusTimestamp": time}


def fill_row(tid: int, time: int = 5, **fields: Any) -> dict[str, Any]:
    return {
        "coin": "BTC",
        "px": "10.0",
        "sz": "0.5",
        "side": "B",
        "time": time,
        "startPosition": "0.0",
        "dir": "Open Long",
        "closedPnl": "0.0",
        "hash": "0x0",
        "oid": 1,
        "crossed": True,
        "fee": "0.01",
        "tid": tid,
        "feeToken": "USDC",
        **fields,
    }


def fills_of(messages: list[Message]) -> list[Fill]:
    return [message for message in messages if isinstance(message, Fill)]


def orders_of(messages: list[Message]) -> list[OrderUpdate]:
    return [message for message in messages if isinstance(message, OrderUpdate)]


# Whose account ---------------------------------------------------------------------------------------------------------


def test_an_address_is_taken_in_lower_case() -> None:
    assert HyperliquidAuth("0x" + "AB" * 20).address == "0x" + "ab" * 20


@pytest.mark.parametrize("text", ["", "0x12", "a1" * 20, "0x" + "g1" * 20, "0x" + "a1" * 21, "vitalik.eth"])
def test_a_malformed_address_is_one_clear_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^hyperliquid: '.*' is no address; expected 0x and 40 hexadecimal digits$"):
        HyperliquidAuth(text)
    with pytest.raises(ConfigError, match="is no address"):
        HyperliquidProtocol(ProtocolOptions(accounts=(text,)))


@pytest.mark.parametrize("key", ["0x" + "5e" * 32, "5e" * 32])
def test_a_private_key_given_by_mistake_is_not_repeated(key: str) -> None:
    with pytest.raises(ConfigError, match="looks like a private key, which is never needed") as caught:
        HyperliquidAuth(key)
    assert "5e5e" not in str(caught.value)


def test_too_many_accounts_are_one_clear_line() -> None:
    names = tuple(f"0x{number:040x}" for number in range(11))
    with pytest.raises(
        ConfigError, match=r"^hyperliquid: 11 accounts, the venue lets one client follow 10; name fewer$"
    ):
        HyperliquidProtocol(ProtocolOptions(accounts=names))
    with pytest.raises(
        ConfigError, match=r"^hyperliquid: 9 accounts and 2 connections for the market, the venue allows"
    ):
        HyperliquidProtocol(ProtocolOptions(pairs=("BTC",), accounts=names[:9]))
    HyperliquidProtocol(ProtocolOptions(accounts=names[:10]))


def test_an_address_that_nobody_has_used_is_one_clear_line() -> None:
    wire = Wire(USER)
    wire.ready()
    wire.reply(f"userRole:{USER}", {"role": "missing"})
    assert isinstance(wire.protocol.failure, VenueRefused)
    assert str(wire.protocol.failure) == (
        f"hyperliquid: no one has ever used the address {USER}; check it for a typing error"
    )
    assert not wire.protocol.is_ready


def test_an_agent_wallet_is_resolved_to_its_master() -> None:
    wire = Wire(USER).ready()
    assert not wire.protocol.is_ready
    (notice,) = wire.reply(f"userRole:{USER}", {"role": "agent", "data": {"user": OTHER}})
    assert isinstance(notice, StreamEvent)
    assert (notice.kind, notice.detail) == (
        EventKind.NOTICE,
        f"{USER} is an agent wallet, which owns nothing: its master {OTHER} is followed",
    )
    assert wire.protocol.is_ready
    subscriptions = [each.text.decode() for each in wire.connect() if isinstance(each, SendText)]
    assert subscriptions
    assert all(OTHER in text and USER not in text for text in subscriptions)


@pytest.mark.parametrize("role", [{"role": "agent"}, {"role": "emperor"}, [], {"role": "agent", "data": {"user": "x"}}])
def test_a_role_of_another_shape_is_a_parse_error(role: Any) -> None:
    with pytest.raises(ParseError, match="userRole of another shape"):
        HyperliquidAuth(USER).resolve(role)


def test_an_agent_and_its_master_are_one_account() -> None:
    wire = Wire(USER, OTHER).ready(OTHER)
    wire.reply(f"userRole:{USER}", {"role": "agent", "data": {"user": OTHER}})
    assert [plan.role for plan in wire.protocol.connections()] == ["depth", "main", "user-0"]


def test_accounts_without_pairs_open_no_connection_for_the_market() -> None:
    wire = Wire(USER, pairs=()).ready(USER)
    assert [plan.role for plan in wire.protocol.connections()] == ["user-0"]


# Statuses --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *STATUSES.items(),
        ("lunarEclipseCanceled", OrderState.CANCELLED),
        ("otherCancel", OrderState.CANCELLED),
        ("newReasonRejected", OrderState.REJECTED),
    ],
)
def test_every_status_means_one_state(status: str, state: OrderState) -> None:
    assert order_state(status) is state


def odd_of(messages: list[Message]) -> list[str]:
    """What was told of parts that could not be read."""
    return [each.detail for each in messages if isinstance(each, StreamEvent) and each.kind is EventKind.PARSE_ERROR]


def test_a_status_that_tells_nothing_is_told_once_and_takes_nothing_with_it() -> None:
    """The filled order beside it is told, in an update and in the list of a new connection, which is settled by it."""
    wire = watched()
    rows = [status_row(1, "filled"), status_row(2, "levitating")]
    order, event = wire.say("orderUpdates", rows)
    assert (order.order_id, order.state) == ("1", OrderState.FILLED)  # type: ignore[attr-defined]
    assert odd_of([event]) == ["order 2 has the unknown status 'levitating'"]
    assert wire.say("orderUpdates", [status_row(3, "levitating")]) == []
    wire.lose()
    wire.connect()
    (fourth,) = wire.reply(f"historicalOrders:{USER}:", [status_row(2, "levitating"), status_row(4, "canceled")])
    assert orders_of([fourth])[0].state is OrderState.CANCELLED
    wire.reply(f"frontendOpenOrders:{USER}:", [])
    due = [each.tag for each in wire.protocol.due(10**19) if isinstance(each, RestCall)]
    assert [tag for tag in due if USER in tag] == []


def test_an_unknown_status_of_an_open_order_is_told_and_leaves_it_open() -> None:
    wire = watched()
    wire.say("orderUpdates", [status_row(1)])
    told, _ = wire.say("orderUpdates", [status_row(1, "levitating", 6)])
    assert [(each.state, each.status) for each in orders_of([told])] == [(OrderState.OPEN, "levitating")]
    (ended,) = orders_of(wire.say("orderUpdates", [status_row(1, "canceled", 7)]))
    assert ended.state is OrderState.CANCELLED


@pytest.mark.parametrize(
    ("channel", "data", "kinds"),
    [
        ("orderUpdates", [status_row(1, triggerPx={}), {"order": 5}, status_row(2)], [OrderUpdate, OrderUpdate]),
        ("userFills", {"user": USER, "fills": [fill_row(1), fill_row(2, px=None), fill_row(3, cloid=7)]}, [Fill, Fill]),
        ("user", {"fills": [fill_row(1, sz="x"), fill_row(2, side="?"), fill_row(3)]}, [Fill]),
        (
            "userFundings",
            {
                "user": USER,
                "fundings": [{"time": 5}, {"time": 5, "coin": "BTC", "usdc": "1", "szi": [], "fundingRate": "0"}],
            },
            [FundingPayment],
        ),
        (
            "userNonFundingLedgerUpdates",
            {
                "user": USER,
                "nonFundingLedgerUpdates": [
                    {"time": 5, "hash": "0x1", "delta": {"type": "deposit", "usdc": "five"}},
                    {"time": 5, "hash": "0x2", "delta": {"type": "deposit", "usdc": "5"}},
                    {"time": 5, "hash": "0x3", "delta": None},
                ],
            },
            [AccountEvent],
        ),
        ("openOrders", {"user": USER, "dex": "", "orders": [{"oid": 3}, status_row(9)["order"]]}, [OrderUpdate]),
        (
            "spotState",
            {"user": USER, "spotState": {"balances": [{"coin": "A"}, {"coin": "B", "total": "1", "hold": "0"}]}},
            [BalanceUpdate],
        ),
    ],
)
def test_one_odd_row_takes_no_other_with_it(channel: str, data: Any, kinds: list[type[Message]]) -> None:
    """Nor does an odd optional field the rest of its row. It is told, and not a second time."""
    wire = watched()
    messages = wire.say(channel, data)
    assert [type(message) for message in messages if not isinstance(message, StreamEvent)] == kinds
    assert odd_of(messages)
    assert odd_of(wire.say(channel, data)) == []


@pytest.mark.parametrize("coin", ["BTC", 7])
def test_a_position_that_cannot_be_read_is_not_taken_for_closed(coin: Any) -> None:
    wire = watched()
    states = margin_state(("BTC", "2.0"), ("ETH", "3.0"))
    wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": states})
    odd = margin_state(("ETH", "4.0"))
    odd[0][1]["assetPositions"].append({"position": {"coin": coin, "szi": "two"}})
    messages = wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": odd})
    assert [(each.symbol, each.size) for each in messages if isinstance(each, PositionUpdate)] == [("ETH", 4.0)]
    assert odd_of(messages)


def test_an_odd_detail_of_a_position_leaves_the_rest_of_it() -> None:
    wire = watched()
    states = margin_state(("BTC", "2.0"))
    states[0][1]["assetPositions"][0]["position"] |= {"leverage": "20x", "cumFunding": {"sinceOpen": None}}
    states[0][1]["marginSummary"] = {"accountValue": "n/a"}
    messages = wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": states})
    position, *odd = messages
    assert isinstance(position, PositionUpdate)
    assert (position.size, position.entry_price, position.leverage) == (2.0, 10.0, None)
    assert len(odd_of(odd)) == 3


def test_a_spot_balance_that_cannot_be_read_is_not_taken_for_gone() -> None:
    wire = watched()
    row = {"coin": "HYPE", "total": "1.0", "hold": "0"}
    wire.say("spotState", {"user": USER, "spotState": {"balances": [row]}})
    messages = wire.say("spotState", {"user": USER, "spotState": {"balances": [{**row, "total": []}]}})
    assert not any(isinstance(message, BalanceUpdate) for message in messages)


def test_a_venue_whose_clock_went_back_still_ends_orders() -> None:
    """A stream is in order; an answer by REST that is older than what is known is not."""
    wire = watched()
    wire.say("orderUpdates", [status_row(1, "open", 60_000), status_row(2, "triggered", 60_000)])
    (ended,) = orders_of(wire.say("orderUpdates", [status_row(1, "filled", 5, sz="0.0")]))
    assert ended.state is OrderState.FILLED
    assert wire.reply(f"historicalOrders:{USER}:", [status_row(2, "open", 5)]) == []
    (ended,) = orders_of(wire.reply(f"historicalOrders:{USER}:", [status_row(2, "canceled", 6)]))
    assert ended.state is OrderState.CANCELLED


# Repetition ------------------------------------------------------------------------------------------------------------


def test_a_fill_that_comes_on_two_channels_and_in_a_snapshot_is_emitted_once() -> None:
    wire = watched()
    assert len(fills_of(wire.say("user", {"fills": [fill_row(7)]}))) == 1
    assert wire.say("userFills", {"user": USER, "fills": [fill_row(7)]}) == []
    again = {"user": USER, "fills": [fill_row(8, 6), fill_row(7)], "isSnapshot": True}
    assert [fill.trade_id for fill in fills_of(wire.say("userFills", again))] == ["8"]


def test_both_sides_of_a_trade_with_oneself_are_two_fills() -> None:
    wire = watched()
    rows = [fill_row(7), fill_row(7, side="A")]
    assert len(fills_of(wire.say("userFills", {"user": USER, "fills": rows}))) == 2


def test_the_first_snapshot_is_history_and_a_later_one_what_was_missed() -> None:
    wire = watched()
    first = fills_of(
        wire.say("userFills", {"user": USER, "fills": [fill_row(2, 2), fill_row(1, 1)], "isSnapshot": True})
    )
    assert [(fill.trade_id, fill.is_history) for fill in first] == [("1", True), ("2", True)]
    wire.lose()
    wire.connect()
    rows = [fill_row(3, 3), fill_row(2, 2), fill_row(1, 1)]
    messages = wire.say("userFills", {"user": USER, "fills": rows, "isSnapshot": True})
    assert [(fill.trade_id, fill.is_history) for fill in fills_of(messages)] == [("3", False)]
    assert isinstance(messages[0], StreamEvent)
    assert (messages[0].kind, messages[0].stream) == (EventKind.GAP, f"user {USER}")


def test_more_missed_fills_than_a_snapshot_holds_are_asked_for_by_time() -> None:
    wire = watched()
    wire.say("userFills", {"user": USER, "fills": [fill_row(1, 1000)], "isSnapshot": True})
    wire.lose()
    wire.connect()
    newest = [fill_row(number, number) for number in range(9999, 7999, -1)]
    wire.say("userFills", {"user": USER, "fills": newest, "isSnapshot": True})
    (call,) = wire.asked()
    assert isinstance(call, RestCall)
    assert msgspec.json.decode(call.body) == {"type": "userFillsByTime", "user": USER, "startTime": 1000}
    page = [fill_row(1, 1000), *(fill_row(number, number) for number in range(6001, 8000))]
    assert len(fills_of(wire.reply(call.tag, page))) == 1999
    (call,) = wire.asked()
    assert isinstance(call, RestCall)
    assert msgspec.json.decode(call.body)["startTime"] == 7999
    assert wire.reply(call.tag, [fill_row(number, number) for number in range(7999, 8100)]) == []
    assert wire.asked() == []


def test_funding_comes_once() -> None:
    wire = watched()
    row = {"time": 5, "coin": "BTC", "usdc": "-1.5", "szi": "2.0", "fundingRate": "0.0001", "nSamples": None}
    (payment,) = wire.say("user", {"funding": row})
    assert isinstance(payment, FundingPayment)
    assert (payment.amount, payment.asset, payment.position_size) == (-1.5, "USDC", 2.0)
    assert wire.say("userFundings", {"user": USER, "fundings": [row]}) == []


def test_a_liquidation_that_is_announced_and_booked_is_one_event() -> None:
    wire = watched()
    announced = {
        "lid": 1,
        "liquidator": OTHER,
        "liquidated_user": USER,
        "liquidated_ntl_pos": "100.50",
        "liquidated_account_value": "2.0",
    }
    (event,) = wire.say("user", {"liquidation": announced})
    assert isinstance(event, AccountEvent)
    assert event.kind is AccountEventKind.LIQUIDATION
    delta = {"type": "liquidation", "liquidatedNtlPos": "100.5", "accountValue": "2.0", "liquidatedPositions": []}
    row = {"time": 5, "hash": "0x0", "delta": delta}
    assert wire.say("userNonFundingLedgerUpdates", {"user": USER, "nonFundingLedgerUpdates": [row]}) == []


@pytest.mark.parametrize(
    ("delta", "kind", "asset", "amount"),
    [
        ({"type": "deposit", "usdc": "5.0"}, AccountEventKind.DEPOSIT, "USDC", 5.0),
        ({"type": "withdraw", "usdc": "5.0", "fee": "1.0"}, AccountEventKind.WITHDRAWAL, "USDC", -5.0),
        ({"type": "accountClassTransfer", "usdc": "5.0", "toPerp": False}, AccountEventKind.TRANSFER, "USDC", 0.0),
        ({"type": "internalTransfer", "usdc": "5.0", "user": USER, "destination": OTHER}, "transfer", "USDC", -5.0),
        ({"type": "internalTransfer", "usdc": "5.0", "user": OTHER, "destination": USER}, "transfer", "USDC", 5.0),
        (
            {"type": "spotTransfer", "token": "HYPE", "amount": "2", "user": OTHER, "destination": USER},
            "transfer",
            "HYPE",
            2.0,
        ),
        ({"type": "rewardsClaim", "amount": "2.0", "token": "HYPE"}, AccountEventKind.REWARD, "HYPE", 2.0),
        ({"type": "somethingNew", "x": 1}, AccountEventKind.OTHER, "", None),
    ],
)
def test_rows_of_the_ledger(delta: dict[str, Any], kind: str, asset: str, amount: float | None) -> None:
    wire = watched()
    row = {"time": 5, "hash": "0x1", "delta": delta}
    (event,) = wire.say("userNonFundingLedgerUpdates", {"user": USER, "nonFundingLedgerUpdates": [row]})
    assert isinstance(event, AccountEvent)
    assert (event.kind, event.asset, event.amount) == (kind, asset, amount)


# Orders after a lost connection ----------------------------------------------------------------------------------------


def test_orders_are_reconciled_after_a_lost_connection() -> None:
    """1 is still open, 2 ended meanwhile and is listed, 3 is in no list and asked for, 4 had ended before."""
    wire = watched()
    wire.reply(f"frontendOpenOrders:{USER}:", [])
    wire.reply(f"historicalOrders:{USER}:", [])
    wire.say("orderUpdates", [status_row(1), status_row(2), status_row(3), status_row(4), status_row(4, "canceled", 6)])
    wire.lose()
    asked = [each.tag for each in wire.connect() if isinstance(each, RestCall)]
    assert asked == [f"frontendOpenOrders:{USER}:", f"historicalOrders:{USER}:"]
    still = status_row(1)["order"]
    assert wire.reply(asked[0], [{**still, "sz": "0.4"}]) == []
    rows = [status_row(2, "canceled", 7), status_row(4, "canceled", 6)]
    (ended,) = orders_of(wire.reply(asked[1], rows))
    assert (ended.order_id, ended.state, ended.is_history) == ("2", OrderState.CANCELLED, False)
    (call,) = wire.asked()
    assert isinstance(call, RestCall)
    assert call.tag == f"orderStatus:{USER}:3"
    (found,) = orders_of(wire.reply(call.tag, {"status": "order", "order": status_row(3, "filled", 8, sz="0.0")}))
    assert (found.order_id, found.state) == ("3", OrderState.FILLED)


def test_an_order_that_the_venue_no_longer_knows_has_failed() -> None:
    wire = watched()
    wire.say("orderUpdates", [status_row(3)])
    (lost,) = orders_of(wire.reply(f"orderStatus:{USER}:3", {"status": "unknownOid"}))
    assert (lost.order_id, lost.symbol, lost.state) == ("3", "BTC", OrderState.FAILED)
    assert wire.reply(f"orderStatus:{USER}:3", {"status": "unknownOid"}) == []


def test_what_a_list_knows_of_a_known_order_is_told_once() -> None:
    """Order updates leave out type and time in force; lists of open orders have them."""
    wire = watched()
    wire.say("orderUpdates", [status_row(1)])
    row = {**status_row(1)["order"], "orderType": "Stop Market", "tif": None, "isTrigger": True, "triggerPx": "9.0"}
    (told,) = orders_of(wire.say("openOrders", {"user": USER, "dex": "", "orders": [row]}))
    assert (told.order_type, told.trigger_price, told.ts_event) == ("stop market", 9.0, None)
    assert wire.say("openOrders", {"user": USER, "dex": "", "orders": [row]}) == []


def test_a_late_list_does_not_open_an_ended_order_again() -> None:
    wire = watched()
    wire.say("orderUpdates", [status_row(1, "canceled")])
    assert wire.reply(f"frontendOpenOrders:{USER}:", [status_row(1)["order"]]) == []


def test_an_open_that_comes_after_the_end_of_the_same_moment_is_no_news() -> None:
    wire = watched()
    wire.say("orderUpdates", [status_row(1, "filled", 5)])
    assert wire.say("orderUpdates", [status_row(1, "open", 5)]) == []
    assert wire.reply(f"historicalOrders:{USER}:", [status_row(1, "open", 6)]) == []


def test_unanswered_requests_are_made_again() -> None:
    wire = watched()
    later = 1_700_000_000_000_000_000 + 40_000_000_000
    texts = [each.text for each in wire.protocol.due(later) if isinstance(each, SendText)]
    assert len(texts) == 8
    assert wire.protocol.due(later) == []
    much_later = later + 200_000_000_000
    wire.say("subscriptionResponse", {"method": "subscribe", "subscription": {"type": "userFills", "user": USER}})
    again = wire.protocol.due(much_later)
    assert len([each for each in again if isinstance(each, SendText)]) == 7
    assert len([each for each in again if isinstance(each, RestCall)]) == 2


def test_a_deaf_connection_of_an_account_is_unsubscribed_before_it_is_subscribed() -> None:
    """The venue refuses what it takes for subscribed, and then sends no snapshot."""
    wire = watched()
    wire.asked()
    wire.frame(CONTROL, control_payload("resubscribe"), 9)
    words = [msgspec.json.decode(each.text) for each in wire.asked() if isinstance(each, SendText)]
    kinds = [(each["method"], each["subscription"]["type"]) for each in words]
    assert [method for method, _ in kinds] == ["unsubscribe"] * 8 + ["subscribe"] * 8
    assert [kind for _, kind in kinds[:8]] == [kind for _, kind in kinds[8:]]
    wire.say("subscriptionResponse", {"method": "unsubscribe", "subscription": words[2]["subscription"]})
    later = 1_700_000_000_000_000_000 + 40_000_000_000
    assert len([each for each in wire.protocol.due(later) if isinstance(each, SendText)]) == 8


def test_the_venues_limit_on_users_names_the_account() -> None:
    wire = watched()
    (event,) = wire.say("error", "Cannot track more than 15 total users.")
    assert isinstance(event, StreamEvent)
    assert event.detail == (
        f"{USER} is not followed: Cannot track more than 15 total users. Follow fewer accounts from this machine"
    )


# States ----------------------------------------------------------------------------------------------------------------


def margin_state(*positions: tuple[str, str], value: str = "100.0") -> list[Any]:
    summary = {"accountValue": value, "totalMarginUsed": "0.0"}
    each = [
        {
            "type": "oneWay",
            "position": {
                "coin": coin,
                "szi": size,
                "entryPx": "10.0",
                "positionValue": "20.0",
                "unrealizedPnl": "0.0",
                "marginUsed": "1.0",
                "leverage": {"type": "cross", "value": 20},
                "liquidationPx": None,
            },
        }
        for coin, size in positions
    ]
    return [["", {"marginSummary": summary, "withdrawable": value, "assetPositions": each, "time": 5}]]


def test_a_state_that_repeats_the_last_is_not_emitted_again() -> None:
    wire = watched()
    state = {"user": USER, "clearinghouseStates": margin_state(("BTC", "2.0"))}
    assert [type(message) for message in wire.say("allDexsClearinghouseState", state)] == [
        BalanceUpdate,
        PositionUpdate,
    ]
    assert wire.say("allDexsClearinghouseState", state) == []


def test_a_position_that_is_no_longer_listed_is_closed() -> None:
    wire = watched()
    wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": margin_state(("BTC", "2.0"))})
    (closed,) = wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": margin_state()})
    assert isinstance(closed, PositionUpdate)
    assert (closed.symbol, closed.size, closed.entry_price) == ("BTC", 0.0, None)
    assert wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": margin_state()}) == []


def test_a_state_after_a_fill_is_news_even_if_it_repeats_the_one_before() -> None:
    wire = watched()
    state = {"user": USER, "clearinghouseStates": margin_state(("BTC", "2.0"))}
    wire.say("allDexsClearinghouseState", state)
    wire.say("userFills", {"user": USER, "fills": [fill_row(1)]})
    assert [type(message) for message in wire.say("allDexsClearinghouseState", state)] == [PositionUpdate]


def test_a_position_that_a_fill_closed_is_stated_closed() -> None:
    wire = watched()
    wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": margin_state(("BTC", "2.0"))})
    wire.say("userFills", {"user": USER, "fills": [fill_row(1, side="A", sz="2.0", startPosition="2.0")]})
    (closed,) = wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": margin_state()})
    assert isinstance(closed, PositionUpdate)
    assert (closed.symbol, closed.size) == ("BTC", 0.0)


def test_open_orders_are_asked_for_on_the_dexes_that_hold_margin() -> None:
    wire = watched()
    states = [*margin_state(), ["xyz", margin_state()[0][1]], ["abc", margin_state(value="0.0")[0][1]]]
    wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": states})
    asked = [msgspec.json.decode(each.text)["subscription"] for each in wire.asked() if isinstance(each, SendText)]
    assert asked == [{"type": "openOrders", "dex": "xyz", "user": USER}]


def test_spot_balances_are_free_of_float_noise() -> None:
    wire = watched()
    row = {"coin": "HYPE", "token": 1, "total": "0.3", "hold": "0.1", "entryNtl": "1.0"}
    (balance,) = wire.say("spotState", {"user": USER, "spotState": {"balances": [row]}})
    assert isinstance(balance, BalanceUpdate)
    assert (balance.total, balance.available) == (0.3, 0.2)
    (gone,) = wire.say("spotState", {"user": USER, "spotState": {"balances": []}})
    assert isinstance(gone, BalanceUpdate)
    assert gone.total == 0.0


# Checkpoints -----------------------------------------------------------------------------------------------------------


def test_a_restored_protocol_goes_on_as_if_it_had_never_stopped() -> None:
    wire = watched()
    wire.say("orderUpdates", [status_row(1)])
    wire.say("userFills", {"user": USER, "fills": [fill_row(1)], "isSnapshot": True})
    wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": margin_state(("BTC", "2.0"))})
    fresh = Wire(USER)
    fresh.protocol.restore(wire.protocol.checkpoint())
    fresh.seq = wire.seq
    assert fresh.protocol.checkpoint() == wire.protocol.checkpoint()
    frames: list[tuple[str, Any]] = [
        ("userFills", {"user": USER, "fills": [fill_row(1), fill_row(2)]}),
        ("orderUpdates", [status_row(1, "filled", 9)]),
        ("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": margin_state()}),
    ]
    for channel, data in frames:
        expected = wire.say(channel, data)
        assert fresh.say(channel, data) == expected
        assert expected


# Real replies ----------------------------------------------------------------------------------------------------------

REPLIES = {
    "test_get_user_fills": ("userFills", Fill, 500),
    "test_get_user_fills_by_time": ("userFillsByTime", Fill, 500),
    "test_get_open_orders": ("openOrders", OrderUpdate, 196),
    "test_get_frontend_open_orders": ("frontendOpenOrders", OrderUpdate, 3),
    "test_historical_orders": ("historicalOrders", OrderUpdate, 5),
    "test_get_user_state": ("clearinghouseState", PositionUpdate, None),
    "test_user_funding_history_with_end_time": ("userFunding", FundingPayment, 13),
    "test_user_funding_history_without_end_time": ("userFunding", FundingPayment, 218),
    "test_user_non_funding_ledger_updates_without_end_time": ("userNonFundingLedgerUpdates", AccountEvent, 5),
    "test_user_non_funding_ledger_updates_with_end_time": ("userNonFundingLedgerUpdates", AccountEvent, 0),
}


def real_reply(shared_data: Path, name: str) -> bytes:
    path = shared_data / "hyperliquid" / "rest" / f"{name}.yaml"
    found = yaml.safe_load(path.read_text())["interactions"][-1]["response"]["body"]["string"]
    return str(found).encode()


@pytest.mark.parametrize("name", REPLIES)
def test_real_replies_parse_completely(shared_data: Path, name: str) -> None:
    what, kind, count = REPLIES[name]
    wire = Wire(USER).ready(USER)
    body = real_reply(shared_data, name)
    rows = msgspec.json.decode(body)
    more = "" if what != "userFillsByTime" else "0"
    messages = wire.reply(f"{what}:{USER}:{more}", body)
    expected = len(rows["assetPositions"]) if isinstance(rows, dict) else count
    assert Counter(map(type, messages))[kind] == expected
    assert wire.protocol.parse_error_count == 0


def test_sums_over_real_fills_are_those_of_the_file(shared_data: Path) -> None:
    """Taken from the file as decimals, and from the orders that a tracker keeps."""
    body = real_reply(shared_data, "test_get_user_fills")
    rows = msgspec.json.decode(body)
    wire, tracker = Wire(USER).ready(USER), UserStreamTracker()
    for message in wire.reply(f"userFills:{USER}:", body):
        tracker(message)
    orders = list(tracker.orders)
    assert sum(order.fill_count for order in orders) == len(rows) == 500

    def total(field: str) -> Decimal:
        return sum((Decimal(row[field]) for row in rows), ZERO)

    assert sum((order.filled for order in orders), ZERO) == total("sz")
    assert sum((order.fees.get("", ZERO) for order in orders), ZERO) == total("fee")
    assert sum((order.realized_pnl or ZERO for order in orders), ZERO) == total("closedPnl")
    assert total("closedPnl") != 0
    notional = sum((Decimal(row["sz"]) * Decimal(row["px"]) for row in rows), ZERO)
    assert sum((order.notional for order in orders), ZERO) == notional
    by_order = Counter(str(row["oid"]) for row in rows)
    assert {order.order_id: order.fill_count for order in orders} == by_order


def test_sums_over_real_funding_are_those_of_the_file(shared_data: Path) -> None:
    body = real_reply(shared_data, "test_user_funding_history_without_end_time")
    rows = msgspec.json.decode(body)
    messages = Wire(USER).ready(USER).reply(f"userFunding:{USER}:", body)
    amounts = [exact(message.amount) for message in messages if isinstance(message, FundingPayment)]
    assert sum(amounts, ZERO) == sum((Decimal(row["delta"]["usdc"]) for row in rows), ZERO)


def test_a_real_fill_with_a_liquidated_position_is_the_makers_own(shared_data: Path) -> None:
    """From an import, where no connection says whose account it is: who rested in the book was not liquidated."""
    protocol = HyperliquidProtocol(ProtocolOptions())
    payload = (shared_data / "hyperliquid" / "ws_user_fill_liquidation.json").read_bytes()
    (stored,) = fills_of(protocol.receive(Frame(0, 1, 1, "hyperliquid", 0, 0, WS_IN, payload)))
    assert (stored.cause, stored.is_maker, stored.price, stored.position_before) == (None, True, 66653.0, -0.0213)
    assert stored.trade_id == "745210434703679"
    assert stored.client_order_id == "0xe8d5fd7ebbb4c3cff4d1803472a11463"


@pytest.mark.parametrize(
    ("whose", "crossed", "cause"),
    [
        (USER, True, "liquidation"),
        (USER.upper().replace("X", "x"), False, "liquidation"),
        (OTHER, False, None),
        (OTHER, True, None),
        (None, True, "liquidation"),
        (None, False, None),
    ],
)
def test_a_fill_was_forced_if_the_liquidated_position_was_the_accounts_own(
    whose: str | None, crossed: bool, cause: str | None
) -> None:
    wire = watched()
    row = fill_row(1, crossed=crossed, liquidation={"liquidatedUser": whose, "markPx": "9.0", "method": "market"})
    assert [fill.cause for fill in fills_of(wire.say("user", {"fills": [row]}))] == [cause]


def test_a_liquidation_that_the_account_took_over_is_not_its_own() -> None:
    wire = watched()
    announced = {
        "lid": 1,
        "liquidator": USER,
        "liquidated_user": OTHER,
        "liquidated_ntl_pos": "100.50",
        "liquidated_account_value": "2.0",
    }
    (event,) = wire.say("user", {"liquidation": announced})
    assert isinstance(event, AccountEvent)
    assert event.kind is AccountEventKind.OTHER
    own = announced | {"lid": 2, "liquidator": OTHER, "liquidated_user": USER, "liquidated_ntl_pos": "7"}
    (event,) = wire.say("user", {"liquidation": own})
    assert isinstance(event, AccountEvent)
    assert event.kind is AccountEventKind.LIQUIDATION


# Orders without a size, and what precedes the watch -------------------------------------------------------------------


def test_a_take_profit_of_a_whole_position_is_complete_when_the_venue_says_so() -> None:
    """Its size is 0 until it wakes. After one of ten it is not."""
    wire, tracker = watched(), UserStreamTracker()
    row = {**status_row(7, sz="0.0", origSz="0.0")["order"], "orderType": "Take Profit Market", "isTrigger": True}
    row |= {"triggerPx": "110", "isPositionTpsl": True, "reduceOnly": True}
    messages = wire.say("openOrders", {"user": USER, "dex": "", "orders": [row]})
    messages += wire.say("user", {"fills": [fill_row(1, oid=7, sz="1", startPosition="10", side="A")]})
    for message in messages:
        tracker(message)
    order = tracker.orders.find("7")
    assert order is not None
    assert (order.size, order.state, order.filled) == (None, OrderState.PARTIALLY_FILLED, Decimal(1))
    tracker(wire.say("user", {"fills": [fill_row(2, oid=7, sz="9", startPosition="9", side="A")]})[0])
    tracker(wire.say("orderUpdates", [status_row(7, "filled", 9, sz="0.0", origSz="0.0")])[0])
    assert (order.state, order.filled) == (OrderState.FILLED, Decimal(10))


#: The wall clock of the first frame of a `Wire`, ms.
BEGIN = 1_700_000_000_000


@pytest.mark.parametrize(
    ("channel", "ask"),
    [
        ("historicalOrders", lambda wire, rows: wire.reply(f"historicalOrders:{USER}:", rows)),
        ("userFills", lambda wire, rows: wire.say("userFills", {"user": USER, "fills": rows, "isSnapshot": True})),
        (
            "userFundings",
            lambda wire, rows: wire.say("userFundings", {"user": USER, "fundings": rows, "isSnapshot": True}),
        ),
    ],
)
def test_the_past_is_no_news_though_the_first_connection_was_lost_before_it_came(channel: str, ask: Any) -> None:
    """And what happened since is news, though it comes in the same list."""
    wire = watched()
    wire.lose()
    wire.connect()
    old, new = BEGIN - 115 * 86_400_000, BEGIN + 60_000
    make: dict[str, Callable[[int], dict[str, Any]]] = {
        "historicalOrders": lambda time: status_row(time % 1000, "canceled", time),
        "userFills": lambda time: fill_row(time % 1000 + 1, time),
        "userFundings": lambda time: {"time": time, "coin": "BTC", "usdc": "1", "szi": "1", "fundingRate": "0"},
    }
    rows = [make[channel](time) for time in (new, old)]
    messages = [each for each in ask(wire, rows) if not isinstance(each, StreamEvent)]
    assert [each.is_history for each in messages] == [True, False]


def test_the_venues_own_time_tells_since_when_an_account_is_watched() -> None:
    """Our wall clock is an hour behind: what happened in that hour was before all the same."""
    hour = 3_600_000
    wire = watched()
    states = margin_state(("BTC", "2.0"))
    states[0][1]["time"] = BEGIN + hour
    wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": states})
    wire.lose()
    wire.connect()
    rows = [status_row(2, "canceled", BEGIN + hour + 60_000), status_row(1, "canceled", BEGIN + hour - 60_000)]
    orders = orders_of(wire.reply(f"historicalOrders:{USER}:", rows))
    assert [(order.order_id, order.is_history) for order in orders] == [("1", True), ("2", False)]


def test_an_order_that_two_lists_of_open_ones_leave_out_is_asked_about() -> None:
    wire = watched()
    wire.say("orderUpdates", [status_row(1), status_row(2)])
    left = {"user": USER, "dex": "", "orders": [status_row(2)["order"]]}
    asked: list[str] = []
    for _ in range(9):
        wire.asked()
        wire.say("openOrders", left)
        asked += [each.tag for each in wire.asked() if isinstance(each, RestCall)]
    assert asked == [f"orderStatus:{USER}:1"] * 3
    wire.reply(asked[0], {"status": "order", "order": status_row(1, "canceled", 8)})
    wire.say("openOrders", left)
    assert wire.asked() == []


def test_a_state_from_before_the_newest_fill_is_told_again_when_it_is_newer() -> None:
    """The tracker passes the first over: so the second is news, though it repeats it."""
    wire = watched()
    wire.say("user", {"fills": [fill_row(1, 9)]})
    states = margin_state(("BTC", "2.0"))
    told = []
    for time in (5, 9, 10):
        states[0][1]["time"] = time
        messages = wire.say("allDexsClearinghouseState", {"user": USER, "clearinghouseStates": states})
        told.append(len([each for each in messages if isinstance(each, PositionUpdate)]))
    assert told == [1, 1, 0]


@pytest.mark.parametrize(("role", "status"), [(None, 500), ({"role": "emperor"}, 200)])
def test_an_address_of_which_nobody_says_whose_it_is_is_followed_as_given(role: Any, status: int) -> None:
    """One answer that is optional must not keep the market from being recorded."""
    wire = Wire(USER).ready()
    messages = wire.reply(f"userRole:{USER}", role, status)
    if status != 200:
        payload = control_payload("request_failed", tag=f"userRole:{USER}", attempts=3, error="HTTP 500")
        messages = wire.frame(CONTROL, payload)
    assert isinstance(messages[-1], StreamEvent)
    assert messages[-1].kind is EventKind.NOTICE
    assert wire.protocol.is_ready
    assert [plan.role for plan in wire.protocol.connections()] == ["depth", "main", "user-0"]


# Rubbish ---------------------------------------------------------------------------------------------------------------

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6) | st.just("nan")
JSON = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
)
SAMPLES: dict[str, Any] = {
    "orderUpdates": [status_row(1)],
    "user": {"fills": [fill_row(3)]},
    "userFills": {"user": USER, "fills": [fill_row(4)], "isSnapshot": True},
    "userFundings": {
        "user": USER,
        "fundings": [{"time": 5, "coin": "BTC", "usdc": "1", "szi": "1", "fundingRate": "0", "nSamples": None}],
    },
    "userNonFundingLedgerUpdates": {
        "user": USER,
        "nonFundingLedgerUpdates": [{"time": 5, "hash": "0x1", "delta": {"type": "deposit", "usdc": "5"}}],
    },
    "allDexsClearinghouseState": {"user": USER, "clearinghouseStates": margin_state(("BTC", "1.0"))},
    "spotState": {"user": USER, "spotState": {"balances": [{"coin": "A", "total": "1", "hold": "0"}]}},
    "openOrders": {"user": USER, "dex": "", "orders": [status_row(9)["order"]]},
    "subscriptionResponse": {"method": "subscribe", "subscription": {"type": "userFills", "user": USER}},
    "error": "Already subscribed: {}",
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path]
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
    return found


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_rubbish_is_a_parse_error_that_changes_nothing_or_messages_that_can_be_stored(data: st.DataObject) -> None:
    channel = data.draw(st.sampled_from(sorted(SAMPLES)))
    sample = SAMPLES[channel]
    wire = watched()
    before = wire.protocol.checkpoint()
    messages = wire.say(channel, changed(sample, data.draw(st.sampled_from(places(sample))), data.draw(JSON)))
    if any(
        isinstance(message, StreamEvent) and message.kind is EventKind.PARSE_ERROR and message.cause != ITEM
        for message in messages
    ):
        assert len(messages) == 1
        assert wire.protocol.checkpoint() == before
        return
    builders = TableBuilders(Path())
    for message in messages:
        builders.add(message)
    builders.flush()
    fresh = Wire(USER)
    fresh.protocol.restore(wire.protocol.checkpoint())
    assert fresh.protocol.checkpoint() == wire.protocol.checkpoint()
