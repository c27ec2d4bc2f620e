"""How commands tell instruments apart in what they print: by the pair, and by the venue as soon as there are several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.cli.output.results import counted, say
from toolkit.cli.output.table_layout import some
from toolkit.keys import PairKey

if TYPE_CHECKING:
    import polars as pl

    from toolkit.books.tracker import OrderBookTracker

__all__ = ["account_columns", "crossed_rows", "some_pairs", "venue_columns", "write_crossed"]

#: Characters of an account that tables show, unless two begin alike.
_ACCOUNT_CHARS = 10
#: Pairs that a line names, at most.
_NAMES_SHOWN = 10


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


def some_pairs(rows: pl.DataFrame, report: pl.DataFrame) -> str:
    """The pairs of some rows of a report, for a line: with their venues where the report is of several."""
    keys = [PairKey(*row) for row in rows.select("venue", "trading_pair").iter_rows()]
    names = [str(key) if venue_columns(report) else key.trading_pair for key in keys]
    return some(list(dict.fromkeys(names)), _NAMES_SHOWN)


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
        say(f"crossed book: {key} after {counted(row['messages'], 'message')}", err=to_stderr)
