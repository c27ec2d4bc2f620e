"""Clocks, and how times are written."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolkit.live_harness import in_loop
from toolkit.clock import NS_PER_S, ManualClock, SystemClock, format_ns, utc_stamp

TS = 1_795_354_445_123_456_789


@in_loop
async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    """Those of one deadline in the order in which they lay down."""
    clock, woken = ManualClock(TS), []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 2.0), ("early", 1.0), ("twin", 1.0), ("never", 3.0)):
            task = group.create_task(sleeper(name, seconds))
        await asyncio.sleep(0)
        clock.advance(NS_PER_S - 1)
        await asyncio.sleep(0)
        assert woken == []
        clock.advance(NS_PER_S + 1)
        await asyncio.sleep(0)
        assert woken == ["early", "twin", "late"]
        task.cancel()
    clock.advance(10 * NS_PER_S)


def test_a_manual_clock_moves_only_when_told_and_never_back() -> None:
    clock = ManualClock(TS)
    clock.advance(5)
    clock.step_wall(-3)
    assert (clock.time_ns(), clock.monotonic_ns()) == (TS + 2, 5)
    with pytest.raises(ValueError, match=r"^a clock only advances forward, not by -1 ns$"):
        clock.advance(-1)


@in_loop
async def test_the_machines_clock_goes_on() -> None:
    clock = SystemClock()
    before = clock.monotonic_ns()
    await clock.sleep(0.001)
    assert clock.monotonic_ns() - before >= 1_000_000
    assert clock.time_ns() > 1_750_000_000 * NS_PER_S


@given(st.integers(0, 4_000_000_000 * NS_PER_S))
def test_times_are_written_with_all_nine_digits(ns: int) -> None:
    text = format_ns(ns)
    match = re.fullmatch(r"(.{19})\.(\d{9})Z", text)
    assert match is not None
    seconds = round(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    assert seconds * NS_PER_S + int(match[2]) == ns


def test_names_of_folders_carry_the_utc_time() -> None:
    assert utc_stamp(TS) == "20261122T133405Z"
    assert format_ns(TS) == "2026-11-22T13:34:05.123456789Z"
