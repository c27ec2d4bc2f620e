"""Names and addresses of a server: which are this machine alone, how they stand in a URL, and which it answers to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection, Iterator
from typing import Final
from urllib.parse import urlsplit

from toolkit.errors import ConfigError

__all__ = ["HostList", "is_everywhere", "is_loopback", "open_to_network", "url_host"]

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
#: Addresses to listen on to which no client can connect.
_EVERYWHERE: Final = frozenset({"", "0.0.0.0", "::"})


def is_everywhere(host: str) -> bool:
    """Whether listening there means every address of the machine."""
    return _plain(host) in _EVERYWHERE


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    host = _plain(host)
    if host in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_host(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets; in place of every address, that of this machine."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


class HostList:
    """
    The names that a server answers to.

    A web page may give a name of its own to this machine's address; its requests then carry that name, and are refused.

    Args:
        host: Address that is listened on.
        allowed: Further names.

    Raises ConfigError for a further name that is none: it would never be that of a request.
    """

    def __init__(self, host: str, allowed: Collection[str] = ()) -> None:
        for name in allowed:
            if not _is_host(_plain(name)):
                raise ConfigError(
                    f"{name!r} is no name of a host; expected such as recorder or 10.0.0.7, without scheme and port"
                )
        names = {*LOOPBACK_NAMES, *allowed}
        if not is_everywhere(host):
            names.add(host)
        if not is_loopback(host):
            names.update(_own_names())
        self._names = frozenset(map(_plain, names))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def has(self, host: str | None, reached: str | None = None) -> bool:
        """
        Whether a request to that host is meant for this server.

        Args:
            host: Host as the request names it, with its port or without; None where it names none.
            reached: The address of ours at which it came.
        """
        name = host_of(host)
        return name is not None and (name in self._names or (reached is not None and name == _plain(reached)))

    def has_origin(self, origin: str, reached: str | None = None) -> bool:
        """The same of the host in an Origin."""
        try:
            name = urlsplit(origin).hostname
        except ValueError:
            return False
        return name is not None and self.has(f"[{name}]" if ":" in name else name, reached)


def host_of(host: str | None) -> str | None:
    """The host of a Host header, without its port; None for what is none."""
    if not host:
        return None
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return None if name is None else _plain(name)


def open_to_network(what: str, host: str, names: HostList) -> str | None:
    """A line of warning, where others than this machine reach what listens there; else None."""
    if is_loopback(host):
        return None
    return (
        f"warning: {what} is open to the network at {host or 'every address'}, without encryption or password; "
        f"it answers to {', '.join(names)}, and to the address that is connected to; --allow-host adds a name"
    )


def _is_host(plain: str) -> bool:
    try:
        ipaddress.ip_address(plain)
    except ValueError:
        return _NAME.fullmatch(plain) is not None
    return True


def _own_names() -> set[str]:
    name = socket.gethostname()
    return {name} if name else set()


def _plain(host: str) -> str:
    """One spelling for a name or an address."""
    host = host.strip("[]").lower().rstrip(".").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
