"""What changed in a book between two looks, level by level, for venues that send differences."""

from __future__ import annotations

from replay.market.engine.book import Book
from replay.market.engine.facts import BookChange

__all__ = ["LevelTracker"]


class LevelTracker:
    """The levels of one book as they were last reported."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._version = -1
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self.changes()

    def changes(self) -> list[BookChange]:
        """
        What changed since the last call, best prices first.

        Levels that went or shrank come before those that came or grew, so a reader who takes them one by one never
        sees a book that crosses.
        """
        book = self._book
        if book.version == self._version:
            return []
        self._version = book.version
        less: list[BookChange] = []
        more: list[BookChange] = []
        for is_bid, side, old in ((True, book.bids, self._bids), (False, book.asks, self._asks)):
            new = {level.px: level.lots for level in side.levels()}
            for px, lots in new.items():
                before = old.get(px, 0)
                if lots != before:
                    (more if lots > before else less).append(BookChange(is_bid, px, lots))
            gone = sorted((px for px in old if px not in new), reverse=is_bid)
            less += [BookChange(is_bid, px, 0) for px in gone]
            if is_bid:
                self._bids = new
            else:
                self._asks = new
        return less + more
