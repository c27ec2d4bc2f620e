"""Pictures of profit: whose money, on which day, and where it is not known any more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import analysis

DAY = 1_795_824_000 * 10**9  # 2026-11-28
S = 10**9


def series(*rows: tuple[str, int, float | None, str | None]) -> pl.DataFrame:
    """Rows of pair, seconds since midnight, net and currency."""
    frame = [
        {"venue": "a", "account": "0x1", "symbol": pair, "trading_pair": pair, "ts_recv": DAY + at * S, "net": net}
        | {"currency": currency}
        for pair, at, net, currency in rows
    ]
    schema: dict[str, Any] = {"ts_recv": pl.Datetime("ns"), "net": pl.Float64, "currency": pl.String}
    return pl.DataFrame(frame, schema_overrides=schema)


def drawn(rows: pl.DataFrame, tmp_path: Path) -> tuple[dict[str, Any], str]:
    """The specification within the page, and the page's title."""
    analysis.plot_pnl(rows, tmp_path / "a.html", title="<b>mine</b>")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    at = page.rindex("const spec = ") + len("const spec = ")
    spec: dict[str, Any] = json.JSONDecoder().raw_decode(page, at)[0]
    titles = re.findall(r"<title>(.*?)</title>", page[: page.index("</head>")])
    return spec, titles[0]


def axes(spec: dict[str, Any]) -> tuple[str, str]:
    encoding = spec["layer"][0]["encoding"]
    return encoding["x"]["title"], encoding["y"]["title"]


def test_the_axes_say_day_and_currency_and_the_page_its_name(tmp_path: Path) -> None:
    spec, title = drawn(series(("BTC", 0, 1.0, "USDC"), ("ETH", 60, 2.0, "USDC")), tmp_path)
    assert axes(spec) == ("UTC, 2026-11-28", "net profit, USDC")
    assert title == "&lt;b&gt;mine&lt;/b&gt;"
    assert "Not known" not in json.dumps(spec["title"])
    later, _ = drawn(series(("BTC", 0, 1.0, None), ("BTC", 90_000, 2.0, None)), tmp_path)
    assert axes(later) == ("UTC, 2026-11-28 to 2026-11-29", "net profit, of an unknown currency")


def test_currencies_are_not_added_up(tmp_path: Path) -> None:
    spec, _ = drawn(series(("BTC", 0, 1.0, "USDC"), ("ETH", 0, 5.0, "USDC"), ("BTCUSD", 9, 0.5, "BTC")), tmp_path)
    last = {row["line"]: row["net"] for row in spec["datasets"]["lines"]}
    assert last == {
        "BTC, USDC": 1.0,
        "ETH, USDC": 5.0,
        "BTCUSD, BTC": 0.5,
        "all pairs, USDC": 6.0,
        "all pairs, BTC": 0.5,
    }
    assert axes(spec)[1] == "net profit, BTC, USDC"


def test_a_line_that_is_not_known_any_more_ends_with_a_cross_and_a_word(tmp_path: Path) -> None:
    rows = series(("BTC", 0, 1.0, "USDC"), ("ETH", 0, 5.0, "USDC"), ("BTC", 10, None, "USDC"), ("ETH", 20, 6.0, "USDC"))
    spec, _ = drawn(rows, tmp_path)
    assert spec["title"]["subtitle"][1] == "Not known, so the line and the sum end (cross): BTC from 00:00:10."
    lines = spec["datasets"]["lines"]
    ends = {row["line"]: row["net"] for row in lines if row["is_end"]}
    assert ends == {"BTC": 1.0, "all pairs": 6.0}
    assert [row["net"] for row in lines if row["line"] == "BTC"][-1] is None
    assert [row["net"] for row in lines if row["line"] == "ETH"][-1] == 6.0


def test_a_line_that_was_never_known_is_named_too(tmp_path: Path) -> None:
    spec, _ = drawn(series(("BTC", 5, None, "USDC"), ("ETH", 0, 5.0, "USDC"), ("ETH", 9, 5.0, "USDC")), tmp_path)
    assert "BTC from 00:00:05" in spec["title"]["subtitle"][1]


@pytest.mark.parametrize("ending", ["png", "html"])
def test_a_series_without_currencies_is_drawn(tmp_path: Path, ending: str) -> None:
    """One that was kept from before there was the column."""
    rows = series(("BTC", 0, 1.0, None), ("BTC", 1, None, None)).drop("currency")
    assert analysis.plot_pnl(rows, tmp_path / f"a.{ending}", title="t") == 0
