"""Time-weighted spreads, against a reference that takes the long way."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis import quote_durations as holding
from tests.analysis import reference
from tests.analysis.quotes import EPOCH, frame_of, quote_lists
from tests.analysis.reference import Quote
from toolkit.errors import ConfigError

windows = st.none() | st.integers(-100, 6000).map(lambda offset: EPOCH + offset)


def assert_row(row: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if isinstance(value, Fraction):
            assert row[name] == pytest.approx(float(value), rel=1e-12, abs=1e-15), name
        else:
            assert row[name] == value, name


def assert_matches(quotes: list[Quote], clock: Any, start: int | None, end: int | None, batch_rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holding, "BATCH_ROWS", batch_rows)
        found = analysis.spreads(frame_of(quotes, clock), start_ns=start, end_ns=end, clock=clock)
    times = [quote.time for quote in quotes if quote.time is not None]
    stop = max(times) if end is None else end
    rows = {row["symbol"]: row for row in found.iter_rows(named=True)}
    assert list(rows) == sorted({quote.symbol for quote in quotes})
    for symbol, row in rows.items():
        own = [quote for quote in quotes if quote.symbol == symbol]
        expected = list(reference.stretches(own, clock, start, stop, counts_end=end is None))
        assert_row(row, reference.summary(expected))


@settings(max_examples=30, deadline=None)
@given(quote_lists(), windows, windows, st.sampled_from([1, 3, 1000]))
def test_any_quotes_on_the_receive_clock_give_what_the_reference_gives(
    quotes: list[Quote], start: int | None, end: int | None, batch_rows: int
) -> None:
    """Equal times, steps back, one-sided, crossed and stale books, any window, any batches."""
    last = max(quote.time or 0 for quote in quotes) if end is None else end
    if start is not None and start >= last:
        start = None
    assert_matches(quotes, "recv", start, end, batch_rows)


@settings(max_examples=30, deadline=None)
@given(quote_lists(untimed=True), windows, windows, st.sampled_from([1, 3, 1000]))
def test_any_quotes_on_the_venue_clock_give_what_the_reference_gives(
    quotes: list[Quote], start: int | None, end: int | None, batch_rows: int
) -> None:
    """The same with late rows, and rows that have no time at all."""
    times = [quote.time for quote in quotes if quote.time is not None]
    if not times:
        assert analysis.spreads(frame_of(quotes, "event"), clock="event").is_empty()
        return
    if start is not None and start >= (max(times) if end is None else end):
        start = None
    assert_matches(quotes, "event", start, end, batch_rows)


B = EPOCH


def rows(*quotes: Quote) -> pl.LazyFrame:
    return frame_of(quotes)


def only_row(**options: Any) -> dict[str, Any]:
    top = options.pop("top")
    return analysis.spreads(top, **options).row(0, named=True)


def test_a_quote_counts_for_as_long_as_it_stood() -> None:
    """Nine seconds at a spread of 1, one second at 3: the mean is 1.2, and 3 is beyond the 75 % quantile."""
    second = 10**9
    row = only_row(
        top=rows(Quote(B, "100", "101"), Quote(B + 9 * second, "100", "103")), end_ns=B + 10 * second, counts_end=False
    )
    assert row["spread_mean"] == pytest.approx(1.2)
    assert (row["spread_p75"], row["spread_p95"], row["spread_max"]) == (1.0, 3.0, 3.0)
    assert (row["covered_s"], row["top_changes"]) == (10.0, 2)


def test_a_quantile_is_reached_with_the_very_nanosecond() -> None:
    """95 of 100 ns at the lower spread are 95 % of the time; 94 are not."""
    for until, expected in ((95, 1.0), (94, 2.0)):
        row = only_row(top=rows(Quote(B, "100", "101"), Quote(B + until, "100", "102")), end_ns=B + 100)
        assert row["spread_p95"] == expected


def test_stale_one_sided_and_crossed_time_is_reported_and_counts_in_no_spread() -> None:
    top = rows(
        Quote(B, "100", "101"),
        Quote(B + 10, "100", "150", is_stale=True),
        Quote(B + 20, None, "150"),
        Quote(B + 30, "151", "150"),
    )
    row = only_row(top=top, end_ns=B + 40)
    assert (row["stale_share"], row["one_sided_share"], row["crossed_share"]) == (0.25, 0.25, 0.25)
    assert (row["spread_max"], row["mid_last"], row["valid_s"]) == (1.0, 100.5, 1e-8)


def test_a_clock_that_steps_back_is_reported_and_adds_no_time() -> None:
    """100, then 60, then 110: the step of -40 counts as nothing, the 50 after it in full."""
    top = rows(Quote(B + 100, "1", "1.5"), Quote(B + 60, "1", "1.5"), Quote(B + 110, "1", "1.5"))
    row = only_row(top=top)
    assert row["covered_s"] == 50e-9
    assert (row["clock_back_count"], row["clock_back_s"]) == (1, 40e-9)


def test_a_spread_is_the_decimal_that_it_is() -> None:
    """42000.1 - 42000 is 0.09999999999854481 in floating point."""
    row = only_row(top=rows(Quote(B, "42000", "42000.1"), Quote(B + 1, "42000", "42000.1")))
    assert row["spread_mean"] == row["spread_min"] == row["spread_median"] == 0.1
    assert row["mid_mean"] == 42000.05


def test_time_at_one_tick_follows_the_metadata() -> None:
    """Five significant figures: from 9999.9 the next price is 10000, one tick of 0.1 away."""
    instruments = pl.LazyFrame(
        {
            "venue": ["testex"],
            "symbol": ["BTC"],
            "price_tick": [None],
            "price_decimals_max": [3],
            "price_figures_max": [5],
        },
        schema_overrides={"price_tick": pl.Float64},
    )
    top = rows(Quote(B, "9999.9", "10000"), Quote(B + 30, "9999.9", "10001"))
    row = only_row(top=top, end_ns=B + 40, instruments=instruments)
    assert (row["one_tick_share"], row["tick"], row["tick_source"]) == (0.75, 0.1, "instrument")


def test_a_tick_that_nobody_gave_is_inferred_from_the_book() -> None:
    """The best prices alone would show a tick of 1."""
    top = rows(Quote(B, "100", "101"), Quote(B + 10, "102", "103"))
    book = pl.LazyFrame(
        {
            "venue": "testex",
            "symbol": "BTC",
            "price": [104.5, 99.75, 10_000.01, 100.25],
            "fused": [True, True, True, False],
        }
    )
    row = only_row(top=top, book=book, end_ns=B + 20)
    assert (row["tick"], row["tick_source"], row["one_tick_share"]) == (0.5, "inferred", 0.0)
    assert only_row(top=top, end_ns=B + 20)["tick"] == 1.0


def test_rows_out_of_order_are_refused() -> None:
    """Silence would give the wrong durations."""
    top = frame_of([Quote(B, "1", "2"), Quote(B + 1, "1", "2")]).sort("capture_seq", descending=True)
    with pytest.raises(ConfigError, match=r"^rows of BTC are not in the order of capture at frame 0; sort them by "):
        analysis.spreads(top)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^the window ends at 5 ns, which is not after its start at 7 ns$"):
        analysis.spreads(rows(Quote(B, "1", "2")), start_ns=7, end_ns=5)


def test_no_rows_give_no_rows_with_the_same_columns() -> None:
    found = analysis.spreads(frame_of([]))
    assert (found.height, found.schema) == (0, analysis.SPREAD_SCHEMA)


def test_symbols_of_two_venues_are_told_apart() -> None:
    top = pl.concat([rows(Quote(B, "1", "2")), rows(Quote(B, "1", "4")).with_columns(venue=pl.lit("otherex"))])
    found = analysis.spreads(top, end_ns=B + 10)
    assert found.select("venue", "spread_mean").rows() == [("otherex", 3.0), ("testex", 1.0)]


@given(st.sampled_from(["0.00001234", "0.1", "1.5", "99.9", "1000", "42000.1", "123456.789"]), st.integers(1, 5000))
def test_spread_and_mid_are_the_nearest_floats_to_the_decimals(bid: str, ticks: int) -> None:
    """For every price that float64 carries exactly."""
    step = Decimal(bid).as_tuple().exponent
    assert isinstance(step, int)
    ask = Decimal(bid) + ticks * Decimal(1).scaleb(step)
    frame = pl.DataFrame({"bid": float(bid), "ask": float(ask)})
    found = frame.select(
        spread=analysis.quoted_spread(pl.col("bid"), pl.col("ask")),
        mid=analysis.mid_price(pl.col("bid"), pl.col("ask")),
    ).row(0)
    assert found == (float(ask - Decimal(bid)), float((ask + Decimal(bid)) / 2))
