"""dYdX v4 as a connector, by the name that programs import."""

from __future__ import annotations

from typing import ClassVar

from toolkit.live.session import VenueConnector, VenueSession
from toolkit.venues.dydx_v4.data_sources import DydxV4Session

__all__ = ["DydxV4PerpetualConnector"]


class DydxV4PerpetualConnector(VenueConnector):
    """
    dYdX v4's market and accounts, on whatever sources it is given.

    Example:
        live = DydxV4PerpetualConnector.live(["BTC-USD"], ["dydx1.../0"])
        replayed = DydxV4PerpetualConnector(replay, replay)  # a ReplayDataSource is both sources
    """

    session: ClassVar[type[VenueSession]] = DydxV4Session
