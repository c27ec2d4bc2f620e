"""
The controls of a replay: speed, pause, steps, seek, loop.

The point of the tape is always between two messages. A seek to T stands before the first frame whose time (the latest
`ts_recv` up to it) is T or later, with books and digest as they are when everything before has been played.

Pacing is by deadlines, not by pauses: each frame is due at `start + (its time - time at the start) / speed`, so lateness
of one never adds to the next. A pause, a seek or another speed begins a new count. What the recorder's clock stepped
ahead by is not waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from fractions import Fraction
from typing import Final, NamedTuple, Protocol

from replay.clock import ReplayClock
from replay.pace import Pacing, Wait
from replay.tape import NOTICES, Batch, Books, Tape
from toolkit.borders import Shown
from toolkit.clock import Clock, format_ns
from toolkit.digest import EMPTY_DIGEST, DigestChain
from toolkit.errors import ConfigError
from toolkit.gc_tuning import rare_collections
from toolkit.messages import Message
from toolkit.timing.clock_jumps import jump_of
from toolkit.timing.timers import NEVER_NS
from toolkit.timing.times import Instant, Pace, instant_ns

__all__ = ["Player", "Receiver"]

#: Messages after which a running replay lets other tasks have a turn.
_TURN: Final = 2048
#: Messages an async listener may lag behind before the replay waits for it.
_BACKLOG_MAX: Final = 16_384
#: Turns of the event loop that a woken sleeper has, before time goes on, to do what it woke up for.
_TURNS_OF_SLEEPER: Final = 8


class Receiver(Protocol):
    """Whom messages are handed on to: a `MessageDispatcher`, mostly."""

    def emit(self, message: Message) -> None:
        """Take a message, which the books have taken in."""

    @property
    def backlog(self) -> int:
        """Messages that wait to be read."""


class _Seek(NamedTuple):
    """
    A seek that was asked for.

    Attributes:
        ns: Time to go to.
        skips: Whether the books go on, if the time is a later one.
    """

    ns: int
    skips: bool


class Player(Shown):
    """
    Plays a tape into a dispatcher.

    Its methods may be called at any time, in callbacks too; there they take effect after the present message.

    Args:
        tape: Tape to play.
        tracker: Books, brought up to date before a message is handed on.
        chain: Digest, brought up to date with them; None for none.
        dispatcher: Where messages go.
        clock: The time of the replay.
        pacer: Clock by whose monotonic reading speeds are kept.
        speed: How many times as fast as recorded; None for as fast as possible. Only `run` keeps to it.
        start_ns: Where to begin: before the first frame of that time or later.
        end_ns: Where to end: before the first frame of that time or later.
        loop: Begin again at the end; timers go on, as `ReplayClock.rewind` says.
        after_turn: Awaited by `run` whenever messages have been handed on and other tasks shall have a turn.
        turn: Messages after which that is at the latest.

    Raises ConfigError for a speed that is none, and for bounds between which the tape has nothing.

    Attributes:
        message_count: Messages handed on so far.
        lap_count: How often it began again at the end.
        is_paused: Whether `run` waits.
        is_stopped: Whether `run` and `play` have been ended.
    """

    def __init__(
        self,
        tape: Tape,
        tracker: Books,
        chain: DigestChain | None,
        dispatcher: Receiver,
        *,
        clock: ReplayClock,
        pacer: Clock,
        speed: Pace = None,
        start_ns: Instant | None = None,
        end_ns: Instant | None = None,
        loop: bool = False,
        after_turn: Callable[[], Awaitable[None]] | None = None,
        turn: int = _TURN,
    ) -> None:
        self.tape = tape
        self.clock = clock
        self._tracker = tracker
        self._chain = chain
        self._dispatcher = dispatcher
        self._pacing = Pacing(pacer, speed, tape.clock_steps)
        start_ns = None if start_ns is None else instant_ns(start_ns, "start_ns", near_ns=tape.last_ns)
        end_ns = None if end_ns is None else instant_ns(end_ns, "end_ns", near_ns=tape.last_ns)
        self._start_ns = start_ns
        self._end_ns = NEVER_NS if end_ns is None else end_ns
        self._loops = loop
        self._after_turn = after_turn
        self._turn = turn
        self.message_count = 0
        self.lap_count = 0
        #: Messages played when this lap began; None after a seek, which begins none.
        self._lap_began: int | None = 0
        # What was asked for. It is done in `_look`, between two messages.
        self.is_paused = False
        self.is_stopped = False
        self._seek: _Seek | None = None
        #: Whether something was asked for: the inner loop is left.
        self._must_look = False
        self._wait = Wait()
        # Where the tape stands.
        self._batches: Iterator[Batch] | None = None
        self._messages: list[Message] = []
        #: Place of the next message among these.
        self._index = 0
        #: Recording that they are of.
        self._position: int | None = None
        #: `capture_seq` of the last message, to know where the next frame begins.
        self._frame: int | None = None
        #: Whether a callback or timer is under way.
        self._is_busy = False
        _check_window(tape, start_ns, end_ns)
        clock.now_ns = tape.first_ns if start_ns is None else start_ns

    def _shown(self) -> str:
        state = "stopped" if self.is_stopped else "paused" if self.is_paused else "ready"
        return f"at {format_ns(self.position_ns)}, {self.message_count:,} messages played, {state}"

    # -- controls ----------------------------------------------------------------------------------------------

    @property
    def speed(self) -> Fraction | None:
        """How many times as fast as recorded; None: as fast as possible."""
        return self._pacing.speed

    @speed.setter
    def speed(self, speed: Pace) -> None:
        self._pacing.speed = speed
        self._interrupt()

    @property
    def anchor(self) -> tuple[int, int] | None:
        """A reading of the pacer and the tape's time at it, from which `run` counts; None where it keeps no pace."""
        return self._pacing.anchor

    @property
    def position_ns(self) -> int:
        """The time of the tape now: of the last frame or timer, or where it was sought to."""
        return self.clock.now_ns

    def pause(self) -> None:
        """Stand still: `run` waits for `resume`, `play` returns and may be called again."""
        self.is_paused = True
        self._interrupt()

    def resume(self) -> None:
        """Go on after a pause."""
        self.is_paused = False
        self._interrupt()

    def stop(self) -> None:
        """End `run` and `play`."""
        self.is_stopped = True
        self._interrupt()

    def seek(self, ns: Instant) -> None:
        """
        Go to a time, forwards or backwards: ns, a datetime, or text.

        The nearest checkpoint before it is taken, and what follows is played without being handed on. Some channels
        only, and several recordings with a digest, are played from the beginning; recordings that speak of one pair at one
        time from where the second of them begins. The tracker forgets its books for new ones, and timers are
        forgotten: they belong to a time that will not come.

        Raises ConfigError for what is no time, and for one after the end of the tape.
        """
        self._go(self._on_tape(ns), skips=False)

    def skip(self, ns: Instant) -> None:
        """
        Go to a time like `seek`, but to a later one from here: the books go on, and what lies between is played silently.

        For tapes without checkpoints, which a seek plays from the beginning. Raises as `seek` does.
        """
        self._go(self._on_tape(ns), skips=True)

    def _on_tape(self, when: Instant) -> int:
        ns = instant_ns(when, "the time to seek to", near_ns=self.tape.last_ns)
        # Just after the last frame is a place where a tape can stand.
        if ns > self.tape.last_ns + 1:
            raise ConfigError(f"cannot seek to {format_ns(ns)}: the tape ends at {format_ns(self.tape.last_ns)}")
        return ns

    def _go(self, ns: int, *, skips: bool) -> None:
        self._seek = _Seek(ns, skips)
        self._interrupt()
        if not self._is_busy:
            self._look()

    def step_message(self) -> bool:
        """
        Play one message, and the timers due before it; False at the end. Not for callbacks.

        A pause, a stop or another speed that was asked for, before it or by one of these timers, does not hold it up;
        a timer that seeks ends the step where it went to.
        """
        if self._is_busy:
            raise RuntimeError("a step inside a callback: the message before it has not ended yet")
        self._look()
        while True:
            key = self._peek()
            if key is None or not self._is_inside_frame():
                self._reach(self._last_ns if key is None else key)
            if self._seek is not None:
                self._look()
                return True
            if self._must_look:
                # A timer asked for something else: timers after it, and the message, are still to come.
                self._look()
                continue
            if key is None:
                return False
            self._emit(self._end_ns, 1)
            self._look()
            return True

    def step_frame(self) -> bool:
        """Play the messages of one frame (or the rest of it), and the timers due before; False at the end."""
        if not self.step_message():
            return False
        while self._peek() is not None and self._is_inside_frame():
            self.step_message()
        return True

    def _interrupt(self) -> None:
        self._must_look = True
        self._wait.wake()

    def _look(self) -> None:
        """Do what was asked for, now that no message is on its way."""
        if not self._must_look:
            return
        self._must_look = False
        self._pacing.lift()
        if self._seek is not None:
            (ns, skips), self._seek = self._seek, None
            # Not to the present time: a frame of it may have been played already.
            if skips and self._batches is not None and ns > self.clock.now_ns:
                self.clock.reset(ns)
                self._pass_over(ns)
            else:
                self._go_to(ns)

    # -- playing -----------------------------------------------------------------------------------------------

    def play(self) -> bool:
        """Play as fast as possible, without an event loop; True at the end, False if paused or stopped before."""
        self.is_paused = False
        with rare_collections():
            while True:
                self._look()
                if self.is_paused or self.is_stopped:
                    return False
                key = self._peek()
                if key is None:
                    self._reach(self._last_ns)
                    if not self._must_look and not self._begins_again():
                        return True
                elif self._has_due(key):
                    self._reach(key)
                else:
                    self._emit(self._end_ns)

    async def run(self) -> None:
        """Play at `speed` until the end or `stop`; other tasks have their turns. Safe to cancel."""
        self._pacing.lift()
        with rare_collections():
            while not self.is_stopped:
                self._look()
                if self.is_paused:
                    await self._wait.on(_forever())
                    continue
                key = self._peek()
                goal = max(self._last_ns, self.clock.now_ns) if key is None else key
                has_due = self._has_due(goal)
                next_ns = max(self.clock.timers.next_due_ns, self.clock.now_ns) if has_due else goal
                allowed_ns = self._pacing.allowed_ns(self.clock.now_ns)
                if next_ns > allowed_ns and self._pacing.steps_over(self.clock.now_ns, next_ns):
                    continue
                if next_ns > allowed_ns:
                    await self._wait.on(self._pacing.until(next_ns))
                elif has_due:
                    await self._fire(next_ns)
                elif key is not None:
                    self._emit(min(self._end_ns, allowed_ns + 1), self._turn)
                    await self._take_turn()
                else:
                    self._reach(goal)
                    if not self._must_look and not self._begins_again():
                        return
                    await asyncio.sleep(0)

    async def _take_turn(self) -> None:
        if self._after_turn is not None:
            await self._after_turn()
        await asyncio.sleep(0)
        while self._dispatcher.backlog > _BACKLOG_MAX and not self.is_stopped:  # noqa: ASYNC110
            await asyncio.sleep(0)  # the readers wake with the loop, not with an event

    def _has_due(self, ns: int) -> bool:
        """Whether a timer goes before a frame of that time; never in the middle of a frame."""
        return self.clock.timers.next_due_ns <= ns and not self._is_inside_frame()

    def _reach(self, ns: int) -> None:
        """Fire what is due by then, until something else is asked for; then that is the time."""
        while not self._must_look:
            if not self._fire_next(ns):
                self.clock.now_ns = max(self.clock.now_ns, ns)
                return

    async def _fire(self, ns: int) -> None:
        woken = self.clock.woken_count
        self._fire_next(ns)
        if self.clock.woken_count != woken:
            for _ in range(_TURNS_OF_SLEEPER):
                await asyncio.sleep(0)

    def _fire_next(self, ns: int) -> bool:
        if self._index < len(self._messages) and (jump := jump_of(self._messages[self._index])) is not None:
            self.clock.jump(*jump)
        self._is_busy = True
        try:
            return self.clock.fire_next(ns)
        finally:
            self._is_busy = False

    def _emit(self, limit_ns: int, most: int | None = None) -> None:
        """Play from the buffer: up to a frame of `limit_ns` or later, a frame that a timer goes before, or `most`."""
        clock, timers = self.clock, self.clock.timers
        apply, emit = self._tracker.apply, self._dispatcher.emit
        update = self._chain.update if self._chain is not None else None
        messages, index, frame, now = self._messages, self._index, self._frame, clock.now_ns
        begin, end = index, len(messages) if most is None else min(len(messages), index + most)
        self._is_busy = True
        try:
            while index < end:
                message = messages[index]
                if message.capture_seq != frame:
                    key = message.ts_recv
                    if key < now:
                        key = now
                    if key >= limit_ns or timers.next_due_ns <= key:
                        break
                    clock.now_ns = now = key
                    frame = self._frame = message.capture_seq
                index += 1
                self._index = index
                book = apply(message)
                if update is not None:
                    update(message, book)
                emit(message)
                if self._must_look:
                    break
        finally:
            self._is_busy = False
            self.message_count += index - begin

    # -- the tape ----------------------------------------------------------------------------------------------

    @property
    def _last_ns(self) -> int:
        return min(self._end_ns - 1, self.tape.last_ns)

    def _peek(self) -> int | None:
        """Time of the next message; None at the end."""
        if self._batches is None:
            if self._start_ns is None:
                self._batches = self.tape.batches(self._tracker.fused_forms)
            else:
                self._open_at(self._start_ns)
        if self._index == len(self._messages) and not self._load():
            return None
        key = max(self._messages[self._index].ts_recv, self.clock.now_ns)
        return key if key < self._end_ns else None

    def _is_inside_frame(self) -> bool:
        """Whether the next message, which must have been looked at, is of the same frame as the last one."""
        return self._index < len(self._messages) and self._messages[self._index].capture_seq == self._frame

    def _load(self) -> bool:
        """Read the next messages; False at the end."""
        assert self._batches is not None, "the tape is open"
        for batch in self._batches:
            if not batch.messages:
                continue
            if batch.position != self._position or batch.position == NOTICES:
                self._position = batch.position
                self._frame = None
                if self._chain is not None:
                    self._chain.digest()  # frames of two recordings may have one number, and notices have none
            self._messages, self._index = batch.messages, 0
            return True
        self._messages, self._index = [], 0
        return False

    def _begins_again(self) -> bool:
        if not self._loops or self.message_count == self._lap_began:
            return False
        self.lap_count += 1
        self._lap_began = self.message_count
        self._pacing.lift()
        self._pacing.restart()
        start_ns = self.tape.first_ns if self._start_ns is None else self._start_ns
        self.clock.rewind(start_ns)
        self._reopen(start_ns)
        return True

    def _go_to(self, ns: int) -> None:
        self._pacing.restart()
        self._lap_began = None
        self.clock.reset(ns)
        self._reopen(ns)

    def _reopen(self, ns: int) -> None:
        """Forget books and digest, and open the tape elsewhere."""
        self._tracker.clear()
        if self._chain is not None:
            self._chain.restart(EMPTY_DIGEST)
        self._open_at(ns)

    def _open_at(self, ns: int) -> None:
        """Bring fresh books and digest to that time, and stand there."""
        self._batches = self.tape.batches_near(ns, self._tracker, self._chain)
        self._messages, self._index, self._position = [], 0, None
        self._pass_over(ns)

    def _pass_over(self, ns: int) -> None:
        """Play what lies before that time without handing it on."""
        self._frame = None
        apply = self._tracker.apply
        update = self._chain.update if self._chain is not None else None
        with rare_collections():
            while self._index < len(self._messages) or self._load():
                for index in range(self._index, len(self._messages)):
                    message = self._messages[index]
                    if message.ts_recv >= ns:
                        self._index = index
                        return
                    book = apply(message)
                    if update is not None:
                        update(message, book)
                self._index = len(self._messages)


def _check_window(tape: Tape, start_ns: int | None, end_ns: int | None) -> None:
    """Refuse bounds between which there is nothing, whatever the tape holds."""
    if start_ns is not None or end_ns is not None:
        tape.check_frames()
    first, last = format_ns(tape.first_ns), format_ns(tape.last_ns)
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ConfigError(f"the replay ends at {format_ns(end_ns)}, not after its start at {format_ns(start_ns)}")
    if start_ns is not None and start_ns > tape.last_ns:
        raise ConfigError(f"the replay starts at {format_ns(start_ns)}, but the tape goes from {first} to {last}")
    if end_ns is not None and end_ns <= tape.first_ns:
        raise ConfigError(f"the replay ends at {format_ns(end_ns)}, but the tape goes from {first} to {last}")


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
