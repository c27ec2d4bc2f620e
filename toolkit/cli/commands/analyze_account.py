"""`tickdeck analyze orders` and `tickdeck analyze pnl`: what a recording says about its accounts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.shared_options import (
    named_pairs,
    pair_option,
    plot_option,
    recording_argument,
    sealed_option,
    venue_option,
)
from toolkit.cli.options.value_types import check_apart
from toolkit.cli.output.instrument_names import account_columns, some_pairs, venue_columns
from toolkit.cli.output.results import Output, counted, examples, output_options, say
from toolkit.cli.output.table_layout import Table
from toolkit.cli.output.unsealed_note import open_sealed
from toolkit.errors import RecordingDamaged

if TYPE_CHECKING:
    import polars as pl

__all__ = ["orders", "pnl", "reading"]


@click.command(
    epilog=examples(
        "tickdeck analyze orders tapes/monday --pair BTC-USD",
        "tickdeck analyze orders tapes/monday --out orders.csv",
    )
)
@recording_argument
@pair_option
@venue_option
@click.option("--history", is_flag=True, help="Include orders that had ended before the account was watched.")
@sealed_option
@check_option
@output_options
def orders(
    recording: Path, pairs: tuple[str, ...], venues: tuple[str, ...], history: bool, sealed: bool, output: Output
) -> None:
    """
    List the orders of the recorded accounts: state, fills, fees, and what they cost against the mid price.

    Slippage is positive where an order did worse than the mid price, negative where it did better. The table shows
    the most important columns, the other formats have all of them.
    """
    import analysis

    with reading(recording):
        opened = open_sealed(recording, sealed)
        names = named_pairs(opened, pairs, venues)
        report = analysis.order_report(opened, pairs=names, venues=venues, with_history=history)
    if output.is_table:
        output.write_tables(_order_table(report))
    else:
        output.write(report)


@click.command(
    epilog=examples(
        "tickdeck analyze pnl tapes/monday --plot pnl.png", "tickdeck analyze pnl tapes/monday --pair BTC-USD --json"
    )
)
@recording_argument
@pair_option
@venue_option
@click.option("--series", is_flag=True, help="A time series instead of totals.")
@plot_option
@sealed_option
@check_option
@output_options
def pnl(
    recording: Path,
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    series: bool,
    plot: Path | None,
    sealed: bool,
    output: Output,
) -> None:
    """
    Sum up profit and loss of the recorded accounts per pair: realised, unrealised, fees and funding.

    Counting starts when an account was first watched; `net` is what the account has gained since.
    """
    import polars as pl

    import analysis

    check_apart({"--out": output.path, "--plot": plot})
    with reading(recording):
        opened = open_sealed(recording, sealed)
        names = named_pairs(opened, pairs, venues)
        # It takes long: made only where it is asked for.
        course_of = partial(analysis.pnl_series, opened, pairs=names, venues=venues)
        report = course_of() if series else analysis.pnl_report(opened, pairs=names, venues=venues)
        course = course_of() if plot is not None and not series else report
    if output.is_table and not series:
        output.write_tables(_pnl_table(report))
        _say_why_unknown(report)
        _say_what_was_held(report)
    else:
        output.write(
            report, nothing="no fills and no positions", importance=("trading_pair", "ts_recv", "net", "position")
        )
    if plot is not None:
        left_out = analysis.plot_pnl(course, plot, title=f"Profit and loss · {recording.absolute().name}")
        say(f"Drawn: {plot}", err=True)
        ends = course.group_by("venue", "account", "symbol", maintain_order=True).last()
        if (unknown := ends.filter(pl.col("net").is_null())).height:
            say(f"A cross ends the line where net is not known any more: {some_pairs(unknown, ends)}.", err=True)
        if left_out:
            say(f"Without a line of its own, for want of room: {counted(left_out, 'pair')}.", err=True)


def _say_why_unknown(report: pl.DataFrame) -> None:
    """A line for each reason for which the profit of a pair is not known."""
    import polars as pl

    reason = (
        pl.when(pl.col("position_end").is_null())
        .then(pl.lit("its fills do not explain the position that the venue states"))
        .when(pl.col("fees").is_null())
        .then(pl.lit("a fee was paid in an asset that has no price in the recording; record a pair of it too"))
        .when(pl.col("unrealized_start").is_null())
        .then(pl.lit("the entry price of the position that was there at the start is not recorded"))
        .when(pl.col("unrealized_end").is_null())
        .then(pl.lit("its position has no price in the recording; record that pair too"))
        .otherwise(pl.lit("what its fills realised is not known"))
    )
    unknown = report.filter(pl.col("net").is_null()).with_columns(reason.alias("reason"))
    for (text,), rows in unknown.group_by("reason", maintain_order=True):
        say(f"net of {some_pairs(rows, report)} is empty: {text}", err=True)


def _say_what_was_held(report: pl.DataFrame) -> None:
    """A line if an account held something at the start whose gain is in no row."""
    import polars as pl

    held = report.filter(pl.col("held_start").abs() > 0)
    for (size,), rows in held.group_by("held_start", maintain_order=True):
        say(
            f"{some_pairs(rows, report)}: {size:g} of the base were held when the account was first watched; "
            "position and net do not include them",
            err=True,
        )


@contextmanager
def reading(recording: Path) -> Iterator[None]:
    """Say in one error what within the block cannot be read of a recording. Raises RecordingDamaged."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise RecordingDamaged(f"{recording} cannot be read: {str(exc).splitlines()[0]}") from exc


def _order_table(report: pl.DataFrame) -> Table:
    import polars as pl

    shown = report.select(
        pl.col("ts_created").alias("created"),
        *venue_columns(report),
        *account_columns(report),
        pl.col("trading_pair").alias("pair"),
        "side",
        _order_type().alias("type"),
        "state",
        "price",
        "size",
        "filled",
        pl.col("average_price").round_sig_figs(9).alias("average"),
        # One column: neither says anything without the other.
        pl.concat_str(pl.col("fee").round_sig_figs(6), pl.lit(" "), pl.col("fee_asset")).alias("fee"),
        pl.col("life_s").round(3).alias("seconds"),
        pl.col("slippage_decision_bps").round(3).alias("bps to decision"),
        pl.col("slippage_fill_bps").round(3).alias("bps to fill"),
    )
    return Table(
        frame=shown,
        title="Orders; slippage against the mid price in bps: above 0 it was worse than mid, below 0 better",
        importance=(
            "pair",
            "venue",
            "account",
            "side",
            "type",
            "filled",
            "average",
            "state",
            "created",
            "size",
            "price",
            "bps to decision",
            "fee",
        ),
        nothing="no orders",
    )


def _order_type() -> pl.Expr:
    """Type and time in force in one column, such as `limit gtc`: neither says alone how an order was meant."""
    import polars as pl

    words = pl.concat_str("order_type", "time_in_force", separator=" ", ignore_nulls=True).str.strip_chars()
    return pl.when(words != "").then(words)


def _pnl_table(report: pl.DataFrame) -> Table:
    import polars as pl

    shown = report.select(
        *venue_columns(report),
        *account_columns(report),
        pl.col("trading_pair").alias("pair"),
        pl.col("fill_count").alias("fills"),
        pl.col("turnover").round(2),
        *(pl.col(name).round(6) for name in ("realized", "fees", "funding")),
        (pl.col("unrealized_end") - pl.col("unrealized_start")).round(6).alias("unrealized change"),
        pl.col("net").round(6),
        "currency",
        pl.col("position_end").alias("position"),
    )
    return Table(
        frame=shown,
        title="Profit and loss since the account was watched",
        importance=(
            "account",
            "pair",
            "venue",
            "net",
            "currency",
            "position",
            "realized",
            "unrealized change",
            "fees",
            "funding",
            "fills",
        ),
        nothing="no fills and no positions",
    )
