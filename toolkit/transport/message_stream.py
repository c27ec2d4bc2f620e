"""
A WebSocket that is read a message at a time, by a reader that may be slow: little is taken from the socket ahead of it.

For what one of our own processes sends to another. Venues are read through `toolkit/transport/websocket.py`, which is made
for speed and calls back instead.
"""

from __future__ import annotations

import asyncio
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI
from websockets.uri import parse_uri

from toolkit.errors import ConnectFailed
from toolkit.transport.addresses import connect_socket
from toolkit.transport.failures import connect_error, one_line
from toolkit.transport.socks import socks_socket
from toolkit.transport.urls import is_socks, proxy_for, public_url
from toolkit.transport.websocket import ABNORMAL, Closed, DirectConnect

__all__ = ["MessageSocket", "open_message_socket"]


class MessageSocket:
    """One open connection, read by one task."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> bytes | Closed:
        """The next message, text too as it arrived, or how the connection ended. Safe to cancel."""
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed as exc:
            if exc.rcvd is not None:
                return Closed(exc.rcvd.code, exc.rcvd.reason, "")
            if exc.sent is not None:
                return Closed(exc.sent.code, "", f"we closed it: {exc.sent.reason or exc.sent.code}")
            why = one_line(exc.__cause__) if isinstance(exc.__cause__, OSError) else "it ended without a close frame"
            return Closed(ABNORMAL, "", why)

    def drop(self) -> None:
        """End it at once, without a word."""
        self._connection.transport.abort()


async def open_message_socket(
    url: str, *, message_bytes_max: int, messages_buffered: int, open_timeout_s: float
) -> MessageSocket:
    """
    Connect. A longer message ends the connection with code 1009; of those that are not read yet, so many are taken
    from the socket. Raises ConnectFailed.
    """
    shown, proxy = public_url(url), proxy_for(url)
    options: dict[str, Any] = {}
    try:
        parse_uri(url)
        async with asyncio.timeout(open_timeout_s):
            if proxy is not None and is_socks(proxy):
                options["sock"] = await socks_socket(proxy, url)
            elif proxy is None:
                options["sock"] = await connect_socket(url)
            connection = await DirectConnect(
                url,
                compression=None,
                user_agent_header="tickdeck",
                proxy=None if is_socks(proxy) else proxy,
                open_timeout=None,
                ping_interval=None,
                max_size=message_bytes_max,
                max_queue=messages_buffered,
                **options,
            )
    except InvalidStatus as exc:
        status = f"HTTP {exc.response.status_code} {exc.response.reason_phrase}"
        raise ConnectFailed(f"{shown}: {status} instead of a WebSocket; check the URL") from exc
    except TimeoutError as exc:
        raise ConnectFailed(
            f"{shown}: no answer within {open_timeout_s:g} s; check the address and the network"
        ) from exc
    except (InvalidHandshake, InvalidProxy, InvalidURI, UnicodeError) as exc:
        raise ConnectFailed(f"{shown}: it does not speak WebSocket ({one_line(exc, url)}); check the URL") from exc
    except OSError as exc:
        raise ConnectFailed(connect_error(url, exc)) from exc
    return MessageSocket(connection)
