"""`Result`: the same frames from a run and from its folder, numbers with units, and a picture that holds no markup."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from replay.market.layout import BUY, SELL, Role
from replay.results.plot_data import fill_rows
from replay.results.result import Result, summary_table
from replay.results.result_metrics import length, money, percent
from replay.results.result_plot import PAIRS_MAX, POINTS_MAX
from replay.results.result_writing import write_result
from replay.results.run_record import RunHead
from tests.replay.results.runs import HEAD, at, linear_market, quote, recorder, small_run, trade
from toolkit.errors import ConfigError, NotARecording

FRAMES = ("orders", "fills", "equity", "positions", "decisions", "series", "top")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, written."""
    path = tmp_path_factory.mktemp("results") / "first"
    write_result(small_run(), path)
    return path


def test_a_folder_gives_the_frames_of_the_run(folder: Path) -> None:
    made, read = Result.of(small_run()), Result.open(folder)
    assert (made.info, read.path) == (read.info, folder)
    for name in FRAMES:
        assert_frame_equal(getattr(made, name), getattr(read, name))


def test_its_frames_say_what_happened(folder: Path) -> None:
    result = Result.open(folder)
    assert result.orders.select("side", "price", "filled", "fee", "state").rows() == [
        ("buy", 100.0, 2.0, 0.02, "filled"),
        ("sell", 106.0, 1.0, 0.053, "filled"),
    ]
    assert result.fills.select("side", "size", "is_maker", "position", "is_uncertain").rows() == [
        ("buy", 2.0, True, 2.0, False),
        ("sell", 1.0, False, 1.0, False),
    ]
    assert result.positions.select("size", "entry_price", "unrealized_pnl").rows() == [
        (2, 100, 0),
        (1, 100, 6),
        (1, 100, 4),
    ]
    assert result.equity["drawdown"].to_list() == [0, 0.02, 0.02, 0, 0.053, 2.053, 2.053]
    assert result.series.rows() == [(result.series["ts_recv"][0], "fair", 100.5)]


def test_its_numbers_are_exact(folder: Path) -> None:
    result = Result.open(folder)
    assert [result.net_profit, result.fees, result.max_drawdown] == [
        Decimal(text) for text in ("9.927", "0.073", "2.053")
    ]
    assert result.doubtful_time_share == 2 / 60


def test_what_may_be_doubted_stands_first(folder: Path) -> None:
    """Two of sixty seconds; of the 12 that were gained in them and the 2.073 that were lost else, 85.3 %."""
    lines = summary_table(Result.open(folder))
    assert lines[:5] == [
        ("strategy", "Maker (half_spread=2, size=0.5)"),
        ("doubtful time", "3.33 %"),
        ("doubtful profit", "85.3 %"),
        ("uncertain fills", "0"),
        ("net profit", "9.927 USDC"),
    ]
    assert dict(lines)["deepest drawdown"] == "2.053 USDC"
    assert dict(lines)["  its length"] == "48 s"


def test_every_number_has_a_definition_and_is_json(folder: Path) -> None:
    summary = json.loads(json.dumps(Result.open(folder).summary()))
    assert all(len(metric["definition"]) > 10 for metric in summary["metrics"])
    found = {metric["name"]: metric["value"] for metric in summary["metrics"]}
    assert (found["net_profit"], found["maker_fills"], found["taker_fills"], found["gaps"]) == ("9.927", 1, 1, 1)


def test_it_says_itself_in_a_line(folder: Path) -> None:
    assert repr(Result.open(folder)) == "<Result Maker backtest: net 9.927 USDC, 2 fills, 3.33 % of time doubtful>"


def test_what_is_no_result_is_not_opened(folder: Path, workspace_template: Path) -> None:
    with pytest.raises(ConfigError, match="is no result but a recording of its own: run a strategy on it"):
        Result.open(workspace_template / "tapes" / "monday")
    with pytest.raises(NotARecording):
        Result.open(folder / "nowhere")


def test_a_run_in_which_nothing_happened_is_a_result(tmp_path: Path) -> None:
    """No fill, no order, no row of several tables: numbers and picture all the same."""
    record = recorder(capital={}).finish(at(10))
    write_result(record, tmp_path / "empty")
    result = Result.open(tmp_path / "empty")
    for name in FRAMES:
        assert_frame_equal(getattr(Result.of(record), name), getattr(result, name))
    assert not result.net_profit
    assert (result.fills.height, result.orders.height) == (0, 0)
    assert dict(summary_table(result))["  filled"] == "-"
    assert result.plot(tmp_path / "empty.png").png().startswith(b"\x89PNG")


def test_several_accounts_are_named(tmp_path: Path) -> None:
    made = recorder(linear_market("hyperliquid"), linear_market("dydx_v4"), capital={"USDC": Decimal(100)})
    trade(made, 1, BUY, 100, 100, pair=1)
    made.frame_done(at(1))
    result = Result.of(made.finish(at(2)))
    assert dict(summary_table(result))["net profit, dydx_v4/USDC"] == "-0.01 USDC"
    assert dict(summary_table(result))["net profit in USDC"] == "-0.01 USDC"
    assert result.plot().chart["title"]["text"] == "Maker · BTC-USD on dydx_v4"
    with pytest.raises(
        ConfigError, match=r"has 2 accounts \(hyperliquid/USDC, dydx_v4/USDC\): choose one of `accounts`"
    ):
        _ = result.net_profit


# -- the picture ----------------------------------------------------------------------------------------------------------


def texts(value: Any) -> Iterator[str]:
    """Every text in a specification."""
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def test_the_picture_has_fills_position_profit_and_doubt(folder: Path) -> None:
    data = Result.open(folder).plot().chart["datasets"]
    assert [(row["what"], row["price"], row["size"]) for row in data["fills0"]] == [
        ("buy maker", 100, 2),
        ("sell taker", 106, 1),
    ]
    # The line ends where the price is not known any more, and goes on behind it.
    assert [(row["ms"] - at(0) / 1e6, row["mid"]) for row in data["price0"]] == [
        (1000, 100),
        (10_000, 100),
        (10_000, None),
        (12_000, 106),
        (20_000, 104),
        (60_000, 104),
    ]
    assert [row["size"] for row in data["position0"]] == [0, 2, 1, 1, 1]
    assert data["equity0"][-1]["net"] == 9.927
    assert data["doubt"] == [{"ms": at(10) / 1e6, "until": at(12) / 1e6}]


def test_the_same_result_gives_the_same_picture(folder: Path, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        Result.open(folder).plot(tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_many_fills_are_gathered_and_pairs_left_out() -> None:
    """However long a run is, a picture of it has so many points; the pairs with most turnover are in it."""
    markets = [linear_market(pair=f"P{place}-USD") for place in range(PAIRS_MAX + 2)]
    made = recorder(*markets)
    for number in range(POINTS_MAX + 300):
        quote(made, number, 99 + number % 3, 101 + number % 3)
        trade(made, number + 0.5, BUY if number % 2 else SELL, 100, 1)
        made.frame_done(at(number + 0.5))
    for place in range(1, PAIRS_MAX + 2):
        trade(made, POINTS_MAX + 400 + place, BUY, 100, place, pair=place, role=Role.TAKER)
    result = Result.of(made.finish(at(POINTS_MAX + 500)))
    chart = result.plot().chart
    data = chart["datasets"]
    assert max(map(len, data.values())) <= POINTS_MAX
    assert sum(row["fills"] for row in data["fills0"]) == POINTS_MAX + 300
    # Of which a page, where they can be looked at closely, shows more than a picture.
    few, more = (len(fill_rows(result, result.info.pairs[0], points)) for points in (100, 1000))
    assert few <= 100 < more <= 1000
    assert len([name for name in data if name.startswith("price")]) == PAIRS_MAX
    assert any("2 more pairs are not drawn" in text for text in texts(chart["title"]))
    assert not any("P1-USD" in text for text in texts(chart))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "=cmd|'/c calc'!A1", "a\u202eb\x1b[31m", "x" * 300])
def test_names_from_outside_stay_text(name: str, tmp_path: Path) -> None:
    """In the page of a notebook, in the picture's page, on a line, and on disk exactly as they came."""
    head = RunHead(strategy=name, parameters={name: name})
    made = recorder(linear_market(pair=f"{name}-USD"), head=head)
    quote(made, 1, 99, 101)
    trade(made, 2, BUY, 100, 100)
    made.frame_done(at(2))
    write_result(made.finish(at(3)), tmp_path / "r")
    result = Result.open(tmp_path / "r")
    assert result.info.strategy == name
    assert result.fills["trading_pair"].to_list() == [f"{name}-USD"]
    page = result._repr_html_()
    result.plot(tmp_path / "r.html")
    assert "<script>alert" not in page + (tmp_path / "r.html").read_text()
    for text in (page, (tmp_path / "r.html").read_text(), repr(result)):
        assert "\u202e" not in text
        assert "\x1b" not in text
    assert "\n" not in repr(result)
    assert HEAD.strategy not in page


# -- numbers as text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0.00"),
        ("-0.000000001", "0.00"),
        ("0.00001234", "0.00001234"),
        ("9.92700", "9.927"),
        ("-1234567.896", "-1,234,567.90"),
        ("1E+4", "10,000.00"),
        ("1234567890123456789012345678901234.5", "1,234,567,890,123,456,789,012,345,678,901,234.50"),
    ],
)
def test_money_is_shown_with_the_digits_that_matter(value: str, expected: str) -> None:
    assert money(Decimal(value)) == expected


def test_shares_and_lengths_are_shown_for_people() -> None:
    assert [percent(share) for share in (0.0, -0.0000877, 0.5, 0.99999, 1.0, 12.3, -0.25)] == [
        "0 %",
        "-0.00877 %",
        "50 %",
        "above 99.9 %",
        "100 %",
        "1,230 %",
        "-25 %",
    ]
    assert [length(seconds) for seconds in (0, 0.25, 59.9, 60, 3725, 90_000, 864_000)] == [
        "0 s",
        "0.25 s",
        "59.9 s",
        "1 min",
        "1 h 2 min",
        "1 d 1 h",
        "10 d",
    ]
