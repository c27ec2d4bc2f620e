"""How spreads are drawn."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import analysis
from analysis import spread_charts as charts
from recordings.recording import Recording
from tests.analysis.quotes import EPOCH as B
from tests.analysis.quotes import S, odd_quotes
from tests.analysis.tapes import make_recording
from toolkit.pictures import colors


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make_recording(tmp_path_factory.mktemp("tapes") / "tape", {"top": odd_quotes("BTC")})


def test_stale_and_one_sided_time_is_shaded(recording: Recording) -> None:
    """Where it is, as one rectangle each."""
    series = analysis.spread_window(recording).series(S).collect()
    shades = charts.shades_of(series, S)
    at = {shade["color"]: (shade["t"] - B / 1e6, shade["t2"] - B / 1e6) for shade in shades}
    assert at == {colors.FAINT: (30_000.0, 35_000.0), colors.AMBER: (20_000.0, 21_000.0)}


def test_the_line_breaks_where_there_is_no_spread(recording: Recording) -> None:
    """At the very end too, where a row stands for no time any more."""
    series = analysis.spread_window(recording).series(S).collect()
    points = pl.DataFrame(charts.steps_of(series, S))
    broken = points.filter(pl.col("mean").is_null())["t"] - B / 1e6
    assert broken.to_list() == [20_000.0, 30_000.0, 31_000.0, 32_000.0, 33_000.0, 34_000.0, 49_000.0]


def test_a_maximum_beyond_the_scale_is_marked_and_counted(tmp_path: Path) -> None:
    """One wide moment does not flatten the panel, and does not look as if it ended at its edge."""
    rows = odd_quotes("BTC", 400)
    for number in (150, 300):
        rows[number]["ask_price"] = 190.0
        rows.insert(number + 1, {**rows[number], "ts_recv": rows[number]["ts_recv"] + S // 1000, "ask_price": 101.0})
    for number, row in enumerate(rows):
        row["capture_seq"] = number
    recording = make_recording(tmp_path / "tape", {"top": rows, "raw": [{}]})
    window = analysis.spread_window(recording)
    report, series = window.report(), window.series(S).collect()
    chart = charts.spread_chart(report, series, title="tape", every_ns=S, end_ns=window.end_ns)
    marks = chart["datasets"]["panel 1 beyond"]
    assert [round(mark["t"] - B / 1e6) for mark in marks] == [150_500, 299_500]
    (panel,) = chart["vconcat"]
    top = panel["vconcat"][0]["layer"][1]["encoding"]["y"]["scale"]["domain"][1]
    assert all(mark["top"] < top < mark["peak"] for mark in marks)
    assert "(2 beyond the scale)" in panel["vconcat"][0]["title"]["subtitle"]


def test_a_scale_that_has_room_for_all_marks_nothing(recording: Recording) -> None:
    window = analysis.spread_window(recording)
    chart = charts.spread_chart(
        window.report(), window.series(S).collect(), title="x", every_ns=S, end_ns=window.end_ns
    )
    assert chart["datasets"]["panel 1 beyond"] == []
    assert "beyond" not in chart["vconcat"][0]["vconcat"][0]["title"]["subtitle"]
