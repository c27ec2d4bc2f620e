"""The venue's rules for joining diffs to a snapshot, one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from recordings.normalize import Normalizer
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
from toolkit.protocol import ProtocolOptions, RestCall
from toolkit.venue import find_venue

DEPTH = "btcusdt@depth@100ms"
USDM_ROW = listed("BTCUSDT", "BTC", "USDT", contractType="PERPETUAL", marginAsset="USDT")


def spot() -> Session:
    return Session("binance-spot")


def usdm() -> Session:
    return Session("binance-usdm")


def live() -> Session:
    session = Session("binance-usdm", ("BTC-USDT",), ("full", "bbo"))
    session.start(USDM_ROW)
    session.protocol.requests()
    return session


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


# -- asking, in a live session ---------------------------------------------------------------------------------


def test_the_first_diff_asks_for_a_snapshot_once() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    assert session.calls() == [RestCall("depth:BTCUSDT", "GET", "/fapi/v1/depth?symbol=BTCUSDT&limit=1000", b"", 20)]
    assert session.due() == []
    assert diffs(session.rest("depth:BTCUSDT", snapshot(12))) == [("full", 20)]
    assert not session.is_stale()


def test_an_import_asks_for_nothing() -> None:
    session = usdm()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.wait(1000)
    assert (session.protocol.requests(), session.due()) == ([], [])


def test_a_snapshot_that_is_too_old_is_asked_for_again_after_a_second() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    session.calls()
    session.rest("depth:BTCUSDT", snapshot(5))
    assert session.due() == []
    session.wait(1.1)
    assert [getattr(call, "tag", "") for call in session.due()] == ["depth:BTCUSDT"]
    session.rest("depth:BTCUSDT", snapshot(15))
    assert not session.is_stale()


def test_a_snapshot_that_never_comes_is_asked_for_again() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    session.calls()
    assert events(session.rest("depth:BTCUSDT", b"oops", status=503)) == [(EventKind.REQUEST_FAILED, "", "")]
    session.control("request_failed", -1, tag="depth:BTCUSDT", error="503")
    session.wait(5.1)
    assert [getattr(call, "tag", "") for call in session.due()] == ["depth:BTCUSDT"]
    session.wait(30.1)
    assert [getattr(call, "tag", "") for call in session.due()] == ["depth:BTCUSDT"]


def test_a_gap_asks_and_is_ended_by_the_answer() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10))
    session.calls()
    session.stream(DEPTH, usdm_diff(61, 70, 59))
    assert [call.tag for call in session.calls()] == ["depth:BTCUSDT"]
    assert events(session.rest("depth:BTCUSDT", snapshot(65))) == [(EventKind.GAP, "full", "sequence")]
    assert not session.is_stale()


def test_a_lost_connection_needs_a_new_snapshot_and_old_answers_do_not_count() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10))
    session.calls()
    assert (EventKind.STALE, "full", "disconnect") in events(session.control("disconnected", code=1006))
    # An answer that was under way: a book that nothing would keep up to date must not look good.
    assert session.rest("depth:BTCUSDT", snapshot(10)) == []
    assert session.is_stale()
    session.control("connected", role="public")
    session.calls()
    # The chain goes on without a hole, but what was said last no longer holds without a snapshot.
    session.stream(DEPTH, usdm_diff(45, 50, 40))
    assert [call.tag for call in session.calls()] == ["depth:BTCUSDT"]
    assert session.is_stale()
    assert events(session.rest("depth:BTCUSDT", snapshot(45))) == [(EventKind.GAP, "full", "disconnect")]
    assert not session.is_stale()


def test_diffs_after_a_silence_wait_for_a_snapshot() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10))
    session.calls()
    session.control("stale", symbol="BTCUSDT", stream="full", silence_s=61)
    assert session.is_stale()
    assert diffs(session.stream(DEPTH, usdm_diff(15, 20, 10))) == [("unjoined", 20)]
    assert [call.tag for call in session.calls()] == ["depth:BTCUSDT"]
    assert events(session.rest("depth:BTCUSDT", snapshot(15))) == [(EventKind.GAP, "full", "silence")]
    assert not session.is_stale()


def test_a_good_book_is_refreshed_without_ever_being_stale() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10))
    session.wait(901)
    (call,) = session.due()
    assert isinstance(call, RestCall)
    session.asked(call)
    session.stream(DEPTH, usdm_diff(15, 20, 10, [["100.5", "3"]]))
    messages = session.rest("depth:BTCUSDT", snapshot(12, [["100", "1"], ["98", "9"]]))
    assert shapes(messages) == ["BookSnapshot full", "BookDiff full"]
    assert (session.top(), session.is_stale()) == ((100.5, 101.0), False)
    assert diffs(session.stream(DEPTH, usdm_diff(25, 30, 20))) == [("full", 30)]


def test_a_refresh_ahead_of_the_diffs_waits_for_them() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10))
    session.wait(901)
    (call,) = session.due()
    assert isinstance(call, RestCall)
    session.asked(call)
    assert session.rest("depth:BTCUSDT", snapshot(17, [["100.5", "3"]])) == []
    messages = session.stream(DEPTH, usdm_diff(15, 20, 10, [["100.2", "1"]]))
    assert shapes(messages) == ["BookDiff full", "BookSnapshot full", "BookDiff full"]
    assert session.top() == (100.5, 101.0)


def test_a_quote_outside_the_snapshot_asks_for_a_new_one() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10, [["100", "1"], ["90", "1"]], [["101", "1"], ["110", "1"]]))
    quote = {"e": "bookTicker", "u": 11, "s": "BTCUSDT", "b": "95", "B": "1", "a": "96", "A": "1", "T": MS, "E": MS}
    session.stream("btcusdt@bookTicker", quote)
    assert session.due() == []
    session.stream("btcusdt@bookTicker", quote | {"b": "89", "a": "96"})
    assert [getattr(call, "tag", "") for call in session.due()] == ["depth:BTCUSDT"]
    assert session.due() == []


def test_a_snapshot_for_a_user_touches_no_book() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10))
    call = session.protocol.snapshot_request("BTCUSDT")
    assert call is not None
    (book,) = session.rest(call.tag, snapshot(3, [["1", "1"]], [["2", "1"]]))
    assert isinstance(book, BookSnapshot)
    assert (book.form, book.fused, book.symbol) == ("rest", False, "BTCUSDT")
    assert (session.top(), session.is_stale()) == ((100.0, 101.0), False)


# -- checkpoints -----------------------------------------------------------------------------------------------


def script() -> Session:
    """A session with everything in it: waiting diffs, a join, a gap, an early snapshot, a refresh, trades told twice."""
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    session.rest("depth:BTCUSDT", snapshot(12))
    session.asked(RestCall("depth:BTCUSDT", "GET", ""))
    session.stream(DEPTH, usdm_diff(25, 30, 20, [["100.5", "3"]]))
    session.rest("depth:BTCUSDT", snapshot(26))
    session.stream(DEPTH, usdm_diff(45, 50, 40))
    session.stream(DEPTH, usdm_diff(55, 60, 50))
    session.rest("depth:BTCUSDT", snapshot(5))
    session.rest("depth:BTCUSDT", snapshot(52))
    trade = {"e": "trade", "E": MS, "T": MS, "s": "BTCUSDT", "t": 7, "p": "100", "q": "1", "X": "MARKET", "m": True}
    session.stream("btcusdt@trade", trade)
    session.stream("btcusdt@trade", trade)
    session.control("disconnected")
    session.control("connected", role="public")
    session.stream(DEPTH, usdm_diff(75, 80, 70))
    session.rest("depth:BTCUSDT", snapshot(78))
    session.control("session_end")
    return session


def test_a_checkpoint_anywhere_gives_the_same_later_messages() -> None:
    session = script()
    whole = find_venue("binance-usdm").make_protocol(session.options)
    expected = [whole.receive(frame) for frame in session.frames]
    assert sum(map(len, expected)) > 20
    for cut in range(len(session.frames)):
        before = find_venue("binance-usdm").make_protocol(session.options)
        for frame in session.frames[:cut]:
            before.receive(frame)
        after = find_venue("binance-usdm").make_protocol(session.options)
        after.restore(copy.deepcopy(before.checkpoint()))
        assert [after.receive(frame) for frame in session.frames[cut:]] == expected[cut:], f"cut at {cut}"


def test_books_and_digest_go_on_from_any_checkpoint() -> None:
    from recordings.checkpoints import decode_checkpoint, encode_checkpoint

    session = script()

    def normalizer() -> Normalizer:
        return Normalizer({"binance-usdm": find_venue("binance-usdm").make_protocol(session.options)})

    def run(on: Normalizer, frames: list[Any]) -> str:
        for frame in frames:
            for message in on.messages(frame):
                on.take(message)
        return on.chain.hexdigest()

    expected = run(normalizer(), session.frames)
    for cut in range(1, len(session.frames)):
        before, after = normalizer(), normalizer()
        run(before, session.frames[:cut])
        decode_checkpoint(encode_checkpoint(before), after)
        assert run(after, session.frames[cut:]) == expected, f"cut at {cut}"


def test_nothing_depends_on_whether_requests_are_carried_out() -> None:
    session = script()
    eager = find_venue("binance-usdm").make_protocol(session.options)
    lazy = find_venue("binance-usdm").make_protocol(session.options)
    for frame in session.frames:
        assert eager.receive(frame) == lazy.receive(frame)
        eager.requests()
        eager.due(frame.ts_mono + 10**12)


def test_options_survive_as_the_manifest_keeps_them() -> None:
    options = ProtocolOptions(pairs=("BTC-USDT",), channels=("full:0ms",))
    protocol = find_venue("binance-usdm").make_protocol(options)
    assert [channel.suffix for channel in protocol.channels] == ["depth@0ms"]  # type: ignore[attr-defined]
