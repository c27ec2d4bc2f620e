"""A store of levels is a sorted dict, whatever is set and removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import (
    best,
    clear_side,
    has_room,
    make_store,
    more_room,
    set_level,
    side_columns,
    size_at,
    slot_of,
    widen_store,
    worse_key,
    worst,
)

_SIDES = 2
#: Keys close together, at page borders, far apart and negative, so that pages come, go and are searched for.
_keys = (
    st.integers(-200, 200) | st.sampled_from([-65, -64, -1, 0, 63, 64, 10**9, -(10**9)]) | st.integers(-(10**6), 10**6)
)
_sizes = st.sampled_from([0.0, 0.0, 1.0, 2.5])


@given(
    st.lists(st.tuples(st.integers(0, _SIDES - 1), _keys, _sizes) | st.sampled_from(["clear 0", "clear 1", "widen"]))
)
def test_sides_hold_what_was_set_last_best_first(steps: list[tuple[int, int, float] | str]) -> None:
    store = make_store(_SIDES, pages=8, slots=8)
    expected: list[dict[int, float]] = [{} for _ in range(_SIDES)]
    for step in steps:
        if step == "widen":
            store = widen_store(store, _SIDES, store.page.shape[1] + 1, len(store.bits) + 3)
        elif isinstance(step, str):
            side = int(step[-1])
            clear_side(store, side)
            expected[side] = {}
        else:
            side, key, size = step
            if not has_room(store, side, 1):
                store = widen_store(store, _SIDES, 2 * store.page.shape[1], 2 * len(store.bits))
            set_level(store, side, key, size)
            if size:
                expected[side][key] = size
            else:
                expected[side].pop(key, None)
        for number, levels in enumerate(expected):
            held = int(store.levels[number])
            keys, sizes = np.zeros(held, np.int64), np.zeros(held)
            side_columns(store, number, keys, sizes)
            ranked = sorted(levels.items(), reverse=True)
            assert list(zip(keys.tolist(), sizes.tolist(), strict=True)) == ranked
            if ranked:
                assert best(store, number) == ranked[0]
    pages_used = sum(len({key >> 6 for key in levels}) for levels in expected)
    assert int(store.free[0]) == len(store.bits) - pages_used, "every page that holds nothing is free"


@given(st.lists(st.tuples(_keys, st.integers(1, 9)), max_size=30), st.lists(_keys))
def test_levels_are_found_and_walked_by_their_keys(levels: list[tuple[int, int]], asked: list[int]) -> None:
    """Lots as sizes; any key may be asked for, whether there is a level or not."""
    store = make_store(_SIDES, pages=64, slots=64, sizes=np.int64)
    expected = dict(levels)
    for key, lots in levels:
        set_level(store, 1, key, lots)
    for key in [*asked, *expected]:
        worse = [other for other in expected if other < key]
        for find, walk in ((size_at, worse_key), (plain(size_at), plain(worse_key))):
            assert find(store, 1, key) == expected.get(key, 0)
            assert walk(store, 1, key, -(2**62)) == max(worse, default=-(2**62))
        slot = slot_of(store, 1, key)
        assert (slot >= 0) == any(other >> 6 == key >> 6 for other in expected)
    if expected:
        assert worst(store, 1) == min(expected)
        assert best(store, 1) == (max(expected), expected[max(expected)])


@pytest.mark.parametrize("leave", [lambda store: set_level(store, 0, 70, 0.0), lambda store: clear_side(store, 0)])
def test_a_page_that_another_side_has_taken_is_not_found_where_it_was(leave: Callable[[Any], None]) -> None:
    """Its place is given to the other side at once, under the same number."""
    store = make_store(_SIDES, pages=8, slots=8)
    set_level(store, 0, 70, 1.0)
    leave(store)
    set_level(store, 1, 71, 2.0)
    assert (slot_of(store, 0, 71), size_at(store, 0, 71)) == (-1, 0)
    set_level(store, 0, 71, 2.5)
    assert [size_at(store, side, 71) for side in (0, 1)] == [2.5, 2.0]


def test_pages_that_share_a_hint_are_all_found() -> None:
    """One entry for each of the last bits of a page number, and many pages with the same."""
    store = make_store(_SIDES, pages=64, slots=64)
    keys = [64 * 128 * number for number in range(-20, 20)]
    for round_ in (1.0, 2.0):
        for key in keys:
            set_level(store, 0, key, round_ + key)
        assert [size_at(store, 0, key) for key in keys] == [round_ + key for key in keys]
    for key in keys[::2]:
        set_level(store, 0, key, 0.0)
    assert [size_at(store, 0, key) for key in keys[::2]] == [0] * 20
    assert [worse_key(store, 0, key, -1) for key in keys[3::2]] == keys[1:-2:2]


def test_room_grows_where_it_is_taken_up() -> None:
    """Shared slots without pages of every side, pages without slots, and both where neither is short."""
    filled, paged, both = make_store(4, 16, 32), make_store(4, 16, 32), make_store(4, 16, 32)
    filled.free[0] = 10
    paged.pages[2] = 9
    both.pages[2], both.free[0] = 9, 10
    assert [more_room(store) for store in (filled, paged, both, make_store(4, 16, 32), make_store(0, 1, 1))] == [
        (16, 64),
        (32, 32),
        (32, 64),
        (32, 64),
        (2, 2),
    ]


def test_a_thousand_books_share_what_grows() -> None:
    """Levels of all pairs fill the slots; pages of a side stay as many as one of them needs."""
    store = make_store(2_000, 64, 64)
    for side in range(2_000):
        while not plain(has_room)(store, side, 4):
            store = widen_store(store, 2_000, *more_room(store))
        for key in (1, 100, 5_000):
            plain(set_level)(store, side, key, 1.0)
    assert store.page.shape == (2_000, 64)
    assert store.levels.sum() == 6_000
