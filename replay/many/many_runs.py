"""Many runs in one pass over a recording, and runs that go on from one state: `backtest_many` and `fork`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from recordings.recording import Recording
from replay.fast.backtesting import run_steps
from replay.fast.step import Step
from replay.many.fork_points import ForkPoint, check_variant
from replay.many.session_passes import run_sessions
from replay.many.step_forks import StepFork
from replay.many.variants import AnyStrategy, Asked, Variant, asked_of, check_assumptions
from replay.results.result import Result
from replay.results.run_record import RunRecord
from replay.strategy.backtesting import RunProgress, pairs_of_run, recordings_of, window_of
from replay.tape import Tape
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.keys import PairKey, PairName, one_or_more
from toolkit.timing.times import Instant, instant_ns

__all__ = ["backtest_many", "fork", "records_of"]

T = TypeVar("T")


def backtest_many(
    strategy: AnyStrategy | None,
    recording: Recording | str | Path | Sequence[Recording | str | Path],
    variants: Iterable[Variant | Mapping[str, Any]],
    *,
    trading_pairs: Collection[PairName] | PairName | None = None,
    venues: Collection[str] | str | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    sealed: bool = False,
    **assumptions: Any,
) -> list[Result]:
    """
    Run many sets of parameters, or many strategies, on a recording in one pass: what is read and decoded feeds all.

    Args:
        strategy: The strategy of all, a class, its file or a step function; None where each variant has its own.
        recording: The recording, or its folder; or several.
        variants: Parameters of each run, by name; or a `Variant`, which may have another strategy, latency, capital, ...
        trading_pairs: As `backtest` has it; likewise the rest, and `assumptions`, which hold for all.
        venues: Only pairs of these venues.
        start_ns: Call them from this time on.
        end_ns: End before the first frame of that time.
        sealed: Leave out what is not sealed yet.

    Returns:
        What came of each, in their order. Each run has an account, orders and state of its own, and its result is that of
        `backtest` with the same assumptions. Classes and step functions are a pass each, as are runs of other pairs.

    Raises as `backtest`.
    """
    check_assumptions("backtest_many", {name: each for name, each in assumptions.items() if name != "parameters"})
    asked = asked_of(strategy, variants, assumptions)
    opened = recordings_of(recording, sealed=sealed)
    records = records_of(
        asked,
        opened,
        one_or_more(trading_pairs),
        one_or_more(venues),
        start_ns=None if start_ns is None else instant_ns(start_ns, "start_ns"),
        end_ns=None if end_ns is None else instant_ns(end_ns, "end_ns"),
    )
    return [Result.of(record, None, opened) for record in records]


def fork(
    strategy: AnyStrategy,
    recording: Recording | str | Path | Sequence[Recording | str | Path],
    variants: Iterable[Variant | Mapping[str, Any]],
    *,
    at: Instant,
    parameters: Mapping[str, Any] | None = None,
    trading_pairs: Collection[PairName] | PairName | None = None,
    venues: Collection[str] | str | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    sealed: bool = False,
    **assumptions: Any,
) -> list[Result]:
    """
    Run a strategy up to an instant, and let variants of it go on from exactly the state that it is in then.

    The state is all there is: books, orders that rest with their places in queues, requests and answers under way, money,
    what the strategy keeps, timers, random numbers. What happens before `at` is common, whatever happens at `at` or later
    is the variant's. A variant that changes nothing gives the result of the run without a fork.

    Args:
        strategy: Strategy up to there, and of variants that name none.
        recording: The recording, or its folder; or several.
        variants: Parameters that change in each, by name; or a `Variant`, which may have another strategy, latency or
            rules of matching besides. Another strategy takes over orders and money, and begins there with a state of its own.
        at: The instant, within the recording.
        parameters: Parameters up to there.
        trading_pairs: As `backtest` has it; likewise the rest, and `assumptions`.
        venues: Only pairs of these venues.
        start_ns: Call it from this time on.
        end_ns: End before the first frame of that time.
        sealed: Leave out what is not sealed yet.

    Returns:
        The whole run of each, common beginning included, in their order; `Result.fork` says where they parted, and has the
        digest of the state there, which is the same in all. The state of a compiled run is copied; a class is run once for
        each variant up to there in the same pass, since nothing else has all of what its objects keep, and its states are
        compared.

    Raises as `backtest`; ConfigError for an instant outside of the tape, and for what cannot change within a run (money,
    fees, capital, ...); StrategyError for a strategy whose runs do not come to one state.
    """
    check_assumptions("fork", assumptions)
    common = {**assumptions, "parameters": parameters}
    opened = recordings_of(recording, sealed=sealed)
    base = asked_of(strategy, [{}], common)[0]
    asked = asked_of(strategy, variants, common)
    records = records_of(
        asked,
        opened,
        one_or_more(trading_pairs),
        one_or_more(venues),
        start_ns=None if start_ns is None else instant_ns(start_ns, "start_ns"),
        end_ns=None if end_ns is None else instant_ns(end_ns, "end_ns"),
        base=base,
        at_ns=instant_ns(at, "at"),
    )
    return [Result.of(record, None, opened) for record in records]


def records_of(
    asked: Sequence[Asked],
    recordings: Sequence[Recording],
    trading_pairs: Collection[PairName] | None,
    venues: Collection[PairName] | None,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    base: Asked | None = None,
    at_ns: int = 0,
    progress: RunProgress | None = None,
) -> list[RunRecord]:
    """
    The records of runs, in their order.

    Args:
        asked: The runs.
        recordings: Recordings that they run on.
        trading_pairs: Pairs of all, as they are named; None for those that each strategy declares, or all.
        venues: Only pairs of these venues.
        start_ns: As `backtest` has it; likewise `end_ns`.
        end_ns: End before the first frame of that time.
        base: Run that all of them are up to `at_ns`; None: they have nothing in common.
        at_ns: The instant at which they part.
        progress: Called while classes are played.
    """
    opened = list(recordings)
    keys = [tuple(pairs_of_run(each.loaded, opened, trading_pairs, venues)) for each in asked]
    if base is not None:
        _check_fork(base, asked, opened, keys, at_ns, start_ns, end_ns)
    plans = [each.plan(list(own)) for each, own in zip(asked, keys, strict=True)]
    records: dict[int, RunRecord] = {}
    for (pairs, is_compiled), places in _grouped(
        [(own, each.step is not None) for own, each in zip(keys, asked, strict=True)]
    ):
        tape = Tape(opened, trading_pairs=list(pairs))
        point = None if base is None else ForkPoint(at_ns, base.plan(list(pairs)))
        mine = [plans[place] for place in places]
        if is_compiled:
            tasks = [(_step(asked[place]), plans[place]) for place in places]
            split = None if base is None or point is None else StepFork((_step(base), point.base), point, tasks)
            found = run_steps(tasks, tape, start_ns=start_ns, end_ns=end_ns, fork=split)
        else:
            found = run_sessions(mine, tape, start_ns=start_ns, end_ns=end_ns, point=point, progress=progress)
        records.update(zip(places, found, strict=True))
    return [records[place] for place in range(len(asked))]


def _step(asked: Asked) -> Step:
    assert asked.step is not None, "it is compiled"
    return asked.step


def _grouped(kinds: Sequence[T]) -> list[tuple[T, list[int]]]:
    groups: dict[T, list[int]] = {}
    for place, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(place)
    return list(groups.items())


def _check_fork(
    base: Asked,
    asked: Sequence[Asked],
    recordings: Sequence[Recording],
    keys: Sequence[tuple[PairKey, ...]],
    at_ns: int,
    start_ns: int | None,
    end_ns: int | None,
) -> None:
    """Raise ConfigError where runs cannot part at an instant."""
    if len(set(keys)) > 1:
        raise ConfigError(
            "the variants of a fork have different pairs; expected one set for all: name them, trading_pairs="
        )
    if len({each.step is None for each in [base, *asked]}) > 1:
        raise ConfigError("a fork is of compiled step functions alone or of classes alone, found both; see in_python()")
    for each in asked:
        check_variant(base.settings, each.given, each.settings)
    tape = Tape(list(recordings), trading_pairs=list(keys[0]))
    first, last = window_of(tape, start_ns, end_ns)
    if not first < at_ns <= last:
        raise ConfigError(
            f"the fork is at {format_ns(at_ns)}, expected a time within the run, after {format_ns(first)} and up to"
            f" {format_ns(last)}"
        )
