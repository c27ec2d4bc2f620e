"""Hyperliquid as a connector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from toolkit.connector import PerpetualDerivativeBase
from toolkit.venues.hyperliquid.auth import HyperliquidAuth
from toolkit.venues.hyperliquid.data_sources import HyperliquidSession

__all__ = ["HyperliquidPerpetualConnector"]


class HyperliquidPerpetualConnector(PerpetualDerivativeBase):
    """
    Hyperliquid's market and accounts, on whatever sources it is given.

    It cannot trade: nothing here signs an action or knows the endpoint that takes one.

    Example:
        live = HyperliquidPerpetualConnector.live(["BTC-USD"], ["0x..."])
        replayed = HyperliquidPerpetualConnector(replay, replay)  # a ReplayDataSource is both sources
    """

    @classmethod
    def live(cls, trading_pairs: Sequence[str], accounts: Sequence[str] = (), **options: Any) -> Self:
        """
        A connector on the venue itself; `connect` opens it.

        Args:
            trading_pairs: Pairs or coins.
            accounts: Addresses to follow.
            options: As for `HyperliquidSession`.

        Raises:
            ConfigError: An address that is none, too many accounts, or a bad option.
        """
        session = HyperliquidSession(trading_pairs, [HyperliquidAuth(address) for address in accounts], **options)
        return cls(session.market, session.user_stream if accounts else None)
