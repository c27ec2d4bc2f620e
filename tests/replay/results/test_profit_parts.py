"""The parts of a profit add up to it, to the last digit, whatever was traded, at whatever prices."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.ledger.ledger import LedgerMarket
from replay.ledger.money import Contract, ContractKind
from replay.market.layout import BUY, SELL, Role
from replay.results.profit_parts import divided, profit_parts
from replay.results.result import Result
from replay.results.run_info import run_info
from replay.results.run_record import RunRecord
from replay.results.run_study import HORIZONS_S, RunStudy
from tests.replay.results.runs import FEES, at, linear_market, recorder, trade
from toolkit.keys import PairKey

INVERSE = LedgerMarket(
    key=PairKey("binance-coinm", "BTC-USD"),
    contract=Contract(kind=ContractKind.INVERSE, settle="BTC", base="BTC", contract_value=Decimal(100)),
    fees=FEES,
    tick=Decimal("0.1"),
    lot=Decimal(1),
)
SPOT = LedgerMarket(
    key=PairKey("binance-spot", "ETH-USDC"),
    contract=Contract(kind=ContractKind.SPOT, settle="USDC", base="ETH"),
    fees=FEES,
    tick=Decimal("0.01"),
    lot=Decimal("0.0001"),
)
LINEAR = linear_market()

a_mid = st.one_of(st.just(nan), st.integers(1, 10**9).map(lambda halves: halves / 200))
a_fill = st.tuples(
    st.integers(0, 2), st.sampled_from((BUY, SELL)), st.integers(1, 10**6), st.integers(1, 10**5),
    st.sampled_from((Role.MAKER, Role.TAKER)), st.tuples(a_mid, a_mid, a_mid, a_mid),
)  # fmt: skip


def studied(record: RunRecord, mids: dict[int, list[tuple[float, ...]]]) -> Result:
    """A result with the parts of its profit, where the middles of each pair's fills are these."""
    info = run_info(record)
    fills = Result.of(record).fills
    parts = []
    for place, pair in enumerate(info.pairs):
        own = fills.filter(venue=pair.venue, trading_pair=pair.trading_pair)
        parts += profit_parts(pair, own, np.array(mids.get(place, []), np.float64).reshape(-1, 1 + len(HORIZONS_S)))
    record.study = RunStudy(parts=parts, markets=[])
    return Result.of(record)


@given(
    fills=st.lists(a_fill, max_size=12),
    marks=st.tuples(*[st.one_of(st.none(), st.integers(1, 10**7)) for _ in range(3)]),
    rate=st.integers(-1000, 1000),
)
def test_parts_add_up_to_the_net_profit_exactly(fills: list[Any], marks: tuple[int | None, ...], rate: int) -> None:
    """Linear, inverse and spot contracts in one run, with fees and funding, at random prices before and after."""
    made = recorder(LINEAR, INVERSE, SPOT, capital={"USDC": Decimal(10_000), "BTC": Decimal(3)})
    mids: dict[int, list[tuple[float, ...]]] = {}
    for number, (pair, side, tick, lots, role, around) in enumerate(fills):
        trade(made, 1 + number, side, tick, lots, pair=pair, role=role)
        mids.setdefault(pair, []).append(around)
    for pair, mark in enumerate(marks):
        if mark is not None:
            made.note_mark(pair, mark / 100)
    for pair in (0, 1):
        position = made.ledger.positions[pair]
        if position.mark is not None:
            share = Decimal(rate).scaleb(-6)
            received = made.ledger.funding_of(pair, share, position.mark, position.size)
            made.funding(pair, at(50), at(50), received, share, position.size)
    made.frame_done(at(50))
    result = studied(made.finish(at(60)), mids)
    assert result.info.study is not None
    found = divided(result.info, result.info.study)
    assert len(found) == len(HORIZONS_S) * len(result.info.accounts)
    for each in found:
        assert sum(Fraction(value) for _, value in each.rows) == Fraction(each.account.net)
        assert each.other == 0
        assert each.unmeasured == sum(
            around[0] != around[0] for place, rows in mids.items() for around in rows
            if result.info.pairs[place].account == each.account.name
        )  # fmt: skip


def test_parts_are_what_they_are_said_to_be() -> None:
    """
    Buys 2 at 100 where the middle was 101, 103 a second later; sells 1 at 106 where it was 105, 104 a second later.

    Spread: 2 * 1 + 1 * 1 = 3. Adverse, 1 s: 2 * 2 + 1 * 1 = 5; 10 s: 2 * -1 + 1 * 0 = -2; 60 s: 0. The mark at the end is
    110: inventory is what is left of 6 + 10.
    """
    made = recorder()
    trade(made, 1, BUY, 100, 200)
    trade(made, 2, SELL, 106, 100, role=Role.TAKER)
    made.note_mark(0, 110.0)
    made.frame_done(at(2))
    result = studied(made.finish(at(60)), {0: [(101.0, 103.0, 100.0, 101.0), (105.0, 104.0, 105.0, 105.0)]})
    assert result.info.study is not None
    rows = [dict(each.rows) for each in divided(result.info, result.info.study)]
    assert [row["spread"] for row in rows] == [Decimal(3)] * 3
    assert [row["adverse"] for row in rows] == [Decimal(5), Decimal(-2), Decimal(0)]
    # After a second 2 are worth 103 and go to 110, 1 short 104.
    assert [row["inventory"] for row in rows] == [Decimal(2 * 7 - 6), Decimal(2 * 10 - 5), Decimal(2 * 9 - 5)]
    assert {row["fees"] for row in rows} == {-result.fees}
    values = {metric.name: metric.value for metric in result.metrics}
    assert (values["spread_captured"], values["adverse_selection_1s"]) == (Decimal(3), Decimal(5))


@pytest.mark.parametrize(("side", "before", "after"), [(BUY, 10_000.0, 12_500.0), (SELL, 10_000.0, 8_000.0)])
def test_an_inverse_contract_gains_in_its_base(side: int, before: float, after: float) -> None:
    """100 contracts of 100 USD at 8,000: 1.25 BTC; at 10,000 1 BTC; at 12,500 0.8 BTC. Bought low, they gain as those fall."""
    made = recorder(INVERSE, capital={"BTC": Decimal(1)})
    trade(made, 1, side, 80_000, 100)
    made.frame_done(at(1))
    result = studied(made.finish(at(60)), {0: [(before, after, after, after)]})
    assert result.info.study is not None
    [first, *_] = divided(result.info, result.info.study)
    sign = 1 if side == BUY else -1
    assert first.spread == sign * (Decimal("1.25") - Decimal(1))
    assert first.adverse == (Decimal(1) - Decimal("0.8") if side == BUY else Decimal("0.25"))


def test_a_fill_before_any_price_is_all_inventory() -> None:
    made = recorder()
    trade(made, 1, BUY, 100, 100)
    made.note_mark(0, 90.0)
    made.frame_done(at(2))
    result = studied(made.finish(at(60)), {0: [(nan, 95.0, 95.0, 95.0)]})
    assert result.info.study is not None
    [first, *_] = divided(result.info, result.info.study)
    assert (first.spread, first.adverse, first.inventory) == (Decimal(0), Decimal(0), Decimal(-10))
    assert first.unmeasured == 1
