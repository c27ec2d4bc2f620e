"""The venue's limits on one client."""

from __future__ import annotations

import asyncio

import pytest

from tests.toolkit.live_harness import advance_until, in_loop
from toolkit.clock import NS_PER_S, ManualClock
from toolkit.errors import ConfigError
from toolkit.transport.limits import WINDOW_MARGIN, RateLimit, VenueBudget
from toolkit.venue import VenueLimits


def most_in_a_window(times_ns: list[int], period_s: float) -> int:
    """The most entries in any window of that length."""
    return max(sum(1 for other in times_ns if 0 <= other - start < period_s * NS_PER_S) for start in times_ns)


@in_loop
async def test_no_window_ever_holds_more_than_the_limit() -> None:
    """Not even the one that begins in the middle of a burst after a pause."""
    clock = ManualClock()
    limit = RateLimit(clock, 5, 1.0)
    granted: list[int] = []

    async def take(count: int) -> None:
        for _ in range(count):
            await limit.take()
            granted.append(clock.monotonic_ns())

    async with asyncio.TaskGroup() as group:
        group.create_task(take(3))
        await advance_until(clock, lambda: len(granted) == 3, 0.01)
        clock.advance(NS_PER_S * 9 // 10)
        group.create_task(take(30))
        await advance_until(clock, lambda: len(granted) == 33, 0.01)
    assert most_in_a_window(granted, 1.0) == 5


@in_loop
async def test_the_whole_limit_is_used() -> None:
    """Waiting longer than the venue asks for would leave streams unsubscribed."""
    clock = ManualClock()
    limit = RateLimit(clock, 10, 60.0)
    granted: list[int] = []

    async def take() -> None:
        for _ in range(20):
            await limit.take()
            granted.append(clock.monotonic_ns())

    async with asyncio.TaskGroup() as group:
        group.create_task(take())
        await advance_until(clock, lambda: len(granted) == 20, 0.1)
    assert granted[:10] == [0] * 10
    assert granted[-1] <= (60 * WINDOW_MARGIN + 0.2) * NS_PER_S


@in_loop
async def test_who_asked_first_is_served_first() -> None:
    """A heavy request is not starved by light ones that came later."""
    clock = ManualClock()
    limit = RateLimit(clock, 10, 60.0)
    await limit.take(5)
    order: list[str] = []

    async def take(name: str, weight: float) -> None:
        await limit.take(weight)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(take("heavy", 10))
        await asyncio.sleep(0)
        for number in range(5):
            group.create_task(take(f"light {number}", 1))
        await advance_until(clock, lambda: len(order) == 6)
    assert order == ["heavy", *(f"light {number}" for number in range(5))]


@in_loop
async def test_who_is_cancelled_has_taken_nothing() -> None:
    """The next in line gets what it waited for, at the time it would have."""
    clock = ManualClock()
    limit = RateLimit(clock, 1, 1.0)
    await limit.take()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(limit.take())
        second = group.create_task(limit.take())
        await asyncio.sleep(0)
        first.cancel()
        await advance_until(clock, second.done, 0.01)
    assert clock.monotonic_ns() <= (WINDOW_MARGIN + 0.05) * NS_PER_S
    assert first.cancelled()


@in_loop
async def test_a_hold_stops_everybody() -> None:
    """A venue that says 429 means the address, not one request."""
    clock = ManualClock()
    limit = RateLimit(clock, 100, 60.0)
    limit.hold(7.0)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(limit.take()) for _ in range(3)]
        await advance_until(clock, lambda: all(task.done() for task in waiting), 0.5)
    assert clock.monotonic_ns() == 7 * NS_PER_S


@in_loop
async def test_a_limit_below_one_stretches_the_period() -> None:
    """One connection every two minutes is half a connection a minute."""
    clock = ManualClock()
    limit = RateLimit(clock, 0.5, 60.0)
    await limit.take()
    async with asyncio.TaskGroup() as group:
        second = group.create_task(limit.take())
        await advance_until(clock, second.done)
    assert clock.monotonic_ns() == 120 * WINDOW_MARGIN * NS_PER_S


@in_loop
async def test_what_can_never_be_allowed_is_an_error() -> None:
    """Waiting for ever would hang without a word."""
    with pytest.raises(ConfigError, match=r"^a request weighs 11, the venue's limit is 10: it can never be sent$"):
        await RateLimit(ManualClock(), 10, 60.0).take(11)


def test_a_limit_of_nothing_is_an_error() -> None:
    """It could only wait for ever."""
    with pytest.raises(ConfigError, match=r"^a limit of 0 per 60 s: expected both above 0$"):
        RateLimit(ManualClock(), 0, 60)


@in_loop
async def test_connections_share_the_total_and_have_their_own() -> None:
    """Two sockets may each send at the per-connection rate, and together at the venue's."""
    limits = VenueLimits(
        connections_max=2, connects_per_minute=30, messages_per_minute=2000, messages_per_second=2, frame_bytes_max=1
    )
    clock = ManualClock()
    budget = VenueBudget(limits, clock)
    first, second = budget.new_connection(), budget.new_connection()
    assert first is not None
    assert second is not None
    for own in (first, first, second, second):
        await own.take()
        await budget.messages.take()
    assert clock.monotonic_ns() == 0
    assert (
        VenueBudget(
            VenueLimits(connections_max=1, connects_per_minute=1, messages_per_minute=1), clock
        ).new_connection()
        is None
    )
