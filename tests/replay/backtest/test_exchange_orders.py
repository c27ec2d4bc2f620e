"""Kinds of orders on the receive clock, what the venue asks of them at that time, and the words of its refusals."""

from __future__ import annotations

from dataclasses import replace as replaced
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from replay.backtest.exchange import Exchange
from replay.backtest.market import Assumed, Market
from replay.backtest.receive_latency import ConstantReceiveLatency
from replay.backtest.requests import NewOrder
from replay.backtest.venue_facts import VenueFacts, parse_facts
from replay.market.layout import StateCode, TifCode
from replay.market.rules import AmendPlace, Rules
from tests.replay.backtest.market_messages import KEY, Desk, Messages
from toolkit.errors import ConfigError
from toolkit.messages import FundingInfo

GTC, IOC, FOK, POST_ONLY = TifCode.GTC, TifCode.IOC, TifCode.FOK, TifCode.POST_ONLY
FACTS = """
date = "2026-01-01"
min_notional = "250"
reduce_only_is_exempt = true
max_orders = 3
max_orders_per_pair = 2
[[rate_limits]]
tokens = 3
per = "300ns"
costs = { new = 1, cancel = 1 }
[words]
would_cross = "post only would match, bbo was {bid}@{ask}"
too_many_orders = "too many"
rate_limit = "slow down"
"reduce_only cancelled" = "reduceOnlyCanceled"
reduce_only = "reduceOnlyRejected"
"""


def facts(**changes: Any) -> VenueFacts:
    """The facts above without limits, and those that a test is about."""
    plain = msgspec.structs.replace(
        parse_facts(FACTS, KEY.venue), rate_limits=(), max_orders=None, max_orders_per_pair=None, min_notional=None
    )
    return msgspec.structs.replace(plain, **changes)


# -- kinds ---------------------------------------------------------------------------------------------------------


def test_each_kind_ends_as_it_should() -> None:
    """Asks are 4 at 101, 6 at 102, 50 at 105; each order meets them as they are, in a market of its own."""
    ends: dict[tuple[TifCode | None, int], tuple[str, list[tuple[int, int]]]] = {
        (None, 12): ("filled", [(101, 4), (102, 6), (105, 2)]),
        (IOC, 12): ("expired", [(101, 4), (102, 6)]),
        (FOK, 12): ("expired", []),
        (FOK, 10): ("filled", [(101, 4), (102, 6)]),
        (POST_ONLY, 1): ("rejected", []),
        (GTC, 12): ("partially_filled", [(101, 4), (102, 6)]),
    }
    for (kind, lots), (state, fills) in ends.items():
        desk = Desk()
        order = desk.place(200, "buy", None if kind is None else 102, lots, kind or GTC)
        desk.reach(400)
        assert (order.state.name.lower(), [each[3:] for each in desk.fills()]) == (state, fills), kind


def test_a_good_till_date_order_is_over_at_its_time_and_not_before() -> None:
    """At 300 it is gone before the trade of a frame of that time; a trade at 299 still fills it."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5, expires_ns=300)
    desk.take(desk.say.trade(299, "sell", 98, 1), desk.say.trade(300, "sell", 98, 1))
    desk.reach(400)
    assert desk.fills() == [(299, 1, "maker", 99, 1)]
    assert desk.told()[-1] == (305, 1, "expired", "expiry")
    assert (order.filled, order.left) == (1, 4)


def test_an_order_whose_time_is_over_when_it_arrives_expires_at_once() -> None:
    desk = Desk(entry=50)
    desk.place(200, "buy", 99, 5, expires_ns=210)
    desk.reach(400)
    assert [each[2:] for each in desk.told()] == [("open", "none"), ("expired", "expiry")]
    assert [each.venue_ns for each in desk.heard] == [250, 250]


def test_an_order_that_ended_before_its_time_does_not_end_again() -> None:
    desk = Desk()
    order = desk.place(200, "buy", 99, 5, expires_ns=300)
    desk.reach(220)
    desk.exchange.cancel(220, order)
    desk.reach(400)
    assert [each[2] for each in desk.told()] == ["open", "cancelled"]


def test_the_dead_mans_switch_cancels_all_unless_it_is_set_again() -> None:
    """Set for 300, and at 250 for 350: at 300 nothing, at 350 both orders go; set to never, nothing does."""
    desk = Desk()
    for tick in (98, 99):
        desk.place(200, "buy", tick, 1)
    desk.exchange.schedule_cancel(210, 300)
    desk.reach(250)
    desk.exchange.schedule_cancel(250, 350)
    desk.reach(349)
    assert len(desk.heard) == 2
    desk.take(desk.say.trade(350, "sell", 90, 9))
    desk.reach(400)
    assert desk.told()[2:] == [(355, 1, "cancelled", "switch"), (355, 2, "cancelled", "switch")]
    assert desk.fills() == []
    desk = Desk()
    desk.place(200, "buy", 99, 1)
    desk.exchange.schedule_cancel(210, 300)
    desk.exchange.schedule_cancel(220, None, KEY.venue)
    desk.reach(400)
    assert len(desk.heard) == 1


def test_an_order_that_only_reduces_follows_the_position() -> None:
    """Refused without one; bought 3, it sells 3 of its 5, and the rest goes, each in the venue's words."""
    desk = Desk(facts=facts())
    desk.place(200, "sell", 103, 5, reduce_only=True)
    desk.place(210, "buy", None, 3)
    order = desk.place(220, "sell", 103, 5, reduce_only=True)
    desk.reach(250)
    assert (desk.heard[0].state, desk.heard[0].text) == (StateCode.REJECTED, "reduceOnlyRejected")
    desk.take(desk.say.trade(300, "buy", 104, 9))
    desk.reach(400)
    assert desk.fills()[-1] == (300, 3, "maker", 103, 3)
    assert (order.state, order.text, order.left) == (StateCode.CANCELLED, "reduceOnlyCanceled", 2)


def test_amending_keeps_the_place_where_the_venue_does() -> None:
    """9 of 10 ahead have traded. Made smaller: by the one rule 1 is ahead, by the other the 10 that the level shows."""
    for place, filled in ((AmendPlace.KEPT, 2), (AmendPlace.LOST, 0)):
        desk = Desk(rules=Rules(amend_place=place))
        order = desk.place(200, "buy", 99, 5)
        desk.take(desk.say.trade(300, "sell", 99, 9))
        assert desk.exchange.amend(310, order, tick=99, lots=2) is None
        desk.take(desk.say.trade(400, "sell", 99, 3))
        assert sum(each.lots for each in desk.exchange.fills) == filled


def test_own_orders_do_not_trade_with_each_other() -> None:
    desk = Desk()
    resting = desk.place(200, "buy", 100, 5)
    desk.place(210, "sell", 99, 3, IOC)
    desk.reach(400)
    assert (resting.state, resting.reason) == (StateCode.CANCELLED, 5)
    assert desk.fills() == [(213, 2, "taker", 99, 3)]


# -- what the venue asks -------------------------------------------------------------------------------------------


def test_what_is_off_the_tick_or_lot_of_that_time_is_rejected() -> None:
    """
    Ticks of 1 and lots of 1, then ticks of 5 and lots of 2: the grid stays, 99 and 3 lots are off it. Then ticks of 0.5:
    the grid is finer, 99 is 198 of it, and 199 is a price.
    """
    desk = Desk()
    desk.place(200, "buy", 99, 3)
    desk.take(desk.say.instrument(210, tick=5.0, lot=2.0))
    desk.place(220, "buy", 99, 2)
    desk.place(230, "buy", 95, 3)
    desk.place(240, "buy", 95, 2)
    desk.reach(300)
    assert [each[2:] for each in desk.told()] == [
        ("open", "none"),
        ("rejected", "off_tick"),
        ("rejected", "off_lot"),
        ("open", "none"),
    ]


def test_a_finer_tick_and_lot_change_the_numbers_and_nothing_else() -> None:
    """
    5 at 99 with 10 ahead, of which 4 have traded, and a cancel under way. In steps of a tenth: 50 at 990 with 60 ahead; 6.2
    traded fill 0.2, that is 2 lots at tick 990, and a taken ask stays taken.
    """
    desk = Desk(entry=3)
    order = desk.place(200, "buy", 99, 5)
    other = desk.place(201, "buy", 98, 5)
    desk.place(202, "buy", 101, 4, IOC)
    desk.take(desk.say.trade(210, "sell", 99, 4))
    desk.exchange.cancel(298, other)
    desk.take(desk.say.instrument(300, tick=0.1, lot=0.1))
    assert (order.tick, order.size, other.tick) == (990, 50, 980)
    assert order.scale == desk.exchange.markets[0].scale
    desk.take(desk.say.trade(310, "sell", 99, 6.2))
    desk.place(320, "buy", 1010, 10, IOC)
    desk.take(desk.say.diff(330, asks={100.5: 0.3}))
    desk.place(340, "buy", 1005, 10, IOC)
    desk.reach(400)
    assert desk.fills() == [(205, 3, "taker", 1010, 40), (310, 1, "maker", 990, 2), (343, 5, "taker", 1005, 3)]
    assert (order.filled, order.left, other.state) == (2, 48, StateCode.CANCELLED)
    assert [each.lots for each in desk.heard if each.order_id == 1] == [0, 2]


def test_answers_under_way_are_counted_in_the_finer_steps_too() -> None:
    desk = Desk(response=200)
    order = desk.place(200, "buy", 101, 3)
    desk.take(desk.say.instrument(300, tick=0.5, lot=1.0))
    desk.reach(500)
    assert [(each.tick, each.lots) for each in desk.heard] == [(202, 0), (202, 3)]
    assert (order.tick, order.state) == (202, StateCode.FILLED)


def test_prices_of_too_many_figures_are_off_the_tick() -> None:
    """Five figures at most, whole numbers excepted: 101.01 is a price, 101.012 is none, 1234567 is one."""
    exchange = Exchange(
        [Market(KEY)], rules=Rules(), latency=ConstantReceiveLatency(entry=0, response=0), compiled=False
    )
    say = Messages()
    plain = say.instrument(0, lot=1.0)
    exchange.take(msgspec.structs.replace(plain, price_tick=None, price_decimals_max=3, price_figures_max=5))
    exchange.take(say.snapshot(0))
    for tick in (101_010, 101_012, 1_234_567_000):
        exchange.submit(1, NewOrder(pair=0, side=1, tick=tick, lots=1))
    assert [each.state.name for each in exchange.advance(1)] == ["OPEN", "REJECTED", "OPEN"]


def test_orders_are_worth_the_least_value_of_that_time() -> None:
    """At 98, 2 lots are worth 196: below the 250 of the venue's facts, at the 196 that is recorded, which comes first."""
    desk = Desk(facts=facts(min_notional=Decimal(250)))
    desk.place(200, "buy", 98, 2)
    desk.place(201, "buy", 98, 3)
    desk.take(desk.say.instrument(210, min_notional=196.0))
    desk.place(220, "buy", 98, 2)
    desk.place(221, "buy", 97, 2)
    desk.reach(300)
    assert [each[1:] for each in desk.told()] == [
        (1, "rejected", "min_notional"),
        (2, "open", "none"),
        (3, "open", "none"),
        (4, "rejected", "min_notional"),
    ]


def test_a_market_order_is_worth_its_size_at_the_mark_or_else_at_the_best_price() -> None:
    """2 lots: at the best ask of 101 they are worth 202, at a mark of 126 252; the least is 250."""
    desk = Desk(facts=facts(min_notional=Decimal(250)))
    desk.place(200, "buy", None, 2)
    desk.reach(210)
    desk.exchange.take(FundingInfo(KEY.venue, "BTC-USD", "BTC-USD", None, 210, 999, 0, mark_price=126.0))
    desk.place(220, "buy", None, 2)
    desk.reach(300)
    assert [each[2] for each in desk.told()] == ["rejected", "open", "filled"]


def test_what_only_reduces_may_be_worth_less() -> None:
    desk = Desk(facts=facts(min_notional=Decimal(250)))
    desk.place(200, "buy", None, 3)
    desk.place(210, "sell", 103, 1, reduce_only=True)
    desk.place(211, "sell", 103, 1)
    desk.reach(300)
    assert [each[1:3] for each in desk.told()] == [(1, "open"), (1, "filled"), (2, "open"), (3, "rejected")]


def test_contracts_of_fixed_value_are_worth_it_at_any_price() -> None:
    """3 contracts of 100 are worth 300, 2 are worth 200."""
    desk = Desk(facts=facts(min_notional=Decimal(250)), contract_value=100.0)
    desk.place(200, "buy", 98, 2)
    desk.place(201, "buy", 98, 3)
    desk.reach(300)
    assert [each[1:3] for each in desk.told()] == [(1, "rejected"), (2, "open")]


def test_no_more_orders_rest_than_the_venue_lets() -> None:
    """Two of a pair; one that takes at once needs no place, and one that has ended gives its own back."""
    desk = Desk(facts=facts(max_orders_per_pair=2))
    first = desk.place(200, "buy", 97, 1)
    desk.place(201, "buy", 96, 1)
    desk.place(202, "buy", 95, 1)
    desk.place(203, "buy", 101, 1, IOC)
    desk.reach(250)
    desk.exchange.cancel(250, first)
    desk.place(260, "buy", 94, 1)
    desk.reach(300)
    told = [each[1:] for each in desk.told()]
    assert told[2] == (3, "rejected", "too_many_orders")
    assert desk.heard[2].text == "too many"
    assert told[3:] == [(4, "open", "none"), (4, "filled", "none"), (1, "cancelled", "requested"), (5, "open", "none")]


def test_requests_take_tokens_which_come_back_with_time() -> None:
    """3 tokens, one back every 100: the fourth request at 200 is refused; at 303 there is one, which the cancel takes."""
    limits = parse_facts(FACTS, KEY.venue).rate_limits
    desk = Desk(facts=facts(rate_limits=limits))
    orders = [desk.place(200, "buy", tick, 1) for tick in (97, 96, 95, 94)]
    desk.reach(299)
    assert [each[2] for each in desk.told()] == ["open", "open", "open", "rejected"]
    assert desk.heard[-1].text == "slow down"
    desk.exchange.cancel(299, orders[0])
    desk.reach(300)
    desk.exchange.cancel(300, orders[1])
    desk.reach(400)
    assert [each[1:] for each in desk.told()[4:]] == [(1, "refused", "rate_limit"), (2, "cancelled", "requested")]
    assert orders[0].is_open
    assert not orders[0].pending


def test_an_amendment_that_the_venue_refuses_changes_nothing() -> None:
    desk = Desk(facts=facts(min_notional=Decimal(250)))
    order = desk.place(200, "buy", 99, 5)
    desk.reach(250)
    desk.exchange.amend(250, order, tick=99, lots=1)
    desk.reach(300)
    assert desk.told()[-1] == (258, 1, "refused", "min_notional")
    assert (order.state, order.size, order.tick) == (StateCode.OPEN, 5, 99)


def test_before_tick_and_lot_are_known_and_after_trading_stops_orders_are_rejected() -> None:
    exchange = Exchange(
        [Market(KEY)], rules=Rules(), latency=ConstantReceiveLatency(entry=0, response=0), compiled=False
    )
    say = Messages()
    assert exchange.markets[0].rules_at() is None
    exchange.take(say.snapshot(0))
    exchange.submit(1, NewOrder(pair=0, side=0, tick=99, lots=1))
    assert [each.reason for each in exchange.advance(1)] == [21]
    exchange.take(say.instrument(2))
    # The book that was there before counts now: our order takes its ask.
    exchange.submit(2, NewOrder(pair=0, side=0, tick=101, lots=1))
    assert [each.state.name for each in exchange.advance(2)] == ["OPEN", "FILLED"]
    exchange.take(say.instrument(3, is_active=False))
    exchange.submit(3, NewOrder(pair=0, side=0, tick=99, lots=1))
    assert [each.state.name for each in exchange.advance(3)] == ["REJECTED"]


def test_what_is_assumed_stands_above_what_is_recorded() -> None:
    assumed = Assumed(tick=Decimal("0.5"), lot=Decimal(1), min_notional=Decimal(10))
    market = Market(KEY, assumed)
    assert market.rules_at() is not None
    market.take(Messages().instrument(0, tick=1.0, min_notional=500.0))
    rules = market.rules_at()
    assert rules is not None
    assert (rules.tick, rules.lot, rules.min_notional) == (Decimal("0.5"), Decimal(1), Decimal(10))
    assert replaced(rules, ticks=3).ticks == 3


def test_a_post_only_order_that_would_take_is_refused_in_the_venues_words() -> None:
    desk = Desk(facts=facts())
    desk.place(200, "buy", 101, 1, POST_ONLY)
    desk.reach(300)
    assert desk.heard[0].text == "post only would match, bbo was 99.0@101.0"


def test_kinds_that_the_venue_has_not_are_rejected() -> None:
    lacking = facts(lacks=("fok", "gtd"), reduce_only_tifs=("ioc", "fok"))
    desk = Desk(facts=lacking)
    desk.place(200, "buy", 101, 1, FOK)
    desk.place(201, "buy", 99, 1, expires_ns=900)
    desk.place(202, "buy", 99, 1, reduce_only=True)
    desk.place(203, "buy", 99, 1)
    desk.reach(300)
    assert [each[3] for each in desk.told()] == ["not_offered", "not_offered", "not_offered", "none"]


def test_what_the_venue_does_by_itself_goes_before_a_request_of_that_time() -> None:
    """The order is over at 303, when its cancel arrives: expired, and the cancel finds nothing."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5, expires_ns=303)
    desk.reach(300)
    desk.exchange.cancel(300, order)
    desk.reach(400)
    assert [each[2:] for each in desk.told()] == [("open", "none"), ("expired", "expiry"), ("refused", "unknown_order")]


def test_finer_prices_and_sizes_count_before_the_venue_says_so() -> None:
    """
    Ticks of 1 and lots of 1 by the venue's word. A trade of 10.5 at 99 is 0.5 more than the 10 ahead of our bid; a bid of 2.5
    comes to 99.25, a snapshot has an ask at 100.125: all of it counts, and orders still have to be on whole ticks.
    """
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    desk.take(desk.say.trade(300, "sell", 99, 10.5))
    market = desk.exchange.markets[0]
    assert market.scale is not None
    assert (market.scale.tick, market.scale.lot) == (Decimal(1), Decimal("0.5"))
    desk.take(desk.say.diff(310, bids={99.25: 2.5}))
    desk.take(desk.say.snapshot(320, {99.25: 2.5, 99: 4}, {100.125: 3}))
    assert market.scale.tick == Decimal("0.125")
    assert desk.fills() == [(300, 1, "maker", 99 * 8, 1)]
    assert (order.tick, order.size, order.left) == (99 * 8, 10, 9)
    rules = market.rules_at()
    assert rules is not None
    assert (rules.tick, rules.lot, rules.ticks, rules.lots) == (Decimal(1), Decimal(1), 8, 2)
    desk.place(330, "buy", 801, 2, IOC)
    desk.place(340, "buy", 101 * 8, 3, IOC)
    desk.place(350, "buy", 101 * 8, 2, IOC)
    desk.reach(400)
    assert [each[2:] for each in desk.told()[2:]] == [
        ("rejected", "off_tick"),
        ("rejected", "off_lot"),
        ("open", "none"),
        ("filled", "none"),
    ]
    assert desk.fills()[-1] == (353, 4, "taker", 801, 2)


def test_wide_diffs_and_late_instruments_find_finer_prices_too() -> None:
    desk = Desk()
    desk.take(desk.say.diff(300, bids={90 + step / 4: 1.25 for step in range(30)}))
    scale = desk.exchange.markets[0].scale
    assert scale is not None
    assert (scale.tick, scale.lot) == (Decimal("0.25"), Decimal("0.25"))
    desk.place(310, "sell", int(97 / 0.25), 8, IOC)
    desk.reach(400)
    assert [each[3:] for each in desk.fills()] == [(396, 8)]
    late = Exchange([Market(KEY)], rules=Rules(), latency=ConstantReceiveLatency(entry=0, response=0), compiled=False)
    say = Messages()
    late.take(say.snapshot(0, {99.5: 1}, {100.5: 2}))
    late.take(say.instrument(1))
    late.submit(2, NewOrder(pair=0, side=0, tick=2 * 101, lots=1))
    assert [each.tick for each in late.advance(2)] == [202, 201]


def test_prices_on_no_grid_are_refused() -> None:
    desk = Desk()
    with pytest.raises(
        ConfigError, match=r"^BTC-USD: price 99\.0000001 is no whole number of ticks of 1; give a finer one"
    ):
        desk.take(desk.say.diff(300, bids={99.0000001: 1}))
