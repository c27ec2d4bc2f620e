"""dYdX v4: what was told live is told again from the recording, from its rows, and from any frame on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from recordings.states.normalizer import Normalizer
from tests.toolkit.venues.dydx_harness import (
    START_NS,
    Session,
    data,
    encoded,
    error,
    events,
    market,
    of,
    protocol,
    snapshot,
    trade,
    trade_id,
    update,
)
from toolkit.books.tracker import OrderBookTracker
from toolkit.books.uncrossing import UncrossedBooks
from toolkit.clock import NS_PER_S
from toolkit.digest import DigestChain
from toolkit.keys import PairKey
from toolkit.messages import BookDiff, BookSnapshot, EventKind, FundingInfo, Instrument, Message, Trade

BTC, ETH = "BTC-USD", "ETH-USD"


def eventful_session() -> Session:
    """Every kind of frame: metadata, two connections, a refusal, a late answer, a loss, a reconnect, a refresh."""
    session = Session.ready(BTC, ETH)
    session.rest("time", {"iso": "2024-08-23T00:00:00.125Z"})
    for conn_id, (role, name) in enumerate((("venue", "v"), ("books-0", "b"))):
        session.connect(role, conn_id, name)
    session.send()
    session.rest(
        f"historicalFunding:{BTC}",
        {"historicalFunding": [{"ticker": BTC, "rate": "0.1", "price": "9", "effectiveAt": "2024-08-22T23:00:00.2Z"}]},
    )
    block = {"height": "100", "time": "2024-08-23T00:00:00.000Z"}
    session.take(data("v4_block_height", "v4_block_height", block, 1, "subscribed", "v"))
    session.take(data("v4_markets", None, {"markets": {BTC: market(), ETH: market()}}, 2, "subscribed", "v"))
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(9))]}, 2, "subscribed", "b"), conn_id=1)
    session.take(snapshot(BTC, [("10", "1"), ("9", "2")], [("11", "1")], 1, "b"), conn_id=1)
    session.take(error("Internal error, could not fetch data for subscription: v4_orderbook.", 4, "b"), conn_id=1)
    session.take(data("v4_trades", ETH, {"trades": []}, 4, "subscribed", "b"), conn_id=1)
    for number in range(5, 20):
        session.wait(1)
        session.send()
        bids = [("10", "1"), ("10.5", str(number)), ("11.5", "1" if number % 4 == 1 else "0")]
        # The book of the other market, asked for again after the error.
        told = snapshot(ETH, [("5", "1")], [("6", "2")], number, "b") if number == 16 else None
        session.take(told or update(BTC, bids[number % 3 :], [("12", "0.5")], number, "b"), conn_id=1)
    session.take(b"damaged", conn_id=1)
    price = {"oraclePrices": {BTC: {"oraclePrice": "101.25", "effectiveAt": "2024-08-23T00:00:10.5Z"}}}
    session.take(data("v4_markets", None, price, 3, name="v"))
    session.take(data("v4_subaccounts", "dydx1/0", {}, 4, name="v"))
    rows = [trade(trade_id(12)), trade(trade_id(12, 1), type="LIQUIDATED")]
    session.take(data("v4_trades", BTC, {"trades": rows}, 21, name="b"), conn_id=1)  # 20 is lost
    session.wait(6)
    session.take(update(BTC, [("9", "3")], [], 22, "b"), conn_id=1)
    session.wait(0)
    session.control("disconnected", 1, code=1000)
    session.connect("books-0", 1, "b2")
    session.send()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1, "b2"), conn_id=1)
    session.take(
        data("v4_trades", BTC, {"trades": [trade(trade_id(20)), trade(trade_id(13))]}, 2, "subscribed", "b2"), conn_id=1
    )
    for call in session.calls():
        if call.tag.startswith("trades"):
            session.rest(call.tag, {"trades": [trade(trade_id(13)), trade(trade_id(12))]})
    session.take(snapshot(ETH, [("5", "1")], [("5", "2")], 3, "b2"), conn_id=1)
    session.take(data("v4_trades", ETH, {"trades": []}, 4, "subscribed", "b2"), conn_id=1)
    session.rest(f"orderbook:{BTC}", {"bids": [{"price": "10", "size": "1"}], "asks": []})
    session.wait(601)
    session.send()
    gone = {"type": "unsubscribed", "connection_id": "b2", "message_id": 5, "channel": "v4_orderbook", "id": BTC}
    session.take(gone, conn_id=1)
    session.take(snapshot(BTC, [("10", "2")], [("11", "2")], 6, "b2"), conn_id=1)
    session.control("session_end", -1)
    return session


def digest_of(messages: list[Message]) -> str:
    tracker, chain = OrderBookTracker(checked=True), DigestChain()
    for message in messages:
        chain.update(message, tracker.apply(message))
    return chain.hexdigest()


@pytest.fixture(scope="module")
def session() -> Session:
    return eventful_session()


def test_the_session_is_an_eventful_one(session: Session) -> None:
    """Or the tests below say little."""
    kinds = {type(message) for message in session.messages}
    assert {BookSnapshot, BookDiff, Trade, FundingInfo, Instrument} <= kinds
    assert {event.cause for event in events(session.messages, EventKind.GAP)} == {"sequence", "unsubscribed"}
    assert {event.cause for event in events(session.messages, EventKind.STALE)} == {
        "sequence",
        "unsubscribed",
        "session_end",
    }
    assert len(events(session.messages, EventKind.PARSE_ERROR)) == 1
    assert [each.cause for each in of(Trade, session.messages) if each.cause] == ["liquidation"]
    assert any(each.is_duplicate for each in of(Trade, session.messages))


def test_live_equals_replay(session: Session, tmp_path: Path) -> None:
    """From raw frames and from normalized rows: the same messages, the same digest."""
    manifest = session.write(tmp_path)
    assert manifest.digest == digest_of(session.messages)
    recording = Recording.open(tmp_path)
    normalizer = Normalizer.for_sources(recording.manifest.sources)
    raw = [message for batch in recording.raw_frames() for each in batch for message in normalizer.messages(each)]
    assert raw == session.messages
    rows = [message for batch in recording.messages() for message in batch]
    assert rows == session.messages
    assert digest_of(rows) == manifest.digest


def test_a_checkpoint_goes_on_from_any_frame(session: Session) -> None:
    """What follows is what would have followed."""
    subject = protocol(BTC, ETH)
    subject.bootstrap()
    states, told = [], []
    for each in session.frames:
        states.append(subject.checkpoint())
        told.append(subject.receive(each))
    assert [message for messages in told for message in messages] == session.messages
    for index, state in enumerate(states):
        restored = protocol(BTC, ETH)
        restored.restore(state)
        assert restored.checkpoint() == state
        assert [restored.receive(each) for each in session.frames[index:]] == told[index:]


def test_messages_do_not_depend_on_requests_being_asked_for(session: Session) -> None:
    """A replay asks for none, and time has no say."""
    subject = protocol(BTC, ETH)
    assert [message for each in session.frames for message in subject.receive(each)] == session.messages


def test_the_uncrossed_view_is_never_crossed(session: Session) -> None:
    """While the raw one is, at times."""
    tracker = OrderBookTracker()
    views = UncrossedBooks(tracker)
    for message in session.messages:
        tracker(message)
        for pair in tracker.trading_pairs:
            if pair in (BTC, ETH) and not isinstance(message, Trade | FundingInfo | Instrument):
                book = tracker.book(pair)
                assert not views.book(pair).is_crossed
                assert book.is_crossed or views.book(pair).depth() == book.depth()
    assert tracker.crossed_count[PairKey("dydx_v4", BTC)] > 0
    assert views.book(ETH).depth()[0] == []


@pytest.mark.parametrize("line_format", ["collector", "jsonl"])
def test_a_capture_imports_without_connection_frames(line_format: str, tmp_path: Path) -> None:
    """Lines alone: book, trades, markets; a line that was removed gives one stale book and no second."""
    bodies = [
        {"type": "connected", "connection_id": "c", "message_id": 0},
        data("v4_markets", None, {"markets": {BTC: market()}}, 2, "subscribed"),
        snapshot(BTC, [("10", "1")], [("11", "1")], 1),
        *(update(BTC, [("9", str(number))], [], number) for number in range(3, 100) if number != 40),
        data("v4_trades", BTC, {"trades": [trade(trade_id(9))]}, 100),
    ]
    lines = []
    for index, body in enumerate(bodies):
        ts_recv = START_NS + index * NS_PER_S
        entry = {"ts": ts_recv, "payload": body}
        lines.append(encoded(entry) if line_format == "jsonl" else b"%d %s" % (ts_recv, encoded(body)))
    path = tmp_path / "capture"
    path.write_bytes(b"\n".join(lines) + b"\n")
    options = ImportOptions(venue="dydx_v4", line_format=line_format)
    manifest = import_capture([path], tmp_path / "tape", options)
    assert manifest.symbols == {f"dydx_v4/{BTC}": BTC}
    messages = [message for batch in Recording.open(tmp_path / "tape").messages() for message in batch]
    assert len(of(BookDiff, messages)) == 96
    assert len(of(BookSnapshot, messages)) == len(of(Trade, messages)) == len(of(Instrument, messages)) == 1
    stale = events(messages, EventKind.STALE)
    assert {event.cause for event in stale} == {"sequence"}
    assert [event.stream for event in stale] == ["markets", "funding", "full"]
    assert not events(messages, EventKind.PARSE_ERROR)
    tracker = OrderBookTracker()
    for message in messages:
        tracker(message)
    assert tracker.book(BTC).is_stale
    assert json.loads((tmp_path / "tape" / "recording.json").read_bytes())["digest"] == digest_of(messages)
