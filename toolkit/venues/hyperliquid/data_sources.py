"""
Hyperliquid's market and accounts as the two abstract data sources, over one live source.

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
from toolkit.venues.hyperliquid.auth import HyperliquidAuth
from toolkit.venues.hyperliquid.protocol import HyperliquidProtocol

__all__ = ["HyperliquidOrderBookDataSource", "HyperliquidSession", "HyperliquidUserStreamDataSource"]


def _unrecorded(frame: Frame) -> None:
    """Keep nothing."""


class HyperliquidSession(LiveDataSource):
    """
    A live connection to Hyperliquid: market data of some pairs, and everything about some accounts.

    Args:
        trading_pairs: Pairs or coins; none for accounts alone.
        accounts: Whom to follow, up to 10; agent wallets are resolved to their masters.
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
        accounts: Sequence[HyperliquidAuth] = (),
        *,
        channels: Sequence[str] = (),
        capture: Capture | None = None,
        ws_url: str | None = None,
        rest_url: str | None = None,
        **options: Any,
    ) -> None:
        spec = find_venue("hyperliquid")
        wanted = ProtocolOptions(
            pairs=tuple(trading_pairs),
            channels=tuple(channels),
            accounts=tuple(account.address for account in accounts),
        )
        super().__init__(
            HyperliquidProtocol(wanted),
            ws_url=ws_url or spec.ws_url,
            rest_url=rest_url or spec.rest_url,
            limits=spec.limits,
            capture=capture if capture is not None else Capture(sink=_unrecorded),
            **options,
        )
        self._hub = FacetHub(self)

    @property
    def market(self) -> HyperliquidOrderBookDataSource:
        """The market facet. The session begins when every facet that was taken is started."""
        return HyperliquidOrderBookDataSource(self._hub)

    @property
    def user_stream(self) -> HyperliquidUserStreamDataSource:
        """The account facet."""
        return HyperliquidUserStreamDataSource(self._hub)


class HyperliquidOrderBookDataSource(MarketFacet):
    """Hyperliquid's market: `HyperliquidSession(pairs).market`."""


class HyperliquidUserStreamDataSource(UserStreamFacet):
    """
    Accounts at Hyperliquid: `HyperliquidSession(pairs, accounts).user_stream`.

    Each account's streams come together when its connection is made: order updates, fills, events, funding, ledger,
    margin and positions on every dex, spot balances and open orders.
    """
