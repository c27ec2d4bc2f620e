"""Times and lengths of time as people write them, to whole nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from toolkit.errors import ConfigError

__all__ = ["duration_ns", "time_ns"]

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
