"""
dYdX v4's market and accounts as the two abstract data sources, over one live source.

A session has one protocol, one counter of frames and one dispatcher, so a fill and the book change around it come in
the order they were received. The two data sources are its facets: each is what code wants that asks for one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toolkit.facets import FacetHub, MarketFacet, UserStreamFacet
from toolkit.frames import Frame
from toolkit.live import LiveDataSource
from toolkit.live.capture import Capture
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue
from toolkit.venues.dydx_v4.auth import DydxV4Auth
from toolkit.venues.dydx_v4.protocol import DydxV4Protocol

__all__ = ["DydxV4OrderBookDataSource", "DydxV4Session", "DydxV4UserStreamDataSource"]


def _unrecorded(frame: Frame) -> None:
    """Keep nothing."""


class DydxV4Session(LiveDataSource):
    """
    A live connection to dYdX v4: market data of some pairs, and everything about some accounts.

    Args:
        trading_pairs: Pairs; none for accounts alone.
        accounts: Subaccounts to follow; with the channel `parent`, parents and their children.
        channels: Market streams; empty for the default ones.
        capture: Where frames are numbered and written down; nowhere if None.
        ws_url: Another WebSocket than the venue's own.
        rest_url: Another REST interface than the venue's own.
        options: As for `LiveDataSource`.

    Raises:
        ConfigError: An address that is none, too many accounts, an unknown channel, or a bad URL.
    """

    def __init__(
        self,
        trading_pairs: Sequence[str] = (),
        accounts: Sequence[DydxV4Auth] = (),
        *,
        channels: Sequence[str] = (),
        capture: Capture | None = None,
        ws_url: str | None = None,
        rest_url: str | None = None,
        **options: Any,
    ) -> None:
        spec = find_venue("dydx_v4")
        wanted = ProtocolOptions(
            pairs=tuple(trading_pairs),
            channels=tuple(channels),
            accounts=tuple(account.name for account in accounts),
        )
        super().__init__(
            DydxV4Protocol(wanted),
            ws_url=ws_url or spec.ws_url,
            rest_url=rest_url or spec.rest_url,
            limits=spec.limits,
            capture=capture if capture is not None else Capture(sink=_unrecorded),
            **options,
        )
        self._hub = FacetHub(self)

    @property
    def market(self) -> DydxV4OrderBookDataSource:
        """The market facet. The session begins when every facet that was taken is started."""
        return DydxV4OrderBookDataSource(self._hub)

    @property
    def user_stream(self) -> DydxV4UserStreamDataSource:
        """The account facet."""
        return DydxV4UserStreamDataSource(self._hub)


class DydxV4OrderBookDataSource(MarketFacet):
    """dYdX v4's market: `DydxV4Session(pairs).market`."""


class DydxV4UserStreamDataSource(UserStreamFacet):
    """
    Accounts at dYdX v4: `DydxV4Session(pairs, accounts).user_stream`.

    A subaccount's snapshot and updates (orders, fills, positions, collateral, transfers, rewards) come in one stream;
    fills, ended orders, transfers and funding payments of before are asked for by REST after each snapshot.
    """
