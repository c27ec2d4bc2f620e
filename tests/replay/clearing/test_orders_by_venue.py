"""What each venue makes of orders that only reduce, meet an own one, or are priced far away: by its preset, in its words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.strategy.context import Context
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, run
from tests.replay.strategy.sessions import Played
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import InstrumentKind

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
DYDX = PairKey("dydx_v4", "BTC-USD")
USDM = PairKey("binance-usdm", "BTC-USDT")
COINM = PairKey("binance-coinm", "BTC-USD_PERP")
SPOT = PairKey("binance-spot", "BTC-USDT")
ALL = (HYPERLIQUID, DYDX, USDM, COINM, SPOT)
by_venue = pytest.mark.parametrize("key", ALL, ids=lambda key: key.venue)


def market_of(key: PairKey) -> Market:
    fields: dict[str, Any] = {"tick": 0.01}
    if key is COINM:
        fields |= {"contract_value": 100.0, "settle": "BTC"}
    if key is SPOT:
        fields["kind"] = InstrumentKind.SPOT
    market = Market(key, **fields)
    if key is not SPOT:
        market.rate(START + 1, mark_price=100.0, index_price=100.0)
    return market


def played(key: PairKey, *deeds: Any, market: Market | None = None, **settings: Any) -> Played:
    timed = [(START + (number + 1) * 1000, deed) for number, deed in enumerate(deeds)]
    asset = "BTC" if key is COINM else "USD"
    made = market_of(key) if market is None else market
    return run(made.end(START + DAY), timed, keys=[key], asset=asset, **settings)


def told(done: Played) -> list[tuple[str, str, str, str]]:
    """`(number of the order, state, reason, words)`."""
    return [(row[0].rpartition("-")[2], *row[1:]) for kind, row in done.heard if kind == "order"]


# -- price bands ----------------------------------------------------------------------------------------------------------

BANDS: dict[PairKey, dict[str, Any]] = {
    # 80 % from the mark of 100 either way; on Binance the far side alone, 5 % from the mark, or five times the middle.
    HYPERLIQUID: {"buy": (20, 180), "sell": (20, 180), "words": "Order price cannot be more than 80% away"},
    USDM: {"buy": (None, 105), "sell": (95, None), "words": "PERCENT_PRICE"},
    COINM: {"buy": (None, 105), "sell": (95, None), "words": "PERCENT_PRICE"},
    SPOT: {"buy": (20, 500), "sell": (20, 500), "words": "PERCENT_PRICE_BY_SIDE"},
    DYDX: {"buy": (None, None), "sell": (None, None), "words": ""},
}


@by_venue
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_limit_outside_of_the_venues_band_is_refused_and_one_at_its_edge_is_taken(key: PairKey, side: str) -> None:
    low, high = BANDS[key][side]
    edges = [edge for edge in (low, high) if edge is not None]
    beyond = [edge + (-0.01 if edge == low else 0.01) for edge in edges]
    tried = [*edges, *beyond] or [1.0, 5000.0]

    def act(ctx: Context) -> None:
        for price in tried:
            # A maker and a taker alike: what would take is bounded too.
            getattr(ctx, side)(ctx.pairs[0], 1, float(price))

    found = {row[0]: row for row in told(played(key, act))}
    states = [found[str(number + 1)][2] == "price_band" for number in range(len(tried))]
    assert states == [number >= len(edges) and bool(edges) for number in range(len(tried))]
    words = {row[3] for row in found.values() if row[2] == "price_band"}
    assert all(BANDS[key]["words"] in each for each in words)
    assert bool(words) == bool(edges)


def test_a_band_is_around_the_mark_of_the_time_and_none_holds_before_there_is_one() -> None:
    market = Market(USDM, tick=0.01)
    market.rate(START + HOUR, mark_price=200.0)
    late = [
        (START + 60, lambda ctx: ctx.buy("BTC-USDT", 1, 150)),
        (START + 2 * HOUR, lambda ctx: ctx.buy("BTC-USDT", 1, 211)),
    ]
    done = run(market.end(START + DAY), late, keys=[USDM])
    assert [row[1:3] for row in told(done) if row[1] in ("open", "rejected")] == [
        ("open", ""),
        ("rejected", "price_band"),
    ]


def test_a_band_can_be_assumed_where_nothing_says_it() -> None:
    eth = PairKey("binance-usdm", "ETH-USDT")

    def act(ctx: Context) -> None:
        ctx.buy("ETH-USDT", 1, 110)
        ctx.buy("ETH-USDT", 1, 110.01)

    assert [row[2] for row in told(played(eth, act)) if row[1] == "rejected"] == []
    done = played(eth, act, assumed={"price_band": Decimal("0.1")})
    assert [row[:3] for row in told(done) if row[1] == "rejected"] == [("2", "rejected", "price_band")]
    with pytest.raises(ConfigError, match=r"^price_band is 1.5, expected a share below 1, for instance 0.05 for 5 %$"):
        played(eth, assumed={"price_band": Decimal("1.5")})
    with pytest.raises(ConfigError, match=r"^price_band is assumed, but nothing is known of price bands of dydx_v4$"):
        played(DYDX, assumed={"price_band": Decimal("0.1")})


# -- trades with oneself --------------------------------------------------------------------------------------------------


def cross(ctx: Context) -> None:
    """An offer within the spread, and a buy of half its size that would meet it."""
    ctx.sell(ctx.pairs[0], 2, 100)
    ctx.buy(ctx.pairs[0], 1, 100)


@by_venue
def test_by_default_the_resting_order_goes_at_every_venue_and_costs_nothing(key: PairKey) -> None:
    done = played(key, cross)
    rows = [row for row in told(done) if row[0] == "1"]
    assert rows[-1][1:3] == ("cancelled", "self_trade")
    assert rows[-1][3] == {"hyperliquid": "selfTradeCanceled", "binance-usdm": "EXPIRED_IN_MATCH"}.get(key.venue, "")
    assert not [row for kind, row in done.heard if kind == "fill"]
    # The other one goes on, and rests.
    assert next(row[1] for row in told(done) if row[0] == "2") == "open"


@pytest.mark.parametrize(
    ("mode", "gone"), [("expire_taker", ["2"]), ("expire_both", ["1", "2"]), ("expire_maker", ["1"])]
)
def test_binance_has_three_ways_to_prevent_a_trade_with_oneself(mode: str, gone: list[str]) -> None:
    for key in (USDM, COINM, SPOT):
        done = played(key, cross, rules={"self_trade": mode})
        assert sorted({row[0] for row in told(done) if row[2] == "self_trade"}) == gone


def test_a_way_that_a_venue_has_not_is_one_line_and_that_of_another_program_is_no_way() -> None:
    for key in (HYPERLIQUID, DYDX):
        with pytest.raises(
            ConfigError, match=rf"^rule self_trade=expire_taker, but {key.venue} has expire_maker alone$"
        ):
            played(key, rules={"self_trade": "expire_taker"})
        played(key, rules={"self_trade": "not_seen"})


# -- orders that only reduce ----------------------------------------------------------------------------------------------


@by_venue
def test_what_would_not_reduce_is_refused_in_the_venues_words(key: PairKey) -> None:
    """Without a position nothing reduces it, and with a long one a buy does not. dYdX takes them as IOC and FOK alone."""
    done = played(
        key,
        lambda ctx: ctx.sell(ctx.pairs[0], 1, tif="IOC", price=98.0, reduce_only=True),
        lambda ctx: ctx.buy(ctx.pairs[0], 2),
        lambda ctx: ctx.buy(ctx.pairs[0], 1, tif="IOC", price=102.0, reduce_only=True),
        lambda ctx: ctx.sell(ctx.pairs[0], 1, 103.0, reduce_only=True),
    )
    found = {row[0]: row for row in told(done)}
    words = {"hyperliquid": "reduceOnlyRejected", "binance-usdm": "-2022"}.get(key.venue, "")
    reason = "not_offered" if key is SPOT else "reduce_only"
    for number in ("1", "3"):
        assert found[number][1:3] == ("rejected", reason)
        assert key is SPOT or found[number][3] == words
    resting = "not_offered" if key in (DYDX, SPOT) else ""
    first = next(row for row in told(done) if row[0] == "4")
    assert first[2] == resting


@pytest.mark.parametrize("key", [HYPERLIQUID, USDM, COINM], ids=lambda key: key.venue)
def test_what_rests_to_reduce_goes_with_the_position_and_never_turns_it_round(key: PairKey) -> None:
    """
    Long 3. Of two orders that reduce 3 each at 103 and 104, trades fill 2 of the first; then the position of 1 is sold at market,
    and what rests is cancelled. A larger order than the position sells no more than there is.
    """
    market = market_of(key)
    market.messages.append(market.say.trade(START + HOUR, "buy", 103, 2))
    deeds = [
        (START + 10, lambda ctx: ctx.buy(ctx.pairs[0], 3)),
        (START + 20, lambda ctx: ctx.sell(ctx.pairs[0], 3, 103.0, reduce_only=True)),
        (START + 30, lambda ctx: ctx.sell(ctx.pairs[0], 3, 104.0, reduce_only=True)),
        (START + 2 * HOUR, lambda ctx: ctx.sell(ctx.pairs[0], 5, reduce_only=True)),
    ]
    done = run(market.end(START + DAY), deeds, keys=[key], asset="BTC" if key is COINM else "USD")
    assert done.record is not None
    assert done.record.ledger.positions[0].size == 0
    assert [row[2] for kind, row in done.heard if kind == "fill" and row[0] == "sell"] == [2.0, 1.0]
    last = {row[0]: row for row in told(done)}
    for number in ("2", "3"):
        assert last[number][1:3] == ("cancelled", "reduce_only")
        assert last[number][3] == ("reduceOnlyCanceled" if key is HYPERLIQUID else "-2022" if key is USDM else "")
