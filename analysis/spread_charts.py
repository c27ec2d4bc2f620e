"""How spreads are drawn: the specification of a picture, as Vega-Lite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from toolkit.borders import label
from toolkit.clock import NS_PER_S, format_ns
from toolkit.keys import PairKey
from toolkit.pictures import colors

if TYPE_CHECKING:
    import altair as alt

__all__ = ["spread_chart"]

_MINUTE: Final = 60 * NS_PER_S
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR

_WIDTH: Final = 900
_HEIGHT: Final = 130
#: Room for the labels of the vertical axes, so that all panels begin at the same place.
_LABELS: Final = 52


def spread_chart(
    report: pl.DataFrame, series: pl.DataFrame, *, title: str, every_ns: int, end_ns: int, left_out: int = 0
) -> dict[str, Any]:
    """
    Describe the picture as a Vega-Lite specification.

    Args:
        report: Rows of `SpreadWindow.report`, one for each panel; of several venues, each panel is named by its own.
        series: Rows of `SpreadWindow.series` for the same pairs.
        title: Title above the chart.
        every_ns: Length of a bucket of the series, ns.
        end_ns: Where the panels end, ns; they begin with the first quote.
        left_out: How many pairs more there are than panels.

    Returns:
        The specification, with its data inside. It has no names that are counted up, so it is always the same.
    """
    import altair as alt

    start_ns = min(report["ts_first"].cast(pl.Int64).drop_nulls().to_list())
    end_ns = max(end_ns, start_ns + every_ns)
    datasets: dict[str, list[dict[str, Any]]] = {}
    panels: list[alt.VConcatChart] = []
    rows = report.with_columns(pl.col("ts_book_last").cast(pl.Int64).alias("book_last_ns"))
    for number, (name, row) in enumerate(zip(names_of(report), rows.iter_rows(named=True), strict=True), start=1):
        axis = _TimeAxis(start_ns, end_ns, has_title=number == report.height)
        own = series.filter((pl.col("venue") == row["venue"]) & (pl.col("symbol") == row["symbol"]))
        panels.append(_panel(number, name, row, own, every_ns, axis, datasets))
    subtitle = [
        f"Per {_length(every_ns)}: time-weighted mean (blue) and maximum (light blue), dashed: median and 95 % of the time.",
        "Shaded: book stale (grey), one-sided or crossed (amber), which count in no spread; "
        "grey above blue: the book sent nothing more, its last quote is held. Red triangles: a maximum beyond the scale."
        + (f" {left_out} more {'pair is' if left_out == 1 else 'pairs are'} not shown." if left_out else ""),
    ]
    chart = (
        alt.vconcat(spacing=26)
        .properties(
            title=alt.TitleParams(
                label(title),
                subtitle=subtitle,
                anchor="start",
                fontSize=18,
                subtitleFontSize=12,
                subtitleColor=colors.LINE,
                color=colors.INK,
                offset=18,
            ),
            padding={"left": 12, "right": 24, "top": 14, "bottom": 12},
            background="white",
        )
        .configure(font="Liberation Sans, Arial, Helvetica, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=colors.LINE,
            titleColor=colors.LINE,
            gridColor=colors.GRID,
            domainColor=colors.GREY,
            tickColor=colors.GREY,
        )
    )
    # Put together by hand: Altair copies and checks all panels each time. Data that is only named spares it every point.
    of_all = ("$schema", "config")
    drawn = [{name: value for name, value in panel.to_dict().items() if name not in of_all} for panel in panels]
    return {**chart.to_dict(), "vconcat": drawn, "datasets": datasets}


def names_of(rows: pl.DataFrame) -> list[str]:
    """What the instruments of a report are called in a picture: by their pairs, of several venues with the venue."""
    keys = map(PairKey._make, rows.select("venue", "trading_pair").iter_rows())
    return [str(key) if rows["venue"].n_unique() > 1 else key.trading_pair for key in keys]


def _panel(
    number: int,
    name: str,
    row: dict[str, Any],
    series: pl.DataFrame,
    every: int,
    axis: _TimeAxis,
    datasets: dict[str, list[dict[str, Any]]],
) -> alt.VConcatChart:
    import altair as alt

    def data(kind: str, values: list[dict[str, Any]]) -> alt.NamedData:
        dataset = f"panel {number} {kind}"  # no name of a venue's: Vega has rules for those of data
        datasets[dataset] = values
        return alt.NamedData(name=dataset)

    peak = _extreme(series["spread_bps_max"].max()) or 0.0
    # One wide moment must not flatten everything else; where it is gets a mark, and how far it went is in the title.
    top = min(peak, 3 * row["spread_bps_p99"]) * 1.08 or 1.0
    beyond = _beyond(series, top, every)
    facts = [
        f"mean {_figure(row['spread_bps_mean'])} bps",
        f"max {_figure(row['spread_bps_max'])} bps" + (f" ({len(beyond)} beyond the scale)" if beyond else ""),
        *([] if row["one_tick_share"] is None else [f"at one tick {_percent(row['one_tick_share'])}"]),
        f"book stale {_percent(row['stale_share'])}",
        f"last mid {row['mid_last']:,.8g}",
    ]
    title = alt.TitleParams(
        label(name),
        subtitle=" · ".join(facts),
        anchor="start",
        fontSize=14,
        subtitleFontSize=11,
        color=colors.INK,
        subtitleColor=colors.LINE,
        offset=8,
    )
    steps = data("steps", steps_of(series, every))
    shades = data("shades", shades_of(series, every) + _quiet(row, axis))
    x, x_below = axis.encoding(labels=False), axis.encoding(labels=True)
    height = alt.Scale(domain=[0, top], nice=False)
    y_title = "spread, bps"
    tip = [
        alt.Tooltip("utc:N", title="from, UTC"),
        alt.Tooltip("mean:Q", title="mean, bps", format=".4~g"),
        alt.Tooltip("peak:Q", title="max, bps", format=".4~g"),
        alt.Tooltip("close:Q", title="mid", format=".8~g"),
    ]
    area = alt.Chart(steps).encode(x=x)
    median, high = row["spread_bps_median"], row["spread_bps_p95"]
    # Two labels that would cover each other move apart.
    apart = max(0.0, 13 / _HEIGHT * top - (high - median)) / 2
    quantiles = [
        {"y": median, "at": median - apart, "label": f"median {_figure(median)}", "color": colors.INK},
        {"y": high, "at": high + apart, "label": f"95 % {_figure(high)}", "color": colors.RED},
    ]
    lines = alt.Chart(data("quantiles", quantiles)).encode(color=alt.Color("color:N", scale=None))
    spread = alt.layer(
        _shading(shades, x),
        area.mark_area(interpolate="step-after", color=colors.LIGHT_BLUE, clip=True).encode(
            y=alt.Y("peak:Q", scale=height, title=y_title, axis=alt.Axis(tickCount=4, minExtent=_LABELS)), tooltip=tip
        ),
        area.mark_area(interpolate="step-after", color=colors.BLUE, opacity=0.8, clip=True).encode(
            y=alt.Y("mean:Q", scale=height, title=y_title), tooltip=tip
        ),
        alt.Chart(data("beyond", beyond))
        .mark_point(shape="triangle-up", filled=True, color=colors.RED, size=34, opacity=1.0)
        .encode(
            x=x,
            y=alt.Y("top:Q", scale=height, title=y_title),
            tooltip=[alt.Tooltip("utc:N", title="from, UTC"), alt.Tooltip("peak:Q", title="max, bps", format=".4~g")],
        ),
        lines.mark_rule(strokeDash=[5, 3], strokeWidth=1.2).encode(y=alt.Y("y:Q", scale=height)),
        lines.mark_text(align="left", baseline="middle", dx=5, fontSize=10).encode(
            x=alt.value(_WIDTH), y=alt.Y("at:Q", scale=height), text="label:N"
        ),
    ).properties(width=_WIDTH, height=_HEIGHT, title=title)
    prices = alt.Scale(zero=False, nice=False, padding=6)
    axis_y = alt.Axis(tickCount=3, minExtent=_LABELS, format=_price_format(series))
    mid = alt.layer(
        _shading(shades, x_below),
        area.mark_area(interpolate="step-after", color=colors.TEAL, opacity=0.25).encode(
            x=x_below, y=alt.Y("low:Q", scale=prices, title="mid price", axis=axis_y), y2="high:Q"
        ),
        area.mark_line(interpolate="step-after", color=colors.TEAL, strokeWidth=1.3).encode(
            x=x_below, y=alt.Y("close:Q", scale=prices, title="mid price"), tooltip=tip
        ),
    ).properties(width=_WIDTH, height=70)
    return alt.vconcat(spread, mid, spacing=6)


def _shading(shades: alt.NamedData, x: alt.X) -> alt.Chart:
    import altair as alt

    chart: alt.Chart = (
        alt.Chart(shades)
        .mark_rect(clip=True)
        .encode(
            x=x,
            x2="t2:T",
            color=alt.Color("color:N", scale=None),
            opacity=alt.Opacity("share:Q", scale=None),
        )
    )
    return chart


@dataclass(frozen=True, slots=True)
class _TimeAxis:
    start_ns: int
    end_ns: int
    has_title: bool

    def encoding(self, *, labels: bool) -> alt.X:
        import altair as alt

        span = self.end_ns - self.start_ns
        style = "%H:%M:%S" if span <= 10 * _MINUTE else "%H:%M" if span <= _DAY else "%d %b %H:%M"
        first, last = format_ns(self.start_ns)[:10], format_ns(self.end_ns)[:10]
        title = f"UTC, {first}" if first == last else f"UTC, {first} to {last}"
        domain = [_milliseconds(self.start_ns), _milliseconds(self.end_ns)]
        return alt.X(
            "t:T",
            scale=alt.Scale(type="utc", domain=domain, nice=False),
            axis=alt.Axis(
                format=style,
                labels=labels,
                ticks=labels,
                title=title if labels and self.has_title else None,
                tickCount=10,
            ),
        )


def steps_of(series: pl.DataFrame, every: int) -> list[dict[str, Any]]:
    """A point where each bucket starts, and one more where a run of buckets with values ends."""
    columns = {
        "mean": "spread_bps",
        "peak": "spread_bps_max",
        "low": "mid_low",
        "high": "mid_high",
        "close": "mid_close",
    }
    points = series.select(
        pl.col("ts").cast(pl.Int64).alias("ns"),
        *(pl.col(name).round_sig_figs(10).alias(short) for short, name in columns.items()),
    )
    has_value = pl.col("mean").is_not_null()
    goes_on = has_value.shift(-1, fill_value=False)
    ends = points.filter(has_value & ~goes_on).with_columns(pl.col("ns") + every)
    # Where the run ends its value is drawn to the end; what follows there is empty, and sorts after it.
    together = pl.concat([points.with_columns(order=1), ends.with_columns(order=0)]).sort("ns", "order")
    return together.select(
        (pl.col("ns") / 1e6).alias("t"),
        # A tooltip would show a time in the time zone of the reader.
        pl.col("ns").cast(pl.Datetime("ns")).dt.strftime("%Y-%m-%d %H:%M:%S%.3f").alias("utc"),
        *columns,
    ).to_dicts()


def _beyond(series: pl.DataFrame, top: float, every: int) -> list[dict[str, Any]]:
    """A mark at the upper edge, in the middle of each bucket whose maximum is above it."""
    found = series.filter(pl.col("spread_bps_max") > top).select(
        pl.col("ts").cast(pl.Int64).alias("ns"), pl.col("spread_bps_max").round_sig_figs(10).alias("peak")
    )
    return found.select(
        ((pl.col("ns") + every // 2) / 1e6).alias("t"),
        pl.col("ns").cast(pl.Datetime("ns")).dt.strftime("%Y-%m-%d %H:%M:%S%.3f").alias("utc"),
        "peak",
        pl.lit(top * 0.95).alias("top"),
    ).to_dicts()


def shades_of(series: pl.DataFrame, every: int) -> list[dict[str, Any]]:
    """Rectangles where the book could not be used, more opaque the longer within the bucket."""
    found: list[dict[str, Any]] = []
    odd = pl.col("one_sided_share") + pl.col("crossed_share")
    for color, share in ((colors.FAINT, pl.col("stale_share")), (colors.AMBER, odd)):
        # Few steps of opacity let neighbours become one rectangle, without seams between them.
        level = (share.fill_null(0.0) * 4).ceil() / 4
        runs = (
            series.select(pl.col("ts").cast(pl.Int64).alias("ns"), level.alias("level"))
            .with_columns(pl.struct("level").rle_id().alias("run"))
            .group_by("run", maintain_order=True)
            .agg(pl.col("ns").first(), pl.col("ns").last().alias("last"), pl.col("level").first())
            .filter(pl.col("level") > 0)
        )
        found += [
            {
                "t": _milliseconds(first),
                "t2": _milliseconds(last + every),
                "share": round(0.1 + 0.4 * opacity, 2),
                "color": color,
            }
            for _, first, last, opacity in runs.iter_rows()
        ]
    return found


def _quiet(row: dict[str, Any], axis: _TimeAxis) -> list[dict[str, Any]]:
    """A rectangle where the last quote was held although the book sent nothing any more, if that is long."""
    last_ns = axis.start_ns if row["book_last_ns"] is None else row["book_last_ns"]
    if axis.end_ns - last_ns <= max(_MINUTE, (axis.end_ns - axis.start_ns) // 20):
        return []
    return [{"t": _milliseconds(last_ns), "t2": _milliseconds(axis.end_ns), "share": 0.25, "color": colors.FAINT}]


def _extreme(value: object) -> float | None:
    """The least or greatest value of a Float64 column; None where it has none."""
    return value if isinstance(value, float) else None


def _price_format(series: pl.DataFrame) -> str:
    low, high = _extreme(series["mid_low"].min()), _extreme(series["mid_high"].max())
    if low is None or high is None:
        return "~g"
    # Enough decimals for three labels to differ.
    span = max(high - low, abs(high) * 5e-4)
    decimals = 0
    while span * 10**decimals < 5 and decimals < 10:
        decimals += 1
    return f",.{decimals}f"


def _figure(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{share * 100:.3g} %"


def _length(ns: int) -> str:
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (NS_PER_S, "s")):
        if ns % unit == 0:
            return f"{ns // unit} {name}"
    return f"{ns / 1e6:g} ms"


def _milliseconds(ns: int) -> float:
    return ns / 1e6
