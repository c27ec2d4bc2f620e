"""The stretches that a recording is missing, from its `events`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from recordings.recording import Recording
from recordings.schema import TABLES
from toolkit.errors import RecordingDamaged, SymbolError
from toolkit.messages import EventKind

__all__ = ["find_gaps"]

#: Ends of a session that were meant: what is stale after them is not missing.
_MEANT: Final = ("stop", "session_end")
_KINDS: Final = (EventKind.GAP.value, EventKind.LOST.value, EventKind.STALE.value, EventKind.SESSION_END.value)
#: What else ends a session without a failure that is not told elsewhere: after a crash there is a `lost`.
_TOLD: Final = (*_MEANT, "crash", "")


def find_gaps(path: Path, trading_pairs: Sequence[str] = ()) -> pl.DataFrame:
    """
    Every gap, in order of its start.

    Args:
        path: The recording.
        trading_pairs: Only these; those of whole connections come along. Empty: all.

    Returns:
        `venue`, `trading_pair`, `stream`, `kind`, `cause` (String), `ts_start`, `ts_end` (Datetime ns, UTC; the end
        is null if the stream, or after a failure the whole session, did not come back), `seconds` (Float64) and `capture_seq` (Int64) of the event.

    Raises:
        RecordingError: It is no readable recording.
        SymbolError: A pair that is not in it.
    """
    recording = Recording.open(path)
    for pair in trading_pairs:
        if pair not in recording.trading_pairs:
            known = ", ".join(recording.trading_pairs)
            raise SymbolError(f"{pair!r} is not in {path}, expected one of {known}")
    files = recording.files("events")
    columns = (
        "venue",
        "trading_pair",
        "stream",
        "kind",
        "cause",
        "ts_start",
        "ts_end",
        "capture_seq",
        "sub_seq",
        "ts_recv",
    )
    if files:
        try:
            events = pl.scan_parquet(files).select(columns).filter(pl.col("kind").is_in(_KINDS)).collect()
        except (pl.exceptions.PolarsError, OSError) as exc:
            text = str(exc).partition("\n")[0]
            raise RecordingDamaged(f"{path}: its events cannot be read ({text}): see `tickdeck verify`") from None
    else:
        empty = pl.from_arrow(TABLES["events"].empty_table())
        assert isinstance(empty, pl.DataFrame)
        events = empty.select(columns)
    if trading_pairs:
        events = events.filter(pl.col("trading_pair").is_in([*trading_pairs, ""]))
    # A session that a failure ended misses everything from there on, also where its connections were closed in order.
    is_end = pl.col("kind") == EventKind.SESSION_END.value
    events = events.filter(~is_end | ~pl.col("cause").is_in(_TOLD)).with_columns(
        ts_start=pl.when(is_end).then("ts_recv").otherwise("ts_start")
    )
    stream = ("venue", "trading_pair", "stream")
    events = events.sort("capture_seq", "sub_seq").with_columns(
        # A stale stream whose next word is a gap has come back: the gap is the same stretch, with its end.
        is_closed=pl.col("kind").shift(-1).over(stream).eq(EventKind.GAP.value).fill_null(value=False),
    )
    is_open = (pl.col("kind") == EventKind.STALE.value) & ~pl.col("is_closed") & ~pl.col("cause").is_in(_MEANT)
    return (
        events.filter((pl.col("kind") != EventKind.STALE.value) | is_open)
        .with_columns(seconds=(pl.col("ts_end") - pl.col("ts_start")).dt.total_nanoseconds() / 1e9)
        .sort("ts_start", "capture_seq", "sub_seq", maintain_order=True)
        .select("venue", "trading_pair", "stream", "kind", "cause", "ts_start", "ts_end", "seconds", "capture_seq")
    )
