"""dYdX v4's market and accounts as the two abstract data sources, by the names that programs import."""

from __future__ import annotations

from typing import ClassVar

from toolkit.facets import MarketFacet, UserStreamFacet
from toolkit.live.session import VenueSession

__all__ = ["DydxV4OrderBookDataSource", "DydxV4Session", "DydxV4UserStreamDataSource"]


class DydxV4OrderBookDataSource(MarketFacet):
    """dYdX v4's market: `DydxV4Session(pairs).market`."""


class DydxV4UserStreamDataSource(UserStreamFacet):
    """
    Accounts at dYdX v4: `DydxV4Session(pairs, accounts).user_stream`.

    A subaccount's snapshot and updates (orders, fills, positions, collateral, transfers, rewards) come in one stream;
    earlier fills, ended orders, transfers and funding payments are requested by REST after each snapshot.
    """


class DydxV4Session(VenueSession):
    """A live connection to dYdX v4; with the channel `parent` the accounts are parents, followed with their children."""

    venue: ClassVar[str] = "dydx_v4"
    market_facet: ClassVar[type[MarketFacet]] = DydxV4OrderBookDataSource
    user_stream_facet: ClassVar[type[UserStreamFacet]] = DydxV4UserStreamDataSource
