"""
Update ids and diffs of one symbol of the synthetic Binance. Every speed is a chain of its own.

On futures ids count the changes of all books together, as those of the matching engine seem to: the ranges of two frames of
one symbol need not touch, and only `pu` says what a frame follows. On spot each symbol counts its own, and a frame begins
where the one before ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replay.market.engine.book import Book, Level
from replay.market.engine.facts import BookChange
from replay.market.engine.level_changes import LevelTracker
from replay.serving.venues.binance.synthetic.listing import Listed
from replay.serving.venues.binance.synthetic.words import Levels, words_of

__all__ = ["Depth", "Quote"]

#: Best bid and ask.
Quote = tuple[Level | None, Level | None]


class _Chain:
    """One speed of one symbol: what was touched since its last frame."""

    def __init__(self, every_ns: int, update_id: int) -> None:
        self.every_ns = every_ns
        self.turn = -1
        self.first_id = 0
        self.last_id = update_id
        self.touched: dict[tuple[bool, int], None] = {}


class Depth:
    """
    The book of one symbol in the venue's words.

    Args:
        listed: The symbol.
        book: Its orders.
        every_ns: Least time between diffs by stream name; 0 for one per change.
        update_id: The engine's last id.
    """

    def __init__(self, listed: Listed, book: Book, every_ns: dict[str, int], update_id: int) -> None:
        self.listed = listed
        self.book = book
        self.update_id = update_id
        self.time_ms = 0
        self.quote: Quote = (book.bids.best_level(), book.asks.best_level())
        self._words = words_of(listed)
        self._tracker = LevelTracker(book)
        self._chains = {name: _Chain(ns, update_id) for name, ns in every_ns.items()}

    def note(self, engine_id: int, time_ms: int) -> tuple[int, bool]:
        """Take in what a block changed; returns the engine's last id and whether the best quote is another."""
        changes = self._tracker.changes()
        if not changes:
            return engine_id, False
        if self.listed.product.is_spot:
            engine_id = self.update_id
        self.update_id = engine_id + len(changes)
        self.time_ms = time_ms
        for chain in self._chains.values():
            _touch(chain, changes, engine_id + 1)
        quote = (self.book.bids.best_level(), self.book.asks.best_level())
        is_new = _prices(quote) != _prices(self.quote)
        self.quote = quote
        return self.update_id, is_new

    def due(self, time_ns: int) -> list[tuple[str, dict[str, Any]]]:
        """The diffs that a block's time makes due, by stream name. An interval without a change has none."""
        frames = []
        for name, chain in self._chains.items():
            turn = time_ns // chain.every_ns if chain.every_ns else time_ns
            if turn == chain.turn:
                continue
            chain.turn = turn
            if chain.touched:
                frames.append((name, self._diff(chain)))
        return frames

    def _diff(self, chain: _Chain) -> dict[str, Any]:
        ids = chain.first_id, self.update_id, chain.last_id
        bids, asks = (
            [
                self.listed.level(px, 0 if queue is None else queue.lots)
                for px in sorted((px for is_bid, px in chain.touched if is_bid is of_bids), reverse=of_bids)
                for queue in (side.queues.get(side.sign * px),)
            ]
            for of_bids, side in ((True, self.book.bids), (False, self.book.asks))
        )
        chain.last_id = self.update_id
        chain.touched = {}
        return self._words.diff(self.listed, self.time_ms, ids, bids, asks)

    def partial(self, levels: int, prev_id: int) -> dict[str, Any]:
        """A partial book."""
        return self._words.partial(self.listed, self.time_ms, (self.update_id, prev_id), *self._sides(levels))

    def snapshot(self, levels: int, time_ms: int) -> dict[str, Any]:
        """REST `depth`."""
        return self._words.snapshot(self.listed, self.time_ms or time_ms, self.update_id, *self._sides(levels))

    def _sides(self, levels: int) -> tuple[Levels, Levels]:
        level = self.listed.level
        bids, asks = self.book.bids.levels(levels), self.book.asks.levels(levels)
        return [level(each.px, each.lots) for each in bids], [level(each.px, each.lots) for each in asks]

    def ticker(self) -> dict[str, Any]:
        """`bookTicker`; 0 where a side is empty."""
        bid, ask = (self.listed.level(each.px, each.lots) if each else self.listed.level(0, 0) for each in self.quote)
        return self._words.ticker(self.listed, self.time_ms, self.update_id, bid, ask)


def _touch(chain: _Chain, changes: Sequence[BookChange], first_id: int) -> None:
    if not chain.touched:
        chain.first_id = first_id
    for change in changes:
        chain.touched[change.is_bid, change.px] = None


def _prices(quote: Quote) -> tuple[tuple[int, int] | None, ...]:
    return tuple(None if level is None else (level.px, level.lots) for level in quote)
