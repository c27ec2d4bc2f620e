"""What clients may send a served venue: frames, questions and controls as they should be, and broken in every way, by a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

import msgspec

from replay.serving.face import Ask

__all__ = ["FRAMES", "ODD", "asks", "frames"]

ADDRESS: Final = "0x" + "ab" * 20
DYDX_ADDRESS: Final = "dydx1n56z5fhmemtffzkt2eqyf9kuc7ycjfs86mvqy7"

#: A well-formed frame of each kind.
FRAMES: Final[dict[str, list[Any]]] = {
    "hyperliquid": [
        {"method": "ping"},
        {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC", "nSigFigs": 5, "mantissa": 2}},
        {"method": "subscribe", "subscription": {"type": "trades", "coin": "BTC"}},
        {"method": "subscribe", "subscription": {"type": "candle", "coin": "BTC", "interval": "1m"}},
        {"method": "subscribe", "subscription": {"type": "allMids", "dex": ""}},
        {"method": "subscribe", "subscription": {"type": "userFills", "user": ADDRESS, "aggregateByTime": True}},
        {"method": "unsubscribe", "subscription": {"type": "bbo", "coin": "ETH"}},
        {"method": "post", "id": 7, "request": {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}},
        {"method": "post", "id": 8, "request": {"type": "action", "payload": {"type": "order"}}},
    ],
    "binance": [
        {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms", "btcusdt@trade"], "id": 1},
        {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": "a"},
        {"method": "LIST_SUBSCRIPTIONS", "id": 3},
        {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5},
        {"method": "GET_PROPERTY", "params": ["combined"], "id": 2},
    ],
    "dydx": [
        {"type": "ping"},
        {"type": "subscribe", "channel": "v4_orderbook", "id": "BTC-USD", "batched": True},
        {"type": "subscribe", "channel": "v4_markets"},
        {"type": "subscribe", "channel": "v4_candles", "id": "BTC-USD/1MIN"},
        {"type": "subscribe", "channel": "v4_subaccounts", "id": f"{DYDX_ADDRESS}/0"},
        {"type": "unsubscribe", "channel": "v4_trades", "id": "BTC-USD"},
    ],
}
_INFO: Final[list[dict[str, Any]]] = [
    {"type": "meta"},
    {"type": "metaAndAssetCtxs", "dex": ""},
    {"type": "spotMetaAndAssetCtxs"},
    {"type": "allMids"},
    {"type": "l2Book", "coin": "BTC", "nSigFigs": 5, "mantissa": 2},
    {"type": "recentTrades", "coin": "BTC"},
    {"type": "fundingHistory", "coin": "BTC", "startTime": 0, "endTime": 1 << 60},
    {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1m", "startTime": 0, "endTime": 1 << 60}},
    {"type": "userFillsByTime", "user": ADDRESS, "startTime": 0, "endTime": 1, "aggregateByTime": True},
    {"type": "userFunding", "user": ADDRESS, "startTime": 0},
    {"type": "historicalOrders", "user": ADDRESS},
    {"type": "orderStatus", "user": ADDRESS, "oid": 1},
    {"type": "clearinghouseState", "user": ADDRESS, "dex": ""},
    {"type": "spotClearinghouseState", "user": ADDRESS},
    {"type": "openOrders", "user": ADDRESS},
    {"type": "frontendOpenOrders", "user": ADDRESS},
    {"type": "exchangeStatus"},
    {"type": "userRole", "user": ADDRESS},
]
_GETS: Final[dict[str, list[tuple[str, dict[str, Any]]]]] = {
    "binance": [
        ("exchangeInfo", {"symbol": "BTCUSDT"}),
        ("exchangeInfo", {"symbols": '["BTCUSDT"]'}),
        ("depth", {"symbol": "BTCUSDT", "limit": 100}),
        ("trades", {"symbol": "BTCUSDT", "limit": 5}),
        ("aggTrades", {"symbol": "BTCUSDT", "limit": 5, "startTime": 0, "endTime": 1, "fromId": 0}),
        ("klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 5}),
        ("ticker/bookTicker", {"symbol": "BTCUSDT"}),
        ("ticker/price", {}),
        ("premiumIndex", {"symbol": "BTCUSDT"}),
        ("fundingRate", {"symbol": "BTCUSDT", "limit": 5, "startTime": 0, "endTime": 1}),
        ("openInterest", {"symbol": "BTCUSDT"}),
        ("time", {}),
    ],
    "dydx": [
        ("perpetualMarkets", {"limit": 1, "ticker": "BTC-USD"}),
        ("height", {}),
        ("time", {}),
        ("orderbooks/perpetualMarket/BTC-USD", {}),
        ("trades/perpetualMarket/BTC-USD", {"limit": 5, "page": 1, "createdBeforeOrAtHeight": 1}),
        ("historicalFunding/BTC-USD", {"limit": 5, "effectiveBeforeOrAt": "2026"}),
        ("candles/perpetualMarkets/BTC-USD", {"resolution": "1MIN", "fromISO": "a", "toISO": "b", "limit": 3}),
        (f"addresses/{DYDX_ADDRESS}/subaccountNumber/0", {}),
        ("orders", {"address": DYDX_ADDRESS, "subaccountNumber": 0, "limit": 3, "status": "OPEN"}),
        ("fills", {"address": DYDX_ADDRESS, "subaccountNumber": 0, "limit": 3, "page": 2}),
        ("orders/x", {}),
    ],
}
_PREFIX: Final = {
    "binance": "/api/v3",
    "binance-usdm": "/fapi/v1",
    "binance-coinm": "/dapi/v1",
    "dydx": "/v4",
}

#: Values in place of any other.
ODD: Final[list[Any]] = [
    None, True, False, 0, -1, 1.5, -0.0, 1e300, 10**18, 2**63, 2**64, -(2**70), 10**400, "", " ", "\x00", "\u202e", "x" * 5000,
    "9" * 5000, "\ud800", "😀" * 100, [], {}, [[]], {"": {}}, ["BTC"] * 3000, {"type": "l2Book"}, "=1", "../..", "NaN",
]  # fmt: skip


def family(venue: str) -> str:
    """Whose frames a venue's clients send."""
    return next(name for name in FRAMES if venue.startswith(name))


def frames(venue: str, rng: random.Random, count: int) -> Iterator[str]:
    """Text frames of a client."""
    for _ in range(count):
        yield _text(rng, _mutated(rng, rng.choice(FRAMES[family(venue)])))


def asks(venue: str, rng: random.Random, count: int) -> Iterator[Ask]:
    """REST requests."""
    who = family(venue)
    for _ in range(count):
        if who == "hyperliquid":
            body = _text(rng, _mutated(rng, rng.choice(_INFO))).encode(errors="replace")
            method = rng.choice(["POST"] * 20 + ["GET"])
            kind = rng.choice(["application/json"] * 20 + ["", "text/plain"])
            yield Ask(method, rng.choice(["/info"] * 20 + ["/exchange", "/x"]), {}, body, kind, "127.0.0.1")
            continue
        what, asked = rng.choice(_GETS[who])
        if not rng.randrange(5):
            what = rng.choice([what + "/x" * 50, what.upper(), "/".join([what] * 50), "", "%00"])
        query = {}
        for name, value in (_mutated(rng, asked) if asked else {}).items():
            text = value if isinstance(value, str) else json.dumps(value)
            # A URL has room for some 8,000 characters, and no half of one.
            query[name.encode(errors="replace").decode()] = text.encode(errors="replace").decode()[:8000]
        if not rng.randrange(5):
            query[rng.choice(list(query) or ["limit"])] = rng.choice(
                ["9" * 4000, "-1", "[" * 4000, "0", "1e9", "٣", "²"]
            )
        yield Ask(
            rng.choice(["GET"] * 20 + ["POST", "X"]), f"{_PREFIX.get(venue, _PREFIX[who])}/{what}", query, b"", "", ""
        )


def _mutated(rng: random.Random, value: Any) -> Any:
    value = msgspec.json.decode(msgspec.json.encode(value))
    for _ in range(rng.randrange(4)):
        value = _changed(rng, value)
    return value if isinstance(value, dict) else {"x": value}


def _changed(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.randrange(8):
        name = rng.choice(list(value))
        match rng.randrange(6):
            case 0:
                del value[name]
            case 1:
                value[rng.choice(["", "x" * 300, "\u2028", name.upper()])] = deepcopy(rng.choice(ODD))
            case _:
                value[name] = _changed(rng, value[name])
        return value
    if isinstance(value, list) and value and rng.randrange(3):
        place = rng.randrange(len(value))
        value[place] = _changed(rng, value[place])
        return value
    return deepcopy(rng.choice(ODD))


def _text(rng: random.Random, value: Any) -> str:
    # A half of a character has no place in a text frame: sockets refuse it before.
    text = json.dumps(value, ensure_ascii=bool(rng.randrange(2))).encode(errors="replace").decode()
    match rng.randrange(12):
        case 0:
            return text[: rng.randrange(len(text))]
        case 1:
            depth = rng.choice([5, 100, 200, 2000, 100_000])
            return "[" * depth + text + "]" * depth
        case 2:
            return text.replace(":", ':{"a":' * rng.choice([1, 150, 3000]), 1) + "}" * 3000
        case 3:
            return text.replace(
                "1", rng.choice(["1e400", "1" * 30, "1" * 4400, "-1e999999999", "NaN", "Infinity", "01"])
            )
        case 4:
            return rng.choice(["", "null", "0", '"', "\x00", "{}", "[]", "\ufeff" + text, text + text, "x" * 1_000_000])
        case _:
            return text
