"""Kinds of values that several commands take."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import click

from toolkit.clock import NS_PER_S

__all__ = ["DurationSeconds", "UtcTime"]

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class DurationSeconds(click.ParamType[float]):
    """A length of time such as `90s`, `15m` or `1.5h`, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = _DURATION.fullmatch(str(value).strip())
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r} is no duration; expected such as 250ms, 90s, 15m, 1.5h or 7d", param, ctx)
        return float(match[1]) * _UNIT_S[match[2]]


class UtcTime(click.ParamType[int]):
    """A point in time, UTC unless it says otherwise, in nanoseconds since the Unix epoch."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            stamp = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time; expected such as 2026-11-22T13:34:05 (UTC)", param, ctx)
        stamp = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        return int(stamp.timestamp()) * NS_PER_S + stamp.microsecond * 1000
