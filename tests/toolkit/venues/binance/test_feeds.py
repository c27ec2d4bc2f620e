"""What each of Binance's streams becomes, and what is no stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from recordings.states.normalizer import Normalizer
from tests.toolkit.venues.binance_harness import MS, Session, events, listed, snapshot, spot_diff, usdm_diff
from toolkit.messages import (
    BestQuote,
    BookSnapshot,
    EventKind,
    FundingInfo,
    Instrument,
    InstrumentKind,
    Liquidation,
    Message,
    Side,
    Trade,
)
from toolkit.protocol import CloseConnection, ProtocolOptions
from toolkit.venue import find_venue
from toolkit.venues.binance.symbols import pair_from_spelling

NS = 1_000_000
QUOTE = {
    "e": "bookTicker",
    "u": 7,
    "s": "BTCUSDT",
    "b": "100.5",
    "B": "3",
    "a": "100.6",
    "A": "4",
    "T": MS,
    "E": MS + 1,
}
TRADE = {
    "e": "trade",
    "E": MS + 1,
    "T": MS,
    "s": "BTCUSDT",
    "t": 41,
    "p": "100.5",
    "q": "0.3",
    "X": "MARKET",
    "m": True,
}
AGG = {
    "e": "aggTrade",
    "E": MS + 1,
    "a": 9,
    "s": "BTCUSDT",
    "p": "100.5",
    "q": "2",
    "f": 41,
    "l": 43,
    "T": MS,
    "m": False,
}
MARK = {
    "e": "markPriceUpdate",
    "E": MS,
    "s": "BTCUSDT",
    "p": "100.1",
    "i": "100.2",
    "P": "100.3",
    "r": "0.0001",
    "T": MS + 3_600_000,
}
FORCE: dict[str, Any] = {
    "e": "forceOrder",
    "E": MS + 5,
    "o": {
        "s": "BTCUSDT",
        "S": "SELL",
        "o": "LIMIT",
        "f": "IOC",
        "q": "0.014",
        "p": "99.1",
        "ap": "99.5",
        "X": "FILLED",
        "l": "0.014",
        "z": "0.014",
        "T": MS,
    },
}


def one(messages: list[Message]) -> Message:
    assert len(messages) == 1
    return messages[0]


# -- streams ---------------------------------------------------------------------------------------------------


def test_a_quote_is_kept_beside_the_book() -> None:
    session = Session("binance-usdm")
    assert one(session.stream("btcusdt@bookTicker", QUOTE)) == BestQuote(
        "binance-usdm",
        "BTCUSDT",
        "BTC-USDT",
        MS * NS,
        session.now,
        0,
        0,
        False,
        100.5,
        3.0,
        None,
        100.6,
        4.0,
        None,
        7,
    )
    book = session.tracker.book("BTC-USDT")
    assert (book.is_stale, book.best_bid) == (True, None)
    assert session.tracker.book("BTC-USDT", "bbo").bids.best_price == 100.5


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm", "binance-coinm"])
@pytest.mark.parametrize(("bid_size", "ask_size"), [("0.000", "2"), ("1", "0"), ("0", "0")])
def test_a_side_of_a_quote_that_has_no_size_is_empty(venue: str, bid_size: str, ask_size: str) -> None:
    """Whatever its price is: no order stands there."""
    session = Session(venue)
    data = {
        "e": "bookTicker",
        "u": 7,
        "s": "BTCUSDT",
        "b": "1.5",
        "B": bid_size,
        "a": "2.5",
        "A": ask_size,
        "T": MS,
        "E": MS,
    }
    quote = one(session.stream("btcusdt@bookTicker", data))
    assert isinstance(quote, BestQuote)
    assert (quote.bid_price, quote.bid_size) == ((1.5, 1.0) if bid_size == "1" else (None, None))
    assert (quote.ask_price, quote.ask_size) == ((2.5, 2.0) if ask_size == "2" else (None, None))


def test_a_spot_quote_has_no_time_and_a_side_may_be_empty() -> None:
    session = Session("binance-spot")
    quote = one(
        session.stream("btcusdt@bookTicker", {"u": 7, "s": "BTCUSDT", "b": "0.00", "B": "0.00", "a": "2", "A": "1"})
    )
    assert isinstance(quote, BestQuote)
    assert (quote.ts_event, quote.bid_price, quote.bid_size, quote.ask_price) == (None, None, None, 2.0)


@pytest.mark.parametrize(
    ("is_buyer_maker", "side"),
    [(True, Side.SELL), (False, Side.BUY)],
)
def test_a_trade_names_the_side_of_the_taker(is_buyer_maker: bool, side: Side) -> None:
    session = Session("binance-usdm")
    trade = one(session.stream("btcusdt@trade", TRADE | {"m": is_buyer_maker}))
    assert trade == Trade(
        "binance-usdm", "BTCUSDT", "BTC-USDT", MS * NS, session.now, 0, 0, side, 100.5, 0.3, "41", False, False, None
    )


def test_an_aggregate_is_a_trade_with_an_id_of_its_own_kind() -> None:
    session = Session("binance-usdm")
    trade = one(session.stream("btcusdt@aggTrade", AGG))
    assert isinstance(trade, Trade)
    assert (trade.trade_id, trade.size, trade.aggressor_side, trade.is_duplicate) == ("a9", 2.0, Side.BUY, False)
    assert [stream.stream for stream in session.protocol.streams] == ["agg_trades"]


def test_no_trade_is_counted_twice_whichever_stream_tells_it_first() -> None:
    session = Session("binance-usdm")

    def told(name: str, data: dict[str, Any]) -> bool:
        trade = one(session.stream(f"btcusdt@{name}", data))
        assert isinstance(trade, Trade)
        return not trade.is_duplicate

    assert told("aggTrade", AGG)
    assert [told("trade", TRADE | {"t": number}) for number in (41, 42, 43, 44)] == [False, False, False, True]
    # The aggregate of 44 and 45 comes while 45 is still to come by itself.
    assert not told("aggTrade", AGG | {"a": 10, "f": 44, "l": 45})
    assert told("trade", TRADE | {"t": 45})
    assert told("aggTrade", AGG | {"a": 11, "f": 46, "l": 46})
    assert not told("aggTrade", AGG | {"a": 11, "f": 46, "l": 46})
    # Ids that begin again, an hour later, are no repetition.
    again = session.stream("btcusdt@trade", TRADE | {"t": 1, "T": MS + 3_600_000})
    assert events(again) == [(EventKind.NOTICE, "trades", "renumbered")]
    assert getattr(again[1], "is_duplicate", True) is False
    assert told("trade", TRADE | {"t": 2, "T": MS + 3_600_001})
    assert not told("trade", TRADE | {"t": 2, "T": MS + 3_600_001})


@pytest.mark.parametrize(
    ("kind", "cause"),
    [("MARKET", None), ("INSURANCE_FUND", "insurance_fund"), ("ADL", "deleveraging"), ("NEWKIND", "newkind")],
)
def test_a_trade_off_the_book_says_why(kind: str, cause: str | None) -> None:
    trade = one(Session("binance-usdm").stream("btcusdt@trade", TRADE | {"X": kind}))
    assert isinstance(trade, Trade)
    assert trade.cause == cause


def test_a_trade_of_nothing_is_none() -> None:
    session = Session("binance-usdm")
    assert session.stream("btcusdt@trade", TRADE | {"X": "NA", "p": "0", "q": "0"}) == []
    assert events(session.stream("btcusdt@trade", TRADE | {"p": "0", "q": "0"})) == [(EventKind.PARSE_ERROR, "", "")]


def test_the_mark_price_is_funding() -> None:
    session = Session("binance-usdm")
    assert one(session.stream("btcusdt@markPrice@1s", MARK)) == FundingInfo(
        "binance-usdm",
        "BTCUSDT",
        "BTC-USDT",
        MS * NS,
        session.now,
        0,
        0,
        funding_rate=0.0001,
        next_funding_ts=(MS + 3_600_000) * NS,
        mark_price=100.1,
        index_price=100.2,
    )


def test_a_delivery_contract_has_no_rate() -> None:
    session = Session("binance-coinm")
    info = one(session.stream("btcusd_260925@markPrice", MARK | {"s": "BTCUSD_260925", "r": "", "T": 0}))
    assert isinstance(info, FundingInfo)
    assert (info.trading_pair, info.funding_rate, info.next_funding_ts) == ("BTC-USD-260925", None, None)
    data = MARK | {"s": "BTCUSD_260925"}
    info = one(session.stream("btcusd_260925@markPrice", data | {"r": "0.0001", "T": 0}))
    assert getattr(info, "funding_rate", 0) is None
    bad = session.stream("btcusd_260925@markPrice", data | {"r": "much"})
    assert events(bad) == [(EventKind.PARSE_ERROR, "", "")]


def test_marks_of_the_whole_market_are_split_by_product() -> None:
    session = Session("binance-usdm")
    rows = [MARK | {"st": 1}, MARK | {"s": "BTCUSD_PERP", "st": 2}, MARK | {"s": "ETHUSDT"}]
    messages = session.stream("!markPrice@arr@1s", rows)
    assert [(message.trading_pair, message.sub_seq) for message in messages] == [("BTC-USDT", 0), ("ETH-USDT", 1)]


def test_a_liquidation_order_is_no_trade() -> None:
    session = Session("binance-usdm")
    expected = Liquidation(
        "binance-usdm",
        "BTCUSDT",
        "BTC-USDT",
        MS * NS,
        session.now,
        0,
        0,
        Side.SELL,
        99.1,
        0.014,
        99.5,
        0.014,
        "filled",
    )
    assert one(session.stream("btcusdt@forceOrder", FORCE)) == expected
    again = one(session.stream("!forceOrder@arr", FORCE))
    assert again == msgspec.structs.replace(expected, capture_seq=1)
    assert session.stream("!forceOrder@arr", FORCE | {"st": 2}) == []
    unfilled = one(session.stream("btcusdt@forceOrder", FORCE | {"o": FORCE["o"] | {"ap": "0", "z": "0"}}))
    assert isinstance(unfilled, Liquidation)
    assert (unfilled.average_price, unfilled.filled_size) == (None, 0.0)


@pytest.mark.parametrize(
    ("venue", "data", "ts_event"),
    [
        ("binance-spot", {"lastUpdateId": 5, "bids": [["1", "2"]], "asks": [["3", "4"]]}, None),
        ("binance-usdm", usdm_diff(4, 5, 3, [["1", "2"]], [["3", "4"]]), (MS + 5) * NS),
    ],
)
def test_a_partial_book_is_a_form_for_itself(venue: str, data: dict[str, Any], ts_event: int | None) -> None:
    session = Session(venue)
    book = one(session.stream("btcusdt@depth20@100ms", data))
    assert isinstance(book, BookSnapshot)
    assert (book.form, book.fused, book.depth_cap, book.ts_event, book.last_update_id) == (
        "depth20",
        False,
        20,
        ts_event,
        5,
    )
    assert session.is_stale()


def test_engine_time_goes_before_the_time_of_sending() -> None:
    session = Session("binance-usdm")
    (diff,) = session.stream("btcusdt@depth@0ms", usdm_diff(5, 10, 1) | {"T": MS + 3, "E": MS + 9})
    assert diff.ts_event == (MS + 3) * NS


@pytest.mark.parametrize(("time", "ns"), [(MS + 1, (MS + 1) * NS), (MS * 1000 + 123_456, MS * NS + 123_456_000)])
def test_microseconds_are_told_from_milliseconds(time: int, ns: int) -> None:
    session = Session("binance-spot")
    (trade,) = session.stream("btcusdt@trade", TRADE | {"T": time, "E": time})
    (diff,) = session.stream("btcusdt@depth@100ms", spot_diff(1, 2, time=time))
    assert (trade.ts_event, diff.ts_event) == (ns, ns)


@pytest.mark.parametrize("time", [0, 1, MS // 1000, 5_000_000_000_000, 10**15, 10**18, 2**63 - 1])
def test_a_time_in_neither_unit_is_an_error(time: int) -> None:
    session = Session("binance-usdm")
    assert events(session.stream("btcusdt@trade", TRADE | {"T": time})) == [(EventKind.PARSE_ERROR, "", "")]


def test_frames_without_a_stream_are_told_by_their_own_words() -> None:
    session = Session("binance-spot")
    assert isinstance(one(session.feed({"u": 7, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"})), BestQuote)
    assert isinstance(one(session.feed(TRADE)), Trade)
    session.feed(spot_diff(1, 10))
    session.feed(snapshot(10))
    assert not session.is_stale()


def test_a_nameless_futures_book_is_taken_once_it_can_only_be_a_diff() -> None:
    session = Session("binance-usdm")
    assert events(session.feed(usdm_diff(5, 10, 1, [["1", "2"]]))) == [(EventKind.PARSE_ERROR, "", "")]
    session.feed(usdm_diff(15, 20, 10, [["1", "0.000"]]))
    session.feed(usdm_diff(25, 30, 20, [["1", "2"]]))
    assert not events(session.feed(snapshot(22)))
    assert not session.is_stale()


def test_documented_streams_without_a_meaning_here_are_passed_over() -> None:
    session = Session("binance-usdm")
    for name in ("btcusdt@kline_1m", "btcusdt@ticker", "!contractInfo", "!miniTicker@arr", "btcusdt@rpiDepth@500ms"):
        assert session.stream(name, {"anything": 1}) == []


# -- symbols ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [
        ("BTCUSDT", "BTC-USDT"),
        ("1000PEPEUSDT", "1000PEPE-USDT"),
        ("ETHBTC", "ETH-BTC"),
        ("BTCUSDT_260925", "BTC-USDT-260925"),
        ("BTCUSD_PERP", "BTC-USD"),
        ("BTCUSD_260925", "BTC-USD-260925"),
        ("BTCTRY", "BTCTRY"),
        ("USDT", "USDT"),
        ("BTCUSDT_X", "BTCUSDT_X"),
        ("币安人生USDT", "币安人生-USDT"),
    ],
)
def test_a_pair_is_told_by_spelling_only_where_it_can_be(symbol: str, pair: str) -> None:
    assert pair_from_spelling(symbol) == pair


def test_instruments_say_what_the_venue_says() -> None:
    session = Session("binance-coinm")
    rows = [
        listed("BTCUSD_PERP", "BTC", "USD", status="", contractStatus="TRADING", contractSize=100, marginAsset="BTC"),
        listed("BTCUSD_260925", "BTC", "USD", status="", contractStatus="SETTLING", contractSize=100),
    ]
    perp, future = session.rest("exchangeInfo", {"symbols": rows})
    assert perp == Instrument(
        "binance-coinm",
        "BTCUSD_PERP",
        "BTC-USD",
        None,
        session.now,
        0,
        0,
        InstrumentKind.PERPETUAL,
        "BTC",
        "USD",
        "BTC",
        price_tick=0.1,
        size_step=0.001,
        min_notional=100.0,
        contract_value=100.0,
    )
    assert isinstance(future, Instrument)
    assert (future.kind, future.trading_pair, future.is_active, future.sub_seq) == (
        InstrumentKind.FUTURE,
        "BTC-USD-260925",
        False,
        1,
    )


def test_the_factor_in_a_name_is_the_multiplier() -> None:
    session = Session("binance-usdm")
    rows = [listed(f"{base}USDT", base, "USDT") for base in ("1000PEPE", "1MBABYDOGE", "1INCH", "BTC")]
    found = session.rest("exchangeInfo", {"symbols": rows})
    assert [getattr(row, "multiplier", 0) for row in found] == [1000.0, 1_000_000.0, 1.0, 1.0]


def test_metadata_names_what_spelling_cannot_and_renames_nothing() -> None:
    session = Session("binance-spot")
    quote = {"u": 7, "s": "BTCTRY", "b": "1", "B": "1", "a": "2", "A": "1"}
    assert one(session.stream("btctry@bookTicker", quote)).trading_pair == "BTCTRY"
    session.rest("exchangeInfo", {"symbols": [listed("BTCTRY", "BTC", "TRY"), listed("ETHTRY", "ETH", "TRY")]})
    # What was spoken of keeps its name; for what was not it is not too late.
    assert (session.protocol.trading_pair("ETHTRY"), session.protocol.symbol("ETH-TRY")) == ("ETH-TRY", "ETHTRY")
    assert one(session.stream("btctry@bookTicker", quote)).trading_pair == "BTCTRY"


def test_symbols_that_would_share_a_pair_keep_their_own_names() -> None:
    session = Session("binance-usdm")
    rows = [listed("BTCUSDT", "BTC", "USDT"), listed("XBTUSDT", "BTC", "USDT"), listed("ZUSDC", "ETH", "USDT")]
    found = session.rest("exchangeInfo", {"symbols": rows})
    assert [row.trading_pair for row in found] == ["BTCUSDT", "XBTUSDT", "ETH-USDT"]
    assert session.protocol.trading_pair("ETHUSDT") == "ETHUSDT"  # not listed, and the pair is somebody else's


# -- recordings ------------------------------------------------------------------------------------------------


def test_every_kind_of_message_comes_back_from_disk(tmp_path: Path) -> None:
    lines = [
        {"stream": "btcusdt@depth@0ms", "data": usdm_diff(5, 10, 1, [["100.2", "1"]], [["100.9", "2"]])},
        snapshot(10, T=MS + 10, E=MS + 10),
        {"stream": "btcusdt@depth@0ms", "data": usdm_diff(15, 20, 10, [["100.2", "0"]], [])},
        {"stream": "btcusdt@depth@0ms", "data": usdm_diff(25, 30, 20)},
        {"stream": "btcusdt@depth10@100ms", "data": usdm_diff(25, 30, 20, [["1", "1"]], [["2", "1"]])},
        {"stream": "btcusdt@bookTicker", "data": QUOTE},
        {"stream": "btcusdt@trade", "data": TRADE},
        {"stream": "btcusdt@trade", "data": TRADE | {"t": 42, "X": "ADL"}},
        {"stream": "btcusdt@aggTrade", "data": AGG},
        {"stream": "btcusdt@markPrice@1s", "data": MARK},
        {"stream": "btcusdt@forceOrder", "data": FORCE},
        {
            "stream": "btcusdt@forceOrder",
            "data": FORCE | {"o": {"s": "BTCUSDT", "S": "BUY", "q": "1", "p": "2", "T": MS}},
        },
        {"stream": "btcusdt@depth@0ms", "data": usdm_diff(45, 50, 40)},
        {"broken": 1},
    ]
    path = tmp_path / "capture.txt"
    stamped = ((MS * NS + number * 1000, line) for number, line in enumerate(lines))
    path.write_text("".join(f"{ns} {json.dumps(line)}\n" for ns, line in stamped))
    options = ImportOptions(venue="binance-usdm", line_format="collector", segment_frames=6)
    manifest = import_capture([path], tmp_path / "recording", options)
    recording = Recording.open(tmp_path / "recording")
    protocol = find_venue("binance-usdm").make_protocol(ProtocolOptions())
    received = [m for frames in recording.raw_frames() for frame in frames for m in protocol.receive(frame)]
    stored = [message for messages in recording.messages() for message in messages]
    assert stored == received
    assert {type(message).__name__ for message in stored} == {
        "BookDiff",
        "BookSnapshot",
        "BestQuote",
        "Trade",
        "FundingInfo",
        "Liquidation",
        "StreamEvent",
    }
    normalized = Normalizer({})
    for message in stored:
        normalized.take(message)
    assert normalized.chain.hexdigest() == manifest.digest
    assert manifest.counts["liquidations"] == 2


def test_a_shutdown_notice_closes_the_connection() -> None:
    session = Session("binance-spot")
    assert events(session.feed({"e": "serverShutdown", "E": MS}, conn_id=3)) == [
        (EventKind.NOTICE, "", "server_shutdown")
    ]
    (request,) = session.protocol.requests()
    assert isinstance(request, CloseConnection)
    assert request.conn_id == 3
    assert events(session.stream("!serverShutdown", {"e": "serverShutdown", "E": MS})) == [
        (EventKind.NOTICE, "", "server_shutdown")
    ]
