"""
A recording that is still being made, as a data source: from a time of its tape on, over into the live feed.

Frames come from `recordings/following/follower.py`, each once and in order, and run through the same protocols as everywhere. So
the messages, books, timers and the digest are those of a replay of the finished recording, whatever happened on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Final

from recordings.following.follower import PATIENCE_S, Follower
from recordings.format.manifest import Manifest, TableFile
from recordings.format.schema import MESSAGE_TABLES, TABLE_OF
from recordings.reading.selecting import Wish, asked_or_named, keys_of, select, wanted_keys
from recordings.reading.unsealed import is_open
from recordings.recording import folder_of
from recordings.states.checkpoints import read_checkpoint
from recordings.states.normalizer import Normalizer
from replay.clock import ReplayClock
from replay.recorded_source import RecordedDataSource
from replay.seeking import books_of
from toolkit.books.tracker import TrackerState
from toolkit.clock import NS_PER_S, Clock, SystemClock, format_ns
from toolkit.errors import ConfigError, RecordingError, SymbolError
from toolkit.frames import Frame
from toolkit.keys import PairName, split
from toolkit.messages import Message
from toolkit.timing.clock_jumps import jump_of
from toolkit.timing.times import Instant, Seconds, instant_ns, seconds_of

__all__ = ["FollowDataSource"]

#: Frames after which other tasks have a turn.
_TURN: Final = 256
#: Messages an async listener may lag behind before the source waits for it; the recorder never does.
_BACKLOG_MAX: Final = 16_384
_BACKLOG_LOOK_S: Final = 0.001
#: Turns of the event loop that a woken sleeper has, before time goes on, to do what it woke up for.
_TURNS_OF_SLEEPER: Final = 8
#: A time to begin at that is so near to the clock was meant as "now".
_NOW_NS: Final = 60 * NS_PER_S


class FollowDataSource(RecordedDataSource):
    """
    Feeds a recording, finished or not, into whatever a live source can feed; ends when the recording does.

    A follower that is slower than the feed falls behind and loses nothing. The clock is moved by frames alone, as in a
    replay, so timers fire between the same messages.

    Args:
        recording: Its folder, on this machine or mounted.
        start_ns: Begin before the first frame of that time or later, with the books as they are then: ns, a datetime
            (without a zone: UTC), or text; `now` for the live feed alone, None for the whole recording.
        trading_pairs: Pairs to keep, or symbols as the venue spells them, or keys (`PairKey`) of a pair at one venue; None
            for all. Events of whole connections come along.
        venues: Venues to keep; None for all.
        channels: Kinds of messages to keep, as the tables of a recording are called; None for all. Events always come along.
        with_digest: Keep the digest chain; at the end of all of a recording it is the recording's.
        tee_url: Where the recorder is reached; None to look in the folder.
        patience_s: How long a recorder may show no sign of life before it is given up: a number of seconds, a timedelta, or
            text such as `1m`.
        pacer: The clock that this is measured by; None for the machine's.
        log: Called with one line for what a user should know.

    Attributes:
        clock: The time of the frames.
        message_count: Messages emitted so far.
        frame_count: Frames taken in so far, also those before `start_ns`.
    """

    def __init__(
        self,
        recording: str | Path,
        *,
        start_ns: Instant | None = None,
        trading_pairs: Collection[PairName] | PairName | None = None,
        venues: Collection[str] | str | None = None,
        channels: Collection[str] | None = None,
        with_digest: bool = False,
        tee_url: str | None = None,
        patience_s: Seconds = PATIENCE_S,
        pacer: Clock | None = None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__(with_digest=with_digest)
        for channel in channels or ():
            if channel not in MESSAGE_TABLES:
                raise ConfigError(f"unknown channel {channel!r}, expected one of {', '.join(MESSAGE_TABLES)}")
        if trading_pairs is not None and not trading_pairs:
            raise SymbolError("no pair was named, expected at least one; leave trading_pairs out for all")
        self._folder = folder_of(recording)
        self._wish = Wish.of(trading_pairs, venues)
        self._channels = None if channels is None else {*channels, "events"}
        self._tee_url = tee_url
        self._patience_s = seconds_of(patience_s, "patience_s")
        self._pacer = pacer if pacer is not None else SystemClock()
        start_ns = self._pacer.time_ns() if start_ns == "now" else start_ns
        self._start_ns = None if start_ns is None else instant_ns(start_ns, "start_ns")
        self._log = log
        self.clock = ReplayClock()
        self.message_count = 0
        self.frame_count = 0
        self._follower: Follower | None = None
        self._normalizer: Normalizer | None = None
        self._is_silent = start_ns is not None
        self._is_checked = False
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def _shown(self) -> str:
        return f"{self._folder}: {self.frame_count:,} frames, {self.message_count:,} messages taken in"

    # -- life cycle --------------------------------------------------------------------------------------------

    @property
    def follower(self) -> Follower:
        """Where the frames come from: counts, and whether they are live. Raises RecordingError when first asked for."""
        if self._follower is None:
            self._follower = Follower(
                self._folder,
                tee_url=self._tee_url,
                patience_s=self._patience_s,
                clock=self._pacer,
                log=self._log,
            )
        return self._follower

    async def initialize(self) -> None:
        """
        Open the recording, wait for its first frame, and take the state at the last checkpoint before the time to begin at.

        Raises RecordingError, ConfigError for a venue that it is not of or a start after its end, and SymbolError for a
        pair that a finished recording does not have.
        """
        recording = self.follower.recording
        manifest = recording.manifest
        normalizer = self._normalizer = Normalizer.for_sources(manifest.sources)
        if self._wish is not None:
            self._wish.check_venues([manifest], str(self._folder))
            if manifest.status != "running":
                names = self._wish.each or None
                select([manifest], str(self._folder), trading_pairs=names, venues=self._wish.venues)
            self._wish = self._wish.spelled_out(asked_or_named(manifest))
        self.tracker.announce(wanted_keys(manifest, self._wish))
        if self._start_ns is None:
            self.clock.now_ns = await self._first_ns(manifest)
            return
        last_ns = max((each.ts_recv_last for each in manifest.segments), default=None)
        # From now on, there may be nothing; from any other time, there was to be something.
        is_now = abs(self._pacer.time_ns() - self._start_ns) < _NOW_NS
        if last_ns is not None and self._start_ns > last_ns and not is_now and not is_open(self._folder, manifest):
            raise ConfigError(
                f"following starts at {format_ns(self._start_ns)}, but the tape, which is not being recorded, ends at "
                f"{format_ns(last_ns)}"
            )
        self.clock.now_ns = self._start_ns
        # What some channels alone make of a book is in no checkpoint, nor is the digest of some messages alone.
        if self._channels is not None or (self._wish is not None and self.chain is not None):
            return
        for next_seq, file in _checkpoints_before(manifest, self._start_ns):
            try:
                read_checkpoint(self._folder, file, normalizer)
            except RecordingError:
                normalizer = self._normalizer = Normalizer.for_sources(manifest.sources)
                continue  # an earlier one, or none: it takes longer then
            recording.next_seq = next_seq
            self.tracker.restore(self._of_pairs(normalizer.tracker.export()))
            if self.chain is not None:
                self.chain.restart(normalizer.chain.digest())
            return

    async def _first_ns(self, manifest: Manifest) -> int:
        """Where the tape begins. A recording that was begun this moment is waited for: the clock has to stand there first."""
        if manifest.segments:
            return min(each.ts_recv_first for each in manifest.segments)
        first = await self.follower.first_frame(lambda: not self._is_stopped)
        return first.ts_recv if first is not None else manifest.created_ns

    async def start(self) -> None:
        """Begin to emit, in a task of the running loop. Facets that were taken must all be started first."""
        if self._normalizer is None:
            raise ConfigError("a source is started after its initialize(): use `async with`")
        if self._task is None and not self._is_stopped and self._hub.are_all_started:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def halt(self) -> None:
        """Stop emitting as soon as the loop has its turn; `wait` returns then. For signals and callbacks."""
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """Stop emitting; raises what a callback raised, unless `wait` has done so."""
        self.halt()
        await self.wait()
        self.dispatcher.close()

    async def wait(self) -> None:
        """Until the recording has ended and all of it was emitted. Raises what a callback or the reading raised."""
        if self._task is not None:
            # Who waits may be cancelled without the source being stopped by that.
            await asyncio.wait({self._task})
            task, self._task = self._task, None
            if not task.cancelled():
                task.result()

    async def _run(self) -> None:
        try:
            async with aclosing(self.follower.batches()) as batches:
                async for batch in batches:
                    await self._take(batch)
            segments = self.follower.recording.manifest.segments
            await self._reach(max((each.ts_recv_last for each in segments), default=0))
        finally:
            self.dispatcher.close()

    # -- every frame -------------------------------------------------------------------------------------------

    async def _take(self, batch: list[Frame]) -> None:
        normalizer, clock, emit = self._normalizer, self.clock, self.dispatcher.emit
        assert normalizer is not None, "it was initialized"
        apply = self.tracker.apply
        update = self.chain.update if self.chain is not None else None
        for count, frame in enumerate(batch, 1):
            self.frame_count += 1
            messages = self._wanted(normalizer.messages(frame))
            if messages:
                ts_recv = frame.ts_recv
                if self._is_silent and self._start_ns is not None and ts_recv >= self._start_ns:
                    self._is_silent = False
                is_silent = self._is_silent
                if not is_silent:
                    if clock.timers.next_due_ns <= max(ts_recv, clock.now_ns):
                        if (jump := jump_of(messages[0])) is not None:
                            clock.jump(*jump)
                        await self._reach(ts_recv)
                    elif ts_recv > clock.now_ns:
                        clock.now_ns = ts_recv
                for message in messages:
                    book = apply(message)
                    if update is not None:
                        update(message, book)
                    if not is_silent:
                        self.message_count += 1
                        emit(message)
            if count % _TURN == 0:
                await asyncio.sleep(0)
        await self._take_turn()
        self._check_pairs()

    async def _take_turn(self) -> None:
        await asyncio.sleep(0)
        while self.dispatcher.backlog > _BACKLOG_MAX:
            await self._pacer.sleep(_BACKLOG_LOOK_S)

    async def _reach(self, ns: int) -> None:
        """Fire what is due by then, each with the sleepers it wakes; then that is the time."""
        clock = self.clock
        ns = max(ns, clock.now_ns)
        woken = clock.woken_count
        while clock.fire_next(ns):
            if clock.woken_count != woken:
                woken = clock.woken_count
                for _ in range(_TURNS_OF_SLEEPER):
                    await asyncio.sleep(0)
        clock.now_ns = max(clock.now_ns, ns)

    # -- what is wanted ----------------------------------------------------------------------------------------

    def _wanted(self, messages: list[Message]) -> list[Message]:
        wish, channels = self._wish, self._channels
        if wish is not None:
            messages = [each for each in messages if wish.takes(each.venue, each.symbol, each.trading_pair)]
        if channels is not None:
            messages = [each for each in messages if TABLE_OF[type(each)] in channels]
        return messages

    def _of_pairs(self, state: TrackerState) -> TrackerState:
        if self._wish is None:
            return state
        # A state knows books by their pairs alone; which symbol each has, the manifest says.
        keys = wanted_keys(self.follower.recording.manifest, self._wish)
        return books_of(state, keys)

    def _check_pairs(self) -> None:
        """Once the venues' listings have been read: a pair that none of them has would never come."""
        normalizer = self._normalizer
        wish = self._wish
        if self._is_checked or wish is None or normalizer is None:
            return
        protocols = normalizer.protocols
        if not all(protocol.is_ready for protocol in protocols.values()):
            return
        self._is_checked = True
        known = keys_of([self.follower.recording.manifest])
        for own, name in map(split, wish.each):
            venues = [own] if own is not None else sorted(wish.venues or protocols)
            if any((venue, name) in known for venue in venues):
                continue
            spellings = []
            for venue in venues:
                protocol = protocols[venue]
                try:
                    symbol = protocol.symbol(name)
                except SymbolError as exc:
                    spellings.append(str(exc))
                    continue
                if name in (symbol, protocol.trading_pair(symbol)):
                    break
                spellings.append(protocol.trading_pair(symbol))
            else:
                raise SymbolError(f"{name!r} is no pair of {self._folder}: expected {' or '.join(spellings)}")


def _checkpoints_before(manifest: Manifest, ns: int) -> list[tuple[int, TableFile]]:
    """States after segments that lie wholly before a time, the latest first, and the number of the frame after each."""
    states = [segment.checkpoint for segment in manifest.segments[1:]]
    if manifest.segments:
        states.append(manifest.resume)
    latest, found = -1, []
    for segment, state in zip(manifest.segments, states, strict=True):
        latest = max(latest, segment.ts_recv_last)
        if latest >= ns:
            break
        if state is not None:
            found.append((segment.capture_seq_last + 1, state))
    return found[::-1]
