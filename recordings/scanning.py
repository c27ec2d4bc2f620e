"""The tables of a recording as Polars LazyFrames: only the columns and row groups that a query needs are read."""

from __future__ import annotations

import polars as pl

from recordings.recording import Recording
from recordings.schema import TABLES
from toolkit.errors import ConfigError

__all__ = ["polars_schema", "scan_table"]


def scan_table(recording: Recording, table: str) -> pl.LazyFrame:
    """
    Read one table of a recording lazily.

    Returns:
        The columns of `recordings/FORMAT.md`: prices and sizes Float64, times Datetime("ns") without a zone, in UTC.
        Rows come segment after segment, within one by (symbol, capture_seq, sub_seq), so those of one instrument are
        in the order of capture. A table without rows gives an empty frame with the same columns.

    Raises ConfigError for a table that does not exist, RecordingDamaged for a file that is missing.
    """
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
    if table not in TABLES:
        raise ConfigError(f"no table {table!r} in a recording; there are {', '.join(TABLES)}")
    empty = pl.from_arrow(TABLES[table].empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.schema
