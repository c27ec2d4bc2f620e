"""
The library's WebSocket connection, with a shorter way in for whole messages.

Connecting, TLS, proxies, the handshake, pings and closing are the library's. What it does with a message (an event, a
queue, a task switch for each) costs more than everything that a recording does with it, so whole messages are cut out
of what the socket gives before they get there (`FrameSplitter`) and fetched by the hundred.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import Event, State

from toolkit.transport.splitter import FrameSplitter

__all__ = ["FRAMES_BUFFERED", "VenueConnection"]

#: Messages buffered before reading from the socket pauses; what is beyond waits in the kernel, and then at the venue.
#: No more than these are given to the reader in one turn of the event loop. A reader that keeps up leaves no more in
#: the buffer than one read of the socket brought.
FRAMES_BUFFERED: Final = 1024
#: Bytes that may wait for a peer to read them: a thousand subscriptions are a tenth of it.
UNREAD_BYTES_MAX: Final = 1 << 20
_ANSWER_END: Final = b"\r\n\r\n"


class VenueConnection(ClientConnection):
    """
    A connection whose messages are fetched with `messages` (and not with `recv`).

    Args:
        protocol: The library's, without I/O.
        frame_bytes_max: Longest message; the `max_size` of the protocol.
        options: The library's own.

    Attributes:
        chunk_count: Reads from the socket, of pongs and half frames too: an observer sees that the peer lives.
        refusal: Why we ended it ourselves; empty if we did not.
    """

    def __init__(self, protocol: ClientProtocol, *, frame_bytes_max: int, **options: Any) -> None:
        super().__init__(protocol, **options)
        self.chunk_count = 0
        self.refusal = ""
        self._splitter = FrameSplitter(frame_bytes_max, self._on_other)
        self._is_answered = False
        self._answer_tail = b""
        self._inbox: list[bytes] = []
        self._fragments: bytearray | None = None
        self._goes_on = True
        self._filled: asyncio.Future[None] | None = None
        self._is_held = False
        self._is_lost = False

    async def messages(self) -> list[bytes]:
        """
        At least one message, and those that came with it, exactly as they arrived.

        Raises ConnectionClosed when the connection is over and every message was given. Safe to cancel.
        """
        if self._inbox:
            await asyncio.sleep(0)  # more than one turn's worth came at once: others have their turn first
        while not self._inbox:
            if self._is_lost:
                await self.recv(decode=False)  # nothing ever comes this way: it raises how the connection ended
            self._filled = self.loop.create_future()
            try:
                await self._filled
            finally:
                self._filled = None
        inbox = self._inbox
        if len(inbox) <= FRAMES_BUFFERED:
            self._inbox = []
            if self._is_held:
                self._is_held = False
                self.transport.resume_reading()
            return inbox
        turn = inbox[:FRAMES_BUFFERED]
        del inbox[:FRAMES_BUFFERED]
        return turn

    # -- what asyncio calls ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Cut out whole messages; everything else is the library's."""
        self.chunk_count += 1
        if not self._is_answered:
            data = self._answered(data)
            if not data:
                return
        inbox = self._inbox
        waiting = len(inbox)
        self._splitter.feed(data, inbox)
        if inbox:
            self._wake()
            # One read's worth that the reader has not come round to yet is no reason.
            if waiting and len(inbox) > FRAMES_BUFFERED and not self._is_held:
                self._is_held = True
                self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader, who has what came before first."""
        super().connection_lost(exc)
        self._is_lost = True
        self._wake()

    # -- what the library calls --------------------------------------------------------------------------------

    def process_event(self, event: Event) -> None:
        """Put fragments together; a message that came in them is one like any other."""
        if isinstance(event, Frame):
            self._goes_on = event.opcode is not Opcode.CLOSE
            if event.opcode in DATA_OPCODES:
                # The protocol counts their bytes against the limit.
                self._fragments = self._fragments or bytearray()
                self._fragments += event.data
                if event.fin:
                    self._inbox.append(bytes(self._fragments))
                    self._fragments = None
                return
        super().process_event(event)

    # -- in between --------------------------------------------------------------------------------------------

    def _on_other(self, data: bytes) -> bool:
        self._goes_on = False
        super().data_received(data)
        # Each ping is answered, and a peer that sends them without end and reads nothing would fill our memory.
        if self.transport.get_write_buffer_size() > UNREAD_BYTES_MAX and not self.refusal:
            self.refusal = f"the venue read nothing of {UNREAD_BYTES_MAX >> 10} KiB that we answered to its pings"
            self.transport.abort()
        if not self._goes_on:
            # It was a close frame, or the library refused it: what follows is discarded there.
            self._splitter.pass_on()
        return self._fragments is None

    def _answered(self, data: bytes) -> bytes:
        """Give the answer to the handshake to the library, and return what came after it."""
        seen = self._answer_tail + data
        end = seen.find(_ANSWER_END)
        if end < 0:
            self._answer_tail = seen[1 - len(_ANSWER_END) :]
            super().data_received(data)
            return b""
        end += len(_ANSWER_END) - len(self._answer_tail)
        self._is_answered = True
        super().data_received(data[:end])
        if self.protocol.state is not State.OPEN:
            self._splitter.pass_on()  # no WebSocket: the rest is the body of some other answer
        return data[end:]

    def _wake(self) -> None:
        if self._filled is not None and not self._filled.done():
            self._filled.set_result(None)
