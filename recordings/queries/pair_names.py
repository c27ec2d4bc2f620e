"""What somebody calls a pair: by its name, as its venue spells it, or by its base alone where one pair has it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Final

from recordings.reading.selecting import instruments_of, meant_by, venues_of
from recordings.recording import Recording
from toolkit.errors import SymbolError
from toolkit.keys import PairKey, PairName, check_venues

__all__ = ["pairs_named"]

#: Names that an error lists, at most.
_NAMES_SHOWN: Final = 12


def pairs_named(
    recordings: Sequence[Recording], names: Collection[str], venues: Collection[str] = ()
) -> list[PairName]:
    """
    The pairs that are meant, each once, in the order of the names.

    A name is a trading pair of the recordings (`BTC-USD`): that of every venue that has it. Else it is a symbol as a venue
    spells it (`BTCUSD_PERP`, `@107`): the pair of that venue, as a key, unless all venues that have a pair of that name or
    that base (`BTC`) are meant by it. Else it is the base of exactly one pair. What a recording that is still written does
    not know yet is kept as it is, since its pairs come with its frames.

    Args:
        recordings: To choose from.
        names: Names as the user wrote them.
        venues: Only of these; empty: all.

    Raises ConfigError for a venue that no recording is of, and SymbolError for a name that is none of them, or the base of
    several; every command that takes pairs says it in the same words.
    """
    manifests = [recording.described(names) for recording in recordings]
    where = ", ".join(str(recording.path) for recording in recordings)
    check_venues(venues, venues_of(manifests), where)
    there = {each for each in instruments_of(manifests) if not venues or each[0] in venues}
    of_pair: dict[str, set[PairKey]] = {}
    for venue, _, pair in there:
        of_pair.setdefault(pair, set()).add(PairKey(venue, pair))
    may_grow = any(manifest.status == "running" for manifest in manifests)
    found: dict[PairName, None] = {}
    for name in names:
        keys = {PairKey(venue, pair) for venue, _, pair in meant_by(name, there)}
        if not keys and not may_grow:
            raise SymbolError(f"{name!r} is not in {where}, expected one of {_listed(name, of_pair)}")
        for pair in sorted({key.trading_pair for key in keys}) or [name]:
            own = {key for key in keys if key.trading_pair == pair}
            found.update(dict.fromkeys([pair] if own == of_pair.get(pair, set()) else sorted(own)))
    return list(found)


def _listed(name: str, known: Collection[str]) -> str:
    """The names there are, the most similar ones first where there are many."""
    names = sorted(known)
    if len(names) > _NAMES_SHOWN:
        close = difflib.get_close_matches(name.upper(), names, n=3, cutoff=0.5)
        rest = [each for each in names if each not in close]
        names = [*close, *rest[: _NAMES_SHOWN - len(close)], f"{len(known) - _NAMES_SHOWN} more"]
    return ", ".join(names) or "none: nothing is in it"
