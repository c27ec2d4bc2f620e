"""dYdX v4's books: levels as columns, checked. Snapshots are objects and whole, updates are arrays and absolute."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, Protocol

import msgspec

from toolkit.books.orderbook import check_levels
from toolkit.errors import BookError, ParseError
from toolkit.venues.dydx_v4.wire import (
    BookLevels,
    Envelope,
    decode_book_change,
    decode_book_changes,
    decode_book_levels,
)

__all__ = ["DEPTH_CAP", "BookColumns", "read_book", "read_levels"]

#: Levels a side in a snapshot; deeper ones are unknown until they change.
DEPTH_CAP: Final = 100

_Side = tuple[tuple[float, ...], tuple[float, ...]]


class BookColumns(msgspec.Struct, frozen=True):
    """
    The levels of one frame, as the messages hold them.

    Attributes:
        bids: Prices and sizes.
        asks: Prices and sizes.
        is_snapshot: Whether it is the whole book.
    """

    bids: _Side
    asks: _Side
    is_snapshot: bool


class _Level(Protocol):
    price: float
    size: float


def read_book(envelope: Envelope) -> BookColumns:
    """The levels in a frame of `v4_orderbook`. Raises ParseError."""
    if not envelope.id:
        raise ParseError("a book without the id of its market")
    if envelope.type == "subscribed":
        return read_levels(decode_book_levels(envelope.contents))
    if envelope.type == "channel_batch_data":
        changes = decode_book_changes(envelope.contents)
    else:
        changes = [decode_book_change(envelope.contents)]
    bids = [level for change in changes for level in change.bids]
    asks = [level for change in changes for level in change.asks]
    if not bids and not asks:
        raise ParseError("a change of a book without a level")
    return BookColumns(_changed(bids), _changed(asks), False)


def read_levels(levels: BookLevels) -> BookColumns:
    """A whole book, in a subscription's answer or from REST. Raises ParseError."""
    return BookColumns(_whole(levels.bids, is_bid=True), _whole(levels.asks, is_bid=False), True)


def _changed(levels: Sequence[_Level]) -> _Side:
    for level in levels:
        if not (0 < level.price < inf and 0 <= level.size < inf):
            raise ParseError(f"level {level.price} x {level.size}: expected a positive price and a size of 0 or more")
    return tuple([level.price for level in levels]), tuple([level.size for level in levels])


def _whole(levels: Sequence[_Level], *, is_bid: bool) -> _Side:
    # Computed levels that would be negative are clamped to 0 by the venue: nothing rests there.
    prices, sizes = _changed([level for level in levels if level.size != 0])
    if sorted(prices, reverse=is_bid) != list(prices):
        order = sorted(zip(prices, sizes, strict=True), reverse=is_bid)
        prices, sizes = tuple([price for price, _ in order]), tuple([size for _, size in order])
    try:
        check_levels((prices, sizes, ()), is_bid=is_bid)
    except BookError as exc:
        raise ParseError(str(exc)) from None
    return prices, sizes
