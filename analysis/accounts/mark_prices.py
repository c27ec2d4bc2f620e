"""What one unit of each instrument was worth, over a recording: mark prices, or mid prices where there are none."""

from __future__ import annotations

from typing import Final

import polars as pl

from analysis.spread_summary import mid_price
from analysis.table_source import KEY, only, rows_of
from recordings.recording import Recording
from toolkit.messages import FundingKind

__all__ = ["MARK_SCHEMA", "marks"]

#: Columns of `marks`, in their order.
MARK_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "ts_recv": pl.Datetime("ns"),
        "capture_seq": pl.Int64(),
        "mark": pl.Float64(),
    }
)


def marks(recording: Recording, instruments: pl.DataFrame) -> pl.DataFrame:
    """
    Find every price that positions in some instruments can be valued at.

    Args:
        recording: An open recording.
        instruments: Instruments to look for, by `venue` and `symbol` (String).

    Returns:
        `venue`, `symbol`, `trading_pair` (String), `ts_recv` (Datetime ns, UTC), `capture_seq` (Int64) and `mark`
        (Float64, quote currency), in the order of capture: mark prices as the venue streams them, or else its index
        price; of an instrument that has neither the mid prices of its book while that could be believed.
    """
    streamed = (
        only(rows_of(recording, "funding"), instruments)
        .filter(pl.col("kind") == FundingKind.CURRENT.value)
        .with_columns(pl.coalesce("mark_price", "index_price").alias("mark"))
        .select(MARK_SCHEMA.names())
        .drop_nulls("mark")
        .collect()
    )
    others = instruments.select(KEY).unique().join(streamed, on=KEY, how="anti")
    mids = (
        only(rows_of(recording, "top"), others)
        .filter(~pl.col("is_stale"), pl.col("bid_price") < pl.col("ask_price"))
        .with_columns(mid_price(pl.col("bid_price"), pl.col("ask_price")).alias("mark"))
        .select(MARK_SCHEMA.names())
        .collect()
    )
    return pl.concat([streamed, mids]).sort("capture_seq", maintain_order=True)
