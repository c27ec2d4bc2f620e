"""The venue's WebSocket rules, as frames in and frames out."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from replay.serving.venues.hyperliquid.synthetic.venue import GREETING, Session, SyntheticHyperliquid, VenueOptions
from replay.synthetic.market import Market, MarketOptions
from toolkit.clock import NS_PER_MS, NS_PER_S

BLOCK_NS = 70 * NS_PER_MS


class Client:
    """A venue with its time and one client."""

    def __init__(self, options: VenueOptions | None = None, seed: int = 7, remote: str = "127.0.0.1") -> None:
        self.venue = SyntheticHyperliquid(Market(MarketOptions(seed=seed)), options)
        self.now_ns = self.venue.market.options.genesis_ns
        self.wait(300 * BLOCK_NS)
        session = self.venue.connect(remote, self.now_ns)
        assert session is not None
        self.session: Session = session

    def wait(self, ns: int) -> None:
        self.now_ns += ns
        self.venue.advance(self.now_ns)

    def take(self, channel: str | None = None) -> list[Any]:
        """Messages since the last call; with a channel, the `data` of those alone."""
        messages = [msgspec.json.decode(text) for text in self.session.take()]
        return messages if channel is None else [each["data"] for each in messages if each["channel"] == channel]

    def say(self, text: str) -> list[Any]:
        self.session.receive(text, self.now_ns)
        return self.take()

    def subscribe(self, kind: str, **fields: Any) -> list[Any]:
        return self.request("subscribe", kind, **fields)

    def request(self, method: str, kind: str, **fields: Any) -> list[Any]:
        message = {"method": method, "subscription": {"type": kind, **fields}}
        return self.say(msgspec.json.encode(message).decode())


# Requests --------------------------------------------------------------------------------------------------------------


def test_a_ping_is_answered_by_a_pong_without_data() -> None:
    client = Client()
    client.session.receive('{"method":"ping"}', client.now_ns)
    assert client.session.take() == ['{"channel":"pong"}']


def test_an_ack_precedes_the_first_snapshot_and_has_the_normal_form() -> None:
    ack, first = Client().subscribe("l2Book", coin="BTC", fast=True, nLevels=3)
    assert ack == {
        "channel": "subscriptionResponse",
        "data": {
            "method": "subscribe",
            "subscription": {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": True},
        },
    }
    assert first["channel"] == "l2Book"


def test_subscribing_twice_is_an_error_that_quotes_the_normal_form() -> None:
    client = Client()
    client.subscribe("l2Book", coin="SOL")
    assert client.subscribe("l2Book", coin="SOL", fast=False) == [
        {
            "channel": "error",
            "data": 'Already subscribed: {"type":"l2Book","coin":"SOL","nSigFigs":null,"mantissa":null,"fast":false}',
        }
    ]


def test_unsubscribing_ends_the_stream_and_twice_is_an_error() -> None:
    client = Client()
    client.subscribe("trades", coin="BTC")
    (ack,) = client.request("unsubscribe", "trades", coin="BTC")
    assert ack["data"] == {"method": "unsubscribe", "subscription": {"type": "trades", "coin": "BTC"}}
    client.wait(2 * NS_PER_S)
    assert client.take() == []
    assert client.request("unsubscribe", "trades", coin="BTC") == [
        {"channel": "error", "data": 'Already unsubscribed: {"type":"trades","coin":"BTC"}'}
    ]


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"method":"dance"}',
        '{"method":"subscribe"}',
        '{"method":"subscribe","subscription":{"type":"bbo","coin":["BTC","ETH"]}}',
        '{"method":"subscribe","subscription":{"type":"bbo"}}',
        '{"method":"subscribe","subscription":{"type":"nope","coin":"BTC"}}',
        '{"method":"subscribe","subscription":{"type":"userFills","user":"0x12"}}',
        '{"method":"post","request":{"type":"info","payload":{"type":"meta"}}}',
    ],
)
def test_what_is_no_request_is_quoted_back_and_the_connection_stays(text: str) -> None:
    client = Client()
    assert client.say(text) == [
        {"channel": "error", "data": f"Error parsing JSON into valid websocket request: {text}"}
    ]
    assert client.session.abort_at_ns is None


def test_an_unknown_candle_interval_is_refused() -> None:
    (answer,) = Client().subscribe("candle", coin="BTC", interval="7m")
    assert answer["data"] == 'Invalid subscription {"type":"candle","coin":"BTC","interval":"7m"}'


@pytest.mark.parametrize(
    "fields",
    [
        {"coin": "NOPE"},
        {"coin": "btc"},
        {"coin": "XYZ:SP500"},
        {"coin": "SP500"},
        {"coin": "BTC", "nSigFigs": 6},
        {"coin": "BTC", "mantissa": 2},
        {"coin": "BTC", "nSigFigs": 4, "mantissa": 2},
    ],
)
def test_a_subscription_it_cannot_bear_drops_the_connection_without_a_word(fields: dict[str, Any]) -> None:
    client = Client()
    assert client.subscribe("l2Book", **fields) == []
    assert client.venue.due_aborts(client.now_ns + 89 * NS_PER_MS) == []
    assert client.venue.due_aborts(client.now_ns + 155 * NS_PER_MS) == [client.session]


def test_a_connection_that_is_sent_nothing_for_a_minute_is_dropped() -> None:
    client = Client()
    client.wait(30 * NS_PER_S)
    client.say('{"method":"ping"}')
    client.wait(59 * NS_PER_S)
    assert client.venue.due_aborts(client.now_ns) == []
    client.wait(NS_PER_S)
    assert client.venue.due_aborts(client.now_ns) == [client.session]


def test_a_post_carries_an_info_request() -> None:
    client = Client()
    (answer,) = client.say(
        '{"method":"post","id":7,"request":{"type":"info","payload":{"type":"l2Book","coin":"BTC"}}}'
    )
    assert answer["channel"] == "post"
    assert answer["data"]["id"] == 7
    assert answer["data"]["response"]["type"] == "info"
    assert answer["data"]["response"]["payload"]["data"]["coin"] == "BTC"
    (answer,) = client.say('{"method":"post","id":8,"request":{"type":"info","payload":{"type":"l2Book","coin":"X"}}}')
    assert answer["data"]["response"]["payload"] == {"type": "l2Book", "data": None}


def test_historic_servers_greeted() -> None:
    assert Client(VenueOptions(greeting=True)).session.take() == [GREETING]


# Limits ----------------------------------------------------------------------------------------------------------------


def test_connections_of_one_address_are_limited() -> None:
    client = Client(VenueOptions(connections_max=2))
    venue, now_ns = client.venue, client.now_ns
    second = venue.connect("127.0.0.1", now_ns)
    assert second is not None
    assert venue.connect("127.0.0.1", now_ns) is None
    assert venue.connect("10.0.0.1", now_ns) is not None
    venue.disconnect(second)
    assert venue.connect("127.0.0.1", now_ns) is not None


def test_new_connections_are_limited_per_minute() -> None:
    client = Client(VenueOptions(connections_per_minute=2))
    second = client.venue.connect("127.0.0.1", client.now_ns)
    assert second is not None
    client.venue.disconnect(second)
    assert client.venue.connect("127.0.0.1", client.now_ns + 59 * NS_PER_S) is None
    assert client.venue.connect("127.0.0.1", client.now_ns + 61 * NS_PER_S) is not None


def test_users_are_limited_over_all_connections() -> None:
    client = Client(VenueOptions(users_max=2))
    for digit in "ab":
        client.subscribe("userFills", user="0x" + digit * 40)
    client.subscribe("openOrders", user="0x" + "A" * 40)
    assert client.subscribe("userFills", user="0x" + "c" * 40) == [
        {"channel": "error", "data": "Cannot track more than 2 total users."}
    ]


def test_subscriptions_are_limited_over_all_connections() -> None:
    client = Client(VenueOptions(subscriptions_max=1))
    client.subscribe("bbo", coin="BTC")
    (answer,) = client.subscribe("bbo", coin="ETH")
    assert answer["channel"] == "error"


# Books -----------------------------------------------------------------------------------------------------------------


def test_a_book_has_twenty_levels_and_a_fast_one_five() -> None:
    client = Client()
    full = client.subscribe("l2Book", coin="BTC")[1]["data"]
    fast = client.subscribe("l2Book", coin="BTC", fast=True)[1]["data"]
    assert list(full) == ["coin", "time", "levels"]
    assert list(fast) == ["coin", "time", "levels", "fast"]
    assert [len(side) for side in full["levels"]] == [20, 20]
    assert fast["levels"] == [side[:5] for side in full["levels"]]
    assert list(full["levels"][0][0]) == ["px", "sz", "n"]
    bids, asks = ([float(level["px"]) for level in side] for side in full["levels"])
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]


def test_an_aggregated_book_sums_the_plain_one_into_buckets() -> None:
    client = Client()
    plain = client.venue.wire.l2_book("BTC", depth=1000)
    bucketed = client.subscribe("l2Book", coin="BTC", nSigFigs=4)[1]["data"]
    assert bucketed["spread"] == "10.0"
    for side, up in ((0, 0), (1, 9)):
        sums: dict[float, list[float]] = {}
        for level in plain["levels"][side]:
            # Bids are rounded down to the bucket, asks up.
            size = sums.setdefault((float(level["px"]) + up) // 10 * 10, [0.0, 0])
            size[0] += float(level["sz"])
            size[1] += level["n"]
        for level in bucketed["levels"][side]:
            assert [float(level["sz"]), level["n"]] == pytest.approx(sums[float(level["px"])])


def test_all_books_share_one_clock_and_are_sent_unchanged_too() -> None:
    client = Client()
    for coin in ("BTC", "MATIC", "#7510"):
        client.subscribe("l2Book", coin=coin)
        client.subscribe("l2Book", coin=coin, fast=True)
    client.wait(21 * NS_PER_S)
    frames = client.take("l2Book")
    for fast, least_ms in ((True, 500), (False, 5000)):
        times = {
            coin: [each["time"] for each in frames if each["coin"] == coin and ("fast" in each) is fast]
            for coin in ("BTC", "MATIC", "#7510")
        }
        # The first strike of a clock comes with the block after the subscription.
        assert times["BTC"] == times["MATIC"] == times["#7510"]
        assert len(times["BTC"]) == len(set(times["BTC"])) >= 20 * 1000 // (least_ms + 120)
        gaps = [after - before for before, after in zip(times["BTC"], times["BTC"][1:], strict=False)]
        assert least_ms <= min(gaps)
        assert max(gaps) <= least_ms + 120
    assert {str(each["levels"]) for each in frames if each["coin"] == "MATIC"} == {"[[], []]"}


def test_mirrored_books_arrive_at_the_same_time() -> None:
    client = Client()
    client.subscribe("l2Book", coin="#7510", fast=True)
    client.subscribe("l2Book", coin="#7511", fast=True)
    client.wait(3 * NS_PER_S)
    frames = client.take("l2Book")
    yes = [each for each in frames if each["coin"] == "#7510"]
    no = [each for each in frames if each["coin"] == "#7511"]
    assert len(yes) == len(no) >= 5
    for one, other in zip(yes, no, strict=True):
        assert one["time"] == other["time"]
        for side, mirror in zip(one["levels"], reversed(other["levels"]), strict=True):
            for level, mirrored in zip(side, mirror, strict=True):
                assert round(float(level["px"]) + float(mirrored["px"]), 9) == 1
                assert (level["sz"], level["n"]) == (mirrored["sz"], mirrored["n"])


def test_a_best_quote_is_sent_only_when_it_changed() -> None:
    client = Client()
    client.subscribe("l2Book", coin="xyz:SP500", fast=True)
    first = client.subscribe("bbo", coin="xyz:SP500")[1]["data"]
    client.wait(20 * NS_PER_S)
    quotes = [first, *client.take("bbo")]
    assert 10 < len(quotes) < 280
    bests = [each["bbo"] for each in quotes]
    assert all(before != after for before, after in itertools.pairwise(bests))
    times = [each["time"] for each in quotes]
    assert times == sorted(set(times))


def test_a_best_quote_is_the_top_of_the_book_of_a_perpetual() -> None:
    client = Client()
    client.subscribe("bbo", coin="BTC")
    client.subscribe("l2Book", coin="BTC", fast=True)
    client.wait(5 * NS_PER_S)
    best: list[Any] = []
    compared = 0
    for message in client.take():
        if message["channel"] == "bbo":
            best = message["data"]["bbo"]
        elif message["channel"] == "l2Book" and best:
            # Quotes precede books within a block.
            assert [side[0] for side in message["data"]["levels"]] == best
            compared += 1
    assert compared > 5


def test_a_delisted_coin_never_has_a_best_quote() -> None:
    client = Client()
    assert len(client.subscribe("bbo", coin="MATIC")) == 1
    client.wait(3 * NS_PER_S)
    assert client.take() == []


# Trades ----------------------------------------------------------------------------------------------------------------


def test_the_first_trades_are_history_after_every_subscribe() -> None:
    client = Client()
    before_ms = client.venue.market.time_ms
    _, first = client.subscribe("trades", coin="ETH")
    assert 1 < len(first["data"]) <= 30
    assert all(trade["time"] <= before_ms for trade in first["data"])
    client.wait(5 * NS_PER_S)
    live = client.take("trades")
    assert live
    assert all(trade["time"] > before_ms for trades in live for trade in trades)
    # Again, with the same trades in it.
    client.request("unsubscribe", "trades", coin="ETH")
    _, again = client.subscribe("trades", coin="ETH")
    assert live[-1][-1] == again["data"][-1]


def test_a_trades_frame_holds_the_trades_of_one_block() -> None:
    client = Client()
    client.subscribe("trades", coin="BTC")
    client.wait(30 * NS_PER_S)
    frames = client.take("trades")
    times = [{trade["time"] for trade in trades} for trades in frames]
    assert all(len(each) == 1 for each in times)
    assert len({time for each in times for time in each}) == len(frames)
    assert max(len(trades) for trades in frames) > 1
    trade = frames[0][0]
    assert list(trade) == ["coin", "side", "px", "sz", "time", "hash", "tid", "users"]
    assert len(trade["hash"]) == 66
    assert [len(user) for user in trade["users"]] == [42, 42]


# Contexts --------------------------------------------------------------------------------------------------------------


def test_contexts_come_every_second_and_spot_coins_answer_on_another_channel() -> None:
    client = Client()
    client.subscribe("activeAssetCtx", coin="BTC")
    client.subscribe("activeAssetCtx", coin="@107")
    client.wait(10 * NS_PER_S)
    messages = client.take()
    assert 8 <= sum(each["channel"] == "activeAssetCtx" for each in messages) <= 11
    assert 8 <= sum(each["channel"] == "activeSpotAssetCtx" for each in messages) <= 11
    assert {each["data"]["coin"] for each in messages} == {"BTC", "@107"}


def test_the_context_of_a_delisted_perpetual_is_frozen() -> None:
    _, first = Client().subscribe("activeAssetCtx", coin="MATIC")
    ctx = first["data"]["ctx"]
    assert (ctx["funding"], ctx["openInterest"]) == ("0.0", "0.0")
    assert (ctx["premium"], ctx["midPx"], ctx["impactPxs"]) == (None, None, None)


def test_mids_name_every_coin_with_a_book_by_dex() -> None:
    client = Client()
    _, first = client.subscribe("allMids")
    assert set(first["data"]) == {"mids"}
    assert {"BTC", "PURR/USDC", "@107", "#7511"} <= set(first["data"]["mids"])
    assert "xyz:SP500" not in first["data"]["mids"]
    _, first = client.subscribe("allMids", dex="xyz")
    assert set(first["data"]["mids"]) == {"xyz:SP500"}
    assert first["data"]["dex"] == "xyz"


def test_the_open_candle_is_pushed() -> None:
    client = Client()
    assert len(client.subscribe("candle", coin="BTC", interval="1m")) == 1
    client.wait(5 * NS_PER_S)
    candle = client.take("candle")[-1]
    assert list(candle) == ["t", "T", "s", "i", "o", "c", "h", "l", "v", "n"]
    assert candle["T"] - candle["t"] == 59_999
    assert candle["t"] <= client.venue.market.time_ms <= candle["T"]
    assert float(candle["l"]) <= float(candle["o"]) <= float(candle["h"])


# Together --------------------------------------------------------------------------------------------------------------


def test_frames_do_not_depend_on_how_often_time_is_looked_at() -> None:
    def frames(step_ns: int) -> list[str]:
        client = Client(seed=3)
        for coin in ("BTC", "#7511"):
            for kind in ("l2Book", "bbo", "trades", "activeAssetCtx"):
                client.subscribe(kind, coin=coin)
        for _ in range(6 * NS_PER_S // step_ns):
            client.wait(step_ns)
        return client.session.take()

    assert frames(10 * NS_PER_MS) == frames(3 * NS_PER_S)


def test_a_muted_subscription_is_silent_while_others_go_on() -> None:
    client = Client()
    client.subscribe("bbo", coin="BTC")
    client.subscribe("bbo", coin="ETH")
    client.venue.muted.add(("bbo", "BTC"))
    client.wait(3 * NS_PER_S)
    assert {each["coin"] for each in client.take("bbo")} == {"ETH"}
    assert client.say('{"method":"ping"}') == [{"channel": "pong"}]
