"""One pair on several venues in everything that reports: a row, a panel and a view for each, none mixed or left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

import analysis
from analysis.accounts.pnl_plot import _lines
from analysis.spread_charts import spread_chart
from recordings.recording import Recording
from tests.venue_tapes import KEYS, VENUES, tape_of_venues
from toolkit.errors import ConfigError, SymbolError, TickdeckError
from toolkit.keys import PairKey

BTC = [key for key in KEYS if key[1] == "BTC-USD"]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return tape_of_venues(tmp_path_factory.mktemp("venues") / "tape")


def keys_of(rows: pl.DataFrame) -> list[tuple[str, str]]:
    return sorted(set(rows.select("venue", "trading_pair").iter_rows()))


REPORTS: dict[str, Callable[..., pl.DataFrame]] = {
    "spreads": lambda tape, **asked: analysis.spread_window(tape, **asked).report(),
    "series": lambda tape, **asked: analysis.spread_window(tape, **asked).series("5ms").collect(),
    "latency": analysis.latency,
    "coverage": analysis.coverage,
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_has_the_rows_of_each_venue(tape: Recording, name: str) -> None:
    """All of them for a bare name, and exactly the one that a key or a venue names."""
    report = REPORTS[name]
    everything = report(tape)
    assert keys_of(everything) == KEYS
    for asked, kept in (
        ({"pairs": ["BTC-USD"]}, BTC),
        ({"pairs": "BTCUSDT", "venues": "binance-usdm"}, [KEYS[2]]),
        ({"pairs": PairKey("dydx_v4", "BTC-USD")}, [KEYS[3]]),
        ({"venues": ["hyperliquid"]}, KEYS[4:]),
    ):
        found = report(tape, **asked)
        assert keys_of(found) == kept
        same = [key in kept for key in everything.select("venue", "trading_pair").iter_rows()]
        assert found.equals(everything.filter(pl.Series(same)))


def test_spreads_are_those_of_each_venue(tape: Recording) -> None:
    report = analysis.spread_window(tape, pairs="BTC-USD").report()
    assert report.select("venue", "spread_max").rows() == [
        ("binance-coinm", 0.1),
        ("dydx_v4", 1.5),
        ("hyperliquid", 1.0),
    ]


@pytest.mark.parametrize(
    ("ask", "kind", "text"),
    [
        (
            lambda tape: analysis.spread_window(tape, pairs="ETH-USD", venues="dydx_v4"),
            SymbolError,
            "no book of ETH-USD in the recording; pairs with one: BTC-USD on binance-coinm, BTC-USD on dydx_v4, ",
        ),
        (lambda tape: analysis.coverage(tape, venues="kraken"), ConfigError, "no venue 'kraken' in "),
        (lambda tape: analysis.connect(tape, venues=["kraken"]), ConfigError, "no venue 'kraken' in "),
        (
            lambda tape: analysis.latency(tape, pairs=[("dydx_v4", "ETH-USD")]),
            SymbolError,
            "nothing of ETH-USD on dydx_v4 in the recording; it has BTC-USD on binance-coinm, ",
        ),
        (
            # A key is no base, also where its pair is wanted by its name.
            lambda tape: analysis.latency(tape, pairs=["BTC-USD", ("dydx_v4", "BTC")]),
            SymbolError,
            "nothing of BTC on dydx_v4 in the recording; it has BTC-USD on binance-coinm, ",
        ),
    ],
)
def test_what_is_not_there_is_an_error_that_names_what_is(
    tape: Recording, ask: Callable[[Recording], Any], kind: type[TickdeckError], text: str
) -> None:
    with pytest.raises(kind) as raised:
        ask(tape)
    assert str(raised.value).startswith(text)


def test_views_have_the_rows_of_a_venue(tape: Recording) -> None:
    """Every view, the joined ones too; a symbol of two venues does not bring the other's rows."""
    with analysis.connect(tape, venues=["binance-usdm"]) as connection:
        for view in analysis.VIEWS:
            venues = connection.sql(f"SELECT DISTINCT venue FROM {view}").fetchall()
            assert venues in ([("binance-usdm",)], []), view
        assert connection.sql("SELECT count(*) FROM trades").fetchall() == [(6,)]
    with analysis.connect(tape) as connection:
        found = connection.sql("SELECT venue FROM trades GROUP BY ALL ORDER BY ALL").fetchall()
    assert found == [(venue,) for venue in VENUES]


def titles(tape: Recording, **asked: Any) -> list[str]:
    window = analysis.spread_window(tape, **asked)
    series = window.series("5ms").collect()
    chart = spread_chart(window.report(), series, title="x", every_ns=5_000_000, end_ns=window.end_ns)
    return [panel["vconcat"][0]["title"]["text"] for panel in chart["vconcat"]]


def test_a_panel_of_several_venues_is_named_by_its_own(tape: Recording) -> None:
    assert titles(tape, pairs="BTC-USD") == [f"BTC-USD on {venue}" for venue, _ in BTC]
    assert titles(tape, venues="hyperliquid") == ["BTC-USD", "ETH-USD"]


def profit(**fields: Any) -> dict[str, Any]:
    row = {"venue": "a", "account": "0x1", "symbol": "BTC", "trading_pair": "BTC-USD", "ts_recv": 0, "net": 1.0}
    return {**row, **fields}


@pytest.mark.parametrize(
    ("others", "names"),
    [
        ([{"symbol": "ETH", "trading_pair": "ETH-USD"}], ["BTC-USD", "ETH-USD"]),
        ([{"venue": "b"}], ["BTC-USD on a", "BTC-USD on b"]),
        ([{"account": "0x2"}], ["BTC-USD 0x1", "BTC-USD 0x2"]),
        # Accounts that begin alike, and instruments that are called alike.
        ([{"account": "0x1234567890"}, {"account": "0x1234567891"}], ["BTC-USD 0x1", "BTC-USD 0x1234567890", "BTC-USD 0x1234567891"]),
        ([{"symbol": "BTC2"}], ["BTC-USD 0x1 BTC", "BTC-USD 0x1 BTC2"]),
    ],
)  # fmt: skip
def test_a_line_of_profit_is_one_instrument_of_one_account(others: list[dict[str, Any]], names: list[str]) -> None:
    """Two of one name would be drawn as one, with the profit of whichever came last."""
    rows = [profit(**fields, net=2.0**place) for place, fields in enumerate([{}, *others])]
    series = pl.DataFrame(rows, schema_overrides={"ts_recv": pl.Datetime("ns")})
    lines, left_out = _lines(series)
    assert left_out == 0
    drawn = {row["line"]: row["net"] for row in lines.iter_rows(named=True)}
    assert drawn.pop("all pairs") == sum(2.0**place for place in range(len(rows)))
    assert drawn == {name: 2.0**place for place, name in enumerate(names)}
