"""What somebody calls a pair: by its name, as its venue spells it, or by its base alone where one pair has it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from typing import Final

from recordings.recording import Recording
from toolkit.errors import SymbolError

__all__ = ["pairs_named"]

#: Names that an error lists, at most.
_NAMES_SHOWN: Final = 12


def pairs_named(recordings: Sequence[Recording], names: Collection[str]) -> list[str]:
    """
    The trading pairs that are meant, each once, in the order of the names.

    A name is a trading pair of the recordings (`BTC-USD`), else a symbol as its venue spells it (`BTCUSDT`, `@107`), else
    the base of exactly one pair (`BTC`). What a recording that is still written does not know yet is kept as it is, since
    its pairs come with its frames.

    Raises SymbolError for a name that is none of them, or the base of several; every command that takes pairs says it
    in the same words.
    """
    by_name: dict[str, set[str]] = {}
    by_base: dict[str, set[str]] = {}
    for recording in recordings:
        for symbol, pair in recording.manifest.symbols.items():
            by_name.setdefault(symbol.partition("/")[2], set()).add(pair)
            by_base.setdefault(pair.rpartition("-")[0], set()).add(pair)
    known = set().union(*by_name.values()) - {""}
    may_grow = any(recording.manifest.status == "running" for recording in recordings)
    found: dict[str, None] = {}
    for name in names:
        pairs = {name} if name in known else by_name.get(name) or by_base.get(name, set()) if name else set()
        if len(pairs) > 1 and name not in by_name:
            raise SymbolError(f"{name!r} is the base of {', '.join(sorted(pairs))}: name one of them")
        if not pairs and not may_grow:
            where = ", ".join(str(recording.path) for recording in recordings)
            raise SymbolError(f"{name!r} is not in {where}, expected one of {_listed(name, known)}")
        found.update(dict.fromkeys(sorted(pairs) or [name]))
    return list(found)


def _listed(name: str, known: Collection[str]) -> str:
    """The names there are, the most similar ones first where there are many."""
    names = sorted(known)
    if len(names) > _NAMES_SHOWN:
        close = difflib.get_close_matches(name.upper(), names, n=3, cutoff=0.5)
        rest = [each for each in names if each not in close]
        names = [*close, *rest[: _NAMES_SHOWN - len(close)], f"{len(known) - _NAMES_SHOWN} more"]
    return ", ".join(names) or "none: nothing is in it"
