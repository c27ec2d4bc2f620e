"""Binance's interfaces over a recording: spot, USD-M and COIN-M."""

from replay.serving.venues.binance.recorded.venue import ServedBinanceCoinM, ServedBinanceSpot, ServedBinanceUsdM

__all__ = ["SERVED", "ServedBinanceCoinM", "ServedBinanceSpot", "ServedBinanceUsdM"]

SERVED = {
    "binance-spot": ServedBinanceSpot,
    "binance-usdm": ServedBinanceUsdM,
    "binance-coinm": ServedBinanceCoinM,
}
