"""A seeded synthetic Hyperliquid: an order-level random market and the venue's WebSocket and REST face, sans I/O."""

from __future__ import annotations

from replay.synthetic.coins import DEFAULT_INSTRUMENTS, Instrument
from replay.synthetic.hyperliquid import Session, SyntheticHyperliquid, VenueOptions
from replay.synthetic.market import Block, Market, MarketOptions, Trade
from replay.synthetic.traders import AccountsOptions

__all__ = [
    "DEFAULT_INSTRUMENTS",
    "AccountsOptions",
    "Block",
    "Instrument",
    "Market",
    "MarketOptions",
    "Session",
    "SyntheticHyperliquid",
    "Trade",
    "VenueOptions",
]
