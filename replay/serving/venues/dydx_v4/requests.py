"""What clients of dYdX v4 may say over the WebSocket, and the words in which the venue refuses the rest."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from replay.serving.face import Unreadable, read_json

__all__ = [
    "BLOCKS",
    "BOOK",
    "CANDLES",
    "CHANNELS",
    "MARKETS",
    "PARENT_SUBACCOUNTS",
    "SUBACCOUNTS",
    "TRADES",
    "VERSIONS",
    "Invalid",
    "Request",
    "limit_of",
    "parse_request",
]

BOOK = "v4_orderbook"
TRADES = "v4_trades"
MARKETS = "v4_markets"
BLOCKS = "v4_block_height"
SUBACCOUNTS = "v4_subaccounts"
PARENT_SUBACCOUNTS = "v4_parent_subaccounts"
CANDLES = "v4_candles"
CHANNELS = (BOOK, TRADES, MARKETS, BLOCKS, SUBACCOUNTS, PARENT_SUBACCOUNTS)
VERSIONS = {TRADES: "2.1.0", SUBACCOUNTS: "3.0.0", PARENT_SUBACCOUNTS: "3.0.0"}


class Invalid(Exception):
    """A frame that is no request."""


class Request(NamedTuple):
    """One request; `id` is None where there was none."""

    type: str
    channel: str = ""
    id: str | None = None
    batched: bool = False


def parse_request(text: str, channels: Collection[str] = CHANNELS) -> Request:
    """What a client asks for, of the channels that there are. Raises Invalid with the venue's words."""
    try:
        value = read_json(text)
    except Unreadable:
        raise Invalid("Invalid message: could not parse") from None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise Invalid("Invalid message: type is required")
    kind, channel, name = value["type"], value.get("channel"), value.get("id")
    if kind == "ping":
        return Request(kind)
    if kind not in ("subscribe", "unsubscribe"):
        raise Invalid(f"Invalid message type: {kind}")
    if not isinstance(channel, str) or channel not in channels:
        raise Invalid(f"Invalid channel: {channel if isinstance(channel, str) else 'undefined'}")
    if name is not None and not isinstance(name, str):
        raise Invalid(f"Invalid id: {name}")
    return Request(kind, channel, name, value.get("batched") is True)


def limit_of(channel: str) -> int:
    """Subscriptions of a channel that a connection may have."""
    if channel == BLOCKS:
        return 1
    return 256 if channel in (SUBACCOUNTS, PARENT_SUBACCOUNTS) else 32
