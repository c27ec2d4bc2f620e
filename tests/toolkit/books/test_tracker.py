"""The books of many pairs, kept from one stream of messages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.tapes import VENUE, diff, quote, snapshot, state_of
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker, TrackerState
from toolkit.errors import SymbolError
from toolkit.messages import EventKind, FundingInfo, Instrument, InstrumentKind, Message, StreamEvent

FULL = snapshot([(10.0, 1.0), (9.0, 1.0)], [(11.0, 1.0)], ts_event=1)
FAST = snapshot([(10.0, 2.0)], [(11.0, 2.0)], form="fast", depth_cap=1, ts_event=2)
QUOTE = quote((10.0, 3.0), (11.0, 3.0), ts_event=3)
COARSE = snapshot([(9.9, 5.0)], [(11.1, 5.0)], form="agg:2", fused=False, ts_event=4)


def event(stream: str, kind: EventKind = EventKind.STALE, pair: str = "A-B") -> StreamEvent:
    symbol = pair.partition("-")[0]
    return StreamEvent("hyperliquid", symbol, pair, None, 9, 9, 0, kind, stream, "silence")


def funding(rate: float, venue: str = "hyperliquid") -> FundingInfo:
    return FundingInfo(venue, "A", "A-B", None, 0, 0, 0, funding_rate=rate)


def tracked(*messages: Message) -> OrderBookTracker:
    tracker = OrderBookTracker()
    for message in messages:
        tracker(message)
    return tracker


def bids(book: OrderBook) -> dict[float, float]:
    prices, sizes, _ = book.bids.columns()
    return dict(zip(prices, sizes, strict=True))


def test_each_form_stays_available_alone() -> None:
    tracker = tracked(FULL, FAST, QUOTE, COARSE)
    assert bids(tracker.book("A-B")) == {10.0: 3.0, 9.0: 1.0}
    assert bids(tracker.book("A-B", "full")) == {10.0: 1.0, 9.0: 1.0}
    assert bids(tracker.book("A-B", "fast")) == {10.0: 2.0}
    assert bids(tracker.book("A-B", "bbo")) == {10.0: 3.0}
    assert bids(tracker.book("A-B", "agg:2")) == {9.9: 5.0}
    assert not any(tracker.book("A-B", form).is_stale for form in (None, "full", "fast", "bbo", "agg:2"))


def test_a_book_with_diffs_is_its_form() -> None:
    tracker = tracked(FULL, diff([(10.0, 0.0)], []))
    assert bids(tracker.book("A-B")) == bids(tracker.book("A-B", "full")) == {9.0: 1.0}


def test_diffs_that_take_no_part_have_a_book_of_their_own() -> None:
    plain = {"form": "raw", "fused": False}
    tracker = tracked(FULL, snapshot([(5.0, 1.0)], [], **plain), diff([(4.0, 1.0)], [], **plain))
    assert bids(tracker.book("A-B", "raw")) == {5.0: 1.0, 4.0: 1.0}
    assert bids(tracker.book("A-B")) == {10.0: 1.0, 9.0: 1.0}
    tracker.apply(event("raw"))
    assert (tracker.book("A-B", "raw").is_stale, tracker.book("A-B").is_stale) == (True, False)
    tracker.apply(snapshot([(3.0, 1.0)], [], **plain))
    assert (bids(tracker.book("A-B", "raw")), tracker.book("A-B", "raw").is_stale) == ({3.0: 1.0}, False)


def test_a_lost_form_is_stale_alone_and_makes_the_fused_book_stale() -> None:
    """Until that form speaks again; the others alone are as good as before."""
    tracker = tracked(FULL, FAST, QUOTE, event("fast"))
    assert (tracker.book("A-B").is_stale, tracker.book("A-B").stale_cause) == (True, "silence")
    assert (tracker.book("A-B", "fast").is_stale, tracker.book("A-B", "full").is_stale) == (True, False)
    tracker.apply(FAST)
    assert (tracker.book("A-B").is_stale, tracker.book("A-B", "fast").is_stale) == (False, False)


def test_a_lost_quote_that_is_no_part_of_the_book_holds_again_with_the_next() -> None:
    apart = quote((1.0, 1.0), (2.0, 1.0), fused=False)
    tracker = tracked(FULL, apart, event("bbo"))
    assert (tracker.book("A-B").is_stale, tracker.book("A-B", "bbo").is_stale) == (False, True)
    tracker.apply(apart)
    assert not tracker.book("A-B", "bbo").is_stale


@pytest.mark.parametrize("stream", ["trades", "funding", "agg:2", "liquidations", "fast"])
def test_a_stream_that_the_book_does_not_rest_on_leaves_it_good(stream: str) -> None:
    """Nor does a form that has never spoken: nothing in the book came from it."""
    tracker = tracked(FULL, COARSE)
    assert tracker.apply(event(stream)) is None
    assert not tracker.book("A-B").is_stale


def test_other_events_leave_the_book_good() -> None:
    tracker = tracked(FULL)
    for kind in EventKind:
        if kind is not EventKind.STALE:
            assert tracker.apply(event("full", kind)) is None
    assert not tracker.book("A-B").is_stale


@pytest.mark.parametrize(
    "bad",
    [
        snapshot([(float("nan"), 1.0)], []),
        snapshot([(1.0, 1.0), (2.0, 1.0)], []),
        quote((10.0, -1.0), None),
        diff([(10.0, float("inf"))], []),
        snapshot([(1.0, -1.0)], [], form="raw", fused=False),
    ],
)
def test_what_no_book_can_take_is_counted_and_makes_the_book_stale(bad: Any) -> None:
    tracker = tracked(FULL)
    book = tracker.apply(bad)
    if bad.fused:
        assert book is tracker.book("A-B")
        assert (tracker.refused_count, tracker.book("A-B").is_stale) == ({(VENUE, "A-B"): 1}, True)
        assert tracker.last_refusal.startswith(f"A-B on {VENUE} {bad.form} at frame 0: ")
        tracker.apply(FULL)
        assert not tracker.book("A-B").is_stale
    else:
        assert bids(tracker.book("A-B")) == bids(tracked(FULL).book("A-B"))


def test_crossed_books_are_counted() -> None:
    tracker = tracked(FULL, quote((12.0, 1.0), (11.0, 1.0)), QUOTE)
    assert tracker.crossed_count == {(VENUE, "A-B"): 1}


def test_listeners_hear_each_message_with_the_book_it_changed() -> None:
    heard: list[tuple[Message, OrderBook | None]] = []
    tracker = OrderBookTracker()
    tracker.add_listener(lambda message, book: heard.append((message, book)))
    for message in (FULL, COARSE, funding(1.0)):
        tracker(message)
    assert heard == [(FULL, tracker.book("A-B")), (COARSE, None), (funding(1.0), None)]


def test_what_is_unknown_is_said_with_what_is_known() -> None:
    tracker = OrderBookTracker()
    with pytest.raises(SymbolError, match=r"^no book of 'A-B'; pairs received: none yet$"):
        tracker.book("A-B")
    tracker.apply(FULL)
    with pytest.raises(SymbolError, match=r"^no book of 'X'; pairs received: A-B$"):
        tracker.book("X")
    with pytest.raises(SymbolError, match=r"^no form 'fast' of A-B; forms received: full$"):
        tracker.book("A-B", "fast")


def test_one_pair_of_two_venues_is_two_books() -> None:
    tracker = tracked(FULL, snapshot([(1.0, 1.0)], [], venue="other"), funding(1.0), funding(2.0, "other"))
    with pytest.raises(SymbolError, match=r"^A-B is a pair of hyperliquid, other: say which venue$"):
        tracker.book("A-B")
    assert bids(tracker.book("A-B", venue="other")) == {1.0: 1.0}
    info = tracker.funding_info("A-B", venue="hyperliquid")
    assert (info and info.funding_rate, tracker.trading_pairs) == (1.0, ["A-B", "A-B"])
    assert tracker.keys == [("hyperliquid", "A-B"), ("other", "A-B")]


def test_a_key_is_enough_and_two_that_contradict_are_an_error() -> None:
    """A message's key, a book's, and a plain tuple say all; with another venue beside it nothing is chosen."""
    theirs = snapshot([(1.0, 1.0)], [], venue="other")
    tracker = tracked(FULL, theirs, funding(2.0, "other"))
    book = tracker.book(theirs.key)
    assert (bids(book), book.key, tracker.book(theirs.key, "full").key) == ({1.0: 1.0}, theirs.key, theirs.key)
    assert tracker.book(("other", "A-B")) is tracker.book(theirs.key, venue="other") is book
    assert tracker.funding_info(theirs.key) == funding(2.0, "other")
    with pytest.raises(SymbolError, match=r"^A-B is asked for on other and on hyperliquid: say one venue$"):
        tracker.book(theirs.key, venue="hyperliquid")
    with pytest.raises(
        SymbolError, match=r"^no book of 'A-B' on third; pairs received: A-B on hyperliquid, A-B on other$"
    ):
        tracker.book("A-B", venue="third")


def test_a_name_that_is_announced_of_two_venues_is_never_one_of_them() -> None:
    """Whichever speaks first: a name is ambiguous from the beginning, also after everything was forgotten."""
    tracker = OrderBookTracker()
    tracker.announce([("hyperliquid", "A-B"), ("other", "A-B")])
    for _ in range(2):
        tracker.apply(FULL)
        for ask in (tracker.book, tracker.funding_info, tracker.instrument):
            with pytest.raises(SymbolError, match=r"^A-B is a pair of hyperliquid, other: say which venue$"):
                ask("A-B")
        assert bids(tracker.book(FULL.key)) == bids(tracked(FULL).book("A-B"))
        tracker.clear()


def test_books_that_are_restored_are_known_by_their_venues() -> None:
    state = tracked(FULL, snapshot([(1.0, 1.0)], [], venue="other"), funding(2.0, "third")).export()
    tracker = OrderBookTracker()
    tracker.restore(state)
    assert [tracker.book(key).key for key in tracker.keys] == tracker.keys == [(VENUE, "A-B"), ("other", "A-B")]
    with pytest.raises(SymbolError, match=r"^A-B is a pair of hyperliquid, other, third: say which venue$"):
        tracker.book("A-B")


def test_crossed_and_refused_books_are_counted_by_venue() -> None:
    crossing = quote((12.0, 1.0), (11.0, 1.0), venue="other")
    bad = quote((float("nan"), 1.0), None, venue="other")
    tracker = tracked(FULL, quote((12.0, 1.0), (11.0, 1.0)), crossing, crossing, bad)
    assert tracker.crossed_count == {(VENUE, "A-B"): 1, ("other", "A-B"): 2}
    assert tracker.refused_count == {("other", "A-B"): 1}


def test_the_newest_funding_and_metadata_are_kept() -> None:
    described = Instrument("hyperliquid", "A", "A-B", None, 0, 0, 0, InstrumentKind.SPOT, "A", "B", "B")
    tracker = tracked(funding(1.0), funding(2.0), described)
    info = tracker.funding_info("A-B")
    assert (info and info.funding_rate, tracker.instrument("A-B")) == (2.0, described)
    assert (tracker.funding_info("X"), tracker.instrument("X")) == (None, None)


def test_a_restored_tracker_goes_on_like_the_one_it_was_taken_from() -> None:
    """Wherever it is cut, through the bytes of a checkpoint, for every form alone too."""
    raw = {"form": "raw", "fused": False}
    stream: list[Message] = [
        funding(1.0), FULL, FAST, COARSE, snapshot([(5.0, 1.0)], [], **raw), diff([(4.0, 1.0)], [], **raw),
        event("fast"), QUOTE, diff([(9.0, 0.0)], [], last_update_id=4), event("raw"), FAST, snapshot([(2.0, 1.0)], [], **raw),
        quote((8.0, 1.0), None, ts_event=2), FULL, event("full", pair="C-D"), snapshot(trading_pair="C-D"),
    ]  # fmt: skip
    for cut in range(len(stream)):
        whole, restored = OrderBookTracker(), OrderBookTracker()
        for message in stream[:cut]:
            whole.apply(message)
        restored.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(whole.export()), type=TrackerState))
        for message in stream[cut:]:
            for tracker in (whole, restored):
                tracker.apply(message)
            for form in (None, "full", "fast", "bbo", "agg:2", "raw"):
                books = []
                for tracker in (whole, restored):
                    try:
                        books.append(state_of(tracker.book("A-B", form))[:2] + state_of(tracker.book("A-B", form))[5:])
                    except SymbolError as exc:
                        books.append(str(exc))  # type: ignore[arg-type]
                assert books[0] == books[1]
        assert restored.funding_info("A-B") == whole.funding_info("A-B")


def test_a_settled_rate_does_not_hide_the_present_mark_price() -> None:
    """The history of funding may be answered after the first context has come."""
    from toolkit.messages import FundingInfo, FundingKind

    tracker = OrderBookTracker()
    current = FundingInfo("v", "A", "A-B", None, 1, 0, 0, mark_price=10.0)
    settled = FundingInfo("v", "A", "A-B", 1, 2, 1, 0, FundingKind.SETTLED, funding_rate=0.1)
    tracker(settled)
    assert tracker.funding_info("A-B") is settled
    tracker(current)
    tracker(settled)
    assert tracker.funding_info("A-B") is current
