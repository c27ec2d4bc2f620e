"""
A user's program with every form of times, lengths, speeds and keys: `tests/test_typing.py` checks its types strictly.

It is never run. What a user may not write is marked by what mypy says of it: a mark where nothing is wrong is an error too.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import numpy as np
import polars as pl

import analysis
import tickdeck as td
from replay.follow import FollowDataSource
from replay.source import ReplayDataSource
from toolkit.clock import ManualClock
from toolkit.keys import PairKey
from toolkit.messages import BestQuote, Message


def facade() -> None:
    """What `tickdeck` gives has the types of what it is."""
    recording = td.open("tape", sealed=True)
    frame: pl.DataFrame = recording.quotes(pairs="BTC-USD", start_ns="2024-01-01").collect()
    lazy: pl.LazyFrame = recording.trades(venues=["hyperliquid"], end_ns=date(2024, 1, 1), with_history=True)
    answer: pl.DataFrame = recording.sql("SELECT * FROM trades JOIN mine USING (symbol)", mine=frame)
    gaps: pl.DataFrame = recording.gaps
    source: td.ReplayDataSource = recording.replay(print, speed="10x", trading_pairs=[("hyperliquid", "BTC-USD")])
    level: td.OrderBookEntry = source.tracker.book("BTC-USD").bids[0]
    levels: list[td.OrderBookEntry] = source.tracker.book("BTC-USD").asks[:5]
    names: list[str] = [*recording.pairs, *recording.venues, *lazy.columns, *answer.columns, *gaps.columns]
    prices: list[float] = [each.price for each in (level, *levels)]
    names.append(str(prices))
    td.open(["tape"])  # type: ignore[arg-type]
    recording.quotes(pair="BTC-USD")  # type: ignore[call-arg]
    recording.replay(speed=[1])  # type: ignore[arg-type]


def replayed() -> None:
    for start in (
        1,
        np.int64(1),
        "2024-01-01",
        datetime(2024, 1, 1, tzinfo=UTC),
        date(2024, 1, 1),
        np.datetime64("now"),
    ):
        source = ReplayDataSource("tape", start_ns=start, end_ns=start, speed="10x")
        source.player.seek(start)
        source.clock.call_at(start, print)
    for speed in (10, 0.5, "0.5x", "max", Fraction(1, 3), None):
        source = ReplayDataSource("tape", speed=speed)
        source.player.speed = speed
    for length in (1, np.int64(1), "1.5s", timedelta(seconds=1), np.timedelta64(1, "s")):
        source.clock.call_every(length, print, first_ns="2024-01-01T00:00:01Z").cancel()
        source.clock.call_later(length, print)
        ManualClock("2024-01-01").advance(length)
        analysis.spread_window("tape", start_ns=date(2024, 1, 1)).series(length)
    ReplayDataSource("tape", speed=[1])  # type: ignore[arg-type]
    ReplayDataSource("tape", start_ns=1.5)  # type: ignore[arg-type]
    source.clock.call_every(1.5, print)  # type: ignore[arg-type]
    source.clock.call_later(datetime(2024, 1, 1, tzinfo=UTC), print)  # type: ignore[arg-type]


async def slept() -> None:
    source = FollowDataSource("tape", start_ns="now", patience_s="1m", trading_pairs="BTC-USD", venues="hyperliquid")
    for wait in (1, 0.5, "500ms", timedelta(seconds=1)):
        await source.clock.sleep(wait)
    await source.clock.sleep(None)  # type: ignore[arg-type]


async def keyed() -> None:
    key = PairKey("hyperliquid", "BTC-USD")
    source = ReplayDataSource("tape", trading_pairs=[key, ("dydx_v4", "BTC-USD"), "ETH-USD"], venues=["hyperliquid"])
    spreads: dict[PairKey, float] = {}

    def on_message(message: Message) -> None:
        if isinstance(message, BestQuote):
            spreads[message.key] = source.tracker.book(message.key).spread_bps or 0.0

    source.set_message_callback(on_message)
    book = await source.get_snapshot(key)
    info = await source.get_funding_info("BTC-USD", venue=book.venue)
    imbalance: float | None = source.tracker.book(info.key).imbalance(5)
    paid: float | None = book.price_to_fill("buy", 0.5)
    spreads[source.tracker.keys[0]] = (imbalance or 0.0) + (paid or 0.0)
    analysis.order_report("tape", pairs=key, venues="hyperliquid")
    analysis.latency("tape", pairs=[key])
    source.tracker.book(5)  # type: ignore[arg-type]
    source.tracker.book(venue="hyperliquid")  # type: ignore[call-arg]
