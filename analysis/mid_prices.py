"""The mid price of a book as of a venue's time, where anything says that the book still stood then."""

from __future__ import annotations

from typing import Final

import polars as pl

from analysis.spread_summary import mid_price
from analysis.table_source import KEY, only
from toolkit.clock import NS_PER_S

__all__ = ["MID_AGE_MAX_NS", "mid_before"]

#: For how long after the last message of its book a mid price is believed. Every venue's book of a pair that is traded
#: is sent, or repeated, more often.
MID_AGE_MAX_NS: Final = 60 * NS_PER_S


def mid_before(
    rows: pl.DataFrame, time: str, *, top: pl.LazyFrame, messages: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """
    Add `mid_before`: the book's last mid price strictly before a venue time of each row.

    Both times are the venue's: an order and the book it met are compared by one clock. A row of `top` or a message
    without a venue time takes effect at the newest time before it in the order of capture.

    Args:
        rows: Rows with `venue`, `symbol` (String) and a time.
        time: Name of the column with that time, Datetime ns; null where it is not known.
        top: Rows of the table `top`.
        messages: Rows of `book` and `bbo`, with `venue`, `symbol`, `ts_event` and `capture_seq`: that the book was still
            spoken of, though its best prices stayed. None: only changes of these say so.

    Returns:
        The rows in their order, with `mid_before` (Float64, quote currency): null without a time, before the first quote,
        where the book was stale or had one side at that time, and more than `MID_AGE_MAX_NS` after anything was said of it.
    """
    numbered = rows.with_row_index("_row").with_columns(pl.col(time).cast(pl.Int64).alias("_at"))
    timed = numbered.filter(pl.col("_at").is_not_null()).select("_row", *KEY, "_at").sort("_at", maintain_order=True)
    wanted = timed.select(KEY).unique()
    quotes = only(top, wanted).select(
        *KEY,
        pl.col("ts_event").cast(pl.Int64).alias("_at"),
        "capture_seq",
        pl.lit(1, pl.Int8).alias("_rank"),
        "sub_seq",
        # A state without a price is a state: what was before it must not be found through it.
        pl.when(~pl.col("is_stale"))
        .then(mid_price(pl.col("bid_price"), pl.col("ask_price")))
        .fill_null(float("nan"))
        .alias("mid_before"),
    )
    said = [quotes.collect()]
    if messages is not None:
        # Only those that may be the last one before a row are kept: a month of them is large.
        spans = pl.col("_at") // MID_AGE_MAX_NS
        near = pl.concat([timed.select(*KEY, (spans - back).alias("_span")) for back in (0, 1)]).unique()
        said.append(
            only(messages, wanted)
            .select(*KEY, pl.col("ts_event").cast(pl.Int64).alias("_at"), "capture_seq")
            .drop_nulls("_at")
            .join(near.lazy(), left_on=[*KEY, spans], right_on=[*KEY, "_span"], how="semi")
            .with_columns(pl.lit(0, pl.Int8).alias("_rank"), pl.lit(0, pl.Int32).alias("sub_seq"))
            .collect(engine="streaming")
        )
    known = (
        pl.concat(said, how="diagonal")
        .sort("capture_seq", "_rank", "sub_seq", maintain_order=True)
        .with_columns(pl.col("_at").cum_max().forward_fill().over(KEY), pl.col("mid_before").forward_fill().over(KEY))
        .drop_nulls("_at")
        .sort("_at", maintain_order=True)
        .select(*KEY, "_at", pl.col("_at").alias("_said"), "mid_before")
    )
    joined = timed.join_asof(
        known, on="_at", by=list(KEY), strategy="backward", allow_exact_matches=False, check_sortedness=False
    )
    is_known = pl.col("mid_before").is_not_nan() & (pl.col("_at") - pl.col("_said") <= MID_AGE_MAX_NS)
    mids = joined.select("_row", pl.when(is_known).then("mid_before").alias("mid_before"))
    return numbered.join(mids, on="_row", how="left", maintain_order="left").drop("_row", "_at")
