"""Hyperliquid's interface over a recording."""

from replay.serving.hyperliquid.venue import ServedHyperliquid

__all__ = ["SERVED", "ServedHyperliquid"]

SERVED = {"hyperliquid": ServedHyperliquid}
