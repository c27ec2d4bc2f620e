"""
For how long each quote stood: the rows of `top` turned into stretches of time.

Everything about spreads rests on this module. A quote holds from its own time to that of the next row of the same
instrument, the last one to the end. Order is that of capture and never that of a timestamp.

- On the receive clock a step back counts as no time at all, and time runs on from the earlier reading: the interval
  until then was really waited through. Where the recorder reported a step of its clock, what the clock stepped over is
  no time either (`analysis.feed_evidence`).
- A book that becomes stale is so from the last receipt of its feed, as far as that is known, not from when it was noticed.
- On the venue's clock a row that arrives late takes effect at the newest time seen, since the book that it left did
  not exist before it; a row without a venue time takes effect at the newest time seen too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

import numpy as np
import polars as pl

from analysis.feed_evidence import FeedEvidence
from analysis.table_source import KEY, check_rows
from recordings.queries.clock_steps import elapsed_ns
from toolkit.errors import ConfigError
from toolkit.timing.times import Instant, instant_ns

__all__ = ["BATCH_ROWS", "Clock", "Progress", "State", "pairs_of", "quote_end_ns", "stretches", "ts_column"]

Clock = Literal["recv", "event"]
#: Called with the number of rows that were read since the last call.
Progress = Callable[[int], None]

#: Rows taken from the files at a time; bounds the memory, never changes a result.
BATCH_ROWS: Final = 200_000


class State:
    """What a stretch is worth; the first that applies, from the top."""

    STALE: Final = 1
    ONE_SIDED: Final = 2
    CROSSED: Final = 3
    VALID: Final = 0


_NS: Final = pl.Int64
_COLUMNS: Final = (
    *KEY,
    "capture_seq",
    "sub_seq",
    "time",
    "at",
    "raw_time",
    "bid_price",
    "ask_price",
    "state",
    "is_untimed",
)


def ts_column(clock: Clock) -> str:
    """Name of the column that a clock reads. Raises ConfigError for any other clock than `recv` and `event`."""
    if clock not in ("recv", "event"):
        raise ConfigError(f"clock is {clock!r}; expected 'recv' or 'event'")
    return f"ts_{clock}"


def pairs_of(table: pl.LazyFrame) -> pl.DataFrame:
    """The instruments of a table: `venue`, `symbol`, `trading_pair` (its newest name), sorted by the first two."""
    newest = pl.col("trading_pair").last()
    return table.group_by(*KEY, maintain_order=True).agg(newest).sort(*KEY).collect(engine="streaming")


def quote_end_ns(top: pl.LazyFrame, clock: Clock = "recv") -> int | None:
    """Newest time of any row on that clock, ns; None where there is none."""
    newest = top.select(pl.col(ts_column(clock)).max().cast(_NS)).collect(engine="streaming").item()
    return None if newest is None else int(newest)


def stretches(
    top: pl.LazyFrame,
    *,
    end_ns: Instant,
    counts_end: bool = True,
    start_ns: Instant | None = None,
    clock: Clock = "recv",
    evidence: FeedEvidence | None = None,
    progress: Progress | None = None,
) -> Iterator[pl.DataFrame]:
    """
    Cut time into the stretches for which each quote stood, in batches of bounded size.

    Args:
        top: Rows of the table `top`, those of each instrument in the order of (capture_seq, sub_seq).
        end_ns: Until when the last quote holds, and where everything ends: ns since the Unix epoch, a datetime, or text.
        counts_end: Whether a row at `end_ns` itself lies in the window; it stands for no time either way.
        start_ns: Where everything starts; the quote that stands there counts from there. None: with the first quote.
        clock: Whether `ts_recv` or `ts_event` tells the time.
        evidence: Feed and clock of the recording (`analysis.evidence_of`), for the receive clock; None: the rows alone.
        progress: Called with the number of rows that were read.

    Yields:
        Frames of `venue`, `symbol` (String), `bid_price`, `ask_price` (Float64, quote currency), `state` (Int8, see
        `State`), `start`, `stop` (Int64 ns, `start <= stop`, cut to the window; equal for a quote that was replaced at
        once), `is_change` (Boolean: the row itself lies in the window, not only what it left), `step` (Int64 ns,
        from the row's own time to the next row's; null for the last) and `is_untimed` (Boolean: without a venue time).
        What lies outside the window is left out, and so are rows without a venue time before the first that has one, on
        that clock. Of each instrument the rows are in order.

    Raises:
        ConfigError: `top` is no LazyFrame, or its rows are not in the order of capture.
    """
    check_rows(top)
    end_ns = instant_ns(end_ns, "end_ns", near_ns=0)  # one that the rows gave, or that was looked at already
    start_ns = None if start_ns is None else instant_ns(start_ns, "start_ns", near_ns=0)
    column = ts_column(clock)
    rows = top.select(
        *KEY,
        "capture_seq",
        "sub_seq",
        pl.col(column).cast(_NS).alias("raw_time"),
        "bid_price",
        "ask_price",
        _state().alias("state"),
        pl.col("ts_event").is_null().alias("is_untimed"),
    )
    known = evidence if clock == "recv" else None
    held: pl.DataFrame | None = None
    for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True, lazy=True, engine="streaming"):
        if progress is not None:
            progress(batch.height)
        # 1. When each row was received: by the clock (`time`), and without the steps of that clock (`at`).
        batch = _timed(batch, known).select(_COLUMNS)
        # 2. The rows of one instrument next to each other: what was held, then the batch's, in their order.
        joined = (batch if held is None else pl.concat([held, batch])).sort(KEY, maintain_order=True)
        _check_order(joined)
        # 3. When each row takes effect.
        if clock == "event":
            time = pl.col("time").cum_max().forward_fill().over(KEY)
            joined = joined.with_columns(time, time.alias("at"))
        elif known is not None:
            joined = _since_last_received(joined, known)
        # 4. It holds until the next row of the same instrument does.
        joined = joined.with_columns(
            pl.col("at", "raw_time").shift(-1).name.prefix("next_"),
            (~_same_pair(-1)).fill_null(True).alias("is_last"),
        )
        held = joined.filter("is_last").select(_COLUMNS)
        yield _cut(joined.filter(~pl.col("is_last")), start_ns, end_ns, counts_end)
    if held is not None:
        last = held.with_columns(_end_of(held, end_ns, known), pl.lit(None, _NS).alias("next_raw_time"))
        yield _cut(last, start_ns, end_ns, counts_end, ends_well=True)


def _timed(batch: pl.DataFrame, evidence: FeedEvidence | None) -> pl.DataFrame:
    """Add `time` and `at`."""
    time = pl.col("raw_time").alias("time")
    if evidence is None or not evidence.steps:
        return batch.with_columns(time, time.alias("at"))
    firsts = np.array([step.capture_seq for step in evidence.steps])
    stepped = np.cumsum([0, *(step.delta_ns for step in evidence.steps)])
    offsets = stepped[np.searchsorted(firsts, batch["capture_seq"].to_numpy(), side="right")]
    return batch.with_columns(time, (pl.col("raw_time") - pl.Series("offset", offsets, _NS)).alias("at"))


def _since_last_received(rows: pl.DataFrame, evidence: FeedEvidence) -> pl.DataFrame:
    """Let an instrument be stale from the last receipt of its feed, but from no time before the row before."""
    if evidence.silences.is_empty():
        return rows
    before = pl.when(_same_pair(1).fill_null(False)).then(pl.col("at") - pl.col("at").shift(1))
    silent = pl.when(pl.col("state") == State.STALE).then("silent_ns").fill_null(0)
    back = pl.min_horizontal(silent, pl.max_horizontal(before, 0))
    return (
        rows.join(evidence.silences, on=[*KEY, "capture_seq"], how="left", maintain_order="left")
        .with_columns(pl.col("time") - back, pl.col("at") - back)
        .select(_COLUMNS)
    )


def _end_of(held: pl.DataFrame, end_ns: int, evidence: FeedEvidence | None) -> pl.Expr | pl.Series:
    """Until when the last quotes hold, in the time of `at`."""
    if evidence is None or not evidence.steps:
        return pl.lit(end_ns, _NS).alias("next_at")
    # No later than the last frame, whose time is not the latest where the clock stepped back.
    last_at = evidence.last_ns - sum(step.delta_ns for step in evidence.steps)
    ends = []
    for seq, time, at in held.select("capture_seq", "time", "at").iter_rows():
        if end_ns >= evidence.last_ns:
            ends.append(max(at, last_at))
            continue
        later = [step for step in evidence.steps if step.capture_seq > seq]
        ends.append(at + elapsed_ns(later, time, max(time, end_ns)))
    return pl.Series("next_at", ends, _NS)


def _state() -> pl.Expr:
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    return (
        pl.when(pl.col("is_stale"))
        .then(State.STALE)
        .when(bid.is_null() | ask.is_null())
        .then(State.ONE_SIDED)
        .when(pl.col("is_crossed") | (bid >= ask))
        .then(State.CROSSED)
        .otherwise(State.VALID)
        .cast(pl.Int8)
    )


def _same_pair(offset: int) -> pl.Expr:
    """Whether the row that many before (negative: after) is of the same instrument; null where there is none."""
    return pl.all_horizontal(pl.col(name) == pl.col(name).shift(offset) for name in KEY)


def _check_order(rows: pl.DataFrame) -> None:
    seq, sub = pl.col("capture_seq"), pl.col("sub_seq")
    is_before = (seq < seq.shift(1)) | ((seq == seq.shift(1)) & (sub < sub.shift(1)))
    wrong = rows.filter(_same_pair(1) & is_before).head(1)
    if wrong.height:
        row = wrong.row(0, named=True)
        raise ConfigError(
            f"rows of {row['symbol']} are not in the order of capture at frame {row['capture_seq']}; "
            "sort them by capture_seq and sub_seq first"
        )


def _cut(
    rows: pl.DataFrame, start_ns: int | None, end_ns: int, counts_end: bool, *, ends_well: bool = False
) -> pl.DataFrame:
    """Cut stretches to the window; `ends_well`: their ends lie in it already."""
    time, end = pl.col("time"), pl.lit(end_ns, _NS)
    is_change = (time <= end) if counts_end else (time < end)
    begins = time
    if start_ns is not None:
        start = pl.lit(start_ns, _NS)
        is_change &= time >= start
        begins = pl.max_horizontal(time, start)
    begins = pl.min_horizontal(begins, end)
    until = time + (pl.col("next_at") - pl.col("at"))
    # What stood when the clock stepped back stood on for a while by the clock before, which nothing else goes by.
    is_back = (pl.col("next_raw_time") < pl.col("raw_time")) & (pl.col("next_at") > pl.col("at"))
    until = pl.when(ends_well | is_back.fill_null(False)).then(until).otherwise(pl.min_horizontal(until, end))
    stops = pl.max_horizontal(begins, until)
    return (
        rows.filter(time.is_not_null())
        .with_columns(begins.alias("start"), stops.alias("stop"), is_change.alias("is_change"))
        .filter((pl.col("stop") > pl.col("start")) | pl.col("is_change"))
        .select(
            *KEY,
            "bid_price",
            "ask_price",
            "state",
            "start",
            "stop",
            "is_change",
            (pl.col("next_raw_time") - pl.col("raw_time")).alias("step"),
            "is_untimed",
        )
    )
