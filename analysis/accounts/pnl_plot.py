"""A picture of profit and loss over time: a line for each pair, and their sum."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from analysis.spread_plots import bucket_ns, write_chart
from toolkit.borders import label
from toolkit.errors import ConfigError

__all__ = ["LINES_MAX", "plot_pnl"]

#: Most pairs with a line of their own; the others are in the sum.
LINES_MAX: Final = 8
_SUM: Final = "all pairs"
_KEY: Final = ("venue", "account", "symbol")


def plot_pnl(series: pl.DataFrame, path: Path, *, title: str) -> int:
    """
    Draw the net profit of each pair, and the sum of all, over time.

    Args:
        series: What `analysis.pnl_series` gave.
        path: Where to write; the name ends in `.png` or `.html`. The same series gives the same bytes.
        title: What stands above it.

    Returns:
        How many pairs have no line of their own, for want of room: those that gained and lost least.

    Raises:
        ConfigError: Another ending, nothing to draw, or the file cannot be written.
    """
    if series.is_empty():
        raise ConfigError("nothing to draw: no fill, funding or position")
    lines, left_out = _lines(series)
    write_chart(_chart(lines, title, left_out), path)
    return left_out


def _lines(series: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Net profit at the end of each bucket of time, for each drawn line."""
    ns = series["ts_recv"].cast(pl.Int64)
    first, last = int(ns.min()), int(ns.max())  # type: ignore[arg-type]
    every = bucket_ns(max(last - first, 1))
    buckets = series.with_columns(((pl.col("ts_recv").cast(pl.Int64) - first) // every).alias("bucket")).join(
        _names(series), on=_KEY, how="left", maintain_order="left"
    )
    count = (last - first) // every + 1
    grid = (
        buckets.select("line")
        .unique(maintain_order=True)
        .join(pl.DataFrame({"bucket": range(count)}, schema={"bucket": pl.Int64}), how="cross")
    )
    # What is not known any more is not drawn any more, neither alone nor in the sum.
    ends = buckets.group_by("line", "bucket", maintain_order=True).agg(pl.col("net").last().fill_null(float("nan")))
    filled = grid.join(ends, on=["line", "bucket"], how="left", maintain_order="left").with_columns(
        pl.col("net").forward_fill().over("line").fill_null(0.0)
    )
    busiest = (
        filled.group_by("line", maintain_order=True)
        .agg((pl.col("net").max() - pl.col("net").min()).alias("range"))
        .sort("range", descending=True, maintain_order=True)
    )
    drawn = busiest.head(LINES_MAX)["line"]
    names = _labels(drawn.to_list())
    total = (
        filled.group_by("bucket", maintain_order=True)
        .agg(pl.col("net").sum().round(9))
        .with_columns(line=pl.lit(_SUM), is_sum=True)
    )
    lines = pl.concat(
        [
            filled.filter(pl.col("line").is_in(drawn.to_list())).with_columns(
                pl.col("line").replace_strict(names, return_dtype=pl.String), is_sum=False
            ),
            total.select("line", "bucket", "net", "is_sum"),
        ],
        how="diagonal",
    ).with_columns(((pl.col("bucket") * every + first) / 1e6).alias("ms"))
    return lines, busiest.height - len(drawn)


def _labels(names: Sequence[str]) -> dict[str, str]:
    """What is drawn for each name; two that are spelled the same in a picture are told apart by a number."""
    found: dict[str, str] = {}
    for name in names:
        shown = label(name)
        alike = sum(label(other) == shown for other in found)
        found[name] = f"{shown} ({alike + 1})" if alike else shown
    return found


def _names(series: pl.DataFrame) -> pl.DataFrame:
    """
    What the line of each instrument and account is called, as `line`: by the pair, and by what tells it from the others.

    That is the venue where there are several, the beginning of the account where there are several, and all of the account
    and the symbol where that is not enough: two lines of one name would be drawn as one.
    """
    lines = series.group_by(_KEY, maintain_order=True).agg(pl.col("trading_pair").last())
    parts = [pl.col("trading_pair")]
    if lines["venue"].n_unique() > 1:
        parts.append(pl.concat_str(pl.lit("on "), pl.col("venue")))
    short = [*parts, pl.col("account").str.slice(0, 8)] if lines["account"].n_unique() > 1 else parts
    for names in (short, [*parts, pl.col("account")], [*parts, pl.col("account"), pl.col("symbol")]):
        named = lines.with_columns(pl.concat_str(names, separator=" ").alias("line"))
        if named["line"].n_unique() == named.height:
            break
    return named.select(*_KEY, "line")


def _time_format(lines: pl.DataFrame) -> str:
    """As much of the time as tells two labels apart."""
    times = lines["ms"].to_list()
    span_s = (max(times) - min(times)) / 1000
    return "%H:%M:%S.%L" if span_s < 5 else "%H:%M:%S" if span_s < 7200 else "%d %b %H:%M"


def _chart(lines: pl.DataFrame, title: str, left_out: int) -> dict[str, Any]:
    import altair as alt

    subtitle = (
        "Realised and unrealised profit with funding, less fees, in the currency of settlement; black: all pairs."
    )
    if left_out:
        subtitle += f" {left_out} more pairs are in the sum only."
    base = alt.Chart(alt.NamedData(name="lines")).encode(
        x=alt.X("ms:T", title="time, UTC", scale=alt.Scale(type="utc"), axis=alt.Axis(format=_time_format(lines))),
        y=alt.Y("net:Q", title="net profit"),
        tooltip=[alt.Tooltip("line:N", title="pair"), alt.Tooltip("net:Q", format=",.6~g")],
    )
    pairs = (
        base.transform_filter("!datum.is_sum")
        .mark_line(interpolate="step-after", strokeWidth=1.5)
        .encode(
            color=alt.Color(
                "line:N",
                title=None,
                sort=None,
                # Vega would cut long names within a character of two halves, and fail on the half.
                legend=alt.Legend(labelLimit=0),
            )
        )
    )
    total = base.transform_filter("datum.is_sum").mark_line(interpolate="step-after", strokeWidth=2.5, color="#111827")
    chart = (
        (pairs + total)
        .properties(
            width=900,
            height=320,
            title=alt.TitleParams(
                label(title), subtitle=subtitle, anchor="start", fontSize=18, subtitleColor="#6b7280"
            ),
            padding={"left": 12, "right": 24, "top": 14, "bottom": 12},
            background="white",
        )
        .configure(font="Liberation Sans, Arial, Helvetica, sans-serif")
        .configure_view(stroke=None)
    )
    # Data that is only named spares altair the checking of every point.
    found: dict[str, Any] = {
        **chart.to_dict(),
        "datasets": {"lines": lines.select("line", "ms", "net", "is_sum").to_dicts()},
    }
    return found
