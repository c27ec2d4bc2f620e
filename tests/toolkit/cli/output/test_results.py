"""How commands print."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click
import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from toolkit.cli.output.results import Output, examples, output_options, progress_bar
from toolkit.cli.output.table_layout import format_cell
from toolkit.errors import ConfigError

FRAME = pl.DataFrame(
    {
        "ts": pl.Series([1_700_000_000_123_456_789, None]).cast(pl.Datetime("ns")),
        "x": [0.1 + 0.2, 42000.1],
        "n": [1, None],
        "flag": [True, False],
        "text": ['say "hi", you', None],
    }
)


@click.command(epilog=examples("show one", "show two"))
@click.option("--parts", default=1)
@output_options
def show(parts: int, output: Output) -> None:
    """Show it."""
    output.write([FRAME] * parts if parts else [], schema=FRAME.schema)


def run(*args: str) -> str:
    done = CliRunner().invoke(show, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_csv_has_times_in_full_and_no_noise() -> None:
    assert run("-f", "csv", "--parts", "2").splitlines() == [
        "ts,x,n,flag,text",
        *['2023-11-14T22:13:20.123456789Z,0.3,1,true,"say ""hi"", you"', ",42000.1,,false,"] * 2,
    ]


def test_csv_has_an_option_of_its_own() -> None:
    assert run("--csv") == run("-f", "csv")


@pytest.mark.parametrize("option", [["--json"], ["-f", "json"]])
def test_json_is_an_array(option: list[str]) -> None:
    rows = json.loads(run(*option, "--parts", "2"))
    assert rows == [
        {"ts": "2023-11-14T22:13:20.123456789Z", "x": 0.3, "n": 1, "flag": True, "text": 'say "hi", you'},
        {"ts": None, "x": 42000.1, "n": None, "flag": False, "text": None},
    ] * 2  # fmt: skip


@pytest.mark.parametrize(("format", "text"), [("json", "[]\n"), ("csv", "ts,x,n,flag,text\n"), ("jsonl", "")])
def test_no_rows_are_written_as_such(format: str, text: str) -> None:
    assert run("-f", format, "--parts", "0") == text


def test_jsonl_has_a_line_for_each_row() -> None:
    assert [json.loads(line)["x"] for line in run("-f", "jsonl").splitlines()] == [0.3, 42000.1]


def test_parquet_goes_to_a_pipe_with_plain_types() -> None:
    done = CliRunner().invoke(show, ["-f", "parquet"], catch_exceptions=False)
    table = pq.read_table(io.BytesIO(done.stdout_bytes))
    assert table.column("ts").cast("int64").to_pylist() == [1_700_000_000_123_456_789, None]
    assert [str(kind) for kind in table.schema.types] == ["timestamp[ns]", "double", "int64", "bool", "string"]


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl", "a.ndjson", "a.parquet", "a.txt"])
def test_the_name_of_the_file_says_the_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    assert run("--out", str(path)) == ""
    content = path.read_bytes()
    firsts = {"csv": b"ts,", "json": b"[\n", "jsonl": b'{"ts"', "ndjson": b'{"ts"', "parquet": b"PAR1", "txt": b"ts "}
    assert content.startswith(firsts[path.suffix[1:]])
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_a_name_that_says_nothing_needs_a_format(tmp_path: Path) -> None:
    done = CliRunner().invoke(show, ["--out", str(tmp_path / "a.dat")])
    assert (done.exit_code, "say --format" in done.stderr) == (2, True)


def test_options_that_contradict_each_other_are_refused() -> None:
    for options in (["--json", "-f", "csv"], ["--json", "--csv"], ["--csv", "-f", "parquet"]):
        done = CliRunner().invoke(show, options)
        assert (done.exit_code, "contradict" in done.stderr) == (2, True)


def test_a_failed_result_leaves_no_file(tmp_path: Path) -> None:
    """Neither half a one, nor the old one replaced."""
    path = tmp_path / "a.csv"
    path.write_text("old")

    def frames() -> Any:
        yield FRAME
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Output(format="csv", path=path).write(frames())
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("old", 1)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cannot write .*: No such file or directory$"):
        Output(format="csv", path=tmp_path / "nowhere" / "a.csv").write(FRAME)


def test_a_table_is_as_wide_as_it_needs_where_nothing_limits_it() -> None:
    wide = pl.DataFrame({f"column {number}": ["x" * 30] for number in range(20)})
    out = CliRunner().invoke(click.command()(lambda: Output(format="table").write(wide)))
    assert max(map(len, out.stdout.splitlines())) > 600
    assert "…" not in out.stdout


def test_a_long_table_says_that_it_was_cut() -> None:
    done = CliRunner().invoke(show, ["--rows", "1"])
    assert "42000.1" not in done.stdout
    assert done.stderr == "The first row; --rows 0 shows all, and --csv streams them.\n"
    assert "42000.1" in run("--rows", "0")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (2.0, "2"),
        (0.1 + 0.2, "0.3"),
        (0.00001, "0.00001"),
        (12345678.9, "12345678.9"),
        (123456789012.0, "123456789012"),
        (98765432109.25, "98765432109.25"),
        (-0.5, "-0.5"),
        (1e300, "1e+300"),
        (float("nan"), "nan"),
        (10**30, "1" + "0" * 30),
        ("a", "a"),
    ],
)
def test_a_cell_reads_well(value: object, text: str) -> None:
    assert format_cell(value) == text


def test_what_has_no_text_of_its_own_gets_one() -> None:
    frame = pl.DataFrame({"blob": [b"\x00\xff"], "wide": pl.Series([2**40], dtype=pl.Int128), "list": [[1, 2]]})
    done = CliRunner().invoke(click.command()(lambda: Output(format="csv").write(frame)), catch_exceptions=False)
    assert done.stdout == 'blob,wide,list\n00ff,1099511627776,"[1,2]"\n'


def test_help_ends_with_examples_on_lines_of_their_own() -> None:
    assert CliRunner().invoke(show, ["--help"]).stdout.endswith("  Examples:\n    show one\n    show two\n")


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Working", 10) as advance:
        advance(10)
    assert capsys.readouterr() == ("", "")
