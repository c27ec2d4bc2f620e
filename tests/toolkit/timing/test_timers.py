"""The order of timers, as the table of the module has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.timing.timers import NEVER_NS, Timer, Timers


def fired(timers: Timers, ns: int) -> list[tuple[int, Timer]]:
    found = []
    while (due := timers.pop_due(ns)) is not None:
        found.append(due)
    return found


def timer(when_ns: int, interval_ns: int | None = None) -> Timer:
    return Timer(when_ns, lambda due_ns: None, interval_ns)


@given(st.lists(st.integers(0, 20)))
def test_the_earlier_goes_first_and_of_equal_ones_the_one_registered_earlier(times: list[int]) -> None:
    timers, registered = Timers(), [timer(when) for when in times]
    for each in registered:
        timers.add(each)
    assert timers.next_due_ns == min(times, default=NEVER_NS)
    assert [each for _, each in fired(timers, 20)] == sorted(registered, key=lambda each: each.when_ns)
    assert timers.next_due_ns == NEVER_NS


def test_a_periodic_one_is_registered_again_behind_those_of_its_next_time() -> None:
    timers, periodic, single = Timers(), timer(10, 10), timer(20)
    timers.add(periodic)
    timers.add(single)
    assert fired(timers, 20) == [(10, periodic), (20, single), (20, periodic)]
    assert (periodic.first_ns, periodic.when_ns, timers.next_due_ns) == (10, 30, 30)


def test_one_that_was_taken_back_is_neither_called_nor_due() -> None:
    timers, kept, taken_back = Timers(), timer(30), timer(10, 10)
    for each in (taken_back, kept):
        timers.add(each)
    taken_back.cancel()
    assert fired(timers, 20) == []
    assert timers.next_due_ns == 30
    assert timers.clear() == [kept]
    assert timers.next_due_ns == NEVER_NS


def test_a_clock_that_jumps_calls_a_periodic_one_once_for_all_of_the_jump() -> None:
    timers, periodic, single = Timers(), timer(10, 10), timer(55)
    timers.add(periodic)
    timers.add(single)
    timers.jump(5, 1000)
    timers.jump(5, 1000)  # two sources of one recorder tell of it
    assert fired(timers, 1000) == [(10, periodic), (55, single)]
    assert periodic.when_ns == 1010


@pytest.mark.parametrize("interval_ns", [0, -1])
def test_an_interval_has_to_be_above_nothing(interval_ns: int) -> None:
    with pytest.raises(ValueError, match="above 0 ns"):
        timer(1, interval_ns)
