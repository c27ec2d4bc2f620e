"""The one way a frame takes: written down, understood, handed on, and what it asks for carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolkit.dispatch import MessageDispatcher
from toolkit.errors import TransportError
from toolkit.frames import CONTROL, WS_IN, Frame, control_payload
from toolkit.live.capture import Capture
from toolkit.messages import Message
from toolkit.protocol import Request, VenueProtocol
from toolkit.timing.clock_jumps import jump_of

__all__ = ["Intake", "SourceStopped"]


class SourceStopped(TransportError):
    """A frame came after the source had stopped: a consequence, never the cause."""


class Intake:
    """
    Takes frames of one venue, each synchronously from the first step to the last, so that no two can interleave.

    Attributes:
        capture: Numbers and writes the frames.
        protocol: Understands them.
        message_count: Messages handed on.
        is_closed: Whether nothing may follow: a frame failed on its way, or the source stopped.
        has_failed: Whether a frame failed on its way: in the sink, the protocol or a callback.
    """

    def __init__(
        self,
        protocol: VenueProtocol,
        capture: Capture,
        dispatcher: MessageDispatcher,
        carry_out: Callable[[list[Request]], None],
    ) -> None:
        self.capture = capture
        self.protocol = protocol
        self.message_count = 0
        self.is_closed = False
        self.has_failed = False
        self._venue = protocol.venue
        self._record: Callable[[str, int, int, str, bytes, str | None], Frame] = capture.record
        self._receive = protocol.receive
        self._requests = protocol.requests
        self._reach = capture.clock.reach
        self._emit = dispatcher.emit
        self._carry_out = carry_out
        self._ts_mono = 0

    def take(
        self, conn_id: int, conn_epoch: int, kind: str, payload: bytes, context: str | None = None
    ) -> list[Message]:
        """
        Take one frame in and return its messages. Raises what the sink and the callbacks raise.

        The order is fixed: the sink has the frame before the protocol sees it, and requests that it gives rise to
        are carried out after all of its messages were handed on.
        """
        try:
            frame = self._record(self._venue, conn_id, conn_epoch, kind, payload, context)
            messages = self._receive(frame)
            if messages:
                if kind == CONTROL and (jump := jump_of(messages[0])) is not None:
                    self.capture.clock.jump(*jump)
                self._reach(messages[0].ts_recv)
                emit = self._emit
                for message in messages:
                    emit(message)
                self.message_count += len(messages)
            requests = self._requests()
            if requests:
                self._carry_out(requests)
        except BaseException:
            self.has_failed = True
            self.close()
            raise
        self._ts_mono = frame.ts_mono
        return messages

    def take_message(self, conn_id: int, conn_epoch: int, payload: bytes) -> int:
        """Take a received message in, as `take` does, and return its `ts_mono`."""
        self.take(conn_id, conn_epoch, WS_IN, payload)
        return self._ts_mono

    def close(self) -> None:
        """Take nothing from now on."""
        self.is_closed = True
        self._record = self._refuse

    def _refuse(
        self, venue: str, conn_id: int, conn_epoch: int, kind: str, payload: bytes, context: str | None
    ) -> Frame:
        raise SourceStopped(f"the live source of {venue} has stopped and takes no more frames; start a new one")

    def control(self, conn_id: int, conn_epoch: int, event: str, **details: Any) -> list[Message]:
        """Take in a frame of our own about something that happened."""
        return self.take(conn_id, conn_epoch, CONTROL, control_payload(event, **details))
