"""
How commands print: one set of options, five formats, the same text for the same value everywhere.

Results go to stdout (or to `--out`), everything else to stderr. Rows arrive as Polars frames, one after the other,
and are written as they come, so the size of a result does not matter; only a table looks at a limited number of them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal, TypeVar

import click

from toolkit.borders import printable, shown_json, spreadsheet_text
from toolkit.cli.interrupts import let_interrupts_through
from toolkit.cli.options.shared_options import json_option
from toolkit.cli.options.value_types import OutputFile
from toolkit.cli.output.table_layout import Table, cell_width, folded
from toolkit.clock import NS_PER_S, perf_ns
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "CONTEXT_SETTINGS",
    "FORMATS",
    "Output",
    "counted",
    "examples",
    "output_options",
    "print_table",
    "printing_options",
    "progress_bar",
    "say",
    "say_facts",
    "terminal_width",
    "textual",
]

#: Of every command that is also called by itself: click remembers the names of the help option from the first call.
CONTEXT_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
FORMATS: Final = ("table", "csv", "json", "jsonl", "parquet")
_SUFFIXES: Final = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "table",
}
_ROWS_SHOWN: Final = 100
_GAP: Final = 2
#: Of a terminal that does not say how wide it is.
_COLUMNS_UNKNOWN: Final = 80

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """
    Where a command's result goes, and how it is written.

    Attributes:
        format: One of `FORMATS`.
        path: The file; None: stdout.
        rows_max: Most rows that a table shows; 0: all.
        is_for_spreadsheet: Whether cells of CSV that a spreadsheet would run are quoted.
    """

    format: str
    path: Path | None = None
    rows_max: int = _ROWS_SHOWN
    is_for_spreadsheet: bool = False

    @property
    def is_table(self) -> bool:
        """Whether people read it, not a program."""
        return self.format == "table"

    def write(
        self,
        frames: pl.DataFrame | Iterable[pl.DataFrame],
        *,
        schema: pl.Schema | None = None,
        nothing: str = "no rows",
        importance: Sequence[str] = (),
    ) -> None:
        """
        Write rows.

        Args:
            frames: The rows, as one frame or as several of the same columns that follow each other.
            schema: Columns and types, needed where there may be no frame at all.
            nothing: The line that stands for a table without rows.
            importance: Columns of a table that stay longest on a narrow terminal, the most important first.
        """
        import polars as pl

        parts = iter([frames] if isinstance(frames, pl.DataFrame) else frames)
        first = next(parts, None)
        if first is None:
            first = pl.DataFrame(schema=schema)
        with self._open(binary=self.format == "parquet") as file:
            match self.format:
                case "table":
                    frame = _gathered(first, parts, self.rows_max)
                    print_table(Table(frame=frame, nothing=nothing, importance=importance), file, self.rows_max)
                case "csv":
                    _write_csv(file, first, parts, self._spelling(), is_quoted=self.is_for_spreadsheet)
                case "json":
                    _write_json(file, first, parts)
                case "jsonl":
                    _write_jsonl(file, first, parts)
                case "parquet":
                    _write_parquet(file, first, parts)
                case unknown:
                    raise ConfigError(f"no format {unknown!r}; there are {', '.join(FORMATS)}")

    def write_tables(self, *tables: Table) -> None:
        """Write tables that are laid out by hand, below each other."""
        with self._open(binary=False) as file:
            for number, table in enumerate(tables):
                if number:
                    file.write("\n")
                print_table(table, file, self.rows_max)

    def write_lines(self, lines: Callable[[int | None], Iterable[str]]) -> None:
        """Write lines that are laid out by hand; they are asked for with the width of the terminal, None where is none."""
        with self._open(binary=False) as file:
            for line in lines(terminal_width(file)):
                file.write(printable(line) + "\n")

    def write_object(self, value: Any) -> None:
        """Write one JSON value, indented: for results that are no rows."""
        with self._open(binary=False) as file:
            file.write(shown_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")

    def _spelling(self) -> Callable[[str], str] | None:
        """How CSV spells text: as it is, unless a spreadsheet or a terminal takes it."""
        if self.is_for_spreadsheet:
            return spreadsheet_text
        return printable if self.path is None and sys.stdout.isatty() else None

    @contextmanager
    def _open(self, *, binary: bool) -> Iterator[IO[Any]]:
        let_interrupts_through()
        if self.path is None:
            if binary and sys.stdout.isatty():
                raise ConfigError("parquet is not for a terminal; give --out FILE, or a pipe")
            file: IO[Any] = sys.stdout.buffer if binary else sys.stdout
            yield file
            file.flush()
            return
        # A result that is half written must not look like a whole one.
        part = self.path.with_name(self.path.name + ".part")
        try:
            with part.open("wb") if binary else part.open("w", encoding="utf-8", newline="") as file:
                yield file
            part.replace(self.path)
        except OSError as exc:
            raise ConfigError(f"cannot write {self.path}: {exc.strerror or exc}") from exc
        finally:
            part.unlink(missing_ok=True)


_OUT: Final = click.option(
    "-o",
    "--out",
    "out_file",
    type=OutputFile(),
    metavar="FILE",
    help="Write the result to this file instead of stdout.",
)
_OUTPUT: Final = (
    click.option(
        "-f",
        "--format",
        type=click.Choice(FORMATS),
        help="Output format; by default that of the file name of --out, else a table.",
    ),
    json_option,
    click.option("--csv", "as_csv", is_flag=True, help="Print the result as CSV."),
    _OUT,
    click.option(
        "--spreadsheet",
        is_flag=True,
        help="CSV that is safe in a spreadsheet: text that would run as a formula (=, +, -, @) gets an apostrophe in front.",
    ),
    click.option(
        "--rows",
        type=click.IntRange(min=0),
        default=_ROWS_SHOWN,
        show_default=True,
        help="Maximum number of rows in a table; 0 for all.",
    ),
)


def output_options(command: _F) -> _F:
    """
    Give a click command `--format`, `--json`, `--csv`, `--out`, `--spreadsheet` and `--rows`.

    It gets them as one argument `output: Output`.
    """
    return _with_output(command, _OUTPUT)


def printing_options(command: _F) -> _F:
    """The same without `--out`, for a command where that is the folder of something else."""
    return _with_output(command, [option for option in _OUTPUT if option is not _OUT])


def _with_output(command: _F, options: Sequence[Callable[[Any], Any]]) -> _F:
    """
    Give a click command options of output.

    It gets them as one argument `output: Output`.
    """
    import functools

    @functools.wraps(command)
    def with_output(
        *args: Any,
        format: str | None,
        as_json: bool,
        as_csv: bool,
        rows: int,
        spreadsheet: bool,
        out_file: Path | None = None,
        **kwargs: Any,
    ) -> Any:
        out = out_file
        said = {"json": as_json, "csv": as_csv}
        wanted = {name for name, is_said in said.items() if is_said} | ({format} if format else set())
        if len(wanted) > 1:
            raise click.UsageError(f"{' and '.join(sorted(wanted))} contradict each other: choose one format")
        chosen = next(iter(wanted), None)
        if chosen is None:
            chosen = "table" if out is None else _SUFFIXES.get(out.suffix.lower())
        if chosen is None:
            raise click.UsageError(f"cannot tell the format of {out} from its name; say --format")
        if spreadsheet and chosen != "csv":
            raise click.UsageError(f"--spreadsheet is for CSV, and this is {chosen}; say --format csv")
        output = Output(format=chosen, path=out, rows_max=rows, is_for_spreadsheet=spreadsheet)
        return command(*args, output=output, **kwargs)

    decorated: Any = with_output
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


def examples(*commands: str) -> str:
    """The end of a command's help: `@click.command(epilog=examples("tickdeck info tapes/monday"))`."""
    heading = "Example:" if len(commands) == 1 else "Examples:"
    # The control character keeps click from filling the lines.
    return "\n".join(["\b", heading, *(f"  {command}" for command in commands)])


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """
    Show a progress bar on stderr, if that is a terminal, for work that takes longer than a second.

    Yields:
        A function to call with the number of units done since the last call.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(description, total=total)
    began, shown = perf_ns(), False

    def advance(done: int) -> None:
        nonlocal shown
        bar.advance(task, done)
        if not shown and perf_ns() - began > NS_PER_S:
            bar.start()
            shown = True

    try:
        yield advance
    finally:
        if shown:
            bar.stop()


def textual(frame: pl.DataFrame, *, tidy: bool = True) -> pl.DataFrame:
    """Turn what has no good text of its own into text or ordinary numbers: times, bytes, very wide numbers."""
    import polars as pl
    import polars.selectors as cs

    frame = frame.with_columns(
        cs.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ"),
        cs.binary().bin.encode("hex"),
        *(_plain_number(frame[name]) for name, dtype in frame.schema.items() if _is_wide(dtype)),
    )
    return frame.with_columns(_tidy(cs.by_dtype(pl.Float64))) if tidy else frame


def _is_wide(dtype: pl.DataType) -> bool:
    import polars as pl

    return isinstance(dtype, pl.Int128 | pl.UInt128 | pl.Decimal)


def _plain_number(column: pl.Series) -> pl.Series:
    """DuckDB's sum of integers is a HUGEINT, which arrives as a decimal without places."""
    import polars as pl

    if isinstance(column.dtype, pl.Decimal) and column.dtype.scale:
        return column.cast(pl.Float64)
    narrow = column.cast(pl.Int64, strict=False)
    return narrow if narrow.null_count() == column.null_count() else column.cast(pl.String)


def _tidy(column: pl.Expr) -> pl.Expr:
    """Round to 15 significant digits: every decimal that float64 holds stays, and 0.30000000000000004 is 0.3."""
    import polars as pl

    size = column.abs()
    digits = 14 - size.log10().floor()
    scale = pl.lit(10.0).pow(digits)
    is_ordinary = (size > 0) & column.is_finite() & digits.is_between(0, 22)
    return pl.when(is_ordinary).then((column * scale).round(0) / scale).otherwise(column)


def _gathered(first: pl.DataFrame, parts: Iterator[pl.DataFrame], rows_max: int) -> pl.DataFrame:
    """As many rows as a table shows, and one more where there are more."""
    import polars as pl

    frames, height = [first], first.height
    while not rows_max or height <= rows_max:
        part = next(parts, None)
        if part is None:
            break
        frames.append(part)
        height += part.height
    return pl.concat(frames)


def print_table(table: Table, file: IO[str], rows_max: int = 0) -> None:
    """Print a table within the width of the terminal; where there is none, as wide as it needs."""
    is_cut = 0 < rows_max < table.frame.height
    if is_cut:
        table = replace(table, frame=table.frame.head(rows_max))
    lines = table.lines(terminal_width(file), is_ascii=not _can_draw(file))
    if table.title is not None and not table.frame.is_empty() and file.isatty() and "NO_COLOR" not in os.environ:
        file.write(f"\x1b[1m{next(lines)}\x1b[0m\n")
    for line in lines:
        file.write(line + "\n")
    if is_cut:
        file.flush()
        rows = "row" if rows_max == 1 else counted(rows_max, "row")
        say(f"The first {rows}; --rows 0 shows all, and --csv streams them.", err=True)


def terminal_width(file: IO[str]) -> int | None:
    """Columns of the terminal behind a stream, or what COLUMNS says of it; None where it is no terminal."""
    if not file.isatty():
        return None
    try:
        said = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        said = 0
    if said <= 0:
        try:
            said = os.get_terminal_size(file.fileno()).columns
        except (OSError, ValueError):
            said = 0
    return said if said > 0 else _COLUMNS_UNKNOWN


def counted(count: int, name: str, plural: str = "") -> str:
    """Such as `1 segment` or `2,000 segments`; a plural without an s is named."""
    return f"{count:,} {name if count == 1 else plural or name + 's'}"


def say(text: str = "", *, err: bool = False, indent: str = "  ") -> None:
    """Print a line; on a terminal that is narrower, in several that break at spaces, never within a number or a time."""
    for line in folded(printable(text), terminal_width(sys.stderr if err else sys.stdout), indent):
        click.echo(line, err=err)


def say_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values below each other; a value that is longer than the line is broken at its spaces."""
    width = terminal_width(sys.stdout)
    lead = max(cell_width(name) for name, _ in facts) + _GAP
    for name, value in facts:
        room = None if width is None else max(width - lead, 1)
        first, *others = folded(printable(value), room)
        click.echo(name + " " * (lead - cell_width(name)) + first)
        for line in others:
            click.echo(" " * lead + line)


def _can_draw(file: IO[str]) -> bool:
    try:
        "─…".encode(getattr(file, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _write_csv(
    file: IO[str],
    first: pl.DataFrame,
    parts: Iterator[pl.DataFrame],
    spelled: Callable[[str], str] | None,
    *,
    is_quoted: bool,
) -> None:
    import polars as pl

    # All text in quotes: a spreadsheet whose separator is another (`;`) must not find a cell of its own within one.
    style: Literal["non_numeric", "necessary"] = "non_numeric" if is_quoted else "necessary"
    for number, part in enumerate(chain([first], parts)):
        frame = _flat(textual(part))
        has_header = number == 0
        if spelled is not None:
            if has_header:
                header = pl.DataFrame([[spelled(name) for name in frame.columns]], orient="row")
                file.write(header.write_csv(include_header=False, quote_style=style))
            has_header = False
            frame = _spelled(frame, spelled)
        file.write(frame.write_csv(include_header=has_header, quote_style=style))


def _spelled(frame: pl.DataFrame, spelled: Callable[[str], str]) -> pl.DataFrame:
    """All text of a frame through a function."""
    import polars as pl
    import polars.selectors as cs

    texts = (cs.string() | cs.categorical() | cs.enum()).cast(pl.String)
    return frame.with_columns(texts.map_elements(spelled, return_dtype=pl.String))


def _write_jsonl(file: IO[str], first: pl.DataFrame, parts: Iterator[pl.DataFrame]) -> None:
    for part in chain([first], parts):
        file.write(shown_json(textual(part).write_ndjson()))


def _write_json(file: IO[str], first: pl.DataFrame, parts: Iterator[pl.DataFrame]) -> None:
    separator = "["
    for part in chain([first], parts):
        if part.height:
            lines = shown_json(textual(part).write_ndjson()).rstrip("\n").replace("\n", ",\n")
            file.write(f"{separator}\n{lines}")
            separator = ","
    file.write("[]\n" if separator == "[" else "\n]\n")


def _write_parquet(file: IO[bytes], first: pl.DataFrame, parts: Iterator[pl.DataFrame]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # As in a recording: no embedded Arrow schema, plain strings.
    schema = pa.schema(
        [
            pa.field(f.name, pa.string() if f.type in (pa.string_view(), pa.large_string()) else f.type)
            for f in first.to_arrow().schema
        ]
    )
    with pq.ParquetWriter(file, schema, compression="zstd", store_schema=False) as writer:
        for part in chain([first], parts):
            writer.write_table(part.to_arrow().cast(schema))


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists and structs as JSON text, since CSV has neither."""
    import polars as pl

    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
    return frame.with_columns(
        pl.struct(pl.col(name).alias("x")).struct.json_encode().str.slice(5).str.strip_suffix("}").alias(name)
        for name in nested
    )
