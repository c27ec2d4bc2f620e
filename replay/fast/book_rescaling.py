"""Compiled books in finer steps."""

from __future__ import annotations

from typing import Final

import numpy as np

from replay.fast.book_layout import Books, widen_store_of
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import clear_side, has_room, set_level, side_columns, slot_of

__all__ = ["rescale_pair"]

_clear_side: Final = plain(clear_side)
_has_room: Final = plain(has_room)
_set_level: Final = plain(set_level)
_slot_of: Final = plain(slot_of)
_side_columns: Final = plain(side_columns)


def rescale_pair(books: Books, pair: int, ticks: int, lots: int) -> Books:
    """The same books, of which one pair is counted in so many new steps of prices and sizes for each old one."""
    for side in (2 * pair, 2 * pair + 1):
        count = int(books.store.levels[side])
        keys, sizes = np.empty(count, np.int64), np.empty(count, np.int64)
        _side_columns(books.store, side, keys, sizes)
        counts = [int(books.counts[_slot_of(books.store, side, key), key & 63]) for key in keys]
        _clear_side(books.store, side)
        while not _has_room(books.store, side, count):
            books = widen_store_of(books)
        for key, size, orders in zip(keys * ticks, sizes * lots, counts, strict=True):
            _set_level(books.store, side, key, size)
            books.counts[_slot_of(books.store, side, key), key & 63] = orders
    row = books.pairs[pair]
    for pool, factor in ((books.pool_steps, ticks), (books.pool_sizes, lots)):
        kept = pool[pair, : int(row["pool"])]
        kept[kept >= 0] *= factor
    recent = books.recent[pair, : int(row["recent"])]
    for name in ("low", "high"):
        bounds = recent[name]
        bounds[np.abs(bounds) < 2**62] *= ticks
    return books
