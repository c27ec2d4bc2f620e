"""What a block changed in a book, level by level, for venues that speak in differences."""

from __future__ import annotations

from typing import NamedTuple

from replay.synthetic.book import Book

__all__ = ["Change", "LevelTracker"]


class Change(NamedTuple):
    """A level and its new size in lots; 0 where nothing is left."""

    is_bid: bool
    px: int
    lots: int


class LevelTracker:
    """The levels of one book as they were told last."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._version = -1
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self.changes()

    def changes(self) -> list[Change]:
        """
        What changed since the last call, best prices first.

        Levels that went or shrank come before those that came or grew, so a reader who takes them one by one never
        sees a book that crosses.
        """
        book = self._book
        if book.version == self._version:
            return []
        self._version = book.version
        less: list[Change] = []
        more: list[Change] = []
        for is_bid, side, old in ((True, book.bids, self._bids), (False, book.asks, self._asks)):
            new = {level.px: level.lots for level in side.levels()}
            for px, lots in new.items():
                before = old.get(px, 0)
                if lots != before:
                    (more if lots > before else less).append(Change(is_bid, px, lots))
            gone = sorted((px for px in old if px not in new), reverse=is_bid)
            less += [Change(is_bid, px, 0) for px in gone]
            if is_bid:
                self._bids = new
            else:
                self._asks = new
        return less + more
