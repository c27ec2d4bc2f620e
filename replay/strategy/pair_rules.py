"""Tick, lot, least value and fees of a pair, and prices and sizes rounded to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from toolkit.errors import ConfigError
from toolkit.messages import Side

__all__ = ["PairRules"]


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
        taker_fee: Likewise, of an order that takes.
    """

    pair: str
    tick: Decimal
    size_step: Decimal
    min_notional: Decimal | None
    price_figures_max: int | None
    maker_fee: Decimal
    taker_fee: Decimal

    def tick_at(self, price: float) -> float:
        """The step of prices near a price. Raises ConfigError for no price."""
        return float(self._tick_near(_number(self.pair, "price", price)))

    def round_price(self, side: Side | str, price: float) -> float:
        """The next price that an order may have, away from the market: down for a buy, up for a sell."""
        value = _number(self.pair, "price", price)
        tick = self._tick_near(value)
        mode = ROUND_FLOOR if Side(side) is Side.BUY else ROUND_CEILING
        return float((value / tick).to_integral_value(mode) * tick)

    def round_size(self, size: float) -> float:
        """The largest size that an order may have and is no larger; 0.0 where that is none."""
        value = _number(self.pair, "size", size)
        return float((value / self.size_step).to_integral_value(ROUND_FLOOR) * self.size_step)

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
        return value % self._tick_near(value) == 0

    def _tick_near(self, price: Decimal) -> Decimal:
        if self.price_figures_max is None or price <= 0:
            return self.tick
        # A whole number may have any number of figures.
        step = min(Decimal(1), Decimal(1).scaleb(price.adjusted() - self.price_figures_max + 1))
        return max(self.tick, step)


def _number(pair: str, what: str, value: Any) -> Decimal:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{pair}: {what} is {value!r}, expected a finite number")
    return Decimal(repr(float(value)))
