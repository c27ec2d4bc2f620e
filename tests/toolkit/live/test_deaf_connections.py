"""Connections that live and bring no data; machines that sleep; books that never come."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection

from tests.toolkit.live.test_watchdog import Bench
from tests.toolkit.live_harness import Tape, TinyProtocol, advance_until, in_loop, live_source, quote, ws_venue
from toolkit.clock import NS_PER_S, ManualClock
from toolkit.frames import WS_OUT, Frame
from toolkit.live.deaf_connections import Hearing, Verdict, patience_with
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.protocol import Request, SendText
from toolkit.streams import Stream


def streams(*limits_s: float, symbol: str = "X") -> list[Stream]:
    return [
        Stream(symbol, symbol, f"s{number}", limit_ns=round(limit * NS_PER_S)) for number, limit in enumerate(limits_s)
    ]


@pytest.mark.parametrize(
    ("carried", "expected"),
    [
        (streams(15, 0, 0, 10), (20.0, 20.0)),  # the fastest rhythm counts: the whole connection is silent
        (streams(60, 0), (120.0, 30.0)),
        (streams(1), (10.0, 10.0)),
        (streams(0, 0), (300.0, 300.0)),
        (streams(0, 0, symbol=""), (0.0, 0.0)),  # an account may be idle for days
        ([], (0.0, 0.0)),
    ],
)
def test_how_long_a_connection_may_be_silent_follows_from_its_streams(
    carried: list[Stream], expected: tuple[float, float]
) -> None:
    """A stream without a promise adds nothing, and one that is quiet beside live ones is no sign of anything."""
    assert patience_with(carried) == expected


def verdicts(hearing: Hearing, carried: list[Stream], start_s: int, stop_s: int, epoch: int = 0) -> dict[Verdict, int]:
    """The second of the first verdict of each kind."""
    found: dict[Verdict, int] = {}
    for second in range(start_s, stop_s):
        found.setdefault(hearing.look(epoch, carried, second * NS_PER_S, is_excused=False), second)
    return found


def test_a_silent_connection_is_deaf_then_hopeless_and_the_next_one_is_given_twice_as_long() -> None:
    """A market that stands still must not be reconnected to every minute."""
    hearing, carried = Hearing(), streams(15, 0)
    assert verdicts(hearing, carried, 0, 63) == {Verdict.HEARS: 0, Verdict.DEAF: 31, Verdict.HOPELESS: 62}
    assert verdicts(hearing, carried, 100, 223, epoch=1) == {
        Verdict.HEARS: 100,
        Verdict.DEAF: 161,
        Verdict.HOPELESS: 222,
    }
    for second in range(223, 400, 5):
        carried[1].frame_count += 1
        assert hearing.look(2, carried, second * NS_PER_S, is_excused=False) is Verdict.HEARS
    assert verdicts(hearing, carried, 400, 461, epoch=2) == {
        Verdict.HEARS: 400,
        Verdict.DEAF: 429,
        Verdict.HOPELESS: 460,
    }


def test_a_snapshot_on_subscribing_is_no_sign_of_hearing() -> None:
    """A venue that answers each subscription and sends nothing after it is connected to again, ever more patiently."""
    hearing, carried = Hearing(), streams(15, 0)
    found: list[tuple[int, Verdict]] = []
    epoch = 0
    carried[0].frame_count += 1
    for second in range(1000):
        verdict = hearing.look(epoch, carried, second * NS_PER_S, is_excused=False)
        if verdict is Verdict.HEARS:
            continue
        found.append((second, verdict))
        epoch += verdict is Verdict.HOPELESS
        carried[0].frame_count += 1
    assert [verdict for _, verdict in found[:6]] == [Verdict.DEAF, Verdict.HOPELESS] * 3
    pauses = [after - before for (before, _), (after, _) in pairwise(found)]
    assert pauses[:4] == sorted(pauses[:4])
    assert pauses[4] > 3 * pauses[0]


def test_any_stream_that_speaks_shows_that_the_connection_hears() -> None:
    """Trades alone, or diffs of which nothing can be made yet."""
    hearing, carried = Hearing(), streams(15, 0)
    for second in range(0, 600, 10):
        carried[1].frame_count += 1
        assert hearing.look(0, carried, second * NS_PER_S, is_excused=False) is Verdict.HEARS


def test_what_waits_to_be_sent_excuses_silence() -> None:
    """Nothing was subscribed yet, because of limits of our own."""
    hearing, carried = Hearing(), streams(15)
    for second in range(600):
        assert hearing.look(0, carried, second * NS_PER_S, is_excused=True) is Verdict.HEARS


# -- the whole source --------------------------------------------------------------------------------------------


class Rhythmic(TinyProtocol):
    """Has a book, trades without a rhythm, and a way to subscribe again."""

    def _subscribe(self, frame: Frame, role: str) -> None:
        super()._subscribe(frame, role)
        self.streams.resubscribed(self.streams.add(Stream("X", "X-USD", "trades")), frame)

    def _resubscribe(self, frame: Frame, role: str) -> None:
        self._queue.append(SendText(frame.conn_id, b'{"again":1}'))

    def _on_text(self, frame: Frame) -> list[Message]:
        messages = super()._on_text(frame)
        if b"traded" in frame.payload:
            self.received(frame, "X", "trades", messages)
        return messages


@in_loop
async def test_a_deaf_connection_is_subscribed_again_and_then_made_again() -> None:
    """It acknowledges and answers pings; trades, which promise no rhythm, are missing as well and say so."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(quote().decode())
        await connection.send(b'{"traded":1}')
        if number == 0:
            async for _ in connection:
                await connection.send('{"acknowledged":1}')
        await connection.wait_closed()

    clock, tape, protocol = ManualClock(1_800_000_000 * NS_PER_S), Tape(), Rhythmic()
    protocol.limit_s = 15.0
    messages: list[Message] = []
    async with ws_venue(handler) as url:
        source = live_source(protocol, tape, ws_url=url, clock=clock)
        source.set_message_callback(messages.append)
        async with source:
            await tape.until_received(2)
            await advance_until(clock, lambda: len(tape.payloads()) >= 5)
    assert tape.payloads(WS_OUT) == [b'{"again":1}']
    story = [event for event in tape.story if event not in ("ws_in", WS_OUT)]
    assert story[:5] == ["connected", "stale", "connection_stale", "resubscribe", "disconnected"]
    assert tape.controls("disconnected")[0]["error"].startswith("we closed it: no data for 62 s")
    gaps = {
        (event.stream, event.cause)
        for event in messages
        if isinstance(event, StreamEvent) and event.kind is EventKind.GAP
    }
    assert gaps == {("full", "silence"), ("trades", "deaf")}
    again = Rhythmic()
    again.limit_s = 15.0
    assert [message for frame in tape.frames for message in again.receive(frame)] == messages


@in_loop
async def test_a_stream_that_is_quiet_beside_a_live_one_is_no_gap() -> None:
    """An hour without a trade is an hour without a trade."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(b'{"traded":1}')
        async for _ in connection:
            await connection.send(quote().decode())

    clock, tape, protocol = ManualClock(1_800_000_000 * NS_PER_S), Tape(), Rhythmic()
    protocol.limit_s = 15.0
    protocol.hello = (b"{}",)

    def ask_on(frame: Frame) -> list[Request]:
        return []

    protocol.on_frame = ask_on
    async with ws_venue(handler) as url, live_source(protocol, tape, ws_url=url, clock=clock):
        await tape.until_received(2)
        for number in range(360):
            protocol.due_requests = [SendText(0, b'{"n":%d}' % number)]
            received = len(tape.payloads())
            await advance_until(clock, lambda received=received: len(tape.payloads()) > received, 1.0)  # type: ignore[misc]
            clock.advance(3 * NS_PER_S)
    assert tape.controls("stale") == []
    assert tape.controls("connection_stale") == []
    assert len(tape.controls("connected")) == 1


@in_loop
async def test_a_machine_that_slept_for_an_hour_has_no_fresh_book_on_waking() -> None:
    """The monotonic clock stood still, so no stream was silent; the wall clock did not step."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(quote().decode())
        await connection.wait_closed()

    clock, tape = ManualClock(1_800_000_000 * NS_PER_S), Tape()
    messages: list[Message] = []
    async with ws_venue(handler) as url:
        source = live_source(TinyProtocol(), tape, ws_url=url, clock=clock)
        source.set_message_callback(messages.append)
        async with source:
            await tape.until_received(1)
            clock.suspend(3600 * NS_PER_S)
            await advance_until(clock, lambda: len(tape.payloads()) >= 2, 0.5)
    assert tape.controls("clock_step") == []
    assert tape.controls("connection_stale") == [
        {"event": "connection_stale", "role": "main", "cause": "suspend", "silence_s": 3600.0}
    ]
    assert tape.controls("disconnected")[0]["error"] == "the machine was suspended for 3600 s"
    (gap,) = [event for event in messages if isinstance(event, StreamEvent) and event.kind is EventKind.GAP]
    assert gap.cause == "suspend"
    assert gap.ts_start is not None
    assert gap.ts_end is not None
    assert gap.ts_end - gap.ts_start >= 3600 * NS_PER_S


def test_a_sleep_is_recorded_though_nothing_was_connected() -> None:
    tape = Tape()
    source = live_source(TinyProtocol(), tape, ws_url="ws://127.0.0.1:9")
    source._on_suspend(7200.0)
    assert tape.controls("notice") == [{"event": "notice", "cause": "suspend", "silence_s": 7200.0}]


@in_loop
async def test_a_step_is_recorded_before_the_first_frame_with_the_stepped_time() -> None:
    """Whoever takes durations from the times of frames must know of it before."""

    async def handler(connection: ServerConnection, number: int) -> None:
        async for _ in connection:
            await connection.send(quote().decode())

    clock, tape, protocol = ManualClock(1_800_000_000 * NS_PER_S), Tape(), TinyProtocol()
    protocol.hello = (b"{}",)
    async with ws_venue(handler) as url, live_source(protocol, tape, ws_url=url, clock=clock) as source:
        await tape.until_received(1)
        clock.step_wall(-30 * NS_PER_S)
        source._carry_out([SendText(0, b'{"more":1}')])
        await tape.until_received(2)
    assert [kind for kind in tape.story if kind != WS_OUT][:4] == ["connected", "ws_in", "clock_step", "ws_in"]


def test_a_sleep_and_a_step_on_waking_are_told_apart() -> None:
    """The network's time is asked on waking: the step is what the clock moved besides the sleep."""
    bench = Bench()
    bench.look_after(1.0)
    bench.clock.suspend(3600 * NS_PER_S)
    bench.clock.step_wall(-2 * NS_PER_S)
    bench.look_after(1.0)
    assert bench.tape.controls() == [{"event": "clock_step", "delta_ns": -2 * NS_PER_S}]
    assert bench.naps == [3600.0]


def test_a_book_that_never_comes_is_reported_and_its_hole_ends_with_the_first() -> None:
    """From the subscription on, once; minutes of it are no content recording."""
    bench = Bench()
    bench.intake.control(0, 0, "connected", url="ws://x", role="main")
    start = bench.clock.time_ns()
    for _ in range(300):
        bench.look_after(1.0)
    assert bench.tape.controls("stale") == [
        {"event": "stale", "symbol": "X", "stream": "full", "silence_s": 121.0, "cause": "no_book"}
    ]
    bench.receive(quote())
    told = [event for event in bench.messages if isinstance(event, StreamEvent)][1:]
    assert [(event.kind, event.cause, event.ts_start, event.ts_end) for event in told] == [
        (EventKind.STALE, "no_book", start, None),
        (EventKind.GAP, "no_book", start, bench.clock.time_ns()),
    ]


def test_a_book_that_never_came_is_a_hole_until_the_session_ends() -> None:
    """Over several connections it is one hole."""
    bench = Bench()
    start = bench.clock.time_ns()
    for epoch in range(3):
        bench.intake.control(0, epoch, "connected", url="ws://x", role="main")
        for _ in range(200):
            bench.look_after(1.0)
        bench.intake.control(0, epoch, "disconnected", role="main", code=1006, reason="", error="")
    bench.intake.control(-1, 0, "session_end", cause="stop")
    told: list[Any] = [
        (event.kind, event.ts_start, event.ts_end)
        for event in bench.messages
        if isinstance(event, StreamEvent) and event.stream == "full"
    ]
    assert told == [(EventKind.STALE, start, None), (EventKind.GAP, start, bench.clock.time_ns())]


@in_loop
async def test_the_same_text_waits_once() -> None:
    """A protocol that asks again while the limits hold the first one back would fill the queue."""
    arrived: list[bytes] = []

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(quote().decode())
        async for text in connection:
            assert isinstance(text, str)
            arrived.append(text.encode())
            if text == '{"last":1}':
                await connection.send(quote().decode())

    tape, protocol = Tape(), TinyProtocol()
    again = [SendText(0, msgspec.json.encode({"n": number})) for number in range(5)]
    protocol.on_frame = lambda frame: [*again * 10, SendText(0, b'{"last":1}')] if not arrived else []
    async with ws_venue(handler) as url, live_source(protocol, tape, ws_url=url):
        await tape.until_received(2)
    assert arrived == [*(request.text for request in again), b'{"last":1}']


@in_loop
async def test_what_undoes_a_text_that_waits_goes_before_it_is_said_again() -> None:
    """Subscribe, unsubscribe, subscribe: whatever waits once, the last word counts."""
    arrived: list[str] = []

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(quote().decode())
        async for text in connection:
            arrived.append(str(text))
            if text == "last":
                await connection.send(quote().decode())

    tape, protocol = Tape(), TinyProtocol()
    wishes = [SendText(0, text) for text in (b"subscribe", b"unsubscribe", b"subscribe", b"last")]
    protocol.on_frame = lambda frame: [*wishes] if not arrived else []
    async with ws_venue(handler) as url, live_source(protocol, tape, ws_url=url):
        await tape.until_received(2)
    assert arrived == ["unsubscribe", "subscribe", "last"]
