"""Names by number, in a hash table: filled here, looked up by compiled code in the bytes of a frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.kernels.compiling import inlined
from toolkit.kernels.text import name_hash, starts_with

__all__ = ["entered", "make_table", "number_of"]


def make_table() -> Any:
    """One without names: int32, by hash; its length is a power of two."""
    return np.full(16, -1, np.int32)


def entered(table: Any, names: Any, name_ends: Any, number: int) -> Any:
    """
    The table with one more name, or a longer one with all of them.

    Args:
        table: With all names of lower numbers.
        names: uint8: all names, one after the other.
        name_ends: int64: name n is `names[name_ends[n] : name_ends[n + 1]]`.
        number: Number of the name that is new.
    """
    first = number
    if 2 * (number + 1) > len(table):
        table, first = np.full(4 * len(table), -1, np.int32), 0
    mask = len(table) - 1
    for each in range(first, number + 1):
        place = int(name_hash(names, int(name_ends[each]), int(name_ends[each + 1]))) & mask
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = each
    return table


@inlined
def number_of(data, start, end, table, names, name_ends):
    """The number of the name that stands there; -1 if it has none."""
    mask = len(table) - 1
    place = np.int64(name_hash(data, start, end) & np.uint64(mask))
    number = np.int64(table[place])
    while number >= 0:
        known = names[name_ends[number] : name_ends[number + 1]]
        if len(known) == end - start and starts_with(data, start, end, known):
            break
        place = (place + 1) & mask
        number = np.int64(table[place])
    return number
