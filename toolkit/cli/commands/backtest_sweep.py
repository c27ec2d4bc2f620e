"""`tickdeck backtest` with several values of parameters, or with a fork: a row for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from toolkit.cli.options.run_options import named_values, run_settings
from toolkit.cli.options.shared_options import named_pairs
from toolkit.cli.output.results import Output, counted, say
from toolkit.cli.output.run_bar import run_bar
from toolkit.cli.output.run_doubts import say_doubts
from toolkit.cli.output.unsealed_note import say_unsealed
from toolkit.clock import format_ns
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from recordings.recording import Recording
    from replay.many.variants import Asked
    from replay.results.result import Result
    from replay.strategy.loading import LoadedStrategy

__all__ = ["asked_sets", "run_sweep"]

#: What is of one run.
_OF_ONE: Final = {"plot": "--plot", "report": "--report", "compare": "--compare"}
#: Sets beyond which a sweep is a slip of the pen: each run has orders, books and a result in memory.
_SETS_MAX: Final = 10_000


def asked_sets(loaded: LoadedStrategy, options: Mapping[str, Any]) -> list[dict[str, str]]:
    """The sets of parameters that `--set` asks for: each value of each, with each of the others, the last one first."""
    from replay.strategy.parameters import sets_of

    sets = sets_of(loaded.cls, named_values(options["parameters"], "--set"))
    if len(sets) > _SETS_MAX:
        raise ConfigError(
            f"--set asks for {len(sets):,} runs, expected {_SETS_MAX:,} at most; take fewer values at a time"
        )
    return sets


def run_sweep(
    strategy: Path,
    loaded: LoadedStrategy,
    sets: Sequence[Mapping[str, str]],
    folders: Sequence[Path],
    pairs: tuple[str, ...],
    venues: tuple[str, ...],
    options: Mapping[str, Any],
    *,
    sealed: bool,
    output: Output,
) -> int:
    """
    Run a strategy with each set of parameters, in one pass over the recordings.

    Args:
        strategy: Its file.
        loaded: The strategy.
        sets: Sets of parameters.
        folders: Recordings.
        pairs: Pairs as they were named.
        venues: Venues as they were named.
        options: Other options, by their names.
        sealed: Whether to leave out what is not sealed yet.
        output: Where to.

    Returns:
        The exit status.
    """
    from recordings.recording import Recording
    from replay.many.many_runs import records_of
    from replay.results.market_study import study_run
    from replay.results.result import Result
    from replay.results.result_writing import check_folder, write_result

    for name, option in _OF_ONE.items():
        if options[name]:
            raise ConfigError(
                f"{option} is of one run, and {counted(len(sets), 'run')} are asked for; expected one value each"
            )
    if options["carry"] != "all":
        raise ConfigError("--carry positions is of one run; expected one value of each parameter, and no --fork-at")
    varied = [name for name in sets[0] if len({each[name] for each in sets}) > 1]
    names = [",".join(f"{name}={each[name]}" for name in varied) or "run" for each in sets]
    if options["out"] is not None:
        for name in names:
            check_folder(options["out"] / _file_name(name), replace=options["replace"])
    opened = [Recording.open(folder, sealed=sealed) for folder in folders]
    say_unsealed(opened)
    named = named_pairs(opened, pairs, venues) if pairs else None
    settings = run_settings({**options, "parameters": ()})
    asked = [_asked(strategy, loaded, settings, each) for each in sets]
    common = {name: value for name, value in sets[0].items() if name not in varied}
    base = None if options["fork_at"] is None else _asked(strategy, loaded, settings, common)
    first, last = _span(opened, options)
    with run_bar(f"{loaded.cls.__name__}, {counted(len(sets), 'run')}", first, last) as progress:
        records = records_of(
            asked,
            opened,
            named,
            venues or None,
            start_ns=options["start_ns"],
            end_ns=options["end_ns"],
            base=base,
            at_ns=options["fork_at"] or 0,
            progress=progress,
        )
    results = []
    for name, record in zip(names, records, strict=True):
        folder = None if options["out"] is None else options["out"] / _file_name(name)
        if folder is not None:
            record.study = study_run(record, opened)
            write_result(record, folder, replace=options["replace"])
        results.append(Result.of(record, folder, opened))
    _write(results, sets, varied, output)
    say_doubts(results)
    if results[0].fork is not None:
        fork = results[0].fork
        say(f"All went on from one state at {format_ns(fork.at_ns)}, digest {fork.state}", err=True)
    if options["out"] is not None:
        say(f"Written: {counted(len(results), 'result')} in {options['out']}", err=True)
    return 0


def _asked(strategy: Path, loaded: LoadedStrategy, settings: Any, parameters: Mapping[str, str]) -> Asked:
    """One run: compiled, where it is a step function and compiled runs do all that is assumed."""
    import dataclasses

    from replay.fast.backtesting import can_compile
    from replay.many.variants import Asked
    from replay.strategy.loading import load_strategy

    own = dataclasses.replace(settings, parameters=dict(parameters))
    step = getattr(loaded.cls, "step", None)
    if step is not None and can_compile(own):
        return Asked(loaded, step, own)
    # What a file keeps outside of its class is each run's own.
    return Asked(load_strategy(strategy) if step is None else loaded, None, own)


def _span(opened: Sequence[Recording], options: Mapping[str, Any]) -> tuple[int, int]:
    spans = [span for each in opened if (span := each.span) is not None]
    first = max(min((span[0] for span in spans), default=0), options["start_ns"] or 0)
    return first, min(max((span[1] for span in spans), default=0), options["end_ns"] or 1 << 62)


def _file_name(name: str) -> str:
    """A set as the name of a folder."""
    return "".join(each if each.isalnum() or each in "=,.-_+" else "_" for each in name)


def _write(results: Sequence[Result], sets: Sequence[Mapping[str, str]], varied: Sequence[str], output: Output) -> None:
    """A row for each run, in the order of the sets; for programs all numbers of each."""
    if output.format == "json":
        output.write_object([result.summary() for result in results])
        return
    frame = _frame(results, varied)
    output.write(frame, importance=[*varied, *frame.columns[len(varied) :]])


def _frame(results: Sequence[Result], varied: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    rows: list[dict[str, Any]] = []
    for result in results:
        info = result.info
        row: dict[str, Any] = {name: info.parameters[name] for name in varied}
        for account in info.accounts:
            for title, value in (
                ("net", account.net),
                ("fees", account.fees),
                ("funding", account.funding),
                ("max drawdown", account.drawdown_max),
            ):
                row[f"{title} [{account.name}]"] = float(value)
        row["fills"] = sum(pair.maker_fills + pair.taker_fills for pair in info.pairs)
        row["maker"] = sum(pair.maker_fills for pair in info.pairs)
        row["orders"] = result.orders.height
        row["doubtful time"] = info.doubtful_time_share
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in names}, strict=False)
