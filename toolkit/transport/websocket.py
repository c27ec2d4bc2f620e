"""A WebSocket connection to a venue: bytes as they arrive, and how it ended."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
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
    ProxyError,
)
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from toolkit.errors import ConnectFailed
from toolkit.transport.addresses import NEXT_ADDRESS_S, connect_socket
from toolkit.transport.connection import VenueConnection
from toolkit.transport.failures import TOO_MUCH, asked_pause_s, connect_error, one_line
from toolkit.transport.socks import socks_socket
from toolkit.transport.urls import is_socks, proxy_for, public_url, without_secrets

__all__ = ["ABNORMAL", "CLOSE_TIMEOUT_S", "OPEN_TIMEOUT_S", "Closed", "DirectConnect", "WebSocket", "open_websocket"]

#: Code of a connection that ended without a close frame (RFC 6455, 7.1.5).
ABNORMAL: Final = 1006
#: A peer that takes nothing of what we send for this long is not one to go on with.
SEND_S_MAX: Final = 30.0
#: Unless it is said otherwise: longest wait for a connection, and for the answer to a goodbye.
OPEN_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0


class DirectConnect(connect):
    """
    The library's way to connect, without redirects.

    What another host sends must not be recorded under the first one's name, and a secret in the URL is not for it.
    """

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow none."""
        return exc


@dataclass(frozen=True, slots=True)
class Closed:
    """
    How a connection ended.

    Attributes:
        code: The venue's close code; ours, where we refused what it sent (1009: a frame over the limit); else 1006.
        reason: Text that came with the code.
        error: Failure in words; empty for an orderly close.
    """

    code: int
    reason: str
    error: str


class WebSocket:
    """
    One open connection. One task reads it; others may send, ping and close.

    Pings of the venue are answered by the library while the event loop runs.
    """

    def __init__(self, connection: VenueConnection, *, close_timeout_s: float) -> None:
        self._connection = connection
        self._close_timeout_s = close_timeout_s
        self._abort_error = ""

    @property
    def is_open(self) -> bool:
        """Whether a message that is sent now can still go out."""
        return self._connection.state is State.OPEN

    @property
    def chunk_count(self) -> int:
        """Grows whenever anything at all arrives."""
        return self._connection.chunk_count

    async def read(self, on_message: Callable[[bytes], None], *, before: Callable[[], None] = lambda: None) -> Closed:
        """
        Call `on_message` with every message, exactly as it arrived, until the connection ends.

        `before` is called before those that arrived together.
        Text is not decoded, so bytes that are no UTF-8 come through as well. Raises what `on_message` raises.
        """
        fetch = self._connection.messages
        try:
            while True:
                messages = await fetch()
                before()
                for message in messages:
                    on_message(message)
        except ConnectionClosed as exc:
            return self._describe(exc)

    async def send(self, text: bytes) -> None:
        """
        Send a text message.

        It is on its way when the first step of this coroutine has run; the rest waits for room in the write buffer.
        A connection that ends meanwhile is reported by `read`, not here.
        """
        await self._write(self._connection.send(text, text=True))

    async def ping(self) -> None:
        """Send the protocol's own ping; its pong counts as a sign of life."""
        await self._write(self._connection.ping())

    async def _write(self, writing: Awaitable[Any]) -> None:
        try:
            async with asyncio.timeout(SEND_S_MAX):
                await writing
        except ConnectionClosed:
            return
        except TimeoutError:
            self.abort(f"the venue took nothing of what we sent for {SEND_S_MAX:g} s")

    async def close(self, reason: str = "") -> Closed:
        """Say goodbye and wait shortly for the answer, then end it in any case. May be called twice."""
        try:
            # The library waits for its answer no longer than that, but for room in the write buffer for ever.
            async with asyncio.timeout(2 * self._close_timeout_s):
                await self._connection.close(CloseCode.NORMAL_CLOSURE, _close_reason(reason))
        except TimeoutError:
            self._connection.transport.abort()
            await self._connection.wait_closed()
        code = self._connection.close_code
        return Closed(ABNORMAL if code is None else code, self._connection.close_reason or "", self._abort_error)

    def abort(self, error: str) -> None:
        """End it at once, without a word to a peer that does not listen; `read` returns with `error`."""
        self._abort_error = self._abort_error or error
        self._connection.transport.abort()

    def _describe(self, exc: ConnectionClosed) -> Closed:
        error = self._abort_error or self._connection.refusal
        if exc.rcvd is not None:
            return Closed(exc.rcvd.code, exc.rcvd.reason, error)
        if error:
            return Closed(ABNORMAL, "", error)
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
    open_timeout_s: float = OPEN_TIMEOUT_S,
    close_timeout_s: float = CLOSE_TIMEOUT_S,
    first_address: int = 0,
) -> WebSocket:
    """
    Connect; `tls` is used for wss URLs only, and without it the system's authorities are trusted.

    All addresses of the host are tried, from `first_address` on, the next one while the one before is silent. A message
    longer than `frame_bytes_max` closes the connection with code 1009. A redirect is refused. Raises ConnectFailed, and
    ConfigError for a proxy of the environment that cannot be used.
    """
    # 1. What the connection is like.
    proxy = proxy_for(url)
    shown = public_url(url)
    # Compression stays off: the venues in question do not offer it, and it would cost more than the loop around it.
    # The library's own keepalive stays off too: pings are sent by the watchdog, on the clock that it was given.
    options: dict[str, Any] = {
        "create_connection": partial(VenueConnection, frame_bytes_max=frame_bytes_max),
    }
    if tls is not None and url.startswith("wss:"):
        options["ssl"] = tls
    # 2. A socket, through a proxy or straight, and the handshake on it.
    try:
        parse_uri(url)
        async with asyncio.timeout(open_timeout_s):
            if proxy is not None and is_socks(proxy):
                options["sock"] = await socks_socket(proxy, url)
            elif proxy is None:
                options["sock"] = await connect_socket(url, first=first_address)
            else:
                options["happy_eyeballs_delay"] = NEXT_ADDRESS_S  # the proxy has addresses too
            connection = await DirectConnect(
                url,
                compression=None,
                user_agent_header="tickdeck",
                proxy=None if is_socks(proxy) else proxy,
                open_timeout=None,
                ping_interval=None,
                close_timeout=close_timeout_s,
                max_size=frame_bytes_max,
                **options,
            )
    # 3. Whatever went wrong, as one of our errors with what was found.
    except InvalidStatus as exc:
        raise _refused(shown, exc.response) from exc
    except TimeoutError as exc:
        raise ConnectFailed(
            f"{shown}: no answer within {open_timeout_s:g} s; check the address and the network"
        ) from exc
    except (ProxyError, InvalidProxy) as exc:
        why = without_secrets(one_line(exc), proxy or "")
        raise ConnectFailed(f"{shown}: the proxy does not let us through ({why}); check it") from exc
    except (InvalidURI, UnicodeError) as exc:
        raise ConnectFailed(f"{shown}: {one_line(exc, url)}; check the URL") from exc
    except InvalidHandshake as exc:
        raise ConnectFailed(f"{shown}: it does not speak WebSocket ({one_line(exc, url)}); check the URL") from exc
    except OSError as exc:
        raise ConnectFailed(connect_error(url, exc)) from exc
    assert isinstance(connection, VenueConnection)
    return WebSocket(connection, close_timeout_s=close_timeout_s)


def _refused(shown: str, response: Response) -> ConnectFailed:
    """What to say of an HTTP answer that is no WebSocket."""
    status = response.status_code
    if 300 <= status < 400 and (location := response.headers.get("Location")):
        advice = f"it leads to {public_url(location)}, which is not followed; name that URL if it is the venue's"
    else:
        advice = "wait, or open fewer connections" if status in TOO_MUCH else "check the URL"
    return ConnectFailed(
        f"{shown}: HTTP {status} {response.reason_phrase} instead of a WebSocket; {advice}",
        retry_after_s=asked_pause_s(status, response.headers, bytes(response.body or b"")),
        status=status,
    )


def _close_reason(reason: str) -> str:
    """What fits into a close frame: 123 bytes of UTF-8 (RFC 6455, 5.5)."""
    return reason.encode()[:123].decode("utf-8", "ignore")
