"""Best prices around what happened in a run: those that stood before each instant with a row, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from replay.ledger.ledger import LedgerMarket

__all__ = ["PairTop", "RecentTops", "Spelling", "Steps", "Top", "TopRow", "middles", "spelling_of"]


class Steps(NamedTuple):
    """Tick and lot of a pair, each as numerator and denominator."""

    tick: int
    per_tick: int
    lot: int
    per_lot: int


#: Place of a pair, and its best bid and ask in ticks and lots; a tick is None on an empty side.
PairTop = tuple[int, int | None, int, int | None, int]
#: Time and best prices of a pair after a frame: tick and lots of the bid, then of the ask; a tick is None on an empty side.
TopRow = tuple[int, int | None, int, int | None, int]


class Spelling(NamedTuple):
    """How messages name a pair: venue, symbol and pair; and its steps."""

    names: tuple[str, str, str]
    steps: Steps


class Top(NamedTuple):
    """Best prices of a pair, in ticks and lots as these were; None for a side without one."""

    now_ns: int
    pair: int
    bid_tick: int | None
    bid_lots: int
    ask_tick: int | None
    ask_lots: int
    is_stale: bool
    steps: Steps

    def values(self) -> tuple[float | None, float | None, float | None, float | None, bool, bool]:
        """Prices and sizes of bid and ask as the float64 next to each, whether the book is stale, and crossed."""
        bid, ask = self.bid_tick, self.ask_tick
        tick, per_tick, lot, per_lot = self.steps
        return (
            None if bid is None else bid * tick / per_tick,
            None if bid is None else self.bid_lots * lot / per_lot,
            None if ask is None else ask * tick / per_tick,
            None if ask is None else self.ask_lots * lot / per_lot,
            self.is_stale,
            bid is not None and ask is not None and bid >= ask,
        )


def spelling_of(market: LedgerMarket, symbol: str) -> Spelling:
    """Names and steps of a pair. Raises ValueError where a step is not known."""
    if market.tick is None or market.lot is None:
        raise ValueError(f"{market.key}: nothing can be said of it without a tick or lot")
    names = (market.key.venue, symbol, market.key.trading_pair)
    return Spelling(names, Steps(*market.tick.as_integer_ratio(), *market.lot.as_integer_ratio()))


def middles(tops: Sequence[TopRow]) -> list[tuple[int, int, int, int]]:
    """Those that have a price in the middle: the place of each, its time, and the ticks of bid and ask."""
    return [
        (place, now_ns, bid, ask)
        for place, (now_ns, bid, _, ask, _) in enumerate(tops)
        if bid is not None and ask is not None and bid < ask
    ]


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

    def note_all(self, pair: int, tops: Sequence[TopRow], steps: Steps) -> None:
        """The same for rows of one pair that follow each other, whose book holds: of them the newest, and those before."""
        first = len(tops) - 1
        while first > 0 and tops[first][0] == tops[-1][0]:
            first -= 1
        for now_ns, bid, bid_lots, ask, ask_lots in tops[max(first, 0) :]:
            self.note(Top(now_ns, pair, bid, bid_lots, ask, ask_lots, False, steps))

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
