"""The smallest price step of an instrument: what the venue's metadata says, or else what the prices show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.table_source import KEY

__all__ = ["TickRule", "infer_tick", "price_band", "tick_rules"]

Prices = npt.NDArray[np.float64]

#: More decimals than any venue quotes; prices that still do not fit are no decimals at all.
_DECIMALS_MAX: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRule:
    """
    How the smallest price step of one instrument follows from the price.

    Attributes:
        step: The step itself, in quote currency; None where it depends on the price.
        decimals_max: Most decimals of a price.
        figures_max: Most significant figures of a price; None: no such rule. Whole numbers are always allowed.
        source: Where it comes from.
    """

    step: float | None = None
    decimals_max: int | None = None
    figures_max: int | None = None
    source: Literal["instrument", "inferred"] = "instrument"

    def at(self, prices: Prices) -> Prices:
        """
        The step upwards from each price, in quote currency.

        With decimals and figures it is `max(10^-decimals, min(1, 10^(floor(log10(price)) - figures + 1)))`.
        """
        if self.step is not None:
            return np.full(len(prices), self.step)
        assert self.decimals_max is not None
        finest = 10.0**-self.decimals_max
        if self.figures_max is None:
            return np.full(len(prices), finest)
        return np.maximum(finest, np.minimum(1.0, _power_of_ten(_magnitude(prices) - self.figures_max + 1)))


def tick_rules(instruments: pl.LazyFrame) -> dict[tuple[str, str], TickRule]:
    """
    The rules that metadata gives, by (venue, symbol).

    Args:
        instruments: Rows of the table `instruments`; of several of one instrument the last holds. One that says
            neither `price_tick` nor `price_decimals_max` gives no rule.
    """
    columns = ("price_tick", "price_decimals_max", "price_figures_max")
    newest = instruments.group_by(*KEY, maintain_order=True).agg(pl.col(columns).last()).collect(engine="streaming")
    rules = {}
    for venue, symbol, tick, decimals, figures in newest.iter_rows():
        if tick is not None:
            rules[venue, symbol] = TickRule(step=tick)
        elif decimals is not None:
            rules[venue, symbol] = TickRule(decimals_max=decimals, figures_max=figures)
    return rules


def infer_tick(prices: Prices) -> TickRule | None:
    """
    Guess the step from prices that occurred.

    It is the greatest step that all differences between them are multiples of, on the coarsest decimal grid that holds
    them all. Few prices may show a step that is too large, never one that is too small. Where the venue's step
    depends on the price this is the finest of those seen.

    Args:
        prices: Prices in any order, such as the best bids and asks of a whole recording.

    Returns:
        The rule, or None where there is no price, or the prices are no decimals of up to twelve places.
    """
    prices = np.unique(prices)
    if not len(prices):
        return None
    for decimals in range(_DECIMALS_MAX + 1):
        scale = 10.0**decimals
        steps = np.rint(prices * scale)
        # Division rounds correctly, so a decimal that fits the grid comes back exactly.
        if np.array_equal(steps / scale, prices) and steps[-1] < 2**53:
            apart = int(np.gcd.reduce(np.diff(steps.astype(np.int64)), initial=0))
            return TickRule(step=(apart or 1) / scale, source="inferred")
    return None


def price_band(best: Prices) -> tuple[float, float]:
    """
    Between which prices to look for the step of an instrument.

    From half the lowest to twice the highest of the best prices, but not beyond the powers of ten around them: where
    the step depends on the price, it changes there.
    """
    extremes = np.array([best.min(), best.max()])
    low, high = _magnitude(extremes)
    return max(extremes[0] / 2, float(f"1e{low}")), min(extremes[1] * 2, float(f"1e{high + 1}"))


def _magnitude(prices: Prices) -> npt.NDArray[np.int64]:
    powers = np.floor(np.log10(prices)).astype(np.int64)
    # log10 may be off by one unit in the last place, so a power of ten may land on either side of itself.
    powers += prices >= _power_of_ten(powers + 1)
    powers -= prices < _power_of_ten(powers)
    return powers


def _power_of_ten(exponents: npt.NDArray[np.int64]) -> Prices:
    # Of the decimal texts, which are exact where a power computed in floating point may not be.
    distinct, where = np.unique(exponents, return_inverse=True)
    powers: Prices = np.array([float(f"1e{exponent}") for exponent in distinct], dtype=np.float64)[where]
    return powers
