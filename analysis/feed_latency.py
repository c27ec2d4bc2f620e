"""What was received, when, and how late."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import polars as pl

from analysis.instrument_choice import choose
from analysis.table_source import KEY, RecordingLike, recording_end_ns, rows_of, sealed_part
from recordings.format.schema import MESSAGE_TABLES
from recordings.queries.clock_steps import ClockStep, clock_steps, elapsed_ns
from recordings.queries.gaps import find_gaps
from toolkit.keys import PairName
from toolkit.messages import FundingKind

__all__ = ["COVERAGE_SCHEMA", "LATENCY_SCHEMA", "coverage", "latency"]

_QUANTILES: Final = {"p01": 1, "p05": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "p99": 99}
#: Tables of what a venue sends about instruments, as time goes by.
_STREAMS: Final = ("book", "bbo", "trades", "funding")

_NOTHING: Final = "nothing of {} in the recording; it has"

#: Columns of `latency`, in their order.
LATENCY_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "table": pl.String(),
        "messages": pl.Int64(),
        "untimed_count": pl.Int64(),
        "negative_count": pl.Int64(),
        **{f"delay_{name}_ns": pl.Int64() for name in ("min", *_QUANTILES, "max")},
    }
)

#: Columns of `coverage`, in their order.
COVERAGE_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "table": pl.String(),
        "rows": pl.Int64(),
        "messages": pl.Int64(),
        "ts_recv_first": pl.Datetime("ns"),
        "ts_recv_last": pl.Datetime("ns"),
        "gap_count": pl.Int64(),
        "gap_s": pl.Float64(),
    }
)

# Delays are counted in bins of 2^20 ns first, and exactly only in the bins that hold a quantile: at most 2^20
# different values in each of them, whatever the length of the recording.
_BIN_NS: Final = 1 << 20


def latency(
    recording: RecordingLike, *, pairs: Collection[PairName] | PairName = (), venues: Collection[str] | str = ()
) -> pl.DataFrame:
    """
    How long after the venue's own time each message was received, by instrument and table.

    Both clocks are taken as they are: a delay below zero says that one of them is wrong, and is counted, not hidden.
    History is left out, since its delay says nothing: trades from before the subscription, and settled funding rates,
    which are asked for some time after they were charged.

    Args:
        recording: An open recording, or its folder.
        pairs: Only these pairs, by name or key (`PairKey`), or venue's symbols.
        venues: Only of these.

    Returns:
        One row for each instrument and table, sorted by venue, symbol and table: `venue`, `symbol`, `trading_pair`,
        `table` (String), `messages`, `untimed_count` (without a venue time), `negative_count` (Int64),
        `delay_min_ns`, `_p01_`, `_p05_`, `_p25_`, `_median_`, `_p75_`, `_p95_`, `_p99_`, `delay_max_ns` (Int64, ns;
        a quantile is the smallest delay that at least that share of the messages did not exceed; null without any).
    """
    opened = sealed_part(recording)
    frames = [_delays(_messages(rows_of(opened, table), table), table) for table in _STREAMS]
    found = pl.concat(frames).sort("venue", "symbol", "table").select(LATENCY_SCHEMA.names()).cast(LATENCY_SCHEMA)
    return choose(found, opened, pairs, venues, error=_NOTHING)


def coverage(
    recording: RecordingLike, *, pairs: Collection[PairName] | PairName = (), venues: Collection[str] | str = ()
) -> pl.DataFrame:
    """
    What a recording holds of each instrument, and what it misses.

    Args:
        recording: An open recording, or its folder.
        pairs: Only these pairs, by name or key (`PairKey`), or venue's symbols.
        venues: Only of these.

    Returns:
        One row for each instrument and table, sorted by venue, symbol and table: `venue`, `symbol`, `trading_pair`,
        `table` (String), `rows`, `messages` (Int64; a book message has many rows), `ts_recv_first`, `ts_recv_last`
        (Datetime ns, UTC), `gap_count` (Int64) and `gap_s` (Float64): the gaps (`recordings.queries.gaps.find_gaps`) of
        any stream of the instrument, and of its venue's connections, and how long they are together, where they
        overlap counted once. Gaps are the instrument's, the same in all of its rows. One that never ended lasts
        until the end of the recording.
    """
    opened = sealed_part(recording)
    frames = []
    for table in MESSAGE_TABLES:
        if table == "events":
            continue
        rows = rows_of(opened, table)
        messages = pl.col("is_first").sum() if table == "book" else pl.len()
        frames.append(
            rows.group_by(*KEY, maintain_order=True)
            .agg(
                pl.col("trading_pair").last(),
                pl.len().cast(pl.Int64).alias("rows"),
                messages.cast(pl.Int64).alias("messages"),
                pl.col("ts_recv").min().alias("ts_recv_first"),
                pl.col("ts_recv").max().alias("ts_recv_last"),
            )
            .with_columns(pl.lit(table).alias("table"))
            .collect(engine="streaming")
        )
    held = pl.concat(frames).sort("venue", "symbol", "table")
    held = choose(held, opened, pairs, venues, error=_NOTHING)
    instruments = held.select(KEY).unique()
    gaps = _gaps(find_gaps(opened), instruments, recording_end_ns(opened), clock_steps(opened))
    return (
        held.join(gaps, on=KEY, how="left", maintain_order="left")
        .with_columns(pl.col("gap_count").fill_null(0), pl.col("gap_s").fill_null(0.0))
        .select(COVERAGE_SCHEMA.names())
    )


def _messages(rows: pl.LazyFrame, table: str) -> pl.LazyFrame:
    if table == "book":
        rows = rows.filter("is_first")
    elif table == "trades":
        rows = rows.filter(~pl.col("is_history"))
    elif table == "funding":
        rows = rows.filter(pl.col("kind") == FundingKind.CURRENT.value)
    delay = pl.col("ts_recv").cast(pl.Int64) - pl.col("ts_event").cast(pl.Int64)
    return rows.select(*KEY, "trading_pair", delay.alias("delay"))


def _delays(messages: pl.LazyFrame, table: str) -> pl.DataFrame:
    delay = pl.col("delay")
    totals = (
        messages.group_by(*KEY, maintain_order=True)
        .agg(
            pl.col("trading_pair").last(),
            pl.len().alias("messages"),
            delay.null_count().alias("untimed_count"),
            (delay < 0).sum().alias("negative_count"),
            delay.min().alias("delay_min_ns"),
            delay.max().alias("delay_max_ns"),
        )
        .with_columns(pl.lit(table).alias("table"))
        .collect(engine="streaming")
    )
    timed = messages.filter(delay.is_not_null()).with_columns((delay // _BIN_NS).alias("bin"))
    bins = timed.group_by(*KEY, "bin").agg(pl.len().cast(pl.Int64).alias("count")).collect(engine="streaming")
    wanted = _reached(bins, "bin")
    inside = (
        timed.join(wanted.select(*KEY, pl.col("value").alias("bin")).unique().lazy(), on=[*KEY, "bin"], how="semi")
        .group_by(*KEY, "bin", "delay")
        .agg(pl.len().cast(pl.Int64).alias("count"))
        .collect(engine="streaming")
    )
    # The bins between are known by their count alone; those with a quantile are opened up.
    closed = bins.join(inside.select(*KEY, "bin").unique(), on=[*KEY, "bin"], how="anti")
    exact = pl.concat(
        [
            closed.select(*KEY, (pl.col("bin") * _BIN_NS).alias("delay"), "count"),
            inside.select(*KEY, "delay", "count"),
        ]
    )
    quantiles = _reached(exact, "delay")
    wide = quantiles.pivot("name", index=KEY, on_columns=list(_QUANTILES), values="value", aggregate_function="first")
    return totals.join(
        wide.rename({name: f"delay_{name}_ns" for name in _QUANTILES}), on=KEY, how="left", maintain_order="left"
    ).select(LATENCY_SCHEMA.names())


def _reached(counted: pl.DataFrame, column: str) -> pl.DataFrame:
    """For each instrument and quantile (`name`) the first value at which so many counts are reached."""
    ordered = counted.sort(*KEY, column).with_columns(
        pl.col("count").cum_sum().over(KEY).alias("until"), pl.col("count").sum().over(KEY).alias("total")
    )
    return pl.concat(
        [
            ordered.filter(pl.col("until") * 100 >= pl.col("total") * percent)
            .group_by(*KEY, maintain_order=True)
            .agg(pl.col(column).first().alias("value"))
            .with_columns(pl.lit(name).alias("name"))
            for name, percent in _QUANTILES.items()
        ]
    )


def _gaps(gaps: pl.DataFrame, pairs: pl.DataFrame, end_ns: int | None, steps: Sequence[ClockStep]) -> pl.DataFrame:
    """The gaps of each instrument, with those of its venue and connections, put together where they overlap."""
    start, stop = pl.col("start"), pl.col("stop")
    intervals = gaps.select(
        *KEY,
        pl.col("ts_start").cast(pl.Int64).alias("start"),
        pl.col("ts_end").cast(pl.Int64).fill_null(end_ns).alias("stop"),
    )
    of_all = intervals.filter(pl.col("symbol") == "").drop("symbol").join(pairs, on="venue")
    intervals = pl.concat([intervals.filter(pl.col("symbol") != ""), of_all.select(intervals.columns)])
    runs = (
        intervals.filter(stop > start)
        .sort(*KEY, "start", "stop")
        .with_columns(stop.cum_max().shift(1).over(KEY).alias("before"))
        .with_columns((start > pl.col("before")).fill_null(True).cum_sum().over(KEY).alias("run"))
        .group_by(*KEY, "run", maintain_order=True)
        .agg(start.min(), stop.max())
    )
    lengths = [elapsed_ns(steps, *each) for each in runs.select("start", "stop").iter_rows()]
    return (
        runs.with_columns(pl.Series("length", lengths, pl.Int64))
        .group_by(*KEY, maintain_order=True)
        .agg(pl.len().cast(pl.Int64).alias("gap_count"), (pl.col("length").sum() / 1e9).alias("gap_s"))
    )
