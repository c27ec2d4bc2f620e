"""
A report as one page: everything in it, nothing loaded from anywhere, and the same bytes for the same results.

Numbers are text in tables; what the charts draw is in the page once, as JSON that nothing in it can end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from replay.results.comparison import comparison_chart, comparison_tables
from replay.results.report_sections import (
    assumptions,
    data_quality,
    doubt_line,
    execution,
    gap_lines,
    liquidations,
    market_share,
    numbers,
    old_facts,
    profit_table,
    sensitivity,
)
from replay.results.result_plot import page_chart, titled_chart
from toolkit.borders import html_text, json_in_html
from toolkit.clock import NS_PER_MS, format_ns
from toolkit.errors import ConfigError
from toolkit.pictures import colors
from toolkit.pictures.vega_lite import page_scripts, png, write_bytes

if TYPE_CHECKING:
    from replay.results.result import Result
    from replay.results.run_info import RunInfo

__all__ = ["RESULTS_MAX", "report_html", "texts_of", "write_report"]

#: Results beside each other in one page.
RESULTS_MAX: Final = 12
#: What a browser lets the page do: run what is in it, and load nothing. Vega compiles its expressions.
_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
)
#: Metrics that have a table of their own, or stand in the head.
_ELSEWHERE: Final = ("adverse_selection_", "inventory_", "start", "end")
_LETTERS: Final = "ABCDEFGHIJKL"


def write_report(results: Sequence[Result], path: Path, picture: Path | None = None) -> None:
    """
    Write a report of one result, or of several beside each other.

    Args:
        results: Results to show, the first one first.
        path: The page; its name ends in `.html`.
        picture: Where to write its charts, as PNG; None: nowhere.

    Raises ConfigError for another ending, no result or too many, or a file that cannot be written.
    """
    if path.suffix.lower() != ".html":
        raise ConfigError(f"cannot write a report to {path}: expected a name that ends in .html")
    if picture is not None and picture.suffix.lower() != ".png":
        raise ConfigError(f"cannot draw {picture}: expected a name that ends in .png")
    chart = _first_chart(results)
    page, drawn = _page(results, chart).encode(), b""
    if picture is not None:  # before the page is written, which is not left alone where this cannot be drawn
        drawn = png(titled_chart(results[0], chart) if len(results) == 1 else chart)
    write_bytes(path, page)
    if picture is not None:
        write_bytes(picture, drawn)


def letters(count: int) -> str:
    """What results are called beside each other."""
    return _LETTERS[:count]


def report_html(results: Sequence[Result]) -> str:
    """
    The page.

    Raises ConfigError for no result or more than `RESULTS_MAX`.
    """
    return _page(results, _first_chart(results))


def _first_chart(results: Sequence[Result]) -> dict[str, Any]:
    """The chart of a result, or of several beside each other; making it takes longer than the rest of the page."""
    if not 1 <= len(results) <= RESULTS_MAX:
        raise ConfigError(f"{len(results)} results to report, expected 1 to {RESULTS_MAX}")
    return page_chart(results[0]) if len(results) == 1 else comparison_chart(results, letters(len(results)))


def _page(results: Sequence[Result], first: dict[str, Any]) -> str:
    charts: list[dict[str, Any]] = []
    place = _place_chart(first, charts, _span(results[0]) if len(results) == 1 else None)
    body = texts_of(results[0], place) if len(results) == 1 else _beside(results, place, charts)
    title = html_text(" · ".join(dict.fromkeys(name_of(result) for result in results)))
    data = {"charts": charts, "dark": colors.DARK}
    texts = files("replay.results")
    style, script = ((texts / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title>\n<style>\n{style}</style></head>\n<body>\n{body}\n"
        f'<script type="application/json" id="page-data">{json_in_html(data)}</script>\n'
        f"<script>{page_scripts()}</script>\n<script>{script}</script>\n</body></html>\n"
    )


def name_of(result: Result) -> str:
    """A result as it is called: its strategy, and its folder where it has one."""
    return result.info.strategy if result.path is None else f"{result.info.strategy} · {result.path.name}"


def texts_of(result: Result, chart: str = "") -> str:
    """All of a report of one result as HTML, with the place of its chart, if it is to have one."""
    return f"{_doubt(result)}<h1>{html_text(_heading(result))}</h1>{_head(result)}{_sections(result, chart)}"


def _span(result: Result) -> list[int]:
    return [result.info.start_ns, result.info.end_ns]


def _beside(results: Sequence[Result], chart: str, charts: list[dict[str, Any]]) -> str:
    named = list(zip(letters(len(results)), results, strict=True))
    doubts = "".join(_doubt(result, f"{letter}: ") for letter, result in named)
    each = "".join(
        f"<details><summary>{letter}: {html_text(name_of(result))}</summary>"
        f"{_head(result)}{_sections(result, _place_chart(page_chart(result), charts, _span(result)))}</details>"
        for letter, result in named
    )
    heading = f"{len(results)} results beside each other"
    return f"{doubts}<h1>{heading}</h1>{comparison_tables(results, letters(len(results)))}<h2>Net profit</h2>{chart}<h2>Each of them</h2>{each}"


def _heading(result: Result) -> str:
    info = result.info
    pairs = [f"{pair.trading_pair} on {pair.venue}" for pair in info.pairs]
    more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
    return f"{info.strategy} · {', '.join(pairs[:3])}{more}"


def _doubt(result: Result, before: str = "") -> str:
    info = result.info
    of_money = _money_lines(info)
    is_some = bool(info.gaps or info.doubtful_ns or any(account.doubtful_profit_share for account in info.accounts))
    is_some |= bool(info.counts.get("funding_missed"))
    gaps = "".join(f"<li>{html_text(line)}</li>" for line in (*gap_lines(result), *of_money))
    listed = f'<ul class="gaps">{gaps}</ul>' if gaps else ""
    return f'<p class="doubt{" some" if is_some else ""}">{html_text(before + doubt_line(info))}</p>{listed}'


def _money_lines(info: RunInfo) -> list[str]:
    """In words, what of the money rests on nothing, or on facts that are older than the tape."""
    missed = info.counts.get("funding_missed", 0)
    settlements = "1 settlement" if missed == 1 else f"{missed:,} settlements"
    told = f"Funding: no rate or price is recorded of {settlements} while something was held: left out of the profit."
    return [told, *old_facts(info)] if missed else old_facts(info)


def _head(result: Result) -> str:
    info = result.info
    hours = (info.end_ns - info.start_ns) / 3.6e12
    software = ", ".join(version for _, version in sorted(info.software.items()))
    facts = [
        f"{info.kind} of {info.source or info.strategy}",
        f"{format_ns(info.start_ns)} to {format_ns(info.end_ns)}, {hours:,.4g} hours",
        f"decision log {info.log_digest}" if info.log_digest else "no decision log",
        software,
    ]
    return f'<p class="faint">{html_text(" · ".join(filter(None, facts)))}</p>'


def _sections(result: Result, chart: str) -> str:
    from replay.results.result import titled

    parts: Mapping[str, str] = {
        "Result": liquidations(result) + numbers(titled(result.metrics), but=_ELSEWHERE),
        "Where the profit came from": profit_table(result),
        "Own volume and the market's": market_share(result),
        "With other assumptions": sensitivity(result),
        "Over time": chart,
        "Execution": execution(result),
        "Assumptions in force": assumptions(result),
        "Data": data_quality(result),
    }
    return "".join(f"<section><h2>{name}</h2>{content}</section>" for name, content in parts.items())


def _place_chart(chart: dict[str, Any], charts: list[dict[str, Any]], span_ns: Sequence[int] | None) -> str:
    """Put a chart into the page, its data as columns, and a place for it."""
    number = len(charts)
    spec = {name: value for name, value in chart.items() if name not in ("datasets", "domain")}
    domain = chart.get("domain") if span_ns is None else [ns / NS_PER_MS for ns in span_ns]
    datasets = {name: _columns(rows) for name, rows in chart["datasets"].items()}
    charts.append({"spec": spec, "datasets": datasets, "domain": domain})
    buttons = "".join(
        f'<button type="button" data-of="chart{number}" data-zoom="{factor}">{text}</button>'
        for factor, text in (("0.5", "zoom in"), ("2", "zoom out"), ("0", "all"))
    )
    how = "drag to move, Ctrl or Shift and the wheel to zoom, double-click for all; hover for values"
    return (
        f'<div class="tools">{buttons}<small>{how}</small></div>'
        f'<div class="chart" id="chart{number}" data-chart="{number}"></div>'
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of one kind, with each name once."""
    columns = list(rows[0]) if rows else []
    return {"columns": columns, "rows": [[row[name] for name in columns] for row in rows]}
