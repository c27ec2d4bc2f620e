"""
What to ask for about accounts because of the time: dYdX v4 pushes neither funding payments nor equity.

Nothing here decides about messages: it only asks, so a replay need not have the same state.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from toolkit.clock import NS_PER_S
from toolkit.frames import Frame
from toolkit.protocol import RestCall
from toolkit.venues.dydx_v4 import accounts_rest as rest
from toolkit.venues.dydx_v4.markets import FUNDING_INTERVAL_S

__all__ = ["AccountPolls"]

#: Payments are computed by a task that runs after the settlement of the hour (Indexer, roundtable); REST is behind.
DELAY_S: Final = 90
#: Equity is asked for again this long after the account traded, at most this often.
TOUCHED_S: Final = 60


class AccountPolls:
    """When each subaccount was asked about."""

    def __init__(self) -> None:
        self._wall_less_mono_ns = 0
        self._hour = 0
        self._touched: dict[str, int] = {}

    def begin(self, frame: Frame) -> None:
        """A connection of accounts was made."""
        self._wall_less_mono_ns = frame.ts_recv - frame.ts_mono
        if not self._hour:
            self._hour = self._hour_of(frame.ts_recv)

    def touched(self, name: str, mono_ns: int) -> None:
        """Its collateral or a position changed, and so its equity."""
        self._touched.setdefault(name, mono_ns)

    def due(self, names: Iterable[tuple[str, bool]], mono_ns: int) -> list[RestCall]:
        """What to ask for at that time; names with whether they are parents."""
        if not self._hour:
            return []
        hour = self._hour_of(mono_ns + self._wall_less_mono_ns)
        is_new_hour = hour > self._hour
        self._hour = max(hour, self._hour)
        calls: list[RestCall] = []
        for name, is_parent in names:
            if is_new_hour:
                calls.append(rest.funding_call(name, is_parent=is_parent))
                # What the stream may have lost unseen, upstream of the venue's own sockets.
                calls.append(rest.orders_call(name, is_parent=is_parent))
                calls.append(rest.fills_call(name, is_parent=is_parent))
            since = self._touched.get(name)
            if is_new_hour or (since is not None and mono_ns - since >= TOUCHED_S * NS_PER_S):
                self._touched.pop(name, None)
                calls.append(rest.subaccount_call(name, is_parent=is_parent))
        return calls

    @staticmethod
    def _hour_of(wall_ns: int) -> int:
        return (wall_ns // NS_PER_S - DELAY_S) // FUNDING_INTERVAL_S
