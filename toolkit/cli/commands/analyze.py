"""`tickdeck analyze`: what a recording says about its markets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from toolkit.cli.commands.analyze_account import orders, pnl, reading
from toolkit.cli.groups import OptionsAnywhere
from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.shared_options import (
    from_option,
    named_pairs,
    pair_option,
    plot_option,
    recording_argument,
    sealed_option,
    to_option,
    venue_option,
)
from toolkit.cli.options.value_types import Duration, check_apart
from toolkit.cli.output.instrument_names import some_pairs, venue_columns
from toolkit.cli.output.results import CONTEXT_SETTINGS, Output, counted, examples, output_options, progress_bar, say
from toolkit.cli.output.table_layout import Table, some
from toolkit.cli.output.unsealed_note import open_sealed

if TYPE_CHECKING:
    import polars as pl

    from analysis import SpreadWindow

__all__ = ["analyze"]


@click.group(
    cls=OptionsAnywhere, context_settings=CONTEXT_SETTINGS, epilog=examples("tickdeck analyze spreads tapes/monday")
)
def analyze() -> None:
    """Measure what a recording says about its markets."""


@analyze.command(
    epilog=examples(
        "tickdeck analyze spreads tapes/monday --plot spreads.png",
        "tickdeck analyze spreads tapes/monday --pair BTC-USD --every 1s --out btc.csv",
    )
)
@recording_argument
@pair_option
@venue_option
@from_option
@to_option
@click.option(
    "--every",
    "every_ns",
    type=Duration(),
    metavar="DURATION",
    help="A series instead of a summary: one row per 1s, 5m, 1h, ...",
)
@click.option(
    "--clock",
    type=click.Choice(["recv", "event"]),
    default="recv",
    show_default=True,
    help="Clock to measure by: recv, our time of receipt, or event, the venue's own time.",
)
@plot_option
@sealed_option
@check_option
@output_options
def spreads(
    recording: Path,
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    start_ns: int | None,
    end_ns: int | None,
    every_ns: int | None,
    clock: str,
    plot: Path | None,
    sealed: bool,
    output: Output,
) -> None:
    """
    Measure the quoted spread of each pair, weighted by time.

    A quote counts for as long as it stood. Time during which the book was stale, one-sided or crossed is excluded, and
    its share is reported. The table shows the most important columns; the other formats have all of them. Frames that
    are not sealed yet are left out, and a note on stderr says how many.
    """
    import analysis

    check_apart({"--out": output.path, "--plot": plot})
    with reading(recording):
        opened = open_sealed(recording, sealed)
        window = analysis.spread_window(
            opened,
            pairs=named_pairs(opened, pairs, venues),
            venues=venues,
            start_ns=start_ns,
            end_ns=end_ns,
            clock="event" if clock == "event" else "recv",
        )
        if every_ns is not None:
            _write_series(window, every_ns, output)
        else:
            _write_report(window, output)
        if plot is not None:
            _draw(window, plot)


def _write_series(window: SpreadWindow, every_ns: int, output: Output) -> None:
    import analysis

    with progress_bar("Measuring spreads", window.row_count()) as advance:
        batches = window.series(every_ns, advance).collect_batches(maintain_order=True, lazy=True, engine="streaming")
        output.write(batches, schema=analysis.SERIES_SCHEMA, nothing="no quotes", importance=_OF_SERIES)


def _write_report(window: SpreadWindow, output: Output) -> None:
    with progress_bar("Measuring spreads", window.row_count()) as advance:
        report = window.report(advance)
    _warn_of_silence(report)
    _warn_of_quotes_alone(window, report)
    if output.is_table:
        tables = _tables(report)
        # Two tables of nothing would hide the third one, which says why.
        is_empty = report.height > 0 and not (report["valid_s"] > 0).any()
        output.write_tables(*(tables[-1:] if is_empty else tables))
    else:
        output.write(report)


def _warn_of_silence(report: pl.DataFrame) -> None:
    """Say which books sent nothing for a long time before the end: their last quote was held all the same."""
    import polars as pl

    silent_s = (pl.col("ts_last") - pl.col("ts_book_last")).dt.total_seconds()
    silent = report.with_columns(silent_s.alias("silent_s")).filter(
        (pl.col("silent_s") > 60) & (pl.col("silent_s") > pl.col("covered_s") / 10)
    )
    if silent.height:
        first = silent.row(0, named=True)
        say(
            f"No message of the book in the last {first['silent_s']:,} s of {some_pairs(silent.head(1), report)}"
            + (f" and of {counted(silent.height - 1, 'other pair')} alike" if silent.height > 1 else "")
            + ": the last quote is held until the end; --to ends earlier.",
            err=True,
        )


def _warn_of_quotes_alone(window: SpreadWindow, report: pl.DataFrame) -> None:
    """Report the pairs whose spread cannot be measured, and why."""
    import polars as pl

    without = report.filter(pl.col("valid_s").fill_null(0.0) == 0)
    for rows, why in (
        (
            without.filter((pl.col("book_messages") == 0) & (pl.col("quotes") > 0)),
            _QUOTES_ALONE.format(window.recording.path),
        ),
        (
            without.filter((pl.col("book_messages") > 0) | (pl.col("quotes") == 0)),
            "their book was stale, one-sided or crossed all the time",
        ),
    ):
        if rows.height:
            say(f"No spread of {some_pairs(rows, report)}: {why}.", err=True)


def _draw(window: SpreadWindow, path: Path) -> None:
    import analysis

    with progress_bar("Drawing", window.row_count()) as advance:
        drawn = analysis.plot_spreads(window, path, progress=advance)
    say(f"Drawn: {path}", err=True)
    if drawn.left_out:
        say(f"Not drawn, for want of room or of quotes: {some(drawn.left_out, 10)}; choose with --pair.", err=True)


_QUANTILES: Final = {"mean": "mean", "median": "median", "p05": "5 %", "p25": "25 %", "p75": "75 %"} | {
    "p95": "95 %",
    "p99": "99 %",
    "min": "min",
    "max": "max",
}
_OF_SERIES: Final = ("trading_pair", "ts", "spread_bps", "spread_bps_max", "spread", "mid_close", "stale_share")
_QUOTES_ALONE: Final = (
    "the recording has their quotes and no book, whose state says whether a quote is valid; record a channel of books "
    "too, or ask the quotes themselves: tickdeck sql {} "
    "'SELECT trading_pair, avg(ask_price - bid_price) FROM bbo GROUP BY ALL'"
)
_IMPORTANT: Final = (
    "pair",
    "venue",
    "mean",
    "median",
    "95 %",
    "max",
    "5 %",
    "99 %",
    "% at one tick",
    "25 %",
    "75 %",
    "min",
)


def _tables(report: pl.DataFrame) -> list[Table]:
    """The columns that matter most, in three tables with a row for each pair."""
    import polars as pl

    name = pl.col("trading_pair")
    names = [*venue_columns(report), name.alias("pair")]

    def percent(column: str) -> pl.Expr:
        return (pl.col(column) * 100).round_sig_figs(4)

    bps = report.select(
        *names,
        *(pl.col(f"spread_bps_{key}").round_sig_figs(4).alias(label) for key, label in _QUANTILES.items()),
        percent("one_tick_share").alias("% at one tick"),
    )
    price = report.select(
        *names,
        *(pl.col(f"spread_{key}").round_sig_figs(6).alias(label) for key, label in _QUANTILES.items()),
        "tick",
        pl.col("mid_mean").round_sig_figs(9).alias("mid price"),
    )
    time = report.select(
        *names,
        pl.col("covered_s").round(1).alias("seconds"),
        percent("stale_share").alias("% stale"),
        percent("one_sided_share").alias("% one-sided"),
        percent("crossed_share").alias("% crossed"),
        pl.col("top_changes").alias("top changes"),
        pl.col("book_messages").alias("book messages"),
        "quotes",
        pl.col("trades_new").alias("trades"),
        pl.col("trades_history").alias("history"),
        pl.col("trades_duplicate").alias("duplicates"),
    )
    return [
        Table(
            frame=bps,
            title="Quoted spread, basis points of the mid price, weighted by time",
            importance=_IMPORTANT,
            nothing="no quotes",
        ),
        Table(
            frame=price,
            title="Quoted spread, quote currency",
            importance=(*_IMPORTANT, "tick", "mid price"),
            nothing="no quotes",
        ),
        Table(
            frame=time,
            title="Time and updates",
            importance=("pair", "venue", "seconds", "% stale", "top changes", "trades", "% one-sided", "% crossed"),
            nothing="no quotes",
        ),
    ]


analyze.add_command(orders)
analyze.add_command(pnl)
