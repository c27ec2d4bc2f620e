"""A store of levels is a sorted dict, whatever is set and removed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from toolkit.kernels.levels import best, clear_side, has_room, make_store, set_level, side_columns, widen_store

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
