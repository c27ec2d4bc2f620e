"""The exchange on the receive clock: what happens when, in which order, and who knows of it."""

from __future__ import annotations

import pytest

from replay.backtest.exchange import Exchange
from replay.backtest.latency import InterpolatedLatency
from replay.backtest.market import Market
from replay.backtest.receive_latency import ConstantReceiveLatency, FeedReceiveLatency, TripReceiveLatency
from replay.backtest.requests import NewOrder, Refusal
from replay.market.layout import RequestCode, TifCode
from replay.market.rules import AmendPlace, CancelEarly, Responses, Rules
from tests.replay.backtest.market_messages import KEY, Desk, Messages
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.timing.timers import NEVER_NS

IOC, POST_ONLY = TifCode.IOC, TifCode.POST_ONLY


def test_a_request_is_matched_after_its_latency_and_heard_of_after_the_other() -> None:
    """Sent at 200, at the venue at 203, heard at 208. A trade at 98 passes our bid at 300: filled then, heard at 305."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    desk.reach(207)
    assert (desk.told(), order.is_open) == ([], False)
    desk.reach(208)
    assert (desk.told(), order.is_open) == ([(208, 1, "open", "none")], True)
    desk.take(desk.say.trade(300, "sell", 98, 5))
    assert desk.fills() == [(300, 1, "maker", 99, 5)]
    desk.reach(304)
    assert (len(desk.heard), order.filled) == (1, 0)
    desk.reach(305)
    assert desk.told()[1:] == [(305, 1, "filled", "none")]
    assert (order.filled, order.left) == (5, 0)


def test_the_market_acts_when_its_frame_is_received_whatever_the_venue_says() -> None:
    """The venue stamped the trade at 100, before our order was there at 203; we received it at 300, after."""
    desk = Desk()
    desk.place(200, "buy", 99, 5)
    desk.take(desk.say.trade(300, "sell", 98, 5, event_ns=100))
    assert desk.fills() == [(300, 1, "maker", 99, 5)]


def test_a_request_that_arrives_at_a_frames_time_is_there_first() -> None:
    """The ask of 101 goes at 300, when our IOC of 101 arrives: a request goes before a frame of its time."""
    desk = Desk()
    desk.place(297, "buy", 101, 4, IOC)
    desk.take(desk.say.diff(300, asks={101: 0}))
    assert desk.fills() == [(300, 1, "taker", 101, 4)]


def test_a_frame_is_one_instant_and_is_heard_of_after_its_last_message() -> None:
    """Three trades of one frame fill 2, 2 and 1. Without any latency we hear of all three at 300, after the third."""
    desk = Desk(entry=0, response=0)
    desk.place(200, "buy", 99, 5)
    desk.reach(250)
    trades = [desk.say.trade(300, "sell", 98, 2)]
    trades += [desk.say.trade(300, "sell", 98, 2, same_frame=True) for _ in range(2)]
    desk.reach(300)
    for count, trade in enumerate(trades, 1):
        desk.exchange.take(trade)
        assert len(desk.heard) == 1, count
    desk.reach(300)
    assert [(each.received_ns, each.lots, each.left) for each in desk.heard[1:]] == [
        (300, 2, 3),
        (300, 2, 1),
        (300, 1, 0),
    ]


def test_a_request_without_latency_meets_the_market_after_the_frame() -> None:
    """Sent at 300 after the frame that took the ask of 101 away: it meets 102."""
    desk = Desk(entry=0, response=0)
    desk.take(desk.say.diff(300, asks={101: 0}))
    desk.place(300, "buy", 102, 2, IOC)
    desk.reach(300)
    assert desk.fills() == [(300, 1, "taker", 102, 2)]


def test_about_one_order_nothing_overtakes() -> None:
    """The cancel is faster than the order by 40 and sent 1 later: it arrives with it at 250, and after it."""
    latency = ConstantReceiveLatency(entry=50, response=5, entries={RequestCode.CANCEL: 10})
    desk = Desk(latency=latency)
    order = desk.place(200, "buy", 99, 5)
    desk.reach(201)
    assert desk.exchange.cancel(201, order) is None
    desk.reach(400)
    assert desk.told() == [(255, 1, "open", "none"), (255, 1, "cancelled", "requested")]


def test_between_orders_the_time_of_arrival_decides() -> None:
    """A cancel of another order overtakes a new one: sent at 301 it is there at 311, the order at 350."""
    latency = ConstantReceiveLatency(entry=50, response=0, entries={RequestCode.CANCEL: 10})
    desk = Desk(latency=latency)
    first = desk.place(200, "buy", 99, 5)
    desk.place(300, "buy", 98, 5)
    desk.reach(301)
    desk.exchange.cancel(301, first)
    desk.reach(400)
    assert [(each.venue_ns, each.order_id) for each in desk.heard] == [(250, 1), (311, 1), (350, 2)]


def test_at_one_time_of_arrival_the_order_of_sending_decides() -> None:
    """Both are there at 303; the first takes 4 at 101, so the second finds 102 only."""
    desk = Desk()
    for _ in range(2):
        desk.place(300, "buy", 102, 4, IOC)
    desk.reach(400)
    assert desk.fills() == [(303, 1, "taker", 101, 4), (303, 2, "taker", 102, 4)]


def test_cancel_all_arrives_after_what_was_sent_before_it() -> None:
    latency = ConstantReceiveLatency(entry=50, response=5, entries={RequestCode.CANCEL_ALL: 10})
    desk = Desk(latency=latency)
    desk.place(200, "buy", 99, 5)
    desk.place(201, "buy", 98, 5)
    desk.exchange.cancel_all(202)
    desk.reach(400)
    assert [each[1:3] for each in desk.told()] == [
        (1, "open"),
        (2, "open"),
        (1, "cancelled"),
        (2, "cancelled"),
        (0, "unknown"),
    ]
    assert desk.heard[-1].lots == 2


def test_a_fill_on_the_way_of_a_cancel_stands_and_the_cancel_is_refused() -> None:
    """Cancelled at 298, traded at 300, there at 301: filled, then refused; the refusal does not touch the order."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    desk.reach(298)
    desk.exchange.cancel(298, order)
    desk.take(desk.say.trade(300, "sell", 98, 5))
    desk.reach(400)
    assert [each[2] for each in desk.told()] == ["open", "filled", "refused"]
    assert (order.state.name, order.filled, order.pending) == ("FILLED", 5, {})


def test_what_has_ended_is_not_asked_for_again() -> None:
    desk = Desk()
    order = desk.place(200, "buy", 101, 1, IOC)
    desk.reach(400)
    assert desk.exchange.cancel(400, order) is Refusal.UNKNOWN_ID
    assert desk.exchange.amend(400, order, tick=99, lots=1) is Refusal.UNKNOWN_ID
    assert desk.exchange.next_due_ns() == NEVER_NS


def test_a_cancel_before_the_answer_is_refused_where_the_rules_say_so() -> None:
    desk = Desk(rules=Rules(cancel_early=CancelEarly.REFUSED))
    order = desk.place(200, "buy", 99, 1)
    assert desk.exchange.cancel(201, order) is Refusal.PENDING


def test_each_execution_is_an_answer_and_changes_the_order() -> None:
    """A sweep over three levels is three answers, by any rules; each leaves its order as it was after it."""
    desk = Desk(rules=Rules(responses=Responses.EACH_REQUEST))
    order = desk.place(200, "buy", 105, 12)
    seen = []
    while (due := desk.exchange.next_due_ns()) < NEVER_NS:
        seen += [(each.tick, each.lots, order.filled, order.state.name) for each in desk.exchange.advance(due)]
    assert seen == [
        (105, 0, 0, "OPEN"),
        (101, 4, 4, "PARTIALLY_FILLED"),
        (102, 6, 10, "PARTIALLY_FILLED"),
        (105, 2, 12, "FILLED"),
    ]
    assert sum(fill.lots for fill in desk.exchange.fills) == 12


def test_what_is_taken_is_gone_until_the_level_is_set_again() -> None:
    desk = Desk()
    for at_ns in (200, 210):
        desk.place(at_ns, "buy", 101, 4, IOC)
    desk.reach(300)
    desk.take(desk.say.diff(300, asks={101: 3}))
    desk.place(310, "buy", 101, 4, IOC)
    desk.reach(400)
    assert desk.fills() == [(203, 1, "taker", 101, 4), (313, 3, "taker", 101, 3)]


def test_a_touch_without_a_trade_fills_nothing() -> None:
    desk = Desk()
    desk.place(200, "buy", 99, 5)
    desk.take(desk.say.diff(300, bids={99: 3}), desk.say.diff(310, bids={99: 0}), desk.say.diff(320, asks={100: 9}))
    desk.reach(400)
    assert desk.fills() == []


def test_history_and_repeated_trades_never_match() -> None:
    desk = Desk()
    desk.place(200, "buy", 99, 5)
    desk.take(
        desk.say.trade(300, "sell", 98, 1, is_history=True), desk.say.trade(310, "sell", 98, 1, is_duplicate=True)
    )
    desk.take(desk.say.trade(320, "sell", 98, 1, cause="settlement"))
    assert desk.fills() == []
    desk.take(desk.say.trade(330, "sell", 98, 1))
    assert len(desk.exchange.fills) == 1


def test_a_clock_that_steps_back_goes_on_at_the_time_it_had_reached() -> None:
    """A frame received at 250 after one at 300 acts at 300."""
    desk = Desk()
    desk.place(200, "buy", 99, 5)
    desk.take(desk.say.diff(300, bids={97: 1}))
    desk.exchange.take(desk.say.trade(250, "sell", 98, 1))
    desk.exchange.next_due_ns()
    assert desk.fills() == [(300, 1, "maker", 99, 1)]


def test_nothing_fills_an_order_before_it_came_where_the_clock_steps_back() -> None:
    """Whatever had been heard at the later time: here a trade that concerned no order, and the order's own arrival."""
    desk = Desk()
    desk.take(desk.say.trade(300, "buy", 101, 1))
    desk.place(300, "buy", 99, 5)
    desk.reach(310)
    [arrived] = [each.venue_ns for each in desk.heard]
    desk.exchange.take(desk.say.trade(250, "sell", 98, 1))
    desk.reach(400)
    assert desk.fills() == [(308, 1, "maker", 99, 1)]
    assert arrived == 303


def test_trades_alone_are_a_market_too() -> None:
    """Also those that there was no order for."""
    desk = Desk(has_book=False)
    assert not desk.exchange.has_market
    desk.take(desk.say.trade(10, "buy", 101, 1))
    assert desk.exchange.has_market


def test_venues_have_books_orders_and_rules_of_their_own() -> None:
    """Two venues with a pair of one name: the trade of one fills nothing of the other, and each amends by its rule."""
    other = PairKey("elsewhere", "BTC-USD")
    rules = {KEY.venue: Rules(), other.venue: Rules(amend_place=AmendPlace.KEPT)}
    latency = ConstantReceiveLatency(entry=0, response=0)
    exchange = Exchange([Market(KEY), Market(other)], rules=rules, latency=latency, compiled=False)
    says = [Messages(KEY), Messages(other, 100)]
    for say in says:
        exchange.take(say.instrument(0))
        exchange.take(say.snapshot(0))
    for pair in (0, 1):
        exchange.submit(10, NewOrder(pair=pair, side=0, tick=99, lots=5))
    assert [each.pair for each in exchange.advance(10)] == [0, 1]
    exchange.take(says[1].trade(20, "sell", 98, 2))
    assert [each.pair for each in exchange.advance(20)] == [1]
    assert [each.pair for each in exchange.fills] == [1]
    assert [exchange.rules(pair).amend_place for pair in (0, 1)] == [AmendPlace.LOST, AmendPlace.KEPT]
    exchange.cancel_all(30, pair=0)
    assert [(each.pair, each.order_id) for each in exchange.advance(30)] == [(0, 1), (0, 0)]
    assert [each.order_id for each in exchange.close(40)] == [2]


def test_the_end_of_a_session_cancels_what_rests_and_nothing_arrives_after_it() -> None:
    """One rests, one is under way, one has been filled and its answer is under way: all of it is heard of at the end."""
    desk = Desk(entry=3, response=50)
    orders = [desk.place(100, "buy", 98, 5), desk.place(290, "buy", 101, 2), desk.place(299, "buy", 97, 1)]
    desk.reach(300)
    heard = list(desk.exchange.close(300))
    assert [(each.received_ns, each.order_id, each.state.name) for each in heard] == [
        (300, 2, "OPEN"),
        (300, 2, "FILLED"),
        (300, 1, "CANCELLED"),
        (300, 3, "REJECTED"),
    ]
    assert [order.state.name for order in orders] == ["CANCELLED", "FILLED", "REJECTED"]
    assert desk.exchange.next_due_ns() == NEVER_NS
    again = desk.place(400, "buy", 101, 1)
    desk.reach(500)
    assert again.state.name == "FILLED"


# -- latency -------------------------------------------------------------------------------------------------------


def test_feed_latency_is_twice_the_newest_delay_to_the_tape_and_what_is_added_back() -> None:
    """
    The feed takes 10, then 20. With 3 added to the venue: sent at 200 it is there at 213 in truth, and the market of then
    is seen at 223. Answered with nothing added, it takes 10 back in truth, which is when that market is seen.
    """
    added = ConstantReceiveLatency(entry=3, response=0)
    desk = Desk(latency=FeedReceiveLatency(added))
    desk.take(desk.say.diff(150, bids={97: 1}, event_ns=140))
    desk.place(200, "buy", 99, 5)
    desk.reach(300)
    assert [(each.venue_ns, each.received_ns) for each in desk.heard] == [(223, 223)]
    desk.take(desk.say.diff(300, bids={97: 2}, event_ns=280))
    desk.take(desk.say.trade(301, "sell", 120, 1, event_ns=1, is_history=True))
    desk.place(310, "buy", 98, 5)
    desk.reach(400)
    assert desk.heard[-1].venue_ns == 310 + 43


def test_the_feeds_delay_is_that_of_its_fastest_stream_of_late() -> None:
    """
    Trades take 10, a book that is sent now and then 500; two seconds after the last trade only the book is known of.
    """
    desk = Desk(latency=FeedReceiveLatency(ConstantReceiveLatency(entry=0, response=0)))
    desk.take(desk.say.trade(1000, "buy", 120, 1, event_ns=990), desk.say.diff(1001, bids={97: 1}, event_ns=501))
    desk.place(1002, "buy", 99, 5)
    desk.reach(1022)
    assert [each.venue_ns for each in desk.heard] == [1022]
    later = 2 * NS_PER_S
    desk.take(desk.say.diff(later, bids={97: 2}, event_ns=later - 500))
    desk.place(later, "buy", 98, 5)
    desk.reach(later + 1000)
    assert [each.venue_ns for each in desk.heard[1:]] == [later + 1000]


def test_feed_latency_below_nothing_is_refused_with_the_offset_that_mends_it() -> None:
    desk = Desk(latency=FeedReceiveLatency(ConstantReceiveLatency(entry=3, response=0)))
    desk.take(desk.say.diff(150, bids={97: 1}, event_ns=1000))
    with pytest.raises(
        ConfigError, match=r"make -847 ns, expected 0 or more: .* and 847 ns would do \(--clock-offset\)"
    ):
        desk.place(200, "buy", 99, 5)
    mended = FeedReceiveLatency(ConstantReceiveLatency(entry=3, response=0), clock_offset_ns=850)
    desk = Desk(latency=mended)
    desk.take(desk.say.diff(150, bids={97: 1}, event_ns=1000))
    desk.place(200, "buy", 99, 5)
    desk.reach(300)
    assert desk.heard[0].venue_ns == 203


@pytest.mark.parametrize("offset", [0, 1_270_000_000])
def test_recorded_round_trips_need_no_clock_offset(offset: int) -> None:
    """
    Orders took 20 there and 30 back, by a clock that is `offset` ahead; the feed takes 10. Sent at 200 one is there at
    220, seen at 230; its answer is received at 250.
    """
    trips = InterpolatedLatency([(100, 120 + offset, 150), (300, 320 + offset, 350)], offset)
    desk = Desk(latency=TripReceiveLatency(trips, clock_offset_ns=offset))
    desk.take(desk.say.diff(150, bids={97: 1}, event_ns=140 + offset))
    desk.place(200, "buy", 99, 5)
    desk.reach(300)
    assert [(each.venue_ns, each.received_ns) for each in desk.heard] == [(230, 250)]
    assert desk.exchange.doubt.clipped_answers == 0


def test_an_answer_older_than_its_cause_is_held_back_to_it_and_counted() -> None:
    """Answers take 4, but the frame that shows what they tell of takes 10: heard of at the frame, not before."""
    trips = InterpolatedLatency([(100, 120, 124), (300, 320, 324)])
    desk = Desk(latency=TripReceiveLatency(trips))
    desk.take(desk.say.diff(150, bids={97: 1}, event_ns=140))
    desk.place(200, "buy", 99, 5)
    desk.reach(299)
    desk.take(desk.say.trade(300, "sell", 98, 5, event_ns=290))
    assert [(each.venue_ns, each.received_ns) for each in desk.heard] == [(230, 230), (300, 300)]
    assert desk.exchange.doubt.clipped_answers == 2


def test_a_round_trip_that_was_lost_loses_the_order_and_its_sender_hears_of_it() -> None:
    trips = InterpolatedLatency([(100, 0, 400), (300, 0, 600)])
    desk = Desk(latency=TripReceiveLatency(trips))
    order = desk.place(200, "buy", 99, 5)
    desk.reach(600)
    assert (order.state.name, [each.received_ns for each in desk.heard]) == ("REJECTED", [500])


def test_latency_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^cancel\.entry latency is -1 ns, expected 0 or more, for instance"):
        ConstantReceiveLatency(entry=1, response=1, entries={RequestCode.CANCEL: -1})
    with pytest.raises(ConfigError, match=r"^new\.response latency is -1 ns"):
        ConstantReceiveLatency(entry=1, response=-1)


# -- nonsense ------------------------------------------------------------------------------------------------------


def test_an_exchange_needs_markets_and_each_once() -> None:
    latency = ConstantReceiveLatency(entry=1, response=1)
    with pytest.raises(ConfigError, match="no market"):
        Exchange([], rules=Rules(), latency=latency)
    with pytest.raises(ConfigError, match="twice"):
        Exchange([Market(KEY), Market(KEY)], rules=Rules(), latency=latency)


@pytest.mark.parametrize(
    "order",
    [
        NewOrder(pair=1, side=0, tick=99, lots=1),
        NewOrder(pair=0, side=2, tick=99, lots=1),
        NewOrder(pair=0, side=0, tick=99, lots=0),
        NewOrder(pair=0, side=0, tick=0, lots=1),
    ],
)
def test_orders_that_no_venue_has_are_refused_where_they_are_made(order: NewOrder) -> None:
    with pytest.raises(ConfigError, match="expected"):
        Desk().exchange.submit(1, order)


def test_other_pairs_are_passed_over() -> None:
    desk = Desk()
    assert desk.exchange.take(Messages(PairKey("testing", "ETH-USD")).trade(10, "buy", 1, 1)) is None
