"""
The instruments that the seeded market lists, and how lively each is.

One seed trades the same behind every venue's interface, whatever the venue calls them and whichever of them it lists. Four
are seeded by another name than their symbol, so that a seed trades as it always has.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from replay.market.engine.instruments import Instrument, Kind

__all__ = ["DEFAULT_INSTRUMENTS", "SyntheticInstrument"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticInstrument(Instrument):
    """
    An instrument of the seeded market.

    Attributes:
        base_px: Price the market starts at and is drawn back to, in quote currency.
        mean_sz: Typical size of a resting order, in base currency.
        activity: Probability that anything happens to it in a block, 0 to 1.
        volatility: Typical move of the fair price in one active block, in ticks.
        delisted: Whether the book is empty for ever and the figures frozen.
    """

    base_px: str
    mean_sz: str
    activity: float = 0.6
    volatility: float = 0.35
    delisted: bool = False

    @property
    def base_units(self) -> int:
        """`base_px` in price units."""
        return int(Decimal(self.base_px).scaleb(self.px_decimals))

    @property
    def mean_lots(self) -> int:
        """`mean_sz` in lots."""
        return int(Decimal(self.mean_sz).scaleb(self.sz_decimals))


DEFAULT_INSTRUMENTS: tuple[SyntheticInstrument, ...] = (
    SyntheticInstrument(
        symbol="BTC",
        kind=Kind.PERPETUAL,
        px_decimals=1,
        sz_decimals=5,
        base_px="97250",
        mean_sz="0.35",
        activity=0.95,
        max_leverage=40,
    ),
    SyntheticInstrument(
        symbol="ETH",
        kind=Kind.PERPETUAL,
        px_decimals=2,
        sz_decimals=4,
        base_px="3412.5",
        mean_sz="6",
        activity=0.9,
        max_leverage=25,
    ),
    SyntheticInstrument(
        symbol="SOL",
        kind=Kind.PERPETUAL,
        px_decimals=4,
        sz_decimals=2,
        base_px="187.42",
        mean_sz="60",
        activity=0.8,
        max_leverage=20,
    ),
    SyntheticInstrument(
        symbol="kPEPE",
        kind=Kind.PERPETUAL,
        px_decimals=6,
        sz_decimals=0,
        base_px="0.012345",
        mean_sz="150000",
        activity=0.5,
        max_leverage=10,
    ),
    # Renamed and delisted on the real venue too: it still answers, with empty books.
    SyntheticInstrument(
        symbol="MATIC",
        kind=Kind.PERPETUAL,
        px_decimals=5,
        sz_decimals=1,
        base_px="0.37621",
        mean_sz="1000",
        max_leverage=20,
        delisted=True,
    ),
    SyntheticInstrument(
        symbol="PURR/USDC",
        kind=Kind.SPOT,
        px_decimals=8,
        sz_decimals=0,
        base_px="0.18234",
        mean_sz="1500",
        activity=0.3,
        base_name="PURR",
    ),
    SyntheticInstrument(
        symbol="HYPE/USDC",
        origin="@107",
        kind=Kind.SPOT,
        px_decimals=6,
        sz_decimals=2,
        base_px="38.214",
        mean_sz="40",
        activity=0.6,
        base_name="HYPE",
    ),
    SyntheticInstrument(
        symbol="SP500",
        origin="xyz:SP500",
        kind=Kind.PERPETUAL,
        px_decimals=3,
        sz_decimals=3,
        base_px="6812.3",
        mean_sz="1.5",
        activity=0.3,
        max_leverage=20,
        pool="xyz",
        quote_name="USDH",
    ),
    SyntheticInstrument(
        symbol="751/YES",
        origin="#7510",
        kind=Kind.OUTCOME,
        px_decimals=5,
        sz_decimals=0,
        base_px="0.636",
        mean_sz="240",
        activity=0.25,
        volatility=2.5,
        mirror="751/NO",
        base_name="Yes",
    ),
    SyntheticInstrument(
        symbol="751/NO",
        origin="#7511",
        kind=Kind.OUTCOME,
        px_decimals=5,
        sz_decimals=0,
        base_px="0.364",
        mean_sz="240",
        activity=0.25,
        volatility=2.5,
        mirror="751/YES",
        base_name="No",
    ),
)
