"""Spreads as a series, against the reference."""

from __future__ import annotations

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

B = EPOCH


@settings(max_examples=30, deadline=None)
@given(quote_lists(), st.sampled_from([100, 333, 1000, 10**9]), st.booleans(), st.sampled_from([1, 4, 1000]))
def test_any_quotes_give_the_buckets_that_the_reference_gives(
    quotes: list[Quote], every: int, cut: bool, batch_rows: int
) -> None:
    """Every bucket from the first quote on, whatever the batches."""
    last = max(quote.time or 0 for quote in quotes)
    start, end = (min(quote.time or 0 for quote in quotes) + 50, last + 150) if cut else (None, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(holding, "BATCH_ROWS", batch_rows)
        found = analysis.spread_series(frame_of(quotes), every_ns=every, start_ns=start, end_ns=end).collect()
    assert found.schema == analysis.SERIES_SCHEMA
    expected: list[tuple[str, int, dict[str, Any]]] = []
    for symbol in sorted({quote.symbol for quote in quotes}):
        own = [quote for quote in quotes if quote.symbol == symbol]
        pieces = list(reference.stretches(own, "recv", start, last if end is None else end, counts_end=end is None))
        expected += [(symbol, ts, row) for ts, row in reference.series(pieces, every).items()]
    rows = found.with_columns(pl.col("ts").cast(pl.Int64)).rows(named=True)
    assert [(row["symbol"], row["ts"]) for row in rows] == [(symbol, ts) for symbol, ts, _ in expected]
    for row, (_, _, wanted) in zip(rows, expected, strict=True):
        for name, value in wanted.items():
            if isinstance(value, Fraction):
                assert row[name] == pytest.approx(float(value), rel=1e-12, abs=1e-15), name
            else:
                assert row[name] == value, name


def test_a_bucket_without_quotes_has_the_one_that_was_held() -> None:
    second = 10**9
    top = frame_of([Quote(B, "100", "101"), Quote(B + 5 * second, "100", "103")])
    found = analysis.spread_series(top, every_ns=second).collect()
    assert found["spread"].to_list() == [1.0, 1.0, 1.0, 1.0, 1.0, None]
    assert found["top_changes"].to_list() == [1, 0, 0, 0, 0, 1]


def test_buckets_are_aligned_to_utc() -> None:
    top = frame_of([Quote(B + 1, "100", "101"), Quote(B + 7_000_000_000, "100", "101")])
    found = analysis.spread_series(top, every_ns=5_000_000_000).collect()
    assert [int(ts) % 5_000_000_000 for ts in found["ts"].cast(pl.Int64)] == [0, 0]


def test_columns_and_rows_can_be_chosen_lazily() -> None:
    """The series is a LazyFrame like any other."""
    top = frame_of([Quote(B + i * 10, "100", "101") for i in range(10)])
    series = analysis.spread_series(top, every_ns=10)
    assert series.filter(pl.col("top_changes") > 0).select("spread").head(3).collect().to_dicts() == [
        {"spread": 1.0}
    ] * 2 + [{"spread": 1.0}]


def test_a_constant_spread_has_itself_as_mean() -> None:
    """The fixed point that sums are made in adds no noise of its own."""
    top = frame_of([Quote(B, "42000", "42000.1"), Quote(B + 10**9, "42000", "42000.1")])
    mean = analysis.spread_series(top, every_ns=10**9).collect()["spread"][0]
    assert mean == pytest.approx(0.1, rel=1e-15)


def test_too_many_buckets_are_refused() -> None:
    top = frame_of([Quote(B, "1", "2"), Quote(B + 10**9, "1", "2")])
    with pytest.raises((ConfigError, pl.exceptions.ComputeError), match=r"1,000,000,000 buckets for each pair; choose"):
        analysis.spread_series(top, every_ns=1).collect()


def test_a_bucket_that_only_the_end_touches_is_not_there() -> None:
    """Two seconds are two buckets."""
    top = frame_of([Quote(B, "100", "101")])
    assert analysis.spread_series(top, every_ns=10**9, end_ns=B + 2 * 10**9).collect()["covered_s"].to_list() == [
        1.0,
        1.0,
    ]


@given(quote_lists(), st.integers(0, 12), st.sampled_from(["BTC", "ETH"]))
def test_rows_are_taken_before_they_are_filtered(quotes: list[Quote], count: int, symbol: str) -> None:
    """As Polars means it, however the steps of a query are pushed down into the reading."""
    lazy = analysis.spread_series(frame_of(quotes), every_ns=500)
    whole = lazy.collect()
    wanted = pl.col("symbol") == symbol
    assert lazy.head(count).filter(wanted).collect().equals(whole.head(count).filter(wanted))
    assert lazy.filter(wanted).head(count).collect().equals(whole.filter(wanted).head(count))
    assert (
        lazy.head(count)
        .filter(wanted)
        .select("ts")
        .head(3)
        .collect()
        .equals(whole.head(count).filter(wanted).select("ts").head(3))
    )


def test_without_a_time_on_that_clock_there_is_no_bucket() -> None:
    quotes = [Quote(None, "1", "2"), Quote(None, "1", "3")]
    lazy = analysis.spread_series(frame_of(quotes, "event"), every_ns=500, clock="event", end_ns=EPOCH)
    assert lazy.collect().is_empty()
    assert lazy.collect().schema == analysis.SERIES_SCHEMA
