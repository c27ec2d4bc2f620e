from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.accounts.exact_sums import ZERO, decimal_of, exact, exact_product, exact_ratio, exact_sum
from toolkit.errors import ConfigError


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=5))
def test_the_text_of_the_venue_comes_back(value: Decimal) -> None:
    assert exact(float(value)) == value


def test_a_hundred_thousand_partial_fills_of_a_tenth_are_ten_thousand() -> None:
    total = ZERO
    for _ in range(100_000):
        total = exact_sum(total, exact(0.1))
    assert total == 10_000


def test_nothing_is_rounded_however_far_apart_two_numbers_are() -> None:
    large, small = exact(1e300), exact(1e-300)
    assert exact_sum(exact_sum(large, small), -large) == small
    assert exact_product(exact(0.1), exact(0.2)) == Decimal("0.02")
    assert exact_product(exact(123456.789), exact(98765.4321)) * 10**7 == 123456789 * 987654321


def test_a_ratio_has_28_digits() -> None:
    assert exact_ratio(Decimal(1), Decimal(3)) == Decimal("0." + "3" * 28)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_decimal(value: float) -> None:
    with pytest.raises(ValueError, match="has no decimal"):
        exact(value)


@pytest.mark.parametrize("value", [Decimal("0.1"), 0.1, "0.1"])
def test_a_number_in_python_is_the_decimal_that_it_prints_as(value: object) -> None:
    assert decimal_of(value, "fee") == Decimal("0.1")


@pytest.mark.parametrize("value", [True, None, "a tenth", "", math.nan, "inf", Decimal("sNaN"), [1]])
def test_what_is_no_number_is_refused_with_its_name(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^fee is .*, expected a number$"):
        decimal_of(value, "fee")
