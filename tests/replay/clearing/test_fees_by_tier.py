"""Fees by tier: volume of the days before and of the run, and the tier with the time from which on it is in force."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.backtest.venue_facts import facts_of, parse_facts
from replay.ledger.fee_tiers import Assessed, FeeMeter, FeeSchedule, FeeTier
from replay.ledger.money import CASH_DECIMALS, units_of
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, run
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import InstrumentKind

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
DYDX = PairKey("dydx_v4", "BTC-USD")
USDM = PairKey("binance-usdm", "BTC-USDT")
MONTH = 30
TABLE = FeeSchedule(
    tiers=(
        FeeTier(name="low", volume=Decimal(0), maker=Decimal("0.001"), taker=Decimal("0.002")),
        FeeTier(name="high", volume=Decimal(100), maker=Decimal(0), taker=Decimal("0.001")),
        FeeTier(name="asked", maker=Decimal("-0.001"), taker=Decimal("0.0005")),
    ),
    window_days=2,
)


def units(value: int) -> int:
    return units_of(Decimal(value), CASH_DECIMALS)


def test_volume_of_a_day_counts_from_the_next_day_on_and_leaves_the_window() -> None:
    """
    Hyperliquid: 14 days, looked at when a UTC day begins; above 5 M a taker pays 0.040 %, else 0.045 %.

    Day 0: 60,000 bought at 101 are 6,060,000, of which 0.045 % is 2727. Day 1: 10 at 101 are 1010, now at 0.040 %: 0.404.
    Day 15: the first day has left the window (days 1 to 14 have 1010): 0.045 % of 990 (sold at 99) is 0.4455.
    """
    market = Market(HYPERLIQUID)
    for day in range(1, 16):
        market.quote(START + day * DAY, 99, 101)
    played = run(
        market.end(START + 16 * DAY),
        [
            (START + HOUR, lambda ctx: ctx.buy("BTC-USD", 60_000)),
            (START + DAY + HOUR, lambda ctx: ctx.buy("BTC-USD", 10)),
            (START + 15 * DAY + HOUR, lambda ctx: ctx.sell("BTC-USD", 10)),
        ],
        keys=[HYPERLIQUID],
    )
    fees = [fill[3] for kind, fill in played.heard if kind == "fill"]
    assert fees == [Decimal(2727), Decimal("0.404"), Decimal("0.4455")]
    assert played.record is not None
    assert [(each.time_ns - START, each.name, each.volume) for each in played.record.tiers] == [
        (0, "0", Decimal(0)),
        (DAY, "1", Decimal(6_060_000)),
        (15 * DAY, "0", Decimal(1_010)),
    ]


def test_volume_before_the_run_leaves_the_window_day_by_day() -> None:
    """
    5.6 M in 14 days are 0.4 M a day: tier 1 on day 0 (5.6 M) and day 1 (5.2 M and 404), tier 0 from day 2 on (4.8 M).

    4 bought at 101 are 404 each day: 0.040 % is 0.1616, 0.045 % is 0.1818.
    """
    market = Market(HYPERLIQUID)
    market.quote(START + DAY, 99, 101)
    market.quote(START + 2 * DAY, 99, 101)
    played = run(
        market.end(START + 3 * DAY),
        [(START + day * DAY + HOUR, lambda ctx: ctx.buy("BTC-USD", 4)) for day in range(3)],
        keys=[HYPERLIQUID],
        fee_volume=Decimal(5_600_000),
    )
    fees = [fill[3] for kind, fill in played.heard if kind == "fill"]
    assert fees == [Decimal("0.1616"), Decimal("0.1616"), Decimal("0.1818")]
    assert played.record is not None
    assert [(each.time_ns, each.name) for each in played.record.tiers] == [(START, "1"), (START + 2 * DAY, "0")]


def test_a_venue_may_look_at_each_execution_and_round_up() -> None:
    """
    dYdX: 30 days with the present one, at each execution, 1 M is enough. 999,000 before: 10 at 101 (1010) still pay 0.05 %,
    which is 0.505; the next 1 at 101 comes after 1,000,010: 0.045 % of 101 is 0.04545.
    """
    market = Market(DYDX)
    played = run(
        market.end(START + DAY),
        [
            (START + HOUR, lambda ctx: ctx.buy("BTC-USD", 10)),
            (START + 2 * HOUR, lambda ctx: ctx.buy("BTC-USD", 1)),
        ],
        keys=[DYDX],
        fee_volume=Decimal(999_000),
    )
    fees = [fill[3] for kind, fill in played.heard if kind == "fill"]
    assert fees == [Decimal("0.505"), Decimal("0.04545")]
    assert played.record is not None
    assert [each.name for each in played.record.tiers] == ["1", "2"]


def test_a_rebate_is_received_by_who_rests() -> None:
    """Tier maker-2 gives 0.002 % of what a maker trades: 5 sold at 101 are 505, of which that is 0.0101."""
    market = Market(HYPERLIQUID)
    market.messages.append(market.say.trade(START + 2 * HOUR, "buy", 102, 9))
    played = run(
        market.end(START + DAY),
        [(START + HOUR, lambda ctx: ctx.sell("BTC-USD", 5, 101, post_only=True))],
        keys=[HYPERLIQUID],
        fee_tier="maker-2",
    )
    assert [fill for kind, fill in played.heard if kind == "fill"] == [("sell", 101.0, 5.0, Decimal("-0.0101"))]


def test_a_tier_that_was_given_is_the_least_and_more_volume_gives_more() -> None:
    meter = FeeMeter(facts_of("hyperliquid").schedule or TABLE, "hyperliquid", START, tier="1")
    assert meter.at(START + 40 * DAY).name == "1"
    meter.count(START + 40 * DAY, units(30_000_000))
    assert [meter.at(START + day * DAY).name for day in (40, 41, 54, 55)] == ["1", "2", "2", "1"]


def test_spot_has_fees_of_its_own_and_its_volume_may_count_twice() -> None:
    """
    Hyperliquid: 26,000 bought at 101 are 2,626,000, of which 0.070 % is 1838.2; counted twice they are above 5 M, so on the
    next day 10 at 101 cost 0.060 %: 0.606.
    """
    market = Market(HYPERLIQUID, kind=InstrumentKind.SPOT)
    market.quote(START + DAY, 99, 101)
    played = run(
        market.end(START + 2 * DAY),
        [
            (START + HOUR, lambda ctx: ctx.buy("BTC-USD", 26_000)),
            (START + DAY + HOUR, lambda ctx: ctx.buy("BTC-USD", 10)),
        ],
        keys=[HYPERLIQUID],
    )
    assert [fill[3] for kind, fill in played.heard if kind == "fill"] == [Decimal("1838.2"), Decimal("0.606")]
    assert played.record is not None
    assert [(each.name, each.volume) for each in played.record.tiers] == [
        ("0", Decimal(0)),
        ("1", Decimal(5_252_000)),
    ]


def test_levels_of_usd_m_by_volume_of_thirty_days() -> None:
    """Binance: 15 M are VIP 1. 200,000 at 101 are 20.2 M: day 1 to day 30 at 0.040 %, day 31 at 0.050 % again."""
    meter = FeeMeter(facts_of("binance-usdm").schedule or TABLE, "binance-usdm", START)
    meter.count(START, units(20_200_000))
    assert [meter.at(START + day * DAY).taker for day in (0, 1, MONTH, MONTH + 1)] == [
        Decimal("0.0005"),
        Decimal("0.0004"),
        Decimal("0.0004"),
        Decimal("0.0005"),
    ]


def test_exactly_the_volume_is_enough_or_not_as_the_table_says() -> None:
    for at_volume, expected in ((True, "high"), (False, "low")):
        schedule = FeeSchedule(tiers=TABLE.tiers, window_days=2, assessed=Assessed.ALWAYS, at_volume=at_volume)
        meter = FeeMeter(schedule, "one", START)
        meter.count(START, units(100))
        assert meter.at(START).name == expected
        meter.count(START, 1)
        assert meter.at(START).name == "high"


def test_fees_that_are_given_have_no_tiers() -> None:
    market = Market(HYPERLIQUID)
    fees = {"maker": Decimal(0), "taker": Decimal("0.001")}
    played = run(
        market.end(START + DAY),
        [(START + HOUR, lambda ctx: ctx.buy("BTC-USD", 100_000))],
        keys=[HYPERLIQUID],
        fees=fees,
    )
    assert played.record is not None
    assert played.record.tiers == []
    assert [fill[3] for kind, fill in played.heard if kind == "fill"] == [Decimal(10_100)]
    with pytest.raises(ConfigError, match=r"^fees are given, so there are no tiers"):
        run(market.end(START + DAY), [], keys=[HYPERLIQUID], fees=fees, fee_tier="1")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fee_tier": "9"}, r"^no fee tier '9', expected one of 0, 1, 2"),
        ({"fee_volume": Decimal(-1)}, r"^fee volume is -1, expected a number of 0 or more"),
    ],
)
def test_a_tier_or_volume_that_is_none_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run(Market(HYPERLIQUID).end(START + DAY), [], keys=[HYPERLIQUID], **settings)


@pytest.mark.parametrize(
    "fees",
    [
        "window_days = 14\ntiers = [{ name = 'a', volume = '5', maker = '0', taker = '0' }]",
        "window_days = 0\ntiers = [{ name = 'a', volume = '0', maker = '0', taker = '0' }]",
        "maker = '1e-4'\nwindow_days = 1\ntiers = [{ name = 'a', volume = '0', maker = '0', taker = '0' }]",
        "window_days = 1\ntiers = [{ name = 'a', maker = '0', taker = '0' }]",
    ],
)
def test_a_table_of_tiers_that_makes_no_sense_is_refused(fees: str) -> None:
    with pytest.raises(ConfigError, match=r"^the facts of a cannot be read"):
        parse_facts(f"[fees]\n{fees}", "a")
