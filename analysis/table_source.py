"""Where the rows come from: the Parquet files of a recording, as Polars LazyFrames."""

from __future__ import annotations

import warnings
from os import PathLike

import polars as pl

from recordings.queries.lazy_tables import polars_schema, scan_table
from recordings.recording import Recording
from toolkit.errors import ConfigError, UnsealedWarning

__all__ = [
    "KEY",
    "RecordingLike",
    "check_rows",
    "only",
    "open_recording",
    "polars_schema",
    "recording_end_ns",
    "rows_of",
    "sealed_part",
]

#: What tells one instrument from another. The trading pair is a name for it, which metadata may bring later.
KEY = ("venue", "symbol")


RecordingLike = Recording | str | PathLike[str]


def open_recording(recording: RecordingLike) -> Recording:
    """
    Open a recording by its folder; one that is open already is returned as it is.

    Raises NotARecording, FormatTooNew or RecordingDamaged; ConfigError for what is neither, such as a list of several.
    """
    if isinstance(recording, Recording):
        return recording
    return Recording.open(recording)


def sealed_part(recording: RecordingLike) -> Recording:
    """
    The sealed part of a recording, for what reads columns; a warning if there is more.

    Open it with `Recording.open(folder, sealed=True)` to mean that part, without a warning.

    Raises NotARecording, FormatTooNew or RecordingDamaged; warns with UnsealedWarning.
    """
    opened = open_recording(recording)
    unsealed = opened.unsealed()
    if unsealed is None:
        return opened
    warnings.warn(f"{opened.path}: without what is not sealed: {unsealed}", UnsealedWarning, stacklevel=3)
    return opened.sealed_part()


def rows_of(recording: RecordingLike, table: str) -> pl.LazyFrame:
    """One table of one recording, as `analysis.scan` reads it, with the columns of the format alone."""
    return scan_table(open_recording(recording), table)


def check_rows(top: object) -> None:
    """Raise ConfigError for what is no LazyFrame, such as a recording, where the rows of `top` are expected."""
    if not isinstance(top, pl.LazyFrame):
        raise ConfigError(
            f"expected the rows of `top` as a LazyFrame, found {type(top).__name__}: for those of a recording see "
            "`scan(recording, 'top')`, or `spread_window(recording)`, which has `report()` and `series(every)`"
        )


def only(rows: pl.LazyFrame, pairs: pl.DataFrame) -> pl.LazyFrame:
    """
    Keep the rows of some instruments; row groups of others are not even read.

    Args:
        rows: Rows of any table with `venue` and `symbol`.
        pairs: The instruments, by `venue` and `symbol` (String).
    """
    venues = pairs.group_by("venue").agg(pl.col("symbol").unique().sort()).sort("venue")
    wanted = [(pl.col("venue") == venue) & pl.col("symbol").is_in(symbols) for venue, symbols in venues.iter_rows()]
    return rows.filter(pl.any_horizontal(wanted) if wanted else pl.lit(False))


def recording_end_ns(recording: Recording) -> int | None:
    """Latest receive time of a frame that was sealed, ns; None in a recording without frames."""
    return max((segment.ts_recv_last for segment in recording.manifest.segments), default=None)
