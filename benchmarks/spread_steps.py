"""Step functions that send nothing: what it costs to keep a book and look at its best prices."""

from __future__ import annotations

from typing import Any

from benchmarks.grid import EVERY_MS
from replay.fast.step import step

__all__ = ["spread_of_messages", "spread_of_times"]


@step(books=True, trades=True, state={"spread": 0})
def spread_of_messages(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Read both best prices at each message."""
    s.spread += q[0].ask - q[0].bid


@step(every=f"{EVERY_MS}ms", state={"spread": 0})
def spread_of_times(now: Any, why: Any, q: Any, me: Any, p: Any, s: Any, act: Any) -> None:
    """Read both best prices as often as the grid does."""
    s.spread += q[0].ask - q[0].bid
