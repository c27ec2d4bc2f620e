"""A side of a book that takes in diffs is the levels that they left, however it is held and whenever it is read."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.books import book_side
from toolkit.books.book_side import BookSide
from toolkit.books.checked_levels import OrderBookEntry

#: What may be asked of a side, by what it says of these levels, best first.
_ASKED: dict[str, Callable[[BookSide], object]] = {
    "best": lambda side: side.best,
    "best_price": lambda side: side.best_price,
    "top": lambda side: side.top_columns()[0][:1],
    "length": len,
    "all": list,
    "two": lambda side: side[:2],
    "head": lambda side: side.head(),
    "columns": lambda side: side.kept_columns(),
    "size": lambda side: side.size_at(7.0),
    "counts": lambda side: side.has_counts,
}
_SHALLOW = ("best", "best_price", "top")


def _expected(name: str, levels: list[OrderBookEntry]) -> object:
    best = levels[0] if levels else None
    prices, sizes = tuple(level.price for level in levels), tuple(level.size for level in levels)
    return {
        "best": best,
        "best_price": None if best is None else best.price,
        "top": prices[:1],
        "length": len(levels),
        "all": levels,
        "two": levels[:2],
        "head": (None, None, 0) if best is None else (best.price, best.size, len(levels)),
        "columns": (prices, sizes, ()),
        "size": dict(zip(prices, sizes, strict=True)).get(7.0, 0.0),
        "counts": False,
    }[name]


def _apply(model: dict[float, float], prices: list[float], sizes: list[float]) -> None:
    for price, size in zip(prices, sizes, strict=True):
        model.pop(price, None)
        if size:
            model[price] = size


def _levels(model: dict[float, float], *, is_bid: bool) -> list[OrderBookEntry]:
    return [OrderBookEntry(price, model[price]) for price in sorted(model, reverse=is_bid)]


_DIFF = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0, 0, 1, 2])), max_size=8)
_STEP = st.one_of(
    _DIFF,
    st.sampled_from(sorted(_ASKED)),
    st.tuples(st.integers(1, 12), st.sampled_from([0, 3])),
    st.sets(st.integers(1, 12), max_size=6).map(frozenset),
)


@given(st.booleans(), st.lists(_STEP, max_size=40), st.integers(0, 3), st.integers(1, 6))
@settings(max_examples=150)
def test_whatever_is_asked_after_whatever_diffs(is_bid: bool, steps: list[object], unread: int, fewest: int) -> None:
    side, model = BookSide(is_bid=is_bid), dict[float, float]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_side, "_UNREAD", unread)
        patch.setattr(book_side, "_HEAP_MIN", fewest)
        for step in steps:
            if isinstance(step, str):
                assert _ASKED[step](side) == _expected(step, _levels(model, is_bid=is_bid))
            elif isinstance(step, frozenset):
                model = {float(price): 5.0 for price in step}
                prices = tuple(sorted(model, reverse=is_bid))
                side.replace((prices, (5.0,) * len(prices), ()))
            elif isinstance(step, tuple):
                side.set_level(float(step[0]), float(step[1]))
                _apply(model, [float(step[0])], [float(step[1])])
            else:
                assert isinstance(step, list)
                changed, sizes = [float(price) for price, _ in step], [float(size) for _, size in step]
                side.set_levels((tuple(changed), tuple(sizes), ()))
                _apply(model, changed, sizes)
        for name in (*_SHALLOW, *_ASKED):
            assert _ASKED[name](side) == _expected(name, _levels(model, is_bid=is_bid))


@pytest.mark.parametrize("seed", range(8))
def test_the_best_level_after_many_diffs_of_which_nothing_else_is_read(seed: int) -> None:
    rng, side, model = random.Random(seed), BookSide(is_bid=bool(seed % 2)), dict[float, float]()
    for _ in range(400):
        prices = [float(rng.randrange(1, 12)) for _ in range(4)]
        sizes = [float(rng.choice([0, 0, 0, 1, 2])) for _ in prices]
        if rng.randrange(40):
            side.set_levels((tuple(prices), tuple(sizes), ()), checked=True)
            _apply(model, prices, sizes)
        else:
            model = {7.0: 1.0}
            side.replace(((7.0,), (1.0,), ()))
        assert side.best == _expected("best", _levels(model, is_bid=side.is_bid))


@pytest.mark.parametrize("is_bid", [True, False])
def test_removed_levels_do_not_pile_up_where_only_the_best_is_read(is_bid: bool) -> None:
    """Prices drift, and each is left behind: far from the best, where no look ever comes by."""
    rng, side, model = random.Random(7), BookSide(is_bid=is_bid), dict[float, float]()
    for number in range(4_000):
        prices = [float(number + rng.randrange(50)) + 1.0 for _ in range(2)]
        gone = [price for price in list(model)[:2] if len(model) > 20]
        sizes = [1.0 + rng.random() for _ in prices]
        side.set_levels((tuple(prices + gone), tuple(sizes + [0.0] * len(gone)), ()), checked=True)
        _apply(model, prices + gone, sizes + [0.0] * len(gone))
        if number % 7 == 0:
            assert side.best == _levels(model, is_bid=is_bid)[0]
    held = [getattr(side, name) for name in ("_sizes", "_heap", "_keys")]
    assert max(len(each) for each in held if each is not None) <= 2 * book_side._HEAP_MIN
    assert list(side) == _levels(model, is_bid=is_bid)


def test_numbers_of_orders_come_and_go_with_the_levels() -> None:
    side = BookSide(is_bid=True)
    for _ in range(2):
        side.set_levels(((3.0, 2.0), (1.0, 1.0), ()))
        assert _ASKED["best"](side) == (3.0, 1.0, None)
        side.set_levels(((3.0, 1.0), (2.0, 2.0), (4, 5)))
        assert _ASKED["best"](side) == (3.0, 2.0, 4)
        assert [*side] == [(3.0, 2.0, 4), (2.0, 1.0, None), (1.0, 2.0, 5)]
        side.set_levels(((3.0, 1.0), (0.0, 0.0), ()))
        assert _ASKED["best"](side) == (2.0, 1.0, None)
        assert not side.has_counts


def test_orders_that_are_counted_from_some_diff_on() -> None:
    side = BookSide(is_bid=True)
    side.set_levels(((9.0,), (1.0,), ()))
    side.set_levels(((10.0,), (1.0,), (2,)))
    assert _ASKED["best"](side) == (10.0, 1.0, 2)
