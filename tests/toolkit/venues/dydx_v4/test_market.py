"""dYdX v4's protocol, frame by frame: every rule of the venue, and every way to break one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolkit.venues.dydx_harness import (
    START_NS,
    Session,
    data,
    encoded,
    error,
    events,
    frame,
    market,
    of,
    protocol,
    snapshot,
    trade,
    trade_id,
    update,
)
from toolkit.books.tracker import OrderBookTracker
from toolkit.clock import NS_PER_S
from toolkit.errors import SymbolError, VenueRefused
from toolkit.frames import WS_IN
from toolkit.messages import BookDiff, BookSnapshot, EventKind, FundingInfo, Instrument, StreamEvent, Trade

BTC = "BTC-USD"
ODD = "FARTCOIN,RAYDIUM,9BB6NFEcjBCtnNLFko2FqVQBq8HHM13kCyYcdQbgpump-A/B-USD"


# -- books -------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_told_best_first_without_empty_levels() -> None:
    """Whatever order the venue sends; a size that was clamped to 0 is no level."""
    session = Session(protocol())
    (book,) = session.take(snapshot(BTC, [("9", "1"), ("10", "2"), ("8", "0")], [("12", "3"), ("11", "4")], 1))
    assert isinstance(book, BookSnapshot)
    assert (book.bid_prices, book.bid_sizes) == ((10.0, 9.0), (2.0, 1.0))
    assert (book.ask_prices, book.ask_sizes) == ((11.0, 12.0), (4.0, 3.0))


def test_a_third_element_of_a_level_is_passed_over() -> None:
    """Frames of 2023 had an offset there."""
    (diff,) = Session(protocol()).take(update(BTC, [("10", "2", "1234")], [], 1))
    assert isinstance(diff, BookDiff)
    assert (diff.bid_prices, diff.bid_sizes) == ((10.0,), (2.0,))


def test_the_recorded_book_is_the_raw_one() -> None:
    """It may be crossed, and says so."""
    session, tracker = Session(protocol()), OrderBookTracker()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    session.take(update(BTC, [("11.5", "2")], [], 2))
    for message in session.messages:
        tracker(message)
    book = tracker.book(BTC)
    assert (book.is_crossed, book.is_stale, len(book.bids), len(book.asks)) == (True, False, 2, 1)


def test_an_update_before_any_snapshot_heals_nothing() -> None:
    """It is told, since it was sent; the book stays stale."""
    session, tracker = Session(protocol()), OrderBookTracker()
    session.take(update(BTC, [("10", "1")], [], 5))
    for message in session.messages:
        tracker(message)
    assert tracker.book(BTC).is_stale
    for message in session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 6)):
        tracker(message)
    assert not tracker.book(BTC).is_stale
    assert not events(session.messages, EventKind.GAP)


def test_a_batch_is_one_message() -> None:
    """Its levels follow one another as they were sent; so does its number."""
    parts = [{"bids": [["10", "1"]]}, {"asks": [["11", "2"]]}, {"bids": [["10", "0"]]}]
    (diff,) = Session(protocol()).take(data("v4_orderbook", BTC, parts, 4, "channel_batch_data"))
    assert isinstance(diff, BookDiff)
    assert (diff.bid_prices, diff.bid_sizes, diff.ask_prices, diff.last_update_id) == (
        (10.0, 10.0),
        (1.0, 0.0),
        (11.0,),
        4,
    )


# -- trades ------------------------------------------------------------------------------------------------------


def test_history_is_told_in_the_order_of_execution_and_marked() -> None:
    """It comes newest first."""
    session = Session(protocol())
    rows = [trade(trade_id(9)), trade(trade_id(8, 3)), trade(trade_id(8, 1))]
    told = of(Trade, session.take(data("v4_trades", BTC, {"trades": rows}, 1, "subscribed")))
    assert [each.trade_id for each in told] == [trade_id(8, 1), trade_id(8, 3), trade_id(9)]
    assert [each.is_history for each in told] == [True] * 3
    told = of(Trade, session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(10))]}, 2)))
    assert [(each.is_history, each.is_duplicate) for each in told] == [(False, False)]


def test_a_trade_that_came_before_is_a_duplicate() -> None:
    """By market and id, in whatever frame; another market's equal id is another trade."""
    session = Session(protocol())
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(9))]}, 1))
    rows = [trade(trade_id(10)), trade(trade_id(9))]
    told = of(Trade, session.take(data("v4_trades", BTC, {"trades": rows}, 2, "subscribed")))
    assert [(each.trade_id, each.is_duplicate) for each in told] == [(trade_id(9), True), (trade_id(10), False)]
    (other,) = of(Trade, session.take(data("v4_trades", "ETH-USD", {"trades": [trade(trade_id(9))]}, 3)))
    assert not other.is_duplicate


def test_ids_without_an_order_keep_that_of_the_frame() -> None:
    """Before protocol version 1 ids were UUIDs: history is turned round, updates are left alone."""
    session = Session(protocol())
    first, second = "8ee6d90d-272d-5edd-bf0f-2e4d6ae3d3b7", "1ee6d90d-272d-5edd-bf0f-2e4d6ae3d3b7"
    rows = {"trades": [trade(first), trade(second)]}
    told = of(Trade, session.take(data("v4_trades", BTC, rows, 1, "subscribed")))
    assert [each.trade_id for each in told] == [second, first]
    told = of(Trade, Session(protocol()).take(data("v4_trades", BTC, rows, 1)))
    assert [each.trade_id for each in told] == [first, second]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("LIMIT", None),
        ("LIQUIDATED", "liquidation"),
        ("DELEVERAGED", "deleveraging"),
        ("TWAP_SUBORDER", "twap"),
        ("SOMETHING_NEW", "something_new"),
    ],
)
def test_a_trade_says_why(kind: str, cause: str | None) -> None:
    """What the venue may add is not lost."""
    (told,) = of(Trade, Session(protocol()).take(data("v4_trades", BTC, {"trades": [trade("1", type=kind)]}, 1)))
    assert told.cause == cause


def test_a_batch_of_trades() -> None:
    """All of its parts, in order."""
    parts = [{"trades": [trade(trade_id(9))]}, {"trades": [trade(trade_id(10)), trade(trade_id(11))]}]
    told = of(Trade, Session(protocol()).take(data("v4_trades", BTC, parts, 1, "channel_batch_data")))
    assert [(each.trade_id, each.sub_seq) for each in told] == [
        (trade_id(height), n) for n, height in enumerate((9, 10, 11))
    ]


def test_trades_missed_between_two_connections_are_asked_for() -> None:
    """Page after page, until one reaches back to a block that was known; then no more."""
    session = Session.ready(BTC, channels=("trades",))
    session.connect("trades-0")
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(100))]}, 1, "subscribed"))
    session.calls()
    session.control("disconnected")
    session.connect("trades-0", name="d")
    rows = [trade(trade_id(height)) for height in range(400, 300, -1)]
    session.take(data("v4_trades", BTC, {"trades": rows}, 1, "subscribed", "d"))
    (call,) = session.calls()
    assert call.path == "/trades/perpetualMarket/BTC-USD?limit=1000&createdBeforeOrAtHeight=301"
    told = of(Trade, session.rest(call.tag, {"trades": [trade(trade_id(height)) for height in range(301, 200, -1)]}))
    assert [each.is_duplicate for each in told] == [False] * 100 + [True]
    assert all(each.is_history for each in told)
    (call,) = session.calls()
    assert call.path.endswith("createdBeforeOrAtHeight=201")
    session.rest(call.tag, {"trades": [trade(trade_id(height)) for height in range(201, 99, -1)]})
    assert session.calls() == []


@pytest.mark.parametrize(("step", "pages"), [(10, 100), (0, 2)])
def test_asking_for_older_trades_comes_to_an_end(step: int, pages: int) -> None:
    """After a hundred pages, which is said, and at once where the venue answers with what it has sent before."""
    session = Session(protocol())
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(1))]}, 1))
    height = 9000
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(height))]}, 2, "subscribed"))
    asked = 0
    while calls := session.calls():
        asked += 1
        height -= step
        session.rest(calls[0].tag, {"trades": [trade(trade_id(height))]})
    assert asked == pages
    assert [event.cause for event in events(session.messages, EventKind.NOTICE)] == ["trades"] * (step > 0)


def test_history_that_reaches_back_far_enough_asks_for_nothing() -> None:
    """Nor does the first one."""
    session = Session(protocol())
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(100))]}, 1, "subscribed"))
    session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(101)), trade(trade_id(100))]}, 2, "subscribed"))
    session.take(data("v4_trades", BTC, {"trades": []}, 3, "subscribed"))
    assert session.calls() == []


# -- markets -----------------------------------------------------------------------------------------------------


def test_changes_of_a_market_are_merged() -> None:
    """Each message says everything that is known by then; terms are told when they change."""
    session = Session(protocol())
    terms, first = session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed"))
    assert isinstance(terms, Instrument)
    assert isinstance(first, FundingInfo)
    assert (first.index_price, first.prev_day_price, first.open_interest) == (100.0, 101.5, 12.5)
    price = {"oraclePrices": {BTC: {"oraclePrice": "110", "effectiveAt": "2024-08-23T00:00:54.301Z", "marketId": 0}}}
    (second,) = of(FundingInfo, session.take(data("v4_markets", None, price, 2)))
    assert second.ts_event == START_NS + 54_301_000_000
    # The price of a day ago does not move with today's.
    assert (second.index_price, second.mark_price, second.prev_day_price) == (110.0, 110.0, 101.5)
    assert (second.funding_rate, second.open_interest) == (0.00001, 12.5)
    (third,) = of(FundingInfo, session.take(data("v4_markets", None, {"trading": {BTC: {"openInterest": "13"}}}, 3)))
    assert (third.ts_event, third.index_price, third.open_interest) == (None, 110.0, 13.0)
    closed = session.take(data("v4_markets", None, {"trading": {BTC: {"status": "CANCEL_ONLY"}}}, 4))
    (changed,) = closed
    assert isinstance(changed, Instrument)
    assert (changed.is_active, changed.price_tick) == (False, 0.1)


def test_what_changes_nothing_says_nothing() -> None:
    """A field that is sent again, or one that is not stored."""
    session = Session(protocol())
    session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 1, "subscribed"))
    assert (
        session.take(data("v4_markets", None, {"trading": {BTC: {"openInterest": "12.50", "trades24H": 7}}}, 2)) == []
    )


def test_a_batch_of_markets_is_merged_in_its_order() -> None:
    """Each part stands on the one before."""
    session = Session(protocol())
    parts = [{"trading": {BTC: market(oraclePrice="100")}}, {"oraclePrices": {BTC: {"oraclePrice": "101"}}}]
    told = of(FundingInfo, session.take(data("v4_markets", None, parts, 1, "channel_batch_data")))
    assert [(each.index_price, each.open_interest) for each in told] == [(100.0, 12.5), (101.0, 12.5)]


def test_an_oracle_price_of_0_is_none() -> None:
    """A new market is listed before its first price."""
    told = of(
        FundingInfo, Session(protocol()).take(data("v4_markets", None, {"markets": {BTC: market(oraclePrice="0")}}, 1))
    )
    assert [(each.index_price, each.prev_day_price) for each in told] == [(None, None)]


def test_only_the_pairs_asked_for_are_told() -> None:
    """Though the stream speaks of all markets."""
    session = Session.ready(BTC, listed=(BTC, "ETH-USD"))
    told = session.take(data("v4_markets", None, {"markets": {BTC: market(), "ETH-USD": market()}}, 1, "subscribed"))
    assert {message.symbol for message in told} == {BTC}
    assert {message.symbol for message in session.messages if message.symbol} == {BTC}


def test_blocks_are_a_sign_of_life() -> None:
    """Silence of 15 s is not normal; a height that goes back is an event."""
    session = Session.ready(BTC, channels=("blocks", "funding"))
    session.connect("venue")
    block = {"blockHeight": "100", "time": "2024-08-23T00:00:00.000Z"}
    assert session.take(data("v4_block_height", "v4_block_height", block, 1)) == []
    streams = session.subject.streams
    assert [stream.stream for stream in streams.silent(15 * NS_PER_S)] == []
    assert [stream.stream for stream in streams.silent(15 * NS_PER_S + 1)] == ["blocks"]
    (back,) = session.take(data("v4_block_height", "v4_block_height", {**block, "blockHeight": "99"}, 2))
    assert isinstance(back, StreamEvent)
    assert (back.kind, back.stream) == (EventKind.TIME_REGRESSION, "blocks")
    assert session.subject.block == (100, START_NS)


# -- what cannot be understood -----------------------------------------------------------------------------------

GOOD_MARKETS = {"markets": {BTC: market()}}
BAD: list[Any] = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"type":"subscribed","message_id":1,"channel":"v4_orderbook","id":"X","contents":{"bids":[{"price":"\xff","size":"1"}],"asks":[]}}',
    {},
    {"type": "channel_data"},
    {"type": "pong", "message_id": 1},
    {"type": "channel_data", "message_id": "1", "channel": "v4_trades", "id": BTC, "contents": {"trades": []}},
    {"type": "channel_data", "message_id": -1, "channel": "v4_trades", "id": BTC, "contents": {"trades": []}},
    {"type": "channel_data", "message_id": 2**70, "channel": "v4_trades", "id": BTC, "contents": {"trades": []}},
    {"type": "channel_data", "message_id": 1, "channel": "v4_trades", "id": BTC},
    data("v4_nonsense", BTC, {}, 1),
    data("v4_orderbook", None, {"bids": [["1", "1"]]}, 1),
    data("v4_trades", None, {"trades": [trade("1")]}, 1),
    data("v4_orderbook", BTC, {}, 1),
    data("v4_orderbook", BTC, [], 1),
    data("v4_orderbook", BTC, None, 1),
    data("v4_orderbook", BTC, {"bids": [["1"]]}, 1),
    data("v4_orderbook", BTC, {"bids": [[None, "1"]]}, 1),
    data("v4_orderbook", BTC, {"bids": [["nan", "1"]]}, 1),
    data("v4_orderbook", BTC, {"bids": [["1", "NaN"]]}, 1),
    data("v4_orderbook", BTC, {"bids": [["1", "inf"]]}, 1),
    data("v4_orderbook", BTC, {"bids": [["1", "-1"]]}, 1),
    data("v4_orderbook", BTC, {"bids": [["0", "1"]]}, 1),
    data("v4_orderbook", BTC, {"asks": [["-1", "1"]]}, 1),
    data("v4_orderbook", BTC, {"asks": [[True, "1"]]}, 1),
    data("v4_orderbook", BTC, [{"asks": [["x", "1"]]}], 1, "channel_batch_data"),
    data("v4_orderbook", BTC, {"asks": [["1", "1"]]}, 1, "channel_batch_data"),
    data("v4_orderbook", BTC, {"bids": []}, 1, "subscribed"),
    snapshot(BTC, [("1", "1"), ("1.0", "2")], [], 1),
    snapshot(BTC, [("1", "-1")], [], 1),
    snapshot(BTC, [("nan", "1")], [], 1),
    data("v4_markets", None, {"markets": [market()]}, 1, "subscribed"),
    data("v4_block_height", "v4_block_height", {"time": "2024-08-23T00:00:00.000Z"}, 1),
    data("v4_block_height", "v4_block_height", {"height": "-5", "time": "2024-08-23T00:00:00.000Z"}, 1),
]


#: One item of a list that cannot be.
ODD_TRADES: list[Any] = [
    trade("1", side="buy"),
    trade("1", price="nan"),
    trade("1", price="0"),
    trade("1", size="-1"),
    trade("1", size=None),
    trade("", size="1"),
    trade("1", createdAt="yesterday"),
    trade("1", createdAt=5),
    {},
    5,
    None,
]
ODD_FIGURES: list[dict[str, Any]] = [
    {"oraclePrice": "nan"},
    {"openInterest": "-1"},
    {"tickSize": "0"},
    {"nextFundingRate": "inf"},
    {"volume24H": ["1"]},
    {"status": 5},
]


@pytest.mark.parametrize("kind", ["subscribed", "channel_data", "channel_batch_data", "rest"])
@pytest.mark.parametrize("odd", ODD_TRADES, ids=range(len(ODD_TRADES)))
def test_a_trade_that_cannot_be_takes_no_other_along(odd: Any, kind: str) -> None:
    """It is said each time, since it is lost."""
    session = Session(protocol())
    rows = {"trades": [trade("2"), odd, trade("3")]}
    if kind == "rest":
        told = session.rest(f"trades:{BTC}", rows)
    else:
        told = session.take(data("v4_trades", BTC, [rows] if "batch" in kind else rows, 1, kind))
    assert sorted(each.trade_id for each in of(Trade, told)) == ["2", "3"]
    (event,) = events(told, EventKind.PARSE_ERROR)
    assert event.detail.startswith("trade that cannot be read: ")
    assert session.subject.parse_error_count == 1


@pytest.mark.parametrize("kind", ["subscribed", "channel_data", "rest"])
@pytest.mark.parametrize("odd", ODD_FIGURES, ids=[next(iter(each)) for each in ODD_FIGURES])
def test_a_figure_that_cannot_be_takes_no_other_along(odd: dict[str, Any], kind: str) -> None:
    """Nor the other markets; it is said once, and stays what it was."""
    session = Session(protocol())
    session.take(data("v4_markets", None, {"markets": {BTC: market()}}, 0, "subscribed"))
    part = "trading" if kind == "channel_data" else "markets"
    for number in (1, 2):
        body = {part: {BTC: market(**{"initialMarginFraction": "0.1", **odd}), "ETH-USD": market()}}
        if kind == "rest":
            told = session.rest("perpetualMarkets", body)
        else:
            told = session.take(data("v4_markets", None, body, number, kind))
        assert len(events(told, EventKind.NOTICE)) == (number == 1)
        if number == 1:
            leverage = {each.symbol: each.max_leverage for each in of(Instrument, told)}
            assert leverage == {BTC: 10.0, "ETH-USD": 20.0}
    assert session.subject.markets.get(BTC).price_tick == 0.1
    assert session.subject.markets.get(BTC).open_interest == 12.5
    assert session.subject.parse_error_count == 0


@pytest.mark.parametrize("odd", [5, None, "x", [market()]])
def test_an_odd_entry_in_the_list_of_markets_leaves_all_others_to_be_recorded(odd: Any) -> None:
    """Even the one it is about: it is listed, whatever is said of it."""
    session = Session(protocol(BTC, "ETH-USD"))
    session.subject.bootstrap()
    told = session.rest("perpetualMarkets", {"markets": {"ODD-USD": odd, "": market(), BTC: market(), "ETH-USD": odd}})
    assert {event.symbol for event in events(told, EventKind.PARSE_ERROR)} == {"ODD-USD", "", "ETH-USD"}
    assert session.subject.is_ready
    session.connect("books-0")
    assert {each["id"] for each in session.send()} == {BTC, "ETH-USD"}


def test_an_oracle_price_that_cannot_be_takes_no_other_along() -> None:
    session = Session(protocol())
    session.take(data("v4_markets", None, {"markets": {BTC: market(), "ETH-USD": market()}}, 0, "subscribed"))
    told = session.take(data("v4_markets", None, {"oraclePrices": {BTC: {}, "ETH-USD": {"oraclePrice": "7"}}}, 1))
    assert [(each.symbol, each.mark_price) for each in of(FundingInfo, told)] == [("ETH-USD", 7.0)]
    assert [event.symbol for event in events(told, EventKind.PARSE_ERROR)] == [BTC]


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_a_frame_that_cannot_be_understood_is_one_event_and_changes_nothing(body: Any) -> None:
    """What follows is told as if it had not come."""
    touched, untouched = Session(protocol()), Session(protocol())
    for session in (touched, untouched):
        session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 0))
    (event,) = touched.take(body)
    untouched.frames.append(touched.frames[-1])
    assert isinstance(event, StreamEvent)
    assert (event.kind, event.symbol, event.stream) == (EventKind.PARSE_ERROR, "", "")
    assert touched.subject.parse_error_count == 1
    later = [
        update(BTC, [("10", "2")], [], 2),
        data("v4_trades", BTC, {"trades": [trade("1")]}, 3),
        data("v4_markets", None, {"markets": {BTC: market()}}, 4, "subscribed"),
    ]
    assert [touched.take(each) for each in later] == [untouched.take(each) for each in later]


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "message_id", "channel", "id", "contents", "bids", "x"]), inner, max_size=4
            )
        ),
        max_leaves=8,
    ).map(encoded)
)
def test_any_rubbish_is_an_event_and_never_an_exception(payload: bytes) -> None:
    """In any bytes."""
    (event,) = protocol().receive(frame(payload))
    assert isinstance(event, StreamEvent)
    assert event.kind is EventKind.PARSE_ERROR


@given(st.data())
def test_a_frame_damaged_anywhere_is_no_exception(drawn: st.DataObject) -> None:
    """A byte changed or the end cut off."""
    payload = encoded(
        drawn.draw(
            st.sampled_from(
                [
                    snapshot(BTC, [("1", "1")], [], 1),
                    data("v4_trades", BTC, {"trades": [trade("1")]}, 1),
                    data("v4_markets", None, GOOD_MARKETS, 1, "subscribed"),
                ]
            )
        )
    )
    position = drawn.draw(st.integers(0, len(payload) - 1))
    if drawn.draw(st.booleans()):
        payload = payload[:position]
    else:
        payload = payload[:position] + bytes([drawn.draw(st.integers(0, 255))]) + payload[position + 1 :]
    for message in protocol().receive(frame(payload)):
        assert message.capture_seq == 0


def test_other_channels_numbers_count_though_they_cannot_be_read() -> None:
    """The frame came, so it was not lost."""
    session = lossless_session()
    session.take(data("v4_trades", BTC, {"trades": "x"}, 3))
    session.take(data("v4_brand_new", BTC, {}, 4))
    for number in range(5, 30):
        session.now_s += 1
        session.take(update(BTC, [("9", "1")], [], number))
    assert not events(session.messages, EventKind.STALE)


def test_a_book_update_that_cannot_be_read_makes_the_book_stale() -> None:
    """It is as good as lost."""
    session = lossless_session()
    session.take(update(BTC, [("9", "x")], [], 3))
    for number in range(4, 30):
        session.now_s += 1
        session.take(update(BTC, [("9", "1")], [], number))
    assert {event.cause for event in events(session.messages, EventKind.STALE)} == {"sequence"}


# -- lost frames -------------------------------------------------------------------------------------------------


def lossless_session(channels: tuple[str, ...] = ("full", "trades")) -> Session:
    """Book and trades of BTC subscribed and live, with message_id 2 the newest."""
    session = Session.ready(BTC, channels=channels)
    session.connect("books-0")
    assert [each["channel"] for each in session.send()] == ["v4_orderbook", "v4_trades"]
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    session.take(data("v4_trades", BTC, {"trades": []}, 2, "subscribed"))
    return session


def test_a_lost_frame_makes_every_stream_of_its_connection_stale() -> None:
    """It may have been of any of them. After five seconds, once; and the connection is made again."""
    session = lossless_session()
    session.take(update(BTC, [("9", "1")], [], 4))
    session.now_s = 4.9
    assert not events(session.take(update(BTC, [("9", "2")], [], 5)), EventKind.STALE)
    session.now_s = 5.0
    told = session.take(update(BTC, [("9", "3")], [], 6))
    assert [(event.symbol, event.stream, event.cause) for event in events(told, EventKind.STALE)] == [
        (BTC, "full", "sequence"),
        (BTC, "trades", "sequence"),
    ]
    assert [message.sub_seq for message in told] == list(range(3))
    assert events(told, EventKind.STALE)[0].detail == (
        "1 of the connection's frames never came, the first of them message_id 3"
    )
    (close,) = session.wait(0)
    assert str(close) == "CloseConnection(conn_id=0, reason='frames were lost: everything is subscribed anew')"
    assert session.wait(1) == []


def test_after_a_loss_only_a_snapshot_makes_the_book_good_again() -> None:
    """One gap per stream, from the last frame before to the first that counts."""
    session, tracker = lossless_session(), OrderBookTracker()
    session.take(update(BTC, [("9", "1")], [], 4))
    session.now_s = 5.0
    session.take(update(BTC, [("9", "3")], [], 5))
    session.now_s = 6.0
    session.take(update(BTC, [("9", "4")], [], 6))
    for message in session.messages:
        tracker(message)
    assert tracker.book(BTC).is_stale
    session.now_s = 7.0
    session.control("disconnected")
    session.connect("books-0", name="d")
    session.send()
    session.now_s = 8.0
    told = session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1, "d"))
    told += session.take(data("v4_trades", BTC, {"trades": []}, 2, "subscribed", "d"))
    assert [(event.stream, event.cause) for event in events(told, EventKind.GAP)] == [
        ("full", "sequence"),
        ("trades", "sequence"),
    ]
    (gap, _) = events(told, EventKind.GAP)
    assert (gap.ts_start, gap.ts_end) == (START_NS, START_NS + 8 * NS_PER_S)
    for message in told:
        tracker(message)
    assert not tracker.book(BTC).is_stale
    assert len(events(session.messages, EventKind.STALE)) == 2


def test_a_connection_is_made_anew_for_losses_once_a_minute_at_most() -> None:
    """Should the venue come to count in another way, it is not hammered."""
    session = lossless_session()

    def lose(name: str, number: int) -> None:
        session.take(update(BTC, [("9", "1")], [], number, name))
        session.now_s += 5
        session.take(update(BTC, [("9", "1")], [], number + 1, name))

    lose("c", 10)
    assert len(session.wait(0)) == 1
    session.control("disconnected")
    session.connect("books-0", name="d")
    session.send()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1, "d"))
    session.take(data("v4_trades", BTC, {"trades": []}, 2, "subscribed", "d"))
    lose("d", 10)
    assert len(events(session.messages, EventKind.STALE)) == 4
    assert session.wait(54) == []
    assert len(session.wait(1)) == 1


def test_a_late_answer_is_no_loss() -> None:
    """Data of another stream comes first, with higher numbers."""
    session = Session.ready(BTC, channels=("full", "trades"))
    session.connect("books-0")
    session.send()
    session.take(data("v4_trades", BTC, {"trades": []}, 2, "subscribed"))
    for number in range(3, 20):
        session.now_s += 1
        session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(number))]}, number))
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    for number in range(20, 60):
        session.now_s += 1
        session.take(update(BTC, [("9", "1")], [], number))
    assert not events(session.messages, EventKind.STALE)
    assert not [request for request in session.asked if "lost" in str(request)]


def test_an_import_holds_several_connections_in_one_file() -> None:
    """Their numbers are distinguished by the venue's names of them."""
    session = Session(protocol())
    for name, ticker in (("a", BTC), ("b", "ETH-USD")):
        session.take({"type": "connected", "connection_id": name, "message_id": 0})
        session.take(snapshot(ticker, [("10", "1")], [("11", "1")], 1, name))
    for number in range(2, 60):
        session.now_s += 1
        session.take(update(BTC, [("9", "1")], [], number, "a"))
        if number != 5:
            session.take(update("ETH-USD", [("9", "1")], [], number, "b"))
    (stale,) = events(session.messages, EventKind.STALE)
    assert (stale.symbol, stale.stream, stale.cause) == ("ETH-USD", "full", "sequence")


def test_an_import_without_names_of_connections_begins_anew_with_a_greeting() -> None:
    """The numbers of the second connection are counted from its own beginning."""
    session = Session(protocol())
    for is_second in (False, True):
        session.take({"type": "connected", "message_id": 0})
        session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1, ""))
        for number in range(2, 60):
            session.now_s += 1
            if not (is_second and number == 10):
                session.take(update(BTC, [("9", "1")], [], number, ""))
    (stale,) = events(session.messages, EventKind.STALE)
    assert stale.cause == "sequence"


def test_an_import_from_the_middle_of_a_connection_shows_a_loss() -> None:
    """In the streams that it never saw begin; a book without a snapshot was never good."""
    session = Session(protocol())
    for number in range(500, 560):
        session.now_s += 1
        if number != 510:
            session.take(data("v4_trades", BTC, {"trades": [trade(trade_id(number))]}, number))
    assert [(event.stream, event.cause) for event in events(session.messages, EventKind.STALE)] == [
        ("trades", "sequence")
    ]


def test_an_import_shows_a_reconnect_by_the_name_of_the_connection() -> None:
    """What was sent between the last frame of the one and the first of the other is missing."""
    session = Session(protocol())
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1, "a"))
    session.take(update(BTC, [("9", "1")], [], 2, "a"))
    session.now_s = 100
    told = session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1, "b"))
    assert [(message.kind, message.cause) for message in of(StreamEvent, told)] == [
        (EventKind.STALE, "disconnect"),
        (EventKind.GAP, "disconnect"),
    ]
    (book,) = of(BookSnapshot, told)
    assert book.sub_seq == 2


def test_an_import_of_some_channels_is_not_taken_for_losses() -> None:
    """One notice, and the book stays good."""
    session = Session(protocol())
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    for number in range(2, 300, 3):
        session.now_s += 1
        session.take(update(BTC, [("9", "1")], [], number))
    (notice,) = of(StreamEvent, session.messages)
    assert (notice.kind, notice.cause) == (EventKind.NOTICE, "selection")


# -- symbols -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ticker", [BTC, ODD, "A-B-USD", "a/b-USD"])
def test_a_ticker_is_symbol_and_pair(ticker: str) -> None:
    """Both ways, whatever is in it; in a path it is quoted."""
    session = Session.ready(ticker)
    assert session.subject.trading_pair(ticker) == ticker
    assert session.subject.symbol(ticker) == ticker
    (terms,) = of(Instrument, session.messages)
    assert (terms.symbol, terms.trading_pair, terms.base, terms.quote) == (ticker, ticker, ticker[:-4], "USD")
    call = session.subject.snapshot_request(ticker)
    assert call is not None
    path = call.path.removeprefix("/orderbooks/perpetualMarket/")
    assert not set(path) & {"/", ",", " "}
    (book,) = session.rest(call.tag, {"bids": [{"price": "1", "size": "1"}], "asks": []})
    assert book.symbol == ticker
    session.connect("books-0", 1)
    assert [each["id"] for each in session.send()] == [ticker, ticker]


def test_a_colon_in_a_ticker_survives_the_tags() -> None:
    """They are cut from the left."""
    session = Session.ready("A:B-USD", channels=("trades",))
    session.connect("trades-0")
    session.take(data("v4_trades", "A:B-USD", {"trades": [trade(trade_id(5))]}, 1))
    session.take(data("v4_trades", "A:B-USD", {"trades": [trade(trade_id(50))]}, 2, "subscribed"))
    (call,) = session.calls()
    told = session.rest(call.tag, {"trades": [trade(trade_id(50)), trade(trade_id(40))]})
    assert [(each.symbol, each.is_duplicate) for each in of(Trade, told)] == [("A:B-USD", False), ("A:B-USD", True)]


def test_an_unknown_pair_is_refused_with_the_closest() -> None:
    """Before anything is connected."""
    session = Session.ready("BTC-USDC", listed=(BTC, "ETH-USD"))
    assert not session.subject.is_ready
    assert isinstance(session.subject.failure, SymbolError)
    assert str(session.subject.failure) == (
        "the venue lists no market 'BTC-USDC' (tickers are case-sensitive, such as BTC-USD); "
        "did you mean BTC-USD, ETH-USD?"
    )


def test_a_symbol_heard_of_needs_no_metadata() -> None:
    """An import has none."""
    session = Session(protocol())
    session.take(update(BTC, [("9", "1")], [], 1))
    assert session.subject.symbol(BTC) == BTC
    with pytest.raises(SymbolError):
        session.subject.symbol("ETH-USD")


def test_a_settled_market_is_left_out() -> None:
    """And a session of nothing else is refused."""
    session = Session(protocol(BTC, "FTM-USD"))
    session.subject.bootstrap()
    session.rest("perpetualMarkets", {"markets": {BTC: market(), "FTM-USD": market(status="FINAL_SETTLEMENT")}})
    assert [event.detail[:7] for event in events(session.messages, EventKind.REFUSED)] == ["FTM-USD"]
    session.connect("books-0")
    assert {each["id"] for each in session.send()} == {BTC}
    alone = Session(protocol("FTM-USD"))
    alone.rest("perpetualMarkets", {"markets": {"FTM-USD": market(status="FINAL_SETTLEMENT")}})
    assert isinstance(alone.subject.failure, VenueRefused)


# -- REST --------------------------------------------------------------------------------------------------------


def test_a_rest_book_leaves_the_streamed_one_alone() -> None:
    """It is older than the stream, though it comes later."""
    session, tracker = Session(protocol()), OrderBookTracker()
    session.take(snapshot(BTC, [("10", "1")], [("11", "1")], 1))
    session.rest(f"orderbook:{BTC}", {"bids": [{"price": "5", "size": "1"}], "asks": []})
    for message in session.messages:
        tracker(message)
    best = tracker.book(BTC).best_bid
    assert best is not None
    assert best.price == 10.0
    assert len(tracker.book(BTC, "rest").bids) == 1


def test_a_settled_rate_is_told_once() -> None:
    """Polls overlap."""
    session = Session(protocol())
    rows = [
        {"ticker": BTC, "rate": "0.00001", "price": "100", "effectiveAt": f"2024-08-22T{hour}:00:00.200Z"}
        for hour in (23, 22)
    ]
    assert len(session.rest(f"historicalFunding:{BTC}", {"historicalFunding": rows[1:]})) == 1
    (told,) = of(FundingInfo, session.rest(f"historicalFunding:{BTC}", {"historicalFunding": rows}))
    assert told.ts_event == START_NS - 3600 * NS_PER_S + 200_000_000


@pytest.mark.parametrize(
    "row",
    [
        {"rate": "nan"},
        {"price": "0"},
        {"effectiveAt": "1970-01-01T00:00:05Z"},
        {"ticker": 5},
    ],
)
def test_a_settled_rate_that_cannot_be_changes_nothing(row: dict[str, Any]) -> None:
    """A good answer after it is told."""
    session = Session(protocol())
    good = {"ticker": BTC, "rate": "0.00001", "price": "100", "effectiveAt": "2024-08-22T23:00:00.200Z"}
    (event,) = session.rest(f"historicalFunding:{BTC}", {"historicalFunding": [{**good, **row}]})
    assert isinstance(event, StreamEvent)
    assert event.kind is EventKind.PARSE_ERROR
    assert len(of(FundingInfo, session.rest(f"historicalFunding:{BTC}", {"historicalFunding": [good]}))) == 1


def test_an_answer_of_failure_is_an_event() -> None:
    """With its status."""
    (event,) = Session(protocol()).rest(f"orderbook:{BTC}", b"<html>", 503)
    assert isinstance(event, StreamEvent)
    assert (event.kind, event.detail) == (EventKind.REQUEST_FAILED, f"orderbook:{BTC}: HTTP 503")


@pytest.mark.parametrize(
    "tag", ["perpetualMarkets", f"orderbook:{BTC}", f"trades:{BTC}", f"historicalFunding:{BTC}", "time", "height"]
)
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"markets": 5, "bids": 5, "trades": [5], "historicalFunding": 5, "iso": 5}']
)
def test_an_answer_of_another_shape_is_an_event(tag: str, body: bytes) -> None:
    """And never an exception."""
    (event,) = Session(protocol()).rest(tag, body)
    assert isinstance(event, StreamEvent)
    assert event.kind is EventKind.PARSE_ERROR


def test_a_failed_metadata_answer_leaves_the_protocol_unready() -> None:
    """Nothing can be connected for."""
    session = Session(protocol(BTC))
    session.subject.bootstrap()
    session.rest("perpetualMarkets", b"nothing")
    assert not session.subject.is_ready
    session.rest("perpetualMarkets", {"markets": {BTC: market()}})
    assert session.subject.is_ready


def test_one_markets_figures_are_asked_for_by_name() -> None:
    """And told even if it is not among the pairs."""
    session = Session.ready(BTC, listed=(BTC, "ETH-USD"))
    call = session.subject.funding_request("ETH-USD")
    assert call is not None
    assert call.path == "/perpetualMarkets?ticker=ETH-USD"
    told = of(FundingInfo, session.rest(call.tag, {"markets": {"ETH-USD": market(openInterest="99")}}))
    assert [(each.symbol, each.open_interest) for each in told] == [("ETH-USD", 99.0)]


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Invalid subscription id for channel: (v4_orderbook-BTC-USD)", EventKind.REFUSED),
        ("Invalid channel: v5_orderbook", EventKind.REFUSED),
        ("Per-connection subscription limit reached for v4_orderbook (limit=32).", EventKind.REFUSED),
        ("Internal error, could not fetch data for subscription: v4_orderbook.", EventKind.VENUE_ERROR),
        ("Invalid subscribe message: already subscribed (v4_orderbook-BTC-USD)", EventKind.VENUE_ERROR),
        (
            "Too many subscribe attempts for channel v4_orderbook-BTC-USD. Please reconnect and try again.",
            EventKind.VENUE_ERROR,
        ),
        ("Invalid message: could not parse", EventKind.VENUE_ERROR),
        ("Something new", EventKind.VENUE_ERROR),
    ],
)
def test_an_error_is_told_in_the_venues_words(text: str, kind: EventKind) -> None:
    """Whether or not it is known."""
    (event,) = Session(protocol()).take(error(text, 1))
    assert isinstance(event, StreamEvent)
    assert (event.kind, event.detail) == (kind, text)


def test_account_frames_are_counted_and_kept() -> None:
    """Their numbers are of the same connection."""
    session = lossless_session()
    session.take(data("v4_subaccounts", "dydx1/0", {"orders": "whatever"}, 3))
    session.take(data("v4_candles", "BTC-USD/1MIN", 5, 4))
    for number in range(5, 30):
        session.now_s += 1
        session.take(update(BTC, [("9", "1")], [], number))
    assert not of(StreamEvent, session.messages[-20:])
    assert not events(session.messages, EventKind.STALE)


def test_a_frame_of_another_kind_is_not_mistaken() -> None:
    """The greeting of another connection does not begin the numbers of this one again."""
    session = lossless_session()
    session.take({"type": "connected", "connection_id": "other", "message_id": 0}, kind=WS_IN, conn_id=1)
    session.take(update(BTC, [("9", "1")], [], 4))
    session.now_s = 6
    session.take(update(BTC, [("9", "1")], [], 5))
    assert len(events(session.messages, EventKind.STALE)) == 2


def test_requests_are_what_the_venue_documents() -> None:
    """`v4_markets` with an id would never be updated."""
    session = Session.ready(BTC, channels=("batched", "trades", "funding", "blocks", "candles:1MIN"))
    session.connect("venue")
    session.connect("books-0", 1, "d")
    assert session.send() == [
        {"type": "subscribe", "channel": "v4_block_height"},
        {"type": "subscribe", "channel": "v4_markets"},
        {"type": "subscribe", "channel": "v4_orderbook", "id": BTC, "batched": True},
        {"type": "subscribe", "channel": "v4_trades", "id": BTC},
        {"type": "subscribe", "channel": "v4_candles", "id": "BTC-USD/1MIN"},
    ]
    assert json.loads(session.frames[-1].payload)["id"] == "BTC-USD/1MIN"
