"""
What is listed: the recorded `exchangeInfo`, or, where a tape has none (an import), what its symbols themselves say.

A listing that is made up says as little as it can: the tape's symbols, with steps as fine as the numbers that were seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE, as_json
from toolkit.venues.binance.products import COINM, Product

__all__ = ["Listing"]

#: Frames of a symbol that are looked at for the decimals of its numbers.
_LOOKS_MAX: Final = 200
_LEVEL: Final = re.compile(rb'\["(\d+)(?:\.(\d+))?","(\d+)(?:\.(\d+))?"\]')
_PERPETUAL_UNTIL_MS: Final = 4_133_404_800_000


class _Named(msgspec.Struct):
    symbol: str


class _Symbols(msgspec.Struct):
    symbols: list[_Named]


_decode_names = msgspec.json.Decoder(_Symbols).decode


class Listing:
    """
    Args:
        product: Market of the tape.
        symbols: Symbols of the tape, to their trading pairs.
    """

    def __init__(self, product: Product, symbols: Mapping[str, str]) -> None:
        self._product = product
        self._pairs = dict(symbols)
        self._decimals: dict[str, tuple[int, int]] = {}
        self._looks: dict[str, int] = {}
        self._names: dict[bytes, frozenset[str]] = {}

    def note_payload(self, symbol: str, payload: bytes) -> None:
        """A book spoke: the digits in it tell its steps."""
        looks = self._looks.get(symbol, 0)
        if looks >= _LOOKS_MAX:
            return
        self._looks[symbol] = looks + 1
        self._pairs.setdefault(symbol, symbol)
        price, size = self._decimals.get(symbol, (0, 0))
        for match in _LEVEL.finditer(payload):
            price = max(price, len((match[2] or b"").rstrip(b"0")))
            size = max(size, len((match[4] or b"").rstrip(b"0")))
        self._decimals[symbol] = price, size

    def is_listed(self, symbol: str, recorded: bytes | None) -> bool:
        """Whether the venue knows a symbol, by its recorded reply if there is one."""
        if symbol in self._pairs:
            return True
        if recorded is None:
            return False
        names = self._names.get(recorded)
        if names is None:
            try:
                names = frozenset(row.symbol for row in _decode_names(recorded).symbols)
            except UNREADABLE:
                names = frozenset()
            self._names = {recorded: names}
        return symbol in names

    def made_up(self, now_ms: int) -> bytes:
        """`exchangeInfo` of the tape's symbols alone."""
        return as_json(
            {
                "timezone": "UTC",
                "serverTime": now_ms,
                "rateLimits": [],
                "exchangeFilters": [],
                "symbols": [self._symbol(symbol, pair) for symbol, pair in self._pairs.items()],
            }
        )

    def _symbol(self, symbol: str, pair: str) -> dict[str, Any]:
        product = self._product
        base, _, quote = pair.partition("-")
        quote = quote.partition("-")[0]
        price, size = self._decimals.get(symbol, (8, 8))
        tick, step = _step(price), _step(size)
        row: dict[str, Any] = {
            "symbol": symbol,
            "status": "TRADING",
            "baseAsset": base,
            "quoteAsset": quote,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": tick, "minPrice": tick},
                {"filterType": "LOT_SIZE", "stepSize": step, "minQty": step},
            ],
        }
        if product.is_spot:
            return row | {"isSpotTradingAllowed": True, "orderTypes": [], "permissions": ["SPOT"]}
        date = symbol.partition("_")[2]
        is_perpetual = not date.isdecimal()
        row |= {
            "pair": symbol.partition("_")[0],
            "contractType": "PERPETUAL" if is_perpetual else "CURRENT_QUARTER",
            "deliveryDate": _PERPETUAL_UNTIL_MS,
            "onboardDate": 0,
            "marginAsset": base if product is COINM else quote,
            "pricePrecision": price,
            "quantityPrecision": size,
        }
        if product is COINM:
            # Contracts of the venue are 100 USD for BTC and 10 USD for everything else.
            return row | {"contractSize": 100 if base == "BTC" else 10, "contractStatus": "TRADING"}
        return row


def _step(decimals: int) -> str:
    return f"0.{'1'.zfill(decimals)}" if decimals else "1"
