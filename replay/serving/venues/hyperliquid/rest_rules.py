"""
The venue's REST face, `POST /info`, sans I/O: a request body in, a status and a reply body out.

Statuses follow the real venue: 400 for what is no JSON, 415 for another content type, 422 for a type or field it does
not know, and 500 with the body `null` for an unknown dex or an unknown coin in `fundingHistory`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from replay.serving.face import Unreadable, as_json, read_json
from replay.serving.venues.hyperliquid.requests import ADDRESS

__all__ = [
    "ROWS_MAX",
    "Handler",
    "InfoDesk",
    "Reply",
    "Unknowable",
    "Unprocessable",
    "VenueFault",
    "between",
    "field",
    "user_of",
]

#: Rows of a time-range reply.
ROWS_MAX: Final = 500

Handler = Callable[[dict[str, Any]], Any]


class Reply(NamedTuple):
    """What goes back: an HTTP status and a body."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Unprocessable(Exception):
    """The request lacks a field, or names a type that the venue does not know: HTTP 422."""


class VenueFault(Exception):
    """A request on which the real venue fails: HTTP 500 with the body `null`."""


class Unknowable(Exception):
    """A request that the venue would answer, and what stands in for it cannot: HTTP 503, with the reason as text."""


def field(request: dict[str, Any], name: str, kind: type, *, optional: bool = False) -> Any:
    """A field of a request, checked; None where an optional one is missing."""
    value = request.get(name)
    if value is None and optional:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Unprocessable(f"missing field `{name}`")
    return value


def user_of(request: dict[str, Any]) -> str:
    """The account that a request names, in lower case."""
    user = field(request, "user", str)
    if not ADDRESS.fullmatch(user):
        raise Unprocessable("user")
    return str(user).lower()


def between(request: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the range of time that a request names; without an `endTime` it has no end."""
    start, end = field(request, "startTime", int), field(request, "endTime", int, optional=True)
    return [row for row in rows if row["time"] >= start and (end is None or row["time"] <= end)]


class InfoDesk:
    """
    Answers `info` requests.

    Attributes:
        handlers: Functions that give the reply, by the request's `type`; it may be `msgspec.Raw` for JSON as it is.
    """

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}

    def handle(self, body: bytes, content_type: str) -> Reply:
        """Answer one HTTP request."""
        if content_type.partition(";")[0].strip().lower() != "application/json":
            return Reply(415, b"Expected request with `Content-Type: application/json`", "text/plain")
        try:
            request = read_json(body)
        except Unreadable:
            return Reply(400, b"Failed to parse the request body as JSON", "text/plain")
        try:
            return Reply(200, as_json(self.answer(request)))
        except Unprocessable:
            return Reply(422, b"Failed to deserialize the JSON body into the target type", "text/plain")
        except VenueFault:
            return Reply(500, b"null")
        except Unknowable as exc:
            return Reply(503, str(exc).encode(), "text/plain")

    def answer(self, request: object) -> Any:
        """
        The reply to a parsed request.

        Raises:
            Unprocessable, VenueFault, Unknowable: as described there.
        """
        if not isinstance(request, dict):
            raise Unprocessable
        handler = self.handlers.get(field(request, "type", str))
        if handler is None:
            raise Unprocessable
        return handler(request)
