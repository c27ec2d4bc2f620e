"""`tickdeck backtest` of a strategy: what came of it, or how it compares with its paper session."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from toolkit.cli.commands.backtest_sweep import asked_sets, run_sweep
from toolkit.cli.options.run_options import run_settings
from toolkit.cli.options.shared_options import named_pairs
from toolkit.cli.options.value_types import check_apart, check_output
from toolkit.cli.output.results import Output, counted, say, say_facts
from toolkit.cli.output.run_bar import run_bar
from toolkit.cli.output.run_doubts import say_doubts
from toolkit.cli.output.unsealed_note import say_unsealed
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from recordings.recording import Recording
    from replay.paper.comparing import Comparison
    from replay.results.result import Result
    from replay.results.run_record import RunRecord
    from replay.strategy.loading import LoadedStrategy
    from replay.strategy.plan import RunPlan, RunSettings

__all__ = ["run_strategy"]

#: Options whose settings have the same name in `RunSettings`, where that differs from theirs.
_FIELDS: Final = {
    "gaps": "gap_policy",
    "assume": "assumed",
    "clock_offset": "clock_offset_ns",
}


def run_strategy(
    strategy: Path,
    folders: Sequence[Path],
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    options: Mapping[str, Any],
    said: frozenset[str],
    *,
    sealed: bool,
    output: Output,
) -> int:
    """
    Run a strategy on recordings.

    Args:
        strategy: Its file.
        folders: The recordings.
        pairs: Pairs as they were named.
        venues: Venues as they were named.
        options: The other options, by their names.
        said: Options that were given, and not left at their defaults.
        sealed: Whether to leave out what is not sealed yet.
        output: Where to.

    Returns:
        The exit status.
    """
    from recordings.recording import Recording
    from replay.results.market_study import study_run
    from replay.results.result import Result
    from replay.results.result_writing import check_folder, write_result
    from replay.strategy.backtesting import pairs_of_run
    from replay.strategy.loading import load_strategy
    from replay.strategy.plan import RunPlan

    report: Path | None = options["report"]
    picture = None if report is None else report.with_suffix(".png")
    if picture is not None:
        check_output(picture)
    check_apart(
        {"--out": options["out"], "--plot": options["plot"], "--report": report, "the charts of --report": picture}
    )
    loaded = load_strategy(strategy)
    sets = asked_sets(loaded, options)
    if options["fast"] and (len(sets) > 1 or options["fork_at"] is not None or options["compare"]):
        raise click.UsageError("--fast is for one run: many in one pass, --fork-at and --compare are plain sessions")
    if len(sets) > 1 or options["fork_at"] is not None:
        return run_sweep(strategy, loaded, sets, folders, pairs, venues, options, sealed=sealed, output=output)
    settings = run_settings(options)
    if options["out"] is not None:
        check_folder(options["out"], replace=options["replace"])
    opened = [Recording.open(folder, sealed=sealed) for folder in folders]
    say_unsealed(opened)
    if options["compare"]:
        return _compare(strategy, opened, pairs, venues, settings, options, said, output)
    named = named_pairs(opened, pairs, venues) if pairs else None
    plan = RunPlan(loaded, pairs_of_run(loaded, opened, named, venues), settings)
    record = _run(plan, opened, options, loaded.cls.__name__, fast=options["fast"])
    record.study = study_run(record, opened)
    if options["out"] is not None:
        write_result(record, options["out"], replace=options["replace"])
    with _kept(options["out"]):
        if options["report"] is not None and options["reruns"]:
            _run_again(loaded, plan, record, opened, options)
            if options["out"] is not None:  # it was there before, so that nothing is lost where these are given up
                write_result(record, options["out"], replace=True)
        result = Result.of(record, options["out"], opened)
        write_run(result, output)
        say_doubts([result])
        if options["plot"] is not None:
            result.plot(options["plot"])
            say(f"Drawn: {options['plot']}", err=True)
        if report is not None and picture is not None:
            result.report(report, picture)
            say(f"Written: {report}, and its charts as {picture.name}", err=True)
    return 0


@contextmanager
def _kept(folder: Path | None) -> Iterator[None]:
    """Where what follows is interrupted, say that the result is written and may be used."""
    try:
        yield
    except KeyboardInterrupt:
        if folder is not None:
            say(f"The result is in {folder}, whole; what was to follow it is not", err=True)
        raise


def _run(
    plan: RunPlan, opened: Sequence[Recording], options: Mapping[str, Any], name: str, *, fast: bool | None
) -> RunRecord:
    from replay.fast_classes.strategy_backtest import run_strategy_on_tape, would_gain
    from replay.strategy.backtesting import Carry
    from replay.tape import Tape

    tape = Tape(list(opened), trading_pairs=plan.pairs.keys)
    first = tape.first_ns if options["start_ns"] is None else max(options["start_ns"], tape.first_ns)
    last = tape.last_ns if options["end_ns"] is None else min(options["end_ns"], tape.last_ns)
    carry = Carry(options["carry"])
    if fast is None and would_gain(plan, tape, start_ns=options["start_ns"], carry=carry):
        say(
            "tickdeck: --fast compiles an engine once, in a minute or two; runs such as this take less time then",
            err=True,
        )
    with run_bar(name, first, last) as progress:
        return run_strategy_on_tape(
            plan,
            tape,
            start_ns=options["start_ns"],
            end_ns=options["end_ns"],
            carry=carry,
            fast=fast,
            progress=progress,
        )


def _run_again(
    loaded: LoadedStrategy,
    plan: RunPlan,
    record: RunRecord,
    opened: Sequence[Recording],
    options: Mapping[str, Any],
) -> None:
    """Make the run again with other assumptions, and keep what comes of it with what was measured."""
    import msgspec

    from replay.reports.clock_comparison import clocks
    from replay.reports.sensitivity import rerun
    from replay.results.run_info import run_info

    def again(other: RunPlan, title: str) -> RunRecord:
        # With assumptions that the engine may not make.
        return _run(other, opened, options, title, fast=None if options["fast"] else options["fast"])

    base = run_info(record)
    found = list(rerun(loaded, plan.pairs.keys, plan, base, again))
    found += clocks(record, base, plan, opened, is_whole=options["end_ns"] is None)
    assert record.study is not None
    record.study = msgspec.structs.replace(record.study, reruns=found)


def _compare(
    strategy: Path,
    opened: Sequence[Recording],
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    settings: RunSettings,
    options: Mapping[str, Any],
    said: frozenset[str],
    output: Output,
) -> int:
    """Compare a paper session with its replay."""
    from replay.paper.comparing import compare
    from replay.paper.log_file import PaperLog, paper_logs
    from replay.strategy.loading import load_strategy
    from replay.strategy.plan import RunPlan
    from toolkit.keys import PairKey

    for name, option in (
        ("start_ns", "--from"),
        ("end_ns", "--to"),
        ("out", "--out"),
        ("plot", "--plot"),
        ("report", "--report"),
    ):
        if options[name] is not None:
            raise ConfigError(f"{option} and --compare do not go together: all of a paper session is compared")
    if pairs or venues:
        raise ConfigError("--pair and --venue do not go with --compare: the pairs are those of the paper session")
    if len(opened) != 1:
        raise ConfigError(f"{len(opened)} recordings and --compare: a paper session is in one, name that")
    logs = paper_logs(opened[0].path)
    if not logs:
        raise ConfigError(f"{opened[0].path} holds no paper session: `tickdeck paper` records one")
    loaded = load_strategy(strategy)
    status = 0
    for path in logs:
        paper = PaperLog(path)
        keys = [PairKey(*pair) for pair in paper.start.head.pairs]
        plan = RunPlan(loaded, keys, _of_session(paper.start.settings, settings, said))
        status |= _say_comparison(path, compare(paper, plan, opened[0]), output)
    return status


def _of_session(paper: RunSettings, given: RunSettings, said: frozenset[str]) -> RunSettings:
    """The settings of a paper session, with those that were given in their place; names of mappings are set one by one."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(given):
        option = next((option for option, name in _FIELDS.items() if name == field.name), field.name)
        option = "assume" if field.name in ("mark_is_mid", "block_ns", "cancel_blocks", "fees_in_quote") else option
        if option not in said:
            continue
        value = getattr(given, field.name)
        changes[field.name] = {**getattr(paper, field.name), **value} if isinstance(value, Mapping) else value
    return dataclasses.replace(paper, **changes)


def _say_comparison(path: Path, comparison: Comparison, output: Output) -> int:
    from replay.paper.comparing import described

    if output.format == "json":
        difference = comparison.difference
        output.write_object(
            {
                "paper": str(path),
                "is_equal": comparison.is_equal,
                "rows": comparison.rows,
                "paper_digest": comparison.paper_digest,
                "replay_digest": comparison.replay_digest,
                "settings": [list(each) for each in comparison.settings],
                "difference": None
                if difference is None
                else {
                    "row": difference.number,
                    "what": difference.what,
                    "paper": described(difference.paper),
                    "replay": described(difference.replay),
                    "before": described(difference.before),
                },
                "notes": comparison.notes,
            }
        )
        return 0 if comparison.is_equal else 1
    say(f"paper   {path}")
    if comparison.is_equal:
        say(f"equal   {counted(comparison.rows, 'row')} of the decision log, digest {comparison.replay_digest}")
    for name, one, other in comparison.settings:
        say(f"setting {name}: {one} on paper, {other} here")
    difference = comparison.difference
    if difference is not None:
        say(f"row {difference.number} of the decision log differs: {difference.what}")
        say(f"  paper   {described(difference.paper)}")
        say(f"  replay  {described(difference.replay)}")
        say(
            f"  before  {described(difference.before) if difference.before is not None else 'nothing: it is the first row'}"
        )
    elif comparison.settings:
        say(f"no effect: all {counted(comparison.rows, 'row')} are equal, but for the settings")
    for note in comparison.notes:
        say(f"note    {note}")
    return 0 if comparison.is_equal else 1


def _text(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def write_run(result: Result, output: Output) -> None:
    """Print what came of a run, what may be doubted first; for programs each number with its unit and definition."""
    import polars as pl

    from replay.results.result import summary_table

    if output.format == "json":
        output.write_object(result.summary())
    elif output.is_table:
        say_facts(summary_table(result))
    else:
        rows = [
            (
                metric.name,
                metric.wallet,
                None if metric.value is None else _text(metric.value),
                metric.unit,
                metric.definition,
                metric.source,
            )
            for metric in result.metrics
        ]
        columns = ("name", "wallet", "value", "unit", "definition", "source")
        output.write(pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row"))
