"""Pictures of spreads: a panel for each pair, as PNG or as a web page that loads nothing from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from analysis.quote_durations import Progress
from analysis.spread_charts import names_of, spread_chart
from analysis.spread_report import SpreadWindow
from analysis.table_source import KEY, only
from toolkit.errors import ConfigError
from toolkit.pictures.vega_lite import bucket_ns, check_ending, write_chart

__all__ = ["PANELS_MAX", "SpreadPlot", "plot_spreads"]

#: Most pairs in one picture.
PANELS_MAX: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadPlot:
    """
    What was drawn.

    Attributes:
        path: The file.
        pairs: Trading pairs that have a panel, as it is called: of several venues with the venue.
        left_out: Pairs without a plot, because there are more than `PANELS_MAX`; the busiest are drawn.
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
        report: Rows of `window.report()`, if they are at hand.
        progress: Called with the number of rows that were read.

    Raises:
        ConfigError: Another ending, nothing to draw, or the file cannot be written.
    """
    check_ending(path)
    report = window.report() if report is None else report
    drawable = report.filter(pl.col("valid_s") > 0)
    if drawable.is_empty():
        raise ConfigError(f"nothing to draw: no pair of {window.recording.path} has a quote with both sides")
    busiest = drawable.sort("top_changes", "symbol", "venue", descending=[True, False, False]).head(PANELS_MAX)
    drawn = report.join(busiest.select(KEY), on=KEY, how="semi", maintain_order="left")
    left_out = report.join(drawn.select(KEY), on=KEY, how="anti", maintain_order="left")
    every = bucket_ns(window.end_ns - drawn.select(pl.col("ts_first").cast(pl.Int64).min()).item())
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
