"""Hyperliquid: perps, spot, HIP-3 and outcome markets."""

from toolkit.venue import VenueLimits, VenueSpec
from toolkit.venues.hyperliquid.market import CHANNELS, DEFAULT_CHANNELS, HyperliquidMarketProtocol
from toolkit.venues.hyperliquid.protocol import HyperliquidProtocol

__all__ = ["SPECS", "HyperliquidMarketProtocol", "HyperliquidProtocol"]

SPECS = (
    VenueSpec(
        name="hyperliquid",
        title="Hyperliquid",
        ws_url="wss://api.hyperliquid.xyz/ws",
        rest_url="https://api.hyperliquid.xyz",
        limits=VenueLimits(
            connections_max=10,
            connects_per_minute=30,
            messages_per_minute=2000,
            rest_weight_per_minute=1200,
        ),
        make_protocol=HyperliquidProtocol,
        channels=CHANNELS,
        default_channels=DEFAULT_CHANNELS,
        has_accounts=True,
        archive_file="20240101/12/l2Book/BTC.lz4",
    ),
)
