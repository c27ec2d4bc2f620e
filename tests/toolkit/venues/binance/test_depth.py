"""The venue's rules for joining diffs to a snapshot, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.toolkit.venues.binance_harness import (
    MS,
    Session,
    events,
    listed,
    shapes,
    snapshot,
    spot_diff,
    usdm_diff,
)
from toolkit.messages import BookDiff, BookSnapshot, EventKind, Message
from toolkit.protocol import RestCall

DEPTH = "btcusdt@depth@100ms"


def spot() -> Session:
    return Session("binance-spot")


def usdm() -> Session:
    return Session("binance-usdm")


def diffs(messages: list[Message]) -> list[tuple[str, int | None]]:
    return [(m.form, m.last_update_id) for m in messages if isinstance(m, BookDiff)]


# -- where a snapshot and the diffs meet -----------------------------------------------------------------------


def test_spot_drops_what_the_snapshot_has_and_says_the_rest_again() -> None:
    session = spot()
    for first, last in ((1, 10), (11, 20), (21, 30)):
        messages = session.stream(DEPTH, spot_diff(first, last, [[str(90 + last / 10), "2"]]))
        assert diffs(messages) == [("unjoined", last)]
    messages = session.feed(snapshot(20))
    assert shapes(messages) == ["BookSnapshot full", "BookDiff full"]
    book, diff = messages
    assert isinstance(book, BookSnapshot)
    assert isinstance(diff, BookDiff)
    assert (book.last_update_id, book.fused, book.depth_cap, book.ts_event) == (20, True, None, None)
    assert (diff.first_update_id, diff.last_update_id, diff.prev_update_id) == (21, 30, None)
    assert diff.ts_recv == book.ts_recv
    assert (session.is_stale(), session.top()) == (False, (100.0, 101.0))


@pytest.mark.parametrize(
    ("base", "joins"),
    [(9, False), (10, True), (11, True), (19, True), (20, True), (99, True)],
)
def test_spot_joins_where_the_first_diff_holds_the_next_update(base: int, joins: bool) -> None:
    session = spot()
    session.stream(DEPTH, spot_diff(11, 20))
    messages = session.feed(snapshot(base))
    assert [type(message) for message in messages if isinstance(message, BookSnapshot)] == [BookSnapshot] * joins
    assert session.is_stale() is not joins


@pytest.mark.parametrize(
    ("base", "joins"),
    [(9, False), (10, True), (13, True), (15, True), (20, True), (99, True)],
)
def test_futures_join_where_the_first_diff_or_its_predecessor_holds_the_snapshot(base: int, joins: bool) -> None:
    session = usdm()
    # Ids have holes: 11 to 14 are in no diff of this instrument. `pu == lastUpdateId` is base 10.
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    session.feed(snapshot(base))
    assert session.is_stale() is not joins


def test_futures_apply_a_diff_that_ends_where_the_snapshot_does() -> None:
    session = usdm()
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    assert diffs(session.feed(snapshot(20))) == [("full", 20)]
    assert diffs(session.stream(DEPTH, usdm_diff(25, 30, 20))) == [("full", 30)]


def test_a_first_diff_that_exactly_continues_the_snapshot() -> None:
    session = usdm()
    session.feed(snapshot(10))  # before any diff: held until it is known whose it is
    messages = session.stream(DEPTH, usdm_diff(15, 20, 10, [["100.5", "3"]]))
    assert shapes(messages) == ["BookSnapshot full", "BookDiff full"]
    assert session.top() == (100.5, 101.0)


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm"])
def test_after_a_snapshot_ahead_of_the_diffs_the_next_that_misses_something_is_a_gap(venue: str) -> None:
    session = Session(venue)

    def diff(first: int, last: int, prev: int) -> dict[str, Any]:
        return spot_diff(first, last) if venue == "binance-spot" else usdm_diff(first, last, prev)

    session.stream(DEPTH, diff(1, 10, 0))
    session.feed(snapshot(25, T=MS + 25, E=MS + 25))
    assert session.stream(DEPTH, diff(11, 20, 10)) == []  # in the snapshot
    assert not session.is_stale()
    assert events(session.stream(DEPTH, diff(31, 40, 30))) == [(EventKind.STALE, "full", "sequence")]
    assert session.is_stale()


def test_a_snapshot_older_than_the_diffs_is_refused_and_said() -> None:
    session = usdm()
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    messages = session.feed(snapshot(5))
    assert events(messages) == [(EventKind.NOTICE, "full", "old_snapshot")]
    assert session.is_stale()


# -- the chain -------------------------------------------------------------------------------------------------


def joined(session: Session) -> Session:
    is_spot = session.venue == "binance-spot"
    session.stream(DEPTH, spot_diff(1, 10) if is_spot else usdm_diff(5, 10, 1))
    session.feed(snapshot(10))
    assert not session.is_stale()
    return session


def test_spot_needs_the_next_update_and_futures_the_previous_diff() -> None:
    session = joined(spot())
    assert events(session.stream(DEPTH, spot_diff(11, 12))) == []
    assert events(session.stream(DEPTH, spot_diff(14, 15))) == [(EventKind.STALE, "full", "sequence")]
    session = joined(usdm())
    assert events(session.stream(DEPTH, usdm_diff(50, 60, 10))) == []
    assert events(session.stream(DEPTH, usdm_diff(61, 70, 59))) == [(EventKind.STALE, "full", "sequence")]


def test_a_gap_names_what_was_expected_and_keeps_the_diffs_apart() -> None:
    session = joined(usdm())
    stale, diff = session.stream(DEPTH, usdm_diff(61, 70, 59, [["100.7", "1"]]))
    assert getattr(stale, "detail", "") == "expected a diff that follows 10, received U=61 u=70 pu=59"
    assert diffs([diff]) == [("unjoined", 70)]
    assert (session.is_stale(), session.top()) == (True, (100.0, 101.0))


def test_a_gap_that_a_snapshot_ends_is_told_from_the_last_good_frame() -> None:
    session = joined(usdm())
    last_good = session.now
    session.wait(1)
    session.stream(DEPTH, usdm_diff(61, 70, 59))
    session.wait(1)
    gap, book, diff = session.feed(snapshot(65))
    assert events([gap]) == [(EventKind.GAP, "full", "sequence")]
    assert (getattr(gap, "ts_start", 0), getattr(gap, "ts_end", 0)) == (last_good, session.now)
    assert shapes([book, diff]) == ["BookSnapshot full", "BookDiff full"]
    assert not session.is_stale()
    assert events(session.stream(DEPTH, usdm_diff(75, 80, 70))) == []


def test_a_snapshot_that_came_before_the_gap_ends_it_at_once() -> None:
    session = joined(usdm())
    assert session.feed(snapshot(65)) == []  # nobody asked for it, and the book is good
    messages = session.stream(DEPTH, usdm_diff(61, 70, 59))
    assert [kind for kind, *_ in events(messages)] == [EventKind.STALE, EventKind.GAP]
    assert shapes(messages)[2:] == ["BookSnapshot full", "BookDiff full"]
    assert not session.is_stale()


def test_a_repeated_diff_is_left_out() -> None:
    session = joined(usdm())
    diff = usdm_diff(15, 20, 10, [["100.5", "3"]])
    assert len(session.stream(DEPTH, diff)) == 1
    assert session.stream(DEPTH, diff) == []
    assert session.stream(DEPTH, usdm_diff(5, 10, 1)) == []
    assert len(session.stream(DEPTH, usdm_diff(25, 30, 20))) == 1


def test_ids_that_start_again_are_a_gap() -> None:
    session = joined(usdm())
    messages = session.stream(DEPTH, usdm_diff(3, 4, 2, time=MS + 60_000))
    assert events(messages) == [(EventKind.STALE, "full", "sequence")]
    assert events(session.feed(snapshot(4))) == [(EventKind.GAP, "full", "sequence")]


def test_after_the_first_diff_only_the_previous_one_counts() -> None:
    session = usdm()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.feed(snapshot(10, T=MS + 10))
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    assert events(session.stream(DEPTH, usdm_diff(61, 70, 19))) == [(EventKind.STALE, "full", "sequence")]
    # The same where nothing followed the snapshot when it came.
    session = usdm()
    session.feed(snapshot(10, T=MS + 10))
    session.stream(DEPTH, usdm_diff(15, 20, 9))
    assert events(session.stream(DEPTH, usdm_diff(61, 70, 19))) == [(EventKind.STALE, "full", "sequence")]


def test_waiting_diffs_are_kept_up_to_a_bound() -> None:
    session = usdm()
    for number in range(1, 1101):
        session.stream(DEPTH, usdm_diff(number * 10, number * 10, number * 10 - 10))
    assert events(session.feed(snapshot(60))) == [(EventKind.NOTICE, "full", "old_snapshot")]
    assert len(diffs(session.feed(snapshot(10_990)))) == 2


def test_a_gap_is_no_wait_for_a_first_snapshot() -> None:
    session = joined(usdm())
    session.stream(DEPTH, usdm_diff(61, 70, 59))
    session.wait(60)
    assert events(session.stream(DEPTH, usdm_diff(71, 80, 70))) == []


def test_a_hole_among_waiting_diffs_starts_the_wait_anew() -> None:
    session = usdm()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.stream(DEPTH, usdm_diff(25, 30, 20))
    assert events(session.feed(snapshot(8))) == [(EventKind.NOTICE, "full", "old_snapshot")]
    assert diffs(session.feed(snapshot(25))) == [("full", 30)]


def test_waiting_for_ten_seconds_is_told_once() -> None:
    session = usdm()
    found = []
    for number in range(40):
        found += events(session.stream(DEPTH, usdm_diff(number * 10 + 1, number * 10 + 10, number * 10)))
        session.wait(1)
    assert found == [(EventKind.STALE, "full", "no_snapshot")]
    assert session.is_stale()


def test_two_speeds_of_one_book_do_not_mix() -> None:
    session = joined(usdm())
    messages = session.stream("btcusdt@depth@500ms", usdm_diff(3, 90, 1, [["100.9", "1"]]))
    assert diffs(messages) == [("unjoined:depth@500ms", 90)]
    assert (session.top(), session.is_stale()) == ((100.0, 101.0), False)
    assert diffs(session.stream(DEPTH, usdm_diff(15, 20, 10))) == [("full", 20)]


def test_sizes_of_zero_remove_whatever_their_spelling() -> None:
    session = joined(spot())
    session.stream(DEPTH, spot_diff(11, 11, [["100", "0.00000000"], ["99", "4"]], [["101", "0"], ["102", "5"]]))
    assert session.top() == (99.0, 102.0)


# -- snapshots without a symbol --------------------------------------------------------------------------------


def eth(diff: dict[str, Any]) -> dict[str, Any]:
    return diff | {"s": "ETHUSDT"}


def test_a_nameless_snapshot_in_a_file_of_several_books_is_refused() -> None:
    session = usdm()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.stream("ethusdt@depth@100ms", eth(usdm_diff(4, 11, 2)))
    messages = session.feed(snapshot(9))
    assert events(messages) == [(EventKind.REFUSED, "", "ambiguous")]
    assert "BTCUSDT, ETHUSDT" in getattr(messages[0], "detail", "")
    assert session.is_stale()


def test_a_second_book_takes_the_certainty_from_a_nameless_snapshot() -> None:
    session = joined(usdm())
    messages = session.stream("ethusdt@depth@100ms", eth(usdm_diff(4, 11, 2)))
    assert events(messages)[:2] == [(EventKind.STALE, "full", "ambiguous"), (EventKind.REFUSED, "", "ambiguous")]
    assert session.is_stale()


def test_files_of_one_book_each_keep_their_own_snapshots() -> None:
    session = joined(usdm())
    session.feed({"stream": "ethusdt@depth@100ms", "data": eth(usdm_diff(4, 11, 2))}, conn_id=1)
    session.feed(snapshot(9, [["50", "1"]], [["51", "1"]]), conn_id=1)
    assert (session.top("BTC-USDT"), session.top("ETH-USDT")) == ((100.0, 101.0), (50.0, 51.0))
    assert not session.is_stale("BTC-USDT")
    assert not session.is_stale("ETH-USDT")


def test_a_named_snapshot_in_a_capture_is_taken() -> None:
    session = spot()
    session.stream("btcusdt@depthSnapshot", snapshot(10))
    assert diffs(session.stream(DEPTH, spot_diff(11, 12))) == [("full", 12)]
    assert not session.is_stale()


# -- levels that change and change back ------------------------------------------------------------------------


def back_and_forth(venue: str) -> tuple[Session, Any]:
    """
    A best bid of 5 from update 4 on, which is 9 from update 13 to 17: the diff of 11 to 20 does not name it.

    The snapshot at 15 has the passing size.
    """
    session = Session(venue)

    def diff(first: int, last: int, prev: int, bids: Any = ()) -> dict[str, Any]:
        return spot_diff(first, last, bids) if venue == "binance-spot" else usdm_diff(first, last, prev, bids)

    session.stream(DEPTH, diff(1, 5, 0, [["100", "5"], ["99", "2"]]))
    session.stream(DEPTH, diff(6, 10, 5, [["98", "3"]]))
    return session, diff


def best(session: Session) -> tuple[float, float] | None:
    found = session.tracker.book("BTC-USDT").best_bid
    return None if found is None else (found.price, found.size)


PASSING = snapshot(15, [["100", "9"], ["99", "2"], ["98", "3"]], T=MS + 15, E=MS + 15)


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm", "binance-coinm"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_size_that_had_passed_when_the_diff_ended_is_not_kept(venue: str, is_first: bool) -> None:
    """Whether the snapshot comes before the diff that it falls into or after it."""
    session, diff = back_and_forth(venue)
    if is_first:
        session.feed(PASSING)
        assert best(session) == (100.0, 9.0)  # at that update it was so
        session.stream(DEPTH, diff(11, 20, 10, [["97", "1"]]))
    else:
        session.stream(DEPTH, diff(11, 20, 10, [["97", "1"]]))
        session.feed(PASSING)
    assert best(session) == (100.0, 5.0)
    book = session.tracker.book("BTC-USDT")
    assert (book.bids.columns()[0], book.is_stale) == ((100.0, 99.0, 98.0, 97.0), False)
    assert diffs(session.stream(DEPTH, diff(21, 30, 20))) == [("full", 30)]
    assert best(session) == (100.0, 5.0)


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm"])
def test_only_what_differs_from_the_snapshot_is_said_again(venue: str) -> None:
    session, diff = back_and_forth(venue)
    session.stream(DEPTH, diff(11, 20, 10, [["97", "1"]]))
    _, told = session.feed(PASSING)
    assert isinstance(told, BookDiff)
    assert (told.bid_prices, told.bid_sizes, told.last_update_id) == ((100.0, 97.0), (5.0, 1.0), 20)


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm"])
def test_a_level_that_came_and_went_within_the_diff_is_gone(venue: str) -> None:
    session, diff = back_and_forth(venue)
    session.stream(DEPTH, diff(11, 12, 10, [["100.5", "0"]]))
    session.feed(snapshot(15, [["100.5", "7"], ["100", "5"]], T=MS + 15, E=MS + 15))
    session.stream(DEPTH, diff(13, 20, 12))
    assert best(session) == (100.0, 5.0)


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm"])
def test_diffs_before_a_hole_say_nothing_of_what_follows(venue: str) -> None:
    """The level may have changed in a diff that was lost: the snapshot is all there is."""
    session, diff = back_and_forth(venue)
    session.feed(snapshot(25, [["100", "9"]], T=MS + 25, E=MS + 25))
    session.stream(DEPTH, diff(21, 30, 20))
    assert best(session) == (100.0, 9.0)


def test_a_refresh_keeps_what_the_diffs_said() -> None:
    session = Session("binance-usdm", ("BTC-USDT",), ("full",))
    session.start(listed("BTCUSDT", "BTC", "USDT"))
    session.stream(DEPTH, usdm_diff(1, 5, 0, [["100", "5"]]))
    session.rest("depth:BTCUSDT", snapshot(5, [["100", "5"], ["99", "2"]]))
    session.asked(RestCall("depth:BTCUSDT", "GET", ""))
    session.stream(DEPTH, usdm_diff(6, 10, 5, [["100", "6"]]))
    session.stream(DEPTH, usdm_diff(11, 20, 10, [["97", "1"]]))
    session.rest("depth:BTCUSDT", snapshot(15, [["100", "9"], ["99", "2"]]))
    assert best(session) == (100.0, 6.0)
    assert not session.is_stale()


def test_a_refresh_knows_what_was_said_shortly_before_it_was_asked_for() -> None:
    session = Session("binance-usdm", ("BTC-USDT",), ("full",))
    session.start(listed("BTCUSDT", "BTC", "USDT"))
    session.stream(DEPTH, usdm_diff(1, 5, 0))
    session.rest("depth:BTCUSDT", snapshot(5, [["100", "5"], ["99", "2"]]))
    session.wait(898.5)
    session.stream(DEPTH, usdm_diff(6, 10, 5, [["100", "6"]]))
    session.wait(1.6)
    (call,) = [one for one in session.due() if isinstance(one, RestCall) and one.tag == "depth:BTCUSDT"]
    session.asked(call)
    session.rest(call.tag, snapshot(15, [["100", "9"], ["99", "2"]]))
    session.stream(DEPTH, usdm_diff(11, 20, 10, [["97", "1"]]))
    assert best(session) == (100.0, 6.0)
    assert not session.is_stale()
