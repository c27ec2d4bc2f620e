"""Money where tick, lot or contract are assumed: captures of others do not say them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from replay.results.result import Result
from replay.strategy.context import Context
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.session import TradingSession
from replay.strategy.strategy import Strategy, Wakes
from tests.replay.backtest.market_messages import Messages
from tests.replay.strategy.sessions import loaded, opened
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import EventKind

ONE = {"tick": Decimal(1), "lot": Decimal(1)}
COIN_M = PairKey("binance-coinm", "BTC-USD")


class BuysTwice(Strategy):
    """Takes one at the first book and one at the second, and then has one of each rest."""

    wakes = Wakes(trades=True)

    def on_trade(self, ctx: Context, trade: Any) -> None:
        ctx.buy(ctx.pairs[0], 1)


def run(say: Messages, *, size: float = 1.0, asks: dict[float, float] | None = None, **settings: Any) -> Result:
    """Two orders at market, each caused by a trade; between the two the venue uses finer steps."""
    played = opened(BuysTwice, fees={"maker": Decimal(0), "taker": Decimal("0.01")}, **settings)
    session = played.session
    session.take(say.event(0, EventKind.SESSION_START, stream=""))
    session.take(say.snapshot(0, {99: 10}, {101: 4}))
    session.take(say.trade(10, "buy", 101, 1))
    session.take(say.snapshot(20, {99: 10}, asks or {101: 4}))
    session.take(say.trade(30, "sell", 99, size))
    session.take(say.snapshot(40, {99: 10}, {101: 4}))
    return Result.of(session.finish())


@pytest.mark.parametrize(
    ("given", "cost"),
    [
        ({}, 202),
        ({"size": 0.25}, 202),  # a lot of 1 was assumed, and sizes are of 0.25
        ({"asks": {101: 4.001}}, 202),
        ({"asks": {100.5: 4}}, 201.5),  # a tick of 1 was assumed
        ({"asks": {100.01: 4.5}, "size": 0.0625}, 201.01),
    ],
)
def test_finer_steps_of_a_market_do_not_multiply_the_money(given: dict[str, Any], cost: float) -> None:
    """Two were bought, whatever the grid is that the market is counted on: cash, fees and position say so."""
    result = run(Messages(), assumed=ONE, **given)
    fills = result.fills
    assert fills["size"].to_list() == [1.0, 1.0]
    assert (fills["price"] * fills["size"]).sum() == cost
    assert fills["position"].to_list() == [1.0, 2.0]
    assert result.fees == Decimal(str(cost)) / 100
    assert result.equity["cash"][-1] == pytest.approx(-cost * 1.01, rel=1e-12)
    # 2 at the middle of 99 and 101, less what was paid.
    assert result.net_profit == 200 - Decimal(str(cost)) * Decimal("1.01")


def test_an_inverse_contract_is_never_taken_for_a_linear_one() -> None:
    """Without its worth nothing is called, however much is assumed."""
    played = opened(BuysTwice, keys=(COIN_M,), assumed=ONE)
    say = Messages(COIN_M)
    for message in (say.event(0, EventKind.SESSION_START, stream=""), say.snapshot(0), say.trade(10, "buy", 101, 1)):
        played.session.take(message)
    assert played.session.unknown_said == "what a contract of BTC-USD is worth"
    assert not played.rows


def test_an_inverse_contract_of_assumed_worth_is_counted_in_its_coin() -> None:
    """2 contracts of 100 USD, bought at 101 and valued at 100: 2 * 100 * (1/101 - 1/100), and 1 % of 200/101 of fees."""
    result = run(Messages(COIN_M), keys=(COIN_M,), assumed={**ONE, "contract_value": Decimal(100)})
    assert result.fills["fee_asset"].to_list() == ["BTC", "BTC"]
    assert float(result.net_profit) == pytest.approx(200 * (1 / 101 - 1 / 100) - 2 / 101, rel=1e-7)


def test_a_contract_of_assumed_worth_is_for_inverse_ones() -> None:
    with pytest.raises(ConfigError, match="no venue of the run has them"):
        opened(BuysTwice, assumed={**ONE, "contract_value": Decimal(100)})


@pytest.mark.parametrize(
    ("capital", "message"),
    [
        ({"DOGE": Decimal(5)}, "capital in DOGE, in which nothing settles here: expected USD"),
        ({"USD": Decimal(5), "USDT": Decimal(5)}, "capital in USDT, in which nothing settles here: expected USD"),
        ({"BTC": Decimal(1)}, "capital in BTC, in which nothing settles here: expected USD"),
    ],
)
def test_capital_that_would_count_nowhere_is_refused(capital: dict[str, Decimal], message: str) -> None:
    say = Messages()
    session: TradingSession = opened(BuysTwice, assumed=ONE, capital=capital).session
    session.take(say.snapshot(0))
    assert message in str(session.failure)


def test_capital_below_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="capital is -5 USD, expected a number of 0 or more"):
        RunPlan(loaded(BuysTwice), (PairKey("testing", "BTC-USD"),), RunSettings(capital={"USD": Decimal(-5)}))


def test_linear_markets_need_no_contract_value() -> None:
    plan = RunPlan(loaded(BuysTwice), (PairKey("binance-usdm", "BTC-USDT"),), RunSettings(assumed=ONE))
    assert plan.open(0).unknown_said == ""
