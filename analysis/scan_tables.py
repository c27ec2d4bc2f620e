"""Tables of recordings as LazyFrames: what people begin a query of their own with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from analysis.spread_summary import mid_price, quoted_spread
from analysis.table_source import RecordingLike
from recordings.queries.lazy_tables import scan_table
from recordings.queries.several_recordings import labels, opened_all, refuse_twice
from toolkit.errors import ConfigError

__all__ = ["scan"]

#: A table that no file holds: `top` with what follows from it.
_QUOTES: Final = "quotes"


def scan(recordings: RecordingLike | Sequence[RecordingLike], table: str) -> pl.LazyFrame:
    """
    Read one table of a recording, or of several, lazily: only the columns and row groups that a query needs are read.

    Rows of what is not sealed yet come along, as far as it was written when the recording was first asked for it. They
    are not read from columns: each `collect` runs the protocols over those frames, some 30,000 a second.
    `scan(Recording.open(folder, sealed=True), table)` leaves them out.

    Args:
        recordings: An open recording, or its folder; or several, one after the other.
        table: `raw`, `book`, `trades`, `bbo`, `funding`, `instruments`, `liquidations`, `events`, `top` or another table
            of the format; or `quotes`: `top` with `mid`, `spread` (Float64, quote currency) and `spread_bps` (Float64,
            basis points of the mid), all null if a side is, and negative spreads where the book is crossed.

    Returns:
        First `recording` (String): the name of the folder, or its whole path where two have the same name. Then the columns
        of `recordings/FORMAT.md`: prices and sizes Float64, times Datetime("ns") without a zone, in UTC.
        Rows come recording after recording, segment after segment, within one stretch after stretch, within that by
        (symbol, venue, capture_seq, sub_seq), so those of one instrument are in the order of capture; at last those that
        are not sealed yet, in the order of capture. A table without rows gives an empty frame with the same columns.

    Raises:
        ConfigError: There is no such table, no recording, or one that stands there twice.
        NotARecording, FormatTooNew, RecordingDamaged: A folder cannot be used.
    """
    opened = opened_all(recordings)
    if not opened:
        raise ConfigError("no recording to scan, expected at least one")
    refuse_twice(opened)
    stored = "top" if table == _QUOTES else table
    rows = pl.concat(
        scan_table(recording, stored).select(pl.lit(name).alias("recording"), pl.all())
        for recording, name in zip(opened, labels(opened), strict=True)
    )
    if table != _QUOTES:
        return rows
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    rows = rows.with_columns(mid_price(bid, ask).alias("mid"), quoted_spread(bid, ask).alias("spread"))
    return rows.with_columns((pl.col("spread") / pl.col("mid") * 10_000.0).alias("spread_bps"))
