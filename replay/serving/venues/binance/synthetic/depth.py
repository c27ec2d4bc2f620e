"""
Update ids and diffs of one symbol of the synthetic Binance.

Ids count the changes of all books together, as those of the matching engine seem to: the ranges of two frames of one
symbol need not touch, and only `pu` says what a frame follows. Every speed is a chain of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replay.market.engine.book import Book, Level
from replay.market.engine.facts import BookChange
from replay.market.engine.level_changes import LevelTracker
from replay.serving.venues.binance.synthetic.listing import Listed

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
        self._tracker = LevelTracker(book)
        self._chains = {name: _Chain(ns, update_id) for name, ns in every_ns.items()}

    def note(self, engine_id: int, time_ms: int) -> tuple[int, bool]:
        """Take in what a block changed; returns the engine's last id and whether the best quote is another."""
        changes = self._tracker.changes()
        if not changes:
            return engine_id, False
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
        data = self._head() | {"U": chain.first_id, "u": self.update_id, "pu": chain.last_id}
        for key, is_bid, side in (("b", True, self.book.bids), ("a", False, self.book.asks)):
            prices = sorted((px for touched_bid, px in chain.touched if touched_bid is is_bid), reverse=is_bid)
            queues = ((px, side.queues.get(side.sign * px)) for px in prices)
            data[key] = [self.listed.level(px, 0 if queue is None else queue.lots) for px, queue in queues]
        chain.last_id = self.update_id
        chain.touched = {}
        return data

    def _head(self) -> dict[str, Any]:
        symbol = self.listed.symbol
        return {
            "e": "depthUpdate",
            "E": self.time_ms + 1,
            "T": self.time_ms,
            "s": symbol,
            "ps": symbol,
            "st": 1,
        }

    def partial(self, levels: int, prev_id: int) -> dict[str, Any]:
        """A partial book: the keys of a diff, but whole."""
        ids = {"U": self.update_id, "u": self.update_id, "pu": prev_id}
        return self._head() | ids | dict(zip(("b", "a"), self._sides(levels), strict=True))

    def snapshot(self, levels: int, time_ms: int) -> dict[str, Any]:
        """REST `depth`."""
        bids, asks = self._sides(levels)
        time_ms = self.time_ms or time_ms
        return {"lastUpdateId": self.update_id, "E": time_ms + 1, "T": time_ms, "bids": bids, "asks": asks}

    def _sides(self, levels: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        level = self.listed.level
        bids, asks = self.book.bids.levels(levels), self.book.asks.levels(levels)
        return [level(each.px, each.lots) for each in bids], [level(each.px, each.lots) for each in asks]

    def ticker(self) -> dict[str, Any]:
        """`bookTicker`; 0 where a side is empty."""
        bid, ask = self.quote
        head = self._head()
        symbol = self.listed.symbol
        bid_px, bid_sz = self.listed.level(bid.px, bid.lots) if bid else self.listed.level(0, 0)
        ask_px, ask_sz = self.listed.level(ask.px, ask.lots) if ask else self.listed.level(0, 0)
        return {
            "e": "bookTicker",
            "u": self.update_id,
            "s": symbol,
            "ps": symbol,
            "b": bid_px,
            "B": bid_sz,
            "a": ask_px,
            "A": ask_sz,
            "T": head["T"],
            "E": head["E"],
            "st": 1,
        }


def _touch(chain: _Chain, changes: Sequence[BookChange], first_id: int) -> None:
    if not chain.touched:
        chain.first_id = first_id
    for change in changes:
        chain.touched[change.is_bid, change.px] = None


def _prices(quote: Quote) -> tuple[tuple[int, int] | None, ...]:
    return tuple(None if level is None else (level.px, level.lots) for level in quote)
