"""Carries out the REST requests of a protocol and feeds it the answers, each of them recorded."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from toolkit.errors import BackpressureError, ConnectFailed, TransportError
from toolkit.frames import REST_IN, REST_OUT
from toolkit.live.failure_notes import FailureNotes
from toolkit.live.intake import Intake
from toolkit.messages import Message
from toolkit.protocol import RestCall
from toolkit.transport.rest import RestClient, RestResponse

__all__ = ["RestDesk"]

#: REST belongs to no connection.
NO_CONNECTION = -1
#: More requests than this that wait mean a protocol that asks without end.
PENDING_MAX = 10_000

_encode_context = msgspec.json.Encoder(order="sorted").encode


class RestDesk:
    """
    Requests in the order they were asked for, and workers that make them.

    Attributes:
        client: The venue's REST interface.
    """

    def __init__(self, client: RestClient, intake: Intake) -> None:
        self.client = client
        self._intake = intake
        self._pending: deque[RestCall] = deque()
        self._arrival = asyncio.Event()
        self._notes = FailureNotes()

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, call: RestCall) -> None:
        """Ask for a request. Raises BackpressureError when far too many wait already."""
        if len(self._pending) >= PENDING_MAX:
            raise BackpressureError(
                f"{PENDING_MAX:,} REST requests wait, the next is {call.tag!r}: the venue's limits do not allow so many; "
                "ask for fewer pairs"
            )
        self._pending.append(call)
        self._arrival.set()

    async def drain(self, *, is_patient: bool) -> None:
        """
        Make every waiting request, one after the other, and those that their answers give rise to.

        Stops at the protocol's verdict that the venue cannot be recorded, and raises it. A request that got no usable
        answer is raised at the end, if the protocol could not do without it; a venue that nobody can reach at once,
        unless `is_patient`: then it is tried until it answers.
        """
        failed: TransportError | None = None
        protocol = self._intake.protocol
        while self._pending:
            try:
                await self.perform(self._pending.popleft(), is_patient=is_patient)
            except ConnectFailed:
                raise
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
                await self.perform(self._pending.popleft())
            except TransportError:
                # `perform` has recorded it as `request_failed`.
                continue

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
            context.update(id=intake.capture.next_seq, attempt=attempt)
            intake.take(NO_CONNECTION, 0, REST_OUT, call.body, _encode_context(context).decode())

        def answered(attempt: int, response: RestResponse) -> None:
            self._notes.over()
            full = _encode_context({**context, "status": response.status}).decode()
            messages.extend(intake.take(NO_CONNECTION, 0, REST_IN, response.body, full))

        def unanswered(attempt: int, error: TransportError) -> None:
            if is_patient and self._notes.is_news(str(error), intake.capture.clock.monotonic_ns()):
                self._record_failure(call, attempt, error)

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
            )
        except TransportError as exc:
            if not intake.is_closed:
                self._record_failure(call, int(context.get("attempt", 0)), exc)
            raise
        return messages

    def _record_failure(self, call: RestCall, attempt: int, error: TransportError) -> None:
        self._intake.control(NO_CONNECTION, 0, "request_failed", tag=call.tag, attempts=attempt, error=str(error))
