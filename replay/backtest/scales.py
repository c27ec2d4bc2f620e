"""Prices and sizes as whole numbers of ticks and lots, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from toolkit.errors import ConfigError

__all__ = ["PairScale"]

#: Integers up to here are exact in a float64, and so is the quotient of two of them rounded once.
_EXACT: Final = 2.0**53


@dataclass(frozen=True, slots=True)
class PairScale:
    """
    Tick and lot of a pair.

    A price read from a decimal text is the float64 next to it; so is the quotient that a number of ticks gives back.
    The two are equal exactly where the price is on the tick.

    Attributes:
        pair: Its name, for messages.
        tick: Least step of prices.
        lot: Least step of sizes.
        figures: Most significant figures of an order's price, unless it is a whole number; None where there is no such
            rule. `tick` is then the finest there can be.

    Raises ConfigError where tick or lot is not positive.
    """

    pair: str
    tick: Decimal
    lot: Decimal
    figures: int | None = None

    def __post_init__(self) -> None:
        for name, step in (("tick", self.tick), ("lot", self.lot)):
            if not (step.is_finite() and step > 0):
                raise ConfigError(f"{self.pair}: {name} is {step}, expected a number above 0, for instance {name}=0.1")

    def ticks(self, prices: Sequence[float]) -> npt.NDArray[np.int64]:
        """Prices in ticks. Raises ConfigError for one that is off the tick."""
        return self._whole(prices, self.tick, "price", "tick")

    def lots(self, sizes: Sequence[float]) -> npt.NDArray[np.int64]:
        """Sizes in lots. Raises ConfigError for one that is no whole number of them."""
        return self._whole(sizes, self.lot, "size", "lot")

    def check_limit(self, ticks: int) -> None:
        """Raise ConfigError for a price of more figures than the venue takes an order at."""
        price = (self.tick * ticks).normalize()
        exponent = int(price.as_tuple().exponent)
        if self.figures is not None and exponent < 0 and len(price.as_tuple().digits) > self.figures:
            step = Decimal(1).scaleb(min(price.adjusted() - self.figures + 1, 0))
            raise ConfigError(
                f"{self.pair}: price {self.price(ticks)!r} is no whole number of ticks of {step:f}, which is the tick"
                f" there: the venue takes {self.figures} significant figures at most"
            )

    def price(self, ticks: int) -> float:
        """The price of a number of ticks."""
        return _value(ticks, self.tick)

    def size(self, lots: int) -> float:
        """The size of a number of lots."""
        return _value(lots, self.lot)

    def _whole(self, values: Sequence[float], step: Decimal, what: str, name: str) -> npt.NDArray[np.int64]:
        over, under = _ratio(step)
        given = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):  # what is no number is refused below
            counts = np.rint(given * (under / over))
            back = counts * float(over) / float(under)
            wrong = (back != given) | ~(np.abs(counts * over) < _EXACT)
        if wrong.any():
            value = float(given[int(np.argmax(wrong))])
            raise ConfigError(
                f"{self.pair}: {what} {value!r} is no whole number of {name}s of {step}{_advice(name, value)}"
            )
        return counts.astype(np.int64)


@cache
def _ratio(step: Decimal) -> tuple[int, int]:
    return step.as_integer_ratio()


def _value(count: int, step: Decimal) -> float:
    over, under = _ratio(step)
    return count * over / under


def _advice(name: str, value: float) -> str:
    """A step that the value is a whole number of, one in its last decimal; nothing where none would help."""
    if not abs(value) < _EXACT:
        return " below 2^53"
    exponent = int(Decimal(repr(value)).normalize().as_tuple().exponent)
    return f"; give a finer one, for instance --assume {name}={Decimal(1).scaleb(min(exponent, 0)):f}"
