"""A strategy of Python on recordings: over the compiled engine where that comes to the same, else by a plain session."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from recordings.recording import Recording
from replay.backtest.exchange import FRAMES_IN_PYTHON
from replay.backtest.gap_policy import GapPolicy
from replay.results.market_study import study_run
from replay.results.result import Result
from replay.results.result_writing import check_folder, write_result
from replay.results.run_record import RunRecord
from replay.strategy.backtesting import (
    Carry,
    Number,
    RunProgress,
    choice,
    pairs_of_run,
    recordings_of,
    run_on_tape,
    settings_of,
)
from replay.strategy.limits import RiskLimits
from replay.strategy.loading import Runnable, load_strategy
from replay.strategy.plan import LATENCY, RunPlan
from replay.strategy.strategy import Strategy
from replay.strategy.watch import CALLBACK_S_MAX
from replay.tape import Fidelity, Tape
from toolkit.errors import ConfigError
from toolkit.kernels.disk_cache import are_compiled
from toolkit.keys import PairName, one_or_more
from toolkit.timing.times import Instant, instant_ns

__all__ = ["backtest", "run_strategy_on_tape", "would_gain"]

#: The engine's kernels on the shelf, see `replay.fast.compiled_step`.
_ENGINE = "engine"


def backtest(
    strategy: type[Strategy] | Runnable | str | Path,
    recording: Recording | str | Path | Sequence[Recording | str | Path],
    *,
    parameters: Mapping[str, Any] | None = None,
    trading_pairs: Collection[PairName] | PairName | None = None,
    venues: Collection[str] | str | None = None,
    start_ns: Instant | None = None,
    end_ns: Instant | None = None,
    seed: int = 0,
    preset: str = "default",
    rules: Mapping[str, str] | None = None,
    latency: str = LATENCY,
    clock_offset_ns: int = 0,
    fees: Mapping[str, Number] | None = None,
    capital: Mapping[str, Number] | None = None,
    gaps: GapPolicy | str = GapPolicy.KEEP,
    limits: RiskLimits | None = None,
    assumed: Mapping[str, Number] | None = None,
    leverage: Number | Mapping[str, Number] | None = None,
    margin: str | Mapping[str, str] | None = None,
    fee_tier: str | None = None,
    fee_volume: Number = 0,
    transfers: Sequence[tuple[Instant, Mapping[str, Number]]] = (),
    carry: Carry | str = Carry.ALL,
    callback_s_max: float = CALLBACK_S_MAX,
    fast: bool | None = None,
    fidelity: Fidelity = "normalized",
    batch_rows: int | None = None,
    sealed: bool = False,
    out: str | Path | None = None,
    replace: bool = False,
) -> Result:
    """
    Run a strategy on a recording, or on several as one.

    Args:
        strategy: The class, or a file that has one.
        recording: The recording, or its folder; or several.
        parameters: Parameters of the strategy, by name.
        trading_pairs: Pairs of the run; None for those that the strategy declares, or all.
        venues: Only pairs of these venues.
        start_ns: Call it from this time on, with the books as they are then.
        end_ns: End before the first frame of that time.
        seed: Seed of `ctx.rng`.
        preset: Rules of matching to begin with, of `replay.market.rules.PRESETS`.
        rules: Rules set otherwise: `{"queue_front": "power", "queue_power": "3"}`.
        latency: `entry=3.5ms,response=2ms`, or `feed`, or both, which are added.
        clock_offset_ns: The venue's clock less ours, which only `feed` depends on.
        fees: `maker` and `taker`, shares of the value (0.0002 is 2 bp); else those of the tier that the volume gives.
        capital: Capital at the start, by currency.
        gaps: Rule for orders across a gap: `keep`, `cancel` or `fail`.
        limits: Limits of risk.
        assumed: `tick`, `lot`, `min_notional`, `contract_value`, `maintenance` and `price_band` in place of what is recorded or known;
            `mark`, which may be `mid`, where no mark price is recorded; `block`, a length of time, where a venue orders what
            arrives within one, and `cancel_blocks`, for how many of them an order may be filled after its cancel by best
            effort; `fee_asset`, which may be `quote`, where buyers pay in what they get.
        leverage: Leverage of all pairs, or by pair: orders are held against the margin that there is, and positions are
            liquidated in the venue's way; None: neither.
        margin: `cross` (the default) or `isolated`, of all pairs or by pair.
        fee_tier: Name of the venue's fee tier at the start, below which the account does not fall.
        fee_volume: Volume before the start that counts for fee tiers, quote currency.
        transfers: Deposits and withdrawals: a time, and amounts by currency, negative for a withdrawal.
        carry: State that is kept from one recording to the next: `all`, or `positions` alone.
        callback_s_max: How long one call of the strategy may compute, seconds; see `Watch`.
        fast: Whether a class is called out of the compiled engine, with the same result, or by a plain session; None: out of the
            engine where that was compiled before and does all that the class asks for.
        fidelity: `raw` or `normalized`; the same comes of both.
        batch_rows: Rows read at a time; the same comes of any number.
        sealed: Leave out what is not sealed yet.
        out: Folder to write the result to; None to write nothing.
        replace: Replace an earlier result that is there.

    Returns:
        What came of it; see `replay.results.result.Result`.

    Raises:
        ConfigError: A setting makes no sense, something is in the way of `out`, or the recordings hold nothing that can be traded.
        StrategyError: The strategy cannot be used, or failed; the message has its file and line.
        RecordingError, SymbolError: A recording cannot be used, a pair is not in it.
    """
    if out is not None:
        check_folder(Path(out), replace=replace)
    loaded = load_strategy(strategy)
    opened = recordings_of(recording, sealed=sealed)
    plan = RunPlan(
        loaded,
        pairs_of_run(loaded, opened, one_or_more(trading_pairs), one_or_more(venues)),
        settings_of(
            parameters=parameters,
            seed=seed,
            preset=preset,
            rules=rules,
            latency=latency,
            clock_offset_ns=clock_offset_ns,
            fees=fees,
            capital=capital,
            gaps=gaps,
            limits=limits,
            assumed=assumed,
            leverage=leverage,
            margin=margin,
            fee_tier=fee_tier,
            fee_volume=fee_volume,
            transfers=transfers,
            callback_s_max=callback_s_max,
        ),
    )
    tape = Tape(opened, trading_pairs=plan.pairs.keys, fidelity=fidelity, batch_rows=batch_rows)
    window: dict[str, Any] = {
        "start_ns": None if start_ns is None else instant_ns(start_ns, "start_ns"),
        "end_ns": None if end_ns is None else instant_ns(end_ns, "end_ns"),
    }
    how = choice("carry", carry, Carry)
    record: RunRecord
    if isinstance(strategy, Runnable):
        record = strategy.run(plan, tape, **window, carry=how)
    else:
        record = run_strategy_on_tape(plan, tape, **window, carry=how, fast=fast)
    if out is not None:
        record.study = study_run(record, opened)
        write_result(record, Path(out), replace=replace)
    return Result.of(record, None if out is None else Path(out), opened)


def run_strategy_on_tape(
    plan: RunPlan,
    tape: Tape,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    carry: Carry = Carry.ALL,
    fast: bool | None = None,
    progress: RunProgress | None = None,
) -> RunRecord:
    """
    Run a strategy on a tape, from its first frame to its last.

    Args:
        plan: Plan of the run.
        tape: Plays the plan's pairs.
        start_ns: The strategy is called from this time on, with the books as they are then.
        end_ns: Nothing is played from the first frame of that time on.
        carry: State that is kept where one recording ends before the next begins.
        fast: Whether it is called out of the compiled engine, which is compiled first where it was not yet; None: where all
            that it does is known to be the same there, the engine was compiled before, and the tape is long enough.
        progress: Called after each batch with its number of messages and the time of the last one.

    Raises ConfigError where the engine is asked for and does not do all of it; see `run_on_tape` for the rest.
    """
    if fast is None and (not are_compiled(_ENGINE) or _frames_of(tape) <= FRAMES_IN_PYTHON):
        fast = False
    if fast is not False:
        wrong = _in_the_way(plan, tape, start_ns, carry)
        if not wrong:
            from replay.fast_classes.running import run_class

            return run_class(plan, tape, end_ns=end_ns, progress=progress)
        if fast:
            raise ConfigError(
                f"the compiled engine does not run {plan.head.strategy} with {wrong}; leave fast=True (--fast) out"
            )
    return run_on_tape(plan, tape, start_ns=start_ns, end_ns=end_ns, carry=carry, progress=progress)[0]


def would_gain(plan: RunPlan, tape: Tape, *, start_ns: int | None, carry: Carry) -> bool:
    """Whether a run would go over the engine, if only that had been compiled."""
    is_long = _frames_of(tape) > FRAMES_IN_PYTHON
    return is_long and not are_compiled(_ENGINE) and not _in_the_way(plan, tape, start_ns, carry)


def _in_the_way(plan: RunPlan, tape: Tape, start_ns: int | None, carry: Carry) -> str:
    """What of a run the engine does not do, in words; empty where it does all of it."""
    from replay.fast_classes.suitable import unsuitable

    if start_ns is not None:
        return "start_ns (--from)"
    return f"carry={carry.value!r}" if carry is not Carry.ALL else unsuitable(plan, tape)


def _frames_of(tape: Tape) -> int:
    return sum(segment.frame_count for each in tape.recordings for segment in each.manifest.segments)
