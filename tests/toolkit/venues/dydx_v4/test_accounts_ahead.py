"""Accounts of dYdX v4 where REST, or another connection, is ahead of the stream: what comes later may be older."""

from __future__ import annotations

from typing import Any

import pytest

from tests.toolkit.venues.dydx_harness import of
from tests.toolkit.venues.dydx_v4.test_accounts import USER, Accounts, fill, order, position, state_of, states
from tests.toolkit.venues.dydx_v4.test_accounts_faults import HOLDINGS, LONG, flat, lives, other, size_of
from toolkit.account_messages import Fill, OrderUpdate
from toolkit.messages import BalanceUpdate, EventKind, StreamEvent
from toolkit.protocol import RestCall

_ORDERS = f"accountOrders:{USER}"
_FILLS = f"accountFills:{USER}:1"

#: Orders that may have the id next, and their fills.
_NEXT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "of another side": ({"side": "SELL"}, {"side": "SELL"}),
    "larger": ({"size": "50"}, {}),
    "at another price": ({"price": "12"}, {"price": "12"}),
    "the same again": ({}, {}),
}


def placed_again(fills: list[dict[str, Any]]) -> Accounts:
    """An order is known, of which REST tells fills that are another's: the id was used again meanwhile."""
    session = Accounts.opened()
    session.now_s = 100.0  # between two hourly polls
    session.join(reply=False)
    session.say(orders=[order("OPEN", totalFilled="0", **LONG)], blockHeight="101")
    session.rest(_FILLS, {"fills": fills})
    return session


def word(next_one: str, **fields: Any) -> dict[str, Any]:
    return order("OPEN", **{**LONG, **_NEXT[next_one][0], "createdAtHeight": "105", **fields})


@pytest.mark.parametrize("next_one", list(_NEXT))
@pytest.mark.parametrize("teller", ["rest", "stream"])
def test_a_fill_waits_for_the_word_that_tells_whose_it_is(next_one: str, teller: str) -> None:
    session = placed_again(
        [fill(name, height, "0.5", **_NEXT[next_one][1]) for name, height in (("f2", 107), ("f1", 106))]
    )
    assert of(Fill, session.messages) == []
    assert [call.tag for call in session.calls()] == [_ORDERS, f"subaccount:{USER}"]
    if teller == "rest":
        session.rest(_ORDERS, [word(next_one, totalFilled="1", updatedAtHeight="107")])
    else:
        end = order("CANCELED", totalFilled="0", **LONG)
        session.say(orders=[end], blockHeight="104")
        placing = {**word(next_one, totalFilled="0"), "createdAtHeight": None}
        session.say(orders=[placing], blockHeight="105")
        assert of(Fill, session.messages) == []
        session.say(orders=[{**placing, "totalFilled": "0.5"}], blockHeight="106")
        assert [each.fill_id for each in of(Fill, session.messages)] == ["f1"]
        news = fill("f2", 107, "0.5", **_NEXT[next_one][1])
        session.say(orders=[{**placing, "totalFilled": "1"}], fills=[news], blockHeight="107")
    assert [each.fill_id for each in of(Fill, session.messages)] == ["f1", "f2"]
    assert [(life[0], life[2]) for life in lives(session)] == [(0, 0.0), (1, 1.0)]


def test_a_fill_of_the_order_itself_is_told_with_the_next_word_about_it() -> None:
    session = placed_again([fill("f1", 106, "0.5")])
    session.rest(_ORDERS, [order("OPEN", totalFilled="0", createdAtHeight="101", updatedAtHeight="101", **LONG)])
    assert of(Fill, session.messages) == []
    session.rest(_ORDERS, [order("OPEN", totalFilled="0.5", createdAtHeight="101", updatedAtHeight="106", **LONG)])
    assert [(life[0], life[1], life[2]) for life in lives(session)] == [(0, "partially_filled", 0.5)]
    session.rest(_FILLS, {"fills": [fill("f1", 106, "0.5")]})
    assert len(of(Fill, session.messages)) == 1


def test_what_was_told_by_a_word_before_it_does_not_wait() -> None:
    session = Accounts.opened()
    session.join(reply=False)
    session.say(orders=[order("OPEN", totalFilled="0", **LONG)], blockHeight="101")
    session.rest(_ORDERS, [order("FILLED", totalFilled="2", createdAtHeight="101", updatedAtHeight="106", **LONG)])
    session.rest(_FILLS, {"fills": [fill("f1", 106, "2")]})
    assert lives(session) == [(0, "filled", 2.0, 2.0)]


@pytest.mark.parametrize("is_other_side", [False, True])
def test_a_fill_does_not_wait_for_ever(is_other_side: bool) -> None:
    """Of another side it is the next order's, whatever is said of that."""
    session = placed_again([fill("f1", 106, "0.5", side="SELL" if is_other_side else "BUY")])
    asked = [call.tag for _ in range(8) for call in session.wait(5) if isinstance(call, RestCall)]
    assert asked.count(_ORDERS) >= 3
    session.say_block(130)
    assert of(Fill, session.messages) == []
    session.wait(21)
    session.say_block(150)
    assert [each.generation for each in of(Fill, session.messages)] == [1 if is_other_side else None]
    assert _ORDERS not in [call.tag for call in session.wait(40) if isinstance(call, RestCall)]


def test_a_fill_that_waits_is_told_before_the_recording_ends() -> None:
    session = placed_again([fill("f1", 106, "0.5")])
    told = session.control("session_end", -1)
    assert [each.fill_id for each in of(Fill, told)] == ["f1"]
    assert [message.sub_seq for message in told] == list(range(len(told)))


def test_a_checkpoint_keeps_the_fills_that_wait() -> None:
    session = placed_again([fill("f1", 106, "0.5")])
    again = type(session.subject)(session.subject.options)
    again.restore(session.subject.checkpoint())
    session.subject = again
    session.rest(_ORDERS, [word("larger", totalFilled="0.5", updatedAtHeight="106")])
    assert [(each.fill_id, each.generation) for each in of(Fill, session.messages)] == [("f1", 1)]


@pytest.mark.parametrize("is_filled", [False, True])
def test_a_word_of_the_stream_about_the_order_before_undoes_nothing(is_filled: bool) -> None:
    """REST has told of the next one already; that the one before was filled whole is told all the same."""
    session = placed_again([])
    session.rest(_ORDERS, [word("larger", totalFilled="1", updatedAtHeight="106")])
    end = order("FILLED", totalFilled="2", **LONG) if is_filled else order("CANCELED", totalFilled="0", **LONG)
    told = of(OrderUpdate, session.say(orders=[end], blockHeight="104"))
    assert [(each.generation, str(each.state)) for each in told] == ([(None, "filled")] if is_filled else [])
    states = [(life[0], life[1]) for life in lives(session)]
    assert states == [(0, "filled" if is_filled else "cancelled"), (1, "partially_filled")]
    session.say(orders=[order("CANCELED", size="50", totalFilled="1", **LONG)], blockHeight="107")
    assert lives(session)[1][1] == "cancelled"


def test_a_short_term_word_with_an_earlier_last_block_is_older() -> None:
    session = Accounts.opened()
    session.join(reply=False)
    session.say(orders=[order(goodTilBlock="110")], blockHeight="100")
    session.say_block(111)
    row = order("OPEN", goodTilBlock="125", totalFilled="1", createdAtHeight="115", updatedAtHeight="115")
    session.rest(_ORDERS, [row])
    session.say(orders=[order("BEST_EFFORT_CANCELED", goodTilBlock="110")], blockHeight="109")
    assert [(life[0], life[1]) for life in lives(session)] == [(0, "expired"), (1, "partially_filled")]


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("ending", ["FILLED", "BEST_EFFORT_OPENED"])
def test_a_list_of_before_the_id_was_used_again_brings_nothing_back(side: str, ending: str) -> None:
    """An answer that was long on its way has the first order as it was, of whichever side; the second one stays as it is."""
    session = Accounts.opened()
    session.join(reply=False)
    first = {"side": side, "goodTilBlock": "110"}
    session.say(orders=[order(totalFilled="0", **first)], blockHeight="100")
    session.say(orders=[order("FILLED", totalFilled="2", **first)], fills=[fill("f1", 104, "2", side=side)])
    session.say_block(111)
    session.say(orders=[order(totalFilled="0", goodTilBlock="125", size="3")], blockHeight="112")
    if ending == "FILLED":
        session.say(
            orders=[order("FILLED", totalFilled="3", goodTilBlock="125", size="3")], fills=[fill("f2", 113, "3")]
        )
    before = lives(session)
    assert of(OrderUpdate, session.rest(_ORDERS, [order("BEST_EFFORT_OPENED", totalFilled="0", **first)])) == []
    session.rest(_FILLS, {"fills": [fill("f1", 104, "2", side=side)]})
    assert lives(session) == before
    assert [life[0] for life in before] == [0, 1]


# Statements without a height ---------------------------------------------------------------------------------------------


def test_a_change_without_a_height_undoes_nothing_that_rest_said_of_a_later_block() -> None:
    session = Accounts.opened()
    session.join()
    session.rest(f"subaccount:{USER}", flat(105, **{"BTC-USD": position("9")}))
    told = session.say(perpetualPositions=[position("7")], assetPositions=[asset("3")])
    assert size_of(session) == 9.0
    assert [each.total for each in of(BalanceUpdate, session.messages)][-1] == 100.5
    # It may be of a later block, too.
    assert [(each.stream, each.kind) for each in of(StreamEvent, told)] == [(HOLDINGS, EventKind.STALE)]
    assert f"subaccount:{USER}" in [call.tag for call in session.calls()]
    ended = session.rest(f"subaccount:{USER}", flat(106, **{"BTC-USD": position("7")}))
    assert size_of(session) == 7.0
    assert [each.kind for each in of(StreamEvent, ended)] == [EventKind.GAP]


def test_a_change_without_a_height_counts_where_its_connection_has_come_as_far() -> None:
    session = Accounts.opened()
    session.join()
    session.rest(f"subaccount:{USER}", flat(105, **{"BTC-USD": position("9")}))
    session.say_block(105)
    session.say(perpetualPositions=[position("7")])
    assert size_of(session) == 7.0


@pytest.mark.parametrize("is_new", [False, True])
def test_how_far_a_connection_has_come_is_not_told_by_another(is_new: bool) -> None:
    """Nor by the one before it."""
    session = Accounts.opened(pairs=("BTC-USD",))
    session.connect("venue", 7, "m")
    session.send()
    session.join()
    if is_new:
        session.say_block(104)
        session.lose()
        session.join(101)
    other(session, 105)
    session.rest(f"subaccount:{USER}", flat(103, **{"BTC-USD": position("9")}))
    session.say(perpetualPositions=[position("7")])
    assert size_of(session) == 9.0
    session.say(perpetualPositions=[position("8")], blockHeight="104")
    assert size_of(session) == 8.0


def asset(size: str) -> dict[str, Any]:
    return {"symbol": "USDC", "side": "LONG", "size": size}


# Blocks that cannot be -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wild", [10**6, 10**9, 2**53])
def test_a_wild_block_that_two_connections_tell_is_one_block(wild: int) -> None:
    session = Accounts.opened(pairs=("BTC-USD",))
    session.connect("venue", 7, "m")
    session.send()
    session.join()
    session.say(orders=[order()], blockHeight="100")
    other(session, wild)
    session.say_block(wild)
    assert state_of(session) == "open"
    # A chain that begins again elsewhere is followed from its second block on.
    session.say_block(10**5)
    other(session, 10**5)
    assert state_of(session) == "open"
    session.say_block(10**5 + 1)
    assert state_of(session) == "expired"


@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_fill_after_an_end_that_only_the_height_told_is_followed_to_the_end(is_dropped: bool) -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order(totalFilled="0")], blockHeight="100")
    if is_dropped:
        failed = {"removalReason": "ORDER_REMOVAL_REASON_UNDERCOLLATERALIZED"}
        session.say(orders=[order("BEST_EFFORT_CANCELED", totalFilled="0", **failed)])
    session.say_block(111)
    assert state_of(session) == ("failed" if is_dropped else "expired")
    news = order("OPEN", totalFilled="0.5")
    session.say(orders=[news], fills=[fill("f1", 109)], blockHeight="109")
    session.say_block(112)
    assert lives(session) == [(0, "expired", 0.5, 2.0)]


def test_an_order_of_another_side_is_another_order() -> None:
    session = Accounts.opened()
    session.join()
    session.say(orders=[order(totalFilled="0")], blockHeight="100")
    session.say(orders=[order(side="SELL", totalFilled="0", goodTilBlock="115")], blockHeight="101")
    assert states(session.messages) == ["open", "cancelled", "open"]
    assert [(life[0], life[1]) for life in lives(session)] == [(0, "cancelled"), (1, "open")]


@pytest.mark.parametrize("teller", ["rest", "stream"])
@pytest.mark.parametrize("created", [104, 110])
def test_fills_after_an_end_are_of_the_next_order_only_if_it_was_there_by_then(created: int, teller: str) -> None:
    """Another one may have come and gone between, of which nobody heard."""
    session = Accounts.opened()
    session.join(reply=False)
    session.say(orders=[order("CANCELED", totalFilled="0", **LONG)], blockHeight="102")
    session.rest(_FILLS, {"fills": [fill("f2", 106, "1"), fill("f1", 105, "0.5")]})
    filled = "1.5" if created == 104 else "0"
    row = order("OPEN", size="9", totalFilled=filled, **LONG)
    if teller == "rest":
        session.rest(_ORDERS, [{**row, "createdAtHeight": str(created), "updatedAtHeight": "111"}])
    else:
        session.say(orders=[{**row, "totalFilled": "0"}], blockHeight=str(created))
        session.say(orders=[row], blockHeight="111")
    expected = [(0, 0.0), (1, 1.5)] if created == 104 else [(0, 0.0), (1, 1.5), (2, 0.0)]
    assert [(life[0], life[2]) for life in lives(session)] == expected
    # One that comes later goes where its block says.
    session.rest(_FILLS, {"fills": [fill("f3", 107, "0.25")]})
    assert {life[0]: life[2] for life in lives(session)}[1] == 1.75
