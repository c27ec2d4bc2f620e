"""Quotes for these tests, made up by Hypothesis, and as a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from hypothesis import strategies as st

from analysis.table_source import polars_schema
from tests.analysis.reference import Quote

#: A multiple of every bucket length used here, so that times stay readable in a failure.
EPOCH = 1_700_000_000_000_000_000
S = 10**9

# On a grid of a tick, around a power of ten, and at the far ends of what venues quote.
_PRICES = (
    "0.0999",
    "0.1",
    "0.1001",
    "1",
    "1.5",
    "99.9",
    "100",
    "100.1",
    "42000",
    "42000.1",
    "0.00001234",
    "0.00001235",
)
_prices = st.none() | st.sampled_from(_PRICES)
_steps = st.sampled_from([0, 0, 1, 7, 100, 333, 1000, 2500, -1, -50, -1500])


@st.composite
def quote_lists(draw: st.DrawFn, *, untimed: bool = False) -> list[Quote]:
    """Quotes in the order of capture: equal times, clocks that step back, one-sided and stale books, two symbols."""
    time = EPOCH + draw(st.integers(0, 3000))
    quotes = []
    for _ in range(draw(st.integers(1, 25))):
        time += draw(_steps)
        quotes.append(
            Quote(
                time=None if untimed and draw(st.integers(0, 4)) == 0 else time,
                bid=draw(_prices),
                ask=draw(_prices),
                is_stale=draw(st.integers(0, 4)) == 0,
                symbol=draw(st.sampled_from(["BTC", "BTC", "ETH"])),
            )
        )
    return quotes


def frame_of(quotes: Sequence[Quote], clock: str = "recv") -> pl.LazyFrame:
    """The rows of `top` that say so, sorted as in a recording of one segment."""
    other = {"recv": "event", "event": "recv"}[clock]
    rows = [
        {
            "venue": "testex",
            "symbol": quote.symbol,
            "trading_pair": f"{quote.symbol}-USD",
            f"ts_{clock}": quote.time,
            f"ts_{other}": 5,
            "capture_seq": number,
            "sub_seq": 0,
            "bid_price": None if quote.bid is None else float(quote.bid),
            "ask_price": None if quote.ask is None else float(quote.ask),
            "is_stale": quote.is_stale,
            "is_crossed": False,
        }
        for number, quote in enumerate(quotes)
    ]
    schema = {name: pl.Int64 if name.startswith("ts_") else kind for name, kind in polars_schema("top").items()}
    frame = pl.DataFrame(rows, schema=schema).with_columns(pl.col("ts_event", "ts_recv").cast(pl.Datetime("ns")))
    return frame.sort("symbol", "capture_seq").lazy()


def odd_quotes(symbol: str, count: int = 50) -> list[dict[str, Any]]:
    """Rows of `top`, one a second: one-sided in second 20, stale in seconds 30 to 34."""
    return [
        {
            "symbol": symbol,
            "trading_pair": f"{symbol}-USD",
            "ts_recv": EPOCH + number * S,
            "capture_seq": number,
            "bid_price": 100.0 + number % 7,
            "ask_price": None if number == 20 else 101.0 + number % 7 + number % 3,
            "is_stale": 30 <= number < 35,
        }
        for number in range(count)
    ]
