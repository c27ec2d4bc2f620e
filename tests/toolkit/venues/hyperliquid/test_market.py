"""Hyperliquid's market data: frames in, messages out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.tapes import SECOND, TS, Feed, bbo_frame, book_frame, one, trade
from tests.toolkit.venues.hyperliquid_session import REPLIES, ack, asked, feed_of, send
from toolkit.books.tracker import OrderBookTracker
from toolkit.errors import ConfigError
from toolkit.messages import (
    SIDE_NOT_TOLD,
    BestQuote,
    BookSnapshot,
    EventKind,
    FundingInfo,
    FundingKind,
    Message,
)
from toolkit.protocol import ProtocolOptions, RestCall, SendText
from toolkit.venue import find_venue

MS = TS // 1_000_000


@pytest.fixture
def feed() -> Feed:
    """An import: no pairs, no connections."""
    return feed_of()


def connected(*pairs: str, channels: tuple[str, ...] = ()) -> Feed:
    feed = feed_of(*(pairs or ("BTC-USD", "ETH-USD")), channels=channels)
    feed.control("connected", role="main")
    return feed


def kinds(messages: list[Message]) -> list[str]:
    return [getattr(message, "kind", type(message).__name__) for message in messages]


# -- connections ---------------------------------------------------------------------------------------------------


def test_each_form_of_the_book_that_cannot_be_told_apart_has_its_own_socket() -> None:
    feed = feed_of("BTC-USD", channels=("full", "fast", "bbo", "trades", "funding", "agg:3", "agg:5:2"))
    plans = feed.protocol.connections()
    assert [plan.role for plan in plans] == ["depth", "main", "agg:3", "agg:5:2"]
    assert all(plan.heartbeat.ping_text == b'{"method":"ping"}' and plan.heartbeat.idle_s_max <= 40 for plan in plans)
    assert all(plan.heartbeat.interval_s < 60 for plan in plans)
    said = {}
    for conn_id, plan in enumerate(plans):
        feed.control("connected", conn_id, role=plan.role)
        said[plan.role] = asked(feed)
    assert said == {
        "depth": [{"type": "l2Book", "coin": "BTC"}],
        "main": [
            {"type": "l2Book", "coin": "BTC", "fast": True},
            {"type": "bbo", "coin": "BTC"},
            {"type": "trades", "coin": "BTC"},
            {"type": "activeAssetCtx", "coin": "BTC"},
        ],
        "agg:3": [{"type": "l2Book", "coin": "BTC", "nSigFigs": 3}],
        "agg:5:2": [{"type": "l2Book", "coin": "BTC", "nSigFigs": 5, "mantissa": 2}],
    }


def test_what_a_backtester_needs_is_recorded_by_default() -> None:
    assert find_venue("hyperliquid").default_channels == ("full", "fast", "bbo", "trades", "funding")
    assert [plan.role for plan in feed_of("BTC-USD").protocol.connections()] == ["depth", "main"]


@pytest.mark.parametrize("name", ["l2Book", "agg", "agg:1", "agg:6", "agg:4:2", "agg:5:1", "agg:5:2:1", "agg:x", ""])
def test_a_channel_that_would_close_the_socket_is_refused(name: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^unknown channel '.*', expected one of full, fast, bbo, trades, funding, agg"
    ):
        find_venue("hyperliquid").make_protocol(ProtocolOptions(pairs=("BTC",), channels=(name,)))


def test_outcomes_are_not_asked_for_a_context_that_they_do_not_have() -> None:
    feed = connected("#7510", channels=("bbo", "funding"))
    assert asked(feed) == [{"type": "bbo", "coin": "#7510"}]


# -- books and quotes ----------------------------------------------------------------------------------------------


def test_a_book_says_what_the_frame_says(feed: Feed) -> None:
    book = one(feed.text(book_frame("BTC", MS, [(10.5, 1.25), (10.0, 2.0)], [(11.0, 3.0)])))
    assert book == BookSnapshot(
        "hyperliquid", "BTC", "BTC-USD", MS * 1_000_000, TS, len(feed.frames) - 1, 0, "full", True, 20,
        (10.5, 10.0), (1.25, 2.0), (1, 1), (11.0,), (3.0,), (1,),
    )  # fmt: skip
    assert book.row_count == 3


@pytest.mark.parametrize(
    ("role", "more", "form", "fused", "cap"),
    [
        ("depth", {}, "full", True, 20),
        ("main", {"fast": True}, "fast", True, 5),
        ("agg:5:2", {"spread": "2.0"}, "agg:5:2", False, 20),
        ("", {"spread": "2.0"}, "agg", False, 20),
        ("", {}, "full", True, 20),
    ],
)
def test_the_form_of_a_book_follows_from_its_socket_and_the_frame(
    role: str, more: dict[str, Any], form: str, fused: bool, cap: int
) -> None:
    feed = feed_of("BTC-USD", channels=("full", "fast", "agg:5:2"))
    if role:
        feed.control("connected", 3, role=role)
    book = one(feed.text(book_frame("BTC", MS, [(10.0, 1.0)], **more), conn_id=3))
    assert (book.form, book.fused, book.depth_cap) == (form, fused, cap)


def test_an_empty_book_of_a_delisted_coin_is_a_book(feed: Feed) -> None:
    book = one(feed.text(book_frame("OLD", MS)))
    assert (book.bid_prices, book.ask_prices, book.row_count) == ((), (), 1)


@pytest.mark.parametrize(
    ("levels", "bid", "ask"),
    [
        (((10.0, 1.0), (11.0, 2.0)), (10.0, 1.0, 1), (11.0, 2.0, 1)),
        ((None, (11.0, 2.0)), (None, None, None), (11.0, 2.0, 1)),
        (((10.0, 1.0), None), (10.0, 1.0, 1), (None, None, None)),
        ((None, None), (None, None, None), (None, None, None)),
        (((10.0, 1.0),), (10.0, 1.0, 1), (None, None, SIDE_NOT_TOLD)),
        (((0.0, 1.0), (11.0, 2.0)), (None, None, SIDE_NOT_TOLD), (11.0, 2.0, 1)),
        (((10.0, 0.0), (11.0, 2.0)), (None, None, SIDE_NOT_TOLD), (11.0, 2.0, 1)),
        (((10.0, 1.0), (11.0, 0.0)), (10.0, 1.0, 1), (None, None, SIDE_NOT_TOLD)),
    ],
)
def test_a_quote_may_lack_a_side(feed: Feed, levels: Any, bid: Any, ask: Any) -> None:
    """
    A null says that it is empty; an array of one element, as was captured, says nothing of the other side.

    Nor does a level that is none.
    """
    said = feed.text(bbo_frame("BTC", MS, *levels))[0]
    assert isinstance(said, BestQuote)
    assert (said.bid_price, said.bid_size, said.bid_count) == bid
    assert (said.ask_price, said.ask_size, said.ask_count) == ask
    assert (said.fused, said.ts_event) == (True, MS * 1_000_000)


@pytest.mark.parametrize("levels", [(), ((10.0, 0.0),), ((10.0, 0.0), (11.0, 0.0)), ((0.0, 1.0), (11.0, 0.0))])
def test_a_quote_that_says_nothing_of_either_side_is_none(feed: Feed, levels: Any) -> None:
    """Two sides that are empty are null; neither an array of nothing nor a price at which nothing is says that."""
    tracker = OrderBookTracker()
    tracker(one(feed.text(book_frame("BTC", MS, [(10.0, 1.0)], [(11.0, 1.0)]))))
    sides = [{"px": str(price), "sz": str(size), "n": 1} for price, size in levels]
    said = feed.channel("bbo", {"coin": "BTC", "time": MS + 1, "bbo": sides})
    assert kinds(said) == ["parse_error"]
    assert "best quote" in said[0].detail
    tracker(said[0])
    assert (tracker.book("BTC-USD").bids.best_price, tracker.book("BTC-USD").asks.best_price) == (10.0, 11.0)
    assert kinds(feed.text(bbo_frame("BTC", MS + 2, None, None))) == ["BestQuote"]


def test_a_quote_of_an_outcome_is_not_one_of_its_book(feed: Feed) -> None:
    assert one(feed.text(bbo_frame("#7510", MS, (0.5, 1.0)))).fused is False


def test_a_time_that_goes_back_is_told_and_the_frame_taken_as_it_is(feed: Feed) -> None:
    """Per stream and once; an equal time is none."""
    for frame in (book_frame("BTC", MS), bbo_frame("BTC", MS - 500), book_frame("BTC", MS)):
        assert len(feed.text(frame)) == 1
    event, book = feed.text(book_frame("BTC", MS - 1))
    assert (event.kind, event.stream, event.symbol) == (EventKind.TIME_REGRESSION, "full", "BTC")
    assert event.detail == f"venue time went back from {MS} to {MS - 1} ms"
    assert (book.ts_event, event.sub_seq, book.sub_seq) == ((MS - 1) * 1_000_000, 0, 1)
    assert kinds(feed.text(book_frame("BTC", MS - 1))) == ["BookSnapshot"]
    assert kinds(feed.text(book_frame("BTC", MS))) == ["BookSnapshot"]
    feed.text(book_frame("BTC", MS + 600_000))
    assert [len(feed.text(book_frame("BTC", MS + number))) for number in range(3)] == [2, 1, 1]


# -- what is odd ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "data", "expected"),
    [
        ("activeAssetCtx", {"coin": "BTC", "ctx": {"markPx": "5.0", "funding": "soon", "oraclePx": {}}}, "current"),
        ("activeAssetCtx", {"coin": "BTC", "ctx": {"funding": "0.1", "impactPxs": ["1"]}}, "current"),
        ("bbo", {"coin": "BTC", "time": MS, "bbo": [{"px": "10", "sz": "1", "n": 1}, {"px": "x"}]}, "BestQuote"),
        ("l2Book", {"coin": "BTC", "time": MS, "levels": [[{"px": "10", "sz": "1"}], []]}, "BookSnapshot"),
        ("l2Book", {"coin": "BTC", "time": MS, "levels": [[{"px": "10", "sz": "1", "n": -1}], []]}, "BookSnapshot"),
        ("l2Book", {"coin": "BTC", "time": MS, "levels": [[], []], "fast": "perhaps"}, "BookSnapshot"),
    ],
)
def test_one_odd_field_takes_no_other_with_it(feed: Feed, channel: str, data: Any, expected: str) -> None:
    assert kinds(feed.channel(channel, data)) in ([expected, "parse_error"], [expected, "parse_error", "parse_error"])
    assert kinds(feed.channel(channel, data)) == [expected]


def test_a_book_with_a_level_of_size_zero_has_its_best_behind_it(feed: Feed) -> None:
    tracker = OrderBookTracker()
    tracker(one(feed.text(book_frame("BTC", MS, [(10.0, 0.0), (9.0, 1.0)], [(11.0, 1.0)]))))
    assert tracker.book("BTC-USD").bids.best_price == 9.0


def test_a_quote_of_one_side_leaves_the_other(feed: Feed) -> None:
    tracker = OrderBookTracker()
    for frame in (
        book_frame("BTC", MS, [(10.0, 1.0)], [(11.0, 1.0), (12.0, 1.0)]),
        bbo_frame("BTC", MS + 1, (10.5, 2.0)),
    ):
        tracker(one(feed.text(frame)))
    book = tracker.book("BTC-USD")
    assert (book.bids.best_price, book.asks.columns()[0], book.is_stale) == (10.5, (11.0, 12.0), False)


def test_a_fast_book_is_one_by_its_connection_too() -> None:
    feed = connected()
    assert one(feed.text(book_frame("BTC", MS, [(10.0, 1.0)]))).form == "fast"


# -- contexts and funding ------------------------------------------------------------------------------------------

PERP_CTX = {
    "funding": "0.0000018952", "openInterest": "36585.31848", "prevDayPx": "86627.0", "dayNtlVlm": "4161029539.69",
    "premium": "-0.0006413454", "oraclePx": "84198.0", "markPx": "84148.0", "midPx": "84143.5",
    "impactPxs": ["84143.0", "84144.0"], "dayBaseVlm": "49116.08533",
}  # fmt: skip
SPOT_CTX = {"prevDayPx": "0.2", "dayNtlVlm": "5.5", "markPx": "0.25", "midPx": None, "circulatingSupply": "600.5"}


def test_a_perps_context_is_funding_prices_and_interest(feed: Feed) -> None:
    info = one(feed.channel("activeAssetCtx", {"coin": "BTC", "ctx": PERP_CTX}))
    assert info == FundingInfo(
        "hyperliquid", "BTC", "BTC-USD", None, TS, len(feed.frames) - 1, 0, FundingKind.CURRENT, 0.0000018952, 3600, None,
        84148.0, 84198.0, 84143.5, -0.0006413454, 84143.0, 84144.0, 36585.31848, 86627.0, 49116.08533, 4161029539.69,
    )  # fmt: skip


def test_a_spot_pairs_context_comes_on_a_channel_of_its_own(feed: Feed) -> None:
    info = one(feed.channel("activeSpotAssetCtx", {"coin": "@107", "ctx": SPOT_CTX}))
    assert (info.symbol, info.mark_price, info.mid_price, info.circulating_supply) == ("@107", 0.25, None, 600.5)
    assert (info.funding_rate, info.funding_interval_s, info.index_price) == (None, None, None)


def history(*rows: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"coin": coin, "fundingRate": "-0.00061334", "premium": "-0.0009", "time": time} for coin, time in rows]


def test_settled_funding_is_told_once(feed: Feed) -> None:
    first, second = feed.rest("fundingHistory:BTC", history(("BTC", MS), ("BTC", MS + 1)))
    assert (first.kind, first.funding_rate, first.premium) == (FundingKind.SETTLED, -0.00061334, -0.0009)
    assert (first.ts_event, second.ts_event, second.sub_seq) == (MS * 1_000_000, (MS + 1) * 1_000_000, 1)
    again = feed.rest("fundingHistory:BTC", history(("BTC", MS), ("BTC", MS + 1), ("BTC", MS + 2)))
    assert [info.ts_event for info in again] == [(MS + 2) * 1_000_000]
    assert len(feed.rest("fundingHistory:ETH", history(("ETH", MS)))) == 1


def test_the_real_funding_history_is_told_once(feed: Feed, shared_data: Path) -> None:
    path = shared_data / "hyperliquid" / "rest" / "test_get_funding_history[None].yaml"
    body = yaml.safe_load(path.read_text())["interactions"][-1]["response"]["body"]["string"].encode()
    assert len(feed.rest("fundingHistory:BTC", body)) == 1038
    assert feed.rest("fundingHistory:BTC", body) == []


def funding_calls(feed: Feed, mono_ns: int) -> list[RestCall]:
    """The questions about settled funding that are due."""
    due = [call for call in feed.protocol.due(mono_ns) if isinstance(call, RestCall)]
    return [call for call in due if call.tag.startswith("fundingHistory:")]


def test_funding_history_is_asked_for_at_the_start_and_after_each_hour() -> None:
    """Half a minute after it, for perps alone."""
    feed = feed_of("BTC-USD", "@107", channels=("funding",))
    hour = 3600 * SECOND
    feed.now = TS - TS % hour + hour // 2
    feed.control("connected", role="main")
    calls = [each for each in feed.protocol.requests() if isinstance(each, RestCall)]
    assert [call.tag for call in calls] == ["fundingHistory:BTC"]
    start_ms = msgspec.json.decode(calls[0].body)["startTime"]
    assert feed.now // 1_000_000 - start_ms >= 24 * 3600 * 1000 - 1000
    send(feed)
    for subscription in ({"type": "activeAssetCtx", "coin": "BTC"}, {"type": "activeAssetCtx", "coin": "@107"}):
        ack(feed, subscription)
    mono = feed.now - TS
    feed.rest("fundingHistory:BTC", history(("BTC", (feed.now - hour // 2) // 1_000_000 + 50)))
    assert funding_calls(feed, mono + hour // 2 + 29 * SECOND) == []
    assert [call.tag for call in funding_calls(feed, mono + hour // 2 + 31 * SECOND)] == ["fundingHistory:BTC"]
    assert funding_calls(feed, mono + hour // 2 + 32 * SECOND) == []


@pytest.mark.parametrize(
    ("symbol", "tag", "body"),
    [
        ("BTC", "metaAndAssetCtxs:BTC", [REPLIES["meta"], [PERP_CTX | {"markPx": str(n)} for n in (7, 8, 9, 10)]]),
        (
            "xyz:TSLA",
            "metaAndAssetCtxs:xyz:TSLA",
            [REPLIES["meta:xyz"], [{"markPx": None}, PERP_CTX | {"markPx": "7"}]],
        ),
        # The lists of spot pairs and their contexts are not always parallel; the contexts say their coin.
        (
            "@107",
            "spotMetaAndAssetCtxs:@107",
            [
                REPLIES["spotMeta"],
                [SPOT_CTX | {"coin": coin, "markPx": px} for coin, px in (("@3", 5), ("@20", 6), ("@107", 7))],
            ],
        ),
    ],
)
def test_funding_asked_for_is_that_of_the_coin(feed: Feed, symbol: str, tag: str, body: Any) -> None:
    feed.rest("meta:xyz", REPLIES["meta:xyz"])
    for name in ("meta", "spotMeta"):
        feed.rest(name, REPLIES[name])
    call = feed.protocol.funding_request(symbol)
    assert call is not None
    assert call.tag == tag
    info = one(feed.rest(tag, body))
    assert (info.symbol, info.mark_price) == (symbol, 7.0)


def test_one_odd_context_takes_no_other_with_it(feed: Feed) -> None:
    feed.rest("meta", REPLIES["meta"])
    body: list[Any] = [
        {"universe": [{"name": 5}, None, {"name": "BTC"}]},
        [None, 7, PERP_CTX | {"funding": []}, {"markPx": {}}],
    ]
    info, odd = feed.rest("metaAndAssetCtxs:BTC", body)
    assert (info.symbol, info.mark_price, info.funding_rate, odd.kind) == ("BTC", 84148.0, None, EventKind.PARSE_ERROR)


def test_a_spot_pairs_context_beyond_the_listing_is_found(feed: Feed) -> None:
    """The lists are not always parallel, nor of one length."""
    body = [{"universe": [{"name": "@3"}]}, [SPOT_CTX | {"coin": coin} for coin in ("@3", "@20", "@107")]]
    assert one(feed.rest("spotMetaAndAssetCtxs:@107", body)).symbol == "@107"


def test_a_book_asked_for_without_counts_is_one(feed: Feed) -> None:
    book, odd = feed.rest("l2Book:BTC", {"coin": "BTC", "time": MS, "levels": [[{"px": "10", "sz": "1"}], []]})
    assert (book.bid_prices, book.bid_counts, odd.cause, odd.sub_seq) == ((10.0,), (), "item", 1)


@pytest.mark.parametrize(
    "body", [[[], []], [{"universe": 5}, [{}]], [{"universe": [{"name": "BTC"}]}, [5]], {}, [{"universe": []}], "x"]
)
def test_contexts_of_another_shape_are_a_parse_error(feed: Feed, body: Any) -> None:
    assert kinds(feed.rest("metaAndAssetCtxs:BTC", body)) == ["parse_error"]


# -- REST ----------------------------------------------------------------------------------------------------------


def test_a_book_asked_for_is_a_form_of_its_own(feed: Feed) -> None:
    call = feed.protocol.snapshot_request("BTC")
    assert call is not None
    assert (call.method, call.path, call.weight) == ("POST", "/info", 2)
    assert msgspec.json.decode(call.body) == {"type": "l2Book", "coin": "BTC"}
    book = one(feed.rest(call.tag, book_frame("BTC", MS, [(10.0, 1.0)], [(11.0, 1.0)])["data"]))
    assert (book.form, book.fused, book.bid_prices) == ("rest", True, (10.0,))
    assert kinds(feed.rest(call.tag, None)) == ["refused"]
    assert kinds(feed.rest(call.tag, [])) == ["parse_error"]
    failed = one(feed.rest(call.tag, None, status=500))
    assert (failed.kind, failed.detail) == (EventKind.REQUEST_FAILED, "l2Book:BTC: HTTP 500")


def test_the_real_book_answer_is_a_book(feed: Feed, shared_data: Path) -> None:
    taped = yaml.safe_load((shared_data / "hyperliquid" / "rest" / "test_get_l2_snapshot.yaml").read_text())
    book = one(feed.rest("l2Book:DYDX", taped["interactions"][-1]["response"]["body"]["string"].encode()))
    assert (book.symbol, len(book.bid_prices), book.bid_prices[:2]) == ("DYDX", 20, (2.111, 2.1105))


# -- acknowledgements, errors and quarantine -----------------------------------------------------------------------


def test_an_answer_that_is_lost_is_asked_for_again() -> None:
    """Ten seconds after the subscribe left; data that comes is an answer too."""
    feed = connected("BTC-USD", channels=("fast", "bbo", "trades"))
    fast, _, trades = send(feed)
    mono = feed.now - TS
    ack(feed, fast)
    feed.text(bbo_frame("BTC", MS, None, None))
    assert feed.protocol.due(mono + 10 * SECOND) == []
    again = one(feed.protocol.due(mono + 10 * SECOND + 1))
    assert isinstance(again, SendText)
    assert msgspec.json.decode(again.text) == {"method": "subscribe", "subscription": trades}
    feed.now += 11 * SECOND
    feed.sent(again.text)
    assert feed.protocol.due(feed.now - TS + 9 * SECOND) == []
    feed.channel("error", f"Already subscribed: {msgspec.json.encode(trades).decode()}")
    assert feed.protocol.due(feed.now - TS + 99 * SECOND) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('Already subscribed: {"type":"bbo","coin":"BTC"}', None),
        ('Already unsubscribed: {"type":"bbo","coin":"BTC"}', None),
        ('Invalid subscription {"type":"bbo","coin":"BTC"}', EventKind.REFUSED),
        ("Error parsing JSON into valid websocket request: {}", EventKind.VENUE_ERROR),
        ("too many pending post requests id=5", EventKind.VENUE_ERROR),
        ("Cannot track more than 15 total users.", EventKind.VENUE_ERROR),
        ("something never heard of", EventKind.VENUE_ERROR),
        ("Already subscribed: no JSON", None),
    ],
)
def test_every_error_text_is_told_or_known(text: str, kind: EventKind | None) -> None:
    feed = connected("BTC-USD", channels=("bbo",))
    send(feed)
    events = feed.channel("error", text)
    assert [(event.kind, event.detail) for event in events] == ([] if kind is None else [(kind, text)])
    is_answer = "{" in text and "parsing" not in text
    assert bool(feed.protocol.due(feed.now - TS + 60 * SECOND)) is not is_answer


def strike(feed: Feed) -> list[Message]:
    """The socket dies 100 ms after what was sent last."""
    feed.now += SECOND // 10
    events: list[Message] = feed.control("disconnected", code=1006, cause="disconnect")
    feed.now += SECOND
    feed.control("connected", role="main")
    return events


def test_a_coin_that_closes_its_socket_twice_is_left_out_and_the_rest_goes_on() -> None:
    """First all that was unanswered is suspected; then the suspects are tried one at a time, after the others."""
    feed = connected("BTC-USD", "ETH-USD", "kPEPE-USD", channels=("bbo",))
    assert [each["coin"] for each in send(feed)] == ["BTC", "ETH", "kPEPE"]
    ack(feed, {"type": "bbo", "coin": "BTC"})
    assert kinds(strike(feed)) == ["disconnected"]
    assert [each["coin"] for each in send(feed)] == ["BTC"]
    ack(feed, {"type": "bbo", "coin": "BTC"})
    assert [each["coin"] for each in send(feed)] == ["ETH"]
    ack(feed, {"type": "bbo", "coin": "ETH"})
    assert [each["coin"] for each in send(feed)] == ["kPEPE"]
    lost, left_out = strike(feed)
    assert (kinds([lost]), left_out.sub_seq) == (["disconnected"], 1)
    assert getattr(left_out, "kind", None) is EventKind.QUARANTINED
    assert getattr(left_out, "detail", "").startswith("kPEPE: its subscription closed the socket twice")
    assert [each["coin"] for each in send(feed)] == ["BTC", "ETH"]
    for coin in ("BTC", "ETH"):
        ack(feed, {"type": "bbo", "coin": coin})
    assert feed.text(bbo_frame("BTC", MS, (10.0, 1.0)))[-1].symbol == "BTC"
    assert kinds(strike(feed)) == ["disconnected", "stale"]
    assert [each["coin"] for each in send(feed)] == ["BTC", "ETH"]


def resent(feed: Feed, later_s: float) -> list[dict[str, Any]]:
    """What is sent that much later, because it is time for it."""
    feed.now += round(later_s * SECOND)
    texts = [each.text for each in feed.protocol.due(feed.now - TS) if isinstance(each, SendText)]
    for text in texts:
        feed.sent(text)
    return [msgspec.json.decode(text)["subscription"] for text in texts]


def test_a_coin_that_was_left_out_by_chance_is_tried_again() -> None:
    """The only one of a recording, say: two connections that die in the second of their subscribe are no proof."""
    feed = connected("BTC-USD", channels=("fast", "bbo"))
    send(feed)
    strike(feed)
    assert [each["type"] for each in send(feed)] == ["l2Book"]
    assert strike(feed)[-1].kind is EventKind.QUARANTINED  # type: ignore[attr-defined]
    assert send(feed) == []
    assert resent(feed, 590) == []
    assert [each["type"] for each in resent(feed, 11)] == ["l2Book"]
    assert resent(feed, 0.05) == []
    again = strike(feed)[-1]
    assert getattr(again, "detail", "").endswith("left out for 20 minutes")
    assert resent(feed, 1190) == []
    (first,) = resent(feed, 11)
    ack(feed, first)
    assert [each["type"] for each in resent(feed, 1)] == ["bbo"]
    stream = feed.protocol.streams.get("BTC", "fast")
    assert stream is not None
    assert stream.limit_ns == 5 * SECOND


def test_a_socket_that_dies_long_after_its_subscribes_makes_nobody_a_suspect() -> None:
    feed = connected("BTC-USD", "ETH-USD", channels=("bbo",))
    send(feed)
    feed.now += 2 * SECOND
    feed.control("disconnected", code=1006, cause="disconnect")
    feed.control("connected", role="main")
    assert [each["coin"] for each in send(feed)] == ["BTC", "ETH"]


def test_a_deaf_connection_ends_its_subscriptions_and_subscribes_again() -> None:
    """The venue refuses what it takes for subscribed; the answer to the one is not taken for that to the other."""
    feed = connected("BTC-USD", "ETH-USD", channels=("bbo",))
    send(feed)
    feed.control("resubscribe")
    texts = [msgspec.json.decode(request.text) for request in feed.protocol.requests() if isinstance(request, SendText)]
    assert [(text["method"], text["subscription"]["coin"]) for text in texts] == [
        ("unsubscribe", "BTC"),
        ("unsubscribe", "ETH"),
        ("subscribe", "BTC"),
        ("subscribe", "ETH"),
    ]


def test_metadata_is_read_again_after_a_lost_connection_if_it_is_old() -> None:
    feed = connected("BTC-USD", "ETH-USD", channels=("bbo",))
    send(feed)
    feed.control("disconnected", code=1006, cause="disconnect")
    assert feed.protocol.requests() == []
    feed.control("connected", role="main")
    send(feed)
    feed.now += 301 * SECOND
    feed.control("disconnected", code=1006, cause="disconnect")
    assert [each.tag for each in feed.protocol.requests() if isinstance(each, RestCall)] == ["spotMeta", "meta"]
    gone = {"universe": [REPLIES["meta"]["universe"][0]]}
    events = feed.rest("meta", gone)
    assert [(event.kind, "ETH-USD" in event.detail) for event in events] == [(EventKind.REFUSED, True)]
    feed.control("connected", role="main")
    assert [each["coin"] for each in send(feed)] == ["BTC"]
    assert feed.protocol.failure is None


# -- everything else -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        b"Websocket connection established.",
        {"channel": "pong"},
        {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": {"type": "bbo"}}},
        {"channel": "subscriptionResponse", "data": {"subscription": 5}},
        {"channel": "allMids", "data": {"mids": {}}},
        {"channel": "candle", "data": {}},
        {"channel": "post", "data": {"id": 1}},
        {"channel": "notification", "data": {"notification": "hello"}},
    ],
)
def test_what_carries_no_market_data_is_passed_over(feed: Feed, payload: Any) -> None:
    assert feed.text(payload) == []


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b"", "not JSON: Input data was truncated in ''"),
        (b"{", "not JSON: Input data was truncated in '{'"),
        (b'{"channel":"\xff"}', "not UTF-8: invalid start byte in "),
        (b"[]", "expected a JSON object with a \"channel\" in '[]'"),
        ({"data": 1}, 'expected a JSON object with a "channel" in '),
        ({"channel": 5}, 'expected a JSON object with a "channel" in '),
        ({"channel": "new"}, "unknown channel 'new' in "),
        ({"channel": "l2Book", "data": None}, "channel 'l2Book' of another shape than documented: "),
        (book_frame("BTC", MS, [(10.0, 1.0), (11.0, 1.0)]), "prices (10.0, 11.0): expected strictly descending bids"),
        (book_frame("BTC", MS, [(10.0, -1.0)]), "sizes (-1.0,): expected finite numbers of 0 or more"),
        (book_frame("BTC", 10**16), "another shape than documented: Expected `int` <= 9223372036853"),
        (book_frame("", MS), "another shape than documented: Expected `str` of length >= 1"),
        (bbo_frame("BTC", MS, (0.0, 1.0)), "best quote 0.0 x 1.0: expected a positive price and a size"),
        (
            {"channel": "trades", "data": [trade("BTC", 1, MS, side="X")]},
            "trade 'X' 10.0 x 1.5: expected the side 'A' or 'B', a positive",
        ),
        ({"channel": "trades", "data": [trade("BTC", 1, MS, -1.0)]}, "trade 'B' -1.0 x 1.5: expected the side"),
        ({"channel": "trades", "data": [trade("BTC", 2**70, MS)]}, "another shape than documented: Expected `int` <="),
        ({"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": {"markPx": "nan"}}}, "Expected `float` >="),
    ],
)
def test_what_cannot_be_understood_says_what_was_found_and_expected(feed: Feed, payload: Any, detail: str) -> None:
    event = one(feed.text(payload))
    assert event.kind is EventKind.PARSE_ERROR
    assert detail in event.detail
    assert "\n" not in event.detail


def test_an_unknown_control_frame_of_rest_is_no_message(feed: Feed) -> None:
    assert feed.rest("somethingElse", {}) == []
