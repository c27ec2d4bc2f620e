"""dYdX v4's Indexer as a synthetic market."""

from replay.serving.synthetic_venue import SyntheticSpec
from replay.serving.venues.dydx_v4.synthetic.venue import DydxOptions, SyntheticDydx

__all__ = ["SYNTHETIC", "DydxOptions", "SyntheticDydx"]

SYNTHETIC = {
    "dydx_v4": SyntheticSpec(make=SyntheticDydx, options_type=DydxOptions, pairs=("BTC-USD", "ETH-USD", "SOL-USD")),
}
