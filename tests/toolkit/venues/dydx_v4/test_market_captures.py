"""dYdX v4: every captured frame gives the values that a reader of the venue's documentation would write down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.toolkit.venues.dydx_harness import frame, of, protocol
from toolkit.frames import REST_IN
from toolkit.messages import (
    BookDiff,
    BookSnapshot,
    EventKind,
    FundingInfo,
    FundingKind,
    Instrument,
    InstrumentKind,
    Message,
    Side,
    StreamEvent,
    Trade,
)
from toolkit.venues.dydx_v4 import DydxV4MarketProtocol

pytestmark = pytest.mark.usefixtures("shared_data")


@pytest.fixture
def folder(shared_data: Path) -> Path:
    return shared_data / "dydx_v4"


def received(folder: Path, name: str, subject: DydxV4MarketProtocol | None = None) -> list[Message]:
    return (subject or protocol()).receive(frame((folder / f"{name}.json").read_bytes(), 7))


def answered(folder: Path, name: str, tag: str) -> list[Message]:
    """The messages of a REST answer; the files wrap it in the log entry of who captured it."""
    body: Any = json.loads((folder / "rest" / f"{name}.json").read_bytes())["result"]
    context = {"tag": tag, "status": 200}
    return protocol().receive(frame(body, 7, kind=REST_IN, conn_id=-1, context=context))


def test_a_book_snapshot(folder: Path) -> None:
    """A hundred levels a side, best first, numbered by the frame, without a time of the venue's."""
    (book,) = received(folder, "v4_orderbook_snapshot")
    assert isinstance(book, BookSnapshot)
    assert (book.venue, book.symbol, book.trading_pair) == ("dydx_v4", "ETH-USD", "ETH-USD")
    assert (book.ts_event, book.form, book.fused, book.depth_cap, book.last_update_id) == (None, "full", True, 100, 4)
    assert (book.capture_seq, book.sub_seq, book.row_count) == (7, 0, 200)
    assert (len(book.bid_prices), len(book.ask_prices)) == (100, 100)
    assert (book.bid_prices[:3], book.bid_sizes[:3]) == ((3393.2, 3393.1, 3393.0), (7.795, 10.59, 20.189))
    assert (book.ask_prices[:3], book.ask_sizes[:3]) == ((3393.5, 3393.6, 3393.7), (4.946, 7.856, 30.983))
    assert (book.bid_prices[-1], book.bid_sizes[-1]) == (3260.0, 0.15)
    assert (book.ask_prices[-1], book.ask_sizes[-1]) == (3564.8, 0.15)
    assert (book.bid_counts, book.ask_counts) == ((), ())


def test_a_book_update(folder: Path) -> None:
    """One level, and a size of 0 that removes it."""
    (diff,) = received(folder, "v4_orderbook")
    assert isinstance(diff, BookDiff)
    assert (diff.symbol, diff.form, diff.fused, diff.last_update_id) == ("BTC-USD", "full", True, 3219)
    assert diff.depth_cap is None  # an update may be of any level
    assert (diff.bid_prices, diff.bid_sizes, diff.ask_prices, diff.ask_sizes) == ((65920.0,), (0.0,), (), ())


def test_a_batched_book_update(folder: Path) -> None:
    """One message with every level of the batch, repeated ones too, each side in the order sent."""
    (diff,) = received(folder, "v4_orderbook_batched_data")
    assert isinstance(diff, BookDiff)
    assert (diff.symbol, diff.last_update_id) == ("ETH-USD", 17)
    assert (len(diff.bid_prices), len(diff.ask_prices)) == (28, 13)
    assert diff.bid_prices[:3] == (2396.1, 2396.0, 2396.3)
    assert diff.bid_sizes[:3] == (3.123, 2.664, 2.299)
    assert [size for price, size in zip(diff.bid_prices, diff.bid_sizes, strict=True) if price == 2396.3] == [
        2.299,
        4.788,
        6.788,
        4.788,
    ]
    assert (diff.bid_prices[-1], diff.bid_sizes[-1]) == (2377.5, 3.909)
    assert (diff.ask_prices[0], diff.ask_sizes[0]) == (2397.1, 23.768)
    assert (diff.ask_prices[-1], diff.ask_sizes[-1]) == (2397.3, 5.854)
    assert (diff.ask_prices[5], diff.ask_sizes[5]) == (2410.4, 0.0)


def test_trades(folder: Path) -> None:
    """Two trades of one block share its time; the side is the taker's."""
    messages = received(folder, "v4_trades")
    assert messages == [
        Trade(
            "dydx_v4",
            "ETH-USD",
            "ETH-USD",
            1_721_848_355_705_000_000,  # 2024-07-24T19:12:35.705Z
            messages[0].ts_recv,
            7,
            sub_seq,
            Side.BUY,
            3392.9,
            size,
            trade_id,
        )
        for sub_seq, (size, trade_id) in enumerate(
            [(0.01, "014206cf0000000200000002"), (1.738, "014206cf000000020000000e")]
        )
    ]


def test_a_deleveraged_trade(folder: Path) -> None:
    """A trade that was no ordinary one says why."""
    trades = of(Trade, received(folder, "trade_deleveraged"))
    assert [(trade.trade_id[-2:], trade.aggressor_side, trade.size, trade.cause) for trade in trades] == [
        ("0e", Side.BUY, 4.303, None),
        ("11", Side.BUY, 4.303, None),
        ("26", Side.SELL, 0.811, "deleveraging"),
    ]
    assert [trade.price for trade in trades] == [2322.8, 2322.8, 2340.7442700369913687]
    assert {trade.ts_event for trade in trades} == {1_722_820_168_338_000_000}  # 2024-08-05T01:09:28.338Z
    assert not any(trade.is_history or trade.is_duplicate for trade in trades)


def test_the_markets_snapshot(folder: Path) -> None:
    """An instrument and the running state of each of the 98 markets."""
    messages = received(folder, "v4_markets_subscribed")
    instruments = {message.symbol: message for message in of(Instrument, messages)}
    funding = {message.symbol: message for message in of(FundingInfo, messages)}
    assert (len(instruments), len(funding), len(messages)) == (98, 98, 196)
    assert [message.sub_seq for message in messages] == list(range(196))
    btc = instruments["BTC-USD"]
    assert (btc.kind, btc.base, btc.quote, btc.settle) == (InstrumentKind.PERPETUAL, "BTC", "USD", "USDC")
    assert (btc.price_tick, btc.size_step, btc.max_leverage, btc.is_active) == (1.0, 0.0001, 20.0, True)
    info = funding["BTC-USD"]
    assert (info.kind, info.ts_event) == (FundingKind.CURRENT, None)
    assert (info.index_price, info.mark_price) == (59655.70557, 59655.70557)
    assert (info.funding_rate, info.funding_interval_s, info.next_funding_ts) == (0.0, 3600, None)
    assert (info.open_interest, info.day_volume_quote) == (49.8997, 39461.8544)
    assert info.prev_day_price == 58502.67114  # 59655.70557 - 1153.03443
    assert (info.day_volume_base, info.mid_price, info.premium) == (None, None, None)
    assert (instruments["ZRO-USD"].price_tick, instruments["ZRO-USD"].size_step) == (0.001, 1.0)


@pytest.mark.parametrize(
    ("name", "ticker", "price", "ts_event"),
    [
        ("v4_markets_channel_data", "JASMY-USD", 0.02069413882, 1_723_915_476_330_000_000),  # 2024-08-17T17:24:36.330Z
        ("v4_markets_oracle_price", "FTM-USD", 0.3866273177, 1_723_917_025_837_000_000),  # 2024-08-17T17:50:25.837Z
    ],
)
def test_an_oracle_price(folder: Path, name: str, ticker: str, price: float, ts_event: int) -> None:
    """The oracle price is index and mark, at the time of its block; the rest is not known yet."""
    (info,) = received(folder, name)
    assert isinstance(info, FundingInfo)
    assert (info.symbol, info.ts_event, info.index_price, info.mark_price) == (ticker, ts_event, price, price)
    assert (info.funding_rate, info.funding_interval_s, info.open_interest) == (None, None, None)


def test_a_market_that_is_told_whole_in_an_update(folder: Path) -> None:
    """Terms and figures without an oracle price, so the price of a day ago is not known either."""
    terms, info = received(folder, "v4_markets_channel_data_v8")
    assert isinstance(terms, Instrument)
    assert isinstance(info, FundingInfo)
    assert (terms.symbol, terms.base, terms.price_tick, terms.size_step) == ("TRY-USD", "TRY", 0.00001, 100.0)
    assert (terms.max_leverage, terms.is_active) == (100.0, True)
    assert (info.funding_rate, info.open_interest, info.day_volume_quote) == (0.0, 1257800.0, 0.0)
    assert (info.index_price, info.prev_day_price) == (None, None)


def test_a_market_in_final_settlement(folder: Path) -> None:
    """It is no longer active."""
    terms, info = received(folder, "v4_markets_cross")
    assert isinstance(terms, Instrument)
    assert isinstance(info, FundingInfo)
    assert (terms.symbol, terms.is_active, terms.max_leverage) == ("FTM-USD", False, 5.0)
    assert (info.open_interest, info.day_volume_quote, info.funding_rate) == (564710.0, 292953.744, 0.0)


def test_an_update_of_nothing_that_is_stored(folder: Path) -> None:
    """`baseOpenInterest` is the protocol's own account of the open interest: no message, and no parse error."""
    assert received(folder, "v4_markets_trading_data") == []


def test_block_heights(folder: Path) -> None:
    """The snapshot calls it `height`, the update `blockHeight`."""
    subject = protocol()
    assert received(folder, "v4_block_height_subscribed", subject) == []
    assert subject.block == (26543048, 1_733_165_131_771_000_000)  # 2024-12-02T18:45:31.771Z
    assert received(folder, "v4_block_height_channel_data", subject) == []
    assert subject.block == (26543049, 1_733_165_133_548_000_000)


def test_an_error(folder: Path) -> None:
    """What the venue could not do is an event with its words."""
    (event,) = received(folder, "error")
    assert isinstance(event, StreamEvent)
    assert event.kind is EventKind.VENUE_ERROR
    assert event.detail == "Internal error, could not fetch data for subscription: v4_orderbook."


def test_what_is_kept_raw_only(folder: Path) -> None:
    """Greetings, acknowledgements, candles and accounts give no messages and no parse errors."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    kept = [name for name in names if name.startswith(("v4_accounts", "v4_candles", "connected", "unsubscribed"))]
    assert len(kept) == 20
    assert {name: received(folder, name) for name in kept} == {name: [] for name in kept}


def test_every_capture_is_spoken_of_here(folder: Path) -> None:
    """A frame that is added has to be given its expected values."""
    assert len(list(folder.glob("*.json"))) == 34
    assert len(list((folder / "rest").glob("*.json"))) == 11


def test_a_book_from_rest(folder: Path) -> None:
    """A form of its own that takes no part in the streamed book: it comes from a cache."""
    (book,) = answered(folder, "http_get_orderbook", "orderbook:BTC-USD")
    assert isinstance(book, BookSnapshot)
    assert (book.symbol, book.form, book.fused, book.depth_cap, book.ts_event) == ("BTC-USD", "rest", False, 100, None)
    assert book.bid_prices == (89947.0, 89946.0, 89945.0, 89944.0, 89943.0)
    assert book.bid_sizes == (0.0002, 0.0002, 0.1661, 0.0006, 0.0002)
    assert book.ask_prices == (89958.0, 89959.0, 89960.0, 89963.0, 89966.0)
    assert book.ask_sizes == (0.1177, 0.1829, 0.2299, 0.1495, 0.1171)


def test_trades_from_rest(folder: Path) -> None:
    """Newest first on the wire, in the order of their execution here, and history."""
    trades = of(Trade, answered(folder, "http_get_trades", "trades:BTC-USD"))
    assert [(trade.trade_id, trade.price, trade.size) for trade in trades] == [
        ("03f89a53000000020000000b", 89969.0, 0.1763),
        ("03f89a53000000020000000e", 89970.0, 0.0365),
        ("03f89a550000000200000002", 89942.0, 0.0001),
    ]
    assert all(trade.is_history and trade.aggressor_side is Side.BUY for trade in trades)
    assert trades[-1].ts_event == 1_765_210_290_590_000_000  # 2025-12-08T16:11:30.590Z


def test_markets_from_rest(folder: Path) -> None:
    """The same as the stream's snapshot; funding may be negative."""
    messages = answered(folder, "http_get_perpetual_markets", "perpetualMarkets")
    instruments, funding = of(Instrument, messages), of(FundingInfo, messages)
    assert [(each.symbol, each.price_tick, each.size_step, each.max_leverage) for each in instruments] == [
        ("BTC-USD", 1.0, 0.0001, 50.0),
        ("ETH-USD", 0.1, 0.001, 50.0),
        ("SOL-USD", 0.01, 0.1, 20.0),
    ]
    assert [(each.index_price, each.funding_rate, each.open_interest) for each in funding] == [
        (89919.2, 0.00000254545454545455, 381.7348),
        (3103.01, 0.00000125, 7457.108),
        (135.3, -0.00000143181818181818, 41917.9),
    ]
    assert [each.prev_day_price for each in funding] == [89218.09238, 3005.773195, 130.91103821]
    assert [each.day_volume_quote for each in funding] == [247500844.6834, 59598032.8897, 54043106.256]


def test_settled_funding_from_rest(folder: Path) -> None:
    """Rates that were charged, oldest first, with the oracle price at which they were."""
    rates = of(FundingInfo, answered(folder, "http_get_historical_funding", "historicalFunding:BTC-USD"))
    assert [(each.ts_event, each.funding_rate, each.index_price) for each in rates] == [
        (1_765_202_400_112_000_000, 0.000000625, 91459.59191),  # 2025-12-08T14:00:00.112Z
        (1_765_206_000_586_000_000, 0.000000375, 90860.48604),
        (1_765_209_600_219_000_000, 0.000002375, 89993.8),
    ]
    assert {(each.kind, each.funding_interval_s, each.symbol) for each in rates} == {
        (FundingKind.SETTLED, 3600, "BTC-USD")
    }


def test_the_venues_clock_from_rest(folder: Path) -> None:
    """How far it is from ours is data."""
    (event,) = answered(folder, "http_get_time", "time")
    assert isinstance(event, StreamEvent)
    assert (event.kind, event.cause) == (EventKind.NOTICE, "venue clock")
    assert event.ts_event == 1_765_210_316_125_000_000  # 2025-12-08T16:11:56.125Z


def test_the_height_from_rest(folder: Path) -> None:
    """It sets the chain's clock."""
    body = json.loads((folder / "rest" / "http_get_block_height.json").read_bytes())["result"]
    subject = protocol()
    assert subject.receive(frame(body, kind=REST_IN, conn_id=-1, context={"tag": "height", "status": 200})) == []
    assert subject.block == (66624132, 1_765_210_319_450_000_000)  # 2025-12-08T16:11:59.450Z


@pytest.mark.parametrize("name", ["candles", "fills", "orders", "subaccount", "transfers"])
def test_answers_that_are_kept_raw_only(folder: Path, name: str) -> None:
    """Candles, and what belongs to an account."""
    assert answered(folder, f"http_get_{name}", name) == []
