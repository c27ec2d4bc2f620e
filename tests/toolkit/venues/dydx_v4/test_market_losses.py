"""dYdX v4: trades, books and figures where frames were lost, came twice, late, or on a connection that is over."""

from __future__ import annotations

from typing import Any

import pytest

from tests.toolkit.venues.dydx_harness import (
    Session,
    data,
    error,
    events,
    market,
    of,
    snapshot,
    trade,
    trade_id,
    update,
)
from toolkit.books.tracker import OrderBookTracker
from toolkit.messages import NO_ANSWER, BookDiff, EventKind, FundingInfo, Trade
from toolkit.protocol import CloseConnection

BTC = "BTC-USD"


def answered(session: Session, rows: list[dict[str, Any]], size: int = 1000) -> int:
    """Answer every request for trades out of these rows, newest first; returns how many there were."""
    count = 0
    while calls := [call for call in session.calls() if call.tag.startswith("trades")]:
        for call in calls:
            count += 1
            query = dict(each.split("=") for each in call.path.partition("?")[2].split("&"))
            until, part = int(query["createdBeforeOrAtHeight"]), int(query.get("page", 1))
            found = [row for row in rows if int(row["id"][:8], 16) <= until]
            session.rest(call.tag, {"trades": found[(part - 1) * size : part * size]})
            assert count < 200
    return count


def news(session: Session) -> list[str]:
    return [each.trade_id for each in of(Trade, session.messages) if not each.is_duplicate]


def begun(first: list[dict[str, Any]] | None = None, channels: tuple[str, ...] = ("trades",)) -> Session:
    session = Session.ready(BTC, channels=channels)
    session.connect("trades-0")
    session.send()
    session.take(data("v4_trades", BTC, {"trades": first or []}, 1, "subscribed"))
    return session


def again(session: Session, newest: list[dict[str, Any]], name: str = "d") -> None:
    session.control("disconnected")
    session.connect("trades-0", name=name)
    session.send()
    session.take(data("v4_trades", BTC, {"trades": newest}, 1, "subscribed", name))


@pytest.mark.parametrize(
    ("missed", "per_block", "size"), [(4000, 1, 1000), (9000, 4, 1000), (1500, 1500, 1000), (3000, 2, 100)]
)
def test_every_missed_trade_is_told_once(missed: int, per_block: int, size: int) -> None:
    """However many are missed, and however many of them are in one block."""
    known = [trade(trade_id(100 + number)) for number in range(300)]
    session = begun(known[::-1][:100])
    for number, row in enumerate(known, 2):
        session.take(data("v4_trades", BTC, {"trades": [row]}, number))
    rows = [trade(trade_id(500 + number // per_block, number % per_block)) for number in range(missed)]
    everything = [*known, *rows][::-1]
    again(session, everything[:100])
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(99_000))]}, 2, name="d"))
    answered(session, everything, size)
    told = news(session)
    assert len(told) == len(set(told))
    assert set(told) == {row["id"] for row in [*everything, trade(trade_id(99_000))]}
    again(session, [trade(trade_id(99_000)), *everything[:99]], "e")
    assert session.calls() == []
    assert len(news(session)) == len(told)


def test_paging_that_was_cut_short_goes_on_at_the_next_connection() -> None:
    rows = [trade(trade_id(1000 - number)) for number in range(900)]
    session = begun([rows[-1]])
    again(session, rows[:100])
    (call,) = session.calls()
    session.rest(call.tag, {"trades": rows[99:400]})
    session.calls()
    newer = [trade(trade_id(1010)), *rows]
    again(session, newer[:100], "e")
    answered(session, newer, 100)
    assert set(news(session)) == {row["id"] for row in newer}


def test_what_comes_after_an_empty_beginning_is_missed_from_the_first_on() -> None:
    session = begun([])
    rows = [trade(trade_id(1000 - number)) for number in range(250)]
    again(session, rows[:100])
    answered(session, rows, 100)
    assert len(news(session)) == 250


def test_missed_trades_that_rest_does_not_tell_are_stale_until_it_does() -> None:
    rows = [trade(trade_id(1000 - number)) for number in range(250)]
    session = begun([rows[-1]])
    again(session, rows[:100])
    (call,) = session.calls()
    told = session.control("request_failed", -1, tag=call.tag, attempts=5, error="timed out")
    (stale,) = events(told, EventKind.STALE, "missed trades")
    assert (stale.symbol, stale.cause) == (BTC, NO_ANSWER)
    session.wait(30)
    answered(session, rows, 100)
    assert len(events(session.messages, EventKind.GAP, "missed trades")) == 1
    assert len(news(session)) == 250


@pytest.mark.parametrize("how", ["connection", "session"])
def test_a_loss_that_was_not_sure_yet_is_made_good_after_the_connection(how: str) -> None:
    session = begun([trade(trade_id(100))])
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(101))]}, 2))
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(103))]}, 4))  # 3 had one of block 102
    if how == "session":
        session.control("session_end", -1)
    rows = [trade(trade_id(height)) for height in range(110, 99, -1)]
    again(session, rows[:4])
    answered(session, rows)
    assert trade_id(102) in news(session)


def test_trades_are_stale_after_a_loss_until_the_next_snapshot() -> None:
    """Whatever comes before it: the ones that were lost are in no frame."""
    session = begun([trade(trade_id(100))])
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(103))]}, 3))
    session.now_s += 6
    told = session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(104))]}, 4))
    assert events(told, EventKind.STALE, "trades")
    told = session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(105))]}, 5))
    assert [each.trade_id for each in of(Trade, told)] == [trade_id(105)]
    assert not events(told, EventKind.GAP)
    again(session, [trade(trade_id(height)) for height in range(106, 99, -1)])
    assert events(session.messages, EventKind.GAP, "trades")
    assert len(news(session)) == 7


def test_figures_are_stale_after_a_loss_until_the_next_snapshot() -> None:
    session = Session.ready(BTC, channels=("funding",))
    session.connect("venue")
    session.send()
    session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed"))
    oracle = {"oraclePrices": {BTC: {"oraclePrice": "7"}}}
    session.take(data("v4_markets", None, oracle, 3))
    session.now_s += 6
    told = session.take(data("v4_markets", None, {"oraclePrices": {BTC: {"oraclePrice": "8"}}}, 4))
    assert {event.stream for event in events(told, EventKind.STALE)} == {"markets", "funding"}
    assert [each.mark_price for each in of(FundingInfo, told)] == [8.0]
    told = session.take(data("v4_markets", None, oracle, 5))
    assert not events(told, EventKind.GAP)


def books(session: Session) -> Any:
    tracker = OrderBookTracker()
    for message in session.messages:
        tracker(message)
    return tracker.book(BTC)


def opened() -> Session:
    session = Session.ready(BTC, channels=("full",))
    session.connect("books-0")
    session.send()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    return session


def test_a_change_that_comes_twice_counts_once() -> None:
    session = opened()
    session.take(update(BTC, [("10", "2")], [], 2))
    session.take(update(BTC, [("10", "3")], [], 3))
    assert session.take(update(BTC, [("10", "2")], [], 2)) == []
    assert session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1)) == []
    assert books(session).best_bid.size == 3.0


def test_a_change_that_comes_late_makes_the_book_stale() -> None:
    session = opened()
    session.take(update(BTC, [("10", "3")], [], 3))
    told = session.take(update(BTC, [("10", "2")], [], 2))
    assert [event.cause for event in events(told, EventKind.STALE, "full")] == ["sequence"]
    assert of(BookDiff, told) == []
    assert any(isinstance(each, CloseConnection) for each in session.wait(1))


def test_a_change_that_comes_before_its_snapshot_makes_the_book_stale() -> None:
    session = Session.ready(BTC, channels=("full",))
    session.connect("books-0")
    session.send()
    session.take(update(BTC, [("10", "3")], [], 2))
    told = session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    assert [event.cause for event in events(told, EventKind.STALE, "full")] == ["sequence"]
    assert any(isinstance(each, CloseConnection) for each in session.wait(1))


def test_a_file_without_our_requests_keeps_whatever_is_in_it() -> None:
    """Two captures one after the other may have the same numbers."""
    from tests.toolkit.venues.dydx_harness import protocol

    session = Session(protocol())
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    for size in ("2", "3"):
        session.take(update(BTC, [("10", size)], [], 2))
    assert books(session).best_bid.size == 3.0


@pytest.mark.parametrize("body", [snapshot(BTC, [("5", "1")], [("6", "1")], 1), update(BTC, [("10", "9")], [], 2)])
def test_a_frame_of_a_connection_that_is_over_changes_no_book(body: Any) -> None:
    session = opened()
    session.control("disconnected")
    session.connect("books-0", name="d")
    session.send()
    session.take(snapshot(BTC, [("10", "4")], [("11", "1")], 1, "d"))
    session._epochs[0] = 0
    told = session.take(body)
    assert [event.cause for event in events(told, EventKind.NOTICE)] == ["old connection"]
    assert books(session).best_bid.size == 4.0


def test_an_error_about_nothing_does_not_hide_a_loss() -> None:
    """Its number is the newest one, and was that of the frame that is missing."""
    session = opened()
    session.take(error("Something new", 2))
    session.take(update(BTC, [("10", "3")], [], 3))
    session.now_s += 6
    assert events(session.take(update(BTC, [("10", "4")], [], 4)), EventKind.STALE, "full")


# Before the snapshot of a new connection -----------------------------------------------------------------------------------


def test_trades_before_the_snapshot_of_a_new_connection_heal_nothing_and_hide_nothing() -> None:
    """The venue sends none, but somebody between it and us may change the order."""
    known = [trade(trade_id(number)) for number in range(100, 0, -1)]
    session = begun(known)
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(101))]}, 2))
    session.control("disconnected")
    session.connect("trades-0", name="d")
    session.send()
    early = session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(600))]}, 2, name="d"))
    assert [type(each) for each in early] == [Trade]
    missed = [trade(trade_id(number)) for number in range(599, 101, -1)]
    session.take(data("v4_trades", BTC, {"trades": missed[:100]}, 1, "subscribed", "d"))
    everything = [trade(trade_id(600)), *missed, trade(trade_id(101)), *known]
    answered(session, everything, 100)
    assert set(news(session)) == {row["id"] for row in everything}


def test_figures_before_the_snapshot_of_a_new_connection_heal_nothing() -> None:
    session = Session.ready(BTC, channels=("funding",))
    session.connect("venue")
    session.send()
    session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed"))
    session.control("disconnected")
    session.connect("venue", name="d")
    session.send()
    change = {"trading": {BTC: {"id": "0", "openInterest": "5"}}}
    early = session.take(data("v4_markets", None, change, 2, name="d"))
    assert not events(early, EventKind.GAP)
    late = session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed", "d"))
    assert {event.stream for event in events(late, EventKind.GAP)} == {"markets", "funding"}


@pytest.mark.parametrize("kind", ["channel_data", "channel_batch_data"])
def test_trades_of_a_capture_that_begins_in_the_middle_are_live(kind: str) -> None:
    """Whoever did not subscribe has no snapshot to come."""
    session = Session.ready(channels=("trades",))
    parts: Any = {"trades": [trade(trade_id(7))]}
    told = session.take(data("v4_trades", BTC, [parts] if "batch" in kind else parts, 5, kind))
    assert [each.is_history for each in of(Trade, told)] == [False]
    stream = session.subject.streams.get(BTC, "trades")
    assert stream is not None
    assert stream.is_live


def test_a_loss_while_a_stream_was_silent_is_made_good_by_a_snapshot_only() -> None:
    """It was stale for its silence already."""
    session = Session.ready(BTC, channels=("funding",))
    session.connect("venue")
    session.send()
    session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed"))
    session.control("stale", symbol="", stream="markets", cause="silence", silence_s=60)
    oracle = {"oraclePrices": {BTC: {"oraclePrice": "7"}}}
    session.take(
        data("v4_block_height", "v4_block_height", {"blockHeight": "5", "time": "2024-08-23T00:00:05.000Z"}, 3)
    )
    session.now_s += 6
    session.take(
        data("v4_block_height", "v4_block_height", {"blockHeight": "6", "time": "2024-08-23T00:00:06.000Z"}, 4)
    )
    told = session.take(data("v4_markets", None, oracle, 5))
    assert not {event.stream for event in events(told, EventKind.GAP)} & {"markets", "funding"}
    session.control("disconnected")
    session.connect("venue", name="d")
    session.send()
    told = session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed", "d"))
    assert {event.stream for event in events(told, EventKind.GAP)} == {"markets", "funding"}
