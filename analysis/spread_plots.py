"""Pictures of spreads: a panel for each pair, as PNG or as a web page that loads nothing from anywhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from analysis.quote_durations import Progress
from analysis.spread_charts import names_of, spread_chart
from analysis.spread_report import SpreadWindow
from analysis.table_source import KEY, only
from toolkit.borders import html_text, json_in_html
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError

__all__ = ["PANELS_MAX", "SpreadPlot", "bucket_ns", "plot_spreads", "write_chart"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadPlot:
    """
    What was drawn.

    Attributes:
        path: The file.
        pairs: Trading pairs that have a panel, as it is called: of several venues with the venue.
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
    _check_ending(path)
    report = window.report() if report is None else report
    drawable = report.filter(pl.col("valid_s") > 0)
    if drawable.is_empty():
        raise ConfigError(f"nothing to draw: no pair of {window.recording.path} has a quote with both sides")
    busiest = drawable.sort("top_changes", "symbol", "venue", descending=[True, False, False]).head(PANELS_MAX)
    drawn = report.join(busiest.select(KEY), on=KEY, how="semi", maintain_order="left")
    left_out = report.join(drawn.select(KEY), on=KEY, how="anti", maintain_order="left")
    every = bucket_ns(window.end_ns - int(drawn["ts_first"].cast(pl.Int64).min()))  # type: ignore[arg-type]
    series = only(window.series(every, progress), drawn).collect(engine="streaming")
    chart = spread_chart(
        drawn,
        series,
        title=f"Quoted spreads · {window.recording.path.absolute().name}",
        every_ns=every,
        end_ns=window.end_ns,
        left_out=left_out.height,
    )
    write_chart(chart, path)
    names = dict(zip(report.select(KEY).iter_rows(), names_of(report), strict=True))
    panels, others = ([names[key] for key in rows.select(KEY).iter_rows()] for rows in (drawn, left_out))
    return SpreadPlot(path=path, pairs=tuple(panels), left_out=tuple(others), every_ns=every)


def bucket_ns(span_ns: int) -> int:
    """The shortest round length of time of which a panel has room for as many as the span takes."""
    for step in _STEPS:
        if span_ns <= step * _BUCKETS_MAX:
            return step
    return _DAY * -(-span_ns // (_DAY * _BUCKETS_MAX))


def write_chart(chart: dict[str, Any], path: Path) -> None:
    """
    Write a Vega-Lite specification as a picture.

    Raises ConfigError for a name that ends in neither `.png` nor `.html`, or a file that cannot be written.
    """
    _check_ending(path)
    _write(path, _png(chart) if path.suffix.lower() == ".png" else _html(chart))


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in (".png", ".html"):
        raise ConfigError(f"cannot draw {path}: expected a name that ends in .png or .html")


def _png(chart: dict[str, Any]) -> bytes:
    import vl_convert

    try:
        return bytes(vl_convert.vegalite_to_png(chart, scale=2))
    except ValueError as exc:
        raise ConfigError(f"the picture cannot be drawn ({str(exc).splitlines()[0]}); draw a .html") from exc


def _html(chart: dict[str, Any]) -> bytes:
    import vl_convert

    # A menu entry that sends the data to a web site has no place in a page that needs no network.
    chart = {**chart, "usermeta": {"embedOptions": {"actions": {"export": True, "editor": False, "source": False}}}}
    # The page is made around a place for the chart: what is put in by `vl_convert` itself may end the script.
    empty = {"$schema": chart["$schema"], "description": "here"}
    before, found, after = vl_convert.vegalite_to_html(empty, bundle=True).rpartition(json_in_html(empty))
    if not found:
        raise ConfigError("the page cannot be drawn: vl-convert spells its chart in an unknown way; draw a .png")
    # The page is called as the picture is: of ten open ones each has its own name.
    before = re.sub(r"<title>.*?</title>", lambda _: f"<title>{html_text(_title(chart))}</title>", before, count=1)
    return f"{before}{json_in_html(chart)}{after}".encode()


def _title(chart: dict[str, Any]) -> str:
    title = chart.get("title", "")
    return str(title.get("text", "") if isinstance(title, dict) else title)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}") from exc
    finally:
        part.unlink(missing_ok=True)
