"""Tables of a recording as LazyFrames."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import analysis
from analysis.table_source import check_rows, only, recording_end_ns
from recordings.format.schema import TABLES
from tests.analysis.tapes import make_recording
from toolkit.errors import ConfigError, NotARecording, RecordingDamaged

TS = 1_700_000_000_123_456_789


def test_segments_follow_each_other(tmp_path: Path) -> None:
    recording = make_recording(
        tmp_path / "tape",
        {"trades": [{"symbol": "B", "capture_seq": 1}, {"symbol": "A", "capture_seq": 2}]},
        {"trades": [{"symbol": "A", "capture_seq": 3}]},
    )
    assert analysis.scan(recording, "trades").select("symbol", "capture_seq").collect().rows() == [
        ("A", 2),
        ("B", 1),
        ("A", 3),
    ]


@pytest.mark.parametrize("table", list(TABLES))
def test_a_table_without_rows_has_its_columns(tmp_path: Path, table: str) -> None:
    recording = make_recording(tmp_path / "tape", {})
    frame = analysis.scan(recording, table).collect()
    assert (frame.height, frame.columns) == (0, ["recording", *TABLES[table].names])


def test_a_table_with_rows_has_the_types_of_one_without(tmp_path: Path) -> None:
    full = make_recording(tmp_path / "full", {"trades": [{}], "top": [{}]})
    empty = make_recording(tmp_path / "empty", {})
    for table in ("trades", "top"):
        assert analysis.scan(full, table).collect_schema() == analysis.scan(empty, table).collect_schema()


@pytest.mark.parametrize("name", ["a[1]", "what?", "star*", "it's", "date=2024-01-01", "sp ace", "ünï"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """None of it is taken for a pattern, a partition or the end of a string."""
    make_recording(tmp_path / "a1", {"trades": [{"trade_id": "wrong"}]})
    make_recording(tmp_path / name, {"trades": [{"trade_id": "right"}]})
    frame = analysis.scan(tmp_path / name, "trades").collect()
    assert (frame["trade_id"].to_list(), frame.columns) == (["right"], ["recording", *TABLES["trades"].names])
    assert frame["recording"].to_list() == [name]
    with analysis.connect(tmp_path / name) as connection:
        assert connection.execute("SELECT trade_id FROM trades").fetchall() == [("right",)]


ONE = (
    *(analysis.spread_window, analysis.latency, analysis.coverage, analysis.order_report, analysis.pnl_report),
    *(analysis.pnl_series, analysis.pnl_check, analysis.connect, lambda given: analysis.scan([given], "top")),
)


@pytest.mark.parametrize("read", ONE)
def test_several_where_one_is_expected_are_an_error(tmp_path: Path, read: Callable[[Any], object]) -> None:
    with pytest.raises(ConfigError, match=r"^expected one recording, open or by its folder, received a list$"):
        read([tmp_path / "a", tmp_path / "b"])


def test_rows_of_chosen_instruments_are_kept() -> None:
    rows = pl.LazyFrame({"venue": ["x", "x", "y"], "symbol": ["A", "B", "A"]})
    assert only(rows, pl.DataFrame({"venue": ["x"], "symbol": ["A"]})).collect().rows() == [("x", "A")]
    assert only(rows, pl.DataFrame(schema={"venue": pl.String, "symbol": pl.String})).collect().height == 0


def test_the_end_is_that_of_the_last_frame(tmp_path: Path) -> None:
    recording = make_recording(tmp_path / "tape", {"trades": [{"ts_recv": 7}]}, {"trades": [{"ts_recv": 9}]})
    assert recording_end_ns(recording) == 9


def test_what_is_no_table_or_no_recording_is_said(tmp_path: Path) -> None:
    recording = make_recording(tmp_path / "tape", {"trades": [{}]})
    with pytest.raises(ConfigError, match=r"^no table 'candles' in a recording; there are raw, "):
        analysis.scan(recording, "candles")
    with pytest.raises(NotARecording):
        analysis.scan(tmp_path, "trades")
    recording.files("trades")[0].unlink()
    with pytest.raises(RecordingDamaged):
        analysis.scan(recording, "trades")


PLAIN = """
import duckdb, polars, sys
assert not {"toolkit", "recordings", "analysis"} & set(sys.modules)
files = sys.argv[1] + "/trades/*.parquet"
with duckdb.connect() as connection:
    print(connection.execute(f"SELECT epoch_ns(ts_recv), price, trading_pair, typeof(ts_recv) FROM '{files}'").fetchall())
frame = polars.read_parquet(files)
print(frame["ts_recv"].dtype, frame["ts_recv"].cast(polars.Int64).to_list(), frame["price"].to_list(), frame["symbol"].dtype)
"""


def test_plain_duckdb_and_polars_read_it_without_losing_a_nanosecond(tmp_path: Path) -> None:
    """In another process, from another folder, without our packages."""
    folder = tmp_path / "tape"
    make_recording(folder, {"trades": [{"ts_recv": TS, "price": 42000.1}]})
    done = subprocess.run(
        [sys.executable, "-I", "-c", PLAIN, str(folder)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        f"[({TS}, 42000.1, 'BTC-USD', 'TIMESTAMP_NS')]",
        f"Datetime(time_unit='ns', time_zone=None) [{TS}] [42000.1] String",
    ]


@pytest.mark.parametrize(
    "measure",
    [
        analysis.spreads,
        lambda top: analysis.spread_series(top, every_ns=1),
        lambda top: next(analysis.stretches(top, end_ns=1)),
    ],
)
@pytest.mark.parametrize("given", ["tapes/monday", Path("tapes/monday"), pl.DataFrame()])
def test_what_is_measured_is_rows_and_no_recording(measure: Callable[[Any], object], given: Any) -> None:
    """Whoever hands over a folder, as to every other report, is told what to ask instead."""
    text = f"^expected the rows of `top` as a LazyFrame, found {type(given).__name__}: for those of a recording see "
    with pytest.raises(ConfigError, match=text):
        measure(given)


def test_rows_are_taken() -> None:
    check_rows(pl.LazyFrame())
