"""
One question to several recordings at once: what a market order paid above the mid price.

Example:  python -m examples.several_recordings tapes/monday tapes/tuesday
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl
import polars.selectors as cs

import tickdeck as td

#: Each trade with the quote that stood when it was received, on its venue: another may have a symbol of that name.
#: `capture_seq` orders within a recording, times do not.
QUERY: Final = """
    SELECT
        t.recording,
        t.venue,
        t.trading_pair,
        count(*) AS trades,
        avg(CASE t.aggressor_side WHEN 'buy' THEN t.price - q.mid ELSE q.mid - t.price END / q.mid * 10000) AS paid_bps,
        avg(q.spread_bps / 2) AS half_spread_bps
    FROM trades AS t
    ASOF JOIN quotes AS q
        ON t.recording = q.recording AND t.venue = q.venue AND t.symbol = q.symbol AND t.capture_seq > q.capture_seq
    WHERE NOT t.is_history AND NOT t.is_duplicate AND NOT q.is_stale AND NOT q.is_crossed
    GROUP BY ALL
    ORDER BY ALL
"""


def paid(folders: Sequence[Path]) -> pl.DataFrame:
    """What takers paid, by recording, venue and pair, beside half the spread. Takes one recording or more."""
    with td.connect(*folders) as connection:
        result: pl.DataFrame = connection.sql(QUERY).pl()
    return result


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m examples.several_recordings RECORDING...")
    try:
        found = paid([Path(folder) for folder in sys.argv[1:]])
    except td.TickdeckError as exc:
        sys.exit(f"Error: {exc}")
    # Names are the venue's: `printable` leaves nothing in them that a terminal obeys.
    print(found.with_columns(cs.string().map_elements(td.printable, pl.String)))
