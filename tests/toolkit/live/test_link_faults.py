"""What networks and venues do to a live source, over real sockets: it goes on, and the recording says what happened."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import ssl
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.http11 import Request, Response

from tests.toolkit.live_harness import (
    LIMITS,
    Tape,
    TinyProtocol,
    advance_until,
    in_loop,
    listen,
    live_source,
    quote,
    rest_venue,
    tcp_venue,
    unused_port,
    ws_venue,
)
from toolkit.clock import NS_PER_S, ManualClock
from toolkit.errors import ConnectFailed, RequestFailed
from toolkit.frames import WS_IN, WS_OUT
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.protocol import Heartbeat, RestCall, SendText

PINGED = Heartbeat(ping_text=b'{"method":"ping"}', interval_s=20, idle_s_max=45)
UNPINGED = Heartbeat(ping_text=None, interval_s=20, idle_s_max=45)


def events(messages: list[Message], *kinds: EventKind) -> list[tuple[EventKind, str]]:
    """Events of those kinds, with the stream they are about."""
    return [
        (message.kind, message.stream)
        for message in messages
        if isinstance(message, StreamEvent) and message.kind in kinds
    ]


# -- connections that end ----------------------------------------------------------------------------------------


@in_loop
async def test_a_reset_in_the_middle_of_a_frame_is_a_gap_and_a_new_epoch() -> None:
    """The book is stale in between; the half frame is nowhere; the gap ends with the first frame after it."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(quote(bid=10.0 + number).decode())
        if number == 0:
            await connection.recv()
            connection.transport.write(WireFrame(Opcode.TEXT, b"x" * 1000).serialize(mask=False)[:500])
            connection.transport.abort()
        await connection.wait_closed()

    tape, protocol = Tape(), TinyProtocol()
    protocol.hello = (b"{}",)
    messages: list[Message] = []
    async with ws_venue(handler) as url:
        source = live_source(protocol, tape, ws_url=url)
        source.set_message_callback(messages.append)
        async with source:
            await tape.until_received(2)
            assert not source.tracker.book("X-USD").is_stale
    assert [kind for kind in tape.story if kind != WS_OUT] == [
        "connected",
        "ws_in",
        "disconnected",
        "connected",
        "ws_in",
        "disconnected",
    ]
    assert [frame.conn_epoch for frame in tape.frames if frame.kind == WS_IN] == [0, 1]
    lost = tape.controls("disconnected")[0]
    assert (lost["code"], lost["role"]) == (1006, "main")
    assert lost["error"]
    assert events(messages, EventKind.STALE, EventKind.GAP)[:2] == [(EventKind.STALE, "full"), (EventKind.GAP, "full")]


@in_loop
async def test_a_venue_that_closes_again_and_again_is_connected_to_again_and_again() -> None:
    """Every loss is on record with its code, no frame is lost in between, epochs count up."""
    codes = [1000, 1001, 1008, 1011, 1012, 4000]

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(quote(bid=10.0 + number).decode())
        if number < len(codes):
            await connection.close(codes[number], f"reason {number}")
        await connection.wait_closed()

    tape = Tape()
    async with ws_venue(handler) as url, live_source(TinyProtocol(), tape, ws_url=url):
        await tape.until_received(len(codes) + 1)
    assert tape.payloads() == [quote(bid=10.0 + number) for number in range(len(codes) + 1)]
    assert [frame.conn_epoch for frame in tape.frames if frame.kind == WS_IN] == list(range(len(codes) + 1))
    lost = tape.controls("disconnected")[:-1]
    assert [(details["code"], details["reason"]) for details in lost] == [
        (code, f"reason {number}") for number, code in enumerate(codes)
    ]


@in_loop
async def test_a_venue_that_closes_quickly_is_asked_less_and_less_often() -> None:
    """A short life does not reset the backoff, a long one does; and the venue's limit on connects holds."""
    clock = ManualClock()
    connected_at: list[int] = []

    async def handler(connection: ServerConnection, number: int) -> None:
        connected_at.append(clock.monotonic_ns())
        await connection.close(1012)

    tape = Tape()
    limits = type(LIMITS)(connections_max=1, connects_per_minute=10, messages_per_minute=100)
    async with ws_venue(handler) as url:
        source = live_source(TinyProtocol(), tape, ws_url=url, clock=clock, limits=limits, backoff_s_max=30.0)
        async with source:
            await advance_until(clock, lambda: len(connected_at) >= 25, 0.5)
    waits = [(after - before) / NS_PER_S for before, after in pairwise(connected_at)]
    assert sum(waits[:4]) < sum(waits[-4:])
    for start in connected_at:
        assert sum(1 for at in connected_at if start <= at < start + 60 * NS_PER_S) <= 10


@in_loop
async def test_a_frame_over_the_limit_closes_with_1009_and_the_rest_goes_on() -> None:
    """It is not a frame of this venue; what it was part of is a gap."""

    async def handler(connection: ServerConnection, number: int) -> None:
        if number == 0:
            await connection.send("x" * (LIMITS.frame_bytes_max + 1))
        await connection.send(quote().decode())
        await connection.wait_closed()

    tape = Tape()
    async with ws_venue(handler) as url, live_source(TinyProtocol(), tape, ws_url=url):
        await tape.until_received(1)
    lost = tape.controls("disconnected")[0]
    assert lost["code"] == 1009
    assert lost["error"].startswith("we closed it: ")
    assert tape.payloads() == [quote()]


@in_loop
async def test_a_silent_close_right_after_a_subscribe_is_recorded_in_that_order() -> None:
    """The order by which a protocol finds out which subscription killed the socket."""

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send("{}")
        async for text in connection:
            if "NOPE" in str(text) and number == 0:
                connection.transport.abort()

    tape, protocol = Tape(), TinyProtocol()
    protocol.hello = (b'{"coin":"BTC"}', b'{"coin":"NOPE"}')
    async with ws_venue(handler) as url, live_source(protocol, tape, ws_url=url):
        await tape.until_control("connected", 2)
        await tape.until(lambda: len(tape.payloads(WS_OUT)) == 4)
    first = [frame for frame in tape.frames if frame.conn_epoch == 0 and frame.kind != WS_IN]
    assert tape.story[0] == "connected"
    assert [frame.payload for frame in first[1:3]] == list(protocol.hello)
    assert b'"disconnected"' in first[3].payload
    assert tape.controls("disconnected")[0]["code"] == 1006
    stamps = [frame.ts_mono for frame in first]
    assert stamps == sorted(stamps)


# -- frames that cannot be understood ----------------------------------------------------------------------------


@in_loop
async def test_garbage_is_kept_reported_and_stops_nothing() -> None:
    """Not JSON, cut JSON, not UTF-8, binary, the wrong type, brackets without end, nothing at all."""
    garbage = [
        b"Websocket connection established.",
        b'{"s": "X", "bid"',
        b'{"s": "\xff\xfe"}',
        b"\x00\x01",
        b"[1]",
        b"",
    ]

    async def handler(connection: ServerConnection, number: int) -> None:
        for payload in garbage:
            connection.transport.write(WireFrame(Opcode.TEXT, payload).serialize(mask=False))
        connection.transport.write(WireFrame(Opcode.BINARY, b"\x80").serialize(mask=False))
        await connection.send(quote().decode())
        await connection.wait_closed()

    tape = Tape()
    messages: list[Message] = []
    async with ws_venue(handler) as url:
        source = live_source(TinyProtocol(), tape, ws_url=url)
        source.set_message_callback(messages.append)
        async with source:
            await tape.until_received(len(garbage) + 2)
            assert source.status().parse_error_count == len(garbage) + 1
    assert tape.payloads() == [*garbage, b"\x80", quote()]
    assert len(events(messages, EventKind.PARSE_ERROR)) == len(garbage) + 1
    assert tape.story.count("disconnected") == 1


# -- connections that cannot be made -----------------------------------------------------------------------------


@in_loop
async def test_a_venue_that_is_down_for_a_day_does_not_fill_the_disk() -> None:
    """The first failure, then at most one a minute."""
    clock = ManualClock()
    tape = Tape()
    async with unused_port() as port:
        url = f"ws://127.0.0.1:{port}"
        source = live_source(TinyProtocol(), tape, ws_url=url, clock=clock, wait_for_venue=True, backoff_s_max=30.0)
        async with source:
            await advance_until(clock, lambda: clock.monotonic_ns() > 3600 * NS_PER_S, 5.0)
            status = source.status().connections[0]
    failures = tape.controls("connect_failed")
    assert 30 <= len(failures) <= 61
    assert failures[0] == {
        "event": "connect_failed",
        "role": "main",
        "url": url,
        "attempt": 1,
        "error": f"{url}: connection refused, nothing listens there; check the address, or start the venue",
    }
    assert failures[-1]["attempt"] > len(failures)
    assert status.last_error == failures[0]["error"]
    stamps = [frame.ts_mono for frame in tape.frames]
    assert all(after - before >= 60 * NS_PER_S for before, after in pairwise(stamps))


@in_loop
async def test_another_failure_is_news_and_so_is_one_after_a_success() -> None:
    """HTTP 503, then 429 with its pause, a connection, and 503 again."""
    refusals: dict[int, HTTPStatus] = {
        0: HTTPStatus.SERVICE_UNAVAILABLE,
        1: HTTPStatus.SERVICE_UNAVAILABLE,
        2: HTTPStatus.TOO_MANY_REQUESTS,
        4: HTTPStatus.SERVICE_UNAVAILABLE,
    }
    count = -1
    clock = ManualClock()
    asked_at: list[int] = []

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        nonlocal count
        count += 1
        asked_at.append(clock.monotonic_ns())
        if count not in refusals:
            return None
        response = connection.respond(refusals[count], "no")
        if refusals[count] is HTTPStatus.TOO_MANY_REQUESTS:
            response.headers["Retry-After"] = "33"
        return response

    async def handler(connection: ServerConnection, number: int) -> None:
        if number == 0:
            await connection.close(1012)
        await connection.wait_closed()

    tape = Tape()
    async with (
        ws_venue(handler, process_request=refuse) as url,
        live_source(TinyProtocol(), tape, ws_url=url, clock=clock, wait_for_venue=True),
    ):
        await advance_until(clock, lambda: len(tape.controls("connected")) == 2, 0.05)
    assert tape.story[:7] == [
        "connect_failed",
        "connect_failed",
        "notice",
        "connected",
        "disconnected",
        "connect_failed",
        "connected",
    ]
    assert [details["attempt"] for details in tape.controls("connect_failed")] == [1, 3, 1]
    assert asked_at[3] - asked_at[2] >= 33 * NS_PER_S


@in_loop
async def test_a_wrong_certificate_is_never_trusted(tmp_path: Path) -> None:
    """Not for the WebSocket, not for REST; the right authority is."""
    authority, stranger = trustme.CA(), trustme.CA()
    for name, each in (("right", authority), ("wrong", stranger)):
        each.cert_pem.write_to_path(str(tmp_path / name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    async def meta(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"{}")

    call = RestCall("meta", "GET", "/meta")
    async with rest_venue(meta, ssl_context=context) as rest_url, ws_venue(listen, ssl=context) as ws_url:
        urls: dict[str, Any] = {"ws_url": ws_url, "rest_url": rest_url}
        for ssl_ca in (None, tmp_path / "wrong"):
            source = live_source(TinyProtocol(), Tape(), **urls, ssl_ca=ssl_ca)
            async with source:
                with pytest.raises(ConnectFailed, match=r"^wss://.*its TLS certificate is not trusted"):
                    await source.wait()
            source = live_source(TinyProtocol(calls=(call,)), Tape(), **urls, ssl_ca=ssl_ca)
            with pytest.raises(ConnectFailed, match=r"^https://.*its TLS certificate is not trusted"):
                await source.initialize()
        tape = Tape()
        async with live_source(TinyProtocol(calls=(call,)), tape, **urls, ssl_ca=tmp_path / "right"):
            await tape.until_control("connected")


# -- connections that say nothing --------------------------------------------------------------------------------


@pytest.mark.parametrize("heartbeat", [PINGED, UNPINGED], ids=["text ping", "protocol ping"])
@in_loop
async def test_half_open_silence_is_found_and_the_connection_made_again(heartbeat: Heartbeat) -> None:
    """A peer that does not even answer pings is dropped without waiting for its goodbye."""
    deaf = asyncio.Event()

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(quote(bid=10.0 + number).decode())
        if number == 0:
            connection.transport.pause_reading()
            await deaf.wait()
            connection.transport.abort()
        await connection.wait_closed()

    clock = ManualClock()
    tape = Tape()
    async with ws_venue(handler) as url:
        async with live_source(TinyProtocol(heartbeat=heartbeat), tape, ws_url=url, clock=clock):
            await tape.until_received(1)
            await advance_until(clock, lambda: bool(tape.controls("disconnected")))
            lost_at = clock.monotonic_ns()
            await advance_until(clock, lambda: len(tape.payloads()) == 2, 0.05)
        deaf.set()
    lost = tape.controls("disconnected")[0]
    assert (lost["code"], lost["reason"]) == (1006, "")
    assert lost["error"].startswith("nothing arrived for 4")
    assert lost["error"].endswith(" s, at most 45 s are normal")
    assert 45 * NS_PER_S <= lost_at <= 50 * NS_PER_S
    pings = tape.payloads(WS_OUT)
    assert pings == ([PINGED.ping_text] * 2 if heartbeat is PINGED else [])


@in_loop
async def test_a_quiet_venue_that_answers_pings_is_kept() -> None:
    """Hours without data are no fault; the pings are on record, and so are the answers."""

    async def handler(connection: ServerConnection, number: int) -> None:
        async for _ in connection:
            await connection.send('{"channel":"pong"}')

    clock = ManualClock()
    tape = Tape()
    async with (
        ws_venue(handler) as url,
        live_source(TinyProtocol(heartbeat=PINGED), tape, ws_url=url, clock=clock),
    ):
        await tape.until_control("connected")
        for count in range(1, 10):
            await advance_until(clock, lambda count=count: len(tape.payloads(WS_OUT)) == count)  # type: ignore[misc]
            await tape.until_received(count)
    assert tape.story.count("connected") == 1
    sent = [frame.ts_mono for frame in tape.frames if frame.kind == WS_OUT]
    assert all(20 <= (after - before) / NS_PER_S <= 22 for before, after in pairwise(sent))


@in_loop
async def test_a_heartbeat_goes_ahead_of_what_the_limits_hold_back() -> None:
    """Two messages a second, two hundred subscriptions waiting: the venue still hears the ping in time."""
    got: list[str] = []

    async def handler(connection: ServerConnection, number: int) -> None:
        async for text in connection:
            got.append(str(text))
            await connection.send("{}")

    clock = ManualClock()
    tape, protocol = Tape(), TinyProtocol(heartbeat=Heartbeat(ping_text=b"ping", interval_s=5, idle_s_max=1000))
    protocol.hello = tuple(b'{"n":%d}' % number for number in range(200))
    limits = type(LIMITS)(connections_max=1, connects_per_minute=10, messages_per_minute=1000, messages_per_second=2)
    async with ws_venue(handler) as url, live_source(protocol, tape, ws_url=url, clock=clock, limits=limits):
        await advance_until(clock, lambda: len(tape.payloads(WS_OUT)) == 40, 0.25)
        assert protocol.streams.get("X", "full") is not None
    sent = [frame for frame in tape.frames if frame.kind == WS_OUT]
    pings = [frame.ts_mono / NS_PER_S for frame in sent if frame.payload == b"ping"]
    assert len(pings) >= 3
    assert all(after - before <= 7 for before, after in pairwise(pings))
    for frame in sent:
        assert sum(1 for other in sent if 0 <= other.ts_mono - frame.ts_mono < NS_PER_S) <= 2
    # What is not a ping left in the order it was asked for.
    texts = [frame.payload for frame in sent if frame.payload != b"ping"]
    assert texts == list(protocol.hello[: len(texts)])


@in_loop
async def test_a_venue_that_drips_is_read_and_kept() -> None:
    """One byte at a time, each of them a sign of life."""

    async def handler(connection: ServerConnection, number: int) -> None:
        for byte in WireFrame(Opcode.TEXT, quote()).serialize(mask=False):
            connection.transport.write(bytes([byte]))
            await asyncio.sleep(0)
        await connection.wait_closed()

    tape = Tape()
    async with ws_venue(handler) as url, live_source(TinyProtocol(), tape, ws_url=url):
        await tape.until_received(1)
    assert tape.payloads() == [quote()]


@in_loop
async def test_a_venue_that_does_not_read_does_not_keep_the_source_from_stopping() -> None:
    """The goodbye is bounded."""
    deaf = asyncio.Event()

    async def handler(connection: ServerConnection, number: int) -> None:
        connection.transport.pause_reading()
        await connection.send(quote().decode())
        await deaf.wait()
        connection.transport.abort()

    tape = Tape()
    async with ws_venue(handler) as url:
        async with live_source(TinyProtocol(), tape, ws_url=url, close_timeout_s=0.1):
            await tape.until_received(1)
        deaf.set()
    assert tape.controls("disconnected") == [
        {
            "event": "disconnected",
            "role": "main",
            "code": 1006,
            "reason": "",
            "error": "the venue did not answer our close",
            "cause": "stop",
        }
    ]


# -- REST --------------------------------------------------------------------------------------------------------


@in_loop
async def test_429_and_500_are_recorded_and_tried_again() -> None:
    """The venue's own pause is kept; every answer is a frame."""
    clock = ManualClock()
    answers = [429, 500, 503, 200]

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        status = answers.pop(0)
        return web.Response(
            status=status, body=b'{"status": %d}' % status, headers={"Retry-After": "9"} if status == 429 else {}
        )

    tape = Tape()
    protocol = TinyProtocol(calls=(RestCall("meta", "POST", "/info", b'{"type":"meta"}', weight=20),))
    async with rest_venue(handler) as url, asyncio.TaskGroup() as group:
        source = live_source(protocol, tape, rest_url=url, clock=clock)
        ready = group.create_task(source.initialize())
        await advance_until(clock, ready.done)
        await source.stop()
    assert tape.story == ["rest_out", "rest_in", "notice", *["rest_out", "rest_in"] * 3]
    statuses = [frame.payload for frame in tape.frames if frame.kind == "rest_in"]
    assert statuses == [b'{"status": %d}' % status for status in (429, 500, 503, 200)]
    asked = [frame.ts_mono for frame in tape.frames if frame.kind == "rest_out"]
    assert asked[1] - asked[0] >= 9 * NS_PER_S
    assert protocol.is_ready


# -- venues that want to be left alone ---------------------------------------------------------------------------


@in_loop
async def test_a_ban_at_the_start_is_waited_out_in_one_silence() -> None:
    """Whoever gives up is started again by a supervisor and asks again: nothing is asked until the ban is over."""
    clock, tape = ManualClock(), Tape()
    asked_at: list[int] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked_at.append(clock.monotonic_ns())
        if clock.monotonic_ns() < 7200 * NS_PER_S:
            return web.Response(status=418, headers={"Retry-After": "7200"})
        return web.Response(body=b"{}")

    calls = tuple(RestCall(f"meta{number}", "GET", f"/meta{number}") for number in range(3))
    limits = dataclasses.replace(LIMITS, ban_s_max=259_200.0)
    async with rest_venue(handler) as url, asyncio.TaskGroup() as group:
        source = live_source(TinyProtocol(calls=calls), tape, rest_url=url, clock=clock, limits=limits)
        ready = group.create_task(source.initialize())
        await advance_until(clock, ready.done, 60.0)
        await source.stop()
    assert [at >= 7200 * NS_PER_S for at in asked_at] == [False, True, True, True]
    assert tape.controls("notice") == [
        {
            "event": "notice",
            "cause": "told_to_wait",
            "host": "127.0.0.1",
            "status": 418,
            "asked_s": 7200.0,
            "waits_s": 7200.0,
        }
    ]


@in_loop
async def test_a_ban_in_a_session_silences_every_request_and_no_stream() -> None:
    """Requests that come meanwhile wait, each once, and go when it is over."""
    clock, tape, protocol = ManualClock(), Tape(), TinyProtocol()
    asked_at: list[int] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked_at.append(clock.monotonic_ns())
        if len(asked_at) == 1:
            return web.Response(status=418, headers={"Retry-After": "7200"})
        return web.Response(body=quote())

    async def speak(connection: ServerConnection, number: int) -> None:
        async for _ in connection:
            await connection.send(quote().decode())

    limits = dataclasses.replace(LIMITS, ban_s_max=259_200.0)
    books = [RestCall(f"book:{number}", "GET", f"/book/{number}") for number in range(10)]
    async with rest_venue(handler) as rest_url, ws_venue(speak) as url:
        options: dict[str, Any] = {"ws_url": url, "rest_url": rest_url, "clock": clock, "limits": limits}
        async with live_source(protocol, tape, **options) as source:
            protocol.due_requests = [books[0]]
            await advance_until(clock, lambda: bool(tape.controls("request_failed")))
            with pytest.raises(RequestFailed, match=r"127\.0\.0\.1 wants to be left alone for another 7\d\d\d s"):
                await source.get_snapshot("X-USD")
            for number in range(30):
                protocol.due_requests = [*books, SendText(0, b'{"n":%d}' % number)]
                await advance_until(clock, lambda number=number: len(tape.payloads()) > number, 20.0)  # type: ignore[misc]
            assert len(asked_at) == 1
            await advance_until(clock, lambda: len(asked_at) == 11, 60.0)
    assert all(at - asked_at[0] >= 7200 * NS_PER_S for at in asked_at[1:])


@pytest.mark.parametrize(
    ("headers", "waits_s"),
    [({"Retry-After": "86400"}, 3600), ({"Retry-After": "999999999999"}, 3600), ({"Retry-After": "90"}, 90)],
)
@in_loop
async def test_a_refused_handshake_silences_every_connection_for_a_bounded_time(
    headers: dict[str, str], waits_s: int
) -> None:
    """Up to the longest ban that is documented, else an hour; it says how long, and it does not give up."""
    clock, tape = ManualClock(), Tape()
    asked_at: list[int] = []

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        asked_at.append(clock.monotonic_ns())
        if len(asked_at) > 1:
            return None
        response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "no")
        for name, value in headers.items():
            response.headers[name] = value
        return response

    limits = dataclasses.replace(LIMITS, connects_per_minute=1)
    async with (
        ws_venue(listen, process_request=refuse) as url,
        live_source(TinyProtocol("a", "b", "c"), tape, ws_url=url, clock=clock, limits=limits),
    ):
        await advance_until(clock, lambda: len(tape.controls("connected")) == 3, 10.0)
    assert waits_s <= (asked_at[1] - asked_at[0]) / NS_PER_S <= waits_s + 120
    (notice,) = tape.controls("notice")
    assert (notice["cause"], notice["waits_s"]) == ("told_to_wait", waits_s)


@in_loop
async def test_a_venue_that_refuses_every_handshake_is_asked_less_and_less_and_not_given_up() -> None:
    """HTTP 429 without a time: three attempts and an exit would be three attempts every few seconds."""
    clock, tape = ManualClock(), Tape()
    asked_at: list[int] = []

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        asked_at.append(clock.monotonic_ns())
        return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "no") if len(asked_at) < 9 else None

    async with (
        ws_venue(listen, process_request=refuse) as url,
        live_source(TinyProtocol(), tape, ws_url=url, clock=clock, backoff_s_max=30.0),
    ):
        await advance_until(clock, lambda: bool(tape.controls("connected")), 0.5)
    pauses = [after - before for before, after in pairwise(asked_at)]
    assert sum(pauses[-3:]) > 4 * sum(pauses[:3])


@in_loop
async def test_a_request_that_waits_is_not_asked_for_twice() -> None:
    """The limit lets one through a minute; a protocol that loses patience earlier must not fill the queue."""
    clock, tape, protocol = ManualClock(), Tape(), TinyProtocol()
    books = [RestCall(f"book:{number}", "GET", f"/book/{number}", weight=10) for number in range(20)]
    paths: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        paths.append(request.raw_path)
        return web.Response(body=quote())

    limits = dataclasses.replace(LIMITS, rest_weight_per_minute=10)
    async with rest_venue(handler) as rest_url, ws_venue(listen) as url:
        options: dict[str, Any] = {"ws_url": url, "rest_url": rest_url, "clock": clock, "limits": limits}
        async with live_source(protocol, tape, **options) as source:
            await tape.until_control("connected")
            while len(paths) < 20:
                protocol.due_requests = [book for book in books if book.path not in paths]
                count = len(paths)
                await advance_until(clock, lambda count=count: len(paths) > count, 5.0)  # type: ignore[misc]
                assert source.status().pending_request_count <= 20
    assert paths == [book.path for book in books]


@in_loop
async def test_a_host_that_serves_both_and_bans_is_left_alone_by_both() -> None:
    """The address is shut out, whatever it asks for."""
    clock, tape, protocol = ManualClock(), Tape(), TinyProtocol(calls=(RestCall("meta", "GET", "/meta"),))
    asked: list[tuple[str, int]] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked.append((request.path, clock.monotonic_ns() // NS_PER_S))
        if request.path == "/ws":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            if sum(path == "/ws" for path, _ in asked) == 1:
                await socket.close(code=1012)
            else:
                await socket.receive()
            return socket
        is_banned = request.path == "/poll" and clock.monotonic_ns() < 1000 * NS_PER_S
        return web.Response(status=418 if is_banned else 200, headers={"Retry-After": "1500"}, body=b"{}")

    async with rest_venue(handler) as url:
        source = live_source(protocol, tape, rest_url=url, ws_url=url.replace("http", "ws") + "/ws", clock=clock)
        async with asyncio.TaskGroup() as group:
            ready = group.create_task(source.initialize())
            await advance_until(clock, ready.done)
        source._carry_out([RestCall("poll", "GET", "/poll")])
        await source.start()
        await advance_until(clock, lambda: len(tape.controls("connected")) == 2, 10.0)
        await source.stop()
    (poll_at,) = [at for path, at in asked if path == "/poll" and at < 1000]
    first, second = (at for path, at in asked if path == "/ws")
    assert first >= poll_at + 1500 or second >= poll_at + 1500


@pytest.mark.parametrize("retry_after", ["0", "Wed, 15 Nov 2000 06:13:20 GMT"])
@in_loop
async def test_a_wish_to_be_asked_at_once_is_not_taken_at_its_word(retry_after: str) -> None:
    """A venue that refuses and says 0 would be asked without end."""
    clock, tape = ManualClock(), Tape()
    asked_at: list[int] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked_at.append(clock.monotonic_ns())
        status = 429 if len(asked_at) < 10 else 200
        return web.Response(status=status, headers={"Retry-After": retry_after}, body=b"{}")

    async with rest_venue(handler) as url, asyncio.TaskGroup() as group:
        protocol = TinyProtocol(calls=(RestCall("meta", "GET", "/meta"),))
        source = live_source(protocol, tape, rest_url=url, clock=clock, backoff_s_max=30.0)
        ready = group.create_task(source.initialize())
        await advance_until(clock, ready.done, 0.25)
        await source.stop()
    pauses = [after - before for before, after in pairwise(asked_at)]
    assert sum(pauses[-3:]) > 4 * sum(pauses[:3])


@in_loop
async def test_an_address_that_serves_nobody_is_passed_over_and_not_begun_with_again() -> None:
    """The first of two takes connections and says nothing; a lost connection is made to the second at once."""
    dead_count = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dead_count
        dead_count += 1
        await reader.read()

    async def handler(connection: ServerConnection, number: int) -> None:
        await connection.send(quote().decode())
        if number < 2:
            await connection.close(1012)
        await connection.wait_closed()

    tape = Tape()
    async with tcp_venue(silent) as dead, ws_venue(handler) as url:
        alive = int(url.rpartition(":")[2])

        async def resolve(*args: Any, **options: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (dead, alive)]

        asyncio.get_running_loop().getaddrinfo = resolve  # type: ignore[method-assign]  # the edge: the resolver
        async with live_source(TinyProtocol(), tape, ws_url="ws://venue.test", open_timeout_s=0.5):
            await tape.until_received(3)
    assert dead_count == 1
    assert tape.story.count("connect_failed") == 1
