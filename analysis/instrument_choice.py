"""The instruments that are asked for, of those that a table has rows of: one rule and one error for every report."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from recordings.reading.selecting import Wish
from recordings.recording import Recording
from toolkit.errors import SymbolError
from toolkit.keys import PairName, named

__all__ = ["choose"]

_INSTRUMENT = ("venue", "symbol", "trading_pair")
#: Pairs that an error lists, at most.
_NAMES_SHOWN = 20


def choose(
    rows: pl.DataFrame,
    recording: Recording,
    pairs: Collection[PairName] | PairName,
    venues: Collection[str] | str,
    *,
    error: str,
) -> pl.DataFrame:
    """
    Keep the rows of the instruments that are asked for.

    Args:
        rows: With `venue`, `symbol` and `trading_pair` (String).
        recording: Recording that the rows come from, whose instruments are the choice.
        pairs: Trading pairs, by name or key, symbols as a venue spells them, or bases that one pair has; empty: all. A name
            that several venues have keeps the rows of all: they say which venue they are of.
        venues: Only of these; empty: all.
        error: Begins the error about an instrument without a row, before those there are; `{}` stands for its name.

    Raises:
        ConfigError: A venue that the recording is not of.
        SymbolError: A pair, or a venue, without a row.
    """
    wish = Wish.of(pairs or None, venues or None)
    if wish is None:
        return rows
    wish.check_venues([recording.manifest], str(recording.path))
    there = list(rows.select(_INSTRUMENT).unique().iter_rows())
    known = named((venue, pair) for venue, _, pair in there)
    listed = ", ".join(known[:_NAMES_SHOWN]) or "none"
    if len(known) > _NAMES_SHOWN:
        listed += f" and {len(known) - _NAMES_SHOWN} more"
    for each in wish.missing(there):
        raise SymbolError(f"{error.format(each)} {listed}")
    wish = wish.spelled_out(there)
    kept = [key for key in there if wish.takes(*key)]
    if not kept:
        venue = ", ".join(sorted(wish.venues or ()))
        raise SymbolError(f"{error.format(f'any pair on {venue}')} {listed}")
    chosen = pl.DataFrame(kept, schema=dict.fromkeys(_INSTRUMENT, pl.String), orient="row")
    return rows.join(chosen, on=_INSTRUMENT, how="semi", maintain_order="left")
