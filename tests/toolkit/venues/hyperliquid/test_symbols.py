"""Every spelling of a coin, both ways, and metadata that is odd."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.tapes import Feed, one
from tests.toolkit.venues.hyperliquid_session import META, OUTCOME_META, REPLIES, SPOT_META, XYZ_META, feed_of
from toolkit.errors import ConfigError, ParseError, SymbolError, VenueRefused
from toolkit.messages import EventKind, Instrument, InstrumentKind, Message
from toolkit.protocol import ProtocolOptions, RestCall
from toolkit.venue import find_venue
from toolkit.venues.hyperliquid.symbols import SymbolTable, pair_from_spelling


def table(*tags: str) -> SymbolTable:
    coins = SymbolTable()
    for tag in tags:
        coins.update(tag, REPLIES[tag])
    return coins


@pytest.mark.parametrize(
    ("coin", "with_metadata", "without"),
    [
        ("BTC", "BTC-USD", "BTC-USD"),
        ("kPEPE", "kPEPE-USD", "kPEPE-USD"),
        ("PURR/USDC", "PURR-USDC", "PURR-USDC"),
        ("@107", "HYPE-USDC", "@107"),
        ("@3", "@3", "@3"),
        ("@20", "@20", "@20"),
        ("@21", "@21", "@21"),
        ("@99", "@99", "@99"),
        ("xyz:SP500", "xyz:SP500-USDH", "xyz:SP500"),
        ("xyz:TSLA", "xyz:TSLA-USDH", "xyz:TSLA"),
        ("#7510", "#7510", "#7510"),
        ("NEW", "NEW-USD", "NEW-USD"),
    ],
)
def test_a_coin_is_one_pair_and_the_pair_that_coin(coin: str, with_metadata: str, without: str) -> None:
    """Where two would get one name, only a canonical one has it; what cannot be named keeps its coin."""
    known, unknown = table(*REPLIES), SymbolTable()
    for coins, pair in ((known, with_metadata), (unknown, without)):
        assert coins.pair(coin) == pair
        assert coins.coin(pair) == coins.coin(coin) == coin


def test_all_coins_of_the_real_metadata_have_a_pair_of_their_own(shared_data: Path) -> None:
    taped = yaml.safe_load((shared_data / "hyperliquid" / "rest" / "test_get_info.yaml").read_text())
    coins = SymbolTable()
    coins.update("meta", msgspec.json.decode(one(taped["interactions"])["response"]["body"]["string"]))
    assert len(coins.coins()) == 28
    for coin in coins.coins():
        assert coin.pair == f"{coin.coin}-USD" == coins.pair(coin.coin)
        assert coins.coin(coin.pair) == coin.coin
    assert coins.get("BTC") is not None


def test_a_pair_that_a_listed_coin_owns_is_not_given_to_another() -> None:
    coins = table("meta")
    assert coins.pair("BTC/USD") == "BTC/USD"
    assert coins.coin("BTC-USD") == "BTC"


NAMES = st.text(st.sampled_from("AB"), min_size=1, max_size=2)
SPELLINGS = st.one_of(NAMES, st.builds("{}/USD".format, NAMES), st.builds("x:{}".format, NAMES), st.just("@1"))


@given(st.lists(SPELLINGS, max_size=8), st.lists(SPELLINGS, max_size=8))
def test_pairs_without_metadata_are_told_apart_and_survive_a_checkpoint(first: list[str], then: list[str]) -> None:
    coins, restored = SymbolTable(), SymbolTable()
    for coin in first:
        coins.pair(coin)
    restored.restore(msgspec.json.decode(msgspec.json.encode(coins.export())))
    for coin in then:
        assert restored.pair(coin) == coins.pair(coin)
    pairs = {coin: coins.pair(coin) for coin in (*first, *then)}
    assert len(set(pairs.values())) == len(pairs)
    for coin, pair in pairs.items():
        assert coins.coin(pair) == coin
        assert pair in (coin, pair_from_spelling(coin))


@pytest.mark.parametrize(
    ("name", "hint"),
    [("BTC-USDC", "did you mean BTC-USD"), ("btc", "did you mean BTC"), ("Hype-USDC", "HYPE-USDC"), ("???", "a perp)")],
)
def test_an_unknown_name_is_said_with_the_closest_ones(name: str, hint: str) -> None:
    with pytest.raises(SymbolError, match=rf"^the venue lists no {re.escape(repr(name))} .*") as caught:
        table(*REPLIES).coin(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("tag", "reply"),
    [
        ("meta", []),
        ("meta", {}),
        ("meta", {"universe": [{"name": "A"}]}),
        ("meta", {"universe": [{"name": "A", "szDecimals": -1}]}),
        ("meta", {"universe": [{"name": "A", "szDecimals": 400}]}),
        ("meta", {"universe": [{"name": "", "szDecimals": 1}]}),
        ("meta", {"universe": [{"name": "A" * 5000, "szDecimals": 1}]}),
        ("meta:xyz", {"universe": 5}),
        ("spotMeta", {"tokens": []}),
        ("spotMeta", {"tokens": [{"name": "A", "szDecimals": 1, "index": 2**40}], "universe": []}),
        ("perpDexs", {}),
        ("perpDexs", [1]),
        ("perpDexs", [{"name": ["xyz"]}]),
        ("outcomeMeta", {"outcomes": [{"outcome": "x"}]}),
        ("nonsense", {}),
    ],
)
def test_metadata_of_another_shape_is_refused_and_changes_nothing(tag: str, reply: Any) -> None:
    coins = table(*REPLIES)
    before = coins.export()
    with pytest.raises(ParseError):
        coins.update(tag, reply)
    assert coins.export() == before
    feed = feed_of("BTC-USD", "xyz:SP500")
    checkpoint = feed.protocol.checkpoint()
    events = feed.rest(tag, reply)
    assert [event.kind for event in events] == ([EventKind.PARSE_ERROR] if tag != "nonsense" else [])
    assert feed.protocol.checkpoint() == checkpoint


# -- what the protocol makes of it ---------------------------------------------------------------------------------


def described(feed: Feed) -> dict[str, Instrument]:
    messages: list[Message] = [message for frame in feed.frames for message in replayed(feed, frame.capture_seq)]
    return {message.symbol: message for message in messages if isinstance(message, Instrument)}


def replayed(feed: Feed, seq: int) -> list[Message]:
    protocol = find_venue("hyperliquid").make_protocol(feed.protocol.options)
    found: list[Message] = []
    for frame in feed.frames[: seq + 1]:
        found = protocol.receive(frame)
    return found


def test_instruments_say_what_the_metadata_says() -> None:
    feed = feed_of("BTC-USD", "PURR-USDC", "HYPE-USDC", "xyz:SP500", "#7511", "kPEPE-USD")
    said = described(feed)
    assert {symbol: each.trading_pair for symbol, each in said.items()} == {
        "BTC": "BTC-USD",
        "PURR/USDC": "PURR-USDC",
        "@107": "HYPE-USDC",
        "xyz:SP500": "xyz:SP500-USDH",
        "#7511": "#7511",
        "kPEPE": "kPEPE-USD",
    }
    btc, hype, stock, outcome = said["BTC"], said["@107"], said["xyz:SP500"], said["#7511"]
    assert (btc.kind, btc.base, btc.quote, btc.settle, btc.max_leverage) == ("perpetual", "BTC", "USD", "USDC", 50.0)
    assert (btc.size_step, btc.price_decimals_max, btc.price_figures_max, btc.min_notional) == (1e-5, 1, 5, 10.0)
    assert (hype.kind, hype.base, hype.quote, hype.settle, hype.max_leverage) == ("spot", "HYPE", "USDC", "USDC", None)
    assert (hype.size_step, hype.price_decimals_max) == (0.01, 6)
    assert (stock.base, stock.quote, stock.settle) == ("SP500", "USDH", "USDH")
    assert (outcome.kind, outcome.base, outcome.size_step) == (InstrumentKind.OUTCOME, "No", None)
    assert (said["kPEPE"].multiplier, btc.multiplier) == (1000.0, 1.0)


@pytest.mark.parametrize(
    ("price", "tick"),
    [(84143.0, 1.0), (123456.0, 1.0), (9999.9, 0.1), (1.2345, 0.1), (10000.0, 1.0), (1000.0, 0.1)],
)
def test_the_price_step_follows_the_price(price: float, tick: float) -> None:
    """Five significant figures, at most six decimals less those of the size, whole numbers always."""
    assert described(feed_of("BTC-USD"))["BTC"].tick_at(price) == pytest.approx(tick)


def test_pairs_may_be_named_by_coin_and_are_asked_for_once() -> None:
    feed = feed_of("BTC", "BTC-USD", "@107", "HYPE-USDC")
    assert feed.protocol.is_ready
    assert list(described(feed)) == ["BTC", "@107"]


def test_only_what_the_names_need_is_asked_for() -> None:
    def tags(*pairs: str) -> list[str]:
        protocol = find_venue("hyperliquid").make_protocol(ProtocolOptions(pairs=pairs))
        return [call.tag for call in protocol.bootstrap() if isinstance(call, RestCall)]

    assert tags("BTC-USD", "PURR-USDC") == ["spotMeta", "meta"]
    assert tags("xyz:SP500") == ["spotMeta", "meta", "perpDexs"]
    assert tags("#7510") == ["spotMeta", "meta", "outcomeMeta"]


def test_a_dex_is_asked_for_its_coins_only_if_the_venue_lists_it() -> None:
    """An unknown one is an HTTP 500."""
    feed = feed_of("xyz:SP500", replies={"perpDexs": REPLIES["perpDexs"]})
    assert not feed.protocol.is_ready
    unknown = feed_of("nodex:A")
    assert str(unknown.protocol.failure) == "the venue lists no dex 'nodex', expected one of xyz, abc"


def test_a_coin_that_is_not_listed_is_a_failure_before_any_connection() -> None:
    feed = feed_of("BTC-USD", "NOPE-USD")
    assert isinstance(feed.protocol.failure, SymbolError)
    assert not feed.protocol.is_ready


def test_delisted_coins_are_left_out_and_said() -> None:
    feed = feed_of("BTC-USD", "OLD-USD")
    events = [message for frame in feed.frames for message in replayed(feed, frame.capture_seq)]
    refused = one(each for each in events if getattr(each, "kind", "") == EventKind.REFUSED)
    assert refused.detail == "OLD-USD is delisted: its book is empty for ever, so it is not subscribed"
    assert feed.protocol.is_ready
    alone = feed_of("OLD-USD")
    assert isinstance(alone.protocol.failure, VenueRefused)


def test_more_subscriptions_than_the_venue_allows_are_refused() -> None:
    meta = {"universe": [{"name": f"C{number}", "szDecimals": 1} for number in range(201)]}
    pairs = [f"C{number}-USD" for number in range(201)]
    replies = {"spotMeta": SPOT_META, "meta": meta}
    assert feed_of(*pairs[:200], replies=replies).protocol.is_ready
    failure = feed_of(*pairs, replies=replies).protocol.failure
    assert isinstance(failure, ConfigError)
    assert str(failure) == (
        "201 coins with 5 channels are 1005 subscriptions, the venue allows 1000: with so many coins these channels fit: "
        "--channel full --channel bbo --channel trades --channel funding; or name at most 200 pairs"
    )


@pytest.mark.parametrize(
    ("count", "channels", "expected"),
    [
        (300, ("full", "fast", "bbo", "trades", "funding"), "fit: --channel full --channel bbo --channel trades; or "),
        (600, ("agg:3", "bbo"), "fit: --channel bbo; or name at most 500 pairs"),
        (1001, ("trades",), "name at most 1000 pairs; not even one channel fits for as many"),
    ],
)
def test_what_would_fit_is_named(count: int, channels: tuple[str, ...], expected: str) -> None:
    """Of the channels asked for, those that are missed most."""
    meta = {"universe": [{"name": f"C{number}", "szDecimals": 1} for number in range(count)]}
    pairs = [f"C{number}-USD" for number in range(count)]
    feed = feed_of(*pairs, replies={"spotMeta": SPOT_META, "meta": meta}, channels=channels)
    assert expected in str(feed.protocol.failure)


def test_an_import_without_pairs_describes_all_there_are() -> None:
    protocol = find_venue("hyperliquid").make_protocol(ProtocolOptions())
    feed = Feed(protocol)
    said = [message.symbol for tag in ("spotMeta", "meta") for message in feed.rest(tag, REPLIES[tag])]
    assert said == ["PURR/USDC", "@107", "@3", "@20", "@21", "BTC", "ETH", "kPEPE", "OLD"]
    changed = {"universe": [*META["universe"], {"name": "NEW", "szDecimals": 1}]}
    assert [message.symbol for message in feed.rest("meta", changed)] == ["NEW"]
    assert [m.symbol for m in feed.rest("meta:xyz", XYZ_META)] == ["xyz:SP500", "xyz:TSLA"]
    assert [m.symbol for m in feed.rest("outcomeMeta", OUTCOME_META)] == ["#7510", "#7511"]
