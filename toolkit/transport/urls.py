"""URLs of venues: what is one, which is this machine, what of it is secret, and which proxy lies between."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from toolkit.errors import ConfigError

__all__ = [
    "HIDDEN",
    "PORTS",
    "REST_SCHEMES",
    "WS_SCHEMES",
    "check_url",
    "is_ip_address",
    "is_loopback",
    "is_same_host",
    "is_socks",
    "join_url",
    "proxy_for",
    "public_url",
    "without_secrets",
]

WS_SCHEMES = ("ws", "wss")
REST_SCHEMES = ("http", "https")
#: `h` and `a`: the proxy resolves the names of hosts.
SOCKS_SCHEMES: Final = ("socks4", "socks4a", "socks5", "socks5h")
PORTS: Final = {"ws": 80, "http": 80, "wss": 443, "https": 443}
#: What stands for a secret.
HIDDEN: Final = "***"
#: User and password of a URL within a text, wherever a library puts it.
_USER: Final = re.compile(r"(?<=://)[^/?#\s@]*@")
#: A part of a path that names nothing: a key, as providers of nodes put it there.
_KEY: Final = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[\w.~%-]{20,}")
#: Shorter secrets would be replaced in words that have nothing to do with them.
_SECRET_CHARS_MIN: Final = 4


def check_url(url: str, schemes: tuple[str, ...]) -> str:
    """The URL itself, if it has a host and one of the schemes. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        if parts.scheme in schemes and parts.hostname and parts.port != 0:
            return url
    except ValueError:
        pass  # a port that is no number, an IPv6 address without its end
    raise ConfigError(
        f"{public_url(url)!r} is no URL of that kind, expected {' or '.join(schemes)}://host[:port][/path]; check the option"
    )


def join_url(base: str, path: str) -> str:
    """A path (with its query, if it has one) below a base URL, whose own query stays one."""
    if not path:
        return base
    parts = urlsplit(base)
    path, _, query = path.partition("?")
    joined = f"{parts.path.rstrip('/')}/{path.lstrip('/')}"
    return urlunsplit((parts.scheme, parts.netloc, joined, "&".join(filter(None, (query, parts.query))), ""))


def public_url(url: str) -> str:
    """
    The URL without what may be a secret: user and password, values of the query, keys within the path.

    That is what is recorded, logged and said in errors.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return _USER.sub(f"{HIDDEN}@", url).partition("?")[0]
    _, at, host = parts.netloc.rpartition("@")
    netloc = f"{HIDDEN}@{host}" if at else host
    path = "/".join(HIDDEN if _KEY.fullmatch(part) else part for part in parts.path.split("/"))
    query = "&".join(_public_pair(pair) for pair in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def _public_pair(pair: str) -> str:
    key, equals, _ = pair.partition("=")
    return f"{key}={HIDDEN}" if equals else HIDDEN


def without_secrets(text: str, url: str = "") -> str:
    """A text of somebody else's about that URL, such as a library's error, without what `public_url` hides."""
    if url:
        text = text.replace(url, public_url(url))
        for secret in _secrets(url):
            text = text.replace(secret, HIDDEN)
    return _USER.sub(f"{HIDDEN}@", text)


def _secrets(url: str) -> list[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return []
    user, at, _ = parts.netloc.rpartition("@")
    found = [user, *user.split(":", 1)] if at else []
    found += [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
    found += [part for part in parts.path.split("/") if _KEY.fullmatch(part)]
    found += [unquote(secret) for secret in found]
    return sorted({secret for secret in found if len(secret) >= _SECRET_CHARS_MIN}, key=len, reverse=True)


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_ip_address(host) and ipaddress.ip_address(host).is_loopback


def is_ip_address(host: str) -> bool:
    """Whether a host is an address already, and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_same_host(one: str, other: str) -> bool:
    """Whether both lead to the same host and port, so that who is shut out of one is shut out of the other."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.hostname, first.port or PORTS.get(first.scheme)) == (
        second.hostname,
        second.port or PORTS.get(second.scheme),
    )


def proxy_for(url: str) -> str | None:
    """
    The proxy that the environment names for this URL, of a WebSocket or of REST; never one for this machine itself.

    The first of `wss_proxy` (`ws_proxy`, for a URL without TLS), `https_proxy` (`http_proxy`) and `all_proxy` counts, in
    either case, and at last `socks_proxy`; `no_proxy` names exceptions. Raises ConfigError for a proxy that speaks neither
    HTTP nor SOCKS: going around it would show the machine's address to a venue that was not to see it.
    """
    import urllib.request  # a tenth of what the start of a command takes, and few of them ask anybody

    parts = urlsplit(url)
    if is_loopback(url) or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return None
    known = urllib.request.getproxies()
    rest = "https" if parts.scheme in ("wss", "https") else "http"
    for name in dict.fromkeys((parts.scheme, rest, "all", "socks")):
        if proxy := known.get(name):
            return _checked_proxy(f"{name}_proxy", proxy)
    return None


def _checked_proxy(name: str, proxy: str) -> str:
    # Clients take a bare host and port for HTTP.
    full = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(full)
        is_known = parts.scheme in REST_SCHEMES or (parts.scheme in SOCKS_SCHEMES and parts.port is not None)
        if is_known and parts.hostname and parts.port != 0:
            return full
    except ValueError:
        pass
    raise ConfigError(
        f"{name} in the environment is {public_url(full)!r}: expected http://host:port, or socks5://, socks5h://, "
        "socks4:// or socks4a:// with host and port; correct it, or unset it (no_proxy=<host> leaves a host out)"
    )


def is_socks(proxy: str | None) -> bool:
    """Whether a proxy speaks SOCKS."""
    return proxy is not None and urlsplit(proxy).scheme in SOCKS_SCHEMES
