"""Time-weighted spreads: how wide the market was, for how long, and for how long it could not be known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analysis.batch_grouping import Gathering
from analysis.feed_evidence import FeedEvidence
from analysis.quote_durations import Clock, Progress, State, pairs_of, quote_end_ns, stretches
from analysis.table_source import KEY, check_rows, only
from analysis.tick_sizes import TickRule, infer_tick, price_band, tick_rules
from analysis.weighted_quantiles import QUANTILES, weighted_mean, weighted_quantiles
from toolkit.errors import ConfigError
from toolkit.timing.times import Instant, instant_ns

__all__ = ["SPREAD_SCHEMA", "in_groups", "mid_price", "quoted_spread", "spread_bps", "spreads"]

_STATISTICS: Final = ("mean", "min", *QUANTILES, "max")

#: Columns of `spreads`, in their order.
SPREAD_SCHEMA: Final = pl.Schema(
    {
        "venue": pl.String(),
        "symbol": pl.String(),
        "trading_pair": pl.String(),
        "ts_first": pl.Datetime("ns"),
        "ts_last": pl.Datetime("ns"),
        "covered_s": pl.Float64(),
        "valid_s": pl.Float64(),
        "stale_share": pl.Float64(),
        "one_sided_share": pl.Float64(),
        "crossed_share": pl.Float64(),
        **{f"spread_{name}": pl.Float64() for name in _STATISTICS},
        **{f"spread_bps_{name}": pl.Float64() for name in _STATISTICS},
        "one_tick_share": pl.Float64(),
        "tick": pl.Float64(),
        "tick_source": pl.String(),
        "mid_mean": pl.Float64(),
        "mid_first": pl.Float64(),
        "mid_last": pl.Float64(),
        "top_changes": pl.Int64(),
        "clock_back_count": pl.Int64(),
        "clock_back_s": pl.Float64(),
        "untimed_count": pl.Int64(),
    }
)

#: Instruments that are worked on in one pass over the files: what is held in memory is their distinct quotes.
_PAIRS_PER_PASS: Final = 32

_NS_PER_S: Final = 1e9


def quoted_spread(bid: pl.Expr, ask: pl.Expr) -> pl.Expr:
    """
    Ask minus bid as the decimal number that it is: 0.1, where floating point gives 0.09999999999854481.

    Prices are float64 and carry decimals of up to 15 significant digits exactly; the difference is rounded to the
    last of these. Negative if crossed, null if a side is.
    """
    scale = _decimal_scale(ask)
    return ((ask - bid) * scale).round(0) / scale


def mid_price(bid: pl.Expr, ask: pl.Expr) -> pl.Expr:
    """Half of bid plus ask, as the decimal number that it is; null if a side is."""
    scale = _decimal_scale(ask)
    return ((ask + bid) * scale).round(0) / scale / 2


def spread_bps(bid: pl.Expr, ask: pl.Expr) -> pl.Expr:
    """The quoted spread over the mid price, in basis points (1/10,000). Negative if crossed, null if a side is."""
    return quoted_spread(bid, ask) / mid_price(bid, ask) * 10_000.0


def _decimal_scale(price: pl.Expr) -> pl.Expr:
    # At most 22: ten to that power is the last that float64 holds exactly.
    return pl.lit(10.0).pow(pl.min_horizontal(14 - price.log10().floor(), pl.lit(22.0)))


def spreads(
    top: pl.LazyFrame,
    *,
    instruments: pl.LazyFrame | None = None,
    book: pl.LazyFrame | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    counts_end: bool | None = None,
    clock: Clock = "recv",
    evidence: FeedEvidence | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """
    Describe the quoted spread of each instrument over time.

    Every quote counts for as long as it stood (see `analysis.quote_durations` for what that means on each clock). Time in
    which the book was stale, one-sided or crossed is no part of any spread or mid price: it is reported as a share.

    Args:
        top: Rows of the table `top`, those of each instrument in the order of (capture_seq, sub_seq).
        instruments: Rows of the table `instruments`, for the ticks.
        book: Rows of the table `book`; where metadata gives no tick, it is inferred from the prices near the best ones.
            None: only from the best bids and asks.
        start_ns: Where to start (ns, a datetime, or text); the quote that stands there counts from there.
        end_ns: Where to end, likewise. None: at the newest time in `top`.
        counts_end: Whether a row at `end_ns` is counted in `top_changes`. None: only if `end_ns` is None.
        clock: `recv` for our receive time, `event` for the venue's own.
        evidence: Feed and clock of the recording (`analysis.evidence_of`): from when on a book that became stale was so,
            and steps of the clock, which are no time. None: the rows of `top` alone.
        progress: Called with the number of rows that were read.

    Returns:
        One row for each instrument, sorted by venue and symbol:

        - `venue`, `symbol`, `trading_pair` (String).
        - `ts_first`, `ts_last` (Datetime ns, UTC): from the first quote, or the start, to the end.
        - `covered_s` (Float64): time a quote stood; `valid_s`: that in which both sides were there, neither stale nor
          crossed. `stale_share`, `one_sided_share` (either side or both missing), `crossed_share` (locked included):
          shares of `covered_s`, each excluding those before it.
        - `spread_mean`, `_min`, `_p05`, `_p25`, `_median`, `_p75`, `_p95`, `_p99`, `_max` (Float64, quote currency),
          and `spread_bps_…` alike (basis points of the mid): weighted by time, over `valid_s`. A quantile is the
          smallest spread that was not exceeded for at least that share of the time.
        - `one_tick_share` (Float64): share of `valid_s` with the spread at one tick. `tick` (Float64, quote
          currency): the step at the last bid. `tick_source`: `instrument` or `inferred` (see `analysis.tick_sizes`).
        - `mid_mean` (weighted by time), `mid_first`, `mid_last` (Float64, quote currency).
        - `top_changes` (Int64): rows of `top` in the window.
        - `clock_back_count` (Int64), `clock_back_s` (Float64): how often, and by how much in all, the time of a row
          was before that of the row before it.
        - `untimed_count` (Int64): rows of `top` in the window without a venue time.

        What does not exist is null, never zero.

    Raises:
        ConfigError: `top` is no LazyFrame, the window is empty, or the rows are not in the order of capture.
    """
    check_rows(top)
    start_ns = None if start_ns is None else instant_ns(start_ns, "start_ns")
    end_ns = None if end_ns is None else instant_ns(end_ns, "end_ns")
    if counts_end is None:
        counts_end = end_ns is None
    if end_ns is None:
        end_ns = quote_end_ns(top, clock)
    pairs = pairs_of(top)
    if end_ns is None or pairs.is_empty():
        return pl.DataFrame(schema=SPREAD_SCHEMA)
    if start_ns is not None and start_ns >= end_ns:
        raise ConfigError(f"the window ends at {end_ns} ns, which is not after its start at {start_ns} ns")
    rules = {} if instruments is None else tick_rules(instruments)
    rows: list[dict[str, Any]] = []
    for group in in_groups(pairs, _PAIRS_PER_PASS):
        chosen = only(top, group)
        quotes, totals = _quotes(), _totals()
        for batch in stretches(
            chosen,
            end_ns=end_ns,
            counts_end=counts_end,
            start_ns=start_ns,
            clock=clock,
            evidence=evidence,
            progress=progress,
        ):
            quotes.add(batch.filter((pl.col("state") == State.VALID) & (pl.col("stop") > pl.col("start"))))
            totals.add(batch)
        by_quote = quotes.result().partition_by(*KEY, as_dict=True)
        seen = _prices_near({key: part for key, part in by_quote.items() if key not in rules}, book)
        by_pair = {(row["venue"], row["symbol"]): row for row in totals.result().iter_rows(named=True)}
        for venue, symbol, trading_pair in group.select(*KEY, "trading_pair").iter_rows():
            key = (venue, symbol)
            row = {"venue": venue, "symbol": symbol, "trading_pair": trading_pair}
            row |= _of_totals(by_pair.get(key), end_ns)
            if key in by_quote:
                rule = rules.get(key) or infer_tick(seen[key])
                row |= _of_quotes(by_quote[key], rule, row.pop("bid_last"))
            rows.append(row)
    return pl.DataFrame([{name: row.get(name) for name in SPREAD_SCHEMA} for row in rows], schema=SPREAD_SCHEMA)


def in_groups(pairs: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
    """Instruments by the group, so that what is held in memory for each of them stays bounded."""
    return (pairs.slice(start, size) for start in range(0, pairs.height, size))


def _length() -> pl.Expr:
    return pl.col("stop") - pl.col("start")


def _quotes() -> Gathering:
    """For how long each distinct quote stood: all that means and quantiles depend on, however long the recording."""
    return Gathering(
        keys=(*KEY, "bid_price", "ask_price"),
        parts={"held_ns": _length().sum()},
        merge={"held_ns": pl.col("held_ns").sum()},
    )


def _totals() -> Gathering:
    length, state = _length(), pl.col("state")
    is_valid = (state == State.VALID) & (length > 0)
    mid = mid_price(pl.col("bid_price"), pl.col("ask_price"))
    backward = pl.col("is_change") & (pl.col("step") < 0)
    sums: dict[str, pl.Expr] = {
        "covered_ns": length.sum(),
        "valid_ns": length.filter(state == State.VALID).sum(),
        "stale_ns": length.filter(state == State.STALE).sum(),
        "one_sided_ns": length.filter(state == State.ONE_SIDED).sum(),
        "crossed_ns": length.filter(state == State.CROSSED).sum(),
        "top_changes": pl.col("is_change").sum().cast(pl.Int64),
        "untimed_count": (pl.col("is_change") & pl.col("is_untimed")).sum().cast(pl.Int64),
        "clock_back_count": backward.sum().cast(pl.Int64),
        "clock_back_ns": -pl.col("step").filter(backward).sum(),
    }
    firsts = {"start_first": pl.col("start"), "mid_first": mid.filter(is_valid)}
    lasts = {"mid_last": mid.filter(is_valid), "bid_last": pl.col("bid_price").filter(is_valid)}
    return Gathering(
        keys=KEY,
        parts={
            **sums,
            **{name: expr.first() for name, expr in firsts.items()},
            **{name: expr.last() for name, expr in lasts.items()},
        },
        merge={
            **{name: pl.col(name).sum() for name in sums},
            **{name: pl.col(name).first(ignore_nulls=True) for name in firsts},
            **{name: pl.col(name).last(ignore_nulls=True) for name in lasts},
        },
    )


def _of_totals(totals: dict[str, Any] | None, end_ns: int) -> dict[str, Any]:
    if totals is None:
        return {
            "covered_s": 0.0,
            "valid_s": 0.0,
            "top_changes": 0,
            "clock_back_count": 0,
            "clock_back_s": 0.0,
            "untimed_count": 0,
        }
    covered = totals["covered_ns"]
    return {
        "ts_first": totals["start_first"],
        "ts_last": end_ns,
        "covered_s": covered / _NS_PER_S,
        "valid_s": totals["valid_ns"] / _NS_PER_S,
        **{
            f"{name}_share": totals[f"{name}_ns"] / covered if covered else None
            for name in ("stale", "one_sided", "crossed")
        },
        "mid_first": totals["mid_first"],
        "mid_last": totals["mid_last"],
        "bid_last": totals["bid_last"],
        "top_changes": totals["top_changes"],
        "clock_back_count": totals["clock_back_count"],
        "clock_back_s": totals["clock_back_ns"] / _NS_PER_S,
        "untimed_count": totals["untimed_count"],
    }


def _of_quotes(quotes: pl.DataFrame, rule: TickRule | None, bid_last: float) -> dict[str, Any]:
    bid, ask = pl.col("bid_price"), pl.col("ask_price")
    columns = quotes.select(
        bid,
        ask,
        "held_ns",
        quoted_spread(bid, ask).alias("spread"),
        spread_bps(bid, ask).alias("spread_bps"),
        mid_price(bid, ask).alias("mid"),
    )
    held = columns["held_ns"].to_numpy()
    found: dict[str, Any] = {"mid_mean": weighted_mean(columns["mid"].to_numpy(), held)}
    for name in ("spread", "spread_bps"):
        found |= _describe(name, columns[name].to_numpy(), held)
    if rule is not None:
        bids = columns["bid_price"].to_numpy()
        at_one_tick = np.rint(columns["spread"].to_numpy() / rule.at(bids)) == 1
        found["one_tick_share"] = int(held[at_one_tick].sum()) / int(held.sum())
        found["tick"] = float(rule.at(np.array([bid_last]))[0])
        found["tick_source"] = rule.source
    return found


def _prices_near(
    quotes: dict[tuple[Any, ...], pl.DataFrame], book: pl.LazyFrame | None
) -> dict[tuple[Any, ...], npt.NDArray[np.float64]]:
    """Prices that occurred near the best ones, by instrument: ticks are inferred from them."""
    seen = {key: np.concatenate([part["bid_price"], part["ask_price"]]) for key, part in quotes.items()}
    if book is None or not seen:
        return seen
    bands = pl.DataFrame(
        [(*key, *price_band(prices)) for key, prices in seen.items()],
        schema={**dict.fromkeys(KEY, pl.String), "low": pl.Float64, "high": pl.Float64},
        orient="row",
    )
    near = (
        only(book, bands)
        .filter("fused")
        .join(bands.lazy(), on=KEY)
        .filter(pl.col("price").is_between("low", "high"))
        .group_by(*KEY, "price")
        .agg()
        .collect(engine="streaming")
    )
    for key, part in near.partition_by(*KEY, as_dict=True).items():
        seen[key] = np.concatenate([seen[key], part["price"]])
    return seen


def _describe(name: str, values: npt.NDArray[np.float64], held: npt.NDArray[np.int64]) -> dict[str, float | None]:
    percents: Sequence[int] = tuple(QUANTILES.values())
    quantiles = weighted_quantiles(values, held, tuple(percents))
    assert quantiles is not None, "a quote is gathered only if it stood for some time"
    return {
        f"{name}_mean": weighted_mean(values, held),
        f"{name}_min": float(values.min()),
        **{f"{name}_{label}": value for label, value in zip(QUANTILES, quantiles, strict=True)},
        f"{name}_max": float(values.max()),
    }
