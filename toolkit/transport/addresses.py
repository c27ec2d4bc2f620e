"""A host has several addresses, and one of them may be dead: all are tried, a little after one another (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from typing import Final
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from toolkit.transport.urls import PORTS, is_ip_address

__all__ = ["NEXT_ADDRESS_S", "connect_socket"]

#: The next address is tried after this, while the one before it may still answer (RFC 8305, 5).
NEXT_ADDRESS_S: Final = 0.25


async def connect_socket(url: str, *, first: int = 0) -> socket.socket:
    """
    A TCP connection to the host of a URL, to whichever of its addresses answers.

    `first` says with which of them to begin: an address may take connections and serve none, so who was not served
    begins with the next one. Raises OSError with what the last one said. Safe to cancel.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    if is_ip_address(host):
        # Nothing to ask the resolver, whose thread would take a turn or several.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    else:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    start = first % len(found)
    # Of both families in turn, if there are both: it is mostly one of them that is broken as a whole.
    return await start_connection(found[start:] + found[:start], happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1)
