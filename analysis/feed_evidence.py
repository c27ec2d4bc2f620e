"""
For how long a recording's quotes can be believed: when a feed was last seen, and where the recorder's clock stepped.

A row of `top` says that a book is stale when that was noticed, which after a crash is when the recording was recovered.
The book is stale from the last receipt before: that is in the events of the same frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from analysis.table_source import KEY, RecordingLike, rows_of, sealed_part
from recordings.format.schema import MESSAGE_TABLES
from recordings.queries.clock_steps import ClockStep, clock_steps, elapsed_ns
from recordings.recording import Recording
from toolkit.messages import EventKind

__all__ = ["FeedEvidence", "evidence_of"]

#: Columns of `FeedEvidence.silences`.
SILENCE_SCHEMA: Final = pl.Schema(
    {"venue": pl.String(), "symbol": pl.String(), "capture_seq": pl.Int64(), "silent_ns": pl.Int64()}
)


@dataclass(frozen=True, slots=True)
class FeedEvidence:
    """
    What a recording knows of its feed and of its clock, beside the quotes.

    Attributes:
        steps: Steps of the recorder's wall clock, in order.
        silences: `venue`, `symbol` (String), `capture_seq` (Int64): where an instrument became stale, and `silent_ns`
            (Int64): how long before that frame any stream of it had been received last.
        last_ns: Receive time of the last frame, ns.
    """

    steps: Sequence[ClockStep]
    silences: pl.DataFrame
    last_ns: int


def evidence_of(recording: RecordingLike) -> FeedEvidence:
    """
    Read what `spreads`, `spread_series` and `stretches` need to know beside the rows of `top`.

    Raises NotARecording, FormatTooNew or RecordingDamaged.
    """
    opened = sealed_part(recording)
    steps = clock_steps(opened)
    stales = (
        rows_of(opened, "events")
        .filter((pl.col("kind") == EventKind.STALE.value) & (pl.col("symbol") != "") & pl.col("ts_start").is_not_null())
        .group_by(*KEY, "capture_seq")
        .agg(pl.col("ts_start").max().cast(pl.Int64), pl.col("ts_recv").first().cast(pl.Int64))
        .sort(*KEY, "capture_seq")
        .collect()
    )
    times = stales.select("ts_start", "ts_recv", "capture_seq").iter_rows()
    silent = [elapsed_ns(steps, start, end, seq) for start, end, seq in times]
    silences = stales.select(*KEY, "capture_seq", pl.Series("silent_ns", silent, pl.Int64)).cast(SILENCE_SCHEMA)
    return FeedEvidence(steps, silences, _last_ns(opened))


def _last_ns(recording: Recording) -> int:
    """Receive time of the frame with the highest number that anything is known of."""
    segments = recording.manifest.segments[-1:]
    newest: list[tuple[int, int]] = []
    for table in ("raw", *MESSAGE_TABLES):
        if not segments or table not in segments[0].tables:
            continue
        rows = rows_of(recording, table).filter(pl.col("capture_seq") >= segments[0].capture_seq_first)
        found = (
            rows.select(pl.col("capture_seq", "ts_recv").sort_by("capture_seq").last())
            .select("capture_seq", pl.col("ts_recv").cast(pl.Int64))
            .collect(engine="streaming")
            .rows()
        )
        newest += found
        if table == "raw":
            break
    return int(max(newest, default=(0, 0))[1])
