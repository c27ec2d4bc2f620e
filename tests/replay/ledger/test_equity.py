"""The course of equity: the deepest fall and its length, and what of the change is doubtful."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from replay.ledger.equity import EquityCourse


def course(*points: tuple[int, int], doubtful: tuple[int, ...] = ()) -> EquityCourse:
    """One that took `(time, equity)`; doubtful from the times that are named to the next."""
    made = EquityCourse()
    for now_ns, equity in points:
        made.take(now_ns, equity, is_doubtful=now_ns in doubtful)
    return made


def test_the_deepest_fall_lasts_until_its_beginning_is_reached_again() -> None:
    """From 10 to 4 and back, which is deeper than the one from 12 to 9 after it."""
    made = course((0, 5), (1, 10), (2, 6), (3, 4), (4, 9), (5, 10), (6, 12), (7, 9))
    assert (made.drawdown_max, made.drawdown_from_ns, made.drawdown_bottom_ns, made.drawdown_to_ns) == (6, 1, 3, 5)
    assert made.drawdown_ns == 4


def test_a_fall_that_is_not_made_good_lasts_until_the_end() -> None:
    made = course((0, 5), (1, 10), (2, 6), (9, 7))
    assert (made.drawdown_max, made.drawdown_to_ns, made.drawdown_ns) == (4, None, 8)


def test_a_change_counts_for_what_was_said_before_it() -> None:
    """The jump from 7 to 12 comes with the news that all is known again."""
    made = course((0, 5), (10, 7), (30, 12), (40, 11), doubtful=(10,))
    assert (made.doubtful, made.sound, made.doubtful_ns) == (5, 1, 20)
    assert made.doubtful_profit_share == 5 / 6


def test_what_a_doubtful_fill_gains_is_doubtful() -> None:
    made = course((0, 5))
    made.take(10, 8, is_doubtful=True, has_doubtful_fill=True)
    assert (made.doubtful, made.sound, made.doubtful_ns) == (3, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-50, 50), st.booleans()), min_size=1, max_size=60))
def test_it_is_what_all_points_together_say(steps: list[tuple[int, int, bool]]) -> None:
    """Against sums over the whole list; doubtful and sound change add up."""
    made, points, now = EquityCourse(), list[tuple[int, int]](), 0
    for passed, equity, is_doubtful in steps:
        now += passed
        points.append((now, equity))
        made.take(now, equity, is_doubtful=is_doubtful)
    values = [equity for _, equity in points]
    assert made.drawdown_max == max(max(values[: place + 1]) - values[place] for place in range(len(values)))
    assert made.doubtful + made.sound == values[-1] - values[0]
    assert 0 <= made.doubtful_profit_share <= 1
    assert made.doubtful_ns == sum(passed for (*_, is_doubtful), (passed, *_) in pairwise(steps) if is_doubtful)
