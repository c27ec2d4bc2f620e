"""How spreads are drawn."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import analysis
from analysis import charts
from recordings.recording import Recording
from tests.analysis.tapes import make_recording

B = 1_700_000_000_000_000_000
S = 10**9


def quotes(symbol: str, count: int = 50) -> list[dict[str, Any]]:
    return [
        {
            "symbol": symbol,
            "trading_pair": f"{symbol}-USD",
            "ts_recv": B + number * S,
            "capture_seq": number,
            "bid_price": 100.0 + number % 7,
            "ask_price": None if number == 20 else 101.0 + number % 7 + number % 3,
            "is_stale": 30 <= number < 35,
        }
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make_recording(tmp_path_factory.mktemp("tapes") / "tape", {"top": quotes("BTC")})


def test_stale_and_one_sided_time_is_shaded(recording: Recording) -> None:
    """Where it is, as one rectangle each."""
    series = analysis.spread_window(recording).series(S).collect()
    shades = charts._shades(series, S)
    at = {shade["color"]: (shade["t"] - B / 1e6, shade["t2"] - B / 1e6) for shade in shades}
    assert at == {charts._STALE: (30_000.0, 35_000.0), charts._ODD: (20_000.0, 21_000.0)}


def test_the_line_breaks_where_there_is_no_spread(recording: Recording) -> None:
    """At the very end too, where a row stands for no time any more."""
    series = analysis.spread_window(recording).series(S).collect()
    points = pl.DataFrame(charts._steps(series, S))
    broken = points.filter(pl.col("mean").is_null())["t"] - B / 1e6
    assert broken.to_list() == [20_000.0, 30_000.0, 31_000.0, 32_000.0, 33_000.0, 34_000.0, 49_000.0]
