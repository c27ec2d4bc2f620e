"""
Exact sums of what venues send as decimals.

A float64 that was read from a decimal of up to 15 significant digits prints as that decimal again (`repr` gives the
shortest text that reads back as the same number). So `exact` recovers the venue's text, and sums and products are
taken in decimal without rounding: a hundred thousand partial fills of 0.1 are 10000, and a fee comes out to the cent.
"""

from __future__ import annotations

import contextlib
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow
from math import isfinite
from typing import Final

from toolkit.errors import ConfigError

__all__ = ["ZERO", "decimal_of", "exact", "exact_product", "exact_ratio", "exact_sum"]

ZERO: Final = Decimal(0)

#: A product of two float64 has at most 34 significant digits, but sums span all exponents: 2,500 digits hold any of
#: them, cost nothing where they are not used, and `Inexact` says so if they ever did not.
_CONTEXT: Final = Context(prec=2500, traps=[Inexact, InvalidOperation, Overflow])


#: A quotient has no end; 28 digits are more than any price has.
_RATIO_CONTEXT: Final = Context(prec=28)


def exact(value: float) -> Decimal:
    """The shortest decimal that is this number. Raises ValueError for one that is not finite."""
    if not isfinite(value):
        raise ValueError(f"{value} has no decimal")
    return Decimal(repr(value))


def decimal_of(value: object, what: str) -> Decimal:
    """
    A number that somebody has written in Python, exactly: a float is the shortest decimal that it is.

    Args:
        value: Decimal, int, float or text is one.
        what: Name of the value, for errors.

    Raises ConfigError for what is no finite number.
    """
    if isinstance(value, Decimal | int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation):
            number = Decimal(repr(value) if isinstance(value, float) else value)
            if number.is_finite():
                return number
    raise ConfigError(f"{what} is {value!r}, expected a number")


def exact_sum(first: Decimal, second: Decimal) -> Decimal:
    """Their sum, without rounding."""
    return _CONTEXT.add(first, second)


def exact_product(first: Decimal, second: Decimal) -> Decimal:
    """Their product, without rounding."""
    return _CONTEXT.multiply(first, second)


def exact_ratio(first: Decimal, second: Decimal) -> Decimal:
    """The first by the second, to 28 digits."""
    return _RATIO_CONTEXT.divide(first, second)
