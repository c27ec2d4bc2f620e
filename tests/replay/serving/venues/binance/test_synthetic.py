"""The synthetic Binance USD-M: frames in, frames out."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from replay.serving.synthetic_venue import Ask, Drop
from replay.serving.venues.binance.synthetic.venue import BinanceOptions, BinanceSession, SyntheticBinanceUsdM
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.traders import AccountsOptions
from toolkit.clock import NS_PER_MS, NS_PER_S

QUOTES = "btcusdt@bookTicker"
Book = dict[str, dict[float, float]]


class Client:
    """A venue, and one connection to it on each route."""

    def __init__(self, *, seed: int = 7, options: BinanceOptions | None = None, **market: Any) -> None:
        self.venue = SyntheticBinanceUsdM(Market(MarketOptions(seed=seed, **market)), options)
        self.now_ns = self.venue.market.options.genesis_ns
        self.public = self.open("/public/stream")
        self.market = self.open("/market/stream")

    def open(self, path: str, query: str = "") -> BinanceSession:
        session = self.venue.open("127.0.0.1", path, query, self.now_ns)
        assert session is not None
        return session

    def ask(self, session: BinanceSession, **request: Any) -> Any:
        return self.say(session, json.dumps(request))

    def say(self, session: BinanceSession, text: str) -> Any:
        session.receive(text, self.now_ns)
        return json.loads(session.take()[-1])

    def subscribe(self, session: BinanceSession, *streams: str) -> None:
        assert self.ask(session, method="SUBSCRIBE", params=streams, id=1) == {"result": None, "id": 1}

    def run(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)
        self.venue.advance(self.now_ns)

    def heard(self, session: BinanceSession) -> list[Any]:
        return [json.loads(text) for text in session.take()]

    def get(self, path: str, **query: str) -> tuple[int, Any]:
        reply = self.venue.answer(Ask("GET", f"/fapi/v1/{path}", query, b"", "", "127.0.0.1"), self.now_ns)
        return reply.status, json.loads(reply.body)


def apply(book: Book, diff: Any) -> None:
    for side in ("b", "a"):
        for px, sz in diff[side]:
            if float(sz):
                book[side][float(px)] = float(sz)
            else:
                book[side].pop(float(px), None)


def best(book: Book) -> tuple[tuple[float, float], tuple[float, float]]:
    bid, ask = max(book["b"]), min(book["a"])
    return (bid, book["b"][bid]), (ask, book["a"][ask])


@pytest.mark.parametrize("stream", ["depth@100ms", "depth@0ms", "depth", "depth@500ms"])
def test_diffs_join_a_snapshot_and_equal_the_quotes_of_the_same_update(stream: str) -> None:
    client = Client()
    client.subscribe(client.public, f"btcusdt@{stream}", QUOTES)
    client.run(1.03)
    _, snapshot = client.get("depth", symbol="BTCUSDT", limit="1000")
    client.run(60)
    book: Book = {
        "b": {float(px): float(sz) for px, sz in snapshot["bids"]},
        "a": {float(px): float(sz) for px, sz in snapshot["asks"]},
    }
    last, compared, skipped = snapshot["lastUpdateId"], 0, 0
    quotes = {}
    joined = False
    for message in client.heard(client.public):
        data = message["data"]
        if message["stream"] == QUOTES:
            quotes[data["u"]] = tuple((float(data[px]), float(data[sz])) for px, sz in (("b", "B"), ("a", "A")))
            continue
        if data["u"] < last and not joined:
            skipped += 1
            continue
        assert data["pu"] == last if joined else data["U"] <= last <= data["u"] or data["pu"] == last
        joined, last = True, data["u"]
        apply(book, data)
        assert max(book["b"]) < min(book["a"])
        if last in quotes:
            compared += 1
            assert best(book) == quotes[last]
    assert skipped
    assert compared > 20


def test_ranges_of_update_ids_do_not_touch() -> None:
    """Only `pu` says what a frame follows, as on the real venue."""
    client = Client()
    client.subscribe(client.public, "btcusdt@depth@0ms")
    client.run(5)
    frames = [each["data"] for each in client.heard(client.public)]
    assert all(later["U"] > earlier["u"] for earlier, later in itertools.pairwise(frames))
    assert any(later["U"] > earlier["u"] + 1 for earlier, later in itertools.pairwise(frames))


def test_trade_ids_are_consecutive_and_aggregates_cover_them() -> None:
    client = Client()
    client.subscribe(client.public, "ethusdt@trade")
    client.subscribe(client.market, "ethusdt@aggTrade")
    client.run(60)
    trades = [each["data"] for each in client.heard(client.public)]
    aggregates = [each["data"] for each in client.heard(client.market)]
    ids = [trade["t"] for trade in trades]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert [row["a"] for row in aggregates] == list(range(aggregates[0]["a"], aggregates[0]["a"] + len(aggregates)))
    assert aggregates[0]["f"] == ids[0]
    assert all(later["f"] == earlier["l"] + 1 for earlier, later in itertools.pairwise(aggregates))
    by_id = {trade["t"]: trade for trade in trades}
    assert any(row["l"] > row["f"] for row in aggregates)
    for row in aggregates:
        parts = [by_id[number] for number in range(row["f"], row["l"] + 1)]
        assert {(part["p"], part["m"]) for part in parts} == {(row["p"], row["m"])}
        assert sum(float(part["q"]) for part in parts) == pytest.approx(float(row["q"]))


def test_what_does_not_exist_is_acknowledged_and_silent() -> None:
    client = Client()
    client.subscribe(client.public, "nopeusdt@bookTicker", "btcusdt@nonsense", "BTCUSDT@bookTicker", "btcusdt@depth7")
    client.run(5)
    assert client.public.take() == []


def test_a_stream_on_the_wrong_route_is_acknowledged_and_silent() -> None:
    client = Client()
    client.subscribe(client.public, "btcusdt@aggTrade", "btcusdt@markPrice@1s")
    client.subscribe(client.market, "btcusdt@depth@100ms", QUOTES)
    unrouted = client.open("/ws")
    client.subscribe(unrouted, "btcusdt@markPrice@1s", QUOTES)
    client.run(10)
    assert client.public.take() == client.market.take() == []
    # A path without a route is public, and its payloads are bare.
    assert {each["e"] for each in client.heard(unrouted)} == {"bookTicker"}


def test_streams_can_be_named_in_the_url() -> None:
    client = Client()
    session = client.open("/public/stream", f"streams={QUOTES}/ethusdt@bookTicker")
    client.run(5)
    assert {each["stream"] for each in client.heard(session)} == {QUOTES, "ethusdt@bookTicker"}


def test_subscriptions_can_be_listed_and_ended() -> None:
    client = Client()
    client.subscribe(client.public, QUOTES, "nope@x")
    assert client.ask(client.public, method="LIST_SUBSCRIPTIONS", id=3) == {"result": [QUOTES, "nope@x"], "id": 3}
    assert client.ask(client.public, method="UNSUBSCRIBE", params=[QUOTES], id="a1") == {"result": None, "id": "a1"}
    client.run(5)
    assert client.public.take() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 3),
        ("[1]", 2),
        ('{"method":"DANCE","id":1}', 2),
        ('{"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
        ('{"method":"SUBSCRIBE","params":"x","id":1}', 2),
        ('{"method":"LIST_SUBSCRIPTIONS","id":1.5}', 2),
        ('{"method":"SET_PROPERTY","params":["combined",3],"id":1}', 1),
        ('{"method":"SET_PROPERTY","params":["color",true],"id":1}', 0),
    ],
)
def test_a_request_that_is_none_is_answered_with_an_error(text: str, code: int) -> None:
    client = Client()
    answer = client.say(client.public, text)
    assert answer["code"] == code
    assert answer["msg"]


def test_combined_payloads_can_be_switched_off() -> None:
    client = Client()
    client.subscribe(client.public, QUOTES)
    assert client.ask(client.public, method="GET_PROPERTY", params=["combined"], id=1)["result"] is True
    client.ask(client.public, method="SET_PROPERTY", params=["combined", False], id=2)
    client.run(5)
    assert all(each["e"] == "bookTicker" for each in client.heard(client.public))


def test_more_than_ten_messages_a_second_end_the_connection() -> None:
    client = Client()
    for _ in range(11):
        client.public.receive('{"method":"LIST_SUBSCRIPTIONS","id":1}', client.now_ns)
    assert len(client.public.take()) == 10
    assert client.venue.drops(client.now_ns) == [(client.public, Drop(1008, "Too many requests"))]


def test_every_connection_ends_after_a_day() -> None:
    client = Client()
    day_ns = 24 * 3600 * NS_PER_S
    assert client.venue.drops(client.now_ns + day_ns - 1) == []
    assert [session for session, _ in client.venue.drops(client.now_ns + day_ns)] == [client.public, client.market]


def test_a_lost_diff_leaves_a_gap() -> None:
    client = Client()
    client.subscribe(client.public, "btcusdt@depth@100ms")
    client.run(2)
    client.venue.lose("btcusdt@depth@100ms")
    client.run(2)
    frames = [each["data"] for each in client.heard(client.public)]
    breaks = [later["pu"] != earlier["u"] for earlier, later in itertools.pairwise(frames)]
    assert breaks.count(True) == 1


def test_muting_one_kind_leaves_the_others() -> None:
    client = Client()
    client.subscribe(client.public, QUOTES, "btcusdt@depth@0ms")
    client.venue.muted.add(("bookTicker", "BTCUSDT"))
    client.run(3)
    assert {each["stream"] for each in client.heard(client.public)} == {"btcusdt@depth@0ms"}


def test_partial_books_are_whole_and_have_the_keys_of_a_diff() -> None:
    client = Client()
    client.subscribe(client.public, "btcusdt@depth5@100ms", "btcusdt@depth20")
    client.run(3)
    frames = client.heard(client.public)
    for stream, levels in (("btcusdt@depth5@100ms", 5), ("btcusdt@depth20", 20)):
        data = [each["data"] for each in frames if each["stream"] == stream]
        assert len(data) > 5
        for each in data:
            assert each["e"] == "depthUpdate"
            assert len(each["b"]) == len(each["a"]) == levels
            assert all(float(sz) for _, sz in each["b"] + each["a"])


def test_mark_prices_come_every_second_and_liquidations_now_and_then() -> None:
    client = Client(options=BinanceOptions(forced_every_ns=NS_PER_S))
    client.subscribe(client.market, "btcusdt@markPrice@1s", "!markPrice@arr", "!forceOrder@arr", "solusdt@forceOrder")
    client.run(60)
    frames = client.heard(client.market)
    marks = [each["data"] for each in frames if each["stream"] == "btcusdt@markPrice@1s"]
    assert len(marks) in (59, 60)
    assert marks[0].keys() >= {"e", "E", "s", "p", "i", "P", "r", "T"}
    assert all(mark["T"] > mark["E"] for mark in marks)
    assert len([each for each in frames if each["stream"] == "!markPrice@arr"]) in (19, 20)
    forced = [each["data"]["o"] for each in frames if each["stream"] == "!forceOrder@arr"]
    assert forced
    seconds = [(order["s"], order["T"] // 1000) for order in forced]
    assert len(set(seconds)) >= len(seconds) - 1
    assert all(order["X"] == "FILLED" and order["z"] == order["q"] for order in forced)


def test_the_listing_describes_every_perpetual() -> None:
    client = Client()
    _, info = client.get("exchangeInfo")
    symbols = {each["symbol"]: each for each in info["symbols"]}
    assert list(symbols) == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "1000PEPEUSDT", "MATICUSDT", "SP500USDT"]
    filters = {each["filterType"]: each for each in symbols["BTCUSDT"]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "1.0"
    assert filters["LOT_SIZE"]["stepSize"] == "0.00001"
    assert filters["MIN_NOTIONAL"]["notional"] == "10"
    assert symbols["MATICUSDT"]["status"] == "SETTLING"
    assert client.get("depth", symbol="MATICUSDT")[1]["bids"] == []


def test_prices_and_sizes_have_a_fixed_number_of_decimals() -> None:
    client = Client()
    _, book = client.get("depth", symbol="ETHUSDT", limit="5")
    assert all(len(px.partition(".")[2]) == 2 and len(sz.partition(".")[2]) == 4 for px, sz in book["bids"])


def test_funding_and_open_interest_can_be_asked_for() -> None:
    client = Client()
    client.run(5)
    _, premium = client.get("premiumIndex", symbol="BTCUSDT")
    assert premium["nextFundingTime"] > premium["time"]
    _, rates = client.get("fundingRate", symbol="BTCUSDT", limit="3")
    assert [row["fundingTime"] for row in rates] == sorted(row["fundingTime"] for row in rates)
    assert len(rates) == 3
    assert float(client.get("openInterest", symbol="BTCUSDT")[1]["openInterest"]) > 0
    assert client.get("fundingInfo")[1][0]["fundingIntervalHours"] == 1
    assert len(client.get("premiumIndex")[1]) == 6


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("depth", {"symbol": "NOPE"}, 400, -1121),
        ("depth", {}, 400, -1102),
        ("depth", {"symbol": "BTCUSDT", "limit": "7"}, 400, -4021),
        ("trades", {"symbol": "BTCUSDT", "limit": "x"}, 400, -1102),
    ],
)
def test_rest_says_what_is_wrong(path: str, query: dict[str, str], status: int, code: int) -> None:
    found, answer = Client().get(path, **query)
    assert (found, answer["code"]) == (status, code)


def test_rest_requests_have_a_weight() -> None:
    client = Client(options=BinanceOptions(weight_per_minute=40))
    for _ in range(2):
        assert client.get("depth", symbol="BTCUSDT", limit="1000")[0] == 200
    assert client.get("ping")[0] == 429
    client.now_ns += 61 * NS_PER_S
    assert client.get("ping")[0] == 200


def test_rest_and_streams_tell_the_same_trades() -> None:
    client = Client()
    client.subscribe(client.public, "btcusdt@trade")
    client.run(20)
    told = [each["data"]["t"] for each in client.heard(client.public)]
    assert [row["id"] for row in client.get("trades", symbol="BTCUSDT")[1]] == told
    _, rows = client.get("aggTrades", symbol="BTCUSDT", limit="2")
    assert rows[-1]["l"] == told[-1]


def frames_of(step_s: float) -> list[str]:
    client = Client(seed=3)
    client.subscribe(client.public, "btcusdt@depth@100ms", QUOTES, "btcusdt@trade")
    client.subscribe(client.market, "btcusdt@markPrice@1s", "!forceOrder@arr")
    while client.now_ns < client.venue.market.options.genesis_ns + 20 * NS_PER_S:
        client.run(step_s)
    return client.public.take() + client.market.take()


def test_frames_depend_on_the_seed_and_not_on_how_often_time_advances() -> None:
    assert frames_of(20.0) == frames_of(0.25)


def test_the_accounts_trade_here_as_behind_the_other_faces() -> None:
    """The same seed makes the same market, liquidations included."""
    market = Market(MarketOptions(seed=7, block_ns=70 * NS_PER_MS))
    venue = SyntheticBinanceUsdM(market, accounts=AccountsOptions())
    session = venue.open("x", "/market/stream", "streams=solusdt@forceOrder", market.options.genesis_ns)
    assert session is not None
    venue.advance(market.options.genesis_ns + 60 * NS_PER_S)
    assert any('"s":"SOLUSDT"' in text for text in session.take())
    assert venue.exchange.accounts
