"""The order book against one that is slow and obvious."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tapes import BookState, Levels, diff, quote, snapshot, state_of
from toolkit.books.orderbook import BookSide, Columns, KeptColumns, OrderBook, OrderBookEntry, check_levels
from toolkit.errors import BookError
from toolkit.messages import SIDE_NOT_TOLD, BestQuote, BookDiff, BookSnapshot, Side

PRICES = st.integers(1, 40).map(lambda tick: tick / 10)
SIZES = st.integers(1, 50).map(lambda lot: lot / 10)
SIDES = st.dictionaries(PRICES, SIZES, max_size=8)
CHANGES = st.lists(st.tuples(PRICES, st.one_of(st.just(0.0), SIZES)), max_size=6)
QUOTES = st.one_of(st.none(), st.tuples(PRICES, SIZES))

SNAPSHOTS = st.builds(lambda bids, asks: snapshot(down(bids), up(asks)), SIDES, SIDES)
DIFFS = st.builds(diff, CHANGES, CHANGES)
BEST_QUOTES = st.builds(quote, QUOTES, QUOTES)
UPDATES = st.lists(st.one_of(SNAPSHOTS, DIFFS, BEST_QUOTES), max_size=12)


def down(levels: dict[float, float]) -> Levels:
    return sorted(levels.items(), reverse=True)


def up(levels: dict[float, float]) -> Levels:
    return sorted(levels.items())


class Reference:
    """Two dicts, sorted whenever somebody asks."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}

    def apply(self, message: BookSnapshot | BookDiff | BestQuote) -> None:
        if isinstance(message, BestQuote):
            self.bids = self._quoted(self.bids, message.bid_price, message.bid_size, sign=1)
            self.asks = self._quoted(self.asks, message.ask_price, message.ask_size, sign=-1)
            return
        if isinstance(message, BookSnapshot):
            self.bids, self.asks = {}, {}
        for side, prices, sizes in (
            (self.bids, message.bid_prices, message.bid_sizes),
            (self.asks, message.ask_prices, message.ask_sizes),
        ):
            for price, size in zip(prices, sizes, strict=True):
                side[price] = size
                if size == 0:
                    del side[price]

    @staticmethod
    def _quoted(side: dict[float, float], price: float | None, size: float | None, sign: int) -> dict[float, float]:
        if price is None or size is None:
            return {}
        return {price: size} | {other: side[other] for other in side if other * sign < price * sign}

    @property
    def depth(self) -> tuple[Levels, Levels]:
        return down(self.bids), up(self.asks)


def apply(book: OrderBook, message: BookSnapshot | BookDiff | BestQuote) -> None:
    if isinstance(message, BookSnapshot):
        book.apply_snapshot(message)
    elif isinstance(message, BookDiff):
        book.apply_diff_message(message)
    else:
        book.apply_quote(message)


def pairs(levels: list[OrderBookEntry]) -> Levels:
    return [(level.price, level.size) for level in levels]


@given(UPDATES)
def test_every_level_is_what_the_updates_made_it(updates: list[BookSnapshot | BookDiff | BestQuote]) -> None:
    """Whatever the mix of snapshots, diffs and quotes, and so whatever shape the book is held in."""
    book, reference = OrderBook("A-B"), Reference()
    for message in updates:
        apply(book, message)
        reference.apply(message)
        bids, asks = reference.depth
        assert (pairs(book.depth()[0]), pairs(book.depth()[1])) == (bids, asks)
        assert (len(book.bids), len(book.asks)) == (len(bids), len(asks))
        assert pairs(list(book.bids)) == bids
        assert book.bids.best_price == (bids[0][0] if bids else None)
        assert book.best_bid == (OrderBookEntry(*bids[0]) if bids else None)
        assert book.best_ask == (OrderBookEntry(*asks[0]) if asks else None)
        assert book.bids.top_columns()[0][:1] == book.bids.columns()[0][:1]
        for price in (*reference.bids, 2.05):
            assert book.bids.size_at(price) == reference.bids.get(price, 0.0)
        if bids and asks:
            assert book.mid_price == (bids[0][0] + asks[0][0]) / 2
            assert book.spread == asks[0][0] - bids[0][0]
            assert book.is_crossed is (bids[0][0] >= asks[0][0])
            assert book.spread_bps == pytest.approx(book.spread / book.mid_price * 1e4)
        else:
            assert (book.mid_price, book.spread, book.spread_bps, book.is_crossed) == (None, None, None, False)


class Elsewhere:
    """Levels that somebody else keeps."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self.reads = 0

    def best(self) -> tuple[float, float] | None:
        return (self.levels[0][0], self.levels[0][1]) if self.levels else None

    def columns(self) -> Columns:
        self.reads += 1
        return tuple(price for price, _ in self.levels), tuple(size for _, size in self.levels), ()


READS: dict[str, Callable[[BookSide], object]] = {
    "len": len,
    "best": lambda side: side.best,
    "best_price": lambda side: side.best_price,
    "head": lambda side: side.head(),
    "top_columns": lambda side: [column[:1] for column in side.top_columns()],
    "kept_columns": lambda side: side.kept_columns(),
    "first": lambda side: side[:1],
    "levels": list,
    "columns": lambda side: side.columns(),
    "size_at": lambda side: side.size_at(2.0),
    "has_counts": lambda side: side.has_counts,
}


@given(SNAPSHOTS, UPDATES, st.lists(st.sampled_from(sorted(READS)), max_size=4))
def test_levels_that_are_kept_elsewhere_are_read_as_if_they_were_here(
    first: BookSnapshot, updates: list[BookSnapshot | BookDiff | BestQuote], reads: list[str]
) -> None:
    """Whatever is asked for first, and whatever changes the book after it."""
    book, other = OrderBook("A-B"), OrderBook("A-B")
    for each in (book, other):
        apply(each, first)
    sources = [Elsewhere(pairs(list(side))) for side in (other.bids, other.asks)]
    other.bids.read_from(sources[0])
    other.asks.read_from(sources[1])
    for read in reads:
        assert READS[read](other.bids) == READS[read](book.bids)
        assert READS[read](other.asks) == READS[read](book.asks)
        assert sources[0].reads <= 1
    for message in updates:
        apply(book, message)
        apply(other, message)
        assert state_of(other) == state_of(book)


def test_the_best_level_that_is_kept_elsewhere_is_the_present_one() -> None:
    source = Elsewhere([(2.0, 1.0)])
    side = BookSide(is_bid=True)
    side.read_from(source)
    assert side.best == (2.0, 1.0, None)
    source.levels = [(3.0, 4.0), (2.0, 1.0)]
    assert (side.best_price, side.top_columns()) == (3.0, ((3.0,), (4.0,)))
    source.levels = []
    assert [side.best, side.best_price, side.top_columns()] == [None, None, ((), ())]
    assert (source.reads, side.is_read_from_elsewhere) == (0, True)
    assert len(side) == 0
    assert not side.is_read_from_elsewhere


@given(UPDATES, st.integers(0, 3))
def test_a_book_that_is_seldom_looked_at_says_the_same(
    updates: list[BookSnapshot | BookDiff | BestQuote], count: int
) -> None:
    """Levels that came later lie over the columns until all are asked for; best ones and numbers are known before."""
    book, reference = OrderBook("A-B"), Reference()
    for message in updates:
        apply(book, message)
        reference.apply(message)
        bids, asks = reference.depth
        assert (len(book.bids), len(book.asks)) == (len(bids), len(asks))
        assert (book.bids.best_price, book.asks.best_price) == (
            bids[0][0] if bids else None,
            asks[0][0] if asks else None,
        )
        for side, levels in ((book.bids, bids), (book.asks, asks)):
            assert pairs(list(side.levels(count))) == list(levels[:count])
            prices, sizes = side.top_columns()
            assert list(zip(prices, sizes, strict=True))[:1] == list(levels[:1])
    assert (pairs(list(book.bids)), pairs(list(book.asks))) == reference.depth


@pytest.mark.parametrize("nothing", ["quote", "overlay"])
def test_where_the_newest_say_that_nothing_is_there_the_next_worse_level_is_the_best(nothing: str) -> None:
    """Of those that lie over the columns, then of the columns."""
    side = BookSide(is_bid=True)
    side.replace(((10.0, 9.0), (1.0, 1.0), ()))
    for price in (11.0, 12.0, 13.0):
        side.set_best(price, 2.0, None)
    for gone, best, count in ((13.0, 12.0, 4), (11.5, 11.0, 3), (11.0, 10.0, 2), (9.5, 9.0, 1)):
        if nothing == "quote":
            side.set_best(gone, 0.0, None)
        else:
            side.overlay(((gone + 1, gone), (0.0, 0.0), ()), complete=False)
        assert (side.best_price, len(side), side.top_columns()[0][0]) == (best, count, best)
    assert side.columns()[0] == (9.0,)


def test_columns_have_counts_where_every_level_has_one() -> None:
    side = BookSide(is_bid=False)
    side.replace(((10.0, 11.0, 12.0), (1.0, 1.0, 1.0), (4, 5, 6)))
    side.set_best(11.0, 2.0, 7)
    assert (side.columns(), side.has_counts) == (((11.0, 12.0), (2.0, 1.0), (7, 6)), True)
    side.set_best(10.5, 3.0, None)
    assert [level.order_count for level in side] == [None, 7, 6]
    assert side.columns() == ((10.5, 11.0, 12.0), (3.0, 2.0, 1.0), ())
    assert side.kept_columns() == ((10.5, 11.0, 12.0), (3.0, 2.0, 1.0), (None, 7, 6))
    assert ([level.order_count for level in side], side.has_counts) == ([None, 7, 6], True)
    side.set_best(10.5, 3.0, 8)
    assert side.columns() == ((10.5, 11.0, 12.0), (3.0, 2.0, 1.0), (8, 7, 6))


@pytest.mark.parametrize("is_read", [False, True])
def test_a_level_keeps_its_count_whatever_another_has(is_read: bool) -> None:
    """Over the columns, in them, and by price."""
    side = BookSide(is_bid=False)
    side.replace(((10.0, 11.0, 12.0), (1.0, 1.0, 1.0), (4, 5, 6)))
    changes: list[tuple[Callable[[], None], list[int | None]]] = [
        (lambda: side.set_best(10.0, 3.0, None), [None, 5, 6]),
        (lambda: side.overlay(((9.0, 10.0), (1.0, 1.0), (2, 3)), complete=False), [2, 3, 5, 6]),
        (lambda: side.set_best(9.0, 1.0, None), [None, 3, 5, 6]),
        (lambda: side.set_level(11.0, 2.0), [None, 3, None, 6]),
        (lambda: side.overlay(((9.0, 10.0), (1.0, 1.0), ()), complete=False), [None, None, None, 6]),
        (lambda: side.set_best(11.5, 1.0, None), [None, 6]),
        (lambda: side.set_best(12.5, 1.0, None), [None]),
    ]
    for change_side, counts in changes:
        change_side()
        if is_read:
            side.columns()
        assert [level.order_count for level in side.levels()] == counts
        assert side.has_counts is (counts.count(None) < len(counts))
    assert side.kept_columns() == ((12.5,), (1.0,), ())


def test_counts_that_were_passed_are_not_known_any_more() -> None:
    side = BookSide(is_bid=False)
    side.replace(((10.0, 11.0), (1.0, 1.0), (4, 5)))
    side.set_best(12.0, 1.0, None)
    assert not side.has_counts
    assert side.kept_columns() == ((12.0,), (1.0,), ())


ORDERS = st.one_of(st.none(), st.integers(1, 9))
TICKS = st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0])
LOTS = st.sampled_from([0.0, 1.0, 2.5])


@st.composite
def counted_columns(draw: st.DrawFn) -> KeptColumns:
    """Levels, best first for bids, whose orders are counted or not."""
    prices = sorted(draw(st.lists(TICKS, unique=True, max_size=4)), reverse=True)
    counts = tuple(draw(st.integers(1, 9)) for _ in prices) if draw(st.booleans()) else ()
    return tuple(prices), tuple(draw(LOTS) for _ in prices), counts


CHANGES_OF_A_SIDE = st.one_of(
    st.tuples(st.just("replace"), counted_columns()),
    st.tuples(st.sampled_from(["overlay", "complete"]), counted_columns()),
    st.tuples(st.just("set_levels"), counted_columns()),
    st.tuples(st.just("set_level"), st.tuples(TICKS, LOTS, ORDERS)),
    st.tuples(st.just("set_best"), st.one_of(st.just((None, None, None)), st.tuples(TICKS, LOTS, ORDERS))),
)


def change(side: BookSide, how: str, what: Any) -> None:
    if how in ("overlay", "complete"):
        side.overlay(what, complete=how == "complete")
    elif how in ("set_best", "set_level"):
        getattr(side, how)(*what)
    else:
        getattr(side, how)(what)


def changed(levels: dict[float, OrderBookEntry], how: str, what: Any) -> dict[float, OrderBookEntry]:
    """Bids by price, by the plainest means."""
    if how.startswith("set_be") or how == "set_level":
        told = [] if what[0] is None else [OrderBookEntry(*what)]
    else:
        prices, sizes, counts = what
        told = list(map(OrderBookEntry, prices, sizes, counts or (None,) * len(prices)))
    stay = -inf
    if how.startswith("set_level"):
        stay = inf
    elif told and how in ("overlay", "set_best"):
        stay = told[-1].price
    worse = {price: level for price, level in levels.items() if price < stay}
    return {price: level for price, level in (worse | {level.price: level for level in told}).items() if level.size}


@settings(max_examples=100)
@given(st.lists(st.tuples(CHANGES_OF_A_SIDE, st.sampled_from([None, None, *READS])), max_size=6))
def test_a_level_has_the_count_of_what_set_it_last_whenever_the_side_is_read(
    steps: list[tuple[tuple[str, Any], str | None]],
) -> None:
    """Whatever the others have, and whichever shape the side is held in: read always, now and then, or at the end."""
    always, sometimes, never = sides = [BookSide(is_bid=True) for _ in range(3)]
    by_price: dict[float, OrderBookEntry] = {}
    # Of a side that is counted, so that most are mixed soon.
    whole = ("replace", ((5.0, 4.0, 3.0, 2.0), (1.0, 1.0, 1.0, 1.0), (1, 2, 3, 4)))
    for (how, what), read in ((whole, None), *steps):
        by_price = changed(by_price, how, what)
        for side in sides:
            change(side, how, what)
        expected = [by_price[price] for price in sorted(by_price, reverse=True)]
        assert (list(always), always.best) == (expected, expected[0] if expected else None)
        if read is not None:
            assert READS[read](sometimes) == READS[read](always)
    counts = tuple(level.order_count for level in expected)
    is_any_counted = counts.count(None) < len(counts)
    for side in (never, sometimes, always):
        assert side.has_counts is is_any_counted
        assert side.kept_columns()[2] == (counts if is_any_counted else ())
        assert side.columns()[2] == (() if None in counts else counts)
        assert list(side) == expected
        again = BookSide(is_bid=True)
        again.replace(side.kept_columns())
        assert list(again) == list(side)


def exact(value: float) -> Fraction:
    """The decimal that was meant."""
    return Fraction(repr(value))


@given(SIDES, SIDES, st.integers(1, 400), st.integers(0, 3000), st.booleans(), st.integers(1, 4))
def test_what_is_computed_from_levels_agrees_with_exact_sums(
    bids: dict[float, float], asks: dict[float, float], lots: int, bps: int, by_diff: bool, count: int
) -> None:
    """In decimals as they were sent, in both shapes of a side: ten times 0.1 fills 1.0, and a band has its edges."""
    book = OrderBook("A-B")
    apply(book, diff(down(bids), up(asks)) if by_diff else snapshot(down(bids), up(asks)))
    size = lots / 10
    for side, levels in ((Side.BUY, up(asks)), (Side.SELL, down(bids))):
        left, paid = exact(size), Fraction()
        for price, there in levels:
            taken = min(left, exact(there))
            left, paid = left - taken, paid + taken * exact(price)
        found = book.price_to_fill(side, size)
        assert (found is None) is (left > 0)
        if found is not None:
            assert found == pytest.approx(float(paid / exact(size)))
    for side, levels in ((Side.BUY, down(bids)), (Side.SELL, up(asks))):
        within = Fraction()
        if bids and asks:
            mid = (exact(max(bids)) + exact(min(asks))) / 2
            within = sum((exact(s) for p, s in levels if abs(exact(p) - mid) <= mid * bps / 10_000), Fraction())
            # A crossed book has levels beyond the mid price; a walk from the best stops at the first that is too far.
            if book.is_crossed:
                continue
        assert book.size_within(side, bps) == pytest.approx(float(within))
    on_bid = sum(exact(s) for _, s in down(bids)[:count])
    on_ask = sum(exact(s) for _, s in up(asks)[:count])
    expected = (on_bid - on_ask) / (on_bid + on_ask) if on_bid + on_ask else None
    assert book.imbalance(count) == (None if expected is None else pytest.approx(float(expected)))
    assert [pairs(side) for side in book.depth(count)] == [down(bids)[:count], up(asks)[:count]]


@pytest.mark.parametrize("size", [0.0, -1.0, nan, inf])
def test_only_a_real_size_can_be_filled(size: float) -> None:
    with pytest.raises(ValueError, match=r"^a size of .*: expected a positive, finite number$"):
        OrderBook().price_to_fill(Side.BUY, size)


GOOD = snapshot([(10.0, 1.0), (9.0, 2.0)], [(11.0, 1.0), (12.0, 2.0)], ts_event=5, ts_recv=7, last_update_id=3)
BAD_SIDES: list[Levels] = [
    [(nan, 1.0)],
    [(inf, 1.0)],
    [(-1.0, 1.0)],
    [(0.0, 1.0)],
    [(10.0, nan)],
    [(10.0, inf)],
    [(10.0, -1.0)],
    [(10.0, 1.0), (nan, 1.0), (9.0, 1.0)],
    [(10.0, 1.0), (10.0, 2.0)],
]


def both_shapes() -> list[OrderBook]:
    whole, by_level = OrderBook("A-B"), OrderBook("A-B")
    whole.apply_snapshot(GOOD)
    by_level.apply_snapshot(GOOD)
    by_level.apply_diff([(8.0, 1.0)], [(13.0, 1.0)])
    by_level.apply_diff([(8.0, 0.0)], [(13.0, 0.0)])
    return [whole, by_level]


def test_both_shapes_say_the_same() -> None:
    whole, by_level = both_shapes()
    assert state_of(whole) == state_of(by_level)


@pytest.mark.parametrize("bad", [*BAD_SIDES, [(9.0, 1.0), (10.0, 1.0), (11.0, 1.0), (8.0, 1.0)]])
@pytest.mark.parametrize("is_bid", [True, False])
def test_a_snapshot_that_is_no_book_is_refused_and_changes_nothing(bad: Levels, is_bid: bool) -> None:
    """Neither the bad side nor the good one, nor the times."""
    message = snapshot(bad, [(20.0, 5.0)]) if is_bid else snapshot([(1.0, 5.0)], bad)
    for book in both_shapes():
        before = state_of(book)
        with pytest.raises(BookError):
            book.apply_snapshot(message)
        assert state_of(book) == before


@pytest.mark.parametrize("bad", [side[0] for side in BAD_SIDES[:7]])
@pytest.mark.parametrize("is_bid", [True, False])
def test_a_quote_that_is_no_quote_is_refused_and_changes_nothing(bad: tuple[float, float], is_bid: bool) -> None:
    message = quote(bad, (20.0, 5.0)) if is_bid else quote((1.0, 5.0), bad)
    for book in both_shapes():
        before = state_of(book)
        with pytest.raises(BookError):
            book.apply_quote(message)
        assert state_of(book) == before


@pytest.mark.parametrize("bad", [side[0] for side in BAD_SIDES[:7]])
def test_a_bad_level_of_a_diff_is_refused(bad: tuple[float, float]) -> None:
    for book in both_shapes():
        before = state_of(book)
        with pytest.raises(BookError):
            book.apply_diff([], [bad])
        with pytest.raises(BookError):
            book.apply_diff_message(diff([bad], []))
        assert state_of(book) == before


@pytest.mark.parametrize(
    "columns",
    [((1.0,), (), ()), ((2.0, 1.0), (1.0,), ()), ((2.0, 1.0), (1.0, 1.0), (1,))],
)
def test_columns_of_different_lengths_are_no_side(
    columns: tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]],
) -> None:
    with pytest.raises(BookError, match=r"^\d prices with \d sizes( and 1 counts)?: expected as many$"):
        check_levels(columns, is_bid=True)


def test_a_crossed_book_is_reported_not_hidden() -> None:
    book = OrderBook("A-B")
    book.apply_snapshot(snapshot([(11.0, 1.0)], [(10.0, 2.0)]))
    assert (book.is_crossed, book.spread, book.mid_price) == (True, -1.0, 10.5)
    assert [pairs(side) for side in book.depth()] == [[(11.0, 1.0)], [(10.0, 2.0)]]


def test_a_book_is_stale_until_its_first_snapshot_and_from_a_gap_to_the_next() -> None:
    book = OrderBook("A-B")
    assert (book.is_stale, book.stale_cause) == (True, "no snapshot yet")
    book.apply_snapshot(GOOD)
    assert (book.is_stale, book.stale_cause, book.staleness_ns(10)) == (False, "", 3)
    book.mark_stale("sequence")
    book.apply_diff_message(diff([(10.0, 9.0)], [], ts_recv=9))
    assert (book.is_stale, book.stale_cause) == (True, "sequence")
    assert book.bids.size_at(10.0) == 9.0
    book.apply_snapshot(GOOD)
    assert not book.is_stale


def test_times_and_numbers_are_those_of_the_newest_update() -> None:
    """An update without a time or number of its own leaves the last known."""
    book = OrderBook("A-B")
    book.apply_snapshot(GOOD)
    book.apply_diff([(10.0, 2.0)], [], update_id=4)
    assert (book.ts_event, book.ts_recv, book.update_id) == (5, 7, 4)
    book.apply_quote(quote((10.0, 3.0), (11.0, 1.0), ts_recv=8))
    assert (book.ts_event, book.ts_recv, book.update_id) == (5, 8, 4)


def test_counts_are_kept_where_every_level_has_one() -> None:
    book = OrderBook("A-B")
    book.apply_snapshot(snapshot([(10.0, 1.0), (9.0, 2.0)], [], bid_counts=(4, 5)))
    assert book.best_bid == OrderBookEntry(10.0, 1.0, 4)
    book.apply_quote(quote((9.5, 1.0), None, bid_count=7))
    assert book.bids.columns() == ((9.5, 9.0), (1.0, 2.0), (7, 5))
    book.bids.set_level(9.5, 3.0)
    assert [level.order_count for level in book.bids] == [None, 5]
    book.bids.set_level(9.5, 3.0, 8)
    assert book.best_bid == OrderBookEntry(9.5, 3.0, 8)
    book.bids.set_level(9.5, 0.0)
    book.bids.set_level(9.5, 3.0)
    assert book.best_bid == OrderBookEntry(9.5, 3.0, None)
    assert book.bids.columns()[2] == ()


def test_a_diff_says_how_many_orders_there_are_or_that_nobody_knows() -> None:
    book = OrderBook("A-B")
    book.apply_snapshot(snapshot([(10.0, 1.0), (9.0, 2.0)], [(11.0, 1.0)], bid_counts=(4, 5), ask_counts=(6,)))
    book.apply_diff_message(diff([(10.0, 2.0)], [(11.0, 2.0), (12.0, 1.0)], ask_counts=(8, 3)))
    assert [level.order_count for level in (*book.bids, *book.asks)] == [None, 5, 8, 3]
    with pytest.raises(BookError, match="2 prices with 2 sizes and 1 counts"):
        book.apply_diff_message(diff([(10.0, 2.0), (9.0, 1.0)], [], bid_counts=(8,)))
    assert [level.order_count for level in book.bids] == [None, 5]


def test_a_snapshot_that_is_refused_leaves_counts_that_only_some_levels_have() -> None:
    book = OrderBook("A-B")
    book.apply_snapshot(snapshot([(10.0, 1.0)], [], bid_counts=(4,)))
    book.apply_quote(quote((11.0, 1.0), None))
    with pytest.raises(BookError):
        book.apply_snapshot(snapshot([(12.0, 1.0)], [(13.0, nan)]))
    assert [level.order_count for level in book.bids] == [None, 4]


def test_a_new_book_says_that_there_is_nothing() -> None:
    book = OrderBook()
    empty: BookState = state_of(book)
    assert empty == BookState(((), (), ()), ((), (), ()), None, 0, None, True, "no snapshot yet")
    assert (book.size_within(Side.BUY, 10), book.price_to_fill(Side.SELL, 1.0), book.imbalance()) == (0.0, None, None)


# -- levels that hold nothing --------------------------------------------------------------------------------------


def test_a_level_of_size_zero_is_no_level() -> None:
    """In a snapshot at the best price, in the middle and at the end; with its count it goes."""
    book = OrderBook("A-B")
    book.apply_snapshot(
        snapshot(
            [(10.0, 0.0), (9.0, 1.0), (8.0, 0.0), (7.0, 2.0)], [(11.0, 0.0)], bid_counts=(0, 3, 0, 1), ask_counts=(0,)
        )
    )
    assert book.bids.columns() == ((9.0, 7.0), (1.0, 2.0), (3, 1))
    assert book.asks.columns() == ((), (), ())


def test_a_level_of_size_zero_in_a_shallow_snapshot_takes_only_itself_away() -> None:
    side = BookSide(is_bid=True)
    side.replace(((10.0, 9.0, 8.0, 7.0), (1.0, 1.0, 1.0, 1.0), ()))
    side.overlay(((10.0, 8.5), (2.0, 0.0), ()), complete=False)
    assert side.columns() == ((10.0, 8.0, 7.0), (2.0, 1.0, 1.0), ())
    side.overlay(((9.0, 8.0), (0.0, 3.0), ()), complete=True)
    assert side.columns() == ((8.0,), (3.0,), ())


def test_a_quote_of_size_zero_says_that_nothing_is_at_that_price() -> None:
    book = OrderBook("A-B")
    book.apply_snapshot(snapshot([(10.0, 1.0), (9.0, 1.0)], [(11.0, 1.0), (12.0, 1.0)]))
    book.apply_quote(quote((10.0, 0.0), (11.0, 5.0)))
    assert (book.bids.best_price, book.asks.best_price) == (9.0, 11.0)


def test_a_quote_leaves_a_side_that_it_does_not_speak_of() -> None:
    book = OrderBook("A-B")
    book.apply_snapshot(snapshot([(10.0, 1.0)], [(11.0, 1.0), (12.0, 1.0)]))
    book.apply_quote(quote((10.5, 1.0), None, ask_count=SIDE_NOT_TOLD))
    assert book.bids.columns()[0] == (10.5, 10.0)
    assert book.asks.columns()[0] == (11.0, 12.0)
    book.apply_quote(quote(None, (11.5, 1.0), bid_count=SIDE_NOT_TOLD))
    assert (book.bids.best_price, book.asks.columns()[0]) == (10.5, (11.5, 12.0))
    book.apply_quote(quote(None, (11.5, 1.0)))
    assert book.bids.best_price is None


def test_a_side_may_be_given_by_name() -> None:
    """A text is not the member that it equals: taken for "not buy", it would walk the other side."""
    book = OrderBook("A-B")
    book.apply_snapshot(snapshot([(9.0, 1.0)], [(11.0, 1.0)]))
    assert [book.price_to_fill(side, 1.0) for side in ("buy", Side.BUY, "sell", Side.SELL)] == [11.0, 11.0, 9.0, 9.0]
    with pytest.raises(ValueError, match="'up' is not a valid Side"):
        book.price_to_fill("up", 1.0)


def test_the_best_level_is_the_first_one_after_every_change() -> None:
    rng = random.Random(7)
    for is_bid in (True, False):
        side = BookSide(is_bid=is_bid)
        for _ in range(300):
            price, size = float(rng.randrange(1, 9)), float(rng.choice([0, 0, 1, 2]))
            counts = (rng.randrange(1, 5),) if rng.random() < 0.3 else ()
            side.set_levels(((price,), (size,), counts))
            assert side.best == next(iter(side), None)
            assert side.best_price == (None if side.best is None else side.best.price)
