"""The tables of a recording as Polars LazyFrames: only the columns and row groups that a query needs are read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from recordings.format.messages_to_rows import rows_of_messages
from recordings.format.schema import ALL_TABLES, RAW_TABLE, TABLES
from recordings.reading.tail import Tail
from recordings.recording import Recording
from toolkit.errors import ConfigError
from toolkit.messages import Message

__all__ = ["events_of", "polars_schema", "scan_sealed", "scan_table"]


def scan_table(recording: Recording, table: str) -> pl.LazyFrame:
    """
    Read one table of a recording lazily.

    What is not sealed yet comes along, as far as it was written when the recording was first asked for it; unlike the
    rest it is not read from columns: each `collect` runs the protocols over its frames, some 30,000 a second.

    Returns:
        The columns of `recordings/FORMAT.md`: prices and sizes Float64, times Datetime("ns") without a zone, in UTC.
        Rows come segment after segment, within one stretch after stretch, within that by (symbol, venue, capture_seq,
        sub_seq), so those of one instrument are in the order of capture; at last those that are not sealed yet, in the
        order of capture. A table without rows gives an empty frame with the same columns.

    Raises ConfigError for a table that does not exist, RecordingDamaged for a file that is missing.
    """
    sealed = scan_sealed(recording, table)
    tail = recording.tail
    return sealed if tail is None else pl.concat([sealed, _scan_tail(tail, table)])


def events_of(recording: Recording, kinds: Collection[str]) -> pl.DataFrame:
    """
    Rows of `events` of some kinds, those among them that are not sealed yet; in the order of capture.

    Only kinds that `recordings.reading.tail.TailSummary` keeps. Raises RecordingDamaged, and what Polars does.
    """
    rows = scan_sealed(recording, "events").filter(pl.col("kind").is_in(list(kinds))).collect()
    if recording.tail is not None:
        later = [event for event in recording.tail.summary.events if event.kind in kinds]
        rows = pl.concat([rows, _frame_of("events", later)]) if later else rows
    return rows.sort("capture_seq", "sub_seq", maintain_order=True)


def _scan_tail(tail: Tail, table: str) -> pl.LazyFrame:
    schema = polars_schema(table)

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        for frame in _frames_of(tail, table):
            part = frame if left is None else frame.head(left)
            left = None if left is None else left - part.height
            if predicate is not None:
                part = part.filter(predicate)
            yield part if with_columns is None else part.select(with_columns)
            if left == 0:
                return

    return register_io_source(read, schema=dict(schema), explain_name="journal")


def _frames_of(tail: Tail, table: str) -> Iterator[pl.DataFrame]:
    if table == RAW_TABLE:
        for batch in tail.batches():
            yield _as_frame(RAW_TABLE, batch)
        return
    for messages in tail.rows(table):
        yield _frame_of(table, messages)


def _frame_of(table: str, messages: Sequence[Message]) -> pl.DataFrame:
    return _as_frame(table, rows_of_messages(table, messages))


def _as_frame(table: str, rows: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(pa.Table.from_batches([rows]).cast(TABLES[table]))
    assert isinstance(frame, pl.DataFrame)
    return frame


def scan_sealed(recording: Recording, table: str) -> pl.LazyFrame:
    """As `scan_table`, without what is not sealed yet."""
    schema = polars_schema(table)
    files = recording.files(table)
    if not files:
        return pl.LazyFrame(schema=schema)
    # Without `glob=False` a folder called `[1]` would be a pattern, and without `hive_partitioning=False` one called
    # `date=2026-01-01` would add a column. An older recording may lack a column that was added later.
    return pl.scan_parquet(
        files, glob=False, hive_partitioning=False, missing_columns="insert", extra_columns="ignore", schema=schema
    )


def polars_schema(table: str) -> pl.Schema:
    """Columns and types of a table, as Polars reads them. Raises ConfigError for a table that does not exist."""
    if table not in ALL_TABLES:
        raise ConfigError(f"no table {table!r} in a recording; there are {', '.join(ALL_TABLES)}")
    empty = pl.from_arrow(ALL_TABLES[table].empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.schema
