"""
A compiled run that becomes several: up to an instant there is one engine, and then as many copies of its arrays.

What the run has done by then is taken down once for each of those that it becomes, as it does it, so that each has the
record and the money of a whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from copy import copy
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import ColumnBatch, Kind, Names
from replay.backtest.market import Market
from replay.backtest.venue_facts import facts_of
from replay.fast import kernel_engine
from replay.fast.backtesting import check_compiled
from replay.fast.compiled_step import packed
from replay.fast.engine_layout import Engine, latencies_of
from replay.fast.run_log import Orders, RunLog, Takes
from replay.fast.step import Step
from replay.fast.step_run import StepRun
from replay.many.fork_points import ForkPoint
from replay.many.state_digest import digest_of_engine, digest_of_money
from replay.market.layout import encode_rules
from replay.market.rules import CancelEarly, Rules
from replay.results.run_record import RunRecord
from replay.strategy.plan import RunPlan
from replay.strategy.session import TradingSession
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.messages import Instrument, Message, StreamEvent
from toolkit.timing.clock_jumps import jump_of

__all__ = ["StepFork"]

#: No frame has this number: the next one begins, and ends none.
_NO_FRAME: Final = -(1 << 62)


class StepFork:
    """
    Where one compiled run becomes several.

    Args:
        base: The function, and what is assumed until then.
        point: The instant.
        tasks: Function and plan of each run that it becomes.
    """

    def __init__(self, base: tuple[Step, RunPlan], point: ForkPoint, tasks: Sequence[tuple[Step, RunPlan]]) -> None:
        self._base = base
        self._point = point
        self._tasks = tasks
        self._sessions: list[TradingSession] = []
        self._logs: list[Takes] = []

    def begin(self, names: Names, session_of: Callable[[RunPlan], TradingSession], starts_ns: int | None) -> StepRun:
        """
        The run that all of them begin as, whose function is called from `starts_ns` on.

        Raises ConfigError for what a compiled run does not assume.
        """
        step, plan = self._base
        check_compiled(plan, step)
        self._sessions = [session_of(each) for _, each in self._tasks]
        run = StepRun(plan, step, names, self._sessions[0], starts_ns=starts_ns, end_ns=self._point.at_ns)
        for session, (_, its_plan) in zip(self._sessions, self._tasks, strict=True):
            facts = [facts_of(key.venue) for key in its_plan.pairs.keys]
            self._logs.append(RunLog(its_plan, session, session.exchange.markets, facts))
        run.log = _Tee(self._logs)
        return run

    def split(self, run: StepRun, batch: ColumnBatch) -> list[StepRun]:
        """Those that go on from there, before the row of the batch that it has reached."""
        base_step, base_plan = self._base
        _settle(run, self._point.at_ns, passes_over=_jumps(batch, run.reached))
        found = []
        for (step, plan), session, log in zip(self._tasks, self._sessions, self._logs, strict=True):
            twin = _twin_of(run, session, log)
            state = digest_of_engine(twin.engine, digest_of_money(session))
            self._point.note(state, session)
            _go_on(twin, step, plan, base_step, base_plan, self._point.at_ns)
            found.append(twin)
        return found


def _settle(run: StepRun, at_ns: int, *, passes_over: bool) -> None:
    """Do all that is due before an instant, and end no frame by it: the next one goes on from there."""
    clock = run.engine.hands.clock
    if clock["is_running"][0]:
        run._run(kernel_engine.end_frame)
        if not passes_over:
            run._run(kernel_engine.reach_time_of, at_ns - 1)
        clock["frame"] = _NO_FRAME
    run._drain()


def _twin_of(run: StepRun, session: TradingSession, log: Takes) -> StepRun:
    twin = copy(run)
    twin.engine = copied(run.engine)
    twin.markets, twin.log = session.exchange.markets, log
    twin._heard, twin._open_venues = list(run._heard), set(run._open_venues)
    return twin


def _go_on(run: StepRun, step: Step, plan: RunPlan, base_step: Step, base_plan: RunPlan, at_ns: int) -> None:
    """Go on with another function, other parameters or another latency."""
    engine = run.engine
    clock = engine.hands.clock
    engine.hands.latency[:] = latencies_of(plan.settings.latency)
    rules = next(iter(plan.rules.values()))
    if rules != next(iter(base_plan.rules.values())):
        _change_rules(engine, rules, at_ns)
    run._plan = plan
    run._values = values = {name: plan.head.parameters[name] for name in step.parameters}
    if step is base_step:
        engine.parameters[:] = packed(values)
        return
    run.engine = engine._replace(
        parameters=packed(values),
        state=packed(step.state),
        state_before=packed(step.state),
    )
    clock["wakes"], clock["every"], clock["min_gap"] = int(step.wakes), step.every_ns, step.min_gap_ns
    run.step = step
    vars(run).pop("_pointer", None)
    run._like = None
    if run._has_begun and clock["is_running"][0]:
        clock["now"] = max(int(clock["now"][0]), at_ns)
        run._run(kernel_engine.start_run)


def _change_rules(engine: Engine, rules: Rules, at_ns: int) -> None:
    if engine.core.counters["live"][0]:
        raise ConfigError(
            f"the rules of matching differ, and orders rest at {format_ns(at_ns)}, whose places in queues are by the rules"
            " until then; expected the same rules, or a fork where nothing rests"
        )
    engine.core.rules[:] = encode_rules(rules)
    engine.hands.clock["queues"] = rules.cancel_early is CancelEarly.QUEUED


def copied(engine: Any, known: dict[int, Any] | None = None) -> Any:
    """The same arrays, of their own; what is one array in two places stays one."""
    known = {} if known is None else known
    if not isinstance(engine, np.ndarray):
        return type(engine)(*(copied(each, known) for each in engine))
    if id(engine) not in known:
        known[id(engine)] = engine.copy()
    return known[id(engine)]


def _jumps(batch: ColumnBatch, at: int) -> bool:
    """Whether a row says that the recorder's clock was set: what is due between two frames may then be passed over."""
    if int(batch.rows["kind"][at]) != Kind.EVENT:
        return False
    message = batch.message(at)
    return isinstance(message, StreamEvent) and jump_of(message) is not None


class _Tee:
    """Takes down the beginning that several runs have in common for each of them."""

    def __init__(self, logs: Sequence[Takes]) -> None:
        self._logs = logs
        self.markets_of_all: Sequence[Sequence[Market]] = [each.markets_of_all[0] for each in logs]

    def begin(self, now_ns: int) -> None:
        for log in self._logs:
            log.begin(now_ns)

    def hear_instrument(self, place: int, message: Instrument, now_ns: int) -> None:
        for log in self._logs:
            log.hear_instrument(place, message, now_ns)

    def hear_event(self, event: StreamEvent, now_ns: int) -> None:
        for log in self._logs:
            log.hear_event(event, now_ns)

    def hear_funding(self, place: int, message: Message, now_ns: int) -> int:
        return min([log.hear_funding(place, message, now_ns) for log in self._logs])

    def lose_book(self, place: int, event: StreamEvent, now_ns: int, resting: Orders) -> bool:
        found = [log.lose_book(place, event, now_ns, resting) for log in self._logs]
        return found[0]

    def hear_gap(self, place: int, event: StreamEvent, now_ns: int, resting: Orders, *, is_form: bool) -> bool:
        found = [log.hear_gap(place, event, now_ns, resting, is_form=is_form) for log in self._logs]
        return found[0]

    def lost(self, place: int) -> Collection[str]:
        return self._logs[0].lost(place)

    def take(self, rows: npt.NDArray[np.void]) -> None:
        for log in self._logs:
            log.take(rows)

    def hear_rest(self, now_ns: int) -> None:
        for log in self._logs:
            log.hear_rest(now_ns)

    def close(self) -> None:
        for log in self._logs:
            log.close()

    def finish(self, now_ns: int) -> RunRecord:
        raise AssertionError("what is the beginning of others does not end")
