"""A client's end of a recorder's tee: frames as they were written, and how it ended."""

from __future__ import annotations

import asyncio
from typing import Final

from recordings.following.tee_wire import BatchDecoder, TeeHello, decode_hello
from toolkit.errors import ConnectFailed
from toolkit.frames import Frame
from toolkit.transport.message_stream import MessageSocket, open_message_socket
from toolkit.transport.urls import WS_SCHEMES, check_url
from toolkit.transport.websocket import Closed

__all__ = ["TeeConnection", "describe"]

#: A batch has a mebibyte of payloads, or one frame that is longer; venues limit those to 16.
_BATCH_BYTES_MAX: Final = 64 << 20
#: Batches that wait here unread. What is beyond waits in the recorder's ring, which knows how much that is.
_BATCHES_BUFFERED: Final = 4
_OPEN_S: Final = 5.0


class TeeConnection:
    """
    One connection, opened by `TeeConnection.open`.

    Attributes:
        hello: First line of the recorder, which says what it records.
    """

    def __init__(self, socket: MessageSocket, hello: TeeHello) -> None:
        self._socket = socket
        self._decoder = BatchDecoder()
        self.hello = hello

    @classmethod
    async def open(cls, url: str, begin_seq: int | None = None) -> TeeConnection:
        """
        Ask for the frames from a number on, or for those that come from now on.

        Whether they can be had is in `hello.begin_seq`. Raises ConnectFailed without an answer, ProtocolError if it is
        no tee.
        """
        check_url(url, WS_SCHEMES)
        place = "" if begin_seq is None else f"?from={begin_seq}"
        socket = await open_message_socket(
            url + place,
            message_bytes_max=_BATCH_BYTES_MAX,
            messages_buffered=_BATCHES_BUFFERED,
            open_timeout_s=_OPEN_S,
        )
        try:
            async with asyncio.timeout(_OPEN_S):
                first = await socket.receive()
            if isinstance(first, Closed):
                raise ConnectFailed(f"{url}: it was closed at once ({describe(first)}); try again")
            return cls(socket, decode_hello(first))
        except TimeoutError:
            socket.drop()
            raise ConnectFailed(f"{url}: no hello within {_OPEN_S:g} s; check the URL") from None
        except BaseException:
            socket.drop()
            raise

    async def receive(self) -> list[Frame] | Closed:
        """
        The next frames, or how it ended. Safe to cancel.

        Frames before the one that was asked for may lead. Raises ProtocolError for what is no batch of frames.
        """
        while True:
            message = await self._socket.receive()
            if isinstance(message, Closed):
                return message
            if found := self._decoder.decode(message):
                return found

    def drop(self) -> None:
        """End it at once; a recorder does not mind."""
        self._socket.drop()


def describe(closed: Closed) -> str:
    """How a connection ended, in words."""
    return closed.reason or closed.error or f"code {closed.code}"
