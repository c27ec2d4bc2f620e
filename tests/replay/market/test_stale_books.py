"""What the core does while a book cannot be believed, and when it can again; what is expected is derived beside it."""

from __future__ import annotations

import pytest

from replay.market.layout import TifCode
from replay.market.rules import CrossedBook, QueueAfterSnapshot, QueueFront, Rules
from tests.replay.market.market_tapes import Venue


def test_nothing_is_matched_while_the_book_is_stale() -> None:
    """Trades at and beyond our bid of 99, and an ask that reaches it: none of it fills, and nothing is ahead less."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("stale", 0), ("sell", 99, 50), ("sell", 98, 50), ("ask", 99, 3), ("ask", 99, 0)) == []
    assert venue.market(("resume", 0), ("sell", 99, 10)) == []
    assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)]


def test_what_the_book_reaches_when_it_is_whole_again_is_filled_up_to_its_levels() -> None:
    """Asks of 2 at 97 and 1 at 98 came meanwhile: of our 5 at 99, 3 are filled, and the rest has nobody ahead of it."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    assert venue.market(("stale", 0), ("sync bid", 99, 0), ("sync bid", 98, 0)) == []
    assert venue.market(("sync ask", 97, 2), ("sync ask", 98, 1)) == []
    assert venue.market(("resume", 0)) == [(1, "maker", 99, 2), (1, "maker", 99, 1)]
    assert venue.place(2, "buy", 98, 1, TifCode.IOC) == [(2, "expired", 1)]
    assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)]


def test_where_a_level_fills_all_it_fills_all_when_the_book_is_whole_again() -> None:
    venue = Venue(Rules(crossed_book=CrossedBook.ALL))
    venue.place(1, "buy", 99, 5)
    assert venue.market(("stale", 0), ("sync ask", 98, 1), ("resume", 0)) == [(1, "maker", 99, 5)]


def test_sells_are_reached_by_bids_as_well() -> None:
    venue = Venue()
    venue.place(1, "sell", 101, 5)
    assert venue.market(("stale", 0), ("sync bid", 102, 2), ("resume", 0)) == [(1, "maker", 101, 2)]


def test_a_level_that_shrank_meanwhile_bounds_what_is_ahead() -> None:
    """10 ahead, 4 when the book is whole: at most 4 are ahead. By the model, all that are gone were ahead in part."""
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    venue.market(("stale", 0), ("sync bid", 99, 4), ("resume", 0))
    assert venue.market(("sell", 99, 4)) == []
    assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)]
    for after, ahead in ((QueueAfterSnapshot.MIN, 10), (QueueAfterSnapshot.MODEL, 6)):
        venue = Venue(Rules(queue_front=QueueFront.POWER, queue_after_snapshot=after))
        venue.place(1, "buy", 99, 5)
        venue.market(("bid", 99, 20), ("stale", 0), ("sync bid", 99, 12), ("resume", 0))
        assert venue.market(("sell", 99, ahead)) == []
        assert venue.market(("sell", 99, 1)) == [(1, "maker", 99, 1)]


def test_an_order_that_comes_meanwhile_rests_or_expires() -> None:
    """A bid of 101 would cross the ask that is known: it rests, and is filled when the book is whole and has that ask."""
    venue = Venue()
    venue.market(("stale", 0))
    assert venue.place(1, "buy", 101, 5) == [(1, "accepted")]
    assert venue.place(2, "sell", 103, 5, TifCode.POST_ONLY) == [(2, "accepted")]
    for order, tick, tif in ((3, None, TifCode.GTC), (4, 101, TifCode.IOC), (5, 101, TifCode.FOK)):
        assert venue.place(order, "buy", tick, 1, tif) == [(order, "expired", 1)]
    assert venue.market(("resume", 0)) == [(1, "maker", 101, 4)]


def test_an_order_that_is_amended_meanwhile_takes_nothing() -> None:
    venue = Venue()
    venue.place(1, "buy", 99, 5)
    venue.market(("stale", 0))
    assert venue.amend(1, 101, 5) == [(1, "amended")]
    assert venue.cancel(1) == [(1, "cancelled", 5)]


def test_pairs_are_stale_each_for_itself() -> None:
    venue = Venue()
    venue.market(("stale", 0), ("resume", 0), ("resume", 0))
    assert venue.place(1, "buy", None, 1) == [(1, "accepted"), (1, "taker", 101, 1)]


# -- orders that only reduce ---------------------------------------------------------------------------------------


def test_an_order_that_only_reduces_is_rejected_where_it_would_not() -> None:
    venue = Venue()
    assert venue.place(1, "sell", 101, 5, reduce=True) == [(1, "rejected", 5)]
    venue.place(2, "buy", None, 2)
    assert venue.place(3, "buy", 99, 5, reduce=True) == [(3, "rejected", 5)]
    assert venue.place(4, "sell", 103, 5, reduce=True) == [(4, "accepted")]


def test_an_order_that_only_reduces_is_filled_no_further_than_the_position_and_ends_then() -> None:
    """Bought 2. Selling 5 takes 2 of the 10 bids, and the rest is cancelled; so it is of one that rests."""
    venue = Venue()
    venue.place(1, "buy", None, 2)
    told = venue.place(2, "sell", None, 5, reduce=True)
    assert told == [(2, "accepted"), (2, "taker", 99, 2), (2, "cancelled", 3)]
    venue = Venue()
    venue.place(1, "buy", None, 2)
    venue.place(2, "sell", 103, 5, reduce=True)
    assert venue.market(("buy", 104, 9)) == [(2, "maker", 103, 2), (2, "cancelled", 3)]


@pytest.mark.parametrize("first", ["plain", "reduce"])
def test_one_trade_never_fills_two_orders_beyond_the_position(first: str) -> None:
    """Bought 4, and two sells of 3 at 103, of which one or both only reduce: 9 traded beyond fill 3 and 1."""
    venue = Venue()
    venue.place(1, "buy", None, 4)
    venue.place(2, "sell", 103, 3, reduce=first == "reduce")
    venue.place(3, "sell", 103, 3, reduce=True)
    assert venue.market(("buy", 104, 9)) == [(2, "maker", 103, 3), (3, "maker", 103, 1), (3, "cancelled", 2)]


def test_what_rests_to_reduce_goes_when_another_order_has_closed_the_position() -> None:
    """By a taker that closes it, as by a maker."""
    venue = Venue()
    venue.place(1, "buy", None, 2)
    venue.place(2, "sell", 103, 2, reduce=True)
    assert venue.place(3, "sell", None, 2) == [(3, "accepted"), (3, "taker", 99, 2), (2, "cancelled", 2)]


def test_fill_or_kill_that_only_reduces_counts_what_it_may_fill() -> None:
    venue = Venue()
    venue.place(1, "buy", None, 2)
    told = venue.place(2, "sell", 98, 5, TifCode.FOK, reduce=True)
    assert told == [(2, "accepted"), (2, "taker", 99, 2), (2, "cancelled", 3)]


def test_whole_fills_of_an_order_that_only_reduces_end_it() -> None:
    venue = Venue(Rules(whole_fills=True))
    venue.place(1, "buy", None, 2)
    told = venue.place(2, "sell", 99, 5, reduce=True)
    assert told == [(2, "accepted"), (2, "taker", 99, 2), (2, "cancelled", 3)]
