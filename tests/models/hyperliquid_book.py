"""What the model of Hyperliquid is made of: coins with their books and trades, and the account's orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tests.models.machine import SECOND

__all__ = [
    "DAY",
    "HOUR",
    "JUNK",
    "NEAR_NS",
    "OTHER",
    "PAIRS",
    "PERP",
    "SPOT",
    "STATES",
    "UNSURE_NS",
    "USER",
    "Book",
    "Order",
    "in_tenths",
    "trade_key",
]

USER: Final = "0x" + "a1" * 20
OTHER: Final = "0x" + "b2" * 20
PERP, SPOT = "BTC", "@107"
PAIRS: Final = {PERP: "BTC-USD", SPOT: "HYPE-USDC"}
DAY: Final = 86_400 * SECOND
HOUR: Final = 3600 * SECOND
#: What is closer than this to the moment of a subscription may be counted on either side of it.
NEAR_NS: Final = 2 * SECOND
#: The same where the venue's clock was set meanwhile.
UNSURE_NS: Final = 120 * SECOND
STATES: Final = ("allDexsClearinghouseState", "spotState", "openOrders")
#: Junk that the account's rows are told from by.
JUNK: Final = "0xjunk"


def in_tenths(tenths: int) -> str:
    """A number of tenths as the venue writes it."""
    return str(Decimal(tenths) / 10)


@dataclass
class Book:
    """One coin's book, trades and settlements."""

    coin: str
    bids: dict[int, int]
    asks: dict[int, int]
    #: Trades with the true time of each, oldest first.
    trades: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    settled: list[dict[str, Any]] = field(default_factory=list)
    pushed: dict[str, int] = field(default_factory=dict)
    best: Any = None

    def levels(self, count: int) -> list[list[dict[str, Any]]]:
        """The best of both sides, as the venue writes them."""
        sides = (sorted(self.bids.items(), reverse=True), sorted(self.asks.items()))
        return [[{"px": str(px), "sz": in_tenths(sz), "n": 1 + px % 3} for px, sz in side[:count]] for side in sides]


@dataclass
class Order:
    """One order of the account; sizes in tenths, true times in ns."""

    oid: int
    side: str
    price: int
    size: int
    left: int
    placed_ms: int
    status: str = "open"
    status_ms: int = 0
    true_ns: int = 0
    is_tpsl: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.status in ("open", "triggered")

    def wire(self) -> dict[str, Any]:
        """As the venue writes it."""
        told = 0 if self.is_tpsl else self.size
        left = 0 if self.is_tpsl else self.left
        return {
            "coin": PERP,
            "side": self.side,
            "limitPx": str(self.price),
            "sz": in_tenths(left),
            "oid": self.oid,
            "timestamp": self.placed_ms,
            "origSz": in_tenths(told),
        }

    def row(self) -> dict[str, Any]:
        """With its status."""
        return {"order": self.wire(), "status": self.status, "statusTimestamp": self.status_ms}

    def listed(self) -> dict[str, Any]:
        """As the list of open orders has it."""
        kind = {"orderType": "Take Profit Market" if self.is_tpsl else "Limit", "tif": None if self.is_tpsl else "Gtc"}
        trigger = {"isTrigger": True, "triggerPx": str(self.price), "reduceOnly": True} if self.is_tpsl else {}
        return {**self.wire(), **kind, **trigger, "isPositionTpsl": self.is_tpsl}


def trade_key(row: dict[str, Any]) -> tuple[str, int, int, str]:
    """What tells a trade from all others; a conversion of dust has no id, so its price does."""
    return row["coin"], row["time"], row["tid"], str(float(row["px"])) if not row["tid"] else ""
