"""
The instruments that the synthetic venue lists, and the venue's rules for prices and sizes.

Prices and sizes are integers everywhere in the synthetic market: a price counts units of ``10 ** -px_decimals``, a
size counts lots of ``10 ** -sz_decimals``. They become text at the venue's face only, so nothing is ever rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from replay.serving.venues.hyperliquid.fills import text

__all__ = ["DEFAULT_INSTRUMENTS", "SIGNIFICANT_FIGURES", "Family", "Instrument", "text", "unit_digits"]

Family = Literal["perp", "spot", "outcome"]

#: Hyperliquid allows five significant figures in a price; whole-number prices are always allowed.
SIGNIFICANT_FIGURES = 5

#: Most decimals of a price plus those of a size, per family. An outcome price p and its mirror 1 - p must both be
#: valid, which five decimals guarantee.
_DECIMALS_TOTAL = {"perp": 6, "spot": 8, "outcome": 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """
    One coin of the venue, and how lively its synthetic market is.

    Attributes:
        coin: The venue's spelling: `BTC`, `PURR/USDC`, `@107`, `xyz:SP500`, `#7510`.
        family: Perpetual, spot pair or outcome.
        sz_decimals: Decimals of a size.
        base_px: Price the market starts at and is drawn back to, in quote currency.
        mean_sz: Typical size of a resting order, in base currency.
        activity: Probability that anything happens to the coin in a block, 0 to 1.
        volatility: Typical move of the fair price in one active block, in ticks.
        max_leverage: Of a perpetual.
        delisted: The book is empty for ever and the context frozen.
        mirror: For an outcome, the coin of the other side, whose book is this one upside down.
        base_name, quote_name: Token names; for a perpetual the quote is the collateral.
        spot_index: `index` in the spot universe.
    """

    coin: str
    family: Family
    sz_decimals: int
    base_px: str
    mean_sz: str
    activity: float = 0.6
    volatility: float = 0.35
    max_leverage: int = 10
    delisted: bool = False
    mirror: str | None = None
    base_name: str = ""
    quote_name: str = "USDC"
    spot_index: int = 0

    @property
    def dex(self) -> str:
        """The perp dex that lists it: "" for the first one, and for anything that is no perpetual."""
        return self.coin.partition(":")[0] if ":" in self.coin else ""

    @property
    def px_decimals(self) -> int:
        """Most decimals a price may have; one price unit is ``10 ** -px_decimals``."""
        return _DECIMALS_TOTAL[self.family] - (0 if self.family == "outcome" else self.sz_decimals)

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

    @property
    def base_units(self) -> int:
        """`base_px` in price units."""
        return int(Decimal(self.base_px).scaleb(self.px_decimals))

    @property
    def mean_lots(self) -> int:
        """`mean_sz` in lots."""
        return int(Decimal(self.mean_sz).scaleb(self.sz_decimals))

    def tick(self, px: int) -> int:
        """Smallest step between valid prices around `px`, both in price units."""
        digits = len(str(px))
        step: int = 10 ** max(0, digits - SIGNIFICANT_FIGURES)
        return min(step, self.one)

    def is_valid_px(self, px: int) -> bool:
        """Whether the venue takes an order at that price."""
        return px > 0 and px % self.tick(px) == 0

    def px_text(self, px: int) -> str:
        """A price as the venue prints it."""
        return text(px, self.px_decimals)

    def sz_text(self, lots: int) -> str:
        """A size as the venue prints it."""
        return text(lots, self.sz_decimals)


@lru_cache(maxsize=1 << 17)
def unit_digits(decimal: str, decimals: int) -> int:
    """The inverse of `text`: a printed decimal as an integer count of ``10 ** -decimals``."""
    return int(Decimal(decimal).scaleb(decimals))


DEFAULT_INSTRUMENTS: tuple[Instrument, ...] = (
    Instrument(
        coin="BTC",
        family="perp",
        sz_decimals=5,
        base_px="97250",
        mean_sz="0.35",
        activity=0.95,
        max_leverage=40,
    ),
    Instrument(
        coin="ETH",
        family="perp",
        sz_decimals=4,
        base_px="3412.5",
        mean_sz="6",
        activity=0.9,
        max_leverage=25,
    ),
    Instrument(
        coin="SOL",
        family="perp",
        sz_decimals=2,
        base_px="187.42",
        mean_sz="60",
        activity=0.8,
        max_leverage=20,
    ),
    Instrument(
        coin="kPEPE",
        family="perp",
        sz_decimals=0,
        base_px="0.012345",
        mean_sz="150000",
        activity=0.5,
        max_leverage=10,
    ),
    # Renamed and delisted on the real venue too: it still answers, with empty books.
    Instrument(
        coin="MATIC", family="perp", sz_decimals=1, base_px="0.37621", mean_sz="1000", max_leverage=20, delisted=True
    ),
    Instrument(
        coin="PURR/USDC",
        family="spot",
        sz_decimals=0,
        base_px="0.18234",
        mean_sz="1500",
        activity=0.3,
        base_name="PURR",
        spot_index=0,
    ),
    Instrument(
        coin="@107",
        family="spot",
        sz_decimals=2,
        base_px="38.214",
        mean_sz="40",
        activity=0.6,
        base_name="HYPE",
        spot_index=107,
    ),
    Instrument(
        coin="xyz:SP500",
        family="perp",
        sz_decimals=3,
        base_px="6812.3",
        mean_sz="1.5",
        activity=0.3,
        max_leverage=20,
        quote_name="USDH",
    ),
    Instrument(
        coin="#7510",
        family="outcome",
        sz_decimals=0,
        base_px="0.636",
        mean_sz="240",
        activity=0.25,
        volatility=2.5,
        mirror="#7511",
        base_name="Yes",
    ),
    Instrument(
        coin="#7511",
        family="outcome",
        sz_decimals=0,
        base_px="0.364",
        mean_sz="240",
        activity=0.25,
        volatility=2.5,
        mirror="#7510",
        base_name="No",
    ),
)
