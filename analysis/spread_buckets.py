"""Spreads as a series: one row for each instrument and bucket of time, aligned to UTC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl
from polars.io.plugins import register_io_source

from analysis.batch_grouping import Gathering
from analysis.feed_evidence import FeedEvidence
from analysis.quote_durations import Clock, Progress, State, pairs_of, quote_end_ns, stretches, ts_column
from analysis.spread_summary import in_groups, mid_price, quoted_spread, spread_bps
from analysis.table_source import KEY, check_rows, only
from recordings.queries.clock_steps import elapsed_ns
from toolkit.errors import ConfigError
from toolkit.timing.times import Instant, Length, instant_ns, length_ns

__all__ = ["SERIES_SCHEMA", "spread_series"]

#: Columns of `spread_series`, in their order.
SERIES_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "ts": pl.Datetime("ns"),
        "spread": pl.Float64(),
        "spread_bps": pl.Float64(),
        "spread_bps_max": pl.Float64(),
        "mid_open": pl.Float64(),
        "mid_high": pl.Float64(),
        "mid_low": pl.Float64(),
        "mid_close": pl.Float64(),
        "covered_s": pl.Float64(),
        "stale_share": pl.Float64(),
        "one_sided_share": pl.Float64(),
        "crossed_share": pl.Float64(),
        "top_changes": pl.Int64(),
    }
)

#: Buckets worked on at a time, and the most that one instrument may have.
_BUCKETS_PER_PASS: Final = 1_000_000
_BUCKETS_MAX: Final = 50_000_000

_NS_PER_S: Final = 1e9

# Means are made of integer sums, which come out the same whatever the batches and threads. The unit is as small as
# 127 bits allow for a bucket of that length, with room for a price that grows a thousand times.
_SUM_BITS: Final = 126
_GROWTH_BITS: Final = 12
#: A spread in basis points is at most 20,000.
_BPS_BITS: Final = 16
#: Beyond that many bits a unit is finer than any float64 spread needs.
_UNIT_BITS_MAX: Final = 80


def spread_series(
    top: pl.LazyFrame,
    *,
    every_ns: Length,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    counts_end: bool | None = None,
    clock: Clock = "recv",
    evidence: FeedEvidence | None = None,
    progress: Progress | None = None,
) -> pl.LazyFrame:
    """
    Follow the spread and the mid price of each instrument through time.

    From the bucket of its first quote to that of the end, an instrument has a row for every bucket: one in which
    nothing came has the quote that was held. What counts, and how time is counted, is as in `analysis.spreads`.

    Args:
        top: Rows of the table `top`, those of each instrument in the order of (capture_seq, sub_seq).
        every_ns: Length of a bucket (ns, a timedelta, or text such as `1m`). Buckets start at multiples of it since the
            Unix epoch, so in UTC.
        start_ns: Where to start (ns, a datetime, or text); the quote that stands there counts from there.
        end_ns: Where to end, likewise. None: at the newest time in `top`.
        counts_end: Whether a row at `end_ns` is counted in `top_changes`. None: only if `end_ns` is None.
        clock: `recv` for our receive time, `event` for the venue's own.
        evidence: Feed and clock of the recording (`analysis.evidence_of`): from when on a book that became stale was so,
            and steps of the clock, which are no time. None: the rows of `top` alone.
        progress: Called with the number of rows that were read.

    Returns:
        A LazyFrame that reads when it is collected or written, sorted by venue, symbol and time:

        - `venue`, `symbol`, `trading_pair` (String), `ts` (Datetime ns, UTC): start of the bucket.
        - `spread` (Float64, quote currency), `spread_bps` (basis points): means weighted by time; `spread_bps_max`.
        - `mid_open`, `mid_high`, `mid_low`, `mid_close` (Float64, quote currency) of the mid prices that stood.
        - `covered_s` (Float64): time a quote stood; `stale_share`, `one_sided_share`, `crossed_share`: shares of it.
        - `top_changes` (Int64): rows of `top` that are counted in the bucket.

        Spreads and mid prices are null where no quote with both sides, neither stale nor crossed, stood for any time.

    Raises:
        ConfigError: `top` is no LazyFrame, the length is not positive, or an instrument would have more than 50 million buckets; while
            reading, that the rows are not in the order of capture.
    """
    check_rows(top)
    length = length_ns(every_ns, "a bucket")
    start = None if start_ns is None else instant_ns(start_ns, "start_ns")
    end = None if end_ns is None else instant_ns(end_ns, "end_ns")

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for frame in _series(top, length, start, end, counts_end, clock, evidence, progress):
            # Rows are counted before they are filtered: Polars pushes both down only from `head(n).filter(...)`.
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            if predicate is not None:
                frame = frame.filter(predicate)
            yield frame if with_columns is None else frame.select(with_columns)
            if left == 0:
                return

    return register_io_source(read, schema=SERIES_SCHEMA)


def _series(
    top: pl.LazyFrame,
    every_ns: int,
    start_ns: int | None,
    end_ns: int | None,
    counts_end: bool | None,
    clock: Clock,
    evidence: FeedEvidence | None,
    progress: Progress | None,
) -> Iterator[pl.DataFrame]:
    if counts_end is None:
        counts_end = end_ns is None
    if end_ns is None:
        end_ns = quote_end_ns(top, clock)
    pairs = pairs_of(top)
    if end_ns is None or pairs.is_empty():
        return
    if start_ns is not None and start_ns >= end_ns:
        raise ConfigError(f"the window ends at {end_ns} ns, which is not after its start at {start_ns} ns")
    first_ns = top.select(pl.col(ts_column(clock)).min().cast(pl.Int64)).collect(engine="streaming").item()
    if first_ns is None:
        return  # no quote has a time on that clock
    begin_ns = first_ns if start_ns is None else max(first_ns, start_ns)
    steps = evidence.steps if evidence is not None and clock == "recv" else ()
    buckets = max(1, elapsed_ns(steps, begin_ns, end_ns) // every_ns)
    if buckets > _BUCKETS_MAX:
        raise ConfigError(f"{buckets:,} buckets for each pair; choose longer ones, so that there are {_BUCKETS_MAX:,}")
    for group in in_groups(pairs, max(1, _BUCKETS_PER_PASS // buckets)):
        chosen = only(top, group)
        gathering, units = _gathering(every_ns), _PriceUnits(every_ns)
        for batch in stretches(
            chosen,
            end_ns=end_ns,
            counts_end=counts_end,
            start_ns=start_ns,
            clock=clock,
            evidence=evidence,
            progress=progress,
        ):
            gathering.add(units.apply(_pieces(batch, every_ns)))
        yield _finish(gathering.result(), group, units, every_ns)


def _pieces(batch: pl.DataFrame, every_ns: int) -> pl.DataFrame:
    """Cut each stretch at the borders of the buckets."""
    start, stop, bucket = pl.col("start"), pl.col("stop"), pl.col("bucket")
    first = start // every_ns
    last = pl.max_horizontal(first, (stop - 1) // every_ns)
    # A row counts where its own time is, which is the first bucket of what it left.
    return (
        batch.with_columns(pl.int_ranges(first, last + 1).alias("bucket"), first.alias("first"))
        .explode("bucket")
        .with_columns(
            (pl.min_horizontal(stop, (bucket + 1) * every_ns) - pl.max_horizontal(start, bucket * every_ns)).alias(
                "length"
            ),
            (pl.col("is_change") & (bucket == pl.col("first"))).alias("is_change"),
        )
        .with_columns(((pl.col("state") == State.VALID) & (pl.col("length") > 0)).alias("is_valid"))
    )


class _PriceUnits:
    """How many units a spread of one is: for each instrument a power of two, from its first ask."""

    def __init__(self, every_ns: int) -> None:
        self._bits = min(_UNIT_BITS_MAX, _SUM_BITS - _GROWTH_BITS - every_ns.bit_length())
        self._units = pl.DataFrame(schema={**dict.fromkeys(KEY, pl.String), "unit": pl.Float64})

    def apply(self, pieces: pl.DataFrame) -> pl.DataFrame:
        firsts = pieces.filter("is_valid").group_by(*KEY, maintain_order=True).agg(pl.col("ask_price").first())
        new = firsts.join(self._units, on=KEY, how="anti", maintain_order="left")
        unit = pl.lit(2.0).pow(self._bits - pl.col("ask_price").log(2.0).floor())
        self._units = pl.concat([self._units, new.select(*KEY, unit.alias("unit"))])
        return self.of(pieces)

    def of(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Add the column `unit`; null for an instrument without a valid quote so far."""
        return frame.join(self._units, on=KEY, how="left", maintain_order="left")


def _bps_unit(every_ns: int) -> float:
    return 2.0 ** min(_UNIT_BITS_MAX, _SUM_BITS - _BPS_BITS - every_ns.bit_length())


def _gathering(every_ns: int) -> Gathering:
    length, state, is_valid = pl.col("length"), pl.col("state"), pl.col("is_valid")
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    bps, mid = spread_bps(bid, ask), mid_price(bid, ask)
    held = length.cast(pl.Int128)
    sums = {
        "covered_ns": length.sum(),
        "valid_ns": length.filter(is_valid).sum(),
        "stale_ns": length.filter(state == State.STALE).sum(),
        "one_sided_ns": length.filter(state == State.ONE_SIDED).sum(),
        "crossed_ns": length.filter(state == State.CROSSED).sum(),
        "top_changes": pl.col("is_change").sum().cast(pl.Int64),
        "spread_sum": ((quoted_spread(bid, ask) * pl.col("unit")).round(0).cast(pl.Int128) * held)
        .filter(is_valid)
        .sum(),
        "bps_sum": ((bps * _bps_unit(every_ns)).round(0).cast(pl.Int128) * held).filter(is_valid).sum(),
    }
    mids = mid.filter(is_valid)
    return Gathering(
        keys=(*KEY, "bucket"),
        parts={
            **sums,
            "spread_bps_max": bps.filter(is_valid).max(),
            "mid_open": mids.first(),
            "mid_high": mids.max(),
            "mid_low": mids.min(),
            "mid_close": mids.last(),
        },
        merge={
            **{name: pl.col(name).sum() for name in sums},
            "spread_bps_max": pl.col("spread_bps_max").max(),
            "mid_open": pl.col("mid_open").first(ignore_nulls=True),
            "mid_high": pl.col("mid_high").max(),
            "mid_low": pl.col("mid_low").min(),
            "mid_close": pl.col("mid_close").last(ignore_nulls=True),
        },
    )


def _finish(buckets: pl.DataFrame, pairs: pl.DataFrame, units: _PriceUnits, every_ns: int) -> pl.DataFrame:
    covered, valid = pl.col("covered_ns"), pl.col("valid_ns")

    def mean(total: str, unit: pl.Expr) -> pl.Expr:
        return pl.when(valid > 0).then(pl.col(total).cast(pl.Float64) / unit / valid.cast(pl.Float64))

    return (
        units.of(buckets)
        .join(pairs, on=KEY, how="left", maintain_order="left")
        .with_columns(
            (pl.col("bucket") * every_ns).cast(pl.Datetime("ns")).alias("ts"),
            mean("spread_sum", pl.col("unit")).alias("spread"),
            mean("bps_sum", pl.lit(_bps_unit(every_ns))).alias("spread_bps"),
            (covered / _NS_PER_S).alias("covered_s"),
            *(
                pl.when(covered > 0).then(pl.col(f"{name}_ns") / covered).alias(f"{name}_share")
                for name in ("stale", "one_sided", "crossed")
            ),
        )
        .select(SERIES_SCHEMA.names())
    )
