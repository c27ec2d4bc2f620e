"""
SOCKS proxies: a connection that somebody else makes for us, under either transport.

What is spoken to the proxy is a library's (`python-socks`, and `aiohttp-socks` around it), loaded only where one is named.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from toolkit.errors import ConnectFailed
from toolkit.transport.failures import connect_error, one_line
from toolkit.transport.urls import PORTS, is_socks, public_url, without_secrets

__all__ = ["socks_connector", "socks_socket"]

#: What the library calls a scheme, and whether the proxy resolves the names.
_SCHEMES: Final = {"socks4": ("socks4", False), "socks4a": ("socks4", True), "socks5": ("socks5", False)} | {
    "socks5h": ("socks5", True)
}


async def socks_socket(proxy: str, url: str) -> socket.socket:
    """A socket connected to the host of a URL by a SOCKS proxy. Raises ConnectFailed."""
    from python_socks.async_.asyncio import Proxy

    assert is_socks(proxy), "others are spoken to in HTTP"
    parts = urlsplit(url)
    plain, is_remote = _spelled(proxy)
    try:
        # The caller's deadline counts; the library's own would be another one.
        return await Proxy.from_url(plain, rdns=is_remote).connect(
            parts.hostname or "", parts.port or PORTS[parts.scheme], timeout=None
        )
    except Exception as exc:
        raise _failed(exc, proxy, public_url(url)) from exc


def socks_connector(proxy: str, base_url: str, tls: ssl.SSLContext) -> aiohttp.BaseConnector:
    """How REST reaches a host by a SOCKS proxy; what fails on the way is a ConnectFailed."""
    from aiohttp_socks import ProxyConnector

    class Connector(ProxyConnector):
        async def _connect_via_proxy(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return await super()._connect_via_proxy(*args, **kwargs)
            except Exception as exc:
                raise _failed(exc, proxy, public_url(base_url)) from exc

    plain, is_remote = _spelled(proxy)
    return Connector.from_url(plain, rdns=is_remote, ssl=tls)


def _spelled(proxy: str) -> tuple[str, bool]:
    scheme, _, rest = proxy.partition("://")
    plain, is_remote = _SCHEMES[scheme.lower()]
    return f"{plain}://{rest}", is_remote


def _failed(exc: Exception, proxy: str, shown: str) -> Exception:
    """What to raise for what the library raised."""
    if isinstance(exc, TimeoutError):
        return exc  # a deadline, which the caller tells
    if not type(exc).__module__.startswith("python_socks"):
        return ConnectFailed(connect_error(shown, exc)) if isinstance(exc, OSError) else exc
    why = without_secrets(one_line(exc), proxy)
    return ConnectFailed(f"{shown}: the SOCKS proxy {public_url(proxy)} does not let us through ({why}); check it")
