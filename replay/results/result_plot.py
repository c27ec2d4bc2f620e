"""
A picture of a result: fills on the price, the position, and the profit, over one time axis.

The picture of a file and the chart of a page are made of the same panels; in a page they are moved and zoomed together, and
show what is under the pointer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from replay.results.plot_data import (
    POINTS_MAX,
    doubt_rows,
    equity_rows,
    fill_rows,
    position_rows,
    price_rows,
    quote_rows,
)
from replay.results.result_metrics import money, percent, totals_of
from toolkit.borders import label
from toolkit.clock import NS_PER_MS
from toolkit.messages import Side
from toolkit.pictures import colors

if TYPE_CHECKING:
    from replay.results.result import Result
    from replay.results.run_info import PairInfo

__all__ = [
    "PAIRS_MAX",
    "POINTS_MAX",
    "chart_of_panels",
    "heading",
    "page_chart",
    "result_chart",
    "titled_chart",
    "under_pointer",
]

#: Most pairs with panels of their own; those with most turnover are drawn.
PAIRS_MAX: Final = 4
#: Most points of a line of a page, which can be looked at closely.
_PAGE_POINTS: Final = 4000
_CONFIG: Final = {
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "customFormatTypes": True,
    "view": {"stroke": colors.OUTLINE},
    "axis": {
        "gridColor": colors.GRID,
        "titleColor": colors.DARK_GREY,
        "titleFontWeight": "normal",
        "labelColor": colors.LABEL,
        "domainColor": colors.AXIS,
        "tickColor": colors.AXIS,
    },
    "axisY": {"minExtent": 62},  # so that all panels begin at the same place
    "legend": {"labelColor": colors.LABEL},
}
_WIDTH: Final = 900
#: Area and outline of the mark of a fill, by how many there are at most.
_LOOKS: Final = {300: (55, 1.5), 800: (28, 1.1)}
_LOOK_OF_MANY: Final = (14, 0.8)
_WHEN: Final = "%Y-%m-%d %H:%M:%S.%L"
#: Of times that are lengths: the first day of the epoch is day 1.
_SINCE: Final = "day %-j, %H:%M:%S.%L"
_NUMBER: Final = ",.10~g"


def result_chart(result: Result) -> dict[str, Any]:
    """
    A Vega-Lite specification.

    Of each pair the middle between its best prices with own quotes and fills on it, and the position; of each account the
    net profit, with the fall below its highest value shaded; doubtful times shaded everywhere.
    """
    import altair as alt

    pairs, datasets = _drawn_data(result, POINTS_MAX)
    panels = [*_pair_panels(alt, result, pairs, datasets, price=260, position=90), *_profit_panels(alt, result, 140)]
    # Data that is only named spares altair the checking of every point.
    return {**_chart(alt, result, panels), "title": _picture_title(result, pairs), "datasets": datasets}


def page_chart(result: Result) -> dict[str, Any]:
    """The same for a page: profit first, more points, and no title."""
    import altair as alt

    pairs, datasets = _drawn_data(result, _PAGE_POINTS)
    panels = [*_profit_panels(alt, result, 170), *_pair_panels(alt, result, pairs, datasets, price=300, position=100)]
    return {**_chart(alt, result, panels), "datasets": datasets}


def titled_chart(result: Result, chart: dict[str, Any]) -> dict[str, Any]:
    """The chart of its page with the title of a picture."""
    return {**chart, "title": _picture_title(result, _drawn(result))}


def _picture_title(result: Result, pairs: Sequence[PairInfo]) -> dict[str, Any]:
    return {
        "text": label(_title(result, pairs)),
        "subtitle": [label_line(line) for line in _subtitle(result)],
        "anchor": "start",
        "fontSize": 18,
        "subtitleColor": colors.SUBTITLE,
        "subtitleLineHeight": 16,
        "offset": 12,
    }


def _drawn_data(result: Result, points: int) -> tuple[list[PairInfo], dict[str, list[dict[str, Any]]]]:
    """Which pairs are drawn, and all rows by the names of their data."""
    pairs = _drawn(result)
    datasets = {"doubt": doubt_rows(result)}
    for place, pair in enumerate(pairs):
        datasets |= {
            f"price{place}": price_rows(result, pair, points),
            f"fills{place}": fill_rows(result, pair, points),
        }
        datasets[f"position{place}"] = position_rows(result, pair, points)
        for side in (Side.BUY, Side.SELL):
            datasets[f"{side.value}{place}"] = quote_rows(result, pair, side, points)
    for place, account in enumerate(result.info.accounts):
        datasets[f"equity{place}"] = equity_rows(result, account.name, points)
    return pairs, datasets


def _pair_panels(
    alt: Any, result: Result, pairs: Sequence[PairInfo], datasets: dict[str, Any], *, price: int, position: int
) -> list[Any]:
    found = []
    drawn = _drawn(result)
    for pair in pairs:
        place = drawn.index(pair)
        unit = "contracts" if pair.contract == "inverse" else pair.base
        text = f"{_name(result, pair)}: price, own quotes and fills" + (f"; position in {unit}" if unit else "")
        height = price if len(pairs) == 1 else price * 2 // 3
        found.append(_price_panel(alt, place, heading(alt, text), datasets).properties(height=height))
        found.append(_position_panel(alt, place).properties(height=position))
    return found


def _profit_panels(alt: Any, result: Result, height: int) -> list[Any]:
    accounts = result.info.accounts
    units = [account.asset if len(accounts) == 1 else account.name for account in accounts]
    return [_profit_panel(alt, place, unit).properties(height=height) for place, unit in enumerate(units)]


def _chart(alt: Any, result: Result, panels: Sequence[Any]) -> dict[str, Any]:
    start, end = (ns / NS_PER_MS for ns in (result.info.start_ns, result.info.end_ns))
    return chart_of_panels(alt, panels, [start, max(end, start + 1)])


def chart_of_panels(
    alt: Any, panels: Sequence[Any], domain: Sequence[float], *, is_since: bool = False
) -> dict[str, Any]:
    """
    Panels below each other with one axis of time, by which they are moved and zoomed together.

    Args:
        alt: Altair, which takes long to load.
        panels: Layers with a height; their data have `ms`, and `doubt` has the stretches that are shaded.
        domain: First and last time, ms.
        is_since: Whether times are those since the beginning of each run, and not since the epoch.
    """
    drawn = []
    for place, panel in enumerate(panels):
        x = _time(alt, domain, is_last=place == len(panels) - 1, is_since=is_since)
        drawn.append((_doubt_layer(alt).encode(x=x) + panel.encode(x=x)).properties(width=_WIDTH).to_dict())
    # Put together by hand: Altair copies and checks everything each time. Selections stand above all panels, and name
    # the views that they are in.
    of_all = ("$schema", "config", "params")
    chart = {
        "$schema": drawn[0]["$schema"],
        "vconcat": [{name: value for name, value in panel.items() if name not in of_all} for panel in drawn],
        "params": [param for panel in drawn for param in panel.get("params", ())],
        "spacing": 8,
        "resolve": {"scale": {"x": "shared", "color": "independent"}},
        "padding": {"left": 12, "right": 24, "top": 14, "bottom": 12},
        "background": "white",
        "config": _CONFIG,
    }
    # One for all panels, in the first layer of each: moved by dragging; a wheel alone scrolls the page. Altair has no
    # selection of several views.
    names = [f"panel{place}" for place in range(len(panels))]
    for panel, name in zip(chart["vconcat"], names, strict=True):
        panel["layer"][0]["name"] = name
    zoom = {
        "name": "zoom",
        "select": {
            "type": "interval",
            "encodings": ["x"],
            "zoom": "wheel![event.ctrlKey || event.shiftKey || event.metaKey]",
        },
        "bind": "scales",
        "views": names,
    }
    return {**chart, "params": [*chart["params"], zoom]}


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


# -- panels -------------------------------------------------------------------------------------------------------------


def _time(alt: Any, domain: Sequence[float], *, is_last: bool, is_since: bool) -> Any:
    span_s = (domain[1] - domain[0]) / 1000
    form = "%H:%M:%S.%L" if span_s < 5 else "%H:%M:%S" if span_s < 7200 else "%d %b %H:%M"
    if is_since and span_s >= 7200:  # a length has no date: days are counted from the first one on
        form = "%H:%M" if span_s < 86_400 else "day %-j, %H:%M"
    axis = alt.Axis(format=form, labels=is_last, ticks=is_last, tickCount=10, labelOverlap=True)
    title = "time since the beginning of each" if is_since else "time, UTC"
    return alt.X(
        "ms:T",
        title=title if is_last else None,
        # From the first row to the last: said besides, it is at odds with that of the selection.
        scale=alt.Scale(type="utc", nice=False),
        axis=axis,
    )


def heading(alt: Any, text: str) -> Any:
    """What stands above a panel."""
    # Names from outside are in titles of panels: Vega writes those of axes into an expression, which reads escapes.
    return alt.TitleParams(
        label(text), anchor="start", fontSize=12, fontWeight="normal", color=colors.DARK_GREY, offset=4, frame="group"
    )


def _doubt_layer(alt: Any) -> Any:
    return (
        alt.Chart(alt.NamedData(name="doubt"))
        .mark_rect(color=colors.PINK, opacity=0.35, clip=True)
        .encode(x2="until:T")
    )


def under_pointer(alt: Any, base: Any, name: str, tips: Sequence[Any], *, is_since: bool = False) -> Any:
    """A line at the point nearest to the pointer, with what it says."""
    nearest = alt.selection_point(
        name=name, nearest=True, on="pointermove", clear="pointerout", encodings=["x"], empty=False
    )
    rule = base.mark_rule(color=colors.FAINT, clip=True).encode(
        opacity=alt.condition(nearest, alt.value(0.8), alt.value(0)),
        tooltip=[*tips, _when(alt, _SINCE if is_since else _WHEN)],
    )
    return rule.add_params(nearest)


def _when(alt: Any, form: str = _WHEN) -> Any:
    """The time in a tooltip: by Vega's own function for UTC, where it would be in the zone of the machine otherwise."""
    return alt.Tooltip("ms:T", title="time", format=form, formatType="utcFormat")


def _price_panel(alt: Any, place: int, title: Any, datasets: Mapping[str, Sequence[Any]]) -> Any:
    scale = alt.Scale(zero=False, nice=False, padding=8)
    base = alt.Chart(alt.NamedData(name=f"price{place}"))
    price = alt.Y("mid:Q", title="price", scale=scale)
    band = base.mark_area(color=colors.LINE, opacity=0.25, interpolate="step-after", clip=True).encode(
        y=alt.Y("low:Q", scale=scale, title="price"), y2="high:Q"
    )
    line = base.mark_line(color=colors.LINE, strokeWidth=1, interpolate="step-after", clip=True).encode(y=price)
    pointed = under_pointer(alt, base, f"price{place}_hover", [alt.Tooltip("mid:Q", title="middle", format=_NUMBER)])
    quotes = [
        alt.Chart(alt.NamedData(name=f"{side.value}{place}"))
        .mark_line(color=color, strokeWidth=1, opacity=0.55, interpolate="step-after", clip=True)
        .encode(y=alt.Y("price:Q", scale=scale))
        for side, color in ((Side.BUY, colors.BLUE), (Side.SELL, colors.ORANGE))
        if datasets[f"{side.value}{place}"]
    ]
    fills = alt.Chart(alt.NamedData(name=f"fills{place}"))
    kinds = ["buy maker", "buy taker", "sell maker", "sell taker"]
    legend = alt.Legend(orient="top") if place == 0 else None

    def scaled(*values: Any) -> dict[str, Any]:
        return {"scale": alt.Scale(domain=kinds, range=list(values)), "title": None, "legend": legend}

    # Many are small, so that the price is seen between them.
    fill_count = len(datasets[f"fills{place}"])
    size, stroke = next((look for most, look in _LOOKS.items() if fill_count <= most), _LOOK_OF_MANY)
    marks = fills.mark_point(size=size, filled=True, strokeWidth=stroke, opacity=0.9, clip=True).encode(
        y=alt.Y("price:Q", scale=scale),
        shape=alt.Shape("what:N", **scaled(*["triangle-up"] * 2, *["triangle-down"] * 2)),
        # White and not transparent, so that the legend shows it.
        fill=alt.Fill("what:N", **scaled(colors.BLUE, colors.HOLLOW, colors.ORANGE, colors.HOLLOW)),
        stroke=alt.Stroke("what:N", **scaled(colors.BLUE, colors.BLUE, colors.ORANGE, colors.ORANGE)),
        tooltip=[
            alt.Tooltip("what:N", title="fill"),
            alt.Tooltip("price:Q", format=_NUMBER),
            alt.Tooltip("size:Q", format=_NUMBER),
            alt.Tooltip("fills:Q"),
            _when(alt),
        ],
    )
    return alt.layer(band, line, pointed, *quotes, marks).properties(title=title)


def _position_panel(alt: Any, place: int) -> Any:
    base = alt.Chart(alt.NamedData(name=f"position{place}"))
    shared = {
        "title": "position",
        "stack": None,
        "scale": alt.Scale(padding=6),
        "axis": alt.Axis(tickCount=4),
    }
    size = alt.Y("size:Q", **shared)
    area = base.mark_area(color=colors.BLUE, opacity=0.15, interpolate="step-after", clip=True).encode(y=size)
    span = base.mark_area(color=colors.BLUE, opacity=0.3, interpolate="step-after", clip=True).encode(
        y=alt.Y("low:Q", **shared), y2="high:Q"
    )
    line = base.mark_line(color=colors.BLUE, strokeWidth=1.2, interpolate="step-after", clip=True).encode(y=size)
    tips = [alt.Tooltip("size:Q", title="position", format=_NUMBER)]
    return alt.layer(area, span, line, under_pointer(alt, base, f"position{place}_hover", tips))


def _profit_panel(alt: Any, place: int, unit: str) -> Any:
    base = alt.Chart(alt.NamedData(name=f"equity{place}"))
    title, scale = "net profit", alt.Scale(padding=6)
    net = alt.Y("net:Q", title=title, scale=scale, axis=alt.Axis(tickCount=4))
    fall = base.mark_area(color=colors.ORANGE, opacity=0.18, interpolate="step-after", clip=True).encode(
        y=net, y2="peak:Q"
    )
    line = base.mark_line(color=colors.INK, strokeWidth=1.6, interpolate="step-after", clip=True).encode(y=net)
    zero = (
        alt.Chart(alt.NamedData(name=f"equity{place}"))
        .mark_rule(color=colors.FAINT, strokeDash=[3, 3])
        .encode(y=alt.datum(0))
    )
    tips = [
        alt.Tooltip("net:Q", title="net profit", format=",.8~g"),
        alt.Tooltip("peak:Q", title="highest before", format=",.8~g"),
    ]
    pointed = under_pointer(alt, base, f"equity{place}_hover", tips)
    return alt.layer(zero, fall, line, pointed).properties(title=heading(alt, f"Net profit in {unit}"))
