"""Limits of risk: what a strategy cannot send, in paper and backtest alike. They are checked before a request leaves."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError

__all__ = ["RequestRate", "RiskLimits", "parse_limits"]

#: Names of limits as they are written, and their fields.
_NAMES: Final = {
    "order_size": "order_size_max",
    "position": "position_max",
    "loss": "loss_max",
    "orders_per_s": "orders_per_s_max",
}
_NUMBER: Final = re.compile(r"\d{1,18}(\.\d{1,18})?", re.ASCII)


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a run may do at most; None: whatever it likes.

    A request beyond a limit is not sent: its order ends as `failed`, with the limit as its reason. Orders that can only
    reduce a position (`reduce_only`) pass the limits of position and loss.

    Attributes:
        order_size_max: Size of one order.
        position_max: Size of the position of one pair, either way, if all open orders on that side were filled.
        loss_max: Equity below that of the start, in the currency of settlement; reached, all orders are cancelled and
            none is sent any more. Each currency counts alone.
        orders_per_s_max: Orders and amendments sent within any second.

    Raises ConfigError for a number that is not above 0.
    """

    order_size_max: Decimal | None = None
    position_max: Decimal | None = None
    loss_max: Decimal | None = None
    orders_per_s_max: int | None = None

    def __post_init__(self) -> None:
        for name in _NAMES.values():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value}, expected a number above 0")


def parse_limits(given: Mapping[str, str]) -> RiskLimits:
    """
    Limits as they are written on a command line: `{"position": "0.5", "orders_per_s": "10"}`.

    Raises ConfigError for a name that is none, or no number above 0.
    """
    values: dict[str, Decimal | int] = {}
    for name, text in given.items():
        if name not in _NAMES:
            raise ConfigError(f"no limit {name!r}, expected one of {', '.join(_NAMES)}")
        if not _NUMBER.fullmatch(text) or (name == "orders_per_s" and "." in text):
            kind = "a whole number" if name == "orders_per_s" else "a number"
            raise ConfigError(f"limit {name} is {text!r}, expected {kind} above 0, for instance {name}=10")
        values[_NAMES[name]] = int(text) if name == "orders_per_s" else Decimal(text)
    return msgspec.convert(values, RiskLimits)


class RequestRate:
    """
    Counts requests within the last second.

    Args:
        most: How many there may be.
    """

    __slots__ = ("_most", "_times")

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: deque[int] = deque()

    def takes(self, now_ns: int) -> bool:
        """Whether there is room for one more; then it counts."""
        times = self._times
        while times and times[0] <= now_ns - NS_PER_S:
            times.popleft()
        if len(times) >= self._most:
            return False
        times.append(now_ns)
        return True
