"""Several venues in one session: what befalls one is no matter of the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection

from tests.toolkit.live_harness import (
    LIMITS,
    Tape,
    TinyProtocol,
    advance_until,
    in_loop,
    live_source,
    quote,
    rest_venue,
    unused_port,
    ws_venue,
)
from toolkit.clock import NS_PER_S, ManualClock
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import BackpressureError, ConnectFailed, RequestFailed, SymbolError, TickdeckError
from toolkit.frames import WS_IN, Frame
from toolkit.live import Fleet, LiveDataSource, SourceState
from toolkit.live.capture import Capture
from toolkit.messages import Message
from toolkit.protocol import RestCall
from toolkit.transport.limits import VenueBudget

META = RestCall("meta", "GET", "/meta")


class Good(TinyProtocol):
    venue: ClassVar[str] = "good"


class Bad(TinyProtocol):
    """Lists what it is told by `/meta`: nothing while that says so."""

    venue: ClassVar[str] = "bad"

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        if context["status"] == 200 and frame.payload == b'"unlisted"':
            self.failure = SymbolError("the venue lists no 'X', expected one of Y")
            return []
        return super()._on_rest(frame, context)


async def speak(connection: ServerConnection, number: int) -> None:
    await connection.send(quote().decode())
    await connection.wait_closed()


class Session:
    """A fleet over one tape, with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_800_000_000 * NS_PER_S)
        self.tape = Tape()
        self.log: list[str] = []
        self.capture = Capture(sink=self.tape, clock=self.clock)
        self.dispatcher = MessageDispatcher()
        self.urls: dict[str, dict[str, Any]] = {}
        self.protocols: dict[str, TinyProtocol] = {"good": Good(), "bad": Bad(calls=(META,))}

    def fleet(self, *venues: str, is_patient: bool = False) -> Fleet:
        factories: dict[str, Callable[[bool], LiveDataSource]] = {}
        for venue in venues:
            budget = VenueBudget(LIMITS, self.clock)

            def make(is_patient: bool, venue: str = venue, budget: VenueBudget = budget) -> LiveDataSource:
                return live_source(
                    self.protocols[venue],
                    self.tape,
                    capture=self.capture,
                    dispatcher=self.dispatcher,
                    budget=budget,
                    wait_for_venue=is_patient,
                    **self.urls[venue],
                )

            factories[venue] = make
        return Fleet(factories, clock=self.clock, log=self.log.append, is_patient=is_patient, seed=1)

    def received(self, venue: str) -> int:
        return sum(frame.kind == WS_IN and frame.venue == venue for frame in self.tape.frames)


@asynccontextmanager
async def running(fleet: Fleet) -> AsyncIterator[asyncio.Task[None]]:
    """The fleet's `run` as a task that is cancelled at the end, as a recorder does."""
    task = asyncio.get_running_loop().create_task(fleet.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
            await task
        await fleet.stop()


@pytest.mark.parametrize("is_patient", [True, False])
@pytest.mark.parametrize("order", [("bad", "good"), ("good", "bad")])
@in_loop
async def test_a_venue_that_is_down_at_the_start_keeps_no_other_from_being_recorded(
    is_patient: bool, order: tuple[str, str]
) -> None:
    """The status says which and why; once it is up it is recorded too."""
    session, is_up = Session(), False

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"{}") if is_up else web.Response(status=500)

    async with ws_venue(speak) as url, rest_venue(answer) as rest_url:
        session.urls = {"good": {"ws_url": url}, "bad": {"ws_url": url, "rest_url": rest_url}}
        fleet = session.fleet(*order, is_patient=is_patient)
        async with running(fleet):
            await advance_until(session.clock, lambda: session.received("good") == 1, 0.01)
            await advance_until(session.clock, lambda: any(status.last_error for status in fleet.status()), 0.1)
            statuses = {status.venue: status for status in fleet.status()}
            assert statuses["good"].state is SourceState.RUNNING
            assert statuses["bad"].state in (SourceState.WAITING, SourceState.STARTING)
            assert "HTTP 500" in statuses["bad"].last_error
            is_up = True
            await advance_until(session.clock, lambda: session.received("bad") == 1, 1.0)
            assert [status.state for status in fleet.status()] == [SourceState.RUNNING] * 2
    assert fleet.never_begun() == []


@in_loop
async def test_a_venue_whose_sockets_refuse_keeps_no_other_from_being_recorded() -> None:
    """REST is up, the WebSocket is not, for as long as it takes."""
    session = Session()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"{}")

    async with ws_venue(speak) as url, rest_venue(answer) as rest_url, unused_port() as port:
        session.urls = {
            "good": {"ws_url": url},
            "bad": {"ws_url": f"ws://127.0.0.1:{port}", "rest_url": rest_url},
        }
        fleet = session.fleet("bad", "good")
        async with running(fleet):
            await advance_until(session.clock, lambda: len(session.log) == 1, 0.1)
            assert "connection refused" in session.log[0]
            session.urls["bad"]["ws_url"] = url
            await advance_until(session.clock, lambda: session.received("bad") == 1, 1.0)
            assert session.received("good") == 1


@in_loop
async def test_a_verdict_is_asked_for_again_and_forgotten_where_a_replay_forgets_it() -> None:
    """A pair that is not listed today may be tomorrow; the frame that says so is in the recording."""
    session, is_listed = Session(), False
    live: list[Message] = []
    session.dispatcher.add_callback(live.append)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"{}" if is_listed else b'"unlisted"')

    async with ws_venue(speak) as url, rest_venue(answer) as rest_url:
        session.urls = {"good": {"ws_url": url}, "bad": {"ws_url": url, "rest_url": rest_url}}
        fleet = session.fleet("good", "bad")
        async with running(fleet):
            await advance_until(session.clock, lambda: len(session.log) == 1, 0.1)
            assert session.log[0].startswith("bad: the venue lists no 'X', expected one of Y; tried again in 60 s")
            assert [str(failure) for failure in fleet.never_begun()] == ["the venue lists no 'X', expected one of Y"]
            is_listed = True
            await advance_until(session.clock, lambda: session.received("bad") == 1, 5.0)
            assert session.received("good") == 1
    assert fleet.never_begun() == []
    assert session.tape.story.count("restart") == 1
    replayed = {"good": Good(), "bad": Bad(calls=(META,))}
    assert [message for frame in session.tape.frames for message in replayed[frame.venue].receive(frame)] == live


@in_loop
async def test_where_nobody_can_be_reached_the_session_ends_with_the_reason() -> None:
    """Unless it was told to wait."""
    session = Session()
    session.protocols["good"] = Good(calls=(META,))
    async with unused_port() as port:
        urls = {"ws_url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}
        session.urls = {"good": urls, "bad": urls}
        fleet = session.fleet("good", "bad")
        async with running(fleet) as task:
            await advance_until(session.clock, task.done, 0.1)
            failure = task.exception()
    assert isinstance(failure, BaseExceptionGroup)
    assert isinstance(failure.exceptions[0], ConnectFailed)


@pytest.mark.parametrize(("status", "error"), [(500, RequestFailed), (200, SymbolError)])
@in_loop
async def test_a_venue_alone_fails_at_once(status: int, error: type[TickdeckError]) -> None:
    """Whoever mistyped a pair or a URL wants to know."""
    session = Session()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, body=b'"unlisted"' if status == 200 else b"{}")

    async with rest_venue(answer) as rest_url:
        session.urls = {"bad": {"rest_url": rest_url}}
        fleet = session.fleet("bad")
        async with running(fleet) as task:
            await advance_until(session.clock, task.done, 0.1)
            failure = task.exception()
    assert isinstance(failure, BaseExceptionGroup)
    assert isinstance(failure.exceptions[0], error)


@in_loop
async def test_a_frame_that_could_not_be_written_ends_all_of_them() -> None:
    """After that a recording would not be what was received."""
    session = Session()

    def refuse(message: Message) -> None:
        raise BackpressureError("the disk does not follow")

    session.dispatcher.add_callback(refuse)
    async with ws_venue(speak) as url:
        session.protocols["bad"] = Bad()
        session.urls = {"good": {"ws_url": url}, "bad": {"ws_url": url}}
        fleet = session.fleet("good", "bad")
        async with running(fleet) as task:
            await advance_until(session.clock, task.done, 0.1)
            failure = task.exception()
    assert isinstance(failure, BaseExceptionGroup)
    assert isinstance(failure.exceptions[0], BackpressureError)
