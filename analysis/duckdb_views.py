"""A recording as DuckDB views."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.table_source import RecordingLike, sealed_part
from recordings.format.schema import ALL_TABLES
from recordings.queries.gaps import GAP_SCHEMA, find_gaps
from recordings.queries.several_recordings import labels, refuse_twice
from recordings.reading.raw_frames import reading
from recordings.reading.selecting import venues_of
from recordings.recording import Recording
from toolkit.borders import sql_text
from toolkit.errors import ConfigError, RecordingDamaged
from toolkit.keys import check_venues

__all__ = ["VIEWS", "check_query", "check_single", "connect"]

#: Helper views, by name, over the views of the tables.
_HELPERS: Final = {
    # The decimal that a difference of two prices is: see `analysis.quoted_spread`.
    "quotes": """
        SELECT * EXCLUDE (scale), spread / mid * 10000 AS spread_bps
        FROM (
            SELECT *,
                round((bid_price + ask_price) * scale) / scale / 2 AS mid,
                round((ask_price - bid_price) * scale) / scale AS spread
            FROM (
                SELECT *,
                    CASE WHEN ask_price > 0 THEN pow(10.0::DOUBLE, least(14 - floor(log10(ask_price)), 22)) END AS scale
                FROM top
            )
        )
    """,
}

#: All views that a connection has: one for each table of a recording, and the helpers.
VIEWS: Final = (*ALL_TABLES, *_HELPERS, "gaps")

#: Files of a table that are asked for their columns when a connection is made, at most.
_FILES_ASKED: Final = 100

_SQL_TYPES: Final = {
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.timestamp("ns"): "TIMESTAMP_NS",
}


_GAPS: Final = (
    "CREATE TABLE gaps (recording VARCHAR, "
    + ", ".join(
        f"{name} {({pl.String: 'VARCHAR', pl.Float64: 'DOUBLE', pl.Int64: 'BIGINT'}).get(type(kind), 'TIMESTAMP_NS')}"
        for name, kind in GAP_SCHEMA.items()
    )
    + ", gap_ns BIGINT)"
)


def connect(
    *recordings: RecordingLike, venues: Collection[str] | str = (), read_only: bool = True, check: bool = True
) -> duckdb.DuckDBPyConnection:
    """
    Open recordings as views of an in-memory DuckDB database.

    There is a view for each table (`raw`, `book`, `trades`, `bbo`, `top`, ...: see `VIEWS`), empty where nothing was
    recorded, with the columns of `recordings/FORMAT.md`; times are TIMESTAMP_NS in UTC. Besides:

    - `quotes`: `top` with `mid`, `spread` (DOUBLE, quote currency) and `spread_bps` (DOUBLE, basis points of the mid);
      all null if a side is, and negative spreads where the book is crossed.
    - `gaps`: what `recordings.queries.gaps.find_gaps` returned when the connection was made, and its length as `gap_ns`
      (BIGINT), null while it is open.

    The views read the files when a query runs; only sealed segments are seen, and rows come in the files' order. A
    recording that has more warns of it (UnsealedWarning).

    Args:
        recordings: Open recordings, or their folders. Every view has the rows of all, and a first column `recording` with
            the name of the folder, or its whole path where two have the same name.
        venues: Only the rows of these, in every view; empty: all. A pair may be one of several venues, and so may a symbol:
            what joins or groups takes `venue` beside it.
        read_only: Keep queries away from everything but these files: no other file, no network, no extension, no
            change of a setting. What is created lives in memory. (DuckDB cannot open single files for reading only:
            an explicit `COPY ... TO` one of the recording's own files, with its temporary file switched off, would
            still overwrite it.) False leaves the connection as DuckDB makes it, except that it never installs
            an extension by itself.
        check: Compare every file with its hash in the manifest before: once for each state of a file, a second for
            some 500 MB. False where the files that a query reads are checked otherwise: `check_query` does that, and
            finds the gaps.

    Raises:
        ConfigError: No recording was given, one stands there twice, or a venue that none of them is of.
        NotARecording, FormatTooNew, RecordingDamaged: A folder cannot be used.
    """
    if not recordings:
        raise ConfigError("no recording to connect to")
    opened = list(map(sealed_part, recordings))
    refuse_twice(opened)
    of_venues = _of_venues(opened, venues)
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    names = labels(opened)
    allowed: set[str] = set()
    for table in ALL_TABLES:
        view = f"CREATE VIEW {table} AS {_select(table, opened, names, allowed, of_venues, check=check)}"
        try:
            connection.execute(view)
        except duckdb.Error as exc:
            folders = ", ".join(str(recording.path) for recording in opened)
            raise RecordingDamaged(f"{table} of {folders} cannot be read: {str(exc).splitlines()[0]}") from exc
    for name, query in _HELPERS.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")
    connection.execute(_GAPS)
    if check:
        _fill_gaps(connection, opened, of_venues)
    # Times are UTC: without it, what mixes them with a time zone would depend on that of the machine.
    connection.execute("SET TimeZone = 'UTC'")
    # A query larger than memory spills there; DuckDB's own choice is the current folder.
    connection.execute(f"SET temp_directory = {sql_text(str(Path(tempfile.gettempdir()) / 'tickdeck-duckdb'))}")
    if read_only:
        connection.execute(f"SET allowed_paths = [{', '.join(map(sql_text, sorted(allowed)))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    return connection


def check_query(
    connection: duckdb.DuckDBPyConnection,
    recordings: Sequence[Recording],
    query: str,
    *,
    venues: Collection[str] | str = (),
) -> None:
    """
    Check the files of those tables that a query reads, and find the gaps if it asks for them.

    For a connection to these recordings that was made with `check=False` and these venues. Raises RecordingDamaged for
    a file that is not the one that was sealed.
    """
    wanted = _tables_of(query)
    if "gaps" in wanted:
        _fill_gaps(connection, recordings, _of_venues(recordings, venues))
    for recording in recordings:
        for table in ALL_TABLES:
            if table in wanted:
                recording.files(table)


def check_single(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """
    See that a query has one result: DuckDB runs several statements and keeps the result of the last.

    What only prepares the last one (SET VARIABLE, CREATE MACRO, CREATE TEMP TABLE) may stand before it.

    Raises:
        ConfigError: Another statement has a result of its own, or there is none.
        duckdb.Error: It is no SQL.
    """
    statements = connection.extract_statements(query)
    if not statements:
        raise ConfigError("the query is empty")
    has_rows = [each.expected_result_type == [duckdb.ExpectedResultType.QUERY_RESULT] for each in statements]
    if any(has_rows[:-1]):
        raise ConfigError(
            f"expected one query, found {len(statements)} statements, and number {has_rows.index(True) + 1} has a result "
            "of its own: run each by itself, or join them with UNION ALL"
        )


def _tables_of(query: str) -> set[str]:
    """Tables of a recording that a query reads; all of them where that is not known."""
    # DuckDB tells it by binding the query, for which there have to be such tables, if empty ones.
    with duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}) as scratch:
        scratch.execute("SET enable_external_access = false")
        for table, schema in ALL_TABLES.items():
            columns = ", ".join(f'"{field.name}" {_SQL_TYPES[field.type]}' for field in schema)
            scratch.execute(f"CREATE TABLE {table} (recording VARCHAR, {columns})")
        bases: dict[str, set[str]] = {}
        for name, helper in _HELPERS.items():
            bases[name] = scratch.get_table_names(helper)
            scratch.execute(f"CREATE TABLE {name} AS {helper} LIMIT 0")
        scratch.execute(_GAPS)
        try:
            names = scratch.get_table_names(query)
        except duckdb.Error:
            return {*ALL_TABLES, "gaps"}  # several statements, or none that DuckDB understands: it will say so itself
    return set().union(*(bases.get(name.lower(), {name.lower()}) for name in names))


def _fill_gaps(connection: duckdb.DuckDBPyConnection, opened: Sequence[Recording], of_venues: str) -> None:
    connection.register("found_gaps", _gaps(opened, labels(opened)).to_arrow())
    connection.execute(
        "INSERT INTO gaps BY NAME SELECT *, round(seconds * 1e9)::BIGINT AS gap_ns FROM found_gaps" + of_venues
    )
    connection.unregister("found_gaps")


def _gaps(opened: Sequence[Recording], names: Sequence[str]) -> pl.DataFrame:
    return pl.concat(
        find_gaps(recording).select(pl.lit(name).alias("recording"), pl.all())
        for recording, name in zip(opened, names, strict=True)
    )


def _of_venues(opened: Sequence[Recording], venues: Collection[str] | str) -> str:
    """What ends the selection of a view's rows."""
    wanted = sorted({venues} if isinstance(venues, str) else set(venues))
    there = ", ".join(str(recording.path) for recording in opened)
    check_venues(wanted, venues_of(recording.manifest for recording in opened), there)
    return f" WHERE venue IN ({', '.join(map(sql_text, wanted))})" if wanted else ""


def _select(
    table: str, opened: Sequence[Recording], names: Sequence[str], allowed: set[str], of_venues: str, *, check: bool
) -> str:
    parts = []
    for recording, name in zip(opened, names, strict=True):
        files = [str(path.absolute()) for path in recording.files(table, check=check)]
        if files:
            patterns = [_without_wildcards(path) for path in files]
            # DuckDB asks for permission twice: for the pattern, and for the file it finds.
            allowed.update(files, patterns)
            columns, more = _columns_of(table, files)
            source = f"read_parquet([{', '.join(map(sql_text, patterns))}], hive_partitioning = false{more})"
            parts.append(f"SELECT {sql_text(name)} AS recording, {columns} FROM {source}{of_venues}")
    if not parts:
        columns = ", ".join(f'NULL::{_SQL_TYPES[field.type]} AS "{field.name}"' for field in ALL_TABLES[table])
        parts.append(f"SELECT NULL::VARCHAR AS recording, {columns} WHERE false")
    return " UNION ALL ".join(parts)


def _columns_of(table: str, files: Sequence[str]) -> tuple[str, str]:
    """The columns to select of a table's files, and what to read them with besides: some may be of an older version."""
    wanted = ALL_TABLES[table].names
    # Columns come with versions and versions with time, so of very many files some tell whether any lacks one. Where an
    # older version was used again for a while, DuckDB refuses the files, loudly.
    some = [*files[:: -(-len(files) // _FILES_ASKED)], files[-1]]
    if all(set(wanted) <= _names_in(path, table) for path in some):
        return ", ".join(f'"{name}"' for name in wanted), ""
    # This makes DuckDB look into every file at each query, so it is done only where it has to be.
    found = set().union(*(_names_in(path, table) for path in files))
    columns = [
        f'"{field.name}"' if field.name in found else f'NULL::{_SQL_TYPES[field.type]} AS "{field.name}"'
        for field in ALL_TABLES[table]
    ]
    return ", ".join(columns), ", union_by_name = true"


def _names_in(path: str, table: str) -> set[str]:
    try:
        with reading(Path(path)):
            return set(pq.read_schema(path).names)
    except RecordingDamaged:
        return set(ALL_TABLES[table].names)  # a query of that table raises


def _without_wildcards(path: str) -> str:
    """Spell a path so that DuckDB, which takes every name for a pattern, finds this file and no other."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)
