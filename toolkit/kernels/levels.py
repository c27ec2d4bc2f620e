"""
Sides of order books in arrays, for compiled code.

A level's price is a whole number of steps of its instrument. A side is a sorted list of pages of 64 consecutive steps;
a page has one bit per step that holds a level, and 64 sizes. The best level is the highest bit of the last page, and
walking the levels best first is walking bits downwards. Beside the list stands a hint for each side, a small table by the
last bits of the page number, of where a page was found: most levels are set without a search. Two pages may share an
entry; the one that was asked for last has it, and the other is searched for.
Keys ascend towards the best price: the number of steps for bids, minus that for asks.

A store is a tuple of arrays, which the functions here take apart (numba passes tuples without cost):

| array    | shape                     | what                                                       |
|----------|---------------------------|------------------------------------------------------------|
| `page`   | int64 (sides, pages)      | page numbers (key >> 6) of a side, ascending               |
| `slot`   | int32 (sides, pages)      | where in `bits` and `sizes` a page is                      |
| `pages`  | int64 (sides,)            | how many pages a side has                                  |
| `levels` | int64 (sides,)            | how many levels                                            |
| `bits`   | uint64 (slots,)           | which of the 64 keys hold a level                          |
| `sizes`  | float64 (slots, 64)       | their sizes; int64 where a store counts lots               |
| `free`   | int32 (slots + 1,)        | first the number of free slots, then which                 |
| `hint`   | int32 (sides, 2 ** n)     | slot of the page that was found last, or `slots`           |
| `owner`  | int64 (slots + 1,)        | the page number in a slot; of no page in the last place    |

Nothing grows here: `has_room` says whether so many levels can be added, and the caller makes larger arrays if not.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from toolkit.kernels.compiling import highest_bit, kernel, lowest_bit

__all__ = [
    "Store",
    "best",
    "clear_side",
    "has_room",
    "hinted_slot",
    "make_store",
    "more_room",
    "set_level",
    "set_levels",
    "side_columns",
    "size_at",
    "slot_of",
    "widen_store",
    "worse_key",
    "worst",
]

_PAGES: Final = 256
_SLOTS: Final = 1024
#: No page has this number, since a key has 64 bits.
_NO_PAGE: Final = -(1 << 62)


class Store(NamedTuple):
    """See the table above."""

    page: npt.NDArray[np.int64]
    slot: npt.NDArray[np.int32]
    pages: npt.NDArray[np.int64]
    levels: npt.NDArray[np.int64]
    bits: npt.NDArray[np.uint64]
    sizes: npt.NDArray[Any]
    free: npt.NDArray[np.int32]
    hint: npt.NDArray[np.int32]
    owner: npt.NDArray[np.int64]


def make_store(sides: int, pages: int = _PAGES, slots: int = _SLOTS, sizes: npt.DTypeLike = np.float64) -> Store:
    """An empty store for that many sides, with sizes of that type."""
    free = np.zeros(slots + 1, np.int32)
    free[0] = slots
    free[1:] = np.arange(slots - 1, -1, -1)
    return Store(
        np.zeros((sides, pages), np.int64),
        np.zeros((sides, pages), np.int32),
        np.zeros(sides, np.int64),
        np.zeros(sides, np.int64),
        np.zeros(slots, np.uint64),
        np.zeros((slots, 64), sizes),
        free,
        np.full((sides, _hints(pages)), slots, np.int32),
        np.full(slots + 1, _NO_PAGE, np.int64),
    )


def _hints(pages: int) -> int:
    """Entries of a table in which few of so many pages share one."""
    return 1 << max(2 * pages - 1, 1).bit_length()


def widen_store(store: Store, sides: int, pages: int, slots: int) -> Store:
    """The same levels in a store that has at least that room."""
    sides, pages = max(sides, store.page.shape[0]), max(pages, store.page.shape[1])
    before = len(store.bits)
    slots = max(slots, before)
    wide = make_store(sides, pages, slots, store.sizes.dtype)
    rows, columns = store.page.shape
    wide.page[:rows, :columns] = store.page
    wide.slot[:rows, :columns] = store.slot
    wide.pages[:rows] = store.pages
    wide.levels[:rows] = store.levels
    wide.bits[:before] = store.bits
    wide.sizes[:before] = store.sizes
    left = int(store.free[0])
    fresh = slots - before
    wide.free[0] = left + fresh
    wide.free[1 : fresh + 1] = np.arange(slots - 1, before - 1, -1)
    wide.free[fresh + 1 : fresh + left + 1] = store.free[1 : left + 1]
    wide.owner[:before] = store.owner[:before]
    return wide


def more_room(store: Store) -> tuple[int, int]:
    """
    Pages of a side and slots of all for a store that has too little of one or the other: twice what there is.

    Slots are shared, pages are not: of a thousand books, twice the pages of each would be hundreds of MiB for nothing. So
    only that grows of which more than half is taken, and both where that is neither: then what is to come is very much.
    """
    pages, slots = store.page.shape[1], len(store.bits)
    is_paged = 2 * int(store.pages.max(initial=0)) > pages
    is_filled = 2 * int(store.free[0]) < slots
    if is_paged == is_filled:
        return 2 * pages, 2 * slots
    return (2 * pages, slots) if is_paged else (pages, 2 * slots)


@kernel
def has_room(store: Any, side: Any, levels: Any) -> Any:
    """Whether that many levels can be added to a side, whatever their prices."""
    return store.pages[side] + levels <= store.page.shape[1] and store.free[0] >= levels


@kernel
def _place(store, side, page):
    """Index of the first page of a side that is not below `page`."""
    pages = store.page[side]
    high = store.pages[side]
    low = np.int64(0)
    # Most changes are near the best price, in the last pages.
    step = np.int64(1)
    while step <= high and pages[high - step] >= page:
        high -= step
        step *= 2
    low = max(low, high - step)
    while low < high:
        middle = (low + high) // 2
        if pages[middle] < page:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def hinted_slot(store, side, page):
    """The slot of a page of a side, found without a search; -1 where that does not say whether there is one."""
    slot = np.int64(store.hint[side, page & (store.hint.shape[1] - 1)])
    return slot if store.owner[slot] == page else np.int64(-1)


@kernel
def _forget_hint(store, side, page, slot):
    """A page is no more in a slot of a side: what is there next may be of another, under the same number."""
    entry = page & (store.hint.shape[1] - 1)
    if store.hint[side, entry] == slot:
        store.hint[side, entry] = len(store.bits)


@kernel
def set_level(store, side, key, size):
    """Set the size at a key; 0 removes the level. There must be room for one more."""
    page = key >> 6
    bit = np.uint64(1) << np.uint64(key & 63)
    slot = hinted_slot(store, side, page)
    if slot >= 0 and (size != 0.0 or store.bits[slot] & ~bit):
        # The page stays.
        bits = store.bits[slot]
        if size != 0.0:
            if not bits & bit:
                store.bits[slot] = bits | bit
                store.levels[side] += 1
            store.sizes[slot, key & 63] = size
        elif bits & bit:
            store.bits[slot] = bits & ~bit
            store.levels[side] -= 1
        return
    index = _place(store, side, page)
    count = store.pages[side]
    if index < count and store.page[side, index] == page:
        slot = np.int64(store.slot[side, index])
        store.hint[side, page & (store.hint.shape[1] - 1)] = slot
        bits = store.bits[slot]
        if size != 0.0:
            if not bits & bit:
                store.bits[slot] = bits | bit
                store.levels[side] += 1
            store.sizes[slot, key & 63] = size
        elif bits & bit:
            bits &= ~bit
            store.bits[slot] = bits
            store.levels[side] -= 1
            if not bits:
                _forget_hint(store, side, page, slot)
                for place in range(index, count - 1):
                    store.page[side, place] = store.page[side, place + 1]
                    store.slot[side, place] = store.slot[side, place + 1]
                store.pages[side] = count - 1
                store.free[0] += 1
                store.free[store.free[0]] = slot
        return
    if size == 0.0:
        return
    for place in range(count, index, -1):
        store.page[side, place] = store.page[side, place - 1]
        store.slot[side, place] = store.slot[side, place - 1]
    slot = np.int64(store.free[store.free[0]])
    store.free[0] -= 1
    store.page[side, index] = page
    store.slot[side, index] = slot
    store.pages[side] = count + 1
    store.owner[slot] = page
    store.hint[side, page & (store.hint.shape[1] - 1)] = slot
    store.bits[slot] = bit
    store.sizes[slot, key & 63] = size
    store.levels[side] += 1


@kernel
def set_levels(store, side, keys, sizes):
    """Set many sizes. There must be room for them."""
    for index in range(len(keys)):
        set_level(store, side, keys[index], sizes[index])


@kernel
def best(store, side):
    """`(key, size)` of the best level of a side that has one."""
    last = store.pages[side] - 1
    slot = store.slot[side, last]
    place = highest_bit(store.bits[slot])
    return store.page[side, last] * 64 + place, store.sizes[slot, place]


@kernel
def worst(store, side):
    """The key of the worst level of a side that has one."""
    return store.page[side, 0] * 64 + lowest_bit(store.bits[store.slot[side, 0]])


@kernel
def slot_of(store, side, key):
    """Where in `bits` and `sizes` the page of a key is; -1 where there is none."""
    page = key >> 6
    slot = hinted_slot(store, side, page)
    if slot >= 0:
        return slot
    index = _place(store, side, page)
    if index < store.pages[side] and store.page[side, index] == page:
        return np.int64(store.slot[side, index])
    return np.int64(-1)


@kernel
def size_at(store, side, key):
    """The size at a key; 0 where there is no level."""
    slot = slot_of(store, side, key)
    if slot >= 0 and store.bits[slot] & (np.uint64(1) << np.uint64(key & 63)):
        return store.sizes[slot, key & 63]
    return 0


@kernel
def worse_key(store, side, key, none):
    """The best key of a side that is worse than `key`; `none` if there is none."""
    page = key >> 6
    slot = hinted_slot(store, side, page)
    if slot >= 0:
        below = store.bits[slot] & ((np.uint64(1) << np.uint64(key & 63)) - np.uint64(1))
        if below:
            return page * 64 + highest_bit(below)
    index = _place(store, side, page)
    if index < store.pages[side] and store.page[side, index] == page:
        below = store.bits[store.slot[side, index]] & ((np.uint64(1) << np.uint64(key & 63)) - np.uint64(1))
        if below:
            return page * 64 + highest_bit(below)
    if index == 0:
        return none
    return store.page[side, index - 1] * 64 + highest_bit(store.bits[store.slot[side, index - 1]])


@kernel
def side_columns(store, side, keys, sizes):
    """Write keys and sizes of a side, best first, into arrays that have room for all of its levels."""
    row = 0
    for index in range(store.pages[side] - 1, -1, -1):
        slot = store.slot[side, index]
        bits = store.bits[slot]
        while bits:
            place = highest_bit(bits)
            bits &= ~(np.uint64(1) << np.uint64(place))
            keys[row] = store.page[side, index] * 64 + place
            sizes[row] = store.sizes[slot, place]
            row += 1


@kernel
def clear_side(store, side):
    """Take every level off a side."""
    for index in range(store.pages[side]):
        slot = store.slot[side, index]
        _forget_hint(store, side, store.page[side, index], slot)
        store.free[0] += 1
        store.free[store.free[0]] = slot
    store.pages[side] = 0
    store.levels[side] = 0
