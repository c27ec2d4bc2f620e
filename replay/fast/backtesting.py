"""Compiled step functions on a tape: one pass over it feeds any number of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import ColumnBatch, Flag, Kind, Names
from replay.backtest.contracts import is_known, missing_said
from replay.backtest.latency_settings import parse_latency
from replay.backtest.market import Market
from replay.backtest.market_feed import TRADES_KEPT
from replay.column_tape import ColumnTape
from replay.fast.compiled_step import note_engine
from replay.fast.level_columns import counted
from replay.fast.step import Step
from replay.fast.step_run import StepRun
from replay.results.run_record import RunRecord
from replay.strategy.backtesting import Carry, missing_error, told_of, window_of
from replay.strategy.limits import RiskLimits
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.session import TradingSession
from replay.tape import Tape
from toolkit.errors import ConfigError
from toolkit.gc_tuning import rare_collections
from toolkit.messages import Instrument

__all__ = [
    "Feeder",
    "Fork",
    "TradesOnce",
    "can_compile",
    "check_compiled",
    "look_ahead",
    "run_steps",
    "why_not_compiled",
    "with_frames_of_notices",
]

#: Trades that are not matched, whether or not they were there before.
_NOT_NEW: Final = Flag.HISTORY | Flag.DUPLICATE | Flag.UNMATCHED


def check_compiled(plan: RunPlan, step: Step) -> None:
    """
    Raise ConfigError for assumptions that a compiled run does not make; a run in plain Python does.

    A number that is wrong without saying so is worse than none.
    """
    wrong = why_not_compiled(plan)
    if wrong:
        raise ConfigError(
            f"a compiled step function is not run with {wrong}; run it as plain Python, {step.name}.in_python()"
        )


def can_compile(settings: RunSettings) -> bool:
    """Whether a compiled run makes these assumptions."""
    return not _not_compiled(settings)


def why_not_compiled(plan: RunPlan) -> str:
    """What of a plan a compiled run does not assume, in words; empty where it assumes all of it."""
    wrong = _not_compiled(plan.settings)
    if not wrong and len({repr(rules) for rules in plan.rules.values()}) > 1:
        return "venues whose rules of matching differ"
    return wrong


def _not_compiled(settings: RunSettings) -> str:
    latency = parse_latency(settings.latency)
    if latency.follows_feed or latency.trips:
        return f"latency {settings.latency!r}, which is not constant"
    if settings.limits != RiskLimits():
        return "limits of risk"
    if settings.gap_policy.value != "keep":
        return f"gaps={settings.gap_policy.value!r}"
    if settings.leverage or settings.transfers:
        return "leverage or transfers"
    if settings.mark_is_mid:
        return "an assumed mark price"
    return "orders that arrive by the block" if settings.block_ns else ""


#: In place of the number of a frame.
_NO_NUMBER: Final = -1


class Fork(Protocol):
    """Where one run becomes several; see `replay.many.step_forks`."""

    def begin(self, names: Names, session_of: Callable[[RunPlan], TradingSession], starts_ns: int | None) -> StepRun:
        """The run that all of them begin as, whose function is called from `starts_ns` on."""

    def split(self, run: StepRun, batch: ColumnBatch) -> list[StepRun]:
        """Those that go on from there, before the row of the batch that it has reached."""


def run_steps(
    tasks: Sequence[tuple[Step, RunPlan]],
    tape: Tape,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    carry: Carry = Carry.ALL,
    fork: Fork | None = None,
) -> list[RunRecord]:
    """
    Run step functions on a tape, in one pass.

    Args:
        tasks: Function and plan of each run, all of the same pairs.
        tape: Plays these.
        start_ns: Time from which on they are called.
        end_ns: Nothing is played from the first frame of that time on.
        carry: State that is kept where one recording ends before the next begins: all of it.
        fork: Instant up to which they are one run.

    Raises:
        ConfigError: Something is assumed that a compiled run does not do; tick or lot are not known, or the price by which funding
            was to be settled.
        StrategyError: A function failed.
    """
    for step, plan in tasks:
        check_compiled(plan, step)
    if carry is not Carry.ALL:
        raise ConfigError(f"carry={carry.value!r} is of no compiled step function, expected {Carry.ALL.value!r}")
    first_ns, last_ns = window_of(tape, start_ns, end_ns)
    columns = ColumnTape(tape, whole=("trades",) if len(tape.recordings) > 1 else ())
    once = TradesOnce() if len(tape.recordings) > 1 else None
    told = told_of(tape)

    sessions: list[TradingSession] = []

    def session_of(plan: RunPlan) -> TradingSession:
        sessions.append(plan.open(first_ns, recordings=told, waits=True))
        return sessions[-1]

    runs: list[StepRun] = []
    if fork is not None:
        runs.append(fork.begin(columns.names, session_of, start_ns))
    else:
        for step, plan in tasks:
            like = next((each for each in runs if each.step is step), None)
            session = session_of(plan)
            runs.append(StepRun(plan, step, columns.names, session, starts_ns=start_ns, end_ns=end_ns, like=like))
    plan = tasks[0][1]
    look_ahead(tape, runs)
    unknown = [place for place, market in enumerate(runs[0].markets) if not is_known(market)]
    if unknown:
        names, markets = plan.pairs.names, runs[0].markets
        raise missing_error(missing_said([names[place] for place in unknown], [markets[place] for place in unknown]))
    feeder = Feeder(plan.pairs.keys, runs)
    batches = columns.batches(None if start_ns is None else tape.beginning_near(start_ns))
    try:
        with rare_collections():
            for read in batches:
                batch = read if once is None else once.marked(with_frames_of_notices(read))
                places = feeder.places(columns.names.pairs)
                levels = counted(batch, places, feeder.markets, feeder.rescale)
                starts = [0] * len(runs)
                if fork is not None:
                    runs[0].take(batch, places, levels)
                    if not runs[0].has_ended:
                        continue
                    starts = [runs[0].reached] * len(tasks)
                    levels = runs[0].levels  # an instrument may have made them finer
                    runs[:] = fork.split(runs[0], batch)
                    fork = None
                    for run in runs:
                        run.end_at(end_ns)
                for run, start in zip(runs, starts, strict=True):
                    if not run.has_ended:
                        run.take(batch, places, levels, start)
                if all(run.has_ended for run in runs):
                    break
    finally:
        batches.close()
    for run in runs:
        if run.unknown_said:
            raise missing_error(run.unknown_said)
    records = [run.finish(last_ns) for run in runs]
    for session in sessions:
        if session.house is not None:
            session.house.check_prices()
    note_engine()
    return records


def with_frames_of_notices(batch: ColumnBatch) -> ColumnBatch:
    """
    A batch in which what is said between two recordings is of frames of its own, one for each time: it has no number there,
    and would be of one frame.
    """
    are_notices = batch.rows["capture_seq"] == _NO_NUMBER
    if not are_notices.any():
        return batch
    rows = batch.rows.copy()
    rows["capture_seq"][are_notices] = -rows["ts_recv"][are_notices]
    return batch._replace(rows=rows)


class TradesOnce:
    """Trades that several recordings have: the market matched each once, whoever tells of it again."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[tuple[Any, int], None]] = {}

    def marked(self, batch: ColumnBatch) -> ColumnBatch:
        """A batch in which those that were there before are marked as not matched in the book."""
        rows = batch.rows
        is_new = (rows["kind"] == Kind.TRADE) & ((rows["flags"] & _NOT_NEW) == 0) & (rows["pair"] >= 0)
        places = np.flatnonzero(is_new)
        again = []
        for place in places.tolist():
            seen = self._seen.setdefault(int(rows["pair"][place]), {})
            key = (batch.said(place, "trade_id"), int(rows["ts_event"][place]))
            if key in seen:
                again.append(place)
                continue
            seen[key] = None
            if len(seen) > TRADES_KEPT:
                del seen[next(iter(seen))]
        if not again:
            return batch
        rows = rows.copy()
        rows["flags"][again] |= Flag.UNMATCHED
        return batch._replace(rows=rows)


class Feeder:
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
            for markets in run.log.markets_of_all:
                if markets[place] is not first:
                    markets[place].follow(first)
            run.rescale(place, ticks, lots)


def look_ahead(tape: Tape, runs: Sequence[StepRun]) -> None:
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
