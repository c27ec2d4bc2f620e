"""The live source: order, life cycle, requests. Faults of the network have a file of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection

from tests.toolkit.live_harness import (
    LIMITS,
    Tape,
    TinyProtocol,
    close_request,
    in_loop,
    listen,
    live_source,
    quote,
    rest_venue,
    unused_port,
    ws_venue,
)
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import BackpressureError, ConfigError, ConnectFailed, RequestFailed, SymbolError, VenueRefused
from toolkit.frames import REST_IN, REST_OUT, WS_IN, WS_OUT, Frame
from toolkit.live import LinkState, LiveDataSource
from toolkit.live.capture import Capture
from toolkit.messages import BookSnapshot, FundingInfo, Message, StreamEvent
from toolkit.protocol import ConnectionPlan, RestCall, SendText
from toolkit.venue import VenueLimits

META = RestCall("meta", "GET", "/meta")


async def quotes(connection: ServerConnection, number: int = 0) -> None:
    """Three quotes, then silence."""
    for bid in (10.0, 10.1, 10.2):
        await connection.send(quote(bid=bid).decode())
    await connection.wait_closed()


async def echo(connection: ServerConnection, number: int = 0) -> None:
    """Say back what is said."""
    async for text in connection:
        await connection.send(text)


async def info(request: web.BaseRequest) -> web.StreamResponse:
    """A REST interface that knows X and nothing else."""
    match request.path:
        case "/meta":
            return web.Response(body=b'{"symbols": ["X"]}')
        case "/book/X":
            return web.Response(body=quote("X", 20.0, 21.0))
        case "/funding/X":
            return web.Response(body=b'{"s": "X", "rate": 0.0001}')
        case "/book/EMPTY":
            return web.Response(body=quote("X"))
        case _:
            return web.Response(status=404, body=b"null")


def described(frames: list[Frame]) -> list[str]:
    """Frames in a line each."""
    return [f"{frame.conn_id}/{frame.conn_epoch} {frame.kind} {frame.payload.decode()}" for frame in frames]


# -- order -------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_session_is_recorded_from_the_first_request_to_the_last_close() -> None:
    """REST, connects, what we sent and what we received, in the order it happened, numbered without holes."""
    tape, protocol = Tape(), TinyProtocol(calls=(META,))
    protocol.hello = (b'{"subscribe":"X"}',)
    async with (
        rest_venue(info) as rest_url,
        ws_venue(quotes) as ws_url,
        live_source(protocol, tape, ws_url=ws_url, rest_url=rest_url),
    ):
        await tape.until(lambda: len(tape.payloads()) == 3 and len(tape.payloads(WS_OUT)) == 1)
    assert [line for line in described(tape.frames) if "ws_out" not in line] == [
        "-1/0 rest_out ",
        '-1/0 rest_in {"symbols": ["X"]}',
        f'0/0 control {{"event":"connected","role":"main","url":"{ws_url}"}}',
        *(f"0/0 ws_in {quote(bid=bid).decode()}" for bid in (10.0, 10.1, 10.2)),
        '0/0 control {"cause":"stop","code":1000,"error":"","event":"disconnected","reason":"","role":"main"}',
    ]
    assert tape.payloads(WS_OUT) == [b'{"subscribe":"X"}']
    assert [frame.capture_seq for frame in tape.frames] == list(range(len(tape.frames)))
    assert [frame.ts_mono for frame in tape.frames] == sorted(frame.ts_mono for frame in tape.frames)


@in_loop
async def test_a_rest_frame_says_what_was_asked_and_answered() -> None:
    """The request's own number names it."""
    tape = Tape()
    async with rest_venue(info) as rest_url:
        source = live_source(TinyProtocol(calls=(META,)), tape, rest_url=rest_url)
        await source.initialize()
        await source.stop()
    asked, answered = (msgspec.json.decode(frame.context or "") for frame in tape.frames)
    assert asked == {"id": 0, "method": "GET", "path": "/meta", "tag": "meta", "attempt": 1}
    assert answered == {**asked, "status": 200}
    assert [frame.kind for frame in tape.frames] == [REST_OUT, REST_IN]


@in_loop
async def test_a_frame_is_written_then_understood_then_handed_on() -> None:
    """Write-ahead: no callback sees what the recording does not have."""
    order: list[str] = []
    tape = Tape()

    def sink(frame: Frame) -> None:
        order.append(f"written {frame.capture_seq}")
        tape(frame)

    class Protocol(TinyProtocol):
        def receive(self, frame: Frame) -> list[Message]:
            order.append(f"understood {frame.capture_seq}")
            return super().receive(frame)

    async with ws_venue(quotes) as url:
        source = live_source(Protocol(), tape, ws_url=url, capture=Capture(sink=sink))
        source.set_message_callback(lambda message: order.append(f"handed on {message.capture_seq}"))
        async with source:
            await tape.until_received(3)
    for frame in tape.frames:
        steps = [step for step in order if step.endswith(f" {frame.capture_seq}")]
        assert steps[:2] == [f"written {frame.capture_seq}", f"understood {frame.capture_seq}"]
    assert [int(step.rpartition(" ")[2]) for step in order] == sorted(int(step.rpartition(" ")[2]) for step in order)
    assert sum(step.startswith("handed on") for step in order) >= 5


@in_loop
async def test_books_are_updated_before_callbacks_see_the_message() -> None:
    """A strategy may ask the book about the message it was just given."""
    tape = Tape()
    bids: list[tuple[float, float | None]] = []
    async with ws_venue(quotes) as url:
        source = live_source(TinyProtocol(), tape, ws_url=url)

        def look(message: Message) -> None:
            if isinstance(message, BookSnapshot):
                bids.append((message.bid_prices[0], source.tracker.book("X-USD").bids.best_price))
                tape.check()

        source.set_message_callback(look)
        async with source:
            await tape.until(lambda: len(bids) == 3)
    assert bids == [(10.0, 10.0), (10.1, 10.1), (10.2, 10.2)]


@in_loop
async def test_what_we_send_is_recorded_when_it_is_sent() -> None:
    """Before its answer, after what caused it."""
    tape, protocol = Tape(), TinyProtocol()
    protocol.hello = (b'{"n":1}', b'{"n":2}')
    async with ws_venue(echo) as url, live_source(protocol, tape, ws_url=url):
        await tape.until_received(2)
    frames = [(frame.kind, frame.payload) for frame in tape.frames if frame.kind in (WS_IN, WS_OUT)]
    for text in protocol.hello:
        assert frames.index((WS_OUT, text)) < frames.index((WS_IN, text))
    assert protocol.sent == [b'{"n":1}', b'{"n":2}']


@in_loop
async def test_several_sources_share_one_recording() -> None:
    """Numbers of frames and of connections have no holes and no repeats across venues."""
    tape = Tape()
    capture = Capture(sink=tape, first_seq=100, first_conn_id=5)
    async with ws_venue(quotes) as first_url, ws_venue(quotes) as second_url:
        first = live_source(TinyProtocol("a", "b"), tape, ws_url=first_url, capture=capture)
        second = live_source(TinyProtocol("c"), tape, ws_url=second_url, capture=capture)
        async with first, second:
            await tape.until_received(9)
    assert [frame.capture_seq for frame in tape.frames] == list(range(100, 100 + len(tape.frames)))
    assert {frame.conn_id for frame in tape.frames} == {5, 6, 7}


@in_loop
async def test_books_of_two_venues_on_one_dispatcher_are_kept_apart() -> None:
    """Both may list BTC-USD."""

    class Other(TinyProtocol):
        venue = "other"

    async def lower(connection: ServerConnection, number: int) -> None:
        await connection.send(quote(bid=1.0).decode())
        await connection.wait_closed()

    tape, dispatcher = Tape(), MessageDispatcher()
    capture = Capture(sink=tape)
    async with ws_venue(quotes) as first_url, ws_venue(lower) as second_url:
        first = live_source(TinyProtocol(), tape, ws_url=first_url, capture=capture, dispatcher=dispatcher)
        second = live_source(Other(), tape, ws_url=second_url, capture=capture, dispatcher=dispatcher)
        async with first, second:
            await tape.until_received(4)
    assert first.tracker.book("X-USD").bids.best_price == 10.2
    assert second.tracker.book("X-USD").bids.best_price == 1.0


# -- life cycle --------------------------------------------------------------------------------------------------


@in_loop
async def test_async_listeners_end_when_the_source_stops() -> None:
    """What they have not read yet they still get."""
    tape = Tape()
    async with ws_venue(quotes) as url:
        source = live_source(TinyProtocol(), tape, ws_url=url)
        snapshots = source.listen_for_order_book_snapshots()
        async with source:
            await tape.until_received(3)
        assert [snapshot.bid_prices[0] async for snapshot in snapshots] == [10.0, 10.1, 10.2]


@in_loop
async def test_stopping_twice_and_before_the_start_is_fine() -> None:
    """`stop` is for every way out."""
    tape = Tape()
    async with ws_venue(listen) as url:
        source = live_source(TinyProtocol(), tape, ws_url=url)
        await source.initialize()
        await source.start()
        await tape.until_control("connected")
        await asyncio.gather(source.stop(), source.stop())
        await source.stop()
        await source.wait()
    never_started = live_source(TinyProtocol(), tape)
    await never_started.stop()
    await never_started.stop()
    assert tape.story == ["connected", "disconnected"]


@in_loop
async def test_a_source_lives_once() -> None:
    """A second start on the same protocol would mix two sessions."""
    tape = Tape()
    async with ws_venue(listen) as url:
        source = live_source(TinyProtocol(), tape, ws_url=url)
        with pytest.raises(ConfigError, match=r"^a live source is waited for after its start\(\)$"):
            await source.wait()
        async with source:
            with pytest.raises(ConfigError, match=r"^a live source starts once: make a new one$"):
                await source.start()
        with pytest.raises(ConfigError, match=r"^a live source starts once: make a new one$"):
            await source.start()
    unready = live_source(TinyProtocol(calls=(META,)), tape)
    with pytest.raises(ConfigError, match=r"^a live source is started after its initialize\(\): use `async with`$"):
        await unready.start()


@in_loop
async def test_stopping_does_not_wait_for_a_backoff() -> None:
    """Nor for a handshake that is never answered."""
    tape = Tape()
    async with unused_port() as port:
        source = live_source(TinyProtocol("a", "b"), tape, ws_url=f"ws://127.0.0.1:{port}", wait_for_venue=True)
        async with source:
            await tape.until_control("connect_failed", 2)
    assert [details["role"] for details in tape.controls("connect_failed")[:2]] == ["a", "b"]


@pytest.mark.parametrize("where", ["connected", "ws_in"])
@in_loop
async def test_what_a_callback_raises_stops_the_source_and_surfaces(where: str) -> None:
    """Nothing is recorded after the frame that could not be handed on, on no connection."""
    tape = Tape()

    def fail(message: Message) -> None:
        if isinstance(message, StreamEvent) == (where == "connected"):
            raise ZeroDivisionError("in a strategy")

    async with ws_venue(quotes) as url:
        source = live_source(TinyProtocol("a", "b"), tape, ws_url=url)
        source.set_message_callback(fail)
        await source.initialize()
        await source.start()
        with pytest.raises(ZeroDivisionError, match=r"^in a strategy$"):
            await source.wait()
        with pytest.raises(ZeroDivisionError):
            await source.wait()
        await source.stop()
    assert tape.frames[-1].kind == ("control" if where == "connected" else WS_IN)
    assert "disconnected" not in tape.story


@in_loop
async def test_stop_raises_what_nobody_waited_for() -> None:
    """A failure that only a log line would tell is a failure that is missed."""
    tape = Tape()

    def fail(message: Message) -> None:
        raise ZeroDivisionError("in a strategy")

    async with ws_venue(quotes) as url:
        source = live_source(TinyProtocol(), tape, ws_url=url)
        source.set_message_callback(fail)
        with pytest.raises(ZeroDivisionError):
            async with source:
                await tape.until_control("connected")
        await source.stop()


@in_loop
async def test_a_disk_that_is_full_stops_every_source_of_the_recording() -> None:
    """The first says why, the others that nothing more is recorded."""
    tape = Tape()

    def sink(frame: Frame) -> None:
        if len(tape.payloads()) == 2:
            raise OSError(28, "No space left on device")
        tape(frame)

    capture = Capture(sink=sink)
    async with ws_venue(quotes) as url:
        sources = [live_source(TinyProtocol(), tape, ws_url=url, capture=capture) for _ in range(2)]
        for source in sources:
            await source.initialize()
            await source.start()
        results = await asyncio.gather(*(source.wait() for source in sources), return_exceptions=True)
        for source in sources:
            await source.stop()
    assert sorted(type(result).__name__ for result in results) == ["BackpressureError", "OSError"]
    assert len(tape.payloads()) == 2


@in_loop
async def test_the_protocols_verdict_stops_the_source() -> None:
    """Open connections are closed and recorded as such: the recording itself is sound."""
    tape, protocol = Tape(), TinyProtocol()
    async with ws_venue(listen) as url:
        source = live_source(protocol, tape, ws_url=url, look_s=0.01)
        async with source:
            await tape.until_control("connected")
            protocol.failure = VenueRefused("this jurisdiction is not served")
            with pytest.raises(VenueRefused, match=r"^this jurisdiction is not served$"):
                await source.wait()
    assert tape.story == ["connected", "disconnected"]


# -- the first contact -------------------------------------------------------------------------------------------


@in_loop
async def test_a_venue_without_rest_is_one_clear_line() -> None:
    """And in the recording it is there as well."""
    tape = Tape()
    async with unused_port() as port:
        source = live_source(TinyProtocol(calls=(META,)), tape, rest_url=f"http://127.0.0.1:{port}")
        with pytest.raises(ConnectFailed, match=r"^http://127\.0\.0\.1:\d+/meta: connection refused, nothing listens"):
            await source.initialize()
    assert tape.story == ["rest_out"] * 4 + ["request_failed"]
    failed = tape.controls("request_failed")[0]
    assert (failed["tag"], failed["attempts"]) == ("meta", 4)
    assert "connection refused" in failed["error"]


@in_loop
async def test_a_venue_that_refuses_the_first_request_is_an_error() -> None:
    """Every answer is recorded and was shown to the protocol."""
    tape = Tape()
    async with rest_venue(info) as rest_url:
        source = live_source(TinyProtocol(calls=(RestCall("meta", "GET", "/unknown"),)), tape, rest_url=rest_url)
        with pytest.raises(RequestFailed, match=r"HTTP 404, expected 200"):
            await source.initialize()
    assert tape.story == ["rest_out", "rest_in", "request_failed"]


@in_loop
async def test_a_request_that_the_protocol_can_do_without_may_fail() -> None:
    """It was ready all the same."""
    tape, protocol = Tape(), TinyProtocol(calls=(RestCall("extra", "GET", "/unknown"), META))
    protocol.awaited = {"meta"}
    async with rest_venue(info) as rest_url:
        source = live_source(protocol, tape, rest_url=rest_url)
        await source.initialize()
        await source.stop()
    assert tape.story == ["rest_out", "rest_in", "request_failed", "rest_out", "rest_in"]


@in_loop
async def test_an_unknown_pair_is_the_protocols_word() -> None:
    """It is raised before any connection is opened."""

    class Protocol(TinyProtocol):
        def receive(self, frame: Frame) -> list[Message]:
            self.failure = SymbolError("no pair NOPE-USD")
            return super().receive(frame)

    async with rest_venue(info) as rest_url:
        source = live_source(Protocol(calls=(META,)), Tape(), rest_url=rest_url)
        with pytest.raises(SymbolError, match=r"^no pair NOPE-USD$"):
            await source.initialize()


@in_loop
async def test_answers_that_make_nothing_ready_are_an_error() -> None:
    """Waiting for more would hang: nobody else is asked."""
    protocol = TinyProtocol(calls=(META,))
    protocol.awaited = {"meta", "another"}
    async with rest_venue(info) as rest_url:
        source = live_source(protocol, Tape(), rest_url=rest_url)
        with pytest.raises(ConfigError, match=r"^tiny: its answers hold nothing to connect for; check the pairs"):
            await source.initialize()


@in_loop
async def test_a_websocket_that_was_never_there_is_one_clear_line() -> None:
    """Three attempts, then it is taken to be a wrong address."""
    tape = Tape()
    async with unused_port() as port:
        source = live_source(TinyProtocol(), tape, ws_url=f"ws://127.0.0.1:{port}")
        async with source:
            with pytest.raises(ConnectFailed, match=r"connection refused, nothing listens there; .* \(attempt 3\)$"):
                await source.wait()
    assert tape.story == ["connect_failed"]


@in_loop
async def test_a_recorder_may_be_started_before_its_venue() -> None:
    """`wait_for_venue` outlasts a REST interface and a WebSocket that are not there yet."""
    tape = Tape()
    refusals = 6

    async def late(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal refusals
        refusals -= 1
        return web.Response(status=503) if refusals >= 0 else await info(request)

    protocol = TinyProtocol(calls=(META,))
    async with rest_venue(late) as rest_url, ws_venue(quotes) as ws_url:
        source = live_source(protocol, tape, ws_url=ws_url, rest_url=rest_url, wait_for_venue=True)
        async with source:
            await tape.until_received(3)
    assert tape.story[:14] == ["rest_out", "rest_in"] * 7


@in_loop
async def test_more_connections_than_the_venue_allows_are_not_tried() -> None:
    """The venue would ban the address."""
    limits = VenueLimits(connections_max=2, connects_per_minute=100, messages_per_minute=100)
    source = live_source(TinyProtocol("a", "b", "c"), Tape(), limits=limits)
    async with source:
        with pytest.raises(ConfigError) as failure:
            await source.wait()
    assert str(failure.value) == ("tiny: 3 connections are needed, the venue allows 2; record fewer pairs or channels")


# -- what the protocol asks for ----------------------------------------------------------------------------------


@in_loop
async def test_connections_that_the_protocol_comes_to_want_are_opened() -> None:
    """Their paths are appended to the venue's URL."""
    paths: list[str] = []

    async def handler(connection: ServerConnection, number: int) -> None:
        assert connection.request is not None
        paths.append(connection.request.path)
        await connection.wait_closed()

    tape, protocol = Tape(), TinyProtocol("a")
    async with ws_venue(handler) as url, live_source(protocol, tape, ws_url=f"{url}/ws", look_s=0.01):
        await tape.until_control("connected")
        protocol.plans.append(ConnectionPlan(role="b", heartbeat=protocol.plans[0].heartbeat, path="/public?x=1"))
        await tape.until_control("connected", 2)
    assert paths == ["/ws", "/ws/public?x=1"]
    assert [details["role"] for details in tape.controls("connected")] == ["a", "b"]


@in_loop
async def test_a_connection_is_closed_when_the_protocol_asks() -> None:
    """And made again: its book could no longer be trusted."""
    tape, protocol = Tape(), TinyProtocol()
    protocol.on_frame = lambda frame: [close_request(0, "gap")] if frame.conn_epoch == 0 else []
    async with ws_venue(quotes) as url, live_source(protocol, tape, ws_url=url):
        await tape.until_control("connected", 2)
        await tape.until(lambda: tape.frames[-1].conn_epoch == 1 and tape.frames[-1].kind == WS_IN)
    closed = tape.controls("disconnected")[0]
    assert closed == {
        "event": "disconnected",
        "role": "main",
        "code": 1000,
        "reason": "",
        "error": "we closed it: gap",
    } or (closed["error"] == "we closed it: gap")


@in_loop
async def test_a_rest_call_of_a_running_session_is_made_and_fed_back() -> None:
    """Its messages come like any other; one that fails is a frame, and the session goes on."""
    tape, protocol = Tape(), TinyProtocol()
    protocol.on_frame = lambda frame: (
        [RestCall("funding:X", "GET", "/funding/X"), RestCall("x", "GET", "/unknown")]
        if frame.payload == quote(bid=10.0)
        else []
    )
    async with rest_venue(info) as rest_url, ws_venue(quotes) as ws_url:
        source = live_source(protocol, tape, ws_url=ws_url, rest_url=rest_url)
        async with source:
            await tape.until_control("request_failed")
            await tape.until(lambda: source.tracker.funding_info("X-USD") is not None)
    assert tape.controls("request_failed")[0]["tag"] == "x"


@in_loop
async def test_a_protocol_that_asks_without_end_is_stopped() -> None:
    """Requests that can never be made would fill the memory."""
    tape, protocol = Tape(), TinyProtocol()
    protocol.on_frame = lambda frame: [RestCall(f"meta {number}", "GET", "/meta") for number in range(10_001)]
    async with ws_venue(quotes) as url, live_source(protocol, tape, ws_url=url) as source:
        with pytest.raises(BackpressureError, match=r"^10,000 REST requests wait, the next is 'meta 10000'"):
            await source.wait()


@in_loop
async def test_text_for_a_connection_that_is_gone_is_dropped() -> None:
    """The protocol says again what it needs on the next one."""
    tape, protocol = Tape(), TinyProtocol()
    protocol.hello = (b'{"n":1}',)
    protocol.on_frame = lambda frame: [SendText(99, b"nobody"), close_request(99, "nobody")]
    async with ws_venue(echo) as url, live_source(protocol, tape, ws_url=url):
        await tape.until_received(1)
    assert tape.payloads(WS_OUT) == [b'{"n":1}']


# -- asking ------------------------------------------------------------------------------------------------------


@in_loop
async def test_a_snapshot_is_asked_of_the_venue_and_recorded() -> None:
    """The caller's book is its own: later updates leave it alone."""
    tape = Tape()
    seen: list[Message] = []
    async with rest_venue(info) as rest_url, ws_venue(listen) as ws_url:
        source = live_source(TinyProtocol(), tape, ws_url=ws_url, rest_url=rest_url)
        source.set_message_callback(seen.append)
        async with source:
            book = await source.get_snapshot("X-USD")
            assert (book.trading_pair, book.bids.best_price, book.is_stale) == ("X-USD", 20.0, False)
            assert source.tracker.book("X-USD") is not book
            with pytest.raises(RequestFailed, match=r"HTTP 404"):
                await source.get_snapshot("NOPE-USD")
            with pytest.raises(SymbolError, match=r"^tiny gave no book of 'EMPTY-USD'; check the pair$"):
                await source.get_snapshot("EMPTY-USD")
    assert any(isinstance(message, BookSnapshot) for message in seen)
    assert len(tape.payloads(REST_IN)) == 3


@in_loop
async def test_a_snapshot_without_a_request_for_it_is_the_tracked_book() -> None:
    """Some venues have no REST book."""

    class Protocol(TinyProtocol):
        def snapshot_request(self, symbol: str) -> RestCall | None:
            return None

    tape = Tape()
    async with ws_venue(quotes) as url, live_source(Protocol(), tape, ws_url=url) as source:
        with pytest.raises(SymbolError):
            await source.get_snapshot("NOPE-USD")
        await tape.until_received(3)
        assert await source.get_snapshot("X-USD") is source.tracker.book("X-USD")


@in_loop
async def test_funding_is_what_was_heard_last_or_asked() -> None:
    """Asked once, it has been heard."""
    tape = Tape()

    class Protocol(TinyProtocol):
        def funding_request(self, symbol: str) -> RestCall | None:
            return None if symbol == "SPOT" else super().funding_request(symbol)

    async with (
        rest_venue(info) as rest_url,
        ws_venue(listen) as ws_url,
        live_source(Protocol(), tape, ws_url=ws_url, rest_url=rest_url) as source,
    ):
        first = await source.get_funding_info("X-USD")
        assert isinstance(first, FundingInfo)
        assert first.funding_rate == 0.0001
        assert await source.get_funding_info("X-USD") is first
        with pytest.raises(SymbolError, match=r"^tiny has no funding of 'SPOT-USD'; check the pair$"):
            await source.get_funding_info("SPOT-USD")
    assert len(tape.payloads(REST_OUT)) == 1


@in_loop
async def test_nothing_is_recorded_after_the_stop() -> None:
    """The recording may be sealed by then."""
    tape = Tape()
    async with rest_venue(info) as rest_url, ws_venue(listen) as ws_url:
        async with live_source(TinyProtocol(), tape, ws_url=ws_url, rest_url=rest_url) as source:
            await tape.until_control("connected")
        count = len(tape.frames)
        with pytest.raises(RequestFailed, match=r"the session is not open; ask before it is closed$"):
            await source.get_snapshot("X-USD")
    assert len(tape.frames) == count


@in_loop
async def test_the_status_tells_what_each_connection_does() -> None:
    """Counts over all epochs, and the sums of them."""
    tape = Tape()

    async def closing(connection: ServerConnection, number: int) -> None:
        await quotes(connection) if number else await connection.close(1012, "deploy")

    protocol = TinyProtocol()
    async with ws_venue(closing) as url:
        source = live_source(protocol, tape, ws_url=url)
        assert source.status().connections == ()
        async with source:
            await tape.until_received(3)
            status = source.status()
            connection = status.connections[0]
        assert source.status().connections[0].state is LinkState.CLOSED
    assert (connection.role, connection.conn_id, connection.conn_epoch) == ("main", 0, 1)
    assert (connection.state, connection.frame_count) == (LinkState.OPEN, 3)
    assert connection.byte_count == status.byte_count == sum(len(quote(bid=bid)) for bid in (10.0, 10.1, 10.2))
    assert connection.reconnect_count == status.reconnect_count == 1
    assert connection.last_error == "closed with code 1012 (deploy)"
    assert connection.silence_s is not None
    assert connection.silence_s >= 0
    assert (status.venue, status.frame_count, status.parse_error_count) == ("tiny", 3, 0)
    assert (status.stream_count, status.stale_stream_count, status.pending_request_count) == (1, 0, 0)
    assert status.message_count == 3 + len(["connected", "disconnected", "connected"])


def test_a_bad_url_is_found_before_anything_is_opened() -> None:
    """In the constructor, where no loop is needed."""

    def make(**urls: Any) -> LiveDataSource:
        options = {"ws_url": "ws://h", "rest_url": "http://h", **urls}
        return LiveDataSource(TinyProtocol(), limits=LIMITS, capture=Capture(sink=Tape()), **options)

    make()
    for urls in ({"ws_url": "http://h"}, {"rest_url": "ws://h"}):
        with pytest.raises(ConfigError, match=r"is no URL of that kind"):
            make(**urls)
