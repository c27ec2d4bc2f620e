"""The uncrossed view of a book: never crossed, and the raw book itself wherever that is not crossed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.books.uncrossing import UncrossedBook, UncrossedBooks
from toolkit.errors import BookError, SymbolError
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, EventKind, StreamEvent

Levels = Sequence[tuple[float, float]]


def columns(levels: Levels) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    return tuple(price for price, _ in levels), tuple(size for _, size in levels), ()


def book(kind: type[Any], bids: Levels, asks: Levels, seq: int, pair: str = "A-B", venue: str = "v") -> Any:
    return kind(venue, pair, pair, None, seq, seq, 0, "full", True, None, *columns(bids), *columns(asks))


def snapshot(bids: Levels, asks: Levels, seq: int) -> BookSnapshot:
    message: BookSnapshot = book(BookSnapshot, bids, asks, seq)
    return message


def diff(bids: Levels, asks: Levels, seq: int) -> BookDiff:
    message: BookDiff = book(BookDiff, bids, asks, seq)
    return message


def levels(shown: OrderBook) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    bids, asks = shown.depth()
    return [(level.price, level.size) for level in bids], [(level.price, level.size) for level in asks]


def view_of(*messages: BookSnapshot | BookDiff) -> UncrossedBook:
    view = UncrossedBook("A-B")
    for message in messages:
        view.apply(message)
    return view


START = snapshot([(10.0, 1.0), (9.0, 2.0)], [(11.0, 3.0), (12.0, 4.0)], 0)


@pytest.mark.parametrize(
    ("messages", "bids", "asks"),
    [
        # A newer bid passes an older ask.
        ([diff([(11.0, 5.0)], [], 1)], [(11.0, 5.0), (10.0, 1.0), (9.0, 2.0)], [(12.0, 4.0)]),
        # A newer ask passes an older bid.
        ([diff([], [(10.0, 5.0)], 1)], [(9.0, 2.0)], [(10.0, 5.0), (11.0, 3.0), (12.0, 4.0)]),
        # It passes all of a side.
        ([diff([], [(9.0, 5.0)], 1)], [], [(9.0, 5.0), (11.0, 3.0), (12.0, 4.0)]),
        ([diff([(12.0, 5.0)], [], 1)], [(12.0, 5.0), (10.0, 1.0), (9.0, 2.0)], []),
        # Both of one frame: the larger keeps the rest.
        ([diff([(11.5, 1.0)], [(11.5, 0.7)], 1)], [(11.5, 0.3), (10.0, 1.0), (9.0, 2.0)], [(12.0, 4.0)]),
        ([diff([(11.5, 0.7)], [(11.5, 1.0)], 1)], [(10.0, 1.0), (9.0, 2.0)], [(11.5, 0.3), (12.0, 4.0)]),
        # Both of one frame and of one size: neither remains. (The older ask below them is gone first.)
        ([diff([(11.5, 1.0)], [(11.5, 1.0)], 1)], [(10.0, 1.0), (9.0, 2.0)], [(12.0, 4.0)]),
        # What remains of a level goes on against the next.
        (
            [diff([(11.5, 1.0)], [(11.2, 0.4), (11.4, 0.4), (11.5, 0.4)], 1)],
            [(10.0, 1.0), (9.0, 2.0)],
            [(11.5, 0.2), (12.0, 4.0)],
        ),
        # A level that is told again is new again.
        (
            [diff([(11.0, 5.0)], [], 1), diff([], [(11.0, 3.0)], 2)],
            [(10.0, 1.0), (9.0, 2.0)],
            [(11.0, 3.0), (12.0, 4.0)],
        ),
    ],
)
def test_the_older_level_is_left_out(messages: list[BookDiff], bids: Levels, asks: Levels) -> None:
    """And levels of one age are netted."""
    assert levels(view_of(START, *messages).book) == (list(bids), list(asks))


def test_a_crossed_snapshot_is_netted() -> None:
    """All of its levels have one age."""
    view = view_of(snapshot([(12.0, 1.0), (10.0, 1.0)], [(11.0, 0.25), (13.0, 1.0)], 0))
    assert levels(view.book) == ([(12.0, 0.75), (10.0, 1.0)], [(13.0, 1.0)])
    assert levels(view.raw) == ([(12.0, 1.0), (10.0, 1.0)], [(11.0, 0.25), (13.0, 1.0)])


def test_numbers_of_orders_are_left_out_where_a_level_was_netted() -> None:
    """What remains is no longer that of so many orders."""
    sides = ((12.0, 10.0), (1.0, 1.0), (3, 4)), ((11.0, 13.0), (0.25, 1.0), (5, 6))
    view = UncrossedBook("A-B")
    view.apply(BookSnapshot("v", "A-B", "A-B", None, 0, 0, 0, "full", True, None, *sides[0], *sides[1]))
    bids, asks = view.book.depth()
    assert [level.order_count for level in bids] == [None, 4]
    assert [level.order_count for level in asks] == [6]


def test_a_level_is_back_when_what_it_crossed_with_is_gone() -> None:
    """The raw book never forgot it."""
    view = view_of(START, diff([(11.0, 5.0)], [], 1))
    assert view.is_crossed
    view.apply(diff([(11.0, 0.0)], [], 2))
    assert not view.is_crossed
    assert levels(view.book) == levels(view.raw) == levels(view_of(START).book)


def test_the_view_says_what_the_raw_book_says_of_itself() -> None:
    """Staleness, times and numbers are those of the raw book."""
    view = UncrossedBook("A-B")
    assert (view.book.is_stale, view.book.trading_pair) == (True, "A-B")
    view.apply(START)
    assert (view.book.is_stale, view.book.ts_recv) == (False, 0)
    view.apply(diff([(11.0, 1.0)], [], 5))
    assert view.book.ts_recv == 5
    view.mark_stale("sequence")
    assert (view.book.is_stale, view.book.stale_cause) == (True, "sequence")


def test_a_message_that_no_book_can_take_leaves_both_alike() -> None:
    """Whatever of it the raw book took, the view shows; and it goes on from there."""
    view = view_of(START)
    with pytest.raises(BookError):
        view.apply(diff([(9.5, 1.0), (float("nan"), 1.0)], [], 1))
    assert levels(view.book) == levels(view.raw)
    view.apply(diff([(9.7, 1.0)], [], 2))
    assert levels(view.book) == levels(view.raw)
    assert view.book.bids.size_at(9.7) == 1.0


PRICES = st.integers(1, 12).map(lambda tick: tick / 4)
SIZES = st.integers(1, 8).map(lambda lot: lot / 10)
CHANGES = st.lists(st.tuples(PRICES, st.one_of(st.just(0.0), SIZES)), max_size=4)
SIDES = st.dictionaries(PRICES, SIZES, max_size=6)
STEPS = st.lists(
    st.one_of(st.tuples(st.just("diff"), CHANGES, CHANGES), st.tuples(st.just("snapshot"), SIDES, SIDES)), max_size=20
)


def messages_of(steps: list[tuple[str, Any, Any]]) -> list[BookSnapshot | BookDiff]:
    made: list[BookSnapshot | BookDiff] = [START]
    for seq, (kind, bids, asks) in enumerate(steps, 1):
        if kind == "diff":
            made.append(diff(bids, asks, seq))
        else:
            made.append(snapshot(sorted(bids.items(), reverse=True), sorted(asks.items()), seq))
    return made


@given(STEPS)
def test_the_view_is_never_crossed_and_equals_a_raw_book_that_is_not(steps: list[tuple[str, Any, Any]]) -> None:
    """After every message, and so that the digest of one would be that of the other."""
    view = UncrossedBook("A-B")
    for message in messages_of(steps):
        view.apply(message)
        assert not view.book.is_crossed
        if not view.raw.is_crossed:
            assert view.book.bids.columns() == view.raw.bids.columns()
            assert view.book.asks.columns() == view.raw.asks.columns()


def by_the_book(messages: list[BookSnapshot | BookDiff]) -> tuple[Levels, Levels]:
    """The documented algorithm word for word, on plain dicts: price to size and to the frame of its last change."""
    bids: dict[float, tuple[Decimal, int]] = {}
    asks: dict[float, tuple[Decimal, int]] = {}
    for message in messages:
        if isinstance(message, BookSnapshot):
            bids.clear()
            asks.clear()
        for side, prices, sizes in (
            (bids, message.bid_prices, message.bid_sizes),
            (asks, message.ask_prices, message.ask_sizes),
        ):
            for price, size in zip(prices, sizes, strict=True):
                if size:
                    side[price] = (Decimal(str(size)), message.capture_seq)
                else:
                    side.pop(price, None)
    while bids and asks and max(bids) >= min(asks):
        bid, ask = max(bids), min(asks)
        (bid_size, bid_age), (ask_size, ask_age) = bids[bid], asks[ask]
        if bid_age < ask_age:
            del bids[bid]
        elif ask_age < bid_age:
            del asks[ask]
        else:
            smaller = min(bid_size, ask_size)
            bids[bid], asks[ask] = (bid_size - smaller, bid_age), (ask_size - smaller, ask_age)
            if not bids[bid][0]:
                del bids[bid]
            if not asks[ask][0]:
                del asks[ask]
    return (
        [(price, float(bids[price][0])) for price in sorted(bids, reverse=True)],
        [(price, float(asks[price][0])) for price in sorted(asks)],
    )


@given(STEPS)
def test_the_view_is_that_of_the_documented_algorithm(steps: list[tuple[str, Any, Any]]) -> None:
    """Level by level, sizes exact in their digits."""
    messages = messages_of(steps)
    assert levels(view_of(*messages).book) == by_the_book(messages)


@given(STEPS)
def test_a_trackers_views_are_the_same(steps: list[tuple[str, Any, Any]]) -> None:
    """Beside the tracker's raw book, which stays what it is."""
    tracker, alone = OrderBookTracker(), OrderBookTracker()
    views = UncrossedBooks(tracker)
    messages = messages_of(steps)
    for message in messages:
        tracker(message)
        alone(message)
    assert levels(views.book("A-B")) == by_the_book(messages)
    assert levels(tracker.book("A-B")) == levels(alone.book("A-B"))


def test_a_trackers_view_goes_stale_with_its_book() -> None:
    """And takes in, stale, what the book takes in."""
    tracker = OrderBookTracker()
    views = UncrossedBooks(tracker)
    tracker(START)
    view = views.book("A-B")
    assert not view.is_stale
    tracker(StreamEvent("v", "A-B", "A-B", None, 1, 1, 0, EventKind.STALE, "full", "sequence"))
    assert (view.is_stale, view.stale_cause) == (True, "sequence")
    tracker(diff([(10.5, 1.0)], [], 2))
    assert view.is_stale
    assert view.best_bid is not None
    assert view.best_bid.price == 10.5
    tracker(diff([(9.5, 1.0), (1.0, -1.0)], [], 3))
    assert levels(view) == levels(tracker.book("A-B"))


def test_a_quote_takes_part() -> None:
    """It is newer than what the snapshot said."""
    tracker = OrderBookTracker()
    views = UncrossedBooks(tracker)
    tracker(START)
    tracker(BestQuote("v", "A-B", "A-B", None, 1, 1, 0, True, 11.0, 5.0, None, 11.0, 3.0, None))
    assert levels(views.book("A-B"))[0][0] == (11.0, 2.0)
    tracker(diff([], [(11.0, 5.0)], 2))
    assert levels(views.book("A-B")) == ([(10.0, 1.0), (9.0, 2.0)], [(11.0, 5.0), (12.0, 4.0)])


def test_pairs_are_found_or_named() -> None:
    """Of several venues it has to be said which."""
    tracker = OrderBookTracker()
    views = UncrossedBooks(tracker)
    tracker(START)
    with pytest.raises(SymbolError, match=r"^no book of 'X-Y'; pairs received: A-B$"):
        views.book("X-Y")
    tracker(book(BookSnapshot, [(1.0, 1.0)], [], 1, venue="w"))
    with pytest.raises(SymbolError, match=r"^A-B is a pair of v, w: say which venue$"):
        views.book("A-B")
    assert levels(views.book("A-B", venue="w")) == ([(1.0, 1.0)], [])


def test_a_name_that_is_announced_of_two_venues_is_none_of_them() -> None:
    """Whichever speaks first, as for the books themselves."""
    tracker = OrderBookTracker()
    views = UncrossedBooks(tracker)
    tracker.announce([("v", "A-B"), ("w", "A-B")])
    tracker(START)
    with pytest.raises(SymbolError, match=r"^A-B is a pair of v, w: say which venue$"):
        views.book("A-B")
    assert levels(views.book(("v", "A-B"))) == levels(tracker.book(("v", "A-B")))


def test_views_that_were_made_late_say_so() -> None:
    tracker = OrderBookTracker()
    tracker(START)
    with pytest.raises(SymbolError, match=r"^no message of the book of A-B on v since the views were made: .*$"):
        UncrossedBooks(tracker).book("A-B")
