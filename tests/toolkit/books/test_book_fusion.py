"""The fused book against one that sorts every message by the written rule and applies all of them from scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.recording import Recording
from tests.tapes import SECOND, Levels, diff, import_files, quote, snapshot, state_of
from toolkit.books import book_fusion
from toolkit.books.book_fusion import KEPT_MAX, LATE_NS_MAX, ROUND, BookFusion, FusionState
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker
from toolkit.errors import BookError
from toolkit.messages import SIDE_NOT_TOLD, BestQuote, BookDiff, BookSnapshot, Trade

DEEP, SHALLOW = 6, 3
T0 = 1_785_000_000_000_000_000

PRICES = st.integers(1, 20).map(float)
SIZES = st.integers(1, 9).map(float)
QUOTES = st.one_of(st.none(), st.tuples(PRICES, SIZES))
#: A few times only, a nanosecond apart, so that equal ones are common.
TIMES = st.integers(0, 6).map(lambda ns: T0 + ns)


def levels(is_bid: bool, most: int) -> st.SearchStrategy[Levels]:
    return st.dictionaries(PRICES, SIZES, max_size=most).map(lambda side: sorted(side.items(), reverse=is_bid))


def snapshots(form: str, cap: int) -> st.SearchStrategy[BookSnapshot]:
    def build(bids: Levels, asks: Levels, time: int) -> BookSnapshot:
        return snapshot(bids, asks, form=form, depth_cap=cap, ts_event=time)

    return st.builds(build, levels(True, cap), levels(False, cap), TIMES)


MESSAGES = st.one_of(
    snapshots("full", DEEP),
    snapshots("fast", SHALLOW),
    st.builds(lambda bid, ask, time: quote(bid, ask, ts_event=time), QUOTES, QUOTES, TIMES),
)


def cap_of(message: BookSnapshot | BestQuote) -> int:
    return (message.depth_cap or 0) if isinstance(message, BookSnapshot) else 0


def eras_of(messages: list[BookSnapshot | BestQuote]) -> list[list[BookSnapshot | BestQuote]]:
    """The messages as they came, cut before each whose form has told a later time before."""
    eras: list[list[BookSnapshot | BestQuote]] = [[]]
    told: dict[str, int] = {}
    for message in messages:
        time = message.ts_event or 0
        if time < told.get(message.form, 0):
            eras.append([])
        told[message.form] = time
        eras[-1].append(message)
    return eras


class Reference:
    """The rules at the top of `toolkit/books/book_fusion.py`, one after the other."""

    def __init__(self, messages: list[BookSnapshot | BestQuote]) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        deepest = max(map(cap_of, messages), default=0)
        for era in eras_of(messages):
            for message in sorted(era, key=lambda message: (message.ts_event, -cap_of(message))):
                for side, sign in ((self.bids, 1), (self.asks, -1)):
                    self._take(side, sign, message, deepest)

    def _take(self, side: dict[float, float], sign: int, message: BookSnapshot | BestQuote, deepest: int) -> None:
        if isinstance(message, BestQuote):
            price, size = (message.bid_price, message.bid_size) if sign > 0 else (message.ask_price, message.ask_size)
            new = {} if price is None or size is None else {price: size}
            replaces_all = not new
        else:
            columns = (message.bid_prices, message.bid_sizes) if sign > 0 else (message.ask_prices, message.ask_sizes)
            new = dict(zip(*columns, strict=True))
            replaces_all = cap_of(message) == deepest or len(new) < cap_of(message)
        worst = min((price * sign for price in new), default=0.0)
        for price in list(side):
            if replaces_all or price * sign >= worst:
                del side[price]
        side |= new


def fused(messages: list[BookSnapshot | BestQuote]) -> BookFusion:
    fusion = BookFusion("A-B")
    for message in messages:
        fusion.apply(message)
    return fusion


def sides(fusion: BookFusion) -> tuple[dict[float, float], dict[float, float]]:
    bids, asks = fusion.book.bids.columns(), fusion.book.asks.columns()
    return dict(zip(bids[0], bids[1], strict=True)), dict(zip(asks[0], asks[1], strict=True))


@given(st.lists(MESSAGES, max_size=14))
def test_the_result_is_that_of_all_messages_sorted_by_the_rule(messages: list[BookSnapshot | BestQuote]) -> None:
    """
    After every message, in whatever order they arrive; where a form goes back in time, that of receipt.

    Before the first message of the deepest form, a shallower one stands in for it, so the comparison begins there.
    """
    fusion = BookFusion("A-B")
    for count, message in enumerate(messages, start=1):
        fusion.apply(message)
        arrived = messages[:count]
        if any(cap_of(each) == DEEP for each in arrived):
            reference = Reference(arrived)
            assert sides(fusion) == (reference.bids, reference.asks)
            assert fusion.book.ts_event == max(each.ts_event or 0 for each in eras_of(arrived)[-1])
    assert fusion.late_count == 0


@given(st.lists(MESSAGES, max_size=10), st.lists(MESSAGES, max_size=6))
def test_a_restored_fusion_goes_on_like_the_one_it_was_taken_from(
    before: list[BookSnapshot | BestQuote], after: list[BookSnapshot | BestQuote]
) -> None:
    """Through the bytes of a checkpoint."""
    fusion = fused(before)
    fusion.mark_stale("fast", "silence")
    restored = BookFusion("A-B")
    restored.restore(
        msgspec.msgpack.decode(msgspec.msgpack.encode(fusion.export()), type=FusionState),
    )
    for message in after:
        fusion.apply(message)
        restored.apply(message)
        assert state_of(restored.book) == state_of(fusion.book)


FULL = snapshot([(10.0, 1.0), (9.0, 1.0), (8.0, 1.0)], [(11.0, 1.0), (12.0, 1.0)], ts_event=T0)


def _sized(side: Levels, is_empty_at: int | None) -> Levels:
    """Levels of which one holds nothing."""
    return [(price, 0.0 if place == is_empty_at else size) for place, (price, size) in enumerate(side)]


@st.composite
def _any_message(draw: st.DrawFn) -> BookSnapshot | BestQuote | BookDiff:
    """Whatever a protocol may make: without times or numbers, of sides that are not told, of levels that hold nothing."""
    time = draw(st.sampled_from([None, *range(7), LATE_NS_MAX + 9, 3 * LATE_NS_MAX]))
    fields: dict[str, Any] = {
        "ts_event": None if time is None else T0 + time,
        "ts_recv": draw(st.integers(1, 99)),
        "fused": draw(st.integers(0, 9)) > 0,
    }
    number = draw(st.sampled_from([None, None, None, 1, 2, 3]))
    if draw(st.booleans()):
        told = [draw(st.sampled_from([None, None, 3, SIDE_NOT_TOLD])) for _ in range(2)]
        tops = [draw(QUOTES) for _ in range(2)]
        bid, ask = ((top[0], draw(st.sampled_from([top[1], 0.0]))) if top is not None else None for top in tops)
        return quote(bid, ask, bid_count=told[0], ask_count=told[1], update_id=number, **fields)
    cap = draw(st.sampled_from([SHALLOW, DEEP, None]))
    sides = [draw(levels(is_bid, cap or DEEP)) for is_bid in (True, False)]
    if draw(st.integers(0, 14)) == 0:
        return diff(sides[0], sides[1], last_update_id=number, **_counts(draw, sides), **fields)
    empty = draw(st.sampled_from([None, None, 0, 1]))
    bids, asks = (_sized(side, empty) for side in sides)
    return snapshot(
        bids, asks, form=f"form {cap}", depth_cap=cap, last_update_id=number, **_counts(draw, sides), **fields
    )


def _counts(draw: st.DrawFn, sides: list[Levels]) -> dict[str, tuple[int, ...]]:
    """Numbers of orders, where they are counted."""
    names = [name for name in ("bid_counts", "ask_counts") if draw(st.booleans())]
    return {name: tuple(range(4, 4 + len(sides[name == "ask_counts"]))) for name in names}


def _read(book: OrderBook, what: int) -> object:
    """Something that a book is asked for, in each of the ways that there are."""
    sides = (book.bids, book.asks)
    ways: list[Callable[[], object]] = [
        lambda: state_of(book),
        lambda: [(side.best, side.best_price) for side in sides],
        lambda: [(len(side), side.has_counts) for side in sides],
        lambda: [(list(side.levels(2)), side.size_at(7.0)) for side in sides],
        lambda: [(side.head(), side.top_columns()[0][:1]) for side in sides],
        lambda: book.ts_event,
        lambda: book.ts_recv,
        lambda: book.update_id,
        lambda: (book.is_crossed, book.is_stale, book.stale_cause, book.spread),
        lambda: (book.depth(), repr(book)),
    ]
    return ways[what]()


@given(st.lists(st.tuples(_any_message(), st.sampled_from([None, None, *range(10)])), max_size=30))
def test_a_book_that_is_read_now_and_then_is_the_one_that_is_read_after_every_message(
    told: list[tuple[BookSnapshot | BestQuote | BookDiff, int | None]],
) -> None:
    """Whatever is asked for first, whatever lay between that nobody has looked at, and whichever way it was crossed."""
    with patch.multiple(book_fusion, ROUND=8, KEPT_MAX=3, _UNTIDY_MIN=4):
        read, unread = BookFusion("A-B", checked=True), BookFusion("A-B", checked=True)
        for message, what in told:
            read.apply(message)
            unread.apply(message)
            everything = state_of(read.book)
            assert unread.is_crossed() == read.book.is_crossed
            if what is not None:
                assert _read(unread.book, what) == _read(read.book, what)
                assert state_of(unread.book) == everything
        assert unread.late_count == read.late_count
        assert unread.export() == read.export()


@pytest.mark.parametrize("change", ["set_level", "replace", "set_best", "ts_recv", "set_levels", "overlay"])
def test_what_is_changed_by_hand_lies_over_what_the_book_had_not_taken_in_yet(change: str) -> None:
    """A book that is handed out can be changed: then it first becomes what it is by now."""
    fusion = fused([snapshot([(9.0, 1.0), (8.0, 2.0)], [(11.0, 1.0)], ts_event=T0, ts_recv=5)])
    side = fusion.book.bids
    if change == "set_level":
        side.set_level(8.0, 7.0)
        assert side.columns()[:2] == ((9.0, 8.0), (1.0, 7.0))
    elif change == "set_levels":
        side.set_levels(((8.0,), (0.0,), ()))
        assert side.columns()[:2] == ((9.0,), (1.0,))
    elif change == "replace":
        side.replace(((3.0,), (4.0,), ()))
        assert side.columns()[:2] == ((3.0,), (4.0,))
    elif change == "overlay":
        side.overlay(((9.5,), (4.0,), ()), complete=False)
        assert side.columns()[:2] == ((9.5, 9.0, 8.0), (4.0, 1.0, 2.0))
    elif change == "set_best":
        side.set_best(8.5, 4.0, None)
        assert side.columns()[:2] == ((8.5, 8.0), (4.0, 2.0))
    else:
        fusion.book.ts_recv = 77
        assert (fusion.book.ts_recv, fusion.book.ts_event) == (77, T0)


def test_a_quote_of_one_side_is_held_against_the_other_side_of_the_book() -> None:
    """What a quote does not tell is not read out of it, whatever price stands there."""
    fusion = fused([snapshot([(9.0, 1.0)], [(11.0, 1.0)], ts_event=T0)])
    fusion.apply(quote((9.5, 1.0), (9.0, 1.0), ask_count=SIDE_NOT_TOLD, ts_event=T0 + 1))
    assert not fusion.is_crossed()
    fusion.apply(quote((11.5, 1.0), (12.0, 1.0), ask_count=SIDE_NOT_TOLD, ts_event=T0 + 2))
    assert fusion.is_crossed()
    assert fusion.book.is_crossed


def test_a_message_that_a_newer_one_makes_void_is_never_taken_in() -> None:
    """What nobody reads costs nothing: of a thousand quotes of one price the book takes in the last."""
    fusion = fused([snapshot([(9.0, 1.0)], [(11.0, 1.0)], ts_event=T0)])
    assert fusion.book.best_bid is not None
    with patch.object(OrderBook, "apply_quote", autospec=True, side_effect=OrderBook.apply_quote) as taken:
        for size in range(1, 1001):
            fusion.apply(quote((9.0, float(size)), (11.0, 2.0), ts_event=T0 + size))
        assert fusion.book.bids.best_price == 9.0
        assert taken.call_count == 0, "the best level is known without the book"
        assert fusion.book.size_within("buy", 5000.0) == 1000.0
        assert taken.call_count == 1


def test_a_slower_form_does_not_overwrite_what_a_newer_one_said() -> None:
    """The full book of five seconds ago arrives after a quote of now: it fills in behind the quote."""
    late = snapshot([(10.0, 7.0), (9.0, 7.0)], [(11.0, 7.0), (13.0, 7.0)], ts_event=T0 + 1)
    book = fused([FULL, quote((9.0, 2.0), (12.0, 3.0), ts_event=T0 + 2), late]).book
    assert book.bids.columns()[:2] == ((9.0,), (2.0,))
    assert book.asks.columns()[:2] == ((12.0, 13.0), (3.0, 7.0))


def test_levels_that_a_newer_quote_has_passed_are_gone() -> None:
    book = fused([FULL, quote((8.0, 4.0), (11.5, 5.0), ts_event=T0 + 1)]).book
    assert book.bids.columns()[:2] == ((8.0,), (4.0,))
    assert book.asks.columns()[:2] == ((11.5, 12.0), (5.0, 1.0))


def test_what_lies_beyond_a_shallow_snapshot_stays_unless_the_snapshot_is_complete() -> None:
    shallow = snapshot([(9.5, 2.0), (9.2, 2.0)], [(11.0, 2.0)], form="fast", depth_cap=2, ts_event=T0 + 1)
    book = fused([FULL, shallow]).book
    assert book.bids.columns()[:2] == ((9.5, 9.2, 9.0, 8.0), (2.0, 2.0, 1.0, 1.0))
    assert book.asks.columns()[:2] == ((11.0,), (2.0,))


def test_a_message_without_a_time_is_the_newest() -> None:
    fusion = fused([FULL, quote((8.0, 1.0), None)])
    assert sides(fusion) == ({8.0: 1.0}, {})
    assert fusion.book.ts_event == T0


def test_times_a_nanosecond_apart_are_told_apart() -> None:
    """A float64 of today's time is 256 ns wide."""
    newer = quote((1.0, 1.0), None, ts_event=T0 + 1)
    older = snapshot([(2.0, 1.0)], [], form="fast", depth_cap=5, ts_event=T0)
    assert sides(fused([FULL, newer, older]))[0] == {1.0: 1.0}


# -- clocks that are set, and stamps that are wrong ----------------------------------------------------------------


def shallow(bid: float, ns: int) -> BookSnapshot:
    """A `fast` snapshot of one bid, so many ns after T0."""
    return snapshot([(bid, 1.0)], [(99.0, 1.0)], form="fast", depth_cap=5, ts_event=T0 + ns)


def test_a_quote_dated_ten_minutes_ahead_holds_until_the_next_message() -> None:
    """Whatever form that is of, and however far the stamp is ahead."""
    for ahead in (4, 20, 600, 86_400):
        for following in (quote((8.0, 2.0), (11.0, 1.0), ts_event=T0 + SECOND), shallow(8.0, SECOND)):
            fusion = fused([FULL, quote((9.0, 1.0), (11.0, 1.0), ts_event=T0 + ahead * SECOND), following])
            assert fusion.book.bids.best_price == 8.0
            fusion.apply(quote((7.0, 2.0), (11.0, 1.0), ts_event=T0 + 2 * SECOND))
            fusion.apply(shallow(6.5, 2 * SECOND + 1))
            assert (fusion.book.bids.best_price, fusion.book.ts_event) == (6.5, T0 + 2 * SECOND + 1)


def test_a_first_book_dated_ahead_holds_until_the_next_message() -> None:
    first = snapshot([(10.0, 1.0)], [(11.0, 1.0)], ts_event=T0 + 9 * SECOND)
    assert fused([first, shallow(8.0, 0)]).book.bids.best_price == 8.0
    assert fused([shallow(7.0, 9 * SECOND), FULL]).book.bids.best_price == 10.0


@pytest.mark.parametrize("back_s", [1, 5, 60, 3600])
def test_a_venue_whose_clock_went_back_is_followed_at_once(back_s: int) -> None:
    """As soon as any form shows it; what it said before is older, whatever its stamp says."""
    fusion = fused([FULL, shallow(9.5, SECOND), quote((9.7, 1.0), (11.0, 1.0), ts_event=T0 + SECOND)])
    for number in range(1, 30):
        now = T0 + (1 - back_s) * SECOND + number * SECOND // 10
        bid = 9.0 - number / 10
        fusion.apply(quote((bid, 1.0), (11.0, 1.0), ts_event=now) if number % 5 else shallow(bid, now - T0))
        assert fusion.book.bids.best_price == bid
    assert fusion.late_count == 0


def test_a_stamp_that_leaps_is_believed_when_the_next_message_is_near_it() -> None:
    """A market that was quiet for three minutes: the quote is newer than a full book half a second before it."""
    later = quote((8.0, 2.0), (12.0, 2.0), ts_event=T0 + 180 * SECOND)
    before = snapshot([(9.0, 1.0), (7.0, 1.0)], [(11.0, 1.0)], ts_event=T0 + 180 * SECOND - SECOND // 2)
    assert sides(fused([FULL, later, before])) == ({8.0: 2.0, 7.0: 1.0}, {12.0: 2.0})


def test_a_connection_that_is_seconds_behind_does_not_overwrite_the_others() -> None:
    """Its messages are in order among themselves, and late: the newer ones take effect again."""
    quotes = [quote((9.0, 1.0), (11.0, 1.0), ts_event=T0 + number * SECOND) for number in range(1, 13)]
    behind = [snapshot([(10.0, 1.0), (8.0, 1.0)], [(11.0, 1.0)], ts_event=T0 + number * SECOND) for number in (2, 7)]
    fusion = fused([FULL, *quotes, *behind])
    assert sides(fusion) == ({9.0: 1.0, 8.0: 1.0}, {11.0: 1.0})


def test_answers_that_overtake_each_other_are_put_in_their_place() -> None:
    """REST answers come on no connection that could keep their order."""
    first = snapshot([(9.0, 1.0)], [(11.0, 1.0)], form="rest", ts_event=T0 + 2)
    second = snapshot([(8.0, 1.0)], [(11.0, 1.0)], form="rest", ts_event=T0 + 1)
    assert fused([FULL, first, second]).book.bids.best_price == 9.0


def test_what_takes_no_part_changes_nothing() -> None:
    fusion = fused([FULL])
    before = state_of(fusion.book)
    fusion.apply(snapshot([(5.0, 1.0)], [], form="agg:2", fused=False, ts_event=T0 + 1))
    fusion.apply(quote((7.0, 1.0), None, fused=False, ts_event=T0 + 1))
    assert state_of(fusion.book) == before


def test_a_late_message_is_put_in_its_place_however_many_came_since() -> None:
    quotes = [quote((9.0, 1.0), (11.0, 1.0), ts_event=T0 + 10 + number) for number in range(3 * ROUND)]
    fusion = fused([FULL, *quotes])
    fusion.apply(snapshot([(10.0, 7.0), (9.0, 7.0), (4.0, 7.0)], [(11.0, 7.0)], ts_event=T0 + 9))
    assert (sides(fusion)[0], fusion.late_count) == ({9.0: 1.0, 4.0: 7.0}, 0)


def test_few_messages_are_kept_of_a_market_that_moves() -> None:
    """A level that one settled and no newer one did is a reason to keep it; a quote at a price that others pass is none."""
    fusion = fused([FULL])
    for number in range(5_000):
        price = 50.0 + number % 7
        fusion.apply(quote((price, 1.0), (price + 1, 1.0), ts_event=T0 + number))
        if number % 40 == 0:
            columns = (
                [(price - step, 1.0) for step in range(DEEP)],
                [(price + step, 1.0) for step in range(1, DEEP + 1)],
            )
            fusion.apply(snapshot(*columns, form="fast", depth_cap=DEEP, ts_event=T0 + number))
    state = fusion.export()
    assert len(state.recent) < 20
    assert fusion.late_count == 0


def test_a_price_that_runs_one_way_without_end_is_kept_up_to_a_bound() -> None:
    """Though its venue's clock stands still. What is older than one that was given up is left out, and counted."""
    count = 2 * ROUND
    quotes = [quote((100.0 + number, 1.0), (1e6, 1.0), ts_event=T0 + 10 + number // 64) for number in range(count)]
    fusion = fused([FULL, *quotes])
    assert KEPT_MAX <= len(fusion.export().recent) < KEPT_MAX + ROUND
    before = state_of(fusion.book)
    fusion.apply(snapshot([(7.0, 1.0)], [(12.0, 1.0)], ts_event=T0 + 9))
    assert (state_of(fusion.book), fusion.late_count) == (before, 1)
    fusion.apply(quote((7.0, 1.0), (2e6, 1.0), ts_event=T0 + 10 + count // 64))
    assert (fusion.book.bids.best_price, fusion.late_count) == (7.0, 1)


class KeepsAll(BookFusion):
    """Lets go of nothing."""

    __slots__ = ()

    def _tidy(self) -> None:
        self._untidy_at += 1_000


#: Also some that no connection is late by, that leap ahead, and none at all.
FAR_TIMES = st.one_of(st.none(), TIMES, st.sampled_from((1, 2, 5, 29, 30, 31, 40, 70)).map(lambda s: T0 + s * SECOND))
FAR_MESSAGES = st.one_of(
    MESSAGES, st.builds(lambda message, ts: msgspec.structs.replace(message, ts_event=ts), MESSAGES, FAR_TIMES)
)


@given(st.lists(st.tuples(FAR_MESSAGES, st.booleans()), max_size=24))
def test_nothing_that_was_let_go_of_is_missed(told: list[tuple[BookSnapshot | BestQuote, bool]]) -> None:
    """Whenever it was; and what is kept in the end is the same."""
    keeps, now_and_then, at_once = KeepsAll("A-B"), BookFusion("A-B"), BookFusion("A-B")
    for message, is_time in told:
        for fusion in (keeps, now_and_then, at_once):
            fusion.apply(message)
        at_once.export()
        if is_time:
            state = now_and_then.export()
            now_and_then = BookFusion("A-B")
            now_and_then.restore(state)
        assert state_of(now_and_then.book) == state_of(at_once.book) == state_of(keeps.book)
    BookFusion._tidy(keeps)
    assert now_and_then.export() == at_once.export() == keeps.export()


@given(st.lists(FAR_MESSAGES, max_size=30), st.data())
def test_what_is_given_up_does_not_depend_on_when_states_are_taken(
    told: list[BookSnapshot | BestQuote], data: st.DataObject
) -> None:
    """At bounds as small as a test can reach."""
    with patch.multiple(book_fusion, ROUND=6, KEPT_MAX=2):
        alone, looked_at = BookFusion("A-B"), BookFusion("A-B")
        for message in told:
            alone.apply(message)
            looked_at.apply(message)
            if data.draw(st.booleans()):
                state = looked_at.export()
                looked_at.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=FusionState))
            assert state_of(alone.book) == state_of(looked_at.book)
        assert alone.export() == looked_at.export()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "bad",
    [
        snapshot([(float("nan"), 1.0)], [], ts_event=T0 + 3),
        snapshot([(5.0, 1.0)], [(6.0, -1.0)], ts_event=T0 + 3),
        snapshot([(5.0, 1.0)], [(6.0, 1.0), (5.5, 1.0)], form="fast", depth_cap=2, ts_event=T0 + 3),
        quote((5.0, 1.0), (float("inf"), 1.0), ts_event=T0 + 3),
    ],
)
def test_what_is_no_book_is_refused_and_changes_nothing(bad: BookSnapshot | BestQuote, late: bool) -> None:
    """Nor does a second message find half of it."""
    newest = quote((9.0, 2.0), (11.0, 2.0), ts_event=T0 + 4 if late else T0 + 1)
    fusion = fused([FULL, newest])
    before = state_of(fusion.book)
    with pytest.raises(BookError):
        fusion.apply(bad)
    assert state_of(fusion.book) == before
    fusion.apply(quote((8.0, 1.0), (12.0, 1.0), ts_event=T0 + 2))
    expected = fused([FULL, newest, quote((8.0, 1.0), (12.0, 1.0), ts_event=T0 + 2)])
    assert state_of(fusion.book) == state_of(expected.book)


def test_the_book_is_stale_from_a_gap_until_that_forms_next_message() -> None:
    fusion = BookFusion("A-B")
    fusion.apply(quote((9.0, 1.0), None, ts_event=T0))
    assert fusion.book.is_stale  # a quote alone is no book
    fusion.apply(FULL)
    assert not fusion.book.is_stale
    fusion.mark_stale("full", "disconnect")
    fusion.mark_stale("fast", "silence")
    for message in (
        quote((9.0, 1.0), (11.0, 1.0), ts_event=T0 + 1),
        snapshot([(9.0, 1.0)], [], form="fast", depth_cap=2, ts_event=T0 + 2),
    ):
        fusion.apply(message)
        assert (fusion.book.is_stale, fusion.book.stale_cause) == (True, "disconnect")
    fusion.apply(FULL)
    assert (fusion.book.is_stale, fusion.book.stale_cause) == (False, "")


def test_a_snapshot_stands_in_for_a_lost_quote() -> None:
    """A quote may be silent for long without being lost."""
    fusion = fused([FULL])
    fusion.mark_stale("bbo", "disconnect")
    assert fusion.book.is_stale
    fusion.apply(FULL)
    assert not fusion.book.is_stale


def test_a_venue_of_diffs_has_one_form_and_arrival_is_its_order() -> None:
    fusion = fused([snapshot([(10.0, 1.0)], [(11.0, 1.0)], depth_cap=None, ts_event=T0 + 5)])
    fusion.apply(diff([(10.0, 0.0), (9.0, 1.0)], [], ts_event=T0 + 1))
    assert sides(fusion) == ({9.0: 1.0}, {11.0: 1.0})


# -- the capture of outcome markets ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = shared_data / "hyperliquid" / "outcome_markets_2026"
    files = [folder / f"ws_{name}.jsonl" for name in ("l2book", "bbo", "trades")]
    return import_files(tmp_path_factory.mktemp("outcomes") / "tape", *files, line_format="jsonl")


def mirrored(side: tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]) -> list[tuple[float, float, int]]:
    return [(1 - price, size, count) for price, size, count in zip(*side, strict=True)]


def test_books_of_outcome_pairs_mirror_each_other_at_equal_times(outcomes: Recording) -> None:
    """Price p on one is 1 - p on the other, of the same size and number of orders, after every message."""
    tracker = OrderBookTracker()
    compared: Counter[str] = Counter()
    for batch in outcomes.messages():
        for message in batch:
            tracker.apply(message)
            twin = message.symbol[:-1] + {"0": "1", "1": "0"}.get(message.symbol[-1:], "")
            if not isinstance(message, BookSnapshot) or twin not in tracker.trading_pairs:
                continue
            book, other = tracker.book(message.symbol), tracker.book(twin)
            if book.ts_event != other.ts_event:
                continue
            for side, opposite in ((book.bids, other.asks), (book.asks, other.bids)):
                ours = list(zip(*side.columns(), strict=True))
                theirs = mirrored(opposite.columns())
                assert [level[1:] for level in ours] == [level[1:] for level in theirs]
                assert [level[0] for level in ours] == pytest.approx([level[0] for level in theirs], abs=1e-12)
            compared[min(message.symbol, twin)] += 1
    assert len(compared) == 3
    assert sum(compared.values()) > 1400


def test_quotes_of_outcomes_are_not_fused(outcomes: Recording) -> None:
    """They speak of the orders on the coin itself, its book of those on both coins."""
    tracker = OrderBookTracker()
    kept: Counter[str] = Counter()
    for batch in outcomes.messages():
        for message in batch:
            before = state_of(tracker.book(message.symbol)) if message.symbol in tracker.trading_pairs else None
            book = tracker.apply(message)
            kept[type(message).__name__] += 1
            if isinstance(message, BestQuote):
                assert (message.fused, book) == (False, None)
                if before is not None:
                    assert state_of(tracker.book(message.symbol)) == before
                alone = tracker.book(message.symbol, "bbo")
                assert (alone.bids.best_price, alone.asks.best_price) == (message.bid_price, message.ask_price)
            elif isinstance(message, BookSnapshot):
                assert state_of(tracker.book(message.symbol))[:3] == state_of(tracker.book(message.symbol, "fast"))[:3]
                assert not tracker.book(message.symbol).is_crossed
    assert (kept["BestQuote"], kept["BookSnapshot"]) == (3000, 3000)
    assert kept[Trade.__name__] > 3000
    assert (tracker.crossed_count, tracker.refused_count) == ({}, {})
