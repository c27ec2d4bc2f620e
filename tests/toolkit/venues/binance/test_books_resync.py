"""Snapshots in a live session: when they are asked for, which answers count, and what a checkpoint keeps of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from recordings.states.checkpoints import decode_checkpoint, encode_checkpoint
from recordings.states.normalizer import Normalizer
from tests.toolkit.venues.binance.test_depth import DEPTH, diffs, usdm
from tests.toolkit.venues.binance_harness import MS, Session, events, listed, shapes, snapshot, spot_diff, usdm_diff
from toolkit.messages import BookSnapshot, EventKind, Message
from toolkit.protocol import ProtocolOptions, RestCall
from toolkit.venue import find_venue

USDM_ROW = listed("BTCUSDT", "BTC", "USDT", contractType="PERPETUAL", marginAsset="USDT")


def live() -> Session:
    session = Session("binance-usdm", ("BTC-USDT",), ("full", "bbo"))
    session.start(USDM_ROW)
    session.protocol.requests()
    return session


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


@pytest.mark.parametrize("event", ["disconnected", "session_end"])
def test_diffs_that_waited_when_the_connection_was_lost_are_not_joined(event: str) -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    assert len(session.calls()) == 1
    session.control(event)
    assert session.rest("depth:BTCUSDT", snapshot(7)) == []
    assert session.is_stale()
    session.control("connected", role="public")
    session.calls()
    session.stream(DEPTH, usdm_diff(45, 50, 40))
    assert [call.tag for call in session.calls()] == ["depth:BTCUSDT"]


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


def test_a_refresh_older_than_the_book_is_left_out() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10))
    session.stream(DEPTH, usdm_diff(15, 20, 10, [["100.5", "3"]]))
    session.asked(RestCall("depth:BTCUSDT", "GET", ""))
    assert session.rest("depth:BTCUSDT", snapshot(12)) == []
    assert (session.top(), session.is_stale()) == ((100.5, 101.0), False)


def test_a_refresh_that_takes_too_long_is_left_out() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10))
    session.asked(RestCall("depth:BTCUSDT", "GET", ""))
    for number in range(2, 1102):
        session.stream(DEPTH, usdm_diff(number * 10, number * 10, number * 10 - 10))
    assert session.rest("depth:BTCUSDT", snapshot(5000)) == []
    assert not session.is_stale()


@pytest.mark.parametrize(("bid", "ask"), [("89", "96"), ("95", "111")])
def test_a_quote_outside_the_snapshot_asks_for_a_new_one(bid: str, ask: str) -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.rest("depth:BTCUSDT", snapshot(10, [["100", "1"], ["90", "1"]], [["101", "1"], ["110", "1"]]))
    quote = {"e": "bookTicker", "u": 11, "s": "BTCUSDT", "b": "95", "B": "1", "a": "96", "A": "1", "T": MS, "E": MS}
    session.stream("btcusdt@bookTicker", quote)
    assert session.due() == []
    session.stream("btcusdt@bookTicker", quote | {"b": bid, "a": ask})
    assert session.is_stale()
    assert [getattr(call, "tag", "") for call in session.due()] == ["depth:BTCUSDT"]
    session.stream("btcusdt@bookTicker", quote | {"b": bid, "a": ask})
    assert session.due() == []


def covered() -> Session:
    """A book that is known from 90 to 110."""
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1))
    session.calls()
    session.rest("depth:BTCUSDT", snapshot(10, [["100", "1"], ["90", "1"]], [["101", "1"], ["110", "1"]]))
    return session


def quoted(session: Session, bid: str, ask: str) -> list[Message]:
    quote = {"e": "bookTicker", "u": 11, "s": "BTCUSDT", "b": bid, "B": "1", "a": ask, "A": "1", "T": MS, "E": MS}
    return session.stream("btcusdt@bookTicker", quote)


def traded(session: Session, price: str, number: int = 1) -> list[Message]:
    trade = {"e": "trade", "E": MS, "T": MS, "s": "BTCUSDT", "t": number, "p": price, "q": "1", "m": True}
    return session.stream("btcusdt@trade", trade)


def tags(requests: Sequence[Any]) -> list[str]:
    return [getattr(request, "tag", "") for request in requests]


@pytest.mark.parametrize("seen", ["quote", "trade", "order"])
def test_a_book_whose_market_is_beyond_what_is_known_is_stale(seen: str) -> None:
    session = covered()
    before = session.now
    session.wait(1)
    if seen == "quote":
        messages = quoted(session, "88", "89")
    elif seen == "trade":
        messages = traded(session, "89")
    else:
        messages = session.stream(DEPTH, usdm_diff(15, 20, 10, [], [["89", "1"]]))
    assert events(messages) == [(EventKind.STALE, "full", "cover")]
    assert session.is_stale()
    session.stream(DEPTH, usdm_diff(25, 30, 20))
    session.calls()
    gap, *_ = session.rest("depth:BTCUSDT", snapshot(26, [["88", "1"]], [["89", "1"]]))
    assert events([gap]) == [(EventKind.GAP, "full", "cover")]
    assert getattr(gap, "ts_start", 0) == (session.now if seen == "order" else before)
    assert (session.is_stale(), session.top()) == (False, (88.0, 89.0))


def test_a_market_near_the_end_of_what_is_known_asks_and_is_good() -> None:
    session = covered()
    assert events(quoted(session, "92", "93")) == []
    assert tags(session.due()) == ["depth:BTCUSDT"]
    session.asked(RestCall("depth:BTCUSDT", "GET", ""))
    session.control("request_failed", -1, tag="depth:BTCUSDT", error="HTTP 503")
    assert not session.is_stale()
    session.wait(15.1)
    assert tags(session.due()) == ["depth:BTCUSDT"]
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    session.rest("depth:BTCUSDT", snapshot(12, [["92", "1"], ["80", "1"]], [["93", "1"], ["105", "1"]]))
    assert events(quoted(session, "88", "89")) == []
    assert not session.is_stale()


@pytest.mark.parametrize("failure", ["refused", "too old", "no answer"])
def test_a_refresh_that_came_to_nothing_is_tried_again_soon(failure: str) -> None:
    session = covered()
    session.wait(900.1)
    assert tags(session.due()) == ["depth:BTCUSDT"]
    session.asked(RestCall("depth:BTCUSDT", "GET", ""))
    session.stream(DEPTH, usdm_diff(15, 20, 10))
    if failure == "refused":
        session.control("request_failed", -1, tag="depth:BTCUSDT", error="HTTP 503")
    elif failure == "too old":
        assert session.rest("depth:BTCUSDT", snapshot(5)) == []
    session.wait(31)
    assert tags(session.due()) == ["depth:BTCUSDT"]
    assert not session.is_stale()


@pytest.mark.parametrize("failure", ["refused", "too old"])
def test_beyond_what_is_known_a_book_stays_stale_until_a_snapshot_is_joined(failure: str) -> None:
    session = covered()
    quoted(session, "120", "121")
    last, asked = 10, 0
    for _ in range(100):
        session.wait(1)
        session.stream(DEPTH, usdm_diff(last + 1, last + 5, last))
        last += 5
        calls = [*session.due(), *session.calls()]
        asked += len(calls)
        if calls and failure == "refused":
            session.control("request_failed", -1, tag="depth:BTCUSDT", error="HTTP 503")
        elif calls:
            session.rest("depth:BTCUSDT", snapshot(9))
        assert session.is_stale()
    assert asked >= 10
    session.rest("depth:BTCUSDT", snapshot(last))
    assert not session.is_stale()


# -- answers that are of another time ---------------------------------------------------------------------------


def spot() -> Session:
    session = Session("binance-spot", ("BTC-USDT",), ("full",))
    session.start(USDM_ROW)
    session.protocol.requests()
    return session


@pytest.mark.parametrize("comes", ["while it is lost", "before a diff", "after some diffs"])
def test_an_answer_to_a_request_of_before_the_loss_begins_no_book(comes: str) -> None:
    """Ids may begin again: the old snapshot is ahead of all that comes."""
    session = spot()
    session.stream(DEPTH, spot_diff(10, 12, [["100", "1"]]))
    (call,) = session.calls()
    session.asked(call)
    session.control("disconnected", role="public")
    if comes == "while it is lost":
        assert session.rest(call.tag, snapshot(1000)) == []
    session.control("connected", role="public")
    session.calls()
    if comes == "before a diff":
        assert session.rest(call.tag, snapshot(1000)) == []
    for number in range(5, 10):
        session.stream(DEPTH, spot_diff(number, number, [["200", "1"]], time=MS + 60_000))
        if comes == "after some diffs" and number == 6:
            assert session.rest(call.tag, snapshot(1000)) == []
        assert session.is_stale()
    (again,) = session.calls()
    session.asked(again)
    session.rest(again.tag, snapshot(8, [["200", "1"]], [["201", "1"]]))
    assert (session.is_stale(), session.top()) == (False, (200.0, 201.0))


def test_an_answer_of_before_ids_began_again_begins_no_book() -> None:
    session = spot()
    session.stream(DEPTH, spot_diff(10, 12))
    (call,) = session.calls()
    session.rest(call.tag, snapshot(12))
    session.asked(call)
    session.rest(call.tag, snapshot(1000))  # ahead of the diffs: it waits for them
    messages = session.stream(DEPTH, spot_diff(5, 6, time=MS + 60_000))
    assert events(messages) == [(EventKind.STALE, "full", "sequence")]
    assert session.is_stale()


def test_a_book_whose_diffs_do_not_come_up_to_its_snapshot_ends() -> None:
    session = spot()
    session.stream(DEPTH, spot_diff(5, 6))
    session.calls()
    session.rest("depth:BTCUSDT", snapshot(1000))
    assert not session.is_stale()
    found = []
    for number in range(7, 20):
        session.wait(1)
        found += events(session.stream(DEPTH, spot_diff(number, number)))
    assert found == [(EventKind.STALE, "full", "sequence")]
    assert session.is_stale()
    assert tags(session.calls()) == ["depth:BTCUSDT"]


def test_a_snapshot_with_a_higher_id_and_an_older_time_is_of_other_ids() -> None:
    session = live()
    session.stream(DEPTH, usdm_diff(5, 10, 1, time=MS + 60_000))
    session.calls()
    messages = session.rest("depth:BTCUSDT", snapshot(1000, T=MS, E=MS))
    assert events(messages) == [(EventKind.NOTICE, "full", "old_snapshot")]
    assert session.is_stale()


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
