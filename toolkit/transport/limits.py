"""Keeps below what a venue allows one client: connections, messages, REST weight."""

from __future__ import annotations

import asyncio
from collections import deque

from toolkit.clock import NS_PER_S, Clock
from toolkit.errors import ConfigError
from toolkit.venue import VenueLimits

__all__ = ["RateLimit", "VenueBudget"]

#: The venue counts when messages arrive, and the network may push them closer together than they left, so our window
#: is longer than its by this factor.
WINDOW_MARGIN = 1.05


class RateLimit:
    """
    At most `limit` tokens in any window of `period_s`, in the order they were asked for.

    A log of what was taken rather than a refilled bucket: a bucket that holds a full period's tokens lets twice the
    limit through in the period after a pause, and venues ban for that.
    """

    def __init__(self, clock: Clock, limit: float, period_s: float) -> None:
        """Allow `limit` tokens per `period_s`; below one token, the period is stretched instead."""
        if not (limit > 0 and period_s > 0):
            raise ConfigError(f"a limit of {limit} per {period_s} s: expected both above 0")
        if limit < 1:
            limit, period_s = 1.0, period_s / limit
        self._clock = clock
        self._limit = limit
        self._period_ns = round(period_s * WINDOW_MARGIN * NS_PER_S)
        self._taken: deque[tuple[int, float]] = deque()
        self._taken_sum = 0.0
        self._held_until_ns = 0
        # asyncio's lock serves those who wait in order and survives the cancelling of any of them.
        self._turn = asyncio.Lock()

    async def take(self, tokens: float = 1) -> None:
        """
        Wait until that many tokens are free, then take them.

        Safe to cancel: who is cancelled has taken nothing. Raises ConfigError if the limit can never allow as many.
        """
        if tokens > self._limit:
            raise ConfigError(
                f"a request weighs {tokens:g}, the venue's limit is {self._limit:g}: it can never be sent"
            )
        async with self._turn:
            while (wait_ns := self._wait_ns(tokens)) > 0:
                await self._clock.sleep(wait_ns / NS_PER_S)
            self._taken.append((self._clock.monotonic_ns(), tokens))
            self._taken_sum += tokens

    @property
    def held_s(self) -> float:
        """For how much longer nothing is given because the venue said to wait."""
        return max(0, self._held_until_ns - self._clock.monotonic_ns()) / NS_PER_S

    def hold(self, seconds: float) -> None:
        """Give nothing for that long: the venue said to wait."""
        self._held_until_ns = max(self._held_until_ns, self._clock.monotonic_ns() + round(seconds * NS_PER_S))

    def _wait_ns(self, tokens: float) -> int:
        now = self._clock.monotonic_ns()
        taken = self._taken
        while taken and taken[0][0] + self._period_ns <= now:
            self._taken_sum -= taken.popleft()[1]
        if not taken:
            self._taken_sum = 0.0  # sums of floats drift
        if self._held_until_ns > now:
            return self._held_until_ns - now
        excess = self._taken_sum + tokens - self._limit
        if excess <= 0:
            return 0
        for taken_ns, weight in taken:
            excess -= weight
            if excess <= 1e-9:
                return max(1, taken_ns + self._period_ns - now)
        return self._period_ns


class VenueBudget:
    """
    What is left of a venue's limits; several sources for one venue in one process share it.

    Attributes:
        limits: The venue's limits.
        connects: New WebSocket connections.
        messages: Messages we send, over all connections.
        rest: Weight of REST requests.
    """

    def __init__(self, limits: VenueLimits, clock: Clock) -> None:
        self.limits = limits
        self._clock = clock
        self.connects = RateLimit(clock, limits.connects_per_minute, 60)
        self.messages = RateLimit(clock, limits.messages_per_minute, 60)
        self.rest = RateLimit(clock, limits.rest_weight_per_minute, 60)

    def new_connection(self) -> RateLimit | None:
        """The budget of one connection's own messages; None where the venue has no such rule."""
        if self.limits.messages_per_second is None:
            return None
        return RateLimit(self._clock, self.limits.messages_per_second, 1)
