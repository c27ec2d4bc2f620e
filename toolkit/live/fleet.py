"""
Several live sources of one session, none of which shares the fate of another.

Each starts, fails, waits and is made again alone. What ends all of them is a frame that failed on its way (the disk, a
callback, a defect of a protocol): after that a recording would not be what was received.

A session of one venue ends with that venue's failure, as somebody who mistyped a pair or a URL expects. So does one of
several venues, if not one could be started, unless `wait_for_venue` is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from toolkit.clock import Clock
from toolkit.errors import TickdeckError, TransportError
from toolkit.live.source import LiveDataSource
from toolkit.live.status import SourceState, SourceStatus
from toolkit.transport.backoff import Backoff

__all__ = ["Fleet", "SourceFactory"]

#: Makes a source of a venue; the argument says whether it is to keep trying to reach the venue for the first time.
SourceFactory = Callable[[bool], LiveDataSource]

#: What a venue's verdict (a pair that it does not list or trade) changes to is asked less often than a network.
VERDICT_S_MIN: Final = 60.0


class _Outcome(enum.Enum):
    STOPPED = enum.auto()
    FAILED = enum.auto()


class _Keeper:
    """Keeps one venue's source running."""

    def __init__(self, venue: str, make: SourceFactory, backoff: Backoff) -> None:
        self.venue = venue
        self.make = make
        self.backoff = backoff
        self.source: LiveDataSource | None = None
        self.state = SourceState.STARTING
        self.failure: TickdeckError | None = None
        self.has_begun = False

    def status(self) -> SourceStatus:
        status = self.source.status() if self.source is not None else SourceStatus.idle(self.venue)
        error = str(self.failure) if self.failure is not None and self.state is SourceState.WAITING else ""
        return replace(status, state=self.state, last_error=error or status.last_error)


class Fleet:
    """
    The sources of a session.

    Args:
        factories: Functions that make each venue's source, by the venue's name.
        clock: Clock that measures pauses.
        log: Called with one line for what an operator should know.
        is_patient: Keep trying to reach venues for the first time, even if it is all of them.
        seed: Decides the jitter of pauses.
        begun: Called with a venue's name when its source has been started for the first time.
    """

    def __init__(
        self,
        factories: dict[str, SourceFactory],
        *,
        clock: Clock,
        log: Callable[[str], None],
        is_patient: bool,
        seed: int | str,
        begun: Callable[[str], None] = lambda venue: None,
    ) -> None:
        self._clock = clock
        self._log = log
        self._is_patient = is_patient
        self._begun = begun
        self._keepers = [
            _Keeper(venue, make, Backoff(f"{seed}:{venue}:source", base_s=1.0, max_s=300.0))
            for venue, make in factories.items()
        ]

    @property
    def has_begun(self) -> bool:
        """Whether any of the sources has ever been started."""
        return any(keeper.has_begun for keeper in self._keepers)

    def status(self) -> tuple[SourceStatus, ...]:
        """What each source is doing, in the order in which the venues were named."""
        return tuple(keeper.status() for keeper in self._keepers)

    def never_begun(self) -> list[TickdeckError]:
        """Why the sources that never came to run did not, where it was the venue's verdict and not the network."""
        return [
            keeper.failure
            for keeper in self._keepers
            if not keeper.has_begun and keeper.failure is not None and not isinstance(keeper.failure, TransportError)
        ]

    def unreached(self) -> list[str]:
        """The venues whose source never came to run."""
        return [keeper.venue for keeper in self._keepers if not keeper.has_begun]

    async def run(self) -> None:
        """Run all of them until cancelled. Raises what ends the session."""
        async with asyncio.TaskGroup() as group:
            for keeper in self._keepers:
                group.create_task(self._keep(keeper), name=f"source {keeper.venue}")

    async def stop(self) -> None:
        """Close every connection; what failed before is not raised again. Call it after `run` has ended."""
        sources = [keeper.source for keeper in self._keepers if keeper.source is not None]
        # All at once: one that takes its time to say goodbye keeps no other from it.
        await asyncio.gather(*(source.stop() for source in sources), return_exceptions=True)

    async def _keep(self, keeper: _Keeper) -> None:
        while await self._live(keeper) is _Outcome.FAILED:
            failure = keeper.failure
            assert failure is not None
            pause_s = keeper.backoff.refused_s()
            if not isinstance(failure, TransportError):
                pause_s = max(pause_s, VERDICT_S_MIN)
            self._log(f"{keeper.venue}: {failure}; tried again in {pause_s:.0f} s, the others go on")
            await self._clock.sleep(pause_s)

    async def _live(self, keeper: _Keeper) -> _Outcome:
        """One life of a source, from its making to its end."""
        keeper.state = SourceState.STARTING
        # A venue that is tried again has failed once already: from then on there is no hurry to say so.
        source = keeper.source = keeper.make(self._is_patient or keeper.failure is not None)
        began_ns = self._clock.monotonic_ns()
        try:
            await source.initialize()
            await source.start()
            if not keeper.has_begun:
                keeper.has_begun = True
                self._begun(keeper.venue)
            keeper.state = SourceState.RUNNING
            await source.wait()
        except Exception as exc:
            failure = _cause(exc)
            if source.has_lost_frames or failure is None:
                raise
            with contextlib.suppress(Exception):
                await source.stop()
            keeper.backoff.lived((self._clock.monotonic_ns() - began_ns) / 1e9)
            self._failed(keeper, failure, exc)
            return _Outcome.FAILED
        return _Outcome.STOPPED

    def _failed(self, keeper: _Keeper, failure: TickdeckError, exc: Exception) -> None:
        keeper.failure = failure
        keeper.state = SourceState.WAITING
        if len(self._keepers) == 1:
            raise exc
        is_over = not self.has_begun and all(other.failure is not None for other in self._keepers)
        if is_over and not self._is_patient:
            raise exc


def _cause(exc: Exception) -> TickdeckError | None:
    """The failure to go on after; None if any of them is none of ours, which is a defect and no fate of a venue."""
    leaves = list(_leaves(exc))
    ours = [leaf for leaf in leaves if isinstance(leaf, TickdeckError)]
    return ours[0] if len(ours) == len(leaves) else None


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        inner: Sequence[BaseException] = exc.exceptions
        for each in inner:
            yield from _leaves(each)
    else:
        yield exc
