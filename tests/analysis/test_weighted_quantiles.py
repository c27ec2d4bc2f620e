"""Means and quantiles weighted by time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.weighted_quantiles import weighted_mean, weighted_quantiles
from tests.analysis import reference

pairs = st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 1000)), max_size=30)


@given(pairs, st.integers(1, 100))
def test_quantiles_are_those_of_the_reference(weighted: list[tuple[int, int]], percent: int) -> None:
    values = np.array([value for value, _ in weighted], dtype=np.float64)
    lengths = np.array([length for _, length in weighted], dtype=np.int64)
    expected = reference.quantile([(Fraction(value), length) for value, length in weighted if length], percent)
    found = weighted_quantiles(values, lengths, (percent,))
    assert found == (None if expected is None else [float(expected)])


@given(pairs)
def test_means_are_those_of_the_reference(weighted: list[tuple[int, int]]) -> None:
    values = np.array([value for value, _ in weighted], dtype=np.float64)
    lengths = np.array([length for _, length in weighted], dtype=np.int64)
    expected = reference.mean([(Fraction(value), length) for value, length in weighted])
    assert weighted_mean(values, lengths) == (None if expected is None else pytest.approx(float(expected)))


def test_a_century_of_nanoseconds_does_not_overflow() -> None:
    """100 * 3e18 would not fit into 64 bits."""
    values, lengths = np.array([1.0, 2.0]), np.array([3 * 10**18, 10**16])
    assert weighted_quantiles(values, lengths, (99, 100)) == [1.0, 2.0]


def test_rounding_never_takes_a_mean_beyond_the_values() -> None:
    values = np.full(7, 0.1)
    assert weighted_mean(values, np.array([3, 1, 7, 11, 13, 1, 1])) == 0.1
