"""`tickdeck sql`: queries over recordings."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from toolkit.borders import sql_name
from toolkit.cli.interrupts import let_interrupts_through
from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.shared_options import sealed_option, venue_option
from toolkit.cli.output.results import CONTEXT_SETTINGS, Output, examples, output_options
from toolkit.cli.output.table_layout import joined
from toolkit.cli.output.unsealed_note import open_sealed
from toolkit.errors import ConfigError, TickdeckError

if TYPE_CHECKING:
    import duckdb
    import polars as pl

__all__ = ["sql"]

_BATCH_ROWS: Final = 65_536
#: Of the list of views, where no terminal says how wide it is.
_LIST_WIDTH: Final = 100

# Types that Polars has no place for are given as DuckDB's own text.
_AS_TEXT: Final = ("INTERVAL", "TIME", "UUID", "MAP", "UNION", "BIT", "ENUM", "BIGNUM", "GEOMETRY", "VARIANT")


class QueryFailed(TickdeckError):
    """A query that DuckDB cannot answer."""


#: Columns of the views that say what a row is about, for terminals without room for all of them.
_TELLING: Final = (
    "trading_pair",
    "kind",
    "side",
    "aggressor_side",
    "price",
    "size",
    "bid_price",
    "ask_price",
    "cause",
    "ts_recv",
    "state",
    "remaining",
    "fee",
    "fee_asset",
    "venue",
)


@click.command(
    context_settings=CONTEXT_SETTINGS,
    epilog=examples(
        'tickdeck sql tapes/monday "SELECT venue, symbol, count(*) FROM trades GROUP BY ALL"',
        'tickdeck sql tapes/monday tapes/tuesday "SELECT recording, avg(spread_bps) FROM quotes GROUP BY ALL" --json',
        "tickdeck sql tapes/monday - --format csv < query.sql > result.csv",
    ),
)
@click.argument("arguments", nargs=-1, required=True, metavar="RECORDING... [QUERY]")
@venue_option
@sealed_option
@check_option
@output_options
def sql(arguments: tuple[str, ...], venues: tuple[str, ...], sealed: bool, output: Output) -> None:
    """
    Query recordings with SQL, in DuckDB's dialect.

    The last argument is the query, a single statement; `-` reads it from stdin. Without a query, the views and their
    columns are listed: one per recorded table (raw, book, trades, bbo, top, ...), quotes (top with mid, spread and
    spread_bps) and gaps. Every view has the rows of all recordings, and a column `recording`. Times are UTC. A query
    can read these recordings only; with --venue, only the rows of that venue. Frames that are not sealed yet are left
    out, and a note on stderr says how many.
    """
    folders, query = _split(arguments)

    import duckdb

    import analysis
    from analysis.duckdb_views import check_query, check_single

    recordings = [open_sealed(folder, sealed) for folder in folders]
    with analysis.connect(*recordings, venues=venues, check=False) as connection:
        if query is None:
            columns = _columns(connection)
            if output.is_table:
                output.write_lines(lambda width: _listed(columns, width))
            else:
                output.write(columns)
        else:
            try:
                check_single(connection, query)
            except duckdb.Error as exc:
                raise QueryFailed(_one_line(exc)) from None
            check_query(connection, recordings, query, venues=venues)
            output.write(_rows(connection, query), importance=_TELLING)


def _split(arguments: tuple[str, ...]) -> tuple[list[Path], str | None]:
    """Tell folders from the query: a query is what is no folder, and only the last argument may be one."""
    *folders, last = arguments
    if last == "-":
        let_interrupts_through()
        query = sys.stdin.read()
    elif _exists(last) or not _is_query(last):
        folders.append(last)
        query = None
    else:
        query = last
    if not folders:
        raise click.UsageError("Missing argument 'RECORDING...'.")
    if query is not None and not query.strip():
        raise ConfigError("the query is empty")
    return [Path(folder) for folder in folders], query


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except OSError:
        # A long query is no possible name of a file.
        return False


def _is_query(text: str) -> bool:
    # A mistyped folder should be reported as one, not as a syntax error.
    return any(char.isspace() for char in text)


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> Iterator[pl.DataFrame]:
    import duckdb
    import polars as pl

    try:
        _refuse_writing(connection, query)
        relation = connection.sql(query)
        if relation is None:
            return
        reader = _as_columns(connection, relation).to_arrow_reader(_BATCH_ROWS)
        empty = pl.from_arrow(reader.schema.empty_table())
        assert isinstance(empty, pl.DataFrame)
        yield empty
        for batch in reader:
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame
    except duckdb.Error as exc:
        raise QueryFailed(_one_line(exc)) from None


def _refuse_writing(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    import duckdb

    kinds = {statement.type for statement in connection.extract_statements(query)}
    for kind in (duckdb.StatementType.COPY, duckdb.StatementType.EXPORT, duckdb.StatementType.ATTACH):
        if kind in kinds:
            raise QueryFailed(f"{kind.name} is not for recordings; --out FILE writes the result of a query")


def _as_columns(connection: duckdb.DuckDBPyConnection, relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Cast the types that Polars has no place for, and give every column a name of its own."""
    columns = []
    for number, (name, kind) in enumerate(zip(_distinct(connection, relation.columns), relation.types, strict=True), 1):
        # By its number: names are the same to DuckDB where only capitals differ, and the first would be taken for both.
        column, text = f"#{number}", str(kind)
        if text == "TIMESTAMP WITH TIME ZONE":
            column += "::TIMESTAMP"
        elif text.startswith(_AS_TEXT) and not text.startswith("TIMESTAMP"):
            column += "::VARCHAR"
        columns.append(f"{column} AS {sql_name(name)}")
    return relation.project(", ".join(columns))


def _distinct(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> list[str]:
    """Names, numbered where one was there before, as DuckDB has them in a frame: `a`, `a_1`, whatever their capitals."""
    columns = ", ".join(f"0 AS {sql_name(name)}" for name in names)
    frame: pl.DataFrame = connection.sql(f"SELECT {columns}").pl()
    return frame.columns


def _columns(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    import analysis

    relation = connection.sql(
        "SELECT table_name AS view, column_name AS column, data_type AS type FROM duckdb_columns() WHERE NOT internal"
    )
    frame: pl.DataFrame = relation.pl()
    order = {name: number for number, name in enumerate(analysis.VIEWS)}
    return frame.sort(frame["view"].replace_strict(order), maintain_order=True)


def _listed(columns: pl.DataFrame, width: int | None) -> Iterator[str]:
    """Every view with all of its columns below it, in lines of that width: what may be asked for is never cut."""
    for (view,), rows in columns.group_by("view", maintain_order=True):
        yield str(view)
        words = [f"{name} {kind}," for name, kind in rows.select("column", "type").iter_rows()]
        indent = "  "
        words[0], words[-1] = indent + words[0], words[-1].removesuffix(",")
        yield from joined(words, width or _LIST_WIDTH, indent)


def _one_line(error: Exception) -> str:
    """DuckDB draws the place of an error on lines of its own; what it says is on the others."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("LINE ", "^"))]
    return " ".join(kept)
