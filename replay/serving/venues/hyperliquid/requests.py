"""
Parsing of what a client sends: which frames the venue understands, refuses, or drops the connection for.

The rules were probed on the real venue (protocol notes, section 2): a bad coin closes the socket without a word.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from replay.serving.face import Unreadable, read_json

__all__ = [
    "ADDRESS",
    "INTERVALS_MS",
    "USER_TYPES",
    "Fatal",
    "ParseFailed",
    "Refused",
    "Request",
    "Subscription",
    "parse",
]

_MINUTE = 60_000
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
#: Length of each candle interval, ms. A month is thirty days here.
INTERVALS_MS = {
    "1m": _MINUTE,
    "3m": 3 * _MINUTE,
    "5m": 5 * _MINUTE,
    "15m": 15 * _MINUTE,
    "30m": 30 * _MINUTE,
    "1h": _HOUR,
    "2h": 2 * _HOUR,
    "4h": 4 * _HOUR,
    "8h": 8 * _HOUR,
    "12h": 12 * _HOUR,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
    "1M": 30 * _DAY,
}

#: Subscriptions that name an account, with the defaults that the venue fills in.
USER_TYPES: dict[str, dict[str, Any]] = {
    "orderUpdates": {},
    "userEvents": {},
    "userFills": {"aggregateByTime": False},
    "userFundings": {},
    "userNonFundingLedgerUpdates": {},
    "userHistoricalOrders": {},
    "clearinghouseState": {"dex": ""},
    "allDexsClearinghouseState": {},
    "openOrders": {"dex": ""},
    "spotState": {},
    "webData3": {},
    "notification": {},
}
_COIN_TYPES = ("l2Book", "bbo", "trades", "activeAssetCtx", "candle")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


class ParseFailed(Exception):
    """Not a request at all: answered with `Error parsing JSON into valid websocket request`."""


class Refused(Exception):
    """A request the venue understands and refuses: the text is what the `error` channel says."""


class Fatal(Exception):
    """A subscription for which the venue drops the whole connection without a word."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription in normal form; `key` (its JSON text) is what makes two of them the same."""

    kind: str
    fields: dict[str, Any]
    key: str

    @property
    def coin(self) -> str:
        """The coin, or "" for a subscription that names none."""
        return str(self.fields.get("coin", ""))

    @property
    def user(self) -> str:
        """The account, in lower case, or "" for market data."""
        return str(self.fields.get("user", ""))

    @property
    def dex(self) -> str:
        """The perp dex asked for, "" for the first one."""
        return str(self.fields.get("dex") or "")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks: `method` is ping, subscribe, unsubscribe or post."""

    method: str
    subscription: Subscription | None = None
    post_id: int = 0
    post: dict[str, Any] | None = None


def parse(frame: str, coins: Collection[str], dexes: Collection[str]) -> Request:
    """
    Understand one text frame.

    Raises:
        ParseFailed, Refused, Fatal: as described there.
    """
    try:
        message = read_json(frame)
    except Unreadable:
        raise ParseFailed from None
    if not isinstance(message, dict):
        raise ParseFailed
    match message.get("method"):
        case "ping":
            return Request("ping")
        case "subscribe" | "unsubscribe" as method:
            return Request(method, _subscription(message.get("subscription"), coins, dexes))
        case "post":
            return _post(message)
        case _:
            raise ParseFailed


def _post(message: dict[str, Any]) -> Request:
    number, request = message.get("id"), message.get("request")
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(request, dict):
        raise ParseFailed
    if request.get("type") not in ("info", "action") or not isinstance(request.get("payload"), dict):
        raise ParseFailed
    return Request("post", post_id=number, post=request)


def _subscription(wanted: object, coins: Collection[str], dexes: Collection[str]) -> Subscription:
    if not isinstance(wanted, dict):
        raise ParseFailed
    kind = wanted.get("type")
    if not isinstance(kind, str):
        raise ParseFailed
    if kind in _COIN_TYPES:
        fields = _coin_fields(kind, wanted)
        if fields["coin"] not in coins:
            raise Fatal(fields["coin"])
    elif kind == "allMids":
        fields = {"type": kind, "dex": _optional(wanted, "dex", str)}
        if (fields["dex"] or "") not in dexes:
            raise Refused(f"Invalid subscription {msgspec.json.encode(fields).decode()}")
    elif kind in USER_TYPES:
        fields = _user_fields(kind, wanted)
        if fields.get("dex", "") not in dexes:
            raise Refused(f"Invalid subscription {msgspec.json.encode(fields).decode()}")
    else:
        raise ParseFailed
    return Subscription(kind, fields, msgspec.json.encode(fields).decode())


def _optional(wanted: dict[str, Any], name: str, kind: type) -> Any:
    value = wanted.get(name)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ParseFailed
    return value


def _coin_fields(kind: str, wanted: dict[str, Any]) -> dict[str, Any]:
    coin = wanted.get("coin")
    if not isinstance(coin, str):
        raise ParseFailed
    fields: dict[str, Any] = {"type": kind, "coin": coin}
    if kind == "candle":
        interval = wanted.get("interval")
        if not isinstance(interval, str):
            raise ParseFailed
        fields["interval"] = interval
        if interval not in INTERVALS_MS:
            raise Refused(f"Invalid subscription {msgspec.json.encode(fields).decode()}")
    elif kind == "l2Book":
        figures, mantissa = _optional(wanted, "nSigFigs", int), _optional(wanted, "mantissa", int)
        fields |= {"nSigFigs": figures, "mantissa": mantissa, "fast": bool(_optional(wanted, "fast", bool))}
        if figures not in (None, 2, 3, 4, 5) or mantissa not in (None, 1, 2, 5):
            raise Fatal(coin)
        if mantissa is not None and figures != 5:
            raise Fatal(coin)
    return fields


def _user_fields(kind: str, wanted: dict[str, Any]) -> dict[str, Any]:
    user = wanted.get("user")
    if not isinstance(user, str) or not ADDRESS.fullmatch(user):
        raise ParseFailed
    fields: dict[str, Any] = {"type": kind, "user": user.lower()}
    for name, default in USER_TYPES[kind].items():
        value = _optional(wanted, name, type(default))
        fields[name] = default if value is None else value
    return fields
