"""What the once-a-second look finds: silent streams, stepping clocks, requests that time alone makes necessary."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.toolkit.live.test_source import quotes
from tests.toolkit.live_harness import Tape, TinyProtocol, advance_until, in_loop, live_source, quote, ws_venue
from toolkit.clock import NS_PER_S, ManualClock
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import VenueRefused
from toolkit.frames import WS_IN
from toolkit.live.capture import Capture
from toolkit.live.clock_watch import ClockWatch
from toolkit.live.intake import Intake
from toolkit.live.watchdog import Watchdog
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.protocol import Request, RestCall

HOUR_NS = 3600 * NS_PER_S


class Bench:
    """A watchdog over a protocol that is fed by hand, on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_800_000_000 * NS_PER_S)
        self.tape = Tape()
        self.protocol = TinyProtocol()
        self.messages: list[Message] = []
        self.requests: list[Request] = []
        self.naps: list[float] = []
        dispatcher = MessageDispatcher()
        dispatcher.add_callback(self.messages.append)
        capture = Capture(sink=self.tape, clock=self.clock)
        self.intake = Intake(self.protocol, capture, dispatcher, self.requests.extend)
        clocks = ClockWatch(self.intake, self.naps.append)
        self.watchdog = Watchdog(
            self.intake, {}, clocks=clocks, carry_out=self.requests.extend, open_links=lambda: None
        )

    def receive(self, payload: bytes) -> None:
        self.intake.take(0, 0, WS_IN, payload)

    def look_after(self, seconds: float) -> None:
        self.clock.advance(round(seconds * NS_PER_S))
        self.watchdog.look()


def test_a_silent_stream_is_reported_once_until_it_speaks_again() -> None:
    """The socket may live while one of its subscriptions is dead."""
    bench = Bench()
    bench.protocol.limit_s = 5.0
    bench.intake.control(0, 0, "connected", url="ws://x", role="main")
    bench.receive(quote())
    for _ in range(12):
        bench.look_after(1.0)
    assert bench.tape.controls("stale") == [
        {"event": "stale", "symbol": "X", "stream": "full", "silence_s": 6.0, "cause": "silence"}
    ]
    bench.receive(quote())
    for _ in range(6):
        bench.look_after(1.0)
    assert len(bench.tape.controls("stale")) == 2
    kinds = [message.kind for message in bench.messages if isinstance(message, StreamEvent)]
    assert kinds == [EventKind.CONNECTED, EventKind.STALE, EventKind.GAP, EventKind.STALE]


def test_a_stream_without_a_limit_may_be_silent_for_ever() -> None:
    """Quiet coins do not trade for minutes."""
    bench = Bench()
    bench.intake.control(0, 0, "connected", url="ws://x", role="main")
    bench.receive(quote())
    for _ in range(5000):
        bench.look_after(1.0)
    assert bench.tape.story == ["connected", "ws_in"]


def test_after_a_look_that_came_late_silence_means_nothing() -> None:
    """The machine slept, or the loop was busy: what has arrived still waits in the socket."""
    bench = Bench()
    bench.protocol.limit_s = 5.0
    bench.intake.control(0, 0, "connected", url="ws://x", role="main")
    bench.receive(quote())
    bench.look_after(3600.0)
    assert bench.tape.controls("stale") == []
    bench.look_after(1.0)
    assert len(bench.tape.controls("stale")) == 1


@pytest.mark.parametrize("delta_ns", [-HOUR_NS, HOUR_NS, -101_000_000, 101_000_000])
def test_a_wall_clock_that_steps_is_recorded(delta_ns: int) -> None:
    """Once, with how far: order is by number, so nothing else changes."""
    bench = Bench()
    bench.look_after(1.0)
    bench.receive(quote())
    bench.clock.step_wall(delta_ns)
    bench.receive(quote())
    for _ in range(3):
        bench.look_after(1.0)
    assert bench.tape.controls() == [{"event": "clock_step", "delta_ns": delta_ns}]
    events = [message for message in bench.messages if isinstance(message, StreamEvent)]
    assert [event.kind for event in events] == [EventKind.CLOCK_STEP]
    assert [frame.capture_seq for frame in bench.tape.frames] == [0, 1, 2]
    assert bench.tape.frames[1].ts_recv - bench.tape.frames[0].ts_recv == delta_ns
    assert bench.tape.frames[1].ts_mono == bench.tape.frames[0].ts_mono


def test_a_clock_that_is_slewed_is_not_a_step() -> None:
    """A time daemon corrects half a second within minutes; every look is below the threshold."""
    bench = Bench()
    for _ in range(100):
        bench.clock.step_wall(5_000_000)
        bench.look_after(1.0)
    assert bench.tape.frames == []


def test_what_time_alone_makes_necessary_is_carried_out() -> None:
    """A lost acknowledgement, an hourly poll."""
    bench = Bench()
    call = RestCall("poll", "GET", "/poll")
    bench.protocol.due_requests = [call]
    bench.look_after(1.0)
    bench.look_after(1.0)
    assert bench.requests == [call]


def test_the_protocols_verdict_is_raised() -> None:
    """Found at the next look, whatever frame it came from."""
    bench = Bench()
    bench.protocol.failure = VenueRefused("not here")
    with pytest.raises(VenueRefused, match=r"^not here$"):
        bench.look_after(1.0)


@in_loop
async def test_a_running_source_records_a_step_of_an_hour_and_goes_on() -> None:
    """Backwards, in the middle of a session."""
    clock, tape = ManualClock(1_800_000_000 * NS_PER_S), Tape()
    async with ws_venue(quotes) as url, live_source(TinyProtocol(), tape, ws_url=url, clock=clock):
        await tape.until_received(3)
        clock.step_wall(-HOUR_NS)
        await advance_until(clock, lambda: bool(tape.controls("clock_step")))
    details: list[dict[str, Any]] = [
        msgspec.json.decode(frame.payload) for frame in tape.frames if b"clock_step" in frame.payload
    ]
    assert details == [{"event": "clock_step", "delta_ns": -HOUR_NS}]
    assert [frame.capture_seq for frame in tape.frames] == list(range(len(tape.frames)))


@in_loop
async def test_a_running_source_finds_a_silent_stream() -> None:
    """The frame carries the connection that should have spoken."""
    clock, tape, protocol = ManualClock(1_800_000_000 * NS_PER_S), Tape(), TinyProtocol()
    protocol.limit_s = 3.0
    async with ws_venue(quotes) as url:
        source = live_source(protocol, tape, ws_url=url, clock=clock)
        async with source:
            await tape.until_received(3)
            await advance_until(clock, lambda: bool(tape.controls("stale")))
            assert source.tracker.book("X-USD").is_stale
            assert source.status().stale_stream_count == 1
    stale = next(frame for frame in tape.frames if b'"stale"' in frame.payload)
    assert (stale.conn_id, stale.conn_epoch) == (0, 0)
