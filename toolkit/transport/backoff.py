"""How long to wait before the next attempt: exponential, with full jitter."""

from __future__ import annotations

from toolkit.rng import seeded

__all__ = ["Backoff"]


class Backoff:
    """
    Delays drawn evenly from 0 to a ceiling that doubles with every failure.

    Full jitter spreads a crowd of clients that lost one server best, see
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ .
    """

    def __init__(
        self, seed: int | str, *, base_s: float = 0.5, max_s: float = 30.0, reset_after_s: float = 20.0
    ) -> None:
        """
        Start at the smallest ceiling, `base_s`; it never exceeds `max_s`. The seed alone decides the delays.

        `reset_after_s` is how long a connection must have lived for its loss not to count as one more failure.
        """
        self._rng = seeded(seed)
        self._base_s = base_s
        self._max_s = max_s
        self._reset_after_s = reset_after_s
        self._failure_count = 0

    @property
    def ceiling_s(self) -> float:
        """Longest delay that `next_s` may give now, seconds."""
        # The exponent is bounded because a float overflows after a thousand failures, within a day of a dead venue.
        return float(min(self._max_s, self._base_s * 2.0 ** min(self._failure_count, 64)))

    def next_s(self) -> float:
        """Seconds to wait before the next attempt; the ceiling doubles."""
        delay = self._rng.uniform(0.0, self.ceiling_s)
        self._failure_count += 1
        return delay

    def refused_s(self) -> float:
        """As `next_s`, but no less than half the ceiling: a venue that said "too much" is not asked again at once."""
        floor = self.ceiling_s / 2
        return floor + self.next_s() / 2

    def lived(self, seconds: float) -> None:
        """A connection was up for that long; if long enough, the next delay is a small one again."""
        if seconds >= self._reset_after_s:
            self._failure_count = 0
