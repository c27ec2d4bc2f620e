"""Where the rows come from: the Parquet files of a recording, as Polars LazyFrames."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path

import polars as pl

from recordings.recording import Recording
from recordings.scanning import polars_schema, scan_table
from toolkit.errors import UnsealedWarning

__all__ = [
    "KEY",
    "RecordingLike",
    "only",
    "open_recording",
    "polars_schema",
    "recording_end_ns",
    "scan",
    "sealed_part",
]

#: What tells one instrument from another. The trading pair is a name for it, which metadata may bring later.
KEY = ("venue", "symbol")


RecordingLike = Recording | str | PathLike[str]


def open_recording(recording: RecordingLike) -> Recording:
    """
    Open a recording by its folder; one that is open already is returned as it is.

    Raises NotARecording, FormatTooNew or RecordingDamaged.
    """
    return recording if isinstance(recording, Recording) else Recording.open(Path(recording))


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


def scan(recording: RecordingLike, table: str) -> pl.LazyFrame:
    """
    Read one table of a recording lazily: only the columns and row groups that a query needs are read.

    Rows of what is not sealed yet come along, as far as it was written when the recording was first asked for it. They
    are not read from columns: each `collect` runs the protocols over those frames, some 30,000 a second.
    `scan(Recording.open(folder, sealed=True), table)` leaves them out.

    Args:
        recording: An open recording, or its folder.
        table: `raw`, `book`, `trades`, `bbo`, `funding`, `instruments`, `liquidations`, `events` or `top`.

    Returns:
        The columns of `recordings/FORMAT.md`: prices and sizes Float64, times Datetime("ns") without a zone, in UTC.
        Rows come segment after segment, within one by (symbol, capture_seq, sub_seq), so those of one instrument are
        in the order of capture; at last those that are not sealed yet, in the order of capture. A table without rows
        gives an empty frame with the same columns.

    Raises:
        ConfigError: There is no such table.
        NotARecording, FormatTooNew, RecordingDamaged: The folder cannot be used.
    """
    return scan_table(open_recording(recording), table)


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
