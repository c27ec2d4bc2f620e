"""Notes in a recording what the kernel says of its clock: at the start of a session, and every hour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from toolkit.clock import NS_PER_MS, Clock
from toolkit.live.clock_sync import ClockState

__all__ = ["ClockNotes"]

EVERY_S: Final = 3600.0


class ClockNotes:
    """
    The notes of one session.

    Args:
        clock: Clock that measures the hour.
        read: Gives the kernel's state; None where the system does not tell.
        say: Records an event with its details, and raises what a callback raised.
        log: Called with one line when the operator should know.
    """

    def __init__(
        self,
        clock: Clock,
        read: Callable[[], ClockState | None],
        say: Callable[[str, dict[str, object]], None],
        log: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._read = read
        self._say = say
        self._log = log
        self._was_synchronised: bool | None = None

    async def run(self) -> None:
        """Note it now and every hour, until cancelled."""
        while True:
            self.note()
            await self._clock.sleep(EVERY_S)

    def note(self) -> None:
        """Note it once."""
        state = self._read()
        if state is None:
            return
        details: dict[str, object] = {
            "is_synchronised": state.is_synchronised,
            "offset_ns": state.offset_ns,
            "error_max_ns": state.error_max_ns,
            "error_estimated_ns": state.error_estimated_ns,
        }
        self._say("clock_state", details)
        if state.is_synchronised is self._was_synchronised:
            return
        if not state.is_synchronised:
            self._log(
                "the system's clock is not synchronised: times of receipt may be wrong by any amount; "
                "run a time daemon (chrony, systemd-timesyncd)"
            )
        elif self._was_synchronised is False:
            self._log(f"the system's clock is synchronised again, to {state.error_max_ns / NS_PER_MS:.0f} ms at most")
        self._was_synchronised = state.is_synchronised
