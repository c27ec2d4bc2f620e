"""`tickdeck analyze`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import analysis
from tests.analysis.tapes import make_recording
from toolkit.cli.commands.analyze import analyze
from toolkit.errors import NotARecording, RecordingDamaged, SymbolError

B = 1_700_000_000_000_000_000
S = 10**9


def rows(symbol: str) -> list[dict[str, Any]]:
    return [
        {
            "symbol": symbol,
            "trading_pair": f"{symbol}-USD",
            "ts_recv": B + number * S,
            "capture_seq": number,
            "bid_price": 100.0,
            "ask_price": 101.0 + number % 2,
        }
        for number in range(5)
    ]


@pytest.fixture
def tape(tmp_path: Path) -> str:
    make_recording(tmp_path / "tape", {"top": [*rows("BTC"), *rows("ETH")], "book": [{"ts_recv": B}]})
    return str(tmp_path / "tape")


def run(*args: str) -> Result:
    done = CliRunner().invoke(analyze, ["spreads", *args])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_json_has_every_column(tape: str) -> None:
    found = json.loads(run(tape, "--json").stdout)
    assert [row["trading_pair"] for row in found] == ["BTC-USD", "ETH-USD"]
    assert list(found[0]) == analysis.REPORT_SCHEMA.names()
    assert (found[0]["spread_mean"], found[0]["covered_s"], found[0]["book_messages"]) == (1.5, 4.0, 1)


def test_the_table_has_a_line_for_each_pair_in_each_part(tape: str) -> None:
    done = run(tape)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines if line and "-USD" in line[0]] == ["BTC-USD", "ETH-USD"] * 3
    assert ["BTC-USD", "1.5", "1", "1", "1", "2", "2", "2", "1", "2", "1", "100.75"] in lines


def test_pairs_and_times_are_chosen(tape: str) -> None:
    window = ["--pair", "ETH-USD", "--from", "2023-11-14T22:13:21Z", "--to", "2023-11-14T22:13:23.5Z"]
    (found,) = json.loads(run(tape, *window, "--json").stdout)
    assert (found["trading_pair"], found["covered_s"], found["top_changes"]) == ("ETH-USD", 2.5, 3)


def test_a_series_has_a_row_for_each_bucket(tape: str) -> None:
    done = run(tape, "-p", "BTC-USD", "--every", "2s", "-f", "csv")
    lines = done.stdout.splitlines()
    assert lines[0].split(",") == analysis.SERIES_SCHEMA.names()
    assert [line.split(",")[3:5] for line in lines[1:]] == [
        ["2023-11-14T22:13:20.000000000Z", "1.5"],
        ["2023-11-14T22:13:22.000000000Z", "1.5"],
        ["2023-11-14T22:13:24.000000000Z", ""],
    ]


def test_a_plot_comes_besides_the_result(tape: str, tmp_path: Path) -> None:
    done = run(tape, "--plot", str(tmp_path / "a.png"), "--json")
    assert len(json.loads(done.stdout)) == 2
    assert done.stderr.endswith(f"Drawn: {tmp_path / 'a.png'}\n")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_pairs_that_are_not_drawn_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis import spread_plots as plots
    from toolkit.pictures import vega_lite as pictures

    monkeypatch.setattr(pictures, "png", lambda chart: b"")
    monkeypatch.setattr(plots, "PANELS_MAX", 1)
    make_recording(tmp_path / "tape", {"top": [*rows("BTC"), *rows("ETH")]})
    done = run(str(tmp_path / "tape"), "--plot", str(tmp_path / "a.png"))
    assert "Not drawn, for want of room or of quotes: ETH-USD; choose with --pair.\n" in done.stderr


def test_a_book_that_fell_silent_long_before_the_end_is_said(tmp_path: Path) -> None:
    """As when one file of an import ends before the others."""
    tables = {"top": rows("BTC"), "book": [{"ts_recv": B}], "trades": [{"ts_recv": B + 500 * S}]}
    make_recording(tmp_path / "tape", tables)
    done = run(str(tmp_path / "tape"), "--json")
    assert done.stderr == (
        "No message of the book in the last 500 s of BTC-USD: the last quote is held until the end; --to ends earlier.\n"
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--every", "soon"],
        ["--from", "yesterday"],
        ["--to", "2024-02-30"],
        ["--plot", "a.gif"],
        ["--clock", "sundial"],
    ],
)
def test_options_that_make_no_sense_are_bad_usage(tape: str, options: list[str]) -> None:
    assert run(tape, *options).exit_code == 2


def test_what_cannot_be_measured_is_said(tape: str, tmp_path: Path) -> None:
    with pytest.raises(NotARecording):
        run(str(tmp_path))
    with pytest.raises(SymbolError, match=r"^'DOGE-USD' is not in .*, expected one of BTC-USD, ETH-USD$"):
        run(tape, "--pair", "DOGE-USD")
    path = next((Path(tape) / "top").iterdir())
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(
        RecordingDamaged, match=r"^.*\.parquet has 300 bytes, expected [\d,]+: see `tickdeck verify`$"
    ) as caught:
        run(tape)
    assert "\n" not in str(caught.value)
