"""
Which trades are new: neither of before the subscription, nor reported before.

The first `trades` frame after each subscribe repeats recent trades, unflagged (documented, and captured 2026-07-07).
Those of them that happened before the subscribe are history. Of a quiet coin there may be none: its first frame is a
live one, an hour later perhaps, so the time of a trade tells and not the number of its frame.

A capture may begin in the middle of a stream, or hold a later subscribe that it does not show; a repeated trade gives
the latter away. Then age tells: trades that are seconds old when they come are history, and so is their whole frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.frames import Frame
from toolkit.venues.hyperliquid.venue_clock import VenueClock
from toolkit.venues.hyperliquid.wire import WireTrade

__all__ = ["TradeTape"]

#: Trades kept per coin to recognise a repeated one: a batch of history holds 10 to 30, and those that came while it was
#: on its way are not in it. So the newest ones are kept, and all of the last seconds, as long as they are not too many.
TRADES_REMEMBERED: Final = 64
TRADES_REMEMBERED_MAX: Final = 1024
REMEMBERED_MS: Final = 20_000
#: A live trade arrives within a second; the batch after a subscribe reaches back ten seconds at the least.
LIVE_AGE_NS_MAX: Final = 3 * NS_PER_S

#: The batch comes within 0.3 s of the subscribe; a slow road may hold it up, or let a live trade pass it.
BATCH_NS_MAX: Final = 10 * NS_PER_S

#: Time and id; without an id, what else there is of it.
_Key = tuple[int, int | str]


class TradeTape:
    """
    The trades of every coin that were reported.

    Args:
        clock: The venue's, as its stamps tell it.
    """

    def __init__(self, clock: VenueClock) -> None:
        self._clock = clock
        self._seen: dict[str, dict[_Key, None]] = {}
        #: Our monotonic clock when a coin's trades were subscribed last.
        self._since: dict[str, int] = {}

    def subscribed(self, coin: str, frame: Frame) -> None:
        """The trades of a coin were asked for."""
        self._since[coin] = frame.ts_mono

    def forget_subscriptions(self) -> None:
        """No connection is left."""
        self._since.clear()

    def read(
        self, frame: Frame, trades: Sequence[WireTrade], firsts: Mapping[str, bool]
    ) -> tuple[list[bool], list[bool]]:
        """
        For each trade of a frame whether it is history, and whether it was reported before; from now on it was.

        `firsts` says of each coin whether this is its first frame since it was subscribed.
        """
        keys = _keys(trades)
        duplicate = []
        for key, trade in zip(keys, trades, strict=True):
            seen = self._seen.get(trade.coin)
            if seen is None:
                seen = self._seen[trade.coin] = {}
            if key in seen:
                duplicate.append(True)
                continue
            duplicate.append(False)
            seen[key] = None
            if len(seen) > TRADES_REMEMBERED:
                _forget(seen, trade.time - REMEMBERED_MS)
        suspected = [
            coin
            for coin, is_first in firsts.items()
            if is_first
            or self._is_fresh(coin, frame)
            or (True in duplicate and self._is_repeated(coin, trades, duplicate))
        ]
        if not suspected:
            return [False] * len(trades), duplicate
        self._clock.saw(frame)
        limits = {
            coin: self._history_until(frame, [trade.time for trade in trades if trade.coin == coin], coin)
            for coin in suspected
        }
        return [trade.time * NS_PER_MS < limits.get(trade.coin, 0) for trade in trades], duplicate

    @staticmethod
    def _is_repeated(coin: str, trades: Sequence[WireTrade], duplicate: Sequence[bool]) -> bool:
        return any(is_seen and trade.coin == coin for trade, is_seen in zip(trades, duplicate, strict=True))

    def _is_fresh(self, coin: str, frame: Frame) -> bool:
        """Whether the batch of history may still be on its way."""
        since = self._since.get(coin)
        return since is not None and frame.ts_mono - since < BATCH_NS_MAX

    def _history_until(self, frame: Frame, times: Sequence[int], coin: str) -> int:
        """The venue's time, ns, before which the trades of this frame are history."""
        since = self._since.get(coin)
        if since is not None:
            # No trade is of later than now, so the newest of them was made at most that long after the subscribe.
            elapsed_ns = frame.ts_mono - since
            return max(self._clock.at(since), max(times) * NS_PER_MS - elapsed_ns)
        now_ns = self._clock.at(frame.ts_mono)
        return now_ns if now_ns - min(times) * NS_PER_MS > LIVE_AGE_NS_MAX else 0

    def seen_of(self, coin: str) -> list[_Key]:
        """The trades of a coin that are remembered, as they came."""
        return list(self._seen.get(coin, ()))

    def take_seen(self, coin: str, keys: Iterable[_Key]) -> None:
        """These are the trades of a coin that are remembered: somebody else has read some."""
        self._seen[coin] = dict.fromkeys(keys)

    def since_of(self, coin: str) -> int | None:
        """Our monotonic clock when a coin's trades were subscribed last; None if they were not."""
        return self._since.get(coin)

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return {"seen": {coin: list(seen) for coin, seen in self._seen.items()}, "since": self._since}

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._seen = {coin: dict.fromkeys((time, name) for time, name in seen) for coin, seen in state["seen"].items()}
        self._since = dict(state["since"])


def _forget(seen: dict[_Key, None], before_ms: int) -> None:
    """Drop trades that came first, if they are that old or there are too many."""
    while (count := len(seen)) > TRADES_REMEMBERED:
        first = next(iter(seen))
        if first[0] >= before_ms and count <= TRADES_REMEMBERED_MAX:
            return
        del seen[first]


def _keys(trades: Sequence[WireTrade]) -> list[_Key]:
    """
    What each trade is known by: `tid` is a hash, unique with the time only, and 0 for a conversion of dust.

    Of those two may be alike in one frame; they are two trades all the same, so their place among each other counts.
    """
    keys: list[_Key] = [(trade.time, trade.tid) for trade in trades]
    if all(key[1] for key in keys):
        return keys
    alike: dict[tuple[int, str], int] = {}
    for place, trade in enumerate(trades):
        if not trade.tid:
            text = f"{trade.side}/{trade.px}/{trade.sz}/{trade.hash}"
            number = alike[trade.time, text] = alike.get((trade.time, text), -1) + 1
            keys[place] = (trade.time, f"{text}/{number}")
    return keys
