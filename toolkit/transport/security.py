"""TLS that is always verified, and the one place that decides about proxies."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from toolkit.errors import ConfigError

__all__ = ["is_loopback", "proxy_for", "tls_context"]


def tls_context(ssl_ca: Path | None = None) -> ssl.SSLContext:
    """
    Verify against the system's certificate authorities, and those in the PEM file `ssl_ca` besides.

    Raises ConfigError if the file cannot be read as certificates.
    """
    context = ssl.create_default_context()
    if ssl_ca is not None:
        try:
            context.load_verify_locations(cafile=ssl_ca)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"{ssl_ca} holds no certificates in PEM form ({exc}); check the option") from exc
    return context


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
