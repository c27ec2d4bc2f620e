"""The pairs of a run by their names and places."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import SymbolError
from toolkit.keys import PairKey, PairName, key_among, named
from toolkit.messages import StreamEvent

__all__ = ["RunPairs"]


class RunPairs:
    """
    Names and places of pairs.

    Args:
        keys: The pairs, in the order that rows name them by.

    Attributes:
        keys: Keys as given.
        names: Pair of each, where no other venue of the run has one of that name, else `PAIR on VENUE`.
        places: Place of each `(venue, pair)`.
    """

    def __init__(self, keys: Sequence[PairKey]) -> None:
        self.keys = tuple(keys)
        alone = [key.trading_pair for key in keys]
        self.names = tuple(key.trading_pair if alone.count(key.trading_pair) == 1 else str(key) for key in self.keys)
        self.places: dict[tuple[str, str], int] = {key: place for place, key in enumerate(self.keys)}
        self._known: dict[PairName, int] = {}
        self._known.update((key, place) for key, place in self.places.items())
        self._known.update((name, place) for place, name in enumerate(self.names))

    def place(self, pair: PairName) -> int:
        """Where a pair stands. Raises SymbolError for one that is not of the run, or that several venues have."""
        is_name = isinstance(pair, str | tuple)
        place = self._known.get(pair) if is_name else None
        if place is None:
            key = key_among(self.keys, pair) if is_name else None
            if key is None:
                there = ", ".join(named(self.keys)) or "none"
                raise SymbolError(f"{pair!r} is no pair of this run, expected one of {there}")
            place = self._known[pair] = self.places[key]
        return place

    def are_met_by(self, event: StreamEvent) -> bool:
        """Whether an event is about one of them, or about a whole connection of one of their venues."""
        if event.symbol:
            return (event.venue, event.trading_pair) in self.places
        return any(key.venue == event.venue for key in self.keys)
