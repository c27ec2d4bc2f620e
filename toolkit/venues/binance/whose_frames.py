"""
Whose frames these are: spot, USD-M and COIN-M send nearly the same, and each can be read as another.

What tells them apart: diffs of futures carry `pu`, those of spot never; trades of spot carry `M`, which means nothing;
quotes of futures have a time `T`; and symbols of COIN-M are named by the currency of their price, `BTCUSD_PERP` or
`BTCUSD_241227`. Source: the venue's documentation of the three markets, and captures of August 2024.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from toolkit.venues.binance.products import COINM, SPOT, USDM

__all__ = ["venue_of"]

_COINM_SYMBOL: Final = re.compile(r"[A-Z0-9]+USD_(PERP|\d{6})")
#: Fields of a quote of spot; those of futures name their event.
_SPOT_QUOTE: Final = frozenset({"u", "s", "b", "B", "a", "A"})
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def venue_of(payload: bytes) -> str | None:
    """The market that a frame is of; None where it may be of several, or of none."""
    if b'"e"' not in payload and b'"B"' not in payload and b"\\" not in payload:
        return None  # neither an event nor a quote, but a snapshot perhaps, which takes long to decode
    try:
        frame = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    data = frame.get("data", frame)
    if not isinstance(data, dict):
        return None
    is_futures = _is_futures(data)
    if is_futures is None:
        return None
    if not is_futures:
        return SPOT.venue
    symbol = data.get("s") or str(frame.get("stream", "")).partition("@")[0].upper()
    return COINM.venue if _COINM_SYMBOL.fullmatch(str(symbol)) else USDM.venue


def _is_futures(data: dict[str, Any]) -> bool | None:
    event = data.get("e")
    if event == "depthUpdate" and "U" in data:
        return "pu" in data
    if event in ("trade", "aggTrade") and "M" in data:
        return False
    if event == "trade" and "X" in data:  # how it came about, which only futures say
        return True
    if event is None and data.keys() == _SPOT_QUOTE:
        return False
    if event in ("markPriceUpdate", "forceOrder") or (event == "bookTicker" and "T" in data):
        return True
    return None
