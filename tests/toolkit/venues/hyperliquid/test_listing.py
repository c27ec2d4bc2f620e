"""Hyperliquid's listing and settled funding over hours: polls, changes, failures, and what vanishes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tests.tapes import SECOND, TS, VENUE, Feed
from tests.toolkit.venues.hyperliquid_session import (
    META,
    PERP_DEXS,
    REPLIES,
    SPOT_META,
    XYZ_META,
    ack,
    asked,
    feed_of,
    send,
)
from toolkit.errors import SymbolError
from toolkit.messages import EventKind, FundingInfo, Instrument, Message, StreamEvent
from toolkit.protocol import ProtocolOptions, RestCall
from toolkit.venue import find_venue

MS = TS // 1_000_000
HOUR = 3600 * SECOND


def session(*pairs: str, channels: tuple[str, ...] = ("bbo",)) -> Feed:
    """A session whose subscriptions are answered."""
    feed = feed_of(*pairs, channels=channels)
    feed.control("connected", role="main")
    for subscription in send(feed):
        ack(feed, subscription)
    return feed


def polled(feed: Feed, later_s: float) -> list[str]:
    """What is asked by REST that much later."""
    feed.now += round(later_s * SECOND)
    return [call.tag for call in feed.protocol.due(feed.now - TS) if isinstance(call, RestCall)]


def fail(feed: Feed, tag: str) -> list[Message]:
    return feed.control("request_failed", -1, tag=tag, attempts=3, error="no answer")  # type: ignore[no-any-return]


def events(messages: list[Message]) -> list[tuple[EventKind, str, str]]:
    return [(each.kind, each.stream, each.detail) for each in messages if isinstance(each, StreamEvent)]


def changed(meta: dict[str, Any], name: str, **fields: Any) -> dict[str, Any]:
    universe = [{**each, **fields} if each["name"] == name else each for each in meta["universe"]]
    return {**meta, "universe": universe}


# -- terms that change ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pair", "tag"),
    [("BTC-USD", "meta"), ("HYPE-USDC", "spotMeta"), ("xyz:SP500-USDH", "meta:xyz"), ("#7510", "outcomeMeta")],
)
def test_the_terms_of_what_is_recorded_are_polled_every_ten_minutes(pair: str, tag: str) -> None:
    feed = session(pair)
    assert polled(feed, 599) == []
    assert polled(feed, 2) == [tag]
    assert polled(feed, 2) == []
    feed.rest(tag, REPLIES[tag])
    assert polled(feed, 590) == []
    assert polled(feed, 20) == [tag]


@pytest.mark.parametrize(
    ("fields", "attribute", "before", "after"),
    [
        ({"szDecimals": 3}, "size_step", 1e-5, 1e-3),
        ({"szDecimals": 3}, "price_decimals_max", 1, 3),
        ({"maxLeverage": 20}, "max_leverage", 50.0, 20.0),
        ({"isDelisted": True}, "is_active", True, False),
    ],
)
def test_changed_terms_are_told_as_a_new_row(fields: dict[str, Any], attribute: str, before: Any, after: Any) -> None:
    feed = session("BTC-USD")
    assert feed.rest("meta", META) == []
    told = [each for each in feed.rest("meta", changed(META, "BTC", **fields)) if isinstance(each, Instrument)]
    assert [(each.symbol, getattr(each, attribute)) for each in told] == [("BTC", after)]
    back = [each for each in feed.rest("meta", META) if isinstance(each, Instrument)]
    assert [getattr(each, attribute) for each in back] == [before]


def test_a_poll_without_an_answer_is_an_event_and_a_gap_and_is_made_again_soon() -> None:
    feed = session("BTC-USD")
    last = feed.now
    assert polled(feed, 601) == ["meta"]
    failed, stale = fail(feed, "meta")
    assert (failed.kind, stale.kind, stale.stream, stale.ts_start) == ("request_failed", "stale", "instruments", last)  # type: ignore[attr-defined]
    assert [event[0] for event in events(fail(feed, "meta"))] == [EventKind.REQUEST_FAILED]
    assert polled(feed, 119) == []
    assert polled(feed, 2) == ["meta"]
    gap, instrument = feed.rest("meta", changed(META, "BTC", maxLeverage=7))
    assert (gap.kind, gap.stream, gap.cause, gap.ts_start, gap.ts_end) == (
        "gap",
        "instruments",
        "no_answer",
        last,
        feed.now,
    )
    assert (instrument.max_leverage, instrument.sub_seq) == (7.0, 1)


# -- one odd entry, one optional endpoint --------------------------------------------------------------------------


def test_one_odd_entry_of_a_listing_is_told_and_the_rest_is_recorded() -> None:
    odd = {
        "spotMeta": {
            **SPOT_META,
            "tokens": [{"name": 7}, *SPOT_META["tokens"]],
            "universe": [*SPOT_META["universe"], 5],
        },
        "meta": {**META, "universe": [{"name": "NEW", "szDecimals": "many"}, *META["universe"], None]},
        "perpDexs": [*PERP_DEXS, {"fullName": "nameless"}, 9],
        "meta:xyz": {**XYZ_META, "universe": [*XYZ_META["universe"], {"szDecimals": 1}]},
    }
    feed = feed_of("BTC-USD", "HYPE-USDC", "xyz:SP500-USDH", replies=odd)
    assert feed.protocol.failure is None
    assert feed.protocol.is_ready
    told = [event for event in events(feed.rest("meta", odd["meta"])) if event[0] is EventKind.PARSE_ERROR]
    assert told == []  # it was, at the beginning
    assert feed.protocol.parse_error_count == 5


@pytest.mark.parametrize("tag", ["spotMeta", "perpDexs", "meta"])
@pytest.mark.parametrize("status", [500, 403])
def test_a_reply_that_nothing_needs_may_be_refused(tag: str, status: int) -> None:
    """The pair is named by another; the refused one is asked for again."""
    pair = {"spotMeta": "BTC-USD", "perpDexs": "xyz:SP500", "meta": "HYPE-USDC"}[tag]
    feed = feed_of(pair, replies={name: reply for name, reply in REPLIES.items() if name != tag})
    assert not feed.protocol.is_ready
    feed.rest(tag, None, status=status)
    fail(feed, tag)
    if tag == "perpDexs":
        assert [call.tag for call in feed.protocol.requests() if isinstance(call, RestCall)] == ["meta:xyz"]
        feed.rest("meta:xyz", XYZ_META)
    assert feed.protocol.failure is None
    assert feed.protocol.is_ready
    feed.control("connected", role="main")
    assert {each["coin"] for each in asked(feed)} == {feed.protocol.symbol(pair)}
    assert tag in polled(feed, 130)
    before = feed.protocol.trading_pair(feed.protocol.symbol(pair))
    feed.rest(tag, REPLIES[tag])
    assert feed.protocol.trading_pair(feed.protocol.symbol(pair)) == before
    assert tag not in polled(feed, 700) or tag == "meta"


def test_a_reply_that_names_the_pair_is_waited_for() -> None:
    feed = feed_of("HYPE-USDC", replies={"meta": META})
    fail(feed, "spotMeta")
    assert (feed.protocol.is_ready, feed.protocol.failure) == (False, None)
    feed.rest("spotMeta", SPOT_META)
    assert feed.protocol.is_ready


def test_a_coin_that_is_listed_twice_is_one() -> None:
    twice = {**META, "universe": [*META["universe"], META["universe"][0]]}
    spot = {**SPOT_META, "universe": [*SPOT_META["universe"], SPOT_META["universe"][1]]}
    feed = feed_of("BTC-USD", "HYPE-USDC", replies={"meta": twice, "spotMeta": spot})
    assert feed.protocol.failure is None
    assert [feed.protocol.trading_pair(coin) for coin in ("BTC", "@107")] == ["BTC-USD", "HYPE-USDC"]


def test_a_pair_that_no_complete_listing_has_is_the_users_error() -> None:
    feed = feed_of("NOPE-USD")
    assert isinstance(feed.protocol.failure, SymbolError)


# -- what vanishes, and names --------------------------------------------------------------------------------------


def test_a_dex_that_is_missing_from_one_answer_is_an_event() -> None:
    feed = session("BTC-USD", "xyz:SP500-USDH")
    (gone,) = feed.rest("perpDexs", PERP_DEXS[:1])
    assert (gone.kind, gone.detail) == (EventKind.REFUSED, "the venue no longer lists the dex 'xyz'")
    assert feed.rest("perpDexs", PERP_DEXS[:1]) == []
    assert feed.protocol.failure is None
    feed.rest("perpDexs", PERP_DEXS)
    feed.control("disconnected", code=1006, cause="disconnect")
    feed.control("connected", role="main")
    assert [each["coin"] for each in asked(feed)] == ["BTC", "xyz:SP500"]


@pytest.mark.parametrize("gone", [{**META, "universe": META["universe"][1:]}, changed(META, "BTC", isDelisted=True)])
def test_a_coin_that_vanishes_is_an_event_and_subscribed_again_when_it_is_back(gone: dict[str, Any]) -> None:
    """Even if it is the only one: nothing that a later listing says ends the recording."""
    feed = session("BTC-USD", channels=("bbo", "trades"))
    assert [event[0] for event in events(feed.rest("meta", gone))] == [EventKind.REFUSED]
    assert events(feed.rest("meta", gone)) == []
    assert feed.protocol.failure is None
    feed.control("disconnected", code=1006, cause="disconnect")
    feed.control("connected", role="main")
    assert asked(feed) == []  # an unknown coin would close the socket
    assert [event[0] for event in events(feed.rest("meta", META))] == [EventKind.NOTICE]
    assert [each["type"] for each in send(feed)] == ["bbo", "trades"]
    feed.rest("meta", gone)
    feed.rest("meta", META)
    assert asked(feed) == []  # the connection carries it


def test_a_second_token_of_the_same_name_leaves_a_pair_its_name() -> None:
    feed = session("HYPE-USDC")
    before = feed.text({"channel": "bbo", "data": {"coin": "@107", "time": MS, "bbo": [None, None]}})[0]
    twin = {
        "tokens": [*SPOT_META["tokens"], {"name": "HYPE", "szDecimals": 2, "index": 300}],
        "universe": [{"name": "@400", "tokens": [300, 0], "index": 400}, *SPOT_META["universe"]],
    }
    feed.rest("spotMeta", twin)
    after = [feed.channel("trades", [{"coin": "@107", "side": "B", "px": "1", "sz": "1", "time": MS, "tid": 1}])[0]]
    after += feed.text({"channel": "bbo", "data": {"coin": "@107", "time": MS, "bbo": [None, None]}})
    assert {each.trading_pair for each in (before, *after)} == {"HYPE-USDC"}
    assert feed.protocol.symbol("HYPE-USDC") == "@107"
    assert feed.protocol.trading_pair("@400") == "@400"


def test_a_pair_that_was_told_keeps_its_name_when_metadata_comes_late() -> None:
    """And over a checkpoint. The other coin that the metadata would name so has its coin."""
    feed = feed_of(replies={})
    quote = {"channel": "bbo", "data": {"coin": "@107", "time": MS, "bbo": [None, None]}}
    assert feed.text(quote)[0].trading_pair == "@107"
    feed.rest("spotMeta", SPOT_META)
    assert feed.text(quote)[0].trading_pair == "@107"
    other = find_venue(VENUE).make_protocol(ProtocolOptions())
    other.restore(feed.protocol.checkpoint())
    assert other.trading_pair("@107") == "@107"
    assert other.trading_pair("PURR/USDC") == "PURR-USDC"


# -- settled funding -----------------------------------------------------------------------------------------------


def rows(*hours: int) -> list[dict[str, Any]]:
    """Settlements of so many hours after the last full one."""
    full = MS - MS % 3_600_000
    return [{"coin": "BTC", "fundingRate": "0.1", "time": full + hour * 3_600_000 + 50} for hour in hours]


def start_of(feed: Feed) -> int:
    """From when on the next question about settled rates asks, ms."""
    calls = [call for call in feed.protocol.due(feed.now - TS) if isinstance(call, RestCall)]
    (call,) = [call for call in calls if call.tag == "fundingHistory:BTC"]
    start: int = msgspec.json.decode(call.body)["startTime"]
    return start


def test_rates_that_were_settled_while_rest_was_down_are_asked_for_when_it_is_back() -> None:
    """From the last one known: eight hours later that is eight hours ago."""
    feed = session("BTC-USD", channels=("funding",))
    feed.rest("fundingHistory:BTC", rows(-1, 0))
    last = feed.now
    for hour in range(1, 9):
        feed.now = last + hour * HOUR
        assert start_of(feed) == rows(0)[0]["time"] + 1
        said = [event[:2] for event in events(fail(feed, "fundingHistory:BTC"))]
        assert said == [(EventKind.REQUEST_FAILED, ""), (EventKind.STALE, "settled")][: 2 if hour == 1 else 1]
    gap, *told = feed.rest("fundingHistory:BTC", rows(*range(1, 9)))
    assert (gap.kind, gap.stream, gap.ts_start, gap.ts_end) == (EventKind.GAP, "settled", last, feed.now)
    assert len([each for each in told if isinstance(each, FundingInfo)]) == 8


def test_a_question_that_brought_no_rate_of_the_hour_is_asked_again_less_and_less_often() -> None:
    feed = session("BTC-USD", channels=("funding",))
    feed.rest("fundingHistory:BTC", rows(0))
    feed.now += HOUR + 60 * SECOND
    times = []
    for _ in range(3600):
        feed.now += SECOND
        if any(tag.startswith("fundingHistory") for tag in polled(feed, 0)):
            times.append(feed.now)
            feed.rest("fundingHistory:BTC", rows(0))
    waits = [round((after - before) / SECOND) for before, after in pairwise(times)]
    assert waits[:4] == [121, 241, 481, 961]
    feed.rest("fundingHistory:BTC", rows(1, 2))
    assert polled(feed, 1) == []


def test_rates_come_in_any_order_and_late_and_are_each_told_once() -> None:
    feed = session("BTC-USD", channels=("funding",))
    hours = [3, 1, 2, 1, 0, 3, -5]
    told = [len(feed.rest("fundingHistory:BTC", rows(hour))) for hour in hours]
    assert told == [1, 1, 1, 0, 1, 0, 1]
    (one_row, _) = feed.rest("fundingHistory:BTC", [{"coin": "BTC"}, *rows(7)])
    assert isinstance(one_row, FundingInfo)


def test_an_answer_as_long_as_answers_can_be_is_followed_by_the_next() -> None:
    feed = session("BTC-USD", channels=("funding",))
    page = rows(*range(-600, -100))
    feed.rest("fundingHistory:BTC", page)
    (call,) = [each for each in feed.protocol.requests() if isinstance(each, RestCall) and "funding" in each.tag][-1:]
    assert msgspec.json.decode(call.body)["startTime"] == page[-1]["time"] + 1


def test_the_hour_is_that_of_the_venue_though_our_clock_went_back() -> None:
    feed = session("BTC-USD", channels=("bbo", "funding"))
    feed.rest("fundingHistory:BTC", rows(0))
    for number in range(5):
        quote = {"coin": "BTC", "time": MS + 3_700_000 + number, "bbo": [None, None]}
        feed.channel("bbo", quote)
    assert any(tag.startswith("fundingHistory") for tag in polled(feed, 1))
