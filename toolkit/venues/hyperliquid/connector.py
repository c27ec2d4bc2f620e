"""Hyperliquid as a connector, by the name that programs import."""

from __future__ import annotations

from typing import ClassVar

from toolkit.live.session import VenueConnector, VenueSession
from toolkit.venues.hyperliquid.data_sources import HyperliquidSession

__all__ = ["HyperliquidPerpetualConnector"]


class HyperliquidPerpetualConnector(VenueConnector):
    """
    Hyperliquid's market and accounts, on whatever sources it is given.

    Example:
        live = HyperliquidPerpetualConnector.live(["BTC-USD"], ["0x..."])
        replayed = HyperliquidPerpetualConnector(replay, replay)  # a ReplayDataSource is both sources
    """

    session: ClassVar[type[VenueSession]] = HyperliquidSession
