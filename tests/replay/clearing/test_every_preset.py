"""The same few things with each venue's facts: funding of both signs, leverage 2 against 20, cross against isolated, rounding."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.backtest.venue_facts import facts_of
from replay.ledger.margin_rules import MarginMode
from replay.ledger.money import amount
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, cash, funded, run
from tests.replay.strategy.sessions import Played
from toolkit.keys import PairKey

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
DYDX = PairKey("dydx_v4", "BTC-USD")
USDM = PairKey("binance-usdm", "BTC-USDT")
COINM = PairKey("binance-coinm", "BTC-USD_PERP")
NO_FEES = {"maker": Decimal(0), "taker": Decimal(0)}


def market_of(key: PairKey) -> Market:
    if key is COINM:
        return Market(key, contract_value=100.0, settle="BTC")
    return Market(key, max_leverage=20.0) if key is DYDX else Market(key)


def played(key: PairKey, market: Market, *deeds: Any, **settings: Any) -> Played:
    asset = "BTC" if key is COINM else "USD"
    if key is COINM:
        settings.setdefault("assumed", {"maintenance": Decimal("0.01")})
    settings.setdefault("fees", NO_FEES)
    return run(market.end(START + 10 * DAY), deeds, keys=[key], asset=asset, **settings)


@pytest.mark.parametrize(
    ("key", "paid"),
    [
        # 3 at the oracle of 80, not at the mark of 120: 240 * 0.0001234 = 0.029616; then short 2: 160 * 0.0001234.
        (HYPERLIQUID, ["0.029616", "0.019744"]),
        (DYDX, ["0.029616", "0.019744"]),
        # At the mark of 120: 360 * 0.0001234 = 0.044424; 240 * 0.0001234 = 0.029616.
        (USDM, ["0.044424", "0.029616"]),
        # 3 contracts of 100 USD at 120: 2.5 BTC * 0.0001234 = 0.0003085; 2 are 1.66666... * 0.0001234 = 0.00020566(6).
        (COINM, ["0.0003085", "0.00020567"]),
    ],
)
def test_funding_of_both_signs_on_the_price_and_in_the_digits_of_each_venue(key: PairKey, paid: list[str]) -> None:
    """A long pays a positive rate, a short receives it; and the other way round for the negative one."""
    rules = facts_of(key.venue).funding
    assert rules is not None
    hours = rules.interval_ns // HOUR
    for sign in (1, -1):
        market = market_of(key)
        for number in range(3):
            at_ns = START + number * hours * HOUR + 1
            market.rate(at_ns, funding_rate=sign * 0.0001234, mark_price=120.0, index_price=80.0)
        done = played(
            key,
            market,
            (START + 60, lambda ctx: ctx.buy(ctx.pairs[0], 3)),
            (START + hours * HOUR + 60, lambda ctx: ctx.sell(ctx.pairs[0], 5)),
        )
        assert done.record is not None
        long, short = (Decimal(each) for each in paid)
        assert funded(done.record) == [(3.0, float(-sign * long)), (-2.0, float(sign * short))]


@pytest.mark.parametrize(
    ("key", "capital", "fell_at", "left"),
    [
        # 100 at 101, 20x: 505 or more. Equity 100 m - 9595. Maintenance 1.25 %: m = 97.16, sold at the bid of 96: 5 left.
        (HYPERLIQUID, 505, "97", 5),
        # dYdX, 3 %: m = 9595 / 97 = 98.92. At 98 (205 against 294) the order goes to 98 * (1 - 0.1 * 3 % * 0.303) = 97.91:
        # the bid is 97, at 97 it is 96, and so on; at 95 (below 95.95) nothing is left: taken over.
        (DYDX, 505, "95", 0),
        # 0.4 %: m = 96.33. At 96 the order goes to 95.95, tick 96, but the bid is 95: taken over at 95.95.
        (USDM, 505, "96", 0),
    ],
)
def test_leverage_20_falls_once_at_the_venues_mark_and_leverage_2_stands(
    key: PairKey, capital: int, fell_at: str, left: int
) -> None:
    market = market_of(key)
    market.rate(START + 1, mark_price=100.0, index_price=100.0)
    for hours, price in enumerate(range(99, 90, -1), 1):
        market.quote(START + hours * HOUR, price - 1, price + 1)
        market.rate(START + hours * HOUR + 1, mark_price=float(price), index_price=float(price))
    bold = played(
        key,
        market,
        (START + 60, lambda ctx: ctx.buy(ctx.pairs[0], 100)),
        capital=str(capital),
        leverage={"": Decimal(20)},
    )
    assert bold.record is not None
    assert bold.record.liquidations[-1].mark_price == fell_at
    assert bold.record.ledger.positions[0].size == 0
    assert cash(bold.record.ledger) == left
    assert len([row for kind, row in bold.heard if kind == "fill" and row[0] == "sell"]) == 1
    mild = played(
        key,
        market,
        (START + 60, lambda ctx: ctx.buy(ctx.pairs[0], 10)),
        capital=str(capital),
        leverage={"": Decimal(2)},
    )
    assert mild.record is not None
    assert mild.record.liquidations == []
    assert cash(mild.record.ledger) == capital - 1010


def test_leverage_20_of_an_inverse_contract_falls_and_leverage_2_stands() -> None:
    """
    COIN-M, 1 %, capital 5.05 BTC: 101 contracts at 101 are 100 BTC, of which a 20th is 5. Equity 105.05 - 10,100 / m against
    101 / m: m = 97.11. At 98: 1.99 against 1.03. At 97: 0.926 against 1.041. 10 contracts are 9.9 BTC, of which half is 4.95.
    """
    market = market_of(COINM)
    market.rate(START + 1, mark_price=101.0)
    for hours, price in ((1, 98.0), (2, 97.0)):
        market.quote(START + hours * HOUR, price, price + 1)
        market.rate(START + hours * HOUR + 1, mark_price=price)
    for leverage, size, fallen in ((20, 101, 1), (2, 10, 0)):
        done = played(
            COINM,
            market,
            (START + 60, lambda ctx, size=size: ctx.buy(ctx.pairs[0], size)),
            capital="5.05",
            leverage={"": Decimal(leverage)},
        )
        assert done.record is not None
        assert len(done.record.liquidations) == fallen
    assert done.record is not None
    assert done.record.ledger.positions[0].size > 0


@pytest.mark.parametrize("key", [HYPERLIQUID, DYDX, USDM, COINM], ids=lambda key: key.venue)
def test_with_each_venue_isolated_loses_what_was_set_aside_and_cross_all_there_is(key: PairKey) -> None:
    """
    The price falls to a tenth at once. 100 at 101 (of inverse contracts 10,100 USD, 100 BTC), 10x, with four times the margin
    there: isolated loses a tenth of the worth (1010; or 10 BTC), cross everything (4040; or 40 BTC).
    """
    for mode, part in ((MarginMode.ISOLATED, 1), (MarginMode.CROSS, 4)):
        market = market_of(key)
        market.rate(START + 1, mark_price=101.0, index_price=101.0)
        market.quote(START + HOUR, 9, 11)
        market.rate(START + HOUR + 1, mark_price=10.0, index_price=10.0)
        capital = Decimal(40 if key is COINM else 4040)
        size = 101 if key is COINM else 100
        done = played(
            key,
            market,
            (START + 60, lambda ctx, size=size: ctx.buy(ctx.pairs[0], size)),
            capital=str(capital),
            leverage={"": Decimal(10)},
            margin={"": mode},
        )
        assert done.record is not None
        assert [each.what for each in done.record.liquidations] == ["takeover"]
        assert abs(cash(done.record.ledger) - (capital - capital * part / 4)) < Decimal("1e-12")
        assert done.record.ledger.positions[0].size == 0


@pytest.mark.parametrize(
    ("key", "fee"),
    [
        # 7 at 101 are 707. Hyperliquid: 0.045 % is 0.31815, cut to 6 digits. dYdX: 0.05 %: 0.3535. Binance: the same.
        (HYPERLIQUID, "0.31815"),
        (DYDX, "0.3535"),
        (USDM, "0.3535"),
        # 700 USD / 101 = 6.930693... BTC, of which 0.05 % is 0.003465346...: 8 digits, half to even.
        (COINM, "0.00346535"),
        # Spot: 0.1 %.
        (PairKey("binance-spot", "BTC-USDT"), "0.707"),
    ],
    ids=lambda value: getattr(value, "venue", value),
)
def test_the_lowest_tier_of_each_venue_in_its_digits(key: PairKey, fee: str) -> None:
    done = played(key, market_of(key), (START + 60, lambda ctx: ctx.buy(ctx.pairs[0], 7)), fees={})
    assert [row[3] for kind, row in done.heard if kind == "fill"] == [Decimal(fee)]


def test_a_level_of_usd_m_changes_within_a_run() -> None:
    """200,000 at 101 are 20.2 M on the first day: 0.050 %, and 0.040 % (VIP 1) from the next day on."""
    market = market_of(USDM)
    market.quote(START + DAY, 99, 101)
    done = played(
        USDM,
        market,
        (START + HOUR, lambda ctx: ctx.buy(ctx.pairs[0], 200_000)),
        (START + DAY + HOUR, lambda ctx: ctx.buy(ctx.pairs[0], 1)),
        fees={},
    )
    assert [row[3] for kind, row in done.heard if kind == "fill"] == [Decimal(10_100), Decimal("0.0404")]
    assert done.record is not None
    assert [(each.time_ns - START, each.name) for each in done.record.tiers] == [(0, "VIP 0"), (DAY, "VIP 1")]


@pytest.mark.parametrize(
    ("key", "bids", "steps", "left"),
    [
        # At 97 (105 against 121.25) an order down to 95.95, tick 96, where 40 are bid: 65 against 72.75 is left. Again at the next
        # mark, where all are: 505 - 100 * 5.
        (HYPERLIQUID, [(97, 96, 40), (97, 96, 1000)], ["order", "order"], "5"),
        # At 98 (205 against 294) an order down to 97.91, tick 98: 40, and 1.5 % of 3920, 58.8. 146.2 against 176.4: the other 60 at
        # the next price, and 88.2. 505 - 100 * 3 - 147.
        (DYDX, [(98, 98, 40), (98, 98, 1000)], ["order", "order"], "58"),
        # The same 40 at 98; at 102 there are 386.2 against 183.6, so the other 60 stay.
        (DYDX, [(98, 98, 40), (102, 98, 1000)], ["order"], "386.2"),
        # At 96 (5 against 38.4) an order down to 95.95, tick 96: 40, and of the 48 of its fee the 5 that are left. The other 60 are
        # taken over at once.
        (USDM, [(96, 96, 40)], ["order", "takeover"], "0"),
        # 101 contracts for 100 BTC. At 97 (0.9263 against 1.0412) 50 are sold, for 1.25 % of 5000 / 97: 0.64432990. 51 are left on
        # 0.2819 against 0.5258, and are taken over.
        (COINM, [(97, 97, 50)], ["order", "takeover"], "0"),
    ],
    ids=["hyperliquid", "dydx_v4", "dydx_v4 recovers", "binance-usdm", "binance-coinm"],
)  # fmt: skip
def test_a_liquidation_that_finds_a_part_of_the_book_goes_on_in_each_venues_way(
    key: PairKey, bids: list[tuple[int, int, int]], steps: list[str], left: str
) -> None:
    """20x, 100 bought at 101; then the venue's price, and what is bid where, hour by hour."""
    market = market_of(key)
    market.rate(START + 1, mark_price=101.0, index_price=101.0)
    for hour, (price, bid, depth) in enumerate(bids, 1):
        market.messages.append(market.say.snapshot(START + hour * HOUR, {bid: depth}, {bid + 1: 1000}))
        market.rate(START + hour * HOUR + 1, mark_price=float(price), index_price=float(price))
    done = played(
        key,
        market,
        (START + 60, lambda ctx: ctx.buy(ctx.pairs[0], 101 if key is COINM else 100)),
        capital="5.05" if key is COINM else "505",
        leverage={"": Decimal(20)},
    )
    assert done.record is not None
    assert [each.what for each in done.record.liquidations] == steps
    equity = amount(done.record.ledger.equity())
    assert abs(equity - Decimal(left)) < Decimal("1e-12")
    assert (done.record.ledger.positions[0].size > 0) is (left == "386.2")
    sold = [row for kind, row in done.heard if kind == "fill" and row[0] == "sell"]
    if key is COINM:
        assert sold[0][3] == Decimal("0.6443299")


def test_a_tier_of_dydx_changes_at_the_execution_that_reaches_it() -> None:
    """9,900 at 101 are 999,900: 0.05 %. 1 more makes it 1,000,001, and from then on 0.045 %: 0.04545, to 6 digits."""
    market = market_of(DYDX)
    buys = (9_900, 1, 1)
    deeds = [(START + HOUR * (at + 1), lambda ctx, size=size: ctx.buy("BTC-USD", size)) for at, size in enumerate(buys)]
    done = played(DYDX, market, *deeds, fees={})
    fees = [row[3] for kind, row in done.heard if kind == "fill"]
    assert fees == [Decimal("499.95"), Decimal("0.0505"), Decimal("0.04545")]
    assert done.record is not None
    assert [each.name for each in done.record.tiers] == ["1", "2"]


def test_the_order_of_a_liquidation_on_dydx_goes_as_far_as_its_formula() -> None:
    """At 98, 205 stand against 294: 98 * (1 - 0.1 * 0.03 * (1 - 205 / 294)) is 97.911, and what is bid below that stays."""
    market = Market(DYDX, max_leverage=20.0, tick=0.001)
    market.rate(START + 1, mark_price=101.0, index_price=101.0)
    market.messages.append(market.say.snapshot(START + HOUR, {97.912: 30, 97.911: 10, 97.91: 60}, {99: 1000}))
    market.rate(START + HOUR + 1, mark_price=98.0, index_price=98.0)
    deed = (START + 60, lambda ctx: ctx.buy("BTC-USD", 100))
    done = played(DYDX, market, deed, capital="505", leverage={"": Decimal(20)})
    assert done.record is not None
    [step] = done.record.liquidations
    exact = 98 - Decimal(98) * 3 * 89 / 294 / 1000
    assert step.price is not None
    assert abs(Decimal(step.price) - exact) < Decimal("1e-15")
    assert [row[:3] for kind, row in done.heard if kind == "fill" and row[0] == "sell"] == [
        ("sell", 97.912, 30.0),
        ("sell", 97.911, 10.0),
    ]
