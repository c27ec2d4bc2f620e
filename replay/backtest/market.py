"""
One market of a simulated exchange: tick, lot and least value of orders, as they are recorded at that time.

Prices and sizes are whole numbers of the grid (`scale`), the finest tick and lot there have been. A venue that makes its
tick coarser leaves the grid as it is, and refuses orders between its ticks; the exchange widens the grid for a finer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from math import gcd, isfinite
from typing import Final

from replay.backtest.scales import PairScale
from toolkit.accounts.exact_sums import exact
from toolkit.errors import ConfigError
from toolkit.keys import PairKey
from toolkit.messages import Instrument

__all__ = ["Assumed", "Market", "MarketRules", "said_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """
    What is given for a market in place of what its recording says, or does not.

    Attributes:
        tick: Least step of prices.
        lot: Least step of sizes.
        min_notional: Least value of an order, quote currency.
        contract_value: Quote currency that one contract stands for, of inverse contracts.
    """

    tick: Decimal | None = None
    lot: Decimal | None = None
    min_notional: Decimal | None = None
    contract_value: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRules:
    """
    What the venue asks of an order at a time.

    Attributes:
        tick: Least step of prices, of which there may be `figures`.
        lot: Least step of sizes.
        min_notional: Least value of an order in quote currency; None where nothing is known of one.
        figures: Most significant figures of a price that is no whole number; None: no such rule.
        ticks: How many steps of the grid one tick is.
        lots: How many steps of the grid one lot is.
        is_active: Whether the venue takes orders.
    """

    tick: Decimal
    lot: Decimal
    min_notional: Decimal | None
    figures: int | None
    ticks: int
    lots: int
    is_active: bool = True


@dataclass(slots=True)
class Market:
    """
    A pair on which orders can be placed.

    Attributes:
        key: Venue and trading pair.
        assumed: Rules given by the user, in place of the recording's.
        scale: The grid; None until tick and lot are known. Where one is given its steps are the rules until the recording
            says others.
        contract_value: Quote currency that one unit of size stands for, of inverse contracts; else None.
        heard_finer: Called once the grid has become finer: what counts in its steps has to count again.
    """

    key: PairKey
    assumed: Assumed = field(default_factory=Assumed)
    scale: PairScale | None = None
    contract_value: Decimal | None = None
    heard_finer: Callable[[], None] | None = None
    _rules: MarketRules | None = None

    def __post_init__(self) -> None:
        self.contract_value = self.assumed.contract_value or self.contract_value
        if self.assumed.tick is not None and self.assumed.lot is not None:
            self._set(self.assumed.tick, self.assumed.lot, None, None, is_active=True)
        elif self.scale is not None:
            self._set(self.scale.tick, self.scale.lot, None, self.scale.figures, is_active=True)

    def rules_at(self) -> MarketRules | None:
        """The rules in force, as recorded up to now; None while tick or lot are not known."""
        return self._rules

    def take(self, instrument: Instrument) -> bool:
        """
        Hear what the venue says of the pair.

        Returns:
            Whether the grid has become another: what was counted in steps of the one before has to be counted again.
        """
        self.contract_value = self.assumed.contract_value or _decimal(instrument.contract_value)
        tick, lot, figures = said_of(instrument)
        if self.assumed.tick is not None:
            tick, figures = self.assumed.tick, None
        lot = self.assumed.lot or lot
        if tick is None or lot is None:
            return False
        return self._set(tick, lot, _decimal(instrument.min_notional), figures, is_active=instrument.is_active)

    def refine(self, prices: Iterable[float], sizes: Iterable[float]) -> tuple[int, int] | None:
        """
        Make the grid as fine as recorded prices and sizes are; what the venue asks of orders stays what it is.

        Returns:
            How many new ticks and lots an old one is; None where that would be no grid, and nothing is changed.
        """
        before, rules = self.scale, self._rules
        if before is None or rules is None:
            return None
        steps = []
        for step, values in ((before.tick, prices), (before.lot, sizes)):
            fine = step
            known = {exact(value) for value in values if isfinite(value) and value > 0}
            # One after the other, the coarsest first: how many come at a time is of no consequence.
            for value in sorted(known, key=_decimals):
                finer = _common(fine, value)
                if finer * _REFINED_MOST < fine:
                    return None
                fine = finer
            steps.append(fine)
        tick, lot = steps
        self.scale = replace(before, tick=tick, lot=lot)
        self._rules = replace(rules, ticks=_steps(rules.tick, tick), lots=_steps(rules.lot, lot))
        if self.heard_finer is not None:
            self.heard_finer()
        return _steps(before.tick, tick), _steps(before.lot, lot)

    def follow(self, other: Market) -> None:
        """Take on the grid of another market of the same pair, which has seen a finer price."""
        rules, scale = self._rules, other.scale
        self.scale = scale
        if rules is not None and scale is not None:
            self._rules = replace(rules, ticks=_steps(rules.tick, scale.tick), lots=_steps(rules.lot, scale.lot))
        if self.heard_finer is not None:
            self.heard_finer()

    def _set(
        self, tick: Decimal, lot: Decimal, min_notional: Decimal | None, figures: int | None, *, is_active: bool
    ) -> bool:
        before = self.scale
        # Of one form, however it was written and how often it was said: a result shows it.
        grid_tick = _common(tick if before is None else before.tick, tick)
        grid_lot = _common(lot if before is None else before.lot, lot)
        self.scale = PairScale(self.key.trading_pair, grid_tick, grid_lot, figures)
        self._rules = MarketRules(
            tick=tick,
            lot=lot,
            min_notional=self.assumed.min_notional if self.assumed.min_notional is not None else min_notional,
            figures=figures,
            ticks=_steps(tick, grid_tick),
            lots=_steps(lot, grid_lot),
            is_active=is_active,
        )
        return before is None or (before.tick, before.lot) != (grid_tick, grid_lot)


def said_of(instrument: Instrument) -> tuple[Decimal | None, Decimal | None, int | None]:
    """
    Tick, lot and most figures of a price, as the venue says them; None for what it does not.

    Where the tick depends on the price it is the finest that there can be, and the figures say by which rule.
    """
    lot = _decimal(instrument.size_step)
    if instrument.price_tick is not None:
        return _decimal(instrument.price_tick), lot, None
    most = instrument.price_decimals_max
    return None if most is None else Decimal(1).scaleb(-most), lot, instrument.price_figures_max


def _decimal(value: float | None) -> Decimal | None:
    """A step or a bound as its decimal; None where there is none, or it is none (0)."""
    return exact(value) if value is not None and value > 0 else None


_TEN: Final = 10
#: A price that needs a grid finer by more than this is no price on any grid.
_REFINED_MOST: Final = 10_000


def _decimals(value: Decimal) -> tuple[int, Decimal]:
    """How many decimals it has, then itself: an order that depends on the values alone."""
    return -int(value.normalize().as_tuple().exponent), value


def _common(first: Decimal, second: Decimal) -> Decimal:
    """The largest step of which both are whole numbers."""
    a, b = Fraction(first), Fraction(second)
    step = Fraction(gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)
    digits = 0
    while (step * _TEN**digits).denominator != 1:
        digits += 1
    return Decimal(int(step * _TEN**digits)).scaleb(-digits)


def _steps(step: Decimal, grid: Decimal) -> int:
    ratio = Fraction(step) / Fraction(grid)
    if ratio.denominator != 1:
        raise ConfigError(f"{step} is no whole number of steps of {grid}")
    return ratio.numerator
