"""
dYdX v4's accounts where something is odd: words and values that are not known, fills in the hole between a snapshot
and its updates, more missed than a page holds, connections out of step, ids that are used again.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.toolkit.venues.dydx_harness import data, events, of
from tests.toolkit.venues.dydx_v4.test_accounts import (
    ADDRESS,
    SUBACCOUNT,
    TIME,
    USER,
    Accounts,
    fill,
    order,
    position,
    state_of,
    states,
    tracked,
)
from toolkit.account_messages import AccountEvent, Fill, FundingPayment, OrderState, OrderUpdate, PositionUpdate
from toolkit.accounts.exact_sums import exact
from toolkit.clock import NS_PER_S
from toolkit.frames import REST_IN, REST_OUT
from toolkit.messages import NO_ANSWER, BalanceUpdate, EventKind, Message
from toolkit.protocol import CloseConnection, RestCall

LONG: dict[str, Any] = {"orderFlags": "64", "goodTilBlock": None, "goodTilBlockTime": "2024-09-01T00:00:00.000Z"}
STREAM = f"account {USER}"
HOLDINGS = f"positions {USER}"


def oddities(messages: list[Message]) -> list[str]:
    return [event.detail.partition(" is not known")[0] for event in events(messages, EventKind.NOTICE, STREAM)]


# Words and values that are not known -----------------------------------------------------------------------------------


def test_a_snapshot_with_an_unknown_status_tells_everything_and_is_not_asked_for_again() -> None:
    session = Accounts.opened()
    held = {**SUBACCOUNT, "openPerpetualPositions": {"BTC-USD": position("2")}}
    messages = session.join(subaccount=held, orders=[order(id="a"), order("LEVITATING", "b"), order(id="c")])
    assert [each.size for each in of(PositionUpdate, messages)] == [2.0]
    assert [(each.order_id, each.state, each.status) for each in of(OrderUpdate, messages)] == [
        ("a", "open", "BEST_EFFORT_OPENED"),
        ("b", "open", "LEVITATING"),
        ("c", "open", "BEST_EFFORT_OPENED"),
    ]
    assert oddities(messages) == ["order status 'LEVITATING'"]
    assert not events(messages, EventKind.PARSE_ERROR)
    assert all(isinstance(each, RestCall) for each in session.wait(300))


def test_an_unknown_status_leaves_an_order_as_it_was_and_is_said_once() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order(totalFilled="0.5"), order(id="o2")])
    messages = session.say(orders=[order("LEVITATING", totalFilled="1"), order("FILLED", "o2", totalFilled="2")])
    assert [(each.order_id, each.state, each.remaining) for each in of(OrderUpdate, messages)] == [
        ("o1", "partially_filled", 1.0),
        ("o2", "filled", 0.0),
    ]
    assert len(oddities(messages)) == 1
    assert oddities(session.say(orders=[order("LEVITATING", id="o3")])) == []
    assert states(session.say(orders=[order("LEVITATING", totalFilled="2")])) == ["filled"]
    # Of one that ended nothing brings it back; of one that nobody heard of REST does not say whether it lives.
    assert states(session.say(orders=[order("LEVITATING", "o2", price="9")])) in ([], ["filled"])
    assert of(OrderUpdate, session.rest(f"accountOrders:{USER}", [order("LEVITATING", "o9")])) == []
    assert state_of(session, "o2") == "filled"


@pytest.mark.parametrize(
    ("odd", "kept", "said"),
    [
        ({"orders": [order(side="SIDEWAYS")]}, OrderUpdate, 1),
        ({"orders": [order(goodTilBlock="soon")]}, OrderUpdate, 1),
        ({"orders": [order(price="NaN", updatedAt="yesterday")]}, OrderUpdate, 2),
        ({"orders": [order(reduceOnly="maybe", postOnly=7)]}, OrderUpdate, 2),
        ({"orders": [order(removalReason="ORDER_REMOVAL_REASON_FULL_MOON")]}, OrderUpdate, 0),
        ({"orders": [order(type="ICEBERG", timeInForce="GTW", orderFlags="512")]}, OrderUpdate, 0),
        ({"fills": [fill("new", liquidity="RAIN")]}, Fill, 1),
        ({"fills": [fill("new", fee="inf", type="GIFT", eventId=5)]}, Fill, 2),
        ({"perpetualPositions": [position("3", status="SLEEPING")]}, PositionUpdate, 1),
        ({"perpetualPositions": [position("3", netFunding="many")]}, PositionUpdate, 1),
        ({"transfers": {"type": "GIFT", "size": "1", "symbol": "USDC"}}, AccountEvent, 1),
        ({"blockHeight": "high"}, None, 1),
    ],
)
def test_what_is_not_known_is_kept_and_said_once(odd: dict[str, Any], kept: Any, said: int) -> None:
    """And takes nothing along that stands beside it."""
    if "transfers" in odd:
        ends = {"sender": {"address": "x"}, "recipient": {"address": ADDRESS, "subaccountNumber": 0}}
        odd = {"transfers": {"createdAt": TIME, "createdAtHeight": "101", **ends, **odd["transfers"]}}
    session = Accounts.opened()
    session.join()
    # What stands beside it in the same frame, in the same list where there is one.
    beside: dict[str, list[Any]] = {"fills": [fill()], "orders": [order(id="beside")]}
    beside["assetPositions"] = [{"symbol": "USDC", "side": "LONG", "size": "3"}]
    both = {**beside, **odd, **{name: rows + odd.get(name, []) for name, rows in beside.items()}}
    messages = session.say(**both)
    assert "f1" in [each.fill_id for each in of(Fill, messages)]
    assert "beside" in [each.order_id for each in of(OrderUpdate, messages)]
    assert [each.total for each in of(BalanceUpdate, messages)] == [3.0]
    counts = {Fill: 1, OrderUpdate: 1}
    if kept is not None:
        assert len(of(kept, messages)) == counts.get(kept, 0) + 1
    assert len(events(messages, EventKind.NOTICE, STREAM)) == said
    assert not events(messages, EventKind.PARSE_ERROR)
    assert not events(session.say(**odd), EventKind.NOTICE)


def test_a_transfer_of_an_unknown_type_goes_where_its_ends_say() -> None:
    session = Accounts.opened()
    session.join()
    own, other = {"address": ADDRESS, "subaccountNumber": 0}, {"address": "x"}
    row = {"type": "GIFT", "createdAt": TIME, "createdAtHeight": "101", "symbol": "USDC"}
    told: list[AccountEvent] = []
    for number, (sender, recipient) in enumerate([(other, own), (own, other), (other, other)], 1):
        moved = {**row, "size": str(number), "sender": sender, "recipient": recipient}
        told += of(AccountEvent, session.say(transfers=moved))
    assert [(each.kind, each.amount) for each in told] == [("other", 1.0), ("other", -2.0), ("other", None)]


@pytest.mark.parametrize(
    "lost",
    [
        {"orders": [{"id": "x"}]},
        {"orders": [order(id="x", size="-1")]},
        {"orders": "many"},
        {"fills": [fill("x", price=None)]},
        {"fills": [fill("x", side="SIDEWAYS")]},
        {"fills": [fill("x", createdAtHeight="-1")]},
        {"fills": [5]},
        {"transfers": {"type": "DEPOSIT"}},
        {"tradingReward": {"tradingReward": "nan", "createdAt": TIME, "createdAtHeight": "101"}},
        {"perpetualPositions": [position("3", side="SIDEWAYS")]},
        {"assetPositions": [{"symbol": "USDC", "size": "1", "side": "MIDDLE"}]},
    ],
)
def test_an_item_that_cannot_be_read_is_lost_alone_and_said_each_time(lost: dict[str, Any]) -> None:
    session = Accounts.opened()
    session.join()
    for number in (1, 2):
        name = f"beside{number}"
        beside: dict[str, list[Any]] = {"fills": [fill(name)], "orders": [order(id=name)]}
        both: dict[str, Any] = {**beside, **lost}
        for part, rows in beside.items():
            if isinstance(lost.get(part), list):
                both[part] = lost[part] + rows
        messages = session.say(**both)
        assert [each.fill_id for each in of(Fill, messages)] == [name]
        if lost.get("orders") != "many":
            assert [each.order_id for each in of(OrderUpdate, messages)] == [name]
        (event,) = events(messages, EventKind.PARSE_ERROR, STREAM)
        assert "cannot be read" in event.detail
    assert session.subject.parse_error_count == 2


def test_a_position_that_cannot_be_read_is_neither_closed_nor_believed() -> None:
    session = Accounts.opened()
    session.join(subaccount={**SUBACCOUNT, "openPerpetualPositions": {"BTC-USD": position("2")}})
    odd = {"BTC-USD": position("3", side="SIDEWAYS"), "ETH-USD": position("1", market="ETH-USD")}
    session.lose()
    messages = session.join(110, subaccount={**SUBACCOUNT, "openPerpetualPositions": odd})
    assert [(each.symbol, each.size) for each in of(PositionUpdate, messages)] == [("ETH-USD", 1.0)]
    assert [event.symbol for event in events(messages, EventKind.PARSE_ERROR)] == ["BTC-USD"]
    assert [event.cause for event in events(messages, EventKind.STALE, HOLDINGS)] == ["behind"]
    messages = session.say(perpetualPositions=[position("4")], blockHeight="111")
    assert [event.cause for event in events(messages, EventKind.GAP, HOLDINGS)] == ["behind"]


@pytest.mark.parametrize("tag", ["accountOrders", "accountFills", "accountTransfers", "accountFunding"])
def test_an_odd_row_takes_no_other_of_a_reply_along(tag: str) -> None:
    session = Accounts.opened()
    session.join(reply=False)
    paid = {
        "createdAt": TIME,
        "createdAtHeight": "105",
        "ticker": "BTC-USD",
        "payment": "1",
        "size": "2",
        "side": "LONG",
    }
    ends = {"sender": {"address": "x"}, "recipient": {"address": ADDRESS, "subaccountNumber": 0}}
    moved = {"type": "DEPOSIT", "amount": "1", "asset": "USDC", "createdAt": TIME, "createdAtHeight": "101", **ends}
    rows = {
        "accountOrders": [order("OPEN"), {"id": 5}, order("ASLEEP", "o9", size="1"), order("FILLED", "o2")],
        "accountFills": [fill(), {"id": "x"}, fill("f2")],
        "accountTransfers": [moved, {**moved, "createdAt": 5}, {**moved, "amount": "2"}],
        "accountFunding": [paid, {**paid, "side": "UP"}, {**paid, "createdAtHeight": "106"}],
    }[tag]
    name = {"accountFills": "fills", "accountTransfers": "transfers", "accountFunding": "fundingPayments"}.get(tag)
    messages = session.rest(f"{tag}:{USER}", rows if name is None else {name: rows})
    kinds = (OrderUpdate, Fill, AccountEvent, FundingPayment)
    assert sum(isinstance(each, kinds) for each in messages) == 2
    assert len(events(messages, EventKind.PARSE_ERROR)) == 1
    # What could be read counts as the answer.
    session.rest(f"accountOrders:{USER}", [])
    session.rest(f"accountFills:{USER}:1", {"fills": []})
    assert session.subject.accounts.streams.follow(USER, is_parent=False).owed == []  # type: ignore[attr-defined]


# The hole between a snapshot and its updates ---------------------------------------------------------------------------


def flat(height: int, **positions: Any) -> dict[str, Any]:
    whole = {**SUBACCOUNT, "openPerpetualPositions": positions, "latestProcessedBlockHeight": str(height)}
    return {"subaccount": whole}


def size_of(session: Accounts, pair: str = "BTC-USD") -> float:
    found = tracked(session).positions.find(pair)
    return 0.0 if found is None else float(found.size)


def test_a_fill_in_the_hole_makes_the_position_doubtful_until_a_statement_covers_it() -> None:
    session = Accounts.opened()
    session.now_s = 100.0
    session.join(subaccount={**SUBACCOUNT, "openPerpetualPositions": {"BTC-USD": position("1")}}, reply=False)
    messages = session.rest(f"accountFills:{USER}:1", {"fills": [fill(height=101, size="1")]})
    (stale,) = events(messages, EventKind.STALE, HOLDINGS)
    assert (stale.cause, stale.ts_start) == ("behind", session.frames[-1].ts_recv)
    assert [call.tag for call in session.calls()] == [f"subaccount:{USER}"]
    # REST is behind: its answer covers no more than the snapshot did.
    assert session.rest(f"subaccount:{USER}", flat(100, **{"BTC-USD": position("1")})) == []
    for wait in (1, 2, 4, 8):
        asked = [call.tag for call in session.wait(wait) if isinstance(call, RestCall)]
        assert f"subaccount:{USER}" in asked
    messages = session.rest(f"subaccount:{USER}", flat(101, **{"BTC-USD": position("2")}))
    assert [each.size for each in of(PositionUpdate, messages)] == [2.0]
    (gap,) = events(messages, EventKind.GAP, HOLDINGS)
    assert gap.ts_end is not None
    assert gap.ts_end - (gap.ts_start or 0) == 15 * NS_PER_S
    session.calls()
    assert not [call for call in session.wait(3) if isinstance(call, RestCall) and call.tag.startswith("subacc")]


def test_a_change_of_one_market_says_nothing_of_a_fill_in_another() -> None:
    session = Accounts.opened()
    session.join(subaccount={**SUBACCOUNT, "openPerpetualPositions": {"BTC-USD": position("1")}}, reply=False)
    session.say(perpetualPositions=[position("5", market="ETH-USD")], blockHeight="103")
    messages = session.reply(fills=[fill(height=101, size="1")])
    assert events(messages, EventKind.STALE, HOLDINGS)
    # It is not undone by a statement of before it.
    messages = session.rest(f"subaccount:{USER}", flat(102, **{"BTC-USD": position("2")}))
    assert (size_of(session), size_of(session, "ETH-USD")) == (2.0, 5.0)
    assert events(messages, EventKind.GAP, HOLDINGS)


def test_a_deposit_in_the_hole_makes_the_collateral_doubtful() -> None:
    session = Accounts.opened()
    session.join()
    ends = {"sender": {"address": "x"}, "recipient": {"address": ADDRESS, "subaccountNumber": 0}}
    moved = {"type": "DEPOSIT", "amount": "5", "asset": "USDC", "createdAt": TIME, **ends}
    rows = [{**moved, "createdAtHeight": "101"}, {**moved, "createdAtHeight": "99"}]
    messages = session.rest(f"accountTransfers:{USER}", {"transfers": rows})
    assert [each.is_history for each in of(AccountEvent, messages)] == [True, False]
    assert events(messages, EventKind.STALE, HOLDINGS)
    messages = session.say(assetPositions=[{"symbol": "USDC", "side": "LONG", "size": "105.5"}], blockHeight="101")
    assert events(messages, EventKind.GAP, HOLDINGS)


def test_fills_that_the_stream_tells_of_make_nothing_doubtful() -> None:
    session = Accounts.opened()
    session.join()
    session.say(fills=[fill()], perpetualPositions=[position("1")], blockHeight="101")
    session.reply(fills=[fill()])
    assert not events(session.messages, EventKind.STALE)


def test_an_old_statement_does_not_undo_a_change_without_a_height() -> None:
    session = Accounts.opened()
    session.join(subaccount={**SUBACCOUNT, "openPerpetualPositions": {"BTC-USD": position("1")}})
    session.say_block(104)
    session.say(perpetualPositions=[position("7")])
    session.say(assetPositions=[{"symbol": "USDC", "side": "LONG", "size": "9"}])
    for height in (100, 103, 104):
        session.rest(f"subaccount:{USER}", flat(height, **{"BTC-USD": position("1")}))
    assert size_of(session) == 7.0
    assert [each.total for each in of(BalanceUpdate, session.messages)][-1] == 9.0
    session.rest(f"subaccount:{USER}", flat(105, **{"BTC-USD": position("1")}))
    assert size_of(session) == 1.0


def test_a_snapshot_of_before_does_not_undo_what_is_newer() -> None:
    """The venue reads it from a copy that may lag."""
    session = Accounts.opened()
    session.join()
    session.say(perpetualPositions=[position("7")], blockHeight="110")
    session.lose()
    session.join(108)
    assert size_of(session) == 7.0
    session.lose()
    session.join(111)
    assert size_of(session) == 0.0


@pytest.mark.parametrize("wild", [2**53, 10**9])
def test_one_wild_height_freezes_nothing(wild: int) -> None:
    session = Accounts.opened()
    session.join(subaccount={**SUBACCOUNT, "openPerpetualPositions": {"BTC-USD": position("1")}})
    session.say(orders=[order()], perpetualPositions=[position("2")], blockHeight=str(wild))
    assert states(session.say_block(102)) == []
    session.say(perpetualPositions=[position("3")], blockHeight="103")
    assert size_of(session) == 3.0
    session.rest(f"subaccount:{USER}", flat(wild, **{"BTC-USD": position("4")}))
    session.say(perpetualPositions=[position("5")], blockHeight="1200")
    session.say(perpetualPositions=[position("6")], blockHeight="1201")
    assert size_of(session) == 6.0
    assert state_of(session) == "expired"


# More missed than a page holds -----------------------------------------------------------------------------------------


def pages(session: Accounts, rows: list[dict[str, Any]], size: int = 1000) -> int:
    """Answer every request for fills out of these rows, newest first; returns how many there were."""
    count = 0
    while calls := [call for call in session.calls() if call.tag.startswith("accountFills")]:
        for call in calls:
            count += 1
            query = dict(each.split("=") for each in call.path.partition("?")[2].split("&"))
            until, part = int(query.get("createdBeforeOrAtHeight", 2**53)), int(query.get("page", 1))
            found = [row for row in rows if int(row["createdAtHeight"]) <= until]
            session.rest(call.tag, {"fills": found[(part - 1) * size : part * size]})
            assert count < 200
    return count


@pytest.mark.parametrize(("missed", "per_block"), [(1500, 1), (3000, 7), (2500, 2500), (16_000, 3)])
def test_every_fill_that_was_missed_is_told_once(missed: int, per_block: int) -> None:
    """Though the stream tells of new ones meanwhile, a block holds more than a page, or the memory less than all."""
    session = Accounts.opened()
    session.join(1000, reply=False)
    session.reply(fills=[fill(f"old{number}", 990) for number in range(300)])
    session.say(fills=[fill("before", 1001)], blockHeight="1001")
    session.lose()
    session.join(9000, reply=False)
    session.asked = list(session.replies)
    session.say(fills=[fill("live", 9001)], blockHeight="9001")
    rows = [fill("live", 9001)]
    rows += [fill(f"m{number}", 1002 + number // per_block) for number in reversed(range(missed))]
    rows += [fill("before", 1001), *(fill(f"old{number}", 990) for number in range(300))]
    assert pages(session, rows) < 30
    told = [each.fill_id for each in of(Fill, session.messages)]
    assert len(told) == len(set(told))
    assert set(told) == {row["id"] for row in rows}
    session.rest(f"accountOrders:{USER}", [])
    assert session.subject.accounts.streams.follow(USER, is_parent=False).owed == []  # type: ignore[attr-defined]


def test_paging_goes_on_where_a_lost_connection_cut_it_short() -> None:
    session = Accounts.opened()
    session.join(1000)
    session.lose()
    session.join(5000, reply=False)
    rows = [fill(f"m{number}", 1001 + number) for number in reversed(range(2500))]
    session.rest(f"accountFills:{USER}:1", {"fills": rows[:1000]})
    session.calls()
    session.lose()
    session.join(5010, reply=False)
    session.asked = list(session.replies)
    pages(session, [fill("last", 5005), *rows])
    assert len(of(Fill, session.messages)) == 2501


def test_funding_payments_of_more_than_a_page_are_told_once() -> None:
    session = Accounts.opened()
    session.join(1000)
    row = {"createdAt": TIME, "payment": "1", "size": "2", "side": "LONG"}
    paid = [{**row, "ticker": f"M{each % 50}-USD", "createdAtHeight": str(1001 + each // 50)} for each in range(2600)]
    paid.reverse()
    session.rest(f"accountFunding:{USER}", {"fundingPayments": paid[:1000]})
    asked = 0
    while calls := [call for call in session.calls() if call.tag.startswith("accountFunding")]:
        (call,) = calls
        asked += 1
        page = int(call.path.rpartition("=")[2])
        session.rest(call.tag, {"fundingPayments": paid[(page - 1) * 1000 : page * 1000]})
    assert asked <= 3
    assert len(of(FundingPayment, session.messages)) == 2600
    session.rest(f"accountFunding:{USER}", {"fundingPayments": paid[:1000]})
    assert session.calls() == []
    assert len(of(FundingPayment, session.messages)) == 2600


def test_rewards_do_not_push_payments_out_of_memory() -> None:
    session = Accounts.opened()
    session.join()
    row = {
        "createdAt": TIME,
        "createdAtHeight": "101",
        "ticker": "BTC-USD",
        "payment": "1",
        "size": "2",
        "side": "LONG",
    }
    assert len(of(FundingPayment, session.rest(f"accountFunding:{USER}", {"fundingPayments": [row]}))) == 1
    for number in range(8000):
        reward = {"tradingReward": "1", "createdAt": TIME, "createdAtHeight": str(102 + number)}
        session.subject.receive(session.frames[-1])  # keeps nothing
        session.say(tradingReward=reward)
    assert of(FundingPayment, session.rest(f"accountFunding:{USER}", {"fundingPayments": [row]})) == []


# Connections out of step -----------------------------------------------------------------------------------------------


def other(session: Accounts, height: int) -> list[Message]:
    """The market's connection is told of a block."""
    body = {"blockHeight": str(height), "time": TIME}
    frame = {"type": "channel_data", "connection_id": "m", "message_id": height, "channel": "v4_block_height",
             "id": "v4_block_height", "version": "1.0.0", "contents": body}  # fmt: skip
    return session.take(frame, conn_id=7)


@pytest.mark.parametrize("filled", ["2", "0.5"])
def test_an_order_that_was_filled_has_not_expired_because_another_connection_is_ahead(filled: str) -> None:
    session = Accounts.opened(pairs=("BTC-USD",))
    session.connect("venue", 7, "m")
    session.send()
    session.join()
    session.say(orders=[order(totalFilled="0")])
    assert states(other(session, 112)) == []
    status = "FILLED" if filled == "2" else "OPEN"
    session.say(orders=[order(status, totalFilled=filled)], fills=[fill(height=110, size=filled)], blockHeight="110")
    told = states(session.say_block(111))
    assert told == ([] if filled == "2" else ["expired"])
    found = tracked(session).orders.find("o1")
    assert found is not None
    assert (found.state, found.filled) == ("filled" if filled == "2" else "expired", exact(float(filled)))


def test_a_connection_that_is_far_ahead_is_believed_in_the_end() -> None:
    """The accounts' own may have been refused the blocks."""
    session = Accounts.opened(pairs=("BTC-USD",))
    session.connect("venue", 7, "m")
    session.send()
    session.join()
    session.say(orders=[order()])
    assert states(other(session, 120)) == []
    assert states(other(session, 121)) == ["expired"]


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_word_of_the_venue_corrects_an_end_that_only_the_height_told(is_cancelled: bool) -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order()])
    if is_cancelled:
        session.say(orders=[order("BEST_EFFORT_CANCELED")])
    assert states(session.say_block(111)) == ["cancelled" if is_cancelled else "expired"]
    session.say(orders=[order("FILLED", totalFilled="2")], fills=[fill(height=110, size="2")], blockHeight="110")
    found = tracked(session).orders.find("o1")
    assert found is not None
    assert (found.state, found.filled) == (OrderState.FILLED, exact(2.0))


@pytest.mark.parametrize("names_itself", [True, False])
def test_answers_to_what_an_old_connection_asked_do_not_settle_what_the_new_one_owes(names_itself: bool) -> None:
    """They were made before what is missed; whether a reply says which request it answers or not."""
    session = Accounts.opened()
    session.join(reply=False)
    session.say(orders=[order()])
    tags = [f"accountOrders:{USER}", f"accountFills:{USER}:1"]
    asked = {}
    for tag in tags:
        asked[tag] = len(session.frames)
        context = {"tag": tag, **({"id": len(session.frames)} if names_itself else {})}
        session.take(b"", kind="rest_out", conn_id=-1, context=context)
    session.lose()
    session.join(120, reply=False)
    bodies: dict[str, Any] = {tags[0]: [], tags[1]: {"fills": []}}
    for tag in tags:
        context = {"tag": tag, "status": 200, **({"id": asked[tag]} if names_itself else {})}
        assert states(session.take(bodies[tag], kind="rest_in", conn_id=-1, context=context)) == []
    assert states(session.say_block(121)) == []
    assert states(session.rest(tags[1], {"fills": [fill(height=110, size="2")]})) == []
    assert states(session.rest(tags[0], [order("FILLED", totalFilled="2", updatedAtHeight="110")])) == ["filled"]
    assert state_of(session) == "filled"


def test_a_frame_of_an_older_connection_changes_nothing() -> None:
    session = Accounts.opened()
    session.join()
    session.say(perpetualPositions=[position("1")], blockHeight="101")
    old = session.frames[-1]
    session.lose()
    session.join(105)
    before = session.subject.accounts.export()
    (event,) = session.subject.receive(old)
    assert events([event], EventKind.NOTICE)
    assert session.subject.accounts.export() == before


def test_a_frame_that_comes_twice_counts_once() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order(**LONG)], blockHeight="101")
    opened = session.frames[-1]
    session.say(orders=[order("CANCELED", **LONG)], perpetualPositions=[position("1")], blockHeight="101")
    assert session.subject.receive(opened) == []
    assert state_of(session) == "cancelled"


def test_one_refused_endpoint_is_not_asked_again_and_ends_nothing() -> None:
    session = Accounts.opened()
    session.now_s = 100.0
    session.join(reply=False)
    (event,) = session.rest(f"accountFunding:{USER}", {}, 403)
    assert events([event], EventKind.REFUSED)
    session.rest(f"accountFills:{USER}:1", {}, 403)
    session.rest(f"accountOrders:{USER}", [])
    assert session.subject.failure is None
    session.say(orders=[order()])
    assert states(session.say_block(111)) == ["expired"]
    asked = {
        call.tag.partition(":")[0] for call in [*session.wait(200), *session.wait(3700)] if isinstance(call, RestCall)
    }
    assert asked == {"accountOrders", "accountTransfers", "subaccount"}


# The past --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"updatedAtHeight": "90"}, {"updatedAt": "2024-08-22T00:00:00.000Z"}])
def test_what_was_before_the_first_snapshot_is_history_whichever_connection_learns_of_it(fields: Any) -> None:
    session = Accounts.opened()
    session.join(reply=False)
    session.lose()
    session.join(120, reply=False)
    old = order("CANCELED", "old", goodTilBlock="80", **fields)
    new = order("CANCELED", "new", updatedAtHeight="110")
    messages = session.reply(orders=[new, old], fills=[fill("new", 110), fill("old", 90)])
    assert [(each.order_id, each.is_history) for each in of(OrderUpdate, messages)] == [("old", True), ("new", False)]
    assert [(each.fill_id, each.is_history) for each in of(Fill, messages)] == [("old", True), ("new", False)]


def test_history_is_told_by_time_where_the_first_snapshot_has_no_height() -> None:
    session = Accounts.opened()
    session.now_s = 100.0
    session.connect("accounts")
    session.send()
    session.take(data("v4_subaccounts", USER, {"subaccount": SUBACCOUNT, "orders": []}, 2, "subscribed"))
    rows = [fill("new", 110, createdAt="2024-08-23T00:02:00.000Z"), fill("old", 90)]
    told = of(Fill, session.rest(f"accountFills:{USER}:1", {"fills": rows}))
    assert [(each.fill_id, each.is_history) for each in told] == [("old", True), ("new", False)]


# Ids that are used again -----------------------------------------------------------------------------------------------


def lives(session: Accounts, order_id: str = "o1") -> list[tuple[int, str, float, float | None]]:
    """Generation, state, filled and size of each order of that id."""
    orders = [each for each in tracked(session).orders if each.order_id == order_id]
    return sorted((each.generation, str(each.state), float(each.filled), each.size) for each in orders)


@pytest.mark.parametrize("evidence", ["until", "height", "nothing"])
@pytest.mark.parametrize("ending", ["CANCELED", "FILLED"])
def test_a_long_term_id_that_is_used_again_is_another_order(evidence: str, ending: str) -> None:
    session = Accounts.opened()
    session.join()
    heights: list[dict[str, Any]] = [
        {"blockHeight": str(height)} if evidence == "height" else {} for height in range(101, 106)
    ]
    later = {**LONG, "goodTilBlockTime": "2024-10-01T00:00:00.000Z"} if evidence == "until" else LONG
    done = "2" if ending == "FILLED" else "0"
    session.say(orders=[order("OPEN", **LONG)], **heights[0])
    session.say(orders=[order(ending, totalFilled=done, **LONG)], **heights[1])
    (again,) = of(OrderUpdate, session.say(orders=[order("OPEN", size="5", totalFilled="0", **later)], **heights[2]))
    assert (again.state, again.generation, again.size) == ("open", 1, 5.0)
    assert [each.size for each in tracked(session).orders.active] == [5.0]
    news = fill("f5", 105, "5")
    session.say(orders=[order("FILLED", size="5", totalFilled="5", **later)], fills=[news], **heights[4])
    assert lives(session) == [(0, ending.lower().replace("canceled", "cancelled"), 0.0, 2.0), (1, "filled", 5.0, 5.0)]
    found = tracked(session).orders.find("o1")
    assert found is not None
    assert (found.generation, found.state) == (1, "filled")


def test_a_short_term_id_that_is_used_again_is_another_order() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order("FILLED", totalFilled="2", goodTilBlock="120")], fills=[fill(size="2", height=113)])
    session.say_block(129)
    session.say(orders=[order(goodTilBlock="140", size="3")], blockHeight="130")
    assert lives(session) == [(0, "filled", 2.0, 2.0), (1, "open", 0.0, 3.0)]
    # A fill of the first one that comes late is the first one's.
    session.say(fills=[fill("late", 114, "1"), fill("new", 131, "1")])
    assert [(life[0], life[2]) for life in lives(session)] == [(0, 3.0), (1, 1.0)]
    assert states(session.say_block(141)) == ["expired"]
    assert lives(session)[1][1] == "expired"


def test_the_end_of_an_order_that_was_placed_again_while_nobody_listened() -> None:
    """Only its end is heard of; the first one stays as it was."""
    session = Accounts.opened()
    session.join()
    session.say(orders=[order("OPEN", **LONG)], blockHeight="101")
    session.say(orders=[order("FILLED", totalFilled="2", **LONG)], blockHeight="102")
    session.lose()
    session.join(120, reply=False)
    row = order("CANCELED", totalFilled="0.5", size="4", updatedAtHeight="115", **LONG)
    session.reply(orders=[row], fills=[fill("f9", 110)])
    assert [(life[0], life[1]) for life in lives(session)] == [(0, "filled"), (1, "cancelled")]


def test_an_order_that_lives_and_was_taken_in_later_is_another_one() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order("OPEN", createdAtHeight="101", **LONG)], blockHeight="101")
    session.lose()
    session.join(120, orders=[order("OPEN", createdAtHeight="115", size="9", **LONG)])
    assert [(life[0], life[1], life[3]) for life in lives(session)] == [(0, "cancelled", 2.0), (1, "open", 9.0)]


@pytest.mark.parametrize(
    ("source", "row"),
    [
        ("stream", order("OPEN", **LONG, updatedAtHeight="101")),
        ("stream", order("OPEN", **LONG, createdAtHeight="100")),
        ("rest", order("OPEN", **LONG)),
        ("rest", order("CANCELED", **LONG, updatedAtHeight="102")),
        ("rest", order("CANCELED", **LONG)),
        ("snapshot", order("OPEN", **LONG)),
    ],
)
def test_a_late_word_about_an_order_that_ended_is_not_another_order(source: str, row: dict[str, Any]) -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order("OPEN", **LONG, createdAtHeight="101")], blockHeight="101")
    session.say(orders=[order("CANCELED", **LONG)], blockHeight="102")
    if source == "stream":
        session.say(orders=[row], blockHeight="103")
    elif source == "rest":
        session.rest(f"accountOrders:{USER}", [row])
    else:
        session.lose()
        session.join(102, orders=[row])
    assert [(life[0], life[1]) for life in lives(session)] == [(0, "cancelled")]


def test_a_replaced_short_term_order_goes_on_as_the_same_one() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order()], blockHeight="101")
    session.say(orders=[order(goodTilBlock="115", price="11")], blockHeight="102")
    assert states(session.say_block(112)) == []
    assert states(session.say_block(116)) == ["expired"]
    assert [life[:2] for life in lives(session)] == [(0, "expired")]


# What the model of the Indexer found ------------------------------------------------------------------------------------


def test_positions_are_doubtful_while_rest_says_nothing_of_the_hole_before_the_updates() -> None:
    session = Accounts.opened()
    session.now_s = 100.0
    session.join(reply=False)
    messages = session.control("request_failed", -1, tag=f"accountTransfers:{USER}", attempts=5, error="timed out")
    assert [event.cause for event in events(messages, EventKind.STALE, HOLDINGS)] == ["behind"]
    assert [event.cause for event in events(messages, EventKind.STALE, f"missed {USER}")] == [NO_ANSWER]
    assert f"accountTransfers:{USER}" in [each.tag for each in session.wait(30) if isinstance(each, RestCall)]
    messages = session.rest(f"subaccount:{USER}", flat(100, **{"BTC-USD": position("3")}))
    assert (size_of(session), len(events(messages, EventKind.GAP, HOLDINGS))) == (3.0, 1)
    messages = session.rest(f"accountTransfers:{USER}", {"transfers": []})
    assert len(events(messages, EventKind.GAP, f"missed {USER}")) == 1


def test_an_order_that_was_placed_since_the_snapshot_ends_though_rest_says_nothing() -> None:
    """Of one that was heard of before, nobody knows whether it was filled meanwhile."""
    session = Accounts.opened()
    session.join(reply=False, orders=[order(id="before")])
    session.say(orders=[order()], blockHeight="101")
    assert [each.order_id for each in of(OrderUpdate, session.say_block(111))] == ["o1"]
    assert [each.order_id for each in of(OrderUpdate, session.reply())] == ["before"]


def test_a_frame_that_comes_after_a_later_one_is_a_loss() -> None:
    session = Accounts.opened()
    session.join()
    session.number += 1
    session.say_block(102)
    late = data("v4_subaccounts", USER, {"perpetualPositions": [position("5")]}, session.number - 1)
    messages = session.take(late)
    assert [event.cause for event in events(messages, EventKind.STALE, STREAM)] == ["sequence"]
    assert of(PositionUpdate, messages) == []
    assert any(isinstance(each, CloseConnection) for each in session.wait(1))


def test_a_loss_that_was_not_sure_yet_when_the_connection_ended_is_made_good() -> None:
    session = Accounts.opened()
    session.join(1000)
    session.say(fills=[fill("f1", 1001)], blockHeight="1001")
    session.number += 1  # one with a fill of block 1002
    session.say(fills=[fill("f3", 1003)], blockHeight="1003")
    session.lose()
    session.join(1010, reply=False)
    session.asked = list(session.replies)
    rows = [fill(f"new{number}", 1005) for number in range(1000)]
    rows += [fill("f3", 1003), fill("f2", 1002), fill("f1", 1001)]
    pages(session, rows)
    assert {"f1", "f2", "f3"} <= {each.fill_id for each in of(Fill, session.messages)}


def test_a_change_without_a_height_does_not_hold_up_those_after_it() -> None:
    """Another connection may be blocks ahead."""
    session = Accounts.opened()
    session.join()
    session.say_block(150)
    session.say(perpetualPositions=[position("2")])
    session.say(perpetualPositions=[position("3")], blockHeight="149")
    assert size_of(session) == 3.0


def test_a_transfer_in_the_hole_that_rest_did_not_know_yet_is_asked_for_again() -> None:
    session = Accounts.opened()
    session.now_s = 100.0
    session.join()
    asked = [each.tag.partition(":")[0] for each in session.wait(20) if isinstance(each, RestCall)]
    assert asked == ["accountOrders", "accountFills", "accountTransfers", "subaccount"]


@pytest.mark.parametrize("height", [101, 102])
def test_an_older_word_from_rest_ends_nothing_that_lives(height: int) -> None:
    """It may be about an order that had the id before."""
    session = Accounts.opened()
    session.join(reply=False)
    session.say(orders=[order("OPEN", size="9", totalFilled="0.5", **LONG)], blockHeight="103")
    row = order("CANCELED", totalFilled="2", updatedAtHeight=str(height), createdAtHeight="100", **LONG)
    assert states(session.reply(orders=[row])) == []
    assert state_of(session) == "partially_filled"


def test_fills_of_before_an_order_was_taken_in_are_another_s() -> None:
    session = Accounts.opened()
    session.join(reply=False)
    session.say(orders=[order("OPEN", totalFilled="0", **LONG)], blockHeight="105")
    row = order("OPEN", totalFilled="1", createdAtHeight="105", updatedAtHeight="106", **LONG)
    session.reply(orders=[row], fills=[fill("new", 106, "1"), fill("old", 103, "2")])
    assert [(life[0], life[2]) for life in lives(session)] == [(-1, 2.0), (0, 1.0)]
    found = tracked(session).orders.find("o1")
    assert found is not None
    assert (found.generation, found.state) == (0, "partially_filled")


def test_a_fill_after_the_end_of_an_order_is_the_next_one_s() -> None:
    """REST told of it before the stream told of the order."""
    session = Accounts.opened()
    session.join(reply=False)
    session.say(orders=[order("OPEN", **LONG)], blockHeight="101")
    session.say(orders=[order("FILLED", totalFilled="2", **LONG)], fills=[fill("f1", 102, "2")], blockHeight="102")
    session.reply(fills=[fill("f2", 105, "0.5"), fill("f1", 102, "2")])
    session.say(orders=[order("OPEN", size="4", totalFilled="0", **LONG)], blockHeight="104")
    session.say(orders=[order("OPEN", size="4", totalFilled="0.5", **LONG)], blockHeight="105")
    assert [(life[0], life[1], life[2]) for life in lives(session)] == [
        (0, "filled", 2.0),
        (1, "partially_filled", 0.5),
    ]


def test_live_fills_do_not_hide_one_that_rest_did_not_know_yet() -> None:
    """REST lags behind the hole before the updates, and by the time it does not, the stream has told of a page and more."""
    session = Accounts.opened()
    session.now_s = 100.0
    session.join()
    rows = [fill(f"live{number}", 105 + number // 10) for number in range(1200)]
    for row in rows:
        session.say(fills=[row], blockHeight=row["createdAtHeight"])
    session.asked = [each for each in session.wait(20) if isinstance(each, RestCall)]
    pages(session, [*rows[::-1], fill("hidden", 101)])
    assert len(of(Fill, session.messages)) == 1201


def test_an_answer_to_what_was_asked_before_an_outage_says_nothing_of_it() -> None:
    """It came after the account was joined again; a fill of now is no proof that all before it were told."""
    session = Accounts.opened()
    session.join(1000, reply=False)
    early = len(session.frames)
    session.take(b"", kind=REST_OUT, conn_id=-1, context={"tag": f"accountFills:{USER}:1", "id": early})
    session.lose()
    session.join(1010, reply=False)
    session.asked = list(session.replies)
    session.now_s += 3 * 3600
    answer = {"tag": f"accountFills:{USER}:1", "status": 200, "id": early}
    session.take({"fills": []}, kind=REST_IN, conn_id=-1, context=answer)
    session.say(fills=[fill("live", 12_000)], blockHeight="12000")
    rows = [fill("live", 12_000), *(fill(f"m{number}", 1001 + number // 20) for number in reversed(range(132)))]
    pages(session, rows, 100)
    assert len(of(Fill, session.messages)) == 133
