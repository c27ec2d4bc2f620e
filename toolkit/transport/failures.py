"""What went wrong on a network, in one line each, and how long a server asks to be left alone."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from toolkit.transport.urls import public_url, without_secrets

__all__ = ["TOO_MUCH", "UNTIMED_BAN_S", "RetryAfter", "asked_pause_s", "connect_error", "one_line", "retry_after_s"]

#: Statuses that say "too much": 429 everywhere, 418 where a venue has banned the address for not minding its 429s.
TOO_MUCH: Final = frozenset({418, 429})
#: Statuses whose `Retry-After` is a wish to be left alone: those, a firewall's refusal, and whatever ails the venue.
_WAITABLE: Final = TOO_MUCH | {403}
#: A ban that does not say how long it lasts, seconds: the shortest that a venue documents (Binance).
UNTIMED_BAN_S: Final = 120.0
#: Binance names the end of a ban in its text: "IP banned until 1659146400000", in ms.
_BANNED_UNTIL: Final = re.compile(rb"banned until (\d{13})\b")


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """
    A venue wants to be left alone.

    Attributes:
        host: Host that says so.
        status: HTTP status with which it said so.
        asked_s: Length of the pause that it asked for in its own words, seconds; None where it does not say.
        waits_s: Length of time for which nothing is asked of it, seconds.
    """

    host: str
    status: int
    asked_s: float | None
    waits_s: float


def one_line(exc: BaseException, url: str = "") -> str:
    """What an exception says, without line breaks and the secrets of its URL; its class where it says nothing."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return without_secrets(" ".join(str(exc).split()), url) or type(exc).__name__


def connect_error(url: str, exc: OSError) -> str:
    """One line about a connection that could not be made: what happened and what to do."""
    url = public_url(url)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"{url}: its TLS certificate is not trusted ({exc.verify_message}); check the URL, or name its CA file"
    if isinstance(exc, ssl.SSLError):
        return f"{url}: TLS failed ({one_line(exc)}); check that the port speaks TLS"
    if isinstance(exc, ConnectionRefusedError):
        return f"{url}: connection refused, nothing listens there; check the address, or start the venue"
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


def asked_pause_s(status: int, headers: Mapping[str, str], body: bytes) -> float | None:
    """
    Seconds an answer of that status asks to be left alone; None where it does not.

    The header counts; where there is none, the end of a ban that the text of a refusal names, against the answer's own
    `Date`.
    """
    if status not in _WAITABLE and status < 500:
        return None
    asked_s = retry_after_s(headers)
    if asked_s is None and status in TOO_MUCH and (until := _BANNED_UNTIL.search(body[:1000])):
        try:
            return max(0.0, int(until[1]) / 1000 - parsedate_to_datetime(headers.get("Date", "")).timestamp())
        except (TypeError, ValueError):
            return None
    return asked_s
