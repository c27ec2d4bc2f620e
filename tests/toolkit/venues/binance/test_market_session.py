"""A live session with Binance, frame by frame: metadata, routes, subscriptions, answers, silence."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from tests.toolkit.venues.binance_harness import MS, Session, events, listed, usdm_diff
from toolkit.errors import ConfigError, SymbolError, VenueRefused
from toolkit.messages import EventKind, FundingInfo, Instrument
from toolkit.protocol import ProtocolOptions, RestCall, SendText
from toolkit.venue import find_venue, venues

BTC = listed("BTCUSDT", "BTC", "USDT", contractType="PERPETUAL", marginAsset="USDT")
ETH = listed("ETHUSDT", "ETH", "USDT", contractType="PERPETUAL", marginAsset="USDT")
DEAD = listed("LUNAUSDT", "LUNA", "USDT", status="SETTLING")
BINANCE = ("binance-coinm", "binance-spot", "binance-usdm")


def test_there_are_three_venues() -> None:
    assert set(BINANCE) <= set(venues())


@pytest.mark.parametrize("venue", BINANCE)
def test_every_channel_that_is_listed_can_be_asked_for(venue: str) -> None:
    spec = find_venue(venue)
    for channel in spec.channels:
        spec.make_protocol(ProtocolOptions(channels=(channel,)))
    assert set(spec.default_channels) <= set(spec.channels)


@pytest.mark.parametrize(
    ("venue", "channels", "text"),
    [
        ("binance-spot", ("full:0ms",), "binance-spot has no channel 'full:0ms'"),
        ("binance-spot", ("funding",), "binance-spot has no channel 'funding'"),
        ("binance-usdm", ("depth7",), "binance-usdm has no channel 'depth7'"),
        ("binance-usdm", ("full", "full:0ms"), "channels full and full:0ms are one book at two speeds"),
    ],
)
def test_a_channel_that_is_none_is_refused(venue: str, channels: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(text)}"):
        find_venue(venue).make_protocol(ProtocolOptions(channels=channels))


def test_metadata_comes_first_and_funding_terms_with_it() -> None:
    session = Session("binance-usdm", ("BTC-USDT",))
    calls = session.protocol.bootstrap()
    assert calls == [
        RestCall("exchangeInfo", "GET", "/fapi/v1/exchangeInfo", b"", 1),
        RestCall("fundingInfo", "GET", "/fapi/v1/fundingInfo", b"", 1),
    ]
    (found,) = session.rest("exchangeInfo", {"symbols": [BTC, ETH]})
    assert isinstance(found, Instrument)
    assert (found.symbol, session.protocol.is_ready) == ("BTCUSDT", False)
    session.rest("fundingInfo", [{"symbol": "BTCUSDT", "fundingIntervalHours": 4}])
    assert session.protocol.is_ready
    mark = {"e": "markPriceUpdate", "E": MS, "s": "BTCUSDT", "p": "1", "i": "1", "r": "0.1", "T": MS + 1000}
    (info,) = session.stream("btcusdt@markPrice@1s", mark)
    assert isinstance(info, FundingInfo)
    assert info.funding_interval_s == 4 * 3600
    (info,) = session.stream("ethusdt@markPrice@1s", mark | {"s": "ETHUSDT"})
    assert isinstance(info, FundingInfo)
    assert info.funding_interval_s == 8 * 3600
    (info,) = session.stream("btcusdt@markPrice@1s", mark | {"T": 0})
    assert isinstance(info, FundingInfo)
    assert info.funding_interval_s is None


def test_an_unknown_pair_ends_it_with_the_closest_names() -> None:
    session = Session("binance-usdm", ("BTC-USDD",))
    session.start(BTC, ETH)
    assert isinstance(session.protocol.failure, SymbolError)
    assert "did you mean BTC-USDT" in str(session.protocol.failure)
    assert not session.protocol.is_ready


def test_what_does_not_trade_is_left_out_and_said() -> None:
    session = Session("binance-usdm", ("BTC-USDT", "LUNAUSDT"))
    messages = session.rest("exchangeInfo", {"symbols": [BTC, DEAD]})
    assert events(messages) == [(EventKind.REFUSED, "", "")]
    session = Session("binance-usdm", ("LUNAUSDT",))
    session.rest("exchangeInfo", {"symbols": [BTC, DEAD]})
    assert isinstance(session.protocol.failure, VenueRefused)


def plans(session: Session) -> list[tuple[str, str]]:
    return [(plan.role, plan.path) for plan in session.protocol.connections()]


def test_each_route_has_a_connection_and_its_own_streams() -> None:
    session = Session(
        "binance-usdm", ("BTC-USDT",), ("full:0ms", "depth20:500ms", "bbo", "agg_trades", "funding", "liquidations")
    )
    for tag, body in (("exchangeInfo", {"symbols": [BTC]}), ("fundingInfo", [])):
        session.rest(tag, body)
    assert plans(session) == [("public", "/public/stream"), ("market", "/market/stream")]
    session.control("connected", 0, role="public")
    assert session.texts() == [
        {"method": "SUBSCRIBE", "params": ["btcusdt@depth@0ms", "btcusdt@depth20@500ms", "btcusdt@bookTicker"], "id": 1}
    ]
    session.control("connected", 1, role="market")
    assert session.texts() == [
        {"method": "SUBSCRIBE", "params": ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@forceOrder"], "id": 2}
    ]


@pytest.mark.parametrize(("venue", "row"), [("binance-spot", BTC), ("binance-coinm", BTC)])
def test_spot_and_coin_m_have_one_route(venue: str, row: dict[str, Any]) -> None:
    session = Session(venue, ("BTCUSDT",))
    session.start(row)
    assert plans(session) == [("public", "/stream")]


def test_many_streams_are_asked_for_in_few_messages_over_several_connections() -> None:
    rows = [listed(f"C{number}USDT", f"C{number}", "USDT") for number in range(150)]
    session = Session("binance-spot", tuple(row["symbol"] for row in rows), ("full", "bbo", "trades"))
    session.rest("exchangeInfo", {"symbols": rows})
    assert [role for role, _ in plans(session)] == ["public", "public-2", "public-3"]
    asked: list[str] = []
    for number, plan in enumerate(session.protocol.connections()):
        session.control("connected", number, role=plan.role)
        texts = session.texts()
        assert len(texts) <= 2
        for text in texts:
            asked += text["params"]
    wanted = {f"c{n}usdt@{words}" for n in range(150) for words in ("depth@100ms", "bookTicker", "trade")}
    assert len(asked) == 450
    assert set(asked) == wanted


def started() -> Session:
    session = Session("binance-usdm", ("BTC-USDT",), ("full", "funding"))
    session.start(BTC)
    return session


def test_an_answer_ends_the_waiting_and_a_lost_one_is_asked_for_again() -> None:
    session = started()
    requests = [request for request in session.protocol.requests() if isinstance(request, SendText)]
    for request in requests:
        session.sent(request.text, request.conn_id)
    assert session.feed({"result": None, "id": 1}, conn_id=0) == []
    session.wait(9)
    assert session.due() == []
    session.wait(2)
    assert session.due() == [requests[1]]
    session.control("disconnected", 0, role="public")
    assert session.due() == [requests[1]]
    assert session.feed({"result": None, "id": 2}, conn_id=1) == []
    assert session.due() == []


def test_an_error_names_what_was_asked_for() -> None:
    session = started()
    session.protocol.requests()
    (event,) = session.feed({"code": 2, "msg": "Invalid request", "id": 2}, conn_id=1)
    assert getattr(event, "kind", None) is EventKind.REFUSED
    assert getattr(event, "detail", "") == "code 2: Invalid request (asked for btcusdt@markPrice@1s)"
    assert events(session.feed({"code": 3, "msg": "Invalid JSON"})) == [(EventKind.VENUE_ERROR, "", "")]
    assert events(session.feed({"error": {"code": 2, "msg": "x"}, "id": 1})) == [(EventKind.REFUSED, "", "")]


def test_a_stream_that_was_acknowledged_and_never_speaks_is_reported_once() -> None:
    session = started()
    session.feed({"result": None, "id": 1}, conn_id=0)
    session.feed({"result": None, "id": 2}, conn_id=1)
    session.stream("btcusdt@depth@100ms", usdm_diff(5, 10, 1))
    assert session.protocol.streams.silent(session.now) == []
    session.wait(16)
    (silent,) = session.protocol.streams.silent(session.now)
    assert (silent.symbol, silent.stream, silent.conn_id) == ("BTCUSDT", "funding", 1)
    messages = session.control("stale", 1, symbol="BTCUSDT", stream="funding", silence_s=16, cause="silence")
    assert events(messages) == [(EventKind.STALE, "funding", "no_data")]
    assert session.protocol.streams.silent(session.now) == []
    assert session.control("stale", 1, symbol="BTCUSDT", stream="funding", silence_s=17) == []
    # Diffs that wait for a snapshot have spoken.
    session.wait(100)
    assert session.protocol.streams.silent(session.now) == []
    # A new connection is watched again.
    session.control("disconnected", 1, role="market")
    session.control("connected", 1, role="market")
    session.wait(16)
    assert [stream.stream for stream in session.protocol.streams.silent(session.now)] == ["funding"]


def test_the_mark_price_may_not_be_silent_for_long() -> None:
    session = started()
    mark = {"e": "markPriceUpdate", "E": MS, "s": "BTCUSDT", "p": "1", "i": "1", "r": "0.1", "T": MS + 1000}
    session.stream("btcusdt@markPrice@1s", mark, 1)
    session.wait(14)
    assert session.protocol.streams.silent(session.now) == []
    session.wait(2)
    assert [stream.stream for stream in session.protocol.streams.silent(session.now)] == ["funding"]


def test_a_lost_connection_takes_its_unanswered_requests_along() -> None:
    session = started()
    for request in session.protocol.requests():
        assert isinstance(request, SendText)
        session.sent(request.text, request.conn_id)
    session.control("disconnected", 0, role="public")
    session.wait(11)
    assert [getattr(request, "conn_id", None) for request in session.due()] == [1]


def test_open_interest_is_asked_for_every_minute() -> None:
    session = Session("binance-coinm", ("BTC-USD",), ("open_interest", "bbo"))
    session.start(listed("BTCUSD_PERP", "BTC", "USD", status="", contractStatus="TRADING", contractSize=100))
    assert [text["params"] for text in session.texts()] == [["btcusd_perp@bookTicker"]]
    (call,) = session.due()
    assert call == RestCall("openInterest:BTCUSD_PERP", "GET", "/dapi/v1/openInterest?symbol=BTCUSD_PERP")
    session.wait(59)
    assert session.due() == []
    session.wait(2)
    assert len(session.due()) == 1
    answer = {
        "symbol": "BTCUSD_PERP",
        "pair": "BTCUSD",
        "openInterest": "15004",
        "contractType": "PERPETUAL",
        "time": MS,
    }
    (info,) = session.rest("openInterest:BTCUSD_PERP", answer)
    assert isinstance(info, FundingInfo)
    assert (info.open_interest, info.trading_pair, info.ts_event) == (15004.0, "BTC-USD", MS * 1_000_000)


@pytest.mark.parametrize("is_list", [False, True])
def test_funding_can_be_asked_for(is_list: bool) -> None:
    session = started()
    call = session.protocol.funding_request("BTCUSDT")
    assert call == RestCall("premiumIndex:BTCUSDT", "GET", "/fapi/v1/premiumIndex?symbol=BTCUSDT")
    row = {
        "symbol": "BTCUSDT",
        "markPrice": "100.1",
        "indexPrice": "100.2",
        "lastFundingRate": "0.0001",
        "nextFundingTime": MS + 1000,
        "time": MS,
    }
    (info,) = session.rest(call.tag, [row] if is_list else row)
    assert isinstance(info, FundingInfo)
    assert (info.mark_price, info.index_price, info.funding_rate) == (100.1, 100.2, 0.0001)
    assert find_venue("binance-spot").make_protocol(ProtocolOptions()).funding_request("BTCUSDT") is None


@pytest.mark.parametrize(
    "tag", ["exchangeInfo", "depth:BTCUSDT", "openInterest:BTCUSDT", "premiumIndex:BTCUSDT", "fundingInfo"]
)
@pytest.mark.parametrize("body", [b"{", b"[]x", b'{"a":1}', b"\xff", b"7"])
def test_an_answer_of_another_shape_is_one_error(tag: str, body: bytes) -> None:
    session = started()
    assert events(session.rest(tag, body)) == [(EventKind.PARSE_ERROR, "", "")]


def test_the_plan_has_the_limits_of_the_venue() -> None:
    spec = find_venue("binance-spot")
    assert (spec.limits.messages_per_second or 99) < 5
    assert (find_venue("binance-usdm").limits.messages_per_second or 99) < 10
    session = started()
    assert all(plan.heartbeat.ping_text is None for plan in session.protocol.connections())


def test_a_deaf_connection_is_subscribed_again() -> None:
    """By all of its streams; the venue takes those that it has already as done."""
    session = started()
    first = [request for request in session.protocol.requests() if isinstance(request, SendText)]
    session.control("resubscribe", 0)
    (again,) = [request for request in session.protocol.requests() if isinstance(request, SendText)]
    names = [msgspec.json.decode(request.text)["params"] for request in first if request.conn_id == 0]
    assert (again.conn_id, msgspec.json.decode(again.text)["params"]) == (0, names[0])
