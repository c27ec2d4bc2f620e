"""
The place where orders meet: a book per instrument, the trades that come of them, and who is notified.

It has no time of its own: `number` and `time_ms` are set by what drives it, in turns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from hashlib import blake2b
from typing import Protocol

from replay.market.engine.book import Book, Fill
from replay.market.engine.facts import FundingSettled, Trade
from replay.market.engine.instruments import Instrument
from replay.market.engine.orders import Order

__all__ = ["ZERO_HASH", "Marketplace", "Participant"]

#: Hash of what no user's transaction caused: liquidations, triggered orders.
ZERO_HASH = "0x" + "0" * 64
_MASK = (1 << 64) - 1
#: Trades that are remembered of each instrument.
_TRADES_KEPT = 200


class Participant(Protocol):
    """Who takes part in a marketplace and hears what happens there."""

    def act(self, market: Marketplace, block: int, time_ms: int) -> None:
        """Called once in every turn."""

    def filled(self, symbol: str, fill: Fill, trade: Trade) -> None:
        """Called for every fill of an order, in order, once all of them are known."""

    def matched(self, symbol: str) -> None:
        """Called after the last fill of an order, when the book is at rest again."""

    def funded(self, row: FundingSettled) -> None:
        """Called for each perpetual when its funding is settled."""


class Marketplace(ABC):
    """
    Books, and the rule by which orders in them trade: best price first, then the oldest.

    Args:
        seed: Seed of the hashes of transactions.
        first_oid: Id before that of the first order.

    Attributes:
        instruments: Instruments by symbol, in the order of the listing.
        books: Books by symbol; both sides of an outcome share one book, kept in the prices of the first.
        number: Turns made so far.
        time_ms: Time of the turn, ms since the Unix epoch.
        history: Latest trades by symbol, oldest first.
        participants: Receivers of facts, in the order in which they are notified.
    """

    def __init__(self, seed: int | str, first_oid: int) -> None:
        self.instruments: dict[str, Instrument] = {}
        self.books: dict[str, Book] = {}
        self.history: dict[str, deque[Trade]] = {}
        self.participants: list[Participant] = []
        self._primary: dict[str, str] = {}
        self.number = 0
        self.time_ms = 0
        self._seed = seed
        self._oid = first_oid
        self._actions = 0
        #: Trades of this turn, by symbol.
        self._trades: dict[str, list[Trade]] = {}

    @abstractmethod
    def mark(self, symbol: str) -> int:
        """Mark price of a perpetual, in price units."""

    def list_instrument(self, instrument: Instrument) -> Book:
        """Open an instrument for trading; returns its book, which is that of its mirror where that is listed already."""
        symbol = instrument.symbol
        self.instruments[symbol] = instrument
        self.history[symbol] = deque(maxlen=_TRADES_KEPT)
        shared = self.books.get(instrument.mirror) if instrument.mirror is not None else None
        book = self.books[symbol] = Book() if shared is None else shared
        self._primary[symbol] = symbol if shared is None or instrument.mirror is None else instrument.mirror
        return book

    def primary(self, symbol: str) -> str:
        """The symbol in whose prices the book of `symbol` is kept."""
        return self._primary[symbol]

    def next_oid(self) -> int:
        """The next order id."""
        self._oid += 1
        return self._oid

    def take(self, symbol: str, order: Order, *, tx_hash: str | None = None) -> tuple[list[Fill], list[Order]]:
        """
        Trade an order against the book of `symbol` up to its limit; what is left of it stays with the caller.

        Args:
            symbol: The instrument in whose prices the order is.
            order: The taker.
            tx_hash: Transaction that the trades name; made up if None.

        Returns:
            The fills, and the taker's own resting orders that were cancelled instead of traded with.
        """
        fills, own = self.books[symbol].match(order)
        if fills:
            self._actions += 1
            digest = tx_hash or self._hash(symbol)
            for fill in fills:
                self._print(symbol, fill, digest)
            for participant in self.participants:
                participant.matched(symbol)
        return fills, own

    def _hash(self, symbol: str) -> str:
        text = f"{self._seed}/{self.instruments[symbol].key}/{self.number}/{self._actions}"
        return "0x" + blake2b(text.encode(), digest_size=32).hexdigest()

    def _print(self, symbol: str, fill: Fill, digest: str) -> None:
        """Put a fill on the tape of its instrument and, of an outcome, mirrored on that of the other side."""
        instrument = self.instruments[symbol]
        is_buy = fill.taker.is_buy
        buy, sell = (fill.taker, fill.maker) if is_buy else (fill.maker, fill.taker)
        trade = Trade(
            symbol, is_buy, fill.px, fill.lots, self.time_ms, digest, _tid(buy.oid, sell.oid), buy.owner, sell.owner
        )
        self._publish(trade)
        if instrument.mirror is not None:
            # Who buys one side sells the other: the roles swap, and with them the id, a hash of (buyer, seller).
            tid = _tid(sell.oid, buy.oid)
            px = instrument.one - fill.px
            self._publish(
                Trade(instrument.mirror, not is_buy, px, fill.lots, self.time_ms, digest, tid, sell.owner, buy.owner)
            )
        for participant in self.participants:
            participant.filled(symbol, fill, trade)

    def _publish(self, trade: Trade) -> None:
        self._trades.setdefault(trade.symbol, []).append(trade)
        self.history[trade.symbol].append(trade)


def _tid(buyer_oid: int, seller_oid: int) -> int:
    """The trade id: 50 bits of a hash of (buyer's order id, seller's order id)."""
    value = (buyer_oid * 0x9E3779B97F4A7C15 + seller_oid * 0xC2B2AE3D27D4EB4F) & _MASK
    value = (value ^ (value >> 29)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 32)) * 0x94D049BB133111EB & _MASK
    return (value ^ (value >> 31)) >> 14
