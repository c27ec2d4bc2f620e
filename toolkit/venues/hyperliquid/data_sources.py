"""Hyperliquid's market and accounts as the two abstract data sources, by the names that programs import."""

from __future__ import annotations

from typing import ClassVar

from toolkit.facets import MarketFacet, UserStreamFacet
from toolkit.live.session import VenueSession

__all__ = ["HyperliquidOrderBookDataSource", "HyperliquidSession", "HyperliquidUserStreamDataSource"]


class HyperliquidOrderBookDataSource(MarketFacet):
    """Hyperliquid's market: `HyperliquidSession(pairs).market`."""


class HyperliquidUserStreamDataSource(UserStreamFacet):
    """
    Accounts at Hyperliquid: `HyperliquidSession(pairs, accounts).user_stream`.

    Each account's streams come together when its connection is made: order updates, fills, events, funding, ledger,
    margin and positions on every dex, spot balances and open orders.
    """


class HyperliquidSession(VenueSession):
    """A live connection to Hyperliquid; up to 10 accounts, and agent wallets are resolved to their masters."""

    venue: ClassVar[str] = "hyperliquid"
    market_facet: ClassVar[type[MarketFacet]] = HyperliquidOrderBookDataSource
    user_stream_facet: ClassVar[type[UserStreamFacet]] = HyperliquidUserStreamDataSource
