"""The recorded book of each pair, with what own orders have taken from it."""

from __future__ import annotations

import numpy as np

from replay.market.layout import NONE
from toolkit.kernels.compiling import inlined, kernel
from toolkit.kernels.levels import set_level, size_at, slot_of, worse_key, worst

__all__ = ["clear_book", "first_open", "forget_beyond", "open_lots", "set_book", "take_lots"]


@inlined
def set_book(s, line, key, lots, count):
    """
    Set a level.

    A level that crosses the other side makes that side's best price the next level strictly beyond; the levels it
    has passed stay, for the queues at their prices, until they are set or passed back.

    Returns:
        `(lots, count)` of the level before.
    """
    slot = slot_of(s.book, line, key)
    place = key & 63
    bit = np.uint64(1) << np.uint64(place)
    bits = s.book.bits[slot] if slot >= 0 else np.uint64(0)
    before, count_before = np.int64(0), np.int64(-1)
    if bits & bit:
        before, count_before = s.book.sizes[slot, place], s.counts[slot, place]
    if lots > 0 and bits & bit:
        # Most changes are of levels that are there: no second search for the page.
        s.book.sizes[slot, place] = lots
    elif lots > 0 or bits & bit:
        set_level(s.book, line, key, lots)
    if lots > 0:
        if slot < 0:
            slot = slot_of(s.book, line, key)
        s.taken[slot, place] = 0
        s.counts[slot, place] = count
        if key > s.lines[line]["best"]:
            s.lines[line]["best"] = key
            other = line ^ 1
            if key + s.lines[other]["best"] >= 0:
                s.lines[other]["best"] = worse_key(s.book, other, -key, NONE)
    elif key == s.lines[line]["best"]:
        s.lines[line]["best"] = worse_key(s.book, line, key, NONE)
    return before, count_before


@kernel
def clear_book(s, line, key):
    """Remove the levels from the best one to `key`; the best is then looked for two ticks further on, as rules say."""
    at = s.lines[line]["best"]
    while at != NONE and at >= key:
        set_level(s.book, line, at, np.int64(0))
        at = worse_key(s.book, line, at, NONE)
    s.lines[line]["best"] = worse_key(s.book, line, key - 1, NONE)


@kernel
def forget_beyond(s, line, key):
    """Remove the levels that are worse than `key`."""
    while s.book.pages[line] > 0 and worst(s.book, line) < key:
        set_level(s.book, line, worst(s.book, line), np.int64(0))
    if s.lines[line]["best"] < key:
        s.lines[line]["best"] = NONE


@kernel
def open_lots(s, line, key):
    """Lots at a level that can still be taken."""
    lots = size_at(s.book, line, key)
    if lots > 0 and s.rules[0]["taken_liquidity"]:
        lots -= s.taken[slot_of(s.book, line, key), key & 63]
    return lots


@kernel
def take_lots(s, line, key, lots):
    """Note what was taken from a level."""
    s.taken[slot_of(s.book, line, key), key & 63] += lots
    s.counters[0]["took"] = 1


@kernel
def first_open(s, line):
    """The best key of a side with lots that can be taken; `NONE` if there is none."""
    key = s.lines[line]["best"]
    while key != NONE and open_lots(s, line, key) <= 0:
        key = worse_key(s.book, line, key, NONE)
    return key
