"""How dYdX v4's REST interface refuses, and the parameters that it checks: paths below `/v4`, all of them GET."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from replay.serving.face import as_json

__all__ = ["PREFIX", "ROWS_MAX", "Query", "Refused", "errors", "no_ticker", "not_found", "number", "page"]

PREFIX: Final = "/v4/"
#: Rows of one answer, at most and by default.
ROWS_MAX: Final = 1000

Query = Mapping[str, str]


class Refused(Exception):
    """The venue answers with an error: an HTTP status and its text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def errors(text: str) -> bytes:
    """The body of an error."""
    return as_json({"errors": [{"msg": text}]})


def not_found(text: str = "Not Found") -> Refused:
    """There is no such thing."""
    return Refused(404, text)


def no_ticker() -> Refused:
    """A market that the venue does not list."""
    return Refused(400, "ticker must be a valid ticker (BTC-USD, etc)")


def number(query: Query, name: str, default: int) -> int:
    """A parameter that counts something. Raises Refused."""
    value = query.get(name)
    if value is None:
        return default
    if not value.isdecimal() or len(value) > 18:
        raise Refused(400, f"{name} must be a non-negative integer")
    return int(value)


def page(rows: list[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    """The rows of the page that is asked for. Raises Refused."""
    limit = number(query, "limit", ROWS_MAX)
    if not 1 <= limit <= ROWS_MAX:
        raise Refused(400, f"limit must be a positive integer that is not greater than max: {ROWS_MAX}")
    first = (max(1, number(query, "page", 1)) - 1) * limit
    return rows[first : first + limit]
