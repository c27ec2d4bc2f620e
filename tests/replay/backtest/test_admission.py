"""Whether a venue takes a request, in whole numbers: as fractions have it, to the last unit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from replay.backtest.admission import refusal_of
from replay.backtest.market import Assumed, Market
from replay.backtest.requests import OwnOrder
from replay.backtest.venue_facts import VenueFacts
from replay.market.layout import Reason, StateCode
from toolkit.keys import PairKey

_STEPS = st.sampled_from([Decimal("0.1"), Decimal("0.00025"), Decimal(5), Decimal("0.01")])


@settings(max_examples=200, deadline=None)
@given(_STEPS, _STEPS, st.integers(0, 10**7), st.integers(1, 10**6), st.integers(-1, 1), st.booleans())
def test_the_least_value_is_held_to_exactly(
    tick: Decimal, lot: Decimal, ticks: int, lots: int, more: int, is_inverse: bool
) -> None:
    reference = 61_234.1
    price = ticks * Fraction(tick) if ticks else Fraction(reference)
    worth = Decimal(100) if is_inverse else None
    value = lots * Fraction(lot) * (price if worth is None else Fraction(worth))
    # The value in as many decimals as it has, or a little less or more than it.
    least = Decimal(int(value * 10**60) + more).scaleb(-60)
    market = Market(PairKey("v", "A-B"), Assumed(tick=tick, lot=lot, min_notional=least, contract_value=worth))
    order = OwnOrder(1, 0, 0, ticks, lots, lots, StateCode.UNKNOWN, {}, is_market=not ticks)
    found = refusal_of(market, VenueFacts(), order, tick=ticks, lots=lots, reference=reference)
    assert found is (Reason.MIN_NOTIONAL if value < Fraction(least) else None)
