"""What was received, when, and how late."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from analysis import feed_latency as reception
from tests.analysis.tapes import make_recording

B = 1_700_000_000_000_000_000
S = 10**9


def trade(number: int, delay: int | None, **more: Any) -> dict[str, Any]:
    event = None if delay is None else B - delay
    return {"ts_recv": B, "ts_event": event, "capture_seq": number, **more}


def delays_of(folder: Path, **tables: Any) -> dict[str, Any]:
    found = analysis.latency(make_recording(folder, tables))
    assert found.schema == analysis.LATENCY_SCHEMA
    return found.row(0, named=True)


def test_delays_are_exact_in_nanoseconds(tmp_path: Path) -> None:
    """The median of 1 to 101 ms, each with odd nanoseconds, is the 51st."""
    delays = [ms * 1_000_000 + ms for ms in range(1, 102)]
    row = delays_of(tmp_path / "tape", trades=[trade(number, delay) for number, delay in enumerate(delays)])
    assert (row["delay_min_ns"], row["delay_median_ns"], row["delay_max_ns"]) == (1000001, 51000051, 101000101)
    assert (row["messages"], row["negative_count"], row["untimed_count"]) == (101, 0, 0)


def test_negative_and_missing_delays_are_counted(tmp_path: Path) -> None:
    row = delays_of(tmp_path / "tape", trades=[trade(0, -5), trade(1, None), trade(2, 3)])
    assert (row["messages"], row["negative_count"], row["untimed_count"]) == (3, 1, 1)
    assert (row["delay_min_ns"], row["delay_median_ns"], row["delay_max_ns"]) == (-5, -5, 3)


def test_a_book_message_counts_once_and_history_not_at_all(tmp_path: Path) -> None:
    rows = [trade(0, 7), trade(0, 7, sub_seq=1, is_first=False), trade(1, 9)]
    assert delays_of(tmp_path / "book", book=rows)["messages"] == 2
    assert delays_of(tmp_path / "trades", trades=[trade(0, 7), trade(1, 10**15, is_history=True)])["delay_max_ns"] == 7
    funding = delays_of(tmp_path / "funding", funding=[trade(0, 7), trade(1, 10**15, kind="settled")])
    assert (funding["messages"], funding["delay_max_ns"]) == (1, 7)


def test_no_venue_time_gives_no_delay(tmp_path: Path) -> None:
    row = delays_of(tmp_path / "tape", trades=[trade(0, None)])
    assert (row["untimed_count"], row["delay_min_ns"], row["delay_median_ns"]) == (1, None, None)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(10**10), 10**10), min_size=1, max_size=60), st.sampled_from([1, 1000, 1 << 20]))
def test_quantiles_are_those_of_the_sorted_delays(delays: list[int], bin_ns: int) -> None:
    """However the bins fall."""
    frame = pl.LazyFrame({"venue": "v", "symbol": "s", "trading_pair": "p", "delay": delays})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reception, "_BIN_NS", bin_ns)
        row = reception._delays(frame, "trades").row(0, named=True)
    ordered = sorted(delays)
    for name, percent in {"p01": 1, "p05": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "p99": 99}.items():
        assert row[f"delay_{name}_ns"] == ordered[-(-len(ordered) * percent // 100) - 1], name


def test_coverage_counts_rows_messages_and_times(tmp_path: Path) -> None:
    book = [{"ts_recv": B}, {"ts_recv": B, "sub_seq": 1, "is_first": False}, {"ts_recv": B + S, "capture_seq": 1}]
    found = analysis.coverage(make_recording(tmp_path / "tape", {"book": book}, {"trades": [{"ts_recv": B + 5}]}))
    assert found.schema == analysis.COVERAGE_SCHEMA
    rows = found.with_columns(pl.col("ts_recv_first", "ts_recv_last").cast(pl.Int64)).rows()
    assert rows == [
        ("testex", "BTC", "BTC-USD", "book", 3, 2, B, B + S, 0, 0.0),
        ("testex", "BTC", "BTC-USD", "trades", 1, 1, B + 5, B + 5, 0, 0.0),
    ]


def gap(start: int, end: int | None, **more: Any) -> dict[str, Any]:
    kind = "stale" if end is None else "gap"
    stop = None if end is None else B + end * S
    return {"kind": kind, "ts_recv": B + (end or start) * S, "ts_start": B + start * S, "ts_end": stop} | more


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([gap(1, 3), gap(10, 11)], (2, 3.0)),
        ([gap(1, 5, stream="a"), gap(3, 8, stream="b")], (1, 7.0)),
        ([gap(1, None), gap(1, 3)], (1, 2.0)),
        ([gap(15, None)], (1, 5.0)),
        ([gap(1, 4, symbol="", trading_pair=""), gap(2, 3)], (1, 3.0)),
        ([gap(1, 4, symbol="ETH")], (0, 0.0)),
    ],
)
def test_gaps_that_overlap_count_once(
    tmp_path: Path, events: list[dict[str, Any]], expected: tuple[int, float]
) -> None:
    """Streams of one instrument, its connection, a silence that ended and one that did not; not those of others."""
    numbered = [{**event, "capture_seq": number} for number, event in enumerate(events)]
    trades = [{"ts_recv": B}, {"ts_recv": B + 20 * S, "capture_seq": 99}]
    found = analysis.coverage(make_recording(tmp_path / "tape", {"trades": trades, "events": numbered}))
    assert found.select("gap_count", "gap_s").row(0) == expected
