"""
What a strategy hands over, checked before anything is done with it: all of it ends in the decision log.

The log is bytes that are equal live and replayed, so numbers have to fit it and texts have to be the same in every process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from operator import index
from typing import Any, Final

import numpy as np

from replay.strategy.pair_rules import PairRules
from replay.strategy.views import Gap, OwnOrder
from toolkit.errors import ConfigError

__all__ = ["COUNT_MAX", "checked_order", "noted", "time_ns_asked"]

#: Ticks, lots and times are int64 with room for sums; what is asked for stays below.
COUNT_MAX: Final = 2**61
#: Whose text is of their value alone. The text of anything else may name a place in memory, or have an order of its own.
_PLAIN: Final = (Decimal, Fraction, date, time, timedelta, OwnOrder, Gap, PairRules)
_INT64: Final = 2**63
#: A list in a list, and so on: deeper is none that a line of a log is made of.
_DEPTH_MAX: Final = 8


def noted(name: str, value: object, depth: int = 0) -> object:
    """
    A value of `ctx.log` as the decision log keeps it: itself, or its text.

    Raises ConfigError for a whole number that does not fit and for what has no text that is the same in every run.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | float | None):
        return value
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, int):
        return value if -_INT64 <= value < _INT64 else str(value)
    _check_plain(name, value, depth)
    return _text(name, str(value))


def _check_plain(name: str, value: object, depth: int) -> None:
    if depth < _DEPTH_MAX:
        if isinstance(value, Mapping):
            value = [*value.keys(), *value.values()]
        if isinstance(value, Sequence):
            for each in value:
                if not isinstance(each, str):
                    noted(name, each, depth + 1)
            return
    if not isinstance(value, _PLAIN):
        raise ConfigError(
            f"log: {name} is a {type(value).__name__}, which need not read alike in another run; expected numbers, text,"
            " lists of them, orders or positions"
        )


def _text(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"log: {name} is {text!r}, which is no text that can be written as UTF-8") from None
    return str(text)


def time_ns_asked(name: str, value: Any) -> int:
    """A point in time as a strategy gives it. Raises ConfigError for what is no whole number of ns, or none of our time."""
    try:
        if isinstance(value, bool):
            raise TypeError
        ns = index(value)
    except TypeError:
        ns = -1
    if not 0 <= ns < COUNT_MAX:
        raise ConfigError(f"{name} is {value!r}, expected whole ns since the epoch, for instance ctx.now_ns + 10**9")
    return ns


def checked_order(order: object) -> OwnOrder:
    """An order, as it came. Raises ConfigError for anything else."""
    if not isinstance(order, OwnOrder):
        raise ConfigError(f"found {order!r} in place of an order, expected what buy, sell, keep or ctx.orders gave")
    return order
