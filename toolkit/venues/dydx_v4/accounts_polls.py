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
from toolkit.venues.dydx_v4.symbols import FUNDING_INTERVAL_S

__all__ = ["JOINED_S", "AccountPolls"]

#: Payments are computed by a task that runs after the settlement of the hour (Indexer, roundtable); REST lags.
DELAY_S: Final = 90
#: Equity is asked for again this long after the account traded, at most this often.
TOUCHED_S: Final = 60
#: REST may still be behind what the venue did between a snapshot and the updates after it: it is asked once more.
JOINED_S: Final = 20
#: What is in doubt (positions, and which order a fill is of) is asked for after this, then after twice as long, and so on.
DOUBT_S: Final = 1
DOUBT_S_MAX: Final = 60
#: A poll that got no answer is made again after this, likewise.
FAILED_S: Final = 30
FAILED_S_MAX: Final = 600

_Key = tuple[str, str]


class AccountPolls:
    """When each subaccount was asked about."""

    def __init__(self) -> None:
        self._wall_less_mono_ns = 0
        self._hour = 0
        self._asked_mono = 0
        self._touched: dict[str, int] = {}
        self._joined: dict[str, int] = {}
        #: When to ask again, and how long to wait after that, seconds.
        self._doubted: dict[_Key, tuple[int, int]] = {}
        self._failed: dict[_Key, tuple[int, int]] = {}
        self._refused: set[_Key] = set()

    def begin(self, frame: Frame) -> None:
        """A connection of accounts was made."""
        self._wall_less_mono_ns = frame.ts_recv - frame.ts_mono
        if not self._hour:
            self._hour, self._asked_mono = self._hour_of(frame.ts_recv), frame.ts_mono

    def ended(self) -> None:
        """The session is over; the next one has another monotonic clock."""
        self._touched.clear()
        self._joined.clear()
        self._doubted.clear()
        self._failed.clear()

    def touched(self, name: str, mono_ns: int) -> None:
        """Its collateral or a position changed, and so its equity."""
        self._touched.setdefault(name, mono_ns)

    def joined(self, name: str, mono_ns: int) -> None:
        """A snapshot of it came."""
        self._joined[name] = mono_ns

    def doubted(self, what: str, name: str, mono_ns: int) -> None:
        """What a request tells is in doubt; it has just been made."""
        self._doubted[what, name] = (mono_ns + DOUBT_S * NS_PER_S, 2 * DOUBT_S)

    def settled(self, what: str, name: str) -> None:
        """What that request tells is known."""
        self._doubted.pop((what, name), None)

    def failed(self, what: str, name: str, mono_ns: int) -> None:
        """A request got no answer."""
        if what in _CALLS and (what, name) not in self._refused:
            wait_s = self._failed.get((what, name), (0, FAILED_S))[1]
            self._failed[what, name] = (mono_ns + wait_s * NS_PER_S, min(2 * wait_s, FAILED_S_MAX))

    def answered(self, what: str, name: str) -> None:
        """A request was answered."""
        self._failed.pop((what, name), None)

    def refused(self, what: str, name: str) -> None:
        """The venue does not answer it here: it is asked no more."""
        self._refused.add((what, name))
        self._failed.pop((what, name), None)

    def due(self, names: Iterable[tuple[str, bool]], mono_ns: int) -> list[RestCall]:
        """What to ask for at that time; names with whether they are parents."""
        if not self._hour:
            return []
        hour = self._hour_of(mono_ns + self._wall_less_mono_ns)
        # A clock that was set may show one hour twice: an hour is one, whatever it shows.
        is_new_hour = hour != self._hour or mono_ns - self._asked_mono >= FUNDING_INTERVAL_S * NS_PER_S
        if is_new_hour:
            self._hour, self._asked_mono = hour, mono_ns
        calls: list[RestCall] = []
        for name, is_parent in names:
            wanted = dict.fromkeys(self._again(name, mono_ns))
            if is_new_hour:
                # The others too: the stream may have lost some unseen, upstream of the venue's own sockets.
                wanted |= dict.fromkeys(("accountFunding", "accountOrders", "accountFills", "accountTransfers"))
            if self._is_over(self._joined, name, JOINED_S, mono_ns):
                wanted |= dict.fromkeys(("accountOrders", "accountFills", "accountTransfers", "subaccount"))
            if self._is_over(self._touched, name, TOUCHED_S, mono_ns) or is_new_hour:
                self._touched.pop(name, None)
                wanted["subaccount"] = None
            wanted |= dict.fromkeys(what for what in _CALLS if self._is_doubt_due((what, name), mono_ns))
            calls += [_CALLS[what](name, is_parent=is_parent) for what in wanted if (what, name) not in self._refused]
        return calls

    def _again(self, name: str, mono_ns: int) -> list[str]:
        """What got no answer, and is asked again now."""
        again = [what for (what, each), (due, _) in self._failed.items() if each == name and mono_ns >= due]
        for what in again:
            _, wait_s = self._failed[what, name]
            self._failed[what, name] = (mono_ns + wait_s * NS_PER_S, min(2 * wait_s, FAILED_S_MAX))
        return again

    @staticmethod
    def _is_over(since: dict[str, int], name: str, wait_s: int, mono_ns: int) -> bool:
        if name not in since or mono_ns - since[name] < wait_s * NS_PER_S:
            return False
        del since[name]
        return True

    def _is_doubt_due(self, key: _Key, mono_ns: int) -> bool:
        due, wait_s = self._doubted.get(key, (None, 0))
        if due is None or mono_ns < due:
            return False
        self._doubted[key] = (mono_ns + wait_s * NS_PER_S, min(2 * wait_s, DOUBT_S_MAX))
        return True

    @staticmethod
    def _hour_of(wall_ns: int) -> int:
        return (wall_ns // NS_PER_S - DELAY_S) // FUNDING_INTERVAL_S


_CALLS: Final = {
    "subaccount": rest.subaccount_call,
    "accountFunding": rest.funding_call,
    "accountOrders": rest.orders_call,
    "accountFills": rest.fills_call,
    "accountTransfers": rest.transfers_call,
}
