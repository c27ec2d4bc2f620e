"""Best prices around what happened in a run: those that stood before each instant with a row, and no others."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from typing import NamedTuple

__all__ = ["RecentTops", "Top", "steps"]


class Top(NamedTuple):
    """Best prices of a pair, in ticks and lots as these were; None for a side without one."""

    now_ns: int
    pair: int
    bid_tick: int | None
    bid_lots: int
    ask_tick: int | None
    ask_lots: int
    is_stale: bool
    tick: Decimal
    lot: Decimal

    @property
    def is_crossed(self) -> bool:
        """Whether the bid is at or above the ask."""
        return self.bid_tick is not None and self.ask_tick is not None and self.bid_tick >= self.ask_tick

    def values(self) -> tuple[float | None, float | None, float | None, float | None, bool, bool]:
        """Prices and sizes of bid and ask, whether the book is stale, and crossed."""
        bid, ask = self.bid_tick, self.ask_tick
        return (
            None if bid is None else steps(bid, self.tick),
            None if bid is None else steps(self.bid_lots, self.lot),
            None if ask is None else steps(ask, self.tick),
            None if ask is None else steps(self.ask_lots, self.lot),
            self.is_stale,
            self.is_crossed,
        )


def steps(count: int, step: Decimal) -> float:
    """So many steps, as the float64 next to it."""
    over, under = _ratio(step)
    return count * over / under


@cache
def _ratio(step: Decimal) -> tuple[int, int]:
    return step.as_integer_ratio()


class RecentTops:
    """The newest best prices of each pair that no row has come after yet, and those before them."""

    def __init__(self) -> None:
        self._newest: dict[int, Top] = {}
        self._before: dict[int, Top] = {}

    def note(self, top: Top) -> None:
        """Best prices of a pair from now on; times of a pair do not go back."""
        newest = self._newest.get(top.pair)
        if newest is not None and newest.now_ns < top.now_ns:
            self._before[top.pair] = newest
        self._newest[top.pair] = top

    def due(self, now_ns: int) -> list[Top]:
        """
        What stood before an instant in which something happens, in the order of time; each once.

        Of a pair that changes at that very time it is what it was before: that is what an order of then has met.
        """
        if not self._newest:
            return []
        found = [top for top in self._newest.values() if top.now_ns < now_ns]
        for top in found:
            del self._newest[top.pair]
            self._before.pop(top.pair, None)
        found += [top for top in self._before.values() if top.now_ns < now_ns]
        for top in found:
            self._before.pop(top.pair, None)
        return sorted(found, key=_place) if len(found) > 1 else found


def _place(top: Top) -> tuple[int, int]:
    return top.now_ns, top.pair
