"""
A recording as a data source: the same interface as the live one, and the same messages.

Two fidelities give the same messages and the same digest: `raw` runs the venues' protocols over the recorded frames,
`normalized` reads the messages back from their columns, which is faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from os import PathLike
from typing import Final

from recordings.queries.several_recordings import one_or_several
from recordings.recording import Recording
from replay.clock import ReplayClock
from replay.player import Player
from replay.recorded_source import RecordedDataSource
from replay.tape import Fidelity, Tape
from toolkit.clock import Clock, SystemClock
from toolkit.errors import ConfigError
from toolkit.keys import PairName
from toolkit.timing.times import Instant, Pace, instant_ns, pace_of

__all__ = ["FIDELITIES", "Fidelity", "ReplayDataSource"]

FIDELITIES: Final = ("raw", "normalized")


class ReplayDataSource(RecordedDataSource):
    """
    Feeds a recording into whatever a live source can feed.

    Books are brought up to date before the callback is called, so `source.tracker.book(message.key)` in a callback is
    the book as of that message.

    Args:
        recording: The recording or its folder; or several, played as one (see `replay/tape.py`).
        fidelity: `raw` or `normalized`.
        trading_pairs: Pairs to replay, or symbols as the venue spells them, or keys (`PairKey`) of a pair at one venue;
            None for all. Events of whole connections come along.
        venues: Venues to replay; None for all. Of a pair that several have, all that are kept come.
        batch_rows: Rows read at a time; None to choose. Any number gives the same messages.
        channels: Kinds of messages to replay, of `replay.tape.CHANNELS`; None for all. Events always come along.
        with_digest: Keep the digest chain while replaying; only a replay of all of one recording can be compared.
        speed: How many times as fast as recorded, as a number or as text (`10x`); None for as fast as possible.
        start_ns: Begin before the first frame of that time or later, with the books as they are then: ns, a datetime
            (without a zone: UTC), or text.
        end_ns: End before the first frame of that time or later.
        loop: Begin again at the end, until stopped.
        sealed: Leave out what is not sealed yet. Else a recording that is being recorded is played to where it had come
            when this source was first used, and one whose recorder died as `recover` would seal it.
        pacer: The clock that speeds are kept by; None for the machine's.

    Raises:
        ConfigError: An argument is none of these, or no time of the tape lies between start and end; when the
            recordings are opened, that is on first use.
        SymbolError: Likewise, for a pair or symbol that is not in them.
        RecordingError: A recording cannot be used.

    Attributes:
        tracker: The order books.
        chain: The digest chain; None unless asked for.
    """

    def __init__(
        self,
        recording: Recording | str | PathLike[str] | Sequence[Recording | str | PathLike[str]],
        *,
        fidelity: Fidelity = "normalized",
        trading_pairs: Collection[PairName] | PairName | None = None,
        venues: Collection[str] | str | None = None,
        channels: Collection[str] | None = None,
        batch_rows: int | None = None,
        with_digest: bool = False,
        speed: Pace = None,
        start_ns: Instant | None = None,
        end_ns: Instant | None = None,
        loop: bool = False,
        sealed: bool = False,
        pacer: Clock | None = None,
    ) -> None:
        super().__init__(with_digest=with_digest)
        if fidelity not in FIDELITIES:
            raise ConfigError(f"unknown fidelity {fidelity!r}, expected one of {', '.join(FIDELITIES)}")
        self._given = one_or_several(recording)
        if not self._given:
            raise ConfigError("no recording to replay, expected at least one")
        self._player: Player | None = None
        self._fidelity = fidelity
        self._pairs = trading_pairs
        self._venues = venues
        self._channels = [channels] if isinstance(channels, str) else channels
        self._batch_rows = batch_rows
        self._speed = pace_of(speed)
        # Whether a number may be one of seconds is seen when the tape is there.
        self._start_ns = None if start_ns is None else instant_ns(start_ns, "start_ns", near_ns=0)
        self._end_ns = None if end_ns is None else instant_ns(end_ns, "end_ns", near_ns=0)
        self._loop = loop
        self._is_sealed_only = sealed
        self._pacer = pacer if pacer is not None else SystemClock()
        self._task: asyncio.Task[None] | None = None

    def _shown(self) -> str:
        # The player is not asked for: that would open the recordings.
        names = [str(given.path if isinstance(given, Recording) else given) for given in self._given]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        playing = self._player._shown() if self._player is not None else "not opened yet"
        return f"{names[0]}{more} ({self._fidelity}): {playing}"

    # -- life cycle --------------------------------------------------------------------------------------------

    @property
    def recordings(self) -> list[Recording]:
        """The recordings, opened on first use. Raises RecordingError."""
        return self.player.tape.recordings

    @property
    def recording(self) -> Recording:
        """The first of them."""
        return self.recordings[0]

    @property
    def clock(self) -> ReplayClock:
        """The time of the replay: that of the frames."""
        return self.player.clock

    @property
    def player(self) -> Player:
        """The controls: pause, step, seek, speed. Raises what the class says when first asked for."""
        if self._player is None:
            recordings = [given if isinstance(given, Recording) else Recording.open(given) for given in self._given]
            if self._is_sealed_only:
                recordings = [recording.sealed_part() for recording in recordings]
            tape = Tape(
                recordings,
                fidelity=self._fidelity,
                trading_pairs=self._pairs,
                venues=self._venues,
                channels=self._channels,
                batch_rows=self._batch_rows,
            )
            self.tracker.announce(tape.keys)
            self._player = Player(
                tape,
                self.tracker,
                self.chain,
                self.dispatcher,
                clock=ReplayClock(),
                pacer=self._pacer,
                speed=self._speed,
                start_ns=self._start_ns,
                end_ns=self._end_ns,
                loop=self._loop,
            )
        return self._player

    @property
    def message_count(self) -> int:
        """Messages emitted so far."""
        return self._player.message_count if self._player is not None else 0

    async def initialize(self) -> None:
        """Open the recordings. Raises what the class says."""
        _ = self.player

    async def start(self) -> None:
        """Begin to emit, in a task of the running loop. Facets that were taken must all be started first."""
        if self._task is None and self._hub.are_all_started:
            self.player.is_stopped = False
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop emitting; raises what a callback raised, unless `wait` has done so."""
        if self._player is not None:
            self._player.stop()
        await self.wait()
        self.dispatcher.close()

    async def wait(self) -> None:
        """Until the tape is at its end. Raises what a callback or the reading raised."""
        if self._task is not None:
            task, self._task = self._task, None
            await task

    def play(self) -> None:
        """
        Emit everything at once, without an event loop and whatever the speed: the fastest way for callbacks.

        Returns at the end, or when a callback pauses the player; then it may be called again.
        """
        if self.player.play():
            self.dispatcher.close()

    async def _run(self) -> None:
        try:
            await self.player.run()
        finally:
            self.dispatcher.close()
