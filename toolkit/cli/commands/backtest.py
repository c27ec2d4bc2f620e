"""`tickdeck backtest`: own orders against a recorded market."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.run_options import assumed_of, market_options, named_values, offset_ns, run_options
from toolkit.cli.options.shared_options import (
    fork_at_option,
    from_option,
    named_pairs,
    out_folder_option,
    pair_option,
    plot_option,
    report_option,
    sealed_option,
    to_option,
    venue_option,
)
from toolkit.cli.output.results import Output, counted, examples, printing_options, say
from toolkit.cli.output.table_layout import Table
from toolkit.cli.output.unsealed_note import say_unsealed
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from recordings.recording import Recording
    from replay.backtest.running import ScriptRun
    from toolkit.keys import PairKey

__all__ = ["backtest"]

_SIDES: Final = ("buy", "sell")
_ROLES: Final = ("", "maker", "taker")


@click.command(
    epilog=examples(
        "tickdeck backtest maker.py tapes/monday --pair BTC-USD --set half_spread=3",
        "tickdeck backtest maker.py tapes/monday tapes/tuesday --latency entry=3.5ms,response=2ms --out results/maker",
        "tickdeck backtest maker.py tapes/monday --set half_spread=1,2,3 --set size=0.01,0.02",
        "tickdeck backtest maker.py tapes/monday --fork-at 2026-03-02T14:30 --set half_spread=1,2,3",
        "tickdeck backtest maker.py tapes/monday --plot fills.png",
        "tickdeck backtest maker.py tapes/monday --report maker.html",
        "tickdeck backtest maker.py tapes/paper --compare",
        "tickdeck backtest --script orders.json tapes/monday --pair BTC-USD",
        "tickdeck backtest --script orders.json tapes/monday --pair BTC --clock venue --rules hftbacktest",
        "tickdeck backtest --script orders.json tapes/monday --pair BTC --rule queue_front=power --rule queue_power=3",
    )
)
@click.argument("given", nargs=-1, required=True, metavar="[STRATEGY] RECORDING...", type=click.Path(path_type=Path))
@click.option(
    "--script",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Orders and their times, as JSON, instead of a strategy; docs/backtesting.md has the format.",
)
@pair_option
@venue_option
@from_option
@to_option
@market_options
@run_options
@click.option(
    "--clock",
    type=click.Choice(["receive", "venue"]),
    default="receive",
    show_default=True,
    metavar="CLOCK",
    help="With --script: the clock of the simulated venue: receive, ours, as in a live session, or venue, its own.",
)
@click.option(
    "--carry",
    type=click.Choice(["all", "positions"]),
    default="all",
    show_default=True,
    help="What continues from one recording to the next: account and strategy, or the account alone.",
)
@click.option(
    "--fast/--plain",
    default=None,
    help="Call the strategy out of the compiled engine, which is compiled first where it was not yet (once, a minute or "
    "two), or by a plain session; the result is the same. Without either: out of an engine that is there, where that pays.",
)
@fork_at_option
@out_folder_option()
@plot_option
@report_option
@click.option(
    "--reruns/--no-reruns",
    default=True,
    show_default=True,
    help="With --report: run again with another queue, no latency and twice the latency.",
)
@click.option("--replace", is_flag=True, help="Replace an earlier result in the folder of --out.")
@click.option(
    "--compare", is_flag=True, help="Play a paper session again, and report whether the decisions are the same."
)
@sealed_option
@check_option
@printing_options
@click.pass_context
def backtest(
    ctx: click.Context,
    /,
    given: tuple[Path, ...],
    script: Path | None,
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    sealed: bool,
    output: Output,
    **options: Any,
) -> int | None:
    """
    Run a strategy on recordings, or replay a list of orders (--script) against a recorded market.

    A strategy is a Python file with one class derived from tickdeck.Strategy. With --compare the recording is one of
    `tickdeck paper`: settings that are not given here are those of that session, and the exit status is 1 if the
    decisions differ.

    Several values of a parameter (--set half_spread=1,2,3) are a run each, in one pass; with several parameters each value
    goes with each of the others. With --fork-at they are one run until then, with the defaults of these parameters, and go
    on from its state.
    """
    is_strategy = given[0].suffix == ".py"
    if script is None:
        from toolkit.cli.commands.backtest_strategy import run_strategy

        if not is_strategy:
            raise click.UsageError(
                f"the first argument is {str(given[0])!r}, expected the file of a strategy (.py), or --script FILE"
            )
        if options["clock"] != "receive":
            raise click.UsageError("--clock venue is for --script: a strategy trades on our clock, as it does live")
        if len(given) < 2:
            raise click.UsageError("Missing argument 'RECORDING...'.")
        said = frozenset(name for name in options if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE)
        return run_strategy(given[0], given[1:], pairs, venues, options, said, sealed=sealed, output=output)
    _refuse_of_strategies(ctx, is_strategy=is_strategy)
    _replay_script(script, given, pairs, venues, options, sealed=sealed, output=output)
    return None


#: Options that mean nothing to a list of orders.
_OF_STRATEGIES: Final = {
    "parameters": "--set",
    "seed": "--seed",
    "fees": "--fees",
    "capital": "--capital",
    "fee_tier": "--fee-tier",
    "fee_volume": "--fee-volume",
    "leverage": "--leverage",
    "margin": "--margin",
    "transfers": "--transfer",
    "limits": "--limit",
    "callback_s_max": "--callback-max",
    "carry": "--carry",
    "fast": "--fast/--plain",
    "fork_at": "--fork-at",
    "out": "--out",
    "plot": "--plot",
    "report": "--report",
    "reruns": "--reruns",
    "replace": "--replace",
    "compare": "--compare",
    "start_ns": "--from",
    "end_ns": "--to",
}


def _refuse_of_strategies(ctx: click.Context, *, is_strategy: bool) -> None:
    if is_strategy:
        raise click.UsageError("a strategy and --script are both given, expected one of them")
    for name, option in _OF_STRATEGIES.items():
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} is for strategies, and --script has none")


def _replay_script(
    script: Path,
    recordings: tuple[Path, ...],
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    options: Mapping[str, Any],
    *,
    sealed: bool,
    output: Output,
) -> None:
    from recordings.recording import Recording
    from replay.backtest.gap_policy import GapPolicy
    from replay.backtest.latency_settings import parse_latency
    from replay.backtest.running import Clock, run_script
    from replay.backtest.venue_facts import facts_of
    from replay.market.rules import make_rules

    set_rules = named_values(options["rules"], "--rule")
    rules = make_rules(options["preset"], set_rules)
    assumed = assumed_of(options["assume"])
    for name in ("maintenance", "price_band"):
        if name in assumed:
            raise click.UsageError(f"--assume {name} is for strategies: a list of orders is held against neither")
    opened = [Recording.open(folder, sealed=sealed) for folder in recordings]
    say_unsealed(opened)
    pair = _one_pair(opened, pairs, venues)
    if options["clock"] == Clock.RECEIVE and options["preset"] == "default":
        rules = facts_of(pair.venue).apply(rules, but=frozenset(set_rules))
    run = run_script(
        opened,
        pair,
        script,
        clock=Clock(options["clock"]),
        gap_policy=GapPolicy(options["gaps"]),
        rules=rules,
        latency=parse_latency(options["latency"] or "feed"),
        clock_offset_ns=None if options["clock_offset"] is None else offset_ns(options["clock_offset"]),
        assumed=assumed,
    )
    if output.format == "json":
        output.write_object(_facts(run))
    elif output.is_table:
        output.write_tables(*_tables(run))
    else:
        output.write(_fills(run))
    _say_gaps(run)


def _say_gaps(run: ScriptRun) -> None:
    doubt = run.doubt
    for _ in doubt.bookless:
        say(f"{run.pair} never has a whole book there (see `tickdeck gaps`): no order was matched on it", err=True)
    if run.clock == "venue" and run.gaps:
        say(
            f"{counted(run.gaps, 'gap')} (see `tickdeck gaps`): orders were matched across as if nothing was missing",
            err=True,
        )
    elif doubt.uncertain_orders or run.gaps:
        say(
            f"{counted(run.gaps, 'gap')} (see `tickdeck gaps`): {counted(doubt.uncertain_orders, 'order')} rested or came"
            f" while the book was stale, and {counted(doubt.uncertain_fills, 'fill')} of theirs",
            err=True,
        )


def _one_pair(recordings: list[Recording], pairs: tuple[str, ...], venues: tuple[str, ...]) -> PairKey:
    """The one pair that is meant: that of `--pair`, or the only one there is."""
    from toolkit.keys import key_among, named

    keys = sorted({key for recording in recordings for key in recording.keys if not venues or key.venue in venues})
    chosen = {key_among(keys, name) for name in named_pairs(recordings, pairs, venues)} if pairs else set(keys)
    found = sorted(key for key in chosen if key is not None)
    if len(found) != 1:
        there = ", ".join(named(found or keys)[:12]) or "none"
        raise ConfigError(f"{len(found)} pairs are meant, expected one: say --pair, of {there}")
    return found[0]


def _fills(run: ScriptRun) -> pl.DataFrame:
    import polars as pl

    rows = [
        (
            fill.venue_ns,
            fill.order_id,
            _SIDES[fill.side],
            run.scale.price(fill.tick),
            run.scale.size(fill.lots),
            _ROLES[fill.role],
        )
        for fill in run.fills
    ]
    when = "time" if run.clock == "receive" else "venue time"
    names = (when, "order", "side", "price", "size", "role")
    types = (pl.Int64, pl.Int64, pl.String, pl.Float64, pl.Float64, pl.String)
    frame = pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")
    return frame.with_columns(pl.col(when).cast(pl.Datetime("ns")))


def _orders(run: ScriptRun) -> pl.DataFrame:
    import polars as pl

    shown = ("id", "side", "price", "size", "filled", "state", "why", "text")
    rows = [tuple(each[name] for name in shown) for each in _order_facts(run)]
    names = ("order", "side", "price", "size", "filled", "state", "why", "in the venue's words")
    types = (pl.Int64, pl.String, pl.Float64, pl.Float64, pl.Float64, pl.String, pl.String, pl.String)
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def _order_facts(run: ScriptRun) -> list[dict[str, Any]]:
    from replay.market.layout import STATES, Reason

    scales = ((order, order.scale or run.scale) for order in run.orders)
    return [
        {
            "id": order.order_id,
            "side": _SIDES[order.side],
            "price": scale.price(order.tick) if order.tick else None,
            "size": scale.size(order.size),
            "filled": scale.size(order.filled),
            "state": str(STATES.get(order.state, "pending_create")),
            "why": Reason(order.reason).name.lower() if order.reason else "",
            "text": order.text,
            "is_uncertain": order.is_uncertain,
        }
        for order, scale in scales
    ]


def _refused(run: ScriptRun) -> pl.DataFrame:
    """The requests that were not sent, by their rows in the script."""
    import polars as pl

    rows = [
        (row, action.what, action.order_id, why)
        for row, (action, why) in enumerate(zip(run.actions, run.refusals, strict=True), 1)
        if why
    ]
    names = {"row": pl.Int64, "what": pl.String, "order": pl.Int64, "refused": pl.String}
    return pl.DataFrame(rows, schema=names, orient="row")


def _tables(run: ScriptRun) -> list[Table]:
    sent = len(run.actions) - sum(map(bool, run.refusals))
    title = (
        f"{run.pair}: {sent} of {len(run.actions)} requests sent, {counted(len(run.fills), 'fill')};"
        f" position {run.position:f}, cash {round(run.cash, 12).normalize():f} {run.contract.settle} without fees"
    )
    tables = [
        Table(frame=_fills(run), title=title, nothing=title),
        Table(frame=_orders(run), nothing="no order was sent"),
    ]
    return [*tables, Table(frame=_refused(run))] if any(run.refusals) else tables


def _facts(run: ScriptRun) -> dict[str, Any]:
    import msgspec

    return {
        "venue": run.pair.venue,
        "trading_pair": run.pair.trading_pair,
        "tick": f"{run.scale.tick:f}",
        "lot": f"{run.scale.lot:f}",
        "price_figures_max": run.scale.figures,
        "clock": run.clock,
        "rules": msgspec.to_builtins(run.rules),
        "latency": msgspec.to_builtins(run.latency),
        "clock_offset_ns": run.clock_offset_ns,
        "gaps": run.gaps,
        "gap_policy": run.gap_policy,
        "doubt": msgspec.to_builtins(run.doubt),
        "fills": [
            {
                "venue_ns": fill.venue_ns,
                "id": fill.order_id,
                "side": _SIDES[fill.side],
                "price": run.scale.price(fill.tick),
                "size": run.scale.size(fill.lots),
                "role": _ROLES[fill.role],
            }
            for fill in run.fills
        ],
        "orders": _order_facts(run),
        "refused": [{"row": row, "why": why} for row, why in enumerate(run.refusals, 1) if why],
        "position": f"{run.position:f}",
        "cash": f"{run.cash:f}",
        "currency": run.contract.settle,
    }
