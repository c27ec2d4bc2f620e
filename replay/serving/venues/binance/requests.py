"""What clients of Binance may say, and the names of its streams."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from replay.serving.face import Unreadable, read_json
from toolkit.venues.binance.products import Product

__all__ = ["MARKET", "PUBLIC", "Refused", "Request", "Stream", "parse_request", "parse_stream", "route_of"]

PUBLIC = "public"
MARKET = "market"
#: Which route carries a kind of stream.
_ROUTES = {
    "depth": PUBLIC,
    "bookTicker": PUBLIC,
    "trade": PUBLIC,
    "aggTrade": MARKET,
    "markPrice": MARKET,
    "forceOrder": MARKET,
}
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_PARTIAL = re.compile(r"depth(5|10|20)(@(\d+ms))?")
_SUFFIXES = re.compile(r"bookTicker|trade|aggTrade")
_OF_FUTURES = re.compile(r"forceOrder|markPrice(@1s)?")
#: Streams of all symbols, which spot has none of.
_OF_ALL = ("!bookTicker", "!markPrice@arr", "!markPrice@arr@1s", "!forceOrder@arr")
_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")


class Refused(Exception):
    """The venue answers with an error."""

    def __init__(self, code: int, text: str, id: int | str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.id = id


class Stream(NamedTuple):
    """
    A stream that exists.

    Attributes:
        name: Name as subscribed.
        symbol: Upper case; empty for one of all symbols.
        kind: `depth`, `bookTicker`, ...
        detail: Rest of the name after the symbol: `depth@100ms`, `depth20`, ...
        levels: Number of levels of a partial book; 0 for anything else.
    """

    name: str
    symbol: str
    kind: str
    detail: str
    levels: int = 0


class Request(NamedTuple):
    """One well-formed request."""

    method: str
    params: list[Any]
    id: int | str | None


def parse_request(text: str) -> Request:
    """What a client asks for. Raises Refused with the venue's words."""
    try:
        value = read_json(text)
    except Unreadable:
        raise Refused(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(value, dict):
        raise Refused(2, "Invalid request: request must be an object")
    number = value.get("id")
    is_text = isinstance(number, str) and _ID.fullmatch(number)
    is_number = isinstance(number, int) and not isinstance(number, bool) and -(2**63) <= number < 2**63
    if not (number is None or is_number or is_text):
        raise Refused(2, "Invalid request: request ID must be an unsigned integer")
    method = value.get("method")
    if method is None:
        raise Refused(2, f"Invalid request: missing field `method` at line 1 column {len(text)}", number)
    if method not in _METHODS:
        names = ", ".join(f"`{name}`" for name in _METHODS)
        raise Refused(2, f"Invalid request: unknown variant `{method}`, expected one of {names}", number)
    params = value.get("params", [])
    if not isinstance(params, list):
        raise Refused(2, "Invalid request: params must be an array", number)
    if method.endswith("SUBSCRIBE") and not all(isinstance(each, str) for each in params):
        raise Refused(2, "Invalid request: stream name must be a string", number)
    return Request(method, params, number)


def parse_stream(name: str, diffs: Collection[str], product: Product) -> Stream | None:
    """
    The stream of that name; None for one that does not exist, which a client never learns.

    Args:
        name: Name as subscribed; symbols are in lower case.
        diffs: The diff streams that there are.
        product: Market, of the three.
    """
    if name in _OF_ALL and not product.is_spot:
        return Stream(name, "", name[1:].partition("@")[0], name)
    head, _, detail = name.partition("@")
    if not head or head != head.lower():
        return None
    symbol = head.upper()
    if detail in diffs:
        return Stream(name, symbol, "depth", detail)
    partial = _PARTIAL.fullmatch(detail)
    if partial is not None and partial[3] in (None, *product.partial_speeds):
        return Stream(name, symbol, "depth", detail, int(partial[1]))
    if _SUFFIXES.fullmatch(detail) or (_OF_FUTURES.fullmatch(detail) and not product.is_spot):
        return Stream(name, symbol, detail.partition("@")[0], detail)
    return None


def route_of(stream: Stream, product: Product) -> str:
    """The route that carries a stream; on any other it is acknowledged and silent. Only USD-M has more than one."""
    route = _ROUTES[stream.kind]
    return route if route in product.paths else PUBLIC
