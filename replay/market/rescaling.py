"""A pair of the core counted in finer ticks and lots: everything stays as it is, in other numbers."""

from __future__ import annotations

from typing import Final

import numpy as np

from replay.market.layout import FAR, HORIZON, NONE, State, widen_book
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import clear_side, has_room, set_level, slot_of

__all__ = ["Level", "levels_of", "rescale"]

_clear_side: Final = plain(clear_side)
_has_room: Final = plain(has_room)
_set_level: Final = plain(set_level)
_slot_of: Final = plain(slot_of)

#: Key, lots, what was taken of them, and the number of orders.
Level = tuple[int, int, int, int]


def rescale(state: State, pair: int, ticks: int, lots: int) -> State:
    """
    The same market, with one pair in finer steps.

    Args:
        state: State all of whose reports were taken; it is used up.
        pair: Place of the pair.
        ticks: How many new ticks an old one is.
        lots: How many new lots an old one is.
    """
    for line in (2 * pair, 2 * pair + 1):
        levels = levels_of(state, line)
        _clear_side(state.book, line)
        for key, size, taken, count in levels:
            while not _has_room(state.book, line, 1):
                state = widen_book(state)
            at = np.int64(key * ticks)
            _set_level(state.book, line, at, np.int64(size * lots))
            slot = _slot_of(state.book, line, at)
            state.taken[slot, at & 63], state.counts[slot, at & 63] = taken * lots, count
        _rescale_line(state, line, ticks, lots)
    facts = state.pairs[pair]
    # What is ahead in the other queues is counted in a unit of its own, which stays what it is.
    facts["lots_per_unit"] *= lots
    facts["lot"] /= lots
    facts["position"] *= lots
    if facts["reach"]:
        facts["reach"] = (facts["reach"] - 1) * ticks + 1
    return state


def levels_of(state: State, line: int) -> list[Level]:
    """The levels of a side of a pair, those too that the other side has passed, the worst first."""
    levels = []
    for index in range(int(state.book.pages[line])):
        slot = int(state.book.slot[line, index])
        page, bits = int(state.book.page[line, index]) * 64, int(state.book.bits[slot])
        for place in range(64):
            if bits >> place & 1:
                size, taken, count = (int(each[slot, place]) for each in (state.book.sizes, state.taken, state.counts))
                levels.append((page + place, size, taken, count))
    return levels


def _rescale_line(state: State, line: int, ticks: int, lots: int) -> None:
    row = state.lines[line]
    for name, nothing in (("best", NONE), ("horizon", HORIZON)):
        if row[name] != nothing:
            row[name] *= ticks
    row["mask"] = 0
    slot = int(row["head"])
    while slot >= 0:
        order = state.orders[slot]
        order["key"] *= ticks
        for name in ("lots", "left", "filled"):
            order[name] *= lots
        if order["front"] != FAR:
            order["front"] *= lots
        row["mask"] |= np.int64(1) << (order["key"] & 63)
        slot = int(order["next"])
