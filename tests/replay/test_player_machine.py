"""Steps, pauses, seeks, timers and laps in any order are what playing through gives, by a model of a few lines."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.recording import Recording
from replay.source import FIDELITIES, Fidelity, ReplayDataSource
from tests.replay.tapes_of_trades import MS, make, told
from tests.tapes import TS, messages_of
from toolkit.messages import Message

#: Receive times of 16 instants: uneven, two steps back, and two at one time.
OFFSETS = [n * 10 * MS + n % 3 - (35 * MS if n >= 7 else 0) + (0 if n != 12 else -10 * MS) for n in range(16)]
END = max(OFFSETS)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    with pytest.MonkeyPatch.context() as patch:  # so that seeks have states to begin at
        patch.setattr("recordings.states.checkpoints.TABLES_PER_BYTE", 0)
        return make(tmp_path_factory.mktemp("machine") / "tape", OFFSETS, segment_frames=7)


class Model:
    """What a player says, by its documentation: a list of messages, a place in it, and timers."""

    def __init__(self, messages: list[Message], *, loops: bool) -> None:
        self._messages = messages
        self._keys = list(itertools.accumulate((message.ts_recv for message in messages), max))
        self._loops = loops
        self._next = 0
        self._is_inside = False
        self._timers: list[tuple[int, int, int, int | None, int]] = []  # due, order, name, interval, first
        self._order = 0
        self.now = self._keys[0]
        self.words: list[str] = []
        self.books_until = 0

    def add(self, name: int, due: int, interval: int | None, first: int) -> None:
        self._order += 1
        self._timers.append((due, self._order, name, interval, first))

    def _reach(self, ns: int) -> None:
        while self._timers and min(self._timers)[0] <= max(ns, self.now):
            due, _, name, interval, first = min(self._timers)
            self._timers.remove(min(self._timers))
            self.now = max(self.now, due)
            if interval is not None:
                self.add(name, due + interval, interval, first)
            self.words.append(f"tick {name} {due - TS}")
        self.now = max(self.now, ns)

    def step(self) -> bool:
        if self._next == len(self._messages):
            self._reach(self._keys[-1])
            return False
        message = self._messages[self._next]
        if not self._is_inside:
            self._reach(max(message.ts_recv, self.now))
        self.words.append(told(message))
        self._next += 1
        self.books_until = self._next
        following = self._messages[self._next : self._next + 1]
        self._is_inside = bool(following) and following[0].capture_seq == message.capture_seq
        return True

    def step_frame(self) -> None:
        if self.step():
            while self._is_inside:
                self.step()

    def play(self, count: int) -> None:
        for _ in range(count):
            if self.step():
                continue
            if not self._loops:
                return
            end, self.now, timers = self.now, self._keys[0], sorted(self._timers)
            self._timers = []
            for due, _, name, interval, first in timers:
                if interval is None:
                    due += self.now - end
                elif self.now <= first <= self.now + interval:
                    due = first
                else:
                    due = self.now + 1 + (first - self.now - 1) % interval  # the next of its times
                self.add(name, due, interval, first)
            self._next, self._is_inside = 0, False
            self.step()

    def seek(self, ns: int) -> None:
        self._timers.clear()
        self.now, self._next, self._is_inside = ns, bisect_left(self._keys, ns), False
        self.books_until = self._next


class Played:
    """The real thing, driven by the same words."""

    def __init__(self, recording: Recording, fidelity: Fidelity, *, loops: bool) -> None:
        self.source = ReplayDataSource(recording, fidelity=fidelity, loop=loops, batch_rows=5)
        self.words: list[str] = []
        self._left = 0
        self.after_next: Callable[[], Any] | None = None
        self.source.set_message_callback(self._note)

    def _note(self, message: Message) -> None:
        self.words.append(told(message))
        self._left -= 1
        if self.after_next is not None:
            action, self.after_next = self.after_next, None
            action()
        if self._left == 0:
            self.source.player.pause()

    def control(self, name: str) -> None:
        """Ask for something that changes neither what is played next nor when."""
        player = self.source.player
        if name == "speed":
            player.speed = None
        elif name:
            getattr(player, name)()

    def play(self, count: int) -> None:
        self._left = count
        self.source.player.play()


times = st.one_of(
    st.integers(-5, END + 1), st.sampled_from(OFFSETS), st.sampled_from(OFFSETS).map(lambda ns: ns + 1)
).map(lambda offset: TS + offset)
intervals = st.integers(1, 40).map(lambda count: count * MS + 1)
operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["step", "step", "frame", "pause", "resume", "speed"])),
        st.tuples(st.just("play"), st.integers(1, 120)),
        st.tuples(st.just("play"), st.integers(1, 120)),
        st.tuples(st.just("seek"), times),
        st.tuples(st.just("seek within"), times),
        st.tuples(st.just("every"), intervals, st.sampled_from(["", "", "speed", "resume"])),
        st.tuples(st.just("at"), st.integers(-20 * MS, 150 * MS), st.sampled_from(["", "speed", "resume"])),
    ),
    min_size=3,
    max_size=25,
)


@given(steps=operations, fidelity=st.sampled_from(FIDELITIES), loops=st.booleans())
def test_any_order_of_controls_is_what_playing_through_gives(
    tape: Recording, steps: list[Any], fidelity: Fidelity, loops: bool
) -> None:
    messages = messages_of(tape)
    model, real = Model(messages, loops=loops), Played(tape, fidelity, loops=loops)
    player = real.source.player
    name = 0
    for kind, *arguments in steps:
        if kind in ("every", "at"):
            name += 1
            due = model.now + arguments[0]

            def note(ns: int, name: int = name, control: str = arguments[1]) -> None:
                real.words.append(f"tick {name} {ns - TS}")
                real.control(control)

            model.add(name, due, arguments[0] if kind == "every" else None, due)
            if kind == "every":
                real.source.clock.call_every(arguments[0], note)
            else:
                real.source.clock.call_at(due, note)
        elif kind == "step":
            assert player.step_message() == model.step()
        elif kind == "frame":
            player.step_frame()
            model.step_frame()
        elif kind == "play":
            real.play(arguments[0])
            model.play(arguments[0])
        elif kind == "seek":
            player.seek(arguments[0])
            model.seek(arguments[0])
        elif kind == "seek within":
            # In the callback of the next message, if there is one.
            real.after_next = lambda ns=arguments[0]: player.seek(ns)
            if player.step_message():
                assert model.step()
                model.seek(arguments[0])
            else:
                real.after_next = None
                assert not model.step()
        else:
            real.control(kind)
        assert real.words == model.words
        assert real.source.clock.time_ns() == model.now
    there = ReplayDataSource(tape)
    for message in messages[: model.books_until]:
        there.tracker.apply(message)
    assert real.source.tracker.export() == there.tracker.export()
