"""The synthetic market's perpetuals as dYdX v4 lists them, and how it writes numbers and times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from replay.market.engine.exchange import RATE_DECIMALS
from replay.market.engine.instruments import Kind
from replay.synthetic.context import PerpContext
from replay.synthetic.instruments import SyntheticInstrument

__all__ = ["Listed", "listing", "plain", "plain_rate"]

#: Exponent of the quote currency, USDC; and the one every market of the venue has for converting sizes.
_QUOTE_RESOLUTION = -6
_CONVERSION = -9
_STEP_QUANTUMS_EXPONENT = 6
#: Permissionless markets have the liquidity pool in their tickers; commas and lower case are on purpose.
_POOL = "RAYDIUM,9BB6NFEcjBCtnNLFko2FqVQBq8HHM13kCyYcdQbgpump"


def plain(value: int, decimals: int) -> str:
    """`value * 10 ** -decimals` without zeros at the end, nor a point without digits after it."""
    if value < 0:
        return f"-{plain(-value, decimals)}"
    if decimals <= 0:
        return str(value * 10**-decimals)
    whole, fraction = divmod(value, 10**decimals)
    digits = str(fraction).zfill(decimals).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


@dataclass(frozen=True, slots=True)
class Listed:
    """
    A perpetual under the venue's name.

    Attributes:
        ticker: `BTC-USD`.
        pair_id: Number of the order book.
        instrument: Instrument of the seeded market.
        thousands: Decimal places by which a coin that the market counts in thousands is moved: the venue scales none.
    """

    ticker: str
    pair_id: int
    instrument: SyntheticInstrument
    thousands: int

    @property
    def symbol(self) -> str:
        """What the market calls it."""
        return self.instrument.symbol

    def px_text(self, px: int) -> str:
        """A price."""
        return plain(px, self.instrument.px_decimals + self.thousands)

    def sz_text(self, lots: int) -> str:
        """A size."""
        return plain(lots, self.instrument.sz_decimals - self.thousands)

    def quote_text(self, notional: int) -> str:
        """Price units times lots, in quote currency."""
        return plain(notional, self.instrument.px_decimals + self.instrument.sz_decimals)

    def level(self, px: int, lots: int) -> tuple[str, str]:
        """A level of an update."""
        return self.px_text(px), self.sz_text(lots)

    def market(self, context: PerpContext, trades: int) -> dict[str, Any]:
        """Everything the venue says of the market."""
        instrument = self.instrument
        resolution = -(instrument.sz_decimals - self.thousands) - _STEP_QUANTUMS_EXPONENT
        tick = Decimal(self.px_text(instrument.tick(instrument.base_units)))
        initial = 1000 // instrument.max_leverage
        return {
            "clobPairId": str(self.pair_id),
            "ticker": self.ticker,
            "status": "FINAL_SETTLEMENT" if instrument.delisted else "ACTIVE",
            "oraclePrice": self.px_text(context.oracle),
            **self.figures(context, trades),
            "initialMarginFraction": plain(initial, 3),
            "maintenanceMarginFraction": plain(initial * 3 // 5, 3),
            "atomicResolution": resolution,
            "quantumConversionExponent": _CONVERSION,
            "tickSize": self.px_text(instrument.tick(instrument.base_units)),
            "stepSize": self.sz_text(1),
            "stepBaseQuantums": 10**_STEP_QUANTUMS_EXPONENT,
            "subticksPerTick": int(tick.scaleb(resolution - _CONVERSION - _QUOTE_RESOLUTION)),
            "marketType": "ISOLATED" if "," in self.ticker else "CROSS",
            "openInterestLowerCap": "0",
            "openInterestUpperCap": "0",
            "defaultFundingRate1H": "0",
        }

    def figures(self, context: PerpContext, trades: int) -> dict[str, Any]:
        """What the market updater refreshes."""
        interest = self.sz_text(context.open_interest)
        return {
            "priceChange24H": self.px_text(context.oracle - context.prev_day_px),
            "volume24H": self.quote_text(context.day_notional),
            "trades24H": trades,
            "nextFundingRate": plain_rate(context.funding),
            "openInterest": interest,
            "baseOpenInterest": interest,
        }


def plain_rate(rate: int) -> str:
    """A rate in 1e-10, as the venue prints decimals."""
    return plain(rate, RATE_DECIMALS)


def listing(instruments: Iterable[SyntheticInstrument]) -> dict[str, Listed]:
    """By ticker, in the order of the market; what is traded from another pool is a permissionless market here."""
    rows: dict[str, Listed] = {}
    for instrument in instruments:
        if instrument.kind is not Kind.PERPETUAL:
            continue
        name = instrument.symbol
        thousands = 3 if name.startswith("k") else 0
        base = name[1:] if thousands else name
        ticker = f"{base},{_POOL}-USD" if instrument.pool else f"{base}-USD"
        rows[ticker] = Listed(ticker, len(rows), instrument, thousands)
    return rows
