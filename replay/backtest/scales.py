"""Prices and sizes as whole numbers of ticks and lots, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Final, NoReturn

import numpy as np
import numpy.typing as npt

from toolkit.books.orderbook import OrderBookEntry
from toolkit.errors import ConfigError

__all__ = ["PairScale"]

#: Integers up to here are exact in a float64, and so is the quotient of two of them rounded once.
_EXACT: Final = 2.0**53
#: Values of which the steps are kept.
_KEPT: Final = 65_536


class _Counted(dict[float, int]):
    """Values in steps, counted once each: prices and sizes of a market come again and again."""

    __slots__ = ("_count",)

    def __init__(self, count: Callable[[float], int]) -> None:
        super().__init__()
        self._count = count

    def __missing__(self, value: float) -> int:
        if len(self) >= _KEPT:
            self.clear()
        count = self[value] = self._count(value)
        return count


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
    #: Of each step numerator and denominator, and how many there are in 1.
    _tick: tuple[int, int, float] = field(init=False, repr=False, compare=False)
    _lot: tuple[int, int, float] = field(init=False, repr=False, compare=False)
    _ticks: _Counted = field(init=False, repr=False, compare=False)
    _lots: _Counted = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, step in (("tick", self.tick), ("lot", self.lot)):
            if not (step.is_finite() and step > 0):
                raise ConfigError(f"{self.pair}: {name} is {step}, expected a number above 0, for instance {name}=0.1")
            over, under = step.as_integer_ratio()
            object.__setattr__(self, f"_{name}", (over, under, under / over))
        object.__setattr__(self, "_ticks", _Counted(self.tick_of))
        object.__setattr__(self, "_lots", _Counted(self.lots_of))

    @property
    def tick_ratio(self) -> tuple[int, int]:
        """The tick as numerator and denominator."""
        return self._tick[:2]

    @property
    def lot_ratio(self) -> tuple[int, int]:
        """The lot likewise."""
        return self._lot[:2]

    def ticks(self, prices: Sequence[float]) -> npt.NDArray[np.int64]:
        """Prices in ticks. Raises ConfigError for one that is off the tick."""
        counts = _whole(prices, *self._tick)
        if counts is None:
            self._refuse(prices, self.tick, "price", "tick")
        return counts

    def lots(self, sizes: Sequence[float]) -> npt.NDArray[np.int64]:
        """Sizes in lots. Raises ConfigError for one that is no whole number of them."""
        counts = _whole(sizes, *self._lot)
        if counts is None:
            self._refuse(sizes, self.lot, "size", "lot")
        return counts

    def ticks_of(self, prices: Sequence[float]) -> list[int]:
        """The same as `ticks`, for the prices of one message: faster where most were there before."""
        return list(map(self._ticks.__getitem__, prices))

    def lots_of_all(self, sizes: Sequence[float]) -> list[int]:
        """The same as `lots`, for the sizes of one message."""
        return list(map(self._lots.__getitem__, sizes))

    def tick_of(self, price: float) -> int:
        """A price in ticks. Raises ConfigError for one that is off the tick."""
        over, under, per_unit = self._tick
        try:
            count = round(price * per_unit)
        except (ValueError, OverflowError):
            return int(self.ticks([price])[0])  # which raises
        return count if count * over / under == price and abs(count * over) < _EXACT else int(self.ticks([price])[0])

    def lots_of(self, size: float) -> int:
        """A size in lots. Raises ConfigError for one that is no whole number of them."""
        over, under, per_unit = self._lot
        try:
            count = round(size * per_unit)
        except (ValueError, OverflowError):
            return int(self.lots([size])[0])
        return count if count * over / under == size and abs(count * over) < _EXACT else int(self.lots([size])[0])

    def level_of(self, level: OrderBookEntry | None) -> tuple[int | None, int]:
        """A level of a book in ticks and lots; `(None, 0)` where there is none."""
        return (None, 0) if level is None else (self.tick_of(level.price), self.lots_of(level.size))

    def has_figures(self, ticks: int) -> bool:
        """Whether a price has no more figures than the venue takes an order at."""
        if self.figures is None:
            return True
        price = (self.tick * ticks).normalize()
        return int(price.as_tuple().exponent) >= 0 or len(price.as_tuple().digits) <= self.figures

    def check_limit(self, ticks: int) -> None:
        """Raise ConfigError for a price of more figures than the venue takes an order at."""
        if self.figures is not None and not self.has_figures(ticks):
            price = self.tick * ticks
            step = Decimal(1).scaleb(min(price.adjusted() - self.figures + 1, 0))
            raise ConfigError(
                f"{self.pair}: price {self.price(ticks)!r} is no whole number of ticks of {step:f}, which is the tick"
                f" there: the venue takes {self.figures} significant figures at most"
            )

    def price(self, ticks: int) -> float:
        """The price of a number of ticks."""
        return ticks * self._tick[0] / self._tick[1]

    def size(self, lots: int) -> float:
        """The size of a number of lots."""
        return lots * self._lot[0] / self._lot[1]

    def _refuse(self, values: Sequence[float], step: Decimal, what: str, name: str) -> NoReturn:
        """Raise ConfigError for the first value that is no whole number of steps."""
        over, under = _ratio(step)
        given = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            counts = np.rint(given * (under / over))
            wrong = (counts * float(over) / float(under) != given) | ~(np.abs(counts * over) < _EXACT)
        value = float(given[int(np.argmax(wrong))])
        raise ConfigError(
            f"{self.pair}: {what} {value!r} is no whole number of {name}s of {step}{_advice(name, value)}"
        )


def _whole(values: Sequence[float], over: int, under: int, per_unit: float) -> npt.NDArray[np.int64] | None:
    """Values in steps of `over / under`; None where one is no whole number of them, or too many."""
    most = _EXACT / under
    # Looked at first, so that nothing below leaves the numbers there are: what is no number equals nothing.
    if len(values) and not -most < max(values) < most:
        return None
    given = np.array(values, np.float64)
    counts = np.rint(given * per_unit)
    back = counts * over / under if over != 1 else counts / under
    if not (back == given).all() or (len(values) and min(values) <= -most):
        return None
    return counts.astype(np.int64)


@cache
def _ratio(step: Decimal) -> tuple[int, int]:
    return step.as_integer_ratio()


def _advice(name: str, value: float) -> str:
    """A step that the value is a whole number of, one in its last decimal; nothing where none would help."""
    if not abs(value) < _EXACT:
        return " below 2^53"
    exponent = int(Decimal(repr(value)).normalize().as_tuple().exponent)
    return f"; give a finer one, for instance --assume {name}={Decimal(1).scaleb(min(exponent, 0)):f}"
