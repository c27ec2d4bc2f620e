"""The venue's REST rules, as bodies in and bodies out."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from replay.serving.face import as_json as encode
from replay.serving.venues.hyperliquid.rest_rules import Reply
from replay.serving.venues.hyperliquid.synthetic.venue import SyntheticHyperliquid
from replay.synthetic.market import Market, MarketOptions
from tests.units import unit_digits

JSON = "application/json"


@pytest.fixture(scope="module")
def venue() -> SyntheticHyperliquid:
    """A venue with 600 blocks behind it; the tests only ask."""
    venue = SyntheticHyperliquid(Market(MarketOptions(seed=7)))
    venue.advance(venue.market.block_time_ns(600))
    return venue


def ask(venue: SyntheticHyperliquid, kind: str, **fields: Any) -> Any:
    reply = venue.info.handle(encode({"type": kind, **fields}), JSON)
    assert reply.status == 200
    return msgspec.json.decode(reply.body)


def test_listings_name_every_coin_of_their_dex(venue: SyntheticHyperliquid) -> None:
    meta = ask(venue, "meta")
    assert [each["name"] for each in meta["universe"]] == ["BTC", "ETH", "SOL", "kPEPE", "MATIC"]
    assert [each["name"] for each in meta["universe"] if "isDelisted" in each] == ["MATIC"]
    assert meta["collateralToken"] == 0
    xyz = ask(venue, "meta", dex="xyz")
    assert [each["name"] for each in xyz["universe"]] == ["xyz:SP500"]
    assert ask(venue, "allPerpMetas") == [meta, xyz]
    dexes = ask(venue, "perpDexs")
    assert dexes[0] is None
    assert [each["name"] for each in dexes[1:]] == ["xyz"]
    tokens = ask(venue, "spotMeta")["tokens"]
    assert tokens[xyz["collateralToken"]]["name"] == "USDH"


def test_spot_pairs_name_their_tokens(venue: SyntheticHyperliquid) -> None:
    meta = ask(venue, "spotMeta")
    names = {token["index"]: token["name"] for token in meta["tokens"]}
    pairs = {pair["name"]: tuple(names[index] for index in pair["tokens"]) for pair in meta["universe"]}
    assert pairs == {"PURR/USDC": ("PURR", "USDC"), "@107": ("HYPE", "USDC")}
    assert all(pair["name"] in ("PURR/USDC", f"@{pair['index']}") for pair in meta["universe"])


def test_outcomes_are_numbered_by_outcome_and_side(venue: SyntheticHyperliquid) -> None:
    (outcome,) = ask(venue, "outcomeMeta")["outcomes"]
    assert outcome["outcome"] == 751
    assert [f"#{10 * outcome['outcome'] + side}" for side in range(len(outcome["sideSpecs"]))] == ["#7510", "#7511"]


def test_contexts_stand_in_the_order_of_the_listing(venue: SyntheticHyperliquid) -> None:
    meta, ctxs = ask(venue, "metaAndAssetCtxs")
    assert len(meta["universe"]) == len(ctxs)
    assert ctxs[0] == venue.wire.perp_ctx("BTC")
    assert ctxs[4]["midPx"] is None
    meta, ctxs = ask(venue, "spotMetaAndAssetCtxs")
    assert [each["coin"] for each in ctxs] == [each["name"] for each in meta["universe"]]


def test_a_book_is_null_for_an_unknown_coin_and_empty_for_a_delisted_one(venue: SyntheticHyperliquid) -> None:
    assert ask(venue, "l2Book", coin="NOPE") is None
    assert ask(venue, "l2Book", coin="MATIC")["levels"] == [[], []]
    assert [len(side) for side in ask(venue, "l2Book", coin="BTC")["levels"]] == [20, 20]
    bucketed = ask(venue, "l2Book", coin="BTC", nSigFigs=5, mantissa=5)
    bid, best = (float(side[0]["px"]) for side in bucketed["levels"])
    assert bid % 5 == best % 5 == 0
    assert float(bucketed["spread"]) == best - bid


def test_recent_trades_come_newest_first(venue: SyntheticHyperliquid) -> None:
    trades = ask(venue, "recentTrades", coin="BTC")
    times = [trade["time"] for trade in trades]
    assert len(trades) == 10
    assert times == sorted(times, reverse=True)
    assert trades[0] == venue.wire.trade(venue.market.history["BTC"][-1])


def test_funding_history_is_paged_by_start_time(venue: SyntheticHyperliquid) -> None:
    rows: list[dict[str, Any]] = []
    start, pages = 0, 0
    while page := ask(venue, "fundingHistory", coin="BTC", startTime=start):
        assert len(page) <= 500
        rows += page
        pages += 1
        start = page[-1]["time"] + 1
    assert pages == 2
    assert [row["time"] for row in rows] == [row.time_ms for row in venue.market.perps["BTC"].fundings]
    assert list(rows[0]) == ["coin", "fundingRate", "premium", "time"]
    middle = rows[100]["time"]
    assert ask(venue, "fundingHistory", coin="BTC", startTime=middle, endTime=middle) == [rows[100]]


def test_candles_count_every_trade() -> None:
    venue = SyntheticHyperliquid(Market(MarketOptions(seed=2)))
    venue.advance(venue.market.block_time_ns(60))
    trades = venue.market.history["SOL"]  # not yet so many that old ones were forgotten
    whole = {"coin": "SOL", "interval": "1d", "startTime": 0, "endTime": 1 << 50}
    (day,) = ask(venue, "candleSnapshot", req=whole)
    assert day["n"] == len(trades) < 200
    assert unit_digits(day["v"], 2) == sum(trade.lots for trade in trades)
    assert unit_digits(day["c"], 4) == trades[-1].px


def test_candles_add_up(venue: SyntheticHyperliquid) -> None:
    whole = {"coin": "BTC", "startTime": 0, "endTime": 1 << 50}
    minutes = ask(venue, "candleSnapshot", req={**whole, "interval": "1m"})
    (day,) = ask(venue, "candleSnapshot", req={**whole, "interval": "1d"})
    assert sum(each["n"] for each in minutes) == day["n"]
    assert (minutes[0]["o"], minutes[-1]["c"]) == (day["o"], day["c"])
    assert max(float(each["h"]) for each in minutes) == float(day["h"])


def test_predicted_fundings_name_the_hour_already_settled(venue: SyntheticHyperliquid) -> None:
    rows = dict(ask(venue, "predictedFundings"))
    venues = dict(rows["BTC"])
    assert venues["HlPerp"]["nextFundingTime"] <= venue.market.time_ms
    assert venues["BybitPerp"] is None


def test_the_exchange_status_has_the_time(venue: SyntheticHyperliquid) -> None:
    assert ask(venue, "exchangeStatus") == {"specialStatuses": None, "time": venue.market.time_ms}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"type":"nope"}', JSON, 422),
        (b'{"type":"l2Book"}', JSON, 422),
        (b'{"type":"l2Book","coin":["BTC"]}', JSON, 422),
        (b'{"type":7}', JSON, 422),
        (b"[]", JSON, 422),
        (b'{"type":', JSON, 400),
        (b"", JSON, 400),
        (b'{"type":"meta"}', "text/plain", 415),
        (b'{"type":"meta"}', "", 415),
        (b'{"type":"meta"}', "application/json; charset=utf-8", 200),
    ],
)
def test_what_it_cannot_read_gets_the_venues_status(
    venue: SyntheticHyperliquid, body: bytes, content_type: str, status: int
) -> None:
    assert venue.info.handle(body, content_type).status == status


@pytest.mark.parametrize(
    "request_",
    [{"type": "meta", "dex": "nope"}, {"type": "fundingHistory", "coin": "NOPE", "startTime": 0}],
)
def test_unknown_dexes_and_coins_are_a_fault_of_the_venue(
    venue: SyntheticHyperliquid, request_: dict[str, object]
) -> None:
    assert venue.info.handle(encode(request_), JSON) == Reply(500, b"null")


def shape(value: Any) -> Any:
    """The keys and types of a JSON value."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return type(value).__name__


def test_frames_have_the_shape_of_captured_ones(venue: SyntheticHyperliquid, shared_data: Path) -> None:
    with gzip.open(shared_data / "hyperliquid" / "ws_btc_20250126.gz") as file:
        captured = [msgspec.json.decode(line.partition(b" ")[2]) for line in file]
    book = next(each["data"] for each in captured if each["channel"] == "l2Book")
    trades = next(each["data"] for each in captured if each["channel"] == "trades")
    ours = venue.wire.l2_book("BTC")
    assert shape(ours) == shape(book)
    assert shape(ours["levels"][0][0]) == shape(book["levels"][0][0])
    assert shape(venue.wire.trade(venue.market.history["BTC"][0])) == shape(trades[0])
    contexts = msgspec.json.decode((shared_data / "hyperliquid" / "ws_all_dexs_asset_ctxs.json").read_bytes())
    first_dex = contexts["data"]["ctxs"][0][1]
    assert shape(venue.wire.perp_ctx("BTC")) == shape(first_dex[0])
    delisted = next(each for each in first_dex if each["midPx"] is None)
    assert shape(venue.wire.perp_ctx("MATIC")) == shape(delisted)
