"""The numbers of a result that are about orders, executions and the market that they met."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import polars as pl

from replay.results.order_lives import Lives
from replay.results.result_metrics import Metric
from replay.results.run_info import RunInfo
from replay.results.run_study import OWN_SHARE_MAX, RunStudy
from toolkit.account_messages import OrderState
from toolkit.clock import NS_PER_S, format_ns

__all__ = ["trading_metrics"]

#: What of a run is counted, by the name it is counted under; others are shown by that name.
_COUNTED = {
    "clipped_responses": (
        "answers clipped",
        "Answers that were due before the frame that caused them, and were received with it.",
    ),
    "gaps": ("gaps", "Times that a book of the run was not known for a while."),
    "uncertain_orders": ("orders across gaps", "Orders that rested while their book was not known."),
    "funding_missed": (
        "fundings missed",
        "Instants of funding of which no rate or price was recorded while something was held: nothing was paid.",
    ),
    "liquidations": ("liquidations", "Steps by which the venue has closed a position for want of margin."),
}


def trading_metrics(
    info: RunInfo, study: RunStudy | None, orders: pl.DataFrame, positions: pl.DataFrame, lives: Lives
) -> Iterator[Metric]:
    """
    Of the whole run.

    Args:
        info: Figures of the run, as its manifest has them.
        study: Measurements of the market around its fills.
        orders: Rows of `Result.orders`.
        positions: Rows of `Result.positions`.
        lives: How orders fared.
    """
    yield from _trading(info, orders)
    yield from _execution(info, lives)
    yield from _market(study)
    yield from _counts(info)
    yield from _span(info, positions)


def _trading(info: RunInfo, orders: pl.DataFrame) -> Iterator[Metric]:
    for settle in dict.fromkeys(pair.settle for pair in info.pairs if pair.settle):
        turnover = sum((pair.turnover for pair in info.pairs if pair.settle == settle), Decimal(0))
        yield Metric(
            name="turnover",
            title="turnover",
            value=turnover,
            unit=settle,
            definition="Price times size of every execution, added up; of inverse contracts their worth.",
            source="ledger",
            wallet=settle,
        )
    makers, takers = (sum(getattr(pair, name) for pair in info.pairs) for name in ("maker_fills", "taker_fills"))
    touched = int((orders["filled"] > 0).sum())
    filled = touched / orders.height if orders.height else None
    rejected = int((orders["state"] == OrderState.REJECTED.value).sum())
    yield from _metrics(
        ("maker_fills", "fills as maker", makers, "", "Executions of resting orders.", "ledger"),
        ("taker_fills", "fills as taker", takers, "", "Executions of arriving orders.", "ledger"),
        ("orders", "orders", orders.height, "", "Orders that were sent.", "orders"),
        (
            "filled_orders",
            "  filled",
            filled,
            "share",
            "Share of the orders that were filled, in part at least.",
            "orders, fills",
        ),
        ("rejected_orders", "  rejected", rejected, "", "Orders that the venue refused.", "orders"),
    )


def _metrics(*rows: tuple[str, str, float | str | None, str, str, str]) -> Iterator[Metric]:
    """Numbers of the whole run: name, title, value, unit, definition and source of each."""
    for name, title, value, unit, definition, source in rows:
        yield Metric(name=name, title=title, value=value, unit=unit, definition=definition, source=source)


def _execution(info: RunInfo, lives: Lives) -> Iterator[Metric]:
    shares = list(lives.filled_share.values())
    yield Metric(
        name="fill_ratio",
        title="  fill ratio",
        value=sum(shares) / len(shares) if shares else None,
        unit="share",
        definition="Size that was filled over the size of all orders that the venue took in; of several pairs the mean.",
        source="orders, fills",
    )
    entry, response, to_fill = (
        None if lengths is None else lengths.p50 / NS_PER_S for lengths in (lives.entry, lives.response, lives.to_fill)
    )
    yield from _metrics(
        (
            "entry_latency",
            "latency, sent to venue",
            entry,
            "s",
            "From sending an order until the venue took it in: median.",
            "orders, fills",
        ),
        (
            "response_latency",
            "latency, venue to strategy",
            response,
            "s",
            "From there until the strategy received that: median.",
            "orders, fills",
        ),
        (
            "time_to_fill",
            "time to fill",
            to_fill,
            "s",
            "Of orders that were filled at rest, until their first fill: median.",
            "orders, fills",
        ),
    )
    for pair in info.pairs:
        if pair.queue is not None and pair.queue.orders:
            yield Metric(
                name="queue_ahead",
                title=f"queue ahead, {pair.trading_pair}",
                value=pair.queue.median,
                unit=pair.base if pair.contract != "inverse" else "contracts",
                definition="Size that the recorded book had at an order's price as it came to rest or was amended: median; of"
                f" {pair.queue.orders:,}, of which {pair.queue.unseen:,} were outside of the recorded depth.",
                source="matching core",
                wallet=f"{pair.venue}/{pair.trading_pair}",
            )
    yield Metric(
        name="late_requests",
        title="requests too late",
        value=lives.late,
        unit="",
        definition="Amendments and cancels of orders that were filled before they arrived.",
        source="exchange",
    )


def _market(study: RunStudy | None) -> Iterator[Metric]:
    for market in study.markets if study is not None else ():
        yield Metric(
            name="own_share",
            title=f"share of volume, {market.trading_pair}",
            value=market.own_share,
            unit="share",
            definition="Size of own fills over that of all trades of the market in the time of the run. Above"
            f" {OWN_SHARE_MAX:.0%} such fills would have moved the market.",
            source="fills; trades of the recording",
            wallet=f"{market.venue}/{market.trading_pair}",
        )


def _counts(info: RunInfo) -> Iterator[Metric]:
    for name, count in info.counts.items():
        title, definition = _COUNTED.get(name, (name.replace("_", " "), "Counted by the run."))
        yield Metric(name=name, title=title, value=count, unit="", definition=definition, source="exchange")


def _span(info: RunInfo, positions: pl.DataFrame) -> Iterator[Metric]:
    held, length = _held_share(info, positions), (info.end_ns - info.start_ns) / NS_PER_S
    yield from _metrics(
        (
            "time_in_market",
            "time with a position",
            held,
            "share",
            "Share of the time in which anything was held.",
            "positions",
        ),
        ("length", "length", length, "s", "From the first instant of the run to the last.", "recording"),
        ("start", "from", format_ns(info.start_ns), "", "First instant, UTC.", "recording"),
        ("end", "to", format_ns(info.end_ns), "", "Last instant, UTC.", "recording"),
    )


def _held_share(info: RunInfo, positions: pl.DataFrame) -> float | None:
    length = info.end_ns - info.start_ns
    if length <= 0:
        return None
    held: dict[tuple[str, str], float] = {}
    total, since = 0, info.start_ns
    rows = positions.select("ts_recv", "venue", "trading_pair", "size").with_columns(pl.col("ts_recv").cast(pl.Int64))
    for at, venue, pair, size in rows.iter_rows():
        if any(held.values()):
            total += at - since
        since = at
        held[venue, pair] = size
    total += info.end_ns - since if any(held.values()) else 0
    return total / length
