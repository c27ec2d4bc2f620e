"""
What tells one instrument from another where several venues are at hand: venue and trading pair.

A trading pair alone is a name that two venues may share. Whatever takes one takes a key as well, or the venue beside it; a
bare name that several venues have is an error that names them, and never one of them by chance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from toolkit.errors import ConfigError, SymbolError

__all__ = ["PairKey", "PairName", "ambiguous", "check_venues", "key_among", "named", "one_or_more", "split"]


class PairKey(NamedTuple):
    """
    A trading pair of a venue; it equals the plain tuple, and sorts by venue.

    Attributes:
        venue: The venue's name, such as `hyperliquid`.
        trading_pair: Trading pair as we spell it, such as `BTC-USD`.
    """

    venue: str
    trading_pair: str

    def __str__(self) -> str:
        return f"{self.trading_pair} on {self.venue}"


#: A trading pair by its name alone, or as a key: a `PairKey`, or a plain `(venue, trading_pair)`.
PairName = str | tuple[str, str]


def split(trading_pair: PairName, venue: str | None = None) -> tuple[str | None, str]:
    """
    Venue, if it is said, and trading pair.

    Raises SymbolError where a key and `venue` name two venues.
    """
    if isinstance(trading_pair, str):
        return venue, trading_pair
    own, pair = trading_pair
    if venue is not None and venue != own:
        raise SymbolError(f"{pair} is asked for on {own} and on {venue}: say one venue")
    return own, pair


def ambiguous(trading_pair: str, venues: Iterable[str]) -> SymbolError:
    """The error about a name that several venues have."""
    return SymbolError(f"{trading_pair} is a pair of {', '.join(sorted(venues))}: say which venue")


def key_among(keys: Iterable[tuple[str, str]], trading_pair: PairName, venue: str | None = None) -> PairKey | None:
    """
    The key that is meant, of those there are; None if it is none of them.

    Raises SymbolError for a bare name that several venues have.
    """
    said, pair = split(trading_pair, venue)
    venues = {own for own, name in keys if name == pair and said in (None, own)}
    if len(venues) > 1:
        raise ambiguous(pair, venues)
    return PairKey(venues.pop(), pair) if venues else None


def named(keys: Iterable[tuple[str, str]]) -> list[str]:
    """For messages: the pairs in alphabetical order, those that several venues have with the venue."""
    keys = sorted({(pair, venue) for venue, pair in keys})
    pairs = [pair for pair, _ in keys]
    return [pair if pairs.count(pair) == 1 else str(PairKey(venue, pair)) for pair, venue in keys]


def one_or_more(names: Collection[PairName] | PairName | None) -> list[PairName] | None:
    """
    Names as a list, also where one was given alone; None stays None.

    A text is a collection of letters, and a `PairKey` one of two texts: that is never meant.
    """
    if names is None:
        return None
    return [names] if isinstance(names, str | PairKey) else list(names)


def check_venues(wanted: Iterable[str], there: Iterable[str], where: str) -> None:
    """Raise ConfigError for a venue that is not among those there are."""
    known = sorted(set(there))
    for venue in wanted:
        if venue not in known:
            raise ConfigError(f"no venue {venue!r} in {where}, expected one of {', '.join(known) or 'none'}")
