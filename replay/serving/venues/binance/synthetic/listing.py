"""The seeded market's instruments as each of Binance's three markets lists them, and how it writes their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from replay.market.engine.exchange import RATE_DECIMALS
from replay.market.engine.instruments import Kind
from replay.serving.synthetic_venue import fixed
from replay.synthetic.instruments import SyntheticInstrument
from replay.synthetic.market import Market
from toolkit.clock import NS_PER_MS
from toolkit.venues.binance.products import COINM, SPOT, Product

__all__ = ["Listed", "listing", "next_funding_ms", "rate_text"]

#: Decimals of every number on spot, and of prices of futures that are no order's.
_LONG = 8


@dataclass(frozen=True, slots=True)
class Listed:
    """
    An instrument under the venue's name.

    Attributes:
        product: Market, of the three, that lists it.
        symbol: `BTCUSDT`, `BTCUSD_PERP`.
        base: Base asset; one that is counted in thousands has the factor in its name.
        quote: Quote asset.
        instrument: Instrument of the seeded market.
        contract: Value of one contract in the quote asset, on COIN-M; 0 where sizes are in the base asset.
    """

    product: Product
    symbol: str
    base: str
    quote: str
    instrument: SyntheticInstrument
    contract: int = 0

    @property
    def pair(self) -> str:
        """Pair of a contract, which is the symbol where there is one contract on it."""
        return self.symbol.partition("_")[0]

    @property
    def status(self) -> str:
        """The venue's word for whether it trades."""
        if not self.instrument.delisted:
            return "TRADING"
        return "BREAK" if self.product.is_spot else "SETTLING"

    def px_text(self, px: int) -> str:
        """A price: always the same number of decimals, which is more than the tick needs."""
        decimals = self.instrument.px_decimals
        return fixed(px, decimals, _LONG if self.product.is_spot else decimals)

    def long_px_text(self, px: int) -> str:
        """A price that is no order's: eight decimals."""
        return fixed(px, self.instrument.px_decimals, _LONG)

    def count(self, px: int, lots: int) -> int:
        """
        A size as the venue counts it: lots, or contracts on COIN-M.

        The seeded market trades in coins, so contracts are their value at that price, rounded to whole ones: at least one,
        since what is there is not nothing.
        """
        if not self.contract or not lots:
            return lots
        unit = self.contract * self.instrument.one * self.instrument.lots_per_unit
        return max(1, (2 * px * lots + unit) // (2 * unit))

    def count_text(self, count: int) -> str:
        """A size that is counted already; also one of 0 has its decimals."""
        if self.contract:
            return str(count)
        decimals = self.instrument.sz_decimals
        return fixed(count, decimals, _LONG if self.product.is_spot else decimals)

    def sz_text(self, px: int, lots: int) -> str:
        """A size at a price."""
        return self.count_text(self.count(px, lots))

    def level(self, px: int, lots: int) -> tuple[str, str]:
        """One level as it is sent."""
        return self.px_text(px), self.sz_text(px, lots)


def listing(instruments: Iterable[SyntheticInstrument], product: Product) -> dict[str, Listed]:
    """
    By symbol, in the order of the seeded market.

    USD-M lists its perpetuals against USDT. Spot lists what moves balances, and the coins of the perpetuals of the first
    pool: their books are as good for coins as for contracts. COIN-M lists the latter, but none that is counted in thousands.
    """
    rows = [row for each in instruments if (row := _listed(each, product)) is not None]
    return {row.symbol: row for row in rows}


def _listed(instrument: SyntheticInstrument, product: Product) -> Listed | None:
    name = instrument.symbol
    is_in_thousands = name.startswith("k")
    base = f"1000{name[1:]}" if is_in_thousands else name
    if product is SPOT and instrument.kind is Kind.SPOT:
        base, quote = instrument.base_name, instrument.quote_name
        return Listed(product, f"{base}{quote}", base, quote, instrument)
    if instrument.kind is not Kind.PERPETUAL or (instrument.pool and (product is SPOT or product is COINM)):
        return None
    if product is COINM:
        # Contracts of the venue are 100 USD for BTC and 10 USD for everything else.
        size = 100 if base == "BTC" else 10
        return None if is_in_thousands else Listed(product, f"{base}USD_PERP", base, "USD", instrument, size)
    return Listed(product, f"{base}USDT", base, "USDT", instrument)


def rate_text(rate: int) -> str:
    """A funding rate: eight decimals."""
    return fixed(rate, RATE_DECIMALS, _LONG)


def next_funding_ms(market: Market) -> int:
    """Time of the coming settlement."""
    options = market.options
    phase = options.funding_every_ns if options.funding_phase_ns is None else options.funding_phase_ns
    passed = market.block_time_ns(market.number) - options.genesis_ns - phase
    count = max(0, passed // options.funding_every_ns + 1)
    return (options.genesis_ns + phase + count * options.funding_every_ns) // NS_PER_MS
