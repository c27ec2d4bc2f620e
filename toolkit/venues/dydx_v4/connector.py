"""dYdX v4 as a connector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from toolkit.connector import PerpetualDerivativeBase
from toolkit.venues.dydx_v4.auth import DydxV4Auth
from toolkit.venues.dydx_v4.data_sources import DydxV4Session

__all__ = ["DydxV4PerpetualConnector"]


class DydxV4PerpetualConnector(PerpetualDerivativeBase):
    """
    dYdX v4's market and accounts, on whatever sources it is given.

    It cannot trade: nothing here signs an action or knows the endpoint that takes one.

    Example:
        live = DydxV4PerpetualConnector.live(["BTC-USD"], ["dydx1.../0"])
        replayed = DydxV4PerpetualConnector(replay, replay)  # a ReplayDataSource is both sources
    """

    @classmethod
    def live(cls, trading_pairs: Sequence[str], accounts: Sequence[str] = (), **options: Any) -> Self:
        """
        A connector on the venue itself; `connect` opens it.

        Args:
            trading_pairs: Pairs.
            accounts: Subaccounts to follow, as `dydx1.../0`.
            options: As for `DydxV4Session`.

        Raises:
            ConfigError: An address that is none, too many accounts, or a bad option.
        """
        session = DydxV4Session(trading_pairs, [DydxV4Auth.parse(account) for account in accounts], **options)
        return cls(session.market, session.user_stream if accounts else None)
