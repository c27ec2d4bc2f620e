"""URLs of venues: what is one, which is this machine, and which proxy the environment wants between."""

from __future__ import annotations

import ipaddress
import urllib.request
from urllib.parse import urlsplit

from toolkit.errors import ConfigError

__all__ = ["REST_SCHEMES", "WS_SCHEMES", "check_url", "is_loopback", "proxy_for"]

WS_SCHEMES = ("ws", "wss")
REST_SCHEMES = ("http", "https")


def check_url(url: str, schemes: tuple[str, ...]) -> str:
    """The URL itself, if it has a host and one of the schemes. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        if parts.scheme in schemes and parts.hostname and parts.port != 0:
            return url
    except ValueError:
        pass  # a port that is no number, an IPv6 address without its end
    raise ConfigError(
        f"{url!r} is no URL of that kind, expected {' or '.join(schemes)}://host[:port][/path]; check the option"
    )


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(url: str) -> str | None:
    """The proxy the environment names for this http(s) URL; never one for this machine itself."""
    parts = urlsplit(url)
    if is_loopback(url) or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    return urllib.request.getproxies().get(parts.scheme)
