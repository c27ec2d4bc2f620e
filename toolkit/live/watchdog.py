"""Looks once a second at what cannot speak up itself: dead and deaf connections, silent streams, books that never came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from toolkit.clock import NS_PER_S
from toolkit.live.clock_watch import ClockWatch
from toolkit.live.deaf_connections import Verdict
from toolkit.live.intake import Intake
from toolkit.live.link import Link
from toolkit.protocol import Request
from toolkit.streams import Stream

__all__ = ["BOOK_S_MAX", "Watchdog"]

#: A look that comes this much later than planned says that the machine slept or the loop was busy.
LATE_S = 4.0
#: A book that has not come this long after it was asked for is missing: snapshots wait for the venue's limits, but a
#: pair that has none by then is worth a look.
BOOK_S_MAX: Final = 120.0


class Watchdog:
    """
    One task for a whole source.

    Args:
        intake: Where what it finds is recorded.
        links: The source's connections, by `conn_id`; it grows while the source runs.
        clocks: The watch over the clocks.
        carry_out: Takes the requests that time alone makes necessary.
        open_links: Opens connections that the protocol has come to want.
        look_s: Seconds between two looks.
    """

    def __init__(
        self,
        intake: Intake,
        links: dict[int, Link],
        *,
        clocks: ClockWatch,
        carry_out: Callable[[list[Request]], None],
        open_links: Callable[[], None],
        look_s: float = 1.0,
    ) -> None:
        self._intake = intake
        self._clock = intake.capture.clock
        self._links = links
        self._clocks = clocks
        self._carry_out = carry_out
        self._open_links = open_links
        self._look_s = look_s
        self._last_look_ns = self._clock.monotonic_ns()

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
        self._clocks.look()
        for link in list(self._links.values()):
            link.look(now, was_late=was_late)
        self._listen(now, was_late=was_late)
        if not was_late:
            self._look_at_streams(now)
        protocol = self._intake.protocol
        if protocol.failure is not None:
            raise protocol.failure
        self._carry_out(protocol.due(now))
        self._open_links()

    def _listen(self, now: int, *, was_late: bool) -> None:
        """Find connections that live and bring nothing: subscribe their streams again, then make them again."""
        carried: dict[int, list[Stream]] = {}
        for stream in self._intake.protocol.streams:
            carried.setdefault(stream.conn_id, []).append(stream)
        for link in list(self._links.values()):
            streams = carried.get(link.conn_id, [])
            if not link.is_open:
                continue
            hearing = link.hearing
            match hearing.look(link.conn_epoch, streams, now, is_excused=was_late or link.has_unsent):
                case Verdict.DEAF:
                    silence_s = round(hearing.silence_s, 3)
                    self._control(link, "connection_stale", role=link.plan.role, cause="deaf", silence_s=silence_s)
                    self._control(link, "resubscribe")
                    hearing.pardon(streams)
                case Verdict.HOPELESS:
                    link.close(f"no data for {hearing.silence_s:.0f} s")
                case Verdict.HEARS:
                    pass

    def _look_at_streams(self, now: int) -> None:
        streams = self._intake.protocol.streams
        for stream in streams.silent(now):
            silence_s = round((now - stream.last_mono) / NS_PER_S, 3)
            self._stale(stream, silence_s=silence_s, cause="silence")
        for stream in streams.bookless(now, round(BOOK_S_MAX * NS_PER_S)):
            self._stale(stream, silence_s=round((now - stream.since_mono) / NS_PER_S, 3), cause="no_book")

    def _stale(self, stream: Stream, *, silence_s: float, cause: str) -> None:
        link = self._links.get(stream.conn_id)
        self._intake.control(
            stream.conn_id,
            max(link.conn_epoch, 0) if link else 0,
            "stale",
            symbol=stream.symbol,
            stream=stream.stream,
            silence_s=silence_s,
            cause=cause,
        )

    def _control(self, link: Link, event: str, **details: str | float) -> None:
        self._intake.control(link.conn_id, max(link.conn_epoch, 0), event, **details)
