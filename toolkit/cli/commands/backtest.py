"""`tickdeck backtest`: own orders against a recorded market."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.options.no_check import check_option
from toolkit.cli.options.shared_options import (
    named_pairs,
    pair_option,
    recordings_argument,
    sealed_option,
    venue_option,
)
from toolkit.cli.output.results import Output, counted, examples, output_options, say
from toolkit.cli.output.table_layout import Table
from toolkit.cli.output.unsealed_note import say_unsealed
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from recordings.recording import Recording
    from replay.backtest.running import ScriptRun
    from toolkit.keys import PairKey

__all__ = ["backtest"]

_OFFSET: Final = re.compile(r"(-?)(.+)", re.ASCII)
_SIDES: Final = ("buy", "sell")
_ROLES: Final = ("", "maker", "taker")


@click.command(
    epilog=examples(
        "tickdeck backtest --script orders.json tapes/monday --pair BTC-USD",
        "tickdeck backtest --script orders.json tapes/monday --pair BTC --latency entry=3.5ms,response=2ms",
        "tickdeck backtest --script orders.json tapes/monday --pair BTC --clock venue --rules hftbacktest",
        "tickdeck backtest --script orders.json tapes/monday --pair BTC --rule queue_front=power --rule queue_power=3",
    )
)
@recordings_argument
@click.option(
    "--script",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The orders and their times, as JSON; docs/backtesting.md says how they are written.",
)
@pair_option
@venue_option
@click.option(
    "--rules",
    "preset",
    default="default",
    show_default=True,
    metavar="NAME",
    help="Rules of matching: default, or what hftbacktest does (hftbacktest, hftbacktest-whole).",
)
@click.option(
    "--rule", "settings", multiple=True, metavar="NAME=VALUE", help="One rule set otherwise. May be repeated."
)
@click.option(
    "--clock",
    type=click.Choice(["receive", "venue"]),
    default="receive",
    show_default=True,
    help="Whose clock the simulated venue lives on: ours, as a live session must, or its own.",
)
@click.option(
    "--gaps",
    "gap_policy",
    type=click.Choice(["keep", "cancel", "fail"]),
    default="keep",
    show_default=True,
    help="What becomes of orders that rest across a gap; on the receive clock.",
)
@click.option(
    "--latency",
    default="feed",
    show_default=True,
    metavar="LATENCY",
    help="feed (its own delay each way), entry=3.5ms,response=2ms, both, which are added, or trips=FILE.",
)
@click.option(
    "--clock-offset",
    metavar="DURATION",
    help="The venue's clock less ours, such as 1.27s or -3ms; where it is needed, the error proposes one.",
)
@click.option(
    "--assume",
    multiple=True,
    metavar="NAME=VALUE",
    help="tick=0.1, lot=0.001 or min_notional=10, in place of what the recording says. May be repeated.",
)
@sealed_option
@check_option
@output_options
def backtest(
    recordings: tuple[Path, ...],
    script: Path,
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    preset: str,
    settings: tuple[str, ...],
    clock: str,
    gap_policy: str,
    latency: str,
    clock_offset: str | None,
    assume: tuple[str, ...],
    sealed: bool,
    output: Output,
) -> None:
    """
    Replay a list of orders against a recorded market, and list their fills.

    --json has the state of every order and all assumptions beside the fills.
    """
    from recordings.recording import Recording
    from replay.backtest.gap_policy import GapPolicy
    from replay.backtest.latency_settings import parse_latency
    from replay.backtest.running import Clock, run_script
    from replay.backtest.venue_facts import facts_of
    from replay.market.rules import make_rules

    set_rules = dict(_pair_of(each, "--rule") for each in settings)
    rules = make_rules(preset, set_rules)
    assumed = {
        name: _number(text, f"--assume {name}") for name, text in (_pair_of(each, "--assume") for each in assume)
    }
    for name in assumed:
        if name not in ("tick", "lot", "min_notional"):
            raise ConfigError(f"--assume {name}: no such thing, expected tick, lot or min_notional")
    opened = [Recording.open(folder, sealed=sealed) for folder in recordings]
    say_unsealed(opened)
    pair = _one_pair(opened, pairs, venues)
    if clock == Clock.RECEIVE and preset == "default":
        rules = facts_of(pair.venue).apply(rules, but=frozenset(set_rules))
    run = run_script(
        opened,
        pair,
        script,
        clock=Clock(clock),
        gap_policy=GapPolicy(gap_policy),
        rules=rules,
        latency=parse_latency(latency),
        clock_offset_ns=None if clock_offset is None else _offset_ns(clock_offset),
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


def _pair_of(text: str, option: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise ConfigError(f"{option} {text!r}: expected NAME=VALUE")
    return name.strip(), value.strip()


def _number(text: str, option: str) -> Decimal:
    if not re.fullmatch(r"\d{1,18}(\.\d{1,18})?", text, re.ASCII) or not Decimal(text):
        raise ConfigError(f"{option} is {text!r}, expected a number above 0, for instance 0.1")
    return Decimal(text)


def _offset_ns(text: str) -> int:
    from toolkit.timing.times import duration_ns

    match = _OFFSET.fullmatch(text.strip())
    if match is None:
        raise ConfigError("--clock-offset is empty, expected for instance 1.27s or -3ms")
    if re.fullmatch(r"0(ns|us|ms|s)", match[2]):
        return 0
    length = duration_ns(match[2])
    return -length if match[1] else length


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

    scale = run.scale
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
        for order in run.orders
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
        f" position {run.position:f}, cash {run.cash:f} without fees"
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
    }
