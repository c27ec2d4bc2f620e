"""Every default rule, and its other values, on a tape by hand; what is expected is derived beside it."""

from __future__ import annotations

from replay.market.layout import RequestCode, TifCode
from replay.market.rules import (
    AmendLeft,
    AmendPlace,
    CrossedBook,
    EqualTrade,
    PostOnlyCross,
    QueueAfterSnapshot,
    QueueFront,
    Rules,
    SelfTrade,
    TakerRest,
    ThroughTrade,
)
from tests.replay.market.market_tapes import Venue

IOC, FOK, POST_ONLY = TifCode.IOC, TifCode.FOK, TifCode.POST_ONLY


# -- the queue -----------------------------------------------------------------------------------------------------


def test_a_touch_without_a_trade_fills_nothing_in_any_model() -> None:
    """Best bid and ask stand at our prices, levels come and go behind them, and nobody trades."""
    for queue in QueueFront:
        venue = Venue(Rules(queue_front=queue))
        venue.place(1, "buy", 99, 5)
        venue.place(2, "sell", 101, 5)
        assert venue.market(("bid", 98, 0), ("bid", 99, 3), ("ask", 101, 1), ("bid", 99, 30), ("bid", 99, 0)) == []


def test_a_trade_of_exactly_what_is_ahead_fills_nothing_and_the_next_lot_is_ours() -> None:
    """10 are ahead: 10 traded reach nobody, 1 more is ours; in the optimistic value the tenth gives one lot already."""
    venue = Venue()
    assert venue.place(1, "buy", 99, 5) == [(1, "accepted")]
    assert venue.market(("sell", 99, 10)) == []
    assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)]
    venue = Venue(Rules(equal_trade=EqualTrade.ENOUGH))
    venue.place(1, "buy", 99, 5)
    assert venue.market(("sell", 99, 10)) == [(1, "maker", 99, 1)]


def test_trades_of_the_own_side_move_no_queue() -> None:
    """A buyer takes asks: our bid has nothing to do with it."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("buy", 99, 100), ("buy", 101, 100)) == []


def test_pessimistic_cancels_are_behind_while_there_is_room_behind() -> None:
    """
    100 ahead, 10 join behind, and 10 cancel: still 100 ahead. A snapshot that repeats the level changes nothing.

    Then the level falls to 30: no more than 30 can be ahead, so 31 traded give one lot.
    """
    venue = Venue(book=[("bid", 99, 100), ("ask", 101, 5)])
    venue.place(1, "buy", 99, 5)
    assert venue.market(("bid", 99, 110), ("bid", 99, 100), ("sync bid", 99, 100), ("sell", 99, 100)) == []
    venue = Venue(book=[("bid", 99, 100), ("ask", 101, 5)])
    venue.place(1, "buy", 99, 5)
    assert venue.market(("bid", 99, 30), ("sell", 99, 31)) == [(1, "maker", 99, 1)]


def test_probabilistic_cancels_are_shared() -> None:
    """
    10 ahead and 10 behind, then 8 cancel. With exponent 1 half of them were ahead: 6 are left, and 7 traded give one.

    Behind were 10 of 20 in every model that looks at shares alone; power3 with exponent 1 is 1 - 10/20 as well.
    """
    for queue in (QueueFront.POWER, QueueFront.POWER2, QueueFront.POWER3, QueueFront.LOG):
        venue = Venue(Rules(queue_front=queue))
        venue.place(1, "buy", 99, 5)
        assert venue.market(("bid", 99, 20), ("bid", 99, 12), ("sell", 99, 6)) == [], queue
        assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)], queue


def test_what_was_traded_is_not_counted_again_as_cancelled() -> None:
    """6 of 10 traded, then the level says 4: no cancel in any model, 4 are ahead, and 5 traded give one lot."""
    for queue in QueueFront:
        venue = Venue(Rules(queue_front=queue))
        venue.place(1, "buy", 99, 5)
        assert venue.market(("sell", 99, 6), ("bid", 99, 4), ("sell", 99, 4)) == [], queue
        assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)], queue


def test_what_was_traded_explains_one_change_of_the_level_only() -> None:
    """
    6 of 10 traded, the level says 4, grows to 14 and falls to 8: now 6 have cancelled, of which 4 in 14 were ahead.

    So 4 - 6 * 4/14 = 2.29 are left, and 3 traded reach us with 0.71 of a lot, which is one.
    """
    venue = Venue(Rules(queue_front=QueueFront.POWER))
    venue.place(1, "buy", 99, 5)
    assert venue.market(("sell", 99, 6), ("bid", 99, 4), ("bid", 99, 14), ("bid", 99, 8), ("sell", 99, 2)) == []
    venue = Venue(Rules(queue_front=QueueFront.POWER))
    venue.place(1, "buy", 99, 5)
    steps = (("sell", 99, 6), ("bid", 99, 4), ("bid", 99, 14), ("bid", 99, 8), ("sell", 99, 3))
    assert venue.market(*steps) == [(1, "maker", 99, 1)]


def test_counts_say_how_many_of_the_orders_that_cancelled_were_ahead() -> None:
    """
    5 orders of 2 are ahead (10 lots), then 5 more orders join (20 lots, 10 orders).

    Two orders of 4 lots in all cancel: 5 of 10 orders are ahead, so half of 4 lots and of 2 orders were. 8 lots and
    4 orders are ahead. Then 8 lots traded use them up, and one more is ours.
    """
    venue = Venue(Rules(queue_front=QueueFront.COUNT), book=[("bid", 99, 10, 5), ("ask", 101, 4, 1)])
    venue.place(1, "buy", 99, 5)
    assert venue.market(("bid", 99, 20, 10), ("bid", 99, 16, 8), ("sell", 99, 8)) == []
    assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)]


def test_without_counts_the_queue_by_count_is_bounded_by_size_alone() -> None:
    """The venue stops saying how many: 20 fall to 12, which may all have been behind; 10 stay ahead."""
    venue = Venue(Rules(queue_front=QueueFront.COUNT))
    venue.place(1, "buy", 99, 5)
    assert venue.market(("bid", 99, 20), ("bid", 99, 12), ("sell", 99, 10)) == []
    assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)]


def test_a_snapshot_after_a_gap_only_bounds_what_is_ahead() -> None:
    """10 ahead of 20, then 12 by a snapshot: `min` leaves 10 ahead, `model` takes half of the 8 that are missing."""
    power = Rules(queue_front=QueueFront.POWER)
    venue = Venue(power)
    venue.place(1, "buy", 99, 5)
    assert venue.market(("bid", 99, 20), ("sync bid", 99, 12), ("sell", 99, 10)) == []
    modelled = Rules(queue_front=QueueFront.POWER, queue_after_snapshot=QueueAfterSnapshot.MODEL)
    venue = Venue(modelled)
    venue.place(1, "buy", 99, 5)
    assert venue.market(("bid", 99, 20), ("sync bid", 99, 12), ("sell", 99, 7)) == [(1, "maker", 99, 1)]


def test_an_order_out_of_sight_waits_for_trades_through_its_price() -> None:
    """
    Bids worse than 98 are not recorded, and we bid 95: trades at 95 may meet any number of others first.

    A trade at 94 has passed us: 3 of 5 lots are ours. Then the sight reaches 95, which shows 7: no more is ahead.
    """
    venue = Venue()
    venue.market(("horizon bid", 98))
    venue.place(1, "buy", 95, 5)
    assert venue.market(("sell", 95, 1000)) == []
    assert venue.market(("sell", 94, 3)) == [(1, "maker", 95, 3)]
    venue = Venue()
    venue.market(("horizon bid", 98))
    venue.place(1, "buy", 95, 5)
    assert venue.market(("bid", 95, 7), ("horizon bid", 95), ("sell", 95, 7)) == []
    assert venue.market(("sell", 95, 1)) == [(1, "maker", 95, 1)]


def test_an_order_that_comes_into_sight_where_nothing_rests_is_first() -> None:
    """The sight reaches 94, and shows nothing at 95: nobody is ahead of us there."""
    venue = Venue()
    venue.market(("horizon bid", 98))
    venue.place(1, "buy", 95, 5)
    assert venue.market(("bid", 94, 7), ("horizon bid", 94), ("sell", 95, 2)) == [(1, "maker", 95, 2)]


def test_an_order_that_goes_out_of_sight_keeps_its_place() -> None:
    """10 ahead; its price leaves the twenty best and comes back with 30: the 10 are ahead, those that came are behind."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("bid", 100, 5), ("horizon bid", 100), ("sell", 99, 50)) == []
    assert venue.market(("bid", 99, 30), ("horizon bid", 99), ("sell", 99, 11)) == [(1, "maker", 99, 1)]


def test_without_that_rule_nothing_is_ahead_where_nothing_is_recorded() -> None:
    """What hftbacktest takes for granted: an empty level has no queue."""
    venue = Venue(Rules(unseen=False))
    venue.market(("horizon bid", 98))
    venue.place(1, "buy", 95, 5)
    assert venue.market(("sell", 95, 2)) == [(1, "maker", 95, 2)]


# -- fills of resting orders ---------------------------------------------------------------------------------------


def test_own_orders_share_the_size_of_one_trade() -> None:
    """
    Two of 2 behind 10, and 13 traded: 3 reach us, the first takes 2, the second 1. Without the rule each gets its 2.

    The same across prices: 4 traded at 98 pass two bids of 3 at 99, so 3 and 1.
    """
    venue = Venue()
    venue.place(1, "buy", 99, 2)
    venue.place(2, "buy", 99, 2)
    assert venue.market(("sell", 99, 13)) == [(1, "maker", 99, 2), (2, "maker", 99, 1)]
    venue = Venue(Rules(share_trade=False))
    venue.place(1, "buy", 99, 2)
    venue.place(2, "buy", 99, 2)
    assert venue.market(("sell", 99, 13)) == [(1, "maker", 99, 2), (2, "maker", 99, 2)]
    venue = Venue()
    venue.place(1, "buy", 99, 3)
    venue.place(2, "buy", 99, 3)
    assert venue.market(("sell", 98, 4)) == [(1, "maker", 99, 3), (2, "maker", 99, 1)]


def test_a_trade_beyond_our_price_fills_up_to_its_size() -> None:
    """3 traded at 98 have passed our bid at 99, and nobody is ahead of it any more: the next trade there is ours."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("sell", 98, 3)) == [(1, "maker", 99, 3)]
    assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)]
    venue = Venue(Rules(through_trade=ThroughTrade.ALL))
    venue.place(1, "buy", 99, 5)
    assert venue.market(("sell", 98, 3)) == [(1, "maker", 99, 5)]


def test_a_level_that_reaches_our_price_fills_up_to_its_size_and_is_used_up() -> None:
    """One is offered at 99, where we bid for 5: one lot is ours, and nothing is left of the offer until it is set."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("ask", 99, 1)) == [(1, "maker", 99, 1)]
    assert venue.place(2, "buy", 99, 1, IOC) == [(2, "expired", 1)]
    assert venue.market(("ask", 99, 3)) == [(1, "maker", 99, 3)]
    venue = Venue(Rules(crossed_book=CrossedBook.ALL))
    venue.place(1, "buy", 99, 5)
    assert venue.market(("ask", 99, 1)) == [(1, "maker", 99, 5)]


def test_an_ask_above_our_bid_does_nothing() -> None:
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("ask", 100, 50)) == []


def test_an_execution_equal_to_the_remainder_ends_the_order() -> None:
    """10 ahead and 5 of ours: 15 traded fill all of it, and later trades and a cancel find nothing."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("sell", 99, 15), ("sell", 99, 1), ("sell", 98, 1)) == [(1, "maker", 99, 5)]
    assert venue.cancel(1) == [(1, "refused")]


# -- takers --------------------------------------------------------------------------------------------------------


def test_a_taker_walks_the_levels_and_what_it_took_is_gone_until_they_are_set() -> None:
    """4 at 101 and 6 at 102. The first takes 4 and 1; the second finds 5 at 102; set again, 101 has 2 to take."""
    venue = Venue()
    assert venue.place(1, "buy", None, 5) == [(1, "accepted"), (1, "taker", 101, 4), (1, "taker", 102, 1)]
    assert venue.place(2, "buy", 102, 9, IOC) == [(2, "accepted"), (2, "taker", 102, 5), (2, "expired", 4)]
    venue.market(("ask", 101, 2))
    assert venue.place(3, "buy", None, 1) == [(3, "accepted"), (3, "taker", 101, 1)]
    venue = Venue(Rules(taken_liquidity=False))
    venue.place(1, "buy", None, 5)
    assert venue.place(2, "buy", None, 5) == [(2, "accepted"), (2, "taker", 101, 4), (2, "taker", 102, 1)]


def test_what_is_left_of_a_crossing_order_rests_at_its_limit_ahead_of_everybody() -> None:
    """15 at 102 find 10; 5 rest as a bid at 102, and the first lot traded there is ours."""
    venue = Venue()
    took = [(1, "accepted"), (1, "taker", 101, 4), (1, "taker", 102, 6)]
    assert venue.place(1, "buy", 102, 15) == took
    assert venue.market(("sell", 102, 1)) == [(1, "maker", 102, 1)]
    venue = Venue(Rules(taker_rest=TakerRest.FILLS))
    assert venue.place(1, "buy", 102, 15) == [*took, (1, "taker", 102, 5)]


def test_what_rests_after_taking_is_ahead_of_bids_that_were_passed() -> None:
    """A bid at 102 was passed when the ask came back to 101. We take up to 102 and rest there: that bid is not there."""
    venue = Venue()
    venue.market(("bid", 102, 7), ("ask", 101, 4))
    assert venue.place(1, "buy", 102, 15)[-1] == (1, "taker", 102, 6)
    assert venue.market(("sell", 102, 1)) == [(1, "maker", 102, 1)]


def test_a_market_order_goes_as_far_as_the_band_and_the_rest_expires() -> None:
    """A band of 2 ticks is 101 and 102: 10 of 12 are there. Without one, the level at 105 is reached."""
    venue = Venue(reach=2)
    assert venue.place(1, "buy", None, 12)[1:] == [(1, "taker", 101, 4), (1, "taker", 102, 6), (1, "expired", 2)]
    venue = Venue()
    assert venue.place(1, "buy", None, 12)[1:] == [(1, "taker", 101, 4), (1, "taker", 102, 6), (1, "taker", 105, 2)]
    venue = Venue(Rules(market_reach=1))
    assert venue.place(1, "sell", None, 12)[1:] == [(1, "taker", 99, 10), (1, "expired", 2)]


def test_a_short_buy_does_not_reach_its_limit() -> None:
    """As hftbacktest has it: up to below 102 there are 4, and 11 are filled at 102; a sell goes a tick beyond its reach."""
    venue = Venue(Rules(short_buys=True, taker_rest=TakerRest.FILLS, market_reach=1))
    assert venue.place(1, "buy", 102, 15)[1:] == [(1, "taker", 101, 4), (1, "taker", 102, 11)]
    assert venue.place(2, "sell", None, 12)[1:] == [(2, "taker", 99, 10), (2, "taker", 98, 2)]


def test_a_market_order_on_an_empty_side_expires() -> None:
    venue = Venue(book=[("bid", 99, 10)])
    assert venue.place(1, "buy", None, 5) == [(1, "expired", 5)]


def test_immediate_orders_that_reach_nothing_expire() -> None:
    venue = Venue()
    assert venue.place(1, "buy", 100, 1, IOC) == [(1, "expired", 1)]
    assert venue.place(2, "buy", 100, 1, FOK) == [(2, "expired", 1)]


def test_fill_or_kill_takes_all_or_nothing() -> None:
    """Up to 102 there are 10, and after 10 were taken none."""
    venue = Venue()
    assert venue.place(1, "buy", 102, 11, FOK) == [(1, "expired", 11)]
    assert venue.place(2, "buy", 102, 10, FOK) == [(2, "accepted"), (2, "taker", 101, 4), (2, "taker", 102, 6)]
    assert venue.place(3, "buy", 102, 1, FOK) == [(3, "expired", 1)]


def test_post_only_never_takes() -> None:
    """At the ask it is rejected; where we have taken the ask, nothing is left that it could take, and it rests."""
    venue = Venue()
    assert venue.place(1, "buy", 101, 1, POST_ONLY) == [(1, "rejected", 1)]
    assert venue.place(2, "buy", 100, 1, POST_ONLY) == [(2, "accepted")]
    venue.place(3, "buy", None, 4)
    assert venue.place(4, "buy", 101, 1, POST_ONLY) == [(4, "accepted")]
    venue = Venue(Rules(post_only_cross=PostOnlyCross.EXPIRED))
    assert venue.place(1, "buy", 101, 1, POST_ONLY) == [(1, "expired", 1)]


# -- own orders among themselves -----------------------------------------------------------------------------------


def test_an_own_taker_meets_own_orders_and_the_resting_one_goes() -> None:
    """Our bid of 100 is better than the market's 99: our sell meets it first, it is cancelled, and 99 is taken."""
    venue = Venue()
    venue.place(1, "buy", 100, 5)
    assert venue.place(2, "sell", 99, 3, IOC) == [(2, "accepted"), (1, "cancelled", 5), (2, "taker", 99, 3)]


def test_the_other_ways_to_prevent_a_self_trade() -> None:
    venue = Venue(Rules(self_trade=SelfTrade.EXPIRE_TAKER))
    venue.place(1, "buy", 100, 5)
    assert venue.place(2, "sell", 99, 3, IOC) == [(2, "accepted"), (2, "cancelled", 3)]
    venue = Venue(Rules(self_trade=SelfTrade.EXPIRE_BOTH))
    venue.place(1, "buy", 100, 5)
    assert venue.place(2, "sell", 99, 3, IOC) == [(2, "accepted"), (1, "cancelled", 5), (2, "cancelled", 3)]
    venue = Venue(Rules(self_trade=SelfTrade.NOT_SEEN))
    venue.place(1, "buy", 100, 5)
    assert venue.place(2, "sell", 99, 3, IOC) == [(2, "accepted"), (2, "taker", 99, 3)]


def test_at_one_price_an_own_order_is_met_after_what_is_ahead_of_it() -> None:
    """10 are ahead of our bid at 99: a sell of 12 takes them, then meets our own, and finds no more there."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    told = venue.place(2, "sell", 99, 12, IOC)
    assert told == [(2, "accepted"), (2, "taker", 99, 10), (1, "cancelled", 5), (2, "expired", 2)]


def test_what_is_behind_an_own_order_is_taken_after_it_is_gone() -> None:
    """20 have joined behind our bid: a sell of 12 takes the 10 ahead, our bid is cancelled, and 2 of the 20 follow."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    venue.market(("bid", 99, 30))
    told = venue.place(2, "sell", 99, 12, IOC)
    assert told == [(2, "accepted"), (2, "taker", 99, 10), (1, "cancelled", 5), (2, "taker", 99, 2)]


def test_post_only_does_not_meet_own_orders_either() -> None:
    venue = Venue()
    venue.place(1, "sell", 100, 5)
    assert venue.place(2, "buy", 100, 1, POST_ONLY) == [(2, "rejected", 1)]


# -- amending and cancelling ---------------------------------------------------------------------------------------


def test_an_amended_order_goes_to_the_end_of_the_queue() -> None:
    """9 of 10 ahead have traded; made smaller it loses its place, and the level still shows 10. Or keeps it: 1 ahead."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    venue.market(("sell", 99, 9))
    assert venue.amend(1, 99, 2) == [(1, "amended")]
    assert venue.market(("sell", 99, 10)) == []
    venue = Venue(Rules(amend_place=AmendPlace.KEPT))
    venue.place(1, "buy", 99, 5)
    venue.market(("sell", 99, 9))
    assert venue.amend(1, 99, 2) == [(1, "amended")]
    assert venue.market(("sell", 99, 3)) == [(1, "maker", 99, 2)]


def test_a_larger_size_or_another_price_never_keeps_the_place() -> None:
    for tick, lots in ((99, 6), (98, 5)):
        venue = Venue(Rules(amend_place=AmendPlace.KEPT))
        venue.place(1, "buy", 99, 5)
        venue.market(("sell", 99, 10), ("bid", 99, 20))
        venue.amend(1, tick, lots)
        assert venue.market(("sell", tick, 20)) == []


def test_what_is_left_of_an_amended_order_is_its_new_size_less_what_was_filled() -> None:
    """2 of 5 are filled. Amended to 4, 2 are left; amended to 2, none is, and it ends."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("sell", 98, 2)) == [(1, "maker", 99, 2)]
    venue.amend(1, 99, 4)
    assert venue.market(("sell", 98, 9)) == [(1, "maker", 99, 2)]
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    venue.market(("sell", 98, 2))
    assert venue.amend(1, 99, 2) == [(1, "cancelled", 3)]
    venue = Venue(Rules(amend_left=AmendLeft.OLD_LEFT, amend_place=AmendPlace.KEPT))
    venue.place(1, "buy", 99, 5)
    venue.market(("sell", 98, 2))
    venue.amend(1, 99, 3)
    assert venue.market(("sell", 98, 9)) == [(1, "maker", 99, 3)]


def test_an_order_amended_into_the_other_side_takes() -> None:
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.amend(1, 101, 5) == [(1, "amended"), (1, "taker", 101, 4)]
    assert venue.market(("sell", 101, 1)) == [(1, "maker", 101, 1)]
    venue.place(2, "buy", 99, 5, POST_ONLY)
    assert venue.amend(2, 102, 5) == [(2, "cancelled", 5)]


def test_a_fill_before_the_cancel_stands_and_the_cancel_is_refused() -> None:
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("sell", 98, 5)) == [(1, "maker", 99, 5)]
    assert venue.cancel(1) == [(1, "refused")]
    assert venue.amend(1, 99, 3) == [(1, "refused")]


def test_cancel_all_takes_back_what_rests_and_says_how_many() -> None:
    venue = Venue()
    for order, tick in ((1, 98), (2, 99), (3, 97)):
        venue.place(order, "buy", tick, 1)
    venue.place(4, "sell", 103, 1)
    told = venue.ask(RequestCode.CANCEL_ALL, pair=-1)
    assert told == [(2, "cancelled", 1), (1, "cancelled", 1), (3, "cancelled", 1), (4, "cancelled", 1), (0, "done", 4)]
    assert venue.ask(RequestCode.CANCEL_ALL, pair=0) == [(0, "done", 0)]


def test_an_id_is_free_again_when_its_order_has_ended() -> None:
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.place(1, "buy", 98, 5) == [(1, "refused")]
    venue.cancel(1)
    assert venue.place(1, "buy", 98, 5) == [(1, "accepted")]


def test_nonsense_is_rejected() -> None:
    venue = Venue()
    assert venue.place(1, "buy", 99, 0) == [(1, "rejected", 0)]
    assert venue.ask(RequestCode.NEW, id=2, pair=3, tick=99, lots=1) == [(2, "rejected", 0)]
