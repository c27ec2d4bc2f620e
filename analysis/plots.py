"""Pictures of spreads: a panel for each pair, as PNG or as a web page that loads nothing from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from analysis.holding import Progress
from analysis.source import KEY, only
from analysis.window import SpreadWindow
from toolkit.clock import NS_PER_S, format_ns
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    import altair as alt

__all__ = ["PANELS_MAX", "SpreadPlot", "bucket_ns", "plot_spreads"]

#: Most pairs in one picture.
PANELS_MAX: Final = 8
#: Most buckets of time in a panel: what a screen can show, and what keeps a week as small as an hour.
_BUCKETS_MAX: Final = 600

_MINUTE: Final = 60 * NS_PER_S
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_STEPS: Final = (
    *(step * NS_PER_S // 1000 for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(step * NS_PER_S for step in (1, 2, 5, 10, 15, 30)),
    *(step * _MINUTE for step in (1, 2, 5, 10, 15, 30)),
    *(step * _HOUR for step in (1, 2, 3, 6, 12)),
)

_WIDTH: Final = 900
_HEIGHT: Final = 130
#: Room for the labels of the vertical axes, so that all panels begin at the same place.
_LABELS: Final = 52
_INK: Final = "#1f2937"
_FAINT: Final = "#6b7280"
_MEAN: Final = "#2563eb"
_PEAK: Final = "#bfdbfe"
_HIGH: Final = "#b91c1c"
_MID: Final = "#0f766e"
_STALE: Final = "#9ca3af"
_ODD: Final = "#f59e0b"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadPlot:
    """
    What was drawn.

    Attributes:
        path: The file.
        pairs: Trading pairs that have a panel.
        left_out: Those that have none, because there are more than `PANELS_MAX`; the busiest are drawn.
        every_ns: Length of the buckets of time, ns.
    """

    path: Path
    pairs: tuple[str, ...]
    left_out: tuple[str, ...]
    every_ns: int


def plot_spreads(
    window: SpreadWindow, path: Path, *, report: pl.DataFrame | None = None, progress: Progress | None = None
) -> SpreadPlot:
    """
    Draw the spread of each pair over time, in basis points, with the mid price below it.

    The same recording gives the same bytes. A page has its JavaScript inside and loads nothing.

    Args:
        window: Pairs and time, from `analysis.spread_window`.
        path: Where to write; the name ends in `.png` or `.html`.
        report: What `window.report()` gave, if that is at hand.
        progress: Told how many rows were read.

    Raises:
        ConfigError: Another ending, nothing to draw, or the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind not in (".png", ".html"):
        raise ConfigError(f"cannot draw {path}: expected a name that ends in .png or .html")
    report = window.report() if report is None else report
    drawable = report.filter(pl.col("valid_s") > 0)
    if drawable.is_empty():
        raise ConfigError(f"nothing to draw: no pair of {window.recording.path} has a quote with both sides")
    busiest = drawable.sort("top_changes", "symbol", descending=[True, False]).head(PANELS_MAX)
    drawn = report.join(busiest.select(KEY), on=KEY, how="semi", maintain_order="left")
    left_out = report.join(drawn.select(KEY), on=KEY, how="anti", maintain_order="left")
    start_ns = int(drawn["ts_first"].cast(pl.Int64).min())  # type: ignore[arg-type]
    every = bucket_ns(window.end_ns - start_ns)
    series = only(window.series(every, progress), drawn).collect(engine="streaming")
    chart = _chart(window, drawn, series, every, start_ns, left_out.height)
    _write(path, _png(chart) if kind == ".png" else _html(chart))
    return SpreadPlot(
        path=path, pairs=tuple(drawn["trading_pair"]), left_out=tuple(left_out["trading_pair"]), every_ns=every
    )


def bucket_ns(span_ns: int) -> int:
    """The shortest round length of time of which a panel has room for as many as the span takes."""
    for step in _STEPS:
        if span_ns <= step * _BUCKETS_MAX:
            return step
    return _DAY * -(-span_ns // (_DAY * _BUCKETS_MAX))


def _chart(
    window: SpreadWindow, report: pl.DataFrame, series: pl.DataFrame, every: int, start_ns: int, left_out: int
) -> dict[str, Any]:
    import altair as alt

    end_ns = max(window.end_ns, start_ns + every)
    panels = []
    rows = report.with_columns(pl.col("ts_book_last").cast(pl.Int64).alias("book_last_ns"))
    for number, row in enumerate(rows.iter_rows(named=True), start=1):
        axis = _TimeAxis(start_ns, end_ns, has_title=number == report.height)
        own = series.filter((pl.col("venue") == row["venue"]) & (pl.col("symbol") == row["symbol"]))
        panels.append(_panel(row, own, every, axis))
    subtitle = [
        f"Per {_length(every)}: time-weighted mean (blue) and maximum (light blue), dashed: median and 95 % of the time.",
        "Shaded: book stale (grey), one-sided or crossed (amber), which count in no spread; "
        "grey above blue: the book sent nothing more, its last quote is held."
        + (f" {left_out} more pairs are not shown." if left_out else ""),
    ]
    chart = (
        alt.vconcat(*panels, spacing=26)
        .properties(
            title=alt.TitleParams(
                f"Quoted spreads · {window.recording.path.absolute().name}",
                subtitle=subtitle,
                anchor="start",
                fontSize=18,
                subtitleFontSize=12,
                subtitleColor=_FAINT,
                color=_INK,
                offset=18,
            ),
            padding={"left": 12, "right": 24, "top": 14, "bottom": 12},
            background="white",
        )
        .configure(font="Liberation Sans, Arial, Helvetica, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_FAINT, titleColor=_FAINT, gridColor="#eef0f3", domainColor="#d1d5db", tickColor="#d1d5db"
        )
    )
    found: dict[str, Any] = chart.to_dict()
    return found


def _panel(row: dict[str, Any], series: pl.DataFrame, every: int, axis: _TimeAxis) -> alt.VConcatChart:
    import altair as alt

    peak = float(series["spread_bps_max"].max() or 0.0)  # type: ignore[arg-type]
    # One wide moment must not flatten everything else; how far it went is in the title.
    top = min(peak, 3 * row["spread_bps_p99"]) * 1.08 or 1.0
    facts = [
        f"mean {_figure(row['spread_bps_mean'])} bps",
        f"max {_figure(row['spread_bps_max'])} bps",
        *([] if row["one_tick_share"] is None else [f"at one tick {_percent(row['one_tick_share'])}"]),
        f"book stale {_percent(row['stale_share'])}",
        f"last mid {row['mid_last']:,.8g}",
    ]
    title = alt.TitleParams(
        row["trading_pair"],
        subtitle=" · ".join(facts),
        anchor="start",
        fontSize=14,
        subtitleFontSize=11,
        color=_INK,
        subtitleColor=_FAINT,
        offset=8,
    )
    steps = alt.Data(values=_steps(series, every))  # type: ignore[no-untyped-call]
    shades = alt.Data(values=_shades(series, every) + _quiet(row, axis))  # type: ignore[no-untyped-call]
    x, x_below = axis.encoding(labels=False), axis.encoding(labels=True)
    height = alt.Scale(domain=[0, top], nice=False)
    y_title = "spread, bps"
    tip = [
        alt.Tooltip("t:T", title="from", format="%Y-%m-%d %H:%M:%S.%L"),
        alt.Tooltip("mean:Q", title="mean, bps", format=".4~g"),
        alt.Tooltip("peak:Q", title="max, bps", format=".4~g"),
        alt.Tooltip("close:Q", title="mid", format=".8~g"),
    ]
    area = alt.Chart(steps).encode(x=x)
    median, high = row["spread_bps_median"], row["spread_bps_p95"]
    # Two labels that would cover each other move apart.
    apart = max(0.0, 13 / _HEIGHT * top - (high - median)) / 2
    quantiles = [
        {"y": median, "at": median - apart, "label": f"median {_figure(median)}", "color": _INK},
        {"y": high, "at": high + apart, "label": f"95 % {_figure(high)}", "color": _HIGH},
    ]
    lines = alt.Chart(alt.Data(values=quantiles)).encode(  # type: ignore[no-untyped-call]
        color=alt.Color("color:N", scale=None)
    )
    spread = alt.layer(
        _shading(shades, x),
        area.mark_area(interpolate="step-after", color=_PEAK, clip=True).encode(
            y=alt.Y("peak:Q", scale=height, title=y_title, axis=alt.Axis(tickCount=4, minExtent=_LABELS)), tooltip=tip
        ),
        area.mark_area(interpolate="step-after", color=_MEAN, opacity=0.8, clip=True).encode(
            y=alt.Y("mean:Q", scale=height, title=y_title), tooltip=tip
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
        area.mark_area(interpolate="step-after", color=_MID, opacity=0.25).encode(
            x=x_below, y=alt.Y("low:Q", scale=prices, title="mid price", axis=axis_y), y2="high:Q"
        ),
        area.mark_line(interpolate="step-after", color=_MID, strokeWidth=1.3).encode(
            x=x_below, y=alt.Y("close:Q", scale=prices, title="mid price"), tooltip=tip
        ),
    ).properties(width=_WIDTH, height=70)
    return alt.vconcat(spread, mid, spacing=6)


def _shading(shades: alt.Data, x: alt.X) -> alt.Chart:
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


def _steps(series: pl.DataFrame, every: int) -> list[dict[str, Any]]:
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
    return together.select((pl.col("ns") / 1e6).alias("t"), *columns).to_dicts()


def _shades(series: pl.DataFrame, every: int) -> list[dict[str, Any]]:
    """Rectangles where the book could not be used, more opaque the longer within the bucket."""
    found: list[dict[str, Any]] = []
    odd = pl.col("one_sided_share") + pl.col("crossed_share")
    for color, share in ((_STALE, pl.col("stale_share")), (_ODD, odd)):
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
    return [{"t": _milliseconds(last_ns), "t2": _milliseconds(axis.end_ns), "share": 0.25, "color": _STALE}]


def _price_format(series: pl.DataFrame) -> str:
    low, high = series["mid_low"].min(), series["mid_high"].max()
    if low is None or high is None:
        return "~g"
    # Enough decimals for three labels to differ.
    span = max(float(high) - float(low), abs(float(high)) * 5e-4)  # type: ignore[arg-type]
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


def _png(chart: dict[str, Any]) -> bytes:
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(chart, scale=2))


def _html(chart: dict[str, Any]) -> bytes:
    import vl_convert

    # A menu entry that sends the data to a web site has no place in a page that needs no network.
    chart = {**chart, "usermeta": {"embedOptions": {"actions": {"export": True, "editor": False, "source": False}}}}
    return vl_convert.vegalite_to_html(chart, bundle=True).encode()


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}") from exc
    finally:
        part.unlink(missing_ok=True)
