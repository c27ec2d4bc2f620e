"""What a run of a strategy on recordings is made of, and the run itself by a plain session."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from recordings.queries.pair_names import pairs_named
from recordings.recording import Recording
from replay.backtest.desk import VenueDesk
from replay.backtest.exchange import FRAMES_IN_PYTHON
from replay.backtest.gap_policy import GapPolicy
from replay.clearing.house_settings import Transfer
from replay.clearing.money_settings import CHOICES, check_transfer_times, choices_of
from replay.column_tape import ColumnTape
from replay.ledger.margin_rules import MarginMode
from replay.results.run_record import RunRecord
from replay.strategy.limits import RiskLimits
from replay.strategy.loading import LoadedStrategy
from replay.strategy.plan import ASSUMABLE, FEES, LATENCY, RunPlan, RunSettings
from replay.strategy.session import Phase, TradingSession
from replay.strategy.watch import CALLBACK_S_MAX
from replay.stretches.stretch_player import StretchPlayer
from replay.tape import NOTICES, Batch, Tape
from toolkit.accounts.exact_sums import decimal_of
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.gc_tuning import rare_collections
from toolkit.keys import PairKey, PairName, key_among, named
from toolkit.timing.timers import NEVER_NS
from toolkit.timing.times import Instant, instant_ns

#: Numbers as they are written in Python; a float is the shortest decimal that it is.
Number = Decimal | float | str
Choice = TypeVar("Choice", bound=enum.StrEnum)
_EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "fees": {"maker": 0.0002},
    "assumed": {"tick": 0.1},
    "leverage": {"BTC-USD": 5},
}
#: Called with the number of messages played since, and the time of the last one.
RunProgress = Callable[[int, int], None]

__all__ = [
    "Carry",
    "RunProgress",
    "by_name",
    "choice",
    "missing_error",
    "pairs_of_run",
    "recordings_of",
    "run_on_tape",
    "settings_of",
    "told_of",
    "window_of",
]


class Carry(enum.StrEnum):
    """What goes on from one recording to the next, where several follow each other. Orders never do."""

    #: Account and strategy.
    ALL = "all"
    #: The account; the strategy is made and started again.
    POSITIONS = "positions"


def recordings_of(
    recording: Recording | str | Path | Sequence[Recording | str | Path], *, sealed: bool = False
) -> list[Recording]:
    """The recordings of a run, opened. Raises ConfigError for none, RecordingError for one that cannot be used."""
    given: Any = [recording] if isinstance(recording, Recording | str | Path) else recording
    if not isinstance(given, Iterable):
        raise ConfigError(f"the recording is {given!r}, expected one, or the path of its folder")
    opened = [each if isinstance(each, Recording) else Recording.open(each, sealed=sealed) for each in given]
    if not opened:
        raise ConfigError("no recording to run on, expected at least one")
    return opened


def settings_of(
    *,
    parameters: Mapping[str, Any] | None = None,
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
    callback_s_max: float = CALLBACK_S_MAX,
) -> RunSettings:
    """The assumptions of `backtest` as one value. Raises ConfigError for one that makes no sense."""
    given_assumed = by_name("assumed", assumed, _EXAMPLES["assumed"])
    return RunSettings(
        parameters=by_name("parameters", parameters, {"size": 1}),
        seed=seed,
        preset=preset,
        rules=by_name("rules", rules, {"queue_front": "power"}),
        latency=latency,
        clock_offset_ns=clock_offset_ns,
        fees=_numbers("fees", fees, FEES),
        capital=_numbers("capital", capital),
        gap_policy=choice("gaps", gaps, GapPolicy),
        limits=limits or RiskLimits(),
        assumed=_numbers(
            "assumed",
            {name: each for name, each in given_assumed.items() if name not in CHOICES},
            (*ASSUMABLE, *CHOICES),
        ),
        **choices_of(given_assumed, "assumed:"),
        leverage=_leverage(leverage),
        margin=_margin(margin),
        fee_tier=None if fee_tier is None else str(fee_tier),
        fee_volume=decimal_of(fee_volume, "fee_volume"),
        transfers=_transfers(transfers),
        callback_s_max=callback_s_max,
    )


def _numbers(what: str, given: Mapping[str, Number] | None, names: Collection[str] | None = None) -> dict[str, Decimal]:
    """Numbers by name, exactly. Raises ConfigError for one that is none, or that has none of these names."""
    found = by_name(what, given, _EXAMPLES.get(what, {"USDC": 1000}))
    for name in found:
        if names is not None and name not in names:
            raise ConfigError(f"{what}: no such thing as {name!r}, expected {' or '.join(names)}")
    return {name: decimal_of(value, f"{what}: {name}" if name else what) for name, value in found.items()}


def by_name(what: str, given: Any, example: Mapping[str, Any]) -> Mapping[str, Any]:
    """Values by name; empty where None are given. Raises ConfigError for anything else."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ConfigError(f"{what} is {given!r}, expected values by name, for instance {example!r}")
    return given


def _leverage(given: Number | Mapping[str, Number] | None) -> dict[str, Decimal]:
    return {} if given is None else _numbers("leverage", given if isinstance(given, Mapping) else {"": given})


def _margin(given: str | Mapping[str, str] | None) -> dict[str, MarginMode]:
    modes = {} if given is None else given if isinstance(given, Mapping) else {"": given}
    return {pair: choice("margin", mode, MarginMode) for pair, mode in modes.items()}


def _transfers(given: Any) -> tuple[Transfer, ...]:
    found = []
    for each in given if isinstance(given, Iterable) and not isinstance(given, str | Mapping) else [given]:
        if not isinstance(each, Sequence) or isinstance(each, str) or len(each) != 2:
            raise ConfigError(
                f"transfers: {each!r} is none, expected pairs of a time and amounts, for instance"
                " [('2024-08-08T12:00', {'USDC': 500})]"
            )
        at_ns = instant_ns(each[0], "the time of a transfer")
        found += [
            Transfer(at_ns, asset, value) for asset, value in _numbers("the amounts of a transfer", each[1]).items()
        ]
    return tuple(sorted(found, key=lambda each: each.at_ns))


def choice(what: str, given: str, kind: type[Choice]) -> Choice:
    """One of an enumeration by its word. Raises ConfigError for another."""
    if given not in list(kind):
        raise ConfigError(f"{what} is {given!r}, expected {' or '.join(kind)}")
    return kind(given)


def pairs_of_run(
    loaded: LoadedStrategy,
    recordings: Sequence[Recording],
    names: Collection[PairName] | None = None,
    venues: Collection[Any] | None = None,
) -> list[PairKey]:
    """
    The pairs of a run: those that are named, else those that the strategy's `wakes` declares, else all.

    Raises ConfigError for one that is declared and not there, SymbolError for one that is named and not there.
    """
    keys = {key for recording in recordings for key in recording.keys if not venues or key.venue in venues}
    if names:
        wanted = pairs_named(recordings, [each for each in names if isinstance(each, str)], list(venues or ()))
        wanted += [each for each in names if not isinstance(each, str)]
        found: set[PairKey] = set()
        for each in wanted:
            # A bare name means the pair of every venue that has it.
            meant = {key for key in keys if key.trading_pair == each} if isinstance(each, str) else {PairKey(*each)}
            found |= meant & keys
        return sorted(found)
    return declared_pairs(loaded, keys)


def declared_pairs(loaded: LoadedStrategy, keys: Collection[tuple[str, str]]) -> list[PairKey]:
    """
    The pairs that the strategy's `wakes` declares, of those there are; all where it declares none.

    Raises ConfigError for one that is not there.
    """
    known = sorted({PairKey(*key) for key in keys})
    declared = loaded.cls.wakes.pairs
    if not declared:
        return known
    found = set()
    for name in declared:
        key = key_among(known, name) or next((each for each in known if str(each) == name), None)
        if key is None:
            there = ", ".join(named(known)) or "none"
            raise ConfigError(f"{loaded.cls.__name__} declares the pair {name}, which is not there; there are {there}")
        found.add(key)
    return sorted(found)


def run_on_tape(
    plan: RunPlan,
    tape: Tape,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    carry: Carry = Carry.ALL,
    watch: Callable[[TradingSession], None] | None = None,
    progress: RunProgress | None = None,
) -> tuple[RunRecord, TradingSession]:
    """
    Run a strategy on a tape, from its first frame to its last.

    Args:
        plan: Plan of the run.
        tape: Plays the plan's pairs.
        start_ns: The strategy is called from this time on, with the books as they are then.
        end_ns: Nothing is played from the first frame of that time on.
        carry: State that is kept where one recording ends before the next begins.
        watch: Called with the session before anything is played.
        progress: Called after each batch with its number of messages and the time of the last one.

    Returns:
        The record, and the session as it was in the end.

    Raises:
        ConfigError: Tick or lot of a pair are not in the recording and were not assumed; no time lies in between; a
            transfer is outside of it.
        StrategyError: The strategy failed; nothing was written.
    """
    first_ns, last_ns = window_of(tape, start_ns, end_ns)
    check_transfer_times(plan.settings.transfers, first_ns, last_ns)
    frames = sum(segment.frame_count for each in tape.recordings for segment in each.manifest.segments)
    session = plan.open(
        first_ns,
        recordings=told_of(tape),
        waits=start_ns is not None,
        compiled=True if frames > FRAMES_IN_PYTHON else None,
    )
    if watch is not None:
        watch(session)
    try:
        with rare_collections():
            _play(plan, session, tape, start_ns, end_ns, carry, progress)
        if session.unknown_said and session.failure is None:
            raise missing_error(session.unknown_said)
        record = session.finish(last_ns)
        if session.house is not None and session.failure is None:
            session.house.check_prices()
    finally:
        session.watch.close()
    session.exchange.note_compiled()
    if session.failure is not None:
        raise session.failure
    return record, session


def missing_error(missing: str) -> ConfigError:
    """What is missing of pairs, and how it is given."""
    given = " --assume tick=0.1 --assume lot=0.001" if "tick" in missing else ""
    given += " --assume contract_value=100" if "worth" in missing else ""
    return ConfigError(f"the recording does not say {missing}; give it, for instance{given}")


def window_of(tape: Tape, start_ns: int | None, end_ns: int | None) -> tuple[int, int]:
    """
    The first and the last time of a run.

    Args:
        tape: Tape that it runs on.
        start_ns: Time that it begins at; None: with the tape.
        end_ns: Time before which it ends; None: with the tape.

    Raises ConfigError for a tape that nothing can trade on, and where there is no tape between the two times.
    """
    tape.check_market()
    first, last = format_ns(tape.first_ns), format_ns(tape.last_ns)
    if start_ns is not None and start_ns > tape.last_ns:
        raise ConfigError(f"the run begins at {format_ns(start_ns)}, but the tape goes from {first} to {last}")
    if end_ns is not None and end_ns <= max(tape.first_ns, start_ns or 0):
        raise ConfigError(
            f"the run ends at {format_ns(end_ns)}, expected a time after its beginning and on the tape, {first} to {last}"
        )
    first_ns = tape.first_ns if start_ns is None else max(start_ns, tape.first_ns)
    return first_ns, tape.last_ns if end_ns is None else min(end_ns - 1, tape.last_ns)


def _telling(batches: Iterator[Batch], progress: RunProgress) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        if batch.messages:
            progress(len(batch.messages), batch.messages[-1].ts_recv)


def _play(
    plan: RunPlan,
    session: TradingSession,
    tape: Tape,
    start_ns: int | None,
    end_ns: int | None,
    carry: Carry,
    progress: RunProgress | None,
) -> None:
    desk = session.exchange.only_desk
    if start_ns is None and len(tape.recordings) == 1 and tape.fidelity == "normalized" and desk is not None:
        _play_columns(plan, session, tape, desk, end_ns)
        return
    take = session.take
    batches: Iterator[Batch]
    if start_ns is None:
        batches = tape.batches(session.tracker.fused_forms)
    else:
        batches = tape.batches_near(start_ns, session.exchange, None)
    if progress is not None:
        batches = _telling(batches, progress)
    ends = [0 if (span := each.span) is None else span[1] for each in tape.recordings]
    position: int | None = None
    played_ns = now = 0
    is_before = start_ns is not None
    for batch in batches:
        if batch.position != position or batch.position == NOTICES:
            # Frames of two recordings may have one number, and notices have none.
            session.end_frame()
            position = batch.position
            if position != NOTICES and batch.messages:
                if carry is Carry.POSITIONS and 0 < played_ns < batch.messages[0].ts_recv:
                    session.start_anew(plan.fresh_strategy(session))
                played_ns = max(played_ns, ends[position])
        if not is_before and end_ns is None:
            for message in batch.messages:
                take(message)
        else:
            for message in batch.messages:
                now = max(now, message.ts_recv)
                if is_before and start_ns is not None and now >= start_ns:
                    session.begin_at(start_ns)
                    is_before = False
                if end_ns is not None and now >= end_ns:
                    return
                take(message)
        if session.phase is Phase.FAILED:
            return
    if is_before and start_ns is not None:
        session.begin_at(start_ns)


def _play_columns(plan: RunPlan, session: TradingSession, tape: Tape, desk: VenueDesk, end_ns: int | None) -> None:
    """The same for one recording, without messages where they are not needed."""
    columns = ColumnTape(tape, batch_rows=tape.batch_rows, whole=True)
    player = StretchPlayer(session, desk, plan.pairs.keys, columns.names)
    now = 0
    for batch in columns.batches():
        part = batch
        if end_ns is not None:
            times = np.maximum(np.maximum.accumulate(batch.rows["ts_recv"]), now)
            now = int(times[-1])
            part = batch.part(0, int(np.searchsorted(times, end_ns)))
        player.play(part)
        if session.failure is not None or now >= (end_ns or NEVER_NS):
            return


def told_of(tape: Tape) -> list[dict[str, Any]]:
    """Each recording, as a result shows it."""
    told = []
    for recording in tape.recordings:
        span = recording.span
        told.append(
            {
                "name": recording.path.name,
                "digest": recording.manifest.digest,
                "start": None if span is None else format_ns(span[0]),
                "end": None if span is None else format_ns(span[1]),
            }
        )
    return told
