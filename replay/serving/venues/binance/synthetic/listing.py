"""The synthetic market's perpetuals as Binance USD-M lists them, and how it writes their numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from replay.market.engine.exchange import RATE_DECIMALS
from replay.market.engine.instruments import Kind
from replay.serving.synthetic_venue import fixed
from replay.synthetic.instruments import SyntheticInstrument
from replay.synthetic.market import Market
from toolkit.clock import NS_PER_MS, NS_PER_S

__all__ = ["Listed", "exchange_info", "funding_info", "listing", "next_funding_ms", "rate_text"]

_HOUR_NS = 3600 * NS_PER_S
_PERPETUAL_UNTIL_MS = 4_133_404_800_000
_MIN_NOTIONAL = "10"
_WEIGHT_PER_MINUTE = 2400


@dataclass(frozen=True, slots=True)
class Listed:
    """A perpetual under the venue's name."""

    symbol: str
    base: str
    instrument: SyntheticInstrument

    @property
    def status(self) -> str:
        """The venue's word."""
        return "SETTLING" if self.instrument.delisted else "TRADING"

    def px_text(self, px: int) -> str:
        """A price: always the same number of decimals, which is more than the tick needs."""
        return fixed(px, self.instrument.px_decimals, self.instrument.px_decimals)

    def long_px_text(self, px: int) -> str:
        """A price that is no order's: eight decimals."""
        return fixed(px, self.instrument.px_decimals, 8)

    def sz_text(self, lots: int) -> str:
        """A size; also a deleted one has its decimals."""
        return fixed(lots, self.instrument.sz_decimals, self.instrument.sz_decimals)

    def level(self, px: int, lots: int) -> tuple[str, str]:
        """One level as it is sent."""
        return self.px_text(px), self.sz_text(lots)


def listing(instruments: Iterable[SyntheticInstrument]) -> dict[str, Listed]:
    """By symbol: coins counted in thousands have the factor in their name, as on the real venue."""
    rows = {}
    for instrument in instruments:
        if instrument.kind is not Kind.PERPETUAL:
            continue
        name = instrument.symbol
        base = f"1000{name[1:]}" if name.startswith("k") else name
        rows[f"{base}USDT"] = Listed(f"{base}USDT", base, instrument)
    return rows


def rate_text(rate: int) -> str:
    """A funding rate: eight decimals."""
    return fixed(rate, RATE_DECIMALS, 8)


def next_funding_ms(market: Market) -> int:
    """Time of the coming settlement."""
    options = market.options
    phase = options.funding_every_ns if options.funding_phase_ns is None else options.funding_phase_ns
    passed = market.block_time_ns(market.number) - options.genesis_ns - phase
    count = max(0, passed // options.funding_every_ns + 1)
    return (options.genesis_ns + phase + count * options.funding_every_ns) // NS_PER_MS


def funding_info(rows: Iterable[Listed], market: Market) -> list[dict[str, Any]]:
    """REST `fundingInfo`: the synthetic market does not settle every 8 hours, so every symbol is in the list."""
    hours = max(1, market.options.funding_every_ns // _HOUR_NS)
    return [
        {
            "symbol": row.symbol,
            "adjustedFundingRateCap": "0.04000000",
            "adjustedFundingRateFloor": "-0.04000000",
            "fundingIntervalHours": hours,
            "disclaimer": False,
        }
        for row in rows
    ]


def exchange_info(rows: Iterable[Listed], now_ms: int) -> dict[str, Any]:
    """REST `exchangeInfo`."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": _WEIGHT_PER_MINUTE,
            }
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_symbol(row) for row in rows],
    }


def _symbol(row: Listed) -> dict[str, Any]:
    instrument = row.instrument
    tick = row.px_text(instrument.tick(instrument.base_units))
    step = row.sz_text(1)
    return {
        "symbol": row.symbol,
        "pair": row.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": _PERPETUAL_UNTIL_MS,
        "onboardDate": 1_569_398_400_000,
        "status": row.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": row.base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        # Decimals of the numbers, and not the steps between them.
        "pricePrecision": instrument.px_decimals,
        "quantityPrecision": instrument.sz_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": row.px_text(instrument.base_units * 50),
                "tickSize": tick,
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": step,
                "maxQty": row.sz_text(instrument.mean_lots * 10_000),
                "stepSize": step,
            },
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": step,
                "maxQty": row.sz_text(instrument.mean_lots * 1_000),
                "stepSize": step,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": _MIN_NOTIONAL},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "1.0500",
                "multiplierDown": "0.9500",
                "multiplierDecimal": "4",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }
