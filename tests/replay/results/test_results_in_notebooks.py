"""A result shows itself in notebooks, and hands its days to a library of other people's where that is installed."""

from __future__ import annotations

import builtins
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from replay.backtest.gap_policy import GapPolicy
from replay.reports.quantstats_export import returns_series, write_quantstats
from replay.results.result import Result
from tests.replay.results.runs import small_run
from tests.replay.results.test_results_of_gaps import result_of
from toolkit.errors import ConfigError


def test_a_notebook_is_shown_first_what_may_be_doubted() -> None:
    """By Jupyter's protocol and by marimo's, the same."""
    result = result_of(GapPolicy.KEEP)
    shown = result._repr_html_()
    assert shown.startswith("<div><p><b>70 % of the time and 100 % of the profit rest on doubtful data.</b></p>")
    assert "1 order rested across it (1)" in shown
    assert "data:image/png;base64," in shown
    assert result._mime_()[0] == "text/html"


def test_without_the_library_it_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name in ("pandas", "quantstats"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"^QuantStats is not installed, which is an extra: pip install"):
        write_quantstats(Result.of(small_run()), tmp_path / "page.html")


@pytest.mark.skipif(find_spec("pandas") is None, reason="pandas, of the extra quantstats, is not installed")
def test_returns_are_a_series_by_day() -> None:
    series = returns_series(Result.of(small_run()))
    assert series.to_list() == [pytest.approx(9.927 / 10_000)]
