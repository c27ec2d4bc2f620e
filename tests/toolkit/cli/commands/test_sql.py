"""`tickdeck sql`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

import analysis
import tickdeck as td
from tests.analysis.tapes import make_recording
from tests.deadlines import HANG_S
from tests.toolkit.cli import terminal
from tests.toolkit.cli.terminal import only_error
from toolkit.cli.commands.sql import _TELLING, QueryFailed, sql
from toolkit.errors import NotARecording

TS = 1_700_000_000_123_456_789


@pytest.fixture
def tape(tmp_path: Path) -> str:
    trades = [{"ts_recv": TS + number, "capture_seq": number, "price": 1.5 + number} for number in range(3)]
    make_recording(tmp_path / "tape", {"trades": trades, "raw": [{"payload": '{"a": 1}'}]})
    return str(tmp_path / "tape")


def run(*args: str, stdin: str | None = None) -> Result:
    done = CliRunner().invoke(sql, args, input=stdin)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_query_gives_its_rows(tape: str) -> None:
    done = run(tape, "SELECT ts_recv, price FROM trades ORDER BY price LIMIT 1", "-f", "csv")
    assert done.stdout == "ts_recv,price\n2023-11-14T22:13:20.123456789Z,1.5\n"


def test_a_query_comes_from_stdin(tape: str) -> None:
    assert json.loads(run(tape, "-", "--json", stdin="SELECT count(*) AS n FROM trades").stdout) == [{"n": 3}]


def test_without_a_query_the_views_are_listed(tape: str) -> None:
    rows = json.loads(run(tape, "--json").stdout)
    views = list(dict.fromkeys(row["view"] for row in rows))
    assert views == list(analysis.VIEWS)
    assert views[:2] + views[-2:] == ["raw", "book", "quotes", "gaps"]
    assert {"view": "quotes", "column": "spread_bps", "type": "DOUBLE"} in rows


def test_the_columns_that_stay_on_a_narrow_terminal_are_columns_of_views(tape: str) -> None:
    listed = json.loads(run(tape, "--json").stdout)
    assert set(_TELLING) <= {row["column"] for row in listed}


def test_the_list_of_views_is_whole_at_any_width(tape: str) -> None:
    lines = run(tape, "--rows", "1").stdout.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == list(analysis.VIEWS)
    assert max(map(len, lines)) <= 100
    rows = json.loads(run(tape, "--json").stdout)
    assert lines == [
        line
        for view in analysis.VIEWS
        for line in (view, *folded_columns([f"{row['column']} {row['type']}" for row in rows if row["view"] == view]))
    ]


def folded_columns(columns: list[str]) -> list[str]:
    """As many to a line as have room."""
    lines = [""]
    for number, column in enumerate(columns, 1):
        word = column + ("," if number < len(columns) else "")
        if lines[-1] and len(f"{lines[-1]} {word}") > 100:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else f"  {word}"
    return lines


def test_one_recording_has_its_name_in_every_view_too(tape: str) -> None:
    done = run(tape, "SELECT DISTINCT recording FROM trades", "-f", "csv")
    assert done.stdout == "recording\ntape\n"
    assert run(tape, "SELECT recording FROM gaps", "-f", "csv").stdout == "recording\n"


def test_several_recordings_are_one_query(tape: str) -> None:
    copied = str(shutil.copytree(tape, Path(tape).with_name("other")))
    done = run(tape, copied, "SELECT count(*) AS n, count(DISTINCT recording) AS r FROM trades", "-f", "csv")
    assert done.stdout == "n,r\n6,2\n"


def test_every_type_of_duckdb_can_be_printed(tape: str) -> None:
    query = """SELECT sum(1::BIGINT) OVER () AS huge, 1.25::DECIMAL(9, 2) AS dec, INTERVAL 3 DAY AS ival, TIME '10:00' AS t,
        uuid() IS NOT NULL AS u, MAP {'a': 1} AS m, [1, 2] AS l, {'a': TIMESTAMP '2024-01-01'} AS s, 'a'::BLOB AS b,
        DATE '2024-01-01' AS d, NULL AS nothing, TIMESTAMPTZ '2024-01-01 00:00:00+02' AS tz, 'x'::ENUM('x') AS e,
        payload->>'$.a' AS j FROM raw"""
    row = json.loads(run(tape, query, "--json").stdout)[0]
    assert (row["huge"], row["dec"], row["ival"], row["t"]) == (1, 1.25, "3 days", "10:00:00")
    assert (row["m"], row["l"], row["b"], row["d"], row["nothing"]) == ("{a=1}", [1, 2], "61", "2024-01-01", None)
    assert (row["tz"], row["e"], row["j"]) == ("2023-12-31T22:00:00.000000000Z", "x", "1")
    for other in ("csv", "table", "jsonl"):
        assert run(tape, query, "-f", other).exit_code == 0


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT nothing FROM trades", r"^Binder Error: Referenced column \"nothing\" not found in FROM clause!"),
        ("SELEKT 1 + 1", r"^Parser Error: .*SELEKT"),
        ("SELECT price FROM trades WHERE error('stop')", "stop"),
        ("COPY trades TO 'x.csv'", r"^COPY is not for recordings; --out FILE writes the result of a query$"),
        ("ATTACH 'x.db'", r"^ATTACH is not for recordings"),
    ],
)
def test_a_query_that_fails_is_one_line(tape: str, query: str, message: str) -> None:
    with pytest.raises(QueryFailed, match=message) as caught:
        run(tape, query)
    assert "\n" not in str(caught.value)


def test_a_query_cannot_overwrite_the_recording(tape: str) -> None:
    path = next((Path(tape) / "trades").iterdir())
    before = path.read_bytes()
    with pytest.raises(QueryFailed):
        run(tape, f"COPY (SELECT 1) TO '{path}' (FORMAT parquet, USE_TMP_FILE false)")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("query", "number", "count"),
    [
        ("SELECT 1 AS a; SELECT 2 AS b", 1, 2),
        ("SET VARIABLE x = 1; FROM range(2); SELECT 3;", 2, 3),
        ("EXPLAIN SELECT 1; CREATE TEMP TABLE x AS SELECT 1", 1, 2),
        ("SHOW TABLES; SELECT 1", 1, 2),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_a_result_that_would_be_lost_is_refused(
    tape: str, query: str, number: int, count: int, form: tuple[str, ...]
) -> None:
    """There is one result to write: it was that of the last statement, without a word."""
    said = f"expected one query, found {count} statements, and number {number} has a result of its own: "
    assert only_error(terminal.run("sql", tape, query, *form)).startswith(said)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS a;",
        "; SELECT 1 AS a; ;",
        "SET VARIABLE x = 1; SELECT getvariable('x') AS a",
        "CREATE MACRO f(x) AS x + 1; SELECT f(0) AS a -- one; SELECT 2",
        "CREATE TEMP TABLE x AS SELECT 1 AS a; FROM x",
        "SELECT 1 AS a /* ; SELECT 2 */",
    ],
)
def test_what_only_prepares_a_query_may_stand_before_it(tape: str, query: str) -> None:
    done = terminal.run("sql", tape, query, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [{"a": 1}]), done.stderr


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("SELECT 1 a, 2 a, 3 a", {"a": 1, "a_1": 2, "a_2": 3}),
        ('SELECT 1 a, 2 "A", 3 b', {"a": 1, "A_1": 2, "b": 3}),
        ("SELECT * FROM (SELECT 1 k, 2 x) one JOIN (SELECT 1 k, 3 x) other ON one.k = other.k",
         {"k": 1, "x": 2, "k_1": 1, "x_1": 3}),
        ("SELECT INTERVAL 1 DAY a, TIMESTAMP '2026-01-01' b, INTERVAL 2 DAY a, 5 b",
         {"a": "1 day", "b": "2026-01-01T00:00:00.000000000Z", "a_1": "2 days", "b_1": 5}),
        ('SELECT 1 "a""b", 2 "a""b"', {'a"b': 1, 'a"b_1': 2}),
    ],
)  # fmt: skip
def test_a_name_that_is_there_twice_is_numbered(tape: str, query: str, row: dict[str, object]) -> None:
    done = terminal.run("sql", tape, query, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [row]), done.stderr


@pytest.mark.parametrize(
    "query", ["SELECT 1 a, 2 a_1, 3 a", "SELECT 1 a, 2 a, 3 a_1", 'SELECT 1 a, 2 "A", 3 a, 4 "A_1"']
)
def test_names_are_those_of_the_same_query_in_python(tape: str, query: str) -> None:
    assert json.loads(terminal.run("sql", tape, query, "--json").stdout) == td.open(tape).sql(query).to_dicts()


def test_a_column_that_is_asked_for_twice_is_there_twice_in_every_format(tape: str, tmp_path: Path) -> None:
    query = "SELECT ts_recv, * FROM trades LIMIT 1"
    for form in ((), ("--json",), ("--csv",), ("--out", str(tmp_path / "rows.parquet"))):
        done = terminal.run("sql", tape, query, *form)
        assert done.exit_code == 0, done.stderr
        names = pl.read_parquet_schema(tmp_path / "rows.parquet") if "--out" in form else done.stdout
        assert "ts_recv" in names
        assert form == () or "ts_recv_1" in names


def test_a_query_of_nothing_is_empty(tape: str) -> None:
    for query in (" ", " ; ", "/* nothing */"):
        assert only_error(terminal.run("sql", tape, query)) == "the query is empty"


def test_a_mistyped_folder_is_no_query(tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        run(str(tmp_path / "nothing"))


def test_a_query_alone_asks_for_a_recording() -> None:
    done = run("SELECT 1")
    assert (done.exit_code, "Missing argument 'RECORDING...'" in done.stderr) == (2, True)


def test_statements_without_a_result_give_no_rows(tape: str) -> None:
    assert run(tape, "CREATE TABLE t AS SELECT 1 AS x; SELECT x FROM t", "-f", "csv").stdout == "x\n1\n"
    assert run(tape, "CREATE TABLE t AS SELECT 1 AS x", "-f", "json").exit_code == 0


def test_a_reader_that_has_seen_enough_ends_it(tape: str) -> None:
    """`| head` closes the pipe long before a million rows are written."""
    command = [sys.executable, "-m", "toolkit.cli", "sql", tape, "SELECT range FROM range(1000000)", "-f", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"range\n"
        process.stdout.close()
        assert process.stderr.read() == b"Error: what reads standard output has closed it before its end\n"
        assert process.wait(timeout=HANG_S) == 141
