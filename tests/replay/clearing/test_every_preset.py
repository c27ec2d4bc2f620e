"""The same few things with each venue's facts: funding of both signs, leverage 2 against 20, cross against isolated, rounding."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.backtest.venue_facts import facts_of
from replay.ledger.margin_rules import MarginMode
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
