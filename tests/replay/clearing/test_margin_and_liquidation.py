"""Margin and liquidation: what orders need, when a position is closed by the venue, at what price, and what it leaves."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from replay.backtest.venue_facts import facts_of
from replay.ledger.margin_rules import MarginMode, MarginTier, MarginTiers
from replay.ledger.money import CASH_DECIMALS, units_of
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, cash, run
from tests.replay.strategy.sessions import Played
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
DYDX = PairKey("dydx_v4", "BTC-USD")
USDM = PairKey("binance-usdm", "BTC-USDT")
COINM = PairKey("binance-coinm", "BTC-USD_PERP")
NO_FEES = {"maker": Decimal(0), "taker": Decimal(0)}
MINUTE = 60 * NS_PER_S


def falling(market: Market, *, step: int = 1, to: int = 50) -> Market:
    """Each minute the mark and the oracle fall by one from 100, and the book stays one below and above."""
    market.rate(START + 1, mark_price=100.0, index_price=100.0)
    for minute, price in enumerate(range(100 - step, to, -step), 1):
        at_ns = START + minute * MINUTE
        market.quote(at_ns, price - 1, price + 1)
        market.rate(at_ns + 1, mark_price=float(price), index_price=float(price))
    return market


def leveraged(market: Market, key: PairKey, leverage: int, size: float, **settings: Any) -> Played:
    settings.setdefault("capital", "505")
    settings.setdefault("fees", NO_FEES)
    return run(
        market.end(START + DAY),
        [(START + MINUTE // 2, lambda ctx: ctx.buy(key.trading_pair, size))],
        keys=[key],
        leverage={"": Decimal(leverage)},
        **settings,
    )


def fills(played: Played) -> list[tuple[str, float, float]]:
    return [fill[:3] for kind, fill in played.heard if kind == "fill"]


def steps(played: Played) -> list[tuple[str, str, str | None]]:
    assert played.record is not None
    return [(each.what, each.mark_price, each.price) for each in played.record.liquidations]


# -- leverage 2 against 20 ----------------------------------------------------------------------------------------------


def test_leverage_20_is_liquidated_once_at_the_computed_mark_and_leverage_2_is_not() -> None:
    """
    Hyperliquid, capital 505, maintenance 1.25 % (half of the initial margin at 40x).

    Leverage 20: 100 at 101 are 10,100, of which 505 is a 20th. Equity at mark m is 505 - 100 * (101 - m) = 100 m - 9595, the
    maintenance 1.25 m: they meet at m = 9595 / 98.75 = 97.16. At 98 there are 205 against 122.5; at 97 there are 105
    against 121.25, which is above 2/3 of it (80.8): all of it is sold to the book, at 96. 505 - 100 * 5 = 5 are left.

    Leverage 2: 10 at 101 are 1010, of which 505 is the half. At mark 51 equity is 505 - 10 * 50 = 5 against 6.375, so the
    tape ends at 52 for it: 15 against 6.5.
    """
    played = leveraged(falling(Market(HYPERLIQUID)), HYPERLIQUID, 20, 100)
    assert fills(played) == [("buy", 101.0, 100.0), ("sell", 96.0, 100.0)]
    assert steps(played) == [("order", "97", "95.95")]
    assert played.record is not None
    assert cash(played.record.ledger) == 5
    ended = [told for kind, told in played.heard if kind == "order" and told[0].startswith("liquidation")]
    assert ended == [("liquidation-2", "open", "", ""), ("liquidation-2", "filled", "", "")]
    mild = leveraged(falling(Market(HYPERLIQUID), to=51), HYPERLIQUID, 2, 10)
    assert fills(mild) == [("buy", 101.0, 10.0)]
    assert steps(mild) == []


def test_the_fee_of_a_liquidation_is_the_accounts_taker_fee_where_there_is_no_other() -> None:
    """As above with 1 % for takers: the entry costs 101, the exit at 96 another 96 of the 5 + 101 - 101 that are left."""
    fees = {"maker": Decimal(0), "taker": Decimal("0.0001")}
    played = leveraged(falling(Market(HYPERLIQUID)), HYPERLIQUID, 20, 100, capital="510", fees=fees)
    # 510 - 1.01 (of 10,100) - 500 - 0.96 (of 9600) = 8.03.
    assert played.record is not None
    assert cash(played.record.ledger) == Decimal("8.03")


def test_below_two_thirds_of_maintenance_the_venue_takes_the_position_with_all_that_is_left() -> None:
    """
    The mark falls from 100 to 96.5 at once: equity 100 * 96.5 - 9595 = 55 against 120.6 needed, of which 2/3 are 80.4.
    The position goes at the price that leaves nothing: 95.95, whatever the book has.
    """
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0, index_price=100.0)
    market.rate(START + HOUR // 2, mark_price=96.5, index_price=100.0)
    played = leveraged(market, HYPERLIQUID, 20, 100)
    assert steps(played) == [("takeover", "96.5", "95.95")]
    assert fills(played) == [("buy", 101.0, 100.0), ("sell", 95.95, 100.0)]
    assert played.record is not None
    assert cash(played.record.ledger) == 0
    assert played.record.ledger.positions[0].size == 0


def test_of_a_large_position_a_fifth_goes_first_and_the_rest_after_a_pause() -> None:
    """
    1000 at 101 are 101,000, and 98,000 at mark 98: below 100,000. So 2000: at 20x the margin is 10,100.

    Equity at m: 10,100 - 2000 * (101 - m). At 97: 2100 against 2425, value 194,000: a fifth, 400, is sold at 96. Then
    2100 - 400 * 1 = 1700 against 1600 * 97 * 1.25 % = 1940: still short, and nothing happens for 30 s. At 97.1 after 10 s
    it is 1860 against 1942; after 30 s the rest is sold, at 96 again: 10,100 - 2000 * 5 = 100 are left.
    """
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0, index_price=100.0)
    market.quote(START + HOUR, 96, 98)
    market.rate(START + HOUR + 1, mark_price=97.0, index_price=97.0)
    market.rate(START + HOUR + 10 * NS_PER_S, mark_price=97.1, index_price=97.0)
    market.quote(START + HOUR + MINUTE, 96, 98)
    played = leveraged(market, HYPERLIQUID, 20, 2000, capital="10100")
    assert fills(played) == [("buy", 101.0, 2000.0), ("sell", 96.0, 400.0), ("sell", 96.0, 1600.0)]
    assert played.record is not None
    assert [each.time_ns - START - HOUR for each in played.record.liquidations] == [1, 30 * NS_PER_S + 1]
    assert cash(played.record.ledger) == 100


def test_a_second_venue_closes_to_bankruptcy_takes_over_the_rest_and_charges_its_fee() -> None:
    """
    Binance USD-M, 20x, maintenance 0.4 %: 100 at 101, capital 505; equity 100 m - 9595 meets 0.4 m at 96.3.

    At 97 there are 105 against 38.8. At 96: 5 against 38.4: an order goes as far as 95.95, the price of bankruptcy, so to
    tick 96. The book has 40 at 96: 40 * 96 = 3840, of which 1.25 % is 48: more than the 5 that are left, so 5 are paid (to
    the rate's last digit). The other 60 are taken over where nothing is left: at 96.
    """
    market = Market(USDM, settle="USDT")
    market.rate(START + 1, mark_price=100.0)
    market.rate(START + HOUR, mark_price=97.0)
    market.messages.append(market.say.snapshot(START + 2 * HOUR, {96: 40}, {98: 40}))
    market.rate(START + 2 * HOUR + 1, mark_price=96.0)
    played = leveraged(market, USDM, 20, 100, asset="USDT")
    assert fills(played)[:2] == [("buy", 101.0, 100.0), ("sell", 96.0, 40.0)]
    assert [each.what for each in played.record.liquidations] == ["order", "takeover"] if played.record else False
    assert played.record is not None
    assert 0 <= cash(played.record.ledger) < Decimal("1e-6")
    assert played.record.ledger.positions[0].size == 0


def test_a_formula_bounds_the_order_and_the_penalty_is_what_is_left_at_most() -> None:
    """
    dYdX, on the oracle, maintenance 0.6 of the initial margin at 20x: 3 %. 10 at 101, capital 505 at 2x.

    Oracle 54: equity 505 - 470 = 35 against 16.2. 52: 15 against 15.6, Q = 0.9615: the order goes as far as
    52 * (1 - 0.1 * 3 % * 0.03846) = 51.994: the bid of 51 is too low, nothing is sold. At oracle 51.5 with a bid of 52:
    10 against 15.45: sold at 52: 505 - 490 = 15 are left, and 1.5 % of 520 is 7.8.
    """
    market = Market(DYDX, max_leverage=20.0)
    market.rate(START + 1, index_price=100.0, mark_price=100.0)
    for hours, oracle, bid in ((1, 54.0, 53), (2, 52.0, 51), (3, 51.5, 52)):
        market.quote(START + hours * HOUR, bid, bid + 1)
        market.rate(START + hours * HOUR + 1, index_price=oracle, mark_price=oracle)
    played = leveraged(market, DYDX, 2, 10)
    assert fills(played) == [("buy", 101.0, 10.0), ("sell", 52.0, 10.0)]
    assert [each.what for each in played.record.liquidations] == ["order", "order"] if played.record else False
    assert played.record is not None
    assert cash(played.record.ledger) == 505 - 490 - Decimal("7.8")


# -- isolated against cross ---------------------------------------------------------------------------------------------


def test_isolated_margin_is_lost_alone_and_cross_stands_longer() -> None:
    """
    Capital 10,000, 20x, 100 at 101: 505 are set aside. Isolated it falls at 97 as above, and 10,000 - 500 are left; with
    all of the account behind it, it stands to the end of the tape at 51.
    """
    alone = leveraged(
        falling(Market(HYPERLIQUID)), HYPERLIQUID, 20, 100, capital="10000", margin={"": MarginMode.ISOLATED}
    )
    assert fills(alone) == [("buy", 101.0, 100.0), ("sell", 96.0, 100.0)]
    assert alone.record is not None
    assert cash(alone.record.ledger) == 9500
    together = leveraged(falling(Market(HYPERLIQUID)), HYPERLIQUID, 20, 100, capital="10000")
    assert fills(together) == [("buy", 101.0, 100.0)]


def test_an_isolated_takeover_costs_what_was_set_aside_and_no_more() -> None:
    """The mark falls to 80 at once: the loss would be 2100, and 505 were set aside: taken over at 95.95."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    market.rate(START + HOUR // 2, mark_price=80.0)
    played = leveraged(market, HYPERLIQUID, 20, 100, capital="10000", margin={"": MarginMode.ISOLATED})
    assert steps(played) == [("takeover", "80", "95.95")]
    assert played.record is not None
    assert cash(played.record.ledger) == 9495


def test_a_short_is_liquidated_as_prices_rise() -> None:
    """
    100 sold at 99, 20x, capital 500. Equity at m: 500 - 100 * (m - 99) = 10,400 - 100 m against 1.25 m: m = 102.7. At 102:
    200 against 127.5. At 103: 100 against 128.75, above 2/3 (85.8): the order goes no further than 104, where nothing is
    left, and the best ask is 105. At 104 nothing is left: taken over at 104.
    """
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    for hours, price in enumerate((102, 103, 104), 1):
        market.quote(START + hours * HOUR // 4, price - 1, price + 2)
        market.rate(START + hours * HOUR // 4 + 1, mark_price=float(price))
    played = run(
        market.end(START + DAY),
        [(START + MINUTE, lambda ctx: ctx.sell("BTC-USD", 100))],
        keys=[HYPERLIQUID],
        capital="500",
        fees=NO_FEES,
        leverage={"BTC-USD": Decimal(20)},
    )
    assert steps(played) == [("order", "103", "104"), ("takeover", "104", "104")]
    assert played.record is not None
    assert cash(played.record.ledger) == 0


def test_an_inverse_position_is_liquidated_in_its_coin() -> None:
    """
    COIN-M, contracts of 100 USD, assumed maintenance 1 %, 5x. 505 contracts at 101 are 50,500 / 101 = 500 BTC; a fifth is
    100 BTC. At mark m the position is worth 50,500 / m; the loss is 50,500 / m - 500; equity 600 - 50,500 / m against
    505 / m: 51,005 / m = 600: m = 85.008. At 86: 600 - 587.2 = 12.79 against 5.87. At 85: 5.88 against 5.94: the order
    goes as far as bankruptcy, 50,500 / 600 = 84.1667, so tick 85; the book bids 85: sold for 594.117 647.. BTC.
    """
    market = Market(COINM, contract_value=100.0, settle="BTC")
    market.rate(START + 1, mark_price=101.0)
    for hours, price in ((1, 86), (2, 85)):
        market.quote(START + hours * HOUR, price, price + 1)
        market.rate(START + hours * HOUR + 1, mark_price=float(price))
    played = leveraged(market, COINM, 5, 505, capital="100", asset="BTC", assumed={"maintenance": Decimal("0.01")})
    assert fills(played) == [("buy", 101.0, 505.0), ("sell", 85.0, 505.0)]
    assert steps(played) == [("order", "85", "84.166666666666666667")]
    assert played.record is not None
    # 100 + 500 - 594.117647... = 5.882352...; the clearance fee of 1.25 % is 7.43, so what is left of it goes there.
    assert 0 <= cash(played.record.ledger) < Decimal("1e-6")


# -- orders -------------------------------------------------------------------------------------------------------------


def test_an_order_beyond_the_margin_is_refused_in_the_venues_words_and_one_that_reduces_is_not() -> None:
    """
    Capital 100, 5x, mark 100: at most 500. A buy of 5 at 99 rests (99 of 100); one of 1 more at 99 needs 19.8: refused. A
    sell of 5 at 105 needs no more than the 105 / 5 * 5 that would exceed... 525 / 5 = 105: refused; of 4 it needs 84: taken,
    since the sides do not add up.
    """
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    played = run(
        market.end(START + DAY),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 5, 99)),
            (START + 70, lambda ctx: ctx.buy("BTC-USD", 1, 99)),
            (START + 80, lambda ctx: ctx.sell("BTC-USD", 5, 105)),
            (START + 90, lambda ctx: ctx.sell("BTC-USD", 4, 105)),
        ],
        keys=[HYPERLIQUID],
        capital="100",
        fees=NO_FEES,
        leverage={"": Decimal(5)},
    )
    words = "perpMarginRejected: Insufficient margin to place order."
    told = [row for kind, row in played.heard if kind == "order" and row[1] != "cancelled"]
    assert [(state, reason, text) for _, state, reason, text in told] == [
        ("open", "", ""),
        ("rejected", "margin", words),
        ("rejected", "margin", words),
        ("open", "", ""),
    ]


def test_closing_is_always_possible_and_turning_round_needs_margin() -> None:
    """4 long at 101 with 81 of capital at 5x (80.8): a sell of 4 passes; of 9 it would leave 5 short: 495 / 5 > what is there."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    played = run(
        market.end(START + DAY),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 4)),
            (START + 70, lambda ctx: ctx.sell("BTC-USD", 9, 99)),
            (START + 80, lambda ctx: ctx.sell("BTC-USD", 4, 99)),
        ],
        keys=[HYPERLIQUID],
        capital="81",
        fees=NO_FEES,
        leverage={"": Decimal(5)},
    )
    assert fills(played) == [("buy", 101.0, 4.0), ("sell", 99.0, 4.0)]
    assert [row[2] for kind, row in played.heard if kind == "order" and row[1] == "rejected"] == ["margin"]


def test_without_leverage_nothing_is_held_against_capital() -> None:
    played = run(
        falling(Market(HYPERLIQUID)).end(START + DAY),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD", 1000))],
        keys=[HYPERLIQUID],
        capital="1",
        fees=NO_FEES,
    )
    assert fills(played) == [("buy", 101.0, 1000.0)]
    assert steps(played) == []


def test_own_orders_are_cancelled_before_a_position_is_liquidated() -> None:
    market = falling(Market(HYPERLIQUID))
    played = run(
        market.end(START + DAY),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 100)),
            (START + 70, lambda ctx: ctx.sell("BTC-USD", 1, 130)),
        ],
        keys=[HYPERLIQUID],
        capital="505",
        fees=NO_FEES,
        leverage={"": Decimal(20)},
    )
    ended = [row for kind, row in played.heard if kind == "order" and row[1] == "cancelled"]
    assert [(reason, text) for _, _, reason, text in ended] == [("liquidation", "liquidatedCanceled")]


@pytest.mark.parametrize(
    ("key", "settings", "said"),
    [
        (HYPERLIQUID, {"leverage": {"": Decimal(41)}}, r"leverage 41, but it has 40 at most"),
        (HYPERLIQUID, {"leverage": {"ETH-USD": Decimal(2)}}, r"no pair of the run: expected one of BTC-USD"),
        (HYPERLIQUID, {"margin": {"": MarginMode.ISOLATED}}, r"margin is chosen without a leverage"),
        (HYPERLIQUID, {"leverage": {"": Decimal("0.5")}}, r"^leverage is 0.5, expected 1 or more"),
        (COINM, {"leverage": {"": Decimal(2)}}, r"say its maintenance margin.*--assume maintenance=0.005"),
        (PairKey("binance-spot", "BTC-USDT"), {"leverage": {"": Decimal(2)}}, r"nothing is known of margin at"),
    ],
)
def test_leverage_that_is_not_to_be_had_is_one_line(key: PairKey, settings: dict[str, Any], said: str) -> None:
    is_inverse = key is COINM
    market = Market(key, contract_value=100.0, settle="BTC") if is_inverse else Market(key)
    market.rate(START + 1, mark_price=100.0, index_price=100.0)
    with pytest.raises((ConfigError, AssertionError), match=said):
        run(
            market.end(START + DAY),
            [(START + 60, lambda ctx: ctx.buy(key.trading_pair, 1))],
            keys=[key],
            asset="BTC" if is_inverse else "USD",
            **settings,
        )


# -- tiers --------------------------------------------------------------------------------------------------------------


def test_maintenance_does_not_jump_where_a_tier_begins() -> None:
    """Brackets of BTCUSDT: at 600,000 it is 0.5 % less 50, or 0.65 % less 950: 2950 either way; at 1 M it is 5550."""
    margin = facts_of("binance-usdm").margin
    assert margin is not None
    tiers = margin.tiers_of("BTC-USDT", None)
    assert tiers is not None

    def needed(value: int) -> Fraction:
        return Fraction(tiers.maintenance(units_of(Decimal(value), CASH_DECIMALS)), 10**CASH_DECIMALS)

    assert [needed(value) for value in (10_000, 50_000, 599_999, 600_000, 1_000_000)] == [
        40,
        200,
        Fraction("2949.995"),
        2950,
        5550,
    ]
    assert tiers.leverage_max(units_of(Decimal(700_000), CASH_DECIMALS)) == 75


def test_what_the_recording_says_of_the_highest_leverage_goes_before_a_table_of_another_time() -> None:
    """Hyperliquid's BTC had 50x before it had 40x: then maintenance is 1 %, of which no table is known."""
    margin = facts_of("hyperliquid").margin
    assert margin is not None
    for leverage, expected in ((40.0, [Decimal("0.0125"), Decimal("0.025")]), (50.0, [Decimal("0.01")])):
        tiers = margin.tiers_of("BTC-USD", leverage)
        assert tiers is not None
        assert [tier.rate for tier in tiers.tiers] == expected
    assert margin.tiers_of("XYZ-USD", None) is None


@pytest.mark.parametrize("rows", [[("5", 10, "0.05")], [("0", 10, "0.2")], [("0", 10, "0.05"), ("0", 5, "0.1")], []])
def test_tiers_that_make_no_sense_are_refused(rows: list[tuple[str, int, str]]) -> None:
    tiers = tuple(MarginTier(floor=Decimal(a), leverage=Decimal(b), rate=Decimal(c)) for a, b, c in rows)
    with pytest.raises(ConfigError):
        MarginTiers(tiers)


@pytest.mark.parametrize(
    ("key", "mode", "side", "expected"),
    [
        # 505 - 100 * (101 - m) = 1.25 m: m = 9595 / 98.75.
        (HYPERLIQUID, MarginMode.CROSS, "buy", 9595 / 98.75),
        (HYPERLIQUID, MarginMode.ISOLATED, "buy", 9595 / 98.75),
        # Sold at 99: 505 - 100 * (m - 99) = 1.25 m: m = 10,405 / 101.25; isolated 495 were set aside: 10,395 / 101.25.
        (HYPERLIQUID, MarginMode.CROSS, "sell", 10_405 / 101.25),
        (HYPERLIQUID, MarginMode.ISOLATED, "sell", 10_395 / 101.25),
        # 0.4 %.
        (USDM, MarginMode.CROSS, "buy", 9595 / 99.6),
        # 505 BTC are needed and there: see the inverse contract above. 505 contracts are 500 BTC, 5x: 600 = 51,005 / m.
        (COINM, MarginMode.CROSS, "buy", 51_005 / 600),
        (COINM, MarginMode.ISOLATED, "buy", 51_005 / 600),
    ],
)
def test_the_price_of_liquidation_is_known_beforehand(
    key: PairKey, mode: MarginMode, side: str, expected: float
) -> None:
    said: list[float | None] = []
    is_inverse = key is COINM
    market = Market(key, contract_value=100.0, settle="BTC") if is_inverse else Market(key)
    market.rate(START + 1, mark_price=101.0 if is_inverse else 99.0)
    market.rate(START + HOUR, mark_price=101.0 if is_inverse else 100.0)
    size = 505 if is_inverse else 100

    def act(ctx: Any) -> None:
        said.append(ctx.liquidation_price(ctx.pairs[0]))
        getattr(ctx, side)(ctx.pairs[0], size)

    run(
        market.end(START + DAY),
        [(START + 60, act), (START + 2 * HOUR, lambda ctx: said.append(ctx.liquidation_price(ctx.pairs[0])))],
        keys=[key],
        capital="100" if is_inverse else "505",
        asset="BTC" if is_inverse else "USD",
        fees=NO_FEES,
        leverage={"": Decimal(5 if is_inverse else 20)},
        margin={"": mode},
        assumed={"maintenance": Decimal("0.01")} if is_inverse else {},
    )
    assert said[0] is None
    assert said[1] == pytest.approx(expected, rel=1e-12)


def test_what_is_set_aside_comes_back_in_proportion_and_follows_what_is_added_and_turned_round() -> None:
    """
    Isolated, 20x, maintenance 1.25 %, at a mark of 100.

    100 at 101: 505 aside. 60 sold: 202 for 40: 202 - 40 * (101 - m) = 0.5 m: m = 3838 / 39.5. 10 bought: 252.5 for 50 at 101:
    the same price. 70 sold at 99: 20 short at 99: 99 aside: 99 - 20 * (m - 99) = 0.25 m: m = 2079 / 20.25.
    """
    said: list[float | None] = []

    def then(side: str, size: float) -> Any:
        def act(ctx: Any) -> None:
            said.append(ctx.liquidation_price("BTC-USD"))
            getattr(ctx, side)("BTC-USD", size)

        return act

    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0)
    run(
        market.end(START + DAY),
        [
            (START + 60, then("buy", 100)),
            (START + 70, then("sell", 60)),
            (START + 80, then("buy", 10)),
            (START + 90, then("sell", 70)),
            (START + 100, then("buy", 1)),
        ],
        keys=[HYPERLIQUID],
        capital="10000",
        fees=NO_FEES,
        leverage={"": Decimal(20)},
        margin={"": MarginMode.ISOLATED},
    )
    assert said == [None, pytest.approx(9595 / 98.75), *[pytest.approx(3838 / 39.5)] * 2, pytest.approx(2079 / 20.25)]


def test_what_is_set_aside_is_not_there_for_other_orders() -> None:
    """1000, isolated, 10x: 50 at 101 set 505 aside, which leaves 495: 50 more at 101 need 505, 49 need 494.9."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=101.0)
    played = run(
        market.end(START + DAY),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 50)),
            (START + 70, lambda ctx: ctx.buy("BTC-USD", 50, 101)),
            (START + 80, lambda ctx: ctx.buy("BTC-USD", 49, 101)),
        ],
        keys=[HYPERLIQUID],
        capital="1000",
        fees=NO_FEES,
        leverage={"": Decimal(10)},
        margin={"": MarginMode.ISOLATED},
    )
    assert fills(played) == [("buy", 101.0, 50.0), ("buy", 101.0, 49.0)]


def test_funding_of_an_isolated_position_moves_what_was_set_aside_for_it() -> None:
    """505 aside for 100 at 101; 1 % of 100 * 100 is 100 paid: 405: m = (10,100 - 405) / 98.75."""
    said: list[float | None] = []
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0, index_price=100.0, funding_rate=0.01)
    market.rate(START + HOUR, mark_price=100.0, index_price=100.0, funding_rate=0.0)
    run(
        market.end(START + DAY),
        [
            (START + 60, lambda ctx: ctx.buy("BTC-USD", 100)),
            (START + 2 * HOUR, lambda ctx: said.append(ctx.liquidation_price("BTC-USD"))),
        ],
        keys=[HYPERLIQUID],
        capital="10000",
        fees=NO_FEES,
        leverage={"": Decimal(20)},
        margin={"": MarginMode.ISOLATED},
    )
    assert said == [pytest.approx((10_100 - 405) / 98.75)]


@pytest.mark.parametrize(
    ("capital", "left"), [("505.0000005", "0.0000005"), ("505", "0"), ("504.9999999", "0.0000009")]
)
def test_a_penalty_is_what_is_left_in_whole_steps_of_fees(capital: str, left: str) -> None:
    """
    dYdX, rounding up to 6 digits: 10 at 101 sold at 51 leave 505 - 500 = 5 or so, and 1.5 % of 510 is 7.65: what is taken is
    what is left, and no step more.
    """
    market = Market(DYDX, max_leverage=20.0)
    market.rate(START + 1, index_price=100.0, mark_price=100.0)
    market.quote(START + HOUR, 51, 52)
    market.rate(START + HOUR + 1, index_price=51.0, mark_price=51.0)
    played = leveraged(market, DYDX, 2, 10, capital=capital)
    assert fills(played) == [("buy", 101.0, 10.0), ("sell", 51.0, 10.0)]
    assert played.record is not None
    assert cash(played.record.ledger) == Decimal(left)
