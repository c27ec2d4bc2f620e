"""
A limit order book at the level of single orders: price-time priority, integer prices and sizes, no I/O.

The two sides of an outcome have books that are each other's mirror: buying one at p is selling the other at 1 - p. They are
one book here, kept in the prices of the first; an order placed on the second is `mirrored`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import NamedTuple

from replay.market.engine.orders import Order

__all__ = ["Book", "Fill", "Level", "Side"]


class Fill(NamedTuple):
    """
    One match.

    Attributes:
        maker: The order that rested; it holds what is left of it.
        taker: The order that came; it holds what is left of it after all of its fills.
        px: Price of the maker.
        lots: Size.
        taker_left: Remainder of the taker after this fill, lots.
    """

    maker: Order
    taker: Order
    px: int
    lots: int
    taker_left: int


class Level(NamedTuple):
    """One price level: price in units, total lots, number of orders."""

    px: int
    lots: int
    n: int


class _Queue:
    """The orders at one price, oldest first (a dict keeps insertion order and deletes in O(1))."""

    __slots__ = ("lots", "orders")

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.lots = 0


class Side:
    """One side of a book. `keys` ascend towards the best price: the price for bids, minus the price for asks."""

    __slots__ = ("keys", "queues", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.queues: dict[int, _Queue] = {}

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def best(self) -> int | None:
        """Best price, in units, or None if the side is empty."""
        return self.sign * self.keys[-1] if self.keys else None

    def best_level(self) -> Level | None:
        """Price, size and number of orders at the best price."""
        if not self.keys:
            return None
        queue = self.queues[self.keys[-1]]
        return Level(self.sign * self.keys[-1], queue.lots, len(queue.orders))

    def levels(self, depth: int | None = None) -> list[Level]:
        """The best `depth` levels (all if None), best first."""
        sign, queues = self.sign, self.queues
        keys = self.keys if depth is None else self.keys[-depth:]
        return [Level(sign * key, queues[key].lots, len(queues[key].orders)) for key in reversed(keys)]

    def orders(self) -> Iterator[Order]:
        """All orders in priority: best price first, oldest first."""
        for key in reversed(self.keys):
            yield from self.queues[key].orders.values()

    def native_best(self, mirrored: bool) -> Level | None:
        """The best level counting only orders placed on one of the two sides of an outcome."""
        for key in reversed(self.keys):
            own = [order.lots for order in self.queues[key].orders.values() if order.mirrored is mirrored]
            if own:
                return Level(self.sign * key, sum(own), len(own))
        return None

    def add(self, order: Order) -> None:
        key = self.sign * order.px
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = _Queue()
            insort(self.keys, key)
        queue.orders[order.oid] = order
        queue.lots += order.lots

    def remove(self, order: Order) -> None:
        key = self.sign * order.px
        queue = self.queues[key]
        del queue.orders[order.oid]
        queue.lots -= order.lots
        if not queue.orders:
            self.drop(key)

    def drop(self, key: int) -> None:
        """Forget an empty price."""
        del self.queues[key]
        if self.keys[-1] == key:
            self.keys.pop()
        else:
            del self.keys[bisect_left(self.keys, key)]


class Book:
    """Bids and asks of one instrument (or of both sides of an outcome), and every resting order by id."""

    __slots__ = ("asks", "bids", "orders", "version")

    def __init__(self) -> None:
        self.bids = Side(1)
        self.asks = Side(-1)
        self.orders: dict[int, Order] = {}
        #: Counts every change, so that a reader knows whether to look again.
        self.version = 0

    def crosses(self, is_buy: bool, px: int) -> bool:
        """Whether an order at that price would trade at once."""
        if is_buy:
            best = self.asks.best
            return best is not None and px >= best
        best = self.bids.best
        return best is not None and px <= best

    def rest(self, order: Order) -> None:
        """Put what is left of an order into the book, behind the others at its price."""
        (self.bids if order.is_buy else self.asks).add(order)
        self.orders[order.oid] = order
        self.version += 1

    def cancel(self, oid: int) -> Order | None:
        """Take an order out; None if it does not rest here."""
        order = self.orders.pop(oid, None)
        if order is not None:
            (self.bids if order.is_buy else self.asks).remove(order)
            self.version += 1
        return order

    def match(self, taker: Order) -> tuple[list[Fill], list[Order]]:
        """
        Trade an order against the other side, up to its limit price.

        Returns:
            The fills in order, and the taker owner's own resting orders that stood in the way: the exchange
            cancels those instead of letting an owner trade with himself.
        """
        side = self.asks if taker.is_buy else self.bids
        limit = side.sign * taker.px
        fills: list[Fill] = []
        own: list[Order] = []
        while taker.lots and side.keys and side.keys[-1] >= limit:
            key = side.keys[-1]
            queue = side.queues[key]
            maker = next(iter(queue.orders.values()))
            if maker.owner == taker.owner:
                own.append(maker)
                self.cancel(maker.oid)
                continue
            lots = min(taker.lots, maker.lots)
            taker.lots -= lots
            maker.lots -= lots
            queue.lots -= lots
            fills.append(Fill(maker, taker, side.sign * key, lots, taker.lots))
            if not maker.lots:
                del queue.orders[maker.oid], self.orders[maker.oid]
                if not queue.orders:
                    side.drop(key)
        if fills:
            self.version += 1
        return fills, own
