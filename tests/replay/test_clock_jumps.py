"""Timers where the wall clock jumps ahead: no burst of calls, and the same ones live and replayed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from recordings.recording import Recording
from replay.follow import FollowDataSource
from replay.source import ReplayDataSource
from replay.tape import Fidelity
from tests.models.test_recorded import recorded
from tests.replay.tapes_of_trades import MS, told
from tests.tapes import TS, bbo_frame
from tests.toolkit.live_harness import in_loop
from toolkit.clock import NS_PER_S, Clock, ManualClock, SystemClock
from toolkit.dispatch import MessageDispatcher
from toolkit.frames import CONTROL, WS_IN, Frame, control_payload
from toolkit.live.capture import Capture
from toolkit.live.clock_watch import ClockWatch
from toolkit.live.intake import Intake
from toolkit.messages import Message
from toolkit.protocol import ProtocolOptions
from toolkit.timing.clock_jumps import jump_of
from toolkit.timing.timers import Timers
from toolkit.venue import find_venue

HOUR = 3600 * NS_PER_S


class Live:
    """A live path on a clock of its own: an intake, what it records, and what a strategy sees."""

    def __init__(self) -> None:
        self.clock = ManualClock(TS)
        self.frames: list[Frame] = []
        self.seen: list[str] = []
        dispatcher = MessageDispatcher()
        dispatcher.add_callback(lambda message: note(message, self.seen))
        self.protocol = find_venue("hyperliquid").make_protocol(ProtocolOptions())
        capture = Capture(sink=self.frames.append, clock=self.clock)
        self.intake = Intake(self.protocol, capture, dispatcher, lambda requests: None)
        self.watch = ClockWatch(self.intake, self.slept)

    def slept(self, seconds: float) -> None:
        for number in range(2):
            self.intake.control(number, 0, "connection_stale", cause="suspend", role="main", silence_s=seconds)

    def quote(self, after_ms: int) -> None:
        self.clock.step_wall(after_ms * MS)
        self.clock._mono_ns += after_ms * MS  # only the frame fires what is due
        self.watch.glance()
        payload: Any = bbo_frame("BTC", self.clock.time_ns() // MS, (10.0, 1.0), (11.0, 1.0))
        self.intake.take(0, 0, WS_IN, msgspec.json.encode(payload))


def note(message: Message, seen: list[str]) -> None:
    if not told(message).startswith("book"):
        seen.append(type(message).__name__)


def strategy(clock: Clock, seen: list[str]) -> None:
    clock.call_every(NS_PER_S, lambda due: seen.append(f"second {(due - TS) / NS_PER_S:g}"), first_ns=TS + NS_PER_S)
    clock.call_every(HOUR // 4, lambda due: seen.append(f"quarter {(due - TS) / NS_PER_S:g}"), first_ns=TS + HOUR // 4)
    clock.call_at(TS + 100 * NS_PER_S, lambda due: seen.append(f"once {(due - TS) / NS_PER_S:g}"))


def jumped(how: str) -> Live:
    live = Live()
    strategy(live.clock, live.seen)
    for _ in range(3):
        live.quote(700)
    if how == "set":
        live.clock.step_wall(HOUR)
    elif how == "asleep":
        live.clock.suspend(HOUR)
    elif how == "twice":
        live.clock.step_wall(HOUR // 2)
        live.quote(700)
        live.clock.step_wall(HOUR // 2)
    elif how == "back and forth":
        live.clock.step_wall(-HOUR)
        live.quote(700)
        live.clock.step_wall(HOUR)
    for _ in range(4):
        live.quote(700)
    return live


def as_recording(folder: Path, live: Live) -> Recording:
    return recorded(folder, SimpleNamespace(protocol=live.protocol, frames=live.frames))  # type: ignore[arg-type]


@pytest.mark.parametrize("fidelity", ["raw", "normalized"])
@pytest.mark.parametrize("how", ["not", "set", "asleep", "twice", "back and forth"])
def test_a_jump_of_the_clock_is_one_call_of_each_timer_live_and_replayed(
    how: str, fidelity: Fidelity, tmp_path: Path
) -> None:
    live = jumped(how)
    calls = [word for word in live.seen if word.startswith("second")]
    assert len(calls) <= 7
    assert len(set(calls)) == len(calls)
    if how in ("set", "asleep"):
        # One at the first time that was jumped over, then on the seconds as before.
        assert calls == ["second 1", "second 2", "second 3", *(f"second {3600 + n}" for n in range(3, 5))]
        assert [word for word in live.seen if word[0] in "qo"] == ["once 100", "quarter 900"]
    source = ReplayDataSource(as_recording(tmp_path / "tape", live), fidelity=fidelity)
    seen: list[str] = []
    source.set_message_callback(lambda message: note(message, seen))
    strategy(source.clock, seen)
    source.play()
    assert seen == live.seen


@pytest.mark.parametrize("how", ["set", "asleep", "twice"])
def test_a_jump_of_the_clock_is_one_call_of_each_timer_for_a_follower(how: str, tmp_path: Path) -> None:
    live = jumped(how)
    seen: list[str] = []

    async def follow() -> None:
        source = FollowDataSource(as_recording(tmp_path / "tape", live).path)
        source.set_message_callback(lambda message: note(message, seen))
        strategy(source.clock, seen)
        async with source:
            await source.wait()

    asyncio.run(follow())
    assert seen == live.seen


def test_a_pause_without_a_jump_leaves_no_call_out() -> None:
    live = Live()
    strategy(live.clock, live.seen)
    live.quote(0)
    live.quote(5500)
    assert [word for word in live.seen if word.startswith("second")] == [f"second {n}" for n in range(1, 6)]


def test_timers_go_on_behind_a_jump_on_their_own_grid() -> None:
    clock = ManualClock(0)
    seen: list[int] = []
    clock.call_every(10, seen.append, first_ns=3)
    clock.jump(20, 57)
    clock.reach(75)
    assert seen == [3, 13, 23, 63, 73]
    assert Timers().pop_due(10) is None


@in_loop
async def test_the_machines_clock_looks_for_a_jump_before_it_fires() -> None:
    """It wakes by itself, before any frame: whoever watches it is asked first."""
    clock = SystemClock()
    seen: list[int] = []
    now = clock.time_ns()

    def glance() -> None:
        clock.jump(now - HOUR, now + MS)

    done = asyncio.get_running_loop().create_future()
    clock.watch(glance)
    timer = clock.call_every(NS_PER_S, seen.append, first_ns=now - HOUR + 1)
    clock.call_at(now - HOUR + 2, done.set_result)
    await done
    assert seen == [now - HOUR + 1]
    clock.unwatch(glance)
    timer.cancel()


def test_what_tells_of_no_jump_ahead_is_none() -> None:
    live = Live()
    told_of: list[Message] = []
    for details in ({"delta_ns": -5}, {"delta_ns": 0}, {}):
        told_of += live.intake.take(-1, 0, CONTROL, control_payload("clock_step", **details))
    told_of += live.intake.control(-1, 0, "notice", cause="told_to_wait", waits_s=5)
    assert [jump_of(message) for message in told_of] == [None] * 4
    (step,) = live.intake.control(-1, 0, "clock_step", delta_ns=7)
    assert jump_of(step) == (step.ts_recv - 7, step.ts_recv)
