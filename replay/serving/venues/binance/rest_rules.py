"""How Binance's REST interface refuses: codes and texts, and the parameters that it checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from replay.serving.face import Reply, as_json

__all__ = ["BOOK_LIMITS", "NOT_FOUND", "SPOT_BOOK_MAX", "Rejected", "invalid_symbol", "missing", "number"]

#: Depths that futures can be asked for.
BOOK_LIMITS: Final = (5, 10, 20, 50, 100, 500, 1000)
#: Deepest book of spot, which gives any number of levels up to that.
SPOT_BOOK_MAX: Final = 5000
NOT_FOUND: Final = Reply(404, b"<html><body><h2>404 Not found</h2></body></html>", "text/html")


class Rejected(Exception):
    """The venue answers with an error: its code, its text, and the HTTP status."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.status = status

    @property
    def body(self) -> bytes:
        """The answer."""
        return as_json({"code": self.code, "msg": str(self)})


def missing(name: str) -> Rejected:
    """A parameter is not there, or is not what it must be."""
    return Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def invalid_symbol() -> Rejected:
    """The venue lists no such symbol."""
    return Rejected(-1121, "Invalid symbol.")


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """A parameter that counts something. Raises Rejected."""
    value = query.get(name)
    if value is None:
        return default
    if not value.isdecimal() or len(value) > 18:
        raise missing(name)
    return int(value)
