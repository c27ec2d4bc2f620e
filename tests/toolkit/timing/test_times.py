"""Times and lengths of time as people write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from replay.clock import ReplayClock
from replay.follow import FollowDataSource
from toolkit.clock import ManualClock
from toolkit.errors import ConfigError
from toolkit.timing.times import duration_ns, instant_ns, length_ns, seconds_of, time_ns

#: 2024-01-01T00:00:00Z.
NEW_YEAR = 1_704_067_200 * 10**9


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
        ("1.5h", 54 * 10**11),
        ("0.000000001s", 1),
    ],
)
def test_a_length_is_read(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "1", "s", "0s", "-1s", "1.s", ".5s", "0.1ns", "1 s", "1w", "99999999999999d"])
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


@pytest.mark.parametrize(
    "text", ["", "noon", "2024-13-01", "2024-01-01T25:00", "2024-01-01T12", "12:00", "1", "99999999999999999999"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no time"):
        time_ns(text)


#: Later than every time of the tests.
LATER = 1_800_000_000 * 10**9


@pytest.mark.parametrize(
    "read",
    [
        instant_ns,
        lambda when: ReplayClock(LATER).call_at(when, print),
        lambda when: ManualClock(LATER).call_every("1s", print, first_ns=when),
        lambda when: FollowDataSource("tape", start_ns=when),
    ],
)
@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (1_704_067_200, "s"),
        (1_704_067_200.75, "s"),
        (1_704_067_200_123, "ms"),
        (np.int64(1_704_067_200_123), "ms"),
        (1_704_067_200_123_456, "us"),
        ("1704067200", "s"),
        ("1704067200.25", "s"),
        ("1704067200123", "ms"),
        (" 1704067200123456 ", "us"),
    ],
    ids=repr,
)
def test_a_time_in_another_unit_is_refused_with_the_unit_that_was_meant(
    read: Callable[[Any], object], value: Any, unit: str
) -> None:
    """As ns it would be a day of January 1970: before any tape, or nothing."""
    meant = r"write 1704067200\d{9} if 2024-01-01T00:00:00Z is meant"
    with pytest.raises(ConfigError, match=rf"; expected ns since the epoch, and this looks like {unit}: {meant}$"):
        read(value)


@pytest.mark.parametrize("ns", [0, 1, 10**9 - 1, 5 * 10**9, 10**12 - 1, 10**17, 10**18, 2**63 - 1])
def test_a_time_that_no_other_unit_explains_is_taken_as_it_is(ns: int) -> None:
    assert instant_ns(ns) == ns


def test_on_a_tape_that_begins_at_0_small_numbers_are_times() -> None:
    assert instant_ns(2 * 10**9, near_ns=5 * 10**9) == 2 * 10**9
    clock = ManualClock(10**9)
    assert clock.call_at(2 * 10**9, print).when_ns == 2 * 10**9


class FinerTime(datetime):
    """As a time of pandas: a datetime with ns beside its microseconds."""

    nanosecond = 789


class FinerLength(timedelta):
    """As a length of time of pandas."""

    nanoseconds = 789


class NoTime(datetime):
    """As pandas' NaT, which equals nothing."""

    __hash__ = datetime.__hash__

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (NEW_YEAR, NEW_YEAR),
        (np.int64(NEW_YEAR), NEW_YEAR),
        ("2024-01-01", NEW_YEAR),
        (date(2024, 1, 1), NEW_YEAR),
        (datetime(2024, 1, 1), NEW_YEAR),  # noqa: DTZ001  # UTC, as it says nothing else
        (datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC), NEW_YEAR + 1000),
        (FinerTime(2024, 1, 1, 0, 0, 0, 1), NEW_YEAR + 1789),
        (np.datetime64("2024-01-01"), NEW_YEAR),
        (np.datetime64("2024-01-01T00:00:00.123456789"), NEW_YEAR + 123_456_789),
    ],
)
def test_a_time_is_taken_in_every_form(value: Any, ns: int) -> None:
    assert instant_ns(value) == ns


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (1, 1),
        (np.uint32(7), 7),
        ("1.5s", 1_500_000_000),
        (timedelta(microseconds=1), 1000),
        (FinerLength(microseconds=1), 1789),
        (np.timedelta64(1500, "ms"), 1_500_000_000),
    ],
)
def test_a_length_is_taken_in_every_form(value: Any, ns: int) -> None:
    assert length_ns(value) == ns
    if not isinstance(value, int | np.integer) or isinstance(value, np.timedelta64):
        assert seconds_of(value) == ns / 10**9


def test_a_number_of_seconds_stays_one() -> None:
    assert [seconds_of(value) for value in (0, 0.25, -1)] == [0, 0.25, -1]


@pytest.mark.parametrize("read", [instant_ns, length_ns, seconds_of])
@pytest.mark.parametrize(
    "value",
    [
        True,
        None,
        float("nan"),
        float("inf"),
        np.datetime64("NaT"),
        np.timedelta64("NaT"),
        NoTime(2024, 1, 1),
        np.bool_(True),
        [1],
        "soon",
        "",
    ],
    ids=repr,
)
def test_what_is_neither_a_time_nor_a_length_is_one_clear_error(read: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(ConfigError, match=r"is no|expected"):
        read(value)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (instant_ns, -1),
        (instant_ns, 2**63),
        (instant_ns, 1.5),
        (instant_ns, np.float64(1.0)),
        (instant_ns, np.datetime64("30000-01-01")),  # as ns it would come round to 1941
        (instant_ns, timedelta(seconds=1)),
        (length_ns, 0),
        (length_ns, timedelta(0)),
        (length_ns, -1),
        (length_ns, np.timedelta64(400, "Y")),
        (length_ns, datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_no_time_or_length_can_be_is_refused(read: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected"):
        read(value)
