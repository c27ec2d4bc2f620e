"""A WebSocket connection to a venue: bytes as they arrive, and how it ended."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
)
from websockets.frames import CloseCode
from websockets.protocol import State

from toolkit.errors import ConnectFailed
from toolkit.transport.connection import VenueConnection
from toolkit.transport.failures import connect_error, one_line, retry_after_s
from toolkit.transport.urls import is_loopback

__all__ = ["ABNORMAL", "Closed", "WebSocket", "open_websocket"]

#: Code of a connection that ended without a close frame (RFC 6455, 7.1.5).
ABNORMAL: Final = 1006


@dataclass(frozen=True, slots=True)
class Closed:
    """
    How a connection ended.

    Attributes:
        code: The venue's close code; ours, where we refused what it sent (1009: a frame over the limit); else 1006.
        reason: What came with the code.
        error: What went wrong, in words; empty for an orderly close.
    """

    code: int
    reason: str
    error: str


class WebSocket:
    """
    One open connection. One task reads it; others may send, ping and close.

    Pings of the venue are answered by the library while the event loop runs.
    """

    def __init__(self, connection: VenueConnection, url: str) -> None:
        self.url = url
        self._connection = connection
        self._abort_error = ""

    @property
    def is_open(self) -> bool:
        """Whether a message that is sent now can still go out."""
        return self._connection.state is State.OPEN

    @property
    def chunk_count(self) -> int:
        """Grows whenever anything at all arrives."""
        return self._connection.chunk_count

    async def read(self, on_message: Callable[[bytes], None]) -> Closed:
        """
        Call `on_message` with every message, exactly as it arrived, until the connection ends.

        Text is not decoded, so bytes that are no UTF-8 come through as well. Raises what `on_message` raises.
        """
        fetch = self._connection.messages
        try:
            while True:
                for message in await fetch():
                    on_message(message)
        except ConnectionClosed as exc:
            return self._describe(exc)

    async def send(self, text: bytes) -> None:
        """
        Send a text message.

        It is on its way when the first step of this coroutine has run; the rest waits for room in the write buffer.
        A connection that ends meanwhile is reported by `read`, not here.
        """
        try:
            await self._connection.send(text, text=True)
        except ConnectionClosed:
            return

    async def ping(self) -> None:
        """Send the protocol's own ping; its pong counts as a sign of life."""
        try:
            await self._connection.ping()
        except ConnectionClosed:
            return

    async def close(self, reason: str = "") -> Closed:
        """Say goodbye and wait shortly for the answer, then end it in any case. May be called twice."""
        await self._connection.close(CloseCode.NORMAL_CLOSURE, reason[:100])
        code = self._connection.close_code
        return Closed(ABNORMAL if code is None else code, self._connection.close_reason or "", self._abort_error)

    def abort(self, error: str) -> None:
        """End it at once, without a word to a peer that does not listen; `read` returns with `error`."""
        self._abort_error = self._abort_error or error
        self._connection.transport.abort()

    def _describe(self, exc: ConnectionClosed) -> Closed:
        if exc.rcvd is not None:
            return Closed(exc.rcvd.code, exc.rcvd.reason, self._abort_error)
        if self._abort_error:
            return Closed(ABNORMAL, "", self._abort_error)
        if exc.sent is not None and exc.sent.code != CloseCode.NORMAL_CLOSURE:
            # We refused what came: too large (1009), against the protocol (1002), a broken close frame (1007).
            return Closed(exc.sent.code, exc.sent.reason, f"we closed it: {exc.sent.reason or exc.sent.code}")
        if exc.sent is not None:
            return Closed(ABNORMAL, "", "the venue did not answer our close")
        cause = exc.__cause__
        why = one_line(cause) if isinstance(cause, OSError) else "it ended without a close frame"
        return Closed(ABNORMAL, "", why)


async def open_websocket(
    url: str,
    *,
    tls: ssl.SSLContext | None = None,
    frame_bytes_max: int,
    open_timeout_s: float = 10.0,
    close_timeout_s: float = 2.0,
) -> WebSocket:
    """
    Connect; `tls` is used for wss URLs only, and without it the system's authorities are trusted.

    A message longer than `frame_bytes_max` closes the connection with code 1009. Raises ConnectFailed.
    """
    # Compression stays off: the venues in question do not offer it, and it would cost more than the loop around it.
    # The library's own keepalive stays off too: pings are sent by the watchdog, on the clock that it was given.
    options: dict[str, Any] = {"create_connection": partial(VenueConnection, frame_bytes_max=frame_bytes_max)}
    if tls is not None and url.startswith("wss:"):
        options["ssl"] = tls
    try:
        connection = await connect(
            url,
            compression=None,
            user_agent_header="tickdeck",
            proxy=None if is_loopback(url) else True,
            open_timeout=open_timeout_s,
            ping_interval=None,
            close_timeout=close_timeout_s,
            max_size=frame_bytes_max,
            **options,
        )
    except InvalidStatus as exc:
        response = exc.response
        raise ConnectFailed(
            f"{url}: HTTP {response.status_code} {response.reason_phrase} instead of a WebSocket; "
            + ("wait, or open fewer connections" if response.status_code == 429 else "check the URL"),
            retry_after_s=retry_after_s(response.headers),
        ) from exc
    except TimeoutError as exc:
        raise ConnectFailed(f"{url}: no answer within {open_timeout_s:g} s; check the address and the network") from exc
    except (InvalidURI, InvalidProxy) as exc:
        raise ConnectFailed(f"{url}: {one_line(exc)}; check the URL") from exc
    except InvalidHandshake as exc:
        raise ConnectFailed(f"{url}: it does not speak WebSocket ({one_line(exc)}); check the URL") from exc
    except OSError as exc:
        raise ConnectFailed(connect_error(url, exc)) from exc
    assert isinstance(connection, VenueConnection)
    return WebSocket(connection, url)
