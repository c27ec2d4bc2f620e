"""Looks once a second at what cannot speak up itself: dead connections, silent streams, clocks that step."""

from __future__ import annotations

from collections.abc import Callable

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.live.intake import Intake
from toolkit.live.link import Link
from toolkit.protocol import Request

__all__ = ["CLOCK_STEP_NS", "Watchdog"]

#: Wall and monotonic clock drifting apart by more than this between two looks is a step, not a slewing.
CLOCK_STEP_NS = 100 * NS_PER_MS
#: A look that comes this much later than planned says that the machine slept or the loop was busy.
LATE_S = 4.0


class Watchdog:
    """
    One task for a whole source.

    Args:
        intake: Where what it finds is recorded.
        links: The source's connections, by `conn_id`; it grows while the source runs.
        carry_out: Takes the requests that time alone makes necessary.
        open_links: Opens connections that the protocol has come to want.
        look_s: Seconds between two looks.
    """

    def __init__(
        self,
        intake: Intake,
        links: dict[int, Link],
        *,
        carry_out: Callable[[list[Request]], None],
        open_links: Callable[[], None],
        look_s: float = 1.0,
    ) -> None:
        self._intake = intake
        self._clock = intake.capture.clock
        self._links = links
        self._carry_out = carry_out
        self._open_links = open_links
        self._look_s = look_s
        self._last_look_ns = self._clock.monotonic_ns()
        self._wall_less_mono_ns = self._clock.time_ns() - self._last_look_ns

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await self._clock.sleep(self._look_s)
            self.look()

    def look(self) -> None:
        """Look once. Raises the protocol's verdict that it cannot go on."""
        now = self._clock.monotonic_ns()
        was_late = now - self._last_look_ns > (self._look_s + LATE_S) * NS_PER_S
        self._last_look_ns = now
        self._look_at_clocks(now)
        for link in list(self._links.values()):
            link.look(now, was_late=was_late)
        if not was_late:
            self._look_at_streams(now)
        protocol = self._intake.protocol
        if protocol.failure is not None:
            raise protocol.failure
        self._carry_out(protocol.due(now))
        self._open_links()

    def _look_at_clocks(self, now: int) -> None:
        wall_less_mono_ns = self._clock.time_ns() - now
        delta_ns = wall_less_mono_ns - self._wall_less_mono_ns
        self._wall_less_mono_ns = wall_less_mono_ns
        if abs(delta_ns) > CLOCK_STEP_NS:
            self._intake.control(-1, 0, "clock_step", delta_ns=delta_ns)

    def _look_at_streams(self, now: int) -> None:
        for stream in self._intake.protocol.streams.silent(now):
            link = self._links.get(stream.conn_id)
            self._intake.control(
                stream.conn_id,
                max(link.conn_epoch, 0) if link else 0,
                "stale",
                symbol=stream.symbol,
                stream=stream.stream,
                silence_s=round((now - stream.last_mono) / NS_PER_S, 3),
                cause="silence",
            )
