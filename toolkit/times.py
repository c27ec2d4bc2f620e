"""
Times, lengths of time and speeds as people write them, exactly.

Whatever takes one in Python takes it in each of these forms: a number of ns, Python's own object, the command's text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from math import isfinite
from typing import Final

from toolkit.errors import ConfigError

__all__ = ["Instant", "Length", "Pace", "duration_ns", "instant_ns", "length_ns", "pace_of", "parse_speed", "time_ns"]

#: A point in time: ns since the Unix epoch, a datetime (without a zone: UTC), or text such as `2024-01-01T12:30:05.5Z`.
Instant = int | str | datetime
#: A length of time: ns, a timedelta, or text such as `500ms` or `1m`.
Length = int | str | timedelta
#: A speed: how many times as fast as recorded, as a number or as text (`10x`, `0.5x`); None or `max`: as fast as possible.
Pace = int | float | str | Fraction | None

#: The slowest and the fastest that a tape is played at: a microsecond in a second, and thirty years in one.
_SPEED_MIN, _SPEED_MAX = Fraction(1, 10**6), Fraction(10**9)

_UNITS: Final = {
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
    Read a length of time such as `500ms`, `1s`, `5m`, `1h` or `1d`.

    Returns:
        Nanoseconds, more than zero. Raises ConfigError for anything else.
    """
    match = re.fullmatch(r"(\d{1,15})(ns|us|ms|s|m|h|d)", text.strip())
    length = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < length < 2**62:
        raise ConfigError(f"{text!r} is no length of time; expected for instance 500ms, 1s, 5m, 1h or 1d")
    return length


def time_ns(text: str) -> int:
    """
    Read a point in time: `2024-01-01`, `2024-01-01T12:30`, `2024-01-01 12:30:05.123456789Z`, or ns since the epoch.

    Without a zone it is UTC. Nothing is rounded: all nine digits count.

    Returns:
        Nanoseconds since the Unix epoch. Raises ConfigError for anything else.
    """
    text = text.strip()
    if re.fullmatch(r"\d{16,19}", text):
        return int(text)
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
    return whole * _UNITS["s"] + int((fraction or "").ljust(9, "0"))


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return UTC
    sign = -1 if text.startswith("-") else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))


def instant_ns(value: Instant, name: str = "the time") -> int:
    """
    A point in time in ns since the Unix epoch.

    Args:
        value: In any form of `Instant`.
        name: What it is, for the error.

    Raises ConfigError for anything else: a float cannot hold ns since the epoch.
    """
    if isinstance(value, str):
        return time_ns(value)
    if isinstance(value, datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000
    if not _is_whole(value):
        raise ConfigError(
            f"{name} is {value!r}; expected ns since the epoch as an int, a datetime, or text such as 2024-01-01T12:30Z"
        )
    if not 0 <= value < 2**63:
        raise ConfigError(
            f"{name} is {value:,} ns, which is no time since the epoch; expected 0 or more, and less than 2**63"
        )
    return value


def length_ns(value: Length, name: str = "the length of time") -> int:
    """
    A length of time in ns, more than zero.

    Raises ConfigError for anything else than the forms of `Length`.
    """
    if isinstance(value, str):
        return duration_ns(value)
    if isinstance(value, timedelta):
        value = value // timedelta(microseconds=1) * 1000
    if not _is_whole(value):
        raise ConfigError(f"{name} is {value!r}; expected ns as an int, a timedelta, or text such as 500ms, 1s or 1m")
    if not 0 < value < 2**62:
        raise ConfigError(f"{name} is {value:,} ns; expected more than 0, and less than a hundred years")
    return value


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


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float | Fraction) and isfinite(value))


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
