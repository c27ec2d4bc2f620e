from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.format.imprecise_decimals import EXACT_DIGITS, count_imprecise, imprecise_decimals


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('["123456789012345"]', 0),
        ('["1234567890123456"]', 1),
        ('["-1234567890.123456"]', 1),
        ('["000000000000000000000.5"]', 0),  # zeros before and after are no digits
        ('["0.5000000000000000000"]', 0),
        ('["0.1234567890123456", "0.12345678901234567"]', 2),
        ("[1234567890123456789]", 0),  # a number without quotes is an id
        ('["0x1234567890123456789"]', 0),
    ],
)
def test_digits_that_count_are_the_significant_ones(text: str, count: int) -> None:
    assert imprecise_decimals(text.encode()) == count
    assert count_imprecise(pa.array([text, None, text])) == 2 * count


@given(st.integers(1, 10**18), st.integers(0, 18))
def test_what_is_not_counted_comes_back_from_a_float(number: int, places: int) -> None:
    text = f"{number}".rjust(places + 1, "0")
    text = f"{text[: len(text) - places]}.{text[len(text) - places :]}" if places else text
    if not imprecise_decimals(f'"{text}"'.encode()):
        assert len(str(number).rstrip("0")) <= EXACT_DIGITS
        assert f"{float(text):.{places}f}" == text
    else:
        assert len(str(number).rstrip("0")) > EXACT_DIGITS
