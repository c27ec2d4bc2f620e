"""Carries out the REST requests of a protocol and feeds it the answers, each of them recorded."""

from __future__ import annotations

import asyncio

import msgspec

from toolkit.errors import BackpressureError, ConnectFailed, RequestFailed, TransportError
from toolkit.frames import REST_IN, REST_OUT
from toolkit.live.failure_log import FailureNotes, retry_after_fields
from toolkit.live.intake import Intake
from toolkit.messages import Message
from toolkit.protocol import RestCall
from toolkit.transport.failures import RetryAfter
from toolkit.transport.rest import RETRY_AFTER_S_MAX, RestClient, RestResponse

__all__ = ["RestDesk"]

#: REST belongs to no connection.
NO_CONNECTION = -1
#: More requests than this that wait mean a protocol that asks without end.
PENDING_MAX = 10_000

_encode_context = msgspec.json.Encoder(order="sorted").encode


class RestDesk:
    """
    Requests in the order they were asked for, and workers that make them.

    A request is unique until it has left: one that still waits, for its turn or for the venue's limits, answers who
    asks for the same once more. A protocol's patience may well be shorter than the queue.

    Attributes:
        client: The venue's REST interface.
        last_error: Why the last attempt of a request got no usable answer; empty once one has.
    """

    def __init__(self, client: RestClient, intake: Intake) -> None:
        self.client = client
        self._intake = intake
        self._pending: dict[RestCall, None] = {}
        #: Taken from there, but held back by limits, or between two attempts.
        self._held: set[RestCall] = set()
        self._arrival = asyncio.Event()
        self._notes = FailureNotes()
        self._waits = FailureNotes()
        self.last_error = ""

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, call: RestCall) -> None:
        """Ask for a request, unless the same one waits. Raises BackpressureError when far too many wait already."""
        if call in self._pending or call in self._held:
            return
        if len(self._pending) >= PENDING_MAX:
            raise BackpressureError(
                f"{PENDING_MAX:,} REST requests wait, the next is {call.tag!r}: the venue's limits do not allow so many; "
                "ask for fewer pairs"
            )
        self._pending[call] = None
        self._arrival.set()

    def _next(self) -> RestCall:
        call = next(iter(self._pending))
        del self._pending[call]
        return call

    async def drain(self, *, is_patient: bool) -> None:
        """
        Make every waiting request, one after the other, and those that their answers give rise to.

        Stops at the protocol's verdict that the venue cannot be recorded, and raises it. A request that got no usable
        answer is raised at the end, if the protocol could not do without it; a venue that cannot be reached at once,
        unless `is_patient`: then it is tried until it answers. A venue that wants to be left alone is waited for in any
        case: a program that gives up is started again by a supervisor, and asks again too early.
        """
        failed: TransportError | None = None
        protocol = self._intake.protocol
        while self._pending:
            call = self._next()
            try:
                await self.perform(call, is_patient=is_patient)
            except ConnectFailed:
                raise
            except RequestFailed as exc:
                if exc.retry_after_s is None:
                    failed = failed or exc
                else:
                    self.put(call)
            except TransportError as exc:
                failed = failed or exc
            if protocol.failure is not None:
                raise protocol.failure
        if failed is not None and not protocol.is_ready:
            raise failed

    async def work(self) -> None:
        """Make requests as they come, for ever. A failed one is in the recording, for the protocol to act on."""
        while True:
            while not self._pending:
                self._arrival.clear()
                await self._arrival.wait()
            try:
                await self.perform(self._next())
            except TransportError:
                # `perform` has recorded it as `request_failed`.
                continue

    async def ask(self, call: RestCall) -> list[Message]:
        """Make one request for somebody who waits for its answer: as `perform`, but never kept waiting for hours."""
        held_s = self.client.held_s
        if held_s > RETRY_AFTER_S_MAX:
            raise RequestFailed(
                f"{call.method} {call.path}: {self.client.host} wants to be left alone for another {held_s:.0f} s; "
                "ask again after that",
                retry_after_s=held_s,
            )
        return await self.perform(call)

    async def perform(self, call: RestCall, *, is_patient: bool = False) -> list[Message]:
        """
        Make one request now and return the messages of its answers.

        Every attempt is a frame of its own, so is every answer of whatever status. Raises ConnectFailed or
        RequestFailed, after recording it, and what the sink and callbacks raise.
        """
        intake = self._intake
        messages: list[Message] = []
        context: dict[str, str | int] = {"method": call.method, "path": call.path, "tag": call.tag}

        def sent(attempt: int) -> None:
            # The number of the request's own frame names it: unique in the recording, and nothing to remember.
            self._unhold(call)
            context.update(id=intake.capture.next_seq, attempt=attempt)
            intake.take(NO_CONNECTION, 0, REST_OUT, call.body, _encode_context(context).decode())

        def answered(attempt: int, response: RestResponse) -> None:
            if response.is_ok:
                self._notes.over()
                self.last_error = ""
            else:
                self._hold(call)
                self.last_error = f"{self.client.host}: HTTP {response.status} to {call.tag}"
            full = _encode_context({**context, "status": response.status}).decode()
            messages.extend(intake.take(NO_CONNECTION, 0, REST_IN, response.body, full))

        def unanswered(attempt: int, error: TransportError) -> None:
            self._hold(call)
            self.last_error = str(error)
            if is_patient and self._notes.is_news(str(error), intake.capture.clock.monotonic_ns()):
                self._record_failure(call, attempt, error)

        self._hold(call)
        try:
            await self.client.request(
                call.method,
                call.path,
                call.body,
                weight=call.weight,
                is_patient=is_patient,
                on_attempt=sent,
                on_response=answered,
                on_error=unanswered,
                on_retry_after=self._note_silence,
            )
        except TransportError as exc:
            if not intake.is_closed:
                self._record_failure(call, int(context.get("attempt", 0)), exc)
            raise
        finally:
            self._unhold(call)
        return messages

    def _hold(self, call: RestCall) -> None:
        # An attempt that is to come serves who has asked for the same meanwhile.
        self._pending.pop(call, None)
        self._held.add(call)

    def _unhold(self, call: RestCall) -> None:
        self._held.discard(call)

    def _note_silence(self, asked: RetryAfter) -> None:
        """Say for how long the venue is left alone; once for each time that it asks for."""
        if self._intake.is_closed:
            return
        said = f"{asked.host} {asked.status} {asked.asked_s}"
        if self._waits.is_news(said, self._intake.capture.clock.monotonic_ns()):
            self._intake.control(NO_CONNECTION, 0, "notice", **retry_after_fields(asked))

    def _record_failure(self, call: RestCall, attempt: int, error: TransportError) -> None:
        self._intake.control(NO_CONNECTION, 0, "request_failed", tag=call.tag, attempts=attempt, error=str(error))
