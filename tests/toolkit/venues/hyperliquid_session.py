"""A Hyperliquid protocol with made-up metadata of every family, and what it asks for."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.tapes import Feed
from toolkit.protocol import ProtocolOptions, RestCall, SendText
from toolkit.venue import find_venue

#: Two spot pairs of one token name, one of them canonical; a pair of a token that the reply does not describe.
SPOT_META: dict[str, Any] = {
    "tokens": [
        {"name": "USDC", "szDecimals": 8, "index": 0, "isCanonical": True},
        {"name": "PURR", "szDecimals": 0, "index": 1, "isCanonical": True},
        {"name": "HYPE", "szDecimals": 2, "index": 150},
        {"name": "PURR", "szDecimals": 2, "index": 7},
        {"name": "USDH", "szDecimals": 2, "index": 9},
        {"name": "CAT", "szDecimals": 1, "index": 20},
        {"name": "CAT", "szDecimals": 1, "index": 21},
    ],
    "universe": [
        {"name": "PURR/USDC", "tokens": [1, 0], "index": 0, "isCanonical": True},
        {"name": "@107", "tokens": [150, 0], "index": 107, "isCanonical": False},
        {"name": "@3", "tokens": [7, 0], "index": 3},
        {"name": "@20", "tokens": [20, 0], "index": 20},
        {"name": "@21", "tokens": [21, 0], "index": 21},
        {"name": "@99", "tokens": [77, 0], "index": 99},
    ],
}
META: dict[str, Any] = {
    "universe": [
        {"name": "BTC", "szDecimals": 5, "maxLeverage": 50},
        {"name": "ETH", "szDecimals": 4, "maxLeverage": 50},
        {"name": "kPEPE", "szDecimals": 0, "maxLeverage": 10},
        {"name": "OLD", "szDecimals": 1, "maxLeverage": 3, "isDelisted": True},
    ],
    "marginTables": [],
    "collateralToken": 0,
}
PERP_DEXS: list[Any] = [None, {"name": "xyz", "fullName": "XYZ"}, {"name": "abc", "fullName": "ABC"}]
XYZ_META: dict[str, Any] = {
    "universe": [
        {"name": "xyz:SP500", "szDecimals": 3, "maxLeverage": 20},
        {"name": "TSLA", "szDecimals": 2, "maxLeverage": 5},
    ],
    "collateralToken": 9,
}
OUTCOME_META: dict[str, Any] = {
    "outcomes": [{"outcome": 751, "name": "Who wins?", "sideSpecs": [{"name": "Yes"}, {"name": "No"}]}]
}
REPLIES: dict[str, Any] = {
    "spotMeta": SPOT_META,
    "meta": META,
    "perpDexs": PERP_DEXS,
    "meta:xyz": XYZ_META,
    "outcomeMeta": OUTCOME_META,
}


def feed_of(*pairs: str, channels: tuple[str, ...] = (), replies: dict[str, Any] | None = None) -> Feed:
    """A protocol that was told what it asks for, but no connection yet."""
    protocol = find_venue("hyperliquid").make_protocol(ProtocolOptions(pairs=pairs, channels=channels))
    feed = Feed(protocol)
    known = REPLIES if replies is None else replies
    waiting = protocol.bootstrap()
    while waiting:
        request = waiting.pop(0)
        assert isinstance(request, RestCall)
        if request.tag in known:
            feed.rest(request.tag, known[request.tag])
        waiting += [each for each in protocol.requests() if isinstance(each, RestCall)]
    return feed


def asked(feed: Feed) -> list[dict[str, Any]]:
    """The subscriptions among what the protocol wants sent now, without the kind's own words unless they matter."""
    return [
        msgspec.json.decode(request.text)["subscription"]
        for request in feed.protocol.requests()
        if isinstance(request, SendText)
    ]


def send(feed: Feed, conn_id: int = 0) -> list[dict[str, Any]]:
    """Let everything that the protocol wants on a connection leave; what was sent."""
    sent = []
    for request in feed.protocol.requests():
        if isinstance(request, SendText) and request.conn_id == conn_id:
            feed.sent(request.text, conn_id)
            sent.append(msgspec.json.decode(request.text)["subscription"])
    return sent


def ack(feed: Feed, subscription: dict[str, Any], conn_id: int = 0) -> Any:
    """The venue's answer to a subscribe, with the defaults that it fills in."""
    full = {"nSigFigs": None, "mantissa": None, "fast": False} if subscription["type"] == "l2Book" else {}
    return feed.channel("subscriptionResponse", {"method": "subscribe", "subscription": full | subscription}, conn_id)
