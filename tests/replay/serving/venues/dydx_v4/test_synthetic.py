"""The synthetic dYdX v4: frames in, frames out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replay.serving.synthetic_venue import Ask
from replay.serving.venues.dydx_v4.synthetic.venue import DydxOptions, DydxSession, SyntheticDydx
from replay.synthetic.market import Market, MarketOptions
from toolkit.clock import NS_PER_MS, NS_PER_S

BOOK, TRADES, MARKETS, BLOCKS = "v4_orderbook", "v4_trades", "v4_markets", "v4_block_height"
DELAY_S = 0.06


class Client:
    """A venue and a connection to it."""

    def __init__(self, *, seed: int = 7, options: DydxOptions | None = None) -> None:
        self.venue = SyntheticDydx(Market(MarketOptions(seed=seed)), options)
        self.now_ns = self.venue.market.options.genesis_ns
        self.session = self.open()

    def open(self) -> DydxSession:
        session = self.venue.open("127.0.0.1", "/v4/ws", "", self.now_ns)
        assert session is not None
        return session

    def ask(self, kind: str, channel: str, id: str | None = None, **more: Any) -> None:
        request = {"type": kind, "channel": channel} | ({} if id is None else {"id": id}) | more
        self.session.receive(json.dumps(request), self.now_ns)

    def subscribe(self, channel: str, id: str | None = None, **more: Any) -> Any:
        """Subscribe and return the answer, dropping what came before it."""
        self.ask("subscribe", channel, id, **more)
        self.run(DELAY_S)
        return next(frame for frame in self.heard() if frame["type"] in ("subscribed", "error"))

    def run(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)
        self.venue.advance(self.now_ns)

    def heard(self) -> list[Any]:
        return [json.loads(text) for text in self.session.take()]

    def get(self, path: str, **query: str) -> tuple[int, Any]:
        reply = self.venue.answer(Ask("GET", f"/v4/{path}", query, b"", "", "127.0.0.1"), self.now_ns)
        return reply.status, json.loads(reply.body)


def levels(contents: Any) -> dict[str, dict[str, str]]:
    return {side: {each["price"]: each["size"] for each in contents[side]} for side in ("bids", "asks")}


def apply(book: dict[str, dict[str, str]], contents: Any) -> None:
    for side in contents:
        for px, sz in contents[side]:
            if sz == "0":
                book[side].pop(px, None)
            else:
                book[side][px] = sz


def is_crossed(book: dict[str, dict[str, str]]) -> bool:
    return max(map(float, book["bids"])) >= min(map(float, book["asks"]))


def test_a_connection_is_greeted_with_number_0() -> None:
    client = Client()
    (greeting,) = client.heard()
    assert greeting == {"type": "connected", "connection_id": client.session.connection_id, "message_id": 0}
    assert client.open().connection_id != client.session.connection_id


def test_a_late_answer_carries_the_number_of_its_request() -> None:
    """Data of other subscriptions with higher numbers come before it; in the end no number is missing."""
    client = Client(options=DydxOptions(snapshot_delay_ns=2 * NS_PER_S))
    client.ask("subscribe", BOOK, "BTC-USD")
    client.run(3)
    client.heard()
    client.ask("subscribe", TRADES, "BTC-USD")
    asked = client.session.message_id
    client.run(4)
    frames = client.heard()
    numbers = [frame["message_id"] for frame in frames]
    late = next(index for index, frame in enumerate(frames) if frame["type"] == "subscribed")
    assert frames[late]["message_id"] == asked
    assert max(numbers[:late]) > asked
    assert sorted(numbers) == list(range(min(numbers), max(numbers) + 1))


@pytest.mark.parametrize("batched", [False, True])
def test_updates_on_a_snapshot_make_the_next_snapshot(batched: bool) -> None:
    client = Client()
    book = levels(client.subscribe(BOOK, "ETH-USD", batched=batched)["contents"])
    assert 0 < len(book["bids"]) <= 100
    # Up to a flush of the batches, so that nothing waits.
    client.run(30 - (client.now_ns % NS_PER_S) / NS_PER_S)
    client.venue.advance(client.now_ns + NS_PER_S // 2)
    frames = client.heard()
    kind = "channel_batch_data" if batched else "channel_data"
    assert {frame["type"] for frame in frames} == {kind}
    for frame in frames:
        assert (frame["channel"], frame["id"], frame["version"]) == (BOOK, "ETH-USD", "1.0.0")
        for contents in frame["contents"] if batched else [frame["contents"]]:
            apply(book, contents)
            assert not is_crossed(book)
    waiting = client.session.subscriptions[BOOK, "ETH-USD"].waiting.get(None, [])
    for contents in waiting:
        apply(book, contents)
    assert book == levels(client.venue.book("ETH-USD"))


def test_a_plain_update_is_one_level() -> None:
    client = Client()
    client.subscribe(BOOK, "BTC-USD")
    client.run(5)
    for frame in client.heard():
        ((side, rows),) = frame["contents"].items()
        assert side in ("bids", "asks")
        assert len(rows) == 1
        assert len(rows[0]) == 2


def test_batches_come_four_times_a_second() -> None:
    client = Client()
    client.subscribe(BOOK, "BTC-USD", batched=True)
    client.run(10)
    frames = client.heard()
    assert 35 <= len(frames) <= 41
    assert max(len(frame["contents"]) for frame in frames) > 3


def test_the_hole_between_snapshot_and_subscription() -> None:
    """What changes in between is never told, so the book is wrong afterwards."""
    client = Client(options=DydxOptions(snapshot_delay_ns=3 * NS_PER_S, leaves_hole=True))
    client.ask("subscribe", BOOK, "BTC-USD")
    client.run(3)
    answer = next(frame for frame in client.heard() if frame["type"] == "subscribed")
    book = levels(answer["contents"])
    assert book != levels(client.venue.book("BTC-USD"))
    client.run(1)
    for frame in client.heard():
        apply(book, frame["contents"])
    assert book != levels(client.venue.book("BTC-USD"))


def test_late_removals_cross_the_book_and_are_told_in_the_end() -> None:
    client = Client()
    book = levels(client.subscribe(BOOK, "ETH-USD")["contents"])
    client.venue.hold_removals("ETH-USD", 8 * NS_PER_S)
    crossed = 0
    client.run(60)
    for frame in client.heard():
        apply(book, frame["contents"])
        crossed += is_crossed(book)
    assert crossed > 10
    client.venue.hold_removals("ETH-USD", 0)
    client.run(10)
    for frame in client.heard():
        apply(book, frame["contents"])
    assert book == levels(client.venue.book("ETH-USD"))


def test_trades_begin_with_history_newest_first_and_go_on_without_a_hole() -> None:
    client = Client()
    client.run(30)
    answer = client.subscribe(TRADES, "BTC-USD")
    history = answer["contents"]["trades"]
    ids = [trade["id"] for trade in history]
    assert ids == sorted(ids, reverse=True)
    assert all("createdAtHeight" in trade for trade in history)
    client.run(20)
    updates = [trade for frame in client.heard() for trade in frame["contents"]["trades"]]
    assert updates
    assert "createdAtHeight" not in updates[0]
    told = [*reversed(ids), *(trade["id"] for trade in updates)]
    _, rest = client.get("trades/perpetualMarket/BTC-USD")
    assert len(ids) == 100
    assert told == [trade["id"] for trade in reversed(rest["trades"])][-len(told) :]


def test_trades_of_a_block_share_its_time_and_their_ids_its_height() -> None:
    client = Client()
    client.subscribe(BLOCKS)
    client.subscribe(TRADES, "ETH-USD")
    client.run(30)
    frames = client.heard()
    times = {
        int(frame["contents"]["blockHeight"]): frame["contents"]["time"]
        for frame in frames
        if frame["channel"] == BLOCKS
    }
    heights = sorted(times)
    assert heights == list(range(heights[0], heights[0] + len(heights)))
    assert 28 <= len(heights) <= 31
    trades = [frame["contents"]["trades"] for frame in frames if frame["channel"] == TRADES]
    assert any(len(block) > 1 for block in trades)
    for block in trades:
        assert {trade["createdAt"] for trade in block} == {times[int(block[0]["id"][:8], 16)]}


def test_markets_speak_of_oracle_prices_and_figures() -> None:
    client = Client()
    answer = client.subscribe(MARKETS)
    assert "id" not in answer
    assert answer["contents"]["markets"]["BTC-USD"]["tickSize"] == "1"
    client.run(70)
    contents = [frame["contents"] for frame in client.heard()]
    prices = [each["oraclePrices"]["BTC-USD"] for each in contents if "BTC-USD" in each.get("oraclePrices", {})]
    assert len(prices) > 10
    assert prices[0].keys() == {"oraclePrice", "effectiveAt", "effectiveAtHeight", "marketId"}
    figures = [each["trading"]["BTC-USD"] for each in contents if "BTC-USD" in each.get("trading", {})]
    assert len(figures) in (2, 3)  # every half minute
    assert figures[-1]["id"] == "0"
    # Only what changed is said: nothing of a market without a trade but its number, and not even that.
    assert "MATIC-USD" not in [each for each in contents if "trading" in each][-1]["trading"]


def test_markets_with_an_id_get_the_snapshot_and_nothing_more() -> None:
    client = Client()
    answer = client.subscribe(MARKETS, "BTC-USD")
    assert "markets" in answer["contents"]
    client.run(40)
    assert client.heard() == []


def test_integers_of_the_protocol_give_the_decimals() -> None:
    for market in Client().venue.markets().values():
        step = market["stepBaseQuantums"] * 10.0 ** market["atomicResolution"]
        exponent = market["quantumConversionExponent"] - 6 - market["atomicResolution"]
        assert step == pytest.approx(float(market["stepSize"]))
        assert market["subticksPerTick"] * 10.0**exponent == pytest.approx(float(market["tickSize"]))


def test_coins_are_not_counted_in_thousands() -> None:
    client = Client()
    px = float(client.venue.book("PEPE-USD")["bids"][0]["price"])
    assert 1e-5 < px < 2e-5
    assert client.venue.markets()["PEPE-USD"]["stepSize"] == "1000"
    assert any("," in ticker for ticker in client.venue.listed)


def test_unsubscribing_is_always_acknowledged_and_ends_the_data() -> None:
    client = Client()
    client.subscribe(BOOK, "BTC-USD")
    client.ask("unsubscribe", BOOK, "BTC-USD")
    client.ask("unsubscribe", BOOK, "ETH-USD")
    first, second = client.heard()
    assert (first["type"], first["id"]) == ("unsubscribed", "BTC-USD")
    assert (second["type"], second["message_id"]) == ("unsubscribed", first["message_id"] + 1)
    client.run(5)
    assert client.heard() == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid message: could not parse"),
        ("{}", "Invalid message: type is required"),
        ('{"type":"subscribe","channel":"v5_x"}', "Invalid channel: v5_x"),
        (
            '{"type":"subscribe","channel":"v4_orderbook","id":"NOPE-USD"}',
            "Invalid subscription id for channel: (v4_orderbook-NOPE-USD)",
        ),
    ],
)
def test_errors_are_the_venues_words_and_do_not_count(text: str, message: str) -> None:
    client = Client()
    client.heard()
    client.session.receive(text, client.now_ns)
    (error,) = client.heard()
    assert (error["type"], error["message"]) == ("error", message)
    assert error["message_id"] == client.session.message_id


def test_a_second_subscribe_is_refused_after_its_fetch() -> None:
    client = Client()
    client.subscribe(BOOK, "BTC-USD")
    answer = client.subscribe(BOOK, "BTC-USD")
    assert answer["message"] == "Invalid subscribe message: already subscribed (v4_orderbook-BTC-USD)"


def test_a_snapshot_that_cannot_be_fetched_leaves_nobody_subscribed() -> None:
    client = Client()
    client.venue.failing[BOOK] = 1
    answer = client.subscribe(BOOK, "BTC-USD")
    assert answer["message"] == "Internal error, could not fetch data for subscription: v4_orderbook."
    client.run(5)
    assert client.heard() == []
    assert client.subscribe(BOOK, "BTC-USD")["type"] == "subscribed"


def test_json_pings_are_ignored() -> None:
    client = Client()
    client.heard()
    client.session.receive('{"type":"ping"}', client.now_ns)
    assert client.heard() == []


def test_three_subscribes_of_one_kind_in_a_second_end_the_connection() -> None:
    client = Client()
    for _ in range(3):
        client.ask("subscribe", BOOK, "BTC-USD")
    text = "Too many subscribe attempts for channel v4_orderbook-BTC-USD. Please reconnect and try again."
    assert client.heard()[-1]["message"] == text
    ((session, drop),) = client.venue.drops(client.now_ns)
    assert session is client.session
    assert (drop.code, json.loads(drop.reason)) == (1008, {"message": "Rate limited"})


def test_three_invalid_frames_in_a_second_end_the_connection() -> None:
    client = Client()
    for _ in range(3):
        client.session.receive("{", client.now_ns)
    assert client.venue.drops(client.now_ns)[0][1].code == 1008


def test_channels_have_limits_per_connection() -> None:
    client = Client()
    client.subscribe(BLOCKS)
    answer = client.subscribe(BLOCKS, "again")
    assert answer["message"] == "Per-connection subscription limit reached for v4_block_height (limit=1)."


def test_a_lost_frame_leaves_a_hole_in_the_numbers() -> None:
    client = Client()
    client.subscribe(BOOK, "BTC-USD")
    client.run(2)
    client.heard()
    client.venue.lose("v4_orderbook/BTC-USD")
    client.run(2)
    numbers = [frame["message_id"] for frame in client.heard()]
    assert set(range(numbers[0] - 1, numbers[-1])) - set(numbers) == {numbers[0] - 1}


def test_rest_tells_what_the_stream_tells() -> None:
    client = Client()
    client.run(20)
    assert client.get("orderbooks/perpetualMarket/BTC-USD")[1] == client.venue.book("BTC-USD")
    assert client.get("perpetualMarkets", ticker="ETH-USD")[1]["markets"].keys() == {"ETH-USD"}
    assert client.get("perpetualMarkets")[1]["markets"]["MATIC-USD"]["status"] == "FINAL_SETTLEMENT"
    _, height = client.get("height")
    assert int(height["height"]) == client.venue.chain.height
    _, time = client.get("time")
    assert time["epoch"] == client.now_ns // NS_PER_MS / 1000


def test_rest_pages() -> None:
    client = Client()
    client.run(60)
    path = "trades/perpetualMarket/BTC-USD"
    _, whole = client.get(path)
    _, first = client.get(path, limit="5")
    _, second = client.get(path, limit="5", page="2")
    assert first["trades"] + second["trades"] == whole["trades"][:10]
    height = whole["trades"][7]["createdAtHeight"]
    _, older = client.get(path, createdBeforeOrAtHeight=height)
    assert older["trades"][0]["createdAtHeight"] == height


def test_settled_rates_come_newest_first_with_falling_heights() -> None:
    _, answer = Client().get("historicalFunding/BTC-USD", limit="5")
    rows = answer["historicalFunding"]
    assert len(rows) == 5
    heights = [int(row["effectiveAtHeight"]) for row in rows]
    assert heights == sorted(heights, reverse=True)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("orderbooks/perpetualMarket/NOPE-USD", {}, 400),
        ("trades/perpetualMarket/BTC-USD", {"limit": "0"}, 400),
        ("trades/perpetualMarket/BTC-USD", {"limit": "x"}, 400),
        ("nonsense", {}, 404),
    ],
)
def test_rest_says_what_is_wrong(path: str, query: dict[str, str], status: int) -> None:
    found, answer = Client().get(path, **query)
    assert found == status
    assert answer["errors"][0]["msg"]


def test_rest_is_limited_per_address() -> None:
    client = Client(options=DydxOptions(requests_max=3))
    assert [client.get("height")[0] for _ in range(4)] == [200, 200, 200, 429]
    client.now_ns += 10 * NS_PER_S
    assert client.get("height")[0] == 200


def frames_of(step_s: float) -> list[str]:
    client = Client(seed=3)
    for channel, name in ((BLOCKS, None), (MARKETS, None), (BOOK, "BTC-USD"), (TRADES, "BTC-USD")):
        client.ask("subscribe", channel, name)
    client.ask("subscribe", BOOK, "ETH-USD", batched=True)
    while client.now_ns < client.venue.market.options.genesis_ns + 40 * NS_PER_S:
        client.run(step_s)
    return client.session.take()


def test_frames_depend_on_the_seed_and_not_on_how_often_time_advances() -> None:
    assert frames_of(40.0) == frames_of(0.5)
