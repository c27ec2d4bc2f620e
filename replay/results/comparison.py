"""Several results beside each other: what differs between them, their numbers, and their profits in one chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from replay.results.plot_data import equity_rows
from replay.results.report_sections import table
from replay.results.result_plot import chart_of_panels, heading, under_pointer
from toolkit.borders import label
from toolkit.clock import NS_PER_MS, format_ns
from toolkit.pictures import colors

if TYPE_CHECKING:
    from replay.results.result import Result
    from replay.results.result_metrics import Metric

__all__ = ["comparison_chart", "comparison_tables"]


def comparison_tables(results: Sequence[Result], letters: str) -> str:
    """Which results they are, what differs between them, and every number of each."""
    from replay.results.result import titled

    who = table(
        ["", "result", "strategy", "from", "to", "recordings"],
        [[letter, *_identity(result)] for letter, result in zip(letters, results, strict=True)],
        texts=6,
    )
    spans = {(result.info.start_ns, result.info.end_ns) for result in results}
    tapes = {msgspec.json.encode([each.get("digest") for each in result.info.recordings]) for result in results}
    unlike = (
        '<p class="warning">They are of different times or recordings, so their numbers are of different markets.</p>'
        if len(spans) > 1 or len(tapes) > 1
        else ""
    )
    differing = _differences(results)
    told = (
        table(["differs", *letters], differing, texts=1 + len(letters))
        if differing
        else '<p class="faint">No setting, parameter or source differs.</p>'
    )
    names: dict[tuple[str, str], str] = {}
    values: list[dict[tuple[str, str], Metric]] = []
    for result in results:
        found = {}
        for title, metric in titled(result.metrics):
            key = (metric.name, metric.wallet)
            names.setdefault(key, title.strip())
            found[key] = metric
        values.append(found)
    rows = [[title, *(each[key].text if key in each else "" for each in values)] for key, title in names.items()]
    return f"{unlike}{who}<h2>What differs</h2>{told}<h2>Numbers</h2>{table(['', *letters], rows)}"


def _identity(result: Result) -> list[str]:
    info = result.info
    tapes = ", ".join(str(each.get("name", "")) for each in info.recordings)
    name = "" if result.path is None else result.path.name
    return [name, info.strategy, format_ns(info.start_ns), format_ns(info.end_ns), tapes]


def _differences(results: Sequence[Result]) -> list[list[str]]:
    """Rows of what was set otherwise."""
    told = [_settings(result) for result in results]
    names = dict.fromkeys(name for each in told for name in each)
    rows = [[name, *(each.get(name, "-") for each in told)] for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def _settings(result: Result) -> dict[str, str]:
    info = result.info
    found: dict[str, Any] = {
        "strategy": info.strategy,
        "source": f"{info.source} {info.source_hash[:12]}".strip(),
        "seed": info.seed,
        "latency": info.latency,
        "gap policy": info.gap_policy,
        **{f"parameter {name}": value for name, value in info.parameters.items()},
        **{name: value for name, value in info.settings.items() if name != "presets"},
        "facts of venues": [[preset.venue, preset.date] for preset in info.presets],
    }
    # A rule that all venues of a run have alike is one setting, so that results of other venues differ in what is different.
    by_venue = {venue: rules for venue, rules in info.rules.items() if isinstance(rules, dict)} or {
        "": dict(info.rules)
    }
    for name in dict.fromkeys(name for rules in by_venue.values() for name in rules):
        values = [rules.get(name) for rules in by_venue.values()]
        if all(value == values[0] for value in values):
            found[f"rule {name}"] = values[0]
        else:
            found |= {f"rule {name}, {venue}": rules.get(name) for venue, rules in by_venue.items()}
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()
        for name, value in found.items()
    }


def comparison_chart(results: Sequence[Result], letters: str) -> dict[str, Any]:
    """Net profit of each account of each result over time; those that do not overlap from their own beginning on."""
    import altair as alt

    first = max(result.info.start_ns for result in results)
    last = min(result.info.end_ns for result in results)
    is_shared = first < last
    assets = list(dict.fromkeys(account.asset for result in results for account in result.info.accounts))
    datasets: dict[str, list[dict[str, Any]]] = {"doubt": []}
    starts = [0 if is_shared else result.info.start_ns for result in results]
    end = max(result.info.end_ns - start for result, start in zip(results, starts, strict=True)) / NS_PER_MS
    begin = min(result.info.start_ns for result in results) / NS_PER_MS if is_shared else 0.0
    panels, lines = [], 0
    for place, asset in enumerate(assets):
        rows: list[dict[str, Any]] = []
        color_of: dict[str, str] = {}
        for letter, result, start in zip(letters, results, starts, strict=True):
            for account in result.info.accounts:
                if account.asset == asset:
                    who = letter if len(result.info.accounts) == 1 else label(f"{letter} {account.name}")
                    # Counted over all panels, so that each line has a colour of its own.
                    color_of[who] = colors.SERIES[lines % len(colors.SERIES)]
                    lines += 1
                    rows += [
                        {"ms": row["ms"] - start / NS_PER_MS, "net": row["net"], "who": who}
                        for row in equity_rows(result, account.name)
                    ]
        datasets[f"net{place}"] = rows
        panels.append(_panel(alt, place, asset, color_of, is_since=not is_shared))
    chart = chart_of_panels(alt, panels, [begin, max(end, begin + 1)], is_since=not is_shared)
    return {**chart, "datasets": datasets, "domain": [begin, max(end, begin + 1)]}


def _panel(alt: Any, place: int, asset: str, color_of: Mapping[str, str], *, is_since: bool) -> Any:
    base = alt.Chart(alt.NamedData(name=f"net{place}"))
    scale = alt.Scale(domain=list(color_of), range=list(color_of.values()))
    color = alt.Color("who:N", scale=scale, title=None, legend=alt.Legend(orient="top"))
    line = base.mark_line(strokeWidth=1.6, interpolate="step-after", clip=True).encode(
        y=alt.Y("net:Q", title="net profit", scale=alt.Scale(padding=6)), color=color
    )
    tips = [alt.Tooltip("who:N", title="result"), alt.Tooltip("net:Q", title="net profit", format=",.8~g")]
    zero = base.mark_rule(color=colors.FAINT, strokeDash=[3, 3]).encode(y=alt.datum(0))
    pointed = under_pointer(alt, base, f"net{place}_hover", tips, is_since=is_since)
    return alt.layer(zero, line, pointed).properties(height=260, title=heading(alt, f"Net profit in {label(asset)}"))
