"""What accounts held of the base of spot pairs before they traded them: it is no position of any pair."""

from __future__ import annotations

from typing import Final

import polars as pl

__all__ = ["held_at_start"]

_ACCOUNT: Final = ("venue", "account")
_WALLET: Final = "spot"


def held_at_start(pairs: pl.DataFrame, fills: pl.DataFrame, balances: pl.DataFrame) -> pl.DataFrame:
    """
    Find what the venue stated first of each account's spot wallet.

    Args:
        pairs: Spot pairs of accounts: `venue`, `account`, `symbol`, `base` (String).
        fills: Fills of spot pairs, of these and of all others: `venue`, `account`, `base` and `capture_seq` (Int64).
        balances: With `venue`, `account`, `wallet`, `asset`, `total` (Float64) and `capture_seq`.

    Returns:
        `venue`, `account`, `symbol` and `held_start` (Float64, base currency) of those pairs whose wallet was stated
        before the first fill of that base, of whatever pair. An asset that a wallet does not list is 0.
    """
    spot = balances.filter(pl.col("wallet") == _WALLET)
    first = spot.group_by(_ACCOUNT).agg(pl.col("capture_seq").min().alias("stated_seq"))
    stated = spot.select(
        *_ACCOUNT, pl.col("capture_seq").alias("stated_seq"), pl.col("asset").alias("base"), held_start="total"
    )
    filled = fills.group_by(*_ACCOUNT, "base").agg(pl.col("capture_seq").min().alias("filled_seq"))
    return (
        pairs.join(filled, on=(*_ACCOUNT, "base"), how="left")
        .join(first, on=_ACCOUNT)
        .filter((pl.col("stated_seq") < pl.col("filled_seq")) | pl.col("filled_seq").is_null())
        .join(stated, on=(*_ACCOUNT, "base", "stated_seq"), how="left")
        .select(*_ACCOUNT, "symbol", pl.col("held_start").fill_null(0.0))
    )
