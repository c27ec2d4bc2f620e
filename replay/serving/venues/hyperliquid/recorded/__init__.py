"""Hyperliquid's interface over a recording."""

from replay.serving.venues.hyperliquid.recorded.venue import ServedHyperliquid

__all__ = ["SERVED", "ServedHyperliquid"]

SERVED = {"hyperliquid": ServedHyperliquid}
