"""A picture of a result: fills on the price, the position, and the profit, over one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from replay.results.result_metrics import money, percent, totals_of
from toolkit.borders import label
from toolkit.clock import NS_PER_MS
from toolkit.pictures.vega_lite import bucket_ns

if TYPE_CHECKING:
    from replay.results.result import Result
    from replay.results.run_info import PairInfo

__all__ = ["PAIRS_MAX", "POINTS_MAX", "result_chart"]

#: Most pairs with panels of their own; those with most turnover are drawn.
PAIRS_MAX: Final = 4
#: Most points of a line, and of fills; more are gathered in buckets of time.
POINTS_MAX: Final = 1500
_BUY: Final = "#1d4ed8"
_SELL: Final = "#c2410c"
_LINE: Final = "#6b7280"
_GAIN: Final = "#111827"
_DOUBT: Final = "#fca5a5"
_WIDTH: Final = 900
#: Area and outline of the mark of a fill, by how many there are at most.
_LOOKS: Final = {300: (55, 1.5), 800: (28, 1.1)}
_LOOK_OF_MANY: Final = (14, 0.8)


def result_chart(result: Result) -> dict[str, Any]:
    """
    A Vega-Lite specification.

    Of each pair the middle between its best prices with the fills on it, and the position; of each account the net profit,
    with the fall below its highest value shaded; doubtful times shaded everywhere.
    """
    import altair as alt

    start, end = (ns / NS_PER_MS for ns in (result.info.start_ns, result.info.end_ns))
    domain = [start, max(end, start + 1)]
    pairs = _drawn(result)
    datasets: dict[str, list[dict[str, Any]]] = {"doubt": _doubt(result)}
    panels: list[Any] = []
    for place, pair in enumerate(pairs):
        unit = "contracts" if pair.contract == "inverse" else pair.base
        heading = _heading(alt, f"{_name(result, pair)}: price, and position" + (f" in {unit}" if unit else ""))
        datasets |= {f"price{place}": _prices(result, pair), f"fills{place}": _fills(result, pair)}
        datasets[f"position{place}"] = _positions(result, pair)
        panels.append(_price_panel(alt, place, heading, len(datasets[f"fills{place}"])))
        panels.append(_position_panel(alt, place))
    for place, account in enumerate(result.info.accounts):
        datasets[f"equity{place}"] = _equity(result, account.name)
        unit = account.asset if len(result.info.accounts) == 1 else account.name
        panels.append(_profit_panel(alt, place, unit))
    times = [_time(alt, domain, is_last=place == len(panels) - 1) for place in range(len(panels))]
    panels = [_doubt_layer(alt).encode(x=x) + panel.encode(x=x) for panel, x in zip(panels, times, strict=True)]
    sized = [
        panel.properties(width=_WIDTH, height=height)
        for panel, height in zip(panels, _heights(result, len(pairs)), strict=True)
    ]
    chart = (
        alt.vconcat(*sized, spacing=8)
        .resolve_scale(x="shared", color="independent")
        .properties(
            title=alt.TitleParams(
                label(_title(result, pairs)),
                subtitle=[label_line(line) for line in _subtitle(result)],
                anchor="start",
                fontSize=18,
                subtitleColor="#4b5563",
                subtitleLineHeight=16,
                offset=12,
            ),
            padding={"left": 12, "right": 24, "top": 14, "bottom": 12},
            background="white",
        )
        .configure(font="Liberation Sans, Arial, Helvetica, sans-serif")
        .configure_view(stroke="#e5e7eb")
        .configure_axis(gridColor="#f3f4f6", titleColor="#374151", titleFontWeight="normal")
    )
    # Data that is only named spares altair the checking of every point.
    return {**chart.to_dict(), "datasets": datasets}


def _heights(result: Result, pairs: int) -> list[int]:
    price = 260 if pairs == 1 else 180
    return [*([price, 90] * pairs), *([140] * len(result.info.accounts))]


def _drawn(result: Result) -> list[PairInfo]:
    traded = [pair for pair in result.info.pairs if pair.maker_fills or pair.taker_fills] or list(result.info.pairs)
    busiest = sorted(traded, key=lambda pair: -pair.turnover)[:PAIRS_MAX]
    return [pair for pair in result.info.pairs if pair in busiest]


def _name(result: Result, pair: PairInfo) -> str:
    is_alone = len({each.venue for each in result.info.pairs}) == 1
    return label(pair.trading_pair if is_alone else f"{pair.trading_pair} on {pair.venue}")


def _title(result: Result, pairs: Sequence[PairInfo]) -> str:
    names = ", ".join(dict.fromkeys(label(pair.trading_pair) for pair in pairs))
    venues = list(dict.fromkeys(pair.venue for pair in pairs))
    is_alone = len({pair.venue for pair in result.info.pairs}) == 1
    return f"{result.info.strategy} · {names}" + ("" if is_alone else f" on {' and '.join(venues)}")


def _subtitle(result: Result) -> list[str]:
    info = result.info
    net = ", ".join(
        f"net {money(net)} {asset} after {money(fees)} fees" for asset, (net, fees) in totals_of(info).items()
    )
    makers, takers = (sum(getattr(pair, name) for pair in info.pairs) for name in ("maker_fills", "taker_fills"))
    shares = [account.doubtful_profit_share for account in info.accounts]
    up_to = "up to " if len(shares) > 1 and any(shares) else ""
    profit = f" and {up_to}{percent(max(shares))} of profit" if shares else ""
    first = f"{label(info.kind.capitalize())}: {percent(info.doubtful_time_share)} of time{profit} rest on doubtful data (shaded)"
    drawn = result.fills.height
    gathered = ", gathered in buckets of time" if drawn > POINTS_MAX else ""
    left_out = len([pair for pair in info.pairs if pair.maker_fills or pair.taker_fills]) - PAIRS_MAX
    more = f"; {left_out} more pairs are not drawn" if left_out > 0 else ""
    trades = f"{drawn:,} fills: {makers:,} as maker (full), {takers:,} as taker (hollow)"
    fall = "orange: fall below the highest profit before"
    return [first, f"{net or 'no account'}; {trades}{gathered}{more}; {fall}"]


def label_line(text: str) -> str:
    """A line of a subtitle: visible characters only; it has room for more than a label has."""
    half = len(text) // 2
    return (
        text
        if text.isascii() and text.isprintable() and len(text) < 200
        else f"{label(text[:half])}{label(text[half:])}"
    )


# -- data ---------------------------------------------------------------------------------------------------------------


def _of(frame: pl.DataFrame, pair: PairInfo) -> pl.DataFrame:
    return frame.filter(pl.col("venue") == pair.venue, pl.col("trading_pair") == pair.trading_pair)


def _ms(column: str = "ts_recv") -> pl.Expr:
    return (pl.col(column).cast(pl.Int64) / NS_PER_MS).alias("ms")


def _bucket(result: Result) -> pl.Expr:
    every = bucket_ns(max(result.info.end_ns - result.info.start_ns, 1))
    return ((pl.col("ts_recv").cast(pl.Int64) - result.info.start_ns) // every).alias("bucket")


def _prices(result: Result, pair: PairInfo) -> list[dict[str, Any]]:
    tops = _of(result.top, pair).with_columns(
        pl.when(~pl.col("is_stale")).then((pl.col("bid_price") + pl.col("ask_price")) / 2).alias("mid")
    )
    if tops.height <= POINTS_MAX:
        rows = tops.select(_ms(), "mid", low="mid", high="mid")
    else:
        rows = (
            tops.group_by(_bucket(result), maintain_order=True)
            .agg(pl.col("ts_recv").first(), pl.col("mid").last(), low=pl.col("mid").min(), high=pl.col("mid").max())
            .select(_ms(), "mid", "low", "high")
        )
    found: list[dict[str, Any]] = []
    for row in rows.to_dicts():
        if row["mid"] is None and found and found[-1]["mid"] is not None:
            found.append({**found[-1], "ms": row["ms"]})  # until it was not known any more
        found.append(row)
    # The last price stands until the end.
    return [*found, {**found[-1], "ms": result.info.end_ns / NS_PER_MS}] if found else found


def _fills(result: Result, pair: PairInfo) -> list[dict[str, Any]]:
    fills = _of(result.fills, pair).with_columns(
        pl.concat_str(
            pl.col("side"), pl.lit(" "), pl.when(pl.col("is_maker")).then(pl.lit("maker")).otherwise(pl.lit("taker"))
        ).alias("what")
    )
    if fills.height > POINTS_MAX:
        weight = pl.col("size").sum()
        fills = (
            fills.group_by(_bucket(result), "what", "side", maintain_order=True)
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


def _positions(result: Result, pair: PairInfo) -> list[dict[str, Any]]:
    rows = _of(result.positions, pair).group_by("ts_recv", maintain_order=True).agg(pl.col("size").last())
    if rows.height > POINTS_MAX:
        rows = rows.group_by(_bucket(result), maintain_order=True).agg(
            pl.col("ts_recv").first(), pl.col("size").last(), low=pl.col("size").min(), high=pl.col("size").max()
        )
    else:
        rows = rows.with_columns(low="size", high="size")
    first = {"ms": result.info.start_ns / NS_PER_MS, "size": 0.0, "low": 0.0, "high": 0.0}
    found = [first, *rows.select(_ms(), "size", "low", "high").to_dicts()]
    last = found[-1]["size"]
    return [*found, {"ms": result.info.end_ns / NS_PER_MS, "size": last, "low": last, "high": last}]


def _equity(result: Result, wallet: str) -> list[dict[str, Any]]:
    rows = result.equity.filter(pl.col("wallet") == wallet)
    worth = pl.col("equity") - pl.col("transfers")
    rows = rows.select("ts_recv", (worth - worth.first()).round(9).alias("net")).with_columns(
        pl.col("net").cum_max().alias("peak")
    )
    if rows.height > POINTS_MAX:
        # Of each bucket its end, and the lowest point, which is what a drawdown is about.
        rows = (
            rows.with_columns(_bucket(result))
            .group_by("bucket", maintain_order=True)
            .agg(
                pl.col("ts_recv", "net", "peak").sort_by("net").first().name.suffix("_low"),
                pl.col("ts_recv", "net", "peak").last(),
            )
        )
        low = rows.select(ts_recv="ts_recv_low", net="net_low", peak="peak_low")
        rows = pl.concat([low, rows.select("ts_recv", "net", "peak")]).sort("ts_recv", maintain_order=True)
    return rows.select(_ms(), "net", "peak").to_dicts()


def _doubt(result: Result) -> list[dict[str, Any]]:
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


# -- panels -------------------------------------------------------------------------------------------------------------


def _time(alt: Any, domain: Sequence[float], *, is_last: bool) -> Any:
    span_s = (domain[1] - domain[0]) / 1000
    form = "%H:%M:%S.%L" if span_s < 5 else "%H:%M:%S" if span_s < 7200 else "%d %b %H:%M"
    axis = alt.Axis(format=form, labels=is_last, ticks=is_last, tickCount=10, labelOverlap=True)
    return alt.X(
        "ms:T",
        title="time, UTC" if is_last else None,
        scale=alt.Scale(type="utc", domain=list(domain), nice=False),
        axis=axis,
    )


def _heading(alt: Any, text: str) -> Any:
    # Names from outside are in titles of panels: Vega writes those of axes into an expression, which reads escapes.
    return alt.TitleParams(
        label(text), anchor="start", fontSize=12, fontWeight="normal", color="#374151", offset=4, frame="group"
    )


def _doubt_layer(alt: Any) -> Any:
    return alt.Chart(alt.NamedData(name="doubt")).mark_rect(color=_DOUBT, opacity=0.35, clip=True).encode(x2="until:T")


def _price_panel(alt: Any, place: int, title: Any, fill_count: int) -> Any:
    scale = alt.Scale(zero=False, nice=False, padding=8)
    base = alt.Chart(alt.NamedData(name=f"price{place}"))
    price = alt.Y("mid:Q", title="price", scale=scale)
    band = base.mark_area(color=_LINE, opacity=0.25, interpolate="step-after", clip=True).encode(
        y=alt.Y("low:Q", scale=scale, title="price"), y2="high:Q"
    )
    line = base.mark_line(color=_LINE, strokeWidth=1, interpolate="step-after", clip=True).encode(y=price)
    fills = alt.Chart(alt.NamedData(name=f"fills{place}"))
    kinds = ["buy maker", "buy taker", "sell maker", "sell taker"]
    legend = alt.Legend(orient="top") if place == 0 else None

    def scaled(*values: Any) -> dict[str, Any]:
        return {"scale": alt.Scale(domain=kinds, range=list(values)), "title": None, "legend": legend}

    # Many are small, so that the price is seen between them.
    size, stroke = next((look for most, look in _LOOKS.items() if fill_count <= most), _LOOK_OF_MANY)
    marks = fills.mark_point(size=size, filled=True, strokeWidth=stroke, opacity=0.9, clip=True).encode(
        y=alt.Y("price:Q", scale=scale),
        shape=alt.Shape("what:N", **scaled(*["triangle-up"] * 2, *["triangle-down"] * 2)),
        # White and not transparent, so that the legend shows it.
        fill=alt.Fill("what:N", **scaled(_BUY, "white", _SELL, "white")),
        stroke=alt.Stroke("what:N", **scaled(_BUY, _BUY, _SELL, _SELL)),
        tooltip=[
            alt.Tooltip("what:N", title="fill"),
            alt.Tooltip("price:Q", format=",.10~g"),
            alt.Tooltip("size:Q", format=",.10~g"),
            alt.Tooltip("fills:Q"),
            alt.Tooltip("ms:T", title="time", format="%Y-%m-%d %H:%M:%S.%L"),
        ],
    )
    return alt.layer(band, line, marks).properties(title=title)


def _position_panel(alt: Any, place: int) -> Any:
    base = alt.Chart(alt.NamedData(name=f"position{place}"))
    shared = {
        "title": "position",
        "scale": alt.Scale(padding=6),
        "axis": alt.Axis(tickCount=4),
    }
    size = alt.Y("size:Q", **shared)
    tip = [alt.Tooltip("size:Q", title="position", format=",.10~g")]
    area = base.mark_area(color=_BUY, opacity=0.15, interpolate="step-after", clip=True).encode(y=size)
    span = base.mark_area(color=_BUY, opacity=0.3, interpolate="step-after", clip=True).encode(
        y=alt.Y("low:Q", **shared), y2="high:Q"
    )
    line = base.mark_line(color=_BUY, strokeWidth=1.2, interpolate="step-after", clip=True).encode(y=size, tooltip=tip)
    return alt.layer(area, span, line)


def _profit_panel(alt: Any, place: int, unit: str) -> Any:
    base = alt.Chart(alt.NamedData(name=f"equity{place}"))
    title, scale = "net profit", alt.Scale(padding=6)
    fall = base.mark_area(color=_SELL, opacity=0.18, interpolate="step-after", clip=True).encode(
        y=alt.Y("net:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4)), y2="peak:Q"
    )
    line = base.mark_line(color=_GAIN, strokeWidth=1.6, interpolate="step-after", clip=True).encode(
        y=alt.Y("net:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4)),
        tooltip=[alt.Tooltip("net:Q", title="net profit", format=",.8~g")],
    )
    zero = (
        alt.Chart(alt.NamedData(name=f"equity{place}"))
        .mark_rule(color="#9ca3af", strokeDash=[3, 3])
        .encode(y=alt.datum(0))
    )
    return alt.layer(zero, fall, line).properties(title=_heading(alt, f"Net profit in {unit}"))
