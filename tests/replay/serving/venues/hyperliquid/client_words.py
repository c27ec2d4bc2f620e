"""What clients say to Hyperliquid when they say it as they should, for tests that break it; and a tape to say it to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from recordings.recording import Recording
from replay.serving.face import Ask
from tests.serving import synthetic_session

__all__ = ["ASKS", "FRAMES", "make_tape", "ws_path"]

ADDRESS: Final = "0x" + "ab" * 20

#: A well-formed frame of each kind.
FRAMES: Final[list[Any]] = [
    {"method": "ping"},
    {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC", "nSigFigs": 5, "mantissa": 2}},
    {"method": "subscribe", "subscription": {"type": "trades", "coin": "BTC"}},
    {"method": "subscribe", "subscription": {"type": "candle", "coin": "BTC", "interval": "1m"}},
    {"method": "subscribe", "subscription": {"type": "allMids", "dex": ""}},
    {"method": "subscribe", "subscription": {"type": "userFills", "user": ADDRESS, "aggregateByTime": True}},
    {"method": "unsubscribe", "subscription": {"type": "bbo", "coin": "ETH"}},
    {"method": "post", "id": 7, "request": {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}},
    {"method": "post", "id": 8, "request": {"type": "action", "payload": {"type": "order"}}},
]
#: Bodies of its one REST endpoint.
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
#: Requests: what is asked, with what stands for its parameters.
ASKS: Final = [(Ask("POST", "/info", {}, b"", "application/json", "127.0.0.1"), body) for body in _INFO]


def ws_path(venue: str) -> str:
    """Where a client connects."""
    return "/ws"


def make_tape(venue: str, folder: Path) -> Recording:
    """A recording of the venue."""
    return synthetic_session(folder, seconds=2)[0]
