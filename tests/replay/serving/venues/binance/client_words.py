"""What clients say to Binance when they say it as they should, for tests that break it; and a tape to say it to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from recordings.recording import Recording
from replay.serving.face import Ask
from tests.replay.serving.venues.binance.test_recorded import session
from toolkit.venues.binance.products import PRODUCTS

__all__ = ["ASKS", "FRAMES", "make_tape", "ws_path"]


#: A well-formed frame of each kind.
FRAMES: Final[list[Any]] = [
    {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms", "btcusdt@trade"], "id": 1},
    {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": "a"},
    {"method": "LIST_SUBSCRIPTIONS", "id": 3},
    {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5},
    {"method": "GET_PROPERTY", "params": ["combined"], "id": 2},
]
_GETS: Final[list[tuple[str, dict[str, Any]]]] = [
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
]
#: Requests of each of the three markets: what is asked, with what stands for its parameters.
ASKS: Final = [
    (Ask("GET", f"{product.rest_prefix}/{what}", {}, b"", "", ""), query)
    for product in PRODUCTS
    for what, query in _GETS
]


def ws_path(venue: str) -> str:
    """Where a client connects."""
    return "/public/ws" if venue == "binance-usdm" else "/ws"


def make_tape(venue: str, folder: Path) -> Recording:
    """A recording of the venue."""
    return session(venue).recording(folder)
