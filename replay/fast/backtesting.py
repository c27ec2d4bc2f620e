"""Step functions on recordings, and many runs in one pass over them."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import Kind
from recordings.recording import Recording
from replay.backtest.contracts import is_known, missing_said
from replay.backtest.market import Market
from replay.column_tape import ColumnTape
from replay.fast.compiled_step import note_engine
from replay.fast.level_columns import counted
from replay.fast.step import Step
from replay.fast.step_run import StepRun, check_compiled
from replay.results.result import Result
from replay.results.run_record import RunRecord
from replay.strategy.backtesting import (
    Carry,
    check_window,
    missing_error,
    pairs_of_run,
    recordings_of,
    settings_of,
    told_of,
)
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan
from replay.tape import Tape
from toolkit.errors import ConfigError
from toolkit.gc_tuning import rare_collections
from toolkit.keys import PairName, one_or_more
from toolkit.messages import Instrument
from toolkit.timing.times import Instant, instant_ns

__all__ = ["backtest_many", "run_steps"]


def run_steps(
    step: Step,
    plans: Sequence[RunPlan],
    tape: Tape,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    carry: Carry = Carry.ALL,
) -> list[RunRecord]:
    """
    Run a step function on a tape, once for each plan, in one pass.

    Args:
        step: The function.
        plans: Assumptions of each run, for the same pairs.
        tape: Plays these.
        start_ns: Time from which on it is called.
        end_ns: Nothing is played from the first frame of that time on.
        carry: State that is kept where one recording ends before the next begins: all of it.

    Raises:
        ConfigError: Something is assumed that a compiled run does not do; tick or lot are not known.
        StrategyError: The function failed.
    """
    for plan in plans:
        check_compiled(plan, step)
    if carry is not Carry.ALL:
        raise ConfigError(f"carry={carry.value!r} is of no compiled step function, expected {Carry.ALL.value!r}")
    tape.check_frames()
    check_window(tape, start_ns, end_ns)
    first_ns = tape.first_ns if start_ns is None else max(start_ns, tape.first_ns)
    columns = ColumnTape(tape)
    runs: list[StepRun] = []
    for plan in plans:
        session = plan.open(first_ns, recordings=told_of(tape), waits=True)
        like = runs[0] if runs else None
        runs.append(StepRun(plan, step, columns.names, session, starts_ns=start_ns, end_ns=end_ns, like=like))
    _look_ahead(tape, runs)
    unknown = [place for place, market in enumerate(runs[0].markets) if not is_known(market)]
    if unknown:
        names, markets = plans[0].pairs.names, runs[0].markets
        raise missing_error(missing_said([names[place] for place in unknown], [markets[place] for place in unknown]))
    keys = plans[0].pairs.keys
    feeder = _Feeder(keys, runs)
    batches = columns.batches()
    try:
        with rare_collections():
            for batch in batches:
                places = feeder.places(columns.names.pairs)
                levels = counted(batch, places, feeder.markets, feeder.rescale)
                for run in runs:
                    if not run.has_ended:
                        run.take(batch, places, levels)
                if all(run.has_ended for run in runs):
                    break
    finally:
        batches.close()
    for run in runs:
        if run.unknown_said:
            raise missing_error(run.unknown_said)
    last_ns = tape.last_ns if end_ns is None else min(end_ns - 1, tape.last_ns)
    records = [run.finish(last_ns) for run in runs]
    note_engine()
    return records


class _Feeder:
    """What the runs of one pass share: the units in which levels are counted."""

    def __init__(self, keys: Sequence[tuple[str, str]], runs: Sequence[StepRun]) -> None:
        self._keys = {tuple(key): place for place, key in enumerate(keys)}
        self._runs = runs
        self._places: npt.NDArray[np.int64] = np.empty(0, np.int64)

    @property
    def markets(self) -> Sequence[Market]:
        return self._runs[0].markets

    def places(self, pairs: Sequence[tuple[str, str]]) -> npt.NDArray[np.int64]:
        if len(self._places) != len(pairs):
            self._places = np.array([self._keys.get(tuple(pair), -1) for pair in pairs], np.int64)
        return self._places

    def rescale(self, place: int, ticks: int, lots: int) -> None:
        """The first run's market was refined: so are the others', which saw the same."""
        first = self._runs[0].markets[place]
        for run in self._runs:
            if run.markets[place] is not first:
                run.markets[place].follow(first)
            run.rescale(place, ticks, lots)


def _look_ahead(tape: Tape, runs: Sequence[StepRun]) -> None:
    """Count prices in the steps that the first word of each instrument will say: books before it are only looked at."""
    instruments = ColumnTape(
        Tape(tape.recordings, trading_pairs=list(tape.keys), channels=["instruments"]), ahead=False
    )
    waiting = {(key.venue, key.trading_pair) for run in runs[:1] for key in run.keys}
    for batch in instruments.batches():
        for place in range(batch.messages):
            if int(batch.rows["kind"][place]) != Kind.INSTRUMENT:
                continue
            message = batch.message(place)
            key = (message.venue, message.trading_pair)
            if key in waiting and isinstance(message, Instrument):
                waiting.discard(key)
                for run in runs:
                    run.expect(message)
        if not waiting:
            return


def backtest_many(
    strategy: Any,
    recording: Recording | str | Path | Sequence[Recording | str | Path],
    parameter_sets: Sequence[Mapping[str, Any]],
    *,
    trading_pairs: Collection[PairName] | PairName | None = None,
    venues: Collection[str] | str | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    sealed: bool = False,
    **assumptions: Any,
) -> list[Result]:
    """
    Run a step function on a recording once for each set of parameters, in one pass: what is read and decoded feeds all.

    Args:
        strategy: The step function.
        recording: The recording, or its folder; or several.
        parameter_sets: Parameters of each run, by name.
        trading_pairs: As `backtest` has it; likewise the rest, and `assumptions`.
        venues: Only pairs of these venues.
        start_ns: Call it from this time on.
        end_ns: End before the first frame of that time.
        sealed: Leave out what is not sealed yet.

    Returns:
        What came of each, in the order of the sets. Each run has an account, orders and state of its own, and its result
        is that of `backtest` with the same parameters.

    Raises as `backtest`.
    """
    if not isinstance(strategy, Step):
        raise ConfigError(f"backtest_many runs step functions, found {strategy!r}; expected a function under @step")
    if not isinstance(parameter_sets, Iterable):
        raise ConfigError(f"the sets of parameters are {parameter_sets!r}, expected a list, for instance [{{}}]")
    sets = list(parameter_sets)
    if not sets:
        raise ConfigError("no set of parameters, expected at least one; {} is that of the defaults")
    known = inspect.signature(settings_of).parameters.keys() - {"parameters"}
    if unknown := sorted(assumptions.keys() - known):
        raise ConfigError(f"backtest_many has no argument {unknown[0]!r}, expected one of {', '.join(sorted(known))}")
    opened = recordings_of(recording, sealed=sealed)
    loaded = load_strategy(strategy)
    keys = pairs_of_run(loaded, opened, one_or_more(trading_pairs), one_or_more(venues))
    plans = [RunPlan(loaded, keys, settings_of(parameters=each, **assumptions)) for each in sets]
    records = run_steps(
        strategy,
        plans,
        Tape(opened, trading_pairs=keys),
        start_ns=None if start_ns is None else instant_ns(start_ns, "start_ns"),
        end_ns=None if end_ns is None else instant_ns(end_ns, "end_ns"),
    )
    return [Result.of(record, None, opened) for record in records]
