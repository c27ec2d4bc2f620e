"""Binance's three markets as a synthetic one."""

from replay.serving.synthetic_venue import SyntheticSpec
from replay.serving.venues.binance.synthetic.venue import (
    BinanceOptions,
    SpotOptions,
    SyntheticBinanceCoinM,
    SyntheticBinanceSpot,
    SyntheticBinanceUsdM,
)

__all__ = [
    "SYNTHETIC",
    "BinanceOptions",
    "SpotOptions",
    "SyntheticBinanceCoinM",
    "SyntheticBinanceSpot",
    "SyntheticBinanceUsdM",
]

SYNTHETIC = {
    "binance-spot": SyntheticSpec(
        make=SyntheticBinanceSpot,
        options_type=SpotOptions,
        pairs=("BTC-USDT", "ETH-USDT", "HYPE-USDC"),
    ),
    "binance-usdm": SyntheticSpec(
        make=SyntheticBinanceUsdM,
        options_type=BinanceOptions,
        pairs=("BTC-USDT", "ETH-USDT", "1000PEPE-USDT"),
    ),
    "binance-coinm": SyntheticSpec(
        make=SyntheticBinanceCoinM,
        options_type=BinanceOptions,
        pairs=("BTC-USD", "ETH-USD", "SOL-USD"),
    ),
}
