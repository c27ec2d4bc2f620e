"""The mid price as of a venue's time: strictly before, of the same instrument, and only while the book was known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from analysis.mid_prices import MID_AGE_MAX_NS, mid_before

_TIMES = {"ts_event": pl.Int64}


def tops(*rows: tuple[str, int | None, float | None, float | None, bool]) -> pl.LazyFrame:
    """Symbol, venue time, bid, ask and staleness, in the order of capture; frames are numbered by tens."""
    return pl.LazyFrame(
        [
            {"symbol": symbol, "ts_event": at, "bid_price": bid, "ask_price": ask, "is_stale": is_stale}
            | {"venue": "v", "capture_seq": 10 * number, "sub_seq": 0}
            for number, (symbol, at, bid, ask, is_stale) in enumerate(rows)
        ],
        schema={"venue": pl.String, "symbol": pl.String, "ts_event": pl.Int64, "capture_seq": pl.Int64}
        | {"sub_seq": pl.Int32, "bid_price": pl.Float64, "ask_price": pl.Float64, "is_stale": pl.Boolean},
    )


def said(*rows: tuple[int | None, int], symbol: str = "A") -> pl.LazyFrame:
    """Messages of the book: venue time and number of the frame."""
    columns = [{"venue": "v", "symbol": symbol, "ts_event": at, "capture_seq": seq} for at, seq in rows]
    return pl.LazyFrame(columns, schema={"venue": pl.String, "symbol": pl.String} | _TIMES | {"capture_seq": pl.Int64})


def mids(times: Sequence[int | None], top: pl.LazyFrame, *, symbol: str = "A", **options: Any) -> list[float | None]:
    rows = pl.DataFrame({"venue": "v", "symbol": symbol, "at": pl.Series(times, dtype=pl.Int64)})
    return mid_before(rows, "at", top=top, **options)["mid_before"].to_list()


TWO = tops(("A", 10, 9.0, 11.0, False), ("A", 20, 19.0, 21.0, False), ("B", 5, 1.0, 3.0, False))


def test_it_is_strictly_before_and_of_the_same_instrument() -> None:
    assert mids([20, 10, 21, None, 40], TWO) == [10.0, None, 20.0, None, 20.0]
    assert mids([6], TWO, symbol="B") == [2.0]
    assert mids([6], TWO, symbol="C") == [None]


def test_a_stale_book_has_none_though_it_had_one_before() -> None:
    """The row that says so has no venue time: it counts from the newest thing that was said."""
    top = tops(("A", 10, 9.0, 11.0, False), ("A", None, 9.0, 11.0, True), ("A", 50, 49.0, 51.0, False))
    assert mids([15, 45, 55], top) == [None, None, 50.0]
    # Until 30 messages repeated the book; the first row is from within that time.
    assert mids([15, 29, 31, 45, 55], top, messages=said((30, 5))) == [10.0, 10.0, None, None, 50.0]


def test_a_book_of_one_side_has_none() -> None:
    top = tops(("A", 10, 9.0, 11.0, False), ("A", 20, 9.0, None, False), ("A", 30, 9.0, 13.0, False))
    assert mids([15, 25, 35], top) == [10.0, None, 11.0]


def test_how_far_back_it_may_be_is_bounded_by_what_was_said() -> None:
    top = tops(("A", 10, 9.0, 11.0, False))
    far = 10 + MID_AGE_MAX_NS
    assert mids([far, far + 1], top) == [10.0, None]
    later = far + MID_AGE_MAX_NS // 2
    assert mids([far + 1, later, later + MID_AGE_MAX_NS], top, messages=said((far, 5), (later - 1, 7))) == [
        10.0,
        10.0,
        None,
    ]


def test_what_was_said_of_another_book_counts_for_nothing() -> None:
    top = tops(("A", 10, 9.0, 11.0, False))
    late = 10 + 2 * MID_AGE_MAX_NS
    assert mids([late], top, messages=said((late - 5, 5), symbol="B")) == [None]


def test_a_late_message_takes_nothing_back() -> None:
    top = tops(("A", 30, 9.0, 11.0, False), ("A", 20, 19.0, 21.0, False))
    assert mids([25, 31, 35], top) == [None, 20.0, 20.0]
