"""What a live session reads again because of time: terms, open interest, settled rates; and what fails of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.toolkit.venues.binance_harness import MS, Session, events, exchange_info, listed
from toolkit.messages import EventKind, FundingInfo, FundingKind, Instrument, Message, StreamEvent
from toolkit.protocol import Request, RestCall
from toolkit.venue import find_venue

HOUR_MS = 3_600_000
BTC = listed("BTCUSDT", "BTC", "USDT", contractType="PERPETUAL", marginAsset="USDT")
ETH = listed("ETHUSDT", "ETH", "USDT", contractType="PERPETUAL", marginAsset="USDT")
FINER = [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}]


def live(*channels: str, pairs: tuple[str, ...] = ("BTC-USDT",), venue: str = "binance-usdm") -> Session:
    session = Session(venue, pairs, channels or ("bbo", "funding"))
    session.start(BTC, ETH)
    session.protocol.requests()
    session.due()
    return session


def tags(requests: list[Request]) -> list[str]:
    return [request.tag for request in requests if isinstance(request, RestCall)]


def listing(session: Session, *rows: Any) -> list[Message]:
    return session.rest("exchangeInfo", {"symbols": list(rows)})


def mark(session: Session, next_ms: int, symbol: str = "BTCUSDT", **more: Any) -> FundingInfo:
    data = {"e": "markPriceUpdate", "E": MS, "s": symbol, "p": "100", "i": "99", "r": "0.0001", "T": next_ms} | more
    *_, info = session.stream(f"{symbol.lower()}@markPrice@1s", data, 1)
    assert isinstance(info, FundingInfo)
    return info


def rate(time_ms: int, text: str = "0.0002", symbol: str = "BTCUSDT", **more: Any) -> dict[str, Any]:
    return {"symbol": symbol, "fundingRate": text, "fundingTime": time_ms, "markPrice": "101"} | more


# -- terms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm", "binance-coinm"])
def test_terms_are_read_every_hour(venue: str) -> None:
    session = live("bbo", venue=venue)
    session.wait(3590)
    assert session.due() == []
    session.wait(20)
    again = [call for call in session.due() if isinstance(call, RestCall)]
    assert again == session.protocol.bootstrap()
    assert sum(call.weight for call in again) <= 20
    assert session.due() == []
    session.wait(3601)
    assert tags(session.due()) == [call.tag for call in again]


def test_a_change_of_terms_is_a_row_from_its_time_on() -> None:
    session = live(pairs=("BTC-USDT", "ETH-USDT"))
    assert listing(session, BTC, ETH) == []
    (changed,) = listing(session, BTC, ETH | {"filters": FINER})
    assert isinstance(changed, Instrument)
    assert (changed.symbol, changed.price_tick, changed.size_step) == ("ETHUSDT", 0.01, None)
    assert listing(session, BTC, ETH | {"filters": FINER}) == []
    (halted,) = listing(session, BTC | {"status": "HALT"}, ETH | {"filters": FINER})
    assert isinstance(halted, Instrument)
    assert (halted.symbol, halted.is_active) == ("BTCUSDT", False)
    found = session.tracker.instrument("BTC-USDT")
    assert found is not None
    assert not found.is_active
    assert session.protocol.failure is None


@pytest.mark.parametrize("how", ["failed", "slept"])
def test_an_answer_from_before_a_failure_or_a_sleep_ends_no_gap(how: str) -> None:
    session = live("bbo")
    session.wait(3600)
    (call, *_) = session.due()
    assert isinstance(call, RestCall)
    early = session.asked(call)
    if how == "slept":
        session.control("connection_stale", role="public", cause="suspend", silence_s=14_400)
    session.control("request_failed", -1, tag=call.tag, attempts=5, error="timed out")
    stream = session.protocol.streams.get("", "instruments")
    assert stream is not None
    assert not stream.is_live
    session.rest(call.tag, {"symbols": [BTC, ETH]}, number=early)
    assert not stream.is_live
    later = session.asked(call)
    session.protocol.restore(session.protocol.checkpoint())
    told = session.rest(call.tag, {"symbols": [BTC, ETH]}, number=later)
    assert (EventKind.GAP, "instruments", "no_answer") in events(told)


def test_an_older_answer_takes_nothing_back() -> None:
    """The one to a later request came first, and says more than the one that is late."""
    session = live()
    (terms, *_) = session.protocol.bootstrap()
    assert isinstance(terms, RestCall)
    early, later = session.asked(terms), session.asked(terms)
    session.rest(terms.tag, {"symbols": [BTC, ETH]}, number=early)
    early, later = session.asked(terms), session.asked(terms)
    (changed,) = session.rest(terms.tag, {"symbols": [BTC | {"filters": FINER}, ETH]}, number=later)
    assert isinstance(changed, Instrument)
    assert session.rest(terms.tag, {"symbols": [BTC, ETH]}, number=early) == []
    interest = RestCall("openInterest:BTCUSDT", "GET", "/fapi/v1/openInterest?symbol=BTCUSDT", b"")
    early, later = session.asked(interest), session.asked(interest)
    row = {"symbol": "BTCUSDT", "openInterest": "7", "time": MS}
    assert session.rest(interest.tag, row, number=later)
    assert session.rest(interest.tag, row | {"openInterest": "5"}, number=early) == []


def test_the_funding_period_is_used_from_its_time_on() -> None:
    session = live()
    assert mark(session, MS + HOUR_MS).funding_interval_s == 8 * 3600
    session.rest("fundingInfo", [{"symbol": "BTCUSDT", "fundingIntervalHours": 4}])
    assert mark(session, MS + HOUR_MS).funding_interval_s == 4 * 3600
    session.rest("fundingInfo", [])
    assert mark(session, MS + HOUR_MS).funding_interval_s == 8 * 3600


def test_what_is_no_longer_listed_is_told_once_and_ends_nothing() -> None:
    session = live(pairs=("BTC-USDT", "ETH-USDT"))
    messages = listing(session, ETH)
    assert events(messages) == [(EventKind.NOTICE, "", "unlisted")]
    assert [(m.symbol, m.is_active) for m in messages if isinstance(m, Instrument)] == [("BTCUSDT", False)]
    assert listing(session, ETH) == []
    assert session.protocol.failure is None
    assert session.protocol.trading_pair("BTCUSDT") == "BTC-USDT"
    (back,) = listing(session, BTC, ETH)
    assert isinstance(back, Instrument)
    assert (back.symbol, back.is_active) == ("BTCUSDT", True)
    assert events(listing(session, BTC)) == [(EventKind.NOTICE, "", "unlisted")]


def test_a_listing_of_nothing_changes_nothing() -> None:
    session = live()
    assert events(listing(session)) == [(EventKind.PARSE_ERROR, "", "")]
    assert session.protocol.failure is None


def test_a_second_instrument_of_the_same_currencies_renames_nothing() -> None:
    session = live()
    listing(session, BTC, ETH, listed("XBTUSDT", "BTC", "USDT"))
    assert session.protocol.trading_pair("BTCUSDT") == "BTC-USDT"
    assert session.protocol.trading_pair("XBTUSDT") == "XBTUSDT"
    assert mark(session, MS + HOUR_MS).trading_pair == "BTC-USDT"
    # The currencies of an instrument are spelled otherwise: so is its row, not its pair.
    (renamed,) = listing(session, BTC | {"baseAsset": "BTC2"}, ETH)
    assert isinstance(renamed, Instrument)
    assert (renamed.base, renamed.trading_pair) == ("BTC2", "BTC-USDT")


def test_what_begins_to_trade_later_is_subscribed_then() -> None:
    session = Session("binance-usdm", ("BTC-USDT", "ETH-USDT"), ("bbo", "funding"))
    session.start(BTC, ETH | {"status": "PENDING_TRADING"})
    session.protocol.requests()
    assert events(listing(session, BTC, ETH | {"status": "PENDING_TRADING"})) == []
    (row,) = listing(session, BTC, ETH)
    assert isinstance(row, Instrument)
    assert [(text["params"]) for text in session.texts()] == [["ethusdt@bookTicker"], ["ethusdt@markPrice@1s"]]
    stream = session.protocol.streams.get("ETHUSDT", "funding")
    assert stream is not None
    assert stream.conn_id == 1
    # The next connection asks for both.
    session.control("disconnected", 1, role="market")
    session.control("connected", 1, role="market")
    assert [(text["params"]) for text in session.texts()] == [["btcusdt@markPrice@1s", "ethusdt@markPrice@1s"]]


@pytest.mark.parametrize("how", ["status", "control"])
def test_terms_that_were_not_answered_are_a_gap_until_they_are(how: str) -> None:
    session = live()
    before = session.now
    session.wait(3601)
    assert tags(session.due()) == ["exchangeInfo", "fundingInfo"]
    if how == "status":
        failed = session.rest("exchangeInfo", b"busy", status=503)
    else:
        failed = session.control("request_failed", -1, tag="exchangeInfo", error="timed out")
    assert events(failed) == [(EventKind.REQUEST_FAILED, "", ""), (EventKind.STALE, "instruments", "no_answer")]
    if how == "status":
        session.control("request_failed", -1, tag="exchangeInfo", error="HTTP 503")
    session.wait(61)
    assert tags(session.due()) == ["exchangeInfo", "fundingInfo"]
    (gap,) = listing(session, BTC, ETH)
    assert isinstance(gap, StreamEvent)
    assert (gap.kind, gap.stream, gap.ts_start, gap.ts_end) == (EventKind.GAP, "instruments", before, session.now)


# -- a listing with something odd in it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        {"symbol": "NEWUSDT", "baseAsset": None, "quoteAsset": "USDT"},
        {"symbol": 7},
        [],
        None,
        "NEWUSDT",
        {"symbol": "", "baseAsset": "A", "quoteAsset": "B"},
        {"symbol": "NEWUSDT", "baseAsset": "NEW", "quoteAsset": "USDT", "contractSize": "many"},
    ],
)
def test_one_odd_entry_takes_nothing_from_the_others(odd: Any) -> None:
    session = Session("binance-usdm", ("BTC-USDT",))
    messages = session.rest("exchangeInfo", {"symbols": [odd, BTC]})
    assert events(messages) == [(EventKind.PARSE_ERROR, "", "item")]
    assert [m.symbol for m in messages if isinstance(m, Instrument)] == ["BTCUSDT"]
    session.rest("fundingInfo", [])
    assert session.protocol.is_ready
    assert events(session.rest("exchangeInfo", {"symbols": [odd, BTC]})) == []


def test_an_odd_filter_is_one_that_is_not_known() -> None:
    session = Session("binance-usdm", ("BTC-USDT",))
    filters = [{"filterType": "PRICE_FILTER", "tickSize": "fine"}, {"filterType": 1}, 7, BTC["filters"][1]]
    (row,) = session.rest("exchangeInfo", {"symbols": [BTC | {"filters": filters}]})
    assert isinstance(row, Instrument)
    assert (row.price_tick, row.size_step) == (None, 0.001)


@pytest.mark.parametrize("status", [403, 404, 451, 500])
def test_a_pair_is_recorded_where_funding_terms_are_refused(status: int) -> None:
    session = Session("binance-usdm", ("BTC-USDT",), ("bbo", "funding"))
    session.protocol.bootstrap()
    session.rest("exchangeInfo", {"symbols": [BTC]})
    assert not session.protocol.is_ready
    assert events(session.rest("fundingInfo", b"no", status=status)) == [(EventKind.REQUEST_FAILED, "", "")]
    assert session.protocol.is_ready
    # The period is not known then; the usual one would be a guess.
    session.control("connected", 0, role="public")
    session.control("connected", 1, role="market")
    assert mark(session, MS + HOUR_MS).funding_interval_s is None


@pytest.mark.parametrize("body", [b"{}", b"[{}]", b"[7]", b"nothing"])
def test_funding_terms_of_another_shape_hold_up_nothing(body: bytes) -> None:
    session = Session("binance-usdm", ("BTC-USDT",))
    session.protocol.bootstrap()
    session.rest("exchangeInfo", {"symbols": [BTC]})
    session.rest("fundingInfo", body)
    assert session.protocol.is_ready


def test_an_odd_entry_of_funding_terms_takes_nothing_from_the_others() -> None:
    session = live()
    rows = [{"symbol": "ETHUSDT", "fundingIntervalHours": "often"}, {"symbol": "BTCUSDT", "fundingIntervalHours": 1}]
    assert events(session.rest("fundingInfo", rows)) == [(EventKind.PARSE_ERROR, "", "item")]
    assert mark(session, MS + HOUR_MS).funding_interval_s == 3600


def test_an_odd_mark_price_takes_nothing_from_the_others() -> None:
    session = Session("binance-usdm")
    good = {"e": "markPriceUpdate", "E": MS, "p": "100", "i": "99", "r": "0.0001", "T": MS + HOUR_MS}
    rows = [good | {"s": "BTCUSDT"}, good | {"s": "XUSDT", "r": "much"}, 7, good | {"s": "ETHUSDT"}]
    messages = session.stream("!markPrice@arr@1s", rows)
    assert [(type(m).__name__, m.symbol) for m in messages] == [
        ("FundingInfo", "BTCUSDT"),
        ("StreamEvent", ""),
        ("StreamEvent", ""),
        ("FundingInfo", "ETHUSDT"),
    ]
    assert session.protocol.parse_error_count == 2


# -- open interest --------------------------------------------------------------------------------------------------


def interest(session: Session) -> list[Message]:
    return session.rest("openInterest:BTCUSDT", {"symbol": "BTCUSDT", "openInterest": "5", "time": MS})


def test_open_interest_hides_neither_rate_nor_mark() -> None:
    session = live("funding", "open_interest")
    mark(session, MS + HOUR_MS)
    interest(session)
    info = session.tracker.funding_info("BTC-USDT")
    assert info is not None
    assert (info.funding_rate, info.mark_price, info.open_interest) == (0.0001, 100.0, 5.0)
    mark(session, MS + HOUR_MS, p="102")
    info = session.tracker.funding_info("BTC-USDT")
    assert info is not None
    assert (info.mark_price, info.open_interest, info.index_price) == (102.0, 5.0, 99.0)


@pytest.mark.parametrize("how", ["status", "control"])
def test_open_interest_that_was_not_answered_is_a_gap_until_it_is(how: str) -> None:
    session = live("open_interest", "bbo")
    interest(session)
    before = session.now
    for number in range(3):
        session.wait(60)
        if how == "status":
            failed = session.rest("openInterest:BTCUSDT", b"busy", status=503)
        else:
            failed = session.control("request_failed", -1, tag="openInterest:BTCUSDT", error="timed out")
        assert events(failed)[1:] == [(EventKind.STALE, "open_interest", "no_answer")][: not number]
    session.wait(60)
    gap, info = interest(session)
    assert isinstance(gap, StreamEvent)
    assert (gap.kind, gap.trading_pair, gap.ts_start, gap.ts_end) == (EventKind.GAP, "BTC-USDT", before, session.now)
    assert isinstance(info, FundingInfo)


def test_open_interest_that_never_came_is_a_gap_too() -> None:
    session = live("open_interest", "bbo")
    begin = session.now
    failed = session.rest("openInterest:BTCUSDT", b"no", status=404)
    assert events(failed)[1:] == [(EventKind.STALE, "open_interest", "no_answer")]
    session.wait(60)
    gap, _ = interest(session)
    assert getattr(gap, "ts_start", 0) == begin


def test_open_interest_of_another_instrument_is_an_error() -> None:
    session = live("open_interest", "bbo")
    body = {"symbol": "ETHUSDT", "openInterest": "5", "time": MS}
    assert events(session.rest("openInterest:BTCUSDT", body)) == [(EventKind.PARSE_ERROR, "", "")]


# -- settled rates --------------------------------------------------------------------------------------------------


def settled(messages: list[Message]) -> list[int]:
    return [
        (m.ts_event or 0) // 1_000_000 for m in messages if isinstance(m, FundingInfo) and m.kind is FundingKind.SETTLED
    ]


def test_a_rate_that_was_charged_is_asked_for_and_told_once() -> None:
    session = live()
    first, second = MS + HOUR_MS, MS + 9 * HOUR_MS
    mark(session, first)
    session.wait(100)
    assert session.due() == []
    mark(session, second)
    session.wait(16)
    (call,) = session.due()
    path = f"/fapi/v1/fundingRate?symbol=BTCUSDT&startTime={first}&limit=1000"
    assert call == RestCall("fundingRate:BTCUSDT", "GET", path)
    messages = session.rest("fundingRate:BTCUSDT", [rate(first + 3)])
    assert settled(messages) == [first + 3]
    (info,) = messages
    assert isinstance(info, FundingInfo)
    assert (info.funding_rate, info.mark_price, info.funding_interval_s) == (0.0002, 101.0, 8 * 3600)
    assert settled(session.rest("fundingRate:BTCUSDT", [rate(first + 3)])) == []
    session.wait(1000)
    assert session.due() == []
    now = session.tracker.funding_info("BTC-USDT")
    assert now is not None
    assert (now.kind, now.funding_rate) == (FundingKind.CURRENT, 0.0001)


def test_after_hours_without_rest_every_rate_since_the_last_known_one_comes() -> None:
    session = live()
    times = [MS + n * 8 * HOUR_MS for n in range(1, 8)]
    mark(session, times[0])
    mark(session, times[1])
    session.wait(16)
    session.due()
    session.rest("fundingRate:BTCUSDT", [rate(times[0])])
    asked = 0
    for time in times[2:]:
        mark(session, time)
        for _ in range(8 * 60):
            session.wait(60)
            calls = [tag for tag in tags(session.due()) if tag.startswith("fundingRate")]
            asked += len(calls)
            for tag in calls:
                session.control("request_failed", -1, tag=tag, error="refused")
    assert 100 < asked < 300  # ever more rarely, a quarter of an hour apart
    session.wait(901)
    (call,) = [call for call in session.due() if isinstance(call, RestCall) and call.tag.startswith("fundingRate")]
    assert f"startTime={times[0] + 1}&" in call.path
    messages = session.rest("fundingRate:BTCUSDT", [rate(time) for time in times[:6]])
    assert settled(messages) == times[1:6]
    assert events(messages) == [(EventKind.GAP, "settled", "no_answer")]


def test_more_rates_than_one_answer_holds_are_asked_for_page_by_page() -> None:
    session = live()
    start = MS - 3000 * HOUR_MS
    mark(session, start)
    mark(session, MS)
    session.wait(16)
    known: list[int] = []
    for page in (range(1000), range(1000, 2000), range(2000, 2500)):
        (call,) = session.due()
        since = known[-1] + 1 if known else start
        assert isinstance(call, RestCall)
        assert f"startTime={since}&" in call.path
        known += settled(session.rest("fundingRate:BTCUSDT", [rate(start + n * HOUR_MS) for n in page]))
    assert known == [start + n * HOUR_MS for n in range(2500)]
    assert session.due() == []


def test_a_rate_that_is_not_published_yet_is_asked_for_again() -> None:
    session = live()
    mark(session, MS)
    mark(session, MS + 8 * HOUR_MS)
    session.wait(16)
    assert tags(session.due()) == ["fundingRate:BTCUSDT"]
    assert session.rest("fundingRate:BTCUSDT", []) == []
    session.wait(61)
    assert tags(session.due()) == ["fundingRate:BTCUSDT"]
    assert settled(session.rest("fundingRate:BTCUSDT", [rate(MS + 2)])) == [MS + 2]
    session.wait(3000)
    assert session.due() == []


def ask(session: Session) -> int:
    """The one question about rates that is due leaves; returns its number."""
    (call,) = [call for call in session.due() if isinstance(call, RestCall) and call.tag.startswith("fundingRate")]
    return session.asked(call)


def test_rates_charged_while_marks_were_not_heard_are_asked_for_though_a_later_one_is_known() -> None:
    session = live()
    times = [MS + n * 8 * HOUR_MS for n in range(6)]
    mark(session, times[0])
    mark(session, times[1])
    session.wait(16)
    number = ask(session)
    session.control("disconnected", 1, role="market")
    # The answer comes a settlement later, and the marks only after another one.
    session.wait(9 * 3600)
    assert settled(session.rest("fundingRate:BTCUSDT", [rate(time) for time in times[:3]], number=number)) == times[:3]
    session.wait(8 * 3600)
    session.control("connected", 1, role="market")
    mark(session, times[4])
    session.wait(16)
    number = ask(session)
    assert settled(session.rest("fundingRate:BTCUSDT", [rate(times[3])], number=number)) == [times[3]]
    session.wait(5000)
    assert not [tag for tag in tags(session.due()) if tag.startswith("fundingRate")]


def test_an_answer_of_before_does_not_settle_what_is_owed_since() -> None:
    session = live()
    first, second, third = (MS + n * 8 * HOUR_MS for n in range(3))
    mark(session, first)
    mark(session, second)
    session.wait(16)
    early = ask(session)
    session.wait(8 * 3600)
    mark(session, third + 8 * HOUR_MS)
    assert settled(session.rest("fundingRate:BTCUSDT", [rate(first), rate(second)], number=early)) == [first, second]
    session.wait(901)
    late = ask(session)
    assert settled(session.rest("fundingRate:BTCUSDT", [rate(third)], number=late)) == [third]


def test_an_answer_of_before_ends_no_gap_of_rates() -> None:
    session = live()
    mark(session, MS)
    mark(session, MS + 8 * HOUR_MS)
    session.wait(16)
    early = ask(session)
    session.wait(8 * 3600)
    mark(session, MS + 16 * HOUR_MS)
    session.control("request_failed", -1, tag="fundingRate:BTCUSDT", error="refused")
    told = session.rest("fundingRate:BTCUSDT", [rate(MS)], number=early)
    assert (settled(told), events(told)) == ([MS], [])
    session.wait(16)
    late = ask(session)
    told = session.rest("fundingRate:BTCUSDT", [rate(MS + 8 * HOUR_MS)], number=late)
    assert (settled(told), events(told)) == ([MS + 8 * HOUR_MS], [(EventKind.GAP, "settled", "no_answer")])


def test_a_rate_that_came_before_its_mark_costs_one_more_question() -> None:
    session = live()
    first, second = MS, MS + 8 * HOUR_MS
    mark(session, first)
    assert settled(session.rest("fundingRate:BTCUSDT", [rate(first + 3)])) == [first + 3]
    mark(session, second)
    session.wait(16)
    number = ask(session)
    assert session.rest("fundingRate:BTCUSDT", [], number=number) == []
    session.wait(5000)
    assert not [tag for tag in tags(session.due()) if tag.startswith("fundingRate")]


def test_an_odd_rate_takes_nothing_from_the_others() -> None:
    session = live()
    rows = [rate(MS), rate(MS + 1, "much"), rate(MS + 2, fundingTime="x"), 7, rate(MS + 3, markPrice=""), rate(5)]
    messages = session.rest("fundingRate:BTCUSDT", rows)
    assert settled(messages) == [MS, MS + 3]
    assert events(messages) == [(EventKind.PARSE_ERROR, "", "item")]


def test_few_rates_are_asked_for_at_once() -> None:
    rows = [listed(f"C{number}USDT", f"C{number}", "USDT") for number in range(50)]
    session = Session("binance-usdm", tuple(row["symbol"] for row in rows), ("funding",))
    session.start(*rows)
    session.due()
    for time in (MS, MS + HOUR_MS):
        for row in rows:
            mark(session, time, row["symbol"])
    session.wait(16)
    asked = [tags(session.due()) for _ in range(60)]
    assert max(map(len, asked)) == 1
    assert sorted(tag for some in asked for tag in some) == sorted(f"fundingRate:{row['symbol']}" for row in rows)


def test_a_checkpoint_anywhere_gives_the_same_later_messages_of_polls() -> None:
    session = live("funding", "open_interest", "bbo", pairs=("BTC-USDT", "ETH-USDT"))
    mark(session, MS)
    interest(session)
    session.rest("openInterest:BTCUSDT", b"busy", status=503)
    mark(session, MS + HOUR_MS)
    session.rest("fundingRate:BTCUSDT", [rate(MS)])
    listing(session, ETH)
    listing(session, BTC, ETH, {"symbol": 1})
    session.control("request_failed", -1, tag="fundingInfo", error="refused")
    listing(session, BTC | {"status": "HALT"}, ETH, {"symbol": 1})
    session.rest("fundingInfo", [{"symbol": "BTCUSDT", "fundingIntervalHours": 4}])
    interest(session)
    mark(session, MS + 2 * HOUR_MS)
    session.rest("fundingRate:BTCUSDT", [rate(MS), rate(MS + HOUR_MS)])
    session.control("session_end")
    session.feed(exchange_info(BTC, ETH), "rest_in", -1, {"tag": "exchangeInfo", "status": 200})
    expected = [find_venue("binance-usdm").make_protocol(session.options)]
    whole = [expected[0].receive(frame) for frame in session.frames]
    for cut in range(len(session.frames)):
        before = find_venue("binance-usdm").make_protocol(session.options)
        for frame in session.frames[:cut]:
            before.receive(frame)
        after = find_venue("binance-usdm").make_protocol(session.options)
        after.restore(copy.deepcopy(before.checkpoint()))
        assert [after.receive(frame) for frame in session.frames[cut:]] == whole[cut:], f"cut at {cut}"
