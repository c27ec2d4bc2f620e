"""How commands tell instruments apart in what they print: by the pair, and by the venue as soon as there are several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.cli.output import say
from toolkit.keys import PairKey

if TYPE_CHECKING:
    import polars as pl

    from toolkit.tracker import OrderBookTracker

__all__ = ["account_columns", "crossed_rows", "venue_columns", "write_crossed"]

#: Characters of an account that tables show, unless two begin alike.
_ACCOUNT_CHARS = 10


def venue_columns(report: pl.DataFrame) -> list[pl.Expr]:
    """The column `venue` of a table for people: where the rows are of several venues."""
    import polars as pl

    return [pl.col("venue")] if report["venue"].n_unique() > 1 else []


def account_columns(report: pl.DataFrame) -> list[pl.Expr]:
    """The column `account` of a table for people: where the rows are of several, so much of each as tells them apart."""
    import polars as pl

    accounts = report["account"].n_unique()
    if accounts < 2:
        return []
    short = pl.col("account").str.slice(0, _ACCOUNT_CHARS)
    return [short if report.select(short.n_unique()).item() == accounts else pl.col("account")]


def crossed_rows(tracker: OrderBookTracker) -> list[dict[str, Any]]:
    """How often which books were crossed, a row for each, sorted by venue and pair."""
    return [
        {"venue": venue, "trading_pair": pair, "messages": count}
        for (venue, pair), count in sorted(tracker.crossed_count.items())
    ]


def write_crossed(rows: list[dict[str, Any]], *, to_stderr: bool) -> None:
    """Say it, a line for each book."""
    for row in rows:
        key = PairKey(row["venue"], row["trading_pair"])
        say(f"crossed book: {key} after {row['messages']:,} messages", err=to_stderr)
