"""Which instruments of recordings are meant by pairs, symbols, keys and venues: one rule for everything that filters."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from recordings.format.manifest import Manifest
from toolkit.errors import SymbolError
from toolkit.keys import PairKey, PairName, check_venues, named, one_or_more, split

__all__ = [
    "Instrument",
    "Selection",
    "Wish",
    "asked_or_named",
    "instruments_of",
    "keys_of",
    "meant_by",
    "select",
    "select_in",
    "venues_of",
    "wanted_keys",
]

#: Venue, symbol and trading pair.
Instrument = tuple[str, str, str]
_Pairs = dict[tuple[str, str], set[str]]  # by venue and symbol, the pairs that it is called


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What somebody wants of recordings, in their words, whether or not it is there.

    Attributes:
        names: Pairs or symbols, whatever the venue; None for all.
        keys: Venue, and pair or symbol; what is one of these or has one of the names is wanted.
        venues: Only of these; None for all.
    """

    names: frozenset[str] | None
    keys: frozenset[tuple[str, str]]
    venues: frozenset[str] | None

    @classmethod
    def of(
        cls, trading_pairs: Collection[PairName] | PairName | None, venues: Collection[str] | str | None
    ) -> Wish | None:
        """
        From arguments; None where everything is wanted.

        Where only keys are named, only their venues are wanted. Raises SymbolError for no venue at all.
        """
        given = one_or_more(trading_pairs)
        if given is None and venues is None:
            return None
        keys = frozenset((each[0], each[1]) for each in given or () if not isinstance(each, str))
        names = None if given is None else frozenset(each for each in given if isinstance(each, str))
        wanted = None if venues is None else frozenset([venues] if isinstance(venues, str) else venues)
        if wanted is not None and not wanted:
            raise SymbolError("no venue was named, expected at least one; leave venues out for all")
        if wanted is not None:
            for venue, pair in keys - {key for key in keys if key[0] in wanted}:
                raise SymbolError(f"{pair} on {venue} is wanted, and nothing of {venue}: expected one or the other")
        if wanted is None and keys and not names:
            wanted = frozenset(venue for venue, _ in keys)
        return cls(names, keys, wanted)

    def spelled_out(self, instruments: Collection[Instrument]) -> Wish:
        """
        The same with the pairs that are called by their base, or by a symbol that is a base as well (`BTC`): wherever a
        venue has them. Raises SymbolError for the base of several pairs.
        """
        there = [each for each in instruments if self.venues is None or each[0] in self.venues]
        pairs = {
            pair for name in sorted(self.names or ()) for _, _, pair in meant_by(name, there) if _base(pair) == name
        }
        return replace(self, names=self.names | pairs) if self.names is not None and pairs else self

    @property
    def each(self) -> list[PairName]:
        """What is named, sorted."""
        return [*sorted(self.names or ()), *(PairKey(*key) for key in sorted(self.keys))]

    def missing(self, instruments: Iterable[tuple[str, str, str]]) -> list[PairName]:
        """What is named that none of these is called, sorted; of instruments venue, symbol and pair."""
        known: set[PairName] = set()
        for venue, symbol, pair in instruments:
            if self.venues is None or venue in self.venues:
                known |= {symbol, pair, _base(pair), (venue, symbol), (venue, pair)}
        return [each for each in self.each if not each or each not in known]

    def takes(self, venue: str, symbol: str, trading_pair: str) -> bool:
        """Whether what speaks of that instrument is wanted; without a symbol it speaks of a whole connection."""
        if self.venues is not None and venue not in self.venues:
            return False
        if self.names is None or not symbol or trading_pair in self.names or symbol in self.names:
            return True
        return (venue, trading_pair) in self.keys or (venue, symbol) in self.keys

    def check_venues(self, manifests: Iterable[Manifest], where: str) -> None:
        """Raise ConfigError for a venue that no recording is of."""
        check_venues(sorted({venue for venue, _ in self.keys} | (self.venues or set())), venues_of(manifests), where)


@dataclass(frozen=True, slots=True)
class Selection:
    """
    Instruments that are kept.

    Attributes:
        venues: Venues with anything to keep; the events about whole connections of these come along.
        symbols: Venue and symbol of each instrument.
        keys: Venue and trading pair of each.
        wish: Filter as it was given, to go by where not every symbol is known yet: in what is not sealed.
    """

    venues: frozenset[str]
    symbols: frozenset[tuple[str, str]]
    keys: frozenset[tuple[str, str]]
    wish: Wish | None = None

    def takes(self, venue: str, symbol: str) -> bool:
        """Whether what speaks of that symbol is kept; an empty one stands for a whole connection."""
        return (venue, symbol) in self.symbols or (not symbol and venue in self.venues)

    def wants(self, venue: str, symbol: str, trading_pair: str) -> bool:
        """The same of a symbol that need not be known."""
        return self.takes(venue, symbol) or (self.wish is not None and self.wish.takes(venue, symbol, trading_pair))


class Described(Protocol):
    """A recording, as far as its instruments are concerned."""

    path: Path

    @property
    def tail(self) -> object:
        """What is not sealed; None if all is."""

    def described(self, names: Collection[str] | None = None) -> Manifest:
        """Its manifest, with the symbols of what is not sealed, as many as it takes to know these names; None for all."""


def venues_of(manifests: Iterable[Manifest]) -> set[str]:
    """The venues that recordings are of."""
    found: set[str] = set()
    for manifest in manifests:
        found.update(source.venue for source in manifest.sources)
        found.update(name.partition("/")[0] for name in manifest.symbols)
    return found


def keys_of(manifests: Iterable[Manifest]) -> set[PairKey]:
    """Venue and trading pair of every instrument that recordings name."""
    return {PairKey(venue, pair) for (venue, _), pairs in _pairs_of(manifests).items() for pair in pairs}


def instruments_of(manifests: Iterable[Manifest]) -> list[Instrument]:
    """Every instrument that recordings name; a symbol that was of two pairs is there twice."""
    return [(*key, pair) for key, pairs in _pairs_of(manifests).items() for pair in pairs]


def asked_or_named(manifest: Manifest) -> list[Instrument]:
    """What a recording names, or was asked to record; of the latter, the pair for the symbol."""
    asked = [(source.venue, pair, pair) for source in manifest.sources for pair in source.pairs]
    return instruments_of([manifest]) + asked


def meant_by(name: str, instruments: Collection[Instrument]) -> set[Instrument]:
    """
    The instruments that one name means, in Python and on the command line.

    Those of that trading pair; else those of that symbol, and where it is a base as well (`BTC`) their pair wherever a
    venue has it; else those of the one pair that has that base. Raises SymbolError for the base of several.
    """
    if not name:
        return set()
    if own := {each for each in instruments if each[2] == name}:
        return own
    own = {each for each in instruments if each[1] == name}
    alike = {each for each in instruments if _base(each[2]) == name}
    pairs = sorted({pair for _, _, pair in own or alike})
    if not own and len(pairs) > 1:
        raise SymbolError(f"{name!r} is the base of {', '.join(pairs)}: name one of them")
    return own | {each for each in alike if each[2] in pairs}


def wanted_keys(manifest: Manifest, wish: Wish | None) -> set[PairKey]:
    """Of a recording in progress: what is wanted of the instruments that it names, or that it was asked to record."""
    return {
        PairKey(venue, pair)
        for venue, symbol, pair in asked_or_named(manifest)
        if wish is None or wish.takes(venue, symbol, pair)
    }


def select(
    manifests: Collection[Manifest],
    where: str,
    *,
    trading_pairs: Collection[PairName] | PairName | None = None,
    venues: Collection[str] | str | None = None,
) -> Selection | None:
    """
    Find out what is meant.

    Args:
        manifests: Manifests of the recordings to choose from.
        where: Name of the recordings, for errors.
        trading_pairs: Pairs, symbols as a venue spells them, bases that one pair has, or keys; None for all. A name that
            several venues have means all of them: what is kept says which venue it is of.
        venues: Only of these; None for all.

    Returns:
        The instruments; None where everything is kept. Where only keys are named, only their venues are kept.

    Raises:
        ConfigError: A venue that no recording is of.
        SymbolError: A pair that no recording has.
    """
    wish = Wish.of(trading_pairs, venues)
    if wish is None:
        return None
    wish.check_venues(manifests, where)
    symbols = {
        key: pairs for key, pairs in _pairs_of(manifests).items() if wish.venues is None or key[0] in wish.venues
    }
    instruments = [(*key, pair) for key, pairs in symbols.items() for pair in pairs]
    for each in wish.missing(instruments):
        own, name = split(each)
        raise _missing(repr(name) if own is None else f"{name!r} on {own}", symbols, where)
    wish = wish.spelled_out(instruments)
    kept = {key: pairs for key, pairs in symbols.items() if any(wish.takes(key[0], key[1], pair) for pair in pairs)}
    keys = frozenset((venue, pair) for (venue, _), pairs in kept.items() for pair in pairs)
    return Selection(frozenset(venues_of(manifests)) if wish.venues is None else wish.venues, frozenset(kept), keys)


def select_in(
    recordings: Collection[Described],
    *,
    trading_pairs: Collection[PairName] | PairName | None = None,
    venues: Collection[str] | str | None = None,
) -> Selection | None:
    """Find out what is meant, as `select` does, in recordings with what is not sealed of them."""
    wish = Wish.of(trading_pairs, venues)
    if wish is None:
        return None
    # One recording is filtered message by message; between several it matters what each of them speaks of.
    names = [*(wish.names or ()), *(name for _, name in wish.keys)] if len(recordings) == 1 else None
    manifests = [recording.described(names) for recording in recordings]
    where = ", ".join(str(recording.path) for recording in recordings)
    selection = select(manifests, where, trading_pairs=trading_pairs, venues=venues)
    is_open = any(recording.tail is not None for recording in recordings)
    if selection is None or not is_open:
        return selection
    return replace(selection, wish=wish.spelled_out([each for one in manifests for each in asked_or_named(one)]))


def _pairs_of(manifests: Iterable[Manifest]) -> _Pairs:
    found: _Pairs = {}
    for manifest in manifests:
        for name, pair in manifest.symbols.items():
            venue, _, symbol = name.partition("/")
            found.setdefault((venue, symbol), set()).add(pair)
    return found


def _base(trading_pair: str) -> str:
    """What is traded: `BTC` of `BTC-USD`; nothing where a pair has no quote currency."""
    return trading_pair.rpartition("-")[0]


def _missing(said: str, symbols: _Pairs, where: str) -> SymbolError:
    known = ", ".join(named((venue, pair) for (venue, _), pairs in symbols.items() for pair in pairs))
    return SymbolError(f"{said} is not in {where}, expected one of {known or 'nothing'}")
