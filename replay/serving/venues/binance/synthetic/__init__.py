"""Binance USD-M as a synthetic market."""

from replay.serving.synthetic_venue import SyntheticSpec
from replay.serving.venues.binance.synthetic.venue import BinanceOptions, SyntheticBinance

__all__ = ["SYNTHETIC", "BinanceOptions", "SyntheticBinance"]

SYNTHETIC = {
    "binance-usdm": SyntheticSpec(
        make=SyntheticBinance,
        options_type=BinanceOptions,
        pairs=("BTC-USDT", "ETH-USDT", "1000PEPE-USDT"),
    ),
}
