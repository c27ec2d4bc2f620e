"""Tick, lot, least value and fees of a pair, and prices and sizes rounded to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, overload

from toolkit.errors import ConfigError
from toolkit.messages import Side

__all__ = ["PairRules", "whole_steps"]

#: What differs from a whole number of steps by a smaller share of itself is one: `0.1 + 0.2` is three times 0.1.
_ROUNDING: Final = Decimal("1e-12")


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRules:
    """
    What the venue asks of orders for a pair, as recorded up to now.

    Prices and sizes that come out of its functions are exactly those numbers that `buy` and `sell` take.

    Attributes:
        pair: Its name.
        tick: Least step of prices; the finest where it depends on the price (`tick_at`).
        size_step: Least step of sizes: the lot.
        min_notional: Least value of an order, quote currency; None where nothing is known of one.
        price_figures_max: Most significant figures of a price that is no whole number; None: no such rule.
        maker_fee: Share of the value that an execution of a resting order costs; below 0: a rebate.
        taker_fee: Fee of an order that takes, likewise.
        contract_value: Quote currency that one unit of size stands for, of an inverse contract; None: sizes are in base
            currency.
    """

    pair: str
    tick: Decimal
    size_step: Decimal
    min_notional: Decimal | None
    price_figures_max: int | None
    maker_fee: Decimal
    taker_fee: Decimal
    contract_value: Decimal | None = None

    def value_of_one(self, price: float) -> float:
        """What one unit of size is worth at a price, in quote currency."""
        return price if self.contract_value is None else float(self.contract_value)

    def tick_at(self, price: float) -> float:
        """The step of prices near a price. Raises ConfigError for no price."""
        return float(self._tick_near(_number(self.pair, "price", price)))

    def round_price(self, side: Side | str, price: float) -> float:
        """The next price that an order may have, away from the market: down for a buy, up for a sell."""
        value = _number(self.pair, "price", price)
        tick = self._tick_near(value)
        mode = ROUND_FLOOR if Side(side) is Side.BUY else ROUND_CEILING
        return float(whole_steps(value, tick, mode) * tick)

    def round_size(self, size: float) -> float:
        """The largest size that an order may have and is no larger; 0.0 where that is none."""
        value = _number(self.pair, "size", size)
        return float(whole_steps(value, self.size_step, ROUND_FLOOR) * self.size_step)

    def ticks_down(self, price: float, ticks: float = 1) -> float:
        """So many ticks below a price, rounded down to a tick."""
        value = _number(self.pair, "price", price)
        return self.round_price(Side.BUY, float(value - self._tick_near(value) * _number(self.pair, "ticks", ticks)))

    def ticks_up(self, price: float, ticks: float = 1) -> float:
        """So many ticks above a price, rounded up to a tick."""
        value = _number(self.pair, "price", price)
        return self.round_price(Side.SELL, float(value + self._tick_near(value) * _number(self.pair, "ticks", ticks)))

    def is_on_tick(self, price: float) -> bool:
        """Whether an order may have this price."""
        value = _number(self.pair, "price", price)
        return whole_steps(value, self._tick_near(value)) is not None

    def _tick_near(self, price: Decimal) -> Decimal:
        if self.price_figures_max is None or price <= 0:
            return self.tick
        # A whole number may have any number of figures.
        step = min(Decimal(1), Decimal(1).scaleb(price.adjusted() - self.price_figures_max + 1))
        return max(self.tick, step)


def _snapped(value: Decimal, step: Decimal) -> tuple[Decimal, bool]:
    ratio = value / step
    nearest = ratio.to_integral_value()
    return (nearest, True) if abs(ratio - nearest) <= abs(ratio) * _ROUNDING else (ratio, False)


@overload
def whole_steps(value: Decimal, step: Decimal) -> int | None: ...
@overload
def whole_steps(value: Decimal, step: Decimal, mode: str) -> int: ...
def whole_steps(value: Decimal, step: Decimal, mode: str | None = None) -> int | None:
    """How many steps a value is, but for the rounding of floats; rounded by a mode of `decimal`, without one None."""
    ratio, is_whole = _snapped(value, step)
    if not is_whole and mode is None:
        return None
    return int(ratio if is_whole else ratio.to_integral_value(mode))


def _number(pair: str, what: str, value: Any) -> Decimal:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{pair}: {what} is {value!r}, expected a finite number")
    return Decimal(repr(float(value)))
