"""dYdX v4's Indexer over a recording."""

from replay.serving.venues.dydx_v4.recorded.venue import ServedDydx

__all__ = ["SERVED", "ServedDydx"]

SERVED = {"dydx_v4": ServedDydx}
