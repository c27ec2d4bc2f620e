"""Prices and sizes of orders that are asked for again."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from replay.backtest.market import Assumed, Market
from replay.strategy.asked import StepCounts, lots_asked
from toolkit.errors import ConfigError
from toolkit.keys import PairKey


def test_a_size_is_counted_again_once_the_rules_are_others() -> None:
    market = Market(PairKey("v", "A-B"), Assumed(tick=Decimal("0.1"), lot=Decimal("0.5")))
    rules, scale = market.rules_at(), market.scale
    assert rules is not None
    assert scale is not None
    counts = StepCounts(lambda _, rules, scale, size: lots_asked("A-B", rules, scale, size))
    assert [counts.of(0, rules, scale, 1.5) for _ in range(2)] == [3, 3]
    coarser = replace(rules, lots=2)
    with pytest.raises(ConfigError, match=r"1\.5 is no whole number of lots"):
        counts.of(0, coarser, scale, 1.5)
    assert counts.of(0, coarser, scale, 2.0) == 4
    finer = market.refine([], [0.25])
    assert finer == (1, 2)
    rules, scale = market.rules_at(), market.scale
    assert rules is not None
    assert scale is not None
    assert counts.of(0, rules, scale, 1.5) == 6


@pytest.mark.parametrize("size", [True, "1", float("nan"), None, -1.0])
def test_what_is_no_size_is_none_after_its_equal_was_one(size: object) -> None:
    market = Market(PairKey("v", "A-B"), Assumed(tick=Decimal(1), lot=Decimal(1)))
    rules, scale = market.rules_at(), market.scale
    assert rules is not None
    assert scale is not None
    counts = StepCounts(lambda _, rules, scale, size: lots_asked("A-B", rules, scale, size))
    assert counts.of(0, rules, scale, 1.0) == counts.of(0, rules, scale, 1) == 1
    with pytest.raises(ConfigError, match="expected a number above 0"):
        counts.of(0, rules, scale, size)
