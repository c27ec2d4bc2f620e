"""Time-weighted spreads, against a reference that takes the long way."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis import holding
from tests.analysis import reference
from tests.analysis.quotes import EPOCH, frame_of, quote_lists
from tests.analysis.reference import Quote

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


@settings(max_examples=150, deadline=None)
@given(quote_lists(), windows, windows, st.sampled_from([1, 3, 1000]))
def test_any_quotes_on_the_receive_clock_give_what_the_reference_gives(
    quotes: list[Quote], start: int | None, end: int | None, batch_rows: int
) -> None:
    """Equal times, steps back, one-sided, crossed and stale books, any window, any batches."""
    last = max(quote.time or 0 for quote in quotes) if end is None else end
    if start is not None and start >= last:
        start = None
    assert_matches(quotes, "recv", start, end, batch_rows)


@settings(max_examples=150, deadline=None)
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
