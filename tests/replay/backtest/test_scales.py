"""Prices and sizes in ticks and lots, exactly or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.backtest.scales import PairScale
from toolkit.errors import ConfigError

_steps = st.sampled_from(
    [Decimal(text) for text in ("0.1", "0.01", "0.00001", "0.5", "0.25", "1", "5", "0.0001", "1E-8")]
)


@given(st.integers(1, 10**9), _steps)
def test_every_decimal_on_the_grid_comes_back(count: int, step: Decimal) -> None:
    """From the text that a venue sends to a float64, to ticks, and back to the same float64."""
    scale = PairScale("X-Y", step, step)
    value = float(str(count * step))
    assert scale.ticks([value]).tolist() == [count]
    assert (scale.tick_of(value), scale.lots_of(value)) == (count, count)
    assert scale.ticks_of((value, value)) == scale.lots_of_all((value, value)) == [count, count]
    assert scale.price(count) == scale.size(count) == value


@given(st.integers(1, 10**7), st.integers(1, 9))
def test_what_is_off_the_grid_is_refused(count: int, tenths: int) -> None:
    """A tenth of a tick off, at any height."""
    scale = PairScale("X-Y", Decimal("0.1"), Decimal(1))
    with pytest.raises(ConfigError, match=r"^X-Y: price .* is no whole number of ticks of 0\.1; give a finer one"):
        scale.ticks([float(count * Decimal("0.1") + tenths * Decimal("0.01"))])


def test_the_message_names_a_step_that_would_do() -> None:
    scale = PairScale("BTC-USDT", Decimal("0.1"), Decimal("0.001"))
    with pytest.raises(ConfigError) as caught:
        scale.lots([0.001, 0.0115])
    assert str(caught.value) == (
        "BTC-USDT: size 0.0115 is no whole number of lots of 0.001; give a finer one, for instance --assume lot=0.0001"
    )
    PairScale("BTC-USDT", Decimal("0.1"), Decimal("0.0001")).lots([0.001, 0.0115])


def test_a_limit_has_as_many_figures_as_the_venue_takes() -> None:
    """Five at most, and whole numbers are always allowed; of recorded prices nothing is asked."""
    scale = PairScale("BTC-USD", Decimal("0.1"), Decimal(1), 5)
    for price in (1.1, 9999.9, 12345.0, 123456.0):
        scale.check_limit(int(scale.ticks([price])[0]))
    assert scale.ticks([97253.5]).tolist() == [972535]
    with pytest.raises(ConfigError) as caught:
        scale.check_limit(972535)
    assert str(caught.value) == (
        "BTC-USD: price 97253.5 is no whole number of ticks of 1, which is the tick there: the venue takes 5 significant"
        " figures at most"
    )
    fine = PairScale("X-Y", Decimal("0.000001"), Decimal(1), 5)
    fine.check_limit(int(fine.ticks([0.012345])[0]))
    with pytest.raises(ConfigError, match=r"^X-Y: price 1\.23456 is no whole number of ticks of 0\.0001, "):
        fine.check_limit(int(fine.ticks([1.23456])[0]))
    PairScale("X-Y", Decimal("0.1"), Decimal(1)).check_limit(972535)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 2.0**60])
def test_what_is_no_number_of_ticks_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"^X-Y: price .* is no whole number of ticks"):
        PairScale("X-Y", Decimal("0.1"), Decimal(1)).ticks([value])
    with pytest.raises(ConfigError, match=r"^X-Y: price .* is no whole number of ticks"):
        PairScale("X-Y", Decimal("0.1"), Decimal(1)).ticks([1.0, value, 2.0])
    with pytest.raises(ConfigError, match=r"^X-Y: price .* is no whole number of ticks"):
        PairScale("X-Y", Decimal("0.1"), Decimal(1)).tick_of(value)
    scale = PairScale("X-Y", Decimal("0.1"), Decimal(1))
    for _ in range(2):  # also where it was refused before
        with pytest.raises(ConfigError, match=r"^X-Y: price .* is no whole number of ticks"):
            scale.ticks_of([1.0, value, 2.0])


@pytest.mark.parametrize("step", [Decimal(0), Decimal(-1), Decimal("NaN"), Decimal("Infinity")])
def test_a_step_is_a_number_above_zero(step: Decimal) -> None:
    with pytest.raises(ConfigError, match=r"^X-Y: lot is .*, expected a number above 0, for instance lot=0\.1$"):
        PairScale("X-Y", Decimal(1), step)
