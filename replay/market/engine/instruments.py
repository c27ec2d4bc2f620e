"""
What the engine has to know of an instrument: how prices and sizes are counted, and what a trade in it moves.

Prices and sizes are integers everywhere: a price counts units of ``10 ** -px_decimals``, a size lots of
``10 ** -sz_decimals``. They become text where a venue writes them, so nothing is ever rounded.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Instrument", "Kind"]


class Kind(enum.Enum):
    """What a trade moves."""

    #: A position, with margin and funding.
    PERPETUAL = "perpetual"
    #: Two balances.
    SPOT = "spot"
    #: One side of a question whose answer is worth 1; the other side's book is this one upside down.
    OUTCOME = "outcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """
    One instrument.

    Attributes:
        symbol: Name of it in the market.
        kind: Kind of what a trade in it moves.
        px_decimals: Most decimals that a price may have; one price unit is ``10 ** -px_decimals``.
        sz_decimals: Decimals of a size; one lot is ``10 ** -sz_decimals``.
        figures: Significant figures that a price may have; whole numbers may always have more.
        max_leverage: Highest leverage of a perpetual.
        pool: Margin account that a perpetual is traded from, "" for the first one; empty for what has no margin.
        mirror: Symbol of an outcome's other side.
        base_name: Token that is bought; empty for a perpetual.
        quote_name: Token that is paid; the collateral of a perpetual.
        origin: Seed of its ids and numbers, where that is not its symbol.
    """

    symbol: str
    kind: Kind
    px_decimals: int
    sz_decimals: int
    figures: int = 5
    max_leverage: int = 10
    pool: str = ""
    mirror: str | None = None
    base_name: str = ""
    quote_name: str = "USDC"
    origin: str = ""

    @property
    def key(self) -> str:
        """What ids and seeded numbers of it are derived from."""
        return self.origin or self.symbol

    @property
    def one(self) -> int:
        """The price 1.0 in price units."""
        one: int = 10**self.px_decimals
        return one

    @property
    def lots_per_unit(self) -> int:
        """Lots in one unit of the base currency."""
        lots: int = 10**self.sz_decimals
        return lots

    def tick(self, px: int) -> int:
        """Smallest step between valid prices around `px`, both in price units."""
        digits = len(str(px))
        step: int = 10 ** max(0, digits - self.figures)
        return min(step, self.one)

    def is_valid_px(self, px: int) -> bool:
        """Whether an order may have that price."""
        return px > 0 and px % self.tick(px) == 0
