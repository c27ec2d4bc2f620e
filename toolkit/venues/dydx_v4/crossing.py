"""
Whether a book has been crossed for long, as seen by an observer that looks once a second.

Only for deciding when to read a book again, so it keeps the levels unsorted: a look searches the best prices of the
books that changed, and a frame costs no more than a dict entry per level.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["CrossingWatch"]


class _Levels:
    __slots__ = ("asks", "bids", "has_changed", "since")

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.has_changed = False
        self.since: int | None = None


class CrossingWatch:
    """The raw levels of every book, by ticker."""

    def __init__(self) -> None:
        self._books: dict[str, _Levels] = {}

    def replace(self, ticker: str, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> None:
        """A snapshot came."""
        levels = self._books[ticker] = _Levels()
        levels.bids, levels.asks, levels.has_changed = dict(bids), dict(asks), True

    def change(self, ticker: str, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> None:
        """Levels changed; a size of 0 removes one."""
        levels = self._books.get(ticker)
        if levels is None:
            return
        levels.has_changed = True
        for side, changes in ((levels.bids, bids), (levels.asks, asks)):
            for price, size in changes:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)

    def crossed_since(self, ticker: str, mono_ns: int) -> int | None:
        """The first of the looks in a row, up to this one, that found the book crossed; None if it is not crossed."""
        levels = self._books.get(ticker)
        if levels is None:
            return None
        if levels.has_changed:
            levels.has_changed = False
            is_crossed = bool(levels.bids and levels.asks) and max(levels.bids) >= min(levels.asks)
            levels.since = (levels.since if levels.since is not None else mono_ns) if is_crossed else None
        return levels.since
