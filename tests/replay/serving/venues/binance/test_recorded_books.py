"""The book of a served tape of Binance, where its diffs and snapshots meet."""

from __future__ import annotations

import pytest

from replay.serving.venues.binance.recorded.books import Diff, Snapshot, TapeBook


def diff(first: int, last: int, prev: int, *bids: tuple[str, str]) -> Diff:
    return Diff(first, last, list(bids), [], prev, E=last, T=last)


def passing() -> Snapshot:
    """At update 15, when the best bid was 9: it is 5 at the ends of the diff of 11 to 20, which does not name it."""
    return Snapshot(15, [("100", "9"), ("99", "2")], [("101", "1")])


def best(book: TapeBook) -> tuple[str, str] | None:
    found = book.best()
    return None if found is None else found[0]


@pytest.mark.parametrize("is_spot", [True, False])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_size_that_had_passed_is_not_served(is_spot: bool, place: int) -> None:
    """Wherever the snapshot stands on the tape."""
    book = TapeBook(is_spot=is_spot)
    diffs = [diff(1, 5, 0, ("100", "5")), diff(6, 10, 5, ("98", "3")), diff(11, 20, 10, ("97", "1"))]
    for number, one in enumerate(diffs):
        if number == place:
            book.join(passing())
        book.take(one)
    if place == 3:
        book.join(passing())
    assert best(book) == ("100", "5")
    assert book.last_id == 20


@pytest.mark.parametrize("is_spot", [True, False])
def test_what_was_said_before_a_hole_is_not_served(is_spot: bool) -> None:
    book = TapeBook(is_spot=is_spot)
    book.take(diff(1, 5, 0, ("100", "5")))
    book.join(passing())
    book.take(diff(11, 20, 10))
    assert best(book) == ("100", "9")
