"""Hyperliquid as a synthetic market."""

from replay.serving.synthetic_venue import SyntheticSpec
from replay.serving.venues.hyperliquid.synthetic.venue import SyntheticHyperliquid, VenueOptions

__all__ = ["SYNTHETIC", "SyntheticHyperliquid", "VenueOptions"]

SYNTHETIC = {
    "hyperliquid": SyntheticSpec(
        make=SyntheticHyperliquid,
        options_type=VenueOptions,
        pairs=("BTC-USD", "ETH-USD", "PURR-USDC"),
        peculiar=("#7510",),
        is_default=True,
    ),
}
