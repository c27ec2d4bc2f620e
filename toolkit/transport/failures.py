"""What went wrong on a network, in one line each, and how long a server asks to be left alone."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

__all__ = ["connect_error", "one_line", "retry_after_s"]


def one_line(exc: BaseException) -> str:
    """What an exception says, without line breaks; its class where it says nothing."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return " ".join(str(exc).split()) or type(exc).__name__


def connect_error(url: str, exc: OSError) -> str:
    """One line about a connection that could not be made: what happened and what to do."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"{url}: its TLS certificate is not trusted ({exc.verify_message}); check the URL, or name its CA file"
    if isinstance(exc, ssl.SSLError):
        return f"{url}: TLS failed ({one_line(exc)}); check that the port speaks TLS"
    if isinstance(exc, ConnectionRefusedError):
        return f"{url}: connection refused, nobody listens there; check the address, or start the venue"
    if isinstance(exc, socket.gaierror):
        return f"{url}: the host's name cannot be resolved ({one_line(exc)}); check the address and the network"
    return f"{url}: cannot connect ({one_line(exc)}); check the address and the network"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """
    Seconds a server asks to be left alone, by its `Retry-After` header; None where it does not, or says nonsense.

    A date in it is read against the server's own `Date`, so that our clock does not matter.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds())
    except (TypeError, ValueError):
        # Not a date, or one with and one without a zone.
        return None
