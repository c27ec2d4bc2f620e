"""What the kernel says of its clock, noted every hour."""

from __future__ import annotations

import asyncio
import sys

import pytest

from recordings.writing.clock_notes import ClockNotes
from tests.toolkit.live_harness import advance_until, in_loop
from toolkit.clock import ManualClock
from toolkit.live.clock_sync import ClockState, read_clock_state

GOOD = ClockState(is_synchronised=True, offset_ns=-1200, error_max_ns=4_000_000, error_estimated_ns=900)
BAD = ClockState(is_synchronised=False, offset_ns=0, error_max_ns=16_000_000_000, error_estimated_ns=16_000_000_000)


@in_loop
async def test_it_is_noted_at_the_start_and_every_hour() -> None:
    """With all that the system tells."""
    clock = ManualClock()
    said: list[tuple[str, dict[str, object]]] = []
    notes = ClockNotes(clock, lambda: GOOD, lambda event, details: said.append((event, details)), lambda line: None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(notes.run())
        await advance_until(clock, lambda: len(said) == 4, 600.0)
        running.cancel()
    assert 3 * 3600 <= clock.monotonic_ns() / 1e9 < 3 * 3600 + 1200
    expected = {
        "is_synchronised": True,
        "offset_ns": -1200,
        "error_max_ns": 4_000_000,
        "error_estimated_ns": 900,
    }
    assert said == [("clock_state", expected)] * 4


def test_only_a_change_is_a_line_of_the_log() -> None:
    """A clock that nothing keeps right is said once, and when something does again."""
    states = [BAD, BAD, GOOD, GOOD, BAD]
    lines: list[str] = []
    notes = ClockNotes(ManualClock(), lambda: states.pop(0), lambda event, details: None, lines.append)
    for _ in range(5):
        notes.note()
    assert [line.partition(":")[0] for line in lines] == [
        "the system's clock is not synchronised",
        "the system's clock is synchronised again, to 4 ms at most",
        "the system's clock is not synchronised",
    ]


def test_a_system_that_tells_nothing_has_nothing_noted() -> None:
    """No event that says nothing."""
    said: list[str] = []
    notes = ClockNotes(ManualClock(), lambda: None, lambda event, details: said.append(event), said.append)
    notes.note()
    assert said == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="adjtimex is Linux's")
def test_the_kernel_is_asked() -> None:
    """Bounds are no smaller than estimates, and both are times that a clock can be wrong by."""
    state = read_clock_state()
    if state is None:
        pytest.skip("this container forbids adjtimex")
    assert 0 <= state.error_estimated_ns <= state.error_max_ns < 10**12
    assert abs(state.offset_ns) < 10**9
