"""Times and lengths of time as people write them."""

from __future__ import annotations

import pytest

from toolkit.errors import ConfigError
from toolkit.times import duration_ns, time_ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1ns", 1),
        ("20us", 20_000),
        ("500ms", 5 * 10**8),
        ("1s", 10**9),
        ("5m", 3 * 10**11),
        ("1h", 36 * 10**11),
        ("1d", 864 * 10**11),
    ],
)
def test_a_length_is_read(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "1", "s", "0s", "-1s", "1.5s", "1 s", "1w", "99999999999999d"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^'.*' is no length of time; expected for instance 500ms, 1s, 5m, 1h or 1d$"
    ):
        duration_ns(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2024-01-01", 1704067200 * 10**9),
        ("2024-01-01T12:00", 1704110400 * 10**9),
        ("2024-01-01 12:00:00", 1704110400 * 10**9),
        ("2024-01-01T12:00:00.123456789Z", 1704110400123456789),
        ("2024-01-01T12:00:00.5+02:00", 1704103200500000000),
        ("2024-01-01T12:00:00-00:30", 1704112200 * 10**9),
        ("1704110400123456789", 1704110400123456789),
        ("1969-12-31T23:59:59.9Z", -100_000_000),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert time_ns(text) == ns


@pytest.mark.parametrize("text", ["", "noon", "2024-13-01", "2024-01-01T25:00", "2024-01-01T12", "12:00", "1704110400"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no time"):
        time_ns(text)
