"""Every venue that can be served from a recording, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from replay.serving.binance import ServedBinanceCoinM, ServedBinanceSpot, ServedBinanceUsdM
from replay.serving.dydx_v4 import ServedDydx
from replay.serving.hyperliquid import ServedHyperliquid
from replay.serving.venue import ServedVenue, TapeFacts

__all__ = ["SERVED"]

SERVED: Final[dict[str, Callable[[TapeFacts], ServedVenue]]] = {
    "hyperliquid": ServedHyperliquid,
    "binance-spot": ServedBinanceSpot,
    "binance-usdm": ServedBinanceUsdM,
    "binance-coinm": ServedBinanceCoinM,
    "dydx_v4": ServedDydx,
}
