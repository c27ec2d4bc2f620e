"""The stretches that a recording is missing: one definition, for every command, function and view that speaks of gaps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from recordings.queries.clock_steps import ClockStep, clock_steps, elapsed_ns
from recordings.queries.lazy_tables import events_of
from recordings.reading.selecting import select_in
from recordings.recording import Recording
from toolkit.clock import NS_PER_S
from toolkit.errors import RecordingDamaged
from toolkit.keys import PairName
from toolkit.messages import OUT_OF_ORDER, EventKind

__all__ = ["GAP_SCHEMA", "find_gaps", "gaps_of", "lost_connections"]

#: Columns of the gaps, in their order.
GAP_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "stream": pl.String(),
        "kind": pl.String(),
        "cause": pl.String(),
        "ts_start": pl.Datetime("ns"),
        "ts_end": pl.Datetime("ns"),
        "seconds": pl.Float64(),
        "capture_seq": pl.Int64(),
    }
)

#: Ends of a session that were meant: what is stale after them is not missing.
_MEANT: Final = ("stop", "session_end")
_KINDS: Final = (EventKind.GAP.value, EventKind.LOST.value, EventKind.STALE.value, EventKind.SESSION_END.value)
#: Of a connection that ended: that we ended it, at the end of the session.
_TOLD_TO_END: Final = r"(^|, )cause=stop(,|$)"
#: What says that a gap was none, with its times.
_WITHDRAWAL: Final = (pl.col("kind") == EventKind.NOTICE.value) & (pl.col("cause") == OUT_OF_ORDER)
#: Other ends of a session that are not a failure of their own: after a crash there is a `lost`.
_STATED: Final = (*_MEANT, "crash", "")


def find_gaps(
    recording: Recording | str | Path,
    trading_pairs: Collection[PairName] | PairName = (),
    *,
    venues: Collection[str] | str = (),
) -> pl.DataFrame:
    """
    Every gap, in order of its start.

    A gap is a stretch of time for which one stream, or a whole connection (`symbol` and `stream` are empty), is not
    known: from the last receipt before it to the first after it. What a crash may have taken is one, and so is
    everything after a session that a failure ended. What a recorder stopped recording because it was stopped is none,
    nor is a gap of which all came late, in another order.

    What is not sealed yet is played for it, some 30,000 frames a second. Of a recorder that died what it may have lost
    is a gap, as `recover` will state it.

    Args:
        recording: An open recording, or its folder.
        trading_pairs: Only these, by name or key, or symbols; those of whole connections come along. Empty: all.
        venues: Only of these. Empty: all.

    Returns:
        `venue`, `symbol`, `trading_pair`, `stream`, `kind` (`gap`, `lost`; `stale` or `session_end` where it did not
        end), `cause` (String), `ts_start`, `ts_end` (Datetime ns, UTC; the end is null if the stream, or after a
        failure the whole session, did not come back), `seconds` (Float64: what passed, without steps of the clock; 0,
        from end to end, where captures that overlap were joined, so that no time is missing between them) and
        `capture_seq` (Int64) of the event.

    Raises:
        RecordingError: It is no readable recording.
        ConfigError: A venue that it is not of.
        SymbolError: A pair that is not in it.
    """
    opened = recording if isinstance(recording, Recording) else Recording.open(recording)
    selection = select_in([opened], trading_pairs=trading_pairs or None, venues=venues or None)
    try:
        events = events_of(opened, (*_KINDS, EventKind.NOTICE.value))
        steps = clock_steps(opened)
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise _unreadable(opened, exc) from None
    if selection is not None:
        # Of what is not sealed, the selection does not name every symbol.
        takes = [selection.wants(*key) for key in events.select("venue", "symbol", "trading_pair").iter_rows()]
        events = events.filter(pl.Series(takes, dtype=pl.Boolean))
    return gaps_of(events, steps)


def _unreadable(recording: Recording, exc: Exception) -> RecordingDamaged:
    text = str(exc).partition("\n")[0]
    return RecordingDamaged(f"{recording.path}: its events cannot be read ({text}): see `tickdeck verify`")


def gaps_of(events: pl.DataFrame, steps: Sequence[ClockStep] = ()) -> pl.DataFrame:
    """
    The gaps that rows of `events` speak of, as `find_gaps` returns them.

    Args:
        events: Rows of the table, in any order.
        steps: Steps of the recorder's clock, left out of the length of a gap.
    """
    is_end = pl.col("kind") == EventKind.SESSION_END.value
    stream = ("venue", "symbol", "stream")
    withdrawn = events.filter(_WITHDRAWAL)
    events = (
        events.filter(pl.col("kind").is_in(_KINDS))
        # A session that a failure ended misses everything from there on, also where its connections were closed in order.
        .filter(~is_end | ~pl.col("cause").is_in(_STATED))
        # A stream that never sent anything is missing at least from when that was noticed.
        .with_columns(ts_start=pl.when(is_end).then("ts_recv").otherwise(pl.coalesce("ts_start", "ts_recv")))
        .sort("capture_seq", "sub_seq")
        # A stale stream whose next event is a gap has come back: the gap is the same stretch, with its end.
        .with_columns(is_closed=pl.col("kind").shift(-1).over(stream).eq(EventKind.GAP.value).fill_null(value=False))
    )
    is_stale = pl.col("kind") == EventKind.STALE.value
    is_open = is_stale & ~pl.col("is_closed") & ~pl.col("cause").is_in(_MEANT)
    gaps = events.filter(~is_stale | is_open).sort("ts_start", "capture_seq", "sub_seq", maintain_order=True)
    if withdrawn.height:
        gaps = _without(gaps, withdrawn)
    times = gaps.select(pl.col("ts_start", "ts_end").cast(pl.Int64), "capture_seq").iter_rows()
    seconds = [None if end is None else elapsed_ns(steps, start, end, seq) / NS_PER_S for start, end, seq in times]
    gaps = gaps.with_columns(pl.Series("seconds", seconds, pl.Float64))
    # Where captures were joined that overlap, the first receipt after it is earlier than the last before it.
    is_backward = (pl.col("ts_end") < pl.col("ts_start")) & (pl.col("seconds") == 0)
    gaps = gaps.with_columns(ts_start=pl.when(is_backward).then("ts_end").otherwise("ts_start"))
    return (
        gaps.sort("ts_start", "capture_seq", "sub_seq", maintain_order=True).select(GAP_SCHEMA.names()).cast(GAP_SCHEMA)
    )


def lost_connections(recording: Recording) -> int:
    """
    How many connections were lost: those that ended because the recorder was stopped are not.

    Raises RecordingError.
    """
    try:
        ended = events_of(recording, (EventKind.DISCONNECTED.value,))
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise _unreadable(recording, exc) from None
    return ended.filter(~pl.col("detail").str.contains(_TOLD_TO_END)).height


def _without(gaps: pl.DataFrame, withdrawn: pl.DataFrame) -> pl.DataFrame:
    """The gaps without those that were found to be none: of several with the same times as many as were withdrawn."""
    key = ["venue", "symbol", "stream", "ts_start", "ts_end"]
    place = pl.int_range(pl.len()).over(key).alias("place")
    others = gaps.filter(pl.col("kind") != EventKind.GAP.value)
    of_kind = gaps.filter(pl.col("kind") == EventKind.GAP.value).with_columns(place)
    left = of_kind.join(withdrawn.with_columns(place), on=[*key, "place"], how="anti").drop("place")
    return pl.concat([left, others]).sort("ts_start", "capture_seq", "sub_seq", maintain_order=True)
