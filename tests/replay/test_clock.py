"""One clock behind live and replay: when timers fire, in which order, and that nothing else tells the time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from replay.clock import ReplayClock
from replay.source import ReplayDataSource
from replay.tape import Fidelity
from tests.replay.tapes_of_trades import MS, lines, make, told
from tests.tapes import TS, collector_line, import_files
from tests.toolkit.live_harness import in_loop
from toolkit.clock import Clock, ManualClock, SystemClock, format_ns
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import ConfigError
from toolkit.frames import WS_IN
from toolkit.live.capture import Capture
from toolkit.live.intake import Intake
from toolkit.protocol import ProtocolOptions
from toolkit.timing.timers import NEVER_NS, Timer
from toolkit.venue import find_venue


@pytest.fixture
def tape(tmp_path: Path) -> Recording:
    """Ten instants, 10 ms apart; at the sixth the receive clock steps back by 25 ms."""
    return make(tmp_path / "tape", [n * 10 * MS - (25 * MS if n >= 5 else 0) for n in range(10)])


def replayed(recording: Recording, prepare: Callable[[ReplayDataSource, list[str]], Any], **options: Any) -> list[str]:
    """What came in which order: frames by their receive time, timers as `prepare` notes them."""
    source = ReplayDataSource(recording, **options)
    seen: list[str] = []
    prepare(source, seen)

    def note(message: Any) -> None:
        if not told(message).startswith("book"):
            seen.append(told(message))

    source.set_message_callback(note)
    source.play()
    return seen


def test_a_timer_goes_before_the_first_frame_at_its_time_or_later(tape: Recording) -> None:
    def prepare(source: ReplayDataSource, seen: list[str]) -> None:
        source.clock.call_at(TS + 10 * MS, lambda due: seen.append(f"at {due - TS}"))
        source.clock.call_at(TS + 10 * MS + 1, lambda due: seen.append(f"at {due - TS}"))

    seen = replayed(tape, prepare, end_ns=TS + 21 * MS)
    assert seen == ["1", "2", "at 10000000", "3", "4", "at 10000001", "5", "6"]


def test_ties_go_by_order_of_registration(tape: Recording) -> None:
    """A periodic timer is registered again before its callback runs."""

    def prepare(source: ReplayDataSource, seen: list[str]) -> None:
        clock = source.clock
        clock.call_every(5 * MS, lambda due: seen.append(f"every {(due - TS) // MS}"), first_ns=TS + 5 * MS)

        def first(due: int) -> None:
            seen.append(f"first {(due - TS) // MS}")
            clock.call_at(TS + 5 * MS, lambda due: seen.append(f"nested {(due - TS) // MS}"))
            clock.call_at(TS + 10 * MS, lambda due: seen.append(f"later {(due - TS) // MS}"))

        clock.call_at(TS + 5 * MS, first)
        clock.call_at(TS + 5 * MS, lambda due: seen.append(f"second {(due - TS) // MS}"))

    seen = replayed(tape, prepare, end_ns=TS + 15 * MS)
    assert seen[2:8] == ["every 5", "first 5", "second 5", "nested 5", "every 10", "later 10"]
    assert seen[8:] == ["3", "4"]


def test_a_timer_whose_time_has_passed_waits_for_the_next_frame(tape: Recording) -> None:
    """It goes not within the frame whose callback registered it."""

    def prepare(source: ReplayDataSource, seen: list[str]) -> None:
        def on(message: Any) -> None:
            if told(message) == "3":
                source.clock.call_at(TS, lambda due: seen.append(f"passed {due - TS} at {source.clock.time_ns() - TS}"))

        source.dispatcher.add_callback(on)

    assert replayed(tape, prepare)[2:6] == ["3", "4", "passed 0 at 10000000", "5"]


def test_a_step_back_of_the_receive_clock_takes_no_timer_back(tape: Recording) -> None:
    """Times received: 0 10 20 30 40 25 35 45 ...: a timer at 42 goes before 45, and the clock reads 40 until then."""
    times = []

    def prepare(source: ReplayDataSource, seen: list[str]) -> None:
        source.clock.call_at(TS + 42 * MS, lambda due: seen.append("timer"))
        source.dispatcher.add_callback(lambda message: times.append(source.clock.time_ns() - TS))

    seen = replayed(tape, prepare)
    assert seen[seen.index("timer") - 1 : seen.index("timer") + 2] == ["14", "timer", "15"]
    assert times == sorted(times)
    assert set(times) == {n * MS for n in (0, 10, 20, 30, 40, 45, 55, 65)}


@pytest.mark.parametrize("fidelity", ["raw", "normalized"])
@pytest.mark.parametrize("batch_rows", [1, 7, None])
def test_timers_fall_at_the_same_places_however_it_is_read(
    tape: Recording, fidelity: Fidelity, batch_rows: int | None
) -> None:
    def prepare(source: ReplayDataSource, seen: list[str]) -> None:
        source.clock.call_every(3 * MS, lambda due: seen.append(f"tick {due - TS}"))

    seen = replayed(tape, prepare, fidelity=fidelity, batch_rows=batch_rows)
    assert seen == replayed(tape, prepare)
    assert [word for word in seen if word.startswith("tick")] == [f"tick {n * 3 * MS}" for n in range(1, 22)]


def test_live_and_replay_fire_the_same_timers_between_the_same_messages(tape: Recording, tmp_path: Path) -> None:
    """The live path: frames through an intake, on a clock that passes over many due times at once."""
    clock = ManualClock(TS)
    live: list[str] = []
    dispatcher = MessageDispatcher()
    dispatcher.add_callback(lambda message: live.append(told(message)))
    protocol = find_venue("hyperliquid").make_protocol(ProtocolOptions())
    intake = Intake(protocol, Capture(sink=lambda frame: None, clock=clock), dispatcher, lambda requests: None)

    def strategy(clock: Clock, seen: list[str]) -> None:
        clock.call_every(4 * MS, lambda due: seen.append(f"tick {due}"))
        clock.call_at(TS + 20 * MS, lambda due: seen.append(f"once {due}"))

    strategy(clock, live)
    for line in lines([n * 10 * MS - (25 * MS if n >= 5 else 0) for n in range(10)]).splitlines():
        stamp, _, payload = line.partition(b" ")
        clock.step_wall(int(stamp) - clock.time_ns())  # no `advance`: only the frame tells the time
        intake.take(0, 0, WS_IN, payload)

    source = ReplayDataSource(tape)
    seen: list[str] = []
    source.set_message_callback(lambda message: seen.append(told(message)))
    strategy(source.clock, seen)
    source.play()
    assert seen == live
    assert len(seen) == 30 + 16 + 1


def test_a_cancelled_timer_is_not_called(tape: Recording) -> None:
    def prepare(source: ReplayDataSource, seen: list[str]) -> None:
        never = source.clock.call_at(TS + 10 * MS, lambda due: seen.append("never"))
        never.cancel()

        def tick(due: int) -> None:
            seen.append("tick")
            if seen.count("tick") == 3:
                timer.cancel()

        timer = source.clock.call_every(MS, tick)

    seen = replayed(tape, prepare)
    assert (seen.count("never"), seen.count("tick")) == (0, 3)


def test_an_interval_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match=r"^a periodic timer needs an interval above 0 ns, not 0$"):
        ReplayClock().call_every(0, lambda due: None)


@in_loop
async def test_a_sleeper_wakes_at_its_time_and_acts_before_time_goes_on(tmp_path: Path) -> None:
    recording = make(tmp_path / "tape", [n * 10 * MS for n in range(5)])
    source = ReplayDataSource(recording)
    seen: list[str] = []
    source.set_message_callback(lambda message: seen.append(told(message)))

    async def sleeper() -> None:
        for _ in range(4):
            await source.clock.sleep(0.004)
            seen.append(f"woke {(source.clock.time_ns() - TS) // MS}")

    task = asyncio.get_running_loop().create_task(sleeper())
    await asyncio.sleep(0)
    await source.start()
    await source.wait()
    await task
    assert seen[:12] == [
        *("book:0", "1", "2", "woke 4", "woke 8"),
        *("book:10000000", "3", "4", "woke 12", "woke 16", "book:20000000", "5"),
    ]


@in_loop
async def test_the_machines_clock_fires_in_the_same_order() -> None:
    """Ties by registration, though the event loop's own heap does not promise it; frames fire what is due at once."""
    clock = SystemClock()
    seen: list[str] = []
    done = asyncio.get_running_loop().create_future()
    soon = clock.time_ns() + 2 * MS
    clock.call_at(soon + 3 * MS, done.set_result)
    for number in range(20):
        clock.call_at(soon, lambda due, number=number: seen.append(f"{number} {due - soon}"))  # type: ignore[misc]
    clock.call_at(soon - MS, lambda due: seen.append("earlier"))
    assert seen == []
    assert await done == soon + 3 * MS
    assert seen == ["earlier", *(f"{number} 0" for number in range(20))]
    clock.call_at(soon + 10**12, lambda due: seen.append("by a frame"))
    clock.reach(soon + 10**12 - 1)
    assert seen[-1] != "by a frame"
    clock.reach(soon + 10**12)
    assert seen[-1] == "by a frame"


def test_a_manual_clock_fires_as_it_advances() -> None:
    clock = ManualClock(TS)
    seen: list[int] = []
    timer: Timer = clock.call_every(10, seen.append)
    clock.advance(9)
    assert seen == []
    clock.advance(22)
    assert seen == [TS + 10, TS + 20, TS + 30]
    timer.cancel()
    clock.advance(100)
    assert len(seen) == 3


#: What tells the time of the machine.
READINGS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "gmtime", "localtime")


@pytest.fixture
def no_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("replayed code asked the machine for the time")

    for name in READINGS:
        monkeypatch.setattr(time, name, refuse)


@pytest.mark.usefixtures("no_wall_clock")
@pytest.mark.parametrize("fidelity", ["raw", "normalized"])
def test_a_replay_never_asks_the_machine_for_the_time(tape: Recording, fidelity: Fidelity) -> None:
    """Books, digest, timers and a strategy's clock included."""
    source = ReplayDataSource(tape, fidelity=fidelity, with_digest=True)
    ticks: list[int] = []
    source.clock.call_every(MS, ticks.append)
    source.set_message_callback(lambda message: ticks.append(source.clock.time_ns()))
    source.play()
    assert len(ticks) == 65 + 30
    source.player.seek(TS + 20 * MS)
    assert source.player.step_frame()


@pytest.mark.usefixtures("no_wall_clock")
@pytest.mark.parametrize("reading", READINGS)
def test_code_under_replay_that_reads_the_wall_clock_is_caught(tape: Recording, reading: str) -> None:
    source = ReplayDataSource(tape)
    source.set_message_callback(lambda message: getattr(time, reading)())
    with pytest.raises(AssertionError, match=r"^replayed code asked the machine for the time$"):
        source.play()


@pytest.mark.parametrize("fidelity", ["raw", "normalized"])
@pytest.mark.parametrize("way", ["play", "run"])
def test_the_clock_goes_on_to_the_last_frame_though_it_gave_no_message(
    tmp_path: Path, fidelity: Fidelity, way: str
) -> None:
    """A timer between the last message and the end of the tape fires, one behind the end never."""
    pong = collector_line(TS + 50 * MS, {"channel": "pong"})
    source = ReplayDataSource(import_files(tmp_path / "tape", lines([0, 10 * MS]) + pong), fidelity=fidelity)
    seen: list[int] = []
    for offset in (40, 50, 51):
        source.clock.call_at(TS + offset * MS, lambda due: seen.append((due - TS) // MS))
    if way == "play":
        source.play()
    else:
        asyncio.run(source.player.run())
    assert seen == [40, 50]
    assert source.player.position_ns == TS + 50 * MS


@pytest.mark.parametrize("form", [lambda ns: ns, lambda ns: timedelta(microseconds=ns // 1000), lambda ns: f"{ns}ns"])
def test_a_clock_takes_intervals_in_every_form(form: Callable[[int], Any]) -> None:
    """Numbers of ns, objects and text arm the same timers."""
    clock, seen = ReplayClock(TS), list[str]()
    clock.call_every(form(3 * MS), lambda due: seen.append(f"every {(due - TS) / MS:g}"))
    clock.call_later(form(4 * MS), lambda due: seen.append(f"later {(due - TS) / MS:g}"))
    clock.call_at(format_ns(TS + 5 * MS), lambda due: seen.append(f"at {(due - TS) / MS:g}"))
    clock.call_every(form(10 * MS), lambda due: seen.append(f"first {(due - TS) / MS:g}"), first_ns=format_ns(TS + MS))
    clock.call_later(0, lambda due: seen.append(f"soon {due - TS}"))
    clock.reach(TS + 7 * MS)
    assert seen == ["soon 0", "first 1", "every 3", "later 4", "at 5", "every 6"]


@pytest.mark.parametrize("kind", [ReplayClock, ManualClock, SystemClock])
@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda clock: clock.call_every("soon", print), "'soon' is no length of time; expected for instance 500ms"),
        (lambda clock: clock.call_every(1.5, print), "an interval is 1.5; expected ns as an int, a timedelta, or text"),
        (lambda clock: clock.call_every("0s", print), "'0s' is no length of time"),
        (lambda clock: clock.call_later(-1, print), "a delay is -1 ns; expected 0 or more"),
        (lambda clock: clock.call_at("noon", print), "'noon' is no time"),
        (lambda clock: clock.call_at(1.5, print), "the time is 1.5; expected ns since the epoch as an int"),
    ],
)
def test_what_no_timer_can_be_made_of_is_said(kind: type[Clock], ask: Callable[[Clock], object], text: str) -> None:
    """Nothing is armed by it."""
    clock = kind()
    with pytest.raises(ConfigError) as raised:
        ask(clock)
    assert str(raised.value).startswith(text)
    assert clock._timers is None or clock._timers.next_due_ns == NEVER_NS


def test_a_sleep_takes_seconds_objects_and_text() -> None:
    """On a clock that is moved by hand each of them wakes at its own time."""

    async def run() -> list[str]:
        clock, seen = ManualClock(), list[str]()

        async def sleeper(name: str, wait: Any) -> None:
            await clock.sleep(wait)
            seen.append(name)

        waits = {"number": 0.25, "text": "500ms", "object": timedelta(seconds=1)}
        async with asyncio.TaskGroup() as group:
            for name, wait in waits.items():
                group.create_task(sleeper(name, wait))
            for step in ("250ms", timedelta(milliseconds=250), 500 * MS):
                await asyncio.sleep(0)
                clock.advance(step)
                await asyncio.sleep(0)
        with pytest.raises(ConfigError, match=r"^the length of time is None; expected a number of seconds"):
            await clock.sleep(None)  # type: ignore[arg-type]
        return seen

    assert asyncio.run(run()) == ["number", "text", "object"]
