"""What is drawn of a result, as rows: prices, own quotes, fills, positions, equity and doubtful times, of at most so many points."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from toolkit.account_messages import OrderState
from toolkit.clock import NS_PER_MS
from toolkit.messages import Side
from toolkit.pictures.vega_lite import bucket_ns

if TYPE_CHECKING:
    from replay.results.result import Result
    from replay.results.run_info import PairInfo

__all__ = [
    "POINTS_MAX",
    "doubt_rows",
    "equity_rows",
    "fill_rows",
    "position_rows",
    "price_rows",
    "quote_rows",
]

#: Most points of a line, and of fills; more are gathered in buckets of time.
POINTS_MAX: Final = 1500
_RESTS: Final = (OrderState.OPEN.value, OrderState.PARTIALLY_FILLED.value)


def _of(frame: pl.DataFrame, pair: PairInfo) -> pl.DataFrame:
    return frame.filter(pl.col("venue") == pair.venue, pl.col("trading_pair") == pair.trading_pair)


def _ms(column: str = "ts_recv") -> pl.Expr:
    return (pl.col(column).cast(pl.Int64) / NS_PER_MS).alias("ms")


def _bucket(result: Result, points: int) -> pl.Expr:
    # Up to two points of a line come of a bucket.
    every = bucket_ns(max(result.info.end_ns - result.info.start_ns, 1), points // 2)
    return ((pl.col("ts_recv").cast(pl.Int64) - result.info.start_ns) // every).alias("bucket")


def price_rows(result: Result, pair: PairInfo, points: int = POINTS_MAX) -> list[dict[str, Any]]:
    """
    The middle of a pair's book: `ms`, `mid`, and its `low` and `high` in a step of time.

    Around what happened as it was then; in between, where nothing has happened to the run, as far as it was measured.
    """
    tops = _of(result.top, pair).with_columns(
        pl.when(~pl.col("is_stale")).then((pl.col("bid_price") + pl.col("ask_price")) / 2).alias("mid")
    )
    if tops.height <= points:
        rows = tops.select(_ms(), "mid", low="mid", high="mid")
    else:
        rows = (
            tops.group_by(_bucket(result, points), maintain_order=True)
            .agg(pl.col("ts_recv").first(), pl.col("mid").last(), low=pl.col("mid").min(), high=pl.col("mid").max())
            .select(_ms(), "mid", "low", "high")
        )
    found: list[dict[str, Any]] = []
    for row in _with_course(result, pair, rows.to_dicts()):
        if row["mid"] is None and found and found[-1]["mid"] is not None:
            found.append({**found[-1], "ms": row["ms"]})  # until it was not known any more
        found.append(row)
    # The last price stands until the end.
    return [*found, {**found[-1], "ms": result.info.end_ns / NS_PER_MS}] if found else found


def _with_course(result: Result, pair: PairInfo, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with those of steps of time in which there is none."""
    courses = [] if result.study is None else result.study.courses
    course = next(
        (each for each in courses if (each.venue, each.trading_pair) == (pair.venue, pair.trading_pair)), None
    )
    if course is None:
        return rows
    start, step = course.start_ns / NS_PER_MS, course.step_ns / NS_PER_MS
    there = {int((row["ms"] - start) // step) for row in rows}
    # At its end: what a step ends with has not been so at its beginning.
    measured = [
        {"ms": min(start + step * (place + 1), result.info.end_ns / NS_PER_MS), "mid": last, "low": low, "high": high}
        for place, (last, low, high) in enumerate(zip(course.last, course.low, course.high, strict=True))
        if place not in there
    ]
    return sorted([*rows, *measured], key=lambda row: row["ms"])


def fill_rows(result: Result, pair: PairInfo, points: int = POINTS_MAX) -> list[dict[str, Any]]:
    """Fills of a pair: `ms`, `price`, `size`, `side`, `what` (side and role) and `fills`, how many were gathered."""
    fills = _of(result.fills, pair).with_columns(
        pl.concat_str(
            pl.col("side"), pl.lit(" "), pl.when(pl.col("is_maker")).then(pl.lit("maker")).otherwise(pl.lit("taker"))
        ).alias("what")
    )
    if fills.height > points:
        weight = pl.col("size").sum()
        fills = (
            fills.group_by(_bucket(result, points), "what", "side", maintain_order=True)
            .agg(
                pl.col("ts_recv").first(),
                (pl.col("price") * pl.col("size")).sum() / weight,
                weight.round(12),
                pl.len().alias("fills"),
            )
            .sort("bucket", "what")
        )
    else:
        fills = fills.with_columns(fills=pl.lit(1))
    return fills.select(_ms(), "price", "size", "side", "what", "fills").to_dicts()


def quote_rows(result: Result, pair: PairInfo, side: Side, points: int = POINTS_MAX) -> list[dict[str, Any]]:
    """The best price of own orders that rest on one side, as `ms` and `price`; none while none does."""
    rows = _of(result.table("orders"), pair).filter(side=side.value)
    # From when to when the venue had them; what it never received rested nowhere.
    times = rows.filter(pl.col("ts_event").is_not_null()).select(
        pl.col("ts_event").cast(pl.Int64), "order_id", "state", "price"
    )
    sign = -1 if side is Side.BUY else 1
    resting: dict[str, float] = {}
    best: list[tuple[float, str]] = []
    found: list[tuple[int, float | None]] = []
    for at, order, state, price in times.sort("ts_event", maintain_order=True).iter_rows():
        if state in _RESTS and price is not None:
            resting[order] = price
            heappush(best, (sign * price, order))
        else:
            resting.pop(order, None)
        while best and resting.get(best[0][1]) != sign * best[0][0]:
            heappop(best)
        now = sign * best[0][0] if best else None
        if found and found[-1][0] == at:
            found[-1] = (at, now)
        elif not found or found[-1][1] != now:
            found.append((at, now))
    frame = pl.DataFrame(found, schema={"at": pl.Int64, "price": pl.Float64}, orient="row")
    frame = frame.with_columns(pl.col("at").cast(pl.Datetime("ns")).alias("ts_recv"))
    if frame.height > points:
        frame = frame.group_by(_bucket(result, points), maintain_order=True).agg(pl.col("ts_recv", "price").last())
    drawn: list[dict[str, Any]] = []
    for row in frame.select(_ms(), "price").to_dicts():
        if row["price"] is None and drawn and drawn[-1]["price"] is not None:
            drawn.append({**drawn[-1], "ms": row["ms"]})  # until it was gone
        drawn.append(row)
    return [*drawn, {"ms": result.info.end_ns / NS_PER_MS, "price": drawn[-1]["price"]}] if drawn else drawn


def position_rows(result: Result, pair: PairInfo, points: int = POINTS_MAX) -> list[dict[str, Any]]:
    """The position in a pair: `ms`, `size`, and its `low` and `high` in a bucket."""
    rows = _of(result.positions, pair).group_by("ts_recv", maintain_order=True).agg(pl.col("size").last())
    if rows.height > points:
        rows = rows.group_by(_bucket(result, points), maintain_order=True).agg(
            pl.col("ts_recv").first(), pl.col("size").last(), low=pl.col("size").min(), high=pl.col("size").max()
        )
    else:
        rows = rows.with_columns(low="size", high="size")
    first = {"ms": result.info.start_ns / NS_PER_MS, "size": 0.0, "low": 0.0, "high": 0.0}
    found = [first, *rows.select(_ms(), "size", "low", "high").to_dicts()]
    last = found[-1]["size"]
    return [*found, {"ms": result.info.end_ns / NS_PER_MS, "size": last, "low": last, "high": last}]


def equity_rows(result: Result, wallet: str, points: int = POINTS_MAX) -> list[dict[str, Any]]:
    """Net profit of an account: `ms`, `net` and `peak`, the highest value before."""
    rows = result.equity.filter(pl.col("wallet") == wallet)
    worth = pl.col("equity") - pl.col("transfers")
    rows = rows.select("ts_recv", (worth - worth.first()).round(9).alias("net")).with_columns(
        pl.col("net").cum_max().alias("peak")
    )
    if rows.height > points:
        # Of each bucket its end, and the lowest point, which is what a drawdown is about.
        rows = (
            rows.with_columns(_bucket(result, points))
            .group_by("bucket", maintain_order=True)
            .agg(
                pl.col("ts_recv", "net", "peak").sort_by("net").first().name.suffix("_low"),
                pl.col("ts_recv", "net", "peak").last(),
            )
        )
        low = rows.select(ts_recv="ts_recv_low", net="net_low", peak="peak_low")
        rows = pl.concat([low, rows.select("ts_recv", "net", "peak")]).sort("ts_recv", maintain_order=True)
    return rows.select(_ms(), "net", "peak").to_dicts()


def doubt_rows(result: Result) -> list[dict[str, Any]]:
    """Doubtful stretches, as `ms` and `until`."""
    rows = result.equity.select(_ms(), "is_doubtful").to_dicts()
    found: list[dict[str, Any]] = []
    since = None
    for row in rows:
        if row["is_doubtful"] and since is None:
            since = row["ms"]
        elif not row["is_doubtful"] and since is not None:
            found.append({"ms": since, "until": row["ms"]})
            since = None
    if since is not None:
        found.append({"ms": since, "until": result.info.end_ns / NS_PER_MS})
    return found
