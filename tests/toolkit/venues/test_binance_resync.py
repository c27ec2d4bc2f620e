"""Snapshots in a live session: when they are asked for, which answers count, and what a checkpoint keeps of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from recordings.checkpoints import decode_checkpoint, encode_checkpoint
from recordings.normalize import Normalizer
from tests.toolkit.venues.binance_harness import MS, Session, events, listed, shapes, snapshot, usdm_diff
from tests.toolkit.venues.test_binance_depth import DEPTH, diffs, usdm
from toolkit.messages import BookSnapshot, EventKind
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
    assert [getattr(call, "tag", "") for call in session.due()] == ["depth:BTCUSDT"]
    session.stream("btcusdt@bookTicker", quote | {"b": bid, "a": ask})
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
