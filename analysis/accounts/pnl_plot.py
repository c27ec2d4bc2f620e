"""A picture of profit and loss over time: a line for each pair, and the sum of those that settle in one currency."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from toolkit.borders import label
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.pictures import colors
from toolkit.pictures.vega_lite import bucket_ns, write_chart

__all__ = ["LINES_MAX", "plot_pnl"]

#: Most pairs with a line of their own; the others are in the sum.
LINES_MAX: Final = 8
_SUM: Final = "all pairs"
#: Most lines that the subtitle says the end of.
_SAID_MAX: Final = 4
_KEY: Final = ("venue", "account", "symbol")


def plot_pnl(series: pl.DataFrame, path: Path, *, title: str) -> int:
    """
    Draw the net profit of each pair over time, and the sum of all that settle in one currency.

    A line ends, with a cross, where its net is not known any more, and so does the sum; the subtitle says since when.

    Args:
        series: Curves of `analysis.pnl_series`.
        path: Where to write; the name ends in `.png` or `.html`. The same series gives the same bytes.
        title: Title above the picture.

    Returns:
        How many pairs have no line of their own, for want of room: those that gained and lost least.

    Raises:
        ConfigError: Another ending, nothing to draw, or the file cannot be written.
    """
    if series.is_empty():
        raise ConfigError("nothing to draw: no fill, funding or position")
    lines, left_out = _lines(series)
    write_chart(_chart(lines, _unknown(series), title, left_out), path)
    return left_out


def _lines(series: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """
    Net profit at the end of each bucket of time, for each drawn line, and how many pairs have none.

    The columns are `line`, `ms` (since the epoch), `net` (null where it is not known), `currency`, `is_sum` and `is_end`
    (of a line that is not known any more: its last bucket that is).
    """
    if "currency" not in series.columns:  # one that was kept from before there was that column
        series = series.with_columns(currency=pl.lit(None, pl.String))
    ns = pl.col("ts_recv").cast(pl.Int64)
    first, last = series.select(first=ns.min(), last=ns.max()).row(0)
    every = bucket_ns(max(last - first, 1))
    buckets = series.with_columns(((ns - first) // every).alias("bucket")).join(
        _names(series), on=_KEY, how="left", maintain_order="left"
    )
    count = (last - first) // every + 1
    money = buckets.group_by("line", maintain_order=True).agg(pl.col("currency").drop_nulls().last())
    grid = money.join(
        pl.DataFrame({"bucket": range(count)}, schema={"bucket": pl.Int64}), how="cross", maintain_order="left"
    )
    # What is not known any more is not drawn any more, neither alone nor in the sum.
    ends = buckets.group_by("line", "bucket", maintain_order=True).agg(pl.col("net").last().fill_null(float("nan")))
    filled = grid.join(ends, on=["line", "bucket"], how="left", maintain_order="left").with_columns(
        pl.col("net").forward_fill().over("line").fill_null(0.0)
    )
    busiest = (
        filled.group_by("line", maintain_order=True)
        .agg((pl.col("net").fill_nan(None).max() - pl.col("net").fill_nan(None).min()).fill_null(0.0).alias("range"))
        .sort("range", descending=True, maintain_order=True)
    )
    drawn = busiest.head(LINES_MAX)["line"]
    names = _labels(drawn.to_list())
    if money["currency"].n_unique() > 1:
        named = dict(money.drop_nulls().iter_rows())
        names = {line: f"{shown}, {label(named[line])}" if line in named else shown for line, shown in names.items()}
    suffix = pl.when(pl.col("currency").is_null()).then(pl.lit("")).otherwise(pl.format(", {}", "currency"))
    # Dollars and coins have no sum.
    total = (
        filled.group_by("currency", "bucket", maintain_order=True)
        .agg(pl.col("net").sum().round(9))
        .with_columns(
            pl.format("{}{}", pl.lit(_SUM), suffix).alias("line")
            if money["currency"].n_unique() > 1
            else pl.lit(_SUM).alias("line"),
            is_sum=True,
        )
    )
    lines = pl.concat(
        [
            filled.filter(pl.col("line").is_in(drawn.to_list())).with_columns(
                pl.col("line").replace_strict(names, return_dtype=pl.String), is_sum=False
            ),
            total.select("line", "currency", "bucket", "net", "is_sum"),
        ],
        how="diagonal",
    ).with_columns(pl.col("net").fill_nan(None), ((pl.col("bucket") * every + first) / 1e6).alias("ms"))
    known = pl.col("bucket").filter(pl.col("net").is_not_null()).max().over("line", "is_sum")
    return lines.with_columns(
        ((pl.col("bucket") == known) & (known < count - 1)).alias("is_end")
    ), busiest.height - len(drawn)


def _unknown(series: pl.DataFrame) -> list[tuple[str, int]]:
    """The lines whose net is not known at the end, and from when on."""
    rows = series.join(_names(series), on=_KEY, how="left", maintain_order="left")
    is_known = pl.col("net").is_not_null()
    time = pl.col("ts_recv").cast(pl.Int64)
    ended = (
        rows.group_by("line", maintain_order=True)
        .agg(
            pl.col("net").last().is_null().alias("is_unknown"),
            time.filter(time > pl.coalesce(time.filter(is_known).max(), time.min() - 1)).min().alias("since"),
        )
        .filter("is_unknown")
    )
    return [(label(line), since) for line, _, since in ended.iter_rows()]


def _labels(names: Sequence[str]) -> dict[str, str]:
    """What is drawn for each name; two that are spelled the same in a picture are distinguished by a number."""
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
    """As much of the time as tells two labels apart; the day is in the title of the axis."""
    times = lines["ms"].to_list()
    span_s = (max(times) - min(times)) / 1000
    return "%H:%M:%S.%L" if span_s < 5 else "%H:%M:%S" if span_s < 7200 else "%d %b %H:%M"


def _subtitle(unknown: Sequence[tuple[str, int]], left_out: int) -> list[str]:
    lines = ["Realised and unrealised profit with funding, less fees, in the currency of settlement; black: all pairs."]
    if left_out:
        lines[0] += f" {left_out} more {'pair is' if left_out == 1 else 'pairs are'} in the sum only."
    if unknown:
        since = [f"{name} from {format_ns(ns)[11:19]}" for name, ns in unknown]
        more = f" and {len(since) - _SAID_MAX} more" if len(since) > _SAID_MAX else ""
        lines.append(f"Not known, so the line and the sum end (cross): {', '.join(since[:_SAID_MAX])}{more}.")
    return lines


def _chart(lines: pl.DataFrame, unknown: Sequence[tuple[str, int]], title: str, left_out: int) -> dict[str, Any]:
    import altair as alt

    times = lines["ms"].to_list()
    days = [format_ns(round(ms * 1e6))[:10] for ms in (min(times), max(times))]
    day = days[0] if days[0] == days[1] else f"{days[0]} to {days[1]}"
    currencies = lines["currency"].drop_nulls().unique().sort().to_list()
    money = ", ".join(map(label, currencies)) or "of an unknown currency"
    if currencies and lines["currency"].null_count():
        money += " and others"
    base = alt.Chart(alt.NamedData(name="lines")).encode(
        x=alt.X("ms:T", title=f"UTC, {day}", scale=alt.Scale(type="utc"), axis=alt.Axis(format=_time_format(lines))),
        y=alt.Y("net:Q", title=f"net profit, {money}"),
        tooltip=[
            alt.Tooltip("line:N", title="pair"),
            alt.Tooltip("net:Q", format=",.6~g"),
            alt.Tooltip("currency:N", title="currency"),
        ],
    )
    # Vega would cut long names within a character of two halves, and fail on the half.
    color = alt.Color("line:N", title=None, sort=None, legend=alt.Legend(labelLimit=0))
    pairs = base.transform_filter("!datum.is_sum")
    total = base.transform_filter("datum.is_sum")
    chart = (
        alt.layer(
            pairs.mark_line(interpolate="step-after", strokeWidth=1.5).encode(color=color),
            pairs.transform_filter("datum.is_end")
            .mark_point(shape="cross", size=70, angle=45, filled=True)
            .encode(color=color),
            total.mark_line(interpolate="step-after", strokeWidth=2.5, color=colors.INK).encode(detail="line:N"),
            total.transform_filter("datum.is_end").mark_point(
                shape="cross", size=90, angle=45, filled=True, color=colors.INK
            ),
        )
        .properties(
            width=900,
            height=320,
            title=alt.TitleParams(
                label(title),
                subtitle=_subtitle(unknown, left_out),
                anchor="start",
                fontSize=18,
                subtitleColor=colors.LINE,
            ),
            padding={"left": 12, "right": 24, "top": 14, "bottom": 12},
            background="white",
        )
        .configure(font="Liberation Sans, Arial, Helvetica, sans-serif")
        .configure_view(stroke=None)
    )
    # Data that is only named spares altair the checking of every point.
    rows = lines.select("line", "ms", "net", "currency", "is_sum", "is_end").to_dicts()
    found: dict[str, Any] = {**chart.to_dict(), "datasets": {"lines": rows}}
    return found
