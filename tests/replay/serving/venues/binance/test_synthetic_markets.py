"""The synthetic Binance spot and COIN-M: what they say otherwise than USD-M, held against captures of the real ones."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replay.serving.synthetic_venue import Ask, Drop
from replay.serving.venues.binance.synthetic import SyntheticBinanceCoinM, SyntheticBinanceSpot, SyntheticBinanceUsdM
from replay.serving.venues.binance.synthetic.venue import BinanceSession, SyntheticBinance
from replay.synthetic.market import Market, MarketOptions
from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.venues.binance.symbols import parse_exchange_info
from toolkit.venues.binance.whose_frames import venue_of

MARKETS: dict[str, tuple[type[SyntheticBinance], str]] = {
    "binance-spot": (SyntheticBinanceSpot, "btcusdt"),
    "binance-usdm": (SyntheticBinanceUsdM, "btcusdt"),
    "binance-coinm": (SyntheticBinanceCoinM, "btcusd_perp"),
}
Levels = dict[str, dict[float, float]]


class Visitor:
    """A venue, and one connection to it."""

    def __init__(self, market: str, seed: int = 7) -> None:
        kind, self.name = MARKETS[market]
        self.venue = kind(Market(MarketOptions(seed=seed)))
        self.now_ns = self.venue.market.options.genesis_ns
        path = "/public/stream" if market == "binance-usdm" else "/stream"
        session = self.venue.open("127.0.0.1", path, "", self.now_ns)
        assert session is not None
        self.session: BinanceSession = session

    def subscribe(self, *streams: str) -> None:
        names = [f"{self.name}@{stream}" for stream in streams]
        self.session.receive(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}), self.now_ns)
        assert json.loads(self.session.take()[-1]) == {"result": None, "id": 1}

    def run(self, seconds: float) -> list[tuple[str, Any]]:
        """What was sent meanwhile: the stream without its symbol, and the data."""
        self.now_ns += round(seconds * NS_PER_S)
        self.venue.advance(self.now_ns)
        frames = [json.loads(text) for text in self.session.take()]
        return [(frame["stream"].partition("@")[2], frame["data"]) for frame in frames]

    def get(self, what: str, **query: str) -> tuple[int, Any]:
        path = f"{self.venue.product.rest_prefix}/{what}"
        reply = self.venue.answer(Ask("GET", path, query, b"", "", "127.0.0.1"), self.now_ns)
        return reply.status, json.loads(reply.body) if reply.status != 404 else None


def apply(book: Levels, diff: Any) -> None:
    for side in ("b", "a"):
        for px, sz in diff[side]:
            if float(sz):
                book[side][float(px)] = float(sz)
            else:
                book[side].pop(float(px), None)


def joined(visitor: Visitor, snapshot: Any, frames: list[tuple[str, Any]]) -> Iterator[tuple[int, Levels]]:
    """The book after each diff that the venue's rule joins to the snapshot, with its update id."""
    book = {side: {float(px): float(sz) for px, sz in snapshot[name]} for side, name in (("b", "bids"), ("a", "asks"))}
    last = snapshot["lastUpdateId"]
    is_spot, is_joined = visitor.venue.product.is_spot, False
    for stream, diff in frames:
        if not stream.startswith("depth") or diff["u"] <= last:
            continue
        if is_spot:
            assert diff["U"] == last + 1 if is_joined else diff["U"] <= last + 1 <= diff["u"]
        else:
            assert diff["pu"] == last if is_joined else diff["U"] <= last <= diff["u"] or diff["pu"] == last
        apply(book, diff)
        is_joined, last = True, diff["u"]
        yield last, book


@pytest.mark.parametrize("market", MARKETS)
@pytest.mark.parametrize("stream", ["depth@100ms", "depth"])
def test_diffs_of_each_market_join_its_snapshot_and_equal_its_quotes(market: str, stream: str) -> None:
    visitor = Visitor(market)
    visitor.subscribe(stream, "bookTicker")
    early = visitor.run(1.53)
    status, snapshot = visitor.get("depth", symbol=visitor.name.upper(), limit="1000")
    assert status == 200
    frames = early + visitor.run(12)
    quotes = {data["u"]: [float(data[key]) for key in "bBaA"] for name, data in frames if name == "bookTicker"}
    compared = 0
    for update_id, book in joined(visitor, snapshot, frames):
        bid, ask = max(book["b"]), min(book["a"])
        assert bid < ask
        if update_id in quotes:
            compared += 1
            assert quotes[update_id] == [bid, book["b"][bid], ask, book["a"][ask]]
    assert compared > 3


def test_update_ids_of_spot_are_consecutive() -> None:
    visitor = Visitor("binance-spot")
    visitor.subscribe("depth@100ms")
    frames = [data for _, data in visitor.run(8)]
    assert len(frames) > 40
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in itertools.pairwise(frames))


@pytest.mark.parametrize(
    ("market", "capture"),
    [("binance-spot", "spot_btcusdt_20240808.gz"), ("binance-coinm", "coinm_btcusd_perp_20240808.gz")],
)
def test_payloads_have_the_fields_of_a_capture_in_its_order(market: str, capture: str, shared_data: Path) -> None:
    """All but the class and the pair, which all messages of futures have said since 2026."""
    theirs: dict[str, list[str]] = {}
    with gzip.open(shared_data / "binance" / capture, "rt") as lines:
        for line in itertools.islice(lines, 3000):
            frame = json.loads(line.partition(" ")[2])
            kind = frame["stream"].partition("@")[2].partition("@")[0] if "stream" in frame else "snapshot"
            theirs.setdefault(kind, list(frame.get("data", frame)))
    visitor = Visitor(market)
    visitor.subscribe("depth@100ms", "bookTicker", "trade")
    ours = {stream.partition("@")[0]: list(data) for stream, data in visitor.run(8)}
    ours["snapshot"] = list(visitor.get("depth", symbol=visitor.name.upper())[1])
    assert ours.keys() == theirs.keys()
    for kind, fields in ours.items():
        later = {"st", "ps"} - set(theirs[kind])
        assert [each for each in fields if each not in later] == theirs[kind]


@pytest.mark.parametrize("market", MARKETS)
def test_frames_tell_of_which_market_they_are(market: str) -> None:
    visitor = Visitor(market)
    visitor.subscribe("depth@100ms", "bookTicker", "trade")
    visitor.now_ns += 6 * NS_PER_S
    visitor.venue.advance(visitor.now_ns)
    frames = visitor.session.take()
    assert len(frames) > 60
    assert {venue_of(frame.encode()) for frame in frames} == {market}


def test_contracts_are_whole_and_worth_what_the_coins_are() -> None:
    """Each size is the value at its price in contracts, rounded, and never none of what is there."""
    visitor = Visitor("binance-coinm")
    listed = visitor.venue.listed["BTCUSD_PERP"]
    visitor.subscribe("trade")
    trades = {data["t"]: data for _, data in visitor.run(15)}
    assert len(trades) > 10
    past = visitor.venue.market.history["BTC"]
    for data, trade in zip(reversed(trades.values()), reversed(past), strict=False):
        value = trade.px * trade.lots / listed.instrument.one / listed.instrument.lots_per_unit
        assert int(data["q"]) == max(1, round(value / 100))
    _, book = visitor.get("depth", symbol="BTCUSD_PERP", limit="1000")
    assert min(int(size) for side in ("bids", "asks") for _, size in book[side]) >= 1


def test_an_aggregate_on_coin_margin_has_the_contracts_of_its_trades() -> None:
    visitor = Visitor("binance-coinm")
    visitor.subscribe("trade", "aggTrade")
    frames = visitor.run(20)
    sizes = {data["t"]: int(data["q"]) for stream, data in frames if stream == "trade"}
    sums = [data for stream, data in frames if stream == "aggTrade" and data["l"] > data["f"]]
    assert sums
    for data in sums:
        assert int(data["q"]) == sum(sizes[number] for number in range(data["f"], data["l"] + 1))


def test_one_connection_of_coin_margin_carries_what_two_routes_of_the_other_do() -> None:
    visitor = Visitor("binance-coinm")
    visitor.subscribe("depth@100ms", "aggTrade", "markPrice@1s", "bookTicker")
    assert {stream for stream, _ in visitor.run(6)} == {"depth@100ms", "aggTrade", "markPrice@1s", "bookTicker"}


def test_spot_has_no_streams_and_no_requests_of_futures() -> None:
    """They are acknowledged and silent, and not found."""
    visitor = Visitor("binance-spot")
    visitor.subscribe("markPrice@1s", "forceOrder", "depth@0ms", "depth5@250ms", "depth5@100ms")
    assert {stream for stream, _ in visitor.run(10)} == {"depth5@100ms"}
    for what in ("premiumIndex", "fundingRate", "fundingInfo", "openInterest"):
        assert visitor.get(what, symbol="BTCUSDT")[0] == 404


def test_a_plain_partial_book_of_spot_comes_once_a_second() -> None:
    visitor = Visitor("binance-spot")
    visitor.subscribe("depth5")
    frames = [data for _, data in visitor.run(20)]
    assert 15 <= len(frames) <= 21
    assert all(list(data) == ["lastUpdateId", "bids", "asks"] and len(data["bids"]) == 5 for data in frames)


def test_more_than_five_messages_a_second_end_a_connection_of_spot() -> None:
    visitor = Visitor("binance-spot")
    for _ in range(5):
        visitor.session.receive('{"method":"LIST_SUBSCRIPTIONS","id":3}', visitor.now_ns)
    assert visitor.session.drop is None
    visitor.session.receive('{"method":"LIST_SUBSCRIPTIONS","id":3}', visitor.now_ns + NS_PER_MS)
    assert isinstance(visitor.session.drop, Drop)


@pytest.mark.parametrize(
    ("limit", "weight", "levels"),
    [("5", 5, 5), ("101", 25, 101), ("1000", 50, 1000), ("5000", 250, 5000), ("0", 250, 5000)],
)
def test_a_book_of_spot_weighs_by_its_depth_and_has_any(limit: str, weight: int, levels: int) -> None:
    visitor = Visitor("binance-spot")
    query = {"symbol": "BTCUSDT", "limit": limit}
    reply = visitor.venue.answer(Ask("GET", "/api/v3/depth", query, b"", "", "127.0.0.1"), visitor.now_ns)
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == str(weight)
    assert len(json.loads(reply.body)["bids"]) == min(levels, len(visitor.venue.market.books["BTC"].bids))


def test_the_listing_of_each_market_is_read_as_its_own() -> None:
    listed = {}
    for market in MARKETS:
        visitor = Visitor(market)
        body = json.dumps(visitor.get("exchangeInfo")[1]).encode()
        rows, odd = parse_exchange_info(body, is_spot=visitor.venue.product.is_spot)
        assert odd == []
        listed[market] = {row.pair: row for row in rows}
    spot, coinm = listed["binance-spot"], listed["binance-coinm"]
    assert (spot["HYPE-USDC"].base, spot["HYPE-USDC"].quote, spot["HYPE-USDC"].min_notional) == ("HYPE", "USDC", 10)
    assert (coinm["BTC-USD"].contract_value, coinm["ETH-USD"].contract_value) == (100, 10)
    assert (coinm["BTC-USD"].settle, coinm["BTC-USD"].size_step) == ("BTC", 1)
    assert [pair for pair, row in spot.items() if not row.is_trading] == ["MATIC-USDT"]
    assert not coinm["MATIC-USD"].is_trading
    assert "1000PEPE-USD" not in coinm


def test_the_listing_of_spot_can_be_asked_for_by_symbol() -> None:
    visitor = Visitor("binance-spot")
    _, one = visitor.get("exchangeInfo", symbol="ETHUSDT")
    _, two = visitor.get("exchangeInfo", symbols='["BTCUSDT","ETHUSDT"]')
    assert [row["symbol"] for row in one["symbols"]] == ["ETHUSDT"]
    assert [row["symbol"] for row in two["symbols"]] == ["BTCUSDT", "ETHUSDT"]
    for query in ({"symbol": "NOPE"}, {"symbols": '["NOPE"]'}, {"symbols": "["}, {"symbols": "[1]"}):
        status, error = visitor.get("exchangeInfo", **query)
        assert (status, error["code"]) in {(400, -1121), (400, -1102)}


def test_coin_margin_answers_with_lists_and_pairs() -> None:
    visitor = Visitor("binance-coinm")
    visitor.run(10)
    _, premium = visitor.get("premiumIndex", symbol="BTCUSD_PERP")
    assert [row["symbol"] for row in premium] == ["BTCUSD_PERP"]
    _, interest = visitor.get("openInterest", symbol="BTCUSD_PERP")
    assert (interest["pair"], interest["openInterest"].isdecimal()) == ("BTCUSD", True)
    _, rates = visitor.get("fundingRate", symbol="BTCUSD_PERP", limit="3")
    assert len(rates) == 3


def test_one_seed_trades_the_same_on_all_three() -> None:
    sides = []
    for market in MARKETS:
        visitor = Visitor(market)
        visitor.subscribe("trade")
        sides.append([(data["T"], float(data["p"]), data["m"]) for _, data in visitor.run(8)])
    assert sides[0] == sides[1] == sides[2]
    assert len(sides[0]) > 10
