"""
Times, lengths of time and speeds as people write them, exactly.

Whatever takes one in Python takes it in each of these forms: a whole number of ns (of any integer type), the objects of
Python, numpy and pandas, the command's text. Where a name ends in `_s`, and in `Clock.sleep`, a number is one of seconds.
"""

from __future__ import annotations

import re
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from math import isfinite
from operator import index
from typing import TYPE_CHECKING, Any, Final, SupportsIndex, TypeAlias

from toolkit.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "UNITS",
    "Instant",
    "Length",
    "Pace",
    "Seconds",
    "duration_ns",
    "instant_ns",
    "length_ns",
    "pace_of",
    "parse_speed",
    "seconds_of",
    "time_ns",
]

#: A point in time: ns since the Unix epoch, a datetime or date (without a zone: UTC; numpy's and pandas' too), or text such
#: as `2024-01-01T12:30:05.5Z`.
Instant: TypeAlias = "SupportsIndex | str | date | np.datetime64"
#: A length of time: ns, a timedelta (numpy's and pandas' too), or text such as `500ms`, `1.5h` or `1m`.
Length: TypeAlias = "SupportsIndex | str | timedelta | np.timedelta64"
#: A length of time where a number is one of seconds.
Seconds: TypeAlias = "float | str | timedelta | np.timedelta64"
#: A speed: how many times as fast as recorded, as a number or as text (`10x`, `0.5x`); None or `max`: as fast as possible.
Pace: TypeAlias = int | float | str | Fraction | None

#: The slowest and the fastest that a tape is played at: a microsecond in a second, and thirty years in one.
_SPEED_MIN, _SPEED_MAX = Fraction(1, 10**6), Fraction(10**9)

#: Seconds since the epoch within which a number can be meant as a time of a market: from September 2001 (a billion) to 2100.
_MODERN_S: Final = range(10**9, 4_102_444_800)
#: Tapes of real markets are later than this, ns; those that are not, made by hand, count from 0.
_EARLIEST_MARKET: Final = 10**17

#: Units of lengths of time, ns, the smallest first.
UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_TIME: Final = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?(Z|[+-]\d{2}:\d{2})?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def duration_ns(text: str) -> int:
    """
    Read a length of time such as `500ms`, `1s`, `1.5h` or `1d`.

    Returns:
        Nanoseconds, more than zero; what is less than one is cut off. Raises ConfigError for anything else: a number
        without a unit could be one of ns or of seconds.
    """
    match = re.fullmatch(r"(\d{1,15})(?:\.(\d{1,9}))?(ns|us|ms|s|m|h|d)", text.strip(), re.ASCII)
    length = 0
    if match is not None:
        whole, fraction, unit = match[1], match[2] or "", match[3]
        length = int(whole + fraction) * UNITS[unit] // 10 ** len(fraction)
    if not 0 < length < 2**62:
        raise ConfigError(f"{text!r} is no length of time; expected for instance 500ms, 1s, 5m, 1h or 1d")
    return length


def time_ns(text: str) -> int:
    """
    Read a point in time: `2024-01-01`, `2024-01-01T12:30`, `2024-01-01 12:30:05.123456789Z`, or ns since the epoch.

    Without a zone it is UTC. Nothing is rounded: all nine digits count.

    Returns:
        Nanoseconds since the Unix epoch. Raises ConfigError for anything else, with the unit that was probably meant for
        a number of s, ms or us.
    """
    text = text.strip()
    if re.fullmatch(r"\d{1,19}", text, re.ASCII) and (number := int(text)) < 2**63:
        _check_unit(number, "the time")
        if len(text) >= 16:
            return number
    if re.fullmatch(r"\d{1,19}\.\d{1,19}", text, re.ASCII):
        _check_unit(float(text), "the time")
    match = _TIME.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is no time; expected for instance 2024-01-01T12:30:05.5Z, or ns since the epoch")
    *fields, fraction, zone = match.groups()
    try:
        year, month, day, hour, minute, second = (int(field or 0) for field in fields)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=_zone(zone))
    except ValueError as exc:
        raise ConfigError(f"{text!r} is no time: {exc}") from None
    whole = (moment - _EPOCH) // timedelta(seconds=1)
    return whole * UNITS["s"] + int((fraction or "").ljust(9, "0"))


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    sign = -1 if text.startswith("-") else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))


def instant_ns(value: Instant, name: str = "the time", *, near_ns: int | None = None) -> int:
    """
    A point in time in ns since the Unix epoch.

    Args:
        value: Time in any form of `Instant`.
        name: Name of the value, for the error.
        near_ns: A time of the tape or clock that it is for, if there is one: on a tape made by hand, which begins at 0,
            small numbers are times.

    Raises ConfigError for anything else: a float cannot hold ns since the epoch, and a number that would be a day of 1970
    in ns but is a time since 2001 in s, ms or us was meant as one of these.
    """
    if isinstance(value, str):
        return time_ns(value)
    ns = _of_date(value) if isinstance(value, date) else _of_numpy(value, "datetime64")
    if ns is None and (ns := _whole(value)) is not None and (near_ns is None or near_ns >= _EARLIEST_MARKET):
        _check_unit(ns, name)
    if ns is None:
        if isinstance(value, float):
            _check_unit(value, name)
        raise ConfigError(
            f"{name} is {value!r}; expected ns since the epoch as an int, a datetime, or text such as 2024-01-01T12:30Z"
        )
    if not 0 <= ns < 2**63:
        raise ConfigError(
            f"{name} is {ns:,} ns, which is no time since the epoch; expected 0 or more, and less than 2**63"
        )
    return ns


def _check_unit(number: float, name: str) -> None:
    """
    Raise ConfigError for a time that is no time of a market in ns, but is one in s, ms or us.

    Silently taken for ns it would be a day of January 1970: a replay from there plays everything, one to there nothing.
    """
    for unit in ("s", "ms", "us"):
        per_s = UNITS["s"] // UNITS[unit]
        if _MODERN_S.start * per_s <= number < _MODERN_S.stop * per_s:
            ns = round(number * UNITS[unit])
            meant = (_EPOCH + timedelta(seconds=ns // UNITS["s"])).strftime("%Y-%m-%dT%H:%M:%S")
            raise ConfigError(
                f"{name} is {number}; expected ns since the epoch, and this looks like {unit}: "
                f"write {ns} if {meant}Z is meant"
            )


def length_ns(value: Length, name: str = "the length of time", *, zero: bool = False) -> int:
    """
    A length of time in ns, more than zero, or with `zero` that or zero.

    Raises ConfigError for anything else than the forms of `Length`.
    """
    if isinstance(value, str):
        return duration_ns(value)
    ns = _of_timedelta(value) if isinstance(value, timedelta) else _of_numpy(value, "timedelta64")
    if ns is None:
        ns = _whole(value)
    if ns is None:
        raise ConfigError(f"{name} is {value!r}; expected ns as an int, a timedelta, or text such as 500ms, 1s or 1m")
    if not (ns >= 0 if zero else ns > 0) or ns >= 2**62:
        least = "0 or more" if zero else "more than 0"
        raise ConfigError(f"{name} is {ns:,} ns; expected {least}, and less than a hundred years")
    return ns


def seconds_of(value: Seconds, name: str = "the length of time") -> float:
    """A length of time in seconds; a number is one already. Raises ConfigError for what is neither that nor a `Length`."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        if not isfinite(value):
            raise ConfigError(
                f"{name} is {value} s; expected a number of seconds, a timedelta, or text such as 500ms or 1m"
            )
        return value
    if isinstance(value, str | timedelta) or _of_numpy(value, "timedelta64") is not None:
        return length_ns(value, name, zero=True) / UNITS["s"]
    raise ConfigError(f"{name} is {value!r}; expected a number of seconds, a timedelta, or text such as 500ms or 1m")


def _of_date(value: date) -> int | None:
    """Of one of Python's or pandas'; None for pandas' time that is none."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value != value:  # pandas' NaT, which equals nothing
        return None
    moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    # A time of pandas counts ns beside Python's microseconds.
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000 + int(getattr(value, "nanosecond", 0))


def _of_timedelta(value: timedelta) -> int | None:
    if value != value:  # pandas' NaT
        return None
    return value // timedelta(microseconds=1) * 1000 + int(getattr(value, "nanoseconds", 0))


def _of_numpy(value: object, kind: str) -> int | None:
    """Of one of numpy's, exactly; None for anything else, for NaT, and for what ns cannot hold."""
    numpy: Any = sys.modules.get("numpy")  # who has one of its objects has loaded it
    if numpy is None or not isinstance(value, getattr(numpy, kind)):
        return None
    try:
        ns = value.astype(f"{kind}[ns]")
        is_exact = bool(ns == value)  # beyond the range it would come round silently
    except TypeError:  # months and years are no lengths
        return None
    return int(ns.astype(numpy.int64)) if is_exact else None


def pace_of(value: Pace) -> Fraction | None:
    """
    A speed as a fraction of the recorded pace; None for as fast as possible.

    Raises ConfigError for one that is not above 0, or beyond a millionth and a billion times.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return parse_speed(value)
    if not _is_number(value):
        raise _no_speed(value)
    return _bounded(Fraction(value), value)


def parse_speed(text: str) -> Fraction | None:
    """`max` (None), or how many times as fast as it was recorded: `1x`, `0.5x`, `1000`. Raises ConfigError."""
    if text == "max":
        return None
    # Digits are counted first: `1e99999999` is a number that takes minutes to write down.
    if not re.fullmatch(r"\d{1,12}(\.\d{1,12})?x?", text, re.ASCII):
        raise _no_speed(text)
    return _bounded(Fraction(text.removesuffix("x")), text)


def _whole(value: object) -> int | None:
    """A whole number of any integer type; None for anything else."""
    try:
        return index(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else None
    except TypeError:
        return None


def _is_number(value: object) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float | Fraction) and isfinite(value)
    )


def _bounded(speed: Fraction, given: object) -> Fraction:
    if not _SPEED_MIN <= speed <= _SPEED_MAX:
        raise _no_speed(given)
    return speed


def _no_speed(given: object) -> ConfigError:
    text = repr(given)
    text = text if len(text) <= 40 else f"{text[:40]}..."
    return ConfigError(
        f"{text} is no speed; expected max, or a number from 0.000001 to 1000000000 such as 1x, 0.5x or 100x"
    )
