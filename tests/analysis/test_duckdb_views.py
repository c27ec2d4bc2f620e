"""Recordings as DuckDB views."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import analysis
from recordings.format.schema import TABLES
from tests.analysis.tapes import Rows, make_recording
from toolkit.errors import ConfigError, NotARecording, RecordingDamaged

TS = 1_700_000_000_123_456_789
TOP: dict[str, Any] = {"ts_recv": TS, "bid_price": 42000.0, "ask_price": 42000.1}


def test_every_table_has_a_view_with_the_right_types(tmp_path: Path) -> None:
    """Empty or not, a column has one type."""
    rows: dict[str, Rows] = {
        "top": [TOP],
        "trades": [{}],
        "events": [{}],
        "raw": [{}],
        "book": [{}],
        "bbo": [{}],
        "instruments": [{}],
    }
    full, empty = make_recording(tmp_path / "full", rows), make_recording(tmp_path / "empty", {})
    with analysis.connect(full) as one, analysis.connect(empty) as other:
        for view in (*TABLES, "quotes", "gaps"):
            described = f"DESCRIBE {view}"
            assert one.execute(described).fetchall() == other.execute(described).fetchall()
            assert other.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,)


def test_quotes_have_spread_and_mid_as_the_functions_give_them(tmp_path: Path) -> None:
    tops: Rows = [TOP, {"bid_price": 0.00001234, "ask_price": 0.00001236, "capture_seq": 1}, {"capture_seq": 2}]
    recording = make_recording(tmp_path / "tape", {"top": tops})
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    expected = analysis.scan(recording, "top").select(
        analysis.mid_price(bid, ask).alias("mid"),
        analysis.quoted_spread(bid, ask).alias("spread"),
        analysis.spread_bps(bid, ask).alias("spread_bps"),
    )
    with analysis.connect(recording) as connection:
        found = connection.execute("SELECT mid, spread, spread_bps FROM quotes ORDER BY capture_seq").fetchall()
    assert found == expected.collect().rows()
    assert found[0][:2] == (42000.05, 0.1)


def test_gaps_have_their_length(tmp_path: Path) -> None:
    events = [
        {"kind": "gap", "ts_start": TS, "ts_end": TS + 5},
        {"kind": "stale", "ts_start": TS, "capture_seq": 1},
        {"kind": "notice", "capture_seq": 2},
    ]
    with analysis.connect(make_recording(tmp_path / "tape", {"events": events})) as connection:
        assert connection.execute("SELECT kind, gap_ns FROM gaps ORDER BY capture_seq").fetchall() == [
            ("gap", 5),
            ("stale", None),
        ]


def test_several_recordings_are_told_apart(tmp_path: Path) -> None:
    one = make_recording(tmp_path / "monday", {"trades": [{"ts_recv": TS}]})
    two = make_recording(tmp_path / "tuesday", {"trades": [{}], "top": [TOP]})
    with analysis.connect(one, two) as connection:
        query = "SELECT recording, epoch_ns(ts_recv) FROM trades ORDER BY 1"
        assert connection.execute(query).fetchall() == [("monday", TS), ("tuesday", 0)]
        assert connection.execute("SELECT recording, spread FROM quotes").fetchall() == [("tuesday", 0.1)]
        assert connection.execute("SELECT recording FROM funding").fetchall() == []


def test_recordings_of_the_same_name_go_by_their_path(tmp_path: Path) -> None:
    one = make_recording(tmp_path / "a" / "tape", {"trades": [{}]})
    two = make_recording(tmp_path / "b" / "tape", {"trades": [{}]})
    with analysis.connect(one, two) as connection:
        found = connection.execute("SELECT recording FROM trades ORDER BY 1").fetchall()
    assert found == [(str(tmp_path / "a" / "tape"),), (str(tmp_path / "b" / "tape"),)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM '{outside}'",
        "COPY (SELECT 1) TO '{new}'",
        "ATTACH '{new}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET allowed_paths = ['{outside}']",
        "SELECT * FROM 'https://example.org/x.parquet'",
    ],
)
def test_a_query_reaches_nothing_but_the_recording(tmp_path: Path, query: str) -> None:
    outside = tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    recording = make_recording(tmp_path / "tape", {"trades": [{}]})
    with analysis.connect(recording) as connection:
        with pytest.raises(duckdb.Error):
            connection.execute(query.format(outside=outside, new=tmp_path / "new"))
        assert connection.execute("SELECT count(*) FROM trades").fetchone() == (1,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.csv", "tape"]


def test_a_connection_may_be_opened_up(tmp_path: Path) -> None:
    recording = make_recording(tmp_path / "tape", {"trades": [{}]})
    with analysis.connect(recording, read_only=False) as connection:
        connection.execute(f"COPY (SELECT price FROM trades) TO '{tmp_path / 'out.csv'}'")
    assert (tmp_path / "out.csv").read_text() == "price\n1.0\n"


def test_folders_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no recording to connect to$"):
        analysis.connect()
    with pytest.raises(NotARecording):
        analysis.connect(tmp_path)
    recording = make_recording(tmp_path / "tape", {"trades": [{}]})
    path = recording.files("trades")[0]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RecordingDamaged, match=rf"^{path} has 200 bytes, expected "):
        analysis.connect(recording)


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", pytest.param("UTC", marks=pytest.mark.slow)])
def test_a_query_does_not_depend_on_the_time_zone_of_the_machine(tmp_path: Path, zone: str) -> None:
    tops = [{**TOP, "ts_recv": TS + hour * 3_600_000_000_000, "capture_seq": hour} for hour in range(48)]
    recording = make_recording(tmp_path / "tape", {"top": tops})
    query = (
        "SELECT count(*), min(strftime(ts_recv::TIMESTAMPTZ, '%H')) FROM top "
        "WHERE ts_recv::TIMESTAMPTZ >= '2023-11-15 06:00:00' AND date_trunc('day', ts_recv::TIMESTAMPTZ) = '2023-11-15'"
    )
    program = (
        "import analysis, sys\n"
        f"with analysis.connect({str(recording.path)!r}) as connection:\n"
        f"    print(connection.execute({query!r}).fetchone())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(18, '06')\n"
