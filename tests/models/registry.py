"""The models that there are, and the bugs that each must find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.models import binance, binance_bugs, dydx, dydx_bugs, hyperliquid, hyperliquid_bugs
from tests.models.machine import Bug, Model

__all__ = ["MODELS", "Entry"]


@dataclass(frozen=True)
class Entry:
    """
    A venue's model.

    Attributes:
        make: Makes one.
        bugs: Bugs that it has to find when they are put back.
    """

    make: Callable[[Random], Model]
    bugs: tuple[Bug, ...]


MODELS = {
    "binance": Entry(binance.BinanceMarket, binance_bugs.BUGS),
    "dydx_v4": Entry(dydx.DydxModel, dydx_bugs.BUGS),
    "hyperliquid": Entry(hyperliquid.HyperliquidModel, hyperliquid_bugs.BUGS),
}
