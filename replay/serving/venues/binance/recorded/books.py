"""
A symbol's book at the tape's present, in the venue's own digits, and the `lastUpdateId` to which the tape's next diff joins.

The rules of joining are the venue's (`toolkit.venues.binance.depth`). As long as there is no snapshot to which the diffs
fit, there is no book: none is better than a wrong one.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from replay.serving.face import UNREADABLE
from toolkit.venues.binance.depth import follows, is_within

__all__ = ["Diff", "Snapshot", "TapeBook", "decode_diff", "decode_snapshot"]

#: Diffs kept while there is no snapshot that they fit.
_PENDING_MAX: Final = 1024
#: Levels that wait to be put in.
_NEWS_MAX: Final = 20_000

_Levels = list[tuple[str, str]]
#: Price and size as they were written, by the price.
_Side = dict[float, tuple[str, str]]


class Diff(msgspec.Struct, gc=False):
    """`depthUpdate`: changed levels, sizes absolute."""

    U: int
    u: int
    b: _Levels
    a: _Levels
    pu: int | None = None
    E: int = 0
    T: int = 0


class Snapshot(msgspec.Struct, gc=False):
    """REST `depth`, and what captures have of it."""

    lastUpdateId: int  # noqa: N815  # the venue's own name
    bids: _Levels
    asks: _Levels
    E: int = 0
    T: int = 0


_diff_decoder: Final = msgspec.json.Decoder(Diff)
_snapshot_decoder: Final = msgspec.json.Decoder(Snapshot)


def decode_diff(data: bytes) -> Diff | None:
    """A diff; None for what is none."""
    try:
        return _diff_decoder.decode(data)
    except UNREADABLE:
        return None


def decode_snapshot(data: bytes) -> Snapshot | None:
    """A snapshot; None for what is none."""
    try:
        return _snapshot_decoder.decode(data)
    except UNREADABLE:
        return None


class TapeBook:
    """
    Attributes:
        last_id: Number of the last update in the book; None while there is no book.
    """

    def __init__(self, *, is_spot: bool) -> None:
        self._is_spot = is_spot
        self.last_id: int | None = None
        self._bids: _Side = {}
        self._asks: _Side = {}
        #: Sizes said since by the price as it was written: most levels change often before anybody asks for the book.
        self._bid_news: dict[str, str] = {}
        self._ask_news: dict[str, str] = {}
        self._times = (0, 0)
        self._is_bare = False
        #: While nothing followed the snapshot: the diffs of its chain that are within it.
        self._before: list[Diff] = []
        self._pending: list[Diff] = []
        #: While there is a book and another snapshot was asked for: the diffs since.
        self._since: list[Diff] | None = None
        #: A snapshot that is ahead of the diffs.
        self._spare: Snapshot | None = None

    def asked(self) -> None:
        """The recorder asks for a snapshot: what comes until it is there may have to be put on top of it."""
        if self.last_id is not None:
            self._since = []

    def lose(self) -> None:
        """There is no book any more."""
        self.last_id = None
        self._bids, self._asks = {}, {}
        self._bid_news, self._ask_news = {}, {}
        self._before = []
        self._pending = []
        self._since = None
        self._spare = None

    def take(self, diff: Diff) -> None:
        """The next diff of the tape."""
        if self.last_id is None:
            self._wait(diff)
        elif self._follows(diff, self.last_id, is_first=self._is_bare):
            if self._before and self._follows(diff, self._before[-1].u, is_first=False):
                self._read_before(self._before)
            self._apply(diff)
            if self._since is not None:
                self._since.append(diff)
                if len(self._since) > _PENDING_MAX:
                    self._since = self._spare = None
        elif diff.u > self.last_id or diff.E > self._times[0] > 0:
            # Old ids with a newer time: the venue has restarted its count.
            self.lose()
            self._pending = [diff]
        elif self._is_bare and (not self._before or diff.u > self._before[-1].u):
            is_next = bool(self._before) and self._follows(diff, self._before[-1].u, is_first=False)
            self._before = [*self._before, diff] if is_next else [diff]
        if self._spare is not None:
            self.join(self._spare)

    def _wait(self, diff: Diff) -> None:
        pending = self._pending
        if pending and not self._follows(diff, pending[-1].u, is_first=False):
            if diff.u <= pending[-1].u and diff.E <= pending[-1].E:
                return
            pending.clear()
        elif len(pending) >= _PENDING_MAX:
            del pending[0]
        pending.append(diff)

    def join(self, base: Snapshot) -> None:
        """A snapshot of the tape: it begins the book or refreshes it, if the diffs around it fit."""
        kept = self._pending if self.last_id is None else self._since
        if kept is None:
            return
        if self.last_id is not None and base.lastUpdateId > self.last_id:
            self._spare = base
            return
        following = [diff for diff in kept if not is_within(diff.u, base.lastUpdateId, is_spot=self._is_spot)]
        if following:
            if not self._follows(following[0], base.lastUpdateId, is_first=True):
                return
        elif self.last_id is not None and base.lastUpdateId < self.last_id:
            return
        self._bids = {float(price): (price, size) for price, size in base.bids}
        self._asks = {float(price): (price, size) for price, size in base.asks}
        self._bid_news, self._ask_news = {}, {}
        self._times = (base.E, base.T)
        self.last_id = base.lastUpdateId
        self._is_bare = True
        self._before = kept[: len(kept) - len(following)]
        if following:
            self._read_before(self._before)
        for diff in following:
            self._apply(diff)
        self._pending = []
        self._since = self._spare = None

    def _read_before(self, diffs: list[Diff]) -> None:
        """What diffs within the snapshot said last holds again at the end of the first one after it (`depth.py`)."""
        for diff in diffs:
            self._bid_news.update(diff.b)
            self._ask_news.update(diff.a)

    def _apply(self, diff: Diff) -> None:
        self._bid_news.update(diff.b)
        self._ask_news.update(diff.a)
        if len(self._bid_news) + len(self._ask_news) > _NEWS_MAX:
            self._read_news()
        self.last_id = diff.u
        self._times = (diff.E, diff.T)
        self._is_bare = False
        self._before = []

    def _read_news(self) -> None:
        for side, news in ((self._bids, self._bid_news), (self._asks, self._ask_news)):
            for price_text, size in news.items():
                price = float(price_text)
                if float(size):
                    side[price] = (price_text, size)
                else:
                    side.pop(price, None)
            news.clear()

    def _follows(self, diff: Diff, last_id: int, *, is_first: bool) -> bool:
        return follows(diff.U, diff.pu, diff.u, last_id, is_spot=self._is_spot, is_first=is_first)

    def reply(self, levels: int) -> dict[str, Any] | None:
        """REST `depth`; None while there is no book."""
        if self.last_id is None:
            return None
        self._read_news()
        return {"lastUpdateId": self.last_id, **self._said_at(*self._times), **self._sides(levels)}

    def best(self) -> tuple[tuple[str, str] | None, tuple[str, str] | None] | None:
        """Best bid and ask; None while there is no book."""
        if self.last_id is None:
            return None
        self._read_news()
        return (
            self._bids[max(self._bids)] if self._bids else None,
            self._asks[min(self._asks)] if self._asks else None,
        )

    def cut(self, base: Snapshot, levels: int) -> dict[str, Any]:
        """REST `depth` of a snapshot as it is."""
        times = self._said_at(base.E, base.T)
        return {"lastUpdateId": base.lastUpdateId, **times, "bids": base.bids[:levels], "asks": base.asks[:levels]}

    def _said_at(self, event_ms: int, engine_ms: int) -> dict[str, int]:
        return {} if self._is_spot else {"E": event_ms, "T": engine_ms}

    def _sides(self, levels: int) -> dict[str, Any]:
        bids = sorted(self._bids, reverse=True)[:levels]
        asks = sorted(self._asks)[:levels]
        return {"bids": [self._bids[price] for price in bids], "asks": [self._asks[price] for price in asks]}
