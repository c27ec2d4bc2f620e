"""dYdX v4: what is subscribed where, what is asked for again, and which books are read again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.toolkit.venues.dydx_harness import (
    START_NS,
    Session,
    data,
    error,
    events,
    market,
    protocol,
    snapshot,
    update,
)
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.frames import CONTROL, control_payload
from toolkit.messages import EventKind
from toolkit.protocol import CloseConnection, SendText
from toolkit.venue import find_venue

BTC = "BTC-USD"
TICKERS = tuple(f"M{index}-USD" for index in range(70))


def texts(requests: list[Any]) -> list[tuple[str, str]]:
    """Kind and id of each text."""
    said = [json.loads(request.text) for request in requests if isinstance(request, SendText)]
    return [(each["type"], each.get("id", "")) for each in said]


def test_the_venue_is_listed_with_its_limits() -> None:
    """Two messages a second on a connection; both URLs end at the API's version."""
    spec = find_venue("dydx_v4")
    assert (spec.ws_url, spec.rest_url) == ("wss://indexer.dydx.trade/v4/ws", "https://indexer.dydx.trade/v4")
    assert spec.limits.messages_per_second == 2
    assert set(spec.default_channels) <= set(spec.channels)
    assert spec.make_protocol(protocol().options).venue == "dydx_v4"


def test_markets_are_spread_over_connections() -> None:
    """At most 32 subscriptions of a channel on each; the whole venue's channels have their own."""
    session = Session.ready(*TICKERS)
    roles = [plan.role for plan in session.subject.connections()]
    assert roles == ["venue", "books-0", "books-1", "books-2"]
    carried: list[tuple[str, str]] = []
    for conn_id, role in enumerate(roles):
        session.connect(role, conn_id, role)
        sent = session.send()
        for channel in ("v4_orderbook", "v4_trades"):
            assert sum(each["channel"] == channel for each in sent) <= 32
        carried += [(each["channel"], each.get("id", "")) for each in sent]
    assert len(carried) == len(set(carried)) == 2 + 2 * 70
    assert {ticker for channel, ticker in carried if channel == "v4_orderbook"} == set(TICKERS)


def test_two_channels_of_one_kind_share_its_limit() -> None:
    """Candles of two resolutions are two subscriptions of one channel each market."""
    session = Session.ready(*TICKERS, channels=("candles:1MIN", "candles:1HOUR"))
    roles = [plan.role for plan in session.subject.connections()]
    assert len(roles) == 5
    session.connect(roles[0])
    assert len(session.send()) == 32


def test_the_heartbeat_is_the_websockets_own() -> None:
    """A ping in JSON is never answered; the venue pings every 30 s."""
    (plan, *_) = Session.ready(BTC).subject.connections()
    assert plan.heartbeat.ping_text is None
    assert 30 < plan.heartbeat.idle_s_max <= 45


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (("books",), r"^unknown channel 'books', expected one of full, batched, trades, funding, blocks, candles:1MIN"),
        (("candles:2MIN",), r"^unknown channel 'candles:2MIN'"),
        (("full", "batched"), r"^channels full and batched are the same subscription: choose one of them$"),
    ],
)
def test_a_channel_there_is_not_is_refused(channels: tuple[str, ...], message: str) -> None:
    """With those there are."""
    with pytest.raises(ConfigError, match=message):
        protocol(channels=channels)


def test_nothing_is_sent_before_the_venue_greets() -> None:
    """And a connection on which it does not is made again."""
    session = Session.ready(BTC)
    session.control("connected", role="books-0")
    assert session.asked == []
    assert session.wait(9.9) == []
    assert [type(request) for request in session.wait(0.1)] == [CloseConnection]
    assert session.wait(1) == []
    session.take({"type": "connected", "connection_id": "c", "message_id": 0})
    assert len(session.send()) == 2
    session.take({"type": "connected", "connection_id": "c", "message_id": 0})
    assert session.send() == []


def begun(*tickers: str) -> Session:
    """Books subscribed, sent, and not answered yet."""
    session = Session.ready(*(tickers or (BTC,)), channels=("full",))
    session.connect("books-0")
    session.send()
    return session


def test_a_subscribe_without_an_answer_is_sent_again() -> None:
    """After the venue must have given up; once until that is due again."""
    session = begun()
    assert session.wait(29.9) == []
    assert texts(session.wait(0.1)) == [("subscribe", BTC)]
    assert session.wait(1) == []
    session.send()
    assert texts(session.wait(30)) == [("subscribe", BTC)]
    session.send()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 3))
    assert session.wait(60) == []


@pytest.mark.parametrize("fields", [{}, {"channel": "v4_orderbook", "id": BTC}])
def test_a_snapshot_that_could_not_be_fetched_is_asked_for_later(fields: dict[str, str]) -> None:
    """With or without the subscription's name in the error."""
    session = begun()
    text = "Internal error, could not fetch data for subscription: v4_orderbook."
    session.take(error(text, 1, **fields))
    assert session.wait(9.9) == []
    assert texts(session.wait(0.1)) == [("subscribe", BTC)]


def test_an_error_that_may_mean_several_requests_is_left_to_their_time() -> None:
    """Each is asked for again when its own answer does not come."""
    session = begun("A-USD", "B-USD")
    session.take(error("Internal error, could not fetch data for subscription: v4_orderbook.", 2))
    session.take(snapshot("B-USD", [("10", "1")], [("11", "1")], 2))
    assert session.wait(29) == []
    assert texts(session.wait(1)) == [("subscribe", "A-USD")]


@pytest.mark.parametrize(
    "text",
    [
        "Invalid subscription id for channel: (v4_orderbook-{})",
        "Per-connection subscription limit reached for v4_orderbook (limit=32).",
    ],
)
def test_what_is_refused_for_good_is_not_asked_for_again(text: str) -> None:
    """Dashes and commas in the ticker are its own."""
    session = begun("A-B,C-USD")
    session.take(error(text.format("A-B,C-USD"), 1))
    assert session.wait(100) == []
    assert len(events(session.messages, EventKind.REFUSED)) == 1


def test_being_subscribed_already_without_a_snapshot_is_undone() -> None:
    """The answer to the first subscribe was lost: only unsubscribing brings another."""
    session = begun()
    session.wait(30)
    session.send()
    session.take(error(f"Invalid subscribe message: already subscribed (v4_orderbook-{BTC})", 2))
    assert texts(session.wait(10)) == [("unsubscribe", BTC), ("subscribe", BTC)]
    session.send()
    session.take({"type": "unsubscribed", "connection_id": "c", "message_id": 3, "channel": "v4_orderbook", "id": BTC})
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 4))
    assert session.wait(60) == []
    # That is over: a subscribe that is lost later is just sent again.
    session.wait(601)
    session.send()
    assert texts(session.wait(30)) == [("subscribe", BTC)]


def test_being_subscribed_already_with_a_snapshot_changes_nothing() -> None:
    """A second answer was merely late."""
    session = begun()
    session.wait(30)
    session.send()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    session.take(error(f"Invalid subscribe message: already subscribed (v4_orderbook-{BTC})", 2))
    assert session.wait(60) == []


def test_a_book_is_read_anew_every_ten_minutes() -> None:
    """The time without it is a gap, and one that the venue's numbers explain."""
    session = begun()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    assert texts(session.wait(600)) == []
    assert texts(session.wait(1)) == [("unsubscribe", BTC), ("subscribe", BTC)]
    assert session.wait(1) == []
    session.send()
    told = session.take(
        {"type": "unsubscribed", "connection_id": "c", "message_id": 2, "channel": "v4_orderbook", "id": BTC}
    )
    assert [(event.stream, event.cause) for event in events(told, EventKind.STALE)] == [("full", "unsubscribed")]
    session.now_s += 1
    told = session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 3))
    (gap,) = events(told, EventKind.GAP)
    assert (gap.cause, gap.ts_start, gap.ts_end) == ("unsubscribed", START_NS, START_NS + 603 * NS_PER_S)
    assert texts(session.wait(590)) == []
    assert texts(session.wait(11)) == [("unsubscribe", BTC), ("subscribe", BTC)]


def test_trades_are_not_read_anew() -> None:
    """Nothing of them is missing between a snapshot and its updates that does not show."""
    session = Session.ready(BTC, channels=("trades",))
    session.connect("trades-0")
    session.send()
    session.take(data("v4_trades", BTC, {"trades": []}, 1, "subscribed"))
    assert texts(session.wait(5000)) == []


def test_books_are_read_anew_one_at_a_time() -> None:
    """Two messages a second are allowed, and trades shall not wait."""
    session = begun("A-USD", "B-USD")
    for number, ticker in enumerate(("A-USD", "B-USD"), 1):
        session.take(snapshot(ticker, [("10", "1")], [("11", "1")], number))
    assert texts(session.wait(601)) == [("unsubscribe", "A-USD"), ("subscribe", "A-USD")]
    assert texts(session.wait(1)) == [("unsubscribe", "B-USD"), ("subscribe", "B-USD")]


def test_a_book_that_stays_crossed_is_read_anew() -> None:
    """After 15 s of looks that found it so, and not within a minute of its snapshot."""
    session = begun()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    session.wait(100)
    session.take(update(BTC, [("11", "1")], [], 2))
    session.wait(1)
    assert session.wait(15) == []
    assert texts(session.wait(1)) == [("unsubscribe", BTC), ("subscribe", BTC)]
    session.send()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 4))
    session.take(update(BTC, [("11", "1")], [], 5))
    assert [session.wait(1) for _ in range(60)] == [[]] * 60
    assert texts(session.wait(1)) == [("unsubscribe", BTC), ("subscribe", BTC)]


def test_a_book_that_crosses_now_and_then_is_left_alone() -> None:
    """That is normal here."""
    session = begun()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    session.wait(100)
    for number in range(2, 60, 2):
        session.take(update(BTC, [("11", "1")], [], number))
        assert session.wait(5) == []
        session.take(update(BTC, [("11", "0")], [], number + 1))
        assert session.wait(5) == []


def test_after_a_reconnect_everything_is_subscribed_again() -> None:
    """The book is stale until its new snapshot; the venue counts from 0."""
    session = begun()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    session.now_s = 5
    told = session.control("disconnected", code=1012)
    assert [(event.stream, event.cause) for event in events(told, EventKind.STALE)] == [("full", "disconnect")]
    assert texts(session.wait(1000)) == []
    session.connect("books-0", name="d")
    assert [each["id"] for each in session.send()] == [BTC]
    told = session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1, "d"))
    assert [event.cause for event in events(told, EventKind.GAP)] == ["disconnect"]
    for number in range(2, 40):
        session.now_s += 1
        session.take(update(BTC, [("9", "1")], [], number, "d"))
    assert len(events(session.messages, EventKind.STALE)) == 1


@pytest.mark.parametrize("conn_id", [0, 5])
def test_funding_is_stale_with_its_connection(conn_id: int) -> None:
    """Each market's, and the stream of all; also where a resumed session has another connection for them."""
    session = Session.ready(BTC, channels=("funding",))
    for number, name in ((0, "c"), (conn_id, "d")):
        session.connect("venue", number, name)
        session.send()
        session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed", name), conn_id=number)
        told = session.control("disconnected", number)
    assert {(event.symbol, event.stream) for event in events(told, EventKind.STALE)} == {
        ("", "markets"),
        (BTC, "funding"),
    }


def test_a_deaf_connection_is_subscribed_anew() -> None:
    """The venue refuses what it takes for subscribed, so each is ended first."""
    session = begun(BTC, "ETH-USD")
    session.asked.clear()
    session.take(json.loads(control_payload("resubscribe")), kind=CONTROL)
    assert texts(session.asked) == [
        ("unsubscribe", BTC),
        ("subscribe", BTC),
        ("unsubscribe", "ETH-USD"),
        ("subscribe", "ETH-USD"),
    ]
